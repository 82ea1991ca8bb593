#include "state/store_key.h"

#include <string.h>

enum { PART_UNSET = 1, PART_NULL, PART_BYTES, ESCAPED_ZERO = 0xff };

/* ---- Names ------------------------------------------------------------------------------------------------------- */

static void put_big_endian(struct buffer *out, uint64_t number, int size)
{
    while (size-- > 0) buffer_u8(out, (uint8_t)(number >> (8 * size)));
}

void store_key_part(struct buffer *out, struct weir_bytes part)
{
    if (!weir_is_set(part) || weir_is_null(part)) {
        buffer_u8(out, weir_is_set(part) ? PART_NULL : PART_UNSET);
        return;
    }
    buffer_u8(out, PART_BYTES);
    const char *at = part.data, *const end = part.data + part.size;
    while (at < end) {
        const char *zero = memchr(at, 0, (size_t)(end - at));
        const char *const stop = zero == NULL ? end : zero + 1;
        buffer_put(out, at, (size_t)(stop - at));
        if (zero != NULL) buffer_u8(out, ESCAPED_ZERO);
        at = stop;
    }
    buffer_u16(out, 0);
}

void store_key_group_prefix(struct buffer *out, uint32_t group)
{
    CHECK(group <= UINT16_MAX);
    put_big_endian(out, group, 2);
}

void store_key_collection_prefix(struct buffer *out, uint32_t group, const struct state_key *key)
{
    store_key_group_prefix(out, group);
    store_key_part(out, key->key);
    store_key_part(out, key->name_space);
    put_big_endian(out, key->generation, 8);
}

void store_key_encode(struct buffer *out, bool is_ordered, uint32_t group, const struct state_key *key)
{
    if (!is_ordered) {
        store_key_collection_prefix(out, group, key);
        store_key_part(out, key->element);
        return;
    }
    CHECK(key->generation == 0);
    store_key_group_prefix(out, group);
    store_key_part(out, key->name_space);
    store_key_part(out, key->element);
    store_key_part(out, key->key);
}

/* Past a part; NULL when there is none. */
static const char *skip_part(const char *at, const char *end)
{
    if (at == NULL || at == end) return NULL;
    if (*at++ != PART_BYTES) return at;
    while (end - at >= 2) {
        if (*at++ != 0) continue;
        if (*at++ != (char)ESCAPED_ZERO) return at;
    }
    return NULL;
}

bool store_key_is_element(struct weir_bytes bytes)
{
    static const char none[8];
    const char *const end = bytes.data + bytes.size;
    const char *at = bytes.size < 2 ? NULL : bytes.data + 2; /* behind the key group */
    at = skip_part(skip_part(at, end), end);
    return at != NULL && end - at >= (ptrdiff_t)sizeof none && memcmp(at, none, sizeof none) != 0;
}

static uint64_t read_big_endian(struct reader *reader, int size)
{
    uint64_t number = 0;
    while (size-- > 0) number = number << 8 | reader_u8(reader);
    return number;
}

/* `scratch` has room for it. A part ends with two bytes, so none of it is the last one. */
static struct weir_bytes read_bytes(struct reader *reader, struct buffer *scratch)
{
    char *const begin = scratch->data + scratch->size, *to = begin;
    for (const char *from = reader->next; reader->end - from >= 2;) {
        const char byte = *from++;
        const uint8_t escape = byte == 0 ? (uint8_t)*from++ : ESCAPED_ZERO;
        if (escape != ESCAPED_ZERO) {
            reader->next = from;
            if (escape != 0) reader->failed = true;
            scratch->size += (size_t)(to - begin);
            return (struct weir_bytes){ begin, (size_t)(to - begin) };
        }
        *to++ = byte;
    }
    reader->failed = true;
    return (struct weir_bytes){ 0 };
}

static struct weir_bytes read_part(struct reader *reader, struct buffer *scratch)
{
    switch (reader_u8(reader)) {
    case PART_UNSET: return (struct weir_bytes){ 0 };
    case PART_NULL: return WEIR_NULL;
    case PART_BYTES: return read_bytes(reader, scratch);
    default: reader->failed = true; return (struct weir_bytes){ 0 };
    }
}

const char *store_key_decode(struct weir_bytes bytes, bool is_ordered, struct buffer *scratch, uint32_t *group,
                             struct state_key *key)
{
    struct reader reader;
    buffer_clear(scratch);
    if (!buffer_reserve(scratch, bytes.size + 1)) return "cannot be read: out of memory";
    reader_init(&reader, bytes.data, bytes.size);
    *key = (struct state_key){ 0 };
    *group = (uint32_t)read_big_endian(&reader, 2);
    if (is_ordered) {
        key->name_space = read_part(&reader, scratch);
        key->element = read_part(&reader, scratch);
        key->key = read_part(&reader, scratch);
    } else {
        key->key = read_part(&reader, scratch);
        key->name_space = read_part(&reader, scratch);
        key->generation = read_big_endian(&reader, 8);
        key->element = read_part(&reader, scratch);
    }
    if (reader.failed || reader_left(&reader) > 0 || !weir_is_set(key->key)) return "has a name that is none";
    key->hash = hash_key(key->key);
    return NULL;
}

/* ---- Values ------------------------------------------------------------------------------------------------------ */

void store_value_encode(struct buffer *out, uint32_t version, struct weir_bytes value)
{
    buffer_varint(out, (uint64_t)version << 1 | weir_is_null(value));
    buffer_put(out, value.data, value.size);
}

bool store_value_decode(struct weir_bytes bytes, uint32_t *version, struct weir_bytes *value)
{
    struct reader reader;
    reader_init(&reader, bytes.data, bytes.size);
    const uint64_t head = reader_varint(&reader);
    const bool is_null = head & 1;
    *version = (uint32_t)(head >> 1);
    *value = is_null ? WEIR_NULL : (struct weir_bytes){ reader.next, reader_left(&reader) };
    return !reader.failed && head >> 1 <= UINT32_MAX && (!is_null || reader_left(&reader) == 0);
}

void store_stamped_encode(struct buffer *out, int64_t stamp_ms, struct weir_bytes value)
{
    buffer_i64(out, stamp_ms);
    buffer_u8(out, weir_is_null(value));
    buffer_put(out, value.data, value.size);
}

bool store_stamped_decode(struct weir_bytes bytes, int64_t *stamp_ms, struct weir_bytes *value)
{
    struct reader reader;
    reader_init(&reader, bytes.data, bytes.size);
    *stamp_ms = reader_i64(&reader);
    const bool is_null = reader_u8(&reader) == 1;
    *value = is_null ? WEIR_NULL : (struct weir_bytes){ reader.next, reader_left(&reader) };
    return !reader.failed;
}
