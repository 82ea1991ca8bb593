/* A transactional producer as a client library has it: what librdkafka does with requests, over the cluster of the
 * simulation. Each function blocks its fiber; failures are judged by the connector's own table (failures.h).
 *
 *     transaction fiber ── take_over, begin, flush, offsets, commit ──┐
 *     writers ── producer_send ── queue ── sender fiber ──────────────┴──> cluster_call
 *
 * Counted: writers and the sender fiber may hold a producer that was given up. */
#ifndef SIM_PRODUCER_H
#define SIM_PRODUCER_H

#include "failures.h"
#include "sim/cluster.h"

struct producer_options {
    const char *transactional_id; /* "" = none: idempotent, outside of any transaction */
    int64_t transaction_timeout_ms;
    int64_t request_timeout_us;
    bool is_secondary;
};

struct producer;

struct producer *producer_open(const struct producer_options *options);
void producer_retain(struct producer *producer);
void producer_release(struct producer *producer);
/* Nothing that is queued is sent any more; calls end soon, with false. */
void producer_abandon(struct producer *producer);

/* False: `*error` says why and what follows, or the producer was abandoned. */
bool producer_init(struct producer *producer, struct weir_error *error);
bool producer_flush(struct producer *producer, struct weir_error *error);
bool producer_offsets(struct producer *producer, const char *group, const struct weir_splits *positions,
                      const char *metadata, struct weir_error *error);
bool producer_commit(struct producer *producer, struct weir_error *error);
/* Outside of any transaction. */
bool producer_offsets_at_once(struct producer *producer, const char *group, const struct weir_splits *positions,
                              const char *metadata, struct weir_error *error);

void producer_begin(struct producer *producer);
/* Queues a copy. */
void producer_send(struct producer *producer, const char *topic, int32_t partition, const struct model_record *record);
size_t producer_queued(const struct producer *producer);
/* `waker` is called once, when something that was queued has been sent. */
void producer_await_room(struct producer *producer, struct weir_waker waker);
/* Who waited is about to leave: it is woken, so that others with the same waker ask again, and not a second time. NULL for
 * `producer` is fine. */
void producer_wait_no_more(struct producer *producer, struct weir_waker waker);
/* Requests of the transaction protocol that ended without an answer since it was opened (R5). */
uint32_t producer_unanswered(const struct producer *producer);
/* A failure of records that were sent, which no call has reported yet. */
bool producer_failed(struct producer *producer, struct weir_error *error);
/* Signalled when something was sent, or has failed. */
struct sched_event *producer_event(struct producer *producer);

#endif
