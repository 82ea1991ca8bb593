/* Reads the partitions of one subtask.
 *
 *   librdkafka's threads ──> queue of a partition ──(first record: on_ready)──> part->is_ready, wake the task
 *                                  │
 *   poll: for each ready partition, in turn: rd_kafka_consume_callback_queue ──> on_message ──> copy into the batch
 *                                                                                   │ batch full, or stop reached
 *                                                                                   └──> part->held, rd_kafka_yield
 *
 * rd_kafka_consume_callback_queue takes the whole queue, calls back for each record, and puts back in front what is
 * left when a callback yields: so the batch decides how many records it takes, and nothing is prefetched twice. The
 * record that the batch refused has been taken already; it is held as a copy, at most one for each partition, and comes
 * first the next time. A partition that has reached its stop is left unread; pausing would throw its prefetched records
 * away.
 *
 * Positions: `position` is the first offset that has not been handed over. It rises by records, and by end-of-partition
 * events over control records and gaps at the end. A record below it is an error: librdkafka promises rising offsets,
 * and exactly-once stands on that.
 *
 * The handle is a simple consumer (rd_kafka_consume_start for each partition): adding a partition cannot disturb the
 * others, and no group coordinator is asked for. */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "source.h"

#define NO_STOP INT64_MAX
#define LIKELY(x) __builtin_expect(!!(x), 1)
#define UNLIKELY(x) __builtin_expect(!!(x), 0)

struct kafka_reader;

struct part {
    struct kafka_reader *reader;
    char *name;
    char *identity;
    rd_kafka_topic_t *topic;
    rd_kafka_queue_t *queue;
    int32_t partition;
    bool is_moving;   /* position was lost and a new one is on its way: the next offset may be any */
    int64_t position;
    int64_t end;      /* NO_STOP = unbounded */
    int64_t limit;    /* cut; NO_STOP = none */
    int64_t stop;     /* the nearer of the two */
    struct weir_record *held; /* taken from the queue, at or past `stop` or refused by the batch; one allocation */
    int64_t held_offset;
    _Atomic bool is_ready; /* the queue may have something: set by librdkafka's threads */
};

struct kafka_reader {
    struct kafka_source *source;
    uint32_t subtask_index;
    struct kafka_client *client;
    struct weir_waker waker;
    size_t part_count;
    struct part **parts; /* pointers, because callbacks hold them */
    size_t turn;         /* index of the part that is asked first the next time */

    /* While a poll runs. */
    weir_batch *batch;
    size_t taken;
    bool is_full;
    struct weir_headers headers; /* scratch */
    size_t headers_capacity;
    uint64_t seen; /* records that show no headers, for sampling */
    struct weir_error error; /* sticky */
};

/* The reader that this thread polls: on_ready is also called from within librdkafka's own calls. */
static _Thread_local const struct kafka_reader *polled_here;

static void fail_no_memory(struct kafka_reader *reader)
{
    (void)weir_error_set(&reader->error, WEIR_NO_MEMORY, WEIR_REMEDY_REPLAY, "%s: out of memory",
                         reader->client->purpose);
}

/* ---- Records ----------------------------------------------------------------------------------------------------- */

static struct weir_bytes bytes_of(const void *data, size_t size)
{
    return data == NULL ? WEIR_NULL : (struct weir_bytes){ data, size };
}

static bool reserve_headers(struct kafka_reader *reader, size_t count)
{
    if (count <= reader->headers_capacity) return true;
    struct weir_header *items = malloc(count * sizeof *items);
    if (items == NULL) return false;
    free((void *)(uintptr_t)reader->headers.items);
    reader->headers.items = items;
    reader->headers_capacity = count;
    return true;
}

static bool convert_headers(struct kafka_reader *reader, const rd_kafka_headers_t *headers)
{
    const size_t count = rd_kafka_header_cnt(headers);
    if (!reserve_headers(reader, count)) return false;
    struct weir_header *items = (struct weir_header *)(uintptr_t)reader->headers.items;
    for (size_t i = 0; i < count; i++) {
        const void *value;
        size_t size;
        (void)rd_kafka_header_get_all(headers, i, &items[i].name, &value, &size); /* i is below the count */
        items[i].value = bytes_of(value, size);
    }
    reader->headers.count = count;
    return true;
}

