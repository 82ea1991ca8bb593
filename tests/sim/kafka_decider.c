/* The decider: a ring of transactional producers, each with a fiber that does one command after another, and a clerk
 * that reads ledger and group. The shape of connectors/kafka/decider.c, without what fibers do not need. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "round.h"
#include "sim/connector.h"

enum { REQUEST_TIMEOUT_US = 1000000 };

enum command_type { TAKE_OVER, BEGIN, FLUSH, OFFSETS, COMMIT, ANNOUNCE };

struct command {
    struct command *next;
    enum command_type type;
    uint64_t epoch;
    struct model_record record; /* of the ledger; keeps its contents */
    struct weir_splits positions;
    char metadata[256];
};

/* A transactional id of one attempt. */
struct transaction {
    struct sim_decider *decider;
    uint32_t references; /* the decider's, and the fiber's */
    uint32_t index, attempt;
    char id[160];
    struct producer *producer;
    struct producer *ledger;  /* at-least-once: on `producer` the records of the next epoch follow without a gap */
    struct command *closing;  /* at-least-once: what is written when the frame is durable */
    bool is_open, is_abandoned, has_failed;
    uint64_t epoch;
    struct command *first, **last;
    struct sched_event work;
};

enum inquiry_type { LOOK, FENCE, READ };
struct inquiry {
    struct inquiry *next;
    enum inquiry_type type;
    uint32_t attempt, handles_named;
};

struct sim_decider {
    struct weir_decider_options options;
    char job[72], slot[16], ledger[96];
    int64_t transaction_timeout_ms;
    struct transaction *ring[ROUND_IDS_MAX];
    uint32_t count;
    struct round round;
    uint32_t attempt;
    struct inquiry *first, **last;
    struct sched_event work;
    bool is_closing;
    struct thread clerk;
    uint32_t alive; /* fibers of transactions */
    struct sched_event gone;
};

/* ---- Answers ----------------------------------------------------------------------------------------------------- */

static void post(struct sim_decider *decider, struct weir_decider_event *event)
{
    decider->options.post(decider->options.post_user, event);
}

static void post_simply(struct sim_decider *decider, enum weir_decider_event_type type, uint32_t attempt)
{
    struct weir_decider_event event = { .type = type, .attempt = attempt };
    post(decider, &event);
}

static void take_over_some(struct sim_decider *decider, uint32_t first, uint32_t last);

static void answer(struct transaction *transaction, enum weir_decider_event_type type, uint64_t epoch, bool renew)
{
    struct sim_decider *decider = transaction->decider;
    struct weir_decider_event event = { .type = type, .attempt = transaction->attempt, .epoch = epoch,
                                        .handle = transaction->index, .renew = renew };
    if (transaction->is_abandoned) return;
    switch (type == WEIR_DECIDER_RENEWED ? round_renewed(&decider->round, transaction->attempt, transaction->index)
                                         : ROUND_OUTSIDE) {
    case ROUND_OUTSIDE: post(decider, &event); break;
    case ROUND_REST: take_over_some(decider, 1, decider->round.count); break;
    case ROUND_WAITS: break;
    case ROUND_ENDS: post_simply(decider, decider->round.answer, transaction->attempt); break;
    }
}

static void fail(struct transaction *transaction, const struct weir_error *error)
{
    if (transaction->has_failed || transaction->is_abandoned) return;
    transaction->has_failed = true;
    struct weir_decider_event event = { .type = WEIR_DECIDER_FAILED, .attempt = transaction->attempt,
                                        .handle = transaction->index, .error = *error };
    post(transaction->decider, &event);
}

/* ---- Commands ---------------------------------------------------------------------------------------------------- */

static void clear_command(struct command *command)
{
    model_record_drop(&command->record);
    weir_splits_clear(&command->positions);
}

static void free_command(struct command *command)
{
    clear_command(command);
    free(command);
}

static bool is_exactly_once(const struct sim_decider *decider) { return decider->options.context->exactly_once; }

static void drop(struct producer **producer)
{
    if (*producer == NULL) return;
    producer_abandon(*producer);
    producer_release(*producer);
    *producer = NULL;
}

static void drop_producers(struct transaction *transaction)
{
    drop(&transaction->producer);
    drop(&transaction->ledger);
    if (transaction->closing != NULL) free_command(transaction->closing);
    transaction->closing = NULL;
    transaction->is_open = false;
}

