/* What stands in for RocksDB in the simulator (state/store_rocksdb.h): units in a sorted array. What was flushed is seen,
 * what was not is lost with the store; writing takes time, and fails while the disk is full or failing. A life's directory
 * is nothing here, because nobody ever opens one again. */
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "sim/sched.h"
#include "sim/weather.h"
#include "sim/world.h"
#include "state/store_key.h"
#include "state/store_rocksdb.h"

enum { FLUSH_US = 300 };

/* `name`: the number of the state, one byte, and the name as store_key.h has it, so that memcmp is the order. */
struct unit {
    char *name, *value; /* value NULL, among what is collected: removed */
    size_t name_size, value_size;
    bool is_range; /* collected: all names that begin like this are removed */
};

struct model {
    struct state_store store;
    uint32_t max_parallelism;
    bool is_ordered[UINT8_MAX + 1]; /* by state */
    VEC(struct unit) units;
    VEC(struct unit) collected;
    struct buffer name, scratch;
    struct buffer walked; /* the name that the walk has seen last; empty = none */
    struct weir_error failure; /* code WEIR_OK = none */
};

struct store_memory {
    size_t bytes;
};

static struct model *model_of(struct state_store *store)
{
    return (struct model *)(void *)store;
}

static char *copy_of(const char *data, size_t size)
{
    char *copy = malloc(size + 1);
    CHECK(copy != NULL);
    memcpy(copy, data, size);
    return copy;
}

/* ---- Names -------------------------------------------------------------------------------------------------------- */

static void begin_name(struct model *model, uint32_t state)
{
    buffer_clear(&model->name);
    buffer_u8(&model->name, (uint8_t)state);
}

static void name_unit(struct model *model, uint32_t state, const struct state_key *key)
{
    begin_name(model, state);
    store_key_encode(&model->name, model->is_ordered[state], key_group_of(key->hash, model->max_parallelism), key);
}

static int compare(const struct unit *unit, const char *name, size_t size)
{
    const int order = memcmp(unit->name, name, unit->name_size < size ? unit->name_size : size);
    return order != 0 ? order : (unit->name_size > size) - (unit->name_size < size);
}

/* The first unit that is not before the name. */
static size_t seek(const struct model *model, const char *name, size_t size)
{
    size_t low = 0, high = model->units.count;
    while (low < high) {
        const size_t middle = (low + high) / 2;
        if (compare(&model->units.items[middle], name, size) < 0) low = middle + 1;
        else high = middle;
    }
    return low;
}

static bool begins_with(const struct unit *unit, const char *prefix, size_t size)
{
    return unit->name_size >= size && memcmp(unit->name, prefix, size) == 0;
}

/* ---- Reading ------------------------------------------------------------------------------------------------------ */

static enum weir_code check_failure(const struct model *model, struct weir_error *error)
{
    if (model->failure.code != WEIR_OK && error != NULL) *error = model->failure;
    return model->failure.code;
}

static enum weir_code model_get_many(struct state_store *store, struct store_wanted *wanted, uint32_t count,
                                     struct buffer *values, struct weir_error *error)
{
    struct model *model = model_of(store);
    for (uint32_t i = 0; i < count; i++) {
        name_unit(model, wanted[i].state, &wanted[i].key);
        const size_t at = seek(model, model->name.data, model->name.size);
        const struct unit *unit = at < model->units.count ? &model->units.items[at] : NULL;
        wanted[i].found = unit != NULL && compare(unit, model->name.data, model->name.size) == 0;
        if (!wanted[i].found) continue;
        world_seen()->read_back++;
        struct weir_bytes value;
        CHECK(store_value_decode((struct weir_bytes){ unit->value, unit->value_size }, &wanted[i].version, &value));
        wanted[i].is_null = weir_is_null(value);
        wanted[i].value_at = values->size;
        wanted[i].value_size = value.size;
        buffer_put(values, value.data, value.size);
        CHECK(!values->failed);
    }
    return check_failure(model, error);
}

static enum weir_code model_get(struct state_store *store, uint32_t state, const struct state_key *key,
                                struct buffer *value, uint32_t *version, bool *found, struct weir_error *error)
{
    struct store_wanted wanted = { .state = state, .key = *key };
    const enum weir_code code = model_get_many(store, &wanted, 1, value, error);
    *found = wanted.found;
    *version = wanted.version;
    return code;
}

