#include <stdio.h>
#include <stdlib.h>

#include "tool.h"

/* Lines are sent in small portions, so that the stream looks even to whoever reads it. */
enum { PORTION_MS = 10 };

void tool_delivered(rd_kafka_t *handle, const rd_kafka_message_t *message, void *opaque)
{
    struct tool *tool = opaque;
    (void)handle;
    if (message->err == RD_KAFKA_RESP_ERR_NO_ERROR) return;
    if (tool->lines_failed++ == 0) tool_fail("a line was not written: %s", rd_kafka_err2str(message->err));
}

/* Without a key: the client spreads lines over the partitions. */
static bool send_line(rd_kafka_t *handle, rd_kafka_topic_t *topic, char *line, size_t size)
{
    while (rd_kafka_produce(topic, RD_KAFKA_PARTITION_UA, RD_KAFKA_MSG_F_COPY, line, size, NULL, 0, NULL) != 0) {
        if (rd_kafka_last_error() != RD_KAFKA_RESP_ERR__QUEUE_FULL) {
            tool_fail("a line was not written: %s", rd_kafka_err2str(rd_kafka_last_error()));
            return false;
        }
        rd_kafka_poll(handle, PORTION_MS);
    }
    return true;
}

/* Returns how many lines were sent; `*good` turns false when one was not. */
static uint64_t send_all(struct tool *tool, rd_kafka_t *handle, rd_kafka_topic_t *topic, double lines_per_second,
                         bool *good)
{
    char *line = NULL;
    size_t capacity = 0;
    uint64_t count = 0;
    const double begun = tool_clock_s();
    for (ssize_t size; *good && tool->lines_failed == 0 && (size = getline(&line, &capacity, stdin)) >= 0; count++) {
        if (size > 0 && line[size - 1] == '\n') size--;
        while ((tool_clock_s() - begun) * lines_per_second < (double)count) rd_kafka_poll(handle, PORTION_MS);
        *good = send_line(handle, topic, line, (size_t)size);
    }
    free(line);
    return count;
}

int command_load(struct tool *tool)
{
    static const char *const properties[] = { "enable.idempotence", "true", "linger.ms", "5", NULL };
    const double lines_per_second = tool->argc == 1 ? strtod(tool->argv[0], NULL) : 0;
    if (!(lines_per_second > 0)) return tool_fail("load wants TOPIC LINES_PER_SECOND");
    rd_kafka_t *handle = tool_open(tool, RD_KAFKA_PRODUCER, properties);
    if (handle == NULL) return 1;

    bool good = true;
    rd_kafka_topic_t *topic = rd_kafka_topic_new(handle, tool->topic, NULL);
    const uint64_t count = send_all(tool, handle, topic, lines_per_second, &good);
    if (good && rd_kafka_flush(handle, PATIENCE_MS) != RD_KAFKA_RESP_ERR_NO_ERROR)
        good = tool_fail("lines are left that no broker took within %d s", PATIENCE_MS / 1000) == 0;
    good = good && tool->lines_failed == 0;
    if (good) printf("%llu\n", (unsigned long long)count);
    rd_kafka_topic_destroy(topic);
    tool_close(handle);
    return good ? 0 : 1;
}
