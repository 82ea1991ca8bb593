/* Broadcast state: holds orders against limits that arrive while the job runs. Every subtask gets every limit, and
 * keeps the same map. */
#include "sample.h"

/* Every hundredth record is a limit for one country, all others are orders from there. */
static void make_message(void *user, uint64_t number, char *scratch, struct weir_record *record)
{
    static const char *const countries[] = { "NO", "IT", "EG" };
    (void)user;
    record->key = weir_text(countries[number % 3]);
    record->value = sample_number(scratch, number);
}

static bool is_limit(weir_task *task, const struct weir_record *record)
{
    int64_t number;
    return (weir_bytes_to_i64(record->value, &number) && number % 100 == 0) == (weir_user(task) != NULL);
}

static const struct weir_state limits = { .name = "limits", .kind = WEIR_STATE_BROADCAST, .codec = WEIR_I64 };
static const struct weir_state refused = { .name = "refused", .codec = WEIR_I64 };

static enum weir_code take_limit(weir_keyed_task *task, const struct weir_record *record)
{
    int64_t limit;
    if (!weir_bytes_to_i64(record->value, &limit)) return weir_fail(task, "a limit is no number");
    return weir_broadcast_put_object(task, &limits, record->key, &limit);
}

/* Counts the orders that are above the newest limit of their country. */
static enum weir_code check_order(weir_keyed_task *task, const struct weir_record *order)
{
    int64_t amount, limit;
    if (!weir_bytes_to_i64(order->value, &amount)) return weir_fail(task, "an order is no number");
    if (!weir_broadcast_get_object(task, &limits, order->key, &limit) || amount <= limit) return WEIR_OK;
    int64_t *count = weir_value_i64(task, &refused);
    if (count == NULL) return WEIR_FAILED; /* the failure is set */
    return weir_keyed_emit(task, .value = weir_format_i64(task, ++*count));
}

static void define(weir_graph *graph, const weir_config *config)
{
    static char wanted;
    struct weir_stream messages = sample_source(graph, config, make_message);
    struct weir_stream changes = weir_filter(messages, .name = "limits", .filter = is_limit, .user = &wanted);
    struct weir_stream orders = weir_filter(messages, .name = "orders", .filter = is_limit);
    weir_print(weir_keyed_broadcast_process(weir_key_by(orders, .key = NULL), changes, .name = "check",
                                            .first = check_order, .second = take_limit, .states = { &limits, &refused }),
               .name = "print", .file = stdout);
}

int main(int argc, char **argv)
{
    return weir_main(argc, argv, .define = define, .options = sample_options,
                     .about = "Broadcast state: holds orders against limits that arrive while the job runs.");
}
