#include "runtime/task_private.h"

#include <stdlib.h>

int64_t task_now_us(const struct task *task)
{
    const struct weir_environment *environment = task->options.environment;
    return environment->monotonic_us(environment->user);
}

/* ---- Letters to the job ------------------------------------------------------------------------------------------ */

struct letter_from_task *task_letter_new(struct task *task, enum letter_type type)
{
    struct letter_from_task *letter = calloc(1, sizeof(*letter));
    if (letter == NULL) return NULL;
    letter->mail.type = type;
    letter->attempt = task->options.attempt;
    letter->vertex = task->options.vertex_index;
    letter->subtask = task->options.subtask_index;
    letter->epoch = task->epoch;
    return letter;
}

void task_tell(struct task *task, enum letter_type type)
{
    struct letter_from_task *letter = task_letter_new(task, type);
    if (letter == NULL) return; /* the job asks again by way of its checkpoint time-out */
    mailbox_post(task->options.job, &letter->mail);
}

void task_fail(struct task *task, const struct weir_error *error)
{
    if (task->phase == PHASE_FAILED) return;
    task->phase = PHASE_FAILED;
    struct letter_from_task *letter = task_letter_new(task, LETTER_FAILED);
    if (letter == NULL) return;
    letter->error = *error;
    mailbox_post(task->options.job, &letter->mail);
}

void task_fail_no_memory(struct task *task)
{
    struct weir_error error;
    weir_error_set(&error, WEIR_NO_MEMORY, WEIR_REMEDY_REPLAY, "'%s', subtask %u: out of memory",
                   task->options.vertex->name, task->options.subtask_index);
    task_fail(task, &error);
}

void task_say_active(struct task *task)
{
    if (task->active) return;
    task->active = true;
    task_tell(task, LETTER_ACTIVITY);
}

/* ---- Metrics ----------------------------------------------------------------------------------------------------- */

void task_store_metrics(struct task *task, int64_t now)
{
    struct metrics_task *metrics = task->options.metrics;
    uint64_t records = chain_records_out(task->chain), bytes = chain_bytes_out(task->chain);
    atomic_store_explicit(&task->records_out, records, memory_order_relaxed);
    for (size_t i = 0; i < task->routers.count; i++) {
        records += router_records(task->routers.items[i]);
        bytes += router_bytes(task->routers.items[i]);
    }
    metrics_set(&metrics->records_out, task->sent_before.records + records);
    metrics_set(&metrics->bytes_out, task->sent_before.bytes + bytes);
    metrics_set(&metrics->beat_us, (uint64_t)now);
}

/* ---- Letters from the job ---------------------------------------------------------------------------------------- */

static void take_barrier_letter(struct task *task, struct letter_to_task *letter)
{
    CHECK(task->reader != NULL);
    const struct weir_source_type *type = task->options.vertex->source->source.type;
    task->barrier_waits = true;
    task->epoch = letter->epoch;
    for (size_t i = 0; i < letter->splits.count; i++) {
        const struct weir_split *cut = &letter->splits.items[i];
        if (!type->reader_limit(task->reader, cut->name, cut->position)) continue;
        if (!weir_splits_add(&task->cuts, cut)) {
            task_fail_no_memory(task);
            return;
        }
    }
}

static void take_letter(struct task *task, struct letter_to_task *letter)
{
    struct weir_error error = { .code = WEIR_OK };
    enum weir_code code = WEIR_OK;
    switch ((enum letter_type)letter->mail.type) {
    case LETTER_BARRIER: take_barrier_letter(task, letter); break;
    case LETTER_OVERTAKE: task_take_overtake_letter(task, letter->epoch); break;
    case LETTER_PROCEED: code = chain_proceed(task->chain, letter->epoch, &error); break;
    case LETTER_COMMITTED:
        chain_committed(task->chain, letter->epoch);
        task->waits_for_commit = false;
        break;
    case LETTER_SPLIT:
        task_say_moved(task); /* or it would be taken for where the new ones begin */
        for (size_t i = 0; code == WEIR_OK && i < letter->splits.count; i++)
            code = task->options.vertex->source->source.type->reader_add(task->reader, &letter->splits.items[i], &error);
        task->positions_said = task_digest_positions(task);
        task->input_ended = false;
        break;
    /* On the same side of a barrier that waits as the tasks that have begun it already. */
    case LETTER_FINISH: task->finish_epoch = task->epoch + task->barrier_waits; break;
    case LETTER_PART_DURABLE: task->part_under_way = false; break;
    case LETTER_DUMP: task_take_dump_letter(task, letter->stage); break;
    default: CHECK(!"a letter that no task gets");
    }
    if (code != WEIR_OK) task_fail(task, &error);
}

