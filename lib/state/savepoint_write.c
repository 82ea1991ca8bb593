/* weir/savepoint.h: a savepoint out of nothing. Entries go into shards, one for each operator; at the end the shards are
 * dumped into bases of a store in memory, whose only checkpoint is copied into the folder as every savepoint is. */
#include "weir/savepoint.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "checkpoint/savepoint.h"
#include "state/state.h"

enum { GROUPS_DEFAULT = 128, GROUPS_MAX = 32768, STATES_MAX = 256, CHUNK_BYTES = 1 << 20 };

/* The only checkpoint of the only life. */
enum { INCARNATION = 1, EPOCH = 1 };

struct writer_operator {
    const char *name;
    VEC(struct manifest_state) states; /* texts in the writer's arena */
    struct shard *shard;               /* from the first entry on */
    char base[STORE_FILE_MAX];
};

/* What an entry's number means. */
struct writer_state {
    size_t operator_index;
    uint32_t state;
};

struct weir_savepoint_writer {
    struct weir_environment environment;
    char *directory;
    char job[72];
    uint32_t groups;
    struct arena arena;
    VEC(struct writer_operator) operators;
    VEC(struct writer_state) states;
    char path[SAVEPOINT_PATH_MAX]; /* of what was written; "" = nothing yet */
};

static enum weir_code no_memory(struct weir_error *error)
{
    return weir_error_set(error, WEIR_NO_MEMORY, WEIR_REMEDY_STOP, "out of memory while writing a savepoint");
}

#define WRONG(error, ...) weir_error_set((error), WEIR_USAGE, WEIR_REMEDY_STOP, __VA_ARGS__)

/* ---- Life -------------------------------------------------------------------------------------------------------- */

enum weir_code weir_savepoint_writer_create_(const struct weir_savepoint_writer_options *options,
                                             weir_savepoint_writer **created, struct weir_error *error)
{
    *created = NULL;
    if (options->directory == NULL || options->directory[0] == '\0') return WRONG(error, "name a directory for the savepoint");
    if (options->job == NULL || options->job[0] == '\0' || strlen(options->job) > 64)
        return WRONG(error, "name the job that is to begin with the savepoint");
    if (options->max_parallelism > GROUPS_MAX) return WRONG(error, "at most %d key groups", GROUPS_MAX);
    struct weir_savepoint_writer *writer = calloc(1, sizeof *writer);
    if (writer == NULL) return no_memory(error);
    writer->directory = malloc(strlen(options->directory) + 1);
    if (writer->directory == NULL) {
        free(writer);
        return no_memory(error);
    }
    memcpy(writer->directory, options->directory, strlen(options->directory) + 1);
    (void)snprintf(writer->job, sizeof writer->job, "%s", options->job);
    writer->groups = options->max_parallelism == 0 ? GROUPS_DEFAULT : options->max_parallelism;
    arena_init(&writer->arena, 16 * 1024);
    environment_init_system(&writer->environment);
    *created = writer;
    return WEIR_OK;
}

void weir_savepoint_writer_destroy(weir_savepoint_writer *writer)
{
    if (writer == NULL) return;
    for (size_t i = 0; i < writer->operators.count; i++) {
        vec_free(&writer->operators.items[i].states);
        shard_destroy(writer->operators.items[i].shard);
    }
    vec_free(&writer->operators);
    vec_free(&writer->states);
    arena_deinit(&writer->arena);
    free(writer->directory);
    free(writer);
}

/* ---- Declarations ------------------------------------------------------------------------------------------------ */

static uint32_t size_of(const struct weir_inspect_state *state)
{
    return state->codec == WEIR_I64 || state->codec == WEIR_F64 ? 8
           : state->codec == WEIR_STRUCT                        ? state->value_size_bytes
                                                                : 0;
}

static enum weir_code check_declaration(const struct weir_inspect_state *state, struct weir_error *error)
{
    if (state->operator_name == NULL || state->operator_name[0] == '\0' || state->name == NULL || state->name[0] == '\0' ||
        strlen(state->name) > 63)
        return WRONG(error, "a state needs the name of its operator, and one of its own of at most 63 characters");
    if ((unsigned)state->kind > WEIR_STATE_BROADCAST || (unsigned)state->codec > WEIR_OBJECT)
        return WRONG(error, "operator '%s': state '%s' is of an unknown kind or codec", state->operator_name, state->name);
    if (state->codec == WEIR_STRUCT && state->value_size_bytes == 0)
        return WRONG(error, "operator '%s': state '%s' needs the size of its struct", state->operator_name, state->name);
    return WEIR_OK;
}

