/* A base, a slice at a time, while the tables change in between.
 *
 * The dump walks key groups, in each the segments in the order of their tags, in each the slots. What was not changed
 * since the dump began is never missed: entries do not move between key groups nor past each other's segments, and
 * within a segment slots move only when it is rebuilt or split, which the dump notices by its stamp and begins it anew.
 * What did change meanwhile may be written, written twice or not be written: it is in a delta behind the redo point.
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
    return shard->epoch - 1;
}

void shard_dump_abandon(struct shard *shard)
{
    shard->dump.is_open = false;
}

bool shard_is_dumping(const struct shard *shard)
{
    return shard->dump.is_open;
}

static void fetch_block(const struct shard *shard, const struct segment *segment, uint32_t first)
{
    uint32_t sum = 0;
    for (uint32_t i = first; i < first + SHARD_BLOCK && i <= segment->mask; i++) {
        const uint32_t reference = segment->slots[i].reference;
        if (reference > SLAB_RESERVED) sum += shard_fetch_one(shard, reference);
    }
    shard_fetched(sum);
}

static bool dump_entry(const struct shard *shard, const struct entry *entry, uint32_t group, struct buffer *out)
{
    if ((entry->flags & ENTRY_REMOVED) || UNLIKELY(shard_has_expired(shard, entry))) return true;
    const uint32_t version = shard_version_of(shard, entry);
    const size_t size = delta_size(entry, group, version);
    if (!buffer_reserve(out, size)) return false;
    delta_write(out->data + out->size, entry, group, version);
    out->size += size;
    return true;
}

/* Writes on from dump->slot; false when `bytes_max` is reached first, or there is no memory. A slot counts as a byte of
 * work, so that empty tables end a step too. */
static bool dump_segment(const struct shard *shard, struct dump *dump, const struct segment *segment, size_t bytes_max,
                         size_t *work, struct buffer *out)
{
    const uint32_t group = shard->group_first + dump->group;
    for (; dump->slot <= segment->mask; dump->slot++) {
        if (*work >= bytes_max) return false;
        if (dump->slot % SHARD_BLOCK == 0) fetch_block(shard, segment, dump->slot);
        const uint32_t reference = segment->slots[dump->slot].reference;
        const size_t size_before = out->size;
        if (reference > SLAB_RESERVED && !dump_entry(shard, entry_at(&shard->entries, reference), group, out))
            return false;
        *work += out->size - size_before + 1;
    }
    return true;
}

bool shard_dump_step(struct shard *shard, size_t bytes_max, struct buffer *out)
{
    struct dump *dump = &shard->dump;
    CHECK(dump->is_open && bytes_max > 0);
    if (shard->remains.count > 0 && changes_reserve(&shard->changes, 1)) {
        (void)shard_collect(shard, bytes_max / COLLECT_BYTES + 1);
        return false;
    }
    size_t work = 0;
    while (dump->group < shard->group_count) {
        const struct table *table = &shard->tables[dump->group];
        const struct segment *segment = table_segment(table, (uint32_t)dump->position);
        if (segment->stamp != dump->stamp) dump->slot = 0;
        dump->stamp = segment->stamp;
        if (!dump_segment(shard, dump, segment, bytes_max, &work, out)) return false;
        dump->slot = 0;
        dump->position = table_segment_end(table, (uint32_t)dump->position);
        if (dump->position <= UINT32_MAX) continue;
        dump->position = 0;
        dump->group++;
    }
    dump->is_open = false;
    return true;
}
