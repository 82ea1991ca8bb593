#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/job.h"

#define PUBLISH_US 100000

bool job_is_running(const struct weir_job *job)
{
    return job->commit.phase == COMMIT_RUNNING && job->tasks_started > 0;
}

static int compare_doubles(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double percentile(const struct job_latency *latency, double share)
{
    static_assert(sizeof(latency->samples_ms) <= 64 * 1024, "sorted on the stack");
    double sorted[JOB_LATENCY_SAMPLES];
    if (latency->count == 0) return 0;
    memcpy(sorted, latency->samples_ms, latency->count * sizeof(sorted[0]));
    qsort(sorted, latency->count, sizeof(sorted[0]), compare_doubles);
    return sorted[(uint32_t)((double)(latency->count - 1) * share)];
}

/* While it runs, nobody waits for a base, and a checkpoint that waits for its log has a time-out. A start and a roll-back wait
 * for all of them, without one. */
static void look_at_workers(struct weir_job *job, uint64_t now_us)
{
    struct worker *const workers[METRICS_WORKERS] = { job->environment_worker, job->log_writer, job->base_writer };
    const bool is_running = job_is_running(job);
    for (int i = 0; i < METRICS_WORKERS; i++) {
        const bool has_moved = workers[i] == NULL || worker_has_moved(workers[i]);
        if (has_moved || (is_running && i != METRICS_ENVIRONMENT)) metrics_set(&job->metrics.workers_beat_us[i], now_us);
    }
}

/* What only this thread knows. Before tasks are started, shards and bases belong to the restore. */
static void publish_metrics(struct weir_job *job)
{
    uint64_t log_bytes = 0, base_bytes = 0;
    const uint64_t now_us = (uint64_t)job_now_us(job);
    metrics_set(&job->metrics.beat_us, now_us);
    look_at_workers(job, now_us);
    metrics_set(&job->metrics.transaction_begun_us, (uint64_t)job_oldest_transaction_us(job));
    if (job->tasks_started == 0) return;
    for (size_t i = 0; i < job->shards.count; i++) log_bytes += job->shards.items[i].log_bytes;
    for (size_t i = 0; i < job->keyed.count; i++)
        for (size_t k = 0; k < job->keyed.items[i].bases.count; k++)
            base_bytes += job->keyed.items[i].bases.items[k].file.length;
    metrics_set(&job->metrics.log_bytes, log_bytes);
    metrics_set(&job->metrics.base_bytes, base_bytes);
}

void job_publish(struct weir_job *job)
{
    struct weir_job_status status = {
        .size = sizeof(status),
        .incarnation = job->commit.incarnation,
        .epoch_committed = job->commit.parent.epoch,
        .epochs = job->epochs,
        .records_in = job->records_in_before,
        .bytes_in = job->bytes_in_before,
        .records_out = job->records_out_committed,
        .state_reads = job->state_reads_before,
        .restarts = job->restarts,
        .commit_latency_ms = job->commit_latency.last_ms,
        .commit_latency_p50_ms = percentile(&job->commit_latency, 0.5),
        .commit_latency_p99_ms = percentile(&job->commit_latency, 0.99),
        .durable_latency_p50_ms = percentile(&job->durable_latency, 0.5),
        .durable_latency_p99_ms = percentile(&job->durable_latency, 0.99),
        .frame_bytes = job->closing.frame.size,
        .parallelism = (uint32_t)weir_config_i64(job->config, "parallelism.default"),
        .max_parallelism = job->plan->max_parallelism,
        .checkpoints_done = job->tickets.done,
        .running = job_is_running(job),
        .was_complete = job->was_complete,
    };
    job_hold_frames(job);
    status.state_memory = holdings_bytes(&job->holdings);
    status.state_memory_max = holdings_bytes_most(&job->holdings);
    status.state_memory_budget = job_stores_budget(job);
    uint64_t written = 0, gap_us = job->gap_max_us, gaps[GAPS_BUCKETS];
    memcpy(gaps, job->gaps_before, sizeof(gaps));
    /* Before they are started, tasks belong to the restore. */
    for (size_t i = 0; i < (job->tasks_started > 0 ? job->tasks.count : 0); i++) {
        struct task_counters counters;
        task_read_counters(job->tasks.items[i], &counters);
        status.records_in += counters.records_in;
        status.bytes_in += counters.bytes_in;
        written += counters.records_out;
        if (counters.lag != UINT64_MAX)
            status.lag_records += (int64_t)counters.lag;
        status.state_entries += counters.state_entries;
        status.state_bytes += counters.state_bytes;
        status.state_reads += counters.state_reads;
        if (counters.gap_max_us > gap_us) gap_us = counters.gap_max_us;
        task_add_gaps(job->tasks.items[i], gaps);
    }
    if (!status.running) status.lag_records = -1;
    status.records_out_open = written > job->attempt_records_out ? written - job->attempt_records_out : 0;
    status.record_gap_max_ms = (double)gap_us / 1000.0;
    status.record_gap_p99_ms = (double)gaps_quantile_us(gaps, 0.99) / 1000.0;
    pthread_mutex_lock(&job->status_mutex);
    job->status = status;
    pthread_mutex_unlock(&job->status_mutex);
    publish_metrics(job);
    job->publish_us = job_now_us(job) + PUBLISH_US;
}

void weir_job_status(weir_job *job, struct weir_job_status *status)
{
    const size_t size = status->size < sizeof(*status) ? status->size : sizeof(*status);
    pthread_mutex_lock(&job->status_mutex);
    memcpy(status, &job->status, size);
    pthread_mutex_unlock(&job->status_mutex);
    status->size = size;
}
