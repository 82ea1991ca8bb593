#include "state/store_rocksdb.h"

#include <inttypes.h>
#include <rocksdb/c.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "state/rocksdb_log.h"
#include "state/store_key.h"

/* A batch is written as a whole, so nothing is gained from small files, and a base has one link for each. */
enum { TABLE_BYTES = 64 << 20, BLOCK_BYTES = 4096, OPEN_FILES_MIN = 16, FILTER_BITS = 10, REMOVED = -1,
       FORMAT_VERSION = 5, READING_CACHE_BYTES = 4 << 20, MANIFEST_BYTES = 256 << 10 };

struct pending {
    uint32_t state;
    uint32_t name_size;
    int64_t value_size; /* REMOVED */
    size_t at;          /* among `collected`: name, then value */
};

/* A file that a base brought: what it is called here, and in the checkpoint store. */
struct brought {
    char name[LINKS_NAME_MAX];
    char file[STORE_FILE_MAX];
};

/* What a compaction asks for each unit of a state whose values expire. Compactions run on RocksDB's threads. */
struct expiry {
    const _Atomic int64_t *now_ms;
    int64_t ttl_ms;
    bool is_map;
    rocksdb_compactionfilter_t *filter;
    rocksdb_options_t *options; /* of the column family */
};

struct rocks {
    struct state_store store;
    struct state_declaration *states;
    rocksdb_column_family_handle_t **families; /* one for each state */
    rocksdb_column_family_handle_t *family_default;
    uint32_t state_count;
    uint32_t max_parallelism;
    rocksdb_options_t *options;
    struct expiry *expiries; /* one for each state; `options` NULL where nothing expires */
    _Atomic int64_t now_ms;
    rocksdb_readoptions_t *reading, *scanning;
    rocksdb_writeoptions_t *writing;
    rocksdb_ingestexternalfileoptions_t *ingesting;
    rocksdb_envoptions_t *files;
    rocksdb_t *db;
    char directory[STORE_PATH_MAX];
    uint64_t batch_number;
    VEC(struct pending) pending;
    VEC(struct pending) cleared; /* collections: a prefix, and where their names end */
    struct buffer collected;
    rocksdb_iterator_t *walking; /* NULL: the state's walk has not begun */
    uint32_t walk_state;
    struct buffer name, scratch;
    const struct store_memory *memory;
    uint64_t database_bytes; /* of memtables and open tables, when it was looked at last */
    bool reads_only;
    bool has_base;
    VEC(struct brought) brought;
    struct weir_error failure; /* code WEIR_OK = none */
};

static struct rocks *rocks_of(struct state_store *store)
{
    return (struct rocks *)(void *)store;
}

/* ---- Errors ------------------------------------------------------------------------------------------------------ */

static enum weir_code no_memory(struct weir_error *error)
{
    return weir_error_set(error, WEIR_NO_MEMORY, WEIR_REMEDY_REPLAY, "state: out of memory");
}

/* What was linked from a base is damaged there, too; all else is made anew by a restore. */
static enum weir_remedy damage_remedy(const struct rocks *rocks)
{
    return rocks->has_base ? WEIR_REMEDY_STOP : WEIR_REMEDY_REPLAY;
}

/* The file of the checkpoint store that a message is about; "" when it is about none. */
static const char *origin_of(const struct rocks *rocks, const char *message)
{
    for (size_t i = 0; i < rocks->brought.count; i++)
        if (strstr(message, rocks->brought.items[i].name) != NULL) return rocks->brought.items[i].file;
    return "";
}

/* Takes RocksDB's message; fine when there is none. */
static enum weir_code answer(const struct rocks *rocks, char *message, const char *what, struct weir_error *error)
{
    if (message == NULL) return WEIR_OK;
    const bool is_damage = strncmp(message, "Corruption", strlen("Corruption")) == 0;
    const char *const origin = is_damage ? origin_of(rocks, message) : "";
    const enum weir_code code =
        weir_error_set(error, is_damage ? WEIR_DAMAGED : WEIR_ENVIRONMENT,
                       is_damage ? damage_remedy(rocks) : WEIR_REMEDY_REPLAY,
                       "state in %s: cannot %s: %s%sRocksDB: %s", rocks->directory, what, origin,
                       *origin == '\0' ? "" : " of the checkpoint store is damaged; put it back from a copy of it: ", message);
    free(message);
    return code;
}