static const struct weir_headers *fetch_headers(struct kafka_reader *reader, const rd_kafka_message_t *message)
{
    rd_kafka_headers_t *headers;
    const rd_kafka_resp_err_t code = rd_kafka_message_headers(message, &headers);
    if (code == RD_KAFKA_RESP_ERR__NOENT) return NULL;
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR) {
        (void)weir_error_set(&reader->error, WEIR_FAILED, WEIR_REMEDY_REPLAY,
                             "%s: the headers of the record at offset %lld of %s/%d cannot be read: %s",
                             reader->client->purpose, (long long)message->offset, rd_kafka_topic_name(message->rkt),
                             (int)message->partition, rd_kafka_err2str(code));
        return NULL;
    }
    if (convert_headers(reader, headers)) return &reader->headers;
    fail_no_memory(reader);
    return NULL;
}

/* Librdkafka allocates a buffer to find out that a record has no headers (30 ns with tcmalloc, 100 ns with malloc), so
 * we look ourselves. A record of message format 2, the only one with headers and with a leader epoch, ends
 *
 *     ... value | number of headers (varint) | headers
 *
 * and librdkafka's payload points into the response as the broker sent it: a 0 behind the value says that there are
 * none. As nobody has promised the latter, samples are compared with librdkafka's own answer. */
static bool shows_no_headers(const rd_kafka_message_t *message)
{
    return message->len > 0 && rd_kafka_message_leader_epoch(message) >= 0 &&
           ((const char *)message->payload)[message->len] == 0;
}

/* The first few of each reader, and one in 1024. */
static bool is_sample(uint64_t count)
{
    return count < 64 || count % 1024 == 0;
}

/* Set when a sample was wrong, for the whole process: from then on librdkafka is asked. */
static _Atomic bool look_is_wrong;

static const struct weir_headers *headers_of(struct kafka_reader *reader, const rd_kafka_message_t *message)
{
    const bool is_empty = shows_no_headers(message) && !atomic_load_explicit(&look_is_wrong, memory_order_relaxed);
    if (LIKELY(is_empty && !is_sample(reader->seen++))) return NULL;
    const struct weir_headers *headers = fetch_headers(reader, message);
    if (UNLIKELY(is_empty && headers != NULL)) {
        atomic_store(&look_is_wrong, true);
        (void)weir_error_set(&reader->error, WEIR_FAILED, WEIR_REMEDY_REPLAY,
                             "%s: librdkafka %s keeps records in another way than expected, so headers may have been "
                             "missed; from now on every record is asked for its own", reader->client->purpose,
                             rd_kafka_version_str());
    }
    return headers;
}

static void describe(struct kafka_reader *reader, const rd_kafka_message_t *message, struct weir_record *record)
{
    rd_kafka_timestamp_type_t type;
    const int64_t time_ms = rd_kafka_message_timestamp(message, &type);
    *record = (struct weir_record){
        .key = bytes_of(message->key, message->key_len),
        .value = bytes_of(message->payload, message->len),
        .time_ms = type == RD_KAFKA_TIMESTAMP_NOT_AVAILABLE || time_ms < 0 ? WEIR_TIME_UNSET : time_ms,
        .time_type = (enum weir_time_type)type, /* the same three, in the same order */
        .headers = headers_of(reader, message),
    };
}

/* ---- The record that was taken but not handed over --------------------------------------------------------------- */

static size_t size_of_headers(const struct weir_headers *headers)
{
    if (headers == NULL) return 0;
    size_t size = sizeof *headers + headers->count * sizeof(struct weir_header);
    for (size_t i = 0; i < headers->count; i++)
        size += strlen(headers->items[i].name) + 1 + headers->items[i].value.size;
    return size;
}

