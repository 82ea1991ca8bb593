#include "sim/oracle.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "weir/connector.h"

enum { PLACES_MAX = 32, VIOLATION_SIZE = 600 };

struct place_state {
    char topic[16];
    int32_t partition;
    int64_t position; /* inputs: committed; outputs: scanned up to here */
    bool is_known;
};

/* A record of an output or of the ledger whose transaction is not decided. */
struct pending {
    uint32_t output; /* JOB_OUTPUTS = the ledger */
    struct model_producer producer;
    int32_t key;
    int64_t value;
    struct weir_bytes ledger; /* owned */
};

struct expected {
    uint32_t output;
    int32_t key;
    int64_t value;
};

static struct {
    struct kafka_model *model;
    const struct job_kind *kind;
    char job[72], ledger[96], violation[VIOLATION_SIZE];
    struct place_state inputs[PLACES_MAX], outputs[PLACES_MAX];
    size_t input_count, output_count;
    VEC(struct pending) pending;
    VEC(struct expected) expected;
    int64_t totals[JOB_KEYS];
    bool changed[JOB_KEYS];
    bool is_founded;
    uint64_t incarnation, epoch; /* of the newest commit */
    struct oracle_counts counts;
} oracle;

const char *oracle_violation(void) { return oracle.violation[0] == '\0' ? NULL : oracle.violation; }
struct oracle_counts oracle_counts(void) { return oracle.counts; }
uint64_t oracle_progress(void) { return oracle.counts.epochs; }

void oracle_fail(const char *format, ...)
{
    if (oracle.violation[0] != '\0') return;
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(oracle.violation, sizeof oracle.violation, format, arguments);
    va_end(arguments);
}

/* ---- What the cluster holds -------------------------------------------------------------------------------------- */

static struct place_state *place_of(struct place_state *places, size_t *count, const char *topic, int32_t partition)
{
    for (size_t i = 0; i < *count; i++)
        if (places[i].partition == partition && strcmp(places[i].topic, topic) == 0) return &places[i];
    CHECK(*count < PLACES_MAX);
    struct place_state *place = &places[(*count)++];
    *place = (struct place_state){ .partition = partition };
    (void)snprintf(place->topic, sizeof place->topic, "%s", topic);
    return place;
}

static bool keep_pending(void *user, const struct model_record *record)
{
    const uint32_t output = *(const uint32_t *)user;
    struct pending *pending = vec_push(&oracle.pending);
    CHECK(pending != NULL);
    *pending = (struct pending){ .output = output, .producer = record->producer, .key = -1 };
    if (output == JOB_OUTPUTS) {
        char *copy = malloc(record->value.size + 1);
        CHECK(copy != NULL);
        memcpy(copy, record->value.data, record->value.size);
        pending->ledger = (struct weir_bytes){ copy, record->value.size };
        return true;
    }
    pending->key = job_key_parse(record->key);
    if (pending->key < 0 || !weir_bytes_to_i64(record->value, &pending->value))
        oracle_fail("out%u holds a record that no job wrote", output);
    return true;
}

static void scan_place(const char *topic, int32_t partition, uint32_t output)
{
    const struct model_place at = { topic, partition };
    struct place_state *place = place_of(oracle.outputs, &oracle.output_count, topic, partition);
    int64_t end;
    if (model_list_offset(oracle.model, &at, MODEL_LATEST, false, &end) != MODEL_OK) return;
    while (place->position < end) {
        int64_t next = place->position;
        if (model_fetch(oracle.model, &at, place->position, false, 1000, keep_pending, &output, &next) != MODEL_OK ||
            next == place->position)
            break;
        place->position = next;
    }
}

static void scan_outputs(void)
{
    for (uint32_t output = 0; output < oracle.kind->outputs; output++) {
        char topic[16];
        uint64_t id;
        int32_t partitions = 0;
        (void)snprintf(topic, sizeof topic, "out%u", output);
        if (model_describe_topic(oracle.model, topic, &id, &partitions) != MODEL_OK) continue;
        for (int32_t i = 0; i < partitions; i++) scan_place(topic, i, output);
    }
    uint64_t id;
    int32_t partitions;
    if (model_describe_topic(oracle.model, oracle.ledger, &id, &partitions) == MODEL_OK)
        scan_place(oracle.ledger, 0, JOB_OUTPUTS);
}

/* ---- What must come out ------------------------------------------------------------------------------------------ */

static void expect(void *user, uint32_t output, int64_t value)
{
    struct expected *expected = vec_push(&oracle.expected);
    CHECK(expected != NULL);
    *expected = (struct expected){ .output = output, .key = *(const int32_t *)user, .value = value };
}