static bool open_producer(struct transaction *transaction, struct producer **producer, struct weir_error *error)
{
    const struct sim_decider *decider = transaction->decider;
    const struct producer_options options = {
        .transactional_id = is_exactly_once(decider) ? transaction->id : "",
        .transaction_timeout_ms = decider->transaction_timeout_ms, .request_timeout_us = REQUEST_TIMEOUT_US,
        .is_secondary = transaction->index > 0,
    };
    *producer = producer_open(&options);
    return producer_init(*producer, error);
}

/* Until one init went through with every request answered (R5). */
static bool take_over(struct transaction *transaction)
{
    do {
        struct weir_error error;
        drop_producers(transaction);
        if (open_producer(transaction, &transaction->producer, &error) &&
            (is_exactly_once(transaction->decider) || open_producer(transaction, &transaction->ledger, &error)))
            continue;
        fail(transaction, &error);
        return false;
    } while (producer_unanswered(transaction->producer) > 0 && !transaction->is_abandoned);
    return !transaction->is_abandoned;
}

static void begin(struct transaction *transaction, uint64_t epoch)
{
    producer_begin(transaction->producer);
    transaction->epoch = epoch;
    transaction->is_open = true;
}

static struct producer *ledger_of(const struct transaction *transaction)
{
    return transaction->ledger != NULL ? transaction->ledger : transaction->producer;
}

static void write_ledger(struct transaction *transaction, const struct command *command)
{
    producer_send(ledger_of(transaction), transaction->decider->ledger, 0, &command->record);
}

static bool complete(struct transaction *transaction, bool done, const struct weir_error *error)
{
    if (!done) fail(transaction, error);
    return done;
}

static bool commit(struct transaction *transaction)
{
    struct weir_error error = { .code = WEIR_OK };
    if (!complete(transaction, producer_commit(transaction->producer, &error), &error)) return false;
    transaction->is_open = false;
    return true;
}

static bool flush(struct transaction *transaction, const struct command *command)
{
    struct weir_error error = { .code = WEIR_OK };
    write_ledger(transaction, command);
    return complete(transaction, producer_flush(transaction->producer, &error), &error);
}

/* ---- At least once: connectors/kafka/transaction_calls.c does the same ---- */

static bool flush_ledger(struct transaction *transaction, const struct command *command)
{
    struct weir_error error = { .code = WEIR_OK };
    write_ledger(transaction, command);
    return complete(transaction, producer_flush(transaction->ledger, &error), &error);
}

static void announce_at_least_once(struct transaction *transaction, const struct command *command)
{
    if (flush_ledger(transaction, command)) answer(transaction, WEIR_DECIDER_ANNOUNCED, 0, false);
}

/* Output first, then the record that says so, then the group, which is for lag tools only. */
static void close_at_least_once(struct transaction *transaction, const struct command *command)
{
    struct weir_error error = { .code = WEIR_OK };
    struct command *closing = transaction->closing;
    CHECK(closing != NULL && closing->epoch == command->epoch);
    if (!flush_ledger(transaction, closing)) return;
    (void)producer_offsets_at_once(transaction->ledger, transaction->decider->job, &closing->positions,
                                   closing->metadata, &error);
    answer(transaction, WEIR_DECIDER_COMMITTED, command->epoch, false);
}

/* Takes the command. */
static void keep_for_the_end(struct transaction *transaction, struct command *command)
{
    struct command *closing = transaction->closing;
    if (command->type == FLUSH) {
        if (closing != NULL) free_command(closing);
        transaction->closing = command;
        return;
    }
    CHECK(closing != NULL && closing->epoch == command->epoch);
    weir_splits_clear(&closing->positions);
    closing->positions = command->positions;
    command->positions = (struct weir_splits){ 0 };
    memcpy(closing->metadata, command->metadata, sizeof closing->metadata);
    free_command(command);
}

/* Takes the command. */
static void execute_at_least_once(struct transaction *transaction, struct command *command)
{
    struct weir_error error = { .code = WEIR_OK };
    const uint64_t epoch = command->epoch;
    switch (command->type) {
    case FLUSH:
        if (!complete(transaction, producer_flush(transaction->producer, &error), &error)) break;
        keep_for_the_end(transaction, command);
        answer(transaction, WEIR_DECIDER_FLUSHED, epoch, false);
        return;
    case OFFSETS:
        keep_for_the_end(transaction, command);
        answer(transaction, WEIR_DECIDER_READY, epoch, false);
        return;
    case COMMIT: close_at_least_once(transaction, command); break;
    case ANNOUNCE: announce_at_least_once(transaction, command); break;
    case TAKE_OVER:
    case BEGIN: CHECK(false);
    }
    free_command(command);
}

/* ---- Exactly once ---- */

