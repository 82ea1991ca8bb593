/* Making a chain: who receives what a stage emits, what is known of it ahead, opening and closing. */
#include <stdlib.h>
#include <string.h>

#include "operator/coalesce.h"
#include "operator/stage.h"

enum { SCRATCH_CHUNK_BYTES = 16 * 1024, ARENA_CHUNK_BYTES = 8 * 1024 };

/* ---- Receivers that are no operators ----------------------------------------------------------------------------- */

/* An output that nobody reads. */
static enum weir_code drop(void *receiver, const struct weir_record *record)
{
    (void)receiver;
    (void)record;
    return WEIR_OK;
}

static enum weir_code fan_receive(void *receiver, const struct weir_record *record)
{
    const struct stage_fan *fan = receiver;
    for (uint32_t i = 0; i < fan->count; i++) {
        const enum weir_code code = fan->outputs[i].receive(fan->outputs[i].receiver, record);
        if (UNLIKELY(code != WEIR_OK)) return code;
    }
    return WEIR_OK;
}

enum weir_code chain_fail_for_memory(struct chain *chain, const char *what)
{
    if (chain->error.code == WEIR_OK)
        weir_error_set(&chain->error, WEIR_NO_MEMORY, WEIR_REMEDY_REPLAY, "task '%s', subtask %u: no memory for %s",
                       chain->vertex_name, chain->subtask_index, what);
    chain->attention = true;
    return chain->error.code;
}

static enum weir_code router_receive(void *receiver, const struct weir_record *record)
{
    const struct stage_router *target = receiver;
    if (UNLIKELY(!router_emit(target->router, record))) return chain_fail_for_memory(target->chain, "a batch");
    if (UNLIKELY(router_is_blocked(target->router))) target->chain->attention = true;
    return WEIR_OK;
}

static enum weir_code sink_receive(void *receiver, const struct weir_record *record)
{
    struct weir_task *task = receiver;
    struct chain *chain = task->chain;
    if (UNLIKELY(chain->error.code != WEIR_OK)) return chain->error.code;
    const struct weir_sink_type *type = task->spec->sink.type;
    struct weir_error error; /* a thousand bytes: not cleared for each record */
    error.code = WEIR_OK;
    if (UNLIKELY(type->writer_write(task->writer, record, &error) != WEIR_OK)) return stage_fail_with(task, &error);
    chain->records_out++;
    chain->bytes_out += record->key.size + record->value.size;
    if (UNLIKELY(!type->writer_room(task->writer))) chain->attention = true;
    return WEIR_OK;
}

/* ---- Making ------------------------------------------------------------------------------------------------------ */

static void *take(struct chain *chain, size_t count, size_t size)
{
    void *memory = arena_alloc(&chain->arena, count * size);
    if (memory != NULL) memset(memory, 0, count * size);
    return memory;
}

static stage_receive_fn *receive_of(const struct operator_spec *spec, uint32_t port)
{
    if (spec->kind == OPERATOR_SINK) return sink_receive;
    stage_receive_fn *receive = stateless_receive(spec->kind, port);
    if (receive == NULL) receive = keyed_receive(spec, port);
    CHECK(receive != NULL);
    return receive;
}

struct stage_output chain_join(struct chain *chain, const struct chain_target *target)
{
    if (target->is_router) {
        CHECK(target->index < chain->plan->router_count);
        return (struct stage_output){ .receive = router_receive, .receiver = &chain->routers[target->index] };
    }
    CHECK(target->index < chain->plan->stage_count);
    struct weir_task *task = chain_stage_at(chain, target->index);
    return (struct stage_output){ .receive = receive_of(task->spec, target->port), .receiver = task };
}

/* False when there is no memory. */
static bool join(struct chain *chain, const struct chain_targets *targets, struct stage_output *output)
{
    *output = (struct stage_output){ .receive = drop };
    if (targets->count == 1) *output = chain_join(chain, &targets->items[0]);
    if (targets->count <= 1) return true;
    struct stage_fan *fan = take(chain, 1, sizeof *fan + targets->count * sizeof fan->outputs[0]);
    if (fan == NULL) return false;
    fan->count = targets->count;
    for (uint32_t i = 0; i < fan->count; i++) fan->outputs[i] = chain_join(chain, &targets->items[i]);
    *output = (struct stage_output){ .receive = fan_receive, .receiver = fan };
    return true;
}

