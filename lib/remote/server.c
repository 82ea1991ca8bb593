#include "remote/server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <microhttpd.h>
#include <netdb.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "remote/routes.h"

enum { TICK_MS = 1000, CONNECTIONS_MIN = 4 };

/* In GnuTLS's words. */
static char priorities[] = "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2";

/* A connection. */
struct client {
    int descriptor;   /* -1 = a free place */
    int64_t since_ms; /* when its last request ended, or its header was whole, or it came */
};

struct server {
    struct weir_remote *remote;
    struct MHD_Daemon *daemon;
    struct MHD_Daemon *leaving; /* NULL, or the one with certificates that were: ends what it has begun */
    struct tls leaving_tls;
    int64_t leaving_until_ms;
    pthread_t thread;
    int listener, wakeup;
    atomic_bool stopping;
    int64_t tick_ms;
    uint32_t client_max, client_count;
    struct client *clients;
};

/* A request whose body is on its way. */
struct upload {
    struct answer refusal; /* status 0 = none */
    size_t size;
    bool is_too_long;
    char body[REMOTE_BODY_MAX];
};

/* ---- Connections ---------------------------------------------------------------------------------------------------- */

static void cut_off(struct client *client)
{
    (void)shutdown(client->descriptor, SHUT_RDWR); /* the daemon sees the end, and closes */
    client->since_ms = INT64_MAX;                  /* not a second time */
}

/* Of those that have nothing to lose but their place. */
static void make_room(struct server *server)
{
    struct client *oldest = NULL;
    if (server->client_count * 4 <= server->client_max * 3) return;
    for (uint32_t i = 0; i < server->client_max; i++) {
        struct client *client = &server->clients[i];
        if (client->descriptor >= 0 && (oldest == NULL || client->since_ms < oldest->since_ms)) oldest = client;
    }
    if (oldest == NULL || oldest->since_ms == INT64_MAX) return;
    cut_off(oldest);
    atomic_fetch_add_explicit(&server->remote->crowded_out, 1, memory_order_relaxed);
}

static void come(struct server *server, struct MHD_Connection *connection, void **place)
{
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    make_room(server);
    for (uint32_t i = 0; info != NULL && i < server->client_max; i++) {
        struct client *client = &server->clients[i];
        if (client->descriptor >= 0) continue;
        *client = (struct client){ .descriptor = info->connect_fd, .since_ms = clock_now_ms() };
        server->client_count++;
        *place = client;
        return;
    }
}

static void come_or_go(void *user, struct MHD_Connection *connection, void **place,
                       enum MHD_ConnectionNotificationCode what)
{
    struct server *server = user;
    if (what == MHD_CONNECTION_NOTIFY_STARTED) {
        come(server, connection, place);
    } else if (*place != NULL) {
        ((struct client *)*place)->descriptor = -1;
        server->client_count--;
        *place = NULL;
    }
}

static void touch(struct MHD_Connection *connection)
{
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    struct client *client = info == NULL ? NULL : info->socket_context;
    if (client != NULL && client->since_ms != INT64_MAX) client->since_ms = clock_now_ms();
}

static void cut_off_the_slow(struct server *server)
{
    const int64_t now = clock_now_ms();
    for (uint32_t i = 0; i < server->client_max; i++) {
        struct client *client = &server->clients[i];
        if (client->descriptor >= 0 && client->since_ms != INT64_MAX && now - client->since_ms > REMOTE_REQUEST_MS)
            cut_off(client);
    }
}

/* ---- Answering ------------------------------------------------------------------------------------------------------ */

static void add_header(struct MHD_Response *response, const char *name, const char *value)
{
    (void)MHD_add_response_header(response, name, value);
}

