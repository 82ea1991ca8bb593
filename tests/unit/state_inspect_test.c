/* Looking into what whole jobs have written, against an oracle over their input; the job may be running. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/base.h"
#include "harness/local_job.h"
#include "harness/process.h"
#include "harness/unit.h"
#include "weir/generator.h"
#include "weir/inspect.h"
#include "weir/print.h"

enum { KEYS = 61, WORDS = 7, LIST_MAX = 9, NUMBERS = 40000 };

/* ---- A job with a state of each kind ----------------------------------------------------------------------------- */

static enum weir_code keep_largest(weir_keyed_task *task, void *so_far, const void *value)
{
    (void)task;
    if (*(const double *)value > *(double *)so_far) memcpy(so_far, value, sizeof(double));
    return WEIR_OK;
}

static enum weir_code add_length(weir_keyed_task *task, void *accumulator, const void *input)
{
    (void)task;
    *(int64_t *)accumulator += (int64_t)((const struct weir_bytes *)input)->size;
    return WEIR_OK;
}

static enum weir_code length_so_far(weir_keyed_task *task, const void *accumulator, void *output)
{
    (void)task;
    memcpy(output, accumulator, sizeof(int64_t));
    return WEIR_OK;
}

static const struct weir_aggregator lengths_of = { .add = add_length, .result = length_so_far };

static const struct weir_state count = { .name = "count", .codec = WEIR_I64 };
static const struct weir_state last = { .name = "last", .codec = WEIR_BYTES };
static const struct weir_state recent = { .name = "recent", .kind = WEIR_STATE_LIST, .codec = WEIR_BYTES };
static const struct weir_state words = { .name = "words", .kind = WEIR_STATE_MAP, .codec = WEIR_I64 };
static const struct weir_state largest = { .name = "largest", .kind = WEIR_STATE_REDUCING, .codec = WEIR_F64,
                                           .reduce = keep_largest };
static const struct weir_state length = { .name = "length", .kind = WEIR_STATE_AGGREGATING, .codec = WEIR_I64,
                                          .aggregator = &lengths_of };

static enum weir_code to_key(weir_task *task, const struct weir_record *in)
{
    int64_t number;
    ck_assert(weir_bytes_to_i64(in->value, &number));
    return weir_emit(task, .key = weir_format(task, "k%d", (int)(number % KEYS)), .value = in->value);
}

static enum weir_code remember(weir_keyed_task *task, const struct weir_record *in)
{
    int64_t number;
    ck_assert(weir_bytes_to_i64(in->value, &number));
    const int64_t seen = ++*weir_value_i64(task, &count);
    (void)weir_value_set(task, &last, in->value);
    if (seen % LIST_MAX == 0) weir_list_clear(task, &recent);
    (void)weir_list_add(task, &recent, in->value);
    (*weir_map_i64(task, &words, weir_format(task, "w%d", (int)(number % WORDS))))++;
    if (seen % 5 == 0) weir_map_remove(task, &words, weir_text("w3"));
    (void)weir_reducing_add_f64(task, &largest, (double)(number % 1000) / 4);
    return weir_aggregating_add(task, &length, &in->value);
}

static void ignore_line(void *user, const char *line, size_t size)
{
    (void)user;
    (void)line;
    (void)size;
}

static weir_graph *graph_of(uint64_t numbers, uint64_t per_second)
{
    weir_graph *graph = weir_graph_create();
    struct weir_stream all = weir_generator(graph, .name = "numbers", .count = numbers, .per_second = per_second);
    struct weir_stream keyed = weir_flat_map(all, .name = "to-key", .process = to_key);
    struct weir_stream out = weir_keyed_process(weir_key_by(keyed, .key = NULL), .name = "remember",
                                                .process = remember,
                                                .states = { &count, &last, &recent, &words, &largest, &length });
    weir_print(out, .name = "out", .line = ignore_line);
    return graph;
}

/* ---- The oracle: the same over plain arrays ---------------------------------------------------------------------- */

struct expected {
    int64_t count, last, words[WORDS], length;
    bool has_word[WORDS];
    int64_t recent[LIST_MAX];
    int recent_count;
    double largest;
};

static struct expected expected[KEYS];

static void expect(int64_t numbers)
{
    memset(expected, 0, sizeof expected);
    for (int64_t number = 0; number < numbers; number++) {
        struct expected *key = &expected[number % KEYS];
        char text[24];
        key->count++;
        key->last = number;
        if (key->count % LIST_MAX == 0) key->recent_count = 0;
        key->recent[key->recent_count++] = number;
        key->words[number % WORDS]++;
        key->has_word[number % WORDS] = true;
        if (key->count % 5 == 0) {
            key->words[3] = 0;
            key->has_word[3] = false;
        }
        if ((double)(number % 1000) / 4 > key->largest) key->largest = (double)(number % 1000) / 4;
        key->length += snprintf(text, sizeof text, "%lld", (long long)number);
    }
}

