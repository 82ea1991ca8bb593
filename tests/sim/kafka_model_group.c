/* The positions of groups. A group has an offsets' log of its own here. A broker keeps several in one partition of
 * __consumer_offsets, and what AddOffsetsToTxn adds is that partition: a transaction may then commit for all groups in
 * it. Nobody should lean on that, so here it may not. */
#include "kafka_model_private.h"

static struct model_group *find_group(const struct kafka_model *model, const char *name)
{
    for (size_t i = 0; i < model->groups.count; i++)
        if (strcmp(model->groups.items[i]->name, name) == 0) return model->groups.items[i];
    return NULL;
}

static struct model_group *get_group(struct kafka_model *model, const char *name)
{
    struct model_group *group = find_group(model, name);
    if (group != NULL) return group;
    group = model_allocate(sizeof *group);
    group->name = model_copy_text(name);
    *(struct model_group **)model_push(&model->groups) = group;
    return group;
}

static void free_offset(struct group_offset *offset)
{
    free(offset->topic);
    free(offset->metadata);
}

/* Keeps those for which `keep` answers true; none when it is NULL. */
static void filter_offsets(struct group_offsets *offsets,
                           bool (*keep)(const struct group_offset *offset, const void *user), const void *user)
{
    size_t kept = 0;
    for (size_t i = 0; i < offsets->count; i++) {
        if (keep != NULL && keep(&offsets->items[i], user)) offsets->items[kept++] = offsets->items[i];
        else free_offset(&offsets->items[i]);
    }
    offsets->count = kept;
}

void model_free_group(struct model_group *group)
{
    filter_offsets(&group->committed, NULL, NULL);
    filter_offsets(&group->pending, NULL, NULL);
    vec_free(&group->committed);
    vec_free(&group->pending);
    vec_free(&group->producers);
    free(group->name);
    free(group);
}

/* ---- Committing -------------------------------------------------------------------------------------------------- */

/* The offset of that partition that `producer_id` wrote (-1: a committed one), made when it is missing. */
static struct group_offset *get_offset(struct group_offsets *offsets, const char *topic, int32_t partition,
                                       int64_t producer_id)
{
    for (size_t i = 0; i < offsets->count; i++) {
        struct group_offset *offset = &offsets->items[i];
        if (offset->producer_id == producer_id && offset->partition == partition && strcmp(offset->topic, topic) == 0)
            return offset;
    }
    struct group_offset *offset = model_push(offsets);
    offset->topic = model_copy_text(topic);
    offset->partition = partition;
    offset->producer_id = producer_id;
    offset->position = -1;
    return offset;
}

static void set_offset(struct group_offset *offset, int64_t number, const char *metadata, int64_t position)
{
    offset->offset = number;
    free(offset->metadata);
    offset->metadata = model_copy_text(metadata != NULL ? metadata : "");
    offset->position = position;
}

static size_t count_existing(const struct kafka_model *model, const struct model_offset *offsets, size_t count)
{
    size_t existing = 0;
    for (size_t i = 0; i < count; i++)
        if (model_find_partition(model, offsets[i].topic, offsets[i].partition) != NULL) existing++;
    return existing;
}

/* Those whose partition exists are written. */
static void put_offsets(struct kafka_model *model, struct model_group *group, struct group_offsets *into,
                        int64_t producer_id, const struct model_offset *offsets, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const struct model_offset *from = &offsets[i];
        if (model_find_partition(model, from->topic, from->partition) == NULL) continue;
        set_offset(get_offset(into, from->topic, from->partition, producer_id), from->offset, from->metadata,
                   group->end++);
    }
}

enum model_error model_offset_commit(struct kafka_model *model, const char *group, const struct model_offset *offsets,
                                     size_t count)
{
    const size_t existing = count_existing(model, offsets, count);
    if (existing == 0) return count > 0 ? MODEL_UNKNOWN_TOPIC_OR_PARTITION : MODEL_OK;
    if (model->away != MODEL_OK) return model->away;
    struct model_group *found = get_group(model, group);
    put_offsets(model, found, &found->committed, -1, offsets, count);
    return existing < count ? MODEL_UNKNOWN_TOPIC_OR_PARTITION : MODEL_OK;
}

