/* weir ledger verify against a real broker: a small job made by hand, and what may go wrong with its topics. */
#include "verify.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness/broker.h"
#include "harness/decider_rig.h"
#include "harness/unit.h"
#include "sink.h"

static const struct weir_decider_type *const decider_type = &weir_kafka_decider_type;

/* ---- A job made by hand ------------------------------------------------------------------------------------------ */

struct job {
    struct decider_rig rig;
    struct weir_connector_context context;
    struct weir_kafka_sink_options options;
    void *sink, *writer;
    struct waker waker;
    const char *topic;
    struct weir_output_totals totals; /* cumulative */
    struct weir_frame_name newest;    /* that was committed */
    uint64_t epoch;
    uint64_t incarnation;
    int64_t position;
    int written;
    size_t anchor_count;
    struct weir_anchor *anchors;
    uint64_t anchor_epoch;
    void (*tamper)(struct weir_ledger_entry *entry); /* of the next commit */
};

static void open_writer(struct job *job)
{
    struct weir_error error;
    decider_rig_start(&job->rig);
    decider_rig_begin(&job->rig, job->epoch);
    ck_assert(sink_type.writer_open(job->sink, 0, job->epoch, waker_public(&job->waker), &job->writer, &error) ==
              WEIR_OK);
    ck_assert_msg(sink_type.writer_proceed(job->writer, job->epoch, &error) == WEIR_OK, "%s", error.text);
}

static void start_job(struct job *job, const char *topic)
{
    struct weir_error error;
    *job = (struct job){ .topic = topic, .incarnation = 1 };
    decider_rig_open(&job->rig, broker_name("job"), 2, NULL);
    job->context = job->rig.context;
    job->context.operator_name = "out";
    job->options = (struct weir_kafka_sink_options){ .size = sizeof job->options, .name = "out", .topic = topic };
    ck_assert(waker_init(&job->waker));
    ck_assert_msg(sink_type.open(&job->options, &job->context, job->rig.decider, &job->sink, &error) == WEIR_OK, "%s",
                  error.text);
    open_writer(job);
}

static void write_records(struct job *job, int count)
{
    struct weir_error error;
    for (int i = 0; i < count; i++) {
        char key[24], value[24];
        (void)snprintf(key, sizeof key, "key %d", job->written % 50);
        (void)snprintf(value, sizeof value, "%d", job->written++);
        const struct weir_header header = { "number", weir_text(value) };
        const struct weir_headers headers = { 1, &header };
        const struct weir_record record = { .key = weir_text(key), .value = weir_text(value), .time_ms = 1000,
                                            .headers = i % 7 == 0 ? &headers : NULL };
        while (!sink_type.writer_room(job->writer)) waker_sleep(&job->waker, -1);
        ck_assert(sink_type.writer_write(job->writer, &record, &error) == WEIR_OK);
    }
}

static struct weir_bytes ledger_value(struct job *job, int count)
{
    struct weir_ledger_range range = { .source = "lines", .split = "in/0", .begin = job->position,
                                       .end = job->position + count };
    struct weir_ledger_entry entry = {
        .kind = WEIR_LEDGER_COMMIT, .store = "store", .slot = "0", .build = "test",
        .incarnation = job->incarnation, .epoch = job->epoch, .parent = job->newest, .handle_count = 2,
        .wall_ms = 1700000000000, .exactly_once = true, .range_count = 1, .ranges = &range,
        .total_count = job->totals.count, .totals = job->totals.items,
        .anchor_epoch = job->anchor_epoch, .anchor_count = job->anchor_count, .anchors = job->anchors,
        .frame = { .incarnation = job->incarnation, .epoch = job->epoch, .file = "log-1" },
    };
    struct weir_bytes value;
    if (job->tamper != NULL) job->tamper(&entry);
    job->tamper = NULL;
    ck_assert(weir_ledger_encode(&entry, &value));
    return value;
}

