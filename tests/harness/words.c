#include "words.h"

#include <check.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "broker.h"
#include "reader.h"

enum { TEXT_MAX = 65536, WORDS_MAX = 4096 };

void words_put(const char *topic, int partition, const char *line) { broker_put(topic, partition, NULL, line); }

void words_put_many(const char *topic, int partition, const char *word, int count)
{
    rd_kafka_t *producer = broker_producer(NULL, "linger.ms=5");
    const struct weir_record record = { .key = WEIR_NULL, .value = weir_text(word), .time_ms = WEIR_TIME_UNSET };
    for (int i = 0; i < count; i++) broker_produce(producer, topic, partition, &record);
    broker_producer_close(producer);
}

/* ---- Reading -------------------------------------------------------------------------------------------------------- */

struct word {
    char text[64];
    int64_t count;
};

static int compare_words(const void *a, const void *b)
{
    const struct word *x = a, *y = b;
    const int order = strcmp(x->text, y->text);
    return order != 0 ? order : (x->count > y->count) - (x->count < y->count);
}

static struct word read_word(const rd_kafka_message_t *message)
{
    struct word word;
    const struct weir_bytes value = { message->payload, message->len };
    ck_assert(message->key != NULL && message->payload != NULL && message->key_len < sizeof word.text);
    memcpy(word.text, message->key, message->key_len);
    word.text[message->key_len] = '\0';
    ck_assert_msg(weir_bytes_to_i64(value, &word.count), "offset %" PRId64 " has no count", message->offset);
    return word;
}

static size_t find(const struct word *words, size_t count, const char *text)
{
    size_t i = 0;
    while (i < count && strcmp(words[i].text, text) != 0) i++;
    return i;
}

static const char *join(struct word *words, size_t count)
{
    static char text[TEXT_MAX];
    size_t used = 0;
    qsort(words, count, sizeof *words, compare_words);
    text[0] = '\0';
    for (size_t i = 0; i < count && used < sizeof text; i++)
        used += (size_t)snprintf(text + used, sizeof text - used, "%s%s=%" PRId64, i == 0 ? "" : " ", words[i].text,
                                 words[i].count);
    ck_assert_uint_lt(used, sizeof text);
    return text;
}

struct words {
    struct word *items;
    size_t count;
    bool all;
};

static void take_word(void *user, const rd_kafka_message_t *message)
{
    struct words *words = user;
    const struct word word = read_word(message);
    const size_t at = words->all ? words->count : find(words->items, words->count, word.text);
    ck_assert_msg(at == words->count || word.count > words->items[at].count,
                  "'%s' goes from %" PRId64 " to %" PRId64 " at offset %" PRId64 " of partition %d", word.text,
                  words->items[at].count, word.count, message->offset, message->partition);
    words->items[at] = word;
    if (at == words->count) words->count++;
    ck_assert_uint_lt(words->count, WORDS_MAX);
}

/* One for the fact, or for each cluster in turn. */
static rd_kafka_t *committed_reader(void)
{
    static rd_kafka_t *reader;
    static char address[256];
    static pid_t owner;
    if (owner == getpid() && strcmp(address, broker_address()) == 0) return reader;
    owner = getpid();
    (void)snprintf(address, sizeof address, "%s", broker_address());
    return reader = reader_open("words", "read_committed");
}

static void read_all_of(const char *topic, int partitions, void (*take)(void *, const rd_kafka_message_t *), void *user)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(partitions);
    for (int i = 0; i < partitions; i++) rd_kafka_topic_partition_list_add(list, topic, i)->offset = 0;
    reader_to_end(committed_reader(), list, take, user);
    rd_kafka_topic_partition_list_destroy(list);
}

static const char *read_words(const char *topic, int partitions, bool all)
{
    struct words words = { .items = calloc(WORDS_MAX, sizeof *words.items), .all = all };
    ck_assert_ptr_nonnull(words.items);
    read_all_of(topic, partitions, take_word, &words);
    const char *text = join(words.items, words.count);
    free(words.items);
    return text;
}

const char *words_read(const char *topic, int partitions) { return read_words(topic, partitions, false); }
const char *words_read_all(const char *topic, int partitions) { return read_words(topic, partitions, true); }

static void count_one(void *user, const rd_kafka_message_t *message)
{
    (void)message;
    ++*(int *)user;
}

int words_count(const char *topic, int partitions)
{
    int count = 0;
    read_all_of(topic, partitions, count_one, &count);
    return count;
}

void words_await(const char *topic, int partitions, const char *expected)
{
    const int64_t deadline = process_now_ms() + PATIENCE_MS;
    for (;;) {
        const char *found = words_read(topic, partitions);
        if (strcmp(found, expected) == 0) return;
        ck_assert_msg(process_now_ms() < deadline, "%s holds '%s' instead of '%s'", topic, found, expected);
        usleep(10000);
    }
}

/* ---- A job ---------------------------------------------------------------------------------------------------------- */

struct words_job words_job(int inputs, int outputs)
{
    struct words_job job = { .inputs = inputs, .outputs = outputs };
    job.input = broker_topic("lines", inputs);
    job.output = broker_topic("counts", outputs);
    job.job = broker_name("words");
    job.options = (struct process_job){ .program = "word-count", .brokers = broker_address(), .job = job.job,
                                        .input = job.input, .output = job.output,
                                        .checkpoints = process_path("%s", job.job) };
    words_set(&job, "--checkpoint-interval", "20ms");
    return job;
}

void words_set(struct words_job *job, const char *argument, const char *value)
{
    size_t count = 0;
    const size_t capacity = sizeof job->options.settings / sizeof job->options.settings[0];
    while (job->options.settings[count] != NULL) count++;
    ck_assert_uint_lt(count + 2, capacity);
    job->options.settings[count++] = argument;
    if (value != NULL) job->options.settings[count] = value;
}

void words_start(struct words_job *job, struct process *process)
{
    process_start_job(process, &job->options, NULL);
    process_await_running(process);
}

void words_start_until(struct words_job *job, struct process *process, const char *expected)
{
    words_start(job, process);
    words_await(job->output, job->outputs, expected);
}

void words_run(struct words_job *job)
{
    struct process process;
    process_start_job(&process, &job->options, "--bounded", NULL);
    process_expect_end(&process, 0, NULL);
    process_free(&process);
}

void words_expect_all_committed(const struct words_job *job)
{
    for (int i = 0; i < job->outputs; i++)
        ck_assert_int_eq(broker_end(job->output, i, true), broker_end(job->output, i, false));
    for (int i = 0; i < job->inputs; i++) {
        const int64_t end = broker_end(job->input, i, true), offset = broker_group_offset(job->job, job->input, i);
        ck_assert_msg(offset == end || (offset == -1 && end == 0), "%s/%d: the group is at %" PRId64 " of %" PRId64, job->input,
                      i, offset, end);
    }
}
