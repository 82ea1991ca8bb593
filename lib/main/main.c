#include "weir/main.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#include "main/control.h"
#include "main/options.h"
#include "main/progress.h"

struct run {
    const struct main_options *parsed;
    weir_job *job;
    struct control *control; /* NULL = nobody can ask this job */
    struct progress *progress;
    int signals; /* signalfd: nothing runs in signal context */
    bool stopping;
};

static void complain(const char *program, const struct weir_error *error)
{
    fprintf(stderr, "%s: %s\n", program, error->text);
}

/* SIGTERM and SIGINT come through a descriptor. Before any thread is started, so that all inherit the mask. */
static int open_signals(void)
{
    sigset_t mask;
    sigemptyset(&mask);
    sigaddset(&mask, SIGTERM);
    sigaddset(&mask, SIGINT);
    signal(SIGPIPE, SIG_IGN);
    if (sigprocmask(SIG_BLOCK, &mask, NULL) != 0) return -1;
    return signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK);
}

static void take_signal(struct run *run)
{
    struct signalfd_siginfo info;
    if (read(run->signals, &info, sizeof(info)) != (ssize_t)sizeof(info)) return;
    if (run->stopping) _exit(128 + (int)info.ssi_signo);
    run->stopping = true;
    progress_note(run->progress, "stopping: this epoch is committed first; the same signal again ends at once");
    weir_job_stop(run->job);
}

/* -1 = for ever. */
static int shorter(int a_ms, int b_ms)
{
    return a_ms < 0 || (b_ms >= 0 && b_ms < a_ms) ? b_ms : a_ms;
}

static void wait_for_end(struct run *run)
{
    struct pollfd descriptors[3] = {
        { .fd = weir_job_descriptor(run->job), .events = POLLIN },
        { .fd = run->signals, .events = POLLIN },
        { .fd = control_descriptor(run->control), .events = POLLIN }, /* poll passes over -1 */
    };
    for (;;) {
        poll(descriptors, 3, shorter(progress_timeout_ms(run->progress), control_timeout_ms(run->control)));
        if (descriptors[1].revents & POLLIN) take_signal(run);
        control_step(run->control);
        progress_show(run->progress, run->job);
        if (descriptors[0].revents & POLLIN) return;
    }
}

static void log_line(void *user, enum weir_log_level level, const char *text)
{
    struct run *run = user;
    if (level == WEIR_LOG_DEBUG || (run->parsed->quiet && level == WEIR_LOG_INFO)) return;
    progress_log(run->progress, level, text);
}

static void open_control(struct run *run, const weir_config *config)
{
    struct weir_error error;
    char text[1200];
    const struct control_options options = { .job = run->job, .name = run->parsed->job, .program = run->parsed->program,
                                             .directory = weir_config_text(config, "execution.checkpointing.dir") };
    if (control_open(&options, &run->control, &error) == WEIR_OK) return;
    (void)snprintf(text, sizeof(text), "the job runs, but 'weir list' and the like cannot reach it: %s", error.text);
    progress_log(run->progress, WEIR_LOG_WARN, text);
}

static int run_job(struct run *run, weir_graph *graph, weir_config *config, struct weir_error *error)
{
    struct weir_job_options options = { .size = sizeof(options), .name = run->parsed->job,
                                        .program = run->parsed->program, .log = log_line, .log_user = run };
    if (weir_job_create(graph, config, &options, &run->job, error) != WEIR_OK) return weir_code_exit_status(error->code);
    enum weir_code code = weir_job_start(run->job, error);
    if (code == WEIR_OK) {
        open_control(run, config);
        wait_for_end(run);
        weir_job_wait(run->job, -1, error);
        control_close(run->control, error);
        code = error->code;
    }
    if (code == WEIR_OK) progress_summary(run->progress, run->job);
    weir_job_destroy(run->job);
    return weir_code_exit_status(code);
}

static int explain(weir_graph *graph, const weir_config *config, struct weir_error *error)
{
    char *text = weir_graph_explain(graph, config, error);
    weir_graph_destroy(graph);
    if (text == NULL) return weir_code_exit_status(error->code);
    fputs(text, stdout);
    free(text);
    return 0;
}

/* Everything that can be known without touching a broker or a directory. */
static int validate(const struct main_options *parsed, weir_graph *graph, const weir_config *config,
                    struct weir_error *error)
{
    char *text = weir_graph_explain(graph, config, error);
    weir_graph_destroy(graph);
    if (text == NULL) return weir_code_exit_status(error->code);
    free(text);
    printf("%s: job '%s': options, configuration and graph are valid\n", parsed->program, parsed->job);
    return 0;
}

int weir_main_(int argc, char **argv, const struct weir_main_options *given)
{
    struct weir_main_options main = { 0 };
    memcpy(&main, given, given->size < sizeof(main) ? given->size : sizeof(main));

    struct weir_error error = { .code = WEIR_OK };
    struct main_options parsed;
    int status = 1;
    weir_config *config = weir_config_create();
    weir_graph *graph = weir_graph_create();
    if (config == NULL || graph == NULL) {
        fprintf(stderr, "%s: no memory to start\n", argv[0]);
        goto done;
    }
    const enum weir_code code = main_options_parse(argc, argv, &main, config, &parsed, &error);
    if (code != WEIR_OK) {
        complain(parsed.program, &error);
        status = weir_code_exit_status(code);
        goto done;
    }
    status = 0;
    if (parsed.ended) goto done;

    main.define(graph, config);
    if (parsed.plan || parsed.validate) {
        status = parsed.plan ? explain(graph, config, &error) : validate(&parsed, graph, config, &error);
        graph = NULL;
    } else {
        struct run run = { .parsed = &parsed, .signals = open_signals(),
                           .progress = progress_create(&parsed) };
        if (run.progress == NULL || run.signals < 0) {
            weir_error_set(&error, WEIR_ENVIRONMENT, WEIR_REMEDY_STOP, "cannot set up signals: %s", strerror(errno));
            status = 7;
        } else {
            status = run_job(&run, graph, config, &error);
            graph = NULL;
        }
        progress_destroy(run.progress);
        if (run.signals >= 0) close(run.signals);
    }
    if (status != 0) complain(parsed.program, &error);
done:
    if (graph != NULL) weir_graph_destroy(graph);
    weir_config_destroy(config);
    return status;
}
