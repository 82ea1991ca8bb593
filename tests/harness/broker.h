/* A real Kafka broker for a test program, and what tests do with one from outside.
 *
 *     int main(void) { broker_start(1); return unit_main("kafka source", add); }
 *
 * The broker lives as long as the program that called broker_start. Facts run in processes of their own (Check forks),
 * so handles are made inside a fact, never before. Every call that fails ends its process with a sentence. */
#ifndef HARNESS_BROKER_H
#define HARNESS_BROKER_H

#include <librdkafka/rdkafka.h>

#include "weir/weir.h"

/* Starts `nodes` brokers (1 or 3) in a folder of their own. May be called for a second cluster: each call starts one
 * more, and makes it the current one. Returns its index. */
int broker_start(int nodes);
/* One node that also has listeners with TLS, and access control; broker_folder() holds secure/ca.pem and the like. All calls
 * below use the listener that has neither. */
int broker_start_secure(void);
void broker_select(int cluster);   /* whose turn it is in all calls below */
const char *broker_address(void);  /* HOST:PORT[,...] */
const char *broker_folder(void);   /* of the cluster: K/server.properties, K/log, K/data */
void broker_kill(void);            /* SIGKILL */
void broker_restart(void);         /* same data, same ports */

/* A name that no other fact uses: STEM-PID-COUNT. Lives until the program ends. */
const char *broker_name(const char *stem);
/* The same, created with so many partitions. */
const char *broker_topic(const char *stem, int partitions);
/* `settings` is NULL or "NAME=VALUE,NAME=VALUE". */
void broker_create_topic(const char *topic, int partitions, const char *settings);
void broker_delete_topic(const char *topic); /* waits until it is gone */
void broker_add_partitions(const char *topic, int total);
void broker_delete_records(const char *topic, int partition, int64_t before);
bool broker_has_topic(const char *topic);
/* Offsets of a group; -1 where it has none. */
int64_t broker_group_offset(const char *group, const char *topic, int partition);
void broker_set_group_offset(const char *group, const char *topic, int partition, int64_t offset);
/* End offset of a partition: the high watermark, or for committed readers the last stable offset. */
int64_t broker_end(const char *topic, int partition, bool committed);
/* Waits until nothing is between the two: no transaction is open there. */
void broker_await_stable(const char *topic, int partition);

/* One more thing that a principal, as "User:limited", may do. */
struct broker_right {
    const char *principal;
    rd_kafka_AclOperation_t operation;
    rd_kafka_ResourceType_t resource;
    const char *name;
    bool is_prefix; /* of names */
};
void broker_allow(const struct broker_right *right);
/* For SCRAM-SHA-512. */
void broker_set_password(const char *user, const char *password);

/* A producer; `transactional_id` NULL = without transactions (a transactional one is initialised). Destroy it with
 * broker_producer_close, which flushes. `settings` as above. */
rd_kafka_t *broker_producer(const char *transactional_id, const char *settings);
void broker_producer_close(rd_kafka_t *producer);
void broker_begin(rd_kafka_t *producer);
void broker_commit(rd_kafka_t *producer);
void broker_abort(rd_kafka_t *producer);
/* Queues one record. Unset time = now. */
void broker_produce(rd_kafka_t *producer, const char *topic, int partition, const struct weir_record *record);
void broker_flush(rd_kafka_t *producer); /* all are acknowledged */
/* `count` records with the values first, first + 1, ... as decimal text, and null keys. */
void broker_produce_numbers(rd_kafka_t *producer, const char *topic, int partition, int64_t first, int64_t count);
/* The same with a producer of its own, acknowledged. */
void broker_put_numbers(const char *topic, int partition, int64_t first, int64_t count);
/* One record of texts (NULL = null), acknowledged. */
void broker_put(const char *topic, int partition, const char *key, const char *value);

/* Everything in a partition from `begin` up to its end at the time of the call. */
struct broker_record {
    int64_t offset;
    int64_t time_ms;
    struct weir_bytes key, value; /* null apart from empty */
};
struct broker_records {
    size_t count;
    struct broker_record *items;
};
struct broker_records broker_read(const char *topic, int partition, int64_t begin, bool committed);
void broker_records_free(struct broker_records *records);

#endif