/* Keeps the first error. */
static enum weir_code fail(struct rocks *rocks, enum weir_code code, const struct weir_error *error)
{
    if (code != WEIR_OK && rocks->failure.code == WEIR_OK) rocks->failure = *error;
    return code;
}

static enum weir_code check_failure(const struct rocks *rocks, struct weir_error *error)
{
    if (rocks->failure.code != WEIR_OK && error != NULL) *error = rocks->failure;
    return rocks->failure.code;
}

static enum weir_code check_background(const struct rocks *rocks, struct weir_error *error)
{
    uint64_t count = 0;
    if (rocksdb_property_int(rocks->db, "rocksdb.background-errors", &count) != 0 || count == 0) return WEIR_OK;
    return weir_error_set(error, WEIR_ENVIRONMENT, WEIR_REMEDY_REPLAY,
                          "state in %s: RocksDB failed in the background; its file LOG says why", rocks->directory);
}

/* ---- Memory ------------------------------------------------------------------------------------------------------ */

struct store_memory {
    rocksdb_cache_t *cache;
};

struct store_memory *store_memory_create(size_t bytes)
{
    struct store_memory *memory = malloc(sizeof *memory);
    if (memory != NULL) memory->cache = rocksdb_cache_create_lru(bytes);
    return memory;
}

size_t store_memory_used(const struct store_memory *memory)
{
    return rocksdb_cache_get_usage(memory->cache);
}

void store_memory_destroy(struct store_memory *memory)
{
    if (memory == NULL) return;
    rocksdb_cache_destroy(memory->cache);
    free(memory);
}

/* A file takes some kilobytes while it is open, whatever is in the cache of blocks. */
static void look_at_memory(struct rocks *rocks)
{
    static const char *const properties[] = { "rocksdb.cur-size-all-mem-tables", "rocksdb.estimate-table-readers-mem" };
    rocks->database_bytes = 0;
    for (uint32_t i = 0; i < rocks->state_count; i++)
        for (size_t k = 0; k < sizeof properties / sizeof properties[0]; k++) {
            uint64_t bytes;
            if (rocksdb_property_int_cf(rocks->db, rocks->families[i], properties[k], &bytes) == 0)
                rocks->database_bytes += bytes;
        }
}

static uint64_t rocks_memory(const struct state_store *store, uint64_t *blocks)
{
    const struct rocks *rocks = (const struct rocks *)(const void *)store;
    *blocks = rocks->memory == NULL ? 0 : store_memory_used(rocks->memory);
    return sizeof *rocks + rocks->database_bytes + rocks->collected.capacity + rocks->name.capacity +
           rocks->scratch.capacity + rocks->pending.capacity * sizeof(struct pending) +
           rocks->cleared.capacity * sizeof(struct pending);
}

/* ---- Opening ----------------------------------------------------------------------------------------------------- */

static void set_tables(struct rocks *rocks, const struct store_memory *memory)
{
    rocksdb_block_based_table_options_t *tables = rocksdb_block_based_options_create();
    rocksdb_cache_t *own = memory == NULL ? rocksdb_cache_create_lru(READING_CACHE_BYTES) : NULL;
    rocksdb_block_based_options_set_block_cache(tables, memory == NULL ? own : memory->cache);
    /* That of the oldest RocksDB that has to read it. */
    rocksdb_block_based_options_set_format_version(tables, FORMAT_VERSION);
    rocksdb_block_based_options_set_block_size(tables, BLOCK_BYTES);
    rocksdb_block_based_options_set_cache_index_and_filter_blocks(tables, 1);
    rocksdb_block_based_options_set_filter_policy(tables, rocksdb_filterpolicy_create_bloom_full(FILTER_BITS));
    /* Filters and indexes in blocks like all others: whole, those of a table have a megabyte, and a small cache would read
     * them again for each key. */
    rocksdb_block_based_options_set_index_type(tables, rocksdb_block_based_table_index_type_two_level_index_search);
    rocksdb_block_based_options_set_partition_filters(tables, 1);
    rocksdb_block_based_options_set_metadata_block_size(tables, BLOCK_BYTES);
    rocksdb_options_set_block_based_table_factory(rocks->options, tables);
    rocksdb_block_based_options_destroy(tables);
    if (own != NULL) rocksdb_cache_destroy(own); /* the tables hold it on */
}

/* Ingesting many files would stall, and with it a base, at the usual limits of level 0. The C interface of 7.8 has no
 * write buffer manager; it is not missed, because the memtables are as good as empty. */
