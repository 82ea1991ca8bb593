/* The Kafka sink against a real broker, driven as a task and the job thread drive it. */
#include "sink.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "harness/broker.h"
#include "harness/decider_rig.h"
#include "harness/patience.h"
#include "harness/unit.h"
#include "partitioner.h"

static const struct weir_decider_type *const decider_type = &weir_kafka_decider_type;

struct run {
    struct decider_rig rig;
    struct weir_connector_context context;
    struct weir_kafka_sink_options options;
    void *sink;
    void *writer;
    struct waker waker;
    struct weir_output_totals totals;
    struct weir_error error;
};

static void prepare_run(struct run *run, const char *topic, const char *settings)
{
    *run = (struct run){ .sink = NULL };
    decider_rig_open(&run->rig, broker_name("job"), 2, settings);
    run->context = run->rig.context;
    run->context.operator_name = "out";
    run->options = (struct weir_kafka_sink_options){ .size = sizeof run->options, .name = "out", .topic = topic };
    ck_assert(waker_init(&run->waker));
}

static enum weir_code open_sink(struct run *run)
{
    return sink_type.open(&run->options, &run->context, run->rig.decider, &run->sink, &run->error);
}

static void open_writer(struct run *run, uint64_t epoch)
{
    ck_assert_msg(sink_type.writer_open(run->sink, 0, epoch, waker_public(&run->waker), &run->writer, &run->error) ==
                  WEIR_OK, "%s", run->error.text);
}

/* A writer in epoch 0, which is open. */
static void start(struct run *run)
{
    ck_assert_msg(open_sink(run) == WEIR_OK, "%s", run->error.text);
    decider_rig_start(&run->rig);
    decider_rig_begin(&run->rig, 0);
    open_writer(run, 0);
    ck_assert_msg(sink_type.writer_proceed(run->writer, 0, &run->error) == WEIR_OK, "%s", run->error.text);
}

static void finish(struct run *run)
{
    if (run->writer != NULL) sink_type.writer_close(run->writer);
    if (run->sink != NULL) sink_type.close(run->sink);
    weir_output_totals_clear(&run->totals);
    decider_rig_close(&run->rig);
    waker_deinit(&run->waker);
}

static void write_record(struct run *run, const struct weir_record *record)
{
    while (!sink_type.writer_room(run->writer)) waker_sleep(&run->waker, 1000000);
    ck_assert_msg(sink_type.writer_write(run->writer, record, &run->error) == WEIR_OK, "%s", run->error.text);
}

static struct weir_bytes bytes_or_null(const char *text)
{
    return text == NULL ? WEIR_NULL : weir_text(text);
}

static void write_text(struct run *run, const char *key, const char *value)
{
    write_record(run, &(struct weir_record){ .key = bytes_or_null(key), .value = bytes_or_null(value),
                                             .time_ms = WEIR_TIME_UNSET });
}

static void prepare(struct run *run, uint64_t epoch)
{
    ck_assert_msg(sink_type.writer_prepare(run->writer, epoch, &run->totals, &run->error) == WEIR_OK, "%s",
                  run->error.text);
}

static void proceed(struct run *run, uint64_t epoch)
{
    ck_assert_msg(sink_type.writer_proceed(run->writer, epoch, &run->error) == WEIR_OK, "%s", run->error.text);
}

static void flush_and_commit(struct run *run, uint64_t epoch)
{
    decider_rig_flush(&run->rig, epoch, "0/k", "frame");
    decider_rig_offsets(&run->rig, epoch, NULL, 0, "");
    decider_rig_commit(&run->rig, epoch);
}

static void end_epoch(struct run *run, uint64_t epoch)
{
    prepare(run, epoch);
    flush_and_commit(run, epoch);
}

static struct broker_records read_committed(const char *topic, int partition)
{
    broker_await_stable(topic, partition);
    return broker_read(topic, partition, 0, true);
}

/* ---- Facts ------------------------------------------------------------------------------------------------------- */

