/* The restart table: restart.h draws it. Facts in, a judgement and a sentence for a person out. */
#include "checkpoint/restart.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"

int restart_compare(const struct weir_frame_name *a, const struct weir_frame_name *b)
{
    if (a->incarnation != b->incarnation) return a->incarnation < b->incarnation ? -1 : 1;
    if (a->epoch != b->epoch) return a->epoch < b->epoch ? -1 : 1;
    return 0;
}

/* ---- Metadata ---------------------------------------------------------------------------------------------------- */

static bool is_word(const char *text)
{
    if (*text == '\0') return false;
    for (; *text != '\0'; text++)
        if (*text <= ' ' || *text > '~') return false;
    return true;
}

bool restart_metadata_encode(const char *store, const struct weir_frame_name *frame, const char *origin,
                             char metadata[RESTART_METADATA_MAX + 1])
{
    if (!is_word(store) || !is_word(frame->file) || (*origin != '\0' && !is_word(origin))) return false;
    const int size = snprintf(metadata, RESTART_METADATA_MAX + 1,
                              "w1 %s %" PRIu64 " %" PRIu64 " %s %" PRIx64 " %" PRIx64 " %016" PRIx64, store,
                              frame->incarnation, frame->epoch, frame->file, frame->offset, frame->length, frame->hash);
    if (size < 0 || size > RESTART_METADATA_MAX) return false;
    const size_t left = RESTART_METADATA_MAX - (size_t)size;
    const bool has_room = strlen(origin) < left || RESTART_ORIGIN_MAX < left;
    if (*origin != '\0' && has_room) (void)snprintf(metadata + size, left + 1, " %.*s", RESTART_ORIGIN_MAX, origin);
    return true;
}

/* Cuts the next word off; false when it is empty or does not fit. */
static bool next_word(const char **rest, char *word, size_t capacity)
{
    const size_t size = strcspn(*rest, " ");
    if (size == 0 || size >= capacity) return false;
    memcpy(word, *rest, size);
    word[size] = '\0';
    *rest += size + ((*rest)[size] == ' ');
    return true;
}

static bool next_number(const char **rest, int base, uint64_t *number)
{
    char word[24], *end = NULL;
    if (!next_word(rest, word, sizeof word)) return false;
    *number = strtoull(word, &end, base);
    return *end == '\0';
}

bool restart_metadata_parse(const char *metadata, char store[40], struct weir_frame_name *frame,
                            char origin[RESTART_ORIGIN_MAX + 1])
{
    const char *rest = metadata;
    char version[3], again[RESTART_METADATA_MAX + 1];
    *frame = (struct weir_frame_name){ 0 };
    *origin = '\0';
    const bool is_read = next_word(&rest, version, sizeof version) && next_word(&rest, store, 40) &&
                         next_number(&rest, 10, &frame->incarnation) && next_number(&rest, 10, &frame->epoch) &&
                         next_word(&rest, frame->file, sizeof frame->file) && next_number(&rest, 16, &frame->offset) &&
                         next_number(&rest, 16, &frame->length) && next_number(&rest, 16, &frame->hash) &&
                         (*rest == '\0' || next_word(&rest, origin, RESTART_ORIGIN_MAX + 1));
    /* There is one way to write a name, so whatever else a number or a text could have smuggled in shows here. */
    return is_read && restart_metadata_encode(store, frame, origin, again) && strcmp(metadata, again) == 0;
}

/* ---- Looking at facts -------------------------------------------------------------------------------------------- */

/* The last record. At least once nobody is fenced, and one of a life that is over may have come late: there it is the
 * record of the newest frame. */
static const struct weir_ledger_entry *pointer_of(const struct restart_facts *facts)
{
    if (facts->entry_count == 0) return NULL;
    const struct weir_ledger_entry *pointer = &facts->entries[facts->entry_count - 1];
    for (size_t i = facts->entry_count - 1; i-- > 0 && !pointer->exactly_once;) {
        const struct weir_ledger_entry *entry = &facts->entries[i];
        if (!entry->exactly_once && strcmp(entry->store, pointer->store) == 0 &&
            restart_compare(&entry->frame, &pointer->frame) > 0)
            pointer = entry;
    }
    return pointer;
}

static bool is_foreign(const struct restart_facts *facts)
{
    const struct weir_ledger_entry *pointer = pointer_of(facts);
    return pointer != NULL && strcmp(pointer->store, facts->store) != 0;
}

