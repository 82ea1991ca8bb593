/* The source. One fetcher fiber for each split of a reader. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "sim/connector.h"

enum { PATIENCE_US = 3000000, FETCH_RECORDS = 50, HELD_MAX = 400, POLL_US = 3000, TOPICS_MAX = 8 };

struct source {
    struct weir_connector_context context;
    struct weir_kafka_source_options options;
    char topics[TOPICS_MAX][SIM_TOPIC_SIZE];
    size_t topic_count;
};

struct held {
    struct held *next;
    struct sim_fetched fetched;
    size_t taken;
    int64_t begin;
};

struct sim_reader;

struct part {
    struct part *next_part;
    struct sim_reader *reader;
    char name[SIM_SPLIT_SIZE], topic[SIM_TOPIC_SIZE];
    int32_t partition;
    int64_t position; /* of the next record to hand over */
    int64_t fetched;  /* of the next record to ask for */
    int64_t end, limit;
    struct held *first, **last;
    size_t count;
    struct sched_event room;
    struct weir_error error;
    bool has_failed;
};

struct sim_reader {
    struct source *source;
    struct weir_waker waker;
    struct part *parts;
    uint32_t references; /* the task's, and one for each fetcher */
    bool is_closed;
};

/* ---- Environment thread ------------------------------------------------------------------------------------------ */

static enum weir_code source_open(const void *options, const struct weir_connector_context *context, void **opened,
                                  struct weir_error *error)
{
    struct source *source = calloc(1, sizeof *source);
    if (source == NULL) return weir_error_set(error, WEIR_NO_MEMORY, WEIR_REMEDY_STOP, "out of memory");
    source->context = *context;
    source->options = *(const struct weir_kafka_source_options *)options;
    struct weir_bytes rest = weir_text(source->options.topic), name;
    while (source->topic_count < TOPICS_MAX && weir_bytes_token(&rest, ',', &name))
        (void)snprintf(source->topics[source->topic_count++], SIM_TOPIC_SIZE, "%.*s", (int)name.size, name.data);
    *opened = source;
    return WEIR_OK;
}

static void source_close(void *source) { free(source); }

static enum weir_code check_known(const struct weir_split *known, const char *identity, bool verify,
                                  struct weir_error *error)
{
    char topic[SIM_TOPIC_SIZE];
    struct model_place place = { .topic = topic };
    if (strcmp(known->identity, identity) != 0)
        return weir_error_set(error, WEIR_POSITION_LOST, WEIR_REMEDY_STOP, "%s was deleted and created anew",
                              known->name);
    if (!verify) return WEIR_OK;
    int64_t low, high;
    CHECK(sim_split_parse(known->name, topic, &place.partition));
    enum weir_code code = sim_ask_offset(&place, MODEL_EARLIEST, false, PATIENCE_US, &low, error);
    if (code == WEIR_OK) code = sim_ask_offset(&place, MODEL_LATEST, false, PATIENCE_US, &high, error);
    if (code != WEIR_OK || (known->position >= low && known->position <= high)) return code;
    return weir_error_set(error, WEIR_POSITION_LOST, WEIR_REMEDY_STOP,
                          "%s: offset %" PRId64 " is outside of %" PRId64 " to %" PRId64, known->name, known->position,
                          low, high);
}

static enum weir_code find_split(struct source *source, const struct weir_splits *known, const char *topic,
                                 int32_t partition, const char *identity, bool verify,
                                 struct weir_splits *found, struct weir_error *error)
{
    char name[SIM_SPLIT_SIZE];
    const struct model_place place = { topic, partition };
    sim_split_name(name, topic, partition);
    const struct weir_split *before = weir_splits_find(known, name);
    struct weir_split split = { .name = name, .identity = identity, .end = WEIR_POSITION_NONE };
    enum weir_code code;
    if (before != NULL) {
        code = check_known(before, identity, verify, error);
        split.position = before->position;
    } else {
        code = sim_ask_offset(&place, MODEL_EARLIEST, true, PATIENCE_US, &split.position, error);
    }
    if (code == WEIR_OK && source->context.bounded)
        code = sim_ask_offset(&place, MODEL_LATEST, true, PATIENCE_US, &split.end, error);
    if (code != WEIR_OK) return code;
    if (!weir_splits_add(found, &split))
        return weir_error_set(error, WEIR_NO_MEMORY, WEIR_REMEDY_STOP, "out of memory");
    return WEIR_OK;
}

static enum weir_code discover_topic(struct source *source, const char *topic, const struct weir_splits *known,
                                     bool verify, struct weir_splits *found, struct weir_error *error)
{
    uint64_t id;
    int32_t partitions;
    char identity[32];
    enum weir_code code = sim_ask_topic(topic, &id, &partitions, PATIENCE_US, error);
    if (code != WEIR_OK) return code;
    if (id == 0)
        return weir_error_set(error, known->count > 0 ? WEIR_POSITION_LOST : WEIR_ENVIRONMENT, WEIR_REMEDY_STOP,
                              "there is no topic '%s'", topic);
    (void)snprintf(identity, sizeof identity, "%" PRIu64, id);
    for (int32_t i = 0; code == WEIR_OK && i < partitions; i++)
        code = find_split(source, known, topic, i, identity, verify, found, error);
    return code;
}

