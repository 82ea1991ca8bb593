#include "state/delta.h"

#include <endian.h>

enum {
    FLAG_REMOVED = 1,
    FLAG_NULL_VALUE = 2,
    FLAG_NULL_KEY = 4,
    FLAG_NAME_SPACE = 8,
    FLAG_ELEMENT = 16,
    FLAG_GENERATION = 32,
    FLAG_VERSION = 64,
    FLAG_STAMP = 128,
};

/* ---- Writing ----------------------------------------------------------------------------------------------------- */

static size_t varint_size(uint64_t number)
{
    size_t size = 1;
    while (number >= 0x80) {
        number >>= 7;
        size++;
    }
    return size;
}

static char *put_varint(char *at, uint64_t number)
{
    while (number >= 0x80) {
        *at++ = (char)(number | 0x80);
        number >>= 7;
    }
    *at++ = (char)number;
    return at;
}

/* Keys and numbers are short: a call for each would cost more than the copy. */
static char *put_bytes(char *at, struct weir_bytes bytes)
{
    const size_t size = bytes.size;
    at = put_varint(at, size);
    if (LIKELY(size >= 8 && size <= 16)) {
        uint64_t first, last;
        memcpy(&first, bytes.data, 8);
        memcpy(&last, bytes.data + size - 8, 8);
        memcpy(at, &first, 8);
        memcpy(at + size - 8, &last, 8);
    } else {
        memcpy(at, bytes.data, size);
    }
    return at + size;
}

static char *put_stamp(char *at, int64_t stamp_ms)
{
    const uint64_t little = htole64((uint64_t)stamp_ms);
    memcpy(at, &little, sizeof little);
    return at + sizeof little;
}

static size_t bytes_size(struct weir_bytes bytes)
{
    return varint_size(bytes.size) + bytes.size;
}

struct weir_bytes head_encode(const struct head *head, char bytes[HEAD_BYTES_MAX])
{
    char *at = put_varint(bytes, head->generation);
    if (head->next > 0) at = put_varint(put_varint(at, head->first), head->next - head->first);
    return (struct weir_bytes){ bytes, (size_t)(at - bytes) };
}

struct weir_bytes list_element_encode(uint64_t sequence, char bytes[LIST_ELEMENT_BYTES])
{
    const uint64_t big = htobe64(sequence);
    memcpy(bytes, &big, LIST_ELEMENT_BYTES);
    return (struct weir_bytes){ bytes, LIST_ELEMENT_BYTES };
}

static bool has_value(const struct entry *entry)
{
    return !(entry->flags & (ENTRY_REMOVED | ENTRY_NULL));
}

/* As it is written. */
static struct weir_bytes value_of(const struct entry *entry, char head[HEAD_BYTES_MAX])
{
    const struct weir_bytes value = entry_value(entry);
    if (LIKELY(!(entry_shape(entry) & SHAPE_HEAD))) return value;
    struct head copy;
    memcpy(&copy, value.data, sizeof copy);
    return head_encode(&copy, head);
}

/* A time lies in the entry as it is written. */
static bool has_stamp(const struct entry *entry)
{
    return UNLIKELY(entry_is_stamped(entry)) && !(entry->flags & ENTRY_REMOVED);
}

size_t delta_head_growth(uint64_t count)
{
    return varint_size(count + 1) - varint_size(count);
}

size_t delta_size(const struct entry *entry, const struct state_key *key, uint32_t group, uint32_t version)
{
    char head[HEAD_BYTES_MAX];
    size_t size = 1 + varint_size(entry_state(entry)) + varint_size(group);
    if (!weir_is_null(key->key)) size += bytes_size(key->key);
    if (weir_is_set(key->name_space)) size += bytes_size(key->name_space);
    if (key->generation > 0) size += varint_size(key->generation);
    if (weir_is_set(key->element)) size += bytes_size(key->element);
    if (UNLIKELY(entry->flags & ENTRY_OLD)) size += varint_size(version);
    if (has_stamp(entry)) size += ENTRY_STAMP_BYTES;
    if (has_value(entry)) size += bytes_size(value_of(entry, head));
    return size;
}

static uint8_t flags_of(const struct entry *entry)
{
    const uint32_t shape = entry_shape(entry);
    unsigned flags = 0;
    if (LIKELY(shape == 0 && !(entry->flags & (ENTRY_REMOVED | ENTRY_NULL | ENTRY_OLD)))) return 0;
    if (entry->flags & ENTRY_REMOVED) flags |= FLAG_REMOVED;
    else if (entry->flags & ENTRY_NULL) flags |= FLAG_NULL_VALUE;
    if (shape & SHAPE_NULL_KEY) flags |= FLAG_NULL_KEY;
    if (shape & SHAPE_NAME_SPACE) flags |= FLAG_NAME_SPACE;
    if (shape & SHAPE_ELEMENT) flags |= FLAG_ELEMENT;
    if (shape & SHAPE_GENERATION) flags |= FLAG_GENERATION;
    if (entry->flags & ENTRY_OLD) flags |= FLAG_VERSION;
    if (has_stamp(entry)) flags |= FLAG_STAMP;
    return (uint8_t)flags;
}

