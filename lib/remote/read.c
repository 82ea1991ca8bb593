#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "remote/json.h"
#include "remote/routes.h"

/* Flink's words. */
static const char *state_of(const struct weir_remote *remote, const struct weir_job_status *status)
{
    struct weir_failure failure;
    if (remote->job == NULL) return "RESTARTING";
    if (status->running) return "RUNNING";
    return weir_job_failure_at(remote->job, 0, &failure) ? "RESTARTING" : "INITIALIZING";
}

static struct weir_job_status status_of(const struct weir_remote *remote)
{
    struct weir_job_status status = { .size = sizeof status };
    if (remote->job != NULL) weir_job_status(remote->job, &status);
    return status;
}

/* ---- The server, the jobs ------------------------------------------------------------------------------------------- */

void read_overview(struct weir_remote *remote, const struct request *request, struct answer *answer)
{
    const struct weir_job_status status = status_of(remote);
    struct json json;
    json_begin(&json);
    json_object(&json, NULL);
    json_u64(&json, "taskmanagers", 1);
    json_u64(&json, "slots-total", status.parallelism);
    json_u64(&json, "slots-available", 0);
    json_u64(&json, "jobs-running", 1);
    json_u64(&json, "jobs-finished", 0);
    json_u64(&json, "jobs-cancelled", 0);
    json_u64(&json, "jobs-failed", 0);
    json_text(&json, "job", remote->name);
    json_text(&json, "program", remote->program);
    json_truth(&json, "can-write", remote->guard.write_token != NULL);
    json_truth(&json, "writes", request->right == GUARD_WRITE);
    json_end(&json);
    answer_json(answer, 200, &json);
}

void read_jobs(struct weir_remote *remote, const struct request *request, struct answer *answer)
{
    (void)request;
    const struct weir_job_status status = status_of(remote);
    struct json json;
    json_begin(&json);
    json_object(&json, NULL);
    json_array(&json, "jobs");
    json_object(&json, NULL);
    json_text(&json, "id", remote->name);
    json_text(&json, "status", state_of(remote, &status));
    json_end(&json);
    json_end(&json);
    json_end(&json);
    answer_json(answer, 200, &json);
}

static void put_job_head(const struct weir_remote *remote, const struct weir_job_status *status, struct json *json)
{
    const int64_t now = clock_wall_ms();
    json_text(json, "jid", remote->name);
    json_text(json, "name", remote->name);
    json_text(json, "state", state_of(remote, status));
    json_i64(json, "start-time", remote->started_ms);
    json_i64(json, "end-time", -1);
    json_i64(json, "duration", now - remote->started_ms);
    json_i64(json, "now", now);
}

void read_jobs_overview(struct weir_remote *remote, const struct request *request, struct answer *answer)
{
    (void)request;
    const struct weir_job_status status = status_of(remote);
    struct json json;
    json_begin(&json);
    json_object(&json, NULL);
    json_array(&json, "jobs");
    json_object(&json, NULL);
    put_job_head(remote, &status, &json);
    json_end(&json);
    json_end(&json);
    json_end(&json);
    answer_json(answer, 200, &json);
}

/* ---- The graph ------------------------------------------------------------------------------------------------------ */

static void put_operators(const weir_job *job, uint32_t vertex, struct json *json)
{
    struct weir_vertex_operator operator;
    json_array(json, "operators");
    for (uint32_t i = 0; weir_job_operator(job, vertex, i, &operator); i++) {
        json_object(json, NULL);
        json_text(json, "name", operator.name);
        json_text(json, "kind", operator.kind);
        if (operator.connector != NULL) json_text(json, "connector", operator.connector);
        json_end(json);
    }
    json_end(json);
}

static void put_rates(const struct rates_of_subtask *rates, struct json *json)
{
    json_object(json, "rates");
    json_real(json, "read-records", rates->records_in);
    json_real(json, "write-records", rates->records_out);
    json_real(json, "read-bytes", rates->bytes_in);
    json_real(json, "write-bytes", rates->bytes_out);
    json_end(json);
}

