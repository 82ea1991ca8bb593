/* What the engine costs for each record of a word count in one chain, without a broker: a process that emits its
 * record's value as key, key_by, and a count that emits on commit, into a sink that does nothing. 5,000 words, batches
 * of 1,024.
 *
 *     chain_bench [MILLION RECORDS] [KEYS] [RECORDS FOR EACH COMMIT] [WORDS A LINE]
 *
 * With WORDS A LINE above 1, records are lines of so many words, of a Zipf distribution (exponent 1). */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "chain_ends.h"
#include "graph/plan.h"

enum { BATCHES = 64 };

static enum weir_code split(weir_task *task, const struct weir_record *record)
{
    return weir_emit(task, .key = record->value, .value = WEIR_EMPTY);
}

static enum weir_code split_text(weir_task *task, const struct weir_record *line)
{
    struct weir_bytes rest = line->value, word;
    while (weir_bytes_token(&rest, ' ', &word)) weir_emit(task, .key = word, .value = WEIR_EMPTY);
    return WEIR_OK;
}

static enum weir_code count(weir_keyed_task *task, void *accumulator, const struct weir_record *record)
{
    (void)task, (void)record;
    ++*(int64_t *)accumulator;
    return WEIR_OK;
}

static void fail(const char *text)
{
    (void)fprintf(stderr, "chain_bench: %s\n", text);
    exit(1);
}

static uint32_t words_a_line = 1;

static uint32_t draw_word(uint64_t *state, uint32_t keys)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    const double share = (double)(*state >> 11) / 9007199254740992.0;
    if (words_a_line == 1) return (uint32_t)(share * keys);
    return (uint32_t)(exp(share * log(keys))) - 1; /* the continuous Zipf distribution */
}

static struct weir_batch *make_batch(uint64_t *state, uint32_t keys)
{
    struct weir_batch *batch = batch_create();
    for (;;) {
        char line[1024];
        size_t size = 0;
        for (uint32_t i = 0; i < words_a_line && size < sizeof line - 32; i++)
            size += (size_t)snprintf(line + size, 32, "%sword-%u", i == 0 ? "" : " ", draw_word(state, keys));
        const struct weir_record record = { .key = WEIR_NULL, .value = { line, size } };
        if (!batch_add(batch, &record)) return batch;
    }
}

static struct chain *make_chain(weir_graph *graph, struct plan **plan)
{
    static struct weir_environment environment;
    static void *sinks[CHAIN_STAGES_MAX];
    struct weir_error error;
    struct weir_stream lines = weir_source(graph, .name = "lines", .type = &chain_ends_source);
    struct weir_stream words = weir_process(lines, .name = "split",
                                            .process = words_a_line > 1 ? split_text : split);
    struct weir_stream counts = weir_aggregate(weir_key_by(words, .key = NULL), .name = "count",
                                               .accumulator = WEIR_I64, .add = count, .emit = WEIR_EMIT_ON_COMMIT);
    weir_sink(counts, .name = "counts", .type = &chain_ends_sink);
    if (plan_create(graph, &(struct plan_options){ .parallelism = 1, .chaining = true }, plan, &error) != WEIR_OK)
        fail(error.text);
    struct chain *chain;
    const struct chain_options options = { .plan = &(*plan)->vertices[0].chain, .environment = &environment,
                                           .vertex_name = (*plan)->vertices[0].name, .parallelism = 1,
                                           .max_parallelism = (*plan)->max_parallelism, .epoch = 1, .sinks = sinks };
    if (chain_create(&options, &chain, &error) != WEIR_OK || chain_open(chain, &error) != WEIR_OK) fail(error.text);
    return chain;
}

/* Time of this thread on a processor, so that whatever else runs disturbs less. */
static double now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

static void commit(struct chain *chain, uint64_t epoch)
{
    struct chain_snapshot snapshot;
    if (chain_emit_on_commit(chain, epoch) != CHAIN_DONE || chain_snapshot(chain, epoch, &snapshot) != CHAIN_DONE)
        fail(chain_error(chain)->text);
    (void)chain_snapshot_step(chain, SIZE_MAX);
    chain_snapshot_clear(&snapshot);
}

int main(int argc, char **argv)
{
    const uint64_t records = (argc > 1 ? strtoull(argv[1], NULL, 10) : 50) * 1000000;
    const uint32_t keys = argc > 2 ? (uint32_t)strtoul(argv[2], NULL, 10) : 5000;
    const uint64_t for_each_commit = argc > 3 ? strtoull(argv[3], NULL, 10) : 500000;
    if (argc > 4) words_a_line = (uint32_t)strtoul(argv[4], NULL, 10);
    weir_graph *graph = weir_graph_create();
    struct plan *plan;
    struct chain *chain = make_chain(graph, &plan);
    struct weir_batch *batches[BATCHES];
    uint64_t state = 1;
    for (int i = 0; i < BATCHES; i++) batches[i] = make_batch(&state, keys);

    uint64_t done = 0, next = 0, epoch = 1, next_commit = for_each_commit;
    double process_ns = 0, commit_ns = 0;
    while (done < records) {
        double begin = now_ns();
        while (done < next_commit && done < records) {
            uint32_t cursor = 0;
            const struct weir_batch *batch = batches[next++ % BATCHES];
            if (chain_process(chain, 0, batch, &cursor) != CHAIN_DONE)
                fail(chain_error(chain)->text);
            done += words_a_line * batch->count;
        }
        process_ns += now_ns() - begin;
        begin = now_ns();
        commit(chain, epoch++);
        commit_ns += now_ns() - begin;
        next_commit = done + for_each_commit;
    }
    printf("%" PRIu64 " records, %u keys: %.1f ns for each record, %.1f ns for each key that a commit emits (%" PRIu64
           " of them)\n", done, keys, process_ns / (double)done, commit_ns / (double)chain_ends_written, chain_ends_written);
    for (int i = 0; i < BATCHES; i++) batch_release(batches[i]);
    chain_destroy(chain);
    plan_destroy(plan);
    weir_graph_destroy(graph);
    return 0;
}
