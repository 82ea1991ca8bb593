/* Kill -9 sixty times or more while records keep coming: at every crash point, at random times, three times in a row during a
 * restore, with another parallelism and state backend at each start, in front of RocksDB with a cache that is too small for the
 * state. What committed readers see is compared all the while with what it must be. */
#include <check.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/crash.h"
#include "harness/broker.h"
#include "harness/checker.h"
#include "harness/loader.h"
#include "harness/unit.h"

enum {
    PARTITIONS = 3,
    KEYS = 400,
    RECORDS_PER_SECOND = 3000,
    CYCLES = 60,
    OPEN_MIN = 20,
    MORE_CYCLES_MAX = 100,
    POINT_DEADLINE_MS = 6000,
};

/* ---- The plan ------------------------------------------------------------------------------------------------------- */

/* `point` NULL = SIGKILL after `after_ms`. */
struct kill {
    const char *point;
    uint32_t pass;
    uint32_t after_ms;
};

struct plan {
    struct kill kills[CYCLES];
    size_t count;
};

static void plan_point(struct plan *plan, const char *point, uint32_t pass)
{
    ck_assert_uint_lt(plan->count, CYCLES);
    plan->kills[plan->count++] = (struct kill){ .point = point, .pass = pass };
}

static bool is_one_of(const char *point, const char *list) { return strstr(list, point) != NULL; }

/* How often a point can be passed within a short run. */
static uint32_t choose_pass(const char *point, uint64_t *random)
{
    if (is_one_of(point, "founding announced shutdown_half_done restore_half_replayed")) return 1;
    if (is_one_of(point, "restore_base_applied base_begun base_linked base_written base_named files_deleted"))
        return 1 + unit_random_below(random, 2);
    return 1 + unit_random_below(random, 25);
}

static void shuffle(struct kill *kills, size_t count, uint64_t *random)
{
    for (size_t i = count; i > 1; i--) {
        const size_t other = unit_random_below(random, (uint32_t)i);
        const struct kill kept = kills[i - 1];
        kills[i - 1] = kills[other];
        kills[other] = kept;
    }
}

/* First the founding; then every point twice and random times, shuffled; then what needs a history: restores. */
static void make_plan(struct plan *plan, uint64_t *random)
{
    static const char *const points[] = {
#define CRASH_POINT_NAME(name) #name,
        CRASH_POINTS(CRASH_POINT_NAME)
#undef CRASH_POINT_NAME
    };
    plan_point(plan, "founding", 1);
    const size_t first = plan->count;
    for (size_t i = 0; i < CRASH_POINT_COUNT; i++) {
        if (is_one_of(points[i], "founding restore_base_applied restore_half_replayed")) continue;
        plan_point(plan, points[i], choose_pass(points[i], random));
        plan_point(plan, points[i], choose_pass(points[i], random));
    }
    while (plan->count < CYCLES - 7)
        plan->kills[plan->count++] = (struct kill){ .after_ms = 30 + unit_random_below(random, 1500) };
    shuffle(plan->kills + first, plan->count - first, random);
    for (uint32_t pass = 1; pass <= 3; pass++) plan_point(plan, "restore_base_applied", pass);
    plan_point(plan, "restore_half_replayed", 1);
    plan_point(plan, "restore_base_applied", 1);
    plan_point(plan, "restore_half_replayed", 1);
    plan->kills[plan->count++] = (struct kill){ .after_ms = 200 };
}

/* ---- The cycles ----------------------------------------------------------------------------------------------------- */

struct run {
    uint64_t random;
    struct process_job job;
    struct checker *checker;
    const char *crash_log;
    int fired, in_vain, open;
    uint32_t on_disk_percent;
    bool waits_for_open;
};

