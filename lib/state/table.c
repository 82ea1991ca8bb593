#include "state/table.h"

#include <stdlib.h>

enum {
    SLOTS_MIN = 16,
    SLOTS_MAX = 4096,
    /* Deeper, tags differ in too few bits for splitting to help: such a segment grows beyond SLOTS_MAX instead. */
    DEPTH_MAX = 18,
};

/* What every table points to until it holds something, so that a lookup need not ask. Its limit is 0: never written. */
static struct {
    struct segment head;
    struct slot slots[1];
} empty;

void table_init(struct table *table)
{
    *table = (struct table){ .only = { .segment = &empty.head }, .shift = 32 };
    table->directory = &table->only;
}

static uint64_t directory_size(const struct table *table)
{
    return (uint64_t)1 << (32 - table->shift);
}

/* How many directory entries lead to `segment`. */
static uint64_t directory_span(const struct table *table, const struct segment *segment)
{
    return (uint64_t)1 << (32 - table->shift - segment->depth);
}

static size_t segment_bytes(uint32_t slot_count)
{
    return sizeof(struct segment) + slot_count * sizeof(struct slot);
}

void table_deinit(struct table *table)
{
    uint64_t i = 0;
    while (i < directory_size(table)) {
        struct segment *segment = table->directory[i].segment;
        i += directory_span(table, segment);
        if (segment != &empty.head) free(segment);
    }
    if (table->directory != &table->only) free(table->directory);
    table_init(table);
}

uint64_t table_segment_end(const struct table *table, uint32_t tag)
{
    const uint64_t index = (uint64_t)tag >> table->shift;
    const uint64_t span = directory_span(table, table->directory[index].segment);
    return (index / span + 1) * span << table->shift;
}

uint64_t table_bytes(const struct table *table)
{
    uint64_t bytes = table->directory == &table->only ? 0 : directory_size(table) * sizeof *table->directory;
    uint64_t i = 0;
    while (i < directory_size(table)) {
        const struct segment *segment = table->directory[i].segment;
        i += directory_span(table, segment);
        if (segment != &empty.head) bytes += segment_bytes(segment->mask + 1);
    }
    return bytes;
}

/* ---- Segments ---------------------------------------------------------------------------------------------------- */

/* Small segments are kept emptier: the processor then guesses most often that the first slot is the one, which saves 2
 * ns in a table that lies in the cache, and their memory does not matter. */
static uint32_t limit_of(uint32_t slot_count)
{
    return slot_count <= 512 ? slot_count / 2 : slot_count / 4 * 3;
}

static struct segment *segment_create(struct table *table, uint32_t slot_count, uint32_t depth, uint64_t *bytes)
{
    struct segment *segment = calloc(1, segment_bytes(slot_count));
    if (segment == NULL) return NULL;
    *bytes += segment_bytes(slot_count);
    segment->mask = slot_count - 1;
    segment->limit = limit_of(slot_count);
    segment->depth = depth;
    segment->stamp = ++table->stamp;
    return segment;
}

static void segment_destroy(struct segment *segment, uint64_t *bytes)
{
    if (segment == &empty.head) return;
    *bytes -= segment_bytes(segment->mask + 1);
    free(segment);
}

static void segment_add(struct segment *segment, uint32_t tag, uint32_t reference)
{
    uint32_t i = tag & segment->mask;
    while (segment->slots[i].reference > SLAB_RESERVED) i = (i + 1) & segment->mask;
    if (segment->slots[i].reference == SLAB_NONE) segment->used++;
    segment->slots[i] = (struct slot){ .tag = tag, .reference = reference };
    segment->live++;
}

/* With a third of the limit left at least, so that the next change of size is far away. */
static uint32_t slots_for(uint32_t live)
{
    uint32_t slot_count = SLOTS_MIN;
    while (limit_of(slot_count) / 3 * 2 < live) slot_count *= 2;
    return slot_count;
}

static void point_to(struct table *table, uint32_t tag, struct segment *segment)
{
    const uint64_t span = directory_span(table, segment);
    const uint64_t first = ((uint64_t)tag >> table->shift) / span * span;
    for (uint64_t i = first; i < first + span; i++)
        table->directory[i] = (struct place){ .segment = segment, .mask = segment->mask };
}

