#include "sim/oracle.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/base.h"
#include "base/hash.h"
#include "checkpoint/restart.h"
#include "sim/world.h"
#include "weir/connector.h"

enum { VIOLATION_SIZE = 600, LEDGER = WEIR_TEST_TOPICS_MAX };

struct place_state {
    const char *topic; /* the author's, or the ledger */
    int32_t partition;
    uint64_t topic_id; /* outputs */
    int64_t position;  /* inputs: committed; outputs: scanned up to here */
    bool is_known;
};
struct places {
    size_t count;
    struct place_state items[2 * WEIR_TEST_TOPICS_MAX * WEIR_TEST_PARTITIONS_MAX];
};

/* A record of an output or of the ledger whose transaction is not decided. */
struct pending {
    uint32_t output; /* or LEDGER */
    int32_t partition;
    struct model_record record; /* keeps its contents */
};

/* The newest committed record of a key in an output partition. */
struct newest {
    uint32_t output;
    int32_t partition;
    struct weir_bytes key;
    int64_t offset;
    uint64_t epoch;
};
enum { NEWEST_BUCKETS = 64, WRITTEN_BUCKETS = 1024 };

/* Something that a commit has told the author: it is told again when the job goes back to that (chapters). */
struct told {
    enum { TOLD_TAKE, TOLD_PUT, TOLD_POSITION } what;
    const char *topic;
    int32_t partition;
    int64_t position;           /* of an input, from here on */
    uint64_t offsets;           /* that were passed to get there */
    struct model_record record; /* else; keeps its contents */
};

/* A commit, with what it has told. */
struct chapter {
    uint32_t before; /* number of its parent; 0 = none */
    uint64_t incarnation, epoch;
    size_t told_begin, told_end;
};

static struct oracle {
    struct kafka_model *model;
    const struct weir_test_job *test; /* NULL = nobody is watched */
    const struct weir_test_job *told; /* the same, with the names that the author knows */
    char ledger[96];
    struct places inputs, outputs;
    VEC(struct pending) pending;
    VEC(struct newest) newest[NEWEST_BUCKETS];
    bool is_founded, is_deciding, at_least_once;
    VEC(uint64_t) written[WRITTEN_BUCKETS]; /* at least once: hashes of what is in the outputs */
    uint64_t incarnation, epoch; /* of the newest commit */
    uint64_t announced;          /* the newest incarnation */
    struct weir_frame_name last_named, newest_named; /* frames, by records of the ledger */
    uint64_t founder;
    struct weir_frame_name frame;
    uint32_t foundings_allowed;
    uint32_t return_to; /* the chapter that the next commit may be behind; 0 = none */
    bool is_dropped;
    struct oracle_origin origin; /* of the next one */
    VEC(struct told) stories;
    VEC(struct chapter) chapters; /* their numbers begin at 1 */
    uint32_t chapter;             /* the newest; 0 = none */
    struct oracle_counts counts;
    struct arena arena;
} oracles[ORACLE_JOBS], *oracle = oracles;
static char violation[VIOLATION_SIZE];

uint32_t oracle_select(uint32_t job)
{
    const uint32_t before = (uint32_t)(oracle - oracles);
    CHECK(job < ORACLE_JOBS);
    oracle = &oracles[job];
    author_select(job);
    return before;
}

const char *oracle_violation(void) { return violation[0] == '\0' ? NULL : violation; }
struct oracle_counts oracle_counts(void) { return oracle->counts; }
uint64_t oracle_progress(void) { return oracle->counts.epochs; }

/* While a commit is looked at, sentences begin with its epoch. */
void oracle_fail(const char *format, ...)
{
    if (violation[0] != '\0') return;
    int size = 0;
    va_list arguments;
    va_start(arguments, format);
    if (oracle->is_deciding)
        size = snprintf(violation, sizeof violation, "epoch %" PRIu64 ": ", oracle->epoch);
    (void)vsnprintf(violation + size, sizeof violation - (size_t)size, format, arguments);
    va_end(arguments);
    world_trace("VIOLATION: %s", violation);
}

