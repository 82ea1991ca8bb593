/* Which partitions there are, who they are, and where reading begins and ends, as numbers.
 *
 *     names ──> topics (id, partitions) ──> known ones the same? ──> rows ──> positions ──> ranges ──> ends ──> found
 *
 * A row is a partition. Each step asks the cluster one question for all rows that need it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ask.h"
#include "source.h"
#include "topics.h"

enum { METADATA_TIMEOUT_MS = 5000, MISSING_TRIES = 10, MISSING_PAUSE_MS = 100 };

/* Offsets that are not known yet. */
#define NOWHERE (-1)

struct row {
    char name[KAFKA_SPLIT_SIZE];
    const struct kafka_topic_info *topic;
    int32_t partition;
    const struct weir_split *known; /* NULL = new */
    int64_t position;
    int64_t end;
};

struct discovery {
    struct kafka_source *source;
    const struct weir_splits *known;
    bool founding;
    bool verify;
    const volatile bool *cancelled;
    struct weir_error *error;

    size_t topic_count;
    struct kafka_topic_info *topics; /* sorted by name */
    char **names;                    /* of `topics` */
    size_t row_count;
    struct row *rows;                /* sorted by topic and partition */
    size_t place_count;
    struct kafka_place *places;      /* of the selected rows */
    struct row **selected;
};

static enum weir_code no_memory(struct discovery *d)
{
    return weir_error_set(d->error, WEIR_NO_MEMORY, WEIR_REMEDY_STOP, "out of memory");
}

static const char *purpose(const struct discovery *d)
{
    return d->source->client->purpose;
}

/* ---- Topics ------------------------------------------------------------------------------------------------------ */

static bool add_name(struct discovery *d, const char *name)
{
    char **names = realloc(d->names, (d->topic_count + 1) * sizeof *names);
    if (names == NULL) return false;
    d->names = names;
    names[d->topic_count] = strdup(name);
    return names[d->topic_count] != NULL && ++d->topic_count > 0;
}