static void put_metrics(const struct weir_subtask *numbers, struct json *json)
{
    json_object(json, "metrics");
    json_u64(json, "read-bytes", numbers->bytes_in);
    json_u64(json, "write-bytes", numbers->bytes_out);
    json_u64(json, "read-records", numbers->records_in);
    json_u64(json, "write-records", numbers->records_out);
    json_u64(json, "accumulated-backpressured-time", numbers->backpressured_us / 1000);
    json_u64(json, "accumulated-idle-time", numbers->idle_us / 1000);
    json_u64(json, "accumulated-busy-time", numbers->busy_us / 1000);
    json_u64(json, "state-entries", numbers->state_entries);
    json_u64(json, "state-bytes", numbers->state_bytes);
    json_end(json);
}

static void put_ratios(const struct rates_of_subtask *rates, struct json *json)
{
    json_text(json, "backpressureLevel", rates_level(rates->backpressured));
    json_real(json, "ratio", rates->backpressured);
    json_real(json, "idleRatio", rates->idle);
    json_real(json, "busyRatio", rates->busy);
}

/* Sums of all subtasks; of the shares the highest, because the busiest one is what the others wait for. */
static void sum_up(const struct weir_remote *remote, uint32_t vertex, uint32_t parallelism, struct weir_subtask *sum,
                   struct rates_of_subtask *rates)
{
    *sum = (struct weir_subtask){ .is_running = true };
    *rates = (struct rates_of_subtask){ .idle = 1 };
    for (uint32_t i = 0; i < parallelism; i++) {
        struct weir_subtask one;
        if (!weir_job_subtask(remote->job, vertex, i, &one)) continue;
        const struct rates_of_subtask rate = rates_find(&remote->rates, vertex, i);
#define ADD(field) sum->field += one.field
        ADD(records_in), ADD(bytes_in), ADD(records_out), ADD(bytes_out), ADD(busy_us), ADD(idle_us), ADD(backpressured_us);
        ADD(state_entries), ADD(state_bytes);
#undef ADD
        sum->is_running = sum->is_running && one.is_running;
        rates->records_in += rate.records_in;
        rates->records_out += rate.records_out;
        rates->bytes_in += rate.bytes_in;
        rates->bytes_out += rate.bytes_out;
        if (rate.busy > rates->busy) rates->busy = rate.busy;
        if (rate.idle < rates->idle) rates->idle = rate.idle;
        if (rate.backpressured > rates->backpressured) rates->backpressured = rate.backpressured;
    }
}

static void put_subtasks(const struct weir_remote *remote, uint32_t vertex, struct json *json)
{
    struct weir_subtask numbers;
    json_array(json, "subtasks");
    for (uint32_t i = 0; weir_job_subtask(remote->job, vertex, i, &numbers); i++) {
        const struct rates_of_subtask rates = rates_find(&remote->rates, vertex, i);
        json_object(json, NULL);
        json_u64(json, "subtask", i);
        json_text(json, "status", numbers.is_running ? "RUNNING" : "CREATED");
        put_ratios(&rates, json);
        put_metrics(&numbers, json);
        put_rates(&rates, json);
        json_end(json);
    }
    json_end(json);
}

static void put_id(struct json *json, const char *name, uint32_t vertex)
{
    char id[16];
    (void)snprintf(id, sizeof id, "%u", vertex);
    json_text(json, name, id);
}

static void put_vertex(const struct weir_remote *remote, uint32_t index, const struct weir_vertex *vertex,
                       uint32_t max_parallelism, struct json *json)
{
    struct weir_subtask sum;
    struct rates_of_subtask rates;
    sum_up(remote, index, vertex->parallelism, &sum, &rates);
    put_id(json, "id", index);
    json_text(json, "name", vertex->name);
    json_u64(json, "parallelism", vertex->parallelism);
    json_u64(json, "maxParallelism", max_parallelism);
    json_text(json, "status", sum.is_running ? "RUNNING" : "CREATED");
    json_truth(json, "is-source", vertex->is_source);
    put_ratios(&rates, json);
    put_metrics(&sum, json);
    put_rates(&rates, json);
    put_operators(remote->job, index, json);
    put_subtasks(remote, index, json);
}

