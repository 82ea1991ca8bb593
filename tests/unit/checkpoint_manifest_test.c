/* WEIR_TEST_WRAPS_MALLOC */
#include "checkpoint/manifest.h"

#include <stdlib.h>
#include <string.h>

#include "harness/failing_malloc.h"
#include "harness/golden.h"
#include "harness/sample_manifest.h"
#include "harness/unit.h"
#include "record/wire.h"

static struct buffer frame;
static struct weir_frame_name name;
static struct arena arena;

static void set_up(void)
{
    buffer_init(&frame);
    arena_init(&arena, 4096);
    name = (struct weir_frame_name){ .file = "log-7-1", .offset = 16384 };
    ck_assert(manifest_encode(sample_manifest(), &frame, &name));
}

static void tear_down(void)
{
    buffer_deinit(&frame);
    arena_deinit(&arena);
}

static struct weir_bytes bytes_of(const struct buffer *buffer)
{
    return (struct weir_bytes){ buffer->data, buffer->size };
}

static void rehash(struct buffer *buffer)
{
    const size_t at = buffer->size - FRAME_TRAILER_BYTES;
    name.hash = hash_64_seeded(buffer->data, at, name.incarnation);
    buffer_patch_u64(buffer, at, name.hash);
}

START_TEST(a_frame_holds_its_manifest)
{
    struct weir_error error;
    struct manifest manifest;
    ck_assert_uint_eq(name.incarnation, 7);
    ck_assert_uint_eq(name.epoch, 42);
    ck_assert_uint_eq(name.length, frame.size);
    ck_assert_int_eq(frame_verify(bytes_of(&frame), &name, &error), WEIR_OK);
    ck_assert_int_eq(manifest_decode(bytes_of(&frame), &name, &arena, &manifest, &error), WEIR_OK);
    sample_assert_equal(sample_manifest(), &manifest);
}
END_TEST

/* A frame without them is as it was before there were any. */
START_TEST(flights_belong_to_a_format_of_their_own)
{
    struct weir_error error;
    struct manifest manifest, with = *sample_manifest();
    struct manifest_flight flights[] = {
        { .operator_name = "count", .port = 1, .subtask = 3, .record_count = 2, .records = weir_text("abc") },
        { .operator_name = "print", .record_count = 1, .records = weir_text("d") },
    };
    ck_assert_int_eq(frame.data[8], FRAME_VERSION);
    with.flight_count = 2;
    with.flights = flights;
    ck_assert(manifest_encode(&with, &frame, &name));
    ck_assert_int_eq(frame.data[8], FRAME_VERSION_FLIGHTS);
    ck_assert_int_eq(frame_verify(bytes_of(&frame), &name, &error), WEIR_OK);
    ck_assert_int_eq(manifest_decode(bytes_of(&frame), &name, &arena, &manifest, &error), WEIR_OK);
    sample_assert_equal(sample_manifest(), &manifest);
    ck_assert_uint_eq(manifest.flight_count, 2);
    for (size_t i = 0; i < 2; i++) {
        ck_assert_str_eq(manifest.flights[i].operator_name, flights[i].operator_name);
        ck_assert_uint_eq(manifest.flights[i].port, flights[i].port);
        ck_assert_uint_eq(manifest.flights[i].subtask, flights[i].subtask);
        ck_assert_uint_eq(manifest.flights[i].record_count, flights[i].record_count);
        ck_assert(weir_bytes_equal(manifest.flights[i].records, flights[i].records));
    }
    for (size_t bit = 0; bit < frame.size * 8; bit += 7) {
        frame.data[bit / 8] = (char)(frame.data[bit / 8] ^ (1 << (bit % 8)));
        ck_assert_int_ne(frame_verify(bytes_of(&frame), &name, &error), WEIR_OK);
        frame.data[bit / 8] = (char)(frame.data[bit / 8] ^ (1 << (bit % 8)));
    }
}
END_TEST

START_TEST(a_frame_fills_whole_pages)
{
    char delta[9000];
    memset(delta, 'd', sizeof delta);
    for (size_t size = 0; size < sizeof delta; size += 61) {
        name = sample_frame(&frame, 3, 4, NULL, false, (struct weir_bytes){ delta, size });
        ck_assert_uint_eq(frame.size % FRAME_ALIGNMENT, 0);
        ck_assert_uint_lt(frame.size, size + 400 + FRAME_ALIGNMENT);
        struct manifest manifest;
        struct weir_error error;
        ck_assert_int_eq(manifest_decode(bytes_of(&frame), &name, &arena, &manifest, &error), WEIR_OK);
        ck_assert(weir_bytes_equal(manifest.operators[0].deltas[0], (struct weir_bytes){ delta, size }));
        arena_reset(&arena);
    }
}
END_TEST

