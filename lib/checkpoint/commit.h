/* The commit protocol of one instance, one attempt after another until the end: who decides what, and when. Pure: no
 * clock, I/O, threads or memory; the runtime executes the actions, a simulator can.
 *
 *   IDLE ──START──> LOOKING ──LOOKED──> FENCING ──FENCED──> READING ──READ──> RESOLVING
 *                      ^                   ^                   │                │    │ RESOLVED: restore k
 *                      │                   └─ more handles named                │    v
 *                    TIMER                                      RESOLVED: found │ RESTORING
 *                      │                                                        │    │ RESTORED and ANNOUNCED
 *                      │                                                        v    v
 *                   WAITING                                                     RUNNING
 *                    │  ^                                                          │ COMMITTED the final epoch
 *     GIVE_UP, STOP, │  │ to try again                                             v
 *     CANCEL         v  │                                                      FINISHING
 *               ENDED <─┴─ UNWINDING <── from all of LOOKING to FINISHING: FAILED, CANCEL; FINISHED;
 *                    DISCARDED and       STOP before tasks run; FENCED when the final epoch is committed
 *                    TASKS_GONE
 *   IDLE ──STOP, CANCEL──> ENDED
 *
 * CANCEL that drops: one more attempt, whose end is that nothing is left to go on from.
 *
 *   ... ──> UNWINDING ──> LOOKING ──> FENCING ──> READING ──> RESOLVING ──RESOLVED: k──> DROPPING ──DROPPED──> UNWINDING
 *                                                                 │       ANNOUNCE k as dropped,
 *                                                   nothing there └──> UNWINDING          then DROP
 *
 *   The record comes first, and is a commit like any other: a start that finds it knows that what is missing is not lost,
 *   wherever the deletion was interrupted. LOOK comes before the fence here too: who was taken over drops nothing. Another
 *   CANCEL ends it where it stands.
 *
 * RUNNING, for the epoch n that closes and the open one n+1; each line is a fact, and what follows from it:
 *
 *   SNAPSHOT n                         APPEND n and FLUSH n side by side; n+1 is the open epoch
 *   handle of n+1 free                 BEGIN n+1
 *   FLUSHED n, BEGUN n+1               PROCEED n+1     sinks may send what they held back              (R2)
 *   FLUSHED n                          OFFSETS n       COMMITTED n-1 came before SNAPSHOT n            (R1)
 *   READY n, DURABLE n                 COMMIT n        the decision                                    (R3)
 *   COMMITTED n                        NOTIFY n; RENEW when a request was repeated; handles that were made anew
 *                                      before are free                                                 (R5)
 *   COMMITTED n, PROCEED n+1 was sent  ALLOW n+1       the coordinator may send barrier n+1            (R1)
 *   APPEND_FAILED n                    APPEND n and FLUSH n once more, under another frame name
 *   COMMITTED 0 (founding)             START_TASKS 1
 *
 * Invariants
 *   1. One commit is in flight. SNAPSHOT n is only legal after ALLOW n; anything else is broken code (CHECK).
 *   2. COMMIT n follows READY n, and DURABLE n of the same try, where the decider needs a prepared frame.
 *   3. A handle is used by one epoch at a time, has at most one request unanswered (but for DISCARD), and gets none
 *      between COMMITTED with renew and its RENEWED, and none after that until another handle has committed.
 *   4. A name (incarnation, epoch) is never used twice: after a roll-back the next epoch takes the next number, and a
 *      second founding takes another incarnation. So the open epoch is not always the parent's plus one.
 *   5. Every attempt ends in UNWINDING, with CANCEL_TASKS and DISCARD: in WAITING and ENDED nothing runs and no handle
 *      is held. ENDED is final, and END is sent once.
 *   6. An answer to an earlier attempt changes nothing. What comes late, twice or unasked is ignored and counted.
 *   7. The failure of an attempt is sticky: the first one wins, unless a later one forbids to try again.
 *
 * What a failure does (FAILED), by phase; `stops` = remedy STOP, or FENCED in a transaction that was younger than its
 * time-out (R7: somebody fenced us; an older one may have been timed out, which LOOK tells apart):
 *
 *   phase                      stops                        otherwise
 *   LOOKING ... RESTORING      unwind, END with its code    unwind, wait, look again
 *   RUNNING                    unwind, END with its code    the same; after STOP: unwind, END with its code, for the
 *                                                           last epoch was not committed
 *   FINISHING                  unwind, END with its code    unwind, wait, look, fence, END OK: a fence answers when
 *                                                           everything committed is visible, as FINISH does
 *   UNWINDING, WAITING         END with its code, unless    ignored: a failure is being dealt with
 *                              it is ending already
 *   IDLE, ENDED                ignored                      ignored
 *
 * DISCARD and CANCEL_TASKS cannot fail: DISCARDED and TASKS_GONE come in any case. */
