#include "state/order.h"

struct node {
    uint32_t entry;
    uint32_t level_count;
    uint32_t next[];
};

static struct node *node_at(const struct entries *entries, uint32_t reference)
{
    return slab_at(&entries->slab, reference);
}

void order_init(struct order *order, enum order_kind kind)
{
    *order = (struct order){ .kind = kind };
}

uint32_t order_next(const struct entries *entries, uint32_t node)
{
    return node_at(entries, node)->next[0];
}

uint32_t order_entry(const struct entries *entries, uint32_t node)
{
    return node_at(entries, node)->entry;
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
    if (kind == ORDER_BY_KEY) {
        const int key = compare_part(a->key, b->key);
        if (key != 0) return key;
    }
    const int name_space = compare_part(a->name_space, b->name_space);
    if (name_space != 0) return name_space;
    const int element = compare_part(a->element, b->element);
    if (element != 0 || kind == ORDER_BY_KEY) return element;
    return compare_part(a->key, b->key);
}

static uint32_t next_at(const struct order *order, const struct entries *entries, uint32_t node, uint32_t level)
{
    return node == SLAB_NONE ? order->first[level] : node_at(entries, node)->next[level];
}

static void set_next(struct order *order, struct entries *entries, uint32_t node, uint32_t level, uint32_t next)
{
    if (node == SLAB_NONE) order->first[level] = next;
    else node_at(entries, node)->next[level] = next;
}

/* `before[level]` becomes the last node before `key` at each level (SLAB_NONE: the head). Answers the node behind. */
static uint32_t descend(const struct order *order, const struct entries *entries, const struct state_key *key,
                        uint32_t before[ORDER_LEVELS])
{
    uint32_t at = SLAB_NONE;
    for (uint32_t level = order->level_count; level-- > 0;) {
        for (;;) {
            const uint32_t next = next_at(order, entries, at, level);
            if (next == SLAB_NONE) break;
            const struct state_key there = entry_key(entry_at(entries, order_entry(entries, next)));
            if (compare(order->kind, &there, key) >= 0) break;
            at = next;
        }
        before[level] = at;
    }
    return order->level_count == 0 ? SLAB_NONE : next_at(order, entries, at, 0);
}

uint32_t order_seek(const struct order *order, const struct entries *entries, const struct state_key *from)
{
    uint32_t before[ORDER_LEVELS];
    return descend(order, entries, from, before);
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

bool order_insert(struct order *order, struct entries *entries, uint32_t reference, uint32_t tag)
{
    const uint32_t level_count = level_count_of(tag);
    const uint32_t created = slab_alloc(&entries->slab, sizeof(struct node) + level_count * sizeof(uint32_t));
    if (created == SLAB_NONE) return false;

    uint32_t before[ORDER_LEVELS] = { SLAB_NONE };
    const struct state_key key = entry_key(entry_at(entries, reference));
    descend(order, entries, &key, before);
    if (order->level_count < level_count) order->level_count = level_count;

    struct node *node = node_at(entries, created);
    node->entry = reference;
    node->level_count = level_count;
    for (uint32_t level = 0; level < level_count; level++) {
        node->next[level] = next_at(order, entries, before[level], level);
        set_next(order, entries, before[level], level, created);
    }
    return true;
}

void order_remove(struct order *order, struct entries *entries, uint32_t reference)
{
    uint32_t before[ORDER_LEVELS] = { SLAB_NONE };
    const struct state_key key = entry_key(entry_at(entries, reference));
    const uint32_t found = descend(order, entries, &key, before);
    CHECK(found != SLAB_NONE && order_entry(entries, found) == reference);
    const struct node *node = node_at(entries, found);
    for (uint32_t level = 0; level < node->level_count; level++)
        set_next(order, entries, before[level], level, node->next[level]);
    slab_free(&entries->slab, found);
}
