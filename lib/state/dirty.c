#include "state/dirty.h"

enum {
    SHARE = 4, /* of the entries: a place of the table is looked at in a fraction of the time that a unit takes */
    LISTED_MIN = 64,
    /* What a list keeps for the next round at most. */
    KEPT_MAX = 1024,
};

void dirty_init(struct dirty *dirty, uint32_t group_count)
{
    *dirty = (struct dirty){ .groups = calloc(group_count, sizeof *dirty->groups), .group_count = group_count };
    if (dirty->groups != NULL) dirty->bytes = group_count * sizeof *dirty->groups;
}

static void forget(struct dirty *dirty, struct dirty_group *group)
{
    dirty->bytes -= group->tags.capacity * sizeof *group->tags.items;
    vec_free(&group->tags);
}

void dirty_deinit(struct dirty *dirty)
{
    for (uint32_t i = 0; dirty->groups != NULL && i < dirty->group_count; i++) forget(dirty, &dirty->groups[i]);
    free(dirty->groups);
    *dirty = (struct dirty){ 0 };
}

void dirty_add_slow(struct dirty *dirty, uint32_t group, uint32_t tag, uint64_t entry_count)
{
    struct dirty_group *of = &dirty->groups[group];
    const size_t capacity = of->tags.capacity;
    const bool is_too_long = of->tags.count >= entry_count / dirty->group_count / SHARE + LISTED_MIN;
    uint32_t *item = is_too_long ? NULL : vec_push(&of->tags);
    dirty->bytes += (of->tags.capacity - capacity) * sizeof *of->tags.items;
    if (item != NULL) {
        *item = tag;
        return;
    }
    of->is_given_up = true;
    forget(dirty, of);
}

bool dirty_take(struct dirty *dirty, uint32_t group, struct dirty_tags *taken)
{
    taken->count = 0;
    if (taken->capacity > KEPT_MAX) dirty_tags_deinit(dirty, taken);
    if (dirty->groups == NULL) return false;
    struct dirty_group *of = &dirty->groups[group];
    const struct dirty_tags emptied = *taken;
    *taken = of->tags;
    of->tags = emptied;
    const bool is_listed = !of->is_given_up;
    of->is_given_up = false;
    return is_listed;
}

void dirty_tags_deinit(struct dirty *dirty, struct dirty_tags *taken)
{
    dirty->bytes -= taken->capacity * sizeof *taken->items;
    vec_free(taken);
}