/* Takes what the answer holds. */
static enum MHD_Result send_answer(struct MHD_Connection *connection, struct answer *answer)
{
    struct MHD_Response *response = MHD_create_response_from_buffer(
        answer->size, answer->text, answer->is_static ? MHD_RESPMEM_PERSISTENT : MHD_RESPMEM_MUST_FREE);
    if (response == NULL) {
        answer_clear(answer);
        return MHD_NO;
    }
    answer->text = NULL;
    add_header(response, "Content-Type", answer->type);
    add_header(response, "Cache-Control", "no-store");
    add_header(response, "X-Content-Type-Options", "nosniff");
    add_header(response, "Referrer-Policy", "no-referrer");
    add_header(response, "X-Frame-Options", "DENY");
    add_header(response, "Cross-Origin-Resource-Policy", "same-origin");
    add_header(response, "Content-Security-Policy",
               answer->policy != NULL ? answer->policy : "default-src 'none'; frame-ancestors 'none'");
    if (answer->status == 401) add_header(response, "WWW-Authenticate", "Bearer");
    if (answer->allow != NULL) add_header(response, "Allow", answer->allow);
    const enum MHD_Result result = MHD_queue_response(connection, (unsigned)answer->status, response);
    MHD_destroy_response(response);
    answer_clear(answer);
    return result;
}

static const char *header_of(struct MHD_Connection *connection, const char *name)
{
    return MHD_lookup_connection_value(connection, MHD_HEADER_KIND, name);
}

static const char *query_of(void *connection, const char *key)
{
    return MHD_lookup_connection_value(connection, MHD_GET_ARGUMENT_KIND, key);
}

/* What can be refused before there is a body: whence the request comes, and how long it will be. */
static void look_at_header(const struct weir_remote *remote, struct MHD_Connection *connection, struct answer *refusal)
{
    const char *why = NULL;
    const char *length = header_of(connection, "Content-Length");
    const struct guard_request headers = { .host = header_of(connection, "Host"), .origin = header_of(connection, "Origin"),
                                           .site = header_of(connection, "Sec-Fetch-Site") };
    const int status = guard_check_origin(&remote->guard, &headers, &why);
    if (status != 0) answer_problem(refusal, status, "%s", why);
    else if (length != NULL && strtoull(length, NULL, 10) > REMOTE_BODY_MAX)
        answer_problem(refusal, 413, "a body may have %d bytes", (int)REMOTE_BODY_MAX);
}

static bool is_json(const char *type)
{
    static const char json[] = "application/json";
    return type != NULL && strncasecmp(type, json, sizeof json - 1) == 0 &&
           (type[sizeof json - 1] == '\0' || type[sizeof json - 1] == ';' || type[sizeof json - 1] == ' ');
}

static bool shows_certificate(struct MHD_Connection *connection)
{
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_GNUTLS_SESSION);
    return info != NULL && tls_client_is_known(info->tls_session);
}

static void answer_request(struct weir_remote *remote, struct MHD_Connection *connection, const char *method,
                           const char *path, struct upload *upload, struct answer *answer)
{
    const bool has_certificate = remote->tls.asks_clients && shows_certificate(connection);
    const char *authorization = header_of(connection, "Authorization");
    struct request request = {
        .at_us = clock_us(CLOCK_MONOTONIC), .method = method, .path = path, .body = { upload->body, upload->size },
        .query = query_of, .connection = connection, .has_certificate = has_certificate,
        .has_token = authorization != NULL, .right = guard_right_of(&remote->guard, authorization, has_certificate),
        .job = "", .vertex = "", .item = "",
    };
    if (upload->is_too_long)
        answer_problem(answer, 413, "a body may have %d bytes", (int)REMOTE_BODY_MAX);
    else if (upload->size > 0 && !is_json(header_of(connection, "Content-Type")))
        answer_problem(answer, 415, "a body must be application/json");
    else
        routes_answer(remote, &request, answer);
}

/* Called with the header, then with each piece of the body, then once more. */
static enum MHD_Result take_request(void *user, struct MHD_Connection *connection, const char *path, const char *method,
                                    const char *version, const char *data, size_t *size, void **state)
{
    (void)version;
    struct server *server = user;
    struct upload *upload = *state;
    if (upload == NULL) {
        upload = *state = calloc(1, sizeof *upload);
        if (upload == NULL) return MHD_NO;
        touch(connection);
        look_at_header(server->remote, connection, &upload->refusal);
        return upload->refusal.status == 0 ? MHD_YES : send_answer(connection, &upload->refusal);
    }
    if (*size > 0) {
        const size_t room = sizeof upload->body - upload->size;
        const size_t taken = *size < room ? *size : room;
        memcpy(upload->body + upload->size, data, taken);
        upload->size += taken;
        upload->is_too_long |= taken < *size;
        *size = 0;
        return MHD_YES;
    }
    struct answer answer = { 0 };
    answer_request(server->remote, connection, method, path, upload, &answer);
    return send_answer(connection, &answer);
}