#ifndef CHECKPOINT_COMMIT_H
#define CHECKPOINT_COMMIT_H

#include <stdbool.h>
#include <stdint.h>

#include "weir/connector.h"

#define COMMIT_HANDLES_MAX 16
#define COMMIT_ACTIONS_MAX 8

#define COMMIT_PHASES(X)                                                                                               \
    X(IDLE) X(LOOKING) X(FENCING) X(READING) X(RESOLVING) X(RESTORING) X(RUNNING) X(FINISHING) X(DROPPING) X(UNWINDING) \
    X(WAITING) X(ENDED)

enum commit_phase {
#define COMMIT_PHASE_ENUM(name) COMMIT_##name,
    COMMIT_PHASES(COMMIT_PHASE_ENUM)
#undef COMMIT_PHASE_ENUM
};

/* A checkpoint's name, compared in this order. */
struct commit_name {
    uint64_t incarnation;
    uint64_t epoch;
};

/* What happened. `attempt` is needed in all but START, STOP and CANCEL. The answers of the decider are passed on as
 * they come; what they bring has been decoded by the runtime before (restart.h). */
#define COMMIT_EVENTS(X)                                                                                               \
    X(START)         /* once */                                                                                        \
    X(LOOKED)        /* restart_examine agreed: `handles_named` (else FAILED with its error) */                        \
    X(FENCED)                                                                                                          \
    X(READ)          /* `handles_named` by the committed ledger */                                                     \
    X(RESOLVED)      /* restart_decide agreed: `founding`, or `parent`; `incarnation` (else FAILED with its error) */  \
    X(RESTORED)      /* answers RESTORE: tasks are made and could start */                                             \
    X(ANNOUNCED)                                                                                                       \
    X(BEGUN)         /* `epoch` */                                                                                     \
    X(SNAPSHOT)      /* `epoch`, `final`: every task has reported, the frame is encoded. Epoch 0: answers FOUND */     \
    X(DURABLE)       /* `epoch`, `try_number`: answers APPEND */                                                       \
    X(APPEND_FAILED) /* `epoch`, `try_number`: answers APPEND, and patience is left (else FAILED) */                   \
    X(FLUSHED)       /* `epoch` */                                                                                     \
    X(READY)         /* `epoch` */                                                                                     \
    X(COMMITTED)     /* `epoch`, `renew` */                                                                            \
    X(RENEWED)       /* `handle` */                                                                                    \
    X(FINISHED)                                                                                                        \
    X(FAILED)        /* `error`, and for FENCED `transaction_age_ms`, `timeout_ms`: of whatever part */        \
    X(DISCARDED)                                                                                                       \
    X(TASKS_GONE)    /* answers CANCEL_TASKS */                                                                        \
    X(TIMER)         /* answers WAIT: the delay has passed */                                                          \
    X(GIVE_UP)       /* answers WAIT: the restart strategy or somebody's patience is at its end; `error` */            \
    X(STOP)          /* a person's wish: finish the epoch (the coordinator sends the final barrier), then END */       \
    X(CANCEL)        /* END as fast as possible, nothing uncommitted survives; `drops`: nothing committed either */    \
    X(DROPPED)       /* answers DROP: the files are gone */

enum commit_event_type {
#define COMMIT_EVENT_ENUM(name) COMMIT_ON_##name,
    COMMIT_EVENTS(COMMIT_EVENT_ENUM)
#undef COMMIT_EVENT_ENUM
};

