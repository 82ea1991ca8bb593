/* What befalls a run, drawn from its seed.
 *
 * Draws of a step follow from the seed and the number of that step alone, and not from what the job made of the steps
 * before. Each stroke of fate (a kill, an outage, a lost request) belongs to a class and gets a number as it comes, and a
 * run can be spared whole classes, or some of them by their numbers. So a run that is cut short, or spared something, stays
 * like itself: the way from a failing seed to a short trace (shrink.h). */
#ifndef SIM_FATE_H
#define SIM_FATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FATE_CLASSES(X)                                                                                                \
    X(kills) X(moments) X(freezes) X(stops) X(starts) X(rushes) X(power) X(disk) X(brokers) X(coordinators)            \
    X(compactions) X(groups) X(storms) X(requests) X(growth) X(mishaps) X(orders)

enum fate_class {
#define FATE_CLASS_ENUM(name) FATE_##name,
    FATE_CLASSES(FATE_CLASS_ENUM)
#undef FATE_CLASS_ENUM
    FATE_CLASS_COUNT
};
const char *fate_class_name(enum fate_class class);

enum { FATE_MAX = 4096 }; /* what comes later cannot be spared by its number */

struct fate_spared {
    bool classes[FATE_CLASS_COUNT];
    bool numbers[FATE_MAX];
};
/* Adds what a list says, "kills,3,7-12": classes and numbers. False when it is none. */
bool fate_spare(struct fate_spared *spared, const char *list);
/* The same as a list; cut when it does not fit. */
void fate_spared_text(const struct fate_spared *spared, char *text, size_t size);

/* `spared` is borrowed; NULL = nothing. Step 0. */
void fate_begin(uint64_t seed, const struct fate_spared *spared);
void fate_step(uint32_t step);
/* Below `limit` (not 0). */
uint64_t fate_below(uint64_t limit);
bool fate_percent(uint32_t percent);

/* Takes the next number for what is about to happen, which the trace is told. False when the run is spared it. */
bool fate_strikes(enum fate_class class, const char *format, ...) __attribute__((format(printf, 2, 3)));

struct fate_counts {
    uint32_t numbers; /* strokes, those that were spared among them */
    uint32_t struck, struck_of[FATE_CLASS_COUNT];
};
struct fate_counts fate_counts(void);

#endif