static void announce(struct transaction *transaction, const struct command *command)
{
    begin(transaction, 0);
    if (!flush(transaction, command) || !commit(transaction)) return;
    if (producer_unanswered(transaction->producer) == 0) {
        answer(transaction, WEIR_DECIDER_ANNOUNCED, 0, false);
        return;
    }
    struct weir_error error;
    weir_error_set(&error, WEIR_FAILED, WEIR_REMEDY_REPLAY, "the announcement was repeated");
    fail(transaction, &error);
}

static void execute(struct transaction *transaction, const struct command *command)
{
    struct weir_error error = { .code = WEIR_OK };
    if (transaction->has_failed || (command->type != TAKE_OVER && transaction->producer == NULL)) return;
    switch (command->type) {
    case TAKE_OVER:
        if (take_over(transaction)) answer(transaction, WEIR_DECIDER_RENEWED, 0, false);
        break;
    case BEGIN:
        begin(transaction, command->epoch);
        answer(transaction, WEIR_DECIDER_BEGUN, command->epoch, false);
        break;
    case FLUSH:
        if (flush(transaction, command)) answer(transaction, WEIR_DECIDER_FLUSHED, command->epoch, false);
        break;
    case OFFSETS:
        if (complete(transaction, producer_offsets(transaction->producer, transaction->decider->job,
                                                   &command->positions, command->metadata, &error), &error))
            answer(transaction, WEIR_DECIDER_READY, command->epoch, false);
        break;
    case COMMIT:
        if (commit(transaction))
            answer(transaction, WEIR_DECIDER_COMMITTED, command->epoch,
                   producer_unanswered(transaction->producer) > 0);
        break;
    case ANNOUNCE: announce(transaction, command); break;
    }
}

static void release_transaction(struct transaction *transaction)
{
    if (--transaction->references == 0) free(transaction);
}

static struct command *take(struct transaction *transaction)
{
    struct command *command = transaction->first;
    if (command == NULL) return NULL;
    transaction->first = command->next;
    if (transaction->first == NULL) transaction->last = &transaction->first;
    return command;
}

/* A record that could not be written fails the transaction also while there is nothing to do. */
static void look_after(struct transaction *transaction)
{
    struct weir_error error;
    if (transaction->producer != NULL && producer_failed(transaction->producer, &error)) fail(transaction, &error);
    struct sched_event *event = transaction->producer == NULL || transaction->has_failed
                                    ? &transaction->work : producer_event(transaction->producer);
    (void)sched_wait(event, 20000);
}

/* Takes the command. */
static void dispatch(struct transaction *transaction, struct command *command)
{
    const bool is_common = command->type == TAKE_OVER || command->type == BEGIN;
    if (!is_exactly_once(transaction->decider) && !is_common && !transaction->has_failed && transaction->producer != NULL) {
        execute_at_least_once(transaction, command);
        return;
    }
    execute(transaction, command);
    free_command(command);
}

static void run_transaction(void *argument)
{
    struct transaction *transaction = argument;
    struct sim_decider *decider = transaction->decider;
    while (!transaction->is_abandoned) {
        struct command *command = take(transaction);
        if (command == NULL) {
            look_after(transaction);
            continue;
        }
        dispatch(transaction, command);
    }
    for (struct command *command; (command = take(transaction)) != NULL;) free_command(command);
    drop_producers(transaction);
    release_transaction(transaction);
    decider->alive--;
    sched_signal(&decider->gone);
}

/* What `command` holds moves in. One for a ring that was discarded is dropped. */
static void submit(struct sim_decider *decider, uint32_t handle, struct command command)
{
    if (!is_exactly_once(decider)) handle = 0; /* one for all */
    if (handle >= decider->count) {
        clear_command(&command);
        return;
    }
    struct transaction *transaction = decider->ring[handle];
    struct command *copy = malloc(sizeof *copy);
    CHECK(copy != NULL);
    *copy = command;
    copy->next = NULL;
    *transaction->last = copy;
    transaction->last = &copy->next;
    sched_signal(&transaction->work);
    if (transaction->producer != NULL) sched_signal(producer_event(transaction->producer));
}

/* ---- The ring ---------------------------------------------------------------------------------------------------- */

static void start_transaction(struct sim_decider *decider, uint32_t attempt, uint32_t index)
{
    struct transaction *transaction = calloc(1, sizeof *transaction);
    CHECK(transaction != NULL);
    *transaction = (struct transaction){ .decider = decider, .references = 2, .index = index, .attempt = attempt };
    (void)snprintf(transaction->id, sizeof transaction->id, "%s-%s-%u", decider->job, decider->slot, index);
    transaction->last = &transaction->first;
    decider->ring[index] = transaction;
    decider->count = index + 1;
    decider->alive++;
    struct thread thread;
    CHECK(thread_start(&thread, "transaction", run_transaction, transaction));
}

