#include "sim/load.h"

#include <string.h>

#include "base/arena.h"
#include "base/base.h"
#include "base/hash.h"
#include "base/vec.h"
#include "partitioner.h"
#include "sim/author.h"
#include "sim/cluster.h"
#include "sim/fate.h"

enum { BATCH_MAX = 12, KEY_BUCKETS = 64, TIMEOUT_MS = 900000 };

static const char loader[] = "loader";

/* A key stays where it was written first, also when its topic gets more partitions: or its records would have no order. */
struct placed_key {
    const char *topic;
    struct weir_bytes key;
    int32_t partition;
};

static struct {
    const struct weir_test_job *test;
    uint32_t topic_count, records_left;
    struct model_producer producer;
    bool is_open; /* a transaction, on `topic` */
    uint32_t topic;
    bool is_added[WEIR_TEST_PARTITIONS_MAX];
    bool has_any; /* else there is nothing to end */
    int32_t sequences[WEIR_TEST_TOPICS_MAX][WEIR_TEST_PARTITIONS_MAX];
    VEC(struct placed_key) keys[KEY_BUCKETS];
    struct arena arena;
} load;

static int64_t now_ms(void) { return sched_now_us() / 1000; }

static int32_t partition_of_key(const char *topic, struct weir_bytes key, int32_t count)
{
    const size_t bucket = hash_64(key.data, key.size) % KEY_BUCKETS;
    for (size_t i = 0; i < load.keys[bucket].count; i++) {
        const struct placed_key *placed = &load.keys[bucket].items[i];
        if (placed->topic == topic && weir_bytes_equal(placed->key, key)) return placed->partition % count;
    }
    struct placed_key *placed = vec_push(&load.keys[bucket]);
    CHECK(placed != NULL);
    *placed = (struct placed_key){ .topic = topic, .key = { arena_copy(&load.arena, key.data, key.size), key.size },
                                   .partition = partitioner_of_key(key, count) };
    CHECK(placed->key.data != NULL);
    return placed->partition;
}

/* -1: there is no such topic. */
static int32_t partition_of(const char *topic, struct weir_bytes key)
{
    uint64_t id;
    int32_t count;
    if (model_describe_topic(cluster_model(), topic, &id, &count) != MODEL_OK) return -1;
    return weir_is_null(key) ? (int32_t)fate_below((uint64_t)count) : partition_of_key(topic, key, count);
}

static void write_plainly(const struct model_place *place, const struct model_record *record)
{
    const struct model_producer nobody = { -1, -1 };
    int64_t offset;
    (void)model_produce(cluster_model(), now_ms(), NULL, nobody, -1, place, record, 1, &offset);
}

/* What the coordinator refuses now is not written. */
static void write_in_transaction(const struct model_place *place, const struct model_record *record)
{
    bool *added = &load.is_added[place->partition];
    int32_t *sequence = &load.sequences[load.topic][place->partition];
    int64_t offset;
    if (!*added)
        *added = model_add_partitions(cluster_model(), now_ms(), loader, load.producer, place, 1) == MODEL_OK;
    load.has_any |= *added;
    if (!*added) return;
    const enum model_error reason =
        model_produce(cluster_model(), now_ms(), loader, load.producer, *sequence, place, record, 1, &offset);
    if (reason == MODEL_OK) ++*sequence;
}

static void write_some(void)
{
    const char *topic = load.test->inputs[load.topic].name;
    for (uint64_t count = 1 + fate_below(BATCH_MAX); count > 0 && load.records_left > 0; count--, load.records_left--) {
        struct weir_record record = { .time_ms = now_ms(), .time_type = WEIR_TIME_CREATE };
        author_next(topic, &record);
        const struct model_place place = { topic, partition_of(topic, record.key) };
        if (place.partition < 0) return;
        const struct model_record written = { .time_ms = record.time_ms, .key = record.key, .value = record.value,
                                              .headers = record.headers };
        if (load.is_open) write_in_transaction(&place, &written);
        else write_plainly(&place, &written);
    }
}

static void decide(bool commit)
{
    if (!load.has_any || model_end_txn(cluster_model(), now_ms(), loader, load.producer, commit) == MODEL_OK)
        load.is_open = false;
}

void load_some(void)
{
    if (load.is_open && fate_percent(50)) {
        decide(fate_percent(60));
    } else {
        if (!load.is_open) {
            load.topic = (uint32_t)fate_below(load.topic_count);
            load.is_open = fate_percent(15);
            load.has_any = false;
            memset(load.is_added, 0, sizeof load.is_added);
        }
        write_some();
    }
    cluster_touched();
}

bool load_end(void)
{
    if (load.is_open) {
        decide(true);
        cluster_touched();
    }
    return !load.is_open;
}

void load_free(void)
{
    for (size_t i = 0; i < KEY_BUCKETS; i++) vec_free(&load.keys[i]);
    arena_deinit(&load.arena);
}

void load_begin(const struct weir_test_job *test, uint32_t records_max)
{
    memset(&load, 0, sizeof load);
    load.test = test;
    load.records_left = records_max > 0 ? records_max : UINT32_MAX;
    while (load.topic_count < WEIR_TEST_TOPICS_MAX && test->inputs[load.topic_count].name != NULL) load.topic_count++;
    arena_init(&load.arena, 4096);
    CHECK(model_init_producer_id(cluster_model(), 0, loader, TIMEOUT_MS, &load.producer) == MODEL_OK);
}
