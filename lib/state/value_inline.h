/* The one lookup that is made for each record of a counting job, inlined into those who make it. */
#ifndef STATE_VALUE_INLINE_H
#define STATE_VALUE_INLINE_H

#include "state/shard_private.h"

/* The value in place of a name that is a key alone, when it is in the table and has changed in the open epoch before.
 * NULL: another case. Entries that hold a stamp have another identity, and are one. */
static inline __attribute__((always_inline)) void *shard_value_fast(struct shard *shard, uint32_t state,
                                                                    struct weir_bytes key, uint32_t hash)
{
    if (UNLIKELY(key.size > ENTRY_NAME_MAX)) return NULL;
    const uint32_t reference = shard_find_tag(shard, unit_tag_plain(state, hash), hash);
    if (UNLIKELY(reference == SLAB_NONE)) return NULL;
    struct entry *entry = entry_at(&shard->entries, reference);
    const uint8_t open = shard->changed_flag;
    const uint8_t flags = entry->flags & (open | ENTRY_REMOVED | ENTRY_OLD | ENTRY_BLOCK);
    if (UNLIKELY(flags != open || !entry_is_plain(entry, state, key))) return NULL;
    return entry->data + ((key.size + 7) & ~(size_t)7);
}

void *shard_value_slow(struct shard *shard, uint32_t state, struct weir_bytes key, uint32_t hash);

/* shard_value of a name that is a key alone, not null. */
static inline __attribute__((always_inline)) void *shard_value_plain(struct shard *shard, uint32_t state,
                                                                     struct weir_bytes key, uint32_t hash)
{
    void *value = shard_value_fast(shard, state, key, hash);
    return LIKELY(value != NULL) ? value : shard_value_slow(shard, state, key, hash);
}

#endif
