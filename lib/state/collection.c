/* Lists and maps: a head and its elements, and what remains of those that were cleared.
 *
 *   add, put     head found or made (with a new generation), element put under the head's generation
 *   clear        head removed; its elements go to `remains` as a whole, few of them at once
 *   collect      elements out of `remains`, some with each call that changes a collection
 *
 * An element that died needs no tombstone: nothing that was written of it can live without its head. */
#include "state/shard_private.h"

#include <stdlib.h>

#include "base/hash_inline.h"

enum {
    /* So few elements are dropped by the clear itself. */
    CLEAR_AT_ONCE = 16,
    /* A call that puts one element drops two that are dead, so that what is dead never grows beyond what lived. */
    COLLECT_WITH_CALL = 2,
};

/* ---- Heads and elements ------------------------------------------------------------------------------------------ */

struct unit shard_head_unit(uint32_t state, const struct state_key *key, struct state_key *name)
{
    *name = (struct state_key){ .key = key->key, .name_space = key->name_space, .hash = key->hash };
    struct unit unit = unit_of(state, name);
    unit.identity |= (uint32_t)SHAPE_HEAD << 8;
    return unit;
}

static inline bool is_plain(const struct state_key *key)
{
    return !weir_is_set(key->name_space) && !weir_is_null(key->key) && key->key.size <= ENTRY_NAME_MAX;
}

static __attribute__((noinline)) uint32_t look_for_head(struct shard *shard, uint32_t state, const struct state_key *key)
{
    struct state_key name;
    const struct unit unit = shard_head_unit(state, key, &name);
    return shard_look(shard, &unit);
}

/* The head's entry, a tombstone too; SLAB_NONE when there is none. Of each state, the head that was asked for last is
 * remembered: a record asks for that of its key several times, at each step of a walk for example. */
static inline uint32_t find_head_entry(struct shard *shard, uint32_t state, const struct state_key *key)
{
    uint32_t *const last = &shard->states[state].head;
    if (LIKELY(is_plain(key))) {
        const struct entries *entries = &shard->entries;
        if (*last != SLAB_NONE && entry_is_plain_head(entry_at(entries, *last), state, key->key)) return *last;
        const uint32_t found = shard_find_tag(shard, unit_tag_plain(state, key->hash), key->hash);
        if (LIKELY(found != SLAB_NONE && entry_is_plain_head(entry_at(entries, found), state, key->key)))
            return *last = found;
    }
    return *last = look_for_head(shard, state, key);
}

/* The same where it is alive. */
static inline uint32_t find_live_head(struct shard *shard, uint32_t state, const struct state_key *key)
{
    const uint32_t reference = find_head_entry(shard, state, key);
    if (reference == SLAB_NONE) return SLAB_NONE;
    return LIKELY(!(entry_at(&shard->entries, reference)->flags & ENTRY_REMOVED)) ? reference : SLAB_NONE;
}

/* NULL when there is none. */
static struct head *find_head(struct shard *shard, uint32_t state, const struct state_key *key)
{
    const uint32_t reference = find_live_head(shard, state, key);
    return reference == SLAB_NONE ? NULL : entry_head(entry_at(&shard->entries, reference));
}

/* The head's entry; made, with a generation of its own, where there is none. SLAB_NONE when there is no memory. */
static uint32_t open_head(struct shard *shard, uint32_t state, const struct state_key *key)
{
    uint32_t reference = find_live_head(shard, state, key);
    if (LIKELY(reference != SLAB_NONE)) return reference;
    struct state_key name;
    const struct unit unit = shard_head_unit(state, key, &name);
    const bool is_list = shard_is_list(shard, state);
    const struct head head = { .generation = shard->generation + 1, .first = is_list, .next = is_list };
    reference = shard_put(shard, &unit, (struct weir_bytes){ (const char *)&head, sizeof head });
    if (reference != SLAB_NONE) shard->generation++;
    return reference;
}

static struct state_key element_name(const struct state_key *key, uint64_t generation, struct weir_bytes element)
{
    return (struct state_key){ .key = key->key, .name_space = key->name_space, .element = element,
                               .generation = generation, .hash = key->hash };
}

