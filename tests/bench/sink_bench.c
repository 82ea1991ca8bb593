/* What the Kafka sink costs over a bare loop of rd_kafka_produce_batch, record for record: one topic with one
 * partition, records of 100 bytes with a key of 8, transactions of 200,000 records that are committed one after
 * another.
 *
 * Usage: sink_bench BROKERS bare|bare-time|sink|sink-write-time RECORDS
 *   bare             produce_batch, 1000 at a time: no time of their own
 *   bare-time        producev, which is the only call that keeps a record's time
 *   sink             records that have a time
 *   sink-write-time  the same, with .time = WEIR_KAFKA_TIME_OF_WRITE
 * Prints: mode, records per second, ns of the writing thread for each record, ns of the process for each record. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/base.h"
#include "sink.h"

enum { TRANSACTION_RECORDS = 200000, BATCH = 1000, VALUE_BYTES = 100, KEY_BYTES = 8 };

static struct {
    const char *brokers;
    int64_t records;
    double thread_s;
    struct weir_environment environment;
    struct weir_connector_context context;
    char key[KEY_BYTES + 1], value[VALUE_BYTES + 1];
} bench;

static double seconds(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void fail(const char *what, const char *text)
{
    (void)fprintf(stderr, "sink_bench: %s: %s\n", what, text);
    exit(EXIT_FAILURE);
}

static void create_topic(const char *name)
{
    struct weir_error error;
    struct kafka_client *client;
    const struct topics_patience patience = { .timeout_ms = 10000 };
    if (scan_open(&bench.context, NULL, "bench", false, &client, &error) != WEIR_OK ||
        topics_create(client, &(struct topics_new){ .name = name, .partitions = 1 }, &patience, &error) != WEIR_OK)
        fail(name, error.text);
    kafka_client_close(client);
}

/* ---- Bare -------------------------------------------------------------------------------------------------------- */

static volatile bool bare_done;

static void *serve(void *argument)
{
    struct handle *handle = argument;
    while (!bare_done) {
        rd_kafka_event_t *event = rd_kafka_queue_poll(handle->events, 20);
        if (event != NULL && rd_kafka_event_error(event) != RD_KAFKA_RESP_ERR_NO_ERROR)
            fail("event", rd_kafka_event_error_string(event));
        rd_kafka_event_destroy(event);
    }
    return NULL;
}

static void check(rd_kafka_error_t *error)
{
    if (error != NULL) fail("librdkafka", rd_kafka_error_string(error));
}

static void produce_batch(rd_kafka_topic_t *topic, char *arena)
{
    rd_kafka_message_t messages[BATCH];
    for (int i = 0; i < BATCH; i++) {
        char *payload = arena + i * VALUE_BYTES;
        memcpy(payload, bench.value, VALUE_BYTES);
        messages[i] = (rd_kafka_message_t){ .payload = payload, .len = VALUE_BYTES, .key = bench.key,
                                            .key_len = KEY_BYTES };
    }
    if (rd_kafka_produce_batch(topic, 0, RD_KAFKA_MSG_F_COPY, messages, BATCH) != BATCH) fail("produce", "refused");
}

static void produce_with_time(rd_kafka_t *rk, rd_kafka_topic_t *topic)
{
    for (int i = 0; i < BATCH; i++)
        if (rd_kafka_producev(rk, RD_KAFKA_V_RKT(topic), RD_KAFKA_V_PARTITION(0),
                              RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_TIMESTAMP(1700000000000),
                              RD_KAFKA_V_KEY(bench.key, KEY_BYTES), RD_KAFKA_V_VALUE(bench.value, VALUE_BYTES),
                              RD_KAFKA_V_END) != RD_KAFKA_RESP_ERR_NO_ERROR)
            fail("produce", "refused");
}

static void run_bare(const char *topic_name, bool with_time)
{
    struct weir_error error;
    struct handle *handle;
    pthread_t thread;
    const struct handle_options options = { .context = &bench.context, .transactional_id = topic_name,
                                            .reaper = kafka_reaper_create(), .wake_descriptor = -1 };
    if (handle_open(&options, &handle, &error) != WEIR_OK) fail("open", error.text);
    pthread_create(&thread, NULL, serve, handle);
    check(rd_kafka_init_transactions(handle->rk, 30000));
    handle_warm_topic(handle, topic_name, 5000);
    rd_kafka_topic_t *topic = handle_topic(handle, topic_name);
    char *arena = malloc(BATCH * VALUE_BYTES);
    for (int64_t done = 0; done < bench.records;) {
        check(rd_kafka_begin_transaction(handle->rk));
        for (int i = 0; i < TRANSACTION_RECORDS; i += BATCH, done += BATCH) {
            while (!handle_has_room(handle, false)) usleep(1000);
            const double began_s = seconds(CLOCK_THREAD_CPUTIME_ID);
            if (with_time) produce_with_time(handle->rk, topic);
            else produce_batch(topic, arena);
            bench.thread_s += seconds(CLOCK_THREAD_CPUTIME_ID) - began_s;
        }
        while (rd_kafka_flush(handle->rk, 50) != RD_KAFKA_RESP_ERR_NO_ERROR)
            ;
        check(rd_kafka_commit_transaction(handle->rk, 30000));
    }
    bare_done = true;
    pthread_join(thread, NULL);
    free(arena);
}

/* ---- Sink -------------------------------------------------------------------------------------------------------- */

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t arrived = PTHREAD_COND_INITIALIZER;
static int answers[WEIR_DECIDER_FAILED + 1];

