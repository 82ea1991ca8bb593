/* Time to live: lets each order through once. Only those of the last day are remembered, so the state does not grow for
 * ever. */
#include "sample.h"

static void make_order(void *user, uint64_t number, char *scratch, struct weir_record *record)
{
    (void)user;
    record->key = sample_name(scratch, "order", number % 10);
    record->value = sample_number(scratch, number);
}

static const struct weir_ttl day = { .duration_ms = 24 * 3600 * 1000 };
static const struct weir_state seen = { .name = "seen", .codec = WEIR_I64, .ttl = &day };

static enum weir_code let_through_once(weir_keyed_task *task, const struct weir_record *order)
{
    const int64_t yes = 1;
    if (weir_is_set(weir_value_get(task, &seen))) return WEIR_OK;
    weir_value_set_object(task, &seen, &yes);
    return weir_keyed_emit(task, .value = WEIR_EMPTY, .key = order->key);
}

static void define(weir_graph *graph, const weir_config *config)
{
    struct weir_keyed_stream orders = weir_key_by(sample_source(graph, config, make_order), .key = NULL);
    weir_print(weir_keyed_process(orders, .name = "once", .process = let_through_once, .states = { &seen }),
               .name = "print", .file = stdout);
}

int main(int argc, char **argv)
{
    return weir_main(argc, argv, .define = define, .options = sample_options,
                     .about = "Time to live: lets each order through once, and forgets those of yesterday.");
}
