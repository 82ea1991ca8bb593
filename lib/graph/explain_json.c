/* Job graph and execution plan as JSON, for programs. The plan is shaped as Flink's. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "graph/graph.h"
#include "weir/inspect.h"

WEIR_PRINTF(2, 3) static void put(struct buffer *json, const char *format, ...)
{
    char part[256];
    va_list arguments;
    va_start(arguments, format);
    const int size = vsnprintf(part, sizeof part, format, arguments);
    va_end(arguments);
    CHECK(size >= 0 && (size_t)size < sizeof part);
    buffer_put(json, part, (size_t)size);
}

/* `before` and the text in quotes. Names have no control characters. */
static void put_text(struct buffer *json, const char *before, const char *text)
{
    put(json, "%s\"", before);
    for (struct weir_bytes rest = weir_text(text); rest.size > 0;) {
        const size_t size = weir_utf8_size(rest), taken = size == 0 ? 1 : size;
        if (*rest.data == '"' || *rest.data == '\\') buffer_u8(json, '\\');
        if (size == 0) put(json, "\\ufffd");
        else buffer_put(json, rest.data, size);
        rest.data += taken;
        rest.size -= taken;
    }
    buffer_u8(json, '"');
}

/* ---- The plan ---------------------------------------------------------------------------------------------------- */

const char *plan_exchange_name(enum weir_exchange exchange)
{
    switch (exchange) {
    case WEIR_EXCHANGE_KEY_GROUP: return "key_group";
    case WEIR_EXCHANGE_REBALANCE: return "rebalance";
    case WEIR_EXCHANGE_BROADCAST: return "broadcast";
    case WEIR_EXCHANGE_FORWARD:
    case WEIR_EXCHANGE_AUTO: break;
    }
    return "forward";
}

static void put_node(const struct plan *plan, uint32_t index, struct buffer *json)
{
    uint32_t number = 0;
    put(json, "{\"id\":\"%" PRIu32 "\",\"parallelism\":%" PRIu32, index, plan->vertices[index].parallelism);
    put_text(json, ",\"description\":", plan->vertices[index].name);
    put(json, ",\"inputs\":[");
    for (uint32_t i = 0; i < plan->edge_count; i++) {
        const struct plan_edge *edge = &plan->edges[i];
        if (edge->target_vertex != index) continue;
        put(json, "%s{\"num\":%" PRIu32 ",\"id\":\"%" PRIu32 "\",\"ship_strategy\":\"%s\",\"exchange\":\"pipelined\"}",
            number == 0 ? "" : ",", number, edge->source_vertex, plan_exchange_name(edge->exchange));
        number++;
    }
    put(json, "]}");
}

bool plan_json(const struct plan *plan, const char *job, struct buffer *json)
{
    put_text(json, "{\"jid\":", job);
    put_text(json, ",\"name\":", job);
    put(json, ",\"type\":\"STREAMING\",\"nodes\":[");
    for (uint32_t i = 0; i < plan->vertex_count; i++) {
        if (i > 0) put(json, ",");
        put_node(plan, i, json);
    }
    put(json, "]}");
    return !json->failed;
}

/* ---- The graph --------------------------------------------------------------------------------------------------- */

static void put_input(const weir_graph *graph, const struct graph_input *input, struct buffer *json)
{
    const char *output;
    put_text(json, "{\"operator\":", graph_input_from(graph, input, &output));
    if (output != NULL) put_text(json, ",\"output\":", output);
    put(json, ",\"port\":%" PRIu32 ",\"exchange\":\"%s\"}", input->port, plan_exchange_name(input->exchange));
}

static void put_states(const struct operator_spec *spec, struct buffer *json)
{
    for (uint32_t i = 0; i < spec->state_count; i++) {
        const struct state_declaration *state = &spec->states[i];
        put_text(json, i == 0 ? "{\"name\":" : ",{\"name\":", state->name);
        put(json, ",\"kind\":\"%s\",\"codec\":\"%s\",\"ttl_ms\":%" PRId64 "}", weir_state_kind_name(state->kind),
            weir_codec_name(state->codec), state->ttl_ms);
    }
}

static void put_operator(const weir_graph *graph, const struct graph_node *node, struct buffer *json)
{
    const struct operator_spec *spec = &node->spec;
    const char *connector = operator_connector(spec);
    put_text(json, "{\"name\":", spec->name);
    put(json, ",\"kind\":\"%s\"", operator_kind_text(spec));
    if (connector != NULL) put_text(json, ",\"connector\":", connector);
    put(json, ",\"inputs\":[");
    for (size_t i = 0; i < node->inputs.count; i++) {
        if (i > 0) put(json, ",");
        put_input(graph, &node->inputs.items[i], json);
    }
    put(json, "],\"states\":[");
    put_states(spec, json);
    put(json, "],\"emits_on_commit\":%s}",
        operator_is_keyed(spec) && spec->emit == WEIR_EMIT_ON_COMMIT ? "true" : "false");
}

static void put_operators(const weir_graph *graph, struct buffer *json)
{
    bool is_first = true;
    for (size_t i = 0; i < graph->nodes.count; i++) {
        if (!graph_is_shown(graph->nodes.items[i])) continue;
        put(json, "%s", is_first ? "\n  " : ",\n  ");
        put_operator(graph, graph->nodes.items[i], json);
        is_first = false;
    }
}

char *weir_graph_explain_json(const weir_graph *graph, const weir_config *config, const char *job, struct weir_error *error)
{
    struct plan *plan;
    struct buffer json;
    if (plan_configure(graph, config, &plan, error) != WEIR_OK) return NULL;
    buffer_init(&json);
    put(&json, "{\"plan\":");
    (void)plan_json(plan, job, &json);
    put(&json, ",\n \"maxParallelism\":%" PRIu32 ",\n \"operators\":[", plan->max_parallelism);
    put_operators(graph, &json);
    put(&json, "]}\n");
    buffer_u8(&json, '\0');
    plan_destroy(plan);
    if (!json.failed) return json.data;
    buffer_deinit(&json);
    weir_error_set(error, WEIR_NO_MEMORY, WEIR_REMEDY_STOP, "no memory for the plan as JSON");
    return NULL;
}
