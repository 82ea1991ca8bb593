/* Savepoints of whole jobs: taken while they run and when they stop, and what may begin from them. */
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness/digits.h"
#include "harness/local_job.h"
#include "harness/unit.h"
#include "weir/generator.h"
#include "weir/inspect.h"
#include "weir/print.h"
#include "weir/savepoint.h"

/* So many that the slow job (15 s) has never read them all when it is asked for something, on no machine. */
enum { NUMBERS = 60000 };

static FILE *sunk; /* what the job prints */
static char savepoints[128];

/* ---- The job: how often each last digit comes ----------------------------------------------------------------------- */

static struct weir_bytes key_of(weir_task *task, const struct weir_record *record)
{
    (void)task;
    return (struct weir_bytes){ record->value.data + record->value.size - 1, 1 };
}

static weir_graph *graph_of(uint64_t per_second, const char *operator_name)
{
    weir_graph *graph = weir_graph_create();
    struct weir_stream numbers = weir_generator(graph, .name = "numbers", .count = NUMBERS, .splits = 2,
                                                .per_second = per_second);
    struct weir_stream counts = weir_aggregate(weir_key_by(numbers, .key = key_of), .name = operator_name,
                                               .accumulator = WEIR_I64, .add = digits_add_one, .emit = WEIR_EMIT_ON_COMMIT);
    weir_print(counts, .name = "out", .file = sunk);
    return graph;
}

static weir_graph *slow(void) { return graph_of(4000, "count"); }
static weir_graph *fast(void) { return graph_of(0, "count"); }

/* What all counts in the newest checkpoint at `path` add up to. */
static int64_t counted(const char *path)
{
    weir_inspector *inspector;
    struct weir_error error = { .code = WEIR_OK };
    struct weir_inspect_entry entry;
    int64_t sum = 0, one;
    ck_assert_msg(weir_inspect_open(&inspector, &error, .path = path) == WEIR_OK, "%s", error.text);
    ck_assert_msg(weir_inspect_begin(inspector, NULL, &error) == WEIR_OK, "%s", error.text);
    while (weir_inspect_next(inspector, &entry, &error)) {
        ck_assert_uint_eq(entry.value.size, sizeof one);
        memcpy(&one, entry.value.data, sizeof one);
        sum += one;
    }
    ck_assert_msg(error.code == WEIR_OK, "%s", error.text);
    weir_inspect_close(inspector);
    return sum;
}

static int64_t counted_by_job(void)
{
    char path[128];
    (void)snprintf(path, sizeof path, "%s/%s", local_job.directory, local_job.name);
    return counted(path);
}

/* ---- Taking --------------------------------------------------------------------------------------------------------- */

static struct weir_savepoint_status savepoint_of(weir_job *job)
{
    struct weir_savepoint_status status = { .size = sizeof(status) };
    weir_job_savepoint_status(job, &status);
    return status;
}

static void ask(weir_job *job, bool stops)
{
    struct weir_error error;
    ck_assert_msg(weir_job_savepoint(job, savepoints, stops, &error) == WEIR_OK, "%s", error.text);
}

static struct weir_savepoint_status wait_savepoint(weir_job *job)
{
    for (;;) {
        const struct weir_savepoint_status status = savepoint_of(job);
        if (status.state == WEIR_SAVEPOINT_DONE || status.state == WEIR_SAVEPOINT_FAILED) return status;
        (void)weir_job_wait(job, 2, NULL);
    }
}

static void expect_done(const struct weir_savepoint_status *status)
{
    ck_assert_msg(status->state == WEIR_SAVEPOINT_DONE, "%s\nlog:\n%s", status->error.text, local_job.log);
}

/* Of a job that has read some of its numbers; it ends with the savepoint. */
static struct weir_savepoint_status stop_with_savepoint(void)
{
    struct weir_error outcome;
    weir_job *job = local_job_create(slow());
    local_job_await_records(job, 2000);
    ask(job, true);
    ck_assert(weir_job_wait(job, PATIENCE_MS, &outcome));
    local_job_expect_ok(&outcome);
    const struct weir_savepoint_status status = savepoint_of(job);
    expect_done(&status);
    weir_job_destroy(job);
    return status;
}

