/* A job without a main(): a shared object that `weir run sample-module.so` loads. It sums what each sensor has counted. */
#include "sample.h"

static void make_count(void *user, uint64_t number, char *scratch, struct weir_record *record)
{
    (void)user;
    record->key = sample_name(scratch, "sensor", number % 3);
    record->value = sample_number(scratch, number);
}

static enum weir_code add_count(weir_keyed_task *task, void *accumulator, const struct weir_record *reading)
{
    int64_t count;
    if (!weir_bytes_to_i64(reading->value, &count)) return weir_fail(task, "a reading is no number");
    *(int64_t *)accumulator += count;
    return WEIR_OK;
}

void weir_define(weir_graph *graph, const weir_config *config)
{
    struct weir_keyed_stream readings = weir_key_by(sample_source(graph, config, make_count), .key = NULL);
    weir_print(weir_aggregate(readings, .name = "sum", .accumulator = WEIR_I64, .add = add_count,
                              .emit = WEIR_EMIT_ON_COMMIT), .name = "print", .file = stdout);
}

const struct weir_option weir_options[] = {
    { .name = "records", .default_value = "1000", .help = "how many records there are" },
    { 0 },
};
const char *const weir_about = "Sums what each sensor has counted.";
