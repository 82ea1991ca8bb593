/* The calls for lists and maps: those of the current key, and those of the operator itself. Both lie in the stage's shard,
 * the operator's own under a key of the subtask's; so all differ only in whose key it is. */
#include <endian.h>

#include "operator/state_calls.h"

_Static_assert(sizeof(struct weir_iterator) == sizeof(struct shard_cursor), "an iterator is a cursor");

/* The collection that a call is about. Its index is UINT32_MAX after a failure. */
struct collection {
    uint32_t index;
    const struct state_key *key;
};

static bool is_kind(enum weir_state_kind kind, enum weir_state_kind wanted)
{
    return kind == wanted || (kind == WEIR_STATE_OPERATOR_UNION && wanted == WEIR_STATE_OPERATOR_LIST);
}

static inline struct collection find(struct weir_task *task, const struct weir_state *state, enum weir_state_kind kind)
{
    if (!state_kind_is_own(kind))
        return (struct collection){ .index = state_find(task, state, kind), .key = &task->key };
    uint32_t index = state_index(task, state);
    if (index != UINT32_MAX && UNLIKELY(!is_kind(task->spec->states[index].kind, kind)))
        index = state_of_other_kind(task, state);
    return (struct collection){ .index = index, .key = &task->own_key };
}

/* Broadcast maps are changed where every subtask does the same, and nowhere else. */
static bool may_change(struct weir_task *task, const struct weir_state *state, enum weir_state_kind kind)
{
    const bool is_same_everywhere =
        task->record != &stage_no_record && (task->spec->broadcast_ports & 1u << task->port) != 0;
    if (kind != WEIR_STATE_BROADCAST || is_same_everywhere) return true;
    stage_fail(task, WEIR_USAGE,
               "changes the broadcast state '%s' where no record of a broadcast input is processed: its subtasks would no "
               "longer hold the same; change it where the weir_broadcast stream comes in",
               state_name_of(state));
    return false;
}

static inline struct collection find_to_change(struct weir_task *task, const struct weir_state *state,
                                               enum weir_state_kind kind)
{
    struct collection found = find(task, state, kind);
    if (found.index != UINT32_MAX && !may_change(task, state, kind)) found.index = UINT32_MAX;
    return found;
}

/* ---- Both -------------------------------------------------------------------------------------------------------- */

static bool is_empty(struct weir_task *task, const struct weir_state *state, enum weir_state_kind kind)
{
    const struct collection found = find(task, state, kind);
    return found.index == UINT32_MAX || shard_is_empty(task->shard, found.index, found.key);
}

static void clear(struct weir_task *task, const struct weir_state *state, enum weir_state_kind kind)
{
    const struct collection found = find_to_change(task, state, kind);
    if (found.index != UINT32_MAX) (void)state_done(task, shard_clear(task->shard, found.index, found.key));
}

/* ---- Lists ------------------------------------------------------------------------------------------------------- */

static enum weir_code add_one(struct weir_task *task, const struct weir_state *state, const struct collection *list,
                              struct weir_bytes element)
{
    if (!state_check_value(task, state, list->index, element)) return state_failure_of(task);
    return state_done(task, shard_list_add(task->shard, list->index, list->key, element));
}

static enum weir_code add_all(struct weir_task *task, const struct weir_state *state, enum weir_state_kind kind,
                              const struct weir_bytes *elements, size_t count)
{
    const struct collection list = find(task, state, kind);
    enum weir_code code = list.index == UINT32_MAX ? state_failure_of(task) : WEIR_OK;
    for (size_t i = 0; code == WEIR_OK && i < count; i++) code = add_one(task, state, &list, elements[i]);
    return code;
}

static enum weir_code add_object(struct weir_task *task, const struct weir_state *state, enum weir_state_kind kind,
                                 const void *element)
{
    const struct collection list = find(task, state, kind);
    if (list.index == UINT32_MAX) return state_failure_of(task);
    const struct weir_bytes bytes = state_encode(task, state, list.index, element);
    return weir_is_set(bytes) ? add_one(task, state, &list, bytes) : state_failure_of(task);
}

