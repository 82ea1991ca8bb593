/* How a graph is cut into chains, what is refused, and the plan as text. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "graph/graph.h"
#include "harness/unit.h"

static const struct weir_decider_type kafka_decider = { .size = sizeof kafka_decider, .kind = "kafka" };
static const struct weir_decider_type other_decider = { .size = sizeof other_decider, .kind = "other" };
static const struct weir_source_type source_type = { .size = sizeof source_type, .kind = "test" };
static const struct weir_sink_type sink_type = { .size = sizeof sink_type, .kind = "print" };
static const struct weir_source_type kafka_source = { .size = sizeof kafka_source, .kind = "kafka",
                                                      .decider = &kafka_decider };
static const struct weir_sink_type kafka_sink = { .size = sizeof kafka_sink,
                                                  .kind = "kafka",
                                                  .decider = &kafka_decider };
static const struct weir_sink_type other_sink = { .size = sizeof other_sink,
                                                  .kind = "other",
                                                  .decider = &other_decider };

static enum weir_code process(weir_task *task, const struct weir_record *record)
{
    (void)task, (void)record;
    return WEIR_OK;
}
static enum weir_code keyed(weir_keyed_task *task, const struct weir_record *record)
{
    (void)task, (void)record;
    return WEIR_OK;
}
static enum weir_code add_record(weir_keyed_task *task, void *accumulator, const struct weir_record *record)
{
    (void)task, (void)accumulator, (void)record;
    return WEIR_OK;
}
static const struct weir_state total = { .name = "total", .codec = WEIR_I64 };
static const struct weir_state total_f64 = { .name = "total", .codec = WEIR_F64 };
static const struct weir_output late = { "late" };

static weir_graph *graph;
static struct plan *plan;

static struct weir_stream source(const char *name)
{
    return weir_source(graph, .name = name, .type = &source_type);
}

static void sink(struct weir_stream stream, const char *name)
{
    weir_sink(stream, .name = name, .type = &sink_type);
}

static struct weir_stream count(struct weir_keyed_stream stream, const char *name, uint32_t parallelism)
{
    return weir_aggregate(stream, .name = name, .accumulator = WEIR_I64, .add = add_record, .parallelism = parallelism,
                          .emit = WEIR_EMIT_ON_COMMIT);
}

static enum weir_code plan_with(struct plan_options options, struct weir_error *error)
{
    return plan_create(graph, &options, &plan, error);
}

static const char *exchange_name(enum weir_exchange exchange)
{
    static const char *const names[] = { "auto", "forward", "rebalance", "broadcast", "key" };
    return names[exchange];
}

static void put(struct buffer *text, const char *format, ...)
{
    char part[256];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(part, sizeof part, format, arguments);
    va_end(arguments);
    buffer_put(text, part, strlen(part));
}

/* "in -> split x2 | count -> out x2 | 0.0 key 1.0": vertices, then edges as vertex.router exchange vertex.input. */
static const char *shape(void)
{
    static char copy[2000];
    struct buffer text;
    buffer_init(&text);
    for (uint32_t i = 0; i < plan->vertex_count; i++)
        put(&text, "%s%s x%u", i == 0 ? "" : " | ", plan->vertices[i].name, plan->vertices[i].parallelism);
    for (uint32_t i = 0; i < plan->edge_count; i++) {
        const struct plan_edge *edge = &plan->edges[i];
        put(&text, " | %u.%u %s %u.%u", edge->source_vertex, edge->source_router, exchange_name(edge->exchange),
            edge->target_vertex, edge->target_input);
    }
    ck_assert_uint_lt(text.size, sizeof copy);
    memcpy(copy, text.data, text.size);
    copy[text.size] = '\0';
    buffer_deinit(&text);
    return copy;
}

static void begin(void)
{
    graph = weir_graph_create();
    plan = NULL;
}

static void end(void)
{
    plan_destroy(plan);
    weir_graph_destroy(graph);
}

static void expect_shape(struct plan_options options, const char *text)
{
    struct weir_error error = { .text = "" };
    plan_destroy(plan);
    plan = NULL;
    ck_assert_msg(plan_with(options, &error) == WEIR_OK, "%s", error.text);
    ck_assert_str_eq(shape(), text);
}

