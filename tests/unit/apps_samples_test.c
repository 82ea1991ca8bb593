/* The samples: each runs over the first half of its records, is started again at another parallelism with all of them, and then
 * has told the same as a loop over them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "harness/process.h"
#include "harness/unit.h"

enum { RECORDS = 1200, LINES_MAX = 4000 };

static struct line {
    char key[64], value[64];
} lines[LINES_MAX];
static int line_count;

/* Adds what the sample prints to the lines. */
static void run(const char *sample, int records, int parallelism)
{
    char command[1024], text[256];
    (void)snprintf(command, sizeof command,
                   WEIR_BINARY_DIR "/apps/sample-%s --checkpoint-dir '%s' --bounded --quiet --records %d --parallelism %d",
                   sample, process_folder(), records, parallelism);
    FILE *output = popen(command, "r");
    ck_assert_ptr_nonnull(output);
    while (fgets(text, sizeof text, output) != NULL) {
        struct line *line = &lines[line_count];
        if (strchr(text, '\t') == NULL) continue; /* the summary */
        line->value[0] = '\0';
        ck_assert_int_ge(sscanf(text, "%63[^\t]\t%63[^\n]", line->key, line->value), 1);
        ck_assert_int_lt(++line_count, LINES_MAX);
    }
    const int status = pclose(output);
    ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "sample-%s ended with %d", sample, WEXITSTATUS(status));
}

static void run_twice(const char *sample)
{
    line_count = 0;
    run(sample, RECORDS / 2, 2);
    run(sample, RECORDS, 3);
}

/* What was told of a key last. */
static void expect_last(const char *key, const char *value)
{
    for (int i = line_count; i-- > 0;)
        if (strcmp(lines[i].key, key) == 0) {
            ck_assert_msg(strcmp(lines[i].value, value) == 0, "%s: %s instead of %s", key, lines[i].value, value);
            return;
        }
    ck_abort_msg("nothing is told of %s", key);
}

START_TEST(list_has_the_last_three_readings)
{
    run_twice("list");
    expect_last("sensor-0", "1188 1192 1196");
    expect_last("sensor-3", "1191 1195 1199");
    ck_assert_int_eq(line_count, RECORDS - 4 * 2);
}
END_TEST

START_TEST(map_has_the_page_that_was_seen_most_often)
{
    run_twice("map");
    for (int visitor = 0; visitor < 5; visitor++) {
        int shop = 0;
        char key[64], value[64];
        for (int n = visitor; n < RECORDS; n += 5) shop += n % 3 != 0 && n % 7 != 0;
        (void)snprintf(key, sizeof key, "visitor-%d", visitor);
        (void)snprintf(value, sizeof value, "/shop %d", shop);
        expect_last(key, value);
    }
}
END_TEST

START_TEST(reducing_has_the_highest_temperature)
{
    static const char *const cities[] = { "Oslo", "Rome", "Cairo" };
    run_twice("reducing");
    for (int city = 0; city < 3; city++) {
        int highest = 0;
        char value[64];
        for (int n = city; n < RECORDS; n += 3)
            if (n * 37 % 500 % (30 + city * 5) > highest) highest = n * 37 % 500 % (30 + city * 5);
        (void)snprintf(value, sizeof value, "%d", highest);
        expect_last(cities[city], value);
    }
}
END_TEST

START_TEST(aggregating_has_the_mean)
{
    run_twice("aggregating");
    expect_last("sensor-0", "598.0");
    expect_last("sensor-1", "599.0");
    expect_last("sensor-2", "600.0");
    expect_last("sensor-3", "601.0");
}
END_TEST

/* What waits at an end is packed after it, wherever it has gone: nothing is lost, and nothing packed twice. */
START_TEST(operator_list_packs_every_record_once)
{
    long count = 0, sum = 0;
    run_twice("operator-list");
    run("operator-list", RECORDS + 100, 1);
    for (int i = 0; i < line_count; i++) {
        long packed, of_pack;
        ck_assert_int_eq(sscanf(lines[i].value, "%ld %ld", &packed, &of_pack), 2);
        ck_assert_int_ge(packed, 12);
        count += packed;
        sum += of_pack;
    }
    const long records = RECORDS + 100, waiting = records - count;
    ck_assert(waiting >= 0 && waiting < 12);
    const long missing = records * (records - 1) / 2 - sum; /* the numbers of those that wait */
    ck_assert(missing >= 0 && missing <= waiting * records);
}
END_TEST

START_TEST(operator_union_gives_no_number_twice)
{
    static bool is_given[2 * RECORDS];
    run_twice("operator-union");
    run("operator-union", RECORDS + 100, 1);
    ck_assert_int_eq(line_count, RECORDS + 100);
    for (int i = 0; i < line_count; i++) {
        const int number = atoi(lines[i].value);
        ck_assert(number > 0 && number < 2 * RECORDS);
        ck_assert_msg(!is_given[number], "%d was given twice", number);
        is_given[number] = true;
    }
}
END_TEST

/* In which order limits and orders meet is not said, but every limit is below what comes much later. */
START_TEST(broadcast_refuses_what_is_above_the_limit)
{
    run_twice("broadcast");
    ck_assert_int_gt(line_count, RECORDS / 4);
    ck_assert_int_le(line_count, RECORDS - RECORDS / 100);
}
END_TEST

START_TEST(time_to_live_lets_each_order_through_once)
{
    run_twice("time-to-live");
    ck_assert_int_eq(line_count, 10);
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_test(tests, list_has_the_last_three_readings);
    tcase_add_test(tests, map_has_the_page_that_was_seen_most_often);
    tcase_add_test(tests, reducing_has_the_highest_temperature);
    tcase_add_test(tests, aggregating_has_the_mean);
    tcase_add_test(tests, operator_list_packs_every_record_once);
    tcase_add_test(tests, operator_union_gives_no_number_twice);
    tcase_add_test(tests, broadcast_refuses_what_is_above_the_limit);
    tcase_add_test(tests, time_to_live_lets_each_order_through_once);
}

int main(void)
{
    return unit_main("apps_samples", add);
}