static enum weir_code add_number(struct weir_task *task, const struct weir_state *state, enum weir_state_kind kind,
                                 enum weir_codec codec, const void *number)
{
    if (!state_has_codec(task, state, codec)) return state_failure_of(task);
    return add_object(task, state, kind, number);
}

static bool list_next(struct weir_task *task, const struct weir_state *state, enum weir_state_kind kind,
                      struct weir_iterator *at, struct weir_bytes *element)
{
    const struct collection list = find(task, state, kind);
    if (list.index == UINT32_MAX) return false;
    struct shard_cursor cursor;
    memcpy(&cursor, at, sizeof cursor);
    const bool found = shard_list_next(task->shard, list.index, list.key, &cursor, element);
    memcpy(at, &cursor, sizeof cursor);
    return found && weir_is_set(*element);
}

enum weir_code weir_list_add(weir_keyed_task *task, const struct weir_state *state, struct weir_bytes element)
{
    return add_all(&task->task, state, WEIR_STATE_LIST, &element, 1);
}

enum weir_code weir_operator_list_add(void *task, const struct weir_state *state, struct weir_bytes element)
{
    return add_all(task, state, WEIR_STATE_OPERATOR_LIST, &element, 1);
}

enum weir_code weir_list_add_all(weir_keyed_task *task, const struct weir_state *state,
                                 const struct weir_bytes *elements, size_t count)
{
    return add_all(&task->task, state, WEIR_STATE_LIST, elements, count);
}

enum weir_code weir_operator_list_add_all(void *task, const struct weir_state *state, const struct weir_bytes *elements,
                                          size_t count)
{
    return add_all(task, state, WEIR_STATE_OPERATOR_LIST, elements, count);
}

enum weir_code weir_list_update(weir_keyed_task *task, const struct weir_state *state,
                                const struct weir_bytes *elements, size_t count)
{
    clear(&task->task, state, WEIR_STATE_LIST);
    return add_all(&task->task, state, WEIR_STATE_LIST, elements, count);
}

enum weir_code weir_operator_list_update(void *task, const struct weir_state *state, const struct weir_bytes *elements,
                                         size_t count)
{
    clear(task, state, WEIR_STATE_OPERATOR_LIST);
    return add_all(task, state, WEIR_STATE_OPERATOR_LIST, elements, count);
}

enum weir_code weir_list_add_object(weir_keyed_task *task, const struct weir_state *state, const void *element)
{
    return add_object(&task->task, state, WEIR_STATE_LIST, element);
}

enum weir_code weir_operator_list_add_object(void *task, const struct weir_state *state, const void *element)
{
    return add_object(task, state, WEIR_STATE_OPERATOR_LIST, element);
}

enum weir_code weir_list_add_i64(weir_keyed_task *task, const struct weir_state *state, int64_t element)
{
    return add_number(&task->task, state, WEIR_STATE_LIST, WEIR_I64, &element);
}

enum weir_code weir_operator_list_add_i64(void *task, const struct weir_state *state, int64_t element)
{
    return add_number(task, state, WEIR_STATE_OPERATOR_LIST, WEIR_I64, &element);
}

enum weir_code weir_list_add_f64(weir_keyed_task *task, const struct weir_state *state, double element)
{
    return add_number(&task->task, state, WEIR_STATE_LIST, WEIR_F64, &element);
}

enum weir_code weir_operator_list_add_f64(void *task, const struct weir_state *state, double element)
{
    return add_number(task, state, WEIR_STATE_OPERATOR_LIST, WEIR_F64, &element);
}

bool weir_list_next(weir_keyed_task *task, const struct weir_state *state, struct weir_iterator *at,
                    struct weir_bytes *element)
{
    return list_next(&task->task, state, WEIR_STATE_LIST, at, element);
}

