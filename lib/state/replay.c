#include "state/replay.h"

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

enum weir_code replay_base(struct store *store, const struct manifest_base *base, replay_fn *each, void *user,
                           struct weir_error *error)
{
    struct base_walk walk = { .each = each, .user = user, .name = base->name };
    arena_init(&walk.arena, 2 * 1024);
    const enum weir_code code = store_read_base(store, base, walk_chunk, &walk, error);
    arena_deinit(&walk.arena);
    return code;
}

static bool overlaps(const struct replay *replay, const struct manifest_base *base)
{
    const uint64_t end = (uint64_t)replay->group_first + replay->group_count;
    return base->group_first < end && (uint64_t)base->group_first + base->group_count > replay->group_first;
}

/* ---- Deltas ------------------------------------------------------------------------------------------------------ */

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
