/* State at another parallelism: every kind, from 1, 2, 3, 5 and 8 subtasks to as many, and on to as many again, against what
 * was put in. */
#include <stdio.h>
#include <stdlib.h>

#include "harness/unit.h"
#include "state/state.h"

enum { COUNT, LIST, UNION, RULES, STATES };
enum { KEYS = 300, RULES_COUNT = 20, GROUPS = 128, SUBTASKS_MAX = 8, SIZES = 5 };

static const uint32_t sizes[SIZES] = { 1, 2, 3, 5, 8 };

static struct state_declaration declarations[STATES] = {
    [COUNT] = { .name = "count", .codec = WEIR_I64, .value_size_bytes = 8 },
    [LIST] = { .name = "list", .kind = WEIR_STATE_OPERATOR_LIST },
    [UNION] = { .name = "union", .kind = WEIR_STATE_OPERATOR_UNION },
    [RULES] = { .name = "rules", .kind = WEIR_STATE_BROADCAST },
};
static const struct state_mapping same[STATES] = { { .state = 0, .value_size_bytes = 8 }, { .state = 1 }, { .state = 2 },
                                                   { .state = 3 } };

/* The subtasks of one life of the job. */
struct life {
    uint32_t count;
    struct shard *shards[SUBTASKS_MAX];
    struct state_own owns[SUBTASKS_MAX];
};

/* What has been written by all lives, in order. */
static struct buffer written[3 * SUBTASKS_MAX];
static uint32_t written_count;

static void begin(void)
{
    written_count = 0;
    declarations[LIST].version = 0;
    declarations[LIST].migrates = false;
}

static void end(void)
{
    while (written_count > 0) buffer_deinit(&written[--written_count]);
}

static void create(struct life *life, uint32_t count, state_migrate_fn *migrate)
{
    *life = (struct life){ .count = count };
    for (uint32_t i = 0; i < count; i++) {
        const uint32_t first = key_group_first(GROUPS, count, i);
        const uint32_t group_count = key_group_first(GROUPS, count, i + 1) - first;
        life->owns[i] = state_own_of(GROUPS, first, group_count);
        life->shards[i] = shard_create(&(struct shard_options){ .states = declarations, .state_count = STATES,
                                                                .max_parallelism = GROUPS, .group_first = first,
                                                                .group_count = group_count, .epoch = 1,
                                                                .migrate = migrate });
        ck_assert_ptr_nonnull(life->shards[i]);
    }
}

static void destroy(struct life *life)
{
    for (uint32_t i = 0; i < life->count; i++) shard_destroy(life->shards[i]);
}

static void write_down(struct life *life)
{
    for (uint32_t i = 0; i < life->count; i++) {
        struct buffer *delta = &written[written_count++];
        buffer_init(delta);
        ck_assert(shard_snapshot(life->shards[i], shard_epoch(life->shards[i]), delta));
    }
}

/* Another life begins with what was written, by `count_before` subtasks in the end. */
static void restore(struct life *life, uint32_t count_before, struct state_parcel all[STATES])
{
    uint64_t generation = 0;
    for (uint32_t i = 0; i < life->count; i++) {
        for (uint32_t k = 0; k < written_count; k++)
            ck_assert_int_eq(shard_apply(life->shards[i], (struct weir_bytes){ written[k].data, written[k].size }, same,
                                         STATES, NULL), WEIR_OK);
        if (shard_generation(life->shards[i]) > generation) generation = shard_generation(life->shards[i]);
    }
    for (uint32_t i = 0; i < life->count; i++)
        ck_assert_int_eq(shard_restored(life->shards[i], 2, generation, NULL), WEIR_OK);
    for (uint32_t s = LIST; s < STATES; s++) {
        state_parcel_init(&all[s]);
        ck_assert(state_deal_out(life->shards, life->count, count_before, s, &all[s]));
    }
}

static void forget(struct state_parcel all[STATES])
{
    for (uint32_t s = LIST; s < STATES; s++) state_parcel_deinit(&all[s]);
}

/* ---- What is put in, and must be there ------------------------------------------------------------------------------- */

static struct state_key key_of(uint32_t number, char text[16])
{
    const struct weir_bytes key = { text, (size_t)snprintf(text, 16, "key-%u", number) };
    return (struct state_key){ .key = key, .hash = hash_key(key) };
}

