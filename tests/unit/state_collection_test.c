/* Lists and maps of a shard: what is in them, walks, clears, and what is written of them. */
#include <stdio.h>

#include "harness/unit.h"
#include "state/state.h"

enum { LIST, MAP, TALLY, VALUE, STATES };

static const struct state_declaration declarations[STATES] = {
    [LIST] = { .name = "list", .kind = WEIR_STATE_LIST, .codec = WEIR_BYTES },
    [MAP] = { .name = "map", .kind = WEIR_STATE_MAP, .codec = WEIR_BYTES },
    [TALLY] = { .name = "tally", .kind = WEIR_STATE_MAP, .codec = WEIR_I64, .value_size_bytes = 8 },
    [VALUE] = { .name = "value", .codec = WEIR_I64, .value_size_bytes = 8 },
};
static struct state_mapping same[STATES];

static struct shard *shard, *copy;
static struct buffer delta, base;

static struct shard *create(void)
{
    struct shard *created = shard_create(&(struct shard_options){
        .states = declarations, .state_count = STATES, .max_parallelism = 4, .group_count = 4, .epoch = 1 });
    ck_assert_ptr_nonnull(created);
    return created;
}

static void begin(void)
{
    for (uint32_t i = 0; i < STATES; i++)
        same[i] = (struct state_mapping){ .state = i, .value_size_bytes = declarations[i].value_size_bytes };
    shard = create();
    copy = create();
    buffer_init(&delta);
    buffer_init(&base);
}

static void end(void)
{
    buffer_deinit(&base);
    buffer_deinit(&delta);
    shard_destroy(copy);
    shard_destroy(shard);
}

static struct state_key of(const char *key)
{
    return (struct state_key){ .key = weir_text(key), .hash = hash_key(weir_text(key)) };
}

static struct state_key part(const char *key, const char *element)
{
    struct state_key name = of(key);
    name.element = weir_text(element);
    return name;
}

static void add_to(struct shard *to, struct state_key key, const char *value)
{
    ck_assert(shard_list_add(to, LIST, &key, weir_text(value)));
}

static void put(const char *key, const char *element, const char *value)
{
    const struct state_key name = part(key, element);
    ck_assert(shard_map_put(shard, MAP, &name, weir_text(value)));
}

static void take(const char *key, const char *element)
{
    const struct state_key name = part(key, element);
    ck_assert(shard_map_remove(shard, MAP, &name));
}

static void clear(uint32_t state, const char *key)
{
    const struct state_key name = of(key);
    ck_assert(shard_clear(shard, state, &name));
}

static void append(char *text, struct weir_bytes bytes, const char *behind)
{
    (void)snprintf(text + strlen(text), 2000 - strlen(text), "%.*s%s", (int)bytes.size, bytes.data, behind);
}

/* "a b c " */
static const char *list_of(struct shard *from, struct state_key key)
{
    static char text[2000];
    struct shard_cursor cursor = { 0 };
    struct weir_bytes value;
    text[0] = '\0';
    while (shard_list_next(from, LIST, &key, &cursor, &value)) append(text, value, " ");
    ck_assert(shard_is_empty(from, LIST, &key) == (text[0] == '\0'));
    return text;
}

/* "a=1 b=2 " */
static const char *map_of(struct shard *from, struct state_key key)
{
    static char text[2000];
    struct shard_cursor cursor = { 0 };
    struct weir_bytes element, value;
    text[0] = '\0';
    while (shard_map_next(from, MAP, &key, &cursor, &element, &value)) {
        append(text, element, "=");
        append(text, value, " ");
    }
    return text;
}

static void snapshot(void)
{
    buffer_clear(&delta);
    ck_assert(shard_snapshot(shard, shard_epoch(shard), &delta));
}

static void apply(const struct buffer *units)
{
    struct weir_error error = { 0 };
    ck_assert_msg(shard_apply(copy, (struct weir_bytes){ units->data, units->size }, same, STATES, &error) == WEIR_OK,
                  "%s", error.text);
}

static void snapshot_to_copy(void)
{
    snapshot();
    apply(&delta);
}

static void restored(void)
{
    ck_assert_int_eq(shard_restored(copy, shard_epoch(shard), shard_generation(shard), NULL), WEIR_OK);
}

/* ---- What is in them --------------------------------------------------------------------------------------------- */

