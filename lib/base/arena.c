#include "base/arena.h"

#include <stdbool.h>
#include <stdlib.h>

#include "base/check.h"

/* Chunks kept over a reset. A batch of 256 KiB in chunks of 64 KiB fits, with room for an overshoot. */
enum { CHUNKS_KEPT_MAX = 8 };

struct arena_chunk {
    struct arena_chunk *next;
    size_t size; /* of what follows the header */
    _Alignas(16) char memory[];
};

void arena_init(struct arena *arena, size_t chunk_bytes)
{
    *arena = (struct arena){ .chunk_bytes = chunk_bytes };
}

void arena_deinit(struct arena *arena)
{
    struct arena_chunk *next;
    for (struct arena_chunk *chunk = arena->first; chunk != NULL; chunk = next) {
        next = chunk->next;
        free(chunk);
    }
    arena_init(arena, arena->chunk_bytes);
}

static void enter(struct arena *arena, struct arena_chunk *chunk)
{
    arena->current = chunk;
    arena->next = chunk == NULL ? NULL : chunk->memory;
    arena->end = chunk == NULL ? NULL : chunk->memory + chunk->size;
}

/* Frees chunks of odd sizes, and those above the number that a steady load may keep. */
static void free_surplus(struct arena *arena)
{
    size_t kept = 0;
    struct arena_chunk **link = &arena->first;
    while (*link != NULL) {
        struct arena_chunk *chunk = *link;
        if (chunk->size == arena->chunk_bytes && kept < CHUNKS_KEPT_MAX) {
            kept++;
            link = &chunk->next;
        } else {
            *link = chunk->next;
            free(chunk);
        }
    }
}

void arena_reset(struct arena *arena)
{
    /* Chunks behind the current one were there at the last reset already, and were kept then. */
    const bool unchanged = arena->current == arena->first &&
                           (arena->first == NULL || arena->first->size == arena->chunk_bytes);
    if (!unchanged) free_surplus(arena);
    enter(arena, arena->first);
    arena->used_bytes = 0;
}

static struct arena_chunk *chunk_create(size_t size)
{
    if (size > SIZE_MAX - sizeof(struct arena_chunk) - ARENA_PADDING) return NULL;
    struct arena_chunk *chunk = malloc(sizeof *chunk + size + ARENA_PADDING);
    if (chunk != NULL) chunk->size = size;
    return chunk;
}

void *arena_grow(struct arena *arena, size_t size, size_t align)
{
    CHECK(align <= 16);
    struct arena_chunk *chunk = arena->current == NULL ? arena->first : arena->current->next;
    if (chunk == NULL || chunk->size < size) {
        struct arena_chunk *fresh = chunk_create(size > arena->chunk_bytes ? size : arena->chunk_bytes);
        if (fresh == NULL) return NULL;
        fresh->next = chunk;
        if (arena->current == NULL) arena->first = fresh;
        else arena->current->next = fresh;
        chunk = fresh;
    }
    enter(arena, chunk);
    arena->next += size;
    arena->used_bytes += size;
    return chunk->memory;
}

char *arena_text(struct arena *arena, const char *text)
{
    return arena_copy(arena, text, strlen(text) + 1);
}