/* shard_find, for an element of a name that is a key alone, in a state where nothing expires: most are that, and are found
 * without writing their names down first. For all others SLAB_NONE, too. */
static inline uint32_t find_plain_element(const struct shard *shard, uint32_t state, const struct state_key *key,
                                          uint64_t generation, struct weir_bytes element)
{
    const bool is_short = key->key.size + element.size <= ENTRY_NAME_MAX - ENTRY_PARTS_BYTES;
    if (UNLIKELY(!is_plain(key) || !is_short || weir_is_null(element))) return SLAB_NONE;
    const uint32_t first = unit_tag_first(state, key->hash);
    const uint32_t tag = unit_tag_spread(unit_tag_last(first, hash_key_inline(element), generation));
    const uint32_t found = shard_find_tag(shard, tag, key->hash);
    if (UNLIKELY(found == SLAB_NONE)) return SLAB_NONE;
    const struct entry *entry = entry_at(&shard->entries, found);
    return LIKELY(entry_is_plain_element(entry, state, key->key, generation, element)) ? found : SLAB_NONE;
}

/* ---- What remains ------------------------------------------------------------------------------------------------ */

static size_t name_bytes(const struct remains *remains)
{
    return remains->key.size + remains->name_space.size;
}

/* Keeps its own copies of key and name space. False when there is no memory. */
static bool remember_remains(struct shard *shard, const struct remains *remains)
{
    char *copy = malloc(name_bytes(remains) + 1);
    struct remains *kept = copy == NULL ? NULL : vec_push(&shard->remains);
    if (kept == NULL) {
        free(copy);
        return false;
    }
    *kept = *remains;
    if (!weir_is_null(remains->key)) {
        if (remains->key.size > 0) memcpy(copy, remains->key.data, remains->key.size);
        kept->key.data = copy;
    }
    if (weir_is_set(remains->name_space)) {
        if (remains->name_space.size > 0)
            memcpy(copy + remains->key.size, remains->name_space.data, remains->name_space.size);
        kept->name_space.data = copy + remains->key.size;
    }
    kept->copy = copy;
    shard->remains_bytes += sizeof *kept + name_bytes(kept);
    return true;
}

static void forget_last(struct shard *shard)
{
    struct remains *last = &shard->remains.items[--shard->remains.count];
    shard->remains_bytes -= sizeof *last + name_bytes(last);
    free(last->copy);
}

void shard_forget_remains(struct shard *shard)
{
    while (shard->remains.count > 0) forget_last(shard);
    vec_free(&shard->remains);
}

/* Drops a dead element, which is in no order. One that is in a list, of changes or of what parts have written, stays
 * there, empty, until a snapshot comes by. There is room in the list of changes. */
static void drop_element(struct shard *shard, const struct unit *unit, uint32_t reference)
{
    struct entry *entry = entry_at(&shard->entries, reference);
    if (entry->flags & ENTRY_REMOVED) return; /* was removed before the collection was cleared: a tombstone */
    const bool is_frozen = (entry->flags & shard_frozen_flag(shard)) != 0;
    shard->changed_bytes -= shard_pending_bytes(shard, unit, entry);
    shard_save(shard, entry, unit->key->hash);
    entry_remove_value(&shard->entries, entry);
    entry->flags &= (uint8_t)~ENTRY_DIRTY;
    shard->entry_count--;
    const bool is_listed = (entry->flags & (shard->changed_flag | ENTRY_LISTED)) != 0;
    if (!is_frozen && !is_listed) {
        shard_discard(shard, unit, reference);
        return;
    }
    entry->flags |= ENTRY_FORGOTTEN;
    if (is_listed) return;
    entry->flags |= shard->changed_flag;
    changes_push(&shard->changes, (struct change){ .reference = reference, .hash = unit->key->hash });
}

