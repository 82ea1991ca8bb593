/* The state calls of callbacks: weir.h says what each promises. A call finds its state among those that the operator
 * declares, by address, and looks whether it is of the right kind; then it is the shard's. */
#include <endian.h>

#include "operator/stage.h"

_Static_assert(sizeof(struct weir_iterator) == sizeof(struct shard_cursor), "an iterator is a cursor");

/* ---- Which state ------------------------------------------------------------------------------------------------- */

static const char *name_of(const struct weir_state *state)
{
    return state->name == NULL ? "?" : state->name;
}

static enum weir_code no_state(struct weir_task *task, const struct weir_state *state)
{
    return stage_fail(task, WEIR_USAGE, "uses the state '%s', which is not in its .states: list it there",
                      name_of(state));
}

static enum weir_code no_key(struct weir_task *task, const struct weir_state *state)
{
    return stage_fail(task, WEIR_USAGE,
                      "uses the keyed state '%s' where there is no current key: a broadcast input, .open "
                      "and .close have none",
                      name_of(state));
}

static enum weir_code wrong_kind(struct weir_task *task, const struct weir_state *state)
{
    static const char *const calls[] = { "value", "list", "map", "reducing", "aggregating" };
    return stage_fail(task, WEIR_USAGE, "uses the state '%s' as another kind than its .kind says: use weir_%s_...",
                      name_of(state), calls[state->kind]);
}

/* The index of `state` among those declared, or UINT32_MAX after a failure. */
static inline uint32_t find_state(struct weir_task *task, const struct weir_state *state, enum weir_state_kind kind)
{
    const struct operator_spec *spec = task->spec;
    uint32_t index = 0;
    while (index < spec->state_count && spec->state_tags[index] != state) index++;
    if (UNLIKELY(index == spec->state_count)) {
        no_state(task, state);
        return UINT32_MAX;
    }
    if (UNLIKELY(!task->has_key)) {
        no_key(task, state);
        return UINT32_MAX;
    }
    if (UNLIKELY(spec->states[index].kind != kind)) {
        wrong_kind(task, state);
        return UINT32_MAX;
    }
    return index;
}

static inline bool has_failed(const struct weir_task *task)
{
    return task->chain->error.code != WEIR_OK;
}

static enum weir_code failure_of(const struct weir_task *task)
{
    return task->chain->error.code;
}

/* ---- Codecs ------------------------------------------------------------------------------------------------------ */

struct weir_bytes stage_migrate(void *user, uint32_t state, uint32_t version, struct weir_bytes value)
{
    struct weir_task *task = user;
    const struct weir_bytes none = { 0 };
    const struct weir_state *tag = task->spec->state_tags[state];
    CHECK(tag != NULL && tag->migrate != NULL); /* or the restore had refused */
    const struct weir_bytes migrated = tag->migrate(task, version, value);
    const uint32_t size_bytes = task->spec->states[state].value_size_bytes;
    if (has_failed(task)) return none;
    if (!weir_is_set(migrated) || weir_is_null(migrated) || (size_bytes > 0 && migrated.size != size_bytes)) {
        stage_fail(task, WEIR_FAILED,
                   "the .migrate of its state '%s' answered %s for a value of version %u: answer the value as version "
                   "%u writes it, or end with weir_fail",
                   name_of(tag), weir_is_set(migrated) && !weir_is_null(migrated) ? "another size" : "no value",
                   version, tag->version);
        return none;
    }
    return migrated;
}

/* False after a failure. */
static bool check_value(struct weir_task *task, const struct weir_state *state, uint32_t index, struct weir_bytes value)
{
    const uint32_t size_bytes = task->spec->states[index].value_size_bytes;
    if (UNLIKELY(!weir_is_set(value) || weir_is_null(value))) {
        stage_fail(task, WEIR_USAGE, "sets the state '%s' to null: clear it, or remove the entry of a map",
                   name_of(state));
        return false;
    }
    if (UNLIKELY(size_bytes > 0 && value.size != size_bytes)) {
        stage_fail(task, WEIR_USAGE, "sets the state '%s' of %u bytes to a value of %zu", name_of(state), size_bytes,
                   value.size);
        return false;
    }
    return true;
}

