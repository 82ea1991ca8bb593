#include "state/order.h"

#include "state/entry.h"

/* The root has as many levels as the list has room for, and no entry. */
struct node {
    uint32_t entry;
    uint32_t level_count;
    uint32_t next[];
};

enum { ROOT_LEVELS = 2 }; /* at first, and more each time: what a cell of the slab holds */

static struct node *node_at(const struct entries *entries, uint32_t reference)
{
    return slab_at(&entries->slab, reference);
}

static uint32_t node_create(struct entries *entries, uint32_t entry, uint32_t level_count)
{
    const uint32_t created = slab_alloc(&entries->slab, sizeof(struct node) + level_count * sizeof(uint32_t));
    if (created == SLAB_NONE) return SLAB_NONE;
    struct node *node = node_at(entries, created);
    node->entry = entry;
    node->level_count = level_count;
    memset(node->next, 0, level_count * sizeof node->next[0]);
    return created;
}

uint32_t order_next(const struct entries *entries, uint32_t node)
{
    return node_at(entries, node)->next[0];
}

uint32_t order_entry(const struct entries *entries, uint32_t node)
{
    return node_at(entries, node)->entry;
}

uint32_t order_first(const struct order *order, const struct entries *entries)
{
    return order->root == SLAB_NONE ? SLAB_NONE : order_next(entries, order->root);
}

static int compare_part(struct weir_bytes a, struct weir_bytes b)
{
    if (!weir_is_set(a) || !weir_is_set(b)) return weir_is_set(a) - weir_is_set(b);
    if (weir_is_null(a) || weir_is_null(b)) return weir_is_null(b) - weir_is_null(a);
    const size_t common = a.size < b.size ? a.size : b.size;
    const int first = memcmp(a.data, b.data, common);
    if (first != 0) return first;
    return (a.size > b.size) - (a.size < b.size);
}

static int compare(enum order_kind kind, const struct state_key *a, const struct state_key *b)
{
    if (kind == ORDER_OF_MAP) return compare_part(a->element, b->element);
    const int name_space = compare_part(a->name_space, b->name_space);
    if (name_space != 0) return name_space;
    const int element = compare_part(a->element, b->element);
    return element != 0 ? element : compare_part(a->key, b->key);
}

/* `before[level]` becomes the last node before `key` at each level of the root. Answers the node behind. */
static uint32_t descend(const struct order *order, enum order_kind kind, const struct entries *entries,
                        const struct state_key *key, uint32_t before[ORDER_LEVELS])
{
    uint32_t at = order->root, next = SLAB_NONE;
    for (uint32_t level = node_at(entries, at)->level_count; level-- > 0;) {
        for (;;) {
            next = node_at(entries, at)->next[level];
            if (next == SLAB_NONE) break;
            const struct state_key there = entry_key(entry_at(entries, order_entry(entries, next)));
            if (compare(kind, &there, key) >= 0) break;
            at = next;
        }
        before[level] = at;
    }
    return next;
}

uint32_t order_seek(const struct order *order, enum order_kind kind, const struct entries *entries,
                    const struct state_key *from)
{
    uint32_t before[ORDER_LEVELS];
    return order->root == SLAB_NONE ? SLAB_NONE : descend(order, kind, entries, from, before);
}

/* One node in four reaches the next level. Drawn from the unit's hash, so that a run can be repeated. */
static uint32_t level_count_of(uint32_t tag)
{
    uint32_t bits = (tag ^ tag >> 16) * 0x7feb352d;
    bits = (bits ^ bits >> 15) * 0x846ca68b;
    bits ^= bits >> 16;
    const uint32_t zeroes = bits == 0 ? 32 : (uint32_t)__builtin_ctz(bits);
    const uint32_t level_count = 1 + zeroes / 2;
    return level_count < ORDER_LEVELS ? level_count : ORDER_LEVELS;
}

/* Room for `level_count` levels, or as many more as memory allows: a lower tower costs time, nothing else. */
static void grow_root(struct order *order, struct entries *entries, uint32_t level_count)
{
    const struct node *root = node_at(entries, order->root);
    if (level_count <= root->level_count) return;
    const uint32_t levels = root->level_count + ROOT_LEVELS; /* at most that: towers rise with the list */
    const uint32_t grown = node_create(entries, SLAB_NONE, levels);
    if (grown == SLAB_NONE) return;
    root = node_at(entries, order->root);
    memcpy(node_at(entries, grown)->next, root->next, root->level_count * sizeof root->next[0]);
    slab_free(&entries->slab, order->root);
    order->root = grown;
}

bool order_insert(struct order *order, enum order_kind kind, struct entries *entries, uint32_t reference, uint32_t tag)
{
    uint32_t level_count = level_count_of(tag);
    if (order->root == SLAB_NONE) order->root = node_create(entries, SLAB_NONE, ROOT_LEVELS);
    if (order->root == SLAB_NONE) return false;
    grow_root(order, entries, level_count);
    const uint32_t level_max = node_at(entries, order->root)->level_count;
    if (level_count > level_max) level_count = level_max;
    const uint32_t created = node_create(entries, reference, level_count);
    if (created == SLAB_NONE) return false;

    uint32_t before[ORDER_LEVELS];
    const struct state_key key = entry_key(entry_at(entries, reference));
    (void)descend(order, kind, entries, &key, before);
    struct node *node = node_at(entries, created);
    for (uint32_t level = 0; level < level_count; level++) {
        struct node *previous = node_at(entries, before[level]);
        node->next[level] = previous->next[level];
        previous->next[level] = created;
    }
    order->count++;
    return true;
}

void order_remove(struct order *order, enum order_kind kind, struct entries *entries, uint32_t reference)
{
    uint32_t before[ORDER_LEVELS];
    CHECK(order->count > 0);
    const struct state_key key = entry_key(entry_at(entries, reference));
    const uint32_t found = descend(order, kind, entries, &key, before);
    CHECK(found != SLAB_NONE && order_entry(entries, found) == reference);
    const struct node *node = node_at(entries, found);
    for (uint32_t level = 0; level < node->level_count; level++)
        node_at(entries, before[level])->next[level] = node->next[level];
    slab_free(&entries->slab, found);
    order->count--;
}

uint32_t order_dismantle(struct order *order, struct entries *entries)
{
    const uint32_t first = order_first(order, entries);
    if (first == SLAB_NONE) {
        order_deinit(order, entries);
        return SLAB_NONE;
    }
    const struct node *node = node_at(entries, first);
    const uint32_t entry = node->entry;
    node_at(entries, order->root)->next[0] = node->next[0];
    slab_free(&entries->slab, first);
    order->count--;
    return entry;
}

void order_deinit(struct order *order, struct entries *entries)
{
    CHECK(order->count == 0);
    if (order->root != SLAB_NONE) slab_free(&entries->slab, order->root);
    order->root = SLAB_NONE;
}
