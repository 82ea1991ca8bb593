/* What savepoint.c and savepoint_folder.c share. */
#ifndef CHECKPOINT_SAVEPOINT_PRIVATE_H
#define CHECKPOINT_SAVEPOINT_PRIVATE_H

#include "checkpoint/savepoint.h"
#include "checkpoint/store_private.h"

#define SAVEPOINT_ID_DIGITS 16 /* of the id, in the folder's name */

void savepoint_join(char path[STORE_PATH_MAX], const char *directory, const char *file);
/* WEIR_ENVIRONMENT: "savepoint /d/s: <doing> <file>: <errno as text>; <what to do>". */
enum weir_code savepoint_disk_error(struct weir_error *error, const char *path, int result, const char *doing,
                                    const char *file);

/* Both answer a negative errno on failure. */
int savepoint_put_mark(const struct disk *disk, const char *directory, const char *path,
                       const struct savepoint_mark *mark);
int savepoint_remove(const struct disk *disk, const char *path);

#endif
