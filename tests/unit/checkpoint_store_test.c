#include "checkpoint/store.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "harness/faulty_disk.h"
#include "harness/sample_manifest.h"
#include "harness/unit.h"
#include "sim/disk_model.h"

#define SEGMENT (64u << 10)
#define WHOLE_SEGMENT (SEGMENT - 1000) /* a delta whose frame fills one */

static uint64_t seed;
static struct faulty_disk *disk;
static struct weir_environment environment;
static struct weir_error error;
static struct buffer frame;

static void set_up(void)
{
    disk = faulty_disk_create(seed);
    environment_init_system(&environment);
    buffer_init(&frame);
}

static void tear_down(void)
{
    buffer_deinit(&frame);
    faulty_disk_destroy(disk);
}

static struct store_options options_of(const char *job)
{
    return (struct store_options){
        .directory = "/ck", .job = job, .slot = "0", .create = true, .segment_bytes = SEGMENT,
        .disk = faulty_disk_table(disk), .environment = &environment,
    };
}

static struct store *open_store(void)
{
    struct store *store;
    const struct store_options options = options_of("job");
    ck_assert_msg(store_open(&options, &store, &error) == WEIR_OK, "%s", error.text);
    return store;
}

static struct store *begin_store(uint64_t incarnation)
{
    struct store *store = open_store();
    ck_assert_msg(store_begin(store, incarnation, &error) == WEIR_OK, "%s", error.text);
    return store;
}

/* Encodes a frame of about `size` bytes; its place is not reserved yet. */
static struct weir_frame_name encode(uint64_t incarnation, uint64_t epoch, const struct weir_frame_name *parent,
                                     size_t size, bool is_part)
{
    char *delta = malloc(size + 1);
    for (size_t i = 0; i < size; i++) delta[i] = (char)(epoch + i);
    const struct weir_frame_name name =
        sample_frame(&frame, incarnation, epoch, parent, is_part, (struct weir_bytes){ delta, size });
    free(delta);
    return name;
}

static enum weir_code append(struct store *store, const struct weir_frame_name *name)
{
    return store_append(store, name, (struct weir_bytes){ frame.data, frame.size }, &error);
}

/* A frame that is encoded, placed and durable. */
static struct weir_frame_name commit(struct store *store, uint64_t incarnation, uint64_t epoch,
                                     const struct weir_frame_name *parent, size_t size)
{
    struct weir_frame_name name = encode(incarnation, epoch, parent, size, false);
    store_reserve(store, &name);
    ck_assert_msg(append(store, &name) == WEIR_OK, "%s", error.text);
    return name;
}

static void assert_reads(struct store *store, const struct weir_frame_name *name)
{
    ck_assert_msg(store_read_frame(store, name, &frame, &error) == WEIR_OK, "%s", error.text);
}

static void assert_damaged(struct store *store, const struct weir_frame_name *name, const char *named)
{
    ck_assert_int_eq(store_read_frame(store, name, &frame, &error), WEIR_DAMAGED);
    ck_assert_int_eq(error.remedy, WEIR_REMEDY_STOP);
    ck_assert_msg(strstr(error.text, named) != NULL, "'%s' does not name %s", error.text, named);
    ck_assert_msg(strstr(error.text, "/ck/job") != NULL, "'%s' does not name the directory", error.text);
}

static const char *path_of(const char *file)
{
    static char path[128];
    (void)snprintf(path, sizeof path, "/ck/job/%s", file);
    return path;
}

static void finish_preparing(struct store *store)
{
    while (store_prepare(store)) continue;
}

/* ---- Identity ---------------------------------------------------------------------------------------------------- */

START_TEST(a_store_keeps_its_id)
{
    for (uint64_t round = 0; round < 30; round++) {
        faulty_disk_destroy(disk);
        disk = faulty_disk_create(seed + round);
        struct store *store = open_store();
        char id[STORE_ID_MAX];
        (void)snprintf(id, sizeof id, "%s", store_id(store));
        ck_assert_uint_eq(strlen(id), 32);
        ck_assert(store_is_empty(store));
        ck_assert_str_eq(store_path(store), "/ck/job");
        store_close(store);
        faulty_disk_cut_power(disk);
        store = open_store();
        ck_assert_str_eq(store_id(store), id);
        store_close(store);
    }
}
END_TEST

static int (*rename_after_race)(void *user, const char *source, const char *target, bool replace);

/* Another start makes the store just now, and a third one sweeps up what the first two have left. */
static int rename_too_late(void *user, const char *source, const char *target, bool replace)
{
    if (strcmp(target, "/ck/job/store") != 0) return rename_after_race(user, source, target, replace);
    store_close(open_store());
    store_close(open_store());
    return rename_after_race(user, source, target, replace);
}

