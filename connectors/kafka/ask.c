#include "ask.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { REQUEST_TIMEOUT_MS = 10000, ANSWER_TIMEOUT_MS = REQUEST_TIMEOUT_MS + 1000 };

/* One request: its options and a queue of its own, so that the answer to one that was given up cannot be taken for
 * this. */
struct request {
    struct kafka_client *client;
    rd_kafka_AdminOptions_t *options;
    rd_kafka_queue_t *queue;
    const volatile bool *cancelled;
};

static struct request request_begin(struct kafka_client *client, rd_kafka_admin_op_t operation,
                                    const volatile bool *cancelled)
{
    char text[200];
    struct request request = {
        .client = client,
        .options = rd_kafka_AdminOptions_new(client->handle, operation),
        .queue = rd_kafka_queue_new(client->handle),
        .cancelled = cancelled,
    };
    (void)rd_kafka_AdminOptions_set_request_timeout(request.options, REQUEST_TIMEOUT_MS, text, sizeof text);
    return request;
}

static enum weir_code request_await(struct request *request, const char *what, rd_kafka_event_t **event,
                                    struct weir_error *error)
{
    const enum weir_code code =
        kafka_await(request->client, request->queue, ANSWER_TIMEOUT_MS, request->cancelled, event, error);
    if (code != WEIR_OK) return weir_error_wrap(error, "%s", what);
    const rd_kafka_resp_err_t reason = rd_kafka_event_error(*event);
    if (reason == RD_KAFKA_RESP_ERR_NO_ERROR) return WEIR_OK;
    (void)kafka_error(error, request->client, reason, rd_kafka_event_error_string(*event), "%s: %s",
                      request->client->purpose, what);
    rd_kafka_event_destroy(*event);
    *event = NULL;
    return error->code;
}

static void request_end(struct request *request)
{
    rd_kafka_AdminOptions_destroy(request->options);
    rd_kafka_queue_destroy(request->queue);
}

/* ---- Topics ------------------------------------------------------------------------------------------------------ */

static struct kafka_topic_info *find_info(struct kafka_topic_info *infos, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(infos[i].name, name) == 0) return &infos[i];
    return NULL;
}

/* Brokers before 2.8 send an id of zeroes. */
static void copy_id(struct kafka_topic_info *info, const rd_kafka_Uuid_t *id)
{
    info->id[0] = '\0';
    if (rd_kafka_Uuid_most_significant_bits(id) == 0 && rd_kafka_Uuid_least_significant_bits(id) == 0) return;
    (void)snprintf(info->id, sizeof info->id, "%s", rd_kafka_Uuid_base64str(id));
}

static enum weir_code take_description(struct kafka_client *client, struct kafka_topic_info *info,
                                       const rd_kafka_TopicDescription_t *description, struct weir_error *error)
{
    const rd_kafka_error_t *failure = rd_kafka_TopicDescription_error(description);
    const rd_kafka_resp_err_t reason = failure == NULL ? RD_KAFKA_RESP_ERR_NO_ERROR : rd_kafka_error_code(failure);
    info->exists = reason == RD_KAFKA_RESP_ERR_NO_ERROR;
    if (reason == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART) return WEIR_OK;
    if (reason != RD_KAFKA_RESP_ERR_NO_ERROR)
        return kafka_error(error, client, reason, rd_kafka_error_string(failure), "%s: topic '%s'", client->purpose,
                           info->name);
    size_t partition_count;
    (void)rd_kafka_TopicDescription_partitions(description, &partition_count);
    info->partition_count = (int32_t)partition_count;
    copy_id(info, rd_kafka_TopicDescription_topic_id(description));
    return WEIR_OK;
}

static enum weir_code take_descriptions(struct kafka_client *client, struct kafka_topic_info *infos, size_t count,
                                        rd_kafka_event_t *event, struct weir_error *error)
{
    size_t described;
    const rd_kafka_TopicDescription_t **descriptions =
        rd_kafka_DescribeTopics_result_topics(rd_kafka_event_DescribeTopics_result(event), &described);
    enum weir_code code = WEIR_OK;
    for (size_t i = 0; code == WEIR_OK && i < described; i++) {
        struct kafka_topic_info *info = find_info(infos, count, rd_kafka_TopicDescription_name(descriptions[i]));
        if (info != NULL) code = take_description(client, info, descriptions[i], error);
    }
    return code;
}

