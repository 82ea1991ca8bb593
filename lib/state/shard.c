#include "state/value_inline.h"

#include <stdlib.h>

/* ---- Creation ---------------------------------------------------------------------------------------------------- */

static bool create_state(const struct shard *shard, struct shard_state *state,
                         const struct state_declaration *declaration)
{
    const enum weir_state_kind kind = declaration->kind;
    state->declaration = *declaration;
    state->gone_ms = INT64_MIN;
    if (!declaration->ordered_in_group) return true;
    CHECK(!state_kind_is_list(kind) && !state_kind_is_map(kind));
    state->by_element = calloc(shard->group_count, sizeof *state->by_element);
    return state->by_element != NULL;
}

static bool create_states(struct shard *shard, const struct state_declaration *declarations)
{
    uint32_t largest = 0;
    for (uint32_t i = 0; i < shard->state_count; i++) {
        if (!create_state(shard, &shard->states[i], &declarations[i])) return false;
        if (declarations[i].value_size_bytes > largest) largest = declarations[i].value_size_bytes;
    }
    shard->zeroes = calloc(1, largest + 1);
    return shard->zeroes != NULL;
}

struct shard *shard_create(const struct shard_options *options)
{
    CHECK(options->state_count <= SHARD_STATES_MAX);
    CHECK(options->max_parallelism > 0 && options->group_count > 0);
    CHECK(options->group_first + options->group_count <= options->max_parallelism);
    struct shard *shard = calloc(1, sizeof *shard);
    if (shard == NULL) return NULL;
    shard->state_count = options->state_count;
    shard->max_parallelism = options->max_parallelism;
    const bool is_power = (options->max_parallelism & (options->max_parallelism - 1)) == 0;
    shard->group_mask = is_power ? options->max_parallelism - 1 : 0;
    shard->group_reciprocal = UINT64_MAX / options->max_parallelism + 1;
    shard->group_first = options->group_first;
    shard->group_count = options->group_count;
    shard->epoch = options->epoch;
    shard->changed_flag = ENTRY_CHANGED;
    shard->forgets_parts = options->forgets_parts;
    shard->migrate = options->migrate;
    shard->migrate_user = options->migrate_user;
    entries_init(&shard->entries);
    changes_init(&shard->changes);
    changes_init(&shard->listed);
    changes_init(&shard->snapshot.frozen);
    shard->store = store_hashmap_create();
    buffer_init(&shard->cache.values);
    buffer_init(&shard->cache.head);

    shard->tables = malloc(shard->group_count * sizeof *shard->tables);
    shard->states = calloc(shard->state_count + 1, sizeof *shard->states);
    if (shard->tables != NULL) {
        for (uint32_t i = 0; i < shard->group_count; i++) table_init(&shard->tables[i]);
    }
    if (shard->tables == NULL || shard->states == NULL || !create_states(shard, options->states)) {
        shard_destroy(shard);
        return NULL;
    }
    return shard;
}

/* Blocks do not lie in the slab, which is given back as a whole. */
static void free_blocks(struct shard *shard, const struct table *table)
{
    for (uint64_t at = 0; at <= UINT32_MAX; at = table_segment_end(table, (uint32_t)at)) {
        const struct segment *segment = table_segment(table, (uint32_t)at);
        for (uint32_t i = 0; i <= segment->mask; i++) {
            const uint32_t reference = segment->slots[i].reference;
            if (reference > SLAB_RESERVED) entry_destroy(&shard->entries, reference);
        }
    }
}

void shard_destroy(struct shard *shard)
{
    if (shard == NULL) return;
    cache_report(shard, true);
    for (uint32_t i = 0; shard->tables != NULL && i < shard->group_count; i++) {
        if (shard->entries.block_count > 0) free_blocks(shard, &shard->tables[i]);
        table_deinit(&shard->tables[i]);
    }
    for (uint32_t i = 0; shard->states != NULL && i < shard->state_count; i++) {
        free(shard->states[i].by_element);
        vec_free(&shard->states[i].versions);
    }
    shard_forget_remains(shard);
    shard->store->operations->destroy(shard->store);
    buffer_deinit(&shard->cache.values);
    buffer_deinit(&shard->cache.head);
    dirty_tags_deinit(&shard->cache.dirty, &shard->cache.writing.tags);
    dirty_deinit(&shard->cache.dirty);
    changes_deinit(&shard->changes);
    changes_deinit(&shard->listed);
    changes_deinit(&shard->snapshot.frozen);
    entries_deinit(&shard->entries);
    free(shard->zeroes);
    free(shard->states);
    free(shard->tables);
    free(shard);
}