START_TEST(a_list_keeps_the_order_of_addition)
{
    add_to(shard, of("k"), "c");
    add_to(shard, of("k"), "a");
    add_to(shard, of("other"), "x");
    add_to(shard, of("k"), "b");
    struct state_key name_space = of("k");
    name_space.name_space = weir_text("n");
    add_to(shard, name_space, "of n");
    ck_assert_str_eq(list_of(shard, of("k")), "c a b ");
    ck_assert_str_eq(list_of(shard, of("other")), "x ");
    ck_assert_str_eq(list_of(shard, name_space), "of n ");
    ck_assert_str_eq(list_of(shard, of("none")), "");
}
END_TEST

START_TEST(a_map_is_walked_in_byte_order)
{
    const char *elements[] = { "m", "b", "z", "ba", "", "\xff", "c" };
    for (size_t i = 0; i < 7; i++) {
        put("k", elements[i], "1");
        put("kk", elements[i], "2");
    }
    ck_assert_str_eq(map_of(shard, of("k")), "=1 b=1 ba=1 c=1 m=1 z=1 \xff=1 ");
    take("k", "ba");
    put("k", "b", "3");
    ck_assert_str_eq(map_of(shard, of("k")), "=1 b=3 c=1 m=1 z=1 \xff=1 ");
    ck_assert_str_eq(map_of(shard, of("kk")), "=2 b=2 ba=2 c=2 m=2 z=2 \xff=2 ");
    ck_assert_str_eq(map_of(shard, part("k", "bb")), "c=1 m=1 z=1 \xff=1 ");
    ck_assert_str_eq(map_of(shard, part("k", "c")), "c=1 m=1 z=1 \xff=1 ");
}
END_TEST

START_TEST(a_large_map_stays_in_order)
{
    enum { ELEMENTS = 20000 };
    const struct state_key key = of("k");
    for (uint32_t i = 0; i < ELEMENTS; i++) {
        const uint32_t number = htobe32(i * 2654435761u);
        struct state_key name = key;
        name.element = (struct weir_bytes){ (const char *)&number, sizeof number };
        *(int64_t *)shard_map_value(shard, TALLY, &name) = i;
    }
    struct shard_cursor cursor = { 0 };
    struct weir_bytes element, value;
    char last[4] = { 0 };
    uint32_t count = 0;
    while (shard_map_next(shard, TALLY, &key, &cursor, &element, &value)) {
        unit_expect(count++ == 0 || memcmp(last, element.data, 4) < 0);
        memcpy(last, element.data, 4);
    }
    ck_assert_uint_eq(count, ELEMENTS);
}
END_TEST

START_TEST(a_value_of_a_map_is_changed_in_place)
{
    const struct state_key name = part("k", "e");
    ck_assert_int_eq(*(int64_t *)shard_map_value(shard, TALLY, &name), 0);
    *(int64_t *)shard_map_value(shard, TALLY, &name) = 7;
    snapshot();
    ++*(int64_t *)shard_map_value(shard, TALLY, &name);
    ck_assert_int_eq(*(const int64_t *)(const void *)shard_map_get(shard, TALLY, &name).data, 8);
    ck_assert_uint_gt(shard_changed_bytes(shard), 0);
    const struct state_key other = part("k", "f");
    ck_assert(!weir_is_set(shard_map_get(shard, TALLY, &other)));
}
END_TEST

START_TEST(an_empty_map_holds_no_memory)
{
    put("k", "a", "1");
    put("k", "b", "2");
    ck_assert_uint_eq(shard_entry_count(shard), 3); /* the head, too */
    take("k", "a");
    take("k", "b");
    take("k", "b");
    const struct state_key key = of("k");
    ck_assert(shard_is_empty(shard, MAP, &key));
    ck_assert_uint_eq(shard_entry_count(shard), 0);
    put("k", "b", "3");
    ck_assert_str_eq(map_of(shard, of("k")), "b=3 ");
}
END_TEST

START_TEST(a_value_is_cleared_too)
{
    const struct state_key key = of("k");
    ck_assert(shard_is_empty(shard, VALUE, &key));
    *(int64_t *)shard_value(shard, VALUE, &key) = 3;
    ck_assert(!shard_is_empty(shard, VALUE, &key));
    clear(VALUE, "k");
    ck_assert(shard_is_empty(shard, VALUE, &key));
    ck_assert_uint_eq(shard_entry_count(shard), 0);
}
END_TEST

/* ---- Walks ------------------------------------------------------------------------------------------------------- */