START_TEST(writes_records_as_they_are)
{
    struct run run;
    const char *topic = broker_topic("out", 1);
    prepare_run(&run, topic, NULL);
    start(&run);
    const int64_t before_ms = (int64_t)time(NULL) * 1000 - 1000;
    write_record(&run, &(struct weir_record){ .key = weir_text("k"), .value = weir_text("v"), .time_ms = 1234567 });
    write_text(&run, NULL, "no key, no time");
    write_text(&run, "k", NULL);
    write_record(&run, &(struct weir_record){ .key = WEIR_EMPTY, .value = WEIR_EMPTY, .time_ms = 42 });
    end_epoch(&run, 0);

    struct broker_records seen = read_committed(topic, 0);
    ck_assert_uint_eq(seen.count, 4);
    ck_assert(weir_bytes_equal(seen.items[0].key, weir_text("k")));
    ck_assert(weir_bytes_equal(seen.items[0].value, weir_text("v")));
    ck_assert_int_eq(seen.items[0].time_ms, 1234567);
    ck_assert(weir_is_null(seen.items[1].key));
    ck_assert_int_gt(seen.items[1].time_ms, before_ms);
    ck_assert(weir_is_null(seen.items[2].value));
    ck_assert(weir_bytes_equal(seen.items[3].key, WEIR_EMPTY) && weir_bytes_equal(seen.items[3].value, WEIR_EMPTY));
    broker_records_free(&seen);
    finish(&run);
}
END_TEST

/* Reads headers by librdkafka itself: the harness does without them. */
static rd_kafka_message_t *read_first(const char *topic)
{
    char text[256];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    rd_kafka_conf_set(conf, "bootstrap.servers", broker_address(), text, sizeof text);
    rd_kafka_t *rk = rd_kafka_new(RD_KAFKA_CONSUMER, conf, text, sizeof text);
    rd_kafka_topic_t *rkt = rd_kafka_topic_new(rk, topic, NULL);
    ck_assert_int_eq(rd_kafka_consume_start(rkt, 0, 0), 0);
    rd_kafka_message_t *message = rd_kafka_consume(rkt, 0, PATIENCE_MS);
    ck_assert_ptr_nonnull(message);
    return message; /* and its handle, until the fact's process ends */
}

static void expect_header(rd_kafka_message_t *message, size_t index, const char *name, const char *value)
{
    rd_kafka_headers_t *headers;
    const char *found;
    const void *data;
    size_t size;
    ck_assert_int_eq(rd_kafka_message_headers(message, &headers), 0);
    ck_assert_int_eq(rd_kafka_header_get_all(headers, index, &found, &data, &size), 0);
    ck_assert_str_eq(found, name);
    if (value == NULL) ck_assert_ptr_null(data);
    else ck_assert(weir_bytes_equal((struct weir_bytes){ data, size }, weir_text(value)));
}

START_TEST(keeps_headers_also_of_records_held_back)
{
    struct run run;
    const char *topic = broker_topic("out", 1);
    prepare_run(&run, topic, NULL);
    start(&run);
    prepare(&run, 0);
    const struct weir_header items[] = { { "a", weir_text("1") }, { "b", WEIR_NULL }, { "a", WEIR_EMPTY } };
    const struct weir_headers headers = { 3, items };
    write_record(&run, &(struct weir_record){ .key = WEIR_NULL, .value = weir_text("v"), .time_ms = 99,
                                              .headers = &headers });
    decider_rig_begin(&run.rig, 1);
    flush_and_commit(&run, 0);
    proceed(&run, 1);
    end_epoch(&run, 1);
    broker_await_stable(topic, 0);
    rd_kafka_message_t *message = read_first(topic);
    expect_header(message, 0, "a", "1");
    expect_header(message, 1, "b", NULL);
    expect_header(message, 2, "a", "");
    finish(&run);
}
END_TEST

START_TEST(holds_back_until_the_epoch_before_is_flushed)
{
    struct run run;
    const char *topic = broker_topic("out", 1);
    prepare_run(&run, topic, NULL);
    start(&run);
    for (int i = 0; i < 1000; i++) write_text(&run, "key", "first");
    prepare(&run, 0);
    decider_rig_begin(&run.rig, 1);
    for (int i = 0; i < 1000; i++) write_text(&run, "key", "second");
    ck_assert_uint_gt(sink_type.writer_bytes_unflushed(run.writer), 1000);
    decider_rig_flush(&run.rig, 0, "0/k", "frame");
    const int64_t flushed = broker_end(topic, 0, false);
    ck_assert_int_eq(flushed, 1000); /* nothing of the second epoch */
    proceed(&run, 1);
    decider_rig_offsets(&run.rig, 0, NULL, 0, "");
    decider_rig_commit(&run.rig, 0);
    end_epoch(&run, 1);

    struct broker_records seen = read_committed(topic, 0);
    ck_assert_uint_eq(seen.count, 2000);
    for (size_t i = 0; i < seen.count; i++)
        ck_assert(weir_bytes_equal(seen.items[i].value, weir_text(i < 1000 ? "first" : "second")));
    broker_records_free(&seen);
    finish(&run);
}
END_TEST

