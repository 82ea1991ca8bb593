/* A sink for people and tests: a line for each record, "key<TAB>value", where null prints as "null".
 *
 * In exactly-once mode lines are held in memory until their epoch is committed, and printed then: what is printed was
 * committed. Between the commit and the printing lies a moment in which a crash loses lines; who needs every one reads
 * them from a topic. In at-least-once mode lines are printed as they come, and again when they are replayed.
 *
 * Order is kept within a subtask. The library prints nothing by itself: it needs a file or a function to write to. */
#ifndef WEIR_PRINT_H
#define WEIR_PRINT_H

#include <stdio.h>

#include "weir/connector.h"

#ifdef __cplusplus
extern "C" {
#endif

/* One line without its end. Called on task threads, but never by two at the same time. */
typedef void weir_print_fn(void *user, const char *line, size_t size);

struct weir_print_options {
    WEIR_OPERATOR_FIELDS; /* `user` is handed to `line`; open and close are unused */
    weir_print_fn *line;  /* takes the lines, or: */
    FILE *file;           /* borrowed, used under a lock of the sink's own, flushed behind each epoch */
};
WEIR_API void weir_print_(struct weir_stream input, const struct weir_print_options *options);
#define weir_print(input, ...)                                                                                         \
    weir_print_((input), &(struct weir_print_options){ .size = sizeof(struct weir_print_options), __VA_ARGS__ })

#ifdef __cplusplus
}
#endif

#endif
