/* Map state: the page that each visitor has seen most often. */
#include "sample.h"

static void make_visit(void *user, uint64_t number, char *scratch, struct weir_record *record)
{
    (void)user;
    record->key = sample_name(scratch, "visitor", number % 5);
    record->value = weir_text(number % 3 == 0 ? "/start" : number % 7 == 0 ? "/help" : "/shop");
}

static const struct weir_state visits = { .name = "visits", .kind = WEIR_STATE_MAP, .codec = WEIR_I64 };

static enum weir_code count_visit(weir_keyed_task *task, const struct weir_record *visit)
{
    struct weir_iterator at = { 0 };
    struct weir_bytes page, most = WEIR_EMPTY;
    int64_t count, highest = 0;
    int64_t *so_far = weir_map_i64(task, &visits, visit->value); /* only this entry changes */
    if (so_far == NULL) return WEIR_FAILED;                      /* no memory: the failure is set */
    ++*so_far;
    while (weir_map_next_object(task, &visits, &at, &page, &count))
        if (count > highest) {
            most = page;
            highest = count;
        }
    return weir_keyed_emit(task, .value = weir_format(task, "%.*s %" PRId64, (int)most.size, most.data, highest));
}

static void define(weir_graph *graph, const weir_config *config)
{
    struct weir_keyed_stream visited = weir_key_by(sample_source(graph, config, make_visit), .key = NULL);
    weir_print(weir_keyed_process(visited, .name = "count", .process = count_visit, .states = { &visits },
                                  .emit = WEIR_EMIT_ON_COMMIT), .name = "print", .file = stdout);
}

int main(int argc, char **argv)
{
    return weir_main(argc, argv, .define = define, .options = sample_options,
                     .about = "Map state: the page that each visitor has seen most often.");
}
