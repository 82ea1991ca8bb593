/* Planning, in four steps:
 *
 *   resolve   each operator's parallelism, each input's exchange
 *   check     what the user should hear about before anything runs
 *   assign    each operator to a vertex (a chain)
 *   wire      inputs become calls inside a chain, or edges between chains */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "graph/graph.h"

/* What planning knows of one node of the graph. */
struct place {
    uint32_t parallelism;
    uint32_t vertex;
    uint32_t stage;       /* in the vertex; unused for a source */
    bool leads_to_sink;
    enum weir_exchange *exchanges; /* of its inputs; never AUTO */
};

struct planner {
    const weir_graph *graph;
    const struct plan_options *options;
    struct plan *plan;
    struct place *places; /* by node */
    struct arena arena;
    struct weir_error *error;
};

uint32_t plan_max_parallelism_default(uint32_t parallelism)
{
    const uint64_t wanted = (uint64_t)parallelism + parallelism / 2;
    uint32_t power = 128;
    while (power < wanted && power < PLAN_MAX_PARALLELISM_MAX) power *= 2;
    return power;
}

static const struct graph_node *node_at(const struct planner *planner, size_t index)
{
    return planner->graph->nodes.items[index];
}

WEIR_PRINTF(2, 3) static enum weir_code refuse(struct planner *planner, const char *format, ...)
{
    char text[sizeof planner->error->text];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    return weir_error_set(planner->error, WEIR_USAGE, WEIR_REMEDY_STOP, "%s", text);
}

static enum weir_code no_memory(struct planner *planner)
{
    return weir_error_set(planner->error, WEIR_NO_MEMORY, WEIR_REMEDY_STOP, "no memory for the plan of a graph of %zu "
                          "operators", planner->graph->nodes.count);
}

/* ---- Resolve ----------------------------------------------------------------------------------------------------- */

static enum weir_exchange resolve_exchange(const struct planner *planner, size_t reader,
                                           const struct graph_input *input)
{
    const uint32_t from = planner->places[input->node].parallelism, to = planner->places[reader].parallelism;
    switch (input->exchange) {
    case WEIR_EXCHANGE_AUTO: return from == to ? WEIR_EXCHANGE_FORWARD : WEIR_EXCHANGE_REBALANCE;
    case WEIR_EXCHANGE_KEY_GROUP:
    case WEIR_EXCHANGE_BROADCAST: return from == 1 && to == 1 ? WEIR_EXCHANGE_FORWARD : input->exchange;
    case WEIR_EXCHANGE_FORWARD:
    case WEIR_EXCHANGE_REBALANCE: break;
    }
    return input->exchange;
}

static uint32_t resolve_parallelism(const struct planner *planner, const struct graph_node *node)
{
    if (node->spec.kind == OPERATOR_KEY_BY && node->inputs.count > 0)
        return planner->places[node->inputs.items[0].node].parallelism;
    if (node->spec.parallelism > 0) return node->spec.parallelism;
    return planner->options->parallelism > 0 ? planner->options->parallelism : 1;
}

static enum weir_code resolve(struct planner *planner)
{
    const size_t count = planner->graph->nodes.count;
    uint32_t largest = 1;
    for (size_t i = 0; i < count; i++) {
        const struct graph_node *node = node_at(planner, i);
        struct place *place = &planner->places[i];
        if (node->is_union) continue;
        place->parallelism = resolve_parallelism(planner, node);
        if (place->parallelism > largest) largest = place->parallelism;
        place->exchanges = arena_alloc(&planner->arena, node->inputs.count * sizeof *place->exchanges);
        if (place->exchanges == NULL) return no_memory(planner);
        for (size_t k = 0; k < node->inputs.count; k++)
            place->exchanges[k] = resolve_exchange(planner, i, &node->inputs.items[k]);
    }
    planner->plan->max_parallelism = planner->options->max_parallelism;
    if (planner->plan->max_parallelism == 0) planner->plan->max_parallelism = plan_max_parallelism_default(largest);
    return WEIR_OK;
}