uint64_t shard_entry_count(const struct shard *shard) { return shard->entry_count; }
uint64_t shard_changed_bytes(const struct shard *shard) { return shard->changed_bytes; }
uint64_t shard_epoch(const struct shard *shard) { return shard->epoch; }
uint64_t shard_generation(const struct shard *shard) { return shard->generation; }

uint64_t shard_bytes(const struct shard *shard)
{
    return sizeof *shard + shard->group_count * sizeof *shard->tables + shard->table_bytes +
           slab_bytes(&shard->entries.slab) + shard->entries.block_bytes + changes_bytes(&shard->changes) +
           changes_bytes(&shard->listed) + changes_bytes(&shard->snapshot.frozen) + shard->remains_bytes +
           shard->cache.dirty.bytes;
}

/* ---- Entries ----------------------------------------------------------------------------------------------------- */

uint32_t shard_find_or_create(struct shard *shard, const struct unit *unit, size_t value_size, bool *is_new)
{
    uint32_t reference = shard_find(shard, unit);
    *is_new = reference == SLAB_NONE;
    if (reference != SLAB_NONE) return reference;

    struct table *table = shard_table(shard, unit->key->hash);
    if (!table_reserve(table, unit->tag, &shard->table_bytes)) return SLAB_NONE;
    reference = entry_create(&shard->entries, unit, value_size);
    if (reference == SLAB_NONE) return SLAB_NONE;
    entry_at(&shard->entries, reference)->flags |= ENTRY_REMOVED;
    table_insert(table, unit->tag, reference);
    return reference;
}

void shard_discard(struct shard *shard, const struct unit *unit, uint32_t reference)
{
    shard_forget_head(shard, reference);
    table_remove(shard_table(shard, unit->key->hash), unit->tag, reference);
    entry_destroy(&shard->entries, reference);
}

/* An entry is in one order at most: a map's, or its key group's. */
static bool enter_order(struct shard *shard, const struct unit *unit, uint32_t reference)
{
    if (unit->order != NULL)
        return order_insert(unit->order, ORDER_OF_MAP, &shard->entries, reference, unit->tag);
    const struct shard_state *state = &shard->states[entry_state(entry_at(&shard->entries, reference))];
    if (state->by_element == NULL) return true;
    const uint32_t group = shard_group(shard, unit->key->hash) - shard->group_first;
    return order_insert(&state->by_element[group], ORDER_OF_GROUP, &shard->entries, reference, unit->tag);
}

static void leave_order(struct shard *shard, const struct unit *unit, uint32_t reference)
{
    if (unit->order != NULL) {
        order_remove(unit->order, ORDER_OF_MAP, &shard->entries, reference);
        shard->order_stamp++;
        return;
    }
    const struct shard_state *state = &shard->states[entry_state(entry_at(&shard->entries, reference))];
    if (state->by_element == NULL) return;
    const uint32_t group = shard_group(shard, unit->key->hash) - shard->group_first;
    order_remove(&state->by_element[group], ORDER_OF_GROUP, &shard->entries, reference);
}

bool shard_write(struct shard *shard, const struct unit *unit, uint32_t reference, struct weir_bytes value)
{
    struct entry *entry = entry_at(&shard->entries, reference);
    const bool was_removed = (entry->flags & ENTRY_REMOVED) != 0;
    if (!entry_set_value(&shard->entries, reference, value)) return false;
    if (was_removed && !enter_order(shard, unit, reference)) {
        entry_remove_value(&shard->entries, entry);
        return false;
    }
    shard->entry_count += was_removed;
    return true;
}

void shard_erase(struct shard *shard, const struct unit *unit, uint32_t reference)
{
    leave_order(shard, unit, reference);
    entry_remove_value(&shard->entries, entry_at(&shard->entries, reference));
    shard->entry_count--;
}

/* ---- Values ------------------------------------------------------------------------------------------------------ */

void shard_note_change(struct shard *shard, const struct unit *unit, uint32_t reference, size_t bytes_before)
{
    struct entry *entry = entry_at(&shard->entries, reference);
    if (!(entry->flags & shard->changed_flag)) {
        shard_note_dirty(shard, unit, entry);
        entry->flags |= shard->changed_flag;
        changes_push(&shard->changes, (struct change){ .reference = reference, .hash = unit->key->hash });
    }
    shard->changed_bytes += shard_pending_bytes(shard, unit, entry) - bytes_before;
}

/* A tombstone that only says that the store has none has no room for a value: an entry takes its place that has, or the value
 * would go to a block of its own. */
static uint32_t make_room(struct shard *shard, const struct unit *unit, uint32_t reference, size_t value_size,
                          bool *is_new)
{
    const bool is_bare = !*is_new && entry_at(&shard->entries, reference)->flags == ENTRY_REMOVED;
    if (LIKELY(!is_bare) || value_size <= sizeof(struct block *)) return reference;
    shard_discard(shard, unit, reference);
    return shard_find_or_create(shard, unit, value_size, is_new);
}

