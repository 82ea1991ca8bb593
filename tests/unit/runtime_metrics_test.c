/* What is counted about a job, and what weir/observe.h answers about it. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness/local_job.h"
#include "harness/unit.h"
#include "runtime/job.h"
#include "weir/generator.h"
#include "weir/observe.h"
#include "weir/print.h"

/* ---- The table ------------------------------------------------------------------------------------------------------ */

static bool ends_with(const char *text, const char *end)
{
    return strlen(text) >= strlen(end) && strcmp(text + strlen(text) - strlen(end), end) == 0;
}

/* What `promtool check metrics` holds names to. */
START_TEST(names_are_as_prometheus_wants_them)
{
    struct weir_metric metric, other;
    for (size_t i = 0; weir_metric_at(i, &metric); i++) {
        ck_assert_msg(strspn(metric.name, "abcdefghijklmnopqrstuvwxyz_") == strlen(metric.name), "%s", metric.name);
        ck_assert_msg(ends_with(metric.name, "_total") == (metric.type == WEIR_METRIC_COUNTER), "%s", metric.name);
        for (const char *const *end = (const char *const[]){ "_count", "_sum", "_bucket", NULL }; *end != NULL; end++)
            ck_assert_msg(!ends_with(metric.name, *end), "%s", metric.name);
        char unit[40];
        (void)snprintf(unit, sizeof unit, "_%s%s", metric.unit, metric.type == WEIR_METRIC_COUNTER ? "_total" : "");
        ck_assert_msg(metric.unit[0] == '\0' || ends_with(metric.name, unit), "%s: %s", metric.name, unit);
        ck_assert_msg(metric.sentence[0] != '\0' && ends_with(metric.sentence, "."), "%s", metric.name);
        ck_assert_msg(metric.bound[0] != '\0', "%s", metric.name);
        for (size_t k = 0; k < i; k++) {
            ck_assert(weir_metric_at(k, &other));
            ck_assert_str_ne(metric.name, other.name);
        }
    }
    ck_assert(!weir_metric_at(METRIC_COUNT, &metric));
}
END_TEST

/* ---- Numbers -------------------------------------------------------------------------------------------------------- */

START_TEST(durations_go_into_the_bucket_whose_limit_they_do_not_pass)
{
    struct metrics_histogram histogram = { 0 };
    metrics_note(&histogram, 0);
    metrics_note(&histogram, 1000);
    metrics_note(&histogram, 1001);
    metrics_note(&histogram, 60000001);
    metrics_note(&histogram, -1);
    ck_assert_uint_eq(histogram.counts[0], 2);
    ck_assert_uint_eq(histogram.counts[1], 1);
    ck_assert_uint_eq(histogram.counts[METRICS_BUCKETS], 1);
    ck_assert_uint_eq(histogram.sum_us, 60002002);
}
END_TEST

START_TEST(time_goes_to_what_the_task_does)
{
    struct metrics_task task = { 0 };
    uint64_t times[METRICS_ACTIVITIES];
    ck_assert(!metrics_times(&task, 500, times));
    metrics_begin(&task, 1, 1000);
    ck_assert(metrics_times(&task, 1010, times));
    ck_assert_uint_eq(times[METRICS_BUSY], 10);
    metrics_switch(&task, METRICS_IDLE, 1030);
    metrics_switch(&task, METRICS_BUSY, 1130);
    metrics_switch(&task, METRICS_BACKPRESSURED, 1131);
    ck_assert(metrics_times(&task, 2131, times));
    ck_assert_uint_eq(times[METRICS_BUSY], 31);
    ck_assert_uint_eq(times[METRICS_IDLE], 100);
    ck_assert_uint_eq(times[METRICS_BACKPRESSURED], 1000);
    metrics_end(&task, 2131);
    ck_assert(!metrics_times(&task, 9000, times));
    ck_assert_uint_eq(times[METRICS_BACKPRESSURED], 1000);
    metrics_begin(&task, 2, 10000); /* of the next attempt: goes on counting */
    ck_assert(metrics_times(&task, 10001, times));
    ck_assert_uint_eq(times[METRICS_BUSY], 32);
}
END_TEST

