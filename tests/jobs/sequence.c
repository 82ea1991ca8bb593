/* A job whose output tells whether anything was lost, doubled or torn (harness/sequence.h says how): a chained hash of each
 * key's history to one topic for every input, and counts to another on commit. */
#include <inttypes.h>
#include <string.h>

#include "harness/sequence.h"
#include "weir/kafka.h"
#include "weir/main.h"

struct history {
    int64_t count;
    uint64_t hash;
};

static const struct weir_state history = {
    .name = "history", .kind = WEIR_STATE_VALUE, .codec = WEIR_STRUCT, .struct_size_bytes = sizeof(struct history)
};

static enum weir_code chain(weir_keyed_task *task, const struct weir_record *record)
{
    int64_t number;
    if (!weir_bytes_to_i64(record->value, &number))
        return weir_fail(task, "key %.*s: '%.*s' is not a number", (int)record->key.size, record->key.data,
                         (int)record->value.size, record->value.data);
    struct history *so_far = weir_value_struct(task, &history);
    if (so_far == NULL) return WEIR_FAILED;
    so_far->count++;
    so_far->hash = sequence_hash(so_far->hash, number);
    return weir_keyed_emit(task, .value = weir_format(task, "%" PRId64 " %" PRId64 " %016" PRIx64, number,
                                                      so_far->count, so_far->hash));
}

static enum weir_code add(weir_keyed_task *task, void *accumulator, const struct weir_record *record)
{
    (void)task;
    (void)record;
    ++*(int64_t *)accumulator;
    return WEIR_OK;
}

static void define(weir_graph *graph, const weir_config *config)
{
    struct weir_stream numbers = weir_kafka_source(graph, .name = "numbers", .topic = weir_config_text(config, "input"),
                                                   .brokers = weir_config_text(config, "source-brokers"));
    struct weir_keyed_stream by_key = weir_key_by(numbers, .key = NULL);
    struct weir_stream chained =
        weir_keyed_process(by_key, .name = "chain", .process = chain, .states = { &history });
    struct weir_stream counts =
        weir_aggregate(by_key, .name = "count", .accumulator = WEIR_I64, .add = add, .emit = WEIR_EMIT_ON_COMMIT);
    weir_kafka_sink(chained, .name = "chained", .topic = weir_config_text(config, "output"));
    weir_kafka_sink(counts, .name = "counts", .topic = weir_config_text(config, "counts"));
}

static const struct weir_option own[] = {
    { .name = "input", .kind = WEIR_TEXT, .help = "topic with numbered records, or a pattern of topics" },
    { .name = "source-brokers", .kind = WEIR_TEXT, .help = "where the input is; as --brokers if not given" },
    { .name = "output", .kind = WEIR_TOPIC, .help = "topic for one record for each input" },
    { .name = "counts", .kind = WEIR_TOPIC, .help = "topic for counts, on commit" },
    { 0 },
};

int main(int argc, char **argv)
{
    return weir_main(argc, argv, .define = define, .options = own, .about = "A job for tests.");
}
