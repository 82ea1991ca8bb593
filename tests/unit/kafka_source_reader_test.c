/* The reader of the Kafka source against queues that the test fills itself: what librdkafka calls would do is defined
 * here, and stands in front of the library's. Only handles and topics are real; there is no broker. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness/unit.h"
#include "record/record.h"
#include "source.h"

enum { PARTS = 3, MESSAGES_MAX = 4096 };

/* ---- Queues of partitions ---------------------------------------------------------------------------------------- */

struct fake_queue {
    rd_kafka_message_t *messages[MESSAGES_MAX];
    size_t first, count;
    void (*on_event)(rd_kafka_t *handle, void *opaque);
    void *opaque;
    int64_t started_at; /* of the last rd_kafka_consume_start */
    int64_t high;
};

static struct fake_queue queues[PARTS];
static bool has_yielded;
static int32_t leader_epoch;

rd_kafka_queue_t *rd_kafka_queue_get_partition(rd_kafka_t *handle, const char *topic, int32_t partition)
{
    (void)handle, (void)topic;
    return (rd_kafka_queue_t *)&queues[partition];
}

void rd_kafka_queue_destroy(rd_kafka_queue_t *queue) { (void)queue; }

void rd_kafka_queue_cb_event_enable(rd_kafka_queue_t *queue, void (*on_event)(rd_kafka_t *handle, void *opaque),
                                    void *opaque)
{
    struct fake_queue *fake = (struct fake_queue *)queue;
    fake->on_event = on_event;
    fake->opaque = opaque;
}

int rd_kafka_consume_start(rd_kafka_topic_t *topic, int32_t partition, int64_t offset)
{
    (void)topic;
    queues[partition].started_at = offset;
    return 0;
}

void rd_kafka_yield(rd_kafka_t *handle)
{
    (void)handle;
    has_yielded = true;
}

/* Takes all that is there, as the real one does, and puts back what a yield leaves. */
int rd_kafka_consume_callback_queue(rd_kafka_queue_t *queue, int timeout_ms,
                                    void (*consume)(rd_kafka_message_t *message, void *opaque), void *opaque)
{
    struct fake_queue *fake = (struct fake_queue *)queue;
    ck_assert_int_eq(timeout_ms, 0);
    has_yielded = false;
    int served = 0;
    while (fake->first < fake->count && !has_yielded) {
        rd_kafka_message_t *message = fake->messages[fake->first++];
        consume(message, opaque);
        free(message);
        served++;
    }
    if (fake->first < fake->count && fake->on_event != NULL) fake->on_event(NULL, fake->opaque);
    return served;
}

int64_t rd_kafka_message_timestamp(const rd_kafka_message_t *message, rd_kafka_timestamp_type_t *type)
{
    *type = RD_KAFKA_TIMESTAMP_CREATE_TIME;
    return message->offset * 10;
}

int32_t rd_kafka_message_leader_epoch(const rd_kafka_message_t *message)
{
    (void)message;
    return leader_epoch;
}

rd_kafka_resp_err_t rd_kafka_message_headers(const rd_kafka_message_t *message, rd_kafka_headers_t **headers)
{
    *headers = message->_private;
    return message->_private == NULL ? RD_KAFKA_RESP_ERR__NOENT : RD_KAFKA_RESP_ERR_NO_ERROR;
}

const char *rd_kafka_message_errstr(const rd_kafka_message_t *message) { return rd_kafka_err2str(message->err); }

rd_kafka_resp_err_t rd_kafka_get_watermark_offsets(rd_kafka_t *handle, const char *topic, int32_t partition,
                                                   int64_t *low, int64_t *high)
{
    (void)handle, (void)topic;
    *low = 0;
    *high = queues[partition].high;
    return RD_KAFKA_RESP_ERR_NO_ERROR;
}

static void push(int partition, rd_kafka_message_t *message)
{
    struct fake_queue *queue = &queues[partition];
    queue->count -= queue->first;
    memmove(queue->messages, queue->messages + queue->first, queue->count * sizeof queue->messages[0]);
    queue->first = 0;
    ck_assert_uint_lt(queue->count, MESSAGES_MAX);
    const bool was_empty = queue->count == 0;
    queue->messages[queue->count++] = message;
    if (was_empty && queue->on_event != NULL) queue->on_event(NULL, queue->opaque);
}