/* What the codec holds, as bytes. Unset after a failure. */
static struct weir_bytes encode(struct weir_task *task, const struct weir_state *state, uint32_t index,
                                const void *object)
{
    struct weir_bytes bytes = { object, task->spec->states[index].value_size_bytes };
    if (state->codec == WEIR_BYTES) bytes = *(const struct weir_bytes *)object;
    if (state->codec == WEIR_OBJECT) bytes = state->object->encode(task, object);
    if (has_failed(task) || !check_value(task, state, index, bytes)) return (struct weir_bytes){ 0 };
    return bytes;
}

/* False after a failure. */
static bool decode(struct weir_task *task, const struct weir_state *state, struct weir_bytes bytes, void *object)
{
    if (state->codec == WEIR_BYTES) {
        *(struct weir_bytes *)object = bytes;
        return true;
    }
    if (state->codec != WEIR_OBJECT) {
        memcpy(object, bytes.data, bytes.size);
        return true;
    }
    memset(object, 0, state->object->size_bytes);
    const enum weir_code code = state->object->decode(task, bytes, object);
    if (code != WEIR_OK) stage_callback_failed(task, code);
    return !has_failed(task);
}

static bool has_codec(struct weir_task *task, const struct weir_state *state, enum weir_codec codec)
{
    if (LIKELY(state->codec == codec)) return true;
    stage_fail(task, WEIR_USAGE,
               "reads the state '%s' as another type than its .codec says: use the call for its codec",
               name_of(state));
    return false;
}

static enum weir_code done(struct weir_task *task, bool has_memory)
{
    return LIKELY(has_memory) ? WEIR_OK : stage_no_memory(task, "the state of a key");
}

/* ---- Values ------------------------------------------------------------------------------------------------------ */

static inline void *value_in_place(struct weir_task *task, const struct weir_state *state, enum weir_codec codec)
{
    const uint32_t index = find_state(task, state, WEIR_STATE_VALUE);
    if (UNLIKELY(index == UINT32_MAX) || UNLIKELY(!has_codec(task, state, codec))) return NULL;
    void *value = shard_value(task->shard, index, &task->key);
    if (UNLIKELY(value == NULL)) stage_no_memory(task, "the state of a key");
    return value;
}

int64_t *weir_value_i64(weir_keyed_task *task, const struct weir_state *state)
{
    return value_in_place(&task->task, state, WEIR_I64);
}

double *weir_value_f64(weir_keyed_task *task, const struct weir_state *state)
{
    return value_in_place(&task->task, state, WEIR_F64);
}

void *weir_value_struct(weir_keyed_task *task, const struct weir_state *state)
{
    return value_in_place(&task->task, state, WEIR_STRUCT);
}

static struct weir_bytes get(struct weir_task *task, const struct weir_state *state, enum weir_state_kind kind)
{
    const uint32_t index = find_state(task, state, kind);
    return index == UINT32_MAX ? (struct weir_bytes){ 0 } : shard_get(task->shard, index, &task->key);
}

struct weir_bytes weir_value_get(weir_keyed_task *task, const struct weir_state *state)
{
    return get(&task->task, state, WEIR_STATE_VALUE);
}

bool weir_value_get_object(weir_keyed_task *task, const struct weir_state *state, void *object)
{
    const struct weir_bytes bytes = get(&task->task, state, WEIR_STATE_VALUE);
    return weir_is_set(bytes) && decode(&task->task, state, bytes, object);
}

enum weir_code weir_value_set(weir_keyed_task *task, const struct weir_state *state, struct weir_bytes value)
{
    struct weir_task *stage = &task->task;
    const uint32_t index = find_state(stage, state, WEIR_STATE_VALUE);
    if (index == UINT32_MAX || !check_value(stage, state, index, value)) return failure_of(stage);
    return done(stage, shard_set(stage->shard, index, &stage->key, value));
}

