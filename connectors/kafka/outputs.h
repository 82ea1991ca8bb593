/* The topics that the sinks of an instance write to. Shared: sinks add topics, writers mark what they write,
 * transaction threads ask for metadata and end offsets. Topics are never taken away, so a pointer to one stays good
 * until the end. */
#ifndef KAFKA_OUTPUTS_H
#define KAFKA_OUTPUTS_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "client.h"

struct output {
    struct output *next;
    char name[KAFKA_TOPIC_SIZE];
    int32_t partition_count;  /* when it was added; partitions that appear later are not written to */
    int64_t record_bytes_max; /* largest request for one record that the topic takes; 0 = not known */
    _Atomic bool written[];   /* by this process, for each partition */
};

struct outputs {
    pthread_mutex_t mutex; /* guards the list itself */
    struct output *first;
};

void outputs_init(struct outputs *outputs);
void outputs_deinit(struct outputs *outputs);
/* NULL when it is not there. */
struct output *outputs_find(struct outputs *outputs, const char *name);
/* The one of this name, added when it is not there. NULL when there is no memory. */
struct output *outputs_add(struct outputs *outputs, const char *name, int32_t partition_count,
                           int64_t record_bytes_max);
/* Iterates; topics added in the meantime may be missed. */
struct output *outputs_first(struct outputs *outputs);

static inline void output_mark(struct output *output, int32_t partition)
{
    if (!atomic_load_explicit(&output->written[partition], memory_order_relaxed))
        atomic_store_explicit(&output->written[partition], true, memory_order_relaxed);
}

#endif
