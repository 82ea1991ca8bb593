#include <stdlib.h>
#include <string.h>

#include "runtime/job.h"

/* ---- Making --------------------------------------------------------------------------------------------------------- */

static enum weir_code no_memory(struct weir_error *error)
{
    return weir_error_set(error, WEIR_NO_MEMORY, WEIR_REMEDY_REPLAY, "no memory for the job's tasks");
}

static enum weir_code make_task(struct weir_job *job, uint32_t vertex, uint32_t subtask, uint64_t epoch,
                                bool was_complete, struct weir_error *error)
{
    const struct plan_vertex *at = &job->plan->vertices[vertex];
    const struct job_limits limits = job_stores_limits(job); /* for the job as a whole */
    struct task_options options = {
        .vertex = at,
        .vertex_index = vertex,
        .subtask_index = subtask,
        .max_parallelism = job->plan->max_parallelism,
        .attempt = job->attempt,
        .epoch = epoch,
        .clock_ms = job->clock_ms,
        .was_complete = was_complete,
        .is_unaligned = job_is_unaligned(job),
        .waits_for_commit = job->replays && at->source != NULL,
        .align_mode = job->exactly_once ? ALIGN_EXACTLY_ONCE : ALIGN_AT_LEAST_ONCE,
        .environment = &job->environment,
        .job = &job->mailbox,
        .metrics = metrics_task_at(&job->metrics, vertex, subtask),
        .source_batch_records = (uint32_t)weir_config_i64(job->config, "source.max-batch-records"),
        .buffer_timeout_us = weir_config_duration_ms(job->config, "execution.buffer-timeout") * 1000,
        .soft_limit_bytes = limits.soft_bytes / at->parallelism + 1,
        .delta_limit_bytes = limits.delta_bytes / at->parallelism + 1,
        .hard_limit_bytes = limits.hard_bytes / at->parallelism + 1,
        .bases_by_links = job_stores_are_linked(job),
    };
    void *sinks[CHAIN_STAGES_MAX] = { NULL };
    for (size_t i = 0; i < job->sinks.count; i++)
        if (job->sinks.items[i].vertex == vertex) sinks[job->sinks.items[i].stage] = job->sinks.items[i].instance;
    for (size_t i = 0; i < job->sources.count; i++)
        if (job->sources.items[i].vertex == vertex) options.source = job->sources.items[i].instance;
    options.sinks = sinks;

    struct task **slot = vec_push(&job->tasks);
    struct letter_from_task **ack = vec_push(&job->acks);
    if (slot == NULL || ack == NULL) return no_memory(error);
    *slot = NULL;
    *ack = NULL;
    return task_create(&options, slot, error);
}

/* The channels of one router: from subtask `from` of an edge's source to every receiver. */
static enum weir_code connect_router(struct weir_job *job, const struct plan_edge *edge, uint32_t from,
                                     struct weir_error *error)
{
    const uint32_t receivers = job->plan->vertices[edge->target_vertex].parallelism;
    const bool forward = edge->exchange == WEIR_EXCHANGE_FORWARD, keeps_order = job_keeps_order(job->plan, edge);
    const uint32_t count = forward ? 1 : receivers;
    struct task *source = job->tasks.items[job->vertex_first[edge->source_vertex] + from];
    struct channel **channels = calloc(count, sizeof(struct channel *));
    if (channels == NULL) return no_memory(error);
    bool good = true;
    for (uint32_t i = 0; good && i < count; i++) {
        struct task *target = job->tasks.items[job->vertex_first[edge->target_vertex] + (forward ? from : i)];
        struct channel **kept = vec_push(&job->channels);
        channels[i] = kept == NULL ? NULL
                                   : channel_create((uint32_t)weir_config_i64(job->config, "pipeline.channel.capacity"),
                                                    task_waker(source), task_waker(target));
        if (kept != NULL) *kept = channels[i];
        good = channels[i] != NULL &&
               task_add_input(target, channels[i], edge->target_input, keeps_order);
    }
    const struct router_options options = { .exchange = edge->exchange, .keeps_order = keeps_order,
                                            .max_parallelism = job->plan->max_parallelism, .channels = channels,
                                            .channel_count = count, .first_channel = from % count };
    good = good && task_add_router(source, &options);
    free(channels);
    return good ? WEIR_OK : no_memory(error);
}

