/* WEIR_TEST_WRAPS_MALLOC */
#include "checkpoint/retention.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness/failing_malloc.h"
#include "harness/unit.h"

static struct retention retention;

static struct weir_frame_name frame_in(const char *file, uint64_t epoch)
{
    struct weir_frame_name name = { .incarnation = 1, .epoch = epoch, .offset = epoch * 4096, .length = 4096 };
    (void)snprintf(name.file, sizeof name.file, "%s", file);
    return name;
}

/* Checkpoint `epoch` in `file` with one base (NULL = none) whose redo point is `redo`. Its parent is what was said
 * last. */
static bool say(struct retention *to, const char *file, uint64_t epoch, const char *base, uint64_t redo)
{
    const bool is_links = base != NULL && base[0] == '+'; /* one of files by reference */
    if (is_links) base++;
    struct manifest_base bases[] = {
        { .store = is_links ? STORE_KIND_LINKS : STORE_KIND_FILE, .name = base, .redo_epoch = redo }
    };
    struct manifest_operator operators[] = {
        { .name = "count", .base_count = base == NULL ? 0 : 1, .bases = bases, .redo_epoch = redo }
    };
    const struct manifest manifest = {
        .incarnation = 1, .epoch = epoch, .parent = to->frame_last, .operator_count = 1, .operators = operators,
    };
    const struct weir_frame_name name = frame_in(file, epoch);
    return retention_checkpoint(to, &name, &manifest);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct retention_name *)a)->file, ((const struct retention_name *)b)->file);
}

/* Collects, and compares the names, sorted, with one space between them. */
static void assert_collects(const char *expected)
{
    struct retention_names names = { 0 };
    char text[1024] = "";
    ck_assert(retention_collect(&retention, &names));
    if (names.files.count > 0) qsort(names.files.items, names.files.count, sizeof *names.files.items, by_name);
    for (size_t i = 0; i < names.files.count; i++) {
        if (i > 0) strcat(text, " ");
        strcat(text, names.files.items[i].file);
    }
    ck_assert_str_eq(text, expected);
    retention_names_clear(&names);
}

static void set_up(void)
{
    retention_init(&retention, 7, 1);
}

static void tear_down(void)
{
    retention_deinit(&retention);
}

START_TEST(nothing_goes_before_a_commit)
{
    ck_assert(retention_found(&retention, "log-6-1") && retention_found(&retention, "base-6-1"));
    assert_collects("");
}
END_TEST

START_TEST(orphans_of_older_incarnations_go)
{
    static const char *const files[] = { "log-6-1", "log-6-2", "base-6-1", "base-5-9", "log-7-1", "store",
                                         "pointer-3" };
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) ck_assert(retention_found(&retention, files[i]));
    ck_assert(say(&retention, "log-7-1", 0, NULL, 0));
    assert_collects("base-5-9 base-6-1 log-6-1 log-6-2");
    assert_collects("");
}
END_TEST

START_TEST(files_of_newer_incarnations_stay)
{
    ck_assert(retention_found(&retention, "log-8-1") && retention_found(&retention, "base-8-1"));
    ck_assert(say(&retention, "log-7-1", 0, NULL, 0));
    assert_collects("");
}
END_TEST

START_TEST(what_the_restored_checkpoint_needs_stays)
{
    static const char *const files[] = { "log-5-1", "log-5-2", "log-6-1", "log-6-2", "log-7-1", "base-5-1",
                                         "base-6-1" };
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) ck_assert(retention_found(&retention, files[i]));
    /* Checkpoint 20 lies in log-6-2, its base reaches to 10; the frames 11..20 lie in log-5-2 and log-6-2. */
    const struct weir_frame_name first = frame_in("log-5-2", 11);
    ck_assert(retention_frame(&retention, &first));
    ck_assert(say(&retention, "log-6-2", 20, "base-5-1", 10));
    assert_collects("base-6-1 log-5-1 log-6-1");
}
END_TEST

START_TEST(the_log_is_cut_at_the_redo_point)
{
    ck_assert(say(&retention, "log-7-1", 1, NULL, 0));
    ck_assert(say(&retention, "log-7-2", 2, NULL, 0));
    ck_assert(say(&retention, "log-7-3", 3, NULL, 0));
    assert_collects("");
    ck_assert(say(&retention, "log-7-4", 4, "base-7-1", 1)); /* needs the deltas of 2, 3 and 4 */
    assert_collects("log-7-1");
    ck_assert(say(&retention, "log-7-4", 5, "base-7-1", 3));
    assert_collects("log-7-2 log-7-3");
    ck_assert(say(&retention, "log-7-4", 6, "base-7-1", 6));
    assert_collects("");
}
END_TEST

