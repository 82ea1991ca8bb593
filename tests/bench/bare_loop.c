/* The reference of every benchmark: what a careful person would write by hand with librdkafka and no engine. Consume,
 * count in a hash table (or pass through), write with two transactional producers that take turns, no state stored.
 *
 *   consume ─> count ─every interval─> changed counts, offsets ─> producer A commits while B is filled, and so on
 *
 * Usage: bare_loop BROKERS INPUT OUTPUT text|json:FIELD|pass INTERVAL_MS RECORDS [each]
 * Ends after RECORDS input records (0 = never) and prints: records seconds cpu_seconds commits commit_p50_ms rss_mib */
#include <librdkafka/rdkafka.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "bench_json.h"

#define RING 2
#define COMMITS_MAX 200000

struct word {
    char *key;
    uint32_t size;
    bool changed;
    int64_t count;
};

struct producer {
    rd_kafka_t *handle;
    rd_kafka_topic_t *topic;
    rd_kafka_queue_t *events;
    pthread_t thread;
    bool busy; /* a commit is under way */
    _Atomic bool done;
    rd_kafka_topic_partition_list_t *offsets;
    int64_t begun_us;
    char *arena; /* payloads of its transaction */
    size_t arena_used, arena_size;
};

static struct {
    enum { TEXT, JSON, PASS } mode;
    bool each;
    const char *field;
    uint64_t records, records_wanted;
    int64_t first_us;
    struct word *slots;
    size_t slot_count, word_count;
    struct word **changed;
    size_t changed_count, changed_size;
    struct producer producers[RING];
    int current;
    uint32_t output_partitions;
    rd_kafka_t *consumer;
    rd_kafka_consumer_group_metadata_t *group;
    double commit_ms[COMMITS_MAX];
    size_t commits;
    rd_kafka_topic_partition_list_t *positions;
} loop;

static int64_t now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static void die(const char *what, const char *why)
{
    fprintf(stderr, "bare_loop: %s: %s\n", what, why);
    exit(1);
}

static void check_error(const char *what, rd_kafka_error_t *error)
{
    if (error != NULL) die(what, rd_kafka_error_string(error));
}

static void set(rd_kafka_conf_t *conf, const char *name, const char *value)
{
    char text[300];
    if (rd_kafka_conf_set(conf, name, value, text, sizeof(text)) != RD_KAFKA_CONF_OK) die(name, text);
}

/* ---- Output --------------------------------------------------------------------------------------------------------- */

static char *keep(struct producer *producer, const void *data, size_t size)
{
    if (producer->arena_used + size > producer->arena_size) return NULL;
    char *at = producer->arena + producer->arena_used;
    memcpy(at, data, size);
    producer->arena_used += size;
    return at;
}

static void poll_events(struct producer *producer)
{
    rd_kafka_event_t *event;
    while ((event = rd_kafka_queue_poll(producer->events, 0)) != NULL) rd_kafka_event_destroy(event);
}

static void produce(const void *key, size_t key_size, const void *value, size_t value_size)
{
    struct producer *producer = &loop.producers[loop.current];
    char *kept = keep(producer, value, value_size);
    const int flags = kept == NULL ? RD_KAFKA_MSG_F_COPY : 0;
    int32_t partition = 0;
    if (loop.output_partitions > 1 && key != NULL)
        partition = (int32_t)(XXH3_64bits(key, key_size) % loop.output_partitions);
    while (rd_kafka_produce(producer->topic, partition, flags, kept == NULL ? (void *)(uintptr_t)value : kept,
                            value_size, key, key_size, NULL) != 0) {
        if (rd_kafka_last_error() != RD_KAFKA_RESP_ERR__QUEUE_FULL) die("produce", rd_kafka_err2str(rd_kafka_last_error()));
        poll_events(producer);
    }
}

/* ---- Counting ------------------------------------------------------------------------------------------------------- */

static void grow(void)
{
    const size_t count = loop.slot_count == 0 ? 1 << 16 : loop.slot_count * 2;
    struct word *slots = calloc(count, sizeof(*slots));
    if (slots == NULL) die("grow", "no memory");
    for (size_t i = 0; i < loop.slot_count; i++) {
        if (loop.slots[i].key == NULL) continue;
        size_t at = XXH3_64bits(loop.slots[i].key, loop.slots[i].size) & (count - 1);
        while (slots[at].key != NULL) at = (at + 1) & (count - 1);
        slots[at] = loop.slots[i];
    }
    for (size_t i = 0; i < loop.changed_count; i++) { /* changed entries moved: find them again */
        struct word *old = loop.changed[i];
        size_t at = XXH3_64bits(old->key, old->size) & (count - 1);
        while (slots[at].key != old->key) at = (at + 1) & (count - 1);
        loop.changed[i] = &slots[at];
    }
    free(loop.slots);
    loop.slots = slots;
    loop.slot_count = count;
}

static void emit(const struct word *word)
{
    char text[24];
    char *at = text + sizeof(text);
    int64_t n = word->count;
    do *--at = (char)('0' + n % 10);
    while ((n /= 10) > 0);
    produce(word->key, word->size, at, (size_t)(text + sizeof(text) - at));
}

