/* Which units the store does not have yet, so that to write them down costs what they are, and not what the tables hold.
 *
 *   change ──dirty_add──> key group's list ──dirty_take──> round: tag by tag ──> store
 *                              ^                                 │ changed in the open stretch: another time
 *                              └─────────────────────────────────┘
 *
 * A unit is named by its tag, not by its entry: one that was dropped meanwhile is not found, and nobody has to take it off a
 * list. Units that share a tag are all looked at, and each entry says itself whether it is dirty.
 *
 * The list is an economy, and adding never fails: where there is no memory, or more than a fourth of the entries is listed, it
 * is given up, and the group's table has to be walked, which costs little more by then. A list for each key group, because a
 * store wants its batches sorted, and the key group comes first in its names. Owner: the shard's thread. */
#ifndef STATE_DIRTY_H
#define STATE_DIRTY_H

#include "base/base.h"

struct dirty_tags {
    uint32_t *items;
    size_t count, capacity;
};

struct dirty_group {
    struct dirty_tags tags;
    bool is_given_up;
};

/* Zero bytes: without groups every list counts as given up. */
struct dirty {
    struct dirty_group *groups;
    uint32_t group_count;
    uint64_t bytes; /* memory held */
};

void dirty_init(struct dirty *dirty, uint32_t group_count);
void dirty_deinit(struct dirty *dirty);

void dirty_add_slow(struct dirty *dirty, uint32_t group, uint32_t tag, uint64_t entry_count);

/* `entry_count` is that of all groups. A tag may be listed twice. */
static inline void dirty_add(struct dirty *dirty, uint32_t group, uint32_t tag, uint64_t entry_count)
{
    struct dirty_group *of = dirty->groups == NULL ? NULL : &dirty->groups[group];
    if (LIKELY(of != NULL && of->tags.count < of->tags.capacity)) of->tags.items[of->tags.count++] = tag;
    else if (of != NULL && !of->is_given_up) dirty_add_slow(dirty, group, tag, entry_count);
}

/* Puts the group's list in the place of what is in `taken`, which is no longer needed, and begins a new one. False: it was given
 * up, `taken` is empty, and the table has to be walked. */
bool dirty_take(struct dirty *dirty, uint32_t group, struct dirty_tags *taken);
void dirty_tags_deinit(struct dirty *dirty, struct dirty_tags *taken);

#endif
