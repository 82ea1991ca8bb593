/* What stands in for RocksDB in the simulator (state/store_rocksdb.h): units in a sorted array. What was flushed is seen,
 * what was not is lost with the store; writing takes time, and fails while the disk is full or failing. Of a life's directory
 * there is only the folder of a base: some files, each with the units of some key groups, under a name that changes whenever
 * their contents do; and one that says which. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "sim/sched.h"
#include "sim/weather.h"
#include "sim/world.h"
#include "state/store_key.h"
#include "state/store_rocksdb.h"

enum { FLUSH_US = 300, FILES = 16, PATH_MAX_BYTES = 1100 };

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
    const struct state_declaration *states; /* of the open call's options, which the job keeps */
    uint32_t state_count;
    char directory[STORE_FOLDER_MAX]; /* "" = it is only read */
    struct {
        uint32_t number; /* of the file's name; 0 = none yet */
        uint64_t hash;
    } files[FILES];
    uint32_t file_number; /* the last one given */
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

/* ---- Bases -------------------------------------------------------------------------------------------------------- */

static uint32_t group_of(const struct unit *unit)
{
    return (uint32_t)(uint8_t)unit->name[1] << 8 | (uint8_t)unit->name[2];
}

static void put_units(const struct model *model, uint32_t file, struct buffer *out)
{
    for (size_t i = 0; i < model->units.count; i++) {
        const struct unit *unit = &model->units.items[i];
        if (group_of(unit) % FILES != file) continue;
        buffer_text(out, model->states[(uint8_t)unit->name[0]].name);
        buffer_bytes(out, (struct weir_bytes){ unit->name + 1, unit->name_size - 1 });
        buffer_bytes(out, (struct weir_bytes){ unit->value, unit->value_size });
    }
    CHECK(!out->failed);
}

static int write_file(const char *folder, const char *name, const struct buffer *bytes)
{
    char path[PATH_MAX_BYTES];
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    const int file = disk_system.open(disk_system.user, path, DISK_CREATE);
    if (file < 0) return file;
    const int result = disk_write_all(&disk_system, file, bytes->data, bytes->size, 0);
    disk_system.close(disk_system.user, file);
    return result;
}

static void remove_one(void *user, const char *name)
{
    char path[PATH_MAX_BYTES];
    (void)snprintf(path, sizeof path, "%s/%s", (const char *)user, name);
    (void)disk_system.remove(disk_system.user, path);
}

static void remove_folder(char *folder)
{
    (void)disk_system.list(disk_system.user, folder, remove_one, folder);
    (void)disk_system.remove(disk_system.user, folder);
}

/* A file of the base, under its old name while it holds the same. */
static int write_table(struct model *model, uint32_t file, const char *folder, struct buffer *current)
{
    char name[32];
    struct buffer bytes;
    buffer_init(&bytes);
    put_units(model, file, &bytes);
    const uint64_t hash = hash_64(bytes.data, bytes.size);
    if (model->files[file].number == 0 || hash != model->files[file].hash)
        model->files[file].number = ++model->file_number;
    else world_seen()->linked_files++;
    model->files[file].hash = hash;
    (void)snprintf(name, sizeof name, "%06" PRIu32 ".sst", model->files[file].number);
    buffer_text(current, name);
    const int result = write_file(folder, name, &bytes);
    buffer_deinit(&bytes);
    return result;
}

static enum weir_code model_link(struct state_store *store, char folder[STORE_FOLDER_MAX], struct weir_error *error)
{
    struct model *model = model_of(store);
    struct buffer current;
    (void)snprintf(folder, STORE_FOLDER_MAX, "%.900s/base", model->directory);
    remove_folder(folder);
    world_seen()->linked++;
    buffer_init(&current);
    int result = disk_system.make_directory(disk_system.user, folder);
    for (uint32_t i = 0; result == 0 && i < FILES; i++) result = write_table(model, i, folder, &current);
    if (result == 0) result = write_file(folder, "CURRENT", &current);
    buffer_deinit(&current);
    if (result < 0 && model->failure.code == WEIR_OK)
        (void)weir_error_set(&model->failure, WEIR_ENVIRONMENT, WEIR_REMEDY_REPLAY, "state: cannot link a base");
    return check_failure(model, error);
}

static uint32_t state_named(const struct store_rocksdb_options *options, const char *name)
{
    for (uint32_t i = 0; i < options->given_up_count; i++)
        if (strcmp(options->given_up[i], name) == 0) return UINT32_MAX;
    for (uint32_t i = 0; i < options->state_count; i++)
        if (strcmp(options->states[i].name, name) == 0) return i;
    return UINT32_MAX;
}