static uint64_t expected_entries(void)
{
    uint64_t entries = 0;
    for (int i = 0; i < KEYS; i++) {
        entries += expected[i].count > 0 ? 4 : 0;
        entries += (uint64_t)expected[i].recent_count;
        for (int word = 0; word < WORDS; word++) entries += expected[i].has_word[word];
    }
    return entries;
}

static int64_t number_of(struct weir_bytes bytes)
{
    int64_t number;
    ck_assert_uint_eq(bytes.size, sizeof number);
    memcpy(&number, bytes.data, sizeof number);
    return number;
}

static int64_t decimal_of(struct weir_bytes bytes)
{
    int64_t number;
    ck_assert(weir_bytes_to_i64(bytes, &number));
    return number;
}

static void check_entry(const struct weir_inspect_state *state, const struct weir_inspect_entry *entry)
{
    const int64_t index = decimal_of((struct weir_bytes){ entry->key.data + 1, entry->key.size - 1 });
    const struct expected *key = &expected[index];
    double real;
    ck_assert_uint_eq(entry->key_group, key_group_of(hash_key(entry->key), 128));
    if (strcmp(state->name, "count") == 0) {
        ck_assert_int_eq(number_of(entry->value), key->count);
    } else if (strcmp(state->name, "last") == 0) {
        ck_assert_int_eq(decimal_of(entry->value), key->last);
    } else if (strcmp(state->name, "recent") == 0) {
        ck_assert_int_lt((int)entry->position, key->recent_count);
        ck_assert_int_eq(decimal_of(entry->value), key->recent[entry->position]);
    } else if (strcmp(state->name, "words") == 0) {
        const int word = entry->element.data[1] - '0';
        ck_assert(key->has_word[word]);
        ck_assert_int_eq(number_of(entry->value), key->words[word]);
    } else if (strcmp(state->name, "largest") == 0) {
        memcpy(&real, entry->value.data, sizeof real);
        ck_assert(real == key->largest);
    } else {
        ck_assert_str_eq(state->name, "length");
        ck_assert_int_eq(number_of(entry->value), key->length);
    }
}

/* ---- Looking ----------------------------------------------------------------------------------------------------- */

static const char *store_path(void)
{
    static char path[128];
    (void)snprintf(path, sizeof path, "%s/test", local_job.directory);
    return path;
}

static void setup(void)
{
    local_job_begin();
    local_job_set("state.base.min-log-size", "64kb");
    local_job_set("execution.checkpointing.num-retained", "3");
}

static void run_job(uint64_t numbers, const char *parallelism)
{
    local_job_set("parallelism.default", parallelism);
    const struct weir_error outcome = local_job_run(graph_of(numbers, numbers * 2), NULL);
    local_job_expect_ok(&outcome);
}

static weir_inspector *open_store(uint64_t memory_bytes)
{
    weir_inspector *inspector;
    struct weir_error error;
    ck_assert_msg(weir_inspect_open(&inspector, &error, .path = store_path(), .memory_bytes = memory_bytes) == WEIR_OK,
                  "%s", error.text);
    return inspector;
}

static uint64_t check_entries(weir_inspector *inspector)
{
    struct weir_error error;
    struct weir_inspect_entry entry;
    struct weir_inspect_state state;
    uint64_t entries = 0;
    ck_assert_int_eq(weir_inspect_begin(inspector, NULL, &error), WEIR_OK);
    while (weir_inspect_next(inspector, &entry, &error)) {
        ck_assert(weir_inspect_state(inspector, entry.state, &state));
        check_entry(&state, &entry);
        entries++;
    }
    ck_assert_msg(error.code == WEIR_OK, "%s", error.text);
    return entries;
}

START_TEST(every_entry_is_what_the_job_had)
{
    static const char *const parallelisms[] = { "1", "3", "2" };
    expect(NUMBERS);
    run_job(NUMBERS, parallelisms[_i]);
    weir_inspector *inspector = open_store(0);
    ck_assert_uint_eq(check_entries(inspector), expected_entries());
    weir_inspect_close(inspector);
}
END_TEST

START_TEST(a_slice_at_a_time_is_the_same_in_the_same_order)
{
    struct weir_error error;
    struct weir_inspect_entry a, b;
    run_job(NUMBERS, "2");
    weir_inspector *whole = open_store(0), *sliced = open_store(1024);
    ck_assert_int_eq(weir_inspect_begin(whole, NULL, &error), WEIR_OK);
    ck_assert_int_eq(weir_inspect_begin(sliced, NULL, &error), WEIR_OK);
    while (weir_inspect_next(whole, &a, &error)) {
        ck_assert(weir_inspect_next(sliced, &b, &error));
        ck_assert_uint_eq(a.state, b.state);
        ck_assert(weir_bytes_equal(a.key, b.key) && weir_bytes_equal(a.value, b.value));
        ck_assert(a.is_first == b.is_first);
    }
    ck_assert(!weir_inspect_next(sliced, &b, &error));
    ck_assert_int_eq(error.code, WEIR_OK);
    weir_inspect_close(whole);
    weir_inspect_close(sliced);
}
END_TEST

