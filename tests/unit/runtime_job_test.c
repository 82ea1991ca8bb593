/* Whole jobs in one process, without an outside system: generator, operators, print, the pointer as decider. What is printed
 * was committed, so what is printed is what the oracle compares. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/base.h"
#include "checkpoint/pointer.h"
#include "checkpoint/store.h"
#include "harness/local_job.h"
#include "harness/unit.h"
#include "weir/generator.h"
#include "weir/print.h"

#define KEYS 97

/* ---- A world for one test ------------------------------------------------------------------------------------------- */

struct world {
    int64_t last[KEYS + 1];   /* newest count printed for each key */
    uint64_t lines;
    uint64_t sum;             /* of numeric values, for jobs that print numbers */
    bool fell;                /* a count that was not above the one before */
};

static struct world world;

static void setup(void)
{
    memset(&world, 0, sizeof(world));
    local_job_begin();
}

/* "key<TAB>count": counts of one key rise in what is committed. */
static void take_count(void *user, const char *line, size_t size)
{
    (void)user;
    char text[64];
    long key, count;
    ck_assert_uint_lt(size, sizeof(text));
    memcpy(text, line, size);
    text[size] = '\0';
    ck_assert_int_eq(sscanf(text, "k%ld\t%ld", &key, &count), 2);
    world.fell |= count <= world.last[key];
    world.last[key] = count;
    world.lines++;
}

static void take_number(void *user, const char *line, size_t size)
{
    (void)user;
    const char *tab = memchr(line, '\t', size);
    int64_t number;
    ck_assert_ptr_nonnull(tab);
    ck_assert(weir_bytes_to_i64((struct weir_bytes){ tab + 1, size - (size_t)(tab + 1 - line) }, &number));
    world.sum += (uint64_t)number;
    world.lines++;
}

/* ---- Jobs ----------------------------------------------------------------------------------------------------------- */

static enum weir_code to_key(weir_task *task, const struct weir_record *in)
{
    int64_t number;
    ck_assert(weir_bytes_to_i64(in->value, &number));
    return weir_emit(task, .key = weir_format(task, "k%d", (int)(number % KEYS)), .value = in->value);
}

static enum weir_code add_one(weir_keyed_task *task, void *accumulator, const struct weir_record *in)
{
    (void)task;
    (void)in;
    ++*(int64_t *)accumulator;
    return WEIR_OK;
}

static weir_graph *count_graph(uint64_t count, uint64_t per_second, enum weir_emit_mode emit)
{
    weir_graph *graph = weir_graph_create();
    struct weir_stream numbers =
        weir_generator(graph, .name = "numbers", .count = count, .splits = 5, .per_second = per_second);
    struct weir_stream keyed = weir_flat_map(numbers, .name = "to-key", .process = to_key);
    struct weir_stream counts = weir_aggregate(weir_key_by(keyed, .key = NULL), .name = "count", .accumulator = WEIR_I64,
                                               .add = add_one, .emit = emit);
    weir_print(counts, .name = "out", .line = take_count, .parallelism = 1);
    return graph;
}

static enum weir_code own_key(weir_task *task, const struct weir_record *in)
{
    return weir_emit(task, .key = in->value, .value = in->value);
}

/* As many keys as records: state grows with each. */
static weir_graph *many_keys_graph(uint64_t count)
{
    weir_graph *graph = weir_graph_create();
    struct weir_stream numbers = weir_generator(graph, .name = "numbers", .count = count);
    struct weir_stream keyed = weir_flat_map(numbers, .name = "own-key", .process = own_key);
    weir_print(weir_aggregate(weir_key_by(keyed, .key = NULL), .name = "count", .accumulator = WEIR_I64, .add = add_one,
                              .emit = WEIR_EMIT_ON_COMMIT),
               .name = "out", .line = take_number);
    return graph;
}

/* Frames in the logs of incarnation `incarnation` that say they are early parts; -1 when it has no log. */
static int count_parts(int incarnation)
{
    char path[128], prefix[32];
    int count = -1;
    snprintf(path, sizeof(path), "%s/test", local_job.directory);
    snprintf(prefix, sizeof(prefix), "log-%d-", incarnation);
    DIR *directory = opendir(path);
    if (directory == NULL) return -1;
    for (struct dirent *entry; (entry = readdir(directory)) != NULL;) {
        char name[512], head[16];
        if (strncmp(entry->d_name, prefix, strlen(prefix)) != 0) continue;
        snprintf(name, sizeof(name), "%s/%s", path, entry->d_name);
        FILE *log = fopen(name, "rb");
        if (log == NULL) continue;
        if (count < 0) count = 0;
        for (long at = 0; fseek(log, at, SEEK_SET) == 0 && fread(head, sizeof(head), 1, log) == 1; at += 4096)
            count += memcmp(head, "WEIRFRAM", 8) == 0 && (head[12] & 1) != 0;
        fclose(log);
    }
    closedir(directory);
    return count;
}

