/* Shards against a plain array, from a seed, in memory and as caches of a store that are far too small: values, lists, maps,
 * removals, clears, snapshots, early parts and dumps in slices between all that, restores into other ranges of key groups,
 * and going on with what was restored.
 *
 * After each snapshot n: base + deltas r+1..n of every shard whose dump has ended, or all deltas 1..n, must be the array
 * as it was at barrier n. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "harness/unit.h"
#include "state/store_rocksdb.h"

enum { COUNT, TEXT, SORTED, TRIPLE, LIST, MAP, TALLY, STATES };
enum { MEMBERS = 40 }; /* rows of a collection: more than a clear drops at once */
enum { SHARDS_MAX = 4, NAME_MAX_BYTES = 1500, WORLDS = 6, EPOCHS = 10 };

static const struct state_declaration declarations[STATES] = {
    [COUNT] = { .name = "count", .codec = WEIR_I64, .value_size_bytes = 8 },
    [TEXT] = { .name = "text", .codec = WEIR_BYTES },
    [SORTED] = { .name = "sorted", .codec = WEIR_BYTES, .ordered_in_group = true },
    [TRIPLE] = { .name = "triple", .codec = WEIR_STRUCT, .value_size_bytes = 24 },
    [LIST] = { .name = "list", .kind = WEIR_STATE_LIST, .codec = WEIR_BYTES },
    [MAP] = { .name = "map", .kind = WEIR_STATE_MAP, .codec = WEIR_BYTES },
    [TALLY] = { .name = "tally", .kind = WEIR_STATE_MAP, .codec = WEIR_I64, .value_size_bytes = 8 },
};
/* Every state to itself. */
static struct state_mapping same[STATES];

static void map_states(void)
{
    for (uint32_t i = 0; i < STATES; i++)
        same[i] = (struct state_mapping){ .state = i, .value_size_bytes = declarations[i].value_size_bytes };
}

/* What the array holds: a unit that may exist, and its value as the seed that makes its bytes. The rows of a list are
 * places for elements, whatever their numbers. */
struct unit_row {
    uint32_t state;
    struct state_key key;
    bool is_live;
    bool is_null;
    uint32_t value_size;
    uint64_t value_seed;
    uint64_t changed_at; /* rises with each first change in the open epoch, 0 = has not changed */
    uint64_t added_at;   /* of lists: rises with each addition */
};

struct range {
    struct shard *shard;
    uint32_t first, count;
    struct buffer base;
    bool has_base;
    bool in_part; /* an early part is being written down */
    uint64_t redo;
    uint32_t generation;
};

struct delta {
    uint64_t epoch;
    uint32_t generation;
    uint32_t range;
    uint64_t announced;
    struct buffer *units; /* stays where it is while a snapshot writes to it */
};

struct world {
    uint64_t random;
    bool has_stores; /* behind all shards */
    uint32_t max_parallelism;
    struct unit_row *rows;
    struct unit_row *rows_at_barrier; /* while the snapshots behind it are under way, else NULL */
    uint32_t row_count;
    struct range ranges[SHARDS_MAX];
    uint32_t range_count;
    bool from_bases;     /* of the snapshots under way: every range had a base at the barrier, and still has it */
    uint32_t generation; /* rises when restored shards take over: earlier bases belong to other ranges */
    VEC(struct delta) deltas;
    uint64_t epoch;
    uint64_t changes;
    uint64_t additions;
    uint64_t given; /* the highest generation of all shards at the barrier of the snapshots under way */
    uint32_t bases_checked, parts;
};

/* ---- Values ------------------------------------------------------------------------------------------------------ */

static char value_bytes[8192];

static struct weir_bytes value_of(const struct unit_row *row)
{
    if (!row->is_live) return (struct weir_bytes){ 0 };
    if (row->is_null) return WEIR_NULL;
    uint64_t seed = row->value_seed;
    for (uint32_t i = 0; i < row->value_size; i += 8) {
        const uint64_t word = unit_random(&seed);
        memcpy(value_bytes + i, &word, 8);
    }
    return (struct weir_bytes){ value_bytes, row->value_size };
}

