/* Operators without state, and what a callback may call. */
#include <inttypes.h>
#include <string.h>

#include "harness/rig.h"
#include "harness/unit.h"

static struct rig rig;

static struct weir_stream source(void)
{
    rig_init(&rig);
    return rig_source(&rig, "in");
}

static void start(struct weir_stream stream)
{
    rig_sink(&rig, stream, "out");
    rig_start(&rig, (struct rig_options){ 0 });
}

static void expect_failure(const char *text)
{
    ck_assert_int_eq(rig_run(&rig, 0), CHAIN_FAILED);
    ck_assert_str_eq(chain_error(rig.chain)->text, text);
}

/* ---- map and filter ---------------------------------------------------------------------------------------------- */

static enum weir_code shout(weir_task *task, const struct weir_record *in, struct weir_record *out)
{
    out->value = weir_format(task, "%.*s!", (int)in->value.size, in->value.data);
    return WEIR_OK;
}

START_TEST(map_changes_what_it_sets_and_keeps_the_rest)
{
    start(weir_map(source(), .name = "shout", .map = shout));
    rig.verbose_times = true;
    const struct weir_header header = { "h", WEIR_EMPTY };
    rig_add_record(&rig, &(struct weir_record){ .key = weir_text("k"), .value = weir_text("v"), .time_ms = 5,
                                                .time_type = WEIR_TIME_APPEND,
                                                .headers = &(struct weir_headers){ 1, &header } });
    ck_assert_int_eq(rig_run(&rig, 0), CHAIN_DONE);
    ck_assert_str_eq(rig_output(&rig), "out k=v! h: @5/2\n");
    rig_deinit(&rig);
}
END_TEST

static enum weir_code forget(weir_task *task, const struct weir_record *in, struct weir_record *out)
{
    (void)task, (void)in;
    out->key = out->value = (struct weir_bytes){ 0 };
    return WEIR_OK;
}

START_TEST(what_a_map_unsets_is_null)
{
    start(weir_map(source(), .name = "forget", .map = forget));
    rig_feed(&rig, 0, "k", "v");
    ck_assert_str_eq(rig_output(&rig), "out -=-\n");
    rig_deinit(&rig);
}
END_TEST

static bool is_long(weir_task *task, const struct weir_record *record)
{
    return record->value.size >= *(const size_t *)weir_user(task);
}

START_TEST(filter_passes_what_its_function_likes)
{
    size_t size_min = 3;
    start(weir_filter(source(), .name = "long", .filter = is_long, .user = &size_min));
    rig_feed(&rig, 0, "a", "12");
    rig_feed(&rig, 0, "b", "123");
    ck_assert_str_eq(rig_output(&rig), "out b=123\n");
    rig_deinit(&rig);
}
END_TEST

/* ---- process and emit -------------------------------------------------------------------------------------------- */

static enum weir_code split(weir_task *task, const struct weir_record *record)
{
    struct weir_bytes rest = record->value, word;
    while (weir_bytes_token(&rest, ' ', &word)) weir_emit(task, .value = word);
    return WEIR_OK;
}

START_TEST(process_emits_any_number)
{
    start(weir_flat_map(source(), .name = "split", .process = split));
    rig_feed(&rig, 0, "a", "");
    rig_feed(&rig, 0, "b", NULL);
    rig_feed(&rig, 0, "c", "x y z");
    ck_assert_str_eq(rig_output(&rig), "out c=x\nout c=y\nout c=z\n");
    rig_deinit(&rig);
}
END_TEST

static enum weir_code emit_variants(weir_task *task, const struct weir_record *record)
{
    const struct weir_header header = { "h", weir_text("1") };
    (void)record;
    weir_emit(task);
    weir_emit(task, .key = WEIR_NULL, .value = WEIR_EMPTY);
    weir_emit(task, .value = WEIR_NULL, .time_ms = 9);
    weir_emit(task, .key = WEIR_EMPTY, .time_ms = WEIR_EPOCH_MS);
    weir_emit(task, .time_ms = WEIR_TIME_UNSET, .headers = &(struct weir_headers){ 1, &header });
    return weir_forward(task, record);
}