static void end_request(void *user, struct MHD_Connection *connection, void **state,
                        enum MHD_RequestTerminationCode how)
{
    (void)user;
    (void)how;
    struct upload *upload = *state;
    if (upload == NULL) return;
    answer_clear(&upload->refusal);
    free(upload);
    *state = NULL;
    touch(connection);
}

/* A NUL would end a text before its end: what has one stays as it was sent, and is the name of nothing. */
static size_t unescape(void *user, struct MHD_Connection *connection, char *text)
{
    (void)user;
    (void)connection;
    return strstr(text, "%00") == NULL ? MHD_http_unescape(text) : strlen(text);
}

/* `tls` must live as long as the daemon, which is to be stopped. NULL when there is none. */
static struct MHD_Daemon *start_daemon(struct server *server, const struct tls *tls)
{
    struct MHD_OptionItem secure[] = {
        { MHD_OPTION_HTTPS_MEM_CERT, 0, tls->files[TLS_CERTIFICATE].text },
        { MHD_OPTION_HTTPS_MEM_KEY, 0, tls->files[TLS_KEY].text },
        { MHD_OPTION_HTTPS_PRIORITIES, 0, priorities },
        { tls->asks_clients ? MHD_OPTION_HTTPS_MEM_TRUST : MHD_OPTION_END, 0, tls->files[TLS_AUTHORITIES].text },
        { MHD_OPTION_END, 0, NULL },
    };
    if (!tls->is_enabled) secure[0].option = MHD_OPTION_END;
    return MHD_start_daemon(
        MHD_USE_EPOLL | (tls->is_enabled ? MHD_USE_TLS : 0), 0, NULL, NULL, take_request, server,
        MHD_OPTION_LISTEN_SOCKET, server->listener, MHD_OPTION_ARRAY, secure,
        MHD_OPTION_CONNECTION_LIMIT, server->client_max, MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)REMOTE_IDLE_S,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)REMOTE_HEADER_MAX, MHD_OPTION_UNESCAPE_CALLBACK, unescape, NULL,
        MHD_OPTION_NOTIFY_CONNECTION, come_or_go, server, MHD_OPTION_NOTIFY_COMPLETED, end_request, server, MHD_OPTION_END);
}

/* ---- The thread ----------------------------------------------------------------------------------------------------- */

static uint32_t count_connections(struct MHD_Daemon *daemon)
{
    const union MHD_DaemonInfo *info = MHD_get_daemon_info(daemon, MHD_DAEMON_INFO_CURRENT_CONNECTIONS);
    return info == NULL ? 0 : info->num_connections;
}

static void end_leaving(struct server *server)
{
    MHD_stop_daemon(server->leaving);
    tls_deinit(&server->leaving_tls);
    server->leaving = NULL;
}

/* Whoever comes from now on meets the new certificates; who is here already has a moment to end. */
static bool exchange(struct server *server, struct tls *renewed)
{
    struct MHD_Daemon *made = start_daemon(server, renewed);
    if (made == NULL) return false;
    (void)MHD_quiesce_daemon(server->daemon);
    server->leaving = server->daemon;
    server->leaving_tls = server->remote->tls;
    server->leaving_until_ms = clock_now_ms() + REMOTE_REQUEST_MS;
    server->daemon = made;
    server->remote->tls = *renewed;
    return true;
}

