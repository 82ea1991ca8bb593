#include "runtime/task.h"

#include <stdlib.h>
#include <string.h>

/* A base is dumped in slices of this size between batches: some 0.3 ms each. */
#define DUMP_SLICE_BYTES (128 * 1024)
/* What changed in an epoch is written down in slices of so many entries: a millisecond at most. */
#define SNAPSHOT_SLICE_CHANGES 16384
/* An idle source looks this often whether its positions moved without records (control records at the end). */
#define IDLE_LOOK_US 100000
/* Lag needs no request but a call for each partition; once in a while is enough. */
#define LAG_LOOK_US 200000

enum phase {
    PHASE_OPENING,
    PHASE_RUNNING,
    PHASE_EMITTING,
    PHASE_SNAPSHOT,
    PHASE_FINISHING,
    PHASE_FAILED,
};

/* Records of a flight, up to a batch of them. */
struct replay {
    uint32_t stage, port;
    struct weir_batch *batch; /* NULL once it is being processed */
};

struct task {
    struct task_options options;
    void *sinks[CHAIN_STAGES_MAX];
    struct thread thread;
    struct waker waker;
    struct mailbox mailbox;

    VEC(struct gate_input) inputs;
    VEC(struct router *) routers;
    struct gate *gate;     /* tasks with channels */
    struct chain *chain;
    void *reader;          /* source tasks */
    struct weir_batch *source_batch;

    _Atomic bool cancelled;
    enum phase phase;
    uint64_t epoch;              /* the open one */
    struct weir_batch *batch;    /* being processed, up to `cursor` */
    uint32_t batch_input;        /* gate input that it came from */
    uint32_t batch_tag;
    uint32_t cursor;
    VEC(struct replay) replays;
    size_t replay_next;
    bool replaying;              /* `batch` is that of the replay before `replay_next` */
    bool blocked;                /* the chain has no room */
    bool is_held;                /* the log is behind: no input until it has taken an early part */
    bool ended;                  /* END was handled; nothing but barriers from now on */
    bool input_ended, end_said; /* source tasks end together: the job says when */
    uint64_t finish_epoch;      /* in this one; UINT64_MAX = it has not said so */
    bool barrier_waits;          /* source tasks: a barrier to begin when the batch in hand is done */
    bool waits_for_commit;       /* source tasks: no input until then */
    uint64_t overtaking;         /* the epoch whose barrier overtakes, until its flights are reported; 0 = none */
    struct letter_from_task *flight; /* of it */
    bool routers_overtaken;      /* by its barrier */
    struct weir_splits cuts;     /* of the barrier that waits */

    bool active, bytes_said;     /* told the job in this epoch */
    uint64_t positions_said;     /* digest of the positions at the last barrier; 0 = there are none yet */
    int64_t idle_look_us, lag_look_us, flush_us;
    int64_t taken_us;            /* when the batch before was taken, emission added; 0 = input ran dry since */
    int64_t emission_us;         /* when it began */
    struct gaps gaps;

    uint32_t dump_stage;
    uint64_t dump_redo;
    bool dumping, dump_may_go_on;
    struct buffer dump_chunk;

    /* ACK of the barrier that has passed, or PART, while its deltas are being written down; NULL = neither. */
    struct letter_from_task *writing;
    bool part_under_way; /* from its beginning until it is durable */

    struct {
        uint64_t records, bytes;
    } sent_before;               /* by earlier tasks of the same metrics */
    struct {
        uint64_t reads, hits, misses;
    } state_before;              /* the same */

    _Atomic uint64_t records_in, bytes_in, records_out, lag, gap_max_us, state_entries, state_bytes, state_reads;
};

/* ---- Making --------------------------------------------------------------------------------------------------------- */

