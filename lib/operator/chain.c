/* What a task does with its chain: records, barriers, the end. How it is made: chain_make.c; how one record goes through it:
 * stage.h.
 *
 * Back-pressure. Room can only shrink by what the chain itself does (a router gets a batch, a writer a record). So
 * whoever shrinks it raises `attention`, and the record loop looks at this one flag; only when it is up are routers and
 * writers asked. A record that is being processed is always finished: what it emits past the bound waits in router and
 * writer. */
#include <stdlib.h>
#include <string.h>

#include "operator/coalesce.h"
#include "operator/stage.h"

/* ---- Time -------------------------------------------------------------------------------------------------------- */

void chain_begin_time(struct chain *chain)
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
        if (!router_flush(chain->routers[i].router)) chain_fail_for_memory(chain, "a batch");
    tick_writers(chain);
    return chain_look(chain);
}

/* ---- Records ----------------------------------------------------------------------------------------------------- */

/* From the store behind the shard, with one question for all of them. */
void chain_load_ahead(struct shard *shard, bool rekeys, const struct weir_record *records, uint32_t count)
{
    struct state_key keys[CHAIN_AHEAD_MAX];
    uint32_t wanted = 0;
    CHECK(count <= CHAIN_AHEAD_MAX);
    if (LIKELY(!shard_asks_store(shard))) return;
    for (uint32_t i = 0; i < count; i++) {
        const struct weir_record *record = &records[i];
        if (!weir_is_set(record->key) || weir_is_null(record->key)) continue;
        keys[wanted++] = (struct state_key){ .key = record->key,
                                             .hash = rekeys ? hash_key(record->key) : record->key_hash };
    }
    shard_load(shard, 0, keys, wanted);
}

void chain_look_ahead(struct shard *shard, bool rekeys, const struct weir_record *records, uint32_t count)
{
    uint32_t hashes[CHAIN_AHEAD_MAX];
    chain_load_ahead(shard, rekeys, records, count);
    /* To hash each key twice costs more than it saves while the state is small. */
    if (rekeys) return;
    for (uint32_t i = 0; i < count; i++) hashes[i] = records[i].key_hash;
    shard_fetch(shard, 0, hashes, count);
}

/* A block of the batch at a time. */
static void look_at_block(const struct chain_ahead *ahead, const struct weir_batch *batch, uint32_t from)
{
    const uint32_t left = batch->count - from;
    chain_look_ahead(ahead->shard, ahead->rekeys, &batch->records[from], left < CHAIN_AHEAD_MAX ? left : CHAIN_AHEAD_MAX);
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

static void hand_over_groups(struct chain *chain)
{
    for (uint32_t i = 0; i < chain->group_count && chain->error.code == WEIR_OK; i++)
        stage_hand_over(chain->groups[i]);
}

static enum chain_result process_records(struct chain *chain, struct stage_output entry, struct chain_ahead ahead,
                                         const struct weir_batch *batch, uint32_t *cursor)
{
    const uint32_t count = batch->count;
    for (uint32_t i = *cursor; i < count; i++) {
        if (UNLIKELY(chain->attention)) {
            const enum chain_result result = chain_look(chain);
            if (result != CHAIN_DONE) return result;
        }
        if (ahead.shard != NULL && i % CHAIN_AHEAD_MAX == 0) look_at_block(&ahead, batch, i);
        *cursor = i + 1;
        entry.receive(entry.receiver, &batch->records[i]);
        if (chain->scratch.used_bytes > 0) arena_reset(&chain->scratch);
    }
    return CHAIN_DONE;
}

static enum chain_result process_batch(struct chain *chain, struct stage_output entry, struct chain_ahead ahead,
                                       const struct weir_batch *batch, uint32_t *cursor)
{
    tend_shards(chain);
    chain_begin_time(chain);
    if (UNLIKELY(chain->has_ttl) && *cursor == 0) clean_up(chain, batch->count);
    chain->attention = true; /* prepare, or a failure of its own, may have taken a writer's room since the last batch */
    const enum chain_result result = process_records(chain, entry, ahead, batch, cursor);
    hand_over_groups(chain);
    if (chain->scratch.used_bytes > 0) arena_reset(&chain->scratch);
    look_at_stores(chain);
    return chain->error.code == WEIR_OK ? result : CHAIN_FAILED;
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
    return process_batch(chain, chain_join(chain, &target), (struct chain_ahead){ .shard = NULL }, batch,
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
    chain_begin_time(chain);
    chain->attention = true;
    for (; chain->walk_stage < chain->plan->stage_count; chain->walk_stage++, chain->walk_position = 0) {
        struct weir_task *task = chain_stage_at(chain, chain->walk_stage);
        enum chain_result result;
        if (!finishing && !stage_emits_on_commit(task)) continue;
        do {
            result = chain_look(chain);
            if (result != CHAIN_DONE) return result;
        } while (stage_emits_on_commit(task) && !keyed_emit_on_commit(task, &chain->walk_position));
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
        if (!router_control(chain->routers[i].router, element)) chain_fail_for_memory(chain, "a control element");
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
    snapshot->cache_hits += shard_cache_hits(task->shard);
    snapshot->cache_misses += shard_cache_misses(task->shard);
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
        if (snapshot->deltas == NULL) chain_fail_for_memory(chain, "a snapshot");
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
