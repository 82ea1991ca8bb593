/* Golden files: bytes as hexadecimal text under tests/golden, written by the first version of a format and never
 * again. */
#ifndef HARNESS_GOLDEN_H
#define HARNESS_GOLDEN_H

#include "base/base.h"

/* Puts the bytes of tests/golden/<name> into `bytes`. Lines that begin with # are comments, and "* n" stands for n zero
 * bytes. Fails the test when the file cannot be read. With WEIR_GOLDEN_WRITE=yes in the environment it writes the file
 * from `bytes` instead, for a new format. */
void golden_read(const char *name, struct buffer *bytes);

/* Folders of files, in one text: a line "= FILE" begins each. */

/* Writes the files of tests/golden/<name> into `directory`. */
void golden_unpack(const char *name, const char *directory);
/* Fails the test unless `directory` holds these files, these bytes, and no others; with WEIR_GOLDEN_WRITE=yes it writes
 * tests/golden/<name>. */
void golden_compare(const char *name, const char *directory);
/* The same for the text in DIRECTORY/TEXT_NAME. */
void golden_compare_text(const char *name, const char *directory, const char *text_name);

#endif
