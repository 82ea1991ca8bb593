/* Entries: the units of a shard as they lie in its slab.
 *
 *   offset  size
 *        0     4   identity: state (8 bits) | shape (8) | size of the name area's content (16)
 *        4     2   size of a value that lies inline
 *        6     1   flags
 *        7     1   version of the value, where it is an old one (ENTRY_OLD): index into the state's list;
 *                  of a head: 1 = the store may have elements
 *        8     t   when the value was touched last, milliseconds since 1970: 8 bytes where values of the state expire
 *                  (SHAPE_STAMP), else none; they count as content of the name area
 *      8+t     n   name: the key alone, or parts (SHAPE_NAME_SPACE, SHAPE_ELEMENT):
 *                      u32 key size | u32 name space size | u64 generation | key | name space | element;
 *                  a long name (SHAPE_LONG) is a pointer to a block that holds the same
 *   8+t+n'     v   value, 8-byte aligned; or a pointer to a block (ENTRY_BLOCK)            (n' = n rounded up to 8)
 *                  of a head: a struct head
 *
 * An entry never moves. A value that outgrows its cell gets a block of its own, and so do long names. With a key of 16
 * bytes and a value of 8 an entry has 32 bytes and lies in one cache line. */
#ifndef STATE_ENTRY_H
#define STATE_ENTRY_H

#include "state/order.h"
#include "state/slab.h"
#include "state/state.h"

enum entry_shape {
    SHAPE_NULL_KEY = 1,
    SHAPE_NAME_SPACE = 2,
    SHAPE_ELEMENT = 4,
    SHAPE_LONG = 8,
    SHAPE_GENERATION = 16, /* an element of a collection */
    SHAPE_HEAD = 32,
    SHAPE_STAMP = 64, /* values expire */
};

enum entry_flag {
    ENTRY_CHANGED = 1,     /* changed in an even stretch (shard_private.h), and not written by its snapshot yet */
    ENTRY_REMOVED = 2,     /* a tombstone: kept until a snapshot has written it */
    ENTRY_NULL = 4,        /* the value is null */
    ENTRY_BLOCK = 8,       /* the value lies in a block */
    ENTRY_CHANGED_ODD = 16, /* as ENTRY_CHANGED, in an odd stretch */
    ENTRY_LISTED = 32,      /* an early part of the epoch has written it */
    ENTRY_OLD = 64,         /* the value was written by an older version of its codec */
    ENTRY_DIRTY = 128,      /* the store has something else: never without a store */

    /* An element that died and was dropped, in a list of changes still: nothing is written of it. */
    ENTRY_FORGOTTEN = ENTRY_REMOVED | ENTRY_NULL
};

struct entry {
    uint32_t identity;
    uint16_t value_size;
    uint8_t flags;
    uint8_t version;
    char data[];
};

/* Of a collection: the value of its head. The order is memory's business and never written. */
struct head {
    uint64_t generation;
    uint64_t first, next; /* of a list: its elements are among [first, next), which begins at 1; of a map: 0 */
    struct order order;   /* of a map: its elements by key */
};

struct block {
    uint64_t size;
    uint64_t capacity;
    char bytes[];
};

/* Slab and blocks of one shard. */
struct entries {
    struct slab slab;
    uint64_t block_count;
    uint64_t block_bytes;
};

/* A unit on its way to be looked up: what is worked out once for all comparisons. */
struct unit {
    const struct state_key *key;
    struct order *order; /* that it belongs to: its map's; NULL = none */
    uint32_t tag;      /* hash of the whole name and the state: the table's */
    uint32_t identity; /* of its entry */
    size_t name_size;
};

/* Longer names lie in a block. */
#define ENTRY_NAME_MAX 1024
/* What a name of parts begins with. */
#define ENTRY_PARTS_BYTES 16
#define ENTRY_STAMP_BYTES 8

void entries_init(struct entries *entries);
void entries_deinit(struct entries *entries); /* every block has been freed: see entry_destroy */

/* The parts of a unit's name, mixed. A multiplication spreads the hash of the key, whose remainder modulo the number of
 * key groups is the same all over a table; folding brings the upper bits, which choose the segment, to the lower ones,
 * which choose the slot, so that both are even also when units arrive in the order of the upper ones (as a base has
 * them). */