static struct writer_operator *find_operator(struct weir_savepoint_writer *writer, const char *name)
{
    for (size_t i = 0; i < writer->operators.count; i++)
        if (strcmp(writer->operators.items[i].name, name) == 0) return &writer->operators.items[i];
    struct writer_operator *op = vec_push(&writer->operators);
    if (op == NULL) return NULL;
    *op = (struct writer_operator){ .name = arena_text(&writer->arena, name) };
    if (op->name != NULL) return op;
    writer->operators.count--;
    return NULL;
}

static bool add_state(struct weir_savepoint_writer *writer, struct writer_operator *op,
                      const struct weir_inspect_state *state)
{
    const char *name = arena_text(&writer->arena, state->name);
    const char *object = arena_text(&writer->arena, state->object == NULL ? "" : state->object);
    struct writer_state *number = vec_push(&writer->states);
    struct manifest_state *added = vec_push(&op->states);
    if (name == NULL || object == NULL || number == NULL || added == NULL) return false;
    *number = (struct writer_state){ (size_t)(op - writer->operators.items), (uint32_t)(op->states.count - 1) };
    *added = (struct manifest_state){ .name = name, .kind = (uint8_t)state->kind, .codec = (uint8_t)state->codec,
                                      .value_size_bytes = size_of(state), .version = state->version, .object = object };
    return true;
}

enum weir_code weir_savepoint_declare(weir_savepoint_writer *writer, const struct weir_inspect_state *state,
                                      struct weir_error *error)
{
    const enum weir_code code = check_declaration(state, error);
    if (code != WEIR_OK) return code;
    struct writer_operator *op = find_operator(writer, state->operator_name);
    if (op == NULL) return no_memory(error);
    for (size_t i = 0; i < op->states.count; i++)
        if (strcmp(op->states.items[i].name, state->name) == 0)
            return WRONG(error, "operator '%s': state '%s' is declared twice", op->name, state->name);
    if (op->shard != NULL || op->states.count == STATES_MAX)
        return WRONG(error, "operator '%s': state '%s' is declared behind the operator's first entry, or is one too many",
                     op->name, state->name);
    return add_state(writer, op, state) ? WEIR_OK : no_memory(error);
}

/* ---- Entries ----------------------------------------------------------------------------------------------------- */

static bool make_shard(const struct weir_savepoint_writer *writer, struct writer_operator *op)
{
    struct state_declaration *declared = calloc(op->states.count, sizeof *declared);
    if (declared == NULL) return false;
    for (size_t i = 0; i < op->states.count; i++) {
        const struct manifest_state *state = &op->states.items[i];
        declared[i] = (struct state_declaration){ .kind = (enum weir_state_kind)state->kind,
                                                  .codec = (enum weir_codec)state->codec,
                                                  .value_size_bytes = state->value_size_bytes,
                                                  .version = state->version };
        (void)snprintf(declared[i].name, sizeof declared[i].name, "%s", state->name);
    }
    op->shard = shard_create(&(struct shard_options){ .states = declared, .state_count = (uint32_t)op->states.count,
                                                      .max_parallelism = writer->groups, .group_count = writer->groups,
                                                      .epoch = EPOCH });
    free(declared);
    return op->shard != NULL;
}

static enum weir_code check_entry(const struct writer_operator *op, const struct manifest_state *state,
                                  const struct weir_inspect_entry *entry, struct weir_error *error)
{
    const enum weir_state_kind kind = (enum weir_state_kind)state->kind;
    if (!weir_is_set(entry->value))
        return WRONG(error, "operator '%s': an entry of state '%s' has no value", op->name, state->name);
    if (!state_kind_is_own(kind) && !weir_is_set(entry->key))
        return WRONG(error, "operator '%s': an entry of state '%s' has no key", op->name, state->name);
    if (state->value_size_bytes > 0 && (weir_is_null(entry->value) || entry->value.size != state->value_size_bytes))
        return WRONG(error, "operator '%s': a value of state '%s' has %zu bytes instead of %u", op->name, state->name,
                     entry->value.size, state->value_size_bytes);
    if (state_kind_is_map(kind) != (weir_is_set(entry->element) && !weir_is_null(entry->element)))
        return WRONG(error, "operator '%s': state '%s' is %s map, and an entry has %s", op->name, state->name,
                     state_kind_is_map(kind) ? "a" : "no", state_kind_is_map(kind) ? "no key in it" : "a key in one");
    return WEIR_OK;
}