START_TEST(of_starts_that_make_the_store_at_once_all_open_the_same)
{
    struct store_options options = options_of("job");
    struct disk late = *options.disk;
    struct store *store, *other;
    rename_after_race = late.rename;
    late.rename = rename_too_late;
    options.disk = &late;
    ck_assert_msg(store_open(&options, &store, &error) == WEIR_OK, "%s", error.text);
    other = open_store();
    ck_assert_str_eq(store_id(store), store_id(other));
    store_close(store);
    store_close(other);
}
END_TEST

START_TEST(two_stores_have_different_ids)
{
    struct store *first = open_store(), *second;
    const struct store_options options = options_of("other");
    ck_assert_int_eq(store_open(&options, &second, &error), WEIR_OK);
    ck_assert_str_ne(store_id(first), store_id(second));
    store_close(first);
    store_close(second);
}
END_TEST

START_TEST(refuses_the_store_of_another_job)
{
    store_close(open_store());
    faulty_disk_copy(disk, "/ck/job/store", "/ck/other/store");
    struct store *store;
    const struct store_options options = options_of("other");
    ck_assert_int_eq(store_open(&options, &store, &error), WEIR_FOREIGN);
    ck_assert_ptr_null(store);
    ck_assert_ptr_nonnull(strstr(error.text, "belongs to job 'job'"));
}
END_TEST

START_TEST(refuses_names_that_are_no_job_names)
{
    static const char *const names[] = { "", ".", "..", "a/b", "a b",
        "0123456789012345678901234567890123456789012345678901234567890123456789" };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        struct store *store;
        const struct store_options options = options_of(names[i]);
        ck_assert_int_eq(store_open(&options, &store, &error), WEIR_USAGE);
    }
}
END_TEST

START_TEST(opens_nothing_that_is_not_there_unless_told_to_create)
{
    struct store *store;
    struct store_options options = options_of("job");
    options.create = false;
    ck_assert_int_eq(store_open(&options, &store, &error), WEIR_ENVIRONMENT);
    ck_assert_int_eq(error.remedy, WEIR_REMEDY_STOP);
}
END_TEST

START_TEST(finds_a_damaged_id)
{
    store_close(open_store());
    const uint64_t size = faulty_disk_size(disk, "/ck/job/store");
    for (uint64_t bit = 0; bit < size * 8; bit++) {
        struct store *store;
        const struct store_options options = options_of("job");
        faulty_disk_flip(disk, "/ck/job/store", bit);
        ck_assert_int_eq(store_open(&options, &store, &error), WEIR_DAMAGED);
        faulty_disk_flip(disk, "/ck/job/store", bit);
    }
    store_close(open_store());
}
END_TEST

START_TEST(a_store_that_lost_its_id_is_damaged_and_not_new)
{
    struct store *store = begin_store(1);
    store_close(store);
    ck_assert_int_eq(faulty_disk_table(disk)->remove(disk, "/ck/job/store"), 0);
    const struct store_options options = options_of("job");
    ck_assert_int_eq(store_open(&options, &store, &error), WEIR_DAMAGED);
}
END_TEST

START_TEST(knows_the_highest_incarnation)
{
    struct store *store = begin_store(5);
    ck_assert_uint_eq(store_incarnation_max(store), 0);
    store_close(store);
    store = open_store();
    ck_assert_uint_eq(store_incarnation_max(store), 5);
    ck_assert(!store_is_empty(store));
    store_close(store);
}
END_TEST

START_TEST(an_incarnation_is_begun_once)
{
    struct store *first = open_store(), *second = open_store();
    ck_assert_int_eq(store_begin(first, 3, &error), WEIR_OK);
    ck_assert_int_eq(store_begin(second, 3, &error), WEIR_FENCED);
    ck_assert_int_eq(error.remedy, WEIR_REMEDY_RETRY);
    ck_assert_uint_eq(store_incarnation_max(second), 3);
    ck_assert_int_eq(store_begin(second, 4, &error), WEIR_OK);
    ck_assert_int_eq(store_begin(first, 6, &error), WEIR_OK);
    store_close(first);
    store_close(second);
}
END_TEST

/* The first segment may be gone already when a slow second process comes. */
START_TEST(an_incarnation_is_begun_once_even_when_its_first_segment_is_gone)
{
    struct store *slow = open_store(), *owner = begin_store(3);
    const struct weir_frame_name first = commit(owner, 3, 1, NULL, WHOLE_SEGMENT);
    (void)commit(owner, 3, 2, &first, WHOLE_SEGMENT);
    ck_assert_int_eq(faulty_disk_table(disk)->remove(disk, path_of("log-3-1")), 0);
    ck_assert_int_eq(store_begin(slow, 3, &error), WEIR_FENCED);
    ck_assert_uint_eq(store_incarnation_max(slow), 3);
    ck_assert(!faulty_disk_has(disk, path_of("log-3-1")));
    store_close(slow);
    store_close(owner);
}
END_TEST

