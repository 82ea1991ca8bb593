/* The sink: records of an epoch go to the producer whose transaction holds it; those of the next one are held back until
 * there is such a transaction (R2). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "partitioner.h"
#include "sim/connector.h"
#include "sim/lives.h"
#include "sim/world.h"

enum { PATIENCE_US = 3000000, QUEUED_MAX = 500, OUTPUTS_MAX = 8 };

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
    struct model_record record; /* keeps its contents */
};

struct writer {
    struct sink *sink;
    struct weir_waker waker;
    struct partitioner partitioner;
    uint64_t epoch;
    struct producer *producer; /* NULL = holding */
    struct held *first, **last;
    size_t held_count, held_max, queued_max;
    struct weir_output_totals totals; /* of the epoch */
};

/* ---- Environment thread ------------------------------------------------------------------------------------------ */

/* `partitions` 0: there is no such topic. */
static enum weir_code add_output(struct sink *sink, const char *topic, int32_t partitions,
                                 const struct output **added, struct weir_error *error)
{
    if (partitions == 0)
        return weir_error_set(error, WEIR_ENVIRONMENT, WEIR_REMEDY_STOP, "sink '%s': there is no topic '%s'",
                              sink->context.operator_name, topic);
    if (sink->output_count == OUTPUTS_MAX)
        return weir_error_set(error, WEIR_FAILED, WEIR_REMEDY_STOP, "sink '%s' writes to more than %d topics",
                              sink->context.operator_name, OUTPUTS_MAX);
    struct output *output = &sink->outputs[sink->output_count++];
    (void)snprintf(output->topic, sizeof output->topic, "%s", topic);
    output->partitions = partitions;
    *added = output;
    return WEIR_OK;
}

static enum weir_code look_up(struct sink *sink, const char *topic, struct weir_error *error)
{
    uint64_t id;
    int32_t partitions = 0;
    const struct output *added;
    const enum weir_code code = sim_ask_topic(topic, &id, &partitions, PATIENCE_US, error);
    return code != WEIR_OK ? code : add_output(sink, topic, id == 0 ? 0 : partitions, &added, error);
}

