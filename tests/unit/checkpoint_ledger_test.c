/* WEIR_TEST_WRAPS_MALLOC */
#include "checkpoint/ledger.h"

#include <stdlib.h>
#include <string.h>

#include "harness/failing_malloc.h"
#include "harness/golden.h"
#include "harness/unit.h"

static struct weir_ledger_range ranges[] = {
    { .source = "words", .split = "words/0", .begin = 100, .end = 12345678901 },
    { .source = "words", .split = "words/1", .begin = -1, .end = 0 },
};
static struct weir_output_total totals[] = {
    { .name = "counts/0", .count = 900, .digest = { 0x0123456789abcdef, 2 } },
};
static struct weir_anchor anchors[] = { { .output = "counts/0", .end = 1234 } };

static const struct weir_ledger_entry sample = {
    .kind = WEIR_LEDGER_COMMIT,
    .store = "00112233445566778899aabbccddeeff",
    .job = "word-count",
    .slot = "0",
    .incarnation = 8,
    .epoch = 42,
    .frame = { .incarnation = 7, .epoch = 42, .file = "log-7-1", .offset = 8192, .length = 4096, .hash = 0xfeedface },
    .parent = { .incarnation = 6, .epoch = 40 },
    .handle_count = 2,
    .plan_hash = 0xdeadbeefcafef00d,
    .build = "0.1.0",
    .wall_ms = 1700000000000,
    .exactly_once = true,
    .range_count = 2,
    .ranges = ranges,
    .total_count = 1,
    .totals = totals,
    .anchor_epoch = 41,
    .anchor_count = 1,
    .anchors = anchors,
};

static void free_bytes(struct weir_bytes bytes)
{
    free((void *)(uintptr_t)bytes.data);
}

static struct weir_bytes encoded(void)
{
    struct weir_bytes bytes;
    ck_assert(weir_ledger_encode(&sample, &bytes));
    return bytes;
}

static void assert_is_sample(const struct weir_ledger_entry *entry)
{
    ck_assert_int_eq(entry->kind, sample.kind);
    ck_assert_str_eq(entry->store, sample.store);
    ck_assert_str_eq(entry->job, sample.job);
    ck_assert_str_eq(entry->slot, sample.slot);
    ck_assert_str_eq(entry->build, sample.build);
    ck_assert_uint_eq(entry->incarnation, sample.incarnation);
    ck_assert_uint_eq(entry->epoch, sample.epoch);
    ck_assert_uint_eq(entry->plan_hash, sample.plan_hash);
    ck_assert_int_eq(entry->wall_ms, sample.wall_ms);
    ck_assert_uint_eq(entry->handle_count, sample.handle_count);
    ck_assert(entry->exactly_once);
    ck_assert_mem_eq(&entry->frame, &sample.frame, sizeof sample.frame);
    ck_assert_mem_eq(&entry->parent, &sample.parent, sizeof sample.parent);
    ck_assert_uint_eq(entry->range_count, 2);
    ck_assert_mem_eq(entry->ranges, ranges, sizeof ranges);
    ck_assert_uint_eq(entry->total_count, 1);
    ck_assert_mem_eq(entry->totals, totals, sizeof totals);
    ck_assert_uint_eq(entry->anchor_epoch, 41);
    ck_assert_uint_eq(entry->anchor_count, 1);
    ck_assert_mem_eq(entry->anchors, anchors, sizeof anchors);
}

START_TEST(reads_back_what_was_written)
{
    struct weir_ledger_entry entry;
    struct weir_error error;
    const struct weir_bytes bytes = encoded();
    ck_assert_int_eq(weir_ledger_decode(bytes, &entry, &error), WEIR_OK);
    assert_is_sample(&entry);
    weir_ledger_entry_clear(&entry);
    free_bytes(bytes);
}
END_TEST

START_TEST(reads_back_where_a_history_came_from)
{
    struct weir_ledger_entry founded = sample, entry;
    struct weir_error error;
    struct weir_bytes bytes;
    (void)strcpy(founded.origin, "ffeeddccbbaa99887766554433221100");
    ck_assert(weir_ledger_encode(&founded, &bytes));
    ck_assert_int_eq(weir_ledger_decode(bytes, &entry, &error), WEIR_OK);
    assert_is_sample(&entry);
    ck_assert_str_eq(entry.origin, founded.origin);
    weir_ledger_entry_clear(&entry);
    free_bytes(bytes);
}
END_TEST

START_TEST(finds_every_flipped_bit_and_truncation)
{
    struct weir_ledger_entry entry;
    struct weir_error error;
    const struct weir_bytes bytes = encoded();
    char *data = (char *)(uintptr_t)bytes.data;
    for (size_t bit = 0; bit < bytes.size * 8; bit++) {
        data[bit / 8] = (char)(data[bit / 8] ^ (1 << (bit % 8)));
        ck_assert_int_eq(weir_ledger_decode(bytes, &entry, &error), WEIR_DAMAGED);
        weir_ledger_entry_clear(&entry);
        data[bit / 8] = (char)(data[bit / 8] ^ (1 << (bit % 8)));
    }
    for (size_t size = 0; size < bytes.size; size++) {
        ck_assert_int_eq(weir_ledger_decode((struct weir_bytes){ data, size }, &entry, &error), WEIR_DAMAGED);
        weir_ledger_entry_clear(&entry);
    }
    free_bytes(bytes);
}
END_TEST