START_TEST(a_checkpoint_without_redo_still_needs_its_own_frame)
{
    ck_assert(say(&retention, "log-7-1", 1, "base-7-1", 1));
    assert_collects("");
}
END_TEST

START_TEST(segments_without_committed_frames_go_with_their_neighbours)
{
    ck_assert(say(&retention, "log-7-1", 1, NULL, 0));
    ck_assert(say(&retention, "log-7-5", 2, "base-7-1", 2)); /* 2, 3 and 4 held what failed or was aborted */
    assert_collects("log-7-1 log-7-2 log-7-3 log-7-4");
}
END_TEST

START_TEST(a_base_goes_when_no_retained_checkpoint_names_it)
{
    ck_assert(say(&retention, "log-7-1", 1, "base-7-1", 1));
    ck_assert(say(&retention, "log-7-1", 2, "base-7-1", 1));
    assert_collects("");
    ck_assert(say(&retention, "log-7-1", 3, "base-7-2", 2));
    assert_collects("base-7-1");
    assert_collects("");
}
END_TEST

START_TEST(retained_checkpoints_keep_what_they_need)
{
    retention_deinit(&retention);
    retention_init(&retention, 7, 3);
    ck_assert(say(&retention, "log-7-1", 1, "base-7-1", 0));
    ck_assert(say(&retention, "log-7-2", 2, "base-7-2", 2));
    ck_assert(say(&retention, "log-7-3", 3, "base-7-3", 3));
    assert_collects("");
    ck_assert(say(&retention, "log-7-4", 4, "base-7-4", 4));
    assert_collects("base-7-1 log-7-1");
    ck_assert(say(&retention, "log-7-5", 5, "base-7-5", 5));
    assert_collects("base-7-2 log-7-2");
}
END_TEST

START_TEST(early_parts_keep_their_segments)
{
    ck_assert(say(&retention, "log-7-1", 1, "base-7-1", 1));
    const struct weir_frame_name part = frame_in("log-7-2", 2);
    ck_assert(retention_frame(&retention, &part));
    ck_assert(say(&retention, "log-7-4", 2, "base-7-1", 1));
    assert_collects("log-7-1");
}
END_TEST

/* After a roll-back in the process: the own log and the orphaned bases of this incarnation. */
START_TEST(a_second_restore_of_one_incarnation_collects_its_own_orphans)
{
    static const char *const files[] = { "log-7-8", "log-7-9", "log-7-10", "base-7-1", "base-7-2" };
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) ck_assert(retention_found(&retention, files[i]));
    ck_assert(say(&retention, "log-7-9", 30, "base-7-1", 30));
    ck_assert(say(&retention, "log-7-10", 31, "base-7-1", 30));
    assert_collects("base-7-2 log-7-8 log-7-9");
}
END_TEST

START_TEST(bases_in_other_stores_are_not_ours_to_delete)
{
    struct manifest_base bases[] = { { .store = "s3", .name = "base-7-1", .redo_epoch = 1 } };
    struct manifest_operator operators[] = { { .name = "count", .base_count = 1, .bases = bases, .redo_epoch = 1 } };
    const struct manifest manifest = { .incarnation = 7, .epoch = 1, .operator_count = 1, .operators = operators };
    const struct weir_frame_name name = frame_in("log-7-1", 1);
    ck_assert(retention_checkpoint(&retention, &name, &manifest));
    ck_assert(say(&retention, "log-7-1", 2, "base-7-1", 2));
    ck_assert(say(&retention, "log-7-1", 3, "base-7-2", 2));
    assert_collects("base-7-1");
}
END_TEST

/* Allocations that fail: whatever goes is not needed. */
static void scenario(void)
{
    struct retention own;
    struct retention_names names = { 0 };
    retention_init(&own, 7, 2);
    bool said = retention_found(&own, "log-6-1");
    for (uint64_t epoch = 1; epoch <= 12; epoch++) {
        char file[STORE_FILE_MAX], base[STORE_FILE_MAX];
        (void)snprintf(file, sizeof file, "log-7-%" PRIu64, epoch);
        (void)snprintf(base, sizeof base, "base-7-%" PRIu64, epoch);
        said = say(&own, file, epoch, base, epoch) && said;
        (void)retention_collect(&own, &names);
        for (size_t i = 0; i < names.files.count; i++) {
            struct store_file parsed;
            CHECK(store_file_parse(names.files.items[i].file, &parsed));
            CHECK(parsed.incarnation == 6 || parsed.number + 2 <= epoch);
        }
    }
    retention_names_clear(&names);
    retention_deinit(&own);
}

