/* Barriers that overtake: whole jobs against a sink that takes as many records as it is told to, and restarts from what was
 * overtaken. What the sink shows is what was committed. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/base.h"
#include "checkpoint/pointer.h"
#include "checkpoint/store.h"
#include "harness/local_job.h"
#include "harness/unit.h"
#include "weir/connector.h"
#include "weir/generator.h"
#include "weir/inspect.h"

/* A sink without room has more in front of it than one may think: 31,000 records, when all channels of a broadcast are full. */
enum { SPLITS = 5, KEYS = 19 * SPLITS, RECORDS = 30000, OUTPUT_MAX = 2 * RECORDS };

/* ---- A sink with a dam ---------------------------------------------------------------------------------------------- */

struct output {
    int64_t key, count;
};

static struct dam {
    _Atomic int64_t room;     /* records that it still takes */
    _Atomic uint64_t written; /* by this life */
    struct weir_waker waker;
    _Atomic bool is_open;
    struct output pending[OUTPUT_MAX];
    size_t pending_count, prepared_count;
    _Atomic uint64_t shown;
    bool in_any_order;
    /* A life that is ended in the middle of a commit cannot tell its sink: then the next one goes on behind a gap. */
    bool may_miss;
    bool has_shown[KEYS]; /* in this life */
    int64_t last[KEYS]; /* newest count that was shown of each key */
} dam;

static enum weir_code dam_sink_open(const void *options, const struct weir_connector_context *context, void *decider,
                                    void **sink, struct weir_error *error)
{
    (void)options, (void)context, (void)decider, (void)error;
    *sink = &dam;
    return WEIR_OK;
}
static void dam_sink_close(void *sink) { (void)sink; }
static enum weir_code dam_open(void *sink, uint32_t subtask, uint64_t epoch, struct weir_waker waker, void **writer,
                               struct weir_error *error)
{
    (void)subtask, (void)epoch, (void)error;
    dam.waker = waker;
    dam.pending_count = dam.prepared_count = 0;
    memset(dam.has_shown, 0, sizeof(dam.has_shown));
    atomic_store(&dam.is_open, true);
    *writer = sink;
    return WEIR_OK;
}
static void dam_close(void *writer)
{
    (void)writer;
    atomic_store(&dam.is_open, false);
}
static bool dam_room(void *writer) { return (void)writer, atomic_load(&dam.room) > 0; }
static enum weir_code dam_write(void *writer, const struct weir_record *record, struct weir_error *error)
{
    (void)writer, (void)error;
    struct output *out = &dam.pending[dam.pending_count++];
    ck_assert_uint_le(dam.pending_count, OUTPUT_MAX);
    ck_assert(weir_bytes_to_i64(record->key, &out->key) && weir_bytes_to_i64(record->value, &out->count));
    atomic_fetch_sub(&dam.room, 1);
    atomic_fetch_add(&dam.written, 1);
    return WEIR_OK;
}
static enum weir_code dam_prepare(void *writer, uint64_t epoch, struct weir_output_totals *totals, struct weir_error *error)
{
    (void)writer, (void)epoch, (void)totals, (void)error;
    dam.prepared_count = dam.pending_count;
    return WEIR_OK;
}
static enum weir_code dam_proceed(void *writer, uint64_t epoch, struct weir_error *error)
{
    (void)writer, (void)epoch, (void)error;
    return WEIR_OK;
}
static void dam_committed(void *writer, uint64_t epoch)
{
    (void)writer, (void)epoch;
    for (size_t i = 0; !dam.in_any_order && i < dam.prepared_count; i++) {
        const struct output *out = &dam.pending[i];
        const bool has_gap = dam.may_miss && !dam.has_shown[out->key] && out->count > dam.last[out->key];
        ck_assert_msg(has_gap || out->count == dam.last[out->key] + 1, "key %d: %d comes behind %d", (int)out->key,
                      (int)out->count, (int)dam.last[out->key]);
        dam.last[out->key] = out->count;
        dam.has_shown[out->key] = true;
    }
    atomic_fetch_add(&dam.shown, dam.prepared_count);
    dam.pending_count -= dam.prepared_count;
    memmove(dam.pending, dam.pending + dam.prepared_count, dam.pending_count * sizeof(dam.pending[0]));
    dam.prepared_count = 0;
}
static const struct weir_sink_type dam_type = {
    .size = sizeof(dam_type), .kind = "dam", .open = dam_sink_open, .close = dam_sink_close, .writer_open = dam_open,
    .writer_room = dam_room, .writer_write = dam_write, .writer_prepare = dam_prepare, .writer_proceed = dam_proceed,
    .writer_committed = dam_committed, .writer_close = dam_close,
};

