/* Values, states, name spaces and elements of a shard; what changed; scans. */
#include <stdio.h>

#include "harness/unit.h"
#include "state/state.h"

enum { COUNT, TEXT, SORTED, TRIPLE, STATES };

static const struct state_declaration declarations[STATES] = {
    [COUNT] = { .name = "count", .codec = WEIR_I64, .value_size_bytes = 8 },
    [TEXT] = { .name = "text", .codec = WEIR_BYTES },
    [SORTED] = { .name = "sorted", .codec = WEIR_BYTES, .ordered_in_group = true },
    [TRIPLE] = { .name = "triple", .codec = WEIR_STRUCT, .value_size_bytes = 24 },
};

static struct shard *create(uint32_t max_parallelism)
{
    struct shard *shard = shard_create(&(struct shard_options){ .states = declarations, .state_count = STATES,
                                                                .max_parallelism = max_parallelism,
                                                                .group_count = max_parallelism, .epoch = 1 });
    ck_assert_ptr_nonnull(shard);
    return shard;
}

static struct state_key named(struct weir_bytes key)
{
    return (struct state_key){ .key = key, .hash = hash_key(key) };
}

static struct state_key of(const char *key)
{
    return named(weir_text(key));
}

/* For calls that want an address; good until the next but three. */
static const struct state_key *one(const char *key)
{
    static struct state_key keys[4];
    static size_t next;
    struct state_key *at = &keys[next++ % 4];
    *at = of(key);
    return at;
}

static struct state_key part(const char *key, const char *name_space, const char *element)
{
    struct state_key name = of(key);
    if (name_space != NULL) name.name_space = weir_text(name_space);
    if (element != NULL) name.element = weir_text(element);
    return name;
}

static void set(struct shard *shard, uint32_t state, struct state_key key, const char *value)
{
    ck_assert(shard_set(shard, state, &key, weir_text(value)));
}

static bool has(struct shard *shard, uint32_t state, struct state_key key, const char *value)
{
    const struct weir_bytes found = shard_get(shard, state, &key);
    return weir_is_set(found) && weir_bytes_equal(found, weir_text(value));
}

static bool lacks(struct shard *shard, uint32_t state, struct state_key key)
{
    return !weir_is_set(shard_get(shard, state, &key));
}

static void snapshot(struct shard *shard, struct buffer *delta)
{
    buffer_clear(delta);
    ck_assert(shard_snapshot(shard, shard_epoch(shard), delta));
}

/* ---- Values ------------------------------------------------------------------------------------------------------ */

START_TEST(value_begins_as_zeroes_and_keeps_what_is_written)
{
    struct shard *shard = create(8);
    const struct state_key key = of("a");
    int64_t *value = shard_value(shard, COUNT, &key);
    ck_assert_int_eq(*value, 0);
    *value = 7;
    value = shard_value(shard, COUNT, &key);
    ck_assert_int_eq(*value, 7);
    ck_assert_uint_eq(shard_entry_count(shard), 1);
    shard_destroy(shard);
}
END_TEST

START_TEST(reading_creates_nothing)
{
    struct shard *shard = create(8);
    ck_assert(lacks(shard, COUNT, of("a")));
    ck_assert(lacks(shard, TEXT, of("")));
    ck_assert_uint_eq(shard_entry_count(shard), 0);
    ck_assert_uint_eq(shard_changed_bytes(shard), 0);
    shard_destroy(shard);
}
END_TEST

START_TEST(fixed_values_are_aligned_behind_keys_of_any_size)
{
    struct shard *shard = create(8);
    static char text[5000];
    for (size_t size = 0; size < sizeof text; size += size < 40 ? 1 : 331) {
        memset(text, 'k', sizeof text);
        const struct state_key key = named((struct weir_bytes){ text, size });
        int64_t *value = shard_value(shard, COUNT, &key);
        ck_assert_uint_eq((uintptr_t)value % 8, 0);
        *value = (int64_t)size + 1;
    }
    for (size_t size = 0; size < sizeof text; size += size < 40 ? 1 : 331) {
        const struct state_key key = named((struct weir_bytes){ text, size });
        int64_t *value = shard_value(shard, COUNT, &key);
        ck_assert_int_eq(*value, (int64_t)size + 1);
    }
    shard_destroy(shard);
}
END_TEST