/* Routers in the order in which the chain numbers them. */
static enum weir_code connect_vertex(struct weir_job *job, uint32_t vertex, struct weir_error *error)
{
    const struct plan_vertex *at = &job->plan->vertices[vertex];
    for (uint32_t from = 0; from < at->parallelism; from++)
        for (uint32_t router = 0; router < at->chain.router_count; router++)
            for (uint32_t e = 0; e < job->plan->edge_count; e++) {
                const struct plan_edge *edge = &job->plan->edges[e];
                if (edge->source_vertex != vertex || edge->source_router != router) continue;
                const enum weir_code code = connect_router(job, edge, from, error);
                if (code != WEIR_OK) return code;
            }
    return WEIR_OK;
}

static bool list_shards(struct weir_job *job)
{
    job_shards_clear(job);
    for (uint32_t k = 0; k < job->keyed.count; k++)
        for (uint32_t i = 0; i < job->plan->vertices[job->keyed.items[k].vertex].parallelism; i++) {
            struct job_shard *shard = vec_push(&job->shards);
            if (shard == NULL) return false;
            *shard = (struct job_shard){ .keyed = k, .subtask = i };
        }
    return true;
}

enum weir_code job_make_tasks(struct weir_job *job, uint64_t epoch, bool was_complete, struct weir_error *error)
{
    enum weir_code code = WEIR_OK;
    CHECK(job->tasks.count == 0);
    job->vertex_first = calloc(job->plan->vertex_count, sizeof(*job->vertex_first));
    if (job->vertex_first == NULL || !list_shards(job)) return no_memory(error);
    for (uint32_t v = 0; v < job->plan->vertex_count; v++) {
        job->vertex_first[v] = (uint32_t)job->tasks.count;
        for (uint32_t i = 0; code == WEIR_OK && i < job->plan->vertices[v].parallelism; i++)
            code = make_task(job, v, i, epoch, was_complete, error);
    }
    for (uint32_t v = 0; code == WEIR_OK && v < job->plan->vertex_count; v++) code = connect_vertex(job, v, error);
    for (size_t i = 0; code == WEIR_OK && i < job->tasks.count; i++) code = task_connect(job->tasks.items[i], error);
    if (code == WEIR_OK) job_stores_use(job);
    return code;
}

struct shard *job_shard_of(const struct weir_job *job, const struct job_keyed *keyed, uint32_t subtask)
{
    return chain_shard(task_chain(job->tasks.items[job->vertex_first[keyed->vertex] + subtask]), keyed->stage);
}

/* ---- Letters to tasks ----------------------------------------------------------------------------------------------- */

static struct letter_to_task *letter_new(enum letter_type type, uint64_t epoch)
{
    struct letter_to_task *letter = calloc(1, sizeof(*letter));
    if (letter == NULL) return NULL;
    letter->mail.type = type;
    letter->epoch = epoch;
    return letter;
}

/* The cuts of one source: "<operator>/<split>" names them across the job. */
static bool copy_cuts(const struct weir_splits *cuts, struct weir_splits *out)
{
    for (size_t i = 0; cuts != NULL && i < cuts->count; i++)
        if (!weir_splits_add(out, &cuts->items[i])) return false;
    return true;
}

void job_post_all(struct weir_job *job, enum letter_type type, uint64_t epoch, bool sources_only,
                  const struct weir_splits *cuts)
{
    for (uint32_t v = 0; v < job->plan->vertex_count; v++) {
        if (sources_only && job->plan->vertices[v].source == NULL) continue;
        for (uint32_t i = 0; i < job->plan->vertices[v].parallelism; i++) {
            struct letter_to_task *letter = letter_new(type, epoch);
            if (letter == NULL || !copy_cuts(cuts, &letter->splits)) {
                struct weir_error error;
                if (letter != NULL) letter_destroy(&letter->mail);
                weir_error_set(&error, WEIR_NO_MEMORY, WEIR_REMEDY_REPLAY, "no memory for a letter to a task");
                job_failed(job, &error);
                return;
            }
            task_post(job->tasks.items[job->vertex_first[v] + i], letter);
        }
    }
}

void job_post_part_durable(struct weir_job *job, uint32_t vertex, uint32_t subtask)
{
    struct letter_to_task *letter = letter_new(LETTER_PART_DURABLE, 0);
    if (letter == NULL)
        job_no_memory(job, "a letter to a task");
    else
        task_post(job->tasks.items[job->vertex_first[vertex] + subtask], letter);
}

