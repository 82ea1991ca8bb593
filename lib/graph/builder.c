/* Builder calls: each one adds a node, keeps a copy of its options, and notes the first mistake. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "graph/graph.h"

/* The fields that the options of every operator begin with. */
struct operator_fields {
    WEIR_OPERATOR_FIELDS;
};

/* ---- The graph --------------------------------------------------------------------------------------------------- */

weir_graph *weir_graph_create(void)
{
    weir_graph *graph = calloc(1, sizeof *graph);
    if (graph != NULL) arena_init(&graph->arena, 16 * 1024);
    return graph;
}

void weir_graph_destroy(weir_graph *graph)
{
    if (graph == NULL) return;
    for (size_t i = 0; i < graph->nodes.count; i++) vec_free(&graph->nodes.items[i]->inputs);
    vec_free(&graph->nodes);
    arena_deinit(&graph->arena);
    free(graph);
}

static void note_mistake(weir_graph *graph, enum weir_code code, const char *format, va_list arguments)
{
    struct weir_error *mistake = &graph->mistake;
    if (mistake->code != WEIR_OK) return;
    mistake->code = code;
    mistake->remedy = WEIR_REMEDY_STOP;
    vsnprintf(mistake->text, sizeof mistake->text, format, arguments);
}

void weir_graph_mistake(weir_graph *graph, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    note_mistake(graph, WEIR_USAGE, format, arguments);
    va_end(arguments);
}

WEIR_PRINTF(2, 3) static void out_of_memory(weir_graph *graph, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    note_mistake(graph, WEIR_NO_MEMORY, format, arguments);
    va_end(arguments);
}

enum weir_code weir_graph_check(const weir_graph *graph, struct weir_error *error)
{
    if (graph->mistake.code != WEIR_OK && error != NULL) *error = graph->mistake;
    return graph->mistake.code;
}

const char *weir_graph_text(weir_graph *graph, const char *text)
{
    if (text == NULL) return NULL;
    const char *copy = arena_text(&graph->arena, text);
    if (copy == NULL) out_of_memory(graph, "the graph has no memory for a text of %zu bytes", strlen(text));
    return copy == NULL ? "" : copy;
}

/* ---- Nodes and inputs -------------------------------------------------------------------------------------------- */

static struct graph_node *add_node(weir_graph *graph)
{
    struct graph_node *node = arena_alloc(&graph->arena, sizeof *node);
    struct graph_node **slot = node == NULL ? NULL : vec_push(&graph->nodes);
    if (slot == NULL) {
        out_of_memory(graph, "the graph has no memory for its %zuth operator", graph->nodes.count + 1);
        return NULL;
    }
    memset(node, 0, sizeof *node);
    *slot = node;
    return node;
}

static void add_input(weir_graph *graph, struct graph_node *node, struct graph_input input)
{
    struct graph_input *slot = vec_push(&node->inputs);
    if (slot == NULL) out_of_memory(graph, "the graph has no memory for the inputs of '%s'", node->spec.name);
    else *slot = input;
}

/* What to call the operator `node` in a mistake, and what keyed streams are called after. */
static const char *name_of(const weir_graph *graph, uint32_t node)
{
    const struct graph_node *at = graph->nodes.items[node];
    while (at->is_union && at->inputs.count > 0) at = graph->nodes.items[at->inputs.items[0].node];
    return at->is_union ? "union" : at->spec.name;
}

/* A stream must come from an earlier builder call on this graph: so there are no cycles. */
static bool is_stream_of(weir_graph *graph, struct weir_stream stream, uint32_t reader, const char *reader_name)
{
    if (stream.graph == graph && stream.node < reader &&
        stream.output <= graph->nodes.items[stream.node]->spec.output_count)
        return true;
    weir_graph_mistake(graph,
                       "operator '%s' reads a stream that is not of this graph: give it a stream that an earlier "
                       "weir_ call on the same graph returned",
                       reader_name);
    return false;
}

/* Makes `stream` an input of the newest node. A union's streams are taken one by one; what the union as a whole was
 * asked to be (weir_broadcast) holds for each of them. */
