/* The Kafka source against a real broker, driven as the runtime drives it: discover, add, poll. */
#include "source.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "harness/broker.h"
#include "harness/patience.h"
#include "harness/unit.h"
#include "record/record.h"

/* ---- A source with one reader ------------------------------------------------------------------------------------ */

static const volatile bool never_cancelled = false;

struct run {
    struct weir_environment environment;
    weir_config *config;
    struct weir_connector_context context;
    struct weir_kafka_source_options options;
    void *source;
    void *reader;
    struct weir_splits found;
    struct weir_batch *batch;
    uint32_t records_max; /* of a batch; 0 = as usual */
    struct waker waker;
    struct weir_error error;
};

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void print_log(void *user, const struct weir_log_line *line)
{
    (void)user;
    if (getenv("WEIR_TEST_LOG") != NULL) (void)fprintf(stderr, "%d %s\n", (int)line->level, line->text);
}

static void configure(weir_config *config, const char *key, const char *value)
{
    struct weir_error error;
    ck_assert_msg(weir_config_set(config, WEIR_CONFIG_COMMAND_LINE, key, value, "test", &error) == WEIR_OK, "%s",
                  error.text);
}

static void prepare(struct run *run, const char *topic)
{
    *run = (struct run){ .config = weir_config_create(), .batch = batch_create() };
    environment_init_system(&run->environment);
    run->environment.log = print_log;
    configure(run->config, "kafka.bootstrap.servers", broker_address());
    run->context = (struct weir_connector_context){
        .environment = &run->environment,
        .config = run->config,
        .job = "job",
        .operator_name = "lines",
        .parallelism = 1,
        .exactly_once = true,
    };
    run->options = (struct weir_kafka_source_options){ .size = sizeof run->options, .name = "lines", .topic = topic };
    ck_assert(waker_init(&run->waker));
}

static void open_source(struct run *run)
{
    const enum weir_code code = kafka_source_type.open(&run->options, &run->context, &run->source, &run->error);
    ck_assert_msg(code == WEIR_OK, "%s", run->error.text);
}

static enum weir_code discover_once(struct run *run, const struct weir_splits *known, bool founding, bool verify)
{
    weir_splits_clear(&run->found);
    return kafka_source_type.discover(run->source, known, founding, verify, &never_cancelled, &run->found, &run->error);
}

/* Tries again where the source says so, as the runtime does: a new topic's brokers need a moment. */
static enum weir_code discover(struct run *run, const struct weir_splits *known, bool founding, bool verify)
{
    const int64_t deadline = now_ms() + PATIENCE_MS;
    enum weir_code code;
    while ((code = discover_once(run, known, founding, verify)) != WEIR_OK &&
           run->error.remedy == WEIR_REMEDY_RETRY && now_ms() < deadline)
        waker_sleep(&run->waker, 20000);
    return code;
}

static void open_reader(struct run *run)
{
    const enum weir_code code =
        kafka_source_type.reader_open(run->source, 0, waker_public(&run->waker), &run->reader, &run->error);
    ck_assert_msg(code == WEIR_OK, "%s", run->error.text);
}

static void add(struct run *run, const struct weir_split *split)
{
    ck_assert_msg(kafka_source_type.reader_add(run->reader, split, &run->error) == WEIR_OK, "%s", run->error.text);
}

static void open_reader_at(struct run *run, const struct weir_splits *splits)
{
    open_reader(run);
    for (size_t i = 0; i < splits->count; i++) add(run, &splits->items[i]);
}

/* Founds a job, and begins to read all that was found. */
static void found(struct run *run)
{
    const struct weir_splits none = { 0 };
    open_source(run);
    ck_assert_msg(discover(run, &none, true, true) == WEIR_OK, "%s", run->error.text);
    open_reader_at(run, &run->found);
}

static void start(struct run *run, const char *topic)
{
    prepare(run, topic);
    found(run);
}

static void close_reader(struct run *run)
{
    if (run->reader != NULL) kafka_source_type.reader_close(run->reader);
    run->reader = NULL;
}

static void finish(struct run *run)
{
    close_reader(run);
    if (run->source != NULL) kafka_source_type.close(run->source);
    weir_splits_clear(&run->found);
    batch_release(run->batch);
    waker_deinit(&run->waker);
    weir_config_destroy(run->config);
}

static enum weir_poll poll_once(struct run *run)
{
    batch_clear(run->batch);
    if (run->records_max > 0) run->batch->records_max = run->records_max;
    return kafka_source_type.reader_poll(run->reader, run->batch, &run->error);
}

