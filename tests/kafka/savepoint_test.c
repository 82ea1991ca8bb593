/* Savepoints of jobs on a real broker: where the same history goes on, and where a second one begins. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "harness/broker.h"
#include "harness/digits.h"
#include "harness/local_job.h"
#include "harness/unit.h"
#include "harness/words.h"
#include "weir/kafka.h"

static const char *input, *output; /* two partitions, one */
static char savepoints[128], elsewhere[128];

/* ---- The job: how often each word came ------------------------------------------------------------------------------ */

static struct weir_bytes word_of(weir_task *task, const struct weir_record *record)
{
    (void)task;
    return record->value;
}

static weir_graph *counting(void)
{
    weir_graph *graph = weir_graph_create();
    struct weir_stream words = weir_kafka_source(graph, .name = "words", .topic = input);
    struct weir_stream counts = weir_aggregate(weir_key_by(words, .key = word_of), .name = "count",
                                               .accumulator = WEIR_I64, .add = digits_add_one);
    weir_kafka_sink(counts, .name = "counts", .topic = output);
    return graph;
}

/* Counts what is there, and ends with a savepoint. */
static const char *stop_with_savepoint(const char *expected)
{
    static struct weir_savepoint_status status;
    struct weir_error error, outcome;
    weir_job *job = local_job_create(counting());
    local_job_await_running(job);
    words_await(output, 1, expected);
    ck_assert_msg(weir_job_savepoint(job, savepoints, true, &error) == WEIR_OK, "%s", error.text);
    ck_assert(weir_job_wait(job, PATIENCE_MS, &outcome));
    local_job_expect_ok(&outcome);
    status.size = sizeof status;
    weir_job_savepoint_status(job, &status);
    ck_assert_msg(status.state == WEIR_SAVEPOINT_DONE, "%s\nlog:\n%s", status.error.text, local_job.log);
    weir_job_destroy(job);
    return status.path;
}

/* To the end of the input. */
static struct weir_error run(void)
{
    local_job_set("start.bounded", "true");
    return local_job_run(counting(), NULL);
}

static void expect_refused(enum weir_code code, const char *part)
{
    const struct weir_error outcome = run();
    ck_assert_msg(outcome.code == code, "%s: %s\nlog:\n%s", weir_code_name(outcome.code), outcome.text, local_job.log);
    ck_assert_msg(strstr(outcome.text, part) != NULL, "no '%s' in: %s", part, outcome.text);
}

static void expect_counts(const char *expected)
{
    const struct weir_error outcome = run();
    local_job_expect_ok(&outcome);
    ck_assert_str_eq(words_read(output, 1), expected);
}

static void print_line(void *user, const char *line)
{
    (void)user;
    (void)printf("%s\n", line);
}

/* The ledger's history begins anew with the savepoint, and fits its output from there on. */
static void expect_ledger_verified(void)
{
    struct weir_error error;
    struct weir_kafka_ledger_report report;
    const struct weir_kafka_ledger_options options = { .size = sizeof options, .job = local_job.name,
                                                       .brokers = broker_address(), .print = print_line };
    ck_assert_msg(weir_kafka_ledger_verify(&options, &report, &error) == WEIR_OK, "%s", error.text);
    ck_assert_uint_gt(report.commits, 1);
    ck_assert_uint_eq(report.oldest_epoch, 0);
}

static void begin(void)
{
    local_job_begin();
    local_job_set("start.bounded", "false");
    local_job_set("kafka.bootstrap.servers", broker_address());
    local_job.name = broker_name("savepoint");
    input = broker_topic("savepoint-input", 2);
    output = broker_topic("savepoint-output", 1);
    (void)snprintf(savepoints, sizeof savepoints, "%s/savepoints", local_job.directory);
    (void)snprintf(elsewhere, sizeof elsewhere, "%s/elsewhere", local_job.directory);
    words_put_many(input, 0, "a", 5);
    words_put_many(input, 1, "b", 3);
}