/* A value of the same size in the cell of an entry that has changed in the open stretch: neither lists nor sizes change. */
static bool put_over(struct shard *shard, const struct unit *unit, struct entry *entry, struct weir_bytes value)
{
    const uint8_t open = shard->changed_flag;
    const uint8_t flags = entry->flags & (open | ENTRY_REMOVED | ENTRY_NULL | ENTRY_BLOCK | ENTRY_OLD);
    if (flags != open || weir_is_null(value) || value.size != entry->value_size) return false;
    memmove(entry_value_at(entry), value.data, value.size);
    if (UNLIKELY(unit_is_stamped(unit))) entry_set_stamp(entry, shard->now_ms);
    return true;
}

uint32_t shard_put(struct shard *shard, const struct unit *unit, struct weir_bytes value)
{
    bool is_new;
    if (!changes_reserve(&shard->changes, 1)) return SLAB_NONE;
    uint32_t reference = shard_find_or_create(shard, unit, value.size, &is_new);
    if (reference != SLAB_NONE) reference = make_room(shard, unit, reference, value.size, &is_new);
    if (reference == SLAB_NONE) return SLAB_NONE;
    struct entry *entry = entry_at(&shard->entries, reference);
    if (put_over(shard, unit, entry, value)) return reference;
    const size_t bytes_before = shard_pending_bytes(shard, unit, entry);
    shard_save(shard, entry, unit->key->hash);
    if (!shard_write(shard, unit, reference, value)) {
        if (is_new) shard_discard(shard, unit, reference);
        return SLAB_NONE;
    }
    if (UNLIKELY(unit_is_stamped(unit))) entry_set_stamp(entry, shard->now_ms);
    shard_note_change(shard, unit, reference, bytes_before);
    return reference;
}

bool shard_take_away(struct shard *shard, const struct unit *unit, uint32_t reference)
{
    if (reference == SLAB_NONE) return true;
    struct entry *entry = entry_at(&shard->entries, reference);
    if (entry->flags & ENTRY_REMOVED) return true;
    if (!changes_reserve(&shard->changes, 1)) return false;
    const size_t bytes_before = shard_pending_bytes(shard, unit, entry);
    shard_save(shard, entry, unit->key->hash);
    shard_erase(shard, unit, reference);
    shard_note_change(shard, unit, reference, bytes_before);
    return true;
}

static __attribute__((noinline)) struct weir_bytes migrate(struct shard *shard, const struct entry *entry)
{
    const uint32_t state = entry_state(entry);
    CHECK(shard->migrate != NULL);
    return shard->migrate(shard->migrate_user, state, shard->states[state].versions.items[entry->version],
                          entry_value(entry));
}

struct weir_bytes shard_value_of(struct shard *shard, const struct entry *entry)
{
    return UNLIKELY(entry->flags & ENTRY_OLD) ? migrate(shard, entry) : entry_value(entry);
}

void *shard_open_value(struct shard *shard, const struct unit *unit, uint32_t reference)
{
    struct entry *entry = reference == SLAB_NONE ? NULL : entry_at(&shard->entries, reference);
    if (entry != NULL && shard_is_hidden(shard, entry)) entry = NULL;
    if (entry != NULL && !(entry->flags & (ENTRY_REMOVED | ENTRY_OLD))) {
        if (!shard_is_open(shard, entry)) {
            if (!changes_reserve(&shard->changes, 1)) return NULL;
            shard_save(shard, entry, unit->key->hash);
            shard_note_change(shard, unit, reference, 0);
        }
        if (UNLIKELY(unit_is_stamped(unit))) entry_set_stamp(entry, shard->now_ms);
        return entry_value_at(entry);
    }
    struct weir_bytes value = { shard->zeroes, shard->states[unit->identity & 0xff].declaration.value_size_bytes };
    if (entry != NULL && (entry->flags & ENTRY_OLD)) value = migrate(shard, entry);
    if (!weir_is_set(value)) return NULL;
    reference = shard_put(shard, unit, value);
    return reference == SLAB_NONE ? NULL : entry_value_at(entry_at(&shard->entries, reference));
}

/* The first use of a value in an epoch, or ever; and names of parts. */
static __attribute__((noinline)) void *value_slow(struct shard *shard, uint32_t state, const struct state_key *key)
{
    const struct unit unit = shard_unit(shard, state, key);
    return shard_open_value(shard, &unit, shard_look(shard, &unit));
}

void *shard_value(struct shard *shard, uint32_t state, const struct state_key *key)
{
    CHECK_HOT(state < shard->state_count && shard->states[state].declaration.value_size_bytes > 0);
    const bool is_plain = !weir_is_set(key->name_space) && !weir_is_set(key->element) && !weir_is_null(key->key);
    void *value = NULL;
    if (LIKELY(is_plain))
        value = shard_value_fast(shard, state, key->key, shard_find_plain(shard, state, key->hash), false);
    return LIKELY(value != NULL) ? value : value_slow(shard, state, key);
}