START_TEST(emit_inherits_what_is_unset_but_never_headers)
{
    start(weir_process(source(), .name = "p", .process = emit_variants));
    rig.verbose_times = true;
    const struct weir_header header = { "in", WEIR_NULL };
    rig_add_record(&rig, &(struct weir_record){ .key = weir_text("k"), .value = weir_text("v"), .time_ms = 5,
                                                .time_type = WEIR_TIME_APPEND,
                                                .headers = &(struct weir_headers){ 1, &header } });
    ck_assert_int_eq(rig_run(&rig, 0), CHAIN_DONE);
    ck_assert_str_eq(rig_output(&rig), "out k=v @5/2\n"
                                       "out -= @5/2\n"
                                       "out k=- @9/1\n"
                                       "out =v @0/1\n"
                                       "out k=v h:1 @none\n"
                                       "out k=v in:- @5/2\n");
    rig_deinit(&rig);
}
END_TEST

START_TEST(null_and_empty_stay_apart_through_a_chain)
{
    start(weir_process(source(), .name = "p", .process = weir_forward));
    rig_feed(&rig, 0, NULL, "");
    rig_feed(&rig, 0, "", NULL);
    ck_assert_str_eq(rig_output(&rig), "out -=\nout =-\n");
    rig_deinit(&rig);
}
END_TEST

/* What a caller compiled against an older header would hand over: a shorter struct, garbage behind it. */
static enum weir_code emit_old(weir_task *task, const struct weir_record *record)
{
    struct weir_emit_options options = { .size = offsetof(struct weir_emit_options, time_ms), .value = weir_text("old"),
                                         .time_ms = 12345, .to = (const void *)record };
    return weir_emit_(task, &options);
}

START_TEST(emit_reads_no_further_than_the_callers_struct)
{
    start(weir_process(source(), .name = "p", .process = emit_old));
    rig.verbose_times = true;
    rig_feed(&rig, 0, "k", "v");
    ck_assert_str_eq(rig_output(&rig), "out k=old @77/1\n");
    rig_deinit(&rig);
}
END_TEST

static enum weir_code emit_without_size(weir_task *task, const struct weir_record *record)
{
    (void)record;
    return weir_emit_(task, &(struct weir_emit_options){ .value = weir_text("x") });
}

START_TEST(emit_without_size_is_a_failure_with_advice)
{
    start(weir_process(source(), .name = "p", .process = emit_without_size));
    rig_add(&rig, "k", "v");
    expect_failure(
        "operator 'p', subtask 0: emits without .size: call the macro weir_emit, or set .size to the size of "
        "the struct");
    rig_deinit(&rig);
}
END_TEST

/* ---- Side outputs, fans, unions, two inputs ---------------------------------------------------------------------- */

static const struct weir_output late = { "late" }, odd = { "odd" };

static enum weir_code to_sides(weir_task *task, const struct weir_record *record)
{
    weir_emit(task, .to = &odd, .value = weir_text("o"));
    weir_emit(task, .to = &late);
    return weir_forward(task, record);
}

START_TEST(side_outputs_go_where_they_are_read)
{
    struct weir_stream stream = weir_process(source(), .name = "p", .process = to_sides, .outputs = { &late, &odd });
    rig_sink(&rig, weir_side_output(stream, &late), "late");
    rig_sink(&rig, weir_side_output(stream, &odd), "odd");
    start(stream);
    rig_feed(&rig, 0, "k", "v");
    ck_assert_str_eq(rig_output(&rig), "odd k=o\nlate k=v\nout k=v\n");
    rig_deinit(&rig);
}
END_TEST

START_TEST(a_side_output_that_nobody_reads_is_dropped)
{
    start(weir_process(source(), .name = "p", .process = to_sides, .outputs = { &late, &odd }));
    rig_feed(&rig, 0, "k", "v");
    ck_assert_str_eq(rig_output(&rig), "out k=v\n");
    rig_deinit(&rig);
}
END_TEST

