/* Findings of an examination: sentences, once each, verdicts; and the checkpoint directory. */
#include "runtime/examine.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "harness/unit.h"

static struct weir_examination examination;
static char found[4000]; /* "severity check: problem > advice" a line */

static void take(void *user, const struct weir_finding *finding)
{
    (void)user;
    const size_t used = strlen(found);
    (void)snprintf(found + used, sizeof found - used, "%d %s: %s > %s\n", (int)finding->severity, finding->check,
                   finding->problem, finding->advice);
}

static void begin(void)
{
    found[0] = '\0';
    examination_begin(&examination, take, NULL);
}

static void end(void) { examination_end(&examination); }

static const struct weir_check row = { "a-row", WEIR_SEVERITY_WARNING, WEIR_OK, "{0} is not {1}; {2}{0}", "Make {0} so." };

START_TEST(sentences_are_filled_in)
{
    weir_report(&examination, &row, "this", "that");
    ck_assert_str_eq(found, "1 a-row: this is not that; {2}this > Make this so.\n");
}
END_TEST

START_TEST(a_text_is_never_taken_for_a_sentence)
{
    weir_report(&examination, &row, "{1}%n", "that");
    ck_assert_str_eq(found, "1 a-row: {1}%n is not that; {2}{1}%n > Make {1}%n so.\n");
}
END_TEST

START_TEST(the_same_report_counts_once)
{
    for (int i = 0; i < 3; i++) weir_report(&examination, &row, "this", "that");
    weir_report(&examination, &row, "this", "other");
    ck_assert_str_eq(found, "1 a-row: this is not that; {2}this > Make this so.\n"
                            "1 a-row: this is not other; {2}this > Make this so.\n");
}
END_TEST

START_TEST(long_texts_are_cut)
{
    static char text[3000];
    memset(text, 'x', sizeof text - 1);
    weir_report(&examination, &row, text, text);
    ck_assert_uint_gt(strlen(found), 800);
    ck_assert_uint_lt(strlen(found), 2000);
}
END_TEST

static int ended;
static void end_shared(void *shared) { ended += *(int *)shared; }

START_TEST(what_connectors_share_is_theirs_by_kind_and_ends_with_it)
{
    static int one = 1, ten = 10;
    *weir_examination_shared(&examination, "a", end_shared) = &one;
    *weir_examination_shared(&examination, "b", end_shared) = &ten;
    ck_assert_ptr_eq(*weir_examination_shared(&examination, "a", end_shared), &one);
    (void)weir_examination_shared(&examination, "c", end_shared); /* holds nothing */
    examination_end(&examination);
    ck_assert_int_eq(ended, 11);
}
END_TEST

/* ---- The verdict -------------------------------------------------------------------------------------------------- */

static char logged[2000];
static void take_line(void *user, const struct weir_log_line *line)
{
    (void)user;
    if (line->level != WEIR_LOG_WARN) return;
    (void)snprintf(logged + strlen(logged), sizeof logged - strlen(logged), "%s\n", line->text);
}

START_TEST(a_start_logs_warnings_and_is_refused_for_the_first_error)
{
    static const struct weir_check left_to_start = { "left", WEIR_SEVERITY_ERROR, WEIR_OK, "left", "Left." },
                                   refused = { "refused", WEIR_SEVERITY_ERROR, WEIR_USAGE, "wrong {0}", "Mend {0}." },
                                   note = { "note", WEIR_SEVERITY_NOTE, WEIR_OK, "noted", "Nothing." };
    const struct weir_environment environment = { .log = take_line };
    struct examine_verdict verdict = { .environment = &environment };
    examination.found = examine_judge;
    examination.user = &verdict;
    weir_report(&examination, &left_to_start, "");
    weir_report(&examination, &note, "");
    weir_report(&examination, &row, "this", "that");
    ck_assert_int_eq(verdict.error.code, WEIR_OK);
    weir_report(&examination, &refused, "first");
    weir_report(&examination, &refused, "second");
    ck_assert_int_eq(verdict.error.code, WEIR_USAGE);
    ck_assert_int_eq(verdict.error.remedy, WEIR_REMEDY_STOP);
    ck_assert_str_eq(verdict.error.text, "wrong first. Mend first. (refused)");
    ck_assert_uint_eq(verdict.more, 1);
    ck_assert_str_eq(logged, "this is not that; {2}this. Make this so. (a-row)\n");
}
END_TEST

/* ---- The checkpoint directory ------------------------------------------------------------------------------------- */

static char folder[64];

