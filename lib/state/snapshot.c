/* What changed in an epoch, for emit on commit and for the snapshot behind a barrier. Both walk a list of changes, whose
 * entries lie all over the slab, so they are fetched a block at a time.
 *
 *   epoch n open       changes ─> a b c          flag of n
 *   barrier n          frozen ──> a b c          changes ─> (empty)            flag of n + 1        no entry is touched
 *   b changes          frozen ──> a b c          changes ─> b                  b as it was goes to the delta first
 *   steps              a, c go to the delta; b has lost the flag of n and is passed over */
#include "state/shard_private.h"

/* What is dead goes in the end also where nobody changes a collection any more. */
enum { COLLECT_WITH_SNAPSHOT = 1000 };

/* To be called before the change at `index` is used: every SHARD_BLOCK changes it fetches the next ones. */
static inline void fetch_block(const struct shard *shard, const struct changes *changes, size_t index)
{
    if (LIKELY(index % SHARD_BLOCK != 0)) return;
    const size_t left = changes->count - index;
    const size_t end = index + (left < SHARD_BLOCK ? left : SHARD_BLOCK);
    uint32_t sum = 0;
    for (size_t i = index; i < end; i++) sum += shard_fetch_one(shard, changes_at(changes, i)->reference);
    shard_fetched(sum);
}

bool shard_each_changed_from(struct shard *shard, uint32_t state, size_t *position, shard_visit_fn *visit, void *user)
{
    CHECK(state < shard->state_count);
    while (*position < shard->changes.count) {
        fetch_block(shard, &shard->changes, *position);
        const struct change *change = changes_at(&shard->changes, (*position)++);
        const struct entry *entry = entry_at(&shard->entries, change->reference);
        if (entry_state(entry) != state || (entry->flags & ENTRY_REMOVED)) continue;
        struct state_key key = entry_key(entry);
        key.hash = change->hash;
        if (!visit(user, &key, entry_value(entry))) return false;
    }
    return true;
}

bool shard_each_changed(struct shard *shard, uint32_t state, shard_visit_fn *visit, void *user)
{
    size_t position = 0;
    return shard_each_changed_from(shard, state, &position, visit, user);
}

/* ---- Snapshots --------------------------------------------------------------------------------------------------- */

/* There is room: all of it was taken when the snapshot began. */
static void write_entry(struct shard *shard, struct entry *entry, uint32_t hash)
{
    struct buffer *delta = shard->snapshot.delta;
    char *const at = delta->data + delta->size;
    delta->size += (size_t)(delta_write(at, entry, shard_group(shard, hash), 0) - at);
    entry->flags &= (uint8_t)~shard_frozen_flag(shard);
}

void shard_save(struct shard *shard, struct entry *entry, uint32_t hash)
{
    if (UNLIKELY(entry->flags & shard_frozen_flag(shard))) write_entry(shard, entry, hash);
}

/* A tombstone has done its duty. */
static void discard_removed(struct shard *shard, const struct change *change, const struct entry *entry)
{
    struct state_key key = entry_key(entry);
    key.hash = change->hash;
    const struct unit unit = unit_of(entry_state(entry), &key);
    shard_discard(shard, &unit, change->reference);
}

/* What the open epoch has touched since was saved then, and belongs to it now, as a tombstone too. */
static void write_change(struct shard *shard, const struct change *change)
{
    struct entry *entry = entry_at(&shard->entries, change->reference);
    if (!(entry->flags & shard_frozen_flag(shard))) return;
    if (LIKELY((entry->flags & ENTRY_FORGOTTEN) != ENTRY_FORGOTTEN)) write_entry(shard, entry, change->hash);
    if (UNLIKELY(entry->flags & ENTRY_REMOVED)) discard_removed(shard, change, entry);
}

bool shard_snapshot_begin(struct shard *shard, uint64_t epoch, struct buffer *delta)
{
    struct snapshot *snapshot = &shard->snapshot;
    CHECK(epoch == shard->epoch && snapshot->delta == NULL);
    if (!buffer_reserve(delta, shard->changed_bytes)) return false;
    const struct changes emptied = snapshot->frozen;
    snapshot->frozen = shard->changes;
    snapshot->next = 0;
    snapshot->delta = delta;
    shard->changes = emptied;
    shard->changed_bytes = 0;
    shard->changed_flag = shard_frozen_flag(shard);
    shard->epoch++;
    return true;
}

bool shard_snapshot_step(struct shard *shard, size_t changes_max)
{
    struct snapshot *snapshot = &shard->snapshot;
    if (snapshot->delta == NULL) return true;
    const size_t left = snapshot->frozen.count - snapshot->next;
    const size_t end = snapshot->next + (changes_max < left ? changes_max : left);
    for (; snapshot->next < end; snapshot->next++) {
        fetch_block(shard, &snapshot->frozen, snapshot->next);
        write_change(shard, changes_at(&snapshot->frozen, snapshot->next));
    }
    if (end < snapshot->frozen.count) return false;
    changes_clear(&snapshot->frozen);
    snapshot->delta = NULL;
    (void)shard_collect(shard, COLLECT_WITH_SNAPSHOT);
    return true;
}

bool shard_snapshot(struct shard *shard, uint64_t epoch, struct buffer *delta)
{
    return shard_snapshot_begin(shard, epoch, delta) && shard_snapshot_step(shard, SIZE_MAX);
}
