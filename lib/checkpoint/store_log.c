/* The log of one incarnation: places for frames (job thread), appending them, and segments made ready ahead (log writer
 * thread). store.h has the picture and the invariants. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/crash.h"
#include "checkpoint/store_private.h"

/* ---- Places: job thread ------------------------------------------------------------------------------------------ */

static void place(struct store *store, struct weir_frame_name *name, bool new_segment)
{
    CHECK(store->incarnation > 0 && name->incarnation == store->incarnation);
    CHECK(name->length > 0 && name->length % FRAME_ALIGNMENT == 0);
    const bool fits = store->place_offset <= store->segment_bytes &&
                      name->length <= store->segment_bytes - store->place_offset;
    if (new_segment || (store->place_offset > 0 && !fits)) {
        store->place_number++;
        store->place_offset = 0;
    }
    store_log_name(name->file, store->incarnation, store->place_number);
    name->offset = store->place_offset;
    store->place_offset += name->length;
}

void store_reserve(struct store *store, struct weir_frame_name *name)
{
    place(store, name, false);
}

void store_reserve_elsewhere(struct store *store, struct weir_frame_name *name)
{
    place(store, name, true);
}

/* ---- Segments ---------------------------------------------------------------------------------------------------- */

static void segment_path(const struct store *store, uint64_t number, char path[STORE_PATH_MAX])
{
    char name[STORE_FILE_MAX];
    store_log_name(name, store->incarnation, number);
    store_file_path(store, name, path);
}

static void segment_close(const struct store *store, struct store_segment *segment)
{
    if (segment->file >= 0) store->disk->close(store->disk->user, segment->file);
    *segment = (struct store_segment){ .file = -1 };
}

/* A new file with room for a segment, not filled; its name is durable. */
static int segment_create(struct store *store, uint64_t number, struct store_segment *segment)
{
    char path[STORE_PATH_MAX];
    segment_path(store, number, path);
    const int file = store->disk->open(store->disk->user, path, DISK_CREATE);
    if (file < 0) return file;
    *segment = (struct store_segment){ .file = file, .number = number };
    int result = store->disk->allocate(store->disk->user, file, store->segment_bytes);
    if (result == 0) result = store->disk->sync_directory(store->disk->user, store->path);
    if (result == 0) return 0;
    segment_close(store, segment);
    (void)store->disk->remove(store->disk->user, path);
    return result;
}

/* Gives a segment another number; its new name is durable. */
static int segment_rename(struct store *store, uint64_t source, uint64_t target)
{
    char source_path[STORE_PATH_MAX], target_path[STORE_PATH_MAX];
    segment_path(store, source, source_path);
    segment_path(store, target, target_path);
    const int result = store->disk->rename(store->disk->user, source_path, target_path, false);
    return result < 0 ? result : store->disk->sync_directory(store->disk->user, store->path);
}

/* Writes the next slice of zeroes; true while there is more to fill. */
static int segment_fill(struct store *store, struct store_segment *segment, bool *more)
{
    static const char zeroes[STORE_SLICE_BYTES];
    *more = false;
    if (segment->file < 0 || segment->filled_bytes >= store->segment_bytes) return 0;
    const uint64_t left = store->segment_bytes - segment->filled_bytes;
    const size_t size = left < sizeof zeroes ? (size_t)left : sizeof zeroes;
    int result = disk_write_all(store->disk, segment->file, zeroes, size, segment->filled_bytes);
    if (result == 0) result = store->disk->sync(store->disk->user, segment->file);
    if (result < 0) return result;
    segment->filled_bytes += size;
    *more = true;
    return 0;
}

/* ---- Begin and end ----------------------------------------------------------------------------------------------- */

int store_log_begin(struct store *store)
{
    struct store_log *log = &store->log;
    CHECK(log->current.file < 0 && log->next.file < 0);
    *log = (struct store_log){ .current.file = -1, .next.file = -1 };
    return segment_create(store, 1, &log->current);
}

void store_log_end(struct store *store)
{
    segment_close(store, &store->log.current);
    segment_close(store, &store->log.next);
}

/* ---- Appending: log writer thread -------------------------------------------------------------------------------- */

/* Makes segment `number` the current one: the prepared one, or a new file. */
static int switch_segment(struct store *store, uint64_t number)
{
    struct store_log *log = &store->log;
    CHECK(number > log->current.number);
    segment_close(store, &log->current);
    log->prepare_failed = false;
    if (log->next.file < 0) return segment_create(store, number, &log->current);
    if (log->next.number != number) {
        const int result = segment_rename(store, log->next.number, number);
        log->next.number = number;
        if (result < 0) {
            segment_close(store, &log->next);
            return result;
        }
    }
    log->current = log->next;
    log->next = (struct store_segment){ .file = -1 };
    return 0;
}

/* A segment that has failed once is not touched again, not even by a frame whose place was reserved before. */
static int append(struct store *store, uint64_t number, uint64_t offset, struct weir_bytes frame)
{
    struct store_log *log = &store->log;
    if (number <= log->number_failed) return -EIO;
    int result = number == log->current.number ? 0 : switch_segment(store, number);
    if (result == 0) result = disk_write_all(store->disk, log->current.file, frame.data, frame.size, offset);
    CRASH_POINT(frame_written);
    if (result == 0) result = store->disk->sync(store->disk->user, log->current.file);
    if (result < 0) {
        segment_close(store, &log->current);
        log->number_failed = number;
        return result;
    }
    if (offset + frame.size > log->current.filled_bytes) log->current.filled_bytes = offset + frame.size;
    return 0;
}

