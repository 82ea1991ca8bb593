/* A unit's name as one run of bytes that sorts as the parts do, for stores that keep units in byte order.
 *
 *   u16 key group | part: key | part: name space | u64 generation | part: element
 *   u16 key group | part: name space | part: element | part: key        where the state is ordered_in_group
 *
 *   part    01 (unset)
 *           02 (null)
 *           03 | bytes, each 00 as 00 ff | 00 00
 *
 * Numbers are big-endian, so memcmp is the order: a shorter part comes before its extensions, an unset one before all.
 * One key group is a contiguous range in either form, and so is one collection.
 *
 *   value   varint version * 2 + (1 when it is null) | bytes
 *           the bytes of a state whose values expire: i64 when it was touched last | u8 1 when it is null | bytes */
#ifndef STATE_STORE_KEY_H
#define STATE_STORE_KEY_H

#include "state/state.h"

/* Append to `out`; out->failed tells of no memory. The prefixes end where a scan does: behind the key group, and
 * behind the generation. */
void store_key_encode(struct buffer *out, bool is_ordered, uint32_t group, const struct state_key *key);
void store_key_group_prefix(struct buffer *out, uint32_t group);
void store_key_collection_prefix(struct buffer *out, uint32_t group, const struct state_key *key);
void store_key_part(struct buffer *out, struct weir_bytes part);

/* The parts point into `bytes` or into `scratch`, which is emptied first; the hash is worked out. NULL, or what is wrong:
 * the rest of a sentence. */
const char *store_key_decode(struct weir_bytes bytes, bool is_ordered, struct buffer *scratch, uint32_t *group,
                             struct state_key *key);

/* Is it an element of a collection? Of a name that is not ordered_in_group; any thread. */
bool store_key_is_element(struct weir_bytes bytes);

void store_value_encode(struct buffer *out, uint32_t version, struct weir_bytes value);
void store_stamped_encode(struct buffer *out, int64_t stamp_ms, struct weir_bytes value);
/* Borrowed from `bytes`. False: these bytes are no value. */
bool store_value_decode(struct weir_bytes bytes, uint32_t *version, struct weir_bytes *value);
bool store_stamped_decode(struct weir_bytes bytes, int64_t *stamp_ms, struct weir_bytes *value);

#endif
