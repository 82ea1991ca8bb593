#include "main/notify.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    PATIENCE_MS = 60000, /* where there is no watchdog */
    STARTING_LOOK_MS = 100,
    EXTEND_MS = 30000, /* asked for again and again, so it only has to outlive a few of our own delays */
    STATUS_MS = 5000,
    MESSAGE_MAX = 512,
};

/* "/path", or "@name" in the abstract namespace, where the first byte is zero. */
static bool set_address(struct notify *notify, const char *path)
{
    const size_t size = strlen(path);
    if ((path[0] != '/' && path[0] != '@') || size < 2 || size >= sizeof notify->address.sun_path) return false;
    notify->address.sun_family = AF_UNIX;
    memcpy(notify->address.sun_path, path, size);
    if (path[0] == '@') notify->address.sun_path[0] = '\0';
    notify->address_size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + size);
    return true;
}

/* $WATCHDOG_PID keeps a child from feeding its parent's watchdog. */
static int64_t read_watchdog_ms(void)
{
    const char *usec = getenv("WATCHDOG_USEC"), *pid = getenv("WATCHDOG_PID");
    if (usec == NULL || (pid != NULL && strtoll(pid, NULL, 10) != (long long)getpid())) return 0;
    const long long ms = strtoll(usec, NULL, 10) / 1000;
    return ms > 0 ? ms : 0;
}

enum weir_code notify_init(struct notify *notify, int64_t now_ms, struct weir_error *error)
{
    *notify = (struct notify){ .socket = -1, .last_ms = now_ms };
    const char *path = getenv("NOTIFY_SOCKET");
    if (path == NULL || path[0] == '\0') return WEIR_OK;
    if (!set_address(notify, path))
        return weir_error_set(error, WEIR_ENVIRONMENT, WEIR_REMEDY_STOP,
                              "NOTIFY_SOCKET is '%.120s', which is no socket of a service manager: a path that begins with / "
                              "or @, of at most %zu bytes", path, sizeof notify->address.sun_path - 1);
    notify->socket = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (notify->socket < 0)
        return weir_error_set(error, WEIR_ENVIRONMENT, WEIR_REMEDY_STOP, "no socket for NOTIFY_SOCKET: %s", strerror(errno));
    notify->watchdog_ms = read_watchdog_ms();
    return WEIR_OK;
}

static void say(struct notify *notify, const char *text)
{
    if (notify->socket < 0) return;
    (void)sendto(notify->socket, text, strlen(text), MSG_NOSIGNAL | MSG_DONTWAIT,
                 (const struct sockaddr *)&notify->address, notify->address_size);
}

void notify_stopping(struct notify *notify)
{
    if (!notify->stopping) say(notify, "STOPPING=1\nSTATUS=committing what was read");
    notify->stopping = true;
}

void notify_deinit(struct notify *notify)
{
    notify_stopping(notify);
    if (notify->socket >= 0) close(notify->socket);
    notify->socket = -1;
}

int notify_timeout_ms(const struct notify *notify, int64_t now_ms)
{
    if (notify->socket < 0) return -1;
    return notify->due_ms <= now_ms ? 0 : (int)(notify->due_ms - now_ms);
}

static size_t describe(struct notify *notify, const struct weir_job_status *status, int64_t now_ms, char *text, size_t size)
{
    const double seconds = (double)(now_ms - notify->last_ms) / 1000.0;
    const double rate = seconds > 0 && status->records_in >= notify->last_in
                            ? (double)(status->records_in - notify->last_in) / seconds : 0;
    char lag[32] = "?";
    if (status->lag_records >= 0) (void)snprintf(lag, sizeof lag, "%" PRId64, status->lag_records);
    notify->last_in = status->records_in;
    notify->last_ms = now_ms;
    notify->status_due_ms = now_ms + STATUS_MS;
    if (!status->running)
        return (size_t)snprintf(text, size, "STATUS=%s\n", notify->ready ? "rolling back, or waiting for the brokers"
                                                                         : "starting, or waiting for the brokers");
    return (size_t)snprintf(text, size, "STATUS=epoch %" PRIu64 ", %.0f records/s in, lag %s, commit %.1f ms\n",
                            status->epoch_committed, rate, lag, status->commit_latency_ms);
}

int64_t notify_patience_ms(const struct notify *notify)
{
    return notify->watchdog_ms > 0 ? notify->watchdog_ms / 2 : PATIENCE_MS;
}

void notify_step(struct notify *notify, const struct weir_job_status *status, bool is_alive, int64_t now_ms)
{
    if (notify->socket < 0 || now_ms < notify->due_ms) return;
    char text[MESSAGE_MAX] = "";
    size_t used = 0;
    const bool is_ready = status->running && !notify->ready;
    notify->ready |= is_ready;
    if (is_ready) used += (size_t)snprintf(text, sizeof text, "READY=1\n");
    const bool is_due = is_ready || now_ms >= notify->status_due_ms;
    if (is_due && is_alive && !notify->ready && !notify->stopping)
        used += (size_t)snprintf(text, sizeof text, "EXTEND_TIMEOUT_USEC=%d000\n", EXTEND_MS);
    if (is_alive && notify->watchdog_ms > 0)
        used += (size_t)snprintf(text + used, sizeof text - used, "WATCHDOG=1\n");
    if (is_due && !notify->stopping)
        used += describe(notify, status, now_ms, text + used, sizeof text - used);
    if (used > 0) say(notify, text);

    int64_t pause_ms = notify->ready ? STATUS_MS : STARTING_LOOK_MS;
    if (notify->watchdog_ms > 0 && notify->watchdog_ms / 4 < pause_ms) pause_ms = notify->watchdog_ms / 4;
    notify->due_ms = now_ms + pause_ms;
}
