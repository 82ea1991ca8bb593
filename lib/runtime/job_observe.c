#include <stdio.h>
#include <string.h>

#include "runtime/job.h"
#include "weir/observe.h"

/* A job thread goes round ten times a second; a task as often as its records are done, and a record may be slow. */
#define JOB_SILENT_US 10000000

const char *weir_phase_name(enum weir_checkpoint_phase phase)
{
    static const char *const names[WEIR_PHASES] = { "alignment", "snapshot", "durable", "flush", "commit" };
    return names[phase];
}

/* ---- The graph ------------------------------------------------------------------------------------------------------ */

bool weir_job_vertex(const weir_job *job, uint32_t index, struct weir_vertex *vertex)
{
    if (index >= job->plan->vertex_count) return false;
    const struct plan_vertex *at = &job->plan->vertices[index];
    *vertex = (struct weir_vertex){ .name = at->name, .parallelism = at->parallelism, .is_source = at->source != NULL,
                                    .operator_count = at->chain.stage_count + (at->source != NULL) };
    return true;
}

/* The source is no stage of its chain, but the first operator of its vertex. */
bool weir_job_operator(const weir_job *job, uint32_t vertex, uint32_t index, struct weir_vertex_operator *described)
{
    struct weir_vertex at;
    if (!weir_job_vertex(job, vertex, &at) || index >= at.operator_count) return false;
    const struct plan_vertex *planned = &job->plan->vertices[vertex];
    const struct operator_spec *spec = planned->source;
    if (index > 0 || spec == NULL) spec = planned->chain.stages[index - at.is_source].spec;
    *described = (struct weir_vertex_operator){ .name = spec->name, .kind = operator_kind_text(spec),
                                                .connector = operator_connector(spec) };
    return true;
}

bool weir_job_edge(const weir_job *job, uint32_t index, struct weir_edge *edge)
{
    if (index >= job->plan->edge_count) return false;
    const struct plan_edge *at = &job->plan->edges[index];
    *edge = (struct weir_edge){ at->source_vertex, at->target_vertex, plan_exchange_name(at->exchange) };
    return true;
}

char *weir_job_plan(const weir_job *job)
{
    struct buffer json;
    buffer_init(&json);
    (void)plan_json(job->plan, job->name, &json);
    buffer_u8(&json, '\0');
    if (!json.failed) return json.data;
    buffer_deinit(&json);
    return NULL;
}

bool weir_job_subtask(const weir_job *job, uint32_t vertex, uint32_t subtask, struct weir_subtask *numbers)
{
    if (vertex >= job->plan->vertex_count || subtask >= job->plan->vertices[vertex].parallelism) return false;
    const struct metrics_task *metrics = metrics_task_at(&job->metrics, vertex, subtask);
    uint64_t times_us[METRICS_ACTIVITIES];
    const bool is_running = metrics_times(metrics, job_now_us(job), times_us);
    *numbers = (struct weir_subtask){
        .records_in = metrics_get(&metrics->records_in),
        .bytes_in = metrics_get(&metrics->bytes_in),
        .records_out = metrics_get(&metrics->records_out),
        .bytes_out = metrics_get(&metrics->bytes_out),
        .busy_us = times_us[METRICS_BUSY],
        .idle_us = times_us[METRICS_IDLE],
        .backpressured_us = times_us[METRICS_BACKPRESSURED],
        .state_entries = metrics_get(&metrics->state_entries),
        .state_bytes = metrics_get(&metrics->state_bytes),
        .is_running = is_running,
    };
    return true;
}

/* A split that another subtask reads by now, or nobody, stays in the list, but not with this attempt's number. */
void weir_job_lags(const weir_job *job, void (*each)(void *user, const struct weir_split_lag *lag), void *user)
{
    for (uint32_t v = 0; v < job->plan->vertex_count; v++) {
        const struct plan_vertex *vertex = &job->plan->vertices[v];
        for (uint32_t i = 0; vertex->source != NULL && i < vertex->parallelism; i++) {
            const struct metrics_task *metrics = metrics_task_at(&job->metrics, v, i);
            const uint32_t attempt = atomic_load_explicit(&metrics->attempt, memory_order_relaxed);
            const struct metrics_split *split = atomic_load_explicit(&metrics->splits, memory_order_acquire);
            for (; split != NULL; split = split->next) {
                if (atomic_load_explicit(&split->attempt, memory_order_relaxed) != attempt) continue;
                const struct weir_split_lag lag = { vertex->source->name, split->name, v, i,
                                                    atomic_load_explicit(&split->lag, memory_order_relaxed) };
                each(user, &lag);
            }
        }
    }
}