bool weir_operator_list_next(void *task, const struct weir_state *state, struct weir_iterator *at,
                             struct weir_bytes *element)
{
    return list_next(task, state, WEIR_STATE_OPERATOR_LIST, at, element);
}

bool weir_list_next_object(weir_keyed_task *task, const struct weir_state *state, struct weir_iterator *at,
                           void *element)
{
    struct weir_bytes bytes;
    return weir_list_next(task, state, at, &bytes) && state_decode(&task->task, state, bytes, element);
}

bool weir_operator_list_next_object(void *task, const struct weir_state *state, struct weir_iterator *at, void *element)
{
    struct weir_bytes bytes;
    return weir_operator_list_next(task, state, at, &bytes) && state_decode(task, state, bytes, element);
}

bool weir_list_is_empty(weir_keyed_task *task, const struct weir_state *state)
{
    return is_empty(&task->task, state, WEIR_STATE_LIST);
}

bool weir_operator_list_is_empty(void *task, const struct weir_state *state)
{
    return is_empty(task, state, WEIR_STATE_OPERATOR_LIST);
}

void weir_list_clear(weir_keyed_task *task, const struct weir_state *state)
{
    clear(&task->task, state, WEIR_STATE_LIST);
}

void weir_operator_list_clear(void *task, const struct weir_state *state)
{
    clear(task, state, WEIR_STATE_OPERATOR_LIST);
}

/* ---- Unions ------------------------------------------------------------------------------------------------------ */

bool weir_operator_union_next(void *task, const struct weir_state *state, struct weir_iterator *at,
                              struct weir_bytes *element)
{
    struct weir_task *stage = task;
    const uint32_t index = state_index(stage, state);
    if (index == UINT32_MAX) return false;
    if (stage->spec->states[index].kind != WEIR_STATE_OPERATOR_UNION) {
        state_of_other_kind(stage, state);
        return false;
    }
    if (stage->is_open) {
        stage_fail(stage, WEIR_USAGE, "asks what all subtasks had of the union '%s' when .open is over: look at it there",
                   state_name_of(state));
        return false;
    }
    struct state_packed packed;
    size_t position = at->opaque[0];
    if (stage->unions == NULL || !state_parcel_next(&stage->unions[index], &position, &packed)) return false;
    at->opaque[0] = position;
    *element = packed.is_old ? stage_migrate(stage, index, packed.version, packed.value) : packed.value;
    return weir_is_set(*element);
}

bool weir_operator_union_next_object(void *task, const struct weir_state *state, struct weir_iterator *at, void *element)
{
    struct weir_bytes bytes;
    return weir_operator_union_next(task, state, at, &bytes) && state_decode(task, state, bytes, element);
}

/* ---- Maps -------------------------------------------------------------------------------------------------------- */

/* An entry of a map, as the shard wants it. */
static inline bool name_entry(struct weir_task *task, const struct weir_state *state, const struct collection *map,
                              struct weir_bytes key, struct state_key *name)
{
    if (UNLIKELY(map->index == UINT32_MAX)) return false;
    if (UNLIKELY(!weir_is_set(key) || weir_is_null(key))) {
        stage_fail(task, WEIR_USAGE, "uses null as a key of the map '%s': give it bytes, WEIR_EMPTY for none",
                   state_name_of(state));
        return false;
    }
    *name = *map->key;
    name->element = key;
    return true;
}

static inline struct weir_bytes get(struct weir_task *task, const struct weir_state *state, enum weir_state_kind kind,
                                    struct weir_bytes key)
{
    struct state_key name;
    const struct collection map = find(task, state, kind);
    if (!name_entry(task, state, &map, key, &name)) return (struct weir_bytes){ 0 };
    return shard_map_get(task->shard, map.index, &name);
}