static void dam_let(int64_t records)
{
    atomic_store(&dam.room, records);
    if (atomic_load(&dam.is_open)) dam.waker.wake(dam.waker.user);
}

/* Makes what is in flight to one subtask late: whatever the sources were to read would come before it. */
static _Atomic bool dawdles;

static void setup(void)
{
    memset(&dam, 0, sizeof(dam));
    atomic_store(&dawdles, false);
    local_job_begin();
    local_job_set("execution.checkpointing.unaligned.enabled", "true");
    local_job_set("execution.checkpointing.interval", "1h"); /* barriers come when they are asked for */
    local_job_set("pipeline.channel.capacity", "2");
}

/* ---- Jobs ----------------------------------------------------------------------------------------------------------- */

/* All numbers of a key come from one split, in order. */
static enum weir_code to_key(weir_task *task, const struct weir_record *in)
{
    int64_t number;
    ck_assert(weir_bytes_to_i64(in->value, &number));
    return weir_emit(task, .key = weir_format_i64(task, number % KEYS), .value = in->value);
}

static enum weir_code dawdle(void *task)
{
    if (atomic_load(&dawdles) && weir_subtask_index(task) == 0) usleep(200000);
    return WEIR_OK;
}

static const struct weir_state newest = { .name = "newest", .kind = WEIR_STATE_VALUE, .codec = WEIR_I64 };

static enum weir_code count_in_order(weir_keyed_task *task, const struct weir_record *in)
{
    int64_t number, *last = weir_value_i64(task, &newest);
    ck_assert(last != NULL && weir_bytes_to_i64(in->value, &number));
    const int64_t key = number % KEYS, expected = *last * KEYS + key;
    if (number != expected)
        return weir_fail(task, "key %d: %d comes where %d should", (int)key, (int)number, (int)expected);
    return weir_keyed_emit(task, .key = in->key, .value = weir_format_i64(task, ++*last));
}

static weir_graph *graph_of(uint64_t count, const char *keyer)
{
    weir_graph *graph = weir_graph_create();
    struct weir_stream numbers = weir_generator(graph, .name = "numbers", .count = count, .splits = SPLITS);
    struct weir_stream keyed = weir_flat_map(numbers, .name = keyer, .process = to_key, .open = dawdle);
    struct weir_stream counts = weir_keyed_process(weir_key_by(keyed, .key = NULL), .name = "count",
                                                   .process = count_in_order, .states = { &newest });
    weir_sink(counts, .name = "dam", .type = &dam_type, .parallelism = 1);
    return graph;
}

static struct weir_bytes split_of(weir_task *task, const struct weir_record *record)
{
    int64_t number;
    ck_assert(weir_bytes_to_i64(record->value, &number));
    return weir_format_i64(task, number % SPLITS);
}

static enum weir_code to_key_by_split(weir_keyed_task *task, const struct weir_record *in)
{
    int64_t number;
    ck_assert(weir_bytes_to_i64(in->value, &number));
    return weir_keyed_emit(task, .key = weir_format_i64(task, number % KEYS), .value = in->value);
}

/* The same without chains, for one subtask too: whatever is under way between two operators may be overtaken. */
static weir_graph *graph_without_chains(uint64_t count, const char *keyer)
{
    weir_graph *graph = weir_graph_create();
    local_job_set("pipeline.operator-chaining.enabled", "false");
    struct weir_stream numbers = weir_generator(graph, .name = "numbers", .count = count, .splits = SPLITS);
    struct weir_stream keyed = weir_keyed_process(weir_key_by(numbers, .key = split_of), .name = keyer,
                                                  .process = to_key_by_split, .open = dawdle);
    struct weir_stream counts = weir_keyed_process(weir_key_by(keyed, .key = NULL), .name = "count",
                                                   .process = count_in_order, .states = { &newest });
    weir_sink(counts, .name = "dam", .type = &dam_type, .parallelism = 1);
    return graph;
}

