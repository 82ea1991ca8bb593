#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/job.h"

#ifndef WEIR_BUILD
#define WEIR_BUILD WEIR_VERSION
#endif

void job_drop_acks(struct weir_job *job)
{
    for (size_t i = 0; i < job->acks.count; i++) {
        if (job->acks.items[i] != NULL) letter_destroy(&job->acks.items[i]->mail);
        job->acks.items[i] = NULL;
    }
}

void job_closing_clear(struct job_closing *closing)
{
    if (closing->arena.chunk_bytes != 0) arena_deinit(&closing->arena);
    buffer_deinit(&closing->frame);
    vec_free(&closing->ranges);
    store_chain_clear(&closing->parts);
    weir_splits_clear(&closing->moved);
    memset(closing, 0, sizeof(*closing));
}

/* Empties what the epoch before left behind; buffers are kept. */
static void begin_closing(struct weir_job *job, uint64_t epoch)
{
    struct job_closing *closing = &job->closing;
    closing->before = epoch == 0 ? (struct weir_frame_name){ 0 } : closing->name;
    closing->durable = closing->is_counted = false;
    store_chain_clear(&closing->parts);
    closing->parts = job->parts.durable;
    job->parts.durable = (struct store_chain){ 0 };
    if (closing->arena.chunk_bytes == 0) {
        arena_init(&closing->arena, 16 * 1024);
        buffer_init(&closing->frame);
    }
    arena_reset(&closing->arena);
    closing->ranges.count = 0;
    weir_splits_clear(&closing->moved);
    closing->epoch = epoch;
    closing->records_out = closing->dead_letters = 0;
    closing->append_try = 0;
    closing->barrier_us = epoch == 0 ? 0 : job->barrier_us;
    memset(&closing->manifest, 0, sizeof(closing->manifest));
}

/* ---- Positions ------------------------------------------------------------------------------------------------------ */

static const struct weir_split *find_reported(const struct weir_job *job, const struct job_source *source, const char *name)
{
    const uint32_t first = job->vertex_first[source->vertex];
    for (uint32_t i = 0; i < job->plan->vertices[source->vertex].parallelism; i++) {
        const struct letter_from_task *ack = job->acks.items[first + i];
        const struct weir_split *split = ack == NULL ? NULL : weir_splits_find(&ack->positions, name);
        if (split != NULL) return split;
    }
    return NULL;
}

static bool add_range(struct job_closing *closing, const struct job_source *source, const struct weir_split *split,
                      int64_t begin)
{
    struct weir_ledger_range *range = vec_push(&closing->ranges);
    if (range == NULL) return false;
    memset(range, 0, sizeof(*range));
    snprintf(range->source, sizeof(range->source), "%s", source->spec->name);
    snprintf(range->split, sizeof(range->split), "%s", split->name);
    range->begin = begin;
    range->end = split->position;
    return true;
}

/* Takes the reported positions over; notes what moved for the ledger and for the transaction. */
static bool take_positions(struct weir_job *job, struct job_source *source, uint64_t epoch, bool all)
{
    for (size_t i = 0; i < source->splits.count; i++) {
        struct weir_split *split = &source->splits.items[i];
        const struct weir_split *reported = epoch == 0 ? NULL : find_reported(job, source, split->name);
        const int64_t begin = split->position;
        if (reported != NULL) {
            CHECK(reported->position >= begin);
            split->position = reported->position;
            if (split->position != begin) job->is_complete = false;
        }
        const bool moved = epoch == 0 || split->position != begin;
        if ((moved || all) && !add_range(&job->closing, source, split, begin)) return false;
        if ((moved || all) && source->in_transaction && weir_splits_find(&job->closing.moved, split->name) == NULL &&
            !weir_splits_add(&job->closing.moved, split))
            return false;
    }
    return true;
}

