/* Job graph and execution plan as text for people: plain lines, nothing that a terminal could get wrong. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "graph/graph.h"

WEIR_PRINTF(2, 3) static void put(struct buffer *text, const char *format, ...)
{
    char part[512];
    va_list arguments;
    va_start(arguments, format);
    const int size = vsnprintf(part, sizeof part, format, arguments);
    va_end(arguments);
    if (size > 0) buffer_put(text, part, (size_t)size < sizeof part ? (size_t)size : sizeof part - 1);
}

/* Spaces up to `column` of the line that began at `line`; one at least. */
static void pad(struct buffer *text, size_t line, size_t column)
{
    do put(text, " ");
    while (!text->failed && text->size - line < column);
}

static void put_count(struct buffer *text, uint64_t count, const char *noun)
{
    if (count == 0) put(text, "no %ss", noun);
    else put(text, "%" PRIu64 " %s%s", count, noun, count == 1 ? "" : "s");
}

/* ---- Job graph --------------------------------------------------------------------------------------------------- */

const char *operator_kind_text(const struct operator_spec *spec)
{
    switch (spec->kind) {
    case OPERATOR_SOURCE: return "source";
    case OPERATOR_SINK: return "sink";
    case OPERATOR_MAP: return "map";
    case OPERATOR_FILTER: return "filter";
    case OPERATOR_PROCESS: return "process";
    case OPERATOR_KEY_BY: return "key_by";
    case OPERATOR_CO_PROCESS: return "co_process";
    case OPERATOR_KEYED_PROCESS: return "keyed_process";
    case OPERATOR_REDUCE: return "reduce";
    case OPERATOR_AGGREGATE: return "aggregate";
    case OPERATOR_KEYED_CO_PROCESS: return spec->second_is_broadcast ? "keyed_broadcast_process" : "keyed_co_process";
    }
    return "?";
}

const char *operator_connector(const struct operator_spec *spec)
{
    if (spec->kind == OPERATOR_SOURCE) return spec->source.type->kind;
    return spec->kind == OPERATOR_SINK ? spec->sink.type->kind : NULL;
}

static void describe_kind(const struct operator_spec *spec, char text[static 64])
{
    const char *connector = operator_connector(spec);
    snprintf(text, 64, connector == NULL ? "%s" : "%s (%s)", operator_kind_text(spec), connector);
}

static const char *exchange_text(enum weir_exchange exchange)
{
    switch (exchange) {
    case WEIR_EXCHANGE_KEY_GROUP: return " by key";
    case WEIR_EXCHANGE_REBALANCE: return " rebalanced";
    case WEIR_EXCHANGE_BROADCAST: return " broadcast";
    case WEIR_EXCHANGE_FORWARD:
    case WEIR_EXCHANGE_AUTO: break;
    }
    return "";
}

const char *graph_input_from(const weir_graph *graph, const struct graph_input *input, const char **output)
{
    const struct graph_node *from = graph->nodes.items[input->node];
    while (from->spec.kind == OPERATOR_KEY_BY) {
        input = &from->inputs.items[0];
        from = graph->nodes.items[input->node];
    }
    *output = input->output == 0 ? NULL : from->spec.outputs[input->output - 1]->name;
    return from->spec.name;
}

/* "split by key", "split.late rebalanced". */
static void put_input(const weir_graph *graph, const struct graph_input *input, struct buffer *text)
{
    const char *output;
    put(text, "%s", graph_input_from(graph, input, &output));
    if (output != NULL) put(text, ".%s", output);
    put(text, "%s", exchange_text(input->exchange));
}

static const char *codec_text(enum weir_codec codec)
{
    switch (codec) {
    case WEIR_BYTES: return "bytes";
    case WEIR_I64: return "i64";
    case WEIR_F64: return "f64";
    case WEIR_STRUCT: return "struct";
    case WEIR_OBJECT: return "object";
    }
    return "?";
}

