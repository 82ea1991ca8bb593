/* The checkpoint store on files: logs of frames, and bases. A later store (a bucket, Kafka) offers the same calls.
 *
 *   <directory>/<job>/store              the store's random id, and whose it is
 *                     log-<i>-<n>        segment n of incarnation i's log: frames, each at a multiple of 4096
 *                     base-<i>-<n>       base n of incarnation i
 *                     table-<i>-<n>      a file that bases of incarnation i and later ones refer to (links.h)
 *                     pointer-<n>        of the pointer decider (pointer.h)
 *
 *   job thread       store_reserve ─ name ─> ledger record
 *   log writer             └─ name, frame ─> store_append ─> durable
 *                    idle: store_prepare        after a commit: store_delete
 *   base writers     store_base_create ─> store_base_append ... ─> store_base_finish ─> named by the next manifest
 *   environment      store_open ─> store_begin      restart: store_read_frame, store_chain, store_read_base
 *
 * Invariants
 *   1. A file is written by the incarnation in its name alone, and created exclusively; nobody appends to or cuts
 *      another's.
 *   2. A frame is durable when store_append has answered WEIR_OK: its bytes, and the name of the file that they are in.
 *   3. After a failed write or sync a segment is never written or synced again (the kernel drops what it could not
 *      write and reports it once): the same frame goes elsewhere.
 *   4. Nothing is handed out that was not verified; what is damaged or missing is an error that names the file, never
 *      an older checkpoint.
 *   5. Nothing here deletes on its own: store_delete does what retention.h said after a commit.
 *
 * Segments are zero-filled ahead and recycled, because fdatasync then writes data only (measured in
 * tests/bench/store_bench.c). A frame larger than a segment gets a segment of its own. Segment numbers rise along the
 * chain of one incarnation. */
#ifndef CHECKPOINT_STORE_H
#define CHECKPOINT_STORE_H

#include "base/base.h"
#include "checkpoint/disk.h"
#include "checkpoint/manifest.h"

#define STORE_KIND_FILE "file"   /* a base of units, as the format below has them */
#define STORE_KIND_LINKS "links" /* a base of files by reference, links.h */
#define STORE_ID_MAX 40        /* with its NUL; 32 hexadecimal digits */
#define STORE_FILE_MAX 64      /* length of a file name with its NUL, as in struct weir_frame_name */
#define STORE_SEGMENT_BYTES_DEFAULT (8u << 20)

struct store;

struct store_options {
    const char *directory; /* the user's; made when missing, its parent must exist */
    const char *job;       /* names the directory below it. NULL, for who only reads: `directory` is the store itself, of
                              whichever job and slot */
    const char *slot;      /* a store that belongs to another job or slot is refused: WEIR_FOREIGN */
    bool create;           /* false: a store that is not there is an error */
    uint64_t segment_bytes; /* 0 = default; rounded up to 4096 */
    const struct disk *disk; /* NULL = disk_system; borrowed */
    const struct weir_environment *environment; /* for the random id; borrowed */
};

/* ---- Environment thread: open, identity -------------------------------------------------------------------------- */

/* WEIR_ENVIRONMENT for rights, a missing parent, a full disk; WEIR_FOREIGN; WEIR_DAMAGED when the id cannot be read. */
enum weir_code store_open(const struct store_options *options, struct store **store, struct weir_error *error);
/* All other threads are done with it. Syncs nothing. NULL is allowed. */
void store_close(struct store *store);

const char *store_id(const struct store *store);
const char *store_job(const struct store *store);
const char *store_slot(const struct store *store);
const char *store_path(const struct store *store);      /* <directory>/<job> */
bool store_is_empty(const struct store *store);         /* no log, base or table when it was opened */
/* The highest in a file name when it was opened, or when store_begin found another process; 0 = none. */
uint64_t store_incarnation_max(const struct store *store);

/* Begins the log of `incarnation`, which is above store_incarnation_max and whatever the ledger names. WEIR_FENCED with
 * remedy RETRY when somebody began the same one meanwhile: look again, draw a higher one. May be called again with a
 * higher one while nobody else uses the store. */
enum weir_code store_begin(struct store *store, uint64_t incarnation, struct weir_error *error);

/* Calls `visit` for each log, base and table there is now, of whatever incarnation. */
enum weir_code store_list(struct store *store, void (*visit)(void *user, const char *file), void *user,
                          struct weir_error *error);

/* Whether anything was ever appended, as far as the heads of frames say without being verified: how many were seen, and
 * the highest epoch among them. Stops looking at the first frame of an epoch above 0, because that is what the restart
 * table asks: frames of epoch 0 alone are a founding that never was (R4). What cannot be read counts as history: an
 * error must not look like an empty store. */
void store_history(struct store *store, uint64_t *frame_count, uint64_t *epoch_max);

/* What a name of a file in the store says. False when it is none of these. Pure. */
enum store_file_kind { STORE_FILE_LOG, STORE_FILE_BASE, STORE_FILE_TABLE };
struct store_file {
    enum store_file_kind kind;
    uint64_t incarnation;
    uint64_t number;
};
bool store_file_parse(const char *name, struct store_file *file);

/* ---- Job thread: names ------------------------------------------------------------------------------------------- */