START_TEST(states_of_one_key_are_apart)
{
    struct shard *shard = create(8);
    const struct state_key key = of("a");
    *(int64_t *)shard_value(shard, COUNT, &key) = 1;
    memset(shard_value(shard, TRIPLE, &key), 3, 24);
    set(shard, TEXT, key, "two");
    ck_assert_int_eq(*(int64_t *)shard_value(shard, COUNT, &key), 1);
    ck_assert(has(shard, TEXT, key, "two"));
    ck_assert_uint_eq(shard_get(shard, TRIPLE, &key).size, 24);
    ck_assert_uint_eq(shard_entry_count(shard), 3);
    shard_destroy(shard);
}
END_TEST

START_TEST(parts_of_a_name_are_not_run_together)
{
    struct shard *shard = create(1);
    const struct state_key names[] = {
        part("ab", NULL, NULL), part("a", "b", NULL), part("a", NULL, "b"), part("ab", "", NULL),  part("ab", NULL, ""),
        part("", "ab", NULL),   part("", "a", "b"),   part("", NULL, "ab"), part("ab", "", ""), part("a", "b", ""),
    };
    char value[] = "0";
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        value[0] = (char)('0' + i);
        set(shard, SORTED, names[i], value);
    }
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        value[0] = (char)('0' + i);
        ck_assert(has(shard, SORTED, names[i], value));
    }
    shard_destroy(shard);
}
END_TEST

START_TEST(unset_null_and_empty_are_three_things)
{
    struct shard *shard = create(8);
    const struct state_key key = of("a");
    ck_assert(!weir_is_set(shard_get(shard, TEXT, &key)));
    ck_assert(shard_set(shard, TEXT, &key, WEIR_NULL));
    ck_assert(weir_is_null(shard_get(shard, TEXT, &key)));
    ck_assert_uint_eq(shard_entry_count(shard), 1);
    set(shard, TEXT, key, "");
    ck_assert(weir_is_set(shard_get(shard, TEXT, &key)) && !weir_is_null(shard_get(shard, TEXT, &key)));
    ck_assert_uint_eq(shard_get(shard, TEXT, &key).size, 0);
    set(shard, TEXT, key, "x");
    ck_assert(has(shard, TEXT, key, "x"));
    shard_destroy(shard);
}
END_TEST

START_TEST(null_key_is_not_the_empty_key)
{
    struct shard *shard = create(1);
    set(shard, TEXT, named(WEIR_NULL), "null");
    set(shard, TEXT, of(""), "empty");
    ck_assert(has(shard, TEXT, named(WEIR_NULL), "null"));
    ck_assert(has(shard, TEXT, of(""), "empty"));
    shard_destroy(shard);
}
END_TEST

START_TEST(values_and_keys_of_any_length_are_kept)
{
    struct shard *shard = create(4);
    static char bytes[300100];
    for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = (char)(i * 31 + i / 256);
    /* Up and down again, through the cell, blocks of several sizes, and back. */
    const size_t sizes[] = { 0, 1, 8, 9, 100, 1016, 2000, 2100, 2048, 100000, 300000, 50000, 1500, 30, 5, 0, 70000, 3 };
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
            const struct state_key key = named((struct weir_bytes){ bytes, sizes[k] });
            ck_assert(shard_set(shard, TEXT, &key, (struct weir_bytes){ bytes + i, sizes[i] }));
            const struct weir_bytes value = shard_get(shard, TEXT, &key);
            ck_assert_uint_eq(value.size, sizes[i]);
            ck_assert(memcmp(value.data, bytes + i, value.size) == 0);
        }
    }
    shard_destroy(shard);
}
END_TEST