/* A value's is not said. */
static const char *state_kind_text(enum weir_state_kind kind)
{
    switch (kind) {
    case WEIR_STATE_VALUE: return "";
    case WEIR_STATE_LIST: return "list of ";
    case WEIR_STATE_MAP: return "map of ";
    case WEIR_STATE_REDUCING: return "reducing ";
    case WEIR_STATE_AGGREGATING: return "aggregating ";
    case WEIR_STATE_OPERATOR_LIST: return "operator's list of ";
    case WEIR_STATE_OPERATOR_UNION: return "operator's union of ";
    case WEIR_STATE_BROADCAST: return "broadcast map of ";
    }
    return "? ";
}

/* In the largest unit that says it exactly. */
static void put_duration(int64_t ms, struct buffer *text)
{
    static const struct { int64_t ms; const char *name; } units[] = {
        { 24 * 3600 * 1000, "d" }, { 3600 * 1000, "h" }, { 60 * 1000, "min" }, { 1000, "s" }, { 1, "ms" } };
    size_t unit = 0;
    while (ms % units[unit].ms != 0) unit++;
    put(text, "%" PRId64 " %s", ms / units[unit].ms, units[unit].name);
}

static void put_states(const struct operator_spec *spec, struct buffer *text)
{
    for (uint32_t i = 0; i < spec->state_count; i++) {
        put(text, "%s%s %s%s", i == 0 ? "; state: " : ", ", spec->states[i].name, state_kind_text(spec->states[i].kind),
            codec_text(spec->states[i].codec));
        if (spec->states[i].ttl_ms == 0) continue;
        put(text, " for ");
        put_duration(spec->states[i].ttl_ms, text);
    }
    if (operator_is_keyed(spec) && spec->emit == WEIR_EMIT_ON_COMMIT) put(text, "; emits on commit");
}

static void put_operator(const weir_graph *graph, const struct graph_node *node, size_t column_kind,
                         size_t column_inputs, struct buffer *text)
{
    const size_t line = text->size;
    char kind[64];
    describe_kind(&node->spec, kind);
    put(text, "  %s", node->spec.name);
    pad(text, line, column_kind);
    put(text, "%s", kind);
    if (node->inputs.count > 0) {
        pad(text, line, column_inputs);
        put(text, "reads ");
    }
    for (size_t i = 0; i < node->inputs.count; i++) {
        if (i > 0) put(text, node->inputs.items[i].port != node->inputs.items[i - 1].port ? " and " : ", ");
        put_input(graph, &node->inputs.items[i], text);
    }
    put_states(&node->spec, text);
    put(text, "\n");
}

bool graph_is_shown(const struct graph_node *node)
{
    return !node->is_union && node->spec.kind != OPERATOR_KEY_BY;
}

static void put_graph(const weir_graph *graph, struct buffer *text)
{
    size_t name_size_max = 0, kind_size_max = 0;
    for (size_t i = 0; i < graph->nodes.count; i++) {
        const struct graph_node *node = graph->nodes.items[i];
        char kind[64];
        if (!graph_is_shown(node)) continue;
        describe_kind(&node->spec, kind);
        if (strlen(node->spec.name) > name_size_max) name_size_max = strlen(node->spec.name);
        if (strlen(kind) > kind_size_max) kind_size_max = strlen(kind);
    }
    const size_t column_kind = 2 + name_size_max + 3, column_inputs = column_kind + kind_size_max + 3;
    put(text, "Job graph\n\n");
    for (size_t i = 0; i < graph->nodes.count; i++)
        if (graph_is_shown(graph->nodes.items[i]))
            put_operator(graph, graph->nodes.items[i], column_kind, column_inputs, text);
}

/* ---- Execution plan ---------------------------------------------------------------------------------------------- */

static uint64_t channel_count(const struct plan *plan, const struct plan_edge *edge)
{
    const uint64_t from = plan->vertices[edge->source_vertex].parallelism;
    return edge->exchange == WEIR_EXCHANGE_FORWARD ? from : from * plan->vertices[edge->target_vertex].parallelism;
}

