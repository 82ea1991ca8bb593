/* Topics and groups that change under a job (F23), and records that are too large (F21). Never a silent reset. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "harness/broker.h"
#include "harness/unit.h"
#include "harness/words.h"

/* A job that has counted a=3 and ended. */
static struct words_job counted_job(void)
{
    struct words_job job = words_job(1, 1);
    words_put_many(job.input, 0, "a", 3);
    words_run(&job);
    ck_assert_str_eq(words_read(job.output, 1), "a=3");
    return job;
}

static void expect_end(const struct words_job *job, const char *more, int status, const char *text)
{
    struct process process;
    process_start_job(&process, &job->options, more, NULL);
    process_expect_end(&process, status, text);
    process_free(&process);
}

/* ---- Inputs --------------------------------------------------------------------------------------------------------- */

START_TEST(a_topic_that_was_created_anew_stops_the_job_with_5)
{
    struct words_job job = counted_job();
    broker_delete_topic(job.input);
    broker_create_topic(job.input, 1, NULL);
    words_put_many(job.input, 0, "b", 5); /* more than before: offsets alone would not tell */
    expect_end(&job, "--bounded", 5, job.input);
    expect_end(&job, "--bounded", 5, job.input); /* nor does it heal by itself */
    ck_assert_str_eq(words_read(job.output, 1), "a=3");
}
END_TEST

START_TEST(a_deleted_topic_stops_the_job_with_5)
{
    struct words_job job = counted_job();
    broker_delete_topic(job.input);
    expect_end(&job, "--bounded", 5, job.input);
}
END_TEST

START_TEST(a_topic_that_is_created_anew_under_a_running_job_stops_it_with_5)
{
    struct words_job job = words_job(1, 1);
    struct process process;
    words_set(&job, "-X", "source.discovery.interval=100ms");
    words_set(&job, "-X", "kafka.topic.metadata.refresh.interval.ms=200");
    words_put_many(job.input, 0, "a", 3);
    words_start_until(&job, &process, "a=3");
    broker_delete_topic(job.input);
    broker_create_topic(job.input, 1, NULL);
    words_put_many(job.input, 0, "b", 5);
    process_expect_end(&process, 5, job.input);
    ck_assert_str_eq(words_read(job.output, 1), "a=3");
    process_free(&process);
}
END_TEST

START_TEST(records_that_retention_took_stop_the_job_with_5)
{
    struct words_job job = counted_job();
    words_put_many(job.input, 0, "b", 4);
    broker_delete_records(job.input, 0, 5);
    expect_end(&job, "--bounded", 5, job.input);
    ck_assert_str_eq(words_read(job.output, 1), "a=3");
}
END_TEST

START_TEST(retention_that_overtakes_a_running_job_stops_it_with_5)
{
    struct words_job job = words_job(1, 1);
    struct process process;
    words_put_many(job.input, 0, "a", 3);
    words_start_until(&job, &process, "a=3");
    process_signal(&process, SIGSTOP);
    words_put(job.input, 0, "b"); /* answers the request that is under way; nobody asks for what follows */
    words_put_many(job.input, 0, "b", 10);
    broker_delete_records(job.input, 0, 10);
    process_signal(&process, SIGCONT);
    process_expect_end(&process, 5, job.input);
    process_free(&process);
}
END_TEST

START_TEST(retention_behind_the_position_does_not_matter)
{
    struct words_job job = counted_job();
    words_put(job.input, 0, "b");
    broker_delete_records(job.input, 0, 3);
    words_run(&job);
    ck_assert_str_eq(words_read(job.output, 1), "a=3 b=1");
    words_expect_all_committed(&job);
}
END_TEST

START_TEST(partitions_that_are_added_are_read_from_their_first_record)
{
    struct words_job job = words_job(1, 1);
    struct process process;
    words_set(&job, "-X", "source.discovery.interval=100ms");
    words_put(job.input, 0, "a");
    words_start_until(&job, &process, "a=1");
    broker_add_partitions(job.input, 3);
    words_put(job.input, 1, "b");
    words_put(job.input, 2, "c c");
    words_await(job.output, 1, "a=1 b=1 c=2");
    process_signal(&process, SIGKILL);
    process_wait(&process);
    words_put(job.input, 2, "c");
    job.inputs = 3;
    words_run(&job);
    ck_assert_str_eq(words_read(job.output, 1), "a=1 b=1 c=3");
    words_expect_all_committed(&job);
    process_free(&process);
}
END_TEST

/* ---- Outputs -------------------------------------------------------------------------------------------------------- */

START_TEST(an_output_that_is_deleted_under_a_running_job_stops_it_with_7)
{
    struct words_job job = words_job(1, 1);
    struct process process;
    words_set(&job, "-X", "kafka.topic.metadata.refresh.interval.ms=200");
    words_put(job.input, 0, "a");
    words_start_until(&job, &process, "a=1");
    broker_delete_topic(job.output);
    words_put(job.input, 0, "b");
    process_expect_end(&process, 7, job.output);
    process_free(&process);
}
END_TEST

static char *make_word(size_t size)
{
    char *word = malloc(size + 1);
    ck_assert_ptr_nonnull(word);
    memset(word, 'x', size);
    word[size] = '\0';
    return word;
}

/* F21: the broker refuses the record; trying again would never end. */
START_TEST(a_record_above_the_limit_of_its_topic_stops_the_job_and_names_it)
{
    struct words_job job = words_job(1, 1);
    char *word = make_word(40000);
    job.output = broker_name("small");
    job.options.output = job.output;
    broker_create_topic(job.output, 1, "max.message.bytes=20000");
    words_put(job.input, 0, "a");
    words_run(&job);
    words_put(job.input, 0, word);
    expect_end(&job, NULL, 1, job.output);
    expect_end(&job, NULL, 1, job.output); /* it is no better after a restart */
    ck_assert_str_eq(words_read(job.output, 1), "a=1");
    free(word);
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_test(tests, a_topic_that_was_created_anew_stops_the_job_with_5);
    tcase_add_test(tests, a_deleted_topic_stops_the_job_with_5);
    tcase_add_test(tests, a_topic_that_is_created_anew_under_a_running_job_stops_it_with_5);
    tcase_add_test(tests, records_that_retention_took_stop_the_job_with_5);
    tcase_add_test(tests, retention_that_overtakes_a_running_job_stops_it_with_5);
    tcase_add_test(tests, retention_behind_the_position_does_not_matter);
    tcase_add_test(tests, partitions_that_are_added_are_read_from_their_first_record);
    tcase_add_test(tests, an_output_that_is_deleted_under_a_running_job_stops_it_with_7);
    tcase_add_test(tests, a_record_above_the_limit_of_its_topic_stops_the_job_and_names_it);
}

int main(void)
{
    broker_start(1);
    return unit_main("topics", add);
}
