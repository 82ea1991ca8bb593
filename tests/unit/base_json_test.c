/* Reading lines of JSON. */
#include <stdlib.h>
#include <string.h>

#include "harness/unit.h"
#include "weir/json.h"

static struct weir_json_line line;

/* Reads a copy of exactly this size, so that the sanitizers see every step past the end. What was read borrows from it. */
static const char *read_bytes(const char *data, size_t size)
{
    static char *copy;
    free(copy);
    copy = malloc(size > 0 ? size : 1);
    ck_assert_ptr_nonnull(copy);
    memcpy(copy, data, size);
    return weir_json_read(&line, copy, size);
}

static void read_good(const char *text)
{
    const char *problem = read_bytes(text, strlen(text));
    ck_assert_msg(problem == NULL, "%s: %s", text, problem);
}

static void expect_bytes(const char *name, const char *data, size_t size)
{
    const struct weir_json_value value = weir_json_find(&line, name);
    ck_assert_int_eq(value.type, WEIR_JSON_BYTES);
    ck_assert(weir_bytes_equal(value.bytes, (struct weir_bytes){ data, size }));
}

START_TEST(values_are_told_apart)
{
    read_good(" { \"a\" : \"text\", \"b\":-1.5e3 ,\"c\":null,\"d\":true,\"e\":{\"hex\":\"00fF\"},"
              "\"f\":[1,{\"x\":\"}\"}],\"g\":\"\"} ");
    expect_bytes("a", "text", 4);
    ck_assert_int_eq(weir_json_find(&line, "b").type, WEIR_JSON_NUMBER);
    ck_assert(weir_bytes_equal(weir_json_find(&line, "b").bytes, weir_text("-1.5e3")));
    ck_assert_int_eq(weir_json_find(&line, "c").type, WEIR_JSON_NULL);
    ck_assert_int_eq(weir_json_find(&line, "d").type, WEIR_JSON_TRUTH);
    expect_bytes("e", "\0\xff", 2);
    ck_assert_int_eq(weir_json_find(&line, "f").type, WEIR_JSON_SKIPPED);
    expect_bytes("g", "", 0);
    ck_assert_int_eq(weir_json_find(&line, "h").type, WEIR_JSON_ABSENT);
    read_good("{}");
    ck_assert_uint_eq(line.count, 0);
}
END_TEST

START_TEST(escapes_are_decoded)
{
    read_good("{\"a\":\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u0041\\u00e9\\u20ac\\ud83d\\ude00\",\"n\\u0061me\":{\"h\\u0065x\":\"41\"}}");
    expect_bytes("a", "\"\\/\b\f\n\r\tA\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", 18);
    expect_bytes("name", "A", 1);
}
END_TEST

START_TEST(what_is_no_object_is_refused)
{
    static const char *const bad[] = {
        "", "[", "{", "{\"a\"", "{\"a\":", "{\"a\":}", "{\"a\":1", "{\"a\":1}}", "{\"a\":1}x", "{\"a\":\"", "{\"a\":\"\\",
        "{\"a\":\"\\u12", "{\"a\":\"\\ud800\"}", "{\"a\":\"\\ud800\\u0041\"}", "{\"a\":\"\\udc00\"}", "{\"a\":\"\\x\"}",
        "{\"a\":{\"hex\":\"0\"}}", "{\"a\":{\"hex\":\"0g\"}}", "{\"a\":{\"hex\":\"00\",\"b\":1}}", "{\"a\":nul}", "{\"a\":+1}",
        "{a:1}", "{\"a\":[1,2}", "{\"a\":\"\n\"}",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        ck_assert_msg(read_bytes(bad[i], strlen(bad[i])) != NULL, "%s", bad[i]);
}
END_TEST

START_TEST(any_bytes_are_read_or_refused)
{
    static const char sample[] = "{\"operator\":\"a\",\"state\":\"b\\u00e9\",\"key\":{\"hex\":\"00ff\"},"
                                 "\"value\":-12,\"x\":[{},null]}";
    uint64_t random = unit_seed();
    char bytes[2 * sizeof sample];
    for (int i = 0; i < 200000; i++) {
        size_t size = sizeof sample - 1;
        memcpy(bytes, sample, size);
        for (uint32_t changes = unit_random_below(&random, 4); changes > 0; changes--)
            bytes[unit_random(&random) % size] = unit_chance(&random, 50) ? (char)unit_random(&random)
                                                                          : "{}[]\",:\\u0"[unit_random_below(&random, 10)];
        if (unit_chance(&random, 30)) size = unit_random(&random) % size;
        const char *problem = read_bytes(bytes, size);
        for (size_t k = 0; problem == NULL && k < line.count; k++) {
            const struct weir_bytes value = line.fields[k].value.bytes;
            unit_expect(value.data == NULL || value.size < sizeof sample);
        }
    }
    memset(bytes, '[', sizeof bytes);
    ck_assert_ptr_nonnull(read_bytes(bytes, sizeof bytes));
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_test(tests, values_are_told_apart);
    tcase_add_test(tests, escapes_are_decoded);
    tcase_add_test(tests, what_is_no_object_is_refused);
    tcase_add_test(tests, any_bytes_are_read_or_refused);
}

int main(void)
{
    return unit_main("json", add);
}
