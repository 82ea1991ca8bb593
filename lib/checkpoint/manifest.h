/* The manifest of a checkpoint, and the frame that carries it: manifest, operator state and the deltas of all shards as
 * one run of bytes with one hash, so that a checkpoint is one durable write.
 *
 *   frame                                            all numbers little-endian
 *      0   8  magic "WEIRFRAM"
 *      8   4  format version: 2 when it holds flights, else 1
 *     12   4  flags: bit 0 = an early part of its epoch; bit 1 = the job is complete: all inputs were used up
 *     16   8  incarnation of the writer
 *     24   8  epoch
 *     32   8  incarnation of the parent frame (0 = none)
 *     40   8  epoch of the parent frame
 *     48   8  length of the frame, everything included: a multiple of 4096
 *     56   8  length of the manifest section
 *     64   m  manifest section (drawn in manifest.c)
 *      .   .  delta section: the pieces that the manifest lists, one behind the other: deltas, then flights
 *      .   .  zeroes up to the multiple of 4096, less 8
 *   -8     8  hash: XXH3 64 of everything before it, seeded with the incarnation
 *
 * The padding belongs to the frame for the disk's sake: no sector of a committed frame is ever written again, and no
 * page has to be read before it is written.
 *
 * Chain: each frame names its parent with place, length and hash, so following parents from a good name finds exactly
 * what was committed. Early parts of an epoch (above the hard limit for changed state) stand in the chain like frames:
 * frame n names the last part of n as its parent, the first part names frame n-1. A part carries deltas only and is
 * never a commit point.
 *
 * Flights are records that barrier n overtook (runtime/flight.h, record/wire.h). They belong to this frame alone: who
 * restores it hands them out, who replays deltas for a later one passes over them.
 *
 * A struct manifest is a view: everything it points to is borrowed, for encoding from its maker, after decoding from
 * the frame's bytes and the arena. Pure; any thread. */
#ifndef CHECKPOINT_MANIFEST_H
#define CHECKPOINT_MANIFEST_H

#include "base/base.h"

#define FRAME_VERSION 1
#define FRAME_VERSION_FLIGHTS 2
#define FRAME_ALIGNMENT 4096
#define FRAME_HEADER_BYTES 64
#define FRAME_TRAILER_BYTES 8

/* The positions of one source, all its subtasks together. */
struct manifest_source {
    const char *name;    /* operator */
    const char *cluster; /* where it reads; "" when it has no name */
    struct weir_splits splits; /* name, identity, position; borrowed: never weir_splits_clear it */
};

/* Mirrors state_declaration (state/state.h); kinds and codecs are those of weir.h. A state that is given up and declared
 * again later is another one: its birth tells, and nothing that older frames and bases hold of its name belongs to it. */
struct manifest_state {
    const char *name;
    uint8_t kind;
    uint8_t codec;
    uint32_t value_size_bytes;
    uint32_t version;    /* of what the codec writes */
    const char *object;  /* name of the form of objects; "" for other codecs */
    uint64_t born_epoch; /* the first epoch that it was declared in */
    int64_t expires_since_ms; /* when its values began to expire, by the job's clock; 0 = they do not */
    /* What was touched no later than this had expired, under this declaration or an earlier one: it may have been cleaned up
     * already, and stays gone whatever is declared from now on. 0 = nothing had. */
    int64_t gone_ms;
};

/* A dump of some key groups that lies in a store: named by store and name, never by path. */
struct manifest_base {
    const char *store; /* kind of store: STORE_KIND_FILE */
    const char *name;
    uint64_t length;
    uint64_t hash;
    uint64_t incarnation; /* of its writer */
    uint32_t group_first;
    uint32_t group_count;
    uint64_t redo_epoch; /* base + deltas redo_epoch + 1 .. n = the state at n */
};

