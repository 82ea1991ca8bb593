/* What threads of a job tell each other. A letter is malloc'ed by the sender and belongs to the receiver, contents too.
 *
 *   job ──> task      BARRIER, OVERTAKE, PROCEED, COMMITTED, SPLIT, FINISH, PART_DURABLE, DUMP
 *   task ──> job      OPENED, ACK, FLIGHT, PART, INPUT_ENDED, ENDED, FAILED, ACTIVITY, BYTES, CHUNK, GONE
 *   worker ──> job    WORK_DONE
 *   decider ──> job   DECIDER
 *   user ──> job      CHECKPOINT, SAVEPOINT, STOP, CANCEL_JOB, END_JOB */
#ifndef RUNTIME_LETTERS_H
#define RUNTIME_LETTERS_H

#include "operator/chain.h"
#include "runtime/flight.h"

enum letter_type {
    LETTER_BARRIER = 1,
    LETTER_OVERTAKE,
    LETTER_PROCEED,
    LETTER_COMMITTED,
    LETTER_SPLIT,
    LETTER_FINISH,
    LETTER_PART_DURABLE,
    LETTER_DUMP,
    LETTER_OPENED,
    LETTER_ACK,
    LETTER_FLIGHT,
    LETTER_PART,
    LETTER_INPUT_ENDED,
    LETTER_ENDED,
    LETTER_FAILED,
    LETTER_ACTIVITY,
    LETTER_BYTES,
    LETTER_CHUNK,
    LETTER_GONE,
    LETTER_WORK_DONE,
    LETTER_DECIDER,
    LETTER_CHECKPOINT,
    LETTER_SAVEPOINT,
    LETTER_STOP,
    LETTER_CANCEL_JOB,
    LETTER_END_JOB,
};

/* BARRIER, OVERTAKE, PROCEED, COMMITTED; DUMP (begin, or the next slice, of `stage`); the rest of job -> task carries
 * nothing more. */
struct letter_to_task {
    struct mail mail;
    uint64_t epoch;
    uint32_t stage;
    struct weir_splits splits; /* SPLIT: to be read from now on. BARRIER: cuts; the epoch ends at their positions */
};

/* From a task; `attempt` tells letters of a task that is gone from those of its successor. */
struct letter_from_task {
    struct mail mail;
    uint32_t attempt;
    uint32_t vertex;
    uint32_t subtask;
    uint64_t epoch;
    struct chain_snapshot snapshot; /* ACK; PART: the deltas of an early part of `epoch` */
    struct weir_splits positions;   /* ACK of a source task */
    struct flights flights;         /* FLIGHT: what barrier `epoch` has overtaken */
    bool ended;                     /* ACK: behind the end of all input, last words and all */
    int64_t begun_us;               /* ACK: when the barrier had reached the task, behind all records before it */
    uint64_t records_out;           /* ACK: handed to sinks since the task was made */
    struct weir_error error;        /* FAILED */
    uint32_t stage;                 /* CHUNK */
    uint64_t redo_epoch;            /* CHUNK: of the base that it is part of */
    struct buffer chunk;            /* CHUNK */
    bool last;                      /* CHUNK */
    char *folder;                   /* the last CHUNK: of links, which are the base instead of units; else NULL */
    struct buffer stamped;          /* the last CHUNK, with a folder: shard_dump_folder */
};

struct letter_decider {
    struct mail mail;
    struct weir_decider_event event;
};

struct letter_checkpoint {
    struct mail mail;
    uint64_t ticket;
};

struct letter_savepoint {
    struct mail mail;
    char *directory;
    bool stops; /* and ends the job with it */
};

/* Frees any letter, contents too. */
void letter_destroy(struct mail *mail);

#endif
