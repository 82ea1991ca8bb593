/* Graph: what the user declared, and what runs.
 *
 *   builder.c   weir_map_(input, options) ... ──> nodes: operator_spec + inputs (node, output, exchange, port)
 *   plan.h      graph ──check──> plan: chains, routers, edges       (what the runtime reads)
 *   explain.c   both as text; explain_json.c: as JSON
 *
 * This header is the inside of a graph; other folders include plan.h. Owner: the thread that builds; nothing changes
 * once a plan has been made.
 *
 * Invariants
 *   1. An input names a node that was there before: nodes are in topological order, and there are no cycles.
 *   2. No input names a union: a union is a list of streams under one number, and is expanded when it is read.
 *   3. `mistake` is the first one made; a graph with a mistake is never planned.
 *   4. A spec does not change once its builder call has returned, and stays where it is as long as the graph lives. */
#ifndef GRAPH_GRAPH_H
#define GRAPH_GRAPH_H

#include "graph/plan.h"

#define GRAPH_NAME_SIZE_MAX 63 /* bytes: names travel in ledgers and manifests */
#define GRAPH_UNION_MAX 16

struct graph_input {
    uint32_t node;
    uint32_t output; /* 0 = main, 1.. = side outputs */
    uint32_t port;   /* 1 = the second input of a co_process */
    enum weir_exchange exchange;
};

struct graph_node {
    struct operator_spec spec; /* of a union: all zero */
    bool is_union;
    VEC(struct graph_input) inputs;
};

struct weir_graph {
    VEC(struct graph_node *) nodes;
    struct arena arena; /* nodes, texts, connector options */
    struct weir_error mistake;
};

/* How a graph is explained: an operator that is no union and no key_by, and the one that an input is named by, with the side
 * output (NULL = the main one). A key_by is named by what it reads. */
bool graph_is_shown(const struct graph_node *node);
const char *graph_input_from(const weir_graph *graph, const struct graph_input *input, const char **output);

#endif
