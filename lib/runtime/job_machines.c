/* The commit machine and the coordinator are pure: here they are told what happens, and what they ask for is done. */
#include "runtime/job.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/crash.h"

#define SAY_RETRYING_US 10000000
#define LAG_COMMIT_US 5000000
#define FENCED_WAIT_US 3000000

static void execute_commit(struct weir_job *job, const struct commit_actions *actions);
static void execute_coordinator(struct weir_job *job, const struct coordinator_actions *actions);

/* ---- The machines --------------------------------------------------------------------------------------------------- */

void job_commit_event(struct weir_job *job, struct commit_event event)
{
    struct commit_actions actions;
    const bool was_running = job_is_running(job);
    event.attempt = job->attempt;
    commit_step(&job->commit, &event, &actions);
    execute_commit(job, &actions);
    /* Whoever sees the job's first output may ask for its status at once. */
    if (job_is_running(job) != was_running) job->publish_us = 0;
}

/* The broker's clock for a transaction runs from the first request in it, not from our BEGIN (R7). */
void job_note_transaction(struct weir_job *job, uint64_t epoch)
{
    int64_t *begun_us = &job->begun_us[epoch % job->commit.options.ring_size];
    if (*begun_us == 0) *begun_us = job_now_us(job);
}

static void note_transaction_end(struct weir_job *job, uint64_t epoch)
{
    int64_t *begun_us = &job->begun_us[epoch % job->commit.options.ring_size];
    if (*begun_us != 0) metrics_note(&job->metrics.transaction, job_now_us(job) - *begun_us);
    *begun_us = 0;
}

int64_t job_oldest_transaction_us(const struct weir_job *job)
{
    int64_t oldest = 0;
    for (uint32_t i = 0; i < COMMIT_HANDLES_MAX; i++)
        if (job->begun_us[i] != 0 && (oldest == 0 || job->begun_us[i] < oldest)) oldest = job->begun_us[i];
    return oldest;
}

/* For R7. */
static int64_t transaction_age_ms(const struct weir_job *job)
{
    const int64_t oldest = job_oldest_transaction_us(job);
    return oldest == 0 ? 0 : (job_now_us(job) - oldest) / 1000;
}

static int64_t transaction_timeout_ms(const struct weir_job *job)
{
    const char *text = weir_config_text(job->config, "kafka.producer.transaction.timeout.ms");
    if (text == NULL) text = weir_config_text(job->config, "kafka.transaction.timeout.ms");
    return text == NULL ? 60000 : strtoll(text, NULL, 10);
}

void job_failed(struct weir_job *job, const struct weir_error *error)
{
    job_history_failed(job, error);
    /* What ends the job is its outcome, and the host's to report. */
    if (error->remedy != WEIR_REMEDY_STOP) job_log_error(job, error, "");
    job_commit_event(job, (struct commit_event){ .type = COMMIT_ON_FAILED, .error = error,
                                                 .transaction_age_ms = transaction_age_ms(job),
                                                 .timeout_ms = transaction_timeout_ms(job) });
}

void job_out_of_patience(const struct weir_job *job, struct weir_error *error)
{
    const bool is_explained = error->code == WEIR_ENVIRONMENT; /* a right or a password, which it names */
    if (!is_explained) error->code = WEIR_OUT_OF_PATIENCE;
    weir_error_wrap(error, "job '%s': gave up after connect.patience (%s)%s", job->name,
                    weir_config_text(job->config, "connect.patience"),
                    is_explained ? "" : "; see whether the brokers are up, and --brokers names them");
}

void job_no_memory(struct weir_job *job, const char *what)
{
    struct weir_error error;
    weir_error_set(&error, WEIR_NO_MEMORY, WEIR_REMEDY_REPLAY, "job '%s': out of memory for %s", job->name, what);
    job_failed(job, &error);
}

void job_coordinator_event(struct weir_job *job, struct coordinator_event *event)
{
    if (!job->coordinator_ready) return;
    struct coordinator_actions actions;
    event->now_us = job_now_us(job);
    coordinator_step(&job->coordinator, event, &actions);
    execute_coordinator(job, &actions);
}

void job_tell_coordinator(struct weir_job *job, enum coordinator_event_type type, uint64_t epoch, uint32_t subtask)
{
    job_coordinator_event(job, &(struct coordinator_event){ .type = type, .epoch = epoch, .subtask = subtask });
}

static void send_barrier(struct weir_job *job, const struct coordinator_action *action)
{
    job->barrier_us = job_now_us(job);
    job_history_barrier(job, action->epoch);
    job->tickets.in_flight = job->tickets.taken;
    job_base_join(job);
    job_post_all(job, LETTER_BARRIER, action->epoch, true, action->cuts);
    CRASH_POINT(barrier_in_flight);
}

