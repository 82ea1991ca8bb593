#include "client.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <time.h>

enum { REPEAT_S = 10 };

#define ON_CONSUMER (1u << KAFKA_CONSUMER)
#define ON_PRODUCER (1u << KAFKA_PRODUCER)
#define ON_BOTH (ON_CONSUMER | ON_PRODUCER)

/* ---- What may not be set ----------------------------------------------------------------------------------------- */

/* `harmless` are values that change nothing, separated by '|', so that a properties file written for other consumers
 * still works. */
static const struct refusal {
    const char *property;
    const char *harmless;
    const char *reason;
} refusals[] = {
    { "enable.auto.commit", "false", "positions are committed together with the output, in its transaction" },
    { "auto.commit.enable", "false", "positions are committed together with the output, in its transaction" },
    { "auto.commit.interval.ms", "", "positions are committed together with the output, in its transaction" },
    { "enable.auto.offset.store", "false", "positions are committed together with the output, in its transaction" },
    { "auto.offset.reset", "error", "a lost position must not be replaced silently; see 'out_of_range' of the source" },
    { "isolation.level", "read_committed", "aborted records would be read; see 'isolation' of the source" },
    { "enable.partition.eof", "true", "the source needs to see the end of a partition" },
    { "group.id", "", "the consumer group of a job is named like the job (--job)" },
    { "group.instance.id", "", "partitions are assigned by the job, not by the consumer group" },
    { "allow.auto.create.topics", "false", "a misspelt topic would be created and stay empty; create it first" },
    { "transactional.id", "", "it fences older instances of the job, and is made of the job's name" },
    { "enable.idempotence", "true", "without it, repeated requests write records twice" },
    { "acks", "all|-1", "what one broker alone has seen can be lost with it" },
    { "request.required.acks", "all|-1", "what one broker alone has seen can be lost with it" },
    { "delivery.report.only.error", "true", "the sink counts on it" },
    { "partitioner", "murmur2_random", "the sink computes partitions itself, as Java's producer does" },
    { "log.queue", "false", "nobody would read that queue" },
};

/* Names from Java's clients that people try first, and that librdkafka itself does not explain. */
static const struct { const char *java, *hint; } java_names[] = {
    { "ssl.truststore.type", "ssl.ca.location is a PEM file" },
    { "ssl.keystore.type", "ssl.keystore.location is a PKCS#12 file" },
    { "max.poll.records", "see source.max-batch-records" },
    { "key.deserializer", "records are bytes here" },
    { "value.deserializer", "records are bytes here" },
    { "key.serializer", "records are bytes here" },
    { "value.serializer", "records are bytes here" },
    { "buffer.memory", "use queue.buffering.max.kbytes" },
};

static bool is_one_of(const char *value, const char *list)
{
    const size_t size = strlen(value);
    for (const char *at = list; *at != '\0';) {
        const char *end = strchrnul(at, '|');
        if ((size_t)(end - at) == size && memcmp(at, value, size) == 0) return true;
        at = *end == '|' ? end + 1 : end;
    }
    return false;
}

static enum weir_code check_allowed(const char *property, const char *value, const char *prefix,
                                    struct weir_error *error)
{
    for (size_t i = 0; i < sizeof refusals / sizeof refusals[0]; i++) {
        const struct refusal *row = &refusals[i];
        if (strcmp(property, row->property) != 0 || is_one_of(value, row->harmless)) continue;
        return weir_error_set(error, WEIR_USAGE, WEIR_REMEDY_STOP, "%s%s may not be set to '%s': %s", prefix, property,
                              value, row->reason);
    }
    return WEIR_OK;
}

static enum weir_code explain_conf_failure(rd_kafka_conf_res_t result, const char *prefix, const char *property,
                                           const char *text, struct weir_error *error)
{
    if (result != RD_KAFKA_CONF_UNKNOWN)
        return weir_error_set(error, WEIR_USAGE, WEIR_REMEDY_STOP, "%s%s: %s", prefix, property, text);
    for (size_t i = 0; i < sizeof java_names / sizeof java_names[0]; i++)
        if (strcmp(property, java_names[i].java) == 0)
            return weir_error_set(error, WEIR_USAGE, WEIR_REMEDY_STOP,
                                  "%s%s is a property of Kafka's Java clients that librdkafka does not have: %s",
                                  prefix, property, java_names[i].hint);
    return weir_error_set(error, WEIR_USAGE, WEIR_REMEDY_STOP,
                          "%s%s: librdkafka %s has no property of this name; its CONFIGURATION.md lists them", prefix,
                          property, rd_kafka_version_str());
}