/* The newest committed frames of a job that has ended well, newest first: those with the highest epochs. */
static size_t find_frames(struct weir_frame_name *frames, size_t wanted)
{
    char path[128];
    size_t count = 0;
    snprintf(path, sizeof(path), "%s/test", local_job.directory);
    DIR *directory = opendir(path);
    ck_assert_ptr_nonnull(directory);
    for (struct dirent *entry; (entry = readdir(directory)) != NULL;) {
        char name[512], head[FRAME_HEADER_BYTES];
        struct store_file file;
        if (!store_file_parse(entry->d_name, &file) || file.kind != STORE_FILE_LOG) continue;
        snprintf(name, sizeof(name), "%s/%s", path, entry->d_name);
        FILE *log = fopen(name, "rb");
        struct weir_frame_name at = { .incarnation = file.incarnation };
        bool is_part;
        ck_assert_uint_lt(strlen(entry->d_name), sizeof(at.file));
        memcpy(at.file, entry->d_name, strlen(entry->d_name));
        for (; fseek(log, (long)at.offset, SEEK_SET) == 0 && fread(head, sizeof(head), 1, log) == 1 &&
               frame_peek((struct weir_bytes){ head, sizeof(head) }, &at, &is_part); at.offset += at.length) {
            fseek(log, (long)(at.offset + at.length - sizeof(at.hash)), SEEK_SET);
            if (is_part || fread(&at.hash, sizeof(at.hash), 1, log) != 1) continue;
            size_t place = count < wanted ? count++ : wanted;
            for (; place > 0 && frames[place - 1].epoch < at.epoch; place--)
                if (place < wanted) frames[place] = frames[place - 1];
            if (place < wanted) frames[place] = at;
        }
        fclose(log);
    }
    closedir(directory);
    return count;
}

static struct store *open_store(void)
{
    static struct weir_environment environment;
    struct store *store;
    struct weir_error error;
    environment_init_system(&environment);
    const struct store_options options = { .directory = local_job.directory, .job = "test", .slot = "0",
                                           .environment = &environment };
    ck_assert_msg(store_open(&options, &store, &error) == WEIR_OK, "%s", error.text);
    return store;
}

/* What it points to lies in `bytes` and `arena`. */
static struct manifest read_manifest(struct store *store, const struct weir_frame_name *name, struct buffer *bytes,
                                     struct arena *arena)
{
    struct manifest manifest;
    struct weir_error error;
    buffer_init(bytes);
    arena_init(arena, 4096);
    ck_assert_msg(store_read_frame(store, name, bytes, &error) == WEIR_OK, "%s", error.text);
    ck_assert_int_eq(manifest_decode((struct weir_bytes){ bytes->data, bytes->size }, name, arena, &manifest, &error),
                     WEIR_OK);
    return manifest;
}

static void expect_whole(struct store *store, const struct weir_frame_name *name)
{
    struct buffer bytes;
    struct arena arena;
    struct store_chain chain;
    struct weir_error error;
    const struct manifest manifest = read_manifest(store, name, &bytes, &arena);
    for (size_t i = 0; i < manifest.operator_count; i++)
        for (size_t k = 0; k < manifest.operators[i].base_count; k++)
            ck_assert_msg(store_check_base(store, &manifest.operators[i].bases[k], &error) == WEIR_OK,
                          "checkpoint %d: %s", (int)name->epoch, error.text);
    ck_assert_msg(store_chain(store, name, manifest_redo_epoch(&manifest) + 1, &chain, &error) == WEIR_OK, "%s",
                  error.text);
    store_chain_clear(&chain);
    arena_deinit(&arena);
    buffer_deinit(&bytes);
}

/* Of the split of the only source that is read furthest, in the newest checkpoint. */
static uint64_t committed_position(void)
{
    struct weir_frame_name newest;
    struct buffer bytes;
    struct arena arena;
    struct store *store = open_store();
    ck_assert_uint_eq(find_frames(&newest, 1), 1);
    const struct manifest manifest = read_manifest(store, &newest, &bytes, &arena);
    int64_t position = 0;
    for (size_t i = 0; i < manifest.sources[0].splits.count; i++)
        if (manifest.sources[0].splits.items[i].position > position) position = manifest.sources[0].splits.items[i].position;
    arena_deinit(&arena);
    buffer_deinit(&bytes);
    store_close(store);
    return (uint64_t)position;
}

static void expect_counts(uint64_t count)
{
    ck_assert_msg(!world.fell, "a committed count did not rise");
    for (uint64_t key = 0; key < KEYS; key++)
        ck_assert_msg((uint64_t)world.last[key] == count / KEYS + (key < count % KEYS), "key %d has %ld", (int)key,
                      (long)world.last[key]);
}

/* ---- Facts ---------------------------------------------------------------------------------------------------------- */

START_TEST(counts_every_record_once_at_any_parallelism)
{
    static const char *const parallelism[] = { "1", "2", "3" };
    struct weir_job_status status;
    local_job_set("parallelism.default", parallelism[_i]);
    const struct weir_error outcome = local_job_run(count_graph(50000, 0, WEIR_EMIT_ON_COMMIT), &status);
    local_job_expect_ok(&outcome);
    expect_counts(50000);
    ck_assert_uint_eq(status.records_in, 50000);
    ck_assert_uint_eq(status.records_out, world.lines);
}
END_TEST

START_TEST(emits_each_change_in_order)
{
    local_job_set("parallelism.default", "3");
    const struct weir_error outcome = local_job_run(count_graph(20000, 0, WEIR_EMIT_EACH), NULL);
    local_job_expect_ok(&outcome);
    expect_counts(20000);
    ck_assert_uint_eq(world.lines, 20000);
}
END_TEST

START_TEST(goes_on_where_it_stood_with_another_parallelism)
{
    static const char *const parallelism[] = { "1", "3", "2", "1" };
    bool had_parts = false; /* that were still there when a life ended: logs are cut */
    if (_i == 1) local_job_set("execution.epoch.hard-limit", "64"); /* so that every epoch is written in parts */
    for (int run = 0; run < 4; run++) {
        struct weir_error outcome;
        local_job_set("parallelism.default", parallelism[run]);
        /* Small limits, so that bases are written and the log is cut. */
        local_job_set("state.base.min-log-size", "64kb");
        local_job_set("state.log.segment-size", "128kb");
        weir_job *job = local_job_create(count_graph(400000, run == 3 ? 0 : 10000, WEIR_EMIT_ON_COMMIT));
        if (run < 3) {
            struct weir_job_status status = { .size = sizeof(status) };
            do { /* until it has committed something in this life */
                ck_assert_msg(!weir_job_wait(job, 5, &outcome), "ended: %s", outcome.text);
                weir_job_status(job, &status);
            } while (status.epochs < 10);
            if (run == 1) weir_job_stop(job); /* else it is destroyed where it stands */
            if (run == 1) ck_assert(weir_job_wait(job, PATIENCE_MS, &outcome));
        } else {
            ck_assert_msg(weir_job_wait(job, PATIENCE_MS, &outcome), "the job does not end; its log:\n%s", local_job.log);
            local_job_expect_ok(&outcome);
        }
        weir_job_destroy(job);
        had_parts |= count_parts(run + 1) > 0;
    }
    expect_counts(400000);
    if (_i == 1) ck_assert(had_parts);
}
END_TEST

