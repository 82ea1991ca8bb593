/* A database is opened: its folder, its column families, its key groups; and closed. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "state/store_key.h"
#include "state/store_rocksdb_private.h"

static enum weir_code prepare_directory(const struct rocks *rocks, const struct store_rocksdb_options *options,
                                        const char *db, const char *fresh, struct weir_error *error)
{
    enum weir_code code = rocks->reads_only ? WEIR_OK : store_files_remove(rocks->directory, error);
    if (code == WEIR_OK && !rocks->reads_only) code = store_files_make(rocks->directory, error);
    if (code == WEIR_OK) code = store_files_make(db, error);
    if (code == WEIR_OK) code = store_files_make(fresh, error);
    if (code != WEIR_OK || options->base == NULL) return code;
    return links_bring(options->from, options->base, db, rocks->reads_only, error);
}

static uint32_t state_named(const struct rocks *rocks, const char *name)
{
    for (uint32_t i = 0; i < rocks->state_count; i++)
        if (strcmp(rocks->states[i].name, name) == 0) return i;
    return UINT32_MAX;
}

static bool is_given_up(const struct store_rocksdb_options *options, const char *name)
{
    for (uint32_t i = 0; i < options->given_up_count; i++)
        if (strcmp(options->given_up[i], name) == 0) return true;
    return false;
}

/* Every column family that is there must be opened; those of no state are dropped. */
static enum weir_code adopt_families(struct rocks *rocks, const struct store_rocksdb_options *options, char **names,
                                     rocksdb_column_family_handle_t **handles, size_t count, struct weir_error *error)
{
    char *message = NULL;
    for (size_t i = 0; i < count; i++) {
        const uint32_t state = is_given_up(options, names[i]) ? UINT32_MAX : state_named(rocks, names[i]);
        if (strcmp(names[i], "default") == 0) {
            rocks->family_default = handles[i];
        } else if (state != UINT32_MAX) {
            rocks->families[state] = handles[i];
        } else {
            if (message == NULL && !rocks->reads_only) rocksdb_drop_column_family(rocks->db, handles[i], &message);
            rocksdb_column_family_handle_destroy(handles[i]);
        }
    }
    return rocks_answer(rocks, message, "drop what is not declared any more", error);
}

static enum weir_code open_families(struct rocks *rocks, const struct store_rocksdb_options *wanted, const char *db,
                                    char **names, size_t count, struct weir_error *error)
{
    char *message = NULL;
    const rocksdb_options_t **options = calloc(count, sizeof *options);
    rocksdb_column_family_handle_t **handles = calloc(count, sizeof *handles);
    enum weir_code code = options == NULL || handles == NULL ? rocks_no_memory(error) : WEIR_OK;
    if (code == WEIR_OK) {
        for (size_t i = 0; i < count; i++) options[i] = rocks_options_of(rocks, state_named(rocks, names[i]));
        const char *const *const all = (const char *const *)names;
        if (rocks->reads_only)
            rocks->db = rocksdb_open_for_read_only_column_families(rocks->options, db, (int)count, all, options, handles,
                                                                   0, &message);
        else
            rocks->db = rocksdb_open_column_families(rocks->options, db, (int)count, all, options, handles, &message);
        code = rocks_answer(rocks, message, "open it", error);
        if (code == WEIR_OK) code = adopt_families(rocks, wanted, names, handles, count, error);
    }
    free(handles);
    free(options);
    return code;
}

/* A state is called "default" in no database: the name is RocksDB's. */
static enum weir_code open_database(struct rocks *rocks, const struct store_rocksdb_options *options, const char *db,
                                    struct weir_error *error)
{
    char *message = NULL, *only = (char[]){ "default" };
    char **names = &only, **listed = NULL;
    size_t count = 1;
    if (rocks->has_base) {
        listed = rocksdb_list_column_families(rocks->options, db, &count, &message);
        if (message != NULL) return rocks_answer(rocks, message, "list its states", error);
        names = listed;
    }
    enum weir_code code = open_families(rocks, options, db, names, count, error);
    if (listed != NULL) rocksdb_list_column_families_destroy(listed, count);
    for (uint32_t i = 0; code == WEIR_OK && i < rocks->state_count; i++) {
        if (rocks->families[i] != NULL || rocks->reads_only) continue;
        rocks->families[i] =
            rocksdb_create_column_family(rocks->db, rocks_options_of(rocks, i), rocks->states[i].name, &message);
        code = rocks_answer(rocks, message, "add a state", error);
    }
    return code;
}

/* Widens [*first, *end) by the key group that a name begins with. */
static void widen(const char *name, size_t size, uint32_t *first, uint32_t *end)
{
    if (size < 2) return;
    const uint32_t group = (uint32_t)(uint8_t)name[0] << 8 | (uint8_t)name[1];
    if (group < *first) *first = group;
    if (group >= *end) *end = group + 1;
}