static struct weir_inspect_report verified(const char *path)
{
    struct weir_inspect_options options = { .size = sizeof options, .path = path };
    struct weir_inspect_report report;
    struct weir_error error = { .code = WEIR_OK };
    ck_assert_msg(weir_inspect_verify(&options, NULL, NULL, &report, &error) == WEIR_OK, "%s", error.text);
    return report;
}

/* As many lives as it takes until a base is in it: on a busy machine one of half a second may be too short. */
static struct weir_savepoint_status stop_with_bases(void)
{
    local_job_set("state.recovery.max-frames", "4");
    for (int life = 0; life < 20; life++) {
        const struct weir_savepoint_status status = stop_with_savepoint();
        if (verified(status.path).bases > 0) return status;
    }
    ck_abort_msg("there is no base");
}

/* Runs to the end of the input, beginning from the savepoint. */
static struct weir_error run_from(const char *path, struct weir_job_status *status)
{
    local_job_set("start.bounded", "true");
    local_job_set("execution.savepoint.path", path);
    return local_job_run(fast(), status);
}

static void expect_refused(const struct weir_error *outcome, enum weir_code code, const char *part)
{
    ck_assert_msg(outcome->code == code, "%s: %s\nlog:\n%s", weir_code_name(outcome->code), outcome->text, local_job.log);
    ck_assert_msg(strstr(outcome->text, part) != NULL, "no '%s' in: %s", part, outcome->text);
}

static void begin(void)
{
    local_job_begin();
    local_job_set("start.bounded", "false");
    (void)snprintf(savepoints, sizeof savepoints, "%s/savepoints", local_job.directory);
    sunk = fopen("/dev/null", "w");
    ck_assert_ptr_nonnull(sunk);
}

static void end(void)
{
    fclose(sunk);
    local_job_end();
}

START_TEST(a_job_goes_on_while_a_savepoint_is_taken)
{
    struct weir_savepoint looked = { .size = sizeof looked };
    struct weir_error error;
    weir_job *job = local_job_create(slow());
    local_job_await_records(job, 500);
    ask(job, false);
    const struct weir_savepoint_status status = wait_savepoint(job);
    expect_done(&status);
    const struct weir_job_status then = local_job_status(job);
    ck_assert(then.running);
    local_job_await_records(job, then.records_in + 500);
    ck_assert_msg(weir_savepoint_look(status.path, &looked, &error) == WEIR_OK, "%s", error.text);
    ck_assert_str_eq(looked.job, "test");
    ck_assert_uint_eq(looked.epoch, status.epoch);
    ck_assert_uint_eq(looked.bytes, status.bytes);
    ck_assert_int_ge(counted(status.path), 500);
    ck_assert_int_lt(counted(status.path), NUMBERS);
    ask(job, false); /* and another one */
    const struct weir_savepoint_status second = wait_savepoint(job);
    expect_done(&second);
    ck_assert_str_ne(status.path, second.path);
    ck_assert_int_gt(counted(second.path), counted(status.path));
    weir_job_destroy(job);
}
END_TEST

START_TEST(a_job_that_does_not_run_yet_stops_with_a_savepoint_when_it_does)
{
    struct weir_error outcome;
    weir_job *job = local_job_create(slow());
    ask(job, true);
    ck_assert(weir_job_wait(job, PATIENCE_MS, &outcome));
    local_job_expect_ok(&outcome);
    const struct weir_savepoint_status status = savepoint_of(job);
    expect_done(&status);
    weir_job_destroy(job);
}
END_TEST

START_TEST(a_savepoint_holds_bases_and_deltas)
{
    local_job_set("parallelism.default", "3");
    const struct weir_savepoint_status status = stop_with_bases();
    const struct weir_inspect_report report = verified(status.path);
    ck_assert_uint_gt(report.frames, 0);
    ck_assert_uint_eq(report.entries, 10);
    ck_assert_int_eq(counted(status.path), counted_by_job());
}
END_TEST

START_TEST(a_copy_under_another_name_ends_with_the_same_state)
{
    struct weir_job_status rest;
    const struct weir_savepoint_status status = stop_with_savepoint();
    const int64_t before = counted(status.path);
    local_job.name = "copy";
    local_job_set("parallelism.default", "3");
    struct weir_error outcome = run_from(status.path, &rest);
    local_job_expect_ok(&outcome);
    ck_assert_int_eq((int64_t)rest.records_in, NUMBERS - before);
    ck_assert_int_eq(counted_by_job(), NUMBERS);
    ck_assert_int_eq(counted(status.path), before); /* nobody touched it */
}
END_TEST

