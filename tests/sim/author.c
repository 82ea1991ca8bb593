#include "sim/author.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/base.h"
#include "base/hash.h"
#include "sim/oracle.h"
#include "sim/sched.h"

enum { VALUE_BUCKETS = 256, SHOWN_MAX = 48, SHOWN_SIZE = 4 * SHOWN_MAX + 8 };

struct value {
    struct value *next;
    const char *name;
    struct weir_bytes key;
    size_t size;
    void *memory;
};

struct expected {
    const char *topic;
    struct weir_bytes key, value;
    int64_t time_ms;
    enum weir_test_order order;
    bool has_come;
};

struct weir_test {
    const struct weir_test_job *job;
    struct arena scratch; /* of one callback */
    struct arena commit;  /* of what one commit is expected to bring */
    struct arena run;
    VEC(struct expected) expected;
    struct value *values[VALUE_BUCKETS];
};

static struct weir_test authors[AUTHORS], *author = authors;

void author_select(uint32_t number)
{
    CHECK(number < AUTHORS);
    author = &authors[number];
}

static void *checked(void *memory)
{
    CHECK(memory != NULL);
    return memory;
}

static struct weir_bytes keep(struct arena *arena, struct weir_bytes bytes)
{
    if (!weir_is_set(bytes) || weir_is_null(bytes)) return WEIR_NULL;
    return (struct weir_bytes){ checked(arena_copy(arena, bytes.data, bytes.size)), bytes.size };
}

/* ---- What callbacks are given ------------------------------------------------------------------------------------ */

void *weir_test_user(weir_test *test) { return test->job->user; }

uint64_t weir_test_random(weir_test *test, uint64_t limit)
{
    (void)test;
    return sched_random_below(limit);
}

struct weir_bytes weir_test_format(weir_test *test, const char *format, ...)
{
    va_list arguments, again;
    va_start(arguments, format);
    va_copy(again, arguments);
    const int size = vsnprintf(NULL, 0, format, arguments);
    CHECK(size >= 0);
    char *text = checked(arena_take(&test->scratch, (size_t)size + 1));
    (void)vsnprintf(text, (size_t)size + 1, format, again);
    va_end(again);
    va_end(arguments);
    return (struct weir_bytes){ text, (size_t)size };
}

void weir_test_fail(weir_test *test, const char *format, ...)
{
    (void)test;
    char text[500];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    oracle_fail("%s", text);
}

void *weir_test_value(weir_test *test, const char *name, struct weir_bytes key, size_t size)
{
    struct value **at = &test->values[hash_64(key.data, key.size) % VALUE_BUCKETS];
    for (; *at != NULL; at = &(*at)->next)
        if (weir_bytes_equal((*at)->key, key) && strcmp((*at)->name, name) == 0) {
            CHECK((*at)->size == size);
            return (*at)->memory;
        }
    struct value *value = checked(arena_alloc(&test->run, sizeof *value));
    *value = (struct value){ .name = checked(arena_text(&test->run, name)), .key = keep(&test->run, key), .size = size,
                             .memory = checked(arena_alloc(&test->run, size)) };
    memset(value->memory, 0, size);
    *at = value;
    return value->memory;
}

/* ---- What a commit must bring ------------------------------------------------------------------------------------ */

static bool is_same_place(const struct expected *expected, const char *topic, struct weir_bytes key)
{
    return !expected->has_come && strcmp(expected->topic, topic) == 0 && weir_bytes_equal(expected->key, key);
}

/* What was expected last for this topic and key; NULL when nothing was. */
static struct expected *find_last(struct weir_test *test, const char *topic, struct weir_bytes key)
{
    for (size_t i = test->expected.count; i > 0; i--)
        if (is_same_place(&test->expected.items[i - 1], topic, key)) return &test->expected.items[i - 1];
    return NULL;
}

void weir_test_expect_(weir_test *test, const struct weir_test_expected *expected)
{
    CHECK(expected->size == sizeof *expected && expected->topic != NULL);
    const struct weir_bytes key = keep(&test->commit, expected->key), value = keep(&test->commit, expected->value);
    struct expected *place = NULL;
    if (expected->order == WEIR_TEST_LAST) place = find_last(test, expected->topic, key);
    if (place == NULL) place = checked(vec_push(&test->expected));
    *place = (struct expected){ .topic = checked(arena_text(&test->commit, expected->topic)), .key = key,
                                .value = value, .time_ms = expected->time_ms,
                                .order = weir_is_null(key) ? WEIR_TEST_ANY_ORDER : expected->order };
}

/* Bytes for a person: quoted, what cannot be printed as \xNN, cut when long. */
static const char *shown(char text[SHOWN_SIZE], struct weir_bytes bytes)
{
    if (!weir_is_set(bytes) || weir_is_null(bytes)) return "null";
    char *at = text;
    *at++ = '"';
    for (size_t i = 0; i < bytes.size && i < SHOWN_MAX; i++) {
        const unsigned char byte = (unsigned char)bytes.data[i];
        if (byte >= ' ' && byte < 0x7f && byte != '"' && byte != '\\') *at++ = (char)byte;
        else at += snprintf(at, 5, "\\x%02x", byte);
    }
    (void)snprintf(at, 5, "%s\"", bytes.size > SHOWN_MAX ? "..." : "");
    return text;
}