enum weir_code task_create(const struct task_options *options, struct task **made, struct weir_error *error)
{
    struct task *task = calloc(1, sizeof(*task));
    if (task == NULL || !waker_init(&task->waker)) {
        free(task);
        return weir_error_set(error, WEIR_NO_MEMORY, WEIR_REMEDY_REPLAY, "no memory for a task of '%s'",
                              options->vertex->name);
    }
    task->options = *options;
    memcpy(task->sinks, options->sinks, options->vertex->chain.stage_count * sizeof(task->sinks[0]));
    task->options.sinks = task->sinks;
    task->sent_before.records = metrics_get(&options->metrics->records_out);
    task->sent_before.bytes = metrics_get(&options->metrics->bytes_out);
    task->state_before.reads = metrics_get(&options->metrics->state_reads);
    task->state_before.hits = metrics_get(&options->metrics->cache_hits);
    task->state_before.misses = metrics_get(&options->metrics->cache_misses);
    task->epoch = options->epoch;
    task->finish_epoch = UINT64_MAX;
    task->waits_for_commit = options->waits_for_commit;
    mailbox_init(&task->mailbox, &task->waker);
    buffer_init(&task->dump_chunk);
    atomic_store(&task->lag, UINT64_MAX);
    *made = task;
    return WEIR_OK;
}

struct waker *task_waker(struct task *task) { return &task->waker; }
struct chain *task_chain(struct task *task) { return task->chain; }

bool task_add_input(struct task *task, struct channel *channel, uint32_t tag, bool keeps_order)
{
    struct gate_input *input = vec_push(&task->inputs);
    if (input == NULL) return false;
    *input = (struct gate_input){ .channel = channel, .tag = tag, .keeps_order = keeps_order };
    return true;
}

bool task_add_router(struct task *task, const struct router_options *options)
{
    struct router *router = router_create(options);
    struct router **slot = router == NULL ? NULL : vec_push(&task->routers);
    if (slot == NULL) {
        if (router != NULL) router_destroy(router);
        return false;
    }
    *slot = router;
    return true;
}

enum weir_code task_connect(struct task *task, struct weir_error *error)
{
    const struct task_options *options = &task->options;
    const struct plan_vertex *vertex = options->vertex;
    CHECK(task->routers.count == vertex->chain.router_count);
    if (vertex->source == NULL) {
        task->gate = gate_create(task->inputs.items, (uint32_t)task->inputs.count, options->align_mode,
                                 options->epoch - 1);
        if (task->gate == NULL) goto no_memory;
    } else {
        task->source_batch = batch_create();
        if (task->source_batch == NULL) goto no_memory;
    }
    const struct chain_options chain = {
        .plan = &vertex->chain,
        .environment = options->environment,
        .vertex_name = vertex->name,
        .subtask_index = options->subtask_index,
        .parallelism = vertex->parallelism,
        .max_parallelism = options->max_parallelism,
        .epoch = options->epoch,
        .clock_ms = options->clock_ms,
        .was_complete = options->was_complete,
        .routers = task->routers.items,
        .sinks = options->sinks,
        .waker = waker_public(&task->waker),
    };
    return chain_create(&chain, &task->chain, error);
no_memory:
    return weir_error_set(error, WEIR_NO_MEMORY, WEIR_REMEDY_REPLAY, "no memory for a task of '%s'", vertex->name);
}

static struct replay *add_replay(struct task *task, uint32_t stage, uint32_t port)
{
    struct replay *replay = vec_push(&task->replays);
    if (replay == NULL) return NULL;
    *replay = (struct replay){ .stage = stage, .port = port, .batch = batch_create() };
    if (replay->batch != NULL) return replay;
    task->replays.count--;
    return NULL;
}

bool task_replay(struct task *task, uint32_t stage, uint32_t port, const struct weir_record *record)
{
    struct replay *last = task->replays.count == 0 ? NULL : &task->replays.items[task->replays.count - 1];
    if (last != NULL && last->stage == stage && last->port == port && batch_add(last->batch, record)) return true;
    last = add_replay(task, stage, port);
    return last != NULL && batch_add(last->batch, record);
}

