#include "remote/routes.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "remote/json.h"

#define JOB "/v1/jobs/{job}"
#define NEEDS_JOB ROUTE_NEEDS_JOB
#define KEPT ROUTE_IS_KEPT

static const struct route table[] = {
    { "GET", "/", GUARD_NOTHING, 0, read_dashboard },
    { "GET", "/livez", GUARD_NOTHING, 0, read_livez },
    { "GET", "/readyz", GUARD_NOTHING, 0, read_readyz },
    { "GET", "/metrics", GUARD_READ, KEPT, read_prometheus },
    { "GET", "/openapi.yaml", GUARD_NOTHING, 0, read_openapi },
    { "GET", "/v1/overview", GUARD_READ, 0, read_overview },
    { "GET", "/v1/jobs", GUARD_READ, 0, read_jobs },
    { "GET", "/v1/jobs/overview", GUARD_READ, 0, read_jobs_overview },
    { "GET", JOB, GUARD_READ, NEEDS_JOB | KEPT, read_job },
    { "PATCH", JOB, GUARD_WRITE, NEEDS_JOB, act_patch },
    { "GET", JOB "/plan", GUARD_READ, NEEDS_JOB | KEPT, read_plan },
    { "GET", JOB "/config", GUARD_READ, NEEDS_JOB | KEPT, read_config },
    { "GET", JOB "/exceptions", GUARD_READ, NEEDS_JOB | KEPT, read_exceptions },
    { "GET", JOB "/metrics", GUARD_READ, NEEDS_JOB, read_metrics },
    { "GET", JOB "/lag", GUARD_READ, NEEDS_JOB | KEPT, read_lag },
    { "GET", JOB "/vertices/{vertex}", GUARD_READ, NEEDS_JOB, read_vertex },
    { "GET", JOB "/vertices/{vertex}/backpressure", GUARD_READ, NEEDS_JOB, read_backpressure },
    { "GET", JOB "/vertices/{vertex}/watermarks", GUARD_READ, NEEDS_JOB, read_watermarks },
    { "GET", JOB "/checkpoints", GUARD_READ, NEEDS_JOB | KEPT, read_checkpoints },
    { "POST", JOB "/checkpoints", GUARD_WRITE, NEEDS_JOB, act_checkpoint },
    { "GET", JOB "/checkpoints/config", GUARD_READ, NEEDS_JOB, read_checkpoint_config },
    { "GET", JOB "/checkpoints/details/{item}", GUARD_READ, NEEDS_JOB, read_checkpoint },
    { "GET", JOB "/checkpoints/{item}", GUARD_READ, 0, act_status },
    { "POST", JOB "/savepoints", GUARD_WRITE, NEEDS_JOB, act_savepoint },
    { "GET", JOB "/savepoints/{item}", GUARD_READ, 0, act_status },
    { "POST", JOB "/stop", GUARD_WRITE, NEEDS_JOB, act_stop },
    { "POST", JOB "/rescale", GUARD_WRITE, NEEDS_JOB, act_rescale },
    { "GET", JOB "/rescale/{item}", GUARD_READ, 0, act_rescale_status },
};

_Static_assert(sizeof table / sizeof table[0] <= REMOTE_ROUTES_MAX, "a place for what each route has answered");

const struct route *routes_at(size_t index)
{
    return index < sizeof table / sizeof table[0] ? &table[index] : NULL;
}

/* ---- Finding -------------------------------------------------------------------------------------------------------- */

