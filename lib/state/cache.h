/* The tables of a shard as a write-back cache of its store, for the files that implement state.h.
 *
 *   miss     get ──> an entry, clean; with the head of a map all its elements, which come and go together
 *   change   the entry is dirty, and listed (dirty.h)
 *   round    WRITING   every dirty entry, a slice at a time ──put, remove──> store, which writes a batch at a time
 *            FLUSHING  until the store has all of it
 *            LINKING   for a base: until the store has linked its files
 *            EVICTING  clean entries, until half of the budget is free
 *   base     a round, then links to the store's files, or the store's own walk
 *
 * A round begins when the budget is nearly used up, or for a base, and goes on between batches only: what a record is
 * handed stays where it is until the record is done.
 *
 * Invariants
 *   1. An entry that is not dirty is what the store has, or will have with the next flush. There is an eviction only
 *      where everything is flushed.
 *   2. An entry that changed in the open stretch is dirty, and stays so: who has opened it may change it in place without
 *      another word. It will be in a delta, so that a base need not have it.
 *   3. A map's head is in the tables with all its elements, or not at all.
 *   4. States that are ordered_in_group are written to the store for the sake of bases, and never evicted.
 *   5. A clean tombstone says that the store has none, or will have none with the next flush: it is evicted, never
 *      discarded.
 *   6. The tag of a dirty entry is in the list of its key group, or among the tags that the round under way has still to look
 *      at, or the list was given up. */
#ifndef STATE_CACHE_H
#define STATE_CACHE_H

#include "state/dirty.h"
#include "state/entry.h"
#include "state/store.h"

/* Where a walk over all entries stands: everything in key groups before `group`, in segments before `position` and in
 * slots before `slot` has been visited. Slots count for the segment with this stamp only: when it was rebuilt meanwhile,
 * the walk begins it anew. */
struct walk {
    uint32_t group; /* index among the shard's */
    uint64_t position;
    uint32_t slot;
    uint32_t stamp;
};

/* How far a round's writing is: one key group after another, beginning with any. */
struct cache_writing {
    uint32_t groups_left; /* not begun yet */
    bool is_in_group;     /* that of `walk`: begun, and not at its end */
    bool by_table;        /* the group's list was given up */
    struct walk walk;
    struct dirty_tags tags; /* of the group, */
    size_t next;            /* and the first that was not looked at */
};

enum cache_round { ROUND_NONE, ROUND_WRITING, ROUND_FLUSHING, ROUND_LINKING, ROUND_EVICTING };

struct cache {
    bool has_all; /* the store has nothing alone: a miss is final */
    uint64_t budget_bytes;
    uint64_t due_bytes; /* a round begins there */
    enum cache_round round;
    struct dirty dirty;
    struct cache_writing writing;
    struct walk evicting; /* goes on in the next round where it stopped */
    uint32_t turns;       /* ends of the tables that this round's eviction has passed */
    uint64_t batch_bytes; /* handed to the store since its last flush */
    int64_t wait_us;      /* for a store that is busy, in this call */
    bool is_walking;      /* the store, for a base */
    bool has_links;       /* the base that was made last is what `folder` holds */
    char folder[STORE_FOLDER_MAX];
    struct buffer values; /* read from the store */
    struct buffer head;   /* name of the last head of that walk, */
    uint64_t head_generation; /* and its generation */
    uint64_t reads;
    uint64_t hits, misses; /* of what was looked for ahead */
    uint64_t evictions;
    struct holdings *holdings; /* NULL = nobody wants to know; with or without a store */
    uint64_t charged;
    struct weir_error failure; /* sticky; code WEIR_OK = none */
};

struct shard;

/* Nothing is read after a failure: what is missing then is missing, and the shard is to be restored. */

/* Brings a unit in that no table has. SLAB_NONE when the store has none either. */
uint32_t cache_load(struct shard *shard, const struct unit *unit);
/* The next elements of a list, from `key` on. The tables have all that the store has from there to the sequence number that is
 * answered: an element before it that they do not have is not there. */
uint64_t cache_load_run(struct shard *shard, uint32_t state, const struct state_key *key);

/* The collection's elements are dead. */
void cache_remove_elements(struct shard *shard, uint32_t state, const struct state_key *key, uint64_t generation);

/* Says what the shard holds, and at the end that it is nothing. */
void cache_report(struct shard *shard, bool is_end);

/* While a shard is being restored: writes everything down and empties the tables when the budget is used up; at the end the same
 * for lists and maps, whose heads do not know yet what they have. */
enum weir_code cache_settle(struct shard *shard, bool is_end, struct weir_error *error);

/* What shard_dump_begin, _step and _abandon are with a store. */
void cache_dump_begin(struct shard *shard);
bool cache_dump_step(struct shard *shard, size_t bytes_max, struct buffer *out);
void cache_dump_abandon(struct shard *shard);

#endif
