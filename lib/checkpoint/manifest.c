/* The manifest section. A text is a varint (its length with NUL, plus one), its bytes and a NUL, so that a decoded one
 * can be borrowed as it lies there. [n] is a varint, followed by n items.
 *
 *   text store, job, slot, build, program, decider, cluster
 *   u64 plan hash   i64 wall_ms   u8 exactly_once   u32 max_parallelism   u64 generation   i64 clock
 *   text file of the parent, u64 offset, u64 length, u64 hash          (incarnation and epoch stand in the header)
 *   [sources]    text name, text cluster, [splits]   text name, text identity, i64 position
 *   [totals]     text name, varint count, u64 low, u64 high
 *   [cuts]       text source, text split, i64 end
 *   [operators]  text name, u32 parallelism, u64 redo epoch
 *                [states]  text name, u8 kind, u8 codec, u32 value size, u32 version, text object, u64 born,
 *                            i64 expires since   i64 gone
 *                [bases]   text store, text name, u64 length, u64 hash, u64 incarnation, u32 first, u32 count, u64 redo
 *                [deltas]  u64 length of a piece
 *   [flights]    text operator, u32 port, u32 subtask, u32 record count, u64 length     (version 2 only)
 *
 * The first chunk of a base is [states], as above.
 *
 * Both directions are written side by side below, thing by thing: put_x and take_x change together. */
#include "checkpoint/manifest.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const char frame_magic[8] = { 'W', 'E', 'I', 'R', 'F', 'R', 'A', 'M' };

enum { FLAG_PART = 1, FLAG_COMPLETE = 2 };

/* ---- Texts, lists ------------------------------------------------------------------------------------------------ */

struct decoder {
    struct reader reader;
    struct arena *arena;
    bool no_memory; /* then reader.failed is set, too */
};

static void put_text(struct buffer *out, const char *text)
{
    if (text == NULL) text = "";
    buffer_bytes(out, (struct weir_bytes){ text, strlen(text) + 1 });
}

static const char *take_text(struct decoder *in)
{
    const struct weir_bytes bytes = reader_bytes(&in->reader);
    if (!in->reader.failed && bytes.size > 0 && memchr(bytes.data, '\0', bytes.size) == bytes.data + bytes.size - 1)
        return bytes.data;
    in->reader.failed = true;
    return "";
}

static bool take_bool(struct decoder *in)
{
    const uint8_t number = reader_u8(&in->reader);
    if (number > 1) in->reader.failed = true;
    return number == 1;
}

/* Reads a count and answers zeroed room for that many items; NULL for none. `bytes_min` is what an item takes at least:
 * no count asks for more memory than the input could fill. */
static void *take_list(struct decoder *in, size_t *count, size_t item_size, size_t bytes_min)
{
    const uint64_t number = reader_varint(&in->reader);
    *count = 0;
    if (number > reader_left(&in->reader) / bytes_min) in->reader.failed = true;
    if (in->reader.failed || number == 0) return NULL;
    void *items = arena_alloc(in->arena, (size_t)number * item_size);
    if (items == NULL) {
        in->no_memory = in->reader.failed = true;
        return NULL;
    }
    memset(items, 0, (size_t)number * item_size);
    *count = (size_t)number;
    return items;
}

/* ---- Parent, sources, totals, cuts ------------------------------------------------------------------------------- */

static void put_parent(struct buffer *out, const struct weir_frame_name *parent)
{
    put_text(out, parent->file);
    buffer_u64(out, parent->offset);
    buffer_u64(out, parent->length);
    buffer_u64(out, parent->hash);
}

static void take_parent(struct decoder *in, struct weir_frame_name *parent)
{
    const char *file = take_text(in);
    if (strlen(file) >= sizeof parent->file) in->reader.failed = true;
    else memcpy(parent->file, file, strlen(file) + 1);
    parent->offset = reader_u64(&in->reader);
    parent->length = reader_u64(&in->reader);
    parent->hash = reader_u64(&in->reader);
}

