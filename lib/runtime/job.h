/* A job: launch, coordinate, commit, restart, stop.
 *
 *                    letters                     ┌──> environment worker: open, look things up, restore
 *   tasks ─────────────────────────> job thread ─┼──> log writer: frames, deletions          (each piece comes back
 *   decider's threads ─────────────>     │       ├──> base writer                             as WORK_DONE)
 *   user (stop, cancel) ───────────>     │       └──> tasks: barriers, proceed, committed
 *                                        │
 *             coordinator_step: when a barrier is sent, when a checkpoint is complete
 *             commit_step:      what is done about it, in which order
 *
 *   job.c              the thread, its letters and timers
 *   job_create.c       what a program asks of it: making, starting, stopping, the end
 *   job_machines.c     both machines are told what happens, and what they ask for is done
 *   job_status.c       the numbers that others may read
 *   job_history.c      what became of the last checkpoints, and what went wrong
 *   job_observe.c      metrics and history for others to read (weir/observe.h)
 *   job_environment.c  blocking work: opening connectors and store, founding, splits
 *   job_examine.c      what is wrong around the job, told before it starts
 *   job_facts.c        what ledger, mirrors and store say, and which checkpoint that makes the newest
 *   job_restore.c      a checkpoint becomes tasks with state
 *   job_attempt.c      tasks and channels of one attempt: made, started, cancelled
 *   job_frame.c        what tasks reported becomes a frame, or an early part of one, and a ledger record
 *   job_flight.c       records that a barrier overtook: into a frame, and out of one
 *   job_append.c       frames and early parts on their way into the log
 *   job_states.c       the states of the job and those of a checkpoint
 *   job_stores.c       what lies behind the shards
 *   job_base.c         when a base is written, which shard is next
 *   job_savepoint.c    taking savepoints
 *   job_begin.c        beginning from one
 *
 * The job thread owns everything below except what says otherwise, and never blocks. Workers see the job only through their
 * work's arguments, and `store`, whose functions say which thread may call them. */
#ifndef RUNTIME_JOB_H
#define RUNTIME_JOB_H

#include <string.h>

#include "checkpoint/commit.h"
#include "checkpoint/coordinator.h"
#include "checkpoint/ledger.h"
#include "checkpoint/manifest.h"
#include "checkpoint/pointer.h"
#include "checkpoint/restart.h"
#include "checkpoint/retained.h"
#include "checkpoint/retention.h"
#include "checkpoint/savepoint.h"
#include "checkpoint/store.h"
#include "checkpoint/strategy.h"
#include "graph/plan.h"
#include "runtime/config.h"
#include "runtime/letters.h"
#include "runtime/metrics.h"
#include "runtime/position_map.h"
#include "runtime/task.h"
#include "runtime/worker.h"
#include "state/holdings.h"

#define JOB_SLOT "0"
/* All positions travel with the offsets this often, else those that moved (R4). */
#define JOB_ALL_POSITIONS_US 5000000
#define JOB_LATENCY_SAMPLES 2048

/* A source operator: instance, splits, and who reads them. */
struct job_source {
    const struct operator_spec *spec;
    uint32_t vertex;
    void *instance;
    struct weir_splits splits; /* positions at the last complete snapshot */
    uint32_t assigned;         /* splits handed out so far: the next goes to subtask assigned % parallelism */
    bool in_transaction;       /* its positions travel in the decider's transaction */
};

struct job_sink {
    const struct operator_spec *spec;
    uint32_t vertex, stage;
    void *instance;
};

/* A base in the store, texts owned. */
struct job_base {
    struct store_base_result file;
    bool is_links; /* of files by reference */
    uint32_t group_first, group_count;
    uint64_t redo_epoch;
};

/* An operator with state, and what the store holds of it. */
struct job_keyed {
    const struct operator_spec *spec;
    uint32_t vertex, stage;
    VEC(struct job_base) bases;      /* that the next manifest names; in the order in which they are applied */
    uint64_t born_epochs[WEIR_STATES_MAX]; /* of its states: the first epoch that each was declared in */
    int64_t expires_since_ms[WEIR_STATES_MAX]; /* when their values began to expire, 0 = they do not */
    int64_t gone_ms[WEIR_STATES_MAX]; /* what was touched no later has expired for good, 0 = nothing has */
};