static bool take_all_positions(struct weir_job *job, uint64_t epoch)
{
    const int64_t now = job_now_us(job);
    const bool all = job->rewrite_mirrors || now - job->all_positions_us >= JOB_ALL_POSITIONS_US;
    if (all) job->all_positions_us = now;
    for (size_t i = 0; i < job->sources.count; i++)
        if (!take_positions(job, &job->sources.items[i], epoch, all)) return false;
    /* Where nothing has moved the mirrors still name this frame: they are the second witness of every commit (R6). */
    for (size_t i = 0; i < job->sources.count && job->closing.moved.count == 0; i++)
        if (job->sources.items[i].in_transaction && !take_positions(job, &job->sources.items[i], epoch, true)) return false;
    return true;
}

/* ---- The manifest --------------------------------------------------------------------------------------------------- */

static bool fill_sources(struct weir_job *job, struct manifest *manifest)
{
    manifest->sources = arena_alloc(&job->closing.arena, (job->sources.count + 1) * sizeof(*manifest->sources));
    if (manifest->sources == NULL) return false;
    for (size_t i = 0; i < job->sources.count; i++) {
        const struct job_source *source = &job->sources.items[i];
        const struct weir_source_type *type = source->spec->source.type;
        const char *cluster = type->cluster == NULL ? NULL : type->cluster(source->instance);
        manifest->sources[manifest->source_count++] = (struct manifest_source){
            .name = source->spec->name, .cluster = cluster == NULL ? "" : cluster, .splits = source->splits };
    }
    return true;
}

static bool fill_states(struct arena *arena, const struct job_keyed *keyed, struct manifest_operator *out)
{
    out->states = job_states_of(keyed, arena);
    out->state_count = keyed->spec->state_count;
    return out->states != NULL;
}

static bool fill_bases(struct arena *arena, const struct job_keyed *keyed, struct manifest_operator *out)
{
    out->bases = arena_alloc(arena, (keyed->bases.count + 1) * sizeof(*out->bases));
    if (out->bases == NULL) return false;
    for (size_t i = 0; i < keyed->bases.count; i++) {
        const struct job_base *base = &keyed->bases.items[i];
        const char *name = arena_text(arena, base->file.name);
        if (name == NULL) return false;
        out->bases[out->base_count++] = (struct manifest_base){
            .store = base->is_links ? STORE_KIND_LINKS : STORE_KIND_FILE,
            .name = name, .length = base->file.length, .hash = base->file.hash,
            .incarnation = base->file.incarnation, .group_first = base->group_first,
            .group_count = base->group_count, .redo_epoch = base->redo_epoch };
    }
    return true;
}

/* Up to which epoch nothing is needed from deltas: the smallest redo point over all key groups. Of a group that is in no
 * base, all is needed since the states were born. */
static uint64_t redo_of(const struct weir_job *job, const struct job_keyed *keyed, uint64_t epoch)
{
    const uint64_t born = job_states_born(keyed);
    const uint64_t unborn = born == 0 ? 0 : born - 1;
    uint64_t redo = epoch;
    for (uint32_t group = 0; group < job->plan->max_parallelism; group++) {
        uint64_t best = 0;
        bool is_based = false;
        for (size_t i = 0; i < keyed->bases.count; i++) {
            const struct job_base *base = &keyed->bases.items[i];
            if (group < base->group_first || group - base->group_first >= base->group_count) continue;
            is_based = true;
            if (base->redo_epoch > best) best = base->redo_epoch;
        }
        if (!is_based) best = unborn;
        if (best < redo) redo = best;
    }
    return redo;
}

static void note_shard_log(struct weir_job *job, uint32_t keyed, uint32_t subtask, uint64_t bytes, uint64_t state_bytes)
{
    for (size_t i = 0; i < job->shards.count; i++) {
        struct job_shard *shard = &job->shards.items[i];
        if (shard->keyed != keyed || shard->subtask != subtask) continue;
        shard->log_bytes += bytes;
        shard->frames++;
        shard->state_bytes = state_bytes;
    }
}

