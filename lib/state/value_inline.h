/* The one lookup that is made for each record of a counting job, inlined into those who make it. */
#ifndef STATE_VALUE_INLINE_H
#define STATE_VALUE_INLINE_H

#include "state/shard_private.h"

/* Where the entry of a name may be that is a key alone, or SLAB_NONE, for shard_value_at. Good until an entry is removed,
 * or shard_tend is called. */
static inline uint32_t shard_find_plain(const struct shard *shard, uint32_t state, uint32_t hash)
{
    return shard_find_tag(shard, unit_tag_plain(state, hash), hash);
}

/* The same of `count` records. None waits for the one before it: a processor has the slots of several under way at once,
 * and then what they lead to. */
static inline void shard_find_records(const struct shard *shard, uint32_t state, const struct weir_record *records,
                                      uint32_t count, uint32_t *references)
{
    for (uint32_t i = 0; i < count; i++) {
        references[i] = shard_find_plain(shard, state, records[i].key_hash);
        if (LIKELY(references[i] != SLAB_NONE)) __builtin_prefetch(entry_at(&shard->entries, references[i]), 1);
    }
}

/* The value in place of a name that is a key alone, when it is at `reference` and has changed in the open epoch before.
 * NULL: another case. `is_padded`: as entry_is_plain wants it. Entries that hold a stamp have another identity, and are one. */
static inline __attribute__((always_inline)) void *shard_value_fast(struct shard *shard, uint32_t state,
                                                                    struct weir_bytes key, uint32_t reference,
                                                                    bool is_padded)
{
    if (UNLIKELY(reference == SLAB_NONE || key.size > ENTRY_NAME_MAX)) return NULL;
    struct entry *entry = entry_at(&shard->entries, reference);
    const uint8_t open = shard->changed_flag;
    const uint8_t flags = entry->flags & (open | ENTRY_REMOVED | ENTRY_OLD | ENTRY_BLOCK);
    if (UNLIKELY(flags != open || !entry_is_plain(entry, state, key, is_padded))) return NULL;
    return entry->data + ((key.size + 7) & ~(size_t)7);
}

void *shard_value_slow(struct shard *shard, uint32_t state, struct weir_bytes key, uint32_t hash);

/* shard_value of a name that is a key alone, not null. `reference`: what was found for it; `is_padded`: as entry_is_plain
 * wants it. */
static inline __attribute__((always_inline)) void *shard_value_at(struct shard *shard, uint32_t state,
                                                                  struct weir_bytes key, uint32_t hash,
                                                                  uint32_t reference, bool is_padded)
{
    void *value = shard_value_fast(shard, state, key, reference, is_padded);
    return LIKELY(value != NULL) ? value : shard_value_slow(shard, state, key, hash);
}

#endif