/* ---- What the cluster holds -------------------------------------------------------------------------------------- */

static struct place_state *place_of(struct places *places, const char *topic, int32_t partition)
{
    for (size_t i = 0; i < places->count; i++)
        if (places->items[i].partition == partition && strcmp(places->items[i].topic, topic) == 0)
            return &places->items[i];
    CHECK(places->count < sizeof places->items / sizeof places->items[0]);
    struct place_state *place = &places->items[places->count++];
    *place = (struct place_state){ .topic = topic, .partition = partition };
    return place;
}

struct scanned {
    uint32_t output;
    int32_t partition;
};

static bool keep_pending(void *user, const struct model_record *record)
{
    const struct scanned *scanned = user;
    struct pending *pending = vec_push(&oracle->pending);
    CHECK(pending != NULL);
    *pending = (struct pending){ .output = scanned->output, .partition = scanned->partition, .record = *record };
    model_record_keep(&pending->record);
    return true;
}

static void forget_newest(uint32_t output, int32_t partition)
{
    for (size_t bucket = 0; bucket < NEWEST_BUCKETS; bucket++)
        for (size_t i = 0; i < oracle->newest[bucket].count; i++) {
            struct newest *newest = &oracle->newest[bucket].items[i];
            if (newest->output == output && newest->partition == partition) newest->offset = -1;
        }
}

static void scan_place(const char *topic, uint64_t topic_id, struct scanned at_output)
{
    const struct model_place at = { topic, at_output.partition };
    struct place_state *place = place_of(&oracle->outputs, topic, at_output.partition);
    int64_t end;
    if (model_list_offset(oracle->model, &at, MODEL_LATEST, false, &end) != MODEL_OK) return;
    if (place->topic_id != topic_id) {
        forget_newest(at_output.output, at_output.partition);
        place->topic_id = topic_id;
        place->position = 0;
    }
    if (place->position > end) place->position = end; /* the tail was lost */
    while (place->position < end) {
        int64_t next = place->position;
        if (model_fetch(oracle->model, &at, place->position, false, 1000, keep_pending, &at_output, &next) != MODEL_OK ||
            next == place->position)
            break;
        place->position = next;
    }
}

static void scan_topic(const char *topic, uint32_t output)
{
    uint64_t id;
    int32_t partitions = 0;
    if (model_describe_topic(oracle->model, topic, &id, &partitions) != MODEL_OK) return;
    for (int32_t i = 0; i < partitions; i++) scan_place(topic, id, (struct scanned){ output, i });
}

static void scan_outputs(void)
{
    for (uint32_t i = 0; i < WEIR_TEST_TOPICS_MAX && oracle->test->outputs[i].name != NULL; i++)
        scan_topic(oracle->test->outputs[i].name, i);
    scan_topic(oracle->ledger, LEDGER);
}

/* ---- Chapters ----------------------------------------------------------------------------------------------------- */

static void begin_chapter(uint64_t incarnation, uint64_t epoch, uint32_t before)
{
    struct chapter *chapter = vec_push(&oracle->chapters);
    CHECK(chapter != NULL);
    const size_t begin = oracle->chapters.count == 1 ? 0 : oracle->chapters.items[oracle->chapters.count - 2].told_end;
    *chapter = (struct chapter){ .before = before, .incarnation = incarnation, .epoch = epoch, .told_begin = begin };
    oracle->chapter = (uint32_t)oracle->chapters.count;
}

static void end_chapter(void)
{
    if (oracle->chapter > 0) oracle->chapters.items[oracle->chapter - 1].told_end = oracle->stories.count;
}

static struct told *tell(const struct told *told)
{
    static struct told none;
    if (oracle->at_least_once) return &none;
    struct told *added = vec_push(&oracle->stories);
    CHECK(added != NULL);
    *added = *told;
    return added;
}

