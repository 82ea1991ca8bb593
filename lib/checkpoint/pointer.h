/* The decider of jobs without Kafka: a pointer file with two slots, written alternately, beside the checkpoints. What
 * is committed is what the newest mark says.
 *
 *   pointer-<owner>                        one file for each owner; the highest number owns the job
 *       0  512  mark of slot 0             one sector, so that it is there or not
 *    4096  512  mark of slot 1
 *    8192    .  body of slot 0: key, value
 *    8192 + POINTER_BODY_MAX  body of slot 1
 *
 *   mark    0  8  magic "WEIRMARK"
 *           8  8  sequence number, from 1, rising by one; even ones in slot 0, odd ones in slot 1
 *          16  8  epoch
 *          24  4  length of the key
 *          28  4  length of the value
 *          32  8  hash of the body: XXH3 64 seeded with the owner's number
 *          40  8  hash of the 40 bytes before it, seeded the same
 *
 *   flush(n)   writes the body into the slot of the older mark, fdatasync
 *   commit(n)  writes that slot's mark, fdatasync, and looks whether there is a higher owner: if not, it is decided
 *   fence      creates pointer-<highest + 1>; whoever finds it is fenced
 *   read       own marks, or those of the next lower owner that has any
 *   announce   commits the record that was read once more, then the announcement; then lower owners' files
 *              are removed
 *
 * Why an owner's number in the file's name, and the look after the write: an old owner that was stopped in mid-commit
 * writes into its own file only. If it finds no higher owner after its mark was written, the new owner reads afterwards
 * and sees that mark; if it finds one, it reports FENCED, and the new owner has either seen the mark or not: both are
 * the truth, because the announcement of the new owner names what it saw, in its own file, and settles it.
 *
 * The newest mark's body was durable before the mark was written: if it does not fit, if a mark is neither zero nor
 * whole, or is missing beside one that is not the first, the file is damaged and that is an error, never a reason to take
 * the older slot (R6).
 *
 * One thread with a mailbox does the work; events are posted from it. */
#ifndef CHECKPOINT_POINTER_H
#define CHECKPOINT_POINTER_H

#include "base/base.h"
#include "checkpoint/disk.h"

#define POINTER_BODY_MAX (1u << 20)

extern const struct weir_decider_type pointer_decider;
extern const struct weir_decider_type pointer_decider_in_memory; /* on disk_memory */

/* For who only looks: the newest record, as the ledger has it, into `record`, which is left empty when nothing was ever
 * committed; `found` says whether there is a pointer file at all. Reads only; blocking; any thread, while the job runs
 * too. */
enum weir_code pointer_peek(const struct disk *disk, const char *directory, struct buffer *record, bool *found,
                            struct weir_error *error);

/* As pointer_decider.open, on another disk (borrowed). */
enum weir_code pointer_open_on(const struct disk *disk, const struct weir_decider_options *options, void **decider,
                               struct weir_error *error);

#endif
