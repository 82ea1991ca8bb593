#include "checkpoint/retained.h"

#include <string.h>

struct search {
    struct store *store;
    struct store_chain chain; /* as far back as the checkpoints found so far need it */
    struct store_chain found; /* checkpoints, newest first, without the restored one */
    struct buffer bytes;
    struct arena arena;
    struct manifest manifest; /* of the frame that was read last */
};

static enum weir_code no_memory(struct weir_error *error)
{
    return weir_error_set(error, WEIR_NO_MEMORY, WEIR_REMEDY_REPLAY,
                          "checkpoint store: out of memory while looking for retained checkpoints");
}

static enum weir_code read_frame(struct search *search, const struct weir_frame_name *name, struct weir_error *error)
{
    return store_read_manifest(search->store, name, &search->bytes, &search->arena, &search->manifest, error);
}

static bool is_same_place(const struct weir_frame_name *a, const struct weir_frame_name *b)
{
    return a->offset == b->offset && strcmp(a->file, b->file) == 0;
}

static bool add_names(struct store_chain *target, const struct store_chain *source)
{
    for (size_t i = 0; i < source->frames.count; i++) {
        struct weir_frame_name *name = vec_push(&target->frames);
        if (name == NULL) return false;
        *name = source->frames.items[i];
    }
    return true;
}

/* Puts the frames from `epoch_first` on in front of the chain that are not in it. */
static enum weir_code lengthen(struct search *search, uint64_t epoch_first, struct weir_error *error)
{
    const struct weir_frame_name *first = &search->chain.frames.items[0];
    if (first->epoch <= epoch_first) return WEIR_OK;
    enum weir_code code = read_frame(search, first, error);
    const struct weir_frame_name parent = search->manifest.parent;
    if (code != WEIR_OK || parent.incarnation == 0 || parent.epoch < epoch_first) return code;
    struct store_chain longer;
    code = store_chain(search->store, &parent, epoch_first, &longer, error);
    if (code == WEIR_OK && !add_names(&longer, &search->chain)) code = no_memory(error);
    if (code != WEIR_OK) {
        store_chain_clear(&longer);
        return code;
    }
    store_chain_clear(&search->chain);
    search->chain = longer;
    return WEIR_OK;
}

/* Is everything there that the checkpoint needs whose manifest was just read? */
static enum weir_code check_whole(struct search *search, const struct weir_frame_name *name, struct weir_error *error)
{
    const struct manifest *manifest = &search->manifest;
    for (size_t i = 0; i < manifest->operator_count; i++)
        for (size_t j = 0; j < manifest->operators[i].base_count; j++) {
            const enum weir_code code = store_check_base(search->store, &manifest->operators[i].bases[j], error);
            if (code != WEIR_OK) return code;
        }
    const uint64_t redo_epoch = manifest_redo_epoch(manifest);
    return lengthen(search, redo_epoch < name->epoch ? redo_epoch + 1 : name->epoch, error);
}

static enum weir_code look_back(struct search *search, struct weir_frame_name name, size_t wanted,
                                struct weir_error *error)
{
    while (search->found.frames.count < wanted && name.incarnation != 0) {
        enum weir_code code = read_frame(search, &name, error);
        const struct weir_frame_name parent = search->manifest.parent;
        const bool is_part = search->manifest.is_part;
        if (code == WEIR_OK && !is_part) code = check_whole(search, &name, error);
        if (code == WEIR_DAMAGED) return WEIR_OK;
        if (code != WEIR_OK) return code;
        struct weir_frame_name *found = is_part ? NULL : vec_push(&search->found.frames);
        if (found != NULL) *found = name;
        else if (!is_part) return no_memory(error);
        name = parent;
    }
    return WEIR_OK;
}

static bool was_found(const struct search *search, const struct weir_frame_name *name)
{
    for (size_t i = 0; i < search->found.frames.count; i++)
        if (is_same_place(&search->found.frames.items[i], name)) return true;
    return false;
}

static enum weir_code say_base(struct store *store, const struct manifest_base *base, struct retention *retention,
                               struct weir_error *error)
{
    struct links links;
    links_init(&links);
    enum weir_code code = links_read(store, base, &links, error);
    if (code == WEIR_OK && !retention_links(retention, base->name, &links)) code = no_memory(error);
    links_deinit(&links);
    return code;
}

/* The checkpoint, and before it what its bases refer to. */
static enum weir_code say_checkpoint(struct store *store, const struct weir_frame_name *name,
                                     const struct manifest *manifest, struct retention *retention,
                                     struct weir_error *error)
{
    enum weir_code code = WEIR_OK;
    for (size_t i = 0; i < manifest->operator_count; i++)
        for (size_t j = 0; code == WEIR_OK && j < manifest->operators[i].base_count; j++)
            if (store_base_is_links(&manifest->operators[i].bases[j]))
                code = say_base(store, &manifest->operators[i].bases[j], retention, error);
    if (code == WEIR_OK && !retention_checkpoint(retention, name, manifest)) code = no_memory(error);
    return code;
}

/* One that cannot be read any more, a moment after it could, keeps its place in the log and loses its bases. */
static enum weir_code say(struct search *search, struct retention *retention, const struct weir_frame_name *name,
                          struct weir_error *error)
{
    enum weir_code code = WEIR_DAMAGED;
    if (was_found(search, name)) code = read_frame(search, name, error);
    if (code == WEIR_OK) code = say_checkpoint(search->store, name, &search->manifest, retention, error);
    if (code != WEIR_DAMAGED) return code;
    return retention_frame(retention, name) ? WEIR_OK : no_memory(error);
}

enum weir_code retained_restore(struct store *store, const struct store_chain *chain, const struct manifest *manifest,
                                struct retention *retention, struct weir_error *error)
{
    struct search search = { .store = store };
    CHECK(chain->frames.count > 0);
    buffer_init(&search.bytes);
    arena_init(&search.arena, 16 * 1024);
    enum weir_code code = add_names(&search.chain, chain) ? WEIR_OK : no_memory(error);
    if (code == WEIR_OK) code = look_back(&search, manifest->parent, retention->retained_max - 1, error);
    const size_t count = search.chain.frames.count;
    for (size_t i = 0; code == WEIR_OK && i + 1 < count; i++)
        code = say(&search, retention, &search.chain.frames.items[i], error);
    if (code == WEIR_OK) code = say_checkpoint(store, &search.chain.frames.items[count - 1], manifest, retention, error);
    arena_deinit(&search.arena);
    buffer_deinit(&search.bytes);
    store_chain_clear(&search.found);
    store_chain_clear(&search.chain);
    return code;
}
