/* Sources on another cluster than the sinks: positions cannot travel in the transaction, but checkpoints hold them. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "harness/broker.h"
#include "harness/sequence.h"
#include "harness/unit.h"
#include "harness/words.h"

static int input_cluster, output_cluster;

struct two {
    struct process_job job;
    const char *input, *output, *counts;
    char source_brokers[256];
    int numbers; /* put so far */
};

static void prepare(struct two *two)
{
    broker_select(input_cluster);
    two->numbers = 0;
    two->input = broker_topic("elsewhere", 1);
    (void)snprintf(two->source_brokers, sizeof two->source_brokers, "%s", broker_address());
    broker_select(output_cluster);
    two->output = broker_topic("chained", 1);
    two->counts = broker_topic("counted", 1);
    two->job = (struct process_job){
        .program = "sequence", .brokers = broker_address(), .job = broker_name("two"), .input = two->input,
        .output = two->output, .checkpoints = process_path("two"),
        .settings = { "--counts", two->counts, "--source-brokers", two->source_brokers, "--checkpoint-interval", "20ms" },
    };
}

static void put(struct two *two, int count)
{
    broker_select(input_cluster);
    rd_kafka_t *producer = broker_producer(NULL, NULL);
    for (int i = 0; i < count; i++) {
        char value[16];
        (void)snprintf(value, sizeof value, "%d", ++two->numbers);
        const struct weir_record record = { .key = weir_text("7"), .value = weir_text(value), .time_ms = WEIR_TIME_UNSET };
        broker_produce(producer, two->input, 0, &record);
    }
    broker_producer_close(producer);
    broker_select(output_cluster);
}

static void expect_all(const struct two *two)
{
    char counts[32], expected[96];
    uint64_t hash = 0;
    (void)snprintf(counts, sizeof counts, "7=%d", two->numbers);
    words_await(two->counts, 1, counts);
    struct broker_records records = broker_read(two->output, 0, 0, true);
    ck_assert_uint_eq(records.count, (size_t)two->numbers);
    for (size_t i = 0; i < records.count; i++) {
        hash = sequence_hash(hash, (int64_t)i + 1);
        (void)snprintf(expected, sizeof expected, "%zu %zu %016llx", i + 1, i + 1, (unsigned long long)hash);
        ck_assert_msg(weir_bytes_equal(records.items[i].value, weir_text(expected)), "record %zu is '%.*s'", i + 1,
                      (int)records.items[i].value.size, records.items[i].value.data);
    }
    broker_records_free(&records);
}

static int64_t offset_for_lag_tools(const struct two *two)
{
    broker_select(input_cluster);
    const int64_t offset = broker_group_offset(two->job.job, two->input, 0);
    broker_select(output_cluster);
    return offset;
}

START_TEST(a_source_on_another_cluster_loses_nothing_through_kills)
{
    static const char *const points[] = { "sink_flushed:4", "commit_sent:5", "commit_acknowledged:3", "frame_durable:4" };
    struct two two;
    struct process process;
    prepare(&two);
    put(&two, 100);
    for (size_t i = 0; i < sizeof points / sizeof points[0]; i++) {
        char crash[64];
        (void)snprintf(crash, sizeof crash, "WEIR_CRASH=%s", points[i]);
        two.job.environment[0] = crash;
        process_start_job(&process, &two.job, NULL);
        while (!process_has_ended(&process)) put(&two, 5);
        process_expect_end(&process, -SIGKILL, NULL);
    }
    two.job.environment[0] = NULL;
    process_start_job(&process, &two.job, "--bounded", NULL);
    process_expect_end(&process, 0, NULL);
    expect_all(&two);
    ck_assert_int_eq(offset_for_lag_tools(&two), two.numbers);
    process_free(&process);
}
END_TEST

/* What the other cluster remembers is for lag tools only: nobody asks it where to go on. */
START_TEST(offsets_on_the_other_cluster_do_not_decide)
{
    struct two two;
    struct process process;
    prepare(&two);
    put(&two, 10);
    process_start_job(&process, &two.job, "--bounded", NULL);
    process_expect_end(&process, 0, NULL);
    broker_select(input_cluster);
    broker_set_group_offset(two.job.job, two.input, 0, 3);
    broker_select(output_cluster);
    put(&two, 5);
    process_start_job(&process, &two.job, "--bounded", NULL);
    process_expect_end(&process, 0, NULL);
    expect_all(&two);
    process_free(&process);
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_test(tests, a_source_on_another_cluster_loses_nothing_through_kills);
    tcase_add_test(tests, offsets_on_the_other_cluster_do_not_decide);
}

int main(void)
{
    input_cluster = broker_start(1);
    output_cluster = broker_start(1);
    return unit_main("clusters", add);
}