enum weir_code weir_value_set_object(weir_keyed_task *task, const struct weir_state *state, const void *object)
{
    struct weir_task *stage = &task->task;
    const uint32_t index = find_state(stage, state, WEIR_STATE_VALUE);
    if (index == UINT32_MAX) return failure_of(stage);
    const struct weir_bytes value = encode(stage, state, index, object);
    if (!weir_is_set(value)) return failure_of(stage);
    return done(stage, shard_set(stage->shard, index, &stage->key, value));
}

static void clear(struct weir_task *task, const struct weir_state *state, enum weir_state_kind kind)
{
    const uint32_t index = find_state(task, state, kind);
    if (index != UINT32_MAX) (void)done(task, shard_clear(task->shard, index, &task->key));
}

void weir_value_clear(weir_keyed_task *task, const struct weir_state *state)
{
    clear(&task->task, state, WEIR_STATE_VALUE);
}

/* ---- Lists ------------------------------------------------------------------------------------------------------- */

static enum weir_code add_to_list(struct weir_task *task, const struct weir_state *state, uint32_t index,
                                  struct weir_bytes element)
{
    if (!check_value(task, state, index, element)) return failure_of(task);
    return done(task, shard_list_add(task->shard, index, &task->key, element));
}

enum weir_code weir_list_add_all(weir_keyed_task *task, const struct weir_state *state,
                                 const struct weir_bytes *elements, size_t count)
{
    struct weir_task *stage = &task->task;
    const uint32_t index = find_state(stage, state, WEIR_STATE_LIST);
    if (index == UINT32_MAX) return failure_of(stage);
    for (size_t i = 0; i < count; i++) {
        const enum weir_code code = add_to_list(stage, state, index, elements[i]);
        if (code != WEIR_OK) return code;
    }
    return WEIR_OK;
}

enum weir_code weir_list_update(weir_keyed_task *task, const struct weir_state *state,
                                const struct weir_bytes *elements, size_t count)
{
    weir_list_clear(task, state);
    return weir_list_add_all(task, state, elements, count);
}

enum weir_code weir_list_add(weir_keyed_task *task, const struct weir_state *state, struct weir_bytes element)
{
    return weir_list_add_all(task, state, &element, 1);
}

enum weir_code weir_list_add_object(weir_keyed_task *task, const struct weir_state *state, const void *element)
{
    struct weir_task *stage = &task->task;
    const uint32_t index = find_state(stage, state, WEIR_STATE_LIST);
    if (index == UINT32_MAX) return failure_of(stage);
    const struct weir_bytes bytes = encode(stage, state, index, element);
    return weir_is_set(bytes) ? add_to_list(stage, state, index, bytes) : failure_of(stage);
}

enum weir_code weir_list_add_i64(weir_keyed_task *task, const struct weir_state *state, int64_t element)
{
    if (!has_codec(&task->task, state, WEIR_I64)) return failure_of(&task->task);
    return weir_list_add_object(task, state, &element);
}

enum weir_code weir_list_add_f64(weir_keyed_task *task, const struct weir_state *state, double element)
{
    if (!has_codec(&task->task, state, WEIR_F64)) return failure_of(&task->task);
    return weir_list_add_object(task, state, &element);
}

bool weir_list_next(weir_keyed_task *task, const struct weir_state *state, struct weir_iterator *at,
                    struct weir_bytes *element)
{
    struct weir_task *stage = &task->task;
    const uint32_t index = find_state(stage, state, WEIR_STATE_LIST);
    if (index == UINT32_MAX) return false;
    struct shard_cursor cursor;
    memcpy(&cursor, at, sizeof cursor);
    const bool found = shard_list_next(stage->shard, index, &stage->key, &cursor, element);
    memcpy(at, &cursor, sizeof cursor);
    return found && weir_is_set(*element);
}

bool weir_list_next_object(weir_keyed_task *task, const struct weir_state *state, struct weir_iterator *at,
                           void *element)
{
    struct weir_bytes bytes;
    return weir_list_next(task, state, at, &bytes) && decode(&task->task, state, bytes, element);
}