static void put_source(struct buffer *out, const struct manifest_source *source)
{
    put_text(out, source->name);
    put_text(out, source->cluster);
    buffer_varint(out, source->splits.count);
    for (size_t i = 0; i < source->splits.count; i++) {
        const struct weir_split *split = &source->splits.items[i];
        put_text(out, split->name);
        put_text(out, split->identity);
        buffer_i64(out, split->position);
    }
}

static void take_source(struct decoder *in, struct manifest_source *source)
{
    source->name = take_text(in);
    source->cluster = take_text(in);
    source->splits.items = take_list(in, &source->splits.count, sizeof *source->splits.items, 12);
    for (size_t i = 0; i < source->splits.count; i++) {
        struct weir_split *split = &source->splits.items[i];
        split->name = take_text(in);
        split->identity = take_text(in);
        split->position = reader_i64(&in->reader);
        split->end = WEIR_POSITION_NONE;
    }
}

static void put_total(struct buffer *out, const struct weir_output_total *total)
{
    put_text(out, total->name);
    buffer_varint(out, total->count);
    buffer_u64(out, total->digest.low);
    buffer_u64(out, total->digest.high);
}

static void take_total(struct decoder *in, struct weir_output_total *total)
{
    const char *name = take_text(in);
    if (strlen(name) >= sizeof total->name) in->reader.failed = true;
    else memcpy(total->name, name, strlen(name) + 1);
    total->count = reader_varint(&in->reader);
    total->digest.low = reader_u64(&in->reader);
    total->digest.high = reader_u64(&in->reader);
}

static void put_cut(struct buffer *out, const struct manifest_cut *cut)
{
    put_text(out, cut->source);
    put_text(out, cut->split);
    buffer_i64(out, cut->end);
}

static void take_cut(struct decoder *in, struct manifest_cut *cut)
{
    cut->source = take_text(in);
    cut->split = take_text(in);
    cut->end = reader_i64(&in->reader);
}

/* ---- Operators --------------------------------------------------------------------------------------------------- */

static void put_state(struct buffer *out, const struct manifest_state *state)
{
    put_text(out, state->name);
    buffer_u8(out, state->kind);
    buffer_u8(out, state->codec);
    buffer_u32(out, state->value_size_bytes);
    buffer_u32(out, state->version);
    put_text(out, state->object);
    buffer_u64(out, state->born_epoch);
    buffer_i64(out, state->expires_since_ms);
    buffer_i64(out, state->gone_ms);
}

static void take_state(struct decoder *in, struct manifest_state *state)
{
    state->name = take_text(in);
    state->kind = reader_u8(&in->reader);
    state->codec = reader_u8(&in->reader);
    state->value_size_bytes = reader_u32(&in->reader);
    state->version = reader_u32(&in->reader);
    state->object = take_text(in);
    state->born_epoch = reader_u64(&in->reader);
    state->expires_since_ms = reader_i64(&in->reader);
    state->gone_ms = reader_i64(&in->reader);
}

static void put_states(struct buffer *out, const struct manifest_state *states, size_t count)
{
    buffer_varint(out, count);
    for (size_t i = 0; i < count; i++) put_state(out, &states[i]);
}

static struct manifest_state *take_states(struct decoder *in, size_t *count)
{
    struct manifest_state *states = take_list(in, count, sizeof *states, 38);
    for (size_t i = 0; i < *count; i++) take_state(in, &states[i]);
    return states;
}

bool manifest_states_encode(const struct manifest_state *states, size_t count, struct buffer *out)
{
    put_states(out, states, count);
    return !out->failed;
}

bool manifest_states_decode(struct weir_bytes bytes, struct arena *arena, struct manifest_state **states, size_t *count)
{
    struct decoder in = { .arena = arena };
    reader_init(&in.reader, bytes.data, bytes.size);
    *states = take_states(&in, count);
    return !in.reader.failed && reader_left(&in.reader) == 0;
}

static void put_base(struct buffer *out, const struct manifest_base *base)
{
    put_text(out, base->store);
    put_text(out, base->name);
    buffer_u64(out, base->length);
    buffer_u64(out, base->hash);
    buffer_u64(out, base->incarnation);
    buffer_u32(out, base->group_first);
    buffer_u32(out, base->group_count);
    buffer_u64(out, base->redo_epoch);
}

