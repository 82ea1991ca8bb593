#include "sim/run.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "sim/author.h"
#include "sim/shrink.h"
#include "sim/child.h"

enum { JOBS_MAX = 64 };

/* ---- Many -------------------------------------------------------------------------------------------------------- */

/* Told of each run that went wrong, as they end. */
typedef void bad_fn(void *user, uint64_t seed, const struct world_report *report);

struct many {
    const struct weir_test_options *options;
    struct world_options world; /* but for the seed */
    struct weir_test_report *report;
    struct world_report sum;
    struct child children[JOBS_MAX];
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
        if (many->children[i].pid != 0) continue;
        many->world.seed = many->next++;
        (void)fflush(stdout);
        if (!child_start(&many->children[i], &many->world)) return false;
        many->running++;
    }
    return true;
}

/* Who is ready to be read has ended, or is about to. */
static void finish_some(struct many *many, uint32_t jobs)
{
    struct pollfd ready[JOBS_MAX];
    for (uint32_t i = 0; i < jobs; i++)
        ready[i] = (struct pollfd){ .fd = many->children[i].pid == 0 ? -1 : many->children[i].pipe, .events = POLLIN };
    (void)poll(ready, jobs, -1);
    for (uint32_t i = 0; i < jobs; i++) {
        if (many->children[i].pid == 0 || ready[i].revents == 0) continue;
        struct world_report report;
        const bool whole = child_finish(&many->children[i], &report);
        many->running--;
        take_report(many, many->children[i].seed, &report, whole);
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
                         .world = { .jobs = job, .job_count = 1, .limits = { [WORLD_steps] = options->steps },
                                .trace = options->trace } };
    if (run_many(&many)) return WEIR_OK;
    return weir_error_set(error, WEIR_ENVIRONMENT, WEIR_REMEDY_RETRY, "no process for a run: %s", strerror(errno));
}

/* ---- The program ------------------------------------------------------------------------------------------------- */

static const char usage[] =
    "usage: %s --seed N [--shrink] [--trace] [LIMIT...]\n"
    "       %s --seeds FROM-TO [--jobs J] [--keep-going] [--see-all] [--no-shrink] [--trace] [LIMIT...]\n"
    "LIMIT: --steps M, --skip M, --parallelism N, --partitions N, --records N, --without CLASS,NUMBER,NUMBER-NUMBER...\n";

static const char explanation[] =
    "\n"
    "A seed is one run of the job under faults, always the same one: some seconds of simulated time.\n"
    "\n"
    "  --trace       what happens, to stderr, with the milliseconds of the simulated clock in front\n"
    "  --shrink      if it fails, as short as it still does, and its trace\n"
    "  --jobs J      so many runs side by side (2)\n"
    "  --keep-going  to the last seed, and not to the first that fails\n"
    "  --see-all     fails, too, when a counter of the summary is 0: the runs have never been there\n"
    "  --no-shrink   leaves the first failing seed as it is\n"
    "  --steps M     events are drawn so many times (40 to 159); --skip M: without the first\n"
    "  --parallelism N, --partitions N, --records N   at most\n"
    "  --without LIST  spares the run events, by their numbers in the trace or by class:\n"
    "               ";

struct program {
    const char *name;
    struct weir_test_options options;
    struct world_options world;
    bool one, many, shrinks, never_shrinks, sees_all, wants_help;
    struct world_report failed; /* of options.seed_failed: what is made shorter */
    uint64_t seed_failed;
};

static const char *limit_name(enum world_limit limit)
{
    static const char *const names[] = {
#define LIMIT_NAME(name) "--" #name,
        WORLD_LIMITS(LIMIT_NAME)
#undef LIMIT_NAME
    };
    return names[limit];
}

static void print_help(const struct program *program)
{
    (void)printf(usage, program->name, program->name);
    (void)fputs(explanation, stdout);
    for (enum fate_class class = 0; class < FATE_CLASS_COUNT; class++) {
        if (class > 0 && class % 9 == 0) (void)printf("\n               ");
        (void)printf(" %s", fate_class_name(class));
    }
    (void)printf("\n\nExit codes: 0 everything held, 1 a violation (or never seen), 2 usage, 3 a run hung or crashed.\n");
}

