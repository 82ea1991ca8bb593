#include "sim/producer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "sim/connector.h"

enum {
    RETRY_US = 20000,
    INIT_PATIENCE_US = 10000000,
    RECORD_PATIENCE_US = 30000000,
    BATCH_RECORDS = 40,
    WAITING_MAX = 32,
};

struct queued {
    struct queued *next;
    struct model_record record; /* keeps its contents */
};

/* A partition that was written to since the producer was opened. */
struct lane {
    struct lane *next;
    char topic[SIM_TOPIC_SIZE];
    int32_t partition;
    int32_t sequence; /* of the next batch */
    bool is_added;    /* to the open transaction */
    struct queued *first, **last;
};

struct producer {
    struct producer_options options;
    char id[160];
    uint32_t references;
    struct model_producer identity;
    struct connection coordinator, leader;
    struct lane *lanes;
    size_t queued;
    bool has_offsets, is_abandoned, has_failed;
    int64_t began_ms; /* first request of the open transaction; 0 = none */
    uint32_t unanswered;
    struct weir_error failure;
    struct sched_event work, progress;
    struct weir_waker waiting[WAITING_MAX]; /* writers */
    size_t waiting_count;
    struct thread sender;
};

static int64_t now_ms(void) { return sched_now_us() / 1000; }

/* ---- Life -------------------------------------------------------------------------------------------------------- */

static void run_sender(void *argument);

struct producer *producer_open(const struct producer_options *options)
{
    struct producer *producer = calloc(1, sizeof *producer);
    CHECK(producer != NULL);
    producer->options = *options;
    (void)snprintf(producer->id, sizeof producer->id, "%s", options->transactional_id);
    producer->options.transactional_id = producer->id;
    producer->references = 2; /* the caller's, and the sender's */
    const bool started = thread_start(&producer->sender, "sender", run_sender, producer);
    CHECK(started);
    return producer;
}

void producer_retain(struct producer *producer) { producer->references++; }

static void free_records(struct queued *first)
{
    for (struct queued *queued = first, *next; queued != NULL; queued = next) {
        next = queued->next;
        model_record_drop(&queued->record);
        free(queued);
    }
}

void producer_release(struct producer *producer)
{
    if (producer == NULL || --producer->references > 0) return;
    for (struct lane *lane = producer->lanes, *next; lane != NULL; lane = next) {
        next = lane->next;
        free_records(lane->first);
        free(lane);
    }
    free(producer);
}

void producer_abandon(struct producer *producer)
{
    producer->is_abandoned = true;
    sched_signal(&producer->work);
    sched_signal(&producer->progress);
}

uint32_t producer_unanswered(const struct producer *producer) { return producer->unanswered; }
size_t producer_queued(const struct producer *producer) { return producer->queued; }
struct sched_event *producer_event(struct producer *producer) { return &producer->progress; }

bool producer_failed(struct producer *producer, struct weir_error *error)
{
    if (producer->has_failed) *error = producer->failure;
    return producer->has_failed;
}

void producer_await_room(struct producer *producer, struct weir_waker waker)
{
    for (size_t i = 0; i < producer->waiting_count; i++)
        if (producer->waiting[i].user == waker.user) return;
    CHECK(producer->waiting_count < WAITING_MAX);
    producer->waiting[producer->waiting_count++] = waker;
}

void producer_wait_no_more(struct producer *producer, struct weir_waker waker)
{
    for (size_t i = 0; producer != NULL && i < producer->waiting_count; i++) {
        if (producer->waiting[i].user != waker.user) continue;
        producer->waiting[i] = producer->waiting[--producer->waiting_count];
        waker.wake(waker.user);
        return;
    }
}

static void wake_waiting(struct producer *producer)
{
    for (size_t i = 0; i < producer->waiting_count; i++) producer->waiting[i].wake(producer->waiting[i].user);
    producer->waiting_count = 0;
}

/* ---- Requests ---------------------------------------------------------------------------------------------------- */

