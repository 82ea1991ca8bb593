/* Deltas and bases: their bytes, what is in them, and how they are applied. */
#include <stdio.h>
#include <stdlib.h>

#include "harness/unit.h"
#include "state/state.h"

enum { COUNT, TEXT, SORTED, STATES };

static const struct state_declaration declarations[STATES] = {
    [COUNT] = { .name = "count", .codec = WEIR_I64, .value_size_bytes = 8 },
    [TEXT] = { .name = "text", .codec = WEIR_BYTES },
    [SORTED] = { .name = "sorted", .codec = WEIR_BYTES, .ordered_in_group = true },
};
/* Every state to itself. */
static struct state_mapping same[STATES];

static void map_states(void)
{
    for (uint32_t i = 0; i < STATES; i++)
        same[i] = (struct state_mapping){ .state = i, .value_size_bytes = declarations[i].value_size_bytes };
}

static struct shard *create_range(uint32_t max_parallelism, uint32_t first, uint32_t count)
{
    struct shard *shard = shard_create(&(struct shard_options){ .states = declarations, .state_count = STATES,
                                                                .max_parallelism = max_parallelism,
                                                                .group_first = first, .group_count = count,
                                                                .epoch = 1 });
    ck_assert_ptr_nonnull(shard);
    return shard;
}

static struct shard *create(uint32_t max_parallelism)
{
    return create_range(max_parallelism, 0, max_parallelism);
}

static struct state_key of(const char *key)
{
    return (struct state_key){ .key = weir_text(key), .hash = hash_key(weir_text(key)) };
}

static struct state_key numbered(const uint64_t *number)
{
    const struct weir_bytes key = { (const char *)number, sizeof *number };
    return (struct state_key){ .key = key, .hash = hash_key(key) };
}

static void set(struct shard *shard, const char *key, const char *value)
{
    const struct state_key name = of(key);
    ck_assert(shard_set(shard, TEXT, &name, weir_text(value)));
}

static bool has(struct shard *shard, const char *key, const char *value)
{
    const struct state_key name = of(key);
    const struct weir_bytes found = shard_get(shard, TEXT, &name);
    return value == NULL ? !weir_is_set(found) : weir_is_set(found) && weir_bytes_equal(found, weir_text(value));
}

static void snapshot(struct shard *shard, struct buffer *delta)
{
    const uint64_t announced = shard_changed_bytes(shard);
    const size_t before = delta->size;
    ck_assert(shard_snapshot(shard, shard_epoch(shard), delta));
    ck_assert_uint_eq(delta->size - before, announced);
    ck_assert_uint_eq(shard_changed_bytes(shard), 0);
}

static void apply(struct shard *shard, const struct buffer *units)
{
    struct weir_error error = { 0 };
    const struct weir_bytes bytes = { units->data, units->size };
    const enum weir_code code = shard_apply(shard, bytes, same, STATES, &error);
    ck_assert_msg(code == WEIR_OK, "%s", error.text);
}

/* What `units` is refused with. */
static const char *refusal(struct shard *shard, const void *units, size_t size)
{
    static struct weir_error error;
    error = (struct weir_error){ 0 };
    const enum weir_code code = shard_apply(shard, (struct weir_bytes){ units, size }, same, STATES, &error);
    ck_assert_int_eq(code, WEIR_DAMAGED);
    ck_assert_int_eq(error.code, WEIR_DAMAGED);
    ck_assert_int_eq(error.remedy, WEIR_REMEDY_STOP);
    return error.text;
}

/* ---- The format -------------------------------------------------------------------------------------------------- */

static void ck_bytes(const struct buffer *units, const void *expected, size_t size)
{
    ck_assert_uint_eq(units->size, size);
    ck_assert_mem_eq(units->data, expected, size);
}

