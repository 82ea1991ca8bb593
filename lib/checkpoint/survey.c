#include "checkpoint/survey.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "checkpoint/links.h"
#include "checkpoint/pointer.h"
#include "checkpoint/savepoint.h"
#include "checkpoint/store_private.h"

static enum weir_code no_memory(const struct store *store, struct weir_error *error)
{
    return weir_error_set(error, WEIR_NO_MEMORY, WEIR_REMEDY_REPLAY,
                          "checkpoint store %s: out of memory while looking at what is there", store->path);
}

static enum weir_code nothing(const struct store *store, struct weir_error *error)
{
    return weir_error_set(error, WEIR_ENVIRONMENT, WEIR_REMEDY_STOP,
                          "checkpoint store %s of job '%s' holds no committed checkpoint", store->path, store->job);
}

/* ---- The newest frame of the logs -------------------------------------------------------------------------------- */

struct scan {
    struct store *store;
    struct buffer bytes;
    struct weir_frame_name newest; /* that is whole */
    struct weir_frame_name broken; /* the newest of those that are not */
    struct weir_error problem;     /* of `broken` */
    enum weir_code code;
};

static bool is_newer(const struct weir_frame_name *a, const struct weir_frame_name *b)
{
    return a->incarnation != b->incarnation ? a->incarnation > b->incarnation : a->epoch > b->epoch;
}

static int read_u64(const struct disk *disk, int file, uint64_t offset, uint64_t *number)
{
    char bytes[8];
    const int result = disk_read_all(disk, file, bytes, sizeof bytes, offset);
    struct reader reader;
    reader_init(&reader, bytes, result == 0 ? sizeof bytes : 0);
    *number = reader_u64(&reader);
    return result;
}

/* Takes the frame at name->offset into account. False when it is not whole: then its length says nothing. */
static bool weigh(struct scan *scan, int file, struct weir_frame_name *name, bool is_part)
{
    struct weir_error error = { .code = WEIR_OK };
    const struct disk *disk = scan->store->disk;
    (void)read_u64(disk, file, name->offset + name->length - FRAME_TRAILER_BYTES, &name->hash);
    const enum weir_code code = store_read_frame(scan->store, name, &scan->bytes, &error);
    if (code == WEIR_OK) {
        if (!is_part && is_newer(name, &scan->newest)) scan->newest = *name;
        return true;
    }
    if (code != WEIR_DAMAGED) scan->code = code;
    if (code != WEIR_DAMAGED || is_newer(name, &scan->broken)) {
        scan->broken = *name;
        scan->problem = error;
    }
    return false;
}

/* A frame may begin at every multiple of the alignment. Where there is none, or a broken one, the next one is looked
 * for, so that damage hides nothing behind it. Frames that an earlier use of the segment left are whole, and older. */
static int scan_file(struct scan *scan, int file, const struct weir_frame_name *log)
{
    const struct disk *disk = scan->store->disk;
    const int64_t size = disk->size(disk->user, file);
    uint64_t step;
    if (size < 0) return (int)size;
    for (uint64_t offset = 0; offset + FRAME_HEADER_BYTES <= (uint64_t)size; offset += step) {
        char head[FRAME_HEADER_BYTES];
        struct weir_frame_name name = *log;
        bool is_part;
        step = FRAME_ALIGNMENT;
        const int result = disk_read_all(disk, file, head, sizeof head, offset);
        if (result < 0) return result;
        if (!frame_peek((struct weir_bytes){ head, sizeof head }, &name, &is_part)) continue;
        if (name.incarnation != log->incarnation) continue;
        name.offset = offset;
        if (weigh(scan, file, &name, is_part)) step = name.length;
        if (scan->code != WEIR_OK) return 0;
    }
    return 0;
}