static void checkpoint_timed_out(struct weir_job *job, uint64_t epoch, bool for_good)
{
    struct weir_error error;
    weir_error_set(&error, WEIR_FAILED, WEIR_REMEDY_REPLAY, "job '%s': checkpoint %llu was not committed within %s",
                   job->name, (unsigned long long)epoch,
                   weir_config_text(job->config, "execution.checkpointing.timeout"));
    if (for_good)
        job_failed(job, &error);
    else
        weir_log_about(&job->environment,
                       &(struct weir_log_line){ .level = WEIR_LOG_WARN, .has_epoch = true, .epoch = epoch, .code = error.code },
                       "%s; waiting on", error.text);
}

static void execute_coordinator(struct weir_job *job, const struct coordinator_actions *actions)
{
    for (uint32_t i = 0; i < actions->count; i++) {
        const struct coordinator_action *action = &actions->items[i];
        switch (action->type) {
        case COORDINATOR_DO_SEND_BARRIER: send_barrier(job, action); break;
        case COORDINATOR_DO_OVERTAKE: job_post_all(job, LETTER_OVERTAKE, action->epoch, false, NULL); break;
        case COORDINATOR_DO_COMPLETE: job_complete(job, action->epoch, action->final); break;
        case COORDINATOR_DO_SET_TIMER: job->coordinator_timer_us = action->at_us; break;
        case COORDINATOR_DO_REPORT_TIMEOUT: checkpoint_timed_out(job, action->epoch, false); break;
        case COORDINATOR_DO_FAIL: checkpoint_timed_out(job, action->epoch, true); break;
        }
    }
}

/* ---- Actions of the commit machine ---------------------------------------------------------------------------------- */

void job_add_sample(struct job_latency *latency, double ms)
{
    latency->last_ms = ms;
    latency->samples_ms[latency->next] = ms;
    latency->next = (latency->next + 1) % JOB_LATENCY_SAMPLES;
    if (latency->count < JOB_LATENCY_SAMPLES) latency->count++;
}

static bool anchors_are_due(struct weir_job *job)
{
    const int64_t interval_us = weir_config_duration_ms(job->config, "ledger.anchor-interval") * 1000;
    const int64_t now = job_now_us(job);
    if (!job->exactly_once || interval_us == 0 || now - job->anchors_us < interval_us) return false;
    job->anchors_us = now;
    return true;
}

static void flush(struct weir_job *job, const struct commit_action *action)
{
    char key[LEDGER_KEY_MAX];
    struct weir_bytes value;
    if (!job_ledger_commit(job, key, &value)) {
        job_no_memory(job, "a ledger record");
        return;
    }
    job_note_transaction(job, action->epoch);
    job->decider_type->flush(job->decider, job->attempt, action->handle, action->epoch, weir_text(key), value,
                             job->closing.append_try == 0 && anchors_are_due(job));
    free((void *)(uintptr_t)value.data);
    CRASH_POINT(ledger_produced);
}

static void announce(struct weir_job *job, bool drops)
{
    char key[LEDGER_KEY_MAX];
    struct weir_bytes value;
    if (!job_ledger_incarnation(job, drops ? WEIR_LEDGER_DROPPED : WEIR_LEDGER_INCARNATION, key, &value)) {
        job_no_memory(job, "a ledger record");
        return;
    }
    job->decider_type->announce(job->decider, job->attempt, weir_text(key), value);
    free((void *)(uintptr_t)value.data);
}

static void send_offsets(struct weir_job *job, const struct commit_action *action)
{
    char metadata[RESTART_METADATA_MAX + 1];
    if (!restart_metadata_encode(store_id(job->store), &job->closing.name, job->decision.history, metadata))
        metadata[0] = '\0';
    job->decider_type->offsets(job->decider, job->attempt, action->handle, action->epoch, &job->closing.moved, metadata);
}

static void proceed(struct weir_job *job, uint64_t epoch)
{
    job->proceeded = epoch;
    if (job->tasks_started > 0) job_post_all(job, LETTER_PROCEED, epoch, false, NULL);
}

/* The chain of what is committed now: its early parts stand before the frame. */
static bool note_retained(struct weir_job *job)
{
    const struct job_closing *closing = &job->closing;
    bool good = true;
    for (size_t i = 0; i < closing->parts.frames.count; i++)
        good = good && retention_frame(&job->retention, &closing->parts.frames.items[i]);
    return good && retention_checkpoint(&job->retention, &closing->name, &closing->manifest);
}

