/* How units are written, in deltas and bases alike: one after another, without a frame of their own.
 *
 *   u8      flags     1 removed        no value follows
 *                     2 null value     no value follows
 *                     4 null key       no key follows
 *                     8 name space     one follows
 *                    16 element        one follows
 *                    32 generation     one follows: an element of a collection
 *                    64 version        one follows: the value is older than the writer's codec
 *                   128 time           one follows: the value expires
 *   varint  state     the writer's index
 *   varint  key group
 *   varint  size of the key, and its bytes            unless the key is null
 *   varint  size of the name space, and its bytes     where flagged
 *   varint  generation, at least 1                    where flagged
 *   varint  size of the element, and its bytes        where flagged
 *   varint  version of the value's codec              where flagged, else the one that the writer declared
 *   i64     when the value was touched last           where flagged: milliseconds since 1970, little-endian
 *   varint  size of the value, and its bytes          unless removed or null
 *
 * The value of a collection's head (a unit of a list or map without an element):
 *
 *   varint  generation, at least 1
 *   varint  sequence number of a list's first element      the rest: lists only
 *   varint  elements from there to the last one
 *
 * The element of a list is its sequence number, 8 bytes, big-endian.
 *
 * Varints are LEB128. The key group follows from the key; it is written so that foreign units are skipped without
 * hashing. A unit with a key of 16 bytes and a value of 8 has 29 bytes (30 in key groups from 128 on). Which states the
 * writer had, and the versions of their codecs, stands in front of a base and in a frame's manifest. */
#ifndef STATE_DELTA_H
#define STATE_DELTA_H

#include "state/entry.h"

struct delta_unit {
    uint32_t state;
    uint32_t group;
    bool has_version;
    uint32_t version;        /* of the value, where it says so */
    bool has_stamp;
    int64_t stamp_ms;        /* when the value was touched last, where it says so */
    struct state_key key;    /* its hash is not filled in */
    struct weir_bytes value; /* unset = removed */
};

/* Exactly what delta_write writes. `key` is the entry's name, which whoever has it need not take apart again. `version` is
 * that of a value that is ENTRY_OLD, and does not matter otherwise. */
size_t delta_size(const struct entry *entry, const struct state_key *key, uint32_t group, uint32_t version);
/* What the head of a list takes more with one element more than `count`. */
size_t delta_head_growth(uint64_t count);
/* Answers the end of what it wrote. */
char *delta_write(char *at, const struct entry *entry, uint32_t group, uint32_t version);

/* The same for a unit that is no entry; the value of a head is as head_encode makes it. */
void delta_append(struct buffer *out, const struct delta_unit *unit);

/* Reads one unit; its bytes are borrowed from the input. NULL, or what is wrong: the rest of a sentence that begins
 * "the unit ...". */
const char *delta_read(struct reader *reader, struct delta_unit *unit);

/* The value of a head as it is written. */
#define HEAD_BYTES_MAX 30
struct weir_bytes head_encode(const struct head *head, char bytes[HEAD_BYTES_MAX]);
/* The order is empty. False: these bytes are no head of a list, or of a map. */
bool head_decode(struct weir_bytes bytes, bool is_list, struct head *head);

/* The element of a list with this sequence number. */
#define LIST_ELEMENT_BYTES 8
struct weir_bytes list_element_encode(uint64_t sequence, char bytes[LIST_ELEMENT_BYTES]);
uint64_t list_element_decode(struct weir_bytes element);

#endif