static void keep_anchors(struct job *job, struct weir_decider_event *event)
{
    free(job->anchors);
    job->anchors = event->anchors;
    job->anchor_count = event->anchor_count;
    job->anchor_epoch = event->epoch;
    event->anchors = NULL;
    event->anchor_count = 0;
    weir_decider_event_clear(event);
}

/* Ends the epoch with `count` records read and as many written, and begins the next one. */
static void end_epoch(struct job *job, int count, bool anchors)
{
    struct weir_error error;
    char key[32];
    write_records(job, count);
    ck_assert(sink_type.writer_prepare(job->writer, job->epoch, &job->totals, &error) == WEIR_OK);
    const struct weir_bytes value = ledger_value(job, count);
    (void)snprintf(key, sizeof key, "0/%d", (int)(job->epoch % 1000));
    decider_type->flush(job->rig.decider, job->rig.attempt, decider_rig_handle(&job->rig, job->epoch), job->epoch,
                        weir_text(key), value, anchors);
    free((void *)(uintptr_t)value.data);
    struct weir_decider_event event = decider_rig_await(&job->rig, WEIR_DECIDER_FLUSHED);
    keep_anchors(job, &event);
    decider_rig_offsets(&job->rig, job->epoch, NULL, 0, "");
    decider_rig_commit(&job->rig, job->epoch);
    job->newest = (struct weir_frame_name){ .incarnation = job->incarnation, .epoch = job->epoch };
    job->position += count;
    job->epoch++;
    decider_rig_begin(&job->rig, job->epoch);
    ck_assert(sink_type.writer_proceed(job->writer, job->epoch, &error) == WEIR_OK);
}

static void run_epochs(struct job *job, int epochs)
{
    for (int i = 0; i < epochs; i++) end_epoch(job, 100, true);
}

/* Gives up what is open, as a failure does, and goes on under the next number. */
static void roll_back(struct job *job)
{
    sink_type.writer_close(job->writer);
    decider_type->discard(job->rig.decider, job->rig.attempt);
    decider_rig_expect(&job->rig, WEIR_DECIDER_DISCARDED);
    job->epoch++;
    open_writer(job);
}

static void end_job(struct job *job)
{
    sink_type.writer_close(job->writer);
    sink_type.close(job->sink);
    weir_output_totals_clear(&job->totals);
    free(job->anchors);
    decider_rig_close(&job->rig);
    waker_deinit(&job->waker);
}

/* ---- Verifying it ------------------------------------------------------------------------------------------------ */

struct verdict {
    struct weir_kafka_ledger_report report;
    struct weir_error error;
    enum weir_code code;
    char lines[8192];
};

static void keep_line(void *user, const char *line)
{
    struct verdict *verdict = user;
    const size_t used = strlen(verdict->lines);
    (void)snprintf(verdict->lines + used, sizeof verdict->lines - used, "%s\n", line);
}

static void verify_shared(const char *job, const char *shared, struct verdict *verdict)
{
    *verdict = (struct verdict){ .code = WEIR_OK };
    const struct weir_kafka_ledger_options options = {
        .size = sizeof options, .job = job, .brokers = broker_address(), .shared = &shared,
        .shared_count = shared != NULL, .print = keep_line, .print_user = verdict,
    };
    verdict->code = weir_kafka_ledger_verify(&options, &verdict->report, &verdict->error);
}

/* An acknowledged commit becomes visible a moment later. */
static void verify(struct job *job, struct verdict *verdict)
{
    char ledger[KAFKA_TOPIC_SIZE];
    ledger_topic_name(ledger, job->rig.context.job);
    broker_await_stable(ledger, 0);
    verify_shared(job->rig.context.job, NULL, verdict);
}

