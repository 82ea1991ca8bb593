/* The units of one operator as a checkpoint has them, in the order in which they must be applied: its bases, then the
 * deltas of the frames above the redo point, oldest first. Holds one chunk or one frame at a time.
 *
 * Any thread, blocking. */
#ifndef STATE_REPLAY_H
#define STATE_REPLAY_H

#include "checkpoint/savepoint.h"
#include "state/state.h"

/* Whole units, and the states of their writer, which may have been another build than that of the checkpoint. */
struct replay_piece {
    const struct manifest_state *states;
    size_t state_count;
    struct weir_bytes units;
};

typedef enum weir_code replay_fn(void *user, const struct replay_piece *piece, struct weir_error *error);

/* The units of one base, a chunk at a time. What `each` answers ends it, unless it is WEIR_OK. Errors as store_read_base. */
enum weir_code replay_base(struct store *store, const struct manifest_base *base, replay_fn *each, void *user,
                           struct weir_error *error);

/* A base of files by reference as units, for replay_base and for savepoints. */
extern const struct savepoint_units replay_units;

struct replay {
    struct store *store;
    const struct manifest_operator *of;  /* in the manifest of the checkpoint */
    const struct store_chain *chain;     /* store_chain from the checkpoint's redo point on */
    uint32_t group_first, group_count;   /* bases that hold nothing of these key groups are left out */
    replay_fn *each;
    void *user;
};

/* What `each` answers ends the replay, unless it is WEIR_OK. Errors as store_read_base, store_read_frame. */
enum weir_code replay_run(const struct replay *replay, struct weir_error *error);

#endif
