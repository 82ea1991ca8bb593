/* WEIR_TEST_WRAPS_MALLOC: what happens when the n-th allocation fails, for every n, from building a graph to the commit
 * of an epoch. The loop checks that nothing is left behind; the scenarios that every failure was said. */
#include "graph/graph.h"
#include "harness/failing_malloc.h"
#include "harness/unit.h"

static bool got_through; /* set at the end of a scenario that got all its memory: else the loop would prove nothing */
static bool was_silent;  /* something failed without a sentence */

static enum weir_code writer_open(void *sink, uint32_t subtask_index, uint64_t epoch, struct weir_waker waker,
                                  void **writer, struct weir_error *error)
{
    (void)subtask_index, (void)epoch, (void)waker, (void)error;
    *writer = sink;
    return WEIR_OK;
}
static bool writer_room(void *writer)
{
    (void)writer;
    return true;
}
static enum weir_code writer_write(void *writer, const struct weir_record *record, struct weir_error *error)
{
    (void)writer, (void)record, (void)error;
    return WEIR_OK;
}
static enum weir_code writer_prepare(void *writer, uint64_t epoch, struct weir_output_totals *totals,
                                     struct weir_error *error)
{
    (void)writer, (void)epoch;
    if (weir_output_totals_add(totals, "out", 1, (struct weir_digest){ 0 })) return WEIR_OK;
    return weir_error_set(error, WEIR_NO_MEMORY, WEIR_REMEDY_REPLAY, "no memory for totals");
}
static void writer_close(void *writer) { (void)writer; }

static const struct weir_source_type source_type = { .size = sizeof source_type, .kind = "test" };
static const struct weir_sink_type sink_type = {
    .size = sizeof sink_type, .kind = "test", .writer_open = writer_open, .writer_room = writer_room,
    .writer_write = writer_write, .writer_prepare = writer_prepare, .writer_close = writer_close,
};
static const struct weir_state last_state = { .name = "last", .codec = WEIR_BYTES };
static struct weir_environment environment;

static enum weir_code format(weir_task *task, const struct weir_record *record)
{
    (void)record;
    weir_emit(task, .value = weir_format(task, "%040000d", 1));
    return weir_emit(task, .value = weir_format_i64(task, 2));
}
static enum weir_code keep(weir_keyed_task *task, const struct weir_record *record)
{
    const enum weir_code code = weir_value_set(task, &last_state, record->value);
    return code == WEIR_OK ? weir_keyed_emit(task) : code;
}
static struct weir_bytes join(weir_keyed_task *task, struct weir_bytes so_far, const struct weir_record *record)
{
    (void)task, (void)record;
    return so_far;
}

/* Side by side: a coalescing process and a reduce, each into its own sink; two readers of one output make a fan. */
static void build(weir_graph *graph)
{
    struct weir_stream in = weir_source(graph, .name = weir_graph_text(graph, "in"), .type = &source_type);
    struct weir_keyed_stream keyed = weir_key_by(weir_process(in, .name = "format", .process = format), .key = NULL);
    struct weir_stream a = weir_keyed_process(keyed, .name = "keep", .process = keep, .states = { &last_state },
                                              .emit = WEIR_EMIT_ON_COMMIT);
    struct weir_stream b = weir_reduce(keyed, .name = "join", .reduce = join, .emit = WEIR_EMIT_ON_COMMIT);
    weir_sink(weir_union(a, b), .name = "both", .type = &sink_type);
    weir_sink(weir_rebalance(b), .name = "elsewhere", .type = &sink_type);
}

static bool fails(enum chain_result result, const struct chain *chain)
{
    if (result == CHAIN_FAILED && chain_error(chain)->code != WEIR_NO_MEMORY) was_silent = true;
    return result == CHAIN_FAILED;
}