static void put_plan(const struct weir_remote *remote, struct json *json)
{
    char *plan = weir_job_plan(remote->job);
    json_whole(json, "plan", plan);
    free(plan);
}

static void put_numbers(const struct weir_job_status *status, struct json *json)
{
    json_object(json, "numbers");
    json_u64(json, "incarnation", status->incarnation);
    json_u64(json, "epoch", status->epoch_committed);
    json_u64(json, "commits", status->epochs);
    json_u64(json, "restarts", status->restarts);
    json_u64(json, "records-in", status->records_in);
    json_u64(json, "records-out", status->records_out);
    if (status->lag_records < 0) json_null(json, "lag-records");
    else json_i64(json, "lag-records", status->lag_records);
    json_real(json, "commit-latency-ms", status->commit_latency_ms);
    json_real(json, "commit-latency-p50-ms", status->commit_latency_p50_ms);
    json_real(json, "commit-latency-p99-ms", status->commit_latency_p99_ms);
    json_u64(json, "state-entries", status->state_entries);
    json_u64(json, "state-bytes", status->state_bytes);
    json_u64(json, "parallelism", status->parallelism);
    json_u64(json, "max-parallelism", status->max_parallelism);
    json_end(json);
}

void read_job(struct weir_remote *remote, const struct request *request, struct answer *answer)
{
    (void)request;
    const struct weir_job_status status = status_of(remote);
    struct weir_vertex vertex;
    struct json json;
    json_begin(&json);
    json_object(&json, NULL);
    put_job_head(remote, &status, &json);
    json_truth(&json, "isStoppable", true);
    json_text(&json, "job-type", "STREAMING");
    json_u64(&json, "maxParallelism", status.max_parallelism);
    put_numbers(&status, &json);
    json_array(&json, "vertices");
    for (uint32_t v = 0; weir_job_vertex(remote->job, v, &vertex); v++) {
        json_object(&json, NULL);
        put_vertex(remote, v, &vertex, status.max_parallelism, &json);
        json_end(&json);
    }
    json_end(&json);
    put_plan(remote, &json);
    json_end(&json);
    answer_json(answer, 200, &json);
}

void read_plan(struct weir_remote *remote, const struct request *request, struct answer *answer)
{
    (void)request;
    struct json json;
    json_begin(&json);
    json_object(&json, NULL);
    put_plan(remote, &json);
    json_end(&json);
    answer_json(answer, 200, &json);
}

/* ---- One vertex ----------------------------------------------------------------------------------------------------- */

/* False, and a problem: there is no such vertex. */
static bool find_vertex(const struct weir_remote *remote, const struct request *request, uint32_t *index,
                        struct weir_vertex *vertex, struct answer *answer)
{
    char *end;
    const unsigned long number = strtoul(request->vertex, &end, 10);
    *index = (uint32_t)number;
    if (*end == '\0' && request->vertex[0] >= '0' && request->vertex[0] <= '9' && number < 100000 &&
        weir_job_vertex(remote->job, *index, vertex))
        return true;
    answer_problem(answer, 404, "the job has no vertex '%s': they are numbered from 0", request->vertex);
    return false;
}

void read_vertex(struct weir_remote *remote, const struct request *request, struct answer *answer)
{
    uint32_t index;
    struct weir_vertex vertex;
    struct json json;
    if (!find_vertex(remote, request, &index, &vertex, answer)) return;
    json_begin(&json);
    json_object(&json, NULL);
    put_vertex(remote, index, &vertex, status_of(remote).max_parallelism, &json);
    json_i64(&json, "now", clock_wall_ms());
    json_end(&json);
    answer_json(answer, 200, &json);
}

