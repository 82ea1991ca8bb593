/* The builder keeps the first mistake, with a sentence that says what to do. */
#include <string.h>

#include "graph/graph.h"
#include "harness/unit.h"

static const struct weir_source_type source_type = { .size = sizeof source_type, .kind = "test" };
static const struct weir_sink_type sink_type = { .size = sizeof sink_type, .kind = "test" };

static enum weir_code map(weir_task *task, const struct weir_record *in, struct weir_record *out)
{
    (void)task, (void)in, (void)out;
    return WEIR_OK;
}
static bool filter(weir_task *task, const struct weir_record *record)
{
    (void)task, (void)record;
    return true;
}
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
static struct weir_bytes reduce(weir_keyed_task *task, struct weir_bytes so_far, const struct weir_record *record)
{
    (void)task, (void)record;
    return so_far;
}
static enum weir_code add_record(weir_keyed_task *task, void *accumulator, const struct weir_record *record)
{
    (void)task, (void)accumulator, (void)record;
    return WEIR_OK;
}

static const struct weir_state number = { .name = "number", .codec = WEIR_I64 };
static const struct weir_state number_again = { .name = "number", .codec = WEIR_BYTES };
static const struct weir_state nameless_state = { .codec = WEIR_I64 };
static const struct weir_state sizeless = { .name = "sizeless", .codec = WEIR_STRUCT };
static const struct weir_state strange = { .name = "strange", .codec = (enum weir_codec)9 };
static const struct weir_state formless = { .name = "formless", .codec = WEIR_OBJECT };
static const struct weir_object nameless_object = { .size_bytes = 8 };
static const struct weir_state half_formed = { .name = "half", .codec = WEIR_OBJECT, .object = &nameless_object };
static const struct weir_state irreducible = { .name = "irreducible", .kind = WEIR_STATE_REDUCING };
static const struct weir_aggregator nothing = { 0 };
static const struct weir_state unadded = { .name = "unadded", .kind = WEIR_STATE_AGGREGATING, .codec = WEIR_I64,
                                           .aggregator = &nothing };
static enum weir_code add_input(weir_keyed_task *task, void *accumulator, const void *input)
{
    (void)task, (void)accumulator, (void)input;
    return WEIR_OK;
}
static enum weir_code tell_result(weir_keyed_task *task, const void *accumulator, void *output)
{
    (void)task, (void)accumulator, (void)output;
    return WEIR_OK;
}
static const struct weir_aggregator complete = { .add = add_input, .result = tell_result };
static const struct weir_state of_bytes = { .name = "bytes", .kind = WEIR_STATE_AGGREGATING, .aggregator = &complete };
static const struct weir_output late = { "late" }, late_again = { "late" }, nameless_output = { NULL };

static struct weir_stream source(weir_graph *graph)
{
    return weir_source(graph, .name = "in", .type = &source_type);
}

static struct weir_keyed_stream keyed_source(weir_graph *graph)
{
    return weir_key_by(source(graph), .key = NULL);
}

/* ---- Each mistake and its sentence ------------------------------------------------------------------------------- */

