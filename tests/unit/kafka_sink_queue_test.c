#include "sink_queue.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness/unit.h"

struct expectation {
    size_t count;
    const struct weir_record *records;
    size_t seen;
    size_t fail_at;
};

static void expect_equal(struct weir_bytes a, struct weir_bytes b)
{
    ck_assert(weir_bytes_equal(a, b));
    ck_assert_int_eq(weir_is_null(a), weir_is_null(b));
}

static enum weir_code compare(void *user, const struct sink_queued *queued, struct weir_error *error)
{
    struct expectation *expected = user;
    const struct weir_record *want = &expected->records[expected->seen];
    ck_assert_uint_eq(queued->target, expected->seen % 3);
    ck_assert_int_eq(queued->partition, (int32_t)expected->seen);
    expect_equal(queued->record.key, want->key);
    expect_equal(queued->record.value, want->value);
    ck_assert_int_eq(queued->record.time_ms, want->time_ms);
    const size_t header_count = want->headers == NULL ? 0 : want->headers->count;
    ck_assert_uint_eq(queued->record.headers == NULL ? 0 : queued->record.headers->count, header_count);
    for (size_t i = 0; i < header_count; i++) {
        ck_assert_str_eq(queued->record.headers->items[i].name, want->headers->items[i].name);
        expect_equal(queued->record.headers->items[i].value, want->headers->items[i].value);
    }
    if (++expected->seen == expected->fail_at)
        return weir_error_set(error, WEIR_FAILED, WEIR_REMEDY_REPLAY, "as asked");
    return WEIR_OK;
}

static void push_all(struct sink_queue *queue, const struct weir_record *records, size_t count)
{
    for (size_t i = 0; i < count; i++)
        ck_assert(sink_queue_push(queue, (uint32_t)(i % 3), (int32_t)i, &records[i]));
}

START_TEST(gives_back_what_was_pushed_in_order)
{
    const struct weir_header items[] = { { "name", weir_text("value") }, { "null", WEIR_NULL }, { "", WEIR_EMPTY } };
    const struct weir_headers headers = { 3, items };
    const struct weir_record records[] = {
        { .key = weir_text("k"), .value = weir_text("v"), .time_ms = 5 },
        { .key = WEIR_NULL, .value = WEIR_NULL, .time_ms = WEIR_TIME_UNSET },
        { .key = WEIR_EMPTY, .value = WEIR_EMPTY, .time_ms = -1 },
        { .key = weir_text("with"), .value = weir_text("headers"), .time_ms = 7, .headers = &headers },
        { .key = weir_text("last"), .value = weir_text("one"), .time_ms = 8 },
    };
    struct sink_queue queue = { 0 };
    struct weir_error error;
    for (int round = 0; round < 3; round++) {
        struct expectation expected = { .records = records };
        push_all(&queue, records, 5);
        ck_assert_uint_eq(queue.count, 5);
        ck_assert_int_eq(sink_queue_drain(&queue, compare, &expected, &error), WEIR_OK);
        ck_assert_uint_eq(expected.seen, 5);
        ck_assert_uint_eq(queue.count, 0);
        ck_assert_uint_eq(queue.size, 0);
    }
    sink_queue_deinit(&queue);
}
END_TEST

START_TEST(holds_thousands_of_records_of_any_size)
{
    enum { COUNT = 3000 };
    uint64_t seed = unit_seed();
    static struct weir_record records[COUNT];
    static char bytes[20000];
    for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = (char)unit_random(&seed);
    for (int i = 0; i < COUNT; i++)
        records[i] = (struct weir_record){
            .key = { bytes + unit_random_below(&seed, 100), unit_random_below(&seed, 50) },
            .value = { bytes, unit_random_below(&seed, sizeof bytes) },
            .time_ms = (int64_t)unit_random(&seed),
        };
    struct sink_queue queue = { 0 };
    struct weir_error error;
    struct expectation expected = { .records = records };
    push_all(&queue, records, COUNT);
    ck_assert_int_eq(sink_queue_drain(&queue, compare, &expected, &error), WEIR_OK);
    ck_assert_uint_eq(expected.seen, COUNT);
    sink_queue_deinit(&queue);
}
END_TEST

START_TEST(more_headers_than_usual)
{
    static struct weir_header items[100];
    static char names[100][8];
    for (int i = 0; i < 100; i++) {
        (void)snprintf(names[i], sizeof names[i], "h%d", i);
        items[i] = (struct weir_header){ names[i], weir_text(names[i]) };
    }
    const struct weir_headers headers = { 100, items };
    const struct weir_record record = { .key = WEIR_NULL, .value = WEIR_NULL, .headers = &headers };
    struct sink_queue queue = { 0 };
    struct weir_error error;
    struct expectation expected = { .records = &record };
    push_all(&queue, &record, 1);
    ck_assert_int_eq(sink_queue_drain(&queue, compare, &expected, &error), WEIR_OK);
    sink_queue_deinit(&queue);
}
END_TEST

START_TEST(stops_at_the_first_failure)
{
    static const char *const keys[] = { "a", "b", "c" };
    struct weir_record records[3];
    for (int i = 0; i < 3; i++) records[i] = (struct weir_record){ .key = weir_text(keys[i]), .value = WEIR_NULL };
    struct sink_queue queue = { 0 };
    struct weir_error error;
    struct expectation expected = { .records = records, .fail_at = 2 };
    push_all(&queue, records, 3);
    ck_assert_int_eq(sink_queue_drain(&queue, compare, &expected, &error), WEIR_FAILED);
    ck_assert_uint_eq(expected.seen, 2);
    ck_assert_uint_eq(queue.count, 0);
    sink_queue_deinit(&queue);
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_test(tests, gives_back_what_was_pushed_in_order);
    tcase_add_test(tests, holds_thousands_of_records_of_any_size);
    tcase_add_test(tests, more_headers_than_usual);
    tcase_add_test(tests, stops_at_the_first_failure);
}

int main(void)
{
    return unit_main("kafka sink queue", add);
}