static void set_options(struct rocks *rocks, const struct store_rocksdb_options *options)
{
    rocks->options = rocksdb_options_create();
    rocksdb_options_set_create_if_missing(rocks->options, options->base == NULL);
    rocksdb_options_set_create_missing_column_families(rocks->options, 1);
    /* Who only reads has all of them open: the job that they belong to may be running, and delete them. */
    rocksdb_options_set_max_open_files(rocks->options, rocks->reads_only ? -1 : options->open_files_max);
    rocksdb_options_set_max_background_jobs(rocks->options, 2);
    rocksdb_options_set_level0_slowdown_writes_trigger(rocks->options, 10000);
    rocksdb_options_set_level0_stop_writes_trigger(rocks->options, 20000);
    rocksdb_options_set_target_file_size_base(rocks->options, TABLE_BYTES);
    /* What is ingested into an empty database goes to the lowest level: small states are compacted with it, too. */
    rocksdb_options_set_level_compaction_dynamic_level_bytes(rocks->options, 1);
    rocksdb_options_set_write_buffer_size(rocks->options, 1 << 20);
    rocksdb_options_set_max_manifest_file_size(rocks->options, MANIFEST_BYTES); /* each base has a copy */
    rocksdb_options_set_compression(rocks->options, rocksdb_lz4_compression);
    rocksdb_options_set_stats_dump_period_sec(rocks->options, 0);
    rocksdb_log_to(rocks->options, options->environment);
    set_tables(rocks, options->memory);
    rocks->reading = rocksdb_readoptions_create();
    rocks->scanning = rocksdb_readoptions_create();
    rocksdb_readoptions_set_fill_cache(rocks->scanning, 0);
    rocks->writing = rocksdb_writeoptions_create();
    rocksdb_writeoptions_disable_WAL(rocks->writing, 1);
    rocks->ingesting = rocksdb_ingestexternalfileoptions_create();
    rocksdb_ingestexternalfileoptions_set_move_files(rocks->ingesting, 1);
    rocks->files = rocksdb_envoptions_create();
}

/* ---- Time to live ------------------------------------------------------------------------------------------------ */

static unsigned char is_over(void *user, int level, const char *name, size_t name_size, const char *bytes, size_t size,
                             char **new_value, size_t *new_size, unsigned char *has_changed)
{
    const struct expiry *expiry = user;
    struct weir_bytes value;
    uint32_t version;
    int64_t stamp_ms;
    (void)level, (void)new_value, (void)new_size, (void)has_changed;
    if (expiry->is_map && !store_key_is_element((struct weir_bytes){ name, name_size })) return 0;
    if (!store_value_decode((struct weir_bytes){ bytes, size }, &version, &value) ||
        !store_stamped_decode(value, &stamp_ms, &value))
        return 0; /* who reads it will say so */
    const int64_t now_ms = atomic_load_explicit(expiry->now_ms, memory_order_relaxed);
    return (int64_t)((uint64_t)now_ms - (uint64_t)stamp_ms) >= expiry->ttl_ms;
}

static const char *filter_name(void *user)
{
    (void)user;
    return "weir.expiry";
}

static void destroy_nothing(void *user)
{
    (void)user;
}

static void set_expiries(struct rocks *rocks)
{
    for (uint32_t i = 0; i < rocks->state_count; i++) {
        const struct state_declaration *state = &rocks->states[i];
        struct expiry *expiry = &rocks->expiries[i];
        if (state->ttl_ms <= 0 || state_kind_is_list(state->kind) || state->ordered_in_group) continue;
        *expiry = (struct expiry){ .now_ms = &rocks->now_ms, .ttl_ms = state->ttl_ms,
                                   .is_map = state_kind_is_map(state->kind) };
        expiry->filter = rocksdb_compactionfilter_create(expiry, destroy_nothing, is_over, filter_name);
        expiry->options = rocksdb_options_create_copy(rocks->options);
        rocksdb_options_set_compaction_filter(expiry->options, expiry->filter);
    }
}

static void unset_expiries(struct rocks *rocks)
{
    for (uint32_t i = 0; i < rocks->state_count; i++) {
        if (rocks->expiries[i].options == NULL) continue;
        rocksdb_options_destroy(rocks->expiries[i].options);
        rocksdb_compactionfilter_destroy(rocks->expiries[i].filter);
    }
}

static const rocksdb_options_t *options_of(const struct rocks *rocks, uint32_t state)
{
    const bool expires = state != UINT32_MAX && rocks->expiries[state].options != NULL;
    return expires ? rocks->expiries[state].options : rocks->options;
}

