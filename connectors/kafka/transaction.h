/* One transactional id of the ring: a thread that executes the protocol's calls on a handle, one after another, and
 * serves the handle's events all the time.
 *
 *                 take_over            begin              flush, offsets            commit
 *   WAITING ──────────────> READY ───────────> OPEN ──────────────────> OPEN ───────────────> READY
 *      any failure: FAILED is answered once, and nothing else after it; the owner abandons
 *
 * Calls of librdkafka are short and resumed (tens of milliseconds), so that events are served in between: a flush would
 * wait for ever for a rejected record whose report nobody takes. The one exception is send_offsets_to_transaction,
 * which cannot be resumed; nothing is queued in the handle while it runs.
 *
 * Abandoning never waits: the thread ends when its call returns, gives the handle to the reaper and frees everything.
 *
 * At-least-once uses the same calls on a plain idempotent producer: nothing is begun, and a commit writes the ledger
 * record behind everything that was flushed, then commits the positions to the group. */
#ifndef KAFKA_TRANSACTION_H
#define KAFKA_TRANSACTION_H

#include "handle.h"
#include "outputs.h"

#define TRANSACTION_ID_SIZE 128

struct transaction_options {
    const struct weir_connector_context *context;
    const char *brokers;
    const char *id;           /* "<job>-<slot>-<k>" */
    uint32_t index;           /* k */
    uint32_t attempt;         /* comes back in every answer */
    const char *ledger_topic;
    int32_t ledger_partition;
    struct outputs *outputs;
    struct kafka_reaper *reaper;
    /* The thread posts its answers here, one for each call, of the types that connector.h names for the decider;
     * take_over is answered by RENEWED. Takes the event's contents over. */
    void (*answer)(void *user, struct weir_decider_event *event);
    /* The thread has ended, and nothing of this transaction is used any more but what is left of its handle. */
    void (*gone)(void *user);
    void *user;
};

struct transaction;

/* The options are copied; what they point to must last until `gone`. */
enum weir_code transaction_start(const struct transaction_options *options, struct transaction **transaction,
                                 struct weir_error *error);
/* Takes the owner's reference. Nothing is answered any more. */
void transaction_abandon(struct transaction *transaction);

/* `index` comes back in the answer: at-least-once, one producer stands for all handles of the ring. */

/* A new handle for the id, whose init fences every older one and waits until its last transaction is decided. `warm`:
 * get ready for records too. False when there is no memory: then there will be no answer. */
bool transaction_take_over(struct transaction *transaction, uint32_t index, bool warm);
void transaction_begin(struct transaction *transaction, uint32_t index, uint64_t epoch);
void transaction_flush(struct transaction *transaction, uint32_t index, uint64_t epoch, struct weir_bytes ledger_key,
                       struct weir_bytes ledger_value, bool anchors);
void transaction_offsets(struct transaction *transaction, uint32_t index, uint64_t epoch,
                         const struct weir_splits *positions, const char *metadata);
void transaction_commit(struct transaction *transaction, uint32_t index, uint64_t epoch);
/* begin, flush and commit of one ledger record, answered by ANNOUNCED. */
void transaction_announce(struct transaction *transaction, struct weir_bytes key, struct weir_bytes value);

/* The handle, retained, when the transaction of `epoch` is open on it; else NULL. Any thread. */
struct handle *transaction_acquire(struct transaction *transaction, uint64_t epoch);
#endif