/* The job was cancelled, and its files went, or were about to go. */
static bool is_dropped(const struct restart_facts *facts)
{
    const struct weir_ledger_entry *pointer = pointer_of(facts);
    return pointer != NULL && pointer->kind == WEIR_LEDGER_DROPPED;
}

/* --fresh is done with when this process has written the history that it asked for. */
static bool wants_fresh(const struct restart_facts *facts)
{
    const struct weir_ledger_entry *pointer = pointer_of(facts);
    const uint64_t own = facts->own_incarnation;
    const bool is_written = own != 0 && pointer != NULL && pointer->incarnation == own;
    return facts->fresh && !is_written;
}

/* --position group, and there are offsets that it could mean. */
static bool wants_group(const struct restart_facts *facts)
{
    return facts->position == RESTART_POSITION_GROUP && facts->mirrors_expected && facts->mirror_count > 0;
}

/* A frame, and the savepoint that its history was founded from, as far as it is known: "" = none. */
struct named {
    struct weir_frame_name frame;
    char origin[40];
};

/* What a mirror names: false when that is nothing of this store. */
static bool names_ours(const struct restart_facts *facts, const struct weir_mirror *mirror, struct named *named)
{
    char store[40];
    return restart_metadata_parse(mirror->metadata, store, &named->frame, named->origin) &&
           strcmp(store, facts->store) == 0;
}

/* The newest frame of this store that a mirror names. */
static bool newest_mirrored(const struct restart_facts *facts, struct named *newest)
{
    bool has = false;
    for (size_t i = 0; facts->mirrors_expected && i < facts->mirror_count; i++) {
        struct named named;
        if (!names_ours(facts, &facts->mirrors[i], &named)) continue;
        if (!has || restart_compare(&named.frame, &newest->frame) > 0) *newest = named;
        has = true;
    }
    return has;
}

/* What a history of this store ends with, by ledger or group, whichever is ahead: the ledger may have lost its tail. */
static bool find_end(const struct restart_facts *facts, struct named *end)
{
    const struct weir_ledger_entry *pointer = pointer_of(facts);
    if (pointer == NULL) return newest_mirrored(facts, end);
    if (!is_foreign(facts) && newest_mirrored(facts, end) && restart_compare(&end->frame, &pointer->frame) > 0) return true;
    end->frame = pointer->frame;
    (void)snprintf(end->origin, sizeof end->origin, "%s", pointer->origin);
    return true;
}

