/* Where a start goes on: the rows of the restart table (checkpoint/restart.h) on a real broker, whose topics and group were
 * tampered with between two runs. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "harness/broker.h"
#include "harness/reader.h"
#include "harness/unit.h"
#include "harness/words.h"
#include "weir/control.h"

/* ---- The group, as tools change it ---------------------------------------------------------------------------------- */

struct position {
    int64_t offset;
    char metadata[256];
};

static struct position get_position(const char *group, const char *topic)
{
    struct position position;
    rd_kafka_t *handle = reader_open(group, "read_uncommitted");
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(list, topic, 0);
    ck_assert_int_eq(rd_kafka_committed(handle, list, PATIENCE_MS), RD_KAFKA_RESP_ERR_NO_ERROR);
    const rd_kafka_topic_partition_t *partition = &list->elems[0];
    position.offset = partition->offset;
    ck_assert_uint_lt(partition->metadata_size, sizeof position.metadata);
    memcpy(position.metadata, partition->metadata, partition->metadata_size);
    position.metadata[partition->metadata_size] = '\0';
    rd_kafka_topic_partition_list_destroy(list);
    rd_kafka_destroy(handle);
    return position;
}

static void set_position(const char *group, const char *topic, const struct position *position)
{
    rd_kafka_t *handle = reader_open(group, "read_uncommitted");
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_t *partition = rd_kafka_topic_partition_list_add(list, topic, 0);
    partition->offset = position->offset;
    partition->metadata = strdup(position->metadata); /* the list frees it */
    partition->metadata_size = strlen(position->metadata);
    ck_assert_int_eq(rd_kafka_commit(handle, list, 0), RD_KAFKA_RESP_ERR_NO_ERROR);
    rd_kafka_topic_partition_list_destroy(list);
    rd_kafka_destroy(handle);
}

static void delete_group(const char *group)
{
    rd_kafka_t *handle = broker_producer(NULL, NULL);
    rd_kafka_queue_t *queue = rd_kafka_queue_new(handle);
    rd_kafka_DeleteGroup_t *gone = rd_kafka_DeleteGroup_new(group);
    rd_kafka_DeleteGroups(handle, &gone, 1, NULL, queue);
    rd_kafka_event_t *event = rd_kafka_queue_poll(queue, PATIENCE_MS);
    ck_assert_ptr_nonnull(event);
    size_t count;
    const rd_kafka_group_result_t **results =
        rd_kafka_DeleteGroups_result_groups(rd_kafka_event_DeleteGroups_result(event), &count);
    ck_assert_uint_eq(count, 1);
    ck_assert_msg(rd_kafka_group_result_error(results[0]) == NULL, "delete group: %s",
                  rd_kafka_error_string(rd_kafka_group_result_error(results[0])));
    rd_kafka_event_destroy(event);
    rd_kafka_DeleteGroup_destroy(gone);
    rd_kafka_queue_destroy(queue);
    rd_kafka_destroy(handle);
}

static const char *ledger_of(const struct words_job *job)
{
    static char name[300];
    (void)snprintf(name, sizeof name, "%s-ledger", job->job);
    return name;
}

/* ---- Runs ----------------------------------------------------------------------------------------------------------- */

/* Ends with `status`, having said `text`; up to two more arguments. */
static void run(const struct words_job *job, const char *first, const char *second, int status, const char *text)
{
    struct process process;
    process_start_job(&process, &job->options, "--bounded", first, second, NULL);
    process_expect_end(&process, status, text);
    ck_assert_msg(status == 0 || !process_log_has(&process, "running, incarnation"), "it ran before it stopped");
    process_free(&process);
}

/* A job that has counted a=3 in two runs. */
static struct words_job counted_job(void)
{
    struct words_job job = words_job(1, 1);
    words_put(job.input, 0, "a");
    words_run(&job);
    words_put_many(job.input, 0, "a", 2);
    words_run(&job);
    ck_assert_str_eq(words_read(job.output, 1), "a=3");
    return job;
}

static void expect_goes_on(struct words_job *job, const char *expected)
{
    words_put(job->input, 0, "a");
    words_run(job);
    ck_assert_str_eq(words_read(job->output, 1), expected);
    words_expect_all_committed(job);
}

/* ---- Offsets -------------------------------------------------------------------------------------------------------- */

START_TEST(moved_offsets_stop_the_job_until_somebody_chooses_the_ledger)
{
    struct words_job job = counted_job();
    broker_set_group_offset(job.job, job.input, 0, 1);
    run(&job, NULL, NULL, 5, "somebody moved the offsets");
    run(&job, NULL, NULL, 5, "--position");
    run(&job, "--position", "ledger", 0, "lets the ledger decide");
    ck_assert_str_eq(words_read_all(job.output, 1), "a=1 a=3");
    run(&job, NULL, NULL, 0, NULL); /* the choice was written down */
    expect_goes_on(&job, "a=4");
}
END_TEST

