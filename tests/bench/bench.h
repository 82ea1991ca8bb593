/* What the programs of this folder share: librdkafka without ceremony, clocks, percentiles. Every call that fails ends
 * the program with a sentence. */
#ifndef BENCH_H
#define BENCH_H

#include <librdkafka/rdkafka.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static inline int64_t bench_now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static inline _Noreturn void bench_die(const char *what, const char *why)
{
    (void)fprintf(stderr, "%s: %s\n", what, why);
    exit(EXIT_FAILURE);
}

static inline void bench_check(const char *what, rd_kafka_error_t *error)
{
    if (error != NULL) bench_die(what, rd_kafka_error_string(error));
}

static inline void bench_set(rd_kafka_conf_t *conf, const char *name, const char *value)
{
    char text[300];
    if (rd_kafka_conf_set(conf, name, value, text, sizeof text) != RD_KAFKA_CONF_OK) bench_die(name, text);
}

static inline rd_kafka_conf_t *bench_conf(const char *brokers)
{
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    bench_set(conf, "bootstrap.servers", brokers);
    bench_set(conf, "socket.nagle.disable", "true");
    bench_set(conf, "enable.metrics.push", "false");
    return conf;
}

static inline rd_kafka_t *bench_open(rd_kafka_type_t type, rd_kafka_conf_t *conf)
{
    char text[300];
    rd_kafka_t *handle = rd_kafka_new(type, conf, text, sizeof text);
    if (handle == NULL) bench_die("rd_kafka_new", text);
    return handle;
}

/* Number of partitions; 0 when the topic does not exist. */
static inline int bench_partitions(rd_kafka_t *handle, const char *name)
{
    const struct rd_kafka_metadata *metadata;
    rd_kafka_topic_t *topic = rd_kafka_topic_new(handle, name, NULL);
    const rd_kafka_resp_err_t code = rd_kafka_metadata(handle, 0, topic, &metadata, 10000);
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR) bench_die(name, rd_kafka_err2str(code));
    const int count = metadata->topics[0].err == 0 ? metadata->topics[0].partition_cnt : 0;
    rd_kafka_metadata_destroy(metadata);
    rd_kafka_topic_destroy(topic);
    return count;
}

/* Copies `data`. A queue that is full ends the program: whoever is paced must not have one. */
static inline void bench_produce(rd_kafka_topic_t *topic, int32_t partition, const void *data, size_t size)
{
    if (rd_kafka_produce(topic, partition, RD_KAFKA_MSG_F_COPY, (void *)(uintptr_t)data, size, NULL, 0, NULL) != 0)
        bench_die("produce", rd_kafka_err2str(rd_kafka_last_error()));
}

static inline int bench_compare(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Sorts. 0 when there are none. */
static inline double bench_percentile(double *samples, size_t count, double share)
{
    if (count == 0) return 0;
    qsort(samples, count, sizeof *samples, bench_compare);
    return samples[(size_t)((double)(count - 1) * share)];
}

/* Xorshift*: the same numbers everywhere. */
static inline uint64_t bench_draw(uint64_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    return *seed * UINT64_C(2685821657736338717);
}
#define BENCH_SEED UINT64_C(88172645463325252)

#endif