/* What the log holds of one shard since its base. */
struct job_shard {
    uint32_t keyed;   /* index */
    uint32_t subtask;
    uint64_t log_bytes;
    uint64_t frames;
    uint64_t state_bytes;
    struct links known;   /* files that its store and a base both have: the next base refers to them */
    size_t linked;        /* number of the operator's base, from 1, that its store was opened with; 0 = none */
};

/* The base being written, at most one. */
struct job_dump {
    bool active;
    bool cancelled;          /* the attempt ended: what comes is thrown away */
    uint32_t shard;          /* index */
    struct store_base *file; /* base writer's */
    bool written;            /* finished: joins the bases at the next barrier */
    struct job_base base;
    uint64_t log_bytes, frames; /* of the shard when the base began: what it makes superfluous */
    struct links links;      /* what it refers to, where it does */
};

/* A store that was opened, on its way to its shard. */
struct job_store {
    struct state_store *store;
    struct links known;
    size_t linked;
};

/* The savepoint that is being taken, at most one (job_savepoint.c). */
struct job_taking {
    enum { TAKING_NOTHING, TAKING_PREPARES, TAKING_PREPARED, TAKING_WAITS, TAKING_COPIES } phase;
    bool stops;              /* the checkpoint is the last one before the job ends */
    bool in_flight;          /* a piece of work is with the base writer */
    bool given_up;
    uint64_t ticket;         /* WAITS: of the checkpoint */
    char *directory;
    struct savepoint *copy;  /* COPIES; the base writer's while in flight */
};

/* What an operator of the savepoint is called in the job; NULL: what it left is not taken over. */
struct job_rename {
    const char *from, *to;
};

/* The savepoint that the job is to begin from. Read once, when the job is opened. */
struct job_from {
    const char *path; /* NULL = none */
    bool was_read;
    char missing[1000]; /* why it cannot be; "" = it can */
    struct savepoint_mark mark; /* the beginning of its id alone, when it is missing */
    struct store *store;
    struct arena names;
    VEC(struct job_rename) renames;
    const char *map_path; /* NULL = none */
    struct position_map map;
};

/* Percentiles of the last samples. */
struct job_latency {
    uint32_t count, next;
    double last_ms;
    double samples_ms[JOB_LATENCY_SAMPLES];
};

/* Early parts of the open epoch, from the tasks' letters to the log. One is written at a time, and only when the frame
 * before it is durable, because a part that had to go elsewhere would change its name, which the next one holds. */
struct job_parts {
    VEC(struct letter_from_task *) waiting; /* in the order in which they came; those of the next epoch among them */
    bool active;                            /* `frame` is on its way into the log, for `vertex` and `subtask` */
    uint32_t vertex, subtask;
    struct buffer frame;
    struct weir_frame_name name;
    struct store_chain durable; /* the epoch's parts so far */
    bool completing;            /* every task has reported; the frame waits for the last part */
    bool final;
};

/* The epoch that closes: what was reported, and what was made of it. Lives until the next SNAPSHOT. */
struct job_closing {
    uint64_t epoch;
    struct arena arena;              /* the manifest's arrays and texts */
    struct manifest manifest;
    struct buffer frame;
    struct weir_frame_name name;     /* settled when `durable` */
    bool durable;
    struct weir_frame_name before;   /* the frame that was committed before; its parent unless there are parts */
    struct store_chain parts;        /* early parts of the epoch, in the order of the chain */
    VEC(struct weir_ledger_range) ranges;
    struct weir_splits moved;        /* positions for the transaction */
    uint64_t records_out, dead_letters; /* of this epoch */
    bool is_counted;                 /* as committed */
    int64_t barrier_us;
    uint32_t append_try;
};

/* The last checkpoints and failures (job_history.c). */
struct job_history {
    struct weir_checkpoint checkpoints[WEIR_CHECKPOINTS_KEPT]; /* rings: number n is at n modulo their size */
    uint64_t checkpoint_count;
    struct weir_failure failures[WEIR_FAILURES_KEPT];
    uint64_t failure_count;
};

/* When the epoch in flight got where; monotonic microseconds, 0 = not yet. */
struct job_moments {
    bool open; /* the newest checkpoint of the history is this one, and in progress */
    int64_t barrier, aligned, encoded, durable, flushed, commit_sent;
};

