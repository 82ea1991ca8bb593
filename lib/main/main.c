#include "weir/main.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "main/control.h"
#include "main/notify.h"
#include "main/options.h"
#include "main/progress.h"
#include "main/validate.h"
#include "weir/observe.h"
#include "weir/remote.h"

struct run {
    const struct weir_main_options *main;
    const struct main_options *parsed;
    weir_config *config;
    weir_job *job;
    struct control *control; /* NULL = nobody can ask this job */
    weir_remote *remote;     /* NULL = not over HTTP either */
    _Atomic uint32_t asked;  /* over HTTP, for another parallelism; 0 = not */
    int asking;              /* eventfd: readable when `asked` is set */
    struct progress *progress;
    struct notify notify;
    int signals; /* signalfd: nothing runs in signal context */
    bool stopping;
    uint32_t parallelism;     /* with which to start anew when the job has stopped; 0 = not at all */
    uint32_t max_parallelism; /* of the job that stops: a checkpoint's never changes */
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
    notify_stopping(&run->notify);
    progress_note(run->progress, WEIR_LOG_INFO, WEIR_OK,
                  "stopping: this epoch is committed first; the same signal again ends at once");
    weir_job_stop(run->job);
}

/* The job commits and ends first: then there is nobody who would read the configuration while it changes. */
static enum weir_code rescale(void *user, uint32_t parallelism, struct weir_error *error)
{
    struct run *run = user;
    struct weir_job_status status = { .size = sizeof(status) };
    weir_job_status(run->job, &status);
    if (run->stopping) return weir_error_set(error, WEIR_ENVIRONMENT, WEIR_REMEDY_STOP, "the job is being stopped");
    if (!status.running)
        return weir_error_set(error, WEIR_ENVIRONMENT, WEIR_REMEDY_RETRY,
                              "the job does not run yet, or not just now: try again when it does");
    if (parallelism < 1 || parallelism > status.max_parallelism)
        return weir_error_set(error, WEIR_USAGE, WEIR_REMEDY_STOP,
                              "the parallelism must be a number from 1 to %u, the job's max_parallelism",
                              status.max_parallelism);
    run->parallelism = parallelism;
    run->max_parallelism = status.max_parallelism;
    weir_job_stop(run->job);
    return WEIR_OK;
}

/* The remote interface's thread: the answer is that of the job's next life. */
static enum weir_code rescale_later(void *user, uint32_t parallelism, struct weir_error *error)
{
    const uint64_t one = 1;
    struct run *run = user;
    atomic_store(&run->asked, parallelism);
    if (write(run->asking, &one, sizeof(one)) == (ssize_t)sizeof(one)) return WEIR_OK;
    return weir_error_set(error, WEIR_ENVIRONMENT, WEIR_REMEDY_RETRY, "the program cannot be told: %s", strerror(errno));
}

static void take_asked(struct run *run)
{
    uint64_t count;
    struct weir_error error;
    if (read(run->asking, &count, sizeof(count)) != (ssize_t)sizeof(count)) return;
    if (rescale(run, atomic_exchange(&run->asked, 0), &error) != WEIR_OK)
        progress_note(run->progress, WEIR_LOG_WARN, error.code, error.text);
}

/* -1 = for ever. */
static int shorter(int a_ms, int b_ms)
{
    return a_ms < 0 || (b_ms >= 0 && b_ms < a_ms) ? b_ms : a_ms;
}

static int timeout_ms(struct run *run)
{
    const int own_ms = shorter(progress_timeout_ms(run->progress), control_timeout_ms(run->control));
    return shorter(own_ms, notify_timeout_ms(&run->notify, clock_now_ms()));
}

static void tell_manager(struct run *run)
{
    const int64_t now_ms = clock_now_ms();
    if (notify_timeout_ms(&run->notify, now_ms) != 0) return;
    char unused[300];
    struct weir_job_status status = { .size = sizeof(status) };
    weir_job_status(run->job, &status);
    const bool is_alive = weir_job_is_alive(run->job, notify_patience_ms(&run->notify), unused, sizeof(unused));
    notify_step(&run->notify, &status, is_alive, now_ms);
}

