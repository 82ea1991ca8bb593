/* A job that counts numbers by their last digit (or by another remainder), and what it printed last of each: the body of many
 * facts.
 *
 *     digits_print(weir_aggregate(digits_by_key(graph, 1000, 0), .name = "count", .accumulator = WEIR_I64,
 *                                 .add = digits_add_one), "out");
 *     ... local_job_run(graph, NULL); digits_expect(100); */
#ifndef HARNESS_DIGITS_H
#define HARNESS_DIGITS_H

#include "weir/weir.h"

enum { DIGITS = 10, DIGITS_KEYS_MAX = 5000 };

struct digits {
    unsigned keys;
    int64_t last[DIGITS_KEYS_MAX]; /* what was printed last of each key */
    uint64_t lines;
};
extern struct digits digits;

void digits_begin(void);
/* More keys than ten: the remainders of a division by so many. */
void digits_begin_with(unsigned keys);
/* The numbers from 0 to below `count`, `per_second` of them a second (0: as fast as can be), behind a key_by. */
struct weir_keyed_stream digits_by_key(weir_graph *graph, uint64_t count, uint64_t per_second);
enum weir_code digits_add_one(weir_keyed_task *task, void *count, const struct weir_record *record);
/* A sink of that name, which keeps what comes out: a key, and a number. */
void digits_print(struct weir_stream counts, const char *name);
void digits_expect(int64_t each);

#endif
