/* Text that may hold anything, made fit for a line or a string: what a terminal or a parser would take for something else is
 * escaped, so that the result has no control characters and is valid UTF-8. */
#ifndef MAIN_TEXT_H
#define MAIN_TEXT_H

#include <stdio.h>

#include "weir/weir.h"

enum text_form {
    TEXT_JSON,  /* the inside of a JSON string: \n, \u001b; what is no UTF-8 becomes \ufffd */
    TEXT_PLAIN, /* for people: \n, \x1b, \xff; quotes stay as they are */
    TEXT_QUOTED /* the same between double quotes: those and backslashes are escaped */
};

/* Writes as much of `text` as fits into out[0, room), in whole characters, and no NUL. Answers how many bytes that are. */
size_t text_escape(char *out, size_t room, struct weir_bytes text, enum text_form form);
/* All of it, as a JSON string with its quotes. */
void text_print_json(FILE *file, const char *text);

#endif
