#include "decider.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "examine.h"
#include "round.h"
#include "weir/kafka.h"

enum {
    OPEN_PATIENCE_MS = 3000,
    CLERK_PATIENCE_MS = 5000,
    CLOSE_PATIENCE_MS = 5000,
};

enum task_type { LOOK, FENCE, READ };

struct task {
    struct task *next;
    enum task_type type;
    uint32_t attempt;
    uint32_t handles_named;
};

struct decider {
    struct weir_connector_context context;
    struct weir_decider_options options;
    char *brokers;
    char job[72];
    char slot[16];
    uint32_t ring_size;
    char cluster[64];
    struct handle_limits limits;
    struct ledger_topic ledger;
    struct outputs outputs;
    struct kafka_reaper *reaper;
    volatile bool cancelled; /* the clerk's current task is not wanted any more */

    pthread_mutex_t mutex; /* guards what follows */
    pthread_cond_t changed;
    uint32_t transactions_alive; /* threads, abandoned ones too */
    struct transaction *transactions[ROUND_IDS_MAX];
    uint32_t transaction_count;
    struct round round;
    bool warm; /* the round's: prepare the ids of the ring for producing */
    uint32_t attempt; /* newest one that was seen */
    struct task *first_task, **last_task;
    bool closing;
    pthread_t clerk;
};

/* ---- Answers ----------------------------------------------------------------------------------------------------- */

static void post(struct decider *decider, struct weir_decider_event *event)
{
    decider->options.post(decider->options.post_user, event);
}

static void post_simply(struct decider *decider, enum weir_decider_event_type type, uint32_t attempt)
{
    struct weir_decider_event event = { .type = type, .attempt = attempt };
    post(decider, &event);
}

static void post_failure(struct decider *decider, uint32_t attempt, const struct weir_error *error)
{
    struct weir_decider_event event = { .type = WEIR_DECIDER_FAILED, .attempt = attempt, .error = *error };
    post(decider, &event);
}

static uint32_t handles_used(const struct decider *decider)
{
    return decider->context.exactly_once ? decider->ring_size : 1; /* at-least-once: one for all */
}

/* Ids of a larger ring were only to be fenced. Caller holds the mutex. */
static void drop_extra_transactions(struct decider *decider)
{
    while (decider->transaction_count > handles_used(decider))
        transaction_abandon(decider->transactions[--decider->transaction_count]);
}

/* For the ids [first, last) of the round. False when there is no memory. Caller holds the mutex. */
static bool take_over_some(struct decider *decider, uint32_t first, uint32_t last)
{
    bool submitted = true;
    for (uint32_t i = first; submitted && i < last; i++)
        submitted = transaction_take_over(decider->transactions[i], i, decider->warm && i < decider->ring_size);
    return submitted;
}

static enum weir_code out_of_memory(struct weir_error *error)
{
    return weir_error_set(error, WEIR_NO_MEMORY, WEIR_REMEDY_STOP, "decider: out of memory");
}

/* The answers of transactions pass through here, on their threads: those that a round waits for become one. */
static void on_answer(void *user, struct weir_decider_event *event)
{
    struct decider *decider = user;
    enum round_step step = ROUND_OUTSIDE;
    bool submitted = true;
    pthread_mutex_lock(&decider->mutex);
    if (event->type == WEIR_DECIDER_RENEWED) step = round_renewed(&decider->round, event->attempt, event->handle);
    if (step == ROUND_REST) submitted = take_over_some(decider, 1, decider->round.count);
    if (step == ROUND_ENDS) drop_extra_transactions(decider);
    const enum weir_decider_event_type answer = decider->round.answer;
    pthread_mutex_unlock(&decider->mutex);
    struct weir_error error;
    if (step == ROUND_OUTSIDE) {
        post(decider, event);
    } else if (step == ROUND_ENDS) {
        post_simply(decider, answer, event->attempt);
    } else if (!submitted) {
        out_of_memory(&error);
        post_failure(decider, event->attempt, &error);
    }
}

static void on_gone(void *user)
{
    struct decider *decider = user;
    pthread_mutex_lock(&decider->mutex);
    decider->transactions_alive--;
    pthread_cond_broadcast(&decider->changed);
    pthread_mutex_unlock(&decider->mutex);
}

/* ---- Transactions ------------------------------------------------------------------------------------------------ */

