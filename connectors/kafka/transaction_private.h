/* What the parts of a transaction share.
 *
 *   transaction.c         commands from the owner, the thread
 *   transaction_events.c  answers, failures, events of the handle, calls that are resumed     the thread's
 *   transaction_calls.c   what each command does                                              the thread's */
#ifndef KAFKA_TRANSACTION_PRIVATE_H
#define KAFKA_TRANSACTION_PRIVATE_H

#include "failures.h"
#include "transaction.h"

enum {
    TRANSACTION_SLICE_MS = 20, /* longest call without serving events */
};

enum transaction_command_type { TAKE_OVER, BEGIN, FLUSH, OFFSETS, COMMIT, ANNOUNCE };

struct transaction_command {
    struct transaction_command *next;
    enum transaction_command_type type;
    uint32_t index; /* of the answer */
    uint64_t epoch;
    bool anchors;
    bool warm;
    char *key, *value; /* of the ledger record; NULL = null */
    size_t key_size, value_size;
    rd_kafka_topic_partition_list_t *positions;
};

struct transaction {
    struct transaction_options options;
    char id[TRANSACTION_ID_SIZE];
    int wake; /* eventfd: commands, events of the handle, waiting writers */
    _Atomic bool abandoned;

    pthread_mutex_t mutex; /* guards what follows */
    uint32_t references;   /* owner and thread */
    struct transaction_command *first;
    struct transaction_command **last;
    struct handle *handle; /* written by the thread */
    uint64_t epoch;
    bool open;

    /* Thread only. */
    uint32_t index;               /* of the command */
    struct handle *ledger_handle; /* where ledger records are written: `handle`, or at-least-once one of its own */
    bool failed;
    struct transaction_command *ledger_record; /* at-least-once: written by the commit */
    rd_kafka_topic_partition_list_t *positions;
};

static inline bool transaction_is_abandoned(struct transaction *transaction)
{
    return atomic_load(&transaction->abandoned);
}

static inline bool transaction_is_exactly_once(const struct transaction *transaction)
{
    return transaction->options.context->exactly_once;
}

/* ---- transaction.c ----------------------------------------------------------------------------------------------- */

void transaction_free_command(struct transaction_command *command);

/* ---- transaction_events.c ---------------------------------------------------------------------------------------- */

/* Takes the event's contents over. */
void transaction_answer(struct transaction *transaction, struct weir_decider_event *event);
void transaction_answer_simply(struct transaction *transaction, enum weir_decider_event_type type, uint64_t epoch);
/* The first failure is answered, and silences everything after it. */
void transaction_fail(struct transaction *transaction, const struct weir_error *error);
/* Fills in what is known; `error` may be NULL, and is borrowed. */
struct failure transaction_describe(const struct transaction *transaction, enum failure_call call,
                                    const rd_kafka_error_t *error);
/* Fails unless the table says to go on. */
void transaction_judge(struct transaction *transaction, const struct failure *failure);
/* A call that began at `began_ms` has used up its patience. */
void transaction_fail_overdue(struct transaction *transaction, enum failure_call call, const rd_kafka_error_t *reason,
                              int64_t began_ms);
/* Takes what events there are, and wakes writers when there is room. */
void transaction_serve(struct transaction *transaction);
/* Sleeps until there is something to do, `timeout_ms` at most; < 0 = no limit. */
void transaction_nap(struct transaction *transaction, int timeout_ms);

/* A call of librdkafka that is resumed until it ends. */
struct transaction_call {
    enum failure_call name;
    rd_kafka_error_t *(*once)(struct transaction *transaction, struct transaction_call *call);
    int64_t patience_ms;
    int64_t slice_ms;
    const rd_kafka_topic_partition_list_t *positions;
    struct handle *handle; /* what is flushed */
};
/* True when it has succeeded. Otherwise it was answered with FAILED, or nobody wants an answer any more. */
bool transaction_complete(struct transaction *transaction, struct transaction_call *call);

/* ---- transaction_calls.c ----------------------------------------------------------------------------------------- */

/* Takes the command. */
void transaction_execute(struct transaction *transaction, struct transaction_command *command);
/* Gives the handles to the reaper. */
void transaction_drop_handles(struct transaction *transaction);

#endif
