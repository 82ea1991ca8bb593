/* Restart strategies: strategy.h says what each of them does. */
#include "checkpoint/strategy.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"

/* The first name of a kind is the one that is shown. */
static const struct {
    const char *name;
    enum strategy_kind kind;
} names[] = {
    { "none", STRATEGY_NONE },
    { "off", STRATEGY_NONE },
    { "disable", STRATEGY_NONE },
    { "fixed-delay", STRATEGY_FIXED_DELAY },
    { "fixeddelay", STRATEGY_FIXED_DELAY },
    { "failure-rate", STRATEGY_FAILURE_RATE },
    { "failurerate", STRATEGY_FAILURE_RATE },
    { "exponential-delay", STRATEGY_EXPONENTIAL_DELAY },
    { "exponentialdelay", STRATEGY_EXPONENTIAL_DELAY },
};

bool strategy_kind_parse(const char *name, enum strategy_kind *kind)
{
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(names[i].name, name) != 0) continue;
        *kind = names[i].kind;
        return true;
    }
    return false;
}

const char *strategy_kind_name(enum strategy_kind kind)
{
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (names[i].kind == kind) return names[i].name;
    return "unknown";
}

void strategy_options_init(struct strategy_options *options, enum strategy_kind kind)
{
    *options = (struct strategy_options){
        .kind = kind,
        .attempts = kind == STRATEGY_FIXED_DELAY ? 1 : 0,
        .delay_ms = 1000,
        .failures_max = 1,
        .interval_ms = 60 * 1000,
        .initial_ms = 100,
        .max_ms = 60 * 1000,
        .multiplier = 1.5,
        .jitter = 0.1,
        .reset_ms = 3600 * 1000,
    };
}

enum weir_code strategy_options_check(const struct strategy_options *options, struct weir_error *error)
{
    const struct {
        bool is_wrong;
        const char *sentence;
    } rules[] = {
        { options->delay_ms < 0, "fixed-delay.delay and failure-rate.delay cannot be negative" },
        { options->failures_max < 1 || options->failures_max > STRATEGY_FAILURES_MAX,
          "failure-rate.max-failures-per-interval is a number from 1 to 256" },
        { options->interval_ms < 1, "failure-rate.failure-rate-interval is at least 1 ms" },
        { options->initial_ms < 1, "exponential-delay.initial-backoff is at least 1 ms" },
        { options->max_ms < options->initial_ms, "exponential-delay.max-backoff cannot be below initial-backoff" },
        { !(options->multiplier >= 1.0), "exponential-delay.backoff-multiplier is at least 1.0" },
        { !(options->jitter >= 0.0 && options->jitter <= 1.0), "exponential-delay.jitter-factor is from 0.0 to 1.0" },
        { options->reset_ms < 1, "exponential-delay.reset-backoff-threshold is at least 1 ms" },
    };
    for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++)
        if (rules[i].is_wrong)
            return weir_error_set(error, WEIR_USAGE, WEIR_REMEDY_STOP, "restart-strategy.%s", rules[i].sentence);
    return WEIR_OK;
}

void strategy_init(struct strategy *strategy, const struct strategy_options *options)
{
    CHECK(strategy_options_check(options, NULL) == WEIR_OK);
    *strategy = (struct strategy){
        .options = *options, .backoff_ms = (double)options->initial_ms, .failed_at_us = INT64_MIN
    };
}

static struct strategy_verdict restart_after(int64_t delay_ms)
{
    return (struct strategy_verdict){ .restart = true, .delay_ms = delay_ms };
}

static struct strategy_verdict give_up(const char *format, ...) WEIR_PRINTF(1, 2);
static struct strategy_verdict give_up(const char *format, ...)
{
    struct strategy_verdict verdict = { .restart = false };
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(verdict.reason, sizeof verdict.reason, format, arguments);
    va_end(arguments);
    return verdict;
}

