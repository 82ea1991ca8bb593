#include "values.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* ---- Bytes ------------------------------------------------------------------------------------------------------- */

static bool is_text(struct weir_bytes bytes)
{
    const unsigned char *data = (const unsigned char *)bytes.data;
    size_t size;
    for (size_t i = 0; i < bytes.size; i += size) {
        size = weir_utf8_size((struct weir_bytes){ bytes.data + i, bytes.size - i });
        const bool is_control = data[i] < 0x20 || data[i] == 0x7f;
        if (size == 0 || (is_control && strchr("\t\n\r", data[i]) == NULL) || data[i] == 0) return false;
    }
    return true;
}

static void print_hex(FILE *file, struct weir_bytes bytes)
{
    for (size_t i = 0; i < bytes.size; i++) (void)fprintf(file, "%02x", (unsigned char)bytes.data[i]);
}

static void print_quoted(FILE *file, struct weir_bytes bytes)
{
    (void)putc('"', file);
    for (size_t i = 0; i < bytes.size; i++) {
        const char c = bytes.data[i];
        if (c == '\n') (void)fputs("\\n", file);
        else if (c == '\t') (void)fputs("\\t", file);
        else if (c == '\r') (void)fputs("\\r", file);
        else if (c == '"' || c == '\\') (void)fprintf(file, "\\%c", c);
        else (void)putc(c, file);
    }
    (void)putc('"', file);
}

/* Whether a reader could take it for something else than these characters. */
static bool is_ambiguous(struct weir_bytes bytes)
{
    if (bytes.size == 0 || weir_bytes_equal(bytes, weir_text("null"))) return true;
    if (bytes.size >= 2 && memcmp(bytes.data, "0x", 2) == 0) return true;
    for (size_t i = 0; i < bytes.size; i++)
        if (strchr(" \t\n\r\"\\=", bytes.data[i]) != NULL) return true;
    return false;
}

void print_bytes(FILE *file, struct weir_bytes bytes)
{
    if (!weir_is_set(bytes) || weir_is_null(bytes)) {
        (void)fputs("null", file);
    } else if (!is_text(bytes)) {
        (void)fputs("0x", file);
        print_hex(file, bytes);
    } else if (is_ambiguous(bytes)) {
        print_quoted(file, bytes);
    } else {
        (void)fwrite(bytes.data, 1, bytes.size, file);
    }
}

void print_json_bytes(FILE *file, struct weir_bytes bytes)
{
    if (!weir_is_set(bytes) || weir_is_null(bytes)) {
        (void)fputs("null", file);
    } else if (is_text(bytes)) {
        print_quoted(file, bytes);
    } else {
        (void)fputs("{\"hex\":\"", file);
        print_hex(file, bytes);
        (void)fputs("\"}", file);
    }
}

void print_json_text(FILE *file, const char *text)
{
    print_json_bytes(file, weir_text(text));
}

/* ---- Values ------------------------------------------------------------------------------------------------------ */

/* Of the declared version and as long as the codec says; what an older version wrote is bytes. */
static bool is_number(const struct weir_inspect_state *state, const struct weir_inspect_entry *entry)
{
    return (state->codec == WEIR_I64 || state->codec == WEIR_F64) && entry->value.size == 8 &&
           entry->version == state->version;
}

/* With as many digits as it takes to read the same number back. */
static void print_real(FILE *file, double real)
{
    char text[40];
    for (int digits = 15; digits <= 17; digits++) {
        (void)snprintf(text, sizeof text, "%.*g", digits, real);
        if (strtod(text, NULL) == real) break;
    }
    (void)fputs(text, file);
}

static bool print_number(FILE *file, const struct weir_inspect_state *state, const struct weir_inspect_entry *entry)
{
    int64_t integer;
    double real;
    if (!is_number(state, entry)) return false;
    memcpy(&integer, entry->value.data, sizeof integer);
    memcpy(&real, entry->value.data, sizeof real);
    if (state->codec == WEIR_I64) (void)fprintf(file, "%" PRId64, integer);
    else if (isfinite(real)) print_real(file, real);
    return state->codec == WEIR_I64 || isfinite(real);
}

void print_value(FILE *file, const struct weir_inspect_state *state, const struct weir_inspect_entry *entry)
{
    if (!print_number(file, state, entry)) print_bytes(file, entry->value);
}

void print_json_value(FILE *file, const struct weir_inspect_state *state, const struct weir_inspect_entry *entry)
{
    if (!print_number(file, state, entry)) print_json_bytes(file, entry->value);
}

/* ---- Time -------------------------------------------------------------------------------------------------------- */

void format_time(char text[TIME_TEXT_MAX], int64_t wall_ms)
{
    const int64_t milliseconds = (wall_ms % 1000 + 1000) % 1000;
    const time_t seconds = (time_t)((wall_ms - milliseconds) / 1000);
    struct tm parts;
    size_t size = 0;
    if (gmtime_r(&seconds, &parts) != NULL) size = strftime(text, TIME_TEXT_MAX - 5, "%Y-%m-%dT%H:%M:%S", &parts);
    (void)snprintf(text + size, TIME_TEXT_MAX - size, ".%03dZ", (int)milliseconds);
}
