#include "checkpoint/savepoint.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/crash.h"
#include "checkpoint/savepoint_private.h"

enum {
    COPY_BYTES = 1 << 20,
    SYNC_BYTES = 8 << 20, /* as store_base.c: no big flush at the end */
};

enum step { STEP_FOLDER, STEP_BASES, STEP_FRAMES, STEP_MARK };

/* A file of the folder that is being written. */
struct target {
    int file; /* -1 = none */
    char name[STORE_FILE_MAX];
    uint64_t synced; /* of `offset` */
    uint64_t offset;
};

struct savepoint {
    struct store *store;
    const struct disk *disk; /* of the folder; the store may lie elsewhere */
    char *directory;
    char path[SAVEPOINT_PATH_MAX];
    struct savepoint_mark mark;
    enum step step;
    bool has_folder;

    struct buffer frame; /* the checkpoint's; the manifest is a view of it */
    struct arena arena;
    struct manifest manifest;
    uint64_t epoch_first; /* frames from this epoch on are needed */
    struct weir_frame_name next;
    struct buffer bytes;
    struct arena scratch;

    size_t operator_index, base_index; /* which base is next */
    const struct savepoint_units *units;
    struct store *into;         /* the folder, where a base is written as units */
    struct store_base *written; /* NULL = none */
    void *reading;
    bool is_changed;            /* the manifest names bases otherwise than the checkpoint's frame does */
    int source;                        /* the base that is being copied; -1 = none */
    struct hash_stream *hash;
    struct target target;
};

/* ---- Beginning --------------------------------------------------------------------------------------------------- */

struct savepoint *savepoint_create(struct store *store, const struct disk *disk, const char *directory,
                                   const struct weir_frame_name *frame, const struct savepoint_units *units,
                                   const uint64_t random[2])
{
    struct savepoint *savepoint = calloc(1, sizeof *savepoint);
    char *copy = strdup(directory);
    if (savepoint == NULL || copy == NULL) {
        free(savepoint);
        free(copy);
        return NULL;
    }
    *savepoint = (struct savepoint){ .store = store, .disk = disk == NULL ? &disk_system : disk, .directory = copy, .source = -1,
                                     .next = *frame, .target = { .file = -1 }, .units = units };
    struct savepoint_mark *mark = &savepoint->mark;
    mark->frame = mark->taken = *frame;
    (void)snprintf(mark->id, sizeof mark->id, "%016" PRIx64 "%016" PRIx64, random[0], random[1]);
    (void)snprintf(mark->job, sizeof mark->job, "%s", store->job);
    (void)snprintf(mark->slot, sizeof mark->slot, "%s", store->slot);
    (void)snprintf(mark->store, sizeof mark->store, "%s", store->id);
    const int size = snprintf(savepoint->path, sizeof savepoint->path, "%s/savepoint-%s-%" PRIu64 "-%.*s", directory,
                              store->job, frame->epoch, SAVEPOINT_ID_DIGITS, mark->id);
    CHECK(size > 0 && (size_t)size < sizeof savepoint->path); /* savepoint_prepare has seen to that */
    buffer_init(&savepoint->frame);
    buffer_init(&savepoint->bytes);
    arena_init(&savepoint->arena, 16 * 1024);
    arena_init(&savepoint->scratch, 16 * 1024);
    return savepoint;
}

static enum weir_code begin_folder(struct savepoint *savepoint, struct weir_error *error)
{
    const struct disk *disk = savepoint->disk;
    char text[STORE_ID_FILE_MAX], path[STORE_PATH_MAX];
    int result = disk->make_directory(disk->user, savepoint->path);
    if (result < 0) return savepoint_disk_error(error, savepoint->path, result, "making", "the folder");
    savepoint->has_folder = true;
    const int size = store_id_render(text, savepoint->mark.id, savepoint->mark.job, savepoint->mark.slot);
    savepoint_join(path, savepoint->path, STORE_ID_FILE);
    result = store_write_new(disk, path, text, (size_t)size);
    if (result < 0) return savepoint_disk_error(error, savepoint->path, result, "writing", STORE_ID_FILE);
    CRASH_POINT(savepoint_begun);

