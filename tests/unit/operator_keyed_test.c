/* key_by, keyed state, and the operators on it: emit each and emit on commit. */
#include <stdio.h>
#include <string.h>

#include "harness/rig.h"
#include "harness/unit.h"

static struct rig rig;

static struct weir_stream source(void)
{
    rig_init(&rig);
    return rig_source(&rig, "in");
}

static struct weir_keyed_stream keyed_source(void)
{
    return weir_key_by(source(), .key = NULL);
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

/* Feeds "k=v k=v ...". */
static void feed(const char *text)
{
    struct weir_bytes rest = weir_text(text), pair;
    while (weir_bytes_token(&rest, ' ', &pair)) {
        char copy[64], *value;
        memcpy(copy, pair.data, pair.size);
        copy[pair.size] = '\0';
        value = strchr(copy, '=');
        *value = '\0';
        rig_feed(&rig, 0, copy, value + 1);
    }
}

static const char *after_barrier(uint64_t epoch)
{
    struct chain_snapshot snapshot = rig_barrier(&rig, epoch);
    chain_snapshot_clear(&snapshot);
    return rig_output(&rig);
}

/* ---- key_by ------------------------------------------------------------------------------------------------------ */

static enum weir_code emit_key(weir_keyed_task *task, const struct weir_record *record)
{
    ck_assert_uint_eq(record->key_hash, hash_key(record->key));
    ck_assert(weir_bytes_equal(record->key, weir_current_key(task)));
    return weir_keyed_emit(task);
}

static struct weir_bytes last_letter(weir_task *task, const struct weir_record *record)
{
    char *letter = weir_alloc(task, 1);
    *letter = record->value.data[record->value.size - 1];
    return (struct weir_bytes){ letter, 1 };
}

START_TEST(key_by_sets_key_and_hash)
{
    start(weir_keyed_process(weir_key_by(source(), .key = last_letter), .name = "p", .process = emit_key));
    feed("a=xyz b=q");
    ck_assert_str_eq(rig_output(&rig), "out z=xyz\nout q=q\n");
    rig_deinit(&rig);
}
END_TEST

START_TEST(key_by_without_a_function_takes_the_records_key)
{
    start(weir_keyed_process(keyed_source(), .name = "p", .process = emit_key));
    feed("a=1 =2");
    ck_assert_str_eq(rig_output(&rig), "out a=1\nout =2\n");
    rig_deinit(&rig);
}
END_TEST

START_TEST(a_null_key_fails_with_advice)
{
    start(weir_keyed_process(keyed_source(), .name = "p", .process = emit_key));
    rig_add(&rig, NULL, "v");
    expect_failure(
        "operator 'in-key-by', subtask 0: a record has no key: give it one before, or name a .key function, or "
        "skip such records with .null_key = WEIR_NULL_KEY_DROP");
    rig_deinit(&rig);
}
END_TEST

static struct weir_bytes unset_key(weir_task *task, const struct weir_record *record)
{
    (void)task;
    return weir_bytes_equal(record->key, weir_text("a")) ? (struct weir_bytes){ 0 } : record->key;
}

START_TEST(null_keys_are_dropped_where_that_is_asked_for)
{
    struct weir_keyed_stream keyed = weir_key_by(source(), .null_key = WEIR_NULL_KEY_DROP, .key = unset_key);
    start(weir_keyed_process(keyed, .name = "p", .process = emit_key));
    rig_feed(&rig, 0, NULL, "v");
    feed("a=1 b=2");
    ck_assert_str_eq(rig_output(&rig), "out b=2\n");
    rig_deinit(&rig);
}
END_TEST

static struct weir_bytes failing_key(weir_task *task, const struct weir_record *record)
{
    (void)record;
    weir_fail(task, "no field 'word'");
    return (struct weir_bytes){ 0 };
}

START_TEST(a_key_function_can_fail)
{
    struct weir_keyed_stream keyed = weir_key_by(source(), .null_key = WEIR_NULL_KEY_DROP, .key = failing_key);
    start(weir_keyed_process(keyed, .name = "p", .process = emit_key));
    rig_add(&rig, "a", "v");
    expect_failure("operator 'in-key-by', subtask 0: no field 'word'");
    rig_deinit(&rig);
}
END_TEST

START_TEST(a_union_can_be_keyed)
{
    struct weir_stream stream = source();
    struct weir_keyed_stream keyed = weir_key_by(weir_union(stream, stream), .key = last_letter);
    start(weir_keyed_process(keyed, .name = "p", .process = emit_key));
    feed("a=xy");
    ck_assert_str_eq(rig_output(&rig), "out y=xy\nout y=xy\n");
    rig_deinit(&rig);
}
END_TEST

/* ---- Value state ------------------------------------------------------------------------------------------------- */

struct pair {
    int32_t count, sum;
};
static const struct weir_state count_state = { .name = "count", .codec = WEIR_I64 };
static const struct weir_state mean_state = { .name = "mean", .codec = WEIR_F64 };
static const struct weir_state last_state = { .name = "last", .codec = WEIR_BYTES };
static const struct weir_state pair_state = { .name = "pair", .codec = WEIR_STRUCT,
                                              .struct_size_bytes = sizeof(struct pair) };

static enum weir_code use_all_states(weir_keyed_task *task, const struct weir_record *record)
{
    int64_t number;
    ck_assert(weir_bytes_to_i64(record->value, &number));
    const int64_t count = ++*weir_value_i64(task, &count_state);
    double *mean = weir_value_f64(task, &mean_state);
    const double mean_now = *mean += ((double)number - *mean) / (double)count;
    struct pair *pair = weir_value_struct(task, &pair_state);
    pair->count++;
    pair->sum += (int32_t)number;
    const int sum = pair->sum;
    const struct weir_bytes last = weir_value_get(task, &last_state);
    const struct weir_bytes text =
        weir_format(task, "%d %.1f %d %.*s", (int)count, mean_now, sum, weir_is_set(last) ? (int)last.size : 1,
                    weir_is_set(last) ? last.data : "?");
    weir_value_set(task, &last_state, record->value);
    return weir_keyed_emit(task, .value = text);
}

START_TEST(each_key_has_its_own_state_of_every_codec)
{
    start(weir_keyed_process(keyed_source(), .name = "p", .process = use_all_states,
                             .states = { &count_state, &mean_state, &last_state, &pair_state }));
    feed("a=1 b=10 a=2 a=6 b=20");
    ck_assert_str_eq(rig_output(&rig), "out a=1 1.0 1 ?\n"
                                       "out b=1 10.0 10 ?\n"
                                       "out a=2 1.5 3 1\n"
                                       "out a=3 3.0 9 2\n"
                                       "out b=2 15.0 30 10\n");
    rig_deinit(&rig);
}
END_TEST

static enum weir_code count_or_clear(weir_keyed_task *task, const struct weir_record *record)
{
    if (weir_bytes_equal(record->value, weir_text("clear"))) {
        weir_value_clear(task, &count_state);
        ck_assert(!weir_is_set(weir_value_get(task, &count_state)));
        return WEIR_OK;
    }
    return weir_keyed_emit(task, .value = weir_format_i64(task, ++*weir_value_i64(task, &count_state)));
}

START_TEST(clearing_begins_anew)
{
    start(weir_keyed_process(keyed_source(), .name = "p", .process = count_or_clear, .states = { &count_state }));
    feed("a=x a=x a=clear a=x b=clear");
    ck_assert_str_eq(rig_output(&rig), "out a=1\nout a=2\nout a=1\n");
    rig_deinit(&rig);
}
END_TEST

static const struct weir_state undeclared = { .name = "other", .codec = WEIR_I64 };

static enum weir_code misuse(weir_keyed_task *task, const struct weir_record *record)
{
    if (weir_bytes_equal(record->value, weir_text("undeclared"))) {
        ck_assert_ptr_null(weir_value_i64(task, &undeclared));
        return WEIR_FAILED;
    }
    if (weir_bytes_equal(record->value, weir_text("codec")))
        return weir_value_f64(task, &count_state) ? WEIR_OK : WEIR_FAILED;
    if (weir_bytes_equal(record->value, weir_text("null"))) return weir_value_set(task, &count_state, WEIR_NULL);
    return weir_value_set(task, &count_state, record->value);
}

START_TEST(misuse_of_state_is_a_failure_with_advice)
{
    static const struct {
        const char *value, *text;
    } cases[] = {
        { "undeclared", "uses the state 'other', which is not in its .states: list it there" },
        { "codec", "reads the state 'count' as another type than its .codec says: use the call for its codec" },
        { "null", "sets the state 'count' to null: clear it, or remove the entry of a map" },
        { "123456789", "sets the state 'count' of 8 bytes to a value of 9" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        start(weir_keyed_process(keyed_source(), .name = "p", .process = misuse, .states = { &count_state }));
        char text[200];
        snprintf(text, sizeof text, "operator 'p', subtask 0: %s", cases[i].text);
        rig_add(&rig, "k", cases[i].value);
        expect_failure(text);
        rig_deinit(&rig);
    }
}
END_TEST

/* ---- Two inputs -------------------------------------------------------------------------------------------------- */

static enum weir_code add_to_count(weir_keyed_task *task, const struct weir_record *record)
{
    int64_t number = 0;
    weir_bytes_to_i64(record->value, &number);
    *weir_value_i64(task, &count_state) += number;
    return WEIR_OK;
}

START_TEST(two_keyed_inputs_share_one_state)
{
    struct weir_stream a = source(), b = rig_source(&rig, "more");
    rig_sink(&rig, weir_keyed_co_process(weir_key_by(a, .key = NULL), weir_key_by(b, .key = NULL), .name = "co",
                                         .first = add_to_count, .second = count_or_clear, .states = { &count_state }),
             "out");
    rig_start(&rig, (struct rig_options){ .vertex = 2 });
    feed("a=10 b=20");
    rig_feed(&rig, 1, "a", "x");
    rig_feed(&rig, 1, "b", "x");
    ck_assert_str_eq(rig_output(&rig), "out a=11\nout b=21\n");
    rig_deinit(&rig);
}
END_TEST

static enum weir_code broadcast_side(weir_keyed_task *task, const struct weir_record *record)
{
    ck_assert(weir_is_null(weir_current_key(task)));
    if (weir_bytes_equal(record->value, weir_text("state")))
        return weir_value_i64(task, &count_state) ? WEIR_OK : WEIR_FAILED;
    return weir_keyed_emit(task, .value = weir_text("seen"));
}

START_TEST(a_broadcast_input_has_no_key)
{
    struct weir_stream a = source(), b = rig_source(&rig, "rules");
    rig_sink(&rig, weir_keyed_broadcast_process(weir_key_by(a, .key = NULL), b, .name = "co", .first = add_to_count,
                                                .second = broadcast_side, .states = { &count_state }),
             "out");
    rig_start(&rig, (struct rig_options){ .vertex = 2 });
    feed("a=10");
    rig_feed(&rig, 1, "r", "x");
    ck_assert_str_eq(rig_output(&rig), "out r=seen\n");
    rig_add(&rig, "r", "state");
    ck_assert_int_eq(rig_run(&rig, 1), CHAIN_FAILED);
    ck_assert_str_eq(
        chain_error(rig.chain)->text,
        "operator 'co', subtask 0: uses the keyed state 'count' where there is no current key: a broadcast "
        "input, .open and .close have none");
    rig_deinit(&rig);
}
END_TEST

/* A large state is looked up ahead, a block of records at a time. Records of a broadcast have no place in it: their hashes
 * belong to key groups of any subtask. */
START_TEST(a_large_state_is_looked_up_ahead)
{
    struct weir_stream a = source(), b = rig_source(&rig, "rules");
    rig_sink(&rig, weir_keyed_broadcast_process(weir_key_by(a, .key = NULL), b, .name = "co", .first = add_to_count,
                                                .second = broadcast_side, .states = { &count_state }),
             "out");
    rig_start(&rig, (struct rig_options){ .vertex = 2, .parallelism = 2, .subtask = 1 });
    const uint32_t groups = rig.plan->max_parallelism;
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 150000; i++) {
            char key[16];
            (void)snprintf(key, sizeof key, "key-%d", i);
            if (key_group_of(hash_key(weir_text(key)), groups) < key_group_first(groups, 2, 1)) continue;
            rig_add(&rig, key, "1");
            if (rig.batch->count == 1000) ck_assert_int_eq(rig_run(&rig, 0), CHAIN_DONE);
        }
        ck_assert_int_eq(rig_run(&rig, 0), CHAIN_DONE);
    }
    for (int i = 0; i < 100; i++) {
        char key[16];
        (void)snprintf(key, sizeof key, "rule-%d", i);
        rig_feed(&rig, 1, key, "x");
        char line[32];
        (void)snprintf(line, sizeof line, "out %s=seen\n", key);
        ck_assert_str_eq(rig_output(&rig), line);
    }
    rig_deinit(&rig);
}
END_TEST