START_TEST(a_value_may_be_set_to_a_part_of_itself)
{
    struct shard *shard = create(4);
    const struct state_key key = of("a");
    static char bytes[9000];
    for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = (char)(i * 7 + i / 256);
    for (size_t size = sizeof bytes; size > 0; size = size * 2 / 3) {
        ck_assert(shard_set(shard, TEXT, &key, (struct weir_bytes){ bytes, size }));
        struct weir_bytes value = shard_get(shard, TEXT, &key);
        const size_t cut = size / 3;
        ck_assert(shard_set(shard, TEXT, &key, (struct weir_bytes){ value.data + cut, size - cut }));
        value = shard_get(shard, TEXT, &key);
        ck_assert_uint_eq(value.size, size - cut);
        ck_assert(memcmp(value.data, bytes + cut, size - cut) == 0);
        value = shard_get(shard, TEXT, &key);
        ck_assert(shard_set(shard, TEXT, &key, (struct weir_bytes){ value.data + value.size / 2, value.size / 20 }));
        ck_assert(memcmp(shard_get(shard, TEXT, &key).data, bytes + cut + (size - cut) / 2, (size - cut) / 20) == 0);
    }
    shard_destroy(shard);
}
END_TEST

/* ---- Removal ----------------------------------------------------------------------------------------------------- */

START_TEST(what_was_removed_is_unset_and_begins_anew)
{
    struct shard *shard = create(8);
    struct buffer delta;
    buffer_init(&delta);
    const struct state_key key = of("a");
    for (int snapshots = 0; snapshots < 2; snapshots++) {
        *(int64_t *)shard_value(shard, COUNT, &key) = 5;
        set(shard, TEXT, key, "text");
        if (snapshots > 0) snapshot(shard, &delta);
        ck_assert(shard_remove(shard, COUNT, &key) && shard_remove(shard, TEXT, &key));
        ck_assert(shard_remove(shard, COUNT, &key)); /* again: nothing happens */
        ck_assert(lacks(shard, COUNT, key) && lacks(shard, TEXT, key));
        ck_assert_uint_eq(shard_entry_count(shard), 0);
        if (snapshots > 0) snapshot(shard, &delta);
        ck_assert_int_eq(*(int64_t *)shard_value(shard, COUNT, &key), 0);
        ck_assert_uint_eq(shard_entry_count(shard), 1);
        ck_assert(lacks(shard, TEXT, key));
        ck_assert(shard_remove(shard, COUNT, &key));
    }
    buffer_deinit(&delta);
    shard_destroy(shard);
}
END_TEST

START_TEST(removing_what_is_not_there_changes_nothing)
{
    struct shard *shard = create(8);
    const struct state_key key = of("a");
    ck_assert(shard_remove(shard, TEXT, &key));
    ck_assert_uint_eq(shard_changed_bytes(shard), 0);
    shard_destroy(shard);
}
END_TEST

/* With early parts, too: their tombstones stay until the barrier, and no longer. */
START_TEST(memory_stays_bounded_while_keys_come_and_go)
{
    struct shard *shard = create(16);
    struct buffer delta;
    buffer_init(&delta);
    uint64_t bytes_early = 0;
    for (uint64_t epoch = 0; epoch < 300; epoch++) {
        for (uint64_t i = 0; i < 1000; i++) {
            const uint64_t number = epoch * 1000 + i;
            const struct state_key key = named((struct weir_bytes){ (const char *)&number, sizeof number });
            static char large[4000];
            ck_assert(shard_set(shard, TEXT, &key, (struct weir_bytes){ large, i % 100 == 0 ? sizeof large : i % 50 }));
            const uint64_t old = number - 500;
            const struct state_key old_key = named((struct weir_bytes){ (const char *)&old, sizeof old });
            if (number >= 500) ck_assert(shard_remove(shard, TEXT, &old_key));
        }
        buffer_clear(&delta);
        if (_i == 1) ck_assert(shard_part_begin(shard, &delta) && shard_snapshot_step(shard, SIZE_MAX));
        snapshot(shard, &delta);
        ck_assert_uint_eq(shard_entry_count(shard), 500);
        if (epoch == 20) bytes_early = shard_bytes(shard);
    }
    ck_assert_uint_le(shard_bytes(shard), bytes_early + bytes_early / 4);
    buffer_deinit(&delta);
    shard_destroy(shard);
}
END_TEST