static void expect_refusal(struct plan_options options, const char *text)
{
    struct weir_error error = { .text = "" };
    ck_assert_int_eq(plan_with(options, &error), WEIR_USAGE);
    ck_assert_str_eq(error.text, text);
    ck_assert_int_eq(error.remedy, WEIR_REMEDY_STOP);
    ck_assert_ptr_null(plan);
}

static void word_count(uint32_t count_parallelism)
{
    begin();
    struct weir_stream words = weir_flat_map(source("lines"), .name = "split", .process = process);
    sink(count(weir_key_by(words, .key = NULL), "count", count_parallelism), "counts");
}

/* ---- Chains ------------------------------------------------------------------------------------------------------ */

START_TEST(at_parallelism_1_a_whole_job_is_one_chain)
{
    word_count(0);
    expect_shape((struct plan_options){ .parallelism = 1, .chaining = true }, "lines -> split -> count -> counts x1");
    const struct chain_plan *chain = &plan->vertices[0].chain;
    ck_assert_str_eq(plan->vertices[0].source->name, "lines");
    ck_assert_uint_eq(chain->stage_count, 4); /* with the key_by, without the source */
    ck_assert_uint_eq(chain->entry_count, 1);
    ck_assert_uint_eq(chain->router_count, 0);
    ck_assert_uint_eq(chain->entries[0].count, 1);
    ck_assert_uint_eq(chain->stages[3].outputs[0].count, 0);
    end();
}
END_TEST

START_TEST(a_key_by_cuts_the_chain_behind_itself)
{
    word_count(0);
    expect_shape((struct plan_options){ .parallelism = 2, .chaining = true },
                 "lines -> split x2 | count -> counts x2 | 0.0 key 1.0");
    ck_assert_int_eq(plan->vertices[0].chain.stages[1].spec->kind, OPERATOR_KEY_BY);
    ck_assert(plan->vertices[0].chain.stages[1].outputs[0].items[0].is_router);
    ck_assert_ptr_null(plan->vertices[1].source);
    end();
}
END_TEST

START_TEST(operators_may_have_a_parallelism_of_their_own)
{
    word_count(3);
    expect_shape((struct plan_options){ .parallelism = 1, .chaining = true },
                 "lines -> split x1 | count x3 | counts x1 | 0.0 key 1.0 | 1.0 rebalance 2.0");
    end();
}
END_TEST

START_TEST(without_chaining_every_operator_is_a_task_but_key_bys_stay_with_their_input)
{
    word_count(0);
    expect_shape((struct plan_options){ .parallelism = 1 },
                 "lines x1 | split x1 | count x1 | counts x1 | 0.0 forward 1.0 | 1.0 forward 2.0 | 2.0 forward 3.0");
    end();
}
END_TEST

START_TEST(rebalance_cuts_a_chain_and_broadcast_does_where_it_must)
{
    begin();
    struct weir_stream in = source("in");
    sink(weir_rebalance(in), "spread");
    sink(weir_broadcast(in), "everywhere");
    expect_shape((struct plan_options){ .parallelism = 1, .chaining = true },
                 "in -> everywhere x1 | spread x1 | 0.0 rebalance 1.0");
    expect_shape((struct plan_options){ .parallelism = 2, .chaining = true },
                 "in x2 | spread x2 | everywhere x2 | 0.0 rebalance 1.0 | 0.1 broadcast 2.0");
    end();
}
END_TEST

START_TEST(inputs_from_two_chains_begin_a_new_one)
{
    begin();
    struct weir_stream a = source("a"), b = source("b");
    sink(weir_process(weir_union(a, b), .name = "p", .process = process), "out");
    sink(weir_co_process(a, weir_broadcast(b), .name = "co", .first = process, .second = process), "co out");
    expect_shape((struct plan_options){ .parallelism = 2, .chaining = true },
                 "a x2 | b x2 | p -> out x2 | co -> co out x2 | 0.0 forward 2.0 | 1.0 forward 2.1 | 0.1 forward 3.0 | "
                 "1.1 broadcast 3.1");
    const struct chain_plan *co = &plan->vertices[3].chain;
    ck_assert_uint_eq(co->entries[0].items[0].port, 0);
    ck_assert_uint_eq(co->entries[1].items[0].port, 1);
    end();
}
END_TEST