static void rocks_set_time(struct state_store *store, int64_t now_ms)
{
    atomic_store_explicit(&rocks_of(store)->now_ms, now_ms, memory_order_relaxed);
}

/* ---- Opening a database ------------------------------------------------------------------------------------------ */

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
    return answer(rocks, message, "drop what is not declared any more", error);
}

static enum weir_code open_families(struct rocks *rocks, const struct store_rocksdb_options *wanted, const char *db,
                                    char **names, size_t count, struct weir_error *error)
{
    char *message = NULL;
    const rocksdb_options_t **options = calloc(count, sizeof *options);
    rocksdb_column_family_handle_t **handles = calloc(count, sizeof *handles);
    enum weir_code code = options == NULL || handles == NULL ? no_memory(error) : WEIR_OK;
    if (code == WEIR_OK) {
        for (size_t i = 0; i < count; i++) options[i] = options_of(rocks, state_named(rocks, names[i]));
        const char *const *const all = (const char *const *)names;
        if (rocks->reads_only)
            rocks->db = rocksdb_open_for_read_only_column_families(rocks->options, db, (int)count, all, options, handles,
                                                                   0, &message);
        else
            rocks->db = rocksdb_open_column_families(rocks->options, db, (int)count, all, options, handles, &message);
        code = answer(rocks, message, "open it", error);
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
        if (message != NULL) return answer(rocks, message, "list its states", error);
        names = listed;
    }
    enum weir_code code = open_families(rocks, options, db, names, count, error);
    if (listed != NULL) rocksdb_list_column_families_destroy(listed, count);
    for (uint32_t i = 0; code == WEIR_OK && i < rocks->state_count; i++) {
        if (rocks->families[i] != NULL || rocks->reads_only) continue;
        rocks->families[i] = rocksdb_create_column_family(rocks->db, options_of(rocks, i), rocks->states[i].name, &message);
        code = answer(rocks, message, "add a state", error);
    }
    return code;
}

/* Key groups [first, end) are somebody else's. */
static enum weir_code clip(struct rocks *rocks, uint32_t first, uint32_t end, struct weir_error *error)
{
    char *message = NULL;
    buffer_clear(&rocks->name);
    store_key_group_prefix(&rocks->name, first);
    store_key_group_prefix(&rocks->name, end);
    if (rocks->name.failed) return no_memory(error);
    for (uint32_t i = 0; first < end && message == NULL && i < rocks->state_count; i++)
        rocksdb_delete_range_cf(rocks->db, rocks->writing, rocks->families[i], rocks->name.data, 2,
                                rocks->name.data + 2, 2, &message);
    return answer(rocks, message, "clip key groups off", error);
}

static bool remember_files(struct rocks *rocks, const struct links *base)
{
    for (size_t i = 0; base != NULL && i < base->files.count; i++) {
        struct brought *file = vec_push(&rocks->brought);
        if (file == NULL) return false;
        memcpy(file->name, base->files.items[i].name, sizeof file->name);
        memcpy(file->file, base->files.items[i].file, sizeof file->file);
    }
    return true;
}

static enum weir_code open_in(struct rocks *rocks, const struct store_rocksdb_options *options,
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
    if (rocks->states == NULL || rocks->families == NULL || rocks->expiries == NULL) return no_memory(error);
    memcpy(rocks->states, options->states, options->state_count * sizeof *rocks->states);
    rocks->state_count = options->state_count;
    rocks->max_parallelism = options->max_parallelism;
    rocks->has_base = options->base != NULL;
    rocks->memory = options->memory;
    set_options(rocks, options);
    if (!rocks->reads_only) set_expiries(rocks);
    enum weir_code code = prepare_directory(rocks, options, db, fresh, error);
    if (code == WEIR_OK && !remember_files(rocks, options->base)) code = no_memory(error);
    if (code == WEIR_OK) code = open_database(rocks, options, db, error);
    if (code != WEIR_OK || options->base == NULL || rocks->reads_only) return code;
    const uint32_t end = options->group_first + options->group_count;
    look_at_memory(rocks);
    code = clip(rocks, 0, options->group_first, error);
    return code == WEIR_OK ? clip(rocks, end, options->max_parallelism, error) : code;
}

/* ---- Reading ----------------------------------------------------------------------------------------------------- */

static bool is_ordered(const struct rocks *rocks, uint32_t state)
{
    return rocks->states[state].ordered_in_group;
}