static void scan_log(void *user, const char *file_name)
{
    struct scan *scan = user;
    struct store_file parsed;
    if (scan->code != WEIR_OK || !store_file_parse(file_name, &parsed) || parsed.kind != STORE_FILE_LOG) return;
    struct weir_frame_name log = { .incarnation = parsed.incarnation };
    if (strlen(file_name) >= sizeof log.file) return;
    memcpy(log.file, file_name, strlen(file_name));
    char path[STORE_PATH_MAX];
    store_file_path(scan->store, file_name, path);
    const struct disk *disk = scan->store->disk;
    const int file = disk->open(disk->user, path, DISK_READ);
    int result = file < 0 ? file : 0;
    if (file >= 0) {
        result = scan_file(scan, file, &log);
        disk->close(disk->user, file);
    }
    /* One that has just been deleted holds nothing new. */
    if (result < 0 && result != -ENOENT && result != -ENODATA)
        scan->code = store_read_error(scan->store, &scan->problem, result, file_name);
}

static enum weir_code scan_newest(struct store *store, struct weir_frame_name *newest, struct weir_error *broken,
                                  struct weir_error *error)
{
    struct scan scan = { .store = store };
    buffer_init(&scan.bytes);
    enum weir_code code = store_list(store, scan_log, &scan, error);
    buffer_deinit(&scan.bytes);
    if (code == WEIR_OK && scan.code != WEIR_OK) {
        *error = scan.problem;
        return scan.code;
    }
    if (code != WEIR_OK) return code;
    *newest = scan.newest;
    if (is_newer(&scan.broken, &scan.newest)) *broken = scan.problem;
    return scan.newest.incarnation > 0 || broken->code != WEIR_OK ? WEIR_OK : nothing(store, error);
}

/* ---- The newest checkpoint --------------------------------------------------------------------------------------- */

/* Nothing was committed by way of it. Then there is no frame behind the founding either. */
static enum weir_code empty_pointer(struct store *store, struct weir_error *error)
{
    uint64_t frame_count, epoch_max;
    store_history(store, &frame_count, &epoch_max);
    if (epoch_max == 0) return nothing(store, error);
    return weir_error_set(error, WEIR_DAMAGED, WEIR_REMEDY_STOP,
                          "checkpoint store %s: there are checkpoints, but the pointer file, which says what was "
                          "committed last, is empty; put it back from a copy of the checkpoint directory",
                          store->path);
}

static enum weir_code read_pointer(struct survey *survey, struct weir_frame_name *newest, bool *found,
                                   struct weir_error *error)
{
    struct store *store = survey->store;
    struct weir_ledger_entry entry = { .epoch = 0 };
    struct buffer record;
    buffer_init(&record);
    enum weir_code code = pointer_peek(store->disk, store->path, &record, found, error);
    if (code == WEIR_OK && *found && record.size == 0) code = empty_pointer(store, error);
    if (code == WEIR_OK && record.size > 0) {
        code = weir_ledger_decode((struct weir_bytes){ record.data, record.size }, &entry, error);
        if (code != WEIR_OK) (void)weir_error_wrap(error, "%s, the pointer file", store->path);
    }
    if (code == WEIR_OK && *found && strcmp(entry.store, store->id) != 0)
        code = weir_error_set(error, WEIR_FOREIGN, WEIR_REMEDY_STOP,
                              "checkpoint store %s: the pointer file is of store %s, and this is store %s", store->path,
                              entry.store, store->id);
    *newest = entry.frame;
    if (code == WEIR_OK && entry.kind == WEIR_LEDGER_DROPPED)
        code = weir_error_set(error, WEIR_ENVIRONMENT, WEIR_REMEDY_STOP,
                              "checkpoint store %s: job '%s' was cancelled and its checkpoints were dropped, at checkpoint "
                              "%" PRIu64 "/%" PRIu64 "; files that are still there are of no use, and may be removed",
                              store->path, store->job, newest->incarnation, newest->epoch);
    if (code == WEIR_OK && *found && newest->incarnation == 0) code = nothing(store, error);
    weir_ledger_entry_clear(&entry);
    buffer_deinit(&record);
    return code;
}

/* A folder that somebody took out of a store says itself which checkpoint it holds. */
static enum weir_code read_mark(struct survey *survey, struct weir_error *error)
{
    struct savepoint_mark mark;
    const struct store *store = survey->store;
    const enum weir_code code = savepoint_peek(store->disk, store->path, &mark, &survey->is_savepoint, error);
    survey->newest = mark.frame;
    return code;
}