/* Polls, sleeping where the reader has nothing, until records come or it ends. */
static enum weir_poll poll_records(struct run *run)
{
    const int64_t deadline = now_ms() + PATIENCE_MS;
    for (;;) {
        const enum weir_poll poll = poll_once(run);
        if (poll != WEIR_POLL_IDLE) return poll;
        if (now_ms() > deadline) return WEIR_POLL_IDLE;
        waker_sleep(&run->waker, 1000000);
    }
}

static int64_t position_of(struct run *run, const char *name)
{
    struct weir_splits positions = { 0 };
    ck_assert(kafka_source_type.reader_positions(run->reader, &positions));
    const struct weir_split *split = weir_splits_find(&positions, name);
    ck_assert_msg(split != NULL, "%s is not read", name);
    const int64_t position = split->position;
    weir_splits_clear(&positions);
    return position;
}

static const char *split_of(const char *topic, int partition)
{
    static char names[4][KAFKA_SPLIT_SIZE];
    static int turn;
    char *name = names[turn++ % 4];
    kafka_split_name(name, topic, partition);
    return name;
}

static void await_position(struct run *run, const char *name, int64_t position)
{
    const int64_t deadline = now_ms() + PATIENCE_MS;
    while (position_of(run, name) < position) {
        ck_assert_int_ne(poll_once(run), WEIR_POLL_FAILED);
        ck_assert_msg(now_ms() < deadline, "%s stays at %lld", name, (long long)position_of(run, name));
        waker_sleep(&run->waker, 100000);
    }
    ck_assert_int_eq(position_of(run, name), position);
}

static int64_t number_of(const struct weir_record *record)
{
    int64_t number;
    ck_assert(weir_bytes_to_i64(record->value, &number));
    return number;
}

/* Reads `count` numbers that follow each other from `first`. */
static void expect_numbers(struct run *run, int64_t first, int64_t count)
{
    int64_t next = first;
    while (next < first + count) {
        const enum weir_poll poll = poll_records(run);
        ck_assert_msg(poll == WEIR_POLL_MORE, "poll %d before %lld: %s", (int)poll, (long long)next, run->error.text);
        for (uint32_t i = 0; i < run->batch->count; i++) ck_assert_int_eq(number_of(&run->batch->records[i]), next++);
    }
    ck_assert_int_eq(next, first + count);
}

static void expect_failure(struct run *run, enum weir_code code, const char *part)
{
    ck_assert_int_eq(run->error.code, code);
    ck_assert_msg(strstr(run->error.text, part) != NULL, "'%s' does not say '%s'", run->error.text, part);
}

static void expect_end(struct run *run)
{
    ck_assert_int_eq(poll_records(run), WEIR_POLL_ENDED);
    ck_assert_uint_eq(run->batch->count, 0);
}

/* ---- Records ----------------------------------------------------------------------------------------------------- */

START_TEST(keeps_null_apart_from_empty)
{
    const char *topic = broker_topic("nulls", 1);
    broker_put(topic, 0, NULL, NULL);
    broker_put(topic, 0, "", "");
    broker_put(topic, 0, "key", NULL);
    broker_put(topic, 0, NULL, "value");
    struct run run;
    prepare(&run, topic);
    run.context.bounded = true;
    found(&run);
    struct weir_record records[4];
    uint32_t count = 0;
    while (poll_records(&run) == WEIR_POLL_MORE)
        for (uint32_t i = 0; i < run.batch->count; i++) {
            ck_assert_uint_lt(count, 4);
            const struct weir_record *record = &run.batch->records[i];
            const bool nulls[4][2] = { { true, true }, { false, false }, { false, true }, { true, false } };
            ck_assert_int_eq(weir_is_null(record->key), nulls[count][0]);
            ck_assert_int_eq(weir_is_null(record->value), nulls[count][1]);
            ck_assert(weir_is_set(record->key) && weir_is_set(record->value));
            records[count++] = *record;
            if (count == 2) ck_assert_uint_eq(record->key.size + record->value.size, 0);
            if (count == 3) ck_assert(weir_bytes_equal(record->key, weir_text("key")));
            if (count == 4) ck_assert(weir_bytes_equal(record->value, weir_text("value")));
        }
    (void)records;
    ck_assert_uint_eq(count, 4);
    finish(&run);
}
END_TEST

