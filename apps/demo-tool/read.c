#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tool.h"

enum isolation { UNCOMMITTED, COMMITTED };

/* A consumer of all partitions of one topic, without a group's help. */
struct reader {
    rd_kafka_t *handle;
    const char *topic;
    int partition_count;
    int64_t begin[PARTITIONS_MAX]; /* where to read from; < 0 = not this partition */
    int64_t end[PARTITIONS_MAX];   /* filled by find_ends */
    bool done[PARTITIONS_MAX];
};

/* ---- Opening ------------------------------------------------------------------------------------------------------- */

static int find_partitions(struct reader *reader)
{
    const struct rd_kafka_metadata *metadata;
    rd_kafka_topic_t *topic = rd_kafka_topic_new(reader->handle, reader->topic, NULL);
    const rd_kafka_resp_err_t error = rd_kafka_metadata(reader->handle, 0, topic, &metadata, PATIENCE_MS);
    int code = 0;
    if (error != RD_KAFKA_RESP_ERR_NO_ERROR) {
        code = tool_fail("asking for topic %s: %s", reader->topic, rd_kafka_err2str(error));
    } else {
        reader->partition_count = metadata->topics[0].partition_cnt;
        if (metadata->topics[0].err != RD_KAFKA_RESP_ERR_NO_ERROR)
            code = tool_fail("topic %s: %s", reader->topic, rd_kafka_err2str(metadata->topics[0].err));
        else if (reader->partition_count > PARTITIONS_MAX)
            code = tool_fail("topic %s has more than %d partitions", reader->topic, PARTITIONS_MAX);
        rd_kafka_metadata_destroy(metadata);
    }
    rd_kafka_topic_destroy(topic);
    return code;
}

/* Reads every partition from its beginning, until somebody sets `begin`. Returns 0, or 1 after a sentence. */
static int reader_open(struct reader *reader, struct tool *tool, enum isolation isolation)
{
    const char *const properties[] = {
        "group.id", "weir-demo-tool", "enable.auto.commit", "false", "auto.offset.reset", "error",
        "enable.partition.eof", "true", "fetch.wait.max.ms", "10",
        "isolation.level", isolation == COMMITTED ? "read_committed" : "read_uncommitted", NULL,
    };
    *reader = (struct reader){ .topic = tool->topic };
    reader->handle = tool_open(tool, RD_KAFKA_CONSUMER, properties);
    if (reader->handle == NULL) return 1;
    rd_kafka_poll_set_consumer(reader->handle);
    return find_partitions(reader);
}

/* Below each end are all records that a reader of this isolation may get. Returns 0, or 1 after a sentence. */
static int find_ends(struct reader *reader)
{
    for (int p = 0; p < reader->partition_count; p++) {
        int64_t low;
        const rd_kafka_resp_err_t error =
            rd_kafka_query_watermark_offsets(reader->handle, reader->topic, p, &low, &reader->end[p], PATIENCE_MS);
        if (error != RD_KAFKA_RESP_ERR_NO_ERROR)
            return tool_fail("asking for the end of %s/%d: %s", reader->topic, p, rd_kafka_err2str(error));
    }
    return 0;
}

/* ---- Reading ------------------------------------------------------------------------------------------------------- */

static int assign(struct reader *reader)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(reader->partition_count);
    for (int p = 0; p < reader->partition_count; p++) {
        reader->done[p] = reader->begin[p] < 0;
        if (reader->begin[p] >= 0)
            rd_kafka_topic_partition_list_add(list, reader->topic, p)->offset =
                reader->begin[p] == 0 ? RD_KAFKA_OFFSET_BEGINNING : reader->begin[p];
    }
    const rd_kafka_resp_err_t error = rd_kafka_assign(reader->handle, list);
    rd_kafka_topic_partition_list_destroy(list);
    return error == RD_KAFKA_RESP_ERR_NO_ERROR ? 0 : tool_fail("%s", rd_kafka_err2str(error));
}

static bool all_done(const struct reader *reader)
{
    for (int p = 0; p < reader->partition_count; p++)
        if (!reader->done[p]) return false;
    return true;
}

/* Hands every record from `begin` up to the end that the broker reports to `each`. Returns 0, or 1 after a sentence. */
static int read_all(struct reader *reader, void (*each)(void *user, const rd_kafka_message_t *record), void *user)
{
    if (assign(reader) != 0) return 1;
    while (!all_done(reader)) {
        rd_kafka_message_t *message = rd_kafka_consumer_poll(reader->handle, PATIENCE_MS);
        if (message == NULL) return tool_fail("no answer within %d s while reading %s", PATIENCE_MS / 1000, reader->topic);
        int code = 0;
        if (message->err == RD_KAFKA_RESP_ERR_NO_ERROR) each(user, message);
        else if (message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) reader->done[message->partition] = true;
        else code = tool_fail("reading %s: %s", reader->topic, rd_kafka_message_errstr(message));
        rd_kafka_message_destroy(message);
        if (code != 0) return code;
    }
    return 0;
}

