#include "transaction.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "failures.h"

enum {
    SLICE_MS = 20,           /* longest call without serving events */
    WAITING_WRITERS_MS = 5,  /* between two looks whether there is room again */
    INIT_SLICE_MS_MIN = 5,
    INIT_SLICE_MS_MAX = 500, /* librdkafka's own back-off */
    INIT_PATIENCE_MS = 10000,
    WARM_MS = 1000,
    ANCHORS_MS = 5000,
    GROUP_OFFSETS_MS = 5000,
};

enum command_type { TAKE_OVER, BEGIN, FLUSH, OFFSETS, COMMIT, ANNOUNCE };

struct command {
    struct command *next;
    enum command_type type;
    uint32_t index; /* of the answer */
    uint64_t epoch;
    bool anchors;
    bool warm;
    char *key, *value; /* of the ledger record; NULL = null */
    size_t key_size, value_size;
    rd_kafka_topic_partition_list_t *positions;
};

struct transaction {
    struct transaction_options options;
    char id[TRANSACTION_ID_SIZE];
    int wake; /* eventfd: commands, events of the handle, waiting writers */
    _Atomic bool abandoned;

    pthread_mutex_t mutex; /* guards what follows */
    uint32_t references;   /* owner and thread */
    struct command *first;
    struct command **last;
    struct handle *handle; /* written by the thread */
    uint64_t epoch;
    bool open;

    /* Thread only. */
    uint32_t index;               /* of the command */
    struct handle *ledger_handle; /* where ledger records are written: `handle`, or at-least-once one of its own */
    bool failed;
    struct command *ledger_record; /* at-least-once: written by the commit */
    rd_kafka_topic_partition_list_t *positions;
};

static bool is_abandoned(struct transaction *transaction)
{
    return atomic_load(&transaction->abandoned);
}

static bool is_exactly_once(const struct transaction *transaction)
{
    return transaction->options.context->exactly_once;
}

/* ---- Commands ------------------------------------------------------------------------------------------------------ */

static void free_command(struct command *command)
{
    if (command == NULL) return;
    if (command->positions != NULL) rd_kafka_topic_partition_list_destroy(command->positions);
    free(command->key);
    free(command->value);
    free(command);
}

static void wake(struct transaction *transaction)
{
    static const uint64_t one = 1;
    while (write(transaction->wake, &one, sizeof one) < 0 && errno == EINTR)
        ;
}

static void submit(struct transaction *transaction, struct command *command)
{
    pthread_mutex_lock(&transaction->mutex);
    command->next = NULL;
    *transaction->last = command;
    transaction->last = &command->next;
    pthread_mutex_unlock(&transaction->mutex);
    wake(transaction);
}

static struct command *take(struct transaction *transaction)
{
    pthread_mutex_lock(&transaction->mutex);
    struct command *command = transaction->first;
    if (command != NULL) {
        transaction->first = command->next;
        if (transaction->first == NULL) transaction->last = &transaction->first;
    }
    pthread_mutex_unlock(&transaction->mutex);
    return command;
}

/* ---- Answers ------------------------------------------------------------------------------------------------------- */

static void answer(struct transaction *transaction, struct weir_decider_event *event)
{
    event->attempt = transaction->options.attempt;
    event->handle = transaction->index;
    if (is_abandoned(transaction)) weir_decider_event_clear(event);
    else transaction->options.answer(transaction->options.user, event);
}

static void answer_simply(struct transaction *transaction, enum weir_decider_event_type type, uint64_t epoch)
{
    struct weir_decider_event event = { .type = type, .epoch = epoch };
    answer(transaction, &event);
}

/* The first failure counts, and silences everything after it. */
static void fail(struct transaction *transaction, const struct weir_error *error)
{
    if (transaction->failed) return;
    transaction->failed = true;
    struct weir_decider_event event = { .type = WEIR_DECIDER_FAILED, .epoch = transaction->epoch, .error = *error };
    answer(transaction, &event);
}

static struct failure describe(const struct transaction *transaction, enum failure_call call,
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
    if (transaction->handle != NULL) {
        failure.age_ms = handle_transaction_age_ms(transaction->handle);
        failure.timeout_ms = transaction->handle->transaction_timeout_ms;
    }
    return failure;
}