static _Atomic int failures_left;

static enum weir_code fail_sometimes(weir_task *task, const struct weir_record *in)
{
    int64_t number;
    ck_assert(weir_bytes_to_i64(in->value, &number));
    if (number % 9973 == 9972 && atomic_fetch_sub(&failures_left, 1) > 0) return weir_fail(task, "an injected failure");
    return to_key(task, in);
}

START_TEST(rolls_back_and_replays_after_a_failure_of_an_operator)
{
    struct weir_job_status status;
    atomic_store(&failures_left, 3);
    local_job_set("parallelism.default", _i % 2 == 0 ? "1" : "3");
    if (_i >= 2) local_job_set("execution.epoch.hard-limit", "64"); /* parts of epochs that come to nothing */
    local_job_set("restart-strategy.exponential-delay.initial-backoff", "1ms");
    weir_graph *graph = weir_graph_create();
    struct weir_stream numbers = weir_generator(graph, .name = "numbers", .count = 60000, .splits = 3, .per_second = 200000);
    struct weir_stream keyed = weir_process(numbers, .name = "to-key", .process = fail_sometimes);
    struct weir_stream counts = weir_aggregate(weir_key_by(keyed, .key = NULL), .name = "count", .accumulator = WEIR_I64,
                                               .add = add_one, .emit = WEIR_EMIT_ON_COMMIT);
    weir_print(counts, .name = "out", .line = take_count, .parallelism = 1);
    const struct weir_error outcome = local_job_run(graph, &status);
    local_job_expect_ok(&outcome);
    expect_counts(60000);
    ck_assert_uint_ge(status.restarts, 1);
    ck_assert_ptr_nonnull(strstr(local_job.log, "an injected failure"));
}
END_TEST

START_TEST(gives_up_when_the_restart_strategy_does)
{
    atomic_store(&failures_left, 1000);
    local_job_set("restart-strategy.type", "fixed-delay");
    local_job_set("restart-strategy.fixed-delay.attempts", "2");
    local_job_set("restart-strategy.fixed-delay.delay", "1ms");
    weir_graph *graph = weir_graph_create();
    struct weir_stream numbers = weir_generator(graph, .name = "numbers", .count = 20000);
    weir_print(weir_process(numbers, .name = "to-key", .process = fail_sometimes), .name = "out", .line = take_number);
    const struct weir_error outcome = local_job_run(graph, NULL);
    ck_assert_int_eq(outcome.code, WEIR_FAILED);
    ck_assert_ptr_nonnull(strstr(outcome.text, "an injected failure"));
}
END_TEST

static enum weir_code take_first(weir_task *task, const struct weir_record *in) { return weir_forward(task, in); }
static enum weir_code take_second(weir_task *task, const struct weir_record *in)
{
    int64_t number;
    ck_assert(weir_bytes_to_i64(in->value, &number));
    return weir_emit(task, .value = weir_format_i64(task, number * 1000));
}

static bool is_even(weir_task *task, const struct weir_record *in)
{
    int64_t number;
    (void)task;
    return weir_bytes_to_i64(in->value, &number) && number % 2 == 0;
}

START_TEST(joins_unions_and_two_kinds_of_input)
{
    /* (a + b as union, evens only) -> 1; c as second input -> 1000 */
    local_job_set("parallelism.default", _i == 0 ? "1" : "3");
    weir_graph *graph = weir_graph_create();
    struct weir_stream a = weir_generator(graph, .name = "a", .count = 1000, .splits = 4);
    struct weir_stream b = weir_generator(graph, .name = "b", .count = 500, .parallelism = 1);
    struct weir_stream c = weir_generator(graph, .name = "c", .count = 100, .parallelism = 2);
    struct weir_stream even = weir_filter(weir_union(a, b), .name = "even", .filter = is_even);
    struct weir_stream both =
        weir_co_process(even, weir_rebalance(c), .name = "both", .first = take_first, .second = take_second);
    weir_print(both, .name = "out", .line = take_number);
    const struct weir_error outcome = local_job_run(graph, NULL);
    local_job_expect_ok(&outcome);
    const uint64_t evens_a = 500 * 998 / 2, evens_b = 250 * 498 / 2, thousands = 100 * 99 / 2 * 1000;
    ck_assert_uint_eq(world.lines, 500 + 250 + 100);
    ck_assert_uint_eq(world.sum, evens_a + evens_b + thousands);
}
END_TEST

START_TEST(broadcasts_to_every_subtask)
{
    local_job_set("parallelism.default", "3");
    weir_graph *graph = weir_graph_create();
    struct weir_stream a = weir_generator(graph, .name = "a", .count = 100);
    struct weir_stream b = weir_generator(graph, .name = "b", .count = 10, .parallelism = 1);
    struct weir_stream both =
        weir_co_process(a, weir_broadcast(b), .name = "both", .first = take_first, .second = take_second);
    weir_print(both, .name = "out", .line = take_number);
    const struct weir_error outcome = local_job_run(graph, NULL);
    local_job_expect_ok(&outcome);
    ck_assert_uint_eq(world.lines, 100 + 3 * 10);
}
END_TEST

