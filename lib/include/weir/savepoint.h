/* Savepoints as folders: what they are, for who has no job at hand. A running job takes them (weir_job_savepoint), and a
 * job begins from one with the key execution.savepoint.path (--from-savepoint). All calls block; any thread. */
#ifndef WEIR_SAVEPOINT_H
#define WEIR_SAVEPOINT_H

#include "weir/inspect.h"

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

/* ---- Writing one ------------------------------------------------------------------------------------------------------ */

/* A savepoint out of nothing: a job that has never run begins with this state, and with positions as if it were new. All of
 * it is in memory until the end. One thread. */
typedef struct weir_savepoint_writer weir_savepoint_writer;

struct weir_savepoint_writer_options {
    size_t size;
    const char *directory;    /* the savepoint becomes a folder in it; made when missing */
    const char *job;          /* the name of the job that is to begin with it */
    uint32_t max_parallelism; /* the job's pipeline.max-parallelism; 0 = 128 */
};

WEIR_API enum weir_code weir_savepoint_writer_create_(const struct weir_savepoint_writer_options *options,
                                                      weir_savepoint_writer **writer, struct weir_error *error);
#define weir_savepoint_writer_create(writer, error, ...)                                                               \
    weir_savepoint_writer_create_(                                                                                     \
        &(struct weir_savepoint_writer_options){ .size = sizeof(struct weir_savepoint_writer_options), __VA_ARGS__ },  \
        (writer), (error))

/* Declares a state as the operator's code does; entries name it by its number: 0, 1, ... in the order of these calls. All
 * states of an operator come before the first entry of any of them. Copies. WEIR_USAGE. */
WEIR_API enum weir_code weir_savepoint_declare(weir_savepoint_writer *writer, const struct weir_inspect_state *state,
                                               struct weir_error *error);
/* Puts a value in place of what was there, a map's entry likewise; adds an element behind a list's last one, wherever
 * `position` says it was. The elements of all subtasks of an operator's own list become one. WEIR_USAGE, WEIR_NO_MEMORY. */
WEIR_API enum weir_code weir_savepoint_put(weir_savepoint_writer *writer, const struct weir_inspect_entry *entry,
                                           struct weir_error *error);
/* Writes it, once; `path` is the folder, borrowed from the writer. */
WEIR_API enum weir_code weir_savepoint_finish(weir_savepoint_writer *writer, const char **path, struct weir_error *error);
WEIR_API void weir_savepoint_writer_destroy(weir_savepoint_writer *writer); /* NULL is allowed */

#ifdef __cplusplus
}
#endif

#endif