START_TEST(a_complete_job_says_so)
{
    struct manifest manifest = *sample_manifest(), read;
    struct weir_error error;
    for (int complete = 0; complete < 2; complete++) {
        manifest.is_complete = complete == 1;
        ck_assert(manifest_encode(&manifest, &frame, &name));
        ck_assert_int_eq(manifest_decode(bytes_of(&frame), &name, &arena, &read, &error), WEIR_OK);
        ck_assert(read.is_complete == manifest.is_complete && !read.is_part);
    }
}
END_TEST

START_TEST(a_part_says_so)
{
    struct manifest manifest;
    struct weir_error error;
    name = sample_frame(&frame, 3, 4, NULL, true, weir_text("x"));
    ck_assert_int_eq(manifest_decode(bytes_of(&frame), &name, &arena, &manifest, &error), WEIR_OK);
    ck_assert(manifest.is_part);
}
END_TEST

START_TEST(finds_every_truncation)
{
    struct weir_error error;
    for (size_t size = 0; size < frame.size; size++) {
        ck_assert_int_eq(frame_verify((struct weir_bytes){ frame.data, size }, &name, &error), WEIR_DAMAGED);
        ck_assert_ptr_nonnull(strstr(error.text, "log-7-1 at offset 16384"));
    }
}
END_TEST

START_TEST(finds_every_flipped_bit)
{
    struct weir_error error;
    for (size_t bit = 0; bit < frame.size * 8; bit++) {
        frame.data[bit / 8] = (char)(frame.data[bit / 8] ^ (1 << (bit % 8)));
        ck_assert_msg(frame_verify(bytes_of(&frame), &name, &error) == WEIR_DAMAGED, "bit %zu", bit);
        frame.data[bit / 8] = (char)(frame.data[bit / 8] ^ (1 << (bit % 8)));
    }
    ck_assert_ptr_nonnull(strstr(error.text, "log-7-1"));
    ck_assert_int_eq(frame_verify(bytes_of(&frame), &name, &error), WEIR_OK);
}
END_TEST

START_TEST(finds_zeroes)
{
    struct weir_error error;
    memset(frame.data, 0, frame.size);
    ck_assert_int_eq(frame_verify(bytes_of(&frame), &name, &error), WEIR_DAMAGED);
}
END_TEST

START_TEST(says_which_frame_lies_there_instead)
{
    struct weir_error error;
    struct buffer other;
    buffer_init(&other);
    name = sample_frame(&frame, 7, 42, NULL, false, weir_text("new"));
    (void)sample_frame(&other, 7, 41, NULL, false, weir_text("old"));
    ck_assert_uint_eq(other.size, frame.size);
    ck_assert_int_eq(frame_verify(bytes_of(&other), &name, &error), WEIR_DAMAGED);
    ck_assert_ptr_nonnull(strstr(error.text, "another frame lies there, checkpoint 41 of incarnation 7"));
    buffer_deinit(&other);
}
END_TEST

/* The same epoch, written twice by one incarnation: only the hash in the name tells them apart. */
START_TEST(finds_a_frame_of_the_same_epoch)
{
    struct weir_error error;
    struct buffer other;
    buffer_init(&other);
    name = sample_frame(&frame, 7, 42, NULL, false, weir_text("new"));
    (void)sample_frame(&other, 7, 42, NULL, false, weir_text("old"));
    ck_assert_int_eq(frame_verify(bytes_of(&other), &name, &error), WEIR_DAMAGED);
    buffer_deinit(&other);
}
END_TEST

START_TEST(refuses_a_newer_format)
{
    struct weir_error error;
    buffer_patch_u32(&frame, 8, FRAME_VERSION_FLIGHTS + 1);
    rehash(&frame);
    ck_assert_int_eq(frame_verify(bytes_of(&frame), &name, &error), WEIR_FOREIGN);
    ck_assert_ptr_nonnull(strstr(error.text, "start the newer program again"));
}
END_TEST

START_TEST(refuses_lengths_that_no_frame_has)
{
    struct weir_error error;
    for (uint64_t length = 0; length < FRAME_ALIGNMENT; length++) {
        name.length = length;
        ck_assert_int_eq(frame_verify((struct weir_bytes){ frame.data, length }, &name, &error), WEIR_DAMAGED);
    }
}
END_TEST

/* Damage that the hash does not show (a bug of a writer): decoding refuses or answers something, but reads nothing
 * outside; the sanitizers watch. */
