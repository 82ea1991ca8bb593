/* Aggregating state: the mean of each sensor. Numbers go in, a mean comes out, and between them is a struct. */
#include "sample.h"

static void make_reading(void *user, uint64_t number, char *scratch, struct weir_record *record)
{
    (void)user;
    record->key = sample_name(scratch, "sensor", number % 4);
    record->value = sample_number(scratch, number);
}

struct mean {
    int64_t count, sum;
};

static enum weir_code add(weir_keyed_task *task, void *accumulator, const void *input)
{
    (void)task;
    struct mean *mean = accumulator; /* begins as zero bytes */
    mean->count++;
    mean->sum += *(const int64_t *)input;
    return WEIR_OK;
}

static enum weir_code result(weir_keyed_task *task, const void *accumulator, void *output)
{
    (void)task;
    const struct mean *mean = accumulator;
    *(double *)output = (double)mean->sum / (double)mean->count;
    return WEIR_OK;
}

static const struct weir_aggregator to_mean = { .add = add, .result = result };
static const struct weir_state mean = {
    .name = "mean", .kind = WEIR_STATE_AGGREGATING, .codec = WEIR_STRUCT, .struct_size_bytes = sizeof(struct mean),
    .aggregator = &to_mean
};

static enum weir_code take(weir_keyed_task *task, const struct weir_record *reading)
{
    int64_t number;
    double so_far;
    if (!weir_bytes_to_i64(reading->value, &number)) return weir_fail(task, "a reading is no number");
    weir_aggregating_add(task, &mean, &number);
    if (!weir_aggregating_get(task, &mean, &so_far)) return WEIR_FAILED; /* the failure is set */
    return weir_keyed_emit(task, .value = weir_format(task, "%.1f", so_far));
}

static void define(weir_graph *graph, const weir_config *config)
{
    struct weir_keyed_stream readings = weir_key_by(sample_source(graph, config, make_reading), .key = NULL);
    weir_print(weir_keyed_process(readings, .name = "mean", .process = take, .states = { &mean },
                                  .emit = WEIR_EMIT_ON_COMMIT), .name = "print", .file = stdout);
}

int main(int argc, char **argv)
{
    return weir_main(argc, argv, .define = define, .options = sample_options,
                     .about = "Aggregating state: the mean of each sensor.");
}