START_TEST(the_same_history_goes_on_in_another_directory)
{
    const char *path = stop_with_savepoint("a=5 b=3");
    words_put_many(input, 0, "b", 1);
    words_put_many(input, 1, "a", 2);
    local_job_set("execution.checkpointing.dir", elsewhere);
    expect_refused(WEIR_FOREIGN, "another checkpoint store");
    local_job_set("execution.savepoint.path", path);
    local_job_set("parallelism.default", "2");
    expect_counts("a=7 b=4");
    ck_assert_str_eq(words_read_all(output, 1), "a=1 a=2 a=3 a=4 a=5 a=6 a=7 b=1 b=2 b=3 b=4");
    words_put_many(input, 0, "a", 1); /* the same arguments again */
    expect_counts("a=8 b=4");
    ck_assert_ptr_nonnull(strstr(local_job.log, "already"));
    expect_ledger_verified();
}
END_TEST

START_TEST(the_directory_that_was_left_is_not_gone_on_in)
{
    const char *path = stop_with_savepoint("a=5 b=3");
    char left[64];
    (void)snprintf(left, sizeof left, "%s", local_job.directory);
    local_job_set("execution.checkpointing.dir", elsewhere);
    local_job_set("execution.savepoint.path", path);
    words_put_many(input, 0, "a", 1);
    expect_counts("a=6 b=3");
    local_job_set("execution.checkpointing.dir", left);
    expect_refused(WEIR_FOREIGN, "another checkpoint store");
}
END_TEST

START_TEST(a_history_that_went_on_is_not_thrown_back)
{
    const char *path = stop_with_savepoint("a=5 b=3");
    words_put_many(input, 0, "a", 1);
    expect_counts("a=6 b=3");
    local_job_set("execution.savepoint.path", path);
    expect_refused(WEIR_FOREIGN, "history of its own");
    local_job_set("execution.checkpointing.dir", elsewhere);
    expect_refused(WEIR_FOREIGN, "another checkpoint store");
}
END_TEST

/* Under another name, from the same savepoint. */
static void become_copy(const char *path)
{
    local_job.name = broker_name("copy");
    local_job_set("execution.savepoint.path", path);
}

START_TEST(a_second_copy_needs_another_output)
{
    const char *path = stop_with_savepoint("a=5 b=3");
    words_put_many(input, 1, "a", 2);
    become_copy(path);
    expect_refused(WEIR_FOREIGN, "--share-output");
    output = broker_topic("savepoint-copy", 1);
    expect_counts("a=7");
    ck_assert_str_eq(words_read_all(output, 1), "a=6 a=7"); /* from the very same position */
}
END_TEST

START_TEST(a_second_copy_of_a_job_that_wrote_nothing_yet_needs_another_output)
{
    input = broker_topic("savepoint-silence", 2);
    const char *path = stop_with_savepoint("");
    become_copy(path);
    expect_refused(WEIR_FOREIGN, "--share-output");
    output = broker_topic("savepoint-copy", 1);
    words_put_many(input, 0, "a", 2);
    expect_counts("a=2");
    expect_ledger_verified();
}
END_TEST

START_TEST(an_output_may_be_shared_on_purpose)
{
    const char *path = stop_with_savepoint("a=5 b=3");
    words_put_many(input, 1, "a", 2);
    become_copy(path);
    local_job_set("start.share-output", "true");
    expect_counts("a=7 b=3");
}
END_TEST

START_TEST(offsets_that_somebody_moved_are_found_in_another_directory_too)
{
    const char *path = stop_with_savepoint("a=5 b=3");
    broker_set_group_offset(local_job.name, input, 0, 2);
    local_job_set("execution.checkpointing.dir", elsewhere);
    local_job_set("execution.savepoint.path", path);
    expect_refused(WEIR_POSITION_LOST, "somebody moved the offsets");
    local_job_set("start.position", "ledger");
    words_put_many(input, 0, "a", 1);
    expect_counts("a=6 b=3");
}
END_TEST

/* ---- Another cluster ------------------------------------------------------------------------------------------------ */

static char map[160];