static void tell_record(struct told told, const struct model_record *record)
{
    told.record = *record;
    struct told *added = tell(&told);
    if (!oracle->at_least_once) model_record_keep(&added->record);
}

static void tell_position(const struct place_state *place, uint64_t offsets)
{
    (void)tell(&(struct told){ .what = TOLD_POSITION, .topic = place->topic, .partition = place->partition,
                               .position = place->position, .offsets = offsets });
}

static struct weir_record as_author_sees(const struct model_record *record)
{
    return (struct weir_record){ .key = record->key, .value = record->value, .time_ms = record->time_ms,
                                 .time_type = WEIR_TIME_CREATE, .headers = record->headers };
}

static void tell_again(const struct told *told)
{
    const struct weir_record record = as_author_sees(&told->record);
    switch (told->what) {
    case TOLD_TAKE: author_take(told->topic, told->partition, &record); break;
    case TOLD_PUT: author_put(told->topic, told->partition, &record); break;
    case TOLD_POSITION: {
        struct place_state *place = place_of(&oracle->inputs, told->topic, told->partition);
        place->position = told->position;
        place->is_known = true;
        oracle->counts.offsets += told->offsets;
    }
    }
}

/* Everything that has led to the end of that chapter, to the author selected. */
static void tell_all_of(const struct oracle *from, uint32_t number)
{
    VEC(uint32_t) path = { 0 };
    for (; number > 0; number = from->chapters.items[number - 1].before) {
        uint32_t *added = vec_push(&path);
        CHECK(added != NULL);
        *added = number;
    }
    for (size_t i = path.count; i-- > 0;) {
        const struct chapter *chapter = &from->chapters.items[path.items[i] - 1];
        for (size_t k = chapter->told_begin; k < chapter->told_end; k++) tell_again(&from->stories.items[k]);
        author_decide();
    }
    vec_free(&path);
}

static void tell_all_again(uint32_t number) { tell_all_of(oracle, number); }

uint32_t oracle_chapter(void) { return oracle->chapter; }

uint32_t oracle_chapter_of(uint64_t incarnation, uint64_t epoch)
{
    for (size_t i = oracle->chapters.count; i > 0; i--) {
        const struct chapter *chapter = &oracle->chapters.items[i - 1];
        if (chapter->incarnation == incarnation && chapter->epoch == epoch) return (uint32_t)i;
    }
    return 0;
}

/* ---- What a commit covers ---------------------------------------------------------------------------------------- */

struct covered {
    const struct place_state *place;
    int64_t end;
};

static bool take_record(void *user, const struct model_record *record)
{
    const struct covered *covered = user;
    if (record->offset >= covered->end) return false;
    const struct weir_record taken = as_author_sees(record);
    oracle->counts.records++;
    tell_record((struct told){ .what = TOLD_TAKE, .topic = covered->place->topic,
                               .partition = covered->place->partition }, record);
    author_take(covered->place->topic, covered->place->partition, &taken);
    return true;
}

/* The place of a split, "topic/partition"; NULL when it is of no input. */
static struct place_state *input_of(const char *split)
{
    const char *slash = strrchr(split, '/');
    if (slash == NULL) return NULL;
    for (uint32_t i = 0; i < WEIR_TEST_TOPICS_MAX && oracle->test->inputs[i].name != NULL; i++) {
        const char *topic = oracle->test->inputs[i].name;
        if (strlen(topic) == (size_t)(slash - split) && strncmp(topic, split, strlen(topic)) == 0)
            return place_of(&oracle->inputs, topic, (int32_t)strtol(slash + 1, NULL, 10));
    }
    return NULL;
}