/* ---- reduce ------------------------------------------------------------------------------------------------------ */

static struct weir_bytes join(weir_keyed_task *task, struct weir_bytes so_far, const struct weir_record *record)
{
    if (record->value.size == 0) return so_far;
    if (weir_bytes_equal(record->value, weir_text("tail")))
        return (struct weir_bytes){ so_far.data + 1, so_far.size - 1 };
    if (weir_bytes_equal(record->value, weir_text("null"))) return WEIR_NULL;
    return weir_format(task, "%.*s+%.*s", (int)so_far.size, so_far.data, (int)record->value.size, record->value.data);
}

START_TEST(reduce_emits_each_new_value)
{
    start(weir_reduce(keyed_source(), .name = "join", .reduce = join));
    rig.verbose_times = true;
    feed("a=1 b=2 a=3 a= a=tail");
    ck_assert_str_eq(rig_output(&rig),
                     "out a=1 @77/1\nout b=2 @77/1\nout a=1+3 @77/1\nout a=1+3 @77/1\nout a=+3 @77/1\n");
    ck_assert_str_eq(after_barrier(1), "out prepare 1\n");
    rig_deinit(&rig);
}
END_TEST

START_TEST(reduce_on_commit_emits_once_for_each_changed_key)
{
    start(weir_reduce(keyed_source(), .name = "join", .reduce = join, .emit = WEIR_EMIT_ON_COMMIT));
    rig.verbose_times = true;
    feed("a=1 b=2 a=3 c=5");
    ck_assert_str_eq(rig_output(&rig), "");
    ck_assert_str_eq(after_barrier(1), "out a=1+3 @none\nout b=2 @none\nout c=5 @none\nout prepare 1\n");
    feed("b= b=4");
    ck_assert_str_eq(after_barrier(2), "out b=2+4 @none\nout prepare 2\n");
    ck_assert_str_eq(after_barrier(3), "out prepare 3\n");
    rig_deinit(&rig);
}
END_TEST

