/* Jobs that declare their states otherwise than the checkpoint that they start from: given up, declared again, in another
 * order, in a newer form. Numbers are counted by key; each life counts some more. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/base.h"
#include "harness/digits.h"
#include "harness/local_job.h"
#include "harness/unit.h"

enum { STEP = 4000, LIVES_MAX = 200 };

static int lives;
static uint64_t per_second; /* 0 = as fast as it goes */

/* A job that runs `process` with `states` over the numbers of so many lives. */
static struct weir_error run_operator(const char *name, weir_keyed_process_fn *process, const struct weir_state *first,
                                      const struct weir_state *second)
{
    weir_graph *graph = weir_graph_create();
    digits_print(weir_keyed_process(digits_by_key(graph, (uint64_t)lives * STEP, per_second), .name = name,
                                    .process = process, .states = { first, second }), "out");
    return local_job_run(graph, NULL);
}

/* One life more. */
static void run(weir_keyed_process_fn *process, const struct weir_state *first, const struct weir_state *second)
{
    lives++;
    const struct weir_error outcome = run_operator("count", process, first, second);
    local_job_expect_ok(&outcome);
}

/* Lives until there is a base of what the first ones have left behind, which later ones leave alone. */
static void run_until_there_is_a_base(weir_keyed_process_fn *process, const struct weir_state *first,
                                      const struct weir_state *second)
{
    per_second = STEP * 20; /* long enough for a dump */
    local_job_set("state.recovery.max-frames", "1");
    local_job_set("state.base.min-log-size", "64kb");
    do run(process, first, second);
    while (local_job_count_files("base-") == 0 && lives < LIVES_MAX);
    ck_assert_int_gt(local_job_count_files("base-"), 0);
    per_second = 0;
    local_job_set("state.recovery.max-frames", "2000");
    local_job_set("state.base.log-ratio", "1000");
    local_job_set("state.base.min-log-size", "1gb");
}

static void expect_refusal(weir_keyed_process_fn *process, const struct weir_state *first,
                           const struct weir_state *second, const char *sentence)
{
    const struct weir_error outcome = run_operator("count", process, first, second);
    ck_assert_int_eq(outcome.code, WEIR_FOREIGN);
    ck_assert_int_eq(weir_code_exit_status(outcome.code), 8);
    ck_assert_msg(strstr(outcome.text, sentence) != NULL, "%s", outcome.text);
}

static void expect_counts(int of_lives)
{
    digits_expect(of_lives * STEP / DIGITS);
}

static void begin(void)
{
    local_job_begin();
    digits_begin();
    lives = 0;
    per_second = 0;
    local_job_set("execution.checkpointing.interval", "1ms");
    local_job_set("start.takeover", "true"); /* another plan, and meant */
}

static const struct weir_state total = { .name = "total", .codec = WEIR_I64 };
static const struct weir_state other = { .name = "other", .codec = WEIR_I64 };

static enum weir_code count(weir_keyed_task *task, const struct weir_record *record)
{
    (void)record;
    return weir_keyed_emit(task, .value = weir_format_i64(task, ++*weir_value_i64(task, &total)));
}

static enum weir_code count_both(weir_keyed_task *task, const struct weir_record *record)
{
    ++*weir_value_i64(task, &other);
    return count(task, record);
}

static enum weir_code tell_other(weir_keyed_task *task, const struct weir_record *record)
{
    (void)record;
    ++*weir_value_i64(task, &total);
    return weir_keyed_emit(task, .value = weir_format_i64(task, ++*weir_value_i64(task, &other)));
}

START_TEST(a_state_that_is_no_longer_declared_stops_the_restore)
{
    run(count_both, &total, &other);
    expect_refusal(count, &total, NULL,
                   "operator 'count': the checkpoint holds state 'other', which the job no longer declares; declare it "
                   "again, or give it up with execution.savepoint.ignore-unclaimed-state");
    run(count_both, &total, &other); /* nothing was lost by the attempt */
    expect_counts(lives);
}
END_TEST

START_TEST(an_operator_that_is_gone_stops_the_restore)
{
    run(count, &total, NULL);
    lives++;
    struct weir_error outcome = run_operator("another", count, &total, NULL);
    ck_assert_int_eq(outcome.code, WEIR_FOREIGN);
    ck_assert_ptr_nonnull(strstr(outcome.text, "holds state of operator 'count', which the job no longer has"));
    local_job_set("execution.savepoint.ignore-unclaimed-state", "true");
    outcome = run_operator("another", count, &total, NULL);
    local_job_expect_ok(&outcome);
    expect_counts(1);
}
END_TEST

