#include "handle.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "topics.h"

/* Keys of the protocol's requests (Kafka protocol guide, "API keys"). */
enum request {
    REQUEST_INIT_PRODUCER_ID = 22,
    REQUEST_ADD_PARTITIONS_TO_TXN = 24,
    REQUEST_ADD_OFFSETS_TO_TXN = 25,
    REQUEST_END_TXN = 26,
    REQUEST_TXN_OFFSET_COMMIT = 28,
};

struct handle_topic {
    struct handle_topic *next;
    rd_kafka_topic_t *topic;
    char name[KAFKA_TOPIC_SIZE];
};

int64_t handle_now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_BOOTTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* ---- Interceptors: broker threads -------------------------------------------------------------------------------- */

static bool is_transactional(int16_t request)
{
    return request == REQUEST_INIT_PRODUCER_ID || request == REQUEST_ADD_PARTITIONS_TO_TXN ||
           request == REQUEST_ADD_OFFSETS_TO_TXN || request == REQUEST_END_TXN || request == REQUEST_TXN_OFFSET_COMMIT;
}

/* The brokers' time-out runs from the first request that puts something into a transaction. */
static bool opens_transaction(int16_t request)
{
    return request == REQUEST_ADD_PARTITIONS_TO_TXN || request == REQUEST_ADD_OFFSETS_TO_TXN;
}

static rd_kafka_resp_err_t on_request_sent(rd_kafka_t *rk, int socket, const char *broker, int32_t broker_id,
                                           int16_t request, int16_t version, int32_t correlation, size_t size,
                                           void *opaque)
{
    (void)rk, (void)socket, (void)broker, (void)broker_id, (void)version, (void)correlation, (void)size;
    struct handle *handle = opaque;
    int64_t none = 0;
    if (opens_transaction(request)) atomic_compare_exchange_strong(&handle->began_ms, &none, handle_now_ms());
    return RD_KAFKA_RESP_ERR_NO_ERROR;
}

/* Also called, with an error, for a request that got no answer. */
static rd_kafka_resp_err_t on_response_received(rd_kafka_t *rk, int socket, const char *broker, int32_t broker_id,
                                                int16_t request, int16_t version, int32_t correlation, size_t size,
                                                int64_t round_trip, rd_kafka_resp_err_t reason, void *opaque)
{
    (void)rk, (void)socket, (void)broker, (void)broker_id, (void)version, (void)correlation, (void)size;
    (void)round_trip;
    struct handle *handle = opaque;
    const bool is_answer = reason == RD_KAFKA_RESP_ERR_NO_ERROR || reason == RD_KAFKA_RESP_ERR__DESTROY;
    if (is_transactional(request) && !is_answer) atomic_fetch_add(&handle->unanswered, 1);
    return RD_KAFKA_RESP_ERR_NO_ERROR;
}

static rd_kafka_resp_err_t on_new(rd_kafka_t *rk, const rd_kafka_conf_t *conf, void *opaque, char *text, size_t size)
{
    (void)conf, (void)text, (void)size;
    const rd_kafka_resp_err_t reason = rd_kafka_interceptor_add_on_request_sent(rk, "weir", on_request_sent, opaque);
    if (reason != RD_KAFKA_RESP_ERR_NO_ERROR) return reason;
    return rd_kafka_interceptor_add_on_response_received(rk, "weir", on_response_received, opaque);
}

/* ---- Configuration ----------------------------------------------------------------------------------------------- */

enum { TRANSACTION_TIMEOUT_MS = 60000, RECORDS_MAX = 100000, KBYTES_MAX = 65536 };
/* A request carries what came in the meantime. A flush does not wait for it, and nobody sees a record of a transaction
 * before the flush, so there it may be long. It had better be: while a request is on its way, librdkafka polls without
 * a pause once a record behind it is older than this (a tenth of a copying job's processor time with 2 ms). */