static void renew_certificates(struct server *server)
{
    struct tls renewed;
    struct weir_error error;
    struct weir_remote *remote = server->remote;
    if (server->leaving != NULL || !tls_has_changed(&remote->tls)) return;
    enum weir_code code = tls_renew(&remote->tls, &renewed, &error);
    if (code == WEIR_OK && !exchange(server, &renewed))
        code = weir_error_set(&error, WEIR_ENVIRONMENT, WEIR_REMEDY_RETRY, "HTTPS cannot be started with them");
    if (code != WEIR_OK) tls_deinit(&renewed);
    remote_tell_renewal(remote, code == WEIR_OK ? NULL : &error);
}

static void tick(struct server *server)
{
    struct weir_remote *remote = server->remote;
    cut_off_the_slow(server);
    if (server->leaving != NULL && (count_connections(server->leaving) == 0 || clock_now_ms() >= server->leaving_until_ms))
        end_leaving(server);
    renew_certificates(server);
    remote_watch_times(remote);
    pthread_mutex_lock(&remote->mutex);
    if (remote->job != NULL) rates_measure(&remote->rates, remote->job, clock_us(CLOCK_MONOTONIC));
    pthread_mutex_unlock(&remote->mutex);
}

static int shorter(int most_ms, struct MHD_Daemon *daemon)
{
    MHD_UNSIGNED_LONG_LONG wanted_ms;
    return MHD_get_timeout(daemon, &wanted_ms) == MHD_YES && wanted_ms < (unsigned)most_ms ? (int)wanted_ms : most_ms;
}

static int timeout_ms(struct server *server)
{
    const int64_t left_ms = server->tick_ms - clock_now_ms();
    const int daemon_ms = shorter(left_ms < 0 ? 0 : (int)left_ms, server->daemon);
    return server->leaving == NULL ? daemon_ms : shorter(daemon_ms, server->leaving);
}

/* What poll can wait for; -1, which it passes over, when there is no daemon. */
static int descriptor_of(struct MHD_Daemon *daemon)
{
    return daemon == NULL ? -1 : MHD_get_daemon_info(daemon, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd;
}

static void *run(void *argument)
{
    struct server *server = argument;
    while (!atomic_load(&server->stopping)) {
        struct pollfd descriptors[] = { { .fd = server->wakeup, .events = POLLIN },
                                        { .fd = descriptor_of(server->daemon), .events = POLLIN },
                                        { .fd = descriptor_of(server->leaving), .events = POLLIN } };
        (void)poll(descriptors, 3, timeout_ms(server));
        (void)MHD_run(server->daemon);
        if (server->leaving != NULL) (void)MHD_run(server->leaving);
        if (clock_now_ms() < server->tick_ms) continue;
        tick(server);
        server->tick_ms = clock_now_ms() + TICK_MS;
    }
    return NULL;
}

/* ---- Start and stop ------------------------------------------------------------------------------------------------- */

bool server_is_loopback(const char *address)
{
    struct in_addr four;
    struct in6_addr six;
    if (strcasecmp(address, "localhost") == 0) return true;
    if (inet_pton(AF_INET, address, &four) == 1) return ntohl(four.s_addr) >> 24 == 127;
    return inet_pton(AF_INET6, address, &six) == 1 && IN6_IS_ADDR_LOOPBACK(&six);
}

static enum weir_code cannot_listen(struct weir_error *error, const char *address, const char *port, int problem,
                                    const char *why)
{
    return weir_error_set(error, WEIR_ENVIRONMENT, WEIR_REMEDY_STOP,
                          "the remote interface cannot listen at %s, port %s (rest.bind-address, rest.port): %s%s", address, port,
                          why, problem == EADDRINUSE ? "; choose another port, or 0 for any that is free" : "");
}

/* "localhost" is not looked up: an image may lack /etc/hosts, and whatever a name server says, what counts as this machine alone
 * must be it. Of a name with several addresses the first one that can be had is taken. */
static enum weir_code start_listening(struct server *server, const char *address, const char *port, struct weir_error *error)
{
    const struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV };
    const char *node = strcasecmp(address, "localhost") == 0 ? "127.0.0.1" : address;
    struct addrinfo *found = NULL;
    const int one = 1, result = getaddrinfo(node, port, &hints, &found);
    if (result != 0) return cannot_listen(error, address, port, 0, gai_strerror(result));
    int problem = 0;
    for (const struct addrinfo *at = found; at != NULL && server->listener < 0; at = at->ai_next) {
        const int made = socket(at->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (made >= 0 && setsockopt(made, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) == 0 &&
            bind(made, at->ai_addr, at->ai_addrlen) == 0 && listen(made, 1024) == 0) {
            server->listener = made;
            break;
        }
        problem = errno;
        if (made >= 0) close(made);
    }
    freeaddrinfo(found);
    return server->listener >= 0 ? WEIR_OK : cannot_listen(error, address, port, problem, strerror(problem));
}

static bool name_url(struct server *server)
{
    struct sockaddr_storage address;
    socklen_t size = sizeof address;
    char host[64], port[16];
    struct weir_remote *remote = server->remote;
    if (getsockname(server->listener, (struct sockaddr *)&address, &size) != 0 ||
        getnameinfo((struct sockaddr *)&address, size, host, sizeof host, port, sizeof port,
                    NI_NUMERICHOST | NI_NUMERICSERV) != 0)
        return false;
    const bool is_six = address.ss_family == AF_INET6;
    (void)snprintf(remote->url, sizeof remote->url, "%s://%s%s%s:%s", remote->tls.is_enabled ? "https" : "http",
                   is_six ? "[" : "", host, is_six ? "]" : "", port);
    return true;
}

/* A quarter of the descriptors that the process may have: files and brokers need theirs. */
static uint32_t count_places(const weir_config *config)
{
    struct rlimit limit;
    uint32_t places = (uint32_t)weir_config_i64(config, "rest.connections");
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur / 4 < places) places = (uint32_t)(limit.rlim_cur / 4);
    return places < CONNECTIONS_MIN ? CONNECTIONS_MIN : places;
}

