/* What job authors get, as they get it: weir_test.h over weir::test. Each run is a process of its own, so what a test wants
 * to know of it comes back as a violation. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness/unit.h"
#include "weir/kafka.h"
#include "weir/weir_test.h"

enum { SEEDS = 12 };

/* ---- A job that copies, with mistakes to choose from ------------------------------------------------------------- */

static enum { NO_MISTAKE, LOSES, DOUBLES, CHANGES, DELAYS, CRASHES } mistake;

static enum weir_code copy(weir_task *task, const struct weir_record *record)
{
    int64_t number;
    if (!weir_bytes_to_i64(record->value, &number)) return weir_fail(task, "not a number");
    const bool now = number % 20 == 0;
    if (now && mistake == CRASHES) abort();
    if (now && mistake == LOSES) return WEIR_OK;
    if (now && mistake == CHANGES) return weir_emit(task, .value = weir_text("another"));
    if (now && mistake == DELAYS) return weir_emit(task, .time_ms = record->time_ms + 1);
    if (now && mistake == DOUBLES) weir_forward(task, record);
    return weir_forward(task, record);
}

static void define(weir_graph *graph, const weir_config *config)
{
    (void)config;
    struct weir_stream in = weir_kafka_source(graph, .name = "in", .topic = "in");
    weir_kafka_sink(weir_process(in, .name = "copy", .process = copy), .name = "out", .topic = "out");
}

static void next_record(weir_test *test, const char *topic, struct weir_record *record)
{
    (void)topic;
    int64_t *count = weir_test_value(test, "count", WEIR_EMPTY, sizeof *count);
    record->key = weir_test_format(test, "key %d", (int)weir_test_random(test, 5));
    record->value = weir_test_format(test, "%" PRId64, ++*count);
}

static enum weir_test_order order;

static void expect_copy(weir_test *test, const char *topic, int32_t partition, const struct weir_record *record)
{
    (void)topic, (void)partition;
    weir_test_expect(test, .topic = "out", .key = record->key, .value = record->value, .time_ms = record->time_ms,
                     .order = order);
}

static struct weir_test_job job(void)
{
    return (struct weir_test_job){ .size = sizeof(struct weir_test_job), .name = "author", .define = define,
                                   .inputs = { { "in", 0 } }, .outputs = { { "out", 0 } },
                                   .next_record = next_record, .take = expect_copy };
}

static struct weir_test_report run(const struct weir_test_job *tested, uint64_t first, uint64_t last)
{
    struct weir_test_report report;
    struct weir_error error;
    const struct weir_test_options options = { .size = sizeof options, .seed_first = first, .seed_last = last,
                                               .jobs = 2, .keep_going = true };
    ck_assert_msg(weir_test_run(tested, &options, &report, &error) == WEIR_OK, "%s", error.text);
    ck_assert_uint_eq(report.runs, last - first + 1);
    return report;
}

static void passes(const struct weir_test_job *tested)
{
    const struct weir_test_report report = run(tested, 1, SEEDS);
    ck_assert_str_eq(report.violation, "");
    ck_assert_uint_eq(report.violations + report.crashes, 0);
}

/* Some seed finds what is wrong, and says it so. */
static void fails(const struct weir_test_job *tested, const char *sentence)
{
    const struct weir_test_report report = run(tested, 1, SEEDS);
    ck_assert_uint_gt(report.violations, 0);
    ck_assert_msg(strstr(report.violation, sentence) != NULL, "'%s' does not say '%s'", report.violation, sentence);
    ck_assert_uint_ge(report.seed_failed, 1);
    ck_assert_uint_le(report.seed_failed, SEEDS);
}

/* ---- What is expected -------------------------------------------------------------------------------------------- */

START_TEST(a_job_that_is_right_passes)
{
    const struct weir_test_job tested = job();
    passes(&tested);
}
END_TEST

START_TEST(each_mistake_is_found_and_named)
{
    const struct weir_test_job tested = job();
    order = WEIR_TEST_ANY_ORDER;
    mistake = LOSES;
    fails(&tested, "out lacks \"key ");
    mistake = DOUBLES;
    fails(&tested, "nothing in the input asks for");
    order = WEIR_TEST_IN_ORDER;
    mistake = CHANGES;
    fails(&tested, "= \"another\" instead of \"");
    mistake = DELAYS;
    fails(&tested, " of time ");
}
END_TEST

