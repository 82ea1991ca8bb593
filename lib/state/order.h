/* The live entries of one state and one key group in order: a skip list (Pugh, 1990) beside the table, for states that
 * ask for it. Its nodes lie in the shard's slab.
 *
 *   ORDER_BY_KEY      (key, name space, element): the elements of one key lie together
 *   ORDER_BY_ELEMENT  (name space, element, key): the elements of all keys of the group lie together, as timers need it
 *
 * Parts compare as unsigned bytes, a shorter one before its extensions, an unset one before all. Owner: the shard's
 * thread. */
#ifndef STATE_ORDER_H
#define STATE_ORDER_H

#include "state/entry.h"

enum order_kind { ORDER_BY_KEY, ORDER_BY_ELEMENT };

#define ORDER_LEVELS 16

struct order {
    enum order_kind kind;
    uint32_t level_count;
    uint32_t first[ORDER_LEVELS]; /* node references, SLAB_NONE at the end */
};

void order_init(struct order *order, enum order_kind kind); /* holds no memory of its own */

/* The entry is not in the list. `tag` is its unit's. False when there is no memory. */
bool order_insert(struct order *order, struct entries *entries, uint32_t reference, uint32_t tag);
/* The entry is in the list. */
void order_remove(struct order *order, struct entries *entries, uint32_t reference);

/* The first node at or behind `from` (its hash does not matter); SLAB_NONE when there is none. */
uint32_t order_seek(const struct order *order, const struct entries *entries, const struct state_key *from);
uint32_t order_next(const struct entries *entries, uint32_t node);
uint32_t order_entry(const struct entries *entries, uint32_t node); /* its entry's reference */

#endif
