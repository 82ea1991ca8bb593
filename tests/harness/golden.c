#include "harness/golden.h"

#include <check.h>
#include <dirent.h>
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

static void put_bytes(FILE *file, const struct buffer *bytes)
{
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
}

static bool is_writing(void)
{
    return getenv("WEIR_GOLDEN_WRITE") != NULL;
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
    if (is_writing()) {
        FILE *written = open_golden(name, "w");
        put_bytes(written, bytes);
        ck_assert_int_eq(fclose(written), 0);
    }
    buffer_clear(bytes);
    FILE *file = open_golden(name, "r");
    char line[256];
    while (fgets(line, sizeof line, file) != NULL) read_line(name, line, bytes);
    ck_assert_int_eq(fclose(file), 0);
}

/* ---- Folders ----------------------------------------------------------------------------------------------------- */

enum { FILES_MAX = 64 };

static FILE *open_inside(const char *directory, const char *name, const char *mode)
{
    char path[1024];
    (void)snprintf(path, sizeof path, "%s/%s", directory, name);
    FILE *file = fopen(path, mode);
    ck_assert_msg(file != NULL, "%s cannot be opened", path);
    return file;
}

static void read_inside(const char *directory, const char *name, struct buffer *bytes)
{
    char block[4096];
    FILE *file = open_inside(directory, name, "rb");
    buffer_clear(bytes);
    for (size_t size; (size = fread(block, 1, sizeof block, file)) > 0;) buffer_put(bytes, block, size);
    ck_assert_int_eq(fclose(file), 0);
}

static int is_visible(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

static void pack(const char *name, const char *directory)
{
    struct dirent **entries;
    struct buffer bytes;
    buffer_init(&bytes);
    const int count = scandir(directory, &entries, is_visible, alphasort);
    FILE *file = open_golden(name, "w");
    for (int i = 0; i < count; i++) {
        read_inside(directory, entries[i]->d_name, &bytes);
        (void)fprintf(file, "= %s\n", entries[i]->d_name);
        put_bytes(file, &bytes);
        free(entries[i]);
    }
    free(entries);
    ck_assert_int_eq(fclose(file), 0);
    buffer_deinit(&bytes);
}

/* Calls `each` for every file of the folder. */
static int unpack(const char *name, const char *directory,
                  void (*each)(const char *directory, const char *file, const struct buffer *bytes))
{
    struct buffer bytes;
    char line[256], file_name[200] = "";
    int count = 0;
    buffer_init(&bytes);
    FILE *file = open_golden(name, "r");
    bool has_line = fgets(line, sizeof line, file) != NULL;
    while (has_line) {
        ck_assert_msg(sscanf(line, "= %199s", file_name) == 1, "%s does not begin with a file's name", name);
        buffer_clear(&bytes);
        while ((has_line = fgets(line, sizeof line, file) != NULL) && line[0] != '=') read_line(name, line, &bytes);
        each(directory, file_name, &bytes);
        count++;
    }
    ck_assert_int_eq(fclose(file), 0);
    buffer_deinit(&bytes);
    return count;
}

static void write_inside(const char *directory, const char *name, const struct buffer *bytes)
{
    FILE *file = open_inside(directory, name, "wb");
    ck_assert_uint_eq(fwrite(bytes->data, 1, bytes->size, file), bytes->size);
    ck_assert_int_eq(fclose(file), 0);
}

void golden_unpack(const char *name, const char *directory)
{
    ck_assert_int_gt(unpack(name, directory, write_inside), 0);
}

static void compare_inside(const char *directory, const char *name, const struct buffer *bytes)
{
    struct buffer found;
    buffer_init(&found);
    read_inside(directory, name, &found);
    ck_assert_msg(found.size == bytes->size, "%s has %zu bytes instead of %zu", name, found.size, bytes->size);
    for (size_t i = 0; i < found.size; i++)
        if (found.data[i] != bytes->data[i]) ck_abort_msg("%s differs at byte %zu", name, i);
    buffer_deinit(&found);
}

void golden_compare(const char *name, const char *directory)
{
    struct dirent **entries;
    if (is_writing()) pack(name, directory);
    const int expected = unpack(name, directory, compare_inside);
    const int count = scandir(directory, &entries, is_visible, alphasort);
    ck_assert_int_eq(count, expected);
    for (int i = 0; i < count; i++) free(entries[i]);
    free(entries);
}

void golden_compare_text(const char *name, const char *directory, const char *text_name)
{
    struct buffer found, expected;
    char golden[1024];
    (void)snprintf(golden, sizeof golden, "%s/tests/golden", WEIR_SOURCE_DIR);
    buffer_init(&found);
    buffer_init(&expected);
    read_inside(directory, text_name, &found);
    if (is_writing()) write_inside(golden, name, &found);
    read_inside(golden, name, &expected);
    const size_t size = found.size < expected.size ? found.size : expected.size;
    size_t same = 0, line = 1;
    for (; same < size && found.data[same] == expected.data[same]; same++) line += found.data[same] == '\n';
    ck_assert_msg(same == found.size && same == expected.size, "%s/%s differs from %s in line %zu", directory,
                  text_name, name, line);
    buffer_deinit(&expected);
    buffer_deinit(&found);
}