/* As before the first record in a partition, the coordinator is asked whether the transaction knows of the group. */
static enum model_error append_pending(struct kafka_model *model, const char *transactional_id,
                                       struct model_producer producer, struct model_group *group,
                                       const struct model_offset *offsets, size_t count)
{
    struct log_producer *known = model_get_log_producer(&group->producers, producer.id);
    if (known->open_since < 0 || known->epoch != producer.epoch) {
        const enum model_error error = model_check_part(model, transactional_id, producer, group->name, 0, true);
        if (error != MODEL_OK) return error;
    }
    if (producer.epoch < known->epoch) return MODEL_INVALID_PRODUCER_EPOCH;
    known->epoch = producer.epoch;
    if (known->open_since < 0) known->open_since = group->end;
    put_offsets(model, group, &group->pending, producer.id, offsets, count);
    return MODEL_OK;
}

enum model_error model_txn_offset_commit(struct kafka_model *model, int64_t now_ms, const char *transactional_id,
                                         struct model_producer producer, const char *group,
                                         const struct model_offset *offsets, size_t count)
{
    (void)now_ms;
    const size_t existing = count_existing(model, offsets, count);
    if (existing == 0) return count > 0 ? MODEL_UNKNOWN_TOPIC_OR_PARTITION : MODEL_OK;
    if (model->away != MODEL_OK) return model->away;
    const enum model_error error =
        append_pending(model, transactional_id, producer, get_group(model, group), offsets, count);
    return existing < count ? MODEL_UNKNOWN_TOPIC_OR_PARTITION : error;
}

/* ---- Markers ----------------------------------------------------------------------------------------------------- */

static bool is_of_other_producer(const struct group_offset *offset, const void *producer_id)
{
    return offset->producer_id != *(const int64_t *)producer_id;
}

/* The later record in the offsets' log wins, whichever transaction ends last. */
static void commit_pending(struct model_group *group, const struct group_offset *pending)
{
    struct group_offset *committed = get_offset(&group->committed, pending->topic, pending->partition, -1);
    if (pending->position > committed->position)
        set_offset(committed, pending->offset, pending->metadata, pending->position);
}

void model_group_marker(struct kafka_model *model, const char *group, struct model_producer producer, bool committed)
{
    struct model_group *found = get_group(model, group);
    for (size_t i = 0; i < found->pending.count; i++)
        if (committed && found->pending.items[i].producer_id == producer.id)
            commit_pending(found, &found->pending.items[i]);
    filter_offsets(&found->pending, is_of_other_producer, &producer.id);
    model_mark_log_producer(model_get_log_producer(&found->producers, producer.id), producer.epoch);
    found->end++;
}

/* ---- Reading and forgetting -------------------------------------------------------------------------------------- */

enum model_error model_offset_fetch(struct kafka_model *model, const char *group, bool stable,
                                    void (*visit)(void *user, const struct model_offset *offset), void *user)
{
    if (model->away != MODEL_OK) return model->away;
    const struct model_group *found = find_group(model, group);
    if (found == NULL) return MODEL_OK;
    if (stable && found->pending.count > 0) return MODEL_UNSTABLE_OFFSET_COMMIT;
    for (size_t i = 0; i < found->committed.count; i++) {
        const struct group_offset *from = &found->committed.items[i];
        const struct model_offset offset = { from->topic, from->partition, from->offset, from->metadata };
        visit(user, &offset);
    }
    return MODEL_OK;
}

static bool is_of_other_topic(const struct group_offset *offset, const void *topic)
{
    return strcmp(offset->topic, topic) != 0;
}

void model_groups_forget_topic(struct kafka_model *model, const char *topic)
{
    for (size_t i = 0; i < model->groups.count; i++) {
        filter_offsets(&model->groups.items[i]->committed, is_of_other_topic, topic);
        filter_offsets(&model->groups.items[i]->pending, is_of_other_topic, topic);
    }
}

static bool is_elsewhere(const struct group_offset *offset, const void *place)
{
    const struct model_place *at = place;
    return offset->partition != at->partition || strcmp(offset->topic, at->topic) != 0;
}

void model_forget_offset(struct kafka_model *model, const char *group, const struct model_place *place)
{
    struct model_group *found = find_group(model, group);
    if (found != NULL) filter_offsets(&found->committed, is_elsewhere, place);
}

void model_forget_group(struct kafka_model *model, const char *group)
{
    struct model_group *found = find_group(model, group);
    if (found != NULL) filter_offsets(&found->committed, NULL, NULL);
}