static bool is_empty(struct weir_task *task, const struct weir_state *state, enum weir_state_kind kind)
{
    const uint32_t index = find_state(task, state, kind);
    return index == UINT32_MAX || shard_is_empty(task->shard, index, &task->key);
}

bool weir_list_is_empty(weir_keyed_task *task, const struct weir_state *state)
{
    return is_empty(&task->task, state, WEIR_STATE_LIST);
}

void weir_list_clear(weir_keyed_task *task, const struct weir_state *state)
{
    clear(&task->task, state, WEIR_STATE_LIST);
}

/* ---- Maps -------------------------------------------------------------------------------------------------------- */

/* The index of the map, and `*name` of its entry; UINT32_MAX after a failure. */
static inline uint32_t find_entry(struct weir_task *task, const struct weir_state *state, struct weir_bytes key,
                                  struct state_key *name)
{
    const uint32_t index = find_state(task, state, WEIR_STATE_MAP);
    if (UNLIKELY(index == UINT32_MAX)) return UINT32_MAX;
    if (UNLIKELY(!weir_is_set(key) || weir_is_null(key))) {
        stage_fail(task, WEIR_USAGE, "uses null as a key of the map '%s': give it bytes, WEIR_EMPTY for none",
                   name_of(state));
        return UINT32_MAX;
    }
    *name = task->key;
    name->element = key;
    return index;
}

struct weir_bytes weir_map_get(weir_keyed_task *task, const struct weir_state *state, struct weir_bytes key)
{
    struct state_key name;
    const uint32_t index = find_entry(&task->task, state, key, &name);
    return index == UINT32_MAX ? (struct weir_bytes){ 0 } : shard_map_get(task->task.shard, index, &name);
}

bool weir_map_get_object(weir_keyed_task *task, const struct weir_state *state, struct weir_bytes key, void *object)
{
    const struct weir_bytes bytes = weir_map_get(task, state, key);
    return weir_is_set(bytes) && decode(&task->task, state, bytes, object);
}

bool weir_map_contains(weir_keyed_task *task, const struct weir_state *state, struct weir_bytes key)
{
    return weir_is_set(weir_map_get(task, state, key));
}

enum weir_code weir_map_put(weir_keyed_task *task, const struct weir_state *state, struct weir_bytes key,
                            struct weir_bytes value)
{
    struct weir_task *stage = &task->task;
    struct state_key name;
    const uint32_t index = find_entry(stage, state, key, &name);
    if (index == UINT32_MAX || !check_value(stage, state, index, value)) return failure_of(stage);
    return done(stage, shard_map_put(stage->shard, index, &name, value));
}

enum weir_code weir_map_put_object(weir_keyed_task *task, const struct weir_state *state, struct weir_bytes key,
                                   const void *object)
{
    struct weir_task *stage = &task->task;
    struct state_key name;
    const uint32_t index = find_entry(stage, state, key, &name);
    if (index == UINT32_MAX) return failure_of(stage);
    const struct weir_bytes value = encode(stage, state, index, object);
    if (!weir_is_set(value)) return failure_of(stage);
    return done(stage, shard_map_put(stage->shard, index, &name, value));
}

void weir_map_remove(weir_keyed_task *task, const struct weir_state *state, struct weir_bytes key)
{
    struct state_key name;
    const uint32_t index = find_entry(&task->task, state, key, &name);
    if (index != UINT32_MAX) (void)done(&task->task, shard_map_remove(task->task.shard, index, &name));
}

static inline void *entry_in_place(struct weir_task *task, const struct weir_state *state, struct weir_bytes key,
                                   enum weir_codec codec)
{
    struct state_key name;
    const uint32_t index = find_entry(task, state, key, &name);
    if (UNLIKELY(index == UINT32_MAX) || UNLIKELY(!has_codec(task, state, codec))) return NULL;
    void *value = shard_map_value(task->shard, index, &name);
    if (UNLIKELY(value == NULL)) stage_no_memory(task, "the state of a key");
    return value;
}