enum weir_code kafka_ask_topics(struct kafka_client *client, struct kafka_topic_info *infos, size_t count,
                                const volatile bool *cancelled, struct weir_error *error)
{
    if (count == 0) return WEIR_OK;
    const char **names = malloc(count * sizeof *names);
    if (names == NULL) return weir_error_set(error, WEIR_NO_MEMORY, WEIR_REMEDY_STOP, "out of memory");
    for (size_t i = 0; i < count; i++) {
        names[i] = infos[i].name;
        infos[i].exists = false;
    }
    rd_kafka_TopicCollection_t *topics = rd_kafka_TopicCollection_of_topic_names(names, count);
    struct request request = request_begin(client, RD_KAFKA_ADMIN_OP_DESCRIBETOPICS, cancelled);
    rd_kafka_DescribeTopics(client->handle, topics, request.options, request.queue);
    rd_kafka_event_t *event;
    enum weir_code code = request_await(&request, "cannot ask for topics", &event, error);
    if (code == WEIR_OK) {
        code = take_descriptions(client, infos, count, event, error);
        rd_kafka_event_destroy(event);
    }
    request_end(&request);
    rd_kafka_TopicCollection_destroy(topics);
    free(names);
    return code;
}

/* ---- Offsets ----------------------------------------------------------------------------------------------------- */

static int compare_place(const void *a, const void *b)
{
    const struct kafka_place *x = a, *y = b;
    const int by_topic = strcmp(x->topic, y->topic);
    if (by_topic != 0) return by_topic;
    return x->partition < y->partition ? -1 : x->partition > y->partition;
}

static struct kafka_place *find_place(struct kafka_place *places, size_t count, const char *topic, int32_t partition)
{
    if (count == 0) return NULL;
    const struct kafka_place key = { .topic = topic, .partition = partition };
    return bsearch(&key, places, count, sizeof *places, compare_place);
}

static enum weir_code take_offset(struct kafka_client *client, struct kafka_place *places, size_t count,
                                  const rd_kafka_topic_partition_t *answer, struct weir_error *error)
{
    if (answer->err != RD_KAFKA_RESP_ERR_NO_ERROR)
        return kafka_error(error, client, answer->err, NULL, "%s: offsets of %s/%d", client->purpose, answer->topic,
                           (int)answer->partition);
    struct kafka_place *place = find_place(places, count, answer->topic, answer->partition);
    if (place != NULL) place->offset = answer->offset < 0 ? -1 : answer->offset;
    return WEIR_OK;
}

static rd_kafka_topic_partition_list_t *list_of(const struct kafka_place *places, size_t count)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new((int)count);
    for (size_t i = 0; i < count; i++)
        rd_kafka_topic_partition_list_add(list, places[i].topic, places[i].partition)->offset = places[i].offset;
    return list;
}

static enum weir_code take_listed(struct kafka_client *client, struct kafka_place *places, size_t count,
                                  rd_kafka_event_t *event, struct weir_error *error)
{
    size_t answered;
    const rd_kafka_ListOffsetsResultInfo_t **infos =
        rd_kafka_ListOffsets_result_infos(rd_kafka_event_ListOffsets_result(event), &answered);
    enum weir_code code = WEIR_OK;
    for (size_t i = 0; code == WEIR_OK && i < answered; i++)
        code = take_offset(client, places, count, rd_kafka_ListOffsetsResultInfo_topic_partition(infos[i]), error);
    return code;
}

enum weir_code kafka_ask_offsets(struct kafka_client *client, struct kafka_place *places, size_t count, int64_t spec,
                                 bool committed, const volatile bool *cancelled, struct weir_error *error)
{
    if (count == 0) return WEIR_OK;
    for (size_t i = 0; i < count; i++) places[i].offset = spec;
    rd_kafka_topic_partition_list_t *list = list_of(places, count);
    for (size_t i = 0; i < count; i++) places[i].offset = -1;
    struct request request = request_begin(client, RD_KAFKA_ADMIN_OP_LISTOFFSETS, cancelled);
    const rd_kafka_IsolationLevel_t isolation =
        committed ? RD_KAFKA_ISOLATION_LEVEL_READ_COMMITTED : RD_KAFKA_ISOLATION_LEVEL_READ_UNCOMMITTED;
    rd_kafka_error_t *ignored = rd_kafka_AdminOptions_set_isolation_level(request.options, isolation);
    if (ignored != NULL) rd_kafka_error_destroy(ignored); /* for values that do not exist */
    rd_kafka_ListOffsets(client->handle, list, request.options, request.queue);
    rd_kafka_event_t *event;
    enum weir_code code = request_await(&request, "cannot ask for offsets", &event, error);
    if (code == WEIR_OK) {
        code = take_listed(client, places, count, event, error);
        rd_kafka_event_destroy(event);
    }
    request_end(&request);
    rd_kafka_topic_partition_list_destroy(list);
    return code;
}

