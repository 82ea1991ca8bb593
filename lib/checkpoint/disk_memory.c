/* The table in memory: what jobs with `execution.checkpointing.storage: jobmanager` have for a disk. It is one for the
 * process, so that a job that ends and is started again in the same process finds its checkpoints. A directory is
 * whatever the names of files say; syncing is nothing. */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "checkpoint/disk.h"

struct file {
    char *path; /* NULL once it is removed */
    char *data;
    uint64_t size, capacity;
    uint32_t opened; /* times that it is open */
};

static struct {
    pthread_mutex_t mutex;
    VEC(struct file *) files;  /* that have a name, or are open */
    VEC(struct file *) opened; /* by file number; NULL = free */
} memory = { .mutex = PTHREAD_MUTEX_INITIALIZER };

static void lock(void) { pthread_mutex_lock(&memory.mutex); }
static void unlock(void) { pthread_mutex_unlock(&memory.mutex); }

/* ---- Under the lock ---------------------------------------------------------------------------------------------- */

static struct file *find(const char *path)
{
    for (size_t i = 0; i < memory.files.count; i++) {
        struct file *file = memory.files.items[i];
        if (file->path != NULL && strcmp(file->path, path) == 0) return file;
    }
    return NULL;
}

static void forget_unused(struct file *file)
{
    if (file->path != NULL || file->opened > 0) return;
    for (size_t i = 0; i < memory.files.count; i++)
        if (memory.files.items[i] == file) memory.files.items[i] = memory.files.items[--memory.files.count];
    free(file->data);
    free(file);
}

static struct file *create(const char *path)
{
    struct file *file = calloc(1, sizeof *file);
    if (file != NULL) file->path = strdup(path);
    struct file **kept = file == NULL || file->path == NULL ? NULL : vec_push(&memory.files);
    if (kept == NULL) {
        if (file != NULL) free(file->path);
        free(file);
        return NULL;
    }
    return *kept = file;
}

/* A file number; -ENOMEM. */
static int number_of(struct file *file)
{
    size_t number = 0;
    while (number < memory.opened.count && memory.opened.items[number] != NULL) number++;
    if (number == memory.opened.count && vec_push(&memory.opened) == NULL) return -ENOMEM;
    memory.opened.items[number] = file;
    file->opened++;
    return (int)number;
}

static struct file *opened(int number)
{
    CHECK(number >= 0 && (size_t)number < memory.opened.count && memory.opened.items[number] != NULL);
    return memory.opened.items[number];
}

/* Room for `size` bytes; what is new is zero. */
static int reserve(struct file *file, uint64_t size)
{
    if (size <= file->capacity) return 0;
    uint64_t capacity = file->capacity < 4096 ? 4096 : file->capacity;
    while (capacity < size) capacity *= 2;
    char *data = realloc(file->data, capacity);
    if (data == NULL) return -ENOSPC; /* as a disk says it: the store knows what to do */
    memset(data + file->capacity, 0, capacity - file->capacity);
    file->data = data;
    file->capacity = capacity;
    return 0;
}

static void take_name(struct file *file)
{
    free(file->path);
    file->path = NULL;
    forget_unused(file);
}

/* ---- The table --------------------------------------------------------------------------------------------------- */

static int memory_make_directory(void *user, const char *path)
{
    (void)user, (void)path;
    return 0;
}

static int memory_open(void *user, const char *path, enum disk_open how)
{
    (void)user;
    lock();
    struct file *file = find(path);
    int result = 0;
    if (how == DISK_CREATE && file != NULL) result = -EEXIST;
    else if (how != DISK_CREATE && file == NULL) result = -ENOENT;
    else if (file == NULL && (file = create(path)) == NULL) result = -ENOMEM;
    if (result == 0) result = number_of(file);
    unlock();
    return result;
}

static void memory_close(void *user, int number)
{
    (void)user;
    lock();
    struct file *file = opened(number);
    memory.opened.items[number] = NULL;
    file->opened--;
    forget_unused(file);
    unlock();
}