START_TEST(reduce_skips_records_without_a_value_and_refuses_to_answer_null)
{
    start(weir_reduce(keyed_source(), .name = "join", .reduce = join));
    rig_feed(&rig, 0, "a", NULL);
    feed("a=1");
    rig_feed(&rig, 0, "a", NULL);
    ck_assert_str_eq(rig_output(&rig), "out a=1\n");
    rig_add(&rig, "a", "null");
    expect_failure("operator 'join', subtask 0: its .reduce answered no value: answer bytes, WEIR_EMPTY for none");
    rig_deinit(&rig);
}
END_TEST

/* ---- aggregate --------------------------------------------------------------------------------------------------- */

static enum weir_code add_number(weir_keyed_task *task, void *accumulator, const struct weir_record *record)
{
    int64_t number;
    if (!weir_bytes_to_i64(record->value, &number)) return weir_fail(task, "no number");
    *(int64_t *)accumulator += number;
    return WEIR_OK;
}

START_TEST(aggregate_emits_each_sum_as_text)
{
    start(weir_aggregate(keyed_source(), .name = "sum", .accumulator = WEIR_I64, .add = add_number));
    rig.verbose_times = true;
    feed("a=1 b=-20 a=3");
    ck_assert_str_eq(rig_output(&rig), "out a=1 @77/1\nout b=-20 @77/1\nout a=4 @77/1\n");
    rig_deinit(&rig);
}
END_TEST

