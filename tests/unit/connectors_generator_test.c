/* The generator source, through the calls that the runtime makes. */
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "graph/graph.h"
#include "harness/unit.h"
#include "weir/generator.h"

static int64_t clock_us;
static _Atomic int wakes;

static int64_t monotonic_us(void *user)
{
    (void)user;
    return clock_us;
}
static void wake(void *user)
{
    (void)user;
    atomic_fetch_add(&wakes, 1);
}

static const struct weir_environment environment = { .monotonic_us = monotonic_us };

struct bed {
    weir_graph *graph;
    const struct weir_source_type *type;
    void *source;
    void *reader;
    struct weir_splits splits;
    struct weir_batch *batch;
    char text[20000];
};

static enum weir_code open_source(struct bed *bed, struct weir_generator_options options, bool bounded,
                                  struct weir_error *error)
{
    *bed = (struct bed){ .graph = weir_graph_create(), .batch = batch_create() };
    options.size = sizeof options;
    options.name = "numbers";
    weir_generator_(bed->graph, &options);
    ck_assert_int_eq(weir_graph_check(bed->graph, error), WEIR_OK);
    const struct operator_spec *spec = &bed->graph->nodes.items[0]->spec;
    bed->type = spec->source.type;
    const struct weir_connector_context context = { .environment = &environment, .parallelism = 1, .bounded = bounded };
    return bed->type->open(spec->source.options, &context, &bed->source, error);
}

static enum weir_code discover(struct bed *bed, const struct weir_splits *known, bool verify, struct weir_error *error)
{
    const bool cancelled = false;
    return bed->type->discover(bed->source, known, known->count == 0, verify, &cancelled, &bed->splits, error);
}

static void open_reader(struct bed *bed)
{
    struct weir_error error;
    ck_assert_int_eq(bed->type->reader_open(bed->source, 0, (struct weir_waker){ .wake = wake }, &bed->reader, &error),
                     WEIR_OK);
    for (size_t i = 0; i < bed->splits.count; i++)
        ck_assert_int_eq(bed->type->reader_add(bed->reader, &bed->splits.items[i], &error), WEIR_OK);
}

static void open_bed(struct bed *bed, struct weir_generator_options options)
{
    struct weir_error error = { .text = "" };
    ck_assert_msg(open_source(bed, options, false, &error) == WEIR_OK, "%s", error.text);
    ck_assert_msg(discover(bed, &(struct weir_splits){ 0 }, true, &error) == WEIR_OK, "%s", error.text);
    open_reader(bed);
}

static void close_reader(struct bed *bed)
{
    bed->type->reader_close(bed->reader);
    bed->reader = NULL;
}

static void close_bed(struct bed *bed)
{
    if (bed->reader != NULL) close_reader(bed);
    bed->type->close(bed->source);
    weir_splits_clear(&bed->splits);
    batch_release(bed->batch);
    weir_graph_destroy(bed->graph);
}

/* One poll; the values of its records, separated by spaces. */
static const char *poll(struct bed *bed, enum weir_poll expected)
{
    struct weir_error error;
    batch_clear(bed->batch);
    ck_assert_int_eq(bed->type->reader_poll(bed->reader, bed->batch, &error), expected);
    bed->text[0] = '\0';
    size_t size = 0;
    for (uint32_t i = 0; i < bed->batch->count; i++) {
        const struct weir_bytes value = bed->batch->records[i].value;
        size += (size_t)snprintf(bed->text + size, sizeof bed->text - size, "%s%.*s", i == 0 ? "" : " ",
                                 (int)value.size, value.data);
    }
    return bed->text;
}

static struct weir_splits positions(struct bed *bed)
{
    struct weir_splits splits = { 0 };
    ck_assert(bed->type->reader_positions(bed->reader, &splits));
    return splits;
}

START_TEST(counts_to_its_end)
{
    struct bed bed;
    open_bed(&bed, (struct weir_generator_options){ .count = 5 });
    ck_assert_int_eq(bed.type->reader_lag(bed.reader), 5);
    ck_assert_str_eq(poll(&bed, WEIR_POLL_ENDED), "0 1 2 3 4");
    ck_assert_int_eq(bed.type->reader_lag(bed.reader), 0);
    ck_assert_str_eq(poll(&bed, WEIR_POLL_ENDED), "");
    const struct weir_record *record = &bed.batch->records[0];
    ck_assert(weir_is_null(record->key) && record->time_ms == WEIR_TIME_UNSET);
    close_bed(&bed);
}
END_TEST

