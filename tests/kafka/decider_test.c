/* The Kafka decider against a real broker. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "decider.h"
#include "harness/broker.h"
#include "harness/decider_rig.h"
#include "harness/unit.h"

static const struct weir_decider_type *const type = &weir_kafka_decider_type;

static char *ledger_of(const char *job)
{
    static char name[KAFKA_TOPIC_SIZE];
    ledger_topic_name(name, job);
    return name;
}

static bool record_is(const struct weir_ledger_record *record, const char *key, const char *value)
{
    return weir_bytes_equal(record->key, weir_text(key)) && weir_bytes_equal(record->value, weir_text(value));
}

/* What a start finds, as it looks and as it reads. */
static struct weir_decider_event look(struct decider_rig *rig)
{
    rig->attempt++;
    type->look(rig->decider, rig->attempt);
    return decider_rig_await(rig, WEIR_DECIDER_LOOKED);
}

static struct weir_decider_event read_again(struct decider_rig *rig)
{
    type->read(rig->decider, rig->attempt);
    return decider_rig_await(rig, WEIR_DECIDER_READ);
}

/* Right after an acknowledged commit its markers may not be written yet; in a start, the fence waits for them. */
static void expect_newest(struct decider_rig *rig, const char *key, const char *value)
{
    broker_await_stable(ledger_of(rig->context.job), 0);
    struct weir_decider_event event = read_again(rig);
    ck_assert_uint_gt(event.record_count, 0);
    ck_assert_msg(record_is(&event.records[event.record_count - 1], key, value), "%.*s",
                  (int)event.records[event.record_count - 1].value.size,
                  event.records[event.record_count - 1].value.data);
    weir_decider_event_clear(&event);
}

/* One record on the handle of `epoch`, as a sink would write it. */
static void write_text(struct decider_rig *rig, uint64_t epoch, const char *topic, const char *text)
{
    struct handle *handle = decider_acquire(rig->decider, epoch);
    ck_assert_ptr_nonnull(handle);
    rd_kafka_topic_t *rkt = handle_topic(handle, topic);
    const int result =
        rd_kafka_produce(rkt, 0, RD_KAFKA_MSG_F_COPY, (void *)(uintptr_t)text, strlen(text), NULL, 0, NULL);
    ck_assert_msg(result == 0, "%s", rd_kafka_err2str(rd_kafka_last_error()));
    handle_release(handle);
}

/* Ends the process's part in a decider as a crash would: no thread of it says goodbye to the broker. */
static void leave_open(struct decider_rig *rig, uint64_t epoch, const char *topic)
{
    decider_rig_begin(rig, epoch);
    write_text(rig, epoch, topic, "lost");
    decider_rig_flush(rig, epoch, "0/x", "never decided");
}

/* ---- Facts ------------------------------------------------------------------------------------------------------- */

START_TEST(finds_nothing_where_nothing_is)
{
    struct decider_rig rig;
    const char *job = broker_name("job");
    decider_rig_open(&rig, job, 2, NULL);
    struct weir_decider_event event = look(&rig);
    ck_assert_uint_eq(event.record_count, 0);
    ck_assert_uint_eq(event.mirror_count, 0);
    ck_assert(!broker_has_topic(ledger_of(job)));
    type->fence(rig.decider, rig.attempt, 0);
    decider_rig_expect(&rig, WEIR_DECIDER_FENCED);
    event = read_again(&rig);
    ck_assert_uint_eq(event.record_count, 0);
    ck_assert(broker_has_topic(ledger_of(job)));
    decider_rig_close(&rig);
}
END_TEST