struct weir_job {
    /* Set at creation. */
    char name[72];
    char program[72];
    weir_graph *graph;
    const weir_config *config;
    struct weir_environment environment;
    struct plan *plan;
    const struct weir_decider_type *decider_type;
    bool exactly_once, bounded;
    bool in_memory; /* the store: execution.checkpointing.storage */
    struct weir_connector_context context; /* the decider's */

    struct thread thread;
    struct waker waker;
    struct mailbox mailbox;
    int ended_descriptor;
    volatile bool give_up_discovery;

    /* Opened on the environment thread, once. */
    struct worker *environment_worker, *log_writer, *base_writer;
    struct store *store;
    void *decider;
    VEC(struct job_source) sources;
    VEC(struct job_sink) sinks;
    struct {
        uint32_t in_flight; /* pieces of work: opening, examining */
        struct weir_error error;
    } opening;
    bool started;           /* opened, and the commit machine runs */
    _Atomic bool log_ready; /* the log of this incarnation was begun: the log writer may prepare segments */

    struct commit commit;
    struct coordinator coordinator;
    bool coordinator_ready;
    struct strategy strategy;
    struct retention retention;
    bool retention_ready;

    /* The attempt. */
    uint32_t attempt;
    uint32_t works; /* in flight for this attempt: TASKS_GONE waits for them */
    bool unwinding;
    VEC(struct task *) tasks;            /* vertex by vertex */
    uint32_t *vertex_first;              /* index of each vertex's first task */
    VEC(struct channel *) channels;
    uint32_t tasks_started, tasks_gone, tasks_ended;
    uint32_t inputs_ended;               /* source tasks that have come to the end of their input */
    bool is_complete;                    /* the newest checkpoint: the end was said, and no position has moved since */
    bool was_complete;                   /* the restored checkpoint has every input's end in it, and nothing came since */
    uint64_t proceeded;                  /* newest PROCEED, for tasks that are started later */
    VEC(struct job_keyed) keyed;
    VEC(struct job_shard) shards;
    struct {
        struct store_memory *memory;
        VEC(struct job_store) open; /* until the tasks are made: in the order of the shards */
        char *temporary;            /* folder, where nobody has named one; NULL = none yet */
    } stores;
    struct holdings holdings;            /* of memory, by state */
    uint64_t frames_charged;             /* job_hold_frames */
    struct job_dump dump;
    struct job_taking taking;
    struct job_from from;
    VEC(struct letter_from_task *) acks; /* per task: of the epoch in flight */
    VEC(struct letter_from_task *) flights; /* of the epoch in flight, of tasks that have any */
    bool replays;                        /* the attempt begins with flights of the checkpoint restored */
    struct job_parts parts;
    struct job_closing closing;
    int64_t append_failing_us;           /* since when appending to the log fails; 0 = it does not */
    int64_t begin_failing_us;            /* the same of beginning one, through all attempts */
    struct weir_output_totals totals;    /* cumulative, committed or in flight */
    uint64_t generation;                 /* no shard has given a higher one */
    int64_t clock_ms;                    /* no task has seen a later time */
    struct restart_decision decision;    /* of this attempt */
    struct {
        enum weir_code code;
        struct weir_frame_name frame;
    } doubted; /* the last verdict against a start: see job_verdict_failed */
    uint64_t incarnation_begun;          /* the highest whose log this process began */
    struct weir_decider_event facts;     /* what LOOKED or READ brought */
    bool rewrite_mirrors;
    bool founded;                        /* by this process, and committed: --fresh is over */

    /* Times, monotonic. */
    int64_t barrier_us, all_positions_us, discovery_us, wait_us, publish_us, anchors_us, append_retry_us, lag_commit_us;
    int64_t watch_us;        /* when to look whether somebody else took the job over */
    uint64_t watched_epochs; /* `epochs` at the last watch */
    int64_t retrying_since_us, said_retrying_us;
    int64_t coordinator_timer_us;
    int64_t begun_us[COMMIT_HANDLES_MAX]; /* when the handle's transaction got its first request; 0 = none */
    bool discovering;
    struct weir_anchor *anchors; /* of `anchor_epoch`, for the next ledger record */
    size_t anchor_count;
    uint64_t anchor_epoch;

    /* Tickets of checkpoints that were asked for. What the job knew of when it sent a barrier is done with its commit. */
    struct {
        _Atomic uint64_t given; /* by any thread */
        uint64_t taken, in_flight, done;
    } tickets;