static void post(void *user, struct weir_decider_event *event)
{
    (void)user;
    if (event->type == WEIR_DECIDER_FAILED) fail("decider", event->error.text);
    pthread_mutex_lock(&mutex);
    answers[event->type]++;
    pthread_cond_signal(&arrived);
    pthread_mutex_unlock(&mutex);
    weir_decider_event_clear(event);
}

static void await(enum weir_decider_event_type type)
{
    pthread_mutex_lock(&mutex);
    while (answers[type] == 0) pthread_cond_wait(&arrived, &mutex);
    answers[type]--;
    pthread_mutex_unlock(&mutex);
}

static void write_epoch(void *writer, struct waker *waker)
{
    struct weir_error error;
    const struct weir_record record = { .key = weir_text(bench.key), .value = weir_text(bench.value),
                                        .time_ms = 1700000000000 };
    for (int i = 0; i < TRANSACTION_RECORDS; i += BATCH) {
        const double began_s = seconds(CLOCK_THREAD_CPUTIME_ID);
        for (int j = 0; j < BATCH; j++) {
            while (!sink_type.writer_room(writer)) waker_sleep(waker, -1);
            if (sink_type.writer_write(writer, &record, &error) != WEIR_OK) fail("write", error.text);
        }
        bench.thread_s += seconds(CLOCK_THREAD_CPUTIME_ID) - began_s;
    }
}

static void run_sink(const char *topic, enum weir_kafka_time time)
{
    const struct weir_decider_type *type = &weir_kafka_decider_type;
    const struct weir_decider_options options = { .context = &bench.context, .slot = "0", .ring_size = 2,
                                                  .post = post };
    const struct weir_kafka_sink_options sink_options = { .name = "out", .topic = topic, .time = time };
    struct weir_output_totals totals = { 0 };
    struct weir_error error;
    struct waker waker;
    void *decider, *sink, *writer;
    bench.context.operator_name = "out";
    if (!waker_init(&waker) || type->open(&options, &decider, &error) != WEIR_OK ||
        sink_type.open(&sink_options, &bench.context, decider, &sink, &error) != WEIR_OK ||
        sink_type.writer_open(sink, 0, 0, waker_public(&waker), &writer, &error) != WEIR_OK)
        fail("open", error.text);
    type->fence(decider, 1, 0);
    await(WEIR_DECIDER_FENCED);
    const int64_t epochs = bench.records / TRANSACTION_RECORDS;
    for (int64_t epoch = 0; epoch < epochs; epoch++) {
        const uint32_t handle = (uint32_t)(epoch % 2);
        type->begin(decider, 1, handle, (uint64_t)epoch);
        await(WEIR_DECIDER_BEGUN);
        if (sink_type.writer_proceed(writer, (uint64_t)epoch, &error) != WEIR_OK) fail("proceed", error.text);
        write_epoch(writer, &waker);
        if (sink_type.writer_prepare(writer, (uint64_t)epoch, &totals, &error) != WEIR_OK) fail("prepare", error.text);
        type->flush(decider, 1, handle, (uint64_t)epoch, weir_text("0/0"), weir_text("frame"), false);
        await(WEIR_DECIDER_FLUSHED);
        type->commit(decider, 1, handle, (uint64_t)epoch);
        await(WEIR_DECIDER_COMMITTED);
    }
}

int main(int argc, char **argv)
{
    struct weir_error error;
    char name[64];
    if (argc != 4) {
        (void)fprintf(stderr, "usage: sink_bench BROKERS bare|bare-time|sink|sink-write-time RECORDS\n");
        return 2;
    }
    const char *mode = argv[2];
    bench.brokers = argv[1];
    bench.records = strtoll(argv[3], NULL, 10) / TRANSACTION_RECORDS * TRANSACTION_RECORDS;
    memset(bench.value, 'x', VALUE_BYTES);
    memcpy(bench.key, "abcdefgh", KEY_BYTES);
    environment_init_system(&bench.environment);
    weir_config *config = weir_config_create();
    bench.context = (struct weir_connector_context){ .environment = &bench.environment, .config = config,
                                                     .job = name, .parallelism = 1, .exactly_once = true };
    (void)snprintf(name, sizeof name, "sink-bench-%s", mode);
    if (weir_config_set(config, WEIR_CONFIG_COMMAND_LINE, "kafka.bootstrap.servers", bench.brokers, "bench", &error) !=
        WEIR_OK)
        fail("configuration", error.text);
    create_topic(name);

    const double began_s = seconds(CLOCK_MONOTONIC), cpu_s = seconds(CLOCK_PROCESS_CPUTIME_ID);
    if (strcmp(mode, "bare") == 0) run_bare(name, false);
    else if (strcmp(mode, "bare-time") == 0) run_bare(name, true);
    else run_sink(name, strcmp(mode, "sink") == 0 ? WEIR_KAFKA_TIME_OF_RECORD : WEIR_KAFKA_TIME_OF_WRITE);
    const double wall_s = seconds(CLOCK_MONOTONIC) - began_s, records = (double)bench.records;
    printf("%-16s %8.0f records/s %6.0f ns writing %6.0f ns process\n", mode, records / wall_s,
           bench.thread_s / records * 1e9, (seconds(CLOCK_PROCESS_CPUTIME_ID) - cpu_s) / records * 1e9);
    (void)fflush(stdout);
    _exit(EXIT_SUCCESS); /* no waiting for handles */
}
