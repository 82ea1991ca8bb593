#include "state/store_key.h"

#include <endian.h>
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

/* The end of the part, which is at the first zero that is none of its own; NULL when there is none. */
static const char *find_end(const char *at, const char *end, bool *has_zeroes)
{
    *has_zeroes = false;
    while (at < end && (at = memchr(at, 0, (size_t)(end - at))) != NULL && end - at >= 2) {
        if (at[1] != (char)ESCAPED_ZERO) return at;
        *has_zeroes = true;
        at += 2;
    }
    return NULL;
}

/* Zeroes of the part without what escapes them, into `scratch`, which has room for it. */
static struct weir_bytes unescape(struct buffer *scratch, const char *from, const char *end)
{
    char *const begin = scratch->data + scratch->size, *to = begin;
    for (const char *zero; (zero = memchr(from, 0, (size_t)(end - from))) != NULL; from = zero + 2) {
        memcpy(to, from, (size_t)(zero + 1 - from));
        to += zero + 1 - from;
    }
    memcpy(to, from, (size_t)(end - from));
    to += end - from;
    scratch->size += (size_t)(to - begin);
    return (struct weir_bytes){ begin, (size_t)(to - begin) };
}

/* A part, and what comes behind it; NULL when it is none. */
static inline const char *read_part(const char *at, const char *end, struct buffer *scratch, struct weir_bytes *part)
{
    bool has_zeroes;
    *part = (struct weir_bytes){ 0 };
    if (at == NULL || at == end) return NULL;
    const char kind = *at++;
    if (kind == PART_UNSET) return at;
    if (kind == PART_NULL) *part = WEIR_NULL;
    if (kind != PART_BYTES) return kind == PART_NULL ? at : NULL;
    const char *const stop = find_end(at, end, &has_zeroes);
    if (stop == NULL || stop[1] != 0) return NULL;
    *part = has_zeroes ? unescape(scratch, at, stop) : (struct weir_bytes){ at, (size_t)(stop - at) };
    return stop + 2;
}

static inline const char *read_generation(const char *at, const char *end, uint64_t *generation)
{
    uint64_t big;
    if (at == NULL || end - at < (ptrdiff_t)sizeof big) return NULL;
    memcpy(&big, at, sizeof big);
    *generation = be64toh(big);
    return at + sizeof big;
}

const char *store_key_decode(struct weir_bytes bytes, bool is_ordered, struct buffer *scratch, uint32_t *group,
                             struct state_key *key)
{
    const char *const end = bytes.data + bytes.size;
    buffer_clear(scratch);
    if (!buffer_reserve(scratch, bytes.size + 1)) return "cannot be read: out of memory";
    *key = (struct state_key){ 0 };
    const char *at = bytes.size < 2 ? NULL : bytes.data + 2;
    *group = at == NULL ? 0 : (uint32_t)(uint8_t)bytes.data[0] << 8 | (uint8_t)bytes.data[1];
    if (is_ordered) {
        at = read_part(at, end, scratch, &key->name_space);
        at = read_part(at, end, scratch, &key->element);
        at = read_part(at, end, scratch, &key->key);
    } else {
        at = read_part(at, end, scratch, &key->key);
        at = read_part(at, end, scratch, &key->name_space);
        at = read_generation(at, end, &key->generation);
        at = read_part(at, end, scratch, &key->element);
    }
    if (at != end || !weir_is_set(key->key)) return "has a name that is none";
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
    if (LIKELY(bytes.size > 0 && (uint8_t)bytes.data[0] < 0x80 && !(bytes.data[0] & 1))) {
        *version = (uint8_t)bytes.data[0] >> 1;
        *value = (struct weir_bytes){ bytes.data + 1, bytes.size - 1 };
        return true;
    }
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