START_TEST(lags_beyond_the_bound_are_left_out)
{
    const uint32_t parallelism = 1;
    struct metrics_job job = { 0 };
    ck_assert(metrics_init(&job, &parallelism, 1));
    struct metrics_task *task = metrics_task_at(&job, 0, 0);
    for (int i = 0; i < METRICS_SPLITS_MAX + 10; i++) {
        char name[32];
        (void)snprintf(name, sizeof name, "topic/%d", i);
        metrics_lag(task, name, i);
    }
    ck_assert_uint_eq(task->split_count, METRICS_SPLITS_MAX);
    metrics_lag(task, "topic/0", 7);
    struct metrics_split *last = task->splits;
    while (last->next != NULL) last = last->next;
    ck_assert_str_eq(last->name, "topic/0");
    ck_assert_int_eq(last->lag, 7);
    metrics_deinit(&job);
}
END_TEST

START_TEST(process_numbers_are_plausible)
{
    struct metrics_process process;
    ck_assert(metrics_read_process(&process));
    ck_assert_uint_gt(process.resident_bytes, 100000);
    ck_assert_uint_ge(process.virtual_bytes, process.resident_bytes);
    ck_assert_uint_ge(process.threads, 1);
    ck_assert_uint_ge(process.descriptors, 1);
    ck_assert_uint_ge(process.descriptors_max, process.descriptors);
    ck_assert(process.started_seconds > 1e9);
}
END_TEST

/* ---- Whole jobs ----------------------------------------------------------------------------------------------------- */

static _Atomic bool may_go_on, fails_once;

static void take_line(void *user, const char *line, size_t size)
{
    (void)user;
    (void)line;
    (void)size;
}

static enum weir_code to_key(weir_task *task, const struct weir_record *in)
{
    while (!atomic_load(&may_go_on)) continue;
    if (atomic_exchange(&fails_once, false)) return weir_fail(task, "it was told to");
    return weir_emit(task, .key = in->value, .value = in->value);
}

static enum weir_code add_one(weir_keyed_task *task, void *accumulator, const struct weir_record *in)
{
    (void)task;
    (void)in;
    ++*(int64_t *)accumulator;
    return WEIR_OK;
}

/* Two tasks: the second begins behind a rebalancing. */
static weir_graph *graph_of(uint64_t count, uint64_t per_second)
{
    weir_graph *graph = weir_graph_create();
    struct weir_stream numbers =
        weir_generator(graph, .name = "numbers", .count = count, .splits = 3, .per_second = per_second);
    struct weir_stream keyed = weir_flat_map(weir_rebalance(numbers), .name = "to-key", .process = to_key);
    struct weir_stream counts = weir_aggregate(weir_key_by(keyed, .key = NULL), .name = "count", .accumulator = WEIR_I64,
                                               .add = add_one, .emit = WEIR_EMIT_ON_COMMIT);
    weir_print(counts, .name = "out", .line = take_line);
    return graph;
}

static struct weir_subtask subtask_of(const weir_job *job, uint32_t vertex, uint32_t index)
{
    struct weir_subtask numbers;
    ck_assert(weir_job_subtask(job, vertex, index, &numbers));
    return numbers;
}

static weir_job *run_to_the_end(uint64_t count)
{
    struct weir_error outcome;
    weir_job *job = local_job_create(graph_of(count, 0));
    ck_assert_msg(weir_job_wait(job, PATIENCE_MS, &outcome), "%s", local_job.log);
    local_job_expect_ok(&outcome);
    return job;
}

START_TEST(a_record_is_counted_once_by_each_task_that_takes_it)
{
    atomic_store(&may_go_on, true);
    local_job_set("pipeline.operator-chaining.enabled", "false");
    weir_job *job = run_to_the_end(5000);
    struct weir_vertex vertex;
    uint32_t vertices = 0;
    for (; weir_job_vertex(job, vertices, &vertex); vertices++) {
        const struct weir_subtask numbers = subtask_of(job, vertices, 0);
        ck_assert_msg(numbers.records_in == 5000, "%s: %lu", vertex.name, (unsigned long)numbers.records_in);
        ck_assert_msg(numbers.records_out == 5000, "%s: %lu", vertex.name, (unsigned long)numbers.records_out);
        ck_assert_uint_gt(numbers.bytes_in, 5000);
        ck_assert_uint_gt(numbers.bytes_out, 5000);
        ck_assert(!numbers.is_running);
    }
    ck_assert_uint_ge(vertices, 3);
    weir_job_destroy(job);
}
END_TEST