START_TEST(a_walk_sees_what_happens_ahead_of_it)
{
    const struct state_key key = of("k");
    for (char name[] = "a"; name[0] <= 'h'; name[0]++) put("k", name, "1");
    struct shard_cursor cursor = { 0 };
    struct weir_bytes element, value;
    char seen[100] = "";
    while (shard_map_next(shard, MAP, &key, &cursor, &element, &value)) {
        append(seen, element, "");
        append(seen, value, " ");
        switch (element.data[0]) {
        case 'b': take("k", "b"); put("k", "x", "1"); break; /* what was seen last; one far ahead in its memory */
        case 'c': take("k", "d"); take("k", "c"); put("k", "bb", "1"); break; /* the next, itself; one behind */
        case 'e': put("k", "ee", "2"); put("k", "f", "2"); take("other", "x"); break;
        case 'g': take("k", "g"); put("k", "g", "3"); break; /* removed and put again: not seen twice */
        default: break;
        }
    }
    ck_assert_str_eq(seen, "a1 b1 c1 e1 ee2 f2 g1 h1 x1 ");
    ck_assert(!shard_map_next(shard, MAP, &key, &cursor, &element, &value)); /* over is over */
    ck_assert_str_eq(map_of(shard, key), "a=1 bb=1 e=1 ee=2 f=2 g=3 h=1 x=1 ");
}
END_TEST

START_TEST(a_walk_over_a_list_ends_where_the_list_ended)
{
    const struct state_key key = of("k");
    add_to(shard, key, "a");
    add_to(shard, key, "b");
    struct shard_cursor cursor = { 0 };
    struct weir_bytes value;
    int count = 0;
    while (shard_list_next(shard, LIST, &key, &cursor, &value)) {
        add_to(shard, key, "more");
        count++;
    }
    ck_assert_int_eq(count, 2);
    ck_assert_str_eq(list_of(shard, key), "a b more more ");
}
END_TEST

START_TEST(a_clear_ends_a_walk)
{
    const struct state_key key = of("k");
    put("k", "a", "1");
    put("k", "b", "1");
    add_to(shard, key, "1");
    add_to(shard, key, "2");
    struct shard_cursor of_map = { 0 }, of_list = { 0 };
    struct weir_bytes element, value;
    ck_assert(shard_map_next(shard, MAP, &key, &of_map, &element, &value));
    ck_assert(shard_list_next(shard, LIST, &key, &of_list, &value));
    clear(MAP, "k");
    clear(LIST, "k");
    ck_assert(!shard_map_next(shard, MAP, &key, &of_map, &element, &value));
    put("k", "c", "1");
    add_to(shard, key, "3");
    ck_assert(!shard_map_next(shard, MAP, &key, &of_map, &element, &value));
    ck_assert(!shard_list_next(shard, LIST, &key, &of_list, &value));
}
END_TEST

/* ---- Clears ------------------------------------------------------------------------------------------------------ */

static void fill(uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        char element[20];
        (void)snprintf(element, sizeof element, "%u", i);
        put("k", element, "old");
        add_to(shard, of("k"), "old");
    }
}

START_TEST(nothing_of_before_is_seen_behind_a_clear)
{
    for (uint32_t count = 1; count <= 100; count += 33) {
        fill(count);
        clear(MAP, "k");
        clear(LIST, "k");
        ck_assert_str_eq(map_of(shard, of("k")), "");
        ck_assert_str_eq(list_of(shard, of("k")), "");
        put("k", "0", "new");
        add_to(shard, of("k"), "new");
        ck_assert_str_eq(map_of(shard, of("k")), "0=new ");
        ck_assert_str_eq(list_of(shard, of("k")), "new ");
        const struct state_key gone = part("k", "1");
        ck_assert(!weir_is_set(shard_map_get(shard, MAP, &gone)));
        clear(MAP, "k");
        clear(LIST, "k");
    }
}
END_TEST

START_TEST(what_is_dead_is_dropped_by_and_by)
{
    fill(1000);
    snapshot();
    clear(MAP, "k");
    clear(LIST, "k");
    ck_assert_uint_gt(shard_entry_count(shard), 1900); /* the clear itself did little */
    for (int i = 0; i < 1100; i++) put("other", "x", "1");
    ck_assert_uint_eq(shard_entry_count(shard), 2);
    ck_assert(shard_collect(shard, 1));
}
END_TEST

START_TEST(snapshots_and_dumps_drop_what_is_dead_too)
{
    fill(900);
    clear(MAP, "k");
    ck_assert(!shard_collect(shard, 10));
    snapshot();
    snapshot();
    ck_assert_uint_eq(shard_entry_count(shard), 901);
    clear(LIST, "k");
    (void)shard_dump_begin(shard);
    while (!shard_dump_step(shard, 10000, &base)) continue;
    ck_assert_uint_eq(base.size, 0);
    ck_assert_uint_eq(shard_entry_count(shard), 0);
}
END_TEST