static void connect(weir_graph *graph, struct weir_stream stream, uint32_t port)
{
    const uint32_t reader = (uint32_t)graph->nodes.count - 1;
    struct graph_node *node = graph->nodes.items[reader];
    if (!is_stream_of(graph, stream, reader, node->is_union ? "union" : node->spec.name)) return;
    const struct graph_node *from = graph->nodes.items[stream.node];
    if (!from->is_union) {
        add_input(graph, node, (struct graph_input){ .node = stream.node, .output = stream.output, .port = port,
                                                     .exchange = stream.exchange });
        return;
    }
    for (size_t i = 0; i < from->inputs.count; i++) {
        struct graph_input input = from->inputs.items[i];
        input.port = port;
        if (stream.exchange != WEIR_EXCHANGE_AUTO) input.exchange = stream.exchange;
        add_input(graph, node, input);
    }
}

static void connect_keyed(weir_graph *graph, struct weir_keyed_stream stream, uint32_t port)
{
    connect(graph, (struct weir_stream){ .graph = stream.graph, .node = stream.node, .output = stream.output,
                                         .exchange = WEIR_EXCHANGE_KEY_GROUP }, port);
}

static struct weir_stream newest_stream(weir_graph *graph)
{
    return (struct weir_stream){ .graph = graph, .node = (uint32_t)graph->nodes.count - 1 };
}

/* ---- Options ----------------------------------------------------------------------------------------------------- */

/* Copies the part of `given` that both sides know: a caller that was compiled against another version of the header has
 * a shorter or a longer struct. What it does not know is zero. */
static bool copy_options(weir_graph *graph, void *options, size_t size, const void *given, const char *what)
{
    memset(options, 0, size);
    size_t size_given = 0;
    if (given != NULL) memcpy(&size_given, given, sizeof size_given);
    if (size_given < sizeof size_given) {
        weir_graph_mistake(graph,
                           "the options of a %s have no .size: call the macro weir_%s, or set .size to the size of "
                           "the struct",
                           what, what);
        return false;
    }
    memcpy(options, given, size_given < size ? size_given : size);
    return true;
}

static bool is_name(const char *name)
{
    const size_t size = strlen(name);
    if (size == 0 || size > GRAPH_NAME_SIZE_MAX) return false;
    for (const char *at = name; *at != '\0'; at++)
        if ((unsigned char)*at < 0x20 || *at == 0x7f || *at == '\'') return false;
    return true;
}

static bool has_operator(const weir_graph *graph, const char *name)
{
    for (size_t i = 0; i < graph->nodes.count; i++) {
        const struct graph_node *node = graph->nodes.items[i];
        if (!node->is_union && strcmp(node->spec.name, name) == 0) return true;
    }
    return false;
}

static const char *check_name(weir_graph *graph, const char *name, const char *what)
{
    if (name == NULL || name[0] == '\0')
        weir_graph_mistake(graph, "a %s has no name: give it a .name that is unique in the graph and never changes, "
                                  "because its state is stored under it", what);
    else if (!is_name(name))
        weir_graph_mistake(graph,
                           "the name '%.80s' of a %s cannot be used: take 1 to %d bytes without control characters "
                           "and single quotes",
                           name, what, GRAPH_NAME_SIZE_MAX);
    else if (has_operator(graph, name))
        weir_graph_mistake(
            graph, "two operators are called '%s': names are where state is stored, so give each its own", name);
    return name == NULL ? "?" : weir_graph_text(graph, name);
}

/* A new operator with what all kinds have in common. NULL when that is not possible; the mistake is noted. */
static struct graph_node *add_operator(weir_graph *graph, enum operator_kind kind, const char *what,
                                       const void *options)
{
    if (graph == NULL) return NULL;
    struct operator_fields fields;
    memcpy(&fields, options, sizeof fields);
    const char *name = check_name(graph, fields.name, what);
    struct graph_node *node = add_node(graph);
    if (node == NULL) return NULL;
    node->spec = (struct operator_spec){ .kind = kind, .name = name, .parallelism = fields.parallelism,
                                         .user = fields.user, .open = fields.open, .close = fields.close };
    return node;
}