enum { LINGER_MS = 2, LINGER_IN_TRANSACTION_MS = 20 };

static int64_t conf_i64(const rd_kafka_conf_t *conf, const char *name)
{
    char text[32];
    size_t size = sizeof text;
    if (rd_kafka_conf_get(conf, name, text, &size) != RD_KAFKA_CONF_OK) return 0;
    return strtoll(text, NULL, 10);
}

static enum weir_code set_defaults(rd_kafka_conf_t *conf, const struct weir_connector_context *context,
                                   struct weir_error *error)
{
    const struct { const char *name; int64_t value; } defaults[] = {
        { "transaction.timeout.ms", TRANSACTION_TIMEOUT_MS },
        { "linger.ms", context->exactly_once ? LINGER_IN_TRANSACTION_MS : LINGER_MS },
        { "queue.buffering.max.messages", RECORDS_MAX },
        { "queue.buffering.max.kbytes", KBYTES_MAX },
        { "batch.num.messages", 100000 }, /* batch.size is the limit */
    };
    enum weir_code code = WEIR_OK;
    for (size_t i = 0; code == WEIR_OK && i < sizeof defaults / sizeof defaults[0]; i++)
        code = kafka_conf_default(KAFKA_PRODUCER, context, conf, defaults[i].name, defaults[i].value, error);
    return code;
}

static enum weir_code set_needed(rd_kafka_conf_t *conf, const struct handle_options *options, struct weir_error *error)
{
    static const struct { const char *name, *value; } needed[] = {
        { "enable.idempotence", "true" },
        { "delivery.report.only.error", "true" }, /* reports as events, or a flush wakes every 10 ms only */
        { "queue.buffering.max.messages", "10000000" },
        { "queue.buffering.max.kbytes", "2147483647" },
    };
    enum weir_code code = WEIR_OK;
    for (size_t i = 0; code == WEIR_OK && i < sizeof needed / sizeof needed[0]; i++)
        code = kafka_conf_set(conf, needed[i].name, needed[i].value, error);
    if (code == WEIR_OK && options->transactional_id != NULL)
        code = kafka_conf_set(conf, "transactional.id", options->transactional_id, error);
    rd_kafka_conf_set_events(conf, RD_KAFKA_EVENT_DR | RD_KAFKA_EVENT_ERROR);
    return code;
}

static enum weir_code make_conf(const struct handle_options *options, struct handle *handle, const char *purpose,
                                rd_kafka_conf_t **conf, struct weir_error *error)
{
    if (kafka_conf_create(KAFKA_PRODUCER, options->context, options->brokers, purpose, conf, error) != WEIR_OK)
        return error->code;
    enum weir_code code = set_defaults(*conf, options->context, error);
    handle->limits = (struct handle_limits){
        .records_max = conf_i64(*conf, "queue.buffering.max.messages"),
        .bytes_max = conf_i64(*conf, "queue.buffering.max.kbytes") * 1024,
        .record_bytes_max = conf_i64(*conf, "message.max.bytes"),
        .transaction_timeout_ms = conf_i64(*conf, "transaction.timeout.ms"),
    };
    if (code == WEIR_OK) code = set_needed(*conf, options, error);
    if (code == WEIR_OK) {
        rd_kafka_conf_interceptor_add_on_new(*conf, "weir", on_new, handle);
        return WEIR_OK;
    }
    rd_kafka_conf_destroy(*conf);
    return weir_error_wrap(error, "%s", purpose);
}

/* ---- Life -------------------------------------------------------------------------------------------------------- */

static void free_handle(void *argument)
{
    struct handle *handle = argument;
    pthread_mutex_destroy(&handle->mutex);
    free(handle);
}

static void watch_events(struct handle *handle)
{
    static const uint64_t one = 1; /* what an eventfd takes */
    handle->events = rd_kafka_queue_get_main(handle->rk);
    if (handle->wake_descriptor < 0) return;
    rd_kafka_queue_io_event_enable(handle->events, handle->wake_descriptor, &one, sizeof one);
}

