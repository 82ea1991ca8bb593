#include "sink.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "examine.h"

enum { TOPIC_PATIENCE_MS = 5000, RECORD_OVERHEAD = 128, HEADER_OVERHEAD = 10, HELD_BYTES_MIN = 65536 };

/* ---- Topics ------------------------------------------------------------------------------------------------------ */

static enum weir_code create_topic(struct sink *sink, const char *topic, const struct topics_patience *patience,
                                   int32_t *partition_count, struct weir_error *error)
{
    const weir_config *config = sink->context.config;
    if (!weir_config_bool(config, "sink.create-topics"))
        return weir_error_set(error, WEIR_ENVIRONMENT, WEIR_REMEDY_STOP,
                              "topic '%s' does not exist; create it, or start with --create-topics", topic);
    const struct topics_new description = {
        .name = topic,
        .partitions = sink->options.partitions > 0
                          ? sink->options.partitions
                          : (int32_t)weir_config_i64(config, "sink.create-topics.partitions"),
    };
    struct kafka_client *client = decider_client(sink->decider);
    if (topics_create(client, &description, patience, error) != WEIR_OK) return error->code;
    return topics_partition_count(client, topic, patience, partition_count, error);
}

/* What one request for the topic may weigh; 0 when the brokers do not tell, which is no reason to stop. */
static int64_t topic_record_bytes_max(struct sink *sink, const char *topic, const struct topics_patience *patience)
{
    char value[64];
    struct weir_error unused;
    const enum weir_code code =
        topics_setting(decider_client(sink->decider), topic, "max.message.bytes", patience, value, &unused);
    return code == WEIR_OK ? strtoll(value, NULL, 10) : 0;
}

enum weir_code sink_resolve(struct sink *sink, const char *topic, struct output **output, struct weir_error *error)
{
    const struct topics_patience patience = { .timeout_ms = TOPIC_PATIENCE_MS };
    struct outputs *outputs = decider_outputs(sink->decider);
    *output = outputs_find(outputs, topic);
    if (*output != NULL) return WEIR_OK;
    if (strlen(topic) >= KAFKA_TOPIC_SIZE)
        return weir_error_set(error, WEIR_USAGE, WEIR_REMEDY_STOP, "topic '%.60s...': the name is too long", topic);
    int32_t count;
    if (topics_partition_count(decider_client(sink->decider), topic, &patience, &count, error) != WEIR_OK)
        return error->code;
    if (count == 0 && create_topic(sink, topic, &patience, &count, error) != WEIR_OK) return error->code;
    *output = outputs_add(outputs, topic, count, topic_record_bytes_max(sink, topic, &patience));
    if (*output != NULL) return WEIR_OK;
    return weir_error_set(error, WEIR_NO_MEMORY, WEIR_REMEDY_STOP, "out of memory");
}

int64_t sink_record_bytes(const struct weir_record *record)
{
    int64_t size = RECORD_OVERHEAD + (int64_t)record->key.size + (int64_t)record->value.size;
    if (record->headers == NULL) return size;
    for (size_t i = 0; i < record->headers->count; i++) {
        const struct weir_header *header = &record->headers->items[i];
        size += HEADER_OVERHEAD + (int64_t)strlen(header->name) + (int64_t)header->value.size;
    }
    return size;
}

int64_t sink_record_bytes_max(const struct sink *sink, const struct output *output)
{
    const int64_t of_topic = output->record_bytes_max;
    return of_topic > 0 && of_topic < sink->record_bytes_max ? of_topic : sink->record_bytes_max;
}

/* ---- Open and close ---------------------------------------------------------------------------------------------- */

static enum weir_code resolve_list(struct sink *sink, const char *list, struct weir_error *error)
{
    struct weir_bytes rest = weir_text(list == NULL ? "" : list), name;
    while (weir_bytes_token(&rest, ',', &name)) {
        char topic[KAFKA_TOPIC_SIZE];
        struct output *unused;
        (void)snprintf(topic, sizeof topic, "%.*s", (int)name.size, name.data);
        if (sink_resolve(sink, topic, &unused, error) != WEIR_OK) return error->code;
    }
    return WEIR_OK;
}

static enum weir_code resolve_topics(struct sink *sink, struct weir_error *error)
{
    const struct weir_kafka_sink_options *options = &sink->options;
    enum weir_code code = WEIR_OK;
    if (options->topic_of == NULL) code = sink_resolve(sink, options->topic, &sink->topic, error);
    else code = resolve_list(sink, options->topics, error);
    if (code == WEIR_OK && options->dead_letter_topic != NULL)
        code = sink_resolve(sink, options->dead_letter_topic, &sink->dead_letters, error);
    return code;
}

/* One transaction cannot span two clusters. Addresses that differ may still be the same cluster. */
static enum weir_code check_cluster(struct sink *sink, struct weir_error *error)
{
    const char *own = sink->options.brokers, *decided = decider_brokers(sink->decider);
    if (own == NULL || (decided != NULL && strcmp(own, decided) == 0)) return WEIR_OK;
    struct kafka_client *client;
    char id[64];
    if (scan_open(&sink->context, own, "sink", false, &client, error) != WEIR_OK) return error->code;
    enum weir_code code = kafka_cluster_id(client, TOPIC_PATIENCE_MS, NULL, id, error);
    kafka_client_close(client);
    if (code != WEIR_OK || strcmp(id, decider_cluster_id(sink->decider)) == 0) return code;
    return weir_error_set(error, WEIR_USAGE, WEIR_REMEDY_STOP,
                          "it writes to another cluster (%s) than the sinks or sources before it; one transaction "
                          "cannot span two clusters: use one job for each", own);
}

