#include <string.h>

#include "runtime/job.h"

/* flight.h says what flights are. In a frame they lie by operator, those of the receivers before those of the senders, so
 * that the records of a channel keep their order. */

/* As in Flink, at least once nothing is aligned that could be overtaken. */
bool job_is_unaligned(const struct weir_job *job)
{
    return job->exactly_once && weir_config_bool(job->config, "execution.checkpointing.unaligned.enabled");
}

void job_take_flight(struct weir_job *job, struct letter_from_task *letter)
{
    const uint32_t index = job->vertex_first[letter->vertex] + letter->subtask;
    const uint64_t epoch = letter->epoch;
    const bool holds = letter->flights.items.count > 0;
    struct letter_from_task **slot = holds ? vec_push(&job->flights) : NULL;
    if (slot != NULL) *slot = letter;
    else letter_destroy(&letter->mail);
    if (holds && slot == NULL) {
        job_no_memory(job, "records in flight");
        return;
    }
    struct coordinator_event event = { .type = COORDINATOR_ON_FLIGHT, .epoch = epoch, .subtask = index };
    job_coordinator_event(job, &event);
}

void job_drop_flights(struct weir_job *job)
{
    for (size_t i = 0; i < job->flights.count; i++) letter_destroy(&job->flights.items[i]->mail);
    job->flights.count = 0;
}

/* ---- Into a frame ------------------------------------------------------------------------------------------------------ */

/* The edge that a router of a vertex leads to. */
static const struct plan_edge *edge_of(const struct plan *plan, uint32_t vertex, uint32_t router)
{
    for (uint32_t e = 0; e < plan->edge_count; e++)
        if (plan->edges[e].source_vertex == vertex && plan->edges[e].source_router == router) return &plan->edges[e];
    CHECK(!"a router that leads nowhere");
    return NULL;
}

/* What an entry of a chain leads to: one input of one operator. */
static const struct chain_target *target_of(const struct chain_plan *chain, uint32_t entry)
{
    CHECK(chain->entries[entry].count == 1 && !chain->entries[entry].items[0].is_router);
    return &chain->entries[entry].items[0];
}

/* Records for that input go by their keys, whatever the parallelism. */
static bool is_by_key(const struct operator_spec *spec, uint32_t port)
{
    return operator_is_keyed(spec) && !(port == 1 && spec->second_is_broadcast);
}

static bool has_order_of_its_own(const struct plan *plan, const struct plan_edge *edge)
{
    const struct chain_plan *chain = &plan->vertices[edge->target_vertex].chain;
    const struct chain_target *target = target_of(chain, edge->target_input);
    return edge->exchange == WEIR_EXCHANGE_BROADCAST ||
           (edge->exchange == WEIR_EXCHANGE_FORWARD && !is_by_key(chain->stages[target->index].spec, target->port));
}

bool job_keeps_order(const struct plan *plan, const struct plan_edge *edge)
{
    bool keeps = has_order_of_its_own(plan, edge);
    for (uint32_t e = 0; !keeps && e < plan->edge_count; e++)
        keeps = plan->edges[e].target_vertex == edge->source_vertex && job_keeps_order(plan, &plan->edges[e]);
    return keeps;
}

/* Whom the records of an entry are for. */
static struct manifest_flight addressed(const struct weir_job *job, const struct letter_from_task *letter,
                                        const struct flight *flight)
{
    const struct plan_edge *edge = flight->is_sent ? edge_of(job->plan, letter->vertex, flight->place) : NULL;
    const struct chain_plan *chain = &job->plan->vertices[edge != NULL ? edge->target_vertex : letter->vertex].chain;
    const struct chain_target *target = target_of(chain, edge != NULL ? edge->target_input : flight->place);
    return (struct manifest_flight){ .operator_name = chain->stages[target->index].spec->name,
                                     .port = target->port,
                                     .subtask = flight->subtask,
                                     .record_count = flight->count,
                                     .records = { flight->bytes.data, flight->bytes.size } };
}

static void fill_from(const struct weir_job *job, bool are_sent, struct manifest *manifest)
{
    for (size_t i = 0; i < job->flights.count; i++) {
        const struct letter_from_task *letter = job->flights.items[i];
        for (size_t k = 0; k < letter->flights.items.count; k++)
            if (letter->flights.items.items[k].is_sent == are_sent)
                manifest->flights[manifest->flight_count++] = addressed(job, letter, &letter->flights.items.items[k]);
    }
}