/* Caller holds the mutex. */
static enum weir_code start_transaction(struct decider *decider, uint32_t attempt, uint32_t index,
                                        struct weir_error *error)
{
    char id[TRANSACTION_ID_SIZE];
    (void)snprintf(id, sizeof id, "%s-%s-%u", decider->job, decider->slot, index);
    const struct transaction_options options = {
        .context = &decider->context,
        .brokers = decider->brokers,
        .id = id,
        .index = index,
        .attempt = attempt,
        .ledger_topic = decider->ledger.name,
        .ledger_partition = decider->ledger.partition,
        .outputs = &decider->outputs,
        .reaper = decider->reaper,
        .answer = on_answer,
        .gone = on_gone,
        .user = decider,
    };
    const enum weir_code code = transaction_start(&options, &decider->transactions[index], error);
    if (code != WEIR_OK) return code;
    decider->transactions_alive++;
    decider->transaction_count = index + 1;
    return WEIR_OK;
}

/* Nothing that is under way for this attempt goes on. */
static void abandon_attempt(struct decider *decider)
{
    pthread_mutex_lock(&decider->mutex);
    for (uint32_t i = 0; i < decider->transaction_count; i++) transaction_abandon(decider->transactions[i]);
    decider->transaction_count = 0;
    round_forget(&decider->round);
    decider->attempt = 0;
    decider->cancelled = true;
    pthread_mutex_unlock(&decider->mutex);
}

/* At-least-once has one handle for all. NULL when there is none: then a failure was posted, or a discard came. */
static struct transaction *transaction_of(struct decider *decider, uint32_t handle)
{
    const uint32_t index = decider->context.exactly_once ? handle : 0;
    pthread_mutex_lock(&decider->mutex);
    struct transaction *transaction = index < decider->transaction_count ? decider->transactions[index] : NULL;
    pthread_mutex_unlock(&decider->mutex);
    return transaction;
}

/* Every id is taken over anew; those beyond the ring are only fenced. */
static enum weir_code take_all_over(struct decider *decider, uint32_t attempt, uint32_t count,
                                    enum weir_decider_event_type answer, bool warm, struct weir_error *error)
{
    enum weir_code code = WEIR_OK;
    pthread_mutex_lock(&decider->mutex);
    if (attempt == decider->attempt && !decider->closing) {
        round_begin(&decider->round, answer, attempt, count);
        decider->warm = warm;
        for (uint32_t i = decider->transaction_count; code == WEIR_OK && i < count; i++)
            code = start_transaction(decider, attempt, i, error);
        if (code == WEIR_OK && !take_over_some(decider, 0, 1)) code = out_of_memory(error);
    }
    pthread_mutex_unlock(&decider->mutex);
    return code;
}

struct handle *decider_acquire(struct decider *decider, uint64_t epoch)
{
    struct handle *handle = NULL;
    pthread_mutex_lock(&decider->mutex);
    for (uint32_t i = 0; handle == NULL && i < decider->transaction_count; i++)
        handle = transaction_acquire(decider->transactions[i], epoch);
    pthread_mutex_unlock(&decider->mutex);
    return handle;
}

struct outputs *decider_outputs(struct decider *decider)
{
    return &decider->outputs;
}

struct kafka_client *decider_client(struct decider *decider)
{
    return decider->ledger.uncommitted;
}

const char *decider_brokers(const struct decider *decider)
{
    return decider->brokers;
}

const struct handle_limits *decider_limits(const struct decider *decider)
{
    return &decider->limits;
}

const char *decider_cluster_id(const struct decider *decider)
{
    return decider->cluster;
}

/* ---- Clerk thread ------------------------------------------------------------------------------------------------ */

static enum weir_code read_facts(struct decider *decider, bool committed, struct weir_decider_event *event)
{
    const struct topics_patience patience = { .timeout_ms = CLERK_PATIENCE_MS, .cancelled = &decider->cancelled };
    struct ledger_mirrors mirrors;
    ledger_topic_ask_mirrors(&decider->ledger, committed, &mirrors);
    const enum weir_code code = ledger_topic_tail(&decider->ledger, committed, &patience, event, &event->error);
    if (code == WEIR_OK)
        return ledger_topic_take_mirrors(&decider->ledger, &mirrors, &patience, event, &event->error);
    ledger_topic_drop_mirrors(&mirrors);
    return code;
}