START_TEST(the_backend_may_change)
{
    const struct weir_savepoint_status in_memory = stop_with_savepoint();
    local_job.name = "on-disk";
    if (local_job.stores[0] == '\0') local_job_use_small_cache();
    local_job_set("execution.savepoint.path", in_memory.path);
    const struct weir_savepoint_status on_disk = stop_with_savepoint();
    ck_assert_int_gt(counted(on_disk.path), counted(in_memory.path));
    local_job.name = "in-memory";
    local_job_set("state.backend.type", "hashmap");
    struct weir_error outcome = run_from(on_disk.path, NULL);
    local_job_expect_ok(&outcome);
    ck_assert_int_eq(counted_by_job(), NUMBERS);
}
END_TEST

START_TEST(a_savepoint_is_complete_wherever_it_is_moved)
{
    char moved[128];
    const struct weir_savepoint_status status = stop_with_savepoint();
    (void)snprintf(moved, sizeof moved, "%s/elsewhere", local_job.directory);
    ck_assert_int_eq(rename(status.path, moved), 0);
    local_job.name = "copy";
    struct weir_error outcome = run_from(moved, NULL);
    local_job_expect_ok(&outcome);
    ck_assert_int_eq(counted_by_job(), NUMBERS);
}
END_TEST

START_TEST(a_job_that_ended_with_the_savepoint_goes_on)
{
    const struct weir_savepoint_status status = stop_with_savepoint();
    local_job_set("parallelism.default", "2");
    struct weir_error outcome = run_from(status.path, NULL);
    local_job_expect_ok(&outcome);
    ck_assert_ptr_nonnull(strstr(local_job.log, "where the savepoint"));
    ck_assert_int_eq(counted_by_job(), NUMBERS);
}
END_TEST

START_TEST(a_job_that_began_with_the_savepoint_goes_on_although_it_is_gone)
{
    struct weir_error outcome, error;
    const struct weir_savepoint_status status = stop_with_savepoint();
    local_job.name = "copy";
    local_job_set("execution.savepoint.path", status.path);
    weir_job *job = local_job_create(slow());
    local_job_await_records(job, 1000);
    weir_job_stop(job);
    ck_assert(weir_job_wait(job, PATIENCE_MS, &outcome));
    local_job_expect_ok(&outcome);
    weir_job_destroy(job);
    ck_assert_msg(weir_savepoint_dispose(status.path, &error) == WEIR_OK, "%s", error.text);
    outcome = run_from(status.path, NULL);
    local_job_expect_ok(&outcome);
    ck_assert_ptr_nonnull(strstr(local_job.log, "already"));
    ck_assert_int_eq(counted_by_job(), NUMBERS);
}
END_TEST

START_TEST(a_job_with_another_history_is_refused_unless_it_begins_anew)
{
    struct weir_job_status rest;
    weir_job *job = local_job_create(slow());
    local_job_await_records(job, 500);
    ask(job, false);
    const struct weir_savepoint_status status = wait_savepoint(job);
    expect_done(&status);
    const int64_t before = counted(status.path);
    weir_job_destroy(job);
    local_job_set("start.bounded", "true");
    struct weir_error outcome = local_job_run(fast(), NULL); /* to the end, behind the savepoint */
    local_job_expect_ok(&outcome);
    outcome = run_from(status.path, NULL);
    expect_refused(&outcome, WEIR_FOREIGN, "history of its own");
    local_job_set("start.fresh", "true");
    outcome = run_from(status.path, &rest);
    local_job_expect_ok(&outcome);
    ck_assert_int_eq((int64_t)rest.records_in, NUMBERS - before);
    ck_assert_int_eq(counted_by_job(), NUMBERS);
}
END_TEST

