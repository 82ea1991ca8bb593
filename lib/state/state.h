/* Keyed state: the shards of keyed operators, what changed in them, and how they are written down and brought back.
 *
 *   shard    the state of one operator for a range of key groups: the unit that is stored, restored and moved
 *   unit     the smallest thing that changes: (key group | state | key | namespace | element) -> bytes
 *   delta    after-images of the units that changed in one epoch: the whole new value, or a tombstone. Applying a delta
 *            twice, or over a newer base, changes nothing.
 *   base     a fuzzy dump of a shard, one key group after another, taken while processing goes on; its redo point r is
 *            the epoch before the one in which the dump began: base + deltas r+1..n = the state at n, for every n whose
 *            barrier came after the end of the dump.
 *
 *   process ──> shard_value ──> table (one for each key group) ──> changed list of the open epoch
 *   barrier ──> shard_snapshot_begin, _step ...: changed list -> delta   (a slice between batches, cost follows the change)
 *   limit   ──> shard_part_begin, _step ...: the same for an early part of the epoch's delta; the epoch stays open
 *   between ──> shard_dump_step: some key groups -> base           (in slices; no pause)
 *   restart ──> shard_apply(base ...), shard_apply(delta ...)      (foreign key groups are skipped: clipping)
 *
 * Owner of a shard: the task thread of its operator. No locks, no clock, no I/O. */
#ifndef STATE_STATE_H
#define STATE_STATE_H

#include "base/base.h"

struct state_declaration {
    char name[64];
    enum weir_state_kind kind;
    enum weir_codec codec;
    uint32_t value_size_bytes; /* of fixed codecs; 0 = any length */
    bool ordered;              /* shard_scan: the elements of one key and name space in order */
    bool ordered_in_group;     /* shard_scan_group: those of a name space over all keys of a key group */
};

struct shard_options {
    const struct state_declaration *states;
    uint32_t state_count;
    uint32_t max_parallelism;
    uint32_t group_first; /* key groups [group_first, group_first + group_count) */
    uint32_t group_count;
    uint64_t epoch;       /* the epoch that is open */
};

/* Names one unit (or, with `element` unset, a value state's only one). `hash` is hash_key(key): the caller has it. */
struct state_key {
    struct weir_bytes key;
    struct weir_bytes name_space; /* unset = the default one */
    struct weir_bytes element;    /* unset = none */
    uint32_t hash;
};

struct shard;

struct shard *shard_create(const struct shard_options *options); /* NULL when there is no memory */
void shard_destroy(struct shard *shard);

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

/* Calls `visit` for each unit of `key` and name space with element >= `from`, in byte order, until it answers false.
 * States declared `ordered` only. `visit` must not change the shard. */
typedef bool shard_visit_fn(void *user, const struct state_key *key, struct weir_bytes value);
void shard_scan(struct shard *shard, uint32_t state, const struct state_key *from, shard_visit_fn *visit, void *user);
/* The same over all keys of one key group, by (element, key). States declared `ordered_in_group` only (timers: element
 * = time). */
void shard_scan_group(struct shard *shard, uint32_t state, uint32_t group, struct weir_bytes name_space,
                      struct weir_bytes from_element, shard_visit_fn *visit, void *user);

/* Visits each live unit of `state` that changed in the open epoch, once, in order of first change (emit on commit),
 * whether an early part has written it or not. Not while a part is being written down. False when `visit` answered
 * false. `visit` may not change the shard. */
bool shard_each_changed(struct shard *shard, uint32_t state, shard_visit_fn *visit, void *user);
/* The same from `*position` on (0 at first). The position moves behind the unit for which `visit` answered false, so
 * that the next call goes on there; the shard must not change in between. */
bool shard_each_changed_from(struct shard *shard, uint32_t state, size_t *position, shard_visit_fn *visit, void *user);

uint64_t shard_entry_count(const struct shard *shard);
uint64_t shard_bytes(const struct shard *shard);         /* memory held */
uint64_t shard_changed_bytes(const struct shard *shard); /* what a snapshot or a part would append now */
uint64_t shard_epoch(const struct shard *shard);         /* the open one */

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
 * keeps 8 bytes for each unit until the barrier, and its tombstones, so that emit on commit still finds them all. */
bool shard_part_begin(struct shard *shard, struct buffer *delta);

/* A base. Begin answers the redo point. At most one dump at a time. */
uint64_t shard_dump_begin(struct shard *shard);
/* Appends about `bytes_max` more bytes of units to `out`; true when this was the last of them (check out->failed). */
bool shard_dump_step(struct shard *shard, size_t bytes_max, struct buffer *out);
void shard_dump_abandon(struct shard *shard);
bool shard_is_dumping(const struct shard *shard);

/* Applies units of a base or a delta (their format is the same), in order. Nothing that is applied counts as changed.
 * Units of key groups outside the shard are skipped; `state_map[i]` is the shard's state for the writer's state i, or
 * UINT32_MAX to skip it. Every length is checked: damage answers WEIR_DAMAGED with a sentence. A shard
 * that was not filled to the end, or after a failure, is good for destroying only. Before the first change. */
enum weir_code shard_apply(struct shard *shard, struct weir_bytes units, const uint32_t *state_map,
                           uint32_t state_map_count, struct weir_error *error);
/* Every unit has been applied; the open epoch is `epoch`. */
void shard_restored(struct shard *shard, uint64_t epoch);

#endif
