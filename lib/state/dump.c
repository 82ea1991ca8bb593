/* A base, a slice at a time, while the tables change in between.
 *
 * The dump walks key groups, in each the segments in the order of their tags, in each the slots: shard_walk. What changes
 * meanwhile may be written, written twice or not be written: it is in a delta behind the redo point.
 *
 * What has expired is left out. Dead elements would do no harm in a base, but cost bytes: each step drops those that are
 * known before it writes. */
#include "state/shard_private.h"

/* Dropping an element takes about as long as writing so many bytes. */
enum { COLLECT_BYTES = 64 };

uint64_t shard_dump_begin(struct shard *shard)
{
    CHECK(!shard->dump.is_open && shard->epoch > 0);
    shard->dump = (struct dump){ .is_open = true };
    if (shard->holds_units) cache_dump_begin(shard);
    return shard->epoch - 1;
}

void shard_dump_as_links(struct shard *shard)
{
    CHECK(shard->dump.is_open);
    bool is_possible = shard->holds_units && shard->store->operations->link != NULL;
    /* What is ordered in its key group lives in the tables alone: they are filled by a walk. */
    for (uint32_t i = 0; i < shard->state_count; i++) is_possible = is_possible && shard->states[i].by_element == NULL;
    shard->dump.by_links = is_possible;
}

const char *shard_dump_folder(const struct shard *shard, struct buffer *stamped)
{
    if (!shard->cache.has_links) return NULL;
    for (uint32_t i = 0; i < shard->state_count; i++) buffer_u8(stamped, shard->states[i].declaration.ttl_ms > 0);
    return shard->cache.folder;
}

void shard_dump_abandon(struct shard *shard)
{
    if (shard->holds_units) cache_dump_abandon(shard);
    shard->dump.is_open = false;
}

bool shard_is_dumping(const struct shard *shard)
{
    return shard->dump.is_open;
}

static size_t dump_entry(struct shard *shard, uint32_t group, const struct slot *slot, void *user)
{
    struct buffer *out = user;
    const struct entry *entry = entry_at(&shard->entries, slot->reference);
    if ((entry->flags & ENTRY_REMOVED) || UNLIKELY(shard_has_expired(shard, entry))) return 0;
    const uint32_t version = shard_version_of(shard, entry);
    const struct state_key key = entry_key(entry);
    const size_t size = delta_size(entry, &key, shard->group_first + group, version);
    if (!buffer_reserve(out, size)) return SHARD_WALK_STOP;
    delta_write(out->data + out->size, entry, shard->group_first + group, version);
    out->size += size;
    return size;
}

bool shard_dump_step(struct shard *shard, size_t bytes_max, struct buffer *out)
{
    struct dump *dump = &shard->dump;
    CHECK(dump->is_open && bytes_max > 0);
    if (shard->holds_units) return cache_dump_step(shard, bytes_max, out);
    if (shard->remains.count > 0 && changes_reserve(&shard->changes, 1)) {
        (void)shard_collect(shard, bytes_max / COLLECT_BYTES + 1);
        return false;
    }
    if (!shard_walk(shard, &dump->walk, bytes_max, dump_entry, out)) return false;
    dump->is_open = false;
    return true;
}
