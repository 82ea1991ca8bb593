/* Memory for the many small things of a shard: entries and index nodes. A thing is named by a 32 bit reference, never
 * moves, and its cell is used again after it was freed.
 *
 *   chunk   1 MiB, from the allocator        reference = position in units of 8 bytes, over all chunks:
 *   span    64 KiB of a chunk, one cell size     chunk (15 bits) | span (4 bits) | offset in the span (13 bits)
 *   cell    16 bytes to 2 KiB
 *
 * Chunks are small enough that no allocation takes long, and are never given back before the end: a shard that shrinks
 * keeps its memory for what it holds next. 32 GiB are the most that references can name. Owner: the shard's thread. */
#ifndef STATE_SLAB_H
#define STATE_SLAB_H

#include "base/base.h"

#define SLAB_CELL_MAX 2048
#define SLAB_CLASSES 32
#define SLAB_CHUNK_BITS 17 /* of a reference: 1 MiB in units of 8 bytes */
#define SLAB_SPAN_BITS 13

/* No cell has these references: SLAB_NONE says "nothing", and the table marks slots with SLAB_RESERVED. */
#define SLAB_NONE 0u
#define SLAB_RESERVED 1u

struct slab_class {
    uint32_t cell_units; /* of 8 bytes */
    uint32_t next;       /* first cell of the newest span that was never used */
    uint32_t end;        /* behind its last cell */
    uint32_t free;       /* chain of freed cells */
};

struct slab {
    VEC(char *) chunks;
    VEC(uint8_t) span_classes; /* which cell size a span has */
    struct slab_class classes[SLAB_CLASSES];
    uint64_t used_bytes; /* of cells that are not free */
};

void slab_init(struct slab *slab); /* allocates nothing */
void slab_deinit(struct slab *slab);

/* A cell of at least `size_bytes` (at most SLAB_CELL_MAX), 8-byte aligned, not cleared. SLAB_NONE when there is no
 * memory. */
uint32_t slab_alloc(struct slab *slab, size_t size_bytes);
void slab_free(struct slab *slab, uint32_t reference);

static inline void *slab_at(const struct slab *slab, uint32_t reference)
{
    const size_t offset = reference & ((1u << SLAB_CHUNK_BITS) - 1);
    return slab->chunks.items[reference >> SLAB_CHUNK_BITS] + offset * 8;
}

/* The whole size of a cell, which may be more than was asked for. */
static inline size_t slab_cell_bytes(const struct slab *slab, uint32_t reference)
{
    return (size_t)slab->classes[slab->span_classes.items[reference >> SLAB_SPAN_BITS]].cell_units * 8;
}

/* Spans in use: what the system has been made to hand over. */
uint64_t slab_bytes(const struct slab *slab);

#endif
