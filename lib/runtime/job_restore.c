#include <stdio.h>
#include <string.h>

#include "base/crash.h"
#include "runtime/job.h"
#include "state/replay.h"

/* A checkpoint becomes tasks with state. Environment worker.
 *
 *   frame ──> manifest: does it fit, whose states, positions ──> tasks ──> bases ──> deltas of the chain ──> ready to start */

struct restoring {
    struct weir_job *job;
    struct store *store; /* the job's own, or a savepoint that it is founded from */
    struct manifest manifest;
    struct weir_frame_name name;
    const struct job_keyed *keyed;
    const struct manifest_operator *written;
    size_t base; /* that is being read; SIZE_MAX = a delta is */
    struct state_mapping mapping[JOB_STATES_WRITTEN_MAX];
    uint32_t mapping_count;
    uint64_t redo_epoch;
    uint64_t frames, log_bytes; /* that were replayed */
    uint64_t charged;           /* for what is being replayed */
    bool was_complete;
};

static bool is_founding(const struct restoring *restoring) { return restoring->store != restoring->job->store; }

static void map_states(struct restoring *restoring, const struct manifest_state *written, size_t count)
{
    restoring->mapping_count = count < JOB_STATES_WRITTEN_MAX ? (uint32_t)count : JOB_STATES_WRITTEN_MAX;
    job_states_map(restoring->keyed, written, count, restoring->mapping);
}

/* Has the base anything for the subtask that it does not have already? */
static bool is_wanted(const struct restoring *restoring, uint32_t subtask)
{
    const struct weir_job *job = restoring->job;
    const uint32_t parallelism = job->plan->vertices[restoring->keyed->vertex].parallelism;
    const uint32_t groups = job->plan->max_parallelism;
    if (restoring->base == SIZE_MAX) return true;
    for (size_t i = 0; i < job->shards.count; i++) {
        const struct job_shard *shard = &job->shards.items[i];
        if (&job->keyed.items[shard->keyed] == restoring->keyed && shard->subtask == subtask &&
            shard->linked == restoring->base + 1)
            return false;
    }
    return job_base_newest_of(restoring->written, restoring->base, key_group_first(groups, parallelism, subtask),
                              key_group_first(groups, parallelism, subtask + 1)) > 0;
}

static bool is_wanted_by_any(const struct restoring *restoring)
{
    for (uint32_t i = 0; i < restoring->job->plan->vertices[restoring->keyed->vertex].parallelism; i++)
        if (is_wanted(restoring, i)) return true;
    return false;
}

/* Every subtask takes what is in its key groups and skips the rest. */
static enum weir_code apply_units(struct restoring *restoring, struct weir_bytes units, struct weir_error *error)
{
    struct weir_job *job = restoring->job;
    const struct job_keyed *keyed = restoring->keyed;
    for (uint32_t i = 0; i < job->plan->vertices[keyed->vertex].parallelism; i++) {
        if (!is_wanted(restoring, i)) continue;
        const enum weir_code code = shard_apply(job_shard_of(job, keyed, i), units, restoring->mapping,
                                                restoring->mapping_count, error);
        if (code != WEIR_OK) return weir_error_wrap(error, "operator '%s'", keyed->spec->name), code;
    }
    return WEIR_OK;
}

static enum weir_code apply_piece(void *user, const struct replay_piece *piece, struct weir_error *error)
{
    struct restoring *restoring = user;
    map_states(restoring, piece->states, piece->state_count);
    return apply_units(restoring, piece->units, error);
}

static void say_what_is_gone(struct weir_job *job)
{
    for (size_t i = 0; i < job->shards.count; i++) {
        const struct job_keyed *keyed = &job->keyed.items[job->shards.items[i].keyed];
        struct shard *shard = job_shard_of(job, keyed, job->shards.items[i].subtask);
        for (uint32_t k = 0; k < keyed->spec->state_count; k++)
            if (keyed->gone_ms[k] != 0) shard_set_gone(shard, k, keyed->gone_ms[k]);
    }
}

static enum weir_code restore_bases(struct restoring *restoring, struct weir_error *error)
{
    struct weir_job *job = restoring->job;
    for (size_t i = 0; i < job->keyed.count; i++) {
        restoring->keyed = &job->keyed.items[i];
        const struct manifest_operator *written =
            manifest_find_operator(&restoring->manifest, restoring->keyed->spec->name);
        if (written == NULL) continue;
        restoring->written = written;
        enum weir_code code = WEIR_OK;
        for (size_t b = 0; code == WEIR_OK && b < written->base_count; b++) {
            restoring->base = b;
            if (is_wanted_by_any(restoring))
                code = replay_base(restoring->store, &written->bases[b], apply_piece, restoring, error);
            CRASH_POINT(restore_base_applied);
        }
        restoring->base = SIZE_MAX;
        if (code != WEIR_OK) return code;
    }
    return WEIR_OK;
}

