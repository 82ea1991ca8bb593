/* Creates a topic, or deletes it. Usage: topic BROKERS create|delete TOPIC [PARTITIONS] */
#include "bench.h"

enum { TIMEOUT_MS = 30000 };

static void take_result(rd_kafka_queue_t *queue, const char *name)
{
    rd_kafka_event_t *event = rd_kafka_queue_poll(queue, TIMEOUT_MS);
    if (event == NULL) bench_die(name, "the broker does not answer");
    if (rd_kafka_event_error(event) != 0) bench_die(name, rd_kafka_event_error_string(event));
    size_t count = 0;
    const rd_kafka_topic_result_t **results =
        rd_kafka_event_type(event) == RD_KAFKA_EVENT_CREATETOPICS_RESULT
            ? rd_kafka_CreateTopics_result_topics(rd_kafka_event_CreateTopics_result(event), &count)
            : rd_kafka_DeleteTopics_result_topics(rd_kafka_event_DeleteTopics_result(event), &count);
    const rd_kafka_resp_err_t code = count == 0 ? RD_KAFKA_RESP_ERR_UNKNOWN : rd_kafka_topic_result_error(results[0]);
    if (code != 0 && code != RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS) bench_die(name, rd_kafka_err2str(code));
    rd_kafka_event_destroy(event);
}

int main(int argc, char **argv)
{
    if (argc < 4) bench_die("usage", "topic BROKERS create|delete TOPIC [PARTITIONS]");
    rd_kafka_t *handle = bench_open(RD_KAFKA_PRODUCER, bench_conf(argv[1]));
    rd_kafka_queue_t *queue = rd_kafka_queue_new(handle);
    char text[300];
    if (strcmp(argv[2], "create") == 0) {
        const int partitions = argc > 4 ? atoi(argv[4]) : 1;
        rd_kafka_NewTopic_t *topic = rd_kafka_NewTopic_new(argv[3], partitions, 1, text, sizeof text);
        if (topic == NULL) bench_die(argv[3], text);
        rd_kafka_CreateTopics(handle, &topic, 1, NULL, queue);
        take_result(queue, argv[3]);
        while (bench_partitions(handle, argv[3]) != partitions) { } /* not all of the broker knows of it at once */
    } else {
        rd_kafka_DeleteTopic_t *topic = rd_kafka_DeleteTopic_new(argv[3]);
        rd_kafka_DeleteTopics(handle, &topic, 1, NULL, queue);
        take_result(queue, argv[3]);
    }
    return 0;
}