static char *move_bytes(struct weir_bytes *bytes, char *to)
{
    if (weir_is_null(*bytes)) return to;
    memcpy(to, bytes->data, bytes->size);
    bytes->data = to;
    return to + bytes->size;
}

static char *move_headers(const struct weir_headers **headers, char *to)
{
    struct weir_headers *copy = (struct weir_headers *)(void *)to;
    struct weir_header *items = (struct weir_header *)(void *)(copy + 1);
    *copy = (struct weir_headers){ .count = (*headers)->count, .items = items };
    to = (char *)(items + copy->count);
    for (size_t i = 0; i < copy->count; i++) {
        items[i] = (*headers)->items[i];
        const size_t size = strlen(items[i].name) + 1;
        items[i].name = memcpy(to, items[i].name, size);
        to = move_bytes(&items[i].value, to + size);
    }
    *headers = copy;
    return to;
}

static struct weir_record *copy_record(const struct weir_record *record)
{
    struct weir_record *copy =
        malloc(sizeof *copy + size_of_headers(record->headers) + record->key.size + record->value.size);
    if (copy == NULL) return NULL;
    *copy = *record;
    char *to = (char *)(copy + 1);
    if (copy->headers != NULL) to = move_headers(&copy->headers, to);
    to = move_bytes(&copy->key, to);
    (void)move_bytes(&copy->value, to);
    return copy;
}

/* Everything before `offset` has been handed over; nothing at or past the stop is. */
static void rise_to(struct part *part, int64_t offset)
{
    const int64_t position = offset < part->stop ? offset : part->stop;
    if (position > part->position) part->position = position;
}

/* A poll begins with an empty batch, and an empty batch takes any record. */
static bool add_to_batch(struct kafka_reader *reader, const struct weir_record *record)
{
    if (LIKELY(weir_batch_add(reader->batch, record))) {
        reader->taken++;
        return true;
    }
    reader->is_full = true;
    if (reader->taken == 0) fail_no_memory(reader);
    return false;
}

/* Takes no more from this queue now: what has not been called back for goes back to its front. */
static void hold(struct part *part, const struct weir_record *record, int64_t offset)
{
    part->held = copy_record(record);
    part->held_offset = offset;
    if (part->held == NULL) fail_no_memory(part->reader);
    rise_to(part, offset);
    rd_kafka_yield(part->reader->client->handle);
}

/* Hands the held record over, if it may be read by now and the batch takes it. */
static void place_held(struct part *part)
{
    rise_to(part, part->held_offset);
    if (part->held_offset >= part->stop || !add_to_batch(part->reader, part->held)) return;
    part->position = part->held_offset + 1;
    free(part->held);
    part->held = NULL;
}

/* ---- Events of a partition --------------------------------------------------------------------------------------- */

/* About a partition, at its position. */
static struct weir_log_line about(const struct part *part, enum weir_code code)
{
    const struct kafka_reader *reader = part->reader;
    return (struct weir_log_line){ .level = WEIR_LOG_WARN, .operator_name = reader->source->context.operator_name,
                                   .has_subtask = true, .subtask = reader->subtask_index, .split = part->name,
                                   .has_offset = true, .offset = part->position, .code = code };
}

/* A position that is gone, while a setting says where to go on. */
static void move_to(struct part *part, int64_t logical, const char *where)
{
    struct kafka_reader *reader = part->reader;
    const struct weir_log_line line = about(part, WEIR_POSITION_LOST);
    weir_log_about(reader->source->context.environment, &line,
                   "%s: offset %lld of %s is not there; going on at the %s one, as .out_of_range says",
                   reader->client->purpose, (long long)part->position, part->name, where);
    part->is_moving = true;
    (void)rd_kafka_consume_start(part->topic, part->partition, logical);
}