START_TEST(decoding_survives_any_bytes)
{
    uint64_t random = unit_seed();
    uint32_t refused = 0;
    const struct weir_bytes bytes = encoded();
    for (int round = 0; round < 50000; round++) {
        struct buffer copy;
        buffer_init(&copy);
        buffer_put(&copy, bytes.data, bytes.size);
        const uint32_t changes = 1 + unit_random_below(&random, 3);
        for (uint32_t i = 0; i < changes; i++)
            copy.data[6 + unit_random_below(&random, (uint32_t)bytes.size - 14)] = (char)unit_random(&random);
        buffer_patch_u64(&copy, copy.size - 8, hash_64(copy.data, copy.size - 8));
        struct weir_ledger_entry entry;
        struct weir_error error;
        refused += weir_ledger_decode((struct weir_bytes){ copy.data, copy.size }, &entry, &error) != WEIR_OK;
        weir_ledger_entry_clear(&entry);
        buffer_deinit(&copy);
    }
    ck_assert_uint_gt(refused, 1000);
    free_bytes(bytes);
}
END_TEST

START_TEST(refuses_what_others_wrote)
{
    struct weir_ledger_entry entry;
    struct weir_error error;
    ck_assert_int_eq(weir_ledger_decode(WEIR_NULL, &entry, &error), WEIR_DAMAGED);
    ck_assert_int_eq(weir_ledger_decode(WEIR_EMPTY, &entry, &error), WEIR_DAMAGED);
    ck_assert_int_eq(weir_ledger_decode(weir_text("{\"hello\": \"somebody else\"}"), &entry, &error), WEIR_DAMAGED);
    ck_assert_ptr_nonnull(strstr(error.text, "something else writes to this ledger"));
}
END_TEST

START_TEST(refuses_a_newer_format)
{
    struct weir_ledger_entry entry;
    struct weir_error error;
    const struct weir_bytes bytes = encoded();
    char *data = (char *)(uintptr_t)bytes.data;
    data[4] = 2;
    const uint64_t hash = hash_64(data, bytes.size - 8);
    memcpy(data + bytes.size - 8, &hash, 8);
    ck_assert_int_eq(weir_ledger_decode(bytes, &entry, &error), WEIR_FOREIGN);
    free_bytes(bytes);
}
END_TEST

START_TEST(keys_are_a_ring_for_each_slot)
{
    char key[LEDGER_KEY_MAX];
    ledger_key_commit(key, "0", 42, 10);
    ck_assert_str_eq(key, "0/2");
    ledger_key_commit(key, "17", 9, 10);
    ck_assert_str_eq(key, "17/9");
    ledger_key_incarnation(key, "0");
    ck_assert_str_eq(key, "0/incarnation");
}
END_TEST

static void encode_and_decode(void)
{
    struct weir_bytes bytes;
    struct weir_ledger_entry entry;
    struct weir_error error;
    if (!weir_ledger_encode(&sample, &bytes)) return;
    const enum weir_code code = weir_ledger_decode(bytes, &entry, &error);
    CHECK(code == WEIR_OK || code == WEIR_NO_MEMORY); /* an assertion of Check would allocate */
    weir_ledger_entry_clear(&entry);
    free_bytes(bytes);
}

START_TEST(failing_allocations_are_errors)
{
    ck_assert_uint_gt(failing_malloc_each(encode_and_decode), 3);
}
END_TEST

START_TEST(reads_the_record_of_the_first_version)
{
    struct buffer bytes;
    struct weir_ledger_entry entry;
    struct weir_error error;
    const struct weir_bytes today = encoded();
    buffer_init(&bytes);
    buffer_put(&bytes, today.data, today.size);
    golden_read("ledger-1.hex", &bytes);
    ck_assert_int_eq(weir_ledger_decode((struct weir_bytes){ bytes.data, bytes.size }, &entry, &error), WEIR_OK);
    assert_is_sample(&entry);
    weir_ledger_entry_clear(&entry);
    buffer_deinit(&bytes);
    free_bytes(today);
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_test(tests, reads_back_what_was_written);
    tcase_add_test(tests, reads_back_where_a_history_came_from);
    tcase_add_test(tests, finds_every_flipped_bit_and_truncation);
    tcase_add_test(tests, decoding_survives_any_bytes);
    tcase_add_test(tests, refuses_what_others_wrote);
    tcase_add_test(tests, refuses_a_newer_format);
    tcase_add_test(tests, keys_are_a_ring_for_each_slot);
    tcase_add_test(tests, failing_allocations_are_errors);
    tcase_add_test(tests, reads_the_record_of_the_first_version);
}

int main(void)
{
    return unit_main("ledger", add);
}
