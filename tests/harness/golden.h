/* Golden files: bytes as hexadecimal text under tests/golden, written by the first version of a format and never
 * again. */
#ifndef HARNESS_GOLDEN_H
#define HARNESS_GOLDEN_H

#include "base/base.h"

/* Puts the bytes of tests/golden/<name> into `bytes`. Lines that begin with # are comments, and "* n" stands for n zero
 * bytes. Fails the test when the file cannot be read. With WEIR_GOLDEN_WRITE=yes in the environment it writes the file
 * from `bytes` instead, for a new format. */
void golden_read(const char *name, struct buffer *bytes);

#endif