static struct shard *make_shard(const struct chain *chain, struct weir_task *task)
{
    const struct operator_spec *spec = task->spec;
    const uint32_t first = key_group_first(chain->max_parallelism, chain->parallelism, chain->subtask_index);
    const uint32_t behind = key_group_first(chain->max_parallelism, chain->parallelism, chain->subtask_index + 1);
    if (spec->has_own_state) {
        task->own = state_own_of(chain->max_parallelism, first, behind - first);
        task->own_key = state_own_key(&task->own);
    }
    return shard_create(&(struct shard_options){ .states = spec->states, .state_count = spec->state_count,
                                                 .max_parallelism = chain->max_parallelism, .group_first = first,
                                                 .group_count = behind - first, .epoch = chain->epoch,
                                                 .forgets_parts = !stage_emits_on_commit(task),
                                                 .migrate = stage_migrate, .migrate_user = task });
}

static bool join_stage(struct chain *chain, uint32_t index)
{
    const struct chain_stage *plan = &chain->plan->stages[index];
    struct weir_task *task = chain_stage_at(chain, index);
    if (!join(chain, &plan->outputs[0], &task->main)) return false;
    for (uint32_t i = 0; i < plan->spec->output_count; i++)
        if (!join(chain, &plan->outputs[1 + i], &task->sides[i])) return false;
    if (plan->spec->kind == OPERATOR_KEYED_PROCESS && plan->spec->emit == WEIR_EMIT_ON_COMMIT)
        return keyed_coalesce_open(task);
    return true;
}

/* Once every stage is joined. */
static void look_behind_key_by(struct chain *chain, uint32_t index)
{
    const struct chain_targets *targets = &chain->plan->stages[index].outputs[0];
    struct weir_task *task = chain_stage_at(chain, index);
    if (targets->count != 1 || targets->items[0].is_router || task->coalesce != NULL) return;
    const struct weir_task *next = chain_stage_at(chain, targets->items[0].index);
    if (next->spec->kind == OPERATOR_KEY_BY && next->spec->key_by.key == NULL) task->rekeyed = next->main;
}

static bool leads_to(const struct chain_targets *targets, uint32_t stage)
{
    for (uint32_t i = 0; i < targets->count; i++)
        if (!targets->items[i].is_router && targets->items[i].index == stage) return true;
    return false;
}

static bool has_group(const struct chain *chain, uint32_t index)
{
    const struct weir_task *task = chain_stage_at(chain, index);
    if (task->spec->kind != OPERATOR_PROCESS || task->rekeyed.receive == NULL) return false;
    for (uint32_t i = 0; i < chain->plan->stage_count; i++)
        for (uint32_t output = 0; output <= chain->plan->stages[i].spec->output_count; output++)
            if (leads_to(&chain->plan->stages[i].outputs[output], index)) return false;
    return true;
}

/* For a stage whose input is that of the chain, and so lies in a batch, in front of a keyed one. */
static bool make_group(struct chain *chain, uint32_t index)
{
    const struct chain_target *key_by = &chain->plan->stages[index].outputs[0].items[0];
    if (!has_group(chain, index)) return true;
    const struct chain_targets *targets = &chain->plan->stages[key_by->index].outputs[0];
    if (targets->count != 1 || targets->items[0].is_router || targets->items[0].port != 0) return true;
    struct weir_task *next = chain_stage_at(chain, targets->items[0].index);
    stage_receive_group_fn *receive = keyed_receive_group(next->spec);
    if (receive == NULL) return true;
    struct stage_group *group = take(chain, 1, sizeof *group);
    if (group == NULL) return false;
    *group = (struct stage_group){ .receive = receive, .receiver = next };
    chain->groups[chain->group_count++] = chain_stage_at(chain, index)->group = group;
    return true;
}

