/* Keyed operators, and the key_by in front of them.
 *
 * The current key is set on entry to each callback, from the record (its hash was computed by the key_by) or, for an
 * emission on commit, from the shard. An aggregate never copies its accumulator: `add` changes it in the table. */
#include "operator/coalesce.h"
#include "operator/stage.h"
#include "state/value_inline.h"

/* ---- key_by ------------------------------------------------------------------------------------------------------ */

static enum weir_code null_key(struct weir_task *task)
{
    if (task->chain->error.code != WEIR_OK) return task->chain->error.code; /* the key function failed */
    if (task->spec->key_by.null_key == WEIR_NULL_KEY_DROP) return WEIR_OK;
    return stage_fail(task, WEIR_FAILED,
                      "a record has no key: give it one before, or name a .key function, or skip such "
                      "records with .null_key = WEIR_NULL_KEY_DROP");
}

static enum weir_code key_by_receive(void *receiver, const struct weir_record *record)
{
    struct weir_task *task = receiver;
    struct weir_record out;
    record_copy(&out, record);
    if (task->spec->key_by.key != NULL) {
        task->record = record;
        out.key = task->spec->key_by.key(task, record);
    }
    if (UNLIKELY(!weir_is_set(out.key) || weir_is_null(out.key))) return null_key(task);
    out.key_hash = hash_key(out.key);
    return stage_emit(task, &out);
}

/* ---- keyed_process, keyed_co_process ----------------------------------------------------------------------------- */

static inline void enter_key(struct weir_task *task, const struct weir_record *record)
{
    task->record = record;
    task->key.key = bytes_copy(&record->key);
    task->key.hash = record->key_hash;
    task->has_key = true;
}

static inline enum weir_code process(struct weir_task *task, weir_keyed_process_fn *function,
                                     const struct weir_record *record)
{
    const enum weir_code code = function(stage_keyed(task), record);
    return LIKELY(code == WEIR_OK) ? WEIR_OK : stage_callback_failed(task, code);
}

static enum weir_code keyed_receive_first(void *receiver, const struct weir_record *record)
{
    struct weir_task *task = receiver;
    enter_key(task, record);
    task->port = 0;
    return process(task, task->spec->keyed.first, record);
}

static enum weir_code keyed_receive_second(void *receiver, const struct weir_record *record)
{
    struct weir_task *task = receiver;
    enter_key(task, record);
    task->port = 1;
    return process(task, task->spec->keyed.second, record);
}

static enum weir_code broadcast_receive_second(void *receiver, const struct weir_record *record)
{
    struct weir_task *task = receiver;
    task->record = record;
    task->has_key = false;
    task->port = 1;
    return process(task, task->spec->keyed.second, record);
}

/* The main output of a keyed_process that emits on commit. */
static enum weir_code keep_last(void *receiver, const struct weir_record *record)
{
    struct weir_task *task = receiver;
    if (!task->has_key) return stage_emit_coalesced(task, record);
    if (LIKELY(coalesce_put(task->coalesce, task->key.key, task->key.hash, record))) return WEIR_OK;
    return stage_no_memory(task, "the last record of a key");
}

bool keyed_coalesce_open(struct weir_task *task)
{
    task->coalesce = coalesce_create();
    task->coalesced = task->main;
    task->main = (struct stage_output){ .receive = keep_last, .receiver = task };
    return task->coalesce != NULL;
}

/* ---- reduce ------------------------------------------------------------------------------------------------------ */

static enum weir_code emit_value(struct weir_task *task, struct weir_bytes value)
{
    const struct weir_record out = { .key = task->key.key, .value = value, .time_ms = task->record->time_ms,
                                     .time_type = task->record->time_type };
    return stage_emit(task, &out);
}

static bool lies_within(struct weir_bytes part, struct weir_bytes whole)
{
    return part.data >= whole.data && part.data <= whole.data + whole.size;
}

