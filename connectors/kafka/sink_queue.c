#include "sink_queue.h"

#include <stdlib.h>
#include <string.h>

#define SIZE_NULL UINT32_MAX

struct sink_queue_head {
    int64_t time_ms;
    uint32_t target;
    int32_t partition;
    uint32_t key_size; /* SIZE_NULL = null */
    uint32_t value_size;
    uint32_t header_count;
    uint32_t time_type;
};

/* ---- In ---------------------------------------------------------------------------------------------------------- */

static uint32_t size_word(struct weir_bytes bytes)
{
    return weir_is_set(bytes) && !weir_is_null(bytes) ? (uint32_t)bytes.size : SIZE_NULL;
}

static size_t header_count(const struct weir_record *record)
{
    return record->headers == NULL ? 0 : record->headers->count;
}

static size_t size_of(const struct weir_record *record)
{
    size_t size = sizeof(struct sink_queue_head) + record->key.size + record->value.size;
    for (size_t i = 0; i < header_count(record); i++) {
        const struct weir_header *header = &record->headers->items[i];
        size += strlen(header->name) + 1 + sizeof(uint32_t) + header->value.size;
    }
    return size;
}

static bool make_room(struct sink_queue *queue, size_t more)
{
    if (more <= queue->capacity - queue->size) return true;
    size_t capacity = queue->capacity < 4096 ? 4096 : queue->capacity;
    while (capacity - queue->size < more) capacity *= 2;
    char *bytes = realloc(queue->bytes, capacity);
    if (bytes == NULL) return false;
    queue->bytes = bytes;
    queue->capacity = capacity;
    return true;
}

static void put(struct sink_queue *queue, const void *data, size_t size)
{
    if (size > 0) memcpy(queue->bytes + queue->size, data, size);
    queue->size += size;
}

bool sink_queue_push(struct sink_queue *queue, uint32_t target, int32_t partition, const struct weir_record *record)
{
    if (!make_room(queue, size_of(record))) return false;
    const struct sink_queue_head head = {
        .time_ms = record->time_ms,
        .target = target,
        .partition = partition,
        .key_size = size_word(record->key),
        .value_size = size_word(record->value),
        .header_count = (uint32_t)header_count(record),
        .time_type = record->time_type,
    };
    put(queue, &head, sizeof head);
    put(queue, record->key.data, record->key.size);
    put(queue, record->value.data, record->value.size);
    for (size_t i = 0; i < head.header_count; i++) {
        const struct weir_header *header = &record->headers->items[i];
        const uint32_t size = size_word(header->value);
        put(queue, header->name, strlen(header->name) + 1);
        put(queue, &size, sizeof size);
        put(queue, header->value.data, header->value.size);
    }
    queue->count++;
    return true;
}

/* ---- Out --------------------------------------------------------------------------------------------------------- */

static const char *take_bytes(const char *at, uint32_t size, struct weir_bytes *bytes)
{
    if (size == SIZE_NULL) {
        *bytes = WEIR_NULL;
        return at;
    }
    *bytes = (struct weir_bytes){ at, size };
    return at + size;
}

static const char *take_headers(const char *at, uint32_t count, struct weir_header *headers)
{
    for (uint32_t i = 0; i < count; i++) {
        uint32_t size;
        headers[i].name = at;
        at += strlen(at) + 1;
        memcpy(&size, at, sizeof size);
        at = take_bytes(at + sizeof size, size, &headers[i].value);
    }
    return at;
}

static const char *take_record(const char *at, const struct sink_queue_head *head, struct weir_header *headers,
                               struct sink_queued *queued)
{
    *queued = (struct sink_queued){ .target = head->target, .partition = head->partition };
    at = take_bytes(at, head->key_size, &queued->record.key);
    at = take_bytes(at, head->value_size, &queued->record.value);
    at = take_headers(at, head->header_count, headers);
    queued->record.time_ms = head->time_ms;
    queued->record.time_type = (enum weir_time_type)head->time_type;
    queued->headers = (struct weir_headers){ head->header_count, headers };
    queued->record.headers = head->header_count == 0 ? NULL : &queued->headers;
    return at;
}

static enum weir_code drain_one(const char **at,
                                enum weir_code (*each)(void *user, const struct sink_queued *queued,
                                                       struct weir_error *error),
                                void *user, struct weir_error *error)
{
    struct sink_queue_head head;
    struct weir_header few[16], *many = NULL;
    struct sink_queued queued;
    memcpy(&head, *at, sizeof head);
    if (head.header_count > sizeof few / sizeof few[0]) {
        many = malloc(head.header_count * sizeof *many);
        if (many == NULL) return weir_error_set(error, WEIR_NO_MEMORY, WEIR_REMEDY_STOP, "out of memory");
    }
    *at = take_record(*at + sizeof head, &head, many != NULL ? many : few, &queued);
    const enum weir_code code = each(user, &queued, error);
    free(many);
    return code;
}

enum weir_code sink_queue_drain(struct sink_queue *queue,
                                enum weir_code (*each)(void *user, const struct sink_queued *queued,
                                                       struct weir_error *error),
                                void *user, struct weir_error *error)
{
    enum weir_code code = WEIR_OK;
    const char *at = queue->bytes;
    for (size_t i = 0; code == WEIR_OK && i < queue->count; i++) code = drain_one(&at, each, user, error);
    queue->size = queue->count = 0;
    return code;
}

void sink_queue_deinit(struct sink_queue *queue)
{
    free(queue->bytes);
    *queue = (struct sink_queue){ 0 };
}
