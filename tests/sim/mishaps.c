#include "sim/mishaps.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "checkpoint/restart.h"
#include "sim/cluster.h"
#include "sim/fate.h"
#include "sim/load.h"
#include "sim/oracle.h"
#include "sim/savepoints.h"
#include "sim/tale.h"
#include "sim/timed_disk.h"
#include "sim/weather.h"
#include "sim/world.h"

enum phase { NONE, STRUCK, ANSWERED };

/* Strikes when it can, and says with which code a life ends then; WEIR_OK: with none, because the job goes on. `answer` is
 * what a person does about it. */
struct mishap {
    const char *name;
    bool (*strike)(void);
    enum weir_code code;
    bool may_pass; /* nobody may ever notice */
    void (*answer)(void);
};

/* A partition of an input or output, by the author's own names. */
struct place {
    const char *topic;
    int32_t partition;
};

/* What the group says of a partition. */
struct mirror {
    int64_t position;
    char metadata[256]; /* "" = nothing is known */
};

static struct {
    const struct weir_test_job *test;
    char ledger[96];
    bool is_followed, is_copied;
    enum phase phase;
    uint32_t answered; /* starts when it was answered last */
    const struct mishap *mishap;
    uint64_t progress; /* when it struck, or was answered */
    struct mishap_choice choice;
    struct place place; /* that it is about */
    int64_t position;
    int32_t partitions;
    char path[256]; /* of a damaged file; "" = none */
    char epoch[24]; /* to go back to */
    uint32_t input_lost;  /* the newest commit when the input lost something */
    uint32_t returned_to; /* what was before that has made room for what was given up */
    void *contents; /* as it was */
    uint64_t size;
    struct mirror before, now; /* of partition 0 of the first input, as commits left it */
} mishaps;

static const struct mishap_choice
    fresh = { .keys = { "start.fresh" }, .values = { "true" }, .founds = true },
    by_ledger = { .keys = { "start.position" }, .values = { "ledger" } },
    by_group = { .keys = { "start.position" }, .values = { "group" } };

bool mishaps_have_struck(void) { return mishaps.phase == STRUCK && !mishaps.mishap->may_pass; }
bool mishaps_may_show(void) { return mishaps.phase != NONE; }
bool mishaps_are_pending(void) { return mishaps.phase == ANSWERED || mishaps_have_struck(); }

/* ---- What there is to be lost ------------------------------------------------------------------------------------ */

static int64_t offset_at(const struct place *place, int64_t spec)
{
    const struct model_place at = { place->topic, place->partition };
    int64_t offset = 0;
    CHECK(model_list_offset(cluster_model(), &at, spec, true, &offset) == MODEL_OK);
    return offset;
}

static uint32_t count_topics(const struct weir_test_topic topics[WEIR_TEST_TOPICS_MAX])
{
    uint32_t count = 0;
    while (count < WEIR_TEST_TOPICS_MAX && topics[count].name != NULL) count++;
    return count;
}

static int32_t count_partitions(const char *topic)
{
    uint64_t id;
    int32_t count = 0;
    return model_describe_topic(cluster_model(), topic, &id, &count) == MODEL_OK ? count : 0;
}

/* Any partition of the inputs: `mishaps.place`. */
static bool draw_input(void)
{
    const char *topic = mishaps.test->inputs[fate_below(count_topics(mishaps.test->inputs))].name;
    const int32_t count = count_partitions(topic);
    if (count == 0) return false;
    mishaps.place = (struct place){ topic, (int32_t)fate_below((uint64_t)count) };
    return true;
}

struct mirrors {
    uint32_t equal, others;
};

static void compare_mirror(void *user, const struct model_offset *offset)
{
    struct mirrors *mirrors = user;
    int64_t position;
    for (uint32_t i = 0; i < count_topics(mishaps.test->inputs); i++) {
        const char *topic = mishaps.test->inputs[i].name;
        if (strcmp(topic, offset->topic) != 0) continue;
        if (oracle_position(topic, offset->partition, &position) && position == offset->offset) mirrors->equal++;
        else mirrors->others++;
    }
}

static uint32_t count_known_inputs(void)
{
    uint32_t known = 0;
    int64_t position;
    for (uint32_t i = 0; i < count_topics(mishaps.test->inputs); i++) {
        const char *topic = mishaps.test->inputs[i].name;
        for (int32_t k = 0, count = count_partitions(topic); k < count; k++)
            known += oracle_position(topic, k, &position);
    }
    return known;
}