/* Fills `name`'s file and offset for a frame of name->length bytes, before it is written. Never blocks. Frames are
 * appended in the order in which they were reserved. */
void store_reserve(struct store *store, struct weir_frame_name *name);
/* After a failed append: another place, in a new segment. */
void store_reserve_elsewhere(struct store *store, struct weir_frame_name *name);

/* ---- Log writer thread: blocking --------------------------------------------------------------------------------- */

/* Writes the frame where `name` says and makes it durable. WEIR_ENVIRONMENT with remedy RETRY when the disk is full or
 * broken: reserve elsewhere, and append there. */
enum weir_code store_append(struct store *store, const struct weir_frame_name *name, struct weir_bytes frame,
                            struct weir_error *error);
/* Makes the next segment ready, one slice (256 KiB) for each call; true while there is more to do. For idle times: call
 * it until it answers false or there is something to append. Its failures show when the segment is needed. */
bool store_prepare(struct store *store);
/* Deletes a file that retention_collect named; keeps retired segments of its own log for reuse. A file that is gone
 * already is no error. Never a newer incarnation's. */
enum weir_code store_delete(struct store *store, const char *file, struct weir_error *error);
/* Deletes every log, base and table up to `incarnation`; what tells whose store it was stays. Nothing is appended
 * afterwards. Goes on behind a file that cannot be deleted, and answers for it at the end. */
enum weir_code store_drop(struct store *store, uint64_t incarnation, struct weir_error *error);

/* ---- Bases: any thread, one for each writer; blocking ------------------------------------------------------------ */

/*   base file
 *      0   8  magic "WEIRBASE"
 *      8   4  format version (1)
 *     12   4  0 = units; 1 = files by reference (links.h)
 *     16   8  incarnation
 *     24   8  number
 *     32      chunks:   0  4  sequence number, from 0
 *                       4  4  length in bytes; 0 = the end, nothing follows
 *                       8  8  hash: XXH3 64 of the bytes, seeded with a mix of incarnation, base number and sequence
 *                      16  .  bytes
 *
 * The hash that a manifest holds is XXH3 64 of the whole file. Each chunk's own makes streaming safe: what is handed
 * out has been verified, and stands in its place of the right file. */
struct store_base;

/* What store_base_finish answers, for struct manifest_base. */
struct store_base_result {
    char name[STORE_FILE_MAX];
    uint64_t incarnation;
    uint64_t length;
    uint64_t hash;
};

/* Creates the file. Errors as store_append. */
enum weir_code store_base_create(struct store *store, struct store_base **base, struct weir_error *error);
/* The first piece is manifest_states_encode's. Of the units that follow any cut into pieces will do, as long as each piece
 * is whole units (it is handed to shard_apply as it is); empty ones are left out. At most 1 GiB each. */
enum weir_code store_base_append(struct store_base *base, struct weir_bytes chunk, struct weir_error *error);
/* Durable, name included; frees `base` on success. After a failure abandon it. */
enum weir_code store_base_finish(struct store_base *base, struct store_base_result *result, struct weir_error *error);
/* Frees `base` and removes its file. NULL is allowed. */
void store_base_abandon(struct store_base *base);

/* ---- Restart: environment thread, blocking; nobody appends meanwhile --------------------------------------------- */

/* Reads and verifies one frame into `frame` (cleared first). */
enum weir_code store_read_frame(struct store *store, const struct weir_frame_name *name, struct buffer *frame,
                                struct weir_error *error);

/* The same, and decodes it: views into `frame`, arrays in `arena`, which is reset first. */
enum weir_code store_read_manifest(struct store *store, const struct weir_frame_name *name, struct buffer *frame,
                                   struct arena *arena, struct manifest *manifest, struct weir_error *error);

/* Names of frames, parents first. */
struct store_chain {
    VEC(struct weir_frame_name) frames;
};

/* Follows parents from `newest` back to the first frame (parts included) whose epoch is `epoch_first` or above, and
 * verifies every one on the way, before anything is used. Holds one frame at a time. Clear `chain` afterwards also on
 * failure. */
enum weir_code store_chain(struct store *store, const struct weir_frame_name *newest, uint64_t epoch_first,
                           struct store_chain *chain, struct weir_error *error);
void store_chain_clear(struct store_chain *chain);

/* Hands out the chunks of a base, of whatever kind, in order, each verified; the number, order and hash of all of them once
 * more at the end. `each` may fail, which ends the reading with its code. */
typedef enum weir_code store_chunk_fn(void *user, struct weir_bytes chunk, struct weir_error *error);
enum weir_code store_read_base(struct store *store, const struct manifest_base *base, store_chunk_fn *each, void *user,
                               struct weir_error *error);

/* Cheap look before anything is restored: the base is there, and has its length and its header; of files by reference,
 * so has each. */
enum weir_code store_check_base(struct store *store, const struct manifest_base *base, struct weir_error *error);
/* The same, or, `all`, reads every byte of it. `*bytes` is what it takes, with the files that it refers to. */
enum weir_code store_verify_base(struct store *store, const struct manifest_base *base, bool all, uint64_t *bytes,
                                 struct weir_error *error);
bool store_base_is_links(const struct manifest_base *base);

#endif
