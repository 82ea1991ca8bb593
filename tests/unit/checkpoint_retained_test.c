/* What a restart keeps besides the checkpoint that it restores: stores of one life, looked at by the next. */
#include "checkpoint/retained.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness/faulty_disk.h"
#include "harness/unit.h"

enum { SEGMENT_BYTES = 4096, FRAMES_MAX = 16 }; /* each frame in a segment of its own */

static struct faulty_disk *disk;
static struct weir_environment environment;
static struct weir_error error;
static struct store *store;
static struct buffer bytes;
static struct weir_frame_name last; /* the newest of the chain */
static struct retention retention;
static bool is_locked; /* files before the restored checkpoint cannot be opened */

static struct store *open_store(uint64_t incarnation)
{
    const struct store_options options = { .directory = "/ck", .job = "job", .slot = "0", .create = true,
                                           .segment_bytes = SEGMENT_BYTES, .disk = faulty_disk_table(disk),
                                           .environment = &environment };
    struct store *opened;
    ck_assert_msg(store_open(&options, &opened, &error) == WEIR_OK, "%s", error.text);
    ck_assert_msg(store_begin(opened, incarnation, &error) == WEIR_OK, "%s", error.text);
    return opened;
}

static void set_up(void)
{
    disk = faulty_disk_create(1);
    environment_init_system(&environment);
    buffer_init(&bytes);
    store = open_store(1);
    last = (struct weir_frame_name){ 0 };
}

static void tear_down(void)
{
    retention_deinit(&retention);
    store_close(store);
    buffer_deinit(&bytes);
    faulty_disk_destroy(disk);
}

static struct manifest_base write_base(uint64_t redo_epoch)
{
    static struct store_base_result results[FRAMES_MAX];
    static size_t count;
    struct store_base *base;
    struct store_base_result *result = &results[count++ % FRAMES_MAX];
    ck_assert_int_eq(store_base_create(store, &base, &error), WEIR_OK);
    ck_assert_int_eq(store_base_append(base, weir_text("units"), &error), WEIR_OK);
    ck_assert_int_eq(store_base_finish(base, result, &error), WEIR_OK);
    return (struct manifest_base){ .store = STORE_KIND_FILE, .name = result->name, .length = result->length,
                                   .hash = result->hash, .incarnation = result->incarnation, .group_count = 1,
                                   .redo_epoch = redo_epoch };
}

static struct manifest manifest_of(uint64_t incarnation, uint64_t epoch, bool is_part)
{
    return (struct manifest){ .job = "job", .slot = "0", .incarnation = incarnation, .epoch = epoch,
                              .is_part = is_part, .parent = last };
}

/* A frame behind `last`; `base` NULL = the operator needs every delta. */
static void append(uint64_t incarnation, uint64_t epoch, struct manifest_base *base, bool is_part)
{
    struct manifest_operator count = { .name = "count", .base_count = base != NULL, .bases = base,
                                       .redo_epoch = base == NULL ? 0 : base->redo_epoch };
    struct manifest manifest = manifest_of(incarnation, epoch, is_part);
    manifest.operators = &count;
    manifest.operator_count = 1;
    struct weir_frame_name name = { 0 };
    ck_assert(manifest_encode(&manifest, &bytes, &name));
    store_reserve(store, &name);
    ck_assert_int_eq(store_append(store, &name, (struct weir_bytes){ bytes.data, bytes.size }, &error), WEIR_OK);
    last = name;
}

static void list_file(void *user, const char *file)
{
    (void)user;
    ck_assert(retention_found(&retention, file));
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct retention_name *)a)->file, ((const struct retention_name *)b)->file);
}

/* The next life restores `last`. */
static enum weir_code restore(uint64_t incarnation, size_t retained_max)
{
    struct arena arena;
    struct manifest manifest;
    struct store_chain chain;
    arena_init(&arena, 4096);
    store_close(store);
    store = open_store(incarnation);
    retention_init(&retention, incarnation, retained_max);
    ck_assert_int_eq(store_list(store, list_file, NULL, &error), WEIR_OK);
    ck_assert_int_eq(store_read_frame(store, &last, &bytes, &error), WEIR_OK);
    ck_assert_int_eq(manifest_decode((struct weir_bytes){ bytes.data, bytes.size }, &last, &arena, &manifest, &error),
                     WEIR_OK);
    ck_assert_int_eq(store_chain(store, &last, manifest_redo_epoch(&manifest) + 1, &chain, &error), WEIR_OK);
    if (is_locked) faulty_disk_fail(disk, FAULTY_OPEN, 1, EACCES, false);
    const enum weir_code code = retained_restore(store, &chain, &manifest, &retention, &error);
    store_chain_clear(&chain);
    arena_deinit(&arena);
    return code;
}

/* With a base of its own that holds everything before it. */
static struct retention_names commit(uint64_t incarnation, uint64_t epoch)
{
    struct retention_names names = { 0 };
    struct manifest_base base = write_base(epoch - 1);
    struct manifest_operator count = { .name = "count", .base_count = 1, .bases = &base, .redo_epoch = base.redo_epoch };
    struct manifest manifest = manifest_of(incarnation, epoch, false);
    manifest.operators = &count;
    manifest.operator_count = 1;
    append(incarnation, epoch, &base, false);
    ck_assert(retention_checkpoint(&retention, &last, &manifest));
    ck_assert(retention_collect(&retention, &names));
    return names;
}

