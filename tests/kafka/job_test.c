/* Whole jobs on a real broker, as their users start and stop them. */
#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "harness/broker.h"
#include "harness/unit.h"
#include "harness/words.h"
#include "weir/connector.h"

/* ---- Stopping ------------------------------------------------------------------------------------------------------- */

START_TEST(sigterm_commits_what_was_read_and_exits_0)
{
    struct words_job job = words_job(1, 1);
    struct process process;
    words_set(&job, "--emit", "each");
    words_start(&job, &process);
    words_put_many(job.input, 0, "a", 500);
    PROCESS_AWAIT(words_count(job.output, 1) > 0, PATIENCE_MS);
    process_signal(&process, SIGTERM);
    process_expect_end(&process, 0, "stopping");
    /* Visible at once: what readers see is what the group's offset says. */
    ck_assert_int_eq(words_count(job.output, 1), (int)broker_group_offset(job.job, job.input, 0));
    ck_assert_int_eq(broker_end(job.output, 0, true), broker_end(job.output, 0, false));
    words_start_until(&job, &process, "a=500");
    process_signal(&process, SIGINT);
    process_expect_end(&process, 0, NULL);
    words_expect_all_committed(&job);
    process_free(&process);
}
END_TEST

/* ---- What is refused ------------------------------------------------------------------------------------------------ */

static void expect_usage(const struct process_job *options, const char *argument, const char *value, const char *text)
{
    struct process process;
    process_start_job(&process, options, argument, value, NULL);
    process_expect_end(&process, 2, text);
    process_free(&process);
}

START_TEST(wrong_options_exit_2_and_name_the_option)
{
    const struct process_job good = { .program = "word-count", .brokers = broker_address(), .input = "in", .output = "out",
                                      .checkpoints = process_path("store") };
    struct process_job bad = good;
    bad.input = NULL;
    expect_usage(&bad, NULL, NULL, "--input is required");
    bad = good;
    bad.checkpoints = NULL;
    expect_usage(&bad, NULL, NULL, "checkpoint directory");
    bad = good;
    bad.job = "no/slash";
    expect_usage(&bad, NULL, NULL, "--job");
    expect_usage(&good, "--emit", "sometimes", "--emit");
    expect_usage(&good, "--no-such-option", NULL, "no-such-option");
    expect_usage(&good, "-X", "no.such.key=1", "no.such.key");
    expect_usage(&good, "-X", "kafka.enable.auto.commit=true", "enable.auto.commit");
    expect_usage(&good, "-X", "kafka.consumer.isolation.level=read_uncommitted", "isolation.level");
    expect_usage(&good, "-X", "kafka.producer.transactional.id=mine", "transactional.id");
    expect_usage(&good, "-X", "kafka.producer.enable.idempotence=false", "enable.idempotence");
    expect_usage(&good, "--checkpoint-interval", "soon", "checkpoint");
    expect_usage(&good, "--parallelism", "0", "parallelism");
    expect_usage(&good, "--position", "middle", "position");
}
END_TEST

START_TEST(missing_topics_exit_7_and_are_named)
{
    struct words_job job = words_job(1, 1);
    struct process process;
    job.options.output = "never-created-output";
    process_start_job(&process, &job.options, "--bounded", NULL);
    process_expect_end(&process, 7, "never-created-output");
    job.options.output = job.output;
    job.options.input = "never-created-input";
    process_start_job(&process, &job.options, "--bounded", NULL);
    process_expect_end(&process, 7, "never-created-input");
    process_free(&process);
}
END_TEST

START_TEST(create_topics_creates_outputs)
{
    struct words_job job = words_job(1, 1);
    job.output = broker_name("created");
    job.options.output = job.output;
    words_put(job.input, 0, "a b a");
    words_set(&job, "--create-topics", NULL);
    words_run(&job);
    ck_assert_str_eq(words_read(job.output, 1), "a=2 b=1");
}
END_TEST

/* ---- Inputs of every kind ------------------------------------------------------------------------------------------- */

START_TEST(a_bounded_run_goes_on_where_the_last_one_ended)
{
    struct words_job job = words_job(2, 2);
    words_put(job.input, 0, "a b");
    words_put(job.input, 1, "a");
    words_run(&job);
    ck_assert_str_eq(words_read(job.output, 2), "a=2 b=1");
    const int count = words_count(job.output, 2);
    words_run(&job);
    ck_assert_int_eq(words_count(job.output, 2), count);
    words_put(job.input, 1, "b c");
    words_run(&job);
    ck_assert_str_eq(words_read(job.output, 2), "a=2 b=2 c=1");
    words_expect_all_committed(&job);
}
END_TEST