START_TEST(failing_allocations_delete_nothing_that_is_needed)
{
    ck_assert_uint_gt(failing_malloc_each(scenario), 10);
}
END_TEST

/* Random histories with crashes, roll-backs, parts and bases, against a plain list of what is needed. */
struct history {
    struct weir_frame_name frames[400];
    uint64_t redo[400];
    char bases[400][STORE_FILE_MAX];
    size_t count;
};

static bool is_needed_by_newest(const struct history *history, const char *file)
{
    const size_t newest = history->count - 1;
    if (strcmp(history->bases[newest], file) == 0) return true;
    for (size_t i = 0; i < history->count; i++) {
        const bool needed = history->frames[i].epoch > history->redo[newest] || i == newest;
        if (needed && strcmp(history->frames[i].file, file) == 0) return true;
    }
    return false;
}

static void assert_nothing_needed_goes(const struct history *history)
{
    struct retention_names names = { 0 };
    ck_assert(retention_collect(&retention, &names));
    for (size_t i = 0; i < names.files.count; i++)
        ck_assert_msg(!is_needed_by_newest(history, names.files.items[i].file), "%s is needed",
                      names.files.items[i].file);
    retention_names_clear(&names);
}

START_TEST(random_histories_never_lose_what_is_needed)
{
    uint64_t random = unit_seed();
    for (int round = 0; round < 300; round++) {
        struct history history = { .count = 0 };
        uint64_t segment = 1, base_number = 0, redo = 0;
        char base[STORE_FILE_MAX] = "";
        retention_deinit(&retention);
        retention_init(&retention, 1, 1 + unit_random_below(&random, 3));
        for (uint64_t epoch = 1; epoch < 100; epoch++) {
            if (unit_chance(&random, 20)) segment += 1 + unit_random_below(&random, 2);
            if (unit_chance(&random, 20)) continue; /* aborted */
            if (unit_chance(&random, 15)) {
                (void)snprintf(base, sizeof base, "base-1-%" PRIu64, ++base_number);
                redo = epoch - 1 - unit_random_below(&random, (uint32_t)(epoch - redo));
            }
            char file[STORE_FILE_MAX];
            (void)snprintf(file, sizeof file, "log-1-%" PRIu64, segment);
            history.frames[history.count] = frame_in(file, epoch);
            history.redo[history.count] = redo;
            memcpy(history.bases[history.count++], base, sizeof base);
            ck_assert(say(&retention, file, epoch, base[0] == '\0' ? NULL : base, redo));
            assert_nothing_needed_goes(&history);
        }
    }
}
END_TEST

/* ---- Files by reference ------------------------------------------------------------------------------------------ */

/* What `base` refers to: names with one space between them. */
static bool refer(const char *base, const char *tables)
{
    char copy[256], *next = copy;
    struct links links;
    (void)snprintf(copy, sizeof copy, "%s", tables);
    links_init(&links);
    for (char *name; (name = strsep(&next, " ")) != NULL;) {
        struct links_file *file = vec_push(&links.files);
        ck_assert_ptr_nonnull(file);
        *file = (struct links_file){ .name = "000001.sst" };
        (void)snprintf(file->file, sizeof file->file, "%s", name);
    }
    const bool good = retention_links(&retention, base, &links);
    links_deinit(&links);
    return good;
}

START_TEST(a_table_goes_with_the_last_base_that_refers_to_it)
{
    ck_assert(refer("base-7-1", "table-7-1 table-7-2"));
    ck_assert(say(&retention, "log-7-1", 1, "+base-7-1", 0));
    assert_collects("");
    ck_assert(refer("base-7-2", "table-7-2 table-7-3"));
    ck_assert(say(&retention, "log-7-1", 2, "+base-7-2", 1));
    assert_collects("base-7-1 table-7-1");
    ck_assert(say(&retention, "log-7-1", 3, "base-7-3", 2));
    assert_collects("base-7-2 table-7-2 table-7-3");
}
END_TEST

/* Also when the table is known for longer: whoever finds a base finds all of it. */
START_TEST(a_base_goes_before_what_it_refers_to)
{
    ck_assert(refer("base-7-1", "table-7-1"));
    ck_assert(say(&retention, "log-7-1", 1, "+base-7-1", 0));
    ck_assert(refer("base-7-2", "table-7-1 table-7-2"));
    ck_assert(say(&retention, "log-7-1", 2, "+base-7-2", 1));
    assert_collects("base-7-1");
    ck_assert(say(&retention, "log-7-1", 3, "base-7-3", 2));
    struct retention_names names = { 0 };
    ck_assert(retention_collect(&retention, &names));
    ck_assert_uint_eq(names.files.count, 3);
    ck_assert_str_eq(names.files.items[0].file, "base-7-2"); /* to be deleted in this order */
    retention_names_clear(&names);
}
END_TEST

