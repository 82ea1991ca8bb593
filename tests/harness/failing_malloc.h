/* Fails the n-th allocation, for rising n, until a scenario gets through: every path behind a failed allocation is
 * taken once, and each must give back what it held.
 *
 *     static void scenario(void) { struct batch *b = batch_create(); if (b == NULL) return; ... batch_release(b); }
 *     ck_assert_uint_gt(failing_malloc_each(scenario), 3);
 *
 * A test asks for the wrapper with a comment that says WEIR_TEST_WRAPS_MALLOC: tests/CMakeLists.txt adds the linker's
 * --wrap options then. Counted is what the linked objects allocate themselves, not what shared libraries do inside: a
 * scenario must not free what libc allocated, as strdup does. Check may be linked statically, and is counted then: a
 * scenario must not assert, but leave its findings to be asserted afterwards. */
#ifndef HARNESS_FAILING_MALLOC_H
#define HARNESS_FAILING_MALLOC_H

#include <stdbool.h>
#include <stdint.h>

/* Lets the n-th allocation from now on fail, once, or it and all behind it when `for_ever`. Any thread's count. */
void failing_malloc_arm(uint64_t n, bool for_ever);
/* Back to normal. True when an allocation has failed since failing_malloc_arm. */
bool failing_malloc_disarm(void);
/* Allocated and not freed yet, since the program began. */
int64_t failing_malloc_live(void);

/* Runs `scenario` with the first, second, ... allocation failing, each once and for ever, until none fails. Fails the
 * test when a run leaves memory behind. Returns how many allocations the scenario makes. */
uint64_t failing_malloc_each(void (*scenario)(void));

#endif
