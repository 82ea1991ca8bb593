/* How units are written, in deltas and bases alike: one after another, without a frame of their own.
 *
 *   u8      flags     1 removed        no value follows
 *                     2 null value     no value follows
 *                     4 null key       no key follows
 *                     8 name space     one follows
 *                    16 element        one follows
 *                    32 generation     one follows; written by no version yet, and refused
 *                    other bits 0
 *   varint  state     the writer's index
 *   varint  key group
 *   varint  size of the key, and its bytes            unless the key is null
 *   varint  size of the name space, and its bytes     where flagged
 *   varint  size of the element, and its bytes        where flagged
 *   varint  size of the value, and its bytes          unless removed or null
 *
 * Varints are LEB128. The key group follows from the key; it is written so that foreign units are skipped without
 * hashing. A unit with a key of 16 bytes and a value of 8 has 29 bytes (30 in key groups from 128 on). */
#ifndef STATE_DELTA_H
#define STATE_DELTA_H

#include "state/entry.h"

struct delta_unit {
    uint32_t state;
    uint32_t group;
    struct state_key key;    /* its hash is not filled in */
    struct weir_bytes value; /* unset = removed */
};

/* Exactly what delta_write writes. */
size_t delta_size(const struct entry *entry, uint32_t group);
/* Answers the end of what it wrote. */
char *delta_write(char *at, const struct entry *entry, uint32_t group);

/* Reads one unit; its bytes are borrowed from the input. NULL, or what is wrong: the rest of a sentence that begins
 * "the unit ...". */
const char *delta_read(struct reader *reader, struct delta_unit *unit);

#endif
