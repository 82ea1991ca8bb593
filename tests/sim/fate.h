/* Draws of what befalls a run. */
#ifndef SIM_FATE_H
#define SIM_FATE_H

#include <stdbool.h>
#include <stdint.h>

/* Below `limit` (not 0). */
uint64_t fate_below(uint64_t limit);
bool fate_percent(uint32_t percent);

#endif
