/* The job's thread: its letters, its timers, and what workers do for it. */
#include "runtime/job.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/crash.h"

int64_t job_now_us(const struct weir_job *job) { return job->environment.monotonic_us(job->environment.user); }

void job_log(const struct weir_job *job, enum weir_log_level level, const char *format, ...)
{
    char text[1400];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    weir_log(&job->environment, level, "%s", text);
}

void job_log_error(const struct weir_job *job, const struct weir_error *error, const char *what)
{
    weir_log_about(&job->environment, &(struct weir_log_line){ .level = WEIR_LOG_WARN, .code = error->code }, "%s%s", what,
                   error->text);
}

/* ---- Work ----------------------------------------------------------------------------------------------------------- */

void *job_work(struct weir_job *job, size_t size, enum weir_code (*run)(struct work *), void (*done)(struct work *, void *))
{
    struct work *work = calloc(1, size);
    if (work == NULL) {
        struct weir_error error;
        weir_error_set(&error, WEIR_NO_MEMORY, WEIR_REMEDY_REPLAY, "job '%s': out of memory", job->name);
        job_failed(job, &error);
        return NULL;
    }
    work->run = run;
    work->done = done;
    work->attempt = job->attempt;
    return work;
}

void job_submit(struct weir_job *job, struct worker *worker, struct work *work)
{
    job->works++;
    worker_submit(worker, work);
}

/* ---- Letters -------------------------------------------------------------------------------------------------------- */

static void take_anchors(struct weir_job *job, struct weir_decider_event *event)
{
    if (event->anchor_count == 0) return;
    free(job->anchors);
    job->anchors = event->anchors;
    job->anchor_count = event->anchor_count;
    job->anchor_epoch = event->epoch;
    event->anchors = NULL;
    event->anchor_count = 0;
}

/* Keeps what a look or a reading brought, for the judgement that follows. */
static void keep_facts(struct weir_job *job, struct weir_decider_event *event)
{
    weir_decider_event_clear(&job->facts);
    job->facts = *event;
    *event = (struct weir_decider_event){ .type = event->type };
}

static void take_decider_event(struct weir_job *job, struct weir_decider_event *event)
{
    if (event->attempt != job->attempt) return;
    struct commit_event out = { .epoch = event->epoch, .handle = event->handle, .renew = event->renew };
    switch (event->type) {
    case WEIR_DECIDER_LOOKED:
        keep_facts(job, event);
        job_looked(job);
        return;
    case WEIR_DECIDER_READ:
        keep_facts(job, event);
        out.type = COMMIT_ON_READ;
        out.handles_named = job_handles_named(job);
        break;
    case WEIR_DECIDER_FENCED: out.type = COMMIT_ON_FENCED; break;
    case WEIR_DECIDER_ANNOUNCED: CRASH_POINT(announced); out.type = COMMIT_ON_ANNOUNCED; break;
    case WEIR_DECIDER_BEGUN: out.type = COMMIT_ON_BEGUN; break;
    case WEIR_DECIDER_FLUSHED:
        CRASH_POINT(sink_flushed);
        take_anchors(job, event);
        job_history_flushed(job);
        out.type = COMMIT_ON_FLUSHED;
        break;
    case WEIR_DECIDER_READY: CRASH_POINT(offsets_sent); out.type = COMMIT_ON_READY; break;
    case WEIR_DECIDER_COMMITTED: out.type = COMMIT_ON_COMMITTED; break;
    case WEIR_DECIDER_RENEWED: out.type = COMMIT_ON_RENEWED; break;
    case WEIR_DECIDER_DISCARDED: out.type = COMMIT_ON_DISCARDED; break;
    case WEIR_DECIDER_FINISHED: out.type = COMMIT_ON_FINISHED; break;
    case WEIR_DECIDER_FAILED:
        /* A watch that could not look: whatever is the matter, the next commit meets it too. */
        if (event->handle == WEIR_HANDLE_NONE && job->commit.phase >= COMMIT_RUNNING) return;
        job_failed(job, &event->error);
        return;
    }
    job_commit_event(job, out);
}

static void take_ack(struct weir_job *job, struct letter_from_task *letter)
{
    const uint32_t index = job->vertex_first[letter->vertex] + letter->subtask;
    CHECK(index < job->acks.count);
    CRASH_POINT(snapshot_begun);
    if (job->acks.items[index] != NULL) letter_destroy(&job->acks.items[index]->mail);
    job->acks.items[index] = letter; /* kept until the frame is encoded */
    if (letter->positions.count > 0) CRASH_POINT(offsets_fixed);
    if (letter->begun_us > job->moments.aligned) job->moments.aligned = letter->begun_us;
    job_tell_coordinator(job, COORDINATOR_ON_ACK, letter->epoch, index);
}

