/* Facts about topics, and creating them. Blocks in slices; not for task or job threads. */
#ifndef KAFKA_TOPICS_H
#define KAFKA_TOPICS_H

#include "client.h"

struct topics_patience {
    int64_t timeout_ms;             /* without any progress */
    const volatile bool *cancelled; /* may be NULL */
};

/* Whether asking once more makes sense: the reason may pass, and time is left since `began_ms` (handle_now_ms). */
bool topics_ask_again(const struct topics_patience *patience, int64_t began_ms, rd_kafka_resp_err_t reason);
/* Longest single question, so that `cancelled` is seen. */
int topics_slice_ms(const struct topics_patience *patience);

/* Waits, where there is nothing to wait for. */
void topics_pause(int ms);

/* Number of partitions of a topic; 0 when it does not exist, without an error. */
enum weir_code topics_partition_count(struct kafka_client *client, const char *topic,
                                      const struct topics_patience *patience, int32_t *count,
                                      struct weir_error *error);
/* A setting of a topic; "" when the broker does not tell. */
enum weir_code topics_setting(struct kafka_client *client, const char *topic, const char *name,
                              const struct topics_patience *patience, char value[64], struct weir_error *error);

struct topics_new {
    const char *name;
    int32_t partitions;  /* 0 = the cluster's default */
    int32_t replication; /* 0 = the cluster's default */
    const char *const (*settings)[2];
    size_t setting_count;
};
/* Creates a topic and waits until it can be used; one that is there already is fine. */
enum weir_code topics_create(struct kafka_client *client, const struct topics_new *topic,
                             const struct topics_patience *patience, struct weir_error *error);

#endif