static bool is_value_of(const struct unit_row *row, struct weir_bytes value)
{
    const struct weir_bytes expected = value_of(row);
    if (weir_is_set(value) != weir_is_set(expected) || weir_is_null(value) != weir_is_null(expected)) return false;
    return value.size == expected.size && memcmp(value.data == NULL ? "" : value.data, value_bytes, value.size) == 0;
}

static uint32_t draw_size(uint64_t *random)
{
    switch (unit_random_below(random, 20)) {
    case 0: return unit_random_below(random, 8000);
    case 1: return unit_random_below(random, 2100);
    case 2: return 0;
    default: return unit_random_below(random, 60);
    }
}

/* ---- The world --------------------------------------------------------------------------------------------------- */

static bool is_collection(uint32_t state)
{
    return state >= LIST;
}

/* The row `member` of the collection that row `i` belongs to. */
static uint32_t member_index(uint32_t i, uint32_t member)
{
    const uint32_t place = i / STATES;
    return (place - place % MEMBERS + member) * STATES + i % STATES;
}

static struct unit_row *member_of(const struct world *world, uint32_t i, uint32_t member)
{
    const uint32_t index = member_index(i, member);
    return index < world->row_count ? &world->rows[index] : NULL;
}

static void name_element(struct unit_row *row, uint32_t member)
{
    static char names[MEMBERS][200];
    char *name = names[member];
    const size_t size = member == 0 ? 0 : member == 1 ? sizeof names[0] : 1 + member * 7 % 19;
    memset(name, 'e', size);
    if (size > 0) name[size > 1] = (char)(member * 77);
    if (size > 2) name[2] = (char)member;
    row->key.element = (struct weir_bytes){ name, size };
}

static void name_row(struct unit_row *row, uint32_t i)
{
    static const char *const spaces[] = { NULL, "n", "" };
    const uint32_t state = i % STATES;
    /* Several elements for each key. */
    const uint32_t number = state == SORTED        ? i / STATES / 12
                            : is_collection(state) ? i / STATES / MEMBERS / 2
                                                   : i / STATES;
    const size_t size = number == 0 ? 0 : number == 1 ? NAME_MAX_BYTES : 4 + number % 29;
    char *bytes = calloc(1, size + 8);
    ck_assert_ptr_nonnull(bytes);
    memcpy(bytes, &number, sizeof number);
    row->state = state;
    row->key.key = number == 2 ? WEIR_NULL : (struct weir_bytes){ bytes, size };
    if (number == 2) free(bytes);
    row->key.hash = hash_key(row->key.key);
    if (is_collection(state) && i / STATES / MEMBERS % 2 == 1) row->key.name_space = weir_text("n");
    if (state == MAP || state == TALLY) name_element(row, i / STATES % MEMBERS);
    if (state != SORTED) return;
    const uint32_t element = i / STATES % 12;
    if (element >= 4) row->key.name_space = weir_text(spaces[element / 4]);
    if (element % 4 != 3) row->key.element = weir_text(element % 2 == 0 ? "even" : "odd element");
    if (element % 4 == 2) row->key.element.size--;
}

/* ---- Stores ------------------------------------------------------------------------------------------------------ */

static char directory[64];
static struct store_memory *memory;
static uint32_t stores;
static uint64_t reads, evictions; /* of the shards that are gone */