START_TEST(the_graph_is_what_runs)
{
    atomic_store(&may_go_on, true);
    weir_job *job = run_to_the_end(10);
    struct weir_vertex vertex;
    struct weir_vertex_operator operator;
    struct weir_edge edge;
    ck_assert(weir_job_vertex(job, 0, &vertex));
    ck_assert(vertex.is_source);
    ck_assert(weir_job_operator(job, 0, 0, &operator));
    ck_assert_str_eq(operator.name, "numbers");
    ck_assert_str_eq(operator.kind, "source");
    ck_assert_str_eq(operator.connector, "generator");
    ck_assert(!weir_job_operator(job, 0, vertex.operator_count, &operator));
    ck_assert(weir_job_vertex(job, 1, &vertex));
    ck_assert(!vertex.is_source);
    ck_assert(weir_job_operator(job, 1, vertex.operator_count - 1, &operator));
    ck_assert_str_eq(operator.name, "out");
    ck_assert(!weir_job_vertex(job, 2, &vertex));
    ck_assert(weir_job_edge(job, 0, &edge));
    ck_assert_uint_eq(edge.source, 0);
    ck_assert_uint_eq(edge.target, 1);
    ck_assert_str_eq(edge.exchange, "rebalance");
    ck_assert(!weir_job_edge(job, 1, &edge));
    ck_assert(!weir_job_operator(job, 2, 0, &operator));
    weir_job_destroy(job);
}
END_TEST

START_TEST(a_checkpoint_has_its_phases_and_they_are_parts_of_the_whole)
{
    atomic_store(&may_go_on, true);
    weir_job *job = run_to_the_end(5000);
    struct weir_checkpoint checkpoint;
    uint64_t before = UINT64_MAX, records = 0;
    uint32_t count = 0;
    for (; weir_job_checkpoint_at(job, count, &checkpoint); count++) {
        ck_assert_uint_lt(checkpoint.epoch, before);
        before = checkpoint.epoch;
        ck_assert_int_eq(checkpoint.state, WEIR_CHECKPOINT_COMPLETED);
        for (int i = 0; i < WEIR_PHASES; i++)
            ck_assert_msg(checkpoint.phase_us[i] >= 0 && checkpoint.phase_us[i] <= checkpoint.duration_us, "%s",
                          weir_phase_name((enum weir_checkpoint_phase)i));
        ck_assert_int_gt(checkpoint.triggered_ms, 1000000000000);
        ck_assert_uint_gt(checkpoint.frame_bytes, 0);
        records += checkpoint.records_out;
    }
    ck_assert_uint_ge(count, 1);
    if (count < WEIR_CHECKPOINTS_KEPT) ck_assert_uint_eq(records, 5000);
    weir_job_destroy(job);
}
END_TEST

START_TEST(a_failure_is_remembered_and_numbers_go_on_behind_it)
{
    atomic_store(&may_go_on, true);
    atomic_store(&fails_once, true);
    local_job_set("restart-strategy.exponential-delay.initial-backoff", "1ms");
    weir_job *job = run_to_the_end(5000);
    struct weir_failure failure;
    ck_assert(weir_job_failure_at(job, 0, &failure));
    ck_assert_ptr_nonnull(strstr(failure.text, "it was told to"));
    ck_assert(!failure.ended_the_job);
    ck_assert_uint_eq(failure.number, 1);
    ck_assert(!weir_job_failure_at(job, 1, &failure));
    ck_assert_uint_ge(subtask_of(job, 1, 0).records_in, 5000); /* what came before the failure came again */
    weir_job_destroy(job);
}
END_TEST

START_TEST(who_waits_for_room_is_backpressured_and_not_busy)
{
    char why[200];
    atomic_store(&may_go_on, false);
    local_job_set("pipeline.channel.capacity", "2");
    weir_job *job = local_job_create(graph_of(1000000, 0));
    while (subtask_of(job, 0, 0).backpressured_us < 20000) continue;
    while (subtask_of(job, 1, 0).busy_us == 0) continue; /* it begins when the machine lets it; then it is inside one call */
    ck_assert(subtask_of(job, 0, 0).is_running);
    ck_assert(weir_job_is_alive(job, 60000, why, sizeof why));
    atomic_store(&may_go_on, true);
    weir_job_cancel(job);
    weir_job_destroy(job);
}
END_TEST