static void write_map(const char *lines)
{
    FILE *file = fopen(map, "w");
    ck_assert_ptr_nonnull(file);
    ck_assert_int_ge(fputs(lines, file), 0);
    ck_assert_int_eq(fclose(file), 0);
}

/* The savepoint stands at 5 of partition 0 and 3 of partition 1; there, records lie elsewhere, under the same name or not. */
static void go_to_another_cluster(const char *input_there)
{
    const char *path = stop_with_savepoint("a=5 b=3");
    (void)snprintf(map, sizeof map, "%s/map", local_job.directory);
    broker_select(1);
    local_job_set("kafka.bootstrap.servers", broker_address());
    broker_create_topic(input_there, 2, NULL);
    broker_create_topic(output, 1, NULL);
    local_job_set("execution.checkpointing.dir", elsewhere);
    local_job_set("execution.savepoint.path", path);
}

static void end(void)
{
    broker_select(0);
    local_job_end();
}

START_TEST(another_cluster_needs_to_be_told_where_to_read)
{
    go_to_another_cluster(input);
    words_put_many(input, 0, "a", 4);
    expect_refused(WEIR_FOREIGN, "--position start");
    expect_refused(WEIR_FOREIGN, "--position-map");
    local_job_set("start.position", "start");
    expect_counts("a=9");
}
END_TEST

START_TEST(another_cluster_is_read_from_a_time_on)
{
    char start[64];
    const int64_t now_ms = (int64_t)time(NULL) * 1000;
    go_to_another_cluster(input);
    rd_kafka_t *producer = broker_producer(NULL, NULL);
    for (int i = 0; i < 3; i++) {
        const struct weir_record word = { .value = weir_text(i == 2 ? "b" : "a"), .time_ms = now_ms + i * 1000 };
        broker_produce(producer, input, i == 2, &word);
    }
    broker_producer_close(producer);
    local_job_set("start.position", "start");
    (void)snprintf(start, sizeof start, "timestamp:%lld", (long long)now_ms + 500);
    local_job_set("source.start", start);
    expect_counts("a=6 b=4");
}
END_TEST

START_TEST(a_map_says_which_positions_of_another_cluster_are_the_same)
{
    char lines[256];
    go_to_another_cluster(input);
    words_put_many(input, 0, "a", 7); /* 3 of them are in the state */
    words_put_many(input, 1, "b", 4); /* 2 of them */
    local_job_set("execution.savepoint.position-map", map);
    expect_refused(WEIR_ENVIRONMENT, "cannot be read");
    (void)snprintf(lines, sizeof lines, "%s/0 5 3\n%s/1 3 x\n", input, input);
    write_map(lines);
    expect_refused(WEIR_ENVIRONMENT, "map:2: 'x' is no position");
    (void)snprintf(lines, sizeof lines, "%s/0 5 3\n%s/1 2 1\n", input, input);
    write_map(lines);
    expect_refused(WEIR_FOREIGN, "stands at 3 of ");
    (void)snprintf(lines, sizeof lines, "%s/0 5 3\n%s/1 3 9\n", input, input);
    write_map(lines);
    expect_refused(WEIR_POSITION_LOST, "offset 9 of ");
    (void)snprintf(lines, sizeof lines, "%s/0 5 3\n%s/1 3 2\n%s/1 2 1 # an older pair\n", input, input, input);
    write_map(lines);
    expect_counts("a=9 b=5");
    ck_assert_str_eq(words_read_all(output, 1), "a=6 a=7 a=8 a=9 b=4 b=5");
    ck_assert_int_eq(remove(map), 0); /* a unit file starts it with the same arguments */
    words_put_many(input, 0, "a", 1);
    expect_counts("a=10 b=5");
    expect_ledger_verified();
}
END_TEST

START_TEST(a_mirrored_topic_may_have_another_name)
{
    char lines[256];
    const char *here = input, *there = broker_name("eu.input");
    go_to_another_cluster(there);
    words_put_many(there, 0, "a", 6);
    words_put_many(there, 1, "b", 1);
    input = there;
    local_job_set("execution.savepoint.position-map", map);
    (void)snprintf(lines, sizeof lines, "%s/0 5 4 %s/0\n%s/1 3 0 %s/1\n", here, there, here, there);
    write_map(lines);
    expect_counts("a=7 b=4");
}
END_TEST

