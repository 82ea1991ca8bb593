/* The contents of one file: as it reads now, and as it would be found after a power cut.
 *
 *   now       the page cache: every write shows at once
 *   disk      what is safe
 *   writes    since the last sync, oldest first: which sectors each has touched, what they held then, and how long the
 *             file must be to hold them
 *
 * The disk writes whole sectors, out of the cache: what it has of a sector is that sector as it was after one of the
 * writes, never a later one without an earlier one. Different sectors, and the length, go their own ways. */
#ifndef SIM_DISK_MODEL_FILE_H
#define SIM_DISK_MODEL_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/vec.h"

enum { DISK_SECTOR = 512 };

/* Zero beyond `size`; capacity is whole sectors. */
struct file_image {
    char *bytes;
    uint64_t size, capacity;
};

struct file_write {
    uint64_t sector_first;
    size_t sector_count; /* 0: the length alone */
    char *sectors;       /* as they were after this write */
    uint64_t size;       /* the file is at least so long */
};

struct model_file {
    struct file_image now, disk;
    VEC(struct file_write) writes;
};

void model_file_deinit(struct model_file *file);
void model_file_write(struct model_file *file, const void *data, size_t size, uint64_t offset);
/* Longer, with zeroes; never shorter. */
void model_file_extend(struct model_file *file, uint64_t size);
/* All of it is on the disk. */
void model_file_sync(struct model_file *file);

/* What becomes of writes that nobody has synced. */
struct file_luck {
    uint64_t *random;
    uint32_t kept_in_eight;
    uint64_t lost, torn; /* counted */
};
uint64_t file_luck_draw(struct file_luck *luck, uint64_t limit);
/* Whether one thing reaches the disk. */
bool file_luck_keeps(struct file_luck *luck);
/* Each write reaches the disk, or not, or in part; what has not counts as clean and will not be tried again. `now` stays
 * as it is. */
void model_file_lose(struct model_file *file, struct file_luck *luck);
/* And what reads now is what the disk has. */
void model_file_cut_power(struct model_file *file, struct file_luck *luck);

/* Damage, everywhere. */
void model_file_flip_bit(struct model_file *file, uint64_t bit);
void model_file_truncate(struct model_file *file, uint64_t size);

#endif