void job_count_commit(struct weir_job *job)
{
    struct job_closing *closing = &job->closing;
    if (closing->is_counted) return;
    closing->is_counted = true;
    job->records_out_committed += closing->records_out;
    metrics_add(&job->metrics.dead_letters, closing->dead_letters);
    job->epochs++;
}

/* Epoch n is decided. */
static void notify(struct weir_job *job, const struct commit_action *action)
{
    struct job_closing *closing = &job->closing;
    if (closing->barrier_us != 0)
        job_add_sample(&job->commit_latency, (double)(job_now_us(job) - closing->barrier_us) / 1000.0);
    job_history_committed(job, action->epoch);
    note_transaction_end(job, action->epoch);
    job_count_commit(job);
    job->attempt_records_out += closing->records_out;
    job->rewrite_mirrors = false;
    job->founded |= action->epoch == 0;
    job->tickets.done = job->tickets.in_flight;
    job_savepoint_committed(job, action->final);
    CRASH_POINT(commit_acknowledged);
    if (!note_retained(job)) {
        job_no_memory(job, "the list of retained checkpoints");
        return;
    }
    job_delete_files(job);
    if (job->tasks_started > 0) job_post_all(job, LETTER_COMMITTED, action->epoch, false, NULL);
    const int64_t now = job_now_us(job);
    if (now - job->lag_commit_us >= LAG_COMMIT_US || action->final) {
        job->lag_commit_us = now;
        job_commit_lag(job);
    }
    if (action->epoch == 0)
        CRASH_POINT(founding);
    else
        job_base_consider(job);
}

static void start_coordinator(struct weir_job *job, uint64_t epoch)
{
    const struct coordinator_options options = {
        .interval_us = weir_config_duration_ms(job->config, "execution.checkpointing.interval") * 1000,
        .min_pause_us = weir_config_duration_ms(job->config, "execution.checkpointing.min-pause") * 1000,
        .timeout_us = weir_config_duration_ms(job->config, "execution.checkpointing.timeout") * 1000,
        .tolerable_failures =
            (uint32_t)weir_config_i64(job->config, "execution.checkpointing.tolerable-failed-checkpoints"),
        .unaligned = job_is_unaligned(job),
        .aligned_timeout_us =
            weir_config_duration_ms(job->config, "execution.checkpointing.aligned-checkpoint-timeout") * 1000,
        .begins_aligned = job->replays,
    };
    if (job->coordinator_ready) coordinator_deinit(&job->coordinator);
    job->coordinator_ready =
        coordinator_init(&job->coordinator, &options, (uint32_t)job->tasks.count, epoch, job_now_us(job));
    job->coordinator_timer_us = JOB_NEVER_US;
    if (!job->coordinator_ready) job_no_memory(job, "the coordinator");
}

static void start_tasks(struct weir_job *job, uint64_t epoch)
{
    struct weir_error error = { .code = WEIR_OK };
    if (job->tasks.count == 0 && job_make_tasks(job, epoch, false, &error) != WEIR_OK) {
        job_failed(job, &error);
        return;
    }
    start_coordinator(job, epoch);
    if (!job->coordinator_ready) return;
    job_start_tasks(job, epoch);
    if (job->commit.phase != COMMIT_RUNNING) return;
    if (job->proceeded == epoch) job_post_all(job, LETTER_PROCEED, epoch, false, NULL);
    job->discovery_us = job_now_us(job) + weir_config_duration_ms(job->config, "source.discovery.interval") * 1000;
    job->watch_us = job_now_us(job) + JOB_WATCH_US;
    weir_log_about(&job->environment,
                   &(struct weir_log_line){ .level = WEIR_LOG_INFO, .incarnation = job->commit.incarnation,
                                            .has_epoch = true, .epoch = epoch },
                   "job '%s': running, incarnation %llu, epoch %llu", job->name,
                   (unsigned long long)job->commit.incarnation, (unsigned long long)epoch);
    job->tickets.in_flight = job->tickets.done;
    /* Flights are committed before anything is read. */
    const bool is_asked = job->tickets.taken > job->tickets.done || job->replays;
    if (is_asked && job->taking.phase == TAKING_WAITS) job_tell_coordinator(job, COORDINATOR_ON_ALIGNED, epoch, 0);
    else if (is_asked) job_tell_coordinator(job, COORDINATOR_ON_TRIGGER, epoch, 0);
    if (job->commit.stopping) job_tell_coordinator(job, COORDINATOR_ON_STOP, epoch, 0);
}

