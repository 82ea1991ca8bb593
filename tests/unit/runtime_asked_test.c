/* What a host program may ask of a running job: a checkpoint now, and an end where it stands. */
#include "harness/digits.h"
#include "harness/local_job.h"
#include "harness/unit.h"
#include "weir/generator.h"
#include "weir/print.h"

enum { NUMBERS = 200000 };

static FILE *sunk; /* what the job prints */

static struct weir_bytes key_of(weir_task *task, const struct weir_record *record)
{
    (void)task;
    return record->value;
}

/* `limit` numbers (0: without end), `per_second` of them a second (0: as fast as can be). */
static weir_graph *graph_of(uint64_t limit, uint64_t per_second)
{
    weir_graph *graph = weir_graph_create();
    struct weir_stream numbers = weir_generator(graph, .name = "numbers", .count = limit, .splits = 2,
                                                .per_second = per_second);
    struct weir_stream counts = weir_aggregate(weir_key_by(numbers, .key = key_of), .name = "count",
                                               .accumulator = WEIR_I64, .add = digits_add_one, .emit = WEIR_EMIT_ON_COMMIT);
    weir_print(counts, .name = "out", .file = sunk);
    return graph;
}

/* Until everything that was asked for is committed. */
static void wait_done(weir_job *job, uint64_t ticket)
{
    struct weir_error outcome;
    while (local_job_status(job).checkpoints_done < ticket)
        ck_assert_msg(!weir_job_wait(job, 2, &outcome), "ended: %s", outcome.text);
}

static void begin(void)
{
    local_job_begin();
    local_job_set("execution.checkpointing.interval", "1h");
    local_job_set("start.bounded", "false");
    sunk = fopen("/dev/null", "w");
    ck_assert_ptr_nonnull(sunk);
}

static void end(void)
{
    fclose(sunk);
    local_job_end();
}

START_TEST(a_checkpoint_is_taken_at_once_when_asked_for)
{
    weir_job *job = local_job_create(graph_of(0, 10000));
    local_job_await_running(job);
    for (uint64_t ticket = 1; ticket <= 5; ticket++) {
        const struct weir_job_status before = local_job_status(job);
        ck_assert_uint_eq(weir_job_checkpoint(job), ticket);
        wait_done(job, ticket);
        ck_assert_uint_gt(local_job_status(job).epoch_committed, before.epoch_committed);
    }
    weir_job_destroy(job);
}
END_TEST

START_TEST(a_checkpoint_is_taken_of_a_job_at_rest)
{
    weir_job *job = local_job_create(graph_of(0, 1));
    local_job_await_running(job);
    wait_done(job, weir_job_checkpoint(job));
    wait_done(job, weir_job_checkpoint(job));
    weir_job_destroy(job);
}
END_TEST

START_TEST(a_checkpoint_that_is_asked_for_before_the_job_runs_is_taken_later)
{
    weir_job *job = local_job_create(graph_of(0, 10000));
    const uint64_t first = weir_job_checkpoint(job), second = weir_job_checkpoint(job);
    ck_assert_uint_eq(second, first + 1);
    wait_done(job, second);
    weir_job_destroy(job);
}
END_TEST

START_TEST(a_stop_fulfils_what_was_asked_for)
{
    struct weir_error outcome;
    weir_job *job = local_job_create(graph_of(0, 10000));
    local_job_await_running(job);
    const uint64_t ticket = weir_job_checkpoint(job);
    weir_job_stop(job);
    ck_assert(weir_job_wait(job, PATIENCE_MS, &outcome));
    local_job_expect_ok(&outcome);
    ck_assert_uint_ge(local_job_status(job).checkpoints_done, ticket);
    weir_job_destroy(job);
}
END_TEST

START_TEST(a_cancelled_job_goes_on_from_its_last_commit)
{
    struct weir_error outcome;
    weir_job *job = local_job_create(graph_of(NUMBERS, 10000));
    local_job_await_records(job, 1);
    wait_done(job, weir_job_checkpoint(job));
    local_job_await_records(job, local_job_status(job).records_in + 1);
    weir_job_cancel(job);
    ck_assert(weir_job_wait(job, PATIENCE_MS, &outcome));
    local_job_expect_ok(&outcome);
    ck_assert_uint_lt(local_job_status(job).records_out, NUMBERS); /* only what was committed counts */
    weir_job_destroy(job);

    local_job_set("start.bounded", "true");
    struct weir_job_status rest;
    outcome = local_job_run(graph_of(NUMBERS, 0), &rest);
    local_job_expect_ok(&outcome);
    ck_assert_uint_gt(rest.records_in, 0);
    ck_assert_uint_lt(rest.records_in, NUMBERS);
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_checked_fixture(tests, begin, end);
    tcase_add_test(tests, a_checkpoint_is_taken_at_once_when_asked_for);
    tcase_add_test(tests, a_checkpoint_is_taken_of_a_job_at_rest);
    tcase_add_test(tests, a_checkpoint_that_is_asked_for_before_the_job_runs_is_taken_later);
    tcase_add_test(tests, a_stop_fulfils_what_was_asked_for);
    tcase_add_test(tests, a_cancelled_job_goes_on_from_its_last_commit);
}

int main(void)
{
    return unit_main("runtime_asked", add);
}