static bool make_stages(struct chain *chain)
{
    for (uint32_t i = 0; i < chain->plan->stage_count; i++) {
        struct weir_task *task = chain_stage_at(chain, i);
        task->chain = chain;
        task->index = i;
        task->spec = chain->plan->stages[i].spec;
        task->record = &stage_no_record;
        if (!operator_has_shards(task->spec)) continue;
        task->shard = make_shard(chain, task);
        if (task->shard == NULL) return false;
        chain->has_ttl |= shard_has_ttl(task->shard);
    }
    for (uint32_t i = 0; i < chain->plan->stage_count; i++)
        if (!join_stage(chain, i)) return false;
    for (uint32_t i = 0; i < chain->plan->stage_count; i++) look_behind_key_by(chain, i);
    for (uint32_t i = 0; i < chain->plan->stage_count; i++)
        if (!make_group(chain, i)) return false;
    return true;
}

/* Where the records of `targets` look up their keys first of all. */
static struct chain_ahead look_behind(const struct chain *chain, const struct chain_targets *targets, bool rekeys)
{
    const struct chain_target *target = &targets->items[0];
    if (targets->count != 1 || target->is_router) return (struct chain_ahead){ .shard = NULL };
    const struct weir_task *task = chain_stage_at(chain, target->index);
    if (task->spec->kind == OPERATOR_KEY_BY && task->spec->key_by.key == NULL && !rekeys)
        return look_behind(chain, &chain->plan->stages[target->index].outputs[0], true);
    const bool is_broadcast = target->port == 1 && task->spec->second_is_broadcast;
    const bool looks_up = operator_is_keyed(task->spec) && task->spec->state_count > 0 &&
                          !state_kind_is_own(task->spec->states[0].kind);
    return (struct chain_ahead){ .shard = looks_up && !is_broadcast ? task->shard : NULL, .rekeys = rekeys };
}

static bool make_entries(struct chain *chain)
{
    for (uint32_t i = 0; i < chain->plan->entry_count; i++) {
        if (!join(chain, &chain->plan->entries[i], &chain->entries[i])) return false;
        chain->entries_ahead[i] = look_behind(chain, &chain->plan->entries[i], false);
    }
    return true;
}

static bool make_arrays(struct chain *chain, const struct chain_options *options)
{
    const struct chain_plan *plan = options->plan;
    chain->vertex_name = arena_text(&chain->arena, options->vertex_name);
    chain->stages = take(chain, plan->stage_count, sizeof *chain->stages);
    chain->sinks = take(chain, plan->stage_count, sizeof *chain->sinks);
    chain->groups = take(chain, plan->stage_count, sizeof(struct stage_group *));
    chain->routers = take(chain, plan->router_count, sizeof *chain->routers);
    chain->entries = take(chain, plan->entry_count, sizeof *chain->entries);
    chain->entries_ahead = take(chain, plan->entry_count, sizeof *chain->entries_ahead);
    if (chain->vertex_name == NULL || chain->stages == NULL || chain->sinks == NULL || chain->groups == NULL ||
        chain->routers == NULL || chain->entries == NULL || chain->entries_ahead == NULL)
        return false;
    for (uint32_t i = 0; i < plan->router_count; i++)
        chain->routers[i] = (struct stage_router){ .router = options->routers[i], .chain = chain };
    for (uint32_t i = 0; i < plan->stage_count; i++)
        if (plan->stages[i].spec->kind == OPERATOR_SINK) chain->sinks[i] = options->sinks[i];
    return true;
}

enum weir_code chain_create(const struct chain_options *options, struct chain **created, struct weir_error *error)
{
    *created = NULL;
    struct chain *chain = calloc(1, sizeof *chain);
    if (chain != NULL) {
        chain->plan = options->plan;
        chain->environment = options->environment;
        chain->subtask_index = options->subtask_index;
        chain->parallelism = options->parallelism;
        chain->max_parallelism = options->max_parallelism;
        chain->epoch = options->epoch;
        chain->now_ms = options->clock_ms;
        chain->was_complete = options->was_complete;
        chain->waker = options->waker;
        arena_init(&chain->scratch, SCRATCH_CHUNK_BYTES);
        arena_init(&chain->arena, ARENA_CHUNK_BYTES);
        if (make_arrays(chain, options) && make_stages(chain) && make_entries(chain)) {
            *created = chain;
            return WEIR_OK;
        }
        chain_destroy(chain);
    }
    return weir_error_set(error, WEIR_NO_MEMORY, WEIR_REMEDY_REPLAY,
                          "task '%s', subtask %u: no memory for its operators", options->vertex_name,
                          options->subtask_index);
}