static void drop_of_map(struct shard *shard, const struct remains *remains, uint32_t reference)
{
    struct state_key name = entry_key(entry_at(&shard->entries, reference));
    name.hash = remains->hash;
    const struct unit unit = shard_unit(shard, remains->state, &name);
    drop_element(shard, &unit, reference);
}

static void drop_of_list(struct shard *shard, const struct remains *remains, uint64_t sequence)
{
    char bytes[LIST_ELEMENT_BYTES];
    const struct state_key name = { .key = remains->key, .name_space = remains->name_space,
                                    .element = list_element_encode(sequence, bytes),
                                    .generation = remains->generation, .hash = remains->hash };
    const struct unit unit = shard_unit(shard, remains->state, &name);
    const uint32_t reference = shard_find(shard, &unit);
    if (reference != SLAB_NONE) drop_element(shard, &unit, reference);
}

/* Drops one element more; false when there are none. There is room in the list of changes. */
static bool drop_one(struct shard *shard, struct remains *remains)
{
    if (remains->first < remains->next) {
        drop_of_list(shard, remains, remains->first++);
        return true;
    }
    const uint32_t reference = order_dismantle(&remains->order, &shard->entries);
    if (reference == SLAB_NONE) return false;
    drop_of_map(shard, remains, reference);
    return true;
}

bool shard_collect(struct shard *shard, size_t elements_max)
{
    for (; shard->remains.count > 0 && elements_max > 0; elements_max--) {
        if (!changes_reserve(&shard->changes, 1)) return false; /* another time */
        if (!drop_one(shard, &shard->remains.items[shard->remains.count - 1])) forget_last(shard);
    }
    return shard->remains.count == 0;
}

static inline void collect_with_call(struct shard *shard)
{
    if (UNLIKELY(shard->remains.count > 0)) (void)shard_collect(shard, COLLECT_WITH_CALL);
}

/* ---- Clearing ---------------------------------------------------------------------------------------------------- */

static bool clear_collection(struct shard *shard, uint32_t state, const struct state_key *key)
{
    struct state_key name;
    const struct unit unit = shard_head_unit(state, key, &name);
    const uint32_t reference = shard_look(shard, &unit);
    if (reference == SLAB_NONE || (entry_at(&shard->entries, reference)->flags & ENTRY_REMOVED)) return true;
    const bool is_stored = entry_at(&shard->entries, reference)->version > 0;

    const struct head *head = entry_head(entry_at(&shard->entries, reference));
    struct remains remains = { .state = state, .hash = key->hash, .generation = head->generation, .first = head->first,
                               .next = head->next, .order = head->order, .key = key->key,
                               .name_space = key->name_space };
    const bool at_once = head->next - head->first <= CLEAR_AT_ONCE && head->order.count <= CLEAR_AT_ONCE;
    if (!changes_reserve(&shard->changes, CLEAR_AT_ONCE + 1)) return false;
    if (!at_once && !remember_remains(shard, &remains)) return false;
    const bool is_gone = shard_take_away(shard, &unit, reference);
    CHECK(is_gone);
    if (is_stored) cache_remove_elements(shard, state, key, remains.generation);
    shard->order_stamp++;
    while (at_once && drop_one(shard, &remains)) continue;
    return true;
}

bool shard_clear(struct shard *shard, uint32_t state, const struct state_key *key)
{
    CHECK(state < shard->state_count);
    if (!shard_is_list(shard, state) && !shard_is_map(shard, state)) return shard_remove(shard, state, key);
    collect_with_call(shard);
    return clear_collection(shard, state, key);
}

/* ---- What has expired -------------------------------------------------------------------------------------------- */

static struct state_key list_name(const struct state_key *key, const struct head *head, uint64_t sequence,
                                  char bytes[LIST_ELEMENT_BYTES])
{
    return element_name(key, head->generation, list_element_encode(sequence, bytes));
}

/* The element's entry; brought in with those behind it where it is in the store alone. The store has nothing before `*asked`, 0
 * at first, that the tables do not have: a list from which a compaction has taken much is not asked for again and again. */