static void take_range(const struct weir_ledger_range *range)
{
    struct place_state *place = input_of(range->split);
    if (place == NULL) {
        oracle_fail("the job reads %s, which is none of the test's inputs", range->split);
        return;
    }
    int64_t offset = range->begin;
    if (oracle->at_least_once && place->is_known && offset < place->position) offset = place->position;
    if (place->is_known && offset != place->position)
        oracle_fail("the range of %s begins at %" PRId64 ", but the one before ended at %" PRId64, range->split,
                    range->begin, place->position);
    const struct model_place at = { place->topic, place->partition };
    int64_t first = 0;
    (void)model_list_offset(oracle->model, &at, MODEL_EARLIEST, false, &first);
    if (!place->is_known && offset != first)
        oracle_fail("%s is read from %" PRId64 " on, not from its beginning at %" PRId64, range->split, range->begin,
                    first);
    place->is_known = true;
    struct covered covered = { place, range->end };
    while (offset < range->end) {
        int64_t next = offset;
        const enum model_error reason =
            model_fetch(oracle->model, &at, offset, true, 1000, take_record, &covered, &next);
        if (reason != MODEL_OK || next == offset) {
            oracle_fail("%s up to %" PRId64 " is committed, but at %" PRId64 " there is nothing to read yet (%s)",
                        range->split, range->end, offset, model_error_name(reason));
            break;
        }
        offset = next;
    }
    oracle->counts.offsets += (uint64_t)(range->end - range->begin);
    if (place->position < range->end) place->position = range->end;
    tell_position(place, (uint64_t)(range->end - range->begin));
}

/* ---- Decisions --------------------------------------------------------------------------------------------------- */

static bool is_of(const struct pending *pending, struct model_producer producer)
{
    return pending->record.producer.id == producer.id && pending->record.producer.epoch == producer.epoch;
}

/* Earlier output stays as it is, and nobody asks for it any more. The chapter of the founding is open. */
static void begin_new_history(void)
{
    oracle->foundings_allowed--;
    oracle->is_founded = false;
    if (!oracle->origin.keeps_positions) oracle->inputs.count = 0;
    author_end();
    author_begin(oracle->told);
    for (size_t i = 0; i < oracle->inputs.count; i++)
        if (oracle->inputs.items[i].is_known) tell_position(&oracle->inputs.items[i], 0);
    tell_all_again(oracle->origin.chapter);
}

/* What has been committed since happens again, or something else does. The chapter of the commit is open. */
static void go_back(void)
{
    world_seen()->returns++;
    oracle->inputs.count = 0;
    author_end();
    author_begin(oracle->told);
    tell_all_again(oracle->return_to);
}

/* Names rise, and are never used again; and nobody commits behind the back of a newer start. */
static void check_name(const struct weir_ledger_entry *entry)
{
    if (oracle->at_least_once) return; /* a record of a life that is over may come late */
    if (entry->incarnation < oracle->announced)
        oracle_fail("incarnation %" PRIu64 " commits, though %" PRIu64 " has announced itself", entry->incarnation,
                    oracle->announced);
    if (entry->incarnation > oracle->incarnation) return;
    if (entry->incarnation == oracle->incarnation && entry->epoch > oracle->epoch) return;
    oracle_fail("commit %" PRIu64 ".%" PRIu64 " comes after %" PRIu64 ".%" PRIu64, entry->incarnation, entry->epoch,
                oracle->incarnation, oracle->epoch);
}

/* Where somebody has been told to go back to. */
static bool is_return_to(const struct weir_frame_name *name)
{
    if (oracle->return_to == 0) return false;
    const struct chapter *chapter = &oracle->chapters.items[oracle->return_to - 1];
    return name->incarnation == chapter->incarnation && name->epoch == chapter->epoch;
}

/* Who announces itself names the last commit again: the newest record of the ledger is the pointer. */
static void take_announcement(const struct weir_ledger_entry *entry)
{
    oracle->counts.incarnations++;
    if (entry->incarnation > oracle->announced) oracle->announced = entry->incarnation;
    if (oracle->at_least_once) return;
    if (entry->frame.incarnation == oracle->incarnation && entry->frame.epoch == oracle->epoch) return;
    if (is_return_to(&entry->frame)) return;
    oracle_fail("incarnation %" PRIu64 " announces itself with checkpoint %" PRIu64 ".%" PRIu64 ", but %" PRIu64
                ".%" PRIu64 " was the last one", entry->incarnation, entry->frame.incarnation, entry->frame.epoch,
                oracle->incarnation, oracle->epoch);
}

