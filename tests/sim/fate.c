#include "sim/fate.h"

#include "sim/sched.h"

uint64_t fate_below(uint64_t limit) { return sched_random_below(limit); }
bool fate_percent(uint32_t percent) { return sched_chance(percent * 10000); }
