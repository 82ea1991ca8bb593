#include <stdio.h>
#include <string.h>

#include "runtime/job.h"

/* Beginning from a savepoint: a job with no history takes over its state and its positions, and may differ from the one that
 * it was taken of in whatever does not make nonsense of them. */

#define CHUNK_BYTES (4u << 20)

void job_begin_read(struct weir_job *job)
{
    struct job_from *from = &job->from;
    struct weir_error error;
    from->path = weir_config_text(job->config, "execution.savepoint.path");
    if (from->path == NULL || from->was_read) return;
    from->was_read = true;
    if (savepoint_open(NULL, from->path, &from->mark, &from->store, &error) == WEIR_OK) return;
    (void)snprintf(from->missing, sizeof(from->missing), "%s", error.text);
    from->mark = (struct savepoint_mark){ .wall_ms = 0 };
    savepoint_id_in(from->path, from->mark.id);
}

static bool takes_positions(const struct weir_job *job)
{
    return strcmp(weir_config_text(job->config, "start.position"), "start") != 0 && !job->decision.positions_from_group;
}

static const char *name_of(const char *cluster) { return cluster == NULL ? "" : cluster; }

/* Offsets of one cluster say nothing about another one's records. */
static enum weir_code check_source(const struct job_source *source, const struct manifest *manifest,
                                   struct weir_error *error)
{
    const struct weir_source_type *type = source->spec->source.type;
    const struct manifest_source *written = manifest_find_source(manifest, source->spec->name);
    const char *cluster = type->cluster == NULL ? "" : name_of(type->cluster(source->instance));
    if (written == NULL || written->cluster[0] == '\0' || cluster[0] == '\0' || strcmp(written->cluster, cluster) == 0)
        return WEIR_OK;
    return weir_error_set(error, WEIR_FOREIGN, WEIR_REMEDY_STOP,
                          "source '%s': the savepoint's positions are those of cluster %s, and this is cluster %s. Start "
                          "with --position start to read from where --start says (timestamp:T, for instance), or with "
                          "--position group at the offsets that the job's group has here",
                          source->spec->name, written->cluster, cluster);
}

static bool has_written(const struct manifest *manifest, const char *output)
{
    const size_t size = strlen(output);
    for (size_t i = 0; i < manifest->totals.count; i++)
        if (strncmp(manifest->totals.items[i].name, output, size) == 0 && manifest->totals.items[i].name[size] == '/')
            return true;
    return false;
}

/* A second copy that writes where the first one does gives every result twice. */
static enum weir_code check_outputs(const struct weir_job *job, const struct manifest *manifest, struct weir_error *error)
{
    const char *cluster = job->decider_type->cluster == NULL ? "" : name_of(job->decider_type->cluster(job->decider));
    if (weir_config_bool(job->config, "start.share-output") || strcmp(manifest->job, job->name) == 0 ||
        strcmp(manifest->cluster, cluster) != 0)
        return WEIR_OK;
    for (size_t i = 0; i < job->sinks.count; i++) {
        const struct weir_sink_type *type = job->sinks.items[i].spec->sink.type;
        const char *output = type->output == NULL ? NULL : type->output(job->sinks.items[i].instance);
        if (output == NULL || !has_written(manifest, output)) continue;
        return weir_error_set(error, WEIR_FOREIGN, WEIR_REMEDY_STOP,
                              "sink '%s' writes to '%s', as job '%s' does, which the savepoint was taken of: readers would "
                              "see everything twice. Give this job another output, its old name (--job %s), or "
                              "--share-output if that is meant",
                              job->sinks.items[i].spec->name, output, manifest->job, manifest->job);
    }
    return WEIR_OK;
}

enum weir_code job_begin_check(const struct weir_job *job, const struct manifest *manifest, struct weir_error *error)
{
    enum weir_code code = check_outputs(job, manifest, error);
    for (size_t i = 0; code == WEIR_OK && takes_positions(job) && i < job->sources.count; i++)
        code = check_source(&job->sources.items[i], manifest, error);
    return code;
}

/* ---- Bases of what was restored ------------------------------------------------------------------------------------- */

static enum weir_code write_units(struct store_base *file, struct shard *shard, struct weir_error *error)
{
    struct buffer chunk;
    enum weir_code code = WEIR_OK;
    buffer_init(&chunk);
    (void)shard_dump_begin(shard);
    for (bool last = false; code == WEIR_OK && !last;) {
        buffer_clear(&chunk);
        last = shard_dump_step(shard, CHUNK_BYTES, &chunk);
        code = chunk.failed ? weir_error_set(error, WEIR_NO_MEMORY, WEIR_REMEDY_REPLAY, "no memory for a base")
                            : store_base_append(file, (struct weir_bytes){ chunk.data, chunk.size }, error);
    }
    if (code != WEIR_OK && shard_is_dumping(shard)) shard_dump_abandon(shard);
    buffer_deinit(&chunk);
    return code;
}

static enum weir_code write_base(struct weir_job *job, struct job_keyed *keyed, uint32_t subtask, struct weir_error *error)
{
    struct store_base *file = NULL;
    struct buffer states;
    struct job_base *base = vec_push(&keyed->bases);
    struct task *task = job->tasks.items[job->vertex_first[keyed->vertex] + subtask];
    buffer_init(&states);
    if (base == NULL || !job_states_encode(keyed, &states)) {
        buffer_deinit(&states);
        return weir_error_set(error, WEIR_NO_MEMORY, WEIR_REMEDY_REPLAY, "no memory for a base");
    }
    *base = job_base_of(job, keyed, subtask, 0);
    enum weir_code code = store_base_create(job->store, &file, error);
    if (code == WEIR_OK) code = store_base_append(file, (struct weir_bytes){ states.data, states.size }, error);
    if (code == WEIR_OK) code = write_units(file, chain_shard(task_chain(task), keyed->stage), error);
    if (code == WEIR_OK) code = store_base_finish(file, &base->file, error);
    if (code != WEIR_OK) store_base_abandon(file);
    buffer_deinit(&states);
    return code;
}

/* The history begins with them: all states are born in epoch 0. Those that are not restored yet have time: the founding
 * commit names bases, and a start that finds it reads them. */
enum weir_code job_begin_found(struct weir_job *job, struct weir_error *error)
{
    struct job_restored restored;
    enum weir_code code = job_restore_checkpoint(job, job->from.store, &job->from.mark.frame, 1, &restored, error);
    job->was_complete = restored.was_complete;
    job->is_complete = restored.is_complete && takes_positions(job);
    if (code != WEIR_OK) return weir_error_wrap(error, "savepoint %s", job->from.path), code;
    for (size_t i = 0; i < job->keyed.count; i++) {
        struct job_keyed *keyed = &job->keyed.items[i];
        memset(keyed->born_epochs, 0, sizeof(keyed->born_epochs));
        for (uint32_t k = 0; code == WEIR_OK && k < job->plan->vertices[keyed->vertex].parallelism; k++)
            code = write_base(job, keyed, k, error);
    }
    return code;
}