/* A life of at least so many commits, however slow the machine is. Answers a number of records that is above all that was
 * read. */
static uint64_t run_for_commits(uint64_t commits)
{
    struct weir_error outcome;
    struct weir_job_status status = { .size = sizeof(status) };
    local_job_set("execution.checkpointing.interval", "20ms");
    weir_job *job = local_job_create(count_graph(UINT64_C(1) << 40, 10000, WEIR_EMIT_ON_COMMIT));
    for (; status.epochs < commits; weir_job_status(job, &status))
        ck_assert_msg(!weir_job_wait(job, 5, &outcome), "ended: %s", outcome.text);
    weir_job_stop(job);
    ck_assert(weir_job_wait(job, PATIENCE_MS, &outcome));
    weir_job_destroy(job);
    local_job_expect_ok(&outcome);
    return 5 * (committed_position() + 1000);
}

/* Lives of many commits, each with another base, and of one: what the last three need is there after each. */
START_TEST(retained_checkpoints_survive_restarts)
{
    uint64_t count = 0;
    local_job_set("execution.checkpointing.num-retained", "3");
    local_job_set("state.recovery.max-frames", "1");
    local_job_set("state.log.segment-size", "64kb");
    for (uint64_t life = 1; life <= 6; life++) {
        if (life % 2 == 1) {
            count = run_for_commits(6);
        } else {
            local_job_set("execution.checkpointing.interval", "1h");
            const struct weir_error outcome = local_job_run(count_graph(count, 0, WEIR_EMIT_ON_COMMIT), NULL);
            local_job_expect_ok(&outcome);
        }
        struct weir_frame_name frames[3];
        ck_assert_uint_eq(find_frames(frames, 3), 3);
        struct store *store = open_store();
        for (size_t i = 0; i < 3; i++) expect_whole(store, &frames[i]);
        store_close(store);
    }
    expect_counts(count);
}
END_TEST

START_TEST(refuses_a_store_that_lost_its_frame)
{
    const struct weir_error first = local_job_run(count_graph(10000, 0, WEIR_EMIT_ON_COMMIT), NULL);
    local_job_expect_ok(&first);
    char path[128];
    snprintf(path, sizeof(path), "%s/test", local_job.directory);
    DIR *directory = opendir(path);
    for (struct dirent *entry; (entry = readdir(directory)) != NULL;) {
        char log[512];
        snprintf(log, sizeof(log), "%s/%s", path, entry->d_name);
        if (strncmp(entry->d_name, "log-", 4) == 0) ck_assert_int_eq(unlink(log), 0);
    }
    closedir(directory);
    const struct weir_error second = local_job_run(count_graph(10000, 0, WEIR_EMIT_ON_COMMIT), NULL);
    ck_assert_int_eq(second.code, WEIR_DAMAGED);
    ck_assert_ptr_nonnull(strstr(second.text, "log-"));
}
END_TEST

START_TEST(refuses_a_checkpoint_directory_without_rights)
{
    local_job_set("execution.checkpointing.dir", "/proc/weir");
    const struct weir_error outcome = local_job_run(count_graph(10, 0, WEIR_EMIT_ON_COMMIT), NULL);
    ck_assert_int_eq(outcome.code, WEIR_ENVIRONMENT);
}
END_TEST

START_TEST(a_soft_limit_brings_the_barrier_forward)
{
    struct weir_job_status status;
    local_job_set("execution.checkpointing.interval", "1h");
    local_job_set("execution.epoch.soft-limit", "64kb");
    const struct weir_error outcome = local_job_run(many_keys_graph(100000), &status);
    local_job_expect_ok(&outcome);
    ck_assert_uint_eq(world.lines, 100000);
    ck_assert_msg(status.epochs >= 3, "%d epochs", (int)status.epochs);
}
END_TEST

START_TEST(an_epoch_above_the_hard_limit_is_written_in_parts)
{
    struct weir_job_status status;
    local_job_set("parallelism.default", _i == 0 ? "1" : "2");
    local_job_set("execution.checkpointing.interval", "1h");
    local_job_set("execution.epoch.hard-limit", "20kb");
    local_job_set("state.log.segment-size", "64kb");
    const struct weir_error outcome = local_job_run(many_keys_graph(100000), &status);
    local_job_expect_ok(&outcome);
    ck_assert_uint_eq(world.lines, 100000); /* each key once: emit on commit knows what parts have written */
    ck_assert_uint_le(status.epochs, 3);
    ck_assert_int_gt(count_parts(1), 5);
    const struct weir_error again = local_job_run(many_keys_graph(100001), NULL);
    local_job_expect_ok(&again);
    ck_assert_uint_eq(world.sum, 100001);
}
END_TEST

START_TEST(parts_of_an_epoch_that_was_never_committed_are_ignored_and_deleted)
{
    struct weir_error outcome;
    local_job_set("execution.checkpointing.interval", "1h");
    local_job_set("execution.epoch.hard-limit", "4kb");
    local_job_set("state.log.segment-size", "64kb");
    weir_job *job = local_job_create(many_keys_graph(1000000000));
    while (count_parts(1) < 20) ck_assert_msg(!weir_job_wait(job, 5, &outcome), "ended: %s", outcome.text);
    weir_job_destroy(job);
    ck_assert_uint_eq(world.lines, 0);
    outcome = local_job_run(many_keys_graph(20000), NULL);
    local_job_expect_ok(&outcome);
    ck_assert_uint_eq(world.sum, 20000);
    ck_assert_int_eq(count_parts(1), -1);
    ck_assert_int_gt(count_parts(2), 0);
}
END_TEST

