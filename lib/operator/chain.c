/* Making a chain, and what its task does with it. How one record goes through it: stage.h.
 *
 * Back-pressure. Room can only shrink by what the chain itself does (a router gets a batch, a writer a record). So
 * whoever shrinks it raises `attention`, and the record loop looks at this one flag; only when it is up are routers and
 * writers asked. A record that is being processed is always finished: what it emits past the bound waits in router and
 * writer. */
#include <stdlib.h>
#include <string.h>

#include "operator/coalesce.h"
#include "operator/stage.h"

enum { SCRATCH_CHUNK_BYTES = 16 * 1024, ARENA_CHUNK_BYTES = 8 * 1024, FETCH_AHEAD = 64 };

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

/* A failure that is no operator's. */
static enum weir_code fail_for_memory(struct chain *chain, const char *what)
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
    if (UNLIKELY(!router_emit(target->router, record))) return fail_for_memory(target->chain, "a batch");
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

static struct stage_output join_one(struct chain *chain, const struct chain_target *target)
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
    if (targets->count == 1) *output = join_one(chain, &targets->items[0]);
    if (targets->count <= 1) return true;
    struct stage_fan *fan = take(chain, 1, sizeof *fan + targets->count * sizeof fan->outputs[0]);
    if (fan == NULL) return false;
    fan->count = targets->count;
    for (uint32_t i = 0; i < fan->count; i++) fan->outputs[i] = join_one(chain, &targets->items[i]);
    *output = (struct stage_output){ .receive = fan_receive, .receiver = fan };
    return true;
}