START_TEST(parses_names_of_files)
{
    struct store_file file;
    ck_assert(store_file_parse("log-7-12", &file));
    ck_assert(file.kind == STORE_FILE_LOG && file.incarnation == 7 && file.number == 12);
    ck_assert(store_file_parse("base-18446744073709551615-1", &file));
    ck_assert(file.kind == STORE_FILE_BASE && file.incarnation == UINT64_MAX && file.number == 1);
    static const char *const others[] = { "store", "pointer-3", "log-7", "log-7-", "log--7-1", "log-07-1", "log-7-1x",
                                          "log-7-+1", "../log-7-1", "log-18446744073709551616-1", "" };
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) ck_assert(!store_file_parse(others[i], &file));
}
END_TEST

/* ---- Appending and reading --------------------------------------------------------------------------------------- */

START_TEST(what_was_appended_survives_a_power_cut)
{
    struct store *store = begin_store(1);
    struct weir_frame_name names[40];
    for (uint64_t i = 0; i < 40; i++) {
        names[i] = commit(store, 1, i + 1, i == 0 ? NULL : &names[i - 1], 100 + i * 400);
        if (i % 3 == 0) (void)store_prepare(store);
    }
    store_close(store);
    faulty_disk_cut_power(disk);
    store = open_store();
    for (size_t i = 0; i < 40; i++) assert_reads(store, &names[i]);
    ck_assert_str_ne(names[0].file, names[39].file);
    store_close(store);
}
END_TEST

START_TEST(a_place_is_named_before_it_is_written)
{
    struct store *store = begin_store(1);
    struct weir_frame_name name = encode(1, 1, NULL, 10, false);
    store_reserve(store, &name);
    ck_assert_str_eq(name.file, "log-1-1");
    ck_assert_uint_eq(name.offset, 0);
    assert_damaged(store, &name, "log-1-1"); /* zeroes so far */
    name = encode(1, 1, NULL, 10, false);
    (void)snprintf(name.file, sizeof name.file, "log-1-1");
    ck_assert_int_eq(append(store, &name), WEIR_OK);
    assert_reads(store, &name);
    store_close(store);
}
END_TEST

START_TEST(a_frame_larger_than_a_segment_gets_its_own)
{
    struct store *store = begin_store(1);
    const struct weir_frame_name small = commit(store, 1, 1, NULL, 10);
    const struct weir_frame_name large = commit(store, 1, 2, &small, 3 * SEGMENT);
    const struct weir_frame_name after = commit(store, 1, 3, &large, 10);
    ck_assert_str_eq(small.file, "log-1-1");
    ck_assert_str_eq(large.file, "log-1-2");
    ck_assert_uint_eq(large.offset, 0);
    ck_assert_str_eq(after.file, "log-1-3");
    assert_reads(store, &large);
    assert_reads(store, &after);
    store_close(store);
}
END_TEST

START_TEST(the_next_segment_is_ready_before_it_is_needed)
{
    struct store *store = begin_store(1);
    struct weir_frame_name name = commit(store, 1, 1, NULL, 10);
    finish_preparing(store);
    ck_assert(faulty_disk_has(disk, path_of("log-1-2")));
    ck_assert_uint_eq(faulty_disk_size(disk, path_of("log-1-2")), SEGMENT);
    const uint64_t creates = faulty_disk_calls(disk, FAULTY_CREATE | FAULTY_SYNC_DIRECTORY | FAULTY_RENAME);
    name = encode(1, 2, &name, WHOLE_SEGMENT, false);
    store_reserve(store, &name);
    ck_assert_int_eq(append(store, &name), WEIR_OK);
    ck_assert_str_eq(name.file, "log-1-2");
    ck_assert_uint_eq(faulty_disk_calls(disk, FAULTY_CREATE | FAULTY_SYNC_DIRECTORY | FAULTY_RENAME), creates);
    store_close(store);
}
END_TEST

START_TEST(one_append_is_one_write_and_one_sync)
{
    struct store *store = begin_store(1);
    const struct weir_frame_name first = commit(store, 1, 1, NULL, 10);
    const uint64_t writes = faulty_disk_calls(disk, FAULTY_WRITE), syncs = faulty_disk_calls(disk, FAULTY_SYNC);
    (void)commit(store, 1, 2, &first, 10);
    ck_assert_uint_eq(faulty_disk_calls(disk, FAULTY_WRITE), writes + 1);
    ck_assert_uint_eq(faulty_disk_calls(disk, FAULTY_SYNC), syncs + 1);
    store_close(store);
}
END_TEST

START_TEST(retired_segments_are_used_again)
{
    struct store *store = begin_store(1);
    struct weir_frame_name name = commit(store, 1, 1, NULL, WHOLE_SEGMENT);
    const struct weir_frame_name old = name;
    name = commit(store, 1, 2, &name, WHOLE_SEGMENT);
    ck_assert_int_eq(store_delete(store, "log-1-1", &error), WEIR_OK);
    ck_assert_int_eq(store_delete(store, "log-1-1", &error), WEIR_OK);
    const uint64_t creates = faulty_disk_calls(disk, FAULTY_CREATE);
    finish_preparing(store);
    ck_assert(!faulty_disk_has(disk, path_of("log-1-1")));
    ck_assert(faulty_disk_has(disk, path_of("log-1-3")));
    name = commit(store, 1, 3, &name, 100);
    ck_assert_str_eq(name.file, "log-1-3");
    ck_assert_uint_eq(faulty_disk_calls(disk, FAULTY_CREATE), creates);
    assert_reads(store, &name);

    /* What lay in it before is not taken for anything else. */
    struct weir_frame_name ghost = old;
    memcpy(ghost.file, name.file, sizeof ghost.file);
    assert_damaged(store, &ghost, "log-1-3");
    store_close(store);
}
END_TEST

