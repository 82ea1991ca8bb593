/* What callbacks may call: emitting, texts and memory of a record, failing, and what they know of their place. weir.h
 * says what each call promises. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/hash_inline.h"
#include "operator/stage.h"

const struct weir_record stage_no_record = { .key = { weir_null_data, 0 }, .value = { weir_null_data, 0 },
                                             .time_ms = WEIR_TIME_UNSET };

/* ---- Failing ----------------------------------------------------------------------------------------------------- */

static enum weir_code keep_failure(struct weir_task *task, const struct weir_error *error)
{
    struct chain *chain = task->chain;
    if (chain->error.code == WEIR_OK) {
        chain->error = *error;
        weir_error_wrap(&chain->error, "operator '%s', subtask %u", task->spec->name, chain->subtask_index);
        chain->attention = true;
    }
    return chain->error.code;
}

enum weir_code stage_fail(struct weir_task *task, enum weir_code code, const char *format, ...)
{
    struct weir_error error = { .code = code, .remedy = WEIR_REMEDY_REPLAY };
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(error.text, sizeof error.text, format, arguments);
    va_end(arguments);
    return keep_failure(task, &error);
}

enum weir_code stage_fail_with(struct weir_task *task, const struct weir_error *error)
{
    if (error->code != WEIR_OK) return keep_failure(task, error);
    return stage_fail(task, WEIR_FAILED, "its connector failed without a reason");
}

enum weir_code stage_callback_failed(struct weir_task *task, enum weir_code code)
{
    return stage_fail(task, code, "its callback answered %s without a reason: end it with weir_fail",
                      weir_code_name(code));
}

enum weir_code stage_no_memory(struct weir_task *task, const char *what)
{
    return stage_fail(task, WEIR_NO_MEMORY, "no memory for %s", what);
}

enum weir_code weir_fail(void *task, const char *format, ...)
{
    struct weir_error error = { .code = WEIR_FAILED, .remedy = WEIR_REMEDY_REPLAY };
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(error.text, sizeof error.text, format, arguments);
    va_end(arguments);
    return keep_failure(task, &error);
}

/* ---- Emitting ---------------------------------------------------------------------------------------------------- */

static enum weir_code emit_to_side(struct weir_task *task, const struct weir_output *to,
                                   const struct weir_record *record)
{
    const struct operator_spec *spec = task->spec;
    for (uint32_t i = 0; i < spec->output_count; i++)
        if (spec->outputs[i] == to) return task->sides[i].receive(task->sides[i].receiver, record);
    return stage_fail(task, WEIR_USAGE, "emits to the output '%s', which is not in its .outputs: list it there",
                      to->name == NULL ? "?" : to->name);
}

/* Once nothing that was emitted before waits any more. */
static inline bool has_failed(struct weir_task *task)
{
    if (task->group != NULL && task->chain->error.code == WEIR_OK) stage_hand_over(task->group);
    return task->chain->error.code != WEIR_OK;
}

static inline void set_time(struct weir_record *out, const struct weir_record *in, int64_t time_ms)
{
    if (LIKELY(time_ms == 0)) {
        out->time_ms = in->time_ms;
        out->time_type = in->time_type;
        return;
    }
    out->time_ms = time_ms == WEIR_EPOCH_MS ? 0 : time_ms;
    out->time_type = time_ms == WEIR_TIME_UNSET ? WEIR_TIME_NONE : WEIR_TIME_CREATE;
}

/* Options of another version of the header: what that caller does not know is unset. */
static enum weir_code emit_foreign(weir_task *task, const struct weir_emit_options *given)
{
    if (given->size < sizeof given->size)
        return stage_fail(task, WEIR_USAGE,
                          "emits without .size: call the macro weir_emit, or set .size to the size of the "
                          "struct");
    struct weir_emit_options options = { 0 };
    memcpy(&options, given, given->size < sizeof options ? given->size : sizeof options);
    options.size = sizeof options;
    return weir_emit_(task, &options);
}

enum weir_code weir_emit_(weir_task *task, const struct weir_emit_options *options)
{
    if (UNLIKELY(options->size != sizeof *options)) return emit_foreign(task, options);
    if (UNLIKELY(has_failed(task))) return task->chain->error.code;
    const struct weir_record *in = task->record;
    struct weir_record out;
    out.key = bytes_copy(weir_is_set(options->key) ? &options->key : &in->key);
    out.value = bytes_copy(weir_is_set(options->value) ? &options->value : &in->value);
    set_time(&out, in, options->time_ms);
    out.headers = options->headers;
    out.key_hash = 0;
    if (UNLIKELY(options->to != NULL)) return emit_to_side(task, options->to, &out);
    return stage_emit_own(task, &out);
}

enum weir_code weir_keyed_emit_(weir_keyed_task *task, const struct weir_emit_options *options)
{
    return weir_emit_(&task->task, options);
}

/* Never of an empty whole. */
static inline bool lies_in(struct weir_bytes whole, struct weir_bytes part)
{
    const size_t offset = (size_t)((uintptr_t)part.data - (uintptr_t)whole.data);
    return offset < whole.size && part.size <= whole.size - offset;
}

