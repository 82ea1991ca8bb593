/* What changed in an epoch, for emit on commit and for the barrier. Both walk the list of changes, whose entries lie
 * all over the slab, so they are fetched a block at a time. */
#include "state/shard_private.h"

/* To be called before the change at `index` is used: every SHARD_BLOCK changes it fetches the next ones. */
static inline void fetch_block(const struct shard *shard, size_t index)
{
    if (LIKELY(index % SHARD_BLOCK != 0)) return;
    const size_t left = shard->changes.count - index;
    const size_t end = index + (left < SHARD_BLOCK ? left : SHARD_BLOCK);
    uint32_t sum = 0;
    for (size_t i = index; i < end; i++) sum += shard_fetch_one(shard, changes_at(&shard->changes, i)->reference);
    shard_fetched(sum);
}

bool shard_each_changed_from(struct shard *shard, uint32_t state, size_t *position, shard_visit_fn *visit, void *user)
{
    CHECK(state < shard->state_count);
    while (*position < shard->changes.count) {
        fetch_block(shard, *position);
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

/* A tombstone has done its duty. */
static void discard_removed(struct shard *shard, const struct change *change, const struct entry *entry)
{
    struct state_key key = entry_key(entry);
    key.hash = change->hash;
    const struct unit unit = unit_of(entry_state(entry), &key);
    shard_discard(shard, &unit, change->reference);
}

static char *write_changes(struct shard *shard, char *at)
{
    for (size_t i = 0; i < shard->changes.count; i++) {
        fetch_block(shard, i);
        const struct change *change = changes_at(&shard->changes, i);
        struct entry *entry = entry_at(&shard->entries, change->reference);
        at = delta_write(at, entry, shard_group(shard, change->hash));
        if (UNLIKELY(entry->flags & ENTRY_REMOVED)) discard_removed(shard, change, entry);
        else entry->flags &= (uint8_t)~ENTRY_CHANGED;
    }
    return at;
}

bool shard_snapshot_part(struct shard *shard, struct buffer *delta)
{
    /* All the room at once: from here on nothing can fail. */
    if (!buffer_reserve(delta, shard->changed_bytes)) return false;
    const char *end = write_changes(shard, delta->data + delta->size);
    CHECK(end == delta->data + delta->size + shard->changed_bytes);
    delta->size += shard->changed_bytes;
    changes_clear(&shard->changes);
    shard->changed_bytes = 0;
    return true;
}

bool shard_snapshot(struct shard *shard, uint64_t epoch, struct buffer *delta)
{
    CHECK(epoch == shard->epoch);
    if (!shard_snapshot_part(shard, delta)) return false;
    shard->epoch++;
    return true;
}
