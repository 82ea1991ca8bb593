/* A ledger record. Texts are a varint (length plus one) and bytes; [n] is a varint, followed by n items.
 *
 *    0  4  magic "WLED"
 *    4  2  format version (1)
 *    6  1  kind: 0 = commit, 1 = incarnation record, 2 = dropped
 *    7  1  flags: bit 0 = exactly once
 *    8     text store, job, slot, build
 *          u64 incarnation, epoch, plan hash   i64 wall_ms   u32 handle count
 *          frame   u64 incarnation, epoch, text file, u64 offset, length, hash
 *          parent  u64 incarnation, epoch
 *          [ranges]   text source, text split, i64 begin, i64 end
 *          [totals]   text name, varint count, u64 low, u64 high
 *          u64 anchor epoch
 *          [anchors]  text output, i64 end
 *          text origin, unless it is ""
 *   -8  8  hash: XXH3 64 of everything before it */
#include "checkpoint/ledger.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char record_magic[4] = { 'W', 'L', 'E', 'D' };

enum { RECORD_VERSION = 1, RECORD_TRAILER_BYTES = 8, RECORD_BYTES_MIN = 16, FLAG_EXACTLY_ONCE = 1 };

/* ---- Encoding ---------------------------------------------------------------------------------------------------- */

static void put_frame(struct buffer *out, const struct weir_frame_name *frame)
{
    buffer_u64(out, frame->incarnation);
    buffer_u64(out, frame->epoch);
    buffer_text(out, frame->file);
    buffer_u64(out, frame->offset);
    buffer_u64(out, frame->length);
    buffer_u64(out, frame->hash);
}

static void put_fixed(struct buffer *out, const struct weir_ledger_entry *entry)
{
    buffer_put(out, record_magic, sizeof record_magic);
    buffer_u16(out, RECORD_VERSION);
    buffer_u8(out, (uint8_t)entry->kind);
    buffer_u8(out, entry->exactly_once ? FLAG_EXACTLY_ONCE : 0);
    buffer_text(out, entry->store);
    buffer_text(out, entry->job);
    buffer_text(out, entry->slot);
    buffer_text(out, entry->build);
    buffer_u64(out, entry->incarnation);
    buffer_u64(out, entry->epoch);
    buffer_u64(out, entry->plan_hash);
    buffer_i64(out, entry->wall_ms);
    buffer_u32(out, entry->handle_count);
    put_frame(out, &entry->frame);
    buffer_u64(out, entry->parent.incarnation);
    buffer_u64(out, entry->parent.epoch);
}

static void put_lists(struct buffer *out, const struct weir_ledger_entry *entry)
{
    buffer_varint(out, entry->range_count);
    for (size_t i = 0; i < entry->range_count; i++) {
        buffer_text(out, entry->ranges[i].source);
        buffer_text(out, entry->ranges[i].split);
        buffer_i64(out, entry->ranges[i].begin);
        buffer_i64(out, entry->ranges[i].end);
    }
    buffer_varint(out, entry->total_count);
    for (size_t i = 0; i < entry->total_count; i++) {
        buffer_text(out, entry->totals[i].name);
        buffer_varint(out, entry->totals[i].count);
        buffer_u64(out, entry->totals[i].digest.low);
        buffer_u64(out, entry->totals[i].digest.high);
    }
    buffer_u64(out, entry->anchor_epoch);
    buffer_varint(out, entry->anchor_count);
    for (size_t i = 0; i < entry->anchor_count; i++) {
        buffer_text(out, entry->anchors[i].output);
        buffer_i64(out, entry->anchors[i].end);
    }
    if (entry->origin[0] != '\0') buffer_text(out, entry->origin);
}

bool weir_ledger_encode(const struct weir_ledger_entry *entry, struct weir_bytes *bytes)
{
    struct buffer out;
    buffer_init(&out);
    put_fixed(&out, entry);
    put_lists(&out, entry);
    if (!out.failed) buffer_u64(&out, hash_64(out.data, out.size));
    if (out.failed) {
        buffer_deinit(&out);
        return false;
    }
    *bytes = (struct weir_bytes){ out.data, out.size };
    return true;
}

/* ---- Decoding ---------------------------------------------------------------------------------------------------- */

struct decoder {
    struct reader reader;
    bool no_memory; /* then reader.failed is set, too */
};

/* As in manifest.c: zeroed room, and no count asks for more than the input could fill. */
static void *take_list(struct decoder *in, size_t *count, size_t item_size, size_t bytes_min)
{
    const uint64_t number = reader_varint(&in->reader);
    *count = 0;
    if (number > reader_left(&in->reader) / bytes_min) in->reader.failed = true;
    if (in->reader.failed || number == 0) return NULL;
    void *items = calloc((size_t)number, item_size);
    if (items == NULL) in->no_memory = in->reader.failed = true;
    else *count = (size_t)number;
    return items;
}

static void take_frame(struct reader *in, struct weir_frame_name *frame)
{
    frame->incarnation = reader_u64(in);
    frame->epoch = reader_u64(in);
    reader_text(in, frame->file, sizeof frame->file);
    frame->offset = reader_u64(in);
    frame->length = reader_u64(in);
    frame->hash = reader_u64(in);
}

/* Everything behind kind and flags, up to the lists. */
static void take_fixed(struct reader *in, struct weir_ledger_entry *entry)
{
    reader_text(in, entry->store, sizeof entry->store);
    reader_text(in, entry->job, sizeof entry->job);
    reader_text(in, entry->slot, sizeof entry->slot);
    reader_text(in, entry->build, sizeof entry->build);
    entry->incarnation = reader_u64(in);
    entry->epoch = reader_u64(in);
    entry->plan_hash = reader_u64(in);
    entry->wall_ms = reader_i64(in);
    entry->handle_count = reader_u32(in);
    take_frame(in, &entry->frame);
    entry->parent.incarnation = reader_u64(in);
    entry->parent.epoch = reader_u64(in);
}

