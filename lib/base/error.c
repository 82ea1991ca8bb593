/* Codes, errors and the log: weir.h and connector.h say what each call promises. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "weir/connector.h"

struct code_row {
    const char *name;
    int exit_status;
    const char *text;
};

static const struct code_row codes[] = {
#define CODE_ROW(name, exit_status, text) { #name, exit_status, text },
    WEIR_CODES(CODE_ROW)
#undef CODE_ROW
};

/* A code from a newer library, or from a host's mistake, still gets an answer: errors are reported when things go
 * wrong. */
static const struct code_row *row_of(enum weir_code code)
{
    static const struct code_row unknown = { "UNKNOWN", 1, "unknown error code" };
    return (size_t)code < sizeof codes / sizeof codes[0] ? &codes[code] : &unknown;
}

const char *weir_code_name(enum weir_code code)
{
    return row_of(code)->name;
}

const char *weir_code_text(enum weir_code code)
{
    return row_of(code)->text;
}

int weir_code_exit_status(enum weir_code code)
{
    return row_of(code)->exit_status;
}

enum weir_code weir_error_set(struct weir_error *error, enum weir_code code, enum weir_remedy remedy,
                              const char *format, ...)
{
    if (error == NULL) return code;
    error->code = code;
    error->remedy = remedy;
    /* By way of a second buffer, because the sentence may quote the error that it replaces. */
    char text[sizeof error->text];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    memcpy(error->text, text, sizeof text);
    return code;
}

/* Cuts what does not fit. */
static void append(char *text, size_t capacity, const char *more)
{
    const size_t used = strlen(text), room = capacity - 1 - used;
    const size_t size = strnlen(more, room);
    memcpy(text + used, more, size);
    text[used + size] = '\0';
}

enum weir_code weir_error_wrap(struct weir_error *error, const char *format, ...)
{
    if (error == NULL) return WEIR_FAILED;
    char text[sizeof error->text];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);

    append(text, sizeof text, ": ");
    if (strncmp(error->text, text, strlen(text)) == 0) return error->code;
    append(text, sizeof text, error->text);
    memcpy(error->text, text, sizeof text);
    return error->code;
}

static void log_text(const struct weir_environment *environment, struct weir_log_line line, const char *format,
                     va_list arguments) WEIR_PRINTF(3, 0);
static void log_text(const struct weir_environment *environment, struct weir_log_line line, const char *format,
                     va_list arguments)
{
    char text[2048];
    (void)vsnprintf(text, sizeof text, format, arguments);
    line.text = text;
    line.job = environment->job;
    environment->log(environment->log_user, &line);
}

void weir_log(const struct weir_environment *environment, enum weir_log_level level, const char *format, ...)
{
    if (environment == NULL || environment->log == NULL) return;
    va_list arguments;
    va_start(arguments, format);
    log_text(environment, (struct weir_log_line){ .level = level }, format, arguments);
    va_end(arguments);
}

void weir_log_about(const struct weir_environment *environment, const struct weir_log_line *about, const char *format, ...)
{
    if (environment == NULL || environment->log == NULL) return;
    va_list arguments;
    va_start(arguments, format);
    log_text(environment, *about, format, arguments);
    va_end(arguments);
}
