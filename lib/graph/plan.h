/* From what the user declared to what runs.
 *
 *   graph (nodes, inputs) ──check──> plan: vertices (chains x parallelism), edges (router kind -> channels)
 *
 * An operator joins the chain that it reads from when every input of it is a FORWARD edge (so both sides have the same
 * parallelism) out of that one chain; with parallelism 1 on both sides key_by and broadcast are forward too, so that a
 * whole job can be one chain in one task. A key_by always runs in the chain of its input. */
#ifndef GRAPH_PLAN_H
#define GRAPH_PLAN_H

#include "operator/chain.h"

struct plan_edge {
    uint32_t source_vertex;
    uint32_t source_router;  /* index of the router in the source's chain plan */
    uint32_t target_vertex;
    uint32_t target_input;   /* index into the target's chain entries */
    enum weir_exchange exchange; /* never AUTO */
};

struct plan_vertex {
    char name[128];          /* "lines -> split -> count" */
    uint32_t parallelism;
    struct chain_plan chain;
    const struct operator_spec *source; /* when the chain begins with one; it is no stage of the chain */
};

struct plan {
    uint32_t max_parallelism;
    uint32_t vertex_count;
    struct plan_vertex *vertices; /* in topological order */
    uint32_t edge_count;
    struct plan_edge *edges;
    /* Of what a checkpoint must fit: names, kinds and states of the operators that have something in one (sources,
     * sinks, operators with states). Not of parallelism, not of the order in which they were declared. */
    uint64_t hash;
    const struct weir_decider_type *decider; /* NULL = no connector asks for one */
    const void *decider_options;             /* options of the connector that asked first: sinks before sources */
};

struct plan_options {
    uint32_t parallelism;     /* of operators that do not say */
    uint32_t max_parallelism; /* key groups; 0 = plan_max_parallelism_default of the largest parallelism in the graph */
    bool chaining;            /* false: every operator its own task (pipeline.operator-chaining.enabled) */
};

#define PLAN_MAX_PARALLELISM_MAX 32768

/* Flink's choice: the power of two at or above 1.5 times `parallelism`, within 128 and 32768. */
uint32_t plan_max_parallelism_default(uint32_t parallelism);

/* Refuses a graph with a mistake (duplicate or missing names, no source, no sink, cycles, parallelism above
 * max_parallelism, undeclared or duplicate states, two deciders ...), each with a sentence that says what to do. The
 * plan borrows the graph. */
enum weir_code plan_create(const weir_graph *graph, const struct plan_options *options, struct plan **plan,
                           struct weir_error *error);
/* The same with the options that `config` says, and with what the sources have to say to it. */
enum weir_code plan_configure(const weir_graph *graph, const weir_config *config, struct plan **plan,
                              struct weir_error *error);
void plan_destroy(struct plan *plan);

/* "source", "keyed_process" ... */
const char *operator_kind_text(const struct operator_spec *spec);
const char *operator_connector(const struct operator_spec *spec); /* "kafka"; NULL = it is no source and no sink */
const char *plan_exchange_name(enum weir_exchange exchange);           /* "forward", "key_group" ... */
/* The job graph and the execution plan as text (without a NUL), for --plan. False when out of memory. */
bool plan_explain(const weir_graph *graph, const struct plan *plan, struct buffer *text);
/* The plan of `job` as one JSON object, shaped as Flink's (without a NUL). False when out of memory. */
bool plan_json(const struct plan *plan, const char *job, struct buffer *json);

#endif