static uint32_t find_of_list(struct shard *shard, uint32_t state, const struct unit *unit, uint64_t sequence,
                             uint64_t *asked)
{
    const uint32_t reference = shard_find(shard, unit);
    if (LIKELY(reference != SLAB_NONE) || !shard->holds_units || sequence < *asked) return reference;
    *asked = cache_load_run(shard, state, unit->key);
    return shard_find(shard, unit);
}

/* Is the place of this element of a list empty now? A reader drops what is hidden. Who cleans drops what is shown, too, and
 * does not wait for the store. Without memory it stays for another time. */
static bool drop_if_expired(struct shard *shard, uint32_t state, const struct state_key *name, uint64_t sequence,
                            uint64_t *asked, bool cleans)
{
    const struct unit unit = shard_unit(shard, state, name);
    const uint32_t reference =
        cleans ? shard_find(shard, &unit) : find_of_list(shard, state, &unit, sequence, asked);
    if (reference == SLAB_NONE) return !cleans || !shard->holds_units;
    const struct entry *entry = entry_at(&shard->entries, reference);
    if (entry->flags & ENTRY_REMOVED) return true;
    if (!(cleans ? shard_has_expired(shard, entry) : shard_is_hidden(shard, entry))) return false;
    return shard_take_away(shard, &unit, reference);
}

/* Moves the beginning of a list behind what has expired there, so that a list that is added to for ever does not grow
 * longer than what lives in it. When nothing is left, the head goes. */
static void drop_front(struct shard *shard, uint32_t state, const struct state_key *key, bool cleans)
{
    struct state_key head_name;
    const struct unit unit = shard_head_unit(state, key, &head_name);
    struct head *head = find_head(shard, state, key);
    if (head == NULL || !changes_reserve(&shard->changes, 1)) return;
    uint64_t first = head->first, asked = 0;
    for (; first < head->next; first++) {
        char bytes[LIST_ELEMENT_BYTES];
        const struct state_key name = list_name(key, head, first, bytes);
        if (!drop_if_expired(shard, state, &name, first, &asked, cleans)) break;
    }
    if (first > head->first && changes_reserve(&shard->changes, 1)) {
        const uint32_t reference = shard_find(shard, &unit);
        struct entry *entry = entry_at(&shard->entries, reference);
        const size_t bytes_before = shard_pending_bytes(shard, &unit, entry);
        shard_save(shard, entry, key->hash);
        head->first = first;
        shard_note_change(shard, &unit, reference, bytes_before);
    }
    if (head->first == head->next) (void)clear_collection(shard, state, key);
}

/* Drops the elements of a map from the first one on, until there is one that may be seen. */
static void drop_first(struct shard *shard, uint32_t state, const struct state_key *key, struct head *head)
{
    while (head->order.count > 0) {
        const uint32_t reference = order_entry(&shard->entries, order_first(&head->order, &shard->entries));
        struct state_key name = entry_key(entry_at(&shard->entries, reference));
        name.hash = key->hash;
        struct unit unit = shard_unit(shard, state, &name);
        unit.order = &head->order;
        if (!shard_is_hidden(shard, entry_at(&shard->entries, reference))) return;
        if (!shard_take_away(shard, &unit, reference)) return;
    }
    (void)clear_collection(shard, state, key);
}

static bool has_ttl(const struct shard *shard, uint32_t state)
{
    return UNLIKELY(shard->states[state].declaration.ttl_ms > 0 || shard->states[state].gone_ms != INT64_MIN);
}

void shard_clean_collection(struct shard *shard, uint32_t reference)
{
    const struct entry *entry = entry_at(&shard->entries, reference);
    const uint32_t state = entry_state(entry);
    struct state_key name = entry_key(entry);
    name.hash = hash_key(name.key);
    struct head *head = find_head(shard, state, &name);
    if (head == NULL || (name.generation > 0 && name.generation != head->generation)) return; /* dead already */
    struct unit unit = shard_unit(shard, state, &name);
    if (shard_is_map(shard, state)) unit.order = &head->order;
    if (name.generation > 0 && !shard_take_away(shard, &unit, reference)) return;
    name.element = (struct weir_bytes){ 0 };
    name.generation = 0;
    if (shard_is_list(shard, state)) drop_front(shard, state, &name, true);
    else if (head->order.count == 0) (void)clear_collection(shard, state, &name);
}