/* ---- Checkpoints and failures --------------------------------------------------------------------------------------- */

/* The lock is the only thing of a job that a reader changes. */
static pthread_mutex_t *lock_of(const weir_job *job) { return &((weir_job *)(uintptr_t)job)->status_mutex; }

bool weir_job_checkpoint_at(const weir_job *job, uint32_t index, struct weir_checkpoint *checkpoint)
{
    pthread_mutex_lock(lock_of(job));
    const struct job_history *history = &job->history;
    const bool is_there = index < WEIR_CHECKPOINTS_KEPT && index < history->checkpoint_count;
    if (is_there) *checkpoint = history->checkpoints[(history->checkpoint_count - 1 - index) % WEIR_CHECKPOINTS_KEPT];
    pthread_mutex_unlock(lock_of(job));
    return is_there;
}

bool weir_job_failure_at(const weir_job *job, uint32_t index, struct weir_failure *failure)
{
    pthread_mutex_lock(lock_of(job));
    const struct job_history *history = &job->history;
    const bool is_there = index < WEIR_FAILURES_KEPT && index < history->failure_count;
    if (is_there) *failure = history->failures[(history->failure_count - 1 - index) % WEIR_FAILURES_KEPT];
    pthread_mutex_unlock(lock_of(job));
    return is_there;
}

/* ---- Health --------------------------------------------------------------------------------------------------------- */

static bool is_silent(uint64_t beat_us, int64_t now_us, int64_t patience_us)
{
    return now_us - (int64_t)beat_us > patience_us;
}

static bool workers_move(const struct weir_job *job, int64_t now_us, int64_t patience_us, char *why, size_t why_size)
{
    static const char *const names[METRICS_WORKERS] = { "environment", "log", "base" };
    for (int i = 0; i < METRICS_WORKERS; i++) {
        const uint64_t beat_us = metrics_get(&job->metrics.workers_beat_us[i]);
        if (beat_us == 0 || !is_silent(beat_us, now_us, patience_us)) continue;
        (void)snprintf(why, why_size, "the %s worker stands still in one call for %lld s: a disk or a broker does not answer",
                       names[i], (long long)(now_us - (int64_t)beat_us) / 1000000);
        return false;
    }
    return true;
}

static bool tasks_move(const struct weir_job *job, int64_t now_us, int64_t patience_us, char *why, size_t why_size)
{
    for (uint32_t v = 0; v < job->plan->vertex_count; v++)
        for (uint32_t i = 0; i < job->plan->vertices[v].parallelism; i++) {
            const struct metrics_task *metrics = metrics_task_at(&job->metrics, v, i);
            const bool is_busy = (atomic_load_explicit(&metrics->times[METRICS_BUSY], memory_order_relaxed) & 1) != 0;
            const uint64_t beat_us = metrics_get(&metrics->beat_us);
            if (!is_busy || beat_us == 0 || !is_silent(beat_us, now_us, patience_us)) continue;
            (void)snprintf(why, why_size, "subtask %u of '%s' has been inside one call for more than %lld s", i,
                           job->plan->vertices[v].name, (long long)patience_us / 1000000);
            return false;
        }
    return true;
}