static enum weir_code put(struct weir_task *task, const struct weir_state *state, enum weir_state_kind kind,
                          struct weir_bytes key, struct weir_bytes value)
{
    struct state_key name;
    const struct collection map = find_to_change(task, state, kind);
    if (!name_entry(task, state, &map, key, &name) || !state_check_value(task, state, map.index, value))
        return state_failure_of(task);
    return state_done(task, shard_map_put(task->shard, map.index, &name, value));
}

static enum weir_code put_object(struct weir_task *task, const struct weir_state *state, enum weir_state_kind kind,
                                 struct weir_bytes key, const void *object)
{
    struct state_key name;
    const struct collection map = find_to_change(task, state, kind);
    if (!name_entry(task, state, &map, key, &name)) return state_failure_of(task);
    const struct weir_bytes value = state_encode(task, state, map.index, object);
    if (!weir_is_set(value)) return state_failure_of(task);
    return state_done(task, shard_map_put(task->shard, map.index, &name, value));
}

static void remove_entry(struct weir_task *task, const struct weir_state *state, enum weir_state_kind kind,
                         struct weir_bytes key)
{
    struct state_key name;
    const struct collection map = find_to_change(task, state, kind);
    if (name_entry(task, state, &map, key, &name))
        (void)state_done(task, shard_map_remove(task->shard, map.index, &name));
}

static inline void *entry_in_place(struct weir_task *task, const struct weir_state *state, enum weir_state_kind kind,
                                   struct weir_bytes key, enum weir_codec codec)
{
    struct state_key name;
    const struct collection map = find_to_change(task, state, kind);
    if (!name_entry(task, state, &map, key, &name) || UNLIKELY(!state_has_codec(task, state, codec))) return NULL;
    void *value = shard_map_value(task->shard, map.index, &name);
    if (UNLIKELY(value == NULL)) (void)state_done(task, false);
    return value;
}

static bool map_next(struct weir_task *task, const struct weir_state *state, enum weir_state_kind kind,
                     struct weir_iterator *at, struct weir_bytes *key, struct weir_bytes *value)
{
    const struct collection map = find(task, state, kind);
    if (map.index == UINT32_MAX) return false;
    struct shard_cursor cursor;
    memcpy(&cursor, at, sizeof cursor);
    const bool found = shard_map_next(task->shard, map.index, map.key, &cursor, key, value);
    memcpy(at, &cursor, sizeof cursor);
    return found && weir_is_set(*value);
}

struct weir_bytes weir_map_get(weir_keyed_task *task, const struct weir_state *state, struct weir_bytes key)
{
    return get(&task->task, state, WEIR_STATE_MAP, key);
}

struct weir_bytes weir_broadcast_get(void *task, const struct weir_state *state, struct weir_bytes key)
{
    return get(task, state, WEIR_STATE_BROADCAST, key);
}

bool weir_map_get_object(weir_keyed_task *task, const struct weir_state *state, struct weir_bytes key, void *object)
{
    const struct weir_bytes bytes = weir_map_get(task, state, key);
    return weir_is_set(bytes) && state_decode(&task->task, state, bytes, object);
}

bool weir_broadcast_get_object(void *task, const struct weir_state *state, struct weir_bytes key, void *object)
{
    const struct weir_bytes bytes = weir_broadcast_get(task, state, key);
    return weir_is_set(bytes) && state_decode(task, state, bytes, object);
}

bool weir_map_contains(weir_keyed_task *task, const struct weir_state *state, struct weir_bytes key)
{
    return weir_is_set(weir_map_get(task, state, key));
}

bool weir_broadcast_contains(void *task, const struct weir_state *state, struct weir_bytes key)
{
    return weir_is_set(weir_broadcast_get(task, state, key));
}

enum weir_code weir_map_put(weir_keyed_task *task, const struct weir_state *state, struct weir_bytes key,
                            struct weir_bytes value)
{
    return put(&task->task, state, WEIR_STATE_MAP, key, value);
}

enum weir_code weir_broadcast_put(void *task, const struct weir_state *state, struct weir_bytes key,
                                  struct weir_bytes value)
{
    return put(task, state, WEIR_STATE_BROADCAST, key, value);
}

