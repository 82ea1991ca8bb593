#include "proxy.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "broker.h"
#include "process.h"

enum { PAIRS_MAX = 500, CHUNK_BYTES = 65536, QUEUED_MAX = 256 };

/* Seen by the program, its facts and the proxy process. */
static struct {
    atomic_int delay_ms;
    atomic_bool cut[2]; /* from clients, to clients */
} *shared;

static char address[64];

static void require(bool fact, const char *what)
{
    if (fact) return;
    (void)fprintf(stderr, "proxy: %s: %s\n", what, strerror(errno));
    exit(EXIT_FAILURE);
}

/* ---- The proxy process ---------------------------------------------------------------------------------------------- */

struct chunk {
    struct chunk *next;
    int64_t due_ms;
    size_t size, sent;
    char bytes[];
};

/* One direction of a connection. */
struct way {
    int source, target;
    int cut_index;
    int queued;
    bool ended; /* the source has closed */
    struct chunk *first, **last;
};

struct pair {
    bool open;
    struct way ways[2]; /* from the client, to it */
};

static struct pair pairs[PAIRS_MAX];

static int listen_anywhere(int *port)
{
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t size = sizeof at;
    const int descriptor = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    require(descriptor >= 0 && bind(descriptor, (struct sockaddr *)&at, sizeof at) == 0 && listen(descriptor, 128) == 0 &&
                getsockname(descriptor, (struct sockaddr *)&at, &size) == 0, "listen");
    *port = ntohs(at.sin_port);
    return descriptor;
}

static void be_quick(int descriptor)
{
    const int yes = 1;
    (void)setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
}

static void accept_one(int listener, int target_port)
{
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                              .sin_port = htons((uint16_t)target_port) };
    const int client = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    const int broker = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    size_t i = 0;
    while (i < PAIRS_MAX && pairs[i].open) i++;
    if (client < 0 || broker < 0 || i == PAIRS_MAX || connect(broker, (struct sockaddr *)&at, sizeof at) != 0) {
        close(client);
        close(broker);
        return;
    }
    be_quick(client);
    be_quick(broker);
    pairs[i] = (struct pair){ .open = true, .ways = { { .source = client, .target = broker, .cut_index = 0 },
                                                      { .source = broker, .target = client, .cut_index = 1 } } };
    for (int k = 0; k < 2; k++) pairs[i].ways[k].last = &pairs[i].ways[k].first;
}

static void take(struct way *way)
{
    struct chunk *chunk = malloc(sizeof *chunk + CHUNK_BYTES);
    require(chunk != NULL, "memory");
    const ssize_t size = recv(way->source, chunk->bytes, CHUNK_BYTES, MSG_DONTWAIT);
    if (size <= 0) {
        way->ended = size == 0 || (errno != EAGAIN && errno != EINTR);
        free(chunk);
        return;
    }
    chunk->next = NULL;
    chunk->size = (size_t)size;
    chunk->sent = 0;
    chunk->due_ms = process_now_ms() + atomic_load(&shared->delay_ms);
    *way->last = chunk;
    way->last = &chunk->next;
    way->queued++;
}

/* Sends what is due; false when the target is gone. */
static bool give(struct way *way)
{
    while (way->first != NULL && way->first->due_ms <= process_now_ms() && !atomic_load(&shared->cut[way->cut_index])) {
        struct chunk *chunk = way->first;
        const ssize_t sent =
            send(way->target, chunk->bytes + chunk->sent, chunk->size - chunk->sent, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (sent < 0) return errno == EAGAIN || errno == EINTR;
        chunk->sent += (size_t)sent;
        if (chunk->sent < chunk->size) return true;
        way->first = chunk->next;
        if (way->first == NULL) way->last = &way->first;
        way->queued--;
        free(chunk);
    }
    return !way->ended || way->first != NULL;
}

static void close_pair(struct pair *pair)
{
    close(pair->ways[0].source);
    close(pair->ways[0].target);
    for (int k = 0; k < 2; k++)
        for (struct chunk *chunk = pair->ways[k].first, *next; chunk != NULL; chunk = next) {
            next = chunk->next;
            free(chunk);
        }
    *pair = (struct pair){ 0 };
}

static void run(int listener, int target_port)
{
    static struct pollfd descriptors[1 + 2 * PAIRS_MAX];
    static struct way *owners[1 + 2 * PAIRS_MAX];
    for (;;) {
        nfds_t count = 1;
        bool waiting = false;
        descriptors[0] = (struct pollfd){ .fd = listener, .events = POLLIN };
        for (size_t i = 0; i < PAIRS_MAX; i++) {
            for (int k = 0; pairs[i].open && k < 2; k++) {
                struct way *way = &pairs[i].ways[k];
                waiting |= way->first != NULL;
                if (way->queued >= QUEUED_MAX || way->ended) continue;
                owners[count] = way;
                descriptors[count++] = (struct pollfd){ .fd = way->source, .events = POLLIN };
            }
        }
        if (poll(descriptors, count, waiting ? 1 : 20) < 0) continue;
        for (nfds_t i = 1; i < count; i++)
            if (descriptors[i].revents != 0) take(owners[i]);
        if (descriptors[0].revents & POLLIN) accept_one(listener, target_port);
        for (size_t i = 0; i < PAIRS_MAX; i++)
            if (pairs[i].open && (!give(&pairs[i].ways[0]) || !give(&pairs[i].ways[1]))) close_pair(&pairs[i]);
    }
}

/* ---- The broker's own listener for it ------------------------------------------------------------------------------- */

/* A port that was free a moment ago, outside of the range for outgoing connections. */
static int choose_port(void)
{
    for (int port = 19000 + (int)getpid() % 800; port < 20000; port++) {
        struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                                  .sin_port = htons((uint16_t)port) };
        const int descriptor = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        const bool is_free = bind(descriptor, (struct sockaddr *)&at, sizeof at) == 0;
        close(descriptor);
        if (is_free) return port;
    }
    require(false, "no free port");
    return 0;
}

/* Adds to the lines of the settings that name listeners. */
static void add_listener(int broker_port, int proxy_port)
{
    char path[700], command[2000];
    (void)snprintf(path, sizeof path, "%s/1/server.properties", broker_folder());
    (void)snprintf(command, sizeof command,
                   "sed -i -e 's|^listeners=.*|&,PROXY://127.0.0.1:%d|' "
                   "-e 's|^advertised.listeners=.*|&,PROXY://127.0.0.1:%d|' '%s' && "
                   "echo 'listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,PROXY:PLAINTEXT' >>'%s'",
                   broker_port, proxy_port, path, path);
    require(system(command) == 0, "the broker's settings");
}

void proxy_start(void)
{
    int proxy_port;
    const int listener = listen_anywhere(&proxy_port), broker_port = choose_port();
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    require(shared != MAP_FAILED, "memory");
    (void)snprintf(address, sizeof address, "127.0.0.1:%d", proxy_port);
    const pid_t parent = getpid(), child = fork();
    require(child >= 0, "fork");
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent) _exit(0);
        run(listener, broker_port);
    }
    close(listener);
    add_listener(broker_port, proxy_port);
    broker_restart();
}

const char *proxy_address(void) { return address; }
void proxy_delay(int one_way_ms) { atomic_store(&shared->delay_ms, one_way_ms); }

void proxy_cut(bool from_clients, bool to_clients)
{
    atomic_store(&shared->cut[0], from_clients);
    atomic_store(&shared->cut[1], to_clients);
}
