/* Bases: store_base.c. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "checkpoint/store.h"
#include "harness/faulty_disk.h"
#include "harness/unit.h"

static uint64_t seed;
static struct faulty_disk *disk;
static struct weir_environment environment;
static struct weir_error error;
static struct store *store;

static void open_store(uint64_t incarnation)
{
    const struct store_options options = {
        .directory = "/ck", .job = "job", .slot = "0", .create = true, .segment_bytes = 16384,
        .disk = faulty_disk_table(disk), .environment = &environment,
    };
    ck_assert_msg(store_open(&options, &store, &error) == WEIR_OK, "%s", error.text);
    if (incarnation > 0) ck_assert_msg(store_begin(store, incarnation, &error) == WEIR_OK, "%s", error.text);
}

static void set_up(void)
{
    disk = faulty_disk_create(seed);
    environment_init_system(&environment);
    open_store(1);
}

static void tear_down(void)
{
    store_close(store);
    faulty_disk_destroy(disk);
}

/* Chunk i of a test base: size and bytes follow from i and `salt`. */
static size_t chunk_of(uint32_t i, uint32_t salt, char chunk[2000])
{
    const size_t size = 1 + (i * 397) % 1999;
    memset(chunk, (int)('a' + (i + salt) % 26), size);
    return size;
}

static enum weir_code write_chunks(struct store_base *base, uint32_t chunk_count, uint32_t salt)
{
    char chunk[2000];
    enum weir_code code = WEIR_OK;
    for (uint32_t i = 0; code == WEIR_OK && i < chunk_count; i++) {
        const size_t size = chunk_of(i, salt, chunk);
        code = store_base_append(base, (struct weir_bytes){ chunk, size }, &error);
    }
    return code;
}

static char name[STORE_FILE_MAX];

/* A base as a manifest names it. */
static struct manifest_base write_base(uint32_t chunk_count, uint32_t salt)
{
    struct store_base *base;
    struct store_base_result done;
    ck_assert_int_eq(store_base_create(store, &base, &error), WEIR_OK);
    ck_assert_int_eq(write_chunks(base, chunk_count, salt), WEIR_OK);
    ck_assert_msg(store_base_finish(base, &done, &error) == WEIR_OK, "%s", error.text);
    memcpy(name, done.name, sizeof name);
    return (struct manifest_base){
        .store = STORE_KIND_FILE, .name = name, .length = done.length, .hash = done.hash,
        .incarnation = done.incarnation,
    };
}

static const char *path_of(const char *file)
{
    static char path[128];
    (void)snprintf(path, sizeof path, "/ck/job/%s", file);
    return path;
}

struct reading {
    uint32_t count;
    uint32_t salt;
    uint32_t fail_at;
};

/* What is handed out is always the chunk that was written in this place. */
static enum weir_code check_chunk(void *user, struct weir_bytes chunk, struct weir_error *sentence)
{
    struct reading *reading = user;
    char expected[2000];
    if (reading->count == reading->fail_at)
        return weir_error_set(sentence, WEIR_FAILED, WEIR_REMEDY_STOP, "the reader does not like it");
    const size_t size = chunk_of(reading->count++, reading->salt, expected);
    ck_assert(weir_bytes_equal(chunk, (struct weir_bytes){ expected, size }));
    return WEIR_OK;
}

static enum weir_code read_base(const struct manifest_base *base, struct reading *reading)
{
    *reading = (struct reading){ .fail_at = UINT32_MAX };
    return store_read_base(store, base, check_chunk, reading, &error);
}

START_TEST(a_base_survives_a_power_cut)
{
    const struct manifest_base base = write_base(300, 0);
    ck_assert_uint_eq(base.incarnation, 1);
    store_close(store);
    faulty_disk_cut_power(disk);
    open_store(0);
    struct reading reading;
    ck_assert_msg(read_base(&base, &reading) == WEIR_OK, "%s", error.text);
    ck_assert_uint_eq(reading.count, 300);
    ck_assert_int_eq(store_check_base(store, &base, &error), WEIR_OK);
}
END_TEST

START_TEST(an_empty_base_is_a_base)
{
    const struct manifest_base base = write_base(0, 0);
    struct reading reading;
    ck_assert_int_eq(read_base(&base, &reading), WEIR_OK);
    ck_assert_uint_eq(reading.count, 0);
}
END_TEST

