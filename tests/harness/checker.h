/* Judges a job of tests/jobs/sequence.c by topics and checkpoints alone, and keeps what it has read: each call reads on.
 *
 *   I1 no loss           I2 no duplicate     I3 nothing aborted or unfinished is visible    I4 order per key
 *   I5 outputs, offsets and ledger of one commit agree     I6 state = fold of the input up to the committed offsets
 *   I7 committed offsets and checkpoints only rise         I8 in the end: no lag, no open transaction
 *   I9 descriptors, threads and disk return to the baseline
 *   I10 the log says what happened, and calls nothing else an error        I11 every crash point fired
 *
 *   checker_follow   any time: what committed readers see so far                                 I2 I3 I4 I7
 *   checker_settle   nobody runs the job: decides what is open as a restart would, then exactly  I1 I5 I6 I8
 *   checker_disk     nobody runs the job: what lies in the store                                 I9
 *
 * Every violation ends the fact with a sentence. */
#ifndef HARNESS_CHECKER_H
#define HARNESS_CHECKER_H

#include <stdbool.h>
#include <stdint.h>

#include "harness/process.h"

struct checker;

struct checker_options {
    const char *job;
    const char *input, *output, *counts; /* of harness/sequence.h */
    int partitions;                      /* of each of the three */
    const char *checkpoints;             /* --checkpoint-dir */
    int ring_size;                       /* handles of the job; 0 = 2 */
};

struct checker *checker_create(const struct checker_options *options);
void checker_destroy(struct checker *checker);

/* Data records behind the last stable offset of the outputs: written by a transaction that is open. */
int64_t checker_open_records(struct checker *checker);
void checker_follow(struct checker *checker);
void checker_settle(struct checker *checker);
/* After a clean end with at least two commits behind it. */
void checker_disk(struct checker *checker);
/* Has the job committed everything that the input holds? */
bool checker_is_caught_up(struct checker *checker);
/* Verifies the ledger against the topics, as `weir ledger verify` does. */
void checker_ledger(struct checker *checker);

/* Every line that a process logged as an error must hold one of `expected` (NULL at the end), and each of `expected` must
 * be there. I10 */
void checker_log(const struct process *process, const char *const *expected);
/* Every crash point stands in the log that WEIR_CRASH_LOG named; prints how often. I11 */
void checker_crash_points(const char *path);

struct checker_numbers {
    int64_t input;     /* records that were read of each topic */
    int64_t output;
    int64_t counts;
    int64_t commits;   /* ledger records of commits */
    int64_t settled;   /* times that everything was compared exactly */
};
struct checker_numbers checker_numbers(const struct checker *checker);

#endif