static const char *examine_in(const char *directory, const char *storage)
{
    struct weir_error error;
    weir_config *config = weir_config_create();
    found[0] = '\0';
    const char *const settings[][2] = { { "execution.checkpointing.dir", directory },
                                        { "execution.checkpointing.storage", storage } };
    for (size_t i = 0; i < 2; i++)
        ck_assert_int_eq(weir_config_set(config, WEIR_CONFIG_CODE, settings[i][0], settings[i][1], "test", &error), WEIR_OK);
    examine_checkpoints(&examination, config, "words");
    weir_config_destroy(config);
    return found;
}

static const char *make_folder(const char *where)
{
    (void)snprintf(folder, sizeof folder, "%s/weir-examine-XXXXXX", where);
    ck_assert_ptr_nonnull(mkdtemp(folder));
    return folder;
}

/* A folder of the build's own, which lies on a disk. */
START_TEST(a_directory_on_a_disk_is_good_also_before_it_is_made)
{
    char path[128];
    if (access(".", W_OK) != 0) return;
    make_folder(".");
    (void)snprintf(path, sizeof path, "%s/later", folder);
    const char *lines = examine_in(path, "filesystem");
    (void)rmdir(folder);
    ck_assert_ptr_null(strstr(lines, "missing"));
    ck_assert_ptr_null(strstr(lines, "not-writable"));
}
END_TEST

START_TEST(a_directory_without_a_parent_is_an_error)
{
    ck_assert_ptr_nonnull(strstr(examine_in("/nowhere/at/all", "filesystem"),
                                 "2 checkpoint-directory-missing: the checkpoint directory '/nowhere/at/all' cannot be made: "
                                 "there is no directory '/nowhere/at'"));
}
END_TEST

/* Nobody may do everything as root, so the fact becomes somebody else. */
START_TEST(a_directory_that_is_read_only_is_an_error)
{
    make_folder("/tmp");
    ck_assert_int_eq(chmod(folder, 0555), 0);
    if (geteuid() == 0) ck_assert_int_eq(setuid(65534), 0);
    const char *lines = examine_in(folder, "filesystem");
    (void)rmdir(folder);
    ck_assert_ptr_nonnull(strstr(lines, "2 checkpoint-directory-not-writable: checkpoints cannot be written in"));
}
END_TEST

START_TEST(a_directory_in_memory_is_a_warning)
{
    if (access("/dev/shm", W_OK) != 0) return;
    make_folder("/dev/shm");
    const char *lines = examine_in(folder, "filesystem");
    (void)rmdir(folder);
    ck_assert_ptr_nonnull(strstr(lines, "1 checkpoint-directory-volatile"));
}
END_TEST

/* A disk of 1 MiB, which this fact alone sees. Only root may have one. */
START_TEST(a_directory_that_is_nearly_full_is_a_warning)
{
    make_folder("/tmp");
    const bool is_small = unshare(CLONE_NEWNS) == 0 && mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
                          mount("none", folder, "tmpfs", 0, "size=1m") == 0;
    const char *lines = examine_in(folder, "filesystem");
    if (is_small) ck_assert_int_eq(umount(folder), 0);
    (void)rmdir(folder);
    if (is_small) ck_assert_ptr_nonnull(strstr(lines, "1 checkpoint-directory-nearly-full: the file system of the checkpoint"));
    if (is_small) ck_assert_ptr_nonnull(strstr(lines, "has 1 MiB left"));
}
END_TEST

START_TEST(checkpoints_in_the_process_are_a_warning)
{
    ck_assert_ptr_nonnull(strstr(examine_in("/nowhere", "jobmanager"), "1 checkpoints-in-process"));
    ck_assert_ptr_null(strstr(found, "missing"));
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_checked_fixture(tests, begin, end);
    tcase_add_test(tests, sentences_are_filled_in);
    tcase_add_test(tests, a_text_is_never_taken_for_a_sentence);
    tcase_add_test(tests, the_same_report_counts_once);
    tcase_add_test(tests, long_texts_are_cut);
    tcase_add_test(tests, what_connectors_share_is_theirs_by_kind_and_ends_with_it);
    tcase_add_test(tests, a_start_logs_warnings_and_is_refused_for_the_first_error);
    tcase_add_test(tests, a_directory_on_a_disk_is_good_also_before_it_is_made);
    tcase_add_test(tests, a_directory_without_a_parent_is_an_error);
    tcase_add_test(tests, a_directory_that_is_read_only_is_an_error);
    tcase_add_test(tests, a_directory_in_memory_is_a_warning);
    tcase_add_test(tests, a_directory_that_is_nearly_full_is_a_warning);
    tcase_add_test(tests, checkpoints_in_the_process_are_a_warning);
}

int main(void) { return unit_main("examination", add); }