START_TEST(a_filter_names_operator_state_and_key)
{
    struct weir_error error;
    struct weir_inspect_entry entry;
    expect(NUMBERS);
    run_job(NUMBERS, "2");
    weir_inspector *inspector = open_store(0);
    struct weir_inspect_filter filter = { "remember", "recent", weir_text("k7") };
    ck_assert_int_eq(weir_inspect_begin(inspector, &filter, &error), WEIR_OK);
    int found = 0;
    for (; weir_inspect_next(inspector, &entry, &error); found++) {
        ck_assert(weir_bytes_equal(entry.key, filter.key));
        ck_assert_int_eq(decimal_of(entry.value), expected[7].recent[found]);
        ck_assert_uint_eq(entry.position, (uint64_t)found);
    }
    ck_assert_int_eq(found, expected[7].recent_count);
    filter.state = "gone";
    ck_assert_int_eq(weir_inspect_begin(inspector, &filter, &error), WEIR_USAGE);
    weir_inspect_close(inspector);
}
END_TEST

START_TEST(the_newest_is_what_the_pointer_names)
{
    struct weir_inspect_store store;
    struct weir_inspect_checkpoint newest, before;
    run_job(NUMBERS, "2");
    weir_inspector *inspector = open_store(0);
    weir_inspect_store(inspector, &store);
    ck_assert(store.is_decided);
    ck_assert_str_eq(store.job, "test");
    ck_assert(weir_inspect_checkpoint(inspector, 0, &newest));
    ck_assert(newest.is_complete);
    ck_assert(weir_inspect_checkpoint(inspector, 1, &before));
    ck_assert_uint_eq(newest.parent_epoch, before.epoch);
    ck_assert_uint_lt(before.epoch, newest.epoch);
    weir_inspect_close(inspector);
}
END_TEST

START_TEST(a_whole_store_verifies)
{
    struct weir_error error;
    struct weir_inspect_report report;
    expect(NUMBERS);
    run_job(NUMBERS, "2");
    const struct weir_inspect_options options = { .size = sizeof options, .path = store_path() };
    ck_assert_msg(weir_inspect_verify(&options, NULL, NULL, &report, &error) == WEIR_OK, "%s", error.text);
    ck_assert_uint_gt(report.checkpoints, 0);
    ck_assert_uint_eq(report.problems, 0);
    ck_assert_uint_eq(report.entries, expected_entries());
}
END_TEST

/* What was being read may be deleted: then that is said, and the next look is good. */
START_TEST(looking_at_a_running_job_finds_no_damage)
{
    struct weir_error error = { .code = WEIR_OK }, outcome;
    struct weir_inspect_report report;
    int looks = 0;
    local_job_set("state.log.segment-size", "64kb");
    local_job_set("execution.checkpointing.num-retained", "1");
    weir_job *job = local_job_create(graph_of(UINT64_C(1) << 40, NUMBERS * 2));
    const struct weir_inspect_options options = { .size = sizeof options, .path = store_path() };
    const int64_t until_ms = process_now_ms() + 1000, deadline_ms = process_now_ms() + PATIENCE_MS;
    while (looks == 0 || process_now_ms() < until_ms) {
        ck_assert_msg(!weir_job_wait(job, 0, &outcome), "ended: %s", outcome.text);
        ck_assert_msg(process_now_ms() < deadline_ms, "no look was good");
        const enum weir_code code = weir_inspect_verify(&options, NULL, NULL, &report, &error);
        ck_assert_msg(code == WEIR_OK || code == WEIR_ENVIRONMENT, "%s", error.text);
        looks += code == WEIR_OK;
    }
    weir_job_cancel(job);
    ck_assert(weir_job_wait(job, PATIENCE_MS, &outcome));
    weir_job_destroy(job);
    local_job_expect_ok(&outcome);
}
END_TEST

START_TEST(a_folder_without_a_store_is_no_checkpoint)
{
    weir_inspector *inspector;
    struct weir_error error;
    ck_assert_int_eq(weir_inspect_open(&inspector, &error, .path = local_job.directory), WEIR_ENVIRONMENT);
    ck_assert_ptr_nonnull(strstr(error.text, "is no checkpoint store"));
    ck_assert_int_eq(weir_inspect_open(&inspector, &error, .path = "not-there"), WEIR_ENVIRONMENT);
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_checked_fixture(tests, setup, local_job_end);
    tcase_add_loop_test(tests, every_entry_is_what_the_job_had, 0, 3);
    tcase_add_test(tests, a_slice_at_a_time_is_the_same_in_the_same_order);
    tcase_add_test(tests, a_filter_names_operator_state_and_key);
    tcase_add_test(tests, the_newest_is_what_the_pointer_names);
    tcase_add_test(tests, a_whole_store_verifies);
    tcase_add_test(tests, looking_at_a_running_job_finds_no_damage);
    tcase_add_test(tests, a_folder_without_a_store_is_no_checkpoint);
}

int main(void)
{
    return unit_main("state_inspect", add);
}