void task_destroy(struct task *task)
{
    if (task == NULL) return;
    CHECK(!task->thread.started);
    if (task->batch != NULL && (task->gate != NULL || task->replaying)) batch_release(task->batch);
    for (size_t i = task->replay_next; i < task->replays.count; i++) batch_release(task->replays.items[i].batch);
    vec_free(&task->replays);
    chain_destroy(task->chain);
    for (size_t i = 0; i < task->routers.count; i++) router_destroy(task->routers.items[i]);
    if (task->gate != NULL) gate_destroy(task->gate);
    if (task->source_batch != NULL) batch_release(task->source_batch);
    vec_free(&task->routers);
    vec_free(&task->inputs);
    weir_splits_clear(&task->cuts);
    buffer_deinit(&task->dump_chunk);
    if (task->writing != NULL) letter_destroy(&task->writing->mail);
    if (task->flight != NULL) letter_destroy(&task->flight->mail);
    mailbox_deinit(&task->mailbox, letter_destroy);
    waker_deinit(&task->waker);
    free(task);
}

/* ---- Letters to the job --------------------------------------------------------------------------------------------- */

static void fail(struct task *task, const struct weir_error *error);

static struct letter_from_task *letter_new(struct task *task, enum letter_type type)
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

/* A letter that says all by its type. */
static void tell(struct task *task, enum letter_type type)
{
    struct letter_from_task *letter = letter_new(task, type);
    if (letter == NULL) return; /* the job asks again by way of its checkpoint time-out */
    mailbox_post(task->options.job, &letter->mail);
}

static void fail(struct task *task, const struct weir_error *error)
{
    if (task->phase == PHASE_FAILED) return;
    task->phase = PHASE_FAILED;
    struct letter_from_task *letter = letter_new(task, LETTER_FAILED);
    if (letter == NULL) return;
    letter->error = *error;
    mailbox_post(task->options.job, &letter->mail);
}

static void fail_no_memory(struct task *task)
{
    struct weir_error error;
    weir_error_set(&error, WEIR_NO_MEMORY, WEIR_REMEDY_REPLAY, "'%s', subtask %u: out of memory",
                   task->options.vertex->name, task->options.subtask_index);
    fail(task, &error);
}

static void say_active(struct task *task)
{
    if (task->active) return;
    task->active = true;
    tell(task, LETTER_ACTIVITY);
}

/* ---- Limits --------------------------------------------------------------------------------------------------------- */

/* The soft limit brings the barrier forward. */
static void look_at_limits(struct task *task)
{
    if (task->bytes_said) return;
    const uint64_t delta_bytes = chain_delta_bytes(task->chain);
    const uint64_t bytes = chain_kept_bytes(task->chain) + delta_bytes + chain_unflushed_bytes(task->chain);
    if (bytes < task->options.soft_limit_bytes && delta_bytes < task->options.delta_limit_bytes) return;
    task->bytes_said = true;
    tell(task, LETTER_BYTES);
}

static void begin_part(struct task *task)
{
    task->writing = letter_new(task, LETTER_PART);
    if (task->writing == NULL)
        fail_no_memory(task);
    else if (chain_part(task->chain, &task->writing->snapshot) == CHAIN_FAILED)
        fail(task, chain_error(task->chain));
    task->part_under_way = true;
}

/* Above the hard limit part of the delta is written early. False: not yet, and no more may change until then. */
static bool has_room_for_changes(struct task *task)
{
    if (chain_delta_bytes(task->chain) < task->options.hard_limit_bytes) return true;
    if (task->part_under_way || task->writing != NULL) return false;
    begin_part(task);
    return task->phase != PHASE_FAILED;
}

/* ---- Input ---------------------------------------------------------------------------------------------------------- */

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

