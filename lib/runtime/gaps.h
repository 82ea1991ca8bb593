/* How long a task's pauses are: counts of durations, four buckets for each doubling, so that a quantile is at most a fifth
 * too high. One thread counts, any thread reads. */
#ifndef RUNTIME_GAPS_H
#define RUNTIME_GAPS_H

#include <stdatomic.h>

#include "base/base.h"

#define GAPS_BUCKETS 128

struct gaps {
    _Atomic uint64_t counts[GAPS_BUCKETS];
};

/* 0 to 3 us have a bucket each; from there on the two bits behind the leading one choose. */
static inline uint32_t gaps_bucket(uint64_t us)
{
    if (us < 4) return (uint32_t)us;
    const uint32_t doubling = 63 - (uint32_t)__builtin_clzll(us);
    const uint32_t bucket = (doubling - 1) * 4 + (uint32_t)(us >> (doubling - 2) & 3);
    return bucket < GAPS_BUCKETS ? bucket : GAPS_BUCKETS - 1;
}

/* The longest duration that the bucket counts. */
static inline uint64_t gaps_limit_us(uint32_t bucket)
{
    return bucket < 4 ? bucket : ((UINT64_C(5) + bucket % 4) << (bucket / 4 - 1)) - 1;
}

/* Task thread: no read-modify-write. */
static inline void gaps_note(struct gaps *gaps, uint64_t us)
{
    _Atomic uint64_t *count = &gaps->counts[gaps_bucket(us)];
    atomic_store_explicit(count, atomic_load_explicit(count, memory_order_relaxed) + 1, memory_order_relaxed);
}

static inline void gaps_add_to(const struct gaps *gaps, uint64_t sums[static GAPS_BUCKETS])
{
    for (uint32_t i = 0; i < GAPS_BUCKETS; i++) sums[i] += atomic_load_explicit(&gaps->counts[i], memory_order_relaxed);
}

/* The duration that `share` of all do not pass; 0 when there are none. */
static inline uint64_t gaps_quantile_us(const uint64_t sums[static GAPS_BUCKETS], double share)
{
    uint64_t all = 0, seen = 0;
    for (uint32_t i = 0; i < GAPS_BUCKETS; i++) all += sums[i];
    if (all == 0) return 0;
    for (uint32_t i = 0; i < GAPS_BUCKETS; i++) {
        seen += sums[i];
        if ((double)seen >= share * (double)all) return gaps_limit_us(i);
    }
    return gaps_limit_us(GAPS_BUCKETS - 1);
}

#endif