START_TEST(an_undeclared_side_output_is_a_failure_with_advice)
{
    start(weir_process(source(), .name = "p", .process = to_sides, .outputs = { &late }));
    rig_add(&rig, "k", "v");
    expect_failure("operator 'p', subtask 0: emits to the output 'odd', which is not in its .outputs: list it there");
    rig_deinit(&rig);
}
END_TEST

START_TEST(every_reader_of_an_output_gets_every_record)
{
    struct weir_stream stream = source();
    rig_sink(&rig, stream, "raw");
    rig_sink(&rig, weir_map(stream, .name = "shout", .map = shout), "loud");
    start(weir_process(stream, .name = "p", .process = split));
    rig_feed(&rig, 0, "k", "a b");
    ck_assert_str_eq(rig_output(&rig), "raw k=a b\nloud k=a b!\nout k=a\nout k=b\n");
    rig_deinit(&rig);
}
END_TEST

START_TEST(a_union_is_all_records_of_its_streams)
{
    struct weir_stream stream = source();
    struct weir_stream loud = weir_map(stream, .name = "shout", .map = shout);
    struct weir_stream words = weir_process(stream, .name = "split", .process = split);
    start(weir_union(loud, words, stream));
    rig_feed(&rig, 0, "k", "a b");
    ck_assert_str_eq(rig_output(&rig), "out k=a b!\nout k=a\nout k=b\nout k=a b\n");
    rig_deinit(&rig);
}
END_TEST

static enum weir_code first(weir_task *task, const struct weir_record *record)
{
    return weir_emit(task, .value = weir_format(task, "1st %.*s", (int)record->value.size, record->value.data));
}

static enum weir_code second(weir_task *task, const struct weir_record *record)
{
    return weir_emit(task, .value = weir_format(task, "2nd %.*s", (int)record->value.size, record->value.data));
}

START_TEST(co_process_tells_its_inputs_apart)
{
    struct weir_stream a = source(), b = rig_source(&rig, "more");
    struct weir_stream both = weir_co_process(a, b, .name = "co", .first = first, .second = second);
    rig_sink(&rig, both, "out");
    rig_start(&rig, (struct rig_options){ .vertex = 2 });
    rig_feed(&rig, 1, "k", "x");
    rig_feed(&rig, 0, "k", "y");
    ck_assert_str_eq(rig_output(&rig), "out k=2nd x\nout k=1st y\n");
    rig_deinit(&rig);
}
END_TEST

START_TEST(co_process_of_two_branches_of_one_chain_stays_in_the_chain)
{
    struct weir_stream a = source();
    struct weir_stream loud = weir_map(a, .name = "shout", .map = shout);
    start(weir_co_process(a, weir_broadcast(loud), .name = "co", .first = first, .second = second));
    ck_assert_uint_eq(rig.plan->vertex_count, 1);
    rig_feed(&rig, 0, "k", "x");
    ck_assert_str_eq(rig_output(&rig), "out k=2nd x!\nout k=1st x\n");
    rig_deinit(&rig);
}
END_TEST

/* ---- A callback's place and memory ------------------------------------------------------------------------------- */

static enum weir_code open_counter(void *task)
{
    static int calls;
    calls = 0;
    weir_set_local(task, &calls);
    return WEIR_OK;
}

static enum weir_code tell_place(weir_task *task, const struct weir_record *record)
{
    int *calls = weir_local(task);
    (void)record;
    return weir_emit(task, .value = weir_format(task, "%d %s %u/%u now %" PRId64 " random %" PRIu64, ++*calls,
                                                (const char *)weir_user(task), weir_subtask_index(task),
                                                weir_subtask_count(task), weir_now_ms(task), weir_random(task)));
}

START_TEST(a_callback_knows_its_place)
{
    char user[] = "user";
    start(weir_process(source(), .name = "p", .process = tell_place, .user = user, .open = open_counter));
    rig_feed(&rig, 0, "k", "v");
    rig_feed(&rig, 0, "k", "v");
    ck_assert_str_eq(rig_output(&rig), "out k=1 user 0/1 now 1000 random 4\nout k=2 user 0/1 now 1000 random 4\n");
    rig_deinit(&rig);
}
END_TEST