/* The key groups of all that the files hold lie in [*first, *end). */
static void find_groups(const struct rocks *rocks, uint32_t *first, uint32_t *end)
{
    const rocksdb_livefiles_t *files = rocksdb_livefiles(rocks->db);
    *first = UINT32_MAX, *end = 0;
    for (int i = 0; i < rocksdb_livefiles_count(files); i++) {
        size_t size;
        const char *name = rocksdb_livefiles_smallestkey(files, i, &size);
        widen(name, size, first, end);
        name = rocksdb_livefiles_largestkey(files, i, &size);
        widen(name, size, first, end);
    }
    rocksdb_livefiles_destroy(files);
}

/* Key groups [first, end) are somebody else's. */
static enum weir_code clip(struct rocks *rocks, uint32_t first, uint32_t end, struct weir_error *error)
{
    char *message = NULL;
    buffer_clear(&rocks->name);
    store_key_group_prefix(&rocks->name, first);
    store_key_group_prefix(&rocks->name, end);
    if (rocks->name.failed) return rocks_no_memory(error);
    for (uint32_t i = 0; first < end && message == NULL && i < rocks->state_count; i++)
        rocksdb_delete_range_cf(rocks->db, rocks->writing, rocks->families[i], rocks->name.data, 2,
                                rocks->name.data + 2, 2, &message);
    return rocks_answer(rocks, message, "clip key groups off", error);
}

/* Only what is there: a range that is removed is looked at by whoever reads, until a compaction has come by. */
static enum weir_code clip_off(struct rocks *rocks, uint32_t group_first, uint32_t group_end, uint32_t groups,
                               struct weir_error *error)
{
    uint32_t first, end;
    find_groups(rocks, &first, &end);
    enum weir_code code = first < group_first ? clip(rocks, 0, group_first, error) : WEIR_OK;
    return code == WEIR_OK && end > group_end ? clip(rocks, group_end, groups, error) : code;
}

enum weir_code rocks_open_in(struct rocks *rocks, const struct store_rocksdb_options *options,
                              struct weir_error *error)
{
    char db[STORE_PATH_MAX], fresh[STORE_PATH_MAX + 8], temporary[STORE_PATH_MAX];
    rocks->reads_only = options->directory == NULL;
    CHECK(!rocks->reads_only || options->base != NULL);
    if (rocks->reads_only && !store_files_temporary("weir-base", temporary))
        return weir_error_set(error, WEIR_ENVIRONMENT, WEIR_REMEDY_STOP,
                              "state: cannot make a folder to read a base in; make room in /tmp, or set TMPDIR");
    const char *const directory = rocks->reads_only ? temporary : options->directory;
    if (snprintf(db, sizeof db, "%s/db", directory) >= STORE_PATH_MAX - 32)
        return weir_error_set(error, WEIR_USAGE, WEIR_REMEDY_STOP, "state: the path %s is too long", directory);
    (void)snprintf(rocks->directory, sizeof rocks->directory, "%s", directory);
    (void)snprintf(fresh, sizeof fresh, "%s/new", directory);
    rocks->states = malloc((options->state_count + 1) * sizeof *rocks->states);
    rocks->families = calloc(options->state_count + 1, sizeof(rocksdb_column_family_handle_t *));
    rocks->expiries = calloc(options->state_count + 1, sizeof *rocks->expiries);
    if (rocks->states == NULL || rocks->families == NULL || rocks->expiries == NULL) return rocks_no_memory(error);
    memcpy(rocks->states, options->states, options->state_count * sizeof *rocks->states);
    rocks->state_count = options->state_count;
    rocks->max_parallelism = options->max_parallelism;
    rocks->has_base = options->base != NULL;
    rocks->memory = options->memory;
    rocks_set_options(rocks, options);
    if (!rocks->reads_only) rocks_set_expiries(rocks);
    enum weir_code code = prepare_directory(rocks, options, db, fresh, error);
    if (code == WEIR_OK && !rocks_remember_files(rocks, options->base)) code = rocks_no_memory(error);
    if (code == WEIR_OK) code = open_database(rocks, options, db, error);
    if (code != WEIR_OK || options->base == NULL || rocks->reads_only) return code;
    const uint32_t end = options->group_first + options->group_count;
    rocks_look_at_memory(rocks);
    return clip_off(rocks, options->group_first, end, options->max_parallelism, error);
}

void rocks_close_database(struct rocks *rocks)
{
    if (rocks->db == NULL) return;
    rocksdb_cancel_all_background_work(rocks->db, 1);
    for (uint32_t i = 0; i < rocks->state_count; i++)
        if (rocks->families[i] != NULL) rocksdb_column_family_handle_destroy(rocks->families[i]);
    if (rocks->family_default != NULL) rocksdb_column_family_handle_destroy(rocks->family_default);
    rocksdb_close(rocks->db);
}