static void lose_position(struct part *part, const rd_kafka_message_t *message)
{
    struct kafka_reader *reader = part->reader;
    const enum weir_kafka_out_of_range choice = reader->source->options.out_of_range;
    if (choice == WEIR_KAFKA_EARLIEST) {
        move_to(part, RD_KAFKA_OFFSET_BEGINNING, "earliest");
    } else if (choice == WEIR_KAFKA_LATEST) {
        move_to(part, RD_KAFKA_OFFSET_END, "latest");
    } else {
        (void)weir_error_set(&reader->error, WEIR_POSITION_LOST, WEIR_REMEDY_STOP,
                             "%s: offset %lld of %s is not there any more, or not yet (%s). Records may have been "
                             "deleted by retention or by hand. Set .out_of_range of the source to go on elsewhere, or "
                             "begin anew with a new job name", reader->client->purpose, (long long)part->position,
                             part->name, rd_kafka_message_errstr(message));
    }
}

static void lose_topic(struct part *part, const rd_kafka_message_t *message)
{
    (void)weir_error_set(&part->reader->error, WEIR_POSITION_LOST, WEIR_REMEDY_STOP,
                         "%s: %s is gone (%s). If the topic was deleted on purpose, begin anew with a new job name",
                         part->reader->client->purpose, part->name, rd_kafka_err2str(message->err));
}

static void on_failure(struct part *part, const rd_kafka_message_t *message)
{
    struct kafka_reader *reader = part->reader;
    struct weir_error error;
    (void)kafka_error(&error, reader->client, message->err, rd_kafka_message_errstr(message), "%s: %s",
                      reader->client->purpose, part->name);
    const struct weir_log_line line = about(part, error.code);
    if (error.remedy == WEIR_REMEDY_RETRY) /* librdkafka does so by itself */
        weir_log_about(reader->source->context.environment, &line, "%s", error.text);
    else reader->error = error;
}

/* The first sign of where a moved partition goes on; it may lie before the old position. */
static void arrive(struct part *part, int64_t offset)
{
    part->is_moving = false;
    part->position = offset;
    const struct weir_log_line line = about(part, WEIR_OK);
    weir_log_about(part->reader->source->context.environment, &line, "%s: %s goes on at offset %lld",
                   part->reader->client->purpose, part->name, (long long)offset);
}

static void on_end_of_partition(struct part *part, int64_t offset)
{
    if (part->is_moving) arrive(part, offset);
    rise_to(part, offset);
}

static void on_event(struct part *part, const rd_kafka_message_t *message)
{
    switch (message->err) {
    case RD_KAFKA_RESP_ERR__PARTITION_EOF:
        on_end_of_partition(part, message->offset);
        break;
    case RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET:
    case RD_KAFKA_RESP_ERR__LOG_TRUNCATION:
    case RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE:
        lose_position(part, message);
        break;
    case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
    case RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC:
    case RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION:
        lose_topic(part, message);
        break;
    default:
        on_failure(part, message);
        break;
    }
    if (part->reader->error.code != WEIR_OK) rd_kafka_yield(part->reader->client->handle);
}

/* ---- Reading ----------------------------------------------------------------------------------------------------- */

/* False when the offset breaks the promise that everything stands on. */
static bool guard_order(struct part *part, int64_t offset)
{
    if (LIKELY(offset >= part->position)) return true;
    (void)weir_error_set(&part->reader->error, WEIR_FAILED, WEIR_REMEDY_REPLAY,
                         "%s: %s: offset %lld came although %lld was next", part->reader->client->purpose, part->name,
                         (long long)offset, (long long)part->position);
    rd_kafka_yield(part->reader->client->handle);
    return false;
}

/* In the task's thread, from within rd_kafka_consume_callback_queue. Record path. */
static void on_message(rd_kafka_message_t *message, void *opaque)
{
    struct part *part = opaque;
    struct kafka_reader *reader = part->reader;
    if (UNLIKELY(message->err != RD_KAFKA_RESP_ERR_NO_ERROR)) {
        on_event(part, message);
        return;
    }
    if (UNLIKELY(part->is_moving)) arrive(part, message->offset);
    if (UNLIKELY(!guard_order(part, message->offset))) return;

    struct weir_record record;
    describe(reader, message, &record);
    if (LIKELY(message->offset < part->stop && add_to_batch(reader, &record))) {
        part->position = message->offset + 1;
        return;
    }
    hold(part, &record, message->offset);
}

