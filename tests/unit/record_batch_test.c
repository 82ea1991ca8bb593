#include "harness/unit.h"
#include "record/record.h"

#include <signal.h>

static bool same_record(const struct weir_record *a, const struct weir_record *b)
{
    return weir_bytes_equal(a->key, b->key) && weir_bytes_equal(a->value, b->value) && a->time_ms == b->time_ms &&
           a->time_type == b->time_type && a->key_hash == b->key_hash;
}

static struct weir_batch *empty_batch(void)
{
    struct weir_batch *batch = batch_create();
    ck_assert_ptr_nonnull(batch);
    return batch;
}

START_TEST(copies_bytes_of_every_size)
{
    char text[100];
    for (size_t i = 0; i < sizeof text; i++) text[i] = (char)('a' + i % 26);
    struct weir_batch *batch = empty_batch();
    for (size_t size = 0; size < 50; size++) {
        const struct weir_record record = {
            .key = { text, size }, .value = { text + size, 49 - size }, .time_ms = (int64_t)size, .key_hash = 7,
            .time_type = WEIR_TIME_APPEND,
        };
        ck_assert(batch_add(batch, &record));
        ck_assert(same_record(&batch->records[size], &record));
        ck_assert_ptr_ne(batch->records[size].key.data, record.key.data);
    }
    for (size_t size = 0; size < 50; size++)
        ck_assert(weir_bytes_equal(batch->records[size].key, (struct weir_bytes){ text, size }));
    batch_release(batch);
}
END_TEST

START_TEST(keeps_null_empty_and_unset_apart)
{
    struct weir_batch *batch = empty_batch();
    const struct weir_record records[] = {
        { .key = WEIR_NULL, .value = WEIR_EMPTY },
        { .key = WEIR_EMPTY, .value = WEIR_NULL },
        { .value = { "x", 1 } },
    };
    for (int i = 0; i < 3; i++) ck_assert(batch_add(batch, &records[i]));
    for (int i = 0; i < 3; i++) ck_assert(same_record(&batch->records[i], &records[i]));
    ck_assert(weir_is_null(batch->records[0].key) && !weir_is_null(batch->records[1].key));
    ck_assert(!weir_is_set(batch->records[2].key));
    batch_release(batch);
}
END_TEST

START_TEST(copies_headers)
{
    char name[] = "trace", value[] = "abc";
    const struct weir_header items[] = {
        { name, { value, 3 } }, { "empty", { "", 0 } }, { "null", { weir_null_data, 0 } }, { name, { value, 1 } },
    };
    const struct weir_headers headers = { 4, items };
    struct weir_batch *batch = empty_batch();
    const struct weir_record record = { .key = WEIR_EMPTY, .value = WEIR_EMPTY, .headers = &headers };
    ck_assert(batch_add(batch, &record));
    name[0] = value[0] = '?'; /* whoever made them may change or free them */

    const struct weir_headers *copy = batch->records[0].headers;
    ck_assert_uint_eq(copy->count, 4);
    ck_assert_str_eq(copy->items[0].name, "trace");
    ck_assert(weir_bytes_equal(copy->items[0].value, weir_text("abc")));
    ck_assert(weir_bytes_equal(copy->items[1].value, WEIR_EMPTY));
    ck_assert(weir_is_null(copy->items[2].value));
    ck_assert_str_eq(copy->items[3].name, "trace");
    ck_assert(weir_bytes_equal(copy->items[3].value, weir_text("a")));
    batch_release(batch);
}
END_TEST

START_TEST(is_full_by_count)
{
    struct weir_batch *batch = empty_batch();
    const struct weir_record record = { .key = WEIR_NULL, .value = weir_text("v") };
    for (uint32_t i = 0; i < BATCH_RECORDS_MAX; i++) {
        ck_assert(!weir_batch_is_full(batch));
        ck_assert(weir_batch_add(batch, &record));
    }
    ck_assert(weir_batch_is_full(batch));
    ck_assert(!weir_batch_add(batch, &record));
    ck_assert_uint_eq(batch->count, BATCH_RECORDS_MAX);
    batch_release(batch);
}
END_TEST

