/* Savepoints as folders: savepoint.c, savepoint_folder.c. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "checkpoint/savepoint.h"
#include "harness/faulty_disk.h"
#include "harness/unit.h"
#include "sim/disk_model.h"

enum { FRAMES = 6, REDO = 3, CHUNKS = 40 };

static uint64_t seed;
static struct faulty_disk *disk;
static struct weir_environment environment;
static struct weir_error error;
static struct store *store;
static struct weir_frame_name frames[FRAMES + 1]; /* by epoch, from 1 */
static struct manifest_base base;
static char base_name[STORE_FILE_MAX];
static const uint64_t random_id[2] = { 0x0123456789abcdef, 0xfedcba9876543210 };

#define FOLDER "/sp/savepoint-job-6-0123456789abcdef"

/* ---- A store with a base and six checkpoints, of which four need the base ------------------------------------------- */

static void write_base(void)
{
    struct store_base *file;
    struct store_base_result done;
    char chunk[3000];
    ck_assert_int_eq(store_base_create(store, &file, &error), WEIR_OK);
    for (int i = 0; i < CHUNKS; i++) {
        memset(chunk, 'a' + i % 26, sizeof chunk);
        ck_assert_int_eq(store_base_append(file, (struct weir_bytes){ chunk, sizeof chunk }, &error), WEIR_OK);
    }
    ck_assert_int_eq(store_base_finish(file, &done, &error), WEIR_OK);
    memcpy(base_name, done.name, sizeof base_name);
    base = (struct manifest_base){ .store = STORE_KIND_FILE, .name = base_name, .length = done.length, .hash = done.hash,
                                   .incarnation = done.incarnation, .group_count = 8, .redo_epoch = REDO };
}

static void write_checkpoint(uint64_t epoch)
{
    struct weir_bytes delta = weir_text("what changed");
    struct manifest_operator op = { .name = "count", .redo_epoch = REDO, .base_count = 1, .bases = &base,
                                    .delta_count = 1, .deltas = &delta };
    struct buffer frame;
    buffer_init(&frame);
    if (epoch <= REDO) op.redo_epoch = op.base_count = 0;
    const struct manifest manifest = { .job = "job", .incarnation = 1, .epoch = epoch, .parent = frames[epoch - 1],
                                       .wall_ms = 1700000000000, .max_parallelism = 8, .operator_count = 1,
                                       .operators = &op };
    ck_assert(manifest_encode(&manifest, &frame, &frames[epoch]));
    store_reserve(store, &frames[epoch]);
    ck_assert_int_eq(store_append(store, &frames[epoch], (struct weir_bytes){ frame.data, frame.size }, &error), WEIR_OK);
    buffer_deinit(&frame);
}

static void set_up(void)
{
    disk = faulty_disk_create(seed);
    environment_init_system(&environment);
    const struct store_options options = { .directory = "/ck", .job = "job", .slot = "0", .create = true,
                                           .segment_bytes = 16384, .disk = faulty_disk_table(disk),
                                           .environment = &environment };
    ck_assert_msg(store_open(&options, &store, &error) == WEIR_OK, "%s", error.text);
    ck_assert_int_eq(store_begin(store, 1, &error), WEIR_OK);
    memset(frames, 0, sizeof frames);
    write_base();
    for (uint64_t epoch = 1; epoch <= FRAMES; epoch++) write_checkpoint(epoch);
}

static void tear_down(void)
{
    store_close(store);
    faulty_disk_destroy(disk);
}

/* ---- Taking and reading --------------------------------------------------------------------------------------------- */

static struct savepoint *create(void)
{
    struct savepoint *savepoint =
        savepoint_create(store, faulty_disk_table(disk), "/sp", &frames[FRAMES], NULL, random_id);
    ck_assert_ptr_nonnull(savepoint);
    return savepoint;
}

/* Up to `steps_max` small steps; true when it is whole. */
static enum weir_code take(struct savepoint *savepoint, int steps_max, bool *done)
{
    enum weir_code code = savepoint_prepare(faulty_disk_table(disk), "/sp", &error);
    *done = false;
    for (int i = 0; code == WEIR_OK && !*done && i < steps_max; i++) code = savepoint_step(savepoint, 1, done, &error);
    return code;
}

static void take_whole(void)
{
    bool done;
    struct savepoint *savepoint = create();
    ck_assert_msg(take(savepoint, 1000, &done) == WEIR_OK, "%s", error.text);
    ck_assert(done);
    ck_assert_str_eq(savepoint_path(savepoint), FOLDER);
    savepoint_destroy(savepoint);
}

static enum weir_code no_chunk(void *user, struct weir_bytes chunk, struct weir_error *unused)
{
    (void)chunk, (void)unused;
    ++*(int *)user;
    return WEIR_OK;
}