static void take_units(struct model *model, const struct store_rocksdb_options *options, const struct buffer *bytes)
{
    struct reader reader;
    reader_init(&reader, bytes->data, bytes->size);
    while (reader_left(&reader) > 0) {
        char state_name[64];
        reader_text(&reader, state_name, sizeof state_name);
        const struct weir_bytes name = reader_bytes(&reader), value = reader_bytes(&reader);
        CHECK(!reader.failed);
        const uint32_t state = state_named(options, state_name);
        if (state == UINT32_MAX) continue;
        begin_name(model, state);
        buffer_put(&model->name, name.data, name.size);
        struct unit unit = { .name = copy_of(model->name.data, model->name.size), .name_size = model->name.size,
                             .value = copy_of(value.data, value.size), .value_size = value.size };
        if (group_of(&unit) - options->group_first < options->group_count) apply(model, &unit);
        else free_unit(&unit);
    }
}

/* What is clipped off changes the files, so names go on where the base's end and nothing is taken for known that is not. */
static enum weir_code begin_with(struct model *model, const struct store_rocksdb_options *options,
                                 struct weir_error *error)
{
    struct buffer bytes;
    if (options->directory == NULL) world_seen()->read_bases++;
    else world_seen()->begun_with++;
    enum weir_code code = links_check(options->from, options->base, false, error);
    buffer_init(&bytes);
    for (size_t i = 0; code == WEIR_OK && i < options->base->files.count; i++) {
        const struct links_file *file = &options->base->files.items[i];
        uint32_t number;
        if (file->file[0] == '\0') continue;
        CHECK(sscanf(file->name, "%" SCNu32 ".sst", &number) == 1);
        if (number > model->file_number) model->file_number = number;
        code = links_read_file(options->from, file, &bytes, error);
        if (code == WEIR_OK) take_units(model, options, &bytes);
    }
    for (uint32_t i = 0; code == WEIR_OK && i < FILES; i++) {
        buffer_clear(&bytes);
        put_units(model, i, &bytes);
        for (size_t k = 0; bytes.size > 0 && k < options->base->files.count; k++) {
            const struct links_file *file = &options->base->files.items[k];
            if (file->file[0] == '\0' || file->length != bytes.size || file->hash != hash_64(bytes.data, bytes.size)) continue;
            (void)sscanf(file->name, "%" SCNu32, &model->files[i].number);
            model->files[i].hash = file->hash;
        }
    }
    buffer_deinit(&bytes);
    return code;
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
    if (model->directory[0] != '\0') {
        char folder[PATH_MAX_BYTES];
        (void)snprintf(folder, sizeof folder, "%s/base", model->directory);
        remove_folder(folder);
        remove_folder(model->directory);
    }
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
        .name = "rocksdb", .holds_units = true, .get_many = model_get_many, .put = model_put,
        .remove = model_remove, .remove_elements = model_remove_elements, .flush = model_flush, .scan = model_scan,
        .walk_begin = model_walk_begin, .walk_on = model_walk_on,
        .walk_end = model_walk_end, .link = model_link, .bytes = model_bytes, .destroy = model_destroy,
    };
    struct model *model = calloc(1, sizeof *model);
    CHECK(model != NULL && options->state_count <= UINT8_MAX);
    model->states = options->states;
    model->state_count = options->state_count;
    if (options->directory != NULL) {
        (void)snprintf(model->directory, sizeof model->directory, "%s", options->directory);
        (void)disk_system.make_directory(disk_system.user, model->directory);
    }
    model->store.operations = &operations;
    model->store.began_empty = options->base == NULL;
    model->max_parallelism = options->max_parallelism;
    for (uint32_t i = 0; i < options->state_count; i++) model->is_ordered[i] = options->states[i].ordered_in_group;
    buffer_init(&model->name);
    buffer_init(&model->scratch);
    buffer_init(&model->walked);
    const enum weir_code code = options->base == NULL ? WEIR_OK : begin_with(model, options, error);
    if (code == WEIR_OK) *store = &model->store;
    else model_destroy(&model->store);
    return code;
}

void store_rocksdb_close(struct state_store *store)
{
    model_destroy(store);
}

enum weir_code store_rocksdb_begin(const char *folder, uint64_t own, struct weir_error *error)
{
    char path[PATH_MAX_BYTES];
    (void)error;
    (void)snprintf(path, sizeof path, "%s/local-%" PRIu64, folder, own);
    (void)disk_system.make_directory(disk_system.user, folder);
    (void)disk_system.make_directory(disk_system.user, path);
    return WEIR_OK;
}

void store_rocksdb_end(const char *folder, uint64_t own)
{
    char path[PATH_MAX_BYTES];
    (void)snprintf(path, sizeof path, "%s/local-%" PRIu64, folder, own);
    (void)disk_system.remove(disk_system.user, path);
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
