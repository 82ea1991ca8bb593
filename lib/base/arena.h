/* Memory that is given back all at once. Chunks of the usual size are kept over a reset, up to eight, so that a steady
 * load allocates nothing; larger ones are freed. Owner: whoever holds the struct. */
#ifndef BASE_ARENA_H
#define BASE_ARENA_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* So many bytes from the beginning of anything that an arena handed out may be read, whatever its size. */
#define ARENA_PADDING 16

struct arena_chunk;

struct arena {
    char *next; /* free space of the current chunk */
    char *end;
    struct arena_chunk *current;
    struct arena_chunk *first;
    size_t chunk_bytes;
    size_t used_bytes; /* handed out since the last reset */
};

/* `chunk_bytes`: size of a chunk; larger requests get a chunk of their own. Allocates nothing yet. */
void arena_init(struct arena *arena, size_t chunk_bytes);
void arena_deinit(struct arena *arena);
/* Forgets everything that was handed out. */
void arena_reset(struct arena *arena);

/* The slow path; NULL when there is no memory. */
void *arena_grow(struct arena *arena, size_t size, size_t align);

/* 8-byte aligned memory, not cleared. NULL when there is none. */
static inline void *arena_alloc(struct arena *arena, size_t size)
{
    char *at = (char *)(((uintptr_t)arena->next + 7) & ~(uintptr_t)7);
    if (__builtin_expect(arena->next != NULL && at <= arena->end && (size_t)(arena->end - at) >= size, 1)) {
        arena->next = at + size;
        arena->used_bytes += size;
        return at;
    }
    return arena_grow(arena, size, 8);
}

/* `size` bytes, unaligned and not cleared. NULL when there is no memory. */
static inline char *arena_take(struct arena *arena, size_t size)
{
    char *at = arena->next;
    if (__builtin_expect(at != NULL && (size_t)(arena->end - at) >= size, 1)) {
        arena->next = at + size;
        arena->used_bytes += size;
        return at;
    }
    return arena_grow(arena, size, 1);
}

/* A copy of `size` bytes, unaligned. NULL when there is no memory. */
static inline char *arena_copy(struct arena *arena, const void *data, size_t size)
{
    char *at = arena_take(arena, size);
    if (at != NULL && size > 0) memcpy(at, data, size);
    return at;
}

char *arena_text(struct arena *arena, const char *text); /* NUL-terminated copy */

#endif
