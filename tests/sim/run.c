#include "sim/run.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "sim/author.h"
#include "sim/world.h"

enum { JOBS_MAX = 64, HUNG = 3 /* the watchdog of sched.c has said so */ };

/* ---- One run in a process of its own ----------------------------------------------------------------------------- */

struct worker {
    pid_t pid;
    int pipe;
    uint64_t seed;
};

static bool start(struct worker *worker, const struct world_options *options)
{
    int ends[2];
    if (pipe(ends) != 0) return false;
    worker->seed = options->seed;
    worker->pid = fork();
    if (worker->pid == 0) {
        struct world_report report;
        (void)close(ends[0]);
        world_run(options, &report);
        _exit(write(ends[1], &report, sizeof report) == (ssize_t)sizeof report ? 0 : 1);
    }
    (void)close(ends[1]);
    worker->pipe = ends[0];
    if (worker->pid > 0) return true;
    (void)close(ends[0]);
    worker->pid = 0;
    return false;
}

/* Waits for the end of it. A run that says nothing has crashed: its report gets a sentence about that. */
static bool finish(struct worker *worker, struct world_report *report)
{
    int status;
    const bool whole = read(worker->pipe, report, sizeof *report) == (ssize_t)sizeof *report;
    (void)close(worker->pipe);
    (void)waitpid(worker->pid, &status, 0);
    worker->pid = 0;
    if (whole) return true;
    memset(report, 0, sizeof *report);
    if (WIFSIGNALED(status))
        (void)snprintf(report->violation, sizeof report->violation, "died of signal %d", WTERMSIG(status));
    else
        (void)snprintf(report->violation, sizeof report->violation, "%s with %d",
                       WEXITSTATUS(status) == HUNG ? "hung, and ended" : "ended", WEXITSTATUS(status));
    return false;
}

/* ---- Many -------------------------------------------------------------------------------------------------------- */

/* Told of each run that went wrong, as they end. */
typedef void bad_fn(void *user, uint64_t seed, const struct world_report *report);

struct many {
    const struct weir_test_options *options;
    struct world_options world; /* but for the seed */
    struct weir_test_report *report;
    struct world_report sum;
    struct worker workers[JOBS_MAX];
    uint64_t next;
    uint32_t running;
    bad_fn *bad;
    void *bad_user;
};

static void add_up(struct world_report *sum, const struct world_report *more)
{
#define ADD_SIGHT(name) sum->name += more->name;
    WORLD_SIGHTS(ADD_SIGHT)
#undef ADD_SIGHT
}

static void take_report(struct many *many, uint64_t seed, const struct world_report *report, bool whole)
{
    struct weir_test_report *total = many->report;
    total->runs++;
    add_up(&many->sum, report);
    if (report->violation[0] == '\0') return;
    if (whole) total->violations++;
    else total->crashes++;
    if (total->violation[0] == '\0') {
        total->seed_failed = seed;
        (void)snprintf(total->violation, sizeof total->violation, "%s", report->violation);
    }
    if (many->bad != NULL) many->bad(many->bad_user, seed, report);
}

static bool wants_more(const struct many *many)
{
    if (many->next > many->options->seed_last || many->next < many->options->seed_first) return false;
    return many->options->keep_going || many->report->violations + many->report->crashes == 0;
}

static bool start_some(struct many *many, uint32_t jobs)
{
    for (uint32_t i = 0; i < jobs && wants_more(many); i++) {
        if (many->workers[i].pid != 0) continue;
        many->world.seed = many->next++;
        (void)fflush(stdout);
        if (!start(&many->workers[i], &many->world)) return false;
        many->running++;
    }
    return true;
}