/* Message, value and what follows the value on the wire in one piece. */
static rd_kafka_message_t *new_message(int partition, int64_t offset, size_t size, char behind)
{
    rd_kafka_message_t *message = calloc(1, sizeof *message + size + 1);
    char *value = (char *)(message + 1);
    memset(value, 'v', size);
    value[size] = behind;
    message->partition = partition;
    message->offset = offset;
    message->payload = value;
    message->len = size;
    return message;
}

static void put(int partition, int64_t offset, size_t size)
{
    push(partition, new_message(partition, offset, size, 0));
}

static void put_event(int partition, rd_kafka_resp_err_t code, int64_t offset)
{
    rd_kafka_message_t *message = new_message(partition, offset, 0, 0);
    message->err = code;
    push(partition, message);
}

/* ---- A reader ---------------------------------------------------------------------------------------------------- */

static struct kafka_source source;
static struct weir_environment environment;
static weir_config *config;
static struct weir_batch *batch;
static void *reader;
static uint64_t wakes;
static struct weir_error error;

static void count_wake(void *user) { ++*(uint64_t *)user; }

static const char *split_name(int partition)
{
    static const char *const names[PARTS] = { "t/0", "t/1", "t/2" };
    return names[partition];
}

static void prepare(void)
{
    config = weir_config_create();
    ck_assert_int_eq(weir_config_set(config, WEIR_CONFIG_COMMAND_LINE, "kafka.bootstrap.servers", "127.0.0.1:1", "test",
                                     &error), WEIR_OK);
    error = (struct weir_error){ 0 };
    source = (struct kafka_source){ .reaper = kafka_reaper_create() };
    source.context = (struct weir_connector_context){ .environment = &environment, .config = config, .job = "job",
                                                      .operator_name = "lines", .parallelism = 1 };
    leader_epoch = 0;
    batch = batch_create();
}

static void add_part(int partition, int64_t position, int64_t end)
{
    const struct weir_split split = { split_name(partition), "id", position, end };
    ck_assert_int_eq(kafka_reader_add(reader, &split, &error), WEIR_OK);
    ck_assert_int_eq(queues[partition].started_at, position);
}

static void open_reader(int parts)
{
    const struct weir_waker waker = { count_wake, &wakes };
    ck_assert_int_eq(kafka_reader_open(&source, 0, waker, &reader, &error), WEIR_OK);
    for (int i = 0; i < parts; i++) add_part(i, 0, WEIR_POSITION_NONE);
}

static void close_all(void)
{
    kafka_reader_close(reader);
    kafka_reaper_destroy(source.reaper, 60000);
    batch_release(batch);
    weir_config_destroy(config);
    for (int i = 0; i < PARTS; i++)
        for (; queues[i].first < queues[i].count; queues[i].first++) free(queues[i].messages[queues[i].first]);
}

static enum weir_poll poll_up_to(uint32_t records_max)
{
    batch_clear(batch);
    batch->records_max = records_max;
    return kafka_reader_poll(reader, batch, &error);
}

static enum weir_poll poll_once(void) { return poll_up_to(BATCH_RECORDS_MAX); }

static int64_t position_of(int partition)
{
    struct weir_splits positions = { 0 };
    ck_assert(kafka_reader_positions(reader, &positions));
    const int64_t position = weir_splits_find(&positions, split_name(partition))->position;
    weir_splits_clear(&positions);
    return position;
}

static int64_t offset_of(const struct weir_record *record) { return record->time_ms / 10; }

/* ---- Facts ------------------------------------------------------------------------------------------------------- */

START_TEST(hands_over_what_a_batch_takes_and_keeps_the_rest)
{
    prepare();
    open_reader(1);
    for (int i = 0; i < 10; i++) put(0, i, 5);
    const uint32_t takes[] = { 1, 3, 1, 4, 1 };
    int64_t next = 0;
    for (size_t i = 0; i < sizeof takes / sizeof takes[0]; i++) {
        ck_assert_int_eq(poll_up_to(takes[i]), WEIR_POLL_MORE);
        ck_assert_uint_eq(batch->count, takes[i]);
        for (uint32_t k = 0; k < batch->count; k++) ck_assert_int_eq(offset_of(&batch->records[k]), next++);
        ck_assert_int_eq(position_of(0), next);
    }
    ck_assert_int_eq(poll_once(), WEIR_POLL_IDLE);
    close_all();
}
END_TEST

