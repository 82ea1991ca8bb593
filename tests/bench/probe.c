/* How long records take through a job that copies INPUT to OUTPUT: from just before produce() to a read_committed
 * consumer of this process, one clock for both. Records of 100 bytes, evenly paced.
 *
 * Usage: probe BROKERS INPUT OUTPUT RATE SECONDS
 * Prints: records=N p50=MS p99=MS max=MS. What is sent in the two seconds after the first arrival is not counted. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <unistd.h>

#include "bench.h"

enum { RECORD_BYTES = 100, WARM_UP_US = 2000000, SAMPLES_MAX = 5000000, WAIT_US = 30000000 };

struct stamp {
    int64_t run_us; /* tells this run's records from others */
    int64_t sent_us;
};

static struct {
    const char *brokers, *input, *output;
    int64_t rate, run_us, seconds;
    _Atomic int64_t arrived_us; /* the first one; 0 = none yet */
    _Atomic bool is_done;
    size_t count;
    double ms[SAMPLES_MAX];
} probe;

static bool is_over(void)
{
    const int64_t now = bench_now_us(), arrived = probe.arrived_us;
    if (arrived == 0 && now - probe.run_us > WAIT_US) bench_die(probe.output, "nothing has arrived for 30 s");
    return arrived != 0 && now - arrived >= WARM_UP_US + probe.seconds * 1000000;
}

static void *send_all(void *unused)
{
    (void)unused;
    rd_kafka_conf_t *conf = bench_conf(probe.brokers);
    bench_set(conf, "enable.idempotence", "true");
    bench_set(conf, "linger.ms", "1");
    rd_kafka_t *producer = bench_open(RD_KAFKA_PRODUCER, conf);
    rd_kafka_topic_t *topic = rd_kafka_topic_new(producer, probe.input, NULL);
    const int partitions = bench_partitions(producer, probe.input);
    const int64_t begin_us = bench_now_us();
    for (int64_t sent = 0; !is_over(); (void)rd_kafka_poll(producer, 1)) {
        const int64_t due = (bench_now_us() - begin_us) * probe.rate / 1000000;
        for (; sent < due; sent++) {
            char value[RECORD_BYTES] = { 0 };
            const struct stamp stamp = { probe.run_us, bench_now_us() };
            memcpy(value, &stamp, sizeof stamp);
            bench_produce(topic, (int32_t)(sent % partitions), value, sizeof value);
        }
    }
    while (rd_kafka_flush(producer, 1000) != 0) { }
    probe.is_done = true;
    return NULL;
}

static void receive(rd_kafka_message_t *message, void *unused)
{
    (void)unused;
    struct stamp stamp;
    if (message->err != 0) bench_die(probe.output, rd_kafka_message_errstr(message));
    if (message->len != RECORD_BYTES) return;
    memcpy(&stamp, message->payload, sizeof stamp);
    if (stamp.run_us != probe.run_us) return;
    const int64_t now = bench_now_us();
    if (probe.arrived_us == 0) probe.arrived_us = now;
    if (stamp.sent_us - probe.arrived_us < WARM_UP_US || probe.count == SAMPLES_MAX) return;
    probe.ms[probe.count++] = (double)(now - stamp.sent_us) / 1000.0;
}

static rd_kafka_queue_t *open_consumer(void)
{
    rd_kafka_conf_t *conf = bench_conf(probe.brokers);
    bench_set(conf, "group.id", "probe");
    bench_set(conf, "enable.auto.commit", "false");
    bench_set(conf, "isolation.level", "read_committed");
    rd_kafka_t *consumer = bench_open(RD_KAFKA_CONSUMER, conf);
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(4);
    const int partitions = bench_partitions(consumer, probe.output);
    for (int i = 0; i < partitions; i++)
        rd_kafka_topic_partition_list_add(list, probe.output, i)->offset = RD_KAFKA_OFFSET_END;
    if (rd_kafka_assign(consumer, list) != 0) bench_die("assign", probe.output);
    rd_kafka_topic_partition_list_destroy(list);
    return rd_kafka_queue_get_consumer(consumer);
}

int main(int argc, char **argv)
{
    if (argc != 6) bench_die("usage", "probe BROKERS INPUT OUTPUT RATE SECONDS");
    probe.brokers = argv[1];
    probe.input = argv[2];
    probe.output = argv[3];
    probe.rate = strtoll(argv[4], NULL, 10);
    probe.seconds = strtoll(argv[5], NULL, 10);
    rd_kafka_queue_t *queue = open_consumer();
    probe.run_us = bench_now_us();
    pthread_t sender;
    if (pthread_create(&sender, NULL, send_all, NULL) != 0) bench_die("thread", "refused");
    while (!probe.is_done) (void)rd_kafka_consume_callback_queue(queue, 100, receive, NULL);
    if (probe.count == 0) bench_die(probe.output, "nothing has arrived");
    const double p50 = bench_percentile(probe.ms, probe.count, 0.5);
    const double p99 = bench_percentile(probe.ms, probe.count, 0.99);
    (void)printf("records=%zu p50=%.2f p99=%.2f max=%.2f\n", probe.count, p50, p99, probe.ms[probe.count - 1]);
    (void)fflush(stdout);
    _exit(0);
}