START_TEST(splits_share_the_numbers_without_gap_or_overlap)
{
    for (uint32_t count = 1; count < 12; count++) {
        struct bed bed;
        bool seen[12] = { false };
        open_bed(&bed, (struct weir_generator_options){ .count = count, .splits = 4 });
        ck_assert_uint_eq(bed.splits.count, 4);
        ck_assert_int_eq(bed.type->reader_lag(bed.reader), count);
        poll(&bed, WEIR_POLL_ENDED);
        ck_assert_uint_eq(bed.batch->count, count);
        for (uint32_t i = 0; i < count; i++) {
            int64_t number;
            ck_assert(weir_bytes_to_i64(bed.batch->records[i].value, &number));
            ck_assert(number < count && !seen[number]);
            seen[number] = true;
        }
        close_bed(&bed);
    }
}
END_TEST

START_TEST(goes_on_where_a_position_says)
{
    struct bed bed;
    struct weir_error error;
    open_bed(&bed, (struct weir_generator_options){ .count = 3000, .splits = 2 });
    poll(&bed, WEIR_POLL_MORE);
    ck_assert_uint_eq(bed.batch->count, BATCH_RECORDS_MAX);
    struct weir_splits known = positions(&bed);
    close_reader(&bed);
    weir_splits_clear(&bed.splits);
    ck_assert_int_eq(discover(&bed, &known, true, &error), WEIR_OK);
    open_reader(&bed);
    ck_assert_int_eq(bed.type->reader_lag(bed.reader), 3000 - BATCH_RECORDS_MAX);
    poll(&bed, WEIR_POLL_MORE); /* the other split has its turn, or the first would starve it */
    int64_t number;
    ck_assert(weir_bytes_to_i64(bed.batch->records[0].value, &number));
    ck_assert_int_eq(number, 2 * BATCH_RECORDS_MAX);
    weir_splits_clear(&known);
    close_bed(&bed);
}
END_TEST

START_TEST(splits_take_turns)
{
    struct bed bed;
    open_bed(&bed, (struct weir_generator_options){ .splits = 2 });
    int64_t first, second;
    poll(&bed, WEIR_POLL_MORE);
    ck_assert(weir_bytes_to_i64(bed.batch->records[0].value, &first));
    poll(&bed, WEIR_POLL_MORE);
    ck_assert(weir_bytes_to_i64(bed.batch->records[0].value, &second));
    ck_assert_int_ne(first % 2, second % 2);
    ck_assert_int_eq(bed.type->reader_lag(bed.reader), -1);
    close_bed(&bed);
}
END_TEST

START_TEST(a_cut_ends_an_epoch_exactly)
{
    struct bed bed;
    open_bed(&bed, (struct weir_generator_options){ .count = 10 });
    ck_assert(bed.type->reader_limit(bed.reader, "0", 4));
    ck_assert_str_eq(poll(&bed, WEIR_POLL_IDLE), "0 1 2 3");
    ck_assert_str_eq(poll(&bed, WEIR_POLL_IDLE), "");
    ck_assert(!bed.type->reader_limit(bed.reader, "0", 3));
    ck_assert(!bed.type->reader_limit(bed.reader, "1", 5));
    ck_assert(bed.type->reader_limit(bed.reader, "0", WEIR_POSITION_NONE));
    ck_assert_str_eq(poll(&bed, WEIR_POLL_ENDED), "4 5 6 7 8 9");
    close_bed(&bed);
}
END_TEST

static void make_pair(void *user, uint64_t number, char *scratch, struct weir_record *record)
{
    record->key = weir_text((const char *)user);
    record->value = (struct weir_bytes){ scratch, (size_t)sprintf(scratch, "<%d>", (int)number) };
    record->time_ms = (int64_t)number * 10;
    record->time_type = WEIR_TIME_CREATE;
}

