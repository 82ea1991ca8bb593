/* Restart strategies: what each of them says to a row of failures. */
#include "checkpoint/strategy.h"

#include <stdio.h>
#include <string.h>

#include "harness/unit.h"

#define MIDDLE (UINT64_C(1) << 63) /* a random number that adds no jitter */

static struct strategy strategy;
static struct strategy_verdict verdict;

static void begin(struct strategy_options options)
{
    struct weir_error error;
    ck_assert_msg(strategy_options_check(&options, &error) == WEIR_OK, "%s", error.text);
    strategy_init(&strategy, &options);
}

static struct strategy_options defaults(enum strategy_kind kind)
{
    struct strategy_options options;
    strategy_options_init(&options, kind);
    return options;
}

static bool fails_with(enum weir_remedy remedy, int64_t now_ms, uint64_t random)
{
    const struct weir_error failure = { .code = WEIR_FAILED, .remedy = remedy };
    verdict = strategy_failed(&strategy, &failure, now_ms * 1000, random);
    ck_assert(verdict.restart == (verdict.reason[0] == '\0'));
    return verdict.restart;
}

static bool fails_at(int64_t now_ms)
{
    return fails_with(WEIR_REMEDY_REPLAY, now_ms, MIDDLE);
}

START_TEST(none_gives_up_at_once)
{
    begin(defaults(STRATEGY_NONE));
    ck_assert(!fails_at(0));
}
END_TEST

START_TEST(fixed_delay_restarts_as_often_as_it_may)
{
    struct strategy_options options = defaults(STRATEGY_FIXED_DELAY);
    begin(options);
    ck_assert(fails_at(0));
    ck_assert_int_eq(verdict.delay_ms, 1000);
    ck_assert(!fails_at(1000));
    options.attempts = 3;
    begin(options);
    for (int i = 0; i < 3; i++) ck_assert(fails_at(i));
    ck_assert(!fails_at(3));
    ck_assert_str_eq(verdict.reason, "all 3 restarts are used up");
}
END_TEST

START_TEST(failure_rate_gives_up_when_failures_come_too_thick)
{
    struct strategy_options options = defaults(STRATEGY_FAILURE_RATE);
    begin(options);
    ck_assert(fails_at(0));
    ck_assert_int_eq(verdict.delay_ms, 1000);
    ck_assert(fails_at(60000));
    ck_assert(!fails_at(119999));

    options.failures_max = 3;
    begin(options);
    ck_assert(fails_at(0));
    ck_assert(fails_at(20000));
    ck_assert(fails_at(40000));
    ck_assert(fails_at(60000)); /* the first one is out of the interval */
    ck_assert(!fails_at(79999));
}
END_TEST

START_TEST(exponential_delay_grows_to_its_maximum)
{
    static const int64_t delays_ms[] = { 100, 150, 225, 337, 506 };
    begin(defaults(STRATEGY_EXPONENTIAL_DELAY));
    for (size_t i = 0; i < sizeof delays_ms / sizeof delays_ms[0]; i++) {
        ck_assert(fails_at((int64_t)i));
        ck_assert_int_eq(verdict.delay_ms, delays_ms[i]);
    }
    for (int i = 0; i < 100; i++) ck_assert(fails_at(i));
    ck_assert_int_eq(verdict.delay_ms, 60000);
}
END_TEST

START_TEST(exponential_delay_begins_again_after_a_long_run)
{
    struct strategy_options options = defaults(STRATEGY_EXPONENTIAL_DELAY);
    options.reset_ms = 10000;
    begin(options);
    ck_assert(fails_at(0));
    ck_assert(fails_at(200));
    ck_assert_int_eq(verdict.delay_ms, 150);
    ck_assert(fails_at(200 + 150 + 9999));
    ck_assert_int_eq(verdict.delay_ms, 225);
    ck_assert(fails_at(200 + 150 + 9999 + 225 + 10000));
    ck_assert_int_eq(verdict.delay_ms, 100);
}
END_TEST

START_TEST(exponential_delay_can_be_limited_in_attempts)
{
    struct strategy_options options = defaults(STRATEGY_EXPONENTIAL_DELAY);
    options.attempts = 2;
    options.reset_ms = 10000;
    begin(options);
    ck_assert(fails_at(0));
    ck_assert(fails_at(200));
    ck_assert(fails_at(20000)); /* the count began again */
    ck_assert(fails_at(20200));
    ck_assert(!fails_at(20400));
}
END_TEST