static bool fold_record(void *user, const struct model_record *record)
{
    if (record->offset >= *(const int64_t *)user) return false;
    int32_t key = job_key_parse(record->key);
    int64_t value;
    CHECK(key >= 0 && weir_bytes_to_i64(record->value, &value));
    oracle.counts.records++;
    oracle.changed[key] = true;
    if (oracle.kind->fold != NULL) oracle.kind->fold(&oracle.totals[key], value, expect, &key);
    else oracle.totals[key]++;
    return true;
}

static void fold_range(const struct weir_ledger_range *range)
{
    const char *slash = strrchr(range->split, '/');
    char topic[16];
    CHECK(slash != NULL);
    (void)snprintf(topic, sizeof topic, "%.*s", (int)(slash - range->split), range->split);
    struct place_state *place = place_of(oracle.inputs, &oracle.input_count, topic, (int32_t)atoi(slash + 1));
    if (place->is_known && range->begin != place->position)
        oracle_fail("epoch %" PRIu64 ": the range of %s begins at %" PRId64 ", but the one before ended at %" PRId64,
                    oracle.epoch, range->split, range->begin, place->position);
    if (!place->is_known && range->begin != 0)
        oracle_fail("%s is read from %" PRId64 " on, not from its beginning", range->split, range->begin);
    place->is_known = true;
    const struct model_place at = { place->topic, place->partition };
    int64_t end = range->end;
    for (int64_t offset = range->begin; offset < end;) {
        int64_t next = offset;
        const enum model_error reason = model_fetch(oracle.model, &at, offset, true, 1000, fold_record, &end, &next);
        if (reason != MODEL_OK || next == offset) {
            oracle_fail("epoch %" PRIu64 ": %s up to %" PRId64 " is committed, but at %" PRId64
                        " there is nothing to read yet (%s)", oracle.epoch, range->split, end, offset, model_error_name(reason));
            break;
        }
        offset = next;
    }
    place->position = range->end;
}

/* The next record that must come out for this output and key; false when there is none. */
static bool take_expected(uint32_t output, int32_t key, int64_t *value)
{
    for (size_t i = 0; i < oracle.expected.count; i++) {
        struct expected *expected = &oracle.expected.items[i];
        if (expected->output != output || expected->key != key) continue;
        *value = expected->value;
        expected->key = -1;
        return true;
    }
    return false;
}

static void compare(const struct pending *pending)
{
    int64_t value;
    if (!take_expected(pending->output, pending->key, &value))
        oracle_fail("epoch %" PRIu64 ": out%u has k%d = %" PRId64 ", which nothing in the input asks for", oracle.epoch,
                    pending->output, pending->key, pending->value);
    else if (value != pending->value)
        oracle_fail("epoch %" PRIu64 ": out%u has k%d = %" PRId64 " instead of %" PRId64, oracle.epoch, pending->output,
                    pending->key, pending->value, value);
}

static void check_rest(void)
{
    for (size_t i = 0; i < oracle.expected.count; i++) {
        const struct expected *expected = &oracle.expected.items[i];
        if (expected->key >= 0)
            oracle_fail("epoch %" PRIu64 ": out%u lacks k%d = %" PRId64, oracle.epoch, expected->output, expected->key,
                        expected->value);
    }
    oracle.expected.count = 0;
}

/* ---- Decisions --------------------------------------------------------------------------------------------------- */

static bool is_of(const struct pending *pending, struct model_producer producer)
{
    return pending->producer.id == producer.id && pending->producer.epoch == producer.epoch;
}

static void take_commit(const struct weir_ledger_entry *entry)
{
    if (oracle.is_founded && (entry->parent.incarnation != oracle.incarnation || entry->parent.epoch != oracle.epoch))
        oracle_fail("commit %" PRIu64 ".%" PRIu64 " has the parent %" PRIu64 ".%" PRIu64 ", but %" PRIu64 ".%" PRIu64
                    " was the last one", entry->incarnation, entry->epoch, entry->parent.incarnation,
                    entry->parent.epoch, oracle.incarnation, oracle.epoch);
    if (!oracle.is_founded && entry->epoch != 0)
        oracle_fail("the first commit is epoch %" PRIu64 ", not the founding one", entry->epoch);
    oracle.is_founded = true;
    oracle.incarnation = entry->incarnation;
    oracle.epoch = entry->epoch;
    oracle.counts.epochs++;
    memset(oracle.changed, 0, sizeof oracle.changed);
    for (size_t i = 0; i < entry->range_count; i++) fold_range(&entry->ranges[i]);
    for (int32_t key = 0; oracle.kind->fold == NULL && key < JOB_KEYS; key++)
        if (oracle.changed[key]) expect(&key, 0, oracle.totals[key]);
}