static int64_t now_us(const struct task *task)
{
    const struct weir_environment *environment = task->options.environment;
    return environment->monotonic_us(environment->user);
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
    note_gap(task, now_us(task));
}

static uint64_t digest_positions(struct task *task)
{
    struct weir_splits positions = { 0 };
    uint64_t digest = 1;
    if (!task->options.vertex->source->source.type->reader_positions(task->reader, &positions)) digest = 0;
    for (size_t i = 0; i < positions.count; i++)
        digest = digest * 31 + (uint64_t)positions.items[i].position;
    weir_splits_clear(&positions);
    return digest;
}

static void say_moved(struct task *task)
{
    if (task->positions_said != 0 && digest_positions(task) != task->positions_said) say_active(task);
}

/* A source with nothing to hand over: say so when positions moved all the same, and look at the lag now and then. */
static void look_while_idle(struct task *task, int64_t now, int64_t *deadline_us)
{
    if (!task->active && now >= task->idle_look_us) {
        say_moved(task);
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

static enum task_result poll_source(struct task *task, int64_t *deadline_us)
{
    struct weir_error error = { .code = WEIR_OK };
    const struct weir_source_type *type = task->options.vertex->source->source.type;
    const int64_t now = now_us(task);
    batch_clear(task->source_batch);
    task->source_batch->records_max = task->options.source_batch_records;
    const enum weir_poll poll = type->reader_poll(task->reader, task->source_batch, &error);
    look_at_lag(task, now);
    if (poll == WEIR_POLL_FAILED) {
        weir_error_wrap(&error, "source '%s', subtask %u", task->options.vertex->source->name,
                        task->options.subtask_index);
        fail(task, &error);
        return TASK_WORKED;
    }
    if (task->source_batch->count > 0) {
        count_input(task, task->source_batch);
        say_active(task);
        take_batch(task, task->source_batch, 0, 0);
        return TASK_WORKED;
    }
    task->taken_us = 0;
    if (poll == WEIR_POLL_ENDED) {
        task->input_ended = true;
        if (!task->end_said) tell(task, LETTER_INPUT_ENDED);
        task->end_said = true;
        return TASK_WORKED;
    }
    if (poll == WEIR_POLL_MORE) return TASK_WORKED;
    look_while_idle(task, now, deadline_us);
    return TASK_WAITING;
}

static void begin_barrier(struct task *task, uint64_t epoch)
{
    CHECK(epoch >= task->epoch);
    task->epoch = epoch;
    task->phase = PHASE_EMITTING;
    task->emission_us = now_us(task);
}

static enum task_result take_gate_event(struct task *task)
{
    struct gate_event event;
    switch (gate_next(task->gate, &event)) {
    case GATE_NOTHING:
        task->taken_us = 0;
        return TASK_WAITING;
    case GATE_BATCH: take_batch(task, event.batch, event.input, event.tag); break;
    case GATE_ALIGNED: begin_barrier(task, event.epoch); break;
    case GATE_ENDED: task->input_ended = true; break;
    case GATE_WATERMARK: break; /* event time comes with its own operators */
    }
    return TASK_WORKED;
}

static void take_replay(struct task *task)
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
    look_at_limits(task);
}

static enum chain_result process_some(struct task *task)
{
    if (!task->replaying) return chain_process(task->chain, task->batch_tag, task->batch, &task->cursor);
    const struct replay *replay = &task->replays.items[task->replay_next - 1];
    return chain_replay(task->chain, replay->stage, replay->port, task->batch, &task->cursor);
}

static enum task_result process_batch(struct task *task)
{
    const uint32_t begin = task->cursor;
    const enum chain_result result = process_some(task);
    if (task->options.is_unaligned && task->cursor > begin) say_active(task);
    switch (result) {
    case CHAIN_DONE: end_batch(task); return TASK_WORKED;
    case CHAIN_BLOCKED: task->blocked = true; return TASK_WAITING;
    case CHAIN_FAILED: break;
    }
    fail(task, chain_error(task->chain));
    return TASK_WORKED;
}

/* ---- Barriers that overtake ------------------------------------------------------------------------------------------ */

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
        fail_no_memory(task);
        return;
    }
    chain_hurry(task->chain, true);
    begin_barrier(task, task->overtaking);
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
        fail_no_memory(task);
    } else if (task->gate == NULL || !gate_is_logging(task->gate)) {
        mailbox_post(task->options.job, &task->flight->mail);
        task->flight = NULL;
        task->overtaking = 0;
    }
}