static bool has_stopped(const struct part *part)
{
    return part->position >= part->stop;
}

static void read_part(struct part *part)
{
    if (part->held != NULL) place_held(part);
    if (part->held != NULL || part->reader->is_full || has_stopped(part)) return;
    if (!atomic_load(&part->is_ready)) return;
    atomic_store(&part->is_ready, false); /* before reading, so that what comes meanwhile sets it again */
    (void)rd_kafka_consume_callback_queue(part->queue, 0, on_message, part);
    /* Unread records stay in the queue, and no event will tell of them. */
    if (part->held != NULL || has_stopped(part)) atomic_store(&part->is_ready, true);
}

static void read_parts(struct kafka_reader *reader)
{
    const size_t first = reader->turn;
    for (size_t i = 0; i < reader->part_count && !reader->is_full && reader->error.code == WEIR_OK; i++) {
        const size_t index = first + i < reader->part_count ? first + i : first + i - reader->part_count;
        read_part(reader->parts[index]);
        reader->turn = index + 1 < reader->part_count ? index + 1 : 0;
    }
}

/* A bounded reader without partitions has nothing to wait for; an unbounded one may get some. */
static bool has_ended(const struct kafka_reader *reader)
{
    if (reader->part_count == 0) return reader->source->is_bounded;
    for (size_t i = 0; i < reader->part_count; i++)
        if (reader->parts[i]->position < reader->parts[i]->end) return false;
    return true;
}

enum weir_poll kafka_reader_poll(void *opaque, weir_batch *batch, struct weir_error *error)
{
    struct kafka_reader *reader = opaque;
    reader->batch = batch;
    reader->taken = 0;
    reader->is_full = false;
    polled_here = reader;
    if (reader->error.code == WEIR_OK) {
        (void)rd_kafka_poll(reader->client->handle, 0); /* token refreshes and the like */
        read_parts(reader);
    }
    polled_here = NULL;
    reader->batch = NULL;
    if (reader->error.code != WEIR_OK) {
        *error = reader->error;
        return WEIR_POLL_FAILED;
    }
    if (reader->taken > 0) return WEIR_POLL_MORE;
    return has_ended(reader) ? WEIR_POLL_ENDED : WEIR_POLL_IDLE;
}

/* Any of librdkafka's threads, under the lock of the queue; also ours, when a callback yields. */
static void on_ready(rd_kafka_t *handle, void *opaque)
{
    (void)handle;
    struct part *part = opaque;
    atomic_store(&part->is_ready, true);
    if (polled_here != part->reader) part->reader->waker.wake(part->reader->waker.user);
}

/* ---- Partitions -------------------------------------------------------------------------------------------------- */

static void update_stop(struct part *part)
{
    part->stop = part->end < part->limit ? part->end : part->limit;
}

static int64_t stop_of(int64_t end)
{
    return end == WEIR_POSITION_NONE ? NO_STOP : end;
}

static void destroy_part(struct part *part)
{
    if (part == NULL) return;
    if (part->queue != NULL) {
        rd_kafka_queue_cb_event_enable(part->queue, NULL, NULL); /* takes the lock under which on_ready runs */
        rd_kafka_queue_destroy(part->queue);
    }
    if (part->topic != NULL) rd_kafka_topic_destroy(part->topic);
    free(part->held);
    free(part->name);
    free(part->identity);
    free(part);
}

static struct part *create_part(struct kafka_reader *reader, const struct weir_split *split, const char *topic,
                                int32_t partition)
{
    struct part *part = calloc(1, sizeof *part);
    if (part == NULL) return NULL;
    part->reader = reader;
    part->partition = partition;
    part->position = split->position;
    part->end = stop_of(split->end);
    part->limit = NO_STOP;
    update_stop(part);
    part->name = strdup(split->name);
    part->identity = strdup(split->identity == NULL ? "" : split->identity);
    part->topic = rd_kafka_topic_new(reader->client->handle, topic, NULL);
    part->queue = rd_kafka_queue_get_partition(reader->client->handle, topic, partition);
    if (part->name != NULL && part->identity != NULL && part->topic != NULL && part->queue != NULL) return part;
    destroy_part(part);
    return NULL;
}