START_TEST(order_of_a_key_survives_the_ring)
{
    struct run run;
    const char *topic = broker_topic("out", 3);
    prepare_run(&run, topic, NULL);
    start(&run);
    int next = 0;
    for (uint64_t epoch = 0; epoch < 12; epoch++) {
        for (int i = 0; i < 200; i++, next++) {
            char key[16], value[16];
            (void)snprintf(key, sizeof key, "key %d", next % 7);
            (void)snprintf(value, sizeof value, "%d", next);
            write_text(&run, key, value);
            if (i == 100 && epoch > 0) proceed(&run, epoch); /* half of it was held back */
        }
        prepare(&run, epoch);
        decider_rig_begin(&run.rig, epoch + 1);
        flush_and_commit(&run, epoch);
    }
    size_t count = 0;
    for (int p = 0; p < 3; p++) {
        int64_t newest[7] = { -1, -1, -1, -1, -1, -1, -1 };
        struct broker_records seen = read_committed(topic, p);
        for (size_t i = 0; i < seen.count; i++) {
            int64_t number;
            ck_assert(weir_bytes_to_i64(seen.items[i].value, &number));
            ck_assert_int_gt(number, newest[number % 7]);
            newest[number % 7] = number;
        }
        count += seen.count;
        broker_records_free(&seen);
    }
    ck_assert_uint_eq(count, 12 * 200);
    finish(&run);
}
END_TEST

START_TEST(counts_and_digests_equal_what_a_reader_sees)
{
    struct run run;
    const char *topic = broker_topic("out", 3);
    prepare_run(&run, topic, NULL);
    start(&run);
    for (int i = 0; i < 500; i++) {
        char key[16];
        (void)snprintf(key, sizeof key, "key %d", i);
        if (i % 3 == 0) write_text(&run, key, i % 2 == 0 ? NULL : "");
        else write_record(&run, &(struct weir_record){ .key = weir_text(key), .value = weir_text("v"), .time_ms = i });
    }
    end_epoch(&run, 0);
    for (int p = 0; p < 3; p++) {
        struct weir_output_totals read = { 0 };
        struct broker_records seen = read_committed(topic, p);
        char name[KAFKA_SPLIT_SIZE];
        kafka_split_name(name, topic, p);
        for (size_t i = 0; i < seen.count; i++) {
            const struct weir_record record = { .key = seen.items[i].key, .value = seen.items[i].value };
            ck_assert(weir_output_totals_add(&read, name, 1, weir_digest_record(&record)));
        }
        ck_assert_str_eq(run.totals.items[p].name, name);
        ck_assert_uint_eq(run.totals.items[p].count, seen.count);
        ck_assert_uint_eq(run.totals.items[p].digest.low, read.items[0].digest.low);
        ck_assert_uint_eq(run.totals.items[p].digest.high, read.items[0].digest.high);
        weir_output_totals_clear(&read);
        broker_records_free(&seen);
    }
    finish(&run);
}
END_TEST

START_TEST(queue_for_the_next_epoch_is_bounded)
{
    struct run run;
    prepare_run(&run, broker_topic("out", 1), "sink.queue.size=64kb");
    start(&run);
    prepare(&run, 0);
    decider_rig_begin(&run.rig, 1);
    char value[1001];
    memset(value, 'x', sizeof value - 1);
    value[sizeof value - 1] = '\0';
    int written = 0;
    while (sink_type.writer_room(run.writer)) {
        write_text(&run, "k", value);
        ck_assert_int_lt(++written, 100);
    }
    ck_assert_int_gt(written, 50);
    decider_rig_flush(&run.rig, 0, "0/k", "frame");
    proceed(&run, 1);
    waker_sleep(&run.waker, -1); /* was woken */
    ck_assert(sink_type.writer_room(run.writer));
    finish(&run);
}
END_TEST

START_TEST(full_handle_refuses_and_wakes)
{
    struct run run;
    const char *topic = broker_topic("out", 1);
    prepare_run(&run, topic, "kafka.producer.queue.buffering.max.messages=1000,kafka.producer.linger.ms=50");
    start(&run);
    int refusals = 0;
    for (int i = 0; i < 20000; i++) {
        while (!sink_type.writer_room(run.writer)) {
            refusals++;
            waker_sleep(&run.waker, -1);
        }
        write_text(&run, "k", "value");
    }
    ck_assert_int_gt(refusals, 0);
    end_epoch(&run, 0);
    struct broker_records seen = read_committed(topic, 0);
    ck_assert_uint_eq(seen.count, 20000);
    broker_records_free(&seen);
    finish(&run);
}
END_TEST

