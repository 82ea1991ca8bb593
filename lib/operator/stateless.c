/* Operators without state: each receives a record, calls the user's function, and hands on what comes of it. */
#include "operator/stage.h"

static enum weir_code map_receive(void *receiver, const struct weir_record *record)
{
    struct weir_task *task = receiver;
    struct weir_record out;
    record_copy(&out, record);
    task->record = record;
    const enum weir_code code = task->spec->map(task, record, &out);
    if (UNLIKELY(code != WEIR_OK)) return stage_callback_failed(task, code);
    if (!weir_is_set(out.key)) out.key = WEIR_NULL;
    if (!weir_is_set(out.value)) out.value = WEIR_NULL;
    return stage_emit_own(task, &out);
}

static enum weir_code filter_receive(void *receiver, const struct weir_record *record)
{
    struct weir_task *task = receiver;
    task->record = record;
    return task->spec->filter(task, record) ? stage_emit(task, record) : WEIR_OK;
}

static inline enum weir_code process(struct weir_task *task, weir_process_fn *function,
                                     const struct weir_record *record)
{
    task->record = record;
    const enum weir_code code = function(task, record);
    return LIKELY(code == WEIR_OK) ? WEIR_OK : stage_callback_failed(task, code);
}

static enum weir_code process_receive_first(void *receiver, const struct weir_record *record)
{
    struct weir_task *task = receiver;
    task->port = 0;
    return process(task, task->spec->process.first, record);
}

static enum weir_code process_receive_second(void *receiver, const struct weir_record *record)
{
    struct weir_task *task = receiver;
    task->port = 1;
    return process(task, task->spec->process.second, record);
}

stage_receive_fn *stateless_receive(enum operator_kind kind, uint32_t port)
{
    switch (kind) {
    case OPERATOR_MAP: return map_receive;
    case OPERATOR_FILTER: return filter_receive;
    case OPERATOR_PROCESS: return process_receive_first;
    case OPERATOR_CO_PROCESS: return port == 0 ? process_receive_first : process_receive_second;
    default: return NULL;
    }
}