START_TEST(decoding_survives_any_bytes)
{
    uint64_t random = unit_seed();
    uint32_t refused = 0;
    for (int round = 0; round < 20000; round++) {
        struct buffer copy;
        buffer_init(&copy);
        buffer_put(&copy, frame.data, frame.size);
        const uint32_t changes = 1 + unit_random_below(&random, 4);
        for (uint32_t i = 0; i < changes; i++)
            copy.data[FRAME_HEADER_BYTES - 16 + unit_random_below(&random, 700)] = (char)unit_random(&random);
        struct manifest manifest;
        struct weir_error error;
        refused += manifest_decode(bytes_of(&copy), &name, &arena, &manifest, &error) != WEIR_OK;
        arena_reset(&arena);
        buffer_deinit(&copy);
    }
    ck_assert_uint_gt(refused, 1000);
}
END_TEST

START_TEST(the_redo_epoch_is_the_smallest_of_the_operators)
{
    ck_assert_uint_eq(manifest_redo_epoch(sample_manifest()), 37);
    const struct manifest without = { .epoch = 9 };
    ck_assert_uint_eq(manifest_redo_epoch(&without), 9);
}
END_TEST

START_TEST(finds_sources_and_operators_by_name)
{
    ck_assert_uint_eq(manifest_find_source(sample_manifest(), "words")->splits.count, 2);
    ck_assert_uint_eq(manifest_find_operator(sample_manifest(), "count")->base_count, 2);
    ck_assert_ptr_null(manifest_find_source(sample_manifest(), "count"));
    ck_assert_ptr_null(manifest_find_operator(sample_manifest(), "words"));
}
END_TEST

START_TEST(the_states_that_a_base_begins_with_are_read_back_whole)
{
    const struct manifest_operator *count = manifest_find_operator(sample_manifest(), "count");
    struct manifest_operator read = *count;
    struct buffer states;
    buffer_init(&states);
    ck_assert(manifest_states_encode(count->states, count->state_count, &states));
    for (size_t size = 0; size < states.size; size++)
        ck_assert(!manifest_states_decode((struct weir_bytes){ states.data, size }, &arena, &read.states,
                                          &read.state_count));
    ck_assert(manifest_states_decode(bytes_of(&states), &arena, &read.states, &read.state_count));
    sample_assert_operators_equal(count, &read);
    buffer_u8(&states, 0);
    ck_assert(!manifest_states_decode(bytes_of(&states), &arena, &read.states, &read.state_count));
    buffer_deinit(&states);
}
END_TEST

static void encode_and_decode(void)
{
    struct buffer out;
    struct arena room;
    struct manifest manifest;
    struct weir_error error;
    struct weir_frame_name made = { .file = "log-7-1" };
    buffer_init(&out);
    arena_init(&room, 512);
    if (manifest_encode(sample_manifest(), &out, &made)) {
        const enum weir_code code = manifest_decode(bytes_of(&out), &made, &room, &manifest, &error);
        CHECK(code == WEIR_OK || code == WEIR_NO_MEMORY); /* an assertion of Check would allocate */
    }
    arena_deinit(&room);
    buffer_deinit(&out);
}

START_TEST(failing_allocations_are_errors)
{
    ck_assert_uint_gt(failing_malloc_each(encode_and_decode), 4);
}
END_TEST

/* Records with everything that a record may have, and with nothing. */
static const struct weir_header flown_headers[] = { { "trace", { "\0\1", 2 } }, { "none", { 0 } } };
static const struct weir_record flown[] = {
    { .key = { "apple", 5 }, .value = { "1", 1 }, .time_ms = -5, .time_type = WEIR_TIME_CREATE,
      .key_hash = 0xfeedface, .headers = &(const struct weir_headers){ 2, flown_headers } },
    { .key = WEIR_NULL, .value = WEIR_EMPTY, .time_ms = WEIR_TIME_UNSET },
    { .value = WEIR_NULL, .time_ms = INT64_MAX, .time_type = WEIR_TIME_APPEND },
};
enum { FLOWN = sizeof flown / sizeof flown[0] };

/* The sample's frame with two flights: all of the records, and the last one alone. */
static void encode_flights(void)
{
    struct buffer records, last;
    buffer_init(&records);
    buffer_init(&last);
    for (size_t i = 0; i < FLOWN; i++) wire_put(&records, &flown[i]);
    wire_put(&last, &flown[FLOWN - 1]);
    struct manifest_flight flights[] = {
        { .operator_name = "count", .port = 1, .subtask = 3, .record_count = FLOWN, .records = bytes_of(&records) },
        { .operator_name = "print", .record_count = 1, .records = bytes_of(&last) },
    };
    struct manifest with = *sample_manifest();
    with.flight_count = 2;
    with.flights = flights;
    buffer_clear(&frame);
    ck_assert(manifest_encode(&with, &frame, &name));
    buffer_deinit(&records);
    buffer_deinit(&last);
}

