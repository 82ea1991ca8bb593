/* The reference of every benchmark: what a careful person would write by hand with librdkafka and no engine. Consume,
 * count in a hash table (or pass through), write with two transactional producers that take turns, no state stored.
 *
 *   consume ─> count ─every interval─> changed counts ─> producer A is committed while B is filled, and so on
 *                                                          └─ by the committing thread: offsets, flush, commit
 *
 * One commit is in flight at a time, so that offsets keep their order. Unlike the engine, the loop does not keep the
 * output of the next transaction back until the one before is flushed.
 *
 * Usage: bare_loop BROKERS INPUT OUTPUT text|json:FIELD|pass INTERVAL_MS RECORDS [each]
 * Ends after RECORDS input records (0 = never). Writes a line "status in=N ..." to stderr every 100 ms, as a job does,
 * and a last one to stdout when everything is committed. */
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "bench.h"
#include "bench_json.h"

enum {
    RING = 2,
    STAGE = 128,             /* records that are handed to librdkafka at once */
    LOOK_RECORDS = 128,      /* records between two looks at the clock */
    SAMPLES_MAX = 200000,
    STATUS_US = 100000,
};

/* Key behind it. Words lie one behind the other and never move. */
struct word {
    int64_t count;
    uint32_t size;
    uint32_t changed; /* in the open transaction */
    char key[];
};
#define WORDS_BYTES ((size_t)32 << 30) /* reserved, not used: a place is 32 bits in units of 8 bytes */

struct slot {
    uint32_t hash;
    uint32_t place; /* of the word; 0 = free */
};

struct producer {
    rd_kafka_t *handle;
    rd_kafka_topic_t *topic;
    rd_kafka_queue_t *events;
    rd_kafka_topic_partition_list_t *offsets; /* of its transaction */
    int64_t ended_us;                         /* when its transaction was full */
    rd_kafka_message_t stage[STAGE];
    int staged;
    char *arena; /* payloads of its transaction: librdkafka does not copy them */
    size_t arena_used, arena_size;
};

static struct {
    enum { TEXT, JSON, PASS } mode;
    bool each;
    const char *field;
    uint64_t records, records_wanted, records_committed;
    int64_t first_us, due_us, status_us;

    struct slot *slots;
    size_t slot_count, word_count;
    char *words;
    size_t words_used;
    struct word **changed;
    size_t changed_count, changed_size;

    struct producer producers[RING];
    int current;
    int32_t partitions;
    rd_kafka_t *consumer;
    rd_kafka_consumer_group_metadata_t *group;
    rd_kafka_topic_partition_list_t *positions;

    /* The committing thread. */
    sem_t wanted;
    struct producer *committing;
    _Atomic bool committed;
    double commit_ms[SAMPLES_MAX];
    _Atomic size_t commits;
} loop;

/* ---- Output ------------------------------------------------------------------------------------------------------ */

static void poll_events(struct producer *producer, int timeout_ms)
{
    rd_kafka_event_t *event;
    while ((event = rd_kafka_queue_poll(producer->events, timeout_ms)) != NULL) {
        if (rd_kafka_event_type(event) == RD_KAFKA_EVENT_DR) bench_die("deliver", rd_kafka_event_error_string(event));
        rd_kafka_event_destroy(event);
        timeout_ms = 0;
    }
}

static void flush_stage(struct producer *producer)
{
    rd_kafka_message_t *first = producer->stage;
    while (producer->staged > 0) {
        const int flags = loop.partitions > 1 ? RD_KAFKA_MSG_F_PARTITION : 0;
        int left = 0;
        if (rd_kafka_produce_batch(producer->topic, 0, flags, first, producer->staged) < producer->staged) {
            for (int i = 0; i < producer->staged; i++) {
                if (first[i].err == 0) continue;
                if (first[i].err != RD_KAFKA_RESP_ERR__QUEUE_FULL) bench_die("produce", rd_kafka_err2str(first[i].err));
                first[left++] = first[i];
            }
            poll_events(producer, 1);
        }
        producer->staged = left;
    }
}

static char *keep(struct producer *producer, const void *data, size_t size)
{
    if (producer->arena_used + size > producer->arena_size) bench_die("produce", "a transaction of more than 512 MiB");
    char *at = producer->arena + producer->arena_used;
    if (size > 0) memcpy(at, data, size);
    producer->arena_used += size;
    return at;
}