static inline uint32_t unit_tag_spread(uint32_t hash)
{
    hash *= 0x9e3779b1;
    return hash ^ hash >> 15;
}
static inline uint32_t unit_tag_first(uint32_t state, uint32_t key_hash) { return key_hash + state * 0x85ebca6b; }
static inline uint32_t unit_tag_last(uint32_t hash, uint32_t element_hash, uint64_t generation)
{
    return (hash ^ element_hash ^ (uint32_t)generation) * 0x27d4eb2f + 2;
}
static inline uint32_t unit_tag(uint32_t state, const struct state_key *key)
{
    uint32_t hash = unit_tag_first(state, key->hash);
    if (UNLIKELY(weir_is_set(key->name_space))) hash = (hash ^ hash_key(key->name_space)) * 0xc2b2ae35 + 1;
    if (UNLIKELY(weir_is_set(key->element))) hash = unit_tag_last(hash, hash_key(key->element), key->generation);
    return unit_tag_spread(hash);
}
/* unit_tag, of a name that is a key alone. */
static inline uint32_t unit_tag_plain(uint32_t state, uint32_t key_hash)
{
    return unit_tag_spread(unit_tag_first(state, key_hash));
}

static inline struct unit unit_of(uint32_t state, const struct state_key *key)
{
    uint32_t shape = UNLIKELY(weir_is_null(key->key)) ? SHAPE_NULL_KEY : 0;
    size_t name_size = key->key.size;
    if (UNLIKELY(weir_is_set(key->name_space) || weir_is_set(key->element))) {
        if (weir_is_set(key->name_space)) shape |= SHAPE_NAME_SPACE;
        if (weir_is_set(key->element)) shape |= SHAPE_ELEMENT;
        if (key->generation > 0) shape |= SHAPE_GENERATION;
        name_size += key->name_space.size + key->element.size + ENTRY_PARTS_BYTES;
    }
    uint32_t inline_size = (uint32_t)name_size;
    if (UNLIKELY(name_size > ENTRY_NAME_MAX)) {
        shape |= SHAPE_LONG;
        inline_size = sizeof(struct block *);
    }
    return (struct unit){ .key = key, .tag = unit_tag(state, key), .identity = state | shape << 8 | inline_size << 16,
                          .name_size = name_size };
}

/* The same unit in a state whose values expire. */
static inline void unit_add_stamp(struct unit *unit)
{
    unit->identity += (uint32_t)SHAPE_STAMP << 8 | (uint32_t)ENTRY_STAMP_BYTES << 16;
}
static inline bool unit_is_stamped(const struct unit *unit) { return (unit->identity & SHAPE_STAMP << 8) != 0; }

static inline uint32_t entry_state(const struct entry *entry) { return entry->identity & 0xff; }
static inline uint32_t entry_shape(const struct entry *entry) { return entry->identity >> 8 & 0xff; }
static inline size_t entry_name_area(const struct entry *entry)
{
    return ((size_t)(entry->identity >> 16) + 7) & ~(size_t)7;
}
static inline struct block *entry_block_at(const char *at)
{
    struct block *block;
    memcpy(&block, at, sizeof block);
    return block;
}

static inline bool entry_is_stamped(const struct entry *entry) { return (entry->identity & SHAPE_STAMP << 8) != 0; }
/* Of an entry that is. */
static inline int64_t entry_stamp(const struct entry *entry)
{
    int64_t stamp_ms;
    memcpy(&stamp_ms, entry->data, sizeof stamp_ms);
    return stamp_ms;
}
static inline void entry_set_stamp(struct entry *entry, int64_t stamp_ms)
{
    memcpy(entry->data, &stamp_ms, sizeof stamp_ms);
}
static inline char *entry_name_at(struct entry *entry)
{
    return entry->data + (entry_is_stamped(entry) ? ENTRY_STAMP_BYTES : 0);
}

/* Where the value lies. */
static inline char *entry_value_at(struct entry *entry)
{
    char *at = entry->data + entry_name_area(entry);
    return UNLIKELY(entry->flags & ENTRY_BLOCK) ? entry_block_at(at)->bytes : at;
}

/* Unset for a tombstone. */
static inline struct weir_bytes entry_value(const struct entry *entry)
{
    if (UNLIKELY(entry->flags & (ENTRY_REMOVED | ENTRY_NULL | ENTRY_BLOCK))) {
        if (entry->flags & ENTRY_REMOVED) return (struct weir_bytes){ 0 };
        if (entry->flags & ENTRY_NULL) return WEIR_NULL;
        const struct block *block = entry_block_at(entry->data + entry_name_area(entry));
        return (struct weir_bytes){ block->bytes, block->size };
    }
    return (struct weir_bytes){ entry->data + entry_name_area(entry), entry->value_size };
}

/* Heads lie in their cells: a name area is small enough, and they never grow. */
static inline struct head *entry_head(struct entry *entry)
{
    return (struct head *)(void *)(entry->data + entry_name_area(entry));
}

/* The parts of the entry's name, borrowed from it; `hash` is left to the caller. */
struct state_key entry_key_parted(const struct entry *entry); /* the slow path of entry_key */
static inline struct state_key entry_key(const struct entry *entry)
{
    if (UNLIKELY(entry_shape(entry) != 0)) return entry_key_parted(entry);
    return (struct state_key){ .key = { entry->data, entry->identity >> 16 } };
}

/* All bits of sixteen bytes, then none of sixteen. */
extern const unsigned char entry_mask[32];

