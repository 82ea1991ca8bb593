#include "state/cache.h"

#include "state/holdings.h"
#include "state/shard_private.h"
#include "state/store_key.h"

enum {
    /* Slots that a round looks at with each call, as long as it is in time. */
    SLICE_SLOTS = 8192,
    RUN_ELEMENTS = 64,
    BATCH_BYTES_MIN = 64 << 10,
    BATCH_BYTES_MAX = 8 << 20,
    /* Dropping a dead element takes about as long as looking at so many slots. */
    COLLECT_SLOTS = 16,
    /* Whoever makes a base comes back at once when there was nothing to do, while the store writes. */
    DUMP_WAIT_US = 200,
};

static const struct store_operations *operations_of(const struct shard *shard)
{
    return shard->store->operations;
}

static void fail(struct shard *shard, const struct weir_error *error)
{
    if (shard->cache.failure.code == WEIR_OK) shard->cache.failure = *error;
}

static void fail_for_memory(struct shard *shard)
{
    struct weir_error error = { 0 };
    (void)weir_error_set(&error, WEIR_NO_MEMORY, WEIR_REMEDY_REPLAY, "no memory for the cache of the state");
    fail(shard, &error);
}

static bool has_failed(const struct shard *shard)
{
    return shard->cache.failure.code != WEIR_OK;
}

/* Can the store have what no table has? */
static bool may_have(const struct shard *shard)
{
    return !shard->cache.has_all && !has_failed(shard);
}

const struct weir_error *shard_failure(const struct shard *shard)
{
    return has_failed(shard) ? &shard->cache.failure : NULL;
}

/* What eviction can give back, and nothing else: chunks are kept for what comes next. */
static uint64_t bytes_used(const struct shard *shard)
{
    return shard->entries.slab.used_bytes + shard->entries.block_bytes + shard->table_bytes;
}

static void set_due(struct shard *shard)
{
    struct cache *cache = &shard->cache;
    const uint64_t early = cache->budget_bytes / 8 * 7, again = bytes_used(shard) + cache->budget_bytes / 8;
    cache->due_bytes = early > again ? early : again;
}

void shard_use(struct shard *shard, struct state_store *store, uint64_t budget_bytes)
{
    CHECK(shard->entry_count == 0 && !shard->holds_units && store->operations->holds_units);
    shard->store->operations->destroy(shard->store);
    shard->store = store;
    shard->holds_units = true;
    dirty_init(&shard->cache.dirty, shard->group_count);
    shard->cache.budget_bytes = budget_bytes;
    shard->cache.has_all = store->began_empty;
    set_due(shard);
}

/* ---- Memory ------------------------------------------------------------------------------------------------------ */

static uint64_t memory_held(const struct shard *shard, uint64_t *blocks)
{
    const struct cache *cache = &shard->cache;
    const struct store_operations *operations = shard->store->operations;
    const uint64_t delta = shard->snapshot.delta == NULL ? 0 : shard->snapshot.delta->capacity;
    *blocks = 0;
    return shard_bytes(shard) + delta + cache->values.capacity + cache->head.capacity +
           (operations->memory == NULL ? 0 : operations->memory(shard->store, blocks));
}

void cache_report(struct shard *shard, bool is_end)
{
    struct holdings *holdings = shard->cache.holdings;
    uint64_t blocks;
    if (holdings == NULL) return;
    const uint64_t bytes = memory_held(shard, &blocks);
    if (shard->holds_units) holdings_note_blocks(holdings, blocks);
    holdings_charge(holdings, &shard->cache.charged, is_end ? 0 : bytes);
}

void shard_report_to(struct shard *shard, struct holdings *holdings)
{
    shard->cache.holdings = holdings;
    cache_report(shard, false);
}