static bool add_problem(struct survey *survey, const struct weir_error *error)
{
    struct weir_error *problem = vec_push(&survey->problems);
    if (problem != NULL) *problem = *error;
    return problem != NULL;
}

static enum weir_code find_newest(struct survey *survey, struct weir_frame_name *newest, struct weir_error *error)
{
    struct weir_error broken = { .code = WEIR_OK };
    enum weir_code code = read_pointer(survey, newest, &survey->is_decided, error);
    if (code != WEIR_OK || survey->is_decided) return code;
    code = scan_newest(survey->store, newest, &broken, error);
    if (code != WEIR_OK || broken.code == WEIR_OK) return code;
    (void)weir_error_wrap(&broken, "the newest frame is not whole: torn before it could be committed, or damaged since, "
                          "which the ledger knows");
    if (!add_problem(survey, &broken)) return no_memory(survey->store, error);
    if (newest->incarnation > 0) return WEIR_OK;
    *error = broken;
    return broken.code;
}

/* ---- Bases ------------------------------------------------------------------------------------------------------- */

static bool has_file(struct store *store, const char *name)
{
    char path[STORE_PATH_MAX];
    store_file_path(store, name, path);
    const int file = store->disk->open(store->disk->user, path, DISK_READ);
    if (file >= 0) store->disk->close(store->disk->user, file);
    return file != -ENOENT;
}

/* Of a base that is going, the file goes first, and what it refers to afterwards; but power may fail in between, and a
 * directory forgets in any order. */
static bool is_going(struct survey *survey, const struct manifest_base *base)
{
    struct links links;
    struct weir_error unwanted;
    bool is_whole = true;
    if (!has_file(survey->store, base->name)) return true;
    if (!store_base_is_links(base)) return false;
    links_init(&links);
    if (links_read(survey->store, base, &links, &unwanted) == WEIR_OK)
        for (size_t i = 0; i < links.files.count && is_whole; i++)
            is_whole = links.files.items[i].file[0] == '\0' || has_file(survey->store, links.files.items[i].file);
    links_deinit(&links);
    return !is_whole;
}

/* A base that only an older checkpoint needs may have been deleted; one that is there must be good. */
static enum weir_code look_at_base(struct survey *survey, struct survey_base *base, bool is_needed,
                                   struct weir_error *error)
{
    struct store_file parsed;
    struct weir_error problem = { .code = WEIR_OK };
    const bool has_name = store_file_parse(base->base.name, &parsed);
    enum weir_code code =
        store_verify_base(survey->store, &base->base, survey->is_deep, &base->bytes, &problem);
    base->is_there = code == WEIR_OK;
    if (code == WEIR_OK) return WEIR_OK;
    if (code == WEIR_DAMAGED) {
        if (!is_needed && has_name && is_going(survey, &base->base)) return WEIR_OK;
        return add_problem(survey, &problem) ? WEIR_OK : no_memory(survey->store, error);
    }
    *error = problem;
    return code;
}

/* A savepoint has the bases of its checkpoint alone, and those of files by reference were written anew: the frames before
 * it name them as they were. */
static bool is_same_base(const struct survey *survey, const struct manifest_base *a, const struct manifest_base *b)
{
    return strcmp(a->name, b->name) == 0 && (survey->is_savepoint || (a->length == b->length && a->hash == b->hash));
}

/* Index of the base; SIZE_MAX with a code when it cannot be looked at. */
static size_t know_base(struct survey *survey, const struct manifest_base *base, bool is_needed, enum weir_code *code,
                        struct weir_error *error)
{
    for (size_t i = survey->bases.count; i-- > 0;)
        if (is_same_base(survey, &survey->bases.items[i].base, base)) return i;
    struct survey_base *known = vec_push(&survey->bases);
    const char *store = arena_text(&survey->arena, base->store), *name = arena_text(&survey->arena, base->name);
    if (known == NULL || store == NULL || name == NULL) {
        *code = no_memory(survey->store, error);
        return SIZE_MAX;
    }
    *known = (struct survey_base){ .base = *base };
    known->base.store = store;
    known->base.name = name;
    *code = look_at_base(survey, known, is_needed, error);
    return *code == WEIR_OK ? survey->bases.count - 1 : SIZE_MAX;
}