static void start(struct run *run, struct process *process, const char *crash)
{
    char parallelism[8], crash_setting[64], log_setting[600];
    const bool is_on_disk = strncmp(crash, "base_linked", strlen("base_linked")) == 0 ||
                            unit_chance(&run->random, run->on_disk_percent);
    (void)snprintf(parallelism, sizeof parallelism, "%u", 1 + unit_random_below(&run->random, 3));
    (void)snprintf(crash_setting, sizeof crash_setting, "WEIR_CRASH=%s", crash);
    (void)snprintf(log_setting, sizeof log_setting, "WEIR_CRASH_LOG=%s", run->crash_log);
    run->job.environment[0] = crash_setting;
    run->job.environment[1] = log_setting;
    process_start_job(process, &run->job, "--parallelism", parallelism, "-X",
                      is_on_disk ? "state.backend.type=rocksdb" : "state.backend.type=hashmap", NULL);
}

/* The point may not be reached: no base was due, say. Then the time is up, which is a kill, too. */
static void await_point(struct run *run, struct process *process, const struct kill *kill)
{
    const int64_t deadline = process_now_ms() + POINT_DEADLINE_MS;
    if (strcmp(kill->point, "shutdown_half_done") == 0) {
        process_await_running(process);
        process_signal(process, SIGTERM);
    }
    while (!process_has_ended(process) && process_now_ms() < deadline) usleep(2000);
    if (!process_has_ended(process)) {
        run->in_vain++;
        process_signal(process, SIGKILL);
    } else {
        run->fired++;
    }
}

/* At any time, but for every other one, which waits until there is something in the open transaction. */
static void kill_at_any_time(struct run *run, struct process *process, const struct kill *kill)
{
    const int64_t until = process_now_ms() + kill->after_ms, deadline = until + POINT_DEADLINE_MS;
    while (!process_has_ended(process) && process_now_ms() < until) usleep(1000);
    if (run->waits_for_open)
        while (!process_has_ended(process) && process_now_ms() < deadline && checker_open_records(run->checker) == 0)
            usleep(1000);
    run->waits_for_open = !run->waits_for_open;
    process_signal(process, SIGKILL);
}

static void cycle(struct run *run, const struct kill *kill)
{
    char crash[64] = "";
    struct process process;
    const int64_t begin_ms = process_now_ms();
    if (kill->point != NULL) (void)snprintf(crash, sizeof crash, "%s:%u", kill->point, kill->pass);
    start(run, &process, crash);
    if (kill->point != NULL) await_point(run, &process, kill);
    else kill_at_any_time(run, &process, kill);
    process_expect_end(&process, -SIGKILL, NULL);
    const int64_t killed_ms = process_now_ms();
    const int64_t open = checker_open_records(run->checker);
    run->open += open > 0;
    static const char *const no_errors[] = { NULL };
    checker_log(&process, no_errors);
    if (unit_chance(&run->random, 15)) checker_settle(run->checker);
    else checker_follow(run->checker);
    (void)printf("%s after %" PRId64 " ms: %" PRId64 " records in an open transaction; checked in %" PRId64 " ms\n",
                 kill->point == NULL ? "any time" : crash, killed_ms - begin_ms, open, process_now_ms() - killed_ms);
    process_free(&process);
}

/* Whether a transaction is open at the moment of a kill is luck: kills go on until there have been enough. */
static size_t cycle_until_enough_were_open(struct run *run, size_t count)
{
    const size_t end = count + MORE_CYCLES_MAX;
    for (; run->open < OPEN_MIN && count < end; count++) {
        const struct kill kill = { .after_ms = 30 + unit_random_below(&run->random, 300) };
        run->waits_for_open = true;
        (void)printf("%2zu ", count + 1);
        cycle(run, &kill);
    }
    return count;
}

/* I9: what a process holds after hundreds of commits is what it held after its first ones. */
static void run_to_the_end(struct run *run, struct loader *loader)
{
    struct process process;
    run->on_disk_percent = 0; /* RocksDB opens and closes its files as it likes */
    start(run, &process, "");
    process_await_running(&process);
    struct checker_numbers begin = checker_numbers(run->checker);
    PROCESS_AWAIT((checker_follow(run->checker), checker_numbers(run->checker).commits > begin.commits + 10), PATIENCE_MS);
    const struct process_resources before = process_look(&process);
    PROCESS_AWAIT((checker_follow(run->checker), checker_numbers(run->checker).commits > begin.commits + 60), PATIENCE_MS);
    loader_stop(loader);
    PROCESS_AWAIT(checker_is_caught_up(run->checker), PATIENCE_MS);
    const struct process_resources after = process_look(&process);
    process_stop(&process);
    static const char *const no_errors[] = { NULL };
    checker_log(&process, no_errors);
    (void)printf("descriptors %d, then %d; threads %d, then %d; resident %" PRId64 " KiB, then %" PRId64 "\n",
                 before.descriptors, after.descriptors, before.threads, after.threads, before.resident_kib,
                 after.resident_kib);
    ck_assert_int_le(after.descriptors, before.descriptors + 4);
    ck_assert_int_le(after.threads, before.threads + 2);
    ck_assert_int_le(after.resident_kib, before.resident_kib + 64 * 1024);
}

