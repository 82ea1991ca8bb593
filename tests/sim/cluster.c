#include "sim/cluster.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "sim/fate.h"

enum { REFUSED_US = 20000, MARKER_US = 4000 };

static struct {
    struct kafka_model *model;
    struct cluster_weather weather;
    bool is_down;
    size_t markers_planned;
    int64_t tick_ms; /* when the next look at time-outs is planned */
    void (*acted)(const struct request *request, bool is_late);
    void (*held)(const struct request *request, int64_t us);
    struct cluster_counts counts;
} cluster;

static int64_t now_ms(void) { return sched_now_us() / 1000; }

void cluster_begin(void)
{
    memset(&cluster, 0, sizeof cluster);
    cluster.model = model_create();
    CHECK(cluster.model != NULL);
    cluster.weather.latency_us = 200;
    cluster.tick_ms = INT64_MAX;
}

void cluster_end(void)
{
    model_destroy(cluster.model);
    cluster.model = NULL;
}

const char *request_kind_name(enum request_kind kind)
{
    static const char *const names[] = {
#define REQUEST_KIND_NAME(name, text) text,
        REQUEST_KINDS(REQUEST_KIND_NAME)
#undef REQUEST_KIND_NAME
    };
    return names[kind];
}

void cluster_on_acted(void (*acted)(const struct request *request, bool is_late)) { cluster.acted = acted; }
void cluster_on_held(void (*held)(const struct request *request, int64_t us)) { cluster.held = held; }
struct kafka_model *cluster_model(void) { return cluster.model; }
void cluster_set_weather(const struct cluster_weather *weather) { cluster.weather = *weather; }
void cluster_set_down(bool down) { cluster.is_down = down; }
bool cluster_is_down(void) { return cluster.is_down; }
struct cluster_counts cluster_counts(void) { return cluster.counts; }

/* ---- What the cluster does on its own ---------------------------------------------------------------------------- */

static void write_marker(void *unused)
{
    (void)unused;
    cluster.markers_planned--;
    const size_t pending = model_markers_pending(cluster.model);
    if (pending > 0) model_write_marker(cluster.model, sched_random_below(pending), now_ms());
    cluster_touched();
}

static void tick(void *unused)
{
    (void)unused;
    if (now_ms() >= cluster.tick_ms) cluster.tick_ms = INT64_MAX;
    model_tick(cluster.model, now_ms());
    cluster_touched();
}

void cluster_touched(void)
{
    while (cluster.markers_planned < model_markers_pending(cluster.model)) {
        const bool slow = sched_chance(cluster.weather.slow_marker);
        const int64_t delay_us = (int64_t)sched_random_below((uint64_t)(slow ? cluster.weather.slow_marker_us : MARKER_US));
        cluster.markers_planned++;
        sched_at(sched_now_us() + delay_us, NULL, write_marker, NULL);
    }
    const int64_t next_ms = model_next_timeout_ms(cluster.model);
    if (next_ms >= cluster.tick_ms) return;
    cluster.tick_ms = next_ms;
    sched_at((next_ms + 1) * 1000, NULL, tick, NULL);
}

/* ---- Requests ---------------------------------------------------------------------------------------------------- */

void *request_create(size_t size, void (*act)(struct request *request, struct kafka_model *model, int64_t now_ms),
                     void (*clear)(struct request *request))
{
    struct request *request = calloc(1, size);
    CHECK(request != NULL);
    request->act = act;
    request->clear = clear;
    request->references = 1;
    return request;
}

void request_release(struct request *request)
{
    if (--request->references > 0) return;
    if (request->clear != NULL) request->clear(request);
    free(request);
}

static const struct cluster_faults *faults_of(const struct request *request)
{
    return &cluster.weather.faults[request->kind];
}

static const char *sender_of(const struct request *request)
{
    return request->process == NULL ? "nobody" : sched_process_name(request->process);
}

static int64_t travel_us(void)
{
    return 1 + (int64_t)sched_random_below((uint64_t)cluster.weather.latency_us * 2);
}

static void answer(void *argument)
{
    struct request *request = argument;
    request->is_answered = true;
    sched_signal(&request->answered);
    request_release(request);
}

static void arrive(void *argument)
{
    struct request *request = argument;
    if (cluster.is_down) {
        cluster.counts.lost_requests++;
        request_release(request);
        return;
    }
    const bool is_late = request->references == 1 || sched_was_killed(request->process);
    cluster.counts.late[request->kind] += is_late;
    request->act(request, cluster.model, now_ms());
    cluster_touched();
    if (cluster.acted != NULL) cluster.acted(request, is_late);
    if (sched_chance(faults_of(request)->lose_answer) &&
        fate_strikes(FATE_requests, "the answer to %s of %s is lost", request_kind_name(request->kind),
                     sender_of(request))) {
        cluster.counts.lost_answers++;
        request_release(request);
        return;
    }
    sched_at(sched_now_us() + travel_us(), request->process, answer, request);
}

static void send(struct connection *connection, struct request *request)
{
    const struct cluster_faults *faults = faults_of(request);
    int64_t at_us = sched_now_us() + travel_us();
    cluster.counts.requests++;
    request->process = sched_current();
    if (sched_chance(faults->delay)) {
        const int64_t held_us = faults->delay_least_us + (int64_t)sched_random_below((uint64_t)faults->delay_us + 1);
        if (fate_strikes(FATE_requests, "%s of %s is held up for %.1f ms", request_kind_name(request->kind),
                         sender_of(request), (double)held_us / 1000.0)) {
            cluster.counts.delayed++;
            at_us += held_us;
            if (cluster.held != NULL) cluster.held(request, held_us);
        }
    }
    if (at_us <= connection->last_arrival_us) at_us = connection->last_arrival_us + 1;
    connection->last_arrival_us = at_us;
    if (sched_chance(faults->lose_request) &&
        fate_strikes(FATE_requests, "%s of %s is lost", request_kind_name(request->kind), sender_of(request))) {
        cluster.counts.lost_requests++;
        return;
    }
    request->references++;
    sched_at(at_us, NULL, arrive, request);
}

enum call_result cluster_call(struct connection *connection, struct request *request, int64_t timeout_us)
{
    if (cluster.is_down) {
        sched_pause((int64_t)sched_random_below(REFUSED_US));
        return CALL_NOT_SENT;
    }
    send(connection, request);
    const int64_t until_us = sched_now_us() + timeout_us;
    while (!request->is_answered && sched_now_us() < until_us)
        (void)sched_wait(&request->answered, until_us - sched_now_us());
    if (request->is_answered) return CALL_ANSWERED;
    connection->last_arrival_us = 0; /* a new connection */
    return CALL_UNANSWERED;
}