static enum weir_code know_bases(struct survey *survey, const struct manifest *manifest, bool is_needed,
                                 struct survey_frame *frame, struct weir_error *error)
{
    size_t count = 0;
    enum weir_code code = WEIR_OK;
    for (size_t i = 0; i < manifest->operator_count; i++) count += manifest->operators[i].base_count;
    frame->bases = arena_alloc(&survey->arena, (count + 1) * sizeof *frame->bases);
    if (frame->bases == NULL) return no_memory(survey->store, error);
    for (size_t i = 0; i < manifest->operator_count; i++)
        for (size_t j = 0; code == WEIR_OK && j < manifest->operators[i].base_count; j++)
            frame->bases[frame->base_count++] =
                (uint32_t)know_base(survey, &manifest->operators[i].bases[j], is_needed, &code, error);
    return code;
}

/* ---- The chain --------------------------------------------------------------------------------------------------- */

static enum weir_code add_frame(struct survey *survey, const struct weir_frame_name *name,
                                const struct manifest *manifest, struct weir_error *error)
{
    struct survey_frame frame = {
        .name = *name,
        .parent = manifest->parent,
        .is_part = manifest->is_part,
        .is_complete = manifest->is_complete,
        .exactly_once = manifest->exactly_once,
        .wall_ms = manifest->wall_ms,
        .plan_hash = manifest->plan_hash,
        .max_parallelism = manifest->max_parallelism,
        .build = arena_text(&survey->arena, manifest->build),
        .program = arena_text(&survey->arena, manifest->program),
        .decider = arena_text(&survey->arena, manifest->decider),
        .redo_epoch = manifest_redo_epoch(manifest),
    };
    if (frame.build == NULL || frame.program == NULL || frame.decider == NULL) return no_memory(survey->store, error);
    for (size_t i = 0; i < manifest->flight_count; i++) frame.flight_records += manifest->flights[i].record_count;
    const enum weir_code code = know_bases(survey, manifest, survey->frames.count == 0, &frame, error);
    if (code != WEIR_OK) return code;
    struct survey_frame *place = vec_push(&survey->frames);
    if (place == NULL) return no_memory(survey->store, error);
    *place = frame;
    return WEIR_OK;
}

/* Whether nothing is left of the frame where it lay: its file was deleted, or is used for newer frames. */
static bool is_overwritten(struct store *store, const struct weir_frame_name *name)
{
    char path[STORE_PATH_MAX], head[FRAME_HEADER_BYTES];
    store_file_path(store, name->file, path);
    const struct disk *disk = store->disk;
    const int file = disk->open(disk->user, path, DISK_READ);
    if (file < 0) return file == -ENOENT;
    struct weir_frame_name seen = { .epoch = 0 };
    bool is_part;
    uint64_t hash = 0;
    const bool has_head = disk_read_all(disk, file, head, sizeof head, name->offset) == 0 &&
                          frame_peek((struct weir_bytes){ head, sizeof head }, &seen, &is_part) &&
                          seen.incarnation == name->incarnation && seen.epoch == name->epoch;
    const bool has_hash = read_u64(disk, file, name->offset + name->length - FRAME_TRAILER_BYTES, &hash) == 0 &&
                          hash == name->hash;
    const bool is_cut_off = disk->size(disk->user, file) < (int64_t)(name->offset + name->length);
    disk->close(disk->user, file);
    return !has_head && !has_hash && !is_cut_off;
}