static void judge(struct transaction *transaction, const struct failure *failure)
{
    struct weir_error error;
    if (failure_judge(failure, &error) != FAILURE_RESUME) fail(transaction, &error);
}

/* ---- Events of the handle ------------------------------------------------------------------------------------------ */

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
        struct failure failure = describe(transaction, FAILURE_IN_DELIVERY, NULL);
        failure.reason = message->err;
        /* A fatal error of the handle fails every record; the cause is the one to tell. */
        if (message->err == RD_KAFKA_RESP_ERR__FATAL)
            failure.reason = rd_kafka_fatal_error(rk, text, sizeof text);
        kafka_split_name(subject, rd_kafka_topic_name(message->rkt), message->partition);
        failure.subject = subject;
        judge(transaction, &failure);
    }
}

static void serve_error(struct transaction *transaction, rd_kafka_t *rk, rd_kafka_event_t *event)
{
    char text[512];
    struct failure failure = describe(transaction, FAILURE_IN_BACKGROUND, NULL);
    failure.reason = rd_kafka_event_error(event);
    failure.detail = rd_kafka_event_error_string(event);
    failure.fatal = rd_kafka_event_error_is_fatal(event);
    if (failure.fatal) {
        failure.reason = rd_kafka_fatal_error(rk, text, sizeof text);
        failure.detail = text;
    }
    judge(transaction, &failure);
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

/* Takes what there is. */
static void serve_events(struct transaction *transaction)
{
    if (transaction->handle == NULL) return;
    serve_handle(transaction, transaction->handle);
    if (transaction->ledger_handle != transaction->handle) serve_handle(transaction, transaction->ledger_handle);
    handle_wake_waiters(transaction->handle, false);
}

/* Sleeps until there is something to do, `timeout_ms` at most; < 0 = no limit. */
static void nap(struct transaction *transaction, int timeout_ms)
{
    struct pollfd descriptor = { .fd = transaction->wake, .events = POLLIN };
    if (poll(&descriptor, 1, timeout_ms) <= 0) return;
    uint64_t count;
    while (read(transaction->wake, &count, sizeof count) < 0 && errno == EINTR)
        ;
}

/* ---- Calls that are resumed ---------------------------------------------------------------------------------------- */

struct call {
    enum failure_call name;
    rd_kafka_error_t *(*once)(struct transaction *transaction, struct call *call);
    int64_t patience_ms;
    int64_t slice_ms;
    const rd_kafka_topic_partition_list_t *positions;
    struct handle *handle; /* what is flushed */
};

/* A call that ends at once, to be resumed, must not make a busy loop. */
static void pause_after(struct transaction *transaction, int64_t began_ms)
{
    if (handle_now_ms() - began_ms < 2) nap(transaction, 2);
}

static bool is_overdue(struct transaction *transaction, struct call *call, int64_t began_ms,
                       const rd_kafka_error_t *reason)
{
    const int64_t waited_ms = handle_now_ms() - began_ms;
    if (waited_ms < call->patience_ms) return false;
    const struct failure failure = describe(transaction, call->name, reason);
    struct weir_error error;
    failure_overdue(&failure, waited_ms, &error);
    fail(transaction, &error);
    return true;
}

/* True when the call has succeeded. Otherwise it was answered with FAILED, or nobody wants an answer any more. */
static bool complete(struct transaction *transaction, struct call *call)
{
    const int64_t began_ms = handle_now_ms();
    for (;;) {
        const int64_t slice_began_ms = handle_now_ms();
        rd_kafka_error_t *reason = call->once(transaction, call);
        serve_events(transaction);
        if (is_abandoned(transaction) || transaction->failed) {
            rd_kafka_error_destroy(reason);
            return false;
        }
        if (reason == NULL) return true;
        const struct failure failure = describe(transaction, call->name, reason);
        judge(transaction, &failure);
        const bool goes_on = !transaction->failed && !is_overdue(transaction, call, began_ms, reason);
        rd_kafka_error_destroy(reason);
        if (!goes_on) return false;
        pause_after(transaction, slice_began_ms);
    }
}

/* ---- Taking over --------------------------------------------------------------------------------------------------- */

/* While an older transaction is being ended, the coordinator answers CONCURRENT_TRANSACTIONS, and librdkafka waits for
 * 500 ms before it asks again; but a resumed call makes it ask at once. So the slices decide how often it asks: short at
 * first, because ending usually takes milliseconds, then doubling, so as not to press a coordinator in trouble. */
static rd_kafka_error_t *init_once(struct transaction *transaction, struct call *call)
{
    const int slice_ms = (int)call->slice_ms;
    rd_kafka_error_t *reason = rd_kafka_init_transactions(transaction->handle->rk, slice_ms);
    if (reason != NULL && call->slice_ms < INIT_SLICE_MS_MAX) call->slice_ms += call->slice_ms / 4 + 1;
    return reason;
}

static void drop_handle(struct handle *handle)
{
    if (handle == NULL) return;
    handle_unwatch(handle);
    handle_abandon(handle);
    handle_wake_waiters(handle, true);
    handle_release(handle);
}

static void replace_handles(struct transaction *transaction, struct handle *handle, struct handle *ledger_handle)
{
    if (transaction->ledger_handle != transaction->handle) drop_handle(transaction->ledger_handle);
    transaction->ledger_handle = ledger_handle;
    pthread_mutex_lock(&transaction->mutex);
    struct handle *old = transaction->handle;
    transaction->handle = handle;
    transaction->open = false;
    pthread_mutex_unlock(&transaction->mutex);
    drop_handle(old);
}

static struct handle *open_handle(struct transaction *transaction)
{
    const struct handle_options options = {
        .context = transaction->options.context,
        .brokers = transaction->options.brokers,
        .transactional_id = is_exactly_once(transaction) ? transaction->id : NULL,
        .reaper = transaction->options.reaper,
        .wake_descriptor = transaction->wake,
    };
    struct handle *handle;
    struct weir_error error;
    if (handle_open(&options, &handle, &error) == WEIR_OK) return handle;
    fail(transaction, &error);
    return NULL;
}

/* At-least-once writes the ledger on a handle of its own: on the other one, records of the next epoch follow without a
 * gap, and a flush would never see its end. */
static bool open_handles(struct transaction *transaction)
{
    struct handle *handle = open_handle(transaction);
    struct handle *ledger_handle = is_exactly_once(transaction) ? handle : open_handle(transaction);
    if (handle != NULL && ledger_handle != NULL) {
        replace_handles(transaction, handle, ledger_handle);
        return true;
    }
    drop_handle(handle);
    return false;
}

/* Until one init went through with every request answered: an unanswered one could arrive later and end a transaction of
 * the handle that it was meant to prepare (R5). */
static bool init(struct transaction *transaction)
{
    const int64_t deadline_ms = handle_now_ms() + INIT_PATIENCE_MS;
    for (;;) {
        if (!open_handles(transaction)) return false;
        if (!is_exactly_once(transaction)) return true;
        struct call call = { .name = FAILURE_IN_INIT, .once = init_once, .patience_ms = INIT_PATIENCE_MS,
                             .slice_ms = INIT_SLICE_MS_MIN };
        if (!complete(transaction, &call)) return false;
        if (handle_unanswered(transaction->handle) == 0 || handle_now_ms() > deadline_ms) return true;
    }
}

static void warm(struct transaction *transaction)
{
    handle_warm_topic(transaction->ledger_handle, transaction->options.ledger_topic, WARM_MS);
    for (struct output *output = outputs_first(transaction->options.outputs); output != NULL; output = output->next) {
        if (is_abandoned(transaction)) return;
        handle_warm_topic(transaction->handle, output->name, WARM_MS);
    }
}

static void take_over(struct transaction *transaction, bool get_warm)
{
    if (!init(transaction)) return;
    if (get_warm) warm(transaction);
    answer_simply(transaction, WEIR_DECIDER_RENEWED, 0);
}

/* ---- Beginning ----------------------------------------------------------------------------------------------------- */

static bool begin(struct transaction *transaction, uint64_t epoch)
{
    handle_note_begin(transaction->handle);
    if (is_exactly_once(transaction)) {
        rd_kafka_error_t *reason = rd_kafka_begin_transaction(transaction->handle->rk);
        if (reason != NULL) {
            const struct failure failure = describe(transaction, FAILURE_IN_BEGIN, reason);
            judge(transaction, &failure);
            rd_kafka_error_destroy(reason);
            return false;
        }
    }
    pthread_mutex_lock(&transaction->mutex);
    transaction->epoch = epoch;
    transaction->open = true;
    pthread_mutex_unlock(&transaction->mutex);
    return true;
}

static void set_closed(struct transaction *transaction)
{
    pthread_mutex_lock(&transaction->mutex);
    transaction->open = false;
    pthread_mutex_unlock(&transaction->mutex);
}

/* ---- Flushing ------------------------------------------------------------------------------------------------------ */

static bool write_ledger_record(struct transaction *transaction, const struct command *command)
{
    struct handle *handle = transaction->ledger_handle;
    rd_kafka_topic_t *topic = handle_topic(handle, transaction->options.ledger_topic);
    if (topic == NULL) {
        struct weir_error error;
        weir_error_set(&error, WEIR_NO_MEMORY, WEIR_REMEDY_STOP, "ledger '%s': out of memory",
                       transaction->options.ledger_topic);
        fail(transaction, &error);
        return false;
    }
    const rd_kafka_vu_t fields[] = {
        { .vtype = RD_KAFKA_VTYPE_RKT, .u.rkt = topic },
        { .vtype = RD_KAFKA_VTYPE_PARTITION, .u.i32 = transaction->options.ledger_partition },
        { .vtype = RD_KAFKA_VTYPE_MSGFLAGS, .u.i = RD_KAFKA_MSG_F_COPY },
        { .vtype = RD_KAFKA_VTYPE_KEY, .u.mem = { command->key, command->key_size } },
        { .vtype = RD_KAFKA_VTYPE_VALUE, .u.mem = { command->value, command->value_size } },
    };
    rd_kafka_error_t *reason = rd_kafka_produceva(handle->rk, fields, sizeof fields / sizeof fields[0]);
    if (reason == NULL) return true;
    struct failure failure = describe(transaction, FAILURE_IN_PRODUCE, reason);
    failure.subject = transaction->options.ledger_topic;
    judge(transaction, &failure);
    rd_kafka_error_destroy(reason);
    return false;
}

static rd_kafka_error_t *flush_once(struct transaction *transaction, struct call *call)
{
    (void)transaction;
    const rd_kafka_resp_err_t reason = rd_kafka_flush(call->handle->rk, SLICE_MS);
    if (reason == RD_KAFKA_RESP_ERR_NO_ERROR) return NULL;
    return rd_kafka_error_new(reason, "%d records are not acknowledged", rd_kafka_outq_len(call->handle->rk));
}

/* No patience of its own: every record has a time-out, after which it is reported as failed. */
static bool flush_all(struct transaction *transaction, struct handle *handle)
{
    struct call call = { .name = FAILURE_IN_FLUSH, .once = flush_once, .patience_ms = INT64_MAX, .handle = handle };
    return complete(transaction, &call);
}

static rd_kafka_topic_partition_list_t *partitions_written(struct outputs *outputs)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(16);
    for (struct output *output = outputs_first(outputs); output != NULL; output = output->next)
        for (int32_t p = 0; p < output->partition_count; p++)
            if (atomic_load(&output->written[p]))
                rd_kafka_topic_partition_list_add(list, output->name, p)->offset = RD_KAFKA_OFFSET_SPEC_LATEST;
    return list;
}

