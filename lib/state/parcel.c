/* The state of operators themselves: under which key it lies, and how its elements get from shard to shard when the
 * parallelism changes. A parcel is memory only:
 *
 *   u8 flags (1 = an element follows, 2 = a version follows)   u32 version   bytes element   bytes value       each time */
#include <endian.h>

#include "state/shard_private.h"

enum { PACKED_ELEMENT = 1, PACKED_OLD = 2 };

struct state_own state_own_of(uint32_t max_parallelism, uint32_t group_first, uint32_t group_count)
{
    CHECK(group_count > 0);
    for (uint32_t number = 0;; number++) {
        struct state_own own = { .bytes = htole32(number) };
        own.hash = hash_key((struct weir_bytes){ (const char *)&own.bytes, sizeof own.bytes });
        if (key_group_of(own.hash, max_parallelism) - group_first < group_count) return own;
    }
}

void state_parcel_init(struct state_parcel *parcel)
{
    *parcel = (struct state_parcel){ 0 };
    buffer_init(&parcel->bytes);
}

void state_parcel_deinit(struct state_parcel *parcel)
{
    buffer_deinit(&parcel->bytes);
    state_parcel_init(parcel);
}

void state_parcel_add(struct state_parcel *parcel, const struct state_parcel *more)
{
    buffer_put(&parcel->bytes, more->bytes.data, more->bytes.size);
    parcel->count += more->count;
}

bool state_parcel_next(const struct state_parcel *parcel, size_t *position, struct state_packed *packed)
{
    struct reader reader;
    if (*position == parcel->bytes.size) return false;
    reader_init(&reader, parcel->bytes.data + *position, parcel->bytes.size - *position);
    const uint8_t flags = reader_u8(&reader);
    *packed = (struct state_packed){ .is_old = (flags & PACKED_OLD) != 0 };
    if (packed->is_old) packed->version = reader_u32(&reader);
    if (flags & PACKED_ELEMENT) packed->element = reader_bytes(&reader);
    packed->value = reader_bytes(&reader);
    CHECK(!reader.failed);
    *position = parcel->bytes.size - reader_left(&reader);
    return true;
}

static void pack(const struct shard *shard, const struct entry *entry, bool is_map, struct state_parcel *parcel)
{
    const bool is_old = (entry->flags & ENTRY_OLD) != 0;
    buffer_u8(&parcel->bytes, (uint8_t)((is_map ? PACKED_ELEMENT : 0) | (is_old ? PACKED_OLD : 0)));
    if (is_old) buffer_u32(&parcel->bytes, shard_version_of(shard, entry));
    if (is_map) buffer_bytes(&parcel->bytes, entry_key(entry).element);
    buffer_bytes(&parcel->bytes, entry_value(entry));
    parcel->count++;
}

bool shard_pack(struct shard *shard, uint32_t state, const struct state_key *key, struct state_parcel *parcel)
{
    const bool is_map = shard_is_map(shard, state);
    struct shard_cursor cursor = { 0 };
    for (;;) {
        const uint32_t reference = is_map ? shard_map_step(shard, state, key, &cursor)
                                          : shard_list_step(shard, state, key, &cursor);
        if (reference == SLAB_NONE) return !parcel->bytes.failed;
        pack(shard, entry_at(&shard->entries, reference), is_map, parcel);
    }
}

/* The new entry gets the old one's version; what it adds to the next delta with it. */
static bool make_old(struct shard *shard, uint32_t reference, const struct state_key *key, uint32_t version)
{
    struct entry *entry = entry_at(&shard->entries, reference);
    const struct unit unit = { .key = key };
    const size_t bytes_before = shard_pending_bytes(shard, &unit, entry);
    if (!shard_note_version(shard, reference, version)) return false;
    shard->changed_bytes += shard_pending_bytes(shard, &unit, entry) - bytes_before;
    return true;
}

bool shard_unpack(struct shard *shard, uint32_t state, const struct state_key *key, const struct state_parcel *parcel,
                  uint64_t first, uint64_t count)
{
    size_t position = 0;
    struct state_packed packed;
    for (uint64_t i = 0; i < first + count && state_parcel_next(parcel, &position, &packed); i++) {
        if (i < first) continue;
        struct state_key name = *key;
        name.element = packed.element;
        const uint32_t reference = shard_is_map(shard, state)
                                       ? shard_map_put_entry(shard, state, &name, packed.value)
                                       : shard_list_add_entry(shard, state, key, packed.value);
        if (reference == SLAB_NONE) return false;
        if (packed.is_old && !make_old(shard, reference, key, packed.version)) return false;
    }
    return true;
}

/* ---- Dealing out ------------------------------------------------------------------------------------------------- */

/* The own key of subtask `index` of `count`. */
static struct state_own own_among(const struct shard *shard, uint32_t count, uint32_t index)
{
    const uint32_t first = key_group_first(shard->max_parallelism, count, index);
    return state_own_of(shard->max_parallelism, first, key_group_first(shard->max_parallelism, count, index + 1) - first);
}

/* The shard that holds the key now. */
static struct shard *shard_of(struct shard *const *shards, const struct state_key *key)
{
    while (shard_group(*shards, key->hash) - (*shards)->group_first >= (*shards)->group_count) shards++;
    return *shards;
}

/* Takes what was written out of the shards that it has come to. */
static bool collect(struct shard *const *shards, uint32_t count_before, uint32_t state, bool is_moved,
                    struct state_parcel *all)
{
    const bool is_map = shard_is_map(shards[0], state);
    for (uint32_t i = 0; i < count_before; i++) {
        const struct state_own own = own_among(shards[0], count_before, i);
        const struct state_key key = state_own_key(&own);
        struct shard *shard = shard_of(shards, &key);
        if ((i == 0 || !is_map) && !shard_pack(shard, state, &key, all)) return false;
        if (is_moved && !shard_clear(shard, state, &key)) return false;
    }
    return true;
}

bool state_deal_out(struct shard *const *shards, uint32_t count, uint32_t count_before, uint32_t state,
                    struct state_parcel *all)
{
    const bool is_moved = count != count_before;
    CHECK(count > 0 && state_kind_is_own(shards[0]->states[state].declaration.kind));
    if (!collect(shards, count_before, state, is_moved, all)) return false;
    for (uint32_t i = 0; is_moved && i < count; i++) {
        const struct state_own own = own_among(shards[0], count, i);
        const struct state_key key = state_own_key(&own);
        const bool is_map = shard_is_map(shards[i], state);
        const uint64_t first = is_map ? 0 : all->count * i / count;
        const uint64_t behind = is_map ? all->count : all->count * (i + 1) / count;
        if (!shard_unpack(shards[i], state, &key, all, first, behind - first)) return false;
    }
    return true;
}