/* The ledger record of a transaction. A frame that had to go to another place brings a second one: the last counts. */
static const struct pending *ledger_of(struct model_producer producer)
{
    const struct pending *last = NULL;
    for (size_t i = 0; i < oracle.pending.count; i++) {
        const struct pending *pending = &oracle.pending.items[i];
        if (pending->output == JOB_OUTPUTS && is_of(pending, producer)) last = pending;
    }
    return last;
}

/* True for a commit, false for the record of an incarnation or none. */
static bool take_ledger(struct model_producer producer)
{
    const struct pending *pending = ledger_of(producer);
    struct weir_ledger_entry entry;
    struct weir_error error;
    if (pending == NULL) return false;
    memset(&entry, 0, sizeof entry);
    const enum weir_code code = weir_ledger_decode(pending->ledger, &entry, &error);
    const bool is_commit = code == WEIR_OK && entry.kind == WEIR_LEDGER_COMMIT;
    if (code != WEIR_OK) oracle_fail("ledger: %s", error.text);
    else if (is_commit) take_commit(&entry);
    else oracle.counts.incarnations++;
    weir_ledger_entry_clear(&entry);
    return is_commit;
}

static void forget(struct model_producer producer)
{
    size_t kept = 0;
    for (size_t i = 0; i < oracle.pending.count; i++) {
        struct pending *pending = &oracle.pending.items[i];
        if (is_of(pending, producer)) free((void *)(uintptr_t)pending->ledger.data);
        else oracle.pending.items[kept++] = *pending;
    }
    oracle.pending.count = kept;
}

static void on_decided(void *user, const char *transactional_id, struct model_producer producer, bool committed)
{
    (void)user;
    const size_t size = strlen(oracle.job);
    if (strncmp(transactional_id, oracle.job, size) != 0 || transactional_id[size] != '-') return;
    scan_outputs();
    if (committed) {
        const bool is_commit = take_ledger(producer);
        for (size_t i = 0; i < oracle.pending.count; i++) {
            const struct pending *pending = &oracle.pending.items[i];
            if (pending->output == JOB_OUTPUTS || !is_of(pending, producer)) continue;
            if (!is_commit) oracle_fail("output was committed without a ledger record");
            else compare(pending);
        }
        check_rest();
    } else {
        oracle.counts.aborted++;
    }
    forget(producer);
}

/* ---- The end ----------------------------------------------------------------------------------------------------- */

bool oracle_has_caught_up(void)
{
    for (uint32_t input = 0; input < oracle.kind->inputs; input++) {
        char topic[16];
        uint64_t id;
        int32_t partitions;
        (void)snprintf(topic, sizeof topic, "in%u", input);
        if (model_describe_topic(oracle.model, topic, &id, &partitions) != MODEL_OK) return false;
        for (int32_t i = 0; i < partitions; i++) {
            const struct model_place at = { topic, i };
            int64_t end;
            const struct place_state *place = place_of(oracle.inputs, &oracle.input_count, topic, i);
            if (model_list_offset(oracle.model, &at, MODEL_LATEST, false, &end) != MODEL_OK) return false;
            if (place->position < end) return false;
        }
    }
    return true;
}

static void check_group(void *user, const struct model_offset *offset)
{
    (void)user;
    const struct place_state *place =
        place_of(oracle.inputs, &oracle.input_count, offset->topic, offset->partition);
    if (offset->offset != place->position)
        oracle_fail("the group stands at %" PRId64 " of %s/%d, the ledger at %" PRId64, offset->offset, offset->topic,
                    (int)offset->partition, place->position);
}

static void check_transaction(void *user, const struct model_transaction *transaction)
{
    (void)user;
    if (strncmp(transaction->transactional_id, oracle.job, strlen(oracle.job)) == 0 &&
        (transaction->open || transaction->preparing))
        oracle_fail("the transaction of '%s' is still open", transaction->transactional_id);
}

void oracle_check_end(void)
{
    if (!oracle_has_caught_up()) oracle_fail("not all of the input was taken in");
    model_each_transaction(oracle.model, check_transaction, NULL);
    if (model_offset_fetch(oracle.model, oracle.job, true, check_group, NULL) != MODEL_OK)
        oracle_fail("the group's offsets are still pending");
}

void oracle_begin(struct kafka_model *model, const struct job_kind *kind, const char *job)
{
    memset(&oracle, 0, sizeof oracle);
    oracle.model = model;
    oracle.kind = kind;
    (void)snprintf(oracle.job, sizeof oracle.job, "%s", job);
    (void)snprintf(oracle.ledger, sizeof oracle.ledger, "%s-ledger", job);
    model_on_decided(model, on_decided, NULL);
}

void oracle_end(void)
{
    for (size_t i = 0; i < oracle.pending.count; i++) free((void *)(uintptr_t)oracle.pending.items[i].ledger.data);
    vec_free(&oracle.pending);
    vec_free(&oracle.expected);
}
