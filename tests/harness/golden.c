#include "harness/golden.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LINE_BYTES = 32, ZEROES_MIN = 64 };

static FILE *open_golden(const char *name, const char *mode)
{
    char path[1024];
    (void)snprintf(path, sizeof path, "%s/tests/golden/%s", WEIR_SOURCE_DIR, name);
    FILE *file = fopen(path, mode);
    ck_assert_msg(file != NULL, "%s cannot be opened", path);
    return file;
}

static size_t zeroes_at(const struct buffer *bytes, size_t at)
{
    size_t count = 0;
    while (at + count < bytes->size && bytes->data[at + count] == 0) count++;
    return count;
}

static void write_golden(const char *name, const struct buffer *bytes)
{
    FILE *file = open_golden(name, "w");
    for (size_t at = 0; at < bytes->size;) {
        const size_t zeroes = zeroes_at(bytes, at);
        if (zeroes >= ZEROES_MIN) {
            (void)fprintf(file, "* %zu\n", zeroes);
            at += zeroes;
            continue;
        }
        for (size_t i = 0; i < LINE_BYTES && at < bytes->size && zeroes_at(bytes, at) < ZEROES_MIN; i++, at++)
            (void)fprintf(file, "%02x", (unsigned char)bytes->data[at]);
        (void)fprintf(file, "\n");
    }
    ck_assert_int_eq(fclose(file), 0);
}

static void read_line(const char *name, const char *line, struct buffer *bytes)
{
    size_t zeroes;
    if (line[0] == '#') return;
    if (sscanf(line, "* %zu", &zeroes) == 1) {
        for (size_t i = 0; i < zeroes; i++) buffer_u8(bytes, 0);
        return;
    }
    for (unsigned byte; sscanf(line, "%2x", &byte) == 1; line += 2) buffer_u8(bytes, (uint8_t)byte);
    ck_assert_msg(*line == '\n', "%s is not hexadecimal text", name);
}

void golden_read(const char *name, struct buffer *bytes)
{
    if (getenv("WEIR_GOLDEN_WRITE") != NULL) write_golden(name, bytes);
    buffer_clear(bytes);
    FILE *file = open_golden(name, "r");
    char line[256];
    while (fgets(line, sizeof line, file) != NULL) read_line(name, line, bytes);
    ck_assert_int_eq(fclose(file), 0);
}
