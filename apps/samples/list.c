/* List state: the last three readings of each sensor. */
#include "sample.h"

static void make_reading(void *user, uint64_t number, char *scratch, struct weir_record *record)
{
    (void)user;
    record->key = sample_name(scratch, "sensor", number % 4);
    record->value = sample_number(scratch, number);
}

static const struct weir_state last = { .name = "last", .kind = WEIR_STATE_LIST, .codec = WEIR_I64 };

static enum weir_code keep_three(weir_keyed_task *task, const struct weir_record *reading)
{
    struct weir_iterator at = { 0 };
    int64_t three[3], number;
    size_t count = 0;
    if (!weir_bytes_to_i64(reading->value, &number)) return weir_fail(task, "a reading is no number");
    for (int64_t one; count < 3 && weir_list_next_object(task, &last, &at, &one); count++) three[count] = one;
    const size_t first = count == 3; /* the oldest of three goes */
    weir_list_clear(task, &last);
    for (size_t i = first; i < count; i++) weir_list_add_i64(task, &last, three[i]);
    weir_list_add_i64(task, &last, number);
    if (count < 2) return WEIR_OK;
    return weir_keyed_emit(task, .value = weir_format(task, "%" PRId64 " %" PRId64 " %" PRId64, three[count - 2],
                                                      three[count - 1], number));
}

static void define(weir_graph *graph, const weir_config *config)
{
    struct weir_keyed_stream readings = weir_key_by(sample_source(graph, config, make_reading), .key = NULL);
    weir_print(weir_keyed_process(readings, .name = "keep-three", .process = keep_three, .states = { &last }),
               .name = "print", .file = stdout);
}

int main(int argc, char **argv)
{
    return weir_main(argc, argv, .define = define, .options = sample_options,
                     .about = "List state: the last three readings of each sensor.");
}