START_TEST(a_segment_used_again_keeps_its_new_name)
{
    for (uint64_t round = 0; round < 60; round++) {
        faulty_disk_destroy(disk);
        disk = faulty_disk_create(seed + round);
        struct store *store = begin_store(1);
        struct weir_frame_name name = commit(store, 1, 1, NULL, WHOLE_SEGMENT);
        name = commit(store, 1, 2, &name, WHOLE_SEGMENT);
        ck_assert_int_eq(store_delete(store, "log-1-1", &error), WEIR_OK);
        if (round % 2 == 0) finish_preparing(store);
        else (void)store_prepare(store);
        if (round % 3 == 0) { /* the place asked for is not the one made ready */
            name = encode(1, 3, &name, 10, false);
            store_reserve_elsewhere(store, &name);
            store_reserve_elsewhere(store, &name);
        }
        name = commit(store, 1, 4, &name, 10);
        name = commit(store, 1, 5, &name, 10);
        store_close(store);
        faulty_disk_cut_power(disk);
        store = open_store();
        assert_reads(store, &name);
        store_close(store);
    }
}
END_TEST

START_TEST(files_of_others_are_removed_and_not_used_again)
{
    struct store *store = begin_store(1);
    (void)commit(store, 1, 1, NULL, 10);
    store_close(store);
    store = begin_store(2);
    ck_assert_int_eq(store_delete(store, "log-1-1", &error), WEIR_OK);
    ck_assert_int_eq(store_delete(store, "base-1-4", &error), WEIR_OK); /* gone already */
    ck_assert(!faulty_disk_has(disk, path_of("log-1-1")));
    store_close(store);
}
END_TEST

static void assert_history(struct store *store, uint64_t frame_count, uint64_t epoch_max)
{
    uint64_t frames, epoch;
    store_history(store, &frames, &epoch);
    ck_assert_uint_eq(frames, frame_count);
    ck_assert_uint_eq(epoch, epoch_max);
}

START_TEST(knows_whether_anything_but_a_founding_was_ever_appended)
{
    struct store *store = begin_store(1);
    assert_history(store, 0, 0);
    const struct weir_frame_name first = commit(store, 1, 0, NULL, 10);
    assert_history(store, 1, 0);
    store_close(store);
    store = begin_store(2);
    (void)commit(store, 2, 0, NULL, 2 * SEGMENT);
    assert_history(store, 2, 0);
    (void)commit(store, 2, 9, &first, 10);
    store_close(store);
    store = open_store();
    uint64_t frames, epoch;
    store_history(store, &frames, &epoch);
    ck_assert_uint_eq(epoch, 9);
    store_close(store);
}
END_TEST

START_TEST(what_cannot_be_read_counts_as_history)
{
    static const unsigned calls[] = { FAULTY_LIST, FAULTY_OPEN, FAULTY_READ };
    struct store *store = begin_store(1);
    for (size_t i = 0; i < sizeof calls / sizeof calls[0]; i++) {
        faulty_disk_fail(disk, calls[i], 1, EIO, false);
        assert_history(store, 1, 1);
    }
    assert_history(store, 0, 0);
    store_close(store);
}
END_TEST

/* ---- Damage (F15) ------------------------------------------------------------------------------------------------ */

START_TEST(finds_a_frame_cut_off_anywhere)
{
    struct store *store = begin_store(1);
    const struct weir_frame_name first = commit(store, 1, 1, NULL, 10), name = commit(store, 1, 2, &first, 5000);
    for (uint64_t size = name.offset + name.length; size-- > 0;) {
        faulty_disk_truncate(disk, path_of(name.file), size);
        assert_damaged(store, &name, "log-1-1");
    }
    store_close(store);
}
END_TEST

START_TEST(finds_single_bit_flips)
{
    struct store *store = begin_store(1);
    const struct weir_frame_name first = commit(store, 1, 1, NULL, 10), name = commit(store, 1, 2, &first, 5000);
    uint64_t random = seed;
    for (int i = 0; i < 500; i++) {
        const uint64_t bit = name.offset * 8 + unit_random(&random) % (name.length * 8);
        faulty_disk_flip(disk, path_of(name.file), bit);
        assert_damaged(store, &name, "log-1-1");
        faulty_disk_flip(disk, path_of(name.file), bit);
    }
    assert_reads(store, &name);
    store_close(store);
}
END_TEST