/* False, with a line about them, when some are 0. */
static bool have_all_been_seen(const struct weir_test_report *report)
{
    uint32_t missing = 0;
    for (size_t i = 0; i < report->counter_count; i++)
        if (report->counters[i].count == 0) (void)printf("%s %s", missing++ == 0 ? "never seen:" : ",", report->counters[i].name);
    if (missing > 0) (void)putchar('\n');
    return missing == 0;
}

static void print_counters(const struct weir_test_report *report)
{
    for (size_t i = 0; i < report->counter_count; i++)
        (void)printf(" %s=%" PRIu64, report->counters[i].name, report->counters[i].count);
    (void)putchar('\n');
}

static void print_replay(const struct program *program, const struct world_options *options)
{
    static char list[6 * FATE_MAX];
    (void)printf("replay: %s --seed %" PRIu64, program->name, options->seed);
    for (enum world_limit limit = 0; limit < WORLD_LIMIT_COUNT; limit++)
        if (options->limits[limit] > 0) (void)printf(" %s %u", limit_name(limit), options->limits[limit]);
    fate_spared_text(&options->spared, list, sizeof list);
    if (list[0] != '\0') (void)printf(" --without %s", list);
    (void)printf(" --trace\n");
}

static void trace_shrunk(const struct shrunk *shrunk)
{
    struct world_options options = shrunk->options;
    struct world_report report;
    options.trace = true;
    (void)fflush(stdout);
    (void)child_run(&options, &report);
}

/* A failure that is easier to read: the command for it, and its trace. */
static void print_shrunk(const struct program *program, uint64_t seed, const struct world_report *report)
{
    struct world_options options = program->world;
    static struct shrunk shrunk;
    options.seed = seed;
    if (!shrink(&options, report, &shrunk)) {
        (void)printf("seed %" PRIu64 " is not made shorter: it does not fail again in time\n", seed);
        return;
    }
    (void)printf("shrunk, in %u runs: events %u instead of %u, steps %u instead of %u\n%s\n", shrunk.runs,
                 shrunk.report.strokes.struck, report->strokes.struck, shrunk.report.steps, report->steps,
                 shrunk.report.violation);
    print_replay(program, &shrunk.options);
    trace_shrunk(&shrunk);
}

/* AddressSanitizer's, where the program has it. */
void __lsan_disable(void) __attribute__((weak));

static int run_one(struct program *program)
{
    struct world_report report;
    struct weir_test_report counters = { .size = sizeof counters };
    if (__lsan_disable != NULL) __lsan_disable(); /* what a killed process had is lost, and no leak of the job's */
    world_run(&program->world, &report);
    (void)printf("seed %" PRIu64 ": job %s, %.1f s, digest %016" PRIx64 "\n", program->world.seed, report.job,
                 (double)report.ended_us / 1e6, report.digest);
    fill_counters(&counters, &report);
    print_counters(&counters);
    if (report.violation[0] == '\0') return 0;
    (void)printf("violation: %s\n", report.violation);
    print_replay(program, &program->world);
    return 1;
}

/* Not in this process, so that there can be more. */
static int shrink_one(struct program *program)
{
    struct world_report report;
    if (!child_run(&program->world, &report)) return 3;
    if (report.violation[0] == '\0') return 0;
    (void)printf("violation: %s\n", report.violation);
    print_shrunk(program, program->world.seed, &report);
    return report.has_crashed ? 3 : 1;
}

static void take_bad(void *user, uint64_t seed, const struct world_report *report)
{
    struct program *program = user;
    struct world_options options = program->world;
    options.seed = seed;
    if (report->job[0] == '\0') (void)printf("seed %" PRIu64 ": %s\n", seed, report->violation);
    else (void)printf("seed %" PRIu64 ": job %s: %s\n", seed, report->job, report->violation);
    print_replay(program, &options);
    if (program->failed.violation[0] != '\0') return;
    program->failed = *report;
    program->seed_failed = seed;
}