/* ---- Check ------------------------------------------------------------------------------------------------------- */

static enum weir_code check_kinds(struct planner *planner)
{
    size_t sources = 0, sinks = 0;
    for (size_t i = 0; i < planner->graph->nodes.count; i++) {
        const struct graph_node *node = node_at(planner, i);
        if (node->is_union) continue;
        sources += node->spec.kind == OPERATOR_SOURCE;
        sinks += node->spec.kind == OPERATOR_SINK;
    }
    if (sources == 0)
        return refuse(planner, "the graph has no source: begin it with one, such as weir_kafka_source");
    if (sinks == 0)
        return refuse(planner, "the graph has no sink: end it with one, such as weir_kafka_sink, or nothing comes out");
    return WEIR_OK;
}

static enum weir_code check_parallelism(struct planner *planner)
{
    const uint32_t max = planner->plan->max_parallelism;
    if (max > PLAN_MAX_PARALLELISM_MAX)
        return refuse(planner, "pipeline.max-parallelism is %u: set it to %d at most", max, PLAN_MAX_PARALLELISM_MAX);
    for (size_t i = 0; i < planner->graph->nodes.count; i++) {
        const struct graph_node *node = node_at(planner, i);
        if (!node->is_union && planner->places[i].parallelism > max)
            return refuse(planner, "operator '%s' has parallelism %u, but there are %u key groups to share: lower its "
                          "parallelism, or raise pipeline.max-parallelism (only before the first checkpoint)",
                          node->spec.name, planner->places[i].parallelism, max);
    }
    return WEIR_OK;
}

static enum weir_code check_forward(struct planner *planner)
{
    for (size_t i = 0; i < planner->graph->nodes.count; i++) {
        const struct graph_node *node = node_at(planner, i);
        for (size_t k = 0; !node->is_union && k < node->inputs.count; k++) {
            const uint32_t from = node->inputs.items[k].node;
            if (planner->places[i].exchanges[k] == WEIR_EXCHANGE_FORWARD &&
                planner->places[from].parallelism != planner->places[i].parallelism)
                return refuse(planner,
                              "operator '%s' (parallelism %u) is to read subtask by subtask from '%s' (parallelism "
                              "%u): give both the same .parallelism, or use weir_rebalance",
                              node->spec.name, planner->places[i].parallelism, node_at(planner, from)->spec.name,
                              planner->places[from].parallelism);
        }
    }
    return WEIR_OK;
}

/* Backwards over the topological order: a node leads to a sink when it is one, or when a reader does. */
static enum weir_code check_ends(struct planner *planner)
{
    for (size_t i = planner->graph->nodes.count; i-- > 0;) {
        const struct graph_node *node = node_at(planner, i);
        if (node->is_union) continue;
        struct place *place = &planner->places[i];
        place->leads_to_sink = place->leads_to_sink || node->spec.kind == OPERATOR_SINK;
        if (!place->leads_to_sink)
            return refuse(planner, "operator '%s' leads to no sink, so nothing that it does would be seen: add a sink "
                          "behind it, or remove it", node->spec.name);
        for (size_t k = 0; k < node->inputs.count; k++)
            planner->places[node->inputs.items[k].node].leads_to_sink = true;
    }
    return WEIR_OK;
}

static const struct weir_decider_type *decider_of(const struct operator_spec *spec, enum operator_kind kind,
                                                  const void **options)
{
    if (spec->kind != kind) return NULL;
    if (kind == OPERATOR_SINK) {
        *options = spec->sink.options;
        return spec->sink.type->decider;
    }
    *options = spec->source.options;
    return spec->source.type->decider;
}

/* One decision for each commit: all connectors that have a decider must have the same. Sinks are asked first, because
 * the decision has to lie where the output is. */
