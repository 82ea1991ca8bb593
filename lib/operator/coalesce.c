#include "operator/coalesce.h"

#include <stdlib.h>
#include <string.h>

enum { SLOTS_MIN = 64, ARENA_CHUNK_BYTES = 64 * 1024 };

struct entry {
    struct weir_bytes key;
    uint32_t hash;
    size_t block_bytes;
    char *block;
    struct weir_record record; /* its bytes are in the block */
};

struct coalesce {
    VEC(struct entry) entries;
    uint32_t *slots; /* index into entries, plus 1; 0 = free. Linear probing, at most half full. */
    size_t slot_count; /* a power of two, or 0 */
    struct arena arena;
};

struct coalesce *coalesce_create(void)
{
    struct coalesce *coalesce = calloc(1, sizeof *coalesce);
    if (coalesce != NULL) arena_init(&coalesce->arena, ARENA_CHUNK_BYTES);
    return coalesce;
}

void coalesce_destroy(struct coalesce *coalesce)
{
    if (coalesce == NULL) return;
    vec_free(&coalesce->entries);
    free(coalesce->slots);
    arena_deinit(&coalesce->arena);
    free(coalesce);
}

/* The slot of `key`, or the free one where it belongs. */
static uint32_t *find_slot(const struct coalesce *coalesce, struct weir_bytes key, uint32_t hash)
{
    const size_t mask = coalesce->slot_count - 1;
    for (size_t i = hash & mask;; i = (i + 1) & mask) {
        uint32_t *slot = &coalesce->slots[i];
        if (*slot == 0) return slot;
        const struct entry *entry = &coalesce->entries.items[*slot - 1];
        if (entry->hash == hash && weir_bytes_equal(entry->key, key)) return slot;
    }
}

static bool grow_slots(struct coalesce *coalesce)
{
    const size_t count = coalesce->slot_count == 0 ? SLOTS_MIN : coalesce->slot_count * 2;
    uint32_t *slots = calloc(count, sizeof *slots);
    if (slots == NULL) return false;
    free(coalesce->slots);
    coalesce->slots = slots;
    coalesce->slot_count = count;
    for (uint32_t i = 0; i < coalesce->entries.count; i++) {
        const struct entry *entry = &coalesce->entries.items[i];
        *find_slot(coalesce, entry->key, entry->hash) = i + 1;
    }
    return true;
}

static struct entry *add_entry(struct coalesce *coalesce, struct weir_bytes key, uint32_t hash)
{
    if (coalesce->entries.count * 2 >= coalesce->slot_count && !grow_slots(coalesce)) return NULL;
    const char *copy = arena_copy(&coalesce->arena, key.data, key.size);
    struct entry *entry = copy == NULL ? NULL : vec_push(&coalesce->entries);
    if (entry == NULL) return NULL;
    *entry = (struct entry){ .key = weir_is_null(key) ? key : (struct weir_bytes){ copy, key.size }, .hash = hash };
    *find_slot(coalesce, entry->key, hash) = (uint32_t)coalesce->entries.count;
    return entry;
}

/* Headers come first in a block, because they must be aligned: list, items, then all texts. */
static size_t record_bytes(const struct weir_record *record)
{
    size_t size = record->key.size + record->value.size;
    if (record->headers == NULL) return size;
    size += sizeof *record->headers + record->headers->count * sizeof record->headers->items[0];
    for (size_t i = 0; i < record->headers->count; i++)
        size += strlen(record->headers->items[i].name) + 1 + record->headers->items[i].value.size;
    return size;
}

/* Unset and null have no bytes, and stay what they are. */
static char *move_in(struct weir_bytes *bytes, char *at)
{
    if (!weir_is_set(*bytes) || weir_is_null(*bytes)) return at;
    memcpy(at, bytes->data, bytes->size);
    bytes->data = at;
    return at + bytes->size;
}

static char *copy_headers(struct weir_record *record, char *block)
{
    const struct weir_headers *from = record->headers;
    struct weir_headers *headers = (struct weir_headers *)(void *)block;
    struct weir_header *items = (struct weir_header *)(void *)(headers + 1);
    char *at = (char *)(items + from->count);
    for (size_t i = 0; i < from->count; i++) {
        const size_t name_size = strlen(from->items[i].name) + 1;
        memcpy(at, from->items[i].name, name_size);
        items[i] = (struct weir_header){ .name = at, .value = from->items[i].value };
        at = move_in(&items[i].value, at + name_size);
    }
    *headers = (struct weir_headers){ .count = from->count, .items = items };
    record->headers = headers;
    return at;
}

bool coalesce_put(struct coalesce *coalesce, struct weir_bytes key, uint32_t hash, const struct weir_record *record)
{
    const uint32_t at = coalesce->slot_count == 0 ? 0 : *find_slot(coalesce, key, hash);
    struct entry *entry = at > 0 ? &coalesce->entries.items[at - 1] : add_entry(coalesce, key, hash);
    if (entry == NULL) return false;
    const size_t size = record_bytes(record);
    if (entry->block == NULL || size > entry->block_bytes) {
        const size_t block_bytes = entry->block == NULL ? size : size + size / 2;
        entry->block = arena_alloc(&coalesce->arena, block_bytes);
        entry->block_bytes = entry->block == NULL ? 0 : block_bytes;
        entry->record = (struct weir_record){ 0 };
        if (entry->block == NULL) return false;
    }
    entry->record = *record;
    char *next = entry->block;
    if (record->headers != NULL) next = copy_headers(&entry->record, next);
    next = move_in(&entry->record.key, next);
    move_in(&entry->record.value, next);
    return true;
}

size_t coalesce_count(const struct coalesce *coalesce)
{
    return coalesce->entries.count;
}

const struct weir_record *coalesce_at(const struct coalesce *coalesce, size_t index)
{
    return &coalesce->entries.items[index].record;
}

void coalesce_clear(struct coalesce *coalesce)
{
    coalesce->entries.count = 0;
    if (coalesce->slot_count > 0) memset(coalesce->slots, 0, coalesce->slot_count * sizeof *coalesce->slots);
    arena_reset(&coalesce->arena);
}

size_t coalesce_bytes(const struct coalesce *coalesce)
{
    return coalesce->arena.used_bytes;
}