static int run_range(struct program *program)
{
    struct weir_test_report report = { .size = sizeof report };
    struct many many = { .options = &program->options, .world = program->world, .report = &report, .bad = take_bad,
                         .bad_user = program };
    const time_t began = time(NULL);
    const bool started = run_many(&many);
    (void)printf("%" PRIu64 " runs, %" PRIu64 " of them bad, %ld s\n", report.runs, report.violations + report.crashes,
                 (long)(time(NULL) - began));
    print_counters(&report);
    if (!started) (void)fprintf(stderr, "%s: no process for a run: %s\n", program->name, strerror(errno));
    if (program->failed.violation[0] != '\0' && !program->never_shrinks)
        print_shrunk(program, program->seed_failed, &program->failed);
    const bool lacks = program->sees_all && !have_all_been_seen(&report);
    return !started || report.crashes > 0 ? 3 : report.violations > 0 || lacks ? 1 : 0;
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
    for (enum world_limit limit = 0; limit < WORLD_LIMIT_COUNT; limit++)
        if (strcmp(name, limit_name(limit)) == 0)
            return parse_count(value, 0, UINT32_MAX, &program->world.limits[limit]);
    if (strcmp(name, "--without") == 0) return fate_spare(&program->world.spared, value);
    if (strcmp(name, "--jobs") == 0) return parse_count(value, 1, JOBS_MAX, &options->jobs);
    if (strcmp(name, "--seed") == 0) {
        program->one = true;
        return parse(value, &program->world.seed, &end) && *end == '\0';
    }
    if (strcmp(name, "--seeds") != 0) return false;
    program->many = true;
    return parse(value, &options->seed_first, &end) && *end == '-' && parse(end + 1, &options->seed_last, &end) &&
           *end == '\0';
}

static bool *flag_of(struct program *program, const char *name)
{
    if (strcmp(name, "--trace") == 0) return &program->world.trace;
    if (strcmp(name, "--keep-going") == 0) return &program->options.keep_going;
    if (strcmp(name, "--shrink") == 0) return &program->shrinks;
    if (strcmp(name, "--no-shrink") == 0) return &program->never_shrinks;
    if (strcmp(name, "--see-all") == 0) return &program->sees_all;
    if (strcmp(name, "--help") == 0) return &program->wants_help;
    return NULL;
}

static bool parse_all(struct program *program, int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        bool *flag = flag_of(program, argv[i]);
        if (flag != NULL) *flag = true;
        else if (i + 1 == argc || !parse_pair(program, argv[i], argv[i + 1])) return false;
        else i++;
    }
    return program->wants_help || program->one != program->many;
}

int run_main(int argc, char **argv, const struct run_jobs *jobs)
{
    static struct program program;
    program = (struct program){ .name = argc > 0 ? argv[0] : "test",
                                .options = { .size = sizeof program.options, .jobs = 2 },
                                .world = { .jobs = jobs->jobs, .job_count = jobs->job_count, .loose_job = jobs->loose,
                                           .follower = jobs->follower, .with_mishaps = jobs->loose != NULL } };
    for (uint32_t i = 0; i < jobs->job_count; i++) {
        const char *lack = author_lacks(&jobs->jobs[i]);
        if (lack == NULL) continue;
        (void)fprintf(stderr, "%s: the job to be tested: %s\n", program.name, lack);
        return 2;
    }
    if (!parse_all(&program, argc, argv)) {
        (void)fprintf(stderr, usage, program.name, program.name);
        return 2;
    }
    if (program.wants_help) {
        print_help(&program);
        return 0;
    }
    return program.many ? run_range(&program) : program.shrinks ? shrink_one(&program) : run_one(&program);
}

int weir_test_main_(int argc, char **argv, const struct weir_test_job *job)
{
    return run_main(argc, argv, &(struct run_jobs){ .jobs = job, .job_count = 1 });
}
