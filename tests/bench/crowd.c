/* A thousand clients of the remote interface who do not behave, and one who does. Usage: crowd PORT PATH CONNECTIONS
 *
 *   six of ten    say nothing
 *   two of ten    dribble: a byte of a header each second
 *   two of ten    ask for PATH, and read a KiB of the answer each second
 *   one more      asks for /livez every 50 ms, and times it
 *
 * Who is hung up on comes back a second later. Waits until the port is open, and ends when it is closed, or with SIGTERM.
 * Prints one line: probes=N longest_ms=X p99_ms=X open=CONNECTIONS-AT-MOST. */
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench.h"

enum { CONNECTIONS_MAX = 10000, SLICES = 100, SLICE_US = 10000, PROBE_US = 50000, PROBES_MAX = 1 << 20, READER_BUFFER = 4096 };

enum kind { SILENT, DRIBBLING, READING };

struct client {
    int descriptor; /* -1 = none */
    bool has_asked;
};

static struct {
    struct sockaddr_in address;
    const char *path;
    int count, open, open_max;
    struct client clients[CONNECTIONS_MAX];
    volatile sig_atomic_t is_over;
} crowd;

/* -1 = nobody listens there. */
static int connect_one(int receive_buffer)
{
    const int made = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (made < 0) bench_die("socket", strerror(errno));
    if (receive_buffer > 0) (void)setsockopt(made, SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof receive_buffer);
    if (connect(made, (const struct sockaddr *)&crowd.address, sizeof crowd.address) == 0) return made;
    close(made);
    return -1;
}

static enum kind kind_of(int index) { return index % 10 < 6 ? SILENT : index % 10 < 8 ? DRIBBLING : READING; }

static void hang_up(struct client *client)
{
    close(client->descriptor);
    *client = (struct client){ .descriptor = -1 };
    crowd.open--;
}

static bool say(const struct client *client, const char *text)
{
    return send(client->descriptor, text, strlen(text), MSG_NOSIGNAL | MSG_DONTWAIT) > 0;
}

static bool act(struct client *client, enum kind kind)
{
    char request[400], part[1024];
    if (kind != SILENT && !client->has_asked) {
        (void)snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: localhost\r\n%s",
                       kind == READING ? crowd.path : "/livez", kind == READING ? "\r\n" : "X-Slow: ");
        client->has_asked = true;
        return say(client, request);
    }
    if (kind == DRIBBLING) return say(client, "x");
    const ssize_t got = recv(client->descriptor, part, sizeof part, MSG_DONTWAIT);
    return got > 0 || (got < 0 && errno == EAGAIN);
}

static void visit(int index)
{
    struct client *client = &crowd.clients[index];
    const enum kind kind = kind_of(index);
    if (client->descriptor < 0) {
        client->descriptor = connect_one(kind == READING ? READER_BUFFER : 0);
        if (client->descriptor < 0) return;
        crowd.open++;
        if (crowd.open > crowd.open_max) crowd.open_max = crowd.open;
    }
    if (!act(client, kind)) hang_up(client);
}

/* ---- The one who asks /livez ----------------------------------------------------------------------------------------- */

static struct {
    int descriptor;
    bool is_waiting;
    int64_t asked_us;
    size_t used;
    char text[4096];
    double longest_ms;
    uint32_t count;
    double *all;
} probe = { .descriptor = -1 };

static void ask(int64_t now_us)
{
    static const char request[] = "GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n";
    probe.asked_us = now_us;
    probe.used = 0;
    if (probe.descriptor < 0) probe.descriptor = connect_one(0);
    if (probe.descriptor < 0) crowd.is_over = true;
    else probe.is_waiting = send(probe.descriptor, request, sizeof request - 1, MSG_NOSIGNAL) == (ssize_t)sizeof request - 1;
}

static void note(double ms)
{
    if (ms > probe.longest_ms) probe.longest_ms = ms;
    if (probe.count < PROBES_MAX) probe.all[probe.count++] = ms;
}

/* An answer is whole when its body has come, which ends with a newline. */
static void listen_for_answer(void)
{
    const ssize_t got = recv(probe.descriptor, probe.text + probe.used, sizeof probe.text - 1 - probe.used, MSG_DONTWAIT);
    if (got < 0 && errno == EAGAIN) return;
    if (got <= 0) {
        close(probe.descriptor);
        probe.descriptor = -1;
        probe.is_waiting = false;
        return;
    }
    probe.used += (size_t)got;
    probe.text[probe.used] = '\0';
    const char *body = strstr(probe.text, "\r\n\r\n");
    if (body == NULL || strchr(body + 4, '\n') == NULL) return;
    if (strncmp(probe.text, "HTTP/1.1 200", 12) != 0) bench_die("/livez", probe.text);
    note((double)(bench_now_us() - probe.asked_us) / 1000);
    probe.is_waiting = false;
}

static int compare(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void on_signal(int signal)
{
    (void)signal;
    crowd.is_over = true;
}

static void run(void)
{
    int64_t visit_us = bench_now_us(), probe_us = visit_us;
    for (int slice = 0; !crowd.is_over;) {
        const int64_t now_us = bench_now_us();
        if (now_us >= visit_us) {
            for (int i = slice; i < crowd.count; i += SLICES) visit(i);
            slice = (slice + 1) % SLICES;
            visit_us = now_us + SLICE_US;
        }
        if (now_us >= probe_us && !probe.is_waiting) {
            ask(now_us);
            probe_us = now_us + PROBE_US;
        }
        struct pollfd descriptor = { .fd = probe.is_waiting ? probe.descriptor : -1, .events = POLLIN };
        if (poll(&descriptor, 1, SLICE_US / 1000) > 0) listen_for_answer();
    }
}

int main(int argc, char **argv)
{
    if (argc != 4) bench_die("usage", "crowd PORT PATH CONNECTIONS");
    crowd.address = (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(argv[1])),
                                          .sin_addr = { htonl(INADDR_LOOPBACK) } };
    crowd.path = argv[2];
    crowd.count = atoi(argv[3]);
    if (crowd.count < 1 || crowd.count > CONNECTIONS_MAX) bench_die("usage", "CONNECTIONS is out of range");
    probe.all = calloc(PROBES_MAX, sizeof *probe.all);
    if (probe.all == NULL) bench_die("calloc", strerror(errno));
    for (int i = 0; i < crowd.count; i++) crowd.clients[i].descriptor = -1;
    (void)signal(SIGTERM, on_signal);
    while (!crowd.is_over && (probe.descriptor = connect_one(0)) < 0) (void)poll(NULL, 0, 10);
    run();
    if (probe.count == 0) bench_die("crowd", "nobody has answered");
    qsort(probe.all, probe.count, sizeof *probe.all, compare);
    printf("probes=%u longest_ms=%.1f p99_ms=%.1f open=%d\n", probe.count, probe.longest_ms, probe.all[probe.count * 99 / 100],
           crowd.open_max);
    return EXIT_SUCCESS;
}