/* The group stands where the job does, in every partition that it reads. */
static bool has_all_mirrors(void)
{
    struct mirrors mirrors = { 0 };
    return model_offset_fetch(cluster_model(), mishaps.test->name, true, compare_mirror, &mirrors) == MODEL_OK &&
           mirrors.others == 0 && mirrors.equal == count_known_inputs();
}

/* A tool tries until it is answered. */
static void set_group(int64_t position, const char *metadata)
{
    model_coordinators_back(cluster_model());
    const struct model_offset offset = { mishaps.place.topic, mishaps.place.partition, position, metadata };
    CHECK(model_offset_commit(cluster_model(), mishaps.test->name, &offset, 1) == MODEL_OK);
}

struct search {
    const char *file; /* the end of a path; NULL = any */
    uint64_t chosen, count;
};

static void find_file(void *user, const char *path, uint64_t size)
{
    struct search *search = user;
    const char *name = strrchr(path, '/') + 1;
    char directory[128];
    (void)snprintf(directory, sizeof directory, "%s/%s/", lives_directory(), mishaps.test->name);
    if (strncmp(path, directory, strlen(directory)) != 0 || size == 0 ||
        (search->file != NULL && strcmp(name, search->file) != 0)) return;
    if (search->count++ != search->chosen) return;
    (void)snprintf(mishaps.path, sizeof mishaps.path, "%s", path);
}

/* ---- The group ---------------------------------------------------------------------------------------------------- */

struct metadata {
    char text[256];
};

static void copy_metadata(void *user, const struct model_offset *offset)
{
    if (offset->partition == mishaps.place.partition && strcmp(offset->topic, mishaps.place.topic) == 0)
        (void)snprintf(((struct metadata *)user)->text, sizeof ((struct metadata *)user)->text, "%s", offset->metadata);
}

/* What the tool that moves an offset leaves as metadata: nothing, something of its own, or what was there. */
static struct metadata draw_metadata(void)
{
    struct metadata metadata = { "" };
    switch (fate_below(3)) {
    case 0: break;
    case 1: metadata = (struct metadata){ "by hand" }; break;
    default:
        CHECK(model_offset_fetch(cluster_model(), mishaps.test->name, true, copy_metadata, &metadata) == MODEL_OK);
    }
    return metadata;
}

static bool offsets_are_moved(void)
{
    int64_t position;
    if (!has_all_mirrors() || !draw_input() ||
        !oracle_position(mishaps.place.topic, mishaps.place.partition, &position))
        return false;
    const int64_t first = offset_at(&mishaps.place, MODEL_EARLIEST), end = offset_at(&mishaps.place, MODEL_LATEST);
    if (first >= end) return false;
    mishaps.position = first + (int64_t)fate_below((uint64_t)(end - first));
    if (mishaps.position == position) mishaps.position = end;
    if (mishaps.position == position) return false;
    const struct metadata metadata = draw_metadata();
    if (!fate_strikes(FATE_mishaps, "somebody moves the group's offset of %s/%d to %" PRId64 ", '%s'",
                      mishaps.place.topic, (int)mishaps.place.partition, mishaps.position, metadata.text))
        return false;
    set_group(mishaps.position, metadata.text);
    world_seen()->moved_offsets++;
    return true;
}

/* Of the newest commit, in the same history. */
static bool is_ancestor(const struct weir_frame_name *frame)
{
    uint32_t chapter = oracle_chapter();
    while (chapter > 0 && chapter != oracle_chapter_of(frame->incarnation, frame->epoch)) chapter = oracle_before(chapter);
    return chapter > 0;
}

/* What a request of an earlier checkpoint does that comes late. */
static bool offsets_go_back(void)
{
    int64_t position;
    char store[40], origin[RESTART_ORIGIN_MAX + 1];
    struct weir_frame_name frame;
    const struct mirror *before = &mishaps.before;
    mishaps.place = (struct place){ mishaps.test->inputs[0].name, 0 };
    if (!has_all_mirrors() || !oracle_position(mishaps.place.topic, 0, &position) || position == before->position ||
        !restart_metadata_parse(before->metadata, store, &frame, origin) || !is_ancestor(&frame))
        return false;
    struct search search = { .file = frame.file };
    mishaps.path[0] = '\0';
    disk_model_each_file(timed_disk_model(), find_file, &search);
    if (mishaps.path[0] == '\0' || !fate_strikes(FATE_mishaps, "the group goes back to %" PRId64 " in %s/0, '%s'",
                                                 before->position, mishaps.place.topic, before->metadata))
        return false;
    set_group(before->position, before->metadata);
    world_seen()->late_mirrors++;
    return true;
}

