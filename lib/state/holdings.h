/* What the state of a job takes in memory: the tables of its shards, batches on their way to stores, blocks that stores have
 * read, deltas on their way into the log, what is read while a start replays. Everybody who holds some says how much, as often
 * as it changes by more than a little. What RocksDB needs for a moment, while it compacts or writes a file, is in no number, and
 * bounded by its options (store_rocksdb_options.c): some megabytes for the process.
 *
 *   shards, between batches ──┐
 *   frames of the job ────────┼── holdings_charge ──> held ──> most        status: state_memory, state_memory_max
 *   replay of a start ────────┘
 *
 * Any thread. */
#ifndef STATE_HOLDINGS_H
#define STATE_HOLDINGS_H

#include <stdatomic.h>

#include "base/base.h"

struct holdings {
    _Atomic uint64_t held;   /* all that was charged */
    _Atomic uint64_t blocks; /* of the cache of blocks, as it was seen last */
    _Atomic uint64_t most;   /* the highest sum of the two */
};

/* `*charged` is what the caller holds by the last call, 0 at first; from now on it is `bytes`. */
static inline void holdings_charge(struct holdings *holdings, uint64_t *charged, uint64_t bytes)
{
    const uint64_t more = bytes - *charged; /* modulo 2^64 where it is less */
    const uint64_t held = atomic_fetch_add_explicit(&holdings->held, more, memory_order_relaxed) + more +
                          atomic_load_explicit(&holdings->blocks, memory_order_relaxed);
    *charged = bytes;
    uint64_t most = atomic_load_explicit(&holdings->most, memory_order_relaxed);
    while (held > most && !atomic_compare_exchange_weak_explicit(&holdings->most, &most, held, memory_order_relaxed,
                                                                 memory_order_relaxed))
        continue;
}

static inline void holdings_note_blocks(struct holdings *holdings, uint64_t bytes)
{
    atomic_store_explicit(&holdings->blocks, bytes, memory_order_relaxed);
}

static inline uint64_t holdings_bytes(struct holdings *holdings)
{
    return atomic_load_explicit(&holdings->held, memory_order_relaxed) +
           atomic_load_explicit(&holdings->blocks, memory_order_relaxed);
}

static inline uint64_t holdings_bytes_most(struct holdings *holdings)
{
    return atomic_load_explicit(&holdings->most, memory_order_relaxed);
}

#endif
