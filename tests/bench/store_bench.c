/* What makes a checkpoint durable fast: one append and fdatasync of 16 KiB into
 *   recycled   the store's log: segments zero-filled ahead, retired ones used again
 *   filled     one file filled with zeroes before
 *   allocated  one file with room (fallocate), not written before
 *   growing    one file that grows
 *
 *     store_bench [directory] [appends]        the directory must lie on a real disk, not in memory */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "checkpoint/retention.h"
#include "checkpoint/store.h"

enum { FRAME_BYTES = 16384 };

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static int by_size(const void *a, const void *b)
{
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static void report(const char *what, uint64_t *times, size_t count)
{
    qsort(times, count, sizeof *times, by_size);
    printf("%-10s p50 %.3f ms  p90 %.3f  p99 %.3f  longest %.3f\n", what, (double)times[count / 2] / 1e6,
           (double)times[count * 9 / 10] / 1e6, (double)times[count * 99 / 100] / 1e6, (double)times[count - 1] / 1e6);
}

static void fail(const char *what)
{
    (void)fprintf(stderr, "store_bench: %s\n", what);
    exit(1);
}

/* ---- Plain files ------------------------------------------------------------------------------------------------- */

enum ahead { NOTHING, ALLOCATED, FILLED };

static void bench_file(const char *what, const char *directory, enum ahead ahead, uint64_t *times, size_t count)
{
    char path[4096];
    static char frame[FRAME_BYTES];
    (void)snprintf(path, sizeof path, "%s/store_bench.tmp", directory);
    const int file = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (file < 0) fail("the file cannot be created");
    if (ahead == ALLOCATED && fallocate(file, 0, 0, (off_t)(count * FRAME_BYTES)) != 0) fail("fallocate");
    for (size_t i = 0; ahead == FILLED && i < count; i++)
        if (pwrite(file, frame, sizeof frame, (off_t)(i * FRAME_BYTES)) != FRAME_BYTES) fail("write");
    if (fsync(file) != 0) fail("sync");
    memset(frame, 'x', sizeof frame);
    for (size_t i = 0; i < count; i++) {
        const uint64_t begin = now_ns();
        if (pwrite(file, frame, sizeof frame, (off_t)(i * FRAME_BYTES)) != FRAME_BYTES) fail("write");
        if (fdatasync(file) != 0) fail("sync");
        times[i] = now_ns() - begin;
    }
    close(file);
    unlink(path);
    report(what, times, count);
}

/* ---- The store --------------------------------------------------------------------------------------------------- */

static void remove_file(void *user, const char *file)
{
    char path[4096 + 64];
    (void)snprintf(path, sizeof path, "%s/%s", (const char *)user, file);
    unlink(path);
}

/* Encodes, reserves and appends checkpoint `epoch`; answers the nanoseconds of the append. */
static uint64_t append(struct store *store, struct retention *retention, struct buffer *frame,
                       struct weir_frame_name *parent, uint64_t epoch)
{
    static char delta[FRAME_BYTES - 512];
    struct weir_error error;
    struct weir_bytes piece = { delta, sizeof delta };
    struct manifest_operator count = { .name = "count", .redo_epoch = epoch, .delta_count = 1, .deltas = &piece };
    const struct manifest manifest = { .incarnation = 1, .epoch = epoch, .parent = *parent, .operator_count = 1,
                                       .operators = &count };
    struct weir_frame_name name = { 0 };
    memset(delta, (int)epoch, sizeof delta);
    if (!manifest_encode(&manifest, frame, &name) || name.length != FRAME_BYTES) fail("encode");
    store_reserve(store, &name);
    const uint64_t begin = now_ns();
    const struct weir_bytes bytes = { frame->data, frame->size };
    if (store_append(store, &name, bytes, &error) != WEIR_OK) fail(error.text);
    const uint64_t took = now_ns() - begin;
    if (!retention_checkpoint(retention, &name, &manifest)) fail("memory");
    *parent = name;
    return took;
}

static void bench_store(const char *directory, uint64_t *times, size_t count)
{
    struct weir_environment environment;
    struct weir_error error;
    struct store *store;
    struct buffer frame;
    struct retention retention;
    struct weir_frame_name parent = { 0 };
    environment_init_system(&environment);
    buffer_init(&frame);
    retention_init(&retention, 1, 1);
    const struct store_options options = {
        .directory = directory, .job = "store_bench.tmp", .slot = "0", .create = true, .environment = &environment,
    };
    if (store_open(&options, &store, &error) != WEIR_OK || store_begin(store, 1, &error) != WEIR_OK) fail(error.text);
    /* Two rounds: the first one makes the segments that the second one uses again. */
    for (size_t i = 0; i < 2 * count; i++) {
        const uint64_t took = append(store, &retention, &frame, &parent, i + 1);
        if (i >= count) times[i - count] = took;
        struct retention_names names = { 0 };
        if (!retention_collect(&retention, &names)) fail("memory");
        for (size_t j = 0; j < names.files.count; j++)
            if (store_delete(store, names.files.items[j].file, &error) != WEIR_OK) fail(error.text);
        retention_names_clear(&names);
        while (store_prepare(store)) continue;
    }
    report("recycled", times, count);
    char path[4096];
    (void)snprintf(path, sizeof path, "%s", store_path(store));
    store_close(store);
    retention_deinit(&retention);
    buffer_deinit(&frame);
    (void)disk_system.list(NULL, path, remove_file, path);
    rmdir(path);
}

int main(int argc, char **argv)
{
    const char *directory = argc > 1 ? argv[1] : ".";
    const size_t count = argc > 2 ? (size_t)atoi(argv[2]) : 2000;
    uint64_t *times = calloc(count, sizeof *times);
    if (times == NULL || count == 0) fail("memory");
    printf("append + fdatasync of %d bytes in %s, %zu times\n", FRAME_BYTES, directory, count);
    for (int round = 0; round < 2; round++) {
        bench_store(directory, times, count);
        bench_file("filled", directory, FILLED, times, count);
        bench_file("allocated", directory, ALLOCATED, times, count);
        bench_file("growing", directory, NOTHING, times, count);
    }
    free(times);
    return 0;
}