static weir_graph *endless(void) { return graph_of(UINT64_C(1) << 40, "to-key"); }

/* Until twenty looks in a row see neither input nor output, and three of them that nobody wants to run. */
static void wait_until_all_stand(weir_job *job)
{
    struct weir_error outcome;
    struct weir_job_status status = { .size = sizeof(status) };
    uint64_t in, out, still = 0, asleep = 0;
    do {
        in = status.records_in;
        out = atomic_load(&dam.written);
        ck_assert_msg(!weir_job_wait(job, 20, &outcome), "ended: %s", outcome.text);
        weir_job_status(job, &status);
        const bool moves = status.records_in != in || atomic_load(&dam.written) != out;
        still = status.running && status.records_in > 0 && !moves ? still + 1 : 0;
        asleep = still == 0 ? 0 : asleep + local_job_sleeps();
    } while (still < 20 || asleep < 3);
}

static bool is_done(weir_job *job, uint64_t ticket)
{
    struct weir_error outcome;
    struct weir_job_status status = { .size = sizeof(status) };
    ck_assert_msg(!weir_job_wait(job, 5, &outcome), "ended: %s", outcome.text);
    weir_job_status(job, &status);
    return status.checkpoints_done >= ticket;
}

static void wait_until_done(weir_job *job, uint64_t ticket)
{
    while (!is_done(job, ticket)) continue;
}

/* A checkpoint of a job that stands still behind a dam of `records`, and its end. */
static void checkpoint_behind_dam(weir_graph *graph, int64_t records)
{
    dam_let(records);
    weir_job *job = local_job_create(graph);
    wait_until_all_stand(job);
    wait_until_done(job, weir_job_checkpoint(job));
    weir_job_destroy(job);
    ck_assert_int_eq(atomic_load(&dam.room), 0);
}

/* What the pointer names. */
struct store_rig {
    struct weir_environment environment;
    struct store *store;
    struct buffer bytes;
    struct arena arena;
    struct weir_frame_name name;
    struct manifest manifest;
};

static void read_newest(struct store_rig *rig)
{
    struct weir_error error;
    struct weir_ledger_entry entry;
    struct buffer record;
    bool found;
    environment_init_system(&rig->environment);
    const struct store_options options = { .directory = local_job.directory, .job = "test", .slot = "0",
                                           .environment = &rig->environment };
    ck_assert_msg(store_open(&options, &rig->store, &error) == WEIR_OK, "%s", error.text);
    buffer_init(&record);
    buffer_init(&rig->bytes);
    arena_init(&rig->arena, 4096);
    ck_assert_int_eq(pointer_peek(&disk_system, store_path(rig->store), &record, &found, &error), WEIR_OK);
    ck_assert(found && weir_ledger_decode((struct weir_bytes){ record.data, record.size }, &entry, &error) == WEIR_OK);
    rig->name = entry.frame;
    ck_assert_msg(store_read_manifest(rig->store, &rig->name, &rig->bytes, &rig->arena, &rig->manifest, &error) == WEIR_OK,
                  "%s", error.text);
    weir_ledger_entry_clear(&entry);
    buffer_deinit(&record);
}

static void close_rig(struct store_rig *rig)
{
    arena_deinit(&rig->arena);
    buffer_deinit(&rig->bytes);
    store_close(rig->store);
}

static uint64_t records_in_flight(void)
{
    struct store_rig rig;
    uint64_t records = 0;
    read_newest(&rig);
    for (size_t i = 0; i < rig.manifest.flight_count; i++) records += rig.manifest.flights[i].record_count;
    close_rig(&rig);
    return records;
}

