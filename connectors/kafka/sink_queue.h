/* Records held back, one behind the other in one piece of memory:
 *
 *   { struct sink_queue_head, key, value, { header name, NUL, value } ... } ...
 *
 * Grows to the largest amount that was ever held. Owner: one writer, on its task thread. */
#ifndef KAFKA_SINK_QUEUE_H
#define KAFKA_SINK_QUEUE_H

#include "weir/connector.h"

struct sink_queue {
    char *bytes;
    size_t size;
    size_t capacity;
    size_t count;
};

struct sink_queued {
    uint32_t target; /* the writer's number of the topic */
    int32_t partition;
    struct weir_record record; /* as it was; headers in `headers` */
    struct weir_headers headers;
};

/* False when there is no memory: nothing was added. */
bool sink_queue_push(struct sink_queue *queue, uint32_t target, int32_t partition, const struct weir_record *record);
/* Hands every record to `each`, in order, until it answers other than WEIR_OK, and empties the queue. */
enum weir_code sink_queue_drain(struct sink_queue *queue,
                                enum weir_code (*each)(void *user, const struct sink_queued *queued,
                                                       struct weir_error *error),
                                void *user, struct weir_error *error);
void sink_queue_deinit(struct sink_queue *queue);

#endif
