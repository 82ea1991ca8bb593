/* Whole jobs that are started again at another parallelism, from 1, 2, 3, 5 and 8 to each of them: nothing of what keys and
 * operators remember is lost or doubled, and what is broadcast is the same everywhere. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "harness/digits.h"
#include "harness/local_job.h"
#include "harness/unit.h"
#include "weir/generator.h"
#include "weir/print.h"

enum { STEP = 200, RULES = 10, LIVES_MAX = 200 };

/* From each to each, once: a way over all 25 pairs. */
static const int walk[] = { 1, 1, 2, 1, 3, 1, 5, 1, 8, 2, 2, 3, 2, 5, 2, 8, 3, 3, 5, 3, 8, 5, 5, 8, 8, 1 };
enum { WALK = sizeof walk / sizeof walk[0] };

static int lives;
static uint64_t per_second; /* 0 = as fast as it goes */

static void set_parallelism(int count)
{
    char parallelism[16];
    (void)snprintf(parallelism, sizeof parallelism, "%d", count);
    local_job_set("parallelism.default", parallelism);
}

static void run(weir_graph *graph)
{
    const struct weir_error outcome = local_job_run(graph, NULL);
    local_job_expect_ok(&outcome);
}

static struct weir_stream numbers_of(weir_graph *graph)
{
    return weir_generator(graph, .name = "numbers", .count = (uint64_t)lives * STEP, .splits = 8, .per_second = per_second);
}

static void begin(void)
{
    local_job_begin();
    local_job_set("execution.checkpointing.interval", "1ms");
    lives = 0;
    per_second = 0;
}

/* ---- Lists and unions ------------------------------------------------------------------------------------------------ */

static const struct weir_state kept = { .name = "kept", .kind = WEIR_STATE_OPERATOR_LIST, .codec = WEIR_I64 };
static const struct weir_state known = { .name = "known", .kind = WEIR_STATE_OPERATOR_UNION, .codec = WEIR_I64 };

/* What .open found: subtask, elements and sum of its own list and of the whole union. */
struct found {
    int64_t own_count, own_sum, all_count, all_sum, union_own_count;
};
static struct found found[8];

static enum weir_code look(void *task)
{
    struct found *mine = &found[weir_subtask_index(task)];
    struct weir_iterator at = { 0 };
    int64_t number;
    *mine = (struct found){ 0 };
    for (; weir_operator_list_next_object(task, &kept, &at, &number); mine->own_count++) mine->own_sum += number;
    for (at = (struct weir_iterator){ 0 }; weir_operator_union_next_object(task, &known, &at, &number); mine->all_count++)
        mine->all_sum += number;
    for (at = (struct weir_iterator){ 0 }; weir_operator_list_next_object(task, &known, &at, &number);)
        mine->union_own_count++;
    return WEIR_OK;
}

static enum weir_code keep(weir_task *task, const struct weir_record *record)
{
    int64_t number;
    (void)weir_bytes_to_i64(record->value, &number);
    weir_operator_list_add_i64(task, &kept, number);
    weir_operator_list_add_i64(task, &known, number);
    return weir_emit(task, .value = record->value);
}

static void ignore_line(void *user, const char *line, size_t size)
{
    (void)user, (void)line, (void)size;
}

static weir_graph *keeping(void)
{
    weir_graph *graph = weir_graph_create();
    weir_print(weir_process(weir_rebalance(numbers_of(graph)), .name = "keep", .process = keep, .open = look,
                            .states = { &kept, &known }), .name = "out", .line = ignore_line);
    return graph;
}

static void keep_at(int count)
{
    set_parallelism(count);
    lives++;
    memset(found, 0, sizeof found);
    run(keeping());
    const int64_t before = (int64_t)(lives - 1) * STEP, sum = before * (before - 1) / 2;
    struct found all = { 0 };
    for (int i = 0; i < count; i++) {
        ck_assert_int_eq(found[i].all_count, before);
        ck_assert_int_eq(found[i].all_sum, sum);
        all.own_count += found[i].own_count;
        all.own_sum += found[i].own_sum;
        all.union_own_count += found[i].union_own_count;
    }
    ck_assert_int_eq(all.own_count, before);
    ck_assert_int_eq(all.own_sum, sum);
    ck_assert_int_eq(all.union_own_count, before);
}

static int64_t spread(int count)
{
    int64_t least = INT64_MAX, most = 0;
    for (int i = 0; i < count; i++) {
        if (found[i].own_count < least) least = found[i].own_count;
        if (found[i].own_count > most) most = found[i].own_count;
    }
    return most - least;
}

