#include "remote.h"

#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "weir/json.h"
#include "wire.h"

enum { HOST_MAX = 256, PATH_MAX_BYTES = 1024, REQUEST_MAX = 8192, ANSWER_MAX = 4 << 20, POLL_MS = 100 };

static const char http[] = "http://", https[] = "https://";

struct remote {
    bool is_secure;
    char host[HOST_MAX], port[16], job[80];
    char url[HOST_MAX + 32]; /* without a path; behind "://" it is what the Host line says */
    struct weir_error *error;
    int status;   /* of the last answer */
    char *answer; /* whole; its body begins at `body` */
    char *body;
};

static bool begins_with(const char *text, const char *start) { return strncmp(text, start, strlen(start)) == 0; }

bool remote_is_url(const char *job) { return strstr(job, "://") != NULL; }

/* As http://localhost:8081, with or without the port and a '/' at the end; an IPv6 address in brackets. */
static enum weir_code parse_url(struct remote *remote, const char *url)
{
    remote->is_secure = begins_with(url, https);
    if (!remote->is_secure && !begins_with(url, http))
        return weir_error_set(remote->error, WEIR_USAGE, WEIR_REMEDY_STOP, "'%s': a job is asked over http:// or https://", url);
    const char *at = strstr(url, "://") + 3, *end;
    const bool is_bracketed = *at == '[';
    if (is_bracketed) at++;
    end = at + strcspn(at, is_bracketed ? "]" : ":/");
    const char *behind = end + (is_bracketed && *end == ']');
    const char *port = *behind == ':' ? behind + 1 : "8081";
    const size_t port_size = strspn(port, "0123456789");
    const bool is_good = end > at && (size_t)(end - at) < HOST_MAX && port_size > 0 && port_size < sizeof remote->port &&
                         (*behind != ':' ? strcmp(behind, "") == 0 || strcmp(behind, "/") == 0
                                         : port[port_size] == '\0' || strcmp(port + port_size, "/") == 0);
    if (strchr(url, '@') != NULL) /* and is not shown: it may be a password */
        return weir_error_set(remote->error, WEIR_USAGE, WEIR_REMEDY_STOP,
                              "the URL of a job has no name and no password in it: WEIR_TOKEN takes its token");
    if (!is_good)
        return weir_error_set(remote->error, WEIR_USAGE, WEIR_REMEDY_STOP, "'%s' is no URL such as http://localhost:8081", url);
    (void)snprintf(remote->host, sizeof remote->host, "%.*s", (int)(end - at), at);
    (void)snprintf(remote->port, sizeof remote->port, "%.*s", (int)port_size, port);
    (void)snprintf(remote->url, sizeof remote->url, "%s%s%s%s:%s", remote->is_secure ? https : http, is_bracketed ? "[" : "",
                   remote->host, is_bracketed ? "]" : "", remote->port);
    return WEIR_OK;
}

/* ---- One request -------------------------------------------------------------------------------------------------- */

static enum weir_code WEIR_PRINTF(2, 3) no_answer(const struct remote *remote, const char *format, ...)
{
    char why[500];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(why, sizeof why, format, arguments);
    va_end(arguments);
    return weir_error_set(remote->error, WEIR_ENVIRONMENT, WEIR_REMEDY_STOP, "%s: %s", remote->url, why);
}

/* problem+json has a sentence. */
static enum weir_code refused(const struct remote *remote)
{
    struct weir_json_line problem;
    const enum weir_code code = remote->status == 400 || remote->status == 404 ? WEIR_USAGE : WEIR_ENVIRONMENT;
    const char *advice = remote->status != 401 && remote->status != 403 ? ""
                         : strstr(remote->body, "certificate") != NULL  ? "; WEIR_TLS_CERTIFICATE and WEIR_TLS_KEY take one"
                                                                        : "; WEIR_TOKEN takes the token";
    if (weir_json_read(&problem, remote->body, strlen(remote->body)) == NULL) {
        const struct weir_bytes detail = weir_json_find(&problem, "detail").bytes;
        if (detail.size > 0)
            return weir_error_set(remote->error, code, WEIR_REMEDY_STOP, "%s: %.*s%s", remote->url, (int)detail.size,
                                  detail.data, advice);
    }
    return weir_error_set(remote->error, code, WEIR_REMEDY_STOP, "%s answers with status %d%s", remote->url,
                          remote->status, advice);
}