static void no_name(weir_graph *graph) { weir_map(source(graph), .map = map); }
static void empty_name(weir_graph *graph) { weir_map(source(graph), .map = map, .name = ""); }
static void long_name(weir_graph *graph)
{
    weir_map(source(graph), .map = map, .name = "0123456789012345678901234567890123456789012345678901234567890123");
}
static void quoted_name(weir_graph *graph) { weir_map(source(graph), .map = map, .name = "it's"); }
static void line_in_name(weir_graph *graph) { weir_map(source(graph), .map = map, .name = "a\nb"); }
static void same_name(weir_graph *graph) { weir_map(source(graph), .map = map, .name = "in"); }
static void same_name_as_key_by(weir_graph *graph)
{
    weir_keyed_process(keyed_source(graph), .name = "in-key-by", .process = keyed);
}
static void map_without_function(weir_graph *graph) { weir_map(source(graph), .name = "m"); }
static void filter_without_function(weir_graph *graph) { weir_filter(source(graph), .name = "f"); }
static void process_without_function(weir_graph *graph) { weir_process(source(graph), .name = "p"); }
static void keyed_without_function(weir_graph *graph) { weir_keyed_process(keyed_source(graph), .name = "k"); }
static void reduce_without_function(weir_graph *graph) { weir_reduce(keyed_source(graph), .name = "r"); }
static void aggregate_without_function(weir_graph *graph)
{
    weir_aggregate(keyed_source(graph), .name = "a", .accumulator = WEIR_I64);
}
static void co_without_first(weir_graph *graph)
{
    struct weir_stream stream = source(graph);
    weir_co_process(stream, stream, .name = "c", .second = process);
}
static void co_without_second(weir_graph *graph)
{
    struct weir_stream stream = source(graph);
    weir_co_process(stream, stream, .name = "c", .first = process);
}
static void keyed_co_without_second(weir_graph *graph)
{
    struct weir_keyed_stream stream = keyed_source(graph);
    weir_keyed_co_process(stream, stream, .name = "c", .first = keyed);
}
static void no_accumulator(weir_graph *graph)
{
    weir_aggregate(keyed_source(graph), .name = "a", .add = add_record);
}
static void accumulator_without_size(weir_graph *graph)
{
    weir_aggregate(keyed_source(graph), .name = "a", .add = add_record, .accumulator = WEIR_STRUCT);
}
static void accumulator_without_result(weir_graph *graph)
{
    weir_aggregate(keyed_source(graph), .name = "a", .add = add_record, .accumulator = WEIR_F64);
}
static void state_twice(weir_graph *graph)
{
    weir_keyed_process(keyed_source(graph), .name = "k", .process = keyed, .states = { &number, &number });
}
static void state_name_twice(weir_graph *graph)
{
    weir_keyed_process(keyed_source(graph), .name = "k", .process = keyed, .states = { &number, &number_again });
}
static void state_without_name(weir_graph *graph)
{
    weir_keyed_process(keyed_source(graph), .name = "k", .process = keyed, .states = { &nameless_state });
}
static void state_without_size(weir_graph *graph)
{
    weir_keyed_process(keyed_source(graph), .name = "k", .process = keyed, .states = { &sizeless });
}
static void state_of_the_future(weir_graph *graph)
{
    weir_keyed_process(keyed_source(graph), .name = "k", .process = keyed, .states = { &strange });
}
static void object_without_form(weir_graph *graph)
{
    weir_keyed_process(keyed_source(graph), .name = "k", .process = keyed, .states = { &formless });
}
static void object_without_name(weir_graph *graph)
{
    weir_keyed_process(keyed_source(graph), .name = "k", .process = keyed, .states = { &half_formed });
}
static void reducing_without_function(weir_graph *graph)
{
    weir_keyed_process(keyed_source(graph), .name = "k", .process = keyed, .states = { &irreducible });
}
static void aggregating_without_functions(weir_graph *graph)
{
    weir_keyed_process(keyed_source(graph), .name = "k", .process = keyed, .states = { &unadded });
}
static void aggregating_of_bytes(weir_graph *graph)
{
    weir_keyed_process(keyed_source(graph), .name = "k", .process = keyed, .states = { &of_bytes });
}
static void output_twice(weir_graph *graph)
{
    weir_process(source(graph), .name = "p", .process = process, .outputs = { &late, &late_again });
}
static void output_without_name(weir_graph *graph)
{
    weir_process(source(graph), .name = "p", .process = process, .outputs = { &nameless_output });
}
static void output_not_declared(weir_graph *graph)
{
    weir_side_output(weir_process(source(graph), .name = "p", .process = process), &late);
}
static void stream_of_another_graph(weir_graph *graph)
{
    weir_graph *other = weir_graph_create();
    weir_co_process(source(graph), source(other), .name = "c", .first = process, .second = process);
    weir_graph_destroy(other);
}
static void stream_from_the_future(weir_graph *graph)
{
    struct weir_stream stream = source(graph);
    stream.node = 1; /* the map itself: a cycle */
    weir_map(stream, .name = "m", .map = map);
}
static void output_out_of_range(weir_graph *graph)
{
    struct weir_stream stream = source(graph);
    stream.output = 1;
    weir_map(stream, .name = "m", .map = map);
}
static void union_of_one(weir_graph *graph) { weir_union(source(graph)); }
static void union_of_too_many(weir_graph *graph)
{
    struct weir_stream s = source(graph);
    struct weir_stream u = weir_union(s, s, s, s, s, s, s, s);
    weir_union(u, u, s);
}
static void source_without_type(weir_graph *graph) { weir_source(graph, .name = "s"); }
static void sink_without_type(weir_graph *graph) { weir_sink(source(graph), .name = "s"); }
static void options_without_size(weir_graph *graph)
{
    weir_map_(source(graph), &(struct weir_map_options){ .name = "m", .map = map });
}
static void no_options(weir_graph *graph) { weir_key_by_(source(graph), NULL); }
static void connectors_mistake(weir_graph *graph) { weir_graph_mistake(graph, "topic '%s': %d partitions", "t", 0); }
static void only_the_first_counts(weir_graph *graph)
{
    weir_graph_mistake(graph, "the first");
    weir_graph_mistake(graph, "the second");
    union_of_one(graph);
}

