#include <stdlib.h>

#include "transaction_private.h"

enum {
    INIT_SLICE_MS_MIN = 5,
    INIT_SLICE_MS_MAX = 500, /* librdkafka's own back-off */
    INIT_PATIENCE_MS = 10000,
    COMMIT_SLICE_MS = 5000,
    WARM_MS = 1000,
    ANCHORS_MS = 5000,
    GROUP_OFFSETS_MS = 5000,
};

/* ---- Taking over ------------------------------------------------------------------------------------------------- */

/* While an older transaction is being ended, the coordinator answers CONCURRENT_TRANSACTIONS, and librdkafka waits for
 * 500 ms before it asks again; but a resumed call makes it ask at once. So the slices decide how often it asks: short
 * at first, because ending usually takes milliseconds, then doubling, so as not to press a coordinator in trouble. */
static rd_kafka_error_t *init_once(struct transaction *transaction, struct transaction_call *call)
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
        .transactional_id = transaction_is_exactly_once(transaction) ? transaction->id : NULL,
        .is_secondary = transaction->options.index > 0,
        .reaper = transaction->options.reaper,
        .wake_descriptor = transaction->wake,
    };
    struct handle *handle;
    struct weir_error error;
    if (handle_open(&options, &handle, &error) == WEIR_OK) return handle;
    transaction_fail(transaction, &error);
    return NULL;
}

/* At-least-once writes the ledger on a handle of its own: on the other one, records of the next epoch follow without a
 * gap, and a flush would never see its end. */
static bool open_handles(struct transaction *transaction)
{
    struct handle *handle = open_handle(transaction);
    struct handle *ledger_handle = transaction_is_exactly_once(transaction) ? handle : open_handle(transaction);
    if (handle != NULL && ledger_handle != NULL) {
        replace_handles(transaction, handle, ledger_handle);
        return true;
    }
    drop_handle(handle);
    return false;
}

void transaction_drop_handles(struct transaction *transaction)
{
    replace_handles(transaction, NULL, NULL);
}

/* Until one init went through with every request answered: an unanswered one could arrive later and end a transaction
 * of the handle that it was meant to prepare (R5). */
static bool init(struct transaction *transaction)
{
    const int64_t began_ms = handle_now_ms();
    while (handle_now_ms() - began_ms <= INIT_PATIENCE_MS) {
        if (!open_handles(transaction)) return false;
        if (!transaction_is_exactly_once(transaction)) return true;
        struct transaction_call call = { .name = FAILURE_IN_INIT, .once = init_once, .patience_ms = INIT_PATIENCE_MS,
                                         .slice_ms = INIT_SLICE_MS_MIN };
        if (!transaction_complete(transaction, &call)) return false;
        if (handle_unanswered(transaction->handle) == 0) return true;
    }
    transaction_fail_overdue(transaction, FAILURE_IN_INIT, NULL, began_ms);
    return false;
}

static void warm(struct transaction *transaction)
{
    handle_warm_topic(transaction->ledger_handle, transaction->options.ledger_topic, WARM_MS);
    for (struct output *output = outputs_first(transaction->options.outputs); output != NULL; output = output->next) {
        if (transaction_is_abandoned(transaction)) return;
        handle_warm_topic(transaction->handle, output->name, WARM_MS);
    }
}

static void take_over(struct transaction *transaction, bool get_warm)
{
    if (!init(transaction)) return;
    if (get_warm) warm(transaction);
    transaction_answer_simply(transaction, WEIR_DECIDER_RENEWED, 0);
}

/* ---- Beginning --------------------------------------------------------------------------------------------------- */