/* ---- Groups ------------------------------------------------------------------------------------------------------ */

static enum weir_code take_group(struct kafka_client *client, const rd_kafka_group_result_t *group,
                                 struct kafka_place *places, size_t count, struct weir_error *error)
{
    const rd_kafka_error_t *failure = rd_kafka_group_result_error(group);
    if (failure != NULL)
        return kafka_error(error, client, rd_kafka_error_code(failure), rd_kafka_error_string(failure),
                           "%s: offsets of the consumer group '%s'", client->purpose,
                           rd_kafka_group_result_name(group));
    const rd_kafka_topic_partition_list_t *list = rd_kafka_group_result_partitions(group);
    enum weir_code code = WEIR_OK;
    for (int i = 0; code == WEIR_OK && list != NULL && i < list->cnt; i++)
        code = take_offset(client, places, count, &list->elems[i], error);
    return code;
}

enum weir_code kafka_ask_group(struct kafka_client *client, const char *group, struct kafka_place *places, size_t count,
                               const volatile bool *cancelled, struct weir_error *error)
{
    if (count == 0) return WEIR_OK;
    for (size_t i = 0; i < count; i++) places[i].offset = -1;
    rd_kafka_topic_partition_list_t *list = list_of(places, count);
    rd_kafka_ListConsumerGroupOffsets_t *question = rd_kafka_ListConsumerGroupOffsets_new(group, list);
    struct request request = request_begin(client, RD_KAFKA_ADMIN_OP_LISTCONSUMERGROUPOFFSETS, cancelled);
    /* What an open transaction is about to commit decides where the group stands: wait for it. */
    rd_kafka_error_t *ignored = rd_kafka_AdminOptions_set_require_stable_offsets(request.options, 1);
    if (ignored != NULL) rd_kafka_error_destroy(ignored);
    rd_kafka_ListConsumerGroupOffsets(client->handle, &question, 1, request.options, request.queue);
    rd_kafka_event_t *event;
    enum weir_code code = request_await(&request, "cannot ask for the offsets of a consumer group", &event, error);
    if (code == WEIR_OK) {
        size_t groups;
        const rd_kafka_group_result_t **results = rd_kafka_ListConsumerGroupOffsets_result_groups(
            rd_kafka_event_ListConsumerGroupOffsets_result(event), &groups);
        for (size_t i = 0; code == WEIR_OK && i < groups; i++)
            code = take_group(client, results[i], places, count, error);
        rd_kafka_event_destroy(event);
    }
    request_end(&request);
    rd_kafka_ListConsumerGroupOffsets_destroy(question);
    rd_kafka_topic_partition_list_destroy(list);
    return code;
}

enum weir_code kafka_tell_group(struct kafka_client *client, const char *group, const struct kafka_place *places,
                                size_t count, struct weir_error *error)
{
    if (count == 0) return WEIR_OK;
    rd_kafka_topic_partition_list_t *list = list_of(places, count);
    rd_kafka_AlterConsumerGroupOffsets_t *order = rd_kafka_AlterConsumerGroupOffsets_new(group, list);
    struct request request = request_begin(client, RD_KAFKA_ADMIN_OP_ALTERCONSUMERGROUPOFFSETS, NULL);
    rd_kafka_AlterConsumerGroupOffsets(client->handle, &order, 1, request.options, request.queue);
    rd_kafka_event_t *event;
    enum weir_code code = request_await(&request, "cannot commit the offsets of a consumer group", &event, error);
    if (code == WEIR_OK) {
        size_t groups;
        const rd_kafka_group_result_t **results = rd_kafka_AlterConsumerGroupOffsets_result_groups(
            rd_kafka_event_AlterConsumerGroupOffsets_result(event), &groups);
        for (size_t i = 0; code == WEIR_OK && i < groups; i++) code = take_group(client, results[i], NULL, 0, error);
        rd_kafka_event_destroy(event);
    }
    request_end(&request);
    rd_kafka_AlterConsumerGroupOffsets_destroy(order);
    rd_kafka_topic_partition_list_destroy(list);
    return code;
}
