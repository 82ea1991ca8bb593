/* The word count's search for a member of a JSON object. */
#include <stdlib.h>

#include "../../apps/word-count/json_field.c"
#include "harness/unit.h"
#include "operator/chain.h"
#include "operator/stage.h"

static struct chain chain;
static struct weir_task task = { .chain = &chain };

static enum json_field find(const char *json, struct weir_bytes *text)
{
    static char *copy; /* of the exact size, so that the sanitizers see every step past the end */
    const size_t size = strlen(json);
    arena_deinit(&chain.scratch);
    arena_init(&chain.scratch, 1024);
    free(copy);
    copy = malloc(size > 0 ? size : 1);
    ck_assert_ptr_nonnull(copy);
    memcpy(copy, json, size);
    return json_field(&task, (struct weir_bytes){ copy, size }, weir_text("word"), text);
}

START_TEST(finds_the_member)
{
    static const struct { const char *json, *text; } rows[] = {
        { "{\"id\":1,\"word\":\"w00001\",\"n\":1}", "w00001" },
        { "{\"word\":\"\"}", "" },
        { " { \"a\" : null , \"word\" : \"x\" } ", "x" },
        { "{\"a\":\"word\",\"word\":\"a text longer than eight bytes\"}", "a text longer than eight bytes" },
        { "{\"a\":{\"word\":\"inner\"},\"b\":[1,\"]\",{}],\"word\":\"outer\"}", "outer" },
        { "{\"a\\\"\":\"\\\\\",\"word\":\"x\"}", "x" },
        { "{\"a\":\"1234567\\\"\",\"word\":\"x\"}", "x" },
        { "{\"word\":-1.5e3,\"n\":1}", "-1.5e3" },
        { "{\"word\":true}", "true" },
        { "{\"word\":[1, 2]}", "[1, 2]" },
        { "{\"word\":\"a\\n\\\"b\\\"\"}", "a\n\"b\"" },
        { "{\"word\":\"1234567\\\\\"}", "1234567\\" },
        { "{\"word\":\"\\u00e4\\ud83d\\ude00\"}", "\xc3\xa4\xf0\x9f\x98\x80" },
        { "{\"word\":\"12345678\"", "12345678" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct weir_bytes text;
        ck_assert_msg(find(rows[i].json, &text) == JSON_FIELD_FOUND, "%s", rows[i].json);
        ck_assert_msg(weir_bytes_equal(text, weir_text(rows[i].text)), "%s: %.*s", rows[i].json, (int)text.size, text.data);
    }
}
END_TEST

START_TEST(says_when_it_is_not_there)
{
    static const char *const rows[] = { "{}", " { } ", "{\"a\":1}", "{\"words\":\"x\"}", "{\"word\":null}", "{\"a\":\"word\"}" };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct weir_bytes text;
        ck_assert_msg(find(rows[i], &text) == JSON_FIELD_ABSENT, "%s", rows[i]);
    }
}
END_TEST

START_TEST(says_what_is_malformed)
{
    static const char *const rows[] = {
        "", "x", "[]", "{", "{\"a", "{\"a\"", "{\"a\":", "{\"a\":1", "{\"a\":1,", "{\"a\":,\"word\":\"x\"}", "{\"a\" 1}",
        "{\"word\":\"x", "{\"word\":\"x\\", "{\"word\":\"x\\\"", "{\"word\":\"1234567\\", "{\"word\":\"\\q\"}",
        "{\"word\":\"\\ud800\"}", "{\"word\":\"\\udc00\"}", "{\"word\":\"\\u12\"}", "{\"a\":]}", "{\"a\":[}", "{a:1}",
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct weir_bytes text;
        ck_assert_msg(find(rows[i], &text) == JSON_FIELD_MALFORMED, "%s", rows[i]);
    }
}
END_TEST

/* Every length and place of the closing quote, against a loop that cannot be wrong. */
START_TEST(finds_marks_wherever_they_stand)
{
    char text[40];
    for (size_t size = 0; size <= sizeof text; size++) {
        for (size_t mark = 0; mark <= size; mark++) {
            memset(text, '!', sizeof text); /* differs from a quote in one bit */
            if (mark < size) text[mark] = mark % 2 == 0 ? '"' : '\\';
            ck_assert_ptr_eq(find_mark(text, text + size), text + mark);
        }
    }
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_test(tests, finds_the_member);
    tcase_add_test(tests, says_when_it_is_not_there);
    tcase_add_test(tests, says_what_is_malformed);
    tcase_add_test(tests, finds_marks_wherever_they_stand);
}

int main(void)
{
    return unit_main("json field", add);
}
