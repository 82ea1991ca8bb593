#include "remote.h"

#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "weir/json.h"

enum { HOST_MAX = 256, PATH_MAX_BYTES = 1024, REQUEST_MAX = 8192, ANSWER_MAX = 4 << 20, PATIENCE_S = 10, POLL_MS = 100 };

struct remote {
    char host[HOST_MAX], port[16], job[80];
    struct weir_error *error;
    int status;   /* of the last answer */
    char *answer; /* whole; its body begins at `body` */
    char *body;
};

bool remote_is_url(const char *job) { return strncmp(job, "http://", 7) == 0; }

/* As http://localhost:8081, with or without the port and a '/' at the end; an IPv6 address in brackets. */
static enum weir_code parse_url(struct remote *remote, const char *url)
{
    const char *at = url + 7, *end;
    const bool is_bracketed = *at == '[';
    if (is_bracketed) at++;
    end = at + strcspn(at, is_bracketed ? "]" : ":/");
    const char *behind = end + (is_bracketed && *end == ']');
    const char *port = *behind == ':' ? behind + 1 : "8081";
    const size_t port_size = strspn(port, "0123456789");
    const bool is_good = end > at && (size_t)(end - at) < HOST_MAX && port_size > 0 && port_size < sizeof remote->port &&
                         (*behind != ':' ? strcmp(behind, "") == 0 || strcmp(behind, "/") == 0
                                         : port[port_size] == '\0' || strcmp(port + port_size, "/") == 0);
    if (!is_good)
        return weir_error_set(remote->error, WEIR_USAGE, WEIR_REMEDY_STOP, "'%s' is no URL such as http://localhost:8081", url);
    (void)snprintf(remote->host, sizeof remote->host, "%.*s", (int)(end - at), at);
    (void)snprintf(remote->port, sizeof remote->port, "%.*s", (int)port_size, port);
    return WEIR_OK;
}

/* ---- One request -------------------------------------------------------------------------------------------------- */

static enum weir_code WEIR_PRINTF(2, 3) no_answer(const struct remote *remote, const char *format, ...)
{
    char why[300];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(why, sizeof why, format, arguments);
    va_end(arguments);
    return weir_error_set(remote->error, WEIR_ENVIRONMENT, WEIR_REMEDY_STOP, "http://%s:%s: %s", remote->host, remote->port, why);
}

static int open_socket(const struct remote *remote)
{
    const struct addrinfo hints = { .ai_socktype = SOCK_STREAM };
    const struct timeval patience = { .tv_sec = PATIENCE_S };
    struct addrinfo *addresses;
    int descriptor = -1;
    if (getaddrinfo(remote->host, remote->port, &hints, &addresses) != 0) return errno = EHOSTUNREACH, -1;
    for (const struct addrinfo *at = addresses; descriptor < 0 && at != NULL; at = at->ai_next) {
        descriptor = socket(at->ai_family, at->ai_socktype | SOCK_CLOEXEC, at->ai_protocol);
        if (descriptor < 0) continue;
        (void)setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
        (void)setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
        if (connect(descriptor, at->ai_addr, at->ai_addrlen) == 0) break;
        const int reason = errno;
        close(descriptor);
        descriptor = -1;
        errno = reason;
    }
    freeaddrinfo(addresses);
    return descriptor;
}

static bool send_all(int descriptor, const char *text, size_t size)
{
    while (size > 0) {
        const ssize_t sent = send(descriptor, text, size, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR) continue;
        if (sent <= 0) return false;
        text += sent;
        size -= (size_t)sent;
    }
    return true;
}

/* Until the other side closes. */
static bool receive_all(int descriptor, char *answer)
{
    size_t used = 0;
    for (;;) {
        const ssize_t size = recv(descriptor, answer + used, ANSWER_MAX - 1 - used, 0);
        if (size < 0 && errno == EINTR) continue;
        if (size < 0) return false;
        used += (size_t)size;
        answer[used] = '\0';
        if (size == 0) return used > 0;
        if (used == ANSWER_MAX - 1) return errno = EMSGSIZE, false;
    }
}

/* problem+json has a sentence. */
static enum weir_code refused(const struct remote *remote)
{
    struct weir_json_line problem;
    const enum weir_code code = remote->status == 400 || remote->status == 404 ? WEIR_USAGE : WEIR_ENVIRONMENT;
    const char *advice = remote->status == 401 || remote->status == 403 ? "; WEIR_TOKEN takes the token" : "";
    if (weir_json_read(&problem, remote->body, strlen(remote->body)) == NULL) {
        const struct weir_bytes detail = weir_json_find(&problem, "detail").bytes;
        if (detail.size > 0)
            return weir_error_set(remote->error, code, WEIR_REMEDY_STOP, "http://%s:%s: %.*s%s", remote->host, remote->port,
                                  (int)detail.size, detail.data, advice);
    }
    return weir_error_set(remote->error, code, WEIR_REMEDY_STOP, "http://%s:%s answers with status %d%s", remote->host,
                          remote->port, remote->status, advice);
}

/* `body` NULL: none. The answer stays until the next request. */
static enum weir_code exchange(struct remote *remote, const char *method, const char *path, const char *body)
{
    char request[REQUEST_MAX];
    const char *token = getenv("WEIR_TOKEN");
    const int size = snprintf(request, sizeof request,
                              "%s %s HTTP/1.1\r\nHost: %s:%s\r\nConnection: close\r\nAccept: application/json\r\n%s%s%s"
                              "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
                              method, path, remote->host, remote->port, token == NULL ? "" : "Authorization: Bearer ",
                              token == NULL ? "" : token, token == NULL ? "" : "\r\n", body == NULL ? (size_t)0 : strlen(body),
                              body == NULL ? "" : body);
    if (size < 0 || (size_t)size >= sizeof request) return no_answer(remote, "the request is too long");
    const int descriptor = open_socket(remote);
    if (descriptor < 0) return no_answer(remote, "%s", strerror(errno));
    const bool is_answered = send_all(descriptor, request, (size_t)size) && receive_all(descriptor, remote->answer);
    const int reason = errno;
    close(descriptor);
    if (!is_answered) return no_answer(remote, "no answer: %s", reason == EAGAIN ? "it takes too long" : strerror(reason));
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