START_TEST(a_savepoint_can_be_taken_of_a_job_that_began_with_one)
{
    const struct weir_savepoint_status first = stop_with_savepoint();
    local_job.name = "copy";
    local_job_set("execution.savepoint.path", first.path);
    const struct weir_savepoint_status second = stop_with_savepoint();
    ck_assert_int_gt(counted(second.path), counted(first.path));
    local_job.name = "copy-of-copy";
    struct weir_error outcome = run_from(second.path, NULL);
    local_job_expect_ok(&outcome);
    ck_assert_int_eq(counted_by_job(), NUMBERS);
}
END_TEST

START_TEST(state_that_nobody_claims_is_given_up_only_when_said_so)
{
    struct weir_error outcome;
    const struct weir_savepoint_status status = stop_with_savepoint();
    local_job.name = "copy";
    local_job_set("start.bounded", "true");
    local_job_set("execution.savepoint.path", status.path);
    outcome = local_job_run(graph_of(0, "another"), NULL);
    expect_refused(&outcome, WEIR_FOREIGN, "operator 'count'");
    local_job_set("execution.savepoint.ignore-unclaimed-state", "true");
    outcome = local_job_run(graph_of(0, "another"), NULL);
    local_job_expect_ok(&outcome);
    ck_assert_int_eq(counted_by_job(), NUMBERS - counted(status.path));
}
END_TEST

static int64_t counted_in_copy(const char *operator_name, const struct weir_savepoint_status *status)
{
    local_job_set("start.bounded", "true");
    local_job_set("execution.savepoint.path", status->path);
    const struct weir_error outcome = local_job_run(graph_of(0, operator_name), NULL);
    local_job_expect_ok(&outcome);
    return counted_by_job();
}

START_TEST(an_operator_that_got_another_name_keeps_its_state)
{
    local_job_set("state.recovery.max-frames", "4"); /* bases and deltas */
    local_job_set("parallelism.default", "3");
    const struct weir_savepoint_status status = stop_with_savepoint();
    local_job.name = "copy";
    local_job_set("execution.savepoint.rename-operators", "count=tally");
    ck_assert_int_eq(counted_in_copy("tally", &status), NUMBERS);
    ck_assert_int_eq(counted_in_copy("tally", &status), NUMBERS); /* the same arguments again */
    local_job_set("execution.savepoint.rename-operators", "");
    ck_assert_int_eq(counted_in_copy("tally", &status), NUMBERS); /* and without */
}
END_TEST

START_TEST(an_operator_is_renamed_in_the_history_that_ended_with_the_savepoint)
{
    const struct weir_savepoint_status status = stop_with_savepoint();
    local_job_set("execution.savepoint.rename-operators", "count=tally");
    ck_assert_int_eq(counted_in_copy("tally", &status), NUMBERS);
    ck_assert_ptr_nonnull(strstr(local_job.log, "with which its ledger ends"));
    local_job_set("execution.savepoint.rename-operators", "");
    const struct weir_error outcome = local_job_run(graph_of(0, "tally"), NULL);
    local_job_expect_ok(&outcome);
    ck_assert_int_eq(counted_by_job(), NUMBERS);
}
END_TEST

START_TEST(one_operator_begins_anew_and_its_input_goes_on)
{
    const struct weir_savepoint_status status = stop_with_savepoint();
    local_job.name = "copy";
    local_job_set("execution.savepoint.reset-operators", "count");
    ck_assert_int_eq(counted_in_copy("count", &status), NUMBERS - counted(status.path));
    ck_assert_int_eq(counted_in_copy("count", &status), NUMBERS - counted(status.path)); /* once, not at every start */
}
END_TEST

START_TEST(a_source_begins_anew_when_it_is_reset)
{
    const struct weir_savepoint_status status = stop_with_savepoint();
    local_job.name = "copy";
    local_job_set("execution.savepoint.reset-operators", "numbers");
    ck_assert_int_eq(counted_in_copy("count", &status), NUMBERS + counted(status.path));
}
END_TEST

START_TEST(the_state_of_one_operator_that_is_gone_is_given_up_by_name)
{
    const struct weir_savepoint_status status = stop_with_savepoint();
    local_job.name = "copy";
    local_job_set("execution.savepoint.reset-operators", "count");
    ck_assert_int_eq(counted_in_copy("another", &status), NUMBERS - counted(status.path));
}
END_TEST

