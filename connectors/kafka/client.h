/* Clients of a Kafka cluster: what source, sink and ledger share.
 *
 *     weir_config ──> kafka_conf_create ──> rd_kafka_conf_t ── the caller's own settings ──> kafka_client_open
 *                                                                                                  │
 *                                        kafka_client_close (waits), or reaper.h  <────────────────┘
 *
 * The order of settings: what this connector finds fast, then kafka.NAME, then kafka.consumer.NAME or
 * kafka.producer.NAME, then what the guarantee needs, which nobody may change. Properties that would break it are
 * refused with the reason, in one table in client.c.
 *
 * Librdkafka's log lines go to weir_log. Its errors become log lines of level WARN at most, because the client goes on
 * by itself: what the job must know is returned by a call.
 *
 * A broker that refuses the client (password, certificate, mechanism) lets requests time out. The log knows why, and
 * kafka_error says so: RETRY, because that may be put right while a job waits, but with WEIR_ENVIRONMENT. */
#ifndef KAFKA_CLIENT_H
#define KAFKA_CLIENT_H

#include <librdkafka/rdkafka.h>
#include <pthread.h>

#include "weir/kafka.h"

enum kafka_role { KAFKA_CONSUMER, KAFKA_PRODUCER };
enum { KAFKA_FAILURE_SIZE = 400, KAFKA_TOPIC_SIZE = 250 };

/* A handle with what its callbacks need; lives until the handle is gone. It is the `opaque` of the configuration, so
 * every callback and interceptor that receives an opaque finds its owner through `user`. */
struct kafka_client {
    rd_kafka_t *handle;
    void *user;        /* the owner's; set before kafka_client_open */
    void (*closed)(void *user); /* called when the handle is gone and no callback runs any more; may be NULL */
    char purpose[96];  /* "source 'lines'": begins the log lines */

    pthread_mutex_t mutex; /* guards what follows; librdkafka logs from any of its threads */
    const struct weir_environment *environment; /* NULL once the owner has given the client up */
    char failure[KAFKA_FAILURE_SIZE]; /* last one that the log told of: why a broker cannot be reached */
    const char *advice;               /* what to do about it, when a broker refuses this client */
    char certificate[300];            /* what was wrong with the last one that a broker showed */
    char refused[KAFKA_TOPIC_SIZE];   /* topic that could not become part of a transaction */
};

/* The configuration of a client: `brokers` or, when NULL, kafka.bootstrap.servers, and all kafka.* keys of `context`.
 * `purpose` names the client in errors. WEIR_USAGE for what is refused or unknown. The caller owns *conf. */
enum weir_code kafka_conf_create(enum kafka_role role, const struct weir_connector_context *context,
                                 const char *brokers, const char *purpose, rd_kafka_conf_t **conf,
                                 struct weir_error *error);
/* Sets what the caller needs; the user's word does not count any more. */
enum weir_code kafka_conf_set(rd_kafka_conf_t *conf, const char *name, const char *value, struct weir_error *error);
enum weir_code kafka_conf_set_i64(rd_kafka_conf_t *conf, const char *name, int64_t value, struct weir_error *error);
/* Sets `value` unless the user has set the property (in the prefix of `role` or in common). */
enum weir_code kafka_conf_default(enum kafka_role role, const struct weir_connector_context *context,
                                  rd_kafka_conf_t *conf, const char *name, int64_t value, struct weir_error *error);

/* Whether the configuration names a cluster at all, for some client: kafka.bootstrap.servers, or what else it may be called. */
bool kafka_names_brokers(const weir_config *config);

/* Opens a handle. `conf` moves in, also on failure. Connects in the background: no broker is asked here. */
enum weir_code kafka_client_open(enum kafka_role role, rd_kafka_conf_t *conf,
                                 const struct weir_environment *environment, const char *purpose, void *user,
                                 struct kafka_client **client, struct weir_error *error);
/* A consumer that asks about groups, and reads nothing. It is a member of `context->job`'s group by name only: librdkafka
 * (2.8 to 2.12 at least) follows a null pointer when a coordinator that is still loading answers OffsetFetch to a handle
 * without a group. */
enum weir_code kafka_group_client_open(const struct weir_connector_context *context, const char *brokers,
                                       const char *purpose, void *user, struct kafka_client **client,
                                       struct weir_error *error);
/* Waits until all of the handle's threads have ended, which may take seconds. NULL is fine. */
void kafka_client_close(struct kafka_client *client);
/* The topic that a broker has refused to make part of a transaction; false when none was. Any thread. */
bool kafka_client_refused(struct kafka_client *client, char topic[KAFKA_TOPIC_SIZE]);
/* No log line of this client reaches the environment any more. Any thread. */
void kafka_client_mute(struct kafka_client *client);

/* Whether whoever waits shall give up. `cancelled` may be NULL; another thread writes it. */
static inline bool kafka_is_cancelled(const volatile bool *cancelled)
{
    return cancelled != NULL && __atomic_load_n(cancelled, __ATOMIC_RELAXED);
}

/* Waits until the cluster answers, and copies its id. Slices of 100 ms, so that *cancelled (may be NULL) is seen.
 * RETRY with the reason where `timeout_ms` passes without an answer, WEIR_FAILED when cancelled. */
enum weir_code kafka_cluster_id(struct kafka_client *client, int64_t timeout_ms, const volatile bool *cancelled,
                                char id[64], struct weir_error *error);

/* The result of an admin request: waits on `queue` for the next event, in slices, as kafka_cluster_id does. */
enum weir_code kafka_await(struct kafka_client *client, rd_kafka_queue_t *queue, int64_t timeout_ms,
                           const volatile bool *cancelled, rd_kafka_event_t **event, struct weir_error *error);

/* Turns a code of librdkafka or of a broker into an error: code, remedy, and a sentence "WHAT: why; what to do".
 * `detail` is the client's own text, or NULL. Returns error->code. */
enum weir_code kafka_error(struct weir_error *error, struct kafka_client *client, rd_kafka_resp_err_t reason,
                           const char *detail, const char *what, ...) WEIR_PRINTF(5, 6);

/* "topic/partition" and back. `topic` needs 250 bytes. False when `name` is no such thing. */
#define KAFKA_SPLIT_SIZE 264
void kafka_split_name(char name[KAFKA_SPLIT_SIZE], const char *topic, int32_t partition);
bool kafka_split_parse(const char *name, char topic[KAFKA_TOPIC_SIZE], int32_t *partition);

#endif
