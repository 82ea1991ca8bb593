/* What a program asks of a job: from its making to its end. */
#include "runtime/job.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

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
    job->wait_us = job->coordinator_timer_us = job->append_retry_us = job->discovery_us = job->watch_us = JOB_NEVER_US;
    job->anchors_us = job->all_positions_us = INT64_MIN / 2;
}

/* What the host and the configuration say, each for itself. */
static enum weir_code take_options(struct weir_job *job, const struct weir_job_options *options, struct weir_error *error)
{
    if (!job_name_is_legal(options->name))
        return weir_error_set(error, WEIR_USAGE, WEIR_REMEDY_STOP,
                              "'%s' is not a job name ([A-Za-z0-9._-], 1 to 64 characters)",
                              options->name == NULL ? "" : options->name);
    (void)snprintf(job->name, sizeof(job->name), "%s", options->name);
    (void)snprintf(job->program, sizeof(job->program), "%s", options->program != NULL ? options->program : options->name);
    job->in_memory = strcasecmp(weir_config_text(job->config, "execution.checkpointing.storage"), "jobmanager") == 0;
    if (!job->in_memory && weir_config_text(job->config, "execution.checkpointing.dir") == NULL)
        return weir_error_set(error, WEIR_USAGE, WEIR_REMEDY_STOP,
                              "job '%s' has no checkpoint directory: give --checkpoint-dir DIR, or set "
                              "execution.checkpointing.dir", job->name);
    job->exactly_once = strcasecmp(weir_config_text(job->config, "execution.checkpointing.mode"), "EXACTLY_ONCE") == 0;
    job->bounded = weir_config_bool(job->config, "start.bounded");
    return read_strategy(job, error);
}

static enum weir_code choose_decider(struct weir_job *job, struct weir_error *error)
{
    if (job->plan->decider != NULL) job->decider_type = job->plan->decider;
    else job->decider_type = job->in_memory ? &pointer_decider_in_memory : &pointer_decider;
    if (!job->in_memory || job->plan->decider == NULL || !job->exactly_once || job->bounded) return WEIR_OK;
    return weir_error_set(error, WEIR_USAGE, WEIR_REMEDY_STOP,
                          "job '%s': checkpoints in memory (execution.checkpointing.storage: jobmanager) end with the "
                          "process, and nobody could go on exactly once behind it: use filesystem with "
                          "--checkpoint-dir DIR, or --bounded for a trial", job->name);
}

static enum weir_code open_descriptors(struct weir_job *job, struct weir_error *error)
{
    job->ended_descriptor = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (waker_init(&job->waker) && job->ended_descriptor >= 0) return WEIR_OK;
    return weir_error_set(error, WEIR_ENVIRONMENT, WEIR_REMEDY_STOP, "job '%s': no descriptor to be had: %s", job->name,
                          strerror(errno));
}

static struct weir_job *allocate(weir_graph *graph, const weir_config *config, const struct weir_job_options *options)
{
    struct weir_job *job = calloc(1, sizeof(*job));
    if (job == NULL) return NULL;
    job->graph = graph;
    job->config = config;
    job->ended_descriptor = -1;
    job->waker.descriptor = -1;
    pthread_mutex_init(&job->status_mutex, NULL);
    environment_init_system(&job->environment);
    job->environment.log = options->log;
    job->environment.log_user = options->log_user;
    job->environment.job = job->name;
    return job;
}

/* Of a job that was never whole. */
static void give_up(struct weir_job *job)
{
    job_begin_deinit(job);
    metrics_deinit(&job->metrics);
    plan_destroy(job->plan);
    weir_graph_destroy(job->graph);
    if (job->ended_descriptor >= 0) close(job->ended_descriptor);
    if (job->waker.descriptor >= 0) waker_deinit(&job->waker);
    pthread_mutex_destroy(&job->status_mutex);
    free(job);
}

enum weir_code weir_job_create(weir_graph *graph, const weir_config *config, const struct weir_job_options *given,
                               weir_job **made, struct weir_error *error)
{
    struct weir_job_options options = { 0 };
    memcpy(&options, given, given->size < sizeof(options) ? given->size : sizeof(options));
    *made = NULL;
    struct weir_job *job = allocate(graph, config, &options);
    if (job == NULL) {
        weir_graph_destroy(graph);
        return weir_error_set(error, WEIR_NO_MEMORY, WEIR_REMEDY_STOP, "no memory for a job");
    }
    enum weir_code code = weir_graph_check(graph, error);
    if (code == WEIR_OK) code = take_options(job, &options, error);
    if (code == WEIR_OK) code = plan_configure(graph, config, &job->plan, error);
    if (code == WEIR_OK) code = make_metrics(job, error);
    if (code == WEIR_OK) code = job_begin_configure(job, error);
    if (code == WEIR_OK) code = choose_decider(job, error);
    if (code == WEIR_OK) code = open_descriptors(job, error);
    if (code != WEIR_OK) {
        give_up(job);
        return code;
    }
    mailbox_init(&job->mailbox, &job->waker);
    init_machines(job);
    *made = job;
    return WEIR_OK;
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
        thread_start(&job->thread, "weir-job", job_run, job))
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
