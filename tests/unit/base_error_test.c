#include "weir/weir.h"

#include <string.h>

#include "harness/unit.h"

static struct weir_error error;

START_TEST(every_code_has_name_text_and_exit_status)
{
    ck_assert_str_eq(weir_code_name(WEIR_FENCED), "FENCED");
    ck_assert_str_eq(weir_code_text(WEIR_OK), "ok");
    ck_assert_int_eq(weir_code_exit_status(WEIR_OK), 0);
    ck_assert_int_eq(weir_code_exit_status(WEIR_FOREIGN), 8);
    ck_assert_int_eq(weir_code_exit_status(WEIR_NO_MEMORY), 1);
    ck_assert_str_eq(weir_code_name((enum weir_code)999), "UNKNOWN");
}
END_TEST

START_TEST(contexts_pile_up_in_front_of_an_error)
{
    const enum weir_code code = weir_error_set(&error, WEIR_ENVIRONMENT, WEIR_REMEDY_RETRY, "no space on %s", "disk");
    ck_assert_int_eq(code, WEIR_ENVIRONMENT);
    ck_assert_int_eq(weir_error_wrap(&error, "operator '%s'", "count"), WEIR_ENVIRONMENT);
    ck_assert_int_eq(weir_error_wrap(&error, "checkpoint %d", 7), WEIR_ENVIRONMENT);
    ck_assert_str_eq(error.text, "checkpoint 7: operator 'count': no space on disk");
    ck_assert_int_eq(error.remedy, WEIR_REMEDY_RETRY);
    ck_assert_int_eq(weir_error_set(NULL, WEIR_USAGE, WEIR_REMEDY_STOP, "nobody listens"), WEIR_USAGE);
}
END_TEST

START_TEST(the_same_context_is_said_once)
{
    weir_error_set(&error, WEIR_FAILED, WEIR_REMEDY_STOP, "source 'lines': there is no topic 'a'");
    weir_error_wrap(&error, "source 'lines'");
    ck_assert_str_eq(error.text, "source 'lines': there is no topic 'a'");
    weir_error_wrap(&error, "source 'line'"); /* another one */
    ck_assert_str_eq(error.text, "source 'line': source 'lines': there is no topic 'a'");
}
END_TEST

START_TEST(an_error_may_quote_itself)
{
    weir_error_set(&error, WEIR_FAILED, WEIR_REMEDY_STOP, "first");
    weir_error_set(&error, WEIR_FAILED, WEIR_REMEDY_STOP, "second, after '%s'", error.text);
    ck_assert_str_eq(error.text, "second, after 'first'");
}
END_TEST

START_TEST(long_errors_are_cut)
{
    char longest[3000];
    memset(longest, 'x', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    weir_error_set(&error, WEIR_FAILED, WEIR_REMEDY_STOP, "%s", longest);
    ck_assert_uint_eq(strlen(error.text), sizeof error.text - 1);
    weir_error_wrap(&error, "context");
    ck_assert_uint_eq(strlen(error.text), sizeof error.text - 1);
    ck_assert(strncmp(error.text, "context: xxx", 12) == 0);
    weir_error_wrap(&error, "%s", longest);
    ck_assert_uint_eq(strlen(error.text), sizeof error.text - 1);
    weir_error_set(&error, WEIR_FAILED, WEIR_REMEDY_STOP, "the end");
    weir_error_wrap(&error, "%s", longest);
    ck_assert_uint_eq(strlen(error.text), sizeof error.text - 1);
}
END_TEST

static void add(TCase *facts)
{
    tcase_add_test(facts, every_code_has_name_text_and_exit_status);
    tcase_add_test(facts, contexts_pile_up_in_front_of_an_error);
    tcase_add_test(facts, the_same_context_is_said_once);
    tcase_add_test(facts, an_error_may_quote_itself);
    tcase_add_test(facts, long_errors_are_cut);
}

int main(void)
{
    return unit_main("base_error", add);
}
