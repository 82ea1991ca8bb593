#include "sim/fate.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "sim/world.h"

#define GOLDEN UINT64_C(0x9e3779b97f4a7c15)

static struct {
    uint64_t seed, random;
    const struct fate_spared *spared;
    struct fate_counts counts;
} fate;

static uint64_t mix(uint64_t z) /* the end of splitmix64 */
{
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
}

/* ---- What is spared ---------------------------------------------------------------------------------------------- */

const char *fate_class_name(enum fate_class class)
{
    static const char *const names[] = {
#define FATE_CLASS_NAME(name) #name,
        FATE_CLASSES(FATE_CLASS_NAME)
#undef FATE_CLASS_NAME
    };
    return names[class];
}

/* A number, below FATE_MAX; `*at` goes behind it. */
static bool next_number(const char **at, uint32_t *number)
{
    char *end;
    errno = 0;
    const unsigned long read = strtoul(*at, &end, 10);
    if (errno != 0 || end == *at || **at < '0' || **at > '9' || read >= FATE_MAX) return false;
    *at = end;
    *number = (uint32_t)read;
    return true;
}

/* "7" or "7-12" */
static bool spare_numbers(struct fate_spared *spared, const char **at)
{
    uint32_t first, last;
    if (!next_number(at, &first)) return false;
    last = first;
    if (**at == '-') {
        ++*at;
        if (!next_number(at, &last)) return false;
    }
    for (uint32_t i = first; i <= last; i++) spared->numbers[i] = true;
    return first <= last;
}

static bool spare_class(struct fate_spared *spared, const char **at)
{
    const size_t size = strcspn(*at, ",");
    for (enum fate_class class = 0; class < FATE_CLASS_COUNT; class++) {
        const char *name = fate_class_name(class);
        if (strlen(name) != size || strncmp(name, *at, size) != 0) continue;
        spared->classes[class] = true;
        *at += size;
        return true;
    }
    return false;
}

bool fate_spare(struct fate_spared *spared, const char *list)
{
    for (const char *at = list;; at++) {
        if (!spare_class(spared, &at) && !spare_numbers(spared, &at)) return false;
        if (*at == '\0') return true;
        if (*at != ',') return false;
    }
}

static void add_word(char *text, size_t size, const char *format, ...) __attribute__((format(printf, 3, 4)));
static void add_word(char *text, size_t size, const char *format, ...)
{
    va_list arguments;
    size_t used = strlen(text);
    if (used > 0 && used + 1 < size) text[used++] = ',';
    va_start(arguments, format);
    (void)vsnprintf(text + used, size - used, format, arguments);
    va_end(arguments);
}

void fate_spared_text(const struct fate_spared *spared, char *text, size_t size)
{
    text[0] = '\0';
    for (enum fate_class class = 0; class < FATE_CLASS_COUNT; class++)
        if (spared->classes[class]) add_word(text, size, "%s", fate_class_name(class));
    for (uint32_t first = 0, end; first < FATE_MAX; first = end + 1) {
        for (end = first; end < FATE_MAX && spared->numbers[end]; end++) {}
        if (end == first + 1) add_word(text, size, "%u", first);
        else if (end > first) add_word(text, size, "%u-%u", first, end - 1);
    }
}

static bool is_spared(enum fate_class class, uint32_t number)
{
    return fate.spared != NULL && (fate.spared->classes[class] || (number < FATE_MAX && fate.spared->numbers[number]));
}

/* ---- Draws and strokes ------------------------------------------------------------------------------------------- */

void fate_begin(uint64_t seed, const struct fate_spared *spared)
{
    memset(&fate, 0, sizeof fate);
    fate.seed = mix(seed + GOLDEN);
    fate.spared = spared;
    fate_step(0);
}

void fate_step(uint32_t step) { fate.random = mix(fate.seed + step); }

uint64_t fate_below(uint64_t limit)
{
    CHECK(limit > 0);
    return mix(fate.random += GOLDEN) % limit;
}

bool fate_percent(uint32_t percent) { return fate_below(100) < percent; }

bool fate_strikes(enum fate_class class, const char *format, ...)
{
    char text[200];
    const uint32_t number = fate.counts.numbers++;
    va_list arguments;
    if (is_spared(class, number)) return false;
    fate.counts.struck++;
    fate.counts.struck_of[class]++;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    world_trace("#%u %s: %s", number, fate_class_name(class), text);
    return true;
}

struct fate_counts fate_counts(void) { return fate.counts; }