/* Aborted and open records have offsets as well, so the end is asked for without regard to transactions. */
static rd_kafka_event_t *ask_for_ends(struct transaction *transaction, rd_kafka_topic_partition_list_t *partitions)
{
    struct handle *handle = transaction->handle;
    rd_kafka_AdminOptions_t *options = rd_kafka_AdminOptions_new(handle->rk, RD_KAFKA_ADMIN_OP_LISTOFFSETS);
    rd_kafka_queue_t *queue = rd_kafka_queue_new(handle->rk);
    rd_kafka_error_destroy(
        rd_kafka_AdminOptions_set_isolation_level(options, RD_KAFKA_ISOLATION_LEVEL_READ_UNCOMMITTED));
    rd_kafka_ListOffsets(handle->rk, partitions, options, queue);

    rd_kafka_event_t *event = NULL;
    const int64_t deadline_ms = handle_now_ms() + ANCHORS_MS;
    while (event == NULL && !is_abandoned(transaction) && handle_now_ms() < deadline_ms)
        event = rd_kafka_queue_poll(queue, SLICE_MS);
    rd_kafka_queue_destroy(queue);
    rd_kafka_AdminOptions_destroy(options);
    return event;
}

static void copy_anchors(rd_kafka_event_t *answered, struct weir_decider_event *event)
{
    const rd_kafka_ListOffsets_result_t *result = rd_kafka_event_ListOffsets_result(answered);
    size_t count = 0;
    const rd_kafka_ListOffsetsResultInfo_t **infos =
        result == NULL ? NULL : rd_kafka_ListOffsets_result_infos(result, &count);
    if (count == 0) return;
    event->anchors = calloc(count, sizeof *event->anchors);
    if (event->anchors == NULL) return;
    for (size_t i = 0; i < count; i++) {
        const rd_kafka_topic_partition_t *end = rd_kafka_ListOffsetsResultInfo_topic_partition(infos[i]);
        if (end->err != RD_KAFKA_RESP_ERR_NO_ERROR) continue;
        struct weir_anchor *anchor = &event->anchors[event->anchor_count++];
        kafka_split_name(anchor->output, end->topic, end->partition);
        anchor->end = end->offset;
    }
}