/* Killed when the last commit is acknowledged, and when the end is being made visible; then started again. */
START_TEST(last_words_are_said_once_though_the_job_dies_behind_its_last_commit)
{
    static const char *const crashes[] = { "WEIR_CRASH=shutdown_half_done:1", "WEIR_CRASH=commit_acknowledged:2" };
    struct words_job job = words_job(3, 1);
    struct process process;
    job.options.program = "ending";
    words_set(&job, "--parallelism", "2");
    words_set(&job, "--checkpoint-interval", "1h");
    words_put(job.input, 0, "a");
    job.options.environment[0] = crashes[_i];
    process_start_job(&process, &job.options, "--bounded", NULL);
    ck_assert_int_eq(process_wait(&process), -SIGKILL);
    process_free(&process);
    job.options.environment[0] = NULL;

    process_start_job(&process, &job.options, "--bounded", NULL);
    process_expect_end(&process, 0, "was complete already");
    process_free(&process);
    ck_assert_int_eq(words_count(job.output, 1), 2);
    words_put(job.input, 2, "b");
    words_run(&job);
    ck_assert_int_eq(words_count(job.output, 1), 4);
    words_expect_all_committed(&job);
}
END_TEST

static void put_nulls(const char *topic)
{
    rd_kafka_t *producer = broker_producer(NULL, NULL);
    const struct weir_record records[] = {
        { .key = WEIR_NULL, .value = weir_text("a"), .time_ms = WEIR_TIME_UNSET },
        { .key = weir_text("k"), .value = WEIR_NULL, .time_ms = WEIR_TIME_UNSET },
        { .key = WEIR_EMPTY, .value = WEIR_EMPTY, .time_ms = WEIR_TIME_UNSET },
        { .key = WEIR_NULL, .value = WEIR_NULL, .time_ms = WEIR_TIME_UNSET },
        { .key = WEIR_EMPTY, .value = weir_text("  a   b  "), .time_ms = WEIR_TIME_UNSET },
    };
    for (size_t i = 0; i < sizeof records / sizeof records[0]; i++) broker_produce(producer, topic, 0, &records[i]);
    broker_producer_close(producer);
}

START_TEST(null_keys_and_null_values_count_nothing)
{
    struct words_job job = words_job(1, 1);
    put_nulls(job.input);
    words_run(&job);
    ck_assert_str_eq(words_read(job.output, 1), "a=2 b=1");
    words_expect_all_committed(&job);
}
END_TEST

START_TEST(empty_topics_are_waited_on_or_ended_at_once)
{
    struct words_job job = words_job(2, 1);
    struct process process;
    words_run(&job);
    ck_assert_int_eq(words_count(job.output, 1), 0);
    words_start(&job, &process);
    words_put(job.input, 1, "a");
    words_await(job.output, 1, "a=1");
    process_stop(&process);
}
END_TEST

START_TEST(more_subtasks_than_partitions_end_all_the_same)
{
    struct words_job job = words_job(1, 1);
    struct process process;
    words_set(&job, "--parallelism", "3");
    words_put(job.input, 0, "a b c d e f a b c");
    words_run(&job);
    ck_assert_str_eq(words_read(job.output, 1), "a=2 b=2 c=2 d=1 e=1 f=1");
    words_start(&job, &process);
    words_put(job.input, 0, "f");
    words_await(job.output, 1, "a=2 b=2 c=2 d=1 e=1 f=2");
    process_stop(&process);
}
END_TEST

static void put_transaction(rd_kafka_t *producer, const char *topic, const char *line, bool commit)
{
    const struct weir_record record = { .key = WEIR_NULL, .value = weir_text(line), .time_ms = WEIR_TIME_UNSET };
    broker_begin(producer);
    broker_produce(producer, topic, 0, &record);
    if (commit) {
        broker_commit(producer);
    } else {
        broker_flush(producer);
        broker_abort(producer);
    }
}

START_TEST(control_records_at_the_end_of_a_topic_are_passed)
{
    struct words_job job = words_job(1, 1);
    struct process process;
    rd_kafka_t *producer = broker_producer(broker_name("input"), NULL);
    put_transaction(producer, job.input, "a", true);
    put_transaction(producer, job.input, "aborted", false);
    broker_await_stable(job.input, 0);
    words_run(&job);
    ck_assert_str_eq(words_read(job.output, 1), "a=1");
    words_expect_all_committed(&job);
    words_start(&job, &process);
    put_transaction(producer, job.input, "aborted", false);
    put_transaction(producer, job.input, "a b", true);
    words_await(job.output, 1, "a=2 b=1");
    /* Nothing but control records behind: the offset that is committed passes them too, so that there is no lag. */
    PROCESS_AWAIT(broker_group_offset(job.job, job.input, 0) == broker_end(job.input, 0, true), PATIENCE_MS);
    process_stop(&process);
    words_expect_all_committed(&job);
    broker_producer_close(producer);
}
END_TEST