/* ---- The end of a bounded job ---------------------------------------------------------------------------------------- */

static enum weir_code nothing(weir_task *task, const struct weir_record *in) { return (void)task, (void)in, WEIR_OK; }
static enum weir_code say_the_end(weir_task *task, const struct weir_record *in)
{
    ck_assert_ptr_null(in);
    return weir_emit(task, .key = weir_text("end"), .value = weir_text("1"));
}

/* One record in all, at the end. */
static weir_graph *end_graph(uint64_t count, uint64_t per_second)
{
    weir_graph *graph = weir_graph_create();
    struct weir_stream numbers = weir_generator(graph, .name = "numbers", .count = count, .per_second = per_second);
    weir_print(weir_process(numbers, .name = "end", .process = nothing, .finish = say_the_end, .parallelism = 1),
               .name = "out", .line = take_number, .parallelism = 1);
    return graph;
}

START_TEST(a_complete_job_that_is_started_again_ends_at_once)
{
    struct weir_job_status status;
    if (_i == 1) local_job_set("parallelism.default", "2");
    for (int start = 0; start < 3; start++) {
        const struct weir_error outcome = local_job_run(end_graph(1000, 0), &status);
        local_job_expect_ok(&outcome);
        ck_assert_uint_eq(world.lines, 1);
        ck_assert(status.was_complete == (start > 0));
        ck_assert_uint_eq(status.records_in, start == 0 ? 1000 : 0);
    }
    ck_assert_ptr_nonnull(strstr(local_job.log, "was complete already"));
}
END_TEST

START_TEST(a_complete_job_goes_on_with_new_input_to_the_new_end)
{
    struct weir_job_status status;
    for (uint64_t start = 1; start <= 3; start++) {
        const struct weir_error outcome = local_job_run(end_graph(start * 1000, 0), &status);
        local_job_expect_ok(&outcome);
        ck_assert_uint_eq(world.lines, start);
        ck_assert(!status.was_complete);
        ck_assert_uint_eq(status.records_in, 1000);
    }
}
END_TEST

/* In between it runs towards an end that is further away, and is stopped before anything has come (simulator, seeds 741 and
 * 5604). On a machine so slow that the first record of that second has come there is nothing to be seen. */
START_TEST(a_complete_job_that_was_stopped_with_nothing_new_stays_complete)
{
    struct weir_job_status status = { .size = sizeof(status) };
    struct weir_error outcome = local_job_run(end_graph(1000, 0), NULL);
    local_job_expect_ok(&outcome);
    weir_job *job = local_job_create(end_graph(2000, 1));
    while (!status.running && !weir_job_wait(job, 1, &outcome)) weir_job_status(job, &status);
    weir_job_stop(job);
    ck_assert(weir_job_wait(job, PATIENCE_MS, &outcome));
    weir_job_status(job, &status);
    weir_job_destroy(job);
    local_job_expect_ok(&outcome);
    if (status.records_in > 0) return;
    outcome = local_job_run(end_graph(1000, 0), &status);
    local_job_expect_ok(&outcome);
    ck_assert_uint_eq(world.lines, 1);
    ck_assert(status.was_complete);
}
END_TEST

/* One source ends long before the other; what is said at the end is said once all the same, whatever dies in between. */
static weir_graph *two_ends_graph(uint64_t per_second)
{
    weir_graph *graph = weir_graph_create();
    struct weir_stream few = weir_generator(graph, .name = "few", .count = 10);
    struct weir_stream many = weir_generator(graph, .name = "many", .count = 200000, .per_second = per_second);
    weir_print(weir_union(weir_process(few, .name = "end of few", .process = nothing, .finish = say_the_end),
                          weir_process(many, .name = "end of many", .process = nothing, .finish = say_the_end)),
               .name = "out", .line = take_number, .parallelism = 1);
    return graph;
}

START_TEST(the_last_words_of_all_tasks_are_committed_together)
{
    if (_i == 1) local_job_set("parallelism.default", "3");
    for (int life = 0; life < 4; life++) {
        struct weir_error outcome;
        struct weir_job_status status = { .size = sizeof(status) };
        weir_job *job = local_job_create(two_ends_graph(life < 3 ? 10000 : 0));
        while (life < 3 && status.epochs < 5) {
            ck_assert_msg(!weir_job_wait(job, 2, &outcome), "ended: %s", outcome.text);
            weir_job_status(job, &status);
        }
        if (life == 1) weir_job_stop(job); /* else it is destroyed where it stands */
        if (life % 2 == 1) ck_assert(weir_job_wait(job, PATIENCE_MS, &outcome));
        weir_job_destroy(job);
        ck_assert_uint_eq(world.lines, life < 3 ? 0 : _i == 1 ? 6 : 2);
    }
}
END_TEST

START_TEST(a_job_that_was_stopped_is_not_complete)
{
    struct weir_error outcome;
    struct weir_job_status status = { .size = sizeof(status) };
    weir_job *job = local_job_create(end_graph(1000000, 20000));
    do {
        ck_assert_msg(!weir_job_wait(job, 2, &outcome), "ended: %s", outcome.text);
        weir_job_status(job, &status);
    } while (status.epochs < 3);
    weir_job_stop(job);
    ck_assert(weir_job_wait(job, PATIENCE_MS, &outcome));
    weir_job_destroy(job);
    local_job_expect_ok(&outcome);
    ck_assert_uint_eq(world.lines, 0);
    outcome = local_job_run(end_graph(committed_position(), 0), &status); /* no new input: only the end is missing */
    local_job_expect_ok(&outcome);
    ck_assert_uint_eq(world.lines, 1);
    ck_assert_uint_eq(status.records_in, 0);
    ck_assert(!status.was_complete);
}
END_TEST

/* ---- A sink that takes nothing -------------------------------------------------------------------------------------- */

