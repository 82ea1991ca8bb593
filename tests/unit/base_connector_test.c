#include "base/base.h"
#include "harness/unit.h"

#include <stdio.h>

START_TEST(splits_are_copied_with_their_names)
{
    struct weir_splits splits = { 0 };
    char name[16];
    for (int i = 0; i < 100; i++) {
        (void)snprintf(name, sizeof name, "words/%d", i);
        const struct weir_split split = { .name = name, .identity = i == 7 ? "id" : NULL, .position = i, .end = -i };
        ck_assert(weir_splits_add(&splits, &split));
    }
    ck_assert_uint_eq(splits.count, 100);
    const struct weir_split *seventh = weir_splits_find(&splits, "words/7");
    ck_assert_int_eq(seventh->position, 7);
    ck_assert_int_eq(seventh->end, -7);
    ck_assert_str_eq(seventh->identity, "id");
    ck_assert_str_eq(weir_splits_find(&splits, "words/99")->identity, "");
    ck_assert_ptr_null(weir_splits_find(&splits, "words/100"));
    weir_splits_clear(&splits);
    ck_assert_uint_eq(splits.count, 0);
    weir_splits_clear(&splits);
}
END_TEST

START_TEST(totals_add_up_by_name_in_sorted_rows)
{
    struct weir_output_totals totals = { 0 };
    const char *names[] = { "b/0", "a/0", "c/0", "a/1", "b/0", "a/0" };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        ck_assert(weir_output_totals_add(&totals, names[i], 10 + i, (struct weir_digest){ UINT64_MAX, i }));
    ck_assert_uint_eq(totals.count, 4);
    ck_assert_str_eq(totals.items[0].name, "a/0");
    ck_assert_str_eq(totals.items[1].name, "a/1");
    ck_assert_str_eq(totals.items[2].name, "b/0");
    ck_assert_str_eq(totals.items[3].name, "c/0");
    ck_assert_uint_eq(totals.items[0].count, 11 + 15);
    ck_assert_uint_eq(totals.items[0].digest.low, UINT64_MAX - 1);
    ck_assert_uint_eq(totals.items[0].digest.high, 1 + 5 + 1); /* one carried over */
    weir_output_totals_clear(&totals);
    ck_assert_uint_eq(totals.count, 0);
}
END_TEST

static struct weir_bytes on_heap(const char *text)
{
    const size_t size = strlen(text);
    char *data = malloc(size + 1);
    ck_assert_ptr_nonnull(data);
    memcpy(data, text, size + 1);
    return (struct weir_bytes){ data, size };
}

START_TEST(a_decider_event_frees_what_it_holds)
{
    struct weir_decider_event event = { .record_count = 2, .mirror_count = 1, .anchor_count = 1 };
    event.records = calloc(2, sizeof *event.records);
    event.mirrors = calloc(1, sizeof *event.mirrors);
    event.anchors = calloc(1, sizeof *event.anchors);
    ck_assert(event.records != NULL && event.mirrors != NULL && event.anchors != NULL);
    event.records[0] = (struct weir_ledger_record){ .key = on_heap("key"), .value = WEIR_NULL };
    event.records[1] = (struct weir_ledger_record){ .value = on_heap("") };
    weir_decider_event_clear(&event);
    ck_assert_uint_eq(event.record_count, 0);
    weir_decider_event_clear(&event);
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_test(tests, splits_are_copied_with_their_names);
    tcase_add_test(tests, totals_add_up_by_name_in_sorted_rows);
    tcase_add_test(tests, a_decider_event_frees_what_it_holds);
}

int main(void)
{
    return unit_main("connector", add);
}