static void abandon(struct transaction *transaction)
{
    transaction->is_abandoned = true;
    if (transaction->producer != NULL) producer_abandon(transaction->producer);
    sched_signal(&transaction->work);
    release_transaction(transaction);
}

static void abandon_all(struct sim_decider *decider)
{
    for (uint32_t i = 0; i < decider->count; i++) abandon(decider->ring[i]);
    decider->count = 0;
    round_forget(&decider->round);
    decider->attempt = 0;
}

static void take_over_some(struct sim_decider *decider, uint32_t first, uint32_t last)
{
    for (uint32_t i = first; i < last; i++) submit(decider, i, (struct command){ .type = TAKE_OVER });
}

static void take_all_over(struct sim_decider *decider, uint32_t attempt, uint32_t count,
                          enum weir_decider_event_type type)
{
    if (attempt != decider->attempt || decider->is_closing) return;
    round_begin(&decider->round, type, attempt, count);
    for (uint32_t i = decider->count; i < count; i++) start_transaction(decider, attempt, i);
    take_over_some(decider, 0, 1);
}

struct producer *sim_decider_acquire(struct sim_decider *decider, uint64_t epoch)
{
    for (uint32_t i = 0; i < decider->count; i++) {
        struct transaction *transaction = decider->ring[i];
        if (!transaction->is_open || (transaction->epoch != epoch && is_exactly_once(decider))) continue;
        producer_retain(transaction->producer);
        return transaction->producer;
    }
    return NULL;
}

/* ---- The clerk --------------------------------------------------------------------------------------------------- */

static void inquire(struct sim_decider *decider, uint32_t attempt, bool committed)
{
    struct weir_decider_event event = { .type = committed ? WEIR_DECIDER_READ : WEIR_DECIDER_LOOKED,
                                        .attempt = attempt };
    enum weir_code code = sim_ledger_tail(decider->ledger, committed, &event, &event.error);
    if (code == WEIR_OK) code = sim_ledger_mirrors(decider->job, committed, &event, &event.error);
    if (code != WEIR_OK) {
        const struct weir_error error = event.error;
        weir_decider_event_clear(&event);
        event = (struct weir_decider_event){ .type = WEIR_DECIDER_FAILED, .attempt = attempt,
                                             .handle = WEIR_HANDLE_NONE, .error = error };
    }
    post(decider, &event);
}

static void fence(struct sim_decider *decider, const struct inquiry *inquiry)
{
    struct weir_decider_event event = { .type = WEIR_DECIDER_FAILED, .attempt = inquiry->attempt };
    uint32_t count = decider->options.ring_size;
    if (inquiry->handles_named > count) count = inquiry->handles_named;
    if (!is_exactly_once(decider)) count = 1;
    CHECK(count <= ROUND_IDS_MAX);
    if (sim_ledger_make(decider->ledger, &event.error) == WEIR_OK)
        take_all_over(decider, inquiry->attempt, count, WEIR_DECIDER_FENCED);
    else
        post(decider, &event);
}

static void run_clerk(void *argument)
{
    struct sim_decider *decider = argument;
    while (!decider->is_closing) {
        struct inquiry *inquiry = decider->first;
        if (inquiry == NULL) {
            (void)sched_wait(&decider->work, -1);
            continue;
        }
        decider->first = inquiry->next;
        if (decider->first == NULL) decider->last = &decider->first;
        if (inquiry->attempt == decider->attempt) {
            if (inquiry->type == FENCE) fence(decider, inquiry);
            else inquire(decider, inquiry->attempt, inquiry->type == READ);
        }
        free(inquiry);
    }
}

static void ask_clerk(struct sim_decider *decider, enum inquiry_type type, uint32_t attempt, uint32_t handles_named)
{
    struct inquiry *inquiry = malloc(sizeof *inquiry);
    CHECK(inquiry != NULL);
    *inquiry = (struct inquiry){ .type = type, .attempt = attempt, .handles_named = handles_named };
    decider->attempt = attempt;
    *decider->last = inquiry;
    decider->last = &inquiry->next;
    sched_signal(&decider->work);
}

/* ---- Calls ------------------------------------------------------------------------------------------------------- */