static void note_mirror(void *user, const struct model_offset *offset)
{
    struct mirror *mirror = user;
    if (offset->partition != 0 || strcmp(offset->topic, mishaps.test->inputs[0].name) != 0) return;
    mirror->position = offset->offset;
    (void)snprintf(mirror->metadata, sizeof mirror->metadata, "%s", offset->metadata);
}

static void watch_mirror(void)
{
    struct mirror now = { 0 };
    if (model_offset_fetch(cluster_model(), mishaps.test->name, true, note_mirror, &now) != MODEL_OK ||
        strcmp(now.metadata, mishaps.now.metadata) == 0)
        return;
    mishaps.before = mishaps.now;
    mishaps.now = now;
}

static void choose_position(void) { mishaps.choice = fate_percent(50) ? by_ledger : by_group; }

/* A reset to where it stood already is no move. */
static bool metadata_is_lost(void)
{
    int64_t position;
    if (!has_all_mirrors() || !draw_input() ||
        !oracle_position(mishaps.place.topic, mishaps.place.partition, &position) ||
        !fate_strikes(FATE_mishaps, "the group's offset of %s/%d loses its metadata", mishaps.place.topic,
                      (int)mishaps.place.partition))
        return false;
    set_group(position, "");
    world_seen()->lost_metadata++;
    return true;
}

/* ---- The ledger --------------------------------------------------------------------------------------------------- */

static bool ledger_is_deleted(void)
{
    if (!has_all_mirrors() || !fate_strikes(FATE_mishaps, "the ledger's topic is deleted")) return false;
    (void)model_delete_topic(cluster_model(), mishaps.ledger);
    world_seen()->lost_ledgers++;
    return true;
}

/* A founding that nothing has followed is no history: it may come again. */
static bool ledger_and_group_are_deleted(void)
{
    if (oracle_frame().epoch == 0 || !fate_strikes(FATE_mishaps, "the ledger's topic is deleted, and the group")) return false;
    (void)model_delete_topic(cluster_model(), mishaps.ledger);
    model_forget_group(cluster_model(), mishaps.test->name);
    world_seen()->lost_histories++;
    return true;
}

struct records {
    int64_t offsets[8]; /* of the newest ones that begin a transaction */
    size_t count;
    uint64_t incarnation, epoch; /* of the last commit */
};

static bool note_record(void *user, const struct model_record *record)
{
    struct records *records = user;
    struct weir_ledger_entry entry;
    struct weir_error error;
    memset(&entry, 0, sizeof entry);
    CHECK(weir_ledger_decode(record->value, &entry, &error) == WEIR_OK);
    const bool is_commit = entry.kind == WEIR_LEDGER_COMMIT;
    /* A frame that had to go to another place brings a second record. */
    const bool is_again = is_commit && entry.incarnation == records->incarnation && entry.epoch == records->epoch;
    if (!is_again) records->offsets[records->count++ % 8] = record->offset;
    if (is_commit) {
        records->incarnation = entry.incarnation;
        records->epoch = entry.epoch;
    }
    /* What led to a founding may be of another store: there the group would not help. */
    if (entry.incarnation < oracle_founder() || (is_commit && entry.epoch == 0)) records->count = 0;
    weir_ledger_entry_clear(&entry);
    return true;
}

/* Where the loss of a tail begins: between transactions, or the rest of one would be open for ever. */
static bool draw_tail(int64_t *offset)
{
    const struct model_place ledger = { mishaps.ledger, 0 };
    struct records records = { 0 };
    int64_t first, next;
    if (!has_all_mirrors() || model_list_offset(cluster_model(), &ledger, MODEL_EARLIEST, false, &first) != MODEL_OK ||
        model_fetch(cluster_model(), &ledger, first, true, SIZE_MAX, note_record, &records, &next) != MODEL_OK ||
        records.count == 0)
        return false;
    const uint64_t kept = records.count < 8 ? records.count : 8;
    *offset = records.offsets[(records.count - 1 - fate_below(kept)) % 8];
    return true;
}

