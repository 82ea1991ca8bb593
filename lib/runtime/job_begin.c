#include <stdio.h>
#include <string.h>

#include "runtime/job.h"

/* Beginning from a savepoint: a job with no history takes over its state and its positions, and may differ from the one that
 * it was taken of in whatever does not make nonsense of them. */

#define CHUNK_BYTES (4u << 20)

/* ---- What is to be different ---------------------------------------------------------------------------------------- */

static bool has_operator(const struct weir_job *job, const char *name)
{
    for (uint32_t v = 0; v < job->plan->vertex_count; v++) {
        const struct plan_vertex *at = &job->plan->vertices[v];
        if (at->source != NULL && strcmp(at->source->name, name) == 0) return true;
        for (uint32_t s = 0; s < at->chain.stage_count; s++)
            if (strcmp(at->chain.stages[s].spec->name, name) == 0) return true;
    }
    return false;
}

static enum weir_code add_rename(struct weir_job *job, const char *from, const char *to, struct weir_error *error)
{
    for (size_t i = 0; i < job->from.renames.count; i++)
        if (strcmp(job->from.renames.items[i].from, from) == 0)
            return weir_error_set(error, WEIR_USAGE, WEIR_REMEDY_STOP,
                                  "--rename-operator and --reset-operator name '%s' twice: say once what becomes of it", from);
    struct job_rename *rename = vec_push(&job->from.renames);
    if (rename == NULL) return weir_error_set(error, WEIR_NO_MEMORY, WEIR_REMEDY_STOP, "no memory for names");
    *rename = (struct job_rename){ from, to };
    return WEIR_OK;
}

/* OLD=NEW, or NAME of an operator whose state is not taken over. */
static enum weir_code take_name(struct weir_job *job, char *word, bool is_rename, struct weir_error *error)
{
    if (!is_rename) return add_rename(job, word, NULL, error);
    char *to = strchr(word, '=');
    if (to == NULL || to == word || to[1] == '\0')
        return weir_error_set(error, WEIR_USAGE, WEIR_REMEDY_STOP,
                              "--rename-operator '%s': write OLD=NEW, with a comma between two of them", word);
    *to++ = '\0';
    if (!has_operator(job, to))
        return weir_error_set(error, WEIR_USAGE, WEIR_REMEDY_STOP,
                              "--rename-operator '%s=%s': the job has no operator '%s'", word, to, to);
    return add_rename(job, word, to, error);
}

static enum weir_code take_names(struct weir_job *job, const char *key, bool is_rename, struct weir_error *error)
{
    const char *text = weir_config_text(job->config, key);
    if (text == NULL) return WEIR_OK;
    char *words = arena_text(&job->from.names, text), *rest = NULL;
    if (words == NULL) return weir_error_set(error, WEIR_NO_MEMORY, WEIR_REMEDY_STOP, "no memory for names");
    enum weir_code code = WEIR_OK;
    for (char *word = strtok_r(words, ",", &rest); code == WEIR_OK && word != NULL; word = strtok_r(NULL, ",", &rest))
        code = take_name(job, word, is_rename, error);
    return code;
}

enum weir_code job_begin_configure(struct weir_job *job, struct weir_error *error)
{
    struct job_from *from = &job->from;
    from->path = weir_config_text(job->config, "execution.savepoint.path");
    from->map_path = weir_config_text(job->config, "execution.savepoint.position-map");
    arena_init(&from->names, 256);
    enum weir_code code = take_names(job, "execution.savepoint.rename-operators", true, error);
    if (code == WEIR_OK) code = take_names(job, "execution.savepoint.reset-operators", false, error);
    if (code != WEIR_OK || from->path != NULL || (from->renames.count == 0 && from->map_path == NULL)) return code;
    return weir_error_set(error, WEIR_USAGE, WEIR_REMEDY_STOP,
                          "--rename-operator, --reset-operator and --position-map say how a job begins from a savepoint: "
                          "give --from-savepoint PATH, too");
}

void job_begin_deinit(struct weir_job *job)
{
    vec_free(&job->from.renames);
    arena_deinit(&job->from.names);
    position_map_deinit(&job->from.map);
}

