/* Who owns a job: stopped processes that come back, two starts at once, transactions that outlive their time or owner. */
#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "harness/broker.h"
#include "harness/sequences.h"
#include "harness/unit.h"
#include "harness/words.h"

static const char *const nothing[] = { NULL };

/* Has incarnation `incarnation` written a base? */
static bool has_base(const struct sequences *sequences, int incarnation)
{
    char folder[600], prefix[32];
    bool has = false;
    (void)snprintf(folder, sizeof folder, "%s/%s", sequences->topics.checkpoints, sequences->topics.job);
    (void)snprintf(prefix, sizeof prefix, "base-%d-", incarnation);
    DIR *directory = opendir(folder);
    for (const struct dirent *entry; directory != NULL && (entry = readdir(directory)) != NULL;)
        has |= strncmp(entry->d_name, prefix, strlen(prefix)) == 0;
    if (directory != NULL) closedir(directory);
    return has;
}

/* F4: stopped for longer than its transactions may last, while a second start takes over, writes bases and deletes files. */
START_TEST(a_stopped_owner_writes_nothing_any_more_and_leaves)
{
    struct sequences sequences;
    struct process owner, successor, heir;
    sequences_start(&sequences, 2, 2000);
    sequences_set(&sequences, "-X", "kafka.producer.transaction.timeout.ms=4000");
    sequences_set(&sequences, "-X", "state.base.min-log-size=64kb");
    sequences_set(&sequences, "-X", "state.base.log-ratio=0");
    sequences_set(&sequences, "-X", "state.log.segment-size=64kb");
    process_start_job(&owner, &sequences.options, NULL);
    process_await_running(&owner);
    sequences_await_commits(&sequences, &owner, 20);
    process_signal(&owner, SIGSTOP);
    const int64_t stopped_ms = process_now_ms();
    process_start_job(&successor, &sequences.options, NULL);
    process_await_running(&successor);
    PROCESS_AWAIT(has_base(&sequences, 2), PATIENCE_MS);
    PROCESS_AWAIT(process_now_ms() > stopped_ms + 5000, PATIENCE_MS); /* the fault itself: longer than the time-out */
    process_signal(&owner, SIGCONT);
    const int64_t woken_ms = process_now_ms();
    process_expect_end(&owner, 3, NULL);
    ck_assert_int_lt(process_now_ms() - woken_ms, process_bar_ms(5000));
    ck_assert(process_log_has(&owner, "took over") || process_log_has(&owner, "taken over"));
    sequences_await_commits(&sequences, &successor, 10);
    ck_assert(!process_has_ended(&successor));
    process_signal(&successor, SIGKILL);
    process_expect_end(&successor, -SIGKILL, NULL);
    checker_log(&successor, nothing);
    /* No file is missing that the successor needs. */
    process_start_job(&heir, &sequences.options, NULL);
    process_await_running(&heir);
    sequences_await_commits(&sequences, &heir, 10);
    sequences_finish(&sequences, &heir);
    checker_log(&heir, nothing);
    process_free(&owner);
    process_free(&successor);
}
END_TEST

/* F5 */
START_TEST(of_two_processes_with_one_name_exactly_one_survives)
{
    struct sequences sequences;
    struct process both[2];
    sequences_start(&sequences, 2, 1000);
    for (int i = 0; i < 2; i++) process_start_job(&both[i], &sequences.options, NULL);
    PROCESS_AWAIT(process_has_ended(&both[0]) || process_has_ended(&both[1]), PATIENCE_MS);
    const int loser = process_has_ended(&both[0]) ? 0 : 1;
    process_expect_end(&both[loser], 3, NULL);
    sequences_await_commits(&sequences, &both[1 - loser], 40);
    ck_assert(!process_has_ended(&both[1 - loser]));
    sequences_finish(&sequences, &both[1 - loser]);
    process_free(&both[loser]);
}
END_TEST

/* Without input nobody asks a broker for anything; the one that was taken over has to leave all the same. */
START_TEST(an_idle_owner_notices_that_it_was_taken_over)
{
    struct words_job job = words_job(1, 1);
    struct process owner, successor;
    words_start(&job, &owner);
    words_start(&job, &successor);
    process_expect_end(&owner, 3, NULL);
    words_put(job.input, 0, "a");
    words_await(job.output, 1, "a=1");
    process_stop(&successor);
    process_free(&owner);
}
END_TEST

/* F11: the broker aborts what lasts too long; nobody else is there, so the process goes on by itself. */
START_TEST(a_transaction_that_outlives_its_time_is_rolled_back_in_the_process)
{
    struct sequences sequences;
    struct process process;
    sequences_start(&sequences, 2, 1000);
    sequences_set(&sequences, "-X", "kafka.producer.transaction.timeout.ms=4000");
    process_start_job(&process, &sequences.options, NULL);
    process_await_running(&process);
    for (int round = 0; round < 2; round++) {
        sequences_await_commits(&sequences, &process, 10);
        process_signal(&process, SIGSTOP);
        PROCESS_AWAIT(checker_open_records(sequences.checker) == 0, PATIENCE_MS); /* the broker has aborted it */
        process_signal(&process, SIGCONT);
        sequences_await_commits(&sequences, &process, 10);
        ck_assert(!process_has_ended(&process));
    }
    sequences_finish(&sequences, &process);
    checker_log(&process, nothing);
}
END_TEST

static int64_t stable_lag(const struct sequences *sequences)
{
    int64_t lag = 0;
    for (int i = 0; i < sequences->topics.partitions; i++)
        lag += broker_end(sequences->topics.output, i, false) - broker_end(sequences->topics.output, i, true);
    return lag;
}

/* F12 */
START_TEST(readers_are_free_again_as_soon_as_a_killed_job_restarts)
{
    struct sequences sequences;
    struct process process;
    sequences_start(&sequences, 1, 1000);
    sequences.options.environment[0] = "WEIR_CRASH=sink_flushed:20";
    process_start_job(&process, &sequences.options, NULL);
    process_expect_end(&process, -SIGKILL, NULL);
    ck_assert_int_gt(checker_open_records(sequences.checker), 0);
    ck_assert_int_gt(stable_lag(&sequences), 0);
    const int64_t end = broker_end(sequences.topics.output, 0, false);
    sequences.options.environment[0] = NULL;
    process_start_job(&process, &sequences.options, NULL);
    const int64_t begin_ms = process_now_ms();
    PROCESS_AWAIT(broker_end(sequences.topics.output, 0, true) > end, PATIENCE_MS);
    (void)printf("readers waited for %d ms\n", (int)(process_now_ms() - begin_ms));
    ck_assert_int_lt(process_now_ms() - begin_ms, process_bar_ms(10000)); /* not the 60 s that the transaction may last */
    sequences_finish(&sequences, &process);
    checker_log(&process, nothing);
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_test(tests, a_stopped_owner_writes_nothing_any_more_and_leaves);
    tcase_add_test(tests, of_two_processes_with_one_name_exactly_one_survives);
    tcase_add_test(tests, an_idle_owner_notices_that_it_was_taken_over);
    tcase_add_test(tests, a_transaction_that_outlives_its_time_is_rolled_back_in_the_process);
    tcase_add_test(tests, readers_are_free_again_as_soon_as_a_killed_job_restarts);
}

int main(void)
{
    setlinebuf(stdout);
    broker_start(1);
    return unit_main("fencing", add);
}