static int64_t memory_size(void *user, int number)
{
    (void)user;
    lock();
    const int64_t size = (int64_t)opened(number)->size;
    unlock();
    return size;
}

static ssize_t memory_read(void *user, int number, void *data, size_t size, uint64_t offset)
{
    (void)user;
    lock();
    const struct file *file = opened(number);
    const uint64_t left = offset < file->size ? file->size - offset : 0;
    const size_t got = size < left ? size : (size_t)left;
    if (got > 0) memcpy(data, file->data + offset, got);
    unlock();
    return (ssize_t)got;
}

static ssize_t memory_write(void *user, int number, const void *data, size_t size, uint64_t offset)
{
    (void)user;
    lock();
    struct file *file = opened(number);
    const int result = reserve(file, offset + size);
    if (result == 0 && size > 0) {
        memcpy(file->data + offset, data, size);
        if (file->size < offset + size) file->size = offset + size;
    }
    unlock();
    return result == 0 ? (ssize_t)size : result;
}

static int memory_allocate(void *user, int number, uint64_t size)
{
    (void)user;
    lock();
    struct file *file = opened(number);
    const int result = reserve(file, size);
    if (result == 0 && file->size < size) file->size = size;
    unlock();
    return result;
}

static int memory_sync(void *user, int number)
{
    (void)user, (void)number;
    return 0;
}

static int memory_sync_directory(void *user, const char *path)
{
    (void)user, (void)path;
    return 0;
}

static int memory_rename(void *user, const char *source, const char *target, bool replace)
{
    (void)user;
    int result = 0;
    char *name = strdup(target);
    lock();
    struct file *file = find(source), *before = find(target);
    if (name == NULL) result = -ENOMEM;
    else if (file == NULL) result = -ENOENT;
    else if (before != NULL && !replace) result = -EEXIST;
    if (result == 0 && file != before) {
        if (before != NULL) take_name(before);
        free(file->path);
        file->path = name;
        name = NULL;
    }
    unlock();
    free(name);
    return result;
}

static int memory_remove(void *user, const char *path)
{
    (void)user;
    lock();
    struct file *file = find(path);
    if (file != NULL) take_name(file);
    unlock();
    return file == NULL ? -ENOENT : 0;
}

static int memory_list(void *user, const char *path, void (*visit)(void *visit_user, const char *name), void *visit_user)
{
    (void)user;
    const size_t size = strlen(path);
    VEC(char *) names = { 0 };
    int result = 0;
    lock(); /* `visit` may use the table: it is called when the lock is free again */
    for (size_t i = 0; i < memory.files.count; i++) {
        const char *name = memory.files.items[i]->path;
        if (name == NULL || strncmp(name, path, size) != 0 || name[size] != '/') continue;
        if (strchr(name + size + 1, '/') != NULL) continue;
        char *copy = strdup(name + size + 1), **kept = copy == NULL ? NULL : vec_push(&names);
        if (kept == NULL) {
            free(copy);
            result = -ENOMEM;
            break;
        }
        *kept = copy;
    }
    unlock();
    for (size_t i = 0; i < names.count; i++) {
        if (result == 0) visit(visit_user, names.items[i]);
        free(names.items[i]);
    }
    vec_free(&names);
    return result;
}

/* It does not survive the process, and who chose it has been told. */
static bool memory_is_volatile(void *user, const char *path)
{
    (void)user, (void)path;
    return false;
}

const struct disk disk_memory = {
    .make_directory = memory_make_directory,
    .open = memory_open,
    .close = memory_close,
    .size = memory_size,
    .read = memory_read,
    .write = memory_write,
    .allocate = memory_allocate,
    .sync = memory_sync,
    .sync_directory = memory_sync_directory,
    .rename = memory_rename,
    .remove = memory_remove,
    .list = memory_list,
    .is_volatile = memory_is_volatile,
};
