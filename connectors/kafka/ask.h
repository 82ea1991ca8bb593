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
    int32_t replica_count;       /* of the partition that has the fewest */
    uint32_t rights;             /* what this user may do with it: KAFKA_RIGHT(READ) ...; 0 = the brokers do not tell */
    rd_kafka_resp_err_t failure; /* why the rest is not known; a missing topic is not one */
};
#define KAFKA_RIGHT(operation) (1u << RD_KAFKA_ACL_OPERATION_##operation)

/* Fills the rest of each of `infos`, whose names are distinct. A topic that is missing is no error; one that failed is. */
enum weir_code kafka_ask_topics(struct kafka_client *client, struct kafka_topic_info *infos, size_t count,
                                const volatile bool *cancelled, struct weir_error *error);
/* With rights; and failures of single topics are told by their infos. */
enum weir_code kafka_ask_topics_and_rights(struct kafka_client *client, struct kafka_topic_info *infos, size_t count,
                                           const volatile bool *cancelled, struct weir_error *error);

struct kafka_setting {
    const char *name;
    char value[64]; /* "" = the brokers do not tell */
};
/* Settings of one topic (`name`), or of a broker (its number). */
enum weir_code kafka_ask_settings(struct kafka_client *client, rd_kafka_ResourceType_t type, const char *name,
                                  struct kafka_setting *settings, size_t count, int64_t timeout_ms,
                                  const volatile bool *cancelled, struct weir_error *error);
/* What this user may do with a group: KAFKA_RIGHT(READ) ..., 0 = the brokers do not tell, because the group is new. */
enum weir_code kafka_ask_group_rights(struct kafka_client *client, const char *group, uint32_t *rights,
                                      const volatile bool *cancelled, struct weir_error *error);
/* What this user may do with the cluster: KAFKA_RIGHT(DESCRIBE) ...; 0 = nothing, or the brokers do not tell. */
enum weir_code kafka_ask_cluster_rights(struct kafka_client *client, uint32_t *rights, const volatile bool *cancelled,
                                        struct weir_error *error);
/* Whether any access rule allows anybody to write with this transactional id; true where there are no rules. To who may not
 * describe the cluster librdkafka (2.8) says that there are none, instead of the broker's refusal. */
enum weir_code kafka_ask_id_rule(struct kafka_client *client, const char *transactional_id, bool *is_allowed,
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
