#include "sim/child.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/check.h"

enum { HUNG = 3 /* the watchdog of sched.c has said so */ };

static int told = -1; /* the pipe, in the process of a run */

static bool tell(const struct world_report *report)
{
    return write(told, report, sizeof *report) == (ssize_t)sizeof *report;
}

/* In place of lib/base/check.c: a belief that does not hold is what the run has found, and its sentence must come out. */
noreturn void check_failed(const char *file, int line, const char *belief)
{
    struct world_report report;
    world_tell(&report);
    report.has_crashed = true;
    const char *lib = strstr(file, "/lib/"), *tests = strstr(file, "/tests/");
    const char *shown = lib != NULL ? lib + 1 : tests != NULL ? tests + 1 : file;
    (void)snprintf(report.violation, sizeof report.violation, "check failed at %s:%d: %s", shown, line, belief);
    if (told >= 0 && tell(&report)) _exit(1);
    (void)fprintf(stderr, "%s\n", report.violation);
    abort();
}

bool child_start(struct child *child, const struct world_options *options)
{
    int ends[2];
    if (pipe(ends) != 0) return false;
    child->seed = options->seed;
    child->pid = fork();
    if (child->pid == 0) {
        struct world_report report;
        (void)close(ends[0]);
        told = ends[1];
        world_run(options, &report);
        _exit(tell(&report) ? 0 : 1);
    }
    (void)close(ends[1]);
    child->pipe = ends[0];
    if (child->pid > 0) return true;
    (void)close(ends[0]);
    child->pid = 0;
    return false;
}

bool child_finish(struct child *child, struct world_report *report)
{
    int status;
    const bool whole = read(child->pipe, report, sizeof *report) == (ssize_t)sizeof *report;
    (void)close(child->pipe);
    (void)waitpid(child->pid, &status, 0);
    child->pid = 0;
    if (whole) return !report->has_crashed;
    *report = (struct world_report){ .has_crashed = true };
    if (WIFSIGNALED(status)) {
        (void)snprintf(report->violation, sizeof report->violation, "died of signal %d", WTERMSIG(status));
    } else {
        report->has_hung = WEXITSTATUS(status) == HUNG;
        (void)snprintf(report->violation, sizeof report->violation, "%s with %d",
                       report->has_hung ? "hung, and ended" : "ended", WEXITSTATUS(status));
    }
    return false;
}

bool child_run(const struct world_options *options, struct world_report *report)
{
    struct child child;
    if (!child_start(&child, options)) return false;
    (void)child_finish(&child, report);
    return true;
}
