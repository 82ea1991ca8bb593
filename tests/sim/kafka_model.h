/* A model of a Kafka cluster, as far as clients can see it: partitions, offsets, transactions of version 1 (as
 * librdkafka speaks them), groups' offsets. Requests are plain calls; each answers the error code that a broker would.
 *
 *     init_producer_id ──> EMPTY ──add_partitions, add_offsets──> ONGOING ──end_txn──> PREPARED ──last marker──> EMPTY
 *             │                                                      │                    │
 *             └── an ongoing transaction is aborted first; the epoch rises (fences)       └─ adding, ending, init:
 *                                                                                            CONCURRENT_TRANSACTIONS
 *
 * Pure: no clock (times are handed in), no randomness, no threads, no I/O. What a cluster does on its own is a call
 * too, so that whoever drives the model decides when: markers are written one by one (model_write_marker), transactions
 * time out (model_tick), coordinators move, topics are trimmed and compacted, offsets expire.
 *
 * What makes version 1 dangerous is in here on purpose: a request carries producer id and epoch only, so one that comes
 * late or twice acts on whatever transaction that producer has open by then.
 *
 * Held against a real broker by tests/kafka/model_test.c: the same script of requests, the same answers. */
#ifndef SIM_KAFKA_MODEL_H
#define SIM_KAFKA_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "weir/weir.h"

/* Kafka's numbers (protocol guide, "Error codes"); those that the model answers. A stale epoch is always
 * INVALID_PRODUCER_EPOCH: PRODUCER_FENCED is what requests newer than librdkafka's get (AddPartitionsToTxn 0,
 * AddOffsetsToTxn 0, EndTxn 1, Produce 10 in 2.8). UNKNOWN_PRODUCER_ID and DUPLICATE_SEQUENCE come from older brokers
 * only. */
enum model_error {
    MODEL_OK = 0,
    MODEL_OFFSET_OUT_OF_RANGE = 1,
    MODEL_UNKNOWN_TOPIC_OR_PARTITION = 3,
    MODEL_COORDINATOR_LOADING = 14,
    MODEL_NOT_COORDINATOR = 16,
    MODEL_NOT_ENOUGH_REPLICAS = 19,
    MODEL_TOPIC_EXISTS = 36,
    MODEL_POLICY_VIOLATION = 44,
    MODEL_OUT_OF_ORDER_SEQUENCE = 45,
    MODEL_DUPLICATE_SEQUENCE = 46,
    MODEL_INVALID_PRODUCER_EPOCH = 47,
    MODEL_INVALID_TXN_STATE = 48,
    MODEL_INVALID_PRODUCER_ID_MAPPING = 49,
    MODEL_INVALID_TRANSACTION_TIMEOUT = 50,
    MODEL_CONCURRENT_TRANSACTIONS = 51,
    MODEL_UNKNOWN_PRODUCER_ID = 59,
    MODEL_INVALID_RECORD = 87,
    MODEL_UNSTABLE_OFFSET_COMMIT = 88,
    MODEL_PRODUCER_FENCED = 90,
};
const char *model_error_name(enum model_error error);

struct kafka_model;
struct kafka_model *model_create(void); /* NULL when there is no memory */
void model_destroy(struct kafka_model *model);

/* ---- Topics ------------------------------------------------------------------------------------------------------ */

enum model_error model_create_topic(struct kafka_model *model, const char *topic, int32_t partitions, bool compacted);
/* Its records go, and what pending transactions wrote to it; a topic of that name made later has another id. */
enum model_error model_delete_topic(struct kafka_model *model, const char *topic);
/* More partitions (CreatePartitions): the new ones are empty. */
enum model_error model_grow_topic(struct kafka_model *model, const char *topic, int32_t partitions);
/* `id` is never 0 and never used twice. */
enum model_error model_describe_topic(struct kafka_model *model, const char *topic, uint64_t *id, int32_t *partitions);
/* Calls `visit` for each topic there is. */
void model_each_topic(struct kafka_model *model, void (*visit)(void *user, const char *topic), void *user);

