/* Units are written: collected, sorted, and moved in as whole files. */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "state/store_key.h"
#include "state/store_rocksdb_private.h"

enum { PIECE_BYTES = 1 << 20 };

void rocks_batch_init(struct rocks_batch *batch)
{
    *batch = (struct rocks_batch){ 0 };
    buffer_init(&batch->collected);
}

void rocks_batch_deinit(struct rocks_batch *batch)
{
    vec_free(&batch->pending);
    vec_free(&batch->cleared);
    buffer_deinit(&batch->collected);
}

uint64_t rocks_batch_bytes(const struct rocks_batch *batch)
{
    return batch->collected.capacity + (batch->pending.capacity + batch->cleared.capacity) * sizeof(struct rocks_pending);
}

/* ---- Collecting -------------------------------------------------------------------------------------------------- */

static enum weir_code collect(struct rocks *rocks, uint32_t state, const struct state_key *key,
                              const struct weir_bytes *value, uint32_t version, struct weir_error *error)
{
    struct rocks_batch *batch = &rocks->collecting;
    const enum weir_code failed = rocks_check_failure(rocks, error);
    if (failed != WEIR_OK) return failed;
    struct rocks_pending pending = { .state = state, .at = batch->collected.size, .value_size = ROCKS_REMOVED };
    const bool named = rocks_name_unit(rocks, state, key, &batch->collected);
    const size_t value_at = batch->collected.size;
    pending.name_size = (uint32_t)(value_at - pending.at);
    if (named && value != NULL) {
        store_value_encode(&batch->collected, version, *value);
        pending.value_size = (int64_t)(batch->collected.size - value_at);
    }
    struct rocks_pending *item = batch->collected.failed ? NULL : vec_push(&batch->pending);
    if (item == NULL) {
        (void)rocks_no_memory(&rocks->failure);
        return rocks_check_failure(rocks, error);
    }
    *item = pending;
    return WEIR_OK;
}

enum weir_code rocks_put(struct state_store *store, uint32_t state, const struct state_key *key,
                                struct weir_bytes value, uint32_t version, struct weir_error *error)
{
    return collect(rocks_of(store), state, key, &value, version, error);
}

enum weir_code rocks_remove(struct state_store *store, uint32_t state, const struct state_key *key,
                                   struct weir_error *error)
{
    return collect(rocks_of(store), state, key, NULL, 0, error);
}

/* The names of one generation are a range. */
enum weir_code rocks_remove_elements(struct state_store *store, uint32_t state, const struct state_key *key,
                                            struct weir_error *error)
{
    struct rocks *rocks = rocks_of(store);
    const uint32_t group = key_group_of(key->hash, rocks->max_parallelism);
    struct rocks_batch *batch = &rocks->collecting;
    const enum weir_code failed = rocks_check_failure(rocks, error);
    if (failed != WEIR_OK) return failed;
    CHECK(key->generation > 0 && !rocks_is_ordered(rocks, state));
    struct rocks_pending pending = { .state = state, .at = batch->collected.size };
    struct state_key behind = *key;
    behind.generation++;
    store_key_collection_prefix(&batch->collected, group, key);
    pending.name_size = (uint32_t)(batch->collected.size - pending.at);
    store_key_collection_prefix(&batch->collected, group, &behind);
    struct rocks_pending *item = batch->collected.failed ? NULL : vec_push(&batch->cleared);
    if (item != NULL) *item = pending;
    else (void)rocks_no_memory(&rocks->failure);
    return rocks_check_failure(rocks, error);
}

/* ---- Writing down ------------------------------------------------------------------------------------------------ */

static int compare_names(const char *data, const struct rocks_pending *a, const struct rocks_pending *b)
{
    if (a->state != b->state) return a->state < b->state ? -1 : 1;
    const uint32_t size = a->name_size < b->name_size ? a->name_size : b->name_size;
    const int order = memcmp(data + a->at, data + b->at, size);
    return order != 0 ? order : (a->name_size > b->name_size) - (a->name_size < b->name_size);
}

/* By state, name, and the order of collecting. */
static int compare(const void *a, const void *b, void *data)
{
    const struct rocks_pending *x = a, *y = b;
    const int order = compare_names(data, x, y);
    return order != 0 ? order : (x->at > y->at) - (x->at < y->at);
}

/* A file that is being written. */
struct table {
    rocksdb_sstfilewriter_t *writer;
    char *message; /* RocksDB's, when it failed */
    int file;      /* of our own; < 0 = none */
    size_t put_bytes;
};

/* RocksDB syncs the whole file when it is finished, and the next frame, a few kilobytes, would have to wait behind all of it.
 * So the disk begins with each piece when it is there. Where that cannot be it is only slower. */
static void note_put(struct table *table, size_t bytes)
{
    table->put_bytes += bytes;
    if (table->put_bytes < PIECE_BYTES) return;
    if (table->file >= 0) (void)sync_file_range(table->file, 0, 0, SYNC_FILE_RANGE_WRITE);
    table->put_bytes = 0;
}

