#include "harness/failing_calls.h"

#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { FILES_MAX = 64 };

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static struct {
    bool is_armed;
    enum failing_call call;
    char part[PATH_MAX];
    uint64_t n, count, seen, failed;
    int error;
} armed;
/* Whose sync has failed. A number alone may be another file's by now, and so may a name. */
static struct { ino_t inode; char path[PATH_MAX]; } files[FILES_MAX];
static size_t file_count;
static uint64_t synced_again;

void failing_calls_arm(enum failing_call call, const char *path_part, uint64_t n, uint64_t count, int error)
{
    pthread_mutex_lock(&mutex);
    armed.is_armed = true;
    armed.call = call;
    (void)snprintf(armed.part, sizeof armed.part, "%s", path_part);
    armed.n = n;
    armed.count = count;
    armed.error = error;
    armed.seen = armed.failed = 0;
    pthread_mutex_unlock(&mutex);
}

uint64_t failing_calls_disarm(void)
{
    pthread_mutex_lock(&mutex);
    armed.is_armed = false;
    const uint64_t failed = armed.failed;
    pthread_mutex_unlock(&mutex);
    return failed;
}

uint64_t failing_calls_seen(void) { return armed.seen; }

uint64_t failing_calls_synced_again(void) { return synced_again; }

static bool is_meant(int file, struct stat *status, char path[PATH_MAX])
{
    char link[64];
    if (fstat(file, status) != 0 || !S_ISREG(status->st_mode)) return false;
    (void)snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    const long size = syscall(SYS_readlink, link, path, PATH_MAX - 1);
    if (size <= 0) return false;
    path[size] = '\0';
    return strstr(path, armed.part) != NULL;
}

static void note_sync(const struct stat *status, const char *path, bool fails)
{
    for (size_t i = 0; i < file_count; i++)
        if (files[i].inode == status->st_ino && strcmp(files[i].path, path) == 0) {
            synced_again++;
            return;
        }
    if (!fails || file_count == FILES_MAX) return;
    files[file_count].inode = status->st_ino;
    (void)snprintf(files[file_count++].path, PATH_MAX, "%s", path);
}

/* True when the call is to fail; errno is set then. */
static bool fails(enum failing_call call, int file)
{
    struct stat status;
    char path[PATH_MAX];
    bool is_due = false;
    const int kept = errno;
    pthread_mutex_lock(&mutex);
    if (armed.is_armed && armed.call == call && is_meant(file, &status, path)) {
        armed.seen++;
        is_due = armed.n > 0 && armed.seen >= armed.n && armed.seen - armed.n < armed.count;
        armed.failed += is_due;
        if (call == FAILING_SYNC) note_sync(&status, path, is_due);
    }
    const int error = armed.error;
    pthread_mutex_unlock(&mutex);
    errno = is_due ? error : kept;
    return is_due;
}

/* What is behind the stand-ins. */
#define NEXT(type, name) static type next; if (next == NULL) *(void **)&next = dlsym(RTLD_NEXT, name)

typedef ssize_t write_fn(int, const void *, size_t);
typedef ssize_t pwrite_fn(int, const void *, size_t, off_t);
typedef int sync_fn(int);

__attribute__((visibility("default"))) ssize_t write(int file, const void *data, size_t size)
{
    NEXT(write_fn *, "write");
    return fails(FAILING_WRITE, file) ? -1 : next(file, data, size);
}

__attribute__((visibility("default"))) ssize_t pwrite(int file, const void *data, size_t size, off_t offset)
{
    NEXT(pwrite_fn *, "pwrite");
    return fails(FAILING_WRITE, file) ? -1 : next(file, data, size, offset);
}

__attribute__((visibility("default"))) int fsync(int file)
{
    NEXT(sync_fn *, "fsync");
    return fails(FAILING_SYNC, file) ? -1 : next(file);
}

__attribute__((visibility("default"))) int fdatasync(int file)
{
    NEXT(sync_fn *, "fdatasync");
    return fails(FAILING_SYNC, file) ? -1 : next(file);
}
