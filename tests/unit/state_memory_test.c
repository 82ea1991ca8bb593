/* Every allocation of a shard fails once: WEIR_TEST_WRAPS_MALLOC. A call that says "no memory" has changed nothing, and
 * the shard can be used on. */
#include "harness/failing_malloc.h"
#include "harness/unit.h"
#include "state/state.h"

enum { COUNT, TEXT, SORTED, LIST, MAP, STATES };

static const struct state_declaration declarations[STATES] = {
    [COUNT] = { .name = "count", .codec = WEIR_I64, .value_size_bytes = 8 },
    [TEXT] = { .name = "text", .codec = WEIR_BYTES },
    [SORTED] = { .name = "sorted", .codec = WEIR_BYTES, .ordered_in_group = true },
    [LIST] = { .name = "list", .kind = WEIR_STATE_LIST, .codec = WEIR_BYTES },
    [MAP] = { .name = "map", .kind = WEIR_STATE_MAP, .codec = WEIR_I64, .value_size_bytes = 8 },
};
/* Every state to itself. */
static struct state_mapping same[STATES];

static void map_states(void)
{
    for (uint32_t i = 0; i < STATES; i++)
        same[i] = (struct state_mapping){ .state = i, .value_size_bytes = declarations[i].value_size_bytes };
}

/* What went wrong in a scenario, which may not assert itself: Check's own allocations would be counted. */
static const char *wrong;
static char large[5000];

#define EXPECT(fact) ((fact) ? (void)0 : (void)(wrong = wrong == NULL ? #fact : wrong))

static struct shard *create(void)
{
    return shard_create(&(struct shard_options){ .states = declarations, .state_count = STATES, .max_parallelism = 4,
                                                 .group_count = 4, .epoch = 1 });
}

static struct state_key of(const char *key, size_t size)
{
    return (struct state_key){ .key = { key, size }, .hash = hash_key((struct weir_bytes){ key, size }) };
}

/* Sets, and when that fails, sees to it that nothing has changed and tries once more. */
static bool set(struct shard *shard, uint32_t state, const struct state_key *key, struct weir_bytes value)
{
    const struct weir_bytes before = shard_get(shard, state, key);
    const uint64_t count = shard_entry_count(shard), pending = shard_changed_bytes(shard);
    if (shard_set(shard, state, key, value)) return true;
    const struct weir_bytes after = shard_get(shard, state, key);
    EXPECT(after.size == before.size && after.data == before.data);
    EXPECT(shard_entry_count(shard) == count && shard_changed_bytes(shard) == pending);
    return shard_set(shard, state, key, value);
}

static bool count_up(struct shard *shard, const struct state_key *key)
{
    const uint64_t count = shard_entry_count(shard), pending = shard_changed_bytes(shard);
    int64_t *value = shard_value(shard, COUNT, key);
    if (value == NULL) {
        EXPECT(shard_entry_count(shard) == count && shard_changed_bytes(shard) == pending);
        value = shard_value(shard, COUNT, key);
    }
    if (value != NULL) ++*value;
    return value != NULL;
}

static bool take_away(struct shard *shard, uint32_t state, const struct state_key *key)
{
    const uint64_t count = shard_entry_count(shard);
    if (shard_remove(shard, state, key)) return true;
    EXPECT(shard_entry_count(shard) == count);
    return shard_remove(shard, state, key);
}

static uint32_t length_of(struct shard *shard, uint32_t state, const struct state_key *key)
{
    struct shard_cursor cursor = { 0 };
    struct weir_bytes element, value;
    uint32_t count = 0;
    while (state == LIST ? shard_list_next(shard, LIST, key, &cursor, &value)
                         : shard_map_next(shard, MAP, key, &cursor, &element, &value))
        count++;
    return count;
}

static bool add_to_list(struct shard *shard, const struct state_key *key)
{
    const uint32_t length = length_of(shard, LIST, key);
    if (shard_list_add(shard, LIST, key, (struct weir_bytes){ large, length * 200 })) return true;
    EXPECT(length_of(shard, LIST, key) == length);
    return shard_list_add(shard, LIST, key, (struct weir_bytes){ large, length * 200 });
}

static bool add_to_map(struct shard *shard, const struct state_key *key)
{
    const uint32_t length = length_of(shard, MAP, key);
    struct state_key name = *key;
    name.element = (struct weir_bytes){ large, length + 1 };
    if (shard_map_value(shard, MAP, &name) != NULL) return true;
    EXPECT(length_of(shard, MAP, key) == length);
    return shard_map_value(shard, MAP, &name) != NULL;
}

static bool clear(struct shard *shard, uint32_t state, const struct state_key *key)
{
    const uint32_t length = length_of(shard, state, key);
    if (shard_clear(shard, state, key)) return true;
    EXPECT(length_of(shard, state, key) == length);
    return shard_clear(shard, state, key);
}

