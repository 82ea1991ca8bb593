#include "runtime/job.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/crash.h"

#define NEVER INT64_MAX
#define SAY_RETRYING_US 10000000
#define LAG_COMMIT_US 5000000
#define WATCH_US 2000000
#define FENCED_WAIT_US 3000000

static void execute_commit(struct weir_job *job, const struct commit_actions *actions);
static void execute_coordinator(struct weir_job *job, const struct coordinator_actions *actions);
static void end_job(struct weir_job *job);

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
static void note_transaction(struct weir_job *job, uint64_t epoch)
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
    if (error->code != WEIR_ENVIRONMENT) error->code = WEIR_OUT_OF_PATIENCE;
    weir_error_wrap(error, "job '%s': gave up after connect.patience (%s)", job->name,
                    weir_config_text(job->config, "connect.patience"));
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

static void tell_coordinator(struct weir_job *job, enum coordinator_event_type type, uint64_t epoch, uint32_t subtask)
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
    note_transaction(job, action->epoch);
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
    job->coordinator_timer_us = NEVER;
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
    job->watch_us = job_now_us(job) + WATCH_US;
    weir_log_about(&job->environment,
                   &(struct weir_log_line){ .level = WEIR_LOG_INFO, .incarnation = job->commit.incarnation,
                                            .has_epoch = true, .epoch = epoch },
                   "job '%s': running, incarnation %llu, epoch %llu", job->name,
                   (unsigned long long)job->commit.incarnation, (unsigned long long)epoch);
    job->tickets.in_flight = job->tickets.done;
    /* Flights are committed before anything is read. */
    const bool is_asked = job->tickets.taken > job->tickets.done || job->replays;
    if (is_asked && job->taking.phase == TAKING_WAITS) tell_coordinator(job, COORDINATOR_ON_ALIGNED, epoch, 0);
    else if (is_asked) tell_coordinator(job, COORDINATOR_ON_TRIGGER, epoch, 0);
    if (job->commit.stopping) tell_coordinator(job, COORDINATOR_ON_STOP, epoch, 0);
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
        case COMMIT_DO_ALLOW: tell_coordinator(job, COORDINATOR_ON_ALLOWED, action->epoch, 0); break;
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
    tell_coordinator(job, COORDINATOR_ON_ACK, letter->epoch, index);
}

/* One letter to all source tasks, which take it on the same side of every barrier. So what is said at the end of input, by
 * all tasks of the job, belongs to one epoch: it is committed as a whole, or not at all. */
static void take_end_of_input(struct weir_job *job)
{
    uint32_t sources = 0;
    for (uint32_t v = 0; v < job->plan->vertex_count; v++)
        if (job->plan->vertices[v].source != NULL) sources += job->plan->vertices[v].parallelism;
    if (++job->inputs_ended < sources) return;
    tell_coordinator(job, COORDINATOR_ON_FINISHING, 0, 0);
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
        note_transaction(job, letter->epoch);
        tell_coordinator(job, COORDINATOR_ON_ACTIVITY, letter->epoch, 0);
        break;
    case LETTER_BYTES: tell_coordinator(job, COORDINATOR_ON_BYTES, letter->epoch, 0); break;
    case LETTER_INPUT_ENDED: take_end_of_input(job); break;
    case LETTER_ENDED:
        if (++job->tasks_ended == job->tasks.count)
            tell_coordinator(job, COORDINATOR_ON_ALL_ENDED, letter->epoch, 0);
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
    tell_coordinator(job, COORDINATOR_ON_STOP, 0, 0);
}

void job_ask_for_checkpoint(struct weir_job *job, uint64_t ticket, bool aligned, bool stops)
{
    if (ticket > job->tickets.taken) job->tickets.taken = ticket;
    if (stops)
        take_stop(job);
    else
        tell_coordinator(job, aligned ? COORDINATOR_ON_ALIGNED : COORDINATOR_ON_TRIGGER, 0, 0);
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
    *at_us = NEVER;
    return true;
}