/* Reads every byte of the savepoint. */
static enum weir_code read_all(struct savepoint_mark *mark)
{
    struct store *opened;
    struct store_chain chain = { 0 };
    int chunks = 0;
    enum weir_code code = savepoint_open(faulty_disk_table(disk), FOLDER, mark, &opened, &error);
    if (code == WEIR_OK) code = store_chain(opened, &mark->frame, REDO + 1, &chain, &error);
    if (code == WEIR_OK) code = store_read_base(opened, &base, no_chunk, &chunks, &error);
    if (code == WEIR_OK) ck_assert_int_eq(chunks, CHUNKS);
    if (code == WEIR_OK) ck_assert_uint_eq(chain.frames.count, FRAMES - REDO);
    store_chain_clear(&chain);
    store_close(opened);
    return code;
}

START_TEST(holds_what_the_checkpoint_needs_and_no_more)
{
    struct savepoint_mark mark;
    struct store *opened;
    struct buffer frame;
    buffer_init(&frame);
    take_whole();
    ck_assert_msg(read_all(&mark) == WEIR_OK, "%s", error.text);
    ck_assert_str_eq(mark.id, "0123456789abcdeffedcba9876543210");
    ck_assert_str_eq(mark.job, "job");
    ck_assert_str_eq(mark.store, store_id(store));
    ck_assert_uint_eq(mark.frame.epoch, FRAMES);
    ck_assert_int_eq(mark.wall_ms, 1700000000000);
    ck_assert_uint_eq(mark.bytes, base.length + frames[4].length + frames[5].length + frames[6].length);
    ck_assert_int_eq(savepoint_open(faulty_disk_table(disk), FOLDER, &mark, &opened, &error), WEIR_OK);
    ck_assert_str_eq(store_id(opened), mark.id); /* a store of its own */
    ck_assert_int_ne(store_read_frame(opened, &frames[REDO], &frame, &error), WEIR_OK);
    store_close(opened);
    buffer_deinit(&frame);
}
END_TEST

START_TEST(a_step_copies_no_more_than_it_was_told)
{
    bool done = false;
    uint64_t before = 0;
    struct savepoint *savepoint = create();
    ck_assert_int_eq(savepoint_prepare(faulty_disk_table(disk), "/sp", &error), WEIR_OK);
    while (!done) {
        ck_assert_int_eq(savepoint_step(savepoint, 4096, &done, &error), WEIR_OK);
        ck_assert_uint_le(savepoint_bytes(savepoint) - before, 4096 + (1 << 20));
        before = savepoint_bytes(savepoint);
    }
    savepoint_destroy(savepoint);
}
END_TEST

/* Whatever call fails, nothing that can be used is left, and the store is as it was. */
START_TEST(every_failure_is_an_error_and_leaves_no_savepoint)
{
    uint64_t failures = 0;
    for (uint64_t n = 1;; n++) {
        bool done;
        struct savepoint_mark mark;
        struct savepoint *savepoint = create();
        faulty_disk_fail(disk, FAULTY_ALL & ~(unsigned)FAULTY_REMOVE, n, EIO, false);
        const enum weir_code code = take(savepoint, 1000, &done);
        const bool has_failed = faulty_disk_has_failed(disk);
        faulty_disk_fail(disk, 0, 0, 0, false);
        if (code == WEIR_OK) {
            ck_assert(done);
            ck_assert_msg(read_all(&mark) == WEIR_OK, "call %" PRIu64 ": %s", n, error.text);
        } else {
            failures++;
            ck_assert_msg(strlen(error.text) > 20, "%s", error.text);
        }
        savepoint_abandon(savepoint);
        ck_assert_int_eq(savepoint_read_mark(faulty_disk_table(disk), FOLDER, &mark, &error), WEIR_ENVIRONMENT);
        if (!has_failed) break;
        tear_down(); /* directories stay on this disk */
        set_up();
    }
    ck_assert_uint_gt(failures, 30);
}
END_TEST

START_TEST(a_full_disk_is_named)
{
    bool done;
    struct savepoint *savepoint = create();
    faulty_disk_capacity(disk, 200000);
    ck_assert_int_eq(take(savepoint, 1000, &done), WEIR_ENVIRONMENT);
    ck_assert_ptr_nonnull(strstr(error.text, "make room"));
    savepoint_abandon(savepoint);
}
END_TEST

/* When the power goes after any step, what has a mark is whole; what was whole is still there. */
START_TEST(a_power_cut_leaves_nothing_that_looks_whole)
{
    int whole = 0, none = 0;
    for (int steps = 1; steps < 200 && whole < 20; steps++) {
        bool done;
        struct savepoint_mark mark;
        struct savepoint *savepoint = create();
        ck_assert_msg(take(savepoint, steps, &done) == WEIR_OK, "%s", error.text);
        savepoint_destroy(savepoint);
        store_close(store);
        store = NULL;
        faulty_disk_cut_power(disk);
        const enum weir_code code = savepoint_read_mark(faulty_disk_table(disk), FOLDER, &mark, &error);
        if (code == WEIR_OK) ck_assert_msg(read_all(&mark) == WEIR_OK, "after step %d: %s", steps, error.text);
        else ck_assert_msg(!done, "after step %d: %s", steps, error.text);
        whole += code == WEIR_OK;
        none += code != WEIR_OK;
        tear_down();
        seed++;
        set_up();
    }
    ck_assert_int_ge(whole, 20);
    ck_assert_int_gt(none, 3);
}
END_TEST

