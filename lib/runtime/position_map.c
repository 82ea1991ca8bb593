#include "runtime/position_map.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BLANKS " \t\r\n"
#define LINE_BYTES_MAX 2048

struct loading {
    struct position_map *map;
    const char *path;
    size_t number;
    struct weir_error *error;
};

#define REFUSE(loading, format, ...)                                                                                   \
    weir_error_set((loading)->error, WEIR_USAGE, WEIR_REMEDY_STOP, "%s:%zu: " format, (loading)->path,                 \
                   (loading)->number, __VA_ARGS__)

static const char wanted[] = "write TOPIC/PARTITION, the position in the savepoint, the position there, and the "
                             "TOPIC/PARTITION there if it has another name";

static enum weir_code parse_position(const struct loading *loading, const char *word, int64_t *position)
{
    if (weir_bytes_to_i64(weir_text(word), position) && *position >= 0) return WEIR_OK;
    return REFUSE(loading, "'%.100s' is no position: %s", word, wanted);
}

static enum weir_code add_line(const struct loading *loading, char *words[4])
{
    struct position_map *map = loading->map;
    struct position_map_line line = { .split = words[0], .number = loading->number,
                                      .split_there = words[3] == NULL ? words[0] : words[3] };
    enum weir_code code = parse_position(loading, words[1], &line.position);
    if (code == WEIR_OK) code = parse_position(loading, words[2], &line.position_there);
    if (code != WEIR_OK) return code;
    line.split = arena_text(&map->arena, line.split);
    line.split_there = arena_text(&map->arena, line.split_there);
    struct position_map_line *kept = vec_push(&map->lines);
    if (line.split == NULL || line.split_there == NULL || kept == NULL)
        return weir_error_set(loading->error, WEIR_NO_MEMORY, WEIR_REMEDY_REPLAY, "no memory for the lines of %s",
                              loading->path);
    *kept = line;
    return WEIR_OK;
}

static enum weir_code take_line(const struct loading *loading, char *text)
{
    char *words[4] = { NULL }, *rest = NULL;
    size_t count = 0;
    text[strcspn(text, "#")] = '\0';
    for (char *word = strtok_r(text, BLANKS, &rest); word != NULL; word = strtok_r(NULL, BLANKS, &rest)) {
        if (count == 4) return REFUSE(loading, "'%.100s' is one word too many: %s", word, wanted);
        words[count++] = word;
    }
    if (count == 0) return WEIR_OK;
    if (count < 3) return REFUSE(loading, "%zu of at least 3 words: %s", count, wanted);
    return add_line(loading, words);
}

static enum weir_code take_file(struct loading *loading, FILE *file)
{
    char text[LINE_BYTES_MAX];
    while (fgets(text, sizeof text, file) != NULL) {
        loading->number++;
        const size_t size = strlen(text);
        if (size == sizeof text - 1 && text[size - 1] != '\n')
            return REFUSE(loading, "the line is longer than %d bytes: %s", LINE_BYTES_MAX - 2, wanted);
        const enum weir_code code = take_line(loading, text);
        if (code != WEIR_OK) return code;
    }
    return ferror(file) == 0 ? WEIR_OK : REFUSE(loading, "cannot be read on: %s", strerror(errno));
}

static int compare(const char *split, int64_t position, const struct position_map_line *line)
{
    const int by_split = strcmp(split, line->split);
    return by_split != 0 ? by_split : (position > line->position) - (position < line->position);
}

static int by_split_and_position(const void *a, const void *b)
{
    const struct position_map_line *x = a, *y = b;
    const int order = compare(x->split, x->position, y);
    return order != 0 ? order : (x->number > y->number) - (x->number < y->number);
}

/* Two lines may say the same thing, and not two things. */
static enum weir_code check_twins(struct loading *loading)
{
    for (size_t i = 1; i < loading->map->lines.count; i++) {
        const struct position_map_line *a = &loading->map->lines.items[i - 1], *b = a + 1;
        if (compare(a->split, a->position, b) != 0) continue;
        if (a->position_there == b->position_there && strcmp(a->split_there, b->split_there) == 0) continue;
        loading->number = b->number;
        return REFUSE(loading, "position %lld of %s is %lld of %s here, and %lld of %s in line %zu: remove the wrong line",
                      (long long)b->position, b->split, (long long)b->position_there, b->split_there,
                      (long long)a->position_there, a->split_there, a->number);
    }
    return WEIR_OK;
}

enum weir_code position_map_load(struct position_map *map, const char *path, struct weir_error *error)
{
    struct loading loading = { .map = map, .path = path, .error = error };
    *map = (struct position_map){ .lines = { NULL, 0, 0 } };
    arena_init(&map->arena, 4096);
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return weir_error_set(error, WEIR_USAGE, WEIR_REMEDY_STOP,
                              "the position map '%s' cannot be read: %s; correct --position-map", path, strerror(errno));
    const enum weir_code code = take_file(&loading, file);
    fclose(file);
    if (code != WEIR_OK) return code;
    if (map->lines.count > 0)
        qsort(map->lines.items, map->lines.count, sizeof(*map->lines.items), by_split_and_position);
    return check_twins(&loading);
}

void position_map_deinit(struct position_map *map)
{
    arena_deinit(&map->arena);
    vec_free(&map->lines);
}

/* The first line that does not come before this position. */
static const struct position_map_line *seek(const struct position_map *map, const char *split, int64_t position)
{
    size_t low = 0, high = map->lines.count;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (compare(split, position, &map->lines.items[middle]) > 0) low = middle + 1;
        else high = middle;
    }
    return low < map->lines.count ? &map->lines.items[low] : NULL;
}

const struct position_map_line *position_map_find(const struct position_map *map, const char *split, int64_t position)
{
    const struct position_map_line *line = seek(map, split, position);
    return line != NULL && compare(split, position, line) == 0 ? line : NULL;
}

bool position_map_names(const struct position_map *map, const char *split)
{
    const struct position_map_line *line = seek(map, split, 0);
    return line != NULL && strcmp(line->split, split) == 0;
}