START_TEST(is_full_by_bytes_but_takes_any_record_alone)
{
    static char large[BATCH_BYTES_MAX * 4];
    struct weir_batch *batch = empty_batch();
    const struct weir_record half = { .key = WEIR_NULL, .value = { large, BATCH_BYTES_MAX / 2 } };
    const struct weir_record small = { .key = WEIR_NULL, .value = { large, 1 } };
    const struct weir_record huge = { .key = WEIR_NULL, .value = { large, sizeof large } };
    ck_assert(batch_add(batch, &half));
    ck_assert(!batch_add(batch, &huge));
    ck_assert(!weir_batch_is_full(batch));
    ck_assert(batch_add(batch, &half));
    ck_assert(weir_batch_is_full(batch));
    ck_assert(!batch_add(batch, &small));
    batch_clear(batch);
    ck_assert(batch_add(batch, &huge));
    ck_assert(weir_batch_is_full(batch));
    ck_assert(!batch_add(batch, &small));
    batch_release(batch);
}
END_TEST

START_TEST(headers_count_as_bytes)
{
    static char large[BATCH_BYTES_MAX];
    const struct weir_header header = { "h", { large, sizeof large } };
    const struct weir_headers headers = { 1, &header };
    const struct weir_record record = { .key = WEIR_NULL, .value = WEIR_NULL, .headers = &headers };
    struct weir_batch *batch = empty_batch();
    ck_assert(batch_add(batch, &record));
    ck_assert(weir_batch_is_full(batch));
    ck_assert(!batch_add(batch, &record));
    batch_release(batch);
}
END_TEST

START_TEST(is_emptied_by_its_sole_holder)
{
    struct weir_batch *batch = empty_batch();
    const struct weir_record record = { .key = WEIR_NULL, .value = weir_text("v") };
    batch->records_max = 1;
    ck_assert(batch_add(batch, &record));
    ck_assert(weir_batch_is_full(batch));
    batch_retain(batch); /* a second reader */
    ck_assert(!batch_is_sole(batch));
    batch_release(batch);
    ck_assert(batch_is_sole(batch));
    batch_clear(batch);
    ck_assert_uint_eq(batch->count, 0);
    ck_assert(batch_add(batch, &record) && batch_add(batch, &record)); /* its limits are the default ones again */
    batch_release(batch);
}
END_TEST

START_TEST(clearing_what_others_read_is_broken_code)
{
    struct weir_batch *batch = empty_batch();
    batch_retain(batch);
    batch_clear(batch);
}
END_TEST

START_TEST(an_element_releases_its_batch)
{
    struct weir_batch *batch = empty_batch();
    batch_retain(batch);
    struct element element = element_batch(batch);
    element_release(&element);
    ck_assert(batch_is_sole(batch));
    ck_assert_int_eq(element.type, ELEMENT_NONE);
    element_release(&element); /* nothing left to release */
    struct element barrier = element_barrier(3);
    element_release(&barrier);
    batch_release(batch);
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_test(tests, copies_bytes_of_every_size);
    tcase_add_test(tests, keeps_null_empty_and_unset_apart);
    tcase_add_test(tests, copies_headers);
    tcase_add_test(tests, is_full_by_count);
    tcase_add_test(tests, is_full_by_bytes_but_takes_any_record_alone);
    tcase_add_test(tests, headers_count_as_bytes);
    tcase_add_test(tests, is_emptied_by_its_sole_holder);
    tcase_add_test_raise_signal(tests, clearing_what_others_read_is_broken_code, SIGILL);
    tcase_add_test(tests, an_element_releases_its_batch);
}

int main(void)
{
    return unit_main("batch", add);
}
