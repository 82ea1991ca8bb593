/* The examination of a job's surroundings: the core's own checks, and those of its connectors (connector.h).
 *
 *   table of checks ── weir_report(row, texts) ──> examination ── once each ──> finding      validate prints it,
 *                                                                                            a start logs or refuses
 *
 * Owner: the thread that examines. */
#ifndef RUNTIME_EXAMINE_H
#define RUNTIME_EXAMINE_H

#include "base/base.h"
#include "weir/connector.h"

struct examination_shared {
    const char *kind;
    void *shared;
    void (*end)(void *shared);
};

struct weir_examination {
    weir_finding_fn *found;
    void *user;
    VEC(uint64_t) told; /* hashes of what was reported */
    VEC(struct examination_shared *) shared;
};

void examination_begin(struct weir_examination *examination, weir_finding_fn *found, void *user);
void examination_end(struct weir_examination *examination);

/* The checkpoint directory of `job`, as its configuration says: named, to be written, on a disk. */
void examine_checkpoints(struct weir_examination *examination, const weir_config *config, const char *job);

/* The first error that a start is refused for; the warnings on the way are logged. */
struct examine_verdict {
    const struct weir_environment *environment;
    struct weir_error error; /* WEIR_OK = none */
    uint32_t more;           /* errors behind the first */
};
weir_finding_fn examine_judge; /* for a struct examine_verdict */

#endif
