/* The table as system calls. Apart from disk.c, so that a program can be linked with another table in its place. */
#include "checkpoint/disk.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

enum { LARGE_BYTES = 256 << 10 };

/* The answer of a system call in the table's terms. */
static int answer(int result)
{
    return result < 0 ? -errno : result;
}

static int system_make_directory(void *user, const char *path)
{
    (void)user;
    return answer(mkdir(path, 0777));
}

static int system_open(void *user, const char *path, enum disk_open how)
{
    (void)user;
    static const int flags[] = {
        [DISK_READ] = O_RDONLY, [DISK_UPDATE] = O_RDWR, [DISK_CREATE] = O_RDWR | O_CREAT | O_EXCL
    };
    return answer(open(path, flags[how] | O_CLOEXEC, 0666));
}

static void system_close(void *user, int file)
{
    (void)user;
    (void)close(file); /* what had to be durable was synced; the rest may be lost */
}

static int64_t system_size(void *user, int file)
{
    (void)user;
    struct stat status;
    return fstat(file, &status) != 0 ? -errno : (int64_t)status.st_size;
}

static ssize_t system_read(void *user, int file, void *data, size_t size, uint64_t offset)
{
    (void)user;
    const ssize_t got = pread(file, data, size, (off_t)offset);
    return got < 0 ? -errno : got;
}

/* A large piece is one of many, and what is behind it is still to be made: the disk begins with this one meanwhile, and a sync
 * finds little to wait for. Only begun, so nothing can go wrong that the sync would not tell. */
static ssize_t system_write(void *user, int file, const void *data, size_t size, uint64_t offset)
{
    (void)user;
    const ssize_t put = pwrite(file, data, size, (off_t)offset);
    if (put >= LARGE_BYTES) (void)sync_file_range(file, (off_t)offset, put, SYNC_FILE_RANGE_WRITE);
    return put < 0 ? -errno : put;
}

static int system_allocate(void *user, int file, uint64_t size)
{
    (void)user;
    if (fallocate(file, 0, 0, (off_t)size) == 0 || errno == EOPNOTSUPP || errno == ENOSYS || errno == EINVAL) return 0;
    return -errno;
}

static int system_sync(void *user, int file)
{
    (void)user;
    return answer(fdatasync(file));
}

static int system_sync_directory(void *user, const char *path)
{
    (void)user;
    const int file = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (file < 0) return -errno;
    int result = answer(fsync(file));
    (void)close(file);
    if (result == -EINVAL) result = 0; /* file systems that have nothing to sync there */
    return result;
}

static int system_rename(void *user, const char *source, const char *target, bool replace)
{
    (void)user;
    if (replace) return answer(rename(source, target));
    if (renameat2(AT_FDCWD, source, AT_FDCWD, target, RENAME_NOREPLACE) == 0) return 0;
    if (errno != EINVAL && errno != ENOSYS) return -errno;
    /* A file system without that flag (NFS): a link does not replace either. */
    if (link(source, target) != 0) return -errno;
    return answer(unlink(source));
}

static int system_remove(void *user, const char *path)
{
    (void)user;
    return answer(remove(path));
}

static int system_link(void *user, const char *source, const char *target, bool symbolic)
{
    char whole[PATH_MAX];
    (void)user;
    if (symbolic && realpath(source, whole) == NULL) return -errno;
    if ((symbolic ? symlink(whole, target) : link(source, target)) == 0) return 0;
    const bool is_impossible = errno == EPERM || errno == EMLINK || errno == ENOSYS || errno == EOPNOTSUPP;
    return is_impossible ? -EXDEV : -errno;
}

static int system_list(void *user, const char *path, void (*visit)(void *visit_user, const char *name),
                       void *visit_user)
{
    (void)user;
    DIR *directory = opendir(path);
    if (directory == NULL) return -errno;
    errno = 0;
    for (struct dirent *entry; (entry = readdir(directory)) != NULL; errno = 0)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) visit(visit_user, entry->d_name);
    const int result = -errno;
    (void)closedir(directory);
    return result;
}

static bool system_is_volatile(void *user, const char *path)
{
    (void)user;
    struct statfs status;
    if (statfs(path, &status) != 0) return false;
    return (unsigned long)status.f_type == TMPFS_MAGIC || (unsigned long)status.f_type == RAMFS_MAGIC;
}

const struct disk disk_system = {
    .make_directory = system_make_directory,
    .open = system_open,
    .close = system_close,
    .size = system_size,
    .read = system_read,
    .write = system_write,
    .allocate = system_allocate,
    .sync = system_sync,
    .sync_directory = system_sync_directory,
    .rename = system_rename,
    .remove = system_remove,
    .link = system_link,
    .list = system_list,
    .is_volatile = system_is_volatile,
};