START_TEST(branches_that_meet_again_stay_in_one_chain)
{
    begin();
    struct weir_stream in = source("in");
    struct weir_stream a = weir_process(in, .name = "a", .process = process, .outputs = { &late });
    struct weir_stream b = weir_process(weir_side_output(a, &late), .name = "b", .process = process);
    sink(weir_union(a, b, in), "out");
    expect_shape((struct plan_options){ .parallelism = 2, .chaining = true }, "in -> a -> b -> out x2");
    const struct chain_plan *chain = &plan->vertices[0].chain;
    ck_assert_uint_eq(chain->entries[0].count, 2); /* a, and the sink */
    ck_assert_uint_eq(chain->stages[0].outputs[0].count, 1);
    ck_assert_uint_eq(chain->stages[0].outputs[1].count, 1);
    end();
}
END_TEST

START_TEST(a_keyed_union_keys_each_stream_where_it_is)
{
    begin();
    struct weir_stream a = source("a"), b = source("b");
    sink(count(weir_key_by(weir_union(weir_rebalance(a), b), .key = NULL), "count", 0), "out");
    expect_shape((struct plan_options){ .parallelism = 2, .chaining = true },
                 "a x2 | b x2 | count -> out x2 | 0.0 key 2.0 | 1.0 key 2.1");
    expect_shape((struct plan_options){ .parallelism = 1, .chaining = true },
                 "a x1 | b x1 | count -> out x1 | 0.0 forward 2.0 | 1.0 forward 2.1");
    end();
}
END_TEST

START_TEST(a_broadcast_process_gets_its_second_input_everywhere)
{
    begin();
    struct weir_stream a = source("a"), rules = source("rules");
    sink(weir_keyed_broadcast_process(weir_key_by(a, .key = NULL), rules, .name = "apply", .first = keyed,
                                      .second = keyed),
         "out");
    expect_shape((struct plan_options){ .parallelism = 3, .chaining = true },
                 "a x3 | rules x3 | apply -> out x3 | 0.0 key 2.0 | 1.0 broadcast 2.1");
    end();
}
END_TEST

START_TEST(very_long_chains_are_cut)
{
    begin();
    struct weir_stream stream = source("in");
    for (int i = 0; i < CHAIN_STAGES_MAX; i++) {
        char name[16];
        snprintf(name, sizeof name, "p%d", i);
        stream = weir_process(stream, .name = name, .process = process);
    }
    sink(stream, "out");
    struct weir_error error;
    ck_assert_int_eq(plan_with((struct plan_options){ .parallelism = 1, .chaining = true }, &error), WEIR_OK);
    ck_assert_uint_eq(plan->vertex_count, 2);
    ck_assert_uint_eq(plan->vertices[0].chain.stage_count, CHAIN_STAGES_MAX);
    ck_assert_str_eq(plan->vertices[1].name, "out");
    const char *name = plan->vertices[0].name;
    ck_assert_str_eq(name + strlen(name) - 7, " -> ...");
    end();
}
END_TEST

