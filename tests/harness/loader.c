#include "loader.h"

#include <check.h>
#include <inttypes.h>
#include <stdio.h>

#include "broker.h"
#include "process.h"
#include "unit.h"

static void produce_one(struct loader *loader)
{
    const uint32_t key = unit_random_below(&loader->seed, loader->keys);
    char key_text[16], value[24];
    (void)snprintf(key_text, sizeof key_text, "%u", key);
    (void)snprintf(value, sizeof value, "%" PRId64, ++loader->numbers[key]);
    const struct weir_record record = { .key = weir_text(key_text), .value = weir_text(value), .time_ms = WEIR_TIME_UNSET };
    broker_produce(loader->producer, loader->topic, (int)(key % (uint32_t)loader->partitions), &record);
    loader->produced++;
}

static void *load(void *argument)
{
    struct loader *loader = argument;
    const int64_t begin_ms = process_now_ms();
    while (!atomic_load(&loader->stopped)) {
        const int64_t due = (process_now_ms() - begin_ms) * loader->records_per_second / 1000;
        while (loader->produced < due) produce_one(loader);
        rd_kafka_poll(loader->producer, 5);
    }
    broker_flush(loader->producer);
    return NULL;
}

void loader_start(struct loader *loader)
{
    ck_assert_uint_le(loader->keys, SEQUENCE_KEYS_MAX);
    loader->producer = broker_producer(NULL, "linger.ms=5");
    ck_assert_int_eq(pthread_create(&loader->thread, NULL, load, loader), 0);
}

void loader_stop(struct loader *loader)
{
    atomic_store(&loader->stopped, true);
    pthread_join(loader->thread, NULL);
    broker_producer_close(loader->producer);
}
