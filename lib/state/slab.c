#include "state/slab.h"

#include <stdlib.h>

enum {
    UNIT = 8,
    CHUNK_BYTES = UNIT << SLAB_CHUNK_BITS,
    SPAN_UNITS = 1 << SLAB_SPAN_BITS,
    SPANS_PER_CHUNK = CHUNK_BYTES / (SPAN_UNITS * UNIT),
    SPANS_MAX = (1 << (32 - SLAB_SPAN_BITS)) - 1,
    PAGE_BYTES = 4096,
    /* The first units of the first span stay unused, so that SLAB_NONE and SLAB_RESERVED name nothing; a whole cache
     * line, so that cells of 32 bytes never lie across two. */
    RESERVED_UNITS = 8,
};

/* Sizes in steps of 8 bytes up to 128, then four for each doubling: at most a fifth of a cell is lost. */
static uint32_t class_of(size_t size_bytes)
{
    const uint32_t units = (uint32_t)(size_bytes + UNIT - 1) / UNIT;
    if (units <= 16) return units < 2 ? 0 : units - 2;
    const uint32_t doubling = 31 - (uint32_t)__builtin_clz(units - 1); /* 4 for 17 to 32 units */
    const uint32_t quarter = (units - 1) >> (doubling - 2) & 3;
    return 15 + (doubling - 4) * 4 + quarter;
}

static uint32_t units_of(uint32_t class_index)
{
    if (class_index < 15) return class_index + 2;
    const uint32_t doubling = (class_index - 15) / 4 + 4;
    const uint32_t quarter = (class_index - 15) % 4;
    return (5 + quarter) << (doubling - 2);
}

void slab_init(struct slab *slab)
{
    *slab = (struct slab){ 0 };
    for (uint32_t i = 0; i < SLAB_CLASSES; i++) slab->classes[i].cell_units = units_of(i);
    CHECK(class_of(SLAB_CELL_MAX) < SLAB_CLASSES);
}

void slab_deinit(struct slab *slab)
{
    for (size_t i = 0; i < slab->chunks.count; i++) free(slab->chunks.items[i]);
    vec_free(&slab->chunks);
    vec_free(&slab->span_classes);
}

static bool add_chunk(struct slab *slab)
{
    char *chunk = aligned_alloc(PAGE_BYTES, CHUNK_BYTES);
    if (chunk == NULL) return false;
    char **item = vec_push(&slab->chunks);
    if (item == NULL) {
        free(chunk);
        return false;
    }
    *item = chunk;
    return true;
}

static bool add_span(struct slab *slab, uint32_t class_index)
{
    const size_t span = slab->span_classes.count;
    if (span == SPANS_MAX) return false;
    if (span == slab->chunks.count * SPANS_PER_CHUNK && !add_chunk(slab)) return false;
    uint8_t *item = vec_push(&slab->span_classes);
    if (item == NULL) return false;
    *item = (uint8_t)class_index;

    struct slab_class *class = &slab->classes[class_index];
    const uint32_t reserved = span == 0 ? RESERVED_UNITS : 0;
    const uint32_t cells = (SPAN_UNITS - reserved) / class->cell_units;
    class->next = (uint32_t)span * SPAN_UNITS + reserved;
    class->end = class->next + cells * class->cell_units;
    return true;
}

uint32_t slab_alloc(struct slab *slab, size_t size_bytes)
{
    CHECK(size_bytes <= SLAB_CELL_MAX);
    const uint32_t class_index = class_of(size_bytes);
    struct slab_class *class = &slab->classes[class_index];
    const uint64_t bytes = (uint64_t)class->cell_units * UNIT;
    if (class->free != SLAB_NONE) {
        const uint32_t reference = class->free;
        memcpy(&class->free, slab_at(slab, reference), sizeof class->free);
        slab->used_bytes += bytes;
        return reference;
    }
    if (class->next == class->end && !add_span(slab, class_index)) return SLAB_NONE;
    const uint32_t reference = class->next;
    class->next += class->cell_units;
    slab->used_bytes += bytes;
    return reference;
}

void slab_free(struct slab *slab, uint32_t reference)
{
    CHECK(reference > SLAB_RESERVED);
    struct slab_class *class = &slab->classes[slab->span_classes.items[reference >> SLAB_SPAN_BITS]];
    memcpy(slab_at(slab, reference), &class->free, sizeof class->free);
    class->free = reference;
    slab->used_bytes -= (uint64_t)class->cell_units * UNIT;
}

uint64_t slab_bytes(const struct slab *slab)
{
    return (uint64_t)slab->span_classes.count * SPAN_UNITS * UNIT;
}