static void add_delta(struct weir_job *job, uint32_t index, const struct letter_from_task *letter,
                      struct manifest_operator *out)
{
    const struct buffer *delta = &letter->snapshot.deltas[job->keyed.items[index].stage];
    note_shard_log(job, index, letter->subtask, delta->size, letter->snapshot.state_bytes);
    if (delta->size > 0) out->deltas[out->delta_count++] = (struct weir_bytes){ delta->data, delta->size };
}

static bool fill_deltas(struct weir_job *job, uint32_t index, struct manifest_operator *out)
{
    const struct job_keyed *keyed = &job->keyed.items[index];
    const uint32_t parallelism = job->plan->vertices[keyed->vertex].parallelism;
    out->deltas = arena_alloc(&job->closing.arena, parallelism * sizeof(*out->deltas));
    if (out->deltas == NULL) return false;
    for (uint32_t i = 0; i < parallelism; i++) {
        const struct letter_from_task *ack = job->acks.items[job->vertex_first[keyed->vertex] + i];
        if (ack != NULL) add_delta(job, index, ack, out);
    }
    return true;
}

static struct manifest_operator describe(const struct weir_job *job, const struct job_keyed *keyed)
{
    return (struct manifest_operator){ .name = keyed->spec->name,
                                       .parallelism = job->plan->vertices[keyed->vertex].parallelism };
}

static bool fill_operators(struct weir_job *job, struct manifest *manifest, uint64_t epoch)
{
    struct arena *arena = &job->closing.arena;
    manifest->operators = arena_alloc(arena, (job->keyed.count + 1) * sizeof(*manifest->operators));
    if (manifest->operators == NULL) return false;
    for (uint32_t i = 0; i < job->keyed.count; i++) {
        const struct job_keyed *keyed = &job->keyed.items[i];
        struct manifest_operator *out = &manifest->operators[manifest->operator_count++];
        *out = describe(job, keyed);
        out->redo_epoch = redo_of(job, keyed, epoch);
        if (!fill_states(arena, keyed, out) || !fill_bases(arena, keyed, out)) return false;
        if (epoch > 0 && !fill_deltas(job, i, out)) return false;
    }
    return true;
}

static void take_highest(struct weir_job *job, const struct chain_snapshot *snapshot)
{
    if (snapshot->generation > job->generation) job->generation = snapshot->generation;
    if (snapshot->clock_ms > job->clock_ms) job->clock_ms = snapshot->clock_ms;
}

/* What the tasks have counted: totals of outputs, generations, time. */
static bool add_totals(struct weir_job *job)
{
    for (size_t i = 0; i < job->acks.count; i++) {
        if (job->acks.items[i] == NULL) continue;
        take_highest(job, &job->acks.items[i]->snapshot);
        const struct weir_output_totals *totals = &job->acks.items[i]->snapshot.totals;
        for (size_t k = 0; k < totals->count; k++) {
            const struct weir_output_total *total = &totals->items[k];
            if (!weir_output_totals_add(&job->totals, total->name, total->count, total->digest)) return false;
        }
        job->closing.records_out += job->acks.items[i]->records_out;
        job->closing.dead_letters += totals->dead_letters;
    }
    job->closing.records_out -= job->attempt_records_out; /* the tasks count from their beginning */
    job_states_age(job);
    return true;
}

bool job_name_outputs(struct weir_job *job)
{
    for (size_t i = 0; i < job->sinks.count; i++) {
        const struct weir_sink_type *type = job->sinks.items[i].spec->sink.type;
        const char *output = type->output == NULL ? NULL : type->output(job->sinks.items[i].instance);
        char name[sizeof job->totals.items[0].name];
        if (output == NULL || snprintf(name, sizeof name, "%s/0", output) >= (int)sizeof name) continue;
        if (!weir_output_totals_add(&job->totals, name, 0, (struct weir_digest){ 0 })) return false;
    }
    return true;
}

