/* A disk in memory that fails as told and forgets what was not synced (F13, F14, F16 of the fault matrix).
 *
 * Files are kept by sector, as they read now and as they would be found after a power cut; names of each directory the
 * same way. A sync that fails loses what it should have written, and the next one succeeds, as on Linux: who retries it
 * is found out. Any thread. */
#ifndef HARNESS_FAULTY_DISK_H
#define HARNESS_FAULTY_DISK_H

#include <stdbool.h>
#include <stdint.h>

#include "checkpoint/disk.h"

#define FAULTY_DISK_SECTOR 512

enum faulty_disk_call {
    FAULTY_OPEN = 1 << 0,
    FAULTY_CREATE = 1 << 1,
    FAULTY_READ = 1 << 2,
    FAULTY_WRITE = 1 << 3,
    FAULTY_ALLOCATE = 1 << 4,
    FAULTY_SYNC = 1 << 5,
    FAULTY_SYNC_DIRECTORY = 1 << 6,
    FAULTY_RENAME = 1 << 7,
    FAULTY_REMOVE = 1 << 8,
    FAULTY_LIST = 1 << 9,
    FAULTY_MAKE_DIRECTORY = 1 << 10,
    FAULTY_ALL = (1 << 11) - 1,
};

struct faulty_disk;

struct faulty_disk *faulty_disk_create(uint64_t seed);
void faulty_disk_destroy(struct faulty_disk *faulty);
const struct disk *faulty_disk_table(struct faulty_disk *faulty);

/* The n-th call from now on (1 = the next) of a kind in `calls` fails with `code` (EIO, ENOSPC ...); it and all behind
 * it when `for_ever`. n = 0: none. A failing write writes the first half of its bytes. */
void faulty_disk_fail(struct faulty_disk *faulty, unsigned calls, uint64_t n, int code, bool for_ever);
/* True when a call has failed since the last faulty_disk_fail. */
bool faulty_disk_has_failed(struct faulty_disk *faulty);
/* Calls of these kinds so far. */
uint64_t faulty_disk_calls(struct faulty_disk *faulty, unsigned calls);
/* Calls `meanwhile` before the n-th read from now on, on the thread that reads: what another process does in
 * between. */
void faulty_disk_meanwhile(struct faulty_disk *faulty, uint64_t n, void (*meanwhile)(void *user), void *user);
/* Bytes that all files together may hold; ENOSPC beyond. */
void faulty_disk_capacity(struct faulty_disk *faulty, uint64_t bytes);

/* The power goes: of what was not synced, each sector and each change of a name survives or not, as the seed has it.
 * All files are closed; using a number from before is a mistake. */
void faulty_disk_cut_power(struct faulty_disk *faulty);

/* Damage behind everybody's back, durable at once. */
void faulty_disk_flip(struct faulty_disk *faulty, const char *path, uint64_t bit);
void faulty_disk_truncate(struct faulty_disk *faulty, const char *path, uint64_t size);
void faulty_disk_zero(struct faulty_disk *faulty, const char *path, uint64_t offset, uint64_t size);
void faulty_disk_copy(struct faulty_disk *faulty, const char *source, const char *target);
bool faulty_disk_has(struct faulty_disk *faulty, const char *path);
uint64_t faulty_disk_size(struct faulty_disk *faulty, const char *path);

#endif