static void run_graph_to_the_end(weir_graph *graph, const char *parallelism)
{
    local_job_set("parallelism.default", parallelism);
    local_job_set("source.max-batch-records", "1024");
    dam_let(INT64_MAX);
    const struct weir_error outcome = local_job_run(graph, NULL);
    local_job_expect_ok(&outcome);
    ck_assert(dam.may_miss || atomic_load(&dam.shown) == RECORDS);
    for (uint64_t key = 0; key < KEYS; key++)
        ck_assert_int_eq(dam.last[key], (int64_t)(RECORDS / KEYS + (key < RECORDS % KEYS)));
}

static void run_to_the_end(const char *parallelism)
{
    run_graph_to_the_end(graph_of(RECORDS, "to-key"), parallelism);
}

/* As 'weir checkpoint ls' says it. */
static uint64_t records_listed(void)
{
    char path[160];
    struct weir_error error;
    weir_inspector *inspector;
    struct weir_inspect_checkpoint checkpoint;
    snprintf(path, sizeof(path), "%s/test", local_job.directory);
    ck_assert_msg(weir_inspect_open(&inspector, &error, .path = path) == WEIR_OK, "%s", error.text);
    ck_assert(weir_inspect_checkpoint(inspector, 0, &checkpoint));
    weir_inspect_close(inspector);
    return checkpoint.flight_records;
}

/* ---- Under back-pressure -------------------------------------------------------------------------------------------- */

START_TEST(an_aligned_checkpoint_waits_for_the_sink)
{
    local_job_set("execution.checkpointing.unaligned.enabled", "false");
    local_job_set("parallelism.default", "2");
    dam_let(100);
    weir_job *job = local_job_create(endless());
    wait_until_all_stand(job);
    const uint64_t ticket = weir_job_checkpoint(job);
    for (int look = 0; look < 50; look++) ck_assert(!is_done(job, ticket));
    ck_assert_uint_eq(atomic_load(&dam.written), 100);
    dam_let(20000);
    wait_until_done(job, ticket);
    ck_assert_uint_gt(atomic_load(&dam.written), 100);
    weir_job_destroy(job);
}
END_TEST

/* At once, and when the aligned barrier has waited long enough: again and again while the sink takes nothing, also when a
 * tick finds that at every step. */
START_TEST(an_unaligned_checkpoint_is_committed_while_the_sink_is_blocked)
{
    struct weir_job_status before = { .size = sizeof(before) }, after = { .size = sizeof(after) };
    local_job_set("parallelism.default", "2");
    local_job_set("execution.checkpointing.aligned-checkpoint-timeout", _i % 2 == 0 ? "0ms" : "10ms");
    if (_i >= 2) local_job_set("execution.buffer-timeout", "0ms");
    dam_let(100);
    weir_job *job = local_job_create(endless());
    wait_until_all_stand(job);
    for (int i = 0; i < 10; i++) wait_until_done(job, weir_job_checkpoint(job));
    weir_job_status(job, &before);
    for (int i = 0; i < 10; i++) wait_until_done(job, weir_job_checkpoint(job));
    weir_job_status(job, &after);
    ck_assert_uint_eq(atomic_load(&dam.written), 100);
    ck_assert_uint_eq(atomic_load(&dam.shown), 100);
    ck_assert_uint_eq(after.records_in, before.records_in); /* barriers let nothing in */
    weir_job_destroy(job);
    ck_assert_uint_eq(records_in_flight() + 100, after.records_in); /* all that was read is shown, or in the frame */
    ck_assert_uint_eq(records_in_flight(), records_listed());
}
END_TEST

START_TEST(a_savepoint_waits_for_the_sink_all_the_same)
{
    struct weir_error error;
    struct weir_savepoint_status status = { .size = sizeof(status) };
    char directory[96];
    local_job_set("parallelism.default", "2");
    snprintf(directory, sizeof(directory), "%s/savepoints", local_job.directory);
    dam_let(100);
    weir_job *job = local_job_create(endless());
    wait_until_all_stand(job);
    ck_assert_int_eq(weir_job_savepoint(job, directory, false, &error), WEIR_OK);
    for (int look = 0; look < 50; look++) {
        ck_assert(!is_done(job, 1));
        weir_job_savepoint_status(job, &status);
        ck_assert_int_eq(status.state, WEIR_SAVEPOINT_WAITING);
    }
    dam_let(20000);
    while (status.state == WEIR_SAVEPOINT_WAITING || status.state == WEIR_SAVEPOINT_COPYING) {
        usleep(1000);
        weir_job_savepoint_status(job, &status);
    }
    ck_assert_msg(status.state == WEIR_SAVEPOINT_DONE, "%s", status.error.text);
    weir_job_destroy(job);
}
END_TEST