    const enum weir_code code = store_read_manifest(savepoint->store, &savepoint->next, &savepoint->frame,
                                                    &savepoint->arena, &savepoint->manifest, error);
    if (code != WEIR_OK) return code;
    const uint64_t redo_epoch = manifest_redo_epoch(&savepoint->manifest);
    savepoint->epoch_first = redo_epoch < savepoint->next.epoch ? redo_epoch + 1 : savepoint->next.epoch;
    savepoint->mark.wall_ms = savepoint->manifest.wall_ms;
    savepoint->step = STEP_BASES;
    return WEIR_OK;
}

/* ---- Files ------------------------------------------------------------------------------------------------------- */

static int target_close(struct savepoint *savepoint)
{
    struct target *target = &savepoint->target;
    const struct disk *disk = savepoint->disk;
    if (target->file < 0) return 0;
    const int result = disk->sync(disk->user, target->file);
    disk->close(disk->user, target->file);
    target->file = -1;
    return result;
}

static int target_open(struct savepoint *savepoint, const char *name)
{
    struct target *target = &savepoint->target;
    const struct disk *disk = savepoint->disk;
    char path[STORE_PATH_MAX];
    savepoint_join(path, savepoint->path, name);
    *target = (struct target){ .file = -1 };
    const int file = disk->open(disk->user, path, DISK_CREATE);
    if (file < 0) return file;
    target->file = file;
    (void)snprintf(target->name, sizeof target->name, "%s", name);
    return 0;
}

static int target_write(struct savepoint *savepoint, const void *data, size_t size, uint64_t offset)
{
    struct target *target = &savepoint->target;
    int result = disk_write_all(savepoint->disk, target->file, data, size, offset);
    if (result < 0) return result;
    savepoint->mark.bytes += size;
    target->offset += size;
    if (target->offset - target->synced < SYNC_BYTES) return 0;
    target->synced = target->offset;
    return savepoint->disk->sync(savepoint->disk->user, target->file);
}

/* ---- Frames ------------------------------------------------------------------------------------------------------ */

/* They come newest first, so those of one log come together. */
static int put_frame(struct savepoint *savepoint)
{
    const struct weir_frame_name *name = &savepoint->next;
    int result = 0;
    if (savepoint->target.file >= 0 && strcmp(savepoint->target.name, name->file) != 0) result = target_close(savepoint);
    if (result == 0 && savepoint->target.file < 0) result = target_open(savepoint, name->file);
    if (result == 0) result = target_write(savepoint, savepoint->bytes.data, savepoint->bytes.size, name->offset);
    return result;
}

/* The checkpoint's frame with its bases as they are here. It lies where it lay: nothing in the folder comes behind it. */
static bool change_frame(struct savepoint *savepoint)
{
    struct weir_frame_name *name = &savepoint->mark.frame;
    if (!manifest_encode(&savepoint->manifest, &savepoint->bytes, name)) return false;
    savepoint->next.length = name->length;
    savepoint->next.hash = name->hash;
    savepoint->is_changed = false;
    return true;
}

/* The frame that is next, and its parent after it. */
static enum weir_code copy_frame(struct savepoint *savepoint, struct weir_error *error)
{
    struct manifest manifest;
    const struct weir_frame_name name = savepoint->next;
    const enum weir_code code = store_read_manifest(savepoint->store, &name, &savepoint->bytes, &savepoint->scratch,
                                                    &manifest, error);
    if (code != WEIR_OK) return code;
    const struct weir_frame_name parent = manifest.parent;
    int result = savepoint->is_changed && !change_frame(savepoint) ? -ENOMEM : 0;
    if (result == 0) result = put_frame(savepoint);
    const bool is_last = parent.incarnation == 0 || parent.epoch < savepoint->epoch_first;
    if (result == 0 && is_last) result = target_close(savepoint);
    if (result < 0) return savepoint_disk_error(error, savepoint->path, result, "writing", name.file);
    savepoint->next = parent;
    if (is_last) savepoint->step = STEP_MARK;
    return WEIR_OK;
}

/* ---- Bases ------------------------------------------------------------------------------------------------------- */

