/* Fills a topic for the benchmarks, from a seed.
 *
 * Usage: bench_load BROKERS TOPIC json|text|pass|keys RECORDS KINDS
 *   json   {"id":N,"word":"wXXXXX","n":1}, words uniform of KINDS
 *   text   10 words a line, Zipf (exponent 1) of KINDS
 *   pass   100-byte values, no key
 *   keys   {"word":"<16 bytes>"}, uniform of KINDS */
#include <librdkafka/rdkafka.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint64_t seed = 88172645463325252u;

static uint64_t draw(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed * UINT64_C(2685821657736338717);
}

/* Inverse of the harmonic distribution function by bisection over a table of its sums. */
static double *sums;
static uint64_t zipf(uint64_t kinds)
{
    if (sums == NULL) {
        sums = malloc((kinds + 1) * sizeof(double));
        if (sums == NULL) exit(1);
        sums[0] = 0;
        for (uint64_t i = 1; i <= kinds; i++) sums[i] = sums[i - 1] + 1.0 / (double)i;
    }
    const double wanted = (double)(draw() >> 11) / 9007199254740992.0 * sums[kinds];
    uint64_t low = 0, high = kinds - 1;
    while (low < high) {
        const uint64_t middle = (low + high) / 2;
        if (sums[middle + 1] < wanted) low = middle + 1;
        else high = middle;
    }
    return low;
}

static size_t make(const char *kind, uint64_t number, uint64_t kinds, char *out, size_t capacity)
{
    if (strcmp(kind, "json") == 0)
        return (size_t)snprintf(out, capacity, "{\"id\":%llu,\"word\":\"w%05llu\",\"n\":1}", (unsigned long long)number,
                                (unsigned long long)(draw() % kinds));
    if (strcmp(kind, "keys") == 0)
        return (size_t)snprintf(out, capacity, "{\"word\":\"k%015llu\"}", (unsigned long long)(draw() % kinds));
    if (strcmp(kind, "pass") == 0) return (size_t)snprintf(out, capacity, "%0100llu", (unsigned long long)number);
    size_t size = 0;
    for (int i = 0; i < 10; i++)
        size += (size_t)snprintf(out + size, capacity - size, "%sword%llu", i == 0 ? "" : " ",
                                 (unsigned long long)zipf(kinds));
    return size;
}

int main(int argc, char **argv)
{
    char text[300], value[512];
    if (argc != 6) {
        fprintf(stderr, "usage: bench_load BROKERS TOPIC json|text|pass|keys RECORDS KINDS\n");
        return 2;
    }
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    rd_kafka_conf_set(conf, "bootstrap.servers", argv[1], text, sizeof(text));
    rd_kafka_conf_set(conf, "enable.idempotence", "true", text, sizeof(text));
    rd_kafka_conf_set(conf, "linger.ms", "5", text, sizeof(text));
    rd_kafka_conf_set(conf, "batch.size", "1000000", text, sizeof(text));
    rd_kafka_conf_set(conf, "queue.buffering.max.messages", "1000000", text, sizeof(text));
    rd_kafka_t *producer = rd_kafka_new(RD_KAFKA_PRODUCER, conf, text, sizeof(text));
    rd_kafka_topic_t *topic = rd_kafka_topic_new(producer, argv[2], NULL);
    const struct rd_kafka_metadata *metadata;
    if (rd_kafka_metadata(producer, 0, topic, &metadata, 10000) != 0 || metadata->topics[0].partition_cnt == 0) {
        fprintf(stderr, "bench_load: topic '%s' is not there\n", argv[2]);
        return 1;
    }
    const uint64_t records = strtoull(argv[4], NULL, 10), kinds = strtoull(argv[5], NULL, 10);
    const int partitions = metadata->topics[0].partition_cnt;
    for (uint64_t i = 0; i < records; i++) {
        const size_t size = make(argv[3], i, kinds, value, sizeof(value));
        while (rd_kafka_produce(topic, (int32_t)(i % (uint64_t)partitions), RD_KAFKA_MSG_F_COPY, value, size, NULL, 0,
                                NULL) != 0)
            rd_kafka_poll(producer, 10);
        if (i % 1000 == 0) rd_kafka_poll(producer, 0);
    }
    while (rd_kafka_flush(producer, 1000) != 0) { }
    printf("%llu records\n", (unsigned long long)records);
    return 0;
}