enum weir_code handle_check(const struct handle_options *options, struct handle_limits *limits,
                            struct weir_error *error)
{
    struct handle unused = { .references = 0 };
    rd_kafka_conf_t *conf;
    const enum weir_code code = make_conf(options, &unused, "producer", &conf, error);
    if (code == WEIR_OK) rd_kafka_conf_destroy(conf);
    *limits = unused.limits;
    return code;
}

enum weir_code handle_open(const struct handle_options *options, struct handle **handle, struct weir_error *error)
{
    struct handle *opened = calloc(1, sizeof *opened);
    if (opened == NULL)
        return weir_error_set(error, WEIR_NO_MEMORY, WEIR_REMEDY_STOP, "Kafka producer: out of memory");
    atomic_init(&opened->references, 1);
    opened->reaper = options->reaper;
    opened->is_secondary = options->is_secondary;
    opened->wake_descriptor = options->wake_descriptor;
    pthread_mutex_init(&opened->mutex, NULL);

    char purpose[96];
    (void)snprintf(purpose, sizeof purpose, "producer '%s'",
                   options->transactional_id != NULL ? options->transactional_id : options->context->job);
    rd_kafka_conf_t *conf;
    enum weir_code code = make_conf(options, opened, purpose, &conf, error);
    if (code == WEIR_OK)
        code = kafka_client_open(KAFKA_PRODUCER, conf, options->context->environment, purpose, opened, &opened->client,
                                 error);
    if (code != WEIR_OK) {
        free_handle(opened);
        return code;
    }
    opened->client->closed = free_handle;
    opened->rk = opened->client->handle;
    watch_events(opened);
    *handle = opened;
    return WEIR_OK;
}

void handle_retain(struct handle *handle)
{
    atomic_fetch_add(&handle->references, 1);
}

static void drop_topics(struct handle *handle)
{
    for (struct handle_topic *topic = handle->topics, *next; topic != NULL; topic = next) {
        next = topic->next;
        rd_kafka_topic_destroy(topic->topic);
        free(topic);
    }
    handle->topics = NULL;
}

void handle_release(struct handle *handle)
{
    if (handle == NULL || atomic_fetch_sub(&handle->references, 1) != 1) return;
    handle_abandon(handle);
    drop_topics(handle);
    handle_unwatch(handle);
    rd_kafka_queue_destroy(handle->events);
    kafka_reaper_take(handle->reaper, handle->client);
}

void handle_unwatch(struct handle *handle)
{
    pthread_mutex_lock(&handle->mutex);
    handle->wake_descriptor = -1;
    pthread_mutex_unlock(&handle->mutex);
    rd_kafka_queue_io_event_enable(handle->events, -1, NULL, 0);
}

void handle_abandon(struct handle *handle)
{
    kafka_client_mute(handle->client); /* what gives up late must not meet an environment that is gone */
    rd_kafka_purge(handle->rk, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT | RD_KAFKA_PURGE_F_NON_BLOCKING);
}

/* ---- Topics ------------------------------------------------------------------------------------------------------ */

static struct handle_topic *find_topic(struct handle *handle, const char *name)
{
    for (struct handle_topic *topic = handle->topics; topic != NULL; topic = topic->next)
        if (strcmp(topic->name, name) == 0) return topic;
    return NULL;
}

static struct handle_topic *add_topic(struct handle *handle, const char *name)
{
    struct handle_topic *topic = calloc(1, sizeof *topic);
    if (topic == NULL) return NULL;
    topic->topic = rd_kafka_topic_new(handle->rk, name, NULL);
    if (topic->topic == NULL) {
        free(topic);
        return NULL;
    }
    (void)snprintf(topic->name, sizeof topic->name, "%s", name);
    topic->next = handle->topics;
    handle->topics = topic;
    return topic;
}