/* One letter to all source tasks, which take it on the same side of every barrier. So what is said at the end of input, by
 * all tasks of the job, belongs to one epoch: it is committed as a whole, or not at all. */
static void take_end_of_input(struct weir_job *job)
{
    uint32_t sources = 0;
    for (uint32_t v = 0; v < job->plan->vertex_count; v++)
        if (job->plan->vertices[v].source != NULL) sources += job->plan->vertices[v].parallelism;
    if (++job->inputs_ended < sources) return;
    job_tell_coordinator(job, COORDINATOR_ON_FINISHING, 0, 0);
    job_post_all(job, LETTER_FINISH, 0, true, NULL);
}

/* True when the letter was kept. */
static bool take_task_letter(struct weir_job *job, struct letter_from_task *letter)
{
    if (letter->attempt != job->attempt) return false;
    const enum letter_type type = (enum letter_type)letter->mail.type;
    if (type == LETTER_GONE) {
        job->tasks_gone++;
        job_look_unwound(job);
        return false;
    }
    if (type == LETTER_CHUNK) {
        job_base_chunk(job, letter);
        return false;
    }
    if (job->unwinding) return false;
    switch (type) {
    case LETTER_ACK: take_ack(job, letter); return true;
    case LETTER_FLIGHT: job_take_flight(job, letter); return true;
    case LETTER_PART: job_take_part(job, letter); return true;
    case LETTER_ACTIVITY:
        job_note_transaction(job, letter->epoch);
        job_tell_coordinator(job, COORDINATOR_ON_ACTIVITY, letter->epoch, 0);
        break;
    case LETTER_BYTES: job_tell_coordinator(job, COORDINATOR_ON_BYTES, letter->epoch, 0); break;
    case LETTER_INPUT_ENDED: take_end_of_input(job); break;
    case LETTER_ENDED:
        if (++job->tasks_ended == job->tasks.count)
            job_tell_coordinator(job, COORDINATOR_ON_ALL_ENDED, letter->epoch, 0);
        break;
    case LETTER_FAILED: job_failed(job, &letter->error); break;
    default: break;
    }
    return false;
}

static void take_stop(struct weir_job *job)
{
    if (!job->started) { /* still opening: nothing has begun */
        weir_error_set(&job->outcome, WEIR_OK, WEIR_REMEDY_STOP, "stopped");
        job->ended = true;
        return;
    }
    job_commit_event(job, (struct commit_event){ .type = COMMIT_ON_STOP });
    job_tell_coordinator(job, COORDINATOR_ON_STOP, 0, 0);
}

void job_ask_for_checkpoint(struct weir_job *job, uint64_t ticket, bool aligned, bool stops)
{
    if (ticket > job->tickets.taken) job->tickets.taken = ticket;
    if (stops)
        take_stop(job);
    else
        job_tell_coordinator(job, aligned ? COORDINATOR_ON_ALIGNED : COORDINATOR_ON_TRIGGER, 0, 0);
}

static bool keeps_nothing(const struct weir_job *job)
{
    static const char key[] = "execution.checkpointing.externalized-checkpoint-retention";
    return strcasecmp(weir_config_text(job->config, key), "RETAIN_ON_CANCELLATION") != 0;
}

/* A job that was not even opened has nothing of its own to drop. */
static void take_cancel(struct weir_job *job, bool drops)
{
    job_savepoint_give_up(job, "the job was cancelled before the savepoint was whole");
    if (job->started)
        job_commit_event(job, (struct commit_event){ .type = COMMIT_ON_CANCEL, .drops = drops });
    else
        job->ended = true;
}

static void take_work(struct weir_job *job, struct work *work)
{
    job->works--;
    work->done(work, job);
    work_destroy(work);
    job_look_unwound(job);
}

