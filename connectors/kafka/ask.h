/* Questions to a cluster, asked as admin requests on any client, without a group and without consuming. All may block
 * and give up early when *cancelled becomes true; errors are those of kafka_error. */
#ifndef KAFKA_ASK_H
#define KAFKA_ASK_H

#include "client.h"

struct kafka_topic_info {
    const char *name; /* the caller's */
    bool exists;
    char id[32]; /* as Kafka's tools print it; "" where the brokers know none */
    int32_t partition_count;
};
/* Fills the rest of each of `infos`, whose names are distinct. A topic that is missing is no error. */
enum weir_code kafka_ask_topics(struct kafka_client *client, struct kafka_topic_info *infos, size_t count,
                                const volatile bool *cancelled, struct weir_error *error);

struct kafka_place {
    const char *topic;
    int32_t partition;
    int64_t offset; /* the answer; -1 = none */
};
/* First offset of a record with a time >= `spec`, or RD_KAFKA_OFFSET_SPEC_EARLIEST or _LATEST. `committed`: the latest
 * is the last stable offset. Places are sorted by topic (strcmp) and partition. */
enum weir_code kafka_ask_offsets(struct kafka_client *client, struct kafka_place *places, size_t count, int64_t spec,
                                 bool committed, const volatile bool *cancelled, struct weir_error *error);
/* Where a consumer group stands. Places as above. */
enum weir_code kafka_ask_group(struct kafka_client *client, const char *group, struct kafka_place *places, size_t count,
                               const volatile bool *cancelled, struct weir_error *error);
/* Makes a consumer group stand at `places`. */
enum weir_code kafka_tell_group(struct kafka_client *client, const char *group, const struct kafka_place *places,
                                size_t count, struct weir_error *error);

#endif
