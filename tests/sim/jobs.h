/* The jobs that the simulator runs, and what their output must be: each is a graph, and a fold over its input. */
#ifndef SIM_JOBS_H
#define SIM_JOBS_H

#include <stdbool.h>
#include <stdint.h>

#include "weir/weir.h"

enum { JOB_KEYS = 24, JOB_OUTPUTS = 2 };

struct job_kind {
    const char *name;
    uint32_t inputs;  /* topics in0, in1 */
    uint32_t outputs; /* topics out0, out1 */
    void (*define)(weir_graph *graph);
    /* Takes one record of `key` with `value` in, given what the key holds, and calls `expect` for each record that must
     * come out. NULL: on commit only, the total of each changed key to out0. */
    void (*fold)(int64_t *total, int64_t value, void (*expect)(void *user, uint32_t output, int64_t value), void *user);
};

extern const struct job_kind job_kinds[];
extern const uint32_t job_kind_count;

/* Keys are "k0" to "k23", values decimal. */
int32_t job_key_parse(struct weir_bytes key);

#endif