START_TEST(commits_output_ledger_and_positions_together)
{
    struct decider_rig rig;
    const char *job = broker_name("job"), *in = broker_topic("in", 1), *out = broker_topic("out", 1);
    char split[KAFKA_SPLIT_SIZE];
    kafka_split_name(split, in, 0);
    decider_rig_open(&rig, job, 2, NULL);
    decider_rig_start(&rig);
    for (uint64_t epoch = 0; epoch < 3; epoch++) {
        char key[16], value[16];
        (void)snprintf(key, sizeof key, "0/%d", (int)epoch);
        (void)snprintf(value, sizeof value, "frame %d", (int)epoch);
        decider_rig_begin(&rig, epoch);
        write_text(&rig, epoch, out, value);
        decider_rig_flush(&rig, epoch, key, value);
        decider_rig_offsets(&rig, epoch, split, 10 + (int64_t)epoch, "w1 store 1 0 file");
        decider_rig_commit(&rig, epoch);
    }
    type->finish(rig.decider, rig.attempt);
    decider_rig_expect(&rig, WEIR_DECIDER_FINISHED);
    struct broker_records seen = broker_read(out, 0, 0, true);
    ck_assert_uint_eq(seen.count, 3);
    broker_records_free(&seen);

    struct weir_decider_event event = look(&rig);
    ck_assert_uint_eq(event.record_count, 3);
    ck_assert(record_is(&event.records[0], "0/0", "frame 0"));
    ck_assert(record_is(&event.records[2], "0/2", "frame 2"));
    ck_assert_uint_eq(event.mirror_count, 1);
    ck_assert_str_eq(event.mirrors[0].split, split);
    ck_assert_int_eq(event.mirrors[0].position, 12);
    ck_assert_str_eq(event.mirrors[0].metadata, "w1 store 1 0 file");
    weir_decider_event_clear(&event);
    decider_rig_close(&rig);
}
END_TEST

START_TEST(what_was_not_committed_stays_invisible)
{
    struct decider_rig rig;
    const char *job = broker_name("job"), *out = broker_topic("out", 1);
    decider_rig_open(&rig, job, 2, NULL);
    decider_rig_start(&rig);
    decider_rig_epoch(&rig, 0, "0/0", "frame 0");
    leave_open(&rig, 1, out);
    type->discard(rig.decider, rig.attempt);
    decider_rig_expect(&rig, WEIR_DECIDER_DISCARDED);

    decider_rig_start(&rig);
    expect_newest(&rig, "0/0", "frame 0");
    broker_await_stable(out, 0);
    struct broker_records seen = broker_read(out, 0, 0, true);
    ck_assert_uint_eq(seen.count, 0);
    broker_records_free(&seen);
    decider_rig_epoch(&rig, 2, "0/2", "frame 2");
    expect_newest(&rig, "0/2", "frame 2");
    decider_rig_close(&rig);
}
END_TEST

/* The look must not wait for the transaction that a dead owner left open, and sees its records. */
START_TEST(looks_without_waiting_for_open_transactions)
{
    struct decider_rig old, new;
    const char *job = broker_name("job"), *out = broker_topic("out", 1);
    decider_rig_open(&old, job, 2, NULL);
    decider_rig_start(&old);
    decider_rig_epoch(&old, 0, "0/0", "frame 0");
    leave_open(&old, 1, out);

    decider_rig_open(&new, job, 2, NULL);
    struct weir_decider_event event = look(&new);
    ck_assert_uint_eq(event.record_count, 2);
    ck_assert(record_is(&event.records[1], "0/x", "never decided"));
    weir_decider_event_clear(&event);
    decider_rig_close(&new);
    decider_rig_close(&old);
}
END_TEST

/* It takes tens of milliseconds. librdkafka alone never needs less than 505: its back-off on CONCURRENT_TRANSACTIONS. A busy
 * machine may need as much now and then. */
START_TEST(fences_an_open_transaction_without_a_back_off)
{
    enum { BACK_OFF_US = 505000, ROUNDS_MAX = 30 };
    const char *job = broker_name("job"), *out = broker_topic("out", 1);
    int64_t best_us = INT64_MAX;
    for (int round = 0; round < ROUNDS_MAX && best_us >= BACK_OFF_US; round++) {
        struct decider_rig old, new;
        decider_rig_open(&old, job, 2, NULL);
        decider_rig_start(&old);
        leave_open(&old, 1, out);
        decider_rig_open(&new, job, 2, NULL);
        struct weir_decider_event event = look(&new);
        weir_decider_event_clear(&event);
        const int64_t began_us = decider_rig_now_us();
        type->fence(new.decider, new.attempt, 0);
        decider_rig_expect(&new, WEIR_DECIDER_FENCED);
        const int64_t took_us = decider_rig_now_us() - began_us;
        printf("fenced an open transaction in %.1f ms\n", (double)took_us / 1000);
        if (took_us < best_us) best_us = took_us;
        decider_rig_close(&new);
        decider_rig_close(&old);
    }
    ck_assert_int_lt(best_us, BACK_OFF_US);
}
END_TEST