START_TEST(lists_are_dealt_out_evenly_and_unions_shown_to_all)
{
    for (int i = 0; i < WALK; i++) {
        keep_at(walk[i]);
        if (i > 0 && walk[i] != walk[i - 1]) ck_assert_int_le(spread(walk[i]), 1);
    }
}
END_TEST

START_TEST(lists_are_dealt_out_from_bases_too)
{
    static const int counts[] = { 3, 2, 5, 1 };
    local_job_set("state.recovery.max-frames", "1");
    per_second = STEP * 20; /* long enough for a dump */
    do keep_at(3);
    while (local_job_count_files("base-") == 0 && lives < LIVES_MAX);
    ck_assert_int_gt(local_job_count_files("base-"), 0);
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) keep_at(counts[i]);
}
END_TEST

/* Of the job as it is; another one is to begin with it. */
static void take_savepoint(void)
{
    struct weir_error error;
    struct weir_savepoint_status savepoint = { .size = sizeof savepoint };
    for (int i = 0; i < LIVES_MAX && savepoint.state != WEIR_SAVEPOINT_DONE; i++) {
        weir_job *job = local_job_create(keeping()); /* nothing is left to do, so it may have ended before it is asked */
        (void)weir_job_savepoint(job, local_job.directory, false, &error);
        ck_assert(weir_job_wait(job, PATIENCE_MS, NULL));
        weir_job_savepoint_status(job, &savepoint);
        weir_job_destroy(job);
    }
    ck_assert_msg(savepoint.state == WEIR_SAVEPOINT_DONE, "%s\n%s", savepoint.error.text, local_job.log);
    local_job.name = "copy";
    local_job_set("execution.savepoint.path", savepoint.path);
}

START_TEST(lists_are_dealt_out_from_savepoints_too)
{
    static const int counts[] = { 2, 5, 5, 1 };
    keep_at(3);
    take_savepoint();
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) keep_at(counts[i]);
}
END_TEST

START_TEST(what_a_founding_has_dealt_out_needs_no_other_commit)
{
    struct weir_error outcome;
    keep_at(3);
    take_savepoint();
    set_parallelism(5);
    local_job_set("execution.checkpointing.interval", "1h");
    per_second = 10;
    lives++;
    weir_job *job = local_job_create(keeping());
    local_job_await_running(job);
    weir_job_cancel(job);
    ck_assert(weir_job_wait(job, PATIENCE_MS, &outcome));
    ck_assert_uint_eq(local_job_status(job).epoch_committed, 0);
    weir_job_destroy(job);
    lives--;
    per_second = 0;
    local_job_set("execution.checkpointing.interval", "1ms");
    keep_at(5);
}
END_TEST

/* ---- Broadcast ------------------------------------------------------------------------------------------------------- */

static const struct weir_state rules = { .name = "rules", .kind = WEIR_STATE_BROADCAST, .codec = WEIR_I64 };

/* Counts numbers by their last digit: in every subtask the same. */
static enum weir_code count_digit(weir_task *task, const struct weir_record *record)
{
    const struct weir_bytes digit = { record->value.data + record->value.size - 1, 1 };
    ++*weir_broadcast_i64(task, &rules, digit);
    return WEIR_OK;
}

static enum weir_code look_at_rules(void *task)
{
    struct weir_iterator at = { 0 };
    struct weir_bytes digit;
    int64_t count;
    struct found *mine = &found[weir_subtask_index(task)];
    *mine = (struct found){ 0 };
    for (; weir_broadcast_next_object(task, &rules, &at, &digit, &count); mine->own_count++) {
        ck_assert_int_eq(count, (lives - 1) * STEP / RULES);
        mine->own_sum += count;
    }
    return WEIR_OK;
}

static void broadcast_at(int count)
{
    weir_graph *graph = weir_graph_create();
    set_parallelism(count);
    lives++;
    memset(found, 0, sizeof found);
    weir_print(weir_process(weir_broadcast(numbers_of(graph)), .name = "count", .process = count_digit,
                            .open = look_at_rules, .states = { &rules }), .name = "out", .line = ignore_line);
    run(graph);
    for (int i = 0; i < count; i++) {
        ck_assert_int_eq(found[i].own_count, lives == 1 ? 0 : RULES);
        ck_assert_int_eq(found[i].own_sum, (lives - 1) * STEP);
    }
}