static void take_base(struct decoder *in, struct manifest_base *base)
{
    base->store = take_text(in);
    base->name = take_text(in);
    base->length = reader_u64(&in->reader);
    base->hash = reader_u64(&in->reader);
    base->incarnation = reader_u64(&in->reader);
    base->group_first = reader_u32(&in->reader);
    base->group_count = reader_u32(&in->reader);
    base->redo_epoch = reader_u64(&in->reader);
}

static void put_operator(struct buffer *out, const struct manifest_operator *op)
{
    put_text(out, op->name);
    buffer_u32(out, op->parallelism);
    buffer_u64(out, op->redo_epoch);
    put_states(out, op->states, op->state_count);
    buffer_varint(out, op->base_count);
    for (size_t i = 0; i < op->base_count; i++) {
        CHECK(op->bases[i].redo_epoch >= op->redo_epoch);
        put_base(out, &op->bases[i]);
    }
    buffer_varint(out, op->delta_count);
    for (size_t i = 0; i < op->delta_count; i++) buffer_u64(out, op->deltas[i].size);
}

/* The pieces' places are filled in later: what is read here are their sizes. */
static void take_operator(struct decoder *in, struct manifest_operator *op)
{
    op->name = take_text(in);
    op->parallelism = reader_u32(&in->reader);
    op->redo_epoch = reader_u64(&in->reader);
    op->states = take_states(in, &op->state_count);
    op->bases = take_list(in, &op->base_count, sizeof *op->bases, 44);
    for (size_t i = 0; i < op->base_count; i++) take_base(in, &op->bases[i]);
    op->deltas = take_list(in, &op->delta_count, sizeof *op->deltas, 8);
    for (size_t i = 0; i < op->delta_count; i++) op->deltas[i].size = reader_u64(&in->reader);
}

static void put_flight(struct buffer *out, const struct manifest_flight *flight)
{
    put_text(out, flight->operator_name);
    buffer_u32(out, flight->port);
    buffer_u32(out, flight->subtask);
    buffer_u32(out, flight->record_count);
    buffer_u64(out, flight->records.size);
}

/* As with deltas, their places are filled in later. */
static void take_flight(struct decoder *in, struct manifest_flight *flight)
{
    flight->operator_name = take_text(in);
    flight->port = reader_u32(&in->reader);
    flight->subtask = reader_u32(&in->reader);
    flight->record_count = reader_u32(&in->reader);
    flight->records.size = reader_u64(&in->reader);
}

/* ---- The manifest section ---------------------------------------------------------------------------------------- */

static void put_manifest(struct buffer *out, const struct manifest *m)
{
    const char *const texts[] = { m->store, m->job, m->slot, m->build, m->program, m->decider, m->cluster };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) put_text(out, texts[i]);
    buffer_u64(out, m->plan_hash);
    buffer_i64(out, m->wall_ms);
    buffer_u8(out, m->exactly_once);
    buffer_u32(out, m->max_parallelism);
    buffer_u64(out, m->generation);
    buffer_i64(out, m->clock_ms);
    put_parent(out, &m->parent);
    buffer_varint(out, m->source_count);
    for (size_t i = 0; i < m->source_count; i++) put_source(out, &m->sources[i]);
    buffer_varint(out, m->totals.count);
    for (size_t i = 0; i < m->totals.count; i++) put_total(out, &m->totals.items[i]);
    buffer_varint(out, m->cut_count);
    for (size_t i = 0; i < m->cut_count; i++) put_cut(out, &m->cuts[i]);
    buffer_varint(out, m->operator_count);
    for (size_t i = 0; i < m->operator_count; i++) put_operator(out, &m->operators[i]);
    if (m->flight_count == 0) return;
    buffer_varint(out, m->flight_count);
    for (size_t i = 0; i < m->flight_count; i++) put_flight(out, &m->flights[i]);
}