static enum weir_code add_matching(struct discovery *d)
{
    const struct rd_kafka_metadata *metadata;
    const rd_kafka_resp_err_t reason =
        rd_kafka_metadata(d->source->client->handle, 1, NULL, &metadata, METADATA_TIMEOUT_MS);
    if (reason != RD_KAFKA_RESP_ERR_NO_ERROR)
        return kafka_error(d->error, d->source->client, reason, NULL, "%s: cannot list the topics", purpose(d));
    bool fits = true;
    for (int i = 0; fits && i < metadata->topic_cnt; i++)
        if (kafka_topics_match(&d->source->topics, metadata->topics[i].topic))
            fits = add_name(d, metadata->topics[i].topic);
    rd_kafka_metadata_destroy(metadata);
    return fits ? WEIR_OK : no_memory(d);
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static enum weir_code find_names(struct discovery *d)
{
    const struct kafka_topics *topics = &d->source->topics;
    if (topics->is_pattern) {
        const enum weir_code code = add_matching(d);
        if (code != WEIR_OK) return code;
    }
    for (size_t i = 0; i < topics->count; i++)
        if (!add_name(d, topics->names[i])) return no_memory(d);
    if (d->topic_count > 0) qsort(d->names, d->topic_count, sizeof *d->names, compare_names);
    d->topics = calloc(d->topic_count + 1, sizeof *d->topics);
    if (d->topics == NULL) return no_memory(d);
    for (size_t i = 0; i < d->topic_count; i++) d->topics[i].name = d->names[i];
    return WEIR_OK;
}

static const struct kafka_topic_info *first_missing(const struct discovery *d)
{
    for (size_t i = 0; i < d->topic_count; i++)
        if (!d->topics[i].exists) return &d->topics[i];
    return NULL;
}

/* A topic that was created a moment ago is not known to every broker at once. */
static enum weir_code describe_topics(struct discovery *d)
{
    for (int tries = 1;; tries++) {
        const enum weir_code code =
            kafka_ask_topics(d->source->client, d->topics, d->topic_count, d->cancelled, d->error);
        if (code != WEIR_OK) return code;
        const bool is_settled = first_missing(d) == NULL || d->source->topics.is_pattern;
        if (is_settled || tries == MISSING_TRIES || kafka_is_cancelled(d->cancelled)) return WEIR_OK;
        topics_pause(MISSING_PAUSE_MS);
    }
}

static const struct kafka_topic_info *find_topic(const struct discovery *d, const char *name)
{
    for (size_t i = 0; i < d->topic_count; i++)
        if (d->topics[i].exists && strcmp(d->topics[i].name, name) == 0) return &d->topics[i];
    return NULL;
}

/* ---- Known splits ------------------------------------------------------------------------------------------------ */

static enum weir_code check_known_split(struct discovery *d, const struct weir_split *split)
{
    char name[KAFKA_TOPIC_SIZE];
    int32_t partition;
    if (!kafka_split_parse(split->name, name, &partition))
        return weir_error_set(d->error, WEIR_DAMAGED, WEIR_REMEDY_STOP, "%s: '%s' is no partition of Kafka", purpose(d),
                              split->name);
    const struct kafka_topic_info *topic = find_topic(d, name);
    if (topic == NULL || partition >= topic->partition_count)
        return weir_error_set(d->error, WEIR_POSITION_LOST, WEIR_REMEDY_STOP,
                              "%s: the job stands at offset %lld of %s, but that %s is not there any more, or not "
                              "among the topics of this source. Restore the topic, correct the source, or begin anew "
                              "with a new job name", purpose(d), (long long)split->position, split->name,
                              topic == NULL ? "topic" : "partition");
    const bool is_same = split->identity == NULL || split->identity[0] == '\0' || topic->id[0] == '\0' ||
                         strcmp(split->identity, topic->id) == 0;
    if (is_same) return WEIR_OK;
    return weir_error_set(d->error, WEIR_POSITION_LOST, WEIR_REMEDY_STOP,
                          "%s: topic '%s' was deleted and created anew (its id was %s and is %s), so that offset %lld "
                          "of %s means nothing any more. Begin anew with a new job name", purpose(d), name,
                          split->identity, topic->id, (long long)split->position, split->name);
}

static enum weir_code check_topics(struct discovery *d)
{
    for (size_t i = 0; i < d->known->count; i++) {
        const enum weir_code code = check_known_split(d, &d->known->items[i]);
        if (code != WEIR_OK) return code;
    }
    const struct kafka_topic_info *missing = first_missing(d);
    if (missing == NULL || d->source->topics.is_pattern) return WEIR_OK;
    return weir_error_set(d->error, WEIR_ENVIRONMENT, WEIR_REMEDY_STOP,
                          "%s: there is no topic '%s' in the cluster %s; create it, or correct its name", purpose(d),
                          missing->name, d->source->cluster);
}

/* ---- Rows -------------------------------------------------------------------------------------------------------- */

static size_t count_partitions(const struct discovery *d)
{
    size_t count = 0;
    for (size_t i = 0; i < d->topic_count; i++)
        if (d->topics[i].exists) count += (size_t)d->topics[i].partition_count;
    return count;
}

static void add_rows(struct discovery *d, const struct kafka_topic_info *topic)
{
    for (int32_t partition = 0; partition < topic->partition_count; partition++) {
        struct row *row = &d->rows[d->row_count++];
        *row = (struct row){ .topic = topic, .partition = partition, .position = NOWHERE, .end = NOWHERE };
        kafka_split_name(row->name, topic->name, partition);
        row->known = weir_splits_find(d->known, row->name);
        if (row->known != NULL) row->position = row->known->position;
    }
}

static enum weir_code make_rows(struct discovery *d)
{
    const size_t count = count_partitions(d);
    d->rows = calloc(count + 1, sizeof *d->rows);
    d->places = calloc(count + 1, sizeof *d->places);
    d->selected = calloc(count + 1, sizeof *d->selected);
    if (d->rows == NULL || d->places == NULL || d->selected == NULL) return no_memory(d);
    for (size_t i = 0; i < d->topic_count; i++)
        if (d->topics[i].exists) add_rows(d, &d->topics[i]);
    return WEIR_OK;
}

/* The rows that the next question is about. */
static void select_rows(struct discovery *d, bool (*is_wanted)(const struct discovery *d, const struct row *row))
{
    d->place_count = 0;
    for (size_t i = 0; i < d->row_count; i++) {
        struct row *row = &d->rows[i];
        if (!is_wanted(d, row)) continue;
        d->places[d->place_count] = (struct kafka_place){ .topic = row->topic->name, .partition = row->partition };
        d->selected[d->place_count++] = row;
    }
}

static bool reads_committed(const struct discovery *d)
{
    return d->source->options.isolation == WEIR_KAFKA_READ_COMMITTED;
}

static enum weir_code ask(struct discovery *d, int64_t spec, bool committed)
{
    return kafka_ask_offsets(d->source->client, d->places, d->place_count, spec, committed, d->cancelled, d->error);
}

/* ---- Positions --------------------------------------------------------------------------------------------------- */

static bool is_new(const struct discovery *d, const struct row *row)
{
    (void)d;
    return row->known == NULL;
}

static bool has_no_position(const struct discovery *d, const struct row *row)
{
    (void)d;
    return row->position == NOWHERE;
}

static void take_positions(struct discovery *d)
{
    for (size_t i = 0; i < d->place_count; i++) d->selected[i]->position = d->places[i].offset;
}

static void take_given_positions(struct discovery *d)
{
    for (size_t i = 0; i < d->place_count; i++) {
        const struct weir_split *given = weir_splits_find(&d->source->start.offsets, d->selected[i]->name);
        if (given != NULL) d->selected[i]->position = given->position;
    }
}

/* What the start itself says; it may leave some rows without a position. */
static enum weir_code apply_start(struct discovery *d)
{
    const struct kafka_bound *start = &d->source->start;
    enum weir_code code = WEIR_OK;
    select_rows(d, is_new);
    switch (start->kind) {
    case KAFKA_TIMESTAMP:
        code = ask(d, start->time_ms, reads_committed(d));
        take_positions(d);
        break;
    case KAFKA_GROUP:
        code = kafka_ask_group(d->source->client, start->group, d->places, d->place_count, d->cancelled, d->error);
        take_positions(d);
        break;
    case KAFKA_OFFSETS:
        take_given_positions(d);
        break;
    case KAFKA_EARLIEST:
    case KAFKA_LATEST:
        break;
    }
    return code;
}

/* For rows that are without a position: new partitions of a running job, times after the last record, ... */
static enum kafka_bound_kind fallback(const struct discovery *d)
{
    if (!d->founding) return KAFKA_EARLIEST;
    switch (d->source->start.kind) {
    case KAFKA_LATEST:
    case KAFKA_TIMESTAMP: return KAFKA_LATEST;
    case KAFKA_GROUP: return d->source->start.otherwise;
    case KAFKA_EARLIEST:
    case KAFKA_OFFSETS: break;
    }
    return KAFKA_EARLIEST;
}

static enum weir_code apply_fallback(struct discovery *d)
{
    select_rows(d, has_no_position);
    if (d->place_count == 0) return WEIR_OK;
    const enum kafka_bound_kind kind = fallback(d);
    if (kind == KAFKA_GROUP)
        return weir_error_set(d->error, WEIR_USAGE, WEIR_REMEDY_STOP,
                              "%s: the consumer group '%s' has no offset for %s; to start there at the earliest or "
                              "latest record, write group:%s,earliest or group:%s,latest", purpose(d),
                              d->source->start.group, d->selected[0]->name, d->source->start.group,
                              d->source->start.group);
    const enum weir_code code =
        ask(d, kind == KAFKA_LATEST ? RD_KAFKA_OFFSET_SPEC_LATEST : RD_KAFKA_OFFSET_SPEC_EARLIEST, reads_committed(d));
    take_positions(d);
    return code;
}

static enum weir_code resolve_positions(struct discovery *d)
{
    const enum weir_code code = d->founding ? apply_start(d) : WEIR_OK;
    return code == WEIR_OK ? apply_fallback(d) : code;
}

/* ---- Ranges ------------------------------------------------------------------------------------------------------ */

/* Positions that somebody remembered, not the cluster. */
static bool needs_range_check(const struct discovery *d, const struct row *row)
{
    if (row->known != NULL) return d->verify;
    return d->founding && (d->source->start.kind == KAFKA_GROUP || d->source->start.kind == KAFKA_OFFSETS);
}

static enum weir_code handle_out_of_range(struct discovery *d, struct row *row, int64_t low, int64_t high)
{
    const enum weir_kafka_out_of_range choice = d->source->options.out_of_range;
    if (choice == WEIR_KAFKA_FAIL)
        return weir_error_set(d->error, WEIR_POSITION_LOST, WEIR_REMEDY_STOP,
                              "%s: offset %lld of %s is next, but the topic holds offsets %lld to %lld. Records were "
                              "deleted, by retention or by hand, or the log was cut. Set .out_of_range of the source "
                              "to go on at the earliest or latest record, or begin anew with a new job name",
                              purpose(d), (long long)row->position, row->name, (long long)low, (long long)high);
    weir_log_about(d->source->context.environment,
                   &(struct weir_log_line){ .level = WEIR_LOG_WARN, .operator_name = d->source->context.operator_name,
                                            .split = row->name, .has_offset = true, .offset = row->position,
                                            .code = WEIR_POSITION_LOST },
                   "%s: offset %lld of %s is next, but the topic holds offsets %lld to %lld; going on at the %s record, as "
                   ".out_of_range says", purpose(d), (long long)row->position, row->name, (long long)low, (long long)high,
                   choice == WEIR_KAFKA_EARLIEST ? "earliest" : "latest");
    if (row->known == NULL) row->position = choice == WEIR_KAFKA_EARLIEST ? low : high; /* else the reader finds out */
    return WEIR_OK;
}

static enum weir_code check_range_of_selected(struct discovery *d, const int64_t *lows)
{
    for (size_t i = 0; i < d->place_count; i++) {
        struct row *row = d->selected[i];
        const int64_t high = d->places[i].offset;
        if (row->position >= lows[i] && row->position <= high) continue;
        const enum weir_code code = handle_out_of_range(d, row, lows[i], high);
        if (code != WEIR_OK) return code;
    }
    return WEIR_OK;
}

static enum weir_code check_ranges(struct discovery *d)
{
    select_rows(d, needs_range_check);
    if (d->place_count == 0) return WEIR_OK;
    int64_t *lows = malloc(d->place_count * sizeof *lows);
    if (lows == NULL) return no_memory(d);
    enum weir_code code = ask(d, RD_KAFKA_OFFSET_SPEC_EARLIEST, false);
    for (size_t i = 0; i < d->place_count; i++) lows[i] = d->places[i].offset;
    if (code == WEIR_OK) code = ask(d, RD_KAFKA_OFFSET_SPEC_LATEST, false);
    if (code == WEIR_OK) code = check_range_of_selected(d, lows);
    free(lows);
    return code;
}

/* ---- Ends -------------------------------------------------------------------------------------------------------- */

static bool has_no_end(const struct discovery *d, const struct row *row)
{
    (void)d;
    return row->end == NOWHERE;
}

static void take_ends(struct discovery *d)
{
    for (size_t i = 0; i < d->place_count; i++) d->selected[i]->end = d->places[i].offset;
}

static enum weir_code take_given_ends(struct discovery *d)
{
    for (size_t i = 0; i < d->row_count; i++) {
        const struct weir_split *given = weir_splits_find(&d->source->end.offsets, d->rows[i].name);
        if (given == NULL)
            return weir_error_set(d->error, WEIR_USAGE, WEIR_REMEDY_STOP,
                                  "%s: the end names no offset for %s; every partition needs one", purpose(d),
                                  d->rows[i].name);
        d->rows[i].end = given->position;
    }
    return WEIR_OK;
}

static enum weir_code ask_ends(struct discovery *d, int64_t spec)
{
    select_rows(d, has_no_end);
    const enum weir_code code = ask(d, spec, reads_committed(d));
    take_ends(d);
    return code;
}

static enum weir_code resolve_ends(struct discovery *d)
{
    const struct kafka_bound *end = &d->source->end;
    if (!d->source->is_bounded) return WEIR_OK;
    if (end->kind == KAFKA_OFFSETS) return take_given_ends(d);
    enum weir_code code = WEIR_OK;
    if (end->kind == KAFKA_TIMESTAMP) code = ask_ends(d, end->time_ms);
    return code == WEIR_OK ? ask_ends(d, RD_KAFKA_OFFSET_SPEC_LATEST) : code;
}

/* ---- All of it --------------------------------------------------------------------------------------------------- */

static enum weir_code hand_over(struct discovery *d, struct weir_splits *found)
{
    for (size_t i = 0; i < d->row_count; i++) {
        const struct row *row = &d->rows[i];
        if (row->position == NOWHERE)
            return weir_error_set(d->error, WEIR_OUT_OF_PATIENCE, WEIR_REMEDY_RETRY,
                                  "%s: no broker knows offsets of %s", purpose(d), row->name);
        const struct weir_split split = {
            .name = row->name,
            .identity = row->topic->id,
            .position = row->position,
            .end = d->source->is_bounded ? row->end : WEIR_POSITION_NONE,
        };
        if (!weir_splits_add(found, &split)) return no_memory(d);
    }
    atomic_store(&d->source->partitions_known, (uint32_t)d->row_count);
    return WEIR_OK;
}

static enum weir_code run(struct discovery *d, struct weir_splits *found)
{
    static enum weir_code (*const steps[])(struct discovery *) = {
        find_names, describe_topics, check_topics, make_rows, resolve_positions, check_ranges, resolve_ends,
    };
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        const enum weir_code code = steps[i](d);
        if (code != WEIR_OK) return code;
    }
    return hand_over(d, found);
}

