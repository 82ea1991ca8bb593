/* One run in a process of its own, which may crash, hang and leak. */
#ifndef SIM_CHILD_H
#define SIM_CHILD_H

#include <sys/types.h>

#include "sim/world.h"

struct child {
    pid_t pid; /* 0 = none */
    int pipe;  /* ready to be read when the run has ended, or is about to */
    uint64_t seed;
};

/* False: no process (errno). What `options` point to is used until the end. */
bool child_start(struct child *child, const struct world_options *options);
/* Waits for the end. False when the run has crashed or hung: the report has a sentence about that and little else. */
bool child_finish(struct child *child, struct world_report *report);
/* Both. */
bool child_run(const struct world_options *options, struct world_report *report);

#endif