static enum weir_code replay_frame(struct restoring *restoring, const struct weir_frame_name *name, struct buffer *bytes,
                                   struct arena *arena, struct weir_error *error)
{
    struct weir_job *job = restoring->job;
    struct manifest manifest;
    enum weir_code code = store_read_manifest(restoring->store, name, bytes, arena, &manifest, error);
    holdings_charge(&job->holdings, &restoring->charged, bytes->capacity);
    if (code == WEIR_OK && is_founding(restoring)) job_begin_rename(job, &manifest);
    for (size_t i = 0; code == WEIR_OK && i < job->keyed.count; i++) {
        restoring->keyed = &job->keyed.items[i];
        const struct manifest_operator *written = manifest_find_operator(&manifest, restoring->keyed->spec->name);
        if (written == NULL) continue;
        map_states(restoring, written->states, written->state_count);
        for (size_t d = 0; code == WEIR_OK && d < written->delta_count; d++) {
            restoring->log_bytes += written->deltas[d].size;
            code = apply_units(restoring, written->deltas[d], error);
        }
    }
    restoring->frames++;
    return code;
}

/* What is replayed is retained, and the checkpoints before it as far as they are wanted and still there. */
static enum weir_code replay_deltas(struct restoring *restoring, struct weir_error *error)
{
    struct weir_job *job = restoring->job;
    struct store_chain chain = { 0 };
    struct buffer bytes;
    struct arena arena;
    buffer_init(&bytes);
    arena_init(&arena, 64 * 1024);
    enum weir_code code = store_chain(restoring->store, &restoring->name, restoring->redo_epoch + 1, &chain, error);
    for (size_t i = 0; code == WEIR_OK && i < chain.frames.count; i++) {
        code = replay_frame(restoring, &chain.frames.items[i], &bytes, &arena, error);
        if (i == chain.frames.count / 2) CRASH_POINT(restore_half_replayed);
    }
    if (code == WEIR_OK && !is_founding(restoring))
        code = retained_restore(job->store, &chain, &restoring->manifest, &job->retention, error);
    store_chain_clear(&chain);
    arena_deinit(&arena);
    buffer_deinit(&bytes);
    holdings_charge(&job->holdings, &restoring->charged, 0);
    return code;
}

static enum weir_code take_splits(struct weir_job *job, struct job_source *source, const struct manifest_source *written,
                                  struct weir_error *error)
{
    for (size_t k = 0; k < written->splits.count; k++)
        if (!weir_splits_add(&source->splits, &written->splits.items[k]))
            return weir_error_set(error, WEIR_NO_MEMORY, WEIR_REMEDY_REPLAY, "no memory for splits");
    if (job->decision.positions_from_group) job_take_group_positions(job, &source->splits);
    return WEIR_OK;
}

static enum weir_code restore_splits(struct weir_job *job, const struct manifest *manifest, bool is_founding,
                                     struct weir_error *error)
{
    const bool anew = is_founding && strcmp(weir_config_text(job->config, "start.position"), "start") == 0;
    for (size_t i = 0; i < job->sources.count; i++) {
        struct job_source *source = &job->sources.items[i];
        const struct manifest_source *written = anew ? NULL : manifest_find_source(manifest, source->spec->name);
        enum weir_code code = WEIR_OK;
        weir_splits_clear(&source->splits);
        if (written != NULL)
            code = is_founding ? job_begin_positions(job, source, written, &source->splits, error)
                               : take_splits(job, source, written, error);
        if (code == WEIR_OK) code = job_discover_into(job, source, is_founding && written == NULL, true, error);
        if (code != WEIR_OK) return code;
    }
    return WEIR_OK;
}

static bool restore_totals(struct weir_job *job, const struct manifest *manifest)
{
    weir_output_totals_clear(&job->totals);
    for (size_t i = 0; i < manifest->totals.count; i++) {
        const struct weir_output_total *total = &manifest->totals.items[i];
        if (!weir_output_totals_add(&job->totals, total->name, total->count, total->digest)) return false;
    }
    return true;
}

/* What the store has of each operator, as the restored manifest names it. */
static bool take_over_bases(struct weir_job *job, const struct manifest *manifest)
{
    for (size_t i = 0; i < job->keyed.count; i++) {
        struct job_keyed *keyed = &job->keyed.items[i];
        const struct manifest_operator *written = manifest_find_operator(manifest, keyed->spec->name);
        keyed->bases.count = 0;
        for (size_t b = 0; written != NULL && b < written->base_count; b++) {
            const struct manifest_base *from = &written->bases[b];
            struct job_base *base = vec_push(&keyed->bases);
            if (base == NULL) return false;
            *base = (struct job_base){ .file = { .incarnation = from->incarnation, .length = from->length,
                                                 .hash = from->hash },
                                       .group_first = from->group_first, .group_count = from->group_count,
                                       .redo_epoch = from->redo_epoch };
            base->is_links = store_base_is_links(from);
            snprintf(base->file.name, sizeof(base->file.name), "%s", from->name);
        }
    }
    return true;
}

