#include "record/record.h"

#include <stdlib.h>
#include <string.h>

/* Four of these make a full batch; small enough to come from the allocator's free lists instead of from the system. */
enum { ARENA_CHUNK_BYTES = 64 * 1024 };

struct weir_batch *batch_create(void)
{
    struct weir_batch *batch = malloc(sizeof *batch); /* records stay untouched until they are filled */
    if (batch == NULL) return NULL;
    atomic_init(&batch->references, 1);
    arena_init(&batch->arena, ARENA_CHUNK_BYTES);
    batch_clear(batch);
    return batch;
}

void batch_retain(struct weir_batch *batch)
{
    atomic_fetch_add_explicit(&batch->references, 1, memory_order_relaxed);
}

void batch_release(struct weir_batch *batch)
{
    const uint32_t before = atomic_fetch_sub_explicit(&batch->references, 1, memory_order_acq_rel);
    CHECK(before > 0);
    if (before > 1) return;
    arena_deinit(&batch->arena);
    free(batch);
}

bool batch_is_sole(const struct weir_batch *batch)
{
    /* Acquire pairs with the release of the last other holder: its reading is over before we write. */
    return atomic_load_explicit(&batch->references, memory_order_acquire) == 1;
}

void batch_clear(struct weir_batch *batch)
{
    CHECK(batch_is_sole(batch));
    arena_reset(&batch->arena);
    batch->count = 0;
    batch->records_max = BATCH_RECORDS_MAX;
    batch->bytes_max = BATCH_BYTES_MAX;
}

/* Keys and values are mostly shorter than 16 bytes: two overlapping moves are cheaper than a call. */
static inline void copy_bytes(char *to, const char *from, size_t size)
{
    if (size > 16) {
        memcpy(to, from, size);
    } else if (size >= 8) {
        uint64_t head, tail;
        memcpy(&head, from, 8);
        memcpy(&tail, from + size - 8, 8);
        memcpy(to, &head, 8);
        memcpy(to + size - 8, &tail, 8);
    } else {
        for (size_t i = 0; i < size; i++) to[i] = from[i];
    }
}

/* Unset and null have no bytes, and stay what they are. */
static inline char *move_in(struct weir_bytes *bytes, char *to)
{
    if (!weir_is_set(*bytes) || weir_is_null(*bytes)) return to;
    copy_bytes(to, bytes->data, bytes->size);
    bytes->data = to;
    return to + bytes->size;
}

/* Array, names and values in one piece. */
static const struct weir_headers *copy_headers(struct arena *arena, const struct weir_headers *headers)
{
    size_t text_size = 0;
    for (size_t i = 0; i < headers->count; i++)
        text_size += strlen(headers->items[i].name) + 1 + headers->items[i].value.size;
    const size_t items_size = headers->count * sizeof(struct weir_header);
    struct weir_headers *copy = arena_alloc(arena, sizeof *copy + items_size + text_size);
    if (copy == NULL) return NULL;

    struct weir_header *items = (struct weir_header *)(void *)(copy + 1);
    char *at = (char *)(items + headers->count);
    for (size_t i = 0; i < headers->count; i++) {
        const size_t name_size = strlen(headers->items[i].name) + 1;
        memcpy(at, headers->items[i].name, name_size);
        items[i] = (struct weir_header){ .name = at, .value = headers->items[i].value };
        at = move_in(&items[i].value, at + name_size);
    }
    *copy = (struct weir_headers){ .count = headers->count, .items = items };
    return copy;
}

static bool has_room(const struct weir_batch *batch, size_t size)
{
    if (batch->count == 0) return true;
    return batch->count < batch->records_max && batch->arena.used_bytes + size <= batch->bytes_max;
}

bool batch_add(struct weir_batch *batch, const struct weir_record *record)
{
    CHECK_HOT(batch_is_sole(batch));
    const size_t size = record->key.size + record->value.size;
    if (UNLIKELY(!has_room(batch, size))) return false;

    char *at = arena_take(&batch->arena, size);
    if (UNLIKELY(at == NULL)) return false;
    struct weir_record *copy = &batch->records[batch->count];
    record_copy(copy, record);
    at = move_in(&copy->key, at);
    move_in(&copy->value, at);
    if (UNLIKELY(record->headers != NULL)) {
        copy->headers = copy_headers(&batch->arena, record->headers);
        if (copy->headers == NULL) return false; /* the bytes stay unused until the batch is cleared */
    }
    batch->count++;
    return true;
}

bool weir_batch_add(weir_batch *batch, const struct weir_record *record)
{
    return batch_add(batch, record);
}

bool weir_batch_is_full(const weir_batch *batch)
{
    return batch->count >= batch->records_max || batch->arena.used_bytes >= batch->bytes_max;
}

void element_release(struct element *element)
{
    if (element->type == ELEMENT_BATCH) batch_release(element->batch);
    *element = (struct element){ .type = ELEMENT_NONE };
}