static weir_graph *broadcast_graph(void)
{
    weir_graph *graph = weir_graph_create();
    const uint64_t endless_count = UINT64_C(1) << 40;
    struct weir_stream a = weir_generator(graph, .name = "a", .count = endless_count, .splits = SPLITS);
    struct weir_stream b = weir_generator(graph, .name = "b", .count = endless_count, .splits = SPLITS);
    weir_sink(weir_co_process(a, weir_broadcast(b), .name = "both", .first = to_key, .second = to_key), .name = "dam",
              .type = &dam_type, .parallelism = 1);
    return graph;
}

/* Nor is what comes behind. */
static void expect_no_overtaking(weir_graph *graph)
{
    dam_let(100);
    weir_job *job = local_job_create(graph);
    wait_until_all_stand(job);
    const uint64_t ticket = weir_job_checkpoint(job);
    for (int look = 0; look < 50; look++) ck_assert(!is_done(job, ticket));
    dam_let(OUTPUT_MAX - 100);
    wait_until_done(job, ticket);
    weir_job_destroy(job);
    struct store_rig rig;
    read_newest(&rig);
    ck_assert_uint_eq(rig.manifest.flight_count, 0);
    close_rig(&rig);
}

/* Or the state of those who hear a broadcast would differ. */
START_TEST(a_broadcast_is_never_overtaken)
{
    local_job_set("parallelism.default", "2");
    dam.in_any_order = true;
    expect_no_overtaking(broadcast_graph());
}
END_TEST

/* Or nobody would know, at another parallelism, where to take it. */
START_TEST(what_goes_from_subtask_to_subtask_without_a_key_is_never_overtaken)
{
    local_job_set("parallelism.default", "2");
    local_job_set("pipeline.operator-chaining.enabled", "false");
    expect_no_overtaking(endless());
}
END_TEST

/* ---- Restarts ------------------------------------------------------------------------------------------------------- */

/* Two subtasks, then another number of them; operators in chains, and each in a task of its own. */
START_TEST(what_was_overtaken_is_processed_before_anything_else)
{
    static const char *const parallelism[] = { "1", "2", "3" };
    local_job_set("parallelism.default", "2");
    weir_graph *(*const graph)(uint64_t, const char *) = _i < 3 ? graph_of : graph_without_chains;
    checkpoint_behind_dam(graph(RECORDS, "to-key"), 100);
    ck_assert_uint_gt(records_in_flight(), 1000);
    atomic_store(&dawdles, true);
    run_graph_to_the_end(graph(RECORDS, "to-key"), parallelism[_i % 3]);
    ck_assert_uint_eq(records_in_flight(), 0); /* the last checkpoint of a job is aligned */
}
END_TEST

static void behave_at_random(uint64_t *random)
{
    static const char *const parallelism[] = { "1", "2", "3" }, *const capacities[] = { "2", "3", "8" };
    static const char *const timeouts[] = { "0ms", "0ms", "1ms", "7ms" }, *const sizes[] = { "1", "40", "1024" };
    local_job_set("parallelism.default", parallelism[unit_random_below(random, 3)]);
    local_job_set("pipeline.operator-chaining.enabled", unit_chance(random, 50) ? "true" : "false");
    local_job_set("pipeline.channel.capacity", capacities[unit_random_below(random, 3)]);
    local_job_set("source.max-batch-records", sizes[unit_random_below(random, 3)]);
    local_job_set("execution.checkpointing.aligned-checkpoint-timeout", timeouts[unit_random_below(random, 4)]);
    local_job_set("execution.checkpointing.interval", unit_chance(random, 50) ? "1ms" : "20ms");
    local_job_set("execution.epoch.hard-limit", unit_chance(random, 50) ? "4kb" : "256mb");
}

