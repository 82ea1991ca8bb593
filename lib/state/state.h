/* State: the shards of operators, what changed in them, and how they are written down and brought back.
 *
 *   shard    the state of one operator for a range of key groups: the unit that is stored, restored and moved
 *   unit     the smallest thing that changes: (key group | state | key | name space | generation | element) -> bytes
 *   delta    after-images of the units that changed in one epoch: the whole new value, or a tombstone. Applying a delta
 *            twice, or over a newer base, changes nothing.
 *   base     a fuzzy dump of a shard, one key group after another, taken while processing goes on; its redo point r is
 *            the epoch before the one in which the dump began: base + deltas r+1..n = the state at n, for every n whose
 *            barrier came after the end of the dump.
 *
 * A value is one unit. A list or a map (a *collection* of one key and name space) is a head, which is a unit without an
 * element, and elements: a list's by sequence number, a map's by its keys. The head holds the collection's generation, a
 * number that a shard never gives twice; each element carries the one that it was made in:
 *
 *   head      (group | state | key | name space | -          | -      )  ->  generation, a list's range
 *   element   (group | state | key | name space | generation | element)  ->  value
 *
 *   an element lives exactly as long as there is a head of its key and name space with its generation.
 *
 * So a clear removes the head and nothing else: whatever was in the collection is dead from then on, in the table, in
 * deltas and in bases, in whichever order they are read. What is dead is dropped when there is time: by the calls that
 * follow, before a dump, at the end of a restore; in a store, when it compacts.
 *
 *   process ──> shard_value ──> table (one for each key group) ──> changed list of the open epoch
 *   barrier ──> shard_snapshot_begin, _step ...: changed list -> delta   (a slice between batches, cost follows the change)
 *   limit   ──> shard_part_begin, _step ...: the same for an early part of the epoch's delta; the epoch stays open
 *   between ──> shard_dump_step: some key groups -> base           (in slices; no pause)
 *   restart ──> shard_apply(base ...), shard_apply(delta ...)      (foreign key groups are skipped: clipping)
 *
 * Owner of a shard: the task thread of its operator. No locks, no clock; no I/O but what a store does. */
#ifndef STATE_STATE_H
#define STATE_STATE_H

#include "base/base.h"

struct state_declaration {
    char name[64];
    enum weir_state_kind kind;
    enum weir_codec codec;
    uint32_t value_size_bytes; /* of fixed codecs; 0 = any length. Of a collection: of its elements */
    uint32_t version;          /* of what is written from now on */
    bool migrates;             /* values of other versions are welcome: the shard's `migrate` knows them */
    bool ordered_in_group;     /* shard_scan_group: the elements of a name space over all keys of a key group */
    /* Values, and elements, expire so long after they were touched, that is created or written; 0 = never. Not those of
     * the operator itself. */
    int64_t ttl_ms;
    bool ttl_on_read;        /* reading touches them too */
    bool ttl_shows_expired;  /* as long as they are there; else nobody sees them again */
    uint32_t ttl_clean_up;   /* places of the tables that are to be cleaned for each record: for shard_clean */
};

static inline bool state_kind_is_list(enum weir_state_kind kind)
{
    return kind == WEIR_STATE_LIST || kind == WEIR_STATE_OPERATOR_LIST || kind == WEIR_STATE_OPERATOR_UNION;
}
static inline bool state_kind_is_map(enum weir_state_kind kind)
{
    return kind == WEIR_STATE_MAP || kind == WEIR_STATE_BROADCAST;
}
/* Of the operator, not of its keys. */
static inline bool state_kind_is_own(enum weir_state_kind kind) { return kind >= WEIR_STATE_OPERATOR_LIST; }

/* A value that an older version of the codec wrote, as the declared version writes it; good until the next call on the
 * shard. Unset = it cannot be done, and who was asked knows why. */
typedef struct weir_bytes state_migrate_fn(void *user, uint32_t state, uint32_t version, struct weir_bytes value);

struct shard_options {
    const struct state_declaration *states;
    uint32_t state_count;
    uint32_t max_parallelism;
    uint32_t group_first; /* key groups [group_first, group_first + group_count) */
    uint32_t group_count;
    uint64_t epoch;       /* the epoch that is open */
    bool forgets_parts;   /* nobody asks what has changed in an epoch: what an early part has written may be evicted */
    state_migrate_fn *migrate; /* asked when a value of another version is used: lazily. NULL = there are none */
    void *migrate_user;
};

/* Names one unit (or, with `element` unset, a value state's only one). `hash` is hash_key(key): the caller has it. The
 * generation is the shard's business: callers leave it 0. */
