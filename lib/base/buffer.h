/* Bounded writing and reading of formats. All numbers are little-endian. Failure is sticky: check once, at the end. */
#ifndef BASE_BUFFER_H
#define BASE_BUFFER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "weir/weir.h"

/* Growable bytes. After a failed allocation `failed` is set and writes do nothing. */
struct buffer {
    char *data;
    size_t size;
    size_t capacity;
    bool failed;
};

void buffer_init(struct buffer *buffer);
void buffer_deinit(struct buffer *buffer);
void buffer_clear(struct buffer *buffer);                  /* keeps the memory */
bool buffer_reserve(struct buffer *buffer, size_t more);   /* room for `more` bytes behind size */
void buffer_put(struct buffer *buffer, const void *data, size_t size);
void buffer_u8(struct buffer *buffer, uint8_t number);
void buffer_u16(struct buffer *buffer, uint16_t number);
void buffer_u32(struct buffer *buffer, uint32_t number);
void buffer_u64(struct buffer *buffer, uint64_t number);
void buffer_i64(struct buffer *buffer, int64_t number);
void buffer_varint(struct buffer *buffer, uint64_t number); /* LEB128, 1 to 10 bytes */
void buffer_bytes(struct buffer *buffer, struct weir_bytes bytes); /* varint size + 1 (0 = null), then the bytes */
void buffer_text(struct buffer *buffer, const char *text);  /* as bytes */
/* Overwrites 4 or 8 bytes written earlier (lengths, hashes). */
void buffer_patch_u32(struct buffer *buffer, size_t at, uint32_t number);
void buffer_patch_u64(struct buffer *buffer, size_t at, uint64_t number);

/* Reads from borrowed bytes. Past the end, or on a malformed number, `failed` is set and zero comes back. */
struct reader {
    const char *next;
    const char *end;
    bool failed;
};

void reader_init(struct reader *reader, const void *data, size_t size);
size_t reader_left(const struct reader *reader);
uint8_t reader_u8(struct reader *reader);
uint16_t reader_u16(struct reader *reader);
uint32_t reader_u32(struct reader *reader);
uint64_t reader_u64(struct reader *reader);
int64_t reader_i64(struct reader *reader);
uint64_t reader_varint(struct reader *reader);
struct weir_bytes reader_bytes(struct reader *reader); /* borrowed from the input; null comes back as WEIR_NULL */
/* Copies a text into `text`; fails when it does not fit or holds a NUL. */
void reader_text(struct reader *reader, char *text, size_t capacity);
const char *reader_skip(struct reader *reader, size_t size); /* NULL when not there */

#endif
