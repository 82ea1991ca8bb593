/* Operator union state: gives invoices their numbers, in every subtask, and none of them twice. Each subtask notes the last
 * number that it gave; when the job goes on, each looks through the notes of all, and begins above the highest. */
#include <stdlib.h>

#include "sample.h"

static const struct weir_state given = { .name = "given", .kind = WEIR_STATE_OPERATOR_UNION, .codec = WEIR_I64 };

/* The next number of this subtask; it takes every n-th one, if there are n subtasks. */
static enum weir_code look_at_all_notes(void *task)
{
    struct weir_iterator at = { 0 };
    int64_t highest = 0;
    int64_t *next = malloc(sizeof *next);
    if (next == NULL) return weir_fail(task, "no memory for a number");
    for (int64_t number; weir_operator_union_next_object(task, &given, &at, &number);)
        if (number > highest) highest = number;
    *next = highest + 1 + weir_subtask_index(task);
    weir_set_local(task, next);
    return WEIR_OK;
}

static void forget(void *task)
{
    free(weir_local(task));
}

static enum weir_code give(weir_task *task, const struct weir_record *record)
{
    int64_t *next = weir_local(task);
    const int64_t number = *next;
    const struct weir_bytes note = { (const char *)&number, sizeof number };
    const enum weir_code code = weir_operator_list_update(task, &given, &note, 1); /* in place of the note before */
    if (code != WEIR_OK) return code;
    *next += weir_subtask_count(task);
    return weir_emit(task, .key = weir_format(task, "invoice-%.*s", (int)record->value.size, record->value.data),
                     .value = weir_format_i64(task, number));
}

static void define(weir_graph *graph, const weir_config *config)
{
    struct weir_stream invoices = sample_source(graph, config, NULL);
    weir_print(weir_process(weir_rebalance(invoices), .name = "give", .process = give, .open = look_at_all_notes,
                            .close = forget, .states = { &given }), .name = "print", .file = stdout);
}

int main(int argc, char **argv)
{
    return weir_main(argc, argv, .define = define, .options = sample_options,
                     .about = "Operator union state: gives invoices their numbers, none of them twice.");
}