struct state_key {
    struct weir_bytes key;
    struct weir_bytes name_space; /* unset = the default one */
    struct weir_bytes element;    /* unset = none */
    uint64_t generation;          /* 0 = none */
    uint32_t hash;
};

struct shard;
struct state_store;
struct holdings;

/* Time to live. An entry of a state with `ttl_ms` holds when it was touched last. Who finds that it has expired takes it
 * away, as a change like any other. What nobody comes by is taken away by shard_clean, and bases and compactions leave it
 * out without a word, while the log still has it: so whoever restores under another declaration says what was expired
 * under the old one (shard_set_gone). What was once not there stays so, whatever clock or declaration say later. */

struct shard *shard_create(const struct shard_options *options); /* NULL when there is no memory */
void shard_destroy(struct shard *shard);
/* Puts a store behind an empty shard, which owns it from then on: what is in memory is a cache of about `budget_bytes`
 * then. Whatever fails in it is answered as "there is none", so shard_failure is to be asked before anything that came
 * out of the shard is made durable. */
void shard_use(struct shard *shard, struct state_store *store, uint64_t budget_bytes);
/* What is not in memory may be on disk. */
bool shard_asks_store(const struct shard *shard);
/* From now on until its end the shard says what it holds in memory, between batches. `holdings` outlives it. */
void shard_report_to(struct shard *shard, struct holdings *holdings);
const struct weir_error *shard_failure(const struct shard *shard); /* sticky; NULL = none */
/* Between records: writes down and evicts some, when the budget is nearly used up, and says what is held. Values and cursors
 * are gone then. */
void shard_tend(struct shard *shard);
/* For who knows the next keys of a value state: brings at most 256 of them in from the store with one question. */
void shard_load(struct shard *shard, uint32_t state, const struct state_key *keys, uint32_t count);

/* The value of a fixed-size state, made as zero bytes when there is none; it counts as changed in the open epoch.
 * Valid until the next call on this shard. NULL when there is no memory. This is the hot path: 15 to 20 ns in a table
 * that lies in the cache. */
void *shard_value(struct shard *shard, uint32_t state, const struct state_key *key);
/* Unset when there is none. Valid until the next call that changes the shard. */
struct weir_bytes shard_get(struct shard *shard, uint32_t state, const struct state_key *key);
/* Copies `value`, which may lie in this key's value, and may be null unless the state is fixed. False when there is no
 * memory: nothing has changed then, here and below. */
bool shard_set(struct shard *shard, uint32_t state, const struct state_key *key, struct weir_bytes value);
bool shard_remove(struct shard *shard, uint32_t state, const struct state_key *key);

/* For who knows the next keys of a value state, as a batch does: brings what calls with them will touch into the
 * caches, all waits overlapping, so that a lookup among 10 million keys takes a fifth of the time. About a hundred keys
 * at a time. Changes nothing; does nothing in a shard that is small. */
void shard_fetch(const struct shard *shard, uint32_t state, const uint32_t *hashes, uint32_t count);

/* Lists and maps, of states of those kinds. Calls that add, put or remove also drop a few elements that are dead.
 * False, and NULL, when there is no memory: nothing that can be read has changed then. */

/* Copies `value` in behind the list's last element. `key` has no element. */
bool shard_list_add(struct shard *shard, uint32_t state, const struct state_key *key, struct weir_bytes value);

/* key->element is the map's key. Get and value as shard_get and shard_value. */
struct weir_bytes shard_map_get(struct shard *shard, uint32_t state, const struct state_key *key);
void *shard_map_value(struct shard *shard, uint32_t state, const struct state_key *key);
bool shard_map_put(struct shard *shard, uint32_t state, const struct state_key *key, struct weir_bytes value);
bool shard_map_remove(struct shard *shard, uint32_t state, const struct state_key *key);

bool shard_is_empty(struct shard *shard, uint32_t state, const struct state_key *key);
/* Of any kind: the value, or all elements at once, in constant time. `key` has no element. */
bool shard_clear(struct shard *shard, uint32_t state, const struct state_key *key);

/* Where a walk over a collection stands. Begins as zero bytes, and is good until the next snapshot. What is changed, put
 * or removed during a walk is seen as it is when the walk comes there; a clear ends it, and of a list only what was
 * there at the beginning is seen. */
