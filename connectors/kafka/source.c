#include "source.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "examine.h"

/* A handle's threads need a moment; what takes longer goes on without us. */
enum { REAPER_PATIENCE_MS = 5000, CLUSTER_TIMEOUT_MS = 5000 };

void kafka_source_purpose(const struct kafka_source *source, char text[96])
{
    (void)snprintf(text, 96, "source '%s'", source->context.operator_name);
}

/* ---- Open and close ---------------------------------------------------------------------------------------------- */

/* The bound of a bounded job that does not say where it ends: what is stable now. */
static const char *end_text(const struct kafka_source *source)
{
    if (source->options.end != NULL) return source->options.end;
    return source->context.bounded ? "latest" : NULL;
}

static const char *start_text(const struct weir_kafka_source_options *options, const weir_config *config)
{
    if (options->start != NULL) return options->start;
    const char *configured = weir_config_text(config, "source.start");
    return configured != NULL ? configured : "earliest";
}

static enum weir_code source_check(const void *options, const weir_config *config, struct weir_error *error)
{
    struct kafka_bound start = { 0 };
    const enum weir_code code = kafka_bound_parse(start_text(options, config), &start, error);
    kafka_bound_clear(&start);
    return code;
}

static enum weir_code check_end(const struct kafka_bound *end, const char *text, struct weir_error *error)
{
    if (end->kind == KAFKA_LATEST || end->kind == KAFKA_TIMESTAMP || end->kind == KAFKA_OFFSETS) return WEIR_OK;
    return weir_error_set(error, WEIR_USAGE, WEIR_REMEDY_STOP,
                          "the end '%s' is none: write latest, timestamp:MILLISECONDS or "
                          "offsets:TOPIC/PARTITION=OFFSET,...", text);
}

static enum weir_code parse_options(struct kafka_source *source, struct weir_error *error)
{
    enum weir_code code = kafka_topics_parse(source->options.topic, &source->topics, error);
    if (code == WEIR_OK)
        code = kafka_bound_parse(start_text(&source->options, source->context.config), &source->start, error);
    const char *end = end_text(source);
    source->is_bounded = end != NULL;
    if (code != WEIR_OK || end == NULL) return code;
    code = kafka_bound_parse(end, &source->end, error);
    return code == WEIR_OK ? check_end(&source->end, end, error) : code;
}

/* Asks for topics and offsets only, as admin requests: no isolation level matters. */
static enum weir_code open_client(struct kafka_source *source, struct weir_error *error)
{
    char purpose[96];
    kafka_source_purpose(source, purpose);
    return kafka_group_client_open(&source->context, source->options.brokers, purpose, source, &source->client, error);
}

static void source_close(void *opaque)
{
    struct kafka_source *source = opaque;
    if (source->client != NULL) kafka_reaper_take(source->reaper, source->client);
    kafka_reaper_destroy(source->reaper, REAPER_PATIENCE_MS);
    kafka_bound_clear(&source->start);
    kafka_bound_clear(&source->end);
    kafka_topics_clear(&source->topics);
    free(source);
}

static enum weir_code source_open(const void *options, const struct weir_connector_context *context, void **opened,
                                  struct weir_error *error)
{
    struct kafka_source *source = calloc(1, sizeof *source);
    if (source == NULL) return weir_error_set(error, WEIR_NO_MEMORY, WEIR_REMEDY_STOP, "out of memory");
    source->options = *(const struct weir_kafka_source_options *)options;
    source->context = *context;
    source->reaper = kafka_reaper_create();
    enum weir_code code = source->reaper == NULL
                              ? weir_error_set(error, WEIR_NO_MEMORY, WEIR_REMEDY_STOP, "out of memory")
                              : parse_options(source, error);
    if (code == WEIR_OK) code = open_client(source, error);
    /* At once, because whether positions can travel in the transaction depends on it. */
    if (code == WEIR_OK) code = kafka_cluster_id(source->client, CLUSTER_TIMEOUT_MS, NULL, source->cluster, error);
    if (code != WEIR_OK) {
        source_close(source);
        return code;
    }
    *opened = source;
    return WEIR_OK;
}

static const char *source_cluster(void *opaque)
{
    const struct kafka_source *source = opaque;
    return source->cluster;
}

/* ---- Examination ------------------------------------------------------------------------------------------------- */

enum { EXAMINED_MAX = 64 };

