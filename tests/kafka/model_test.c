/* The simulator's model of Kafka against a real broker: scripts of requests, drawn from a seed, go to both; each answer
 * is compared, and every now and then everything that can be read.
 *
 *     draw a step ──> model ──┐                        WEIR_SEED=N WEIR_SCRIPTS=1 runs script N alone
 *                 └─> broker ─┴─> same code, same offset, same epoch?
 *
 * What a broker does in its own time (markers, time-outs, forgetting a deleted topic) is waited for, and done at once
 * in the model. Where the two differ, the model is wrong. */
#include "sim/kafka_model.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/vec.h"
#include "harness/broker.h"
#include "harness/process.h"
#include "harness/raw_client.h"
#include "harness/unit.h"

enum {
    SCRIPTS = 200,
    LATE_MAX = 40, /* scripts that may be given up for the clock */
    STEPS = 45,
    IDS = 2,        /* transactional ids */
    TOPICS = 3,     /* the second one is compacted, the last one never exists */
    PARTITIONS = 2, /* of each; one more is asked for now and then */
    GROUPS = 2,
    OFFSET_PARTITIONS = 5, /* offsets.topic.num.partitions of the test broker */
    RECORDS_MAX = 3,
    LONG_MS = 60000,
    SHORT_MS_MIN = 300, SHORT_MS_MAX = 20000,
    SHORT_STEPS = 5,
    TIMES = 1000, /* that records may have: all of them before the script began, which is before any marker */
    ASKED_AGAIN = 1000,
};

/* ---- Steps ------------------------------------------------------------------------------------------------------- */

enum kind {
    STEP_INIT,
    STEP_ADD_PARTITIONS,
    STEP_PRODUCE,
    STEP_ADD_OFFSETS,
    STEP_TXN_OFFSET_COMMIT,
    STEP_END,
    STEP_OFFSET_COMMIT,
    STEP_TRIM,
    STEP_CREATE,
    STEP_DELETE,
    STEP_EXPIRE,
    STEP_LOOK,
    KINDS,
};
static const char *const kind_names[KINDS] = { "init",       "add partitions", "produce", "add offsets",
                                               "txn offset", "end",            "offset",  "trim",
                                               "create",     "delete",         "expire",  "look" };

struct step {
    enum kind kind;
    int id;     /* of IDS; -1 = none */
    int handle; /* of those that inits have given out */
    int16_t epoch_shift;
    bool flag;  /* init: short time-out; produce: in the transaction; end: commit */
    int topic, partition, count;
    int other_topic; /* of the second place */
    int group;
    int32_t sequence;
    int64_t offset;
    uint64_t contents;
    bool is_repeat;
};

struct answer {
    int error;
    int64_t number; /* base offset, or epoch (+ ASKED_AGAIN) */
};

struct handle {
    int id; /* -1 = not transactional */
    struct model_producer model, real;
    int32_t next[TOPICS][PARTITIONS];
};

struct world {
    uint64_t seed, random;
    int64_t first_time_ms; /* of records. Not long ago, or retention would take them away */
    struct kafka_model *model;
    struct raw_client *client;
    char topics[TOPICS][64], ids[IDS][64], groups[GROUPS][64];
    bool exists[TOPICS];
    bool is_busy; /* a script of many small batches */
    VEC(struct handle) handles;
    VEC(struct step) steps;
    int64_t open_since_ms[IDS]; /* of a transaction with a short time-out; 0 = none */
    int open_steps;
    bool is_jammed; /* one marker cannot be written, on either side: that of topic 0, partition 1 */
    bool is_late; /* the machine was too slow: what the broker answers depends on its clock now */
    struct buffer trace;
};

/* How often each kind of step got each code, for a look whether the scripts reach what they are for. */
enum { CODES = 128 };
static int counts[KINDS][CODES];
static int repeats, unstable_looks, ended_by_repeat;

/* How long a transaction lasts that is meant to time out: a few steps have to fit into it, however slow the machine is, and
 * each script must wait for it. So it doubles with each script that it was too short for. */
static int64_t short_ms = SHORT_MS_MIN;

