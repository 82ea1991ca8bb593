/* All units of a state that is only read: its files side by side, in order (sst.h).
 *
 * Each file of level 0 is a source, and each level below it, whose files follow one another. RocksDB lists the files of level 0
 * newest first and then level by level, and of units by one name the one in the source that is listed first counts: what it
 * takes in later, it puts above all that has the name already. */
#include <endian.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "state/sst.h"
#include "state/store_rocksdb_private.h"

/* More descriptors than this, and as many sources, are left to RocksDB, which has its files open all the same. */
enum { FILES_MAX = 256 };

struct source {
    uint32_t rank;      /* in the order of the list */
    uint32_t next, end; /* files behind the one at hand */
    struct sst *at;
    struct sst_unit unit;
    uint64_t prefix; /* of its name, as a number that sorts like it */
};

struct rocks_tables {
    const struct rocks *rocks;
    struct sst *files[FILES_MAX];
    uint32_t file_count;
    int level;
    struct source sources[FILES_MAX];
    struct source *heap[FILES_MAX]; /* the next unit first */
    uint32_t count;
    bool has_begun;
    struct buffer last; /* the name that was met last */
};

/* ---- The next of all sources ------------------------------------------------------------------------------------- */

static uint64_t prefix_of(struct weir_bytes name)
{
    uint64_t big = 0;
    if (LIKELY(name.size >= sizeof big)) memcpy(&big, name.data, sizeof big);
    else memcpy(&big, name.data, name.size);
    return be64toh(big);
}

static int compare_names(struct weir_bytes a, struct weir_bytes b)
{
    const size_t size = a.size < b.size ? a.size : b.size;
    const int order = size == 0 ? 0 : memcmp(a.data, b.data, size);
    return order != 0 ? order : (a.size > b.size) - (a.size < b.size);
}

static bool is_before(const struct source *a, const struct source *b)
{
    if (LIKELY(a->prefix != b->prefix)) return a->prefix < b->prefix;
    const int order = compare_names(a->unit.name, b->unit.name);
    return order != 0 ? order < 0 : a->rank < b->rank;
}

static void sink(struct rocks_tables *tables, uint32_t i)
{
    struct source **const heap = tables->heap, *const source = heap[i];
    for (uint32_t below; (below = 2 * i + 1) < tables->count; i = below) {
        if (below + 1 < tables->count && is_before(heap[below + 1], heap[below])) below++;
        if (!is_before(heap[below], source)) break;
        heap[i] = heap[below];
    }
    heap[i] = source;
}

/* To its next unit; behind the last one its file is NULL. */
static enum weir_code advance(struct rocks_tables *tables, struct source *source, struct weir_error *error)
{
    while (source->at != NULL) {
        bool is_over;
        const enum weir_code code = sst_next(source->at, &source->unit, &is_over, error);
        if (code != WEIR_OK) return code;
        source->prefix = is_over ? 0 : prefix_of(source->unit.name);
        if (!is_over) return WEIR_OK;
        sst_close(source->at);
        tables->files[source->next - 1] = NULL;
        source->at = source->next < source->end ? tables->files[source->next++] : NULL;
    }
    return WEIR_OK;
}

static enum weir_code begin(struct rocks_tables *tables, struct weir_error *error)
{
    enum weir_code code = WEIR_OK;
    const uint32_t sources = tables->count;
    tables->count = 0;
    for (uint32_t i = 0; code == WEIR_OK && i < sources; i++) {
        struct source *source = &tables->sources[i];
        source->at = tables->files[source->next++];
        code = advance(tables, source, error);
        if (source->at != NULL) tables->heap[tables->count++] = source;
    }
    for (uint32_t i = tables->count / 2; i-- > 0;) sink(tables, i);
    tables->has_begun = true;
    return code;
}