static enum weir_code emit_now(weir_task *task, const struct weir_record *record)
{
    (void)record;
    return weir_emit(task, .value = weir_format_i64(task, weir_now_ms(task)));
}

START_TEST(the_clock_is_read_once_for_each_batch_and_never_runs_backwards)
{
    start(weir_process(source(), .name = "p", .process = emit_now));
    rig_add(&rig, "k", "v");
    rig_add(&rig, "k", "v");
    ck_assert_int_eq(rig_run(&rig, 0), CHAIN_DONE);
    ck_assert_uint_eq(rig.wall_readings, 1);
    rig.clock_ms = 400;
    rig_feed(&rig, 0, "k", "v");
    rig.clock_ms = 2000;
    rig_feed(&rig, 0, "k", "v");
    ck_assert_str_eq(rig_output(&rig), "out k=1000\nout k=1000\nout k=1000\nout k=2000\n");
    rig_deinit(&rig);
}
END_TEST

static const int64_t numbers[] = { 0, 7, -1, 10, 99, 100, 12345678901, INT64_MAX, INT64_MIN };

static enum weir_code emit_numbers(weir_task *task, const struct weir_record *record)
{
    (void)record;
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        const struct weir_bytes fast = weir_format_i64(task, numbers[i]);
        const struct weir_bytes slow = weir_format(task, "%" PRId64, numbers[i]);
        ck_assert_uint_eq(fast.size, slow.size);
        ck_assert_mem_eq(fast.data, slow.data, slow.size);
    }
    return WEIR_OK;
}

START_TEST(fast_decimal_text_equals_printf)
{
    start(weir_process(source(), .name = "p", .process = emit_numbers));
    rig_feed(&rig, 0, "k", "v");
    rig_deinit(&rig);
}
END_TEST

static enum weir_code emit_long_text(weir_task *task, const struct weir_record *record)
{
    (void)record;
    const struct weir_bytes text = weir_format(task, "%0500d|%s", 1, "end");
    const struct weir_bytes again = weir_format(task, "%s", "other");
    ck_assert_uint_eq(text.size, 504);
    ck_assert_str_eq(text.data + 499, "1|end");
    ck_assert_str_eq(again.data, "other");
    memset(weir_alloc(task, 100000), 1, 100000);
    return WEIR_OK;
}

START_TEST(texts_of_any_length_live_until_the_callback_returns)
{
    start(weir_process(source(), .name = "p", .process = emit_long_text));
    for (int i = 0; i < 100; i++) rig_feed(&rig, 0, "k", "v");
    rig_deinit(&rig);
}
END_TEST

/* ---- Failures ---------------------------------------------------------------------------------------------------- */

static int calls_of_fail_on_x;

static enum weir_code fail_on_x(weir_task *task, const struct weir_record *record)
{
    calls_of_fail_on_x++;
    if (weir_bytes_equal(record->value, weir_text("x"))) return weir_fail(task, "cannot read '%s'", "x");
    return weir_forward(task, record);
}

START_TEST(a_failure_names_operator_and_subtask_and_is_sticky)
{
    start(weir_process(source(), .name = "parse", .process = fail_on_x));
    rig_add(&rig, "k", "a");
    rig_add(&rig, "k", "x");
    rig_add(&rig, "k", "b");
    expect_failure("operator 'parse', subtask 0: cannot read 'x'");
    ck_assert_str_eq(rig_output(&rig), "out k=a\n");
    ck_assert_int_eq(chain_error(rig.chain)->code, WEIR_FAILED);
    ck_assert_int_eq(chain_error(rig.chain)->remedy, WEIR_REMEDY_REPLAY);
    rig_add(&rig, "k", "c");
    expect_failure("operator 'parse', subtask 0: cannot read 'x'");
    ck_assert_str_eq(rig_output(&rig), "");
    rig_deinit(&rig);
}
END_TEST