bool shard_asks_store(const struct shard *shard) { return shard->holds_units && may_have(shard); }
uint64_t shard_store_reads(const struct shard *shard) { return shard->cache.reads; }
uint64_t shard_cache_hits(const struct shard *shard) { return shard->cache.hits; }
uint64_t shard_cache_misses(const struct shard *shard) { return shard->cache.misses; }
uint64_t shard_evictions(const struct shard *shard) { return shard->cache.evictions; }

uint64_t shard_state_bytes(const struct shard *shard)
{
    const uint64_t stored = shard->holds_units ? operations_of(shard)->bytes(shard->store) : 0;
    const uint64_t held = shard_bytes(shard);
    return stored > held ? stored : held;
}

/* ---- Values that expire ------------------------------------------------------------------------------------------ */

/* In the cache's own buffer. */
static struct weir_bytes pack(struct shard *shard, const struct entry *entry, struct weir_bytes value)
{
    struct buffer *packed = &shard->cache.values;
    buffer_clear(packed);
    store_stamped_encode(packed, entry_stamp(entry), value);
    if (packed->failed) fail_for_memory(shard);
    return (struct weir_bytes){ packed->data, packed->size };
}

/* ---- Bringing units in ------------------------------------------------------------------------------------------- */

static void fail_damaged(struct shard *shard, uint32_t state, const char *how)
{
    struct weir_error error = { 0 };
    (void)weir_error_set(&error, WEIR_DAMAGED, WEIR_REMEDY_REPLAY, "damaged state: in its store, a unit of '%s' %s",
                         shard->states[state].declaration.name, how);
    fail(shard, &error);
}

/* Makes the entry, unless the table has one already. SLAB_NONE after a failure. */
static uint32_t bring_in(struct shard *shard, const struct unit *unit, struct weir_bytes value, uint32_t version)
{
    const uint32_t state = unit->identity & 0xff;
    const struct state_declaration *declaration = &shard->states[state].declaration;
    const bool is_head = (unit->identity >> 8 & SHAPE_HEAD) != 0, is_old = version != declaration->version;
    const uint32_t size = is_head || is_old ? 0 : declaration->value_size_bytes;
    const bool is_stamped = unit_is_stamped(unit);
    struct head head;
    if (is_old && !is_head && !declaration->migrates) {
        fail_damaged(shard, state, "was written by another version of its codec, and the state has no .migrate");
        return SLAB_NONE;
    }
    int64_t stamp_ms = 0;
    if (is_stamped && !store_stamped_decode(value, &stamp_ms, &value)) {
        fail_damaged(shard, state, "has no time");
        return SLAB_NONE;
    }
    if ((is_head && !head_decode(value, shard_is_list(shard, state), &head)) ||
        (size > 0 && (weir_is_null(value) || value.size != size))) {
        fail_damaged(shard, state, is_head ? "is a head that is none" : "has another size than its state");
        return SLAB_NONE;
    }
    if (is_head) value = (struct weir_bytes){ (const char *)&head, sizeof head };
    bool is_new;
    const uint32_t reference = shard_find_or_create(shard, unit, value.size, &is_new);
    if (reference != SLAB_NONE && !is_new) return reference;
    if (reference == SLAB_NONE || !shard_write(shard, unit, reference, value) ||
        (is_old && !is_head && !shard_note_version(shard, reference, version))) {
        fail_for_memory(shard);
        return SLAB_NONE;
    }
    if (is_head) entry_at(&shard->entries, reference)->version = 1;
    if (is_stamped) entry_set_stamp(entry_at(&shard->entries, reference), stamp_ms);
    return reference;
}

/* Elements of one collection on their way in. */
struct run {
    struct shard *shard;
    struct order *order; /* of a map */
    uint32_t left;
    uint64_t end; /* of a list: behind the last one that came */
};

static bool bring_element_in(void *user, uint32_t state, const struct state_key *key, struct weir_bytes value,
                             uint32_t version)
{
    struct run *run = user;
    struct unit unit = shard_unit(run->shard, state, key);
    unit.order = run->order;
    if (run->order == NULL) run->end = list_element_decode(key->element) + 1;
    return bring_in(run->shard, &unit, value, version) != SLAB_NONE && --run->left > 0;
}

