#include "checkpoint/retention.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

void retention_init(struct retention *retention, uint64_t incarnation, size_t retained_max)
{
    CHECK(incarnation > 0 && retained_max > 0);
    *retention = (struct retention){ .incarnation = incarnation, .retained_max = retained_max };
}

void retention_names_clear(struct retention_names *names)
{
    vec_free(&names->files);
}

void retention_deinit(struct retention *retention)
{
    for (size_t i = 0; i < retention->checkpoints.count; i++)
        retention_names_clear(&retention->checkpoints.items[i].bases);
    vec_free(&retention->checkpoints);
    vec_free(&retention->segments);
    retention_names_clear(&retention->known);
}

/* ---- Lists of names ---------------------------------------------------------------------------------------------- */

static bool names_add(struct retention_names *names, const char *file)
{
    CHECK(strlen(file) < STORE_FILE_MAX);
    struct retention_name *name = vec_push(&names->files);
    if (name == NULL) return false;
    memcpy(name->file, file, strlen(file) + 1);
    return true;
}

static bool names_have(const struct retention_names *names, const char *file)
{
    for (size_t i = 0; i < names->files.count; i++)
        if (strcmp(names->files.items[i].file, file) == 0) return true;
    return false;
}

static bool names_add_once(struct retention_names *names, const char *file)
{
    return names_have(names, file) || names_add(names, file);
}

/* ---- What happened ----------------------------------------------------------------------------------------------- */

bool retention_found(struct retention *retention, const char *file)
{
    struct store_file parsed;
    if (!store_file_parse(file, &parsed) || parsed.incarnation > retention->incarnation) return true;
    if (parsed.is_base || parsed.incarnation < retention->incarnation) return names_add_once(&retention->known, file);
    /* The own log is cut at its head: the lowest number is all that needs to be known. */
    if (retention->own_segment_first == 0 || parsed.number < retention->own_segment_first)
        retention->own_segment_first = parsed.number;
    return true;
}

static bool failed(struct retention *retention)
{
    retention->incomplete = true;
    return false;
}

bool retention_frame(struct retention *retention, const struct weir_frame_name *frame)
{
    struct store_file parsed;
    CHECK(store_file_parse(frame->file, &parsed) && !parsed.is_base);
    const size_t count = retention->segments.count;
    struct retention_segment *last = count == 0 ? NULL : &retention->segments.items[count - 1];
    CHECK(last == NULL || frame->epoch >= last->epoch_last);
    if (last == NULL || last->incarnation != parsed.incarnation || last->number != parsed.number) {
        last = vec_push(&retention->segments);
        if (last == NULL) return failed(retention);
        *last = (struct retention_segment){ .incarnation = parsed.incarnation, .number = parsed.number };
    }
    last->epoch_last = frame->epoch;
    retention->frame_last = *frame;
    return true;
}

static bool is_same(const struct weir_frame_name *a, const struct weir_frame_name *b)
{
    return a->incarnation == b->incarnation && a->epoch == b->epoch && strcmp(a->file, b->file) == 0 &&
           a->offset == b->offset;
}

static void forget_oldest(struct retention *retention)
{
    retention_names_clear(&retention->checkpoints.items[0].bases);
    retention->checkpoints.count--;
    memmove(retention->checkpoints.items, retention->checkpoints.items + 1,
            retention->checkpoints.count * sizeof *retention->checkpoints.items);
}

/* Fills `checkpoint` from the manifest; its bases become known, so that they can go one day. */
static bool note_bases(struct retention *retention, const struct manifest *manifest,
                       struct retention_checkpoint *checkpoint)
{
    for (size_t i = 0; i < manifest->operator_count; i++) {
        for (size_t j = 0; j < manifest->operators[i].base_count; j++) {
            const struct manifest_base *base = &manifest->operators[i].bases[j];
            if (strcmp(base->store, STORE_KIND_FILE) != 0) continue;
            if (!names_add_once(&checkpoint->bases, base->name) || !names_add_once(&retention->known, base->name))
                return false;
        }
    }
    return true;
}