rd_kafka_topic_t *handle_topic(struct handle *handle, const char *name)
{
    pthread_mutex_lock(&handle->mutex);
    struct handle_topic *topic = find_topic(handle, name);
    if (topic == NULL) topic = add_topic(handle, name);
    pthread_mutex_unlock(&handle->mutex);
    return topic == NULL ? NULL : topic->topic;
}

void handle_warm_topic(struct handle *handle, const char *name, int timeout_ms)
{
    rd_kafka_topic_t *topic = handle_topic(handle, name);
    const struct rd_kafka_metadata *metadata;
    if (topic == NULL) return;
    if (rd_kafka_metadata(handle->rk, 0, topic, &metadata, timeout_ms) == RD_KAFKA_RESP_ERR_NO_ERROR)
        rd_kafka_metadata_destroy(metadata);
}

bool handle_misses_topic(struct handle *handle, const char *name, int timeout_ms)
{
    const struct topics_patience patience = { .timeout_ms = timeout_ms };
    int32_t count;
    return topics_partition_count(handle->client, name, &patience, &count, NULL) == WEIR_OK && count == 0;
}

/* ---- Room -------------------------------------------------------------------------------------------------------- */

bool handle_has_room(struct handle *handle, bool low)
{
    const int64_t records = rd_kafka_outq_len(handle->rk);
    const int64_t bytes = records * atomic_load_explicit(&handle->record_bytes, memory_order_relaxed);
    const int64_t part = low ? 2 : 1;
    return records < handle->limits.records_max / part && bytes < handle->limits.bytes_max / part;
}

void handle_await_room(struct handle *handle, struct handle_waiter *waiter)
{
    pthread_mutex_lock(&handle->mutex);
    if (!waiter->waiting) {
        waiter->waiting = true;
        waiter->next = handle->waiters;
        handle->waiters = waiter;
    }
    /* The thread sleeps without a deadline while nobody waits. */
    static const uint64_t one = 1;
    if (handle->wake_descriptor >= 0 && write(handle->wake_descriptor, &one, sizeof one) < 0)
        waiter->waker.wake(waiter->waker.user);
    pthread_mutex_unlock(&handle->mutex);
}

void handle_forget(struct handle *handle, struct handle_waiter *waiter)
{
    pthread_mutex_lock(&handle->mutex);
    for (struct handle_waiter **at = &handle->waiters; *at != NULL; at = &(*at)->next) {
        if (*at != waiter) continue;
        *at = waiter->next;
        break;
    }
    waiter->waiting = false;
    pthread_mutex_unlock(&handle->mutex);
}

bool handle_wake_waiters(struct handle *handle, bool always)
{
    pthread_mutex_lock(&handle->mutex);
    if (handle->waiters != NULL && (always || handle_has_room(handle, true)))
        for (struct handle_waiter *waiter; (waiter = handle->waiters) != NULL;) {
            handle->waiters = waiter->next;
            waiter->waiting = false;
            waiter->waker.wake(waiter->waker.user);
        }
    const bool somebody_waits = handle->waiters != NULL;
    pthread_mutex_unlock(&handle->mutex);
    return somebody_waits;
}

void handle_note_record_bytes(struct handle *handle, int64_t bytes)
{
    atomic_store_explicit(&handle->record_bytes, bytes, memory_order_relaxed);
}

/* ---- The open transaction ---------------------------------------------------------------------------------------- */

void handle_note_begin(struct handle *handle)
{
    atomic_store(&handle->began_ms, 0);
}

int64_t handle_transaction_age_ms(const struct handle *handle)
{
    const int64_t began_ms = atomic_load(&handle->began_ms);
    return began_ms == 0 ? 0 : handle_now_ms() - began_ms;
}

uint32_t handle_unanswered(const struct handle *handle)
{
    return atomic_load(&handle->unanswered);
}