/* Compressed and not, with a value, without one, and between records that have none. */
START_TEST(carries_headers_in_order)
{
    const char *topic = broker_topic("headers", 1);
    const struct weir_header items[] = { { "a", weir_text("1") }, { "b", WEIR_NULL }, { "a", WEIR_EMPTY } };
    const struct weir_headers headers = { 3, items };
    const char *const codecs[] = { "compression.codec=none,linger.ms=50", "compression.codec=lz4,linger.ms=50" };
    for (int codec = 0; codec < 2; codec++) {
        rd_kafka_t *producer = broker_producer(NULL, codecs[codec]);
        for (int i = 0; i < 1000; i++) {
            const struct weir_record record = {
                .key = WEIR_NULL,
                .value = i % 3 == 0 ? WEIR_NULL : i % 3 == 1 ? weir_text("some value") : WEIR_EMPTY,
                .time_ms = WEIR_TIME_UNSET,
                .headers = i % 5 == 0 ? &headers : NULL,
            };
            broker_produce(producer, topic, 0, &record);
        }
        broker_producer_close(producer);
    }
    struct run run;
    start(&run, topic);
    for (uint32_t count = 0; count < 2000;) {
        ck_assert_int_eq(poll_records(&run), WEIR_POLL_MORE);
        for (uint32_t i = 0; i < run.batch->count; i++, count++) {
            const struct weir_headers *found_headers = run.batch->records[i].headers;
            if (count % 1000 % 5 != 0) {
                ck_assert_ptr_null(found_headers);
                continue;
            }
            ck_assert_ptr_nonnull(found_headers);
            ck_assert_uint_eq(found_headers->count, 3);
            for (size_t k = 0; k < 3; k++) {
                ck_assert_str_eq(found_headers->items[k].name, items[k].name);
                ck_assert(weir_bytes_equal(found_headers->items[k].value, items[k].value));
            }
        }
    }
    finish(&run);
}
END_TEST

START_TEST(carries_times_and_their_types)
{
    const char *created = broker_topic("created", 1), *appended = broker_name("appended");
    broker_create_topic(appended, 1, "message.timestamp.type=LogAppendTime");
    rd_kafka_t *producer = broker_producer(NULL, NULL);
    const struct weir_record record = { .key = WEIR_NULL, .value = weir_text("x"), .time_ms = 1234567890123 };
    broker_produce(producer, created, 0, &record);
    broker_produce(producer, appended, 0, &record);
    broker_producer_close(producer);
    struct run run;
    start(&run, created);
    ck_assert_int_eq(poll_records(&run), WEIR_POLL_MORE);
    ck_assert_int_eq(run.batch->records[0].time_ms, 1234567890123);
    ck_assert_int_eq(run.batch->records[0].time_type, WEIR_TIME_CREATE);
    finish(&run);
    start(&run, appended);
    ck_assert_int_eq(poll_records(&run), WEIR_POLL_MORE);
    ck_assert_int_gt(run.batch->records[0].time_ms, 1234567890123);
    ck_assert_int_eq(run.batch->records[0].time_type, WEIR_TIME_APPEND);
    finish(&run);
}
END_TEST

/* Larger than a batch, than a fetch, and than the share of memory of the partition; small ones between them. */
START_TEST(reads_big_records_in_order)
{
    const char *topic = broker_name("big");
    broker_create_topic(topic, 1, "max.message.bytes=10000000");
    char *bytes = calloc(1, 6000000);
    ck_assert_ptr_nonnull(bytes);
    rd_kafka_t *producer = broker_producer(NULL, "message.max.bytes=10000000");
    for (int i = 0; i < 40; i++) {
        bytes[0] = (char)i;
        const size_t size = i % 10 == 0 ? 6000000 : i % 3 == 0 ? 200000 : 10;
        const struct weir_record record = { .key = WEIR_NULL, .value = { bytes, size }, .time_ms = WEIR_TIME_UNSET };
        broker_produce(producer, topic, 0, &record);
    }
    broker_producer_close(producer);
    free(bytes);
    struct run run;
    prepare(&run, topic);
    configure(run.config, "source.prefetch.size", "64kb");
    found(&run);
    for (int next = 0; next < 40;) {
        ck_assert_int_eq(poll_records(&run), WEIR_POLL_MORE);
        for (uint32_t i = 0; i < run.batch->count; i++, next++) {
            const size_t size = next % 10 == 0 ? 6000000 : next % 3 == 0 ? 200000 : 10;
            ck_assert_int_eq(run.batch->records[i].value.data[0], (char)next);
            ck_assert_uint_eq(run.batch->records[i].value.size, size);
        }
    }
    finish(&run);
}
END_TEST

/* ---- Transactions ------------------------------------------------------------------------------------------------ */