static void produce(const void *key, size_t key_size, const void *value, size_t value_size)
{
    struct producer *producer = &loop.producers[loop.current];
    if (producer->staged == STAGE) flush_stage(producer);
    rd_kafka_message_t *message = &producer->stage[producer->staged++];
    message->partition = 0;
    if (loop.partitions > 1 && key != NULL)
        message->partition = (int32_t)(XXH3_64bits(key, key_size) % (uint32_t)loop.partitions);
    message->key = key == NULL ? NULL : keep(producer, key, key_size);
    message->key_len = key_size;
    message->payload = value == NULL ? NULL : keep(producer, value, value_size);
    message->len = value_size;
}

/* ---- Counting ---------------------------------------------------------------------------------------------------- */

static struct word *word_at(uint32_t place)
{
    return (struct word *)(void *)(loop.words + (size_t)place * 8);
}

static void grow(void)
{
    const size_t count = loop.slot_count == 0 ? 1 << 16 : loop.slot_count * 2;
    struct slot *slots = calloc(count, sizeof *slots);
    if (slots == NULL) bench_die("grow", "no memory");
    for (size_t i = 0; i < loop.slot_count; i++) {
        if (loop.slots[i].place == 0) continue;
        size_t at = loop.slots[i].hash & (count - 1);
        while (slots[at].place != 0) at = (at + 1) & (count - 1);
        slots[at] = loop.slots[i];
    }
    free(loop.slots);
    loop.slots = slots;
    loop.slot_count = count;
}

static uint32_t add_word(const char *key, size_t size)
{
    const size_t bytes = (sizeof(struct word) + size + 7) & ~(size_t)7;
    if (loop.words_used + bytes > WORDS_BYTES) bench_die("count", "too many words");
    const uint32_t place = (uint32_t)(loop.words_used / 8);
    loop.words_used += bytes;
    struct word *word = word_at(place);
    word->size = (uint32_t)size;
    memcpy(word->key, key, size);
    loop.word_count++;
    return place;
}

static struct word *find_word(const char *key, size_t size)
{
    if (loop.word_count * 2 >= loop.slot_count) grow();
    const uint32_t hash = (uint32_t)XXH3_64bits(key, size);
    for (size_t at = hash & (loop.slot_count - 1);; at = (at + 1) & (loop.slot_count - 1)) {
        struct slot *slot = &loop.slots[at];
        if (slot->place == 0) *slot = (struct slot){ hash, add_word(key, size) };
        if (slot->hash != hash) continue;
        struct word *word = word_at(slot->place);
        if (word->size == size && memcmp(word->key, key, size) == 0) return word;
    }
}

static void emit(const struct word *word)
{
    char text[24];
    char *at = text + sizeof text;
    int64_t n = word->count;
    do *--at = (char)('0' + n % 10);
    while ((n /= 10) > 0);
    produce(word->key, word->size, at, (size_t)(text + sizeof text - at));
}

static void note_change(struct word *word)
{
    if (word->changed) return;
    word->changed = 1;
    if (loop.changed_count == loop.changed_size) {
        loop.changed_size = loop.changed_size == 0 ? 1 << 16 : loop.changed_size * 2;
        loop.changed = realloc(loop.changed, loop.changed_size * sizeof(*loop.changed));
        if (loop.changed == NULL) bench_die("count", "no memory");
    }
    loop.changed[loop.changed_count++] = word;
}

static void count_word(const char *key, size_t size)
{
    struct word *word = find_word(key, size);
    word->count++;
    if (loop.each) emit(word);
    else note_change(word);
}

static void count_text(const char *at, size_t size)
{
    for (const char *end = at + size; at < end;) {
        const char *space = memchr(at, ' ', (size_t)(end - at));
        if (space == NULL) space = end;
        if (space > at) count_word(at, (size_t)(space - at));
        at = space + 1;
    }
}

static void consume(rd_kafka_message_t *message, void *opaque)
{
    (void)opaque;
    if (message->err != 0) bench_die("consume", rd_kafka_message_errstr(message));
    if (loop.records++ == 0) loop.first_us = bench_now_us();
    loop.positions->elems[message->partition].offset = message->offset + 1;
    const char *word;
    size_t size;
    if (loop.mode == PASS) {
        produce(message->key, message->key_len, message->payload, message->len);
    } else if (loop.mode == TEXT) {
        count_text(message->payload, message->len);
    } else if (bench_json_field(message->payload, message->len, loop.field, &word, &size)) {
        count_word(word, size);
    }
    const bool is_last = loop.records == loop.records_wanted;
    if (is_last || (loop.records % LOOK_RECORDS == 0 && bench_now_us() >= loop.due_us)) rd_kafka_yield(loop.consumer);
}