static const struct {
    const char *key, *value;
    enum weir_code code;
    const char *part;
} wrong_names[] = {
    { "rename-operators", "count", WEIR_USAGE, "write OLD=NEW" },
    { "rename-operators", "=count", WEIR_USAGE, "write OLD=NEW" },
    { "rename-operators", "count=", WEIR_USAGE, "write OLD=NEW" },
    { "rename-operators", "count=tally", WEIR_USAGE, "the job has no operator 'tally'" },
    { "rename-operators", "count=out,count=count", WEIR_USAGE, "twice" },
    { "rename-operators", "numbers=count", WEIR_FOREIGN, "would go to 'count'" },
    { "rename-operators", "count=out,numbers=out", WEIR_FOREIGN, "would go to 'out'" },
    { "rename-operators", "coumt=count", WEIR_FOREIGN, "holds nothing of an operator" },
    { "reset-operators", "count,coumt", WEIR_FOREIGN, "--reset-operator 'coumt'" },
};

START_TEST(names_that_are_wrong_are_said_before_anything_begins)
{
    char key[64];
    struct weir_error outcome;
    weir_job *job;
    const struct weir_savepoint_status status = stop_with_savepoint();
    local_job.name = "copy";
    local_job_set("execution.savepoint.path", status.path);
    for (size_t i = 0; i < sizeof wrong_names / sizeof wrong_names[0]; i++) {
        local_job_set("execution.savepoint.rename-operators", "");
        (void)snprintf(key, sizeof key, "execution.savepoint.%s", wrong_names[i].key);
        local_job_set(key, wrong_names[i].value);
        if (wrong_names[i].code == WEIR_USAGE) {
            const struct weir_job_options options = { .size = sizeof options, .name = local_job.name };
            ck_assert_int_eq(weir_job_create(fast(), local_job.config, &options, &job, &outcome), WEIR_USAGE);
        } else {
            outcome = run_from(status.path, NULL);
        }
        expect_refused(&outcome, wrong_names[i].code, wrong_names[i].part);
    }
}
END_TEST

START_TEST(what_is_to_be_different_from_a_savepoint_needs_one)
{
    struct weir_error error;
    weir_job *job;
    const struct weir_job_options options = { .size = sizeof options, .name = local_job.name };
    local_job_set("execution.savepoint.reset-operators", "count");
    ck_assert_int_eq(weir_job_create(fast(), local_job.config, &options, &job, &error), WEIR_USAGE);
    expect_refused(&error, WEIR_USAGE, "give --from-savepoint");
}
END_TEST

START_TEST(positions_begin_anew_where_that_is_asked_for)
{
    const struct weir_savepoint_status status = stop_with_savepoint();
    local_job.name = "copy";
    local_job_set("start.position", "start");
    struct weir_error outcome = run_from(status.path, NULL);
    local_job_expect_ok(&outcome);
    ck_assert_int_eq(counted_by_job(), NUMBERS + counted(status.path));
}
END_TEST

START_TEST(half_a_savepoint_is_none)
{
    char mark[1100];
    struct weir_error outcome, error;
    const struct weir_savepoint_status status = stop_with_savepoint();
    (void)snprintf(mark, sizeof mark, "%s/savepoint", status.path);
    ck_assert_int_eq(unlink(mark), 0);
    local_job.name = "copy";
    outcome = run_from(status.path, NULL);
    expect_refused(&outcome, WEIR_ENVIRONMENT, "never finished");
    ck_assert_msg(weir_savepoint_dispose(status.path, &error) == WEIR_OK, "%s", error.text);
    ck_assert_int_ne(access(status.path, F_OK), 0);
    outcome = run_from(status.path, NULL);
    expect_refused(&outcome, WEIR_ENVIRONMENT, "no savepoint");
}
END_TEST

static void put_empty(const char *folder, const char *name)
{
    char path[300];
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "w");
    ck_assert_ptr_nonnull(file);
    ck_assert_int_eq(fclose(file), 0);
}