static void require(weir_graph *graph, const struct graph_node *node, bool is_given, const char *field,
                    const char *what)
{
    if (!is_given)
        weir_graph_mistake(graph, "operator '%s' has no .%s: name the function that %s", node->spec.name, field, what);
}

/* ---- Outputs and states ------------------------------------------------------------------------------------------ */

static void check_output(weir_graph *graph, const struct operator_spec *spec, const struct weir_output *output)
{
    if (output->name == NULL || output->name[0] == '\0')
        weir_graph_mistake(graph, "a side output of operator '%s' has no name: set .name in its struct weir_output",
                           spec->name);
    for (uint32_t i = 0; i < spec->output_count; i++) {
        const char *other = spec->outputs[i]->name;
        if (other != NULL && output->name != NULL && strcmp(other, output->name) == 0)
            weir_graph_mistake(graph, "operator '%s' declares the side output '%s' twice: remove one from .outputs, or "
                                      "rename it", spec->name, output->name);
    }
}

static void copy_outputs(weir_graph *graph, struct graph_node *node,
                         const struct weir_output *const outputs[WEIR_OUTPUTS_MAX])
{
    for (uint32_t i = 0; i < WEIR_OUTPUTS_MAX && outputs[i] != NULL; i++) {
        check_output(graph, &node->spec, outputs[i]);
        node->spec.outputs[node->spec.output_count++] = outputs[i];
    }
}

static uint32_t value_size_bytes(enum weir_codec codec, uint32_t struct_size_bytes)
{
    switch (codec) {
    case WEIR_BYTES: return 0;
    case WEIR_I64: return sizeof(int64_t);
    case WEIR_F64: return sizeof(double);
    case WEIR_STRUCT: return struct_size_bytes;
    case WEIR_OBJECT: return 0;
    }
    return 0;
}

static struct state_declaration *add_state(struct operator_spec *spec, const char *name, enum weir_codec codec,
                                           uint32_t struct_size_bytes)
{
    struct state_declaration *state = &spec->states[spec->state_count++];
    *state = (struct state_declaration){ .kind = WEIR_STATE_VALUE, .codec = codec,
                                         .value_size_bytes = value_size_bytes(codec, struct_size_bytes) };
    snprintf(state->name, sizeof state->name, "%s", name);
    return state;
}

static void check_object(weir_graph *graph, const char *operator_name, const struct weir_state *state)
{
    const struct weir_object *object = state->object;
    if (object == NULL || object->name == NULL || !is_name(object->name) || object->size_bytes == 0 ||
        object->encode == NULL || object->decode == NULL)
        weir_graph_mistake(graph, "state '%s' of operator '%s' holds objects without a form: set .object to a struct "
                                  "weir_object with .name, .size_bytes, .encode and .decode", state->name, operator_name);
}

/* What each kind and codec asks for. */
static void check_state_parts(weir_graph *graph, const char *operator_name, const struct weir_state *state)
{
    const bool is_aggregating = state->kind == WEIR_STATE_AGGREGATING;
    if (state->codec == WEIR_STRUCT && state->struct_size_bytes == 0)
        weir_graph_mistake(graph, "state '%s' of operator '%s' is a struct without a size: set .struct_size_bytes = "
                                  "sizeof(struct ...)", state->name, operator_name);
    if (state->codec == WEIR_OBJECT) check_object(graph, operator_name, state);
    if (state->kind == WEIR_STATE_REDUCING && state->reduce == NULL)
        weir_graph_mistake(graph, "state '%s' of operator '%s' has no .reduce: name the function that combines two "
                                  "values", state->name, operator_name);
    if (is_aggregating && (state->aggregator == NULL || state->aggregator->add == NULL ||
                           state->aggregator->result == NULL))
        weir_graph_mistake(graph, "state '%s' of operator '%s' has no aggregator: set .aggregator to a struct "
                                  "weir_aggregator with .add and .result", state->name, operator_name);
    if (is_aggregating && state->codec == WEIR_BYTES)
        weir_graph_mistake(graph, "the accumulator of state '%s' of operator '%s' is bytes, which cannot be changed: "
                                  "set .codec to WEIR_I64, WEIR_F64, WEIR_STRUCT or WEIR_OBJECT", state->name,
                           operator_name);
}