/* After a kill the next life begins where the last record says, or behind one that was under way: parents are no chain. */
static void check_parent(const struct weir_ledger_entry *entry)
{
    if (oracle->at_least_once) return;
    if (entry->parent.incarnation == oracle->incarnation && entry->parent.epoch == oracle->epoch) return;
    oracle_fail("commit %" PRIu64 ".%" PRIu64 " has the parent %" PRIu64 ".%" PRIu64 ", but %" PRIu64 ".%" PRIu64
                " was the last one", entry->incarnation, entry->epoch, entry->parent.incarnation, entry->parent.epoch,
                oracle->incarnation, oracle->epoch);
}

static void take_commit(const struct weir_ledger_entry *entry)
{
    const bool is_new = oracle->is_founded && entry->epoch == 0 && oracle->foundings_allowed > 0;
    const bool goes_back = !is_new && is_return_to(&entry->parent);
    begin_chapter(entry->incarnation, entry->epoch,
                  is_new ? oracle->origin.chapter : goes_back ? oracle->return_to : oracle->chapter);
    if (is_new) begin_new_history();
    else if (oracle->is_dropped) oracle_fail("a commit follows, though the job was cancelled and nothing of it is kept");
    if (goes_back) go_back();
    else if (oracle->is_founded) check_parent(entry);
    oracle->is_dropped = false;
    oracle->return_to = 0;
    if (!oracle->is_founded && entry->epoch != 0)
        oracle_fail("the first commit is epoch %" PRIu64 ", not the founding one", entry->epoch);
    check_name(entry);
    if (entry->epoch == 0) oracle->founder = entry->incarnation;
    oracle->is_founded = true;
    oracle->is_deciding = true;
    oracle->incarnation = entry->incarnation;
    oracle->epoch = entry->epoch;
    oracle->frame = entry->frame;
    oracle->counts.epochs++;
    for (size_t i = 0; i < entry->range_count; i++) take_range(&entry->ranges[i]);
}

/* The ledger record of a transaction. A frame that had to go to another place brings a second one: the last counts. */
static const struct pending *ledger_of(struct model_producer producer)
{
    const struct pending *last = NULL;
    for (size_t i = 0; i < oracle->pending.count; i++) {
        const struct pending *pending = &oracle->pending.items[i];
        if (pending->output == LEDGER && is_of(pending, producer)) last = pending;
    }
    return last;
}

static void note_frame(const struct weir_frame_name *frame)
{
    oracle->last_named = *frame;
    if (restart_compare(frame, &oracle->newest_named) > 0) oracle->newest_named = *frame;
}

/* True for a commit, false for the record of an incarnation or none. */
static bool take_ledger_record(const struct pending *pending)
{
    struct weir_ledger_entry entry;
    struct weir_error error;
    if (pending == NULL) return false;
    memset(&entry, 0, sizeof entry);
    const enum weir_code code = weir_ledger_decode(pending->record.value, &entry, &error);
    const bool is_commit = code == WEIR_OK && entry.kind == WEIR_LEDGER_COMMIT;
    if (code != WEIR_OK) oracle_fail("ledger: %s", error.text);
    else if (is_commit) take_commit(&entry);
    else take_announcement(&entry);
    if (code == WEIR_OK) note_frame(&entry.frame);
    oracle->is_dropped |= code == WEIR_OK && entry.kind == WEIR_LEDGER_DROPPED;
    weir_ledger_entry_clear(&entry);
    return is_commit;
}

static bool take_ledger(struct model_producer producer) { return take_ledger_record(ledger_of(producer)); }

