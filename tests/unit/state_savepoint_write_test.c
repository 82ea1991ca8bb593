/* Savepoints out of nothing: what was put in is what is there, a job goes on from it, and mistakes are named. */
#include <stdio.h>
#include <string.h>

#include "harness/digits.h"
#include "harness/golden.h"
#include "harness/local_job.h"
#include "harness/process.h"
#include "harness/unit.h"
#include "weir/savepoint.h"

enum { BEFORE = 1000, NUMBERS = 5000 };

/* ---- A job that begins with what was written --------------------------------------------------------------------- */

static const struct weir_state total = { .name = "total", .codec = WEIR_I64 };
static const struct weir_state steps = { .name = "steps", .kind = WEIR_STATE_OPERATOR_LIST, .codec = WEIR_I64 };

/* Counts in the steps that the operator's own list gives. */
static enum weir_code count(weir_keyed_task *task, const struct weir_record *record)
{
    (void)record;
    struct weir_iterator at = { 0 };
    struct weir_bytes element;
    int64_t step = 0, sum = 0;
    while (weir_operator_list_next(task, &steps, &at, &element)) {
        memcpy(&step, element.data, sizeof step);
        sum += step;
    }
    return weir_keyed_emit(task, .value = weir_format_i64(task, *weir_value_i64(task, &total) += sum));
}

static struct weir_error run_job(void)
{
    weir_graph *graph = weir_graph_create();
    digits_begin();
    digits_print(weir_keyed_process(digits_by_key(graph, NUMBERS, 0), .name = "count", .process = count,
                                    .states = { &total, &steps }), "out");
    return local_job_run(graph, NULL);
}

static void expect_ok(enum weir_code code, const struct weir_error *error)
{
    ck_assert_msg(code == WEIR_OK, "%s", error->text);
}

static weir_savepoint_writer *create_writer(void)
{
    weir_savepoint_writer *writer;
    struct weir_error error;
    expect_ok(weir_savepoint_writer_create(&writer, &error, .directory = process_path("savepoints"), .job = "test"), &error);
    const struct weir_inspect_state value = { .operator_name = "count", .name = "total", .codec = WEIR_I64 };
    const struct weir_inspect_state list = { .operator_name = "count", .name = "steps", .kind = WEIR_STATE_OPERATOR_LIST,
                                             .codec = WEIR_I64 };
    expect_ok(weir_savepoint_declare(writer, &value, &error), &error);
    expect_ok(weir_savepoint_declare(writer, &list, &error), &error);
    return writer;
}

static enum weir_code put(weir_savepoint_writer *writer, size_t state, const char *key, int64_t number,
                          struct weir_error *error)
{
    struct weir_inspect_entry entry = { .state = state, .value = { (const char *)&number, sizeof number } };
    if (key != NULL) entry.key = weir_text(key);
    return weir_savepoint_put(writer, &entry, error);
}

START_TEST(a_job_begins_with_it)
{
    const char *path;
    struct weir_error error;
    weir_savepoint_writer *writer = create_writer();
    for (int i = 0; i < DIGITS; i++) {
        const char key[2] = { (char)('0' + i), '\0' };
        expect_ok(put(writer, 0, key, BEFORE, &error), &error);
    }
    expect_ok(put(writer, 1, NULL, 2, &error), &error);
    expect_ok(weir_savepoint_finish(writer, &path, &error), &error);
    local_job_set("execution.savepoint.path", path);
    const struct weir_error outcome = run_job();
    local_job_expect_ok(&outcome);
    digits_expect(BEFORE + 2 * NUMBERS / DIGITS);
    weir_savepoint_writer_destroy(writer);
}
END_TEST