static const struct {
    const char *name;
    void (*build)(weir_graph *graph);
    const char *text;
} mistakes[] = {
    { "no name", no_name,
      "a map has no name: give it a .name that is unique in the graph and never changes, because its "
      "state is stored under it" },
    { "empty name", empty_name,
      "a map has no name: give it a .name that is unique in the graph and never changes, because "
      "its state is stored under it" },
    { "long name", long_name,
      "the name '0123456789012345678901234567890123456789012345678901234567890123' of a map cannot "
      "be used: take 1 to 63 bytes without control characters and single quotes" },
    { "quoted name", quoted_name,
      "the name 'it's' of a map cannot be used: take 1 to 63 bytes without control characters "
      "and single quotes" },
    { "line in name", line_in_name,
      "the name 'a\nb' of a map cannot be used: take 1 to 63 bytes without control characters "
      "and single quotes" },
    { "same name", same_name, "two operators are called 'in': names are where state is stored, so give each its own" },
    { "same name as key_by", same_name_as_key_by,
      "two operators are called 'in-key-by': names are where state is stored, so "
      "give each its own" },
    { "map", map_without_function, "operator 'm' has no .map: name the function that changes a record" },
    { "filter", filter_without_function,
      "operator 'f' has no .filter: name the function that says which records pass" },
    { "process", process_without_function,
      "operator 'p' has no .process: name the function that takes a record and emits "
      "any number" },
    { "keyed_process", keyed_without_function,
      "operator 'k' has no .process: name the function that takes a record and "
      "emits any number" },
    { "reduce", reduce_without_function,
      "operator 'r' has no .reduce: name the function that combines two values of a "
      "key" },
    { "aggregate", aggregate_without_function,
      "operator 'a' has no .add: name the function that adds a record to the "
      "accumulator" },
    { "co first", co_without_first,
      "operator 'c' has no .first: name the function that takes a record of the first input" },
    { "co second", co_without_second,
      "operator 'c' has no .second: name the function that takes a record of the second "
      "input" },
    { "keyed co second", keyed_co_without_second,
      "operator 'c' has no .second: name the function that takes a record of "
      "the second input" },
    { "no accumulator", no_accumulator,
      "operator 'a' has no accumulator of fixed size: set .accumulator to WEIR_I64, "
      "WEIR_F64 or WEIR_STRUCT" },
    { "accumulator size", accumulator_without_size,
      "the accumulator of operator 'a' is a struct without a size: set "
      ".struct_size_bytes = sizeof(struct ...)" },
    { "accumulator result", accumulator_without_result,
      "operator 'a' has no .result: name the function that emits the "
      "accumulator (only WEIR_I64 is emitted without one, as decimal text)" },
    { "state twice", state_twice,
      "operator 'k' declares the state 'number' twice: remove one from .states, or rename it" },
    { "state name twice", state_name_twice,
      "operator 'k' declares the state 'number' twice: remove one from .states, or "
      "rename it" },
    { "state name", state_without_name,
      "a state of operator 'k' has no usable name: set .name in its struct weir_state, 1 "
      "to 63 bytes without control characters and single quotes" },
    { "state size", state_without_size,
      "state 'sizeless' of operator 'k' is a struct without a size: set "
      ".struct_size_bytes = sizeof(struct ...)" },
    { "state codec", state_of_the_future,
      "state 'strange' of operator 'k' is of a kind or codec that this version does not "
      "know" },
    { "object without form", object_without_form,
      "state 'formless' of operator 'k' holds objects without a form: set .object to a struct weir_object with .name, "
      ".size_bytes, .encode and .decode" },
    { "object without name", object_without_name,
      "state 'half' of operator 'k' holds objects without a form: set .object to a struct weir_object with .name, "
      ".size_bytes, .encode and .decode" },
    { "reducing", reducing_without_function,
      "state 'irreducible' of operator 'k' has no .reduce: name the function that combines two values" },
    { "aggregating", aggregating_without_functions,
      "state 'unadded' of operator 'k' has no aggregator: set .aggregator to a struct weir_aggregator with .add and "
      ".result" },
    { "aggregating bytes", aggregating_of_bytes,
      "the accumulator of state 'bytes' of operator 'k' is bytes, which cannot be changed: set .codec to WEIR_I64, "
      "WEIR_F64, WEIR_STRUCT or WEIR_OBJECT" },
    { "output twice", output_twice,
      "operator 'p' declares the side output 'late' twice: remove one from .outputs, or rename "
      "it" },
    { "output name", output_without_name,
      "a side output of operator 'p' has no name: set .name in its struct weir_output" },
    { "output unknown", output_not_declared, "operator 'p' has no side output 'late': list it in its .outputs" },
    { "other graph", stream_of_another_graph,
      "operator 'c' reads a stream that is not of this graph: give it a stream that "
      "an earlier weir_ call on the same graph returned" },
    { "cycle", stream_from_the_future,
      "operator 'm' reads a stream that is not of this graph: give it a stream that an "
      "earlier weir_ call on the same graph returned" },
    { "output range", output_out_of_range,
      "operator 'm' reads a stream that is not of this graph: give it a stream that an "
      "earlier weir_ call on the same graph returned" },
    { "union of one", union_of_one, "a union of 1 streams, those of unions in it counted: give weir_union 2 to 16" },
    { "union of many", union_of_too_many,
      "a union of 17 streams, those of unions in it counted: give weir_union 2 to 16" },
    { "source type", source_without_type,
      "source 's' has no .type: use the call of its connector, such as "
      "weir_kafka_source" },
    { "sink type", sink_without_type, "sink 's' has no .type: use the call of its connector, such as weir_kafka_sink" },
    { "no size", options_without_size,
      "the options of a map have no .size: call the macro weir_map, or set .size to the "
      "size of the struct" },
    { "no options", no_options,
      "the options of a key_by have no .size: call the macro weir_key_by, or set .size to the size "
      "of the struct" },
    { "connector", connectors_mistake, "topic 't': 0 partitions" },
    { "first", only_the_first_counts, "the first" },
};