static void forget(struct model_producer producer)
{
    size_t kept = 0;
    for (size_t i = 0; i < oracle->pending.count; i++) {
        struct pending *pending = &oracle->pending.items[i];
        if (is_of(pending, producer)) model_record_drop(&pending->record);
        else oracle->pending.items[kept++] = *pending;
    }
    oracle->pending.count = kept;
}

static struct newest *newest_of(const struct pending *pending)
{
    const struct weir_bytes key = pending->record.key;
    const size_t bucket = hash_64(key.data, key.size) % NEWEST_BUCKETS;
    for (size_t i = 0; i < oracle->newest[bucket].count; i++) {
        struct newest *newest = &oracle->newest[bucket].items[i];
        if (newest->output == pending->output && newest->partition == pending->partition &&
            weir_bytes_equal(newest->key, key))
            return newest;
    }
    struct newest *added = vec_push(&oracle->newest[bucket]);
    CHECK(added != NULL);
    *added = (struct newest){ .output = pending->output, .partition = pending->partition, .offset = -1,
                              .key = { arena_copy(&oracle->arena, key.data, key.size), key.size } };
    CHECK(added->key.data != NULL);
    return added;
}

/* Epochs do not overlap in the records of one key (R2). Between keys they may. */
static void check_order(const struct pending *pending)
{
    if (weir_is_null(pending->record.key)) return;
    struct newest *newest = newest_of(pending);
    if (pending->record.offset < newest->offset)
        oracle_fail("a record of epoch %" PRIu64 " is in front of one of epoch %" PRIu64 ", of the same key in %s/%d",
                    oracle->epoch, newest->epoch, oracle->test->outputs[pending->output].name, (int)pending->partition);
    newest->offset = pending->record.offset;
    newest->epoch = oracle->epoch;
}

static void put_all(struct model_producer producer, bool is_commit)
{
    size_t count = 0;
    for (size_t i = 0; i < oracle->pending.count; i++) {
        const struct pending *pending = &oracle->pending.items[i];
        if (pending->output == LEDGER || !is_of(pending, producer)) continue;
        const struct weir_record put = as_author_sees(&pending->record);
        count++;
        if (is_commit) {
            check_order(pending);
            tell_record((struct told){ .what = TOLD_PUT, .topic = oracle->told->outputs[pending->output].name,
                                       .partition = pending->partition }, &pending->record);
            author_put(oracle->told->outputs[pending->output].name, pending->partition, &put);
        } else {
            oracle_fail("output was committed without a ledger record");
        }
    }
    if (!is_commit) return;
    end_chapter();
    author_decide();
    world_trace("commit of %" PRIu64 "/%" PRIu64 ": %" PRIu64 " records in so far, %zu out now", oracle->incarnation,
                oracle->epoch, oracle->counts.records, count);
}

static void decide(struct model_producer producer, bool committed)
{
    scan_outputs();
    if (committed) put_all(producer, take_ledger(producer));
    else oracle->counts.aborted++;
    oracle->is_deciding = false;
    forget(producer);
}

static bool is_id_of(const char *transactional_id, const struct weir_test_job *test)
{
    const size_t size = test == NULL ? 0 : strlen(test->name);
    return size > 0 && strncmp(transactional_id, test->name, size) == 0 && transactional_id[size] == '-';
}

static void on_decided(void *user, const char *transactional_id, struct model_producer producer, bool committed)
{
    (void)user;
    for (uint32_t job = 0; job < ORACLE_JOBS; job++) {
        if (!is_id_of(transactional_id, oracles[job].test)) continue;
        const uint32_t before = oracle_select(job);
        decide(producer, committed);
        (void)oracle_select(before);
    }
}

/* ---- At least once ----------------------------------------------------------------------------------------------- */

static uint64_t hash_of(const char *topic, struct weir_bytes key, struct weir_bytes value)
{
    const uint64_t parts[] = { hash_64(topic, strlen(topic)), hash_64(key.data, key.size), hash_64(value.data, value.size) };
    return hash_64(parts, sizeof parts);
}

