#include "runtime/task_private.h"

#include <string.h>

/* A base is dumped in slices of this size between batches: some 0.3 ms each. */
#define DUMP_SLICE_BYTES (128 * 1024)
/* What changed in an epoch is written down in slices of so many entries: a millisecond at most. */
#define SNAPSHOT_SLICE_CHANGES 16384

/* ---- Limits ------------------------------------------------------------------------------------------------------ */

void task_look_at_limits(struct task *task)
{
    if (task->bytes_said) return;
    const uint64_t delta_bytes = chain_delta_bytes(task->chain);
    const uint64_t bytes = chain_kept_bytes(task->chain) + delta_bytes + chain_unflushed_bytes(task->chain);
    if (bytes < task->options.soft_limit_bytes && delta_bytes < task->options.delta_limit_bytes) return;
    task->bytes_said = true;
    task_tell(task, LETTER_BYTES);
}

static void begin_part(struct task *task)
{
    task->writing = task_letter_new(task, LETTER_PART);
    if (task->writing == NULL)
        task_fail_no_memory(task);
    else if (chain_part(task->chain, &task->writing->snapshot) == CHAIN_FAILED)
        task_fail(task, chain_error(task->chain));
    task->part_under_way = true;
}

bool task_has_room_for_changes(struct task *task)
{
    if (chain_delta_bytes(task->chain) < task->options.hard_limit_bytes) return true;
    if (task->part_under_way || task->writing != NULL) return false;
    begin_part(task);
    return task->phase != PHASE_FAILED;
}

/* ---- Barriers and the end ---------------------------------------------------------------------------------------- */

void task_begin_barrier(struct task *task, uint64_t epoch)
{
    CHECK(epoch >= task->epoch);
    task->epoch = epoch;
    task->phase = PHASE_EMITTING;
    task->emission_us = task_now_us(task);
}

/* What is emitted on commit wants the whole list of what changed: the last slices of a part come first. */
static bool is_writing_part(const struct task *task)
{
    return task->writing != NULL && task->writing->mail.type == LETTER_PART;
}

void task_write_snapshot(struct task *task)
{
    if (task->writing == NULL || !chain_snapshot_step(task->chain, SNAPSHOT_SLICE_CHANGES)) return;
    mailbox_post(task->options.job, &task->writing->mail);
    task->writing = NULL;
}

static void note_state(struct task *task, const struct chain_snapshot *snapshot)
{
    struct metrics_task *metrics = task->options.metrics;
    atomic_store_explicit(&task->state_entries, snapshot->state_entries, memory_order_relaxed);
    atomic_store_explicit(&task->state_bytes, snapshot->state_bytes, memory_order_relaxed);
    atomic_store_explicit(&task->state_reads, snapshot->state_reads, memory_order_relaxed);
    metrics_set(&metrics->state_entries, snapshot->state_entries);
    metrics_set(&metrics->state_bytes, snapshot->state_bytes);
    metrics_set(&metrics->state_reads, task->state_before.reads + snapshot->state_reads);
    metrics_set(&metrics->cache_hits, task->state_before.hits + snapshot->cache_hits);
    metrics_set(&metrics->cache_misses, task->state_before.misses + snapshot->cache_misses);
}

/* All that the acknowledgement says of the barrier, but for the changes, which are still to be written down. */
static bool fill_ack(struct task *task, struct letter_from_task *ack)
{
    ack->records_out = chain_records_out(task->chain);
    ack->ended = task->ended;
    ack->begun_us = task->emission_us;
    note_state(task, &ack->snapshot);
    return task->reader == NULL ||
           task->options.vertex->source->source.type->reader_positions(task->reader, &ack->positions);
}

enum task_result task_take_snapshot(struct task *task)
{
    CHECK(task->writing == NULL);
    struct letter_from_task *ack = task->writing = task_letter_new(task, LETTER_ACK);
    if (ack == NULL) {
        task_fail_no_memory(task);
        return TASK_WORKED;
    }
    switch (chain_snapshot(task->chain, task->epoch, &ack->snapshot)) {
    case CHAIN_BLOCKED: task->blocked = true; break;
    case CHAIN_DONE: break;
    case CHAIN_FAILED: task_fail(task, chain_error(task->chain)); return TASK_WORKED;
    }
    if (!fill_ack(task, ack)) {
        task_fail_no_memory(task);
        return TASK_WORKED;
    }
    if (task->reader != NULL) {
        task->positions_said = task_digest_positions(task);
        task_lift_cuts(task);
    }
    task->epoch++;
    task->barrier_waits = task->active = task->bytes_said = false;
    if (task->phase == PHASE_SNAPSHOT) task->phase = PHASE_RUNNING;
    task_store_metrics(task, task_now_us(task));
    task_write_snapshot(task);
    return TASK_WORKED;
}

enum task_result task_emit_on_commit(struct task *task)
{
    if (is_writing_part(task)) return TASK_WORKED;
    switch (chain_emit_on_commit(task->chain, task->epoch)) {
    case CHAIN_DONE:
        task->phase = PHASE_SNAPSHOT;
        if (task->taken_us > 0) task->taken_us += task_now_us(task) - task->emission_us;
        return TASK_WORKED;
    case CHAIN_BLOCKED: task->blocked = true; return TASK_WAITING;
    case CHAIN_FAILED: break;
    }
    task_fail(task, chain_error(task->chain));
    return TASK_WORKED;
}