static void take_manifest(struct decoder *in, uint32_t version, struct manifest *m)
{
    const char **const texts[] = { &m->store, &m->job, &m->slot, &m->build, &m->program, &m->decider, &m->cluster };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) *texts[i] = take_text(in);
    m->plan_hash = reader_u64(&in->reader);
    m->wall_ms = reader_i64(&in->reader);
    m->exactly_once = take_bool(in);
    m->max_parallelism = reader_u32(&in->reader);
    m->generation = reader_u64(&in->reader);
    m->clock_ms = reader_i64(&in->reader);
    take_parent(in, &m->parent);
    m->sources = take_list(in, &m->source_count, sizeof *m->sources, 5);
    for (size_t i = 0; i < m->source_count; i++) take_source(in, &m->sources[i]);
    m->totals.items = take_list(in, &m->totals.count, sizeof *m->totals.items, 19);
    for (size_t i = 0; i < m->totals.count; i++) take_total(in, &m->totals.items[i]);
    m->cuts = take_list(in, &m->cut_count, sizeof *m->cuts, 12);
    for (size_t i = 0; i < m->cut_count; i++) take_cut(in, &m->cuts[i]);
    m->operators = take_list(in, &m->operator_count, sizeof *m->operators, 17);
    for (size_t i = 0; i < m->operator_count; i++) take_operator(in, &m->operators[i]);
    if (version < FRAME_VERSION_FLIGHTS) return;
    m->flights = take_list(in, &m->flight_count, sizeof *m->flights, 22);
    for (size_t i = 0; i < m->flight_count; i++) take_flight(in, &m->flights[i]);
}

/* ---- The frame --------------------------------------------------------------------------------------------------- */

struct frame_header {
    char magic[8];
    uint32_t version;
    uint32_t flags;
    uint64_t incarnation, epoch;
    uint64_t parent_incarnation, parent_epoch;
    uint64_t length;
    uint64_t manifest_length;
};

/* Lengths are zero here and patched in at the end. */
static void put_header(struct buffer *out, const struct manifest *m)
{
    buffer_put(out, frame_magic, sizeof frame_magic);
    buffer_u32(out, m->flight_count > 0 ? FRAME_VERSION_FLIGHTS : FRAME_VERSION);
    buffer_u32(out, (m->is_part ? FLAG_PART : 0) | (m->is_complete ? FLAG_COMPLETE : 0));
    buffer_u64(out, m->incarnation);
    buffer_u64(out, m->epoch);
    buffer_u64(out, m->parent.incarnation);
    buffer_u64(out, m->parent.epoch);
    buffer_u64(out, 0);
    buffer_u64(out, 0);
    CHECK(out->failed || out->size == FRAME_HEADER_BYTES);
}

static void take_header(struct reader *in, struct frame_header *header)
{
    *header = (struct frame_header){ 0 };
    const char *magic = reader_skip(in, sizeof header->magic);
    if (magic != NULL) memcpy(header->magic, magic, sizeof header->magic);
    header->version = reader_u32(in);
    header->flags = reader_u32(in);
    header->incarnation = reader_u64(in);
    header->epoch = reader_u64(in);
    header->parent_incarnation = reader_u64(in);
    header->parent_epoch = reader_u64(in);
    header->length = reader_u64(in);
    header->manifest_length = reader_u64(in);
}

static void put_deltas(struct buffer *out, const struct manifest *m)
{
    for (size_t i = 0; i < m->operator_count; i++)
        for (size_t j = 0; j < m->operators[i].delta_count; j++)
            buffer_put(out, m->operators[i].deltas[j].data, m->operators[i].deltas[j].size);
    for (size_t i = 0; i < m->flight_count; i++)
        buffer_put(out, m->flights[i].records.data, m->flights[i].records.size);
}

static void put_padding(struct buffer *out)
{
    static const char zeroes[FRAME_ALIGNMENT];
    const size_t behind = (out->size + FRAME_TRAILER_BYTES) % FRAME_ALIGNMENT;
    if (behind > 0) buffer_put(out, zeroes, FRAME_ALIGNMENT - behind);
}