bool job_begin_is_changed(const struct weir_job *job)
{
    return job->from.renames.count > 0 || job->from.map_path != NULL ||
           strcmp(weir_config_text(job->config, "start.position"), "start") == 0;
}

/* A job that began with the savepoint already needs neither it nor the map any more. */
void job_begin_read(struct weir_job *job)
{
    struct job_from *from = &job->from;
    struct weir_error error;
    if (from->path == NULL || from->was_read) return;
    from->was_read = true;
    enum weir_code code = savepoint_open(NULL, from->path, &from->mark, &from->store, &error);
    if (code != WEIR_OK) {
        from->mark = (struct savepoint_mark){ .wall_ms = 0 };
        savepoint_id_in(from->path, from->mark.id);
    } else if (from->map_path != NULL) {
        code = position_map_load(&from->map, from->map_path, &error);
    }
    if (code != WEIR_OK) (void)snprintf(from->missing, sizeof(from->missing), "%s", error.text);
}

/* ---- Names ---------------------------------------------------------------------------------------------------------- */

/* NULL = it is not taken over. */
static const char *name_in_job(const struct weir_job *job, const char *name)
{
    for (size_t i = 0; i < job->from.renames.count; i++)
        if (strcmp(job->from.renames.items[i].from, name) == 0) return job->from.renames.items[i].to;
    return name;
}

void job_begin_rename(const struct weir_job *job, struct manifest *manifest)
{
    size_t operators = 0, sources = 0;
    for (size_t i = 0; i < manifest->operator_count; i++) {
        const char *name = name_in_job(job, manifest->operators[i].name);
        if (name == NULL) continue;
        manifest->operators[operators] = manifest->operators[i];
        manifest->operators[operators++].name = name;
    }
    for (size_t i = 0; i < manifest->source_count; i++) {
        const char *name = name_in_job(job, manifest->sources[i].name);
        if (name == NULL) continue;
        manifest->sources[sources] = manifest->sources[i];
        manifest->sources[sources++].name = name;
    }
    manifest->operator_count = operators;
    manifest->source_count = sources;
}

/* Does an operator have the new name of this one already, and keep it, or get it as well? */
static bool is_given_twice(const struct weir_job *job, const struct manifest *manifest, size_t index)
{
    const struct job_rename *rename = &job->from.renames.items[index];
    if (rename->to == NULL || strcmp(rename->from, rename->to) == 0) return false;
    for (size_t k = 0; k < index; k++) {
        const char *other = job->from.renames.items[k].to;
        if (other != NULL && strcmp(other, rename->to) == 0) return true;
    }
    if (manifest_find_operator(manifest, rename->to) == NULL && manifest_find_source(manifest, rename->to) == NULL)
        return false;
    const char *then = name_in_job(job, rename->to);
    return then != NULL && strcmp(then, rename->to) == 0;
}

/* Who misspells a name would otherwise begin without the state. */
static enum weir_code check_names(const struct weir_job *job, const struct manifest *manifest, struct weir_error *error)
{
    for (size_t i = 0; i < job->from.renames.count; i++) {
        const struct job_rename *rename = &job->from.renames.items[i];
        if (manifest_find_operator(manifest, rename->from) == NULL && manifest_find_source(manifest, rename->from) == NULL)
            return weir_error_set(error, WEIR_FOREIGN, WEIR_REMEDY_STOP,
                                  "--%s '%s': the savepoint holds nothing of an operator of that name; 'weir state ls %s' "
                                  "shows its operators",
                                  rename->to == NULL ? "reset-operator" : "rename-operator", rename->from, job->from.path);
        if (is_given_twice(job, manifest, i))
            return weir_error_set(error, WEIR_FOREIGN, WEIR_REMEDY_STOP,
                                  "--rename-operator '%s=%s': the state of two operators would go to '%s'; rename the "
                                  "other one, too, or give its state up with --reset-operator",
                                  rename->from, rename->to, rename->to);
    }
    return WEIR_OK;
}

/* ---- Positions ------------------------------------------------------------------------------------------------------ */

static bool takes_positions(const struct weir_job *job)
{
    return strcmp(weir_config_text(job->config, "start.position"), "start") != 0 && !job->decision.positions_from_group;
}

