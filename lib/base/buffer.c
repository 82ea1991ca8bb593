#include "base/buffer.h"

#include <endian.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"

enum { CAPACITY_MIN = 256, VARINT_BYTES_MAX = 10 };

void buffer_init(struct buffer *buffer)
{
    *buffer = (struct buffer){ 0 };
}

void buffer_deinit(struct buffer *buffer)
{
    free(buffer->data);
    buffer_init(buffer);
}

void buffer_clear(struct buffer *buffer)
{
    buffer->size = 0;
    buffer->failed = false;
}

static bool grow(struct buffer *buffer, size_t needed)
{
    size_t capacity = buffer->capacity > SIZE_MAX / 2 ? SIZE_MAX : buffer->capacity * 2;
    if (capacity < CAPACITY_MIN) capacity = CAPACITY_MIN;
    if (capacity < needed) capacity = needed; /* who knows how much it will be gets no more */
    char *data = realloc(buffer->data, capacity);
    if (data == NULL) return false;
    buffer->data = data;
    buffer->capacity = capacity;
    return true;
}

bool buffer_reserve(struct buffer *buffer, size_t more)
{
    if (buffer->failed) return false;
    if (LIKELY(buffer->capacity - buffer->size >= more && buffer->data != NULL)) return true;
    if (more > SIZE_MAX - buffer->size || !grow(buffer, buffer->size + more)) buffer->failed = true;
    return !buffer->failed;
}

void buffer_put(struct buffer *buffer, const void *data, size_t size)
{
    if (size == 0 || !buffer_reserve(buffer, size)) return;
    memcpy(buffer->data + buffer->size, data, size);
    buffer->size += size;
}

void buffer_u8(struct buffer *buffer, uint8_t number)
{
    buffer_put(buffer, &number, sizeof number);
}

void buffer_u16(struct buffer *buffer, uint16_t number)
{
    number = htole16(number);
    buffer_put(buffer, &number, sizeof number);
}

void buffer_u32(struct buffer *buffer, uint32_t number)
{
    number = htole32(number);
    buffer_put(buffer, &number, sizeof number);
}

void buffer_u64(struct buffer *buffer, uint64_t number)
{
    number = htole64(number);
    buffer_put(buffer, &number, sizeof number);
}

void buffer_i64(struct buffer *buffer, int64_t number)
{
    buffer_u64(buffer, (uint64_t)number);
}

void buffer_varint(struct buffer *buffer, uint64_t number)
{
    if (!buffer_reserve(buffer, VARINT_BYTES_MAX)) return;
    while (number >= 0x80) {
        buffer->data[buffer->size++] = (char)(number | 0x80);
        number >>= 7;
    }
    buffer->data[buffer->size++] = (char)number;
}

void buffer_bytes(struct buffer *buffer, struct weir_bytes bytes)
{
    if (!weir_is_set(bytes) || weir_is_null(bytes)) {
        buffer_varint(buffer, 0);
        return;
    }
    buffer_varint(buffer, (uint64_t)bytes.size + 1);
    buffer_put(buffer, bytes.data, bytes.size);
}

void buffer_text(struct buffer *buffer, const char *text)
{
    buffer_bytes(buffer, weir_text(text));
}

static void patch(struct buffer *buffer, size_t at, const void *data, size_t size)
{
    if (buffer->failed) return;
    CHECK(at <= buffer->size && buffer->size - at >= size);
    memcpy(buffer->data + at, data, size);
}

void buffer_patch_u32(struct buffer *buffer, size_t at, uint32_t number)
{
    number = htole32(number);
    patch(buffer, at, &number, sizeof number);
}

void buffer_patch_u64(struct buffer *buffer, size_t at, uint64_t number)
{
    number = htole64(number);
    patch(buffer, at, &number, sizeof number);
}

void reader_init(struct reader *reader, const void *data, size_t size)
{
    /* Never NULL, so that empty bytes read from here are empty and not unset. */
    const char *begin = data == NULL ? "" : data;
    *reader = (struct reader){ .next = begin, .end = begin + size };
}

size_t reader_left(const struct reader *reader)
{
    return reader->failed ? 0 : (size_t)(reader->end - reader->next);
}

const char *reader_skip(struct reader *reader, size_t size)
{
    if (reader->failed || reader_left(reader) < size) {
        reader->failed = true;
        return NULL;
    }
    const char *at = reader->next;
    reader->next += size;
    return at;
}

static void take(struct reader *reader, void *number, size_t size)
{
    const char *at = reader_skip(reader, size);
    if (at != NULL) memcpy(number, at, size);
}

uint8_t reader_u8(struct reader *reader)
{
    uint8_t number = 0;
    take(reader, &number, sizeof number);
    return number;
}

uint16_t reader_u16(struct reader *reader)
{
    uint16_t number = 0;
    take(reader, &number, sizeof number);
    return le16toh(number);
}

uint32_t reader_u32(struct reader *reader)
{
    uint32_t number = 0;
    take(reader, &number, sizeof number);
    return le32toh(number);
}

uint64_t reader_u64(struct reader *reader)
{
    uint64_t number = 0;
    take(reader, &number, sizeof number);
    return le64toh(number);
}

int64_t reader_i64(struct reader *reader)
{
    return (int64_t)reader_u64(reader);
}

uint64_t reader_varint(struct reader *reader)
{
    uint64_t number = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
        const uint8_t byte = reader_u8(reader);
        if (reader->failed) return 0;
        const uint64_t part = byte & 0x7f;
        if (part << shift >> shift != part) break; /* bits above the 64th */
        number |= part << shift;
        if (byte < 0x80) return number;
    }
    reader->failed = true;
    return 0;
}

struct weir_bytes reader_bytes(struct reader *reader)
{
    const uint64_t size_plus_one = reader_varint(reader);
    if (size_plus_one == 0) return WEIR_NULL;
    const char *data = reader_skip(reader, size_plus_one - 1);
    return data == NULL ? WEIR_NULL : (struct weir_bytes){ data, size_plus_one - 1 };
}

void reader_text(struct reader *reader, char *text, size_t capacity)
{
    CHECK(capacity > 0);
    text[0] = '\0';
    const struct weir_bytes bytes = reader_bytes(reader);
    if (reader->failed) return;
    if (weir_is_null(bytes) || bytes.size >= capacity || memchr(bytes.data, '\0', bytes.size) != NULL) {
        reader->failed = true;
        return;
    }
    memcpy(text, bytes.data, bytes.size);
    text[bytes.size] = '\0';
}