/* The same references in a segment of the right size; drops what was removed. */
static bool rebuild(struct table *table, uint32_t tag, uint64_t *bytes)
{
    struct segment *old = table_segment(table, tag);
    struct segment *new = segment_create(table, slots_for(old->live + 1), old->depth, bytes);
    if (new == NULL) return false;
    for (uint32_t i = 0; i <= old->mask; i++) {
        if (old->slots[i].reference > SLAB_RESERVED) segment_add(new, old->slots[i].tag, old->slots[i].reference);
    }
    point_to(table, tag, new);
    segment_destroy(old, bytes);
    return true;
}

static bool double_directory(struct table *table, uint64_t *bytes)
{
    const uint64_t size = directory_size(table);
    struct place *directory = malloc(2 * size * sizeof *directory);
    if (directory == NULL) return false;
    for (uint64_t i = 0; i < size; i++) directory[2 * i] = directory[2 * i + 1] = table->directory[i];
    *bytes += 2 * size * sizeof *directory;
    if (table->directory != &table->only) {
        *bytes -= size * sizeof *directory;
        free(table->directory);
    }
    table->directory = directory;
    table->shift--;
    return true;
}

/* A half that got nearly everything is split again before anything is added to it. */
static struct segment *half_create(struct table *table, uint32_t live, uint32_t depth, uint64_t *bytes)
{
    const uint32_t slot_count = slots_for(live);
    return segment_create(table, slot_count < SLOTS_MAX ? slot_count : SLOTS_MAX, depth, bytes);
}

static bool split(struct table *table, uint32_t tag, uint64_t *bytes)
{
    struct segment *old = table_segment(table, tag);
    const uint32_t bit = 1u << (31 - old->depth);
    if (directory_span(table, old) == 1 && !double_directory(table, bytes)) return false;

    uint32_t upper = 0;
    for (uint32_t i = 0; i <= old->mask; i++) {
        if (old->slots[i].reference > SLAB_RESERVED && (old->slots[i].tag & bit) != 0) upper++;
    }
    struct segment *halves[2];
    halves[0] = half_create(table, old->live - upper, old->depth + 1, bytes);
    halves[1] = halves[0] == NULL ? NULL : half_create(table, upper, old->depth + 1, bytes);
    if (halves[1] == NULL) {
        if (halves[0] != NULL) segment_destroy(halves[0], bytes);
        return false;
    }
    for (uint32_t i = 0; i <= old->mask; i++) {
        const struct slot slot = old->slots[i];
        if (slot.reference > SLAB_RESERVED) segment_add(halves[(slot.tag & bit) != 0], slot.tag, slot.reference);
    }
    point_to(table, tag & ~bit, halves[0]);
    point_to(table, tag | bit, halves[1]);
    segment_destroy(old, bytes);
    return true;
}

bool table_reserve(struct table *table, uint32_t tag, uint64_t *bytes)
{
    for (;;) {
        const struct segment *segment = table_segment(table, tag);
        if (LIKELY(segment->used < segment->limit)) return true;
        const bool fits = slots_for(segment->live + 1) <= SLOTS_MAX || segment->depth == DEPTH_MAX;
        if (!(fits ? rebuild(table, tag, bytes) : split(table, tag, bytes))) return false;
    }
}

void table_insert(struct table *table, uint32_t tag, uint32_t reference)
{
    struct segment *segment = table_segment(table, tag);
    CHECK_HOT(segment->used < segment->limit && reference > SLAB_RESERVED);
    segment_add(segment, tag, reference);
}

void table_remove(struct table *table, uint32_t tag, uint32_t reference)
{
    struct segment *segment = table_segment(table, tag);
    uint32_t i = tag & segment->mask;
    while (segment->slots[i].reference != reference) {
        CHECK(segment->slots[i].reference != SLAB_NONE);
        i = (i + 1) & segment->mask;
    }
    segment->slots[i].reference = SLAB_RESERVED;
    segment->live--;
}