static enum weir_code wall_open(const void *options, const struct weir_connector_context *context, void *decider,
                                void **sink, struct weir_error *error)
{
    (void)options, (void)context, (void)decider, (void)error;
    *sink = &world;
    return WEIR_OK;
}
static void wall_close(void *sink) { (void)sink; }
static enum weir_code wall_writer_open(void *sink, uint32_t subtask, uint64_t epoch, struct weir_waker waker,
                                       void **writer, struct weir_error *error)
{
    (void)subtask, (void)epoch, (void)waker, (void)error;
    *writer = sink;
    return WEIR_OK;
}
static bool wall_room(void *writer) { return (void)writer, false; }
static enum weir_code wall_write(void *writer, const struct weir_record *record, struct weir_error *error)
{
    (void)writer, (void)record, (void)error;
    ck_abort_msg("a record was written to a sink without room");
    return WEIR_FAILED;
}
static enum weir_code wall_prepare(void *writer, uint64_t epoch, struct weir_output_totals *totals,
                                   struct weir_error *error)
{
    (void)writer, (void)epoch, (void)totals, (void)error;
    return WEIR_OK;
}
static enum weir_code wall_proceed(void *writer, uint64_t epoch, struct weir_error *error)
{
    (void)writer, (void)epoch, (void)error;
    return WEIR_OK;
}
static const struct weir_sink_type wall = {
    .size = sizeof(wall), .kind = "wall", .open = wall_open, .close = wall_close, .writer_open = wall_writer_open,
    .writer_room = wall_room, .writer_write = wall_write, .writer_prepare = wall_prepare,
    .writer_proceed = wall_proceed, .writer_close = wall_close,
};

START_TEST(a_blocked_sink_stops_the_sources_within_what_channels_hold)
{
    struct weir_error outcome;
    struct weir_job_status status = { .size = sizeof(status) };
    uint64_t before, still = 0;
    local_job_set("parallelism.default", "2");
    local_job_set("pipeline.channel.capacity", "2");
    weir_graph *graph = weir_graph_create();
    struct weir_stream numbers = weir_generator(graph, .name = "numbers", .count = UINT64_C(1) << 40, .splits = 2);
    struct weir_stream keyed = weir_flat_map(numbers, .name = "to-key", .process = to_key);
    struct weir_stream counts = weir_aggregate(weir_key_by(keyed, .key = NULL), .name = "count", .accumulator = WEIR_I64,
                                               .add = add_one, .emit = WEIR_EMIT_EACH);
    weir_sink(counts, .name = "wall", .type = &wall);
    weir_job *job = local_job_create(graph);
    do { /* until twenty looks in a row see no more input */
        before = status.records_in;
        ck_assert_msg(!weir_job_wait(job, 50, &outcome), "ended: %s", outcome.text);
        weir_job_status(job, &status);
        still = status.records_in > 0 && status.records_in == before ? still + 1 : 0;
    } while (still < 20);
    /* Two sources, each with a batch in hand, two open ones, and two channels of two batches; two receivers with one each. */
    ck_assert_uint_le(status.records_in, (2 * (1 + 2 + 2 * 2) + 2) * 1024);
    weir_job_destroy(job);
}
END_TEST

/* ---- A stop while a task cannot end ---------------------------------------------------------------------------------- */

static _Atomic bool may_open, has_prepared;

static enum weir_code open_when_told(void *task)
{
    (void)task;
    while (!atomic_load(&may_open)) usleep(1000);
    return WEIR_OK;
}

static bool witness_room(void *writer) { return (void)writer, true; }
static enum weir_code witness_write(void *writer, const struct weir_record *record, struct weir_error *error)
{
    (void)writer, (void)record, (void)error;
    return WEIR_OK;
}
static enum weir_code witness_prepare(void *writer, uint64_t epoch, struct weir_output_totals *totals,
                                      struct weir_error *error)
{
    (void)writer, (void)epoch, (void)totals, (void)error;
    atomic_store(&has_prepared, true);
    return WEIR_OK;
}
static const struct weir_sink_type witness = {
    .size = sizeof(witness), .kind = "witness", .open = wall_open, .close = wall_close,
    .writer_open = wall_writer_open, .writer_room = witness_room, .writer_write = witness_write,
    .writer_prepare = witness_prepare, .writer_proceed = wall_proceed, .writer_close = wall_close,
};

/* One source may be kept from opening, while the other sees the barrier. */
static weir_graph *witnessed_end_graph(void)
{
    weir_graph *graph = weir_graph_create();
    weir_sink(weir_generator(graph, .name = "others", .count = 10), .name = "witness", .type = &witness);
    struct weir_stream numbers = weir_generator(graph, .name = "numbers", .count = 1000);
    weir_print(weir_process(numbers, .name = "end", .process = nothing, .finish = say_the_end, .open = open_when_told),
               .name = "out", .line = take_number);
    return graph;
}

START_TEST(a_complete_job_that_is_stopped_before_its_tasks_end_stays_complete)
{
    for (int start = 0; start < 3; start++) {
        struct weir_error outcome;
        atomic_store(&may_open, start != 1);
        atomic_store(&has_prepared, false);
        weir_job *job = local_job_create(witnessed_end_graph());
        struct weir_job_status status = { .size = sizeof(status) };
        for (; start == 1 && !status.running; weir_job_status(job, &status)) usleep(1000);
        if (start == 1) weir_job_stop(job);
        while (!atomic_load(&has_prepared)) usleep(1000);
        atomic_store(&may_open, true);
        ck_assert(weir_job_wait(job, PATIENCE_MS, &outcome));
        weir_job_destroy(job);
        local_job_expect_ok(&outcome);
        ck_assert_uint_eq(world.lines, 1);
    }
}
END_TEST

