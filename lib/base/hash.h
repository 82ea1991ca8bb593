/* Hashes. Key hashes and frame hashes are part of formats: they never change (XXH3 is a stable specification since
 * 0.8). */
#ifndef BASE_HASH_H
#define BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

#include "weir/weir.h"

uint64_t hash_64(const void *data, size_t size);               /* XXH3 64 */
uint64_t hash_64_seeded(const void *data, size_t size, uint64_t seed);

/* Incremental, for files. */
struct hash_stream;
struct hash_stream *hash_stream_create(uint64_t seed); /* NULL when there is no memory */
void hash_stream_update(struct hash_stream *stream, const void *data, size_t size);
uint64_t hash_stream_value(const struct hash_stream *stream);
void hash_stream_destroy(struct hash_stream *stream);

/* The hash that places a key: low 32 bits of XXH3 64. The null key hashes as 0. */
uint32_t hash_key(struct weir_bytes key);

static inline uint32_t key_group_of(uint32_t key_hash, uint32_t max_parallelism) { return key_hash % max_parallelism; }

/* First key group of subtask `index` of `parallelism` (Flink's formula: KeyGroupRangeAssignment); ranges join without
 * gap, and subtask `parallelism` begins at max_parallelism. */
static inline uint32_t key_group_first(uint32_t max_parallelism, uint32_t parallelism, uint32_t index)
{
    return (uint32_t)(((uint64_t)index * max_parallelism + parallelism - 1) / parallelism);
}
static inline uint32_t key_group_subtask(uint32_t key_group, uint32_t max_parallelism, uint32_t parallelism)
{
    return (uint32_t)((uint64_t)key_group * parallelism / max_parallelism);
}

#endif