    struct job_latency commit_latency, durable_latency;
    uint64_t attempt_records_out; /* committed by this attempt */
    uint64_t records_in_before, bytes_in_before, state_reads_before, records_out_committed, epochs, restarts, gap_max_us;
    uint64_t gaps_before[GAPS_BUCKETS];

    struct job_moments moments;
    struct metrics_job metrics; /* read by any thread */

    /* Read by any thread under the mutex, written by the job thread (listed in lib/README.md). */
    pthread_mutex_t status_mutex;
    struct weir_job_status status;
    struct job_history history;
    struct weir_savepoint_status savepoint_status;
    bool savepoints_closed; /* the job has ended: none is begun any more */
    struct weir_error outcome; /* once ended_descriptor is readable */
    bool ended;                /* job thread */
};

/* ---- job.c ---------------------------------------------------------------------------------------------------------- */

#define JOB_NEVER_US INT64_MAX
#define JOB_WATCH_US 2000000 /* between looks at the ledger */

void job_run(void *job); /* the function of the thread */
int64_t job_now_us(const struct weir_job *job);
void job_log(const struct weir_job *job, enum weir_log_level level, const char *format, ...) WEIR_PRINTF(3, 4);
/* A warning with the error's code; `what` stands before its sentence. */
void job_log_error(const struct weir_job *job, const struct weir_error *error, const char *what);
/* A ticket that was given; then the job ends, or it does not. */
void job_ask_for_checkpoint(struct weir_job *job, uint64_t ticket, bool aligned, bool stops);
/* Hands work to a worker on behalf of the attempt. */
void job_submit(struct weir_job *job, struct worker *worker, struct work *work);
/* Zeroed work of `size`, with its functions; NULL after reporting that there is no memory. */
void *job_work(struct weir_job *job, size_t size, enum weir_code (*run)(struct work *), void (*done)(struct work *, void *));

/* ---- job_machines.c ------------------------------------------------------------------------------------------------- */

/* Feeds the commit machine and executes what it answers. */
void job_commit_event(struct weir_job *job, struct commit_event event);
/* FAILED, from whatever part. */
void job_failed(struct weir_job *job, const struct weir_error *error);
void job_no_memory(struct weir_job *job, const char *what);
/* Broker trouble that a bounded job has put up with for long enough. A broker that answers and refuses keeps its code. */
void job_out_of_patience(const struct weir_job *job, struct weir_error *error);
/* Feeds the coordinator, at this moment. */
void job_coordinator_event(struct weir_job *job, struct coordinator_event *event);
void job_tell_coordinator(struct weir_job *job, enum coordinator_event_type type, uint64_t epoch, uint32_t subtask);
/* The first request of the epoch's transaction was made. */
void job_note_transaction(struct weir_job *job, uint64_t epoch);
/* When the oldest transaction that is open got its first request; 0 = none is open. */
int64_t job_oldest_transaction_us(const struct weir_job *job);
void job_add_sample(struct job_latency *latency, double ms);

/* ---- job_status.c --------------------------------------------------------------------------------------------------- */

bool job_is_running(const struct weir_job *job);
void job_publish(struct weir_job *job); /* and again when job->publish_us has come */

/* ---- job_history.c -------------------------------------------------------------------------------------------------- */

void job_history_barrier(struct weir_job *job, uint64_t epoch);
void job_history_encoded(struct weir_job *job);   /* its frame */
void job_history_durable(struct weir_job *job);
void job_history_flushed(struct weir_job *job);
void job_history_committed(struct weir_job *job, uint64_t epoch);
/* An attempt ends, whatever is under way. */
void job_history_discarded(struct weir_job *job);
/* The checkpoint that the attempt before closed as failed had been committed: it counts. */
void job_history_overtaken(struct weir_job *job);
void job_history_failed(struct weir_job *job, const struct weir_error *error);

/* ---- job_environment.c ---------------------------------------------------------------------------------------------- */

struct job_restored {
    bool is_complete, was_complete; /* as the job's */
};

/* Work that needs nothing but the job: its thread does not touch what this uses until it is done. */
struct job_work {
    struct work work;
    struct weir_job *job;
    uint64_t epoch;
    struct job_restored restored;
};
void job_submit_own(struct weir_job *job, struct worker *worker, uint64_t epoch,
                    enum weir_code (*run)(struct work *), void (*done)(struct work *, void *));
