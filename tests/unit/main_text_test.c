#include "main/text.h"

#include <stdio.h>
#include <string.h>

#include "harness/unit.h"

static char out[256];

static const char *escaped(const char *text, size_t size, enum text_form form)
{
    out[text_escape(out, sizeof out - 1, (struct weir_bytes){ text, size }, form)] = '\0';
    return out;
}
#define ESCAPED(literal, form) escaped("" literal, sizeof(literal) - 1, form)

START_TEST(text_stays_as_it_is)
{
    ck_assert_str_eq(ESCAPED("Grüße, 世界 \xf0\x9f\x98\x80", TEXT_JSON), "Grüße, 世界 \xf0\x9f\x98\x80");
    ck_assert_str_eq(ESCAPED("", TEXT_PLAIN), "");
    ck_assert_str_eq(ESCAPED("say \"no\" \\ yes", TEXT_PLAIN), "say \"no\" \\ yes");
    ck_assert_str_eq(ESCAPED("say \"no\" \\ yes", TEXT_QUOTED), "say \\\"no\\\" \\\\ yes");
}
END_TEST

START_TEST(control_characters_are_escaped)
{
    ck_assert_str_eq(ESCAPED("a\nb\tc\rd\0e\x1b[2J\x7f", TEXT_PLAIN), "a\\nb\\tc\\rd\\x00e\\x1b[2J\\x7f");
    ck_assert_str_eq(ESCAPED("a\nb\0c\x1b\x7f", TEXT_JSON), "a\\nb\\u0000c\\u001b\\u007f");
    ck_assert_str_eq(ESCAPED("\xc2\x9b"
                             "2J", TEXT_PLAIN), "\\x9b2J"); /* CSI in one character */
    ck_assert_str_eq(ESCAPED("\xc2\x9b", TEXT_JSON), "\\u009b");
    ck_assert_str_eq(ESCAPED("\xc2\xa0", TEXT_JSON), "\xc2\xa0");
}
END_TEST

START_TEST(what_is_no_utf8_is_escaped_byte_by_byte)
{
    ck_assert_str_eq(ESCAPED("\xff\xfe", TEXT_PLAIN), "\\xff\\xfe");
    ck_assert_str_eq(ESCAPED("\xff", TEXT_JSON), "\\ufffd");
    ck_assert_str_eq(ESCAPED("\xc0\xaf", TEXT_PLAIN), "\\xc0\\xaf");         /* overlong */
    ck_assert_str_eq(ESCAPED("\xe0\x80\xaf", TEXT_PLAIN), "\\xe0\\x80\\xaf");
    ck_assert_str_eq(ESCAPED("\xed\xa0\x80", TEXT_PLAIN), "\\xed\\xa0\\x80"); /* a surrogate */
    ck_assert_str_eq(ESCAPED("\xf4\x90\x80\x80", TEXT_PLAIN), "\\xf4\\x90\\x80\\x80");
    ck_assert_str_eq(ESCAPED("ab\xe4\xb8", TEXT_PLAIN), "ab\\xe4\\xb8"); /* cut off */
}
END_TEST

START_TEST(what_does_not_fit_is_left_out_in_whole_characters)
{
    ck_assert_uint_eq(text_escape(out, 4, weir_text("abü\n"), TEXT_PLAIN), 4);
    ck_assert_uint_eq(text_escape(out, 3, weir_text("abü"), TEXT_PLAIN), 2);
    ck_assert_uint_eq(text_escape(out, 5, weir_text("ab\x1b"), TEXT_PLAIN), 2);
    ck_assert_uint_eq(text_escape(out, 0, weir_text("a"), TEXT_PLAIN), 0);
}
END_TEST

START_TEST(whatever_the_bytes_the_result_is_one_line_of_utf8)
{
    uint64_t state = unit_seed();
    for (int round = 0; round < 20000; round++) {
        char bytes[40];
        const size_t size = unit_random_below(&state, sizeof bytes);
        for (size_t i = 0; i < size; i++) bytes[i] = (char)unit_random_below(&state, 256);
        const enum text_form form = (enum text_form)unit_random_below(&state, 3);
        const size_t used = text_escape(out, 1 + unit_random_below(&state, sizeof out), (struct weir_bytes){ bytes, size }, form);
        for (size_t at = 0, step; at < used; at += step) {
            step = weir_utf8_size((struct weir_bytes){ out + at, used - at });
            unit_expect(step > 0);
            unit_expect((unsigned char)out[at] >= 0x20 && out[at] != 0x7f);
        }
    }
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_test(tests, text_stays_as_it_is);
    tcase_add_test(tests, control_characters_are_escaped);
    tcase_add_test(tests, what_is_no_utf8_is_escaped_byte_by_byte);
    tcase_add_test(tests, what_does_not_fit_is_left_out_in_whole_characters);
    tcase_add_test(tests, whatever_the_bytes_the_result_is_one_line_of_utf8);
}

int main(void) { return unit_main("text", add); }