static bool append_part(struct kafka_reader *reader, struct part *part)
{
    struct part **parts = realloc(reader->parts, (reader->part_count + 1) * sizeof *parts);
    if (parts == NULL) return false;
    reader->parts = parts;
    parts[reader->part_count++] = part;
    return true;
}

enum weir_code kafka_reader_add(void *opaque, const struct weir_split *split, struct weir_error *error)
{
    struct kafka_reader *reader = opaque;
    char topic[KAFKA_TOPIC_SIZE];
    int32_t partition;
    if (!kafka_split_parse(split->name, topic, &partition) || split->position < 0)
        return weir_error_set(error, WEIR_DAMAGED, WEIR_REMEDY_STOP,
                              "%s: '%s' at %lld is no partition and offset of Kafka", reader->client->purpose,
                              split->name, (long long)split->position);
    struct part *part = create_part(reader, split, topic, partition);
    if (part == NULL || !append_part(reader, part)) {
        destroy_part(part);
        return weir_error_set(error, WEIR_NO_MEMORY, WEIR_REMEDY_REPLAY, "%s: out of memory", reader->client->purpose);
    }
    rd_kafka_queue_cb_event_enable(part->queue, on_ready, part);
    if (rd_kafka_consume_start(part->topic, partition, split->position) == 0) return WEIR_OK;
    return kafka_error(error, reader->client, rd_kafka_last_error(), NULL, "%s: reading of %s cannot begin",
                       reader->client->purpose, split->name);
}

bool kafka_reader_positions(void *opaque, struct weir_splits *positions)
{
    const struct kafka_reader *reader = opaque;
    for (size_t i = 0; i < reader->part_count; i++) {
        const struct part *part = reader->parts[i];
        const struct weir_split split = {
            .name = part->name,
            .identity = part->identity,
            .position = part->position,
            .end = part->end == NO_STOP ? WEIR_POSITION_NONE : part->end,
        };
        if (!weir_splits_add(positions, &split)) return false;
    }
    return true;
}

static struct part *find_part(const struct kafka_reader *reader, const char *name)
{
    for (size_t i = 0; i < reader->part_count; i++)
        if (strcmp(reader->parts[i]->name, name) == 0) return reader->parts[i];
    return NULL;
}

bool kafka_reader_limit(void *opaque, const char *split_name, int64_t end)
{
    struct part *part = find_part(opaque, split_name);
    if (part == NULL || part->position > stop_of(end)) return false;
    part->limit = stop_of(end);
    update_stop(part);
    return true;
}

/* What a partition has to come, by the last fetch; -1 before the first one. */
static int64_t lag_of(const struct part *part)
{
    int64_t low, high;
    if (rd_kafka_get_watermark_offsets(part->reader->client->handle, rd_kafka_topic_name(part->topic), part->partition,
                                       &low, &high) != RD_KAFKA_RESP_ERR_NO_ERROR || high < 0)
        return -1;
    if (part->end < high) high = part->end;
    return high > part->position ? high - part->position : 0;
}

int64_t kafka_reader_lag(void *opaque)
{
    const struct kafka_reader *reader = opaque;
    int64_t sum = 0;
    for (size_t i = 0; i < reader->part_count; i++) {
        const int64_t lag = lag_of(reader->parts[i]);
        if (lag < 0) return -1;
        sum += lag;
    }
    return sum;
}

void kafka_reader_lags(void *opaque, void (*each)(void *user, const char *split, int64_t lag), void *user)
{
    const struct kafka_reader *reader = opaque;
    for (size_t i = 0; i < reader->part_count; i++) each(user, reader->parts[i]->name, lag_of(reader->parts[i]));
}

/* ---- Life cycle -------------------------------------------------------------------------------------------------- */

static int64_t clamp(int64_t value, int64_t low, int64_t high)
{
    if (value < low) return low;
    return value > high ? high : value;
}