START_TEST(two_partitions_do_not_become_one)
{
    char lines[256];
    go_to_another_cluster(input);
    local_job_set("execution.savepoint.position-map", map);
    (void)snprintf(lines, sizeof lines, "%s/0 5 0\n%s/1 3 0 %s/0\n", input, input, input);
    write_map(lines);
    expect_refused(WEIR_FOREIGN, "two partitions");
}
END_TEST

START_TEST(offsets_of_the_group_in_another_cluster_count_when_it_has_all)
{
    go_to_another_cluster(input);
    words_put_many(input, 0, "a", 3);
    words_put_many(input, 1, "b", 3);
    broker_set_group_offset(local_job.name, input, 0, 1);
    expect_refused(WEIR_POSITION_LOST, "--position group");
    local_job_set("start.position", "group");
    expect_refused(WEIR_FOREIGN, "which has none for this one");
    broker_set_group_offset(local_job.name, input, 1, 2);
    expect_counts("a=7 b=4");
}
END_TEST

START_TEST(a_map_counts_although_somebody_copied_the_groups_offsets)
{
    char lines[256];
    go_to_another_cluster(input);
    words_put_many(input, 0, "a", 3);
    broker_set_group_offset(local_job.name, input, 0, 1);
    local_job_set("execution.savepoint.position-map", map);
    (void)snprintf(lines, sizeof lines, "%s/0 5 2\n%s/1 3 0\n", input, input);
    write_map(lines);
    expect_counts("a=6");
}
END_TEST

START_TEST(a_map_lets_nothing_else_through)
{
    char lines[256];
    const char *path = stop_with_savepoint("a=5 b=3");
    (void)snprintf(map, sizeof map, "%s/map", local_job.directory);
    (void)snprintf(lines, sizeof lines, "%s/0 5 5\n", input);
    write_map(lines);
    broker_delete_topic(input);
    broker_create_topic(input, 2, NULL);
    words_put_many(input, 0, "a", 6);
    words_put_many(input, 1, "b", 4);
    become_copy(path);
    output = broker_topic("savepoint-copy", 1);
    local_job_set("execution.savepoint.position-map", map);
    expect_refused(WEIR_POSITION_LOST, "deleted and created anew"); /* partition 1, of which the map says nothing */
    (void)snprintf(lines, sizeof lines, "%s/0 5 5\n%s/1 3 3\n", input, input);
    write_map(lines);
    expect_counts("a=6 b=4");
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_checked_fixture(tests, begin, end);
    tcase_add_test(tests, the_same_history_goes_on_in_another_directory);
    tcase_add_test(tests, the_directory_that_was_left_is_not_gone_on_in);
    tcase_add_test(tests, a_history_that_went_on_is_not_thrown_back);
    tcase_add_test(tests, a_second_copy_needs_another_output);
    tcase_add_test(tests, a_second_copy_of_a_job_that_wrote_nothing_yet_needs_another_output);
    tcase_add_test(tests, an_output_may_be_shared_on_purpose);
    tcase_add_test(tests, offsets_that_somebody_moved_are_found_in_another_directory_too);
    tcase_add_test(tests, another_cluster_needs_to_be_told_where_to_read);
    tcase_add_test(tests, another_cluster_is_read_from_a_time_on);
    tcase_add_test(tests, a_map_says_which_positions_of_another_cluster_are_the_same);
    tcase_add_test(tests, a_mirrored_topic_may_have_another_name);
    tcase_add_test(tests, two_partitions_do_not_become_one);
    tcase_add_test(tests, offsets_of_the_group_in_another_cluster_count_when_it_has_all);
    tcase_add_test(tests, a_map_counts_although_somebody_copied_the_groups_offsets);
    tcase_add_test(tests, a_map_lets_nothing_else_through);
}

int main(void)
{
    broker_start(1);
    broker_start(1);
    broker_select(0);
    return unit_main("savepoint", add);
}