static enum weir_code sink_open(const void *options, const struct weir_connector_context *context, void *decider,
                                void **opened, struct weir_error *error)
{
    struct sink *sink = calloc(1, sizeof *sink);
    if (sink == NULL) return weir_error_set(error, WEIR_NO_MEMORY, WEIR_REMEDY_STOP, "out of memory");
    sink->context = *context;
    sink->options = *(const struct weir_kafka_sink_options *)options;
    sink->decider = decider;
    const char *topics = sink->options.topic != NULL ? sink->options.topic : sink->options.topics;
    struct weir_bytes rest = topics == NULL ? WEIR_EMPTY : weir_text(topics), name;
    enum weir_code code = WEIR_OK;
    while (code == WEIR_OK && weir_bytes_token(&rest, ',', &name)) {
        char topic[SIM_TOPIC_SIZE];
        (void)snprintf(topic, sizeof topic, "%.*s", (int)name.size, name.data);
        code = look_up(sink, topic, error);
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
    writer->queued_max = sched_chance(300000) ? QUEUED_MAX : 1 + sched_random_below(8);
    writer->held_max = writer->queued_max * 3 / 2;
    partitioner_init(&writer->partitioner, sched_random() + subtask_index);
    *opened = writer;
    return WEIR_OK;
}

static bool writer_room(void *opaque)
{
    const struct writer *writer = opaque;
    if (writer->producer == NULL) return writer->held_count < writer->held_max; /* else proceed makes room */
    if (producer_queued(writer->producer) < writer->queued_max) return true;
    world_seen()->full_sinks++;
    producer_await_room(writer->producer, writer->waker);
    return false;
}

static void hold(struct writer *writer, const struct output *output, int32_t partition,
                 const struct model_record *record)
{
    struct held *held = calloc(1, sizeof *held);
    CHECK(held != NULL);
    *held = (struct held){ .output = output, .partition = partition, .record = *record };
    model_record_keep(&held->record);
    *writer->last = held;
    writer->last = &held->next;
    writer->held_count++;
}

/* The topic of a record. One that was not looked up at the start is looked up now, which takes no time in here. */
static enum weir_code choose_output(struct writer *writer, const struct weir_record *record,
                                    const struct output **output, struct weir_error *error)
{
    struct sink *sink = writer->sink;
    *output = &sink->outputs[0];
    if (sink->options.topic_of == NULL) return WEIR_OK;
    const char *topic = sink->options.topic_of(sink->options.user, record);
    if (topic == NULL)
        return weir_error_set(error, WEIR_FAILED, WEIR_REMEDY_REPLAY, "sink '%s': topic_of named no topic for a record",
                              sink->context.operator_name);
    for (size_t i = 0; i < sink->output_count; i++) {
        *output = &sink->outputs[i];
        if (strcmp((*output)->topic, topic) == 0) return WEIR_OK;
    }
    uint64_t id;
    int32_t partitions = 0;
    if (model_describe_topic(cluster_model(), topic, &id, &partitions) != MODEL_OK) partitions = 0;
    return add_output(sink, topic, partitions, output, error);
}

static enum weir_code choose_partition(struct writer *writer, const struct weir_record *record,
                                       const struct output *output, int32_t *partition, struct weir_error *error)
{
    const struct weir_kafka_sink_options *options = &writer->sink->options;
    *partition = options->partition_of == NULL
                     ? -1 : options->partition_of(options->user, record, output->partitions);
    if (*partition < 0)
        *partition = partitioner_choose(&writer->partitioner, record->key, record->key.size + record->value.size,
                                        output->partitions);
    if (*partition < output->partitions) return WEIR_OK;
    return weir_error_set(error, WEIR_FAILED, WEIR_REMEDY_STOP,
                          "sink '%s': partition_of chose partition %d of '%s', which has %d",
                          writer->sink->context.operator_name, (int)*partition, output->topic, (int)output->partitions);
}

static enum weir_code writer_write(void *opaque, const struct weir_record *record, struct weir_error *error)
{
    struct writer *writer = opaque;
    char name[SIM_SPLIT_SIZE];
    const struct output *output;
    int32_t partition;
    enum weir_code code = choose_output(writer, record, &output, error);
    if (code == WEIR_OK) code = choose_partition(writer, record, output, &partition, error);
    if (code != WEIR_OK) return code;
    sim_split_name(name, output->topic, partition);
    if (!weir_output_totals_add(&writer->totals, name, 1, weir_digest_record(record)))
        return weir_error_set(error, WEIR_NO_MEMORY, WEIR_REMEDY_STOP, "out of memory");
    const bool is_timed = writer->sink->options.time != WEIR_KAFKA_TIME_OF_WRITE && record->time_ms > 0;
    const struct model_record written = { .time_ms = is_timed ? record->time_ms : sched_now_us() / 1000,
                                          .key = record->key, .value = record->value, .headers = record->headers };
    if (writer->producer != NULL) producer_send(writer->producer, output->topic, partition, &written);
    else hold(writer, output, partition, &written);
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
    producer_wait_no_more(writer->producer, writer->waker);
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
        model_record_drop(&held->record);
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
        model_record_drop(&held->record);
        free(held);
    }
    producer_wait_no_more(writer->producer, writer->waker);
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
    char topic[SIM_TOPIC_SIZE];
    copy.topic = options->topic == NULL ? NULL : weir_graph_text(input.graph, lives_output(options->topic, topic));
    copy.topics = weir_graph_text(input.graph, options->topics);
    if (copy.topic == NULL && copy.topic_of == NULL)
        weir_graph_mistake(input.graph, "sink '%s' has no topic", options->name);
    weir_sink(input, .name = options->name, .parallelism = options->parallelism, .user = options->user,
              .type = &sink_type, .options = &copy, .options_size = sizeof copy);
}