static void expect_verified(struct job *job, uint64_t records)
{
    struct verdict verdict;
    verify(job, &verdict);
    ck_assert_msg(verdict.code == WEIR_OK, "%s\n%s", verdict.error.text, verdict.lines);
    ck_assert_msg(verdict.report.records_verified == records, "%s", verdict.lines);
    ck_assert_uint_eq(verdict.report.records_unverifiable, 0);
    ck_assert_uint_eq(verdict.report.outputs_verified, verdict.report.outputs);
}

static void expect_violation(struct job *job, const char *text)
{
    struct verdict verdict;
    verify(job, &verdict);
    ck_assert_msg(verdict.code == WEIR_DAMAGED, "%s", verdict.lines);
    ck_assert_uint_ge(verdict.report.violations, 1);
    ck_assert_msg(strstr(verdict.lines, text) != NULL, "%s", verdict.lines);
}

/* ---- Facts ------------------------------------------------------------------------------------------------------- */

START_TEST(confirms_what_the_job_wrote)
{
    struct job job;
    struct verdict verdict;
    start_job(&job, broker_topic("out", 2));
    run_epochs(&job, 10);
    verify(&job, &verdict);
    ck_assert_msg(verdict.code == WEIR_OK, "%s\n%s", verdict.error.text, verdict.lines);
    ck_assert_uint_eq(verdict.report.commits, 10);
    ck_assert_uint_eq(verdict.report.oldest_epoch, 0);
    ck_assert_uint_eq(verdict.report.newest_epoch, 9);
    ck_assert_uint_eq(verdict.report.ranges_joined, 9);
    ck_assert_uint_eq(verdict.report.outputs, 2);
    ck_assert_uint_eq(verdict.report.outputs_verified, 2);
    ck_assert_uint_eq(verdict.report.records_verified, 1000);
    end_job(&job);
}
END_TEST

START_TEST(open_and_aborted_epochs_do_not_count)
{
    struct job job;
    start_job(&job, broker_topic("out", 1));
    run_epochs(&job, 2);
    write_records(&job, 50); /* and lost */
    roll_back(&job);
    run_epochs(&job, 2);
    write_records(&job, 50); /* still open */
    expect_verified(&job, 400);
    end_job(&job);
}
END_TEST

START_TEST(finds_a_record_that_is_missing)
{
    struct job job;
    start_job(&job, broker_topic("out", 1));
    run_epochs(&job, 2);
    /* The ledger counts a record that the topic does not have. */
    const struct weir_record lost = { .key = weir_text("k"), .value = weir_text("lost") };
    ck_assert(weir_output_totals_add(&job.totals, job.totals.items[0].name, 1, weir_digest_record(&lost)));
    run_epochs(&job, 2);
    expect_violation(&job, "1 records of the commits up to");
    end_job(&job);
}
END_TEST

START_TEST(finds_a_record_that_came_twice)
{
    struct job job;
    const char *topic = broker_topic("out", 1);
    start_job(&job, topic);
    run_epochs(&job, 2);
    broker_put(topic, 0, "key 3", "3");
    run_epochs(&job, 2);
    expect_violation(&job, "1 records that no commit");
    end_job(&job);
}
END_TEST

START_TEST(finds_a_record_that_came_after_the_newest_commit)
{
    struct job job;
    const char *topic = broker_topic("out", 1);
    start_job(&job, topic);
    run_epochs(&job, 2);
    broker_put(topic, 0, "foreign", "record");
    expect_violation(&job, "1 records that no commit");
    end_job(&job);
}
END_TEST

static int32_t first_partition(void *user, const struct weir_record *record, int32_t partition_count)
{
    (void)user, (void)record, (void)partition_count;
    return 0;
}

START_TEST(finds_a_record_in_a_partition_that_was_never_written)
{
    struct job job;
    const char *topic = broker_topic("out", 2);
    start_job(&job, topic);
    ((struct sink *)job.sink)->options.partition_of = first_partition;
    run_epochs(&job, 2);
    expect_verified(&job, 200);
    broker_put(topic, 1, "foreign", "record");
    expect_violation(&job, "/1, offsets 0 to 1: 1 records that no commit");
    end_job(&job);
}
END_TEST

