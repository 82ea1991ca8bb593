/* The seam between the checkpoint store and the disk: every system call of the store goes through this table, so that
 * tests and the simulator can fail the n-th one, fill the disk up, or lose what was not synced.
 *
 * All functions answer a negative errno on failure. Paths are complete. Any thread. */
#ifndef CHECKPOINT_DISK_H
#define CHECKPOINT_DISK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum disk_open {
    DISK_READ,   /* an existing file, for reading */
    DISK_UPDATE, /* an existing file, for reading and writing */
    DISK_CREATE, /* a new file, for reading and writing; -EEXIST when the name is taken */
};

struct disk {
    void *user;
    int (*make_directory)(void *user, const char *path);
    /* Answers a file number. */
    int (*open)(void *user, const char *path, enum disk_open how);
    void (*close)(void *user, int file);
    int64_t (*size)(void *user, int file);
    ssize_t (*read)(void *user, int file, void *data, size_t size, uint64_t offset);
    ssize_t (*write)(void *user, int file, const void *data, size_t size, uint64_t offset);
    /* Takes room for `size` bytes, so that writing them cannot fill the disk up. 0 also where the file system
     * cannot. */
    int (*allocate)(void *user, int file, uint64_t size);
    int (*sync)(void *user, int file); /* fdatasync: contents and size */
    int (*sync_directory)(void *user, const char *path); /* names created, renamed and removed in it */
    /* `replace` false: -EEXIST when `target` is there. */
    int (*rename)(void *user, const char *source, const char *target, bool replace);
    int (*remove)(void *user, const char *path); /* a file, or an empty directory */
    /* A second name for the file `source`; `symbolic`: a name that stands for it. -EXDEV where that cannot be, and a copy
     * has to do; NULL where it never can. */
    int (*link)(void *user, const char *source, const char *target, bool symbolic);
    /* Calls `visit` for each name in a directory, in no order. */
    int (*list)(void *user, const char *path, void (*visit)(void *visit_user, const char *name), void *visit_user);
    /* The directory lies in memory (tmpfs, ramfs): it does not survive a reboot. */
    bool (*is_volatile)(void *user, const char *path);
};

/* System calls. */
extern const struct disk disk_system;

/* Files in memory, the same ones for all of the process, until it ends. */
extern const struct disk disk_memory;

/* Read or write all of it, over interruptions and short counts: 0, or a negative errno; reading past the end is
 * -ENODATA. */
int disk_read_all(const struct disk *disk, int file, void *data, size_t size, uint64_t offset);
int disk_write_all(const struct disk *disk, int file, const void *data, size_t size, uint64_t offset);

#endif