START_TEST(units_are_written_as_documented)
{
    struct shard *shard = create(1);
    struct buffer delta;
    buffer_init(&delta);
    struct state_key key = of("ab");
    *(int64_t *)shard_value(shard, COUNT, &key) = 0x0102;
    set(shard, "cd", "v");
    key = of("e");
    ck_assert(shard_set(shard, TEXT, &key, WEIR_NULL));
    key = (struct state_key){ .key = WEIR_NULL };
    ck_assert(shard_set(shard, TEXT, &key, WEIR_EMPTY));
    key = of("f");
    key.name_space = weir_text("gh");
    key.element = weir_text("i");
    ck_assert(shard_set(shard, SORTED, &key, weir_text("jkl")));
    key = of("cd");
    ck_assert(shard_remove(shard, TEXT, &key));
    snapshot(shard, &delta);
    const char expected[] = "\0\0\0\2ab\10\2\1\0\0\0\0\0\0"
                            "\1\1\0\2cd"
                            "\2\1\0\1e"
                            "\4\1\0\0"
                            "\30\2\0\1f\2gh\1i\3jkl";
    ck_bytes(&delta, expected, sizeof expected - 1);
    buffer_deinit(&delta);
    shard_destroy(shard);
}
END_TEST

START_TEST(a_typical_unit_has_29_bytes)
{
    struct shard *shard = create(128);
    struct buffer delta;
    buffer_init(&delta);
    const struct state_key key = of("sixteen bytes ok");
    ck_assert_ptr_nonnull(shard_value(shard, COUNT, &key));
    snapshot(shard, &delta);
    ck_assert_uint_eq(delta.size, 29);
    buffer_deinit(&delta);
    shard_destroy(shard);
}
END_TEST

/* ---- Snapshots --------------------------------------------------------------------------------------------------- */

START_TEST(snapshot_has_what_changed_and_opens_the_next_epoch)
{
    struct shard *shard = create(8), *copy = create(8);
    struct buffer delta;
    buffer_init(&delta);
    set(shard, "a", "1");
    set(shard, "b", "1");
    snapshot(shard, &delta);
    ck_assert_uint_eq(shard_epoch(shard), 2);
    buffer_clear(&delta);
    set(shard, "b", "2");
    set(shard, "b", "3");
    snapshot(shard, &delta);
    apply(copy, &delta);
    ck_assert_uint_eq(shard_entry_count(copy), 1);
    ck_assert(has(copy, "b", "3"));
    buffer_clear(&delta);
    snapshot(shard, &delta);
    ck_assert_uint_eq(delta.size, 0);
    ck_assert_uint_eq(shard_epoch(shard), 4);
    buffer_deinit(&delta);
    shard_destroy(copy);
    shard_destroy(shard);
}
END_TEST

START_TEST(a_snapshot_holds_what_was_there_at_its_barrier)
{
    struct shard *shard = create(8), *copy = create(8);
    struct buffer delta;
    buffer_init(&delta);
    static const char *const keys[] = { "kept", "set", "removed", "gone", "back" };
    for (size_t i = 0; i < 5; i++) set(shard, keys[i], "1");
    const struct state_key removed = of("removed"), gone = of("gone"), back = of("back");
    ck_assert(shard_remove(shard, TEXT, &gone) && shard_remove(shard, TEXT, &back));
    const uint64_t announced = shard_changed_bytes(shard);
    ck_assert(shard_snapshot_begin(shard, 1, &delta));
    ck_assert_uint_eq(shard_epoch(shard), 2);
    ck_assert_uint_eq(shard_changed_bytes(shard), 0);

    /* Epoch 2 goes on while epoch 1 is written down. */
    set(shard, "new", "2");
    set(shard, "set", "2 is longer than before, so that it needs another place");
    ck_assert(shard_remove(shard, TEXT, &removed));
    set(shard, "back", "2");
    ck_assert(!shard_snapshot_step(shard, 2));
    set(shard, "set", "3");
    while (!shard_snapshot_step(shard, 1)) continue;
    ck_assert_uint_eq(delta.size, announced);
    apply(copy, &delta);
    ck_assert(has(copy, "kept", "1") && has(copy, "set", "1") && has(copy, "removed", "1"));
    ck_assert(has(copy, "gone", NULL) && has(copy, "back", NULL) && has(copy, "new", NULL));

    snapshot(shard, &delta);
    apply(copy, &delta);
    ck_assert(has(copy, "kept", "1") && has(copy, "set", "3") && has(copy, "removed", NULL));
    ck_assert(has(copy, "gone", NULL) && has(copy, "back", "2") && has(copy, "new", "2"));
    buffer_deinit(&delta);
    shard_destroy(copy);
    shard_destroy(shard);
}
END_TEST