static uint64_t larger(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

/* Of whoever committed or announced something here, as far as it can be seen. */
static uint64_t incarnation_named(const struct restart_facts *facts)
{
    uint64_t incarnation = 0;
    struct named newest;
    for (size_t i = 0; i < facts->entry_count; i++) incarnation = larger(incarnation, facts->entries[i].incarnation);
    if (newest_mirrored(facts, &newest)) incarnation = larger(incarnation, newest.frame.incarnation);
    return incarnation;
}

static bool is_same_frame(const struct weir_frame_name *a, const struct weir_frame_name *b)
{
    return restart_compare(a, b) == 0 && strcmp(a->file, b->file) == 0 && a->offset == b->offset &&
           a->length == b->length && a->hash == b->hash;
}

static const struct restart_frame *frame_of(const struct restart_facts *facts, const struct weir_frame_name *name)
{
    for (size_t i = 0; i < facts->frame_count; i++)
        if (is_same_frame(&facts->frames[i].name, name)) return &facts->frames[i];
    return NULL;
}

static bool holds(const struct weir_frame_name *names, size_t count, const struct weir_frame_name *name)
{
    for (size_t i = 0; i < count; i++)
        if (is_same_frame(&names[i], name)) return true;
    return false;
}

size_t restart_frames_named(const struct restart_facts *facts, struct weir_frame_name *names, size_t capacity)
{
    size_t count = 0;
    if (pointer_of(facts) != NULL && !is_foreign(facts) && count < capacity) names[count++] = pointer_of(facts)->frame;
    for (size_t i = 0; facts->mirrors_expected && i < facts->mirror_count && count < capacity; i++) {
        struct named named;
        if (names_ours(facts, &facts->mirrors[i], &named) && !holds(names, count, &named.frame))
            names[count++] = named.frame;
    }
    return count;
}

/* ---- Before the fence -------------------------------------------------------------------------------------------- */

#define STOP(error, code, ...) weir_error_set((error), (code), WEIR_REMEDY_STOP, __VA_ARGS__)

/* The job has committed nothing behind the savepoint: it can go on from there under its own name, wherever it was. */
static bool ends_at_savepoint(const struct restart_facts *facts)
{
    const struct restart_savepoint *savepoint = facts->savepoint;
    const struct weir_ledger_entry *pointer = pointer_of(facts);
    const char *store = pointer == NULL ? facts->store : pointer->store;
    struct named end;
    return savepoint != NULL && savepoint->missing == NULL && !is_dropped(facts) && find_end(facts, &end) &&
           strcmp(store, savepoint->store) == 0 && is_same_frame(&end.frame, &savepoint->frame.name);
}

/* The same before the fence, where the last record may be of a transaction that is not decided, or was aborted: then the
 * ledger ends with the commit before. */
static bool may_end_at_savepoint(const struct restart_facts *facts)
{
    const struct restart_savepoint *savepoint = facts->savepoint;
    const struct weir_ledger_entry *pointer = pointer_of(facts);
    if (ends_at_savepoint(facts)) return true;
    return savepoint != NULL && savepoint->missing == NULL && pointer != NULL && pointer->exactly_once &&
           pointer->kind == WEIR_LEDGER_COMMIT && strcmp(pointer->store, savepoint->store) == 0 &&
           restart_compare(&pointer->parent, &savepoint->frame.name) == 0;
}

/* The beginning of the id is enough: a folder that is gone has no more of it in its name, nor has a mirror room for more. */
static bool was_founded_from_savepoint(const struct restart_facts *facts)
{
    const char *id = facts->savepoint == NULL ? "" : facts->savepoint->id;
    struct named end;
    if (*id == '\0' || is_dropped(facts) || !find_end(facts, &end) || end.origin[0] == '\0') return false;
    const size_t size = strlen(id) < strlen(end.origin) ? strlen(id) : strlen(end.origin);
    return strncmp(end.origin, id, size) == 0;
}

static bool has_other_plan(const struct restart_facts *facts)
{
    const struct weir_ledger_entry *pointer = pointer_of(facts);
    return pointer != NULL && pointer->plan_hash != 0 && facts->plan_hash != 0 &&
           pointer->plan_hash != facts->plan_hash;
}

static enum weir_code stop_for_store(const struct restart_facts *facts, const char *who, const char *store,
                                     struct weir_error *error)
{
    return STOP(error, WEIR_FOREIGN,
                "job '%s' belongs to another checkpoint store: %s names store %s, but %s is store %s. Use that store, "
                "or another job name; --takeover ends the other job's production",
                facts->job, who, store, facts->store_place, facts->store);
}

/* A store or plan that is not ours (R9). The frame of another store is out of reach, so that a takeover has to say
 * where to begin. */
static enum weir_code examine_owner(const struct restart_facts *facts, bool at_savepoint, struct weir_error *error)
{
    const struct weir_ledger_entry *pointer = pointer_of(facts);
    if (at_savepoint) return WEIR_OK; /* another store, another plan: that is what savepoints are for */
    if (is_foreign(facts) && !facts->takeover) return stop_for_store(facts, "its ledger", pointer->store, error);
    if (is_foreign(facts) && !wants_fresh(facts) && !wants_group(facts))
        return STOP(error, WEIR_FOREIGN,
                    "job '%s' can be taken over from store %s only without its state, which is not in %s. Say where to "
                    "begin: --position group (the group's offsets) or --fresh (the configured start)",
                    facts->job, pointer->store, facts->store_place);
    if (has_other_plan(facts) && !facts->takeover)
        return STOP(error, WEIR_FOREIGN,
                    "job '%s' was committed by another plan (%016" PRIx64 ", this one is %016" PRIx64 "): its "
                    "operators or states are not the same. Use another job name, or --takeover if the change is meant",
                    facts->job, pointer->plan_hash, facts->plan_hash);
    return WEIR_OK;
}

/* The same look at the group, which is all there is when the ledger is lost. */
static enum weir_code examine_group(const struct restart_facts *facts, struct weir_error *error)
{
    if (pointer_of(facts) != NULL || facts->takeover) return WEIR_OK;
    for (size_t i = 0; facts->mirrors_expected && i < facts->mirror_count; i++) {
        char store[40], origin[RESTART_ORIGIN_MAX + 1];
        struct weir_frame_name frame;
        if (!restart_metadata_parse(facts->mirrors[i].metadata, store, &frame, origin)) continue;
        if (strcmp(store, facts->store) == 0) continue;
        /* Copied by a mirroring tool from the cluster of the job that the savepoint was taken of. */
        const struct restart_savepoint *savepoint = facts->savepoint;
        if (savepoint != NULL && savepoint->missing == NULL && strcmp(store, savepoint->store) == 0) continue;
        return stop_for_store(facts, "its group", store, error);
    }
    return WEIR_OK;
}

/* A savepoint that cannot be read, or that the job's own history has nothing to do with. */
static enum weir_code examine_savepoint(const struct restart_facts *facts, bool has_history, bool at_savepoint,
                                        struct weir_error *error)
{
    const struct restart_savepoint *savepoint = facts->savepoint;
    if (savepoint == NULL || was_founded_from_savepoint(facts)) return WEIR_OK;
    if (savepoint->missing != NULL) return STOP(error, WEIR_ENVIRONMENT, "%s", savepoint->missing);
    if (!has_history || at_savepoint || wants_fresh(facts)) return WEIR_OK;
    const struct weir_ledger_entry *pointer = pointer_of(facts);
    return STOP(error, WEIR_FOREIGN,
                "job '%s' has a history of its own, up to checkpoint %" PRIu64 "/%" PRIu64 ", which did not begin with the "
                "savepoint %s and does not end there. Start without --from-savepoint to go on, under another --job name "
                "for a second copy, or with --fresh to go back to the savepoint: then output that came later is repeated",
                facts->job, pointer == NULL ? 0 : pointer->frame.incarnation, pointer == NULL ? 0 : pointer->frame.epoch,
                savepoint->place);
}

/* Nobody goes on behind it, so it does not matter whose store and plan it was. Before the fence the record may be one that is
 * never decided: in our own store the fence may tell. */
static enum weir_code examine_dropped(const struct restart_facts *facts, bool is_decided, struct weir_error *error)
{
    const struct weir_frame_name *frame = &pointer_of(facts)->frame;
    if (facts->savepoint != NULL && facts->savepoint->missing != NULL)
        return STOP(error, WEIR_ENVIRONMENT, "%s", facts->savepoint->missing);
    if (facts->drops || facts->savepoint != NULL || wants_fresh(facts)) return WEIR_OK;
    if (!is_decided && !is_foreign(facts)) return WEIR_OK;
    return STOP(error, WEIR_FOREIGN,
                "job '%s' was cancelled and its checkpoints were dropped, at checkpoint %" PRIu64 "/%" PRIu64
                " (execution.checkpointing.externalized-checkpoint-retention: DELETE_ON_CANCELLATION). Begin anew with "
                "--fresh, at the configured start, or with --from-savepoint PATH",
                facts->job, frame->incarnation, frame->epoch);
}

static enum weir_code examine_history(const struct restart_facts *facts, bool is_decided, bool at_savepoint,
                                      struct weir_error *error)
{
    if (is_dropped(facts)) return examine_dropped(facts, is_decided, error);
    enum weir_code code = examine_owner(facts, at_savepoint, error);
    if (code == WEIR_OK) code = examine_group(facts, error);
    if (code == WEIR_OK) code = examine_savepoint(facts, pointer_of(facts) != NULL, at_savepoint, error);
    return code;
}

/* `is_decided`: the records are committed ones, and nobody adds any. */
static enum weir_code examine(const struct restart_facts *facts, bool is_decided,
                              struct restart_examination *examination, struct weir_error *error)
{
    const bool at_savepoint = is_decided ? ends_at_savepoint(facts) : may_end_at_savepoint(facts);
    *examination = (struct restart_examination){ 0 };
    const uint64_t incarnation = incarnation_named(facts);
    if (facts->own_incarnation != 0 && incarnation > facts->own_incarnation)
        return STOP(error, WEIR_FENCED,
                    "job '%s' was taken over by a newer start (incarnation %" PRIu64 ", this one is %" PRIu64 ")",
                    facts->job, incarnation, facts->own_incarnation);
    const enum weir_code code = examine_history(facts, is_decided, at_savepoint, error);
    if (code != WEIR_OK) return code;
    for (size_t i = 0; i < facts->entry_count; i++)
        if (facts->entries[i].handle_count > examination->handles_named)
            examination->handles_named = facts->entries[i].handle_count;
    examination->warn = (is_foreign(facts) || has_other_plan(facts)) && !at_savepoint && !is_dropped(facts);
    if (examination->warn)
        (void)snprintf(examination->text, sizeof examination->text,
                       "--takeover ends the production of job '%s' by store %s, plan %016" PRIx64, facts->job,
                       pointer_of(facts)->store, pointer_of(facts)->plan_hash);
    return WEIR_OK;
}

enum weir_code restart_examine(const struct restart_facts *facts, struct restart_examination *examination,
                               struct weir_error *error)
{
    return examine(facts, false, examination, error);
}

/* ---- After the fence --------------------------------------------------------------------------------------------- */

/* How the group's offsets compare with a frame. */
struct comparison {
    uint32_t equal, absent, late, moved;
    const struct weir_mirror *moved_first; /* with the position that the frame has for it */
    int64_t moved_from;
    const struct weir_mirror *late_first;
};

static const struct weir_mirror *mirror_of(const struct restart_facts *facts, const char *split)
{
    for (size_t i = 0; i < facts->mirror_count; i++)
        if (facts->mirrors[i].position >= 0 && strcmp(facts->mirrors[i].split, split) == 0) return &facts->mirrors[i];
    return NULL;
}

/* A request of an earlier epoch that reached the broker late: the mirror is right, but about an ancestor (R5). At least
 * once mirrors are written behind the ledger, outside of any transaction, and nobody is fenced: they may lag by so much that
 * the frame is gone. */
static bool is_late(const struct restart_facts *facts, const struct restart_frame *frame,
                    const struct weir_mirror *mirror)
{
    const struct weir_ledger_entry *pointer = pointer_of(facts);
    struct named named;
    if (!names_ours(facts, mirror, &named)) return false;
    if (pointer != NULL && !pointer->exactly_once && restart_compare(&named.frame, &frame->name) < 0) return true;
    const struct restart_frame *ancestor = frame_of(facts, &named.frame);
    if (ancestor == NULL || !ancestor->is_ancestor || ancestor->state != RESTART_FRAME_VERIFIED) return false;
    const struct weir_split *split = weir_splits_find(&ancestor->positions, mirror->split);
    return split != NULL && split->position == mirror->position;
}

static struct comparison compare_mirrors(const struct restart_facts *facts, const struct restart_frame *frame)
{
    struct comparison result = { 0 };
    for (size_t i = 0; facts->mirrors_expected && i < frame->positions.count; i++) {
        const struct weir_split *split = &frame->positions.items[i];
        const struct weir_mirror *mirror = mirror_of(facts, split->name);
        if (mirror == NULL) {
            result.absent++;
        } else if (mirror->position == split->position) {
            result.equal++;
        } else if (is_late(facts, frame, mirror)) {
            if (result.late++ == 0) result.late_first = mirror;
        } else if (result.moved++ == 0) {
            result.moved_first = mirror;
            result.moved_from = split->position;
        }
    }
    return result;
}

/* Adds a sentence. */
static void say(struct restart_decision *decision, const char *format, ...) WEIR_PRINTF(2, 3);
static void say(struct restart_decision *decision, const char *format, ...)
{
    const size_t used = strlen(decision->text);
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(decision->text + used, sizeof decision->text - used, format, arguments);
    va_end(arguments);
}

static void warn(struct restart_decision *decision)
{
    decision->warn = true;
    decision->rewrite_mirrors = true;
}

static void decide_found(const struct restart_facts *facts, struct restart_decision *decision)
{
    decision->verdict = RESTART_FOUND;
    decision->origin = RESTART_FROM_NOTHING;
    /* A new name even for a second founding of this process: epoch 0 of the first one has been used. */
    const uint64_t seen = larger(incarnation_named(facts), facts->store_incarnation_max);
    decision->incarnation = larger(seen, facts->own_incarnation) + 1;
    decision->positions_from_group = wants_group(facts);
    decision->from_savepoint = facts->savepoint != NULL;
    if (decision->from_savepoint) (void)snprintf(decision->history, sizeof decision->history, "%s", facts->savepoint->id);
}

static enum weir_code stop_for_history(const struct restart_facts *facts, struct weir_error *error)
{
    return STOP(error, WEIR_FOREIGN,
                "%s holds checkpoints (up to epoch %" PRIu64 "), but neither the ledger of job '%s' nor its group "
                "names any of them: it belongs to another job or cluster, or the ledger was deleted. Give the job a "
                "directory of its own, or begin anew with --fresh",
                facts->store_place, facts->store_epoch_max, facts->job);
}

/* Neither ledger nor group name a frame of ours. */
static enum weir_code decide_without_frame(const struct restart_facts *facts, struct restart_decision *decision,
                                           struct weir_error *error)
{
    /* Barrier 1 comes after a committed epoch 0, so frames of epoch 0 alone are a founding that failed (R4). */
    const bool has_history = facts->store_frame_count > 0 && facts->store_epoch_max > 0;
    const bool has_offsets = facts->mirrors_expected && facts->mirror_count > 0;
    if (has_history) return stop_for_history(facts, error);
    if (has_offsets && !wants_group(facts) && facts->position != RESTART_POSITION_GIVEN)
        return STOP(error, WEIR_POSITION_LOST,
                    "group '%s' has offsets that this job did not write (%s at %" PRId64 "), and there is no ledger. "
                    "Start with --position group to begin there, with --fresh to begin at the configured start, or "
                    "under another job name",
                    facts->job, facts->mirrors[0].split, facts->mirrors[0].position);
    decide_found(facts, decision);
    if (has_offsets) {
        warn(decision);
        say(decision, decision->positions_from_group ? "job '%s' begins at the offsets of its group, as --position group says"
                                                     : "job '%s' begins at positions that were given; its group has other "
                                                       "offsets, which nothing here wrote", facts->job);
    } else {
        say(decision, "job '%s' begins: there is no ledger, no offset and no checkpoint of it", facts->job);
    }
    if (decision->from_savepoint) say(decision, "; its state is that of the savepoint %s", facts->savepoint->place);
    return WEIR_OK;
}

/* R6: nothing else is tried. */
static enum weir_code stop_for_damage(const struct restart_facts *facts, const struct restart_decision *decision,
                                      const struct restart_frame *frame, struct weir_error *error)
{
    const struct weir_frame_name *name = &decision->frame;
    const char *who = decision->origin == RESTART_FROM_LEDGER ? "ledger" : "group's offsets";
    const char *what = frame != NULL && frame->state == RESTART_FRAME_DAMAGED ? "damaged" : "missing";
    const char *problem = frame == NULL ? "" : frame->problem;
    return STOP(error, WEIR_DAMAGED,
                "checkpoint %" PRIu64 "/%" PRIu64 " of job '%s', named by the %s, is %s: file %s at offset %" PRIu64
                " (%" PRIu64 " bytes) in %s%s%s. Bring the file back, or begin anew with --fresh; an older checkpoint "
                "is never used in its place, because its output would come twice",
                name->incarnation, name->epoch, facts->job, who, what, name->file, name->offset, name->length,
                facts->store_place, *problem == '\0' ? "" : ": ", problem);
}

static enum weir_code stop_for_moved(const struct restart_facts *facts, const struct restart_decision *decision,
                                     const struct comparison *found, struct weir_error *error)
{
    return STOP(error, WEIR_POSITION_LOST,
                "somebody moved the offsets of group '%s': %s is at %" PRId64 ", but checkpoint %" PRIu64 "/%" PRIu64
                " is at %" PRId64 " (%" PRIu32 " partitions differ). Start with --position ledger to go on at the "
                "checkpoint, or with --position group to read on at the group's offsets with the checkpoint's state",
                facts->job, found->moved_first->split, found->moved_first->position, decision->frame.incarnation,
                decision->frame.epoch, found->moved_from, found->moved);
}

static void say_mirrors(const struct restart_facts *facts, struct restart_decision *decision,
                        const struct comparison *found)
{
    if (found->moved > 0) {
        warn(decision);
        decision->positions_from_group = facts->position == RESTART_POSITION_GROUP;
        say(decision, "; %" PRIu32 " group offsets were moved (%s to %" PRId64 "), and --position lets the %s decide",
            found->moved, found->moved_first->split, found->moved_first->position,
            decision->positions_from_group ? "group" : "ledger");
    }
    if (found->late > 0) {
        warn(decision);
        say(decision, "; %" PRIu32 " group offsets are an earlier checkpoint's (%s at %" PRId64 "): a late request",
            found->late, found->late_first->split, found->late_first->position);
    }
    if (found->absent > 0) {
        warn(decision);
        say(decision, "; %" PRIu32 " of %" PRIu32 " group offsets are missing and will be written again", found->absent,
            found->absent + found->equal + found->late + found->moved);
    }
}

static enum weir_code decide_restore(const struct restart_facts *facts, struct restart_decision *decision,
                                     struct weir_error *error)
{
    const struct restart_frame *frame = frame_of(facts, &decision->frame);
    if (frame == NULL || frame->state != RESTART_FRAME_VERIFIED) return stop_for_damage(facts, decision, frame, error);
    const struct comparison found = compare_mirrors(facts, frame);
    const bool is_chosen = facts->position == RESTART_POSITION_LEDGER || facts->position == RESTART_POSITION_GROUP;
    if (found.moved > 0 && !is_chosen) return stop_for_moved(facts, decision, &found, error);

    decision->verdict = RESTART_RESTORE;
    const uint64_t seen = larger(incarnation_named(facts), facts->store_incarnation_max);
    decision->incarnation = facts->own_incarnation != 0 ? facts->own_incarnation : seen + 1;
    say(decision, "job '%s' goes on from checkpoint %" PRIu64 "/%" PRIu64, facts->job, decision->frame.incarnation,
        decision->frame.epoch);
    if (decision->origin == RESTART_FROM_METADATA) {
        decision->warn = true;
        say(decision, "; the group's offsets name it, the ledger %s and is written anew",
            pointer_of(facts) == NULL ? "is missing" : "ends with an older one");
    }
    /* A start that is repeated names the savepoint again, when the history has gone on behind it. */
    struct named end;
    if (ends_at_savepoint(facts))
        (void)snprintf(decision->history, sizeof decision->history, "%s", facts->savepoint->id);
    else if (find_end(facts, &end))
        (void)snprintf(decision->history, sizeof decision->history, "%s", end.origin);
    if (facts->savepoint != NULL)
        say(decision, ends_at_savepoint(facts) ? ", where the savepoint %s was taken" : "; it began with the savepoint %s "
            "already", facts->savepoint->place);
    say_mirrors(facts, decision, &found);
    return WEIR_OK;
}

/* A person wants an older one of the history, and knows the price (R6 is about who does not). Once: not when the
 * history ends with a commit of this process, which the record of a roll-back behind it names again. */
static bool wants_older(const struct restart_facts *facts)
{
    const struct weir_ledger_entry *pointer = pointer_of(facts);
    const uint64_t own = facts->own_incarnation;
    struct named end;
    const bool is_done = own != 0 && find_end(facts, &end) && end.frame.incarnation == own;
    return facts->older != NULL && pointer != NULL && !is_done;
}

static enum weir_code decide_older(const struct restart_facts *facts, struct restart_decision *decision,
                                   struct weir_error *error)
{
    const struct restart_frame *older = facts->older;
    const struct weir_frame_name newest = decision->frame;
    if (older->state != RESTART_FRAME_VERIFIED)
        return STOP(error, older->state == RESTART_FRAME_DAMAGED ? WEIR_DAMAGED : WEIR_ENVIRONMENT,
                    "checkpoint %" PRIu64 " of job '%s', which --checkpoint names, is not retained in %s, or not whole%s%s; "
                    "'weir checkpoint ls' lists those that are (execution.checkpointing.num-retained)",
                    older->name.epoch, facts->job, facts->store_place, older->problem[0] == '\0' ? "" : ": ",
                    older->problem);
    decision->verdict = RESTART_RESTORE;
    decision->frame = older->name;
    const uint64_t seen = larger(incarnation_named(facts), facts->store_incarnation_max);
    decision->incarnation = facts->own_incarnation != 0 ? facts->own_incarnation : seen + 1;
    (void)snprintf(decision->history, sizeof decision->history, "%s", pointer_of(facts)->origin);
    say(decision, "job '%s' goes back to checkpoint %" PRIu64 "/%" PRIu64 ", as --checkpoint says: output that was committed "
        "behind it, up to %" PRIu64 "/%" PRIu64 ", comes a second time", facts->job, older->name.incarnation,
        older->name.epoch, newest.incarnation, newest.epoch);
    warn(decision);
    return WEIR_OK;
}

/* The same history, in another store. */
static enum weir_code decide_continue(const struct restart_facts *facts, struct restart_decision *decision,
                                      struct weir_error *error)
{
    decision->frame = facts->savepoint->frame.name;
    const struct comparison found = compare_mirrors(facts, &facts->savepoint->frame);
    if (found.moved > 0 && facts->position == RESTART_POSITION_UNSET)
        return stop_for_moved(facts, decision, &found, error);
    decision->frame = (struct weir_frame_name){ 0 };
    decide_found(facts, decision);
    say(decision, "job '%s' goes on from the savepoint %s, with which its ledger ends, in %s", facts->job,
        facts->savepoint->place, facts->store_place);
    say_mirrors(facts, decision, &found);
    decision->positions_from_group = wants_group(facts);
    decision->rewrite_mirrors = true;
    return WEIR_OK;
}

/* What is dropped is not looked at: it may be damaged, or gone already. */
static enum weir_code decide_drop(const struct restart_facts *facts, struct restart_decision *decision)
{
    const struct weir_ledger_entry *pointer = pointer_of(facts);
    const uint64_t seen = larger(incarnation_named(facts), facts->store_incarnation_max);
    decision->incarnation = facts->own_incarnation != 0 ? facts->own_incarnation : seen + 1;
    if (pointer == NULL || is_foreign(facts)) {
        decision->verdict = RESTART_FOUND;
        say(decision, "job '%s' has committed nothing that could be dropped", facts->job);
        return WEIR_OK;
    }
    decision->verdict = RESTART_RESTORE;
    decision->origin = RESTART_FROM_LEDGER;
    decision->frame = pointer->frame;
    (void)snprintf(decision->history, sizeof decision->history, "%s", pointer->origin);
    say(decision, "job '%s' was cancelled at checkpoint %" PRIu64 "/%" PRIu64 ", and nothing of it is kept", facts->job,
        decision->frame.incarnation, decision->frame.epoch);
    return WEIR_OK;
}

enum weir_code restart_decide(const struct restart_facts *facts, struct restart_decision *decision,
                              struct weir_error *error)
{
    struct restart_examination examination;
    *decision = (struct restart_decision){ .verdict = RESTART_STOP };
    const enum weir_code code = examine(facts, true, &examination, error);
    if (code != WEIR_OK) return code;

    if (facts->drops) return decide_drop(facts, decision);
    if (ends_at_savepoint(facts) && (is_foreign(facts) || facts->savepoint->is_changed) && !wants_fresh(facts))
        return decide_continue(facts, decision, error);
    /* Examined: then somebody has said where to begin. */
    if (wants_fresh(facts) || is_foreign(facts) || is_dropped(facts)) {
        decide_found(facts, decision);
        warn(decision);
        say(decision, "job '%s' begins a new history%s, as %s says; earlier output stays as it is", facts->job,
            decision->positions_from_group ? " at the group's offsets" : "",
            wants_fresh(facts) ? "--fresh" : is_dropped(facts) ? "--from-savepoint" : "--takeover");
        if (decision->from_savepoint) say(decision, "; its state is that of the savepoint %s", facts->savepoint->place);
        return WEIR_OK;
    }
    const struct weir_ledger_entry *pointer = pointer_of(facts);
    struct named mirrored;
    const bool has_mirrored = newest_mirrored(facts, &mirrored);
    if (pointer == NULL && !has_mirrored) return decide_without_frame(facts, decision, error);
    if (pointer == NULL) {
        const enum weir_code lost = examine_savepoint(facts, true, ends_at_savepoint(facts), error);
        if (lost != WEIR_OK) return lost;
    }

    const bool ledger_decides =
        pointer != NULL && (!has_mirrored || restart_compare(&mirrored.frame, &pointer->frame) <= 0);
    decision->origin = ledger_decides ? RESTART_FROM_LEDGER : RESTART_FROM_METADATA;
    decision->frame = ledger_decides ? pointer->frame : mirrored.frame;
    if (wants_older(facts) && restart_compare(&facts->older->name, &decision->frame) != 0)
        return decide_older(facts, decision, error);
    return decide_restore(facts, decision, error);
}
