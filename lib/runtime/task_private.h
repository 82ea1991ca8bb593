/* A task from the inside, for the task_*.c files alone:
 *
 *   task.c          the step and the thread around it, letters of both directions
 *   task_make.c     making it and its ends, restored flights
 *   task_input.c    what comes from a reader, a gate or a flight, up to a batch in hand
 *   task_barrier.c  what a barrier asks for: emission, snapshot, early parts, overtaking, bases, the end
 *
 * All of it belongs to the task's thread, once that runs. */
#ifndef RUNTIME_TASK_PRIVATE_H
#define RUNTIME_TASK_PRIVATE_H

#include "runtime/task.h"

enum phase {
    PHASE_OPENING,
    PHASE_RUNNING,
    PHASE_EMITTING,
    PHASE_SNAPSHOT,
    PHASE_FINISHING,
    PHASE_FAILED,
};

/* Records of a flight, up to a batch of them. */
struct replay {
    uint32_t stage, port;
    struct weir_batch *batch; /* NULL once it is being processed */
};

struct task {
    struct task_options options;
    void *sinks[CHAIN_STAGES_MAX];
    struct thread thread;
    struct waker waker;
    struct mailbox mailbox;

    VEC(struct gate_input) inputs;
    VEC(struct router *) routers;
    struct gate *gate;     /* tasks with channels */
    struct chain *chain;
    void *reader;          /* source tasks */
    struct weir_batch *source_batch;

    _Atomic bool cancelled;
    enum phase phase;
    uint64_t epoch;              /* the open one */
    struct weir_batch *batch;    /* being processed, up to `cursor` */
    uint32_t batch_input;        /* gate input that it came from */
    uint32_t batch_tag;
    uint32_t cursor;
    VEC(struct replay) replays;
    size_t replay_next;
    bool replaying;              /* `batch` is that of the replay before `replay_next` */
    bool blocked;                /* the chain has no room */
    bool is_held;                /* the log is behind: no input until it has taken an early part */
    bool ended;                  /* END was handled; nothing but barriers from now on */
    bool input_ended, end_said; /* source tasks end together: the job says when */
    uint64_t finish_epoch;      /* in this one; UINT64_MAX = it has not said so */
    bool barrier_waits;          /* source tasks: a barrier to begin when the batch in hand is done */
    bool waits_for_commit;       /* source tasks: no input until then */
    uint64_t overtaking;         /* the epoch whose barrier overtakes, until its flights are reported; 0 = none */
    struct letter_from_task *flight; /* of it */
    bool routers_overtaken;      /* by its barrier */
    struct weir_splits cuts;     /* of the barrier that waits */

    bool active, bytes_said;     /* told the job in this epoch */
    uint64_t positions_said;     /* digest of the positions at the last barrier; 0 = there are none yet */
    int64_t idle_look_us, lag_look_us, flush_us;
    int64_t taken_us;            /* when the batch before was taken, emission added; 0 = input ran dry since */
    int64_t emission_us;         /* when it began */
    struct gaps gaps;

    uint32_t dump_stage;
    uint64_t dump_redo;
    bool dumping, dump_may_go_on;
    struct buffer dump_chunk;

    /* ACK of the barrier that has passed, or PART, while its deltas are being written down; NULL = neither. */
    struct letter_from_task *writing;
    bool part_under_way; /* from its beginning until it is durable */

    struct {
        uint64_t records, bytes;
    } sent_before;               /* by earlier tasks of the same metrics */
    struct {
        uint64_t reads, hits, misses;
    } state_before;              /* the same */

    _Atomic uint64_t records_in, bytes_in, records_out, lag, gap_max_us, state_entries, state_bytes, state_reads;
};

/* ---- task.c */

int64_t task_now_us(const struct task *task);
/* A letter of the open epoch, to be filled in; NULL = no memory. */
struct letter_from_task *task_letter_new(struct task *task, enum letter_type type);
/* A letter that says all by its type. */
void task_tell(struct task *task, enum letter_type type);
/* Tells the job once in each epoch that something has happened in it. */
void task_say_active(struct task *task);
/* Sticky; only the first failure is told. */
void task_fail(struct task *task, const struct weir_error *error);
void task_fail_no_memory(struct task *task);
/* What is stored here is a few ms old at most. */
void task_store_metrics(struct task *task, int64_t now_us);

/* ---- task_input.c */

/* Each takes the next piece, if there is one. `*deadline_us` is lowered to when to look again. */
enum task_result task_poll_source(struct task *task, int64_t *deadline_us);
enum task_result task_take_gate_event(struct task *task);
void task_take_replay(struct task *task);
/* Goes on with the batch in hand. */
enum task_result task_process_batch(struct task *task);
/* Source tasks: whether the positions moved without records, since the last barrier. */
uint64_t task_digest_positions(struct task *task);
void task_say_moved(struct task *task);
/* The splits at which the epoch ends: all are reached exactly, so that the barrier may begin; no longer in force. */
bool task_cuts_are_reached(struct task *task);
void task_lift_cuts(struct task *task);

/* ---- task_barrier.c */

/* The soft limit brings the barrier forward. */
void task_look_at_limits(struct task *task);
/* Above the hard limit part of the delta is written early. False: not yet, and no more may change until then. */
bool task_has_room_for_changes(struct task *task);
void task_begin_barrier(struct task *task, uint64_t epoch);
enum task_result task_emit_on_commit(struct task *task);
enum task_result task_take_snapshot(struct task *task);
enum task_result task_finish(struct task *task);
/* A slice of the snapshot or part under way, whose last one completes the letter; a slice of a base. */
void task_write_snapshot(struct task *task);
void task_dump_slice(struct task *task);
/* Overtaking, as far as it can be done now. */
void task_overtake(struct task *task);
void task_take_overtake_letter(struct task *task, uint64_t epoch);
void task_take_dump_letter(struct task *task, uint32_t stage);

#endif
