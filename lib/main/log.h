/* Log lines as bytes: for people, as logfmt, or as JSON, one object a line. Whatever the texts hold, a line is one line of
 * UTF-8 without control characters; records never get here.
 *
 *   struct weir_log_line ── repeats_take ──> log_format ──> stderr
 *                               └── the same line again: counted, and told later
 *
 * Pure, but for nothing: time comes in. Owner: whoever holds the lock of stderr. */
#ifndef MAIN_LOG_H
#define MAIN_LOG_H

#include "weir/weir.h"

enum log_form { LOG_TEXT, LOG_LOGFMT, LOG_JSON };
enum { LOG_LINE_MAX = 8192 };

/* What log.format and log.level say. */
enum log_form log_form_of(const weir_config *config);
enum weir_log_level log_level_of(const weir_config *config);

/* Writes the line, its newline and a NUL; what is too long is cut, and whole again behind the cut. Answers its size. */
size_t log_format(char out[static LOG_LINE_MAX], enum log_form form, int64_t wall_ms, const struct weir_log_line *line);

/* ---- Repeated lines ------------------------------------------------------------------------------------------------- */

enum { REPEATS_LINES = 16, REPEATS_TEXT_MAX = 400, REPEATS_WINDOW_MS = 10000 };

/* Lines that were said lately. */
struct repeats {
    struct repeats_line {
        uint64_t hash; /* 0 = free */
        int64_t said_ms;
        uint64_t count; /* since then, not said */
        enum weir_log_level level;
        char text[REPEATS_TEXT_MAX]; /* as much as fits */
        char job[72];
    } lines[REPEATS_LINES];
};

/* Whether the line is to be said: not when the same one was said within the last ten seconds. */
bool repeats_take(struct repeats *repeats, int64_t now_ms, const struct weir_log_line *line);
/* A line that was held back and whose ten seconds are over (all of them: at the end), as "TEXT ... repeated 41 times"; until
 * it answers false. `text` is where it is put together. */
bool repeats_due(struct repeats *repeats, int64_t now_ms, bool all, char text[static REPEATS_TEXT_MAX + 64],
                 struct weir_log_line *line);

#endif