/* `random` as a number in [-1, 1). */
static double swing(uint64_t random)
{
    return (double)(random >> 11) / (double)(UINT64_C(1) << 52) - 1.0;
}

static double smaller(double a, double b)
{
    return a < b ? a : b;
}

/* The next delay of exponential-delay. The job has run without failure for long enough when the time since the last one
 * exceeds the threshold and the delay that went by before it ran. */
static int64_t next_backoff(struct strategy *strategy, int64_t now_us, uint64_t random)
{
    const struct strategy_options *options = &strategy->options;
    const bool has_failed = strategy->failed_at_us != INT64_MIN;
    const int64_t run_ms = has_failed ? (now_us - strategy->failed_at_us) / 1000 - strategy->delay_last_ms : 0;
    if (run_ms >= options->reset_ms) {
        strategy->backoff_ms = (double)options->initial_ms;
        strategy->attempt_count = 0;
    }
    const double jittered = strategy->backoff_ms * (1.0 + options->jitter * swing(random));
    strategy->delay_last_ms = (int64_t)smaller(jittered, (double)options->max_ms);
    if (strategy->delay_last_ms < 1) strategy->delay_last_ms = 1;
    strategy->backoff_ms = smaller(strategy->backoff_ms * options->multiplier, (double)options->max_ms);
    return strategy->delay_last_ms;
}

static struct strategy_verdict exponential_delay(struct strategy *strategy, bool counts, int64_t now_us,
                                                 uint64_t random)
{
    const int64_t delay_ms = next_backoff(strategy, now_us, random);
    const uint32_t attempts = strategy->options.attempts;
    if (counts && attempts != 0 && strategy->attempt_count == attempts)
        return give_up("restarted %" PRIu32 " times without running for long enough in between", attempts);
    strategy->attempt_count += counts;
    return restart_after(delay_ms);
}

static struct strategy_verdict fixed_delay(struct strategy *strategy, bool counts)
{
    const uint32_t attempts = strategy->options.attempts;
    if (counts && strategy->attempt_count == attempts) return give_up("all %" PRIu32 " restarts are used up", attempts);
    strategy->attempt_count += counts;
    return restart_after(strategy->options.delay_ms);
}

/* Remembers as many failures as are allowed in one interval: one more is too many while the oldest of them is in it. */
static struct strategy_verdict failure_rate(struct strategy *strategy, bool counts, int64_t now_us)
{
    const struct strategy_options *options = &strategy->options;
    if (!counts) return restart_after(options->delay_ms);
    int64_t *oldest_us = &strategy->failures_at_us[strategy->failure_count % options->failures_max];
    const bool is_full = strategy->failure_count >= options->failures_max;
    if (is_full && (now_us - *oldest_us) / 1000 < options->interval_ms)
        return give_up("more than %" PRIu32 " failures within %" PRId64 " ms", options->failures_max,
                       options->interval_ms);
    *oldest_us = now_us;
    strategy->failure_count++;
    return restart_after(options->delay_ms);
}

struct strategy_verdict strategy_failed(struct strategy *strategy, const struct weir_error *failure, int64_t now_us,
                                        uint64_t random)
{
    const bool counts = failure->remedy != WEIR_REMEDY_RETRY;
    struct strategy_verdict verdict = { 0 };
    switch (strategy->options.kind) {
    case STRATEGY_NONE:
        verdict = counts ? give_up("restart-strategy is none") : exponential_delay(strategy, false, now_us, random);
        break;
    case STRATEGY_FIXED_DELAY:
        verdict = fixed_delay(strategy, counts);
        break;
    case STRATEGY_FAILURE_RATE:
        verdict = failure_rate(strategy, counts, now_us);
        break;
    case STRATEGY_EXPONENTIAL_DELAY:
        verdict = exponential_delay(strategy, counts, now_us, random);
        break;
    }
    strategy->failed_at_us = now_us;
    return verdict;
}