char *delta_write(char *at, const struct entry *entry, uint32_t group, uint32_t version)
{
    char head[HEAD_BYTES_MAX];
    const struct state_key key = entry_key(entry);
    *at++ = (char)flags_of(entry);
    at = put_varint(at, entry_state(entry));
    at = put_varint(at, group);
    if (!weir_is_null(key.key)) at = put_bytes(at, key.key);
    if (weir_is_set(key.name_space)) at = put_bytes(at, key.name_space);
    if (key.generation > 0) at = put_varint(at, key.generation);
    if (weir_is_set(key.element)) at = put_bytes(at, key.element);
    if (UNLIKELY(entry->flags & ENTRY_OLD)) at = put_varint(at, version);
    if (has_stamp(entry)) at = put_stamp(at, entry_stamp(entry));
    if (has_value(entry)) at = put_bytes(at, value_of(entry, head));
    return at;
}

/* More than flags, numbers and lengths ever take: a byte, eight varints and a time. */
enum { APPENDED_MAX = 1 + 8 * 10 + 8 };

void delta_append(struct buffer *out, const struct delta_unit *unit)
{
    const struct state_key *key = &unit->key;
    const bool is_null = weir_is_null(unit->value), is_removed = !weir_is_set(unit->value);
    unsigned flags = is_removed ? FLAG_REMOVED : is_null ? FLAG_NULL_VALUE : 0;
    if (weir_is_null(key->key)) flags |= FLAG_NULL_KEY;
    if (weir_is_set(key->name_space)) flags |= FLAG_NAME_SPACE;
    if (weir_is_set(key->element)) flags |= FLAG_ELEMENT;
    if (key->generation > 0) flags |= FLAG_GENERATION;
    if (unit->has_version) flags |= FLAG_VERSION;
    if (unit->has_stamp) flags |= FLAG_STAMP;
    if (!buffer_reserve(out, APPENDED_MAX + key->key.size + key->name_space.size + key->element.size + unit->value.size))
        return;
    char *at = out->data + out->size;
    *at++ = (char)flags;
    at = put_varint(at, unit->state);
    at = put_varint(at, unit->group);
    if (!weir_is_null(key->key)) at = put_bytes(at, key->key);
    if (weir_is_set(key->name_space)) at = put_bytes(at, key->name_space);
    if (key->generation > 0) at = put_varint(at, key->generation);
    if (weir_is_set(key->element)) at = put_bytes(at, key->element);
    if (unit->has_version) at = put_varint(at, unit->version);
    if (unit->has_stamp) at = put_stamp(at, unit->stamp_ms);
    if (!is_removed && !is_null) at = put_bytes(at, unit->value);
    out->size = (size_t)(at - out->data);
}

/* ---- Reading ----------------------------------------------------------------------------------------------------- */

static struct weir_bytes take_bytes(struct reader *reader)
{
    const uint64_t size = reader_varint(reader);
    const char *data = reader_skip(reader, size);
    return data == NULL ? (struct weir_bytes){ 0 } : (struct weir_bytes){ data, size };
}

static uint32_t take_u32(struct reader *reader)
{
    const uint64_t number = reader_varint(reader);
    if (number > UINT32_MAX) reader->failed = true;
    return (uint32_t)number;
}

const char *delta_read(struct reader *reader, struct delta_unit *unit)
{
    const uint8_t flags = reader_u8(reader);
    if ((flags & FLAG_GENERATION) && !(flags & FLAG_ELEMENT)) return "has a generation, but no element";
    if ((flags & FLAG_REMOVED) && (flags & FLAG_NULL_VALUE)) return "is removed and has a null value";
    if ((flags & FLAG_REMOVED) && (flags & FLAG_STAMP)) return "is removed and has a time";
    *unit = (struct delta_unit){ 0 };
    unit->state = take_u32(reader);
    unit->group = take_u32(reader);
    unit->key.key = flags & FLAG_NULL_KEY ? WEIR_NULL : take_bytes(reader);
    if (flags & FLAG_NAME_SPACE) unit->key.name_space = take_bytes(reader);
    if (flags & FLAG_GENERATION) {
        unit->key.generation = reader_varint(reader);
        if (unit->key.generation == 0) reader->failed = true;
    }
    if (flags & FLAG_ELEMENT) unit->key.element = take_bytes(reader);
    unit->has_version = (flags & FLAG_VERSION) != 0;
    if (unit->has_version) unit->version = take_u32(reader);
    unit->has_stamp = (flags & FLAG_STAMP) != 0;
    if (unit->has_stamp) unit->stamp_ms = reader_i64(reader);
    if (flags & FLAG_NULL_VALUE) unit->value = WEIR_NULL;
    else if (!(flags & FLAG_REMOVED)) unit->value = take_bytes(reader);
    return reader->failed ? "is cut off, or has a size that is no number" : NULL;
}

bool head_decode(struct weir_bytes bytes, bool is_list, struct head *head)
{
    struct reader reader;
    reader_init(&reader, bytes.data, bytes.size);
    *head = (struct head){ .generation = reader_varint(&reader) };
    if (is_list) {
        head->first = reader_varint(&reader);
        const uint64_t count = reader_varint(&reader);
        if (count > UINT64_MAX - head->first) return false;
        head->next = head->first + count;
    }
    return !reader.failed && reader_left(&reader) == 0 && head->generation > 0;
}

uint64_t list_element_decode(struct weir_bytes element)
{
    uint64_t big;
    CHECK(element.size == sizeof big);
    memcpy(&big, element.data, sizeof big);
    return be64toh(big);
}