static bool put(struct writer_operator *op, uint32_t state, const struct state_key *key, struct weir_bytes value)
{
    const enum weir_state_kind kind = (enum weir_state_kind)op->states.items[state].kind;
    if (state_kind_is_list(kind)) return shard_list_add(op->shard, state, key, value);
    if (state_kind_is_map(kind)) return shard_map_put(op->shard, state, key, value);
    return shard_set(op->shard, state, key, value);
}

enum weir_code weir_savepoint_put(weir_savepoint_writer *writer, const struct weir_inspect_entry *entry,
                                  struct weir_error *error)
{
    if (entry->state >= writer->states.count) return WRONG(error, "state %zu was not declared", entry->state);
    const struct writer_state number = writer->states.items[entry->state];
    struct writer_operator *op = &writer->operators.items[number.operator_index];
    const struct manifest_state *state = &op->states.items[number.state];
    const enum weir_code code = check_entry(op, state, entry, error);
    if (code != WEIR_OK) return code;
    if (op->shard == NULL && !make_shard(writer, op)) return no_memory(error);

    const struct state_own own = state_own_of(writer->groups, 0, writer->groups);
    struct state_key key = { .key = entry->key, .name_space = entry->name_space };
    if (state_kind_is_own((enum weir_state_kind)state->kind)) key = state_own_key(&own);
    else key.hash = hash_key(key.key);
    key.element = state_kind_is_map((enum weir_state_kind)state->kind) ? entry->element : (struct weir_bytes){ 0 };
    return put(op, number.state, &key, entry->value) ? WEIR_OK : no_memory(error);
}

/* ---- The end ----------------------------------------------------------------------------------------------------- */

static enum weir_code write_units(struct store_base *base, struct shard *shard, struct weir_error *error)
{
    struct buffer chunk;
    enum weir_code code = WEIR_OK;
    buffer_init(&chunk);
    (void)shard_dump_begin(shard);
    for (bool is_last = false; code == WEIR_OK && !is_last;) {
        buffer_clear(&chunk);
        is_last = shard_dump_step(shard, CHUNK_BYTES, &chunk);
        code = chunk.failed ? no_memory(error)
                            : store_base_append(base, (struct weir_bytes){ chunk.data, chunk.size }, error);
    }
    buffer_deinit(&chunk);
    return code;
}

static enum weir_code write_base(struct weir_savepoint_writer *writer, struct store *store, struct writer_operator *op,
                                 struct manifest_base *out, struct weir_error *error)
{
    struct store_base *base;
    struct store_base_result result;
    struct buffer states;
    enum weir_code code = store_base_create(store, &base, error);
    if (code != WEIR_OK) return code;
    buffer_init(&states);
    if (!manifest_states_encode(op->states.items, op->states.count, &states)) code = no_memory(error);
    else code = store_base_append(base, (struct weir_bytes){ states.data, states.size }, error);
    buffer_deinit(&states);
    if (code == WEIR_OK) code = write_units(base, op->shard, error);
    if (code == WEIR_OK) code = store_base_finish(base, &result, error);
    if (code != WEIR_OK) {
        store_base_abandon(base);
        return code;
    }
    memcpy(op->base, result.name, sizeof op->base);
    *out = (struct manifest_base){ .store = STORE_KIND_FILE, .name = op->base, .length = result.length, .hash = result.hash,
                                   .incarnation = INCARNATION, .group_count = writer->groups, .redo_epoch = EPOCH - 1 };
    return WEIR_OK;
}