static bool is_name(const char *text, size_t size)
{
    static const char legal[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
    for (size_t i = 0; i < size; i++)
        if (memchr(legal, text[i], sizeof legal - 1) == NULL) return false;
    return size > 0 && size < ROUTES_PART_MAX;
}

static char *place_of(struct route_parts *parts, const char *pattern)
{
    return strncmp(pattern, "{job}", 5) == 0 ? parts->job : strncmp(pattern, "{vertex}", 8) == 0 ? parts->vertex : parts->item;
}

static bool matches(const char *pattern, const char *path, struct route_parts *parts)
{
    *parts = (struct route_parts){ 0 };
    for (;;) {
        const size_t wanted = strcspn(pattern, "/"), size = strcspn(path, "/");
        if (pattern[0] == '{') {
            if (!is_name(path, size)) return false;
            char *place = place_of(parts, pattern);
            memcpy(place, path, size);
            place[size] = '\0';
        } else if (wanted != size || memcmp(pattern, path, size) != 0) {
            return false;
        }
        pattern += wanted;
        path += size;
        if (*pattern != *path) return false;
        if (*pattern == '\0') return true;
        pattern++;
        path++;
    }
}

/* In the order of the table: a path that is written out comes before one with a place, and hides it. */
const struct route *routes_find(const char *method, const char *path, struct route_parts *parts, int *status, char allow[64])
{
    const bool is_head = strcmp(method, "HEAD") == 0;
    const char *found = NULL;
    allow[0] = '\0';
    for (const struct route *route = table; route < table + sizeof table / sizeof table[0]; route++) {
        if (found != NULL ? strcmp(route->pattern, found) != 0 : !matches(route->pattern, path, parts)) continue;
        found = route->pattern;
        if (strcmp(route->method, is_head ? "GET" : method) == 0) return route;
        if (strstr(allow, route->method) == NULL) {
            const size_t used = strlen(allow);
            (void)snprintf(allow + used, 64 - used, "%s%s%s", used == 0 ? "" : ", ", route->method,
                           strcmp(route->method, "GET") == 0 ? ", HEAD" : "");
        }
    }
    *status = allow[0] == '\0' ? 404 : 405;
    return NULL;
}

/* ---- Answers -------------------------------------------------------------------------------------------------------- */

void answer_clear(struct answer *answer)
{
    if (!answer->is_static) free(answer->text);
    free(answer->policy_text);
    *answer = (struct answer){ 0 };
}

static const char *title_of(int status)
{
    switch (status) {
    case 400: return "Bad Request";
    case 401: return "Unauthorized";
    case 403: return "Forbidden";
    case 404: return "Not Found";
    case 405: return "Method Not Allowed";
    case 409: return "Conflict";
    case 413: return "Content Too Large";
    case 415: return "Unsupported Media Type";
    case 421: return "Misdirected Request";
    case 501: return "Not Implemented";
    case 503: return "Service Unavailable";
    default: return "Internal Server Error";
    }
}

void answer_problem(struct answer *answer, int status, const char *format, ...)
{
    static char no_memory[] = "{\"title\":\"out of memory\",\"status\":500}";
    char detail[1400];
    struct json json;
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(detail, sizeof detail, format, arguments);
    va_end(arguments);
    answer_clear(answer);
    json_begin(&json);
    json_object(&json, NULL);
    json_text(&json, "type", "about:blank");
    json_text(&json, "title", title_of(status));
    json_i64(&json, "status", status);
    json_text(&json, "detail", detail);
    json_end(&json);
    *answer = (struct answer){ .status = status, .type = "application/problem+json" };
    if (json_finish(&json, &answer->text, &answer->size)) return;
    *answer = (struct answer){ .status = 500, .type = "application/problem+json", .text = no_memory,
                               .size = sizeof no_memory - 1, .is_static = true };
}

void answer_json(struct answer *answer, int status, struct json *json)
{
    char *text;
    size_t size;
    if (json_finish(json, &text, &size))
        *answer = (struct answer){ .status = status, .type = "application/json", .text = text, .size = size };
    else
        answer_problem(answer, 500, "no memory for the answer");
}

static bool refuses(const struct weir_remote *remote, const struct route *route, const struct request *request,
                    struct answer *answer)
{
    if (request->right >= route->right) return false;
    if (remote->guard.wants_certificate && !request->has_certificate)
        answer_problem(answer, 401, "a certificate is wanted that an authority in the file of security.ssl.rest.ca has signed");
    else if (request->right != GUARD_NOTHING && remote->guard.write_token == NULL)
        answer_problem(answer, 403, "nothing can be changed here, because no rest.write-token is configured");
    else if (request->right == GUARD_NOTHING || !request->has_token)
        answer_problem(answer, 401, "a token is wanted: Authorization: Bearer TOKEN");
    else
        answer_problem(answer, 403, "this wants the write token: Authorization: Bearer TOKEN");
    return true;
}

/* ---- What was answered a moment ago ---------------------------------------------------------------------------------- */

void routes_forget(struct weir_remote *remote)
{
    for (size_t i = 0; i < REMOTE_ROUTES_MAX; i++) {
        free(remote->kept[i].text);
        remote->kept[i].text = NULL;
    }
}

/* Without memory for a copy it is made anew, or not kept. */
static bool answer_again(const struct kept *kept, int64_t now_us, struct answer *answer)
{
    if (kept->text == NULL || now_us - kept->at_us > ROUTES_KEPT_US) return false;
    char *copy = malloc(kept->size);
    if (copy == NULL) return false;
    memcpy(copy, kept->text, kept->size);
    *answer = (struct answer){ .status = 200, .type = kept->type, .text = copy, .size = kept->size };
    return true;
}

static void keep(struct kept *kept, int64_t now_us, const struct answer *answer)
{
    free(kept->text);
    kept->text = answer->status == 200 ? malloc(answer->size) : NULL;
    if (kept->text == NULL) return;
    memcpy(kept->text, answer->text, answer->size);
    kept->size = answer->size;
    kept->type = answer->type;
    kept->at_us = now_us;
}

static void answer_route(struct weir_remote *remote, const struct route *route, const struct request *request,
                         struct answer *answer)
{
    struct kept *kept = &remote->kept[route - table];
    const bool is_kept = (route->traits & ROUTE_IS_KEPT) != 0;
    if (is_kept && answer_again(kept, request->at_us, answer)) return;
    route->answer(remote, request, answer);
    if (is_kept) keep(kept, request->at_us, answer);
    if (route->right == GUARD_WRITE) routes_forget(remote);
}

void routes_answer(struct weir_remote *remote, struct request *request, struct answer *answer)
{
    struct route_parts parts;
    char allow[64];
    int status = 0;
    const struct route *route = routes_find(request->method, request->path, &parts, &status, allow);
    if (route == NULL && status == 405) {
        answer_problem(answer, 405, "this path has %s", allow);
        answer->allow = strcmp(allow, "GET, HEAD") == 0 ? "GET, HEAD"
                        : strstr(allow, "PATCH") != NULL ? "GET, HEAD, PATCH"
                        : strstr(allow, "GET") != NULL   ? "GET, HEAD, POST"
                                                         : "POST";
        return;
    }
    if (route == NULL) {
        answer_problem(answer, 404, "there is nothing at this path; /openapi.yaml lists what there is");
        return;
    }
    if (refuses(remote, route, request, answer)) return;
    request->job = parts.job;
    request->vertex = parts.vertex;
    request->item = parts.item;
    pthread_mutex_lock(&remote->mutex);
    if (parts.job[0] != '\0' && strcmp(parts.job, remote->name) != 0)
        answer_problem(answer, 404, "no job '%s' runs here: this is '%s'", parts.job, remote->name);
    else if ((route->traits & ROUTE_NEEDS_JOB) != 0 && remote->job == NULL)
        answer_problem(answer, 503, "the job is being started anew");
    else
        answer_route(remote, route, request, answer);
    pthread_mutex_unlock(&remote->mutex);
}
