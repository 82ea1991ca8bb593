/* What the word count reads and writes, for facts about one job: lines in, committed counts out. */
#ifndef HARNESS_WORDS_H
#define HARNESS_WORDS_H

#include "harness/process.h"

/* One line, acknowledged. */
void words_put(const char *topic, int partition, const char *line);
/* `count` lines of one word. */
void words_put_many(const char *topic, int partition, const char *word, int count);
/* What committed readers see of all partitions, as "a=1 b=2", sorted by word: for each word its newest count. Ends the fact
 * when a count does not rise. Valid until the next call. */
const char *words_read(const char *topic, int partitions);
/* Waits until that is `expected`. */
void words_await(const char *topic, int partitions, const char *expected);
/* Like words_read, but every count that was written: "a=1 a=2 b=1". Nothing is required of them. */
const char *words_read_all(const char *topic, int partitions);
/* Records that committed readers see. */
int words_count(const char *topic, int partitions);

/* A word count with topics of its own, made by words_job; the fact may add settings. */
struct words_job {
    struct process_job options;
    const char *input, *output, *job;
    int inputs, outputs; /* partitions */
};
struct words_job words_job(int inputs, int outputs);
/* Adds an argument, and the next one unless it is NULL. */
void words_set(struct words_job *job, const char *argument, const char *value);
/* Starts it and waits until it runs. */
void words_start(struct words_job *job, struct process *process);
/* And until its output is `expected`, as words_await does. */
void words_start_until(struct words_job *job, struct process *process, const char *expected);
/* With --bounded: must end with 0. */
void words_run(struct words_job *job);
/* Nothing stays open, and the group's offsets are the input's ends. */
void words_expect_all_committed(const struct words_job *job);

#endif