/* As far as it can be done now. */
static void overtake(struct task *task)
{
    if (task->overtaking == 0 || task->phase == PHASE_FAILED) return;
    if (task->epoch > task->overtaking) {
        go_on_overtaking(task);
    } else if (task->gate != NULL && task->phase == PHASE_RUNNING &&
               gate_overtake(task->gate, task->overtaking) == GATE_OVERTAKES) {
        begin_overtaking(task);
    }
}

static void take_overtake_letter(struct task *task, uint64_t epoch)
{
    CHECK(task->overtaking == 0 && task->replay_next == task->replays.count);
    task->flight = letter_new(task, LETTER_FLIGHT);
    if (task->flight == NULL) {
        fail_no_memory(task);
        return;
    }
    task->flight->epoch = epoch;
    task->overtaking = epoch;
    task->routers_overtaken = false;
    /* Who waits for the inputs of a broadcast does not hurry: it would take all others in without a bound. */
    const bool is_beginning = task->reader != NULL || task->phase != PHASE_RUNNING;
    if (task->epoch <= epoch && is_beginning) chain_hurry(task->chain, true);
}

/* ---- Metrics -------------------------------------------------------------------------------------------------------- */

/* What is stored here is a few ms old at most. */
static void store_metrics(struct task *task, int64_t now)
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

/* ---- Barriers and the end -------------------------------------------------------------------------------------------- */

/* Every cut of this reader is reached exactly: the barrier may begin. */
static bool cuts_are_reached(struct task *task)
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

static void lift_cuts(struct task *task)
{
    const struct weir_source_type *type = task->options.vertex->source->source.type;
    for (size_t i = 0; i < task->cuts.count; i++)
        type->reader_limit(task->reader, task->cuts.items[i].name, WEIR_POSITION_NONE);
    weir_splits_clear(&task->cuts);
}

/* What is emitted on commit wants the whole list of what changed: the last slices of a part come first. */
static bool is_writing_part(const struct task *task)
{
    return task->writing != NULL && task->writing->mail.type == LETTER_PART;
}

/* A slice of the snapshot or part under way; the last one completes the letter. */
static void write_snapshot(struct task *task)
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

static enum task_result take_snapshot(struct task *task)
{
    CHECK(task->writing == NULL);
    struct letter_from_task *ack = task->writing = letter_new(task, LETTER_ACK);
    if (ack == NULL) {
        fail_no_memory(task);
        return TASK_WORKED;
    }
    switch (chain_snapshot(task->chain, task->epoch, &ack->snapshot)) {
    case CHAIN_BLOCKED: task->blocked = true; break;
    case CHAIN_DONE: break;
    case CHAIN_FAILED: fail(task, chain_error(task->chain)); return TASK_WORKED;
    }
    if (!fill_ack(task, ack)) {
        fail_no_memory(task);
        return TASK_WORKED;
    }
    if (task->reader != NULL) {
        task->positions_said = digest_positions(task);
        lift_cuts(task);
    }
    task->epoch++;
    task->barrier_waits = task->active = task->bytes_said = false;
    if (task->phase == PHASE_SNAPSHOT) task->phase = PHASE_RUNNING;
    store_metrics(task, now_us(task));
    write_snapshot(task);
    return TASK_WORKED;
}

