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
    int64_t timeout_ms; /* for the answer */
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
        .timeout_ms = ANSWER_TIMEOUT_MS,
        .cancelled = cancelled,
    };
    (void)rd_kafka_AdminOptions_set_request_timeout(request.options, REQUEST_TIMEOUT_MS, text, sizeof text);
    return request;
}

static enum weir_code request_await(struct request *request, const char *what, rd_kafka_event_t **event,
                                    struct weir_error *error)
{
    const enum weir_code code =
        kafka_await(request->client, request->queue, request->timeout_ms, request->cancelled, event, error);
    if (code != WEIR_OK) return weir_error_wrap(error, "%s", what);
    const rd_kafka_resp_err_t reason = rd_kafka_event_error(*event);
    if (reason == RD_KAFKA_RESP_ERR_NO_ERROR) return WEIR_OK;
    (void)kafka_error(error, request->client, reason, rd_kafka_event_error_string(*event), "%s: %s",
                      request->client->purpose, what);
    rd_kafka_event_destroy(*event);
    *event = NULL;
    return error->code;
}

/* Answers shall say what this user may do. */
static void ask_for_rights(struct request *request)
{
    rd_kafka_error_t *failure = rd_kafka_AdminOptions_set_include_authorized_operations(request->options, 1);
    if (failure != NULL) rd_kafka_error_destroy(failure);
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

static uint32_t rights_of(const rd_kafka_AclOperation_t *operations, size_t count)
{
    uint32_t rights = 0;
    for (size_t i = 0; operations != NULL && i < count; i++) rights |= 1u << operations[i];
    return rights;
}

static int32_t fewest_replicas(const rd_kafka_TopicPartitionInfo_t **partitions, size_t count)
{
    size_t fewest = SIZE_MAX;
    for (size_t i = 0; i < count; i++) {
        size_t replicas;
        (void)rd_kafka_TopicPartitionInfo_replicas(partitions[i], &replicas);
        if (replicas < fewest) fewest = replicas;
    }
    return count == 0 ? 0 : (int32_t)fewest;
}

static enum weir_code take_description(struct kafka_client *client, struct kafka_topic_info *info,
                                       const rd_kafka_TopicDescription_t *description, struct weir_error *error)
{
    const rd_kafka_error_t *failure = rd_kafka_TopicDescription_error(description);
    const rd_kafka_resp_err_t reason = failure == NULL ? RD_KAFKA_RESP_ERR_NO_ERROR : rd_kafka_error_code(failure);
    info->exists = reason == RD_KAFKA_RESP_ERR_NO_ERROR;
    if (reason == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART) return WEIR_OK;
    info->failure = reason;
    if (reason != RD_KAFKA_RESP_ERR_NO_ERROR)
        return kafka_error(error, client, reason, rd_kafka_error_string(failure), "%s: topic '%s'", client->purpose,
                           info->name);
    size_t partition_count, operation_count;
    const rd_kafka_TopicPartitionInfo_t **partitions =
        rd_kafka_TopicDescription_partitions(description, &partition_count);
    info->partition_count = (int32_t)partition_count;
    info->replica_count = fewest_replicas(partitions, partition_count);
    const rd_kafka_AclOperation_t *operations =
        rd_kafka_TopicDescription_authorized_operations(description, &operation_count);
    info->rights = rights_of(operations, operation_count);
    copy_id(info, rd_kafka_TopicDescription_topic_id(description));
    return WEIR_OK;
}

static enum weir_code take_descriptions(struct kafka_client *client, struct kafka_topic_info *infos, size_t count,
                                        rd_kafka_event_t *event, bool goes_on, struct weir_error *error)
{
    size_t described;
    const rd_kafka_TopicDescription_t **descriptions =
        rd_kafka_DescribeTopics_result_topics(rd_kafka_event_DescribeTopics_result(event), &described);
    enum weir_code code = WEIR_OK;
    for (size_t i = 0; code == WEIR_OK && i < described; i++) {
        struct kafka_topic_info *info = find_info(infos, count, rd_kafka_TopicDescription_name(descriptions[i]));
        if (info != NULL) code = take_description(client, info, descriptions[i], error);
        if (goes_on) code = WEIR_OK;
    }
    return code;
}

static enum weir_code ask_topics(struct kafka_client *client, struct kafka_topic_info *infos, size_t count, bool with_rights,
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
    if (with_rights) ask_for_rights(&request);
    rd_kafka_DescribeTopics(client->handle, topics, request.options, request.queue);
    rd_kafka_event_t *event;
    enum weir_code code = request_await(&request, "cannot ask for topics", &event, error);
    if (code == WEIR_OK) {
        code = take_descriptions(client, infos, count, event, with_rights, error);
        rd_kafka_event_destroy(event);
    }
    request_end(&request);
    rd_kafka_TopicCollection_destroy(topics);
    free(names);
    return code;
}

enum weir_code kafka_ask_topics(struct kafka_client *client, struct kafka_topic_info *infos, size_t count,
                                const volatile bool *cancelled, struct weir_error *error)
{
    return ask_topics(client, infos, count, false, cancelled, error);
}

enum weir_code kafka_ask_topics_and_rights(struct kafka_client *client, struct kafka_topic_info *infos, size_t count,
                                           const volatile bool *cancelled, struct weir_error *error)
{
    return ask_topics(client, infos, count, true, cancelled, error);
}

/* ---- Settings ---------------------------------------------------------------------------------------------------- */

static void take_settings(const rd_kafka_ConfigResource_t *resource, struct kafka_setting *settings, size_t count)
{
    size_t known;
    const rd_kafka_ConfigEntry_t **entries = rd_kafka_ConfigResource_configs(resource, &known);
    for (size_t i = 0; i < known; i++) {
        const char *value = rd_kafka_ConfigEntry_value(entries[i]);
        for (size_t k = 0; value != NULL && k < count; k++)
            if (strcmp(rd_kafka_ConfigEntry_name(entries[i]), settings[k].name) == 0)
                (void)snprintf(settings[k].value, sizeof settings[k].value, "%s", value);
    }
}

enum weir_code kafka_ask_settings(struct kafka_client *client, rd_kafka_ResourceType_t type, const char *name,
                                  struct kafka_setting *settings, size_t count, int64_t timeout_ms,
                                  const volatile bool *cancelled, struct weir_error *error)
{
    rd_kafka_ConfigResource_t *resource = rd_kafka_ConfigResource_new(type, name);
    struct request request = request_begin(client, RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS, cancelled);
    request.timeout_ms = timeout_ms;
    rd_kafka_event_t *event;
    for (size_t i = 0; i < count; i++) settings[i].value[0] = '\0';
    rd_kafka_DescribeConfigs(client->handle, &resource, 1, request.options, request.queue);
    enum weir_code code = request_await(&request, "cannot ask for settings", &event, error);
    if (code == WEIR_OK) {
        size_t answered;
        const rd_kafka_ConfigResource_t **resources =
            rd_kafka_DescribeConfigs_result_resources(rd_kafka_event_DescribeConfigs_result(event), &answered);
        const rd_kafka_resp_err_t reason =
            answered == 1 ? rd_kafka_ConfigResource_error(resources[0]) : RD_KAFKA_RESP_ERR_UNKNOWN;
        if (reason == RD_KAFKA_RESP_ERR_NO_ERROR) take_settings(resources[0], settings, count);
        else if (reason == RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED)
            code = weir_error_set(error, WEIR_ENVIRONMENT, WEIR_REMEDY_STOP,
                                  "settings of '%s': allow this user to DescribeConfigs of the topic", name);
        else code = kafka_error(error, client, reason, NULL, "settings of '%s'", name);
        rd_kafka_event_destroy(event);
    }
    request_end(&request);
    rd_kafka_ConfigResource_destroy(resource);
    return code;
}

/* ---- Rights ------------------------------------------------------------------------------------------------------ */

static enum weir_code take_group_rights(struct kafka_client *client, const char *group, rd_kafka_event_t *event,
                                        uint32_t *rights, struct weir_error *error)
{
    size_t count, operation_count;
    const rd_kafka_ConsumerGroupDescription_t **groups =
        rd_kafka_DescribeConsumerGroups_result_groups(rd_kafka_event_DescribeConsumerGroups_result(event), &count);
    if (count != 1) return WEIR_OK;
    const rd_kafka_error_t *failure = rd_kafka_ConsumerGroupDescription_error(groups[0]);
    const rd_kafka_resp_err_t reason = failure == NULL ? RD_KAFKA_RESP_ERR_NO_ERROR : rd_kafka_error_code(failure);
    if (reason == RD_KAFKA_RESP_ERR_GROUP_ID_NOT_FOUND) return WEIR_OK;
    if (reason != RD_KAFKA_RESP_ERR_NO_ERROR)
        return kafka_error(error, client, reason, rd_kafka_error_string(failure), "group '%s'", group);
    const rd_kafka_AclOperation_t *operations =
        rd_kafka_ConsumerGroupDescription_authorized_operations(groups[0], &operation_count);
    *rights = rights_of(operations, operation_count);
    return WEIR_OK;
}

enum weir_code kafka_ask_group_rights(struct kafka_client *client, const char *group, uint32_t *rights,
                                      const volatile bool *cancelled, struct weir_error *error)
{
    struct request request = request_begin(client, RD_KAFKA_ADMIN_OP_DESCRIBECONSUMERGROUPS, cancelled);
    rd_kafka_event_t *event;
    *rights = 0;
    ask_for_rights(&request);
    rd_kafka_DescribeConsumerGroups(client->handle, &group, 1, request.options, request.queue);
    enum weir_code code = request_await(&request, "cannot ask for the group", &event, error);
    if (code == WEIR_OK) {
        code = take_group_rights(client, group, event, rights, error);
        rd_kafka_event_destroy(event);
    }
    request_end(&request);
    return code;
}

enum weir_code kafka_ask_cluster_rights(struct kafka_client *client, uint32_t *rights, const volatile bool *cancelled,
                                        struct weir_error *error)
{
    struct request request = request_begin(client, RD_KAFKA_ADMIN_OP_DESCRIBECLUSTER, cancelled);
    rd_kafka_event_t *event;
    *rights = 0;
    ask_for_rights(&request);
    rd_kafka_DescribeCluster(client->handle, request.options, request.queue);
    const enum weir_code code = request_await(&request, "cannot ask for the cluster", &event, error);
    if (code == WEIR_OK) {
        size_t count;
        const rd_kafka_AclOperation_t *operations = rd_kafka_DescribeCluster_result_authorized_operations(
            rd_kafka_event_DescribeCluster_result(event), &count);
        *rights = rights_of(operations, count);
        rd_kafka_event_destroy(event);
    }
    request_end(&request);
    return code;
}

static bool allows_writing(const rd_kafka_AclBinding_t *rule)
{
    const rd_kafka_AclOperation_t operation = rd_kafka_AclBinding_operation(rule);
    return rd_kafka_AclBinding_permission_type(rule) == RD_KAFKA_ACL_PERMISSION_TYPE_ALLOW &&
           (operation == RD_KAFKA_ACL_OPERATION_WRITE || operation == RD_KAFKA_ACL_OPERATION_ALL);
}

/* Access rules for one resource, or for all with `name` NULL: how many there are, and whether one allows writing. Where the
 * brokers keep none, librdkafka 2.8 says that there are none, and nothing of the reason. */
static enum weir_code ask_rules(struct kafka_client *client, rd_kafka_ResourceType_t type, const char *name, size_t *count,
                                bool *is_allowed, const volatile bool *cancelled, struct weir_error *error)
{
    char text[256];
    rd_kafka_event_t *event;
    rd_kafka_AclBindingFilter_t *filter = rd_kafka_AclBindingFilter_new(
        type, name, name == NULL ? RD_KAFKA_RESOURCE_PATTERN_ANY : RD_KAFKA_RESOURCE_PATTERN_MATCH, NULL, NULL,
        RD_KAFKA_ACL_OPERATION_ANY, RD_KAFKA_ACL_PERMISSION_TYPE_ANY, text, sizeof text);
    if (filter == NULL) return weir_error_set(error, WEIR_FAILED, WEIR_REMEDY_STOP, "access rules: %s", text);
    *count = 0;
    *is_allowed = false;
    struct request request = request_begin(client, RD_KAFKA_ADMIN_OP_DESCRIBEACLS, cancelled);
    rd_kafka_DescribeAcls(client->handle, filter, request.options, request.queue);
    enum weir_code code = kafka_await(client, request.queue, ANSWER_TIMEOUT_MS, cancelled, &event, error);
    if (code == WEIR_OK) {
        const rd_kafka_resp_err_t reason = rd_kafka_event_error(event);
        if (reason == RD_KAFKA_RESP_ERR_NO_ERROR) {
            const rd_kafka_AclBinding_t **rules =
                rd_kafka_DescribeAcls_result_acls(rd_kafka_event_DescribeAcls_result(event), count);
            for (size_t i = 0; i < *count; i++) *is_allowed |= allows_writing(rules[i]);
        } else if (reason != RD_KAFKA_RESP_ERR_SECURITY_DISABLED) {
            code = kafka_error(error, client, reason, rd_kafka_event_error_string(event), "access rules");
        }
        rd_kafka_event_destroy(event);
    }
    request_end(&request);
    rd_kafka_AclBinding_destroy(filter);
    return code;
}

enum weir_code kafka_ask_id_rule(struct kafka_client *client, const char *transactional_id, bool *is_allowed,
                                 const volatile bool *cancelled, struct weir_error *error)
{
    size_t count;
    bool unused;
    enum weir_code code =
        ask_rules(client, RD_KAFKA_RESOURCE_TRANSACTIONAL_ID, transactional_id, &count, is_allowed, cancelled, error);
    if (code != WEIR_OK || count > 0) return code;
    code = ask_rules(client, RD_KAFKA_RESOURCE_ANY, NULL, &count, &unused, cancelled, error);
    *is_allowed = count == 0; /* no rules are kept, or nobody has made any */
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