START_TEST(shared_topic_may_hold_anything)
{
    struct job job;
    struct verdict verdict;
    const char *topic = broker_topic("out", 1);
    start_job(&job, topic);
    run_epochs(&job, 2);
    broker_put(topic, 0, "foreign", "record");
    verify_shared(job.rig.context.job, topic, &verdict);
    ck_assert_int_eq(verdict.code, WEIR_OK);
    ck_assert_uint_eq(verdict.report.outputs_verified, 0);
    ck_assert(strstr(verdict.lines, "SHARED") != NULL);
    end_job(&job);
}
END_TEST

static void change_contents(struct weir_ledger_entry *entry)
{
    entry->totals[0].digest.low++;
}

START_TEST(finds_contents_that_differ)
{
    struct job job;
    start_job(&job, broker_topic("out", 1));
    run_epochs(&job, 2);
    job.tamper = change_contents; /* in the job's own totals: it goes on like this */
    run_epochs(&job, 2);
    expect_violation(&job, "their contents are not those");
    end_job(&job);
}
END_TEST

static void skip_a_record(struct weir_ledger_entry *entry)
{
    entry->ranges[0].begin++;
}

static void read_again(struct weir_ledger_entry *entry)
{
    entry->ranges[0].begin -= 5;
}

START_TEST(finds_source_records_skipped_or_read_twice)
{
    struct job job;
    start_job(&job, broker_topic("out", 1));
    run_epochs(&job, 2);
    job.tamper = skip_a_record;
    run_epochs(&job, 1);
    expect_violation(&job, "1 records were skipped");
    job.tamper = read_again;
    run_epochs(&job, 1);
    expect_violation(&job, "5 records were read twice");
    end_job(&job);
}
END_TEST

static void name_another_parent(struct weir_ledger_entry *entry)
{
    entry->parent.epoch += 40;
}

START_TEST(finds_a_broken_chain)
{
    struct job job;
    start_job(&job, broker_topic("out", 1));
    run_epochs(&job, 3);
    job.tamper = name_another_parent;
    run_epochs(&job, 1);
    expect_violation(&job, "which is not in the ledger");
    end_job(&job);
}
END_TEST

START_TEST(claims_nothing_about_records_that_are_gone)
{
    struct job job;
    struct verdict verdict;
    const char *topic = broker_topic("out", 1);
    start_job(&job, topic);
    run_epochs(&job, 6);
    broker_await_stable(topic, 0);
    broker_delete_records(topic, 0, 250);
    verify(&job, &verdict);
    ck_assert_msg(verdict.code == WEIR_OK, "%s\n%s", verdict.error.text, verdict.lines);
    ck_assert_msg(strstr(verdict.lines, "not verifiable before offset") != NULL, "%s", verdict.lines);
    ck_assert_uint_gt(verdict.report.records_verified, 0);
    ck_assert_uint_lt(verdict.report.records_verified, 400);
    ck_assert_uint_gt(verdict.report.records_unverifiable, 0);
    /* And still finds what is wrong behind that. */
    broker_put(topic, 0, "foreign", "record");
    expect_violation(&job, "1 records that no commit");
    end_job(&job);
}
END_TEST

START_TEST(second_founding_begins_anew)
{
    struct job job;
    start_job(&job, broker_topic("out", 1));
    run_epochs(&job, 2);
    sink_type.writer_close(job.writer);
    weir_output_totals_clear(&job.totals);
    decider_type->discard(job.rig.decider, job.rig.attempt);
    decider_rig_expect(&job.rig, WEIR_DECIDER_DISCARDED);
    job.incarnation = 2;
    job.epoch = 0;
    job.position = 0;
    job.newest = (struct weir_frame_name){ 0 };
    job.anchor_count = 0;
    open_writer(&job);
    run_epochs(&job, 2);
    expect_verified(&job, 400);
    end_job(&job);
}
END_TEST