START_TEST(missing_topic_names_the_way_out)
{
    struct run run;
    prepare_run(&run, broker_name("absent"), NULL);
    ck_assert_int_eq(open_sink(&run), WEIR_ENVIRONMENT);
    ck_assert_int_eq(run.error.remedy, WEIR_REMEDY_STOP);
    ck_assert_msg(strstr(run.error.text, "--create-topics") != NULL, "%s", run.error.text);
    finish(&run);
}
END_TEST

START_TEST(creates_topics_where_it_may)
{
    struct run run;
    const char *topic = broker_name("created");
    prepare_run(&run, topic, "sink.create-topics=true,sink.create-topics.partitions=3");
    start(&run);
    ck_assert_int_eq(((struct sink *)run.sink)->topic->partition_count, 3);
    write_text(&run, "k", "v");
    end_epoch(&run, 0);
    ck_assert(broker_has_topic(topic));
    finish(&run);
}
END_TEST

static const char *topic_by_value(void *user, const struct weir_record *record)
{
    const char *const *topics = user;
    return topics[record->value.data[0] == 'b'];
}

START_TEST(topic_may_depend_on_the_record)
{
    struct run run;
    const char *topics[2] = { broker_topic("a", 1), broker_topic("b", 1) };
    prepare_run(&run, NULL, NULL);
    run.options.topic_of = topic_by_value;
    run.options.topics = topics[0];
    run.options.user = topics;
    start(&run);
    write_text(&run, "k", "a");
    write_text(&run, "k", "b");
    write_text(&run, "k", "a");
    end_epoch(&run, 0);
    struct broker_records a = read_committed(topics[0], 0), b = read_committed(topics[1], 0);
    ck_assert_uint_eq(a.count, 2);
    ck_assert_uint_eq(b.count, 1);
    broker_records_free(&a);
    broker_records_free(&b);
    finish(&run);
}
END_TEST

static int32_t last_partition(void *user, const struct weir_record *record, int32_t partition_count)
{
    (void)user, (void)record;
    return partition_count - 1;
}

START_TEST(partition_may_be_chosen_by_the_job)
{
    struct run run;
    const char *topic = broker_topic("out", 3);
    prepare_run(&run, topic, NULL);
    run.options.partition_of = last_partition;
    start(&run);
    for (int i = 0; i < 10; i++) write_text(&run, NULL, "v");
    end_epoch(&run, 0);
    struct broker_records seen = read_committed(topic, 2);
    ck_assert_uint_eq(seen.count, 10);
    broker_records_free(&seen);
    finish(&run);
}
END_TEST

static const char *large_topic(void)
{
    const char *topic = broker_name("small");
    broker_create_topic(topic, 1, "max.message.bytes=2000");
    return topic;
}

static char *large_value(void)
{
    static char value[5001];
    memset(value, 'x', sizeof value - 1);
    return value;
}

START_TEST(record_too_large_for_its_topic_stops_the_job_by_name)
{
    struct run run;
    const char *topic = large_topic();
    prepare_run(&run, topic, NULL);
    start(&run);
    const struct weir_record record = { .key = weir_text("k"), .value = weir_text(large_value()),
                                        .time_ms = WEIR_TIME_UNSET };
    ck_assert_int_eq(sink_type.writer_write(run.writer, &record, &run.error), WEIR_FAILED);
    ck_assert_int_eq(run.error.remedy, WEIR_REMEDY_STOP);
    ck_assert_msg(strstr(run.error.text, topic) != NULL && strstr(run.error.text, "max.message.bytes") != NULL, "%s",
                  run.error.text);
    finish(&run);
}
END_TEST

START_TEST(record_too_large_goes_to_the_dead_letter_topic)
{
    struct run run;
    const char *topic = large_topic(), *letters = broker_topic("letters", 1);
    prepare_run(&run, topic, NULL);
    run.options.dead_letter_topic = letters;
    start(&run);
    write_text(&run, "k", "small");
    write_text(&run, "k", large_value());
    end_epoch(&run, 0);
    ck_assert_uint_eq(run.totals.count, 2);
    ck_assert_uint_eq(run.totals.dead_letters, 1);
    struct broker_records seen = read_committed(letters, 0), good = read_committed(topic, 0);
    ck_assert_uint_eq(good.count, 1);
    ck_assert_uint_eq(seen.count, 1);
    ck_assert_uint_eq(seen.items[0].value.size, 5000);
    rd_kafka_message_t *message = read_first(letters);
    expect_header(message, 1, "weir.topic", topic);
    expect_header(message, 2, "weir.value.size", "5000");
    broker_records_free(&seen);
    broker_records_free(&good);
    finish(&run);
}
END_TEST