START_TEST(applying_twice_changes_nothing)
{
    struct shard *shard = create(8), *copy = create(8);
    struct buffer delta;
    buffer_init(&delta);
    set(shard, "a", "1");
    set(shard, "b", "1");
    snapshot(shard, &delta);
    const struct state_key b = of("b");
    ck_assert(shard_remove(shard, TEXT, &b));
    snapshot(shard, &delta);
    apply(copy, &delta);
    apply(copy, &delta);
    ck_assert(has(copy, "a", "1") && has(copy, "b", NULL));
    ck_assert_uint_eq(shard_entry_count(copy), 1);
    buffer_deinit(&delta);
    shard_destroy(copy);
    shard_destroy(shard);
}
END_TEST

START_TEST(nothing_that_is_applied_counts_as_changed)
{
    struct shard *shard = create(8), *copy = create(8);
    struct buffer delta;
    buffer_init(&delta);
    set(shard, "a", "1");
    snapshot(shard, &delta);
    apply(copy, &delta);
    ck_assert_int_eq(shard_restored(copy, 9, 0, NULL), WEIR_OK);
    ck_assert_uint_eq(shard_epoch(copy), 9);
    ck_assert_uint_eq(shard_changed_bytes(copy), 0);
    buffer_clear(&delta);
    snapshot(copy, &delta);
    ck_assert_uint_eq(delta.size, 0);
    buffer_deinit(&delta);
    shard_destroy(copy);
    shard_destroy(shard);
}
END_TEST

/* ---- Bases ------------------------------------------------------------------------------------------------------- */

START_TEST(redo_point_is_the_epoch_before_the_dump_began)
{
    struct shard *shard = create(8);
    struct buffer delta, base;
    buffer_init(&delta);
    buffer_init(&base);
    set(shard, "a", "1");
    snapshot(shard, &delta);
    ck_assert_uint_eq(shard_dump_begin(shard), 1);
    ck_assert(shard_is_dumping(shard));
    ck_assert(shard_dump_step(shard, 1000, &base));
    ck_assert(!shard_is_dumping(shard));
    buffer_deinit(&base);
    buffer_deinit(&delta);
    shard_destroy(shard);
}
END_TEST

START_TEST(an_abandoned_dump_begins_from_the_start)
{
    struct shard *shard = create(4), *copy = create(4);
    struct buffer base;
    buffer_init(&base);
    for (uint64_t i = 0; i < 1000; i++) {
        const struct state_key key = numbered(&i);
        ck_assert_ptr_nonnull(shard_value(shard, COUNT, &key));
    }
    (void)shard_dump_begin(shard);
    ck_assert(!shard_dump_step(shard, 5000, &base));
    shard_dump_abandon(shard);
    ck_assert(!shard_is_dumping(shard));
    buffer_clear(&base);
    (void)shard_dump_begin(shard);
    while (!shard_dump_step(shard, 5000, &base)) continue;
    apply(copy, &base);
    ck_assert_uint_eq(shard_entry_count(copy), 1000);
    buffer_deinit(&base);
    shard_destroy(copy);
    shard_destroy(shard);
}
END_TEST

START_TEST(slices_keep_to_their_size)
{
    struct shard *shard = create(4);
    struct buffer base;
    buffer_init(&base);
    static char value[1000];
    for (uint64_t i = 0; i < 3000; i++) {
        const struct state_key key = numbered(&i);
        ck_assert(shard_set(shard, TEXT, &key, (struct weir_bytes){ value, sizeof value }));
    }
    (void)shard_dump_begin(shard);
    for (bool done = false; !done;) {
        const size_t before = base.size;
        done = shard_dump_step(shard, 10000, &base);
        ck_assert_uint_le(base.size - before, 10000 + sizeof value + 30);
    }
    ck_assert_uint_ge(base.size, 3000 * sizeof value);
    buffer_deinit(&base);
    shard_destroy(shard);
}
END_TEST

