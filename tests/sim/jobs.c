#include "sim/jobs.h"

#include <string.h>

#include "weir/kafka.h"

int32_t job_key_parse(struct weir_bytes key)
{
    int64_t number;
    if (key.size < 2 || key.data[0] != 'k') return -1;
    if (!weir_bytes_to_i64((struct weir_bytes){ key.data + 1, key.size - 1 }, &number)) return -1;
    return number >= 0 && number < JOB_KEYS ? (int32_t)number : -1;
}

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
static void define_count_each(weir_graph *graph) { define_count(graph, WEIR_EMIT_EACH); }
static void define_count_on_commit(weir_graph *graph) { define_count(graph, WEIR_EMIT_ON_COMMIT); }

static void fold_count(int64_t *total, int64_t value, void (*expect)(void *user, uint32_t output, int64_t value),
                       void *user)
{
    (void)value;
    expect(user, 0, ++*total);
}

/* ---- Copying, without state -------------------------------------------------------------------------------------- */

static bool is_odd(weir_task *task, const struct weir_record *record)
{
    (void)task;
    int64_t value;
    return weir_bytes_to_i64(record->value, &value) && value % 2 != 0;
}

static void define_copy(weir_graph *graph)
{
    weir_kafka_sink(weir_filter(input(graph, "in0"), .name = "odd", .filter = is_odd), .name = "copies",
                    .topic = "out0");
}

static void fold_copy(int64_t *total, int64_t value, void (*expect)(void *user, uint32_t output, int64_t value),
                      void *user)
{
    (void)total;
    if (value % 2 != 0) expect(user, 0, value);
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

static void define_union(weir_graph *graph)
{
    struct weir_stream both = weir_union(input(graph, "in0"), input(graph, "in1"));
    struct weir_stream numbers = weir_keyed_process(weir_key_by(both, .key = NULL), .name = "number",
                                                    .process = number, .states = { &seen }, .outputs = { &thirds });
    weir_kafka_sink(numbers, .name = "numbers", .topic = "out0");
    weir_kafka_sink(weir_side_output(numbers, &thirds), .name = "thirds", .topic = "out1");
}

static void fold_union(int64_t *total, int64_t value, void (*expect)(void *user, uint32_t output, int64_t value),
                       void *user)
{
    (void)value;
    ++*total;
    expect(user, 0, *total);
    if (*total % 3 == 0) expect(user, 1, *total);
}

const struct job_kind job_kinds[] = {
    { "count-each", 1, 1, define_count_each, fold_count },
    { "count-on-commit", 1, 1, define_count_on_commit, NULL },
    { "copy", 1, 1, define_copy, fold_copy },
    { "union", 2, 2, define_union, fold_union },
};
const uint32_t job_kind_count = sizeof job_kinds / sizeof job_kinds[0];
