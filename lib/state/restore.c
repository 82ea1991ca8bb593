/* Deltas and bases back into tables. */
#include "state/shard_private.h"

#include <inttypes.h>

static enum weir_code no_memory(const struct shard *shard, struct weir_error *error)
{
    return weir_error_set(error, WEIR_NO_MEMORY, WEIR_REMEDY_REPLAY,
                          "no memory for the state: %" PRIu64 " entries are there", shard->entry_count);
}

static enum weir_code cannot_migrate(const struct state_declaration *declaration, struct weir_error *error)
{
    return weir_error_set(error, WEIR_FOREIGN, WEIR_REMEDY_STOP,
                          "state '%s' holds values that another version of its codec wrote than %u, and has no .migrate: "
                          "keep the function as long as there may be such values",
                          declaration->name, declaration->version);
}

/* Answers the entry; SLAB_NONE when there is no memory. */
static uint32_t put(struct shard *shard, const struct unit *unit, struct weir_bytes value)
{
    bool is_new;
    const uint32_t reference = shard_find_or_create(shard, unit, value.size, &is_new);
    if (reference == SLAB_NONE) return SLAB_NONE;
    if (shard_write(shard, unit, reference, value)) {
        shard_note_dirty(shard, unit, entry_at(&shard->entries, reference));
        return reference;
    }
    if (is_new) shard_discard(shard, unit, reference);
    return SLAB_NONE;
}

/* The store has to hear of it. False when there is no memory. */
static bool drop_stored(struct shard *shard, const struct unit *unit)
{
    bool is_new;
    const bool is_head = (unit->identity >> 8 & SHAPE_HEAD) != 0; /* which has to lie in its cell, once there is one again */
    const uint32_t reference = shard_find_or_create(shard, unit, is_head ? sizeof(struct head) : 0, &is_new);
    if (reference == SLAB_NONE) return false;
    struct entry *entry = entry_at(&shard->entries, reference);
    if (!(entry->flags & ENTRY_REMOVED)) shard_erase(shard, unit, reference);
    shard_note_dirty(shard, unit, entry);
    return true;
}

static bool drop(struct shard *shard, const struct unit *unit)
{
    if (shard->holds_units) return drop_stored(shard, unit);
    const uint32_t reference = shard_find(shard, unit);
    if (reference == SLAB_NONE) return true;
    shard_erase(shard, unit, reference);
    shard_discard(shard, unit, reference);
    return true;
}

/* ---- Versions ---------------------------------------------------------------------------------------------------- */

bool shard_note_version(struct shard *shard, uint32_t reference, uint32_t version)
{
    struct entry *entry = entry_at(&shard->entries, reference);
    struct shard_state *state = &shard->states[entry_state(entry)];
    size_t index = 0;
    while (index < state->versions.count && state->versions.items[index] != version) index++;
    if (index == state->versions.count) {
        uint32_t *item = index <= UINT8_MAX ? vec_push(&state->versions) : NULL;
        if (item == NULL) return false;
        *item = version;
    }
    entry->version = (uint8_t)index;
    entry->flags |= ENTRY_OLD;
    return true;
}

/* ---- Units ------------------------------------------------------------------------------------------------------- */

struct applying {
    struct shard *shard;
    const struct state_mapping *mapping;
    uint32_t mapping_count;
};

static bool is_collection(const struct shard *shard, uint32_t state)
{
    return shard_is_list(shard, state) || shard_is_map(shard, state);
}

/* NULL, or what is wrong. */
static const char *check_shape(const struct shard *shard, uint32_t state, const struct delta_unit *read)
{
    const bool is_element = weir_is_set(read->key.element);
    if (is_collection(shard, state) && is_element != (read->key.generation > 0))
        return "is an element without a generation";
    if (!is_collection(shard, state) && read->key.generation > 0) return "has a generation, which its state has not";
    if (shard_is_list(shard, state) && is_element && read->key.element.size != LIST_ELEMENT_BYTES)
        return "is an element of a list without a number";
    return NULL;
}

/* What an older version wrote may have another size; then it is for the migration to say whether it is good. */
static bool has_right_size(const struct state_declaration *declaration, const struct state_mapping *mapping,
                           const struct delta_unit *read, uint32_t version)
{
    uint32_t size = read->has_version ? 0 : mapping->value_size_bytes;
    if (version == declaration->version) size = declaration->value_size_bytes;
    return size == 0 || (!weir_is_null(read->value) && read->value.size == size);
}

static const char *apply_head(struct shard *shard, const struct unit *unit, struct weir_bytes value,
                              enum weir_code *code)
{
    struct head head;
    if (!head_decode(value, shard_is_list(shard, unit->identity & 0xff), &head)) return "has a head that is none";
    if (head.generation > shard->generation) shard->generation = head.generation;
    if (put(shard, unit, (struct weir_bytes){ (const char *)&head, sizeof head }) == SLAB_NONE) *code = WEIR_NO_MEMORY;
    return NULL;
}

static const char *apply_value(struct shard *shard, const struct unit *unit, const struct state_mapping *mapping,
                               const struct delta_unit *read, enum weir_code *code)
{
    const struct shard_state *state = &shard->states[mapping->state];
    const uint32_t version = read->has_version ? read->version : mapping->version;
    if (!has_right_size(&state->declaration, mapping, read, version)) return "has a value of another size than its state";
    const bool is_old = version != state->declaration.version;
    if (is_old && !state->declaration.migrates) {
        *code = WEIR_FOREIGN;
        return NULL;
    }
    const uint32_t reference = put(shard, unit, read->value);
    if (reference == SLAB_NONE || (is_old && !shard_note_version(shard, reference, version)))
        *code = WEIR_NO_MEMORY;
    else if (unit_is_stamped(unit)) {
        entry_set_stamp(entry_at(&shard->entries, reference), read->has_stamp ? read->stamp_ms : mapping->unstamped_ms);
        shard->has_lent_times |= !read->has_stamp;
    }
    return NULL;
}

