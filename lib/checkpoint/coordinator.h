/* When a barrier is sent, and when its checkpoint is complete. Pure: the time comes with each event.
 *
 *                     due, or asked for: SEND_BARRIER n              the last ACK n: COMPLETE n
 *   CLOSED ──ALLOWED n──> OPEN ─────────────────────> COLLECTING ──────────────────────────> COMMITTING
 *                          ^                              │                                     │
 *                          └───── ALLOWED n+1 ────────────┼─────────────────────────────────────┘
 *                                                         │   the final one: ENDED
 *                          time-outs not tolerated: FAIL ─┴─> FAILED
 *
 * A barrier is due
 *   when something happened in the open epoch (ACTIVITY), `interval` after the barrier before it and `min_pause` after
 *   the commit before it. While a commit is in flight the interval stretches (R1). If the job was quiet for longer than
 *   the interval, the first record is committed at once;
 *   at once, also ahead of interval and pause, when a soft limit is passed (BYTES), for TRIGGER, for STOP and ALL_ENDED
 *   (the final barrier, sent even if nothing happened), and for a cut list of this epoch;
 *   never when nothing happened and nobody asked: then no timer runs either.
 *
 * A barrier may overtake the records in front of it (runtime/flight.h): at once, or `aligned_timeout` after it was sent if its
 * checkpoint is not complete by then. OVERTAKE goes to all tasks, and each owes a FLIGHT besides its ACK. Never: the final
 * barrier, one with cuts, one that was asked for ALIGNED, any behind FINISHING, and the first one where `begins_aligned`.
 *
 * A checkpoint cannot be dropped as in Flink, because tasks have handed over what changed: one that is not committed
 * within `timeout` is reported and waited for, `tolerable_failures` times in its life, and then fails the job, which
 * rolls back. */
#ifndef CHECKPOINT_COORDINATOR_H
#define CHECKPOINT_COORDINATOR_H

#include <stdbool.h>
#include <stdint.h>

#include "weir/connector.h"

#define COORDINATOR_ACTIONS_MAX 5

#define COORDINATOR_PHASES(X) X(CLOSED) X(OPEN) X(COLLECTING) X(COMMITTING) X(ENDED) X(FAILED)

enum coordinator_phase {
#define COORDINATOR_PHASE_ENUM(name) COORDINATOR_##name,
    COORDINATOR_PHASES(COORDINATOR_PHASE_ENUM)
#undef COORDINATOR_PHASE_ENUM
};

struct coordinator_options {
    int64_t interval_us;         /* 0 = no barrier is due by time */
    int64_t min_pause_us;        /* from a commit to the next barrier */
    int64_t timeout_us;          /* from a barrier to its commit; 0 = none */
    uint32_t tolerable_failures; /* time-outs of one checkpoint that are only reported */
    bool unaligned;              /* barriers may overtake */
    int64_t aligned_timeout_us;  /* when they do: so long after they were sent */
    bool begins_aligned;         /* all but the first */
    void (*trace)(void *user, const char *line);
    void *trace_user;
};

#define COORDINATOR_EVENTS(X)                                                                                          \
    X(ALLOWED)   /* `epoch`: commit.h's ALLOW; the epoch before is committed, sinks are sending this one */            \
    X(ACTIVITY)  /* `epoch`: first record or change in some task since its last barrier. May come often */             \
    X(BYTES)     /* `epoch`: a soft limit of what one epoch may hold was passed */                                     \
    X(TIMER)     /* the time of SET_TIMER has come; early or spurious ones do no harm */                               \
    X(ACK)       /* `epoch`, `subtask`: the task has reported its snapshot */                                          \
    X(FLIGHT)    /* `epoch`, `subtask`: the task has reported what was overtaken */                                     \
    X(TRIGGER)   /* on demand: a checkpoint of everything so far, behind the one in flight */                          \
    X(ALIGNED)   /* the same, and its barrier overtakes nothing */                                                     \
    X(FINISHING) /* sources are told to end: behind the barrier in flight nothing may be overtaken */                  \
    X(CUT)       /* `epoch`, `cuts`: the epoch (open or to come) ends at these positions */                            \
    X(ALL_ENDED) /* every bounded input is used up */                                                                  \
    X(STOP)      /* finish the epoch and end */