static enum weir_code choose_decider(struct planner *planner)
{
    static const enum operator_kind order[] = { OPERATOR_SINK, OPERATOR_SOURCE };
    struct plan *plan = planner->plan;
    const char *chosen_by = NULL;
    for (size_t o = 0; o < 2; o++) {
        for (size_t i = 0; i < planner->graph->nodes.count; i++) {
            const struct graph_node *node = node_at(planner, i);
            const void *options = NULL;
            const struct weir_decider_type *decider =
                node->is_union ? NULL : decider_of(&node->spec, order[o], &options);
            if (decider == NULL || decider == plan->decider) continue;
            if (plan->decider != NULL)
                return refuse(planner,
                              "'%s' commits by %s and '%s' by %s, and one commit can have only one decision: put "
                              "them into two jobs",
                              chosen_by, plan->decider->kind, node->spec.name, decider->kind);
            plan->decider = decider;
            plan->decider_options = options;
            chosen_by = node->spec.name;
        }
    }
    return WEIR_OK;
}

static enum weir_code check(struct planner *planner)
{
    enum weir_code code = check_kinds(planner);
    if (code == WEIR_OK) code = check_parallelism(planner);
    if (code == WEIR_OK) code = check_forward(planner);
    if (code == WEIR_OK) code = check_ends(planner);
    if (code == WEIR_OK) code = choose_decider(planner);
    return code;
}

/* ---- Assign ------------------------------------------------------------------------------------------------------ */

/* The one vertex that all inputs of `node` come out of by FORWARD, or UINT32_MAX. */
static uint32_t vertex_to_join(const struct planner *planner, size_t index)
{
    const struct graph_node *node = node_at(planner, index);
    if (node->inputs.count == 0) return UINT32_MAX;
    if (!planner->options->chaining && node->spec.kind != OPERATOR_KEY_BY) return UINT32_MAX;
    const uint32_t vertex = planner->places[node->inputs.items[0].node].vertex;
    for (size_t k = 0; k < node->inputs.count; k++) {
        if (planner->places[index].exchanges[k] != WEIR_EXCHANGE_FORWARD) return UINT32_MAX;
        if (planner->places[node->inputs.items[k].node].vertex != vertex) return UINT32_MAX;
    }
    return planner->plan->vertices[vertex].chain.stage_count < CHAIN_STAGES_MAX ? vertex : UINT32_MAX;
}

/* "lines -> split -> count"; cut with dots when it grows too long. Key_bys are the plan's own and left out. */
static void append_name(char name[static 128], const struct operator_spec *spec)
{
    const size_t size = strlen(name);
    if (spec->kind == OPERATOR_KEY_BY || (size >= 3 && strcmp(name + size - 3, "...") == 0)) return;
    const int more = snprintf(name + size, 128 - size, "%s%s", size == 0 ? "" : " -> ", spec->name);
    if (more >= 0 && size + (size_t)more >= 128 - 8) (void)snprintf(name + size, 128 - size, " -> ...");
}

static bool add_stage(struct planner *planner, struct chain_plan *chain, size_t index)
{
    struct chain_stage *stages = realloc(chain->stages, (chain->stage_count + 1) * sizeof *stages);
    if (stages == NULL) return false;
    chain->stages = stages;
    stages[chain->stage_count] = (struct chain_stage){ .spec = &node_at(planner, index)->spec };
    planner->places[index].stage = chain->stage_count++;
    return true;
}

/* Vertices come out in topological order: one begins at its first operator, and later ones that join add no input. */
static enum weir_code assign(struct planner *planner)
{
    struct plan *plan = planner->plan;
    plan->vertices = calloc(planner->graph->nodes.count, sizeof *plan->vertices);
    if (plan->vertices == NULL) return no_memory(planner);
    for (size_t i = 0; i < planner->graph->nodes.count; i++) {
        const struct graph_node *node = node_at(planner, i);
        if (node->is_union) continue;
        uint32_t index = vertex_to_join(planner, i);
        if (index == UINT32_MAX) index = plan->vertex_count++;
        struct plan_vertex *vertex = &plan->vertices[index];
        vertex->parallelism = planner->places[i].parallelism;
        planner->places[i].vertex = index;
        append_name(vertex->name, &node->spec);
        if (node->spec.kind == OPERATOR_SOURCE) vertex->source = &node->spec;
        else if (!add_stage(planner, &vertex->chain, i)) return no_memory(planner);
    }
    return WEIR_OK;
}