START_TEST(an_operator_that_crashes_is_a_crash_and_not_a_violation)
{
    const struct weir_test_job tested = job();
    mistake = CRASHES;
    const struct weir_test_report report = run(&tested, 1, 2);
    ck_assert_uint_eq(report.crashes, 2);
    ck_assert_uint_eq(report.violations, 0);
    ck_assert_str_eq(report.violation, "died of signal 6");
}
END_TEST

static void define_union(weir_graph *graph, const weir_config *config)
{
    (void)config;
    struct weir_stream both = weir_union(weir_kafka_source(graph, .name = "in", .topic = "in"),
                                         weir_kafka_source(graph, .name = "more", .topic = "more"));
    weir_kafka_sink(weir_process(both, .name = "copy", .process = copy), .name = "out", .topic = "out");
}

START_TEST(between_two_topics_there_is_no_order)
{
    struct weir_test_job tested = job();
    tested.define = define_union;
    tested.inputs[1] = (struct weir_test_topic){ "more", 0 };
    order = WEIR_TEST_IN_ORDER;
    fails(&tested, " instead of ");
    order = WEIR_TEST_ANY_ORDER;
    passes(&tested);
    mistake = LOSES;
    fails(&tested, "out lacks \"key ");
}
END_TEST

static enum weir_code keep_last(weir_keyed_task *task, const struct weir_record *record)
{
    return weir_keyed_emit(task, .value = record->value);
}

static void define_last(weir_graph *graph, const weir_config *config)
{
    (void)config;
    struct weir_stream in = weir_kafka_source(graph, .name = "in", .topic = "in");
    struct weir_stream last = weir_keyed_process(weir_key_by(in, .key = NULL), .name = "last", .process = keep_last,
                                                 .emit = WEIR_EMIT_ON_COMMIT);
    weir_kafka_sink(last, .name = "out", .topic = "out");
}

START_TEST(of_what_is_emitted_on_commit_the_last_is_expected)
{
    struct weir_test_job tested = job();
    tested.define = define_last;
    order = WEIR_TEST_LAST;
    passes(&tested);
    order = WEIR_TEST_IN_ORDER;
    fails(&tested, " instead of ");
}
END_TEST

/* ---- An oracle of one's own -------------------------------------------------------------------------------------- */

static struct {
    uint64_t begun, taken, put, decided;
} seen;

static void begin_counting(weir_test *test)
{
    (void)test;
    seen.begun++;
}

static void count_taken(weir_test *test, const char *topic, int32_t partition, const struct weir_record *record)
{
    (void)record;
    seen.taken++;
    if (strcmp(topic, "in") != 0 || partition < 0 || partition >= 3) weir_test_fail(test, "taken from elsewhere");
    if (weir_test_user(test) != &seen) weir_test_fail(test, "not the user");
}

static void count_put(weir_test *test, const char *topic, int32_t partition, const struct weir_record *record)
{
    (void)record;
    if (seen.put++ >= seen.taken) weir_test_fail(test, "put before it was taken");
    if (strcmp(topic, "out") != 0 || partition < 0 || partition >= 2) weir_test_fail(test, "put elsewhere");
}

static void count_decided(weir_test *test)
{
    seen.decided++;
    if (seen.taken != seen.put) weir_test_fail(test, "%" PRIu64 " taken, %" PRIu64 " put", seen.taken, seen.put);
}

static void tell_the_end(weir_test *test)
{
    if (seen.begun != 1 || seen.taken == 0 || seen.decided == 0) weir_test_fail(test, "nothing was seen");
    weir_test_fail(test, "the end");
}

START_TEST(an_oracle_of_ones_own_sees_what_goes_in_and_out_of_each_commit)
{
    struct weir_test_job tested = job();
    tested.inputs[0].partitions = 3;
    tested.outputs[0].partitions = 2;
    tested.begin = begin_counting;
    tested.take = count_taken;
    tested.put = count_put;
    tested.decided = count_decided;
    tested.user = &seen;
    passes(&tested);
    tested.end = tell_the_end;
    const struct weir_test_report report = run(&tested, 1, 1);
    ck_assert_str_eq(report.violation, "the end");
    mistake = LOSES;
    fails(&tested, " taken, ");
}
END_TEST

