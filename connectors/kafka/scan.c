#include "scan.h"

#include <stdio.h>

#include "handle.h"

enum { POLL_MS = 50 };

enum weir_code scan_open(const struct weir_connector_context *context, const char *brokers, const char *purpose,
                         bool committed, struct kafka_client **client, struct weir_error *error)
{
    static const struct { const char *name, *value; } needed[] = {
        { "enable.partition.eof", "true" },
        { "allow.auto.create.topics", "false" },
        { "fetch.wait.max.ms", "5" }, /* the end is told by an empty answer only, which waits for so long */
        { "queued.min.messages", "10000" },
        { "queued.max.messages.kbytes", "16384" },
    };
    rd_kafka_conf_t *conf;
    if (kafka_conf_create(KAFKA_CONSUMER, context, brokers, purpose, &conf, error) != WEIR_OK) return error->code;
    enum weir_code code =
        kafka_conf_set(conf, "isolation.level", committed ? "read_committed" : "read_uncommitted", error);
    for (size_t i = 0; code == WEIR_OK && i < sizeof needed / sizeof needed[0]; i++)
        code = kafka_conf_set(conf, needed[i].name, needed[i].value, error);
    if (code == WEIR_OK)
        return kafka_client_open(KAFKA_CONSUMER, conf, context->environment, purpose, NULL, client, error);
    rd_kafka_conf_destroy(conf);
    return weir_error_wrap(error, "%s", purpose);
}

enum weir_code scan_bounds(struct kafka_client *client, const char *topic, int32_t partition,
                           const struct topics_patience *patience, int64_t *low, int64_t *high,
                           struct weir_error *error)
{
    const int64_t began_ms = handle_now_ms();
    rd_kafka_resp_err_t reason;
    do {
        reason =
            rd_kafka_query_watermark_offsets(client->handle, topic, partition, low, high, topics_slice_ms(patience));
    } while (topics_ask_again(patience, began_ms, reason));
    if (reason == RD_KAFKA_RESP_ERR_NO_ERROR) return WEIR_OK;
    return kafka_error(error, client, reason, NULL, "end of '%s/%d'", topic, (int)partition);
}

/* `*next` becomes the first offset that was not seen yet. */
static enum weir_code take_message(const struct scan_stretch *stretch, const rd_kafka_message_t *message, int64_t *next,
                                   struct weir_error *error)
{
    if (message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF || message->offset >= stretch->end) {
        *next = message->offset;
        return WEIR_OK;
    }
    if (message->err != RD_KAFKA_RESP_ERR_NO_ERROR)
        return kafka_error(error, stretch->client, message->err, rd_kafka_message_errstr(message), "reading '%s/%d'",
                           stretch->topic, (int)stretch->partition);
    *next = message->offset + 1;
    return stretch->each(stretch->user, message, error);
}

static enum weir_code give_up(const struct scan_stretch *stretch, int64_t next, const struct topics_patience *patience,
                              struct weir_error *error)
{
    if (kafka_is_cancelled(patience->cancelled))
        return weir_error_set(error, WEIR_FAILED, WEIR_REMEDY_STOP, "reading '%s/%d': given up", stretch->topic,
                              (int)stretch->partition);
    char text[160];
    (void)snprintf(text, sizeof text, "nothing came for %lld ms from offset %lld on, though it ends at %lld",
                   (long long)patience->timeout_ms, (long long)next, (long long)stretch->end);
    return kafka_error(error, stretch->client, RD_KAFKA_RESP_ERR__TIMED_OUT, text, "reading '%s/%d'", stretch->topic,
                       (int)stretch->partition);
}

static enum weir_code read_until_end(const struct scan_stretch *stretch, rd_kafka_topic_t *topic,
                                     const struct topics_patience *patience, struct weir_error *error)
{
    int64_t next = stretch->begin, seen_ms = handle_now_ms();
    enum weir_code code = WEIR_OK;
    while (code == WEIR_OK && next < stretch->end) {
        rd_kafka_message_t *message = rd_kafka_consume(topic, stretch->partition, POLL_MS);
        const bool is_cancelled = kafka_is_cancelled(patience->cancelled);
        if (message != NULL) {
            code = take_message(stretch, message, &next, error);
            rd_kafka_message_destroy(message);
            seen_ms = handle_now_ms();
        } else if (is_cancelled || handle_now_ms() - seen_ms > patience->timeout_ms) {
            code = give_up(stretch, next, patience, error);
        }
    }
    return code;
}

enum weir_code scan_records(const struct scan_stretch *stretch, const struct topics_patience *patience,
                            struct weir_error *error)
{
    if (stretch->begin >= stretch->end) return WEIR_OK;
    rd_kafka_topic_t *topic = rd_kafka_topic_new(stretch->client->handle, stretch->topic, NULL);
    if (topic == NULL || rd_kafka_consume_start(topic, stretch->partition, stretch->begin) != 0) {
        const rd_kafka_resp_err_t reason = rd_kafka_last_error();
        if (topic != NULL) rd_kafka_topic_destroy(topic);
        return kafka_error(error, stretch->client, reason, NULL, "reading '%s/%d'", stretch->topic,
                           (int)stretch->partition);
    }
    const enum weir_code code = read_until_end(stretch, topic, patience, error);
    rd_kafka_consume_stop(topic, stretch->partition);
    rd_kafka_topic_destroy(topic);
    return code;
}