START_TEST(skips_aborted_records_and_waits_for_open_ones)
{
    const char *topic = broker_topic("transactions", 1);
    rd_kafka_t *producer = broker_producer(broker_name("writer"), NULL);
    broker_begin(producer);
    broker_produce_numbers(producer, topic, 0, 0, 10);
    broker_commit(producer);
    broker_begin(producer);
    broker_produce_numbers(producer, topic, 0, 1000, 10);
    broker_flush(producer);
    broker_abort(producer);
    broker_begin(producer);
    broker_produce_numbers(producer, topic, 0, 10, 10);
    broker_flush(producer);
    struct run run;
    start(&run, topic);
    expect_numbers(&run, 0, 10);
    await_position(&run, split_of(topic, 0), 22); /* over two markers and what was aborted, up to the open ones */
    ck_assert_int_eq(poll_once(&run), WEIR_POLL_IDLE);
    broker_commit(producer);
    expect_numbers(&run, 10, 10);
    await_position(&run, split_of(topic, 0), 33);
    ck_assert_int_eq(kafka_source_type.reader_lag(run.reader), 0);
    broker_producer_close(producer);
    finish(&run);
}
END_TEST

START_TEST(reads_uncommitted_where_told)
{
    const char *topic = broker_topic("uncommitted", 1);
    rd_kafka_t *producer = broker_producer(broker_name("writer"), NULL);
    broker_begin(producer);
    broker_produce_numbers(producer, topic, 0, 0, 10);
    broker_flush(producer);
    struct run run;
    prepare(&run, topic);
    run.options.isolation = WEIR_KAFKA_READ_UNCOMMITTED;
    found(&run);
    expect_numbers(&run, 0, 10);
    broker_abort(producer);
    broker_producer_close(producer);
    finish(&run);
}
END_TEST

/* ---- Ends -------------------------------------------------------------------------------------------------------- */

START_TEST(ends_behind_control_records)
{
    const char *topic = broker_topic("marker", 1);
    rd_kafka_t *producer = broker_producer(broker_name("writer"), NULL);
    broker_begin(producer);
    broker_produce_numbers(producer, topic, 0, 0, 5);
    broker_commit(producer);
    broker_begin(producer);
    broker_produce_numbers(producer, topic, 0, 100, 5);
    broker_flush(producer);
    broker_abort(producer);
    broker_producer_close(producer);
    broker_await_stable(topic, 0);
    struct run run;
    prepare(&run, topic);
    run.context.bounded = true;
    found(&run);
    ck_assert_int_eq(run.found.items[0].end, 12);
    expect_numbers(&run, 0, 5);
    expect_end(&run);
    ck_assert_int_eq(position_of(&run, split_of(topic, 0)), 12);
    finish(&run);
}
END_TEST

START_TEST(ends_at_once_where_nothing_is)
{
    const char *topic = broker_topic("empty", 3);
    struct run run;
    prepare(&run, topic);
    run.context.bounded = true;
    found(&run);
    ck_assert_uint_eq(run.found.count, 3);
    expect_end(&run);
    finish(&run);
}
END_TEST

START_TEST(ends_without_partitions)
{
    const char *topic = broker_topic("idle", 1);
    const struct weir_splits none = { 0 };
    struct run run;
    prepare(&run, topic);
    run.context.bounded = true;
    open_source(&run);
    ck_assert_int_eq(discover(&run, &none, true, true), WEIR_OK);
    open_reader(&run); /* more subtasks than partitions */
    expect_end(&run);
    finish(&run);
}
END_TEST

START_TEST(reads_nothing_past_a_bounded_end)
{
    const char *topic = broker_topic("bounded", 1);
    broker_put_numbers(topic, 0, 0, 5000);
    struct run run;
    prepare(&run, topic);
    run.context.bounded = true;
    open_source(&run);
    const struct weir_splits none = { 0 };
    ck_assert_int_eq(discover(&run, &none, true, true), WEIR_OK);
    broker_put_numbers(topic, 0, 5000, 5000);
    open_reader_at(&run, &run.found);
    expect_numbers(&run, 0, 5000);
    expect_end(&run);
    expect_end(&run);
    ck_assert_int_eq(position_of(&run, split_of(topic, 0)), 5000);
    finish(&run);
}
END_TEST

START_TEST(ends_at_given_offsets_and_times)
{
    const char *topic = broker_topic("given", 1);
    rd_kafka_t *producer = broker_producer(NULL, NULL);
    for (int i = 0; i < 100; i++) {
        char text[16];
        (void)snprintf(text, sizeof text, "%d", i);
        const struct weir_record record = { .key = WEIR_NULL, .value = weir_text(text), .time_ms = 1000000 + i * 10 };
        broker_produce(producer, topic, 0, &record);
    }
    broker_producer_close(producer);
    char offsets[300];
    (void)snprintf(offsets, sizeof offsets, "offsets:%s/0=42", topic);
    const struct { const char *start, *end; int64_t first, count; } cases[] = {
        { "earliest", offsets, 0, 42 },
        { "timestamp:1000100", "timestamp:1000201", 10, 11 },
        { offsets, "latest", 42, 58 },
        { "timestamp:1000985", "timestamp:9000000", 99, 1 },
        { "timestamp:9000000", "latest", 100, 0 },
        { "latest", "latest", 100, 0 },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct run run;
        prepare(&run, topic);
        run.options.start = cases[i].start;
        run.options.end = cases[i].end;
        found(&run);
        ck_assert_int_eq(run.found.items[0].position, cases[i].first);
        expect_numbers(&run, cases[i].first, cases[i].count);
        expect_end(&run);
        finish(&run);
    }
}
END_TEST