static enum weir_code source_discover(void *opaque, const struct weir_splits *known, bool founding, bool verify,
                                      const volatile bool *cancelled, struct weir_splits *found,
                                      struct weir_error *error)
{
    (void)founding;
    struct source *source = opaque;
    enum weir_code code = WEIR_OK;
    for (size_t i = 0; code == WEIR_OK && i < source->topic_count && !*cancelled; i++)
        code = discover_topic(source, source->topics[i], known, verify, found, error);
    return code;
}

static const char *source_cluster(void *source)
{
    (void)source;
    return "simulated";
}

/* ---- Fetchers ---------------------------------------------------------------------------------------------------- */

static void release_reader(struct sim_reader *reader)
{
    if (--reader->references > 0) return;
    for (struct part *part = reader->parts, *next; part != NULL; part = next) {
        next = part->next_part;
        for (struct held *held = part->first, *after; held != NULL; held = after) {
            after = held->next;
            sim_fetched_clear(&held->fetched);
            free(held);
        }
        free(part);
    }
    free(reader);
}

static void keep(struct part *part, struct sim_fetched *fetched)
{
    struct held *held = calloc(1, sizeof *held);
    CHECK(held != NULL);
    held->fetched = *fetched;
    *part->last = held;
    part->last = &held->next;
    part->count += fetched->count;
    part->fetched = fetched->next;
    part->reader->waker.wake(part->reader->waker.user);
}

static void fail_part(struct part *part, enum model_error reason)
{
    weir_error_set(&part->error, WEIR_POSITION_LOST, WEIR_REMEDY_STOP, "%s at %" PRId64 ": %s", part->name,
                   part->fetched, model_error_name(reason));
    part->has_failed = true;
    part->reader->waker.wake(part->reader->waker.user);
}

static void run_fetcher(void *argument)
{
    struct part *part = argument;
    struct sim_reader *reader = part->reader;
    struct connection connection = { 0 };
    while (!reader->is_closed && !part->has_failed) {
        if (part->count >= HELD_MAX) {
            (void)sched_wait(&part->room, -1);
            continue;
        }
        struct sim_fetched fetched;
        const struct model_place place = { part->topic, part->partition };
        const bool committed = reader->source->options.isolation == WEIR_KAFKA_READ_COMMITTED;
        const size_t count_max = 1 + sched_random_below(FETCH_RECORDS);
        const enum model_error reason =
            sim_fetch(&connection, &place, part->fetched, committed, count_max, &fetched);
        if (reader->is_closed) {
            sim_fetched_clear(&fetched);
        } else if (reason != MODEL_OK && reason != MODEL_NOT_COORDINATOR) {
            fail_part(part, reason);
        } else if (reason == MODEL_OK && (fetched.count > 0 || fetched.next != part->fetched)) {
            keep(part, &fetched);
        } else {
            (void)sched_wait(&part->room, (int64_t)sched_random_below(POLL_US) + 100);
        }
    }
    release_reader(reader);
}

/* ---- Task thread ------------------------------------------------------------------------------------------------- */

static enum weir_code reader_open(void *source, uint32_t subtask_index, struct weir_waker waker, void **opened,
                                  struct weir_error *error)
{
    (void)subtask_index;
    struct sim_reader *reader = calloc(1, sizeof *reader);
    if (reader == NULL) return weir_error_set(error, WEIR_NO_MEMORY, WEIR_REMEDY_STOP, "out of memory");
    reader->source = source;
    reader->waker = waker;
    reader->references = 1;
    *opened = reader;
    return WEIR_OK;
}

static enum weir_code reader_add(void *opaque, const struct weir_split *split, struct weir_error *error)
{
    struct sim_reader *reader = opaque;
    struct part *part = calloc(1, sizeof *part);
    if (part == NULL) return weir_error_set(error, WEIR_NO_MEMORY, WEIR_REMEDY_STOP, "out of memory");
    (void)snprintf(part->name, sizeof part->name, "%s", split->name);
    CHECK(sim_split_parse(split->name, part->topic, &part->partition));
    part->reader = reader;
    part->position = part->fetched = split->position;
    part->end = split->end;
    part->limit = WEIR_POSITION_NONE;
    part->last = &part->first;
    part->next_part = reader->parts;
    reader->parts = part;
    reader->references++;
    struct thread fetcher;
    CHECK(thread_start(&fetcher, "fetcher", run_fetcher, part));
    return WEIR_OK;
}