/* Two large collections that are cleared, and what comes in their place. */
static bool work_on_collections(struct shard *shard)
{
    const struct state_key key = of("k", 1);
    bool good = true;
    for (int round = 0; round < 2; round++) {
        for (uint32_t i = 0; i < 25 && good; i++) good = add_to_list(shard, &key) && add_to_map(shard, &key);
        if (round == 0) good = good && clear(shard, LIST, &key) && clear(shard, MAP, &key);
    }
    return good;
}

static bool work(struct shard *shard)
{
    bool good = work_on_collections(shard);
    for (uint32_t i = 0; i < 60 && good; i++) {
        struct state_key key = of((const char *)&i, sizeof i);
        good = good && count_up(shard, &key);
        good = good && set(shard, TEXT, &key, (struct weir_bytes){ large, i % 9 * 500 });
        good = good && set(shard, TEXT, &key, (struct weir_bytes){ large, i % 7 * 600 });
        key.element = (struct weir_bytes){ large, i };
        good = good && set(shard, SORTED, &key, weir_text("x"));
        if (i % 3 == 0) good = good && take_away(shard, SORTED, &key);
        if (i % 6 == 0) good = good && set(shard, SORTED, &key, weir_text("y"));
    }
    const struct state_key long_key = of(large, sizeof large);
    return good && set(shard, TEXT, &long_key, (struct weir_bytes){ large, sizeof large });
}

static bool snapshot(struct shard *shard, struct buffer *delta)
{
    const uint64_t epoch = shard_epoch(shard), pending = shard_changed_bytes(shard);
    const size_t size = delta->size;
    if (shard_snapshot(shard, epoch, delta)) return true;
    EXPECT(shard_epoch(shard) == epoch && shard_changed_bytes(shard) == pending && delta->size == size);
    delta->failed = false;
    return shard_snapshot(shard, epoch, delta);
}

static bool write_part(struct shard *shard, struct buffer *delta)
{
    const uint64_t pending = shard_changed_bytes(shard);
    const size_t size = delta->size;
    if (!shard_part_begin(shard, delta)) {
        EXPECT(shard_changed_bytes(shard) == pending && delta->size == size);
        delta->failed = false;
        if (!shard_part_begin(shard, delta)) return false;
    }
    return shard_snapshot_step(shard, SIZE_MAX);
}

static bool dump(struct shard *shard, struct buffer *base)
{
    (void)shard_dump_begin(shard);
    while (!shard_dump_step(shard, 500, base)) {
        if (!base->failed) continue;
        shard_dump_abandon(shard);
        return false;
    }
    return !base->failed;
}

static bool check(struct shard *shard)
{
    for (uint32_t i = 0; i < 60; i++) {
        struct state_key key = of((const char *)&i, sizeof i);
        const struct weir_bytes count = shard_get(shard, COUNT, &key);
        if (count.size != 8 || count.data[0] != 1) return false;
        if (shard_get(shard, TEXT, &key).size != i % 7 * 600) return false;
        key.element = (struct weir_bytes){ large, i };
        if (weir_is_set(shard_get(shard, SORTED, &key)) != (i % 3 != 0 || i % 6 == 0)) return false;
    }
    const struct state_key key = of("k", 1);
    if (length_of(shard, LIST, &key) != 25 || length_of(shard, MAP, &key) != 25) return false;
    while (!shard_collect(shard, SIZE_MAX)) continue;
    return shard_entry_count(shard) == 60 + 60 + 50 + 1 + 2 * 26;
}

static void restore(const struct buffer *base, const struct buffer *delta)
{
    struct shard *copy = create();
    struct weir_error error;
    if (copy == NULL) return;
    const enum weir_code code = shard_apply(copy, (struct weir_bytes){ base->data, base->size }, same, STATES, &error);
    EXPECT(code == WEIR_OK || code == WEIR_NO_MEMORY);
    if (code == WEIR_OK) {
        const struct weir_bytes units = { delta->data, delta->size };
        const enum weir_code then = shard_apply(copy, units, same, STATES, NULL);
        EXPECT(then == WEIR_OK || then == WEIR_NO_MEMORY);
        const bool restored = then == WEIR_OK && shard_restored(copy, 2, 0, NULL) == WEIR_OK;
        if (restored) EXPECT(check(copy));
    }
    shard_destroy(copy);
}

static void scenario(void)
{
    struct shard *shard = create();
    struct buffer delta, base;
    buffer_init(&delta);
    buffer_init(&base);
    if (shard == NULL) return;
    if (work(shard)) {
        EXPECT(check(shard));
        const struct state_key twice = of("\0\0\0", 4);
        if (write_part(shard, &delta) && set(shard, TEXT, &twice, (struct weir_bytes){ large, 0 }) &&
            snapshot(shard, &delta) && dump(shard, &base)) restore(&base, &delta);
        EXPECT(check(shard));
    }
    buffer_deinit(&base);
    buffer_deinit(&delta);
    shard_destroy(shard);
}

