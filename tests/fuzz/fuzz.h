/* A fuzz target: libFuzzer's function, and inputs to begin with. With clang libFuzzer drives it, else driver.c does. */
#ifndef FUZZ_FUZZ_H
#define FUZZ_FUZZ_H

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
extern const char *const fuzz_corpus[]; /* NULL at the end */

#endif
