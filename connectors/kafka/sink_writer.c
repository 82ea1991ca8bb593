#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "failures.h"
#include "partitioner.h"
#include "sink.h"
#include "sink_queue.h"

/* What may be written before the handle is asked again whether there is room. */
enum { CREDIT_RECORDS = 256, CREDIT_BYTES = 1 << 20 };
/* Records without headers and time are handed over by the hundred: 100 ns each instead of 200 (tests/bench/sink_bench).
 * */
enum { STAGE_RECORDS = 128, STAGE_BYTES = 65536 };

struct tally {
    uint64_t count;
    struct weir_digest digest;
};

/* A topic that this writer has met. */
struct target {
    struct output *output;
    rd_kafka_topic_t *topic; /* as `handle` knows it; NULL = not asked yet */
    int64_t record_bytes_max;
    struct tally *tallies;   /* of the epoch, for each partition */
};

struct stage {
    uint32_t target;
    int count;
    size_t used;
    rd_kafka_message_t messages[STAGE_RECORDS];
    char bytes[STAGE_BYTES];
};

struct writer {
    struct sink *sink;
    struct weir_waker waker;
    struct handle_waiter waiter;
    struct partitioner partitioner;
    uint64_t epoch;        /* that writes belong to */
    struct handle *handle; /* on which it is open; NULL = holding */
    struct sink_queue held;
    uint64_t records;      /* of the epoch, handed over */
    uint64_t dead_letters; /* of the epoch */
    uint64_t bytes;
    bool was_refused;      /* somebody waits for room in the queue */

    int64_t credit_records;
    int64_t credit_bytes;

    size_t target_count;
    struct target *targets;
    struct stage stage;
};

/* ---- Targets ----------------------------------------------------------------------------------------------------- */

static enum weir_code out_of_memory(struct writer *writer, struct weir_error *error)
{
    return weir_error_set(error, WEIR_NO_MEMORY, WEIR_REMEDY_STOP, "sink '%s': out of memory",
                          writer->sink->context.operator_name);
}

static enum weir_code add_target(struct writer *writer, struct output *output, uint32_t *index,
                                 struct weir_error *error)
{
    struct target *targets = realloc(writer->targets, (writer->target_count + 1) * sizeof *targets);
    if (targets == NULL) return out_of_memory(writer, error);
    writer->targets = targets;
    struct target *target = &targets[writer->target_count];
    *target = (struct target){ .output = output };
    target->record_bytes_max = sink_record_bytes_max(writer->sink, output);
    target->tallies = calloc((size_t)output->partition_count, sizeof *target->tallies);
    if (target->tallies == NULL) return out_of_memory(writer, error);
    *index = (uint32_t)writer->target_count++;
    return WEIR_OK;
}

static enum weir_code target_of_output(struct writer *writer, struct output *output, uint32_t *index,
                                       struct weir_error *error)
{
    for (*index = 0; *index < writer->target_count; ++*index)
        if (writer->targets[*index].output == output) return WEIR_OK;
    return add_target(writer, output, index, error);
}

/* The first record of a topic that was not named at the start waits here for the brokers' answer. */
static enum weir_code target_of_name(struct writer *writer, const char *topic, uint32_t *index,
                                     struct weir_error *error)
{
    for (*index = 0; *index < writer->target_count; ++*index)
        if (strcmp(writer->targets[*index].output->name, topic) == 0) return WEIR_OK;
    struct output *output;
    if (sink_resolve(writer->sink, topic, &output, error) != WEIR_OK)
        return weir_error_wrap(error, "sink '%s'", writer->sink->context.operator_name);
    return add_target(writer, output, index, error);
}

static enum weir_code target_of_record(struct writer *writer, const struct weir_record *record, uint32_t *index,
                                       struct weir_error *error)
{
    const struct weir_kafka_sink_options *options = &writer->sink->options;
    *index = 0;
    if (options->topic_of == NULL) return WEIR_OK; /* the fixed topic is the first target */
    const char *topic = options->topic_of(options->user, record);
    if (topic != NULL) return target_of_name(writer, topic, index, error);
    return weir_error_set(error, WEIR_FAILED, WEIR_REMEDY_REPLAY, "sink '%s': topic_of named no topic for a record",
                          writer->sink->context.operator_name);
}