START_TEST(elements_that_died_in_their_epoch_are_not_written)
{
    fill(300);
    clear(MAP, "k");
    clear(LIST, "k");
    ck_assert(shard_collect(shard, SIZE_MAX));
    const uint64_t announced = shard_changed_bytes(shard);
    ck_assert_uint_lt(announced, 20); /* tombstones of two heads */
    snapshot();
    ck_assert_uint_eq(delta.size, announced);
    ck_assert_uint_eq(shard_entry_count(shard), 0);
}
END_TEST

START_TEST(a_clear_writes_one_tombstone)
{
    fill(300);
    snapshot_to_copy();
    clear(MAP, "k");
    snapshot_to_copy();
    ck_assert_uint_lt(delta.size, 10);
    restored();
    ck_assert_str_eq(map_of(copy, of("k")), "");
    ck_assert_uint_eq(shard_entry_count(copy), 301);
}
END_TEST

START_TEST(a_snapshot_holds_what_was_cleared_behind_its_barrier)
{
    fill(40);
    char before[2000];
    (void)snprintf(before, sizeof before, "%s", map_of(shard, of("k")));
    buffer_clear(&delta);
    ck_assert(shard_snapshot_begin(shard, 1, &delta));
    clear(MAP, "k");
    ck_assert(shard_collect(shard, 20) == false);
    ck_assert(!shard_snapshot_step(shard, 10));
    ck_assert(shard_collect(shard, SIZE_MAX));
    put("k", "0", "new");
    while (!shard_snapshot_step(shard, 1)) continue;
    apply(&delta);
    snapshot();
    restored();
    ck_assert_str_eq(map_of(copy, of("k")), before);
    shard_destroy(copy);
    copy = create();
    apply(&delta);
    restored();
    ck_assert_str_eq(map_of(copy, of("k")), "0=new ");
}
END_TEST

START_TEST(memory_stays_bounded_while_collections_come_and_go)
{
    uint64_t bytes_early = 0;
    for (int epoch = 0; epoch < 200; epoch++) {
        fill(100);
        clear(MAP, "k");
        clear(LIST, "k");
        if (epoch % 3 == 0) snapshot();
        if (epoch == 20) bytes_early = shard_bytes(shard);
    }
    ck_assert_uint_le(shard_bytes(shard), bytes_early * 2);
}
END_TEST

/* ---- Restoring --------------------------------------------------------------------------------------------------- */

START_TEST(the_dead_do_not_come_back)
{
    struct buffer first;
    buffer_init(&first);
    fill(50);
    (void)shard_dump_begin(shard); /* a base that has the elements, or some of them */
    while (!shard_dump_step(shard, 700, &base)) continue;
    ck_assert(shard_snapshot(shard, 1, &first));
    clear(MAP, "k");
    clear(LIST, "k");
    put("k", "0", "new");
    add_to(shard, of("k"), "new");
    snapshot();
    apply(&delta); /* in any order */
    apply(&base);
    apply(&first);
    apply(&delta);
    restored();
    ck_assert_str_eq(map_of(copy, of("k")), "0=new ");
    ck_assert_str_eq(list_of(copy, of("k")), "new ");
    ck_assert_uint_eq(shard_entry_count(copy), 4);
    buffer_deinit(&first);
}
END_TEST

START_TEST(a_generation_is_never_given_twice)
{
    put("k", "a", "1");
    clear(MAP, "k");
    const uint64_t given = shard_generation(shard);
    ck_assert_uint_eq(given, 1);
    snapshot_to_copy();
    ck_assert_int_eq(shard_restored(copy, 2, given, NULL), WEIR_OK);
    const struct state_key name = part("k", "a");
    ck_assert(shard_map_put(copy, MAP, &name, weir_text("2")));
    ck_assert_uint_eq(shard_generation(copy), 2);
}
END_TEST

START_TEST(a_restored_collection_goes_on)
{
    fill(3);
    snapshot_to_copy();
    restored();
    add_to(copy, of("k"), "new");
    ck_assert_str_eq(list_of(copy, of("k")), "old old old new ");
    const struct state_key name = part("k", "1");
    ck_assert(shard_map_remove(copy, MAP, &name));
    ck_assert_str_eq(map_of(copy, of("k")), "0=old 2=old ");
}
END_TEST