/* Longer is for ever, and would overflow some day. */
#define TTL_MS_MAX (INT64_C(1000) * 366 * 24 * 3600 * 1000)

static void check_ttl(weir_graph *graph, const char *operator_name, const struct weir_state *state)
{
    if (state->ttl == NULL) return;
    if (state->ttl->duration_ms <= 0 || state->ttl->duration_ms > TTL_MS_MAX)
        weir_graph_mistake(graph, "the values of state '%s' of operator '%s' are to live for %" PRId64 " ms: set "
                                  ".duration_ms of its .ttl to 1 or more, 1000 years at most", state->name, operator_name,
                           state->ttl->duration_ms);
    if (state_kind_is_own(state->kind))
        weir_graph_mistake(graph, "state '%s' of operator '%s' has a time to live, and is the operator's own: only state of "
                                  "keys expires; remove its .ttl", state->name, operator_name);
}

static void check_state(weir_graph *graph, const struct operator_spec *spec, const struct weir_state *state)
{
    if (state->name == NULL || !is_name(state->name)) {
        weir_graph_mistake(graph,
                           "a state of operator '%s' has no usable name: set .name in its struct weir_state, 1 to "
                           "%d bytes without control characters and single quotes",
                           spec->name, GRAPH_NAME_SIZE_MAX);
        return;
    }
    if (state->kind > WEIR_STATE_BROADCAST || state->codec > WEIR_OBJECT)
        weir_graph_mistake(graph, "state '%s' of operator '%s' is of a kind or codec that this version does not know",
                           state->name, spec->name);
    if (!operator_is_keyed(spec) && !state_kind_is_own(state->kind))
        weir_graph_mistake(graph, "state '%s' of operator '%s' is of a key, and the operator has none: put weir_key_by "
                                  "before it, or set .kind to a kind of the operator itself", state->name, spec->name);
    check_state_parts(graph, spec->name, state);
    check_ttl(graph, spec->name, state);
    for (uint32_t i = 0; i < spec->state_count; i++)
        if (strcmp(spec->states[i].name, state->name) == 0)
            weir_graph_mistake(graph,
                               "operator '%s' declares the state '%s' twice: remove one from .states, or rename it",
                               spec->name, state->name);
}

enum { TTL_CLEAN_UP_DEFAULT = 5, TTL_CLEAN_UP_MAX = 1000 };

static void copy_ttl(struct state_declaration *state, const struct weir_ttl *ttl)
{
    if (ttl == NULL) return;
    state->ttl_ms = ttl->duration_ms;
    state->ttl_on_read = ttl->on_read;
    state->ttl_shows_expired = ttl->shows_expired;
    state->ttl_clean_up = ttl->clean_up == 0 ? TTL_CLEAN_UP_DEFAULT : ttl->clean_up;
    if (ttl->clean_up > TTL_CLEAN_UP_MAX) state->ttl_clean_up = TTL_CLEAN_UP_MAX;
    if (ttl->clean_up == WEIR_TTL_NO_CLEAN_UP) state->ttl_clean_up = 0;
}

static void copy_states(weir_graph *graph, struct graph_node *node,
                        const struct weir_state *const states[WEIR_STATES_MAX])
{
    struct operator_spec *spec = &node->spec;
    for (uint32_t i = 0; i < WEIR_STATES_MAX && states[i] != NULL; i++) {
        check_state(graph, spec, states[i]);
        spec->state_tags[i] = states[i];
        struct state_declaration *added = add_state(spec, states[i]->name == NULL ? "?" : states[i]->name,
                                                    states[i]->codec, states[i]->struct_size_bytes);
        added->kind = states[i]->kind;
        added->version = states[i]->version;
        added->migrates = states[i]->migrate != NULL;
        copy_ttl(added, states[i]->ttl);
        spec->has_own_state |= state_kind_is_own(added->kind);
    }
}

