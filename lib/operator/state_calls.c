/* The state calls of callbacks: weir.h says what each promises. A call finds its state among those that the operator
 * declares, by address, and looks whether it is of the right kind; then it is the shard's. Here: what all of them share,
 * values, reducing and aggregating. */
#include "operator/state_calls.h"

/* ---- Which state ------------------------------------------------------------------------------------------------- */

const char *state_name_of(const struct weir_state *state)
{
    return state->name == NULL ? "?" : state->name;
}

uint32_t state_not_listed(struct weir_task *task, const struct weir_state *state)
{
    stage_fail(task, WEIR_USAGE, "uses the state '%s', which is not in its .states: list it there", state_name_of(state));
    return UINT32_MAX;
}

uint32_t state_without_key(struct weir_task *task, const struct weir_state *state)
{
    stage_fail(task, WEIR_USAGE,
               "uses the keyed state '%s' where there is no current key: a broadcast input, .open and .close have none",
               state_name_of(state));
    return UINT32_MAX;
}

uint32_t state_of_other_kind(struct weir_task *task, const struct weir_state *state)
{
    static const char *const calls[] = { "value", "list", "map", "reducing", "aggregating", "operator_list",
                                         "operator_list", "broadcast" };
    stage_fail(task, WEIR_USAGE, "uses the state '%s' as another kind than its .kind says: use weir_%s_...",
               state_name_of(state), calls[state->kind]);
    return UINT32_MAX;
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
    if (state_has_failed(task)) return none;
    if (!weir_is_set(migrated) || weir_is_null(migrated) || (size_bytes > 0 && migrated.size != size_bytes)) {
        stage_fail(task, WEIR_FAILED,
                   "the .migrate of its state '%s' answered %s for a value of version %u: answer the value as version "
                   "%u writes it, or end with weir_fail",
                   state_name_of(tag), weir_is_set(migrated) && !weir_is_null(migrated) ? "another size" : "no value",
                   version, tag->version);
        return none;
    }
    return migrated;
}

bool state_check_value(struct weir_task *task, const struct weir_state *state, uint32_t index, struct weir_bytes value)
{
    const uint32_t size_bytes = task->spec->states[index].value_size_bytes;
    if (UNLIKELY(!weir_is_set(value) || weir_is_null(value))) {
        stage_fail(task, WEIR_USAGE, "sets the state '%s' to null: clear it, or remove the entry of a map",
                   state_name_of(state));
        return false;
    }
    if (UNLIKELY(size_bytes > 0 && value.size != size_bytes)) {
        stage_fail(task, WEIR_USAGE, "sets the state '%s' of %u bytes to a value of %zu", state_name_of(state), size_bytes,
                   value.size);
        return false;
    }
    return true;
}

struct weir_bytes state_encode(struct weir_task *task, const struct weir_state *state, uint32_t index,
                               const void *object)
{
    struct weir_bytes bytes = { object, task->spec->states[index].value_size_bytes };
    if (state->codec == WEIR_BYTES) bytes = *(const struct weir_bytes *)object;
    if (state->codec == WEIR_OBJECT) bytes = state->object->encode(task, object);
    if (state_has_failed(task) || !state_check_value(task, state, index, bytes)) return (struct weir_bytes){ 0 };
    return bytes;
}

bool state_decode(struct weir_task *task, const struct weir_state *state, struct weir_bytes bytes, void *object)
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
    return !state_has_failed(task);
}

bool state_has_codec(struct weir_task *task, const struct weir_state *state, enum weir_codec codec)
{
    if (LIKELY(state->codec == codec)) return true;
    stage_fail(task, WEIR_USAGE,
               "reads the state '%s' as another type than its .codec says: use the call for its codec",
               state_name_of(state));
    return false;
}

enum weir_code state_done(struct weir_task *task, bool has_memory)
{
    return LIKELY(has_memory) ? WEIR_OK : stage_no_memory(task, "the state of a key");
}

/* ---- Values ------------------------------------------------------------------------------------------------------ */

static inline void *value_in_place(struct weir_task *task, const struct weir_state *state, enum weir_codec codec)
{
    const uint32_t index = state_find(task, state, WEIR_STATE_VALUE);
    if (UNLIKELY(index == UINT32_MAX) || UNLIKELY(!state_has_codec(task, state, codec))) return NULL;
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
    const uint32_t index = state_find(task, state, kind);
    return index == UINT32_MAX ? (struct weir_bytes){ 0 } : shard_get(task->shard, index, &task->key);
}

struct weir_bytes weir_value_get(weir_keyed_task *task, const struct weir_state *state)
{
    return get(&task->task, state, WEIR_STATE_VALUE);
}

bool weir_value_get_object(weir_keyed_task *task, const struct weir_state *state, void *object)
{
    const struct weir_bytes bytes = get(&task->task, state, WEIR_STATE_VALUE);
    return weir_is_set(bytes) && state_decode(&task->task, state, bytes, object);
}

enum weir_code weir_value_set(weir_keyed_task *task, const struct weir_state *state, struct weir_bytes value)
{
    struct weir_task *stage = &task->task;
    const uint32_t index = state_find(stage, state, WEIR_STATE_VALUE);
    if (index == UINT32_MAX || !state_check_value(stage, state, index, value)) return state_failure_of(stage);
    return state_done(stage, shard_set(stage->shard, index, &stage->key, value));
}

