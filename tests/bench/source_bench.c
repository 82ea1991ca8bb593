/* What the Kafka source costs above librdkafka: records of 100 bytes from one partition, read by the source's reader
 * into batches, against a loop of rd_kafka_consume_callback_queue that only looks at them. Alternating rounds, medians.
 *
 *     source_bench [RECORDS [ROUNDS]] */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "harness/broker.h"
#include "record/record.h"
#include "source.h"

enum { RECORD_SIZE = 100, ROUNDS_MAX = 32 };

struct reading {
    double wall_ns, thread_ns, process_ns; /* for each record */
};

static struct weir_environment environment;
static weir_config *config;
static struct weir_connector_context context;
static int64_t record_count = 5000000;

static double seconds(struct timeval time) { return (double)time.tv_sec + (double)time.tv_usec * 1e-6; }

static double cpu_seconds(int who)
{
    struct rusage usage;
    getrusage(who, &usage);
    return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

static double now_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static struct reading take_reading(void)
{
    return (struct reading){ now_seconds(), cpu_seconds(RUSAGE_THREAD), cpu_seconds(RUSAGE_SELF) };
}

static struct reading per_record(struct reading begin)
{
    const struct reading end = take_reading();
    const double scale = 1e9 / (double)record_count;
    return (struct reading){ (end.wall_ns - begin.wall_ns) * scale, (end.thread_ns - begin.thread_ns) * scale,
                             (end.process_ns - begin.process_ns) * scale };
}

static void require(enum weir_code code, const struct weir_error *error)
{
    if (code == WEIR_OK) return;
    (void)fprintf(stderr, "%s\n", error->text);
    exit(EXIT_FAILURE);
}

/* ---- librdkafka alone -------------------------------------------------------------------------------------------- */

struct plain {
    int64_t count;
    uint64_t sum;
    bool has_ended;
};

static void look_at(rd_kafka_message_t *message, void *opaque)
{
    struct plain *plain = opaque;
    if (message->err != RD_KAFKA_RESP_ERR_NO_ERROR) return;
    plain->count++;
    plain->sum += (unsigned char)((const char *)message->payload)[message->len - 1];
}

static struct reading read_plainly(const char *topic)
{
    struct weir_error error;
    rd_kafka_conf_t *conf;
    struct kafka_client *client;
    require(kafka_conf_create(KAFKA_CONSUMER, &context, NULL, "plain", &conf, &error), &error);
    require(kafka_conf_set(conf, "isolation.level", "read_committed", &error), &error);
    require(kafka_conf_set(conf, "enable.auto.offset.store", "false", &error), &error);
    require(kafka_conf_set(conf, "queued.min.messages", "32768", &error), &error);
    require(kafka_conf_set(conf, "queued.max.messages.kbytes", "32768", &error), &error);
    require(kafka_client_open(KAFKA_CONSUMER, conf, &environment, "plain", NULL, &client, &error), &error);

    const struct reading begin = take_reading();
    rd_kafka_topic_t *object = rd_kafka_topic_new(client->handle, topic, NULL);
    rd_kafka_queue_t *queue = rd_kafka_queue_get_partition(client->handle, topic, 0);
    (void)rd_kafka_consume_start(object, 0, 0);
    struct plain plain = { 0 };
    while (plain.count < record_count) (void)rd_kafka_consume_callback_queue(queue, 100, look_at, &plain);
    const struct reading result = per_record(begin);
    rd_kafka_queue_destroy(queue);
    rd_kafka_topic_destroy(object);
    kafka_client_close(client);
    return result;
}

/* ---- The source's reader ----------------------------------------------------------------------------------------- */

static struct reading read_by_source(const char *topic)
{
    struct weir_error error;
    const struct weir_kafka_source_options options = { .size = sizeof options, .name = "lines", .topic = topic };
    const struct weir_splits none = { 0 };
    const volatile bool cancelled = false;
    struct weir_splits found = { 0 };
    struct waker waker;
    void *source, *reader;
    if (!waker_init(&waker)) exit(EXIT_FAILURE);
    require(kafka_source_type.open(&options, &context, &source, &error), &error);
    require(kafka_source_type.discover(source, &none, true, true, &cancelled, &found, &error), &error);

    struct weir_batch *batch = batch_create();
    const struct reading begin = take_reading();
    require(kafka_source_type.reader_open(source, 0, waker_public(&waker), &reader, &error), &error);
    require(kafka_source_type.reader_add(reader, &found.items[0], &error), &error);
    uint64_t sum = 0;
    for (int64_t count = 0; count < record_count;) {
        batch_clear(batch);
        const enum weir_poll poll = kafka_source_type.reader_poll(reader, batch, &error);
        if (poll == WEIR_POLL_FAILED) require(error.code, &error);
        if (poll == WEIR_POLL_IDLE) waker_sleep(&waker, 100000);
        count += batch->count;
        for (uint32_t i = 0; i < batch->count; i++) {
            const struct weir_bytes value = batch->records[i].value;
            sum += (unsigned char)value.data[value.size - 1];
        }
    }
    const struct reading result = per_record(begin);
    if (sum == 0) exit(EXIT_FAILURE);
    kafka_source_type.reader_close(reader);
    kafka_source_type.close(source);
    batch_release(batch);
    weir_splits_clear(&found);
    waker_deinit(&waker);
    return result;
}

/* ---- Rounds ------------------------------------------------------------------------------------------------------ */

static void fill(const char *topic)
{
    char bytes[RECORD_SIZE];
    memset(bytes, 'x', sizeof bytes);
    const struct weir_record record = { .key = WEIR_NULL,
                                        .value = { bytes, sizeof bytes },
                                        .time_ms = WEIR_TIME_UNSET };
    rd_kafka_t *producer = broker_producer(NULL, "linger.ms=20,queue.buffering.max.messages=500000");
    for (int64_t i = 0; i < record_count; i++) {
        broker_produce(producer, topic, 0, &record);
        if (i % 1000 == 0) (void)rd_kafka_poll(producer, 0);
    }
    broker_producer_close(producer);
}

static int compare(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static double median(const struct reading *readings, size_t count, size_t field)
{
    double values[ROUNDS_MAX];
    for (size_t i = 0; i < count; i++) memcpy(&values[i], (const char *)&readings[i] + field, sizeof(double));
    qsort(values, count, sizeof values[0], compare);
    return values[count / 2];
}

static void print_row(const char *name, const struct reading *readings, size_t count)
{
    (void)printf("%-22s %10.1f %10.1f %10.1f\n", name, median(readings, count, offsetof(struct reading, wall_ns)),
                 median(readings, count, offsetof(struct reading, thread_ns)),
                 median(readings, count, offsetof(struct reading, process_ns)));
}

int main(int argc, char **argv)
{
    if (argc > 1) record_count = atoll(argv[1]);
    size_t rounds = argc > 2 ? (size_t)atoi(argv[2]) : 5;
    if (rounds < 1 || rounds > ROUNDS_MAX) rounds = 5;
    (void)broker_start(1);
    environment_init_system(&environment);
    config = weir_config_create();
    struct weir_error error;
    require(weir_config_set(config, WEIR_CONFIG_COMMAND_LINE, "kafka.bootstrap.servers", broker_address(), "bench",
                            &error),
            &error);
    context = (struct weir_connector_context){ .environment = &environment, .config = config, .job = "bench",
                                               .operator_name = "lines", .parallelism = 1, .exactly_once = true };
    const char *topic = broker_name("bench");
    broker_create_topic(topic, 1, NULL);
    fill(topic);

    struct reading plain[ROUNDS_MAX], source[ROUNDS_MAX];
    (void)read_plainly(topic); /* warms the page cache */
    for (size_t i = 0; i < rounds; i++) {
        plain[i] = read_plainly(topic);
        source[i] = read_by_source(topic);
    }
    (void)printf("%lld records of %d bytes, medians of %zu rounds; ns for each record\n", (long long)record_count,
                 RECORD_SIZE, rounds);
    (void)printf("%-22s %10s %10s %10s\n", "", "wall", "its thread", "process");
    print_row("librdkafka alone", plain, rounds);
    print_row("source and batch", source, rounds);
    weir_config_destroy(config);
    return EXIT_SUCCESS;
}