static enum task_result emit_on_commit(struct task *task)
{
    if (is_writing_part(task)) return TASK_WORKED;
    switch (chain_emit_on_commit(task->chain, task->epoch)) {
    case CHAIN_DONE:
        task->phase = PHASE_SNAPSHOT;
        if (task->taken_us > 0) task->taken_us += now_us(task) - task->emission_us;
        return TASK_WORKED;
    case CHAIN_BLOCKED: task->blocked = true; return TASK_WAITING;
    case CHAIN_FAILED: break;
    }
    fail(task, chain_error(task->chain));
    return TASK_WORKED;
}

static enum task_result finish(struct task *task)
{
    if (is_writing_part(task)) return TASK_WORKED;
    switch (chain_finish(task->chain)) {
    case CHAIN_DONE: break;
    case CHAIN_BLOCKED: task->blocked = true; return TASK_WAITING;
    case CHAIN_FAILED: fail(task, chain_error(task->chain)); return TASK_WORKED;
    }
    task->ended = true;
    task->phase = PHASE_RUNNING;
    tell(task, LETTER_ENDED);
    return TASK_WORKED;
}

/* ---- Bases ---------------------------------------------------------------------------------------------------------- */

static void dump_slice(struct task *task)
{
    struct shard *shard = chain_shard(task->chain, task->dump_stage);
    const bool last = shard_dump_step(shard, DUMP_SLICE_BYTES, &task->dump_chunk);
    if (task->dump_chunk.failed) {
        fail_no_memory(task);
        return;
    }
    struct letter_from_task *letter = letter_new(task, LETTER_CHUNK);
    if (letter == NULL) {
        fail_no_memory(task);
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
        fail_no_memory(task);
        return;
    }
    task->dumping = !last;
    task->dump_may_go_on = false;
    mailbox_post(task->options.job, &letter->mail);
}

static void take_dump_letter(struct task *task, uint32_t stage)
{
    if (!task->dumping) {
        task->dumping = true;
        task->dump_stage = stage;
        task->dump_redo = shard_dump_begin(chain_shard(task->chain, stage));
        if (task->options.bases_by_links) shard_dump_as_links(chain_shard(task->chain, stage));
    }
    task->dump_may_go_on = true;
}

/* ---- Letters from the job ------------------------------------------------------------------------------------------- */

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
            fail_no_memory(task);
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
    case LETTER_OVERTAKE: take_overtake_letter(task, letter->epoch); break;
    case LETTER_PROCEED: code = chain_proceed(task->chain, letter->epoch, &error); break;
    case LETTER_COMMITTED:
        chain_committed(task->chain, letter->epoch);
        task->waits_for_commit = false;
        break;
    case LETTER_SPLIT:
        say_moved(task); /* or it would be taken for where the new ones begin */
        for (size_t i = 0; code == WEIR_OK && i < letter->splits.count; i++)
            code = task->options.vertex->source->source.type->reader_add(task->reader, &letter->splits.items[i], &error);
        task->positions_said = digest_positions(task);
        task->input_ended = false;
        break;
    /* On the same side of a barrier that waits as the tasks that have begun it already. */
    case LETTER_FINISH: task->finish_epoch = task->epoch + task->barrier_waits; break;
    case LETTER_PART_DURABLE: task->part_under_way = false; break;
    case LETTER_DUMP: take_dump_letter(task, letter->stage); break;
    default: CHECK(!"a letter that no task gets");
    }
    if (code != WEIR_OK) fail(task, &error);
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

/* ---- The step ------------------------------------------------------------------------------------------------------- */

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
        tell(task, LETTER_OPENED);
    else
        fail(task, &error);
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
    tell(task, LETTER_GONE);
    return TASK_GONE;
}