struct transaction_request {
    struct request base;
    char id[160];
    struct model_producer identity;
    int64_t timeout_ms;
    bool commit;
    char topic[SIM_TOPIC_SIZE];
    int32_t partition;
    char group[80];
    size_t offset_count;
    struct model_offset *offsets; /* names and metadata owned */
    int32_t sequence;
    size_t record_count;
    struct model_record *records; /* owned */
    struct model_producer answer;
};

static char *copy_text(const char *text)
{
    char *copy = strdup(text);
    CHECK(copy != NULL);
    return copy;
}

static void clear_request(struct request *base)
{
    struct transaction_request *request = (struct transaction_request *)base;
    for (size_t i = 0; i < request->offset_count; i++) {
        free((void *)(uintptr_t)request->offsets[i].topic);
        free((void *)(uintptr_t)request->offsets[i].metadata);
    }
    free(request->offsets);
    for (size_t i = 0; i < request->record_count; i++) model_record_drop(&request->records[i]);
    free(request->records);
}

static const char *id_of(const struct transaction_request *request)
{
    return request->id[0] == '\0' ? NULL : request->id;
}

static void act_init(struct request *base, struct kafka_model *model, int64_t at_ms)
{
    struct transaction_request *request = (struct transaction_request *)base;
    base->error = model_init_producer_id(model, at_ms, id_of(request), request->timeout_ms, &request->answer);
}

static void act_add_partition(struct request *base, struct kafka_model *model, int64_t at_ms)
{
    struct transaction_request *request = (struct transaction_request *)base;
    const struct model_place place = { request->topic, request->partition };
    base->error = model_add_partitions(model, at_ms, request->id, request->identity, &place, 1);
}

static void act_produce(struct request *base, struct kafka_model *model, int64_t at_ms)
{
    struct transaction_request *request = (struct transaction_request *)base;
    const struct model_place place = { request->topic, request->partition };
    int64_t offset;
    base->error = model_produce(model, at_ms, id_of(request), request->identity, request->sequence, &place,
                                request->records, request->record_count, &offset);
}

static void act_add_offsets(struct request *base, struct kafka_model *model, int64_t at_ms)
{
    struct transaction_request *request = (struct transaction_request *)base;
    base->error = model_add_offsets(model, at_ms, request->id, request->identity, request->group);
}

static void act_offsets(struct request *base, struct kafka_model *model, int64_t at_ms)
{
    struct transaction_request *request = (struct transaction_request *)base;
    base->error = model_txn_offset_commit(model, at_ms, request->id, request->identity, request->group,
                                          request->offsets, request->offset_count);
}

static void act_offsets_at_once(struct request *base, struct kafka_model *model, int64_t at_ms)
{
    (void)at_ms;
    struct transaction_request *request = (struct transaction_request *)base;
    base->error = model_offset_commit(model, request->group, request->offsets, request->offset_count);
}

static void act_end(struct request *base, struct kafka_model *model, int64_t at_ms)
{
    struct transaction_request *request = (struct transaction_request *)base;
    base->error = model_end_txn(model, at_ms, request->id, request->identity, request->commit);
}

static struct transaction_request *make(const struct producer *producer, enum request_kind kind,
                                        void (*act)(struct request *, struct kafka_model *, int64_t))
{
    struct transaction_request *request = request_create(sizeof *request, act, clear_request);
    request->base.kind = kind;
    memcpy(request->id, producer->id, sizeof request->id);
    request->identity = producer->identity;
    request->timeout_ms = producer->options.transaction_timeout_ms;
    request->commit = true;
    return request;
}

/* ---- Calls ------------------------------------------------------------------------------------------------------- */

/* One request that is repeated until it is answered for good. */
struct call {
    enum failure_call name;
    int64_t patience_us;
    struct connection *connection;
    bool is_transactional; /* of the transaction protocol (R5) */
    struct transaction_request *(*make)(const struct producer *producer, const void *arguments);
    const void *arguments;
    const char *subject; /* NULL = the transactional id */
};

