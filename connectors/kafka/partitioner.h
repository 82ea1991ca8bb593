/* Which partition a record goes to: what librdkafka calls murmur2_random, and Kafka's Java client by default. Records
 * with the same key meet the records of Java producers, so that topics written by both can be joined partition by
 * partition.
 *
 *   key          murmur2(key) with the sign bit cleared, modulo the number of partitions (an empty key is a key)
 *   null key     one partition for a run of records, then another at random: full requests for few partitions are
 * cheaper
 *                than thin ones for all (KIP-480)
 *
 * Computed here and not by librdkafka, because counts and digests for each partition are taken before a record is
 * handed over. Owner: one writer, on its task thread. */
#ifndef KAFKA_PARTITIONER_H
#define KAFKA_PARTITIONER_H

#include "weir/connector.h"

/* Bytes that go to one partition before the next is chosen; Java's batch.size is the same. */
#define PARTITIONER_RUN_BYTES 16384

struct partitioner {
    uint64_t random;    /* state of a generator of its own: choices need to be spread, not secret */
    int32_t sticky;     /* partition of the run; -1 = none yet */
    uint32_t run_bytes;
};

void partitioner_init(struct partitioner *partitioner, uint64_t seed);

static inline int32_t partitioner_of_key(struct weir_bytes key, int32_t partition_count)
{
    return (int32_t)((weir_murmur2(key) & 0x7fffffff) % (uint32_t)partition_count);
}

/* Another partition than the one before, where there is another. */
int32_t partitioner_next_run(struct partitioner *partitioner, int32_t partition_count);

/* `size` is that of the record, in bytes. */
static inline int32_t partitioner_choose(struct partitioner *partitioner, struct weir_bytes key, size_t size,
                                         int32_t partition_count)
{
    if (partition_count == 1) return 0;
    if (weir_is_set(key) && !weir_is_null(key)) return partitioner_of_key(key, partition_count);
    if (partitioner->sticky < 0 || partitioner->sticky >= partition_count ||
        partitioner->run_bytes >= PARTITIONER_RUN_BYTES)
        partitioner_next_run(partitioner, partition_count);
    partitioner->run_bytes += size > PARTITIONER_RUN_BYTES ? PARTITIONER_RUN_BYTES : (uint32_t)size;
    return partitioner->sticky;
}

#endif
