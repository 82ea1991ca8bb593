/* A job without end and without an outside system, to be watched over HTTP: numbers at --rate a second (or as fast as they are
 * taken), spread over tasks, counted by key, written to nowhere. */
#include <stdio.h>

#include "weir/generator.h"
#include "weir/main.h"
#include "weir/print.h"

static FILE *nowhere;

static enum weir_code spread(weir_task *task, const struct weir_record *record)
{
    int64_t number;
    if (!weir_bytes_to_i64(record->value, &number)) return weir_fail(task, "no number");
    return weir_emit(task, .key = weir_format(task, "k%d", (int)(number % 5000)), .value = record->value);
}

static enum weir_code add_one(weir_keyed_task *task, void *accumulator, const struct weir_record *record)
{
    (void)task, (void)record;
    ++*(int64_t *)accumulator;
    return WEIR_OK;
}

static void define(weir_graph *graph, const weir_config *config)
{
    int64_t rate = 0;
    (void)weir_bytes_to_i64(weir_text(weir_config_text(config, "rate")), &rate);
    struct weir_stream numbers = weir_generator(graph, .name = "numbers", .splits = 4, .per_second = (uint64_t)rate);
    struct weir_stream keyed = weir_flat_map(weir_rebalance(numbers), .name = "spread", .process = spread);
    struct weir_stream counts = weir_aggregate(weir_key_by(keyed, .key = NULL), .name = "count", .accumulator = WEIR_I64,
                                               .add = add_one, .emit = WEIR_EMIT_ON_COMMIT);
    weir_print(counts, .name = "nowhere", .file = nowhere);
}

static const struct weir_option options[] = { { "rate", WEIR_TEXT, "1000", NULL, "records a second; 0 = no limit" },
                                              { 0 } };

int main(int argc, char **argv)
{
    nowhere = fopen("/dev/null", "w");
    return nowhere == NULL ? 1 : weir_main(argc, argv, .define = define, .options = options);
}