static void load_elements(struct shard *shard, uint32_t state, const struct state_key *from, struct run *run)
{
    struct weir_error error = { 0 };
    shard->cache.reads++;
    if (operations_of(shard)->scan(shard->store, state, from, bring_element_in, run, &error) != WEIR_OK)
        fail(shard, &error);
}

uint64_t cache_load_run(struct shard *shard, uint32_t state, const struct state_key *key)
{
    struct run run = { .shard = shard, .left = RUN_ELEMENTS };
    if (!may_have(shard)) return UINT64_MAX;
    load_elements(shard, state, key, &run);
    return run.left == 0 ? run.end : UINT64_MAX;
}

static void load_map(struct shard *shard, uint32_t state, const struct state_key *key, struct head *head)
{
    struct state_key from = *key;
    from.generation = head->generation;
    struct run run = { .shard = shard, .order = &head->order, .left = UINT32_MAX };
    load_elements(shard, state, &from, &run);
}

uint32_t cache_load(struct shard *shard, const struct unit *unit)
{
    struct cache *cache = &shard->cache;
    const uint32_t state = unit->identity & 0xff;
    struct weir_error error = { 0 };
    struct store_wanted wanted = { .state = state, .key = *unit->key };
    if (!may_have(shard) || shard->states[state].by_element != NULL) return SLAB_NONE;
    cache->reads++;
    buffer_clear(&cache->values);
    if (operations_of(shard)->get_many(shard->store, &wanted, 1, &cache->values, &error) != WEIR_OK) {
        fail(shard, &error);
        return SLAB_NONE;
    }
    if (!wanted.found) return SLAB_NONE;
    const struct weir_bytes value = store_wanted_value(&wanted, &cache->values);
    const uint32_t reference = bring_in(shard, unit, value, wanted.version);
    if (reference == SLAB_NONE || !(unit->identity >> 8 & SHAPE_HEAD) || !shard_is_map(shard, state)) return reference;
    load_map(shard, state, unit->key, entry_head(entry_at(&shard->entries, reference)));
    return reference;
}

/* What the store has, or a tombstone that says that it has none. */
static void take_answer(struct shard *shard, const struct store_wanted *wanted, const struct buffer *values)
{
    const struct unit unit = shard_unit(shard, wanted->state, &wanted->key);
    bool is_new;
    if (wanted->found) {
        (void)bring_in(shard, &unit, store_wanted_value(wanted, values), wanted->version);
        return;
    }
    const size_t size = shard->states[wanted->state].declaration.value_size_bytes;
    if (shard_find_or_create(shard, &unit, size, &is_new) == SLAB_NONE) fail_for_memory(shard);
}

void shard_load(struct shard *shard, uint32_t state, const struct state_key *keys, uint32_t count)
{
    struct store_wanted wanted[STORE_WANTED_MAX];
    struct weir_error error = { 0 };
    uint32_t wanted_count = 0;
    CHECK(count <= STORE_WANTED_MAX && state < shard->state_count);
    if (!shard->holds_units || !may_have(shard) || shard->states[state].by_element != NULL ||
        shard_is_list(shard, state) || shard_is_map(shard, state))
        return;
    for (uint32_t i = 0; i < count; i++) {
        const struct unit unit = shard_unit(shard, state, &keys[i]);
        if (shard_find(shard, &unit) == SLAB_NONE)
            wanted[wanted_count++] = (struct store_wanted){ .state = state, .key = keys[i] };
    }
    shard->cache.hits += count - wanted_count;
    shard->cache.misses += wanted_count;
    if (wanted_count == 0) return;
    shard->cache.reads += wanted_count;
    buffer_clear(&shard->cache.values);
    if (operations_of(shard)->get_many(shard->store, wanted, wanted_count, &shard->cache.values, &error) != WEIR_OK)
        fail(shard, &error);
    for (uint32_t i = 0; i < wanted_count && !has_failed(shard); i++)
        take_answer(shard, &wanted[i], &shard->cache.values);
}

