#include "kafka_model.h"

#include "kafka_model_private.h"

void *model_allocate(size_t size)
{
    void *memory = calloc(1, size > 0 ? size : 1);
    CHECK(memory != NULL);
    return memory;
}

char *model_copy_text(const char *text)
{
    char *copy = strdup(text);
    CHECK(copy != NULL);
    return copy;
}

const char *model_error_name(enum model_error error)
{
    switch (error) {
    case MODEL_OK: return "OK";
    case MODEL_OFFSET_OUT_OF_RANGE: return "OFFSET_OUT_OF_RANGE";
    case MODEL_UNKNOWN_TOPIC_OR_PARTITION: return "UNKNOWN_TOPIC_OR_PARTITION";
    case MODEL_COORDINATOR_LOADING: return "COORDINATOR_LOADING";
    case MODEL_NOT_COORDINATOR: return "NOT_COORDINATOR";
    case MODEL_NOT_ENOUGH_REPLICAS: return "NOT_ENOUGH_REPLICAS";
    case MODEL_TOPIC_EXISTS: return "TOPIC_EXISTS";
    case MODEL_POLICY_VIOLATION: return "POLICY_VIOLATION";
    case MODEL_OUT_OF_ORDER_SEQUENCE: return "OUT_OF_ORDER_SEQUENCE";
    case MODEL_DUPLICATE_SEQUENCE: return "DUPLICATE_SEQUENCE";
    case MODEL_INVALID_PRODUCER_EPOCH: return "INVALID_PRODUCER_EPOCH";
    case MODEL_INVALID_TXN_STATE: return "INVALID_TXN_STATE";
    case MODEL_INVALID_PRODUCER_ID_MAPPING: return "INVALID_PRODUCER_ID_MAPPING";
    case MODEL_INVALID_TRANSACTION_TIMEOUT: return "INVALID_TRANSACTION_TIMEOUT";
    case MODEL_CONCURRENT_TRANSACTIONS: return "CONCURRENT_TRANSACTIONS";
    case MODEL_UNKNOWN_PRODUCER_ID: return "UNKNOWN_PRODUCER_ID";
    case MODEL_INVALID_RECORD: return "INVALID_RECORD";
    case MODEL_UNSTABLE_OFFSET_COMMIT: return "UNSTABLE_OFFSET_COMMIT";
    case MODEL_PRODUCER_FENCED: return "PRODUCER_FENCED";
    }
    return "?";
}

/* Producer ids begin above 0, so that a cleared struct names nobody. */
struct kafka_model *model_create(void)
{
    struct kafka_model *model = calloc(1, sizeof *model);
    if (model != NULL) model->next_producer_id = 1000;
    return model;
}

static void free_topic(struct model_topic *topic)
{
    for (int32_t i = 0; i < topic->partition_count; i++) model_free_partition(&topic->partitions[i]);
    free(topic->partitions);
    free(topic->name);
    free(topic);
}

void model_destroy(struct kafka_model *model)
{
    if (model == NULL) return;
    for (size_t i = 0; i < model->topics.count; i++) free_topic(model->topics.items[i]);
    for (size_t i = 0; i < model->transactions.count; i++) model_free_transaction(model->transactions.items[i]);
    for (size_t i = 0; i < model->groups.count; i++) model_free_group(model->groups.items[i]);
    vec_free(&model->topics);
    vec_free(&model->transactions);
    vec_free(&model->groups);
    free(model);
}

/* ---- Topics ------------------------------------------------------------------------------------------------------ */

struct model_topic *model_find_topic(const struct kafka_model *model, const char *name)
{
    for (size_t i = 0; i < model->topics.count; i++)
        if (strcmp(model->topics.items[i]->name, name) == 0) return model->topics.items[i];
    return NULL;
}

struct model_partition *model_find_partition(const struct kafka_model *model, const char *topic, int32_t partition)
{
    const struct model_topic *found = model_find_topic(model, topic);
    if (found == NULL || partition < 0 || partition >= found->partition_count) return NULL;
    return &found->partitions[partition];
}

enum model_error model_create_topic(struct kafka_model *model, const char *topic, int32_t partitions, bool compacted)
{
    CHECK(partitions > 0);
    if (model_find_topic(model, topic) != NULL) return MODEL_TOPIC_EXISTS;
    struct model_topic *made = model_allocate(sizeof *made);
    made->name = model_copy_text(topic);
    made->id = ++model->last_topic_id;
    made->partition_count = partitions;
    made->partitions = model_allocate((size_t)partitions * sizeof *made->partitions);
    for (int32_t i = 0; i < partitions; i++) made->partitions[i].is_compacted = compacted;
    *(struct model_topic **)model_push(&model->topics) = made;
    return MODEL_OK;
}

enum model_error model_grow_topic(struct kafka_model *model, const char *topic, int32_t partitions)
{
    struct model_topic *found = model_find_topic(model, topic);
    if (found == NULL) return MODEL_UNKNOWN_TOPIC_OR_PARTITION;
    CHECK(partitions > found->partition_count);
    struct model_partition *grown = model_allocate((size_t)partitions * sizeof *grown);
    memcpy(grown, found->partitions, (size_t)found->partition_count * sizeof *grown);
    for (int32_t i = found->partition_count; i < partitions; i++) grown[i].is_compacted = grown[0].is_compacted;
    free(found->partitions);
    found->partitions = grown;
    found->partition_count = partitions;
    return MODEL_OK;
}

enum model_error model_delete_topic(struct kafka_model *model, const char *topic)
{
    struct model_topic *gone = model_find_topic(model, topic);
    if (gone == NULL) return MODEL_UNKNOWN_TOPIC_OR_PARTITION;
    size_t at = 0;
    while (model->topics.items[at] != gone) at++;
    model->topics.count--;
    memmove(&model->topics.items[at], &model->topics.items[at + 1],
            (model->topics.count - at) * sizeof *model->topics.items);
    free_topic(gone);
    model_groups_forget_topic(model, topic);
    return MODEL_OK;
}

enum model_error model_describe_topic(struct kafka_model *model, const char *topic, uint64_t *id, int32_t *partitions)
{
    const struct model_topic *found = model_find_topic(model, topic);
    if (found == NULL) return MODEL_UNKNOWN_TOPIC_OR_PARTITION;
    *id = found->id;
    *partitions = found->partition_count;
    return MODEL_OK;
}

void model_each_topic(struct kafka_model *model, void (*visit)(void *user, const char *topic), void *user)
{
    for (size_t i = 0; i < model->topics.count; i++) visit(user, model->topics.items[i]->name);
}

void model_coordinators_away(struct kafka_model *model, enum model_error answer)
{
    CHECK(answer == MODEL_NOT_COORDINATOR || answer == MODEL_COORDINATOR_LOADING);
    model->away = answer;
}

void model_coordinators_back(struct kafka_model *model) { model->away = MODEL_OK; }