/* ---- Producing --------------------------------------------------------------------------------------------------- */

struct model_producer {
    int64_t id;
    int16_t epoch;
};

/* Takes the id over. While the transaction before is being ended: CONCURRENT_TRANSACTIONS; ask again. The epoch rises
 * by one, and by another one for a transaction that had to be aborted. NULL as id: an idempotent producer, a new id. */
enum model_error model_init_producer_id(struct kafka_model *model, int64_t now_ms, const char *transactional_id,
                                        int64_t timeout_ms, struct model_producer *producer);

struct model_place {
    const char *topic;
    int32_t partition;
};
/* These two open a transaction when none is open. A missing partition refuses the whole request, before anything else
 * is looked at. */
enum model_error model_add_partitions(struct kafka_model *model, int64_t now_ms, const char *transactional_id,
                                      struct model_producer producer, const struct model_place *places, size_t count);
enum model_error model_add_offsets(struct kafka_model *model, int64_t now_ms, const char *transactional_id,
                                   struct model_producer producer, const char *group);

struct model_record {
    int64_t offset;         /* out */
    int64_t time_ms;
    struct weir_bytes key;   /* null apart from empty */
    struct weir_bytes value;
    const struct weir_headers *headers; /* NULL when there are none */
    struct model_producer producer; /* out */
    bool transactional;             /* out */
    char *memory;                   /* see model_record_keep */
};
/* Copies what key, value and headers stand for into memory of the record's own. */
void model_record_keep(struct model_record *record);
/* Frees that; a record that keeps nothing is left alone. */
void model_record_drop(struct model_record *record);

/* One batch: all or nothing. `sequence` is that of its first record, as idempotent producers number them for each
 * partition, from 0 for each new epoch. A batch that is there already answers OK and the old offset. `transactional_id`
 * NULL: outside of any transaction (and with producer.id -1: not idempotent). Contents are copied.
 *
 * Into a partition that is not in the transaction: INVALID_TXN_STATE, so mostly also a batch that comes late. While
 * the coordinator is away or markers are missing: NOT_ENOUGH_REPLICAS. But a partition that has got a batch of the
 * transaction takes more until its own marker is written, decided or not. */
enum model_error model_produce(struct kafka_model *model, int64_t now_ms, const char *transactional_id,
                               struct model_producer producer, int32_t sequence, const struct model_place *place,
                               const struct model_record *records, size_t count, int64_t *base_offset);

/* ---- Positions of groups ----------------------------------------------------------------------------------------- */

struct model_offset {
    const char *topic;
    int32_t partition;
    int64_t offset; /* -1 = none */
    const char *metadata; /* "" = none; borrowed from the caller, or out: from the model, until its next change */
};
/* In the transaction: pending until it ends. Here and below, UNKNOWN_TOPIC_OR_PARTITION when any of the partitions does
 * not exist: a broker answers for each, and goes on with those that do. */
enum model_error model_txn_offset_commit(struct kafka_model *model, int64_t now_ms, const char *transactional_id,
                                         struct model_producer producer, const char *group,
                                         const struct model_offset *offsets, size_t count);
/* At once: tools, and at-least-once jobs. */
enum model_error model_offset_commit(struct kafka_model *model, const char *group, const struct model_offset *offsets,
                                     size_t count);
/* Calls `visit` for each partition that the group stands at. `stable`: UNSTABLE_OFFSET_COMMIT while any is pending,
 * without a visit. (A broker answers for each partition, and passes over those that have nothing but pending ones
 * unless they are asked for by name.) */
enum model_error model_offset_fetch(struct kafka_model *model, const char *group, bool stable,
                                    void (*visit)(void *user, const struct model_offset *offset), void *user);

/* ---- Ending a transaction ---------------------------------------------------------------------------------------- */

/* Decided when it answers OK; visible when its markers are written, until when ending again, in whatever way, is
 * CONCURRENT_TRANSACTIONS. Then ending again in the same way is OK, in the other INVALID_TXN_STATE. */
