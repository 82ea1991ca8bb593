#include "partitioner.h"

#include "harness/unit.h"

/* From UtilsTest.testMurmur2 of Kafka's Java client. */
START_TEST(murmur2_equals_javas)
{
    static const struct { const char *text; int32_t hash; } rows[] = {
        { "21", -973932308 },
        { "foobar", -790332482 },
        { "a-little-bit-long-string", -985981536 },
        { "a-little-bit-longer-string", -1486304829 },
        { "lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971 },
        { "abc", 479470107 },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        ck_assert_int_eq((int32_t)weir_murmur2(weir_text(rows[i].text)), rows[i].hash);
}
END_TEST

START_TEST(key_decides_the_partition)
{
    struct partitioner partitioner;
    partitioner_init(&partitioner, 1);
    for (int32_t count = 1; count < 50; count++) {
        const int32_t expected = (-790332482 & 0x7fffffff) % count;
        ck_assert_int_eq(partitioner_choose(&partitioner, weir_text("foobar"), 100, count), expected);
        ck_assert_int_eq(partitioner_choose(&partitioner, weir_text("foobar"), 100000, count), expected);
    }
    /* An empty key is a key: always the same one. */
    const int32_t empty = partitioner_choose(&partitioner, WEIR_EMPTY, 100000, 7);
    for (int i = 0; i < 10; i++)
        ck_assert_int_eq(partitioner_choose(&partitioner, WEIR_EMPTY, 100000, 7), empty);
}
END_TEST

START_TEST(records_without_a_key_stay_together_for_a_run)
{
    struct partitioner partitioner;
    uint64_t seed = unit_seed();
    partitioner_init(&partitioner, seed);
    int32_t before = -1;
    bool used[5] = { false };
    for (int run = 0; run < 200; run++) {
        const int32_t first = partitioner_choose(&partitioner, WEIR_NULL, 4096, 5);
        ck_assert_int_ne(first, before);
        for (int i = 1; i < 4; i++) ck_assert_int_eq(partitioner_choose(&partitioner, WEIR_NULL, 4096, 5), first);
        used[first] = true;
        before = first;
    }
    for (int i = 0; i < 5; i++) ck_assert(used[i]);
}
END_TEST

START_TEST(one_partition_takes_everything)
{
    struct partitioner partitioner;
    partitioner_init(&partitioner, 3);
    for (int i = 0; i < 100; i++) ck_assert_int_eq(partitioner_choose(&partitioner, WEIR_NULL, 100000, 1), 0);
}
END_TEST

/* Two sinks of one job may write to topics with different numbers of partitions. */
START_TEST(run_ends_where_the_topic_has_fewer_partitions)
{
    struct partitioner partitioner;
    partitioner_init(&partitioner, 3);
    for (int i = 0; i < 1000; i++) {
        const int32_t count = i % 2 == 0 ? 9 : 2;
        const int32_t partition = partitioner_choose(&partitioner, WEIR_NULL, 1, count);
        ck_assert_int_ge(partition, 0);
        ck_assert_int_lt(partition, count);
    }
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_test(tests, murmur2_equals_javas);
    tcase_add_test(tests, key_decides_the_partition);
    tcase_add_test(tests, records_without_a_key_stay_together_for_a_run);
    tcase_add_test(tests, one_partition_takes_everything);
    tcase_add_test(tests, run_ends_where_the_topic_has_fewer_partitions);
}

int main(void)
{
    return unit_main("kafka partitioner", add);
}