static bool hand_out(struct model *model, const struct unit *unit, store_visit_fn *visit, void *user)
{
    const uint32_t state = (uint8_t)unit->name[0];
    uint32_t group, version;
    struct state_key key;
    struct weir_bytes value;
    const struct weir_bytes name = { unit->name + 1, unit->name_size - 1 };
    CHECK(store_key_decode(name, model->is_ordered[state], &model->scratch, &group, &key) == NULL);
    CHECK(store_value_decode((struct weir_bytes){ unit->value, unit->value_size }, &version, &value));
    return visit(user, state, &key, value, version);
}

/* From model->name on, as long as names begin with its first `prefix_size` bytes. */
static enum weir_code scan_on(struct model *model, size_t prefix_size, store_visit_fn *visit, void *user,
                              struct weir_error *error)
{
    for (size_t at = seek(model, model->name.data, model->name.size);
         at < model->units.count && begins_with(&model->units.items[at], model->name.data, prefix_size); at++)
        if (!hand_out(model, &model->units.items[at], visit, user)) break;
    return check_failure(model, error);
}

static enum weir_code model_scan(struct state_store *store, uint32_t state, const struct state_key *from,
                                 store_visit_fn *visit, void *user, struct weir_error *error)
{
    struct model *model = model_of(store);
    begin_name(model, state);
    store_key_collection_prefix(&model->name, key_group_of(from->hash, model->max_parallelism), from);
    const size_t prefix_size = model->name.size;
    store_key_part(&model->name, from->element);
    return scan_on(model, prefix_size, visit, user, error);
}

static enum weir_code model_scan_group(struct state_store *store, uint32_t state, uint32_t group,
                                       struct weir_bytes name_space, struct weir_bytes from_element,
                                       store_visit_fn *visit, void *user, struct weir_error *error)
{
    struct model *model = model_of(store);
    begin_name(model, state);
    store_key_name_space_prefix(&model->name, group, name_space);
    const size_t prefix_size = model->name.size;
    store_key_part(&model->name, from_element);
    return scan_on(model, prefix_size, visit, user, error);
}

static void model_walk_begin(struct state_store *store) { buffer_clear(&model_of(store)->walked); }
static void model_walk_end(struct state_store *store) { buffer_clear(&model_of(store)->walked); }

static enum weir_code model_walk_on(struct state_store *store, store_visit_fn *visit, void *user, bool *is_over,
                                    struct weir_error *error)
{
    struct model *model = model_of(store);
    size_t at = seek(model, model->walked.data, model->walked.size);
    if (at < model->units.count && model->walked.size > 0 &&
        compare(&model->units.items[at], model->walked.data, model->walked.size) == 0)
        at++;
    for (bool more = true; more && at < model->units.count; at++) {
        const struct unit *unit = &model->units.items[at];
        buffer_clear(&model->walked);
        buffer_put(&model->walked, unit->name, unit->name_size);
        more = hand_out(model, unit, visit, user);
    }
    *is_over = at == model->units.count;
    return check_failure(model, error);
}

/* ---- Writing ------------------------------------------------------------------------------------------------------ */

static enum weir_code collect(struct model *model, const char *value, size_t value_size, bool is_range,
                              struct weir_error *error)
{
    struct unit *unit = vec_push(&model->collected);
    CHECK(unit != NULL && !model->name.failed);
    *unit = (struct unit){ .name = copy_of(model->name.data, model->name.size), .name_size = model->name.size,
                           .value = value == NULL ? NULL : copy_of(value, value_size), .value_size = value_size,
                           .is_range = is_range };
    return check_failure(model, error);
}

static enum weir_code model_put(struct state_store *store, uint32_t state, const struct state_key *key,
                                struct weir_bytes value, uint32_t version, struct weir_error *error)
{
    struct model *model = model_of(store);
    struct buffer encoded;
    buffer_init(&encoded);
    store_value_encode(&encoded, version, value);
    CHECK(!encoded.failed);
    name_unit(model, state, key);
    const enum weir_code code = collect(model, encoded.data, encoded.size, false, error);
    buffer_deinit(&encoded);
    return code;
}

static enum weir_code model_remove(struct state_store *store, uint32_t state, const struct state_key *key,
                                   struct weir_error *error)
{
    struct model *model = model_of(store);
    name_unit(model, state, key);
    return collect(model, NULL, 0, false, error);
}

static enum weir_code model_remove_elements(struct state_store *store, uint32_t state, const struct state_key *key,
                                            struct weir_error *error)
{
    struct model *model = model_of(store);
    begin_name(model, state);
    store_key_collection_prefix(&model->name, key_group_of(key->hash, model->max_parallelism), key);
    return collect(model, NULL, 0, true, error);
}

