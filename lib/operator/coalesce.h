/* Emit on commit for operators that emit freely: the last record of each key in an epoch, in order of the first.
 *
 *   put(key, record) ... put(key, record) ─> at(0), at(1), ... before the barrier ─> clear
 *
 * One entry for each key: an index slot, and one block of arena memory that holds the record's bytes. A later record
 * overwrites the block when it fits; else it gets a new one of 1.5 times its size, so that what is given up never
 * exceeds a constant factor of what is kept. Owner: the task thread. */
#ifndef OPERATOR_COALESCE_H
#define OPERATOR_COALESCE_H

#include "record/record.h"

struct coalesce;

struct coalesce *coalesce_create(void); /* NULL when there is no memory */
void coalesce_destroy(struct coalesce *coalesce);

/* Keeps a copy of `record` (headers too) as the last one of `key`; `hash` is hash_key(key). False when there is no
 * memory: what was kept for the key before may be gone. */
bool coalesce_put(struct coalesce *coalesce, struct weir_bytes key, uint32_t hash, const struct weir_record *record);

size_t coalesce_count(const struct coalesce *coalesce);
/* Valid until the next put or clear. */
const struct weir_record *coalesce_at(const struct coalesce *coalesce, size_t index);
void coalesce_clear(struct coalesce *coalesce);
size_t coalesce_bytes(const struct coalesce *coalesce); /* memory held by records */

#endif