/* Who is ready to be read has ended, or is about to. */
static void finish_some(struct many *many, uint32_t jobs)
{
    struct pollfd ready[JOBS_MAX];
    for (uint32_t i = 0; i < jobs; i++)
        ready[i] = (struct pollfd){ .fd = many->workers[i].pid == 0 ? -1 : many->workers[i].pipe, .events = POLLIN };
    (void)poll(ready, jobs, -1);
    for (uint32_t i = 0; i < jobs; i++) {
        if (many->workers[i].pid == 0 || ready[i].revents == 0) continue;
        struct world_report report;
        const bool whole = finish(&many->workers[i], &report);
        many->running--;
        take_report(many, many->workers[i].seed, &report, whole);
    }
}

static void fill_counters(struct weir_test_report *report, const struct world_report *sum)
{
    _Static_assert(WORLD_SIGHT_COUNT <= sizeof report->counters / sizeof report->counters[0], "counters in the report");
#define FILL_COUNTER(sight)                                                                                            \
    report->counters[report->counter_count++] = (struct weir_test_counter){ #sight, sum->sight };
    WORLD_SIGHTS(FILL_COUNTER)
#undef FILL_COUNTER
}

static bool run_many(struct many *many)
{
    const uint32_t wanted = many->options->jobs == 0 ? 1 : many->options->jobs;
    const uint32_t jobs = wanted < JOBS_MAX ? wanted : JOBS_MAX;
    bool started = true;
    many->next = many->options->seed_first;
    do {
        started = started && start_some(many, jobs);
        if (many->running > 0) finish_some(many, jobs);
    } while (many->running > 0 || (started && wants_more(many)));
    fill_counters(many->report, &many->sum);
    return started;
}

enum weir_code weir_test_run(const struct weir_test_job *job, const struct weir_test_options *options,
                             struct weir_test_report *report, struct weir_error *error)
{
    *report = (struct weir_test_report){ .size = sizeof *report };
    const char *lack = author_lacks(job);
    if (lack != NULL) return weir_error_set(error, WEIR_USAGE, WEIR_REMEDY_STOP, "the job to be tested: %s", lack);
    struct many many = { .options = options, .report = report,
                         .world = { .jobs = job, .job_count = 1, .steps = options->steps, .trace = options->trace } };
    if (run_many(&many)) return WEIR_OK;
    return weir_error_set(error, WEIR_ENVIRONMENT, WEIR_REMEDY_RETRY, "no process for a run: %s", strerror(errno));
}

/* ---- The program ------------------------------------------------------------------------------------------------- */

static const char usage[] =
    "usage: %s --seed N [--steps M] [--trace]\n"
    "       %s --seeds FROM-TO [--jobs J] [--steps M] [--keep-going] [--trace]\n";

struct program {
    const char *name;
    struct weir_test_options options;
    bool one, many;
};

static void print_counters(const struct weir_test_report *report)
{
    for (size_t i = 0; i < report->counter_count; i++)
        (void)printf(" %s=%" PRIu64, report->counters[i].name, report->counters[i].count);
    (void)putchar('\n');
}

static void print_replay(const struct program *program, uint64_t seed)
{
    (void)printf("replay: %s --seed %" PRIu64, program->name, seed);
    if (program->options.steps > 0) (void)printf(" --steps %u", program->options.steps);
    (void)printf(" --trace\n");
}

/* AddressSanitizer's, where the program has it. */
void __lsan_disable(void) __attribute__((weak));

static int run_one(const struct program *program, struct world_options options)
{
    struct world_report report;
    struct weir_test_report counters = { .size = sizeof counters };
    if (__lsan_disable != NULL) __lsan_disable(); /* what a killed process had is lost, and no leak of the job's */
    options.seed = program->options.seed_first;
    world_run(&options, &report);
    (void)printf("seed %" PRIu64 ": job %s, %.1f s, digest %016" PRIx64 "\n", options.seed, report.job,
                 (double)report.ended_us / 1e6, report.digest);
    fill_counters(&counters, &report);
    print_counters(&counters);
    if (report.violation[0] == '\0') return 0;
    (void)printf("violation: %s\n", report.violation);
    print_replay(program, options.seed);
    return 1;
}

static void print_bad(void *program, uint64_t seed, const struct world_report *report)
{
    if (report->job[0] == '\0') (void)printf("seed %" PRIu64 ": %s\n", seed, report->violation);
    else (void)printf("seed %" PRIu64 ": job %s: %s\n", seed, report->job, report->violation);
    print_replay(program, seed);
}

static int run_range(struct program *program, const struct world_options *options)
{
    struct weir_test_report report = { .size = sizeof report };
    struct many many = { .options = &program->options, .world = *options, .report = &report, .bad = print_bad,
                         .bad_user = program };
    const time_t began = time(NULL);
    const bool started = run_many(&many);
    (void)printf("%" PRIu64 " runs, %" PRIu64 " of them bad, %ld s\n", report.runs, report.violations + report.crashes,
                 (long)(time(NULL) - began));
    print_counters(&report);
    if (!started) (void)fprintf(stderr, "%s: no process for a run: %s\n", program->name, strerror(errno));
    return !started || report.crashes > 0 ? 3 : report.violations > 0 ? 1 : 0;
}

static bool parse(const char *text, uint64_t *number, char **end)
{
    errno = 0;
    *number = strtoull(text, end, 10);
    return errno == 0 && *end != text;
}

/* A whole number from `least` to `most`. */
static bool parse_count(const char *text, uint64_t least, uint64_t most, uint32_t *count)
{
    char *end;
    uint64_t number;
    if (!parse(text, &number, &end) || *end != '\0' || number < least || number > most) return false;
    *count = (uint32_t)number;
    return true;
}

/* Options that take a value; false when it is none of these, or the value is not good. */
static bool parse_pair(struct program *program, const char *name, const char *value)
{
    struct weir_test_options *options = &program->options;
    char *end;
    if (strcmp(name, "--steps") == 0) return parse_count(value, 0, UINT32_MAX, &options->steps);
    if (strcmp(name, "--jobs") == 0) return parse_count(value, 1, JOBS_MAX, &options->jobs);
    if (strcmp(name, "--seed") == 0) {
        program->one = true;
        return parse(value, &options->seed_first, &end) && *end == '\0';
    }
    if (strcmp(name, "--seeds") != 0) return false;
    program->many = true;
    return parse(value, &options->seed_first, &end) && *end == '-' && parse(end + 1, &options->seed_last, &end) &&
           *end == '\0';
}

static bool parse_all(struct program *program, int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--trace") == 0) program->options.trace = true;
        else if (strcmp(argv[i], "--keep-going") == 0) program->options.keep_going = true;
        else if (i + 1 == argc || !parse_pair(program, argv[i], argv[i + 1])) return false;
        else i++;
    }
    return program->one != program->many;
}

static int run_program(int argc, char **argv, const struct weir_test_job *jobs, uint32_t job_count, bool with_mishaps)
{
    struct program program = { .name = argc > 0 ? argv[0] : "test",
                               .options = { .size = sizeof program.options, .jobs = 2 } };
    for (uint32_t i = 0; i < job_count; i++) {
        const char *lack = author_lacks(&jobs[i]);
        if (lack == NULL) continue;
        (void)fprintf(stderr, "%s: the job to be tested: %s\n", program.name, lack);
        return 2;
    }
    if (!parse_all(&program, argc, argv)) {
        (void)fprintf(stderr, usage, program.name, program.name);
        return 2;
    }
    const struct world_options options = { .jobs = jobs, .job_count = job_count, .steps = program.options.steps,
                                           .trace = program.options.trace, .with_mishaps = with_mishaps };
    return program.one ? run_one(&program, options) : run_range(&program, &options);
}

int run_main(int argc, char **argv, const struct weir_test_job *jobs, uint32_t job_count)
{
    return run_program(argc, argv, jobs, job_count, true);
}

int weir_test_main_(int argc, char **argv, const struct weir_test_job *job) { return run_program(argc, argv, job, 1, false); }