/* NULL behind the last one. */
static struct manifest_base *next_base(struct savepoint *savepoint)
{
    const struct manifest *manifest = &savepoint->manifest;
    for (; savepoint->operator_index < manifest->operator_count; savepoint->operator_index++, savepoint->base_index = 0) {
        struct manifest_operator *op = &manifest->operators[savepoint->operator_index];
        if (savepoint->base_index < op->base_count) return &op->bases[savepoint->base_index];
    }
    return NULL;
}

static void source_close(struct savepoint *savepoint)
{
    const struct disk *disk = savepoint->store->disk;
    if (savepoint->source >= 0) disk->close(disk->user, savepoint->source);
    savepoint->source = -1;
    hash_stream_destroy(savepoint->hash);
    savepoint->hash = NULL;
}

static enum weir_code begin_base(struct savepoint *savepoint, const struct manifest_base *base, struct weir_error *error)
{
    char path[STORE_PATH_MAX];
    const enum weir_code code = store_check_base(savepoint->store, base, error);
    if (code != WEIR_OK) return code;
    savepoint->hash = hash_stream_create(0);
    if (savepoint->hash == NULL || !buffer_reserve(&savepoint->bytes, COPY_BYTES))
        return savepoint_disk_error(error, savepoint->path, -ENOMEM, "copying", "bases");
    store_file_path(savepoint->store, base->name, path);
    savepoint->source = savepoint->store->disk->open(savepoint->store->disk->user, path, DISK_READ);
    if (savepoint->source < 0) return store_read_error(savepoint->store, error, savepoint->source, base->name);
    const int result = target_open(savepoint, base->name);
    return result == 0 ? WEIR_OK : savepoint_disk_error(error, savepoint->path, result, "creating", base->name);
}

static enum weir_code end_base(struct savepoint *savepoint, const struct manifest_base *base, struct weir_error *error)
{
    if (hash_stream_value(savepoint->hash) != base->hash)
        return weir_error_set(error, WEIR_DAMAGED, WEIR_REMEDY_STOP,
                              "checkpoint store %s: %s is damaged: its hash is not the one expected; put the file back "
                              "from a copy of the checkpoint directory",
                              store_path(savepoint->store), base->name);
    source_close(savepoint);
    const int result = target_close(savepoint);
    savepoint->base_index++;
    return result == 0 ? WEIR_OK : savepoint_disk_error(error, savepoint->path, result, "syncing", base->name);
}

static enum weir_code copy_piece(struct savepoint *savepoint, const struct manifest_base *base, struct weir_error *error)
{
    const uint64_t left = base->length - savepoint->target.offset;
    const size_t size = left < COPY_BYTES ? (size_t)left : COPY_BYTES;
    char *const data = savepoint->bytes.data;
    int result = disk_read_all(savepoint->store->disk, savepoint->source, data, size, savepoint->target.offset);
    if (result < 0) return store_read_error(savepoint->store, error, result, base->name);
    hash_stream_update(savepoint->hash, data, size);
    result = target_write(savepoint, data, size, savepoint->target.offset);
    if (result < 0) return savepoint_disk_error(error, savepoint->path, result, "writing", base->name);
    return savepoint->target.offset < base->length ? WEIR_OK : end_base(savepoint, base, error);
}

/* ---- Bases of files by reference --------------------------------------------------------------------------------- */

static void units_close(struct savepoint *savepoint)
{
    if (savepoint->reading != NULL) savepoint->units->close(savepoint->reading);
    savepoint->reading = NULL;
    store_base_abandon(savepoint->written);
    savepoint->written = NULL;
    store_close(savepoint->into);
    savepoint->into = NULL;
}

static enum weir_code begin_units(struct savepoint *savepoint, const struct manifest_base *base, struct weir_error *error)
{
    struct weir_bytes states;
    struct store_file file;
    CHECK(savepoint->units != NULL && store_file_parse(base->name, &file)); /* it has been read */
    enum weir_code code = savepoint->units->open(savepoint->store, base, &savepoint->reading, &states, error);
    if (code == WEIR_OK)
        code = store_open(&(struct store_options){ .directory = savepoint->path, .disk = savepoint->disk },
                          &savepoint->into, error);
    if (code == WEIR_OK)
        code = store_base_create_as(savepoint->into, BASE_OF_UNITS, file.incarnation, file.number, &savepoint->written,
                                    error);
    return code == WEIR_OK ? store_base_append(savepoint->written, states, error) : code;
}

