/* The system's clocks, for whoever waits or writes down when: the engine itself asks its environment. Any thread. */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stdint.h>
#include <time.h>

static inline int64_t clock_us(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/* Monotonic: for deadlines, and what is due. */
static inline int64_t clock_now_ms(void) { return clock_us(CLOCK_MONOTONIC) / 1000; }
/* Since 1970. */
static inline int64_t clock_wall_ms(void) { return clock_us(CLOCK_REALTIME) / 1000; }

#endif