/* ---- Writing down ------------------------------------------------------------------------------------------------ */

static void flush(struct shard *shard)
{
    struct weir_error error = { 0 };
    cache_report(shard, false); /* most of the time there is no batch */
    shard->cache.batch_bytes = 0;
    if (operations_of(shard)->flush(shard->store, &error) != WEIR_OK) fail(shard, &error);
}

/* Is the store still at what it was told to begin, and may it not be waited for? */
static bool is_busy(struct shard *shard)
{
    struct weir_error error = { 0 };
    bool is_busy = false;
    if (operations_of(shard)->await != NULL &&
        operations_of(shard)->await(shard->store, shard->cache.wait_us, &is_busy, &error) != WEIR_OK)
        fail(shard, &error);
    return is_busy;
}

/* As flush, but behind the answer. */
static void begin_flush(struct shard *shard)
{
    struct weir_error error = { 0 };
    if (operations_of(shard)->begin_flush == NULL) {
        flush(shard);
        return;
    }
    cache_report(shard, false);
    shard->cache.batch_bytes = 0;
    if (operations_of(shard)->begin_flush(shard->store, &error) != WEIR_OK) fail(shard, &error);
}

static uint64_t batch_bytes_max(const struct shard *shard)
{
    /* Of two batches, one that is collected and one that is written; what holds them may grow to twice as much. */
    const uint64_t share = shard->cache.budget_bytes / 32;
    return share < BATCH_BYTES_MIN ? BATCH_BYTES_MIN : share > BATCH_BYTES_MAX ? BATCH_BYTES_MAX : share;
}

static bool is_full(const struct shard *shard)
{
    return shard->cache.batch_bytes >= batch_bytes_max(shard);
}

/* A head has to know that the store has elements of its own, also while it stays in the tables itself. */
static void mark_head(struct shard *shard, uint32_t state, const struct state_key *key)
{
    struct state_key name;
    const struct unit unit = shard_head_unit(state, key, &name);
    const uint32_t reference = shard_find(shard, &unit);
    if (reference != SLAB_NONE) entry_at(&shard->entries, reference)->version = 1;
}

static enum weir_code put(struct shard *shard, struct entry *entry, const struct state_key *key,
                          struct weir_error *error)
{
    char bytes[HEAD_BYTES_MAX];
    const uint32_t state = entry_state(entry);
    const struct shard_state *declared = &shard->states[state];
    struct weir_bytes value = entry_value(entry);
    const uint32_t version = entry->flags & ENTRY_OLD ? declared->versions.items[entry->version]
                                                      : declared->declaration.version;
    if (entry_shape(entry) & SHAPE_HEAD) {
        value = head_encode(entry_head(entry), bytes);
        entry->version = 1;
    }
    if (entry_is_stamped(entry)) value = pack(shard, entry, value);
    if (key->generation > 0) mark_head(shard, state, key);
    shard->cache.batch_bytes += key->key.size + key->element.size + value.size + sizeof *entry;
    return operations_of(shard)->put(shard->store, state, key, value, version, error);
}

enum { ANY_LIST = ENTRY_CHANGED | ENTRY_CHANGED_ODD | ENTRY_LISTED };

