/* A sequence job with topics of its own, a loader and a checker: for facts about faults. */
#ifndef HARNESS_SEQUENCES_H
#define HARNESS_SEQUENCES_H

#include "harness/checker.h"
#include "harness/loader.h"

struct sequences {
    struct process_job options;
    struct checker_options topics;
    struct loader loader;
    struct checker *checker;
};

/* Makes topics and checker, and starts the loader. */
void sequences_start(struct sequences *sequences, int partitions, int records_per_second);
/* Adds an argument and its value. */
void sequences_set(struct sequences *sequences, const char *argument, const char *value);
/* Waits until `process` has committed so many times more; it must not end before. */
void sequences_await_commits(struct sequences *sequences, struct process *process, int count);
/* Stops the loader, waits until `process` has committed everything, ends it with SIGTERM, compares everything exactly. */
void sequences_finish(struct sequences *sequences, struct process *process);

#endif