/* Anchors only make the ledger easier to verify: an epoch does without when they cannot be had. */
static void collect_anchors(struct transaction *transaction, struct weir_decider_event *event)
{
    rd_kafka_topic_partition_list_t *partitions = partitions_written(transaction->options.outputs);
    if (partitions->cnt > 0) {
        rd_kafka_event_t *answered = ask_for_ends(transaction, partitions);
        if (answered != NULL && rd_kafka_event_error(answered) == RD_KAFKA_RESP_ERR_NO_ERROR)
            copy_anchors(answered, event);
        rd_kafka_event_destroy(answered);
    }
    rd_kafka_topic_partition_list_destroy(partitions);
}

/* Takes `command` in at-least-once mode. */
static struct command *flush(struct transaction *transaction, struct command *command)
{
    const bool exactly_once = is_exactly_once(transaction);
    if (exactly_once && !write_ledger_record(transaction, command)) return command;
    if (!flush_all(transaction, transaction->handle)) return command;
    struct weir_decider_event event = { .type = WEIR_DECIDER_FLUSHED, .epoch = command->epoch };
    if (command->anchors) collect_anchors(transaction, &event);
    if (!exactly_once) {
        free_command(transaction->ledger_record);
        transaction->ledger_record = command;
        command = NULL;
    }
    answer(transaction, &event);
    return command;
}