bool job_fill_flights(struct weir_job *job, struct manifest *manifest)
{
    size_t count = 0;
    for (size_t i = 0; i < job->flights.count; i++) count += job->flights.items[i]->flights.items.count;
    if (count == 0) return true;
    manifest->flights = arena_alloc(&job->closing.arena, count * sizeof(*manifest->flights));
    if (manifest->flights == NULL) return false;
    fill_from(job, false, manifest);
    fill_from(job, true, manifest);
    return true;
}

/* ---- Out of one -------------------------------------------------------------------------------------------------------- */

struct destination {
    uint32_t vertex, stage;
    const struct operator_spec *spec;
};

static bool is_for(const struct manifest_flight *flight, const struct operator_spec *spec)
{
    return strcmp(flight->operator_name, spec->name) == 0 && flight->port < operator_port_count(spec);
}

static uint32_t subtask_for(const struct weir_job *job, const struct destination *to,
                            const struct manifest_flight *flight, const struct weir_record *record)
{
    const uint32_t parallelism = job->plan->vertices[to->vertex].parallelism, groups = job->plan->max_parallelism;
    if (!is_by_key(to->spec, flight->port)) return flight->subtask % parallelism;
    return key_group_subtask(key_group_of(record->key_hash, groups), groups, parallelism);
}

static enum weir_code replay_flight(struct weir_job *job, const struct destination *to,
                                    const struct manifest_flight *flight, struct weir_error *error)
{
    struct reader in;
    struct arena arena;
    struct weir_record record;
    uint32_t count = 0;
    bool no_memory = false;
    reader_init(&in, flight->records.data, flight->records.size);
    arena_init(&arena, 4 * 1024);
    while (wire_take(&in, &arena, &record, &no_memory)) {
        struct task *task = job->tasks.items[job->vertex_first[to->vertex] + subtask_for(job, to, flight, &record)];
        no_memory = !task_replay(task, to->stage, flight->port, &record);
        if (no_memory) break;
        arena_reset(&arena);
        count++;
    }
    arena_deinit(&arena);
    if (no_memory) return weir_error_set(error, WEIR_NO_MEMORY, WEIR_REMEDY_REPLAY, "no memory for records in flight");
    if (!in.failed && count == flight->record_count) return WEIR_OK;
    return weir_error_set(error, WEIR_DAMAGED, WEIR_REMEDY_STOP,
                          "the records in flight to operator '%s' do not follow the format: %u of %u could be read",
                          flight->operator_name, count, flight->record_count);
}

static enum weir_code replay_for(struct weir_job *job, const struct destination *to, const struct manifest *manifest,
                                 struct weir_error *error)
{
    enum weir_code code = WEIR_OK;
    for (size_t i = 0; code == WEIR_OK && i < manifest->flight_count; i++)
        if (is_for(&manifest->flights[i], to->spec)) code = replay_flight(job, to, &manifest->flights[i], error);
    return code;
}

static bool is_claimed(const struct plan *plan, const struct manifest_flight *flight)
{
    for (uint32_t v = 0; v < plan->vertex_count; v++)
        for (uint32_t s = 0; s < plan->vertices[v].chain.stage_count; s++)
            if (is_for(flight, plan->vertices[v].chain.stages[s].spec)) return true;
    return false;
}

static enum weir_code claim_flights(const struct weir_job *job, const struct manifest *manifest, struct weir_error *error)
{
    if (weir_config_bool(job->config, "execution.savepoint.ignore-unclaimed-state")) return WEIR_OK;
    for (size_t i = 0; i < manifest->flight_count; i++) {
        const struct manifest_flight *flight = &manifest->flights[i];
        if (is_claimed(job->plan, flight)) continue;
        return weir_error_set(error, WEIR_FOREIGN, WEIR_REMEDY_STOP,
                              "%u records were on their way to operator '%s', input %u, when the checkpoint was taken, and "
                              "the job has no such operator. Bring it back and stop the job, whose last checkpoint then has "
                              "no records in flight, or give them up with execution.savepoint.ignore-unclaimed-state",
                              flight->record_count, flight->operator_name, flight->port);
    }
    return WEIR_OK;
}

/* Where two operators are in one chain now, what was on its way to the later one came first. */
enum weir_code job_replay_flights(struct weir_job *job, const struct manifest *manifest, struct weir_error *error)
{
    enum weir_code code = claim_flights(job, manifest, error);
    for (uint32_t v = 0; manifest->flight_count > 0 && v < job->plan->vertex_count; v++) {
        const struct chain_plan *chain = &job->plan->vertices[v].chain;
        for (uint32_t s = chain->stage_count; code == WEIR_OK && s-- > 0;) {
            const struct destination to = { .vertex = v, .stage = s, .spec = chain->stages[s].spec };
            code = replay_for(job, &to, manifest, error);
        }
    }
    return code;
}