/* ---- Committing -------------------------------------------------------------------------------------------------- */

/* Offsets first: their way to the broker and back takes as long as the flush, which goes on meanwhile. */
static void *run_commits(void *unused)
{
    (void)unused;
    for (;;) {
        while (sem_wait(&loop.wanted) != 0)
            if (errno != EINTR) bench_die("sem_wait", strerror(errno));
        struct producer *producer = loop.committing;
        bench_check("offsets",
                    rd_kafka_send_offsets_to_transaction(producer->handle, producer->offsets, loop.group, 10000));
        bench_check("commit", rd_kafka_commit_transaction(producer->handle, 10000));
        rd_kafka_topic_partition_list_destroy(producer->offsets);
        producer->arena_used = 0;
        const size_t commits = loop.commits;
        if (commits < SAMPLES_MAX) loop.commit_ms[commits] = (double)(bench_now_us() - producer->ended_us) / 1000.0;
        loop.commits = commits + 1;
        loop.committed = true;
    }
    return NULL;
}

static void turn(void)
{
    struct producer *producer = &loop.producers[loop.current];
    producer->ended_us = bench_now_us();
    for (size_t i = 0; i < loop.changed_count; i++) {
        emit(loop.changed[i]);
        loop.changed[i]->changed = 0;
    }
    loop.changed_count = 0;
    flush_stage(producer);
    producer->offsets = rd_kafka_topic_partition_list_copy(loop.positions);
    loop.records_committed = loop.records;
    loop.committed = false;
    loop.committing = producer;
    sem_post(&loop.wanted);
    loop.current = (loop.current + 1) % RING;
    bench_check("begin", rd_kafka_begin_transaction(loop.producers[loop.current].handle));
}

static void show_status(void)
{
    (void)fprintf(stderr, "status in=%llu commits=%zu\n", (unsigned long long)loop.records, (size_t)loop.commits);
}

static void show_end(void)
{
    const size_t count = loop.commits < SAMPLES_MAX ? loop.commits : SAMPLES_MAX;
    (void)printf("done in=%llu commits=%zu commit_p50=%.1f commit_p99=%.1f\n", (unsigned long long)loop.records,
                 (size_t)loop.commits, bench_percentile(loop.commit_ms, count, 0.5),
                 bench_percentile(loop.commit_ms, count, 0.99));
    (void)fflush(stdout);
}

/* ---- Making clients ---------------------------------------------------------------------------------------------- */

static void make_producer(struct producer *producer, const char *brokers, const char *output, int index)
{
    char text[300];
    rd_kafka_conf_t *conf = bench_conf(brokers);
    (void)snprintf(text, sizeof text, "bare-%s-%d", output, index);
    bench_set(conf, "transactional.id", text);
    bench_set(conf, "linger.ms", "20"); /* a flush does not wait for it; see connectors/kafka/handle.c */
    bench_set(conf, "batch.num.messages", "100000");
    bench_set(conf, "queue.buffering.max.messages", "100000");
    bench_set(conf, "queue.buffering.max.kbytes", "65536");
    bench_set(conf, "delivery.report.only.error", "true");
    rd_kafka_conf_set_events(conf, RD_KAFKA_EVENT_DR | RD_KAFKA_EVENT_ERROR);
    producer->handle = bench_open(RD_KAFKA_PRODUCER, conf);
    producer->events = rd_kafka_queue_get_main(producer->handle);
    producer->topic = rd_kafka_topic_new(producer->handle, output, NULL);
    producer->arena_size = (size_t)512 << 20;
    producer->arena = malloc(producer->arena_size);
    if (producer->arena == NULL) bench_die("arena", "no memory");
    loop.partitions = bench_partitions(producer->handle, output);
    if (loop.partitions == 0) bench_die(output, "is not there");
}

/* After a crash this takes half a second where a transaction was left open: one does not wait for the other. */
static void *init_producer(void *argument)
{
    struct producer *producer = argument;
    bench_check("init", rd_kafka_init_transactions(producer->handle, 30000));
    return NULL;
}