/* ---- Starts ------------------------------------------------------------------------------------------------------ */

START_TEST(starts_where_a_group_stands)
{
    const char *topic = broker_topic("group", 2), *group = broker_name("group");
    broker_put_numbers(topic, 0, 0, 10);
    broker_put_numbers(topic, 1, 0, 10);
    broker_set_group_offset(group, topic, 0, 4);
    char text[300];
    (void)snprintf(text, sizeof text, "group:%s", group);
    const struct weir_splits none = { 0 };
    struct run run;
    prepare(&run, topic);
    run.options.start = text;
    open_source(&run);
    ck_assert_int_eq(discover(&run, &none, true, true), WEIR_USAGE);
    expect_failure(&run, WEIR_USAGE, split_of(topic, 1));
    finish(&run);

    strcat(text, ",latest");
    prepare(&run, topic);
    run.options.start = text;
    open_source(&run);
    ck_assert_int_eq(discover(&run, &none, true, true), WEIR_OK);
    ck_assert_int_eq(weir_splits_find(&run.found, split_of(topic, 0))->position, 4);
    ck_assert_int_eq(weir_splits_find(&run.found, split_of(topic, 1))->position, 10);
    finish(&run);
}
END_TEST

START_TEST(continues_where_it_stood)
{
    const char *topic = broker_topic("continue", 1);
    broker_put_numbers(topic, 0, 0, 3000);
    struct run run;
    start(&run, topic);
    ck_assert_int_eq(poll_records(&run), WEIR_POLL_MORE);
    const uint32_t taken = run.batch->count;
    ck_assert_uint_gt(taken, 0);
    struct weir_splits positions = { 0 };
    ck_assert(kafka_source_type.reader_positions(run.reader, &positions));
    ck_assert_int_eq(positions.items[0].position, taken);
    ck_assert_uint_gt(strlen(positions.items[0].identity), 0);
    close_reader(&run);
    ck_assert_msg(discover(&run, &positions, false, true) == WEIR_OK, "%s", run.error.text);
    ck_assert_int_eq(run.found.items[0].position, taken);
    open_reader_at(&run, &run.found);
    expect_numbers(&run, taken, 3000 - taken);
    weir_splits_clear(&positions);
    finish(&run);
}
END_TEST

/* ---- Discovery --------------------------------------------------------------------------------------------------- */

START_TEST(finds_new_partitions_from_their_earliest_record)
{
    const char *topic = broker_topic("grow", 1);
    broker_put_numbers(topic, 0, 0, 10);
    struct run run;
    prepare(&run, topic);
    run.options.start = "latest";
    found(&run);
    struct weir_splits known = { 0 };
    ck_assert(kafka_source_type.reader_positions(run.reader, &known));
    broker_add_partitions(topic, 2);
    broker_put_numbers(topic, 1, 0, 10);
    ck_assert_msg(discover(&run, &known, false, false) == WEIR_OK, "%s", run.error.text);
    ck_assert_uint_eq(run.found.count, 2);
    const struct weir_split *fresh = weir_splits_find(&run.found, split_of(topic, 1));
    ck_assert_int_eq(fresh->position, 0);
    add(&run, fresh);
    expect_numbers(&run, 0, 10);
    ck_assert_int_eq(position_of(&run, split_of(topic, 0)), 10);
    broker_put_numbers(topic, 0, 10, 10); /* the old one goes on undisturbed */
    expect_numbers(&run, 10, 10);
    weir_splits_clear(&known);
    finish(&run);
}
END_TEST