/* ---- Positions ----------------------------------------------------------------------------------------------------- */

static rd_kafka_error_t *offsets_once(struct transaction *transaction, struct call *call)
{
    struct handle *handle = transaction->handle;
    rd_kafka_consumer_group_metadata_t *group =
        rd_kafka_consumer_group_metadata_new(transaction->options.context->job);
    rd_kafka_error_t *reason = rd_kafka_send_offsets_to_transaction(handle->rk, call->positions, group,
                                                                    (int)handle->transaction_timeout_ms);
    rd_kafka_consumer_group_metadata_destroy(group);
    return reason;
}

static void offsets(struct transaction *transaction, struct command *command)
{
    if (command->positions->cnt > 0 && is_exactly_once(transaction)) {
        struct call call = { .name = FAILURE_IN_OFFSETS, .once = offsets_once, .positions = command->positions,
                             .patience_ms = transaction->handle->transaction_timeout_ms };
        if (!complete(transaction, &call)) return;
    }
    if (!is_exactly_once(transaction)) {
        if (transaction->positions != NULL) rd_kafka_topic_partition_list_destroy(transaction->positions);
        transaction->positions = command->positions;
        command->positions = NULL;
    }
    answer_simply(transaction, WEIR_DECIDER_READY, command->epoch);
}