/* Once the inputs are connected: which of them bring every subtask the same. */
static void note_broadcast(weir_graph *graph, struct graph_node *node)
{
    struct operator_spec *spec = &node->spec;
    uint8_t others = 0;
    for (size_t i = 0; i < node->inputs.count; i++) {
        const struct graph_input *input = &node->inputs.items[i];
        const uint8_t port = (uint8_t)(1u << input->port);
        if (input->exchange == WEIR_EXCHANGE_BROADCAST) spec->broadcast_ports |= port;
        else others |= port;
    }
    spec->broadcast_ports &= (uint8_t)~others;
    for (uint32_t i = 0; i < spec->state_count; i++)
        if (spec->states[i].kind == WEIR_STATE_BROADCAST && spec->broadcast_ports == 0)
            weir_graph_mistake(graph, "operator '%s' declares the broadcast state '%s' and has no input that is broadcast, "
                                      "so nothing could be put into it: wrap the input that fills it in weir_broadcast",
                               spec->name, spec->states[i].name);
}

/* ---- Plain streams ----------------------------------------------------------------------------------------------- */

struct weir_stream weir_map_(struct weir_stream input, const struct weir_map_options *given)
{
    weir_graph *graph = input.graph;
    struct weir_map_options options;
    if (graph == NULL || !copy_options(graph, &options, sizeof options, given, "map")) return input;
    struct graph_node *node = add_operator(graph, OPERATOR_MAP, "map", &options);
    if (node == NULL) return input;
    node->spec.map = options.map;
    require(graph, node, options.map != NULL, "map", "changes a record");
    copy_states(graph, node, options.states);
    connect(graph, input, 0);
    note_broadcast(graph, node);
    return newest_stream(graph);
}

struct weir_stream weir_filter_(struct weir_stream input, const struct weir_filter_options *given)
{
    weir_graph *graph = input.graph;
    struct weir_filter_options options;
    if (graph == NULL || !copy_options(graph, &options, sizeof options, given, "filter")) return input;
    struct graph_node *node = add_operator(graph, OPERATOR_FILTER, "filter", &options);
    if (node == NULL) return input;
    node->spec.filter = options.filter;
    require(graph, node, options.filter != NULL, "filter", "says which records pass");
    copy_states(graph, node, options.states);
    connect(graph, input, 0);
    note_broadcast(graph, node);
    return newest_stream(graph);
}

struct weir_stream weir_process_(struct weir_stream input, const struct weir_process_options *given)
{
    weir_graph *graph = input.graph;
    struct weir_process_options options;
    if (graph == NULL || !copy_options(graph, &options, sizeof options, given, "process")) return input;
    struct graph_node *node = add_operator(graph, OPERATOR_PROCESS, "process", &options);
    if (node == NULL) return input;
    node->spec.process.first = options.process;
    node->spec.process.finish = options.finish;
    require(graph, node, options.process != NULL, "process", "takes a record and emits any number");
    copy_states(graph, node, options.states);
    copy_outputs(graph, node, options.outputs);
    connect(graph, input, 0);
    note_broadcast(graph, node);
    return newest_stream(graph);
}

struct weir_stream weir_co_process_(struct weir_stream first, struct weir_stream second,
                                    const struct weir_co_process_options *given)
{
    weir_graph *graph = first.graph;
    struct weir_co_process_options options;
    if (graph == NULL || !copy_options(graph, &options, sizeof options, given, "co_process")) return first;
    struct graph_node *node = add_operator(graph, OPERATOR_CO_PROCESS, "co_process", &options);
    if (node == NULL) return first;
    node->spec.process.first = options.first;
    node->spec.process.second = options.second;
    node->spec.process.finish = options.finish;
    require(graph, node, options.first != NULL, "first", "takes a record of the first input");
    require(graph, node, options.second != NULL, "second", "takes a record of the second input");
    copy_states(graph, node, options.states);
    copy_outputs(graph, node, options.outputs);
    connect(graph, first, 0);
    connect(graph, second, 1);
    note_broadcast(graph, node);
    return newest_stream(graph);
}