/* After a failure: when to try again, or that it is enough. */
static void wait_or_give_up(struct weir_job *job)
{
    const struct weir_error *failure = &job->commit.failure;
    const int64_t now = job_now_us(job);
    const bool broker_trouble = failure->remedy == WEIR_REMEDY_RETRY;
    job->restarts += job->commit.tasks_started ? 1 : 0;
    if (!broker_trouble)
        job->retrying_since_us = 0;
    else if (job->retrying_since_us == 0)
        job->retrying_since_us = now;
    struct weir_error error = *failure;
    if (broker_trouble && job->bounded &&
        now - job->retrying_since_us >= weir_config_duration_ms(job->config, "connect.patience") * 1000) {
        job_out_of_patience(job, &error);
        job_commit_event(job, (struct commit_event){ .type = COMMIT_ON_GIVE_UP, .error = &error });
        return;
    }
    const struct strategy_verdict verdict =
        strategy_failed(&job->strategy, failure, now, job->environment.random(job->environment.user));
    if (!verdict.restart) {
        weir_error_wrap(&error, "job '%s': %s", job->name, verdict.reason);
        job_commit_event(job, (struct commit_event){ .type = COMMIT_ON_GIVE_UP, .error = &error });
        return;
    }
    if (broker_trouble && now - job->said_retrying_us >= SAY_RETRYING_US) {
        job->said_retrying_us = now;
        job_log_error(job, failure, "still waiting: ");
    }
    job->wait_us = now + verdict.delay_ms * 1000;
    /* Another start is at work: let it get as far as announcing itself before we look. */
    if (failure->code == WEIR_FENCED && job->wait_us < now + FENCED_WAIT_US) job->wait_us = now + FENCED_WAIT_US;
    /* A person waits for a broker that comes back: do not oversleep it. */
    if (broker_trouble && verdict.delay_ms > 1000) job->wait_us = now + 1000000;
}

static void end_job(struct weir_job *job)
{
    job->outcome = job->commit.failure;
    job->ended = true;
}

static void execute_commit(struct weir_job *job, const struct commit_actions *actions)
{
    const struct weir_decider_type *decider = job->decider_type;
    for (uint32_t i = 0; i < actions->count; i++) {
        const struct commit_action *action = &actions->items[i];
        /* An action may fail at once and end the attempt: what follows was meant for the attempt that was. */
        if (job->unwinding && action->type != COMMIT_DO_CANCEL_TASKS && action->type != COMMIT_DO_DISCARD &&
            action->type != COMMIT_DO_WAIT && action->type != COMMIT_DO_END)
            continue;
        switch (action->type) {
        case COMMIT_DO_LOOK:
            job->attempt = action->attempt;
            __atomic_store_n(&job->give_up_discovery, false, __ATOMIC_RELAXED);
            decider->look(job->decider, job->attempt);
            break;
        case COMMIT_DO_FENCE: decider->fence(job->decider, job->attempt, action->handles_named); break;
        case COMMIT_DO_READ: decider->read(job->decider, job->attempt); break;
        case COMMIT_DO_RESOLVE: job_resolve(job); break;
        case COMMIT_DO_FOUND: job_found(job); break;
        case COMMIT_DO_RESTORE: job_restore(job, action->epoch); break;
        case COMMIT_DO_ANNOUNCE: announce(job, action->drops); break;
        case COMMIT_DO_DROP: job_drop(job); break;
        case COMMIT_DO_START_TASKS: start_tasks(job, action->epoch); break;
        case COMMIT_DO_BEGIN:
            decider->begin(job->decider, job->attempt, action->handle, action->epoch);
            break;
        case COMMIT_DO_APPEND: job_append(job, action); break;
        case COMMIT_DO_FLUSH: flush(job, action); break;
        case COMMIT_DO_OFFSETS: send_offsets(job, action); break;
        case COMMIT_DO_COMMIT:
            job->moments.commit_sent = job_now_us(job);
            decider->commit(job->decider, job->attempt, action->handle, action->epoch);
            CRASH_POINT(commit_sent);
            break;
        case COMMIT_DO_PROCEED: proceed(job, action->epoch); break;
        case COMMIT_DO_NOTIFY: notify(job, action); break;
        case COMMIT_DO_ALLOW: job_tell_coordinator(job, COORDINATOR_ON_ALLOWED, action->epoch, 0); break;
        case COMMIT_DO_RENEW:
            metrics_add(&job->metrics.renewed, 1);
            decider->renew(job->decider, job->attempt, action->handle);
            break;
        case COMMIT_DO_FINISH:
            CRASH_POINT(shutdown_half_done);
            decider->finish(job->decider, job->attempt);
            break;
        case COMMIT_DO_CANCEL_TASKS: job_cancel_tasks(job); break;
        case COMMIT_DO_DISCARD: decider->discard(job->decider, job->attempt); break;
        case COMMIT_DO_WAIT: wait_or_give_up(job); break;
        case COMMIT_DO_END: end_job(job); break;
        }
    }
}
