/* Aligns barriers across the inputs of one task. Pure: no clock, I/O or threads.
 *
 *            BARRIER n on one input           BARRIER n on the last input
 *   FLOWING ------------------------> HOLDING ---------------------------> FLOWING
 *      ^                               |   |      action: SNAPSHOT n, which resumes every held input
 *      +---------- ABORT n ------------+   |
 *         action: RESUME                   +--- BARRIER m > n: HOLDING m; action: RESUME, but for the input of m
 *
 * Unaligned: barrier n overtakes what lies in front of it (runtime/flight.h has the whole picture).
 *
 *   FLOWING, HOLDING n ---OVERTAKE n---> LOGGING n ---BARRIER n on the last input---> FLOWING
 *                           action: SNAPSHOT n, RESUME        action: LOGGED n
 *
 *   With inputs that keep their order the snapshot waits until barrier n has arrived on all of these, as if it were theirs
 *   alone; the others need not wait.
 *
 * Invariants
 *   1. Exactly-once: an input is held exactly when its barrier n has arrived and the snapshot has not started. It is
 *      logged exactly when the snapshot has started and its barrier n has not arrived.
 *      At-least-once: no input is ever held; what flows between the first and the last barrier n is counted in epoch n
 *      by this task and replayed after a restart.
 *   2. Epochs only rise: each is snapshotted at most once, and never after a later one was begun.
 *   3. With one input there is no HOLDING: a barrier is answered by its snapshot at once.
 *
 * The source is Flink's SingleCheckpointBarrierHandler; an input that has ended needs no case here, because barriers
 * flow behind END (record/record.h). */
#ifndef CHECKPOINT_ALIGN_H
#define CHECKPOINT_ALIGN_H

#include <stdbool.h>
#include <stdint.h>

enum align_mode { ALIGN_EXACTLY_ONCE, ALIGN_AT_LEAST_ONCE };

/* What became of an event. All are expected; all but the first leave the alignment as it was. */
enum align_answer {
    ALIGN_TAKEN,
    ALIGN_LATE,      /* of an epoch that was snapshotted, aborted, or given up for a newer one */
    ALIGN_DUPLICATE, /* the second barrier n on one input */
    ALIGN_UNKNOWN,   /* an input that does not exist, or epoch 0, which has no barrier */
};

/* What to do about an event, in this order: resume, hold, snapshot. */
struct align_step {
    enum align_answer answer;
    bool resume;    /* inputs held so far flow again (also part of a snapshot) */
    bool hold;      /* do not read the event's input until `resume` */
    bool snapshot;  /* the task's state is exactly what came before barrier `epoch`; with LOGGING, but for what is logged */
    bool logged;    /* all that the checkpoint of `epoch` has to keep of the inputs is known */
    uint64_t epoch; /* the event's */
};

struct align {
    enum align_mode mode;
    uint64_t epoch;        /* the newest one begun, snapshotted or aborted; barriers of it or older ones are late */
    bool holding;          /* HOLDING or LOGGING `epoch`, else FLOWING */
    bool overtaking;       /* OVERTAKE `epoch` has come */
    bool logging;          /* LOGGING `epoch` */
    bool *ordered;         /* per input: it keeps its order */
    uint32_t arrived_count;
    uint32_t input_count;
    bool *arrived;         /* per input: barrier `epoch` was here; all false while FLOWING */
};

/* `epoch_done`: the last epoch that needs no barrier any more (what was restored). False when there is no memory. */
bool align_init(struct align *align, enum align_mode mode, uint32_t input_count, uint64_t epoch_done);
void align_deinit(struct align *align);

/* Barriers do not overtake what lies in front of them on this input. Before the first event. */
void align_keep_order(struct align *align, uint32_t input);

struct align_step align_barrier(struct align *align, uint32_t input, uint64_t epoch);
/* Barrier `epoch` need not wait any more. LATE: its snapshot was taken. Exactly-once only. */
struct align_step align_overtake(struct align *align, uint64_t epoch);
/* Epoch `epoch` will not be: barriers of it that are still under way are late from now on. */
struct align_step align_abort(struct align *align, uint64_t epoch);

static inline bool align_is_held(const struct align *align, uint32_t input)
{
    return align->mode == ALIGN_EXACTLY_ONCE && align->arrived[input] && !align->logging;
}

/* What it brings before its barrier is part of the checkpoint: it was overtaken. */
static inline bool align_is_logged(const struct align *align, uint32_t input)
{
    return align->logging && !align->arrived[input];
}

#endif