void *shard_value_slow(struct shard *shard, uint32_t state, struct weir_bytes key, uint32_t hash)
{
    return value_slow(shard, state, &(struct state_key){ .key = key, .hash = hash });
}

/* Smaller shards lie in the cache of a core anyhow: there, fetching costs 10 ns a key and saves nothing. */
enum { FETCH_BYTES_MIN = 1 << 20 };

/* The slots of a block first, so that their waits overlap; then the entries that they lead to. */
static void fetch_block(const struct shard *shard, uint32_t state, const uint32_t *hashes, uint32_t count)
{
    uint32_t sum = 0;
    for (uint32_t i = 0; i < count; i++) {
        const uint32_t tag = unit_tag_plain(state, hashes[i]);
        const struct segment *segment = table_segment(shard_table(shard, hashes[i]), tag);
        sum += segment->slots[tag & segment->mask].reference;
    }
    shard_fetched(sum);
    for (uint32_t i = 0; i < count; i++) {
        const uint32_t tag = unit_tag_plain(state, hashes[i]);
        const struct segment *segment = table_segment(shard_table(shard, hashes[i]), tag);
        uint32_t at = tag & segment->mask;
        while (segment->slots[at].reference != SLAB_NONE && segment->slots[at].tag != tag)
            at = (at + 1) & segment->mask;
        const uint32_t reference = segment->slots[at].reference;
        if (reference > SLAB_RESERVED) sum += shard_fetch_one(shard, reference);
    }
    shard_fetched(sum);
}

void shard_fetch(const struct shard *shard, uint32_t state, const uint32_t *hashes, uint32_t count)
{
    CHECK(state < shard->state_count);
    if (slab_bytes(&shard->entries.slab) < FETCH_BYTES_MIN) return;
    for (uint32_t i = 0; i < count; i += SHARD_BLOCK)
        fetch_block(shard, state, hashes + i, count - i < SHARD_BLOCK ? count - i : SHARD_BLOCK);
}

struct weir_bytes shard_get(struct shard *shard, uint32_t state, const struct state_key *key)
{
    CHECK_HOT(state < shard->state_count);
    const struct unit unit = shard_unit(shard, state, key);
    uint32_t reference = shard_look(shard, &unit);
    if (reference != SLAB_NONE && UNLIKELY(unit_is_stamped(&unit))) reference = shard_admit(shard, &unit, reference);
    if (reference == SLAB_NONE) return (struct weir_bytes){ 0 };
    return shard_value_of(shard, entry_at(&shard->entries, reference));
}

bool shard_set(struct shard *shard, uint32_t state, const struct state_key *key, struct weir_bytes value)
{
    CHECK(state < shard->state_count && weir_is_set(value));
    const uint32_t value_size = shard->states[state].declaration.value_size_bytes;
    CHECK(value_size == 0 || (!weir_is_null(value) && value.size == value_size));
    const struct unit unit = shard_unit(shard, state, key);
    return shard_put(shard, &unit, value) != SLAB_NONE;
}

bool shard_remove(struct shard *shard, uint32_t state, const struct state_key *key)
{
    CHECK(state < shard->state_count);
    const struct unit unit = shard_unit(shard, state, key);
    return shard_take_away(shard, &unit, shard_look(shard, &unit));
}

/* ---- Scans ------------------------------------------------------------------------------------------------------- */

static bool part_is(struct weir_bytes a, struct weir_bytes b)
{
    return weir_is_set(a) == weir_is_set(b) && weir_is_null(a) == weir_is_null(b) && a.size == b.size &&
           (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

void shard_scan_group(struct shard *shard, uint32_t state, uint32_t group, struct weir_bytes name_space,
                      struct weir_bytes from_element, shard_visit_fn *visit, void *user)
{
    CHECK(state < shard->state_count && shard->states[state].by_element != NULL);
    CHECK(group - shard->group_first < shard->group_count);
    const struct order *order = &shard->states[state].by_element[group - shard->group_first];
    const struct state_key from = { .name_space = name_space, .element = from_element };
    for (uint32_t node = order_seek(order, ORDER_OF_GROUP, &shard->entries, &from); node != SLAB_NONE;
         node = order_next(&shard->entries, node)) {
        const struct entry *entry = entry_at(&shard->entries, order_entry(&shard->entries, node));
        struct state_key key = entry_key(entry);
        key.hash = hash_key(key.key);
        if (!part_is(key.name_space, name_space)) return;
        if (!visit(user, &key, entry_value(entry))) return;
    }
}