START_TEST(finds_zeroes_in_place_of_any_sector)
{
    struct store *store = begin_store(1);
    const struct weir_frame_name name = commit(store, 1, 1, NULL, 3 * 4096);
    faulty_disk_copy(disk, path_of(name.file), "/copy");
    /* The padding behind the deltas is zero anyway, up to the last sector, which holds the hash. */
    for (uint64_t offset = 0; offset < 3 * 4096; offset += FAULTY_DISK_SECTOR) {
        faulty_disk_zero(disk, path_of(name.file), offset, FAULTY_DISK_SECTOR);
        assert_damaged(store, &name, "log-1-1");
        faulty_disk_copy(disk, "/copy", path_of(name.file));
    }
    store_close(store);
}
END_TEST

START_TEST(finds_a_missing_file)
{
    struct store *store = begin_store(1);
    const struct weir_frame_name name = commit(store, 1, 1, NULL, 10);
    ck_assert_int_eq(faulty_disk_table(disk)->remove(disk, path_of(name.file)), 0);
    assert_damaged(store, &name, "log-1-1 is missing");
    store_close(store);
}
END_TEST

START_TEST(finds_an_older_file_in_its_place)
{
    struct store *store = begin_store(1);
    const struct weir_frame_name old = commit(store, 1, 1, NULL, 100);
    faulty_disk_copy(disk, path_of(old.file), "/old");
    store_close(store);
    store = begin_store(2);
    const struct weir_frame_name name = commit(store, 2, 2, &old, 100);
    ck_assert_uint_eq(name.length, old.length);
    ck_assert_uint_eq(name.offset, old.offset);
    faulty_disk_copy(disk, "/old", path_of(name.file));
    assert_damaged(store, &name, "another frame lies there, checkpoint 1 of incarnation 1");
    store_close(store);
}
END_TEST

START_TEST(refuses_paths_in_place_of_names)
{
    struct store *store = begin_store(1);
    static const char *const files[] = { "../job/log-1-1", "/etc/passwd", "store", "base-1-1", "" };
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        struct weir_frame_name name = { .incarnation = 1, .epoch = 1, .length = 4096 };
        (void)snprintf(name.file, sizeof name.file, "%s", files[i]);
        ck_assert_int_eq(store_read_frame(store, &name, &frame, &error), WEIR_DAMAGED);
    }
    store_close(store);
}
END_TEST

/* ---- Chains ------------------------------------------------------------------------------------------------------ */

START_TEST(a_chain_follows_parents_over_aborted_frames_and_incarnations)
{
    struct store *store = begin_store(1);
    struct weir_frame_name chain[6];
    chain[0] = commit(store, 1, 0, NULL, 10);
    chain[1] = commit(store, 1, 1, &chain[0], 10);
    (void)commit(store, 1, 2, &chain[1], 10); /* aborted */
    chain[2] = commit(store, 1, 3, &chain[1], SEGMENT);
    store_close(store);
    store = begin_store(4);
    chain[3] = encode(4, 4, &chain[2], 10, true); /* an early part of epoch 4 */
    store_reserve(store, &chain[3]);
    ck_assert_int_eq(append(store, &chain[3]), WEIR_OK);
    chain[4] = commit(store, 4, 4, &chain[3], 10);
    chain[5] = commit(store, 4, 5, &chain[4], 10);

    static const struct {
        uint64_t epoch_first;
        size_t first;
    } cases[] = { { 0, 0 }, { 1, 1 }, { 2, 2 }, { 3, 2 }, { 4, 3 }, { 5, 5 }, { 6, 5 }, { 99, 5 } };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct store_chain found;
        ck_assert_msg(store_chain(store, &chain[5], cases[i].epoch_first, &found, &error) == WEIR_OK, "%s", error.text);
        ck_assert_uint_eq(found.frames.count, 6 - cases[i].first);
        for (size_t j = 0; j < found.frames.count; j++)
            ck_assert_mem_eq(&found.frames.items[j], &chain[cases[i].first + j], sizeof chain[0]);
        store_chain_clear(&found);
    }
    store_close(store);
}
END_TEST

START_TEST(a_chain_with_a_damaged_link_is_damaged)
{
    struct store *store = begin_store(1);
    struct weir_frame_name chain[3];
    struct store_chain found;
    chain[0] = commit(store, 1, 1, NULL, 10);
    chain[1] = commit(store, 1, 2, &chain[0], 10);
    chain[2] = commit(store, 1, 3, &chain[1], 10);
    faulty_disk_flip(disk, path_of(chain[1].file), chain[1].offset * 8 + 1000);
    ck_assert_int_eq(store_chain(store, &chain[2], 3, &found, &error), WEIR_OK);
    store_chain_clear(&found);
    ck_assert_int_eq(store_chain(store, &chain[2], 2, &found, &error), WEIR_DAMAGED);
    ck_assert_ptr_nonnull(strstr(error.text, "checkpoint 2 of incarnation 1 is damaged: log-1-1 at offset 4096"));
    store_chain_clear(&found);
    store_close(store);
}
END_TEST