static void look(struct decider *decider, uint32_t attempt, bool committed)
{
    struct weir_decider_event event = { .type = committed ? WEIR_DECIDER_READ : WEIR_DECIDER_LOOKED,
                                        .attempt = attempt };
    if (read_facts(decider, committed, &event) != WEIR_OK) {
        weir_decider_event_clear(&event);
        event.type = WEIR_DECIDER_FAILED;
        event.handle = WEIR_HANDLE_NONE;
    }
    post(decider, &event);
}

static enum weir_code make_ledger(struct decider *decider, struct weir_error *error)
{
    const struct topics_patience patience = { .timeout_ms = CLERK_PATIENCE_MS, .cancelled = &decider->cancelled };
    bool exists;
    if (ledger_topic_check(&decider->ledger, &patience, &exists, error) != WEIR_OK) return error->code;
    if (exists) return WEIR_OK;
    const int64_t replication = weir_config_i64(decider->context.config, "ledger.replication-factor");
    return ledger_topic_create(&decider->ledger, (int32_t)replication, &patience, error);
}

static void fence(struct decider *decider, const struct task *task)
{
    struct weir_error error;
    uint32_t count = handles_used(decider);
    if (decider->context.exactly_once && task->handles_named > count) count = task->handles_named;
    enum weir_code code = WEIR_OK;
    if (count > ROUND_IDS_MAX)
        code = weir_error_set(&error, WEIR_DAMAGED, WEIR_REMEDY_STOP,
                              "the ledger '%s' names %u producers, more than any ring has", decider->ledger.name,
                              count);
    if (code == WEIR_OK) code = make_ledger(decider, &error);
    if (code == WEIR_OK) code = take_all_over(decider, task->attempt, count, WEIR_DECIDER_FENCED, true, &error);
    if (code != WEIR_OK) post_failure(decider, task->attempt, &error);
}

static void perform(struct decider *decider, const struct task *task)
{
    switch (task->type) {
    case LOOK: look(decider, task->attempt, false); break;
    case FENCE: fence(decider, task); break;
    case READ: look(decider, task->attempt, true); break;
    }
}

static struct task *await_task(struct decider *decider)
{
    pthread_mutex_lock(&decider->mutex);
    while (decider->first_task == NULL && !decider->closing) pthread_cond_wait(&decider->changed, &decider->mutex);
    struct task *task = decider->first_task;
    if (task != NULL) {
        decider->first_task = task->next;
        if (decider->first_task == NULL) decider->last_task = &decider->first_task;
        decider->cancelled = decider->closing || task->attempt != decider->attempt;
    }
    pthread_mutex_unlock(&decider->mutex);
    return task;
}

static void *run_clerk(void *argument)
{
    struct decider *decider = argument;
    for (struct task *task; (task = await_task(decider)) != NULL; free(task))
        if (!decider->cancelled) perform(decider, task);
    return NULL;
}

static void send_to_clerk(struct decider *decider, enum task_type type, uint32_t attempt, uint32_t handles_named)
{
    struct task *task = malloc(sizeof *task);
    if (task == NULL) {
        struct weir_error error;
        out_of_memory(&error);
        post_failure(decider, attempt, &error);
        return;
    }
    *task = (struct task){ .type = type, .attempt = attempt, .handles_named = handles_named };
    pthread_mutex_lock(&decider->mutex);
    decider->attempt = attempt;
    *decider->last_task = task;
    decider->last_task = &task->next;
    pthread_cond_broadcast(&decider->changed);
    pthread_mutex_unlock(&decider->mutex);
}

/* ---- Life: environment thread ------------------------------------------------------------------------------------ */

static void free_decider(struct decider *decider)
{
    ledger_topic_close(&decider->ledger);
    kafka_reaper_destroy(decider->reaper, CLOSE_PATIENCE_MS);
    outputs_deinit(&decider->outputs);
    pthread_cond_destroy(&decider->changed);
    pthread_mutex_destroy(&decider->mutex);
    free(decider->brokers);
    free(decider);
}

static void init_sync(struct decider *decider)
{
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&decider->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    pthread_mutex_init(&decider->mutex, NULL);
}

/* Both start with the same fields. */
_Static_assert(offsetof(struct weir_kafka_source_options, brokers) == offsetof(struct weir_kafka_sink_options, brokers),
               "the decider reads the brokers of whichever asked for it");

static const char *brokers_of(const void *connector_options)
{
    const struct weir_kafka_sink_options *options = connector_options;
    return options == NULL ? NULL : options->brokers;
}