/* At-least-once: outside of any transaction, by the admin call, which needs no consumer. For lag tools; the ledger knows
 * better, so a failure is only told. */
static void commit_to_group(struct transaction *transaction)
{
    const struct weir_connector_context *context = transaction->options.context;
    rd_kafka_t *rk = transaction->handle->rk;
    if (transaction->positions == NULL || transaction->positions->cnt == 0) return;
    rd_kafka_AlterConsumerGroupOffsets_t *request =
        rd_kafka_AlterConsumerGroupOffsets_new(context->job, transaction->positions);
    rd_kafka_queue_t *queue = rd_kafka_queue_new(rk);
    rd_kafka_AlterConsumerGroupOffsets(rk, &request, 1, NULL, queue);
    rd_kafka_event_t *event = NULL;
    const int64_t deadline_ms = handle_now_ms() + GROUP_OFFSETS_MS;
    while (event == NULL && !is_abandoned(transaction) && handle_now_ms() < deadline_ms)
        event = rd_kafka_queue_poll(queue, SLICE_MS);
    if (event == NULL || rd_kafka_event_error(event) != RD_KAFKA_RESP_ERR_NO_ERROR)
        weir_log(context->environment, WEIR_LOG_WARN, "group '%s': positions were not committed to it: %s", context->job,
                 event == NULL ? "no answer" : rd_kafka_event_error_string(event));
    rd_kafka_event_destroy(event);
    rd_kafka_queue_destroy(queue);
    rd_kafka_AlterConsumerGroupOffsets_destroy(request);
}

/* ---- Committing ---------------------------------------------------------------------------------------------------- */

static rd_kafka_error_t *commit_once(struct transaction *transaction, struct call *call)
{
    (void)call;
    return rd_kafka_commit_transaction(transaction->handle->rk, SLICE_MS);
}

static bool commit_transaction(struct transaction *transaction)
{
    struct call call = { .name = FAILURE_IN_COMMIT, .once = commit_once,
                         .patience_ms = transaction->handle->transaction_timeout_ms };
    return complete(transaction, &call);
}

static bool commit_plainly(struct transaction *transaction)
{
    if (transaction->ledger_record != NULL && !write_ledger_record(transaction, transaction->ledger_record)) return false;
    if (!flush_all(transaction, transaction->ledger_handle)) return false;
    commit_to_group(transaction);
    return true;
}

static void commit(struct transaction *transaction, uint64_t epoch)
{
    const bool exactly_once = is_exactly_once(transaction);
    if (exactly_once ? !commit_transaction(transaction) : !commit_plainly(transaction)) return;
    if (exactly_once) set_closed(transaction);
    struct weir_decider_event event = { .type = WEIR_DECIDER_COMMITTED, .epoch = epoch };
    event.renew = exactly_once && handle_unanswered(transaction->handle) > 0;
    answer(transaction, &event);
}

static void announce(struct transaction *transaction, const struct command *command)
{
    const bool exactly_once = is_exactly_once(transaction);
    if (!begin(transaction, 0) || !write_ledger_record(transaction, command)) return;
    if (!flush_all(transaction, transaction->ledger_handle)) return;
    if (exactly_once && !commit_transaction(transaction)) return;
    set_closed(transaction);
    if (handle_unanswered(transaction->handle) > 0) {
        if (!init(transaction)) return;
        warm(transaction);
    }
    answer_simply(transaction, WEIR_DECIDER_ANNOUNCED, 0);
}

/* ---- The thread ---------------------------------------------------------------------------------------------------- */

static void execute(struct transaction *transaction, struct command *command)
{
    transaction->index = command->index;
    const bool needs_handle = command->type != TAKE_OVER;
    if (!transaction->failed && (!needs_handle || transaction->handle != NULL)) {
        switch (command->type) {
        case TAKE_OVER: take_over(transaction, command->warm); break;
        case BEGIN:
            if (begin(transaction, command->epoch)) answer_simply(transaction, WEIR_DECIDER_BEGUN, command->epoch);
            break;
        case FLUSH: command = flush(transaction, command); break;
        case OFFSETS: offsets(transaction, command); break;
        case COMMIT: commit(transaction, command->epoch); break;
        case ANNOUNCE: announce(transaction, command); break;
        }
    }
    free_command(command);
}

