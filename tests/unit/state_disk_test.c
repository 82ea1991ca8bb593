/* Jobs whose disk fails under their state, at the n-th write and at the n-th sync, on both backends: they go on, or stop and
 * say why, and what they have counted is right whichever way it went. WEIR_TEST_FAILS_CALLS. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "harness/digits.h"
#include "harness/failing_calls.h"
#include "harness/local_job.h"
#include "harness/unit.h"

/* On rocksdb ten times as many keys as have room in memory. */
enum { KEYS = 2000, ROUNDS = 2 };

enum backend { HASHMAP, ROCKSDB, BACKENDS };
static enum backend backend;
static int lives;

static struct weir_error run(void)
{
    weir_graph *graph = weir_graph_create();
    digits_print(weir_aggregate(digits_by_key(graph, (uint64_t)++lives * ROUNDS * KEYS, 0), .name = "count",
                                .accumulator = WEIR_I64, .add = digits_add_one), "out");
    local_job.log[0] = '\0';
    return local_job_run(graph, NULL);
}

/* One life with a disk that works, from wherever the ones before have ended. */
static void run_well(void)
{
    const struct weir_error outcome = run();
    local_job_expect_ok(&outcome);
    digits_expect((int64_t)lives * ROUNDS);
}

static void begin(void)
{
    local_job_begin();
    digits_begin_with(KEYS);
    lives = 0;
    local_job_set("execution.checkpointing.interval", "2ms");
    local_job_set("restart-strategy.exponential-delay.initial-backoff", "1ms");
    local_job_set("restart-strategy.exponential-delay.max-backoff", "2ms");
    local_job_set("state.recovery.max-frames", "2");
    local_job_set("state.base.min-log-size", "64kb");
    local_job_set("state.log.segment-size", "64kb");
    local_job_set("store.patience", "50ms");
}

static void use(enum backend wanted)
{
    backend = wanted;
    local_job_set("state.backend.type", "hashmap");
    if (backend == HASHMAP) return;
    local_job_use_small_cache();
    local_job_set("state.backend.memory", "16kb");
}

/* "/weir-job" is in the paths of checkpoints and of RocksDB's files. */
static uint64_t count_calls(enum failing_call call)
{
    failing_calls_arm(call, "/weir-job", 0, 0, 0);
    run_well();
    (void)failing_calls_disarm();
    return failing_calls_seen();
}

/* Lines of a commit that a failing task never heard of are not printed, so the counts are looked at in the life behind it.
 * Whatever the job has made of the failure, it said so, and the next start finds everything as it was committed. */
static void fail_once(enum failing_call call, uint64_t n, int error)
{
    failing_calls_arm(call, "/weir-job", n, 1, error);
    const struct weir_error outcome = run();
    const uint64_t failed = failing_calls_disarm();
    if (outcome.code != WEIR_OK) {
        ck_assert_uint_eq(failed, 1);
        ck_assert_msg(outcome.code == WEIR_ENVIRONMENT || outcome.code == WEIR_OUT_OF_PATIENCE, "call %llu: %s: %s",
                      (unsigned long long)n, weir_code_name(outcome.code), outcome.text);
    }
    run_well();
    ck_assert_uint_eq(failing_calls_synced_again(), 0);
}

static const struct {
    enum failing_call call;
    int error;
} faults[] = { { FAILING_WRITE, ENOSPC }, { FAILING_SYNC, EIO } };
enum { FAULTS = sizeof faults / sizeof faults[0] };

START_TEST(one_call_that_fails_costs_no_count)
{
    const int fault = _i % FAULTS;
    uint64_t random = unit_seed();
    use((enum backend)(_i / FAULTS));
    const uint64_t calls = count_calls(faults[fault].call);
    ck_assert_uint_gt(calls, 3);
    for (uint64_t n = 1; n <= calls; n += 1 + n + unit_random_below(&random, 2))
        fail_once(faults[fault].call, n, faults[fault].error);
}
END_TEST

/* F13: the disk stays full, from some moment of a life or from its beginning. */
START_TEST(a_disk_that_stays_full_ends_the_job_by_name_and_room_is_enough_to_go_on)
{
    use((enum backend)(_i % BACKENDS));
    run_well();
    failing_calls_arm(FAILING_WRITE, "/weir-job", _i < BACKENDS ? 10 : 1, UINT64_MAX, ENOSPC);
    local_job_set("restart-strategy.type", "fixed-delay");
    local_job_set("restart-strategy.fixed-delay.delay", "1ms");
    const struct weir_error outcome = run();
    ck_assert_uint_gt(failing_calls_disarm(), 0);
    ck_assert_msg(outcome.code == WEIR_ENVIRONMENT || outcome.code == WEIR_OUT_OF_PATIENCE, "%s: %s",
                  weir_code_name(outcome.code), outcome.text);
    ck_assert_msg(strstr(outcome.text, "No space left") != NULL || strstr(outcome.text, "no space left") != NULL, "%s",
                  outcome.text);
    run_well();
}
END_TEST

/* RocksDB is read-only after an error of its own: whatever it holds is thrown away, and the task restores. */
START_TEST(what_rocksdb_cannot_write_ends_in_a_restore)
{
    use(ROCKSDB);
    run_well();
    failing_calls_arm(FAILING_WRITE, "/new/", 3, 1, EIO); /* a file on its way into the store */
    const struct weir_error outcome = run();
    ck_assert_uint_eq(failing_calls_disarm(), 1);
    local_job_expect_ok(&outcome);
    const char *failure = strstr(local_job.log, "cannot write back");
    ck_assert_msg(failure != NULL && strstr(failure, "goes on from checkpoint") != NULL, "%s", local_job.log);
    run_well();
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_checked_fixture(tests, begin, local_job_end);
    tcase_add_loop_test(tests, one_call_that_fails_costs_no_count, 0, BACKENDS * FAULTS);
    tcase_add_loop_test(tests, a_disk_that_stays_full_ends_the_job_by_name_and_room_is_enough_to_go_on, 0, BACKENDS + 1);
    tcase_add_test(tests, what_rocksdb_cannot_write_ends_in_a_restore);
}

/* Where a sync costs nothing. */
int main(void)
{
    if (chdir("/dev/shm") != 0) (void)fputs("there is no /dev/shm\n", stderr);
    return unit_main("state_disk", add);
}