static struct shard *shard_of(const struct life *life, const struct state_key *key)
{
    const uint32_t group = key_group_of(key->hash, GROUPS);
    for (uint32_t i = 0; i < life->count; i++)
        if (group >= key_group_first(GROUPS, life->count, i) && group < key_group_first(GROUPS, life->count, i + 1))
            return life->shards[i];
    ck_abort();
}

/* Subtask i adds i * i + 2 elements, numbered through. */
static uint32_t add_elements(struct life *life, uint32_t state)
{
    uint32_t number = 0;
    for (uint32_t i = 0; i < life->count; i++) {
        const struct state_key key = state_own_key(&life->owns[i]);
        for (uint32_t k = 0; k < i * i + 2; k++) {
            char text[16];
            const struct weir_bytes element = { text, (size_t)snprintf(text, sizeof text, "%u", number++) };
            ck_assert(shard_list_add(life->shards[i], state, &key, element));
        }
    }
    return number;
}

static void add_rules(struct life *life)
{
    for (uint32_t i = 0; i < life->count; i++)
        for (uint32_t k = 0; k < RULES_COUNT; k++) {
            char text[16];
            struct state_key key = state_own_key(&life->owns[i]);
            key.element = (struct weir_bytes){ text, (size_t)snprintf(text, sizeof text, "rule-%02u", k) };
            ck_assert(shard_map_put(life->shards[i], RULES, &key, key.element));
        }
}

static uint32_t fill(struct life *life)
{
    for (uint32_t i = 0; i < KEYS; i++) {
        char text[16];
        const struct state_key key = key_of(i, text);
        *(int64_t *)shard_value(shard_of(life, &key), COUNT, &key) = i;
    }
    add_rules(life);
    add_elements(life, UNION);
    return add_elements(life, LIST);
}

static void expect_counts(const struct life *life)
{
    for (uint32_t i = 0; i < KEYS; i++) {
        char text[16];
        const struct state_key key = key_of(i, text);
        const struct weir_bytes value = shard_get(shard_of(life, &key), COUNT, &key);
        int64_t count;
        ck_assert_uint_eq(value.size, sizeof count);
        memcpy(&count, value.data, sizeof count);
        ck_assert_int_eq(count, i);
    }
}

static void expect_number(struct weir_bytes element, uint32_t number)
{
    int64_t read;
    ck_assert(weir_bytes_to_i64(element, &read));
    ck_assert_int_eq(read, number);
}

/* Subtask after subtask has all numbers in order, each as many as its share. */
static void expect_elements(const struct life *life, uint32_t state, uint32_t total, bool is_dealt_evenly)
{
    uint32_t number = 0;
    for (uint32_t i = 0; i < life->count; i++) {
        const struct state_key key = state_own_key(&life->owns[i]);
        struct shard_cursor cursor = { 0 };
        struct weir_bytes element;
        uint32_t count = 0;
        for (; shard_list_next(life->shards[i], state, &key, &cursor, &element); count++) expect_number(element, number++);
        const uint32_t share = total / life->count;
        if (is_dealt_evenly) ck_assert(count == share || count == share + 1);
        else ck_assert_uint_eq(count, i * i + 2);
    }
    ck_assert_uint_eq(number, total);
}

static void expect_parcel(const struct state_parcel *all, uint32_t total)
{
    struct state_packed packed;
    size_t position = 0;
    uint32_t number = 0;
    while (state_parcel_next(all, &position, &packed)) expect_number(packed.value, number++);
    ck_assert_uint_eq(number, total);
    ck_assert_uint_eq(all->count, total);
}

static void expect_rules(const struct life *life)
{
    for (uint32_t i = 0; i < life->count; i++) {
        const struct state_key key = state_own_key(&life->owns[i]);
        struct shard_cursor cursor = { 0 };
        struct weir_bytes element, value;
        uint32_t count = 0;
        for (; shard_map_next(life->shards[i], RULES, &key, &cursor, &element, &value); count++)
            ck_assert(weir_bytes_equal(element, value));
        ck_assert_uint_eq(count, RULES_COUNT);
    }
}

static uint64_t entry_count(const struct life *life)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < life->count; i++) {
        ck_assert(shard_collect(life->shards[i], SIZE_MAX));
        sum += shard_entry_count(life->shards[i]);
    }
    return sum;
}