static void sink_close(void *sink)
{
    free(sink);
}

static enum weir_code sink_open(const void *options, const struct weir_connector_context *context, void *decider,
                                void **opened, struct weir_error *error)
{
    if (decider == NULL)
        return weir_error_set(error, WEIR_USAGE, WEIR_REMEDY_STOP,
                              "a job that writes to Kafka must be decided by Kafka, but another decider was chosen");
    struct sink *sink = calloc(1, sizeof *sink);
    if (sink == NULL) return weir_error_set(error, WEIR_NO_MEMORY, WEIR_REMEDY_STOP, "out of memory");
    sink->options = *(const struct weir_kafka_sink_options *)options;
    sink->context = *context;
    sink->decider = decider;
    sink->record_bytes_max = decider_limits(decider)->record_bytes_max;
    sink->held_bytes_max = weir_config_size_bytes(context->config, "sink.queue.size") / context->parallelism;
    if (sink->held_bytes_max < HELD_BYTES_MIN) sink->held_bytes_max = HELD_BYTES_MIN;
    enum weir_code code = check_cluster(sink, error);
    if (code == WEIR_OK) code = resolve_topics(sink, error);
    if (code != WEIR_OK) {
        sink_close(sink);
        return weir_error_wrap(error, "sink '%s'", context->operator_name);
    }
    *opened = sink;
    return WEIR_OK;
}

static const char *sink_output(void *opaque)
{
    const struct sink *sink = opaque;
    return sink->topic == NULL ? NULL : sink->topic->name;
}

/* ---- Examination ------------------------------------------------------------------------------------------------- */

enum { EXAMINED_MAX = 64 };

struct examined {
    struct examine_topic rows[EXAMINED_MAX];
    size_t count;
};

static void note_topic(struct examined *examined, char *name, bool is_made)
{
    for (size_t i = 0; i < examined->count; i++)
        if (strcmp(examined->rows[i].name, name) == 0) return;
    if (examined->count < EXAMINED_MAX)
        examined->rows[examined->count++] = (struct examine_topic){ name, EXAMINE_WRITES, is_made };
}

/* Those that are known before there are records. */
static void sink_examine(const void *given, const struct weir_connector_context *context, weir_examination *examination)
{
    const struct weir_kafka_sink_options *options = given;
    const bool is_made = weir_config_bool(context->config, "sink.create-topics");
    const char *const lists[] = { options->topic, options->topics, options->dead_letter_topic };
    struct examined examined = { .count = 0 };
    char *copies[3], *name;
    for (size_t i = 0; i < 3; i++) {
        char *rest = copies[i] = lists[i] == NULL ? NULL : strdup(lists[i]);
        while (rest != NULL && (name = strsep(&rest, ",")) != NULL)
            if (name[0] != '\0') note_topic(&examined, name, is_made);
    }
    if (examined.count > 0)
        kafka_examine_topics(context, options->brokers, examined.rows, examined.count, examination);
    for (size_t i = 0; i < 3; i++) free(copies[i]);
}

const struct weir_sink_type sink_type = {
    .size = sizeof(struct weir_sink_type),
    .kind = "kafka",
    .examine = sink_examine,
    .open = sink_open,
    .close = sink_close,
    .writer_open = sink_writer_open,
    .writer_room = sink_writer_room,
    .writer_write = sink_writer_write,
    .writer_prepare = sink_writer_prepare,
    .writer_proceed = sink_writer_proceed,
    .writer_tick = sink_writer_tick,
    .writer_bytes_unflushed = sink_writer_bytes_unflushed,
    .writer_close = sink_writer_close,
    .output = sink_output,
    .decider = &weir_kafka_decider_type,
};

/* ---- Builder ----------------------------------------------------------------------------------------------------- */

static void check_options(weir_graph *graph, const struct weir_kafka_sink_options *options)
{
    const char *name = options->name == NULL ? "" : options->name;
    if (options->topic == NULL && options->topic_of == NULL)
        weir_graph_mistake(graph, "sink '%s': no topic is given; set .topic or .topic_of", name);
    else if (options->topic != NULL && options->topic_of != NULL)
        weir_graph_mistake(graph, "sink '%s': .topic and .topic_of exclude each other", name);
    else if (options->topics != NULL && options->topic_of == NULL)
        weir_graph_mistake(graph, "sink '%s': .topics is for use with .topic_of; one topic goes into .topic", name);
    else if (options->partitions < 0)
        weir_graph_mistake(graph, "sink '%s': .partitions is %d", name, (int)options->partitions);
}

void weir_kafka_sink_(struct weir_stream input, const struct weir_kafka_sink_options *options)
{
    struct weir_kafka_sink_options copy = { 0 };
    memcpy(&copy, options, options->size < sizeof copy ? options->size : sizeof copy);
    check_options(input.graph, &copy);
    copy.name = weir_graph_text(input.graph, copy.name);
    copy.topic = weir_graph_text(input.graph, copy.topic);
    copy.brokers = weir_graph_text(input.graph, copy.brokers);
    copy.topics = weir_graph_text(input.graph, copy.topics);
    copy.dead_letter_topic = weir_graph_text(input.graph, copy.dead_letter_topic);
    weir_sink(input, .name = copy.name, .parallelism = copy.parallelism, .type = &sink_type, .options = &copy,
              .options_size = sizeof copy);
}