START_TEST(several_bases_are_written_side_by_side)
{
    struct store_base *first, *second;
    struct store_base_result first_done, second_done;
    ck_assert_int_eq(store_base_create(store, &first, &error), WEIR_OK);
    ck_assert_int_eq(store_base_create(store, &second, &error), WEIR_OK);
    ck_assert_int_eq(write_chunks(second, 3, 1), WEIR_OK);
    ck_assert_int_eq(write_chunks(first, 5, 0), WEIR_OK);
    ck_assert_int_eq(store_base_finish(second, &second_done, &error), WEIR_OK);
    ck_assert_int_eq(store_base_finish(first, &first_done, &error), WEIR_OK);
    ck_assert_str_eq(first_done.name, "base-1-1");
    ck_assert_str_eq(second_done.name, "base-1-2");
}
END_TEST

START_TEST(an_abandoned_base_is_gone)
{
    struct store_base *base;
    ck_assert_int_eq(store_base_create(store, &base, &error), WEIR_OK);
    ck_assert_int_eq(write_chunks(base, 3, 0), WEIR_OK);
    store_base_abandon(base);
    store_base_abandon(NULL);
    ck_assert(!faulty_disk_has(disk, path_of("base-1-1")));
}
END_TEST

START_TEST(a_reader_may_refuse)
{
    const struct manifest_base base = write_base(10, 0);
    struct reading reading = { .fail_at = 4 };
    ck_assert_int_eq(store_read_base(store, &base, check_chunk, &reading, &error), WEIR_FAILED);
    ck_assert_str_eq(error.text, "the reader does not like it");
    ck_assert_uint_eq(reading.count, 4);
}
END_TEST

static void assert_damaged(const struct manifest_base *base)
{
    struct reading reading;
    ck_assert_int_eq(read_base(base, &reading), WEIR_DAMAGED);
    ck_assert_int_eq(error.remedy, WEIR_REMEDY_STOP);
    ck_assert_ptr_nonnull(strstr(error.text, base->name));
}

START_TEST(finds_every_truncation)
{
    const struct manifest_base base = write_base(6, 0);
    for (uint64_t size = base.length; size-- > 0;) {
        faulty_disk_truncate(disk, path_of(base.name), size);
        assert_damaged(&base);
        ck_assert_int_eq(store_check_base(store, &base, &error), WEIR_DAMAGED);
    }
}
END_TEST

START_TEST(finds_bit_flips_before_anything_wrong_is_handed_out)
{
    const struct manifest_base base = write_base(10, 0);
    uint64_t random = seed;
    for (int i = 0; i < 3000; i++) {
        const uint64_t bit = i < 1000 ? (uint64_t)i : unit_random(&random) % (base.length * 8);
        faulty_disk_flip(disk, path_of(base.name), bit);
        assert_damaged(&base);
        faulty_disk_flip(disk, path_of(base.name), bit);
    }
    struct reading reading;
    ck_assert_int_eq(read_base(&base, &reading), WEIR_OK);
}
END_TEST

START_TEST(finds_a_missing_base)
{
    const struct manifest_base base = write_base(3, 0);
    ck_assert_int_eq(faulty_disk_table(disk)->remove(disk, path_of(base.name)), 0);
    assert_damaged(&base);
    ck_assert_ptr_nonnull(strstr(error.text, "is missing"));
}
END_TEST

START_TEST(finds_another_base_of_the_same_length_in_its_place)
{
    const struct manifest_base old = write_base(6, 1);
    char old_name[STORE_FILE_MAX];
    memcpy(old_name, old.name, sizeof old_name);
    const struct manifest_base base = write_base(6, 0);
    ck_assert_uint_eq(old.length, base.length);
    char source[128];
    (void)snprintf(source, sizeof source, "%s", path_of(old_name));
    faulty_disk_copy(disk, source, path_of(base.name));
    assert_damaged(&base);
    ck_assert_ptr_nonnull(strstr(error.text, "another base lies there"));
}
END_TEST