/* The new value of the current key. Unset after a failure. */
static struct weir_bytes reduced(struct weir_task *task, const struct weir_record *record)
{
    const struct weir_bytes so_far = shard_get(task->shard, 0, &task->key);
    if (!weir_is_set(so_far)) return record->value;
    struct weir_bytes value = task->spec->reduce(stage_keyed(task), so_far, record);
    if (UNLIKELY(!weir_is_set(value) || weir_is_null(value))) {
        stage_fail(task, WEIR_FAILED, "its .reduce answered no value: answer bytes, WEIR_EMPTY for none");
        return (struct weir_bytes){ 0 };
    }
    if (!lies_within(value, so_far)) return value;
    /* The shard cannot copy a value onto itself. */
    const char *copy = arena_copy(&task->chain->scratch, value.data, value.size);
    if (copy == NULL) stage_no_memory(task, "the value of a reduce");
    return (struct weir_bytes){ copy, value.size };
}

static enum weir_code reduce(struct weir_task *task, const struct weir_record *record, struct weir_bytes *value)
{
    enter_key(task, record);
    *value = reduced(task, record);
    if (UNLIKELY(task->chain->error.code != WEIR_OK)) return task->chain->error.code;
    if (UNLIKELY(!shard_set(task->shard, 0, &task->key, *value))) return stage_no_memory(task, "the value of a key");
    return WEIR_OK;
}

static inline bool has_value(const struct weir_record *record)
{
    return weir_is_set(record->value) && !weir_is_null(record->value);
}

static enum weir_code reduce_receive_each(void *receiver, const struct weir_record *record)
{
    struct weir_bytes value;
    if (!has_value(record)) return WEIR_OK;
    const enum weir_code code = reduce(receiver, record, &value);
    return LIKELY(code == WEIR_OK) ? emit_value(receiver, value) : code;
}

static enum weir_code reduce_receive_on_commit(void *receiver, const struct weir_record *record)
{
    struct weir_bytes value;
    return has_value(record) ? reduce(receiver, record, &value) : WEIR_OK;
}

/* ---- aggregate --------------------------------------------------------------------------------------------------- */

static enum weir_code emit_accumulator(struct weir_task *task, const void *accumulator)
{
    if (task->spec->aggregate.result != NULL) {
        const enum weir_code code = task->spec->aggregate.result(stage_keyed(task), accumulator);
        return LIKELY(code == WEIR_OK) ? WEIR_OK : stage_callback_failed(task, code);
    }
    char text[STAGE_I64_TEXT_MAX];
    return emit_value(task, stage_text_of_i64(*(const int64_t *)accumulator, text));
}

/* NULL after a failure. `reference`, `is_padded`: as shard_value_at wants them. */
static inline void *add(struct weir_task *task, const struct weir_record *record, uint32_t reference, bool is_padded)
{
    enter_key(task, record);
    void *accumulator = shard_value_at(task->shard, 0, record->key, record->key_hash, reference, is_padded);
    if (UNLIKELY(accumulator == NULL)) {
        stage_no_memory(task, "the accumulator of a key");
        return NULL;
    }
    const enum weir_code code = task->spec->aggregate.add(stage_keyed(task), accumulator, record);
    if (LIKELY(code == WEIR_OK)) return accumulator;
    stage_callback_failed(task, code);
    return NULL;
}

static inline enum weir_code emit_added(struct weir_task *task, const void *accumulator, bool emits_each)
{
    if (UNLIKELY(accumulator == NULL)) return task->chain->error.code;
    return emits_each ? emit_accumulator(task, accumulator) : WEIR_OK;
}

static inline enum weir_code aggregate(struct weir_task *task, const struct weir_record *record, bool emits_each)
{
    const uint32_t reference = shard_find_plain(task->shard, 0, record->key_hash);
    return emit_added(task, add(task, record, reference, false), emits_each);
}

static enum weir_code aggregate_receive_each(void *receiver, const struct weir_record *record)
{
    return aggregate(receiver, record, true);
}