START_TEST(who_does_not_go_round_any_more_is_noticed)
{
    char why[200];
    atomic_store(&may_go_on, true);
    weir_job *job = run_to_the_end(10);
    struct metrics_task *task = metrics_task_at(&job->metrics, 1, 0);
    ck_assert(weir_job_is_alive(job, 60000, why, sizeof why)); /* it has ended, which is no standstill */
    metrics_set(&job->metrics.beat_us, 1);
    ck_assert(!weir_job_is_alive(job, 60000, why, sizeof why));
    ck_assert_ptr_nonnull(strstr(why, "job thread"));
    metrics_set(&job->metrics.beat_us, 0);
    metrics_begin(task, 9, 1);
    ck_assert(weir_job_is_alive(job, 60000, why, sizeof why)); /* it opens, for as long as it takes */
    metrics_set(&task->beat_us, 1);
    ck_assert(!weir_job_is_alive(job, 60000, why, sizeof why));
    ck_assert_ptr_nonnull(strstr(why, "subtask 0 of 'to-key"));
    metrics_switch(task, METRICS_IDLE, 2);
    ck_assert(weir_job_is_alive(job, 60000, why, sizeof why)); /* who waits may wait */
    weir_job_destroy(job);
}
END_TEST

struct sum {
    uint32_t count;
    int64_t lag;
    bool is_unknown;
};

static void add_lag(void *user, const struct weir_split_lag *lag)
{
    struct sum *sum = user;
    ck_assert_str_eq(lag->source, "numbers");
    sum->count++;
    sum->lag += lag->lag;
    sum->is_unknown |= lag->lag < 0;
}

START_TEST(what_waits_is_known_for_each_split)
{
    atomic_store(&may_go_on, true);
    weir_job *job = local_job_create(graph_of(100000, 1000));
    struct sum sum = { 0 };
    while (sum.count < 3 || sum.is_unknown) {
        sum = (struct sum){ 0 };
        weir_job_lags(job, add_lag, &sum);
    }
    ck_assert_int_gt(sum.lag, 0);
    ck_assert_int_le(sum.lag, 100000);
    weir_job_cancel(job);
    weir_job_destroy(job);
}
END_TEST

/* ---- Samples -------------------------------------------------------------------------------------------------------- */

struct seen {
    const struct weir_metric *last;
    bool seen[METRIC_COUNT];
    double bucket, committed, records;
};

static void take_sample(void *user, const struct weir_sample *sample)
{
    struct seen *seen = user;
    const size_t index = (size_t)(sample->metric - metrics_table);
    ck_assert_uint_lt(index, METRIC_COUNT);
    if (sample->metric != seen->last) {
        ck_assert_msg(!seen->seen[index], "%s comes in two places", sample->metric->name);
        ck_assert_msg(seen->last == NULL || sample->metric > seen->last, "%s: not in order", sample->metric->name);
    }
    seen->last = sample->metric;
    seen->seen[index] = true;
    for (int i = 0; i < WEIR_METRIC_LABELS_MAX; i++)
        ck_assert_msg((sample->metric->labels[i] == NULL) == (sample->values[i] == NULL), "%s", sample->metric->name);
    ck_assert(sample->value >= 0);
    ck_assert((sample->limit != NULL) == (strcmp(sample->suffix, "_bucket") == 0));
    if (index == METRIC_CHECKPOINT && sample->limit != NULL) {
        ck_assert(sample->value >= seen->bucket);
        seen->bucket = sample->value;
    }
    if (index == METRIC_CHECKPOINTS) seen->committed = sample->value;
    if (index == METRIC_COMMITTED) seen->records = sample->value;
}

START_TEST(every_metric_of_the_table_is_told)
{
    atomic_store(&may_go_on, true);
    weir_job *job = run_to_the_end(5000);
    struct seen seen = { 0 };
    weir_job_metrics(job, take_sample, &seen);
    for (size_t i = 0; i < METRIC_COUNT; i++) ck_assert_msg(seen.seen[i], "%s", metrics_table[i].name);
    ck_assert_double_ge(seen.committed, 1);
    ck_assert_double_eq(seen.bucket, seen.committed);
    ck_assert_double_eq(seen.records, 5000);
    weir_job_destroy(job);
}
END_TEST

/* ---- A sink whose output takes nothing ------------------------------------------------------------------------------ */

static uint64_t letters; /* of the epoch */