/* Follows parents until there is none, or one is not there any more. */
static enum weir_code follow(struct survey *survey, struct weir_frame_name name, struct weir_error *error)
{
    struct weir_error problem = { .code = WEIR_OK };
    struct buffer bytes;
    struct arena arena;
    struct manifest manifest;
    enum weir_code code = WEIR_OK;
    buffer_init(&bytes);
    arena_init(&arena, 16 * 1024);
    while (code == WEIR_OK && name.incarnation != 0) {
        const struct survey_frame *newest = survey->frames.count > 0 ? &survey->frames.items[0] : NULL;
        const bool is_needed = newest == NULL || name.epoch > newest->redo_epoch;
        if (survey->is_savepoint && !is_needed) break;
        code = store_read_manifest(survey->store, &name, &bytes, &arena, &manifest, &problem);
        const bool is_retired = code == WEIR_DAMAGED && !is_needed && is_overwritten(survey->store, &name);
        if (is_retired) code = WEIR_OK;
        if (is_retired || code != WEIR_OK) break;
        if (newest != NULL && manifest.epoch > survey->frames.items[survey->frames.count - 1].name.epoch) break;
        code = add_frame(survey, &name, &manifest, error);
        name = manifest.parent;
    }
    arena_deinit(&arena);
    buffer_deinit(&bytes);
    if (code == WEIR_OK || problem.code == WEIR_OK) return code;
    if (code == WEIR_DAMAGED && !add_problem(survey, &problem)) return no_memory(survey->store, error);
    if (code == WEIR_DAMAGED && survey->frames.count > 0) return WEIR_OK;
    *error = problem;
    return code;
}

/* The pointer file is a part of what this job has written. */
static enum weir_code miss_pointer(struct survey *survey, struct weir_error *error)
{
    struct weir_error problem;
    if (survey->is_decided || survey->frames.count == 0) return WEIR_OK;
    if (strcmp(survey->frames.items[0].decider, pointer_decider.kind) != 0) return WEIR_OK;
    (void)weir_error_set(&problem, WEIR_DAMAGED, WEIR_REMEDY_STOP,
                         "checkpoint store %s: the pointer file, which says what was committed last, is missing; put it "
                         "back from a copy of the checkpoint directory",
                         survey->store->path);
    return add_problem(survey, &problem) ? WEIR_OK : no_memory(survey->store, error);
}

/* ---- What is whole ----------------------------------------------------------------------------------------------- */

static void weigh_checkpoint(struct survey *survey, size_t index)
{
    struct survey_frame *frame = &survey->frames.items[index];
    const struct survey_frame *last = frame;
    for (size_t i = index; i < survey->frames.count; i++) {
        const struct survey_frame *above = &survey->frames.items[i];
        if (above->name.epoch <= frame->redo_epoch && i > index) break;
        last = above;
        frame->replay_count++;
        frame->replay_bytes += above->name.length;
    }
    frame->is_whole = last->parent.incarnation == 0 || last->parent.epoch <= frame->redo_epoch ||
                      last != &survey->frames.items[survey->frames.count - 1];
    for (size_t i = 0; i < frame->base_count; i++)
        frame->is_whole = frame->is_whole && survey->bases.items[frame->bases[i]].is_there;
}

enum weir_code survey_take(struct store *store, const struct weir_frame_name *newest, bool is_deep,
                           struct survey *survey, struct weir_error *error)
{
    *survey = (struct survey){ .store = store, .is_deep = is_deep };
    arena_init(&survey->arena, 16 * 1024);
    enum weir_code code = read_mark(survey, error);
    survey->is_decided = survey->is_savepoint || newest != NULL;
    if (code == WEIR_OK && newest != NULL && !survey->is_savepoint) survey->newest = *newest;
    else if (code == WEIR_OK && !survey->is_savepoint) code = find_newest(survey, &survey->newest, error);
    if (code == WEIR_OK) code = follow(survey, survey->newest, error);
    if (code == WEIR_OK) code = miss_pointer(survey, error);
    for (size_t i = 0; code == WEIR_OK && i < survey->frames.count; i++)
        if (!survey->frames.items[i].is_part) weigh_checkpoint(survey, i);
    return code;
}

void survey_deinit(struct survey *survey)
{
    vec_free(&survey->frames);
    vec_free(&survey->bases);
    vec_free(&survey->problems);
    arena_deinit(&survey->arena);
}

size_t survey_find(const struct survey *survey, uint64_t epoch)
{
    for (size_t i = 0; i < survey->frames.count; i++)
        if (!survey->frames.items[i].is_part && survey->frames.items[i].name.epoch == epoch) return i;
    return SIZE_MAX;
}