/* Topics of one source, by their names or by its pattern. */
struct examined {
    const struct kafka_topics *topics;
    struct examine_topic rows[EXAMINED_MAX];
    size_t count;
};

static void note_topic(struct examined *examined, const char *name)
{
    char *copy = examined->count < EXAMINED_MAX ? strdup(name) : NULL;
    if (copy != NULL) examined->rows[examined->count++] = (struct examine_topic){ .name = copy, .use = EXAMINE_READS };
}

static void note_match(void *user, const char *name)
{
    struct examined *examined = user;
    if (kafka_topics_match(examined->topics, name)) note_topic(examined, name);
}

static void source_examine(const void *given, const struct weir_connector_context *context,
                           weir_examination *examination)
{
    const struct weir_kafka_source_options *options = given;
    struct kafka_topics topics = { 0 };
    struct weir_error unused; /* the builder has said it */
    struct examined examined = { .topics = &topics };
    bool is_known = kafka_topics_parse(options->topic, &topics, &unused) == WEIR_OK;
    if (is_known && topics.is_pattern)
        is_known = kafka_examine_each_topic(context, options->brokers, examination, note_match, &examined);
    for (size_t i = 0; i < topics.count; i++) note_topic(&examined, topics.names[i]);
    if (is_known && examined.count == 0) kafka_examine_no_match(examination, context->operator_name, options->topic);
    if (examined.count > 0)
        kafka_examine_topics(context, options->brokers, examined.rows, examined.count, examination);
    for (size_t i = 0; i < examined.count; i++) free((void *)(uintptr_t)examined.rows[i].name);
    kafka_topics_clear(&topics);
}

const struct weir_source_type kafka_source_type = {
    .size = sizeof(struct weir_source_type),
    .kind = "kafka",
    .check = source_check,
    .examine = source_examine,
    .open = source_open,
    .discover = kafka_discover,
    .close = source_close,
    .cluster = source_cluster,
    .committed = kafka_commit_for_tools,
    .reader_open = kafka_reader_open,
    .reader_add = kafka_reader_add,
    .reader_poll = kafka_reader_poll,
    .reader_positions = kafka_reader_positions,
    .reader_limit = kafka_reader_limit,
    .reader_lag = kafka_reader_lag,
    .reader_lags = kafka_reader_lags,
    .reader_close = kafka_reader_close,
    .decider = &weir_kafka_decider_type,
};

/* ---- Builder ----------------------------------------------------------------------------------------------------- */

/* What can be told from the options alone is told when the graph is built. */
static void check_options(weir_graph *graph, const struct weir_kafka_source_options *options)
{
    const char *name = options->name == NULL ? "" : options->name;
    struct weir_error error = { .code = WEIR_OK };
    struct kafka_topics topics = { 0 };
    struct kafka_bound start = { 0 }, end = { 0 };
    if (options->topic == NULL)
        (void)weir_error_set(&error, WEIR_USAGE, WEIR_REMEDY_STOP, "no topic is given; set .topic");
    else (void)kafka_topics_parse(options->topic, &topics, &error);
    if (error.code == WEIR_OK && options->start != NULL) (void)kafka_bound_parse(options->start, &start, &error);
    if (error.code == WEIR_OK && options->end != NULL && kafka_bound_parse(options->end, &end, &error) == WEIR_OK)
        (void)check_end(&end, options->end, &error);
    if (error.code != WEIR_OK) weir_graph_mistake(graph, "source '%s': %s", name, error.text);
    kafka_topics_clear(&topics);
    kafka_bound_clear(&start);
    kafka_bound_clear(&end);
}

struct weir_stream weir_kafka_source_(weir_graph *graph, const struct weir_kafka_source_options *options)
{
    struct weir_kafka_source_options copy = { 0 };
    memcpy(&copy, options, options->size < sizeof copy ? options->size : sizeof copy);
    check_options(graph, &copy);
    copy.topic = weir_graph_text(graph, copy.topic);
    copy.brokers = weir_graph_text(graph, copy.brokers);
    copy.start = weir_graph_text(graph, copy.start);
    copy.end = weir_graph_text(graph, copy.end);
    const struct weir_source_options source = {
        .size = sizeof source,
        .name = copy.name,
        .parallelism = copy.parallelism,
        .type = &kafka_source_type,
        .options = &copy,
        .options_size = sizeof copy,
    };
    return weir_source_(graph, &source);
}
