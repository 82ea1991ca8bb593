/* The table of paths. A path is matched component by component; what stands in the places of {job}, {vertex} and {item}
 * must be plain characters of names, so nothing of a path is ever decoded twice or read as another path. */
#ifndef REMOTE_ROUTES_H
#define REMOTE_ROUTES_H

#include "remote/remote.h"

enum { ROUTES_PART_MAX = 256, ROUTES_KEPT_US = 100000 };

enum route_trait {
    ROUTE_NEEDS_JOB = 1, /* not while it is being started anew */
    ROUTE_IS_KEPT = 2,   /* what it answers depends on the moment alone: whoever asks a moment later gets the same */
};

struct route {
    const char *method;
    const char *pattern; /* "/v1/jobs/{job}/plan" */
    enum guard_right right;
    unsigned traits;
    void (*answer)(struct weir_remote *remote, const struct request *request, struct answer *answer);
};
const struct route *routes_at(size_t index); /* NULL behind the last */

/* Where the places of a path are copied to. */
struct route_parts {
    char job[ROUTES_PART_MAX], vertex[ROUTES_PART_MAX], item[ROUTES_PART_MAX];
};

/* The route of a request; NULL: `status` is 404, or 405 and `allow` lists the methods that the path has. */
const struct route *routes_find(const char *method, const char *path, struct route_parts *parts, int *status,
                                char allow[64]);

/* Answers a request that the guard lets in, with what it may do: the route's, or a problem.
 * What takes long to make is made ten times a second at most, however many ask, so that nobody waits long behind it, and
 * whoever looks after /livez least of all. What is asked behind a change sees it. */
void routes_answer(struct weir_remote *remote, struct request *request, struct answer *answer);
/* Under the mutex: what is kept is of another job. */
void routes_forget(struct weir_remote *remote);

/* ---- read.c --------------------------------------------------------------------------------------------------------- */

void read_overview(struct weir_remote *remote, const struct request *request, struct answer *answer);
void read_jobs(struct weir_remote *remote, const struct request *request, struct answer *answer);
void read_jobs_overview(struct weir_remote *remote, const struct request *request, struct answer *answer);
void read_job(struct weir_remote *remote, const struct request *request, struct answer *answer);
void read_plan(struct weir_remote *remote, const struct request *request, struct answer *answer);
void read_config(struct weir_remote *remote, const struct request *request, struct answer *answer);
void read_vertex(struct weir_remote *remote, const struct request *request, struct answer *answer);
void read_backpressure(struct weir_remote *remote, const struct request *request, struct answer *answer);
void read_watermarks(struct weir_remote *remote, const struct request *request, struct answer *answer);
void read_lag(struct weir_remote *remote, const struct request *request, struct answer *answer);
void read_exceptions(struct weir_remote *remote, const struct request *request, struct answer *answer);

/* ---- checkpoints.c -------------------------------------------------------------------------------------------------- */

void read_checkpoints(struct weir_remote *remote, const struct request *request, struct answer *answer);
void read_checkpoint_config(struct weir_remote *remote, const struct request *request, struct answer *answer);
void read_checkpoint(struct weir_remote *remote, const struct request *request, struct answer *answer);

/* ---- metrics.c ------------------------------------------------------------------------------------------------------ */

void read_metrics(struct weir_remote *remote, const struct request *request, struct answer *answer);
void read_prometheus(struct weir_remote *remote, const struct request *request, struct answer *answer);
void read_livez(struct weir_remote *remote, const struct request *request, struct answer *answer);
void read_readyz(struct weir_remote *remote, const struct request *request, struct answer *answer);

/* ---- page.c --------------------------------------------------------------------------------------------------------- */

void read_dashboard(struct weir_remote *remote, const struct request *request, struct answer *answer);
void read_openapi(struct weir_remote *remote, const struct request *request, struct answer *answer);

/* ---- act.c ---------------------------------------------------------------------------------------------------------- */

void act_checkpoint(struct weir_remote *remote, const struct request *request, struct answer *answer);
void act_savepoint(struct weir_remote *remote, const struct request *request, struct answer *answer);
void act_stop(struct weir_remote *remote, const struct request *request, struct answer *answer);
void act_rescale(struct weir_remote *remote, const struct request *request, struct answer *answer);
void act_patch(struct weir_remote *remote, const struct request *request, struct answer *answer);
/* How something that was begun goes on. */
void act_status(struct weir_remote *remote, const struct request *request, struct answer *answer);
void act_rescale_status(struct weir_remote *remote, const struct request *request, struct answer *answer);
/* Under the mutex: the job is about to be exchanged, so what hangs on it is decided. */
void act_settle(struct weir_remote *remote);

/* Takes what `json` holds as the answer; a problem without memory. */
struct json;
void answer_json(struct answer *answer, int status, struct json *json);

#endif
