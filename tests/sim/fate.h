/* What befalls a run, drawn from its seed.
 *
 * Draws of a step follow from the seed and the number of that step alone, and not from what the job made of the steps
 * before. Each stroke of fate (a kill, an outage, a lost request) gets a number as it comes, and a run can be spared some of
 * them by their numbers. So a run that is cut short, or spared something, stays like itself: the way from a failing seed
 * to a short trace. */
#ifndef SIM_FATE_H
#define SIM_FATE_H

#include <stdbool.h>
#include <stdint.h>

enum { FATE_MAX = 4096 }; /* what comes later cannot be spared */

struct fate_spared {
    uint64_t bits[FATE_MAX / 64];
};
void fate_spare(struct fate_spared *spared, uint32_t number, bool is_spared);
bool fate_is_spared(const struct fate_spared *spared, uint32_t number);

/* `spared` is borrowed; NULL = nothing. Step 0. */
void fate_begin(uint64_t seed, const struct fate_spared *spared);
void fate_step(uint32_t step);
/* Below `limit` (not 0). */
uint64_t fate_below(uint64_t limit);
bool fate_percent(uint32_t percent);

/* Takes the next number for what is about to happen, which the trace is told. False when the run is spared it. */
bool fate_strikes(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Strokes so far, those that were spared among them. */
uint32_t fate_count(void);

#endif