bool retention_checkpoint(struct retention *retention, const struct weir_frame_name *frame,
                          const struct manifest *manifest)
{
    struct retention_checkpoint checkpoint = { .epoch = frame->epoch, .redo_epoch = manifest_redo_epoch(manifest) };
    CHECK(!manifest->is_part);
    /* A gap in the chain would let needed files go. */
    CHECK(retention->incomplete || manifest->parent.incarnation == 0 ||
          manifest->parent.epoch <= checkpoint.redo_epoch || is_same(&manifest->parent, &retention->frame_last));
    struct retention_checkpoint *place = NULL;
    if (note_bases(retention, manifest, &checkpoint) && retention_frame(retention, frame))
        place = vec_push(&retention->checkpoints);
    if (place == NULL) {
        retention_names_clear(&checkpoint.bases);
        return failed(retention);
    }
    *place = checkpoint;
    while (retention->checkpoints.count > retention->retained_max) forget_oldest(retention);
    return true;
}

/* ---- What may go ------------------------------------------------------------------------------------------------- */

/* Frames of the chain from this epoch on are needed by some retained checkpoint: as a delta above its redo point, or
 * because they are the checkpoint. */
static uint64_t epoch_needed_first(const struct retention *retention)
{
    uint64_t first = UINT64_MAX;
    for (size_t i = 0; i < retention->checkpoints.count; i++) {
        const struct retention_checkpoint *checkpoint = &retention->checkpoints.items[i];
        const uint64_t needed =
            checkpoint->redo_epoch < checkpoint->epoch ? checkpoint->redo_epoch + 1 : checkpoint->epoch;
        if (needed < first) first = needed;
    }
    return first;
}

static void forget_segments(struct retention *retention, uint64_t epoch_first)
{
    size_t gone = 0;
    while (gone < retention->segments.count && retention->segments.items[gone].epoch_last < epoch_first) gone++;
    retention->segments.count -= gone;
    if (gone > 0)
        memmove(retention->segments.items, retention->segments.items + gone,
                retention->segments.count * sizeof *retention->segments.items);
}

static bool is_needed(const struct retention *retention, const char *file)
{
    struct store_file parsed;
    CHECK(store_file_parse(file, &parsed) && parsed.incarnation <= retention->incarnation);
    if (parsed.is_base) {
        for (size_t i = 0; i < retention->checkpoints.count; i++)
            if (names_have(&retention->checkpoints.items[i].bases, file)) return true;
        return false;
    }
    for (size_t i = 0; i < retention->segments.count; i++)
        if (retention->segments.items[i].incarnation == parsed.incarnation &&
            retention->segments.items[i].number == parsed.number)
            return true;
    return false;
}

static bool collect_known(struct retention *retention, struct retention_names *deletions)
{
    size_t kept = 0;
    bool complete = true;
    for (size_t i = 0; i < retention->known.files.count; i++) {
        const struct retention_name name = retention->known.files.items[i];
        if (!is_needed(retention, name.file) && complete && names_add(deletions, name.file)) continue;
        if (!is_needed(retention, name.file)) complete = false; /* no memory: it stays known, and goes another time */
        retention->known.files.items[kept++] = name;
    }
    retention->known.files.count = kept;
    return complete;
}

/* Everything of the own log below the first segment that is needed, whether its frames were ever committed or not. */
static bool collect_own_log(struct retention *retention, struct retention_names *deletions)
{
    uint64_t first = UINT64_MAX;
    for (size_t i = 0; i < retention->segments.count; i++)
        if (retention->segments.items[i].incarnation == retention->incarnation &&
            retention->segments.items[i].number < first)
            first = retention->segments.items[i].number;
    if (first == UINT64_MAX) return true;
    if (retention->own_segment_first == 0) retention->own_segment_first = 1;
    for (; retention->own_segment_first < first; retention->own_segment_first++) {
        char file[STORE_FILE_MAX];
        (void)snprintf(file, sizeof file, "log-%" PRIu64 "-%" PRIu64, retention->incarnation,
                       retention->own_segment_first);
        if (!names_add(deletions, file)) return false;
    }
    return true;
}

bool retention_collect(struct retention *retention, struct retention_names *deletions)
{
    if (retention->incomplete || retention->checkpoints.count == 0) return !retention->incomplete;
    forget_segments(retention, epoch_needed_first(retention));
    const bool complete = collect_known(retention, deletions);
    return collect_own_log(retention, deletions) && complete;
}
