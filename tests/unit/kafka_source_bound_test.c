/* Where reading begins and ends, which topics, and names of partitions: texts only. */
#include "harness/unit.h"
#include "source.h"

#include <stdlib.h>
#include <string.h>

#include "weir/kafka.h"

START_TEST(reads_every_kind_of_bound)
{
    const struct {
        const char *text;
        enum kafka_bound_kind kind, otherwise;
        int64_t time_ms;
        const char *group;
    } cases[] = {
        { "earliest", KAFKA_EARLIEST, 0, 0, "" },
        { "latest", KAFKA_LATEST, 0, 0, "" },
        { "timestamp:0", KAFKA_TIMESTAMP, 0, 0, "" },
        { "timestamp:1700000000000", KAFKA_TIMESTAMP, 0, 1700000000000, "" },
        { "group:g", KAFKA_GROUP, KAFKA_GROUP, 0, "g" },
        { "group:a:b,c", KAFKA_GROUP, KAFKA_GROUP, 0, "a:b,c" },
        { "group:a,earliest", KAFKA_GROUP, KAFKA_EARLIEST, 0, "a" },
        { "group:a,b,latest", KAFKA_GROUP, KAFKA_LATEST, 0, "a,b" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct kafka_bound bound;
        struct weir_error error;
        ck_assert_msg(kafka_bound_parse(cases[i].text, &bound, &error) == WEIR_OK, "%s", error.text);
        ck_assert_int_eq(bound.kind, cases[i].kind);
        ck_assert_int_eq(bound.otherwise, cases[i].otherwise);
        ck_assert_int_eq(bound.time_ms, cases[i].time_ms);
        ck_assert_str_eq(bound.group, cases[i].group);
        kafka_bound_clear(&bound);
    }
}
END_TEST

START_TEST(reads_given_offsets)
{
    struct kafka_bound bound;
    struct weir_error error;
    ck_assert_int_eq(kafka_bound_parse("offsets:a/0=5,b.c-d_e/11=0", &bound, &error), WEIR_OK);
    ck_assert_int_eq(bound.kind, KAFKA_OFFSETS);
    ck_assert_uint_eq(bound.offsets.count, 2);
    ck_assert_int_eq(weir_splits_find(&bound.offsets, "a/0")->position, 5);
    ck_assert_int_eq(weir_splits_find(&bound.offsets, "b.c-d_e/11")->position, 0);
    kafka_bound_clear(&bound);
}
END_TEST

START_TEST(refuses_what_is_no_bound)
{
    const char *const texts[] = { "", "earlier", "Earliest", "latest ", "timestamp:", "timestamp:-1", "timestamp:1s",
                                  "group:", "group:,latest", "offsets:", "offsets:a=1", "offsets:a/0", "offsets:a/0=",
                                  "offsets:a/0=-1", "offsets:a/x=1", "offsets:a/0=1,", "offsets:a/0=1,a/0=2",
                                  "offsets:a/99999999999=1" };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct kafka_bound bound;
        struct weir_error error;
        ck_assert_msg(kafka_bound_parse(texts[i], &bound, &error) == WEIR_USAGE, "'%s' is taken", texts[i]);
        ck_assert_ptr_nonnull(strstr(error.text, "write earliest"));
        kafka_bound_clear(&bound);
    }
}
END_TEST

START_TEST(reads_lists_of_topics)
{
    struct kafka_topics topics;
    struct weir_error error;
    ck_assert_int_eq(kafka_topics_parse("b,a,b", &topics, &error), WEIR_OK);
    ck_assert(!topics.is_pattern);
    ck_assert_uint_eq(topics.count, 2);
    ck_assert(kafka_topics_match(&topics, "a"));
    ck_assert(!kafka_topics_match(&topics, "c"));
    kafka_topics_clear(&topics);
    const char *const bad[] = { "", "a,", "a b", "a/b", ".", "..", "^(", "\xc3\xa4" };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        ck_assert_msg(kafka_topics_parse(bad[i], &topics, &error) == WEIR_USAGE, "'%s' is taken", bad[i]);
        kafka_topics_clear(&topics);
    }
}
END_TEST

START_TEST(matches_patterns_but_no_internal_topics)
{
    struct kafka_topics topics;
    struct weir_error error;
    ck_assert_int_eq(kafka_topics_parse("^(in|_).*", &topics, &error), WEIR_OK);
    ck_assert(kafka_topics_match(&topics, "input"));
    ck_assert(kafka_topics_match(&topics, "_own"));
    ck_assert(!kafka_topics_match(&topics, "main"));
    ck_assert(!kafka_topics_match(&topics, "__consumer_offsets"));
    kafka_topics_clear(&topics);
    ck_assert_int_eq(kafka_topics_parse("^__cons", &topics, &error), WEIR_OK);
    ck_assert(kafka_topics_match(&topics, "__consumer_offsets"));
    kafka_topics_clear(&topics);
}
END_TEST

START_TEST(names_partitions_and_back)
{
    char name[KAFKA_SPLIT_SIZE], topic[KAFKA_TOPIC_SIZE], longest[KAFKA_TOPIC_SIZE + 1];
    int32_t partition;
    memset(longest, 'a', sizeof longest - 1);
    longest[KAFKA_TOPIC_SIZE] = '\0';
    kafka_split_name(name, longest + 1, INT32_MAX); /* 249 letters, the most that Kafka allows */
    ck_assert(kafka_split_parse(name, topic, &partition));
    ck_assert_str_eq(topic, longest + 1);
    ck_assert_int_eq(partition, INT32_MAX);
    kafka_split_name(name, longest, 1);
    ck_assert(!kafka_split_parse(name, topic, &partition));
    const char *const bad[] = { "", "a", "/0", "a/", "a/-1", "a/0x", "a/2147483648" };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) ck_assert(!kafka_split_parse(bad[i], topic, &partition));
}
END_TEST

/* Without a broker, as --validate does. */
START_TEST(a_configured_start_is_checked_with_the_plan)
{
    struct weir_error error;
    weir_config *config = weir_config_create();
    for (int is_legal = 0; is_legal < 2; is_legal++) {
        weir_graph *graph = weir_graph_create();
        struct weir_stream lines = weir_kafka_source(graph, .name = "lines", .topic = "in");
        weir_kafka_sink(lines, .name = "copies", .topic = "out");
        ck_assert_int_eq(weir_config_set(config, WEIR_CONFIG_CODE, "source.start", is_legal ? "latest" : "yesterday",
                                         "test", &error), WEIR_OK);
        char *plan = weir_graph_explain(graph, config, &error);
        ck_assert(is_legal == (plan != NULL));
        if (!is_legal) ck_assert_msg(strstr(error.text, "source 'lines': 'yesterday'") != NULL, "%s", error.text);
        free(plan);
        weir_graph_destroy(graph);
    }
    weir_config_destroy(config);
}
END_TEST

static void add_facts(TCase *tests)
{
    tcase_add_test(tests, a_configured_start_is_checked_with_the_plan);
    tcase_add_test(tests, reads_every_kind_of_bound);
    tcase_add_test(tests, reads_given_offsets);
    tcase_add_test(tests, refuses_what_is_no_bound);
    tcase_add_test(tests, reads_lists_of_topics);
    tcase_add_test(tests, matches_patterns_but_no_internal_topics);
    tcase_add_test(tests, names_partitions_and_back);
}

int main(void)
{
    return unit_main("kafka source bound", add_facts);
}