START_TEST(holds_a_record_with_all_that_it_has)
{
    prepare();
    open_reader(1);
    put(0, 0, 5);
    rd_kafka_message_t *message = new_message(0, 1, 300, 2);
    char key[] = "key";
    message->key = key;
    message->key_len = 3;
    rd_kafka_headers_t *headers = rd_kafka_headers_new(2);
    rd_kafka_header_add(headers, "one", -1, "1", 1);
    rd_kafka_header_add(headers, "two", -1, NULL, 0);
    message->_private = headers;
    push(0, message);
    ck_assert_int_eq(poll_up_to(1), WEIR_POLL_MORE);
    ck_assert_int_eq(position_of(0), 1);
    memset(key, 'x', 3);
    rd_kafka_headers_destroy(headers);
    ck_assert_int_eq(poll_up_to(1), WEIR_POLL_MORE);
    const struct weir_record *record = &batch->records[0];
    ck_assert(weir_bytes_equal(record->key, weir_text("key")));
    ck_assert_uint_eq(record->value.size, 300);
    ck_assert_int_eq(record->value.data[299], 'v');
    ck_assert_uint_eq(record->headers->count, 2);
    ck_assert_str_eq(record->headers->items[1].name, "two");
    ck_assert(weir_bytes_equal(record->headers->items[0].value, weir_text("1")));
    ck_assert(weir_is_null(record->headers->items[1].value));
    close_all();
}
END_TEST

START_TEST(refuses_an_offset_that_falls)
{
    prepare();
    open_reader(1);
    put(0, 5, 1);
    put(0, 7, 1);
    put(0, 7, 1);
    put(0, 8, 1);
    ck_assert_int_eq(poll_once(), WEIR_POLL_FAILED);
    ck_assert_int_eq(error.code, WEIR_FAILED);
    ck_assert_int_eq(error.remedy, WEIR_REMEDY_REPLAY);
    ck_assert_ptr_nonnull(strstr(error.text, "offset 7 came although 8 was next"));
    ck_assert_int_eq(poll_once(), WEIR_POLL_FAILED);
    close_all();
}
END_TEST

START_TEST(moves_over_the_end_but_never_over_a_cut)
{
    prepare();
    open_reader(1);
    put(0, 0, 1);
    put_event(0, RD_KAFKA_RESP_ERR__PARTITION_EOF, 4);
    ck_assert_int_eq(poll_once(), WEIR_POLL_MORE);
    ck_assert_int_eq(position_of(0), 4);
    ck_assert(kafka_reader_limit(reader, "t/0", 6));
    put_event(0, RD_KAFKA_RESP_ERR__PARTITION_EOF, 9);
    ck_assert_int_eq(poll_once(), WEIR_POLL_IDLE);
    ck_assert_int_eq(position_of(0), 6);
    put_event(0, RD_KAFKA_RESP_ERR__PARTITION_EOF, 9); /* stays unread */
    ck_assert_int_eq(poll_once(), WEIR_POLL_IDLE);
    ck_assert(kafka_reader_limit(reader, "t/0", WEIR_POSITION_NONE));
    ck_assert_int_eq(poll_once(), WEIR_POLL_IDLE);
    ck_assert_int_eq(position_of(0), 9);
    close_all();
}
END_TEST

START_TEST(ends_when_every_part_has)
{
    prepare();
    source.is_bounded = true;
    open_reader(0);
    ck_assert_int_eq(poll_once(), WEIR_POLL_ENDED);
    add_part(0, 0, 0);
    add_part(1, 3, 5);
    ck_assert_int_eq(poll_once(), WEIR_POLL_IDLE);
    put(1, 4, 1);
    put(1, 6, 1); /* 5 never comes */
    ck_assert_int_eq(poll_once(), WEIR_POLL_MORE);
    ck_assert_uint_eq(batch->count, 1);
    ck_assert_int_eq(position_of(1), 5);
    ck_assert_int_eq(poll_once(), WEIR_POLL_ENDED);
    add_part(2, 0, 1);
    ck_assert_int_eq(poll_once(), WEIR_POLL_IDLE);
    put(2, 0, 1);
    ck_assert_int_eq(poll_once(), WEIR_POLL_MORE);
    ck_assert_int_eq(poll_once(), WEIR_POLL_ENDED);
    close_all();
}
END_TEST