static int64_t stop_of(const struct part *part)
{
    if (part->limit == WEIR_POSITION_NONE) return part->end == WEIR_POSITION_NONE ? INT64_MAX : part->end;
    return part->end != WEIR_POSITION_NONE && part->end < part->limit ? part->end : part->limit;
}

static bool add_record(weir_batch *batch, const struct model_record *from)
{
    const struct weir_record record = { .key = from->key, .value = from->value, .time_ms = from->time_ms,
                                        .time_type = WEIR_TIME_CREATE, .headers = from->headers };
    return weir_batch_add(batch, &record);
}

static void drop_held(struct part *part)
{
    struct held *held = part->first;
    part->first = held->next;
    if (part->first == NULL) part->last = &part->first;
    sim_fetched_clear(&held->fetched);
    free(held);
    sched_signal(&part->room);
}

/* False when the batch is full. */
static bool hand_over(struct part *part, weir_batch *batch)
{
    for (struct held *held; (held = part->first) != NULL;) {
        for (; held->taken < held->fetched.count; held->taken++) {
            const struct model_record *record = &held->fetched.records[held->taken];
            if (record->offset >= stop_of(part)) {
                part->position = stop_of(part);
                return true;
            }
            if (!add_record(batch, record)) return false;
            part->position = record->offset + 1;
            part->count--;
        }
        if (held->fetched.next > stop_of(part)) {
            part->position = stop_of(part);
            return true;
        }
        part->position = held->fetched.next;
        drop_held(part);
    }
    return true;
}

static enum weir_poll reader_poll(void *opaque, weir_batch *batch, struct weir_error *error)
{
    struct sim_reader *reader = opaque;
    bool ended = reader->source->context.bounded;
    for (struct part *part = reader->parts; part != NULL; part = part->next_part) {
        if (part->has_failed && part->first == NULL) {
            *error = part->error;
            return WEIR_POLL_FAILED;
        }
        if (!hand_over(part, batch)) return WEIR_POLL_MORE;
        if (part->end == WEIR_POSITION_NONE || part->position < part->end) ended = false;
    }
    return ended ? WEIR_POLL_ENDED : WEIR_POLL_IDLE;
}

static bool reader_positions(void *opaque, struct weir_splits *positions)
{
    struct sim_reader *reader = opaque;
    for (const struct part *part = reader->parts; part != NULL; part = part->next_part) {
        const struct weir_split split = { .name = part->name, .identity = "", .position = part->position,
                                          .end = part->end };
        if (!weir_splits_add(positions, &split)) return false;
    }
    return true;
}

static bool reader_limit(void *opaque, const char *split_name, int64_t end)
{
    struct sim_reader *reader = opaque;
    for (struct part *part = reader->parts; part != NULL; part = part->next_part) {
        if (strcmp(part->name, split_name) != 0) continue;
        if (end != WEIR_POSITION_NONE && part->position > end) return false;
        part->limit = end;
        reader->waker.wake(reader->waker.user);
        return true;
    }
    return false;
}

static int64_t reader_lag(void *opaque)
{
    (void)opaque;
    return -1;
}

static void reader_close(void *opaque)
{
    struct sim_reader *reader = opaque;
    reader->is_closed = true;
    for (struct part *part = reader->parts; part != NULL; part = part->next_part) sched_signal(&part->room);
    release_reader(reader);
}

static const struct weir_source_type source_type = {
    .size = sizeof source_type,
    .kind = "kafka",
    .open = source_open,
    .discover = source_discover,
    .close = source_close,
    .cluster = source_cluster,
    .reader_open = reader_open,
    .reader_add = reader_add,
    .reader_poll = reader_poll,
    .reader_positions = reader_positions,
    .reader_limit = reader_limit,
    .reader_lag = reader_lag,
    .reader_close = reader_close,
    .decider = &weir_kafka_decider_type,
};

struct weir_stream weir_kafka_source_(weir_graph *graph, const struct weir_kafka_source_options *options)
{
    struct weir_kafka_source_options copy = *options;
    copy.topic = weir_graph_text(graph, options->topic);
    copy.start = weir_graph_text(graph, options->start);
    copy.end = weir_graph_text(graph, options->end);
    if (copy.topic == NULL) weir_graph_mistake(graph, "source '%s' has no topic", options->name);
    else if (copy.topic[0] == '^')
        weir_graph_mistake(graph, "source '%s': the simulator knows no patterns of topics", options->name);
    if ((copy.start != NULL && strcmp(copy.start, "earliest") != 0) || copy.end != NULL ||
        copy.isolation != WEIR_KAFKA_READ_COMMITTED)
        weir_graph_mistake(graph, "source '%s': the simulator reads committed records, from the earliest on, without end",
                           options->name);
    return weir_source(graph, .name = options->name, .parallelism = options->parallelism, .type = &source_type,
                       .options = &copy, .options_size = sizeof copy);
}
