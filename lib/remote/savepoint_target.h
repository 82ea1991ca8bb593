/* Where a savepoint that a request asks for may lie: below execution.checkpointing.savepoint-dir, and nowhere else. */
#ifndef REMOTE_SAVEPOINT_TARGET_H
#define REMOTE_SAVEPOINT_TARGET_H

#include <stddef.h>

#include "weir/weir.h"

/* `target`: as the request has it, absolute or relative to `root`; "" = the root itself. On WEIR_OK `path` is where to make the
 * savepoint. WEIR_USAGE: the target is none below the root; the root or what is there of the target is looked at on the disk,
 * so that no symbolic link leads out of it. */
enum weir_code savepoint_target(const char *root, const char *target, char *path, size_t path_size, struct weir_error *error);
/* Makes the folders in which `path` is to be made, where they are missing. WEIR_ENVIRONMENT. */
enum weir_code savepoint_target_make_parents(const char *path, struct weir_error *error);

#endif