enum weir_code kafka_discover(void *source, const struct weir_splits *known, bool founding, bool verify,
                              const volatile bool *cancelled, struct weir_splits *found, struct weir_error *error)
{
    struct discovery d = {
        .source = source,
        .known = known,
        .founding = founding,
        .verify = verify,
        .cancelled = cancelled,
        .error = error,
    };
    const enum weir_code code = run(&d, found);
    for (size_t i = 0; i < d.topic_count; i++) free(d.names[i]);
    free(d.names);
    free(d.topics);
    free(d.rows);
    free(d.places);
    free(d.selected);
    return code;
}

/* ---- For lag tools ----------------------------------------------------------------------------------------------- */

void kafka_commit_for_tools(void *opaque, const struct weir_splits *positions)
{
    const struct kafka_source *source = opaque;
    struct kafka_place *places = calloc(positions->count + 1, sizeof *places);
    char (*topics)[KAFKA_TOPIC_SIZE] = calloc(positions->count + 1, sizeof *topics);
    size_t count = 0;
    for (size_t i = 0; places != NULL && topics != NULL && i < positions->count; i++) {
        if (!kafka_split_parse(positions->items[i].name, topics[count], &places[count].partition)) continue;
        places[count].topic = topics[count];
        places[count++].offset = positions->items[i].position;
    }
    struct weir_error error;
    if (kafka_tell_group(source->client, source->context.job, places, count, &error) != WEIR_OK)
        weir_log(source->context.environment, WEIR_LOG_WARN, "%s; tools will show an old lag", error.text);
    free(topics);
    free(places);
}
