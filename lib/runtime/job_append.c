#include <stdlib.h>

#include "base/crash.h"
#include "runtime/job.h"

/* At most one frame or part is on its way into the log.
 *
 *   tasks ──PART──> waiting ──frame before is durable──> job_encode_part ──append──> durable ──PART_DURABLE──> task
 *   all acks ──> job_complete ──no part is left──> job_encode_frame ──SNAPSHOT, APPEND──> append ──> DURABLE          */

#define APPEND_RETRY_US 50000

struct append_work {
    struct work work;
    struct store *store;
    struct weir_frame_name name;
    struct weir_bytes frame; /* borrowed from job->closing or job->parts, which live until this has come back */
    bool is_part;
    uint32_t try_number;
    int64_t barrier_us;
};

static void go_on_with_parts(struct weir_job *job);

static enum weir_code run_append(struct work *work)
{
    struct append_work *append = (struct append_work *)work;
    const enum weir_code code = store_append(append->store, &append->name, append->frame, &work->error);
    if (code != WEIR_OK) return code;
    if (append->is_part) CRASH_POINT(part_durable);
    else CRASH_POINT(frame_durable);
    return WEIR_OK;
}

/* A disk that refuses is tried again elsewhere until patience ends; the bytes stay in memory meanwhile. */
static void append_failed(struct weir_job *job, struct append_work *append)
{
    const int64_t now = job_now_us(job);
    const int64_t patience_us = weir_config_duration_ms(job->config, "store.patience") * 1000;
    const unsigned long long epoch = append->name.epoch;
    if (job->append_failing_us == 0) job->append_failing_us = now;
    if (now - job->append_failing_us >= patience_us) {
        weir_error_wrap(&append->work.error, "checkpoint %llu", epoch);
        append->work.error.remedy = WEIR_REMEDY_STOP;
        job_failed(job, &append->work.error);
        return;
    }
    weir_log_about(&job->environment,
                   &(struct weir_log_line){ .level = WEIR_LOG_WARN, .has_epoch = true, .epoch = epoch,
                                            .code = append->work.error.code },
                   "checkpoint %llu: %s; trying again in another file", epoch, append->work.error.text);
    job->append_retry_us = now + APPEND_RETRY_US;
    if (!append->is_part) job->closing.append_try = append->try_number;
}

static void frame_is_durable(struct weir_job *job, const struct append_work *append)
{
    job->closing.durable = true;
    job_history_durable(job);
    if (append->barrier_us != 0)
        job_add_sample(&job->durable_latency, (double)(job_now_us(job) - append->barrier_us) / 1000.0);
    job_commit_event(job, (struct commit_event){ .type = COMMIT_ON_DURABLE, .epoch = append->name.epoch,
                                                 .try_number = append->try_number });
}

static void part_is_durable(struct weir_job *job)
{
    struct job_parts *parts = &job->parts;
    struct weir_frame_name *kept = vec_push(&parts->durable.frames);
    if (kept == NULL) {
        job_no_memory(job, "the list of a checkpoint's parts");
        return;
    }
    *kept = parts->name;
    parts->active = false;
    buffer_deinit(&parts->frame);
    job_post_part_durable(job, parts->vertex, parts->subtask);
}

static void append_done(struct work *work, void *user)
{
    struct weir_job *job = user;
    struct append_work *append = (struct append_work *)work;
    if (work->attempt != job->attempt || job->unwinding) return;
    if (work->code != WEIR_OK) {
        append_failed(job, append);
        return;
    }
    job->append_failing_us = 0;
    if (append->is_part) part_is_durable(job);
    else frame_is_durable(job, append);
    go_on_with_parts(job);
}

/* Gives the frame a place, and has it written there. */
static void submit(struct weir_job *job, struct weir_frame_name *name, const struct buffer *frame, bool is_part,
                   uint32_t try_number)
{
    struct append_work *work = job_work(job, sizeof(*work), run_append, append_done);
    if (work == NULL) return;
    if (try_number > 1)
        store_reserve_elsewhere(job->store, name);
    else
        store_reserve(job->store, name);
    work->store = job->store;
    work->name = *name;
    work->frame = (struct weir_bytes){ frame->data, frame->size };
    work->is_part = is_part;
    work->try_number = try_number;
    work->barrier_us = job->closing.barrier_us;
    job_submit(job, job->log_writer, &work->work);
}

void job_append(struct weir_job *job, const struct commit_action *action)
{
    submit(job, &job->closing.name, &job->closing.frame, false, action->try_number);
}

void job_append_again(struct weir_job *job)
{
    if (job->parts.active)
        submit(job, &job->parts.name, &job->parts.frame, true, 2);
    else
        job_commit_event(job, (struct commit_event){ .type = COMMIT_ON_APPEND_FAILED, .epoch = job->closing.epoch,
                                                     .try_number = job->closing.append_try });
}

/* ---- Early parts ---------------------------------------------------------------------------------------------------- */

/* The first letter of the open epoch, out of the list; NULL when there is none. */
static struct letter_from_task *take_waiting(struct weir_job *job)
{
    struct job_parts *parts = &job->parts;
    for (size_t i = 0; i < parts->waiting.count; i++) {
        struct letter_from_task *letter = parts->waiting.items[i];
        if (letter->epoch != job->commit.epoch) continue;
        parts->waiting.count--;
        for (; i < parts->waiting.count; i++) parts->waiting.items[i] = parts->waiting.items[i + 1];
        return letter;
    }
    return NULL;
}

static void snapshot(struct weir_job *job)
{
    const uint64_t epoch = job->commit.epoch;
    const bool final = job->parts.final;
    job->parts.completing = false;
    if (!job_encode_frame(job, epoch)) {
        job_no_memory(job, "a checkpoint");
        return;
    }
    job_history_encoded(job);
    CRASH_POINT(deltas_encoded);
    job_commit_event(job, (struct commit_event){ .type = COMMIT_ON_SNAPSHOT, .epoch = epoch, .final = final });
}

/* The next part, or the frame when there is none and all tasks have reported. */
static void go_on_with_parts(struct weir_job *job)
{
    struct job_parts *parts = &job->parts;
    if (job->unwinding || parts->active || !job->closing.durable) return;
    struct letter_from_task *letter = take_waiting(job);
    if (letter == NULL) {
        if (parts->completing) snapshot(job);
        return;
    }
    parts->active = true;
    parts->vertex = letter->vertex;
    parts->subtask = letter->subtask;
    const bool good = job_encode_part(job, letter);
    letter_destroy(&letter->mail);
    if (good)
        submit(job, &parts->name, &parts->frame, true, 1);
    else
        job_no_memory(job, "an early part of a checkpoint");
}

void job_take_part(struct weir_job *job, struct letter_from_task *letter)
{
    struct letter_from_task **slot = vec_push(&job->parts.waiting);
    if (slot == NULL) {
        letter_destroy(&letter->mail);
        job_no_memory(job, "an early part of a checkpoint");
        return;
    }
    *slot = letter;
    go_on_with_parts(job);
}

void job_complete(struct weir_job *job, uint64_t epoch, bool final)
{
    CHECK(epoch == job->commit.epoch);
    job->parts.completing = true;
    job->parts.final = final;
    go_on_with_parts(job);
}

void job_parts_clear(struct job_parts *parts)
{
    for (size_t i = 0; i < parts->waiting.count; i++) letter_destroy(&parts->waiting.items[i]->mail);
    vec_free(&parts->waiting);
    buffer_deinit(&parts->frame);
    store_chain_clear(&parts->durable);
    *parts = (struct job_parts){ 0 };
}