static void lose_tail(int64_t offset)
{
    const struct model_place ledger = { mishaps.ledger, 0 };
    CHECK(model_lose_tail(cluster_model(), &ledger, offset) == MODEL_OK);
    world_seen()->lost_tails++;
}

static bool ledger_loses_its_tail(void)
{
    int64_t offset;
    if (!draw_tail(&offset)) return false;
    if (!fate_strikes(FATE_mishaps, "the ledger loses what is at %" PRId64 " and above", offset)) return false;
    lose_tail(offset);
    return true;
}

static void begin_anew(void) { mishaps.choice = fresh; }

/* ---- The store ---------------------------------------------------------------------------------------------------- */

/* Keeps a copy of what is about to be damaged. */
static void keep_copy(void)
{
    const char *contents = disk_model_contents(timed_disk_model(), mishaps.path, &mishaps.size);
    CHECK(contents != NULL);
    free(mishaps.contents);
    mishaps.contents = malloc(mishaps.size);
    CHECK(mishaps.contents != NULL);
    memcpy(mishaps.contents, contents, mishaps.size);
}

/* Somewhere from `offset` on. */
static bool damage(uint64_t offset, uint64_t length)
{
    const uint64_t at = offset + fate_below(length), bit = fate_below(8), way = fate_below(4);
    keep_copy();
    switch (way) {
    case 0:
        if (!fate_strikes(FATE_mishaps, "%s is cut at %" PRIu64, mishaps.path, at)) return false;
        (void)disk_model_truncate(timed_disk_model(), mishaps.path, at);
        break;
    case 1:
        if (!fate_strikes(FATE_mishaps, "%s is gone", mishaps.path)) return false;
        (void)disk_model_take_away(timed_disk_model(), mishaps.path);
        break;
    default:
        if (!fate_strikes(FATE_mishaps, "a bit flips in %s at %" PRIu64, mishaps.path, at)) return false;
        (void)disk_model_flip_bit(timed_disk_model(), mishaps.path, at * 8 + bit);
    }
    world_seen()->damages++;
    return true;
}

static bool frame_is_damaged(void)
{
    const struct weir_frame_name frame = oracle_frame();
    struct search search = { .file = frame.file };
    if (weather_disk_is_bad()) return false;
    mishaps.path[0] = '\0';
    disk_model_each_file(timed_disk_model(), find_file, &search);
    return mishaps.path[0] != '\0' && damage(frame.offset, frame.length);
}

/* The second witness does not help where the frame itself is broken. */
static bool frame_is_damaged_and_ledger_deleted(void)
{
    if (!has_all_mirrors() || !frame_is_damaged()) return false;
    (void)model_delete_topic(cluster_model(), mishaps.ledger);
    return true;
}

static bool frame_is_damaged_and_ledger_loses_its_tail(void)
{
    int64_t offset;
    if (!draw_tail(&offset) || !frame_is_damaged()) return false;
    lose_tail(offset);
    return true;
}

static bool any_file_is_damaged(void)
{
    struct search search = { .chosen = UINT64_MAX };
    if (weather_disk_is_bad()) return false;
    disk_model_each_file(timed_disk_model(), find_file, &search);
    if (search.count == 0) return false;
    search = (struct search){ .chosen = fate_below(search.count) };
    disk_model_each_file(timed_disk_model(), find_file, &search);
    keep_copy();
    return damage(0, mishaps.size);
}

static void bring_back(void) { CHECK(disk_model_put(timed_disk_model(), mishaps.path, mishaps.contents, mishaps.size)); }

static void bring_back_or_begin_anew(void)
{
    if (fate_percent(60)) bring_back();
    else begin_anew();
}

/* ---- Topics ------------------------------------------------------------------------------------------------------- */

/* Positions of earlier checkpoints mean nothing any more. */
static void forget_the_past(void)
{
    savepoints_forget();
    mishaps.input_lost = oracle_chapter();
}

static bool input_is_trimmed(void)
{
    int64_t position;
    if (mishaps.is_copied || !draw_input() ||
        !oracle_position(mishaps.place.topic, mishaps.place.partition, &position))
        return false;
    const int64_t end = offset_at(&mishaps.place, MODEL_LATEST);
    if (position >= end || !has_all_mirrors()) return false;
    mishaps.position = position + 1 + (int64_t)fate_below((uint64_t)(end - position));
    const struct model_place at = { mishaps.place.topic, mishaps.place.partition };
    if (!fate_strikes(FATE_mishaps, "%s/%d is trimmed to %" PRId64 ", behind where the job stands", at.topic, (int)at.partition,
                      mishaps.position))
        return false;
    CHECK(model_trim(cluster_model(), &at, mishaps.position) == MODEL_OK);
    forget_the_past();
    world_seen()->lost_inputs++;
    return true;
}