int64_t *weir_map_i64(weir_keyed_task *task, const struct weir_state *state, struct weir_bytes key)
{
    return entry_in_place(&task->task, state, key, WEIR_I64);
}

double *weir_map_f64(weir_keyed_task *task, const struct weir_state *state, struct weir_bytes key)
{
    return entry_in_place(&task->task, state, key, WEIR_F64);
}

void *weir_map_struct(weir_keyed_task *task, const struct weir_state *state, struct weir_bytes key)
{
    return entry_in_place(&task->task, state, key, WEIR_STRUCT);
}

bool weir_map_next(weir_keyed_task *task, const struct weir_state *state, struct weir_iterator *at,
                   struct weir_bytes *key, struct weir_bytes *value)
{
    struct weir_task *stage = &task->task;
    const uint32_t index = find_state(stage, state, WEIR_STATE_MAP);
    if (index == UINT32_MAX) return false;
    struct shard_cursor cursor;
    memcpy(&cursor, at, sizeof cursor);
    const bool found = shard_map_next(stage->shard, index, &stage->key, &cursor, key, value);
    memcpy(at, &cursor, sizeof cursor);
    return found && weir_is_set(*value);
}

bool weir_map_next_object(weir_keyed_task *task, const struct weir_state *state, struct weir_iterator *at,
                          struct weir_bytes *key, void *object)
{
    struct weir_bytes value;
    return weir_map_next(task, state, at, key, &value) && decode(&task->task, state, value, object);
}

bool weir_map_is_empty(weir_keyed_task *task, const struct weir_state *state)
{
    return is_empty(&task->task, state, WEIR_STATE_MAP);
}

void weir_map_clear(weir_keyed_task *task, const struct weir_state *state)
{
    clear(&task->task, state, WEIR_STATE_MAP);
}

/* Big-endian, the sign turned round: negative numbers come first. */
struct weir_bytes weir_key_of_i64(void *task, int64_t number)
{
    const uint64_t big = htobe64((uint64_t)number ^ UINT64_C(1) << 63);
    char *bytes = weir_alloc(task, sizeof big);
    if (bytes == NULL) return WEIR_EMPTY;
    memcpy(bytes, &big, sizeof big);
    return (struct weir_bytes){ bytes, sizeof big };
}

int64_t weir_key_to_i64(struct weir_bytes key)
{
    uint64_t big;
    if (key.size != sizeof big) return 0;
    memcpy(&big, key.data, sizeof big);
    return (int64_t)(be64toh(big) ^ UINT64_C(1) << 63);
}

/* ---- Reducing and aggregating ------------------------------------------------------------------------------------ */

/* What the codec holds of the current key: in the table where it is of fixed size, else a copy that put_back writes.
 * Zero bytes when `*is_new`. NULL after a failure. */
static void *hold(struct weir_task *task, const struct weir_state *state, uint32_t index, bool *is_new)
{
    const struct weir_bytes bytes = shard_get(task->shard, index, &task->key);
    if (UNLIKELY(has_failed(task))) return NULL;
    *is_new = !weir_is_set(bytes);
    if (task->spec->states[index].value_size_bytes > 0) {
        void *value = shard_value(task->shard, index, &task->key);
        if (UNLIKELY(value == NULL)) stage_no_memory(task, "the state of a key");
        return value;
    }
    const size_t size_bytes = state->codec == WEIR_OBJECT ? state->object->size_bytes : sizeof(struct weir_bytes);
    void *held = weir_alloc(task, size_bytes);
    if (held == NULL) return NULL;
    memset(held, 0, size_bytes);
    return *is_new || decode(task, state, bytes, held) ? held : NULL;
}

static enum weir_code put_back(struct weir_task *task, const struct weir_state *state, uint32_t index,
                               const void *held)
{
    if (task->spec->states[index].value_size_bytes > 0) return WEIR_OK;
    const struct weir_bytes bytes = encode(task, state, index, held);
    if (!weir_is_set(bytes)) return failure_of(task);
    return done(task, shard_set(task->shard, index, &task->key, bytes));
}

