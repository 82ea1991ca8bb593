/* Savepoints of jobs on a real broker: where the same history goes on, and where a second one begins. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness/broker.h"
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

static enum weir_code count(weir_keyed_task *task, void *accumulator, const struct weir_record *record)
{
    (void)task, (void)record;
    ++*(int64_t *)accumulator;
    return WEIR_OK;
}

static weir_graph *counting(void)
{
    weir_graph *graph = weir_graph_create();
    struct weir_stream words = weir_kafka_source(graph, .name = "words", .topic = input);
    struct weir_stream counts = weir_aggregate(weir_key_by(words, .key = word_of), .name = "count",
                                               .accumulator = WEIR_I64, .add = count);
    weir_kafka_sink(counts, .name = "counts", .topic = output);
    return graph;
}

/* Counts what is there, and ends with a savepoint. */
static const char *stop_with_savepoint(const char *expected)
{
    static struct weir_savepoint_status status;
    struct weir_error error, outcome;
    weir_job *job = local_job_create(counting());
    words_await(output, 1, expected);
    ck_assert_msg(weir_job_savepoint(job, savepoints, true, &error) == WEIR_OK, "%s", error.text);
    ck_assert(weir_job_wait(job, 60000, &outcome));
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

START_TEST(a_second_copy_needs_another_output)
{
    const char *path = stop_with_savepoint("a=5 b=3");
    words_put_many(input, 1, "a", 2);
    local_job.name = broker_name("copy");
    local_job_set("execution.savepoint.path", path);
    expect_refused(WEIR_FOREIGN, "--share-output");
    output = broker_topic("savepoint-copy", 1);
    expect_counts("a=7");
    ck_assert_str_eq(words_read_all(output, 1), "a=6 a=7"); /* from the very same position */
}
END_TEST

START_TEST(an_output_may_be_shared_on_purpose)
{
    const char *path = stop_with_savepoint("a=5 b=3");
    words_put_many(input, 1, "a", 2);
    local_job.name = broker_name("copy");
    local_job_set("execution.savepoint.path", path);
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

START_TEST(another_cluster_needs_to_be_told_where_to_read)
{
    const char *path = stop_with_savepoint("a=5 b=3");
    broker_select(1);
    local_job_set("kafka.bootstrap.servers", broker_address());
    broker_create_topic(input, 2, NULL);
    broker_create_topic(output, 1, NULL);
    words_put_many(input, 0, "a", 4);
    local_job_set("execution.checkpointing.dir", elsewhere);
    local_job_set("execution.savepoint.path", path);
    expect_refused(WEIR_FOREIGN, "--position start");
    local_job_set("start.position", "start");
    expect_counts("a=9");
    broker_select(0);
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_checked_fixture(tests, begin, local_job_end);
    tcase_set_timeout(tests, 120);
    tcase_add_test(tests, the_same_history_goes_on_in_another_directory);
    tcase_add_test(tests, the_directory_that_was_left_is_not_gone_on_in);
    tcase_add_test(tests, a_history_that_went_on_is_not_thrown_back);
    tcase_add_test(tests, a_second_copy_needs_another_output);
    tcase_add_test(tests, an_output_may_be_shared_on_purpose);
    tcase_add_test(tests, offsets_that_somebody_moved_are_found_in_another_directory_too);
    tcase_add_test(tests, another_cluster_needs_to_be_told_where_to_read);
}

int main(void)
{
    broker_start(1);
    broker_start(1);
    broker_select(0);
    return unit_main("savepoint", add);
}