bool oracle_was_written(const char *topic, struct weir_bytes key, struct weir_bytes value)
{
    const uint64_t hash = hash_of(topic, key, value);
    for (size_t i = 0; i < oracle->written[hash % WRITTEN_BUCKETS].count; i++)
        if (oracle->written[hash % WRITTEN_BUCKETS].items[i] == hash) return true;
    return false;
}

static void note_written(const struct pending *pending)
{
    const char *topic = oracle->test->outputs[pending->output].name;
    const uint64_t hash = hash_of(topic, pending->record.key, pending->record.value);
    if (oracle_was_written(topic, pending->record.key, pending->record.value)) return;
    uint64_t *added = vec_push(&oracle->written[hash % WRITTEN_BUCKETS]);
    CHECK(added != NULL);
    *added = hash;
}

/* Outputs are scanned before the ledger: what a record of that speaks of has been seen. */
void oracle_watch(void)
{
    if (!oracle->at_least_once) return;
    scan_outputs();
    for (size_t i = 0; i < oracle->pending.count; i++) {
        struct pending *pending = &oracle->pending.items[i];
        if (pending->output != LEDGER) note_written(pending);
        else if (take_ledger_record(pending)) author_decide();
        oracle->is_deciding = false;
        model_record_drop(&pending->record);
    }
    oracle->pending.count = 0;
}

bool oracle_position(const char *topic, int32_t partition, int64_t *position)
{
    const struct place_state *place = place_of(&oracle->inputs, topic, partition);
    *position = place->position;
    return place->is_known;
}

struct weir_frame_name oracle_frame(void) { return oracle->frame; }
uint64_t oracle_founder(void) { return oracle->founder; }
struct weir_frame_name oracle_last_named(void) { return oracle->last_named; }
struct weir_frame_name oracle_newest_named(void) { return oracle->newest_named; }
uint64_t oracle_announced(void) { return oracle->announced; }

void oracle_allow_founding(const struct oracle_origin *origin)
{
    oracle->foundings_allowed++;
    oracle->origin = *origin;
}

void oracle_look(void) { scan_outputs(); }
uint32_t oracle_before(uint32_t chapter)
{
    return oracle_epoch_of(chapter) == 0 ? 0 : oracle->chapters.items[chapter - 1].before;
}
uint64_t oracle_epoch_of(uint32_t chapter) { return oracle->chapters.items[chapter - 1].epoch; }
void oracle_allow_return(uint32_t chapter) { oracle->return_to = chapter; }
bool oracle_was_dropped(void) { return oracle->is_dropped; }

void oracle_move(const char *topic, int32_t partition, int64_t position)
{
    struct place_state *place = place_of(&oracle->inputs, topic, partition);
    place->position = position;
    place->is_known = true;
    tell_position(place, 0);
}

/* ---- The end ----------------------------------------------------------------------------------------------------- */

struct oracle_ends {
    bool are_known; /* every input is there */
    struct places places;
};

static void add_ends(struct oracle_ends *ends, const char *topic, bool committed)
{
    uint64_t id;
    int32_t partitions = 0;
    if (model_describe_topic(oracle->model, topic, &id, &partitions) != MODEL_OK) ends->are_known = false;
    for (int32_t i = 0; i < partitions; i++) {
        const struct model_place at = { topic, i };
        CHECK(model_list_offset(oracle->model, &at, MODEL_LATEST, committed,
                                &place_of(&ends->places, topic, i)->position) == MODEL_OK);
    }
}

static struct oracle_ends *look_at_ends(bool committed)
{
    struct oracle_ends *ends = calloc(1, sizeof *ends);
    CHECK(ends != NULL);
    ends->are_known = true;
    for (uint32_t i = 0; i < WEIR_TEST_TOPICS_MAX && oracle->test->inputs[i].name != NULL; i++)
        add_ends(ends, oracle->test->inputs[i].name, committed);
    return ends;
}

