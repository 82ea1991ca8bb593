/* The sink: records of an epoch go to the producer whose transaction holds it; those of the next one are held back until
 * there is such a transaction (R2). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "partitioner.h"
#include "sim/connector.h"

enum { PATIENCE_US = 3000000, QUEUED_MAX = 500, HELD_MAX = 800, OUTPUTS_MAX = 8 };

struct output {
    char topic[SIM_TOPIC_SIZE];
    int32_t partitions;
};

struct sink {
    struct weir_connector_context context;
    struct weir_kafka_sink_options options;
    struct sim_decider *decider;
    struct output outputs[OUTPUTS_MAX];
    size_t output_count;
};

struct held {
    struct held *next;
    const struct output *output;
    int32_t partition;
    struct weir_record record; /* owns key and value */
};

struct writer {
    struct sink *sink;
    struct weir_waker waker;
    struct partitioner partitioner;
    uint64_t epoch;
    struct producer *producer; /* NULL = holding */
    struct held *first, **last;
    size_t held_count;
    struct weir_output_totals totals; /* of the epoch */
};

/* ---- Environment thread ------------------------------------------------------------------------------------------ */

static enum weir_code add_output(struct sink *sink, const char *topic, struct weir_error *error)
{
    uint64_t id;
    struct output *output = &sink->outputs[sink->output_count];
    CHECK(sink->output_count < OUTPUTS_MAX);
    (void)snprintf(output->topic, sizeof output->topic, "%s", topic);
    const enum weir_code code = sim_ask_topic(topic, &id, &output->partitions, PATIENCE_US, error);
    if (code != WEIR_OK) return code;
    if (id == 0)
        return weir_error_set(error, WEIR_ENVIRONMENT, WEIR_REMEDY_STOP, "sink '%s': there is no topic '%s'",
                              sink->context.operator_name, topic);
    sink->output_count++;
    return WEIR_OK;
}

static enum weir_code sink_open(const void *options, const struct weir_connector_context *context, void *decider,
                                void **opened, struct weir_error *error)
{
    struct sink *sink = calloc(1, sizeof *sink);
    if (sink == NULL) return weir_error_set(error, WEIR_NO_MEMORY, WEIR_REMEDY_STOP, "out of memory");
    sink->context = *context;
    sink->options = *(const struct weir_kafka_sink_options *)options;
    sink->decider = decider;
    struct weir_bytes rest = weir_text(sink->options.topic != NULL ? sink->options.topic : sink->options.topics), name;
    enum weir_code code = WEIR_OK;
    while (code == WEIR_OK && weir_bytes_token(&rest, ',', &name)) {
        char topic[SIM_TOPIC_SIZE];
        (void)snprintf(topic, sizeof topic, "%.*s", (int)name.size, name.data);
        code = add_output(sink, topic, error);
    }
    if (code != WEIR_OK) free(sink);
    else *opened = sink;
    return code;
}

static void sink_close(void *sink) { free(sink); }

/* ---- Task thread ------------------------------------------------------------------------------------------------- */

static enum weir_code writer_open(void *opaque, uint32_t subtask_index, uint64_t epoch, struct weir_waker waker,
                                  void **opened, struct weir_error *error)
{
    struct writer *writer = calloc(1, sizeof *writer);
    if (writer == NULL) return weir_error_set(error, WEIR_NO_MEMORY, WEIR_REMEDY_STOP, "out of memory");
    writer->sink = opaque;
    writer->waker = waker;
    writer->epoch = epoch;
    writer->last = &writer->first;
    partitioner_init(&writer->partitioner, sched_random() + subtask_index);
    *opened = writer;
    return WEIR_OK;
}

static bool writer_room(void *opaque)
{
    const struct writer *writer = opaque;
    if (writer->producer == NULL) return writer->held_count < HELD_MAX; /* else proceed makes room */
    if (producer_queued(writer->producer) < QUEUED_MAX) return true;
    producer_await_room(writer->producer, writer->waker);
    return false;
}

static struct weir_bytes copy_bytes(struct weir_bytes bytes)
{
    if (!weir_is_set(bytes) || weir_is_null(bytes)) return WEIR_NULL;
    char *copy = malloc(bytes.size + 1);
    CHECK(copy != NULL);
    memcpy(copy, bytes.data, bytes.size);
    return (struct weir_bytes){ copy, bytes.size };
}

static void free_bytes(struct weir_bytes bytes)
{
    if (!weir_is_null(bytes)) free((void *)(uintptr_t)bytes.data);
}

static void hold(struct writer *writer, const struct output *output, int32_t partition,
                 const struct weir_record *record)
{
    struct held *held = calloc(1, sizeof *held);
    CHECK(held != NULL);
    *held = (struct held){ .output = output, .partition = partition, .record = *record };
    held->record.key = copy_bytes(record->key);
    held->record.value = copy_bytes(record->value);
    held->record.headers = NULL;
    *writer->last = held;
    writer->last = &held->next;
    writer->held_count++;
}