enum task_result task_finish(struct task *task)
{
    if (is_writing_part(task)) return TASK_WORKED;
    switch (chain_finish(task->chain)) {
    case CHAIN_DONE: break;
    case CHAIN_BLOCKED: task->blocked = true; return TASK_WAITING;
    case CHAIN_FAILED: task_fail(task, chain_error(task->chain)); return TASK_WORKED;
    }
    task->ended = true;
    task->phase = PHASE_RUNNING;
    task_tell(task, LETTER_ENDED);
    return TASK_WORKED;
}

/* ---- Barriers that overtake -------------------------------------------------------------------------------------- */

static bool log_input(void *user, uint32_t tag, const struct weir_batch *batch)
{
    struct task *task = user;
    return flights_add(&task->flight->flights, false, tag, task->options.subtask_index, batch->records, batch->count);
}

struct router_log {
    struct task *task;
    uint32_t router;
};

static bool log_router(void *user, uint32_t channel, const struct weir_batch *batch)
{
    const struct router_log *log = user;
    return flights_add(&log->task->flight->flights, true, log->router, channel, batch->records, batch->count);
}

/* From the middle of a batch, if need be: what is left of it was overtaken, too. */
static void begin_overtaking(struct task *task)
{
    if (task->batch != NULL &&
        !flights_add(&task->flight->flights, false, task->batch_tag, task->options.subtask_index,
                     &task->batch->records[task->cursor], task->batch->count - task->cursor)) {
        task_fail_no_memory(task);
        return;
    }
    chain_hurry(task->chain, true);
    task_begin_barrier(task, task->overtaking);
}

static bool overtake_routers(struct task *task)
{
    for (uint32_t i = 0; i < task->routers.count; i++) {
        struct router_log log = { .task = task, .router = i };
        if (!router_overtake(task->routers.items[i], task->overtaking, log_router, &log)) return false;
    }
    return true;
}

/* Behind its snapshot: routers are asked again before any more input is taken. */
static void slow_down(struct task *task)
{
    chain_hurry(task->chain, false);
    task->blocked = true;
}

static void go_on_overtaking(struct task *task)
{
    if (!task->routers_overtaken) slow_down(task);
    const bool good = (task->routers_overtaken || overtake_routers(task)) &&
                      (task->gate == NULL || gate_log(task->gate, log_input, task));
    task->routers_overtaken = true;
    if (!good) {
        task_fail_no_memory(task);
    } else if (task->gate == NULL || !gate_is_logging(task->gate)) {
        mailbox_post(task->options.job, &task->flight->mail);
        task->flight = NULL;
        task->overtaking = 0;
    }
}

/* As far as it can be done now. */
void task_overtake(struct task *task)
{
    if (task->overtaking == 0 || task->phase == PHASE_FAILED) return;
    if (task->epoch > task->overtaking) {
        go_on_overtaking(task);
    } else if (task->gate != NULL && task->phase == PHASE_RUNNING &&
               gate_overtake(task->gate, task->overtaking) == GATE_OVERTAKES) {
        begin_overtaking(task);
    }
}

void task_take_overtake_letter(struct task *task, uint64_t epoch)
{
    CHECK(task->overtaking == 0 && task->replay_next == task->replays.count);
    task->flight = task_letter_new(task, LETTER_FLIGHT);
    if (task->flight == NULL) {
        task_fail_no_memory(task);
        return;
    }
    task->flight->epoch = epoch;
    task->overtaking = epoch;
    task->routers_overtaken = false;
    /* Who waits for the inputs of a broadcast does not hurry: it would take all others in without a bound. */
    const bool is_beginning = task->reader != NULL || task->phase != PHASE_RUNNING;
    if (task->epoch <= epoch && is_beginning) chain_hurry(task->chain, true);
}

/* ---- Bases ------------------------------------------------------------------------------------------------------- */

void task_dump_slice(struct task *task)
{
    struct shard *shard = chain_shard(task->chain, task->dump_stage);
    const bool last = shard_dump_step(shard, DUMP_SLICE_BYTES, &task->dump_chunk);
    if (task->dump_chunk.failed) {
        task_fail_no_memory(task);
        return;
    }
    struct letter_from_task *letter = task_letter_new(task, LETTER_CHUNK);
    if (letter == NULL) {
        task_fail_no_memory(task);
        return;
    }
    letter->stage = task->dump_stage;
    letter->redo_epoch = task->dump_redo;
    letter->chunk = task->dump_chunk;
    letter->last = last;
    buffer_init(&task->dump_chunk);
    const char *const folder = last ? shard_dump_folder(shard, &letter->stamped) : NULL;
    if (folder != NULL) letter->folder = strdup(folder);
    if (folder != NULL && (letter->folder == NULL || letter->stamped.failed)) {
        letter_destroy(&letter->mail);
        task_fail_no_memory(task);
        return;
    }
    task->dumping = !last;
    task->dump_may_go_on = false;
    mailbox_post(task->options.job, &letter->mail);
}

void task_take_dump_letter(struct task *task, uint32_t stage)
{
    if (!task->dumping) {
        task->dumping = true;
        task->dump_stage = stage;
        task->dump_redo = shard_dump_begin(chain_shard(task->chain, stage));
        if (task->options.bases_by_links) shard_dump_as_links(chain_shard(task->chain, stage));
    }
    task->dump_may_go_on = true;
}