START_TEST(what_was_given_up_begins_anew_when_it_is_declared_again)
{
    run_until_there_is_a_base(count_both, &total, &other);
    local_job_set("start.takeover", "false"); /* to give up is to mean it */
    local_job_set("execution.savepoint.ignore-unclaimed-state", "true");
    run(count, &total, NULL);
    expect_counts(lives);
    ck_assert_ptr_nonnull(strstr(local_job.log, "state 'other' is given up"));
    run(tell_other, &total, &other);
    expect_counts(1);
    run(tell_other, &total, &other); /* and is restored then like any other */
    expect_counts(2);
    run(count_both, &total, &other);
    expect_counts(lives);
}
END_TEST

START_TEST(states_may_be_declared_in_another_order)
{
    run_until_there_is_a_base(count_both, &total, &other);
    run(count_both, &other, &total);
    expect_counts(lives);
    run(tell_other, &total, &other);
    expect_counts(lives);
}
END_TEST

static struct weir_error run_with_one_more(void)
{
    weir_graph *graph = weir_graph_create();
    struct weir_keyed_stream keyed = digits_by_key(graph, (uint64_t)lives * STEP, per_second);
    digits_print(weir_keyed_process(keyed, .name = "count", .process = count, .states = { &total }), "out");
    digits_print(weir_keyed_process(keyed, .name = "new", .process = tell_other, .states = { &total, &other }), "out-2");
    return local_job_run(graph, NULL);
}

START_TEST(an_operator_may_be_added_when_the_beginning_of_the_log_is_gone)
{
    do run_until_there_is_a_base(count, &total, NULL);
    while (local_job_count_files("log-1-") > 0 && lives < LIVES_MAX);
    ck_assert_int_eq(local_job_count_files("log-1-"), 0);
    for (int i = 0; i < 3; i++) {
        lives++;
        const struct weir_error outcome = run_with_one_more();
        local_job_expect_ok(&outcome);
    }
}
END_TEST

/* ---- Time to live --------------------------------------------------------------------------------------------------- */

static const struct weir_ttl hour = { .duration_ms = 3600 * 1000 };
static const struct weir_ttl instant = { .duration_ms = 1, .clean_up = WEIR_TTL_NO_CLEAN_UP };
static const struct weir_state total_for_an_hour = { .name = "total", .codec = WEIR_I64, .ttl = &hour };
static const struct weir_state total_for_an_instant = { .name = "total", .codec = WEIR_I64, .ttl = &instant };
static const struct weir_state *expiring;
static int64_t first_found[DIGITS]; /* by the first record of a life with that key; -1 = nothing */
static int looked_at = DIGITS;      /* keys below this one */

static enum weir_code look_once(weir_keyed_task *task, const struct weir_record *record)
{
    const int key = record->key.data[0] - '0';
    int64_t so_far = -1;
    if (key >= looked_at) return WEIR_OK;
    (void)weir_value_get_object(task, expiring, &so_far);
    if (first_found[key] == 0) first_found[key] = so_far;
    if (so_far < 0) so_far = 0;
    so_far++;
    weir_value_set_object(task, expiring, &so_far);
    return weir_keyed_emit(task, .value = weir_format_i64(task, so_far));
}

static void run_expiring(const struct weir_state *with)
{
    const int64_t began = (int64_t)time(NULL);
    while ((int64_t)time(NULL) <= began) continue; /* the wall clock has moved on */
    expiring = with;
    memset(first_found, 0, sizeof first_found);
    run(look_once, with, NULL);
}

START_TEST(time_to_live_is_switched_between_runs)
{
    run_expiring(&total);
    run_expiring(&total_for_an_hour); /* what has no time yet is touched now */
    for (int key = 0; key < DIGITS; key++) ck_assert_int_eq(first_found[key], STEP / DIGITS);
    run_expiring(&total_for_an_hour);
    for (int key = 0; key < DIGITS; key++) ck_assert_int_eq(first_found[key], 2 * STEP / DIGITS);
    run_expiring(&total_for_an_instant);
    for (int key = 0; key < DIGITS; key++) ck_assert_int_eq(first_found[key], -1);
}
END_TEST