static struct failure describe(const struct producer *producer, const struct call *call, enum model_error reason)
{
    return (struct failure){
        .call = call->name,
        .reason = (rd_kafka_resp_err_t)reason,
        .fatal = reason == MODEL_INVALID_PRODUCER_EPOCH || reason == MODEL_PRODUCER_FENCED,
        .requires_abort = reason != MODEL_OK,
        .is_secondary = producer->options.is_secondary,
        .detail = model_error_name(reason),
        .subject = call->subject != NULL ? call->subject : producer->id,
        .age_ms = producer->began_ms == 0 ? 0 : now_ms() - producer->began_ms,
        .timeout_ms = producer->options.transaction_timeout_ms,
    };
}

static bool may_pass(enum model_error reason)
{
    return reason == MODEL_CONCURRENT_TRANSACTIONS || reason == MODEL_COORDINATOR_LOADING ||
           reason == MODEL_NOT_COORDINATOR || reason == MODEL_NOT_ENOUGH_REPLICAS;
}

/* True when answered OK; `*answer` is the request then, to be released. */
static bool perform(struct producer *producer, const struct call *call, struct transaction_request **answer,
                    struct weir_error *error)
{
    const int64_t began_us = sched_now_us();
    enum model_error reason = MODEL_OK;
    while (!producer->is_abandoned) {
        struct transaction_request *request = call->make(producer, call->arguments);
        request->base.is_given_up = &producer->is_abandoned;
        const enum call_result result =
            cluster_call(call->connection, &request->base, producer->options.request_timeout_us);
        if (result == CALL_UNANSWERED && call->is_transactional) producer->unanswered++;
        reason = result == CALL_ANSWERED ? request->base.error : MODEL_NOT_COORDINATOR;
        if (producer->is_abandoned) {
            request_release(&request->base);
            break;
        }
        if (result == CALL_ANSWERED && reason == MODEL_OK) {
            *answer = request;
            return true;
        }
        request_release(&request->base);
        const struct failure failure = describe(producer, call, reason);
        if (!may_pass(reason)) {
            CHECK(failure_judge(&failure, error) != FAILURE_RESUME);
            return false;
        }
        if (sched_now_us() - began_us > call->patience_us) {
            (void)failure_overdue(&failure, (sched_now_us() - began_us) / 1000, error);
            return false;
        }
        sched_pause((int64_t)sched_random_below(RETRY_US));
    }
    weir_error_set(error, WEIR_FAILED, WEIR_REMEDY_REPLAY, "given up");
    return false;
}

static bool perform_only(struct producer *producer, const struct call *call, struct weir_error *error)
{
    struct transaction_request *answer;
    if (!perform(producer, call, &answer, error)) return false;
    request_release(&answer->base);
    return true;
}

static struct transaction_request *make_init(const struct producer *producer, const void *unused)
{
    (void)unused;
    return make(producer, REQUEST_INIT, act_init);
}

bool producer_init(struct producer *producer, struct weir_error *error)
{
    const struct call call = { .name = FAILURE_IN_INIT, .patience_us = INIT_PATIENCE_US,
                               .connection = &producer->coordinator, .is_transactional = true, .make = make_init };
    struct transaction_request *answer;
    if (!perform(producer, &call, &answer, error)) return false;
    producer->identity = answer->answer;
    request_release(&answer->base);
    return true;
}

void producer_begin(struct producer *producer)
{
    producer->has_offsets = false;
    producer->began_ms = 0;
    for (struct lane *lane = producer->lanes; lane != NULL; lane = lane->next) lane->is_added = false;
}

static void note_request(struct producer *producer)
{
    if (producer->began_ms == 0) producer->began_ms = now_ms();
}

/* ---- Records ----------------------------------------------------------------------------------------------------- */

static struct lane *lane_of(struct producer *producer, const char *topic, int32_t partition)
{
    for (struct lane *lane = producer->lanes; lane != NULL; lane = lane->next)
        if (lane->partition == partition && strcmp(lane->topic, topic) == 0) return lane;
    struct lane *lane = calloc(1, sizeof *lane);
    CHECK(lane != NULL);
    (void)snprintf(lane->topic, sizeof lane->topic, "%s", topic);
    lane->partition = partition;
    lane->last = &lane->first;
    lane->next = producer->lanes;
    producer->lanes = lane;
    return lane;
}