static bool is_equal(const struct expected *expected, const struct weir_record *record)
{
    return weir_bytes_equal(expected->value, record->value) &&
           (expected->time_ms == 0 || expected->time_ms == record->time_ms);
}

/* A record has come out: it must be the next one for its key, or any one where order is free. */
static void compare(struct weir_test *test, const char *topic, const struct weir_record *record)
{
    const struct expected *instead = NULL;
    char key[SHOWN_SIZE], value[SHOWN_SIZE], wanted[SHOWN_SIZE];
    for (size_t i = 0; i < test->expected.count; i++) {
        struct expected *expected = &test->expected.items[i];
        if (!is_same_place(expected, topic, record->key)) continue;
        if (is_equal(expected, record)) {
            expected->has_come = true;
            return;
        }
        if (expected->order == WEIR_TEST_ANY_ORDER) continue;
        instead = expected;
        break;
    }
    if (instead == NULL)
        oracle_fail("%s has %s = %s, which nothing in the input asks for", topic, shown(key, record->key),
                    shown(value, record->value));
    else if (weir_bytes_equal(instead->value, record->value))
        oracle_fail("%s has %s = %s of time %" PRId64 " instead of %" PRId64, topic, shown(key, record->key),
                    shown(value, record->value), record->time_ms, instead->time_ms);
    else
        oracle_fail("%s has %s = %s instead of %s", topic, shown(key, record->key), shown(value, record->value),
                    shown(wanted, instead->value));
}

static void check_rest(struct weir_test *test)
{
    char key[SHOWN_SIZE], value[SHOWN_SIZE];
    for (size_t i = 0; i < test->expected.count; i++) {
        const struct expected *expected = &test->expected.items[i];
        if (!expected->has_come && !oracle_was_written(expected->topic, expected->key, expected->value))
            oracle_fail("%s lacks %s = %s", expected->topic, shown(key, expected->key), shown(value, expected->value));
    }
    test->expected.count = 0;
    arena_reset(&test->commit);
}

/* ---- Calling back ------------------------------------------------------------------------------------------------ */

static const char *topics_lack(const struct weir_test_topic topics[WEIR_TEST_TOPICS_MAX], const char *none)
{
    if (topics[0].name == NULL) return none;
    for (size_t i = 0; i < WEIR_TEST_TOPICS_MAX && topics[i].name != NULL; i++)
        if (topics[i].partitions < 0 || topics[i].partitions > WEIR_TEST_PARTITIONS_MAX)
            return "a topic has 1 to 16 partitions, or 0 to have them drawn";
    return NULL;
}

const char *author_lacks(const struct weir_test_job *job)
{
    if (job->size != sizeof *job) return ".size is not that of struct weir_test_job";
    if (job->name == NULL) return ".name is missing";
    if (job->define == NULL) return ".define is missing: it declares the graph";
    if (job->next_record == NULL) return ".next_record is missing: without input nothing happens";
    if (job->take == NULL) return ".take is missing: without an oracle everything is right";
    for (const char *const *setting = job->settings; setting != NULL && *setting != NULL; setting++)
        if (strchr(*setting, '=') == NULL) return ".settings are texts with an equals sign, \"key=value\"";
    const char *lack = topics_lack(job->inputs, ".inputs names no topic");
    return lack != NULL ? lack : topics_lack(job->outputs, ".outputs names no topic");
}

void author_begin(const struct weir_test_job *job)
{
    memset(author, 0, sizeof *author);
    author->job = job;
    arena_init(&author->scratch, 4096);
    arena_init(&author->commit, 4096);
    arena_init(&author->run, 16384);
    if (job->begin != NULL) job->begin(author);
}

void author_end(void)
{
    vec_free(&author->expected);
    arena_deinit(&author->scratch);
    arena_deinit(&author->commit);
    arena_deinit(&author->run);
}

void author_next(const char *topic, struct weir_record *record)
{
    arena_reset(&author->scratch);
    author->job->next_record(author, topic, record);
    if (!weir_is_set(record->key)) record->key = WEIR_NULL;
    if (!weir_is_set(record->value)) record->value = WEIR_NULL;
}

void author_take(const char *topic, int32_t partition, const struct weir_record *record)
{
    arena_reset(&author->scratch);
    author->job->take(author, topic, partition, record);
}

void author_put(const char *topic, int32_t partition, const struct weir_record *record)
{
    arena_reset(&author->scratch);
    if (author->job->put != NULL) author->job->put(author, topic, partition, record);
    else compare(author, topic, record);
}

void author_decide(void)
{
    arena_reset(&author->scratch);
    if (author->job->put == NULL) check_rest(author);
    if (author->job->decided != NULL) author->job->decided(author);
}

void author_finish(void)
{
    arena_reset(&author->scratch);
    if (author->job->end != NULL) author->job->end(author);
}
