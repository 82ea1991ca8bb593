/* Manifests and frames for tests: one with a bit of everything, and small ones that form a chain. */
#ifndef HARNESS_SAMPLE_MANIFEST_H
#define HARNESS_SAMPLE_MANIFEST_H

#include "checkpoint/manifest.h"

/* Two sources, three splits, totals, a cut, two operators with states, bases and deltas. Static data. */
const struct manifest *sample_manifest(void);
/* Fails the test unless both say the same. */
void sample_assert_equal(const struct manifest *a, const struct manifest *b);
void sample_assert_operators_equal(const struct manifest_operator *a, const struct manifest_operator *b);

/* Encodes a manifest of one operator with `delta` into `frame`: incarnation, epoch and parent as given (NULL =
 * none). */
struct weir_frame_name sample_frame(struct buffer *frame, uint64_t incarnation, uint64_t epoch,
                                    const struct weir_frame_name *parent, bool is_part, struct weir_bytes delta);

#endif