/* Takes the next piece of input, when there may be one. */
static enum task_result take_input(struct task *task, int64_t *deadline_us)
{
    if (task->replay_next < task->replays.count) {
        take_replay(task);
        return TASK_WORKED;
    }
    if (task->input_ended && !task->ended && (task->gate != NULL || task->finish_epoch <= task->epoch)) {
        task->phase = PHASE_FINISHING;
        return TASK_WORKED;
    }
    if (task->barrier_waits && cuts_are_reached(task)) {
        begin_barrier(task, task->epoch);
        return TASK_WORKED;
    }
    task->is_held = !has_room_for_changes(task);
    if (task->is_held) return TASK_WAITING;
    if (task->gate != NULL) return take_gate_event(task);
    const bool reads_nothing = task->ended || task->input_ended || task->waits_for_commit;
    return reads_nothing ? TASK_WAITING : poll_source(task, deadline_us);
}

/* Sends partial batches on when the input has run dry, or when they have waited long enough. */
static enum task_result flush(struct task *task, int64_t now)
{
    task->flush_us = now;
    store_metrics(task, now);
    switch (chain_tick(task->chain)) {
    case CHAIN_DONE: return TASK_WAITING;
    case CHAIN_BLOCKED: task->blocked = true; return TASK_WAITING;
    case CHAIN_FAILED: break;
    }
    fail(task, chain_error(task->chain));
    return TASK_WORKED;
}

static enum task_result unblock(struct task *task)
{
    switch (chain_unblock(task->chain)) {
    case CHAIN_DONE: task->blocked = false; return TASK_WORKED;
    case CHAIN_BLOCKED: return TASK_WAITING;
    case CHAIN_FAILED: break;
    }
    fail(task, chain_error(task->chain));
    return TASK_WORKED;
}

static enum task_result work(struct task *task, int64_t now, int64_t *deadline_us)
{
    const bool has_room = !task->blocked || unblock(task) != TASK_WAITING;
    /* A barrier asks for room where something is emitted for it, and needs none else: that a tick has met a sink without
     * room for records does not hold it up. */
    switch (task->phase) {
    case PHASE_EMITTING: return emit_on_commit(task);
    case PHASE_SNAPSHOT: return take_snapshot(task);
    case PHASE_FINISHING: return finish(task);
    case PHASE_FAILED: return TASK_WAITING;
    case PHASE_OPENING:
    case PHASE_RUNNING: break;
    }
    if (!has_room) return TASK_WAITING;
    if (task->batch != NULL) return process_batch(task);
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

    const int64_t now = now_us(task);
    if (now - task->flush_us >= task->options.buffer_timeout_us && flush(task, now) == TASK_WORKED) return TASK_WORKED;
    if (task->dumping && task->dump_may_go_on) dump_slice(task);
    write_snapshot(task);
    overtake(task);
    const enum task_result result = work(task, now, deadline_us);
    return result == TASK_WAITING && task->writing != NULL ? TASK_WORKED : result;
}

/* ---- The shell ------------------------------------------------------------------------------------------------------ */

static void run_task(void *argument)
{
    struct task *task = argument;
    struct metrics_task *metrics = task->options.metrics;
    metrics_begin(metrics, task->options.attempt, now_us(task));
    for (;;) {
        int64_t deadline_us;
        const enum task_result result = task_step(task, &deadline_us);
        if (result == TASK_GONE) break;
        if (result == TASK_WORKED) continue;
        const int64_t now = now_us(task);
        int64_t timeout_us = -1;
        if (deadline_us != INT64_MAX) timeout_us = deadline_us > now ? deadline_us - now : 0;
        metrics_switch(metrics, task->blocked || task->is_held ? METRICS_BACKPRESSURED : METRICS_IDLE, now);
        waker_sleep(&task->waker, timeout_us);
        const int64_t woken_us = now_us(task);
        metrics_set(&metrics->beat_us, (uint64_t)woken_us); /* before it is busy: its sleep was no silence */
        metrics_switch(metrics, METRICS_BUSY, woken_us);
    }
    metrics_end(metrics, now_us(task));
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