/* ---- A disk that fails (F13, F14) -------------------------------------------------------------------------------- */

START_TEST(after_a_failure_the_frame_goes_elsewhere)
{
    static const unsigned kinds[] = { FAULTY_WRITE, FAULTY_SYNC };
    struct store *store = begin_store(1);
    const struct weir_frame_name first = commit(store, 1, 1, NULL, 10);
    struct weir_frame_name parent = first;
    for (uint64_t i = 0; i < 2; i++) {
        struct weir_frame_name name = encode(1, i + 2, &parent, 5000, false);
        store_reserve(store, &name);
        faulty_disk_fail(disk, kinds[i], 1, EIO, false);
        ck_assert_int_eq(append(store, &name), WEIR_ENVIRONMENT);
        ck_assert_int_eq(error.remedy, WEIR_REMEDY_RETRY);
        ck_assert_ptr_nonnull(strstr(error.text, name.file));
        const struct weir_frame_name failed = name;
        store_reserve_elsewhere(store, &name);
        ck_assert_str_ne(name.file, failed.file);
        ck_assert_uint_eq(name.offset, 0);
        ck_assert_int_eq(append(store, &name), WEIR_OK);
        parent = name;
    }
    store_close(store);
    faulty_disk_cut_power(disk);
    store = open_store();
    assert_reads(store, &first);
    assert_reads(store, &parent);
    store_close(store);
}
END_TEST

START_TEST(a_segment_that_failed_is_never_synced_again)
{
    struct store *store = begin_store(1);
    struct weir_frame_name first = encode(1, 1, NULL, 10, false), second;
    store_reserve(store, &first);
    second = first;
    store_reserve(store, &second); /* reserved behind it before the failure was known */
    faulty_disk_fail(disk, FAULTY_SYNC, 1, EIO, false);
    ck_assert_int_eq(append(store, &first), WEIR_ENVIRONMENT);
    const uint64_t syncs = faulty_disk_calls(disk, FAULTY_SYNC);
    ck_assert_int_eq(append(store, &second), WEIR_ENVIRONMENT);
    finish_preparing(store);
    ck_assert_uint_eq(faulty_disk_calls(disk, FAULTY_SYNC), syncs + 1); /* of the segment made ready */
    store_close(store);
}
END_TEST

/* Whatever call fails, when and how often: what was acknowledged can be read after a power cut, what was not is an
 * error. */
START_TEST(the_nth_failing_call_costs_nothing_that_was_acknowledged)
{
    uint64_t acknowledged_sum = 0;
    bool failed = true;
    for (uint64_t n = 1; failed; n++) {
        faulty_disk_destroy(disk);
        disk = faulty_disk_create(n);
        struct store *store = begin_store(1);
        struct weir_frame_name names[12];
        size_t count = 0;
        faulty_disk_fail(disk, FAULTY_ALL & ~(unsigned)FAULTY_READ, n, n % 2 == 0 ? EIO : ENOSPC, false);
        for (uint64_t epoch = 1; epoch <= 12; epoch++) {
            struct weir_frame_name name = encode(1, epoch, count == 0 ? NULL : &names[count - 1], 14000, false);
            store_reserve(store, &name);
            if (append(store, &name) != WEIR_OK) {
                store_reserve_elsewhere(store, &name);
                ck_assert_msg(append(store, &name) == WEIR_OK, "call %" PRIu64 ": %s", n, error.text);
            }
            names[count++] = name;
            (void)store_prepare(store);
            if (epoch == 8) (void)store_delete(store, "log-1-1", &error);
        }
        failed = faulty_disk_has_failed(disk);
        acknowledged_sum += count;
        store_close(store);
        faulty_disk_cut_power(disk);
        faulty_disk_fail(disk, 0, 0, 0, false);
        store = open_store();
        for (size_t i = 0; i < count; i++)
            if (strcmp(names[i].file, "log-1-1") != 0) assert_reads(store, &names[i]);
        store_close(store);
    }
    ck_assert_uint_gt(acknowledged_sum, 12 * 20);
}
END_TEST

START_TEST(a_full_disk_is_an_error_and_room_ends_it)
{
    struct store *store = begin_store(1);
    struct weir_frame_name name = commit(store, 1, 1, NULL, 10);
    const struct weir_frame_name first = name;
    faulty_disk_capacity(disk, SEGMENT + 4096);
    name = encode(1, 2, &first, WHOLE_SEGMENT, false);
    store_reserve(store, &name);
    for (int i = 0; i < 5; i++) {
        ck_assert_int_eq(append(store, &name), WEIR_ENVIRONMENT);
        ck_assert_ptr_nonnull(strstr(error.text, "No space left on device; make room"));
        store_reserve_elsewhere(store, &name);
    }
    faulty_disk_capacity(disk, 10 * SEGMENT);
    ck_assert_int_eq(append(store, &name), WEIR_OK);
    assert_reads(store, &name);
    assert_reads(store, &first);
    store_close(store);
}
END_TEST