static enum weir_code choose_partition(struct writer *writer, const struct target *target,
                                       const struct weir_record *record, int32_t *partition, struct weir_error *error)
{
    const struct weir_kafka_sink_options *options = &writer->sink->options;
    const int32_t count = target->output->partition_count;
    *partition = options->partition_of == NULL ? -1 : options->partition_of(options->user, record, count);
    if (*partition < 0)
        *partition =
            partitioner_choose(&writer->partitioner, record->key, record->key.size + record->value.size, count);
    if (*partition < count) return WEIR_OK;
    return weir_error_set(error, WEIR_FAILED, WEIR_REMEDY_STOP,
                          "sink '%s': partition_of chose partition %d of '%s', which has %d",
                          writer->sink->context.operator_name, (int)*partition, target->output->name, (int)count);
}

/* ---- Sending ----------------------------------------------------------------------------------------------------- */

static enum weir_code refused(struct writer *writer, const struct target *target, rd_kafka_resp_err_t reason,
                              struct weir_error *error)
{
    char text[512];
    struct failure failure = { .call = FAILURE_IN_PRODUCE, .reason = reason, .subject = target->output->name,
                               .age_ms = handle_transaction_age_ms(writer->handle),
                               .timeout_ms = writer->handle->limits.transaction_timeout_ms,
                               .is_secondary = writer->handle->is_secondary };
    if (reason == RD_KAFKA_RESP_ERR__FATAL) {
        failure.reason = rd_kafka_fatal_error(writer->handle->rk, text, sizeof text);
        failure.detail = text;
        failure.fatal = true;
    }
    (void)failure_judge(&failure, error);
    return weir_error_wrap(error, "sink '%s'", writer->sink->context.operator_name);
}

static enum weir_code find_topic(struct writer *writer, struct target *target, struct weir_error *error)
{
    if (target->topic == NULL) target->topic = handle_topic(writer->handle, target->output->name);
    return target->topic != NULL ? WEIR_OK : out_of_memory(writer, error);
}

static const void *data_of(struct weir_bytes bytes)
{
    return weir_is_null(bytes) ? NULL : bytes.data;
}

/* Librdkafka's calls take what they only copy without const. */
static void *unconst(const void *data)
{
    return (void *)(uintptr_t)data;
}

static enum weir_code flush_stage(struct writer *writer, struct weir_error *error)
{
    struct stage *stage = &writer->stage;
    if (stage->count == 0) return WEIR_OK;
    struct target *target = &writer->targets[stage->target];
    const int count = stage->count;
    stage->count = 0;
    stage->used = 0;
    if (find_topic(writer, target, error) != WEIR_OK) return error->code;
    /* One partition for the whole call spares a look-up and a lock for each record. */
    const bool is_single = target->output->partition_count == 1;
    const int flags = RD_KAFKA_MSG_F_COPY | (is_single ? 0 : RD_KAFKA_MSG_F_PARTITION);
    if (rd_kafka_produce_batch(target->topic, 0, flags, stage->messages, count) == count) return WEIR_OK;
    for (int i = 0; i < count; i++)
        if (stage->messages[i].err != RD_KAFKA_RESP_ERR_NO_ERROR)
            return refused(writer, target, stage->messages[i].err, error);
    return WEIR_OK;
}

static void *stage_bytes(struct stage *stage, struct weir_bytes bytes)
{
    if (!weir_is_set(bytes) || weir_is_null(bytes)) return NULL;
    char *copy = stage->bytes + stage->used;
    memcpy(copy, bytes.data, bytes.size);
    stage->used += bytes.size;
    return copy;
}

/* A record that stays where it is until the stage is flushed is not copied. */
static enum weir_code send_staged(struct writer *writer, uint32_t target, int32_t partition,
                                  const struct weir_record *record, bool stays, struct weir_error *error)
{
    struct stage *stage = &writer->stage;
    const size_t size = stays ? 0 : record->key.size + record->value.size;
    const bool must_flush = stage->count == STAGE_RECORDS || size > STAGE_BYTES - stage->used ||
                            (stage->count > 0 && stage->target != target);
    if (must_flush && flush_stage(writer, error) != WEIR_OK) return error->code;
    rd_kafka_message_t *message = &stage->messages[stage->count++];
    *message = (rd_kafka_message_t){ .partition = partition, .key_len = record->key.size, .len = record->value.size };
    message->key = stays ? unconst(data_of(record->key)) : stage_bytes(stage, record->key);
    message->payload = stays ? unconst(data_of(record->value)) : stage_bytes(stage, record->value);
    stage->target = target;
    return WEIR_OK;
}