/* ---- Streams that no operator makes ------------------------------------------------------------------------------ */

struct weir_stream weir_rebalance(struct weir_stream stream)
{
    stream.exchange = WEIR_EXCHANGE_REBALANCE;
    return stream;
}

struct weir_stream weir_broadcast(struct weir_stream stream)
{
    stream.exchange = WEIR_EXCHANGE_BROADCAST;
    return stream;
}

struct weir_stream weir_side_output(struct weir_stream stream, const struct weir_output *output)
{
    weir_graph *graph = stream.graph;
    if (graph == NULL || stream.node >= graph->nodes.count) return stream;
    const struct operator_spec *spec = &graph->nodes.items[stream.node]->spec;
    for (uint32_t i = 0; i < spec->output_count; i++) {
        if (spec->outputs[i] != output) continue;
        stream.output = i + 1;
        stream.exchange = WEIR_EXCHANGE_AUTO;
        return stream;
    }
    weir_graph_mistake(graph, "operator '%s' has no side output '%s': list it in its .outputs",
                       name_of(graph, stream.node), output == NULL || output->name == NULL ? "?" : output->name);
    return stream;
}

struct weir_stream weir_union_(const struct weir_stream *inputs, size_t count)
{
    weir_graph *graph = inputs == NULL || count == 0 ? NULL : inputs[0].graph;
    if (graph == NULL) return (struct weir_stream){ 0 };
    struct graph_node *node = add_node(graph);
    if (node == NULL) return inputs[0];
    node->is_union = true;
    for (size_t i = 0; i < count; i++) connect(graph, inputs[i], 0);
    if (count < 2 || node->inputs.count > GRAPH_UNION_MAX)
        weir_graph_mistake(graph, "a union of %zu streams, those of unions in it counted: give weir_union 2 to %d",
                           node->inputs.count, GRAPH_UNION_MAX);
    return newest_stream(graph);
}

/* ---- Keyed streams ----------------------------------------------------------------------------------------------- */

static const char *key_by_name(weir_graph *graph, const char *input)
{
    char name[GRAPH_NAME_SIZE_MAX + 32];
    snprintf(name, sizeof name, "%s-key-by", input);
    for (unsigned i = 2; has_operator(graph, name); i++) snprintf(name, sizeof name, "%s-key-by-%u", input, i);
    return weir_graph_text(graph, name);
}

/* Keys are computed where the record is, before it is sent: the node always runs in the chain of its input, and how the
 * stream was asked to travel (weir_rebalance) no longer matters. */
static void add_key_by(weir_graph *graph, struct weir_stream input, const struct weir_key_by_options *options)
{
    const char *name = key_by_name(graph, name_of(graph, input.node));
    struct graph_node *node = add_node(graph);
    if (node == NULL) return;
    node->spec = (struct operator_spec){ .kind = OPERATOR_KEY_BY, .name = name, .user = options->user };
    node->spec.key_by.key = options->key;
    node->spec.key_by.null_key = options->null_key;
    input.exchange = WEIR_EXCHANGE_FORWARD;
    connect(graph, input, 0);
}

/* The union of one key_by for each stream of a union, so that each stays in the chain of its input. */
static void add_key_by_of_union(weir_graph *graph, uint32_t input, const struct weir_key_by_options *options)
{
    const struct graph_node *from = graph->nodes.items[input];
    struct weir_stream keyed[GRAPH_UNION_MAX];
    size_t count = 0;
    for (size_t i = 0; i < from->inputs.count && count < GRAPH_UNION_MAX; i++) {
        const struct graph_input *one = &from->inputs.items[i];
        add_key_by(graph, (struct weir_stream){ .graph = graph, .node = one->node, .output = one->output }, options);
        keyed[count++] = newest_stream(graph);
    }
    struct graph_node *node = add_node(graph);
    if (node == NULL) return;
    node->is_union = true;
    for (size_t i = 0; i < count; i++) connect(graph, keyed[i], 0);
}