bool shard_is_empty(struct shard *shard, uint32_t state, const struct state_key *key)
{
    CHECK(state < shard->state_count);
    if (!shard_is_list(shard, state) && !shard_is_map(shard, state))
        return !weir_is_set(shard_get(shard, state, key));
    if (has_ttl(shard, state)) {
        struct head *expiring = find_head(shard, state, key);
        if (expiring != NULL && shard_is_map(shard, state)) drop_first(shard, state, key, expiring);
        else drop_front(shard, state, key, false);
    }
    const struct head *head = find_head(shard, state, key);
    return head == NULL || (head->first == head->next && head->order.count == 0);
}

/* ---- Lists ------------------------------------------------------------------------------------------------------- */

/* The list has one element more, and its head has room in the list of changes. */
static void count_element(struct shard *shard, uint32_t state, const struct state_key *key, uint32_t reference)
{
    struct entry *entry = entry_at(&shard->entries, reference);
    struct head *head = entry_head(entry);
    if (LIKELY(entry->flags & shard->changed_flag)) {
        shard->changed_bytes += delta_head_growth(head->next++ - head->first);
        return;
    }
    struct state_key name;
    const struct unit unit = shard_head_unit(state, key, &name);
    shard_save(shard, entry, key->hash);
    head->next++;
    shard_note_change(shard, &unit, reference, 0);
}

uint32_t shard_list_add_entry(struct shard *shard, uint32_t state, const struct state_key *key, struct weir_bytes value)
{
    CHECK(state < shard->state_count && shard_is_list(shard, state) && weir_is_set(value));
    collect_with_call(shard);
    const uint32_t reference = open_head(shard, state, key);
    if (reference == SLAB_NONE) return SLAB_NONE;

    char bytes[LIST_ELEMENT_BYTES];
    const struct head *head = entry_head(entry_at(&shard->entries, reference));
    const struct state_key name = list_name(key, head, head->next, bytes);
    const struct unit unit = shard_unit(shard, state, &name);
    /* The element's, and the head's. */
    if (!changes_reserve(&shard->changes, 2)) return SLAB_NONE;
    const uint32_t added = shard_put(shard, &unit, value);
    if (added != SLAB_NONE) count_element(shard, state, key, reference);
    return added;
}

bool shard_list_add(struct shard *shard, uint32_t state, const struct state_key *key, struct weir_bytes value)
{
    return shard_list_add_entry(shard, state, key, value) != SLAB_NONE;
}

uint32_t shard_list_step(struct shard *shard, uint32_t state, const struct state_key *key, struct shard_cursor *cursor)
{
    CHECK(state < shard->state_count && shard_is_list(shard, state));
    if (cursor->generation != 0 && cursor->at == cursor->end) return SLAB_NONE;
    if (has_ttl(shard, state) && cursor->generation == 0) drop_front(shard, state, key, false);
    const struct head *head = find_head(shard, state, key);
    if (head == NULL) return SLAB_NONE;
    if (cursor->generation == 0)
        *cursor = (struct shard_cursor){ .generation = head->generation, .at = head->first, .end = head->next };
    if (cursor->generation != head->generation) return SLAB_NONE;
    for (uint64_t asked = 0; cursor->at < cursor->end;) {
        char bytes[LIST_ELEMENT_BYTES];
        const uint64_t sequence = cursor->at++;
        const struct weir_bytes element = list_element_encode(sequence, bytes);
        uint32_t reference = find_plain_element(shard, state, key, head->generation, element);
        if (LIKELY(reference != SLAB_NONE && !(entry_at(&shard->entries, reference)->flags & ENTRY_REMOVED)))
            return reference;
        const struct state_key name = element_name(key, head->generation, element);
        const struct unit unit = shard_unit(shard, state, &name);
        reference = find_of_list(shard, state, &unit, sequence, &asked);
        if (reference != SLAB_NONE && has_ttl(shard, state)) reference = shard_admit(shard, &unit, reference);
        if (reference != SLAB_NONE && !(entry_at(&shard->entries, reference)->flags & ENTRY_REMOVED)) return reference;
    }
    return SLAB_NONE;
}