bool weir_job_is_alive(const weir_job *job, int64_t patience_ms, char *why, size_t why_size)
{
    const int64_t now = job_now_us(job), patience_us = patience_ms * 1000;
    const int64_t job_patience_us = patience_us < JOB_SILENT_US ? patience_us : JOB_SILENT_US;
    const uint64_t beat_us = metrics_get(&job->metrics.beat_us);
    if (beat_us != 0 && is_silent(beat_us, now, job_patience_us)) {
        (void)snprintf(why, why_size, "the job thread has not gone round for %lld s",
                       (long long)(now - (int64_t)beat_us) / 1000000);
        return false;
    }
    if (beat_us != 0 && !workers_move(job, now, patience_us, why, why_size)) return false;
    return tasks_move(job, now, patience_us, why, why_size);
}

/* ---- Metrics -------------------------------------------------------------------------------------------------------- */

struct telling {
    void (*each)(void *user, const struct weir_sample *sample);
    void *user;
};

static void tell(const struct telling *telling, enum metric_id id, const char *first, const char *second, double value)
{
    const struct weir_sample sample = { .metric = &metrics_table[id], .suffix = "", .values = { first, second },
                                        .value = value };
    telling->each(telling->user, &sample);
}

static void tell_one(const struct telling *telling, enum metric_id id, double value) { tell(telling, id, NULL, NULL, value); }

static void tell_histogram(const struct telling *telling, enum metric_id id, const char *label,
                           const struct metrics_histogram *histogram)
{
    struct weir_sample sample = { .metric = &metrics_table[id], .suffix = "_bucket", .values = { label } };
    uint64_t count = 0;
    for (uint32_t i = 0; i <= METRICS_BUCKETS; i++) {
        char limit[24] = "+Inf";
        if (i < METRICS_BUCKETS) (void)snprintf(limit, sizeof(limit), "%g", (double)metrics_limits_us[i] / 1e6);
        count += metrics_get(&histogram->counts[i]);
        sample.limit = limit;
        sample.value = (double)count;
        telling->each(telling->user, &sample);
    }
    sample.limit = NULL;
    sample.suffix = "_sum";
    sample.value = (double)metrics_get(&histogram->sum_us) / 1e6;
    telling->each(telling->user, &sample);
    sample.suffix = "_count";
    sample.value = (double)count;
    telling->each(telling->user, &sample);
}

static double of_subtask(enum metric_id id, const struct weir_subtask *numbers, const struct metrics_task *metrics)
{
    switch (id) {
    case METRIC_RECORDS_IN: return (double)numbers->records_in;
    case METRIC_BYTES_IN: return (double)numbers->bytes_in;
    case METRIC_RECORDS_OUT: return (double)numbers->records_out;
    case METRIC_BYTES_OUT: return (double)numbers->bytes_out;
    case METRIC_BUSY: return (double)numbers->busy_us / 1e6;
    case METRIC_IDLE: return (double)numbers->idle_us / 1e6;
    case METRIC_BACKPRESSURED: return (double)numbers->backpressured_us / 1e6;
    case METRIC_STATE_ENTRIES: return (double)numbers->state_entries;
    case METRIC_STATE_BYTES: return (double)numbers->state_bytes;
    case METRIC_STATE_READS: return (double)metrics_get(&metrics->state_reads);
    case METRIC_CACHE_HITS: return (double)metrics_get(&metrics->cache_hits);
    case METRIC_CACHE_MISSES: return (double)metrics_get(&metrics->cache_misses);
    default: CHECK(!"a metric of subtasks"); return 0;
    }
}

/* All series of one metric stand together, as Prometheus wants it. */
static void tell_subtasks(const weir_job *job, const struct telling *telling)
{
    for (int id = METRIC_RECORDS_IN; id <= METRIC_CACHE_MISSES; id++)
        for (uint32_t v = 0; v < job->plan->vertex_count; v++)
            for (uint32_t i = 0; i < job->plan->vertices[v].parallelism; i++) {
                char subtask[16];
                struct weir_subtask numbers;
                (void)snprintf(subtask, sizeof(subtask), "%u", i);
                (void)weir_job_subtask(job, v, i, &numbers);
                tell(telling, (enum metric_id)id, job->plan->vertices[v].name, subtask,
                     of_subtask((enum metric_id)id, &numbers, metrics_task_at(&job->metrics, v, i)));
            }
}

