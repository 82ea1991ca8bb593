#include "state/changes.h"

#include <stdlib.h>

enum {
    BLOCK_BYTES = sizeof(struct change) << CHANGES_BLOCK_BITS,
    BLOCKS_KEPT = 64,
};

void changes_init(struct changes *changes)
{
    *changes = (struct changes){ 0 };
}

static void keep(struct changes *changes, size_t block_count)
{
    while (changes->blocks.count > block_count) free(changes->blocks.items[--changes->blocks.count]);
}

void changes_deinit(struct changes *changes)
{
    keep(changes, 0);
    vec_free(&changes->blocks);
}

void changes_clear(struct changes *changes)
{
    keep(changes, BLOCKS_KEPT);
    changes->count = 0;
}

uint64_t changes_bytes(const struct changes *changes)
{
    return (uint64_t)changes->blocks.count * BLOCK_BYTES;
}

bool changes_grow(struct changes *changes)
{
    struct change *block = malloc(BLOCK_BYTES);
    if (block == NULL) return false;
    struct change **item = vec_push(&changes->blocks);
    if (item == NULL) {
        free(block);
        return false;
    }
    *item = block;
    return true;
}

bool changes_reserve_many(struct changes *changes, size_t count)
{
    while (changes->blocks.count << CHANGES_BLOCK_BITS < changes->count + count)
        if (!changes_grow(changes)) return false;
    return true;
}
