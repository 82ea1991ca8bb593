#include <errno.h>
#include <poll.h>
#include <unistd.h>

#include "transaction_private.h"

enum { MISSING_MS = 1000 }; /* for the question whether a topic is there */

/* ---- Answers ----------------------------------------------------------------------------------------------------- */

void transaction_answer(struct transaction *transaction, struct weir_decider_event *event)
{
    event->attempt = transaction->options.attempt;
    event->handle = transaction->index;
    if (transaction_is_abandoned(transaction)) weir_decider_event_clear(event);
    else transaction->options.answer(transaction->options.user, event);
}

void transaction_answer_simply(struct transaction *transaction, enum weir_decider_event_type type, uint64_t epoch)
{
    struct weir_decider_event event = { .type = type, .epoch = epoch };
    transaction_answer(transaction, &event);
}

void transaction_fail(struct transaction *transaction, const struct weir_error *error)
{
    if (transaction->failed) return;
    transaction->failed = true;
    struct weir_decider_event event = { .type = WEIR_DECIDER_FAILED, .epoch = transaction->epoch, .error = *error };
    transaction_answer(transaction, &event);
}

struct failure transaction_describe(const struct transaction *transaction, enum failure_call call,
                               const rd_kafka_error_t *error)
{
    struct failure failure = { .call = call, .subject = transaction->id };
    if (error != NULL) {
        failure.reason = rd_kafka_error_code(error);
        failure.retriable = rd_kafka_error_is_retriable(error);
        failure.requires_abort = rd_kafka_error_txn_requires_abort(error);
        failure.fatal = rd_kafka_error_is_fatal(error);
        failure.detail = rd_kafka_error_string(error);
    }
    char unused[8];
    if (failure.reason == RD_KAFKA_RESP_ERR__FATAL && transaction->handle != NULL)
        failure.reason = rd_kafka_fatal_error(transaction->handle->rk, unused, sizeof unused); /* what it stands for */
    if (transaction->handle != NULL) {
        failure.age_ms = handle_transaction_age_ms(transaction->handle);
        failure.timeout_ms = transaction->handle->limits.transaction_timeout_ms;
        failure.is_secondary = transaction->handle->is_secondary;
    }
    return failure;
}

void transaction_judge(struct transaction *transaction, const struct failure *failure)
{
    struct weir_error error;
    if (failure_judge(failure, &error) != FAILURE_RESUME) transaction_fail(transaction, &error);
}

/* ---- Events of the handle ---------------------------------------------------------------------------------------- */

/* Records that were purged went down with something else, which is reported too. */
static bool is_purged(rd_kafka_resp_err_t reason)
{
    return reason == RD_KAFKA_RESP_ERR__PURGE_QUEUE || reason == RD_KAFKA_RESP_ERR__PURGE_INFLIGHT;
}

static void serve_reports(struct transaction *transaction, rd_kafka_t *rk, rd_kafka_event_t *event)
{
    const rd_kafka_message_t *message;
    while ((message = rd_kafka_event_message_next(event)) != NULL) {
        if (message->err == RD_KAFKA_RESP_ERR_NO_ERROR || is_purged(message->err)) continue;
        char text[512], subject[KAFKA_SPLIT_SIZE];
        struct failure failure = transaction_describe(transaction, FAILURE_IN_DELIVERY, NULL);
        failure.reason = message->err;
        /* A fatal error of the handle fails every record; the cause is the one to tell. */
        if (message->err == RD_KAFKA_RESP_ERR__FATAL)
            failure.reason = rd_kafka_fatal_error(rk, text, sizeof text);
        kafka_split_name(subject, rd_kafka_topic_name(message->rkt), message->partition);
        failure.subject = subject;
        transaction_judge(transaction, &failure);
    }
}

static void serve_error(struct transaction *transaction, rd_kafka_t *rk, rd_kafka_event_t *event)
{
    char text[512];
    struct failure failure = transaction_describe(transaction, FAILURE_IN_BACKGROUND, NULL);
    failure.reason = rd_kafka_event_error(event);
    failure.detail = rd_kafka_event_error_string(event);
    failure.fatal = rd_kafka_event_error_is_fatal(event);
    if (failure.fatal) {
        failure.reason = rd_kafka_fatal_error(rk, text, sizeof text);
        failure.detail = text;
    }
    transaction_judge(transaction, &failure);
}