static void run_epoch(struct chain *chain, const struct weir_batch *batch)
{
    struct chain_snapshot snapshot = { 0 };
    uint32_t cursor = 0;
    if (fails(chain_process(chain, 0, batch, &cursor), chain)) return;
    if (fails(chain_emit_on_commit(chain, 1), chain)) return;
    got_through = !fails(chain_snapshot(chain, 1, &snapshot), chain) && chain_snapshot_step(chain, SIZE_MAX);
    chain_snapshot_clear(&snapshot);
}

static void run_chain(const struct plan *plan, struct router *router, const struct weir_batch *batch)
{
    struct weir_error error = { .text = "" };
    struct chain *chain = NULL;
    void *sinks[CHAIN_STAGES_MAX] = { NULL };
    const struct chain_options options = { .plan = &plan->vertices[0].chain, .environment = &environment,
                                           .vertex_name = plan->vertices[0].name, .parallelism = 1,
                                           .max_parallelism = plan->max_parallelism, .epoch = 1, .sinks = sinks,
                                           .routers = &router };
    enum weir_code code = chain_create(&options, &chain, &error);
    if (code == WEIR_OK) code = chain_open(chain, &error);
    if (code == WEIR_OK) run_epoch(chain, batch);
    else if (code != WEIR_NO_MEMORY || error.text[0] == '\0') was_silent = true;
    chain_destroy(chain);
}

static void run_plan(const struct plan *plan)
{
    struct weir_batch *batch = batch_create();
    struct channel *channel = channel_create(4, NULL, NULL);
    struct router *router = channel == NULL ? NULL
                                            : router_create(&(struct router_options){
                                                  .exchange = WEIR_EXCHANGE_REBALANCE, .channels = &channel,
                                                  .channel_count = 1 });
    const struct weir_record record = { .key = weir_text("k"), .value = weir_text("v") };
    bool ok = batch != NULL && router != NULL;
    for (int i = 0; i < 3 && ok; i++) ok = batch_add(batch, &record);
    if (ok) run_chain(plan, router, batch);
    router_destroy(router);
    if (channel != NULL) channel_destroy(channel);
    if (batch != NULL) batch_release(batch);
}

static void scenario(void)
{
    struct weir_error error = { .text = "" };
    struct plan *plan = NULL;
    weir_graph *graph = weir_graph_create();
    if (graph == NULL) return;
    build(graph);
    const struct plan_options options = { .parallelism = 1, .max_parallelism = 4, .chaining = true };
    const enum weir_code code = plan_create(graph, &options, &plan, &error);
    if (code == WEIR_OK) run_plan(plan);
    else if (code != WEIR_NO_MEMORY || error.text[0] == '\0') was_silent = true;
    plan_destroy(plan);
    weir_graph_destroy(graph);
}

static void explain_scenario(void)
{
    struct weir_error error;
    struct plan *plan = NULL;
    struct buffer text;
    weir_graph *graph = weir_graph_create();
    if (graph == NULL) return;
    build(graph);
    buffer_init(&text);
    const struct plan_options options = { .parallelism = 2, .chaining = true };
    if (plan_create(graph, &options, &plan, &error) == WEIR_OK) got_through = plan_explain(graph, plan, &text);
    buffer_deinit(&text);
    plan_destroy(plan);
    weir_graph_destroy(graph);
}

START_TEST(survives_each_failed_allocation_of_an_epoch)
{
    got_through = was_silent = false;
    ck_assert_uint_gt(failing_malloc_each(scenario), 30);
    ck_assert(got_through);
    ck_assert(!was_silent);
}
END_TEST

START_TEST(survives_each_failed_allocation_of_explaining)
{
    got_through = false;
    ck_assert_uint_gt(failing_malloc_each(explain_scenario), 15);
    ck_assert(got_through);
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_test(tests, survives_each_failed_allocation_of_an_epoch);
    tcase_add_test(tests, survives_each_failed_allocation_of_explaining);
}

int main(void)
{
    return unit_main("operator memory", add);
}