static enum weir_code write_operators(struct weir_savepoint_writer *writer, struct store *store, struct manifest *manifest,
                                      struct weir_error *error)
{
    const size_t count = writer->operators.count;
    manifest->operators = arena_alloc(&writer->arena, (count + 1) * sizeof *manifest->operators);
    struct manifest_base *bases = arena_alloc(&writer->arena, (count + 1) * sizeof *bases);
    if (manifest->operators == NULL || bases == NULL) return no_memory(error);
    enum weir_code code = WEIR_OK;
    for (size_t i = 0; code == WEIR_OK && i < count; i++) {
        struct writer_operator *op = &writer->operators.items[i];
        struct manifest_operator *out = &manifest->operators[manifest->operator_count++];
        *out = (struct manifest_operator){ .name = op->name, .parallelism = 1, .state_count = op->states.count,
                                           .states = op->states.items, .bases = &bases[i], .redo_epoch = EPOCH - 1 };
        if (op->shard == NULL && !make_shard(writer, op)) return no_memory(error);
        if (shard_generation(op->shard) > manifest->generation) manifest->generation = shard_generation(op->shard);
        out->base_count = 1;
        code = write_base(writer, store, op, &bases[i], error);
    }
    return code;
}

static enum weir_code write_frame(struct store *store, const struct manifest *manifest, struct weir_frame_name *name,
                                  struct weir_error *error)
{
    struct buffer frame;
    buffer_init(&frame);
    *name = (struct weir_frame_name){ .epoch = 0 };
    enum weir_code code = WEIR_OK;
    if (!manifest_encode(manifest, &frame, name)) {
        code = no_memory(error);
    } else {
        store_reserve(store, name);
        code = store_append(store, name, (struct weir_bytes){ frame.data, frame.size }, error);
    }
    buffer_deinit(&frame);
    return code;
}

static enum weir_code write_store(struct weir_savepoint_writer *writer, struct store *store, struct weir_frame_name *name,
                                  struct weir_error *error)
{
    struct manifest manifest = {
        .store = store_id(store), .job = writer->job, .slot = "0", .incarnation = INCARNATION, .epoch = EPOCH,
        .wall_ms = writer->environment.wall_ms(writer->environment.user), .build = WEIR_VERSION, .program = "weir",
        .exactly_once = true, .max_parallelism = writer->groups, .decider = "", .cluster = "" };
    enum weir_code code = store_begin(store, INCARNATION, error);
    if (code == WEIR_OK) code = write_operators(writer, store, &manifest, error);
    return code == WEIR_OK ? write_frame(store, &manifest, name, error) : code;
}

static enum weir_code copy(struct weir_savepoint_writer *writer, struct store *store, const struct weir_frame_name *name,
                           struct weir_error *error)
{
    const struct weir_environment *environment = &writer->environment;
    const uint64_t random[2] = { environment->random(environment->user), environment->random(environment->user) };
    enum weir_code code = savepoint_prepare(NULL, writer->directory, error);
    if (code != WEIR_OK) return code;
    struct savepoint *copied = savepoint_create(store, NULL, writer->directory, name, NULL, random);
    if (copied == NULL) return no_memory(error);
    for (bool done = false; code == WEIR_OK && !done;) code = savepoint_step(copied, UINT64_MAX, &done, error);
    if (code != WEIR_OK) {
        savepoint_abandon(copied);
        return code;
    }
    (void)snprintf(writer->path, sizeof writer->path, "%s", savepoint_path(copied));
    savepoint_destroy(copied);
    return WEIR_OK;
}

/* Files in memory stay until somebody removes them. */
static void remove_file(void *user, const char *file)
{
    char path[2048];
    (void)snprintf(path, sizeof path, "%s/%s", store_path(user), file);
    (void)disk_memory.remove(disk_memory.user, path);
}

enum weir_code weir_savepoint_finish(weir_savepoint_writer *writer, const char **path, struct weir_error *error)
{
    char directory[64];
    struct store *store;
    struct weir_frame_name name;
    CHECK(writer->path[0] == '\0');
    (void)snprintf(directory, sizeof directory, "savepoint-%016" PRIx64,
                   writer->environment.random(writer->environment.user));
    const struct store_options options = { .directory = directory, .job = writer->job, .slot = "0", .create = true,
                                           .segment_bytes = FRAME_ALIGNMENT, .disk = &disk_memory,
                                           .environment = &writer->environment };
    enum weir_code code = store_open(&options, &store, error);
    if (code != WEIR_OK) return code;
    code = write_store(writer, store, &name, error);
    if (code == WEIR_OK) code = copy(writer, store, &name, error);
    (void)store_list(store, remove_file, store, NULL);
    remove_file(store, "store");
    store_close(store);
    if (code == WEIR_OK) *path = writer->path;
    return code;
}
