/* A model of a disk and its file system, behind the table of lib/checkpoint/disk.h. What is written is in the page cache;
 * what was synced is on the disk. A killed process loses nothing of either; a power cut loses the page cache.
 *
 *     write ──> cache ──sync──> disk           names (create, rename, remove) ──sync_directory──> disk
 *                 │ power cut: each write since the sync is kept, lost or torn at a sector, on its own; so is each name
 *                 └ failed sync: what was not written counts as clean, and is lost at the next power cut
 *
 * Of one sector the disk has what it held after one of the writes; sectors, and the length of the file, go their own ways.
 * Syncing a file promises nothing about its name, syncing a directory nothing about contents; a create, a rename, a remove
 * is kept or lost whole, each on its own. A file that was allocated and synced once keeps its length. Weaker than what ext4
 * does on most days, and no weaker than what it promises.
 *
 * Directories are trees of names without rights. Pure: no clock, no threads; draws come from a state of its own. Whoever
 * wants an operation to take time wraps the table. File numbers are never used again. Renames stay within a directory
 * (-EXDEV). */
#ifndef SIM_DISK_MODEL_H
#define SIM_DISK_MODEL_H

#include "checkpoint/disk.h"

struct disk_model;

struct disk_model *disk_model_create(uint64_t seed);
void disk_model_destroy(struct disk_model *model);
/* The table; its `user` is the model. */
const struct disk *disk_model_table(struct disk_model *model);

/* All chances in a million, for each call. Zero-initialised: none. */
struct disk_faults {
    uint64_t capacity_bytes; /* contents and 4 KiB for each file; 0 = no limit. Beyond it: -ENOSPC */
    uint32_t write_error;    /* -EIO; a part may have been written */
    uint32_t sync_error;     /* -EIO; see above */
    uint32_t read_error;     /* -EIO */
    uint32_t short_write;    /* fewer bytes than asked for */
    bool cannot_allocate;    /* -ENOSPC where room is short is found at the write only */
};
void disk_model_set_faults(struct disk_model *model, const struct disk_faults *faults);

/* A process has died: the files that it opened with this owner number are closed. The owner of the calls that follow is
 * set by whoever switches between processes; 0 to begin with. */
void disk_model_set_owner(struct disk_model *model, uint32_t owner);
void disk_model_close_owner(struct disk_model *model, uint32_t owner);

/* Every file is closed, and what was not synced is kept, lost or torn. */
void disk_model_cut_power(struct disk_model *model);

/* Damage, for tests that look for it: flips a bit, cuts the file, or takes it away (on the disk and in the cache). False
 * when there is no such place. */
bool disk_model_flip_bit(struct disk_model *model, const char *path, uint64_t bit);
bool disk_model_truncate(struct disk_model *model, const char *path, uint64_t size);
bool disk_model_take_away(struct disk_model *model, const char *path);
/* A person brings a file back, durably, in place of what has that name. False when there is no such directory. */
bool disk_model_put(struct disk_model *model, const char *path, const void *contents, uint64_t size);
/* Calls `visit` for each file, by path, with its length. */
void disk_model_each_file(struct disk_model *model, void (*visit)(void *user, const char *path, uint64_t size),
                          void *user);
/* Contents of a file as a reader would find them now; borrowed until the next change. NULL when there is none. */
const char *disk_model_contents(struct disk_model *model, const char *path, uint64_t *size);
/* How many calls of each kind there were, for "sometimes" counters. */
struct disk_counts {
    uint64_t writes, syncs, directory_syncs, errors, full, lost_writes, torn_writes, lost_names;
};
struct disk_counts disk_model_counts(const struct disk_model *model);

#endif