/* ---- What the simulated connector knows of records --------------------------------------------------------------- */

static void next_with_headers(weir_test *test, const char *topic, struct weir_record *record)
{
    next_record(test, topic, record);
    struct weir_header *items = weir_test_value(test, "items", WEIR_EMPTY, 2 * sizeof *items);
    struct weir_headers *headers = weir_test_value(test, "headers", WEIR_EMPTY, sizeof *headers);
    items[0] = (struct weir_header){ "origin", record->value };
    items[1] = (struct weir_header){ "nothing", WEIR_NULL };
    *headers = (struct weir_headers){ 2, items };
    record->headers = headers;
    if (weir_test_random(test, 4) == 0) record->key = WEIR_NULL;
    record->time_ms = 1000;
}

static void check_contents(weir_test *test, const char *topic, int32_t partition, const struct weir_record *record)
{
    (void)topic, (void)partition;
    const struct weir_headers *headers = record->headers;
    if (headers == NULL || headers->count != 2) {
        weir_test_fail(test, "the headers are gone");
        return;
    }
    if (strcmp(headers->items[0].name, "origin") != 0 || !weir_bytes_equal(headers->items[0].value, record->value) ||
        strcmp(headers->items[1].name, "nothing") != 0 || !weir_is_null(headers->items[1].value))
        weir_test_fail(test, "other headers");
    if (record->time_ms != 1000) weir_test_fail(test, "another time");
}

START_TEST(headers_null_keys_and_times_pass_through)
{
    struct weir_test_job tested = job();
    tested.next_record = next_with_headers;
    passes(&tested);
    tested.take = tested.put = check_contents;
    passes(&tested);
}
END_TEST

static const char *topic_of(void *user, const struct weir_record *record)
{
    (void)user;
    return record->value.data[record->value.size - 1] == '7' ? "sevens" : "out";
}

static int32_t partition_of(void *user, const struct weir_record *record, int32_t partition_count)
{
    (void)user, (void)record;
    return partition_count - 1;
}

static void define_split(weir_graph *graph, const weir_config *config)
{
    (void)config;
    struct weir_stream in = weir_kafka_source(graph, .name = "in", .topic = "in");
    weir_kafka_sink(in, .name = "out", .topic_of = topic_of, .partition_of = partition_of, .topics = "out");
}

static void expect_split(weir_test *test, const char *topic, int32_t partition, const struct weir_record *record)
{
    (void)topic, (void)partition;
    weir_test_expect(test, .topic = topic_of(NULL, record), .key = record->key, .value = record->value);
}

static void check_partition(weir_test *test, const char *topic, int32_t partition, const struct weir_record *record)
{
    (void)record;
    if (partition != (strcmp(topic, "out") == 0 ? 2 : 1)) weir_test_fail(test, "%s/%d", topic, (int)partition);
}

START_TEST(a_sink_chooses_topic_and_partition)
{
    struct weir_test_job tested = job();
    tested.define = define_split;
    tested.outputs[0].partitions = 3;
    tested.outputs[1] = (struct weir_test_topic){ "sevens", 2 };
    tested.take = expect_split;
    passes(&tested);
    tested.put = check_partition;
    passes(&tested);
}
END_TEST

/* ---- Settings and mistakes --------------------------------------------------------------------------------------- */

static enum weir_code emit_alone(weir_task *task, const struct weir_record *record)
{
    (void)record;
    return weir_emit(task, .value = weir_format(task, "%u", weir_subtask_count(task)));
}

static void define_by_options(weir_graph *graph, const weir_config *config)
{
    struct weir_stream in = weir_kafka_source(graph, .name = "in", .topic = weir_config_text(config, "from"));
    weir_kafka_sink(weir_process(in, .name = "alone", .process = emit_alone), .name = "out",
                    .topic = weir_config_text(config, "to"));
}

static void expect_alone(weir_test *test, const char *topic, int32_t partition, const struct weir_record *record)
{
    (void)topic, (void)partition;
    weir_test_expect(test, .topic = "out", .key = record->key, .value = weir_text("1"));
}