/* ---- What changed ------------------------------------------------------------------------------------------------ */

struct visits {
    char keys[400];
    size_t stop_after; /* 0 = never */
    size_t count;
};

static bool note(void *user, const struct state_key *key, struct weir_bytes value)
{
    struct visits *visits = user;
    ck_assert(weir_is_set(value));
    ck_assert_uint_eq(key->hash, hash_key(key->key));
    const size_t used = strlen(visits->keys);
    (void)snprintf(visits->keys + used, sizeof visits->keys - used, "%.*s%s%.*s ", (int)key->key.size, key->key.data,
                   weir_is_set(key->element) ? ":" : "", (int)key->element.size,
                   weir_is_set(key->element) ? key->element.data : "");
    return ++visits->count != visits->stop_after;
}

static void ck_changed(struct shard *shard, uint32_t state, const char *expected)
{
    struct visits visits = { 0 };
    ck_assert(shard_each_changed(shard, state, note, &visits));
    ck_assert_str_eq(visits.keys, expected);
}

START_TEST(visits_what_changed_once_in_order_of_first_change)
{
    struct shard *shard = create(8);
    struct buffer delta;
    buffer_init(&delta);
    const char *keys[] = { "c", "a", "b", "a", "c", "d" };
    for (size_t i = 0; i < 6; i++) {
        const struct state_key key = of(keys[i]);
        ++*(int64_t *)shard_value(shard, COUNT, &key);
        if (i == 1) set(shard, TEXT, of("other"), "state");
    }
    const struct state_key gone = of("b");
    ck_assert(shard_remove(shard, COUNT, &gone));
    ck_changed(shard, COUNT, "c a d ");
    ck_changed(shard, TEXT, "other ");
    snapshot(shard, &delta);
    ck_changed(shard, COUNT, "");
    const struct state_key again = of("a");
    (void)shard_get(shard, COUNT, one("c"));
    (void)shard_value(shard, COUNT, &again);
    ck_changed(shard, COUNT, "a ");
    buffer_deinit(&delta);
    shard_destroy(shard);
}
END_TEST

START_TEST(a_unit_that_came_back_keeps_its_place)
{
    struct shard *shard = create(8);
    set(shard, TEXT, of("a"), "1");
    set(shard, TEXT, of("b"), "1");
    ck_assert(shard_remove(shard, TEXT, one("a")));
    set(shard, TEXT, of("a"), "2");
    ck_changed(shard, TEXT, "a b ");
    shard_destroy(shard);
}
END_TEST

START_TEST(visiting_goes_on_where_it_was_stopped)
{
    struct shard *shard = create(8);
    for (int i = 0; i < 5; i++) set(shard, TEXT, of((const char[]){ (char)('a' + i), 0 }), "");
    struct visits visits = { .stop_after = 2 };
    size_t position = 0;
    ck_assert(!shard_each_changed_from(shard, TEXT, &position, note, &visits));
    ck_assert_str_eq(visits.keys, "a b ");
    ck_assert(shard_each_changed_from(shard, TEXT, &position, note, &visits));
    ck_assert_str_eq(visits.keys, "a b c d e ");
    shard_destroy(shard);
}
END_TEST

/* ---- Early parts ------------------------------------------------------------------------------------------------- */

static void apply(struct shard *shard, const struct buffer *units)
{
    struct state_mapping same[STATES];
    for (uint32_t i = 0; i < STATES; i++)
        same[i] = (struct state_mapping){ .state = i, .value_size_bytes = declarations[i].value_size_bytes };
    struct weir_error error = { 0 };
    const enum weir_code code = shard_apply(shard, (struct weir_bytes){ units->data, units->size }, same, STATES, &error);
    ck_assert_msg(code == WEIR_OK, "%s", error.text);
}

static void begin_part(struct shard *shard, struct buffer *part_units)
{
    buffer_init(part_units);
    ck_assert(shard_part_begin(shard, part_units));
    ck_assert_uint_eq(shard_changed_bytes(shard), 0);
}

