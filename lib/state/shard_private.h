/* The inside of a shard, for the files that implement state.h:
 *
 *   shard.c        creation, values, scans          snapshot.c   changes, deltas
 *   collection.c   lists, maps, what is dead        dump.c       bases
 *   expiry.c       time to live                     restore.c    deltas and bases back into tables
 *   parcel.c       elements from shard to shard     cache.c      what the store has */
#ifndef STATE_SHARD_PRIVATE_H
#define STATE_SHARD_PRIVATE_H

#include "state/cache.h"
#include "state/changes.h"
#include "state/delta.h"
#include "state/entry.h"
#include "state/order.h"
#include "state/store.h"
#include "state/table.h"

#define SHARD_STATES_MAX 256

struct shard_state {
    struct state_declaration declaration;
    struct order *by_element; /* one for each key group; NULL when not declared */
    int64_t gone_ms;          /* what was touched no later has expired, whatever is declared; INT64_MIN = nothing */
    VEC(uint32_t) versions;   /* of values that are ENTRY_OLD: an entry names one by its index */
    uint32_t head;            /* of the collection that was asked for last: its entry; SLAB_NONE = unknown */
};

/* A collection that was cleared: its elements are dead, and still there. */
struct remains {
    uint32_t state;
    uint32_t hash;
    uint64_t generation;
    uint64_t first, next; /* of a list */
    struct order order;   /* of a map */
    struct weir_bytes key, name_space;
    char *copy; /* malloc'ed: where key and name space lie, once it is kept */
};

struct dump {
    bool is_open;
    bool by_links; /* where the store can */
    struct walk walk;
};

/* Where shard_clean goes on. It may miss what moves meanwhile: there is another round. */
struct cleaning {
    uint32_t group; /* index among the shard's */
    uint64_t position;
    uint32_t slot;
};

/* A snapshot under way: what changed in the stretch that a barrier or an early part has closed. Entries are written in
 * the order of the list, but for one that is about to change again, which is written just before. */
struct snapshot {
    struct buffer *delta; /* the caller's; NULL = none is under way */
    struct changes frozen;
    size_t next; /* first change that was not looked at: in `frozen`, and behind it in the shard's `listed` */
    bool is_part;
};

/* A stretch lasts from one snapshot, of a barrier or of an early part, to the next: most epochs are one stretch.
 *
 * Invariants:
 *   1. Every reference in a table is an entry, and every entry is in exactly one table.
 *   2. An entry is in `changes` exactly when it has the flag of the open stretch. One with the flag of the stretch before
 *      is in `frozen`, behind the place that the snapshot has reached. One that an early part of the open epoch has
 *      looked at is in `listed`, once, and has ENTRY_LISTED; the barrier's snapshot empties the list. A tombstone has at
 *      least one of the three, or is dirty, or is the cache's (cache.h).
 *   3. entry_count and the order lists count exactly the entries that are no tombstones: what the store alone has is in none.
 *   4. changed_bytes is the exact size of the delta that a snapshot would append now; the delta of a snapshot that is
 *      under way has room for all of its stretch.
 *   5. A live element of a map is in the order of its head. An element whose head is gone, or has another generation,
 *      is named by exactly one of `remains`; but while a shard is being restored, no element is in any of the two. */
struct shard {
    struct table *tables; /* one for each key group of the shard */
    struct entries entries;
    struct shard_state *states;
    uint32_t state_count;
    uint32_t max_parallelism;
    uint32_t group_first;
    uint32_t group_count;
    uint32_t group_mask;       /* max_parallelism - 1 when that is a power of two, else 0 */
    uint64_t group_reciprocal; /* 2^64 / max_parallelism, rounded up */
    uint64_t epoch;
    uint8_t changed_flag; /* of the open stretch */
    struct changes changes;
    struct changes listed;
    uint64_t changed_bytes;
    struct snapshot snapshot;
    uint64_t entry_count;
    uint64_t table_bytes;
    struct dump dump;
    uint64_t generation;  /* the highest that was given */
    int64_t now_ms;       /* for what expires */
    /* Some value got its time from this restore alone: the log has it without one, and would bring it back. So the store,
     * whose compactions tell nobody, is not told how late it is. */
    bool has_lent_times;
    struct cleaning cleaning;
    uint32_t order_stamp; /* rises when an element leaves the order of a map */
    VEC(struct remains) remains;
    uint64_t remains_bytes;
    state_migrate_fn *migrate;
    void *migrate_user;
    struct state_store *store;
    bool forgets_parts; /* `listed` stays empty */
    bool holds_units;   /* the store does: what is not in a table may be there */
    struct cache cache;
    char *zeroes; /* as many as the largest fixed value has */
};