/* Answers work: slots, as shard_walk counts. What changed in the open stretch is for another time. */
static size_t write_down(struct shard *shard, uint32_t group, const struct slot *slot, void *user)
{
    (void)user;
    struct entry *entry = entry_at(&shard->entries, slot->reference);
    if (!(entry->flags & ENTRY_DIRTY)) return 1;
    if (entry->flags & shard->changed_flag) {
        dirty_add(&shard->cache.dirty, group, slot->tag, shard->entry_count);
        return 1;
    }
    struct weir_error error = { 0 };
    enum weir_code code = WEIR_OK;
    struct state_key key = entry_key(entry);
    key.hash = hash_key(key.key);
    if (!(entry->flags & ENTRY_REMOVED)) code = put(shard, entry, &key, &error);
    else code = operations_of(shard)->remove(shard->store, entry_state(entry), &key, &error);
    if (code != WEIR_OK) {
        fail(shard, &error);
        return SHARD_WALK_STOP;
    }
    entry->flags &= (uint8_t)~ENTRY_DIRTY;
    if (is_full(shard)) {
        if (is_busy(shard)) return SHARD_WALK_STOP; /* the walk comes by again, and finds the entry clean */
        begin_flush(shard);
    }
    return has_failed(shard) ? SHARD_WALK_STOP : 1;
}

void cache_remove_elements(struct shard *shard, uint32_t state, const struct state_key *key, uint64_t generation)
{
    struct weir_error error = { 0 };
    struct state_key name = *key;
    name.generation = generation;
    if (has_failed(shard)) return;
    if (operations_of(shard)->remove_elements(shard->store, state, &name, &error) != WEIR_OK) fail(shard, &error);
}

/* Whatever has this tag. False after a failure. */
static bool write_tag(struct shard *shard, uint32_t group, uint32_t tag)
{
    const struct place *place = table_place(&shard->tables[group], tag);
    const struct slot *slots = place->segment->slots;
    for (uint32_t i = tag & place->mask; slots[i].reference != SLAB_NONE; i = (i + 1) & place->mask) {
        if (slots[i].tag != tag || slots[i].reference <= SLAB_RESERVED) continue;
        if (write_down(shard, group, &slots[i], NULL) == SHARD_WALK_STOP) return false;
    }
    return true;
}

/* The slots of a block of tags first, so that their waits overlap; then the entries that they most likely lead to. */
static void fetch_tags(const struct shard *shard, uint32_t group, const struct dirty_tags *tags, size_t first)
{
    uint32_t references[SHARD_BLOCK], sum = 0;
    const size_t left = tags->count - first, count = left < SHARD_BLOCK ? left : SHARD_BLOCK;
    for (size_t i = 0; i < count; i++) {
        const struct place *place = table_place(&shard->tables[group], tags->items[first + i]);
        references[i] = place->segment->slots[tags->items[first + i] & place->mask].reference;
    }
    for (size_t i = 0; i < count; i++)
        if (references[i] > SLAB_RESERVED) sum += shard_fetch_one(shard, references[i]);
    shard_fetched(sum);
}

/* Goes on through the list of a key group. True at its end. */
static bool write_tags(struct shard *shard, struct cache_writing *writing, size_t *work, size_t work_max)
{
    const struct dirty_tags *tags = &writing->tags;
    for (; writing->next < tags->count; ++*work) {
        if (*work >= work_max) return false;
        if (writing->next % SHARD_BLOCK == 0) fetch_tags(shard, writing->walk.group, tags, writing->next);
        if (!write_tag(shard, writing->walk.group, tags->items[writing->next])) return false;
        writing->next++;
    }
    writing->walk.group++;
    return true;
}

/* Of one key group after another, from the one that the last round ended with on: nothing has to be begun anew for a base that
 * comes while a round is under way. True when all is written. */
static bool write_groups(struct shard *shard, size_t work_max)
{
    struct cache_writing *writing = &shard->cache.writing;
    for (size_t work = 0;;) {
        if (!writing->is_in_group) {
            if (writing->groups_left == 0) return true;
            if (writing->walk.group == shard->group_count) writing->walk = (struct walk){ 0 };
            writing->by_table = !dirty_take(&shard->cache.dirty, writing->walk.group, &writing->tags);
            writing->next = 0;
            writing->groups_left--;
            writing->is_in_group = true;
        }
        const bool is_over = writing->by_table
                                 ? shard_walk_group(shard, &writing->walk, &work, work_max, write_down, NULL)
                                 : write_tags(shard, writing, &work, work_max);
        if (!is_over) return false;
        writing->is_in_group = false;
    }
}