/* Resets the group to what is left, as a tool does, and lets it decide. */
static void reset_or_begin_anew(void)
{
    if (fate_percent(50)) {
        begin_anew();
        return;
    }
    mishaps.choice = by_group;
    set_group(mishaps.position, "");
}

static bool topic_is_deleted(const struct weir_test_topic topics[WEIR_TEST_TOPICS_MAX])
{
    const uint32_t count = count_topics(topics);
    if (count == 0 || !load_end()) return false;
    mishaps.place.topic = topics[fate_below(count)].name;
    mishaps.partitions = count_partitions(mishaps.place.topic);
    if (mishaps.partitions == 0 || !fate_strikes(FATE_mishaps, "topic '%s' is deleted", mishaps.place.topic)) return false;
    CHECK(model_delete_topic(cluster_model(), mishaps.place.topic) == MODEL_OK);
    return true;
}

static void make_topic(void)
{
    (void)model_create_topic(cluster_model(), mishaps.place.topic, mishaps.partitions, false);
    world_trace("topic '%s' is made anew", mishaps.place.topic);
}

static bool input_is_deleted(void)
{
    if (mishaps.is_copied || !topic_is_deleted(mishaps.test->inputs)) return false;
    forget_the_past();
    world_seen()->deleted_inputs++;
    return true;
}

static bool input_is_made_anew(void)
{
    if (!input_is_deleted()) return false;
    make_topic();
    return true;
}

static bool output_is_deleted(void)
{
    if (mishaps.is_followed || !topic_is_deleted(mishaps.test->outputs)) return false;
    world_seen()->deleted_outputs++;
    return true;
}

static void make_topic_and_begin_anew(void)
{
    make_topic();
    begin_anew();
}

/* ---- Savepoints, and other stores --------------------------------------------------------------------------------- */

/* Begins anew with what the choice says so far, perhaps in the other directory. */
static void found(struct oracle_origin origin, bool elsewhere)
{
    mishaps.choice.founds = true;
    mishaps.choice.origin = origin;
    if (elsewhere) lives_change_directory();
}

static void choose(size_t index, const char *key, const char *value)
{
    mishaps.choice.keys[index] = key;
    mishaps.choice.values[index] = value;
}

/* A person goes back to a savepoint, output that came later or not. */
static bool job_goes_back(void)
{
    if (savepoints_count() == 0) return false;
    const struct known_savepoint *savepoint = savepoints_at(fate_below(savepoints_count()));
    const bool elsewhere = fate_percent(40);
    if (!fate_strikes(FATE_mishaps, "a person goes back to %s%s", savepoint->path, elsewhere ? ", in another store" : ""))
        return false;
    (void)snprintf(mishaps.path, sizeof mishaps.path, "%s", savepoint->path);
    choose(0, "start.fresh", "true");
    choose(1, "execution.savepoint.path", mishaps.path);
    if (elsewhere) choose(2, "start.takeover", "true");
    found((struct oracle_origin){ .chapter = savepoint->chapter }, elsewhere);
    world_seen()->goings_back++;
    return true;
}

/* The job's history ends with a savepoint, and goes on from it: where it was, or in another store. */
static bool job_moves(void)
{
    const size_t count = savepoints_count();
    const struct known_savepoint *last = count == 0 ? NULL : savepoints_at(count - 1);
    const bool elsewhere = fate_percent(60);
    if (last == NULL || last->chapter != oracle_chapter() ||
        !fate_strikes(FATE_mishaps, "the job goes on from %s%s", last->path, elsewhere ? ", in another store" : ""))
        return false;
    (void)snprintf(mishaps.path, sizeof mishaps.path, "%s", last->path);
    choose(0, "execution.savepoint.path", mishaps.path);
    mishaps.choice.origin.chapter = last->chapter;
    if (elsewhere) found(mishaps.choice.origin, true);
    world_seen()->moves++;
    return true;
}