START_TEST(settings_win_over_what_is_drawn_and_options_have_values)
{
    static const struct weir_option options[] = { { .name = "from", .kind = WEIR_TOPIC, .default_value = "in" },
                                                  { .name = "to", .kind = WEIR_TOPIC }, { 0 } };
    struct weir_test_job tested = job();
    tested.define = define_by_options;
    tested.options = options;
    tested.settings = (const char *const[]){ "parallelism.default=1", "to=out", NULL };
    tested.take = expect_alone;
    passes(&tested);
    tested.settings = (const char *const[]){ "to=out", NULL };
    fails(&tested, " instead of \"1\"");
    tested.settings = (const char *const[]){ "to=out", "no.such.key=1", NULL };
    fails(&tested, "no.such.key");
}
END_TEST

static void lacks(const struct weir_test_job *tested, const char *what)
{
    struct weir_test_report report;
    struct weir_error error;
    const struct weir_test_options options = { .size = sizeof options, .seed_first = 1, .seed_last = 1 };
    ck_assert_int_eq(weir_test_run(tested, &options, &report, &error), WEIR_USAGE);
    ck_assert_msg(strstr(error.text, what) != NULL, "'%s' does not name %s", error.text, what);
}

START_TEST(a_job_that_lacks_something_is_not_run)
{
    struct weir_test_job tested = job();
    tested.take = NULL;
    lacks(&tested, ".take");
    tested = job();
    tested.next_record = NULL;
    lacks(&tested, ".next_record");
    tested = job();
    tested.inputs[0].name = NULL;
    lacks(&tested, ".inputs");
    tested = job();
    tested.outputs[0].partitions = 17;
    lacks(&tested, "1 to 16 partitions");
    tested = job();
    tested.settings = (const char *const[]){ "parallelism.default", NULL };
    lacks(&tested, ".settings");
    tested = job();
    tested.size--;
    lacks(&tested, ".size");
}
END_TEST

START_TEST(a_topic_that_is_not_in_the_test_is_told)
{
    struct weir_test_job tested = job();
    tested.inputs[0].name = "inn";
    fails(&tested, "there is no topic 'in'");
}
END_TEST

START_TEST(the_same_seed_is_the_same_run)
{
    const struct weir_test_job tested = job();
    const struct weir_test_report first = run(&tested, 5, 5), again = run(&tested, 5, 5);
    uint64_t kills = 0;
    ck_assert_uint_gt(first.counter_count, 10);
    for (size_t i = 0; i < first.counter_count; i++) {
        ck_assert_str_eq(first.counters[i].name, again.counters[i].name);
        ck_assert_uint_eq(first.counters[i].count, again.counters[i].count);
        if (strcmp(first.counters[i].name, "kills") == 0) kills = first.counters[i].count;
    }
    ck_assert_uint_gt(kills, 0);
}
END_TEST

/* ---- A failure that is made shorter ------------------------------------------------------------------------------ */

static int64_t counted[256]; /* outside of Weir's state: what an epoch has counted stays so when it is rolled back */

static enum weir_code count(weir_keyed_task *task, const struct weir_record *record)
{
    const int64_t number = ++counted[(unsigned char)record->key.data[record->key.size - 1]];
    return weir_keyed_emit(task, .value = weir_format_i64(task, number));
}

static void define_count(weir_graph *graph, const weir_config *config)
{
    (void)config;
    struct weir_stream in = weir_kafka_source(graph, .name = "in", .topic = "in");
    weir_kafka_sink(weir_keyed_process(weir_key_by(in, .key = NULL), .name = "count", .process = count), .name = "out",
                    .topic = "out");
}

static void expect_count(weir_test *test, const char *topic, int32_t partition, const struct weir_record *record)
{
    (void)topic, (void)partition;
    int64_t *number = weir_test_value(test, "number", record->key, sizeof *number);
    weir_test_expect(test, .topic = "out", .key = record->key, .value = weir_test_format(test, "%" PRId64, ++*number));
}

enum { WORDS_MAX = 32, SAID_SIZE = 1 << 20 };