static enum weir_code decider_open(const struct weir_decider_options *options, void **opened, struct weir_error *error)
{
    if (cluster_is_down())
        return weir_error_set(error, WEIR_OUT_OF_PATIENCE, WEIR_REMEDY_RETRY, "no broker");
    struct sim_decider *decider = calloc(1, sizeof *decider);
    if (decider == NULL) return weir_error_set(error, WEIR_NO_MEMORY, WEIR_REMEDY_STOP, "out of memory");
    decider->options = *options;
    (void)snprintf(decider->job, sizeof decider->job, "%s", options->context->job);
    (void)snprintf(decider->slot, sizeof decider->slot, "%s", options->slot);
    (void)snprintf(decider->ledger, sizeof decider->ledger, "%s-ledger", decider->job);
    const char *timeout = weir_config_text(options->context->config, "kafka.producer.transaction.timeout.ms");
    decider->transaction_timeout_ms = timeout == NULL ? 60000 : strtoll(timeout, NULL, 10);
    decider->last = &decider->first;
    CHECK(thread_start(&decider->clerk, "clerk", run_clerk, decider));
    *opened = decider;
    return WEIR_OK;
}

static void decider_close(void *opaque)
{
    struct sim_decider *decider = opaque;
    decider->is_closing = true;
    abandon_all(decider);
    sched_signal(&decider->work);
    thread_join(&decider->clerk);
    while (decider->alive > 0) (void)sched_wait(&decider->gone, -1);
    for (struct inquiry *inquiry = decider->first, *next; inquiry != NULL; inquiry = next) {
        next = inquiry->next;
        free(inquiry);
    }
    free(decider);
}

static const char *decider_cluster(void *decider)
{
    (void)decider;
    return "simulated";
}

static void decider_look(void *decider, uint32_t attempt) { ask_clerk(decider, LOOK, attempt, 0); }
static void decider_fence(void *decider, uint32_t attempt, uint32_t handles_named)
{
    ask_clerk(decider, FENCE, attempt, handles_named);
}
static void decider_read(void *decider, uint32_t attempt) { ask_clerk(decider, READ, attempt, 0); }

static void decider_announce(void *decider, uint32_t attempt, struct weir_bytes key, struct weir_bytes value)
{
    (void)attempt;
    struct command command = { .type = ANNOUNCE, .record = { .key = key, .value = value } };
    model_record_keep(&command.record);
    submit(decider, 0, command);
}

static void decider_begin(void *decider, uint32_t attempt, uint32_t handle, uint64_t epoch)
{
    (void)attempt;
    submit(decider, handle, (struct command){ .type = BEGIN, .epoch = epoch });
}

static void decider_flush(void *decider, uint32_t attempt, uint32_t handle, uint64_t epoch,
                          struct weir_bytes ledger_key, struct weir_bytes ledger_value, bool anchors)
{
    (void)attempt, (void)anchors;
    struct command command = { .type = FLUSH, .epoch = epoch,
                               .record = { .key = ledger_key, .value = ledger_value } };
    model_record_keep(&command.record);
    submit(decider, handle, command);
}

static void decider_offsets(void *decider, uint32_t attempt, uint32_t handle, uint64_t epoch,
                            const struct weir_splits *positions, const char *metadata)
{
    (void)attempt;
    struct command command = { .type = OFFSETS, .epoch = epoch };
    (void)snprintf(command.metadata, sizeof command.metadata, "%s", metadata);
    for (size_t i = 0; i < positions->count; i++)
        if (positions->items[i].position >= 0) CHECK(weir_splits_add(&command.positions, &positions->items[i]));
    submit(decider, handle, command);
}

static void decider_commit(void *decider, uint32_t attempt, uint32_t handle, uint64_t epoch)
{
    (void)attempt;
    submit(decider, handle, (struct command){ .type = COMMIT, .epoch = epoch });
}

static void decider_renew(void *decider, uint32_t attempt, uint32_t handle)
{
    (void)attempt;
    round_expect_renewal(&((struct sim_decider *)decider)->round, handle);
    submit(decider, handle, (struct command){ .type = TAKE_OVER });
}

static void decider_discard(void *decider, uint32_t attempt)
{
    abandon_all(decider);
    post_simply(decider, WEIR_DECIDER_DISCARDED, attempt);
}

static void decider_finish(void *opaque, uint32_t attempt)
{
    struct sim_decider *decider = opaque;
    take_all_over(decider, attempt, is_exactly_once(decider) ? decider->options.ring_size : 1, WEIR_DECIDER_FINISHED);
}

const struct weir_decider_type weir_kafka_decider_type = {
    .size = sizeof(struct weir_decider_type),
    .kind = "kafka",
    .needs_prepared_frame = true,
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
