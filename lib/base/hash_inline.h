/* hash_key without a call, for those who hash a key for each record. */
#ifndef BASE_HASH_INLINE_H
#define BASE_HASH_INLINE_H

#include "base/hash.h"

/* Header only: inlined copies, and no dependency at run time. */
#define XXH_INLINE_ALL
#include <xxhash.h>

/* Of a key that is neither null nor unset. Short ones need no call, which would cost a fifth of their hash. */
static inline uint32_t hash_key_inline(struct weir_bytes key)
{
    return (uint32_t)(key.size <= 16 ? XXH3_64bits(key.data, key.size) : hash_64(key.data, key.size));
}

#endif
