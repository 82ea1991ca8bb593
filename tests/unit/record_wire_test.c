#include "record/wire.h"

#include <stdlib.h>
#include <string.h>

#include "harness/unit.h"

static const struct weir_header header_items[] = { { "trace", { "\0\1", 2 } }, { "empty", { "", 0 } }, { "none", { 0 } } };
static const struct weir_headers headers = { 3, header_items };

static struct buffer bytes;
static struct arena arena;

static void begin(void)
{
    const struct weir_record records[] = {
        { .key = weir_text("key"), .value = weir_text("value"), .time_ms = -5, .time_type = WEIR_TIME_CREATE,
          .key_hash = 0xfeedface, .headers = &headers },
        { .key = WEIR_NULL, .value = WEIR_EMPTY, .time_ms = WEIR_TIME_UNSET },
        { .value = WEIR_NULL, .time_ms = INT64_MAX, .time_type = WEIR_TIME_APPEND },
    };
    buffer_init(&bytes);
    arena_init(&arena, 1024);
    for (size_t i = 0; i < sizeof records / sizeof records[0]; i++) wire_put(&bytes, &records[i]);
    ck_assert(!bytes.failed);
}

static void end(void)
{
    buffer_deinit(&bytes);
    arena_deinit(&arena);
}

/* How many there are; -1 when one is damaged. */
static int take_all(const char *data, size_t size)
{
    struct reader in;
    struct weir_record record;
    bool no_memory;
    int count = 0;
    reader_init(&in, data, size);
    while (wire_take(&in, &arena, &record, &no_memory)) count++;
    ck_assert(!no_memory);
    arena_reset(&arena);
    return in.failed ? -1 : count;
}

START_TEST(records_come_back_as_they_were)
{
    struct reader in;
    struct weir_record record;
    bool no_memory;
    reader_init(&in, bytes.data, bytes.size);
    ck_assert(wire_take(&in, &arena, &record, &no_memory));
    ck_assert(weir_bytes_equal(record.key, weir_text("key")) && weir_bytes_equal(record.value, weir_text("value")));
    ck_assert(record.time_ms == -5 && record.time_type == WEIR_TIME_CREATE && record.key_hash == 0xfeedface);
    ck_assert_uint_eq(record.headers->count, 3);
    for (size_t i = 0; i < 3; i++) ck_assert_str_eq(record.headers->items[i].name, header_items[i].name);
    ck_assert(weir_bytes_equal(record.headers->items[0].value, header_items[0].value));
    ck_assert(weir_is_set(record.headers->items[1].value) && record.headers->items[1].value.size == 0);
    ck_assert(!weir_is_set(record.headers->items[2].value));
    ck_assert(wire_take(&in, &arena, &record, &no_memory));
    ck_assert(weir_is_null(record.key) && weir_is_set(record.value) && !weir_is_null(record.value));
    ck_assert(record.time_ms == WEIR_TIME_UNSET && record.headers == NULL);
    ck_assert(wire_take(&in, &arena, &record, &no_memory));
    ck_assert(!weir_is_set(record.key) && weir_is_null(record.value) && record.time_ms == INT64_MAX);
    ck_assert(!wire_take(&in, &arena, &record, &no_memory) && !in.failed && !no_memory);
}
END_TEST

START_TEST(every_truncation_is_damage_or_ends_between_two_records)
{
    int between = 0;
    for (size_t size = 0; size < bytes.size; size++) between += take_all(bytes.data, size) >= 0;
    ck_assert_int_eq(between, 3); /* before each of them */
    ck_assert_int_eq(take_all(bytes.data, bytes.size), 3);
}
END_TEST

START_TEST(no_flipped_bit_reads_past_the_end)
{
    for (size_t bit = 0; bit < bytes.size * 8; bit++) {
        char *copy = malloc(bytes.size); /* exactly, for the sanitizer */
        memcpy(copy, bytes.data, bytes.size);
        copy[bit / 8] = (char)(copy[bit / 8] ^ (1 << (bit % 8)));
        (void)take_all(copy, bytes.size);
        free(copy);
    }
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_checked_fixture(tests, begin, end);
    tcase_add_test(tests, records_come_back_as_they_were);
    tcase_add_test(tests, every_truncation_is_damage_or_ends_between_two_records);
    tcase_add_test(tests, no_flipped_bit_reads_past_the_end);
}

int main(void)
{
    return unit_main("record_wire", add);
}
