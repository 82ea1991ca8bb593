#include "checkpoint/trace.h"

#include <stdarg.h>
#include <stdio.h>

void trace_say(struct trace_line *line, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    const int size = vsnprintf(line->text + line->size, sizeof line->text - line->size, format, arguments);
    va_end(arguments);
    if (size > 0) line->size += (size_t)size;
    if (line->size >= sizeof line->text) line->size = sizeof line->text - 1;
}
