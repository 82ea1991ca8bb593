/* Remote: the job over HTTP. One thread, which owns everything below and waits for sockets only.
 *
 *   libmicrohttpd          server.c                guard.c              routes.c             read.c, act.c
 *   bytes ──> request ──> body, limits, time ──> who asks, whence ──> path and method ──> answer: JSON, text
 *
 *   server.c   the thread, connections and their limits, the life of a request
 *   tls.h      certificates, the server's and its clients'
 *   guard.h    Host, Origin and tokens: may this request be answered at all?
 *   routes.h   the table of paths
 *   read.c     what GET answers about the job          act.c     what POST and PATCH begin, and how it went
 *   metrics.c  text for Prometheus, JSON               rates.h   numbers per second, for people
 *   savepoint_target.h   where a savepoint may lie       json.h    writing JSON
 *
 * What it knows of the job it has from public headers (weir/observe.h, weir/weir.h): the library is one of its own, and the
 * core links no HTTP server.
 *
 * Invariants
 *   1. Nothing here waits but for the folder of a savepoint and the files of certificates: not for the job, not for a client. So
 *      nobody who asks can hold up a job, or another who asks.
 *   2. What changes anything needs the write token. Without one in the configuration nothing can be changed.
 *   3. Memory and descriptors are bounded: connections, header, body, time for each.
 *   4. No text of a request becomes a path but by savepoint_target, and none becomes configuration. */
#ifndef REMOTE_REMOTE_H
#define REMOTE_REMOTE_H

#include <pthread.h>
#include <stdatomic.h>

#include "weir/observe.h"
#include "weir/remote.h"
#include "weir/weir.h"

#include "remote/guard.h"
#include "remote/rates.h"
#include "remote/tls.h"

enum {
    REMOTE_BODY_MAX = 16 * 1024,
    REMOTE_HEADER_MAX = 16 * 1024, /* of one connection: request line and header together */
    REMOTE_IDLE_S = 15,            /* a connection on which nothing moves */
    REMOTE_REQUEST_MS = 20000,     /* from the first byte of a request to the last of its body */
    REMOTE_TRIGGERS_KEPT = 64,
    REMOTE_TRIGGER_ID_MAX = 33,
    REMOTE_PATH_MAX = 1024,
    REMOTE_ROUTES_MAX = 32,
};

enum trigger_kind { TRIGGER_CHECKPOINT, TRIGGER_SAVEPOINT, TRIGGER_STOP, TRIGGER_RESCALE };

/* What somebody has begun, to be asked for later. */
struct trigger {
    char id[REMOTE_TRIGGER_ID_MAX]; /* "" = free */
    enum trigger_kind kind;
    uint64_t ticket; /* of the checkpoint, or the number of the savepoint */
    uint32_t parallelism;
    bool is_done;
    bool restarting; /* RESCALE: the job that was is gone */
    struct weir_error error; /* done; WEIR_OK = it went well */
    char location[REMOTE_PATH_MAX];
    uint64_t epoch;
};

/* An answer that was given a moment ago. */
struct kept {
    char *text; /* NULL = none */
    size_t size;
    const char *type;
    int64_t at_us;
};

struct weir_remote {
    /* Set at the start. */
    struct weir_remote_options options;
    struct guard guard;
    struct tls tls;
    char name[72], program[72], url[300];
    int64_t started_ms; /* since 1970 */

    /* The job is exchanged by another thread (weir_remote_restarted), under this mutex; while a request is being answered,
     * and while rates are measured, it is held. */
    pthread_mutex_t mutex;
    weir_job *job; /* NULL = being started anew */
    struct rates rates;
    struct kept kept[REMOTE_ROUTES_MAX]; /* of each route */
    struct trigger triggers[REMOTE_TRIGGERS_KEPT];
    uint64_t trigger_count;

    bool is_time_told; /* of the certificate; the server's thread */
    struct server *server;
    _Atomic uint64_t crowded_out; /* connections that were cut off to make room; the server's thread writes it */
};

/* An answer on its way: the text is malloc'ed, or lasts for ever. */
struct answer {
    int status;
    const char *type; /* of the content */
    char *text;
    size_t size;
    bool is_static;
    const char *policy; /* Content-Security-Policy; NULL = the one that allows nothing */
    char *policy_text;  /* malloc'ed, behind `policy` */
    const char *allow;  /* of a 405 */
};

/* A request that is to be answered, all texts decoded. */
struct request {
    int64_t at_us; /* monotonic */
    const char *method;
    const char *path;
    const char *job, *vertex, *item; /* what stands in the path's places; "" = none */
    struct weir_bytes body;
    /* The text of `?key=`; NULL = there is none. */
    const char *(*query)(void *connection, const char *key);
    void *connection;
    enum guard_right right; /* that whoever asks has */
    bool has_certificate, has_token; /* some token, right or wrong */
};

/* The files of certificates have changed: they are in use from now on, or `error` says why not (else NULL). The server's
 * thread. */
void remote_tell_renewal(struct weir_remote *remote, const struct weir_error *error);
/* Tells when the time has come to see to a new certificate; jobs run for longer than certificates live. The same thread, now and
 * then. */
void remote_watch_times(struct weir_remote *remote);

/* Errors as RFC 9457 has them: {"type": "about:blank", "title", "status", "detail"}. */
WEIR_PRINTF(3, 4) void answer_problem(struct answer *answer, int status, const char *format, ...);
void answer_clear(struct answer *answer);

#endif