static bool is_keyed(const struct plan_vertex *vertex)
{
    for (uint32_t i = 0; i < vertex->chain.stage_count; i++)
        if (operator_is_keyed(vertex->chain.stages[i].spec)) return true;
    return false;
}

static const char *sending_text(enum weir_exchange exchange)
{
    switch (exchange) {
    case WEIR_EXCHANGE_KEY_GROUP: return "by key group";
    case WEIR_EXCHANGE_REBALANCE: return "in turns";
    case WEIR_EXCHANGE_BROADCAST: return "everything to each task";
    case WEIR_EXCHANGE_FORWARD:
    case WEIR_EXCHANGE_AUTO: break;
    }
    return "task by task";
}

static int digits(uint32_t number)
{
    return snprintf(NULL, 0, "%" PRIu32, number);
}

static void put_key_groups(const struct plan *plan, const struct plan_vertex *vertex, struct buffer *text)
{
    const int task_width = digits(vertex->parallelism - 1), group_width = digits(plan->max_parallelism - 1);
    for (uint32_t i = 0; i < vertex->parallelism; i++)
        put(text, "      task %*" PRIu32 "   key groups %*" PRIu32 " .. %*" PRIu32 "\n", task_width, i, group_width,
            key_group_first(plan->max_parallelism, vertex->parallelism, i), group_width,
            key_group_first(plan->max_parallelism, vertex->parallelism, i + 1) - 1);
}

static void put_vertex(const struct plan *plan, uint32_t index, struct buffer *text)
{
    const struct plan_vertex *vertex = &plan->vertices[index];
    put(text, "\n  [%" PRIu32 "] %s\n", index + 1, vertex->name);
    if (is_keyed(vertex)) {
        put_key_groups(plan, vertex, text);
    } else {
        put(text, "      ");
        put_count(text, vertex->parallelism, "task");
        put(text, "\n");
    }
    for (uint32_t i = 0; i < plan->edge_count; i++) {
        const struct plan_edge *edge = &plan->edges[i];
        if (edge->source_vertex != index) continue;
        put(text, "      sends to [%" PRIu32 "] %s, ", edge->target_vertex + 1, sending_text(edge->exchange));
        put_count(text, channel_count(plan, edge), "channel");
        put(text, "\n");
    }
}

static void put_plan(const struct plan *plan, struct buffer *text)
{
    uint64_t tasks = 0, channels = 0;
    for (uint32_t i = 0; i < plan->vertex_count; i++) tasks += plan->vertices[i].parallelism;
    for (uint32_t i = 0; i < plan->edge_count; i++) channels += channel_count(plan, &plan->edges[i]);
    put(text, "\nExecution plan: ");
    put_count(text, plan->vertex_count, "chain");
    put(text, ", ");
    put_count(text, tasks, "task");
    put(text, ", ");
    put_count(text, channels, "channel");
    put(text, ", %" PRIu32 " key groups\n", plan->max_parallelism);
    for (uint32_t i = 0; i < plan->vertex_count; i++) put_vertex(plan, i, text);
}

bool plan_explain(const weir_graph *graph, const struct plan *plan, struct buffer *text)
{
    put_graph(graph, text);
    put_plan(plan, text);
    return !text->failed;
}

char *weir_graph_explain(const weir_graph *graph, const weir_config *config, struct weir_error *error)
{
    struct plan *plan;
    if (plan_configure(graph, config, &plan, error) != WEIR_OK) return NULL;
    struct buffer text;
    buffer_init(&text);
    bool explained = plan_explain(graph, plan, &text);
    buffer_u8(&text, '\0');
    explained = explained && !text.failed;
    plan_destroy(plan);
    if (explained) return text.data;
    buffer_deinit(&text);
    weir_error_set(error, WEIR_NO_MEMORY, WEIR_REMEDY_STOP, "no memory for the text of the plan");
    return NULL;
}
