#include "base/hash_inline.h"

#include <endian.h>
#include <stdlib.h>
#include <string.h>

#include "weir/connector.h"

uint64_t hash_64(const void *data, size_t size)
{
    return XXH3_64bits(data, size);
}

uint64_t hash_64_seeded(const void *data, size_t size, uint64_t seed)
{
    return XXH3_64bits_withSeed(data, size, seed);
}

uint32_t hash_key(struct weir_bytes key)
{
    if (!weir_is_set(key) || weir_is_null(key)) return 0;
    return hash_key_inline(key);
}

struct hash_stream {
    XXH3_state_t state; /* wants 64-byte alignment */
};

struct hash_stream *hash_stream_create(uint64_t seed)
{
    struct hash_stream *stream = aligned_alloc(_Alignof(struct hash_stream), sizeof *stream);
    if (stream != NULL) XXH3_64bits_reset_withSeed(&stream->state, seed);
    return stream;
}

void hash_stream_update(struct hash_stream *stream, const void *data, size_t size)
{
    if (size > 0) XXH3_64bits_update(&stream->state, data, size);
}

uint64_t hash_stream_value(const struct hash_stream *stream)
{
    return XXH3_64bits_digest(&stream->state);
}

void hash_stream_destroy(struct hash_stream *stream)
{
    free(stream);
}

/* The encoding behind weir_digest_record. It is part of the ledger's format and never changes:
 *
 *     key value header-count { name value }...
 *
 * where each of key, name and value is a u32 size (0xffffffff = null) and the bytes, and the count is a u32; all
 * little-endian. The digest is XXH3 128, seed 0, of that. */
#define SIZE_NULL UINT32_MAX

static uint32_t size_word(struct weir_bytes bytes)
{
    const bool none = !weir_is_set(bytes) || weir_is_null(bytes);
    return htole32(none ? SIZE_NULL : (uint32_t)bytes.size);
}

static struct weir_digest digest_of(XXH128_hash_t hash)
{
    return (struct weir_digest){ .low = hash.low64, .high = hash.high64 };
}

static char *encode(char *at, struct weir_bytes bytes)
{
    const uint32_t size = size_word(bytes);
    memcpy(at, &size, sizeof size);
    at += sizeof size;
    if (bytes.size > 0) memcpy(at, bytes.data, bytes.size);
    return at + bytes.size;
}

static void update(XXH3_state_t *state, struct weir_bytes bytes)
{
    const uint32_t size = size_word(bytes);
    XXH3_128bits_update(state, &size, sizeof size);
    if (bytes.size > 0) XXH3_128bits_update(state, bytes.data, bytes.size);
}

static struct weir_digest digest_large(const struct weir_record *record, uint32_t header_count)
{
    XXH3_state_t state;
    XXH3_128bits_reset(&state);
    update(&state, record->key);
    update(&state, record->value);
    const uint32_t count = htole32(header_count);
    XXH3_128bits_update(&state, &count, sizeof count);
    for (uint32_t i = 0; i < header_count; i++) {
        update(&state, weir_text(record->headers->items[i].name));
        update(&state, record->headers->items[i].value);
    }
    return digest_of(XXH3_128bits_digest(&state));
}

struct weir_digest weir_digest_record(const struct weir_record *record)
{
    char small[512];
    const uint32_t words_bytes = 3 * sizeof(uint32_t);
    const size_t header_count = record->headers == NULL ? 0 : record->headers->count;
    const bool is_small = header_count == 0 && record->key.size <= sizeof small / 2 &&
                          record->value.size <= sizeof small / 2 - words_bytes;
    if (!is_small) return digest_large(record, (uint32_t)header_count);

    char *at = encode(encode(small, record->key), record->value);
    const uint32_t count = 0;
    memcpy(at, &count, sizeof count);
    at += sizeof count;
    return digest_of(XXH3_128bits(small, (size_t)(at - small)));
}

/* Austin Appleby's MurmurHash2, as org.apache.kafka.common.utils.Utils.murmur2 has it. */
uint32_t weir_murmur2(struct weir_bytes bytes)
{
    const uint32_t m = 0x5bd1e995;
    uint32_t h = 0x9747b28c ^ (uint32_t)bytes.size;
    const char *at = bytes.data;
    size_t left = bytes.size;
    for (; left >= 4; at += 4, left -= 4) {
        uint32_t k;
        memcpy(&k, at, sizeof k);
        k = le32toh(k) * m;
        k = (k ^ (k >> 24)) * m;
        h = (h * m) ^ k;
    }
    if (left >= 3) h ^= (uint32_t)(uint8_t)at[2] << 16;
    if (left >= 2) h ^= (uint32_t)(uint8_t)at[1] << 8;
    if (left >= 1) h = (h ^ (uint8_t)at[0]) * m;
    h = (h ^ (h >> 13)) * m;
    return h ^ (h >> 15);
}