/* What a start with --checkpoint does: a new life goes on behind an older commit, and writes again what came since. */
START_TEST(going_back_to_a_retained_checkpoint_is_understood)
{
    struct job job;
    start_job(&job, broker_topic("out", 1));
    run_epochs(&job, 2);
    struct weir_output_totals retained = { 0 };
    for (size_t i = 0; i < job.totals.count; i++)
        ck_assert(weir_output_totals_add(&retained, job.totals.items[i].name, job.totals.items[i].count,
                                         job.totals.items[i].digest));
    const struct weir_frame_name older = job.newest;
    const int64_t position = job.position;
    run_epochs(&job, 3);
    sink_type.writer_close(job.writer);
    decider_type->discard(job.rig.decider, job.rig.attempt);
    decider_rig_expect(&job.rig, WEIR_DECIDER_DISCARDED);
    weir_output_totals_clear(&job.totals);
    job.totals = retained;
    job.incarnation = 2;
    job.epoch = older.epoch + 1;
    job.position = position;
    job.newest = older;
    job.anchor_count = 0;
    open_writer(&job);
    run_epochs(&job, 4);
    struct verdict verdict;
    verify(&job, &verdict);
    ck_assert_uint_eq(verdict.report.returns, 1);
    ck_assert_msg(strstr(verdict.lines, "goes back to 1.") != NULL, "%s", verdict.lines);
    expect_verified(&job, 900);
    end_job(&job);
}
END_TEST

START_TEST(ledger_that_is_not_there_is_no_verification)
{
    struct verdict verdict;
    verify_shared(broker_name("nobody"), NULL, &verdict);
    ck_assert_int_eq(verdict.code, WEIR_ENVIRONMENT);
}
END_TEST

START_TEST(shows_every_record_of_the_ledger)
{
    struct job job;
    struct verdict shown = { .code = WEIR_OK };
    start_job(&job, broker_topic("out", 1));
    run_epochs(&job, 3);
    broker_await_stable(job.topic, 0);
    const struct weir_kafka_ledger_options options = {
        .size = sizeof options, .job = job.rig.context.job, .brokers = broker_address(), .print = keep_line,
        .print_user = &shown,
    };
    ck_assert_int_eq(weir_kafka_ledger_show(&options, &shown.error), WEIR_OK);
    ck_assert_msg(strstr(shown.lines, "commit 1.1 after 1.0") != NULL, "%s", shown.lines);
    ck_assert_msg(strstr(shown.lines, "100 to 200 (100 records)") != NULL, "%s", shown.lines);
    end_job(&job);
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_test(tests, confirms_what_the_job_wrote);
    tcase_add_test(tests, open_and_aborted_epochs_do_not_count);
    tcase_add_test(tests, finds_a_record_that_is_missing);
    tcase_add_test(tests, finds_a_record_that_came_twice);
    tcase_add_test(tests, finds_a_record_that_came_after_the_newest_commit);
    tcase_add_test(tests, finds_a_record_in_a_partition_that_was_never_written);
    tcase_add_test(tests, shared_topic_may_hold_anything);
    tcase_add_test(tests, finds_contents_that_differ);
    tcase_add_test(tests, finds_source_records_skipped_or_read_twice);
    tcase_add_test(tests, finds_a_broken_chain);
    tcase_add_test(tests, claims_nothing_about_records_that_are_gone);
    tcase_add_test(tests, second_founding_begins_anew);
    tcase_add_test(tests, going_back_to_a_retained_checkpoint_is_understood);
    tcase_add_test(tests, ledger_that_is_not_there_is_no_verification);
    tcase_add_test(tests, shows_every_record_of_the_ledger);
}

int main(void)
{
    broker_start(1);
    return unit_main("kafka verify", add);
}