START_TEST(records_can_be_made_by_a_function)
{
    struct bed bed;
    char user[] = "key";
    open_bed(&bed, (struct weir_generator_options){ .count = 3, .make = make_pair, .user = user });
    ck_assert_str_eq(poll(&bed, WEIR_POLL_ENDED), "<0> <1> <2>");
    ck_assert(weir_bytes_equal(bed.batch->records[2].key, weir_text("key")));
    ck_assert_int_eq(bed.batch->records[2].time_ms, 20);
    close_bed(&bed);
}
END_TEST

START_TEST(a_pace_is_kept_and_the_waker_called)
{
    struct bed bed;
    clock_us = 1000000;
    open_bed(&bed, (struct weir_generator_options){ .per_second = 1000, .splits = 2 });
    ck_assert_str_eq(poll(&bed, WEIR_POLL_IDLE), "");
    clock_us += 4000;
    poll(&bed, WEIR_POLL_IDLE);
    ck_assert_uint_eq(bed.batch->count, 4);
    const int wakes_before = atomic_load(&wakes);
    while (atomic_load(&wakes) == wakes_before) {} /* the ticker runs by the real clock */
    uint32_t total = 0;
    clock_us += 3600 * 1000000ll; /* a stall is caught up with for one second only */
    enum weir_poll state;
    do {
        struct weir_error error;
        batch_clear(bed.batch);
        state = bed.type->reader_poll(bed.reader, bed.batch, &error);
        total += bed.batch->count;
    } while (state == WEIR_POLL_MORE);
    ck_assert_int_eq(state, WEIR_POLL_IDLE);
    ck_assert_uint_eq(total, 1000);
    close_bed(&bed);
}
END_TEST

START_TEST(a_bounded_job_needs_a_count)
{
    struct bed bed;
    struct weir_error error;
    ck_assert_int_eq(open_source(&bed, (struct weir_generator_options){ 0 }, true, &error), WEIR_USAGE);
    ck_assert_str_eq(error.text, "the generator has no end, and the job is to be bounded: set .count");
    batch_release(bed.batch);
    weir_graph_destroy(bed.graph);
}
END_TEST

START_TEST(refuses_positions_of_another_generator)
{
    static const struct {
        struct weir_split known;
        const char *text;
    } cases[] = {
        { { .name = "0", .identity = "one of 3", .position = 1 },
          "split 0 of the generator was one of 3, and now there are 2: set .splits back, or give the job another "
          "name" },
        { { .name = "2", .identity = "one of 3", .position = 1 },
          "split 2 of the generator was one of 3, and now there are 2: set .splits back, or give the job another "
          "name" },
        { { .name = "1", .identity = "one of 2", .position = 6 },
          "split 1 of the generator stands at 6, behind its end 5: set .count to what it was, or more" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct bed bed;
        struct weir_error error = { .text = "" };
        struct weir_splits known = { 0 };
        ck_assert_int_eq(open_source(&bed, (struct weir_generator_options){ .splits = 2, .count = 10 }, false, &error),
                         WEIR_OK);
        ck_assert(weir_splits_add(&known, &cases[i].known));
        ck_assert_int_eq(discover(&bed, &known, true, &error), WEIR_POSITION_LOST);
        ck_assert_str_eq(error.text, cases[i].text);
        weir_splits_clear(&known);
        close_bed(&bed);
    }
}
END_TEST

START_TEST(mistakes_are_the_graphs)
{
    weir_graph *graph = weir_graph_create();
    struct weir_error error;
    weir_generator(graph, .name = "numbers", .splits = 5000);
    ck_assert_int_eq(weir_graph_check(graph, &error), WEIR_USAGE);
    ck_assert_str_eq(error.text, "generator 'numbers' has 5000 splits: set .splits to 1024 at most");
    weir_graph_destroy(graph);
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_test(tests, counts_to_its_end);
    tcase_add_test(tests, splits_share_the_numbers_without_gap_or_overlap);
    tcase_add_test(tests, goes_on_where_a_position_says);
    tcase_add_test(tests, splits_take_turns);
    tcase_add_test(tests, a_cut_ends_an_epoch_exactly);
    tcase_add_test(tests, records_can_be_made_by_a_function);
    tcase_add_test(tests, a_pace_is_kept_and_the_waker_called);
    tcase_add_test(tests, a_bounded_job_needs_a_count);
    tcase_add_test(tests, refuses_positions_of_another_generator);
    tcase_add_test(tests, mistakes_are_the_graphs);
}

int main(void)
{
    return unit_main("generator", add);
}
