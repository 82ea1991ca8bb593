#include "sim/jobs.h"

#include <inttypes.h>

#include "weir/kafka.h"

enum { KEYS = 12, RECORDS_FOR_A_KEY = 40 };

/* Keys are "k0" to "k11", and slowly more; values count the records of a run. */
static void next_record(weir_test *test, const char *topic, struct weir_record *record)
{
    (void)topic;
    int64_t *count = weir_test_value(test, "written", WEIR_EMPTY, sizeof *count);
    record->key = weir_test_format(test, "k%u", (unsigned)weir_test_random(test, KEYS + (uint64_t)*count / RECORDS_FOR_A_KEY));
    record->value = weir_test_format(test, "%" PRId64, ++*count);
}

/* How many records of this key were taken in, this one among them. */
static int64_t count_key(weir_test *test, struct weir_bytes key)
{
    return ++*(int64_t *)weir_test_value(test, "seen", key, sizeof(int64_t));
}

static struct weir_bytes decimal(weir_test *test, int64_t number) { return weir_test_format(test, "%" PRId64, number); }

static enum weir_code add(weir_keyed_task *task, void *accumulator, const struct weir_record *record)
{
    (void)task, (void)record;
    ++*(int64_t *)accumulator;
    return WEIR_OK;
}

static struct weir_stream input(weir_graph *graph, const char *name)
{
    return weir_kafka_source(graph, .name = name, .topic = name);
}

/* ---- Counting ---------------------------------------------------------------------------------------------------- */

static void define_count(weir_graph *graph, enum weir_emit_mode mode)
{
    struct weir_stream counts = weir_aggregate(weir_key_by(input(graph, "in0"), .key = NULL), .name = "count",
                                               .accumulator = WEIR_I64, .add = add, .emit = mode);
    weir_kafka_sink(counts, .name = "counts", .topic = "out0");
}

static void define_count_each(weir_graph *graph, const weir_config *config)
{
    (void)config;
    define_count(graph, WEIR_EMIT_EACH);
}

static void define_count_on_commit(weir_graph *graph, const weir_config *config)
{
    (void)config;
    define_count(graph, WEIR_EMIT_ON_COMMIT);
}

static void expect_count(weir_test *test, struct weir_bytes key, enum weir_test_order order)
{
    weir_test_expect(test, .topic = "out0", .key = key, .value = decimal(test, count_key(test, key)), .order = order);
}

static void take_count_each(weir_test *test, const char *topic, int32_t partition, const struct weir_record *record)
{
    (void)topic, (void)partition;
    expect_count(test, record->key, WEIR_TEST_IN_ORDER);
}

static void take_count_on_commit(weir_test *test, const char *topic, int32_t partition,
                                 const struct weir_record *record)
{
    (void)topic, (void)partition;
    expect_count(test, record->key, WEIR_TEST_LAST);
}

/* ---- Copying, without state -------------------------------------------------------------------------------------- */

static bool is_odd(weir_task *task, const struct weir_record *record)
{
    (void)task;
    int64_t value;
    return weir_bytes_to_i64(record->value, &value) && value % 2 != 0;
}

static void define_copy(weir_graph *graph, const weir_config *config)
{
    (void)config;
    weir_kafka_sink(weir_filter(input(graph, "in0"), .name = "odd", .filter = is_odd), .name = "copies",
                    .topic = "out0");
}

static void take_copy(weir_test *test, const char *topic, int32_t partition, const struct weir_record *record)
{
    (void)topic, (void)partition;
    int64_t value;
    if (weir_bytes_to_i64(record->value, &value) && value % 2 != 0)
        weir_test_expect(test, .topic = "out0", .key = record->key, .value = record->value);
}

/* ---- Two inputs, state, a side output ---------------------------------------------------------------------------- */

static const struct weir_state seen = { .name = "seen", .kind = WEIR_STATE_VALUE, .codec = WEIR_I64 };
static const struct weir_output thirds = { .name = "thirds" };

static enum weir_code number(weir_keyed_task *task, const struct weir_record *record)
{
    (void)record;
    int64_t *count = weir_value_i64(task, &seen);
    if (count == NULL) return WEIR_FAILED;
    const int64_t now = ++*count;
    weir_keyed_emit(task, .value = weir_format_i64(task, now));
    if (now % 3 == 0) weir_keyed_emit(task, .to = &thirds, .value = weir_format_i64(task, now));
    return WEIR_OK;
}

static void define_union(weir_graph *graph, const weir_config *config)
{
    (void)config;
    struct weir_stream both = weir_union(input(graph, "in0"), input(graph, "in1"));
    struct weir_stream numbers = weir_keyed_process(weir_key_by(both, .key = NULL), .name = "number",
                                                    .process = number, .states = { &seen }, .outputs = { &thirds });
    weir_kafka_sink(numbers, .name = "numbers", .topic = "out0");
    weir_kafka_sink(weir_side_output(numbers, &thirds), .name = "thirds", .topic = "out1");
}

static void take_union(weir_test *test, const char *topic, int32_t partition, const struct weir_record *record)
{
    (void)topic, (void)partition;
    const int64_t now = count_key(test, record->key);
    weir_test_expect(test, .topic = "out0", .key = record->key, .value = decimal(test, now));
    if (now % 3 == 0) weir_test_expect(test, .topic = "out1", .key = record->key, .value = decimal(test, now));
}

#define JOB(job_name, define_job, take_record)                                                                         \
    .size = sizeof(struct weir_test_job), .name = (job_name), .define = (define_job), .next_record = next_record,      \
    .take = (take_record)

const struct weir_test_job sim_jobs[] = {
    { JOB("count-each", define_count_each, take_count_each), .inputs = { { "in0", 0 } }, .outputs = { { "out0", 0 } } },
    { JOB("count-on-commit", define_count_on_commit, take_count_on_commit), .inputs = { { "in0", 0 } },
      .outputs = { { "out0", 0 } } },
    { JOB("copy", define_copy, take_copy), .inputs = { { "in0", 0 } }, .outputs = { { "out0", 0 } } },
    { JOB("union", define_union, take_union), .inputs = { { "in0", 0 }, { "in1", 0 } },
      .outputs = { { "out0", 0 }, { "out1", 0 } } },
};
const uint32_t sim_job_count = sizeof sim_jobs / sizeof sim_jobs[0];