/* An older checkpoint that is retained, of this history, behind its founding; 0 = there is none. */
static uint32_t draw_retained(void)
{
    uint32_t chapter = lives_retained() > 1 ? oracle_chapter() : 0;
    for (uint64_t back = chapter > 0 ? 1 + fate_below(lives_retained() - 1) : 0; back > 0 && chapter > 0; back--)
        chapter = oracle_before(chapter);
    if (chapter <= mishaps.input_lost || chapter < mishaps.returned_to) return 0;
    return oracle_epoch_of(chapter) == 0 ? 0 : chapter;
}

/* A person goes back to a retained checkpoint (--checkpoint), and knows that output comes again. */
static bool job_returns(void)
{
    const uint32_t chapter = draw_retained();
    if (chapter == 0 || !has_all_mirrors() ||
        !fate_strikes(FATE_mishaps, "a person goes back to the checkpoint of epoch %" PRIu64, oracle_epoch_of(chapter)))
        return false;
    (void)snprintf(mishaps.epoch, sizeof mishaps.epoch, "%" PRIu64, oracle_epoch_of(chapter));
    choose(0, "start.checkpoint", mishaps.epoch);
    oracle_allow_return(chapter);
    mishaps.returned_to = chapter;
    return true;
}

/* Another store, without any state: from where the group stands, or from the beginning. */
static bool job_is_taken_over(void)
{
    const bool by_offsets = fate_percent(50);
    if (!has_all_mirrors() ||
        !fate_strikes(FATE_mishaps, "another store takes over, %s", by_offsets ? "where the group stands" : "from the beginning"))
        return false;
    choose(0, "start.takeover", "true");
    choose(1, by_offsets ? "start.position" : "start.fresh", by_offsets ? "group" : "true");
    found((struct oracle_origin){ .keeps_positions = by_offsets }, true);
    world_seen()->takeovers++;
    return true;
}

/* ---- From strike to end ------------------------------------------------------------------------------------------- */

static const struct mishap all[] = {
    { "somebody moved the group's offsets", offsets_are_moved, WEIR_POSITION_LOST, false, choose_position },
    { "the group has lost metadata", metadata_is_lost, WEIR_OK, false, NULL },
    { "a request came late", offsets_go_back, WEIR_OK, false, NULL },
    { "the ledger is lost", ledger_is_deleted, WEIR_OK, false, NULL },
    { "the ledger has lost its tail", ledger_loses_its_tail, WEIR_OK, false, NULL },
    { "ledger and group are lost", ledger_and_group_are_deleted, WEIR_FOREIGN, false, begin_anew },
    { "the frame is damaged", frame_is_damaged, WEIR_DAMAGED, false, bring_back_or_begin_anew },
    { "the frame is damaged, and the ledger lost", frame_is_damaged_and_ledger_deleted, WEIR_DAMAGED, false, bring_back },
    { "the frame is damaged, and the ledger has lost its tail", frame_is_damaged_and_ledger_loses_its_tail, WEIR_DAMAGED,
      false, bring_back },
    { "a file is damaged", any_file_is_damaged, WEIR_DAMAGED, true, bring_back },
    { "an input is trimmed", input_is_trimmed, WEIR_POSITION_LOST, false, reset_or_begin_anew },
    { "an input is gone", input_is_deleted, WEIR_POSITION_LOST, false, make_topic_and_begin_anew },
    { "an input is another one", input_is_made_anew, WEIR_POSITION_LOST, false, begin_anew },
    { "an output is gone", output_is_deleted, WEIR_ENVIRONMENT, false, make_topic },
    { "the job is taken over", job_is_taken_over, WEIR_OK, false, NULL },
    { "the job goes back to a retained checkpoint", job_returns, WEIR_OK, false, NULL },
};

/* Drawn where there are any. */
static const struct mishap by_savepoint[] = {
    { "the job goes back to a savepoint", job_goes_back, WEIR_OK, false, NULL },
    { "the job moves", job_moves, WEIR_OK, false, NULL },
};

/* Behind a history of which nothing is kept. */
static void begin_anew_or_with_a_savepoint(void)
{
    if (savepoints_count() == 0 || fate_percent(50)) {
        begin_anew();
        return;
    }
    const struct known_savepoint *savepoint = savepoints_at(fate_below(savepoints_count()));
    (void)snprintf(mishaps.path, sizeof mishaps.path, "%s", savepoint->path);
    choose(0, "execution.savepoint.path", mishaps.path);
    found((struct oracle_origin){ .chapter = savepoint->chapter }, false);
}