/* A compacted topic takes no record without a key: only the broker can tell, and it tells later. */
START_TEST(record_rejected_by_the_broker_stops_the_job_by_name)
{
    struct run run;
    const char *topic = broker_name("compacted");
    broker_create_topic(topic, 1, "cleanup.policy=compact");
    prepare_run(&run, topic, NULL);
    start(&run);
    write_text(&run, NULL, "no key");
    prepare(&run, 0);
    decider_type->flush(run.rig.decider, run.rig.attempt, 0, 0, weir_text("0/k"), weir_text("frame"), false);
    struct weir_decider_event event = decider_rig_await(&run.rig, WEIR_DECIDER_FAILED);
    ck_assert_int_eq(event.error.remedy, WEIR_REMEDY_STOP);
    ck_assert_msg(strstr(event.error.text, topic) != NULL && strstr(event.error.text, "without a key") != NULL, "%s",
                  event.error.text);
    finish(&run);
}
END_TEST

START_TEST(writer_outlives_its_discarded_handle)
{
    struct run run;
    const char *topic = broker_topic("out", 1);
    prepare_run(&run, topic, NULL);
    start(&run);
    write_text(&run, "k", "v");
    decider_type->discard(run.rig.decider, run.rig.attempt);
    decider_rig_expect(&run.rig, WEIR_DECIDER_DISCARDED);
    struct weir_error error;
    const struct weir_record record = { .key = weir_text("k"), .value = weir_text("v"), .time_ms = 5 };
    for (int i = 0; i < 1000; i++) (void)sink_type.writer_write(run.writer, &record, &error);
    sink_type.writer_close(run.writer);
    run.writer = NULL;
    decider_rig_start(&run.rig);
    decider_rig_epoch(&run.rig, 1, "0/1", "frame 1");
    broker_await_stable(topic, 0);
    struct broker_records seen = broker_read(topic, 0, 0, true);
    ck_assert_uint_eq(seen.count, 0);
    broker_records_free(&seen);
    finish(&run);
}
END_TEST

START_TEST(at_least_once_writes_without_transactions)
{
    struct run run = { .sink = NULL };
    const char *topic = broker_topic("out", 1);
    decider_rig_prepare(&run.rig, broker_name("job"), 2, NULL);
    run.rig.context.exactly_once = false;
    ck_assert_msg(decider_rig_try_open(&run.rig, &run.error) == WEIR_OK, "%s", run.error.text);
    run.context = run.rig.context;
    run.context.operator_name = "out";
    run.options = (struct weir_kafka_sink_options){ .size = sizeof run.options, .name = "out", .topic = topic };
    ck_assert(waker_init(&run.waker));
    start(&run);
    for (uint64_t epoch = 0; epoch < 3; epoch++) {
        for (int i = 0; i < 100; i++) write_text(&run, "k", "v");
        prepare(&run, epoch);
        decider_rig_begin(&run.rig, epoch + 1);
        decider_rig_flush(&run.rig, epoch, "0/k", "frame");
        ck_assert_int_eq(broker_end(topic, 0, true), 100 * (int64_t)(epoch + 1));
        proceed(&run, epoch + 1);
        decider_rig_offsets(&run.rig, epoch, NULL, 0, "");
        decider_rig_commit(&run.rig, epoch);
    }
    finish(&run);
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_test(tests, writes_records_as_they_are);
    tcase_add_test(tests, keeps_headers_also_of_records_held_back);
    tcase_add_test(tests, holds_back_until_the_epoch_before_is_flushed);
    tcase_add_test(tests, order_of_a_key_survives_the_ring);
    tcase_add_test(tests, counts_and_digests_equal_what_a_reader_sees);
    tcase_add_test(tests, queue_for_the_next_epoch_is_bounded);
    tcase_add_test(tests, full_handle_refuses_and_wakes);
    tcase_add_test(tests, missing_topic_names_the_way_out);
    tcase_add_test(tests, creates_topics_where_it_may);
    tcase_add_test(tests, topic_may_depend_on_the_record);
    tcase_add_test(tests, partition_may_be_chosen_by_the_job);
    tcase_add_test(tests, record_too_large_for_its_topic_stops_the_job_by_name);
    tcase_add_test(tests, record_too_large_goes_to_the_dead_letter_topic);
    tcase_add_test(tests, record_rejected_by_the_broker_stops_the_job_by_name);
    tcase_add_test(tests, writer_outlives_its_discarded_handle);
    tcase_add_test(tests, at_least_once_writes_without_transactions);
}

int main(void)
{
    broker_start(1);
    return unit_main("kafka sink", add);
}
