/* The cluster as processes reach it: the model of Kafka behind a network that delays, loses and reorders.
 *
 *     fiber ── cluster_call ──> request ──(delay, loss)──> model ──(delay, loss)──> answer ──> fiber
 *                                  └─ lives on when the fiber gives up, or is killed: it may act much later
 *
 * Requests of one connection arrive in order. Who gives a request up leaves its connection for a new one, on which
 * requests may overtake it: so a repeated request acts first, and the original one acts on whatever it finds then.
 *
 * One cluster for the program, like the scheduler. What a request does is a function over the model, called when it
 * arrives; it may use nothing but the request. */
#ifndef SIM_CLUSTER_H
#define SIM_CLUSTER_H

#include "sim/kafka_model.h"
#include "sim/sched.h"

/* What a request is about: bad weather may be out for one kind. */
#define REQUEST_KINDS(X)                                                                                               \
    X(OTHER, "another request")                                                                                        \
    X(MIRRORS, "OffsetFetch")                                                                                          \
    X(INIT, "InitProducerId")                                                                                          \
    X(ADD_PARTITIONS, "AddPartitionsToTxn")                                                                            \
    X(PRODUCE, "Produce")                                                                                              \
    X(ADD_OFFSETS, "AddOffsetsToTxn")                                                                                  \
    X(OFFSETS, "TxnOffsetCommit")                                                                                      \
    X(END, "EndTxn")

enum request_kind {
#define REQUEST_KIND_ENUM(name, text) REQUEST_##name,
    REQUEST_KINDS(REQUEST_KIND_ENUM)
#undef REQUEST_KIND_ENUM
    REQUEST_KIND_COUNT
};
const char *request_kind_name(enum request_kind kind);

/* Chances in a million for each request. */
struct cluster_faults {
    uint32_t lose_request;
    uint32_t lose_answer;
    uint32_t delay; /* held up in the network, for delay_least_us and up to delay_us more */
    int64_t delay_least_us, delay_us;
};
struct cluster_weather {
    int64_t latency_us;       /* each way: drawn up to twice of this */
    struct cluster_faults faults[REQUEST_KIND_COUNT];
    uint32_t slow_marker;     /* a marker of a decided transaction takes up to slow_marker_us instead of milliseconds */
    int64_t slow_marker_us;
};

void cluster_begin(void);
void cluster_end(void);
struct kafka_model *cluster_model(void);
void cluster_set_weather(const struct cluster_weather *weather);
/* Nobody can be reached; requests that are under way are lost. */
void cluster_set_down(bool down);
bool cluster_is_down(void);
/* The model was changed by the world itself: plans what follows from it. */
void cluster_touched(void);

struct connection {
    int64_t last_arrival_us;
};

/* First member of each kind of request. Made by calloc, counted; `clear` frees what the rest holds. */
struct request {
    void (*act)(struct request *request, struct kafka_model *model, int64_t now_ms);
    void (*clear)(struct request *request);
    enum request_kind kind; /* OTHER, unless whoever makes it says more */
    enum model_error error; /* set by act */
    const char *topic; /* of the records that it brings; NULL = none */
    uint32_t references;
    bool is_answered;
    const bool *is_given_up; /* by who asked, and still waits; NULL = never */
    struct sched_event answered;
    struct sched_process *process;
};
/* One reference, the caller's. */
void *request_create(size_t size, void (*act)(struct request *request, struct kafka_model *model, int64_t now_ms),
                     void (*clear)(struct request *request));
void request_release(struct request *request);

enum call_result {
    CALL_ANSWERED,   /* request->error and what else it holds count */
    CALL_UNANSWERED, /* it was sent: whether it has acted, or will, nobody knows */
    CALL_NOT_SENT,   /* no connection */
};
/* Blocks the fiber. */
enum call_result cluster_call(struct connection *connection, struct request *request, int64_t timeout_us);

/* Called, by whoever sends it, for each request that is held up, and for how long. One for the program. */
void cluster_on_held(void (*held)(const struct request *request, int64_t us));
/* Called for each request that has acted; late: when nobody waited for it any more. One for the program. */
void cluster_on_acted(void (*acted)(const struct request *request, bool is_late));

struct cluster_counts {
    uint64_t requests, lost_requests, lost_answers, delayed, late[REQUEST_KIND_COUNT];
};
struct cluster_counts cluster_counts(void);

#endif