struct weir_keyed_stream weir_key_by_(struct weir_stream input, const struct weir_key_by_options *given)
{
    weir_graph *graph = input.graph;
    const struct weir_keyed_stream nowhere = { .graph = graph, .node = input.node };
    struct weir_key_by_options options;
    if (graph == NULL || !copy_options(graph, &options, sizeof options, given, "key_by")) return nowhere;
    if (!is_stream_of(graph, input, (uint32_t)graph->nodes.count, "key_by")) return nowhere;
    if (graph->nodes.items[input.node]->is_union) add_key_by_of_union(graph, input.node, &options);
    else add_key_by(graph, input, &options);
    return (struct weir_keyed_stream){ .graph = graph, .node = (uint32_t)graph->nodes.count - 1 };
}

static struct weir_stream plain(struct weir_keyed_stream stream)
{
    return (struct weir_stream){ .graph = stream.graph, .node = stream.node, .output = stream.output };
}

struct weir_stream weir_keyed_process_(struct weir_keyed_stream input, const struct weir_keyed_process_options *given)
{
    weir_graph *graph = input.graph;
    struct weir_keyed_process_options options;
    if (graph == NULL || !copy_options(graph, &options, sizeof options, given, "keyed_process")) return plain(input);
    struct graph_node *node = add_operator(graph, OPERATOR_KEYED_PROCESS, "keyed_process", &options);
    if (node == NULL) return plain(input);
    node->spec.keyed.first = options.process;
    node->spec.emit = options.emit;
    require(graph, node, options.process != NULL, "process", "takes a record and emits any number");
    copy_states(graph, node, options.states);
    copy_outputs(graph, node, options.outputs);
    connect_keyed(graph, input, 0);
    note_broadcast(graph, node);
    return newest_stream(graph);
}

struct weir_stream weir_reduce_(struct weir_keyed_stream input, const struct weir_reduce_options *given)
{
    weir_graph *graph = input.graph;
    struct weir_reduce_options options;
    if (graph == NULL || !copy_options(graph, &options, sizeof options, given, "reduce")) return plain(input);
    struct graph_node *node = add_operator(graph, OPERATOR_REDUCE, "reduce", &options);
    if (node == NULL) return plain(input);
    node->spec.reduce = options.reduce;
    node->spec.emit = options.emit;
    require(graph, node, options.reduce != NULL, "reduce", "combines two values of a key");
    add_state(&node->spec, "accumulator", WEIR_BYTES, 0);
    connect_keyed(graph, input, 0);
    return newest_stream(graph);
}

static void check_accumulator(weir_graph *graph, const char *name, const struct weir_aggregate_options *options)
{
    if (options->accumulator == WEIR_BYTES || options->accumulator > WEIR_STRUCT)
        weir_graph_mistake(graph,
                           "operator '%s' has no accumulator of fixed size: set .accumulator to WEIR_I64, WEIR_F64 "
                           "or WEIR_STRUCT",
                           name);
    else if (options->accumulator == WEIR_STRUCT && options->struct_size_bytes == 0)
        weir_graph_mistake(graph,
                           "the accumulator of operator '%s' is a struct without a size: set .struct_size_bytes = "
                           "sizeof(struct ...)",
                           name);
    else if (options->accumulator != WEIR_I64 && options->result == NULL)
        weir_graph_mistake(graph, "operator '%s' has no .result: name the function that emits the accumulator (only "
                                  "WEIR_I64 is emitted without one, as decimal text)", name);
}

struct weir_stream weir_aggregate_(struct weir_keyed_stream input, const struct weir_aggregate_options *given)
{
    weir_graph *graph = input.graph;
    struct weir_aggregate_options options;
    if (graph == NULL || !copy_options(graph, &options, sizeof options, given, "aggregate")) return plain(input);
    struct graph_node *node = add_operator(graph, OPERATOR_AGGREGATE, "aggregate", &options);
    if (node == NULL) return plain(input);
    node->spec.aggregate.add = options.add;
    node->spec.aggregate.result = options.result;
    node->spec.emit = options.emit;
    require(graph, node, options.add != NULL, "add", "adds a record to the accumulator");
    check_accumulator(graph, node->spec.name, &options);
    add_state(&node->spec, "accumulator", options.accumulator, options.struct_size_bytes);
    connect_keyed(graph, input, 0);
    return newest_stream(graph);
}