static struct manifest manifest_of(const struct weir_job *job, uint64_t epoch)
{
    const char *cluster = job->decider_type->cluster == NULL ? NULL : job->decider_type->cluster(job->decider);
    return (struct manifest){
        .store = store_id(job->store),
        .job = job->name,
        .slot = JOB_SLOT,
        .incarnation = job->commit.incarnation,
        .epoch = epoch,
        .wall_ms = job->environment.wall_ms(job->environment.user),
        .build = WEIR_BUILD,
        .program = job->program,
        .plan_hash = job->plan->hash,
        .exactly_once = job->exactly_once,
        .max_parallelism = job->plan->max_parallelism,
        .generation = job->generation,
        .clock_ms = job->clock_ms,
        .decider = job->decider_type->kind,
        .cluster = cluster == NULL ? "" : cluster,
    };
}

/* What the next frame of the chain names as its parent. */
static struct weir_frame_name end_of(const struct store_chain *parts, const struct weir_frame_name *frame)
{
    return parts->frames.count > 0 ? parts->frames.items[parts->frames.count - 1] : *frame;
}

/* Every task, before the barrier. */
static bool have_ended(const struct weir_job *job)
{
    for (size_t i = 0; i < job->acks.count; i++)
        if (job->acks.items[i] == NULL || !job->acks.items[i]->ended) return false;
    return true;
}

static uint64_t deltas_bytes(const struct letter_from_task *letter)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; letter != NULL && i < letter->snapshot.stage_count; i++)
        bytes += letter->snapshot.deltas[i].capacity;
    return bytes;
}

/* Frames are as large as what they are made of, and a little more: they stay in memory, so they are not left to grow by
 * doubling. Should memory be short, the encoding says so. */
static void make_room(struct buffer *frame, uint64_t bytes)
{
    enum { MANIFEST_BYTES = 16 << 10 };
    buffer_clear(frame);
    (void)buffer_reserve(frame, (size_t)bytes + MANIFEST_BYTES);
}

/* Until tasks run there is none, and a worker may still be making the list. */
static uint64_t acks_bytes(const struct weir_job *job)
{
    uint64_t bytes = 0;
    for (size_t i = 0; job->tasks_started > 0 && i < job->acks.count; i++) bytes += deltas_bytes(job->acks.items[i]);
    return bytes;
}

void job_hold_frames(struct weir_job *job)
{
    uint64_t bytes = job->closing.frame.capacity + job->parts.frame.capacity + acks_bytes(job);
    for (size_t i = 0; i < job->parts.waiting.count; i++) bytes += deltas_bytes(job->parts.waiting.items[i]);
    holdings_charge(&job->holdings, &job->frames_charged, bytes);
}

bool job_encode_frame(struct weir_job *job, uint64_t epoch)
{
    begin_closing(job, epoch);
    struct job_closing *closing = &job->closing;
    struct manifest *manifest = &closing->manifest;
    if (!take_all_positions(job, epoch) || (epoch > 0 && !add_totals(job))) return false;
    *manifest = manifest_of(job, epoch);
    job->is_complete = manifest->is_complete = job->is_complete || (epoch > 0 && have_ended(job));
    manifest->parent = end_of(&closing->parts, &closing->before);
    manifest->totals = job->totals;
    if (!fill_sources(job, manifest) || !fill_operators(job, manifest, epoch)) return false;
    if (!job_fill_flights(job, manifest)) return false;
    closing->name.file[0] = '\0';
    make_room(&closing->frame, acks_bytes(job));
    const bool good = manifest_encode(manifest, &closing->frame, &closing->name);
    job_hold_frames(job);
    job_drop_acks(job);
    job_drop_flights(job);
    manifest->flight_count = 0;
    for (size_t i = 0; i < manifest->operator_count; i++) manifest->operators[i].delta_count = 0; /* were the acks' */
    return good;
}