static void write_units(const struct rocks *rocks, struct table *table, size_t first, size_t end)
{
    const char *data = rocks->leaving.collected.data;
    for (size_t i = first; i < end && table->message == NULL; i++) {
        const struct rocks_pending *unit = &rocks->leaving.pending.items[i];
        if (i + 1 < end && compare_names(data, unit, unit + 1) == 0) continue;
        const char *name = data + unit->at;
        const size_t value_size = unit->value_size == ROCKS_REMOVED ? 0 : (size_t)unit->value_size;
        if (unit->value_size == ROCKS_REMOVED)
            rocksdb_sstfilewriter_delete(table->writer, name, unit->name_size, &table->message);
        else
            rocksdb_sstfilewriter_put(table->writer, name, unit->name_size, name + unit->name_size, value_size,
                                      &table->message);
        note_put(table, unit->name_size + value_size);
    }
}

static void write_ranges(const struct rocks *rocks, struct table *table, size_t first, size_t end)
{
    for (size_t i = first; i < end && table->message == NULL; i++) {
        const struct rocks_pending *range = &rocks->leaving.cleared.items[i];
        const char *from = rocks->leaving.collected.data + range->at;
        rocksdb_sstfilewriter_delete_range(table->writer, from, range->name_size, from + range->name_size,
                                           range->name_size, &table->message);
    }
}

typedef void write_fn(const struct rocks *rocks, struct table *table, size_t first, size_t end);

/* The items [first, end) of one state as one file. */
static enum weir_code ingest(struct rocks *rocks, uint32_t state, write_fn *write, size_t first, size_t end,
                             struct weir_error *error)
{
    char path[STORE_PATH_MAX + 32];
    (void)snprintf(path, sizeof path, "%s/new/%" PRIu64 ".sst", rocks->directory, rocks->batch_number++);
    struct table table = { .writer = rocksdb_sstfilewriter_create(rocks->files, rocks->options) };
    rocksdb_sstfilewriter_open(table.writer, path, &table.message);
    table.file = open(path, O_RDONLY | O_CLOEXEC);
    write(rocks, &table, first, end);
    if (table.message == NULL) rocksdb_sstfilewriter_finish(table.writer, &table.message);
    if (table.file >= 0) (void)close(table.file);
    rocksdb_sstfilewriter_destroy(table.writer);
    if (table.message == NULL)
        rocksdb_ingest_external_file_cf(rocks->db, rocks->families[state], (const char *const[]){ path }, 1,
                                        rocks->ingesting, &table.message);
    return rocks_answer(rocks, table.message, "write back", error);
}

/* A file for each state, of items that are sorted by state. */
static enum weir_code ingest_all(struct rocks *rocks, const struct rocks_pending *items, size_t count, write_fn *write,
                                 struct weir_error *error)
{
    enum weir_code code = WEIR_OK;
    for (size_t first = 0, end; code == WEIR_OK && first < count; first = end) {
        for (end = first + 1; end < count && items[end].state == items[first].state;) end++;
        code = ingest(rocks, items[first].state, write, first, end, error);
    }
    return code;
}

static void sort(struct rocks *rocks, struct rocks_pending *items, size_t count)
{
    if (count > 0) qsort_r(items, count, sizeof *items, compare, rocks->leaving.collected.data);
}

static enum weir_code write_batch(struct rocks *rocks, struct weir_error *error)
{
    struct rocks_batch *batch = &rocks->leaving;
    sort(rocks, batch->pending.items, batch->pending.count);
    sort(rocks, batch->cleared.items, batch->cleared.count);
    enum weir_code code = ingest_all(rocks, batch->pending.items, batch->pending.count, write_units, error);
    /* Behind the units, in files of their own: a range does not cover what is in its own file. */
    if (code == WEIR_OK) code = ingest_all(rocks, batch->cleared.items, batch->cleared.count, write_ranges, error);
    return code == WEIR_OK ? rocks_check_background(rocks, error) : code;
}

static void empty(struct rocks_batch *batch)
{
    batch->pending.count = batch->cleared.count = 0;
    buffer_clear(&batch->collected);
}

static enum weir_code flush(struct rocks *rocks, bool on_the_spot, struct weir_error *error)
{
    (void)rocks_is_working(rocks, -1);
    if (rocks_check_failure(rocks, error) != WEIR_OK) return rocks->failure.code;
    const struct rocks_batch batch = rocks->collecting;
    if (batch.pending.count + batch.cleared.count == 0) return WEIR_OK;
    rocks->collecting = rocks->leaving;
    rocks->leaving = batch;
    empty(&rocks->collecting);
    return rocks_work(rocks, write_batch, on_the_spot, error);
}

enum weir_code rocks_flush(struct state_store *store, struct weir_error *error)
{
    return flush(rocks_of(store), true, error);
}

enum weir_code rocks_begin_flush(struct state_store *store, struct weir_error *error)
{
    return flush(rocks_of(store), false, error);
}