START_TEST(aggregate_on_commit_emits_once_for_each_changed_key)
{
    start(weir_aggregate(keyed_source(), .name = "sum", .accumulator = WEIR_I64, .add = add_number,
                         .emit = WEIR_EMIT_ON_COMMIT));
    feed("a=1 b=2 a=3");
    ck_assert_str_eq(rig_output(&rig), "");
    ck_assert_str_eq(after_barrier(1), "out a=4\nout b=2\nout prepare 1\n");
    feed("c=1 b=5");
    ck_assert_str_eq(after_barrier(2), "out c=1\nout b=7\nout prepare 2\n");
    rig_deinit(&rig);
}
END_TEST

static enum weir_code add_pair(weir_keyed_task *task, void *accumulator, const struct weir_record *record)
{
    struct pair *pair = accumulator;
    int64_t number = 0;
    (void)task;
    weir_bytes_to_i64(record->value, &number);
    pair->count++;
    pair->sum += (int32_t)number;
    return WEIR_OK;
}

static enum weir_code emit_pair(weir_keyed_task *task, const void *accumulator)
{
    const struct pair *pair = accumulator;
    if (pair->count > 2) return weir_keyed_emit(task, .key = weir_text("many"), .value = WEIR_EMPTY);
    return weir_keyed_emit(task, .value = weir_format(task, "%d/%d", pair->sum, pair->count));
}