bool shard_list_next(struct shard *shard, uint32_t state, const struct state_key *key, struct shard_cursor *cursor,
                     struct weir_bytes *value)
{
    const uint32_t reference = shard_list_step(shard, state, key, cursor);
    if (reference == SLAB_NONE) return false;
    *value = shard_value_of(shard, entry_at(&shard->entries, reference));
    return true;
}

/* ---- Maps -------------------------------------------------------------------------------------------------------- */

/* The unit of a map's element; `name` becomes its name. */
static struct unit map_unit(const struct shard *shard, uint32_t state, const struct state_key *key, struct head *head,
                            struct state_key *name)
{
    *name = element_name(key, head->generation, key->element);
    struct unit unit = shard_unit(shard, state, name);
    unit.order = &head->order;
    return unit;
}

struct weir_bytes shard_map_get(struct shard *shard, uint32_t state, const struct state_key *key)
{
    CHECK(state < shard->state_count && shard_is_map(shard, state) && weir_is_set(key->element));
    struct head *head = find_head(shard, state, key);
    if (head == NULL) return (struct weir_bytes){ 0 };
    uint32_t reference = find_plain_element(shard, state, key, head->generation, key->element);
    if (LIKELY(reference != SLAB_NONE)) return shard_value_of(shard, entry_at(&shard->entries, reference));
    struct state_key name;
    const struct unit unit = map_unit(shard, state, key, head, &name);
    reference = shard_find(shard, &unit);
    if (reference != SLAB_NONE && has_ttl(shard, state)) {
        reference = shard_admit(shard, &unit, reference);
        if (head->order.count == 0) (void)clear_collection(shard, state, key);
    }
    if (reference == SLAB_NONE) return (struct weir_bytes){ 0 };
    return shard_value_of(shard, entry_at(&shard->entries, reference));
}

uint32_t shard_map_put_entry(struct shard *shard, uint32_t state, const struct state_key *key, struct weir_bytes value)
{
    CHECK(state < shard->state_count && shard_is_map(shard, state));
    CHECK(weir_is_set(key->element) && weir_is_set(value));
    struct state_key name;
    collect_with_call(shard);
    const uint32_t head = open_head(shard, state, key);
    if (head == SLAB_NONE) return SLAB_NONE;
    const struct unit unit = map_unit(shard, state, key, entry_head(entry_at(&shard->entries, head)), &name);
    return shard_put(shard, &unit, value);
}

bool shard_map_put(struct shard *shard, uint32_t state, const struct state_key *key, struct weir_bytes value)
{
    return shard_map_put_entry(shard, state, key, value) != SLAB_NONE;
}

void *shard_map_value(struct shard *shard, uint32_t state, const struct state_key *key)
{
    CHECK_HOT(state < shard->state_count && shard_is_map(shard, state) && weir_is_set(key->element));
    struct state_key name;
    collect_with_call(shard);
    const uint32_t head = open_head(shard, state, key);
    if (head == SLAB_NONE) return NULL;
    struct head *of = entry_head(entry_at(&shard->entries, head));
    uint32_t reference = find_plain_element(shard, state, key, of->generation, key->element);
    if (LIKELY(reference != SLAB_NONE) && LIKELY(shard_is_open(shard, entry_at(&shard->entries, reference))))
        return entry_value_at(entry_at(&shard->entries, reference));
    const struct unit unit = map_unit(shard, state, key, of, &name);
    if (reference == SLAB_NONE) reference = shard_find(shard, &unit);
    return shard_open_value(shard, &unit, reference);
}