static bool start_thread(struct server *server)
{
    sigset_t all, before;
    sigfillset(&all);
    if (pthread_sigmask(SIG_SETMASK, &all, &before) != 0) return false;
    const bool good = pthread_create(&server->thread, NULL, run, server) == 0;
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (good) (void)pthread_setname_np(server->thread, "weir-remote");
    return good;
}

static void destroy(struct server *server)
{
    if (server->leaving != NULL) end_leaving(server);
    if (server->daemon != NULL) MHD_stop_daemon(server->daemon); /* closes the listener */
    else if (server->listener >= 0) close(server->listener);
    if (server->wakeup >= 0) close(server->wakeup);
    free(server->clients);
    free(server);
}

enum weir_code server_start(struct weir_remote *remote, struct server **made, struct weir_error *error)
{
    const char *address = weir_config_text(remote->options.config, "rest.bind-address");
    const char *port = weir_config_text(remote->options.config, "rest.port");
    struct server *server = calloc(1, sizeof *server);
    if (server == NULL) return weir_error_set(error, WEIR_NO_MEMORY, WEIR_REMEDY_STOP, "no memory for the remote interface");
    server->remote = remote;
    server->listener = server->wakeup = -1;
    server->tick_ms = clock_now_ms() + TICK_MS;
    server->client_max = count_places(remote->options.config);
    server->clients = malloc(server->client_max * sizeof *server->clients);
    for (uint32_t i = 0; server->clients != NULL && i < server->client_max; i++) server->clients[i].descriptor = -1;
    server->wakeup = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    enum weir_code code = start_listening(server, address, port, error);
    if (code == WEIR_OK && (server->clients == NULL || server->wakeup < 0 || !name_url(server) ||
                            (server->daemon = start_daemon(server, &remote->tls)) == NULL || !start_thread(server)))
        code = weir_error_set(error, WEIR_ENVIRONMENT, WEIR_REMEDY_STOP, "the remote interface cannot be started: %s",
                              strerror(errno));
    if (code == WEIR_OK) *made = server;
    else destroy(server);
    return code;
}

void server_stop(struct server *server)
{
    const uint64_t one = 1;
    if (server == NULL) return;
    atomic_store(&server->stopping, true);
    const ssize_t woken = write(server->wakeup, &one, sizeof one);
    (void)woken; /* else it looks a tick later */
    pthread_join(server->thread, NULL);
    destroy(server);
}