static void tell_lag(void *user, const struct weir_split_lag *lag)
{
    if (lag->lag >= 0) tell(user, METRIC_LAG, lag->source, lag->split, (double)lag->lag);
}

/* Of a moment; 0 = it has not been. */
static double age_s(const weir_job *job, uint64_t since_us)
{
    const int64_t age_us = job_now_us(job) - (int64_t)since_us;
    return since_us == 0 || age_us < 0 ? 0 : (double)age_us / 1e6;
}

static void tell_checkpoints(const weir_job *job, const struct weir_job_status *status, const struct telling *telling)
{
    const struct metrics_job *metrics = &job->metrics;
    const uint64_t committed_us = metrics_get(&metrics->committed_us);
    tell_one(telling, METRIC_EPOCH, (double)status->epoch_committed);
    tell_one(telling, METRIC_CHECKPOINTS, (double)metrics_get(&metrics->checkpoints));
    tell_one(telling, METRIC_CHECKPOINTS_FAILED, (double)metrics_get(&metrics->checkpoints_failed));
    tell_histogram(telling, METRIC_CHECKPOINT, NULL, &metrics->checkpoint);
    for (int i = 0; i < WEIR_PHASES; i++)
        tell_histogram(telling, METRIC_PHASE, weir_phase_name((enum weir_checkpoint_phase)i), &metrics->phases[i]);
    tell_one(telling, METRIC_FRAME_BYTES, (double)status->frame_bytes);
    if (committed_us != 0) tell_one(telling, METRIC_SINCE_COMMIT, age_s(job, committed_us));
    tell_one(telling, METRIC_LOG_BYTES, (double)metrics_get(&metrics->log_bytes));
    tell_one(telling, METRIC_BASE_BYTES, (double)metrics_get(&metrics->base_bytes));
    tell_histogram(telling, METRIC_TRANSACTION, NULL, &metrics->transaction);
    tell_one(telling, METRIC_TRANSACTION_AGE, age_s(job, metrics_get(&metrics->transaction_begun_us)));
    for (int i = 0; i < METRICS_CODES; i++)
        tell(telling, METRIC_ABORTS, i == WEIR_OK ? "CANCELLED" : weir_code_name((enum weir_code)i), NULL,
             (double)metrics_get(&metrics->aborts[i]));
    tell_one(telling, METRIC_RENEWED, (double)metrics_get(&metrics->renewed));
    tell_one(telling, METRIC_COMMITTED, (double)status->records_out);
    tell_one(telling, METRIC_DEAD_LETTERS, (double)metrics_get(&metrics->dead_letters));
}

static void tell_process(const struct telling *telling)
{
    struct metrics_process process;
    if (!metrics_read_process(&process)) return;
    tell_one(telling, METRIC_CPU, process.cpu_seconds);
    tell_one(telling, METRIC_RESIDENT, (double)process.resident_bytes);
    tell_one(telling, METRIC_VIRTUAL, (double)process.virtual_bytes);
    tell_one(telling, METRIC_THREADS, (double)process.threads);
    tell_one(telling, METRIC_DESCRIPTORS, (double)process.descriptors);
    tell_one(telling, METRIC_DESCRIPTORS_MAX, (double)process.descriptors_max);
    if (process.started_seconds > 0) tell_one(telling, METRIC_STARTED, process.started_seconds);
}

void weir_job_metrics(const weir_job *job, void (*each)(void *user, const struct weir_sample *sample), void *user)
{
    struct telling telling = { .each = each, .user = user };
    struct weir_job_status status = { .size = sizeof(status) };
    weir_job_status((weir_job *)(uintptr_t)job, &status);
    tell(&telling, METRIC_INFO, job->name, job->program, 1);
    tell_one(&telling, METRIC_RUNNING, status.running);
    tell_one(&telling, METRIC_RESTARTS, (double)status.restarts);
    tell_one(&telling, METRIC_PARALLELISM, status.parallelism);
    tell_one(&telling, METRIC_INCARNATION, (double)status.incarnation);
    tell_subtasks(job, &telling);
    weir_job_lags(job, tell_lag, &telling);
    tell_checkpoints(job, &status, &telling);
    tell_process(&telling);
}