static void take_lists(struct decoder *in, struct weir_ledger_entry *entry)
{
    entry->ranges = take_list(in, &entry->range_count, sizeof *entry->ranges, 18);
    for (size_t i = 0; i < entry->range_count; i++) {
        reader_text(&in->reader, entry->ranges[i].source, sizeof entry->ranges[i].source);
        reader_text(&in->reader, entry->ranges[i].split, sizeof entry->ranges[i].split);
        entry->ranges[i].begin = reader_i64(&in->reader);
        entry->ranges[i].end = reader_i64(&in->reader);
    }
    entry->totals = take_list(in, &entry->total_count, sizeof *entry->totals, 18);
    for (size_t i = 0; i < entry->total_count; i++) {
        reader_text(&in->reader, entry->totals[i].name, sizeof entry->totals[i].name);
        entry->totals[i].count = reader_varint(&in->reader);
        entry->totals[i].digest.low = reader_u64(&in->reader);
        entry->totals[i].digest.high = reader_u64(&in->reader);
    }
    entry->anchor_epoch = reader_u64(&in->reader);
    entry->anchors = take_list(in, &entry->anchor_count, sizeof *entry->anchors, 9);
    for (size_t i = 0; i < entry->anchor_count; i++) {
        reader_text(&in->reader, entry->anchors[i].output, sizeof entry->anchors[i].output);
        entry->anchors[i].end = reader_i64(&in->reader);
    }
    if (reader_left(&in->reader) > 0) reader_text(&in->reader, entry->origin, sizeof entry->origin);
}

static enum weir_code damaged(struct weir_error *error, const char *what)
{
    return weir_error_set(error, WEIR_DAMAGED, WEIR_REMEDY_STOP, "ledger record: %s", what);
}

/* Whole and ours: the reader stands behind the hash afterwards, and ends before it. */
static enum weir_code check_record(struct weir_bytes bytes, struct weir_error *error)
{
    if (!weir_is_set(bytes) || bytes.size < RECORD_BYTES_MIN) return damaged(error, "it is too short");
    if (memcmp(bytes.data, record_magic, sizeof record_magic) != 0)
        return damaged(error, "it does not begin with WLED: something else writes to this ledger");
    struct reader trailer;
    reader_init(&trailer, bytes.data + bytes.size - RECORD_TRAILER_BYTES, RECORD_TRAILER_BYTES);
    const uint64_t hash = hash_64(bytes.data, bytes.size - RECORD_TRAILER_BYTES), written = reader_u64(&trailer);
    if (hash == written) return WEIR_OK;
    return weir_error_set(error, WEIR_DAMAGED, WEIR_REMEDY_STOP,
                          "ledger record: the hash of its %zu bytes is %016" PRIx64 " instead of %016" PRIx64,
                          bytes.size, hash, written);
}

enum weir_code weir_ledger_decode(struct weir_bytes bytes, struct weir_ledger_entry *entry, struct weir_error *error)
{
    *entry = (struct weir_ledger_entry){ 0 };
    const enum weir_code code = check_record(bytes, error);
    if (code != WEIR_OK) return code;

    struct decoder in = { .no_memory = false };
    reader_init(&in.reader, bytes.data, bytes.size - RECORD_TRAILER_BYTES);
    (void)reader_skip(&in.reader, sizeof record_magic);
    const uint16_t version = reader_u16(&in.reader);
    if (version != RECORD_VERSION)
        return weir_error_set(error, WEIR_FOREIGN, WEIR_REMEDY_STOP,
                              "ledger record: format %u, this program reads format %d: start the newer program again",
                              (unsigned)version, RECORD_VERSION);
    const uint8_t kind = reader_u8(&in.reader);
    if (kind > WEIR_LEDGER_DROPPED) return damaged(error, "its kind is unknown");
    entry->kind = (enum weir_ledger_kind)kind;
    entry->exactly_once = (reader_u8(&in.reader) & FLAG_EXACTLY_ONCE) != 0;
    take_fixed(&in.reader, entry);
    take_lists(&in, entry);
    if (in.no_memory)
        return weir_error_set(error, WEIR_NO_MEMORY, WEIR_REMEDY_REPLAY, "out of memory while reading a ledger record");
    if (in.reader.failed || reader_left(&in.reader) > 0) return damaged(error, "it does not follow the format");
    return WEIR_OK;
}

void weir_ledger_entry_clear(struct weir_ledger_entry *entry)
{
    free(entry->ranges);
    free(entry->totals);
    free(entry->anchors);
    entry->ranges = NULL;
    entry->totals = NULL;
    entry->anchors = NULL;
    entry->range_count = entry->total_count = entry->anchor_count = 0;
}

/* ---- Keys -------------------------------------------------------------------------------------------------------- */

void ledger_key_commit(char key[LEDGER_KEY_MAX], const char *slot, uint64_t epoch, uint32_t ring_size)
{
    CHECK(ring_size > 0);
    const int size = snprintf(key, LEDGER_KEY_MAX, "%s/%" PRIu64, slot, epoch % ring_size);
    CHECK(size > 0 && size < LEDGER_KEY_MAX);
}

void ledger_key_incarnation(char key[LEDGER_KEY_MAX], const char *slot)
{
    const int size = snprintf(key, LEDGER_KEY_MAX, "%s/incarnation", slot);
    CHECK(size > 0 && size < LEDGER_KEY_MAX);
}