/* In memory where that can be had: RocksDB syncs each file. */
static void make_directory(void)
{
    (void)snprintf(directory, sizeof directory, "%s/weir-model-XXXXXX", access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    ck_assert_ptr_nonnull(mkdtemp(directory));
    memory = store_memory_create(1 << 20);
    ck_assert_ptr_nonnull(memory);
}

static void use_store(const struct world *world, struct shard *shard, uint32_t first, uint32_t count)
{
    char path[96];
    struct weir_error error = { 0 };
    struct state_store *store;
    (void)snprintf(path, sizeof path, "%s/%u", directory, stores++);
    const struct store_rocksdb_options options = { .directory = path, .states = declarations, .state_count = STATES,
                                                   .max_parallelism = world->max_parallelism, .group_first = first,
                                                   .group_count = count, .memory = memory, .open_files_max = 16 };
    ck_assert_msg(store_rocksdb_open(&options, &store, &error) == WEIR_OK, "%s", error.text);
    shard_use(shard, store, (8 + stores % 4 * 16) << 10);
}

static void destroy_shard(struct shard *shard)
{
    reads += shard_store_reads(shard);
    evictions += shard_evictions(shard);
    shard_destroy(shard);
}

static struct shard *create_shard(const struct world *world, uint32_t first, uint32_t count)
{
    struct shard *shard = shard_create(&(struct shard_options){ .states = declarations, .state_count = STATES,
                                                                .max_parallelism = world->max_parallelism,
                                                                .group_first = first, .group_count = count,
                                                                .epoch = world->epoch });
    ck_assert_ptr_nonnull(shard);
    if (world->has_stores) use_store(world, shard, first, count);
    return shard;
}

/* Cuts the key groups into ranges at random. */
static uint32_t create_ranges(struct world *world, struct range ranges[SHARDS_MAX])
{
    uint32_t first = 0, range_count = 0;
    while (first < world->max_parallelism) {
        const uint32_t left = world->max_parallelism - first;
        const bool last = range_count == SHARDS_MAX - 1;
        const uint32_t count = last ? left : 1 + unit_random_below(&world->random, left);
        ranges[range_count++] = (struct range){ .shard = create_shard(world, first, count), .first = first,
                                                .count = count };
        first += count;
    }
    return range_count;
}

static void destroy_ranges(struct range *ranges, uint32_t range_count)
{
    for (uint32_t i = 0; i < range_count; i++) {
        destroy_shard(ranges[i].shard);
        buffer_deinit(&ranges[i].base);
    }
}

static struct shard *shard_of(const struct range *ranges, uint32_t range_count, const struct world *world,
                              const struct unit_row *row)
{
    const uint32_t group = key_group_of(row->key.hash, world->max_parallelism);
    for (uint32_t i = 0; i < range_count; i++) {
        if (group - ranges[i].first < ranges[i].count) return ranges[i].shard;
    }
    ck_abort_msg("no shard for key group %u", group);
}

static void world_init(struct world *world, uint64_t seed, bool is_large, bool has_stores)
{
    *world = (struct world){ .random = seed, .has_stores = has_stores, .epoch = 1 };
    world->max_parallelism = 1 + unit_random_below(&world->random, is_large ? 2 : 40);
    world->row_count = is_large ? 16000 : 50 + unit_random_below(&world->random, 1500);
    world->rows = calloc(world->row_count, sizeof *world->rows);
    ck_assert_ptr_nonnull(world->rows);
    for (uint32_t i = 0; i < world->row_count; i++) name_row(&world->rows[i], i);
    world->range_count = create_ranges(world, world->ranges);
}

static void world_deinit(struct world *world)
{
    union {
        const char *is_const;
        char *is_owned;
    } key;
    destroy_ranges(world->ranges, world->range_count);
    for (uint32_t i = 0; i < world->row_count; i++) {
        key.is_const = world->rows[i].key.key.data;
        if (!weir_is_null(world->rows[i].key.key)) free(key.is_owned);
    }
    for (size_t i = 0; i < world->deltas.count; i++) {
        buffer_deinit(world->deltas.items[i].units);
        free(world->deltas.items[i].units);
    }
    vec_free(&world->deltas);
    free(world->rows);
}

/* ---- Steps ------------------------------------------------------------------------------------------------------- */

static void changed(struct world *world, struct unit_row *row)
{
    if (row->changed_at == 0) row->changed_at = ++world->changes;
}

static void step_set(struct world *world, struct unit_row *row, struct shard *shard)
{
    const uint32_t fixed = declarations[row->state].value_size_bytes;
    if (row->state == LIST && row->is_live) return; /* an element of a list does not change */
    row->value_seed = unit_random(&world->random);
    row->is_null = fixed == 0 && unit_chance(&world->random, 3);
    row->value_size = row->is_null ? 0 : fixed > 0 ? fixed : draw_size(&world->random);
    const bool in_place = fixed > 0 && unit_chance(&world->random, 80);
    if (row->state == LIST) {
        row->is_live = true;
        row->added_at = ++world->additions;
        ck_assert(shard_list_add(shard, LIST, &row->key, value_of(row)));
    } else if (in_place) {
        char *value = row->state == TALLY ? shard_map_value(shard, row->state, &row->key)
                                          : shard_value(shard, row->state, &row->key);
        ck_assert_ptr_nonnull(value);
        ck_assert_uint_eq((uintptr_t)value % 8, 0);
        static const char zeroes[24];
        if (!row->is_live) ck_assert(memcmp(value, zeroes, fixed) == 0);
        row->is_live = true;
        memcpy(value, value_of(row).data, fixed);
    } else if (is_collection(row->state)) {
        row->is_live = true;
        ck_assert(shard_map_put(shard, row->state, &row->key, value_of(row)));
    } else {
        row->is_live = true;
        ck_assert(shard_set(shard, row->state, &row->key, value_of(row)));
    }
    changed(world, row);
}

static void step_clear(struct world *world, uint32_t i, struct shard *shard)
{
    struct state_key key = world->rows[i].key;
    key.element = (struct weir_bytes){ 0 };
    ck_assert(shard_clear(shard, world->rows[i].state, &key));
    for (uint32_t m = 0; m < MEMBERS; m++) {
        struct unit_row *member = member_of(world, i, m);
        if (member != NULL) member->is_live = false;
    }
    ck_assert(shard_is_empty(shard, world->rows[i].state, &key));
}

static void step_remove(struct world *world, struct unit_row *row, struct shard *shard)
{
    if (row->state == LIST) return;
    if (is_collection(row->state)) ck_assert(shard_map_remove(shard, row->state, &row->key));
    else ck_assert(shard_remove(shard, row->state, &row->key));
    if (row->is_live) changed(world, row);
    row->is_live = false;
}

static struct delta *add_delta(struct world *world, uint32_t range)
{
    struct delta *delta = vec_push(&world->deltas);
    ck_assert_ptr_nonnull(delta);
    *delta = (struct delta){ .epoch = world->epoch, .generation = world->generation, .range = range,
                             .units = malloc(sizeof *delta->units) };
    ck_assert_ptr_nonnull(delta->units);
    buffer_init(delta->units);
    return delta;
}

static void forget_changes(struct world *world, const struct range *range)
{
    for (uint32_t i = 0; i < world->row_count; i++) {
        const uint32_t group = key_group_of(world->rows[i].key.hash, world->max_parallelism);
        if (group - range->first < range->count) world->rows[i].changed_at = 0;
    }
}

static void begin_dump(struct world *world, struct range *range)
{
    buffer_clear(&range->base);
    range->has_base = world->from_bases = false;
    range->redo = shard_dump_begin(range->shard);
    ck_assert_uint_eq(range->redo, world->epoch - 1);
}

static void step_dump(struct world *world, struct range *range)
{
    if (!shard_is_dumping(range->shard)) {
        if (unit_chance(&world->random, 90)) return;
        begin_dump(world, range);
    } else if (unit_chance(&world->random, 1)) {
        shard_dump_abandon(range->shard);
        return;
    }
    const size_t bytes_max = 1 + unit_random_below(&world->random, unit_chance(&world->random, 50) ? 300 : 60000);
    range->has_base = shard_dump_step(range->shard, bytes_max, &range->base);
    range->generation = world->generation;
}

/* At most one snapshot of a shard is under way: no part begins before those behind the barrier are whole. */
static void step_part(struct world *world, uint32_t index)
{
    struct range *range = &world->ranges[index];
    if (range->in_part) {
        range->in_part = !shard_snapshot_step(range->shard, unit_random_below(&world->random, 60));
        return;
    }
    if (world->rows_at_barrier != NULL || !unit_chance(&world->random, 5)) return;
    ck_assert(shard_part_begin(range->shard, add_delta(world, index)->units));
    ck_assert_uint_eq(shard_changed_bytes(range->shard), 0);
    range->in_part = true;
    world->parts++;
}

static void finish_parts(struct world *world)
{
    for (uint32_t i = 0; i < world->range_count; i++)
        while (world->ranges[i].in_part) step_part(world, i);
}

/* Between records. */
static void tend(struct world *world, struct shard *shard)
{
    struct state_key keys[20];
    shard_tend(shard);
    ck_assert_msg(shard_failure(shard) == NULL, "%s", shard_failure(shard)->text);
    if (!unit_chance(&world->random, 10)) return;
    uint32_t count = 0;
    for (uint32_t i = 0; i < 20; i++) {
        const struct unit_row *row = &world->rows[unit_random_below(&world->random, world->row_count)];
        if (row->state == TEXT && shard_of(world->ranges, world->range_count, world, row) == shard)
            keys[count++] = row->key;
    }
    shard_load(shard, TEXT, keys, count);
}

static void step(struct world *world, uint32_t removal_percent)
{
    const uint32_t index = unit_random_below(&world->random, world->row_count);
    struct unit_row *row = &world->rows[index];
    struct shard *shard = shard_of(world->ranges, world->range_count, world, row);
    const uint32_t range = unit_random_below(&world->random, world->range_count);
    if (is_collection(row->state) && unit_chance(&world->random, 2)) step_clear(world, index, shard);
    else if (unit_chance(&world->random, removal_percent)) step_remove(world, row, shard);
    else step_set(world, row, shard);
    if (world->has_stores && unit_chance(&world->random, 10)) tend(world, shard);
    if (unit_random_below(&world->random, 60) == 0) step_dump(world, &world->ranges[range]);
    if (unit_chance(&world->random, 10)) step_part(world, range);
    if (world->rows_at_barrier != NULL && unit_chance(&world->random, 20))
        (void)shard_snapshot_step(world->ranges[range].shard, unit_random_below(&world->random, 40));
}

/* Ends the dumps under way and makes the bases that are missing, so that the next barrier can be checked against them.
 * */
static void finish_dumps(struct world *world)
{
    for (uint32_t i = 0; i < world->range_count; i++) {
        struct range *range = &world->ranges[i];
        if (range->has_base && range->generation == world->generation) continue;
        if (!shard_is_dumping(range->shard)) begin_dump(world, range);
        while (!shard_dump_step(range->shard, 5000, &range->base)) continue;
        range->has_base = true;
        range->generation = world->generation;
    }
}

/* ---- Checks ------------------------------------------------------------------------------------------------------ */

static int compare_bytes(struct weir_bytes a, struct weir_bytes b)
{
    if (!weir_is_set(a) || !weir_is_set(b)) return weir_is_set(a) - weir_is_set(b);
    const int first = memcmp(a.data, b.data, a.size < b.size ? a.size : b.size);
    return first != 0 ? first : (a.size > b.size) - (a.size < b.size);
}

static int in_order(const void *a, const void *b)
{
    const struct unit_row *x = *(const struct unit_row *const *)a, *y = *(const struct unit_row *const *)b;
    if (x->state == LIST) return (x->added_at > y->added_at) - (x->added_at < y->added_at);
    return compare_bytes(x->key.element, y->key.element);
}

/* Walks over the collection that begins with row `i`. Answers how many units it must have. */
static uint64_t ck_collection(struct world *world, struct shard *shard, uint32_t i, const char *what)
{
    const struct unit_row *expected[MEMBERS];
    const uint32_t state = world->rows[i].state;
    uint32_t count = 0, found = 0;
    for (uint32_t m = 0; m < MEMBERS; m++) {
        const struct unit_row *row = member_of(world, i, m);
        if (row != NULL && row->is_live) expected[count++] = row;
    }
    qsort(expected, count, sizeof expected[0], in_order);
    struct state_key key = world->rows[i].key;
    key.element = (struct weir_bytes){ 0 };
    ck_assert_msg(shard_is_empty(shard, state, &key) == (count == 0), "epoch %llu, %s: %u elements of unit %u, %s",
                  (unsigned long long)world->epoch, what, count, i,
                  shard_failure(shard) == NULL ? "nothing failed" : shard_failure(shard)->text);
    struct shard_cursor cursor = { 0 };
    struct weir_bytes element, value;
    while (state == LIST ? shard_list_next(shard, state, &key, &cursor, &value)
                         : shard_map_next(shard, state, &key, &cursor, &element, &value)) {
        ck_assert_msg(found < count && is_value_of(expected[found], value) &&
                          (state == LIST || weir_bytes_equal(expected[found]->key.element, element)),
                      "epoch %llu, %s: element %u of the %u in unit %u differs", (unsigned long long)world->epoch, what,
                      found, count, i);
        found++;
    }
    ck_assert_msg(found == count, "epoch %llu, %s: %u instead of %u elements of unit %u",
                  (unsigned long long)world->epoch, what, found, count, i);
    return count + (count > 0);
}

static struct weir_bytes read_row(struct shard *shard, const struct unit_row *row)
{
    return is_collection(row->state) ? shard_map_get(shard, row->state, &row->key)
                                     : shard_get(shard, row->state, &row->key);
}

static void ck_rows(struct world *world, const struct range *ranges, uint32_t range_count, const char *what)
{
    uint64_t live = 0, entries = 0;
    for (uint32_t i = 0; i < world->row_count; i++) {
        const struct unit_row *row = &world->rows[i];
        struct shard *shard = shard_of(ranges, range_count, world, row);
        if (is_collection(row->state) && i == member_index(i, 0)) live += ck_collection(world, shard, i, what);
        if (row->state == LIST) continue;
        ck_assert_msg(is_value_of(row, read_row(shard, row)), "epoch %llu, %s: unit %u differs",
                      (unsigned long long)world->epoch, what, i);
        live += row->is_live && !is_collection(row->state);
    }
    for (uint32_t i = 0; i < range_count; i++) {
        ck_assert(shard_collect(ranges[i].shard, SIZE_MAX));
        entries += shard_entry_count(ranges[i].shard);
        ck_assert(shard_failure(ranges[i].shard) == NULL);
    }
    ck_assert_msg(world->has_stores ? entries <= live : live == entries, "epoch %llu, %s: %llu entries instead of %llu",
                  (unsigned long long)world->epoch, what, (unsigned long long)entries, (unsigned long long)live);
}

struct scan {
    struct world *world;
    struct state_key last;
    uint64_t count;
};

static bool visit_in_order(void *user, const struct state_key *key, struct weir_bytes value)
{
    struct scan *scan = user;
    ck_assert(weir_is_set(value));
    if (scan->count++ > 0) {
        const int element = compare_bytes(scan->last.element, key->element);
        ck_assert_int_le(element, 0);
        if (element == 0) ck_assert(!weir_bytes_equal(scan->last.key, key->key));
    }
    scan->last = *key;
    return true;
}

static bool same_part(struct weir_bytes a, struct weir_bytes b)
{
    return weir_is_set(a) == weir_is_set(b) && (!weir_is_set(a) || weir_bytes_equal(a, b));
}

/* Scans a key group from a unit drawn at random. */
static void ck_scans(struct world *world, const struct range *ranges, uint32_t range_count)
{
    const struct unit_row *from = &world->rows[unit_random_below(&world->random, world->row_count)];
    if (from->state != SORTED) return;
    const uint32_t group = key_group_of(from->key.hash, world->max_parallelism);
    uint64_t of_group = 0;
    for (uint32_t i = 0; i < world->row_count; i++) {
        const struct unit_row *row = &world->rows[i];
        const bool counts = row->state == SORTED && row->is_live &&
                            same_part(row->key.name_space, from->key.name_space) &&
                            compare_bytes(row->key.element, from->key.element) >= 0;
        of_group += counts && key_group_of(row->key.hash, world->max_parallelism) == group;
    }
    struct shard *shard = shard_of(ranges, range_count, world, from);
    struct scan scan = { .world = world };
    shard_scan_group(shard, SORTED, group, from->key.name_space, from->key.element, visit_in_order, &scan);
    ck_assert_uint_eq(scan.count, of_group);
}

struct changed_walk {
    uint64_t count;
};

static bool visit_changed(void *user, const struct state_key *key, struct weir_bytes value)
{
    struct changed_walk *walk = user;
    ck_assert_uint_eq(key->hash, hash_key(key->key));
    ck_assert(weir_is_set(value));
    walk->count++;
    return true;
}

/* How many values, here; their order is a test of its own. */
static void ck_changed(struct world *world)
{
    uint64_t expected = 0, found = 0;
    for (uint32_t i = 0; i < world->row_count; i++) {
        const struct unit_row *row = &world->rows[i];
        expected += row->is_live && row->changed_at > 0 && !is_collection(row->state);
    }
    for (uint32_t i = 0; i < world->range_count; i++) {
        for (uint32_t state = 0; state < LIST; state++) {
            struct changed_walk walk = { 0 };
            ck_assert(shard_each_changed(world->ranges[i].shard, state, visit_changed, &walk));
            found += walk.count;
        }
    }
    ck_assert_uint_eq(found, expected);
}

static void apply(struct range *ranges, uint32_t range_count, const struct buffer *units)
{
    struct weir_error error = { 0 };
    for (uint32_t i = 0; i < range_count; i++) {
        const enum weir_code code = shard_apply(ranges[i].shard, (struct weir_bytes){ units->data, units->size }, same,
                                                STATES, &error);
        ck_assert_msg(code == WEIR_OK, "%s", error.text);
    }
}

static bool has_all_bases(const struct world *world)
{
    for (uint32_t i = 0; i < world->range_count; i++) {
        if (!world->ranges[i].has_base || world->ranges[i].generation != world->generation) return false;
    }
    return true;
}

static void restore_from_bases(struct world *world, struct range *ranges, uint32_t range_count)
{
    for (uint32_t i = 0; i < world->range_count; i++) {
        const struct range *from = &world->ranges[i];
        apply(ranges, range_count, &from->base);
        for (size_t k = 0; k < world->deltas.count; k++) {
            const struct delta *delta = &world->deltas.items[k];
            if (delta->generation == world->generation && delta->range == i && delta->epoch > from->redo)
                apply(ranges, range_count, delta->units);
        }
    }
    world->bases_checked++;
}

static void restore_from_deltas(struct world *world, struct range *ranges, uint32_t range_count)
{
    for (size_t i = 0; i < world->deltas.count; i++) {
        apply(ranges, range_count, world->deltas.items[i].units);
        if (unit_chance(&world->random, 10)) apply(ranges, range_count, world->deltas.items[i].units);
    }
}

/* The restored shards go on in place of those that were restored from: what came behind the barrier is lost. */
static void take_over(struct world *world, const struct range *ranges, uint32_t range_count)
{
    destroy_ranges(world->ranges, world->range_count);
    memcpy(world->ranges, ranges, sizeof world->ranges);
    world->range_count = range_count;
    world->generation++;
    for (uint32_t i = 0; i < range_count; i++) forget_changes(world, &world->ranges[i]);
}

/* True when the restored shards took over. */
static bool ck_restore(struct world *world)
{
    const bool from_bases = world->from_bases;
    if (!from_bases && unit_chance(&world->random, 60)) return false;
    struct range ranges[SHARDS_MAX] = { 0 };
    const uint32_t range_count = create_ranges(world, ranges);
    if (from_bases) restore_from_bases(world, ranges, range_count);
    else restore_from_deltas(world, ranges, range_count);
    for (uint32_t i = 0; i < range_count; i++)
        ck_assert_int_eq(shard_restored(ranges[i].shard, world->epoch, world->given, NULL), WEIR_OK);
    ck_rows(world, ranges, range_count, from_bases ? "bases and deltas" : "deltas alone");
    for (int i = 0; i < 8; i++) ck_scans(world, ranges, range_count);
    if (unit_chance(&world->random, 25)) {
        take_over(world, ranges, range_count);
        return true;
    }
    destroy_ranges(ranges, range_count);
    return false;
}

/* The last steps of the snapshots under way, and what can be restored then: the array as it was at the barrier. */
static void finish_snapshots(struct world *world)
{
    if (world->rows_at_barrier == NULL) return;
    for (uint32_t i = 0; i < world->range_count; i++)
        while (!shard_snapshot_step(world->ranges[i].shard, 1 + unit_random_below(&world->random, 1000))) continue;
    for (size_t i = world->deltas.count - world->range_count; i < world->deltas.count; i++)
        ck_assert_uint_eq(world->deltas.items[i].units->size, world->deltas.items[i].announced);
    struct unit_row *rows_now = world->rows;
    world->rows = world->rows_at_barrier;
    if (ck_restore(world)) {
        free(rows_now);
    } else {
        free(world->rows);
        world->rows = rows_now;
    }
    world->rows_at_barrier = NULL;
}

static void barrier(struct world *world)
{
    finish_parts(world);
    ck_changed(world);
    ck_rows(world, world->ranges, world->range_count, "the shard itself");
    for (uint32_t i = 0; i < world->range_count; i++) {
        struct delta *delta = add_delta(world, i);
        delta->announced = shard_changed_bytes(world->ranges[i].shard);
        ck_assert(shard_snapshot_begin(world->ranges[i].shard, world->epoch, delta->units));
        ck_assert_uint_eq(shard_changed_bytes(world->ranges[i].shard), 0);
        const uint64_t given = shard_generation(world->ranges[i].shard);
        if (given > world->given) world->given = given;
        forget_changes(world, &world->ranges[i]);
    }
    world->rows_at_barrier = malloc(world->row_count * sizeof *world->rows);
    ck_assert_ptr_nonnull(world->rows_at_barrier);
    memcpy(world->rows_at_barrier, world->rows, world->row_count * sizeof *world->rows);
    world->from_bases = has_all_bases(world);
    world->epoch++;
    if (unit_chance(&world->random, 40)) finish_snapshots(world);
}

static void run_world(uint64_t seed, bool is_large, bool has_stores, uint32_t *bases_checked, uint32_t *parts)
{
    struct world world;
    world_init(&world, seed, is_large, has_stores);
    for (int epoch = 0; epoch < EPOCHS; epoch++) {
        const uint32_t removal_percent = unit_chance(&world.random, 30) ? 85 : unit_random_below(&world.random, 50);
        const uint32_t steps_max = world.row_count * (unit_chance(&world.random, 30) ? 3 : 1);
        const uint32_t steps = unit_random_below(&world.random, steps_max);
        for (uint32_t i = 0; i < steps; i++) step(&world, removal_percent);
        finish_snapshots(&world);
        if (unit_chance(&world.random, 50)) finish_dumps(&world);
        for (int i = 0; i < 4; i++) ck_scans(&world, world.ranges, world.range_count);
        barrier(&world);
    }
    finish_snapshots(&world);
    *bases_checked += world.bases_checked;
    *parts += world.parts;
    world_deinit(&world);
}

static void run_worlds(bool has_stores)
{
    uint64_t seeds = unit_seed();
    uint32_t bases_checked = 0, parts = 0;
    const uint32_t worlds = has_stores ? 3 : WORLDS;
    for (uint32_t i = 0; i < worlds; i++)
        run_world(unit_random(&seeds), i == 0 && !has_stores, has_stores, &bases_checked, &parts);
    ck_assert_uint_gt(bases_checked, worlds / 2); /* or the worlds prove little about bases */
    if (!has_stores) ck_assert_uint_gt(parts, worlds * EPOCHS);
}

START_TEST(every_restore_is_the_model)
{
    run_worlds(false);
}
END_TEST

START_TEST(every_restore_is_the_model_with_a_small_cache)
{
    make_directory();
    run_worlds(true);
    store_memory_destroy(memory);
    ck_assert_msg(rmdir(directory) == 0, "a store left its folder behind");
    ck_assert_uint_gt(reads, 1000);
    ck_assert_uint_gt(evictions, 1000);
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_test(tests, every_restore_is_the_model);
    tcase_add_test(tests, every_restore_is_the_model_with_a_small_cache);
}

int main(void)
{
    map_states();
    return unit_main("state_model", add);
}