static void init_producers(void)
{
    pthread_t threads[RING];
    for (int i = 0; i < RING; i++)
        if (pthread_create(&threads[i], NULL, init_producer, &loop.producers[i]) != 0) bench_die("thread", "refused");
    for (int i = 0; i < RING; i++) (void)pthread_join(threads[i], NULL);
}

/* A restart goes on where the last commit stood. */
static void find_positions(const char *input)
{
    const int count = bench_partitions(loop.consumer, input);
    loop.positions = rd_kafka_topic_partition_list_new(8);
    for (int i = 0; i < count; i++) rd_kafka_topic_partition_list_add(loop.positions, input, i)->offset = 0;
    const rd_kafka_resp_err_t code = rd_kafka_committed(loop.consumer, loop.positions, 10000);
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR) bench_die("committed", rd_kafka_err2str(code));
    for (int i = 0; i < count; i++)
        if (loop.positions->elems[i].offset < 0) loop.positions->elems[i].offset = 0;
}

static rd_kafka_queue_t *make_consumer(const char *brokers, const char *input, const char *output)
{
    char text[300];
    rd_kafka_conf_t *conf = bench_conf(brokers);
    (void)snprintf(text, sizeof text, "bare-%s", output);
    bench_set(conf, "group.id", text);
    bench_set(conf, "enable.auto.commit", "false");
    bench_set(conf, "enable.auto.offset.store", "false");
    bench_set(conf, "isolation.level", "read_committed");
    bench_set(conf, "queued.max.messages.kbytes", "32768");
    bench_set(conf, "fetch.queue.backoff.ms", "5");
    loop.consumer = bench_open(RD_KAFKA_CONSUMER, conf);
    find_positions(input);
    if (rd_kafka_assign(loop.consumer, loop.positions) != 0) bench_die("assign", input);
    loop.group = rd_kafka_consumer_group_metadata(loop.consumer);
    return rd_kafka_queue_get_consumer(loop.consumer);
}

/* ---- The loop ---------------------------------------------------------------------------------------------------- */

static void run(rd_kafka_queue_t *queue, int64_t interval_us)
{
    bench_check("begin", rd_kafka_begin_transaction(loop.producers[0].handle));
    loop.due_us = bench_now_us() + interval_us;
    while (loop.records_wanted == 0 || loop.records < loop.records_wanted) {
        const int64_t now = bench_now_us();
        if (now >= loop.status_us) {
            show_status();
            loop.status_us = now + STATUS_US;
        }
        const bool is_due = now >= loop.due_us;
        if (is_due && loop.committed && loop.records > loop.records_committed) {
            turn();
            loop.due_us = now + interval_us;
        } else if (is_due) {
            loop.due_us = now + 1000; /* look again soon, and read on meanwhile */
        }
        const int64_t left_us = loop.due_us - bench_now_us();
        rd_kafka_consume_callback_queue(queue, left_us < 0 ? 0 : (int)((left_us + 999) / 1000), consume, NULL);
        flush_stage(&loop.producers[loop.current]);
        poll_events(&loop.producers[loop.current], 0);
    }
    while (!loop.committed) usleep(100);
    turn();
    while (!loop.committed) usleep(100);
}

int main(int argc, char **argv)
{
    if (argc < 7) bench_die("usage", "bare_loop BROKERS INPUT OUTPUT text|json:FIELD|pass INTERVAL_MS RECORDS [each]");
    loop.mode = strcmp(argv[4], "pass") == 0 ? PASS : strncmp(argv[4], "json:", 5) == 0 ? JSON : TEXT;
    loop.field = loop.mode == JSON ? argv[4] + 5 : "";
    loop.records_wanted = strtoull(argv[6], NULL, 10);
    loop.each = argc > 7 && strcmp(argv[7], "each") == 0;
    loop.words = mmap(NULL, WORDS_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (loop.words == MAP_FAILED) bench_die("mmap", strerror(errno));
    loop.words_used = 8;
    loop.committed = true;
    grow();
    for (int i = 0; i < RING; i++) make_producer(&loop.producers[i], argv[1], argv[3], i);
    init_producers(); /* before the positions are asked for: then they are decided */
    rd_kafka_queue_t *queue = make_consumer(argv[1], argv[2], argv[3]);
    pthread_t thread;
    if (sem_init(&loop.wanted, 0, 0) != 0 || pthread_create(&thread, NULL, run_commits, NULL) != 0)
        bench_die("thread", "refused");
    run(queue, strtoll(argv[5], NULL, 10) * 1000);
    show_end();
    _exit(0);
}
