#include "sim/disk_model_file.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"

/* ---- Images ------------------------------------------------------------------------------------------------------- */

static void image_reserve(struct file_image *image, uint64_t size)
{
    if (size <= image->capacity) return;
    uint64_t capacity = image->capacity == 0 ? 8 * DISK_SECTOR : image->capacity;
    while (capacity < size) capacity *= 2;
    image->bytes = realloc(image->bytes, capacity);
    CHECK(image->bytes != NULL);
    memset(image->bytes + image->capacity, 0, capacity - image->capacity);
    image->capacity = capacity;
}

static void image_put(struct file_image *image, uint64_t offset, const void *data, size_t size)
{
    if (size == 0) return;
    image_reserve(image, offset + size);
    memcpy(image->bytes + offset, data, size);
}

static void image_resize(struct file_image *image, uint64_t size)
{
    image_reserve(image, size);
    if (size < image->size) memset(image->bytes + size, 0, image->size - size);
    image->size = size;
}

/* Sectors may lie beyond the end, where nobody sees them and zeroes must be. */
static void image_clear_tail(struct file_image *image)
{
    if (image->capacity > image->size) memset(image->bytes + image->size, 0, image->capacity - image->size);
}

/* ---- Writing ------------------------------------------------------------------------------------------------------ */

static void forget_writes(struct model_file *file)
{
    for (size_t i = 0; i < file->writes.count; i++) free(file->writes.items[i].sectors);
    file->writes.count = 0;
}

void model_file_deinit(struct model_file *file)
{
    forget_writes(file);
    vec_free(&file->writes);
    free(file->now.bytes);
    free(file->disk.bytes);
}

static struct file_write *note_write(struct model_file *file)
{
    struct file_write *write = vec_push(&file->writes);
    CHECK(write != NULL);
    *write = (struct file_write){ .sectors = NULL };
    return write;
}

void model_file_write(struct model_file *file, const void *data, size_t size, uint64_t offset)
{
    if (size == 0) return;
    struct file_write *write = note_write(file);
    image_put(&file->now, offset, data, size);
    write->sector_first = offset / DISK_SECTOR;
    write->sector_count = (size_t)((offset + size - 1) / DISK_SECTOR - write->sector_first + 1);
    write->sectors = malloc(write->sector_count * DISK_SECTOR);
    CHECK(write->sectors != NULL);
    memcpy(write->sectors, file->now.bytes + write->sector_first * DISK_SECTOR, write->sector_count * DISK_SECTOR);
    write->size = offset + size;
    if (write->size > file->now.size) image_resize(&file->now, write->size);
}

void model_file_extend(struct model_file *file, uint64_t size)
{
    if (size <= file->now.size) return;
    note_write(file)->size = size;
    image_resize(&file->now, size);
}

/* ---- Reaching the disk -------------------------------------------------------------------------------------------- */

static void sector_reaches_disk(struct model_file *file, const struct file_write *write, size_t i)
{
    image_put(&file->disk, (write->sector_first + i) * DISK_SECTOR, write->sectors + i * DISK_SECTOR, DISK_SECTOR);
}

void model_file_sync(struct model_file *file)
{
    for (size_t i = 0; i < file->writes.count; i++) {
        const struct file_write *write = &file->writes.items[i];
        for (size_t j = 0; j < write->sector_count; j++) sector_reaches_disk(file, write, j);
        if (write->size > file->disk.size) image_resize(&file->disk, write->size);
    }
    forget_writes(file);
}

uint64_t file_luck_draw(struct file_luck *luck, uint64_t limit)
{
    uint64_t z = *luck->random += 0x9e3779b97f4a7c15;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return (z ^ (z >> 31)) % limit;
}

bool file_luck_keeps(struct file_luck *luck)
{
    return file_luck_draw(luck, 8) < luck->kept_in_eight;
}

/* The first sectors, the last ones, or any. */
static void tear(struct model_file *file, const struct file_write *write, struct file_luck *luck)
{
    const uint64_t way = file_luck_draw(luck, 3);
    const size_t cut = 1 + (size_t)file_luck_draw(luck, write->sector_count - 1);
    for (size_t i = 0; i < write->sector_count; i++) {
        const bool reaches = way == 0 ? i < cut : way == 1 ? i >= cut : file_luck_draw(luck, 2) == 0;
        if (reaches) sector_reaches_disk(file, write, i);
    }
}

/* The length goes its own way: a file may be long enough and empty, or whole and too short. */
void model_file_lose(struct model_file *file, struct file_luck *luck)
{
    for (size_t i = 0; i < file->writes.count; i++) {
        const struct file_write *write = &file->writes.items[i];
        if (write->size > file->disk.size && file_luck_keeps(luck)) image_resize(&file->disk, write->size);
        if (write->sector_count == 0) continue;
        if (file_luck_keeps(luck)) {
            for (size_t j = 0; j < write->sector_count; j++) sector_reaches_disk(file, write, j);
        } else if (write->sector_count > 1 && luck->kept_in_eight > 0 && file_luck_draw(luck, 2) == 0) {
            luck->torn++;
            tear(file, write, luck);
        } else {
            luck->lost++;
        }
    }
    forget_writes(file);
}

void model_file_cut_power(struct model_file *file, struct file_luck *luck)
{
    model_file_lose(file, luck);
    image_clear_tail(&file->disk);
    image_resize(&file->now, file->disk.size);
    if (file->now.size > 0) memcpy(file->now.bytes, file->disk.bytes, file->now.size);
    image_clear_tail(&file->now);
}

/* ---- Damage ------------------------------------------------------------------------------------------------------- */

static void flip(char *byte, uint64_t bit)
{
    *byte = (char)(*byte ^ (1 << (bit % 8)));
}

void model_file_flip_bit(struct model_file *file, uint64_t bit)
{
    const uint64_t at = bit / 8;
    flip(&file->now.bytes[at], bit);
    if (at < file->disk.capacity) flip(&file->disk.bytes[at], bit);
    for (size_t i = 0; i < file->writes.count; i++) {
        struct file_write *write = &file->writes.items[i];
        const uint64_t begin = write->sector_first * DISK_SECTOR;
        if (at >= begin && at - begin < write->sector_count * DISK_SECTOR) flip(&write->sectors[at - begin], bit);
    }
}

void model_file_truncate(struct model_file *file, uint64_t size)
{
    image_resize(&file->now, size);
    image_clear_tail(&file->now);
    if (file->disk.size > size) file->disk.size = size;
    image_clear_tail(&file->disk);
    for (size_t i = 0; i < file->writes.count; i++) {
        struct file_write *write = &file->writes.items[i];
        const uint64_t begin = write->sector_first * DISK_SECTOR, bytes = write->sector_count * DISK_SECTOR;
        const uint64_t kept = size <= begin ? 0 : size - begin < bytes ? size - begin : bytes;
        if (kept < bytes) memset(write->sectors + kept, 0, bytes - kept);
        if (write->size > size) write->size = size;
    }
}