enum model_error model_end_txn(struct kafka_model *model, int64_t now_ms, const char *transactional_id,
                               struct model_producer producer, bool commit);

/* Markers that decided transactions still have to write: one for each partition, one for each group. */
size_t model_markers_pending(const struct kafka_model *model);
/* Writes the one at `index` (0 to pending - 1). After the last one of a transaction its producer may begin anew. */
void model_write_marker(struct kafka_model *model, size_t index, int64_t now_ms);

/* ---- Reading ----------------------------------------------------------------------------------------------------- */

enum { MODEL_LATEST = -1, MODEL_EARLIEST = -2 }; /* else: the first record of that time (ms) or later; -1 = none */
/* `committed`: the latest is the last stable offset, the first one of the oldest open transaction. Markers have a time
 * too, so a search by time may answer the offset of one. */
enum model_error model_list_offset(struct kafka_model *model, const struct model_place *place, int64_t spec,
                                   bool committed, int64_t *offset);
/* Calls `visit` for up to `count_max` records from `offset` on, as a consumer sees them: markers never, aborted records
 * not when `committed`, and nothing at or above the last stable offset then. `*next` is where to go on: behind what was
 * passed over too. `visit` may answer false to end before a record, which is then the next. */
enum model_error model_fetch(struct kafka_model *model, const struct model_place *place, int64_t offset, bool committed,
                             size_t count_max, bool (*visit)(void *user, const struct model_record *record),
                             void *user, int64_t *next);

/* ---- What a cluster does on its own, or operators do to it ------------------------------------------------------- */

/* Aborts transactions that are older than their time-out, and fences their producers. */
void model_tick(struct kafka_model *model, int64_t now_ms);
/* When model_tick has something to do next; INT64_MAX = never. */
int64_t model_next_timeout_ms(const struct kafka_model *model);
/* Requests to coordinators answer NOT_COORDINATOR or COORDINATOR_LOADING until model_coordinators_back. */
void model_coordinators_away(struct kafka_model *model, enum model_error answer);
void model_coordinators_back(struct kafka_model *model);
/* Removes what is below `offset` (retention, DeleteRecords). POLICY_VIOLATION for a compacted topic. */
enum model_error model_trim(struct kafka_model *model, const struct model_place *place, int64_t offset);
/* Keeps the newest record of each key, among those below `active`, where the segment begins that is being written, and
 * below the last stable offset; drops aborted records. What is above is not even looked at. Offsets stay. */
enum model_error model_compact(struct kafka_model *model, const struct model_place *place, int64_t active);
/* Loses what is at `offset` and above, with its markers: an unclean election. No transaction is open there. */
enum model_error model_lose_tail(struct kafka_model *model, const struct model_place *place, int64_t offset);
/* Forgets where a group stands in one partition (OffsetDelete). */
void model_forget_offset(struct kafka_model *model, const char *group, const struct model_place *place);
/* Forgets where a group stands (offsets.retention.minutes, deletion of the group). Pending offsets stay pending. */
void model_forget_group(struct kafka_model *model, const char *group);
/* Forgets a transactional id that is not in a transaction (transactional.id.expiration.ms). False when it is. */
bool model_forget_producer(struct kafka_model *model, const char *transactional_id);

/* ---- For the checker: no request can ask this -------------------------------------------------------------------- */

struct model_transaction {
    const char *transactional_id;
    struct model_producer producer;
    bool open;      /* ongoing */
    bool preparing; /* decided, markers are missing */
    int64_t began_ms;
};
void model_each_transaction(struct kafka_model *model,
                            void (*visit)(void *user, const struct model_transaction *transaction), void *user);
/* Called whenever a transaction is decided (time-outs too), before any marker. */
void model_on_decided(struct kafka_model *model,
                      void (*decided)(void *user, const char *transactional_id, struct model_producer producer,
                                      bool committed),
                      void *user);

#endif
