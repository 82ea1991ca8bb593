/* Savepoints as folders: what they are, for who has no job at hand. A running job takes them (weir_job_savepoint), and a
 * job begins from one with the key execution.savepoint.path (--from-savepoint). All calls block; any thread. */
#ifndef WEIR_SAVEPOINT_H
#define WEIR_SAVEPOINT_H

#include "weir/weir.h"

#ifdef __cplusplus
extern "C" {
#endif

struct weir_savepoint {
    size_t size;
    char id[40];
    char job[72];
    char store[40];              /* id of the checkpoint store that it was taken from */
    uint64_t incarnation, epoch; /* of the checkpoint that it is */
    int64_t wall_ms;             /* when that was made; milliseconds since 1970 */
    uint64_t bytes;
};

/* Of a finished savepoint. WEIR_ENVIRONMENT: it is not there, is something else, or was never finished. WEIR_DAMAGED. */
WEIR_API enum weir_code weir_savepoint_look(const char *path, struct weir_savepoint *savepoint, struct weir_error *error);

/* Calls `each` for every folder in `directory` whose name begins with "savepoint-", in no order; `savepoint` is NULL where
 * weir_savepoint_look fails, and `problem` says why. */
typedef void weir_savepoint_fn(void *user, const char *path, const struct weir_savepoint *savepoint,
                               const struct weir_error *problem);
WEIR_API enum weir_code weir_savepoint_list(const char *directory, weir_savepoint_fn *each, void *user,
                                            struct weir_error *error);

/* Removes a savepoint, finished or not, and nothing else: a folder that holds files of somebody else stays. */
WEIR_API enum weir_code weir_savepoint_dispose(const char *path, struct weir_error *error);

#ifdef __cplusplus
}
#endif

#endif