START_TEST(collections_are_written_as_documented)
{
    add_to(shard, of("l"), "v");
    put("m", "e", "wx");
    snapshot();
    const uint32_t list_group = key_group_of(of("l").hash, 4), map_group = key_group_of(of("m").hash, 4);
    char expected[] = "\0\0L\1l\3\1\1\1"
                      "\60\0L\1l\1\10\0\0\0\0\0\0\0\1\1v"
                      "\0\1M\1m\1\2"
                      "\60\1M\1m\2\1e\2wx";
    for (size_t i = 0; i < sizeof expected; i++) {
        if (expected[i] == 'L') expected[i] = (char)list_group;
        if (expected[i] == 'M') expected[i] = (char)map_group;
    }
    ck_assert_uint_eq(delta.size, sizeof expected - 1);
    ck_assert_mem_eq(delta.data, expected, delta.size);
}
END_TEST

START_TEST(one_more_entry_of_a_map_is_one_unit)
{
    put("k", "a", "1");
    snapshot();
    put("k", "b", "1");
    snapshot();
    ck_assert_uint_eq(delta.size, 10);
    put("k", "b", "1");
    snapshot();
    ck_assert_uint_eq(delta.size, 10);
}
END_TEST

START_TEST(damaged_collections_are_named)
{
    static const struct {
        const char *name;
        const char *units;
        size_t size;
        const char *sentence;
    } cases[] = {
        { "no generation", "\20\1G\1k\1e\1v", 9, "is an element without a generation" },
        { "generation 0", "\60\1G\1k\0\1e\1v", 10, "is cut off, or has a size" },
        { "a list's element", "\60\0G\1k\1\1e\1v", 10, "is an element of a list without a number" },
        { "a map's head of two numbers", "\0\1G\1k\2\1\1", 8, "has a head that is none" },
        { "a list's head of one", "\0\0G\1k\1\1", 7, "has a head that is none" },
        { "a head without bytes", "\0\1G\1k\0", 6, "has a head that is none" },
        { "a null head", "\2\1G\1k", 5, "has a head that is none" },
        { "a list that overflows", "\0\0G\1k\13\1\2\377\377\377\377\377\377\377\377\377\1", 18, "has a head that is none" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char units[40];
        struct weir_error error = { 0 };
        memcpy(units, cases[i].units, cases[i].size);
        units[2] = (char)key_group_of(of("k").hash, 4);
        ck_assert_int_eq(shard_apply(copy, (struct weir_bytes){ units, cases[i].size }, same, STATES, &error),
                         WEIR_DAMAGED);
        ck_assert_msg(strstr(error.text, cases[i].sentence) != NULL, "%s: %s", cases[i].name, error.text);
    }
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_checked_fixture(tests, begin, end);
    tcase_add_test(tests, a_list_keeps_the_order_of_addition);
    tcase_add_test(tests, a_map_is_walked_in_byte_order);
    tcase_add_test(tests, a_large_map_stays_in_order);
    tcase_add_test(tests, a_value_of_a_map_is_changed_in_place);
    tcase_add_test(tests, an_empty_map_holds_no_memory);
    tcase_add_test(tests, a_value_is_cleared_too);
    tcase_add_test(tests, a_walk_sees_what_happens_ahead_of_it);
    tcase_add_test(tests, a_walk_over_a_list_ends_where_the_list_ended);
    tcase_add_test(tests, a_clear_ends_a_walk);
    tcase_add_test(tests, nothing_of_before_is_seen_behind_a_clear);
    tcase_add_test(tests, what_is_dead_is_dropped_by_and_by);
    tcase_add_test(tests, snapshots_and_dumps_drop_what_is_dead_too);
    tcase_add_test(tests, elements_that_died_in_their_epoch_are_not_written);
    tcase_add_test(tests, a_clear_writes_one_tombstone);
    tcase_add_test(tests, a_snapshot_holds_what_was_cleared_behind_its_barrier);
    tcase_add_test(tests, memory_stays_bounded_while_collections_come_and_go);
    tcase_add_test(tests, the_dead_do_not_come_back);
    tcase_add_test(tests, a_generation_is_never_given_twice);
    tcase_add_test(tests, a_restored_collection_goes_on);
    tcase_add_test(tests, collections_are_written_as_documented);
    tcase_add_test(tests, one_more_entry_of_a_map_is_one_unit);
    tcase_add_test(tests, damaged_collections_are_named);
}

int main(void)
{
    return unit_main("state_collection", add);
}