/* ---- Eviction ---------------------------------------------------------------------------------------------------- */

static bool is_evictable(const struct shard *shard, const struct entry *entry)
{
    return !(entry->flags & (ANY_LIST | ENTRY_DIRTY)) && shard->states[entry_state(entry)].by_element == NULL;
}

static void evict(struct shard *shard, struct table *table, uint32_t tag, uint32_t reference)
{
    const struct entry *entry = entry_at(&shard->entries, reference);
    if (!(entry->flags & ENTRY_REMOVED)) {
        shard->entry_count--;
        shard->cache.has_all = false;
    }
    shard->cache.evictions++;
    shard_forget_head(shard, reference);
    table_remove(table, tag, reference);
    entry_destroy(&shard->entries, reference);
}

static bool can_go_as_a_whole(const struct shard *shard, const struct order *order)
{
    for (uint32_t node = order_first(order, &shard->entries); node != SLAB_NONE;
         node = order_next(&shard->entries, node))
        if (!is_evictable(shard, entry_at(&shard->entries, order_entry(&shard->entries, node)))) return false;
    return true;
}

/* A map's elements, whose order is the head's. */
static bool evict_elements(struct shard *shard, struct table *table, struct head *head)
{
    if (!can_go_as_a_whole(shard, &head->order)) return false;
    for (;;) {
        const uint32_t reference = order_dismantle(&head->order, &shard->entries);
        if (reference == SLAB_NONE) break;
        const struct entry *entry = entry_at(&shard->entries, reference);
        struct state_key key = entry_key(entry);
        key.hash = hash_key(key.key);
        evict(shard, table, unit_tag(entry_state(entry), &key), reference);
    }
    shard->order_stamp++;
    return true;
}

static bool is_enough(const struct shard *shard)
{
    return bytes_used(shard) <= shard->cache.budget_bytes / 2;
}

static size_t evict_slot(struct shard *shard, uint32_t group, const struct slot *slot, void *user)
{
    (void)user;
    if (is_enough(shard)) return SHARD_WALK_STOP;
    struct entry *entry = entry_at(&shard->entries, slot->reference);
    struct table *table = &shard->tables[group];
    if (!is_evictable(shard, entry)) return 1;
    if (shard_is_map(shard, entry_state(entry))) {
        if (!(entry_shape(entry) & SHAPE_HEAD)) return 1;
        if (!(entry->flags & ENTRY_REMOVED) && !evict_elements(shard, table, entry_head(entry))) return 1;
    }
    evict(shard, table, slot->tag, slot->reference);
    return 1;
}

/* ---- Rounds ------------------------------------------------------------------------------------------------------ */

static void begin_round(struct shard *shard)
{
    shard->cache.round = ROUND_WRITING;
    shard->cache.writing.groups_left = shard->group_count;
    shard->cache.turns = 0;
}

static bool collect_all(struct shard *shard, size_t slots_max)
{
    if (shard->remains.count == 0) return true;
    if (!changes_reserve(&shard->changes, 1)) return false;
    return shard_collect(shard, slots_max / COLLECT_SLOTS + 1);
}

static void write_on(struct shard *shard, size_t slots_max)
{
    if (is_full(shard) && is_busy(shard)) return;
    if (!collect_all(shard, slots_max) || !write_groups(shard, slots_max) || is_busy(shard)) return;
    begin_flush(shard);
    shard->cache.round = ROUND_FLUSHING;
}

static void begin_link(struct shard *shard)
{
    struct cache *cache = &shard->cache;
    struct weir_error error = { 0 };
    const struct store_operations *operations = operations_of(shard);
    const enum weir_code code = operations->begin_link == NULL
                                    ? operations->link(shard->store, cache->folder, &error)
                                    : operations->begin_link(shard->store, cache->folder, &error);
    if (code != WEIR_OK) fail(shard, &error);
    cache->round = ROUND_LINKING;
}