START_TEST(broadcast_maps_are_the_same_in_every_subtask)
{
    for (int i = 0; i < WALK; i++) broadcast_at(walk[i]);
}
END_TEST

/* ---- Keys ------------------------------------------------------------------------------------------------------------ */

static const struct weir_state total = { .name = "total", .codec = WEIR_I64 };
static const struct weir_state numbers = { .name = "numbers", .kind = WEIR_STATE_LIST, .codec = WEIR_I64 };
static const struct weir_state by_life = { .name = "by-life", .kind = WEIR_STATE_MAP, .codec = WEIR_I64 };

/* Counts in a value, in a list and in a map, which must agree. */
static enum weir_code count_in_all(weir_keyed_task *task, const struct weir_record *record)
{
    (void)record;
    struct weir_iterator at = { 0 };
    struct weir_bytes element, key;
    int64_t in_list = 0, in_map = 0, one;
    const int64_t so_far = ++*weir_value_i64(task, &total);
    if (weir_list_add_i64(task, &numbers, so_far) != WEIR_OK) return WEIR_FAILED;
    ++*weir_map_i64(task, &by_life, weir_format_i64(task, lives));
    while (weir_list_next(task, &numbers, &at, &element)) {
        memcpy(&one, element.data, sizeof one);
        in_list += one == in_list + 1 ? 1 : 1000;
    }
    for (at = (struct weir_iterator){ 0 }; weir_map_next(task, &by_life, &at, &key, &element);) {
        memcpy(&one, element.data, sizeof one);
        in_map += one;
    }
    return weir_keyed_emit(task, .value = weir_format_i64(task, so_far == in_list && so_far == in_map ? so_far : -1));
}

START_TEST(values_lists_and_maps_of_keys_are_whole)
{
    enum { KEYS = 100, EACH = 2 };
    for (int i = 0; i < WALK; i++) {
        weir_graph *graph = weir_graph_create();
        set_parallelism(walk[i]);
        lives++;
        digits_begin_with(KEYS);
        digits_print(weir_keyed_process(digits_by_key(graph, (uint64_t)lives * KEYS * EACH, per_second), .name = "count",
                                        .process = count_in_all, .states = { &total, &numbers, &by_life }), "out");
        run(graph);
        digits_expect((int64_t)lives * EACH);
    }
}
END_TEST

/* ---- Declarations ---------------------------------------------------------------------------------------------------- */

static const struct weir_state kept_as_union = { .name = "kept", .kind = WEIR_STATE_OPERATOR_UNION, .codec = WEIR_I64 };

static enum weir_code pass(weir_task *task, const struct weir_record *record)
{
    return weir_forward(task, record);
}

static struct weir_error pass_with(const struct weir_state *state)
{
    weir_graph *graph = weir_graph_create();
    lives++;
    weir_print(weir_process(weir_rebalance(numbers_of(graph)), .name = "keep", .process = pass, .states = { state }),
               .name = "out", .line = ignore_line);
    return local_job_run(graph, NULL);
}

START_TEST(own_states_are_held_against_the_checkpoint_like_others)
{
    local_job_set("start.takeover", "true");
    keep_at(2);
    struct weir_error outcome = pass_with(&kept_as_union);
    ck_assert_int_eq(outcome.code, WEIR_FOREIGN);
    ck_assert_msg(strstr(outcome.text, "state 'kept' was written as kind 'operator-list' and is declared as 'operator-"
                                       "union' now") != NULL, "%s", outcome.text);
    outcome = pass_with(&kept);
    ck_assert_int_eq(outcome.code, WEIR_FOREIGN);
    ck_assert_msg(strstr(outcome.text, "operator 'keep': the checkpoint holds state 'known', which the job no longer "
                                       "declares") != NULL, "%s", outcome.text);
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_checked_fixture(tests, begin, local_job_end);
    tcase_add_test(tests, lists_are_dealt_out_evenly_and_unions_shown_to_all);
    tcase_add_test(tests, lists_are_dealt_out_from_bases_too);
    tcase_add_test(tests, lists_are_dealt_out_from_savepoints_too);
    tcase_add_test(tests, what_a_founding_has_dealt_out_needs_no_other_commit);
    tcase_add_test(tests, broadcast_maps_are_the_same_in_every_subtask);
    tcase_add_test(tests, values_lists_and_maps_of_keys_are_whole);
    tcase_add_test(tests, own_states_are_held_against_the_checkpoint_like_others);
}

int main(void)
{
    return unit_main("runtime_own_state", add);
}