/* Of an attempt that is over, or ends: nobody waits for it any more. */
bool job_is_stale(const struct weir_job *job, const struct work *work);

/* What a connector is told of the job; `spec` NULL: the decider. */
struct weir_connector_context job_context(const struct weir_job *job, const struct operator_spec *spec,
                                          uint32_t parallelism);
void job_open(struct weir_job *job);    /* then START */
void job_close(struct weir_job *job);   /* workers are stopped */
void job_found(struct weir_job *job);   /* then SNAPSHOT 0 */
void job_restore(struct weir_job *job, uint64_t epoch); /* then RESTORED */
void job_drop(struct weir_job *job);    /* then DROPPED */
/* Environment worker: looks for splits of one source, and merges what is found into what is known. */
enum weir_code job_discover_into(struct weir_job *job, struct job_source *source, bool founding, bool verify,
                                 struct weir_error *error);
/* Positions of the group instead of the frame's (--position group). */
void job_take_group_positions(struct weir_job *job, struct weir_splits *splits);
/* The list of files that retention works on: nothing restored, so everything that is there may go one day. */
enum weir_code job_start_retention(struct weir_job *job, uint64_t incarnation, struct weir_error *error);
void job_discover(struct weir_job *job);
void job_commit_lag(struct weir_job *job);

/* ---- job_examine.c -------------------------------------------------------------------------------------------------- */

/* Whether any connector has something to say. */
bool job_has_examinations(const struct weir_job *job);
/* Environment worker: logs what is worth a warning about where checkpoints lie. */
void job_warn_of_checkpoints(const struct weir_job *job);
/* Base writer: lets the connectors examine what they need. Fails with the first error that a start is refused for. */
enum weir_code job_examine(struct work *work);

/* ---- job_facts.c ---------------------------------------------------------------------------------------------------- */

void job_looked(struct weir_job *job);  /* judges job->facts: LOOKED or FAILED */
uint32_t job_handles_named(const struct weir_job *job); /* by job->facts: the largest ring (R10) */
void job_resolve(struct weir_job *job); /* then RESOLVED or FAILED */
/* FAILED. Ledger, group and store are read one after another. A start that is being overtaken by another one, which commits, and
 * deletes what nobody needs any more, may find that they contradict each other, or that a file is missing. So all is looked
 * at once more (the error's remedy becomes REPLAY); a verdict that comes a second time about the same frame is a real one. */
void job_verdict_failed(struct weir_job *job, struct weir_error *error);

/* ---- job_restore.c -------------------------------------------------------------------------------------------------- */

/* Environment worker. Makes the tasks for open epoch `epoch`, with the state of a checkpoint in `store`: of the job's own, or
 * of the savepoint that it is founded from. */
enum weir_code job_restore_checkpoint(struct weir_job *job, struct store *store, const struct weir_frame_name *name,
                                      uint64_t epoch, struct job_restored *restored, struct weir_error *error);

/* ---- job_attempt.c -------------------------------------------------------------------------------------------------- */

/* Tasks and channels for open epoch `epoch`; `was_complete`: of a job whose last words are said, and which has no new
 * input. Environment thread during a restore, else job thread. */
enum weir_code job_make_tasks(struct weir_job *job, uint64_t epoch, bool was_complete, struct weir_error *error);
/* The operator's state in one of its subtasks, whose task is made. */
struct shard *job_shard_of(const struct weir_job *job, const struct job_keyed *keyed, uint32_t subtask);
void job_start_tasks(struct weir_job *job, uint64_t epoch);
void job_cancel_tasks(struct weir_job *job);
void job_destroy_tasks(struct weir_job *job);
/* One more letter of a task; true when it was the last thing that the unwinding waited for. */
void job_look_unwound(struct weir_job *job);
void job_post_all(struct weir_job *job, enum letter_type type, uint64_t epoch, bool sources_only,
                  const struct weir_splits *cuts);
void job_post_part_durable(struct weir_job *job, uint32_t vertex, uint32_t subtask);
/* Hands splits beyond source->assigned to their subtasks. */
void job_assign_splits(struct weir_job *job, struct job_source *source);

/* ---- job_frame.c ---------------------------------------------------------------------------------------------------- */