/* A power cut may take the id file, or what is in it. */
START_TEST(what_the_power_left_of_a_savepoint_can_be_removed)
{
    char folder[200];
    struct weir_error error;
    (void)snprintf(folder, sizeof folder, "%s/savepoint-test-7-0123456789abcdef", local_job.directory);
    for (int with_id = 0; with_id < 2; with_id++) {
        ck_assert_int_eq(mkdir(folder, 0700), 0);
        put_empty(folder, "log-1-1");
        if (with_id) put_empty(folder, "store");
        ck_assert_msg(weir_savepoint_dispose(folder, &error) == WEIR_OK, "%s", error.text);
        ck_assert_int_ne(access(folder, F_OK), 0);
    }
    ck_assert_int_eq(mkdir(folder, 0700), 0);
    put_empty(folder, "somebody else's");
    ck_assert_int_eq(weir_savepoint_dispose(folder, &error), WEIR_ENVIRONMENT);
    ck_assert_int_eq(access(folder, F_OK), 0);
}
END_TEST

START_TEST(a_checkpoint_store_is_no_savepoint)
{
    char path[128];
    struct weir_error error;
    (void)stop_with_savepoint();
    (void)snprintf(path, sizeof path, "%s/test", local_job.directory);
    ck_assert_int_eq(weir_savepoint_dispose(path, &error), WEIR_ENVIRONMENT);
    ck_assert_ptr_nonnull(strstr(error.text, "checkpoint store of a job"));
    ck_assert_int_eq(access(path, F_OK), 0);
    local_job.name = "copy";
    const struct weir_error outcome = run_from(path, NULL);
    expect_refused(&outcome, WEIR_ENVIRONMENT, "checkpoint store of a job");
}
END_TEST

START_TEST(a_savepoint_that_cannot_be_begun_leaves_the_job_running)
{
    struct weir_error error;
    weir_job *job = local_job_create(slow());
    local_job_await_records(job, 500);
    ck_assert_int_eq(weir_job_savepoint(job, "/proc/nowhere", true, &error), WEIR_OK);
    const struct weir_savepoint_status status = wait_savepoint(job);
    ck_assert_int_eq(status.state, WEIR_SAVEPOINT_FAILED);
    ck_assert_ptr_nonnull(strstr(status.error.text, "/proc/nowhere"));
    local_job_await_records(job, local_job_status(job).records_in + 500);
    ck_assert_int_eq(weir_job_savepoint(job, NULL, false, &error), WEIR_USAGE);
    weir_job_destroy(job);
}
END_TEST

START_TEST(one_savepoint_is_taken_at_a_time)
{
    struct weir_error error;
    weir_job *job = local_job_create(slow());
    local_job_await_records(job, 500);
    ask(job, false);
    ck_assert_int_eq(weir_job_savepoint(job, savepoints, false, &error), WEIR_FAILED);
    const struct weir_savepoint_status status = wait_savepoint(job);
    expect_done(&status);
    weir_job_destroy(job);
}
END_TEST

static void remember(void *user, const char *path, const struct weir_savepoint *savepoint, const struct weir_error *problem)
{
    (void)path, (void)problem;
    ++((int *)user)[savepoint == NULL];
}

START_TEST(a_job_that_is_cancelled_leaves_no_savepoint_or_a_whole_one)
{
    for (int i = 0; i < 6; i++) {
        int found[2] = { 0, 0 };
        struct weir_error error, outcome;
        weir_job *job = local_job_create(slow());
        local_job_await_records(job, 200);
        ask(job, false);
        (void)weir_job_wait(job, i * 3, NULL);
        weir_job_cancel(job);
        ck_assert(weir_job_wait(job, PATIENCE_MS, &outcome));
        const enum weir_savepoint_state state = savepoint_of(job).state;
        ck_assert(state == WEIR_SAVEPOINT_DONE || state == WEIR_SAVEPOINT_FAILED);
        weir_job_destroy(job);
        if (weir_savepoint_list(savepoints, remember, found, &error) == WEIR_OK) ck_assert_int_eq(found[1], 0);
    }
}
END_TEST

/* A process of its own, killed where it says. With a savepoint to begin from it dies on the way, else while it takes one. */
static void die_at(const char *point)
{
    char crash[64];
    const pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        (void)snprintf(crash, sizeof crash, "%s:1", point);
        setenv("WEIR_CRASH", crash, 1);
        weir_job *job = local_job_create(slow());
        if (strncmp(point, "savepoint", 9) == 0) {
            local_job_await_records(job, 500);
            ask(job, false);
        }
        (void)weir_job_wait(job, PATIENCE_MS, NULL);
        _exit(1);
    }
    int how;
    ck_assert_int_eq(waitpid(child, &how, 0), child);
    ck_assert(WIFSIGNALED(how) && WTERMSIG(how) == SIGKILL);
}

