/* Records as bytes, one behind the other: what a checkpoint keeps of channels that its barrier overtook.
 *
 *   record   u8   flags: bit 0 = it has a key, bit 1 = a value, bit 2 = headers
 *            u8   type of its time (enum weir_time_type)
 *            i64  time
 *            u32  hash of the key
 *            bytes key, if it has one; bytes value, if it has one (null is a value)
 *            [headers], if it has any: varint count; for each: text name, u8 1 and bytes value, or u8 0 = without a value
 *
 * Numbers, bytes and texts as in base/buffer.h. Checksums belong to whoever keeps the bytes. Pure; any thread. */
#ifndef RECORD_WIRE_H
#define RECORD_WIRE_H

#include "record/record.h"

/* Failure shows in `out`. */
void wire_put(struct buffer *out, const struct weir_record *record);

/* The next record, its bytes borrowed from the input and its headers in `arena`. False when there is none: at the end, or
 * behind a damaged one (`in->failed`), or without memory (*no_memory). */
bool wire_take(struct reader *in, struct arena *arena, struct weir_record *record, bool *no_memory);

#endif
