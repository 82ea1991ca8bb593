/* Deltas and bases back into tables. */
#include "state/shard_private.h"

#include <inttypes.h>

static enum weir_code put(struct shard *shard, const struct unit *unit, struct weir_bytes value,
                          struct weir_error *error)
{
    bool is_new;
    const uint32_t reference = shard_find_or_create(shard, unit, value.size, &is_new);
    if (reference != SLAB_NONE) {
        if (shard_write(shard, unit, reference, value)) return WEIR_OK;
        if (is_new) shard_discard(shard, unit, reference);
    }
    return weir_error_set(error, WEIR_NO_MEMORY, WEIR_REMEDY_REPLAY,
                          "no memory for the state: %" PRIu64 " entries are there", shard->entry_count);
}

static void drop(struct shard *shard, const struct unit *unit)
{
    const uint32_t reference = shard_find(shard, unit);
    if (reference == SLAB_NONE) return;
    shard_erase(shard, unit, reference);
    shard_discard(shard, unit, reference);
}

static bool fits(const struct state_declaration *declaration, struct weir_bytes value)
{
    const uint32_t size = declaration->value_size_bytes;
    if (size == 0 || !weir_is_set(value)) return true;
    return !weir_is_null(value) && value.size == size;
}

/* NULL, or what is wrong with the unit: the rest of a sentence. */
static const char *apply_unit(struct shard *shard, struct delta_unit *read, const uint32_t *state_map,
                              uint32_t state_map_count, enum weir_code *code, struct weir_error *error)
{
    if (read->state >= state_map_count) return "belongs to a state that its writer did not have";
    if (read->group >= shard->max_parallelism) return "belongs to a key group above max_parallelism";
    const uint32_t state = state_map[read->state];
    if (state == UINT32_MAX || read->group - shard->group_first >= shard->group_count) return NULL;

    CHECK(state < shard->state_count);
    read->key.hash = hash_key(read->key.key);
    if (shard_group(shard, read->key.hash) != read->group) return "names another key group than its key belongs to";
    if (!fits(&shard->states[state].declaration, read->value)) return "has a value of another size than its state";
    const struct unit unit = unit_of(state, &read->key);
    if (weir_is_set(read->value)) *code = put(shard, &unit, read->value, error);
    else drop(shard, &unit);
    return NULL;
}

enum weir_code shard_apply(struct shard *shard, struct weir_bytes units, const uint32_t *state_map,
                           uint32_t state_map_count, struct weir_error *error)
{
    CHECK(shard->changes.count == 0 && !shard->dump.is_open);
    struct reader reader;
    reader_init(&reader, units.data, units.size);
    enum weir_code code = WEIR_OK;
    while (code == WEIR_OK && reader_left(&reader) > 0) {
        const size_t at = units.size - reader_left(&reader);
        struct delta_unit read;
        const char *wrong = delta_read(&reader, &read);
        if (wrong == NULL) wrong = apply_unit(shard, &read, state_map, state_map_count, &code, error);
        if (UNLIKELY(wrong != NULL))
            code = weir_error_set(error, WEIR_DAMAGED, WEIR_REMEDY_STOP,
                                  "damaged state: at byte %zu of %zu, the unit %s", at, units.size, wrong);
    }
    return code;
}

void shard_restored(struct shard *shard, uint64_t epoch)
{
    shard->epoch = epoch;
}
