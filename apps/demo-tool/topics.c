#include <stdlib.h>
#include <string.h>

#include "tool.h"

static const char *const no_properties[] = { NULL };

/* Waits for the answer of an admin request. NULL after a sentence. */
static rd_kafka_event_t *await(rd_kafka_queue_t *queue, const char *what)
{
    rd_kafka_event_t *event = rd_kafka_queue_poll(queue, PATIENCE_MS);
    if (event == NULL) {
        tool_fail("%s: no answer within %d s", what, PATIENCE_MS / 1000);
    } else if (rd_kafka_event_error(event) != RD_KAFKA_RESP_ERR_NO_ERROR) {
        tool_fail("%s: %s", what, rd_kafka_event_error_string(event));
        rd_kafka_event_destroy(event);
        event = NULL;
    }
    return event;
}

/* The first failure among topics; `tolerated` is none. */
static int check_topics(const rd_kafka_topic_result_t **results, size_t count, rd_kafka_resp_err_t tolerated)
{
    for (size_t i = 0; i < count; i++) {
        const rd_kafka_resp_err_t error = rd_kafka_topic_result_error(results[i]);
        if (error != RD_KAFKA_RESP_ERR_NO_ERROR && error != tolerated)
            return tool_fail("topic %s: %s", rd_kafka_topic_result_name(results[i]), rd_kafka_err2str(error));
    }
    return 0;
}

static int create(rd_kafka_t *handle, rd_kafka_queue_t *queue, rd_kafka_NewTopic_t **topics, size_t count)
{
    size_t result_count;
    rd_kafka_CreateTopics(handle, topics, count, NULL, queue);
    rd_kafka_event_t *event = await(queue, "creating topics");
    if (event == NULL) return 1;
    const rd_kafka_topic_result_t **results =
        rd_kafka_CreateTopics_result_topics(rd_kafka_event_CreateTopics_result(event), &result_count);
    const int code = check_topics(results, result_count, RD_KAFKA_RESP_ERR_NO_ERROR);
    rd_kafka_event_destroy(event);
    return code;
}

/* "name:partitions" to a request; the cluster's default replication. NULL after a sentence. */
static rd_kafka_NewTopic_t *new_topic(char *argument)
{
    char text[300];
    char *colon = strchr(argument, ':');
    const long partitions = colon != NULL ? strtol(colon + 1, NULL, 10) : 0;
    if (partitions < 1 || partitions > PARTITIONS_MAX) {
        tool_fail("'%s' is not TOPIC:PARTITIONS", argument);
        return NULL;
    }
    *colon = '\0';
    rd_kafka_NewTopic_t *topic = rd_kafka_NewTopic_new(argument, (int)partitions, -1, text, sizeof(text));
    if (topic == NULL) tool_fail("%s", text);
    return topic;
}

int command_create(struct tool *tool)
{
    rd_kafka_NewTopic_t *topics[16];
    size_t count = 0;
    int code = 1;
    rd_kafka_t *handle = NULL;
    rd_kafka_queue_t *queue = NULL;
    if (tool->argc >= 16) return tool_fail("at most 16 topics at once");
    for (int i = -1; i < tool->argc; i++) {
        if ((topics[count] = new_topic(tool->argv[i])) == NULL) goto done; /* argv[-1] is the first topic */
        count++;
    }
    if ((handle = tool_open(tool, RD_KAFKA_PRODUCER, no_properties)) == NULL) goto done;
    queue = rd_kafka_queue_new(handle);
    code = create(handle, queue, topics, count);
done:
    rd_kafka_NewTopic_destroy_array(topics, count);
    if (queue != NULL) rd_kafka_queue_destroy(queue);
    tool_close(handle);
    return code;
}

static int delete_topic(rd_kafka_t *handle, rd_kafka_queue_t *queue, const char *name)
{
    size_t count;
    rd_kafka_DeleteTopic_t *topic = rd_kafka_DeleteTopic_new(name);
    rd_kafka_DeleteTopics(handle, &topic, 1, NULL, queue);
    rd_kafka_DeleteTopic_destroy(topic);
    rd_kafka_event_t *event = await(queue, "deleting a topic");
    if (event == NULL) return 1;
    const rd_kafka_topic_result_t **results =
        rd_kafka_DeleteTopics_result_topics(rd_kafka_event_DeleteTopics_result(event), &count);
    const int code = check_topics(results, count, RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART);
    rd_kafka_event_destroy(event);
    return code;
}

static int delete_group(rd_kafka_t *handle, rd_kafka_queue_t *queue, const char *name)
{
    size_t count;
    rd_kafka_DeleteGroup_t *group = rd_kafka_DeleteGroup_new(name);
    rd_kafka_DeleteGroups(handle, &group, 1, NULL, queue);
    rd_kafka_DeleteGroup_destroy(group);
    rd_kafka_event_t *event = await(queue, "deleting a group");
    if (event == NULL) return 1;
    const rd_kafka_group_result_t **results =
        rd_kafka_DeleteGroups_result_groups(rd_kafka_event_DeleteGroups_result(event), &count);
    const rd_kafka_error_t *error = count == 1 ? rd_kafka_group_result_error(results[0]) : NULL;
    int code = 0;
    if (error != NULL && rd_kafka_error_code(error) != RD_KAFKA_RESP_ERR_GROUP_ID_NOT_FOUND)
        code = tool_fail("group %s: %s", name, rd_kafka_error_string(error));
    rd_kafka_event_destroy(event);
    return code;
}

int command_delete(struct tool *tool)
{
    int code = 0;
    rd_kafka_t *handle = tool_open(tool, RD_KAFKA_PRODUCER, no_properties);
    if (handle == NULL) return 1;
    rd_kafka_queue_t *queue = rd_kafka_queue_new(handle);
    for (int i = -1; i < tool->argc; i++) {
        const char *name = tool->argv[i];
        code |= strncmp(name, "group=", 6) == 0 ? delete_group(handle, queue, name + 6)
                                                : delete_topic(handle, queue, name);
    }
    rd_kafka_queue_destroy(queue);
    tool_close(handle);
    return code;
}