struct commit_event {
    enum commit_event_type type;
    uint32_t attempt;
    uint64_t epoch;
    uint32_t handle;
    uint32_t try_number;
    bool final; /* no epoch follows this one */
    bool renew;
    bool founding;
    bool drops;
    uint32_t handles_named;
    uint64_t incarnation;           /* of this process: of every name that it will write */
    struct commit_name parent;      /* what is restored */
    const struct weir_error *error; /* borrowed */
    int64_t transaction_age_ms;     /* monotonic, since the broker may hold a transaction of ours open; 0 = none */
    int64_t timeout_ms;             /* of transactions, as configured */
};

/* What to do. The runtime executes the actions of one step in their order; none of them is answered before the step has
 * returned. Every action carries the attempt. */
#define COMMIT_ACTIONS(X)                                                                                              \
    X(LOOK)         /* decider.look */                                                                                 \
    X(FENCE)        /* decider.fence(`handles_named`) */                                                               \
    X(READ)         /* decider.read */                                                                                 \
    X(RESOLVE)      /* verify the frames that ledger and mirrors name (environment thread), restart_decide */          \
    X(FOUND)        /* resolve start positions to numbers (environment thread), encode frame 0, SNAPSHOT 0 */          \
    X(RESTORE)      /* `parent`: restore it, make the tasks for open epoch `epoch`, without starting them */           \
    X(ANNOUNCE)     /* decider.announce of the incarnation record: `incarnation`, naming `parent` again; */            \
                    /* `drops`: of the record that says that the history ends with `parent`, and is not kept */        \
    X(DROP)         /* delete all that the store holds of the job; then DROPPED */                                     \
    X(START_TASKS)  /* open epoch `epoch` (founding: make them first; a failure is FAILED) */                          \
    X(BEGIN)        /* decider.begin(`handle`, `epoch`) */                                                             \
    X(APPEND)       /* `epoch`, `try_number`: give frame `epoch` a place and a name and make it durable; a */         \
                    /* second try in a new file, with back-off. The name is settled before the FLUSH behind it */      \
    X(FLUSH)        /* decider.flush(`handle`, `epoch`) with the ledger record that names the frame as it is now; */   \
                    /* anchors only at the first try: the moment is quiet no more when the next epoch proceeds */      \
    X(OFFSETS)      /* decider.offsets(`handle`, `epoch`), metadata naming the frame as it is now */                   \
    X(COMMIT)       /* decider.commit(`handle`, `epoch`) */                                                            \
    X(PROCEED)      /* tell all tasks: writer_proceed(`epoch`) */                                                      \
    X(NOTIFY)       /* `epoch` is committed: tell tasks and sources, delete what retired frames named (R3) */          \
    X(ALLOW)        /* coordinator: COORDINATOR_ON_ALLOWED(`epoch`) */                                                 \
    X(RENEW)        /* decider.renew(`handle`) */                                                                      \
    X(FINISH)       /* decider.finish; may overtake the answer to a RENEW, which nobody waits for then */              \
    X(CANCEL_TASKS) /* end everything of this attempt: tasks, RESOLVE, FOUND, RESTORE, APPEND; then TASKS_GONE */      \
    X(DISCARD)      /* decider.discard */                                                                              \
    X(WAIT)         /* ask strategy.h about commit->failure: TIMER later, or GIVE_UP */                                \
    X(END)          /* the job is over: `code`, sentence in commit->failure. Nothing of it runs any more */

enum commit_action_type {
#define COMMIT_ACTION_ENUM(name) COMMIT_DO_##name,
    COMMIT_ACTIONS(COMMIT_ACTION_ENUM)
#undef COMMIT_ACTION_ENUM
};

struct commit_action {
    enum commit_action_type type;
    uint32_t attempt;
    uint64_t epoch;
    uint32_t handle;
    uint32_t try_number;
    uint32_t handles_named;
    uint64_t incarnation;
    struct commit_name parent; /* RESTORE, ANNOUNCE; APPEND and FLUSH: the parent of frame `epoch` */
    bool final;                /* APPEND, FLUSH, NOTIFY: the last epoch of this job's life */
    bool drops;                /* ANNOUNCE */
    enum weir_code code;
};

