/* A job over HTTP: what it does, what it has done, and for those who hold a token checkpoints, savepoints, another
 * parallelism and the end. Paths are shaped as Flink's; GET /openapi.yaml describes them all. Part of the library weir-remote.
 *
 * weir_main starts it by itself where `rest.port` is set. A host program that embeds a job starts it like this:
 *
 *     weir_remote_start(&remote, &error, .job = job, .config = config, .name = "orders");
 *     ...
 *     weir_remote_stop(remote);          before weir_job_destroy
 *
 * It has one thread of its own, which never waits for the job. What it refuses: lib/remote/README.md. */
#ifndef WEIR_REMOTE_H
#define WEIR_REMOTE_H

#include "weir/weir.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct weir_remote weir_remote;

struct weir_remote_options {
    size_t size;
    weir_job *job;             /* borrowed, and so is */
    const weir_config *config; /* rest.port and what else begins with rest. */
    const char *name;          /* of the job */
    const char *program;       /* NULL = name */
    /* Begins to start the job anew with another parallelism: `job` ends, and weir_remote_restarted follows. Called on the
     * remote interface's thread. NULL: this program cannot do that, and answers so. */
    enum weir_code (*rescale)(void *user, uint32_t parallelism, struct weir_error *error);
    void *user;
    /* Takes what turns up while it runs, on the remote interface's thread: a certificate that was renewed, that cannot be used,
     * or that expires within a fortnight. NULL: nobody is told. */
    weir_finding_fn *found;
};

/* Looks at rest. and security.ssl.rest. and hands over what is wrong, with which weir_remote_start would refuse, and what ought
 * to be known: that what is sent can be read by others, that a certificate has expired, or soon will have. Nothing where
 * rest.port is not set. `weir validate` prints all of it, weir_main logs the warnings. */
WEIR_API void weir_remote_examine(const weir_config *config, weir_finding_fn *found, void *user);

/* WEIR_USAGE: something else than this machine may ask, and there is neither a token nor certificates are asked for; a token is
 * too short; keys that make no sense together. WEIR_ENVIRONMENT: the port is taken, or a certificate cannot be used. */
WEIR_API enum weir_code weir_remote_start_(const struct weir_remote_options *options, weir_remote **remote,
                                           struct weir_error *error);
#define weir_remote_start(remote, error, ...)                                                                          \
    weir_remote_start_(&(struct weir_remote_options){ .size = sizeof(struct weir_remote_options), __VA_ARGS__ },       \
                       (remote), (error))
/* Where it listens: "http://127.0.0.1:8081". Borrowed until weir_remote_stop. */
WEIR_API const char *weir_remote_url(const weir_remote *remote);

/* `job` is in the place of the one before: NULL, none yet; when this returns, nobody uses the one before. Any thread. NULL for
 * `remote` is fine, here and below. */
WEIR_API void weir_remote_restarted(weir_remote *remote, weir_job *job);

/* Ends what is being answered. */
WEIR_API void weir_remote_stop(weir_remote *remote);

#ifdef __cplusplus
}
#endif

#endif