static enum weir_code letters_open(const void *options, const struct weir_connector_context *context, void *decider,
                                   void **sink, struct weir_error *failure)
{
    (void)options, (void)context, (void)decider, (void)failure;
    *sink = &letters;
    return WEIR_OK;
}
static void letters_close(void *sink) { (void)sink; }
static enum weir_code letters_writer_open(void *sink, uint32_t subtask, uint64_t epoch, struct weir_waker waker,
                                          void **writer, struct weir_error *failure)
{
    (void)subtask, (void)epoch, (void)waker, (void)failure;
    letters = 0;
    *writer = sink;
    return WEIR_OK;
}
static bool letters_room(void *writer) { return (void)writer, true; }
static enum weir_code letters_write(void *writer, const struct weir_record *record, struct weir_error *failure)
{
    (void)writer, (void)record, (void)failure;
    letters++;
    return WEIR_OK;
}
static enum weir_code letters_prepare(void *writer, uint64_t epoch, struct weir_output_totals *totals,
                                      struct weir_error *failure)
{
    (void)writer, (void)epoch, (void)failure;
    totals->dead_letters += letters;
    letters = 0;
    return WEIR_OK;
}
static enum weir_code letters_proceed(void *writer, uint64_t epoch, struct weir_error *failure)
{
    (void)writer, (void)epoch, (void)failure;
    return WEIR_OK;
}
static const struct weir_sink_type letters_type = {
    .size = sizeof(letters_type), .kind = "letters", .open = letters_open, .close = letters_close,
    .writer_open = letters_writer_open, .writer_room = letters_room, .writer_write = letters_write,
    .writer_prepare = letters_prepare, .writer_proceed = letters_proceed, .writer_close = letters_close,
};

static void take_dead_letters(void *user, const struct weir_sample *sample)
{
    if (sample->metric == &metrics_table[METRIC_DEAD_LETTERS]) *(double *)user = sample->value;
}

static enum weir_code fail_late(weir_task *task, const struct weir_record *in)
{
    int64_t number;
    if (!weir_bytes_to_i64(in->value, &number)) return weir_fail(task, "no number");
    if (number == 15000 && atomic_exchange(&fails_once, false)) return weir_fail(task, "it was told to");
    return weir_emit(task, .key = in->value, .value = in->value);
}

/* Also one whose answer the failure overtook; unless there were too many to be remembered. */
static void completed_checkpoints_add_up_to(const weir_job *job, uint64_t wanted)
{
    struct weir_checkpoint checkpoint;
    uint64_t records = 0;
    uint32_t count = 0;
    for (; weir_job_checkpoint_at(job, count, &checkpoint); count++)
        if (checkpoint.state == WEIR_CHECKPOINT_COMPLETED) records += checkpoint.records_out;
    if (count < WEIR_CHECKPOINTS_KEPT) ck_assert_uint_eq(records, wanted);
}

/* One failure on the way: what is replayed counts once. */
START_TEST(dead_letters_are_counted_when_they_are_committed)
{
    double counted = -1;
    struct weir_error outcome;
    atomic_store(&fails_once, true);
    local_job_set("restart-strategy.exponential-delay.initial-backoff", "1ms");
    weir_graph *graph = weir_graph_create();
    struct weir_stream numbers = weir_generator(graph, .name = "numbers", .count = 20000, .per_second = 100000);
    weir_sink(weir_flat_map(numbers, .name = "fail-late", .process = fail_late), .name = "out", .type = &letters_type);
    weir_job *job = local_job_create(graph);
    ck_assert_msg(weir_job_wait(job, PATIENCE_MS, &outcome), "%s", local_job.log);
    local_job_expect_ok(&outcome);
    ck_assert_uint_eq(local_job_status(job).restarts, 1);
    weir_job_metrics(job, take_dead_letters, &counted);
    ck_assert_uint_eq(local_job_status(job).records_out, 20000);
    ck_assert_double_eq(counted, 20000);
    completed_checkpoints_add_up_to(job, 20000);
    weir_job_destroy(job);
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_checked_fixture(tests, local_job_begin, local_job_end);
    tcase_add_test(tests, names_are_as_prometheus_wants_them);
    tcase_add_test(tests, durations_go_into_the_bucket_whose_limit_they_do_not_pass);
    tcase_add_test(tests, time_goes_to_what_the_task_does);
    tcase_add_test(tests, lags_beyond_the_bound_are_left_out);
    tcase_add_test(tests, process_numbers_are_plausible);
    tcase_add_test(tests, a_record_is_counted_once_by_each_task_that_takes_it);
    tcase_add_test(tests, the_graph_is_what_runs);
    tcase_add_test(tests, a_checkpoint_has_its_phases_and_they_are_parts_of_the_whole);
    tcase_add_test(tests, a_failure_is_remembered_and_numbers_go_on_behind_it);
    tcase_add_test(tests, who_waits_for_room_is_backpressured_and_not_busy);
    tcase_add_test(tests, who_does_not_go_round_any_more_is_noticed);
    tcase_add_test(tests, what_waits_is_known_for_each_split);
    tcase_add_test(tests, every_metric_of_the_table_is_told);
    tcase_add_test(tests, dead_letters_are_counted_when_they_are_committed);
}

int main(void) { return unit_main("metrics", add); }