START_TEST(no_memory_changes_nothing_and_leaks_nothing)
{
    for (size_t i = 0; i < sizeof large; i++) large[i] = (char)i;
    const uint64_t allocations = failing_malloc_each(scenario);
    ck_assert_msg(wrong == NULL, "%s", wrong);
    ck_assert_uint_gt(allocations, 100);
}
END_TEST

/* ---- What expires, and what is dealt out ------------------------------------------------------------------------- */

static struct shard *create_with(const struct state_declaration *states, uint32_t first, uint32_t count)
{
    return shard_create(&(struct shard_options){ .states = states, .state_count = STATES, .max_parallelism = 4,
                                                 .group_first = first, .group_count = count, .epoch = 1 });
}

static void expire(void)
{
    struct state_declaration expiring[STATES];
    memcpy(expiring, declarations, sizeof expiring);
    expiring[TEXT].ttl_ms = expiring[LIST].ttl_ms = expiring[MAP].ttl_ms = 10;
    expiring[TEXT].ttl_on_read = true;
    for (uint32_t i = 0; i < STATES; i++) expiring[i].ttl_clean_up = 1;
    struct shard *shard = create_with(expiring, 0, 4);
    const struct state_key key = of("k", 1);
    struct buffer delta;
    buffer_init(&delta);
    if (shard == NULL) return;
    shard_set_time(shard, 100);
    bool good = set(shard, TEXT, &key, weir_text("value"));
    for (int i = 0; i < 20 && good; i++) good = add_to_list(shard, &key) && add_to_map(shard, &key);
    if (good && shard_snapshot(shard, 1, &delta)) {
        shard_set_time(shard, 105);
        EXPECT(weir_is_set(shard_get(shard, TEXT, &key)));
        EXPECT(length_of(shard, LIST, &key) == 20 && length_of(shard, MAP, &key) == 20);
        shard_set_time(shard, 120);
        EXPECT(!weir_is_set(shard_get(shard, TEXT, &key)));
        EXPECT(length_of(shard, LIST, &key) == 0 && length_of(shard, MAP, &key) == 0);
        shard_clean(shard, 1000);
        EXPECT(length_of(shard, LIST, &key) == 0 && length_of(shard, MAP, &key) == 0);
    }
    buffer_deinit(&delta);
    shard_destroy(shard);
}

START_TEST(no_memory_shows_nothing_that_has_expired)
{
    const uint64_t allocations = failing_malloc_each(expire);
    ck_assert_msg(wrong == NULL, "%s", wrong);
    ck_assert_uint_gt(allocations, 10);
}
END_TEST

static void deal_out(void)
{
    struct state_declaration own[STATES];
    memcpy(own, declarations, sizeof own);
    own[LIST].kind = WEIR_STATE_OPERATOR_LIST;
    own[MAP].kind = WEIR_STATE_BROADCAST;
    struct shard *shards[2] = { create_with(own, 0, 2), create_with(own, 2, 2) };
    const struct state_own first = state_own_of(4, 0, 4);
    const struct state_key key = state_own_key(&first);
    struct shard *holder = shards[key_group_of(key.hash, 4) / 2];
    struct state_parcel list, map;
    state_parcel_init(&list);
    state_parcel_init(&map);
    bool good = shards[0] != NULL && shards[1] != NULL;
    for (int i = 0; i < 20 && good; i++) good = add_to_list(holder, &key) && add_to_map(holder, &key);
    if (good && state_deal_out(shards, 2, 1, LIST, &list) && state_deal_out(shards, 2, 1, MAP, &map)) {
        EXPECT(list.count == 20 && map.count == 20);
        for (uint32_t i = 0; i < 2; i++) {
            const struct state_own of_shard = state_own_of(4, i * 2, 2);
            const struct state_key own_key = state_own_key(&of_shard);
            EXPECT(length_of(shards[i], LIST, &own_key) == 10 && length_of(shards[i], MAP, &own_key) == 20);
        }
    }
    state_parcel_deinit(&map);
    state_parcel_deinit(&list);
    shard_destroy(shards[1]);
    shard_destroy(shards[0]);
}

START_TEST(no_memory_to_deal_out_is_told)
{
    const uint64_t allocations = failing_malloc_each(deal_out);
    ck_assert_msg(wrong == NULL, "%s", wrong);
    ck_assert_uint_gt(allocations, 10);
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_test(tests, no_memory_changes_nothing_and_leaks_nothing);
    tcase_add_test(tests, no_memory_shows_nothing_that_has_expired);
    tcase_add_test(tests, no_memory_to_deal_out_is_told);
}

int main(void)
{
    map_states();
    return unit_main("state_memory", add);
}
