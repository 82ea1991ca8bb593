/* Keeps producing the input of harness/sequence.h, in a thread of its own, while a fact goes on. */
#ifndef HARNESS_LOADER_H
#define HARNESS_LOADER_H

#include <librdkafka/rdkafka.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

#include "harness/sequence.h"

struct loader {
    const char *topic;
    int partitions;         /* key k goes to partition k % partitions */
    uint32_t keys;
    int records_per_second; /* what was missed while the machine was busy is made up for */
    uint64_t seed;
    /* The loader's own. */
    pthread_t thread;
    rd_kafka_t *producer;
    int64_t numbers[SEQUENCE_KEYS_MAX];
    int64_t produced;
    atomic_bool stopped;
};

/* Fill the fields above first. */
void loader_start(struct loader *loader);
/* All are acknowledged; `produced` says how many. */
void loader_stop(struct loader *loader);

#endif
