/* Records in batches, and the elements that travel between tasks.
 *
 *   element = BATCH | WATERMARK | BARRIER | END
 *
 * A batch owns its records' bytes in one arena and is read-only once it has left its writer. It is counted by
 * reference, because a broadcast hands one batch to several readers. Barriers keep flowing behind END: an input that
 * has ended still takes part in every checkpoint, so the coordinator needs no special case for it.
 *
 * Who holds the only reference may empty a batch and fill it again; nobody else writes to it. A source task fills one
 * batch over and over; a channel sends its emptied batches back (exchange/channel.h). There is no pool. */
#ifndef RECORD_RECORD_H
#define RECORD_RECORD_H

#include <stdatomic.h>

#include "base/base.h"

#define BATCH_RECORDS_MAX 1024
#define BATCH_BYTES_MAX (256 * 1024)

struct weir_batch {
    _Atomic uint32_t references;
    uint32_t count;
    uint32_t records_max; /* a writer may lower these two */
    size_t bytes_max;
    struct arena arena;
    struct weir_record records[BATCH_RECORDS_MAX];
};

/* Copies of what was written a moment ago, word by word as it was written. The compiler would join the words to wider
 * loads, and such a load waits until the narrow stores have left the store buffer: 3 to 5 ns for each copy, of which a
 * record goes through half a dozen on its way down a chain. */
static inline struct weir_bytes bytes_copy(const struct weir_bytes *bytes)
{
    return (struct weir_bytes){ *(const char *const volatile *)&bytes->data, *(const volatile size_t *)&bytes->size };
}
static inline void record_copy(struct weir_record *to, const struct weir_record *from)
{
    const volatile struct weir_record *words = from;
    to->key = bytes_copy(&from->key);
    to->value = bytes_copy(&from->value);
    to->time_ms = words->time_ms;
    to->headers = words->headers;
    to->time_type = words->time_type;
    to->key_hash = words->key_hash;
}

/* One reference, empty. NULL when there is no memory. */
struct weir_batch *batch_create(void);
void batch_retain(struct weir_batch *batch);
void batch_release(struct weir_batch *batch); /* any thread */
/* Empties a batch that nobody else holds, for reuse; its limits are the default ones again. */
void batch_clear(struct weir_batch *batch);
bool batch_is_sole(const struct weir_batch *batch); /* one reference only: the caller's */

/* Takes a copy of `record`, all bytes and headers. False when full (a batch that holds nothing takes any size) or out
 * of memory (batch->count == 0 tells the two apart). */
bool batch_add(struct weir_batch *batch, const struct weir_record *record);

enum element_type { ELEMENT_NONE, ELEMENT_BATCH, ELEMENT_WATERMARK, ELEMENT_BARRIER, ELEMENT_END };

/* The watermark of an input that is idle, or has ended: it holds nobody back. */
#define WATERMARK_IDLE INT64_MAX

struct element {
    enum element_type type;
    union {
        struct weir_batch *batch; /* one reference moves with the element */
        int64_t watermark_ms;
        uint64_t epoch; /* barrier */
    };
};

static inline struct element element_batch(struct weir_batch *batch)
{
    return (struct element){ .type = ELEMENT_BATCH, .batch = batch };
}
static inline struct element element_watermark(int64_t watermark_ms)
{
    return (struct element){ .type = ELEMENT_WATERMARK, .watermark_ms = watermark_ms };
}
static inline struct element element_barrier(uint64_t epoch)
{
    return (struct element){ .type = ELEMENT_BARRIER, .epoch = epoch };
}
static inline struct element element_end(void)
{
    return (struct element){ .type = ELEMENT_END };
}
void element_release(struct element *element); /* drops a batch's reference */

#endif