static enum weir_code set(rd_kafka_conf_t *conf, const char *prefix, const char *property, const char *value,
                          struct weir_error *error)
{
    char text[512];
    const rd_kafka_conf_res_t result = rd_kafka_conf_set(conf, property, value, text, sizeof text);
    return result == RD_KAFKA_CONF_OK ? WEIR_OK : explain_conf_failure(result, prefix, property, text, error);
}

/* ---- Configuration ----------------------------------------------------------------------------------------------- */

/* What differs from librdkafka's defaults, and may be changed. */
static const struct { unsigned roles; const char *property, *value; } defaults[] = {
    { ON_BOTH, "socket.nagle.disable", "true" },
    { ON_BOTH, "socket.keepalive.enable", "true" },
    { ON_BOTH, "reconnect.backoff.ms", "50" },
    { ON_BOTH, "reconnect.backoff.max.ms", "1000" }, /* a broker that returns is found within a second, not ten */
    { ON_BOTH, "log.connection.close", "false" },    /* brokers close what is idle: no news */
    /* Metrics for the brokers' operators (KIP-714): their orderly end is what makes rd_kafka_destroy wait for a
     * second. */
    { ON_BOTH, "enable.metrics.push", "false" },
    { ON_BOTH, "log.thread.name", "false" },
    { ON_BOTH, "enable.metrics.push", "false" }, /* ending a handle would wait up to a second for a last report */
    /* Looks again whether a full queue has room; the 1000 ms of librdkafka starve a fast reader. */
    { ON_CONSUMER, "fetch.queue.backoff.ms", "2" },
    { ON_CONSUMER, "fetch.error.backoff.ms", "100" },
    { ON_CONSUMER, "check.crcs", "true" }, /* as Java does; the price is in tests/bench/README.md */
};

static const char *role_prefix(enum kafka_role role)
{
    return role == KAFKA_CONSUMER ? "kafka.consumer." : "kafka.producer.";
}

struct user_settings {
    rd_kafka_conf_t *conf;
    const char *prefix;
    enum weir_code code; /* of the first failure */
    struct weir_error *error;
};

