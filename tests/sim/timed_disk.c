#include "sim/timed_disk.h"

#include "base/check.h"
#include "sim/lives.h"

enum { READ_US = 20, WRITE_US = 40, SYNC_US = 300 };

static struct {
    struct disk_model *model;
    int64_t delay_us;
} timed;

void timed_disk_begin(uint64_t seed)
{
    timed.model = disk_model_create(seed);
    timed.delay_us = 0;
    CHECK(timed.model != NULL);
}

void timed_disk_end(void)
{
    disk_model_destroy(timed.model);
    timed.model = NULL;
}

struct disk_model *timed_disk_model(void) { return timed.model; }
void timed_disk_slow(int64_t us) { timed.delay_us = us; }

static const struct disk *table(void)
{
    const struct life *life = sched_machine();
    disk_model_set_owner(timed.model, life == NULL ? 0 : life->number + 1);
    return disk_model_table(timed.model);
}

static void take_time(int64_t us)
{
    if (sched_current() != NULL) sched_pause(1 + (int64_t)sched_random_below((uint64_t)(us + timed.delay_us)));
}

static int sim_make_directory(void *unused, const char *path)
{
    (void)unused;
    const struct disk *disk = table();
    return disk->make_directory(disk->user, path);
}

static int sim_open(void *unused, const char *path, enum disk_open how)
{
    (void)unused;
    const struct disk *disk = table();
    return disk->open(disk->user, path, how);
}

static void sim_close(void *unused, int file)
{
    (void)unused;
    const struct disk *disk = table();
    disk->close(disk->user, file);
}

static int64_t sim_size(void *unused, int file)
{
    (void)unused;
    const struct disk *disk = table();
    return disk->size(disk->user, file);
}

static ssize_t sim_read(void *unused, int file, void *data, size_t size, uint64_t offset)
{
    (void)unused;
    take_time(READ_US);
    const struct disk *disk = table();
    return disk->read(disk->user, file, data, size, offset);
}

static ssize_t sim_write(void *unused, int file, const void *data, size_t size, uint64_t offset)
{
    (void)unused;
    take_time(WRITE_US);
    const struct disk *disk = table();
    return disk->write(disk->user, file, data, size, offset);
}

static int sim_allocate(void *unused, int file, uint64_t size)
{
    (void)unused;
    const struct disk *disk = table();
    return disk->allocate(disk->user, file, size);
}

static int sim_sync(void *unused, int file)
{
    (void)unused;
    take_time(SYNC_US);
    const struct disk *disk = table();
    return disk->sync(disk->user, file);
}

static int sim_sync_directory(void *unused, const char *path)
{
    (void)unused;
    take_time(SYNC_US);
    const struct disk *disk = table();
    return disk->sync_directory(disk->user, path);
}

static int sim_rename(void *unused, const char *source, const char *target, bool replace)
{
    (void)unused;
    const struct disk *disk = table();
    return disk->rename(disk->user, source, target, replace);
}

static int sim_remove(void *unused, const char *path)
{
    (void)unused;
    const struct disk *disk = table();
    return disk->remove(disk->user, path);
}

static int sim_list(void *unused, const char *path, void (*visit)(void *visit_user, const char *name), void *visit_user)
{
    (void)unused;
    const struct disk *disk = table();
    return disk->list(disk->user, path, visit, visit_user);
}

static bool sim_is_volatile(void *unused, const char *path)
{
    (void)unused, (void)path;
    return false;
}

/* In place of the system's (lib/checkpoint/disk_system.c). */
const struct disk disk_system = {
    .make_directory = sim_make_directory, .open = sim_open, .close = sim_close, .size = sim_size, .read = sim_read,
    .write = sim_write, .allocate = sim_allocate, .sync = sim_sync, .sync_directory = sim_sync_directory,
    .rename = sim_rename, .remove = sim_remove, .list = sim_list, .is_volatile = sim_is_volatile,
};