START_TEST(a_disk_that_fails_at_the_start_is_named)
{
    for (uint64_t n = 1;; n++) {
        faulty_disk_destroy(disk);
        disk = faulty_disk_create(n);
        faulty_disk_fail(disk, FAULTY_ALL, n, EACCES, false);
        struct store *store;
        const struct store_options options = options_of("job");
        enum weir_code code = store_open(&options, &store, &error);
        if (code == WEIR_OK) code = store_begin(store, 1, &error);
        store_close(store);
        if (!faulty_disk_has_failed(disk)) break;
        if (code != WEIR_OK) {
            ck_assert_int_eq(code, WEIR_ENVIRONMENT);
            ck_assert_ptr_nonnull(strstr(error.text, "/ck"));
        }
        faulty_disk_fail(disk, 0, 0, 0, false);
        store_close(begin_store(2)); /* nothing half done is in the way */
    }
}
END_TEST

/* Power cuts at any moment of any run: the chain up to the last acknowledged frame is there (F16). */
/* The first start makes directories and id, but every sync fails; the next one finds them, and all is well. */
START_TEST(names_that_an_earlier_start_could_not_sync_are_durable_now)
{
    for (uint64_t draw = 0; draw < 40; draw++) {
        struct disk_model *model = disk_model_create(seed + draw);
        const struct disk_faults failing = { .sync_error = 700000 }, none = { 0 };
        struct store_options options = options_of("job");
        struct store *store;
        char id[STORE_ID_MAX];
        options.disk = disk_model_table(model);
        disk_model_set_faults(model, &failing);
        while (store_open(&options, &store, &error) == WEIR_OK) store_close(store);
        disk_model_set_faults(model, &none);
        ck_assert_msg(store_open(&options, &store, &error) == WEIR_OK, "%s", error.text);
        (void)snprintf(id, sizeof id, "%s", store_id(store));
        store_close(store);

        disk_model_cut_power(model);
        ck_assert_msg(store_open(&options, &store, &error) == WEIR_OK, "draw %" PRIu64 ": %s", draw, error.text);
        ck_assert_str_eq(store_id(store), id);
        store_close(store);
        disk_model_destroy(model);
    }
}
END_TEST

START_TEST(power_cuts_lose_nothing_that_was_acknowledged)
{
    for (uint64_t round = 0; round < 200; round++) {
        uint64_t random = seed + round;
        faulty_disk_destroy(disk);
        disk = faulty_disk_create(random);
        struct weir_frame_name newest = { 0 };
        uint64_t epoch = 0;
        for (uint64_t incarnation = 1; incarnation <= 4; incarnation++) {
            struct store *store = begin_store(incarnation);
            const uint32_t steps = unit_random_below(&random, 30);
            for (uint32_t i = 0; i < steps; i++) {
                if (unit_chance(&random, 30)) (void)store_prepare(store);
                epoch++;
                newest = commit(store, incarnation, epoch, newest.epoch == 0 ? NULL : &newest,
                                unit_random_below(&random, 20000));
            }
            /* One more that nobody acknowledged. */
            epoch++;
            struct weir_frame_name open = encode(incarnation, epoch, newest.epoch == 0 ? NULL : &newest, 9000, false);
            store_reserve(store, &open);
            faulty_disk_fail(disk, FAULTY_SYNC | FAULTY_WRITE, 1, EIO, false);
            (void)append(store, &open);
            faulty_disk_fail(disk, 0, 0, 0, false);
            store_close(store);
            faulty_disk_cut_power(disk);
            if (newest.epoch == 0) continue;
            struct store_chain chain;
            store = open_store();
            ck_assert_msg(store_chain(store, &newest, 1, &chain, &error) == WEIR_OK, "%s", error.text);
            store_chain_clear(&chain);
            store_close(store);
        }
    }
}
END_TEST

/* ---- A real disk ------------------------------------------------------------------------------------------------- */

static char directory[64];