START_TEST(jitter_stays_within_its_factor)
{
    begin(defaults(STRATEGY_EXPONENTIAL_DELAY));
    ck_assert(fails_with(WEIR_REMEDY_REPLAY, 0, 0));
    ck_assert_int_eq(verdict.delay_ms, 90);
    begin(defaults(STRATEGY_EXPONENTIAL_DELAY));
    ck_assert(fails_with(WEIR_REMEDY_REPLAY, 0, UINT64_MAX));
    ck_assert_int_ge(verdict.delay_ms, 109);
    ck_assert_int_le(verdict.delay_ms, 110);
}
END_TEST

START_TEST(broker_trouble_uses_no_attempt_up)
{
    for (int kind = STRATEGY_NONE; kind <= STRATEGY_EXPONENTIAL_DELAY; kind++) {
        struct strategy_options options = defaults((enum strategy_kind)kind);
        options.attempts = 1;
        begin(options);
        for (int i = 0; i < 50; i++) {
            ck_assert_msg(fails_with(WEIR_REMEDY_RETRY, i, MIDDLE), "%s", strategy_kind_name(options.kind));
            ck_assert_int_gt(verdict.delay_ms, 0);
            ck_assert_int_le(verdict.delay_ms, 60000);
        }
        ck_assert(fails_at(100) == (kind != STRATEGY_NONE));
        ck_assert(!fails_at(101));
    }
}
END_TEST

START_TEST(names_are_flinks)
{
    static const struct {
        const char *name;
        enum strategy_kind kind;
    } rows[] = {
        { "none", STRATEGY_NONE }, { "off", STRATEGY_NONE }, { "disable", STRATEGY_NONE },
        { "fixed-delay", STRATEGY_FIXED_DELAY }, { "fixeddelay", STRATEGY_FIXED_DELAY },
        { "failure-rate", STRATEGY_FAILURE_RATE }, { "failurerate", STRATEGY_FAILURE_RATE },
        { "exponential-delay", STRATEGY_EXPONENTIAL_DELAY }, { "exponentialdelay", STRATEGY_EXPONENTIAL_DELAY },
    };
    enum strategy_kind kind;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        ck_assert_msg(strategy_kind_parse(rows[i].name, &kind), "%s", rows[i].name);
        ck_assert_int_eq(kind, rows[i].kind);
        ck_assert(strategy_kind_parse(strategy_kind_name(kind), &kind));
    }
    ck_assert(!strategy_kind_parse("sometimes", &kind));
}
END_TEST

struct wrong_case {
    const char *name; /* the key that the sentence names */
    struct strategy_options options;
};

START_TEST(options_that_make_no_sense_are_named)
{
    const struct strategy_options good = defaults(STRATEGY_EXPONENTIAL_DELAY);
    struct wrong_case rows[] = {
        { "fixed-delay.delay", good }, { "max-failures-per-interval", good }, { "max-failures-per-interval", good },
        { "failure-rate-interval", good }, { "initial-backoff", good }, { "max-backoff", good },
        { "backoff-multiplier", good }, { "jitter-factor", good }, { "reset-backoff-threshold", good },
    };
    rows[0].options.delay_ms = -1;
    rows[1].options.failures_max = 0;
    rows[2].options.failures_max = STRATEGY_FAILURES_MAX + 1;
    rows[3].options.interval_ms = 0;
    rows[4].options.initial_ms = 0;
    rows[5].options.max_ms = 99;
    rows[6].options.multiplier = 0.5;
    rows[7].options.jitter = 1.1;
    rows[8].options.reset_ms = 0;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct weir_error error;
        ck_assert_int_eq(strategy_options_check(&rows[i].options, &error), WEIR_USAGE);
        ck_assert_msg(strstr(error.text, rows[i].name) != NULL, "%s: %s", rows[i].name, error.text);
    }
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_test(tests, none_gives_up_at_once);
    tcase_add_test(tests, fixed_delay_restarts_as_often_as_it_may);
    tcase_add_test(tests, failure_rate_gives_up_when_failures_come_too_thick);
    tcase_add_test(tests, exponential_delay_grows_to_its_maximum);
    tcase_add_test(tests, exponential_delay_begins_again_after_a_long_run);
    tcase_add_test(tests, exponential_delay_can_be_limited_in_attempts);
    tcase_add_test(tests, jitter_stays_within_its_factor);
    tcase_add_test(tests, broker_trouble_uses_no_attempt_up);
    tcase_add_test(tests, names_are_flinks);
    tcase_add_test(tests, options_that_make_no_sense_are_named);
}

int main(void)
{
    return unit_main("strategy", add);
}