static void wait_for_end(struct run *run)
{
    struct pollfd descriptors[4] = {
        { .fd = weir_job_descriptor(run->job), .events = POLLIN },
        { .fd = run->signals, .events = POLLIN },
        { .fd = control_descriptor(run->control), .events = POLLIN }, /* poll passes over -1 */
        { .fd = run->asking, .events = POLLIN },
    };
    for (;;) {
        poll(descriptors, 4, timeout_ms(run));
        if (descriptors[1].revents & POLLIN) take_signal(run);
        control_step(run->control);
        if (descriptors[3].revents & POLLIN) take_asked(run);
        progress_show(run->progress, run->job);
        tell_manager(run);
        if (descriptors[0].revents & POLLIN) return;
    }
}

static void log_line(void *user, const struct weir_log_line *line)
{
    struct run *run = user;
    progress_log(run->progress, line);
}

static void open_control(struct run *run)
{
    struct weir_error error;
    char text[1200];
    const char *directory = weir_config_text(run->config, "execution.checkpointing.dir");
    const struct control_options options = { .job = run->job, .name = run->parsed->job, .program = run->parsed->program,
                                             .directory = directory != NULL ? directory : "memory",
                                             .rescale = rescale, .user = run };
    if (control_open(&options, &run->control, &error) == WEIR_OK) return;
    (void)snprintf(text, sizeof(text), "the job runs, but 'weir list' and the like cannot reach it: %s", error.text);
    progress_note(run->progress, WEIR_LOG_WARN, error.code, text);
}

/* Of an error the start itself tells. */
static void log_warning(void *user, const struct weir_finding *finding)
{
    struct run *run = user;
    char text[1000];
    if (finding->severity == WEIR_SEVERITY_ERROR) return;
    (void)snprintf(text, sizeof(text), "%s: %s. %s", finding->check, finding->problem, finding->advice);
    progress_note(run->progress, WEIR_LOG_WARN, WEIR_OK, text);
}

/* While it runs, on the remote interface's thread. */
static void log_finding(void *user, const struct weir_finding *finding)
{
    struct run *run = user;
    char text[1000];
    if (finding->severity != WEIR_SEVERITY_NOTE) {
        log_warning(user, finding);
        return;
    }
    (void)snprintf(text, sizeof(text), "%s: %s", finding->check, finding->problem);
    progress_note(run->progress, WEIR_LOG_INFO, WEIR_OK, text);
}

/* Before there is a job: what is wrong with it is wrong before anything is touched. */
static enum weir_code open_remote(struct run *run, struct weir_error *error)
{
    char text[400];
    if (weir_config_text(run->config, "rest.port") == NULL) return WEIR_OK;
    run->asking = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (run->asking < 0)
        return weir_error_set(error, WEIR_ENVIRONMENT, WEIR_REMEDY_STOP, "no descriptor to be had: %s", strerror(errno));
    const enum weir_code code = weir_remote_start(&run->remote, error, .config = run->config, .name = run->parsed->job,
                                                  .program = run->parsed->program, .rescale = rescale_later, .user = run,
                                                  .found = log_finding);
    if (code != WEIR_OK) return code;
    weir_remote_examine(run->config, log_warning, run);
    (void)snprintf(text, sizeof(text), "remote interface at %s", weir_remote_url(run->remote));
    progress_note(run->progress, WEIR_LOG_INFO, WEIR_OK, text);
    return WEIR_OK;
}