/* What became of an event. All are expected; all but the first change nothing and are counted. */
enum commit_answer {
    COMMIT_TAKEN,
    COMMIT_LATE,      /* of an earlier attempt or epoch, or for something that a failure has overtaken */
    COMMIT_DUPLICATE, /* it was here before */
    COMMIT_UNKNOWN,   /* nobody asked for it */
    COMMIT_ANSWERS
};

struct commit_actions {
    enum commit_answer answer;
    uint32_t count;
    struct commit_action items[COMMIT_ACTIONS_MAX];
};

struct commit_options {
    /* 1 to COMMIT_HANDLES_MAX handles, taking turns: epoch % ring_size (R2). At least 2 for a decider that may answer
     * `renew`: a handle that was made anew is used when another one has committed since, for then nobody has taken the ids
     * over meanwhile (R5). */
    uint32_t ring_size;
    bool needs_prepared_frame; /* the decider's */
    /* One line for each event: what came, the phase it led to, what follows. May be NULL. */
    void (*trace)(void *user, const char *line);
    void *trace_user;
};

enum commit_handle {
    COMMIT_HANDLE_FREE,
    COMMIT_HANDLE_BEGINNING,
    COMMIT_HANDLE_BEGUN,
    COMMIT_HANDLE_RENEWING,
    COMMIT_HANDLE_RENEWED, /* and no other one has committed since */
};

/* What its handle has been asked for and has not answered. */
enum commit_pending { COMMIT_PENDING_NOTHING, COMMIT_PENDING_FLUSH, COMMIT_PENDING_OFFSETS, COMMIT_PENDING_COMMIT };

/* The epoch whose commit is in flight. */
struct commit_closing {
    uint64_t epoch;
    bool active; /* from SNAPSHOT to COMMITTED; else everything here is of the past */
    bool final;
    /* A frame that could not be appended gets another name, and everything that carries the name is sent once more: the
     * try of the name that counts, and the try that each action was last sent for. */
    uint32_t try_number;
    uint32_t append_try, flush_try, offsets_try; /* 0 = not sent */
    bool durable;
    enum commit_pending pending;
    bool flushed_once; /* every record of the epoch is with the broker, whatever becomes of the ledger record */
};

/* Reading is free to everybody on the job thread; writing is commit_step's. */
struct commit {
    struct commit_options options;
    enum commit_phase phase;
    uint32_t attempt;         /* of LOOK; 0 = none yet */
    uint64_t incarnation;     /* of this process; 0 = none yet */
    struct commit_name parent; /* the newest committed frame: what the next one names as its parent */
    uint64_t epoch;           /* the open one */
    uint64_t epoch_next;      /* no number from here on was ever used */
    uint32_t handles_fenced;

    bool restored, announced;        /* RESTORING */
    bool proceeded, allowed;         /* the open epoch */
    bool tasks_started;
    struct commit_closing closing;
    enum commit_handle handles[COMMIT_HANDLES_MAX];
    uint64_t handle_epochs[COMMIT_HANDLES_MAX]; /* whom BEGIN was for */

    bool discarded, tasks_gone;      /* UNWINDING */
    bool ending;                     /* UNWINDING leads to ENDED */
    bool stopping;                   /* STOP came while RUNNING */
    bool done;                       /* the final epoch is committed */
    bool dropping;                   /* CANCEL wants nothing to be kept */
    struct weir_error failure;       /* of this attempt, sticky; code OK = none */
    uint64_t counts[COMMIT_ANSWERS]; /* events, by what became of them */
};

void commit_init(struct commit *commit, const struct commit_options *options);

/* Takes one event and answers what to do. */
void commit_step(struct commit *commit, const struct commit_event *event, struct commit_actions *out);

/* commit_trace.c: hands the line of one step that led here from `from` to the trace hook. */
void commit_trace(const struct commit *commit, enum commit_phase from, const struct commit_event *event,
                  const struct commit_actions *actions);
const char *commit_phase_name(enum commit_phase phase);
const char *commit_event_name(enum commit_event_type type);
const char *commit_action_name(enum commit_action_type type);

#endif