START_TEST(each_mistake_has_a_sentence_that_says_what_to_do)
{
    for (size_t i = 0; i < sizeof mistakes / sizeof mistakes[0]; i++) {
        weir_graph *graph = weir_graph_create();
        mistakes[i].build(graph);
        struct weir_error error = { .text = "" };
        ck_assert_msg(weir_graph_check(graph, &error) == WEIR_USAGE, "%s: accepted", mistakes[i].name);
        ck_assert_msg(strcmp(error.text, mistakes[i].text) == 0, "%s: %s", mistakes[i].name, error.text);
        ck_assert_int_eq(error.remedy, WEIR_REMEDY_STOP);
        struct plan *plan;
        ck_assert_int_eq(plan_create(graph, &(struct plan_options){ .parallelism = 1 }, &plan, &error), WEIR_USAGE);
        ck_assert_ptr_null(plan);
        weir_graph_destroy(graph);
    }
}
END_TEST

START_TEST(building_goes_on_after_a_mistake)
{
    weir_graph *graph = weir_graph_create();
    struct weir_stream stream = weir_source(graph, .type = &source_type);
    stream = weir_map_(stream, NULL);
    stream = weir_filter(stream, .name = "f", .filter = filter);
    stream = weir_union(stream, weir_side_output(stream, &late));
    struct weir_stream sums = weir_reduce(weir_key_by(stream, .key = NULL), .name = "r", .reduce = reduce);
    weir_sink(weir_broadcast(sums), .name = "s", .type = &sink_type);
    ck_assert_int_eq(weir_graph_check(graph, NULL), WEIR_USAGE);
    weir_graph_destroy(graph);
}
END_TEST