bool shard_map_remove(struct shard *shard, uint32_t state, const struct state_key *key)
{
    CHECK(state < shard->state_count && shard_is_map(shard, state) && weir_is_set(key->element));
    collect_with_call(shard);
    struct head *head = find_head(shard, state, key);
    if (head == NULL) return true;
    struct state_key name;
    const struct unit unit = map_unit(shard, state, key, head, &name);
    if (!shard_take_away(shard, &unit, shard_find(shard, &unit))) return false;
    /* An empty map needs no head; when there is no memory for its removal, it may stay. */
    if (head->order.count == 0) (void)clear_collection(shard, state, key);
    return true;
}

/* The node to be visited next. */
static uint32_t next_node(const struct shard *shard, const struct state_key *key, const struct head *head,
                     struct shard_cursor *cursor)
{
    const struct entries *entries = &shard->entries;
    if (cursor->generation == 0) {
        *cursor = (struct shard_cursor){ .generation = head->generation };
        if (!weir_is_set(key->element)) return order_first(&head->order, entries);
        return order_seek(&head->order, ORDER_OF_MAP, entries, key);
    }
    if (cursor->generation != head->generation) return SLAB_NONE;
    if (cursor->stamp == shard->order_stamp) return order_next(entries, cursor->node);
    /* What was seen last may be gone from the order, but as a tombstone it still has its name. */
    const struct state_key last = entry_key(entry_at(entries, cursor->entry));
    const uint32_t node = order_seek(&head->order, ORDER_OF_MAP, entries, &last);
    if (node == SLAB_NONE || order_entry(entries, node) != cursor->entry) return node;
    return order_next(entries, node);
}

static bool admit_element(struct shard *shard, uint32_t state, const struct state_key *key, struct head *head,
                          uint32_t reference)
{
    struct state_key name = entry_key(entry_at(&shard->entries, reference));
    name.hash = key->hash;
    struct unit unit = shard_unit(shard, state, &name);
    unit.order = &head->order;
    return shard_admit(shard, &unit, reference) != SLAB_NONE;
}

uint32_t shard_map_step(struct shard *shard, uint32_t state, const struct state_key *key, struct shard_cursor *cursor)
{
    CHECK(state < shard->state_count && shard_is_map(shard, state));
    struct head *head = find_head(shard, state, key);
    if (head == NULL) return SLAB_NONE;
    for (;;) {
        const uint32_t node = next_node(shard, key, head, cursor);
        if (node == SLAB_NONE) break;
        cursor->node = node;
        cursor->entry = order_entry(&shard->entries, node);
        cursor->stamp = shard->order_stamp;
        if (!has_ttl(shard, state) || admit_element(shard, state, key, head, cursor->entry)) return cursor->entry;
    }
    cursor->generation = UINT64_MAX; /* no map's: the walk is over */
    if (has_ttl(shard, state) && head->order.count == 0) (void)clear_collection(shard, state, key);
    return SLAB_NONE;
}

bool shard_map_next(struct shard *shard, uint32_t state, const struct state_key *key, struct shard_cursor *cursor,
                    struct weir_bytes *element, struct weir_bytes *value)
{
    const uint32_t reference = shard_map_step(shard, state, key, cursor);
    if (reference == SLAB_NONE) return false;
    const struct entry *entry = entry_at(&shard->entries, reference);
    *element = entry_key(entry).element;
    *value = shard_value_of(shard, entry);
    return true;
}

/* ---- Restoring --------------------------------------------------------------------------------------------------- */

bool shard_attach(struct shard *shard, uint32_t reference, bool *is_dead)
{
    const struct entry *entry = entry_at(&shard->entries, reference);
    const uint32_t state = entry_state(entry);
    struct state_key name = entry_key(entry);
    name.hash = hash_key(name.key);
    struct head *head = find_head(shard, state, &name);
    *is_dead = head == NULL || head->generation != name.generation;
    if (*is_dead) return true;
    if (shard_is_list(shard, state)) {
        const uint64_t sequence = list_element_decode(name.element);
        *is_dead = sequence < head->first || sequence >= head->next;
        return true;
    }
    const struct unit unit = shard_unit(shard, state, &name);
    return order_insert(&head->order, ORDER_OF_MAP, &shard->entries, reference, unit.tag);
}