START_TEST(older_owner_learns_that_it_was_fenced)
{
    struct decider_rig old, new;
    const char *job = broker_name("job"), *out = broker_topic("out", 1);
    decider_rig_open(&old, job, 2, NULL);
    decider_rig_start(&old);
    decider_rig_begin(&old, 0);
    write_text(&old, 0, out, "early");
    decider_rig_flush(&old, 0, "0/0", "frame 0");

    decider_rig_open(&new, job, 2, NULL);
    decider_rig_start(&new);
    type->commit(old.decider, old.attempt, 0, 0);
    struct weir_decider_event event = decider_rig_await(&old, WEIR_DECIDER_FAILED);
    ck_assert_int_eq(event.error.code, WEIR_FENCED);
    ck_assert_int_eq(event.error.remedy, WEIR_REMEDY_STOP);
    decider_rig_epoch(&new, 0, "0/0", "the new owner's");
    expect_newest(&new, "0/0", "the new owner's");
    decider_rig_close(&new);
    decider_rig_close(&old);
}
END_TEST

START_TEST(timed_out_transaction_asks_for_a_replay)
{
    struct decider_rig rig;
    const char *job = broker_name("job"), *out = broker_topic("out", 1);
    decider_rig_open(&rig, job, 2, "kafka.producer.transaction.timeout.ms=1000");
    decider_rig_start(&rig);
    leave_open(&rig, 0, out);
    broker_await_stable(out, 0); /* the broker has ended it */
    type->commit(rig.decider, rig.attempt, 0, 0);
    struct weir_decider_event event = decider_rig_await(&rig, WEIR_DECIDER_FAILED);
    ck_assert_int_eq(event.error.remedy, WEIR_REMEDY_REPLAY);
    ck_assert_msg(strstr(event.error.text, "timed out") != NULL, "%s", event.error.text);
    type->discard(rig.decider, rig.attempt);
    decider_rig_expect(&rig, WEIR_DECIDER_DISCARDED);
    decider_rig_start(&rig);
    decider_rig_epoch(&rig, 1, "0/1", "frame 1");
    decider_rig_close(&rig);
}
END_TEST

START_TEST(ids_of_a_larger_ring_are_fenced_too)
{
    struct decider_rig wide, narrow;
    const char *job = broker_name("job"), *out = broker_topic("out", 1);
    decider_rig_open(&wide, job, 4, NULL);
    decider_rig_start(&wide);
    decider_rig_begin(&wide, 3);
    write_text(&wide, 3, out, "late");
    decider_rig_flush(&wide, 3, "0/3", "frame 3");

    decider_rig_open(&narrow, job, 1, NULL);
    struct weir_decider_event event = look(&narrow);
    weir_decider_event_clear(&event);
    type->fence(narrow.decider, narrow.attempt, 4);
    decider_rig_expect(&narrow, WEIR_DECIDER_FENCED);
    type->commit(wide.decider, wide.attempt, 3, 3);
    event = decider_rig_await(&wide, WEIR_DECIDER_FAILED);
    ck_assert_int_eq(event.error.code, WEIR_FENCED);
    decider_rig_epoch(&narrow, 4, "0/4", "frame 4");
    decider_rig_close(&narrow);
    decider_rig_close(&wide);
}
END_TEST

START_TEST(announces_before_anything_else)
{
    struct decider_rig rig;
    const char *job = broker_name("job");
    decider_rig_open(&rig, job, 2, NULL);
    decider_rig_start(&rig);
    type->announce(rig.decider, rig.attempt, weir_text("0/incarnation"), weir_text("7"));
    decider_rig_expect(&rig, WEIR_DECIDER_ANNOUNCED);
    expect_newest(&rig, "0/incarnation", "7");
    decider_rig_epoch(&rig, 0, "0/0", "frame 0");
    decider_rig_close(&rig);
}
END_TEST

START_TEST(finds_the_newest_commit_behind_many_aborted_ones)
{
    struct decider_rig rig;
    const char *job = broker_name("job");
    decider_rig_open(&rig, job, 1, NULL);
    decider_rig_start(&rig);
    decider_rig_epoch(&rig, 0, "0/0", "frame 0");
    rd_kafka_t *producer = broker_producer(broker_name("other"), NULL);
    for (int i = 0; i < 60; i++) { /* two offsets each, more than the first window */
        broker_begin(producer);
        broker_produce(producer, ledger_of(job), 0,
                       &(struct weir_record){ .key = weir_text("0/1"), .value = weir_text("aborted"),
                                              .time_ms = WEIR_TIME_UNSET });
        broker_flush(producer);
        broker_abort(producer);
    }
    broker_producer_close(producer);
    broker_await_stable(ledger_of(job), 0);
    expect_newest(&rig, "0/0", "frame 0");
    decider_rig_close(&rig);
}
END_TEST

