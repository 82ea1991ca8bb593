#include "sim/fate.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/check.h"
#include "sim/world.h"

#define GOLDEN UINT64_C(0x9e3779b97f4a7c15)

static struct {
    uint64_t seed, random;
    const struct fate_spared *spared;
    uint32_t count;
} fate;

static uint64_t mix(uint64_t z) /* the end of splitmix64 */
{
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
}

void fate_spare(struct fate_spared *spared, uint32_t number, bool is_spared)
{
    const uint64_t bit = UINT64_C(1) << (number % 64);
    CHECK(number < FATE_MAX);
    if (is_spared) spared->bits[number / 64] |= bit;
    else spared->bits[number / 64] &= ~bit;
}

bool fate_is_spared(const struct fate_spared *spared, uint32_t number)
{
    return spared != NULL && number < FATE_MAX && (spared->bits[number / 64] >> (number % 64) & 1) != 0;
}

void fate_begin(uint64_t seed, const struct fate_spared *spared)
{
    fate.seed = mix(seed + GOLDEN);
    fate.spared = spared;
    fate.count = 0;
    fate_step(0);
}

void fate_step(uint32_t step) { fate.random = mix(fate.seed + step); }

uint64_t fate_below(uint64_t limit)
{
    CHECK(limit > 0);
    return mix(fate.random += GOLDEN) % limit;
}

bool fate_percent(uint32_t percent) { return fate_below(100) < percent; }

bool fate_strikes(const char *format, ...)
{
    char text[200];
    const uint32_t number = fate.count++;
    const bool is_spared = fate_is_spared(fate.spared, number);
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    world_trace("#%u%s %s", number, is_spared ? " (spared)" : "", text);
    return !is_spared;
}

uint32_t fate_count(void) { return fate.count; }
