/* Jobs whose checkpoints lie in memory. */
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "checkpoint/pointer.h"
#include "harness/local_job.h"
#include "harness/unit.h"
#include "weir/connector.h"
#include "weir/generator.h"
#include "weir/print.h"

enum { NUMBERS = 20000 };

static _Atomic int failures_left;
static _Atomic int64_t sum;
static FILE *sunk;

static enum weir_code add_up(weir_keyed_task *task, void *accumulator, const struct weir_record *record)
{
    int64_t number;
    (void)task;
    ck_assert(weir_bytes_to_i64(record->value, &number));
    *(int64_t *)accumulator += number;
    atomic_store(&sum, *(int64_t *)accumulator);
    return WEIR_OK;
}

static struct weir_bytes one_key(weir_task *task, const struct weir_record *record)
{
    (void)record;
    if (atomic_load(&failures_left) > 0 && atomic_fetch_sub(&failures_left, 1) == 1)
        (void)weir_fail(task, "an injected failure");
    return weir_text("all");
}

static weir_graph *graph_of(uint64_t limit)
{
    weir_graph *graph = weir_graph_create();
    struct weir_stream numbers = weir_generator(graph, .name = "numbers", .count = limit, .per_second = 100000);
    weir_print(weir_aggregate(weir_key_by(numbers, .key = one_key), .name = "sum", .accumulator = WEIR_I64, .add = add_up,
                              .emit = WEIR_EMIT_ON_COMMIT),
               .name = "out", .file = sunk);
    return graph;
}

static void begin(void)
{
    local_job_begin();
    local_job_set("execution.checkpointing.storage", "jobmanager");
    local_job_set("restart-strategy.exponential-delay.initial-backoff", "1ms");
    sunk = fopen("/dev/null", "w");
    ck_assert_ptr_nonnull(sunk);
}

static void end(void)
{
    fclose(sunk);
    ck_assert_int_eq(rmdir(local_job.directory), 0); /* nobody has written there */
    local_job_end();
}

START_TEST(a_job_in_memory_survives_failures_and_says_what_it_is)
{
    atomic_store(&failures_left, NUMBERS / 2);
    struct weir_job_status status;
    const struct weir_error outcome = local_job_run(graph_of(NUMBERS), &status);
    local_job_expect_ok(&outcome);
    ck_assert_uint_eq(status.restarts, 1);
    ck_assert_int_eq(atomic_load(&sum), (int64_t)NUMBERS * (NUMBERS - 1) / 2);
    ck_assert_ptr_nonnull(strstr(local_job.log, "in the memory of this process"));
}
END_TEST

START_TEST(a_job_in_memory_goes_on_in_the_same_process)
{
    for (int run = 0; run < 3; run++) {
        struct weir_job_status status;
        const uint64_t limit = (uint64_t)NUMBERS * (uint64_t)(run + 1) / 3;
        const struct weir_error outcome = local_job_run(graph_of(limit), &status);
        local_job_expect_ok(&outcome);
        ck_assert_uint_lt(status.records_in, NUMBERS / 2); /* what the runs before have read is not read again */
        ck_assert_int_eq(atomic_load(&sum), (int64_t)limit * (int64_t)(limit - 1) / 2);
    }
}
END_TEST

static const struct weir_sink_type kafka_like = { .size = sizeof(struct weir_sink_type), .decider = &pointer_decider };

/* Where RocksDB works is a temporary folder then, and nothing is left of it; its bases are in memory, too. */
START_TEST(a_job_in_memory_may_have_its_state_on_disk)
{
    char folder[] = "weir-job-test-tmp-XXXXXX";
    ck_assert_ptr_nonnull(mkdtemp(folder));
    ck_assert_int_eq(setenv("TMPDIR", folder, 1), 0);
    local_job_set("state.backend.type", "rocksdb");
    local_job_set("state.recovery.max-frames", "2");
    for (int run = 0; run < 3; run++) {
        const uint64_t limit = (uint64_t)NUMBERS * (uint64_t)(run + 1) / 3;
        atomic_store(&failures_left, NUMBERS / 6);
        struct weir_job_status status;
        const struct weir_error outcome = local_job_run(graph_of(limit), &status);
        local_job_expect_ok(&outcome);
        ck_assert_uint_eq(status.restarts, 1);
        ck_assert_int_eq(atomic_load(&sum), (int64_t)limit * (int64_t)(limit - 1) / 2);
        ck_assert_int_eq(rmdir(folder), 0);
        ck_assert_int_eq(mkdir(folder, 0777), 0);
    }
    ck_assert_int_eq(rmdir(folder), 0);
}
END_TEST

START_TEST(exactly_once_output_is_refused_unless_the_job_is_bounded)
{
    struct weir_error error;
    weir_job *job;
    const struct weir_job_options options = { .size = sizeof options, .name = "test" };
    local_job_set("start.bounded", "false");
    weir_graph *graph = weir_graph_create();
    weir_sink(weir_generator(graph, .name = "numbers"), .name = "topic", .type = &kafka_like);
    ck_assert(weir_job_create(graph, local_job.config, &options, &job, &error) == WEIR_USAGE);
    ck_assert_ptr_nonnull(strstr(error.text, "--bounded for a trial"));

    local_job_set("start.bounded", "true");
    graph = weir_graph_create();
    weir_sink(weir_generator(graph, .name = "numbers", .count = 1), .name = "topic", .type = &kafka_like);
    ck_assert_msg(weir_job_create(graph, local_job.config, &options, &job, &error) == WEIR_OK, "%s", error.text);
    weir_job_destroy(job);
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_checked_fixture(tests, begin, end);
    tcase_add_test(tests, a_job_in_memory_survives_failures_and_says_what_it_is);
    tcase_add_test(tests, a_job_in_memory_goes_on_in_the_same_process);
    tcase_add_test(tests, a_job_in_memory_may_have_its_state_on_disk);
    tcase_add_test(tests, exactly_once_output_is_refused_unless_the_job_is_bounded);
}

int main(void)
{
    return unit_main("runtime_storage", add);
}