void producer_send(struct producer *producer, const char *topic, int32_t partition, const struct model_record *record)
{
    struct queued *queued = calloc(1, sizeof *queued);
    CHECK(queued != NULL);
    queued->record = *record;
    model_record_keep(&queued->record);
    struct lane *lane = lane_of(producer, topic, partition);
    *lane->last = queued;
    lane->last = &queued->next;
    producer->queued++;
    sched_signal(&producer->work);
}

static struct transaction_request *make_add(const struct producer *producer, const void *arguments)
{
    const struct lane *lane = arguments;
    struct transaction_request *request = make(producer, REQUEST_ADD_PARTITIONS, act_add_partition);
    memcpy(request->topic, lane->topic, sizeof request->topic);
    request->partition = lane->partition;
    return request;
}

/* Records of one lane. What comes in later is not among them: a repeated batch is the same again. */
struct batch {
    const struct lane *lane;
    struct queued *first;
    size_t count;
};

static struct batch cut_batch(struct lane *lane)
{
    struct batch batch = { .lane = lane, .first = lane->first };
    struct queued **end = &batch.first;
    for (; *end != NULL && batch.count < BATCH_RECORDS; batch.count++) end = &(*end)->next;
    lane->first = *end;
    if (lane->first == NULL) lane->last = &lane->first;
    *end = NULL;
    return batch;
}

static struct transaction_request *make_batch(const struct producer *producer, const void *arguments)
{
    const struct batch *batch = arguments;
    struct transaction_request *request = make(producer, REQUEST_PRODUCE, act_produce);
    memcpy(request->topic, batch->lane->topic, sizeof request->topic);
    request->base.topic = request->topic;
    request->partition = batch->lane->partition;
    request->sequence = batch->lane->sequence;
    request->records = calloc(batch->count, sizeof *request->records);
    CHECK(request->records != NULL);
    for (const struct queued *queued = batch->first; queued != NULL; queued = queued->next) {
        struct model_record *record = &request->records[request->record_count++];
        *record = queued->record;
        model_record_keep(record);
    }
    return request;
}

static bool add_lane(struct producer *producer, struct lane *lane, const char *subject, struct weir_error *error)
{
    const struct call call = { .name = FAILURE_IN_DELIVERY, .patience_us = RECORD_PATIENCE_US,
                               .connection = &producer->coordinator, .is_transactional = true, .make = make_add,
                               .arguments = lane, .subject = subject };
    note_request(producer);
    lane->is_added = perform_only(producer, &call, error);
    return lane->is_added;
}

static bool send_batch(struct producer *producer, struct lane *lane, struct weir_error *error)
{
    char subject[SIM_SPLIT_SIZE];
    sim_split_name(subject, lane->topic, lane->partition);
    if (producer->id[0] != '\0' && !lane->is_added && !add_lane(producer, lane, subject, error)) return false;
    const struct batch batch = cut_batch(lane);
    const struct call call = { .name = FAILURE_IN_DELIVERY, .patience_us = RECORD_PATIENCE_US,
                               .connection = &producer->leader, .make = make_batch, .arguments = &batch,
                               .subject = subject };
    const bool sent = perform_only(producer, &call, error);
    if (sent) lane->sequence += (int32_t)batch.count;
    producer->queued -= batch.count;
    free_records(batch.first);
    return sent;
}

static struct lane *lane_with_records(struct producer *producer)
{
    for (struct lane *lane = producer->lanes; lane != NULL; lane = lane->next)
        if (lane->first != NULL) return lane;
    return NULL;
}

