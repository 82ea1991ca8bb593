/* Operators: what a node of the graph does, and chains: operators of one task joined by calls.
 *
 *   operator.h   struct operator_spec: kind, callbacks, states, outputs; made by the graph builder, never changed after
 *   chain.h      a chain of operators as one subtask runs it; emit is a call to the next stage. chain_make.c joins the
 *                stages, chain.c does what a task asks of them
 *   stage.h      one operator in one subtask: what callbacks know as their task, and how stages call each other
 *   stateless.c  map, filter, process, co_process        keyed.c   key_by, keyed_process, reduce, aggregate, keyed co
 *   state_calls.h  what callbacks do with their states: state_calls.c values, state_collections.c lists and maps
 *   coalesce.c   emit on commit for operators that emit freely: the last record of each key, sent before the barrier
 *
 * Threads: a chain belongs to its task thread. Nothing here blocks, reads a clock or does I/O. */
#ifndef OPERATOR_OPERATOR_H
#define OPERATOR_OPERATOR_H

#include "record/record.h"
#include "state/state.h"

enum operator_kind {
    OPERATOR_SOURCE,
    OPERATOR_SINK,
    OPERATOR_MAP,
    OPERATOR_FILTER,
    OPERATOR_PROCESS,
    OPERATOR_KEY_BY,
    OPERATOR_CO_PROCESS,
    OPERATOR_KEYED_PROCESS,
    OPERATOR_REDUCE,
    OPERATOR_AGGREGATE,
    OPERATOR_KEYED_CO_PROCESS, /* second input keyed or broadcast: see `second_is_broadcast` */
};

/* Everything is owned by the graph and lives as long as it. */
struct operator_spec {
    enum operator_kind kind;
    const char *name;     /* unique; a key_by's is "<input>-key-by" */
    uint32_t parallelism; /* 0 = the job's */
    void *user;
    weir_open_fn *open;
    weir_close_fn *close;
    union {
        weir_map_fn *map;
        weir_filter_fn *filter;
        struct { weir_process_fn *first, *second, *finish; } process; /* second: co_process only */
        struct { weir_keyed_process_fn *first, *second; } keyed;
        weir_reduce_fn *reduce;
        struct { weir_aggregate_add_fn *add; weir_aggregate_result_fn *result; } aggregate;
        struct { weir_key_fn *key; enum weir_null_key null_key; } key_by;
        struct { const struct weir_source_type *type; const void *options; } source;
        struct { const struct weir_sink_type *type; const void *options; } sink;
    };
    enum weir_emit_mode emit;
    bool second_is_broadcast;
    uint8_t broadcast_ports; /* bit i: the user has broadcast input i, so what it brings is the same everywhere */
    bool has_own_state;      /* of the operator itself, beside that of keys */
    uint32_t state_count;    /* reduce and aggregate have one, "accumulator" */
    struct state_declaration states[WEIR_STATES_MAX];
    const struct weir_state *state_tags[WEIR_STATES_MAX]; /* what callbacks name states by */
    uint32_t output_count;                                 /* side outputs */
    const struct weir_output *outputs[WEIR_OUTPUTS_MAX];
};

static inline bool operator_is_keyed(const struct operator_spec *spec)
{
    return spec->kind >= OPERATOR_KEYED_PROCESS;
}

static inline uint32_t operator_port_count(const struct operator_spec *spec)
{
    return spec->kind == OPERATOR_CO_PROCESS || spec->kind == OPERATOR_KEYED_CO_PROCESS ? 2 : 1;
}

/* Its subtasks have shards, which checkpoints hold. */
static inline bool operator_has_shards(const struct operator_spec *spec)
{
    return operator_is_keyed(spec) || spec->state_count > 0;
}

#endif