enum weir_code weir_value_set_object(weir_keyed_task *task, const struct weir_state *state, const void *object)
{
    struct weir_task *stage = &task->task;
    const uint32_t index = state_find(stage, state, WEIR_STATE_VALUE);
    if (index == UINT32_MAX) return state_failure_of(stage);
    const struct weir_bytes value = state_encode(stage, state, index, object);
    if (!weir_is_set(value)) return state_failure_of(stage);
    return state_done(stage, shard_set(stage->shard, index, &stage->key, value));
}

static void clear(struct weir_task *task, const struct weir_state *state, enum weir_state_kind kind)
{
    const uint32_t index = state_find(task, state, kind);
    if (index != UINT32_MAX) (void)state_done(task, shard_clear(task->shard, index, &task->key));
}

void weir_value_clear(weir_keyed_task *task, const struct weir_state *state)
{
    clear(&task->task, state, WEIR_STATE_VALUE);
}

/* ---- Reducing and aggregating ------------------------------------------------------------------------------------ */

/* What the codec holds of the current key: in the table where it is of fixed size, else a copy that put_back writes.
 * Zero bytes when `*is_new`. NULL after a failure. */
static void *hold(struct weir_task *task, const struct weir_state *state, uint32_t index, bool *is_new)
{
    const struct weir_bytes bytes = shard_get(task->shard, index, &task->key);
    if (UNLIKELY(state_has_failed(task))) return NULL;
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
    return *is_new || state_decode(task, state, bytes, held) ? held : NULL;
}

static enum weir_code put_back(struct weir_task *task, const struct weir_state *state, uint32_t index,
                               const void *held)
{
    if (task->spec->states[index].value_size_bytes > 0) return WEIR_OK;
    const struct weir_bytes bytes = state_encode(task, state, index, held);
    if (!weir_is_set(bytes)) return state_failure_of(task);
    return state_done(task, shard_set(task->shard, index, &task->key, bytes));
}

static enum weir_code add_first(struct weir_task *task, const struct weir_state *state, uint32_t index,
                                const void *value)
{
    const struct weir_bytes bytes = state_encode(task, state, index, value);
    if (!weir_is_set(bytes)) return state_failure_of(task);
    return state_done(task, shard_set(task->shard, index, &task->key, bytes));
}

enum weir_code weir_reducing_add(weir_keyed_task *task, const struct weir_state *state, const void *value)
{
    struct weir_task *stage = &task->task;
    const uint32_t index = state_find(stage, state, WEIR_STATE_REDUCING);
    if (index == UINT32_MAX) return state_failure_of(stage);
    bool is_new;
    void *so_far = hold(stage, state, index, &is_new);
    if (so_far == NULL) return state_failure_of(stage);
    if (is_new) return add_first(stage, state, index, value);
    const enum weir_code code = state->reduce(task, so_far, value);
    if (UNLIKELY(code != WEIR_OK)) return stage_callback_failed(stage, code);
    return put_back(stage, state, index, so_far);
}

enum weir_code weir_reducing_add_i64(weir_keyed_task *task, const struct weir_state *state, int64_t value)
{
    if (!state_has_codec(&task->task, state, WEIR_I64)) return state_failure_of(&task->task);
    return weir_reducing_add(task, state, &value);
}

enum weir_code weir_reducing_add_f64(weir_keyed_task *task, const struct weir_state *state, double value)
{
    if (!state_has_codec(&task->task, state, WEIR_F64)) return state_failure_of(&task->task);
    return weir_reducing_add(task, state, &value);
}

bool weir_reducing_get(weir_keyed_task *task, const struct weir_state *state, void *value)
{
    const struct weir_bytes bytes = get(&task->task, state, WEIR_STATE_REDUCING);
    return weir_is_set(bytes) && state_decode(&task->task, state, bytes, value);
}

void weir_reducing_clear(weir_keyed_task *task, const struct weir_state *state)
{
    clear(&task->task, state, WEIR_STATE_REDUCING);
}

enum weir_code weir_aggregating_add(weir_keyed_task *task, const struct weir_state *state, const void *input)
{
    struct weir_task *stage = &task->task;
    const uint32_t index = state_find(stage, state, WEIR_STATE_AGGREGATING);
    if (index == UINT32_MAX) return state_failure_of(stage);
    bool is_new;
    void *accumulator = hold(stage, state, index, &is_new);
    if (accumulator == NULL) return state_failure_of(stage);
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
        if (object == NULL || !state_decode(stage, state, bytes, object)) return false;
        accumulator = object;
    }
    const enum weir_code code = state->aggregator->result(task, accumulator, output);
    if (code != WEIR_OK) stage_callback_failed(stage, code);
    return !state_has_failed(stage);
}

void weir_aggregating_clear(weir_keyed_task *task, const struct weir_state *state)
{
    clear(&task->task, state, WEIR_STATE_AGGREGATING);
}

struct weir_bytes weir_current_key(weir_keyed_task *task)
{
    return task->task.has_key ? task->task.key.key : WEIR_NULL;
}