/* What lies in a record of the batch is there as long as the batch. */
static inline bool may_wait(const struct weir_record *in, struct weir_bytes key, struct weir_bytes value)
{
    return lies_in(in->value, key) && (value.size == 0 || lies_in(in->value, value));
}

static __attribute__((noinline)) enum weir_code emit_pair_slow(weir_task *task, struct weir_bytes key,
                                                              struct weir_bytes value)
{
    return weir_emit_(task, &(struct weir_emit_options){ .size = sizeof(struct weir_emit_options), .key = key,
                                                         .value = value });
}

/* Every word of a text comes here: a short way for what is nearly always so. */
enum weir_code weir_emit_pair(weir_task *task, struct weir_bytes key, struct weir_bytes value)
{
    const bool is_whole = weir_is_set(key) && !weir_is_null(key) && weir_is_set(value);
    if (UNLIKELY(!is_whole || task->rekeyed.receive == NULL || task->chain->error.code != WEIR_OK))
        return emit_pair_slow(task, key, value);
    const struct weir_record *in = task->record;
    struct stage_group *group = task->group;
    struct weir_record single, *out = &single;
    if (group != NULL) {
        if (LIKELY(may_wait(in, key, value))) out = &group->records[group->count];
        else stage_hand_over(group);
    }
    out->key = key;
    out->value = value;
    out->time_ms = in->time_ms;
    out->time_type = in->time_type;
    out->headers = NULL;
    out->key_hash = hash_key_inline(key);
    if (out == &single) return task->rekeyed.receive(task->rekeyed.receiver, out);
    return ++group->count == STAGE_GROUP_RECORDS ? stage_hand_over(group) : WEIR_OK;
}

enum weir_code weir_keyed_emit_pair(weir_keyed_task *task, struct weir_bytes key, struct weir_bytes value)
{
    return weir_emit_pair(&task->task, key, value);
}

enum weir_code weir_forward(weir_task *task, const struct weir_record *record)
{
    if (UNLIKELY(has_failed(task))) return task->chain->error.code;
    return stage_emit(task, record);
}

/* ---- Memory of one record ---------------------------------------------------------------------------------------- */

void *weir_alloc(void *task, size_t size_bytes)
{
    struct weir_task *stage = task;
    void *memory = arena_alloc(&stage->chain->scratch, size_bytes);
    if (UNLIKELY(memory == NULL))
        stage_fail(stage, WEIR_NO_MEMORY, "no memory for %zu bytes (weir_alloc, weir_format)", size_bytes);
    return memory;
}

struct weir_bytes weir_format(void *task, const char *format, ...)
{
    char text[256];
    va_list arguments;
    va_start(arguments, format);
    const int size = vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (size < 0) {
        stage_fail(task, WEIR_USAGE, "weir_format cannot read the format \"%.80s\"", format);
        return WEIR_EMPTY;
    }
    char *copy = weir_alloc(task, (size_t)size + 1);
    if (copy == NULL) return WEIR_EMPTY;
    if ((size_t)size < sizeof text) {
        memcpy(copy, text, (size_t)size + 1);
    } else {
        va_start(arguments, format);
        vsnprintf(copy, (size_t)size + 1, format, arguments);
        va_end(arguments);
    }
    return (struct weir_bytes){ copy, (size_t)size };
}

struct weir_bytes stage_text_of_i64(int64_t number, char text[static STAGE_I64_TEXT_MAX])
{
    char *const end = text + STAGE_I64_TEXT_MAX, *at = end;
    uint64_t rest = number < 0 ? 0 - (uint64_t)number : (uint64_t)number;
    do {
        *--at = (char)('0' + rest % 10);
        rest /= 10;
    } while (rest > 0);
    if (number < 0) *--at = '-';
    return (struct weir_bytes){ at, (size_t)(end - at) };
}

struct weir_bytes weir_format_i64(void *task, int64_t number)
{
    char *text = weir_alloc(task, STAGE_I64_TEXT_MAX);
    return text == NULL ? WEIR_EMPTY : stage_text_of_i64(number, text);
}

/* ---- A callback's place ------------------------------------------------------------------------------------------ */

void *weir_user(void *task)
{
    return ((struct weir_task *)task)->spec->user;
}

void *weir_local(void *task)
{
    return ((struct weir_task *)task)->local;
}

void weir_set_local(void *task, void *local)
{
    ((struct weir_task *)task)->local = local;
}

uint32_t weir_subtask_index(void *task)
{
    return ((struct weir_task *)task)->chain->subtask_index;
}

uint32_t weir_subtask_count(void *task)
{
    return ((struct weir_task *)task)->chain->parallelism;
}

/* Read at the first question of a batch, and never backwards. */
int64_t chain_now_ms(struct chain *chain)
{
    if (!chain->has_now) {
        const int64_t now_ms = chain->environment->wall_ms(chain->environment->user);
        if (now_ms > chain->now_ms) chain->now_ms = now_ms;
        chain->has_now = true;
    }
    return chain->now_ms;
}

int64_t weir_now_ms(void *task)
{
    return chain_now_ms(((struct weir_task *)task)->chain);
}

uint64_t weir_random(void *task)
{
    const struct weir_environment *environment = ((struct weir_task *)task)->chain->environment;
    return environment->random(environment->user);
}
