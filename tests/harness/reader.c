#include "reader.h"

#include <check.h>

#include "broker.h"
#include "process.h"

static void set(rd_kafka_conf_t *conf, const char *name, const char *value)
{
    char text[256];
    ck_assert_msg(rd_kafka_conf_set(conf, name, value, text, sizeof text) == RD_KAFKA_CONF_OK, "%s", text);
}

static void be_silent(const rd_kafka_t *handle, int level, const char *facility, const char *text)
{
    (void)handle, (void)level, (void)facility, (void)text;
}

rd_kafka_t *reader_open(const char *group, const char *isolation)
{
    const char *const settings[][2] = {
        { "bootstrap.servers", broker_address() }, { "group.id", group },
        { "enable.auto.commit", "false" },         { "enable.auto.offset.store", "false" },
        { "enable.partition.eof", "true" },        { "isolation.level", isolation },
        { "auto.offset.reset", "error" },          { "fetch.wait.max.ms", "20" },
        { "reconnect.backoff.max.ms", "200" },
    };
    char text[256];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    for (size_t i = 0; i < sizeof settings / sizeof settings[0]; i++) set(conf, settings[i][0], settings[i][1]);
    rd_kafka_conf_set_log_cb(conf, be_silent);
    rd_kafka_t *reader = rd_kafka_new(RD_KAFKA_CONSUMER, conf, text, sizeof text);
    ck_assert_msg(reader != NULL, "%s", text);
    rd_kafka_poll_set_consumer(reader);
    return reader;
}

int64_t reader_end(rd_kafka_t *reader, const char *topic, int partition)
{
    int64_t low, high;
    const rd_kafka_resp_err_t code =
        rd_kafka_query_watermark_offsets(reader, topic, partition, &low, &high, PATIENCE_MS);
    ck_assert_msg(code == RD_KAFKA_RESP_ERR_NO_ERROR, "%s/%d: %s", topic, partition, rd_kafka_err2str(code));
    return high;
}

/* Trouble on the way to a broker passes, or the deadline does. */
static bool is_passing(rd_kafka_resp_err_t code)
{
    return code == RD_KAFKA_RESP_ERR__TRANSPORT || code == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN ||
           code == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART || code == RD_KAFKA_RESP_ERR__RESOLVE;
}

/* True when the partition has come to its end. */
static bool take_message(rd_kafka_topic_partition_list_t *list, const rd_kafka_message_t *message,
                         void (*take)(void *user, const rd_kafka_message_t *message), void *user)
{
    ck_assert_msg(message->err == RD_KAFKA_RESP_ERR_NO_ERROR || message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF ||
                      is_passing(message->err), "%s", rd_kafka_message_errstr(message));
    if (message->rkt == NULL || is_passing(message->err)) return false;
    rd_kafka_topic_partition_t *partition =
        rd_kafka_topic_partition_list_find(list, rd_kafka_topic_name(message->rkt), message->partition);
    if (partition == NULL || partition->opaque != NULL) return false;
    const bool is_end = message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF;
    partition->offset = is_end ? message->offset : message->offset + 1;
    if (is_end) partition->opaque = list;
    else take(user, message);
    return is_end;
}

void reader_to_end(rd_kafka_t *reader, rd_kafka_topic_partition_list_t *list,
                   void (*take)(void *user, const rd_kafka_message_t *message), void *user)
{
    const int64_t deadline = process_now_ms() + PATIENCE_MS;
    int left = list->cnt;
    for (int i = 0; i < list->cnt; i++) list->elems[i].opaque = NULL;
    ck_assert_int_eq(rd_kafka_assign(reader, list), RD_KAFKA_RESP_ERR_NO_ERROR);
    while (left > 0) {
        ck_assert_msg(process_now_ms() < deadline, "%d of %d partitions cannot be read to their end", left, list->cnt);
        rd_kafka_message_t *message = rd_kafka_consumer_poll(reader, 100);
        if (message == NULL) continue;
        left -= take_message(list, message, take, user);
        rd_kafka_message_destroy(message);
    }
    ck_assert_int_eq(rd_kafka_assign(reader, NULL), RD_KAFKA_RESP_ERR_NO_ERROR);
}