/* Lives that end anywhere, each with another plan, with checkpoints all the time; the sink takes what it likes. */
START_TEST(every_record_is_counted_once_whatever_is_overtaken)
{
    uint64_t seed = unit_seed(), *random = &seed, in_flight = 0;
    dam.may_miss = true;
    for (int life = 0; life < 12; life++) {
        struct weir_error outcome;
        behave_at_random(random);
        dam_let(unit_random_below(random, 300));
        weir_job *job = local_job_create(graph_of(RECORDS, "to-key"));
        for (int i = 0; i < 20 && !weir_job_wait(job, 3, &outcome); i++) dam_let(unit_random_below(random, 100));
        weir_job_destroy(job);
        if (atomic_load(&dam.shown) > 0) in_flight += records_in_flight();
    }
    (void)printf("%llu records in flight\n", (unsigned long long)in_flight);
    run_to_the_end("2");
}
END_TEST

START_TEST(a_flight_to_an_operator_that_is_gone_stops_the_start)
{
    local_job_set("parallelism.default", "2");
    checkpoint_behind_dam(graph_without_chains(RECORDS, "to-key"), 100);
    dam_let(INT64_MAX);
    const struct weir_error outcome = local_job_run(graph_without_chains(RECORDS, "renamed"), NULL);
    ck_assert_int_eq(outcome.code, WEIR_FOREIGN);
    ck_assert_msg(strstr(outcome.text, "on their way to operator 'to-key'") != NULL, "%s", outcome.text);
    run_graph_to_the_end(graph_without_chains(RECORDS, "to-key"), "2"); /* nothing was lost by trying */
}
END_TEST

/* ---- Damage --------------------------------------------------------------------------------------------------------- */

static void flip(const char *file, long at)
{
    char path[160];
    snprintf(path, sizeof(path), "%s/test/%s", local_job.directory, file);
    FILE *log = fopen(path, "r+b");
    ck_assert(log != NULL && fseek(log, at, SEEK_SET) == 0);
    const int byte = fgetc(log);
    ck_assert(fseek(log, at, SEEK_SET) == 0 && fputc(byte ^ 1, log) != EOF && fclose(log) == 0);
}

START_TEST(a_damaged_flight_is_found_before_anything_is_processed)
{
    struct store_rig rig;
    local_job_set("parallelism.default", "2");
    checkpoint_behind_dam(graph_of(RECORDS, "to-key"), 100);
    read_newest(&rig);
    const struct manifest_flight *flight = &rig.manifest.flights[rig.manifest.flight_count / 2];
    const long at = (long)rig.name.offset + (long)(flight->records.data - rig.bytes.data) + (long)flight->records.size / 2;
    flip(rig.name.file, at);
    dam_let(INT64_MAX);
    atomic_store(&dam.written, 0);
    const struct weir_error outcome = local_job_run(graph_of(RECORDS, "to-key"), NULL);
    ck_assert_int_eq(outcome.code, WEIR_DAMAGED);
    ck_assert_msg(strstr(outcome.text, rig.name.file) != NULL, "%s", outcome.text);
    ck_assert_uint_eq(atomic_load(&dam.written), 0);
    flip(rig.name.file, at);
    close_rig(&rig);
    run_to_the_end("3");
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_checked_fixture(tests, setup, local_job_end);
    tcase_add_test(tests, an_aligned_checkpoint_waits_for_the_sink);
    tcase_add_loop_test(tests, an_unaligned_checkpoint_is_committed_while_the_sink_is_blocked, 0, 4);
    tcase_add_test(tests, a_savepoint_waits_for_the_sink_all_the_same);
    tcase_add_test(tests, a_broadcast_is_never_overtaken);
    tcase_add_test(tests, what_goes_from_subtask_to_subtask_without_a_key_is_never_overtaken);
    tcase_add_loop_test(tests, what_was_overtaken_is_processed_before_anything_else, 0, 6);
    tcase_add_loop_test(tests, every_record_is_counted_once_whatever_is_overtaken, 0, 2);
    tcase_add_test(tests, a_flight_to_an_operator_that_is_gone_stops_the_start);
    tcase_add_test(tests, a_damaged_flight_is_found_before_anything_is_processed);
}

int main(void)
{
    return unit_main("runtime_unaligned", add);
}