static void keep_path(void *user, const char *path, const struct weir_savepoint *savepoint, const struct weir_error *problem)
{
    (void)savepoint, (void)problem;
    (void)snprintf(user, 256, "%s", path);
}

static const struct {
    const char *point;
    bool is_whole;
} kills[] = { { "savepoint_begun", false }, { "savepoint_half_written", false }, { "savepoint_marked", true } };

START_TEST(a_kill_leaves_half_a_savepoint_or_a_whole_one)
{
    char path[256] = "";
    struct weir_error error, outcome;
    int found[2] = { 0, 0 };
    die_at(kills[_i].point);
    ck_assert_msg(weir_savepoint_list(savepoints, remember, found, &error) == WEIR_OK, "%s", error.text);
    ck_assert_int_eq(found[0], kills[_i].is_whole);
    ck_assert_int_eq(found[1], !kills[_i].is_whole);
    ck_assert_int_eq(weir_savepoint_list(savepoints, keep_path, path, &error), WEIR_OK);
    local_job.name = "copy";
    outcome = run_from(path, NULL);
    if (kills[_i].is_whole) {
        local_job_expect_ok(&outcome);
        ck_assert_int_eq(counted_by_job(), NUMBERS);
    } else {
        expect_refused(&outcome, WEIR_ENVIRONMENT, "never finished");
    }
    ck_assert_msg(weir_savepoint_dispose(path, &error) == WEIR_OK, "%s", error.text);
    ck_assert_int_ne(access(path, F_OK), 0);
}
END_TEST

START_TEST(a_job_that_was_killed_during_a_savepoint_goes_on)
{
    die_at(kills[_i].point);
    local_job_set("start.bounded", "true");
    const struct weir_error outcome = local_job_run(fast(), NULL);
    local_job_expect_ok(&outcome);
    ck_assert_int_eq(counted_by_job(), NUMBERS);
}
END_TEST

START_TEST(a_job_that_was_killed_three_times_while_it_began_with_a_savepoint_begins)
{
    static const char *const points[] = { "restore_base_applied", "restore_half_replayed", "founding" };
    const struct weir_savepoint_status status = stop_with_bases();
    local_job.name = "copy";
    local_job_set("execution.savepoint.path", status.path);
    local_job_set("execution.savepoint.rename-operators", "count=count"); /* whatever is done to names, is done anew */
    for (int i = 0; i < 3; i++) die_at(points[i]);
    struct weir_error outcome = run_from(status.path, NULL);
    local_job_expect_ok(&outcome);
    ck_assert_int_eq(counted_by_job(), NUMBERS);
}
END_TEST

/* ---- Damage --------------------------------------------------------------------------------------------------------- */

struct damage {
    char files[64][1200];
    int count;
};

static void collect(struct damage *damage, const char *path)
{
    static const char *const names[] = { "store", "savepoint" };
    char candidate[1200];
    damage->count = 0;
    for (size_t i = 0; i < 2; i++) (void)snprintf(damage->files[damage->count++], 1200, "%s/%s", path, names[i]);
    for (int incarnation = 1; incarnation < 4; incarnation++)
        for (int number = 1; number < 40 && damage->count < 64; number++)
            for (int base = 0; base < 2 && damage->count < 64; base++) {
                (void)snprintf(candidate, sizeof candidate, "%s/%s-%d-%d", path, base ? "base" : "log", incarnation, number);
                if (access(candidate, F_OK) == 0) (void)snprintf(damage->files[damage->count++], 1200, "%s", candidate);
            }
}

static int64_t size_of(const char *path)
{
    struct stat status;
    ck_assert_int_eq(stat(path, &status), 0);
    return status.st_size;
}

static void flip(const char *path, int64_t at)
{
    char byte;
    const int file = open(path, O_RDWR | O_CLOEXEC);
    ck_assert_int_ge(file, 0);
    ck_assert_int_eq(pread(file, &byte, 1, at), 1);
    byte = (char)(byte ^ 4);
    ck_assert_int_eq(pwrite(file, &byte, 1, at), 1);
    close(file);
}