START_TEST(parts_and_snapshot_replay_in_order_to_what_the_shard_held)
{
    struct shard *shard = create(8), *copy = create(8);
    struct buffer units[3];
    set(shard, TEXT, of("a"), "1");
    set(shard, TEXT, of("b"), "1");
    set(shard, TEXT, of("c"), "1");
    begin_part(shard, &units[0]);
    set(shard, TEXT, of("b"), "2"); /* before its turn: the part holds it as it was */
    ck_assert(shard_remove(shard, TEXT, one("c")));
    ck_assert(shard_snapshot_step(shard, SIZE_MAX));
    ck_assert_uint_eq(shard_epoch(shard), 1);
    begin_part(shard, &units[1]);
    ck_assert(shard_snapshot_step(shard, SIZE_MAX));
    set(shard, TEXT, of("c"), "3");
    set(shard, TEXT, of("a"), "3");
    buffer_init(&units[2]);
    snapshot(shard, &units[2]);
    ck_assert_uint_eq(shard_epoch(shard), 2);

    apply(copy, &units[0]);
    ck_assert(has(copy, TEXT, of("a"), "1") && has(copy, TEXT, of("b"), "1") && has(copy, TEXT, of("c"), "1"));
    apply(copy, &units[1]);
    ck_assert(has(copy, TEXT, of("a"), "1") && has(copy, TEXT, of("b"), "2") && lacks(copy, TEXT, of("c")));
    apply(copy, &units[2]);
    ck_assert(has(copy, TEXT, of("a"), "3") && has(copy, TEXT, of("b"), "2") && has(copy, TEXT, of("c"), "3"));
    for (size_t i = 0; i < 3; i++) buffer_deinit(&units[i]);
    shard_destroy(copy);
    shard_destroy(shard);
}
END_TEST

START_TEST(what_parts_have_written_is_visited_once_and_first)
{
    struct shard *shard = create(8);
    struct buffer units[2], delta;
    buffer_init(&delta);
    set(shard, TEXT, of("a"), "1");
    set(shard, TEXT, of("b"), "1");
    set(shard, TEXT, of("gone"), "1");
    begin_part(shard, &units[0]);
    set(shard, TEXT, of("b"), "2");
    ck_assert(shard_snapshot_step(shard, SIZE_MAX));
    ck_assert(shard_remove(shard, TEXT, one("gone")));
    set(shard, TEXT, of("c"), "1");
    ck_changed(shard, TEXT, "a b c ");
    begin_part(shard, &units[1]);
    ck_assert(shard_snapshot_step(shard, SIZE_MAX));
    set(shard, TEXT, of("a"), "2");
    set(shard, TEXT, of("gone"), "again");
    set(shard, TEXT, of("d"), "1");
    ck_changed(shard, TEXT, "a b gone c d ");

    struct visits visits = { .stop_after = 4 };
    size_t position = 0;
    ck_assert(!shard_each_changed_from(shard, TEXT, &position, note, &visits));
    ck_assert(shard_each_changed_from(shard, TEXT, &position, note, &visits));
    ck_assert_str_eq(visits.keys, "a b gone c d ");

    snapshot(shard, &delta);
    ck_changed(shard, TEXT, "");
    set(shard, TEXT, of("b"), "3");
    ck_changed(shard, TEXT, "b ");
    buffer_deinit(&units[0]);
    buffer_deinit(&units[1]);
    buffer_deinit(&delta);
    shard_destroy(shard);
}
END_TEST

START_TEST(the_next_epoch_is_visited_while_the_snapshot_behind_parts_is_under_way)
{
    struct shard *shard = create(8);
    struct buffer units, delta;
    buffer_init(&delta);
    set(shard, TEXT, of("a"), "1");
    set(shard, TEXT, of("b"), "1");
    begin_part(shard, &units);
    ck_assert(shard_snapshot_step(shard, SIZE_MAX));
    set(shard, TEXT, of("c"), "1");
    ck_assert(shard_snapshot_begin(shard, 1, &delta));
    ck_assert(!shard_snapshot_step(shard, 2)); /* c is written, a is out of the list, b is not */
    set(shard, TEXT, of("b"), "2");
    set(shard, TEXT, of("a"), "2");
    ck_changed(shard, TEXT, "b a ");
    ck_assert(shard_snapshot_step(shard, 1));
    ck_changed(shard, TEXT, "b a ");
    buffer_deinit(&units);
    buffer_deinit(&delta);
    shard_destroy(shard);
}
END_TEST