static void serve_handle(struct transaction *transaction, struct handle *handle)
{
    rd_kafka_event_t *event;
    while ((event = rd_kafka_queue_poll(handle->events, 0)) != NULL) {
        if (rd_kafka_event_type(event) == RD_KAFKA_EVENT_DR) serve_reports(transaction, handle->rk, event);
        if (rd_kafka_event_type(event) == RD_KAFKA_EVENT_ERROR) serve_error(transaction, handle->rk, event);
        rd_kafka_event_destroy(event);
    }
}

void transaction_serve(struct transaction *transaction)
{
    if (transaction->handle == NULL) return;
    serve_handle(transaction, transaction->handle);
    if (transaction->ledger_handle != transaction->handle) serve_handle(transaction, transaction->ledger_handle);
    handle_wake_waiters(transaction->handle, false);
}

void transaction_nap(struct transaction *transaction, int timeout_ms)
{
    struct pollfd descriptor = { .fd = transaction->wake, .events = POLLIN };
    if (poll(&descriptor, 1, timeout_ms) <= 0) return;
    uint64_t count;
    while (read(transaction->wake, &count, sizeof count) < 0 && errno == EINTR)
        ;
}

/* ---- Calls that are resumed -------------------------------------------------------------------------------------- */

/* A call that ends at once, to be resumed, must not make a busy loop. */
static void pause_after(struct transaction *transaction, int64_t began_ms)
{
    if (handle_now_ms() - began_ms < 2) transaction_nap(transaction, 2);
}

void transaction_fail_overdue(struct transaction *transaction, enum failure_call call, const rd_kafka_error_t *reason,
                              int64_t began_ms)
{
    const struct failure failure = transaction_describe(transaction, call, reason);
    struct weir_error error;
    failure_overdue(&failure, handle_now_ms() - began_ms, &error);
    transaction_fail(transaction, &error);
}

/* Librdkafka adds partitions to the transaction in the background, so a topic that is gone, or not to be written, fails
 * whatever call comes next, and the reason does not tell whether records could not be written or positions not be
 * committed. `topic` is for the name. */
static void name_topic(struct transaction *transaction, struct failure *failure, char topic[KAFKA_TOPIC_SIZE])
{
    if (failure->reason == RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED && transaction->handle != NULL &&
        kafka_client_refused(transaction->handle->client, topic)) {
        failure->call = FAILURE_IN_DELIVERY;
        failure->subject = topic;
    }
    struct handle *handle = transaction->handle;
    const char *missing = NULL;
    if (failure->reason != RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART) return;
    for (struct output *output = outputs_first(transaction->options.outputs); output != NULL && missing == NULL;
         output = output->next)
        if (handle_misses_topic(handle, output->name, MISSING_MS)) missing = output->name;
    if (missing == NULL && handle_misses_topic(handle, transaction->options.ledger_topic, MISSING_MS))
        missing = transaction->options.ledger_topic;
    if (missing == NULL) return;
    failure->call = FAILURE_IN_DELIVERY;
    failure->subject = missing;
}

bool transaction_complete(struct transaction *transaction, struct transaction_call *call)
{
    const int64_t began_ms = handle_now_ms();
    for (;;) {
        const int64_t slice_began_ms = handle_now_ms();
        rd_kafka_error_t *reason = call->once(transaction, call);
        transaction_serve(transaction);
        if (transaction_is_abandoned(transaction) || transaction->failed) {
            rd_kafka_error_destroy(reason);
            return false;
        }
        if (reason == NULL) return true;
        struct failure failure = transaction_describe(transaction, call->name, reason);
        char topic[KAFKA_TOPIC_SIZE];
        name_topic(transaction, &failure, topic);
        transaction_judge(transaction, &failure);
        if (handle_now_ms() - began_ms >= call->patience_ms)
            transaction_fail_overdue(transaction, call->name, reason, began_ms);
        rd_kafka_error_destroy(reason);
        if (transaction->failed) return false;
        pause_after(transaction, slice_began_ms);
    }
}