/* Compares without a call, which would cost every lookup the saving of registers: keys are short. */
static inline bool bytes_same(const char *a, const char *b, size_t size)
{
    if (size >= 8) {
        uint64_t x, y;
        const size_t last = size - 8;
        for (size_t at = 0; at < last; at += 8) {
            memcpy(&x, a + at, 8);
            memcpy(&y, b + at, 8);
            if (x != y) return false;
        }
        memcpy(&x, a + last, 8);
        memcpy(&y, b + last, 8);
        return x == y;
    }
    if (size >= 4) {
        uint32_t v, w, v_last, w_last;
        memcpy(&v, a, 4);
        memcpy(&w, b, 4);
        memcpy(&v_last, a + size - 4, 4);
        memcpy(&w_last, b + size - 4, 4);
        return ((v ^ w) | (v_last ^ w_last)) == 0;
    }
    return size == 0 || ((a[0] ^ b[0]) | (a[size / 2] ^ b[size / 2]) | (a[size - 1] ^ b[size - 1])) == 0;
}

bool entry_is_parted(const struct entry *entry, const struct state_key *key); /* the slow path of entry_is */

static inline bool entry_is(const struct entry *entry, const struct unit *unit)
{
    if (entry->identity != unit->identity) return false;
    const uint32_t slow = (uint32_t)(SHAPE_NAME_SPACE | SHAPE_ELEMENT | SHAPE_LONG | SHAPE_STAMP) << 8;
    if (UNLIKELY(unit->identity & slow)) return entry_is_parted(entry, unit->key);
    return bytes_same(entry->data, unit->key->key.data, unit->name_size);
}

/* bytes_same of 1 to 16 bytes, when 16 may be read on both sides: no branch depends on the size, which differs from word to
 * word and which no processor foresees (4 ns a word). */
static inline bool bytes_same_padded(const char *a, const char *b, size_t size)
{
    uint64_t v[2], w[2], mask[2];
    memcpy(v, a, sizeof v);
    memcpy(w, b, sizeof w);
    memcpy(mask, entry_mask + 16 - size, sizeof mask);
    return (((v[0] ^ w[0]) & mask[0]) | ((v[1] ^ w[1]) & mask[1])) == 0;
}

/* entry_is, for a name that is a key alone, neither null nor long, in a state without stamps, as that of most values.
 * `is_padded`: it is not empty, and 16 bytes from its beginning may be read (ARENA_PADDING). */
static inline __attribute__((always_inline)) bool entry_is_plain(const struct entry *entry, uint32_t state,
                                                                 struct weir_bytes key, bool is_padded)
{
    if (entry->identity != (state | (uint32_t)key.size << 16)) return false;
    if (is_padded && LIKELY(key.size <= 16)) return bytes_same_padded(entry->data, key.data, key.size);
    return bytes_same(entry->data, key.data, key.size);
}

/* The same for the head of a collection, and for its elements. */
static inline bool entry_is_plain_head(const struct entry *entry, uint32_t state, struct weir_bytes key)
{
    return entry->identity == (state | (uint32_t)SHAPE_HEAD << 8 | (uint32_t)key.size << 16) &&
           bytes_same(entry->data, key.data, key.size);
}
static inline bool entry_is_plain_element(const struct entry *entry, uint32_t state, struct weir_bytes key,
                                          uint64_t generation, struct weir_bytes element)
{
    const uint32_t name_size = (uint32_t)(ENTRY_PARTS_BYTES + key.size + element.size);
    if (entry->identity != (state | (uint32_t)(SHAPE_ELEMENT | SHAPE_GENERATION) << 8 | name_size << 16)) return false;
    uint64_t parts[2]; /* the key's size, with that of no name space above it; the generation */
    memcpy(parts, entry->data, sizeof parts);
    const char *const name = entry->data + ENTRY_PARTS_BYTES;
    return parts[0] == key.size && parts[1] == generation &&
           bytes_same(name + key.size, element.data, element.size) && bytes_same(name, key.data, key.size);
}

/* A new entry with room for a value of `value_size` bytes (not written; entry_value_at says where). Its flags are
 * clear. SLAB_NONE when there is no memory. */
uint32_t entry_create(struct entries *entries, const struct unit *unit, size_t value_size);
void entry_destroy(struct entries *entries, uint32_t reference);

/* Copies `value` in; it may lie in the entry's own value. Clears ENTRY_REMOVED and ENTRY_OLD. False when there is no
 * memory: nothing has changed. */
bool entry_set_value(struct entries *entries, uint32_t reference, struct weir_bytes value);
/* Makes it a tombstone and gives back what the value held beyond the cell. */
void entry_remove_value(struct entries *entries, struct entry *entry);

static inline struct entry *entry_at(const struct entries *entries, uint32_t reference)
{
    return slab_at(&entries->slab, reference);
}

#endif