START_TEST(answers_a_lost_position_as_told)
{
    const struct { enum weir_kafka_out_of_range choice; int64_t started_at; } cases[] = {
        { WEIR_KAFKA_FAIL, 0 },
        { WEIR_KAFKA_EARLIEST, RD_KAFKA_OFFSET_BEGINNING },
        { WEIR_KAFKA_LATEST, RD_KAFKA_OFFSET_END },
    };
    for (size_t i = 0; i < 3; i++) {
        prepare();
        source.options.out_of_range = cases[i].choice;
        open_reader(1);
        put_event(0, RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET, 0);
        ck_assert_int_eq(poll_once(), i == 0 ? WEIR_POLL_FAILED : WEIR_POLL_IDLE);
        ck_assert_int_eq(queues[0].started_at, cases[i].started_at);
        if (i == 0) ck_assert_int_eq(error.code, WEIR_POSITION_LOST);
        if (i == 0) ck_assert_int_eq(error.remedy, WEIR_REMEDY_STOP);
        close_all();
    }
}
END_TEST

START_TEST(tells_a_lost_topic_from_a_failure_that_passes)
{
    const struct { rd_kafka_resp_err_t reason; enum weir_poll poll; enum weir_code code; } cases[] = {
        { RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC, WEIR_POLL_FAILED, WEIR_POSITION_LOST },
        { RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART, WEIR_POLL_FAILED, WEIR_POSITION_LOST },
        { RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, WEIR_POLL_FAILED, WEIR_ENVIRONMENT },
        { RD_KAFKA_RESP_ERR__BAD_MSG, WEIR_POLL_FAILED, WEIR_FAILED },
        { RD_KAFKA_RESP_ERR__TRANSPORT, WEIR_POLL_MORE, WEIR_OK },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        prepare();
        open_reader(1);
        put_event(0, cases[i].reason, 0);
        put(0, 0, 1);
        ck_assert_int_eq(poll_once(), cases[i].poll);
        ck_assert_int_eq(error.code, cases[i].code);
        close_all();
    }
}
END_TEST

START_TEST(looks_for_headers_itself_but_checks_samples)
{
    prepare();
    open_reader(1);
    rd_kafka_headers_t *headers = rd_kafka_headers_new(1);
    rd_kafka_header_add(headers, "h", -1, "1", 1);
    for (int i = 0; i < 100; i++) { /* the byte behind the value says that there are some, and there are */
        rd_kafka_message_t *message = new_message(0, i, 5, i % 2 == 0 ? 2 : 0);
        message->_private = i % 2 == 0 ? headers : NULL;
        push(0, message);
    }
    ck_assert_int_eq(poll_once(), WEIR_POLL_MORE);
    for (uint32_t i = 0; i < 100; i++) ck_assert_int_eq(batch->records[i].headers != NULL, i % 2 == 0);
    leader_epoch = -1; /* an old message format: nothing can be told from the byte */
    rd_kafka_message_t *old = new_message(0, 100, 5, 0);
    old->_private = headers;
    push(0, old);
    ck_assert_int_eq(poll_once(), WEIR_POLL_MORE);
    ck_assert_ptr_nonnull(batch->records[0].headers);
    leader_epoch = 0; /* it says that there are none, and there are: found within 1024 records */
    for (int i = 101; i < 1301; i++) {
        rd_kafka_message_t *message = new_message(0, i, 5, 0);
        message->_private = headers;
        push(0, message);
    }
    enum weir_poll poll;
    while ((poll = poll_once()) == WEIR_POLL_MORE)
        ;
    ck_assert_int_eq(poll, WEIR_POLL_FAILED);
    ck_assert_int_eq(error.remedy, WEIR_REMEDY_REPLAY);
    close_all();
    prepare();
    open_reader(1); /* from now on every record is asked, in the whole process */
    rd_kafka_message_t *message = new_message(0, 0, 5, 0);
    message->_private = headers;
    push(0, message);
    ck_assert_int_eq(poll_once(), WEIR_POLL_MORE);
    ck_assert_ptr_nonnull(batch->records[0].headers);
    close_all();
    rd_kafka_headers_destroy(headers);
}
END_TEST

START_TEST(wakes_the_task_when_records_come_but_not_from_its_own_calls)
{
    prepare();
    open_reader(1);
    const uint64_t before = wakes;
    put(0, 0, 1);
    ck_assert_uint_gt(wakes, before);
    put(0, 1, 1);
    put(0, 2, 1);
    const uint64_t filled = wakes;
    ck_assert_int_eq(poll_up_to(1), WEIR_POLL_MORE); /* puts the third one back */
    ck_assert_uint_eq(wakes, filled);
    ck_assert_int_eq(poll_once(), WEIR_POLL_MORE);
    ck_assert_uint_eq(batch->count, 2);
    close_all();
}
END_TEST