static void release(struct transaction *transaction)
{
    pthread_mutex_lock(&transaction->mutex);
    const bool is_last = --transaction->references == 0;
    pthread_mutex_unlock(&transaction->mutex);
    if (!is_last) return;
    close(transaction->wake);
    pthread_mutex_destroy(&transaction->mutex);
    free(transaction);
}

static void leave(struct transaction *transaction)
{
    for (struct command *command; (command = take(transaction)) != NULL;) free_command(command);
    free_command(transaction->ledger_record);
    if (transaction->positions != NULL) rd_kafka_topic_partition_list_destroy(transaction->positions);
    replace_handles(transaction, NULL, NULL);
    void (*gone)(void *) = transaction->options.gone;
    void *user = transaction->options.user;
    release(transaction);
    gone(user);
}

static void *run(void *argument)
{
    struct transaction *transaction = argument;
    while (!is_abandoned(transaction)) {
        struct command *command = take(transaction);
        if (command != NULL) {
            execute(transaction, command);
            continue;
        }
        serve_events(transaction);
        struct handle *handle = transaction->handle;
        nap(transaction, handle != NULL && handle_wake_waiters(handle, false) ? WAITING_WRITERS_MS : -1);
    }
    leave(transaction);
    return NULL;
}

/* ---- Owner --------------------------------------------------------------------------------------------------------- */

static bool start_thread(struct transaction *transaction)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    pthread_t thread;
    const bool started = pthread_create(&thread, &attributes, run, transaction) == 0;
    if (started) (void)pthread_setname_np(thread, "weir-txn");
    pthread_attr_destroy(&attributes);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return started;
}

enum weir_code transaction_start(const struct transaction_options *options, struct transaction **started,
                                 struct weir_error *error)
{
    struct transaction *transaction = calloc(1, sizeof *transaction);
    if (transaction == NULL)
        return weir_error_set(error, WEIR_NO_MEMORY, WEIR_REMEDY_STOP, "transaction '%s': out of memory", options->id);
    transaction->options = *options;
    (void)snprintf(transaction->id, sizeof transaction->id, "%s", options->id);
    transaction->options.id = transaction->id;
    transaction->references = 2;
    transaction->last = &transaction->first;
    pthread_mutex_init(&transaction->mutex, NULL);
    transaction->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (transaction->wake >= 0 && start_thread(transaction)) {
        *started = transaction;
        return WEIR_OK;
    }
    if (transaction->wake >= 0) close(transaction->wake);
    pthread_mutex_destroy(&transaction->mutex);
    free(transaction);
    return weir_error_set(error, WEIR_ENVIRONMENT, WEIR_REMEDY_STOP,
                          "transaction '%s': the system has no more threads or descriptors", options->id);
}

void transaction_abandon(struct transaction *transaction)
{
    atomic_store(&transaction->abandoned, true);
    pthread_mutex_lock(&transaction->mutex);
    if (transaction->handle != NULL) handle_abandon(transaction->handle);
    pthread_mutex_unlock(&transaction->mutex);
    wake(transaction);
    release(transaction);
}

static char *copy_bytes(struct weir_bytes bytes, size_t *size, bool *complete_copy)
{
    *size = bytes.size;
    if (!weir_is_set(bytes) || weir_is_null(bytes)) return NULL;
    char *copy = malloc(bytes.size + 1);
    if (copy == NULL) *complete_copy = false;
    else memcpy(copy, bytes.data, bytes.size);
    return copy;
}

