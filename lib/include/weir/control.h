/* Talking to the jobs of this machine. Every program that runs by weir_main listens on a UNIX socket in the user's runtime
 * directory, and answers questions of the same user; `weir list`, `weir status`, `weir stop` and the like ask them. Part
 * of the library weir-main.
 *
 * The runtime directory is $WEIR_RUNTIME_DIR, else $XDG_RUNTIME_DIR/weir, else /tmp/weir-UID. What goes over the
 * socket: lib/main/README.md. */
#ifndef WEIR_CONTROL_H
#define WEIR_CONTROL_H

#include "weir/weir.h"

#ifdef __cplusplus
extern "C" {
#endif

/* One line of an answer. Both texts are borrowed. */
typedef void weir_control_fn(void *user, const char *key, const char *value);

/* Puts `request` to the running job `job`, which is its name or its checkpoint directory, and hands every line of the
 * answer to `line` (may be NULL). Requests:
 *
 *   status       name, program, pid, directory, and every number of weir_job_status
 *   checkpoint   takes one now; answers `epoch` when it is committed
 *   savepoint [DIR]       takes one in a new folder below DIR, or where the job's configuration says; answers `epoch`,
 *                         `bytes` and `path` when it is whole
 *   stop-savepoint [DIR]  the same, and ends the job with it; answers when it has ended
 *   rescale N    commits, and goes on with parallelism N in the same process; answers the status when it runs again. Where
 *                that commit fails the job goes on as it was, from the one before, and the answer says why
 *   stop         commits the epoch and ends the job; answers when it has ended
 *   cancel       ends it where it stands; answers when it has ended
 *
 * `patience_ms`: for the answer to begin; what a job has to wait for itself is waited for without limit. WEIR_OK, the
 * job's own refusal, or WEIR_ENVIRONMENT when there is no such job, or no answer. Any thread; blocks. */
WEIR_API enum weir_code weir_control_ask(const char *job, const char *request, int64_t patience_ms, weir_control_fn *line,
                                         void *user, struct weir_error *error);

/* The status of every running job of this machine and user: `begin` once for each, then `line` for its lines. */
WEIR_API enum weir_code weir_control_each(int64_t patience_ms, void (*begin)(void *user), weir_control_fn *line,
                                          void *user, struct weir_error *error);

#ifdef __cplusplus
}
#endif

#endif
