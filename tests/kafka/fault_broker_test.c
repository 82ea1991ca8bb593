/* Brokers that are away, and networks that are slow or cut. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "harness/broker.h"
#include "harness/proxy.h"
#include "harness/sequences.h"
#include "harness/unit.h"
#include "harness/words.h"

static const char *const nothing[] = { NULL };

/* F6: killed and restarted under a job, away at the start of others, and a person who has no patience. */
START_TEST(a_job_stays_while_the_broker_is_away_and_goes_on_within_10_s)
{
    struct sequences sequences;
    struct words_job job = words_job(1, 1), other = words_job(1, 1);
    struct process process, bounded, waiting, stopping;
    sequences_start(&sequences, 2, 500);
    process_start_job(&process, &sequences.options, NULL);
    process_await_running(&process);
    words_put(job.input, 0, "a");
    words_start(&other, &stopping);
    sequences_await_commits(&sequences, &process, 10);
    broker_kill();

    process_start_job(&bounded, &job.options, "--bounded", "-X", "connect.patience=1s", NULL);
    process_start_job(&waiting, &job.options, NULL);
    process_signal(&stopping, SIGTERM);
    process_await_log(&stopping, "stopping");
    process_signal(&stopping, SIGTERM);
    process_expect_end(&stopping, 128 + SIGTERM, NULL);
    process_expect_end(&bounded, 6, "connect.patience");
    process_await_log(&waiting, "waiting");
    ck_assert(!process_has_ended(&process));

    broker_restart();
    const int64_t back_ms = process_now_ms();
    sequences_await_commits(&sequences, &process, 2);
    (void)printf("went on %d ms after the broker\n", (int)(process_now_ms() - back_ms));
    ck_assert_int_lt(process_now_ms() - back_ms, process_bar_ms(10000));
    words_await(job.output, 1, "a=1");
    process_stop(&waiting);
    checker_log(&waiting, nothing);
    sequences_finish(&sequences, &process);
    checker_log(&process, nothing);
    process_free(&bounded);
    process_free(&stopping);
}
END_TEST

/* Its first patience, of some milliseconds, never succeeds here; and the owner always has a transaction open. */
START_TEST(a_successor_on_a_slow_network_takes_over_from_an_owner_on_a_fast_one)
{
    struct sequences sequences;
    struct process owner, successor;
    sequences_start(&sequences, 2, 300);
    process_start_job(&owner, &sequences.options, NULL);
    process_await_running(&owner);
    sequences_await_commits(&sequences, &owner, 5);
    sequences.options.brokers = proxy_address();
    proxy_delay(100);
    process_start_job(&successor, &sequences.options, NULL);
    process_expect_end(&owner, 3, NULL);
    process_await_running(&successor);
    sequences_await_commits(&sequences, &successor, 1);
    proxy_delay(0);
    sequences_finish(&sequences, &successor);
    checker_log(&successor, nothing);
    process_free(&owner);
}
END_TEST

static double processor_seconds(const struct process *process)
{
    char path[64];
    unsigned long user, system;
    (void)snprintf(path, sizeof path, "/proc/%d/stat", (int)process->pid);
    FILE *file = fopen(path, "re");
    ck_assert_ptr_nonnull(file);
    ck_assert_int_eq(fscanf(file, "%*d (%*[^)]) %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system), 2);
    (void)fclose(file);
    return (double)(user + system) / (double)sysconf(_SC_CLK_TCK);
}

/* F9: cut for longer than a transaction may last; each direction by itself, then both. */
START_TEST(a_job_survives_a_network_that_was_cut)
{
    static const bool cuts[][2] = { { true, false }, { false, true }, { true, true } };
    struct sequences sequences;
    struct process process;
    sequences_start(&sequences, 2, 500);
    sequences_set(&sequences, "-X", "kafka.producer.transaction.timeout.ms=4000");
    sequences.options.brokers = proxy_address();
    process_start_job(&process, &sequences.options, NULL);
    process_await_running(&process);
    for (size_t i = 0; i < sizeof cuts / sizeof cuts[0]; i++) {
        sequences_await_commits(&sequences, &process, 10);
        const struct process_resources before = process_look(&process);
        const double used = processor_seconds(&process);
        proxy_cut(cuts[i][0], cuts[i][1]);
        const int64_t cut_ms = process_now_ms();
        PROCESS_AWAIT(process_now_ms() > cut_ms + 5000, PATIENCE_MS); /* the fault itself */
        const double busy = processor_seconds(&process) - used, seconds = (double)(process_now_ms() - cut_ms) / 1000;
        const struct process_resources after = process_look(&process);
        proxy_cut(false, false);
        ck_assert(!process_has_ended(&process));
        ck_assert_msg(busy < 0.4 * seconds, "%.2f s of processor time in %.2f s without a network", busy, seconds);
        ck_assert_int_lt(after.resident_kib, before.resident_kib + 64 * 1024);
    }
    sequences_await_commits(&sequences, &process, 10);
    sequences_finish(&sequences, &process);
    checker_log(&process, nothing);
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_test(tests, a_job_stays_while_the_broker_is_away_and_goes_on_within_10_s);
    tcase_add_test(tests, a_successor_on_a_slow_network_takes_over_from_an_owner_on_a_fast_one);
    tcase_add_test(tests, a_job_survives_a_network_that_was_cut);
}

int main(void)
{
    setlinebuf(stdout);
    broker_start(1);
    proxy_start();
    return unit_main("brokers", add);
}