START_TEST(a_pattern_may_match_nothing_yet)
{
    const char *stem = broker_name("later"), *output = broker_topic("later-output", 1), *counts = broker_topic("later-counts", 1);
    char pattern[300], topic[300];
    (void)snprintf(pattern, sizeof pattern, "^%s-", stem);
    (void)snprintf(topic, sizeof topic, "%s-one", stem);
    const struct process_job job = {
        .program = "sequence", .brokers = broker_address(), .job = broker_name("pattern"), .input = pattern, .output = output,
        .checkpoints = process_path("pattern"),
        .settings = { "--counts", counts, "-X", "source.discovery.interval=50ms", "--checkpoint-interval", "20ms" },
    };
    struct process process;
    process_start_job(&process, &job, NULL);
    process_await_running(&process);
    broker_create_topic(topic, 1, NULL);
    broker_put(topic, 0, "1", "1");
    words_await(counts, 1, "1=1");
    process_signal(&process, SIGKILL);
    process_wait(&process);
    process_start_job(&process, &job, NULL);
    broker_put(topic, 0, "1", "2");
    words_await(counts, 1, "1=2");
    process_stop(&process);
}
END_TEST

/* ---- Checkpoints ---------------------------------------------------------------------------------------------------- */

static int count_files(const char *folder, const char *prefix)
{
    int count = 0;
    DIR *directory = opendir(folder);
    ck_assert_ptr_nonnull(directory);
    for (const struct dirent *entry; (entry = readdir(directory)) != NULL;)
        count += strncmp(entry->d_name, prefix, strlen(prefix)) == 0;
    closedir(directory);
    return count;
}

/* Each run commits fewer frames than a restart may have to replay; together they are more. */
START_TEST(restarts_do_not_put_off_a_base)
{
    struct words_job job = words_job(1, 1);
    struct process process;
    char folder[600];
    int runs = 0;
    (void)snprintf(folder, sizeof folder, "%s/%s", job.options.checkpoints, job.job);
    words_set(&job, "-X", "state.recovery.max-frames=20");
    do {
        ck_assert_int_lt(runs, 8);
        words_start(&job, &process);
        for (int i = 0; i < 8; i++) {
            char expected[32];
            words_put(job.input, 0, "a");
            (void)snprintf(expected, sizeof expected, "a=%d", runs * 8 + i + 1);
            words_await(job.output, 1, expected);
        }
        process_stop(&process);
        runs++;
    } while (count_files(folder, "base-") == 0);
    ck_assert_int_gt(runs, 1);
}
END_TEST

/* ---- The ledger ----------------------------------------------------------------------------------------------------- */

/* A dozen commits, one behind the other. */
static void make_commits(struct words_job *job)
{
    struct process process;
    words_start(job, &process);
    for (int i = 1; i <= 12; i++) {
        char expected[32];
        words_put(job->input, 0, "a");
        (void)snprintf(expected, sizeof expected, "a=%d", i);
        words_await(job->output, 1, expected);
    }
    process_stop(&process);
}

/* A ring of as many commits as it may keep, with anchors where they are wanted. */
START_TEST(the_ledger_is_as_configured)
{
    char ledger[128];
    int commits = 0, anchored = 0;
    struct words_job job = words_job(1, 1);
    words_set(&job, "-X", "ledger.commits-kept=10");
    words_set(&job, "-X", _i == 0 ? "ledger.anchor-interval=0" : "ledger.anchor-interval=1ms");
    make_commits(&job);
    (void)snprintf(ledger, sizeof ledger, "%s-ledger", job.job);
    struct broker_records records = broker_read(ledger, 0, 0, true);
    for (size_t i = 0; i < records.count; i++) {
        struct weir_ledger_entry entry;
        struct weir_error error;
        int place;
        char key[64];
        (void)snprintf(key, sizeof key, "%.*s", (int)records.items[i].key.size, records.items[i].key.data);
        if (sscanf(key, "0/%d", &place) != 1) continue; /* a start */
        ck_assert_msg(place >= 0 && place < 10, "%s", key);
        ck_assert_msg(weir_ledger_decode(records.items[i].value, &entry, &error) == WEIR_OK, "%s", error.text);
        commits++;
        anchored += entry.anchor_count > 0;
        weir_ledger_entry_clear(&entry);
    }
    ck_assert_int_gt(commits, 10);
    ck_assert_int_eq(anchored > 0, _i == 1);
    broker_records_free(&records);
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_test(tests, sigterm_commits_what_was_read_and_exits_0);
    tcase_add_test(tests, wrong_options_exit_2_and_name_the_option);
    tcase_add_test(tests, missing_topics_exit_7_and_are_named);
    tcase_add_test(tests, create_topics_creates_outputs);
    tcase_add_test(tests, a_bounded_run_goes_on_where_the_last_one_ended);
    tcase_add_loop_test(tests, last_words_are_said_once_though_the_job_dies_behind_its_last_commit, 0, 2);
    tcase_add_test(tests, null_keys_and_null_values_count_nothing);
    tcase_add_test(tests, empty_topics_are_waited_on_or_ended_at_once);
    tcase_add_test(tests, more_subtasks_than_partitions_end_all_the_same);
    tcase_add_test(tests, control_records_at_the_end_of_a_topic_are_passed);
    tcase_add_test(tests, a_pattern_may_match_nothing_yet);
    tcase_add_test(tests, restarts_do_not_put_off_a_base);
    tcase_add_loop_test(tests, the_ledger_is_as_configured, 0, 2);
}

int main(void)
{
    broker_start(1);
    return unit_main("jobs", add);
}