START_TEST(sixty_kills_lose_nothing_and_double_nothing)
{
    struct plan plan = { 0 };
    uint64_t random = unit_seed();
    const int64_t begin_ms = process_now_ms();
    const char *input = broker_topic("crash-input", PARTITIONS), *output = broker_topic("crash-output", PARTITIONS);
    const char *counts = broker_topic("crash-counts", PARTITIONS), *job = broker_name("crash");
    const struct checker_options options = { .job = job, .input = input, .output = output, .counts = counts,
                                             .partitions = PARTITIONS, .checkpoints = process_path("checkpoints") };
    make_plan(&plan, &random);
    /* In memory where that can be had: RocksDB syncs each of its files. */
    char stores[] = "/dev/shm/weir-crash-XXXXXX", local_dir[600];
    const char *const local = access("/dev/shm", W_OK) == 0 && mkdtemp(stores) != NULL ? stores : process_path("stores");
    (void)mkdir(local, 0777);
    (void)snprintf(local_dir, sizeof local_dir, "state.backend.local-dir=%s", local);
    struct run run = {
        .random = random,
        .on_disk_percent = 60,
        .crash_log = process_path("crash.log"),
        .checker = checker_create(&options),
        .job = { .program = "sequence", .brokers = broker_address(), .job = job, .input = input, .output = output,
                 .checkpoints = options.checkpoints,
                 .settings = { "--counts", counts, "--checkpoint-interval", "25ms", "-X", "state.base.min-log-size=64kb",
                               "-X", "state.log.segment-size=128kb", "-X", "state.base.log-ratio=0",
                               "-X", "state.recovery.max-frames=3", "-X", "state.backend.memory=64kb",
                               "-X", local_dir,
                               "-X", "execution.epoch.hard-limit=800" /* most epochs have early parts */ } },
    };
    struct loader loader = { .topic = input, .partitions = PARTITIONS, .keys = KEYS,
                             .records_per_second = RECORDS_PER_SECOND, .seed = unit_random(&random) };
    loader_start(&loader);
    for (size_t i = 0; i < plan.count; i++) {
        (void)printf("%2zu ", i + 1);
        cycle(&run, &plan.kills[i]);
    }
    const size_t kills = cycle_until_enough_were_open(&run, plan.count);
    run_to_the_end(&run, &loader);
    checker_settle(run.checker);
    checker_disk(run.checker);
    const struct checker_numbers numbers = checker_numbers(run.checker);
    ck_assert_int_eq(numbers.output, loader.produced);
    ck_assert_int_eq(numbers.input, loader.produced);
    checker_ledger(run.checker);
    checker_crash_points(run.crash_log);
    (void)printf("%zu kills, %d at a crash point, %d in vain, %d hit an open transaction; %" PRId64 " records, %" PRId64
                 " commits, %" PRId64 " exact comparisons, %" PRId64 " s\n", kills, run.fired, run.in_vain, run.open,
                 numbers.output, numbers.commits, numbers.settled, (process_now_ms() - begin_ms) / 1000);
    ck_assert_int_ge(run.open, OPEN_MIN);
    checker_destroy(run.checker);
    char said[200];
    ck_assert_int_eq(process_shell(&(struct process_output){ .text = said, .room = sizeof said }, "rm -r '%s'", local), 0);
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_test(tests, sixty_kills_lose_nothing_and_double_nothing);
}

int main(void)
{
    setlinebuf(stdout); /* a fact that fails leaves its process without writing what it printed */
    broker_start(1);
    return unit_main("crash", add);
}
