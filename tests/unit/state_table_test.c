/* The parts of a shard: cells of the slab, the table of one key group, the store that holds nothing. */
#include "harness/unit.h"
#include "state/shard_private.h"

START_TEST(cells_have_the_size_asked_for_and_never_overlap)
{
    struct slab slab;
    slab_init(&slab);
    uint64_t random = unit_seed();
    enum { CELLS = 20000 };
    static uint32_t cells[CELLS];
    static size_t sizes[CELLS];
    for (int round = 0; round < 3; round++) {
        for (uint32_t i = 0; i < CELLS; i++) {
            if (cells[i] != SLAB_NONE && unit_chance(&random, 50)) continue;
            if (cells[i] != SLAB_NONE) slab_free(&slab, cells[i]);
            sizes[i] = unit_random_below(&random, unit_chance(&random, 80) ? 100 : SLAB_CELL_MAX) + 1;
            cells[i] = slab_alloc(&slab, sizes[i]);
            ck_assert_uint_gt(cells[i], SLAB_RESERVED);
            ck_assert_uint_ge(slab_cell_bytes(&slab, cells[i]), sizes[i]);
            ck_assert_uint_le(slab_cell_bytes(&slab, cells[i]), sizes[i] + 16 + sizes[i] / 4);
            ck_assert_uint_eq((uintptr_t)slab_at(&slab, cells[i]) % 8, 0);
            memset(slab_at(&slab, cells[i]), (int)(i & 0xff), sizes[i]);
        }
        for (uint32_t i = 0; i < CELLS; i++) {
            const unsigned char *cell = slab_at(&slab, cells[i]);
            for (size_t k = 0; k < sizes[i]; k++) unit_expect(cell[k] == (i & 0xff));
        }
    }
    slab_deinit(&slab);
}
END_TEST

START_TEST(cells_of_32_bytes_lie_in_one_cache_line)
{
    struct slab slab;
    slab_init(&slab);
    for (uint32_t i = 0; i < 5000; i++) {
        const uint32_t cell = slab_alloc(&slab, 32);
        ck_assert_uint_le((uintptr_t)slab_at(&slab, cell) % 64, 32);
    }
    slab_deinit(&slab);
}
END_TEST

START_TEST(freed_cells_are_used_again)
{
    struct slab slab;
    slab_init(&slab);
    for (uint32_t i = 0; i < 1000000; i++) {
        const uint32_t cell = slab_alloc(&slab, i % 7 * 40 + 8);
        unit_expect(cell != SLAB_NONE);
        slab_free(&slab, cell);
    }
    ck_assert_uint_le(slab_bytes(&slab), 7 * 65536);
    slab_deinit(&slab);
}
END_TEST

/* ---- Table ------------------------------------------------------------------------------------------------------- */

static uint64_t table_held; /* what the table says that it holds */

static void insert(struct table *table, uint32_t tag, uint32_t reference)
{
    unit_expect(table_reserve(table, tag, &table_held));
    table_insert(table, tag, reference);
}

static bool contains(const struct table *table, uint32_t tag, uint32_t reference)
{
    const struct segment *segment = table_segment(table, tag);
    for (uint32_t i = tag & segment->mask; segment->slots[i].reference != SLAB_NONE; i = (i + 1) & segment->mask) {
        if (segment->slots[i].reference == reference) return segment->slots[i].tag == tag;
    }
    return false;
}

/* Walks all segments; checks that they cover all tags once, each with tags of its own range; counts references. */
static uint32_t walk(const struct table *table, uint32_t *largest)
{
    uint32_t count = 0;
    for (uint64_t at = 0, end; at <= UINT32_MAX; at = end) {
        const struct segment *segment = table_segment(table, (uint32_t)at);
        end = table_segment_end(table, (uint32_t)at);
        ck_assert_uint_gt(end, at);
        ck_assert_uint_eq(end - at, (uint64_t)1 << (32 - segment->depth));
        for (uint32_t i = 0; i <= segment->mask; i++) {
            if (segment->slots[i].reference <= SLAB_RESERVED) continue;
            unit_expect(segment->slots[i].tag >= at && segment->slots[i].tag < end);
            count++;
        }
        if (segment->mask + 1 > *largest) *largest = segment->mask + 1;
    }
    return count;
}

static uint32_t tag_of(uint32_t i) { return i * 0x9e3779b1 ^ i * 0x9e3779b1 >> 15; }