/* ---- Scans ------------------------------------------------------------------------------------------------------- */

START_TEST(scans_a_key_group_by_element_and_stops_when_told)
{
    struct shard *shard = create(1);
    set(shard, SORTED, part("b", "t", "2"), "v");
    set(shard, SORTED, part("a", "t", "3"), "v");
    set(shard, SORTED, part("c", "t", "1"), "v");
    set(shard, SORTED, part("a", "t", "2"), "v");
    set(shard, SORTED, part("a", "u", "0"), "v");
    struct visits visits = { 0 };
    shard_scan_group(shard, SORTED, 0, weir_text("t"), (struct weir_bytes){ 0 }, note, &visits);
    ck_assert_str_eq(visits.keys, "c:1 a:2 b:2 a:3 ");
    visits = (struct visits){ .stop_after = 2 };
    shard_scan_group(shard, SORTED, 0, weir_text("t"), weir_text("2"), note, &visits);
    ck_assert_str_eq(visits.keys, "a:2 b:2 ");
    shard_destroy(shard);
}
END_TEST

/* ---- Fetching ahead ---------------------------------------------------------------------------------------------- */

START_TEST(fetching_changes_nothing)
{
    struct shard *shard = create(8);
    enum { KEYS = 90000 };
    static uint32_t hashes[KEYS];
    for (uint32_t i = 0; i < KEYS; i++) {
        const struct state_key key = named((struct weir_bytes){ (const char *)&i, sizeof i });
        hashes[i] = key.hash;
        if (i % 3 == 0) *(int64_t *)shard_value(shard, COUNT, &key) = i;
    }
    const uint64_t bytes = shard_bytes(shard), changed = shard_changed_bytes(shard);
    shard_fetch(shard, COUNT, hashes, KEYS);
    shard_fetch(shard, TRIPLE, hashes, 0);
    ck_assert_uint_eq(shard_bytes(shard), bytes);
    ck_assert_uint_eq(shard_changed_bytes(shard), changed);
    ck_assert_uint_eq(shard_entry_count(shard), KEYS / 3);
    shard_destroy(shard);
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_test(tests, value_begins_as_zeroes_and_keeps_what_is_written);
    tcase_add_test(tests, reading_creates_nothing);
    tcase_add_test(tests, fixed_values_are_aligned_behind_keys_of_any_size);
    tcase_add_test(tests, states_of_one_key_are_apart);
    tcase_add_test(tests, parts_of_a_name_are_not_run_together);
    tcase_add_test(tests, unset_null_and_empty_are_three_things);
    tcase_add_test(tests, null_key_is_not_the_empty_key);
    tcase_add_test(tests, values_and_keys_of_any_length_are_kept);
    tcase_add_test(tests, a_value_may_be_set_to_a_part_of_itself);
    tcase_add_test(tests, what_was_removed_is_unset_and_begins_anew);
    tcase_add_test(tests, removing_what_is_not_there_changes_nothing);
    tcase_add_loop_test(tests, memory_stays_bounded_while_keys_come_and_go, 0, 2);
    tcase_add_test(tests, visits_what_changed_once_in_order_of_first_change);
    tcase_add_test(tests, a_unit_that_came_back_keeps_its_place);
    tcase_add_test(tests, visiting_goes_on_where_it_was_stopped);
    tcase_add_test(tests, parts_and_snapshot_replay_in_order_to_what_the_shard_held);
    tcase_add_test(tests, what_parts_have_written_is_visited_once_and_first);
    tcase_add_test(tests, the_next_epoch_is_visited_while_the_snapshot_behind_parts_is_under_way);
    tcase_add_test(tests, scans_a_key_group_by_element_and_stops_when_told);
    tcase_add_test(tests, fetching_changes_nothing);
}

int main(void)
{
    return unit_main("state_shard", add);
}