struct shard_cursor {
    uint64_t generation;
    uint64_t at, end; /* of lists: sequence numbers */
    uint32_t entry;   /* of maps: the element seen last, */
    uint32_t node;    /* and its place in the order, as long as */
    uint32_t stamp;   /* no element was removed from any */
};
/* The next element, in the order in which they were added. False when there is none. */
bool shard_list_next(struct shard *shard, uint32_t state, const struct state_key *key, struct shard_cursor *cursor,
                     struct weir_bytes *value);
/* The same by map key, in byte order; the first one is the first at or behind key->element, where that is set. */
bool shard_map_next(struct shard *shard, uint32_t state, const struct state_key *key, struct shard_cursor *cursor,
                    struct weir_bytes *element, struct weir_bytes *value);

/* The time, in milliseconds since 1970: it never goes back. Between records, after whatever is restored. */
void shard_set_time(struct shard *shard, int64_t now_ms);
bool shard_has_ttl(const struct shard *shard); /* of some state */
/* What was touched no later than `touched_ms` has expired, whatever the declaration says now: under an earlier one it had,
 * and a reader may have missed it already. Before the first unit is applied. */
void shard_set_gone(struct shard *shard, uint32_t state, int64_t touched_ms);
/* Looks at some `places` more of the tables, round and round, and takes away what has expired in states that are to be
 * cleaned up. Between records. */
void shard_clean(struct shard *shard, size_t places);

/* Drops up to `elements_max` elements that are dead; true when none are left. */
bool shard_collect(struct shard *shard, size_t elements_max);

/* State of an operator itself lies in its shards like any other, under a key of the shard's own: the smallest number, as 4
 * bytes, whose hash falls into the shard's key groups. So it is written, dumped and clipped like everything else; and who
 * knows the parallelism that wrote it knows its keys. */
struct state_own {
    uint32_t bytes; /* the number, little-endian */
    uint32_t hash;
};
struct state_own state_own_of(uint32_t max_parallelism, uint32_t group_first, uint32_t group_count);
/* Borrows `own`. */
static inline struct state_key state_own_key(const struct state_own *own)
{
    return (struct state_key){ .key = { (const char *)&own->bytes, sizeof own->bytes }, .hash = own->hash };
}

/* Elements on their way from one shard to others of the same states: as they are, versions too. */
struct state_parcel {
    struct buffer bytes;
    uint64_t count;
};
struct state_packed {
    struct weir_bytes element; /* a map's key; unset = of a list */
    struct weir_bytes value;
    bool is_old;               /* another version than the declared one wrote the value: */
    uint32_t version;
};
void state_parcel_init(struct state_parcel *parcel);
void state_parcel_deinit(struct state_parcel *parcel);
/* Appends all of `more`; parcel->bytes.failed tells of no memory. */
void state_parcel_add(struct state_parcel *parcel, const struct state_parcel *more);
/* The element at *position (0 at first), which moves on. False at the end. */
bool state_parcel_next(const struct state_parcel *parcel, size_t *position, struct state_packed *packed);
/* Appends all elements of a list or a map. */
bool shard_pack(struct shard *shard, uint32_t state, const struct state_key *key, struct state_parcel *parcel);
/* Adds `count` of them, from the element `first` on. */
bool shard_unpack(struct shard *shard, uint32_t state, const struct state_key *key, const struct state_parcel *parcel,
                  uint64_t first, uint64_t count);

/* Deals out one state of the operator itself among the shards of its subtasks, in their order, when `count_before` of them
 * have written it; all are restored, and none was used. `all` gets what there is: of a broadcast map, the first one's. A
 * list is cut into pieces of equal size, or one more; maps are copied. With as many subtasks as before nothing is
 * changed. False when there is no memory. */
bool state_deal_out(struct shard *const *shards, uint32_t count, uint32_t count_before, uint32_t state,
                    struct state_parcel *all);

/* Calls `visit` for each unit of a name space with element >= `from_element` over all keys of one key group, by
 * (element, key), until it answers false. States declared `ordered_in_group` only (timers: element = time), which are
 * no collections. `visit` must not change the shard. */
typedef bool shard_visit_fn(void *user, const struct state_key *key, struct weir_bytes value);
void shard_scan_group(struct shard *shard, uint32_t state, uint32_t group, struct weir_bytes name_space,
                      struct weir_bytes from_element, shard_visit_fn *visit, void *user);

/* Visits each live unit of `state` that changed in the open epoch, once, in order of first change (emit on commit),
 * whether an early part has written it or not. Not while a part is being written down. False when `visit` answered
 * false. `visit` may not change the shard. */
bool shard_each_changed(struct shard *shard, uint32_t state, shard_visit_fn *visit, void *user);
/* The same from `*position` on (0 at first). The position moves behind the unit for which `visit` answered false, so
 * that the next call goes on there; the shard must not change in between. */
