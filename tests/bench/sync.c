/* What making BYTES durable costs by itself: written into a zero-filled file that is used over and over, as the
 * checkpoint log is, then fdatasync.
 *
 * Usage: sync DIRECTORY BYTES COUNT PAUSE_MS
 * Prints: p50=MS p99=MS */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "bench.h"

enum { FILE_BYTES = 8 << 20, COUNT_MAX = 100000 };

static double ms[COUNT_MAX];

int main(int argc, char **argv)
{
    if (argc != 5) bench_die("usage", "sync DIRECTORY BYTES COUNT PAUSE_MS");
    char path[4096];
    (void)snprintf(path, sizeof path, "%s/sync.tmp", argv[1]);
    const size_t size = strtoull(argv[2], NULL, 10);
    const int count = atoi(argv[3]) < COUNT_MAX ? atoi(argv[3]) : COUNT_MAX;
    char *zeroes = calloc(1, FILE_BYTES);
    if (zeroes == NULL || size == 0 || size > FILE_BYTES) bench_die("BYTES", argv[2]);
    const int file = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (file < 0 || pwrite(file, zeroes, FILE_BYTES, 0) != FILE_BYTES || fsync(file) != 0)
        bench_die(path, strerror(errno));
    memset(zeroes, 'x', size);
    off_t at = 0;
    for (int i = 0; i < count; i++) {
        if ((size_t)at + size > FILE_BYTES) at = 0;
        const int64_t begin_us = bench_now_us();
        if (pwrite(file, zeroes, size, at) != (ssize_t)size || fdatasync(file) != 0) bench_die(path, strerror(errno));
        ms[i] = (double)(bench_now_us() - begin_us) / 1000.0;
        at += (off_t)size;
        (void)usleep((useconds_t)atoi(argv[4]) * 1000);
    }
    (void)unlink(path);
    const double p50 = bench_percentile(ms, (size_t)count, 0.5);
    (void)printf("p50=%.2f p99=%.2f\n", p50, bench_percentile(ms, (size_t)count, 0.99));
    return 0;
}
