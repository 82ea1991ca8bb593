/* What becomes of RocksDB's lines. */
#include "state/rocksdb_log.h"

#include <stdio.h>
#include <string.h>

#include "harness/unit.h"

static struct weir_log_line last;
static char text[1000];
static int count;

static void take(void *user, const struct weir_log_line *line)
{
    (void)user;
    last = *line;
    (void)snprintf(text, sizeof text, "%s", line->text);
    count++;
}

static struct weir_environment environment = { .log = take, .job = "orders" };

static void say(unsigned level, const char *line, size_t size)
{
    char copy[1000];
    memcpy(copy, line, size);
    rocksdb_log_line(&environment, level, copy, size);
}

START_TEST(warnings_and_errors_are_lines_of_the_jobs_log)
{
    for (unsigned level = 0; level < 8; level++) {
        count = 0;
        say(level, "compaction failed\n\nand more", 19);
        ck_assert_int_eq(count, level >= 2 && level <= 4);
        if (count == 0) continue;
        ck_assert_str_eq(text, "compaction failed");
        ck_assert_str_eq(last.client, "rocksdb");
        ck_assert_str_eq(last.job, "orders");
        ck_assert_int_eq(last.level, WEIR_LOG_WARN); /* what fails is an error of the call that failed */
    }
}
END_TEST

START_TEST(a_line_that_is_too_long_is_cut_and_one_that_is_empty_is_a_line)
{
    char line[900];
    memset(line, 'x', sizeof line);
    say(3, line, sizeof line);
    ck_assert_uint_eq(strlen(text), 600);
    say(3, line, 0);
    ck_assert_str_eq(text, "");
}
END_TEST

START_TEST(nobody_hears_where_nobody_listens)
{
    char line[] = "lost";
    rocksdb_log_line(NULL, 3, line, 4);
    ck_assert_int_eq(count, 0);
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_test(tests, warnings_and_errors_are_lines_of_the_jobs_log);
    tcase_add_test(tests, a_line_that_is_too_long_is_cut_and_one_that_is_empty_is_a_line);
    tcase_add_test(tests, nobody_hears_where_nobody_listens);
}

int main(void) { return unit_main("rocksdb log", add); }