/* ---- records ------------------------------------------------------------------------------------------------------- */

static void print_record(void *user, const rd_kafka_message_t *record)
{
    (void)user;
    fwrite(record->payload, 1, record->len, stdout);
    putchar(' ');
    fwrite(record->key, 1, record->key_len, stdout);
    putchar('\n');
}

int command_records(struct tool *tool)
{
    struct reader reader;
    int code = reader_open(&reader, tool, COMMITTED);
    if (code == 0) code = read_all(&reader, print_record, NULL);
    tool_close(reader.handle);
    return code;
}

/* ---- open, visible ------------------------------------------------------------------------------------------------- */

struct range {
    int64_t count, first, last;
};

static void widen(void *user, const rd_kafka_message_t *record)
{
    struct range *range = (struct range *)user + record->partition;
    if (range->count++ == 0) range->first = record->offset;
    range->last = record->offset;
}

/* Where readers of committed data stand, then what lies beyond. */
static int read_open(struct tool *tool, struct reader *committed, struct reader *all, struct range *ranges)
{
    if (reader_open(committed, tool, COMMITTED) != 0 || find_ends(committed) != 0) return 1;
    if (reader_open(all, tool, UNCOMMITTED) != 0) return 1;
    memcpy(all->begin, committed->end, sizeof(all->begin));
    return read_all(all, widen, ranges);
}

int command_open(struct tool *tool)
{
    struct reader committed = { 0 }, all = { 0 };
    struct range ranges[PARTITIONS_MAX] = { 0 };
    int64_t sum = 0;
    const int code = read_open(tool, &committed, &all, ranges);
    for (int p = 0; p < all.partition_count; p++) sum += ranges[p].count;
    if (code == 0) printf("%lld", (long long)sum);
    for (int p = 0; code == 0 && p < all.partition_count; p++)
        if (ranges[p].count > 0) printf(" %d:%lld-%lld", p, (long long)ranges[p].first, (long long)ranges[p].last);
    if (code == 0) putchar('\n');
    tool_close(committed.handle);
    tool_close(all.handle);
    return code;
}

struct search {
    struct range ranges[PARTITIONS_MAX];
    int64_t found;
};

static void search(void *user, const rd_kafka_message_t *record)
{
    struct search *wanted = user;
    const struct range *range = &wanted->ranges[record->partition];
    wanted->found += record->offset >= range->first && record->offset <= range->last;
}

int command_visible(struct tool *tool)
{
    struct reader reader;
    struct search wanted = { 0 };
    int code = reader_open(&reader, tool, COMMITTED);
    for (int p = 0; p < reader.partition_count; p++) reader.begin[p] = -1;
    for (int i = 0; code == 0 && i < tool->argc; i++) {
        int partition;
        long long first, last;
        if (sscanf(tool->argv[i], "%d:%lld-%lld", &partition, &first, &last) != 3 || partition < 0 ||
            partition >= reader.partition_count)
            code = tool_fail("'%s' is not PARTITION:FIRST-LAST", tool->argv[i]);
        else
            reader.begin[partition] = first, wanted.ranges[partition] = (struct range){ .first = first, .last = last };
    }
    if (code == 0) code = read_all(&reader, search, &wanted);
    if (code == 0) printf("%lld\n", (long long)wanted.found);
    tool_close(reader.handle);
    return code;
}

/* ---- watch --------------------------------------------------------------------------------------------------------- */

static int await_record(struct reader *reader)
{
    const double begun = tool_clock_s();
    while (tool_clock_s() - begun < 2 * PATIENCE_MS / 1000.0) {
        rd_kafka_message_t *message = rd_kafka_consumer_poll(reader->handle, 1000);
        const rd_kafka_resp_err_t error = message == NULL ? RD_KAFKA_RESP_ERR__PARTITION_EOF : message->err;
        if (message != NULL) rd_kafka_message_destroy(message);
        if (error == RD_KAFKA_RESP_ERR_NO_ERROR) {
            struct timespec now;
            clock_gettime(CLOCK_REALTIME, &now);
            printf("%lld\n", (long long)now.tv_sec * 1000 + now.tv_nsec / 1000000);
            return 0;
        }
        if (error != RD_KAFKA_RESP_ERR__PARTITION_EOF)
            return tool_fail("reading %s: %s", reader->topic, rd_kafka_err2str(error));
    }
    return tool_fail("no record was committed to %s within %d s", reader->topic, 2 * PATIENCE_MS / 1000);
}

int command_watch(struct tool *tool)
{
    struct reader reader;
    int code = reader_open(&reader, tool, COMMITTED);
    if (code == 0) code = find_ends(&reader);
    memcpy(reader.begin, reader.end, sizeof(reader.begin));
    if (code == 0) code = assign(&reader);
    if (code == 0) {
        printf("ready\n");
        fflush(stdout);
        code = await_record(&reader);
    }
    tool_close(reader.handle);
    return code;
}
