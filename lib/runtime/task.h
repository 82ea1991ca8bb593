/* A task: one subtask of one vertex, as a step that never blocks; the thread around it is a shell.
 *
 *                 mail                               input: source reader, or gate
 *                  │                                        │
 *   task_step ─────┴──> RUNNING ──barrier──> EMITTING ──> SNAPSHOT ──ack──> RUNNING
 *                          │ end of input                     (each may be interrupted by back-pressure and goes on
 *                          └──> FINISHING ──> ENDED            where it stopped; barriers keep flowing behind the end)
 *
 *   any failure ──> FAILED (sticky): waits to be cancelled
 *
 * OVERTAKE n (flight.h) lets a task that has no barrier n yet begin it from RUNNING, in the middle of a batch, and takes what
 * waits in its routers out of the barrier's way. The task reports what it has of flights when barrier n has been met in all
 * of its inputs.
 *
 * At the end of its input a source's task waits for FINISH, which the job posts when all of them are there; other tasks go
 * on to FINISHING by themselves. So all of them do in one epoch, and the last words of the job are committed together.
 *
 * Changed state above the task's share of the hard limit is handed to the job as an early part of the epoch's delta, in
 * slices between batches. At most one part is under way, from its beginning until the job says that it is durable; a task
 * that reaches the limit again before that takes no input. So what it holds for the log is at most twice its share, and
 * what a batch changes.
 *
 * Owner of everything inside: the task thread. From outside come letters and reads of the counters. The wakers of channels,
 * reader and sink writers are the task's own. */
#ifndef RUNTIME_TASK_H
#define RUNTIME_TASK_H

#include "graph/plan.h"
#include "runtime/gaps.h"
#include "runtime/letters.h"
#include "runtime/metrics.h"

struct task_options {
    const struct plan_vertex *vertex;
    uint32_t vertex_index;
    uint32_t subtask_index;
    uint32_t max_parallelism;
    uint32_t attempt;
    uint64_t epoch;                /* the open one */
    int64_t clock_ms;              /* the latest time that was seen before */
    bool is_unaligned;             /* barriers may overtake: what was in flight is something that happens later */
    bool waits_for_commit;         /* a source: reads nothing before an epoch has been committed (flight.h) */
    bool was_complete;             /* every .finish was called in an earlier life, and nothing has come since */
    enum align_mode align_mode;
    const struct weir_environment *environment;
    struct mailbox *job;           /* where letters go */
    struct metrics_task *metrics;  /* borrowed; the task's thread writes it as long as it runs */
    void *source;                  /* opened source of the vertex, or NULL */
    uint32_t source_batch_records; /* that it hands over at once: 1 to BATCH_RECORDS_MAX */
    void *const *sinks;            /* opened sinks per stage of the chain; copied */
    int64_t buffer_timeout_us;
    uint64_t soft_limit_bytes;  /* of changed state, kept records and output in an epoch; for this task alone */
    uint64_t delta_limit_bytes; /* the same of changed state alone */
    uint64_t hard_limit_bytes;  /* of changed state, and of kept records, that are held in memory */
    bool bases_by_links;        /* where a store can */
};

struct task;

/* Makes the task without its channels. Environment thread. */
enum weir_code task_create(const struct task_options *options, struct task **task, struct weir_error *error);
/* Joins two tasks' ends: gives `task` one more input or router. Environment thread, before the first step. */
struct waker *task_waker(struct task *task);
/* `keeps_order`: no barrier overtakes what lies in the channel. */
bool task_add_input(struct task *task, struct channel *channel, uint32_t tag, bool keeps_order);
bool task_add_router(struct task *task, const struct router_options *options);
/* After all inputs and routers: makes gate and chain, so that shards can be restored. */
enum weir_code task_connect(struct task *task, struct weir_error *error);
struct chain *task_chain(struct task *task);
/* A record that was in flight to `port` of stage `stage` when the checkpoint was taken: processed before anything else, in the
 * order of the calls. Environment thread, before the first step. False when there is no memory. */
bool task_replay(struct task *task, uint32_t stage, uint32_t port, const struct weir_record *record);
void task_destroy(struct task *task); /* after its thread has been joined */

/* The shell: a thread that steps until it is cancelled. */
bool task_start(struct task *task);
void task_join(struct task *task);
void task_cancel(struct task *task); /* any thread; needs no memory; of the letters that wait only COMMITTED is still taken */
void task_post(struct task *task, struct letter_to_task *letter); /* any thread; takes `letter` */

enum task_result {
    TASK_WORKED,  /* did something: step again */
    TASK_WAITING, /* for input, room or mail: step when woken, or at *deadline_us (monotonic; INT64_MAX = none) */
    TASK_GONE,    /* cancelled: never step again */
};
enum task_result task_step(struct task *task, int64_t *deadline_us);

/* Read from any thread, each by itself. */
struct task_counters {
    uint64_t records_in; /* of sources only: what came from outside */
    uint64_t bytes_in;
    uint64_t records_out; /* handed to sinks */
    uint64_t lag;         /* UINT64_MAX = unknown */
    uint64_t gap_max_us;  /* longest time from a batch to the next while input was waiting, emission on commit left out */
    uint64_t state_entries, state_bytes, state_reads;
};
void task_read_counters(const struct task *task, struct task_counters *counters);
/* All of these times. */
void task_add_gaps(const struct task *task, uint64_t sums[static GAPS_BUCKETS]);

#endif