static void make_directory(void)
{
    (void)snprintf(directory, sizeof directory, "/tmp/weir-store-test-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(directory));
}

static void remove_name(void *user, const char *file)
{
    char path[256];
    (void)snprintf(path, sizeof path, "%s/%s", (const char *)user, file);
    (void)unlink(path);
}

static void remove_directory(void)
{
    char job[128];
    (void)snprintf(job, sizeof job, "%s/job", directory);
    (void)disk_system.list(NULL, job, remove_name, job);
    (void)rmdir(job);
    (void)rmdir(directory);
}

START_TEST(works_with_system_calls)
{
    make_directory();
    struct store_options options = options_of("job");
    options.directory = directory;
    options.disk = NULL;
    struct store *store;
    ck_assert_msg(store_open(&options, &store, &error) == WEIR_OK, "%s", error.text);
    ck_assert_int_eq(store_begin(store, 1, &error), WEIR_OK);
    struct weir_frame_name name = commit(store, 1, 1, NULL, 10);
    for (uint64_t epoch = 2; epoch < 30; epoch++) {
        finish_preparing(store);
        name = commit(store, 1, epoch, &name, 10000);
        if (epoch == 20) ck_assert_int_eq(store_delete(store, "log-1-1", &error), WEIR_OK);
    }
    char id[STORE_ID_MAX];
    (void)snprintf(id, sizeof id, "%s", store_id(store));
    store_close(store);

    ck_assert_int_eq(store_open(&options, &store, &error), WEIR_OK);
    ck_assert_str_eq(store_id(store), id);
    struct store_chain chain;
    ck_assert_msg(store_chain(store, &name, 11, &chain, &error) == WEIR_OK, "%s", error.text);
    ck_assert_uint_eq(chain.frames.count, 19);
    store_chain_clear(&chain);
    store_close(store);
    remove_directory();
}
END_TEST

START_TEST(says_when_the_directory_above_is_missing)
{
    struct store_options options = options_of("job");
    options.directory = "/nowhere/at/all";
    options.disk = NULL;
    struct store *store;
    ck_assert_int_eq(store_open(&options, &store, &error), WEIR_ENVIRONMENT);
    ck_assert_ptr_nonnull(strstr(error.text, "/nowhere/at/all: the directory above it does not exist"));
}
END_TEST

START_TEST(says_when_rights_are_missing)
{
    if (geteuid() == 0) return; /* root has them all */
    make_directory();
    ck_assert_int_eq(chmod(directory, 0500), 0);
    struct store_options options = options_of("job");
    options.directory = directory;
    options.disk = NULL;
    struct store *store;
    ck_assert_int_eq(store_open(&options, &store, &error), WEIR_ENVIRONMENT);
    ck_assert_ptr_nonnull(strstr(error.text, "give this user the right"));
    remove_directory();
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_add_test(tests, a_store_keeps_its_id);
    tcase_add_test(tests, of_starts_that_make_the_store_at_once_all_open_the_same);
    tcase_add_test(tests, two_stores_have_different_ids);
    tcase_add_test(tests, refuses_the_store_of_another_job);
    tcase_add_test(tests, refuses_names_that_are_no_job_names);
    tcase_add_test(tests, opens_nothing_that_is_not_there_unless_told_to_create);
    tcase_add_test(tests, finds_a_damaged_id);
    tcase_add_test(tests, a_store_that_lost_its_id_is_damaged_and_not_new);
    tcase_add_test(tests, knows_the_highest_incarnation);
    tcase_add_test(tests, an_incarnation_is_begun_once);
    tcase_add_test(tests, an_incarnation_is_begun_once_even_when_its_first_segment_is_gone);
    tcase_add_test(tests, parses_names_of_files);
    tcase_add_test(tests, what_was_appended_survives_a_power_cut);
    tcase_add_test(tests, a_place_is_named_before_it_is_written);
    tcase_add_test(tests, a_frame_larger_than_a_segment_gets_its_own);
    tcase_add_test(tests, the_next_segment_is_ready_before_it_is_needed);
    tcase_add_test(tests, one_append_is_one_write_and_one_sync);
    tcase_add_test(tests, retired_segments_are_used_again);
    tcase_add_test(tests, a_segment_used_again_keeps_its_new_name);
    tcase_add_test(tests, files_of_others_are_removed_and_not_used_again);
    tcase_add_test(tests, knows_whether_anything_but_a_founding_was_ever_appended);
    tcase_add_test(tests, what_cannot_be_read_counts_as_history);
    tcase_add_test(tests, finds_a_frame_cut_off_anywhere);
    tcase_add_test(tests, finds_single_bit_flips);
    tcase_add_test(tests, finds_zeroes_in_place_of_any_sector);
    tcase_add_test(tests, finds_a_missing_file);
    tcase_add_test(tests, finds_an_older_file_in_its_place);
    tcase_add_test(tests, refuses_paths_in_place_of_names);
    tcase_add_test(tests, a_chain_follows_parents_over_aborted_frames_and_incarnations);
    tcase_add_test(tests, a_chain_with_a_damaged_link_is_damaged);
    tcase_add_test(tests, after_a_failure_the_frame_goes_elsewhere);
    tcase_add_test(tests, a_segment_that_failed_is_never_synced_again);
    tcase_add_test(tests, the_nth_failing_call_costs_nothing_that_was_acknowledged);
    tcase_add_test(tests, a_full_disk_is_an_error_and_room_ends_it);
    tcase_add_test(tests, a_disk_that_fails_at_the_start_is_named);
    tcase_add_test(tests, names_that_an_earlier_start_could_not_sync_are_durable_now);
    tcase_add_test(tests, power_cuts_lose_nothing_that_was_acknowledged);
    tcase_add_test(tests, works_with_system_calls);
    tcase_add_test(tests, says_when_the_directory_above_is_missing);
    tcase_add_test(tests, says_when_rights_are_missing);
}

int main(void)
{
    seed = unit_seed();
    return unit_main("store", add);
}