static struct decider *create(const struct weir_decider_options *options)
{
    struct decider *decider = calloc(1, sizeof *decider);
    if (decider == NULL) return NULL;
    decider->context = *options->context;
    decider->options = *options;
    decider->options.connector_options = NULL;
    decider->ring_size = options->ring_size;
    (void)snprintf(decider->job, sizeof decider->job, "%s", options->context->job);
    (void)snprintf(decider->slot, sizeof decider->slot, "%s", options->slot);
    decider->context.job = decider->job;
    decider->context.operator_name = NULL;
    decider->last_task = &decider->first_task;
    outputs_init(&decider->outputs);
    init_sync(decider);
    const char *brokers = brokers_of(options->connector_options);
    decider->brokers = brokers == NULL ? NULL : strdup(brokers);
    decider->reaper = kafka_reaper_create();
    if (decider->reaper != NULL && (brokers == NULL || decider->brokers != NULL)) return decider;
    free_decider(decider);
    return NULL;
}

/* What can be found wrong without touching anything: settings of producers, the cluster, the ledger. */
static enum weir_code check(struct decider *decider, struct weir_error *error)
{
    const struct topics_patience patience = { .timeout_ms = OPEN_PATIENCE_MS };
    const struct handle_options trial = { .context = &decider->context, .brokers = decider->brokers,
                                          .transactional_id = decider->context.exactly_once ? decider->job : NULL };
    bool exists;
    if (handle_check(&trial, &decider->limits, error) != WEIR_OK) return error->code;
    if (kafka_cluster_id(decider->ledger.uncommitted, OPEN_PATIENCE_MS, NULL, decider->cluster, error) != WEIR_OK)
        return error->code;
    return ledger_topic_check(&decider->ledger, &patience, &exists, error);
}

static bool start_clerk(struct decider *decider)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    const bool started = pthread_create(&decider->clerk, NULL, run_clerk, decider) == 0;
    if (started) (void)pthread_setname_np(decider->clerk, "weir-clerk");
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return started;
}

static enum weir_code decider_open(const struct weir_decider_options *options, void **opened, struct weir_error *error)
{
    int64_t slot;
    if (options->ring_size == 0 || options->ring_size > ROUND_IDS_MAX)
        return weir_error_set(error, WEIR_USAGE, WEIR_REMEDY_STOP, "sink.ring-size is %u, but must be 1 to %d",
                              options->ring_size, ROUND_IDS_MAX);
    if (!weir_bytes_to_i64(weir_text(options->slot), &slot) || slot < 0 || slot > 9999)
        return weir_error_set(error, WEIR_USAGE, WEIR_REMEDY_STOP,
                              "slot '%s': the ledger's partitions need a number from 0 to 9999", options->slot);
    struct decider *decider = create(options);
    if (decider == NULL) return out_of_memory(error);
    enum weir_code code =
        ledger_topic_open(&decider->ledger, &decider->context, decider->brokers, (int32_t)slot, error);
    if (code == WEIR_OK) code = check(decider, error);
    if (code == WEIR_OK && !start_clerk(decider))
        code = weir_error_set(error, WEIR_ENVIRONMENT, WEIR_REMEDY_STOP, "the system has no more threads");
    if (code != WEIR_OK) {
        free_decider(decider);
        return code;
    }
    *opened = decider;
    return WEIR_OK;
}

/* Threads that are inside of librdkafka end when their call does; after the patience they are left to the end of the
 * process, and what they use is left to them. */
static bool await_transactions(struct decider *decider)
{
    struct timespec deadline;
    clock_gettime(CLOCK_MONOTONIC, &deadline);
    deadline.tv_sec += CLOSE_PATIENCE_MS / 1000;
    pthread_mutex_lock(&decider->mutex);
    int result = 0;
    while (decider->transactions_alive > 0 && result != ETIMEDOUT)
        result = pthread_cond_timedwait(&decider->changed, &decider->mutex, &deadline);
    const bool all_gone = decider->transactions_alive == 0;
    pthread_mutex_unlock(&decider->mutex);
    return all_gone;
}