START_TEST(moved_offsets_stop_the_job_until_somebody_chooses_the_group)
{
    struct words_job job = counted_job();
    broker_set_group_offset(job.job, job.input, 0, 1);
    run(&job, "--position", "group", 0, "lets the group decide");
    ck_assert_str_eq(words_read(job.output, 1), "a=5"); /* two records once more, on top of the state */
    run(&job, NULL, NULL, 0, NULL);
    expect_goes_on(&job, "a=6");
}
END_TEST

START_TEST(offsets_moved_forward_stop_the_job_too)
{
    struct words_job job = counted_job();
    words_put_many(job.input, 0, "a", 2);
    broker_set_group_offset(job.job, job.input, 0, 5);
    run(&job, NULL, NULL, 5, "somebody moved the offsets");
    run(&job, "--position", "group", 0, NULL); /* passes over two records, as somebody asked for */
    expect_goes_on(&job, "a=4");
}
END_TEST

START_TEST(a_deleted_group_is_warned_of_and_written_again)
{
    struct words_job job = counted_job();
    delete_group(job.job);
    run(&job, NULL, NULL, 0, "missing and will be written again");
    ck_assert_str_eq(words_read_all(job.output, 1), "a=1 a=3");
    expect_goes_on(&job, "a=4");
}
END_TEST

START_TEST(offsets_of_an_earlier_checkpoint_are_a_late_request)
{
    struct words_job job = words_job(1, 1);
    words_put(job.input, 0, "a");
    words_run(&job);
    const struct position early = get_position(job.job, job.input);
    words_put_many(job.input, 0, "a", 2);
    words_run(&job);
    set_position(job.job, job.input, &early);
    run(&job, NULL, NULL, 0, "a late request");
    ck_assert_str_eq(words_read_all(job.output, 1), "a=1 a=3");
    expect_goes_on(&job, "a=4");
}
END_TEST

START_TEST(offsets_that_only_pretend_to_be_ours_stop_the_job)
{
    struct words_job job = words_job(1, 1);
    words_put(job.input, 0, "a");
    words_run(&job);
    struct position forged = get_position(job.job, job.input);
    words_put_many(job.input, 0, "a", 2);
    words_run(&job);
    forged.offset = 2; /* not what that checkpoint has */
    set_position(job.job, job.input, &forged);
    run(&job, NULL, NULL, 5, "somebody moved the offsets");
}
END_TEST

START_TEST(a_group_of_somebody_else_is_not_taken)
{
    struct words_job job = words_job(1, 1);
    words_put_many(job.input, 0, "a", 3);
    broker_set_group_offset(job.job, job.input, 0, 2);
    run(&job, NULL, NULL, 5, "did not write");
    run(&job, "--position", "group", 0, NULL);
    ck_assert_str_eq(words_read_all(job.output, 1), "a=1");
    expect_goes_on(&job, "a=2");
}
END_TEST

/* ---- The ledger ----------------------------------------------------------------------------------------------------- */

START_TEST(a_deleted_ledger_is_founded_anew_from_the_offsets)
{
    struct words_job job = counted_job();
    broker_delete_topic(ledger_of(&job));
    run(&job, NULL, NULL, 0, "the ledger is missing and is written anew");
    ck_assert_str_eq(words_read_all(job.output, 1), "a=1 a=3");
    ck_assert(broker_has_topic(ledger_of(&job)));
    delete_group(job.job); /* so that the new ledger must do */
    run(&job, NULL, NULL, 0, NULL);
    expect_goes_on(&job, "a=4");
}
END_TEST

START_TEST(without_ledger_and_group_a_store_with_history_is_not_used)
{
    struct words_job job = counted_job();
    broker_delete_topic(ledger_of(&job));
    delete_group(job.job);
    run(&job, NULL, NULL, 8, "holds checkpoints");
    run(&job, "--fresh", NULL, 0, "begins a new history");
    ck_assert_str_eq(words_read_all(job.output, 1), "a=1 a=3 a=3");
}
END_TEST

START_TEST(fresh_begins_a_new_history_that_later_starts_continue)
{
    struct words_job job = counted_job();
    run(&job, "--fresh", NULL, 0, "begins a new history");
    ck_assert_str_eq(words_read_all(job.output, 1), "a=1 a=3 a=3");
    words_put(job.input, 0, "a");
    words_run(&job);
    ck_assert_str_eq(words_read_all(job.output, 1), "a=1 a=3 a=3 a=4");
    words_expect_all_committed(&job);
}
END_TEST

/* ---- Foundings that failed ------------------------------------------------------------------------------------------ */