bool manifest_encode(const struct manifest *manifest, struct buffer *frame, struct weir_frame_name *name)
{
    CHECK(manifest->incarnation > 0);
    buffer_clear(frame);
    put_header(frame, manifest);
    put_manifest(frame, manifest);
    const size_t manifest_length = frame->size - FRAME_HEADER_BYTES;
    put_deltas(frame, manifest);
    put_padding(frame);
    buffer_patch_u64(frame, 48, frame->size + FRAME_TRAILER_BYTES);
    buffer_patch_u64(frame, 56, manifest_length);
    if (frame->failed) return false;

    name->incarnation = manifest->incarnation;
    name->epoch = manifest->epoch;
    name->hash = hash_64_seeded(frame->data, frame->size, manifest->incarnation);
    buffer_u64(frame, name->hash);
    name->length = frame->size;
    return !frame->failed;
}

static enum weir_code damaged(const struct weir_frame_name *name, struct weir_error *error, const char *format, ...)
    WEIR_PRINTF(3, 4);

/* "checkpoint 42 of incarnation 7 is damaged: log-7-1 at offset 8192: <what>; <what to do>". */
static enum weir_code damaged(const struct weir_frame_name *name, struct weir_error *error, const char *format, ...)
{
    char what[400];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(what, sizeof what, format, arguments);
    va_end(arguments);
    return weir_error_set(error, WEIR_DAMAGED, WEIR_REMEDY_STOP,
                          "checkpoint %" PRIu64 " of incarnation %" PRIu64 " is damaged: %s at offset %" PRIu64
                          ": %s; put the file back from a copy of the checkpoint directory",
                          name->epoch, name->incarnation, name->file, name->offset, what);
}

static uint64_t trailer_of(struct weir_bytes frame)
{
    struct reader reader;
    reader_init(&reader, frame.data + frame.size - FRAME_TRAILER_BYTES, FRAME_TRAILER_BYTES);
    return reader_u64(&reader);
}

/* The hash is wrong: says whether a whole frame of another checkpoint lies here, which tells an exchanged file from a
 * broken one. */
static enum weir_code wrong_hash(struct weir_bytes frame, const struct frame_header *header, uint64_t hash,
                                 const struct weir_frame_name *name, struct weir_error *error)
{
    const uint64_t own = hash_64_seeded(frame.data, frame.size - FRAME_TRAILER_BYTES, header->incarnation);
    if (own == trailer_of(frame) && memcmp(header->magic, frame_magic, sizeof frame_magic) == 0)
        return damaged(name, error,
                       "another frame lies there, checkpoint %" PRIu64 " of incarnation %" PRIu64
                       " with hash %016" PRIx64 " instead of %016" PRIx64,
                       header->epoch, header->incarnation, own, name->hash);
    return damaged(name, error, "the hash of its %zu bytes is %016" PRIx64 " instead of %016" PRIx64, frame.size, hash,
                   name->hash);
}

enum weir_code frame_verify(struct weir_bytes frame, const struct weir_frame_name *name, struct weir_error *error)
{
    if (name->length % FRAME_ALIGNMENT != 0 || name->length == 0)
        return damaged(name, error, "its length %" PRIu64 " cannot be that of a frame", name->length);
    if (frame.size != name->length)
        return damaged(name, error, "there are %zu bytes instead of %" PRIu64, frame.size, name->length);
    struct reader reader;
    struct frame_header header;
    reader_init(&reader, frame.data, frame.size);
    take_header(&reader, &header);

    const uint64_t hash = hash_64_seeded(frame.data, frame.size - FRAME_TRAILER_BYTES, name->incarnation);
    if (hash != name->hash || trailer_of(frame) != hash) return wrong_hash(frame, &header, hash, name, error);
    if (memcmp(header.magic, frame_magic, sizeof frame_magic) != 0) return damaged(name, error, "this is not a frame");
    if (header.version != FRAME_VERSION && header.version != FRAME_VERSION_FLIGHTS)
        return weir_error_set(error, WEIR_FOREIGN, WEIR_REMEDY_STOP,
                              "%s at offset %" PRIu64 " has frame format %" PRIu32 ", this program reads formats up to %d: "
                              "start the newer program again",
                              name->file, name->offset, header.version, FRAME_VERSION_FLIGHTS);
    if (header.incarnation != name->incarnation || header.epoch != name->epoch || header.length != name->length)
        return damaged(name, error, "it holds checkpoint %" PRIu64 " of incarnation %" PRIu64 ", %" PRIu64 " bytes",
                       header.epoch, header.incarnation, header.length);
    return WEIR_OK;
}

