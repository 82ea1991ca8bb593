/* What the sequence job (tests/jobs/sequence.c) and those who check it agree on.
 *
 *   input     key = a number below SEQUENCE_KEYS_MAX as decimal text, value = 1, 2, 3, ... for each key
 *   output    for every input: the key -> "NUMBER COUNT HASH": what came, how many came of this key, hash of all of them
 *   counts    for every key and commit: the key -> how many came of it */
#ifndef HARNESS_SEQUENCE_H
#define HARNESS_SEQUENCE_H

#include <stdint.h>

enum { SEQUENCE_KEYS_MAX = 4096 };

/* The hash of a key's history after one more number. */
static inline uint64_t sequence_hash(uint64_t so_far, int64_t number)
{
    uint64_t z = (so_far ^ (uint64_t)number) + 0x9e3779b97f4a7c15;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
}

#endif
