/* Reducing state: the highest temperature of each city. */
#include "sample.h"

static void make_temperature(void *user, uint64_t number, char *scratch, struct weir_record *record)
{
    static const char *const cities[] = { "Oslo", "Rome", "Cairo" };
    (void)user;
    record->key = weir_text(cities[number % 3]);
    record->value = sample_number(scratch, number * 37 % 500 % (30 + number % 3 * 5));
}

static enum weir_code higher(weir_keyed_task *task, void *so_far, const void *value)
{
    (void)task;
    int64_t *highest = so_far;
    if (*(const int64_t *)value > *highest) *highest = *(const int64_t *)value;
    return WEIR_OK;
}

static const struct weir_state highest = {
    .name = "highest", .kind = WEIR_STATE_REDUCING, .codec = WEIR_I64, .reduce = higher
};

static enum weir_code take(weir_keyed_task *task, const struct weir_record *record)
{
    int64_t temperature;
    if (!weir_bytes_to_i64(record->value, &temperature)) return weir_fail(task, "a temperature is no number");
    weir_reducing_add_i64(task, &highest, temperature);
    if (!weir_reducing_get(task, &highest, &temperature)) return WEIR_FAILED; /* the failure is set */
    return weir_keyed_emit(task, .value = weir_format_i64(task, temperature));
}

static void define(weir_graph *graph, const weir_config *config)
{
    struct weir_keyed_stream temperatures = weir_key_by(sample_source(graph, config, make_temperature), .key = NULL);
    weir_print(weir_keyed_process(temperatures, .name = "highest", .process = take, .states = { &highest },
                                  .emit = WEIR_EMIT_ON_COMMIT), .name = "print", .file = stdout);
}

int main(int argc, char **argv)
{
    return weir_main(argc, argv, .define = define, .options = sample_options,
                     .about = "Reducing state: the highest temperature of each city.");
}
