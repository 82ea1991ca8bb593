#include "record/wire.h"

#include <string.h>

enum { HAS_KEY = 1, HAS_VALUE = 2, HAS_HEADERS = 4 };

void wire_put(struct buffer *out, const struct weir_record *record)
{
    const bool has_key = weir_is_set(record->key), has_value = weir_is_set(record->value);
    const bool has_headers = record->headers != NULL;
    buffer_u8(out, (uint8_t)((has_key ? HAS_KEY : 0) | (has_value ? HAS_VALUE : 0) | (has_headers ? HAS_HEADERS : 0)));
    buffer_u8(out, (uint8_t)record->time_type);
    buffer_i64(out, record->time_ms);
    buffer_u32(out, record->key_hash);
    if (has_key) buffer_bytes(out, record->key);
    if (has_value) buffer_bytes(out, record->value);
    if (!has_headers) return;
    buffer_varint(out, record->headers->count);
    for (size_t i = 0; i < record->headers->count; i++) {
        const struct weir_header *header = &record->headers->items[i];
        const bool is_set = weir_is_set(header->value);
        buffer_bytes(out, (struct weir_bytes){ header->name, strlen(header->name) + 1 });
        buffer_u8(out, is_set);
        if (is_set) buffer_bytes(out, header->value);
    }
}

/* A text that can be borrowed as it lies there: its NUL is among its bytes. */
static const char *take_name(struct reader *in)
{
    const struct weir_bytes bytes = reader_bytes(in);
    if (!in->failed && bytes.size > 0 && memchr(bytes.data, '\0', bytes.size) == bytes.data + bytes.size - 1)
        return bytes.data;
    in->failed = true;
    return "";
}

static uint8_t take_small(struct reader *in, uint8_t highest)
{
    const uint8_t number = reader_u8(in);
    if (number > highest) in->failed = true;
    return number;
}

static const struct weir_headers *take_headers(struct reader *in, struct arena *arena, bool *no_memory)
{
    const uint64_t count = reader_varint(in);
    if (count > reader_left(in) / 3) in->failed = true; /* a header takes as much at least */
    if (in->failed) return NULL;
    struct weir_headers *headers = arena_alloc(arena, sizeof *headers);
    struct weir_header *items = arena_alloc(arena, (size_t)(count + 1) * sizeof *items);
    *no_memory = headers == NULL || items == NULL;
    for (uint64_t i = 0; !*no_memory && i < count; i++) {
        items[i] = (struct weir_header){ .name = take_name(in) };
        if (take_small(in, 1) == 1) items[i].value = reader_bytes(in);
    }
    if (!*no_memory) *headers = (struct weir_headers){ .count = (size_t)count, .items = items };
    return headers;
}

bool wire_take(struct reader *in, struct arena *arena, struct weir_record *record, bool *no_memory)
{
    *record = (struct weir_record){ 0 };
    *no_memory = false;
    if (in->failed || reader_left(in) == 0) return false;
    const uint8_t flags = take_small(in, HAS_KEY | HAS_VALUE | HAS_HEADERS);
    record->time_type = (enum weir_time_type)take_small(in, WEIR_TIME_APPEND);
    record->time_ms = reader_i64(in);
    record->key_hash = reader_u32(in);
    if (flags & HAS_KEY) record->key = reader_bytes(in);
    if (flags & HAS_VALUE) record->value = reader_bytes(in);
    if (flags & HAS_HEADERS) record->headers = take_headers(in, arena, no_memory);
    return !in->failed && !*no_memory;
}