struct oracle_ends *oracle_ends(void) { return look_at_ends(true); }

bool oracle_has_reached(const struct oracle_ends *ends)
{
    for (size_t i = 0; i < ends->places.count; i++) {
        const struct place_state *end = &ends->places.items[i];
        if (place_of(&oracle->inputs, end->topic, end->partition)->position < end->position) return false;
    }
    return ends->are_known;
}

bool oracle_has_caught_up(void)
{
    struct oracle_ends *ends = look_at_ends(false);
    const bool reached = oracle_has_reached(ends);
    free(ends);
    return reached;
}

static void check_group(void *user, const struct model_offset *offset)
{
    (void)user;
    for (size_t i = 0; i < oracle->inputs.count; i++) {
        const struct place_state *place = &oracle->inputs.items[i];
        if (place->partition != offset->partition || strcmp(place->topic, offset->topic) != 0) continue;
        if (offset->offset != place->position)
            oracle_fail("the group stands at %" PRId64 " of %s/%d, the ledger at %" PRId64, offset->offset,
                        offset->topic, (int)offset->partition, place->position);
        return;
    }
    oracle_fail("the group stands at %s/%d, which the job does not read", offset->topic, (int)offset->partition);
}

static void note_open(void *id, const struct model_transaction *transaction)
{
    if (is_id_of(transaction->transactional_id, oracle->test) && (transaction->open || transaction->preparing))
        *(const char **)id = transaction->transactional_id;
}

const char *oracle_open_transaction(void)
{
    const char *id = NULL;
    model_each_transaction(oracle->model, note_open, &id);
    return id;
}

void oracle_check_end(void)
{
    if (!oracle_has_caught_up()) oracle_fail("not all of the input was taken in");
    if (oracle_open_transaction() != NULL) oracle_fail("the transaction of '%s' is still open", oracle_open_transaction());
    if (!oracle->at_least_once && model_offset_fetch(oracle->model, oracle->test->name, true, check_group, NULL) != MODEL_OK)
        oracle_fail("the group's offsets are still pending");
    if (oracle_violation() == NULL) author_finish();
}

void oracle_begin(struct kafka_model *model, const struct weir_test_job *test, bool at_least_once)
{
    memset(oracle, 0, sizeof *oracle);
    if (oracle == oracles) violation[0] = '\0';
    oracle->model = model;
    oracle->test = oracle->told = test;
    oracle->at_least_once = at_least_once;
    (void)snprintf(oracle->ledger, sizeof oracle->ledger, "%s-ledger", test->name);
    arena_init(&oracle->arena, 4096);
    model_on_decided(model, on_decided, NULL);
    author_begin(test);
}

void oracle_begin_copy(const struct weir_test_job *copy, uint32_t chapter)
{
    const struct oracle *original = &oracles[ORACLE_JOB];
    CHECK(oracle != original);
    oracle_begin(original->model, original->test, false);
    oracle->test = copy;
    (void)snprintf(oracle->ledger, sizeof oracle->ledger, "%s-ledger", copy->name);
    tell_all_of(original, chapter);
}

void oracle_end(void)
{
    for (size_t i = 0; i < oracle->pending.count; i++) model_record_drop(&oracle->pending.items[i].record);
    vec_free(&oracle->pending);
    for (size_t i = 0; i < oracle->stories.count; i++)
        if (oracle->stories.items[i].what != TOLD_POSITION) model_record_drop(&oracle->stories.items[i].record);
    vec_free(&oracle->stories);
    vec_free(&oracle->chapters);
    for (size_t i = 0; i < NEWEST_BUCKETS; i++) vec_free(&oracle->newest[i]);
    for (size_t i = 0; i < WRITTEN_BUCKETS; i++) vec_free(&oracle->written[i]);
    arena_deinit(&oracle->arena);
    oracle->test = NULL;
    author_end();
}