void read_backpressure(struct weir_remote *remote, const struct request *request, struct answer *answer)
{
    uint32_t index;
    struct weir_vertex vertex;
    struct weir_subtask sum;
    struct rates_of_subtask rates;
    struct json json;
    if (!find_vertex(remote, request, &index, &vertex, answer)) return;
    sum_up(remote, index, vertex.parallelism, &sum, &rates);
    json_begin(&json);
    json_object(&json, NULL);
    json_text(&json, "status", "ok");
    json_text(&json, "backpressureLevel", rates_level(rates.backpressured));
    json_i64(&json, "end-timestamp", clock_wall_ms());
    json_array(&json, "subtasks");
    for (uint32_t i = 0; i < vertex.parallelism; i++) {
        rates = rates_find(&remote->rates, index, i);
        json_object(&json, NULL);
        json_u64(&json, "subtask", i);
        put_ratios(&rates, &json);
        json_end(&json);
    }
    json_end(&json);
    json_end(&json);
    answer_json(answer, 200, &json);
}

/* There is no event time yet, so no vertex has a watermark. */
void read_watermarks(struct weir_remote *remote, const struct request *request, struct answer *answer)
{
    uint32_t index;
    struct weir_vertex vertex;
    struct json json;
    if (!find_vertex(remote, request, &index, &vertex, answer)) return;
    json_begin(&json);
    json_array(&json, NULL);
    json_end(&json);
    answer_json(answer, 200, &json);
}

/* ---- Lag, failures, configuration ----------------------------------------------------------------------------------- */

static void put_lag(void *user, const struct weir_split_lag *lag)
{
    struct json *json = user;
    json_object(json, NULL);
    json_text(json, "source", lag->source);
    json_text(json, "split", lag->split);
    put_id(json, "vertex", lag->vertex);
    json_u64(json, "subtask", lag->subtask);
    if (lag->lag < 0) json_null(json, "lag");
    else json_i64(json, "lag", lag->lag);
    json_end(json);
}

void read_lag(struct weir_remote *remote, const struct request *request, struct answer *answer)
{
    (void)request;
    struct json json;
    json_begin(&json);
    json_object(&json, NULL);
    json_array(&json, "splits");
    weir_job_lags(remote->job, put_lag, &json);
    json_end(&json);
    json_end(&json);
    answer_json(answer, 200, &json);
}

void read_exceptions(struct weir_remote *remote, const struct request *request, struct answer *answer)
{
    (void)request;
    struct weir_failure failure;
    struct json json;
    const bool is_there = weir_job_failure_at(remote->job, 0, &failure);
    json_begin(&json);
    json_object(&json, NULL);
    json_text(&json, "root-exception", is_there ? failure.text : NULL);
    if (is_there) json_i64(&json, "timestamp", failure.wall_ms);
    else json_null(&json, "timestamp");
    json_object(&json, "exceptionHistory");
    json_array(&json, "entries");
    uint32_t count = 0;
    for (; weir_job_failure_at(remote->job, count, &failure); count++) {
        json_object(&json, NULL);
        json_u64(&json, "number", failure.number);
        json_text(&json, "exceptionName", weir_code_name(failure.code));
        json_text(&json, "stacktrace", failure.text);
        json_i64(&json, "timestamp", failure.wall_ms);
        json_truth(&json, "ended-the-job", failure.ended_the_job);
        json_end(&json);
    }
    json_end(&json);
    json_truth(&json, "truncated", count == WEIR_FAILURES_KEPT);
    json_end(&json);
    json_end(&json);
    answer_json(answer, 200, &json);
}

static void put_value(void *user, const struct weir_config_value *value)
{
    struct json *json = user;
    json_object(json, NULL);
    json_text(json, "key", value->key);
    json_text(json, "value", value->value);
    json_text(json, "origin", value->origin);
    json_truth(json, "is-default", value->is_default);
    json_end(json);
}

void read_config(struct weir_remote *remote, const struct request *request, struct answer *answer)
{
    (void)request;
    const struct weir_job_status status = status_of(remote);
    struct json json;
    json_begin(&json);
    json_object(&json, NULL);
    json_text(&json, "jid", remote->name);
    json_text(&json, "name", remote->name);
    json_object(&json, "execution-config");
    json_text(&json, "restart-strategy", weir_config_text(remote->options.config, "restart-strategy.type"));
    json_u64(&json, "job-parallelism", status.parallelism);
    json_end(&json);
    json_array(&json, "values");
    weir_config_each_value(remote->options.config, put_value, &json);
    json_end(&json);
    json_end(&json);
    answer_json(answer, 200, &json);
}
