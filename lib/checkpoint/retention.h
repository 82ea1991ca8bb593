/* Which files of the store may go. Pure: names in, names out.
 *
 *   restore k   retention_init, retention_found(every file there is), then retained_restore (retained.h): for the chain
 *               above the redo points, oldest first, retention_frame, and retention_checkpoint for k and those before it
 *               that are still whole                            anew for every restore, also inside the process
 *   commit n    retention_frame(its early parts), retention_checkpoint(n), retention_collect -> store_delete each
 *
 * A checkpoint needs its bases and the frames of its chain above its redo point; the newest `retained_max` checkpoints
 * are kept with what they need. Everything else goes, as an action of "n committed" only (R3):
 *   1. bases that a checkpoint named and no retained one names any more, and the tables that only such bases refer to;
 *   2. segments of this incarnation's log below the first that is needed;
 *   3. files of older incarnations that no retained checkpoint needs, orphans of crashes among them;
 *   4. never a file of a newer incarnation, never a base of this one that no manifest has named yet nor what it refers
 *      to, never a name that is neither log nor base nor table.
 *
 * Owner: job thread. */
#ifndef CHECKPOINT_RETENTION_H
#define CHECKPOINT_RETENTION_H

#include "base/base.h"
#include "checkpoint/links.h"
#include "checkpoint/manifest.h"

struct retention_name {
    char file[STORE_FILE_MAX];
};
struct retention_names {
    VEC(struct retention_name) files;
};

/* A retained checkpoint. */
struct retention_checkpoint {
    uint64_t epoch;
    uint64_t redo_epoch;
    struct retention_names bases;
};

/* A base of files by reference (links.h), and the files that it refers to. */
struct retention_links {
    char base[STORE_FILE_MAX];
    struct retention_names tables;
};

/* A log segment that holds frames of the chain. */
struct retention_segment {
    uint64_t incarnation;
    uint64_t number;
    uint64_t epoch_last; /* newest epoch of the chain in it, parts included */
};

struct retention {
    uint64_t incarnation;
    size_t retained_max;
    VEC(struct retention_checkpoint) checkpoints; /* oldest first */
    VEC(struct retention_segment) segments;       /* in the order of the chain */
    struct retention_names known;                 /* files that may have to go one day */
    VEC(struct retention_links) links;            /* of the bases that a checkpoint names, or is about to */
    bool is_settled;                              /* of `known`, nothing that retention_collect has left may go now */
    uint64_t own_segment_first;                   /* own segments below it are gone already; 0 = unknown */
    struct weir_frame_name frame_last;            /* the newest of the chain */
    bool incomplete;                              /* memory failed: sticky */
};

/* Per restore, before anything is written: what is in the store then and is not needed is an orphan.
 * `retained_max` is at least 1 (execution.checkpointing.num-retained). */
void retention_init(struct retention *retention, uint64_t incarnation, size_t retained_max);
void retention_deinit(struct retention *retention);

/* A file that is in the store. Names of newer incarnations and foreign names are ignored. False: no memory. */
bool retention_found(struct retention *retention, const char *file);
/* A frame or part of the chain that leads to the restored checkpoint, oldest first. False: no memory. */
bool retention_frame(struct retention *retention, const struct weir_frame_name *frame);
/* What a base of files by reference refers to: said before the first checkpoint that names it. False: no memory. */
bool retention_links(struct retention *retention, const char *base, const struct links *links);
/* Checkpoint `frame` is committed (or restored, or was committed before that). Also says retention_frame; its parent was
 * the last frame said, unless it does not need it. False: no memory; nothing will be deleted until the next restore,
 * because what is unknown may be needed. */
bool retention_checkpoint(struct retention *retention, const struct weir_frame_name *frame,
                          const struct manifest *manifest);
/* Appends the files that may go now, to be deleted in this order, and forgets them. Only after a commit of this
 * incarnation. False: no memory, what was appended may be deleted all the same. */
bool retention_collect(struct retention *retention, struct retention_names *deletions);
void retention_names_clear(struct retention_names *names);

#endif