static enum weir_code aggregate_receive_on_commit(void *receiver, const struct weir_record *record)
{
    return aggregate(receiver, record, false);
}

/* ---- Groups ------------------------------------------------------------------------------------------------------ */

static enum weir_code aggregate_receive_group(void *receiver, const struct weir_record *records, uint32_t count)
{
    struct weir_task *task = receiver;
    const bool emits_each = task->spec->emit == WEIR_EMIT_EACH;
    uint32_t references[STAGE_GROUP_RECORDS];
    chain_load_ahead(task->shard, false, records, count);
    shard_find_records(task->shard, 0, records, count, references);
    for (uint32_t i = 0; i < count; i++) {
        const enum weir_code code = emit_added(task, add(task, &records[i], references[i], true), emits_each);
        if (UNLIKELY(code != WEIR_OK)) return code;
    }
    return WEIR_OK;
}

/* Of operators with states of their own the first one is thought of. */
static enum weir_code receive_group(void *receiver, const struct weir_record *records, uint32_t count)
{
    struct weir_task *task = receiver;
    stage_receive_fn *receive = keyed_receive(task->spec, 0);
    chain_look_ahead(task->shard, false, records, count);
    for (uint32_t i = 0; i < count; i++) {
        const enum weir_code code = receive(task, &records[i]);
        if (UNLIKELY(code != WEIR_OK)) return code;
    }
    return WEIR_OK;
}

stage_receive_group_fn *keyed_receive_group(const struct operator_spec *spec)
{
    if (!operator_is_keyed(spec) || spec->state_count == 0 || state_kind_is_own(spec->states[0].kind)) return NULL;
    if (spec->kind == OPERATOR_AGGREGATE) return aggregate_receive_group;
    return spec->kind == OPERATOR_KEYED_CO_PROCESS ? NULL : receive_group;
}

stage_receive_fn *keyed_receive(const struct operator_spec *spec, uint32_t port)
{
    const bool each = spec->emit == WEIR_EMIT_EACH;
    switch (spec->kind) {
    case OPERATOR_KEY_BY: return key_by_receive;
    case OPERATOR_KEYED_PROCESS: return keyed_receive_first;
    case OPERATOR_REDUCE: return each ? reduce_receive_each : reduce_receive_on_commit;
    case OPERATOR_AGGREGATE: return each ? aggregate_receive_each : aggregate_receive_on_commit;
    case OPERATOR_KEYED_CO_PROCESS:
        if (port == 0) return keyed_receive_first;
        return spec->second_is_broadcast ? broadcast_receive_second : keyed_receive_second;
    default: return NULL;
    }
}

/* ---- Emit on commit ---------------------------------------------------------------------------------------------- */

/* May the walk go on to the next key? */
static bool may_go_on(struct chain *chain)
{
    if (chain->scratch.used_bytes > 0) arena_reset(&chain->scratch);
    return LIKELY(!chain->attention) || chain_look(chain) == CHAIN_DONE;
}

static bool emit_changed(void *user, const struct state_key *key, struct weir_bytes value)
{
    struct weir_task *task = user;
    struct weir_record input = stage_no_record; /* what the result callback's emit inherits from */
    input.key = key->key;
    input.key_hash = key->hash;
    enter_key(task, &input);
    if (task->spec->kind == OPERATOR_AGGREGATE) emit_accumulator(task, value.data);
    else emit_value(task, value);
    task->record = &stage_no_record;
    return may_go_on(task->chain);
}

static bool emit_coalesced(struct weir_task *task, size_t *position)
{
    while (*position < coalesce_count(task->coalesce)) {
        stage_emit_coalesced(task, coalesce_at(task->coalesce, (*position)++));
        if (!may_go_on(task->chain)) return false;
    }
    coalesce_clear(task->coalesce);
    return true;
}

bool keyed_emit_on_commit(struct weir_task *task, size_t *position)
{
    if (task->coalesce != NULL) return emit_coalesced(task, position);
    return shard_each_changed_from(task->shard, 0, position, emit_changed, task);
}