START_TEST(mistakes_are_named)
{
    struct weir_error error;
    weir_savepoint_writer *writer = create_writer();
    ck_assert_int_eq(put(writer, 7, "a", 1, &error), WEIR_USAGE);
    ck_assert_int_eq(put(writer, 0, NULL, 1, &error), WEIR_USAGE);
    ck_assert_ptr_nonnull(strstr(error.text, "has no key"));
    const struct weir_inspect_entry short_value = { .key = weir_text("a"), .value = weir_text("abc") };
    ck_assert_int_eq(weir_savepoint_put(writer, &short_value, &error), WEIR_USAGE);
    ck_assert_ptr_nonnull(strstr(error.text, "has 3 bytes instead of 8"));
    const struct weir_inspect_entry in_a_map = { .key = weir_text("a"), .element = weir_text("b"),
                                                 .value = weir_text("12345678") };
    ck_assert_int_eq(weir_savepoint_put(writer, &in_a_map, &error), WEIR_USAGE);
    expect_ok(put(writer, 0, "a", 1, &error), &error);
    const struct weir_inspect_state late = { .operator_name = "count", .name = "late", .codec = WEIR_I64 };
    ck_assert_int_eq(weir_savepoint_declare(writer, &late, &error), WEIR_USAGE);
    weir_savepoint_writer_destroy(writer);
}
END_TEST

/* ---- The command ------------------------------------------------------------------------------------------------- */

static int shell(const char *command)
{
    char line[2000];
    (void)snprintf(line, sizeof line, "PATH='%s/apps':$PATH; cd '%s' && %s", WEIR_BINARY_DIR, process_folder(), command);
    const int status = system(line);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* Values of older versions are given in the declared one; times of expiry begin anew. */
START_TEST(what_was_dumped_can_be_written)
{
    ck_assert_int_eq(shell("mkdir golden"), 0);
    golden_unpack("store-1.hex", process_path("golden"));
    ck_assert_int_eq(shell("{ weir state ls golden --json; weir state dump golden --json; } |"
                           "sed -e 's/,\"value_version\":1//' -e 's/,\"touched\":\"[^\"]*\"//' > lines"), 0);
    ck_assert_int_eq(shell("weir state write made --job golden --max-parallelism 16 lines > path"), 0);
    ck_assert_int_eq(shell("weir checkpoint verify $(cat path) > verdict"), 0);
    ck_assert_int_eq(shell("weir state dump $(cat path) --json > again && grep -v '\"kind\"' lines | cmp - again"), 0);
}
END_TEST

START_TEST(a_line_that_is_wrong_is_named_by_its_number)
{
    static const char *const lines[] = {
        "{",
        "{\"operator\":\"a\",\"state\":\"b\",\"kind\":\"value\"}",
        "{\"operator\":\"a\",\"state\":\"b\",\"key\":\"c\",\"value\":1}",
        "{\"operator\":\"count\",\"state\":\"total\",\"key\":\"c\",\"value\":1.5}",
        "{\"operator\":\"count\",\"state\":\"total\",\"key\":{\"hex\":\"0\"},\"value\":1}",
        "{\"operator\":\"count\",\"state\":\"total\",\"key\":\"\\ud800\",\"value\":1}",
        "[1]",
    };
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        FILE *file = fopen(process_path("lines"), "w");
        ck_assert_ptr_nonnull(file);
        (void)fprintf(file, "{\"operator\":\"count\",\"state\":\"total\",\"kind\":\"value\",\"codec\":\"i64\"}\n\n%s\n",
                      lines[i]);
        ck_assert_int_eq(fclose(file), 0);
        ck_assert_int_eq(shell("weir state write made --job j lines 2> error"), 2);
        ck_assert_int_eq(shell("grep -q 'weir: line 3: ' error && ! ls made 2> /dev/null"), 0);
    }
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_checked_fixture(tests, local_job_begin, local_job_end);
    tcase_add_test(tests, a_job_begins_with_it);
    tcase_add_test(tests, mistakes_are_named);
    tcase_add_test(tests, what_was_dumped_can_be_written);
    tcase_add_test(tests, a_line_that_is_wrong_is_named_by_its_number);
}

int main(void)
{
    return unit_main("state_savepoint_write", add);
}
