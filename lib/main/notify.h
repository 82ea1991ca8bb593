/* Tells a service manager how a job stands, as sd_notify(3) does: datagrams to the socket that $NOTIFY_SOCKET names.
 *
 *   starting ── EXTEND_TIMEOUT_USEC ──> running: READY=1 ── WATCHDOG=1, STATUS=... ──> STOPPING=1
 *
 * A start takes as long as it takes: brokers may be away, a state large. So while the job is alive, the manager is asked for
 * more time. The watchdog is fed by progress and not by a timer: only while the job's thread goes round, no task has
 * been inside one call for half of $WATCHDOG_USEC, and what restores for it has not stood still for as long
 * (weir_job_is_alive). A task that never comes back from an operator's code is therefore found, and a roll-back that hangs in
 * a disk, and the process is ended by the manager, which is as safe as kill -9.
 *
 * Nothing here waits, and nobody who listens badly can hold a job up: what cannot be sent at once is dropped. Owner: main
 * thread. */
#ifndef MAIN_NOTIFY_H
#define MAIN_NOTIFY_H

#include <sys/socket.h>
#include <sys/un.h>

#include "weir/weir.h"

struct notify {
    int socket; /* -1 = nobody wants to know */
    struct sockaddr_un address;
    socklen_t address_size;
    int64_t watchdog_ms; /* 0 = there is none */
    bool ready, stopping;
    int64_t due_ms, status_due_ms;
    uint64_t last_in; /* records, at the last STATUS */
    int64_t last_ms;
};

/* Looks at the environment. A socket that cannot be used is an error of whoever set the variable: an error. */
enum weir_code notify_init(struct notify *notify, int64_t now_ms, struct weir_error *error);
/* Says STOPPING=1 unless that was said. */
void notify_deinit(struct notify *notify);

/* Until notify_step has something to say; -1 = never. For poll(). */
int notify_timeout_ms(const struct notify *notify, int64_t now_ms);
/* For weir_job_is_alive. */
int64_t notify_patience_ms(const struct notify *notify);
/* When due. */
void notify_step(struct notify *notify, const struct weir_job_status *status, bool is_alive, int64_t now_ms);
void notify_stopping(struct notify *notify);

#endif
