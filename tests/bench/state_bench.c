/* What a shard costs: nanoseconds for each shard_value, bytes for each entry, the longest single call while it grows, a
 * snapshot of many changes, a dump in slices, a restore. The machine may be busy with other things: medians of several
 * runs.
 *
 *     state_bench [keys ...]          5000, 1 million and 10 million by default */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "state/state.h"

enum { KEY_BYTES = 16, GROUPS = 128, RUNS = 5, LOOKUPS = 2000000, CHANGED = 200000, SLICE_BYTES = 1 << 20,
       FETCHED = 64 };

/* Of this thread: the turns of others do not count. */
static uint64_t now_ns(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static uint64_t mix(uint64_t x)
{
    x += 0x9e3779b97f4a7c15;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
    x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
    return x ^ (x >> 31);
}

static int ascending(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *figures, size_t count)
{
    qsort(figures, count, sizeof *figures, ascending);
    return figures[count / 2];
}

/* Keys and their hashes as a batch has them: made before the clock runs. */
struct work {
    uint32_t count;
    char (*keys)[KEY_BYTES];
    uint32_t *hashes;
};

static struct state_key key_at(const struct work *work, uint32_t i)
{
    return (struct state_key){ .key = { work->keys[i], KEY_BYTES }, .hash = work->hashes[i] };
}

static void put_key(struct work *work, uint32_t i, uint64_t number)
{
    const uint64_t words[2] = { mix(number), number };
    memcpy(work->keys[i], words, KEY_BYTES);
    work->hashes[i] = hash_key((struct weir_bytes){ work->keys[i], KEY_BYTES });
}

static bool work_init(struct work *work, uint32_t count)
{
    *work = (struct work){ .count = count, .keys = malloc((size_t)count * KEY_BYTES),
                           .hashes = malloc(count * sizeof(uint32_t)) };
    return work->keys != NULL && work->hashes != NULL;
}

static void work_deinit(struct work *work)
{
    free(work->keys);
    free(work->hashes);
}

static void draw(struct work *work, uint64_t key_count, uint64_t seed)
{
    for (uint32_t i = 0; i < work->count; i++) put_key(work, i, mix(seed + i) % key_count);
}

static struct shard *create(void)
{
    static const struct state_declaration state = { .name = "count", .codec = WEIR_I64, .value_size_bytes = 8 };
    return shard_create(&(struct shard_options){ .states = &state, .state_count = 1, .max_parallelism = GROUPS,
                                                 .group_first = 0, .group_count = GROUPS, .epoch = 1 });
}

/* What reading the clock takes. */
static uint64_t clock_ns(void)
{
    const uint64_t before = now_ns();
    for (int i = 0; i < 9999; i++) (void)now_ns();
    return (now_ns() - before) / 10000;
}

static bool fill(struct shard *shard, uint64_t key_count, uint64_t *longest_ns, double *each_ns, struct buffer *delta)
{
    struct work block;
    if (!work_init(&block, 1 << 16)) return false;
    const uint64_t clock = clock_ns();
    uint64_t busy = 0;
    for (uint64_t done = 0; done < key_count;) {
        const uint32_t count = key_count - done < block.count ? (uint32_t)(key_count - done) : block.count;
        for (uint32_t i = 0; i < count; i++) put_key(&block, i, done + i);
        uint64_t before = now_ns();
        for (uint32_t i = 0; i < count; i++) {
            const struct state_key key = key_at(&block, i);
            int64_t *value = shard_value(shard, 0, &key);
            if (value == NULL) return false;
            *value = (int64_t)(done + i);
            const uint64_t after = now_ns();
            if (after - before > *longest_ns) *longest_ns = after - before;
            busy += after - before;
            before = after;
        }
        done += count;
        buffer_clear(delta);
        if (!shard_snapshot(shard, shard_epoch(shard), delta)) return false;
    }
    work_deinit(&block);
    *each_ns = (double)busy / (double)key_count - (double)clock;
    return true;
}

static double lookups(struct shard *shard, struct work *work)
{
    const uint64_t before = now_ns();
    for (uint32_t i = 0; i < work->count; i++) {
        const struct state_key key = key_at(work, i);
        int64_t *value = shard_value(shard, 0, &key);
        if (value == NULL) exit(1);
        ++*value;
    }
    return (double)(now_ns() - before) / work->count;
}

static double lookups_fetched(struct shard *shard, struct work *work)
{
    const uint64_t before = now_ns();
    for (uint32_t i = 0; i < work->count; i++) {
        if (i % FETCHED == 0)
            shard_fetch(shard, 0, work->hashes + i, work->count - i < FETCHED ? work->count - i : FETCHED);
        const struct state_key key = key_at(work, i);
        int64_t *value = shard_value(shard, 0, &key);
        if (value == NULL) exit(1);
        ++*value;
    }
    return (double)(now_ns() - before) / work->count;
}

static void snapshots(struct shard *shard, uint64_t key_count, struct buffer *delta)
{
    struct work work;
    double figures[RUNS];
    if (!work_init(&work, CHANGED)) exit(1);
    for (int run = 0; run < RUNS; run++) {
        draw(&work, key_count, (uint64_t)run << 40);
        buffer_clear(delta);
        if (!shard_snapshot(shard, shard_epoch(shard), delta)) exit(1);
        (void)lookups(shard, &work);
        buffer_clear(delta);
        const uint64_t before = now_ns();
        if (!shard_snapshot(shard, shard_epoch(shard), delta)) exit(1);
        figures[run] = (double)(now_ns() - before) / 1e6;
    }
    (void)printf("  snapshot of %d drawn keys   %8.2f ms, %zu bytes\n", CHANGED, median(figures, RUNS), delta->size);
    work_deinit(&work);
}

static void restore(const struct buffer *base, uint64_t entry_count)
{
    const struct state_mapping mapping = { .state = 0, .value_size_bytes = 8 };
    double figures[RUNS];
    const int runs = entry_count > 2000000 ? 3 : RUNS;
    for (int run = 0; run < runs; run++) {
        struct shard *shard = create();
        struct weir_error error;
        if (shard == NULL) exit(1);
        const uint64_t before = now_ns();
        if (shard_apply(shard, (struct weir_bytes){ base->data, base->size }, &mapping, 1, &error) != WEIR_OK) exit(1);
        figures[run] = (double)(now_ns() - before) / (double)entry_count;
        if (shard_entry_count(shard) != entry_count) exit(1);
        shard_destroy(shard);
    }
    (void)printf("  restore                         %8.1f ns each\n", median(figures, (size_t)runs));
}

static void dump(struct shard *shard, struct buffer *base)
{
    uint64_t longest = 0, whole = 0;
    buffer_clear(base);
    (void)shard_dump_begin(shard);
    for (bool done = false; !done;) {
        if (!buffer_reserve(base, 2 * SLICE_BYTES)) exit(1); /* its growing is not the shard's cost */
        const uint64_t before = now_ns();
        done = shard_dump_step(shard, SLICE_BYTES, base);
        const uint64_t took = now_ns() - before;
        whole += took;
        if (took > longest) longest = took;
    }
    (void)printf("  dump in slices of 1 MiB         %8.1f ns each, longest slice %.2f ms, %zu bytes\n",
                 (double)whole / (double)shard_entry_count(shard), (double)longest / 1e6, base->size);
}

static void measure(uint64_t key_count)
{
    struct shard *shard = create();
    struct work work;
    struct buffer delta, base;
    buffer_init(&delta);
    buffer_init(&base);
    uint64_t longest = 0;
    double filling;
    if (shard == NULL || !work_init(&work, LOOKUPS) || !fill(shard, key_count, &longest, &filling, &delta)) exit(1);
    (void)printf("%" PRIu64 " keys of %d bytes, values of 8\n", key_count, KEY_BYTES);
    (void)printf("  filling                         %8.1f ns each, longest call %.3f ms\n", filling,
                 (double)longest / 1e6);
    (void)printf("  memory                          %8.1f bytes each\n",
                 (double)shard_bytes(shard) / (double)key_count);

    double figures[RUNS];
    for (int run = 0; run < RUNS; run++) {
        draw(&work, key_count, (uint64_t)run << 32);
        figures[run] = lookups(shard, &work);
    }
    (void)printf("  shard_value, uniform            %8.1f ns\n", median(figures, RUNS));

    for (int run = 0; run < RUNS; run++) {
        draw(&work, key_count, (uint64_t)(run + RUNS) << 32);
        figures[run] = lookups_fetched(shard, &work);
    }
    (void)printf("  the same, fetched ahead         %8.1f ns\n", median(figures, RUNS));
    snapshots(shard, key_count, &delta);
    dump(shard, &base);
    restore(&base, shard_entry_count(shard));
    buffer_deinit(&base);
    buffer_deinit(&delta);
    work_deinit(&work);
    shard_destroy(shard);
}

int main(int argc, char **argv)
{
    if (argc == 1) {
        measure(5000);
        measure(1000000);
        measure(10000000);
    }
    for (int i = 1; i < argc; i++) measure(strtoull(argv[i], NULL, 10));
    return 0;
}