/* The same process, the same arguments, and a history that it began itself. */
START_TEST(a_job_that_is_rescaled_does_not_begin_afresh_again)
{
    struct weir_error error;
    struct process process;
    char folder[] = "/tmp/weir-run-XXXXXX"; /* the path of a socket must be short */
    struct words_job job = words_job(1, 1);
    ck_assert_ptr_nonnull(mkdtemp(folder));
    setenv("WEIR_RUNTIME_DIR", folder, 1);
    words_set(&job, "--fresh", NULL);
    words_put(job.input, 0, "a a");
    words_start_until(&job, &process, "a=2");
    ck_assert_msg(weir_control_ask(job.job, "rescale 2", PATIENCE_MS, NULL, NULL, &error) == WEIR_OK, "%s",
                  error.text);
    words_put(job.input, 0, "a");
    words_await(job.output, 1, "a=3");
    ck_assert_str_eq(words_read_all(job.output, 1), "a=2 a=3");
    process_stop(&process);
    process_free(&process);
    (void)rmdir(folder);
}
END_TEST

START_TEST(a_founding_that_died_is_begun_again)
{
    static const char *const points[] = { "frame_durable:1", "ledger_produced:1", "sink_flushed:1", "offsets_sent:1" };
    struct words_job job = words_job(1, 1);
    struct process process;
    words_put(job.input, 0, "a");
    for (size_t i = 0; i < sizeof points / sizeof points[0]; i++) {
        char crash[64];
        (void)snprintf(crash, sizeof crash, "WEIR_CRASH=%s", points[i]);
        job.options.environment[0] = crash;
        process_start_job(&process, &job.options, "--bounded", NULL);
        process_expect_end(&process, -SIGKILL, NULL);
    }
    job.options.environment[0] = NULL;
    words_run(&job);
    ck_assert_str_eq(words_read_all(job.output, 1), "a=1");
    expect_goes_on(&job, "a=2");
    process_free(&process);
}
END_TEST

/* ---- Another store, another plan ------------------------------------------------------------------------------------ */

START_TEST(another_store_is_refused_before_anybody_is_fenced)
{
    struct words_job job = words_job(1, 1), other;
    struct process owner, guest;
    words_put(job.input, 0, "a");
    words_start_until(&job, &owner, "a=1");
    other = job;
    other.options.checkpoints = process_path("another-store");
    run(&other, NULL, NULL, 8, "belongs to another checkpoint store");
    run(&other, "--takeover", NULL, 8, "Say where to begin");
    words_put(job.input, 0, "a");
    words_await(job.output, 1, "a=2"); /* unharmed */

    process_start_job(&guest, &other.options, "--takeover", "--position", "group", NULL);
    process_await_running(&guest);
    process_expect_end(&owner, 3, NULL);
    process_stop(&guest);
    ck_assert_str_eq(words_read_all(job.output, 1), "a=1 a=2");
    run(&job, NULL, NULL, 8, "belongs to another checkpoint store");
    words_put(job.input, 0, "a");
    run(&other, NULL, NULL, 0, NULL);
    ck_assert_str_eq(words_read_all(job.output, 1), "a=1 a=1 a=2"); /* without the state that stayed behind */
    process_free(&owner);
}
END_TEST

START_TEST(another_plan_is_refused)
{
    struct words_job job = counted_job();
    struct process process;
    struct process_job sequence = { .program = "sequence", .brokers = job.options.brokers, .job = job.job,
                                    .input = job.input, .output = job.output, .checkpoints = job.options.checkpoints,
                                    .settings = { "--counts", job.output } };
    process_start_job(&process, &sequence, "--bounded", NULL);
    process_expect_end(&process, 8, "another plan");
    expect_goes_on(&job, "a=4");
    process_free(&process);
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_test(tests, moved_offsets_stop_the_job_until_somebody_chooses_the_ledger);
    tcase_add_test(tests, moved_offsets_stop_the_job_until_somebody_chooses_the_group);
    tcase_add_test(tests, offsets_moved_forward_stop_the_job_too);
    tcase_add_test(tests, a_deleted_group_is_warned_of_and_written_again);
    tcase_add_test(tests, offsets_of_an_earlier_checkpoint_are_a_late_request);
    tcase_add_test(tests, offsets_that_only_pretend_to_be_ours_stop_the_job);
    tcase_add_test(tests, a_group_of_somebody_else_is_not_taken);
    tcase_add_test(tests, a_deleted_ledger_is_founded_anew_from_the_offsets);
    tcase_add_test(tests, without_ledger_and_group_a_store_with_history_is_not_used);
    tcase_add_test(tests, fresh_begins_a_new_history_that_later_starts_continue);
    tcase_add_test(tests, a_job_that_is_rescaled_does_not_begin_afresh_again);
    tcase_add_test(tests, a_founding_that_died_is_begun_again);
    tcase_add_test(tests, another_store_is_refused_before_anybody_is_fenced);
    tcase_add_test(tests, another_plan_is_refused);
}

int main(void)
{
    broker_start(1);
    return unit_main("restarts", add);
}
