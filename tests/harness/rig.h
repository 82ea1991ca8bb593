/* One chain of a planned graph, without a task around it: records are fed by hand, what comes out is text.
 *
 *     rig_init(&rig); build the graph between rig_source(&rig, "in") and rig_sink(&rig, stream, "out");
 *     rig_start(&rig, options); rig_feed(&rig, 0, "k", "v"); ck_assert_str_eq(rig_output(&rig), "out k=v\n");
 *
 * Sinks write one line for each record ("out key=value"), and one for each call of the protocol ("out prepare 1"). A
 * null prints as "-", an unset field as "?". Routers get real channels, which rig_channel hands out. Failures of the
 * rig itself fail the test. */
#ifndef HARNESS_RIG_H
#define HARNESS_RIG_H

#include "graph/plan.h"

#define RIG_CHANNELS_MAX 64

struct rig_options {
    uint32_t vertex;
    uint32_t subtask;
    uint32_t parallelism;      /* 0 = 1 */
    uint32_t channel_capacity; /* 0 = 8 */
    uint64_t epoch;            /* 0 = 1 */
    int64_t clock_ms;          /* what was seen before */
    bool unchained;
    bool closed;               /* do not open the chain */
};

struct rig {
    weir_graph *graph;
    struct plan *plan;
    struct chain *chain;
    struct rig_options options;
    struct buffer output;
    uint32_t room;         /* records that sinks still take before they are blocked; UINT32_MAX = any number */
    bool verbose_times;    /* print times behind values */
    bool fail_writes;      /* sinks fail */
    bool fail_prepares;
    int64_t clock_ms;
    uint32_t wall_readings;
    struct weir_environment environment;
    struct weir_batch *batch;
    uint32_t cursor;
    void **sinks;
    struct router *routers[16];
    uint32_t router_count;
    struct channel *channels[RIG_CHANNELS_MAX];
    uint32_t channel_count;
    uint32_t channel_first[16]; /* of each router */
};

void rig_init(struct rig *rig);
void rig_deinit(struct rig *rig);
struct weir_stream rig_source(struct rig *rig, const char *name);
void rig_sink(struct rig *rig, struct weir_stream input, const char *name);
/* Plans, and makes and opens the chain of one subtask of one vertex. */
void rig_start(struct rig *rig, struct rig_options options);
/* The same, answering what chain_open said. */
enum weir_code rig_try_start(struct rig *rig, struct rig_options options, struct weir_error *error);

/* Adds to the batch that the next rig_run processes. NULL = null. */
void rig_add(struct rig *rig, const char *key, const char *value);
void rig_add_record(struct rig *rig, const struct weir_record *record);
/* Processes the batch on `input`, or goes on with it after CHAIN_BLOCKED. */
enum chain_result rig_run(struct rig *rig, uint32_t input);
/* rig_add and rig_run, which must answer CHAIN_DONE. */
void rig_feed(struct rig *rig, uint32_t input, const char *key, const char *value);
/* A whole barrier; both halves must answer CHAIN_DONE. */
struct chain_snapshot rig_barrier(struct rig *rig, uint64_t epoch);

/* What came out since the last call; valid until the next one. */
const char *rig_output(struct rig *rig);
/* The channel from router `router` to subtask `subtask`. */
struct channel *rig_channel(struct rig *rig, uint32_t router, uint32_t subtask);
/* Everything in the channel as text: records as "k=v", batches end with ";", control as "barrier 1", "end". */
const char *rig_drain(struct rig *rig, uint32_t router, uint32_t subtask);

#endif
