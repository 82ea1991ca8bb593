#include "state/store_rocksdb.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "state/store_rocksdb_private.h"

enum { OPEN_FILES_MIN = 16 };

/* ---- Errors ------------------------------------------------------------------------------------------------------ */

enum weir_code rocks_no_memory(struct weir_error *error)
{
    return weir_error_set(error, WEIR_NO_MEMORY, WEIR_REMEDY_REPLAY, "state: out of memory");
}

/* What was linked from a base is damaged there, too; all else is made anew by a restore. */
enum weir_remedy rocks_damage_remedy(const struct rocks *rocks)
{
    return rocks->has_base ? WEIR_REMEDY_STOP : WEIR_REMEDY_REPLAY;
}

/* Takes RocksDB's message; fine when there is none. */
enum weir_code rocks_answer(const struct rocks *rocks, char *message, const char *what, struct weir_error *error)
{
    if (message == NULL) return WEIR_OK;
    const bool is_damage = strncmp(message, "Corruption", strlen("Corruption")) == 0;
    const char *const origin = is_damage ? rocks_origin_of(rocks, message) : "";
    const enum weir_code code =
        weir_error_set(error, is_damage ? WEIR_DAMAGED : WEIR_ENVIRONMENT,
                       is_damage ? rocks_damage_remedy(rocks) : WEIR_REMEDY_REPLAY,
                       "state in %s: cannot %s: %s%sRocksDB: %s", rocks->directory, what, origin,
                       *origin == '\0' ? "" : " of the checkpoint store is damaged; put it back from a copy of it: ", message);
    free(message);
    return code;
}

/* Keeps the first error. */
enum weir_code rocks_fail(struct rocks *rocks, enum weir_code code, const struct weir_error *error)
{
    if (code != WEIR_OK && rocks->failure.code == WEIR_OK) rocks->failure = *error;
    return code;
}

enum weir_code rocks_check_failure(const struct rocks *rocks, struct weir_error *error)
{
    if (rocks->failure.code != WEIR_OK && error != NULL) *error = rocks->failure;
    return rocks->failure.code;
}

enum weir_code rocks_check_background(const struct rocks *rocks, struct weir_error *error)
{
    uint64_t count = 0;
    if (rocksdb_property_int(rocks->db, "rocksdb.background-errors", &count) != 0 || count == 0) return WEIR_OK;
    return weir_error_set(error, WEIR_ENVIRONMENT, WEIR_REMEDY_REPLAY,
                          "state in %s: RocksDB failed in the background; its file LOG says why", rocks->directory);
}

/* ---- The whole --------------------------------------------------------------------------------------------------- */

static void rocks_destroy(struct state_store *store)
{
    struct rocks *rocks = rocks_of(store);
    rocks_end_work(rocks);
    rocks_walk_end(store);
    rocks_close_database(rocks);
    rocks_unset_expiries(rocks);
    rocks_unset_options(rocks);
    if (rocks->directory[0] != '\0') (void)store_files_remove(rocks->directory, NULL);
    vec_free(&rocks->brought);
    rocks_batch_deinit(&rocks->collecting);
    rocks_batch_deinit(&rocks->leaving);
    buffer_deinit(&rocks->name);
    buffer_deinit(&rocks->scratch);
    free(rocks->families);
    free(rocks->expiries);
    free(rocks->states);
    free(rocks);
}

#define LOCAL_PREFIX "local-"

enum weir_code store_rocksdb_begin(const char *folder, uint64_t own, struct weir_error *error)
{
    char directory[STORE_PATH_MAX];
    const int size = snprintf(directory, sizeof directory, "%s/" LOCAL_PREFIX "%" PRIu64, folder, own);
    if (size >= STORE_PATH_MAX)
        return weir_error_set(error, WEIR_USAGE, WEIR_REMEDY_STOP, "state: the path %s is too long", folder);
    enum weir_code code = store_files_make_missing(folder, error);
    if (code != WEIR_OK) return code;
    if (own > 0) store_files_sweep(folder, LOCAL_PREFIX, own - 1);
    return store_files_make_missing(directory, error);
}

void store_rocksdb_end(const char *folder, uint64_t own)
{
    store_files_sweep(folder, LOCAL_PREFIX, own);
}

void store_rocksdb_close(struct state_store *store)
{
    rocks_destroy(store);
}

enum weir_code store_rocksdb_open(const struct store_rocksdb_options *options, struct state_store **store,
                                  struct weir_error *error)
{
    static const struct store_operations operations = {
        .name = "rocksdb", .holds_units = true, .get_many = rocks_get_many, .put = rocks_put,
        .remove = rocks_remove, .remove_elements = rocks_remove_elements, .flush = rocks_flush, .scan = rocks_scan,
        .walk_begin = rocks_walk_begin, .walk_on = rocks_walk_on, .walk_end = rocks_walk_end, .link = rocks_link,
        .begin_flush = rocks_begin_flush, .begin_link = rocks_begin_link, .await = rocks_await,
        .set_time = rocks_set_time, .bytes = rocks_bytes, .memory = rocks_memory, .destroy = rocks_destroy,
    };
    CHECK(options->open_files_max >= OPEN_FILES_MIN && options->max_parallelism <= UINT16_MAX);
    struct rocks *rocks = calloc(1, sizeof *rocks);
    if (rocks == NULL) return rocks_no_memory(error);
    rocks->store.operations = &operations;
    atomic_init(&rocks->now_ms, INT64_MIN / 2); /* until somebody says how late it is, nothing is over */
    rocks_batch_init(&rocks->collecting);
    rocks_batch_init(&rocks->leaving);
    buffer_init(&rocks->name);
    buffer_init(&rocks->scratch);
    const enum weir_code code = rocks_open_in(rocks, options, error);
    rocks->store.began_empty = options->base == NULL;
    if (code == WEIR_OK) *store = &rocks->store;
    else rocks_destroy(&rocks->store);
    return code;
}