static rd_kafka_headers_t *copy_headers(const struct weir_headers *headers)
{
    rd_kafka_headers_t *copy = rd_kafka_headers_new(headers->count);
    for (size_t i = 0; i < headers->count; i++) {
        const struct weir_bytes value = headers->items[i].value;
        rd_kafka_header_add(copy, headers->items[i].name, -1, data_of(value), (ssize_t)value.size);
    }
    return copy;
}

static rd_kafka_resp_err_t produce_with_headers(rd_kafka_t *rk, rd_kafka_topic_t *topic, int32_t partition,
                                                const struct weir_record *record, int64_t time_ms)
{
    rd_kafka_headers_t *headers = copy_headers(record->headers);
    const rd_kafka_resp_err_t reason = rd_kafka_producev(
        rk, RD_KAFKA_V_RKT(topic), RD_KAFKA_V_PARTITION(partition), RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
        RD_KAFKA_V_TIMESTAMP(time_ms), RD_KAFKA_V_KEY(data_of(record->key), record->key.size),
        RD_KAFKA_V_VALUE(unconst(data_of(record->value)), record->value.size), RD_KAFKA_V_HEADERS(headers),
        RD_KAFKA_V_END);
    if (reason != RD_KAFKA_RESP_ERR_NO_ERROR) rd_kafka_headers_destroy(headers);
    return reason;
}

static enum weir_code send_directly(struct writer *writer, uint32_t target_index, int32_t partition,
                                    const struct weir_record *record, int64_t time_ms, struct weir_error *error)
{
    struct target *target = &writer->targets[target_index];
    if (flush_stage(writer, error) != WEIR_OK || find_topic(writer, target, error) != WEIR_OK) return error->code;
    rd_kafka_resp_err_t reason;
    if (record->headers != NULL && record->headers->count > 0)
        reason = produce_with_headers(writer->handle->rk, target->topic, partition, record, time_ms);
    else
        reason = rd_kafka_producev(writer->handle->rk, RD_KAFKA_V_RKT(target->topic), RD_KAFKA_V_PARTITION(partition),
                                   RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_TIMESTAMP(time_ms),
                                   RD_KAFKA_V_KEY(data_of(record->key), record->key.size),
                                   RD_KAFKA_V_VALUE(unconst(data_of(record->value)), record->value.size),
                                   RD_KAFKA_V_END);
    return reason == RD_KAFKA_RESP_ERR_NO_ERROR ? WEIR_OK : refused(writer, target, reason, error);
}

static enum weir_code send_record(struct writer *writer, uint32_t target, int32_t partition,
                                  const struct weir_record *record, int64_t size, bool stays, struct weir_error *error)
{
    writer->credit_records--;
    writer->credit_bytes -= size;
    writer->records++;
    writer->bytes += (uint64_t)size;
    output_mark(writer->targets[target].output, partition);
    /* 0 means now; so does every time that Kafka could not store. */
    const bool wants_time = writer->sink->options.time == WEIR_KAFKA_TIME_OF_RECORD && record->time_ms > 0;
    const bool is_plain = !wants_time && (record->headers == NULL || record->headers->count == 0) &&
                          record->key.size + record->value.size <= STAGE_BYTES;
    if (is_plain) return send_staged(writer, target, partition, record, stays, error);
    return send_directly(writer, target, partition, record, wants_time ? record->time_ms : 0, error);
}

static enum weir_code send_held(void *user, const struct sink_queued *queued, struct weir_error *error)
{
    const int64_t size = sink_record_bytes(&queued->record);
    return send_record(user, queued->target, queued->partition, &queued->record, size, true, error);
}

/* ---- Writing ----------------------------------------------------------------------------------------------------- */

/* `size` is that of the whole record. */
static enum weir_code write_to(struct writer *writer, uint32_t index, const struct weir_record *record, int64_t size,
                               struct weir_error *error)
{
    struct target *target = &writer->targets[index];
    int32_t partition;
    if (choose_partition(writer, target, record, &partition, error) != WEIR_OK) return error->code;
    struct tally *tally = &target->tallies[partition];
    tally->count++;
    weir_digest_add(&tally->digest, weir_digest_record(record));
    if (writer->handle != NULL) return send_record(writer, index, partition, record, size, false, error);
    return sink_queue_push(&writer->held, index, partition, record) ? WEIR_OK : out_of_memory(writer, error);
}