static bool begins_with(const char *text, const char *prefix)
{
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

static void set_as_user_says(void *user, const char *property, const char *value)
{
    struct user_settings *settings = user;
    if (settings->code != WEIR_OK) return;
    if (begins_with(property, "consumer.") || begins_with(property, "producer.")) return; /* a pass of their own */
    settings->code = check_allowed(property, value, settings->prefix, settings->error);
    if (settings->code == WEIR_OK)
        settings->code = set(settings->conf, settings->prefix, property, value, settings->error);
}

static enum weir_code set_user_settings(rd_kafka_conf_t *conf, const weir_config *config, const char *prefix,
                                        struct weir_error *error)
{
    struct user_settings settings = { .conf = conf, .prefix = prefix, .error = error };
    weir_config_each(config, prefix, set_as_user_says, &settings);
    return settings.code;
}

static enum weir_code set_brokers(rd_kafka_conf_t *conf, const char *brokers, struct weir_error *error)
{
    if (brokers != NULL) return set(conf, "", "bootstrap.servers", brokers, error);
    char known[2048];
    size_t size = sizeof known;
    if (rd_kafka_conf_get(conf, "bootstrap.servers", known, &size) == RD_KAFKA_CONF_OK && size > 1) return WEIR_OK;
    return weir_error_set(error, WEIR_USAGE, WEIR_REMEDY_STOP,
                          "no Kafka cluster is named: give --brokers HOST:PORT, or set kafka.bootstrap.servers");
}

static enum weir_code fill_conf(enum kafka_role role, const struct weir_connector_context *context,
                                const char *brokers, rd_kafka_conf_t *conf, struct weir_error *error)
{
    enum weir_code code = WEIR_OK;
    for (size_t i = 0; code == WEIR_OK && i < sizeof defaults / sizeof defaults[0]; i++)
        if ((defaults[i].roles & 1u << role) != 0)
            code = set(conf, "", defaults[i].property, defaults[i].value, error);
    char client_id[80];
    (void)snprintf(client_id, sizeof client_id, "weir-%s", context->job);
    if (code == WEIR_OK) code = set(conf, "", "client.id", client_id, error);
    if (code == WEIR_OK) code = set_user_settings(conf, context->config, "kafka.", error);
    if (code == WEIR_OK) code = set_user_settings(conf, context->config, role_prefix(role), error);
    return code == WEIR_OK ? set_brokers(conf, brokers, error) : code;
}

enum weir_code kafka_conf_create(enum kafka_role role, const struct weir_connector_context *context,
                                 const char *brokers, const char *purpose, rd_kafka_conf_t **conf,
                                 struct weir_error *error)
{
    *conf = rd_kafka_conf_new();
    if (fill_conf(role, context, brokers, *conf, error) == WEIR_OK) return WEIR_OK;
    rd_kafka_conf_destroy(*conf);
    *conf = NULL;
    return weir_error_wrap(error, "%s", purpose);
}

enum weir_code kafka_conf_set(rd_kafka_conf_t *conf, const char *name, const char *value, struct weir_error *error)
{
    return set(conf, "", name, value, error);
}

enum weir_code kafka_conf_set_i64(rd_kafka_conf_t *conf, const char *name, int64_t value, struct weir_error *error)
{
    char text[24];
    (void)snprintf(text, sizeof text, "%lld", (long long)value);
    return kafka_conf_set(conf, name, text, error);
}

static bool is_set_by_user(const weir_config *config, const char *prefix, const char *name)
{
    char key[256];
    (void)snprintf(key, sizeof key, "%s%s", prefix, name);
    return weir_config_text(config, key) != NULL;
}

bool kafka_names_brokers(const weir_config *config)
{
    static const char *const keys[] = { "bootstrap.servers", "metadata.broker.list" };
    static const char *const prefixes[] = { "kafka.", "kafka.consumer.", "kafka.producer." };
    char key[64];
    for (size_t i = 0; i < sizeof keys / sizeof keys[0] * 3; i++) {
        (void)snprintf(key, sizeof key, "%s%s", prefixes[i % 3], keys[i / 3]);
        const char *brokers = weir_config_text(config, key);
        if (brokers != NULL && brokers[0] != '\0') return true;
    }
    return false;
}

enum weir_code kafka_conf_default(enum kafka_role role, const struct weir_connector_context *context,
                                  rd_kafka_conf_t *conf, const char *name, int64_t value, struct weir_error *error)
{
    if (is_set_by_user(context->config, "kafka.", name)) return WEIR_OK;
    if (is_set_by_user(context->config, role_prefix(role), name)) return WEIR_OK;
    return kafka_conf_set_i64(conf, name, value, error);
}

/* ---- The log ----------------------------------------------------------------------------------------------------- */

/* Every handle tells of every failing attempt to connect: of all of them together one is news in ten seconds. */
static bool is_repeated(const char *facility, const char *text)
{
    static _Atomic int64_t said_s = INT64_MIN / 2;
    struct timespec now;
    if (strcmp(facility, "FAIL") != 0 && strstr(text, "brokers are down") == NULL) return false;
    clock_gettime(CLOCK_MONOTONIC, &now);
    int64_t last_s = said_s;
    return now.tv_sec - last_s < REPEAT_S || !atomic_compare_exchange_strong(&said_s, &last_s, now.tv_sec);
}

static enum weir_log_level log_level(int level, const char *facility, const char *text)
{
    if (level > LOG_CRIT && is_repeated(facility, text)) return WEIR_LOG_DEBUG;
    /* What a common kafka.NAME means to one role only is no mistake. */
    if (strcmp(facility, "CONFWARN") == 0 &&
        (strstr(text, "is a producer property") != NULL || strstr(text, "is a consumer property") != NULL))
        return WEIR_LOG_DEBUG;
    /* The coordinator still ends the transaction of somebody who died: part of every start after a crash. */
    if (strcmp(facility, "GETPID") == 0 && strstr(text, "concurrent operation") != NULL) return WEIR_LOG_DEBUG;
    if (level <= LOG_WARNING) return WEIR_LOG_WARN;
    return level <= LOG_INFO ? WEIR_LOG_INFO : WEIR_LOG_DEBUG;
}

/* Why brokers refuse a client, by what librdkafka's log says: the request that waits for them only times out. The first
 * row that fits counts. */
static const struct { const char *sign, *advice; } refusals_at_login[] = {
    { "certificate verify failed",
      "kafka.ssl.ca.location must hold the authority that signed the brokers' certificates, and their names be those in "
      "kafka.bootstrap.servers" },
    { "alert bad certificate", "the brokers ask for a certificate of this client: check kafka.ssl.certificate.location "
                               "and kafka.ssl.key.location" },
    { "alert certificate required", "the brokers ask for a certificate of this client: set kafka.ssl.certificate.location "
                                    "and kafka.ssl.key.location" }, /* of TLS 1.3, where clients tell it */
    { "alert certificate", "check kafka.ssl.certificate.location and kafka.ssl.key.location" },
    { "alert unknown ca", "the brokers do not know the authority that signed kafka.ssl.certificate.location" },
    { "SASL", "check kafka.sasl.mechanism, kafka.sasl.username and kafka.sasl.password" },
    { "OAUTHBEARER", "check the kafka.sasl.oauthbearer.* settings" },
};

static const char *advice_at_login(const char *text)
{
    for (size_t i = 0; i < sizeof refusals_at_login / sizeof refusals_at_login[0]; i++)
        if (strstr(text, refusals_at_login[i].sign) != NULL) return refusals_at_login[i].advice;
    return NULL;
}

/* Partitions are added in the background, and only the log says which one was refused:
 * ADDPARTS: Failed to add partition "TOPIC" [0] to transaction: ... Caller holds the mutex. */
static void note_refused(struct kafka_client *client, const char *text)
{
    const char *name = strstr(text, "partition \"");
    if (name == NULL) return;
    name += strlen("partition \"");
    (void)snprintf(client->refused, sizeof client->refused, "%.*s", (int)strcspn(name, "\""), name);
}

bool kafka_client_refused(struct kafka_client *client, char topic[KAFKA_TOPIC_SIZE])
{
    pthread_mutex_lock(&client->mutex);
    memcpy(topic, client->refused, sizeof client->refused);
    pthread_mutex_unlock(&client->mutex);
    return topic[0] != '\0';
}

/* Caller holds the mutex. */
static void note_failure(struct kafka_client *client, const char *facility, const char *text)
{
    static const char closed[] = "the brokers close the connection without a word, as they do when "
                                 "kafka.security.protocol is not what their listener expects";
    if (strcmp(facility, "FAIL") == 0) {
        const bool is_explained = client->certificate[0] != '\0' && strstr(text, "certificate verify failed") != NULL;
        (void)snprintf(client->failure, sizeof client->failure, "%s", is_explained ? client->certificate : text);
        client->advice = advice_at_login(text);
    } else if (client->failure[0] == '\0' && strstr(text, "brokers are down") != NULL) {
        (void)snprintf(client->failure, sizeof client->failure, "%s", closed); /* all else has been told */
    } else if (strcmp(facility, "ADDPARTS") == 0) {
        note_refused(client, text);
    }
}

/* OpenSSL's numbers, which are part of its interface (X509_verify_cert_error_string in openssl/x509_vfy.h). */
static const char *certificate_trouble(int x509_error)
{
    switch (x509_error) {
    case 9: return "is not valid yet";
    case 10: return "has expired";
    case 18: case 19: case 20: case 21: return "is signed by an authority that kafka.ssl.ca.location does not hold";
    case 62: case 64: return "is not for a host of this name";
    default: return NULL;
    }
}

/* Adds words to OpenSSL's verdict, and never another verdict. Broker threads. */
static int on_certificate(rd_kafka_t *handle, const char *broker, int32_t broker_id, int *x509_error, int depth,
                          const char *certificate, size_t size, char *text, size_t text_size, void *opaque)
{
    (void)handle, (void)broker_id, (void)depth, (void)certificate, (void)size;
    struct kafka_client *client = opaque;
    if (*x509_error == 0) return 1;
    const char *trouble = certificate_trouble(*x509_error);
    pthread_mutex_lock(&client->mutex);
    if (trouble == NULL)
        (void)snprintf(client->certificate, sizeof client->certificate, "%.200s: the broker's certificate cannot be "
                       "verified (OpenSSL's error %d)", broker, *x509_error);
    else
        (void)snprintf(client->certificate, sizeof client->certificate, "%.200s: the broker's certificate %s", broker,
                       trouble);
    (void)snprintf(text, text_size, "%s", client->certificate);
    pthread_mutex_unlock(&client->mutex);
    return 0;
}

/* Any of librdkafka's threads. */
static void on_log(const rd_kafka_t *handle, int level, const char *facility, const char *text)
{
    struct kafka_client *client = rd_kafka_opaque(handle);
    if (client == NULL) return;
    pthread_mutex_lock(&client->mutex);
    note_failure(client, facility, text);
    if (client->environment != NULL)
        weir_log_about(client->environment,
                       &(struct weir_log_line){ .level = log_level(level, facility, text), .client = client->purpose },
                       "%s: %s", facility, text);
    pthread_mutex_unlock(&client->mutex);
}

/* ---- Handles ----------------------------------------------------------------------------------------------------- */

static void free_client(struct kafka_client *client)
{
    pthread_mutex_destroy(&client->mutex);
    free(client);
}

enum weir_code kafka_client_open(enum kafka_role role, rd_kafka_conf_t *conf,
                                 const struct weir_environment *environment, const char *purpose, void *user,
                                 struct kafka_client **client, struct weir_error *error)
{
    struct kafka_client *opened = calloc(1, sizeof *opened);
    if (opened == NULL) {
        rd_kafka_conf_destroy(conf);
        return weir_error_set(error, WEIR_NO_MEMORY, WEIR_REMEDY_STOP, "%s: out of memory", purpose);
    }
    opened->user = user;
    opened->environment = environment;
    (void)snprintf(opened->purpose, sizeof opened->purpose, "%s", purpose);
    pthread_mutex_init(&opened->mutex, NULL);

    rd_kafka_conf_set_opaque(conf, opened);
    rd_kafka_conf_set_log_cb(conf, on_log);
    (void)rd_kafka_conf_set_ssl_cert_verify_cb(conf, on_certificate); /* a librdkafka without TLS has no use for it */
    char text[512];
    opened->handle =
        rd_kafka_new(role == KAFKA_CONSUMER ? RD_KAFKA_CONSUMER : RD_KAFKA_PRODUCER, conf, text, sizeof text);
    if (opened->handle == NULL) {
        rd_kafka_conf_destroy(conf);
        free_client(opened);
        return weir_error_set(error, WEIR_USAGE, WEIR_REMEDY_STOP,
                              "%s: librdkafka does not accept its configuration: %s", purpose, text);
    }
    *client = opened;
    return WEIR_OK;
}

void kafka_client_mute(struct kafka_client *client)
{
    pthread_mutex_lock(&client->mutex);
    client->environment = NULL;
    pthread_mutex_unlock(&client->mutex);
}

enum weir_code kafka_group_client_open(const struct weir_connector_context *context, const char *brokers,
                                       const char *purpose, void *user, struct kafka_client **client,
                                       struct weir_error *error)
{
    rd_kafka_conf_t *conf;
    if (kafka_conf_create(KAFKA_CONSUMER, context, brokers, purpose, &conf, error) != WEIR_OK) return error->code;
    enum weir_code code = kafka_conf_set(conf, "group.id", context->job, error);
    if (code == WEIR_OK) code = kafka_conf_set(conf, "enable.auto.commit", "false", error);
    if (code == WEIR_OK)
        return kafka_client_open(KAFKA_CONSUMER, conf, context->environment, purpose, user, client, error);
    rd_kafka_conf_destroy(conf);
    return weir_error_wrap(error, "%s", purpose);
}

void kafka_client_close(struct kafka_client *client)
{
    if (client == NULL) return;
    rd_kafka_destroy_flags(client->handle, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
    if (client->closed != NULL) client->closed(client->user);
    free_client(client);
}

/* ---- Waiting ----------------------------------------------------------------------------------------------------- */

enum { SLICE_MS = 100 };

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static enum weir_code give_up(struct kafka_client *client, int64_t timeout_ms, const volatile bool *cancelled,
                              struct weir_error *error)
{
    if (kafka_is_cancelled(cancelled))
        return weir_error_set(error, WEIR_FAILED, WEIR_REMEDY_STOP, "%s: given up", client->purpose);
    char text[64];
    (void)snprintf(text, sizeof text, "no answer within %lld ms", (long long)timeout_ms);
    return kafka_error(error, client, RD_KAFKA_RESP_ERR__TIMED_OUT, text, "%s", client->purpose);
}

enum weir_code kafka_await(struct kafka_client *client, rd_kafka_queue_t *queue, int64_t timeout_ms,
                           const volatile bool *cancelled, rd_kafka_event_t **event, struct weir_error *error)
{
    const int64_t deadline = now_ms() + timeout_ms;
    do {
        *event = rd_kafka_queue_poll(queue, SLICE_MS);
        if (*event != NULL) return WEIR_OK;
    } while (now_ms() < deadline && !kafka_is_cancelled(cancelled));
    return give_up(client, timeout_ms, cancelled, error);
}

enum weir_code kafka_cluster_id(struct kafka_client *client, int64_t timeout_ms, const volatile bool *cancelled,
                                char id[64], struct weir_error *error)
{
    const int64_t deadline = now_ms() + timeout_ms;
    do {
        /* rd_kafka_clusterid only waits for metadata, and nobody may have asked for it: a handle with a group does so after
         * a second. */
        const struct rd_kafka_metadata *metadata;
        if (rd_kafka_metadata(client->handle, 0, NULL, &metadata, SLICE_MS) == RD_KAFKA_RESP_ERR_NO_ERROR)
            rd_kafka_metadata_destroy(metadata);
        char *text = rd_kafka_clusterid(client->handle, 0);
        if (text != NULL) {
            (void)snprintf(id, 64, "%s", text);
            rd_kafka_mem_free(client->handle, text);
            return WEIR_OK;
        }
    } while (now_ms() < deadline && !kafka_is_cancelled(cancelled));
    return give_up(client, timeout_ms, cancelled, error);
}

/* ---- Errors ------------------------------------------------------------------------------------------------------ */

struct error_row {
    rd_kafka_resp_err_t reason;
    enum weir_code code;
    enum weir_remedy remedy;
    const char *advice;
};

/* The code of what may be tried again is the one that the job ends with when its patience does. */
#define TRY_AGAIN(reason) { RD_KAFKA_RESP_ERR_##reason, WEIR_OUT_OF_PATIENCE, WEIR_REMEDY_RETRY, "" }
/* Another broker, or the same one a moment later, may know the user. */
#define REFUSED(reason)                                                                                                \
    { RD_KAFKA_RESP_ERR_##reason, WEIR_ENVIRONMENT, WEIR_REMEDY_RETRY, "; " CHECK_CREDENTIALS }
#define STOP(reason, advice) { RD_KAFKA_RESP_ERR_##reason, WEIR_ENVIRONMENT, WEIR_REMEDY_STOP, "; " advice }

#define CREATE_IT "create the topic, or correct its name"
#define ALLOW_TOPIC "allow this user to Read the topic where the job reads it, and to Write it where it writes"
#define ALLOW_GROUP "allow this user to Read the group that is named like the job"
#define CHECK_CREDENTIALS "check the kafka.sasl.* and kafka.ssl.* settings"
#define NEWER_BROKER "the brokers must be Apache Kafka 2.5 or newer"

static const struct error_row error_rows[] = {
    TRY_AGAIN(_TRANSPORT),
    TRY_AGAIN(_ALL_BROKERS_DOWN),
    TRY_AGAIN(_TIMED_OUT),
    TRY_AGAIN(_TIMED_OUT_QUEUE),
    TRY_AGAIN(_RESOLVE),
    TRY_AGAIN(_SSL),
    TRY_AGAIN(_WAIT_COORD),
    TRY_AGAIN(_WAIT_CACHE),
    TRY_AGAIN(_UNKNOWN_BROKER),
    TRY_AGAIN(LEADER_NOT_AVAILABLE),
    TRY_AGAIN(NOT_LEADER_FOR_PARTITION),
    TRY_AGAIN(FENCED_LEADER_EPOCH),
    TRY_AGAIN(UNKNOWN_LEADER_EPOCH),
    TRY_AGAIN(REPLICA_NOT_AVAILABLE),
    TRY_AGAIN(BROKER_NOT_AVAILABLE),
    TRY_AGAIN(NETWORK_EXCEPTION),
    TRY_AGAIN(REQUEST_TIMED_OUT),
    TRY_AGAIN(COORDINATOR_LOAD_IN_PROGRESS),
    TRY_AGAIN(COORDINATOR_NOT_AVAILABLE),
    TRY_AGAIN(NOT_COORDINATOR),
    TRY_AGAIN(NOT_CONTROLLER),
    TRY_AGAIN(NOT_ENOUGH_REPLICAS),
    TRY_AGAIN(NOT_ENOUGH_REPLICAS_AFTER_APPEND),
    TRY_AGAIN(KAFKA_STORAGE_ERROR),
    TRY_AGAIN(OFFSET_NOT_AVAILABLE),
    TRY_AGAIN(UNSTABLE_OFFSET_COMMIT),
    TRY_AGAIN(THROTTLING_QUOTA_EXCEEDED),
    STOP(UNKNOWN_TOPIC_OR_PART, CREATE_IT),
    STOP(_UNKNOWN_TOPIC, CREATE_IT),
    STOP(_UNKNOWN_PARTITION, CREATE_IT),
    STOP(TOPIC_EXCEPTION, CREATE_IT),
    STOP(TOPIC_AUTHORIZATION_FAILED, ALLOW_TOPIC),
    STOP(GROUP_AUTHORIZATION_FAILED, ALLOW_GROUP),
    STOP(CLUSTER_AUTHORIZATION_FAILED, "allow this user to do so on the cluster"),
    STOP(TRANSACTIONAL_ID_AUTHORIZATION_FAILED, "allow this user to Write the transactional ids that begin with the job's name"),
    REFUSED(_AUTHENTICATION),
    REFUSED(SASL_AUTHENTICATION_FAILED),
    STOP(UNSUPPORTED_SASL_MECHANISM, CHECK_CREDENTIALS),
    STOP(ILLEGAL_SASL_STATE, CHECK_CREDENTIALS),
    STOP(UNSUPPORTED_VERSION, NEWER_BROKER),
    STOP(_UNSUPPORTED_FEATURE, NEWER_BROKER),
    STOP(_CRIT_SYS_RESOURCE, "the system has no more threads, memory or file descriptors for this user"),
};

static const struct error_row *row_of(rd_kafka_resp_err_t reason)
{
    static const struct error_row others = { RD_KAFKA_RESP_ERR_UNKNOWN, WEIR_FAILED, WEIR_REMEDY_REPLAY, "" };
    for (size_t i = 0; i < sizeof error_rows / sizeof error_rows[0]; i++)
        if (error_rows[i].reason == reason) return &error_rows[i];
    return &others;
}

/* Why there is no answer: the log knows more than the request that timed out. Returns what to do about it; NULL = wait. */
static const char *copy_failure(struct kafka_client *client, char text[KAFKA_FAILURE_SIZE])
{
    text[0] = '\0';
    if (client == NULL) return NULL;
    pthread_mutex_lock(&client->mutex);
    memcpy(text, client->failure, sizeof client->failure);
    const char *advice = client->advice;
    pthread_mutex_unlock(&client->mutex);
    return advice;
}

enum weir_code kafka_error(struct weir_error *error, struct kafka_client *client, rd_kafka_resp_err_t reason,
                           const char *detail, const char *what, ...)
{
    const struct error_row *row = row_of(reason);
    char subject[300], failure[KAFKA_FAILURE_SIZE] = "";
    const char *login = NULL;
    va_list arguments;
    va_start(arguments, what);
    (void)vsnprintf(subject, sizeof subject, what, arguments);
    va_end(arguments);
    if (row->remedy == WEIR_REMEDY_RETRY) login = copy_failure(client, failure);
    /* Who is refused tries again, because users are made and passwords changed while a job waits; but it is no broker that
     * patience has run out with. */
    return weir_error_set(error, login != NULL ? WEIR_ENVIRONMENT : row->code, row->remedy, "%s: %s%s%s%s%s%s", subject,
                          detail != NULL ? detail : rd_kafka_err2str(reason),
                          failure[0] != '\0' ? "; last failure: " : "", failure, row->advice,
                          login != NULL ? "; " : "", login != NULL ? login : "");
}

/* ---- Names ------------------------------------------------------------------------------------------------------- */

void kafka_split_name(char name[KAFKA_SPLIT_SIZE], const char *topic, int32_t partition)
{
    (void)snprintf(name, KAFKA_SPLIT_SIZE, "%s/%d", topic, (int)partition);
}

/* Topic names have no '/'. */
bool kafka_split_parse(const char *name, char topic[KAFKA_TOPIC_SIZE], int32_t *partition)
{
    const char *slash = strchr(name, '/');
    if (slash == NULL || slash == name || (size_t)(slash - name) >= KAFKA_TOPIC_SIZE) return false;
    int64_t number;
    if (!weir_bytes_to_i64(weir_text(slash + 1), &number) || number < 0 || number > INT32_MAX) return false;
    memcpy(topic, name, (size_t)(slash - name));
    topic[slash - name] = '\0';
    *partition = (int32_t)number;
    return true;
}