START_TEST(a_result_function_emits_what_it_likes)
{
    for (int on_commit = 0; on_commit < 2; on_commit++) {
        start(weir_aggregate(keyed_source(), .name = "mean", .accumulator = WEIR_STRUCT,
                             .struct_size_bytes = sizeof(struct pair), .add = add_pair, .result = emit_pair,
                             .emit = on_commit ? WEIR_EMIT_ON_COMMIT : WEIR_EMIT_EACH));
        feed("a=1 b=5 a=2 b=6 b=7");
        if (on_commit) {
            ck_assert_str_eq(after_barrier(1), "out a=3/2\nout many=\nout prepare 1\n");
        } else {
            ck_assert_str_eq(rig_output(&rig), "out a=1/1\nout b=5/1\nout a=3/2\nout b=11/2\nout many=\n");
        }
        rig_deinit(&rig);
    }
}
END_TEST

START_TEST(an_add_function_can_fail)
{
    start(weir_aggregate(keyed_source(), .name = "sum", .accumulator = WEIR_I64, .add = add_number));
    rig_add(&rig, "a", "x");
    expect_failure("operator 'sum', subtask 0: no number");
    rig_deinit(&rig);
}
END_TEST

static enum weir_code fail_result(weir_keyed_task *task, const void *accumulator)
{
    (void)accumulator;
    return weir_fail(task, "no result");
}

START_TEST(a_result_function_can_fail_on_commit)
{
    start(weir_aggregate(keyed_source(), .name = "sum", .accumulator = WEIR_I64, .add = add_number,
                         .result = fail_result, .emit = WEIR_EMIT_ON_COMMIT));
    feed("a=1 b=2");
    ck_assert_int_eq(chain_emit_on_commit(rig.chain, 1), CHAIN_FAILED);
    ck_assert_str_eq(chain_error(rig.chain)->text, "operator 'sum', subtask 0: no result");
    rig_deinit(&rig);
}
END_TEST

