/* Savepoints: a committed checkpoint with all that it needs, copied into a folder of its own, which belongs to the user.
 * The folder is laid out as a store, so that everything that reads a store reads it: restoring, survey.h, weir/inspect.h.
 *
 *   <directory>/savepoint-<job>-<epoch>-<16 digits of its id>/
 *       store          the savepoint's own id, and of which job it is (as in every store)
 *       log-<i>-<n>    the checkpoint's frame and those above its redo point, each where it lay in the store; the rest of
 *                      the file is a hole
 *       base-<i>-<n>   its bases; one of files by reference is written as units, and the checkpoint's frame names it so
 *       savepoint      the mark: which frame is the checkpoint. Text, written last and renamed into its place: a folder
 *                      without it is half a savepoint, and none
 *
 *   weir savepoint 1
 *   id <32 digits>
 *   job <job> <slot>
 *   store <id of the store that it was taken from>
 *   checkpoint <incarnation> <epoch>
 *   frame <file> <offset> <length> <hash>       the three numbers are hexadecimal
 *   taken-as <length> <hash>                    of the frame in that store, hexadecimal; left out when they are the same
 *   taken <milliseconds since 1970>
 *   bytes <of frames and bases>
 *   hash <XXH3 64 of the lines before it>
 *
 * Length and hash of the frame stand in the mark, those of the bases and of the frame before in each frame: nothing can be
 * exchanged, cut off or flipped without being found. No name in it is a path, so the folder may be moved and copied.
 *
 * A savepoint begins when the checkpoint is committed, and the store keeps what it needs until the copy is done: it costs
 * the tasks nothing, a buffer of memory, and the disk one copy. */
#ifndef CHECKPOINT_SAVEPOINT_H
#define CHECKPOINT_SAVEPOINT_H

#include "checkpoint/store.h"

/* With its NUL. */
#define SAVEPOINT_PATH_MAX 1024

struct savepoint_mark {
    char id[STORE_ID_MAX];
    char job[72];
    char slot[16];
    char store[STORE_ID_MAX];
    struct weir_frame_name frame; /* incarnation and epoch are the checkpoint's name */
    struct weir_frame_name taken; /* as it is in the store that it was taken from: differs where bases became units */
    int64_t wall_ms;              /* when the checkpoint was made */
    uint64_t bytes;
};

/* ---- Writing: any thread, one at a time, blocking ---------------------------------------------------------------- */

struct savepoint;

/* Looks whether a savepoint can be made in `directory`, which is made when missing (the one above it must exist).
 * `disk` NULL = disk_system. WEIR_ENVIRONMENT. */
enum weir_code savepoint_prepare(const struct disk *disk, const char *directory, struct weir_error *error);

/* Makes units of a base of files by reference (links.h), which a savepoint does not have: any backend can begin with it,
 * and none of its files is another's. `states`, of the writer, is borrowed until the end. */
struct savepoint_units {
    enum weir_code (*open)(struct store *store, const struct manifest_base *base, void **reading,
                           struct weir_bytes *states, struct weir_error *error);
    /* Appends about `bytes_max`. */
    enum weir_code (*next)(void *reading, size_t bytes_max, struct buffer *out, bool *is_over, struct weir_error *error);
    void (*close)(void *reading);
};

/* Of the committed checkpoint `frame` of `store`, which is borrowed until the end. `random` makes its id. Writes nothing.
 * `units` may be NULL where no base is one of files by reference.
 * `disk` as above. NULL when there is no memory. */
struct savepoint *savepoint_create(struct store *store, const struct disk *disk, const char *directory,
                                   const struct weir_frame_name *frame, const struct savepoint_units *units,
                                   const uint64_t random[2]);
/* Copies on, about `bytes_max` at a time. `done`: everything is durable, and the mark is written. After a failure
 * abandon it. WEIR_DAMAGED when the store is. */
enum weir_code savepoint_step(struct savepoint *savepoint, uint64_t bytes_max, bool *done, struct weir_error *error);
const char *savepoint_path(const struct savepoint *savepoint); /* the folder's */
uint64_t savepoint_bytes(const struct savepoint *savepoint);   /* copied so far */
/* Frees it; the folder stays as it is. NULL is allowed. */
void savepoint_destroy(struct savepoint *savepoint);
/* The same, and removes what there is of the folder. */
void savepoint_abandon(struct savepoint *savepoint);

/* ---- Reading: any thread, blocking ------------------------------------------------------------------------------- */

/* WEIR_ENVIRONMENT: there is no such folder, or no right to read it, or it holds no savepoint, or half of one. WEIR_DAMAGED.
 * `disk` NULL = disk_system. */
enum weir_code savepoint_read_mark(const struct disk *disk, const char *path, struct savepoint_mark *mark,
                                   struct weir_error *error);
/* Of a store that is open: `found` is false where there is no mark. */
enum weir_code savepoint_peek(const struct disk *disk, const char *path, struct savepoint_mark *mark, bool *found,
                              struct weir_error *error);
/* The mark, and the folder as a store to read from. */
enum weir_code savepoint_open(const struct disk *disk, const char *path, struct savepoint_mark *mark, struct store **store,
                              struct weir_error *error);
/* The beginning of the id of the savepoint at `path`, as its folder's name has it; "" when that is no savepoint's. */
void savepoint_id_in(const char *path, char id[STORE_ID_MAX]);

#endif