/* Names of states go with the deltas; everything else is the frame's. */
static bool fill_part(struct weir_job *job, const struct letter_from_task *letter, struct arena *arena,
                      struct manifest *part)
{
    part->operators = arena_alloc(arena, (job->keyed.count + 1) * sizeof(*part->operators));
    if (part->operators == NULL) return false;
    for (uint32_t i = 0; i < job->keyed.count; i++) {
        const struct job_keyed *keyed = &job->keyed.items[i];
        if (keyed->vertex != letter->vertex) continue;
        struct manifest_operator *out = &part->operators[part->operator_count++];
        *out = describe(job, keyed);
        out->deltas = arena_alloc(arena, sizeof(*out->deltas));
        if (out->deltas == NULL || !fill_states(arena, keyed, out)) return false;
        add_delta(job, i, letter, out);
    }
    return true;
}

bool job_encode_part(struct weir_job *job, const struct letter_from_task *letter)
{
    struct job_parts *parts = &job->parts;
    struct manifest part = manifest_of(job, letter->epoch);
    struct arena arena;
    arena_init(&arena, 4 * 1024);
    part.is_part = true;
    part.parent = end_of(&parts->durable, &job->closing.name);
    buffer_init(&parts->frame);
    make_room(&parts->frame, deltas_bytes(letter));
    parts->name.file[0] = '\0';
    const bool good = fill_part(job, letter, &arena, &part) && manifest_encode(&part, &parts->frame, &parts->name);
    arena_deinit(&arena);
    job_hold_frames(job);
    return good;
}

/* ---- Ledger records ------------------------------------------------------------------------------------------------- */

static void fill_entry(struct weir_job *job, struct weir_ledger_entry *entry, enum weir_ledger_kind kind)
{
    memset(entry, 0, sizeof(*entry));
    entry->kind = kind;
    snprintf(entry->store, sizeof(entry->store), "%s", store_id(job->store));
    snprintf(entry->job, sizeof(entry->job), "%s", job->name);
    snprintf(entry->slot, sizeof(entry->slot), "%s", JOB_SLOT);
    snprintf(entry->build, sizeof(entry->build), "%s", WEIR_BUILD);
    entry->incarnation = job->decision.incarnation;
    entry->handle_count = job->commit.options.ring_size;
    entry->plan_hash = job->plan->hash;
    entry->wall_ms = job->environment.wall_ms(job->environment.user);
    entry->exactly_once = job->exactly_once;
    snprintf(entry->origin, sizeof(entry->origin), "%s", job->decision.history);
}

bool job_ledger_commit(struct weir_job *job, char key[LEDGER_KEY_MAX], struct weir_bytes *value)
{
    struct weir_ledger_entry entry;
    fill_entry(job, &entry, WEIR_LEDGER_COMMIT);
    entry.epoch = job->closing.epoch;
    entry.frame = job->closing.name;
    entry.parent.incarnation = job->closing.before.incarnation;
    entry.parent.epoch = job->closing.before.epoch;
    entry.total_count = job->totals.count;
    entry.totals = job->totals.items;
    entry.range_count = job->closing.ranges.count;
    entry.ranges = job->closing.ranges.items;
    if (job->anchor_count > 0) {
        entry.anchor_epoch = job->anchor_epoch;
        entry.anchor_count = job->anchor_count;
        entry.anchors = job->anchors;
    }
    ledger_key_commit(key, JOB_SLOT, entry.epoch, (uint32_t)weir_config_i64(job->config, "ledger.commits-kept"));
    const bool good = weir_ledger_encode(&entry, value);
    if (good) job->anchor_count = 0;
    return good;
}

bool job_ledger_incarnation(struct weir_job *job, enum weir_ledger_kind kind, char key[LEDGER_KEY_MAX],
                            struct weir_bytes *value)
{
    struct weir_ledger_entry entry;
    fill_entry(job, &entry, kind);
    entry.frame = job->decision.frame;
    entry.epoch = job->decision.frame.epoch;
    ledger_key_incarnation(key, JOB_SLOT);
    return weir_ledger_encode(&entry, value);
}