void job_assign_splits(struct weir_job *job, struct job_source *source)
{
    const uint32_t parallelism = job->plan->vertices[source->vertex].parallelism;
    for (uint32_t i = 0; i < parallelism; i++) {
        struct letter_to_task *letter = NULL;
        for (size_t k = source->assigned; k < source->splits.count; k++) {
            if (k % parallelism != i) continue;
            if (letter == NULL) letter = letter_new(LETTER_SPLIT, 0);
            if (letter == NULL || !weir_splits_add(&letter->splits, &source->splits.items[k])) {
                struct weir_error error;
                if (letter != NULL) letter_destroy(&letter->mail);
                no_memory(&error);
                job_failed(job, &error);
                return;
            }
        }
        if (letter != NULL) task_post(job->tasks.items[job->vertex_first[source->vertex] + i], letter);
    }
    source->assigned = (uint32_t)source->splits.count;
}

/* ---- Starting and ending -------------------------------------------------------------------------------------------- */

void job_start_tasks(struct weir_job *job, uint64_t epoch)
{
    (void)epoch;
    for (size_t i = 0; i < job->sources.count; i++) {
        job->sources.items[i].assigned = 0;
        job_assign_splits(job, &job->sources.items[i]);
    }
    if (job->unwinding) return;
    for (size_t i = 0; i < job->tasks.count; i++) {
        if (task_start(job->tasks.items[i])) {
            job->tasks_started++;
            continue;
        }
        struct weir_error error;
        weir_error_set(&error, WEIR_ENVIRONMENT, WEIR_REMEDY_REPLAY, "the system refuses a thread for a task");
        job_failed(job, &error);
        return;
    }
}

void job_cancel_tasks(struct weir_job *job)
{
    job->unwinding = true;
    __atomic_store_n(&job->give_up_discovery, true, __ATOMIC_RELAXED);
    job->coordinator_timer_us = job->append_retry_us = job->discovery_us = job->watch_us = INT64_MAX;
    job->append_failing_us = 0;
    job_history_discarded(job);
    memset(job->begun_us, 0, sizeof(job->begun_us));
    if (job->coordinator_ready) coordinator_deinit(&job->coordinator);
    job->coordinator_ready = false;
    job_base_cancel(job);
    /* Until tasks run nobody waits at a channel, and a worker may still be making them. */
    for (size_t i = 0; job->tasks_started > 0 && i < job->channels.count; i++)
        if (job->channels.items[i] != NULL) channel_close(job->channels.items[i]);
    for (uint32_t i = 0; i < job->tasks_started; i++) task_cancel(job->tasks.items[i]);
    job_look_unwound(job);
}

void job_destroy_tasks(struct weir_job *job)
{
    for (size_t i = 0; i < job->tasks.count; i++) {
        struct task *task = job->tasks.items[i];
        if (task == NULL) continue;
        struct task_counters counters;
        task_read_counters(task, &counters);
        job->records_in_before += counters.records_in;
        job->bytes_in_before += counters.bytes_in;
        job->state_reads_before += counters.state_reads;
        if (counters.gap_max_us > job->gap_max_us) job->gap_max_us = counters.gap_max_us;
        task_add_gaps(task, job->gaps_before);
        task_join(task);
        task_destroy(task);
    }
    for (size_t i = 0; i < job->channels.count; i++)
        if (job->channels.items[i] != NULL) channel_destroy(job->channels.items[i]);
    job_stores_drop(job);
    job_drop_acks(job);
    job_drop_flights(job);
    vec_free(&job->flights);
    job->replays = false;
    job_parts_clear(&job->parts);
    vec_free(&job->acks);
    vec_free(&job->tasks);
    vec_free(&job->channels);
    free(job->vertex_first);
    job->vertex_first = NULL;
    job->tasks_started = job->tasks_gone = job->tasks_ended = job->inputs_ended = 0;
    job->attempt_records_out = 0;
}

void job_look_unwound(struct weir_job *job)
{
    if (!job->unwinding || job->works > 0 || job->tasks_gone < job->tasks_started) return;
    job_destroy_tasks(job);
    job->unwinding = false;
    job->proceeded = 0;
    job_commit_event(job, (struct commit_event){ .type = COMMIT_ON_TASKS_GONE });
    job_savepoint_go_on(job);
}