/* Is noticed, and not struck. */
static const struct mishap was_dropped = { "the job was cancelled, and nothing of it is kept", NULL, WEIR_FOREIGN, false,
                                           begin_anew_or_with_a_savepoint };

static const struct mishap *that_strikes(bool (*strike)(void))
{
    const struct mishap *mishap = all;
    while (mishap->strike != strike) mishap++;
    return mishap;
}

/* What the tale wants next; NULL = nothing. */
static const struct mishap *draw_told(void)
{
    const bool has_savepoint = savepoints_count() > 0;
    if (tale_is(TALE_ORIGIN) && lives_savepoint()[0] != '\0')
        return that_strikes(fate_percent(50) ? ledger_is_deleted : ledger_loses_its_tail);
    if ((tale_is(TALE_ORIGIN) || tale_is(TALE_FLICKER)) && has_savepoint) return &by_savepoint[0];
    return tale_is(TALE_REPETITION) ? that_strikes(job_returns) : NULL;
}

static void begin(const struct mishap *mishap)
{
    mishaps.mishap = mishap;
    mishaps.phase = mishap->code == WEIR_OK ? ANSWERED : STRUCK;
    mishaps.progress = oracle_progress();
}

bool mishaps_strike(void)
{
    const struct mishap *mishap = &all[fate_below(sizeof all / sizeof all[0])];
    const struct mishap *told = draw_told();
    if (savepoints_count() > 0 && fate_percent(30)) mishap = &by_savepoint[fate_below(2)];
    if (told != NULL && fate_percent(80)) mishap = told;
    if (mishaps.phase != NONE || oracle_progress() < 2 || oracle_open_transaction() != NULL) return false;
    oracle_look();
    mishaps.choice = (struct mishap_choice){ .founds = false };
    if (!mishap->strike()) return false;
    begin(mishap);
    return true;
}

static void notice_a_drop(void)
{
    if (mishaps.phase != NONE || !oracle_was_dropped()) return;
    world_seen()->drops++;
    mishaps.choice = (struct mishap_choice){ .founds = false };
    begin(&was_dropped);
}

bool mishaps_explain(const struct life *life)
{
    notice_a_drop();
    if (mishaps.mishap == NULL || life->outcome.code != mishaps.mishap->code) return false;
    if (mishaps.phase != STRUCK) return life->number < mishaps.answered;
    mishaps.phase = ANSWERED;
    mishaps.answered = lives_count();
    if (mishaps.mishap->answer != NULL) mishaps.mishap->answer();
    world_seen()->answers++;
    const bool has_chosen = mishaps.choice.keys[0] != NULL;
    world_trace("a person answers: %s%s%s", mishaps.mishap->name, has_chosen ? ", " : "",
                has_chosen ? mishaps.choice.values[0] : "");
    if (has_chosen && strcmp(mishaps.choice.values[0], "group") == 0)
        oracle_move(mishaps.place.topic, mishaps.place.partition, mishaps.position);
    return true;
}

const struct mishap_choice *mishaps_choice(void)
{
    return mishaps.phase == ANSWERED && mishaps.choice.keys[0] != NULL ? &mishaps.choice : NULL;
}

bool mishaps_leave_the_savepoint(void)
{
    return mishaps.phase == NONE || (mishaps.mishap->code == WEIR_OK && mishaps_choice() == NULL);
}

static void end(void)
{
    mishaps.phase = NONE;
    if (mishaps.choice.origin.chapter > 0) lives_keep_savepoint(mishaps.path);
    else if (mishaps.choice.founds) lives_keep_savepoint(NULL);
}

void mishaps_watch(void)
{
    watch_mirror();
    notice_a_drop();
    if (mishaps.phase == NONE || oracle_progress() == mishaps.progress || oracle_violation() != NULL) return;
    if (mishaps.phase == ANSWERED) end();
    else if (!mishaps.mishap->may_pass) oracle_fail("the job goes on, though %s", mishaps.mishap->name);
}

void mishaps_begin(const struct weir_test_job *test, bool is_followed, bool is_copied)
{
    memset(&mishaps, 0, sizeof mishaps);
    mishaps.test = test;
    mishaps.is_followed = is_followed;
    mishaps.is_copied = is_copied;
    (void)snprintf(mishaps.ledger, sizeof mishaps.ledger, "%s-ledger", test->name);
}

void mishaps_end(void)
{
    free(mishaps.contents);
    mishaps.contents = NULL;
}