static bool begin(struct transaction *transaction, uint64_t epoch)
{
    handle_note_begin(transaction->handle);
    if (transaction_is_exactly_once(transaction)) {
        rd_kafka_error_t *reason = rd_kafka_begin_transaction(transaction->handle->rk);
        if (reason != NULL) {
            const struct failure failure = transaction_describe(transaction, FAILURE_IN_BEGIN, reason);
            transaction_judge(transaction, &failure);
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

/* ---- Flushing ---------------------------------------------------------------------------------------------------- */

static bool write_ledger_record(struct transaction *transaction, const struct transaction_command *command)
{
    struct handle *handle = transaction->ledger_handle;
    rd_kafka_topic_t *topic = handle_topic(handle, transaction->options.ledger_topic);
    if (topic == NULL) {
        struct weir_error error;
        weir_error_set(&error, WEIR_NO_MEMORY, WEIR_REMEDY_STOP, "ledger '%s': out of memory",
                       transaction->options.ledger_topic);
        transaction_fail(transaction, &error);
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
    struct failure failure = transaction_describe(transaction, FAILURE_IN_PRODUCE, reason);
    failure.subject = transaction->options.ledger_topic;
    transaction_judge(transaction, &failure);
    rd_kafka_error_destroy(reason);
    return false;
}

static rd_kafka_error_t *flush_once(struct transaction *transaction, struct transaction_call *call)
{
    (void)transaction;
    const rd_kafka_resp_err_t reason = rd_kafka_flush(call->handle->rk, TRANSACTION_SLICE_MS);
    if (reason == RD_KAFKA_RESP_ERR_NO_ERROR) return NULL;
    return rd_kafka_error_new(reason, "%d records are not acknowledged", rd_kafka_outq_len(call->handle->rk));
}

/* No patience of its own: every record has a time-out, after which it is reported as failed. */
static bool flush_all(struct transaction *transaction, struct handle *handle)
{
    struct transaction_call call = { .name = FAILURE_IN_FLUSH, .once = flush_once, .patience_ms = INT64_MAX,
                                     .handle = handle };
    return transaction_complete(transaction, &call);
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
    while (event == NULL && !transaction_is_abandoned(transaction) && handle_now_ms() < deadline_ms)
        event = rd_kafka_queue_poll(queue, TRANSACTION_SLICE_MS);
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
static struct transaction_command *flush(struct transaction *transaction, struct transaction_command *command)
{
    const bool exactly_once = transaction_is_exactly_once(transaction);
    if (exactly_once && !write_ledger_record(transaction, command)) return command;
    if (!flush_all(transaction, transaction->handle)) return command;
    struct weir_decider_event event = { .type = WEIR_DECIDER_FLUSHED, .epoch = command->epoch };
    if (command->anchors) collect_anchors(transaction, &event);
    if (!exactly_once) {
        transaction_free_command(transaction->ledger_record);
        transaction->ledger_record = command;
        command = NULL;
    }
    transaction_answer(transaction, &event);
    return command;
}

/* ---- Positions --------------------------------------------------------------------------------------------------- */

static rd_kafka_error_t *offsets_once(struct transaction *transaction, struct transaction_call *call)
{
    struct handle *handle = transaction->handle;
    rd_kafka_consumer_group_metadata_t *group =
        rd_kafka_consumer_group_metadata_new(transaction->options.context->job);
    rd_kafka_error_t *reason = rd_kafka_send_offsets_to_transaction(handle->rk, call->positions, group,
                                                                    (int)handle->limits.transaction_timeout_ms);
    rd_kafka_consumer_group_metadata_destroy(group);
    return reason;
}

static void offsets(struct transaction *transaction, struct transaction_command *command)
{
    if (command->positions->cnt > 0 && transaction_is_exactly_once(transaction)) {
        struct transaction_call call = { .name = FAILURE_IN_OFFSETS, .once = offsets_once,
                                         .patience_ms = transaction->handle->limits.transaction_timeout_ms,
                                         .positions = command->positions };
        if (!transaction_complete(transaction, &call)) return;
    }
    if (!transaction_is_exactly_once(transaction)) {
        if (transaction->positions != NULL) rd_kafka_topic_partition_list_destroy(transaction->positions);
        transaction->positions = command->positions;
        command->positions = NULL;
    }
    transaction_answer_simply(transaction, WEIR_DECIDER_READY, command->epoch);
}

/* At-least-once: outside of any transaction, by the admin call, which needs no consumer. For lag tools; the ledger
 * knows better, so a failure is only told. */
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
    while (event == NULL && !transaction_is_abandoned(transaction) && handle_now_ms() < deadline_ms)
        event = rd_kafka_queue_poll(queue, TRANSACTION_SLICE_MS);
    if (event == NULL || rd_kafka_event_error(event) != RD_KAFKA_RESP_ERR_NO_ERROR)
        weir_log_about(context->environment,
                       &(struct weir_log_line){ .level = WEIR_LOG_WARN, .transaction = transaction->id },
                       "group '%s': positions were not committed to it: %s", context->job,
                       event == NULL ? "no answer" : rd_kafka_event_error_string(event));
    rd_kafka_event_destroy(event);
    rd_kafka_queue_destroy(queue);
    rd_kafka_AlterConsumerGroupOffsets_destroy(request);
}

/* ---- Committing -------------------------------------------------------------------------------------------------- */

/* Everything is flushed: no event has to be served meanwhile. Short slices would be deadly: a resumed call whose first step
 * is not done in time, because librdkafka's main thread was kept waiting, forgets its name, and if the broker's answer
 * comes before the next call, librdkafka takes it for that of an abort and ends the process by an assertion. */
static rd_kafka_error_t *commit_once(struct transaction *transaction, struct transaction_call *call)
{
    (void)call;
    return rd_kafka_commit_transaction(transaction->handle->rk, COMMIT_SLICE_MS);
}

static bool commit_transaction(struct transaction *transaction)
{
    struct transaction_call call = { .name = FAILURE_IN_COMMIT, .once = commit_once,
                         .patience_ms = transaction->handle->limits.transaction_timeout_ms };
    return transaction_complete(transaction, &call);
}

static bool commit_plainly(struct transaction *transaction)
{
    const struct transaction_command *record = transaction->ledger_record;
    if (record != NULL && !write_ledger_record(transaction, record)) return false;
    if (!flush_all(transaction, transaction->ledger_handle)) return false;
    commit_to_group(transaction);
    return true;
}

static void commit(struct transaction *transaction, uint64_t epoch)
{
    const bool exactly_once = transaction_is_exactly_once(transaction);
    if (exactly_once ? !commit_transaction(transaction) : !commit_plainly(transaction)) return;
    if (exactly_once) set_closed(transaction);
    struct weir_decider_event event = { .type = WEIR_DECIDER_COMMITTED, .epoch = epoch };
    event.renew = exactly_once && handle_unanswered(transaction->handle) > 0;
    transaction_answer(transaction, &event);
}

/* What was not answered may come late, so the handle has to be made anew (R5). But nothing was committed since the fence by
 * which another start could be noticed: it may have taken all ids over meanwhile, and gone on. So everything is looked at
 * once more (tests/spin, R5_LOOK). */
static void fail_to_look_again(struct transaction *transaction)
{
    struct weir_error error;
    weir_error_set(&error, WEIR_FAILED, WEIR_REMEDY_REPLAY,
                   "transaction '%s': the brokers did not answer at once when this start was announced; looking again",
                   transaction->id);
    transaction_fail(transaction, &error);
}

static void announce(struct transaction *transaction, const struct transaction_command *command)
{
    const bool exactly_once = transaction_is_exactly_once(transaction);
    if (!begin(transaction, 0) || !write_ledger_record(transaction, command)) return;
    if (!flush_all(transaction, transaction->ledger_handle)) return;
    if (exactly_once && !commit_transaction(transaction)) return;
    set_closed(transaction);
    if (exactly_once && handle_unanswered(transaction->handle) > 0) fail_to_look_again(transaction);
    else transaction_answer_simply(transaction, WEIR_DECIDER_ANNOUNCED, 0);
}

/* ---- Any of them ------------------------------------------------------------------------------------------------- */

void transaction_execute(struct transaction *transaction, struct transaction_command *command)
{
    transaction->index = command->index;
    const bool needs_handle = command->type != TAKE_OVER;
    if (!transaction->failed && (!needs_handle || transaction->handle != NULL)) {
        switch (command->type) {
        case TAKE_OVER: take_over(transaction, command->warm); break;
        case BEGIN:
            if (begin(transaction, command->epoch))
                transaction_answer_simply(transaction, WEIR_DECIDER_BEGUN, command->epoch);
            break;
        case FLUSH: command = flush(transaction, command); break;
        case OFFSETS: offsets(transaction, command); break;
        case COMMIT: commit(transaction, command->epoch); break;
        case ANNOUNCE: announce(transaction, command); break;
        }
    }
    transaction_free_command(command);
}