static void count_word(const char *key, size_t size)
{
    if (loop.word_count * 2 >= loop.slot_count) grow();
    size_t at = XXH3_64bits(key, size) & (loop.slot_count - 1);
    while (loop.slots[at].key != NULL && (loop.slots[at].size != size || memcmp(loop.slots[at].key, key, size) != 0))
        at = (at + 1) & (loop.slot_count - 1);
    struct word *word = &loop.slots[at];
    if (word->key == NULL) {
        word->key = malloc(size + 1);
        if (word->key == NULL) die("count", "no memory");
        memcpy(word->key, key, size);
        word->size = (uint32_t)size;
        loop.word_count++;
    }
    word->count++;
    if (loop.each) {
        emit(word);
        return;
    }
    if (word->changed) return;
    word->changed = true;
    if (loop.changed_count == loop.changed_size) {
        loop.changed_size = loop.changed_size == 0 ? 1 << 16 : loop.changed_size * 2;
        loop.changed = realloc(loop.changed, loop.changed_size * sizeof(*loop.changed));
        if (loop.changed == NULL) die("count", "no memory");
    }
    loop.changed[loop.changed_count++] = word;
}

static void consume(rd_kafka_message_t *message, void *opaque)
{
    (void)opaque;
    if (message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) return;
    if (message->err != 0) die("consume", rd_kafka_message_errstr(message));
    if (loop.records++ == 0) loop.first_us = now_us();
    loop.positions->elems[message->partition].offset = message->offset + 1;
    const char *value = message->payload, *word;
    size_t size = message->len, word_size;
    if (loop.mode == PASS) {
        produce(message->key, message->key_len, value, size);
    } else if (loop.mode == JSON) {
        if (bench_json_field(value, size, loop.field, &word, &word_size)) count_word(word, word_size);
    } else {
        for (const char *end = value + size; value < end;) {
            const char *space = memchr(value, ' ', (size_t)(end - value));
            if (space == NULL) space = end;
            if (space > value) count_word(value, (size_t)(space - value));
            value = space + 1;
        }
    }
}

/* ---- Committing ----------------------------------------------------------------------------------------------------- */

static void *run_commit(void *argument)
{
    struct producer *producer = argument;
    for (;;) {
        rd_kafka_error_t *error = NULL;
        if (rd_kafka_flush(producer->handle, 100) == RD_KAFKA_RESP_ERR_NO_ERROR) break;
        poll_events(producer);
        rd_kafka_error_destroy(error);
    }
    check_error("offsets", rd_kafka_send_offsets_to_transaction(producer->handle, producer->offsets, loop.group, 10000));
    check_error("commit", rd_kafka_commit_transaction(producer->handle, 10000));
    rd_kafka_topic_partition_list_destroy(producer->offsets);
    producer->done = true;
    return NULL;
}

static bool reap(struct producer *producer, bool wait)
{
    if (!producer->busy) return true;
    if (!wait && !producer->done) return false;
    pthread_join(producer->thread, NULL);
    producer->busy = false;
    producer->arena_used = 0;
    if (loop.commits < COMMITS_MAX) loop.commit_ms[loop.commits] = (double)(now_us() - producer->begun_us) / 1000.0;
    loop.commits++;
    return true;
}

static void turn(bool last)
{
    struct producer *producer = &loop.producers[loop.current];
    struct producer *other = &loop.producers[(loop.current + 1) % RING];
    const int64_t begun = now_us();
    reap(other, true); /* one commit in flight, so that offsets keep their order */
    for (size_t i = 0; i < loop.changed_count; i++) {
        emit(loop.changed[i]);
        loop.changed[i]->changed = false;
    }
    loop.changed_count = 0;
    producer->offsets = rd_kafka_topic_partition_list_copy(loop.positions);
    producer->begun_us = begun;
    producer->done = false;
    producer->busy = true;
    if (pthread_create(&producer->thread, NULL, run_commit, producer) != 0) die("thread", "refused");
    loop.current = (loop.current + 1) % RING;
    if (last) reap(producer, true);
    else check_error("begin", rd_kafka_begin_transaction(other->handle));
}

