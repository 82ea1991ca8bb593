#include <stdio.h>
#include <string.h>

#include "runtime/job.h"

static int64_t wall_ms(const struct weir_job *job) { return job->environment.wall_ms(job->environment.user); }

/* Under the mutex, or read only: this thread is the only writer. */
static struct weir_checkpoint *newest(struct weir_job *job)
{
    return &job->history.checkpoints[(job->history.checkpoint_count - 1) % WEIR_CHECKPOINTS_KEPT];
}

static bool takes_savepoint(const struct weir_job *job)
{
    return job->taking.phase == TAKING_WAITS && job->tickets.taken >= job->taking.ticket &&
           job->tickets.done < job->taking.ticket;
}

void job_history_barrier(struct weir_job *job, uint64_t epoch)
{
    struct weir_checkpoint made = { .incarnation = job->commit.incarnation, .epoch = epoch,
                                    .state = WEIR_CHECKPOINT_IN_PROGRESS, .is_savepoint = takes_savepoint(job),
                                    .triggered_ms = wall_ms(job), .duration_us = -1 };
    for (uint32_t i = 0; i < WEIR_PHASES; i++) made.phase_us[i] = -1;
    job->moments = (struct job_moments){ .open = true, .barrier = job_now_us(job) };
    pthread_mutex_lock(&job->status_mutex);
    job->history.checkpoint_count++;
    *newest(job) = made;
    pthread_mutex_unlock(&job->status_mutex);
}

void job_history_encoded(struct weir_job *job) { job->moments.encoded = job_now_us(job); }
void job_history_durable(struct weir_job *job) { job->moments.durable = job_now_us(job); }
void job_history_flushed(struct weir_job *job) { job->moments.flushed = job_now_us(job); }

/* From one moment to a later one; -1 when one of them was not met. */
static int64_t between(int64_t from_us, int64_t to_us)
{
    return from_us == 0 || to_us == 0 ? -1 : to_us > from_us ? to_us - from_us : 0;
}

static uint64_t count_state_bytes(const struct weir_job *job)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < job->metrics.task_count; i++) bytes += metrics_get(&job->metrics.tasks[i].state_bytes);
    return bytes;
}

static void close_checkpoint(struct weir_job *job, enum weir_checkpoint_state state, const char *failure)
{
    const struct job_moments *at = &job->moments;
    const int64_t now = job_now_us(job);
    const uint64_t state_bytes = count_state_bytes(job);
    pthread_mutex_lock(&job->status_mutex);
    struct weir_checkpoint *checkpoint = newest(job);
    checkpoint->state = state;
    checkpoint->phase_us[WEIR_PHASE_ALIGNMENT] = between(at->barrier, at->aligned);
    checkpoint->phase_us[WEIR_PHASE_SNAPSHOT] = between(at->aligned, at->encoded);
    checkpoint->phase_us[WEIR_PHASE_DURABLE] = between(at->encoded, at->durable);
    checkpoint->phase_us[WEIR_PHASE_FLUSH] = between(at->encoded, at->flushed);
    checkpoint->duration_us = between(at->barrier, now);
    checkpoint->state_bytes = state_bytes;
    checkpoint->frame_bytes = at->durable == 0 ? 0 : job->closing.frame.size;
    if (state == WEIR_CHECKPOINT_COMPLETED) {
        checkpoint->phase_us[WEIR_PHASE_COMMIT] = between(at->commit_sent, now);
        checkpoint->records_out = job->closing.records_out;
    }
    (void)snprintf(checkpoint->failure, sizeof(checkpoint->failure), "%s", failure);
    pthread_mutex_unlock(&job->status_mutex);
    job->moments.open = false;
}

void job_history_committed(struct weir_job *job, uint64_t epoch)
{
    metrics_set(&job->metrics.committed_us, (uint64_t)job_now_us(job));
    if (!job->moments.open || newest(job)->epoch != epoch) return; /* the founding commit has no barrier */
    close_checkpoint(job, WEIR_CHECKPOINT_COMPLETED, "");
    const struct weir_checkpoint *checkpoint = newest(job);
    metrics_add(&job->metrics.checkpoints, 1);
    metrics_note(&job->metrics.checkpoint, checkpoint->duration_us);
    for (uint32_t i = 0; i < WEIR_PHASES; i++) metrics_note(&job->metrics.phases[i], checkpoint->phase_us[i]);
}

static bool has_open_transaction(const struct weir_job *job)
{
    for (uint32_t i = 0; i < COMMIT_HANDLES_MAX; i++)
        if (job->begun_us[i] != 0) return true;
    return false;
}

void job_history_discarded(struct weir_job *job)
{
    const struct weir_error *failure = &job->commit.failure;
    if (has_open_transaction(job)) metrics_add(&job->metrics.aborts[failure->code], 1);
    if (!job->moments.open) return;
    metrics_add(&job->metrics.checkpoints_failed, 1);
    close_checkpoint(job, WEIR_CHECKPOINT_FAILED, failure->text);
}

void job_history_overtaken(struct weir_job *job)
{
    if (job->history.checkpoint_count == 0) return;
    struct weir_checkpoint *checkpoint = newest(job);
    if (checkpoint->state != WEIR_CHECKPOINT_FAILED || checkpoint->epoch != job->closing.name.epoch) return;
    pthread_mutex_lock(&job->status_mutex);
    checkpoint->state = WEIR_CHECKPOINT_COMPLETED;
    checkpoint->records_out = job->closing.records_out;
    checkpoint->failure[0] = '\0';
    pthread_mutex_unlock(&job->status_mutex);
}

void job_history_failed(struct weir_job *job, const struct weir_error *error)
{
    /* Under the lock nothing is asked of the environment, which may be a simulator that ends the thread there. */
    struct weir_failure failure = { .wall_ms = wall_ms(job), .code = error->code,
                                    .ended_the_job = error->remedy == WEIR_REMEDY_STOP };
    (void)snprintf(failure.text, sizeof(failure.text), "%s", error->text);
    pthread_mutex_lock(&job->status_mutex);
    failure.number = job->history.failure_count + 1;
    job->history.failures[job->history.failure_count++ % WEIR_FAILURES_KEPT] = failure;
    pthread_mutex_unlock(&job->status_mutex);
}