START_TEST(waits_for_a_pattern_to_match)
{
    const char *stem = broker_name("pattern");
    char pattern[300], first[300], second[300];
    (void)snprintf(pattern, sizeof pattern, "^%s-[ab]$", stem);
    (void)snprintf(first, sizeof first, "%s-a", stem);
    (void)snprintf(second, sizeof second, "%s-c", stem);
    struct run run;
    start(&run, pattern);
    ck_assert_uint_eq(run.found.count, 0);
    ck_assert_int_eq(poll_once(&run), WEIR_POLL_IDLE);
    broker_create_topic(first, 1, NULL);
    broker_create_topic(second, 1, NULL);
    broker_put_numbers(first, 0, 0, 10);
    const struct weir_splits none = { 0 };
    ck_assert_int_eq(discover(&run, &none, false, false), WEIR_OK);
    ck_assert_uint_eq(run.found.count, 1);
    add(&run, &run.found.items[0]);
    expect_numbers(&run, 0, 10);
    finish(&run);
}
END_TEST

START_TEST(names_a_topic_that_is_missing)
{
    const struct weir_splits none = { 0 };
    struct run run;
    prepare(&run, "no-such-topic");
    open_source(&run);
    ck_assert_int_eq(discover(&run, &none, true, true), WEIR_ENVIRONMENT);
    expect_failure(&run, WEIR_ENVIRONMENT, "no-such-topic");
    ck_assert_int_eq(run.error.remedy, WEIR_REMEDY_STOP);
    finish(&run);
}
END_TEST

START_TEST(notices_a_topic_created_anew)
{
    const char *topic = broker_topic("anew", 1);
    broker_put_numbers(topic, 0, 0, 10);
    struct run run;
    start(&run, topic);
    expect_numbers(&run, 0, 10);
    struct weir_splits known = { 0 };
    ck_assert(kafka_source_type.reader_positions(run.reader, &known));
    close_reader(&run);
    broker_delete_topic(topic);
    ck_assert_int_eq(discover(&run, &known, false, true), WEIR_POSITION_LOST);
    expect_failure(&run, WEIR_POSITION_LOST, "not there any more");
    broker_create_topic(topic, 1, NULL);
    broker_put_numbers(topic, 0, 0, 20);
    for (int verify = 0; verify < 2; verify++) {
        ck_assert_int_eq(discover(&run, &known, false, verify == 1), WEIR_POSITION_LOST);
        expect_failure(&run, WEIR_POSITION_LOST, "created anew");
    }
    weir_splits_clear(&known);
    finish(&run);
}
END_TEST

/* ---- Lost positions ---------------------------------------------------------------------------------------------- */

static const char *topic_without_its_first_records(void)
{
    const char *topic = broker_topic("trimmed", 1);
    broker_put_numbers(topic, 0, 0, 100);
    broker_delete_records(topic, 0, 50);
    return topic;
}

START_TEST(stops_at_a_start_out_of_range)
{
    const char *topic = topic_without_its_first_records();
    const int64_t positions[] = { 10, 101 };
    for (size_t i = 0; i < 2; i++) {
        struct weir_splits known = { 0 };
        const struct weir_split split = { .name = split_of(topic, 0), .identity = "", .position = positions[i] };
        ck_assert(weir_splits_add(&known, &split));
        struct run run;
        prepare(&run, topic);
        open_source(&run);
        ck_assert_int_eq(discover(&run, &known, false, true), WEIR_POSITION_LOST);
        expect_failure(&run, WEIR_POSITION_LOST, "50 to 100");
        expect_failure(&run, WEIR_POSITION_LOST, split_of(topic, 0));
        ck_assert_int_eq(discover(&run, &known, false, false), WEIR_OK);
        weir_splits_clear(&known);
        finish(&run);
    }
}
END_TEST

START_TEST(stops_when_its_position_is_lost_while_running)
{
    const char *topic = topic_without_its_first_records();
    struct run run;
    start(&run, topic);
    close_reader(&run);
    open_reader(&run);
    const struct weir_split split = { .name = split_of(topic, 0), .identity = "", .position = 10,
                                      .end = WEIR_POSITION_NONE };
    add(&run, &split);
    ck_assert_int_eq(poll_records(&run), WEIR_POLL_FAILED);
    expect_failure(&run, WEIR_POSITION_LOST, "offset 10");
    ck_assert_int_eq(poll_once(&run), WEIR_POLL_FAILED); /* sticky */
    finish(&run);
}
END_TEST