static int compare(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void report(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    const double cpu = (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
                       (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
    const size_t count = loop.commits < COMMITS_MAX ? loop.commits : COMMITS_MAX;
    qsort(loop.commit_ms, count, sizeof(double), compare);
    printf("records=%llu seconds=%.3f cpu=%.3f commits=%zu commit_p50_ms=%.1f rss_mib=%ld\n",
           (unsigned long long)loop.records, (double)(now_us() - loop.first_us) / 1e6, cpu, loop.commits,
           count > 0 ? loop.commit_ms[count / 2] : 0, usage.ru_maxrss / 1024);
}

/* ---- Making clients ------------------------------------------------------------------------------------------------- */

static void make_producer(struct producer *producer, const char *brokers, const char *output, int index)
{
    char text[300];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    snprintf(text, sizeof(text), "bare-%s-%d", output, index);
    set(conf, "bootstrap.servers", brokers);
    set(conf, "transactional.id", text);
    set(conf, "linger.ms", "1");
    set(conf, "queue.buffering.max.messages", "2000000");
    set(conf, "queue.buffering.max.kbytes", "1048576");
    set(conf, "delivery.report.only.error", "true");
    set(conf, "socket.nagle.disable", "true");
    rd_kafka_conf_set_events(conf, RD_KAFKA_EVENT_DR | RD_KAFKA_EVENT_ERROR);
    producer->handle = rd_kafka_new(RD_KAFKA_PRODUCER, conf, text, sizeof(text));
    if (producer->handle == NULL) die("producer", text);
    producer->events = rd_kafka_queue_get_main(producer->handle);
    check_error("init", rd_kafka_init_transactions(producer->handle, 30000));
    producer->topic = rd_kafka_topic_new(producer->handle, output, NULL);
    producer->arena_size = 256u << 20;
    producer->arena = malloc(producer->arena_size);
    const struct rd_kafka_metadata *metadata;
    if (rd_kafka_metadata(producer->handle, 0, producer->topic, &metadata, 10000) != 0) die("metadata", output);
    loop.output_partitions = (uint32_t)metadata->topics[0].partition_cnt;
    rd_kafka_metadata_destroy(metadata);
}

static rd_kafka_queue_t *make_consumer(const char *brokers, const char *input, const char *output)
{
    char text[300];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    snprintf(text, sizeof(text), "bare-%s", output);
    set(conf, "bootstrap.servers", brokers);
    set(conf, "group.id", text);
    set(conf, "enable.auto.commit", "false");
    set(conf, "enable.auto.offset.store", "false");
    set(conf, "isolation.level", "read_committed");
    set(conf, "queued.max.messages.kbytes", "32768");
    set(conf, "fetch.queue.backoff.ms", "5");
    set(conf, "socket.nagle.disable", "true");
    loop.consumer = rd_kafka_new(RD_KAFKA_CONSUMER, conf, text, sizeof(text));
    if (loop.consumer == NULL) die("consumer", text);
    const struct rd_kafka_metadata *metadata;
    rd_kafka_topic_t *topic = rd_kafka_topic_new(loop.consumer, input, NULL);
    if (rd_kafka_metadata(loop.consumer, 0, topic, &metadata, 10000) != 0) die("metadata", input);
    loop.positions = rd_kafka_topic_partition_list_new(8);
    for (int i = 0; i < metadata->topics[0].partition_cnt; i++)
        rd_kafka_topic_partition_list_add(loop.positions, input, i)->offset = 0;
    rd_kafka_metadata_destroy(metadata);
    rd_kafka_topic_destroy(topic);
    /* A restart goes on where the last commit stood. */
    rd_kafka_topic_partition_list_t *start = rd_kafka_topic_partition_list_copy(loop.positions);
    if (rd_kafka_committed(loop.consumer, start, 10000) == 0)
        for (int i = 0; i < start->cnt; i++)
            loop.positions->elems[i].offset = start->elems[i].offset < 0 ? 0 : start->elems[i].offset;
    rd_kafka_topic_partition_list_destroy(start);
    if (rd_kafka_assign(loop.consumer, loop.positions) != 0) die("assign", input);
    loop.group = rd_kafka_consumer_group_metadata(loop.consumer);
    return rd_kafka_queue_get_consumer(loop.consumer);
}

int main(int argc, char **argv)
{
    if (argc < 7) die("usage", "bare_loop BROKERS INPUT OUTPUT text|json:FIELD|pass INTERVAL_MS RECORDS [each]");
    loop.mode = strcmp(argv[4], "pass") == 0 ? PASS : strncmp(argv[4], "json:", 5) == 0 ? JSON : TEXT;
    loop.field = loop.mode == JSON ? argv[4] + 5 : "";
    const int64_t interval_us = strtoll(argv[5], NULL, 10) * 1000;
    loop.records_wanted = strtoull(argv[6], NULL, 10);
    loop.each = argc > 7 && strcmp(argv[7], "each") == 0;
    grow();
    for (int i = 0; i < RING; i++) make_producer(&loop.producers[i], argv[1], argv[3], i);
    rd_kafka_queue_t *queue = make_consumer(argv[1], argv[2], argv[3]);
    check_error("begin", rd_kafka_begin_transaction(loop.producers[0].handle));
    int64_t due_us = now_us() + interval_us;
    uint64_t committed = 0;
    while (loop.records_wanted == 0 || loop.records < loop.records_wanted) {
        rd_kafka_consume_callback_queue(queue, 5, consume, NULL);
        poll_events(&loop.producers[loop.current]);
        const int64_t now = now_us();
        struct producer *other = &loop.producers[(loop.current + 1) % RING];
        if (now >= due_us && loop.records > committed && reap(other, false)) {
            committed = loop.records;
            turn(false);
            due_us = now + interval_us;
        }
    }
    turn(true);
    report();
    fflush(stdout);
    _exit(0);
}