/* Librdkafka itself ends the process when a list finds no memory; metadata is freed by the list. */
static rd_kafka_topic_partition_list_t *copy_positions(const struct weir_splits *positions, const char *metadata,
                                                       bool *complete_copy)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new((int)positions->count + 1);
    for (size_t i = 0; i < positions->count; i++) {
        char topic[KAFKA_TOPIC_SIZE];
        int32_t partition;
        const struct weir_split *split = &positions->items[i];
        if (split->position < 0 || !kafka_split_parse(split->name, topic, &partition)) continue;
        rd_kafka_topic_partition_t *row = rd_kafka_topic_partition_list_add(list, topic, partition);
        row->offset = split->position;
        row->metadata = strdup(metadata);
        row->metadata_size = strlen(metadata);
        if (row->metadata == NULL) *complete_copy = false;
    }
    return list;
}

static void fail_for_memory(struct transaction *transaction, uint64_t epoch)
{
    struct weir_decider_event event = { .type = WEIR_DECIDER_FAILED, .epoch = epoch };
    weir_error_set(&event.error, WEIR_NO_MEMORY, WEIR_REMEDY_STOP, "transaction '%s': out of memory", transaction->id);
    answer(transaction, &event);
}

static struct command *make_command(struct transaction *transaction, enum command_type type, uint32_t index,
                                    uint64_t epoch)
{
    struct command *command = calloc(1, sizeof *command);
    if (command == NULL) {
        fail_for_memory(transaction, epoch);
        return NULL;
    }
    command->type = type;
    command->index = index;
    command->epoch = epoch;
    return command;
}

static void submit_if_complete(struct transaction *transaction, struct command *command, bool complete_copy)
{
    if (complete_copy) {
        submit(transaction, command);
        return;
    }
    fail_for_memory(transaction, command->epoch);
    free_command(command);
}

void transaction_take_over(struct transaction *transaction, uint32_t index, bool get_warm)
{
    struct command *command = make_command(transaction, TAKE_OVER, index, 0);
    if (command == NULL) return;
    command->warm = get_warm;
    submit(transaction, command);
}

void transaction_begin(struct transaction *transaction, uint32_t index, uint64_t epoch)
{
    struct command *command = make_command(transaction, BEGIN, index, epoch);
    if (command != NULL) submit(transaction, command);
}

static void submit_ledger_record(struct transaction *transaction, enum command_type type, uint32_t index,
                                 uint64_t epoch, struct weir_bytes key, struct weir_bytes value, bool anchors)
{
    struct command *command = make_command(transaction, type, index, epoch);
    if (command == NULL) return;
    bool complete_copy = true;
    command->anchors = anchors;
    command->key = copy_bytes(key, &command->key_size, &complete_copy);
    command->value = copy_bytes(value, &command->value_size, &complete_copy);
    submit_if_complete(transaction, command, complete_copy);
}

void transaction_flush(struct transaction *transaction, uint32_t index, uint64_t epoch, struct weir_bytes ledger_key,
                       struct weir_bytes ledger_value, bool anchors)
{
    submit_ledger_record(transaction, FLUSH, index, epoch, ledger_key, ledger_value, anchors);
}

void transaction_announce(struct transaction *transaction, struct weir_bytes key, struct weir_bytes value)
{
    submit_ledger_record(transaction, ANNOUNCE, transaction->options.index, 0, key, value, false);
}

void transaction_offsets(struct transaction *transaction, uint32_t index, uint64_t epoch,
                         const struct weir_splits *positions, const char *metadata)
{
    struct command *command = make_command(transaction, OFFSETS, index, epoch);
    if (command == NULL) return;
    bool complete_copy = true;
    command->positions = copy_positions(positions, metadata, &complete_copy);
    submit_if_complete(transaction, command, complete_copy);
}

void transaction_commit(struct transaction *transaction, uint32_t index, uint64_t epoch)
{
    struct command *command = make_command(transaction, COMMIT, index, epoch);
    if (command != NULL) submit(transaction, command);
}

struct handle *transaction_acquire(struct transaction *transaction, uint64_t epoch)
{
    struct handle *handle = NULL;
    pthread_mutex_lock(&transaction->mutex);
    const bool is_it = transaction->open && (transaction->epoch == epoch || !is_exactly_once(transaction));
    if (is_it) {
        handle = transaction->handle;
        handle_retain(handle);
    }
    pthread_mutex_unlock(&transaction->mutex);
    return handle;
}