START_TEST(damage_is_found_before_anything_begins)
{
    static struct damage damage;
    local_job_set("state.log.segment-size", "64kb");
    const struct weir_savepoint_status status = stop_with_bases();
    collect(&damage, status.path);
    ck_assert_int_gt(damage.count, 3);
    uint64_t random = unit_seed();
    local_job.name = "copy";
    for (int i = 0; i < damage.count; i++) {
        /* A log is a hole but for the frames that are needed: its last byte is one of theirs. */
        const int64_t size = size_of(damage.files[i]);
        const bool is_log = strstr(damage.files[i], "/log-") != NULL;
        const int64_t at = is_log ? size - 1 - (int64_t)unit_random_below(&random, 8)
                                  : (int64_t)unit_random_below(&random, (uint32_t)size);
        flip(damage.files[i], at);
        struct weir_error outcome = run_from(status.path, NULL);
        ck_assert_msg(outcome.code == WEIR_DAMAGED || outcome.code == WEIR_ENVIRONMENT, "%s, byte %lld: %s: %s",
                      damage.files[i], (long long)at, weir_code_name(outcome.code), outcome.text);
        flip(damage.files[i], at);
    }
    struct weir_error outcome = run_from(status.path, NULL);
    local_job_expect_ok(&outcome);
    ck_assert_int_eq(counted_by_job(), NUMBERS);
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_checked_fixture(tests, begin, end);
    tcase_add_test(tests, a_job_goes_on_while_a_savepoint_is_taken);
    tcase_add_test(tests, a_job_that_does_not_run_yet_stops_with_a_savepoint_when_it_does);
    tcase_add_test(tests, a_savepoint_holds_bases_and_deltas);
    tcase_add_test(tests, a_copy_under_another_name_ends_with_the_same_state);
    tcase_add_test(tests, the_backend_may_change);
    tcase_add_test(tests, a_savepoint_is_complete_wherever_it_is_moved);
    tcase_add_test(tests, a_job_that_ended_with_the_savepoint_goes_on);
    tcase_add_test(tests, a_job_that_began_with_the_savepoint_goes_on_although_it_is_gone);
    tcase_add_test(tests, a_job_with_another_history_is_refused_unless_it_begins_anew);
    tcase_add_test(tests, a_savepoint_can_be_taken_of_a_job_that_began_with_one);
    tcase_add_test(tests, state_that_nobody_claims_is_given_up_only_when_said_so);
    tcase_add_test(tests, an_operator_that_got_another_name_keeps_its_state);
    tcase_add_test(tests, an_operator_is_renamed_in_the_history_that_ended_with_the_savepoint);
    tcase_add_test(tests, one_operator_begins_anew_and_its_input_goes_on);
    tcase_add_test(tests, a_source_begins_anew_when_it_is_reset);
    tcase_add_test(tests, the_state_of_one_operator_that_is_gone_is_given_up_by_name);
    tcase_add_test(tests, names_that_are_wrong_are_said_before_anything_begins);
    tcase_add_test(tests, what_is_to_be_different_from_a_savepoint_needs_one);
    tcase_add_test(tests, positions_begin_anew_where_that_is_asked_for);
    tcase_add_test(tests, half_a_savepoint_is_none);
    tcase_add_test(tests, what_the_power_left_of_a_savepoint_can_be_removed);
    tcase_add_test(tests, a_checkpoint_store_is_no_savepoint);
    tcase_add_test(tests, a_savepoint_that_cannot_be_begun_leaves_the_job_running);
    tcase_add_test(tests, one_savepoint_is_taken_at_a_time);
    tcase_add_test(tests, a_job_that_is_cancelled_leaves_no_savepoint_or_a_whole_one);
    tcase_add_loop_test(tests, a_kill_leaves_half_a_savepoint_or_a_whole_one, 0, 3);
    tcase_add_loop_test(tests, a_job_that_was_killed_during_a_savepoint_goes_on, 0, 3);
    tcase_add_test(tests, a_job_that_was_killed_three_times_while_it_began_with_a_savepoint_begins);
    tcase_add_test(tests, damage_is_found_before_anything_begins);
}

int main(void)
{
    return unit_main("runtime_savepoint", add);
}
