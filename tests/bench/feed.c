/* Writes {"word":"<16 bytes>"}, uniform of KINDS, at a steady rate until it is killed or SECONDS have passed.
 *
 * Usage: feed BROKERS TOPIC KINDS RATE SECONDS */
#include <unistd.h>

#include "bench.h"

int main(int argc, char **argv)
{
    if (argc != 6) bench_die("usage", "feed BROKERS TOPIC KINDS RATE SECONDS");
    rd_kafka_conf_t *conf = bench_conf(argv[1]);
    bench_set(conf, "enable.idempotence", "true");
    bench_set(conf, "linger.ms", "1");
    rd_kafka_t *producer = bench_open(RD_KAFKA_PRODUCER, conf);
    rd_kafka_topic_t *topic = rd_kafka_topic_new(producer, argv[2], NULL);
    const int partitions = bench_partitions(producer, argv[2]);
    const uint64_t kinds = strtoull(argv[3], NULL, 10);
    const int64_t rate = strtoll(argv[4], NULL, 10), end_us = strtoll(argv[5], NULL, 10) * 1000000;
    const int64_t begin_us = bench_now_us();
    uint64_t seed = BENCH_SEED ^ (uint64_t)begin_us;
    int64_t sent = 0;
    for (int64_t us = 0; us < end_us; us = bench_now_us() - begin_us) {
        for (; sent < us * rate / 1000000; sent++) {
            char value[64];
            const int size = snprintf(value, sizeof value, "{\"word\":\"k%015llu\"}",
                                      (unsigned long long)(bench_draw(&seed) % kinds));
            bench_produce(topic, (int32_t)(sent % partitions), value, (size_t)size);
        }
        (void)rd_kafka_poll(producer, 1);
    }
    while (rd_kafka_flush(producer, 1000) != 0) { }
    return 0;
}