static void ck_first_commit_deletes(const char *expected)
{
    struct retention_names names = commit(2, last.epoch + 1);
    char text[400] = "";
    if (names.files.count > 0) qsort(names.files.items, names.files.count, sizeof *names.files.items, by_name);
    for (size_t i = 0; i < names.files.count; i++) {
        strcat(text, i == 0 ? "" : " ");
        strcat(text, names.files.items[i].file);
    }
    ck_assert_str_eq(text, expected);
    retention_names_clear(&names);
}

/* log-1-1 .. log-1-6 hold epochs 0 to 5; base-1-1 is named by 2 and 3, base-1-2 by 4, base-1-3 by 5. */
static void live_first(void)
{
    append(1, 0, NULL, false);
    append(1, 1, NULL, false);
    struct manifest_base base = write_base(1);
    append(1, 2, &base, false);
    append(1, 3, &base, false);
    base = write_base(3);
    append(1, 4, &base, false);
    base = write_base(4);
    append(1, 5, &base, false);
}

START_TEST(checkpoints_before_the_restored_one_stay_with_what_they_need)
{
    /* With the commit of 6 one less is kept of those before it. */
    static const char *const deleted[] = {
        "base-1-1 base-1-2 base-1-3 log-1-1 log-1-2 log-1-3 log-1-4 log-1-5 log-1-6", /* 6 */
        "base-1-1 base-1-2 log-1-1 log-1-2 log-1-3 log-1-4 log-1-5",                  /* 5, 6 */
        "base-1-1 log-1-1 log-1-2 log-1-3 log-1-4",                                   /* 4, 5, 6 */
        "log-1-1 log-1-2",                                                            /* 3 needs 2 */
        "log-1-1 log-1-2",                                                            /* 2 ... 6 */
        "log-1-1",                                                                    /* 1 needs itself */
    };
    live_first();
    ck_assert_int_eq(restore(2, (size_t)_i + 1), WEIR_OK);
    ck_first_commit_deletes(deleted[_i]);
}
END_TEST

START_TEST(early_parts_are_no_checkpoints_and_stay_with_theirs)
{
    struct manifest_base base = write_base(0);
    append(1, 0, NULL, false);
    append(1, 1, &base, false);
    append(1, 2, NULL, true); /* log-1-3, log-1-4 */
    append(1, 2, NULL, true);
    append(1, 2, &base, false);
    base = write_base(2);
    append(1, 3, NULL, true); /* log-1-6 */
    append(1, 3, &base, false);
    ck_assert_int_eq(restore(2, 3), WEIR_OK);
    ck_first_commit_deletes("log-1-1"); /* 3 and 2 are kept, and 2 needs 1 */
}
END_TEST

START_TEST(a_checkpoint_that_lost_a_frame_is_not_kept)
{
    live_first();
    ck_assert_int_eq(faulty_disk_table(disk)->remove(faulty_disk_table(disk)->user, "/ck/job/log-1-4"), 0);
    ck_assert_int_eq(restore(2, 4), WEIR_OK);
    ck_first_commit_deletes("base-1-1 log-1-1 log-1-2 log-1-3"); /* 4 and 5 are whole, 3 is not */
}
END_TEST

START_TEST(a_checkpoint_that_lost_its_base_is_not_kept)
{
    live_first();
    ck_assert_int_eq(faulty_disk_table(disk)->remove(faulty_disk_table(disk)->user, "/ck/job/base-1-2"), 0);
    ck_assert_int_eq(restore(2, 3), WEIR_OK);
    ck_first_commit_deletes("base-1-1 log-1-1 log-1-2 log-1-3 log-1-4 log-1-5");
}
END_TEST

START_TEST(a_damaged_checkpoint_before_the_restored_one_fails_nothing)
{
    live_first();
    faulty_disk_flip(disk, "/ck/job/log-1-5", 3000);
    ck_assert_int_eq(restore(2, 3), WEIR_OK);
    ck_first_commit_deletes("base-1-1 base-1-2 log-1-1 log-1-2 log-1-3 log-1-4 log-1-5");
}
END_TEST

START_TEST(what_cannot_be_looked_at_is_an_error_for_it_may_be_needed)
{
    live_first();
    is_locked = true; /* behind what the restored checkpoint itself needs */
    ck_assert_int_eq(restore(2, 3), WEIR_ENVIRONMENT);
    ck_assert_ptr_nonnull(strstr(error.text, "log-1-5"));
}
END_TEST

START_TEST(retained_checkpoints_survive_one_restart_after_another)
{
    live_first();
    for (uint64_t life = 2; life < 6; life++) {
        ck_assert_int_eq(restore(life, 3), WEIR_OK);
        ck_assert_uint_eq(retention.checkpoints.count, 3);
        struct retention_names names = commit(life, last.epoch + 1);
        for (size_t i = 0; i < names.files.count; i++)
            ck_assert_int_eq(store_delete(store, names.files.items[i].file, &error), WEIR_OK);
        retention_names_clear(&names);
        retention_deinit(&retention);
    }
    ck_assert_int_eq(restore(6, 3), WEIR_OK);
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_add_loop_test(tests, checkpoints_before_the_restored_one_stay_with_what_they_need, 0, 6);
    tcase_add_test(tests, early_parts_are_no_checkpoints_and_stay_with_theirs);
    tcase_add_test(tests, a_checkpoint_that_lost_a_frame_is_not_kept);
    tcase_add_test(tests, a_checkpoint_that_lost_its_base_is_not_kept);
    tcase_add_test(tests, a_damaged_checkpoint_before_the_restored_one_fails_nothing);
    tcase_add_test(tests, what_cannot_be_looked_at_is_an_error_for_it_may_be_needed);
    tcase_add_test(tests, retained_checkpoints_survive_one_restart_after_another);
}

int main(void) { return unit_main("checkpoint_retained", add); }
