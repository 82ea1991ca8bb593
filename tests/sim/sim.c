/* The simulator.
 *
 *     sim --seed N [--steps M] [--trace]          one run; exit 0 only if every invariant held
 *     sim --seeds FROM-TO [--jobs J] [--steps M]  many, each in a process of its own; what they have seen is added up
 *
 * Exit codes: 0 everything held, 1 a violation, 2 usage, 3 a run hung or crashed. */
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

#include "sim/world.h"

enum { JOBS_MAX = 64 };

static const char usage[] =
    "usage: sim --seed N [--steps M] [--trace]\n"
    "       sim --seeds FROM-TO [--jobs J] [--steps M] [--keep-going]\n";

static void print_sights(const struct world_report *report)
{
#define PRINT_SIGHT(name) (void)printf(" %s=%" PRIu64, #name, report->name);
    WORLD_SIGHTS(PRINT_SIGHT)
#undef PRINT_SIGHT
    (void)putchar('\n');
}

static int run_one(const struct world_options *options)
{
    struct world_report report;
    world_run(options, &report);
    (void)printf("seed %" PRIu64 ": job %s, %.1f s, digest %016" PRIx64 "\n", options->seed, report.job,
                 (double)report.ended_us / 1e6, report.digest);
    print_sights(&report);
    if (report.violation[0] == '\0') return 0;
    (void)printf("violation: %s\nreplay: sim --seed %" PRIu64, report.violation, options->seed);
    if (options->steps > 0) (void)printf(" --steps %u", options->steps);
    (void)printf(" --trace\n");
    return 1;
}

/* ---- Many -------------------------------------------------------------------------------------------------------- */

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
        const bool sent = write(ends[1], &report, sizeof report) == (ssize_t)sizeof report;
        _exit(!sent ? 3 : report.violation[0] == '\0' ? 0 : 1);
    }
    (void)close(ends[1]);
    worker->pipe = ends[0];
    return worker->pid > 0;
}

static void add_up(struct world_report *sum, const struct world_report *more)
{
#define ADD_SIGHT(name) sum->name += more->name;
    WORLD_SIGHTS(ADD_SIGHT)
#undef ADD_SIGHT
}

/* 0, 1 or 3 */
static int finish(struct worker *worker, struct world_report *sum)
{
    struct world_report report;
    int status;
    const bool whole = read(worker->pipe, &report, sizeof report) == (ssize_t)sizeof report;
    (void)close(worker->pipe);
    (void)waitpid(worker->pid, &status, 0);
    worker->pid = 0;
    if (!whole) {
        (void)printf("seed %" PRIu64 ": %s %d\n", worker->seed, WIFSIGNALED(status) ? "died of signal" : "ended with",
                     WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
        return 3;
    }
    add_up(sum, &report);
    if (report.violation[0] == '\0') return 0;
    (void)printf("seed %" PRIu64 ": job %s: %s\n", worker->seed, report.job, report.violation);
    return 1;
}

static int run_many(uint64_t from, uint64_t to, int jobs, bool keep_going, struct world_options options)
{
    struct worker workers[JOBS_MAX] = { 0 };
    struct world_report sum = { 0 };
    uint64_t next = from, done = 0, bad = 0;
    int result = 0, running = 0;
    const time_t began = time(NULL);
    while (next <= to || running > 0) {
        for (int i = 0; i < jobs && next <= to && (result == 0 || keep_going); i++) {
            if (workers[i].pid != 0) continue;
            options.seed = next++;
            (void)fflush(stdout);
            if (!start(&workers[i], &options)) return 3;
            running++;
        }
        if (running == 0) break;
        int status;
        siginfo_t info;
        if (waitid(P_ALL, 0, &info, WEXITED | WNOWAIT) != 0) return 3;
        (void)status;
        for (int i = 0; i < jobs; i++) {
            if (workers[i].pid == 0 || workers[i].pid != info.si_pid) continue;
            const int code = finish(&workers[i], &sum);
            running--;
            done++;
            if (code != 0) bad++;
            if (code > result) result = code;
        }
    }
    (void)printf("%" PRIu64 " runs, %" PRIu64 " of them bad, %ld s\n", done, bad, (long)(time(NULL) - began));
    print_sights(&sum);
    return result;
}

static bool parse(const char *text, uint64_t *number, char **end)
{
    errno = 0;
    *number = strtoull(text, end, 10);
    return errno == 0 && *end != text;
}

int main(int argc, char **argv)
{
    struct world_options options = { 0 };
    uint64_t from = 0, to = 0, jobs = 2, steps = 0;
    bool one = false, many = false, keep_going = false, good = argc > 1;
    char *end = NULL;
    for (int i = 1; i < argc && good; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : "";
        if (strcmp(argv[i], "--trace") == 0) options.trace = true;
        else if (strcmp(argv[i], "--keep-going") == 0) keep_going = true;
        else if (strcmp(argv[i], "--seed") == 0) good = one = parse(value, &options.seed, &end) && *end == '\0' && ++i;
        else if (strcmp(argv[i], "--steps") == 0) good = parse(value, &steps, &end) && *end == '\0' && ++i;
        else if (strcmp(argv[i], "--jobs") == 0)
            good = parse(value, &jobs, &end) && *end == '\0' && jobs > 0 && jobs <= JOBS_MAX && ++i;
        else if (strcmp(argv[i], "--seeds") == 0)
            good = many = parse(value, &from, &end) && *end == '-' && parse(end + 1, &to, &end) && *end == '\0' && ++i;
        else good = false;
    }
    if (!good || one == many || steps > UINT32_MAX) {
        (void)fputs(usage, stderr);
        return 2;
    }
    options.steps = (uint32_t)steps;
    return one ? run_one(&options) : run_many(from, to, (int)jobs, keep_going, options);
}
