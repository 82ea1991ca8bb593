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
    for (size_t i = 0; i < retention->links.count; i++) retention_names_clear(&retention->links.items[i].tables);
    vec_free(&retention->links);
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

static const struct retention_links *links_of(const struct retention *retention, const char *base)
{
    for (size_t i = 0; i < retention->links.count; i++)
        if (strcmp(retention->links.items[i].base, base) == 0) return &retention->links.items[i];
    return NULL;
}

/* ---- What happened ----------------------------------------------------------------------------------------------- */

bool retention_found(struct retention *retention, const char *file)
{
    struct store_file parsed;
    if (!store_file_parse(file, &parsed) || parsed.incarnation > retention->incarnation) return true;
    retention->is_settled = false;
    if (parsed.kind != STORE_FILE_LOG || parsed.incarnation < retention->incarnation)
        return names_add_once(&retention->known, file);
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
    CHECK(store_file_parse(frame->file, &parsed) && parsed.kind == STORE_FILE_LOG);
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

bool retention_links(struct retention *retention, const char *base, const struct links *links)
{
    if (links_of(retention, base) != NULL) return true;
    struct retention_links *said = strlen(base) < STORE_FILE_MAX ? vec_push(&retention->links) : NULL;
    if (said == NULL) return failed(retention);
    *said = (struct retention_links){ .base = "" };
    memcpy(said->base, base, strlen(base) + 1);
    for (size_t i = 0; i < links->files.count; i++)
        if (links->files.items[i].file[0] != '\0' && !names_add(&said->tables, links->files.items[i].file))
            return failed(retention);
    return true;
}

static bool has_same_bases(const struct retention_checkpoint *a, const struct retention_checkpoint *b)
{
    if (a->bases.files.count != b->bases.files.count) return false;
    for (size_t i = 0; i < a->bases.files.count; i++)
        if (strcmp(a->bases.files.items[i].file, b->bases.files.items[i].file) != 0) return false;
    return true;
}

static void forget_oldest(struct retention *retention)
{
    const struct retention_checkpoint *checkpoints = retention->checkpoints.items;
    if (!has_same_bases(&checkpoints[0], &checkpoints[1])) retention->is_settled = false;
    retention_names_clear(&retention->checkpoints.items[0].bases);
    retention->checkpoints.count--;
    memmove(retention->checkpoints.items, retention->checkpoints.items + 1,
            retention->checkpoints.count * sizeof *retention->checkpoints.items);
}

/* The base becomes known, and what it refers to, so that they can go one day. Of files by reference that nobody has spoken
 * of, some might be deleted that are needed: better none. */
static bool note_base(struct retention *retention, const struct manifest_base *base)
{
    if (names_have(&retention->known, base->name)) return !store_base_is_links(base) || links_of(retention, base->name);
    retention->is_settled = false;
    if (!names_add(&retention->known, base->name)) return false;
    if (!store_base_is_links(base)) return true;
    const struct retention_links *links = links_of(retention, base->name);
    for (size_t i = 0; links != NULL && i < links->tables.files.count; i++)
        if (!names_add_once(&retention->known, links->tables.files.items[i].file)) return false;
    return links != NULL;
}

/* Fills `checkpoint` from the manifest. */
static bool note_bases(struct retention *retention, const struct manifest *manifest,
                       struct retention_checkpoint *checkpoint)
{
    for (size_t i = 0; i < manifest->operator_count; i++) {
        for (size_t j = 0; j < manifest->operators[i].base_count; j++) {
            const struct manifest_base *base = &manifest->operators[i].bases[j];
            if (strcmp(base->store, STORE_KIND_FILE) != 0 && !store_base_is_links(base)) continue;
            if (!names_add_once(&checkpoint->bases, base->name) || !note_base(retention, base)) return false;
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
    if (gone > 0) retention->is_settled = false;
    if (gone > 0)
        memmove(retention->segments.items, retention->segments.items + gone,
                retention->segments.count * sizeof *retention->segments.items);
}

static bool is_named(const struct retention *retention, const char *base)
{
    for (size_t i = 0; i < retention->checkpoints.count; i++)
        if (names_have(&retention->checkpoints.items[i].bases, base)) return true;
    return false;
}

/* Also by a base that no manifest has named yet. */
static bool is_referred_to(const struct retention *retention, const char *table)
{
    for (size_t i = 0; i < retention->links.count; i++)
        if (names_have(&retention->links.items[i].tables, table)) return true;
    return false;
}

static bool is_needed(const struct retention *retention, const char *file)
{
    struct store_file parsed;
    CHECK(store_file_parse(file, &parsed) && parsed.incarnation <= retention->incarnation);
    if (parsed.kind == STORE_FILE_BASE) return is_named(retention, file);
    if (parsed.kind == STORE_FILE_TABLE) return is_referred_to(retention, file);
    for (size_t i = 0; i < retention->segments.count; i++)
        if (retention->segments.items[i].incarnation == parsed.incarnation &&
            retention->segments.items[i].number == parsed.number)
            return true;
    return false;
}

/* Whose base was named once, and is not any more. */
static void forget_links(struct retention *retention)
{
    size_t kept = 0;
    for (size_t i = 0; i < retention->links.count; i++) {
        struct retention_links *links = &retention->links.items[i];
        const bool is_over = names_have(&retention->known, links->base) && !is_named(retention, links->base);
        if (is_over) retention_names_clear(&links->tables);
        else retention->links.items[kept++] = *links;
    }
    retention->links.count = kept;
}

static bool is_table(const char *file)
{
    struct store_file parsed;
    return store_file_parse(file, &parsed) && parsed.kind == STORE_FILE_TABLE;
}

/* Of those that are tables, or of the others. */
static bool collect_some(struct retention *retention, bool tables, struct retention_names *deletions)
{
    size_t kept = 0;
    bool complete = true;
    for (size_t i = 0; i < retention->known.files.count; i++) {
        const struct retention_name name = retention->known.files.items[i];
        const bool may_go = is_table(name.file) == tables && !is_needed(retention, name.file);
        if (may_go && complete && names_add(deletions, name.file)) continue;
        if (may_go) complete = false; /* no memory: it stays known, and goes another time */
        retention->known.files.items[kept++] = name;
    }
    retention->known.files.count = kept;
    return complete;
}

/* Bases before what they refer to: at no moment is there a base that lacks something. */
static bool collect_known(struct retention *retention, struct retention_names *deletions)
{
    forget_links(retention);
    return collect_some(retention, false, deletions) && collect_some(retention, true, deletions);
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
    const bool complete = retention->is_settled || collect_known(retention, deletions);
    retention->is_settled = complete;
    return collect_own_log(retention, deletions) && complete;
}