static void forget_unions(struct weir_task *task)
{
    for (uint32_t i = 0; task->unions != NULL && i < task->spec->state_count; i++)
        state_parcel_deinit(&task->unions[i]);
    free(task->unions);
    task->unions = NULL;
}

static void close_stage(struct weir_task *task)
{
    task->record = &stage_no_record;
    task->has_key = false;
    if (task->is_open && task->spec->close != NULL) task->spec->close(stage_keyed(task));
    if (task->writer != NULL) task->spec->sink.type->writer_close(task->writer);
    forget_unions(task);
    shard_destroy(task->shard);
    coalesce_destroy(task->coalesce);
}

void chain_destroy(struct chain *chain)
{
    if (chain == NULL) return;
    /* What a .close emits goes nowhere. */
    if (chain->error.code == WEIR_OK)
        weir_error_set(&chain->error, WEIR_FAILED, WEIR_REMEDY_REPLAY, "the task has ended");
    for (uint32_t i = 0; chain->stages != NULL && i < chain->plan->stage_count; i++)
        close_stage(chain_stage_at(chain, i));
    arena_deinit(&chain->scratch);
    arena_deinit(&chain->arena);
    free(chain);
}

struct shard *chain_shard(struct chain *chain, uint32_t stage)
{
    CHECK(stage < chain->plan->stage_count);
    return chain_stage_at(chain, stage)->shard;
}

bool chain_show_union(struct chain *chain, uint32_t stage, uint32_t state, const struct state_parcel *parcel)
{
    struct weir_task *task = chain_stage_at(chain, stage);
    CHECK(state < task->spec->state_count && task->spec->states[state].kind == WEIR_STATE_OPERATOR_UNION);
    if (task->unions == NULL) {
        task->unions = calloc(task->spec->state_count, sizeof *task->unions);
        if (task->unions == NULL) return false;
        for (uint32_t i = 0; i < task->spec->state_count; i++) state_parcel_init(&task->unions[i]);
    }
    state_parcel_add(&task->unions[state], parcel);
    return !task->unions[state].bytes.failed;
}

/* ---- Opening ----------------------------------------------------------------------------------------------------- */

static enum weir_code open_stage(struct weir_task *task)
{
    struct chain *chain = task->chain;
    const struct operator_spec *spec = task->spec;
    enum weir_code code = WEIR_OK;
    if (spec->kind == OPERATOR_SINK) {
        struct weir_error error = { .code = WEIR_OK };
        code = spec->sink.type->writer_open(chain->sinks[task->index], chain->subtask_index, chain->epoch, chain->waker,
                                            &task->writer, &error);
        if (code != WEIR_OK) {
            task->writer = NULL;
            return stage_fail_with(task, &error);
        }
    } else if (spec->open != NULL) {
        code = spec->open(stage_keyed(task));
        arena_reset(&chain->scratch);
        if (code != WEIR_OK) return stage_callback_failed(task, code);
    }
    forget_unions(task);
    task->is_open = chain->error.code == WEIR_OK;
    return chain->error.code;
}

/* Last stage first: who is opened finds everybody open that it may emit to. */
enum weir_code chain_open(struct chain *chain, struct weir_error *error)
{
    enum weir_code code = WEIR_OK;
    chain_begin_time(chain);
    for (uint32_t i = chain->plan->stage_count; code == WEIR_OK && i-- > 0;)
        code = open_stage(chain_stage_at(chain, i));
    if (code != WEIR_OK && error != NULL) *error = chain->error;
    return code;
}
