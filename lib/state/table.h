/* The hash table of one key group: extendible hashing (Fagin et al., 1979) with open addressing inside the segments.
 *
 *   tag  = [ directory index: the upper `depth` bits | ... | home slot: the lower bits ]
 *
 *   directory ──> segment (16 to 4,096 slots of 8 bytes: tag, reference)
 *             ──> segment             a segment doubles until it is full-grown, then splits by its next upper bit
 *
 * So no step of growth moves more than one segment (about 20 us), whatever the size of the table, and the directory
 * runs in the order of the tags: whoever walks the table remembers one number, which stays good while segments split
 * behind and before it. A lookup touches one cache line of slots, most of the time, and the entry. The table knows tags
 * and references, not entries: the caller compares. Owner: the shard's thread. */
#ifndef STATE_TABLE_H
#define STATE_TABLE_H

#include "state/slab.h"

struct slot {
    uint32_t tag;
    uint32_t reference; /* SLAB_NONE: never used; SLAB_RESERVED: was removed */
};

struct segment {
    uint32_t mask;  /* slots - 1 */
    uint32_t used;  /* slots that are not SLAB_NONE */
    uint32_t limit; /* `used` may not pass it */
    uint32_t live;  /* references */
    uint32_t depth; /* upper bits that all tags in here share */
    uint32_t stamp; /* no two segments of a table ever share one: while it is the same, no slot has moved */
    struct slot slots[];
};

/* Where the directory leads. The mask is the segment's: here it saves lookups the cache line of the segment's head. */
struct place {
    struct segment *segment;
    uint32_t mask;
};

struct table {
    struct place *directory; /* 1 << (32 - shift) of them; `only` when there is one */
    struct place only;
    uint32_t shift;
    uint32_t stamp;
};

void table_init(struct table *table); /* allocates nothing */
void table_deinit(struct table *table);

static inline const struct place *table_place(const struct table *table, uint32_t tag)
{
    if (LIKELY(table->shift == 32)) return &table->only; /* one load less on the way to the slot */
    return &table->directory[tag >> table->shift];
}
static inline struct segment *table_segment(const struct table *table, uint32_t tag)
{
    return table_place(table, tag)->segment;
}

/* Makes room for one more reference with this tag. `*bytes` follows the memory held. False when there is no memory. */
bool table_reserve(struct table *table, uint32_t tag, uint64_t *bytes);
/* There is room (table_reserve), and the reference is not in the table. */
void table_insert(struct table *table, uint32_t tag, uint32_t reference);
/* The reference is in the table. */
void table_remove(struct table *table, uint32_t tag, uint32_t reference);

/* The first tag behind the segment that holds `tag`; 1 << 32 behind the last. */
uint64_t table_segment_end(const struct table *table, uint32_t tag);

/* The table's own memory. */
uint64_t table_bytes(const struct table *table);

#endif
