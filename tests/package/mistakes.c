/* Compiled once as it is, which must work, and once with each MISTAKE, which must not: what the types are made to catch. */
#include <weir/weir.h>

#ifndef MISTAKE
#define MISTAKE 0
#endif

static const struct weir_state total = { .name = "total", .kind = WEIR_STATE_VALUE, .codec = WEIR_I64 };

static enum weir_code count(weir_keyed_task *task, const struct weir_record *word)
{
    ++*weir_value_i64(task, &total);
    return weir_keyed_emit(task, .key = word->key);
}

static enum weir_code pass(weir_task *task, const struct weir_record *word)
{
#if MISTAKE == 1 /* keyed state where there is no key */
    ++*weir_value_i64(task, &total);
#endif
    return weir_forward(task, word);
}

static enum weir_code add(weir_keyed_task *task, void *sum, const struct weir_record *word)
{
    (void)task, (void)word;
    ++*(int64_t *)sum;
    return WEIR_OK;
}

void define(weir_graph *graph, struct weir_stream words);
void define(weir_graph *graph, struct weir_stream words)
{
    (void)graph, (void)pass, (void)count, (void)add;
#if MISTAKE == 2 /* a keyed operator on a stream without key_by */
    weir_keyed_process(words, .name = "count", .process = count, .states = { &total });
#elif MISTAKE == 3 /* the same by way of an aggregate */
    weir_aggregate(words, .name = "count", .accumulator = WEIR_I64, .add = add);
#elif MISTAKE == 4 /* a callback with keyed state in an operator without */
    weir_process(words, .name = "count", .process = count);
#elif MISTAKE == 5 /* a keyed stream where a plain one is meant: whoever drops the key says so with a process */
    weir_process(weir_key_by(words), .name = "pass", .process = pass);
#elif MISTAKE == 6 /* partitioning a keyed stream in another way would tear its keys apart */
    weir_rebalance(weir_key_by(words));
#else
    struct weir_stream plain = weir_process(words, .name = "pass", .process = pass);
    weir_keyed_process(weir_key_by(plain), .name = "count", .process = count, .states = { &total });
    weir_aggregate(weir_key_by(plain), .name = "sum", .accumulator = WEIR_I64, .add = add);
#endif
}
