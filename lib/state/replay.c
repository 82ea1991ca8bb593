#include "state/replay.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "state/delta.h"
#include "state/store_key.h"
#include "state/store_rocksdb.h"

/* What is wrong with units is told with the file that they are in. */
static enum weir_code hand_out(replay_fn *each, void *user, const struct replay_piece *piece, const char *file,
                               struct weir_error *error)
{
    const enum weir_code code = each(user, piece, error);
    return code == WEIR_OK ? code : weir_error_wrap(error, "%s", file);
}

/* ---- Bases ------------------------------------------------------------------------------------------------------- */

struct base_walk {
    replay_fn *each;
    void *user;
    const char *name;
    struct arena arena;
    bool has_begun; /* the writer's states have been read */
    struct replay_piece piece;
};

/* The first chunk of a base: whose units follow. It is gone when they come, so it is kept. */
static enum weir_code begin_base(struct base_walk *walk, struct weir_bytes chunk, struct weir_error *error)
{
    struct manifest_state *states;
    const char *copy = arena_copy(&walk->arena, chunk.data, chunk.size);
    if (copy == NULL)
        return weir_error_set(error, WEIR_NO_MEMORY, WEIR_REMEDY_REPLAY, "out of memory while reading a base");
    const struct weir_bytes kept = { copy, chunk.size };
    if (!manifest_states_decode(kept, &walk->arena, &states, &walk->piece.state_count))
        return weir_error_set(error, WEIR_DAMAGED, WEIR_REMEDY_STOP,
                              "damaged state: %s does not begin with its states", walk->name);
    walk->piece.states = states;
    walk->has_begun = true;
    return WEIR_OK;
}

static enum weir_code walk_chunk(void *user, struct weir_bytes chunk, struct weir_error *error)
{
    struct base_walk *walk = user;
    if (!walk->has_begun) return begin_base(walk, chunk, error);
    walk->piece.units = chunk;
    return hand_out(walk->each, walk->user, &walk->piece, walk->name, error);
}

static enum weir_code walk_units(struct store *store, const struct manifest_base *base, replay_fn *each, void *user,
                                 struct weir_error *error)
{
    struct base_walk walk = { .each = each, .user = user, .name = base->name };
    arena_init(&walk.arena, 2 * 1024);
    const enum weir_code code = store_read_base(store, base, walk_chunk, &walk, error);
    arena_deinit(&walk.arena);
    return code;
}

/* ---- Bases of files by reference --------------------------------------------------------------------------------- */

enum { PIECE_BYTES = 128 << 10, OPEN_FILES = 64 };

struct reading {
    struct links links;
    struct arena arena;
    struct manifest_state *states;
    size_t state_count;
    struct state_declaration *declarations;
    struct state_store *store;
    const char *name; /* of the base */
    struct buffer *out;
    size_t out_max;
    const char *wrong; /* the rest of a sentence */
};

static enum weir_code reading_no_memory(struct weir_error *error)
{
    return weir_error_set(error, WEIR_NO_MEMORY, WEIR_REMEDY_REPLAY, "out of memory while reading a base");
}

static bool declare(struct reading *reading)
{
    reading->declarations = calloc(reading->state_count + 1, sizeof *reading->declarations);
    for (size_t i = 0; reading->declarations != NULL && i < reading->state_count; i++)
        (void)snprintf(reading->declarations[i].name, sizeof reading->declarations[i].name, "%s", reading->states[i].name);
    return reading->declarations != NULL;
}

static enum weir_code open_reading(struct reading *reading, struct store *store, const struct manifest_base *base,
                                   struct weir_error *error)
{
    reading->name = base->name;
    enum weir_code code = links_read(store, base, &reading->links, error);
    if (code != WEIR_OK) return code;
    const struct weir_bytes states = { reading->links.states.data, reading->links.states.size };
    if (!manifest_states_decode(states, &reading->arena, &reading->states, &reading->state_count) ||
        reading->links.stamped.size != reading->state_count || reading->links.key_groups == 0 ||
        reading->links.key_groups > UINT16_MAX)
        return weir_error_set(error, WEIR_DAMAGED, WEIR_REMEDY_STOP, "damaged state: %s does not begin with its states",
                              base->name);
    if (!declare(reading)) return reading_no_memory(error);
    const struct store_rocksdb_options options = {
        .states = reading->declarations, .state_count = (uint32_t)reading->state_count,
        .max_parallelism = reading->links.key_groups, .group_count = reading->links.key_groups,
        .open_files_max = OPEN_FILES, .from = store, .base = &reading->links,
    };
    code = store_rocksdb_open(&options, &reading->store, error);
    if (code != WEIR_OK) return weir_error_wrap(error, "%s", base->name);
    reading->store->operations->walk_begin(reading->store);
    return WEIR_OK;
}

static void units_close(void *user)
{
    struct reading *reading = user;
    if (reading == NULL) return;
    if (reading->store != NULL) store_rocksdb_close(reading->store);
    free(reading->declarations);
    arena_deinit(&reading->arena);
    links_deinit(&reading->links);
    free(reading);
}