/* Walks fetch this many entries at a time before they use them. By loads, not by prefetch instructions, which
 * processors drop when the page is not in their TLB: measured in a virtual machine, 200,000 entries of 10 million took
 * 5 ms with loads, 23 ms with prefetches. The loads of a block do not depend on each other, so their waits overlap. */
#define SHARD_BLOCK 64

/* Brings the first cache line of an entry in. Add up what it answers and hand the sum to shard_fetched. */
static inline uint32_t shard_fetch_one(const struct shard *shard, uint32_t reference)
{
    return entry_at(&shard->entries, reference)->identity;
}
static inline void shard_fetched(uint32_t sum) { __asm__ volatile("" ::"r"(sum)); }

/* key_group_of without a division: a power of two, as the default is, needs none; else exact for 32 bit (Lemire, Kaser,
 * Kurz: Faster remainder by direct computation, 2019). A lookup in the cache takes 15 ns and 25 with the division. */
static inline uint32_t shard_group(const struct shard *shard, uint32_t hash)
{
    if (LIKELY(shard->group_mask != 0)) return hash & shard->group_mask;
    const uint64_t fraction = shard->group_reciprocal * hash;
    return (uint32_t)((unsigned __int128)fraction * shard->max_parallelism >> 64);
}

static inline struct table *shard_table(const struct shard *shard, uint32_t hash)
{
    const uint32_t index = shard_group(shard, hash) - shard->group_first;
    CHECK_HOT(index < shard->group_count);
    return &shard->tables[index];
}

/* The first entry with the tag of a unit, SLAB_NONE when there is none. It is the unit's, but for one in 2^32. */
static inline uint32_t shard_find_tag(const struct shard *shard, uint32_t tag, uint32_t hash)
{
    const struct place *place = table_place(shard_table(shard, hash), tag);
    const struct slot *slots = place->segment->slots;
    uint32_t i = tag & place->mask;
    while (slots[i].tag != tag || slots[i].reference <= SLAB_RESERVED) {
        if (slots[i].reference == SLAB_NONE) return SLAB_NONE;
        i = (i + 1) & place->mask;
    }
    return slots[i].reference;
}

/* SLAB_NONE when there is none. Tombstones are found too. */
static inline __attribute__((always_inline)) uint32_t shard_find(const struct shard *shard, const struct unit *unit)
{
    const struct place *place = table_place(shard_table(shard, unit->key->hash), unit->tag);
    const struct slot *slots = place->segment->slots;
    for (uint32_t i = unit->tag & place->mask;; i = (i + 1) & place->mask) {
        const struct slot slot = slots[i];
        if (slot.tag == unit->tag && slot.reference > SLAB_RESERVED &&
            LIKELY(entry_is(entry_at(&shard->entries, slot.reference), unit)))
            return slot.reference;
        if (slot.reference == SLAB_NONE) return SLAB_NONE;
    }
}

/* unit_of, for a value or an element. */
static inline struct unit shard_unit(const struct shard *shard, uint32_t state, const struct state_key *key)
{
    struct unit unit = unit_of(state, key);
    if (UNLIKELY(shard->states[state].declaration.ttl_ms > 0)) unit_add_stamp(&unit);
    return unit;
}

/* shard_find, and the store is asked too. */
static inline __attribute__((always_inline)) uint32_t shard_look(struct shard *shard, const struct unit *unit)
{
    const uint32_t reference = shard_find(shard, unit);
    return LIKELY(reference != SLAB_NONE) || !shard->holds_units ? reference : cache_load(shard, unit);
}

static inline uint8_t shard_frozen_flag(const struct shard *shard)
{
    return (uint8_t)(shard->changed_flag ^ (ENTRY_CHANGED | ENTRY_CHANGED_ODD));
}

static inline bool shard_is_list(const struct shard *shard, uint32_t state)
{
    return state_kind_is_list(shard->states[state].declaration.kind);
}
static inline bool shard_is_map(const struct shard *shard, uint32_t state)
{
    return state_kind_is_map(shard->states[state].declaration.kind);
}

/* ---- shard.c ---- */