/* From the acks (none for epoch 0) to an encoded frame. False: out of memory. */
bool job_encode_frame(struct weir_job *job, uint64_t epoch);
/* Deltas and frames that are in memory are counted as state's. */
void job_hold_frames(struct weir_job *job);
/* From one PART letter to job->parts.frame and .name. False: out of memory. */
bool job_encode_part(struct weir_job *job, const struct letter_from_task *letter);
void job_drop_acks(struct weir_job *job);
/* The ledger record for the frame as it is named now; the incarnation record, or the one that says that all was dropped.
 * free() its data. */
bool job_ledger_commit(struct weir_job *job, char key[LEDGER_KEY_MAX], struct weir_bytes *value);
bool job_ledger_incarnation(struct weir_job *job, enum weir_ledger_kind kind, char key[LEDGER_KEY_MAX],
                            struct weir_bytes *value);
/* Outputs stand in every manifest, from the founding on: one that nothing was written to with its first partition, and a count
 * of 0. So a second copy of the job finds out whose output it would write to. False: out of memory. */
bool job_name_outputs(struct weir_job *job);
static inline bool job_is_same_frame(const struct weir_frame_name *a, const struct weir_frame_name *b)
{
    return a->incarnation == b->incarnation && a->epoch == b->epoch && strcmp(a->file, b->file) == 0;
}
void job_closing_clear(struct job_closing *closing);
/* The closing epoch is committed; a second time it is not counted. */
void job_count_commit(struct weir_job *job);

/* ---- job_flight.c --------------------------------------------------------------------------------------------------- */

/* Whether barriers overtake in this job. */
bool job_is_unaligned(const struct weir_job *job);
/* Whether what is under way on an edge is never overtaken (flight.h). */
bool job_keeps_order(const struct plan *plan, const struct plan_edge *edge);
/* Takes the letter. */
void job_take_flight(struct weir_job *job, struct letter_from_task *letter);
void job_drop_flights(struct weir_job *job);
/* Into the manifest of the epoch that closes. False when there is no memory. */
bool job_fill_flights(struct weir_job *job, struct manifest *manifest);
/* Environment worker, when tasks are made: deals the flights of `manifest` out to them. */
enum weir_code job_replay_flights(struct weir_job *job, const struct manifest *manifest, struct weir_error *error);

/* ---- job_append.c --------------------------------------------------------------------------------------------------- */

void job_take_part(struct weir_job *job, struct letter_from_task *letter);     /* takes the letter */
void job_complete(struct weir_job *job, uint64_t epoch, bool final);           /* every task has reported: SNAPSHOT */
void job_append(struct weir_job *job, const struct commit_action *action);     /* then DURABLE or APPEND_FAILED */
void job_append_again(struct weir_job *job);                                   /* what failed before */
void job_parts_clear(struct job_parts *parts);

/* ---- job_states.c --------------------------------------------------------------------------------------------------- */

/* More than any operator declares, and what a manifest may hold. */
#define JOB_STATES_WRITTEN_MAX 256

/* As the next manifest, and the next base, say them; keyed->spec->state_count of them. NULL, false: no memory. */
struct manifest_state *job_states_of(const struct job_keyed *keyed, struct arena *arena);
bool job_states_encode(const struct job_keyed *keyed, struct buffer *out);
/* Holds the states of a checkpoint that is about to be restored against the job's: name, kind, form, version. What the job
 * does not declare any more stops it, or is given up where the configuration says so; what is new is born in `epoch`. */
enum weir_code job_states_claim(struct weir_job *job, const struct manifest *manifest, uint64_t epoch,
                                struct weir_error *error);
/* All states are born in `epoch`, and those that expire do so from now on. */
void job_states_found(struct weir_job *job, uint64_t epoch);
/* The clock went on: what has expired by now is gone for good. Before a frame is encoded. */
void job_states_age(struct weir_job *job);
/* Before this epoch nothing was written of the operator's states; UINT64_MAX when it has none. */
uint64_t job_states_born(const struct job_keyed *keyed);
/* Gives the tasks, whose shards are restored, what is the operators' own: `written` was so many subtasks'. */
enum weir_code job_states_deal_out(struct weir_job *job, const struct manifest *written, struct weir_error *error);
/* Whether values that lie in files of their writer's can be used as they are; `given_up` gets the names of states that are
 * others by now. */
bool job_states_are_same(const struct job_keyed *keyed, const struct manifest_state *written, size_t count,
                         const struct buffer *stamped, const char *given_up[JOB_STATES_WRITTEN_MAX],
                         uint32_t *given_up_count);