START_TEST(adds_up_the_lag)
{
    prepare();
    open_reader(2);
    queues[0].high = -1001; /* not known before the first fetch */
    queues[1].high = 7;
    ck_assert_int_eq(kafka_reader_lag(reader), -1);
    queues[0].high = 3;
    ck_assert_int_eq(kafka_reader_lag(reader), 10);
    close_all();
}
END_TEST

/* Random records, gaps, ends, cuts and batches: every record below the cut comes once, in order, and none at or past
 * it. */
struct model {
    int64_t next_put;    /* offset after the last record or end that was put */
    int64_t limit;
    int64_t handed_over; /* offset after the last record that came */
    uint64_t put, came;
};

static void put_random(struct model *model, int partition, uint64_t *seed)
{
    if (queues[partition].count - queues[partition].first > 200) return;
    for (uint32_t i = unit_random_below(seed, 20); i > 0; i--) {
        model->next_put += unit_chance(seed, 20) ? unit_random_below(seed, 10) : 0;
        if (unit_chance(seed, 5)) {
            put_event(partition, RD_KAFKA_RESP_ERR__PARTITION_EOF, model->next_put);
        } else {
            put(partition, model->next_put++, unit_chance(seed, 3) ? 300000 : unit_random_below(seed, 50));
            model->put++;
        }
    }
}

static void cut_at_random(struct model *model, int partition, uint64_t *seed)
{
    const int64_t position = position_of(partition);
    const int64_t limit = unit_chance(seed, 30) ? WEIR_POSITION_NONE : position + unit_random_below(seed, 60) - 5;
    const bool is_taken = kafka_reader_limit(reader, split_name(partition), limit);
    ck_assert_int_eq(is_taken, limit == WEIR_POSITION_NONE || limit >= position);
    if (is_taken) model->limit = limit == WEIR_POSITION_NONE ? INT64_MAX : limit;
}

static void poll_and_check(struct model *model, uint64_t *seed)
{
    const enum weir_poll poll = poll_up_to(1 + unit_random_below(seed, 30));
    ck_assert_msg(poll != WEIR_POLL_FAILED, "%s", error.text);
    ck_assert_int_eq(poll == WEIR_POLL_MORE, batch->count > 0);
    for (uint32_t i = 0; i < batch->count; i++) {
        const int64_t offset = offset_of(&batch->records[i]);
        ck_assert_int_ge(offset, model->handed_over);
        ck_assert_int_lt(offset, model->limit);
        model->handed_over = offset + 1;
        model->came++;
    }
    ck_assert_int_ge(position_of(0), model->handed_over);
    ck_assert_int_le(position_of(0), model->limit);
}

START_TEST(loses_and_repeats_nothing_whatever_happens)
{
    uint64_t seed = unit_seed();
    prepare();
    open_reader(1);
    struct model model = { .limit = INT64_MAX };
    for (int step = 0; step < 20000; step++) {
        const uint32_t dice = unit_random_below(&seed, 10);
        if (dice < 3) put_random(&model, 0, &seed);
        else if (dice < 4) cut_at_random(&model, 0, &seed);
        else poll_and_check(&model, &seed);
    }
    ck_assert(kafka_reader_limit(reader, "t/0", WEIR_POSITION_NONE));
    while (poll_once() == WEIR_POLL_MORE) model.came += batch->count;
    ck_assert_uint_eq(model.came, model.put);
    ck_assert_uint_gt(model.put, 10000);
    close_all();
}
END_TEST

static void add_facts(TCase *tests)
{
    tcase_add_test(tests, hands_over_what_a_batch_takes_and_keeps_the_rest);
    tcase_add_test(tests, holds_a_record_with_all_that_it_has);
    tcase_add_test(tests, refuses_an_offset_that_falls);
    tcase_add_test(tests, moves_over_the_end_but_never_over_a_cut);
    tcase_add_test(tests, ends_when_every_part_has);
    tcase_add_test(tests, answers_a_lost_position_as_told);
    tcase_add_test(tests, tells_a_lost_topic_from_a_failure_that_passes);
    tcase_add_test(tests, looks_for_headers_itself_but_checks_samples);
    tcase_add_test(tests, wakes_the_task_when_records_come_but_not_from_its_own_calls);
    tcase_add_test(tests, adds_up_the_lag);
    tcase_add_test(tests, loses_and_repeats_nothing_whatever_happens);
}

int main(void)
{
    return unit_main("kafka source reader", add_facts);
}