START_TEST(max_parallelism_is_chosen_as_flink_does)
{
    static const struct {
        uint32_t parallelism, max;
    } cases[] = {
        { 1, 128 }, { 85, 128 }, { 86, 256 }, { 128, 256 }, { 1000, 2048 }, { 20000, 32768 }, { 32768, 32768 }
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        ck_assert_uint_eq(plan_max_parallelism_default(cases[i].parallelism), cases[i].max);
    word_count(100);
    struct weir_error error;
    ck_assert_int_eq(plan_with((struct plan_options){ .parallelism = 2 }, &error), WEIR_OK);
    ck_assert_uint_eq(plan->max_parallelism, 256);
    end();
}
END_TEST

/* ---- Refusals ---------------------------------------------------------------------------------------------------- */

static const struct plan_options usual = { .parallelism = 2, .chaining = true };

START_TEST(refuses_a_graph_without_a_source)
{
    begin();
    expect_refusal(usual, "the graph has no source: begin it with one, such as weir_kafka_source");
    end();
}
END_TEST

START_TEST(refuses_a_graph_without_a_sink)
{
    begin();
    source("in");
    expect_refusal(usual, "the graph has no sink: end it with one, such as weir_kafka_sink, or nothing comes out");
    end();
}
END_TEST

START_TEST(refuses_an_operator_that_leads_nowhere)
{
    begin();
    struct weir_stream in = source("in");
    sink(in, "out");
    weir_process(weir_process(in, .name = "a", .process = process), .name = "b", .process = process);
    expect_refusal(usual,
                   "operator 'b' leads to no sink, so nothing that it does would be seen: add a sink behind it, or "
                   "remove it");
    end();
}
END_TEST

START_TEST(refuses_more_subtasks_than_key_groups)
{
    word_count(5);
    expect_refusal((struct plan_options){ .parallelism = 1, .max_parallelism = 4 },
                   "operator 'count' has parallelism 5, but there are 4 key groups to share: lower its parallelism, or "
                   "raise pipeline.max-parallelism (only before the first checkpoint)");
    expect_refusal((struct plan_options){ .parallelism = 1, .max_parallelism = 40000 },
                   "pipeline.max-parallelism is 40000: set it to 32768 at most");
    end();
}
END_TEST

START_TEST(refuses_forward_between_different_parallelisms)
{
    begin();
    struct weir_stream in = source("in");
    in.exchange = WEIR_EXCHANGE_FORWARD;
    sink(weir_process(in, .name = "p", .process = process, .parallelism = 3), "out");
    expect_refusal(usual,
                   "operator 'p' (parallelism 3) is to read subtask by subtask from 'in' (parallelism 2): give both "
                   "the same .parallelism, or use weir_rebalance");
    end();
}
END_TEST

START_TEST(refuses_two_deciders)
{
    begin();
    struct weir_stream in = weir_source(graph, .name = "in", .type = &kafka_source);
    weir_sink(in, .name = "out", .type = &other_sink);
    expect_refusal(usual,
                   "'out' commits by other and 'in' by kafka, and one commit can have only one decision: put them "
                   "into two jobs");
    end();
}
END_TEST

START_TEST(refuses_too_many_readers_of_one_output)
{
    begin();
    struct weir_stream in = source("in");
    for (int i = 0; i <= CHAIN_TARGETS_MAX; i++) {
        char name[16];
        snprintf(name, sizeof name, "out%d", i);
        sink(in, name);
    }
    expect_refusal(usual,
                   "one output of 'in' is read by more than 8 operators: put a weir_filter that lets everything pass "
                   "between, and let some of them read from that");
    end();
}
END_TEST

START_TEST(the_decider_is_asked_for_at_the_sinks_first)
{
    const int64_t source_options = 1, sink_options = 2;
    for (int with_sink = 0; with_sink < 2; with_sink++) {
        begin();
        struct weir_stream in = weir_source(graph, .name = "in", .type = &kafka_source, .options = &source_options,
                                            .options_size = sizeof source_options);
        weir_sink(in, .name = "printed", .type = &sink_type);
        if (with_sink)
            weir_sink(in, .name = "out", .type = &kafka_sink, .options = &sink_options,
                      .options_size = sizeof sink_options);
        struct weir_error error;
        ck_assert_int_eq(plan_with(usual, &error), WEIR_OK);
        ck_assert_ptr_eq(plan->decider, &kafka_decider);
        ck_assert_int_eq(*(const int64_t *)plan->decider_options, with_sink ? sink_options : source_options);
        end();
    }
}
END_TEST

/* ---- What a checkpoint must fit ---------------------------------------------------------------------------------- */

static uint64_t hash_of(void (*build)(void), struct plan_options options)
{
    begin();
    build();
    struct weir_error error = { .text = "" };
    ck_assert_msg(plan_with(options, &error) == WEIR_OK, "%s", error.text);
    const uint64_t hash = plan->hash;
    end();
    return hash;
}

static void job(const struct weir_state *state, const char *name, bool with_filter, bool reversed)
{
    struct weir_stream a = { 0 }, b;
    if (!reversed) a = source("a");
    b = source("b");
    if (reversed) a = source("a");
    if (with_filter) a = weir_process(a, .name = "filter", .process = process);
    sink(weir_keyed_process(weir_key_by(a, .key = NULL), .name = name, .process = keyed, .states = { state },
                            .parallelism = reversed ? 3 : 0),
         "a out");
    sink(b, "b out");
}

static void plain_job(void) { job(&total, "sum", false, false); }
static void reordered_job(void) { job(&total, "sum", true, true); }
static void other_codec(void) { job(&total_f64, "sum", false, false); }
static void other_name(void) { job(&total, "total", false, false); }

START_TEST(the_plans_hash_is_about_what_a_checkpoint_must_fit)
{
    const uint64_t hash = hash_of(plain_job, usual);
    ck_assert_uint_eq(hash, hash_of(plain_job, (struct plan_options){ .parallelism = 7 }));
    ck_assert_uint_eq(hash, hash_of(reordered_job, usual));
    ck_assert_uint_ne(hash, hash_of(other_codec, usual));
    ck_assert_uint_ne(hash, hash_of(other_name, usual));
}
END_TEST

/* ---- Text -------------------------------------------------------------------------------------------------------- */

static void expect_text(struct plan_options options, const char *expected)
{
    struct weir_error error = { .text = "" };
    ck_assert_msg(plan_with(options, &error) == WEIR_OK, "%s", error.text);
    struct buffer text;
    buffer_init(&text);
    ck_assert(plan_explain(graph, plan, &text));
    buffer_u8(&text, '\0');
    ck_assert_str_eq(text.data, expected);
    buffer_deinit(&text);
}

START_TEST(explains_one_chain)
{
    word_count(0);
    expect_text((struct plan_options){ .parallelism = 1, .chaining = true },
                "Job graph\n"
                "\n"
                "  lines    source (test)\n"
                "  split    process         reads lines\n"
                "  count    aggregate       reads split by key; state: accumulator i64; emits on commit\n"
                "  counts   sink (print)    reads count\n"
                "\n"
                "Execution plan: 1 chain, 1 task, no channels, 128 key groups\n"
                "\n"
                "  [1] lines -> split -> count -> counts\n"
                "      task 0   key groups   0 .. 127\n");
    end();
}
END_TEST

START_TEST(explains_chains_key_groups_and_channels)
{
    begin();
    struct weir_stream lines = source("lines"), rules = source("rules");
    struct weir_stream words = weir_process(lines, .name = "split", .process = process, .outputs = { &late });
    struct weir_stream applied =
        weir_keyed_broadcast_process(weir_key_by(words, .key = NULL), rules, .name = "apply", .first = keyed,
                                     .second = keyed, .states = { &total }, .parallelism = 3);
    sink(weir_rebalance(weir_union(applied, weir_side_output(words, &late))), "printed");
    expect_text((struct plan_options){ .parallelism = 2, .chaining = true },
                "Job graph\n"
                "\n"
                "  lines     source (test)\n"
                "  rules     source (test)\n"
                "  split     process                   reads lines\n"
                "  apply     keyed_broadcast_process   reads split by key and rules broadcast; state: total i64\n"
                "  printed   sink (print)              reads apply rebalanced, split.late rebalanced\n"
                "\n"
                "Execution plan: 4 chains, 9 tasks, 22 channels, 128 key groups\n"
                "\n"
                "  [1] lines -> split\n"
                "      2 tasks\n"
                "      sends to [3] by key group, 6 channels\n"
                "      sends to [4] in turns, 4 channels\n"
                "\n"
                "  [2] rules\n"
                "      2 tasks\n"
                "      sends to [3] everything to each task, 6 channels\n"
                "\n"
                "  [3] apply\n"
                "      task 0   key groups   0 ..  42\n"
                "      task 1   key groups  43 ..  85\n"
                "      task 2   key groups  86 .. 127\n"
                "      sends to [4] in turns, 6 channels\n"
                "\n"
                "  [4] printed\n"
                "      2 tasks\n");
    end();
}
END_TEST

START_TEST(the_public_explain_reads_the_configuration)
{
    word_count(0);
    weir_config *config = weir_config_create();
    struct weir_error error;
    ck_assert_int_eq(weir_config_set(config, WEIR_CONFIG_CODE, "parallelism.default", "2", "test", &error), WEIR_OK);
    ck_assert_int_eq(weir_config_set(config, WEIR_CONFIG_CODE, "pipeline.max-parallelism", "16", "test", &error),
                     WEIR_OK);
    char *text = weir_graph_explain(graph, config, &error);
    ck_assert_ptr_nonnull(strstr(text, "Execution plan: 2 chains, 4 tasks, 4 channels, 16 key groups\n"));
    free(text);
    weir_graph_mistake(graph, "a mistake");
    ck_assert_ptr_null(weir_graph_explain(graph, config, &error));
    ck_assert_str_eq(error.text, "a mistake");
    weir_config_destroy(config);
    end();
}
END_TEST

START_TEST(explains_itself_to_programs)
{
    word_count(0);
    weir_config *config = weir_config_create();
    struct weir_error error;
    ck_assert_int_eq(weir_config_set(config, WEIR_CONFIG_CODE, "parallelism.default", "2", "test", &error), WEIR_OK);
    char *text = weir_graph_explain_json(graph, config, "words", &error);
    ck_assert_str_eq(text,
                     "{\"plan\":{\"jid\":\"words\",\"name\":\"words\",\"type\":\"STREAMING\",\"nodes\":["
                     "{\"id\":\"0\",\"parallelism\":2,\"description\":\"lines -> split\",\"inputs\":[]},"
                     "{\"id\":\"1\",\"parallelism\":2,\"description\":\"count -> counts\",\"inputs\":["
                     "{\"num\":0,\"id\":\"0\",\"ship_strategy\":\"key_group\",\"exchange\":\"pipelined\"}]}]},\n"
                     " \"maxParallelism\":128,\n"
                     " \"operators\":[\n"
                     "  {\"name\":\"lines\",\"kind\":\"source\",\"connector\":\"test\",\"inputs\":[],\"states\":[],"
                     "\"emits_on_commit\":false},\n"
                     "  {\"name\":\"split\",\"kind\":\"process\",\"inputs\":[{\"operator\":\"lines\",\"port\":0,"
                     "\"exchange\":\"forward\"}],\"states\":[],\"emits_on_commit\":false},\n"
                     "  {\"name\":\"count\",\"kind\":\"aggregate\",\"inputs\":[{\"operator\":\"split\",\"port\":0,"
                     "\"exchange\":\"key_group\"}],\"states\":[{\"name\":\"accumulator\",\"kind\":\"value\",\"codec\":\"i64\","
                     "\"ttl_ms\":0}],\"emits_on_commit\":true},\n"
                     "  {\"name\":\"counts\",\"kind\":\"sink\",\"connector\":\"print\",\"inputs\":[{\"operator\":\"count\","
                     "\"port\":0,\"exchange\":\"forward\"}],\"states\":[],\"emits_on_commit\":false}]}\n");
    free(text);
    weir_graph_mistake(graph, "a mistake");
    ck_assert_ptr_null(weir_graph_explain_json(graph, config, "words", &error));
    weir_config_destroy(config);
    end();
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_test(tests, at_parallelism_1_a_whole_job_is_one_chain);
    tcase_add_test(tests, a_key_by_cuts_the_chain_behind_itself);
    tcase_add_test(tests, operators_may_have_a_parallelism_of_their_own);
    tcase_add_test(tests, without_chaining_every_operator_is_a_task_but_key_bys_stay_with_their_input);
    tcase_add_test(tests, rebalance_cuts_a_chain_and_broadcast_does_where_it_must);
    tcase_add_test(tests, inputs_from_two_chains_begin_a_new_one);
    tcase_add_test(tests, branches_that_meet_again_stay_in_one_chain);
    tcase_add_test(tests, a_keyed_union_keys_each_stream_where_it_is);
    tcase_add_test(tests, a_broadcast_process_gets_its_second_input_everywhere);
    tcase_add_test(tests, very_long_chains_are_cut);
    tcase_add_test(tests, max_parallelism_is_chosen_as_flink_does);
    tcase_add_test(tests, refuses_a_graph_without_a_source);
    tcase_add_test(tests, refuses_a_graph_without_a_sink);
    tcase_add_test(tests, refuses_an_operator_that_leads_nowhere);
    tcase_add_test(tests, refuses_more_subtasks_than_key_groups);
    tcase_add_test(tests, refuses_forward_between_different_parallelisms);
    tcase_add_test(tests, refuses_two_deciders);
    tcase_add_test(tests, refuses_too_many_readers_of_one_output);
    tcase_add_test(tests, the_decider_is_asked_for_at_the_sinks_first);
    tcase_add_test(tests, the_plans_hash_is_about_what_a_checkpoint_must_fit);
    tcase_add_test(tests, explains_one_chain);
    tcase_add_test(tests, explains_chains_key_groups_and_channels);
    tcase_add_test(tests, the_public_explain_reads_the_configuration);
    tcase_add_test(tests, explains_itself_to_programs);
}

int main(void)
{
    return unit_main("plan", add);
}
