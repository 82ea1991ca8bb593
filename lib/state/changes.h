/* What changed in the open epoch, in order of first change. A list of blocks of 64 KiB, so that it grows without
 * copying; some are kept from epoch to epoch. Owner: the shard's thread. */
#ifndef STATE_CHANGES_H
#define STATE_CHANGES_H

#include "base/base.h"

#define CHANGES_BLOCK_BITS 13

struct change {
    uint32_t reference; /* the entry's */
    uint32_t hash;      /* its key's */
};

struct changes {
    VEC(struct change *) blocks;
    size_t count;
};

void changes_init(struct changes *changes); /* allocates nothing */
void changes_deinit(struct changes *changes);
void changes_clear(struct changes *changes);
uint64_t changes_bytes(const struct changes *changes); /* memory held */

bool changes_grow(struct changes *changes);
/* Room for `count` more. False when there is no memory. */
bool changes_reserve_many(struct changes *changes, size_t count);

/* Room for so many more, at most a block's worth. False when there is no memory. */
static inline bool changes_reserve(struct changes *changes, size_t more)
{
    return LIKELY(changes->count + more <= changes->blocks.count << CHANGES_BLOCK_BITS) || changes_grow(changes);
}

static inline struct change *changes_at(const struct changes *changes, size_t index)
{
    return &changes->blocks.items[index >> CHANGES_BLOCK_BITS][index & ((1u << CHANGES_BLOCK_BITS) - 1)];
}

/* There is room (changes_reserve). */
static inline void changes_push(struct changes *changes, struct change change)
{
    *changes_at(changes, changes->count++) = change;
}

#endif
