/* A chain: the operators that one task runs, joined by calls.
 *
 *   batch ─> entry stage ─emit─> stage ─emit─> stage ─emit─> router (to other tasks) or sink writer
 *
 * Life: create -> apply ... -> restored -> open -> { process | barrier | finish | tick } ... -> destroy. */
#ifndef OPERATOR_CHAIN_H
#define OPERATOR_CHAIN_H

#include "operator/operator.h"

#include "exchange/exchange.h"

#define CHAIN_TARGETS_MAX 8
#define CHAIN_STAGES_MAX 64

/* Where an output goes: to a stage of the same chain (its input port 0 or 1) or to router `index` of the task. */
struct chain_target {
    bool is_router;
    uint32_t index;
    uint32_t port;
};

/* Everybody who receives what one output emits. */
struct chain_targets {
    uint32_t count;
    struct chain_target items[CHAIN_TARGETS_MAX];
};

struct chain_stage {
    const struct operator_spec *spec;
    struct chain_targets outputs[1 + WEIR_OUTPUTS_MAX]; /* main output, then side outputs */
};

/* The same for all subtasks of a vertex. Stages are in topological order. Owned by the plan. */
struct chain_plan {
    uint32_t stage_count;
    struct chain_stage *stages;
    uint32_t router_count;
    /* Input i of the vertex (an edge of the plan; 0 = the source when the chain begins with one) enters here. */
    uint32_t entry_count;
    struct chain_targets *entries;
};

struct chain_options {
    const struct chain_plan *plan;
    const struct weir_environment *environment;
    const char *vertex_name;  /* of the task, for errors */
    uint32_t subtask_index;
    uint32_t parallelism;
    uint32_t max_parallelism;
    uint64_t epoch;           /* the open one */
    int64_t clock_ms;         /* weir_now_ms answers no earlier time */
    bool was_complete;        /* chain_finish has been committed before: no `.finish` is called a second time */
    struct router *const *routers;
    void *const *sinks;       /* per stage: the opened sink (connector.h), NULL for other stages */
    struct weir_waker waker;  /* of the task */
};

struct chain;

/* Copies what it needs of `options`; plan, environment, routers and sinks are borrowed until chain_destroy. */
enum weir_code chain_create(const struct chain_options *options, struct chain **chain, struct weir_error *error);
void chain_destroy(struct chain *chain); /* closes what was opened */

/* Restoring: the shard of stage `stage`, NULL when the stage has no state. */
struct shard *chain_shard(struct chain *chain, uint32_t stage);
/* What all subtasks had of a union, for `.open` to look at. Copies it. False when there is no memory. */
bool chain_show_union(struct chain *chain, uint32_t stage, uint32_t state, const struct state_parcel *parcel);
/* Calls every `.open`, opens sink writers. */
enum weir_code chain_open(struct chain *chain, struct weir_error *error);

enum chain_result {
    CHAIN_DONE,    /* all records of the batch are processed */
    CHAIN_BLOCKED, /* a router or a sink writer has no room: call again with the same cursor when woken */
    CHAIN_FAILED,  /* the sticky failure: chain_error */
};
/* Processes the records of `batch` that came in on `input`, from *cursor on (0 for a new batch), until done or blocked.
 * Borrows the batch. A record is never interrupted: what it emits past the bound waits in routers and writers. */
enum chain_result chain_process(struct chain *chain, uint32_t input, const struct weir_batch *batch, uint32_t *cursor);
/* The same for records that were on their way to `port` of stage `stage` when a checkpoint was taken. */
enum chain_result chain_replay(struct chain *chain, uint32_t stage, uint32_t port, const struct weir_batch *batch,
                               uint32_t *cursor);
/* From now on, or not any more: what waits in routers blocks nobody, so that a barrier gets through. Writers still do. */
void chain_hurry(struct chain *chain, bool hurries);
/* Asks routers and writers whether there is room, retries what waits. */
enum chain_result chain_unblock(struct chain *chain);

/* What one barrier of one task hands to the job; of an early part of an epoch, the deltas and sizes alone. Freed with
 * chain_snapshot_clear. */
struct chain_snapshot {
    uint64_t epoch;
    uint32_t stage_count;
    struct buffer *deltas;             /* per stage; empty without state, or when unchanged */
    struct weir_output_totals totals;  /* of all sinks of the chain */
    uint64_t state_entries, state_bytes, state_reads;
    uint64_t cache_hits, cache_misses; /* since the shards were made, as state_reads */
    uint64_t generation;               /* the highest that a shard of the chain has given */
    int64_t clock_ms;                  /* the latest time that the chain has seen */
};
void chain_snapshot_clear(struct chain_snapshot *snapshot);

/* Barrier, first half: everything that is emitted on commit is emitted now. CHAIN_BLOCKED asks to be called again when
 * woken; it goes on where it stopped, and until it has answered CHAIN_DONE only chain_unblock, chain_tick,
 * chain_proceed and chain_committed may be called in between. Emits nothing behind chain_finish. */
enum chain_result chain_emit_on_commit(struct chain *chain, uint64_t epoch);
/* Second half: begins the snapshots of the shards, prepares writers, flushes routers and sends the barrier on. Never
 * blocked: a barrier that finds a channel full waits in the router. `snapshot` is complete, and may be cleared or taken
 * elsewhere, when chain_snapshot_step has answered true, or the chain is gone. */
enum chain_result chain_snapshot(struct chain *chain, uint64_t epoch, struct chain_snapshot *snapshot);
/* Writes down some `changes_max` more of what changed in the epoch that was closed; records of the next one may be
 * processed in between. True when all is written. */
bool chain_snapshot_step(struct chain *chain, size_t changes_max);

/* Begins an early part of the open epoch: the deltas of what has changed since the barrier or the part before it. Written
 * down by chain_snapshot_step, under the same terms; no snapshot may be under way, and chain_emit_on_commit must wait
 * until it is written. CHAIN_DONE or CHAIN_FAILED. */
enum chain_result chain_part(struct chain *chain, struct chain_snapshot *part);

/* Every input has ended: emits what is kept for the commit and calls `.finish`, stage by stage, and sends END on.
 * Blocked and continued like chain_emit_on_commit. No records may follow; barriers may. */
enum chain_result chain_finish(struct chain *chain);
/* Sends what lies in partial batches and lets writers work. Answers as chain_unblock. */
enum chain_result chain_tick(struct chain *chain);
enum weir_code chain_proceed(struct chain *chain, uint64_t epoch, struct weir_error *error);   /* writer_proceed */
void chain_committed(struct chain *chain, uint64_t epoch);                                     /* writer_committed */

/* Bytes for the limits of an epoch. */
uint64_t chain_delta_bytes(const struct chain *chain);     /* of a part that would begin now */
uint64_t chain_kept_bytes(const struct chain *chain);      /* of records that are kept for the commit */
uint64_t chain_unflushed_bytes(const struct chain *chain); /* as the sinks count what the epoch has written */
uint64_t chain_records_out(const struct chain *chain); /* handed to sink writers since create */
uint64_t chain_bytes_out(const struct chain *chain);   /* keys and values of those */

const struct weir_error *chain_error(const struct chain *chain);

#endif
