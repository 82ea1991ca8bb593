#include "runtime/task_private.h"

/* An idle source looks this often whether its positions moved without records (control records at the end). */
#define IDLE_LOOK_US 100000
/* Lag needs no request but a call for each partition; once in a while is enough. */
#define LAG_LOOK_US 200000

/* ---- Positions --------------------------------------------------------------------------------------------------- */

uint64_t task_digest_positions(struct task *task)
{
    struct weir_splits positions = { 0 };
    uint64_t digest = 1;
    if (!task->options.vertex->source->source.type->reader_positions(task->reader, &positions)) digest = 0;
    for (size_t i = 0; i < positions.count; i++)
        digest = digest * 31 + (uint64_t)positions.items[i].position;
    weir_splits_clear(&positions);
    return digest;
}

void task_say_moved(struct task *task)
{
    if (task->positions_said != 0 && task_digest_positions(task) != task->positions_said) task_say_active(task);
}

bool task_cuts_are_reached(struct task *task)
{
    if (task->cuts.count == 0) return true;
    struct weir_splits positions = { 0 };
    const struct weir_source_type *type = task->options.vertex->source->source.type;
    bool reached = type->reader_positions(task->reader, &positions);
    for (size_t i = 0; reached && i < task->cuts.count; i++) {
        const struct weir_split *at = weir_splits_find(&positions, task->cuts.items[i].name);
        reached = at == NULL || at->position >= task->cuts.items[i].position;
    }
    weir_splits_clear(&positions);
    return reached;
}

void task_lift_cuts(struct task *task)
{
    const struct weir_source_type *type = task->options.vertex->source->source.type;
    for (size_t i = 0; i < task->cuts.count; i++)
        type->reader_limit(task->reader, task->cuts.items[i].name, WEIR_POSITION_NONE);
    weir_splits_clear(&task->cuts);
}

/* ---- Input ------------------------------------------------------------------------------------------------------- */

/* From batch to batch, so more than the longest pause between two records, and little more than it. */
static void note_gap(struct task *task, int64_t now_us)
{
    if (task->taken_us > 0) {
        const uint64_t gap = (uint64_t)(now_us - task->taken_us);
        gaps_note(&task->gaps, gap);
        if (gap > atomic_load_explicit(&task->gap_max_us, memory_order_relaxed))
            atomic_store_explicit(&task->gap_max_us, gap, memory_order_relaxed);
    }
    task->taken_us = now_us;
}

static void count_input(struct task *task, const struct weir_batch *batch)
{
    metrics_add(&task->records_in, batch->count);
    metrics_add(&task->bytes_in, batch->arena.used_bytes);
}

static void take_batch(struct task *task, struct weir_batch *batch, uint32_t input, uint32_t tag)
{
    task->batch = batch;
    task->batch_input = input;
    task->batch_tag = tag;
    task->cursor = 0;
    metrics_add(&task->options.metrics->records_in, batch->count);
    metrics_add(&task->options.metrics->bytes_in, batch->arena.used_bytes);
    note_gap(task, task_now_us(task));
}

/* A source with nothing to hand over: say so when positions moved all the same, and look at the lag now and then. */
static void look_while_idle(struct task *task, int64_t now, int64_t *deadline_us)
{
    if (!task->active && now >= task->idle_look_us) {
        task_say_moved(task);
        task->idle_look_us = now + IDLE_LOOK_US;
    }
    if (!task->active && task->idle_look_us < *deadline_us) *deadline_us = task->idle_look_us;
}

static void note_lag(void *metrics, const char *split, int64_t lag) { metrics_lag(metrics, split, lag); }

static void look_at_lag(struct task *task, int64_t now)
{
    if (now < task->lag_look_us) return;
    task->lag_look_us = now + LAG_LOOK_US;
    const struct weir_source_type *type = task->options.vertex->source->source.type;
    if (type->reader_lag == NULL) return;
    if (type->reader_lags != NULL) type->reader_lags(task->reader, note_lag, task->options.metrics);
    const int64_t lag = type->reader_lag(task->reader);
    atomic_store_explicit(&task->lag, lag < 0 ? UINT64_MAX : (uint64_t)lag, memory_order_relaxed);
}

enum task_result task_poll_source(struct task *task, int64_t *deadline_us)
{
    struct weir_error error = { .code = WEIR_OK };
    const struct weir_source_type *type = task->options.vertex->source->source.type;
    const int64_t now = task_now_us(task);
    batch_clear(task->source_batch);
    task->source_batch->records_max = task->options.source_batch_records;
    const enum weir_poll poll = type->reader_poll(task->reader, task->source_batch, &error);
    look_at_lag(task, now);
    if (poll == WEIR_POLL_FAILED) {
        weir_error_wrap(&error, "source '%s', subtask %u", task->options.vertex->source->name,
                        task->options.subtask_index);
        task_fail(task, &error);
        return TASK_WORKED;
    }
    if (task->source_batch->count > 0) {
        count_input(task, task->source_batch);
        task_say_active(task);
        take_batch(task, task->source_batch, 0, 0);
        return TASK_WORKED;
    }
    task->taken_us = 0;
    if (poll == WEIR_POLL_ENDED) {
        task->input_ended = true;
        if (!task->end_said) task_tell(task, LETTER_INPUT_ENDED);
        task->end_said = true;
        return TASK_WORKED;
    }
    if (poll == WEIR_POLL_MORE) return TASK_WORKED;
    look_while_idle(task, now, deadline_us);
    return TASK_WAITING;
}

enum task_result task_take_gate_event(struct task *task)
{
    struct gate_event event;
    switch (gate_next(task->gate, &event)) {
    case GATE_NOTHING:
        task->taken_us = 0;
        return TASK_WAITING;
    case GATE_BATCH: take_batch(task, event.batch, event.input, event.tag); break;
    case GATE_ALIGNED: task_begin_barrier(task, event.epoch); break;
    case GATE_ENDED: task->input_ended = true; break;
    case GATE_WATERMARK: break; /* event time comes with its own operators */
    }
    return TASK_WORKED;
}

void task_take_replay(struct task *task)
{
    take_batch(task, task->replays.items[task->replay_next++].batch, 0, 0);
    task->replaying = true;
}

static void end_batch(struct task *task)
{
    if (task->replaying) batch_release(task->batch);
    else if (task->gate != NULL) gate_give_back(task->gate, task->batch_input, task->batch);
    task->batch = NULL;
    task->replaying = false;
    task_look_at_limits(task);
}

static enum chain_result process_some(struct task *task)
{
    if (!task->replaying) return chain_process(task->chain, task->batch_tag, task->batch, &task->cursor);
    const struct replay *replay = &task->replays.items[task->replay_next - 1];
    return chain_replay(task->chain, replay->stage, replay->port, task->batch, &task->cursor);
}

enum task_result task_process_batch(struct task *task)
{
    const uint32_t begin = task->cursor;
    const enum chain_result result = process_some(task);
    if (task->options.is_unaligned && task->cursor > begin) task_say_active(task);
    switch (result) {
    case CHAIN_DONE: end_batch(task); return TASK_WORKED;
    case CHAIN_BLOCKED: task->blocked = true; return TASK_WAITING;
    case CHAIN_FAILED: break;
    }
    task_fail(task, chain_error(task->chain));
    return TASK_WORKED;
}
