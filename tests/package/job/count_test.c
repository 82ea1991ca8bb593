/* A job's test as a user writes one: built out of tree against the installed simulator, once as it should be and once with
 * a bug (-DBROKEN) that every test without a crash would miss. */
#include <inttypes.h>
#include <weir/kafka.h>
#include <weir/weir_test.h>

static const struct weir_state seen = { .name = "seen", .kind = WEIR_STATE_VALUE, .codec = WEIR_I64 };

#ifdef BROKEN
/* Outside of Weir's state: what an epoch counted stays counted when the epoch is rolled back. */
static int64_t *count_of(weir_keyed_task *task)
{
    static int64_t counts[256];
    (void)seen;
    return &counts[(unsigned char)weir_current_key(task).data[0]];
}
#else
static int64_t *count_of(weir_keyed_task *task) { return weir_value_i64(task, &seen); }
#endif

static enum weir_code number(weir_keyed_task *task, const struct weir_record *record)
{
    (void)record;
    int64_t *count = count_of(task);
    return count == NULL ? WEIR_FAILED : weir_keyed_emit(task, .value = weir_format_i64(task, ++*count));
}

static void define(weir_graph *graph, const weir_config *config)
{
    (void)config;
    struct weir_stream in = weir_kafka_source(graph, .name = "in", .topic = "in");
    struct weir_stream numbers = weir_keyed_process(weir_key_by(in, .key = NULL), .name = "number",
                                                    .process = number, .states = { &seen });
    weir_kafka_sink(numbers, .name = "out", .topic = "out");
}

static void next_record(weir_test *test, const char *topic, struct weir_record *record)
{
    (void)topic;
    record->key = weir_test_format(test, "%c", (char)('a' + weir_test_random(test, 6)));
}

static void take(weir_test *test, const char *topic, int32_t partition, const struct weir_record *record)
{
    (void)topic, (void)partition;
    int64_t *count = weir_test_value(test, "count", record->key, sizeof *count);
    weir_test_expect(test, .topic = "out", .key = record->key, .value = weir_test_format(test, "%" PRId64, ++*count));
}

int main(int argc, char **argv)
{
    return weir_test_main(argc, argv, .name = "count", .define = define, .inputs = { { "in", 0 } },
                          .outputs = { { "out", 0 } }, .next_record = next_record, .take = take);
}
