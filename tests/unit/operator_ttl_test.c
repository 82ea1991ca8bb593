/* Time to live as callbacks see it: each kind of keyed state, by the clock of the task. */
#include <stdio.h>
#include <string.h>

#include "harness/rig.h"
#include "harness/unit.h"

enum { TTL = 1000 };

static struct rig rig;

static const struct weir_ttl plain = { .duration_ms = TTL };
static const struct weir_ttl on_read = { .duration_ms = TTL, .on_read = true };
static const struct weir_ttl shown = { .duration_ms = TTL, .shows_expired = true };
static const struct weir_ttl shown_and_kept = { .duration_ms = TTL, .shows_expired = true,
                                                .clean_up = WEIR_TTL_NO_CLEAN_UP };
static const struct weir_ttl *const ttls[] = { &plain, &on_read, &shown_and_kept };

static enum weir_code add_up(weir_keyed_task *task, void *so_far, const void *value)
{
    (void)task;
    *(int64_t *)so_far += *(const int64_t *)value;
    return WEIR_OK;
}

static enum weir_code add_input(weir_keyed_task *task, void *accumulator, const void *input)
{
    return add_up(task, accumulator, input);
}

static enum weir_code tell(weir_keyed_task *task, const void *accumulator, void *output)
{
    (void)task;
    *(int64_t *)output = *(const int64_t *)accumulator;
    return WEIR_OK;
}

static const struct weir_aggregator sum_up = { .add = add_input, .result = tell };

/* One state of each kind, whose time to live each test sets. */
static struct weir_state state;

/* "+": adds 1 in the way of the kind; "?": tells what there is, without changing it. */
static enum weir_code on_record(weir_keyed_task *task, const struct weir_record *record)
{
    struct weir_iterator at = { 0 };
    struct weir_bytes key = weir_text("entry");
    int64_t number = 0, one = 1, sum = 0;
    const bool adds = record->value.data[0] == '+';
    switch (state.kind) {
    case WEIR_STATE_VALUE:
        if (adds) return ++*weir_value_i64(task, &state), WEIR_OK;
        (void)weir_value_get_object(task, &state, &sum);
        break;
    case WEIR_STATE_LIST:
        if (adds) return weir_list_add_i64(task, &state, 1);
        while (weir_list_next_object(task, &state, &at, &number)) sum += number;
        break;
    case WEIR_STATE_MAP:
        if (adds) return ++*weir_map_i64(task, &state, key), WEIR_OK;
        while (weir_map_next_object(task, &state, &at, &key, &number)) sum += number;
        break;
    case WEIR_STATE_REDUCING:
        if (adds) return weir_reducing_add_i64(task, &state, 1);
        (void)weir_reducing_get(task, &state, &sum);
        break;
    default:
        if (adds) return weir_aggregating_add(task, &state, &one);
        (void)weir_aggregating_get(task, &state, &sum);
        break;
    }
    return weir_keyed_emit(task, .value = weir_format_i64(task, sum));
}

static void start(enum weir_state_kind kind, const struct weir_ttl *ttl, int64_t clock_ms)
{
    state = (struct weir_state){ .name = "state", .kind = kind, .codec = WEIR_I64, .reduce = add_up,
                                 .aggregator = &sum_up, .ttl = ttl };
    rig_init(&rig);
    struct weir_keyed_stream keyed = weir_key_by(rig_source(&rig, "in"), .key = NULL);
    rig_sink(&rig, weir_keyed_process(keyed, .name = "p", .process = on_record, .states = { &state }), "out");
    rig.clock_ms = 0;
    rig_start(&rig, (struct rig_options){ .clock_ms = clock_ms });
    (void)rig_output(&rig);
}

static void feed_at(int64_t ms, const char *value)
{
    rig.clock_ms = ms;
    rig_feed(&rig, 0, "k", value);
}

static void expect_at(int64_t ms, int number)
{
    char text[32];
    (void)snprintf(text, sizeof text, "out k=%d\n", number);
    feed_at(ms, "?");
    ck_assert_str_eq(rig_output(&rig), text);
}

START_TEST(every_kind_expires_by_the_clock_of_its_task)
{
    for (int kind = WEIR_STATE_VALUE; kind <= WEIR_STATE_AGGREGATING; kind++)
        for (size_t i = 0; i < 3; i++) {
            const struct weir_ttl *ttl = ttls[i];
            start((enum weir_state_kind)kind, ttl, 0);
            feed_at(0, "+");
            expect_at(500, 1);
            feed_at(500, "+");
            expect_at(999, 2);
            /* The second touch was of the same value, or of another element. */
            const bool is_list = kind == WEIR_STATE_LIST;
            const int at_1000 = is_list && !ttl->on_read && !ttl->shows_expired ? 1 : 2;
            expect_at(1000, at_1000);
            expect_at(1500, ttl->on_read || ttl->shows_expired ? 2 : 0);
            expect_at(2600, ttl->shows_expired ? 2 : 0);
            feed_at(2600, "+");
            expect_at(2601, ttl->shows_expired ? 3 : 1);
            rig_deinit(&rig);
        }
}
END_TEST