/* From here on the base is another one, under the same name. */
static enum weir_code end_units(struct savepoint *savepoint, struct manifest_base *base, struct weir_error *error)
{
    struct store_base_result result;
    const enum weir_code code = store_base_finish(savepoint->written, &result, error);
    if (code != WEIR_OK) return code;
    savepoint->written = NULL;
    units_close(savepoint);
    base->store = STORE_KIND_FILE;
    base->length = result.length;
    base->hash = result.hash;
    savepoint->is_changed = true;
    savepoint->base_index++;
    return WEIR_OK;
}

static enum weir_code copy_units(struct savepoint *savepoint, struct manifest_base *base, struct weir_error *error)
{
    bool is_over;
    enum weir_code code = savepoint->reading == NULL ? begin_units(savepoint, base, error) : WEIR_OK;
    buffer_clear(&savepoint->bytes);
    if (code == WEIR_OK)
        code = savepoint->units->next(savepoint->reading, COPY_BYTES, &savepoint->bytes, &is_over, error);
    const struct weir_bytes units = { savepoint->bytes.data, savepoint->bytes.size };
    if (code == WEIR_OK) code = store_base_append(savepoint->written, units, error);
    savepoint->mark.bytes += units.size;
    return code == WEIR_OK && is_over ? end_units(savepoint, base, error) : code;
}

static enum weir_code copy_base(struct savepoint *savepoint, struct weir_error *error)
{
    struct manifest_base *base = next_base(savepoint);
    if (base == NULL) {
        savepoint->step = STEP_FRAMES;
        return WEIR_OK;
    }
    if (store_base_is_links(base)) return copy_units(savepoint, base, error);
    const enum weir_code code = savepoint->source < 0 ? begin_base(savepoint, base, error) : WEIR_OK;
    return code == WEIR_OK ? copy_piece(savepoint, base, error) : code;
}

/* ---- The end ----------------------------------------------------------------------------------------------------- */

static enum weir_code finish(struct savepoint *savepoint, struct weir_error *error)
{
    CRASH_POINT(savepoint_half_written);
    const int result = savepoint_put_mark(savepoint->disk, savepoint->directory, savepoint->path, &savepoint->mark);
    CRASH_POINT(savepoint_marked);
    if (result == 0) return WEIR_OK;
    return savepoint_disk_error(error, savepoint->path, result, "writing", "its mark");
}

enum weir_code savepoint_step(struct savepoint *savepoint, uint64_t bytes_max, bool *done, struct weir_error *error)
{
    enum weir_code code = WEIR_OK;
    const uint64_t begin = savepoint->mark.bytes;
    *done = false;
    while (code == WEIR_OK && savepoint->mark.bytes - begin < bytes_max) {
        switch (savepoint->step) {
        case STEP_FOLDER: code = begin_folder(savepoint, error); break;
        case STEP_FRAMES: code = copy_frame(savepoint, error); break;
        case STEP_BASES: code = copy_base(savepoint, error); break;
        case STEP_MARK: code = finish(savepoint, error); *done = code == WEIR_OK; return code;
        }
    }
    return code;
}

const char *savepoint_path(const struct savepoint *savepoint)
{
    return savepoint->path;
}

uint64_t savepoint_bytes(const struct savepoint *savepoint)
{
    return savepoint->mark.bytes;
}

void savepoint_destroy(struct savepoint *savepoint)
{
    if (savepoint == NULL) return;
    source_close(savepoint);
    units_close(savepoint);
    if (savepoint->target.file >= 0) savepoint->disk->close(savepoint->disk->user, savepoint->target.file);
    arena_deinit(&savepoint->arena);
    arena_deinit(&savepoint->scratch);
    buffer_deinit(&savepoint->frame);
    buffer_deinit(&savepoint->bytes);
    free(savepoint->directory);
    free(savepoint);
}

void savepoint_abandon(struct savepoint *savepoint)
{
    if (savepoint == NULL) return;
    if (savepoint->has_folder) (void)savepoint_remove(savepoint->disk, savepoint->path);
    savepoint_destroy(savepoint);
}