struct manifest_operator {
    const char *name;
    uint32_t parallelism; /* state of the operator itself lies under keys that follow from it */
    size_t state_count;
    struct manifest_state *states;
    size_t base_count;
    struct manifest_base *bases;
    uint64_t redo_epoch; /* up to it nothing is needed from deltas: the smallest of its shards' redo points */
    size_t delta_count;
    struct weir_bytes *deltas; /* of this frame: a piece for each shard that changed */
};

/* Records on their way to one operator, in order: those of one list entry before those of a later one. */
struct manifest_flight {
    const char *operator_name;
    uint32_t port;    /* of the operator */
    uint32_t subtask; /* where they were going */
    uint32_t record_count;
    struct weir_bytes records; /* record/wire.h */
};

/* Where an epoch was told to end. */
struct manifest_cut {
    const char *source;
    const char *split;
    int64_t end;
};

struct manifest {
    const char *store; /* store id */
    const char *job;
    const char *slot;
    uint64_t incarnation;
    uint64_t epoch;
    bool is_part;
    bool is_complete; /* every input had ended before this checkpoint, and every .finish is in it */
    struct weir_frame_name parent; /* incarnation 0 = none */
    int64_t wall_ms;
    const char *build;
    const char *program;
    uint64_t plan_hash;
    bool exactly_once;
    uint32_t max_parallelism;
    uint64_t generation; /* no shard has given a higher one (state/state.h) */
    int64_t clock_ms;    /* of the tasks: processing time has come so far, and never goes back */
    const char *decider; /* kind */
    const char *cluster; /* the decider's; "" when it has no name */
    size_t source_count;
    struct manifest_source *sources;
    struct weir_output_totals totals; /* cumulative since epoch 0, which names partition 0 of every output; borrowed */
    size_t cut_count;
    struct manifest_cut *cuts; /* none when the epoch ended where it liked */
    size_t operator_count;
    struct manifest_operator *operators;
    size_t flight_count;
    struct manifest_flight *flights;
};

/* Puts the frame into `frame` (cleared first) and its incarnation, epoch, length and hash into `name`; file and offset
 * come from store_reserve. NULL texts are written as "". False when there is no memory. */
bool manifest_encode(const struct manifest *manifest, struct buffer *frame, struct weir_frame_name *name);

/* Checks that `frame` is what `name` says: length, magic, version, incarnation, epoch, hash. WEIR_DAMAGED with file,
 * offset, what was found and what was expected. A frame of a newer format answers WEIR_FOREIGN. */
enum weir_code frame_verify(struct weir_bytes frame, const struct weir_frame_name *name, struct weir_error *error);

/* What the 64 bytes of a header say about a frame, unverified: incarnation, epoch and length of `name`, and whether it is
 * an early part. False when it is not one. */
bool frame_peek(struct weir_bytes header, struct weir_frame_name *name, bool *is_part);

/* Decodes a verified frame. Arrays live in `arena`, texts and deltas in `frame`. Every length is checked all the
 * same. */
enum weir_code manifest_decode(struct weir_bytes frame, const struct weir_frame_name *name, struct arena *arena,
                               struct manifest *manifest, struct weir_error *error);

/* What a base begins with, in a chunk of its own: the states of its writer, which may have been another build than that of
 * the manifests that name the base. False when there is no memory, and when the bytes are no such chunk. */
bool manifest_states_encode(const struct manifest_state *states, size_t count, struct buffer *out);
bool manifest_states_decode(struct weir_bytes bytes, struct arena *arena, struct manifest_state **states,
                            size_t *count);

/* Frames up to this epoch are not needed to restore this one: the smallest redo point of its operators, its own epoch
 * where it has none. */
uint64_t manifest_redo_epoch(const struct manifest *manifest);

/* NULL when there is none of that name. */
const struct manifest_source *manifest_find_source(const struct manifest *manifest, const char *name);
const struct manifest_operator *manifest_find_operator(const struct manifest *manifest, const char *name);

#endif