enum weir_code weir_map_put_object(weir_keyed_task *task, const struct weir_state *state, struct weir_bytes key,
                                   const void *object)
{
    return put_object(&task->task, state, WEIR_STATE_MAP, key, object);
}

enum weir_code weir_broadcast_put_object(void *task, const struct weir_state *state, struct weir_bytes key,
                                         const void *object)
{
    return put_object(task, state, WEIR_STATE_BROADCAST, key, object);
}

void weir_map_remove(weir_keyed_task *task, const struct weir_state *state, struct weir_bytes key)
{
    remove_entry(&task->task, state, WEIR_STATE_MAP, key);
}

void weir_broadcast_remove(void *task, const struct weir_state *state, struct weir_bytes key)
{
    remove_entry(task, state, WEIR_STATE_BROADCAST, key);
}

int64_t *weir_map_i64(weir_keyed_task *task, const struct weir_state *state, struct weir_bytes key)
{
    return entry_in_place(&task->task, state, WEIR_STATE_MAP, key, WEIR_I64);
}

int64_t *weir_broadcast_i64(void *task, const struct weir_state *state, struct weir_bytes key)
{
    return entry_in_place(task, state, WEIR_STATE_BROADCAST, key, WEIR_I64);
}

double *weir_map_f64(weir_keyed_task *task, const struct weir_state *state, struct weir_bytes key)
{
    return entry_in_place(&task->task, state, WEIR_STATE_MAP, key, WEIR_F64);
}

double *weir_broadcast_f64(void *task, const struct weir_state *state, struct weir_bytes key)
{
    return entry_in_place(task, state, WEIR_STATE_BROADCAST, key, WEIR_F64);
}

void *weir_map_struct(weir_keyed_task *task, const struct weir_state *state, struct weir_bytes key)
{
    return entry_in_place(&task->task, state, WEIR_STATE_MAP, key, WEIR_STRUCT);
}

void *weir_broadcast_struct(void *task, const struct weir_state *state, struct weir_bytes key)
{
    return entry_in_place(task, state, WEIR_STATE_BROADCAST, key, WEIR_STRUCT);
}

bool weir_map_next(weir_keyed_task *task, const struct weir_state *state, struct weir_iterator *at,
                   struct weir_bytes *key, struct weir_bytes *value)
{
    return map_next(&task->task, state, WEIR_STATE_MAP, at, key, value);
}

bool weir_broadcast_next(void *task, const struct weir_state *state, struct weir_iterator *at, struct weir_bytes *key,
                         struct weir_bytes *value)
{
    return map_next(task, state, WEIR_STATE_BROADCAST, at, key, value);
}

bool weir_map_next_object(weir_keyed_task *task, const struct weir_state *state, struct weir_iterator *at,
                          struct weir_bytes *key, void *object)
{
    struct weir_bytes value;
    return weir_map_next(task, state, at, key, &value) && state_decode(&task->task, state, value, object);
}

bool weir_broadcast_next_object(void *task, const struct weir_state *state, struct weir_iterator *at,
                                struct weir_bytes *key, void *object)
{
    struct weir_bytes value;
    return weir_broadcast_next(task, state, at, key, &value) && state_decode(task, state, value, object);
}

bool weir_map_is_empty(weir_keyed_task *task, const struct weir_state *state)
{
    return is_empty(&task->task, state, WEIR_STATE_MAP);
}

bool weir_broadcast_is_empty(void *task, const struct weir_state *state)
{
    return is_empty(task, state, WEIR_STATE_BROADCAST);
}

void weir_map_clear(weir_keyed_task *task, const struct weir_state *state)
{
    clear(&task->task, state, WEIR_STATE_MAP);
}

void weir_broadcast_clear(void *task, const struct weir_state *state)
{
    clear(task, state, WEIR_STATE_BROADCAST);
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