/* ---- An older checkpoint, and when there are none --------------------------------------------------------------------- */

START_TEST(goes_back_to_a_retained_checkpoint_when_it_is_told_to)
{
    char epoch[24];
    struct weir_frame_name frames[3];
    local_job_set("execution.checkpointing.num-retained", "3");
    const uint64_t count = run_for_commits(6);
    ck_assert_uint_eq(find_frames(frames, 3), 3);
    snprintf(epoch, sizeof(epoch), "%d", (int)frames[2].epoch); /* the last one may be the end alone */
    local_job_set("start.checkpoint", epoch);
    memset(&world, 0, sizeof(world)); /* what comes is lower again, and then as high */
    struct weir_error outcome = local_job_run(count_graph(count, 0, WEIR_EMIT_ON_COMMIT), NULL);
    local_job_expect_ok(&outcome);
    ck_assert_msg(strstr(local_job.log, "comes a second time") != NULL, "%s", local_job.log);
    expect_counts(count);

    local_job_set("start.checkpoint", "100000");
    outcome = local_job_run(count_graph(count, 0, WEIR_EMIT_ON_COMMIT), NULL);
    ck_assert_int_ne(outcome.code, WEIR_OK);
    ck_assert_msg(strstr(outcome.text, "is not retained") != NULL, "%s", outcome.text);
}
END_TEST

START_TEST(a_pause_keeps_barriers_apart)
{
    struct weir_job_status status = { .size = sizeof(status) };
    local_job_set("execution.checkpointing.interval", "1ms");
    local_job_set("execution.checkpointing.min-pause", "1h");
    const struct weir_error outcome = local_job_run(count_graph(1000, 5000, WEIR_EMIT_EACH), &status);
    local_job_expect_ok(&outcome);
    expect_counts(1000);
    ck_assert_uint_le(status.epochs, 3); /* the founding, the end, and no other but one by accident */
}
END_TEST

/* Nothing is committed while the sink takes nothing: reported and waited for as often as is put up with, and then too late. */
START_TEST(a_checkpoint_that_is_late_is_put_up_with_as_often_as_was_said)
{
    local_job_set("execution.checkpointing.unaligned.enabled", "false");
    local_job_set("execution.checkpointing.timeout", "100ms");
    local_job_set("execution.checkpointing.tolerable-failed-checkpoints", _i == 0 ? "0" : "2");
    local_job_set("restart-strategy.type", "none");
    local_job_set("parallelism.default", "2");
    weir_graph *graph = weir_graph_create();
    struct weir_stream numbers = weir_generator(graph, .name = "numbers", .count = UINT64_C(1) << 40, .splits = 2);
    weir_sink(weir_rebalance(numbers), .name = "wall", .type = &wall);
    const struct weir_error outcome = local_job_run(graph, NULL);
    ck_assert_int_ne(outcome.code, WEIR_OK);
    ck_assert_msg(strstr(outcome.text, "was not committed within 100ms") != NULL, "%s", outcome.text);
    /* Of the checkpoint that was too late in the end: a busy machine may have been late with another before. */
    char reported[96];
    int waits = 0;
    const char *late = strstr(outcome.text, "checkpoint ");
    ck_assert_ptr_nonnull(late);
    (void)snprintf(reported, sizeof(reported), "%.*s; waiting on", (int)strcspn(late, ";\n"), late);
    for (const char *at = local_job.log; (at = strstr(at, reported)) != NULL; at++) waits++;
    ck_assert_int_eq(waits, _i == 0 ? 0 : 2);
}
END_TEST

/* ---- Cancelled, and nothing kept ------------------------------------------------------------------------------------ */

static void cancel_in_mid_stream(void)
{
    struct weir_error outcome;
    struct weir_job_status status = { .size = sizeof(status) };
    weir_job *job = local_job_create(count_graph(UINT64_C(1) << 40, 10000, WEIR_EMIT_EACH));
    do {
        ck_assert_msg(!weir_job_wait(job, 5, &outcome), "ended: %s", outcome.text);
        weir_job_status(job, &status);
    } while (status.epochs < 3);
    weir_job_cancel(job);
    ck_assert(weir_job_wait(job, PATIENCE_MS, &outcome));
    weir_job_destroy(job);
    local_job_expect_ok(&outcome);
}

START_TEST(a_job_that_is_cancelled_keeps_its_checkpoints_unless_it_is_told_not_to)
{
    static const char *const retentions[] = { "RETAIN_ON_CANCELLATION", "DELETE_ON_CANCELLATION",
                                              "NO_EXTERNALIZED_CHECKPOINTS" };
    local_job_set("parallelism.default", "2");
    local_job_set("execution.checkpointing.externalized-checkpoint-retention", retentions[_i]);
    cancel_in_mid_stream();
    ck_assert_int_eq(local_job_count_files("store"), 1);
    if (_i == 0) {
        ck_assert_int_gt(local_job_count_files("log-"), 0);
        return;
    }
    ck_assert_int_eq(local_job_count_files("log-") + local_job_count_files("base-"), 0);
    const struct weir_error outcome = local_job_run(count_graph(1000, 0, WEIR_EMIT_EACH), NULL);
    ck_assert_int_eq(outcome.code, WEIR_FOREIGN);
    ck_assert_msg(strstr(outcome.text, "were dropped") != NULL, "%s", outcome.text);
    memset(world.last, 0, sizeof(world.last));
    local_job_set("start.fresh", "true");
    const struct weir_error fresh = local_job_run(count_graph(1000, 0, WEIR_EMIT_EACH), NULL);
    local_job_expect_ok(&fresh);
    expect_counts(1000);
}
END_TEST

