/* What the tests of the restart table share: four checkpoints, and facts about a cluster and a store that hold some of them.
 * For one program each: everything here is its own. */
#ifndef TRACE_RESTART_FACTS_H
#define TRACE_RESTART_FACTS_H

#include "checkpoint/restart.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "harness/unit.h"

#define STORE "0f3c"
#define OTHER_STORE "beef"

/* Four checkpoints, one the parent of the next: name, and the positions of topic/0 and topic/1. */
struct checkpoint {
    uint64_t incarnation, epoch;
    int64_t positions[2];
};
static const struct checkpoint checkpoints[] = {
    { 1, 0, { 0, 0 } }, { 1, 1, { 100, 7 } }, { 2, 2, { 200, 7 } }, { 2, 3, { 300, 9 } }
};
enum { FRAMES = sizeof checkpoints / sizeof checkpoints[0] };

/* What a test sees, made anew for each row. */
static struct weir_ledger_entry entries[4];
static struct weir_mirror mirrors[4];
static const char *group_origin; /* the savepoint that the group says the history began with */
static struct weir_split splits[FRAMES][2];
static struct restart_frame frames[FRAMES];
static struct restart_facts facts;
static struct restart_decision decision;
static struct weir_error error;

static inline struct weir_frame_name name_of(uint32_t index)
{
    const struct checkpoint *checkpoint = &checkpoints[index];
    struct weir_frame_name name = {
        .incarnation = checkpoint->incarnation, .epoch = checkpoint->epoch, .offset = 4096 * checkpoint->epoch,
        .length = 1000, .hash = 0xabc + checkpoint->epoch
    };
    (void)snprintf(name.file, sizeof name.file, "log-%" PRIu64 "-1", checkpoint->incarnation);
    return name;
}

static inline void build_frame(uint32_t index)
{
    static const char *const names[] = { "topic/0", "topic/1" };
    for (uint32_t split = 0; split < 2; split++)
        splits[index][split] = (struct weir_split){
            .name = names[split], .identity = "", .position = checkpoints[index].positions[split]
        };
    frames[index] = (struct restart_frame){
        .name = name_of(index), .state = RESTART_FRAME_VERIFIED, .positions = { 2, splits[index] }
    };
}

/* A store with all checkpoints in it, a cluster with nothing. */
static inline void nothing_on_the_cluster(void)
{
    for (uint32_t i = 0; i < FRAMES; i++) build_frame(i);
    memset(mirrors, 0, sizeof mirrors);
    memset(entries, 0, sizeof entries);
    group_origin = "";
    memset(&error, 0, sizeof error);
    facts = (struct restart_facts){
        .job = "count", .store = STORE, .store_place = "/var/lib/weir", .store_incarnation_max = 2,
        .store_frame_count = FRAMES, .store_epoch_max = 3, .plan_hash = 77, .ring_size = 2, .entries = entries,
        .mirrors = mirrors, .mirrors_expected = true, .frames = frames, .frame_count = FRAMES
    };
}

static inline void empty_store(void)
{
    facts.store_incarnation_max = facts.store_frame_count = facts.store_epoch_max = 0;
    facts.frame_count = 0;
}

/* The ledger ends with checkpoint `index`; the ones before it are its ancestors. */
static inline void ledger_names(uint32_t index)
{
    struct weir_ledger_entry *entry = &entries[facts.entry_count++];
    *entry = (struct weir_ledger_entry){
        .kind = WEIR_LEDGER_COMMIT, .store = STORE, .job = "count", .slot = "0", .frame = name_of(index),
        .incarnation = checkpoints[index].incarnation, .epoch = checkpoints[index].epoch, .handle_count = 2,
        .plan_hash = 77, .exactly_once = true
    };
    for (uint32_t i = 0; i < FRAMES; i++) frames[i].is_ancestor = i < index;
}

/* The group's offset of topic/`split` is `position`, with the metadata of checkpoint `index` (or of nobody). */
enum { NOBODY = 99 };
static inline void group_has(uint32_t split, int64_t position, uint32_t index)
{
    struct weir_mirror *mirror = &mirrors[facts.mirror_count++];
    *mirror = (struct weir_mirror){ .position = position };
    (void)snprintf(mirror->split, sizeof mirror->split, "topic/%" PRIu32, split);
    if (index == NOBODY) return;
    const struct weir_frame_name name = name_of(index);
    ck_assert(restart_metadata_encode(STORE, &name, group_origin, mirror->metadata));
}

static inline void group_equals(uint32_t index)
{
    group_has(0, checkpoints[index].positions[0], index);
    group_has(1, checkpoints[index].positions[1], index);
}

static inline void dropped_at(uint32_t index)
{
    ledger_names(index);
    entries[facts.entry_count - 1].kind = WEIR_LEDGER_DROPPED;
    frames[index].state = RESTART_FRAME_MISSING;
}

static inline enum weir_code decide(void)
{
    return restart_decide(&facts, &decision, &error);
}

static inline void expect_restore(uint32_t index, enum restart_origin origin, bool warn)
{
    ck_assert_msg(decide() == WEIR_OK, "%s", error.text);
    ck_assert_int_eq(decision.verdict, RESTART_RESTORE);
    ck_assert_int_eq(decision.origin, origin);
    ck_assert_uint_eq(decision.frame.incarnation, checkpoints[index].incarnation);
    ck_assert_uint_eq(decision.frame.epoch, checkpoints[index].epoch);
    ck_assert_str_eq(decision.frame.file, name_of(index).file);
    ck_assert_msg(decision.warn == warn, "%s", decision.text);
    ck_assert_msg(strlen(decision.text) > 0, "says what it found");
}

static inline void expect_found(bool warn)
{
    ck_assert_msg(decide() == WEIR_OK, "%s", error.text);
    ck_assert_int_eq(decision.verdict, RESTART_FOUND);
    ck_assert_msg(decision.warn == warn, "%s", decision.text);
}

/* Stops with `code` and a sentence that has `words` in it. */
static inline void expect_stop(enum weir_code code, const char *words)
{
    ck_assert_msg(decide() == code, "%s: %s", weir_code_name(code), error.text);
    ck_assert_int_eq(error.code, code);
    ck_assert_int_eq(error.remedy, WEIR_REMEDY_STOP);
    ck_assert_int_eq(decision.verdict, RESTART_STOP);
    ck_assert_msg(strstr(error.text, words) != NULL, "'%s' has no '%s'", error.text, words);
}

#endif
