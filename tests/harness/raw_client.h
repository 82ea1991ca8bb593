/* Kafka's protocol over one socket, without a client library: each call is one request, sent exactly as it was asked
 * for and sent once, in the version that librdkafka 2.8 speaks where the answer depends on it. For tests that compare a
 * broker with the model of one (sim/kafka_model.h), whose words are used here; the answers are Kafka's error codes, 0 =
 * none.
 *
 *     raw_client_init_producer_id ──> bytes ──> socket ──> broker ──> bytes ──> code, and what was asked for
 *
 * Knows one broker only, which must lead everything. What is wrong with the connection ends the process with a
 * sentence. Owner: one thread. */
#ifndef HARNESS_RAW_CLIENT_H
#define HARNESS_RAW_CLIENT_H

#include "sim/kafka_model.h"

struct raw_client;

/* `address` is HOST:PORT, an IPv4 address. */
struct raw_client *raw_client_open(const char *address);
void raw_client_close(struct raw_client *client);

/* ---- Topics: these answer when the broker itself knows ----------------------------------------------------------- */

int raw_client_create_topic(struct raw_client *client, const char *topic, int32_t partitions, bool compacted);
int raw_client_delete_topic(struct raw_client *client, const char *topic);
int raw_client_delete_records(struct raw_client *client, const struct model_place *place, int64_t before);

/* ---- Transactions ------------------------------------------------------------------------------------------------ */

/* Makes the broker create what its coordinators need. Answers 0 when the coordinator of that key is there. */
int raw_client_find_coordinator(struct raw_client *client, const char *key, bool is_transaction);
int raw_client_init_producer_id(struct raw_client *client, const char *transactional_id, int64_t timeout_ms,
                                struct model_producer *producer);
/* The first code that says something about its partition. */
int raw_client_add_partitions(struct raw_client *client, const char *transactional_id, struct model_producer producer,
                              const struct model_place *places, size_t count);
int raw_client_add_offsets(struct raw_client *client, const char *transactional_id, struct model_producer producer,
                           const char *group);
int raw_client_end_txn(struct raw_client *client, const char *transactional_id, struct model_producer producer,
                       bool commit);
/* What the coordinator knows of the id. */
struct raw_transaction {
    char state[32]; /* "Empty", "Ongoing", "PrepareCommit", ... */
    struct model_producer producer;
};
int raw_client_describe_transaction(struct raw_client *client, const char *transactional_id,
                                    struct raw_transaction *transaction);

/* ---- Records ----------------------------------------------------------------------------------------------------- */

int raw_client_produce(struct raw_client *client, const char *transactional_id, struct model_producer producer,
                       int32_t sequence, const struct model_place *place, const struct model_record *records,
                       size_t count, int64_t *base_offset);
/* Everything from `offset` on, as a consumer sees it: without markers, and when `committed` without what was aborted.
 * The record is borrowed. */
int raw_client_fetch(struct raw_client *client, const struct model_place *place, int64_t offset, bool committed,
                     void (*visit)(void *user, const struct model_record *record), void *user);
/* `spec` as in model_list_offset. */
int raw_client_list_offset(struct raw_client *client, const struct model_place *place, int64_t spec, bool committed,
                           int64_t *offset);

/* ---- Positions of groups ----------------------------------------------------------------------------------------- */

int raw_client_txn_offset_commit(struct raw_client *client, const char *transactional_id,
                                 struct model_producer producer, const char *group, const struct model_offset *offsets,
                                 size_t count);
int raw_client_offset_commit(struct raw_client *client, const char *group, const struct model_offset *offsets,
                             size_t count);
/* Of one partition; offset -1 = none. `metadata` has room for `size` bytes; NULL, 0: it is of no interest. */
int raw_client_offset_fetch(struct raw_client *client, const char *group, const struct model_place *place, bool stable,
                            int64_t *offset, char *metadata, size_t size);

#endif
