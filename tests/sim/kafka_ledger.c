/* The ledger's topic and the group's offsets, as the decider's clerk asks for them. */
#include <stdio.h>
#include <stdlib.h>

#include "base/base.h"
#include "sim/connector.h"

enum { PATIENCE_US = 5000000, REQUEST_TIMEOUT_US = 1000000, PENDING_PAUSE_US = 10000, LEDGER_WINDOW = 10 };

/* ---- The tail ---------------------------------------------------------------------------------------------------- */

static struct weir_bytes copy_bytes(struct weir_bytes bytes)
{
    if (weir_is_null(bytes)) return WEIR_NULL;
    char *copy = malloc(bytes.size + 1);
    CHECK(copy != NULL);
    memcpy(copy, bytes.data, bytes.size);
    return (struct weir_bytes){ copy, bytes.size };
}

static void append_record(struct weir_decider_event *event, const struct model_record *from)
{
    struct weir_ledger_record *records = realloc(event->records, (event->record_count + 1) * sizeof *records);
    CHECK(records != NULL);
    event->records = records;
    records[event->record_count++] = (struct weir_ledger_record){ .key = copy_bytes(from->key),
                                                                  .value = copy_bytes(from->value),
                                                                  .offset = from->offset };
}

/* All records of a stretch; false when nobody answers in time. */
static bool read_stretch(const struct model_place *place, int64_t begin, int64_t end, bool committed,
                         struct weir_decider_event *event, int64_t until_us)
{
    struct connection connection = { 0 };
    for (int64_t at = begin; at < end;) {
        struct sim_fetched fetched;
        (void)sim_fetch(&connection, place, at, committed, 100, &fetched); /* without an answer it brings nothing */
        for (size_t i = 0; i < fetched.count; i++)
            if (fetched.records[i].offset < end) append_record(event, &fetched.records[i]);
        const bool is_stuck = fetched.next == at;
        at = fetched.next;
        sim_fetched_clear(&fetched);
        if (is_stuck) {
            if (sched_now_us() > until_us) return false;
            sched_pause(PENDING_PAUSE_US);
        }
    }
    return true;
}

enum weir_code sim_ledger_tail(const char *ledger, bool committed, struct weir_decider_event *event,
                               struct weir_error *error)
{
    uint64_t id;
    int32_t partitions;
    int64_t low, high;
    const struct model_place place = { ledger, 0 };
    enum weir_code code = sim_ask_topic(ledger, &id, &partitions, PATIENCE_US, error);
    if (code != WEIR_OK || id == 0) return code;
    code = sim_ask_offset(&place, MODEL_EARLIEST, false, PATIENCE_US, &low, error);
    if (code == WEIR_OK) code = sim_ask_offset(&place, MODEL_LATEST, committed, PATIENCE_US, &high, error);
    const int64_t until_us = sched_now_us() + PATIENCE_US;
    for (int64_t window = LEDGER_WINDOW, end = high; code == WEIR_OK && event->record_count == 0 && end > low;
         window *= 2) {
        const int64_t from = end - low > window ? end - window : low;
        if (!read_stretch(&place, from, end, committed, event, until_us))
            code = weir_error_set(error, WEIR_OUT_OF_PATIENCE, WEIR_REMEDY_RETRY, "ledger: no answer");
        end = from;
    }
    return code;
}

/* ---- The group --------------------------------------------------------------------------------------------------- */

struct mirrors_request {
    struct request base;
    char group[SIM_TOPIC_SIZE];
    bool stable;
    size_t count;
    struct weir_mirror *mirrors;
};

static void take_mirror(void *user, const struct model_offset *offset)
{
    struct mirrors_request *request = user;
    if (offset->offset < 0) return;
    struct weir_mirror *mirrors = realloc(request->mirrors, (request->count + 1) * sizeof *mirrors);
    CHECK(mirrors != NULL);
    request->mirrors = mirrors;
    struct weir_mirror *mirror = &mirrors[request->count++];
    memset(mirror, 0, sizeof *mirror);
    sim_split_name(mirror->split, offset->topic, offset->partition);
    mirror->position = offset->offset;
    (void)snprintf(mirror->metadata, sizeof mirror->metadata, "%s", offset->metadata);
}

static void act_mirrors(struct request *base, struct kafka_model *model, int64_t now_ms)
{
    (void)now_ms;
    struct mirrors_request *request = (struct mirrors_request *)base;
    base->error = model_offset_fetch(model, request->group, request->stable, take_mirror, request);
}

static void clear_mirrors(struct request *base) { free(((struct mirrors_request *)base)->mirrors); }

enum weir_code sim_ledger_mirrors(const char *group, bool stable, struct weir_decider_event *event,
                                  struct weir_error *error)
{
    const int64_t until_us = sched_now_us() + PATIENCE_US;
    do {
        struct connection connection = { 0 };
        struct mirrors_request *request = request_create(sizeof *request, act_mirrors, clear_mirrors);
        (void)snprintf(request->group, sizeof request->group, "%s", group);
        request->stable = stable;
        request->base.kind = REQUEST_MIRRORS;
        const bool answered = cluster_call(&connection, &request->base, REQUEST_TIMEOUT_US) == CALL_ANSWERED;
        const bool good = answered && request->base.error == MODEL_OK;
        if (good) {
            event->mirrors = request->mirrors;
            event->mirror_count = request->count;
            request->mirrors = NULL;
        }
        request_release(&request->base);
        if (good) return WEIR_OK;
        sched_pause(PENDING_PAUSE_US);
    } while (sched_now_us() < until_us);
    return weir_error_set(error, WEIR_OUT_OF_PATIENCE, WEIR_REMEDY_RETRY, "group '%s': no answer", group);
}

/* ---- Making it --------------------------------------------------------------------------------------------------- */

struct create_request {
    struct request base;
    char topic[SIM_TOPIC_SIZE * 2];
};

static void act_create(struct request *base, struct kafka_model *model, int64_t now_ms)
{
    (void)now_ms;
    base->error = model_create_topic(model, ((struct create_request *)base)->topic, 1, true);
}

enum weir_code sim_ledger_make(const char *ledger, struct weir_error *error)
{
    const int64_t until_us = sched_now_us() + PATIENCE_US;
    do {
        struct connection connection = { 0 };
        struct create_request *request = request_create(sizeof *request, act_create, NULL);
        (void)snprintf(request->topic, sizeof request->topic, "%s", ledger);
        const bool answered = cluster_call(&connection, &request->base, REQUEST_TIMEOUT_US) == CALL_ANSWERED;
        request_release(&request->base);
        if (answered) return WEIR_OK;
        sched_pause(PENDING_PAUSE_US);
    } while (sched_now_us() < until_us);
    return weir_error_set(error, WEIR_OUT_OF_PATIENCE, WEIR_REMEDY_RETRY, "ledger: no answer");
}
