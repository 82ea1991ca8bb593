/* Time to live: what a reader may see, and what is left of the rest.
 *
 *   touched ──── ttl_ms ────> expired ──> hidden: taken away by who comes by, the reader or shard_clean
 *                                     └─> shown:  taken away by shard_clean alone
 *
 * The time of an element is its own; a head has none, and goes with the last of its elements. */
#include "state/shard_private.h"

bool shard_has_ttl(const struct shard *shard)
{
    for (uint32_t i = 0; i < shard->state_count; i++)
        if (shard->states[i].declaration.ttl_ms > 0) return true;
    return false;
}

void shard_set_time(struct shard *shard, int64_t now_ms)
{
    CHECK(now_ms >= shard->now_ms);
    shard->now_ms = now_ms;
    if (shard->holds_units && !shard->has_lent_times && shard->store->operations->set_time != NULL)
        shard->store->operations->set_time(shard->store, now_ms);
}

void shard_set_gone(struct shard *shard, uint32_t state, int64_t touched_ms)
{
    CHECK(state < shard->state_count && shard->entry_count == 0);
    shard->states[state].gone_ms = touched_ms;
}

/* When there is no memory, it stays as old as it was. */
static void touch(struct shard *shard, const struct unit *unit, uint32_t reference)
{
    struct entry *entry = entry_at(&shard->entries, reference);
    if (entry_stamp(entry) == shard->now_ms || !changes_reserve(&shard->changes, 1)) return;
    const size_t bytes_before = shard_pending_bytes(shard, unit, entry);
    shard_save(shard, entry, unit->key->hash);
    entry_set_stamp(entry, shard->now_ms);
    shard_note_change(shard, unit, reference, bytes_before);
}

uint32_t shard_admit(struct shard *shard, const struct unit *unit, uint32_t reference)
{
    const struct entry *entry = entry_at(&shard->entries, reference);
    const struct state_declaration *declaration = &shard->states[entry_state(entry)].declaration;
    if (entry->flags & ENTRY_REMOVED) return SLAB_NONE;
    if (shard_is_hidden(shard, entry)) {
        (void)shard_take_away(shard, unit, reference); /* without memory: another time */
        return SLAB_NONE;
    }
    if (declaration->ttl_on_read && entry_is_stamped(entry) && !shard_has_expired(shard, entry))
        touch(shard, unit, reference);
    return reference;
}

/* ---- Cleaning up ------------------------------------------------------------------------------------------------- */

static void clean_entry(struct shard *shard, uint32_t reference)
{
    const struct entry *entry = entry_at(&shard->entries, reference);
    const uint32_t state = entry_state(entry);
    const struct state_declaration *declaration = &shard->states[state].declaration;
    if (declaration->ttl_ms == 0 || declaration->ttl_clean_up == 0 || (entry->flags & ENTRY_REMOVED)) return;
    const bool is_head = (entry_shape(entry) & SHAPE_HEAD) != 0;
    if (!is_head && !shard_has_expired(shard, entry)) return;
    if (is_head || (entry_shape(entry) & SHAPE_GENERATION)) {
        shard_clean_collection(shard, reference);
        return;
    }
    struct state_key key = entry_key(entry);
    key.hash = hash_key(key.key);
    const struct unit unit = shard_unit(shard, state, &key);
    (void)shard_take_away(shard, &unit, reference); /* without memory: another time */
}

/* Behind a segment: the next one, the next table, the first table again. */
static void go_on(const struct shard *shard, struct cleaning *at)
{
    at->slot = 0;
    at->position = table_segment_end(&shard->tables[at->group], (uint32_t)at->position);
    if (at->position <= UINT32_MAX) return;
    at->position = 0;
    at->group = (at->group + 1) % shard->group_count;
}

void shard_clean(struct shard *shard, size_t places)
{
    struct cleaning *at = &shard->cleaning;
    for (; places > 0; places--) {
        const struct segment *segment = table_segment(&shard->tables[at->group], (uint32_t)at->position);
        if (at->slot > segment->mask) {
            go_on(shard, at);
            continue;
        }
        const uint32_t reference = segment->slots[at->slot++].reference;
        if (reference > SLAB_RESERVED) clean_entry(shard, reference);
    }
}