START_TEST(goes_on_elsewhere_where_told)
{
    const char *topic = topic_without_its_first_records();
    const struct { enum weir_kafka_out_of_range choice; int64_t lost; int64_t first; } cases[] = {
        { WEIR_KAFKA_EARLIEST, 10, 50 },
        { WEIR_KAFKA_EARLIEST, 150, 50 },
        { WEIR_KAFKA_LATEST, 10, 100 },
        { WEIR_KAFKA_LATEST, 150, 100 },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct weir_splits known = { 0 };
        const struct weir_split split = { .name = split_of(topic, 0), .identity = "", .position = cases[i].lost,
                                          .end = WEIR_POSITION_NONE };
        ck_assert(weir_splits_add(&known, &split));
        struct run run;
        prepare(&run, topic);
        run.options.out_of_range = cases[i].choice;
        open_source(&run);
        ck_assert_int_eq(discover(&run, &known, false, true), WEIR_OK);
        open_reader_at(&run, &known);
        if (cases[i].first < 100) {
            expect_numbers(&run, cases[i].first, 100 - cases[i].first);
        } else { /* there is nothing to read, but the position moves */
            const int64_t deadline = now_ms() + PATIENCE_MS;
            while (position_of(&run, split.name) != 100) {
                ck_assert_int_eq(poll_once(&run), WEIR_POLL_IDLE);
                ck_assert_int_lt(now_ms(), deadline);
                waker_sleep(&run.waker, 100000);
            }
        }
        ck_assert_int_eq(position_of(&run, split.name), 100);
        weir_splits_clear(&known);
        finish(&run);
    }
}
END_TEST

/* ---- Cuts -------------------------------------------------------------------------------------------------------- */

START_TEST(stops_exactly_at_a_cut)
{
    const char *topic = broker_topic("cut", 1);
    broker_put_numbers(topic, 0, 0, 5000);
    struct run run;
    start(&run, topic);
    const char *name = split_of(topic, 0);
    uint64_t seed = unit_seed();
    for (int64_t next = 0; next < 5000;) {
        const int64_t cut = next + unit_random_below(&seed, 1500);
        ck_assert(kafka_source_type.reader_limit(run.reader, name, cut));
        expect_numbers(&run, next, (cut < 5000 ? cut : 5000) - next);
        next = cut < 5000 ? cut : 5000;
        ck_assert_int_eq(position_of(&run, name), next);
        ck_assert_int_eq(poll_once(&run), WEIR_POLL_IDLE);
        ck_assert_int_eq(poll_once(&run), WEIR_POLL_IDLE);
        ck_assert(!kafka_source_type.reader_limit(run.reader, name, next - 1));
    }
    ck_assert(!kafka_source_type.reader_limit(run.reader, "other/0", 1));
    ck_assert(kafka_source_type.reader_limit(run.reader, name, WEIR_POSITION_NONE));
    broker_put_numbers(topic, 0, 5000, 10);
    expect_numbers(&run, 5000, 10);
    finish(&run);
}
END_TEST

START_TEST(stops_at_a_cut_that_no_record_has)
{
    const char *topic = broker_topic("gap", 1);
    rd_kafka_t *producer = broker_producer(broker_name("writer"), NULL);
    for (int i = 0; i < 4; i++) { /* 0..9 and a marker at 10, 11..20 and a marker at 21, ... */
        broker_begin(producer);
        broker_produce_numbers(producer, topic, 0, i * 10, 10);
        broker_commit(producer);
    }
    broker_producer_close(producer);
    struct run run;
    start(&run, topic);
    const char *name = split_of(topic, 0);
    ck_assert(kafka_source_type.reader_limit(run.reader, name, 10)); /* a marker */
    expect_numbers(&run, 0, 10);
    ck_assert_int_eq(position_of(&run, name), 10);
    ck_assert(kafka_source_type.reader_limit(run.reader, name, 22)); /* behind a marker */
    expect_numbers(&run, 10, 10);
    await_position(&run, name, 22);
    ck_assert(kafka_source_type.reader_limit(run.reader, name, 44)); /* behind the last marker: only its end tells */
    expect_numbers(&run, 20, 20);
    await_position(&run, name, 44);
    finish(&run);
}
END_TEST

/* ---- Many partitions, slow tasks, broken brokers ----------------------------------------------------------------- */

static bool has_read_from_all(struct run *run, const char *topic, int partitions)
{
    for (int i = 0; i < partitions; i++)
        if (position_of(run, split_of(topic, i)) == 0) return false;
    return true;
}

/* Does each of so many polls take ten records of another partition? */
static bool has_taken_turns(struct run *run, const char *topic, int partitions, int turns)
{
    int64_t before[8];
    for (int i = 0; i < partitions; i++) before[i] = position_of(run, split_of(topic, i));
    bool is_fair = true;
    for (int turn = 0; turn < turns * partitions; turn++) {
        ck_assert_int_eq(poll_records(run), WEIR_POLL_MORE);
        is_fair &= run->batch->count == 10;
    }
    for (int i = 0; i < partitions; i++) {
        const int64_t taken = position_of(run, split_of(topic, i)) - before[i];
        is_fair &= taken >= turns * 10 - 10 && taken <= turns * 10 + 10;
    }
    return is_fair;
}