START_TEST(finds_chunks_of_another_base_under_its_own_header)
{
    const struct manifest_base old = write_base(6, 1);
    char old_path[128];
    (void)snprintf(old_path, sizeof old_path, "%s", path_of(old.name));
    const struct manifest_base base = write_base(6, 0);
    const struct disk *table = faulty_disk_table(disk);
    char *bytes = malloc(old.length);
    int file = table->open(disk, old_path, DISK_READ);
    ck_assert_int_eq(disk_read_all(table, file, bytes, old.length - 32, 32), 0);
    table->close(disk, file);
    file = table->open(disk, path_of(base.name), DISK_UPDATE);
    ck_assert_int_eq(disk_write_all(table, file, bytes, old.length - 32, 32), 0);
    table->close(disk, file);
    free(bytes);
    struct reading reading;
    ck_assert_int_eq(read_base(&base, &reading), WEIR_DAMAGED);
    ck_assert_uint_eq(reading.count, 0);
}
END_TEST

/* A copy of the directory goes on for itself and writes the same name: only the hash of the whole tells the two
 * apart. */
START_TEST(finds_a_base_of_the_same_name_from_a_copy_of_the_store)
{
    const struct manifest_base base = write_base(6, 0);
    store_close(store);
    faulty_disk_destroy(disk);
    disk = faulty_disk_create(seed);
    open_store(1);
    (void)write_base(6, 1);
    struct reading reading = { .salt = 1, .fail_at = UINT32_MAX };
    ck_assert_int_eq(store_read_base(store, &base, check_chunk, &reading, &error), WEIR_DAMAGED);
    ck_assert_ptr_nonnull(strstr(error.text, "the hash of the file"));
}
END_TEST

START_TEST(refuses_names_that_are_no_bases)
{
    static const char *const names[] = { "log-1-1", "../job/base-1-1", "store", "" };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const struct manifest_base base = { .store = STORE_KIND_FILE, .name = names[i] };
        ck_assert_int_eq(store_check_base(store, &base, &error), WEIR_DAMAGED);
    }
    const struct manifest_base elsewhere = { .store = "s3", .name = "base-1-1" };
    ck_assert_int_eq(store_check_base(store, &elsewhere, &error), WEIR_DAMAGED);
}
END_TEST

/* The n-th call fails, for rising n: an error, and nothing stays behind once the base was abandoned. */
START_TEST(the_nth_failing_call_is_an_error)
{
    uint64_t n = 0;
    do {
        struct store_base *base;
        struct store_base_result done;
        n++;
        faulty_disk_fail(disk, FAULTY_ALL & ~(unsigned)FAULTY_REMOVE, n, n % 2 == 0 ? ENOSPC : EIO, false);
        enum weir_code code = store_base_create(store, &base, &error);
        if (code == WEIR_OK) code = write_chunks(base, 20, 0);
        if (code == WEIR_OK) code = store_base_finish(base, &done, &error);
        if (!faulty_disk_has_failed(disk)) break;
        ck_assert_int_eq(code, WEIR_ENVIRONMENT);
        ck_assert_int_eq(error.remedy, WEIR_REMEDY_RETRY);
        store_base_abandon(base);
        char left[STORE_FILE_MAX];
        (void)snprintf(left, sizeof left, "base-1-%" PRIu64, n);
        ck_assert(!faulty_disk_has(disk, path_of(left)));
    } while (true);
    ck_assert_uint_gt(n, 20);
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_add_test(tests, a_base_survives_a_power_cut);
    tcase_add_test(tests, an_empty_base_is_a_base);
    tcase_add_test(tests, several_bases_are_written_side_by_side);
    tcase_add_test(tests, an_abandoned_base_is_gone);
    tcase_add_test(tests, a_reader_may_refuse);
    tcase_add_test(tests, finds_every_truncation);
    tcase_add_test(tests, finds_bit_flips_before_anything_wrong_is_handed_out);
    tcase_add_test(tests, finds_a_missing_base);
    tcase_add_test(tests, finds_another_base_of_the_same_length_in_its_place);
    tcase_add_test(tests, finds_chunks_of_another_base_under_its_own_header);
    tcase_add_test(tests, finds_a_base_of_the_same_name_from_a_copy_of_the_store);
    tcase_add_test(tests, refuses_names_that_are_no_bases);
    tcase_add_test(tests, the_nth_failing_call_is_an_error);
}

int main(void)
{
    seed = unit_seed();
    return unit_main("base", add);
}