static enum weir_code ignore_failures(weir_task *task, const struct weir_record *record)
{
    weir_forward(task, record);
    ck_assert_int_eq(weir_emit(task, .value = weir_text("more")),
                     weir_bytes_equal(record->value, weir_text("x")) ? WEIR_FAILED : WEIR_OK);
    return WEIR_OK;
}

START_TEST(a_failure_downstream_ends_the_chain_even_when_it_is_ignored)
{
    struct weir_stream above = weir_process(source(), .name = "above", .process = ignore_failures);
    start(weir_process(above, .name = "parse", .process = fail_on_x));
    rig_add(&rig, "k", "x");
    rig_add(&rig, "k", "a");
    calls_of_fail_on_x = 0;
    expect_failure("operator 'parse', subtask 0: cannot read 'x'");
    ck_assert_int_eq(calls_of_fail_on_x, 1); /* what is emitted behind a failure goes nowhere */
    ck_assert_str_eq(rig_output(&rig), "");
    rig_deinit(&rig);
}
END_TEST

static enum weir_code fail_mutely(weir_task *task, const struct weir_record *record)
{
    (void)task, (void)record;
    return WEIR_DAMAGED;
}

START_TEST(a_failure_without_a_reason_says_so)
{
    start(weir_process(source(), .name = "mute", .process = fail_mutely));
    rig_add(&rig, "k", "v");
    expect_failure("operator 'mute', subtask 0: its callback answered DAMAGED without a reason: end it with weir_fail");
    ck_assert_int_eq(chain_error(rig.chain)->code, WEIR_DAMAGED);
    rig_deinit(&rig);
}
END_TEST

static bool fail_in_filter(weir_task *task, const struct weir_record *record)
{
    (void)record;
    weir_fail(task, "no");
    return true;
}

START_TEST(a_filter_can_fail)
{
    start(weir_filter(source(), .name = "f", .filter = fail_in_filter));
    rig_add(&rig, "k", "v");
    expect_failure("operator 'f', subtask 0: no");
    ck_assert_str_eq(rig_output(&rig), "");
    rig_deinit(&rig);
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_test(tests, map_changes_what_it_sets_and_keeps_the_rest);
    tcase_add_test(tests, what_a_map_unsets_is_null);
    tcase_add_test(tests, filter_passes_what_its_function_likes);
    tcase_add_test(tests, process_emits_any_number);
    tcase_add_test(tests, emit_inherits_what_is_unset_but_never_headers);
    tcase_add_test(tests, null_and_empty_stay_apart_through_a_chain);
    tcase_add_test(tests, emit_reads_no_further_than_the_callers_struct);
    tcase_add_test(tests, emit_without_size_is_a_failure_with_advice);
    tcase_add_test(tests, side_outputs_go_where_they_are_read);
    tcase_add_test(tests, a_side_output_that_nobody_reads_is_dropped);
    tcase_add_test(tests, an_undeclared_side_output_is_a_failure_with_advice);
    tcase_add_test(tests, every_reader_of_an_output_gets_every_record);
    tcase_add_test(tests, a_union_is_all_records_of_its_streams);
    tcase_add_test(tests, co_process_tells_its_inputs_apart);
    tcase_add_test(tests, co_process_of_two_branches_of_one_chain_stays_in_the_chain);
    tcase_add_test(tests, a_callback_knows_its_place);
    tcase_add_test(tests, the_clock_is_read_once_for_each_batch_and_never_runs_backwards);
    tcase_add_test(tests, fast_decimal_text_equals_printf);
    tcase_add_test(tests, texts_of_any_length_live_until_the_callback_returns);
    tcase_add_test(tests, a_failure_names_operator_and_subtask_and_is_sticky);
    tcase_add_test(tests, a_failure_downstream_ends_the_chain_even_when_it_is_ignored);
    tcase_add_test(tests, a_failure_without_a_reason_says_so);
    tcase_add_test(tests, a_filter_can_fail);
}

int main(void)
{
    return unit_main("stateless", add);
}
