#include "weir/weir.h"

#include <string.h>

#include "harness/unit.h"

static struct weir_error error;

START_TEST(context_comes_before_the_sentence)
{
    ck_assert_int_eq(weir_error_set(&error, WEIR_USAGE, WEIR_REMEDY_STOP, "there is no topic '%s'", "a"), WEIR_USAGE);
    ck_assert_int_eq(weir_error_wrap(&error, "source '%s'", "lines"), WEIR_USAGE);
    ck_assert_str_eq(error.text, "source 'lines': there is no topic 'a'");
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

START_TEST(a_sentence_that_is_too_long_is_cut)
{
    char context[2000];
    memset(context, 'c', sizeof context - 1);
    context[sizeof context - 1] = '\0';
    weir_error_set(&error, WEIR_FAILED, WEIR_REMEDY_STOP, "the end");
    weir_error_wrap(&error, "%s", context);
    ck_assert_uint_eq(strlen(error.text), sizeof error.text - 1);
}
END_TEST

static void add(TCase *facts)
{
    tcase_add_test(facts, context_comes_before_the_sentence);
    tcase_add_test(facts, the_same_context_is_said_once);
    tcase_add_test(facts, a_sentence_that_is_too_long_is_cut);
}

int main(void)
{
    return unit_main("base_error", add);
}
