/* What changed in an epoch, for emit on commit, for the snapshot behind a barrier and for early parts of it. All walk
 * lists of changes, whose entries lie all over the slab, so they are fetched a block at a time.
 *
 *   epoch n open       changes ─> a b c          flag of its stretch
 *   barrier n          frozen ──> a b c          changes ─> (empty)            the other flag        no entry is touched
 *   b changes          frozen ──> a b c          changes ─> b                  b as it was goes to the delta first
 *   steps              a, c go to the delta; b has lost the flag of n and is passed over
 *
 * A part begins like a barrier, but what its steps have looked at goes to `listed`, unless the shard forgets parts:
 *
 *   epoch n open       changes ─> a b            part begins, steps            listed ──> a b
 *   b, c change        changes ─> b c            listed ──> a b                emit on commit: a b, then c
 *   barrier n          frozen ──> b c            steps: b, c go to the delta; a, b leave the list                   */
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

/* Entries with one of the flags in `passed_over` are not visited. */
static bool visit_list(const struct shard *shard, const struct changes *list, size_t *index, uint32_t state,
                       uint8_t passed_over, shard_visit_fn *visit, void *user)
{
    while (*index < list->count) {
        fetch_block(shard, list, *index);
        const struct change *change = changes_at(list, (*index)++);
        const struct entry *entry = entry_at(&shard->entries, change->reference);
        if (entry_state(entry) != state || (entry->flags & passed_over)) continue;
        struct state_key key = entry_key(entry);
        key.hash = change->hash;
        if (!visit(user, &key, entry_value(entry))) return false;
    }
    return true;
}

bool shard_each_changed_from(struct shard *shard, uint32_t state, size_t *position, shard_visit_fn *visit, void *user)
{
    CHECK(state < shard->state_count);
    CHECK(!shard->forgets_parts && (shard->snapshot.delta == NULL || !shard->snapshot.is_part));
    /* While the snapshot of the epoch before is under way, the list is still that epoch's. */
    const size_t listed_count = shard->snapshot.delta == NULL ? shard->listed.count : 0;
    if (*position < listed_count &&
        !visit_list(shard, &shard->listed, position, state, ENTRY_REMOVED, visit, user))
        return false;
    const uint8_t passed_over = listed_count > 0 ? ENTRY_REMOVED | ENTRY_LISTED : ENTRY_REMOVED;
    size_t index = *position - listed_count;
    const bool is_whole = visit_list(shard, &shard->changes, &index, state, passed_over, visit, user);
    *position = listed_count + index;
    return is_whole;
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
    if (LIKELY((entry->flags & ENTRY_FORGOTTEN) != ENTRY_FORGOTTEN))
        delta->size += (size_t)(delta_write(at, entry, shard_group(shard, hash), shard_version_of(shard, entry)) - at);
    entry->flags &= (uint8_t)~shard_frozen_flag(shard);
}

void shard_save(struct shard *shard, struct entry *entry, uint32_t hash)
{
    if (UNLIKELY(entry->flags & shard_frozen_flag(shard))) write_entry(shard, entry, hash);
}

/* A tombstone that is in no list any more has done its duty. With a store it is the cache's. */
static void discard_removed(struct shard *shard, const struct change *change, const struct entry *entry)
{
    if (LIKELY((entry->flags & (ENTRY_REMOVED | ENTRY_LISTED | shard->changed_flag)) != ENTRY_REMOVED)) return;
    if (shard->holds_units && (entry->flags & ENTRY_FORGOTTEN) != ENTRY_FORGOTTEN) return;
    struct state_key key = entry_key(entry);
    key.hash = change->hash;
    const struct unit unit = shard_unit(shard, entry_state(entry), &key);
    shard_discard(shard, &unit, change->reference);
}

/* What the open stretch has touched since was saved then, and belongs to it now. There is room in the list. */
static void write_change(struct shard *shard, const struct change *change)
{
    struct entry *entry = entry_at(&shard->entries, change->reference);
    shard_save(shard, entry, change->hash);
    if (shard->snapshot.is_part && !shard->forgets_parts && !(entry->flags & ENTRY_LISTED)) {
        entry->flags |= ENTRY_LISTED;
        changes_push(&shard->listed, *change);
    }
    discard_removed(shard, change, entry);
}

/* The epoch is closed, and so is the list of what its parts have written. */
static void forget_listed(struct shard *shard, const struct change *change)
{
    struct entry *entry = entry_at(&shard->entries, change->reference);
    entry->flags &= (uint8_t)~ENTRY_LISTED;
    discard_removed(shard, change, entry);
}

static bool begin(struct shard *shard, struct buffer *delta, bool is_part)
{
    struct snapshot *snapshot = &shard->snapshot;
    CHECK(snapshot->delta == NULL);
    if (!buffer_reserve(delta, shard->changed_bytes)) return false;
    if (is_part && !shard->forgets_parts && !changes_reserve_many(&shard->listed, shard->changes.count)) return false;
    const struct changes emptied = snapshot->frozen;
    *snapshot = (struct snapshot){ .delta = delta, .frozen = shard->changes, .is_part = is_part };
    shard->changes = emptied;
    shard->changed_bytes = 0;
    shard->changed_flag = shard_frozen_flag(shard);
    return true;
}

bool shard_part_begin(struct shard *shard, struct buffer *delta)
{
    return begin(shard, delta, true);
}

bool shard_snapshot_begin(struct shard *shard, uint64_t epoch, struct buffer *delta)
{
    CHECK(epoch == shard->epoch);
    if (!begin(shard, delta, false)) return false;
    shard->epoch++;
    return true;
}

/* Walks on through one list, which begins at change `first`. */
static void walk(struct shard *shard, const struct changes *list, size_t first, size_t *changes_max,
                 void (*visit)(struct shard *shard, const struct change *change))
{
    size_t *next = &shard->snapshot.next;
    for (; *next < first + list->count && *changes_max > 0; ++*next, --*changes_max) {
        fetch_block(shard, list, *next - first);
        visit(shard, changes_at(list, *next - first));
    }
}

bool shard_snapshot_step(struct shard *shard, size_t changes_max)
{
    struct snapshot *snapshot = &shard->snapshot;
    if (snapshot->delta == NULL) return true;
    const size_t frozen_count = snapshot->frozen.count;
    const size_t listed_count = snapshot->is_part ? 0 : shard->listed.count;
    walk(shard, &snapshot->frozen, 0, &changes_max, write_change);
    if (!snapshot->is_part) walk(shard, &shard->listed, frozen_count, &changes_max, forget_listed);
    if (snapshot->next < frozen_count + listed_count) return false;
    changes_clear(&snapshot->frozen);
    if (!snapshot->is_part) changes_clear(&shard->listed);
    snapshot->delta = NULL;
    (void)shard_collect(shard, COLLECT_WITH_SNAPSHOT);
    return true;
}

bool shard_snapshot(struct shard *shard, uint64_t epoch, struct buffer *delta)
{
    return shard_snapshot_begin(shard, epoch, delta) && shard_snapshot_step(shard, SIZE_MAX);
}