/* The record as it is, with what was wrong in headers; its value is cut where it would not fit here either. */
static enum weir_code write_dead_letter(struct writer *writer, const struct weir_record *record, const char *topic,
                                        int64_t limit_there, struct weir_error *error)
{
    uint32_t index;
    char reason[160], size_text[24];
    if (target_of_output(writer, writer->sink->dead_letters, &index, error) != WEIR_OK) return error->code;
    const int64_t limit = writer->targets[index].record_bytes_max;
    const size_t count = record->headers == NULL ? 0 : record->headers->count;
    struct weir_header *headers = malloc((count + 3) * sizeof *headers);
    if (headers == NULL) return out_of_memory(writer, error);
    if (count > 0) memcpy(headers, record->headers->items, count * sizeof *headers);
    (void)snprintf(reason, sizeof reason, "record of %lld bytes, but the topic takes %lld",
                   (long long)sink_record_bytes(record), (long long)limit_there);
    (void)snprintf(size_text, sizeof size_text, "%zu", record->value.size);
    headers[count] = (struct weir_header){ "weir.error", weir_text(reason) };
    headers[count + 1] = (struct weir_header){ "weir.topic", weir_text(topic) };
    headers[count + 2] = (struct weir_header){ "weir.value.size", weir_text(size_text) };

    const struct weir_headers all = { count + 3, headers };
    struct weir_record letter = *record;
    letter.headers = &all;
    const int64_t excess = sink_record_bytes(&letter) - limit;
    if (excess > 0) letter.value.size = (int64_t)letter.value.size > excess ? letter.value.size - (size_t)excess : 0;
    enum weir_code code;
    const int64_t size = sink_record_bytes(&letter);
    if (size > limit)
        code = weir_error_set(error, WEIR_FAILED, WEIR_REMEDY_STOP,
                              "sink '%s': key and headers of a record alone are too large for dead letter topic '%s'",
                              writer->sink->context.operator_name, writer->sink->dead_letters->name);
    else code = write_to(writer, index, &letter, size, error);
    writer->dead_letters += code == WEIR_OK;
    free(headers);
    return code;
}

static enum weir_code refuse_large(struct writer *writer, const struct target *target, const struct weir_record *record,
                                   struct weir_error *error)
{
    if (writer->sink->dead_letters != NULL && target->output != writer->sink->dead_letters)
        return write_dead_letter(writer, record, target->output->name, target->record_bytes_max, error);
    return weir_error_set(error, WEIR_FAILED, WEIR_REMEDY_STOP,
                          "sink '%s': a record of %lld bytes does not fit into topic '%s', which takes %lld; raise "
                          "max.message.bytes of the topic and kafka.producer.message.max.bytes, or set "
                          ".dead_letter_topic",
                          writer->sink->context.operator_name, (long long)sink_record_bytes(record),
                          target->output->name, (long long)target->record_bytes_max);
}

enum weir_code sink_writer_write(void *opaque, const struct weir_record *record, struct weir_error *error)
{
    struct writer *writer = opaque;
    uint32_t index;
    if (target_of_record(writer, record, &index, error) != WEIR_OK) return error->code;
    const int64_t size = sink_record_bytes(record);
    if (size > writer->targets[index].record_bytes_max)
        return refuse_large(writer, &writer->targets[index], record, error);
    return write_to(writer, index, record, size, error);
}

/* ---- Room -------------------------------------------------------------------------------------------------------- */

static bool renew_credit(struct writer *writer)
{
    if (writer->records > 0) handle_note_record_bytes(writer->handle, (int64_t)(writer->bytes / writer->records));
    if (!handle_has_room(writer->handle, false)) {
        handle_await_room(writer->handle, &writer->waiter);
        return false;
    }
    writer->credit_records = CREDIT_RECORDS;
    writer->credit_bytes = CREDIT_BYTES;
    return true;
}

bool sink_writer_room(void *opaque)
{
    struct writer *writer = opaque;
    if (writer->handle == NULL) {
        const bool has_room = (int64_t)writer->held.size < writer->sink->held_bytes_max;
        writer->was_refused = !has_room;
        return has_room;
    }
    return (writer->credit_records > 0 && writer->credit_bytes > 0) || renew_credit(writer);
}

uint64_t sink_writer_bytes_unflushed(void *opaque)
{
    const struct writer *writer = opaque;
    return writer->bytes + writer->held.size;
}

