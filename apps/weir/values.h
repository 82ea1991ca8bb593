/* Bytes and values as text for people, and as JSON. */
#ifndef WEIR_VALUES_H
#define WEIR_VALUES_H

#include <stdbool.h>
#include <stdio.h>

#include "weir/inspect.h"

/* Text stands as it is, in quotes where blanks or quotes would leave its end in doubt; what is no UTF-8, or holds control
 * characters other than tabs and line ends, in hexadecimal: 0x00ff. Null is null. */
void print_bytes(FILE *file, struct weir_bytes bytes);
/* A string, {"hex":"00ff"}, or null. */
void print_json_bytes(FILE *file, struct weir_bytes bytes);
void print_json_text(FILE *file, const char *text);

/* A value of this state: numbers of the built-in codecs as numbers, everything else as bytes. */
void print_value(FILE *file, const struct weir_inspect_state *state, const struct weir_inspect_entry *entry);
void print_json_value(FILE *file, const struct weir_inspect_state *state, const struct weir_inspect_entry *entry);

/* 2026-11-21T09:44:29.123Z */
#define TIME_TEXT_MAX 32
void format_time(char text[TIME_TEXT_MAX], int64_t wall_ms);

#endif