static bool emits_on_commit(const struct weir_task *task)
{
    return operator_is_keyed(task->spec) && task->spec->emit == WEIR_EMIT_ON_COMMIT;
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
                                                 .forgets_parts = !emits_on_commit(task),
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
    chain->routers = take(chain, plan->router_count, sizeof *chain->routers);
    chain->entries = take(chain, plan->entry_count, sizeof *chain->entries);
    chain->entries_ahead = take(chain, plan->entry_count, sizeof *chain->entries_ahead);
    if (chain->vertex_name == NULL || chain->stages == NULL || chain->sinks == NULL || chain->routers == NULL ||
        chain->entries == NULL || chain->entries_ahead == NULL)
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

/* ---- Time -------------------------------------------------------------------------------------------------------- */

/* A batch, or what is called like one, begins. */
static void begin_time(struct chain *chain)
{
    chain->has_now = false;
    if (LIKELY(!chain->has_ttl)) return;
    const int64_t now_ms = chain_now_ms(chain);
    for (uint32_t i = 0; i < chain->plan->stage_count; i++) {
        struct shard *shard = chain_stage_at(chain, i)->shard;
        if (shard != NULL) shard_set_time(shard, now_ms);
    }
}

static void clean_up(struct chain *chain, uint32_t records)
{
    for (uint32_t i = 0; i < chain->plan->stage_count; i++) {
        const struct weir_task *task = chain_stage_at(chain, i);
        uint32_t places = 0;
        for (uint32_t k = 0; k < task->spec->state_count; k++)
            if (task->spec->states[k].ttl_clean_up > places) places = task->spec->states[k].ttl_clean_up;
        if (places > 0) shard_clean(task->shard, (size_t)places * records);
    }
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
    begin_time(chain);
    for (uint32_t i = chain->plan->stage_count; code == WEIR_OK && i-- > 0;)
        code = open_stage(chain_stage_at(chain, i));
    if (code != WEIR_OK && error != NULL) *error = chain->error;
    return code;
}

/* ---- Room -------------------------------------------------------------------------------------------------------- */

static bool has_room(const struct chain *chain)
{
    for (uint32_t i = 0; !chain->hurries && i < chain->plan->router_count; i++)
        if (router_is_blocked(chain->routers[i].router)) return false;
    for (uint32_t i = 0; i < chain->plan->stage_count; i++) {
        const struct weir_task *task = chain_stage_at(chain, i);
        if (task->writer != NULL && !task->spec->sink.type->writer_room(task->writer)) return false;
    }
    return true;
}

enum chain_result chain_look(struct chain *chain)
{
    if (chain->error.code != WEIR_OK) return CHAIN_FAILED;
    chain->attention = !has_room(chain);
    return chain->attention ? CHAIN_BLOCKED : CHAIN_DONE;
}

static void tick_writers(struct chain *chain)
{
    for (uint32_t i = 0; i < chain->plan->stage_count && chain->error.code == WEIR_OK; i++) {
        struct weir_task *task = chain_stage_at(chain, i);
        struct weir_error error = { .code = WEIR_OK };
        if (task->writer == NULL || task->spec->sink.type->writer_tick == NULL) continue;
        if (task->spec->sink.type->writer_tick(task->writer, &error) != WEIR_OK) stage_fail_with(task, &error);
    }
}

void chain_hurry(struct chain *chain, bool hurries)
{
    chain->hurries = hurries;
    chain->attention = true;
}

enum chain_result chain_unblock(struct chain *chain)
{
    for (uint32_t i = 0; i < chain->plan->router_count; i++) router_retry(chain->routers[i].router);
    tick_writers(chain);
    return chain_look(chain);
}

enum chain_result chain_tick(struct chain *chain)
{
    for (uint32_t i = 0; i < chain->plan->router_count; i++)
        if (!router_flush(chain->routers[i].router)) fail_for_memory(chain, "a batch");
    tick_writers(chain);
    return chain_look(chain);
}

/* ---- Records ----------------------------------------------------------------------------------------------------- */

/* Records that come through a channel have their hashes: what they will look up is brought in ahead, a block at a time. */
static void fetch_ahead(const struct shard *shard, const struct weir_batch *batch, uint32_t from)
{
    uint32_t hashes[FETCH_AHEAD];
    const uint32_t count = batch->count - from < FETCH_AHEAD ? batch->count - from : FETCH_AHEAD;
    for (uint32_t i = 0; i < count; i++) hashes[i] = batch->records[from + i].key_hash;
    shard_fetch(shard, 0, hashes, count);
}

/* The same from the store behind the shard, with one question for all of them. */
static void load_ahead(const struct chain_ahead *ahead, const struct weir_batch *batch, uint32_t from)
{
    struct state_key keys[FETCH_AHEAD];
    uint32_t count = 0;
    for (uint32_t i = from; i < batch->count && i - from < FETCH_AHEAD; i++) {
        const struct weir_record *record = &batch->records[i];
        if (!weir_is_set(record->key) || weir_is_null(record->key)) continue;
        keys[count++] = (struct state_key){ .key = record->key,
                                            .hash = ahead->rekeys ? hash_key(record->key) : record->key_hash };
    }
    shard_load(ahead->shard, 0, keys, count);
}

static void look_ahead(const struct chain_ahead *ahead, const struct weir_batch *batch, uint32_t from)
{
    if (shard_asks_store(ahead->shard)) load_ahead(ahead, batch, from);
    /* To hash each key twice costs more than it saves while the state is small. */
    if (!ahead->rekeys) fetch_ahead(ahead->shard, batch, from);
}

static void tend_shards(struct chain *chain)
{
    for (uint32_t i = 0; i < chain->plan->stage_count; i++) {
        struct shard *shard = chain_stage_at(chain, i)->shard;
        if (shard != NULL) shard_tend(shard);
    }
}

/* What a store failed to read looked like nothing: before it can be made durable, the task ends. */
static void look_at_stores(struct chain *chain)
{
    for (uint32_t i = 0; i < chain->plan->stage_count; i++) {
        struct weir_task *task = chain_stage_at(chain, i);
        const struct weir_error *failure = task->shard == NULL ? NULL : shard_failure(task->shard);
        if (failure != NULL && chain->error.code == WEIR_OK) stage_fail_with(task, failure);
    }
}

static enum chain_result process_batch(struct chain *chain, struct stage_output entry, struct chain_ahead ahead,
                                       const struct weir_batch *batch, uint32_t *cursor)
{
    const uint32_t count = batch->count;
    tend_shards(chain);
    begin_time(chain);
    if (UNLIKELY(chain->has_ttl) && *cursor == 0) clean_up(chain, count);
    chain->attention = true; /* prepare, or a failure of its own, may have taken a writer's room since the last batch */
    for (uint32_t i = *cursor; i < count; i++) {
        if (UNLIKELY(chain->attention)) {
            const enum chain_result result = chain_look(chain);
            if (result != CHAIN_DONE) return result;
        }
        if (ahead.shard != NULL && i % FETCH_AHEAD == 0) look_ahead(&ahead, batch, i);
        *cursor = i + 1;
        entry.receive(entry.receiver, &batch->records[i]);
        if (chain->scratch.used_bytes > 0) arena_reset(&chain->scratch);
    }
    look_at_stores(chain);
    return chain->error.code == WEIR_OK ? CHAIN_DONE : CHAIN_FAILED;
}

enum chain_result chain_process(struct chain *chain, uint32_t input, const struct weir_batch *batch, uint32_t *cursor)
{
    CHECK(input < chain->plan->entry_count && !chain->has_finished);
    return process_batch(chain, chain->entries[input], chain->entries_ahead[input], batch, cursor);
}

enum chain_result chain_replay(struct chain *chain, uint32_t stage, uint32_t port, const struct weir_batch *batch,
                               uint32_t *cursor)
{
    const struct chain_target target = { .index = stage, .port = port };
    CHECK(stage < chain->plan->stage_count && !chain->has_finished);
    return process_batch(chain, join_one(chain, &target), (struct chain_ahead){ .shard = NULL }, batch,
                         cursor);
}

/* ---- Barriers ---------------------------------------------------------------------------------------------------- */

static enum weir_code finish_stage(struct weir_task *task)
{
    const struct operator_spec *spec = task->spec;
    const bool can_finish = spec->kind == OPERATOR_PROCESS || spec->kind == OPERATOR_CO_PROCESS;
    if (!can_finish || spec->process.finish == NULL || task->chain->was_complete) return WEIR_OK;
    task->record = &stage_no_record;
    const enum weir_code code = spec->process.finish(task, NULL);
    arena_reset(&task->chain->scratch);
    return code == WEIR_OK ? WEIR_OK : stage_callback_failed(task, code);
}

/* Lets each stage emit what it kept for the commit, and its last words when `finishing`. Stage after stage, because
 * what one emits may change a later one. Goes on where it was blocked. */
static enum chain_result walk_stages(struct chain *chain, bool finishing)
{
    begin_time(chain);
    chain->attention = true;
    for (; chain->walk_stage < chain->plan->stage_count; chain->walk_stage++, chain->walk_position = 0) {
        struct weir_task *task = chain_stage_at(chain, chain->walk_stage);
        enum chain_result result;
        if (!finishing && !emits_on_commit(task)) continue;
        do {
            result = chain_look(chain);
            if (result != CHAIN_DONE) return result;
        } while (emits_on_commit(task) && !keyed_emit_on_commit(task, &chain->walk_position));
        if (finishing) finish_stage(task);
    }
    chain->walk_stage = 0;
    return chain->error.code == WEIR_OK ? CHAIN_DONE : CHAIN_FAILED;
}

enum chain_result chain_emit_on_commit(struct chain *chain, uint64_t epoch)
{
    CHECK(epoch == chain->epoch);
    if (!chain->has_finished) return walk_stages(chain, false);
    return chain->error.code == WEIR_OK ? CHAIN_DONE : CHAIN_FAILED;
}

static void send_control(struct chain *chain, struct element element)
{
    for (uint32_t i = 0; i < chain->plan->router_count; i++)
        if (!router_control(chain->routers[i].router, element)) fail_for_memory(chain, "a control element");
    chain->attention = true;
}

static void snapshot_shard(struct weir_task *task, uint64_t epoch, bool is_part, struct chain_snapshot *snapshot)
{
    struct buffer *delta = &snapshot->deltas[task->index];
    CHECK(is_part || task->coalesce == NULL || coalesce_count(task->coalesce) == 0);
    if (is_part ? !shard_part_begin(task->shard, delta) : !shard_snapshot_begin(task->shard, epoch, delta)) {
        stage_no_memory(task, "the changes of an epoch");
        return;
    }
    snapshot->state_entries += shard_entry_count(task->shard);
    if (shard_generation(task->shard) > snapshot->generation) snapshot->generation = shard_generation(task->shard);
    snapshot->state_bytes += shard_state_bytes(task->shard);
    snapshot->state_reads += shard_store_reads(task->shard);
}

static void prepare_writer(struct weir_task *task, uint64_t epoch, struct chain_snapshot *snapshot)
{
    struct weir_error error;
    error.code = WEIR_OK;
    if (task->spec->sink.type->writer_prepare(task->writer, epoch, &snapshot->totals, &error) != WEIR_OK)
        stage_fail_with(task, &error);
}

static enum chain_result begin_snapshot(struct chain *chain, bool is_part, struct chain_snapshot *snapshot)
{
    const uint64_t epoch = chain->epoch;
    CHECK(chain->walk_stage == 0);
    *snapshot = (struct chain_snapshot){ .epoch = epoch, .clock_ms = chain->now_ms };
    look_at_stores(chain);
    if (chain->error.code != WEIR_OK) return CHAIN_FAILED;
    if (chain->plan->stage_count > 0) {
        snapshot->deltas = calloc(chain->plan->stage_count, sizeof *snapshot->deltas);
        if (snapshot->deltas == NULL) fail_for_memory(chain, "a snapshot");
        else snapshot->stage_count = chain->plan->stage_count;
    }
    for (uint32_t i = 0; i < snapshot->stage_count && chain->error.code == WEIR_OK; i++) {
        struct weir_task *task = chain_stage_at(chain, i);
        if (task->shard != NULL) snapshot_shard(task, epoch, is_part, snapshot);
        else if (task->writer != NULL && !is_part) prepare_writer(task, epoch, snapshot);
    }
    return chain->error.code == WEIR_OK ? CHAIN_DONE : CHAIN_FAILED;
}

enum chain_result chain_part(struct chain *chain, struct chain_snapshot *part)
{
    return begin_snapshot(chain, true, part);
}

enum chain_result chain_snapshot(struct chain *chain, uint64_t epoch, struct chain_snapshot *snapshot)
{
    CHECK(epoch == chain->epoch);
    if (begin_snapshot(chain, false, snapshot) != CHAIN_DONE) return CHAIN_FAILED;
    send_control(chain, element_barrier(epoch));
    chain->epoch = epoch + 1;
    return chain->error.code == WEIR_OK ? CHAIN_DONE : CHAIN_FAILED;
}

bool chain_snapshot_step(struct chain *chain, size_t changes_max)
{
    bool complete = true;
    for (uint32_t i = 0; i < chain->plan->stage_count; i++) {
        struct shard *shard = chain_stage_at(chain, i)->shard;
        if (shard != NULL && !shard_snapshot_step(shard, changes_max)) complete = false;
    }
    return complete;
}

void chain_snapshot_clear(struct chain_snapshot *snapshot)
{
    for (uint32_t i = 0; i < snapshot->stage_count; i++) buffer_deinit(&snapshot->deltas[i]);
    free(snapshot->deltas);
    weir_output_totals_clear(&snapshot->totals);
    *snapshot = (struct chain_snapshot){ 0 };
}

enum chain_result chain_finish(struct chain *chain)
{
    CHECK(!chain->has_finished);
    const enum chain_result result = walk_stages(chain, true);
    if (result != CHAIN_DONE) return result;
    chain->has_finished = true;
    send_control(chain, (struct element){ .type = ELEMENT_END });
    return chain->error.code == WEIR_OK ? CHAIN_DONE : CHAIN_FAILED;
}

enum weir_code chain_proceed(struct chain *chain, uint64_t epoch, struct weir_error *error)
{
    for (uint32_t i = 0; i < chain->plan->stage_count && chain->error.code == WEIR_OK; i++) {
        struct weir_task *task = chain_stage_at(chain, i);
        struct weir_error reason = { .code = WEIR_OK };
        if (task->writer != NULL && task->spec->sink.type->writer_proceed(task->writer, epoch, &reason) != WEIR_OK)
            stage_fail_with(task, &reason);
    }
    chain->attention = true;
    if (chain->error.code != WEIR_OK && error != NULL) *error = chain->error;
    return chain->error.code;
}

void chain_committed(struct chain *chain, uint64_t epoch)
{
    for (uint32_t i = 0; i < chain->plan->stage_count; i++) {
        const struct weir_task *task = chain_stage_at(chain, i);
        if (task->writer != NULL && task->spec->sink.type->writer_committed != NULL)
            task->spec->sink.type->writer_committed(task->writer, epoch);
    }
}

/* ---- Readings ---------------------------------------------------------------------------------------------------- */

uint64_t chain_delta_bytes(const struct chain *chain)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < chain->plan->stage_count; i++) {
        const struct weir_task *task = chain_stage_at(chain, i);
        if (task->shard != NULL) sum += shard_changed_bytes(task->shard);
    }
    return sum;
}

uint64_t chain_kept_bytes(const struct chain *chain)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < chain->plan->stage_count; i++) {
        const struct weir_task *task = chain_stage_at(chain, i);
        if (task->coalesce != NULL) sum += coalesce_bytes(task->coalesce);
    }
    return sum;
}

uint64_t chain_unflushed_bytes(const struct chain *chain)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < chain->plan->stage_count; i++) {
        const struct weir_task *task = chain_stage_at(chain, i);
        if (task->writer != NULL && task->spec->sink.type->writer_bytes_unflushed != NULL)
            sum += task->spec->sink.type->writer_bytes_unflushed(task->writer);
    }
    return sum;
}

uint64_t chain_records_out(const struct chain *chain)
{
    return chain->records_out;
}

uint64_t chain_bytes_out(const struct chain *chain)
{
    return chain->bytes_out;
}

const struct weir_error *chain_error(const struct chain *chain)
{
    return &chain->error;
}