bool shard_each_changed_from(struct shard *shard, uint32_t state, size_t *position, shard_visit_fn *visit, void *user);

uint64_t shard_entry_count(const struct shard *shard);   /* units in memory: heads too, and what is dead and not dropped yet */
uint64_t shard_bytes(const struct shard *shard);         /* memory held */
uint64_t shard_state_bytes(const struct shard *shard);   /* the same, or what the store holds, if that is more */
uint64_t shard_store_reads(const struct shard *shard);   /* units and runs of elements that the tables did not have */
/* What shard_load found in the tables, and did not, one for each key. Only where the store has something alone: nothing is
 * counted on the way of a record, and nothing without a store. */
uint64_t shard_cache_hits(const struct shard *shard);
uint64_t shard_cache_misses(const struct shard *shard);
uint64_t shard_evictions(const struct shard *shard);
uint64_t shard_changed_bytes(const struct shard *shard); /* what a snapshot or a part would append now */
uint64_t shard_epoch(const struct shard *shard);         /* the open one */
uint64_t shard_generation(const struct shard *shard);    /* the highest that was given: part of every checkpoint */

/* Barrier `epoch` (the open one): opens epoch + 1, without touching an entry. The after-images of what changed are
 * appended to `delta` by the steps that follow, and as they were at the barrier, whatever changes meanwhile; `delta`
 * must stay where it is, untouched, until the last step. At most one snapshot at a time. False when there is no memory:
 * the epoch stays open. */
bool shard_snapshot_begin(struct shard *shard, uint64_t epoch, struct buffer *delta);
/* Looks at `changes_max` more changes, some 60 ns each in a state larger than the caches; true when these were the
 * last, or none is under way. */
bool shard_snapshot_step(struct shard *shard, size_t changes_max);
/* Both at once. */
bool shard_snapshot(struct shard *shard, uint64_t epoch, struct buffer *delta);
/* Begins an early part of the open epoch's delta, which stays open: what changed so far, as it is now. Continued by
 * shard_snapshot_step, with the same duties. What changes again belongs to the next part or to the snapshot behind the
 * barrier, so parts and snapshot are applied in the order in which they were begun. Of what a part has written the shard
 * keeps 8 bytes for each unit until the barrier, and its tombstones, so that emit on commit still finds them all, unless it
 * forgets parts. */
bool shard_part_begin(struct shard *shard, struct buffer *delta);

/* A base. Begin answers the redo point. At most one dump at a time. */
uint64_t shard_dump_begin(struct shard *shard);
/* Appends about `bytes_max` more bytes of units to `out`; true when this was the last of them (check out->failed). */
bool shard_dump_step(struct shard *shard, size_t bytes_max, struct buffer *out);
/* The base is to be links instead of units, where the shard has a store that can: for who asks right after the beginning.
 * Then the last step leaves them in a folder, which is good until the next base or the end of the shard (NULL: the base is
 * units), for checkpoint/links.h. `stamped` gets a byte for each state. */
void shard_dump_as_links(struct shard *shard);
const char *shard_dump_folder(const struct shard *shard, struct buffer *stamped);
void shard_dump_abandon(struct shard *shard);
bool shard_is_dumping(const struct shard *shard);

/* What one of the writer's states is here. */
struct state_mapping {
    uint32_t state;            /* index; UINT32_MAX = its units are skipped */
    uint32_t version;          /* of the writer's values, unless they say another one */
    uint32_t value_size_bytes; /* of the writer's values, 0 = any */
    int64_t unstamped_ms;      /* when values without a time were touched: since then they expire */
};

/* Applies units of a base or a delta (their format is the same), in order. Nothing that is applied counts as changed.
 * Units of key groups outside the shard are skipped; mapping[i] is about the writer's state i. Every length is checked:
 * damage answers WEIR_DAMAGED with a sentence, a value of another version in a state that does not migrate
 * WEIR_FOREIGN. A shard that was not filled to the end, or after a failure, is good for destroying only. Before the
 * first change. */
enum weir_code shard_apply(struct shard *shard, struct weir_bytes units, const struct state_mapping *mapping,
                           uint32_t mapping_count, struct weir_error *error);
/* Every unit has been applied: drops the elements that are dead and puts the others in their places. The open epoch is
 * `epoch`; `generation` is the highest that was ever given, as the checkpoint says. */
enum weir_code shard_restored(struct shard *shard, uint64_t epoch, uint64_t generation, struct weir_error *error);

#endif
