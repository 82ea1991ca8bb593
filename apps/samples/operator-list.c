/* Operator list state: packs records by the dozen. What is not packed yet waits in a list of the packer itself, without
 * a key; when the job goes on with more packers or fewer, it is dealt out among them. */
#include "sample.h"

enum { DOZEN = 12 };

static const struct weir_state waiting = { .name = "waiting", .kind = WEIR_STATE_OPERATOR_LIST, .codec = WEIR_I64 };

static enum weir_code emit_pack(weir_task *task)
{
    struct weir_iterator at = { 0 };
    int64_t number, sum = 0, count = 0;
    for (; weir_operator_list_next_object(task, &waiting, &at, &number); count++) sum += number;
    if (count == 0) return WEIR_OK;
    weir_operator_list_clear(task, &waiting);
    return weir_emit(task, .key = weir_text("pack"), .value = weir_format(task, "%" PRId64 " %" PRId64, count, sum));
}

static enum weir_code pack(weir_task *task, const struct weir_record *record)
{
    struct weir_iterator at = { 0 };
    int64_t number, count = 0;
    if (!weir_bytes_to_i64(record->value, &number)) return weir_fail(task, "a record is no number");
    weir_operator_list_add_i64(task, &waiting, number);
    while (weir_operator_list_next_object(task, &waiting, &at, &number)) count++;
    return count < DOZEN ? WEIR_OK : emit_pack(task);
}

static void define(weir_graph *graph, const weir_config *config)
{
    struct weir_stream numbers = sample_source(graph, config, NULL);
    weir_print(weir_process(weir_rebalance(numbers), .name = "pack", .process = pack, .states = { &waiting }),
               .name = "print", .file = stdout);
}

int main(int argc, char **argv)
{
    return weir_main(argc, argv, .define = define, .options = sample_options,
                     .about = "Operator list state: packs records by the dozen.");
}