static void free_unit(struct unit *unit)
{
    free(unit->name);
    free(unit->value);
}

static void take_out(struct model *model, size_t at)
{
    free_unit(&model->units.items[at]);
    memmove(&model->units.items[at], &model->units.items[at + 1],
            (--model->units.count - at) * sizeof model->units.items[0]);
}

/* Takes the unit. */
static void apply(struct model *model, struct unit *unit)
{
    const size_t at = seek(model, unit->name, unit->name_size);
    if (unit->is_range) {
        while (at < model->units.count && begins_with(&model->units.items[at], unit->name, unit->name_size))
            take_out(model, at);
    } else if (at < model->units.count && compare(&model->units.items[at], unit->name, unit->name_size) == 0) {
        take_out(model, at);
    }
    if (unit->value == NULL) {
        free_unit(unit);
        return;
    }
    CHECK(vec_push(&model->units) != NULL);
    memmove(&model->units.items[at + 1], &model->units.items[at],
            (model->units.count - 1 - at) * sizeof model->units.items[0]);
    model->units.items[at] = *unit;
}

static enum weir_code model_flush(struct state_store *store, struct weir_error *error)
{
    struct model *model = model_of(store);
    sched_pause(FLUSH_US);
    world_seen()->written_down += model->collected.count;
    if (weather_disk_is_bad() && model->failure.code == WEIR_OK)
        (void)weir_error_set(&model->failure, WEIR_ENVIRONMENT, WEIR_REMEDY_REPLAY, "state: the disk is bad");
    for (size_t i = 0; i < model->collected.count; i++) apply(model, &model->collected.items[i]);
    model->collected.count = 0;
    return check_failure(model, error);
}

static uint64_t model_bytes(const struct state_store *store)
{
    const struct model *model = (const struct model *)(const void *)store;
    uint64_t bytes = 0;
    for (size_t i = 0; i < model->units.count; i++)
        bytes += model->units.items[i].name_size + model->units.items[i].value_size;
    return bytes;
}

/* ---- Open and close ----------------------------------------------------------------------------------------------- */

static void model_destroy(struct state_store *store)
{
    struct model *model = model_of(store);
    for (size_t i = 0; i < model->units.count; i++) free_unit(&model->units.items[i]);
    for (size_t i = 0; i < model->collected.count; i++) free_unit(&model->collected.items[i]);
    vec_free(&model->units);
    vec_free(&model->collected);
    buffer_deinit(&model->name);
    buffer_deinit(&model->scratch);
    buffer_deinit(&model->walked);
    free(model);
}

enum weir_code store_rocksdb_open(const struct store_rocksdb_options *options, struct state_store **store,
                                  struct weir_error *error)
{
    static const struct store_operations operations = {
        .name = "rocksdb", .holds_units = true, .get = model_get, .get_many = model_get_many, .put = model_put,
        .remove = model_remove, .remove_elements = model_remove_elements, .flush = model_flush, .scan = model_scan,
        .scan_group = model_scan_group, .walk_begin = model_walk_begin, .walk_on = model_walk_on,
        .walk_end = model_walk_end, .bytes = model_bytes, .destroy = model_destroy,
    };
    (void)error;
    struct model *model = calloc(1, sizeof *model);
    CHECK(model != NULL && options->base == NULL && options->state_count <= UINT8_MAX);
    model->store.operations = &operations;
    model->max_parallelism = options->max_parallelism;
    for (uint32_t i = 0; i < options->state_count; i++) model->is_ordered[i] = options->states[i].ordered_in_group;
    buffer_init(&model->name);
    buffer_init(&model->scratch);
    buffer_init(&model->walked);
    *store = &model->store;
    return WEIR_OK;
}

void store_rocksdb_close(struct state_store *store)
{
    model_destroy(store);
}

enum weir_code store_rocksdb_begin(const char *folder, uint64_t own, struct weir_error *error)
{
    (void)folder, (void)own, (void)error;
    return WEIR_OK;
}

void store_rocksdb_end(const char *folder, uint64_t own)
{
    (void)folder, (void)own;
}

struct store_memory *store_memory_create(size_t bytes)
{
    struct store_memory *memory = malloc(sizeof *memory);
    CHECK(memory != NULL);
    memory->bytes = bytes;
    return memory;
}

void store_memory_destroy(struct store_memory *memory)
{
    free(memory);
}