static void take_letter(struct weir_job *job, struct mail *mail)
{
    switch ((enum letter_type)mail->type) {
    case LETTER_WORK_DONE: take_work(job, (struct work *)mail); return;
    case LETTER_DECIDER: take_decider_event(job, &((struct letter_decider *)mail)->event); break;
    case LETTER_CHECKPOINT: job_ask_for_checkpoint(job, ((struct letter_checkpoint *)mail)->ticket, false, false); break;
    case LETTER_SAVEPOINT: job_savepoint_asked(job, (struct letter_savepoint *)mail); break;
    case LETTER_STOP: take_stop(job); break;
    case LETTER_CANCEL_JOB: take_cancel(job, keeps_nothing(job)); break;
    case LETTER_END_JOB: take_cancel(job, false); break;
    default:
        if (take_task_letter(job, (struct letter_from_task *)mail)) return;
    }
    letter_destroy(mail);
}

/* ---- Timers --------------------------------------------------------------------------------------------------------- */

static bool is_due(int64_t *at_us, int64_t now)
{
    if (*at_us > now) return false;
    *at_us = JOB_NEVER_US;
    return true;
}

/* A job that commits hears from the brokers when it has been taken over. One that has nothing to commit asks the ledger. */
static void watch(struct weir_job *job)
{
    job->watch_us = job_now_us(job) + JOB_WATCH_US;
    if (job->exactly_once && job->epochs == job->watched_epochs) job->decider_type->look(job->decider, job->attempt);
    job->watched_epochs = job->epochs;
}

static void run_timers(struct weir_job *job)
{
    const int64_t now = job_now_us(job);
    if (is_due(&job->publish_us, now)) job_publish(job);
    if (is_due(&job->wait_us, now)) {
        if (job->started)
            job_commit_event(job, (struct commit_event){ .type = COMMIT_ON_TIMER });
        else
            job_open(job);
    }
    if (is_due(&job->coordinator_timer_us, now)) job_tell_coordinator(job, COORDINATOR_ON_TIMER, 0, 0);
    if (is_due(&job->append_retry_us, now) && !job->unwinding) job_append_again(job);
    if (is_due(&job->watch_us, now) && job->commit.phase == COMMIT_RUNNING) watch(job);
    if (is_due(&job->discovery_us, now) && job->commit.phase == COMMIT_RUNNING) {
        job->discovery_us = now + weir_config_duration_ms(job->config, "source.discovery.interval") * 1000;
        job_discover(job);
    }
}

static int64_t next_timer_us(const struct weir_job *job)
{
    const int64_t times[] = { job->publish_us, job->wait_us, job->coordinator_timer_us, job->append_retry_us,
                              job->discovery_us, job->watch_us };
    int64_t next = JOB_NEVER_US;
    for (size_t i = 0; i < sizeof(times) / sizeof(times[0]); i++)
        if (times[i] < next) next = times[i];
    return next;
}

/* ---- The thread ----------------------------------------------------------------------------------------------------- */

/* One that was asked for and not begun comes to nothing. */
static void end_savepoints(struct weir_job *job)
{
    static const char why[] = "the job ended before the savepoint could be taken";
    pthread_mutex_lock(&job->status_mutex);
    job->savepoints_closed = true;
    const bool is_in_the_mail = job->savepoint_status.state == WEIR_SAVEPOINT_WAITING;
    if (is_in_the_mail) {
        job->savepoint_status.state = WEIR_SAVEPOINT_FAILED;
        weir_error_set(&job->savepoint_status.error, WEIR_FAILED, WEIR_REMEDY_STOP, "%s", why);
    }
    pthread_mutex_unlock(&job->status_mutex);
    job->taking.in_flight = false; /* the worker has stopped */
    job_savepoint_give_up(job, why);
}

void job_run(void *argument)
{
    struct weir_job *job = argument;
    job_open(job);
    while (!job->ended || job_savepoint_is_copying(job)) {
        struct mail *mail = mailbox_take(&job->mailbox);
        if (mail != NULL) {
            take_letter(job, mail);
            job_savepoint_look(job);
            continue;
        }
        run_timers(job);
        const int64_t next = next_timer_us(job);
        const int64_t left = next - job_now_us(job);
        waker_sleep(&job->waker, left < 0 ? 0 : left);
    }
    worker_stop(job->environment_worker);
    worker_stop(job->base_writer);
    worker_stop(job->log_writer);
    job->environment_worker = job->base_writer = job->log_writer = NULL;
    end_savepoints(job);
    job_publish(job);
    metrics_set(&job->metrics.beat_us, 0); /* nobody goes round any more, and nobody should wonder */
    job_close(job);

    pthread_mutex_lock(&job->status_mutex);
    job->status.running = false;
    pthread_mutex_unlock(&job->status_mutex);
    const uint64_t one = 1;
    CHECK(write(job->ended_descriptor, &one, sizeof(one)) == (ssize_t)sizeof(one));
}