static void expect_all(const struct life *life, const struct state_parcel all[STATES], uint32_t total, bool is_dealt)
{
    expect_counts(life);
    expect_elements(life, LIST, total, is_dealt);
    expect_elements(life, UNION, total, is_dealt);
    expect_parcel(&all[UNION], total);
    expect_rules(life);
    /* And nothing else: heads where there is something behind them, and nothing that was left lying. */
    const uint64_t heads = (total < life->count ? total : life->count) * 2 + life->count;
    ck_assert_uint_eq(entry_count(life), KEYS + 2 * total + life->count * RULES_COUNT + heads);
}

static void rescale(uint32_t from, uint32_t to, uint32_t onward)
{
    struct life first, second, third;
    struct state_parcel all[STATES];
    create(&first, from, NULL);
    const uint32_t total = fill(&first);
    write_down(&first);
    destroy(&first);

    create(&second, to, NULL);
    restore(&second, from, all);
    expect_all(&second, all, total, from != to);
    forget(all);
    write_down(&second);
    destroy(&second);

    create(&third, onward, NULL);
    restore(&third, to, all);
    expect_all(&third, all, total, from != to || to != onward);
    forget(all);
    destroy(&third);
    end();
}

START_TEST(every_kind_is_whole_at_every_parallelism)
{
    for (int from = 0; from < SIZES; from++)
        for (int to = 0; to < SIZES; to++)
            for (int onward = 0; onward < SIZES; onward++) rescale(sizes[from], sizes[to], sizes[onward]);
}
END_TEST

START_TEST(with_as_many_subtasks_as_before_nothing_changes)
{
    struct life first, second;
    struct state_parcel all[STATES];
    create(&first, 5, NULL);
    fill(&first);
    write_down(&first);
    destroy(&first);
    create(&second, 5, NULL);
    restore(&second, 5, all);
    for (uint32_t i = 0; i < 5; i++) ck_assert_uint_eq(shard_changed_bytes(second.shards[i]), 0);
    forget(all);
    destroy(&second);
}
END_TEST

START_TEST(own_keys_are_different_and_lie_in_their_subtasks)
{
    for (uint32_t count = 1; count <= 20; count++)
        for (uint32_t i = 0; i < count; i++) {
            const uint32_t first = key_group_first(20, count, i), behind = key_group_first(20, count, i + 1);
            const struct state_own own = state_own_of(20, first, behind - first);
            const struct state_key key = state_own_key(&own);
            ck_assert_uint_eq(key.hash, hash_key(key.key));
            ck_assert(key_group_of(key.hash, 20) >= first && key_group_of(key.hash, 20) < behind);
        }
}
END_TEST

/* ---- Versions -------------------------------------------------------------------------------------------------------- */

static struct weir_bytes add_ten(void *user, uint32_t state, uint32_t version, struct weir_bytes value)
{
    static char text[16];
    int64_t number;
    (void)user;
    ck_assert_uint_eq(state, LIST);
    ck_assert_uint_eq(version, 0);
    ck_assert(weir_bytes_to_i64(value, &number));
    return (struct weir_bytes){ text, (size_t)snprintf(text, sizeof text, "%d", (int)number + 10) };
}

START_TEST(old_values_arrive_as_old_ones)
{
    struct life first, second, third;
    struct state_parcel all[STATES];
    create(&first, 2, NULL);
    const uint32_t total = add_elements(&first, LIST);
    write_down(&first);
    destroy(&first);
    declarations[LIST].version = 1;
    declarations[LIST].migrates = true;

    create(&second, 3, add_ten);
    restore(&second, 2, all);
    forget(all);
    write_down(&second); /* nobody has used them: they are written as they were */
    destroy(&second);

    create(&third, 1, add_ten);
    restore(&third, 3, all);
    const struct state_key key = state_own_key(&third.owns[0]);
    struct shard_cursor cursor = { 0 };
    struct weir_bytes element;
    for (uint32_t i = 0; i < total; i++) {
        ck_assert(shard_list_next(third.shards[0], LIST, &key, &cursor, &element));
        expect_number(element, i + 10);
    }
    forget(all);
    destroy(&third);
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_checked_fixture(tests, begin, end);
    tcase_add_test(tests, every_kind_is_whole_at_every_parallelism);
    tcase_add_test(tests, with_as_many_subtasks_as_before_nothing_changes);
    tcase_add_test(tests, own_keys_are_different_and_lie_in_their_subtasks);
    tcase_add_test(tests, old_values_arrive_as_old_ones);
}

int main(void)
{
    return unit_main("state_deal", add);
}