START_TEST(what_had_expired_under_an_earlier_declaration_does_not_come_back)
{
    run_expiring(&total_for_an_instant);
    looked_at = 1; /* the others expire, and nobody notices */
    run_expiring(&total_for_an_instant);
    looked_at = DIGITS;
    run_expiring(&total_for_an_hour);
    for (int key = 1; key < DIGITS; key++) ck_assert_int_eq(first_found[key], -1);
    run_expiring(&total);
    for (int key = 0; key < DIGITS; key++) ck_assert_int_gt(first_found[key], 0);
}
END_TEST

/* ---- Kinds and forms ------------------------------------------------------------------------------------------------ */

struct largest {
    int64_t count, largest;
};

static struct weir_bytes to_largest(void *task, uint32_t version, struct weir_bytes value)
{
    struct largest *now = weir_alloc(task, sizeof *now);
    ck_assert_uint_eq(version, 0);
    *now = (struct largest){ .largest = -1 };
    memcpy(&now->count, value.data, value.size);
    return (struct weir_bytes){ (const char *)now, sizeof *now };
}

static const struct weir_state total_as_list = { .name = "total", .kind = WEIR_STATE_LIST, .codec = WEIR_I64 };
static const struct weir_state total_as_f64 = { .name = "total", .codec = WEIR_F64 };
static const struct weir_state total_now = { .name = "total", .codec = WEIR_STRUCT, .version = 1,
                                             .struct_size_bytes = sizeof(struct largest), .migrate = to_largest };
static const struct weir_state total_without = { .name = "total", .codec = WEIR_STRUCT, .version = 1,
                                                 .struct_size_bytes = sizeof(struct largest) };

static enum weir_code never(weir_keyed_task *task, const struct weir_record *record)
{
    (void)record;
    return weir_fail(task, "runs");
}

static enum weir_code count_largest(weir_keyed_task *task, const struct weir_record *record)
{
    int64_t number = 0;
    struct largest *value = weir_value_struct(task, &total_now);
    (void)weir_bytes_to_i64(record->value, &number);
    if (number > value->largest) value->largest = number;
    return weir_keyed_emit(task, .value = weir_format_i64(task, ++value->count));
}

START_TEST(another_kind_or_form_under_the_same_name_is_refused)
{
    run(count, &total, NULL);
    expect_refusal(never, &total_as_list, NULL, "was written as kind 'value' and is declared as 'list' now");
    expect_refusal(never, &total_as_f64, NULL, "was written with another codec or size than the job declares now");
    expect_refusal(never, &total_without, NULL,
                   "was written by version 0 of its codec, and the job declares version 1 without a .migrate");
}
END_TEST

START_TEST(values_of_older_versions_are_migrated_and_newer_ones_refused)
{
    run_until_there_is_a_base(count, &total, NULL);
    run(count_largest, &total_now, NULL);
    expect_counts(lives);
    run(count_largest, &total_now, NULL);
    expect_counts(lives);
    expect_refusal(never, &total, NULL, "was written by version 1 of its codec, and the job declares version 0");
}
END_TEST

/* Old values may lie in a base as long as nobody uses them. */
START_TEST(a_migration_is_kept_as_long_as_there_may_be_old_values)
{
    run(count, &total, NULL);
    lives--;
    run(count_largest, &total_now, NULL); /* no number, no use; but a manifest of version 1 */
    expect_refusal(never, &total_without, NULL, "state 'total' holds values that another version of its codec wrote than 1");
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_checked_fixture(tests, begin, local_job_end);
    tcase_add_test(tests, a_state_that_is_no_longer_declared_stops_the_restore);
    tcase_add_test(tests, an_operator_that_is_gone_stops_the_restore);
    tcase_add_test(tests, what_was_given_up_begins_anew_when_it_is_declared_again);
    tcase_add_test(tests, states_may_be_declared_in_another_order);
    tcase_add_test(tests, an_operator_may_be_added_when_the_beginning_of_the_log_is_gone);
    tcase_add_test(tests, time_to_live_is_switched_between_runs);
    tcase_add_test(tests, what_had_expired_under_an_earlier_declaration_does_not_come_back);
    tcase_add_test(tests, another_kind_or_form_under_the_same_name_is_refused);
    tcase_add_test(tests, values_of_older_versions_are_migrated_and_newer_ones_refused);
    tcase_add_test(tests, a_migration_is_kept_as_long_as_there_may_be_old_values);
}

int main(void)
{
    return unit_main("runtime_states", add);
}