/* Librdkafka's limits count for each queue, so the budget of the source is divided among its partitions. Beside its
 * bytes a record in a queue costs about 450 bytes of librdkafka's own: the number of records is bounded, too. A fetch
 * may overshoot both, so it is kept a good deal smaller than the share. */
static enum weir_code share_memory(const struct kafka_source *source, rd_kafka_conf_t *conf, struct weir_error *error)
{
    const struct weir_connector_context *context = &source->context;
    const uint32_t partitions = atomic_load(&source->partitions_known);
    const uint32_t readers = context->parallelism;
    const int64_t budget = weir_config_size_bytes(context->config, "source.prefetch.size");
    const int64_t share = clamp(budget / (partitions > 0 ? partitions : 1), 32 << 10, 1 << 30);
    const struct { const char *name; int64_t value; } rows[] = {
        { "queued.max.messages.kbytes", share >> 10 },
        { "queued.min.messages", clamp(share / 1024, 64, 100000) },
        { "fetch.message.max.bytes", clamp(share / 8, 32 << 10, 1 << 20) },
        { "fetch.max.bytes", clamp(budget / (readers > 0 ? readers : 1), 1 << 20, 50 << 20) },
    };
    enum weir_code code = WEIR_OK;
    for (size_t i = 0; code == WEIR_OK && i < sizeof rows / sizeof rows[0]; i++)
        code = kafka_conf_default(KAFKA_CONSUMER, context, conf, rows[i].name, rows[i].value, error);
    return code;
}

static enum weir_code fill_conf(const struct kafka_source *source, rd_kafka_conf_t *conf, struct weir_error *error)
{
    const bool committed = source->options.isolation == WEIR_KAFKA_READ_COMMITTED;
    const struct { const char *name, *value; } rows[] = {
        { "isolation.level", committed ? "read_committed" : "read_uncommitted" },
        { "enable.partition.eof", "true" },
        { "auto.offset.reset", "error" },
        { "enable.auto.commit", "false" },
        { "enable.auto.offset.store", "false" },
    };
    enum weir_code code = share_memory(source, conf, error);
    for (size_t i = 0; code == WEIR_OK && i < sizeof rows / sizeof rows[0]; i++)
        code = kafka_conf_set(conf, rows[i].name, rows[i].value, error);
    return code;
}

static enum weir_code open_client(struct kafka_reader *reader, struct weir_error *error)
{
    const struct kafka_source *source = reader->source;
    char purpose[96];
    (void)snprintf(purpose, sizeof purpose, "source '%s', subtask %u", source->context.operator_name,
                   reader->subtask_index);
    rd_kafka_conf_t *conf;
    enum weir_code code =
        kafka_conf_create(KAFKA_CONSUMER, &source->context, source->options.brokers, purpose, &conf, error);
    if (code != WEIR_OK) return code;
    code = fill_conf(source, conf, error);
    if (code == WEIR_OK)
        return kafka_client_open(KAFKA_CONSUMER, conf, source->context.environment, purpose, reader, &reader->client,
                                 error);
    rd_kafka_conf_destroy(conf);
    return code;
}

enum weir_code kafka_reader_open(void *source, uint32_t subtask_index, struct weir_waker waker, void **opened,
                                 struct weir_error *error)
{
    struct kafka_reader *reader = calloc(1, sizeof *reader);
    if (reader == NULL) return weir_error_set(error, WEIR_NO_MEMORY, WEIR_REMEDY_REPLAY, "out of memory");
    reader->source = source;
    reader->subtask_index = subtask_index;
    reader->waker = waker;
    const enum weir_code code = open_client(reader, error);
    if (code != WEIR_OK) {
        free(reader);
        return code;
    }
    *opened = reader;
    return WEIR_OK;
}

void kafka_reader_close(void *opaque)
{
    struct kafka_reader *reader = opaque;
    for (size_t i = 0; i < reader->part_count; i++) destroy_part(reader->parts[i]);
    kafka_reaper_take(reader->source->reaper, reader->client);
    free((void *)(uintptr_t)reader->headers.items);
    free(reader->parts);
    free(reader);
}
