/* Restart strategies, with Flink's names, keys and defaults (RestartStrategyOptions, Flink 2.x): after a failure, how
 * long to wait before the next attempt, or whether to give up. Pure: time and randomness come in.
 *
 *   none               gives up at once
 *   fixed-delay        `attempts` restarts in all, `delay` before each
 *   failure-rate       gives up when more than `failures_max` failures fell into the last `interval`; `delay` each
 *   exponential-delay  (default) initial, initial * multiplier, ... up to max; back to initial when a failure comes
 *                      later than reset threshold + last delay after the one before; each delay varies by +- jitter
 *
 * Where we deviate from Flink, and why
 *   The first delay of exponential-delay is 100 ms, not 1 s: a restart inside the process takes a fraction of a second.
 *   Broker trouble (remedy RETRY) never uses an attempt up and never gives up, under no strategy: how long a broker may
 *   be away is a question of patience, which the runtime knows. Under `none`, its delays are those of
 *   exponential-delay. */
#ifndef CHECKPOINT_STRATEGY_H
#define CHECKPOINT_STRATEGY_H

#include <stdbool.h>
#include <stdint.h>

#include "weir/weir.h"

#define STRATEGY_FAILURES_MAX 256

enum strategy_kind { STRATEGY_NONE, STRATEGY_FIXED_DELAY, STRATEGY_FAILURE_RATE, STRATEGY_EXPONENTIAL_DELAY };

struct strategy_options {
    enum strategy_kind kind;
    uint32_t attempts; /* fixed-delay.attempts (1); exponential-delay.attempts-before-reset-backoff (0 = any number) */
    int64_t delay_ms;            /* fixed-delay.delay, failure-rate.delay (1 s) */
    uint32_t failures_max;       /* failure-rate.max-failures-per-interval (1); at most STRATEGY_FAILURES_MAX */
    int64_t interval_ms;         /* failure-rate.failure-rate-interval (1 min) */
    int64_t initial_ms;          /* exponential-delay.initial-backoff (100 ms) */
    int64_t max_ms;              /* exponential-delay.max-backoff (1 min) */
    double multiplier;           /* exponential-delay.backoff-multiplier (1.5) */
    double jitter;               /* exponential-delay.jitter-factor (0.1) */
    int64_t reset_ms;            /* exponential-delay.reset-backoff-threshold (1 h) */
};

/* Flink's names, also in its other spellings (off, disable, fixeddelay ...). False for any other. */
bool strategy_kind_parse(const char *name, enum strategy_kind *kind);
const char *strategy_kind_name(enum strategy_kind kind);
/* The defaults above. */
void strategy_options_init(struct strategy_options *options, enum strategy_kind kind);
/* Names the first key whose value makes no sense. */
enum weir_code strategy_options_check(const struct strategy_options *options, struct weir_error *error);

struct strategy {
    struct strategy_options options;
    uint32_t attempt_count;     /* that count, since the last reset */
    double backoff_ms;          /* the next delay, before jitter */
    int64_t failed_at_us;       /* the last one; INT64_MIN = none */
    int64_t delay_last_ms;
    uint32_t failure_count;     /* of those that count; the last failures_max of them as a ring: */
    int64_t failures_at_us[STRATEGY_FAILURES_MAX];
};

/* `options` passed strategy_options_check. */
void strategy_init(struct strategy *strategy, const struct strategy_options *options);

struct strategy_verdict {
    bool restart;
    int64_t delay_ms;
    char reason[200]; /* when it gives up: a sentence for a person */
};
/* An attempt has failed with `failure`. `random` is one draw of the environment. */
struct strategy_verdict strategy_failed(struct strategy *strategy, const struct weir_error *failure, int64_t now_us,
                                        uint64_t random);

#endif
