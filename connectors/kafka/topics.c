#include "topics.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "ask.h"
#include "handle.h"

enum { SLICE_MS = 1000, USABLE_POLL_MS = 10 };

bool topics_ask_again(const struct topics_patience *patience, int64_t began_ms, rd_kafka_resp_err_t reason)
{
    const bool may_pass = reason == RD_KAFKA_RESP_ERR__TIMED_OUT || reason == RD_KAFKA_RESP_ERR__TRANSPORT ||
                          reason == RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE ||
                          reason == RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION ||
                          reason == RD_KAFKA_RESP_ERR__WAIT_CACHE;
    return may_pass && !kafka_is_cancelled(patience->cancelled) && handle_now_ms() - began_ms < patience->timeout_ms;
}

void topics_pause(int ms)
{
    (void)poll(NULL, 0, ms);
}

int topics_slice_ms(const struct topics_patience *patience)
{
    return patience->timeout_ms < SLICE_MS ? (int)patience->timeout_ms : SLICE_MS;
}

/* ---- Partitions -------------------------------------------------------------------------------------------------- */

static rd_kafka_resp_err_t ask_partition_count(struct kafka_client *client, rd_kafka_topic_t *topic, int timeout_ms,
                                               int32_t *count)
{
    const struct rd_kafka_metadata *metadata;
    rd_kafka_resp_err_t reason = rd_kafka_metadata(client->handle, 0, topic, &metadata, timeout_ms);
    if (reason != RD_KAFKA_RESP_ERR_NO_ERROR) return reason;
    *count = 0;
    if (metadata->topic_cnt == 1) {
        reason = metadata->topics[0].err;
        *count = metadata->topics[0].partition_cnt;
    }
    rd_kafka_metadata_destroy(metadata);
    return reason;
}

enum weir_code topics_partition_count(struct kafka_client *client, const char *topic,
                                      const struct topics_patience *patience, int32_t *count,
                                      struct weir_error *error)
{
    const int64_t began_ms = handle_now_ms();
    rd_kafka_topic_t *handle = rd_kafka_topic_new(client->handle, topic, NULL);
    if (handle == NULL) return kafka_error(error, client, rd_kafka_last_error(), NULL, "topic '%s'", topic);
    rd_kafka_resp_err_t reason;
    do {
        reason = ask_partition_count(client, handle, topics_slice_ms(patience), count);
    } while (topics_ask_again(patience, began_ms, reason));
    rd_kafka_topic_destroy(handle);
    const bool is_missing =
        reason == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART || reason == RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC;
    if (is_missing) *count = 0;
    if (is_missing || reason == RD_KAFKA_RESP_ERR_NO_ERROR) return WEIR_OK;
    return kafka_error(error, client, reason, NULL, "topic '%s'", topic);
}

/* ---- Settings ---------------------------------------------------------------------------------------------------- */

enum weir_code topics_setting(struct kafka_client *client, const char *topic, const char *name,
                              const struct topics_patience *patience, char value[64], struct weir_error *error)
{
    struct kafka_setting setting = { .name = name };
    const enum weir_code code = kafka_ask_settings(client, RD_KAFKA_RESOURCE_TOPIC, topic, &setting, 1, patience->timeout_ms,
                                                   patience->cancelled, error);
    (void)snprintf(value, 64, "%s", setting.value);
    return code;
}

/* ---- Creating ---------------------------------------------------------------------------------------------------- */

static rd_kafka_NewTopic_t *describe(const struct topics_new *topic, char *text, size_t size)
{
    rd_kafka_NewTopic_t *description =
        rd_kafka_NewTopic_new(topic->name, topic->partitions == 0 ? -1 : topic->partitions,
                              topic->replication == 0 ? -1 : topic->replication, text, size);
    for (size_t i = 0; description != NULL && i < topic->setting_count; i++)
        rd_kafka_NewTopic_set_config(description, topic->settings[i][0], topic->settings[i][1]);
    return description;
}

static enum weir_code read_creation(struct kafka_client *client, rd_kafka_event_t *event, const char *name,
                                    struct weir_error *error)
{
    rd_kafka_resp_err_t reason = rd_kafka_event_error(event);
    const char *detail = rd_kafka_event_error_string(event);
    const rd_kafka_CreateTopics_result_t *result = rd_kafka_event_CreateTopics_result(event);
    size_t count = 0;
    const rd_kafka_topic_result_t **rows = result == NULL ? NULL : rd_kafka_CreateTopics_result_topics(result, &count);
    if (reason == RD_KAFKA_RESP_ERR_NO_ERROR && count == 1) {
        reason = rd_kafka_topic_result_error(rows[0]);
        detail = rd_kafka_topic_result_error_string(rows[0]);
    }
    if (reason == RD_KAFKA_RESP_ERR_NO_ERROR || reason == RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS) return WEIR_OK;
    if (reason == RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED)
        return weir_error_set(error, WEIR_ENVIRONMENT, WEIR_REMEDY_STOP,
                              "creating topic '%s': allow this user to Create the topic, or create it yourself", name);
    kafka_error(error, client, reason, detail, "creating topic '%s'", name);
    /* What the table does not know is a policy or a limit of the cluster. */
    if (error != NULL && error->remedy == WEIR_REMEDY_REPLAY) {
        error->code = WEIR_ENVIRONMENT;
        error->remedy = WEIR_REMEDY_STOP;
    }
    return error == NULL ? WEIR_ENVIRONMENT : error->code;
}

static enum weir_code await_usable(struct kafka_client *client, const char *name,
                                   const struct topics_patience *patience, struct weir_error *error)
{
    const int64_t began_ms = handle_now_ms();
    int32_t count;
    for (;;) {
        if (topics_partition_count(client, name, patience, &count, error) != WEIR_OK) return error->code;
        if (count > 0) return WEIR_OK;
        if (!topics_ask_again(patience, began_ms, RD_KAFKA_RESP_ERR__TIMED_OUT))
            return kafka_error(error, client, RD_KAFKA_RESP_ERR__TIMED_OUT, "it was created, but does not show up",
                               "topic '%s'", name);
        topics_pause(USABLE_POLL_MS);
    }
}

enum weir_code topics_create(struct kafka_client *client, const struct topics_new *topic,
                             const struct topics_patience *patience, struct weir_error *error)
{
    char text[256];
    rd_kafka_NewTopic_t *description = describe(topic, text, sizeof text);
    if (description == NULL)
        return weir_error_set(error, WEIR_USAGE, WEIR_REMEDY_STOP, "creating topic '%s': %s", topic->name, text);
    rd_kafka_queue_t *queue = rd_kafka_queue_new(client->handle);
    rd_kafka_CreateTopics(client->handle, &description, 1, NULL, queue);
    rd_kafka_event_t *event = NULL;
    enum weir_code code = kafka_await(client, queue, patience->timeout_ms, patience->cancelled, &event, error);
    if (code == WEIR_OK) {
        code = read_creation(client, event, topic->name, error);
        rd_kafka_event_destroy(event);
    }
    rd_kafka_queue_destroy(queue);
    rd_kafka_NewTopic_destroy(description);
    return code == WEIR_OK ? await_usable(client, topic->name, patience, error) : code;
}
