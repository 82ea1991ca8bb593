#include "sequences.h"

#include <check.h>
#include <unistd.h>

#include "broker.h"
#include "unit.h"

enum { KEYS = 200 };

void sequences_start(struct sequences *sequences, int partitions, int records_per_second)
{
    const char *job = broker_name("sequence"), *input = broker_topic("numbers", partitions);
    const char *output = broker_topic("chained", partitions), *counts = broker_topic("counted", partitions);
    *sequences = (struct sequences){
        .topics = { .job = job, .input = input, .output = output, .counts = counts, .partitions = partitions,
                    .checkpoints = process_path("%s", job) },
        .loader = { .topic = input, .partitions = partitions, .keys = KEYS, .records_per_second = records_per_second,
                    .seed = unit_seed() },
        .options = { .program = "sequence", .brokers = broker_address(), .job = job, .input = input, .output = output,
                     .settings = { "--counts", counts, "--checkpoint-interval", "25ms" } },
    };
    sequences->options.checkpoints = sequences->topics.checkpoints;
    sequences->checker = checker_create(&sequences->topics);
    loader_start(&sequences->loader);
}

void sequences_set(struct sequences *sequences, const char *argument, const char *value)
{
    size_t count = 0;
    const size_t capacity = sizeof sequences->options.settings / sizeof sequences->options.settings[0];
    while (sequences->options.settings[count] != NULL) count++;
    ck_assert_uint_lt(count + 2, capacity);
    sequences->options.settings[count++] = argument;
    sequences->options.settings[count] = value;
}

static bool has_commits(struct sequences *sequences, struct process *process, int64_t wanted)
{
    const bool has_ended = process_has_ended(process);
    checker_follow(sequences->checker);
    if (checker_numbers(sequences->checker).commits >= wanted) return true;
    ck_assert_msg(!has_ended, "ended with %d; see %s", process->status, process->log);
    return false;
}

void sequences_await_commits(struct sequences *sequences, struct process *process, int count)
{
    checker_follow(sequences->checker);
    const int64_t wanted = checker_numbers(sequences->checker).commits + count;
    PROCESS_AWAIT(has_commits(sequences, process, wanted), PATIENCE_MS);
}

void sequences_finish(struct sequences *sequences, struct process *process)
{
    loader_stop(&sequences->loader);
    PROCESS_AWAIT(checker_is_caught_up(sequences->checker), PATIENCE_MS);
    process_stop(process);
    checker_settle(sequences->checker);
    checker_ledger(sequences->checker);
    ck_assert_int_eq(checker_numbers(sequences->checker).output, sequences->loader.produced);
    checker_destroy(sequences->checker);
}
