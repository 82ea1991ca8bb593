/* Growable arrays: VEC(type) is a struct { type *items; size_t count, capacity; }. Owner: whoever holds the struct. */
#ifndef BASE_VEC_H
#define BASE_VEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>

#define VEC(type)                                                                                                      \
    struct {                                                                                                           \
        type *items;                                                                                                   \
        size_t count, capacity;                                                                                        \
    }


/* Address of a new last item (not cleared), or NULL when there is no memory. */
#define vec_push(vec)                                                                                                  \
    ((vec)->count < (vec)->capacity                                                                                    \
         ? &(vec)->items[(vec)->count++]                                                                               \
         : (vec_grow_into((void **)(void *)&(vec)->items, (vec)->count, &(vec)->capacity, sizeof(*(vec)->items))       \
                ? &(vec)->items[(vec)->count++]                                                                        \
                : NULL))
bool vec_grow_into(void **items, size_t count, size_t *capacity, size_t item_size);

#define vec_free(vec) (free((vec)->items), (vec)->items = NULL, (vec)->count = (vec)->capacity = 0)

#endif