START_TEST(a_job_that_is_destroyed_was_not_cancelled)
{
    struct weir_job_status status = { .size = sizeof(status) };
    local_job_set("execution.checkpointing.externalized-checkpoint-retention", "DELETE_ON_CANCELLATION");
    weir_job *job = local_job_create(count_graph(UINT64_C(1) << 40, 10000, WEIR_EMIT_EACH));
    for (; status.epochs < 3; weir_job_status(job, &status)) usleep(1000);
    weir_job_destroy(job);
    ck_assert_int_gt(local_job_count_files("log-"), 0);
}
END_TEST

/* ---- A decider that fails once ------------------------------------------------------------------------------------- */

static struct weir_decider_options stumbling_options;
static int flushes_to_fail;

static enum weir_code stumbling_open(const struct weir_decider_options *options, void **decider,
                                     struct weir_error *error)
{
    stumbling_options = *options;
    return pointer_decider.open(options, decider, error);
}

static void stumbling_flush(void *decider, uint32_t attempt, uint32_t handle, uint64_t epoch, struct weir_bytes key,
                            struct weir_bytes value, bool anchors)
{
    if (flushes_to_fail-- <= 0) {
        pointer_decider.flush(decider, attempt, handle, epoch, key, value, anchors);
        return;
    }
    struct weir_decider_event event = { .type = WEIR_DECIDER_FAILED, .attempt = attempt, .handle = handle };
    weir_error_set(&event.error, WEIR_FAILED, WEIR_REMEDY_REPLAY, "an injected failure");
    stumbling_options.post(stumbling_options.post_user, &event);
}

static enum weir_code floor_write(void *writer, const struct weir_record *record, struct weir_error *error)
{
    (void)writer, (void)error;
    char line[64];
    const int size = snprintf(line, sizeof(line), "%.*s\t%.*s", (int)record->key.size, record->key.data,
                              (int)record->value.size, record->value.data);
    take_count(NULL, line, (size_t)size);
    return WEIR_OK;
}

START_TEST(fresh_counts_until_its_founding_is_committed)
{
    struct weir_decider_type stumbling = pointer_decider;
    struct weir_sink_type floor = wall;
    stumbling.open = stumbling_open;
    stumbling.flush = stumbling_flush;
    floor.writer_room = witness_room;
    floor.writer_write = floor_write;
    floor.decider = &stumbling;
    local_job_set("restart-strategy.exponential-delay.initial-backoff", "1ms");
    for (int run = 0; run < 2; run++) {
        memset(world.last, 0, sizeof(world.last));
        local_job_set("start.fresh", run == 0 ? "false" : "true");
        flushes_to_fail = run;
        weir_graph *graph = weir_graph_create();
        struct weir_stream keyed = weir_flat_map(weir_generator(graph, .name = "numbers", .count = 1000),
                                                 .name = "to-key", .process = to_key);
        weir_sink(weir_aggregate(weir_key_by(keyed, .key = NULL), .name = "count", .accumulator = WEIR_I64,
                                 .add = add_one, .emit = WEIR_EMIT_EACH),
                  .name = "floor", .type = &floor);
        const struct weir_error outcome = local_job_run(graph, NULL);
        local_job_expect_ok(&outcome);
        expect_counts(1000);
    }
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_checked_fixture(tests, setup, local_job_end);
    tcase_add_loop_test(tests, counts_every_record_once_at_any_parallelism, 0, 3);
    tcase_add_test(tests, emits_each_change_in_order);
    tcase_add_loop_test(tests, goes_on_where_it_stood_with_another_parallelism, 0, 2);
    tcase_add_loop_test(tests, rolls_back_and_replays_after_a_failure_of_an_operator, 0, 4);
    tcase_add_test(tests, gives_up_when_the_restart_strategy_does);
    tcase_add_loop_test(tests, joins_unions_and_two_kinds_of_input, 0, 2);
    tcase_add_test(tests, broadcasts_to_every_subtask);
    tcase_add_test(tests, a_soft_limit_brings_the_barrier_forward);
    tcase_add_loop_test(tests, an_epoch_above_the_hard_limit_is_written_in_parts, 0, 2);
    tcase_add_test(tests, parts_of_an_epoch_that_was_never_committed_are_ignored_and_deleted);
    tcase_add_test(tests, a_blocked_sink_stops_the_sources_within_what_channels_hold);
    tcase_add_loop_test(tests, a_complete_job_that_is_started_again_ends_at_once, 0, 2);
    tcase_add_test(tests, a_complete_job_that_is_stopped_before_its_tasks_end_stays_complete);
    tcase_add_test(tests, a_complete_job_goes_on_with_new_input_to_the_new_end);
    tcase_add_test(tests, a_complete_job_that_was_stopped_with_nothing_new_stays_complete);
    tcase_add_loop_test(tests, the_last_words_of_all_tasks_are_committed_together, 0, 2);
    tcase_add_test(tests, a_job_that_was_stopped_is_not_complete);
    tcase_add_test(tests, goes_back_to_a_retained_checkpoint_when_it_is_told_to);
    tcase_add_test(tests, a_pause_keeps_barriers_apart);
    tcase_add_loop_test(tests, a_checkpoint_that_is_late_is_put_up_with_as_often_as_was_said, 0, 2);
    tcase_add_loop_test(tests, a_job_that_is_cancelled_keeps_its_checkpoints_unless_it_is_told_not_to, 0, 3);
    tcase_add_test(tests, a_job_that_is_destroyed_was_not_cancelled);
    tcase_add_test(tests, fresh_counts_until_its_founding_is_committed);
    tcase_add_test(tests, retained_checkpoints_survive_restarts);
    tcase_add_test(tests, refuses_a_store_that_lost_its_frame);
    tcase_add_test(tests, refuses_a_checkpoint_directory_without_rights);
}

int main(void) { return unit_main("runtime_job", add); }