/* ---- Wire -------------------------------------------------------------------------------------------------------- */

static struct chain_targets *add_entry(struct chain_plan *chain)
{
    struct chain_targets *entries = realloc(chain->entries, (chain->entry_count + 1) * sizeof *entries);
    if (entries == NULL) return NULL;
    chain->entries = entries;
    entries[chain->entry_count] = (struct chain_targets){ 0 };
    return &entries[chain->entry_count++];
}

/* An edge between two vertices: a router here, an entry there. Answers the router's index by `target`. */
static enum weir_code add_edge(struct planner *planner, size_t reader, size_t input_index, struct chain_target *target)
{
    struct plan *plan = planner->plan;
    const struct place *place = &planner->places[reader];
    const struct graph_input *input = &node_at(planner, reader)->inputs.items[input_index];
    struct plan_edge *edges = realloc(plan->edges, (plan->edge_count + 1) * sizeof *edges);
    if (edges == NULL) return no_memory(planner);
    plan->edges = edges;

    struct chain_plan *source = &plan->vertices[planner->places[input->node].vertex].chain;
    struct chain_plan *sink = &plan->vertices[place->vertex].chain;
    struct chain_targets *entry = add_entry(sink);
    if (entry == NULL) return no_memory(planner);
    *entry = (struct chain_targets){ .count = 1, .items = { { .index = place->stage, .port = input->port } } };
    *target = (struct chain_target){ .is_router = true, .index = source->router_count++ };
    edges[plan->edge_count++] = (struct plan_edge){
        .source_vertex = planner->places[input->node].vertex, .source_router = target->index,
        .target_vertex = place->vertex, .target_input = sink->entry_count - 1,
        .exchange = place->exchanges[input_index],
    };
    return WEIR_OK;
}

/* Where the producer of an input lists its receivers. */
static struct chain_targets *targets_of(const struct planner *planner, const struct graph_input *input)
{
    struct chain_plan *chain = &planner->plan->vertices[planner->places[input->node].vertex].chain;
    if (node_at(planner, input->node)->spec.kind == OPERATOR_SOURCE) return &chain->entries[0];
    return &chain->stages[planner->places[input->node].stage].outputs[input->output];
}

static enum weir_code wire_input(struct planner *planner, size_t reader, size_t input_index)
{
    const struct place *place = &planner->places[reader];
    const struct graph_input *input = &node_at(planner, reader)->inputs.items[input_index];
    struct chain_target target = { .index = place->stage, .port = input->port };
    if (planner->places[input->node].vertex != place->vertex) {
        const enum weir_code code = add_edge(planner, reader, input_index, &target);
        if (code != WEIR_OK) return code;
    }
    struct chain_targets *targets = targets_of(planner, input);
    if (targets->count == CHAIN_TARGETS_MAX)
        return refuse(planner,
                      "one output of '%s' is read by more than %d operators: put a weir_filter that lets everything "
                      "pass between, and let some of them read from that",
                      node_at(planner, input->node)->spec.name, CHAIN_TARGETS_MAX);
    targets->items[targets->count++] = target;
    return WEIR_OK;
}

static enum weir_code wire(struct planner *planner)
{
    for (size_t i = 0; i < planner->graph->nodes.count; i++) {
        const struct graph_node *node = node_at(planner, i);
        if (node->is_union) continue;
        if (node->spec.kind == OPERATOR_SOURCE &&
            add_entry(&planner->plan->vertices[planner->places[i].vertex].chain) == NULL)
            return no_memory(planner);
        for (size_t k = 0; k < node->inputs.count; k++) {
            const enum weir_code code = wire_input(planner, i, k);
            if (code != WEIR_OK) return code;
        }
    }
    return WEIR_OK;
}

/* ---- The plan's name --------------------------------------------------------------------------------------------- */