/* ---- Epochs ------------------------------------------------------------------------------------------------------ */

static void let_handle_go(struct writer *writer)
{
    if (writer->handle == NULL) return;
    handle_forget(writer->handle, &writer->waiter);
    handle_release(writer->handle);
    writer->handle = NULL;
    for (size_t i = 0; i < writer->target_count; i++) writer->targets[i].topic = NULL;
}

static bool report_target(struct target *target, struct weir_output_totals *totals)
{
    for (int32_t p = 0; p < target->output->partition_count; p++) {
        struct tally *tally = &target->tallies[p];
        if (tally->count == 0) continue;
        char name[KAFKA_SPLIT_SIZE];
        kafka_split_name(name, target->output->name, p);
        if (!weir_output_totals_add(totals, name, tally->count, tally->digest)) return false;
        *tally = (struct tally){ 0 };
    }
    return true;
}

enum weir_code sink_writer_prepare(void *opaque, uint64_t epoch, struct weir_output_totals *totals,
                                   struct weir_error *error)
{
    struct writer *writer = opaque;
    if (epoch != writer->epoch || writer->held.count > 0)
        return weir_error_set(error, WEIR_FAILED, WEIR_REMEDY_REPLAY,
                              "sink '%s': barrier %llu came while epoch %llu was %s",
                              writer->sink->context.operator_name, (unsigned long long)epoch,
                              (unsigned long long)writer->epoch, writer->held.count > 0 ? "held back" : "open");
    if (writer->handle != NULL && flush_stage(writer, error) != WEIR_OK) return error->code;
    for (size_t i = 0; i < writer->target_count; i++)
        if (!report_target(&writer->targets[i], totals)) return out_of_memory(writer, error);
    let_handle_go(writer);
    writer->epoch++;
    totals->dead_letters += writer->dead_letters;
    writer->records = writer->bytes = writer->dead_letters = 0;
    return WEIR_OK;
}

enum weir_code sink_writer_proceed(void *opaque, uint64_t epoch, struct weir_error *error)
{
    struct writer *writer = opaque;
    writer->handle = epoch == writer->epoch ? decider_acquire(writer->sink->decider, epoch) : NULL;
    if (writer->handle == NULL)
        return weir_error_set(error, WEIR_FAILED, WEIR_REMEDY_REPLAY,
                              "sink '%s': no transaction is open for epoch %llu",
                              writer->sink->context.operator_name, (unsigned long long)epoch);
    writer->credit_records = writer->credit_bytes = 0;
    enum weir_code code = sink_queue_drain(&writer->held, send_held, writer, error);
    if (code == WEIR_OK) code = flush_stage(writer, error); /* it points into the queue */
    if (writer->was_refused) writer->waker.wake(writer->waker.user);
    writer->was_refused = false;
    return code;
}

enum weir_code sink_writer_tick(void *opaque, struct weir_error *error)
{
    struct writer *writer = opaque;
    return writer->handle == NULL ? WEIR_OK : flush_stage(writer, error);
}

/* ---- Life -------------------------------------------------------------------------------------------------------- */

void sink_writer_close(void *opaque)
{
    struct writer *writer = opaque;
    let_handle_go(writer);
    for (size_t i = 0; i < writer->target_count; i++) free(writer->targets[i].tallies);
    free(writer->targets);
    sink_queue_deinit(&writer->held);
    free(writer);
}

enum weir_code sink_writer_open(void *opaque, uint32_t subtask_index, uint64_t epoch, struct weir_waker waker,
                                void **opened, struct weir_error *error)
{
    struct sink *sink = opaque;
    struct writer *writer = calloc(1, sizeof *writer);
    if (writer == NULL)
        return weir_error_set(error, WEIR_NO_MEMORY, WEIR_REMEDY_STOP, "sink '%s': out of memory",
                              sink->context.operator_name);
    writer->sink = sink;
    writer->waker = waker;
    writer->waiter.waker = waker;
    writer->epoch = epoch;
    const struct weir_environment *environment = sink->context.environment;
    partitioner_init(&writer->partitioner, environment->random(environment->user) + subtask_index);
    uint32_t unused;
    if (sink->topic != NULL && add_target(writer, sink->topic, &unused, error) != WEIR_OK) {
        sink_writer_close(writer);
        return error->code;
    }
    *opened = writer;
    return WEIR_OK;
}