static bool name_unit(struct rocks *rocks, uint32_t state, const struct state_key *key, struct buffer *name)
{
    store_key_encode(name, is_ordered(rocks, state), key_group_of(key->hash, rocks->max_parallelism), key);
    return !name->failed;
}

static enum weir_code damaged_unit(const struct rocks *rocks, uint32_t state, const char *how, struct weir_error *error)
{
    return weir_error_set(error, WEIR_DAMAGED, damage_remedy(rocks), "damaged state in %s: a unit of '%s' %s",
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
    if (!buffer_reserve(values, value.size + 1)) return no_memory(error);
    wanted->value_at = values->size;
    wanted->value_size = value.size;
    buffer_put(values, value.data, value.size);
    return values->failed ? no_memory(error) : WEIR_OK;
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
        if (!name_unit(rocks, wanted[i].state, &wanted[i].key, &rocks->name)) return no_memory(error);
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
        if (code == WEIR_OK) code = answer(rocks, run.messages[i], "read a unit", error);
        else free(run.messages[i]);
        if (run.slices[i] == NULL) continue;
        bytes.data = rocksdb_pinnableslice_value(run.slices[i], &bytes.size);
        if (code == WEIR_OK) code = take_value(rocks, &wanted[i], bytes, values, error);
        rocksdb_pinnableslice_destroy(run.slices[i]);
    }
    return code;
}

