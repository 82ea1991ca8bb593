/* What --validate finds around a job on a real cluster, and what a start makes of it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness/broker.h"
#include "harness/unit.h"
#include "harness/words.h"

enum { PLAIN, STRICT }; /* clusters: as usual; with access rules and a low limit for transactions */

static char text[20000];

/* What it wrote to stdout. */
static const char *said(const struct process *process)
{
    FILE *file = fopen(process->out, "re");
    ck_assert_ptr_nonnull(file);
    text[fread(text, 1, sizeof text - 1, file)] = '\0';
    (void)fclose(file);
    return text;
}

/* Runs it with --validate: must end with `status`. */
static const char *validate(struct words_job *job, int status)
{
    struct process process;
    process_start_job(&process, &job->options, "--validate", "-o", "json", NULL);
    ck_assert_msg(process_wait(&process) == status, "ended with %d instead of %d: %s", process.status, status, said(&process));
    process_free(&process);
    return said(&process);
}

static void expect(const char *answer, const char *finding)
{
    ck_assert_msg(strstr(answer, finding) != NULL, "%s is not in: %s", finding, answer);
}
static void expect_none(const char *answer, const char *finding)
{
    ck_assert_msg(strstr(answer, finding) == NULL, "%s is in: %s", finding, answer);
}

START_TEST(a_job_that_can_run_is_valid_and_untouched)
{
    char ledger[128];
    struct words_job job = words_job(2, 1);
    const char *answer = validate(&job, 0);
    expect(answer, "\"errors\": 0");
    expect(answer, "\"valid\": true");
    expect(answer, "\"topic-created\"");
    expect_none(answer, "-rule\""); /* this broker keeps no rules */
    (void)snprintf(ledger, sizeof ledger, "%s-ledger", job.job);
    ck_assert(!broker_has_topic(ledger));
}
END_TEST

START_TEST(everything_that_is_wrong_is_told_at_once)
{
    struct words_job job = words_job(1, 1);
    job.options.input = "no-such-lines";
    job.options.output = "no-such-counts";
    job.options.checkpoints = "/nowhere/at/all";
    words_set(&job, "-X", "kafka.producer.transaction.timeout.ms=1000000");
    const char *answer = validate(&job, 7);
    expect(answer, "\"errors\": 4");
    expect(answer, "\"checkpoint-directory-missing\"");
    expect(answer, "topic 'no-such-lines' does not exist");
    expect(answer, "topic 'no-such-counts' does not exist");
    expect(answer, "the transaction time-out of 1000000 ms is above the brokers' transaction.max.timeout.ms, 900000");
}
END_TEST

START_TEST(an_output_that_the_job_makes_is_not_missed)
{
    struct words_job job = words_job(1, 1);
    job.options.output = broker_name("made-counts");
    words_set(&job, "--create-topics", NULL);
    expect(validate(&job, 0), "does not exist yet: the job makes it");
    ck_assert(!broker_has_topic(job.options.output));
}
END_TEST

START_TEST(a_cluster_that_does_not_answer_is_told)
{
    struct words_job job = words_job(1, 1);
    job.options.brokers = "127.0.0.1:1";
    const char *answer = validate(&job, 7);
    expect(answer, "\"cluster-unreachable\"");
    expect(answer, "\"errors\": 1"); /* once, for source, sink and decider */
}
END_TEST

START_TEST(a_cluster_that_is_not_named_is_told_once)
{
    struct process process;
    struct words_job job = words_job(1, 1);
    job.options.brokers = "";
    const char *answer = validate(&job, 2);
    expect(answer, "{\"check\": \"cluster-not-named\", \"severity\": \"error\", \"problem\": \"no Kafka cluster is named\"");
    expect(answer, "\"errors\": 1");
    process_start_job(&process, &job.options, NULL);
    process_expect_end(&process, 2, "no Kafka cluster is named. Give --brokers HOST:PORT, or set kafka.bootstrap.servers.");
    process_free(&process);
}
END_TEST

START_TEST(a_setting_that_is_refused_is_told_once)
{
    struct words_job job = words_job(1, 1);
    words_set(&job, "-X", "kafka.group.id=mine");
    const char *answer = validate(&job, 2);
    expect(answer, "are not accepted: kafka.group.id may not be set");
    expect(answer, "\"errors\": 1");
}
END_TEST

START_TEST(a_job_that_reads_what_it_writes_is_warned)
{
    struct words_job job = words_job(1, 1);
    expect_none(validate(&job, 0), "\"topic-read-and-written\"");
    job.options.output = job.options.input;
    expect(validate(&job, 0), "\"topic-read-and-written\"");
}
END_TEST

START_TEST(a_start_with_a_time_out_below_the_interval_is_refused)
{
    struct process process;
    struct words_job job = words_job(1, 1);
    words_set(&job, "-X", "kafka.producer.transaction.timeout.ms=5000");
    words_set(&job, "-X", "execution.checkpointing.interval=6s");
    process_start_job(&process, &job.options, NULL);
    process_expect_end(&process, 2, "is not above the checkpoint interval of 6000 ms");
    process_free(&process);
}
END_TEST

