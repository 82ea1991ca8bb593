#include "state/delta.h"

enum {
    FLAG_REMOVED = 1,
    FLAG_NULL_VALUE = 2,
    FLAG_NULL_KEY = 4,
    FLAG_NAME_SPACE = 8,
    FLAG_ELEMENT = 16,
    FLAG_GENERATION = 32,
    FLAGS_KNOWN = 63,
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

static char *put_bytes(char *at, struct weir_bytes bytes)
{
    at = put_varint(at, bytes.size);
    memcpy(at, bytes.data, bytes.size);
    return at + bytes.size;
}

static size_t bytes_size(struct weir_bytes bytes)
{
    return varint_size(bytes.size) + bytes.size;
}

static bool has_value(const struct entry *entry)
{
    return !(entry->flags & (ENTRY_REMOVED | ENTRY_NULL));
}

size_t delta_size(const struct entry *entry, uint32_t group)
{
    const struct state_key key = entry_key(entry);
    size_t size = 1 + varint_size(entry_state(entry)) + varint_size(group);
    if (!weir_is_null(key.key)) size += bytes_size(key.key);
    if (weir_is_set(key.name_space)) size += bytes_size(key.name_space);
    if (weir_is_set(key.element)) size += bytes_size(key.element);
    if (has_value(entry)) size += bytes_size(entry_value(entry));
    return size;
}

static uint8_t flags_of(const struct entry *entry)
{
    const uint32_t shape = entry_shape(entry);
    unsigned flags = 0;
    if (entry->flags & ENTRY_REMOVED) flags |= FLAG_REMOVED;
    else if (entry->flags & ENTRY_NULL) flags |= FLAG_NULL_VALUE;
    if (shape & SHAPE_NULL_KEY) flags |= FLAG_NULL_KEY;
    if (shape & SHAPE_NAME_SPACE) flags |= FLAG_NAME_SPACE;
    if (shape & SHAPE_ELEMENT) flags |= FLAG_ELEMENT;
    return (uint8_t)flags;
}

char *delta_write(char *at, const struct entry *entry, uint32_t group)
{
    const struct state_key key = entry_key(entry);
    *at++ = (char)flags_of(entry);
    at = put_varint(at, entry_state(entry));
    at = put_varint(at, group);
    if (!weir_is_null(key.key)) at = put_bytes(at, key.key);
    if (weir_is_set(key.name_space)) at = put_bytes(at, key.name_space);
    if (weir_is_set(key.element)) at = put_bytes(at, key.element);
    if (has_value(entry)) at = put_bytes(at, entry_value(entry));
    return at;
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
    if (flags & ~FLAGS_KNOWN) return "has flags that this version does not know";
    if (flags & FLAG_GENERATION) return "has a generation, which this version does not know";
    if ((flags & FLAG_REMOVED) && (flags & FLAG_NULL_VALUE)) return "is removed and has a null value";
    *unit = (struct delta_unit){ 0 };
    unit->state = take_u32(reader);
    unit->group = take_u32(reader);
    unit->key.key = flags & FLAG_NULL_KEY ? WEIR_NULL : take_bytes(reader);
    if (flags & FLAG_NAME_SPACE) unit->key.name_space = take_bytes(reader);
    if (flags & FLAG_ELEMENT) unit->key.element = take_bytes(reader);
    if (flags & FLAG_NULL_VALUE) unit->value = WEIR_NULL;
    else if (!(flags & FLAG_REMOVED)) unit->value = take_bytes(reader);
    return reader->failed ? "is cut off, or has a size that is no number" : NULL;
}