static enum weir_code receive(struct remote *remote, const char *request, size_t size)
{
    struct wire wire;
    const bool is_answered = wire_open(&wire, remote->host, remote->port, remote->is_secure) &&
                             wire_send(&wire, request, size) && wire_receive(&wire, remote->answer, ANSWER_MAX);
    wire_close(&wire);
    return is_answered ? WEIR_OK : no_answer(remote, "%s", wire.why);
}

/* `body` NULL: none. The answer stays until the next request. */
static enum weir_code exchange(struct remote *remote, const char *method, const char *path, const char *body)
{
    char request[REQUEST_MAX];
    const char *token = getenv("WEIR_TOKEN");
    const int size = snprintf(request, sizeof request,
                              "%s %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\nAccept: application/json\r\n%s%s%s"
                              "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
                              method, path, strstr(remote->url, "://") + 3, token == NULL ? "" : "Authorization: Bearer ",
                              token == NULL ? "" : token, token == NULL ? "" : "\r\n", body == NULL ? (size_t)0 : strlen(body),
                              body == NULL ? "" : body);
    if (size < 0 || (size_t)size >= sizeof request) return no_answer(remote, "the request is too long");
    if (receive(remote, request, (size_t)size) != WEIR_OK) return remote->error->code;
    char *end = strstr(remote->answer, "\r\n\r\n");
    if (sscanf(remote->answer, "HTTP/1.%*d %d", &remote->status) != 1 || end == NULL)
        return no_answer(remote, "whoever answers there does not speak HTTP");
    remote->body = end + 4;
    return remote->status < 300 ? WEIR_OK : refused(remote);
}

/* ---- What comes of it --------------------------------------------------------------------------------------------- */

/* The fields of the object that begins at `text`, but for what is nested in it. */
static void hand_fields(char *text, weir_control_fn *line, void *user)
{
    struct weir_json_line fields;
    char key[128], value[1200];
    if (line == NULL || weir_json_read(&fields, text, strlen(text)) != NULL) return;
    for (size_t i = 0; i < fields.count; i++) {
        const struct weir_json_field *field = &fields.fields[i];
        if (field->value.type == WEIR_JSON_SKIPPED || field->value.type == WEIR_JSON_NULL) continue;
        (void)snprintf(key, sizeof key, "%.*s", (int)field->name.size, field->name.data);
        (void)snprintf(value, sizeof value, "%.*s", (int)field->value.bytes.size, field->value.bytes.data);
        line(user, key, value);
    }
}

/* The text behind "KEY":" in the body; "" when there is none. Such names are the server's own, and none is a user's text. */
static void text_behind(const struct remote *remote, const char *key, char *text, size_t size)
{
    char wanted[64];
    (void)snprintf(wanted, sizeof wanted, "\"%s\":\"", key);
    const char *at = strstr(remote->body, wanted);
    text[0] = '\0';
    if (at == NULL) return;
    at += strlen(wanted);
    (void)snprintf(text, size, "%.*s", (int)strcspn(at, "\""), at);
}

static enum weir_code find_job(struct remote *remote)
{
    if (exchange(remote, "GET", "/v1/jobs", NULL) != WEIR_OK) return remote->error->code;
    text_behind(remote, "id", remote->job, sizeof remote->job);
    return remote->job[0] == '\0' ? no_answer(remote, "no job is there") : WEIR_OK;
}

