/* Time for whoever waits: deadlines, and what is due. */
#ifndef MAIN_CLOCK_H
#define MAIN_CLOCK_H

#include <stdint.h>
#include <time.h>

/* Monotonic. Any thread. */
static inline int64_t clock_now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

#endif
