/* The decider of jobs that touch a Kafka cluster: the commit of a Kafka transaction is the decision (connector.h has
 * the contract, README.md the reasons).
 *
 *   job thread ──┬── look, fence, read ──> clerk thread ───────────> ledger topic, group offsets
 *                └── begin, flush, ... ──> transaction thread k ───> handle k
 *   writers ──── decider_acquire(epoch) ─────────────────────────────^
 *
 * The job thread only sends mail. A fence is answered when the last of its ids is taken over; the transaction threads
 * work on them side by side. Discarding drops everything at once: threads that are inside of a call end by themselves.
 *
 * Shared, under `mutex`: the list of transactions, because writers look an epoch's handle up in it. */
#ifndef KAFKA_DECIDER_H
#define KAFKA_DECIDER_H

#include "ledger_topic.h"
#include "outputs.h"
#include "transaction.h"

struct decider;

/* The handle, retained, on which the transaction of `epoch` is open; NULL when it is not. Any thread. */
struct handle *decider_acquire(struct decider *decider, uint64_t epoch);
/* Topics that sinks write to, for warming new handles up and for anchors. */
struct outputs *decider_outputs(struct decider *decider);
/* A client for questions about topics. Environment thread, and writers that meet a new topic. */
struct kafka_client *decider_client(struct decider *decider);
/* As the options of the first sink or source had it; NULL = as configured. */
const char *decider_brokers(const struct decider *decider);
const struct handle_limits *decider_limits(const struct decider *decider);
const char *decider_cluster_id(const struct decider *decider);

#endif