static enum weir_code failure_of(const struct remote *remote)
{
    char class[32], text[900];
    text_behind(remote, "class", class, sizeof class);
    text_behind(remote, "stack-trace", text, sizeof text);
#define MATCH(name, status, sentence)                                                                                  \
    if (strcmp(class, #name) == 0) return weir_error_set(remote->error, WEIR_##name, WEIR_REMEDY_STOP, "%s", text);
    WEIR_CODES(MATCH)
#undef MATCH
    return weir_error_set(remote->error, WEIR_FAILED, WEIR_REMEDY_STOP, "%s", text);
}

/* Asks again until it is done. A job that ends takes its server along: then there is nobody to say so. */
static enum weir_code await(struct remote *remote, const char *what, const char *id, bool ends, weir_control_fn *line, void *user)
{
    char path[PATH_MAX_BYTES], state[32];
    (void)snprintf(path, sizeof path, "/v1/jobs/%s/%s/%s", remote->job, what, id);
    for (;;) {
        const enum weir_code code = exchange(remote, "GET", path, NULL);
        if (code != WEIR_OK) return ends && remote->status < 300 ? WEIR_OK : code;
        text_behind(remote, "id", state, sizeof state);
        if (strcmp(state, "COMPLETED") == 0) break;
        (void)poll(NULL, 0, POLL_MS);
    }
    if (strstr(remote->body, "\"failure-cause\"") != NULL) return failure_of(remote);
    char *operation = strstr(remote->body, "\"operation\":{"), *end = strrchr(remote->body, '}');
    if (operation == NULL || end == NULL) return WEIR_OK;
    *end = '\0'; /* it is the last member */
    hand_fields(operation + strlen("\"operation\":"), line, user);
    return WEIR_OK;
}

static enum weir_code begin(struct remote *remote, const char *what, const char *body, const char *asked_at, bool ends,
                            weir_control_fn *line, void *user)
{
    char path[PATH_MAX_BYTES], id[64];
    (void)snprintf(path, sizeof path, "/v1/jobs/%s/%s", remote->job, what);
    if (exchange(remote, "POST", path, body) != WEIR_OK) return remote->error->code;
    text_behind(remote, "request-id", id, sizeof id);
    return await(remote, asked_at, id, ends, line, user);
}

static enum weir_code ask(struct remote *remote, const char *request, weir_control_fn *line, void *user)
{
    char path[PATH_MAX_BYTES], body[PATH_MAX_BYTES];
    const char *argument = strchr(request, ' ');
    const size_t size = strcspn(request, " ");
    argument = argument == NULL ? "" : argument + 1;
    (void)snprintf(path, sizeof path, "/v1/jobs/%s", remote->job);
    if (strpbrk(argument, "\"\\") != NULL || strlen(argument) > 600)
        return weir_error_set(remote->error, WEIR_USAGE, WEIR_REMEDY_STOP, "'%s' cannot be sent", argument);
    if (strcmp(request, "status") == 0) {
        const enum weir_code code = exchange(remote, "GET", path, NULL);
        if (code == WEIR_OK) hand_fields(remote->body, line, user);
        return code;
    }
    if (strcmp(request, "cancel") == 0) {
        (void)snprintf(path, sizeof path, "/v1/jobs/%s?mode=cancel", remote->job);
        return exchange(remote, "PATCH", path, NULL);
    }
    if (strcmp(request, "checkpoint") == 0) return begin(remote, "checkpoints", NULL, "checkpoints", false, line, user);
    if (strcmp(request, "stop") == 0) return begin(remote, "stop", NULL, "savepoints", true, line, user);
    if (strncmp(request, "rescale", size) == 0) {
        (void)snprintf(body, sizeof body, "{\"parallelism\":%s}", argument);
        return begin(remote, "rescale", body, "rescale", false, line, user);
    }
    const bool stops = strncmp(request, "stop-savepoint", size) == 0;
    if (stops) (void)snprintf(body, sizeof body, "{\"savepoint\":true,\"targetDirectory\":\"%s\"}", argument);
    else (void)snprintf(body, sizeof body, "{\"target-directory\":\"%s\"}", argument);
    if (argument[0] == '\0') (void)snprintf(body, sizeof body, stops ? "{\"savepoint\":true}" : "{}");
    return begin(remote, stops ? "stop" : "savepoints", body, "savepoints", stops, line, user);
}

enum weir_code remote_ask(const char *url, const char *request, weir_control_fn *line, void *user, struct weir_error *error)
{
    struct remote remote = { .error = error, .answer = malloc(ANSWER_MAX) };
    if (remote.answer == NULL) return weir_error_set(error, WEIR_NO_MEMORY, WEIR_REMEDY_STOP, "out of memory");
    enum weir_code code = parse_url(&remote, url);
    if (code == WEIR_OK) code = find_job(&remote);
    if (code == WEIR_OK) code = ask(&remote, request, line, user);
    free(remote.answer);
    return code;
}