/* Takes the graph, and leaves the job in run->job, or NULL. */
static enum weir_code start_job(struct run *run, weir_graph *graph, struct weir_error *error)
{
    struct weir_job_options options = { .size = sizeof(options), .name = run->parsed->job,
                                        .program = run->parsed->program, .log = log_line, .log_user = run };
    enum weir_code code = weir_job_create(graph, run->config, &options, &run->job, error);
    if (code == WEIR_OK) code = weir_job_start(run->job, error);
    if (code == WEIR_OK) weir_remote_restarted(run->remote, run->job);
    return code;
}

static enum weir_code set_number(weir_config *config, const char *key, uint32_t number, struct weir_error *error)
{
    char text[24];
    (void)snprintf(text, sizeof(text), "%u", number);
    return weir_config_set(config, WEIR_CONFIG_COMMAND_LINE, key, text, "weir rescale", error);
}

/* The history that --fresh or --checkpoint asked for is the one that goes on. */
static enum weir_code keep_history(weir_config *config, struct weir_error *error)
{
    const enum weir_code code =
        weir_config_set(config, WEIR_CONFIG_COMMAND_LINE, "start.fresh", "false", "weir rescale", error);
    if (code != WEIR_OK) return code;
    return weir_config_set(config, WEIR_CONFIG_COMMAND_LINE, "start.checkpoint", "-1", "weir rescale", error);
}

/* The job has stopped to be started anew: by its last checkpoint, in this process. `parallelism` 0: as it was. */
static enum weir_code start_again(struct run *run, uint32_t parallelism, struct weir_error *error)
{
    control_restarted(run->control, NULL);
    weir_remote_restarted(run->remote, NULL);
    progress_restart(run->progress);
    weir_job_destroy(run->job);
    run->job = NULL;
    run->parallelism = 0;
    enum weir_code code = keep_history(run->config, error);
    if (code == WEIR_OK) code = set_number(run->config, "pipeline.max-parallelism", run->max_parallelism, error);
    if (code == WEIR_OK && parallelism > 0) code = set_number(run->config, "parallelism.default", parallelism, error);
    if (code != WEIR_OK) return code;
    weir_graph *graph = weir_graph_create();
    if (graph == NULL) return weir_error_set(error, WEIR_NO_MEMORY, WEIR_REMEDY_STOP, "no memory to start again");
    run->main->define(graph, run->config);
    code = start_job(run, graph, error);
    if (code == WEIR_OK) control_restarted(run->control, run->job);
    return code;
}

/* A job that was to be rescaled, and whose last checkpoint came to nothing, is where any other is after a failure: it goes on
 * from the checkpoint before. */
static enum weir_code go_on_as_it_was(struct run *run, struct weir_error *error)
{
    char text[1400];
    (void)snprintf(text, sizeof(text), "the job goes on as it was, because the checkpoint to rescale it by failed: %s",
                   error->text);
    progress_note(run->progress, WEIR_LOG_WARN, error->code, text);
    control_refuse_restart(run->control, error->code, text);
    return start_again(run, 0, error);
}

static enum weir_code run_job(struct run *run, weir_graph *graph, struct weir_error *error)
{
    enum weir_code code = open_remote(run, error);
    if (code != WEIR_OK) {
        weir_graph_destroy(graph);
        return code;
    }
    code = start_job(run, graph, error);
    if (code == WEIR_OK) open_control(run);
    while (code == WEIR_OK) {
        wait_for_end(run);
        weir_job_wait(run->job, -1, error);
        code = error->code;
        if (run->parallelism == 0 || run->stopping) break;
        if (code == WEIR_OK) code = start_again(run, run->parallelism, error);
        else if (error->remedy != WEIR_REMEDY_STOP) code = go_on_as_it_was(run, error);
    }
    control_close(run->control, error);
    weir_remote_stop(run->remote);
    if (run->asking >= 0) close(run->asking);
    if (code == WEIR_OK) progress_summary(run->progress, run->job);
    weir_job_destroy(run->job);
    return code;
}

/* ---- What a command line asks for: each takes the graph, says what is wrong, and answers the exit status ----------- */