static void describe_for_hash(struct buffer *text, const struct operator_spec *spec)
{
    buffer_text(text, spec->name);
    buffer_u8(text, (uint8_t)spec->kind);
    buffer_u8(text, (uint8_t)spec->state_count);
    for (uint32_t i = 0; i < spec->state_count; i++) {
        buffer_text(text, spec->states[i].name);
        buffer_u8(text, (uint8_t)spec->states[i].kind);
        buffer_u8(text, (uint8_t)spec->states[i].codec);
        buffer_u32(text, spec->states[i].value_size_bytes);
    }
}

/* A sum over operators, so that their order does not matter. */
static enum weir_code hash_plan(struct planner *planner)
{
    struct buffer text;
    buffer_init(&text);
    for (size_t i = 0; i < planner->graph->nodes.count; i++) {
        const struct graph_node *node = node_at(planner, i);
        const struct operator_spec *spec = &node->spec;
        if (node->is_union) continue;
        if (spec->kind != OPERATOR_SOURCE && spec->kind != OPERATOR_SINK && spec->state_count == 0) continue;
        buffer_clear(&text);
        describe_for_hash(&text, spec);
        planner->plan->hash += hash_64(text.data, text.size);
    }
    const bool failed = text.failed;
    buffer_deinit(&text);
    return failed ? no_memory(planner) : WEIR_OK;
}

static enum weir_code run(struct planner *planner)
{
    enum weir_code code = resolve(planner);
    if (code == WEIR_OK) code = check(planner);
    if (code == WEIR_OK) code = assign(planner);
    if (code == WEIR_OK) code = wire(planner);
    if (code == WEIR_OK) code = hash_plan(planner);
    return code;
}

enum weir_code plan_create(const weir_graph *graph, const struct plan_options *options, struct plan **plan,
                           struct weir_error *error)
{
    *plan = NULL;
    const enum weir_code mistake = weir_graph_check(graph, error);
    if (mistake != WEIR_OK) return mistake;

    struct weir_error ignored;
    struct planner planner = { .graph = graph, .options = options, .error = error == NULL ? &ignored : error };
    arena_init(&planner.arena, 4096);
    planner.plan = calloc(1, sizeof *planner.plan);
    planner.places = calloc(graph->nodes.count + 1, sizeof *planner.places);
    const bool has_memory = planner.plan != NULL && planner.places != NULL;
    const enum weir_code code = has_memory ? run(&planner) : no_memory(&planner);
    if (code == WEIR_OK) *plan = planner.plan;
    else plan_destroy(planner.plan);
    free(planner.places);
    arena_deinit(&planner.arena);
    return code;
}

static enum weir_code check_sources(const struct plan *plan, const weir_config *config, struct weir_error *error)
{
    enum weir_code code = WEIR_OK;
    for (uint32_t i = 0; code == WEIR_OK && i < plan->vertex_count; i++) {
        const struct operator_spec *spec = plan->vertices[i].source;
        if (spec == NULL || spec->source.type->check == NULL) continue;
        code = spec->source.type->check(spec->source.options, config, error);
        if (code != WEIR_OK) weir_error_wrap(error, "source '%s'", spec->name);
    }
    return code;
}

enum weir_code plan_configure(const weir_graph *graph, const weir_config *config, struct plan **plan,
                              struct weir_error *error)
{
    const struct plan_options options = {
        .parallelism = (uint32_t)weir_config_i64(config, "parallelism.default"),
        .max_parallelism = (uint32_t)weir_config_i64(config, "pipeline.max-parallelism"),
        .chaining = weir_config_bool(config, "pipeline.operator-chaining.enabled"),
    };
    enum weir_code code = plan_create(graph, &options, plan, error);
    if (code == WEIR_OK) code = check_sources(*plan, config, error);
    if (code == WEIR_OK) return WEIR_OK;
    plan_destroy(*plan);
    *plan = NULL;
    return code;
}

void plan_destroy(struct plan *plan)
{
    if (plan == NULL) return;
    for (uint32_t i = 0; i < plan->vertex_count; i++) {
        free(plan->vertices[i].chain.stages);
        free(plan->vertices[i].chain.entries);
    }
    free(plan->vertices);
    free(plan->edges);
    free(plan);
}
