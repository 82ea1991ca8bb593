#include "base/check.h"

#include <stdio.h>

/* Static memory, so that a core dump without the program's files still shows the sentence. Written only when dying. */
static char check_sentence[512];

noreturn void check_failed(const char *file, int line, const char *belief)
{
    (void)snprintf(check_sentence, sizeof check_sentence, "%s:%d: not true: %s", file, line, belief);
    __asm__ volatile("" : : "r"(check_sentence) : "memory");
    __builtin_trap();
}
