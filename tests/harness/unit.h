/* One test program: a list of facts, run by Check.
 *
 *     START_TEST(holds_first_input_until_last_barrier) { ... } END_TEST
 *     static void add(TCase *tests) { tcase_add_test(tests, holds_first_input_until_last_barrier); }
 *     int main(void) { return unit_main("align", add); }
 *
 * Each fact runs in a process of its own (CK_FORK=no turns that off, for debuggers). */
#ifndef HARNESS_UNIT_H
#define HARNESS_UNIT_H

#include <check.h>
#include <stdbool.h>
#include <stdint.h>

/* Runs the facts that `add` adds; returns the exit status for main. */
int unit_main(const char *name, void (*add)(TCase *tests));

/* For loops of millions: ck_assert tells the parent process about every pass, this only about a failure. */
#define unit_expect(fact)                                                                                              \
    do {                                                                                                               \
        if (!(fact)) ck_abort_msg("not true: %s", #fact);                                                              \
    } while (0)

/* A seed from WEIR_SEED, or a new one; printed, so that a failure can be run again. */
uint64_t unit_seed(void);
/* The next number of a sequence (splitmix64) that begins at a seed. */
uint64_t unit_random(uint64_t *state);
/* A number below `limit`. */
static inline uint32_t unit_random_below(uint64_t *state, uint32_t limit)
{
    return (uint32_t)(unit_random(state) % limit);
}
/* True `percent` times in a hundred. */
static inline bool unit_chance(uint64_t *state, uint32_t percent)
{
    return unit_random_below(state, 100) < percent;
}

#endif