static enum weir_code add_first(struct weir_task *task, const struct weir_state *state, uint32_t index,
                                const void *value)
{
    const struct weir_bytes bytes = encode(task, state, index, value);
    if (!weir_is_set(bytes)) return failure_of(task);
    return done(task, shard_set(task->shard, index, &task->key, bytes));
}

enum weir_code weir_reducing_add(weir_keyed_task *task, const struct weir_state *state, const void *value)
{
    struct weir_task *stage = &task->task;
    const uint32_t index = find_state(stage, state, WEIR_STATE_REDUCING);
    if (index == UINT32_MAX) return failure_of(stage);
    bool is_new;
    void *so_far = hold(stage, state, index, &is_new);
    if (so_far == NULL) return failure_of(stage);
    if (is_new) return add_first(stage, state, index, value);
    const enum weir_code code = state->reduce(task, so_far, value);
    if (UNLIKELY(code != WEIR_OK)) return stage_callback_failed(stage, code);
    return put_back(stage, state, index, so_far);
}

enum weir_code weir_reducing_add_i64(weir_keyed_task *task, const struct weir_state *state, int64_t value)
{
    if (!has_codec(&task->task, state, WEIR_I64)) return failure_of(&task->task);
    return weir_reducing_add(task, state, &value);
}

enum weir_code weir_reducing_add_f64(weir_keyed_task *task, const struct weir_state *state, double value)
{
    if (!has_codec(&task->task, state, WEIR_F64)) return failure_of(&task->task);
    return weir_reducing_add(task, state, &value);
}

bool weir_reducing_get(weir_keyed_task *task, const struct weir_state *state, void *value)
{
    const struct weir_bytes bytes = get(&task->task, state, WEIR_STATE_REDUCING);
    return weir_is_set(bytes) && decode(&task->task, state, bytes, value);
}

void weir_reducing_clear(weir_keyed_task *task, const struct weir_state *state)
{
    clear(&task->task, state, WEIR_STATE_REDUCING);
}

enum weir_code weir_aggregating_add(weir_keyed_task *task, const struct weir_state *state, const void *input)
{
    struct weir_task *stage = &task->task;
    const uint32_t index = find_state(stage, state, WEIR_STATE_AGGREGATING);
    if (index == UINT32_MAX) return failure_of(stage);
    bool is_new;
    void *accumulator = hold(stage, state, index, &is_new);
    if (accumulator == NULL) return failure_of(stage);
    enum weir_code code = WEIR_OK;
    if (is_new && state->aggregator->create != NULL) code = state->aggregator->create(task, accumulator);
    if (code == WEIR_OK) code = state->aggregator->add(task, accumulator, input);
    if (UNLIKELY(code != WEIR_OK)) return stage_callback_failed(stage, code);
    return put_back(stage, state, index, accumulator);
}

bool weir_aggregating_get(weir_keyed_task *task, const struct weir_state *state, void *output)
{
    struct weir_task *stage = &task->task;
    struct weir_bytes bytes = get(stage, state, WEIR_STATE_AGGREGATING);
    if (!weir_is_set(bytes)) return false;
    const void *accumulator = bytes.data;
    if (state->codec == WEIR_OBJECT) {
        void *object = weir_alloc(task, state->object->size_bytes);
        if (object == NULL || !decode(stage, state, bytes, object)) return false;
        accumulator = object;
    }
    const enum weir_code code = state->aggregator->result(task, accumulator, output);
    if (code != WEIR_OK) stage_callback_failed(stage, code);
    return !has_failed(stage);
}

void weir_aggregating_clear(weir_keyed_task *task, const struct weir_state *state)
{
    clear(&task->task, state, WEIR_STATE_AGGREGATING);
}

struct weir_bytes weir_current_key(weir_keyed_task *task)
{
    return task->task.has_key ? task->task.key.key : WEIR_NULL;
}
