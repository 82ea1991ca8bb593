/* One producer handle: what a transaction thread commands and sink writers write to.
 *
 *   transaction thread ── init, flush, commit ──┐
 *   writers (task threads) ── produce ──────────┤──> struct handle ──> librdkafka
 *   broker threads ── requests, answers ────────┘         │ last reference gone
 *                                                         └──> reaper ──> freed
 *
 * Counted references, because nobody can tell a writer at once that its handle is being given up: it goes on writing
 * into a transaction that will never be committed until its task ends, and the handle must last that long.
 *
 * Unanswered requests (R5): a request of the transaction protocol that got no answer may still reach the broker, after
 * a newer transaction has begun. Interceptors on the broker threads count those, so that the handle is renewed before
 * it is used again. A request that was answered, with an error too, is not such a one. */
#ifndef KAFKA_HANDLE_H
#define KAFKA_HANDLE_H

#include <stdatomic.h>

#include "client.h"
#include "reaper.h"

struct handle_options {
    const struct weir_connector_context *context;
    const char *brokers;          /* NULL = as configured */
    const char *transactional_id; /* NULL = a plain idempotent producer */
    bool is_secondary;            /* not the first of its ring */
    struct kafka_reaper *reaper;  /* must outlive the handle */
    int wake_descriptor;          /* an eventfd that is written when `events` becomes readable; -1 = none */
};

/* What writers may have queued in one handle before they must wait: kafka.producer.queue.buffering.max.messages and
 * .kbytes mean this. Librdkafka's own limits are out of reach, so that a record which was counted is never refused. */
struct handle_limits {
    int64_t records_max;
    int64_t bytes_max;
    int64_t record_bytes_max; /* message.max.bytes: of one record with all that goes with it */
    int64_t transaction_timeout_ms;
};

struct handle_topic; /* a topic as this handle knows it */

/* Somebody who waits for room; embedded in a writer. */
struct handle_waiter {
    struct handle_waiter *next;
    struct weir_waker waker;
    bool waiting;
};

struct handle {
    rd_kafka_t *rk;
    rd_kafka_queue_t *events; /* delivery failures and errors; must be served all the time */
    struct handle_limits limits;
    bool is_secondary;

    /* Private to handle.c. */
    struct kafka_client *client;
    struct kafka_reaper *reaper;
    _Atomic uint32_t references;
    _Atomic uint32_t unanswered;
    _Atomic int64_t began_ms;
    _Atomic int64_t record_bytes; /* of the usual record, as writers report it */
    int wake_descriptor;
    pthread_mutex_t mutex; /* guards what follows */
    struct handle_topic *topics;
    struct handle_waiter *waiters;
};

/* WEIR_USAGE for settings that are refused, else what they mean. No broker is asked. */
enum weir_code handle_check(const struct handle_options *options, struct handle_limits *limits,
                            struct weir_error *error);
enum weir_code handle_open(const struct handle_options *options, struct handle **handle, struct weir_error *error);
void handle_retain(struct handle *handle);
/* Any thread; NULL is fine. The last one sends the handle to the reaper. */
void handle_release(struct handle *handle);
/* Nothing of what is queued shall be sent any more, and nothing logged; does not wait. Any thread. */
void handle_abandon(struct handle *handle);
/* The wake descriptor is not written any more. Whoever gave it. */
void handle_unwatch(struct handle *handle);

/* Borrowed: lives as long as the handle. NULL when librdkafka has no memory. Any thread. */
rd_kafka_topic_t *handle_topic(struct handle *handle, const char *name);
/* Asks for the metadata of `name` and waits for it, so that the first records need not. Errors are left for the records
 * to find. */
void handle_warm_topic(struct handle *handle, const char *name, int timeout_ms);
/* Whether the cluster says that there is no such topic; false when it does not answer in time. */
bool handle_misses_topic(struct handle *handle, const char *name, int timeout_ms);

/* Whether a writer may queue more; cheap enough for every few hundred records. `low` asks for the mark at which waiting
 * writers are woken, half of the limit. Any thread. */
bool handle_has_room(struct handle *handle, bool low);
/* The waker of `waiter` is called once, when there is room again or the handle is given up. Any thread. */
void handle_await_room(struct handle *handle, struct handle_waiter *waiter);
/* Does nothing when it is not waiting; the waker is not called after this. Any thread. */
void handle_forget(struct handle *handle, struct handle_waiter *waiter);
/* Wakes those who wait, when there is room or `always`. False when nobody waits any more. Transaction thread. */
bool handle_wake_waiters(struct handle *handle, bool always);
/* The mean size of the records that a writer has queued lately. */
void handle_note_record_bytes(struct handle *handle, int64_t bytes);

/* A transaction begins: nothing of it was sent yet. Transaction thread. */
void handle_note_begin(struct handle *handle);
/* How long the brokers may know of the open transaction; 0 = they do not. */
int64_t handle_transaction_age_ms(const struct handle *handle);
/* Requests of the transaction protocol that ended without an answer, since the handle was opened. */
uint32_t handle_unanswered(const struct handle *handle);

/* Milliseconds on a clock that also runs while the machine sleeps, as the brokers' clocks do (R7). */
int64_t handle_now_ms(void);

#endif
