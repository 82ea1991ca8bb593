#include "checkpoint/disk.h"

#include <errno.h>

int disk_read_all(const struct disk *disk, int file, void *data, size_t size, uint64_t offset)
{
    char *next = data;
    while (size > 0) {
        const ssize_t got = disk->read(disk->user, file, next, size, offset);
        if (got == -EINTR) continue;
        if (got < 0) return (int)got;
        if (got == 0) return -ENODATA;
        next += got;
        size -= (size_t)got;
        offset += (uint64_t)got;
    }
    return 0;
}

int disk_write_all(const struct disk *disk, int file, const void *data, size_t size, uint64_t offset)
{
    const char *next = data;
    while (size > 0) {
        const ssize_t put = disk->write(disk->user, file, next, size, offset);
        if (put == -EINTR) continue;
        if (put < 0) return (int)put;
        if (put == 0) return -ENOSPC;
        next += put;
        size -= (size_t)put;
        offset += (uint64_t)put;
    }
    return 0;
}