static const char *name_of(const char *cluster) { return cluster == NULL ? "" : cluster; }

/* A source as the savepoint has it, and as it is. */
struct beginning {
    const struct weir_job *job;
    const struct job_source *source;
    const struct manifest_source *written;
    const char *cluster;
    bool is_elsewhere; /* offsets of one cluster say nothing about another one's records */
};

static enum weir_code refuse_elsewhere(const struct beginning *at, const struct weir_split *split, struct weir_error *error)
{
    return weir_error_set(error, WEIR_FOREIGN, WEIR_REMEDY_STOP,
                          "source '%s': the savepoint's position %lld of %s is one of cluster %s, and this is cluster %s. Say "
                          "with --position-map FILE which positions are the same here, start with --position start to "
                          "read from where --start says (timestamp:T, for instance), or with --position group at the "
                          "offsets that group '%s' has here%s",
                          at->source->spec->name, (long long)split->position, split->name, at->written->cluster, at->cluster,
                          at->job->name, at->job->decision.positions_from_group ? ", which has none for this one" : "");
}

static const struct weir_mirror *mirror_of(const struct weir_job *job, const char *split)
{
    for (size_t i = 0; i < job->facts.mirror_count; i++)
        if (strcmp(job->facts.mirrors[i].split, split) == 0) return &job->facts.mirrors[i];
    return NULL;
}

/* Topic ids are another cluster's, and a mirrored topic has one of its own: there the position counts, and nothing but it. */
static enum weir_code translate(const struct beginning *at, const struct weir_split *split, struct weir_split *there,
                                struct weir_error *error)
{
    const struct job_from *from = &at->job->from;
    *there = *split;
    if (at->job->decision.positions_from_group) {
        const struct weir_mirror *mirror = mirror_of(at->job, split->name);
        if (mirror == NULL) return at->is_elsewhere ? refuse_elsewhere(at, split, error) : WEIR_OK;
        there->position = mirror->position;
        if (at->is_elsewhere) there->identity = "";
        return WEIR_OK;
    }
    if (position_map_names(&from->map, split->name) || (from->map_path != NULL && at->is_elsewhere)) {
        const struct position_map_line *line = position_map_find(&from->map, split->name, split->position);
        if (line == NULL)
            return weir_error_set(error, WEIR_FOREIGN, WEIR_REMEDY_STOP,
                                  "source '%s': the savepoint stands at %lld of %s, and %s has no line for that position; "
                                  "add one: %s %lld POSITION-THERE",
                                  at->source->spec->name, (long long)split->position, split->name, from->map_path,
                                  split->name, (long long)split->position);
        *there = (struct weir_split){ .name = line->split_there, .identity = "", .position = line->position_there,
                                      .end = WEIR_POSITION_NONE };
        return WEIR_OK;
    }
    return at->is_elsewhere ? refuse_elsewhere(at, split, error) : WEIR_OK;
}

enum weir_code job_begin_positions(const struct weir_job *job, const struct job_source *source,
                                   const struct manifest_source *written, struct weir_splits *splits,
                                   struct weir_error *error)
{
    const struct weir_source_type *type = source->spec->source.type;
    const char *cluster = type->cluster == NULL ? "" : name_of(type->cluster(source->instance));
    const bool is_elsewhere = written->cluster[0] != '\0' && cluster[0] != '\0' && strcmp(written->cluster, cluster) != 0;
    const struct beginning at = { job, source, written, cluster, is_elsewhere };
    for (size_t i = 0; i < written->splits.count; i++) {
        struct weir_split there;
        const enum weir_code code = translate(&at, &written->splits.items[i], &there, error);
        if (code != WEIR_OK) return code;
        if (weir_splits_find(splits, there.name) != NULL)
            return weir_error_set(error, WEIR_FOREIGN, WEIR_REMEDY_STOP,
                                  "source '%s': two partitions of the savepoint would go on in %s; correct %s",
                                  source->spec->name, there.name, job->from.map_path);
        if (!weir_splits_add(splits, &there))
            return weir_error_set(error, WEIR_NO_MEMORY, WEIR_REMEDY_REPLAY, "no memory for splits");
    }
    return WEIR_OK;
}