/* The entry is about to change for the first time in the open stretch: a snapshot under way gets what it was. */
void shard_save(struct shard *shard, struct entry *entry, uint32_t hash);

/* Of the codec that wrote the entry's value, where that is an older one. */
static inline uint32_t shard_version_of(const struct shard *shard, const struct entry *entry)
{
    if (LIKELY(!(entry->flags & ENTRY_OLD))) return 0;
    return shard->states[entry_state(entry)].versions.items[entry->version];
}
/* What the entry adds to the next delta so far. */
static inline size_t shard_pending_bytes(const struct shard *shard, const struct unit *unit, const struct entry *entry)
{
    if (!(entry->flags & shard->changed_flag)) return 0;
    return delta_size(entry, unit->key, shard_group(shard, unit->key->hash), shard_version_of(shard, entry));
}
/* The entry has changed, and added `bytes_before` to the delta until then. There is room in the list of changes. */
void shard_note_change(struct shard *shard, const struct unit *unit, uint32_t reference, size_t bytes_before);

/* The unit's entry; made when there is none, as a tombstone that is in no list, with room for a value of `value_size`.
 * `*is_new` says which. SLAB_NONE when there is no memory. */
uint32_t shard_find_or_create(struct shard *shard, const struct unit *unit, size_t value_size, bool *is_new);
/* The entry has something else than the store, where there is one. */
static inline void shard_note_dirty(struct shard *shard, const struct unit *unit, struct entry *entry)
{
    if (!shard->holds_units || (entry->flags & ENTRY_DIRTY)) return;
    entry->flags |= ENTRY_DIRTY;
    const uint32_t group = shard_group(shard, unit->key->hash) - shard->group_first;
    dirty_add(&shard->cache.dirty, group, unit->tag, shard->entry_count);
}
/* To be called before an entry is destroyed. */
static inline void shard_forget_head(struct shard *shard, uint32_t reference)
{
    struct shard_state *state = &shard->states[entry_state(entry_at(&shard->entries, reference))];
    if (state->head == reference) state->head = SLAB_NONE;
}
/* Removes an entry from the tables; it is in no list any more. */
void shard_discard(struct shard *shard, const struct unit *unit, uint32_t reference);

/* Value, orders and entry count. False when there is no memory: nothing has changed. */
bool shard_write(struct shard *shard, const struct unit *unit, uint32_t reference, struct weir_bytes value);
void shard_erase(struct shard *shard, const struct unit *unit, uint32_t reference);

/* The same as changes of the open epoch. shard_put answers the entry, SLAB_NONE when there is no memory. */
uint32_t shard_put(struct shard *shard, const struct unit *unit, struct weir_bytes value);
bool shard_take_away(struct shard *shard, const struct unit *unit, uint32_t reference);

/* The value as the declared version has it, whatever wrote it. */
struct weir_bytes shard_value_of(struct shard *shard, const struct entry *entry);
/* The value of a fixed-size state in place, made when there is none (`reference` = SLAB_NONE), changed in the open epoch.
 * NULL when there is no memory. */
void *shard_open_value(struct shard *shard, const struct unit *unit, uint32_t reference);
/* Nothing is to be done before the value may be changed in place. */
static inline bool shard_is_open(const struct shard *shard, const struct entry *entry)
{
    const uint8_t changed = shard->changed_flag;
    return (entry->flags & (changed | ENTRY_REMOVED | ENTRY_OLD)) == changed;
}

/* ---- expiry.c ---- */

/* The time of what was touched then is over. Differences are taken without a sign: a damaged time is no undefined one. */
static inline bool shard_is_over(const struct shard *shard, uint32_t state, int64_t stamp_ms)
{
    const int64_t age_ms = (int64_t)((uint64_t)shard->now_ms - (uint64_t)stamp_ms);
    return age_ms >= shard->states[state].declaration.ttl_ms || stamp_ms <= shard->states[state].gone_ms;
}
/* Its time is over. */
static inline bool shard_has_expired(const struct shard *shard, const struct entry *entry)
{
    return UNLIKELY(entry_is_stamped(entry)) && shard_is_over(shard, entry_state(entry), entry_stamp(entry));
}
/* The same, and nobody may see it. */
static inline bool shard_is_hidden(const struct shard *shard, const struct entry *entry)
{
    if (LIKELY(!shard_has_expired(shard, entry))) return false;
    const struct shard_state *state = &shard->states[entry_state(entry)];
    return !state->declaration.ttl_shows_expired || entry_stamp(entry) <= state->gone_ms;
}