START_TEST(what_is_shown_is_shown_until_it_is_cleaned_up)
{
    start(WEIR_STATE_VALUE, &shown, 0);
    feed_at(0, "+");
    expect_at(5000, 1);
    int records = 0;
    rig.clock_ms = 5000;
    do {
        rig_feed(&rig, 0, "other", "?");
        (void)rig_output(&rig);
        ck_assert_int_lt(++records, 100000);
    } while (shard_entry_count(chain_shard(rig.chain, 1)) > 0);
    expect_at(5000, 0);
    rig_deinit(&rig);
}
END_TEST

START_TEST(the_clock_never_goes_back_behind_what_a_checkpoint_has_seen)
{
    start(WEIR_STATE_VALUE, &plain, 700);
    feed_at(100, "+"); /* at 700 */
    expect_at(1699, 1);
    expect_at(300, 1);
    struct chain_snapshot snapshot = rig_barrier(&rig, 1);
    ck_assert_int_eq(snapshot.clock_ms, 1699);
    chain_snapshot_clear(&snapshot);
    (void)rig_output(&rig);
    expect_at(1700, 0);
    rig_deinit(&rig);
}
END_TEST

static void expect_mistake(const struct weir_state *declared, const char *text)
{
    struct weir_error error = { 0 };
    rig_init(&rig);
    struct weir_keyed_stream keyed = weir_key_by(rig_source(&rig, "in"), .key = NULL);
    rig_sink(&rig, weir_keyed_process(keyed, .name = "p", .process = on_record, .states = { declared }), "out");
    ck_assert_int_eq(weir_graph_check(rig.graph, &error), WEIR_USAGE);
    ck_assert_str_eq(error.text, text);
    rig_deinit(&rig);
}

START_TEST(what_cannot_expire_is_refused_when_it_is_declared)
{
    static const struct weir_ttl never = { 0 };
    static const struct weir_state without = { .name = "v", .ttl = &never };
    static const struct weir_state own = { .name = "l", .kind = WEIR_STATE_OPERATOR_LIST, .ttl = &plain };
    expect_mistake(&without, "the values of state 'v' of operator 'p' are to live for 0 ms: set .duration_ms of its .ttl to 1 "
                             "or more, 1000 years at most");
    expect_mistake(&own, "state 'l' of operator 'p' has a time to live, and is the operator's own: only state of keys expires; "
                         "remove its .ttl");
}
END_TEST

START_TEST(the_plan_says_how_long_values_live)
{
    static const struct weir_ttl day = { .duration_ms = 24 * 3600 * 1000 }, odd = { .duration_ms = 90 * 1000 };
    static const struct weir_state a = { .name = "a", .codec = WEIR_I64, .ttl = &day };
    static const struct weir_state b = { .name = "b", .kind = WEIR_STATE_MAP, .ttl = &odd };
    static const struct weir_state c = { .name = "c", .kind = WEIR_STATE_OPERATOR_LIST };
    weir_config *config = weir_config_create();
    struct weir_error error = { 0 };
    rig_init(&rig);
    struct weir_keyed_stream keyed = weir_key_by(rig_source(&rig, "in"), .key = NULL);
    rig_sink(&rig, weir_keyed_process(keyed, .name = "p", .process = on_record, .states = { &a, &b, &c }), "out");
    char *text = weir_graph_explain(rig.graph, config, &error);
    ck_assert_msg(text != NULL, "%s", error.text);
    ck_assert_msg(strstr(text, "; state: a i64 for 1 d, b map of bytes for 90 s, c operator's list of bytes\n") != NULL, "%s",
                  text);
    free(text);
    weir_config_destroy(config);
    rig_deinit(&rig);
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_test(tests, every_kind_expires_by_the_clock_of_its_task);
    tcase_add_test(tests, what_is_shown_is_shown_until_it_is_cleaned_up);
    tcase_add_test(tests, the_clock_never_goes_back_behind_what_a_checkpoint_has_seen);
    tcase_add_test(tests, what_cannot_expire_is_refused_when_it_is_declared);
    tcase_add_test(tests, the_plan_says_how_long_values_live);
}

int main(void)
{
    return unit_main("operator_ttl", add);
}
