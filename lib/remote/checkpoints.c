#include <stdlib.h>
#include <string.h>

#include "remote/json.h"
#include "remote/routes.h"

/* ---- Percentiles ---------------------------------------------------------------------------------------------------- */

struct series {
    uint32_t count;
    double values[WEIR_CHECKPOINTS_KEPT];
};

static int compare(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void put_summary(struct json *json, const char *name, struct series *series)
{
    static const struct {
        const char *name;
        double share;
    } percentiles[] = { { "p50", 0.5 }, { "p90", 0.9 }, { "p95", 0.95 }, { "p99", 0.99 }, { "p999", 0.999 } };
    double sum = 0;
    qsort(series->values, series->count, sizeof series->values[0], compare);
    for (uint32_t i = 0; i < series->count; i++) sum += series->values[i];
    json_object(json, name);
    if (series->count > 0) {
        const uint32_t last = series->count - 1;
        json_real(json, "min", series->values[0]);
        json_real(json, "max", series->values[last]);
        json_real(json, "avg", sum / series->count);
        for (size_t i = 0; i < sizeof percentiles / sizeof percentiles[0]; i++)
            json_real(json, percentiles[i].name, series->values[(uint32_t)((double)last * percentiles[i].share + 0.5)]);
    }
    json_end(json);
}

static void add(struct series *series, double value) { series->values[series->count++] = value; }

/* Over the completed ones that are kept. Milliseconds, with a fraction: a commit takes a few of them. */
static void put_summaries(struct json *json, const weir_job *job)
{
    struct summaries {
        struct series duration, frame, state, phases[WEIR_PHASES];
    } *all = calloc(1, sizeof *all);
    struct weir_checkpoint checkpoint;
    for (uint32_t i = 0; all != NULL && weir_job_checkpoint_at(job, i, &checkpoint) && i < WEIR_CHECKPOINTS_KEPT; i++) {
        if (checkpoint.state != WEIR_CHECKPOINT_COMPLETED || all->duration.count == WEIR_CHECKPOINTS_KEPT) continue;
        add(&all->duration, (double)checkpoint.duration_us / 1000);
        add(&all->frame, (double)checkpoint.frame_bytes);
        add(&all->state, (double)checkpoint.state_bytes);
        for (int p = 0; p < WEIR_PHASES; p++)
            if (checkpoint.phase_us[p] >= 0) add(&all->phases[p], (double)checkpoint.phase_us[p] / 1000);
    }
    json_object(json, "summary");
    if (all != NULL) {
        put_summary(json, "end_to_end_duration", &all->duration);
        put_summary(json, "checkpointed_size", &all->frame);
        put_summary(json, "state_size", &all->state);
        for (int p = 0; p < WEIR_PHASES; p++)
            put_summary(json, weir_phase_name((enum weir_checkpoint_phase)p), &all->phases[p]);
    }
    json_end(json);
    free(all);
}

/* ---- One checkpoint ------------------------------------------------------------------------------------------------- */

static const char *state_name(enum weir_checkpoint_state state)
{
    return state == WEIR_CHECKPOINT_COMPLETED ? "COMPLETED" : state == WEIR_CHECKPOINT_FAILED ? "FAILED" : "IN_PROGRESS";
}

static void put_ms(struct json *json, const char *name, int64_t us)
{
    if (us < 0) json_null(json, name);
    else json_real(json, name, (double)us / 1000);
}

static void put_fields(struct json *json, const struct weir_checkpoint *checkpoint)
{
    json_u64(json, "id", checkpoint->epoch);
    json_u64(json, "incarnation", checkpoint->incarnation);
    json_text(json, "status", state_name(checkpoint->state));
    json_truth(json, "is_savepoint", checkpoint->is_savepoint);
    json_i64(json, "trigger_timestamp", checkpoint->triggered_ms);
    put_ms(json, "end_to_end_duration", checkpoint->duration_us);
    json_u64(json, "checkpointed_size", checkpoint->frame_bytes);
    json_u64(json, "state_size", checkpoint->state_bytes);
    json_u64(json, "records_out", checkpoint->records_out);
    json_object(json, "phases");
    for (int p = 0; p < WEIR_PHASES; p++)
        put_ms(json, weir_phase_name((enum weir_checkpoint_phase)p), checkpoint->phase_us[p]);
    json_end(json);
    if (checkpoint->failure[0] != '\0') json_text(json, "failure_message", checkpoint->failure);
}

/* The newest that `fits`; null when there is none. */
static void put_latest(struct json *json, const char *name, const weir_job *job, enum weir_checkpoint_state state,
                       bool savepoints_only)
{
    struct weir_checkpoint checkpoint;
    for (uint32_t i = 0; weir_job_checkpoint_at(job, i, &checkpoint); i++) {
        if (checkpoint.state != state || (savepoints_only && !checkpoint.is_savepoint)) continue;
        json_object(json, name);
        put_fields(json, &checkpoint);
        json_end(json);
        return;
    }
    json_null(json, name);
}

/* ---- Answers -------------------------------------------------------------------------------------------------------- */

/* Totals come from the metrics: the history is bounded. */
struct counts {
    double completed, failed;
};

static void take_count(void *user, const struct weir_sample *sample)
{
    struct counts *counts = user;
    if (strcmp(sample->metric->name, "weir_checkpoints_total") == 0) counts->completed = sample->value;
    if (strcmp(sample->metric->name, "weir_checkpoints_failed_total") == 0) counts->failed = sample->value;
}

static void put_counts(struct json *json, const weir_job *job)
{
    struct counts counts = { 0 };
    struct weir_checkpoint newest;
    weir_job_metrics(job, take_count, &counts);
    const bool is_open = weir_job_checkpoint_at(job, 0, &newest) && newest.state == WEIR_CHECKPOINT_IN_PROGRESS;
    json_object(json, "counts");
    json_real(json, "completed", counts.completed);
    json_real(json, "failed", counts.failed);
    json_u64(json, "in_progress", is_open);
    json_real(json, "total", counts.completed + counts.failed + is_open);
    json_end(json);
}

void read_checkpoints(struct weir_remote *remote, const struct request *request, struct answer *answer)
{
    (void)request;
    struct weir_checkpoint checkpoint;
    struct json json;
    json_begin(&json);
    json_object(&json, NULL);
    put_counts(&json, remote->job);
    put_summaries(&json, remote->job);
    json_object(&json, "latest");
    put_latest(&json, "completed", remote->job, WEIR_CHECKPOINT_COMPLETED, false);
    put_latest(&json, "savepoint", remote->job, WEIR_CHECKPOINT_COMPLETED, true);
    put_latest(&json, "failed", remote->job, WEIR_CHECKPOINT_FAILED, false);
    json_end(&json);
    json_array(&json, "history");
    for (uint32_t i = 0; weir_job_checkpoint_at(remote->job, i, &checkpoint); i++) {
        json_object(&json, NULL);
        put_fields(&json, &checkpoint);
        json_end(&json);
    }
    json_end(&json);
    json_end(&json);
    answer_json(answer, 200, &json);
}

void read_checkpoint(struct weir_remote *remote, const struct request *request, struct answer *answer)
{
    char *end;
    struct weir_checkpoint checkpoint;
    const unsigned long long epoch = strtoull(request->item, &end, 10);
    bool found = false;
    for (uint32_t i = 0; !found && *end == '\0' && weir_job_checkpoint_at(remote->job, i, &checkpoint); i++)
        found = checkpoint.epoch == epoch;
    if (!found) {
        answer_problem(answer, 404, "no checkpoint '%s' is remembered: the newest %d of this process are", request->item,
                       (int)WEIR_CHECKPOINTS_KEPT);
        return;
    }
    struct json json;
    json_begin(&json);
    json_object(&json, NULL);
    put_fields(&json, &checkpoint);
    json_end(&json);
    answer_json(answer, 200, &json);
}

void read_checkpoint_config(struct weir_remote *remote, const struct request *request, struct answer *answer)
{
    (void)request;
    const weir_config *config = remote->options.config;
    struct json json;
    json_begin(&json);
    json_object(&json, NULL);
#define KEY(name) "execution.checkpointing." name
    json_text(&json, "mode", weir_config_text(config, KEY("mode")));
    json_i64(&json, "interval", weir_config_duration_ms(config, KEY("interval")));
    json_i64(&json, "timeout", weir_config_duration_ms(config, KEY("timeout")));
    json_i64(&json, "min_pause", weir_config_duration_ms(config, KEY("min-pause")));
    json_i64(&json, "max_concurrent", 1);
    json_i64(&json, "tolerable_failed_checkpoints", weir_config_i64(config, KEY("tolerable-failed-checkpoints")));
    json_truth(&json, "unaligned_checkpoints", weir_config_bool(config, KEY("unaligned.enabled")));
    json_text(&json, "state_backend", weir_config_text(config, "state.backend.type"));
    json_text(&json, "checkpoint_storage", weir_config_text(config, KEY("storage")));
#undef KEY
    json_end(&json);
    answer_json(answer, 200, &json);
}