void job_states_map(const struct job_keyed *keyed, const struct manifest_state *written, size_t count,
                    struct state_mapping mapping[JOB_STATES_WRITTEN_MAX]);

/* ---- job_stores.c --------------------------------------------------------------------------------------------------- */

void job_stores_note(const struct weir_job *job); /* what the backend's name means, where that is not obvious */
bool job_stores_are_linked(const struct weir_job *job); /* by bases, instead of being written down as units */
/* Environment worker. Nothing where state is in memory. */
/* `manifest`: of the checkpoint in the job's own store that is restored, NULL = none. */
enum weir_code job_stores_open(struct weir_job *job, const struct manifest *manifest, struct weir_error *error);
/* What all of state may take in memory; 0 = there is no budget. */
uint64_t job_stores_budget(const struct weir_job *job);
/* Of an epoch (task.h): what the configuration says, or less for changed state where the budget is small. */
struct job_limits {
    uint64_t soft_bytes, delta_bytes, hard_bytes;
};
struct job_limits job_stores_limits(const struct weir_job *job);
void job_stores_use(struct weir_job *job);   /* the tasks were made: their shards take the stores */
void job_stores_drop(struct weir_job *job);  /* those that nobody took */
void job_stores_close(struct weir_job *job); /* the tasks are gone: the folders go, too */

/* ---- job_base.c ----------------------------------------------------------------------------------------------------- */

void job_base_consider(struct weir_job *job);                                  /* after a commit */
void job_base_chunk(struct weir_job *job, struct letter_from_task *letter);    /* from the task that dumps */
void job_base_join(struct weir_job *job);                                      /* at a barrier: what is written counts */
void job_base_cancel(struct weir_job *job);
void job_shards_clear(struct weir_job *job);
/* Of how many key groups in [first, end) the operator's base with this index is the newest. */
uint32_t job_base_newest_of(const struct manifest_operator *written, size_t index, uint32_t first, uint32_t end);
/* Describes a base of one subtask's shard; its file is not known yet. */
struct job_base job_base_of(const struct weir_job *job, const struct job_keyed *keyed, uint32_t subtask,
                            uint64_t redo_epoch);
void job_delete_files(struct weir_job *job);                                   /* R3: after a commit only */

/* ---- job_savepoint.c ------------------------------------------------------------------------------------------------ */

void job_savepoint_asked(struct weir_job *job, struct letter_savepoint *letter);
/* Asks for its checkpoint when the job runs. After each letter. */
void job_savepoint_look(struct weir_job *job);
/* A checkpoint is committed. */
void job_savepoint_committed(struct weir_job *job, bool final);
/* What had to wait for the end of an attempt. */
void job_savepoint_go_on(struct weir_job *job);
/* True while a copy is made: the store keeps everything, and the job does not end. */
bool job_savepoint_is_copying(const struct weir_job *job);
void job_savepoint_give_up(struct weir_job *job, const char *why);

/* ---- job_begin.c ---------------------------------------------------------------------------------------------------- */

/* User's thread. What is to be different from the savepoint; WEIR_USAGE. */
enum weir_code job_begin_configure(struct weir_job *job, struct weir_error *error);
void job_begin_deinit(struct weir_job *job);

/* The rest: environment worker. Where the job is to begin from; what is wrong with it is kept for who needs it. */
void job_begin_read(struct weir_job *job);
/* Something of the savepoint is not taken over as it is, so that the history has to begin anew with it. */
bool job_begin_is_changed(const struct weir_job *job);
/* Of a frame of the savepoint: operators get the names that they have in the job, what is not taken over disappears. */
void job_begin_rename(const struct weir_job *job, struct manifest *manifest);
/* Holds names and outputs of the savepoint against the job's, and renames as above. */
enum weir_code job_begin_check(const struct weir_job *job, struct manifest *manifest, struct weir_error *error);
/* Where the source begins to read each split that the savepoint names; `splits` is empty. */
enum weir_code job_begin_positions(const struct weir_job *job, const struct job_source *source,
                                   const struct manifest_source *written, struct weir_splits *splits,
                                   struct weir_error *error);
/* Makes the tasks with the savepoint's state, and bases of it in the job's own store. */
enum weir_code job_begin_found(struct weir_job *job, struct job_restored *restored, struct weir_error *error);

#endif