static void flush_on(struct shard *shard)
{
    struct cache *cache = &shard->cache;
    if (is_busy(shard) || has_failed(shard)) return;
    cache->round = ROUND_EVICTING;
    if (!shard->dump.is_open || cache->is_walking) return;
    if (shard->dump.by_links) {
        begin_link(shard);
        return;
    }
    operations_of(shard)->walk_begin(shard->store);
    cache->is_walking = true;
}

static void link_on(struct shard *shard)
{
    struct cache *cache = &shard->cache;
    if (is_busy(shard) || has_failed(shard)) return;
    cache->round = ROUND_EVICTING;
    cache->is_walking = cache->has_links = shard->dump.is_open;
}

static void evict_on(struct shard *shard, size_t slots_max)
{
    struct cache *cache = &shard->cache;
    if (!is_enough(shard) && shard_walk(shard, &cache->evicting, slots_max, evict_slot, NULL)) {
        cache->evicting = (struct walk){ 0 };
        cache->turns++;
    }
    if (!is_enough(shard) && cache->turns < 2) return;
    cache->round = ROUND_NONE;
    set_due(shard);
}

/* Waits for the store so long at most (< 0: as long as it takes). */
static void go_on(struct shard *shard, size_t slots_max, int64_t wait_us)
{
    shard->cache.wait_us = wait_us;
    switch (shard->cache.round) {
    case ROUND_NONE: break;
    case ROUND_WRITING: write_on(shard, slots_max); break;
    case ROUND_FLUSHING: flush_on(shard); break;
    case ROUND_LINKING: link_on(shard); break;
    case ROUND_EVICTING: evict_on(shard, slots_max); break;
    }
    if (has_failed(shard)) shard->cache.round = ROUND_NONE;
}

void shard_tend(struct shard *shard)
{
    struct cache *cache = &shard->cache;
    cache_report(shard, false);
    if (!shard->holds_units || has_failed(shard)) return;
    const uint64_t bytes = bytes_used(shard);
    if (cache->round == ROUND_NONE) {
        if (bytes < cache->due_bytes) return;
        begin_round(shard);
    }
    go_on(shard, SLICE_SLOTS, 0);
    /* The batches bring more in than the slices can follow. */
    while (cache->round != ROUND_NONE && bytes_used(shard) > cache->due_bytes + cache->budget_bytes / 8)
        go_on(shard, SIZE_MAX, -1);
}

/* ---- Restoring --------------------------------------------------------------------------------------------------- */

/* Heads do not know their elements yet, so each entry goes for itself. Values may stay, where there is room for them. */
static size_t empty_slot(struct shard *shard, uint32_t group, const struct slot *slot, void *user)
{
    const bool *of_collections = user;
    const struct entry *entry = entry_at(&shard->entries, slot->reference);
    const bool is_value = !(entry_shape(entry) & (SHAPE_HEAD | SHAPE_GENERATION));
    if (is_evictable(shard, entry) && !(*of_collections && is_value))
        evict(shard, &shard->tables[group], slot->tag, slot->reference);
    return 1;
}

enum weir_code cache_settle(struct shard *shard, bool is_end, struct weir_error *error)
{
    struct walk emptying = { 0 };
    if (!is_end && bytes_used(shard) < shard->cache.due_bytes) return WEIR_OK;
    cache_report(shard, false);
    shard->cache.writing.groups_left = shard->group_count;
    shard->cache.wait_us = -1;
    if (write_groups(shard, SIZE_MAX)) flush(shard);
    if (!has_failed(shard)) (void)shard_walk(shard, &emptying, SIZE_MAX, empty_slot, &is_end);
    set_due(shard);
    if (has_failed(shard) && error != NULL) *error = shard->cache.failure;
    return shard->cache.failure.code;
}

/* ---- Bases ------------------------------------------------------------------------------------------------------- */

