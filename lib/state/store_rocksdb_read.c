/* Units are read: by name, in order, all of them. */
#include <stdlib.h>
#include <string.h>

#include "state/store_key.h"
#include "state/store_rocksdb_private.h"

bool rocks_name_unit(const struct rocks *rocks, uint32_t state, const struct state_key *key, struct buffer *name)
{
    store_key_encode(name, rocks_is_ordered(rocks, state), key_group_of(key->hash, rocks->max_parallelism), key);
    return !name->failed;
}

static enum weir_code damaged_unit(const struct rocks *rocks, uint32_t state, const char *how, struct weir_error *error)
{
    return weir_error_set(error, WEIR_DAMAGED, rocks_damage_remedy(rocks), "damaged state in %s: a unit of '%s' %s",
                          rocks->directory, rocks->states[state].name, how);
}

/* The found value behind those that are in `values`. */
static enum weir_code take_value(const struct rocks *rocks, struct store_wanted *wanted, struct weir_bytes bytes,
                                 struct buffer *values, struct weir_error *error)
{
    struct weir_bytes value;
    if (!store_value_decode(bytes, &wanted->version, &value))
        return damaged_unit(rocks, wanted->state, "has a value that is none", error);
    wanted->found = true;
    wanted->is_null = weir_is_null(value);
    /* One byte more: an empty value has to lie somewhere. */
    if (!buffer_reserve(values, value.size + 1)) return rocks_no_memory(error);
    wanted->value_at = values->size;
    wanted->value_size = value.size;
    buffer_put(values, value.data, value.size);
    return values->failed ? rocks_no_memory(error) : WEIR_OK;
}

/* Wanted units [first, end) of one state. */
struct run {
    const char *names[STORE_WANTED_MAX];
    size_t sizes[STORE_WANTED_MAX];
    rocksdb_pinnableslice_t *slices[STORE_WANTED_MAX];
    char *messages[STORE_WANTED_MAX];
};

static enum weir_code name_run(struct rocks *rocks, struct run *run, const struct store_wanted *wanted, uint32_t count,
                               struct weir_error *error)
{
    size_t at = 0;
    buffer_clear(&rocks->name);
    for (uint32_t i = 0; i < count; i++) {
        const size_t before = rocks->name.size;
        if (!rocks_name_unit(rocks, wanted[i].state, &wanted[i].key, &rocks->name)) return rocks_no_memory(error);
        run->sizes[i] = rocks->name.size - before;
    }
    for (uint32_t i = 0; i < count; i++) {
        run->names[i] = rocks->name.data + at;
        at += run->sizes[i];
    }
    return WEIR_OK;
}

static enum weir_code get_run(struct rocks *rocks, struct store_wanted *wanted, uint32_t count, struct buffer *values,
                              struct weir_error *error)
{
    struct run run;
    enum weir_code code = name_run(rocks, &run, wanted, count, error);
    if (code != WEIR_OK) return code;
    rocksdb_batched_multi_get_cf(rocks->db, rocks->reading, rocks->families[wanted->state], count, run.names, run.sizes,
                                 run.slices, run.messages, false);
    for (uint32_t i = 0; i < count; i++) {
        struct weir_bytes bytes = { 0 };
        wanted[i].found = false;
        if (code == WEIR_OK) code = rocks_answer(rocks, run.messages[i], "read a unit", error);
        else free(run.messages[i]);
        if (run.slices[i] == NULL) continue;
        bytes.data = rocksdb_pinnableslice_value(run.slices[i], &bytes.size);
        if (code == WEIR_OK) code = take_value(rocks, &wanted[i], bytes, values, error);
        rocksdb_pinnableslice_destroy(run.slices[i]);
    }
    return code;
}

enum weir_code rocks_get_many(struct state_store *store, struct store_wanted *wanted, uint32_t count,
                                     struct buffer *values, struct weir_error *error)
{
    struct rocks *rocks = rocks_of(store);
    CHECK(count <= STORE_WANTED_MAX);
    enum weir_code code = rocks_check_failure(rocks, error);
    for (uint32_t first = 0, end; code == WEIR_OK && first < count; first = end) {
        for (end = first + 1; end < count && wanted[end].state == wanted[first].state;) end++;
        code = get_run(rocks, wanted + first, end - first, values, error);
    }
    return code;
}

/* ---- Scans ------------------------------------------------------------------------------------------------------- */

struct walk {
    struct rocks *rocks;
    uint32_t state;
    size_t prefix_size; /* of rocks->name: what all names of the walk begin with */
    store_visit_fn *visit;
    void *user;
};

/* Hands the unit out; `*more` is what `visit` answers. */
static enum weir_code visit_unit(struct rocks *rocks, uint32_t state, struct weir_bytes name, struct weir_bytes bytes,
                                 store_visit_fn *visit, void *user, bool *more, struct weir_error *error)
{
    struct weir_bytes value;
    struct state_key key;
    uint32_t group, version;
    const char *wrong = store_key_decode(name, rocks_is_ordered(rocks, state), &rocks->scratch, &group, &key);
    if (wrong != NULL) return damaged_unit(rocks, state, wrong, error);
    if (!store_value_decode(bytes, &version, &value))
        return damaged_unit(rocks, state, "has a value that is none", error);
    *more = visit(user, state, &key, value, version);
    return WEIR_OK;
}

static enum weir_code visit_at(struct rocks *rocks, uint32_t state, const rocksdb_iterator_t *at, store_visit_fn *visit,
                               void *user, bool *more, struct weir_error *error)
{
    struct weir_bytes name, bytes;
    name.data = rocksdb_iter_key(at, &name.size);
    bytes.data = rocksdb_iter_value(at, &bytes.size);
    return visit_unit(rocks, state, name, bytes, visit, user, more, error);
}