START_TEST(what_one_stage_emits_on_commit_counts_in_the_next_one)
{
    struct weir_stream sums = weir_aggregate(keyed_source(), .name = "sum", .accumulator = WEIR_I64, .add = add_number,
                                             .emit = WEIR_EMIT_ON_COMMIT);
    start(weir_aggregate(weir_key_by(sums, .key = last_letter), .name = "by last digit", .accumulator = WEIR_I64,
                         .add = add_number, .emit = WEIR_EMIT_ON_COMMIT));
    feed("a=1 b=5 a=14 c=2");
    ck_assert_str_eq(after_barrier(1), "out 5=20\nout 2=2\nout prepare 1\n");
    rig_deinit(&rig);
}
END_TEST

/* ---- keyed_process on commit ------------------------------------------------------------------------------------- */

static const struct weir_output every = { "every" };

static enum weir_code emit_twice(weir_keyed_task *task, const struct weir_record *record)
{
    const struct weir_header header = { "h", record->value };
    weir_keyed_emit(task, .to = &every);
    weir_keyed_emit(task, .value = weir_text("first"));
    return weir_keyed_emit(task, .key = weir_format(task, "<%.*s>", (int)record->key.size, record->key.data),
                           .headers = &(struct weir_headers){ 1, &header });
}

START_TEST(keyed_process_on_commit_keeps_the_last_of_each_key)
{
    struct weir_stream stream = weir_keyed_process(keyed_source(), .name = "p", .process = emit_twice,
                                                   .outputs = { &every }, .emit = WEIR_EMIT_ON_COMMIT);
    rig_sink(&rig, weir_side_output(stream, &every), "every");
    start(stream);
    rig.verbose_times = true;
    feed("a=1 b=2 a=333");
    ck_assert_str_eq(rig_output(&rig), "every a=1 @77/1\nevery b=2 @77/1\nevery a=333 @77/1\n");
    ck_assert_str_eq(after_barrier(1),
                     "out <a>=333 h:333 @77/1\nout <b>=2 h:2 @77/1\nevery prepare 1\nout prepare 1\n");
    feed("b=4");
    rig_output(&rig);
    ck_assert_str_eq(after_barrier(2), "out <b>=4 h:4 @77/1\nevery prepare 2\nout prepare 2\n");
    rig_deinit(&rig);
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_test(tests, key_by_sets_key_and_hash);
    tcase_add_test(tests, key_by_without_a_function_takes_the_records_key);
    tcase_add_test(tests, a_null_key_fails_with_advice);
    tcase_add_test(tests, null_keys_are_dropped_where_that_is_asked_for);
    tcase_add_test(tests, a_key_function_can_fail);
    tcase_add_test(tests, a_union_can_be_keyed);
    tcase_add_test(tests, each_key_has_its_own_state_of_every_codec);
    tcase_add_test(tests, clearing_begins_anew);
    tcase_add_test(tests, misuse_of_state_is_a_failure_with_advice);
    tcase_add_test(tests, two_keyed_inputs_share_one_state);
    tcase_add_test(tests, a_broadcast_input_has_no_key);
    tcase_add_test(tests, a_large_state_is_looked_up_ahead);
    tcase_add_test(tests, reduce_emits_each_new_value);
    tcase_add_test(tests, reduce_on_commit_emits_once_for_each_changed_key);
    tcase_add_test(tests, reduce_skips_records_without_a_value_and_refuses_to_answer_null);
    tcase_add_test(tests, aggregate_emits_each_sum_as_text);
    tcase_add_test(tests, aggregate_on_commit_emits_once_for_each_changed_key);
    tcase_add_test(tests, a_result_function_emits_what_it_likes);
    tcase_add_test(tests, an_add_function_can_fail);
    tcase_add_test(tests, a_result_function_can_fail_on_commit);
    tcase_add_test(tests, what_one_stage_emits_on_commit_counts_in_the_next_one);
    tcase_add_test(tests, keyed_process_on_commit_keeps_the_last_of_each_key);
}

int main(void)
{
    return unit_main("keyed", add);
}
