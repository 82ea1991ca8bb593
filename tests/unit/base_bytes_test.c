#include "base/base.h"
#include "harness/unit.h"

#include <stdio.h>

START_TEST(null_empty_and_unset_are_three_things)
{
    const struct weir_bytes unset = { 0 };
    ck_assert(!weir_is_set(unset) && weir_is_set(WEIR_NULL) && weir_is_set(WEIR_EMPTY));
    ck_assert(!weir_is_null(unset) && weir_is_null(WEIR_NULL) && !weir_is_null(WEIR_EMPTY));
    ck_assert(weir_bytes_equal(WEIR_NULL, WEIR_NULL));
    ck_assert(!weir_bytes_equal(WEIR_NULL, WEIR_EMPTY));
    ck_assert(!weir_bytes_equal(unset, WEIR_EMPTY));
    ck_assert(!weir_bytes_equal(unset, WEIR_NULL));
    ck_assert(weir_bytes_equal(weir_text("ab"), (struct weir_bytes){ "abc", 2 }));
    ck_assert(!weir_bytes_equal(weir_text("ab"), weir_text("ac")));
}
END_TEST

static const struct {
    const char *text;
    const char *tokens; /* joined by '|' */
} cuts[] = {
    { "", "" }, { "   ", "" }, { "a", "a" }, { "a b", "a|b" }, { "  a  bc   d ", "a|bc|d" }, { "a\tb c", "a\tb|c" },
};

START_TEST(cuts_tokens_at_runs_of_the_separator)
{
    char joined[64] = "";
    struct weir_bytes rest = weir_text(cuts[_i].text), token;
    while (weir_bytes_token(&rest, ' ', &token)) {
        ck_assert_uint_gt(token.size, 0);
        if (joined[0] != '\0') strcat(joined, "|");
        strncat(joined, token.data, token.size);
    }
    ck_assert_str_eq(joined, cuts[_i].tokens);
    ck_assert(!weir_bytes_token(&rest, ' ', &token));
}
END_TEST

START_TEST(null_and_unset_have_no_tokens)
{
    struct weir_bytes null = WEIR_NULL, unset = { 0 }, token;
    ck_assert(!weir_bytes_token(&null, ' ', &token));
    ck_assert(!weir_bytes_token(&unset, ' ', &token));
}
END_TEST

static const struct {
    const char *text;
    bool is_number;
    int64_t number;
} numbers[] = {
    { "0", true, 0 },
    { "-0", true, 0 },
    { "0012", true, 12 },
    { "9223372036854775807", true, INT64_MAX },
    { "-9223372036854775808", true, INT64_MIN },
    { "9223372036854775808", false, 0 },
    { "-9223372036854775809", false, 0 },
    { "99999999999999999999", false, 0 },
    { "", false, 0 },
    { "-", false, 0 },
    { "+1", false, 0 },
    { " 1", false, 0 },
    { "1 ", false, 0 },
    { "1e3", false, 0 },
};

START_TEST(reads_whole_decimal_numbers_only)
{
    int64_t number = 0;
    ck_assert_msg(weir_bytes_to_i64(weir_text(numbers[_i].text), &number) == numbers[_i].is_number, "'%s'",
                  numbers[_i].text);
    ck_assert_int_eq(number, numbers[_i].number);
}
END_TEST

static char logged[64];

static void keep_line(void *user, const struct weir_log_line *line)
{
    (void)snprintf(logged, sizeof logged, "%s %d %s", (const char *)user, (int)line->level, line->text);
}

START_TEST(logs_through_the_environment_only)
{
    static char name[] = "me";
    struct weir_environment environment = { .log = keep_line, .log_user = name };
    weir_log(&environment, WEIR_LOG_INFO, "%d lines", 3);
    ck_assert_str_eq(logged, "me 2 3 lines");
    environment.log = NULL;
    weir_log(&environment, WEIR_LOG_INFO, "nowhere");
    ck_assert_str_eq(logged, "me 2 3 lines");
}
END_TEST

/* Each character of the plane and its neighbours, as an encoder writes it; and what no encoder writes. */
static size_t encode(uint32_t code, char out[4])
{
    if (code < 0x80) return (out[0] = (char)code, 1);
    if (code < 0x800) return (out[0] = (char)(0xc0 | code >> 6), out[1] = (char)(0x80 | (code & 0x3f)), 2);
    const size_t size = code < 0x10000 ? 3 : 4;
    for (size_t i = size; i-- > 1; code >>= 6) out[i] = (char)(0x80 | (code & 0x3f));
    out[0] = (char)((size == 3 ? 0xe0 : 0xf0) | code);
    return size;
}

START_TEST(every_character_of_utf8_has_its_size_and_nothing_else_has)
{
    static const char *const none[] = { "\x80", "\xc0\x80", "\xc1\xbf", "\xe0\x9f\xbf", "\xed\xa0\x80", "\xf0\x8f\xbf\xbf",
                                        "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xff", "\xe2\x82", "\xc3(", "\xf0\x9f\x98(" };
    ck_assert_uint_eq(weir_utf8_size(WEIR_EMPTY), 0);
    for (uint32_t code = 0; code < 0x110000; code++) {
        char bytes[4];
        const size_t size = encode(code, bytes);
        const bool is_half = code >= 0xd800 && code < 0xe000;
        unit_expect(weir_utf8_size((struct weir_bytes){ bytes, size }) == (is_half ? 0 : size));
        if (size > 1) unit_expect(weir_utf8_size((struct weir_bytes){ bytes, size - 1 }) == 0);
    }
    for (size_t i = 0; i < sizeof none / sizeof none[0]; i++) ck_assert_uint_eq(weir_utf8_size(weir_text(none[i])), 0);
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_test(tests, null_empty_and_unset_are_three_things);
    tcase_add_loop_test(tests, cuts_tokens_at_runs_of_the_separator, 0, (int)(sizeof cuts / sizeof cuts[0]));
    tcase_add_test(tests, null_and_unset_have_no_tokens);
    tcase_add_loop_test(tests, reads_whole_decimal_numbers_only, 0, (int)(sizeof numbers / sizeof numbers[0]));
    tcase_add_test(tests, logs_through_the_environment_only);
    tcase_add_test(tests, every_character_of_utf8_has_its_size_and_nothing_else_has);
}

int main(void)
{
    return unit_main("bytes", add);
}