/* Everything that was there before the dump and was left alone must be in it, however the tables change meanwhile. */
START_TEST(dump_misses_nothing_while_tables_grow_and_shrink)
{
    enum { OLD = 20000, NEW = 60000 };
    struct shard *shard = create(3), *copy = create(3);
    struct buffer base, delta;
    buffer_init(&base);
    buffer_init(&delta);
    for (uint64_t i = 0; i < OLD; i++) {
        const struct state_key key = numbered(&i);
        *(int64_t *)shard_value(shard, COUNT, &key) = (int64_t)i;
    }
    snapshot(shard, &delta);
    (void)shard_dump_begin(shard);
    uint64_t next = OLD;
    for (bool done = false; !done;) {
        done = shard_dump_step(shard, 3000, &base);
        for (int i = 0; i < 200 && next < NEW; i++, next++) {
            const struct state_key key = numbered(&next);
            ck_assert_ptr_nonnull(shard_value(shard, COUNT, &key));
            const uint64_t gone = next - 100;
            const struct state_key gone_key = numbered(&gone);
            if (gone >= OLD && gone % 3 == 0) ck_assert(shard_remove(shard, COUNT, &gone_key));
        }
        if (next % 1000 == 0) snapshot(shard, &delta);
    }
    ck_assert_uint_gt(next, OLD + 10000); /* or the tables have not grown in between */
    apply(copy, &base);
    for (uint64_t i = 0; i < OLD; i++) {
        const struct state_key key = numbered(&i);
        const struct weir_bytes value = shard_get(copy, COUNT, &key);
        ck_assert(weir_is_set(value) && memcmp(value.data, &i, 8) == 0);
    }
    buffer_deinit(&delta);
    buffer_deinit(&base);
    shard_destroy(copy);
    shard_destroy(shard);
}
END_TEST

START_TEST(a_dump_steps_through_an_empty_shard)
{
    struct shard *shard = create(128);
    struct buffer base;
    buffer_init(&base);
    (void)shard_dump_begin(shard);
    int steps = 1;
    while (!shard_dump_step(shard, 16, &base)) steps++;
    ck_assert_int_gt(steps, 2); /* empty tables are work too */
    ck_assert_uint_eq(base.size, 0);
    buffer_deinit(&base);
    shard_destroy(shard);
}
END_TEST

/* ---- Applying ---------------------------------------------------------------------------------------------------- */

START_TEST(shards_split_and_merge_by_key_group)
{
    enum { KEYS = 3000 };
    struct shard *whole = create(16), *again = create(16);
    struct shard *parts[3] = { create_range(16, 0, 5), create_range(16, 5, 1), create_range(16, 6, 10) };
    struct buffer units;
    buffer_init(&units);
    for (uint64_t i = 0; i < KEYS; i++) {
        const struct state_key key = numbered(&i);
        *(int64_t *)shard_value(whole, COUNT, &key) = (int64_t)i;
    }
    snapshot(whole, &units);
    uint64_t count = 0;
    for (int i = 0; i < 3; i++) {
        apply(parts[i], &units);
        count += shard_entry_count(parts[i]);
        ck_assert_uint_gt(shard_entry_count(parts[i]), 0);
    }
    ck_assert_uint_eq(count, KEYS);
    for (int i = 0; i < 3; i++) {
        buffer_clear(&units);
        (void)shard_dump_begin(parts[i]);
        ck_assert(shard_dump_step(parts[i], SIZE_MAX, &units));
        apply(again, &units);
        shard_destroy(parts[i]);
    }
    for (uint64_t i = 0; i < KEYS; i++) {
        const struct state_key key = numbered(&i);
        ck_assert_int_eq(*(int64_t *)shard_value(again, COUNT, &key), (int64_t)i);
    }
    ck_assert_uint_eq(shard_entry_count(again), KEYS);
    buffer_deinit(&units);
    shard_destroy(again);
    shard_destroy(whole);
}
END_TEST

START_TEST(states_are_mapped_or_skipped)
{
    struct shard *shard = create(8), *copy = create(8);
    struct buffer delta;
    buffer_init(&delta);
    const struct state_key key = of("a");
    ck_assert_ptr_nonnull(shard_value(shard, COUNT, &key));
    set(shard, "a", "text");
    snapshot(shard, &delta);
    const struct state_mapping map[] = { { .state = UINT32_MAX }, { .state = SORTED } };
    struct weir_error error;
    ck_assert_int_eq(shard_apply(copy, (struct weir_bytes){ delta.data, delta.size }, map, 2, &error), WEIR_OK);
    ck_assert_uint_eq(shard_entry_count(copy), 1);
    const struct weir_bytes moved = shard_get(copy, SORTED, &key);
    ck_assert(weir_is_set(moved) && weir_bytes_equal(moved, weir_text("text")));
    buffer_deinit(&delta);
    shard_destroy(copy);
    shard_destroy(shard);
}
END_TEST