static void decider_close(void *argument)
{
    struct decider *decider = argument;
    pthread_mutex_lock(&decider->mutex);
    decider->closing = true;
    decider->cancelled = true;
    pthread_cond_broadcast(&decider->changed);
    pthread_mutex_unlock(&decider->mutex);
    abandon_attempt(decider);
    pthread_join(decider->clerk, NULL);
    for (struct task *task = decider->first_task, *next; task != NULL; task = next) {
        next = task->next;
        free(task);
    }
    if (await_transactions(decider)) free_decider(decider);
}

static const char *decider_cluster(void *decider)
{
    return ((struct decider *)decider)->cluster;
}

/* ---- Calls: job thread ------------------------------------------------------------------------------------------- */

static void decider_look(void *decider, uint32_t attempt)
{
    send_to_clerk(decider, LOOK, attempt, 0);
}

static void decider_fence(void *decider, uint32_t attempt, uint32_t handles_named)
{
    send_to_clerk(decider, FENCE, attempt, handles_named);
}

static void decider_read(void *decider, uint32_t attempt)
{
    send_to_clerk(decider, READ, attempt, 0);
}

static void decider_announce(void *decider, uint32_t attempt, struct weir_bytes key, struct weir_bytes value)
{
    (void)attempt;
    struct transaction *transaction = transaction_of(decider, 0);
    if (transaction != NULL) transaction_announce(transaction, key, value);
}

static void decider_begin(void *decider, uint32_t attempt, uint32_t handle, uint64_t epoch)
{
    (void)attempt;
    struct transaction *transaction = transaction_of(decider, handle);
    if (transaction != NULL) transaction_begin(transaction, handle, epoch);
}

static void decider_flush(void *decider, uint32_t attempt, uint32_t handle, uint64_t epoch,
                          struct weir_bytes ledger_key, struct weir_bytes ledger_value, bool anchors)
{
    (void)attempt;
    struct transaction *transaction = transaction_of(decider, handle);
    if (transaction != NULL) transaction_flush(transaction, handle, epoch, ledger_key, ledger_value, anchors);
}

static void decider_offsets(void *decider, uint32_t attempt, uint32_t handle, uint64_t epoch,
                            const struct weir_splits *positions, const char *metadata)
{
    (void)attempt;
    struct transaction *transaction = transaction_of(decider, handle);
    if (transaction != NULL) transaction_offsets(transaction, handle, epoch, positions, metadata);
}

static void decider_commit(void *decider, uint32_t attempt, uint32_t handle, uint64_t epoch)
{
    (void)attempt;
    struct transaction *transaction = transaction_of(decider, handle);
    if (transaction != NULL) transaction_commit(transaction, handle, epoch);
}

static void decider_renew(void *argument, uint32_t attempt, uint32_t handle)
{
    struct decider *decider = argument;
    struct transaction *transaction = transaction_of(decider, handle);
    if (transaction == NULL) return;
    pthread_mutex_lock(&decider->mutex);
    round_expect_renewal(&decider->round, handle);
    pthread_mutex_unlock(&decider->mutex);
    struct weir_error error;
    if (transaction_take_over(transaction, handle, true)) return;
    out_of_memory(&error);
    post_failure(decider, attempt, &error);
}

static void decider_discard(void *argument, uint32_t attempt)
{
    struct decider *decider = argument;
    abandon_attempt(decider);
    post_simply(decider, WEIR_DECIDER_DISCARDED, attempt);
}

/* Nothing is open any more, so the inits only wait until the last commit's markers are written. */
static void decider_finish(void *argument, uint32_t attempt)
{
    struct decider *decider = argument;
    struct weir_error error;
    if (take_all_over(decider, attempt, handles_used(decider), WEIR_DECIDER_FINISHED, false, &error) != WEIR_OK)
        post_failure(decider, attempt, &error);
}

static void decider_examine(const struct weir_decider_options *options, weir_examination *examination)
{
    kafka_examine_commits(options, brokers_of(options->connector_options), examination);
}

const struct weir_decider_type weir_kafka_decider_type = {
    .size = sizeof(struct weir_decider_type),
    .kind = "kafka",
    .needs_prepared_frame = true,
    .examine = decider_examine,
    .open = decider_open,
    .close = decider_close,
    .cluster = decider_cluster,
    .look = decider_look,
    .fence = decider_fence,
    .read = decider_read,
    .announce = decider_announce,
    .begin = decider_begin,
    .flush = decider_flush,
    .offsets = decider_offsets,
    .commit = decider_commit,
    .renew = decider_renew,
    .discard = decider_discard,
    .finish = decider_finish,
};