/* For a reader of the stamped unit: `reference`, touched if need be, or SLAB_NONE when it is hidden, and taken away. */
uint32_t shard_admit(struct shard *shard, const struct unit *unit, uint32_t reference);

/* ---- dump.c ---- */

static inline void shard_fetch_slots(const struct shard *shard, const struct segment *segment, uint32_t first)
{
    uint32_t sum = 0;
    for (uint32_t i = first; i < first + SHARD_BLOCK && i <= segment->mask; i++) {
        const uint32_t reference = segment->slots[i].reference;
        if (reference > SLAB_RESERVED) sum += shard_fetch_one(shard, reference);
    }
    shard_fetched(sum);
}

/* Visits the entry of a slot in key group `group` (an index), and answers how much work that was; it may remove entries. */
typedef size_t shard_walk_fn(struct shard *shard, uint32_t group, const struct slot *slot, void *user);
#define SHARD_WALK_STOP SIZE_MAX /* the slot is visited again */

/* Goes on through the table of walk->group until about `work_max` is done, or `visit` stops: false. True behind its last
 * entry, and the walk stands before the next table. A slot counts as one, so that a walk through empty tables ends too.
 * Whoever was not touched since the walk began is never missed: entries do not move between key groups nor past each other's
 * segments, and within a segment slots move only when it is rebuilt or split, which shows in its stamp: then it is begun
 * anew. */
static inline __attribute__((always_inline)) bool shard_walk_group(struct shard *shard, struct walk *walk, size_t *work,
                                                                   size_t work_max, shard_walk_fn *visit, void *user)
{
    const struct table *table = &shard->tables[walk->group];
    while (walk->position <= UINT32_MAX) {
        const struct segment *segment = table_segment(table, (uint32_t)walk->position);
        if (segment->stamp != walk->stamp) walk->slot = 0;
        walk->stamp = segment->stamp;
        for (; walk->slot <= segment->mask; walk->slot++) {
            if (*work >= work_max) return false;
            if (walk->slot % SHARD_BLOCK == 0) shard_fetch_slots(shard, segment, walk->slot);
            const struct slot *slot = &segment->slots[walk->slot];
            const size_t done = slot->reference > SLAB_RESERVED ? visit(shard, walk->group, slot, user) : 0;
            if (done == SHARD_WALK_STOP) return false;
            *work += done + 1;
        }
        walk->slot = 0;
        walk->position = table_segment_end(table, (uint32_t)walk->position);
    }
    walk->position = 0;
    walk->group++;
    return true;
}

/* The same through all tables. */
static inline __attribute__((always_inline)) bool shard_walk(struct shard *shard, struct walk *walk, size_t work_max,
                                                             shard_walk_fn *visit, void *user)
{
    size_t work = 0;
    while (walk->group < shard->group_count)
        if (!shard_walk_group(shard, walk, &work, work_max, visit, user)) return false;
    return true;
}

/* ---- collection.c ---- */

/* The entry behind the cursor, which moves there; SLAB_NONE at the end. */
uint32_t shard_list_step(struct shard *shard, uint32_t state, const struct state_key *key, struct shard_cursor *cursor);
uint32_t shard_map_step(struct shard *shard, uint32_t state, const struct state_key *key, struct shard_cursor *cursor);
/* As shard_list_add and shard_map_put, but they answer the entry; SLAB_NONE when there is no memory. */
uint32_t shard_list_add_entry(struct shard *shard, uint32_t state, const struct state_key *key, struct weir_bytes value);
uint32_t shard_map_put_entry(struct shard *shard, uint32_t state, const struct state_key *key, struct weir_bytes value);

/* The unit of the collection's head. `name` becomes its name. */
struct unit shard_head_unit(uint32_t state, const struct state_key *key, struct state_key *name);
/* Takes an element away that has expired, and of the collection whatever no longer needs to be; given a head, the same for
 * its collection. */
void shard_clean_collection(struct shard *shard, uint32_t reference);
/* Puts the element of a restored shard into its place; `*is_dead` when it has none. False when there is no memory. */
bool shard_attach(struct shard *shard, uint32_t reference, bool *is_dead);
void shard_forget_remains(struct shard *shard);

/* ---- restore.c ---- */

/* Notes that an older version wrote the entry's value. False when there is no memory. */
bool shard_note_version(struct shard *shard, uint32_t reference, uint32_t version);

#endif