/* In a state that declares no time to live any more nobody would ask how old it is. */
static bool is_gone(const struct shard *shard, const struct unit *unit, const struct delta_unit *read)
{
    const struct shard_state *state = &shard->states[unit->identity & 0xff];
    return read->has_stamp && !unit_is_stamped(unit) && read->stamp_ms <= state->gone_ms;
}

/* NULL, or what is wrong with the unit: the rest of a sentence. */
static const char *apply_unit(const struct applying *applying, struct delta_unit *read, enum weir_code *code)
{
    struct shard *shard = applying->shard;
    if (read->state >= applying->mapping_count) return "belongs to a state that its writer did not have";
    if (read->group >= shard->max_parallelism) return "belongs to a key group above max_parallelism";
    const struct state_mapping *mapping = &applying->mapping[read->state];
    if (mapping->state == UINT32_MAX || read->group - shard->group_first >= shard->group_count) return NULL;

    CHECK(mapping->state < shard->state_count);
    read->key.hash = hash_key(read->key.key);
    if (shard_group(shard, read->key.hash) != read->group) return "names another key group than its key belongs to";
    const char *wrong = check_shape(shard, mapping->state, read);
    if (wrong != NULL) return wrong;
    struct state_key name;
    const bool is_head = is_collection(shard, mapping->state) && !weir_is_set(read->key.element);
    const struct unit unit = is_head ? shard_head_unit(mapping->state, &read->key, &name)
                                     : shard_unit(shard, mapping->state, &read->key);
    if (read->key.generation > shard->generation) shard->generation = read->key.generation;
    if (!weir_is_set(read->value) || is_gone(shard, &unit, read)) {
        if (!drop(shard, &unit)) *code = WEIR_NO_MEMORY;
        return NULL;
    }
    return is_head ? apply_head(shard, &unit, read->value, code)
                   : apply_value(shard, &unit, mapping, read, code);
}

enum weir_code shard_apply(struct shard *shard, struct weir_bytes units, const struct state_mapping *mapping,
                           uint32_t mapping_count, struct weir_error *error)
{
    CHECK(shard->changes.count == 0 && !shard->dump.is_open && shard->remains.count == 0);
    const struct applying applying = { .shard = shard, .mapping = mapping, .mapping_count = mapping_count };
    struct reader reader;
    reader_init(&reader, units.data, units.size);
    while (reader_left(&reader) > 0) {
        const size_t at = units.size - reader_left(&reader);
        struct delta_unit read;
        enum weir_code code = WEIR_OK;
        const char *wrong = delta_read(&reader, &read);
        if (wrong == NULL) wrong = apply_unit(&applying, &read, &code);
        if (UNLIKELY(wrong != NULL))
            return weir_error_set(error, WEIR_DAMAGED, WEIR_REMEDY_STOP,
                                  "damaged state: at byte %zu of %zu, the unit %s", at, units.size, wrong);
        if (UNLIKELY(code == WEIR_NO_MEMORY)) return no_memory(shard, error);
        if (UNLIKELY(code == WEIR_FOREIGN))
            return cannot_migrate(&shard->states[mapping[read.state].state].declaration, error);
        if (shard->holds_units && cache_settle(shard, false, error) != WEIR_OK) return shard->cache.failure.code;
    }
    return WEIR_OK;
}

/* ---- The end ----------------------------------------------------------------------------------------------------- */

static bool has_collections(const struct shard *shard)
{
    for (uint32_t i = 0; i < shard->state_count; i++)
        if (is_collection(shard, i)) return true;
    return false;
}

static void discard_dead(struct shard *shard, uint32_t reference)
{
    const struct entry *entry = entry_at(&shard->entries, reference);
    struct state_key key = entry_key(entry);
    key.hash = hash_key(key.key);
    const struct unit unit = shard_unit(shard, entry_state(entry), &key);
    shard_discard(shard, &unit, reference);
    shard->entry_count--;
}

static bool attach_segment(struct shard *shard, const struct segment *segment)
{
    for (uint32_t i = 0; i <= segment->mask; i++) {
        const uint32_t reference = segment->slots[i].reference;
        if (reference <= SLAB_RESERVED) continue;
        if (!(entry_shape(entry_at(&shard->entries, reference)) & SHAPE_GENERATION)) continue;
        bool is_dead;
        if (!shard_attach(shard, reference, &is_dead)) return false;
        if (is_dead) discard_dead(shard, reference);
    }
    return true;
}

static bool attach_all(struct shard *shard)
{
    for (uint32_t group = 0; group < shard->group_count; group++) {
        const struct table *table = &shard->tables[group];
        for (uint64_t at = 0; at <= UINT32_MAX; at = table_segment_end(table, (uint32_t)at))
            if (!attach_segment(shard, table_segment(table, (uint32_t)at))) return false;
    }
    return true;
}

enum weir_code shard_restored(struct shard *shard, uint64_t epoch, uint64_t generation, struct weir_error *error)
{
    shard->epoch = epoch;
    if (generation > shard->generation) shard->generation = generation;
    if (!has_collections(shard)) return WEIR_OK;
    if (shard->holds_units) return cache_settle(shard, true, error);
    return attach_all(shard) ? WEIR_OK : no_memory(shard, error);
}
