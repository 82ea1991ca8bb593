/* Makes a run that fails shorter, while it fails in the same way:
 *
 *     whole classes of strokes ──> steps ──> parallelism, partitions, input ──> single strokes ─┐
 *           ^──────────────────────────────── as long as something went ─────────────────────────┘
 *
 * In the same way: the sentences of both violations are the same but for numbers and what stands in quotation marks. Each
 * attempt is a run in a process of its own. Bounded by their number, so that the same seed shrinks to the same run. After
 * Zeller and Hildebrandt, Simplifying and Isolating Failure-Inducing Input (2002): halves first, then ever smaller pieces. */
#ifndef SIM_SHRINK_H
#define SIM_SHRINK_H

#include "sim/world.h"

struct shrunk {
    struct world_options options; /* of the shortest run that was found */
    struct world_report report;
    uint32_t runs;
};
/* `options` and `report` are those of the run that has failed. False when it does not fail again, or hangs, for which
 * nobody waits hundreds of times. */
bool shrink(const struct world_options *options, const struct world_report *report, struct shrunk *shrunk);

#endif