static void run_sender(void *argument)
{
    struct producer *producer = argument;
    while (!producer->is_abandoned && !producer->has_failed) {
        struct lane *lane = lane_with_records(producer);
        struct weir_error error;
        if (lane == NULL) {
            (void)sched_wait(&producer->work, -1);
        } else if (!send_batch(producer, lane, &error)) {
            producer->failure = error;
            producer->has_failed = true;
        }
        wake_waiting(producer);
        sched_signal(&producer->progress);
    }
    producer_release(producer);
}

/* ---- The end of a transaction ------------------------------------------------------------------------------------ */

bool producer_flush(struct producer *producer, struct weir_error *error)
{
    while (producer->queued > 0 && !producer->has_failed && !producer->is_abandoned)
        (void)sched_wait(&producer->progress, -1);
    if (producer_failed(producer, error)) return false;
    return !producer->is_abandoned;
}

struct offsets_arguments {
    const char *group;
    const struct weir_splits *positions;
    const char *metadata;
};

static struct transaction_request *make_add_offsets(const struct producer *producer, const void *arguments)
{
    struct transaction_request *request = make(producer, REQUEST_ADD_OFFSETS, act_add_offsets);
    (void)snprintf(request->group, sizeof request->group, "%s", ((const struct offsets_arguments *)arguments)->group);
    return request;
}

static struct transaction_request *make_offsets(const struct producer *producer, const void *arguments)
{
    const struct offsets_arguments *from = arguments;
    struct transaction_request *request = make(producer, REQUEST_OFFSETS, act_offsets);
    (void)snprintf(request->group, sizeof request->group, "%s", from->group);
    request->offsets = calloc(from->positions->count + 1, sizeof *request->offsets);
    CHECK(request->offsets != NULL);
    for (size_t i = 0; i < from->positions->count; i++) {
        const struct weir_split *split = &from->positions->items[i];
        char topic[SIM_TOPIC_SIZE];
        int32_t partition;
        CHECK(sim_split_parse(split->name, topic, &partition));
        request->offsets[request->offset_count++] =
            (struct model_offset){ .topic = copy_text(topic), .partition = partition, .offset = split->position,
                                   .metadata = copy_text(from->metadata) };
    }
    return request;
}

bool producer_offsets(struct producer *producer, const char *group, const struct weir_splits *positions,
                      const char *metadata, struct weir_error *error)
{
    const struct offsets_arguments arguments = { group, positions, metadata };
    struct call call = { .name = FAILURE_IN_OFFSETS, .patience_us = producer->options.transaction_timeout_ms * 1000,
                         .connection = &producer->coordinator, .is_transactional = true, .make = make_add_offsets,
                         .arguments = &arguments };
    if (positions->count == 0) return true;
    note_request(producer);
    if (!producer->has_offsets && !perform_only(producer, &call, error)) return false;
    producer->has_offsets = true;
    call.make = make_offsets;
    call.connection = &producer->leader;
    return perform_only(producer, &call, error);
}

static struct transaction_request *make_offsets_at_once(const struct producer *producer, const void *arguments)
{
    struct transaction_request *request = make_offsets(producer, arguments);
    request->base.act = act_offsets_at_once;
    return request;
}

bool producer_offsets_at_once(struct producer *producer, const char *group, const struct weir_splits *positions,
                              const char *metadata, struct weir_error *error)
{
    const struct offsets_arguments arguments = { group, positions, metadata };
    const struct call call = { .name = FAILURE_IN_OFFSETS, .patience_us = producer->options.request_timeout_us,
                               .connection = &producer->leader, .make = make_offsets_at_once, .arguments = &arguments,
                               .subject = group };
    return positions->count == 0 || perform_only(producer, &call, error);
}

static struct transaction_request *make_end(const struct producer *producer, const void *unused)
{
    (void)unused;
    return make(producer, REQUEST_END, act_end);
}

bool producer_commit(struct producer *producer, struct weir_error *error)
{
    const struct call call = { .name = FAILURE_IN_COMMIT,
                               .patience_us = producer->options.transaction_timeout_ms * 1000,
                               .connection = &producer->coordinator, .is_transactional = true, .make = make_end };
    if (!perform_only(producer, &call, error)) return false;
    producer->began_ms = 0;
    return true;
}