static int64_t now_ms(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

__attribute__((format(printf, 2, 3))) static void say(struct buffer *text, const char *format, ...)
{
    char line[512];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    buffer_put(text, line, strlen(line));
}

static void say_step(struct buffer *text, const struct world *world, const struct step *step, struct answer model,
                     struct answer real)
{
    const struct handle *handle = world->handles.count > 0 ? &world->handles.items[step->handle] : NULL;
    say(text, "%s%s id %d epoch %d%+d %s topic %d-%d (%d, %d) sequence %d group %d offset %" PRId64 ": %s %" PRId64,
        step->is_repeat ? "again: " : "", kind_names[step->kind], step->id, handle != NULL ? handle->model.epoch : -1,
        step->epoch_shift, step->flag ? "yes" : "no", step->topic, step->partition, step->count, step->other_topic,
        step->sequence, step->group, step->offset, model_error_name((enum model_error)model.error), model.number);
    if (model.error != real.error || model.number != real.number)
        say(text, ", but the broker: %d %s %" PRId64, real.error, model_error_name((enum model_error)real.error),
            real.number);
    say(text, "\n");
}

/* Ends the fact with the script so far, which is longer than a message of Check may be. */
static void give_up(struct world *world, const char *what)
{
    (void)fwrite(world->trace.data, 1, world->trace.size, stdout);
    (void)fflush(stdout);
    ck_abort_msg("%s; WEIR_SEED=0x%" PRIx64 " WEIR_SCRIPTS=1 runs it again", what, world->seed);
}

#define AWAIT(world, condition)                                                                                        \
    do {                                                                                                               \
        const int64_t await_until_ms = now_ms() + PATIENCE_MS;                                                         \
        while (!(condition)) {                                                                                         \
            if (now_ms() > await_until_ms) give_up(world, "waited in vain: " #condition);                              \
            (void)usleep(500);                                                                                         \
        }                                                                                                              \
    } while (0)

/* ---- Drawing ----------------------------------------------------------------------------------------------------- */

static int draw_below(struct world *world, int limit)
{
    return (int)unit_random_below(&world->random, (uint32_t)limit);
}
static bool draw_chance(struct world *world, int percent) { return unit_chance(&world->random, (uint32_t)percent); }

static enum kind draw_kind(struct world *world)
{
    const int weights[KINDS] = {
        [STEP_INIT] = 4,
        [STEP_ADD_PARTITIONS] = 18,
        [STEP_PRODUCE] = world->is_busy ? 200 : 30,
        [STEP_ADD_OFFSETS] = 9,
        [STEP_TXN_OFFSET_COMMIT] = 13,
        [STEP_END] = 10,
        [STEP_OFFSET_COMMIT] = 4,
        [STEP_TRIM] = 3,
        [STEP_LOOK] = 4,
    };
    int sum = 0;
    for (int kind = 0; kind < KINDS; kind++) sum += weights[kind];
    int left = draw_below(world, sum);
    for (int kind = 0;; kind++) {
        if (left < weights[kind]) return (enum kind)kind;
        left -= weights[kind];
    }
}

/* Mostly the newest one of an id; else one from before, which a newer one has fenced. */
static int draw_handle(struct world *world)
{
    const int count = (int)world->handles.count;
    const int id = draw_chance(world, 8) ? -1 : draw_chance(world, 70) ? 0 : 1;
    if (!draw_chance(world, 12))
        for (int i = count - 1; i >= 0; i--)
            if (world->handles.items[i].id == id) return i;
    return draw_below(world, count);
}

static int32_t draw_sequence(struct world *world, const struct step *step)
{
    if (step->partition >= PARTITIONS) return 0;
    const int32_t next = world->handles.items[step->handle].next[step->topic][step->partition];
    if (draw_chance(world, 88)) return next;
    if (draw_chance(world, 60) && next > 0) return next - 1 - draw_below(world, next < 8 ? next : 8);
    return draw_chance(world, 50) ? next + 1 + draw_below(world, 2) : 0;
}

static int draw_topic(struct world *world)
{
    if (draw_chance(world, 3)) return TOPICS - 1;
    return world->exists[1] && draw_chance(world, 30) ? 1 : 0;
}

static struct step draw_step(struct world *world)
{
    struct step step = {
        .kind = world->handles.count == 0 ? STEP_INIT : draw_kind(world),
        .id = draw_chance(world, 8) ? -1 : draw_chance(world, 75) ? 0 : 1,
        .flag = draw_chance(world, 60),
        .topic = draw_topic(world),
        .other_topic = draw_topic(world),
        .partition = draw_chance(world, 2) ? PARTITIONS : draw_below(world, PARTITIONS),
        .count = 1 + draw_below(world, 2),
        .group = draw_chance(world, 75) ? 0 : 1,
        .offset = draw_below(world, 20),
        .contents = unit_random(&world->random),
    };
    if (step.kind == STEP_INIT) {
        step.flag = draw_chance(world, 5);
    } else if (world->handles.count > 0) {
        step.handle = draw_handle(world);
        step.id = world->handles.items[step.handle].id;
    }
    if (step.kind == STEP_PRODUCE) {
        step.flag = step.id >= 0 && draw_chance(world, 92);
        step.count = world->is_busy || draw_chance(world, 40) ? 1 : 1 + draw_below(world, RECORDS_MAX);
        step.sequence = draw_sequence(world, &step);
    }
    if (step.kind == STEP_TRIM) step.offset = draw_below(world, 8);
    if (step.kind == STEP_ADD_PARTITIONS && draw_chance(world, 50)) {
        step.other_topic = step.topic;
        step.count = 2;
    }
    /* Not outside of a transaction: the epoch would be believed, and later markers refused for ever. */
    if (step.kind != STEP_PRODUCE || step.flag) step.epoch_shift = draw_chance(world, 3) ? 1 : 0;
    return step;
}

/* Topics are dear: the compacted one is made in some scripts only, and one that is gone comes back soon. */
static bool draw_topic_change(struct world *world, struct step *step)
{
    for (int topic = 0; topic < TOPICS - 1; topic++) {
        const uint32_t in_a_thousand = world->exists[topic] ? 4 : topic == 0 ? 200 : 4;
        if (unit_random_below(&world->random, 1000) >= in_a_thousand) continue;
        *step = (struct step){ .kind = world->exists[topic] ? STEP_DELETE : STEP_CREATE, .topic = topic };
        return true;
    }
    return false;
}

static bool has_short(const struct world *world)
{
    for (int id = 0; id < IDS; id++)
        if (world->open_since_ms[id] != 0) return true;
    return false;
}

static bool can_repeat(enum kind kind)
{
    return kind != STEP_CREATE && kind != STEP_DELETE && kind != STEP_EXPIRE && kind != STEP_LOOK;
}

/* A step of before once more: late, and after others. */
static bool draw_repeat(struct world *world, struct step *step)
{
    if (world->steps.count == 0 || !draw_chance(world, 20)) return false;
    const int back = 1 + draw_below(world, draw_chance(world, 60) ? 8 : STEPS);
    if ((size_t)back > world->steps.count) return false;
    *step = world->steps.items[world->steps.count - (size_t)back];
    step->is_repeat = true;
    return can_repeat(step->kind);
}

static struct step draw(struct world *world)
{
    struct step step;
    if (!world->exists[0] && world->steps.count == 0) return (struct step){ .kind = STEP_CREATE };
    if (has_short(world) && (world->open_steps >= SHORT_STEPS || draw_chance(world, 25)))
        return (struct step){ .kind = STEP_EXPIRE };
    if (draw_topic_change(world, &step)) return step;
    if (draw_repeat(world, &step)) return step;
    return draw_step(world);
}

/* ---- What a step says to both ------------------------------------------------------------------------------------ */

/* Plain producers have no id: now and then a handle that is not transactional is used as one. */
static bool is_plain(const struct step *step) { return step->id < 0 && step->contents % 3 == 0; }

/* The words of a step, as both sides take them. */
struct request {
    const char *id; /* of the transaction protocol: named also by who has none */
    const char *own_id; /* NULL = not transactional */
    int64_t timeout_ms;
    struct model_producer producer;
    struct model_place places[2];
    struct model_offset offsets[2];
    struct model_record records[RECORDS_MAX];
    char texts[RECORDS_MAX][32]; /* keys and values stand here */
    size_t count;
    const char *group, *topic;
};

static struct model_producer step_producer(const struct world *world, const struct step *step, bool real)
{
    if (step->kind == STEP_PRODUCE && is_plain(step)) return (struct model_producer){ -1, -1 };
    if (world->handles.count == 0) return (struct model_producer){ 0 };
    const struct handle *handle = &world->handles.items[step->handle];
    struct model_producer producer = real ? handle->real : handle->model;
    producer.epoch = (int16_t)(producer.epoch + step->epoch_shift);
    return producer;
}

static void put_records(const struct world *world, const struct step *step, struct request *request)
{
    uint64_t random = step->contents;
    for (int i = 0; i < step->count; i++) {
        char *text = request->texts[i];
        (void)snprintf(text, sizeof request->texts[i], "%" PRIx64, unit_random(&random) & 0xffff);
        request->records[i] = (struct model_record){
            .time_ms = world->first_time_ms + unit_random_below(&random, TIMES),
            .key = unit_chance(&random, 10) ? WEIR_NULL : (struct weir_bytes){ text, unit_random_below(&random, 2) },
            .value = unit_chance(&random, 10) ? WEIR_NULL : weir_text(text),
        };
    }
}

static void put_request(const struct world *world, const struct step *step, bool real, struct request *request)
{
    static const char *const metadata[] = { "", "m", "17/4" };
    const bool is_transactional = step->id >= 0 && (step->kind != STEP_PRODUCE || step->flag);
    *request = (struct request){
        .id = world->ids[step->id < 0 ? 0 : step->id],
        .own_id = is_transactional ? world->ids[step->id] : NULL,
        .timeout_ms = step->flag ? short_ms : LONG_MS,
        .producer = step_producer(world, step, real),
        .places = { { world->topics[step->topic], step->partition },
                    { world->topics[step->other_topic], (step->partition + 1) % PARTITIONS } },
        .count = (size_t)step->count,
        .group = world->groups[step->group],
        .topic = world->topics[step->topic],
    };
    for (int i = 0; i < 2; i++)
        request->offsets[i] = (struct model_offset){ request->places[i].topic, request->places[i].partition,
                                                     step->offset + i, metadata[step->contents % 3] };
    if (step->kind == STEP_PRODUCE) put_records(world, step, request);
}

/* ---- The model's side -------------------------------------------------------------------------------------------- */

/* In the order of the parts of a transaction, the one that is jammed is the last. */
static void write_markers(struct world *world)
{
    const size_t left = world->is_jammed ? 1 : 0;
    for (size_t count; (count = model_markers_pending(world->model)) > left;)
        model_write_marker(world->model, unit_random_below(&world->random, (uint32_t)(count - left)), now_ms());
}

/* An id whose transaction must be aborted first is asked for again; that shows in the number. */
static struct answer init_model(struct world *world, const struct request *request, struct model_producer *producer)
{
    struct kafka_model *model = world->model;
    struct answer answer = { 0 };
    answer.error = (int)model_init_producer_id(model, now_ms(), request->own_id, request->timeout_ms, producer);
    write_markers(world);
    if (answer.error == MODEL_CONCURRENT_TRANSACTIONS) {
        answer.error = (int)model_init_producer_id(model, now_ms(), request->own_id, request->timeout_ms, producer);
        answer.number = ASKED_AGAIN;
    }
    answer.number += producer->epoch;
    return answer;
}

static struct answer ask_model(struct world *world, const struct step *step, struct handle *handle)
{
    struct kafka_model *model = world->model;
    struct request request;
    put_request(world, step, false, &request);
    const struct request *r = &request;
    enum model_error error = MODEL_OK;
    int64_t base = -1;
    switch (step->kind) {
    case STEP_INIT: return init_model(world, r, &handle->model);
    case STEP_ADD_PARTITIONS:
        error = model_add_partitions(model, now_ms(), r->id, r->producer, r->places, r->count);
        break;
    case STEP_PRODUCE:
        error = model_produce(model, now_ms(), r->own_id, r->producer, step->sequence, r->places, r->records, r->count,
                              &base);
        return (struct answer){ (int)error, error == MODEL_OK ? base : -1 };
    case STEP_ADD_OFFSETS: error = model_add_offsets(model, now_ms(), r->id, r->producer, r->group); break;
    case STEP_TXN_OFFSET_COMMIT:
        error = model_txn_offset_commit(model, now_ms(), r->id, r->producer, r->group, r->offsets, r->count);
        break;
    case STEP_END: error = model_end_txn(model, now_ms(), r->id, r->producer, step->flag); break;
    case STEP_OFFSET_COMMIT: error = model_offset_commit(model, r->group, r->offsets, r->count); break;
    case STEP_TRIM: error = model_trim(model, r->places, step->offset); break;
    case STEP_CREATE: error = model_create_topic(model, r->topic, PARTITIONS, step->topic == 1); break;
    case STEP_DELETE: error = model_delete_topic(model, r->topic); break;
    case STEP_EXPIRE: model_tick(model, now_ms()); break;
    case STEP_LOOK:
    case KINDS: break;
    }
    write_markers(world);
    return (struct answer){ (int)error, 0 };
}

/* ---- The broker's side ------------------------------------------------------------------------------------------- */

/* Until all markers of the id's transaction are written, or all but the jammed one. */
static void settle(struct world *world, const char *id)
{
    struct raw_transaction transaction = { 0 };
    if (world->is_jammed) {
        const struct model_place place = { world->topics[0], 0 };
        int64_t end = 0, stable = 0, offset;
        AWAIT(world, raw_client_list_offset(world->client, &place, MODEL_LATEST, false, &end) == 0 &&
                         raw_client_list_offset(world->client, &place, MODEL_LATEST, true, &stable) == 0 &&
                         end == stable &&
                         raw_client_offset_fetch(world->client, world->groups[0], &place, true, &offset, NULL, 0) ==
                             0);
        return;
    }
    AWAIT(world, raw_client_describe_transaction(world->client, id, &transaction) != 0 ||
                     strncmp(transaction.state, "Prepare", 7) != 0);
}

static struct answer init_real(struct world *world, const struct request *request, struct model_producer *producer)
{
    struct raw_client *client = world->client;
    struct answer answer = { 0 };
    answer.error = raw_client_init_producer_id(client, request->own_id, request->timeout_ms, producer);
    if (answer.error == MODEL_CONCURRENT_TRANSACTIONS) {
        settle(world, request->own_id);
        answer.error = raw_client_init_producer_id(client, request->own_id, request->timeout_ms, producer);
        answer.number = ASKED_AGAIN;
    }
    answer.number += producer->epoch;
    return answer;
}

/* The group's coordinator hears of a deleted topic a moment later than the rest of the broker. */
static void await_forgotten(struct world *world, const char *topic)
{
    for (int group = 0; group < GROUPS; group++) {
        for (int partition = 0; partition < PARTITIONS; partition++) {
            const struct model_place place = { topic, partition };
            int64_t offset;
            AWAIT(world, raw_client_offset_fetch(world->client, world->groups[group], &place, true, &offset, NULL,
                                                 0) == 0 &&
                             offset == -1);
        }
    }
}

static void await_expiry(struct world *world)
{
    for (int id = 0; id < IDS; id++) {
        struct raw_transaction transaction = { 0 };
        if (world->open_since_ms[id] == 0) continue;
        AWAIT(world, raw_client_describe_transaction(world->client, world->ids[id], &transaction) == 0 &&
                         strcmp(transaction.state, "CompleteAbort") == 0);
    }
}

static struct answer ask_broker(struct world *world, const struct step *step, struct handle *handle)
{
    struct raw_client *client = world->client;
    struct request request;
    put_request(world, step, true, &request);
    const struct request *r = &request;
    int error = 0;
    int64_t base = -1;
    switch (step->kind) {
    case STEP_INIT: return init_real(world, r, &handle->real);
    case STEP_ADD_PARTITIONS:
        error = raw_client_add_partitions(client, r->id, r->producer, r->places, r->count);
        break;
    case STEP_PRODUCE:
        error = raw_client_produce(client, r->own_id, r->producer, step->sequence, r->places, r->records, r->count,
                                   &base);
        return (struct answer){ error, error == 0 ? base : -1 };
    case STEP_ADD_OFFSETS: error = raw_client_add_offsets(client, r->id, r->producer, r->group); break;
    case STEP_TXN_OFFSET_COMMIT:
        error = raw_client_txn_offset_commit(client, r->id, r->producer, r->group, r->offsets, r->count);
        break;
    case STEP_END:
        error = raw_client_end_txn(client, r->id, r->producer, step->flag);
        settle(world, r->id);
        break;
    case STEP_OFFSET_COMMIT: error = raw_client_offset_commit(client, r->group, r->offsets, r->count); break;
    case STEP_TRIM: error = raw_client_delete_records(client, r->places, step->offset); break;
    case STEP_CREATE: error = raw_client_create_topic(client, r->topic, PARTITIONS, step->topic == 1); break;
    case STEP_DELETE:
        error = raw_client_delete_topic(client, r->topic);
        await_forgotten(world, r->topic);
        break;
    case STEP_EXPIRE: await_expiry(world); break;
    case STEP_LOOK:
    case KINDS: break;
    }
    return (struct answer){ error, 0 };
}

/* ---- Looking at everything --------------------------------------------------------------------------------------- */

static void say_record(void *text, const struct model_record *record)
{
    say(text, " %" PRId64 ":", record->offset);
    if (weir_is_null(record->key)) say(text, "-");
    else say(text, "'%.*s'", (int)record->key.size, record->key.data);
    if (weir_is_null(record->value)) say(text, "=-");
    else say(text, "=%.*s", (int)record->value.size, record->value.data);
    say(text, record->transactional ? "t" : "");
}

static bool say_model_record(void *text, const struct model_record *record)
{
    say_record(text, record);
    return true;
}

static void say_partition(struct world *world, struct buffer *text, const struct model_place *place, bool real,
                          uint64_t random)
{
    int64_t first = 0;
    for (int committed = 0; committed < 2; committed++) {
        const int64_t specs[] = { MODEL_EARLIEST, MODEL_LATEST,
                                  world->first_time_ms + unit_random_below(&random, TIMES),
                                  world->first_time_ms + TIMES };
        for (size_t i = 0; i < sizeof specs / sizeof *specs; i++) {
            int64_t offset = -2;
            const int error = real ? raw_client_list_offset(world->client, place, specs[i], committed, &offset)
                                   : (int)model_list_offset(world->model, place, specs[i], committed, &offset);
            say(text, " %d/%" PRId64, error, error == 0 ? offset : -1);
            if (i == 0 && error == 0) first = offset;
        }
        int64_t next;
        const int error = real ? raw_client_fetch(world->client, place, first, committed, say_record, text)
                               : (int)model_fetch(world->model, place, first, committed, SIZE_MAX, say_model_record,
                                                  text, &next);
        say(text, " %d;", error);
    }
    say(text, "\n");
}

struct wanted_offset {
    const struct model_place *place;
    struct buffer *text;
};

static void say_wanted(void *user, const struct model_offset *offset)
{
    const struct wanted_offset *wanted = user;
    if (strcmp(offset->topic, wanted->place->topic) == 0 && offset->partition == wanted->place->partition)
        say(wanted->text, " %" PRId64 "'%s'", offset->offset, offset->metadata);
}

/* Positions where anybody looks, stable and not. A broker answers for each partition, the model for the whole group. */
static void say_group(struct world *world, struct buffer *text, int group, bool real, bool stable)
{
    struct buffer offsets;
    buffer_init(&offsets);
    int error = 0;
    for (int topic = 0; topic < TOPICS - 1; topic++) {
        for (int partition = 0; partition < PARTITIONS; partition++) {
            const struct model_place place = { world->topics[topic], partition };
            struct wanted_offset wanted = { &place, &offsets };
            int64_t offset = -1;
            char metadata[64];
            int one;
            say(&offsets, " %d-%d", topic, partition);
            if (real) {
                one = raw_client_offset_fetch(world->client, world->groups[group], &place, stable, &offset, metadata,
                                              sizeof metadata);
                if (one == 0 && offset != -1) say(&offsets, " %" PRId64 "'%s'", offset, metadata);
            } else {
                one = (int)model_offset_fetch(world->model, world->groups[group], stable, say_wanted, &wanted);
            }
            if (one != 0) error = one;
        }
    }
    say(text, "group %d %s: %d", group, stable ? "stable" : "any", error);
    if (error == 0) buffer_put(text, offsets.data, offsets.size);
    say(text, "\n");
    if (error == MODEL_UNSTABLE_OFFSET_COMMIT && !real) unstable_looks++;
    buffer_deinit(&offsets);
}

static void say_model_transaction(void *text, const struct model_transaction *transaction)
{
    say(text, "id %c epoch %d %s\n", transaction->transactional_id[strlen(transaction->transactional_id) - 1],
        transaction->producer.epoch,
        transaction->open ? "open" : transaction->preparing ? "prepared" : "closed");
}

static int compare_lines(const void *left, const void *right)
{
    return strcmp(*(char *const *)left, *(char *const *)right);
}

/* The model visits its ids in an order of its own. */
static void say_sorted_transactions(struct world *world, struct buffer *text)
{
    struct buffer unsorted;
    buffer_init(&unsorted);
    model_each_transaction(world->model, say_model_transaction, &unsorted);
    buffer_u8(&unsorted, 0);
    char *lines[IDS], *rest = unsorted.data;
    size_t count = 0;
    for (char *line; (line = strsep(&rest, "\n")) != NULL && *line != '\0';) lines[count++] = line;
    qsort(lines, count, sizeof *lines, compare_lines);
    for (size_t i = 0; i < count; i++) say(text, "%s\n", lines[i]);
    buffer_deinit(&unsorted);
}

static void say_real_transactions(struct world *world, struct buffer *text)
{
    for (int id = 0; id < IDS; id++) {
        struct raw_transaction transaction;
        if (raw_client_describe_transaction(world->client, world->ids[id], &transaction) != 0) continue;
        say(text, "id %d epoch %d %s\n", id, transaction.producer.epoch,
            strcmp(transaction.state, "Ongoing") == 0          ? "open"
            : strncmp(transaction.state, "Prepare", 7) == 0 ? "prepared"
                                                            : "closed");
    }
}

/* One text of everything that either side can be asked. */
static void describe(struct world *world, struct buffer *text, bool real, uint64_t random)
{
    buffer_clear(text);
    for (int topic = 0; topic < TOPICS - 1; topic++) {
        for (int partition = 0; world->exists[topic] && partition < PARTITIONS; partition++) {
            const struct model_place place = { world->topics[topic], partition };
            say(text, "topic %d-%d:", topic, partition);
            say_partition(world, text, &place, real, random);
        }
    }
    for (int group = 0; group < GROUPS; group++)
        for (int stable = 0; stable < 2; stable++) say_group(world, text, group, real, stable);
    if (real) say_real_transactions(world, text);
    else say_sorted_transactions(world, text);
    buffer_u8(text, 0);
    ck_assert(!text->failed);
}

static void look(struct world *world)
{
    struct buffer model, real;
    buffer_init(&model);
    buffer_init(&real);
    const uint64_t random = unit_random(&world->random);
    describe(world, &model, false, random);
    describe(world, &real, true, random);
    if (strcmp(model.data, real.data) != 0 && !world->is_late) {
        say(&world->trace, "the model:\n");
        buffer_put(&world->trace, model.data, model.size - 1);
        say(&world->trace, "the broker:\n");
        buffer_put(&world->trace, real.data, real.size - 1);
        give_up(world, "they see different things");
    }
    buffer_deinit(&model);
    buffer_deinit(&real);
}

/* ---- A script ---------------------------------------------------------------------------------------------------- */

/* The partition of __consumer_offsets: what a transaction holds is a partition, not a group, so groups that share one
 * share that too. Those of a script do not. */
static int offset_partition(const char *group)
{
    uint32_t hash = 0;
    for (const char *at = group; *at != '\0'; at++) hash = hash * 31 + (unsigned char)*at;
    return (int)((hash & INT32_MAX) % OFFSET_PARTITIONS);
}

static void name_group(char *name, size_t size, const char *stem, int wanted)
{
    for (int i = 0;; i++) {
        (void)snprintf(name, size, "%s-%d", stem, i);
        if (offset_partition(name) == wanted) return;
    }
}

static void begin(struct world *world, struct raw_client *client, uint64_t seed)
{
    *world = (struct world){ .seed = seed, .random = seed, .client = client, .model = model_create() };
    world->first_time_ms = now_ms() - TIMES;
    world->is_busy = draw_chance(world, 15);
    ck_assert(world->model != NULL);
    buffer_init(&world->trace);
    const char *stem = broker_name("model");
    for (int i = 0; i < TOPICS; i++) (void)snprintf(world->topics[i], sizeof world->topics[i], "%s-t%d", stem, i);
    for (int i = 0; i < IDS; i++) (void)snprintf(world->ids[i], sizeof world->ids[i], "%s-%d", stem, i);
    for (int i = 0; i < GROUPS; i++) name_group(world->groups[i], sizeof world->groups[i], stem, i);
}

static void end(struct world *world)
{
    model_destroy(world->model);
    buffer_deinit(&world->trace);
    vec_free(&world->handles);
    vec_free(&world->steps);
}

struct open_ids {
    const struct world *world;
    bool is_open[IDS];
};

static void note_open(void *user, const struct model_transaction *transaction)
{
    struct open_ids *ids = user;
    for (int id = 0; id < IDS; id++)
        if (strcmp(transaction->transactional_id, ids->world->ids[id]) == 0) ids->is_open[id] = transaction->open;
}

/* The broker may time out a transaction of the script at any moment now. */
static bool is_overdue(const struct world *world)
{
    for (int id = 0; id < IDS; id++)
        if (world->open_since_ms[id] != 0 && now_ms() - world->open_since_ms[id] >= short_ms) return true;
    return false;
}

/* Notes which transactions run against a short time-out, and whether one has outrun the script. */
static void watch_clock(struct world *world, bool is_short[IDS], int64_t began_ms)
{
    struct open_ids ids = { .world = world };
    model_each_transaction(world->model, note_open, &ids);
    for (int id = 0; id < IDS; id++) {
        const bool runs = ids.is_open[id] && is_short[id];
        if (!runs) world->open_since_ms[id] = 0;
        else if (world->open_since_ms[id] == 0) world->open_since_ms[id] = began_ms;
    }
    if (is_overdue(world)) world->is_late = true;
    world->open_steps = has_short(world) ? world->open_steps + 1 : 0;
}

static int64_t decided;
static void count_decided(void *unused, const char *id, struct model_producer producer, bool committed)
{
    (void)unused, (void)id, (void)producer, (void)committed;
    decided++;
}

static void follow(struct world *world, const struct step *step, struct answer answer, const struct handle *made)
{
    if (answer.error >= 0 && answer.error < CODES) counts[step->kind][answer.error]++;
    if (step->is_repeat) repeats++;
    if (answer.error != 0) return;
    if (step->kind == STEP_CREATE) world->exists[step->topic] = true;
    if (step->kind == STEP_DELETE) world->exists[step->topic] = false;
    if (step->kind == STEP_INIT) {
        struct handle *handle = vec_push(&world->handles);
        ck_assert(handle != NULL);
        *handle = *made;
    }
    if (step->kind == STEP_PRODUCE && !is_plain(step) && !step->is_repeat && step->epoch_shift == 0)
        world->handles.items[step->handle].next[step->topic][step->partition] = step->sequence + step->count;
}

/* Does the step on both; ends the fact when they differ. */
static void take(struct world *world, const struct step *step)
{
    struct handle made = { .id = step->id };
    const int64_t decided_before = decided;
    struct answer model, real;
    if (step->kind == STEP_EXPIRE) { /* the broker has the clock */
        real = ask_broker(world, step, &made);
        model = ask_model(world, step, &made);
    } else {
        model = ask_model(world, step, &made);
        real = ask_broker(world, step, &made);
    }
    if (step->kind == STEP_END && step->is_repeat && decided > decided_before) ended_by_repeat++;
    say_step(&world->trace, world, step, model, real);
    struct step *kept = vec_push(&world->steps);
    ck_assert(kept != NULL);
    *kept = *step;
    follow(world, step, model, &made);
    if (model.error == real.error && model.number == real.number) return;
    if (!is_overdue(world)) give_up(world, "they answer differently");
}

/* False when the machine was too slow for a time-out of the script, and what the broker did depends on its clock. */
static bool run_script(struct raw_client *client, uint64_t seed)
{
    struct world world;
    bool is_short[IDS] = { false };
    begin(&world, client, seed);
    model_on_decided(world.model, count_decided, NULL);
    for (int i = 0; !world.is_late && (i < STEPS || has_short(&world)); i++) {
        const struct step step = i < STEPS ? draw(&world) : (struct step){ .kind = STEP_EXPIRE };
        const int64_t began_ms = now_ms();
        take(&world, &step);
        if (step.kind == STEP_INIT && step.id >= 0) is_short[step.id] = step.flag;
        watch_clock(&world, is_short, began_ms);
        if (step.kind == STEP_LOOK && !has_short(&world)) look(&world);
    }
    if (!world.is_late) look(&world);
    const bool was_late = world.is_late;
    end(&world);
    return !was_late;
}

/* ---- The facts --------------------------------------------------------------------------------------------------- */

static struct raw_client *open_client(void)
{
    struct raw_client *client = raw_client_open(broker_address());
    PROCESS_AWAIT(raw_client_find_coordinator(client, "model", true) == 0, PATIENCE_MS);
    PROCESS_AWAIT(raw_client_find_coordinator(client, "model", false) == 0, PATIENCE_MS);
    for (int partition = 0; partition < OFFSET_PARTITIONS; partition++) {
        char group[32];
        name_group(group, sizeof group, "model", partition);
        const struct model_place place = { "model", 0 };
        int64_t offset;
        PROCESS_AWAIT(raw_client_offset_fetch(client, group, &place, true, &offset, NULL, 0) == 0, PATIENCE_MS);
    }
    return client;
}

static void print_counts(void)
{
    for (int kind = 0; kind < KINDS; kind++) {
        (void)printf("%s:", kind_names[kind]);
        for (int code = 0; code < CODES; code++)
            if (counts[kind][code] > 0)
                (void)printf(" %s %d", model_error_name((enum model_error)code), counts[kind][code]);
        (void)printf("\n");
    }
    (void)printf("repeats: %d, of which ended a later transaction or the same: %d; looks at pending offsets: %d\n",
                 repeats, ended_by_repeat, unstable_looks);
}

START_TEST(answers_as_a_broker_does)
{
    const char *given = getenv("WEIR_SCRIPTS");
    const int scripts = given != NULL ? atoi(given) : SCRIPTS;
    const uint64_t seed = unit_seed();
    struct raw_client *client = open_client();
    int done = 0, late = 0;
    while (done < scripts && late <= LATE_MAX) {
        if (run_script(client, seed + (uint64_t)(done + late))) {
            done++;
        } else {
            late++;
            if (short_ms < SHORT_MS_MAX) short_ms *= 2;
        }
    }
    raw_client_close(client);
    print_counts();
    (void)printf("%d scripts, and %d given up for the clock; short is %d ms\n", done, late, (int)short_ms);
    ck_assert_int_eq(done, scripts);
    if (scripts < SCRIPTS) return; /* too few to have met everything */
    ck_assert_int_gt(ended_by_repeat, 0);
    ck_assert_int_gt(unstable_looks, 0);
    ck_assert_int_gt(counts[STEP_EXPIRE][MODEL_OK], 0);
    ck_assert_int_gt(counts[STEP_END][MODEL_INVALID_PRODUCER_EPOCH], 0);
    ck_assert_int_gt(counts[STEP_PRODUCE][MODEL_INVALID_TXN_STATE], 0);
    ck_assert_int_gt(counts[STEP_PRODUCE][MODEL_OUT_OF_ORDER_SEQUENCE], 0);
}
END_TEST

/* A batch outside of any transaction may name an epoch that nobody gave out. The log believes it, and refuses the
 * marker of the older epoch for ever: so the time between decision and last marker, which is over in a moment, stands
 * still. */
START_TEST(answers_as_a_broker_does_while_a_marker_is_missing)
{
    const bool commit = _i == 1;
    const struct step before[] = {
        { .kind = STEP_CREATE },
        { .kind = STEP_INIT },
        { .kind = STEP_INIT },
        { .kind = STEP_PRODUCE, .handle = 1, .epoch_shift = 1, .partition = 1, .count = 1 },
        { .kind = STEP_ADD_PARTITIONS, .handle = 1, .count = 1 },
        { .kind = STEP_ADD_OFFSETS, .handle = 1 },
        { .kind = STEP_ADD_PARTITIONS, .handle = 1, .partition = 1, .count = 1 },
        { .kind = STEP_PRODUCE, .handle = 1, .flag = true, .count = 2 },
        { .kind = STEP_TXN_OFFSET_COMMIT, .handle = 1, .count = 1, .offset = 7 },
        { .kind = STEP_END, .handle = 1, .flag = commit },
    };
    const struct step meanwhile[] = {
        { .kind = STEP_LOOK },
        { .kind = STEP_END, .flag = commit },
        { .kind = STEP_END, .flag = !commit },
        { .kind = STEP_ADD_PARTITIONS, .count = 1 },
        { .kind = STEP_ADD_PARTITIONS, .partition = 1, .count = 1 },
        { .kind = STEP_ADD_OFFSETS },
        { .kind = STEP_TXN_OFFSET_COMMIT, .count = 1, .offset = 9 },
        { .kind = STEP_TXN_OFFSET_COMMIT, .group = 1, .count = 1, .offset = 9 },
        { .kind = STEP_PRODUCE, .flag = true, .count = 1, .sequence = 2 },
        { .kind = STEP_PRODUCE, .flag = true, .partition = 1, .count = 1 },
    };
    struct raw_client *client = open_client();
    struct world world;
    begin(&world, client, (uint64_t)_i);
    for (size_t i = 0; i < sizeof before / sizeof *before; i++) {
        world.is_jammed = before[i].kind == STEP_END;
        take(&world, &before[i]);
        ck_assert_int_eq(counts[before[i].kind][MODEL_OK] > 0, true);
    }
    ck_assert_uint_eq(model_markers_pending(world.model), 1);
    for (int handle = 1; handle >= 0; handle--) { /* the owner, then who was there before */
        for (size_t i = 0; i < sizeof meanwhile / sizeof *meanwhile; i++) {
            struct step step = meanwhile[i];
            step.handle = handle;
            take(&world, &step);
            if (step.kind == STEP_LOOK) look(&world);
        }
    }
    take(&world, &(struct step){ .kind = STEP_PRODUCE, .handle = 1, .count = 1, .sequence = 2 });
    take(&world, &(struct step){ .kind = STEP_INIT });
    look(&world);
    end(&world);
    raw_client_close(client);
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_loop_test(tests, answers_as_a_broker_does_while_a_marker_is_missing, 0, 2);
    tcase_add_test(tests, answers_as_a_broker_does);
}

int main(void)
{
    (void)broker_start(1);
    return unit_main("kafka model", add);
}