/* A job that commits hears from the brokers when it has been taken over. One that has nothing to commit asks the ledger. */
static void watch(struct weir_job *job)
{
    job->watch_us = job_now_us(job) + WATCH_US;
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
    if (is_due(&job->coordinator_timer_us, now)) tell_coordinator(job, COORDINATOR_ON_TIMER, 0, 0);
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
    int64_t next = NEVER;
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

static void run_job(void *argument)
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

static void end_job(struct weir_job *job)
{
    job->outcome = job->commit.failure;
    job->ended = true;
}

/* ---- Public --------------------------------------------------------------------------------------------------------- */

static bool job_name_is_legal(const char *name)
{
    static const char legal[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
    const size_t size = name == NULL ? 0 : strlen(name);
    return size >= 1 && size <= 64 && strspn(name, legal) == size;
}

static enum weir_code read_strategy(struct weir_job *job, struct weir_error *error)
{
    const weir_config *config = job->config;
    struct strategy_options options;
    enum strategy_kind kind;
    CHECK(strategy_kind_parse(weir_config_text(config, "restart-strategy.type"), &kind));
    strategy_options_init(&options, kind);
    if (kind == STRATEGY_FIXED_DELAY) {
        options.attempts = (uint32_t)weir_config_i64(config, "restart-strategy.fixed-delay.attempts");
        options.delay_ms = weir_config_duration_ms(config, "restart-strategy.fixed-delay.delay");
    } else if (kind == STRATEGY_FAILURE_RATE) {
        options.failures_max =
            (uint32_t)weir_config_i64(config, "restart-strategy.failure-rate.max-failures-per-interval");
        options.interval_ms = weir_config_duration_ms(config, "restart-strategy.failure-rate.failure-rate-interval");
        options.delay_ms = weir_config_duration_ms(config, "restart-strategy.failure-rate.delay");
    } else {
        options.attempts =
            (uint32_t)weir_config_i64(config, "restart-strategy.exponential-delay.attempts-before-reset-backoff");
        options.initial_ms = weir_config_duration_ms(config, "restart-strategy.exponential-delay.initial-backoff");
        options.max_ms = weir_config_duration_ms(config, "restart-strategy.exponential-delay.max-backoff");
        options.multiplier = config_f64(config, "restart-strategy.exponential-delay.backoff-multiplier");
        options.jitter = config_f64(config, "restart-strategy.exponential-delay.jitter-factor");
        options.reset_ms = weir_config_duration_ms(config, "restart-strategy.exponential-delay.reset-backoff-threshold");
    }
    const enum weir_code code = strategy_options_check(&options, error);
    if (code == WEIR_OK) strategy_init(&job->strategy, &options);
    return code;
}

static enum weir_code make_metrics(struct weir_job *job, struct weir_error *error)
{
    uint32_t *parallelisms = calloc(job->plan->vertex_count, sizeof(*parallelisms));
    for (uint32_t v = 0; parallelisms != NULL && v < job->plan->vertex_count; v++)
        parallelisms[v] = job->plan->vertices[v].parallelism;
    const bool good = parallelisms != NULL && metrics_init(&job->metrics, parallelisms, job->plan->vertex_count);
    free(parallelisms);
    if (good) return WEIR_OK;
    return weir_error_set(error, WEIR_NO_MEMORY, WEIR_REMEDY_STOP, "no memory for the metrics of a job");
}

static void init_machines(struct weir_job *job)
{
    const struct commit_options options = {
        .ring_size = (uint32_t)weir_config_i64(job->config, "sink.ring-size"),
        .needs_prepared_frame = job->decider_type->needs_prepared_frame,
    };
    commit_init(&job->commit, &options);
    job->wait_us = job->coordinator_timer_us = job->append_retry_us = job->discovery_us = job->watch_us = NEVER;
    job->anchors_us = job->all_positions_us = INT64_MIN / 2;
}

enum weir_code weir_job_create(weir_graph *graph, const weir_config *config, const struct weir_job_options *given,
                               weir_job **made, struct weir_error *error)
{
    struct weir_job_options options = { 0 };
    memcpy(&options, given, given->size < sizeof(options) ? given->size : sizeof(options));
    *made = NULL;
    struct weir_job *job = calloc(1, sizeof(*job));
    if (job == NULL) {
        weir_graph_destroy(graph);
        return weir_error_set(error, WEIR_NO_MEMORY, WEIR_REMEDY_STOP, "no memory for a job");
    }
    job->graph = graph;
    job->config = config;
    job->ended_descriptor = -1;
    job->waker.descriptor = -1;
    pthread_mutex_init(&job->status_mutex, NULL);
    environment_init_system(&job->environment);
    job->environment.log = options.log;
    job->environment.log_user = options.log_user;
    job->environment.job = job->name;

    enum weir_code code = weir_graph_check(graph, error);
    if (code != WEIR_OK) goto failed;
    if (!job_name_is_legal(options.name)) {
        code = weir_error_set(error, WEIR_USAGE, WEIR_REMEDY_STOP,
                              "'%s' is not a job name ([A-Za-z0-9._-], 1 to 64 characters)",
                              options.name == NULL ? "" : options.name);
        goto failed;
    }
    snprintf(job->name, sizeof(job->name), "%s", options.name);
    snprintf(job->program, sizeof(job->program), "%s", options.program != NULL ? options.program : options.name);
    job->in_memory = strcasecmp(weir_config_text(config, "execution.checkpointing.storage"), "jobmanager") == 0;
    if (!job->in_memory && weir_config_text(config, "execution.checkpointing.dir") == NULL) {
        code = weir_error_set(error, WEIR_USAGE, WEIR_REMEDY_STOP,
                              "job '%s' has no checkpoint directory: give --checkpoint-dir DIR, or set "
                              "execution.checkpointing.dir", job->name);
        goto failed;
    }
    job->exactly_once = strcasecmp(weir_config_text(config, "execution.checkpointing.mode"), "EXACTLY_ONCE") == 0;
    job->bounded = weir_config_bool(config, "start.bounded");
    code = read_strategy(job, error);
    if (code == WEIR_OK) code = plan_configure(graph, config, &job->plan, error);
    if (code == WEIR_OK) code = make_metrics(job, error);
    if (code == WEIR_OK) code = job_begin_configure(job, error);
    if (code != WEIR_OK) goto failed;
    if (job->plan->decider != NULL) job->decider_type = job->plan->decider;
    else job->decider_type = job->in_memory ? &pointer_decider_in_memory : &pointer_decider;
    if (job->in_memory && job->plan->decider != NULL && job->exactly_once && !job->bounded) {
        code = weir_error_set(error, WEIR_USAGE, WEIR_REMEDY_STOP,
                              "job '%s': checkpoints in memory (execution.checkpointing.storage: jobmanager) end with the "
                              "process, and nobody could go on exactly once behind it: use filesystem with "
                              "--checkpoint-dir DIR, or --bounded for a trial", job->name);
        goto failed;
    }
    job->ended_descriptor = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (!waker_init(&job->waker) || job->ended_descriptor < 0) {
        code = weir_error_set(error, WEIR_ENVIRONMENT, WEIR_REMEDY_STOP, "job '%s': no descriptor to be had: %s",
                              job->name, strerror(errno));
        goto failed;
    }
    mailbox_init(&job->mailbox, &job->waker);
    init_machines(job);
    *made = job;
    return WEIR_OK;
failed:
    job_begin_deinit(job);
    metrics_deinit(&job->metrics);
    plan_destroy(job->plan);
    weir_graph_destroy(graph);
    if (job->ended_descriptor >= 0) close(job->ended_descriptor);
    pthread_mutex_destroy(&job->status_mutex);
    free(job);
    return code;
}

static bool prepare_segment(void *user)
{
    struct weir_job *job = user;
    return atomic_load(&job->log_ready) && store_prepare(job->store);
}

enum weir_code weir_job_start(weir_job *job, struct weir_error *error)
{
    CHECK(!job->thread.started);
    job->environment_worker = worker_start("weir-environ", &job->mailbox, NULL, NULL);
    job->log_writer = worker_start("weir-log", &job->mailbox, prepare_segment, job);
    job->base_writer = worker_start("weir-base", &job->mailbox, NULL, NULL);
    if (job->environment_worker != NULL && job->log_writer != NULL && job->base_writer != NULL &&
        thread_start(&job->thread, "weir-job", run_job, job))
        return WEIR_OK;
    worker_stop(job->environment_worker);
    worker_stop(job->log_writer);
    worker_stop(job->base_writer);
    job->environment_worker = job->log_writer = job->base_writer = NULL;
    return weir_error_set(error, WEIR_ENVIRONMENT, WEIR_REMEDY_STOP, "job '%s': the system refuses a thread: %s",
                          job->name, strerror(errno));
}

static void post_user_letter(weir_job *job, enum letter_type type)
{
    struct mail *mail = calloc(1, sizeof(*mail));
    if (mail == NULL) return;
    mail->type = type;
    mailbox_post(&job->mailbox, mail);
}

uint64_t weir_job_checkpoint(weir_job *job)
{
    struct letter_checkpoint *letter = malloc(sizeof(*letter));
    if (letter == NULL) return 0;
    const uint64_t ticket = atomic_fetch_add(&job->tickets.given, 1) + 1;
    *letter = (struct letter_checkpoint){ .mail = { .type = LETTER_CHECKPOINT }, .ticket = ticket };
    mailbox_post(&job->mailbox, &letter->mail);
    return ticket;
}

void weir_job_stop(weir_job *job)
{
    __atomic_store_n(&job->give_up_discovery, true, __ATOMIC_RELAXED);
    post_user_letter(job, LETTER_STOP);
}

void weir_job_cancel(weir_job *job)
{
    __atomic_store_n(&job->give_up_discovery, true, __ATOMIC_RELAXED);
    post_user_letter(job, LETTER_CANCEL_JOB);
}

bool weir_job_wait(weir_job *job, int64_t timeout_ms, struct weir_error *outcome)
{
    struct pollfd descriptor = { .fd = job->ended_descriptor, .events = POLLIN };
    int ready;
    do {
        ready = poll(&descriptor, 1, timeout_ms < 0 ? -1 : timeout_ms > INT32_MAX ? INT32_MAX : (int)timeout_ms);
    } while (ready < 0 && errno == EINTR);
    if (ready <= 0) return false;
    pthread_mutex_lock(&job->status_mutex);
    if (outcome != NULL) *outcome = job->outcome;
    pthread_mutex_unlock(&job->status_mutex);
    return true;
}

int weir_job_descriptor(const weir_job *job) { return job->ended_descriptor; }

void weir_job_destroy(weir_job *job)
{
    if (job == NULL) return;
    if (job->thread.started) {
        __atomic_store_n(&job->give_up_discovery, true, __ATOMIC_RELAXED);
        post_user_letter(job, LETTER_END_JOB);
        thread_join(&job->thread);
    }
    mailbox_deinit(&job->mailbox, letter_destroy);
    waker_deinit(&job->waker);
    job_closing_clear(&job->closing);
    weir_decider_event_clear(&job->facts);
    weir_output_totals_clear(&job->totals);
    if (job->retention_ready) retention_deinit(&job->retention);
    if (job->coordinator_ready) coordinator_deinit(&job->coordinator);
    job_begin_deinit(job);
    free(job->anchors);
    metrics_deinit(&job->metrics);
    plan_destroy(job->plan);
    weir_graph_destroy(job->graph);
    close(job->ended_descriptor);
    pthread_mutex_destroy(&job->status_mutex);
    free(job);
}
