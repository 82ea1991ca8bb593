#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "remote/json.h"
#include "remote/routes.h"

/* ---- Prometheus' text format, version 0.0.4 -------------------------------------------------------------------------- */

static const char *type_name(enum weir_metric_type type)
{
    return type == WEIR_METRIC_COUNTER ? "counter" : type == WEIR_METRIC_GAUGE ? "gauge" : "histogram";
}

static void put_label(FILE *file, const char *separator, const char *name, const char *value)
{
    (void)fprintf(file, "%s%s=\"", separator, name);
    for (; *value != '\0'; value++) {
        if (*value == '\n') (void)fputs("\\n", file);
        else if (*value == '"' || *value == '\\') (void)fprintf(file, "\\%c", *value);
        else (void)fputc(*value, file);
    }
    (void)fputc('"', file);
}

struct exposition {
    FILE *file;
    const struct weir_metric *last;
};

static void put_sample(void *user, const struct weir_sample *sample)
{
    struct exposition *out = user;
    const struct weir_metric *metric = sample->metric;
    if (metric != out->last)
        (void)fprintf(out->file, "# HELP %s %s\n# TYPE %s %s\n", metric->name, metric->sentence, metric->name,
                      type_name(metric->type));
    out->last = metric;
    (void)fprintf(out->file, "%s%s", metric->name, sample->suffix);
    const char *separator = "{";
    for (int i = 0; i < WEIR_METRIC_LABELS_MAX && metric->labels[i] != NULL; i++, separator = ",")
        put_label(out->file, separator, metric->labels[i], sample->values[i]);
    if (sample->limit != NULL) {
        put_label(out->file, separator, "le", sample->limit);
        separator = ",";
    }
    (void)fprintf(out->file, "%s %.17g\n", separator[0] == ',' ? "}" : "", sample->value);
}

void read_prometheus(struct weir_remote *remote, const struct request *request, struct answer *answer)
{
    (void)request;
    struct exposition out = { 0 };
    answer->status = 200;
    answer->type = "text/plain; version=0.0.4; charset=utf-8";
    out.file = open_memstream(&answer->text, &answer->size);
    if (out.file == NULL) {
        answer_problem(answer, 500, "no memory for the answer");
        return;
    }
    if (remote->job != NULL) weir_job_metrics(remote->job, put_sample, &out);
    const bool good = ferror(out.file) == 0;
    if (fclose(out.file) != 0 || !good) answer_problem(answer, 500, "no memory for the answer");
}

/* ---- Flink's list --------------------------------------------------------------------------------------------------- */

struct list {
    struct json json;
    const char *wanted; /* "a,b"; NULL = all */
};

static bool is_wanted(const char *wanted, const char *name)
{
    const size_t size = strlen(name);
    while (wanted != NULL && *wanted != '\0') {
        const size_t next = strcspn(wanted, ",");
        if (next == size && memcmp(wanted, name, size) == 0) return true;
        wanted += next + (wanted[next] == ',');
    }
    return false;
}

static void list_sample(void *user, const struct weir_sample *sample)
{
    struct list *list = user;
    const struct weir_metric *metric = sample->metric;
    if (list->wanted != NULL && !is_wanted(list->wanted, metric->name)) return;
    json_object(&list->json, NULL);
    json_text(&list->json, "id", metric->name);
    if (sample->suffix[0] != '\0') json_text(&list->json, "part", sample->suffix + 1);
    if (metric->labels[0] != NULL || sample->limit != NULL) {
        json_object(&list->json, "labels");
        for (int i = 0; i < WEIR_METRIC_LABELS_MAX && metric->labels[i] != NULL; i++)
            json_text(&list->json, metric->labels[i], sample->values[i]);
        if (sample->limit != NULL) json_text(&list->json, "le", sample->limit);
        json_end(&list->json);
    }
    json_real(&list->json, "value", sample->value);
    json_end(&list->json);
}

void read_metrics(struct weir_remote *remote, const struct request *request, struct answer *answer)
{
    struct list list = { .wanted = request->query(request->connection, "get") };
    json_begin(&list.json);
    json_array(&list.json, NULL);
    weir_job_metrics(remote->job, list_sample, &list);
    json_end(&list.json);
    answer_json(answer, 200, &list.json);
}

/* ---- Health --------------------------------------------------------------------------------------------------------- */

static void say(struct answer *answer, char *text)
{
    *answer = (struct answer){ .status = 200, .type = "text/plain; charset=utf-8", .text = text, .size = strlen(text),
                               .is_static = true };
}

enum { TASK_PATIENCE_MS = 60000 };

/* Says nothing of what is the matter to who has no token, but that something is. */
void read_livez(struct weir_remote *remote, const struct request *request, struct answer *answer)
{
    static char alive[] = "alive\n";
    char why[300];
    if (remote->job == NULL || weir_job_is_alive(remote->job, TASK_PATIENCE_MS, why, sizeof why)) say(answer, alive);
    else answer_problem(answer, 503, "%s", request->right == GUARD_NOTHING ? "the job makes no progress" : why);
}

void read_readyz(struct weir_remote *remote, const struct request *request, struct answer *answer)
{
    (void)request;
    static char ready[] = "ready\n";
    struct weir_job_status status = { .size = sizeof status };
    if (remote->job != NULL) weir_job_status(remote->job, &status);
    if (status.running) say(answer, ready);
    else answer_problem(answer, 503, "the job is not restored yet, or is being started anew");
}