START_TEST(anchors_are_the_ends_of_what_was_written)
{
    struct decider_rig rig;
    const char *job = broker_name("job"), *out = broker_topic("out", 2);
    char second[KAFKA_SPLIT_SIZE];
    kafka_split_name(second, out, 1);
    decider_rig_open(&rig, job, 2, NULL);
    struct output *output = outputs_add(decider_outputs(rig.decider), out, 2, 0);
    output_mark(output, 0);
    decider_rig_start(&rig);
    decider_rig_begin(&rig, 0);
    write_text(&rig, 0, out, "one");
    write_text(&rig, 0, out, "two");
    type->flush(rig.decider, rig.attempt, 0, 0, weir_text("0/0"), weir_text("frame 0"), true);
    struct weir_decider_event event = decider_rig_await(&rig, WEIR_DECIDER_FLUSHED);
    ck_assert_uint_eq(event.anchor_count, 1);
    ck_assert_int_eq(event.anchors[0].end, 2);
    weir_decider_event_clear(&event);
    decider_rig_offsets(&rig, 0, NULL, 0, "");
    decider_rig_commit(&rig, 0);
    decider_rig_close(&rig);
}
END_TEST

START_TEST(ledger_that_would_expire_is_refused)
{
    struct decider_rig rig;
    struct weir_error error;
    const char *job = broker_name("job");
    broker_create_topic(ledger_of(job), 1, "cleanup.policy=delete");
    decider_rig_prepare(&rig, job, 2, NULL);
    ck_assert_int_eq(decider_rig_try_open(&rig, &error), WEIR_ENVIRONMENT);
    ck_assert_msg(strstr(error.text, "cleanup.policy=delete") != NULL, "%s", error.text);
    decider_rig_close(&rig);
}
END_TEST

/* One broker cannot hold two. */
START_TEST(ledger_has_as_many_replicas_as_was_said)
{
    struct decider_rig rig;
    const char *job = broker_name("job");
    decider_rig_open(&rig, job, 1, _i == 0 ? "ledger.replication-factor=1" : "ledger.replication-factor=2");
    rig.attempt = 1;
    type->fence(rig.decider, 1, 0);
    if (_i == 0) {
        decider_rig_expect(&rig, WEIR_DECIDER_FENCED);
    } else {
        struct weir_decider_event event = decider_rig_await(&rig, WEIR_DECIDER_FAILED);
        ck_assert_msg(strstr(event.error.text, "replication") != NULL, "%s", event.error.text);
    }
    ck_assert_int_eq(broker_has_topic(ledger_of(job)), _i == 0);
    decider_rig_close(&rig);
}
END_TEST

START_TEST(time_out_above_the_brokers_limit_is_a_usage_error)
{
    struct decider_rig rig;
    decider_rig_open(&rig, broker_name("job"), 1, "kafka.producer.transaction.timeout.ms=2147483647");
    rig.attempt = 1;
    type->fence(rig.decider, 1, 0);
    struct weir_decider_event event = decider_rig_await(&rig, WEIR_DECIDER_FAILED);
    ck_assert_int_eq(event.error.code, WEIR_USAGE);
    ck_assert_int_eq(event.error.remedy, WEIR_REMEDY_STOP);
    ck_assert_msg(strstr(event.error.text, "transaction.max.timeout.ms") != NULL, "%s", event.error.text);
    decider_rig_close(&rig);
}
END_TEST

START_TEST(unreachable_cluster_may_be_tried_again)
{
    struct decider_rig rig;
    struct weir_error error;
    decider_rig_prepare(&rig, broker_name("job"), 1, "kafka.bootstrap.servers=127.0.0.1:1");
    ck_assert_int_ne(decider_rig_try_open(&rig, &error), WEIR_OK);
    ck_assert_int_eq(error.remedy, WEIR_REMEDY_RETRY);
    ck_assert_msg(strstr(error.text, "127.0.0.1:1") != NULL, "%s", error.text);
    decider_rig_close(&rig);
}
END_TEST

