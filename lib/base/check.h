/* Assertions. They say what the author believes; a false one is broken code, never bad input or a broken disk. They
 * stay on in release builds, off the record path. A failure stores the sentence where a core dump shows it and traps:
 * the library neither prints nor calls abort(). */
#ifndef BASE_CHECK_H
#define BASE_CHECK_H

#include <stdnoreturn.h>

noreturn void check_failed(const char *file, int line, const char *belief);

#define CHECK(belief) ((belief) ? (void)0 : check_failed(__FILE__, __LINE__, #belief))

/* On the record path: only in builds for tests. */
#ifdef WEIR_CHECK_HOT
#define CHECK_HOT(belief) CHECK(belief)
#else
#define CHECK_HOT(belief) ((void)0)
#endif

#define LIKELY(x) __builtin_expect(!!(x), 1)
#define UNLIKELY(x) __builtin_expect(!!(x), 0)

#endif