enum coordinator_event_type {
#define COORDINATOR_EVENT_ENUM(name) COORDINATOR_ON_##name,
    COORDINATOR_EVENTS(COORDINATOR_EVENT_ENUM)
#undef COORDINATOR_EVENT_ENUM
};

struct coordinator_event {
    enum coordinator_event_type type;
    int64_t now_us; /* monotonic; in every event */
    uint64_t epoch;
    uint32_t subtask;               /* index over all tasks of the job */
    const struct weir_splits *cuts; /* borrowed until its SEND_BARRIER has been executed */
};

#define COORDINATOR_ACTIONS(X)                                                                                         \
    X(SEND_BARRIER)   /* `epoch`, `cuts` (or NULL), `final`: to all source tasks */                                    \
    X(OVERTAKE)       /* `epoch`: to all tasks */                                                                      \
    X(COMPLETE)       /* `epoch`, `final`: all have reported; encode the frame, then COMMIT_ON_SNAPSHOT with both */   \
    X(SET_TIMER)      /* `at_us`: in place of the one before */                                                        \
    X(REPORT_TIMEOUT) /* `epoch`: is late but tolerated; warn */                                                       \
    X(FAIL)           /* `epoch` has timed out for good: COMMIT_ON_FAILED with remedy REPLAY */

enum coordinator_action_type {
#define COORDINATOR_ACTION_ENUM(name) COORDINATOR_DO_##name,
    COORDINATOR_ACTIONS(COORDINATOR_ACTION_ENUM)
#undef COORDINATOR_ACTION_ENUM
};

struct coordinator_action {
    enum coordinator_action_type type;
    uint64_t epoch;
    int64_t at_us;
    bool final;
    const struct weir_splits *cuts;
};

enum coordinator_answer {
    COORDINATOR_TAKEN,
    COORDINATOR_LATE,
    COORDINATOR_DUPLICATE,
    COORDINATOR_UNKNOWN,
    COORDINATOR_ANSWERS
};

struct coordinator_actions {
    enum coordinator_answer answer;
    uint32_t count;
    struct coordinator_action items[COORDINATOR_ACTIONS_MAX];
};

#define COORDINATOR_TIME_NONE INT64_MAX

/* Reading is free to everybody on the job thread. */
struct coordinator {
    struct coordinator_options options;
    enum coordinator_phase phase;
    uint64_t epoch;        /* the open one; COLLECTING and COMMITTING: the one in flight, and epoch + 1 is open */
    uint32_t subtask_count;
    uint32_t acked_count;
    bool *acked;           /* per subtask: the one in flight */
    bool may_overtake;     /* the one in flight */
    bool overtaking;       /* it does */
    int64_t overtake_at_us;
    uint32_t flown_count;
    bool *flown;           /* per subtask: FLIGHT of the one in flight */

    bool active;           /* something happened in the open epoch */
    bool asked;            /* BYTES or TRIGGER: the next barrier is due at once */
    bool aligned;          /* the next barrier overtakes nothing */
    bool finishing;        /* none does any more */
    bool stopping;         /* the next barrier is the final one */
    bool final;            /* the one in flight is */
    const struct weir_splits *cuts;
    uint64_t cuts_epoch;

    int64_t barrier_at_us;  /* the last one, or the start */
    int64_t allowed_at_us;
    int64_t timeout_at_us;  /* of the one in flight */
    int64_t timer_at_us;    /* COORDINATOR_TIME_NONE = not set */
    uint32_t timeout_count; /* of the one in flight */
    uint64_t counts[COORDINATOR_ANSWERS];
};

/* One coordinator for each attempt: open epoch `epoch`, CLOSED until ALLOWED. All of `subtask_count` tasks report every
 * barrier. False when there is no memory. */
bool coordinator_init(struct coordinator *coordinator, const struct coordinator_options *options,
                      uint32_t subtask_count, uint64_t epoch, int64_t now_us);
void coordinator_deinit(struct coordinator *coordinator);

void coordinator_step(struct coordinator *coordinator, const struct coordinator_event *event,
                      struct coordinator_actions *out);

const char *coordinator_phase_name(enum coordinator_phase phase);
const char *coordinator_event_name(enum coordinator_event_type type);
const char *coordinator_action_name(enum coordinator_action_type type);

#endif