static void count_nothing(void *user, const char *name) { (void)user, (void)name; }

START_TEST(a_directory_that_was_made_for_savepoints_outlasts_the_power)
{
    static const char *const paths[] = { "/sp", "/above/sp", "//above//sp//" };
    for (uint64_t i = 0; i < 60; i++) {
        struct disk_model *model = disk_model_create(seed + i);
        const struct disk *table = disk_model_table(model);
        const char *path = paths[i % 3];
        ck_assert_int_eq(table->make_directory(table->user, "/above"), 0);
        ck_assert_int_eq(table->sync_directory(table->user, "/"), 0);
        ck_assert_msg(savepoint_prepare(table, path, &error) == WEIR_OK, "%s", error.text);
        disk_model_cut_power(model);
        ck_assert_msg(table->list(table->user, path, count_nothing, NULL) == 0, "%s is gone", path);
        disk_model_destroy(model);
    }
}
END_TEST

START_TEST(every_flip_and_truncation_of_the_mark_is_found)
{
    struct savepoint_mark mark;
    take_whole();
    const uint64_t size = faulty_disk_size(disk, FOLDER "/savepoint");
    ck_assert_uint_gt(size, 100);
    for (uint64_t bit = 0; bit < size * 8; bit++) {
        faulty_disk_flip(disk, FOLDER "/savepoint", bit);
        ck_assert_int_eq(savepoint_read_mark(faulty_disk_table(disk), FOLDER, &mark, &error), WEIR_DAMAGED);
        faulty_disk_flip(disk, FOLDER "/savepoint", bit);
    }
    ck_assert_int_eq(savepoint_read_mark(faulty_disk_table(disk), FOLDER, &mark, &error), WEIR_OK);
    for (uint64_t left = size; left-- > 0;) {
        faulty_disk_truncate(disk, FOLDER "/savepoint", left);
        ck_assert_int_eq(savepoint_read_mark(faulty_disk_table(disk), FOLDER, &mark, &error), WEIR_DAMAGED);
    }
}
END_TEST

START_TEST(what_is_damaged_in_the_store_is_not_copied)
{
    char path[128];
    uint64_t random = seed;
    (void)snprintf(path, sizeof path, "/ck/job/%s", base_name);
    for (int i = 0; i < 30; i++) {
        bool done;
        const uint64_t bit = unit_random_below(&random, (uint32_t)(base.length * 8));
        struct savepoint *savepoint = create();
        faulty_disk_flip(disk, path, bit);
        ck_assert_int_eq(take(savepoint, 1000, &done), WEIR_DAMAGED);
        ck_assert_ptr_nonnull(strstr(error.text, base_name));
        savepoint_abandon(savepoint);
        tear_down();
        set_up();
    }
}
END_TEST

START_TEST(the_folders_name_tells_the_beginning_of_the_id)
{
    static const struct {
        const char *path, *id;
    } cases[] = {
        { FOLDER, "0123456789abcdef" },
        { FOLDER "/", "0123456789abcdef" },
        { "savepoint-a-b-7-00000000000000ff", "00000000000000ff" },
        { "/sp/savepoint-job-6-0123456789abcdeg", "" },
        { "/sp/moved", "" },
        { "0123456789abcdef", "" },
        { "/", "" },
        { "", "" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char id[STORE_ID_MAX];
        savepoint_id_in(cases[i].path, id);
        ck_assert_str_eq(id, cases[i].id);
    }
}
END_TEST

static void add(TCase *tests)
{
    seed = unit_seed();
    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_add_test(tests, holds_what_the_checkpoint_needs_and_no_more);
    tcase_add_test(tests, a_step_copies_no_more_than_it_was_told);
    tcase_add_test(tests, every_failure_is_an_error_and_leaves_no_savepoint);
    tcase_add_test(tests, a_full_disk_is_named);
    tcase_add_test(tests, a_power_cut_leaves_nothing_that_looks_whole);
    tcase_add_test(tests, a_directory_that_was_made_for_savepoints_outlasts_the_power);
    tcase_add_test(tests, every_flip_and_truncation_of_the_mark_is_found);
    tcase_add_test(tests, what_is_damaged_in_the_store_is_not_copied);
    tcase_add_test(tests, the_folders_name_tells_the_beginning_of_the_id);
}

int main(void)
{
    return unit_main("savepoint", add);
}