/* True when there was mail. */
static bool take_mail(struct task *task)
{
    struct mail *mail = mailbox_take(&task->mailbox);
    if (mail == NULL) return false;
    if (task->phase != PHASE_FAILED)
        take_letter(task, (struct letter_to_task *)mail);
    letter_destroy(mail);
    return true;
}

/* ---- The step ---------------------------------------------------------------------------------------------------- */

static enum task_result open(struct task *task)
{
    struct weir_error error = { .code = WEIR_OK };
    enum weir_code code = WEIR_OK;
    task->phase = PHASE_RUNNING;
    if (task->options.source != NULL) {
        const struct operator_spec *source = task->options.vertex->source;
        code = source->source.type->reader_open(task->options.source, task->options.subtask_index,
                                                waker_public(&task->waker), &task->reader, &error);
        if (code != WEIR_OK) weir_error_wrap(&error, "source '%s'", source->name);
    }
    if (code == WEIR_OK) code = chain_open(task->chain, &error);
    if (code == WEIR_OK)
        task_tell(task, LETTER_OPENED);
    else
        task_fail(task, &error);
    return TASK_WORKED;
}

/* What was decided before the end is still told: a sink may show its output only now. */
static void take_last_letters(struct task *task)
{
    for (struct mail *mail; (mail = mailbox_take(&task->mailbox)) != NULL; letter_destroy(mail))
        if (mail->type == LETTER_COMMITTED && task->phase != PHASE_FAILED)
            chain_committed(task->chain, ((struct letter_to_task *)mail)->epoch);
}

static enum task_result gone(struct task *task)
{
    take_last_letters(task);
    if (task->reader != NULL) {
        task->options.vertex->source->source.type->reader_close(task->reader);
        task->reader = NULL;
    }
    chain_destroy(task->chain); /* here, because `.close` belongs to this thread */
    task->chain = NULL;
    task_tell(task, LETTER_GONE);
    return TASK_GONE;
}

/* Takes the next piece of input, when there may be one. */
static enum task_result take_input(struct task *task, int64_t *deadline_us)
{
    if (task->replay_next < task->replays.count) {
        task_take_replay(task);
        return TASK_WORKED;
    }
    if (task->input_ended && !task->ended && (task->gate != NULL || task->finish_epoch <= task->epoch)) {
        task->phase = PHASE_FINISHING;
        return TASK_WORKED;
    }
    if (task->barrier_waits && task_cuts_are_reached(task)) {
        task_begin_barrier(task, task->epoch);
        return TASK_WORKED;
    }
    task->is_held = !task_has_room_for_changes(task);
    if (task->is_held) return TASK_WAITING;
    if (task->gate != NULL) return task_take_gate_event(task);
    const bool reads_nothing = task->ended || task->input_ended || task->waits_for_commit;
    return reads_nothing ? TASK_WAITING : task_poll_source(task, deadline_us);
}

/* Sends partial batches on when the input has run dry, or when they have waited long enough. */
static enum task_result flush(struct task *task, int64_t now)
{
    task->flush_us = now;
    task_store_metrics(task, now);
    switch (chain_tick(task->chain)) {
    case CHAIN_DONE: return TASK_WAITING;
    case CHAIN_BLOCKED: task->blocked = true; return TASK_WAITING;
    case CHAIN_FAILED: break;
    }
    task_fail(task, chain_error(task->chain));
    return TASK_WORKED;
}

static enum task_result unblock(struct task *task)
{
    switch (chain_unblock(task->chain)) {
    case CHAIN_DONE: task->blocked = false; return TASK_WORKED;
    case CHAIN_BLOCKED: return TASK_WAITING;
    case CHAIN_FAILED: break;
    }
    task_fail(task, chain_error(task->chain));
    return TASK_WORKED;
}