START_TEST(a_start_with_a_time_out_that_is_tight_says_so_and_runs)
{
    struct process process;
    struct words_job job = words_job(1, 1);
    words_set(&job, "-X", "kafka.producer.transaction.timeout.ms=5000");
    words_set(&job, "-X", "execution.checkpointing.interval=4s");
    process_start_job(&process, &job.options, NULL);
    process_await_running(&process);
    ck_assert(process_log_has(&process, "leaves little time behind the checkpoint interval of 4000 ms"));
    process_stop(&process);
}
END_TEST

/* ---- Rights, and a low limit -------------------------------------------------------------------------------------- */

/* Everybody (all are ANONYMOUS here) may do this, and so nothing else, with what has no rule yet. */
static void allow_only(rd_kafka_ResourceType_t type, const char *name, rd_kafka_AclOperation_t operation)
{
    broker_allow(&(struct broker_right){ .principal = "User:ANONYMOUS", .operation = operation, .resource = type,
                                         .name = name });
}

/* A rule counts a moment after it was made. */
static const char *validate_until(struct words_job *job, int status, const char *finding)
{
    const int64_t deadline = process_now_ms() + PATIENCE_MS;
    for (;;) {
        struct process process;
        process_start_job(&process, &job->options, "--validate", "-o", "json", NULL);
        const int ended = process_wait(&process);
        process_free(&process);
        if (ended == status && strstr(said(&process), finding) != NULL) return text;
        ck_assert_msg(process_now_ms() < deadline, "ended with %d: %s", ended, text);
    }
}

START_TEST(missing_rights_are_told_and_refuse_a_start)
{
    struct process process;
    broker_select(STRICT);
    struct words_job job = words_job(1, 1);
    allow_only(RD_KAFKA_RESOURCE_TOPIC, job.input, RD_KAFKA_ACL_OPERATION_DESCRIBE);
    allow_only(RD_KAFKA_RESOURCE_TOPIC, job.output, RD_KAFKA_ACL_OPERATION_READ);
    allow_only(RD_KAFKA_RESOURCE_GROUP, job.job, RD_KAFKA_ACL_OPERATION_DELETE);
    const char *answer = validate_until(&job, 7, "\"group-not-readable\"");
    expect(answer, "\"topic-not-readable\"");
    expect(answer, "\"topic-not-writable\"");
    expect(answer, "\"transactional-id-rule\"");
    expect(answer, "\"errors\": 3");
    process_start_job(&process, &job.options, NULL);
    process_expect_end(&process, 7, "this user may not read topic");
    process_free(&process);
}
END_TEST

START_TEST(a_time_out_above_the_brokers_limit_refuses_a_start)
{
    struct process process;
    broker_select(STRICT);
    struct words_job job = words_job(1, 1);
    words_set(&job, "-X", "kafka.producer.transaction.timeout.ms=80000");
    const char *answer = validate(&job, 2);
    expect(answer, "the transaction time-out of 80000 ms is above the brokers' transaction.max.timeout.ms, 70000");
    expect_none(answer, "\"topic-not-readable\"");
    process_start_job(&process, &job.options, NULL);
    process_expect_end(&process, 2, "transaction-timeout-refused");
    process_free(&process);
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_test(tests, a_job_that_can_run_is_valid_and_untouched);
    tcase_add_test(tests, everything_that_is_wrong_is_told_at_once);
    tcase_add_test(tests, an_output_that_the_job_makes_is_not_missed);
    tcase_add_test(tests, a_cluster_that_does_not_answer_is_told);
    tcase_add_test(tests, a_cluster_that_is_not_named_is_told_once);
    tcase_add_test(tests, a_setting_that_is_refused_is_told_once);
    tcase_add_test(tests, a_job_that_reads_what_it_writes_is_warned);
    tcase_add_test(tests, a_start_with_a_time_out_below_the_interval_is_refused);
    tcase_add_test(tests, a_start_with_a_time_out_that_is_tight_says_so_and_runs);
    tcase_add_test(tests, missing_rights_are_told_and_refuse_a_start);
    tcase_add_test(tests, a_time_out_above_the_brokers_limit_refuses_a_start);
}

/* The second cluster gets its settings before anybody uses it. */
static void make_strict(void)
{
    char path[600];
    (void)snprintf(path, sizeof path, "%s/1/server.properties", broker_folder());
    FILE *file = fopen(path, "ae");
    if (file == NULL) exit(EXIT_FAILURE);
    (void)fputs("transaction.max.timeout.ms=70000\n"
                "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer\n"
                "allow.everyone.if.no.acl.found=true\n", file);
    (void)fclose(file);
    broker_restart();
}

int main(void)
{
    broker_start(1);
    broker_start(1);
    make_strict();
    broker_select(PLAIN);
    return unit_main("examination of a cluster", add);
}