bool frame_peek(struct weir_bytes bytes, struct weir_frame_name *name, bool *is_part)
{
    struct reader reader;
    struct frame_header header;
    reader_init(&reader, bytes.data, bytes.size);
    take_header(&reader, &header);
    name->incarnation = header.incarnation;
    name->epoch = header.epoch;
    name->length = header.length;
    *is_part = (header.flags & FLAG_PART) != 0;
    return !reader.failed && memcmp(header.magic, frame_magic, sizeof frame_magic) == 0 && header.length > 0 &&
           header.length % FRAME_ALIGNMENT == 0;
}

/* Gives the pieces their places; false when they do not fill the delta section. */
static bool place_deltas(struct reader *deltas, struct manifest *m)
{
    for (size_t i = 0; i < m->operator_count; i++) {
        for (size_t j = 0; j < m->operators[i].delta_count; j++) {
            struct weir_bytes *piece = &m->operators[i].deltas[j];
            piece->data = reader_skip(deltas, piece->size);
        }
    }
    for (size_t i = 0; i < m->flight_count; i++)
        m->flights[i].records.data = reader_skip(deltas, m->flights[i].records.size);
    return !deltas->failed && reader_left(deltas) < FRAME_ALIGNMENT;
}

enum weir_code manifest_decode(struct weir_bytes frame, const struct weir_frame_name *name, struct arena *arena,
                               struct manifest *manifest, struct weir_error *error)
{
    *manifest = (struct manifest){ 0 };
    struct decoder in = { .arena = arena };
    struct frame_header header;
    if (frame.size < FRAME_HEADER_BYTES + FRAME_TRAILER_BYTES)
        return damaged(name, error, "it is too short for a frame");
    reader_init(&in.reader, frame.data, frame.size - FRAME_TRAILER_BYTES);
    take_header(&in.reader, &header);
    manifest->incarnation = header.incarnation;
    manifest->epoch = header.epoch;
    manifest->is_part = (header.flags & FLAG_PART) != 0;
    manifest->is_complete = (header.flags & FLAG_COMPLETE) != 0;
    manifest->parent.incarnation = header.parent_incarnation;
    manifest->parent.epoch = header.parent_epoch;
    if (header.manifest_length > reader_left(&in.reader)) return damaged(name, error, "its manifest is cut off");

    struct reader deltas = in.reader;
    (void)reader_skip(&deltas, (size_t)header.manifest_length);
    in.reader.end = in.reader.next + header.manifest_length;
    take_manifest(&in, header.version, manifest);
    if (in.no_memory)
        return weir_error_set(error, WEIR_NO_MEMORY, WEIR_REMEDY_REPLAY, "out of memory while reading a manifest");
    if (in.reader.failed || reader_left(&in.reader) > 0)
        return damaged(name, error, "its manifest does not follow the format");
    if (!place_deltas(&deltas, manifest)) return damaged(name, error, "its deltas do not fill the frame");
    return WEIR_OK;
}

/* ---- Questions --------------------------------------------------------------------------------------------------- */

uint64_t manifest_redo_epoch(const struct manifest *manifest)
{
    uint64_t redo_epoch = manifest->epoch;
    for (size_t i = 0; i < manifest->operator_count; i++)
        if (manifest->operators[i].redo_epoch < redo_epoch) redo_epoch = manifest->operators[i].redo_epoch;
    return redo_epoch;
}

const struct manifest_source *manifest_find_source(const struct manifest *manifest, const char *name)
{
    for (size_t i = 0; i < manifest->source_count; i++)
        if (strcmp(manifest->sources[i].name, name) == 0) return &manifest->sources[i];
    return NULL;
}

const struct manifest_operator *manifest_find_operator(const struct manifest *manifest, const char *name)
{
    for (size_t i = 0; i < manifest->operator_count; i++)
        if (strcmp(manifest->operators[i].name, name) == 0) return &manifest->operators[i];
    return NULL;
}