static int show_config(const struct main_options *parsed, weir_graph *graph, const weir_config *config)
{
    if (parsed->as_json) weir_config_print_json(stdout, config);
    else weir_config_print(stdout, config, true);
    weir_graph_destroy(graph);
    return 0;
}

static int explain(const struct main_options *parsed, weir_graph *graph, const weir_config *config)
{
    struct weir_error error;
    char *text = parsed->as_json ? weir_graph_explain_json(graph, config, parsed->job, &error)
                                 : weir_graph_explain(graph, config, &error);
    weir_graph_destroy(graph);
    if (text == NULL) {
        complain(parsed->program, &error);
        return weir_code_exit_status(error.code);
    }
    fputs(text, stdout);
    free(text);
    return 0;
}

/* Signals, a service manager and progress around the job. */
static enum weir_code run_managed(struct run *run, weir_graph *graph, struct weir_error *error)
{
    enum weir_code code = run->signals >= 0 ? WEIR_OK
                                            : weir_error_set(error, WEIR_ENVIRONMENT, WEIR_REMEDY_STOP,
                                                             "cannot set up signals: %s", strerror(errno));
    if (code == WEIR_OK) code = notify_init(&run->notify, clock_now_ms(), error);
    if (code != WEIR_OK) {
        weir_graph_destroy(graph);
        return code;
    }
    code = run_job(run, graph, error);
    notify_deinit(&run->notify);
    return code;
}

static int run_to_the_end(const struct weir_main_options *main, const struct main_options *parsed, weir_graph *graph,
                          weir_config *config)
{
    struct weir_error error;
    enum weir_code code;
    struct run run = { .main = main, .parsed = parsed, .config = config, .signals = open_signals(), .asking = -1,
                       .progress = progress_create(parsed, config) };
    if (run.progress == NULL) {
        code = weir_error_set(&error, WEIR_NO_MEMORY, WEIR_REMEDY_STOP, "no memory to start");
        weir_graph_destroy(graph);
    } else {
        code = run_managed(&run, graph, &error);
    }
    const bool is_logged = run.progress != NULL && log_form_of(config) != LOG_TEXT;
    if (code != WEIR_OK && is_logged) progress_note(run.progress, WEIR_LOG_ERROR, code, error.text);
    progress_destroy(run.progress);
    if (run.signals >= 0) close(run.signals);
    if (code != WEIR_OK && !is_logged) complain(parsed->program, &error);
    return weir_code_exit_status(code);
}

static int do_what_is_asked(const struct weir_main_options *main, const struct main_options *parsed, weir_config *config)
{
    weir_graph *graph = weir_graph_create();
    if (graph == NULL) {
        fprintf(stderr, "%s: no memory to start\n", parsed->program);
        return weir_code_exit_status(WEIR_NO_MEMORY);
    }
    main->define(graph, config);
    if (parsed->show_config) return show_config(parsed, graph, config);
    if (parsed->validate) return validate_job(parsed, graph, config);
    if (parsed->plan) return explain(parsed, graph, config);
    return run_to_the_end(main, parsed, graph, config);
}

int weir_main_(int argc, char **argv, const struct weir_main_options *given)
{
    int status = 0;
    struct weir_error error;
    struct main_options parsed;
    struct weir_main_options main = { 0 };
    memcpy(&main, given, given->size < sizeof(main) ? given->size : sizeof(main));
    weir_config *config = weir_config_create();
    if (config == NULL) {
        fprintf(stderr, "%s: no memory to start\n", argv[0]);
        return weir_code_exit_status(WEIR_NO_MEMORY);
    }
    if (main_options_parse(argc, argv, &main, config, &parsed, &error) != WEIR_OK) {
        complain(parsed.program, &error);
        status = weir_code_exit_status(error.code);
    } else if (!parsed.ended) {
        status = do_what_is_asked(&main, &parsed, config);
    }
    weir_config_destroy(config);
    return status;
}