/* What the test program says, on both of its outputs, when it is called by this line. */
static int call(const struct weir_test_job *tested, const char *line, char said[SAID_SIZE])
{
    char words[2000], *argv[WORDS_MAX];
    int argc = 0, status;
    FILE *file = tmpfile();
    ck_assert_ptr_nonnull(file);
    ck_assert_uint_lt(strlen(line), sizeof words);
    strcpy(words, line);
    for (char *word = strtok(words, " "); word != NULL && argc < WORDS_MAX; word = strtok(NULL, " ")) argv[argc++] = word;
    const pid_t pid = fork();
    if (pid == 0) {
        (void)dup2(fileno(file), STDOUT_FILENO);
        (void)dup2(fileno(file), STDERR_FILENO);
        exit(weir_test_main_(argc, argv, tested));
    }
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    rewind(file);
    said[fread(said, 1, SAID_SIZE - 1, file)] = '\0';
    (void)fclose(file);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* The rest of the last line that begins so. */
static void last_line(const char *said, const char *begin, char line[2000])
{
    line[0] = '\0';
    for (const char *at = said; at != NULL && *at != '\0'; at = strchr(at, '\n'), at += at != NULL)
        if (strncmp(at, begin, strlen(begin)) == 0)
            (void)snprintf(line, 2000, "%.*s", (int)strcspn(at + strlen(begin), "\n"), at + strlen(begin));
    ck_assert_msg(line[0] != '\0', "no line begins with '%s': %s", begin, said);
}

static size_t count_lines(const char *said)
{
    size_t lines = 0;
    for (; *said != '\0'; said++) lines += *said == '\n';
    return lines;
}

/* Of one of the failures: how long its trace is, before and after. */
static void make_shorter(const struct weir_test_job *tested, const char *replay, size_t *before, size_t *after)
{
    static char whole[SAID_SIZE], said[SAID_SIZE], again[SAID_SIZE], shorter[SAID_SIZE];
    char seed[2000], line[2000], violation[2000];
    ck_assert_int_eq(call(tested, replay, whole), 1);
    (void)snprintf(seed, sizeof seed, "%.*s --shrink", (int)(strstr(replay, " --trace") - replay), replay);
    ck_assert_int_eq(call(tested, seed, said), 1);
    last_line(said, "replay: ", line);
    ck_assert_int_eq(call(tested, line, shorter), 1);
    last_line(shorter, "violation: ", violation);
    ck_assert_ptr_nonnull(strstr(violation, "out has \"key "));
    ck_assert_ptr_nonnull(strstr(violation, " instead of "));
    ck_assert_int_eq(call(tested, seed, again), 1);
    ck_assert_str_eq(again, said);
    *before += count_lines(whole);
    *after += count_lines(shorter);
}

START_TEST(failing_seeds_are_made_shorter_and_fail_in_the_same_way)
{
    static char said[SAID_SIZE];
    size_t before = 0, after = 0, count = 0;
    struct weir_test_job tested = job();
    tested.define = define_count;
    tested.take = expect_count;
    ck_assert_int_eq(call(&tested, "test --seeds 2-7 --jobs 2 --keep-going --no-shrink", said), 1);
    for (const char *at = strstr(said, "replay: "); at != NULL; at = strstr(at + 1, "replay: ")) {
        char line[2000];
        (void)snprintf(line, sizeof line, "%.*s", (int)strcspn(at + 8, "\n"), at + 8);
        make_shorter(&tested, line, &before, &after);
        count++;
    }
    ck_assert_uint_gt(count, 1);
    ck_assert_msg(after * 4 < before * 3, "%zu lines instead of %zu", after, before);
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_test(tests, a_job_that_is_right_passes);
    tcase_add_test(tests, each_mistake_is_found_and_named);
    tcase_add_test(tests, an_operator_that_crashes_is_a_crash_and_not_a_violation);
    tcase_add_test(tests, between_two_topics_there_is_no_order);
    tcase_add_test(tests, of_what_is_emitted_on_commit_the_last_is_expected);
    tcase_add_test(tests, an_oracle_of_ones_own_sees_what_goes_in_and_out_of_each_commit);
    tcase_add_test(tests, headers_null_keys_and_times_pass_through);
    tcase_add_test(tests, a_sink_chooses_topic_and_partition);
    tcase_add_test(tests, settings_win_over_what_is_drawn_and_options_have_values);
    tcase_add_test(tests, a_job_that_lacks_something_is_not_run);
    tcase_add_test(tests, a_topic_that_is_not_in_the_test_is_told);
    tcase_add_test(tests, the_same_seed_is_the_same_run);
    tcase_add_test(tests, failing_seeds_are_made_shorter_and_fail_in_the_same_way);
}

int main(void)
{
    return unit_main("sim_author", add);
}