START_TEST(no_units_are_fine)
{
    struct shard *shard = create(8);
    ck_assert_int_eq(shard_apply(shard, (struct weir_bytes){ 0 }, same, STATES, NULL), WEIR_OK);
    ck_assert_int_eq(shard_apply(shard, WEIR_EMPTY, same, 0, NULL), WEIR_OK);
    shard_destroy(shard);
}
END_TEST

START_TEST(damage_is_named)
{
    struct shard *shard = create(1);
    static const struct {
        const char *name;
        const char *units;
        size_t size;
        const char *sentence;
    } cases[] = {
        { "removed with a time", "\201\1\0\1a\0\0\0\0\0\0\0\0", 13, "at byte 0 of 13, the unit is removed and has a time" },
        { "a generation alone", "\40\1\0\1a\1b", 7, "has a generation, but no element" },
        { "a generation of a value", "\60\1\0\1a\1\1b\1c", 10, "has a generation, which its state has not" },
        { "removed and null", "\3\1\0\1a", 5, "is removed and has a null value" },
        { "no state", "\0", 1, "is cut off" },
        { "foreign state", "\0\3\0\1a\1b", 7, "a state that its writer did not have" },
        { "key group", "\0\1\1\1a\1b", 7, "a key group above max_parallelism" },
        { "cut key", "\0\1\0\5abc", 7, "is cut off" },
        { "endless number", "\0\1\0\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\1", 14, "is cut off, or has a size" },
        { "size beyond memory", "\0\1\0\xff\xff\xff\xff\xff\xff\xff\xff\x7f", 12, "is cut off" },
        { "size of a fixed value", "\0\0\0\1a\7abcdefg", 13, "a value of another size than its state" },
        { "null fixed value", "\2\0\0\1a", 5, "a value of another size than its state" },
        { "the second unit", "\0\1\0\1a\1b\0\1", 9, "at byte 7 of 9, the unit is cut off" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *text = refusal(shard, cases[i].units, cases[i].size);
        ck_assert_msg(strstr(text, cases[i].sentence) != NULL, "%s: %s", cases[i].name, text);
    }
    shard_destroy(shard);
}
END_TEST

START_TEST(a_unit_in_the_wrong_key_group_is_damage)
{
    struct shard *shard = create(128), *copy = create(128);
    struct buffer delta;
    buffer_init(&delta);
    set(shard, "a", "1");
    snapshot(shard, &delta);
    delta.data[2] ^= 1;
    ck_assert_ptr_nonnull(strstr(refusal(copy, delta.data, delta.size), "names another key group"));
    buffer_deinit(&delta);
    shard_destroy(copy);
    shard_destroy(shard);
}
END_TEST

/* A shard with a unit of every shape. */
static struct shard *create_with_all_shapes(void)
{
    static char large[3000];
    struct shard *shard = create(4);
    memset(large, 'l', sizeof large);
    struct buffer ignored;
    buffer_init(&ignored);
    set(shard, "gone", "x");
    snapshot(shard, &ignored);
    buffer_deinit(&ignored);
    struct state_key key = of("key");
    *(int64_t *)shard_value(shard, COUNT, &key) = 77;
    set(shard, "key", "value");
    set(shard, "", "");
    key = of("null");
    ck_assert(shard_set(shard, TEXT, &key, WEIR_NULL));
    key = (struct state_key){ .key = WEIR_NULL };
    ck_assert(shard_set(shard, TEXT, &key, (struct weir_bytes){ large, sizeof large }));
    key.key = (struct weir_bytes){ large, 1100 };
    key.hash = hash_key(key.key);
    ck_assert(shard_set(shard, TEXT, &key, weir_text("long key")));
    key = of("sorted");
    key.name_space = weir_text("ns");
    for (int i = 0; i < 3; i++) {
        key.element = (struct weir_bytes){ "123" + i, 1 };
        ck_assert(shard_set(shard, SORTED, &key, weir_text("element")));
    }
    key = of("gone");
    ck_assert(shard_remove(shard, TEXT, &key));
    return shard;
}

/* WEIR_OK or WEIR_DAMAGED; the bytes lie at the end of their allocation, so that a sanitizer sees reads beyond. What
 * comes out is used. */
static enum weir_code try_damaged(const char *units, size_t size)
{
    char *copy = malloc(size + 1);
    ck_assert_ptr_nonnull(copy);
    memcpy(copy, units, size);
    copy = realloc(copy, size > 0 ? size : 1);
    struct shard *shard = create(4);
    struct weir_error error = { 0 };
    const enum weir_code code = shard_apply(shard, (struct weir_bytes){ copy, size }, same, STATES, &error);
    free(copy);
    /* A flipped bit may also make a value that says another version. */
    ck_assert(code == WEIR_OK || ((code == WEIR_DAMAGED || code == WEIR_FOREIGN) && error.text[0] != '\0'));
    struct buffer out;
    buffer_init(&out);
    (void)shard_dump_begin(shard);
    while (!shard_dump_step(shard, 100, &out)) ck_assert(!out.failed);
    buffer_deinit(&out);
    shard_destroy(shard);
    return code;
}

START_TEST(every_truncation_is_found_or_ends_between_units)
{
    struct shard *shard = create_with_all_shapes();
    struct buffer delta;
    buffer_init(&delta);
    snapshot(shard, &delta);
    size_t valid = 0;
    for (size_t size = 0; size <= delta.size; size++) valid += try_damaged(delta.data, size) == WEIR_OK;
    ck_assert_uint_eq(valid, 1 + 10); /* before, between and behind ten units */
    buffer_deinit(&delta);
    shard_destroy(shard);
}
END_TEST

START_TEST(every_flipped_bit_is_found_or_harmless)
{
    struct shard *shard = create_with_all_shapes();
    struct buffer delta;
    buffer_init(&delta);
    snapshot(shard, &delta);
    for (size_t bit = 0; bit < delta.size * 8; bit++) {
        if (bit / 8 > 300 && bit % 37 != 0) continue; /* long runs of the same byte */
        delta.data[bit / 8] = (char)(delta.data[bit / 8] ^ 1 << bit % 8);
        (void)try_damaged(delta.data, delta.size);
        delta.data[bit / 8] = (char)(delta.data[bit / 8] ^ 1 << bit % 8);
    }
    buffer_deinit(&delta);
    shard_destroy(shard);
}
END_TEST

START_TEST(random_bytes_are_found_or_harmless)
{
    uint64_t random = unit_seed();
    struct shard *shard = create_with_all_shapes();
    struct buffer delta;
    buffer_init(&delta);
    snapshot(shard, &delta);
    for (int run = 0; run < 5000; run++) {
        char bytes[200];
        const size_t size = 1 + unit_random_below(&random, sizeof bytes);
        memcpy(bytes, delta.data, size);
        for (uint32_t i = unit_random_below(&random, 6); i > 0; i--) {
            const uint32_t limit = unit_chance(&random, 70) ? 40 : 256;
            bytes[unit_random_below(&random, (uint32_t)size)] = (char)unit_random_below(&random, limit);
        }
        (void)try_damaged(bytes, size);
    }
    buffer_deinit(&delta);
    shard_destroy(shard);
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_test(tests, units_are_written_as_documented);
    tcase_add_test(tests, a_typical_unit_has_29_bytes);
    tcase_add_test(tests, snapshot_has_what_changed_and_opens_the_next_epoch);
    tcase_add_test(tests, a_snapshot_holds_what_was_there_at_its_barrier);
    tcase_add_test(tests, applying_twice_changes_nothing);
    tcase_add_test(tests, nothing_that_is_applied_counts_as_changed);
    tcase_add_test(tests, redo_point_is_the_epoch_before_the_dump_began);
    tcase_add_test(tests, an_abandoned_dump_begins_from_the_start);
    tcase_add_test(tests, slices_keep_to_their_size);
    tcase_add_test(tests, dump_misses_nothing_while_tables_grow_and_shrink);
    tcase_add_test(tests, a_dump_steps_through_an_empty_shard);
    tcase_add_test(tests, shards_split_and_merge_by_key_group);
    tcase_add_test(tests, states_are_mapped_or_skipped);
    tcase_add_test(tests, no_units_are_fine);
    tcase_add_test(tests, damage_is_named);
    tcase_add_test(tests, a_unit_in_the_wrong_key_group_is_damage);
    tcase_add_test(tests, every_truncation_is_found_or_ends_between_units);
    tcase_add_test(tests, every_flipped_bit_is_found_or_harmless);
    tcase_add_test(tests, random_bytes_are_found_or_harmless);
}

int main(void)
{
    map_states();
    return unit_main("state_restore", add);
}