START_TEST(a_retained_checkpoint_keeps_what_its_bases_refer_to)
{
    retention_deinit(&retention);
    retention_init(&retention, 7, 2);
    ck_assert(refer("base-7-1", "table-7-1 table-7-2"));
    ck_assert(say(&retention, "log-7-1", 1, "+base-7-1", 0));
    ck_assert(refer("base-7-2", "table-7-2"));
    ck_assert(say(&retention, "log-7-1", 2, "+base-7-2", 1));
    assert_collects("");
    ck_assert(say(&retention, "log-7-1", 3, "+base-7-2", 1));
    assert_collects("base-7-1 table-7-1");
}
END_TEST

/* A base that is written, and waits for the checkpoint that names it, needs what it refers to already. */
START_TEST(a_base_that_waits_for_its_checkpoint_keeps_its_tables)
{
    ck_assert(refer("base-7-1", "table-7-1 table-7-2"));
    ck_assert(say(&retention, "log-7-1", 1, "+base-7-1", 0));
    ck_assert(refer("base-7-2", "table-7-2 table-7-3"));
    ck_assert(say(&retention, "log-7-1", 2, "base-7-9", 1)); /* another shard's */
    assert_collects("base-7-1 table-7-1");
    ck_assert(say(&retention, "log-7-1", 3, "+base-7-2", 2));
    assert_collects("base-7-9");
}
END_TEST

START_TEST(tables_that_a_crash_left_behind_go_and_those_of_a_successor_stay)
{
    ck_assert(retention_found(&retention, "table-6-1"));
    ck_assert(retention_found(&retention, "table-6-2"));
    ck_assert(retention_found(&retention, "table-7-1"));
    ck_assert(retention_found(&retention, "table-8-1"));
    ck_assert(retention_found(&retention, "base-6-1"));
    ck_assert(refer("base-6-1", "table-6-2"));
    ck_assert(say(&retention, "log-7-1", 1, "+base-6-1", 0));
    assert_collects("table-6-1 table-7-1");
}
END_TEST

START_TEST(nothing_goes_while_it_is_unknown_what_a_base_refers_to)
{
    ck_assert(retention_found(&retention, "table-6-1"));
    ck_assert(!say(&retention, "log-7-1", 1, "+base-6-1", 0));
    struct retention_names names = { 0 };
    ck_assert(!retention_collect(&retention, &names));
    ck_assert_uint_eq(names.files.count, 0);
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_add_test(tests, nothing_goes_before_a_commit);
    tcase_add_test(tests, orphans_of_older_incarnations_go);
    tcase_add_test(tests, files_of_newer_incarnations_stay);
    tcase_add_test(tests, what_the_restored_checkpoint_needs_stays);
    tcase_add_test(tests, the_log_is_cut_at_the_redo_point);
    tcase_add_test(tests, a_checkpoint_without_redo_still_needs_its_own_frame);
    tcase_add_test(tests, segments_without_committed_frames_go_with_their_neighbours);
    tcase_add_test(tests, a_base_goes_when_no_retained_checkpoint_names_it);
    tcase_add_test(tests, retained_checkpoints_keep_what_they_need);
    tcase_add_test(tests, early_parts_keep_their_segments);
    tcase_add_test(tests, a_second_restore_of_one_incarnation_collects_its_own_orphans);
    tcase_add_test(tests, bases_in_other_stores_are_not_ours_to_delete);
    tcase_add_test(tests, failing_allocations_delete_nothing_that_is_needed);
    tcase_add_test(tests, random_histories_never_lose_what_is_needed);
    tcase_add_test(tests, a_table_goes_with_the_last_base_that_refers_to_it);
    tcase_add_test(tests, a_base_goes_before_what_it_refers_to);
    tcase_add_test(tests, a_retained_checkpoint_keeps_what_its_bases_refer_to);
    tcase_add_test(tests, a_base_that_waits_for_its_checkpoint_keeps_its_tables);
    tcase_add_test(tests, tables_that_a_crash_left_behind_go_and_those_of_a_successor_stay);
    tcase_add_test(tests, nothing_goes_while_it_is_unknown_what_a_base_refers_to);
}

int main(void)
{
    return unit_main("retention", add);
}