START_TEST(at_least_once_commits_behind_what_was_flushed)
{
    struct decider_rig rig;
    const char *job = broker_name("job"), *in = broker_topic("in", 1), *out = broker_topic("out", 1);
    char split[KAFKA_SPLIT_SIZE];
    kafka_split_name(split, in, 0);
    decider_rig_prepare(&rig, job, 2, NULL);
    rig.context.exactly_once = false;
    struct weir_error error;
    ck_assert_msg(decider_rig_try_open(&rig, &error) == WEIR_OK, "%s", error.text);
    decider_rig_start(&rig);
    for (uint64_t epoch = 0; epoch < 3; epoch++) {
        decider_rig_begin(&rig, epoch);
        write_text(&rig, epoch, out, "text");
        decider_rig_flush(&rig, epoch, "0/k", "frame");
        decider_rig_offsets(&rig, epoch, split, 5 + (int64_t)epoch, "w1");
        decider_rig_commit(&rig, epoch);
    }
    ck_assert_int_eq(broker_end(out, 0, true), 3);
    struct weir_decider_event event = read_again(&rig);
    ck_assert_uint_eq(event.record_count, 3);
    ck_assert_uint_eq(event.mirror_count, 1);
    ck_assert_int_eq(event.mirrors[0].position, 7);
    ck_assert_str_eq(event.mirrors[0].metadata, "w1");
    weir_decider_event_clear(&event);
    type->finish(rig.decider, rig.attempt);
    decider_rig_expect(&rig, WEIR_DECIDER_FINISHED);
    decider_rig_close(&rig);
}
END_TEST

START_TEST(survives_a_broker_that_restarts_between_flush_and_commit)
{
    struct decider_rig rig;
    const char *job = broker_name("job"), *out = broker_topic("out", 1);
    decider_rig_open(&rig, job, 2, NULL);
    decider_rig_start(&rig);
    decider_rig_begin(&rig, 0);
    write_text(&rig, 0, out, "text");
    decider_rig_flush(&rig, 0, "0/0", "frame 0");
    broker_kill();
    type->commit(rig.decider, rig.attempt, 0, 0);
    broker_restart();
    struct weir_decider_event event = decider_rig_next(&rig);
    printf("commit over a restart: event %d renew %d %s\n", (int)event.type, (int)event.renew,
           event.type == WEIR_DECIDER_FAILED ? event.error.text : "");
    if (event.type == WEIR_DECIDER_COMMITTED) {
        if (event.renew) {
            type->renew(rig.decider, rig.attempt, 0);
            decider_rig_expect(&rig, WEIR_DECIDER_RENEWED);
        }
        decider_rig_epoch(&rig, 2, "0/2", "frame 2");
    } else {
        ck_assert_int_eq(event.error.remedy, WEIR_REMEDY_REPLAY);
    }
    decider_rig_close(&rig);
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_test(tests, finds_nothing_where_nothing_is);
    tcase_add_test(tests, commits_output_ledger_and_positions_together);
    tcase_add_test(tests, what_was_not_committed_stays_invisible);
    tcase_add_test(tests, looks_without_waiting_for_open_transactions);
    tcase_add_test(tests, fences_an_open_transaction_without_a_back_off);
    tcase_add_test(tests, older_owner_learns_that_it_was_fenced);
    tcase_add_test(tests, timed_out_transaction_asks_for_a_replay);
    tcase_add_test(tests, ids_of_a_larger_ring_are_fenced_too);
    tcase_add_test(tests, announces_before_anything_else);
    tcase_add_test(tests, finds_the_newest_commit_behind_many_aborted_ones);
    tcase_add_test(tests, anchors_are_the_ends_of_what_was_written);
    tcase_add_test(tests, ledger_that_would_expire_is_refused);
    tcase_add_loop_test(tests, ledger_has_as_many_replicas_as_was_said, 0, 2);
    tcase_add_test(tests, time_out_above_the_brokers_limit_is_a_usage_error);
    tcase_add_test(tests, unreachable_cluster_may_be_tried_again);
    tcase_add_test(tests, at_least_once_commits_behind_what_was_flushed);
    tcase_add_test(tests, survives_a_broker_that_restarts_between_flush_and_commit);
}

int main(void)
{
    broker_start(1);
    return unit_main("kafka decider", add);
}