static enum task_result work(struct task *task, int64_t now, int64_t *deadline_us)
{
    const bool has_room = !task->blocked || unblock(task) != TASK_WAITING;
    /* A barrier asks for room where something is emitted for it, and needs none else: that a tick has met a sink without
     * room for records does not hold it up. */
    switch (task->phase) {
    case PHASE_EMITTING: return task_emit_on_commit(task);
    case PHASE_SNAPSHOT: return task_take_snapshot(task);
    case PHASE_FINISHING: return task_finish(task);
    case PHASE_FAILED: return TASK_WAITING;
    case PHASE_OPENING:
    case PHASE_RUNNING: break;
    }
    if (!has_room) return TASK_WAITING;
    if (task->batch != NULL) return task_process_batch(task);
    const enum task_result result = take_input(task, deadline_us);
    return result == TASK_WAITING ? flush(task, now) : result;
}

enum task_result task_step(struct task *task, int64_t *deadline_us)
{
    *deadline_us = INT64_MAX;
    if (task->phase == PHASE_OPENING) return open(task);
    if (atomic_load_explicit(&task->cancelled, memory_order_acquire)) return gone(task);
    if (take_mail(task)) return TASK_WORKED;
    if (task->phase == PHASE_FAILED) return TASK_WAITING;

    const int64_t now = task_now_us(task);
    if (now - task->flush_us >= task->options.buffer_timeout_us && flush(task, now) == TASK_WORKED) return TASK_WORKED;
    if (task->dumping && task->dump_may_go_on) task_dump_slice(task);
    task_write_snapshot(task);
    task_overtake(task);
    const enum task_result result = work(task, now, deadline_us);
    return result == TASK_WAITING && task->writing != NULL ? TASK_WORKED : result;
}

/* ---- The shell --------------------------------------------------------------------------------------------------- */

static void run_task(void *argument)
{
    struct task *task = argument;
    struct metrics_task *metrics = task->options.metrics;
    metrics_begin(metrics, task->options.attempt, task_now_us(task));
    for (;;) {
        int64_t deadline_us;
        const enum task_result result = task_step(task, &deadline_us);
        if (result == TASK_GONE) break;
        if (result == TASK_WORKED) continue;
        const int64_t now = task_now_us(task);
        int64_t timeout_us = -1;
        if (deadline_us != INT64_MAX) timeout_us = deadline_us > now ? deadline_us - now : 0;
        metrics_switch(metrics, task->blocked || task->is_held ? METRICS_BACKPRESSURED : METRICS_IDLE, now);
        waker_sleep(&task->waker, timeout_us);
        const int64_t woken_us = task_now_us(task);
        metrics_set(&metrics->beat_us, (uint64_t)woken_us); /* before it is busy: its sleep was no silence */
        metrics_switch(metrics, METRICS_BUSY, woken_us);
    }
    metrics_end(metrics, task_now_us(task));
}

bool task_start(struct task *task) { return thread_start(&task->thread, task->options.vertex->name, run_task, task); }
void task_join(struct task *task) { thread_join(&task->thread); }

void task_cancel(struct task *task)
{
    atomic_store_explicit(&task->cancelled, true, memory_order_release);
    waker_wake(&task->waker);
}

void task_post(struct task *task, struct letter_to_task *letter) { mailbox_post(&task->mailbox, &letter->mail); }

void task_read_counters(const struct task *task, struct task_counters *counters)
{
    counters->records_in = atomic_load_explicit(&task->records_in, memory_order_relaxed);
    counters->bytes_in = atomic_load_explicit(&task->bytes_in, memory_order_relaxed);
    counters->records_out = atomic_load_explicit(&task->records_out, memory_order_relaxed);
    counters->lag = atomic_load_explicit(&task->lag, memory_order_relaxed);
    counters->gap_max_us = atomic_load_explicit(&task->gap_max_us, memory_order_relaxed);
    counters->state_entries = atomic_load_explicit(&task->state_entries, memory_order_relaxed);
    counters->state_bytes = atomic_load_explicit(&task->state_bytes, memory_order_relaxed);
    counters->state_reads = atomic_load_explicit(&task->state_reads, memory_order_relaxed);
}

void task_add_gaps(const struct task *task, uint64_t sums[static GAPS_BUCKETS]) { gaps_add_to(&task->gaps, sums); }