static const struct output *output_of(const struct writer *writer, const struct weir_record *record)
{
    const struct sink *sink = writer->sink;
    if (sink->options.topic_of == NULL) return &sink->outputs[0];
    const char *topic = sink->options.topic_of(sink->options.user, record);
    for (size_t i = 0; topic != NULL && i < sink->output_count; i++)
        if (strcmp(sink->outputs[i].topic, topic) == 0) return &sink->outputs[i];
    return NULL;
}

static enum weir_code writer_write(void *opaque, const struct weir_record *record, struct weir_error *error)
{
    struct writer *writer = opaque;
    char name[264];
    const struct output *output = output_of(writer, record);
    if (output == NULL)
        return weir_error_set(error, WEIR_FAILED, WEIR_REMEDY_REPLAY, "sink '%s': topic_of named no topic of .topics",
                              writer->sink->context.operator_name);
    const int32_t partition = partitioner_choose(&writer->partitioner, record->key,
                                                 record->key.size + record->value.size, output->partitions);
    struct weir_record bare = *record; /* the model keeps no headers */
    bare.headers = NULL;
    sim_split_name(name, output->topic, partition);
    if (!weir_output_totals_add(&writer->totals, name, 1, weir_digest_record(&bare)))
        return weir_error_set(error, WEIR_NO_MEMORY, WEIR_REMEDY_STOP, "out of memory");
    if (writer->producer != NULL) producer_send(writer->producer, output->topic, partition, &bare);
    else hold(writer, output, partition, &bare);
    return WEIR_OK;
}

static enum weir_code writer_prepare(void *opaque, uint64_t epoch, struct weir_output_totals *totals,
                                     struct weir_error *error)
{
    struct writer *writer = opaque;
    CHECK(epoch == writer->epoch);
    CHECK(writer->producer != NULL || writer->held_count == 0);
    for (size_t i = 0; i < writer->totals.count; i++) {
        const struct weir_output_total *total = &writer->totals.items[i];
        if (!weir_output_totals_add(totals, total->name, total->count, total->digest))
            return weir_error_set(error, WEIR_NO_MEMORY, WEIR_REMEDY_STOP, "out of memory");
    }
    weir_output_totals_clear(&writer->totals);
    producer_release(writer->producer);
    writer->producer = NULL;
    writer->epoch = epoch + 1;
    return WEIR_OK;
}

static enum weir_code writer_proceed(void *opaque, uint64_t epoch, struct weir_error *error)
{
    (void)error;
    struct writer *writer = opaque;
    if (epoch != writer->epoch || writer->producer != NULL) return WEIR_OK;
    writer->producer = sim_decider_acquire(writer->sink->decider, epoch);
    if (writer->producer == NULL) return WEIR_OK; /* the attempt is ending */
    while (writer->first != NULL) {
        struct held *held = writer->first;
        producer_send(writer->producer, held->output->topic, held->partition, &held->record);
        writer->first = held->next;
        free_bytes(held->record.key);
        free_bytes(held->record.value);
        free(held);
    }
    writer->last = &writer->first;
    writer->held_count = 0;
    return WEIR_OK;
}

static void writer_close(void *opaque)
{
    struct writer *writer = opaque;
    for (struct held *held = writer->first, *next; held != NULL; held = next) {
        next = held->next;
        free_bytes(held->record.key);
        free_bytes(held->record.value);
        free(held);
    }
    producer_release(writer->producer);
    weir_output_totals_clear(&writer->totals);
    free(writer);
}

static const struct weir_sink_type sink_type = {
    .size = sizeof sink_type,
    .kind = "kafka",
    .open = sink_open,
    .close = sink_close,
    .writer_open = writer_open,
    .writer_room = writer_room,
    .writer_write = writer_write,
    .writer_prepare = writer_prepare,
    .writer_proceed = writer_proceed,
    .writer_close = writer_close,
    .decider = &weir_kafka_decider_type,
};

void weir_kafka_sink_(struct weir_stream input, const struct weir_kafka_sink_options *options)
{
    struct weir_kafka_sink_options copy = *options;
    copy.topic = weir_graph_text(input.graph, options->topic);
    copy.topics = weir_graph_text(input.graph, options->topics);
    if (copy.topic == NULL && (copy.topics == NULL || copy.topic_of == NULL))
        weir_graph_mistake(input.graph, "sink '%s' has no topic", options->name);
    weir_sink(input, .name = options->name, .parallelism = options->parallelism, .user = options->user,
              .type = &sink_type, .options = &copy, .options_size = sizeof copy);
}