static enum weir_code check_fit(const struct weir_job *job, const struct manifest *manifest, struct weir_error *error)
{
    if (manifest->max_parallelism != job->plan->max_parallelism)
        return weir_error_set(error, WEIR_FOREIGN, WEIR_REMEDY_STOP,
                              "job '%s': the checkpoint has %u key groups, the plan %u; set pipeline.max-parallelism to %u",
                              job->name, manifest->max_parallelism, job->plan->max_parallelism, manifest->max_parallelism);
    return WEIR_OK;
}

/* Is every split at its end, as far as ends are known? */
static bool has_no_input(const struct weir_job *job)
{
    for (size_t i = 0; i < job->sources.count; i++)
        for (size_t k = 0; k < job->sources.items[i].splits.count; k++) {
            const struct weir_split *split = &job->sources.items[i].splits.items[k];
            if (split->end == WEIR_POSITION_NONE || split->position < split->end) return false;
        }
    return true;
}

/* What a history that goes on has, and one that begins has not. */
static enum weir_code take_over(struct restoring *restoring, struct weir_error *error)
{
    struct weir_job *job = restoring->job;
    if (!restore_totals(job, &restoring->manifest) || !job_name_outputs(job) || !take_over_bases(job, &restoring->manifest))
        return weir_error_set(error, WEIR_NO_MEMORY, WEIR_REMEDY_REPLAY, "no memory to restore");
    return job_start_retention(job, job->decision.incarnation, error);
}

static enum weir_code shards_restored(struct restoring *restoring, uint64_t epoch, struct weir_error *error)
{
    struct weir_job *job = restoring->job;
    for (size_t i = 0; i < job->shards.count; i++) {
        const struct job_keyed *keyed = &job->keyed.items[job->shards.items[i].keyed];
        struct shard *shard = job_shard_of(job, keyed, job->shards.items[i].subtask);
        const enum weir_code code = shard_restored(shard, epoch, job->generation, error);
        if (code != WEIR_OK) return code;
        if (is_founding(restoring)) continue;
        /* What this start had to replay counts, or a job that is restarted often would never write a base. */
        job->shards.items[i].frames = restoring->frames;
        job->shards.items[i].log_bytes = restoring->log_bytes / job->shards.count;
    }
    return WEIR_OK;
}

static enum weir_code restore_from(struct restoring *restoring, uint64_t epoch, struct weir_error *error)
{
    struct weir_job *job = restoring->job;
    const bool founding = is_founding(restoring);
    enum weir_code code = check_fit(job, &restoring->manifest, error);
    if (code == WEIR_OK && founding) code = job_begin_check(job, &restoring->manifest, error);
    if (code == WEIR_OK) code = job_states_claim(job, &restoring->manifest, epoch, error);
    if (code == WEIR_OK) code = restore_splits(job, &restoring->manifest, founding, error);
    restoring->was_complete = code == WEIR_OK && restoring->manifest.is_complete && has_no_input(job);
    if (code == WEIR_OK && !founding) code = take_over(restoring, error);
    if (code == WEIR_OK) code = job_stores_open(job, founding ? NULL : &restoring->manifest, error);
    job->replays = restoring->manifest.flight_count > 0;
    if (code == WEIR_OK) code = job_make_tasks(job, epoch, restoring->was_complete, error);
    if (code == WEIR_OK) code = job_replay_flights(job, &restoring->manifest, error);
    restoring->redo_epoch = manifest_redo_epoch(&restoring->manifest);
    if (code == WEIR_OK) say_what_is_gone(job);
    if (code == WEIR_OK) code = restore_bases(restoring, error);
    if (code == WEIR_OK) code = replay_deltas(restoring, error);
    if (code == WEIR_OK) code = shards_restored(restoring, epoch, error);
    return code == WEIR_OK ? job_states_deal_out(job, &restoring->manifest, error) : code;
}

enum weir_code job_restore_checkpoint(struct weir_job *job, struct store *store, const struct weir_frame_name *name,
                                      uint64_t epoch, struct job_restored *restored, struct weir_error *error)
{
    struct restoring restoring = { .job = job, .store = store, .name = *name, .base = SIZE_MAX };
    struct buffer bytes;
    struct arena arena;
    buffer_init(&bytes);
    arena_init(&arena, 64 * 1024);
    enum weir_code code = store_read_manifest(store, name, &bytes, &arena, &restoring.manifest, error);
    if (code == WEIR_OK) code = restore_from(&restoring, epoch, error);
    *restored = (struct job_restored){ restoring.manifest.is_complete, restoring.was_complete };
    arena_deinit(&arena);
    buffer_deinit(&bytes);
    if (code != WEIR_OK) weir_error_wrap(error, "restoring checkpoint %llu of incarnation %llu",
                                         (unsigned long long)name->epoch, (unsigned long long)name->incarnation);
    return code;
}