enum weir_code store_append(struct store *store, const struct weir_frame_name *name, struct weir_bytes frame,
                            struct weir_error *error)
{
    struct store_file file;
    CHECK(store_file_parse(name->file, &file) && file.kind == STORE_FILE_LOG && file.incarnation == store->incarnation);
    CHECK(frame.size == name->length && name->offset % FRAME_ALIGNMENT == 0);
    const int result = append(store, file.number, name->offset, frame);
    return result == 0 ? WEIR_OK : store_disk_error(store, error, result, "appending to", name->file);
}

/* ---- Ahead: log writer thread ------------------------------------------------------------------------------------ */

static int next_from_spare(struct store *store, uint64_t number)
{
    struct store_log *log = &store->log;
    const uint64_t spare = log->spares[--log->spare_count];
    int result = segment_rename(store, spare, number);
    if (result < 0) return result;
    char path[STORE_PATH_MAX];
    segment_path(store, number, path);
    result = store->disk->open(store->disk->user, path, DISK_UPDATE);
    if (result < 0) return result;
    log->next = (struct store_segment){ .file = result, .number = number, .filled_bytes = store->segment_bytes };
    return 0;
}

/* The number that the next segment will most probably have; switch_segment renames it otherwise. */
static int next_begin(struct store *store)
{
    struct store_log *log = &store->log;
    const uint64_t last = log->current.file >= 0 ? log->current.number : log->number_failed, number = last + 1;
    return log->spare_count > 0 ? next_from_spare(store, number) : segment_create(store, number, &log->next);
}

bool store_prepare(struct store *store)
{
    struct store_log *log = &store->log;
    if (log->prepare_failed || store->incarnation == 0) return false;
    bool more = false;
    /* A current segment whose sync failed here must not be written again either: leave it for the append to find
     * out. */
    int result = segment_fill(store, &log->current, &more);
    if (result < 0) {
        log->number_failed = log->current.number;
        segment_close(store, &log->current);
        log->prepare_failed = true;
        return false;
    }
    if (more) return true;
    result = log->next.file < 0 ? next_begin(store) : segment_fill(store, &log->next, &more);
    if (result == 0) return more || log->next.filled_bytes < store->segment_bytes;
    segment_close(store, &log->next);
    log->prepare_failed = true;
    return false;
}

/* ---- Deleting: log writer thread --------------------------------------------------------------------------------- */

static bool is_spare(const struct store_log *log, uint64_t number)
{
    for (size_t i = 0; i < log->spare_count; i++)
        if (log->spares[i] == number) return true;
    return false;
}

static bool has_usual_size(struct store *store, const char *path)
{
    const int file = store->disk->open(store->disk->user, path, DISK_READ);
    if (file < 0) return false;
    const int64_t size = store->disk->size(store->disk->user, file);
    store->disk->close(store->disk->user, file);
    return size == (int64_t)store->segment_bytes;
}

enum weir_code store_delete(struct store *store, const char *file, struct weir_error *error)
{
    struct store_log *log = &store->log;
    struct store_file parsed;
    CHECK(store_file_parse(file, &parsed) && parsed.incarnation <= store->incarnation);
    char path[STORE_PATH_MAX];
    store_file_path(store, file, path);
    if (parsed.kind == STORE_FILE_LOG && parsed.incarnation == store->incarnation) {
        CHECK(parsed.number != log->current.number && parsed.number != log->next.number);
        if (is_spare(log, parsed.number)) return WEIR_OK;
        /* One that has failed is not trusted again. */
        if (parsed.number > log->number_failed && log->spare_count < STORE_SPARES_MAX && has_usual_size(store, path)) {
            log->spares[log->spare_count++] = parsed.number;
            return WEIR_OK;
        }
    }
    const int result = store->disk->remove(store->disk->user, path);
    return result == 0 || result == -ENOENT ? WEIR_OK : store_disk_error(store, error, result, "removing", file);
}

/* Names of what is to go: the listing is over before anything is removed. */
struct drop_name {
    char file[STORE_FILE_MAX];
};
struct drop {
    uint64_t incarnation;
    bool failed;
    VEC(struct drop_name) names;
};

static void drop_visit(void *user, const char *file)
{
    struct drop *drop = user;
    struct store_file parsed;
    if (!store_file_parse(file, &parsed) || parsed.incarnation > drop->incarnation) return;
    struct drop_name *name = vec_push(&drop->names);
    drop->failed |= name == NULL;
    if (name != NULL) (void)snprintf(name->file, sizeof name->file, "%s", file);
}

enum weir_code store_drop(struct store *store, uint64_t incarnation, struct weir_error *error)
{
    struct drop drop = { .incarnation = incarnation };
    enum weir_code code = store_list(store, drop_visit, &drop, error);
    if (code == WEIR_OK && drop.failed)
        code = weir_error_set(error, WEIR_NO_MEMORY, WEIR_REMEDY_RETRY, "no memory for a list of files");
    for (size_t i = 0; i < drop.names.count; i++) {
        char path[STORE_PATH_MAX];
        if (i == drop.names.count / 2) CRASH_POINT(drop_half_done);
        store_file_path(store, drop.names.items[i].file, path);
        const int result = store->disk->remove(store->disk->user, path);
        if (result != 0 && result != -ENOENT)
            code = store_disk_error(store, error, result, "removing", drop.names.items[i].file);
    }
    vec_free(&drop.names);
    return code;
}
