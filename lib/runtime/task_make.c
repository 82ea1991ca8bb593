#include "runtime/task_private.h"

#include <stdlib.h>
#include <string.h>

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