static bool is_in_prefix(const struct walk *walk, const rocksdb_iterator_t *at)
{
    size_t size;
    const char *name = rocksdb_iter_key(at, &size);
    return size >= walk->prefix_size && memcmp(name, walk->rocks->name.data, walk->prefix_size) == 0;
}

/* From rocks->name on, as long as names begin with the first `prefix_size` bytes of it. */
static enum weir_code scan_on(struct walk *walk, struct weir_error *error)
{
    struct rocks *rocks = walk->rocks;
    if (rocks->name.failed) return rocks_no_memory(error);
    rocksdb_iterator_t *at = rocksdb_create_iterator_cf(rocks->db, rocks->scanning, rocks->families[walk->state]);
    rocksdb_iter_seek(at, rocks->name.data, rocks->name.size);
    enum weir_code code = WEIR_OK;
    for (bool more = true; more && code == WEIR_OK && rocksdb_iter_valid(at) && is_in_prefix(walk, at);) {
        code = visit_at(rocks, walk->state, at, walk->visit, walk->user, &more, error);
        rocksdb_iter_next(at);
    }
    char *message = NULL;
    if (code == WEIR_OK) rocksdb_iter_get_error(at, &message);
    rocksdb_iter_destroy(at);
    return code == WEIR_OK ? rocks_answer(rocks, message, "walk over its units", error) : code;
}

enum weir_code rocks_scan(struct state_store *store, uint32_t state, const struct state_key *from,
                                 store_visit_fn *visit, void *user, struct weir_error *error)
{
    struct rocks *rocks = rocks_of(store);
    struct walk walk = { .rocks = rocks, .state = state, .visit = visit, .user = user };
    CHECK(!rocks_is_ordered(rocks, state));
    const enum weir_code failed = rocks_check_failure(rocks, error);
    if (failed != WEIR_OK) return failed;
    buffer_clear(&rocks->name);
    store_key_collection_prefix(&rocks->name, key_group_of(from->hash, rocks->max_parallelism), from);
    walk.prefix_size = rocks->name.size;
    store_key_part(&rocks->name, from->element);
    return scan_on(&walk, error);
}

void rocks_walk_end(struct state_store *store)
{
    struct rocks *rocks = rocks_of(store);
    if (rocks->walking != NULL) rocksdb_iter_destroy(rocks->walking);
    rocks->walking = NULL;
    rocks_tables_close(rocks->walking_tables);
    rocks->walking_tables = NULL;
}

void rocks_walk_begin(struct state_store *store)
{
    rocks_walk_end(store);
    rocks_of(store)->walk_state = 0;
}

static void begin_state(struct rocks *rocks)
{
    if (rocks->reads_only) rocks->walking_tables = rocks_tables_open(rocks, rocks->walk_state);
    if (rocks->walking_tables != NULL) return;
    rocks->walking = rocksdb_create_iterator_cf(rocks->db, rocks->scanning, rocks->families[rocks->walk_state]);
    rocksdb_iter_seek_to_first(rocks->walking);
}

static enum weir_code walk_tables(struct rocks *rocks, store_visit_fn *visit, void *user, bool *more,
                                  struct weir_error *error)
{
    struct weir_bytes name, bytes;
    enum weir_code code = WEIR_OK;
    for (bool is_over; *more && code == WEIR_OK;) {
        code = rocks_tables_next(rocks->walking_tables, &name, &bytes, &is_over, error);
        if (code != WEIR_OK || is_over) break;
        code = visit_unit(rocks, rocks->walk_state, name, bytes, visit, user, more, error);
    }
    return code;
}

static enum weir_code walk_iterator(struct rocks *rocks, store_visit_fn *visit, void *user, bool *more,
                                    struct weir_error *error)
{
    char *message = NULL;
    enum weir_code code = WEIR_OK;
    while (*more && code == WEIR_OK && rocksdb_iter_valid(rocks->walking)) {
        code = visit_at(rocks, rocks->walk_state, rocks->walking, visit, user, more, error);
        rocksdb_iter_next(rocks->walking);
    }
    if (code == WEIR_OK) rocksdb_iter_get_error(rocks->walking, &message);
    return code == WEIR_OK ? rocks_answer(rocks, message, "walk over its units", error) : code;
}

/* One state's units; `*more` is false when `visit` has had enough. */
static enum weir_code walk_state(struct rocks *rocks, store_visit_fn *visit, void *user, bool *more,
                                 struct weir_error *error)
{
    if (rocks->walking == NULL && rocks->walking_tables == NULL) begin_state(rocks);
    return rocks->walking == NULL ? walk_tables(rocks, visit, user, more, error)
                                  : walk_iterator(rocks, visit, user, more, error);
}

enum weir_code rocks_walk_on(struct state_store *store, store_visit_fn *visit, void *user, bool *is_over,
                                    struct weir_error *error)
{
    struct rocks *rocks = rocks_of(store);
    enum weir_code code = rocks_check_failure(rocks, error);
    for (bool more = true; code == WEIR_OK && more && rocks->walk_state < rocks->state_count;) {
        if (rocks->families[rocks->walk_state] != NULL) code = walk_state(rocks, visit, user, &more, error);
        if (!more) break;
        rocks_walk_end(store);
        rocks->walk_state++;
    }
    *is_over = rocks->walk_state == rocks->state_count;
    return code;
}

uint64_t rocks_bytes(const struct state_store *store)
{
    const struct rocks *rocks = (const struct rocks *)(const void *)store;
    uint64_t sum = 0, bytes;
    for (uint32_t i = 0; i < rocks->state_count; i++)
        if (rocksdb_property_int_cf(rocks->db, rocks->families[i], "rocksdb.live-sst-files-size", &bytes) == 0)
            sum += bytes;
    return sum;
}
