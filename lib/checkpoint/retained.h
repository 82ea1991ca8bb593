/* Tells retention what a restart keeps: the restored checkpoint, and those before it that are still whole.
 *
 *   parents of the restored frame ─> k-1, k-2 ... each with its bases and the frames above its own redo point,
 *   until retained_max are known, or something of one is not there any more (it was retired before this start)
 *
 * An older checkpoint that is damaged fails nothing: it is not kept, and neither are those before it. */
#ifndef CHECKPOINT_RETAINED_H
#define CHECKPOINT_RETAINED_H

#include "checkpoint/retention.h"

/* `chain` is store_chain(newest, its redo point) and has been verified; `manifest` is newest's. Says retention_frame
 * and retention_checkpoint, oldest first. With a retained_max of 1 nothing is read. WEIR_NO_MEMORY, or WEIR_ENVIRONMENT
 * when a file that may be needed cannot be looked at: then nothing must be deleted. Environment thread, blocking; nobody
 * appends meanwhile. */
enum weir_code retained_restore(struct store *store, const struct store_chain *chain, const struct manifest *manifest,
                                struct retention *retention, struct weir_error *error);

#endif