static struct graph_node *add_keyed_co(weir_graph *graph, const struct weir_keyed_co_process_options *given,
                                       const char *what)
{
    struct weir_keyed_co_process_options options;
    if (graph == NULL || !copy_options(graph, &options, sizeof options, given, what)) return NULL;
    struct graph_node *node = add_operator(graph, OPERATOR_KEYED_CO_PROCESS, what, &options);
    if (node == NULL) return NULL;
    node->spec.keyed.first = options.first;
    node->spec.keyed.second = options.second;
    require(graph, node, options.first != NULL, "first", "takes a record of the first input");
    require(graph, node, options.second != NULL, "second", "takes a record of the second input");
    copy_states(graph, node, options.states);
    copy_outputs(graph, node, options.outputs);
    return node;
}

struct weir_stream weir_keyed_co_process_(struct weir_keyed_stream first, struct weir_keyed_stream second,
                                          const struct weir_keyed_co_process_options *given)
{
    struct graph_node *node = add_keyed_co(first.graph, given, "keyed_co_process");
    if (node == NULL) return plain(first);
    connect_keyed(first.graph, first, 0);
    connect_keyed(first.graph, second, 1);
    note_broadcast(first.graph, node);
    return newest_stream(first.graph);
}

struct weir_stream weir_keyed_broadcast_process_(struct weir_keyed_stream first, struct weir_stream second,
                                                 const struct weir_keyed_co_process_options *given)
{
    struct graph_node *node = add_keyed_co(first.graph, given, "keyed_broadcast_process");
    if (node == NULL) return plain(first);
    node->spec.second_is_broadcast = true;
    connect_keyed(first.graph, first, 0);
    connect(first.graph, weir_broadcast(second), 1);
    note_broadcast(first.graph, node);
    return newest_stream(first.graph);
}

/* ---- Connectors -------------------------------------------------------------------------------------------------- */

static const void *copy_connector_options(weir_graph *graph, const char *name, const void *options, size_t size)
{
    if (options == NULL || size == 0) return NULL;
    void *copy = arena_alloc(&graph->arena, size);
    if (copy == NULL) out_of_memory(graph, "the graph has no memory for the options of '%s'", name);
    else memcpy(copy, options, size);
    return copy;
}

struct weir_stream weir_source_(weir_graph *graph, const struct weir_source_options *given)
{
    struct weir_source_options options;
    const struct weir_stream nowhere = { .graph = graph };
    if (graph == NULL || !copy_options(graph, &options, sizeof options, given, "source")) return nowhere;
    struct graph_node *node = add_operator(graph, OPERATOR_SOURCE, "source", &options);
    if (node == NULL) return nowhere;
    node->spec.source.type = options.type;
    node->spec.source.options = copy_connector_options(graph, node->spec.name, options.options, options.options_size);
    if (options.type == NULL)
        weir_graph_mistake(graph, "source '%s' has no .type: use the call of its connector, such as weir_kafka_source",
                           node->spec.name);
    return newest_stream(graph);
}

void weir_sink_(struct weir_stream input, const struct weir_sink_options *given)
{
    weir_graph *graph = input.graph;
    struct weir_sink_options options;
    if (graph == NULL || !copy_options(graph, &options, sizeof options, given, "sink")) return;
    struct graph_node *node = add_operator(graph, OPERATOR_SINK, "sink", &options);
    if (node == NULL) return;
    node->spec.sink.type = options.type;
    node->spec.sink.options = copy_connector_options(graph, node->spec.name, options.options, options.options_size);
    if (options.type == NULL)
        weir_graph_mistake(graph, "sink '%s' has no .type: use the call of its connector, such as weir_kafka_sink",
                           node->spec.name);
    connect(graph, input, 0);
}