static void assert_flown(const struct manifest_flight *flight, size_t first)
{
    struct reader in;
    struct weir_record record;
    bool no_memory;
    reader_init(&in, flight->records.data, flight->records.size);
    for (size_t i = first; i < FLOWN; i++) {
        ck_assert(wire_take(&in, &arena, &record, &no_memory));
        ck_assert(weir_bytes_equal(record.key, flown[i].key) && weir_bytes_equal(record.value, flown[i].value));
        ck_assert(record.time_ms == flown[i].time_ms && record.time_type == flown[i].time_type);
        ck_assert_uint_eq(record.key_hash, flown[i].key_hash);
        const size_t headers = flown[i].headers == NULL ? 0 : flown[i].headers->count;
        ck_assert_uint_eq(record.headers == NULL ? 0 : record.headers->count, headers);
        for (size_t h = 0; h < headers; h++) {
            ck_assert_str_eq(record.headers->items[h].name, flown_headers[h].name);
            ck_assert(weir_bytes_equal(record.headers->items[h].value, flown_headers[h].value));
        }
    }
    ck_assert(!wire_take(&in, &arena, &record, &no_memory) && !in.failed);
    ck_assert_uint_eq(flight->record_count, FLOWN - first);
}

START_TEST(reads_the_first_frame_with_flights)
{
    struct weir_error error;
    struct manifest manifest;
    struct buffer today;
    encode_flights();
    const struct weir_frame_name written = name;
    buffer_init(&today);
    buffer_put(&today, frame.data, frame.size);
    golden_read("frame-2.hex", &frame);
    ck_assert(weir_bytes_equal(bytes_of(&today), bytes_of(&frame))); /* it is what is written today */
    ck_assert_int_eq(frame_verify(bytes_of(&frame), &written, &error), WEIR_OK);
    ck_assert_int_eq(manifest_decode(bytes_of(&frame), &written, &arena, &manifest, &error), WEIR_OK);
    sample_assert_equal(sample_manifest(), &manifest);
    ck_assert_uint_eq(manifest.flight_count, 2);
    ck_assert_str_eq(manifest.flights[0].operator_name, "count");
    ck_assert_uint_eq(manifest.flights[0].port, 1);
    ck_assert_uint_eq(manifest.flights[0].subtask, 3);
    assert_flown(&manifest.flights[0], 0);
    ck_assert_str_eq(manifest.flights[1].operator_name, "print");
    ck_assert_uint_eq(manifest.flights[1].port, 0);
    assert_flown(&manifest.flights[1], FLOWN - 1);
    buffer_deinit(&today);
}
END_TEST

START_TEST(reads_the_frame_of_the_first_version)
{
    struct weir_error error;
    struct manifest manifest;
    const struct weir_frame_name written = name;
    golden_read("frame-1.hex", &frame);
    ck_assert_int_eq(frame_verify(bytes_of(&frame), &written, &error), WEIR_OK);
    ck_assert_int_eq(manifest_decode(bytes_of(&frame), &written, &arena, &manifest, &error), WEIR_OK);
    sample_assert_equal(sample_manifest(), &manifest);
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_add_test(tests, a_frame_holds_its_manifest);
    tcase_add_test(tests, flights_belong_to_a_format_of_their_own);
    tcase_add_test(tests, a_frame_fills_whole_pages);
    tcase_add_test(tests, a_complete_job_says_so);
    tcase_add_test(tests, a_part_says_so);
    tcase_add_test(tests, finds_every_truncation);
    tcase_add_test(tests, finds_every_flipped_bit);
    tcase_add_test(tests, finds_zeroes);
    tcase_add_test(tests, says_which_frame_lies_there_instead);
    tcase_add_test(tests, finds_a_frame_of_the_same_epoch);
    tcase_add_test(tests, refuses_a_newer_format);
    tcase_add_test(tests, refuses_lengths_that_no_frame_has);
    tcase_add_test(tests, decoding_survives_any_bytes);
    tcase_add_test(tests, the_redo_epoch_is_the_smallest_of_the_operators);
    tcase_add_test(tests, finds_sources_and_operators_by_name);
    tcase_add_test(tests, the_states_that_a_base_begins_with_are_read_back_whole);
    tcase_add_test(tests, failing_allocations_are_errors);
    tcase_add_test(tests, reads_the_frame_of_the_first_version);
    tcase_add_test(tests, reads_the_first_frame_with_flights);
}

int main(void)
{
    return unit_main("manifest", add);
}
