#include "runtime/position_map.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "harness/unit.h"

static char path[64];
static struct position_map map;
static struct weir_error error;

static enum weir_code load(const char *text)
{
    FILE *file = fopen(path, "w");
    ck_assert_ptr_nonnull(file);
    ck_assert_int_ge(fputs(text, file), 0);
    ck_assert_int_eq(fclose(file), 0);
    error = (struct weir_error){ .code = WEIR_OK };
    position_map_deinit(&map);
    return position_map_load(&map, path, &error);
}

static void begin(void)
{
    (void)snprintf(path, sizeof path, "/tmp/weir-position-map-XXXXXX");
    const int file = mkstemp(path);
    ck_assert_int_ge(file, 0);
    close(file);
    map = (struct position_map){ .lines = { NULL, 0, 0 } };
    arena_init(&map.arena, 64);
}

static void end(void)
{
    position_map_deinit(&map);
    unlink(path);
}

static void expect(const char *split, int64_t position, const char *split_there, int64_t position_there)
{
    const struct position_map_line *line = position_map_find(&map, split, position);
    ck_assert_msg(line != NULL, "no line for %s at %lld", split, (long long)position);
    ck_assert_str_eq(line->split_there, split_there);
    ck_assert_int_eq(line->position_there, position_there);
}

START_TEST(reads_lines_comments_and_other_names)
{
    ck_assert_msg(load("# made by hand\n\norders/1\t90 88 eu.orders/1 # mirrored\n  orders/0 4711 4650\r\norders/0 10 9") ==
                      WEIR_OK, "%s", error.text);
    expect("orders/0", 4711, "orders/0", 4650);
    expect("orders/0", 10, "orders/0", 9);
    expect("orders/1", 90, "eu.orders/1", 88);
}
END_TEST

START_TEST(a_position_between_two_lines_is_not_guessed)
{
    ck_assert_int_eq(load("a/0 10 20\na/0 30 40\na/2 0 0\n"), WEIR_OK);
    ck_assert_ptr_null(position_map_find(&map, "a/0", 20));
    ck_assert_ptr_null(position_map_find(&map, "a/0", 31));
    ck_assert_ptr_null(position_map_find(&map, "a/1", 10));
    ck_assert(position_map_names(&map, "a/0"));
    ck_assert(position_map_names(&map, "a/2"));
    ck_assert(!position_map_names(&map, "a/1"));
    ck_assert(!position_map_names(&map, "z/1"));
}
END_TEST

START_TEST(finds_each_of_many_lines_in_any_order)
{
    static char text[64000];
    size_t size = 0;
    for (int i = 0; i < 2000; i++) /* 7 and 2000 have no divisor in common: every number once */
        size += (size_t)snprintf(text + size, sizeof text - size, "topic/%d %d %d\n", i * 7 % 2000 % 5, i * 7 % 2000, i);
    ck_assert_int_eq(load(text), WEIR_OK);
    for (int i = 0; i < 2000; i++) {
        char split[32];
        (void)snprintf(split, sizeof split, "topic/%d", i * 7 % 2000 % 5);
        expect(split, i * 7 % 2000, split, i);
    }
}
END_TEST

static const struct {
    const char *text, *line, *part;
} mistakes[] = {
    { "a/0 1 2\na/1 5\n", ":2:", "2 of at least 3 words" },
    { "a/0 1 2 b/0 c\n", ":1:", "'c' is one word too many" },
    { "\n\na/0 1x 2\n", ":3:", "'1x' is no position" },
    { "a/0 1 -2\n", ":1:", "'-2' is no position" },
    { "a/0 1 ?\n", ":1:", "'?' is no position" },
    { "a/0 1 99999999999999999999\n", ":1:", "is no position" },
    { "a/0 1 2\nb/0 1 2\na/0 1 3\n", ":3:", "2 of a/0 in line 1: remove the wrong line" },
    { "a/0 1 2\na/0 1 2 b/0\n", ":2:", "remove the wrong line" },
};

START_TEST(mistakes_are_named_with_file_and_line)
{
    ck_assert_int_eq(load(mistakes[_i].text), WEIR_USAGE);
    ck_assert_msg(strstr(error.text, path) != NULL, "%s", error.text);
    ck_assert_msg(strstr(error.text, mistakes[_i].line) != NULL, "%s", error.text);
    ck_assert_msg(strstr(error.text, mistakes[_i].part) != NULL, "%s", error.text);
}
END_TEST

START_TEST(lines_that_say_the_same_twice_are_fine)
{
    ck_assert_msg(load("a/0 1 2\na/0 1 2\n") == WEIR_OK, "%s", error.text);
    expect("a/0", 1, "a/0", 2);
}
END_TEST

START_TEST(a_file_that_is_no_text_is_refused)
{
    char text[4000];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    ck_assert_int_eq(load(text), WEIR_USAGE);
    ck_assert_msg(strstr(error.text, ":1: the line is longer") != NULL, "%s", error.text);
    position_map_deinit(&map);
    ck_assert_int_eq(position_map_load(&map, "/proc/nowhere", &error), WEIR_USAGE);
    ck_assert_msg(strstr(error.text, "--position-map") != NULL, "%s", error.text);
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_checked_fixture(tests, begin, end);
    tcase_add_test(tests, reads_lines_comments_and_other_names);
    tcase_add_test(tests, a_position_between_two_lines_is_not_guessed);
    tcase_add_test(tests, finds_each_of_many_lines_in_any_order);
    tcase_add_loop_test(tests, mistakes_are_named_with_file_and_line, 0, sizeof mistakes / sizeof mistakes[0]);
    tcase_add_test(tests, lines_that_say_the_same_twice_are_fine);
    tcase_add_test(tests, a_file_that_is_no_text_is_refused);
}

int main(void)
{
    return unit_main("runtime_position_map", add);
}
