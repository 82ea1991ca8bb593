/* A source that needs no outside system: numbered records, or records made from their number.
 *
 *   split k of S   holds the numbers k, k + S, k + 2S, ... ; position p is the p-th of them
 *
 * Positions are part of the checkpoint, so a replay makes the same records again, and after a restart counting goes on
 * where it stood, also with another parallelism. The number of splits may not change in the life of a job. */
#ifndef WEIR_GENERATOR_H
#define WEIR_GENERATOR_H

#include "weir/connector.h"

#ifdef __cplusplus
extern "C" {
#endif

#define WEIR_GENERATOR_SCRATCH_BYTES 4096

/* Fills `record` for `number`; it begins with null key, null value and no time. Bytes may lie in `scratch`
 * (WEIR_GENERATOR_SCRATCH_BYTES, reused for the next record) or in memory that outlives the job. Called on the task
 * threads of all subtasks at once; must answer the same for the same number, or a replay is none. */
typedef void weir_generator_fn(void *user, uint64_t number, char *scratch, struct weir_record *record);

struct weir_generator_options {
    WEIR_OPERATOR_FIELDS;    /* `user` is handed to `make`; open and close are unused */
    uint64_t count;          /* records in all, numbered from 0; 0 = without end (a bounded job needs one) */
    uint32_t splits;         /* 1 to 1024 parts, shared out among the subtasks; 0 = 1 */
    uint64_t per_second; /* records of all splits together; 0 = as fast as they are taken. What was missed in a stall is
                            caught up with for one second at most */
    weir_generator_fn *make; /* NULL: the value is the number as decimal text */
};
WEIR_API struct weir_stream weir_generator_(weir_graph *graph, const struct weir_generator_options *options);
#define weir_generator(graph, ...)                                                                                     \
    weir_generator_((graph),                                                                                           \
                    &(struct weir_generator_options){ .size = sizeof(struct weir_generator_options), __VA_ARGS__ })

#ifdef __cplusplus
}
#endif

#endif