START_TEST(a_stream_of_no_graph_builds_nothing)
{
    struct weir_stream nowhere = { 0 };
    ck_assert_ptr_null(weir_map(nowhere, .name = "m", .map = map).graph);
    ck_assert_ptr_null(weir_union(nowhere, nowhere).graph);
    ck_assert_ptr_null(weir_key_by(nowhere, .key = NULL).graph);
    ck_assert_ptr_null(weir_source(NULL, .name = "s", .type = &source_type).graph);
    weir_sink(nowhere, .name = "s", .type = &sink_type);
}
END_TEST

/* ---- Copies ------------------------------------------------------------------------------------------------------ */

START_TEST(options_and_texts_are_copied)
{
    weir_graph *graph = weir_graph_create();
    char name[] = "lines", text[] = "topic";
    int64_t options[2] = { 7, 8 };
    weir_source(graph, .name = name, .type = &source_type, .options = options, .options_size = sizeof options);
    const char *copy = weir_graph_text(graph, text);
    memset(name, 'x', 5);
    memset(text, 'x', 5);
    memset(options, 0, sizeof options);
    const struct operator_spec *spec = &graph->nodes.items[0]->spec;
    ck_assert_str_eq(spec->name, "lines");
    ck_assert_str_eq(copy, "topic");
    ck_assert_ptr_null(weir_graph_text(graph, NULL));
    ck_assert_int_eq(((const int64_t *)spec->source.options)[1], 8);
    weir_graph_destroy(graph);
}
END_TEST

/* The header of a later version might have added a field. */
struct longer_options {
    struct weir_map_options now;
    void *later;
};

START_TEST(option_structs_of_other_versions_are_read_as_far_as_both_know)
{
    weir_graph *graph = weir_graph_create();
    struct weir_stream stream = source(graph);
    struct longer_options longer = { .now = { .size = sizeof longer, .name = "longer", .map = map }, .later = &longer };
    weir_map_(stream, &longer.now);
    struct weir_process_options shorter = { .size = offsetof(struct weir_process_options, outputs), .name = "shorter",
                                            .process = process, .outputs = { &nameless_output } };
    weir_process_(stream, &shorter);
    ck_assert_int_eq(weir_graph_check(graph, NULL), WEIR_OK);
    ck_assert_ptr_eq(graph->nodes.items[1]->spec.map, map);
    ck_assert_uint_eq(graph->nodes.items[2]->spec.output_count, 0);
    weir_graph_destroy(graph);
}
END_TEST

START_TEST(key_bys_are_named_after_what_they_read)
{
    weir_graph *graph = weir_graph_create();
    struct weir_stream stream = source(graph);
    weir_key_by(stream, .key = NULL);
    weir_key_by(stream, .key = NULL);
    weir_key_by(weir_union(stream, stream), .key = NULL);
    ck_assert_str_eq(graph->nodes.items[1]->spec.name, "in-key-by");
    ck_assert_str_eq(graph->nodes.items[2]->spec.name, "in-key-by-2");
    ck_assert(graph->nodes.items[3]->is_union);
    ck_assert_str_eq(graph->nodes.items[4]->spec.name, "in-key-by-3");
    ck_assert_str_eq(graph->nodes.items[5]->spec.name, "in-key-by-4");
    ck_assert(graph->nodes.items[6]->is_union);
    weir_graph_destroy(graph);
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_test(tests, each_mistake_has_a_sentence_that_says_what_to_do);
    tcase_add_test(tests, building_goes_on_after_a_mistake);
    tcase_add_test(tests, a_stream_of_no_graph_builds_nothing);
    tcase_add_test(tests, options_and_texts_are_copied);
    tcase_add_test(tests, option_structs_of_other_versions_are_read_as_far_as_both_know);
    tcase_add_test(tests, key_bys_are_named_after_what_they_read);
}

int main(void)
{
    return unit_main("builder", add);
}