START_TEST(table_loses_nothing_while_it_grows_in_small_segments)
{
    enum { COUNT = 100000 };
    struct table table;
    table_init(&table);
    table_held = 0;
    for (uint32_t i = 0; i < COUNT; i++) insert(&table, tag_of(i), i + 2);
    uint32_t largest = 0;
    ck_assert_uint_eq(walk(&table, &largest), COUNT);
    ck_assert_uint_le(largest, 4096);
    for (uint32_t i = 0; i < COUNT; i++) unit_expect(contains(&table, tag_of(i), i + 2));
    for (uint32_t i = 0; i < COUNT; i += 2) table_remove(&table, tag_of(i), i + 2);
    for (uint32_t i = 0; i < COUNT; i++) unit_expect(contains(&table, tag_of(i), i + 2) == (i % 2 == 1));
    ck_assert_uint_eq(table_held, table_bytes(&table));
    ck_assert_uint_le(table_held, COUNT * 22);
    table_deinit(&table);
}
END_TEST

START_TEST(table_grows_as_well_when_tags_come_in_order)
{
    enum { COUNT = 100000 };
    struct table table;
    table_init(&table);
    for (uint32_t i = 0; i < COUNT; i++) insert(&table, i * 42949 ^ i * 7919 % 4096, i + 2);
    uint32_t largest = 0;
    ck_assert_uint_eq(walk(&table, &largest), COUNT);
    ck_assert_uint_le(largest, 4096);
    table_deinit(&table);
}
END_TEST

START_TEST(equal_tags_beyond_a_segment_are_kept)
{
    enum { COUNT = 9000 };
    struct table table;
    table_init(&table);
    for (uint32_t i = 0; i < COUNT; i++) insert(&table, 0x12345678, i + 2);
    for (uint32_t i = 0; i < COUNT; i += 97) unit_expect(contains(&table, 0x12345678, i + 2));
    uint32_t largest = 0;
    ck_assert_uint_eq(walk(&table, &largest), COUNT);
    table_deinit(&table);
}
END_TEST

START_TEST(places_of_removed_references_are_used_again)
{
    struct table table;
    table_init(&table);
    table_held = 0;
    for (uint32_t i = 0; i < 1000000; i++) {
        insert(&table, tag_of(i), i + 2);
        if (i >= 100) table_remove(&table, tag_of(i - 100), i - 100 + 2);
    }
    ck_assert_uint_le(table_held, 8192);
    table_deinit(&table);
}
END_TEST

START_TEST(key_groups_are_the_remainder_of_the_hash)
{
    uint64_t random = unit_seed();
    for (int i = 0; i < 200000; i++) {
        const uint32_t max_parallelism = i < 2000 ? (uint32_t)i + 1 : (uint32_t)unit_random(&random) | 1;
        const uint32_t hash = i % 10 == 0 ? UINT32_MAX - (uint32_t)i : (uint32_t)unit_random(&random);
        const struct shard shard = { .max_parallelism = max_parallelism,
                                     .group_reciprocal = UINT64_MAX / max_parallelism + 1 };
        ck_assert_uint_eq(shard_group(&shard, hash), key_group_of(hash, max_parallelism));
    }
}
END_TEST

/* ---- Store ------------------------------------------------------------------------------------------------------- */

static bool never(void *user, uint32_t state, const struct state_key *key, struct weir_bytes value, uint32_t version)
{
    (void)state, (void)key, (void)value, (void)version;
    *(bool *)user = true;
    return true;
}

START_TEST(hashmap_store_holds_nothing)
{
    struct state_store *store = store_hashmap_create();
    const struct store_operations *operations = store->operations;
    const struct state_key key = { .key = weir_text("a") };
    struct weir_error error;
    bool visited = false;
    ck_assert(!operations->holds_units);
    ck_assert_int_eq(operations->remove(store, 0, &key, &error), WEIR_OK);
    ck_assert_int_eq(operations->scan(store, 0, &key, never, &visited, &error), WEIR_OK);
    ck_assert(!visited);
    operations->destroy(store);
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_test(tests, cells_have_the_size_asked_for_and_never_overlap);
    tcase_add_test(tests, cells_of_32_bytes_lie_in_one_cache_line);
    tcase_add_test(tests, freed_cells_are_used_again);
    tcase_add_test(tests, table_loses_nothing_while_it_grows_in_small_segments);
    tcase_add_test(tests, table_grows_as_well_when_tags_come_in_order);
    tcase_add_test(tests, equal_tags_beyond_a_segment_are_kept);
    tcase_add_test(tests, places_of_removed_references_are_used_again);
    tcase_add_test(tests, key_groups_are_the_remainder_of_the_hash);
    tcase_add_test(tests, hashmap_store_holds_nothing);
}

int main(void)
{
    return unit_main("state_table", add);
}
