/* Every allocation of who looks into a checkpoint fails once: WEIR_TEST_WRAPS_MALLOC. It says so, or answers all the same,
 * never something else. */
#include <stdio.h>
#include <sys/stat.h>

#include "harness/failing_malloc.h"
#include "harness/golden.h"
#include "harness/process.h"
#include "harness/unit.h"
#include "weir/inspect.h"

static const char *path;
static uint64_t entries_expected, problems;
static enum weir_code code_unexpected; /* a scenario may not assert itself */

static void note(enum weir_code code, bool is_right)
{
    if (code != WEIR_OK && code != WEIR_NO_MEMORY) code_unexpected = code;
    problems += code == WEIR_OK && !is_right;
}

static uint64_t read_all(weir_inspector *inspector, struct weir_error *error)
{
    struct weir_inspect_entry entry;
    uint64_t entries = 0;
    if (weir_inspect_begin(inspector, NULL, error) != WEIR_OK) return 0;
    while (weir_inspect_next(inspector, &entry, error)) entries++;
    return entries;
}

static void look(void)
{
    weir_inspector *inspector;
    struct weir_error error;
    enum weir_code code = weir_inspect_open(&inspector, &error, .path = path, .memory_bytes = 4096);
    uint64_t entries = 0;
    if (code == WEIR_OK) {
        entries = read_all(inspector, &error);
        code = error.code;
    }
    note(code, entries == entries_expected);
    weir_inspect_close(inspector);
}

static void verify(void)
{
    struct weir_inspect_report report;
    struct weir_error error;
    const struct weir_inspect_options options = { .size = sizeof options, .path = path };
    const enum weir_code code = weir_inspect_verify(&options, NULL, NULL, &report, &error);
    note(code, report.entries == entries_expected);
}

static void set_up(void)
{
    weir_inspector *inspector;
    struct weir_error error;
    path = process_path("golden");
    ck_assert_int_eq(mkdir(path, 0777), 0);
    golden_unpack("store-1.hex", path);
    ck_assert_int_eq(weir_inspect_open(&inspector, &error, .path = path), WEIR_OK);
    entries_expected = read_all(inspector, &error);
    ck_assert_uint_gt(entries_expected, 100);
    weir_inspect_close(inspector);
}

static void expect_no_surprise(void)
{
    ck_assert_msg(code_unexpected == WEIR_OK, "%s", weir_code_name(code_unexpected));
    ck_assert_uint_eq(problems, 0);
}

START_TEST(looking_in_says_that_there_is_no_memory)
{
    ck_assert_uint_gt(failing_malloc_each(look), 100);
    expect_no_surprise();
}
END_TEST

START_TEST(verifying_says_that_there_is_no_memory)
{
    ck_assert_uint_gt(failing_malloc_each(verify), 100);
    expect_no_surprise();
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_checked_fixture(tests, set_up, NULL);
    tcase_add_test(tests, looking_in_says_that_there_is_no_memory);
    tcase_add_test(tests, verifying_says_that_there_is_no_memory);
}

int main(void)
{
    return unit_main("state_inspect_memory", add);
}