static enum weir_code units_open(struct store *store, const struct manifest_base *base, void **opened,
                                 struct weir_bytes *states, struct weir_error *error)
{
    struct reading *reading = calloc(1, sizeof *reading);
    if (reading == NULL) return reading_no_memory(error);
    links_init(&reading->links);
    arena_init(&reading->arena, 2 * 1024);
    const enum weir_code code = open_reading(reading, store, base, error);
    if (code != WEIR_OK) {
        units_close(reading);
        return code;
    }
    *states = (struct weir_bytes){ reading->links.states.data, reading->links.states.size };
    *opened = reading;
    return WEIR_OK;
}

static bool take_unit(void *user, uint32_t state, const struct state_key *key, struct weir_bytes value, uint32_t version)
{
    struct reading *reading = user;
    const struct manifest_state *written = &reading->states[state];
    const bool is_head = key->generation == 0 && (state_kind_is_list(written->kind) || state_kind_is_map(written->kind));
    struct delta_unit unit = { .state = state, .group = key_group_of(key->hash, reading->links.key_groups),
                               .version = version, .key = *key, .value = value,
                               .has_version = !is_head && version != written->version,
                               .has_stamp = !is_head && reading->links.stamped.data[state] == 1 };
    if (unit.has_stamp && !store_stamped_decode(value, &unit.stamp_ms, &unit.value)) {
        reading->wrong = "has no time";
        return false;
    }
    delta_append(reading->out, &unit);
    return !reading->out->failed && reading->out->size < reading->out_max;
}

static enum weir_code units_next(void *user, size_t bytes_max, struct buffer *out, bool *is_over,
                                 struct weir_error *error)
{
    struct reading *reading = user;
    reading->out = out;
    reading->out_max = out->size + bytes_max;
    const enum weir_code code = reading->store->operations->walk_on(reading->store, take_unit, reading, is_over, error);
    if (code != WEIR_OK) return weir_error_wrap(error, "%s", reading->name);
    if (reading->wrong != NULL)
        return weir_error_set(error, WEIR_DAMAGED, WEIR_REMEDY_STOP, "damaged state: in %s, a unit %s", reading->name,
                              reading->wrong);
    return out->failed ? reading_no_memory(error) : WEIR_OK;
}

const struct savepoint_units replay_units = { .open = units_open, .next = units_next, .close = units_close };

static enum weir_code walk_links(struct store *store, const struct manifest_base *base, replay_fn *each, void *user,
                                 struct weir_error *error)
{
    void *opened;
    struct weir_bytes states;
    struct buffer bytes;
    enum weir_code code = units_open(store, base, &opened, &states, error);
    if (code != WEIR_OK) return code;
    const struct reading *reading = opened;
    buffer_init(&bytes);
    for (bool is_over = false; code == WEIR_OK && !is_over;) {
        buffer_clear(&bytes);
        code = units_next(opened, PIECE_BYTES, &bytes, &is_over, error);
        const struct replay_piece piece = { reading->states, reading->state_count, { bytes.data, bytes.size } };
        if (code == WEIR_OK && bytes.size > 0) code = hand_out(each, user, &piece, base->name, error);
    }
    buffer_deinit(&bytes);
    units_close(opened);
    return code;
}

enum weir_code replay_base(struct store *store, const struct manifest_base *base, replay_fn *each, void *user,
                           struct weir_error *error)
{
    return store_base_is_links(base) ? walk_links(store, base, each, user, error)
                                     : walk_units(store, base, each, user, error);
}

/* ---- Deltas ------------------------------------------------------------------------------------------------------ */

static bool overlaps(const struct replay *replay, const struct manifest_base *base)
{
    const uint64_t end = (uint64_t)replay->group_first + replay->group_count;
    return base->group_first < end && (uint64_t)base->group_first + base->group_count > replay->group_first;
}

static enum weir_code walk_deltas(const struct replay *replay, const struct manifest *manifest, const char *file,
                                  struct weir_error *error)
{
    const struct manifest_operator *written = manifest_find_operator(manifest, replay->of->name);
    enum weir_code code = WEIR_OK;
    for (size_t i = 0; written != NULL && code == WEIR_OK && i < written->delta_count; i++) {
        const struct replay_piece piece = { written->states, written->state_count, written->deltas[i] };
        code = hand_out(replay->each, replay->user, &piece, file, error);
    }
    return code;
}

static enum weir_code walk_chain(const struct replay *replay, struct weir_error *error)
{
    struct buffer bytes;
    struct arena arena;
    struct manifest manifest;
    enum weir_code code = WEIR_OK;
    buffer_init(&bytes);
    arena_init(&arena, 16 * 1024);
    for (size_t i = 0; code == WEIR_OK && i < replay->chain->frames.count; i++) {
        const struct weir_frame_name *name = &replay->chain->frames.items[i];
        code = store_read_manifest(replay->store, name, &bytes, &arena, &manifest, error);
        if (code == WEIR_OK) code = walk_deltas(replay, &manifest, name->file, error);
    }
    arena_deinit(&arena);
    buffer_deinit(&bytes);
    return code;
}

enum weir_code replay_run(const struct replay *replay, struct weir_error *error)
{
    enum weir_code code = WEIR_OK;
    for (size_t i = 0; code == WEIR_OK && i < replay->of->base_count; i++)
        if (overlaps(replay, &replay->of->bases[i]))
            code = replay_base(replay->store, &replay->of->bases[i], replay->each, replay->user, error);
    return code == WEIR_OK ? walk_chain(replay, error) : code;
}
