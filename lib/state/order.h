/* Live entries in order: skip lists (Pugh, 1990) beside the table, whose nodes lie in the shard's slab.
 *
 *   ORDER_OF_MAP    element                       one for each map: its elements by key
 *   ORDER_OF_GROUP  (name space, element, key)    one for each key group of a state that asks for it, as timers need it
 *
 * An order of its own for each map, because maps are small and many: the entries that an insertion compares with are a
 * handful, and a map is cleared by letting go of its order. Parts compare as unsigned bytes, a shorter one before its
 * extensions, an unset one before all. Owner: the shard's thread. */
#ifndef STATE_ORDER_H
#define STATE_ORDER_H

#include "state/slab.h"

enum order_kind { ORDER_OF_MAP, ORDER_OF_GROUP };

#define ORDER_LEVELS 16

/* Zero bytes are an empty one. */
struct order {
    uint32_t root; /* the node before all others; SLAB_NONE = nothing was ever inserted */
    uint32_t count;
};

struct entries;
struct state_key;

/* The entry is not in the list. `tag` is its unit's. False when there is no memory. */
bool order_insert(struct order *order, enum order_kind kind, struct entries *entries, uint32_t reference, uint32_t tag);
/* The entry is in the list. */
void order_remove(struct order *order, enum order_kind kind, struct entries *entries, uint32_t reference);
/* Takes the first entry off, in constant time, and answers it; SLAB_NONE when there is none, and then the list has given
 * its memory back. Once begun, nothing else can be done with the list. */
uint32_t order_dismantle(struct order *order, struct entries *entries);
/* Gives the memory of an empty list back. */
void order_deinit(struct order *order, struct entries *entries);

/* The first node; the first at or behind `from` (its hash does not matter). SLAB_NONE when there is none. */
uint32_t order_first(const struct order *order, const struct entries *entries);
uint32_t order_seek(const struct order *order, enum order_kind kind, const struct entries *entries,
                    const struct state_key *from);
uint32_t order_next(const struct entries *entries, uint32_t node);
uint32_t order_entry(const struct entries *entries, uint32_t node); /* its entry's reference */

#endif