static enum weir_code rocks_get_many(struct state_store *store, struct store_wanted *wanted, uint32_t count,
                                     struct buffer *values, struct weir_error *error)
{
    struct rocks *rocks = rocks_of(store);
    CHECK(count <= STORE_WANTED_MAX);
    enum weir_code code = check_failure(rocks, error);
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
static enum weir_code visit_unit(struct rocks *rocks, uint32_t state, const rocksdb_iterator_t *at,
                                 store_visit_fn *visit, void *user, bool *more, struct weir_error *error)
{
    struct weir_bytes name, bytes, value;
    struct state_key key;
    uint32_t group, version;
    name.data = rocksdb_iter_key(at, &name.size);
    const char *wrong = store_key_decode(name, is_ordered(rocks, state), &rocks->scratch, &group, &key);
    if (wrong != NULL) return damaged_unit(rocks, state, wrong, error);
    bytes.data = rocksdb_iter_value(at, &bytes.size);
    if (!store_value_decode(bytes, &version, &value))
        return damaged_unit(rocks, state, "has a value that is none", error);
    *more = visit(user, state, &key, value, version);
    return WEIR_OK;
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
    if (rocks->name.failed) return no_memory(error);
    rocksdb_iterator_t *at = rocksdb_create_iterator_cf(rocks->db, rocks->scanning, rocks->families[walk->state]);
    rocksdb_iter_seek(at, rocks->name.data, rocks->name.size);
    enum weir_code code = WEIR_OK;
    for (bool more = true; more && code == WEIR_OK && rocksdb_iter_valid(at) && is_in_prefix(walk, at);) {
        code = visit_unit(rocks, walk->state, at, walk->visit, walk->user, &more, error);
        rocksdb_iter_next(at);
    }
    char *message = NULL;
    if (code == WEIR_OK) rocksdb_iter_get_error(at, &message);
    rocksdb_iter_destroy(at);
    return code == WEIR_OK ? answer(rocks, message, "walk over its units", error) : code;
}

static enum weir_code rocks_scan(struct state_store *store, uint32_t state, const struct state_key *from,
                                 store_visit_fn *visit, void *user, struct weir_error *error)
{
    struct rocks *rocks = rocks_of(store);
    struct walk walk = { .rocks = rocks, .state = state, .visit = visit, .user = user };
    CHECK(!is_ordered(rocks, state));
    const enum weir_code failed = check_failure(rocks, error);
    if (failed != WEIR_OK) return failed;
    buffer_clear(&rocks->name);
    store_key_collection_prefix(&rocks->name, key_group_of(from->hash, rocks->max_parallelism), from);
    walk.prefix_size = rocks->name.size;
    store_key_part(&rocks->name, from->element);
    return scan_on(&walk, error);
}

static void rocks_walk_end(struct state_store *store)
{
    struct rocks *rocks = rocks_of(store);
    if (rocks->walking != NULL) rocksdb_iter_destroy(rocks->walking);
    rocks->walking = NULL;
}

static void rocks_walk_begin(struct state_store *store)
{
    rocks_walk_end(store);
    rocks_of(store)->walk_state = 0;
}

/* One state's units; `*more` is false when `visit` has had enough. */
static enum weir_code walk_state(struct rocks *rocks, store_visit_fn *visit, void *user, bool *more,
                                 struct weir_error *error)
{
    char *message = NULL;
    enum weir_code code = WEIR_OK;
    if (rocks->walking == NULL) {
        rocks->walking = rocksdb_create_iterator_cf(rocks->db, rocks->scanning, rocks->families[rocks->walk_state]);
        rocksdb_iter_seek_to_first(rocks->walking);
    }
    while (*more && code == WEIR_OK && rocksdb_iter_valid(rocks->walking)) {
        code = visit_unit(rocks, rocks->walk_state, rocks->walking, visit, user, more, error);
        rocksdb_iter_next(rocks->walking);
    }
    if (code == WEIR_OK) rocksdb_iter_get_error(rocks->walking, &message);
    return code == WEIR_OK ? answer(rocks, message, "walk over its units", error) : code;
}

static enum weir_code rocks_walk_on(struct state_store *store, store_visit_fn *visit, void *user, bool *is_over,
                                    struct weir_error *error)
{
    struct rocks *rocks = rocks_of(store);
    enum weir_code code = check_failure(rocks, error);
    for (bool more = true; code == WEIR_OK && more && rocks->walk_state < rocks->state_count;) {
        if (rocks->families[rocks->walk_state] != NULL) code = walk_state(rocks, visit, user, &more, error);
        if (!more) break;
        rocks_walk_end(store);
        rocks->walk_state++;
    }
    *is_over = rocks->walk_state == rocks->state_count;
    return code;
}

static uint64_t rocks_bytes(const struct state_store *store)
{
    const struct rocks *rocks = (const struct rocks *)(const void *)store;
    uint64_t sum = 0, bytes;
    for (uint32_t i = 0; i < rocks->state_count; i++)
        if (rocksdb_property_int_cf(rocks->db, rocks->families[i], "rocksdb.live-sst-files-size", &bytes) == 0)
            sum += bytes;
    return sum;
}

/* ---- Writing ----------------------------------------------------------------------------------------------------- */

static enum weir_code collect(struct rocks *rocks, uint32_t state, const struct state_key *key,
                              const struct weir_bytes *value, uint32_t version, struct weir_error *error)
{
    const enum weir_code failed = check_failure(rocks, error);
    if (failed != WEIR_OK) return failed;
    struct pending pending = { .state = state, .at = rocks->collected.size, .value_size = REMOVED };
    const bool named = name_unit(rocks, state, key, &rocks->collected);
    const size_t value_at = rocks->collected.size;
    pending.name_size = (uint32_t)(value_at - pending.at);
    if (named && value != NULL) {
        store_value_encode(&rocks->collected, version, *value);
        pending.value_size = (int64_t)(rocks->collected.size - value_at);
    }
    struct pending *item = rocks->collected.failed ? NULL : vec_push(&rocks->pending);
    if (item == NULL) {
        (void)no_memory(&rocks->failure);
        return check_failure(rocks, error);
    }
    *item = pending;
    return WEIR_OK;
}

static enum weir_code rocks_put(struct state_store *store, uint32_t state, const struct state_key *key,
                                struct weir_bytes value, uint32_t version, struct weir_error *error)
{
    return collect(rocks_of(store), state, key, &value, version, error);
}

static enum weir_code rocks_remove(struct state_store *store, uint32_t state, const struct state_key *key,
                                   struct weir_error *error)
{
    return collect(rocks_of(store), state, key, NULL, 0, error);
}

/* The names of one generation are a range. */
static enum weir_code rocks_remove_elements(struct state_store *store, uint32_t state, const struct state_key *key,
                                            struct weir_error *error)
{
    struct rocks *rocks = rocks_of(store);
    const uint32_t group = key_group_of(key->hash, rocks->max_parallelism);
    const enum weir_code failed = check_failure(rocks, error);
    if (failed != WEIR_OK) return failed;
    CHECK(key->generation > 0 && !is_ordered(rocks, state));
    struct pending pending = { .state = state, .at = rocks->collected.size };
    struct state_key behind = *key;
    behind.generation++;
    store_key_collection_prefix(&rocks->collected, group, key);
    pending.name_size = (uint32_t)(rocks->collected.size - pending.at);
    store_key_collection_prefix(&rocks->collected, group, &behind);
    struct pending *item = rocks->collected.failed ? NULL : vec_push(&rocks->cleared);
    if (item != NULL) *item = pending;
    else (void)no_memory(&rocks->failure);
    return check_failure(rocks, error);
}

static int compare_names(const char *data, const struct pending *a, const struct pending *b)
{
    if (a->state != b->state) return a->state < b->state ? -1 : 1;
    const uint32_t size = a->name_size < b->name_size ? a->name_size : b->name_size;
    const int order = memcmp(data + a->at, data + b->at, size);
    return order != 0 ? order : (a->name_size > b->name_size) - (a->name_size < b->name_size);
}

/* By state, name, and the order of collecting. */
static int compare(const void *a, const void *b, void *data)
{
    const struct pending *x = a, *y = b;
    const int order = compare_names(data, x, y);
    return order != 0 ? order : (x->at > y->at) - (x->at < y->at);
}

static void write_units(const struct rocks *rocks, rocksdb_sstfilewriter_t *writer, size_t first, size_t end,
                        char **message)
{
    const char *data = rocks->collected.data;
    for (size_t i = first; i < end && *message == NULL; i++) {
        const struct pending *unit = &rocks->pending.items[i];
        if (i + 1 < end && compare_names(data, unit, unit + 1) == 0) continue;
        const char *name = data + unit->at;
        if (unit->value_size == REMOVED)
            rocksdb_sstfilewriter_delete(writer, name, unit->name_size, message);
        else
            rocksdb_sstfilewriter_put(writer, name, unit->name_size, name + unit->name_size, (size_t)unit->value_size,
                                      message);
    }
}

static void write_ranges(const struct rocks *rocks, rocksdb_sstfilewriter_t *writer, size_t first, size_t end,
                         char **message)
{
    for (size_t i = first; i < end && *message == NULL; i++) {
        const struct pending *range = &rocks->cleared.items[i];
        const char *from = rocks->collected.data + range->at;
        rocksdb_sstfilewriter_delete_range(writer, from, range->name_size, from + range->name_size, range->name_size,
                                           message);
    }
}

typedef void write_fn(const struct rocks *rocks, rocksdb_sstfilewriter_t *writer, size_t first, size_t end,
                      char **message);

/* The items [first, end) of one state as one file. */
static enum weir_code ingest(struct rocks *rocks, uint32_t state, write_fn *write, size_t first, size_t end,
                             struct weir_error *error)
{
    char path[STORE_PATH_MAX + 32], *message = NULL;
    (void)snprintf(path, sizeof path, "%s/new/%" PRIu64 ".sst", rocks->directory, rocks->batch_number++);
    rocksdb_sstfilewriter_t *writer = rocksdb_sstfilewriter_create(rocks->files, rocks->options);
    rocksdb_sstfilewriter_open(writer, path, &message);
    write(rocks, writer, first, end, &message);
    if (message == NULL) rocksdb_sstfilewriter_finish(writer, &message);
    rocksdb_sstfilewriter_destroy(writer);
    if (message == NULL)
        rocksdb_ingest_external_file_cf(rocks->db, rocks->families[state], (const char *const[]){ path }, 1,
                                        rocks->ingesting, &message);
    return answer(rocks, message, "write back", error);
}

/* A file for each state, of items that are sorted by state. */
static enum weir_code ingest_all(struct rocks *rocks, const struct pending *items, size_t count, write_fn *write,
                                 struct weir_error *error)
{
    enum weir_code code = WEIR_OK;
    for (size_t first = 0, end; code == WEIR_OK && first < count; first = end) {
        for (end = first + 1; end < count && items[end].state == items[first].state;) end++;
        code = ingest(rocks, items[first].state, write, first, end, error);
    }
    return code;
}

static void sort(struct rocks *rocks, struct pending *items, size_t count)
{
    if (count > 0) qsort_r(items, count, sizeof *items, compare, rocks->collected.data);
}

static enum weir_code rocks_flush(struct state_store *store, struct weir_error *error)
{
    struct rocks *rocks = rocks_of(store);
    struct weir_error reason = { 0 };
    enum weir_code code = check_failure(rocks, error);
    if (code != WEIR_OK) return code;
    sort(rocks, rocks->pending.items, rocks->pending.count);
    sort(rocks, rocks->cleared.items, rocks->cleared.count);
    code = ingest_all(rocks, rocks->pending.items, rocks->pending.count, write_units, &reason);
    /* Behind the units, in files of their own: a range does not cover what is in its own file. */
    if (code == WEIR_OK)
        code = ingest_all(rocks, rocks->cleared.items, rocks->cleared.count, write_ranges, &reason);
    if (code == WEIR_OK) code = check_background(rocks, &reason);
    if (code != WEIR_OK) {
        (void)fail(rocks, code, &reason);
        return check_failure(rocks, error);
    }
    rocks->pending.count = rocks->cleared.count = 0;
    buffer_clear(&rocks->collected);
    look_at_memory(rocks);
    return WEIR_OK;
}

/* ---- Bases ------------------------------------------------------------------------------------------------------- */

static enum weir_code rocks_link(struct state_store *store, char folder[STORE_FOLDER_MAX], struct weir_error *error)
{
    struct rocks *rocks = rocks_of(store);
    struct weir_error reason = { 0 };
    char *message = NULL;
    enum weir_code code = check_failure(rocks, error);
    const int size = snprintf(folder, STORE_FOLDER_MAX, "%s/base", rocks->directory);
    CHECK(size < STORE_FOLDER_MAX); /* open_in has left room */
    if (code == WEIR_OK) code = store_files_remove(folder, error);
    if (code != WEIR_OK) return code;
    rocksdb_checkpoint_t *checkpoint = rocksdb_checkpoint_object_create(rocks->db, &message);
    if (message == NULL) rocksdb_checkpoint_create(checkpoint, folder, 0, &message);
    if (checkpoint != NULL) rocksdb_checkpoint_object_destroy(checkpoint);
    code = answer(rocks, message, "link a base", &reason);
    if (code == WEIR_OK) code = check_background(rocks, &reason);
    /* Most of the bytes that a base would have to keep, and whoever opens it has options of his own. */
    if (code == WEIR_OK) store_files_remove_some(folder, "OPTIONS-");
    if (code == WEIR_OK) return WEIR_OK;
    (void)fail(rocks, code, &reason);
    return check_failure(rocks, error);
}

/* ---- The end ----------------------------------------------------------------------------------------------------- */

static void close_database(struct rocks *rocks)
{
    if (rocks->db == NULL) return;
    rocksdb_cancel_all_background_work(rocks->db, 1);
    for (uint32_t i = 0; i < rocks->state_count; i++)
        if (rocks->families[i] != NULL) rocksdb_column_family_handle_destroy(rocks->families[i]);
    if (rocks->family_default != NULL) rocksdb_column_family_handle_destroy(rocks->family_default);
    rocksdb_close(rocks->db);
}

static void rocks_destroy(struct state_store *store)
{
    struct rocks *rocks = rocks_of(store);
    rocks_walk_end(store);
    close_database(rocks);
    if (rocks->options != NULL) {
        unset_expiries(rocks);
        rocksdb_envoptions_destroy(rocks->files);
        rocksdb_ingestexternalfileoptions_destroy(rocks->ingesting);
        rocksdb_writeoptions_destroy(rocks->writing);
        rocksdb_readoptions_destroy(rocks->scanning);
        rocksdb_readoptions_destroy(rocks->reading);
        rocksdb_options_destroy(rocks->options);
    }
    if (rocks->directory[0] != '\0') (void)store_files_remove(rocks->directory, NULL);
    vec_free(&rocks->brought);
    vec_free(&rocks->pending);
    vec_free(&rocks->cleared);
    buffer_deinit(&rocks->collected);
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
        .walk_begin = rocks_walk_begin, .walk_on = rocks_walk_on,
        .walk_end = rocks_walk_end, .link = rocks_link, .set_time = rocks_set_time,
        .bytes = rocks_bytes, .memory = rocks_memory, .destroy = rocks_destroy,
    };
    CHECK(options->open_files_max >= OPEN_FILES_MIN && options->max_parallelism <= UINT16_MAX);
    struct rocks *rocks = calloc(1, sizeof *rocks);
    if (rocks == NULL) return no_memory(error);
    rocks->store.operations = &operations;
    atomic_init(&rocks->now_ms, INT64_MIN / 2); /* until somebody says how late it is, nothing is over */
    buffer_init(&rocks->collected);
    buffer_init(&rocks->name);
    buffer_init(&rocks->scratch);
    const enum weir_code code = open_in(rocks, options, error);
    rocks->store.began_empty = options->base == NULL;
    if (code == WEIR_OK) *store = &rocks->store;
    else rocks_destroy(&rocks->store);
    return code;
}