static enum weir_code advance_first(struct rocks_tables *tables, struct weir_error *error)
{
    if (!tables->has_begun) return begin(tables, error);
    const enum weir_code code = advance(tables, tables->heap[0], error);
    if (code == WEIR_OK && tables->heap[0]->at == NULL) tables->heap[0] = tables->heap[--tables->count];
    if (tables->count > 0) sink(tables, 0);
    return code;
}

/* Is the first unit another than the one before it? Its name is behind that one's, or the files are not what they seem. */
static enum weir_code look_at_first(struct rocks_tables *tables, bool *is_new, struct weir_error *error)
{
    const struct weir_bytes name = tables->heap[0]->unit.name;
    const int order = compare_names((struct weir_bytes){ tables->last.data, tables->last.size }, name);
    *is_new = order < 0;
    if (UNLIKELY(order > 0))
        return weir_error_set(error, WEIR_DAMAGED, rocks_damage_remedy(tables->rocks), "units are not in order");
    buffer_clear(&tables->last);
    buffer_put(&tables->last, name.data, name.size);
    return tables->last.failed ? rocks_no_memory(error) : WEIR_OK;
}

enum weir_code rocks_tables_next(struct rocks_tables *tables, struct weir_bytes *name, struct weir_bytes *value,
                                 bool *is_over, struct weir_error *error)
{
    for (bool is_new;;) {
        enum weir_code code = advance_first(tables, error);
        *is_over = tables->count == 0;
        if (code == WEIR_OK && *is_over) return WEIR_OK;
        if (code == WEIR_OK) code = look_at_first(tables, &is_new, error);
        if (code != WEIR_OK) return weir_error_wrap(error, "state in %s", tables->rocks->directory);
        const struct sst_unit *unit = &tables->heap[0]->unit;
        if (!is_new || unit->is_removed) continue;
        *name = unit->name;
        *value = unit->value;
        return WEIR_OK;
    }
}

/* ---- The files of a state ---------------------------------------------------------------------------------------- */

/* Behind those that are there. False: it has to be left to RocksDB. */
static bool add_file(struct rocks_tables *tables, const char *name, int level)
{
    char path[STORE_PATH_MAX + 64];
    const uint32_t number = tables->file_count;
    const char *const origin = rocks_origin_of(tables->rocks, name);
    if (number == FILES_MAX) return false;
    (void)snprintf(path, sizeof path, "%s/db/%s", tables->rocks->directory, name);
    tables->files[number] = sst_open(path, origin);
    if (tables->files[number] == NULL) return false;
    tables->file_count++;
    if (level == 0 || tables->count == 0 || level != tables->level) {
        tables->sources[tables->count] = (struct source){ .rank = tables->count, .next = number };
        tables->count++;
    }
    tables->level = level;
    tables->sources[tables->count - 1].end = number + 1;
    return true;
}

static bool add_files(struct rocks_tables *tables, const char *state)
{
    const rocksdb_livefiles_t *files = rocksdb_livefiles(tables->rocks->db);
    bool is_fine = true;
    for (int i = 0; is_fine && i < rocksdb_livefiles_count(files); i++) {
        const char *name = rocksdb_livefiles_name(files, i);
        if (strcmp(rocksdb_livefiles_column_family_name(files, i), state) != 0) continue;
        is_fine = add_file(tables, name + strspn(name, "/"), rocksdb_livefiles_level(files, i));
    }
    rocksdb_livefiles_destroy(files);
    return is_fine;
}

struct rocks_tables *rocks_tables_open(const struct rocks *rocks, uint32_t state)
{
    struct rocks_tables *tables = calloc(1, sizeof *tables);
    if (tables == NULL) return NULL;
    tables->rocks = rocks;
    buffer_init(&tables->last);
    if (add_files(tables, rocks->states[state].name)) return tables;
    rocks_tables_close(tables);
    return NULL;
}

void rocks_tables_close(struct rocks_tables *tables)
{
    if (tables == NULL) return;
    for (uint32_t i = 0; i < tables->file_count; i++) sst_close(tables->files[i]);
    buffer_deinit(&tables->last);
    free(tables);
}