/* ---- Outputs -------------------------------------------------------------------------------------------------------- */

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

enum weir_code job_begin_check(const struct weir_job *job, struct manifest *manifest, struct weir_error *error)
{
    enum weir_code code = check_outputs(job, manifest, error);
    if (code == WEIR_OK) code = check_names(job, manifest, error);
    if (code == WEIR_OK) job_begin_rename(job, manifest);
    return code;
}

/* ---- Bases of what was restored ------------------------------------------------------------------------------------- */

/* What was dealt out has changed already, and what changed in the open stretch is left to a delta. But the founding has
 * none: so the stretch ends here, and with it what the delta would be. */
static bool end_stretch(struct shard *shard, struct buffer *delta)
{
    if (!shard_part_begin(shard, delta)) return false;
    while (!shard_snapshot_step(shard, SIZE_MAX)) {}
    return !delta->failed;
}

static enum weir_code write_units(struct store_base *file, struct shard *shard, struct weir_error *error)
{
    struct buffer chunk;
    buffer_init(&chunk);
    enum weir_code code = end_stretch(shard, &chunk)
                              ? WEIR_OK : weir_error_set(error, WEIR_NO_MEMORY, WEIR_REMEDY_REPLAY, "no memory for a base");
    if (code == WEIR_OK) (void)shard_dump_begin(shard);
    for (bool last = false; code == WEIR_OK && !last;) {
        buffer_clear(&chunk);
        last = shard_dump_step(shard, CHUNK_BYTES, &chunk);
        code = chunk.failed ? weir_error_set(error, WEIR_NO_MEMORY, WEIR_REMEDY_REPLAY, "no memory for a base")
                            : store_base_append(file, (struct weir_bytes){ chunk.data, chunk.size }, error);
    }
    if (code != WEIR_OK && shard_is_dumping(shard)) shard_dump_abandon(shard);
    buffer_deinit(&chunk);
    /* What a store failed to read looks like nothing, and would be gone for good. */
    const struct weir_error *failure = code == WEIR_OK ? shard_failure(shard) : NULL;
    if (failure == NULL) return code;
    *error = *failure;
    return failure->code;
}

static enum weir_code write_base(struct weir_job *job, struct job_keyed *keyed, uint32_t subtask, struct weir_error *error)
{
    struct store_base *file = NULL;
    struct buffer states;
    struct job_base *base = vec_push(&keyed->bases);
    buffer_init(&states);
    if (base == NULL || !job_states_encode(keyed, &states)) {
        buffer_deinit(&states);
        return weir_error_set(error, WEIR_NO_MEMORY, WEIR_REMEDY_REPLAY, "no memory for a base");
    }
    *base = job_base_of(job, keyed, subtask, 0);
    enum weir_code code = store_base_create(job->store, &file, error);
    if (code == WEIR_OK) code = store_base_append(file, (struct weir_bytes){ states.data, states.size }, error);
    if (code == WEIR_OK) code = write_units(file, job_shard_of(job, keyed, subtask), error);
    if (code == WEIR_OK) code = store_base_finish(file, &base->file, error);
    if (code != WEIR_OK) store_base_abandon(file);
    buffer_deinit(&states);
    return code;
}

/* The history begins with them: all states are born in epoch 0. Those that are not restored yet have time: the founding
 * commit names bases, and a start that finds it reads them. */
enum weir_code job_begin_found(struct weir_job *job, struct job_restored *restored, struct weir_error *error)
{
    enum weir_code code = job_restore_checkpoint(job, job->from.store, &job->from.mark.frame, 1, restored, error);
    restored->is_complete = restored->is_complete && takes_positions(job);
    if (code != WEIR_OK) return weir_error_wrap(error, "savepoint %s", job->from.path), code;
    for (size_t i = 0; i < job->keyed.count; i++) {
        struct job_keyed *keyed = &job->keyed.items[i];
        memset(keyed->born_epochs, 0, sizeof(keyed->born_epochs));
        for (uint32_t k = 0; code == WEIR_OK && k < job->plan->vertices[keyed->vertex].parallelism; k++)
            code = write_base(job, keyed, k, error);
    }
    return code;
}
