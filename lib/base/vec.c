#include "base/vec.h"

#include <stdint.h>

bool vec_grow_into(void **items, size_t count, size_t *capacity, size_t item_size)
{
    const size_t grown = count < 4 ? 8 : count * 2;
    if (grown > SIZE_MAX / item_size) return false;
    void *moved = realloc(*items, grown * item_size);
    if (moved == NULL) return false;
    *items = moved;
    *capacity = grown;
    return true;
}