void cache_dump_begin(struct shard *shard)
{
    begin_round(shard);
    shard->cache.is_walking = shard->cache.has_links = false;
    shard->cache.head_generation = 0;
}

static void end_walk(struct shard *shard)
{
    if (shard->cache.is_walking && !shard->dump.by_links) operations_of(shard)->walk_end(shard->store);
    shard->cache.is_walking = false;
    shard->dump.is_open = false;
}

void cache_dump_abandon(struct shard *shard)
{
    end_walk(shard);
}

struct dumping {
    struct shard *shard;
    struct buffer *out;
    size_t bytes_max;
};

static void put_name(struct buffer *name, const struct state_key *key)
{
    buffer_clear(name);
    buffer_bytes(name, key->key);
    buffer_u8(name, weir_is_set(key->name_space));
    buffer_bytes(name, weir_is_set(key->name_space) ? key->name_space : WEIR_NULL);
}

static void remember_head(struct cache *cache, const struct state_key *key, struct weir_bytes value)
{
    struct reader reader;
    reader_init(&reader, value.data, value.size);
    cache->head_generation = reader_varint(&reader);
    put_name(&cache->head, key);
}

/* In the store a head comes before its elements. One that changed in the open stretch is in the table alone. */
static bool is_alive(struct shard *shard, uint32_t state, const struct state_key *key)
{
    struct cache *cache = &shard->cache;
    put_name(&cache->values, key);
    if (key->generation == cache->head_generation && cache->values.size == cache->head.size &&
        memcmp(cache->values.data, cache->head.data, cache->head.size) == 0)
        return true;
    struct state_key name;
    const struct unit unit = shard_head_unit(state, key, &name);
    const uint32_t reference = shard_find(shard, &unit);
    if (reference == SLAB_NONE) return false;
    struct entry *entry = entry_at(&shard->entries, reference);
    return !(entry->flags & ENTRY_REMOVED) && entry_head(entry)->generation == key->generation;
}

static bool dump_unit(void *user, uint32_t state, const struct state_key *key, struct weir_bytes value,
                      uint32_t version)
{
    const struct dumping *dumping = user;
    struct shard *shard = dumping->shard;
    const bool is_element = key->generation > 0;
    const bool is_head = !is_element && (shard_is_list(shard, state) || shard_is_map(shard, state));
    if (is_head) remember_head(&shard->cache, key, value);
    if (is_element && !is_alive(shard, state, key)) return true;
    const struct state_declaration *declaration = &shard->states[state].declaration;
    struct delta_unit unit = { .state = state, .group = shard_group(shard, key->hash), .version = version, .key = *key,
                               .value = value, .has_version = !is_head && version != declaration->version,
                               .has_stamp = !is_head && declaration->ttl_ms > 0 };
    if (unit.has_stamp && !store_stamped_decode(value, &unit.stamp_ms, &unit.value)) {
        fail_damaged(shard, state, "has no time");
        return false;
    }
    if (unit.has_stamp && shard_is_over(shard, state, unit.stamp_ms)) return true;
    delta_append(dumping->out, &unit);
    return !dumping->out->failed && dumping->out->size < dumping->bytes_max;
}

bool cache_dump_step(struct shard *shard, size_t bytes_max, struct buffer *out)
{
    struct cache *cache = &shard->cache;
    struct weir_error error = { 0 };
    bool is_over = cache->has_links;
    if (!has_failed(shard) && !cache->is_walking) {
        go_on(shard, bytes_max / COLLECT_SLOTS, DUMP_WAIT_US);
        return false;
    }
    struct dumping dumping = { .shard = shard, .out = out, .bytes_max = out->size + bytes_max };
    if (!has_failed(shard) && !is_over &&
        operations_of(shard)->walk_on(shard->store, dump_unit, &dumping, &is_over, &error) != WEIR_OK)
        fail(shard, &error);
    if (!is_over && !has_failed(shard)) return false;
    end_walk(shard);
    return true;
}
