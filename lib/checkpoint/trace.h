/* One line of a trace, as the state machines of this folder write them. Owner: the stack. */
#ifndef CHECKPOINT_TRACE_H
#define CHECKPOINT_TRACE_H

#include <stddef.h>

#include "weir/weir.h"

struct trace_line {
    size_t size;
    char text[512]; /* NUL-terminated; begins as { 0 } */
};

/* Appends; cuts what does not fit. */
void trace_say(struct trace_line *line, const char *format, ...) WEIR_PRINTF(2, 3);

#endif