/* Once every queue has something, every poll is another partition's. A queue may run dry that is not filled fast enough: then
 * the next polls are looked at. Each window takes a twentieth of the records. */
START_TEST(takes_turns_between_partitions)
{
    enum { PARTITIONS = 4, EACH = 20000, TURNS = 100, WINDOWS = 10 };
    const char *topic = broker_topic("turns", PARTITIONS);
    for (int i = 0; i < PARTITIONS; i++) broker_put_numbers(topic, i, 0, EACH);
    struct run run;
    start(&run, topic);
    run.records_max = 1;
    while (!has_read_from_all(&run, topic, PARTITIONS)) ck_assert_int_eq(poll_records(&run), WEIR_POLL_MORE);
    run.records_max = 10;
    bool took_turns = false;
    for (int window = 0; window < WINDOWS && !took_turns; window++) took_turns = has_taken_turns(&run, topic, PARTITIONS, TURNS);
    ck_assert(took_turns);
    finish(&run);
}
END_TEST

START_TEST(survives_a_restart_of_the_broker)
{
    const char *topic = broker_topic("restart", 1);
    broker_put_numbers(topic, 0, 0, 1000);
    struct run run;
    start(&run, topic);
    expect_numbers(&run, 0, 1000);
    broker_kill();
    ck_assert_int_eq(poll_once(&run), WEIR_POLL_IDLE);
    broker_restart();
    broker_put_numbers(topic, 0, 1000, 1000);
    expect_numbers(&run, 1000, 1000);
    finish(&run);
}
END_TEST

START_TEST(says_retry_without_a_broker)
{
    struct run run;
    prepare(&run, "topic");
    run.options.brokers = "127.0.0.1:1";
    const enum weir_code code = kafka_source_type.open(&run.options, &run.context, &run.source, &run.error);
    ck_assert_int_eq(code, WEIR_OUT_OF_PATIENCE);
    ck_assert_int_eq(run.error.remedy, WEIR_REMEDY_RETRY);
    expect_failure(&run, code, "refused");
    finish(&run);
}
END_TEST

START_TEST(commits_for_lag_tools)
{
    const char *topic = broker_topic("tools", 1);
    broker_put_numbers(topic, 0, 0, 10);
    struct run run;
    prepare(&run, topic);
    run.context.job = broker_name("job");
    found(&run);
    expect_numbers(&run, 0, 10);
    struct weir_splits positions = { 0 };
    ck_assert(kafka_source_type.reader_positions(run.reader, &positions));
    kafka_source_type.committed(run.source, &positions);
    ck_assert_int_eq(broker_group_offset(run.context.job, topic, 0), 10);
    ck_assert_ptr_nonnull(kafka_source_type.cluster(run.source));
    weir_splits_clear(&positions);
    finish(&run);
}
END_TEST

static void add_facts(TCase *tests)
{
    tcase_add_test(tests, keeps_null_apart_from_empty);
    tcase_add_test(tests, carries_headers_in_order);
    tcase_add_test(tests, carries_times_and_their_types);
    tcase_add_test(tests, reads_big_records_in_order);
    tcase_add_test(tests, skips_aborted_records_and_waits_for_open_ones);
    tcase_add_test(tests, reads_uncommitted_where_told);
    tcase_add_test(tests, ends_behind_control_records);
    tcase_add_test(tests, ends_at_once_where_nothing_is);
    tcase_add_test(tests, ends_without_partitions);
    tcase_add_test(tests, reads_nothing_past_a_bounded_end);
    tcase_add_test(tests, ends_at_given_offsets_and_times);
    tcase_add_test(tests, starts_where_a_group_stands);
    tcase_add_test(tests, continues_where_it_stood);
    tcase_add_test(tests, finds_new_partitions_from_their_earliest_record);
    tcase_add_test(tests, waits_for_a_pattern_to_match);
    tcase_add_test(tests, names_a_topic_that_is_missing);
    tcase_add_test(tests, notices_a_topic_created_anew);
    tcase_add_test(tests, stops_at_a_start_out_of_range);
    tcase_add_test(tests, stops_when_its_position_is_lost_while_running);
    tcase_add_test(tests, goes_on_elsewhere_where_told);
    tcase_add_test(tests, stops_exactly_at_a_cut);
    tcase_add_test(tests, stops_at_a_cut_that_no_record_has);
    tcase_add_test(tests, takes_turns_between_partitions);
    tcase_add_test(tests, commits_for_lag_tools);
    tcase_add_test(tests, says_retry_without_a_broker);
    tcase_add_test(tests, survives_a_restart_of_the_broker);
}

int main(void)
{
    (void)broker_start(1);
    return unit_main("kafka source", add_facts);
}
