/* Fills a topic for the benchmarks, the same records each time. A topic that has as many already is left alone.
 *
 * Usage: bench_load BROKERS TOPIC json|text|pass|keys RECORDS KINDS
 *   json   {"id":N,"word":"wXXXXX","n":1}, words uniform of KINDS
 *   text   10 words a line, Zipf (exponent 1) of KINDS
 *   pass   100-byte values, no key
 *   keys   {"word":"<16 bytes>"}: each of KINDS once, in no order, then uniform */
#include "bench.h"

static uint64_t seed = BENCH_SEED;

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
    const double wanted = (double)(bench_draw(&seed) >> 11) / 9007199254740992.0 * sums[kinds];
    uint64_t low = 0, high = kinds - 1;
    while (low < high) {
        const uint64_t middle = (low + high) / 2;
        if (sums[middle + 1] < wanted) low = middle + 1;
        else high = middle;
    }
    return low;
}

/* The prime shares no factor with any KINDS below it, so the first KINDS steps meet each of them once. */
static uint64_t key(uint64_t number, uint64_t kinds)
{
    return number < kinds ? number * UINT64_C(2654435761) % kinds : bench_draw(&seed) % kinds;
}

static size_t make(const char *kind, uint64_t number, uint64_t kinds, char *out, size_t capacity)
{
    if (strcmp(kind, "json") == 0)
        return (size_t)snprintf(out, capacity, "{\"id\":%llu,\"word\":\"w%05llu\",\"n\":1}", (unsigned long long)number,
                                (unsigned long long)(bench_draw(&seed) % kinds));
    if (strcmp(kind, "keys") == 0)
        return (size_t)snprintf(out, capacity, "{\"word\":\"k%015llu\"}", (unsigned long long)key(number, kinds));
    if (strcmp(kind, "pass") == 0) return (size_t)snprintf(out, capacity, "%0100llu", (unsigned long long)number);
    size_t size = 0;
    for (int i = 0; i < 10; i++)
        size += (size_t)snprintf(out + size, capacity - size, "%sword%llu", i == 0 ? "" : " ",
                                 (unsigned long long)zipf(kinds));
    return size;
}

static uint64_t records_there(rd_kafka_t *handle, const char *topic, int partitions)
{
    uint64_t sum = 0;
    for (int i = 0; i < partitions; i++) {
        int64_t low, high;
        const rd_kafka_resp_err_t code = rd_kafka_query_watermark_offsets(handle, topic, i, &low, &high, 10000);
        if (code != 0) bench_die(topic, rd_kafka_err2str(code));
        sum += (uint64_t)high;
    }
    return sum;
}

int main(int argc, char **argv)
{
    char value[512];
    if (argc != 6) bench_die("usage", "bench_load BROKERS TOPIC json|text|pass|keys RECORDS KINDS");
    rd_kafka_conf_t *conf = bench_conf(argv[1]);
    bench_set(conf, "enable.idempotence", "true");
    bench_set(conf, "linger.ms", "5");
    bench_set(conf, "batch.size", "1000000");
    bench_set(conf, "batch.num.messages", "100000");
    bench_set(conf, "queue.buffering.max.messages", "1000000");
    rd_kafka_t *producer = bench_open(RD_KAFKA_PRODUCER, conf);
    rd_kafka_topic_t *topic = rd_kafka_topic_new(producer, argv[2], NULL);
    const int partitions = bench_partitions(producer, argv[2]);
    if (partitions == 0) bench_die(argv[2], "is not there");
    const uint64_t records = strtoull(argv[4], NULL, 10), kinds = strtoull(argv[5], NULL, 10);
    const uint64_t there = records_there(producer, argv[2], partitions);
    if (there == records) return 0;
    if (there != 0) bench_die(argv[2], "is there with another number of records: delete it");
    for (uint64_t i = 0; i < records; i++) {
        const size_t size = make(argv[3], i, kinds, value, sizeof value);
        while (rd_kafka_produce(topic, (int32_t)(i % (uint64_t)partitions), RD_KAFKA_MSG_F_COPY, value, size, NULL, 0,
                                NULL) != 0)
            rd_kafka_poll(producer, 10);
        if (i % 1000 == 0) rd_kafka_poll(producer, 0);
    }
    while (rd_kafka_flush(producer, 1000) != 0) { }
    return 0;
}
