#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/job.h"
#include "weir/inspect.h"

/* The states of the job and those of a checkpoint. Two states are the same when they have name and birth in common: one
 * that was given up, and later declared again, finds nothing of its former life. */

/* ---- What is written of them ---------------------------------------------------------------------------------------- */

static const char *object_of(const struct operator_spec *spec, uint32_t state)
{
    const struct weir_state *tag = spec->state_tags[state];
    return tag == NULL || tag->object == NULL || tag->codec != WEIR_OBJECT ? "" : tag->object->name;
}

struct manifest_state *job_states_of(const struct job_keyed *keyed, struct arena *arena)
{
    const struct operator_spec *spec = keyed->spec;
    struct manifest_state *states = arena_alloc(arena, (spec->state_count + 1) * sizeof(*states));
    for (uint32_t i = 0; states != NULL && i < spec->state_count; i++)
        states[i] = (struct manifest_state){
            .name = spec->states[i].name, .kind = (uint8_t)spec->states[i].kind,
            .codec = (uint8_t)spec->states[i].codec, .value_size_bytes = spec->states[i].value_size_bytes,
            .version = spec->states[i].version, .object = object_of(spec, i), .born_epoch = keyed->born_epochs[i],
            .expires_since_ms = keyed->expires_since_ms[i], .gone_ms = keyed->gone_ms[i] };
    return states;
}

bool job_states_encode(const struct job_keyed *keyed, struct buffer *out)
{
    struct arena arena;
    arena_init(&arena, 2 * 1024);
    const struct manifest_state *states = job_states_of(keyed, &arena);
    const bool good = states != NULL && manifest_states_encode(states, keyed->spec->state_count, out);
    arena_deinit(&arena);
    return good;
}

/* ---- What is claimed ------------------------------------------------------------------------------------------------ */

static uint32_t find_state(const struct operator_spec *spec, const char *name)
{
    for (uint32_t i = 0; i < spec->state_count; i++)
        if (strcmp(spec->states[i].name, name) == 0) return i;
    return UINT32_MAX;
}

static struct job_keyed *find_keyed(struct weir_job *job, const char *name)
{
    for (size_t i = 0; i < job->keyed.count; i++)
        if (strcmp(job->keyed.items[i].spec->name, name) == 0) return &job->keyed.items[i];
    return NULL;
}

static bool has_form(const struct operator_spec *spec, uint32_t state, const struct manifest_state *written)
{
    const struct state_declaration *declared = &spec->states[state];
    return written->codec == declared->codec && written->value_size_bytes == declared->value_size_bytes &&
           strcmp(written->object, object_of(spec, state)) == 0;
}

#define FOREIGN(error, ...) weir_error_set((error), WEIR_FOREIGN, WEIR_REMEDY_STOP, __VA_ARGS__)

static enum weir_code check_state(const struct operator_spec *spec, uint32_t state, const struct manifest_state *written,
                                  struct weir_error *error)
{
    const struct state_declaration *declared = &spec->states[state];
    if (written->kind != declared->kind)
        return FOREIGN(error,
                       "operator '%s': state '%s' was written as kind '%s' and is declared as '%s' now; start the job as "
                       "it was, or give the state another name",
                       spec->name, written->name, weir_state_kind_name((enum weir_state_kind)written->kind),
                       weir_state_kind_name(declared->kind));
    if (written->version > declared->version)
        return FOREIGN(error,
                       "operator '%s': state '%s' was written by version %u of its codec, and the job declares version "
                       "%u; start the newer program",
                       spec->name, written->name, written->version, declared->version);
    if (written->version < declared->version && !declared->migrates)
        return FOREIGN(error,
                       "operator '%s': state '%s' was written by version %u of its codec, and the job declares version "
                       "%u without a .migrate; name the function that makes new values of old ones",
                       spec->name, written->name, written->version, declared->version);
    if (written->version == declared->version && !has_form(spec, state, written))
        return FOREIGN(error,
                       "operator '%s': state '%s' was written with another codec or size than the job declares now; start "
                       "the job as it was, or count up its .version and name a .migrate",
                       spec->name, written->name);
    return WEIR_OK;
}

static bool ignores_unclaimed(const struct weir_job *job)
{
    return weir_config_bool(job->config, "execution.savepoint.ignore-unclaimed-state");
}

static enum weir_code claim_states(struct weir_job *job, struct job_keyed *keyed, const struct manifest_operator *written,
                                   struct weir_error *error)
{
    for (size_t i = 0; i < written->state_count; i++) {
        const struct manifest_state *state = &written->states[i];
        const uint32_t index = find_state(keyed->spec, state->name);
        if (index != UINT32_MAX) {
            const enum weir_code code = check_state(keyed->spec, index, state, error);
            if (code != WEIR_OK) return code;
            keyed->born_epochs[index] = state->born_epoch;
            keyed->gone_ms[index] = state->gone_ms;
            if (state->expires_since_ms != 0 && keyed->expires_since_ms[index] != 0)
                keyed->expires_since_ms[index] = state->expires_since_ms;
            continue;
        }
        if (!ignores_unclaimed(job))
            return FOREIGN(error,
                           "operator '%s': the checkpoint holds state '%s', which the job no longer declares; declare it "
                           "again, or give it up with execution.savepoint.ignore-unclaimed-state",
                           written->name, state->name);
        job_log(job, WEIR_LOG_WARN, "operator '%s': state '%s' is given up: the job no longer declares it", written->name,
                state->name);
    }
    return WEIR_OK;
}

enum weir_code job_states_claim(struct weir_job *job, const struct manifest *manifest, uint64_t epoch,
                                struct weir_error *error)
{
    if (manifest->generation > job->generation) job->generation = manifest->generation;
    if (manifest->clock_ms > job->clock_ms) job->clock_ms = manifest->clock_ms;
    job_states_found(job, epoch);
    for (size_t i = 0; i < manifest->operator_count; i++) {
        const struct manifest_operator *written = &manifest->operators[i];
        struct job_keyed *keyed = find_keyed(job, written->name);
        if (keyed != NULL) {
            const enum weir_code code = claim_states(job, keyed, written, error);
            if (code != WEIR_OK) return code;
        } else if (written->state_count > 0) {
            if (!ignores_unclaimed(job))
                return FOREIGN(error,
                               "job '%s': the checkpoint holds state of operator '%s', which the job no longer has; give "
                               "it back its operator, or give the state up with "
                               "execution.savepoint.ignore-unclaimed-state",
                               job->name, written->name);
            job_log(job, WEIR_LOG_WARN, "the state of operator '%s' is given up: the job no longer has it",
                    written->name);
        }
    }
    return WEIR_OK;
}

void job_states_found(struct weir_job *job, uint64_t epoch)
{
    const int64_t wall_ms = job->environment.wall_ms(job->environment.user);
    const int64_t now_ms = wall_ms > job->clock_ms ? wall_ms : job->clock_ms;
    for (size_t i = 0; i < job->keyed.count; i++) {
        struct job_keyed *keyed = &job->keyed.items[i];
        for (uint32_t k = 0; k < keyed->spec->state_count; k++) {
            keyed->born_epochs[k] = epoch;
            keyed->expires_since_ms[k] = keyed->spec->states[k].ttl_ms > 0 ? now_ms : 0;
            keyed->gone_ms[k] = 0;
        }
    }
}

void job_states_age(struct weir_job *job)
{
    for (size_t i = 0; i < job->keyed.count; i++) {
        struct job_keyed *keyed = &job->keyed.items[i];
        for (uint32_t k = 0; k < keyed->spec->state_count; k++) {
            const int64_t ttl_ms = keyed->spec->states[k].ttl_ms;
            if (ttl_ms > 0 && job->clock_ms - ttl_ms > keyed->gone_ms[k]) keyed->gone_ms[k] = job->clock_ms - ttl_ms;
        }
    }
}

uint64_t job_states_born(const struct job_keyed *keyed)
{
    uint64_t born = UINT64_MAX;
    for (uint32_t i = 0; i < keyed->spec->state_count; i++)
        if (keyed->born_epochs[i] < born) born = keyed->born_epochs[i];
    return born;
}

/* ---- What is the operators' own ------------------------------------------------------------------------------------- */

static bool deal_out_state(struct weir_job *job, const struct job_keyed *keyed, uint32_t count_before, uint32_t state,
                           struct shard **shards)
{
    const uint32_t count = job->plan->vertices[keyed->vertex].parallelism;
    struct task *const *tasks = job->tasks.items + job->vertex_first[keyed->vertex];
    struct state_parcel all;
    state_parcel_init(&all);
    for (uint32_t i = 0; i < count; i++) shards[i] = job_shard_of(job, keyed, i);
    bool good = state_deal_out(shards, count, count_before, state, &all);
    const bool is_union = keyed->spec->states[state].kind == WEIR_STATE_OPERATOR_UNION;
    for (uint32_t i = 0; good && is_union && i < count; i++)
        good = chain_show_union(task_chain(tasks[i]), keyed->stage, state, &all);
    state_parcel_deinit(&all);
    return good;
}

static bool deal_out_operator(struct weir_job *job, const struct job_keyed *keyed, uint32_t count_before)
{
    struct shard **shards = calloc(job->plan->vertices[keyed->vertex].parallelism, sizeof(*shards));
    bool good = shards != NULL;
    for (uint32_t i = 0; good && i < keyed->spec->state_count; i++)
        if (state_kind_is_own(keyed->spec->states[i].kind)) good = deal_out_state(job, keyed, count_before, i, shards);
    free(shards);
    return good;
}

enum weir_code job_states_deal_out(struct weir_job *job, const struct manifest *manifest, struct weir_error *error)
{
    for (size_t i = 0; i < job->keyed.count; i++) {
        const struct job_keyed *keyed = &job->keyed.items[i];
        const struct manifest_operator *written = manifest_find_operator(manifest, keyed->spec->name);
        if (written == NULL || !keyed->spec->has_own_state) continue;
        if (written->parallelism == 0 || written->parallelism > manifest->max_parallelism)
            return weir_error_set(error, WEIR_DAMAGED, WEIR_REMEDY_STOP,
                                  "damaged checkpoint: operator '%s' had %u subtasks, with %u key groups", written->name,
                                  written->parallelism, manifest->max_parallelism);
        if (!deal_out_operator(job, keyed, written->parallelism))
            return weir_error_set(error, WEIR_NO_MEMORY, WEIR_REMEDY_REPLAY, "no memory for the state of operator '%s'",
                                  written->name);
    }
    return WEIR_OK;
}

/* ---- Whose units are whose ------------------------------------------------------------------------------------------ */

void job_states_map(const struct job_keyed *keyed, const struct manifest_state *written, size_t count,
                    struct state_mapping mapping[JOB_STATES_WRITTEN_MAX])
{
    for (size_t i = 0; i < count && i < JOB_STATES_WRITTEN_MAX; i++) {
        const uint32_t index = find_state(keyed->spec, written[i].name);
        const bool is_same = index != UINT32_MAX && keyed->born_epochs[index] == written[i].born_epoch;
        mapping[i] = (struct state_mapping){ .state = is_same ? index : UINT32_MAX, .version = written[i].version,
                                             .value_size_bytes = written[i].value_size_bytes,
                                             .unstamped_ms = is_same ? keyed->expires_since_ms[index] : 0 };
    }
}

bool job_states_are_same(const struct job_keyed *keyed, const struct manifest_state *written, size_t count,
                         const struct buffer *stamped, const char *given_up[JOB_STATES_WRITTEN_MAX],
                         uint32_t *given_up_count)
{
    *given_up_count = 0;
    if (count > JOB_STATES_WRITTEN_MAX || stamped->size != count) return false;
    for (size_t i = 0; i < count; i++) {
        const uint32_t index = find_state(keyed->spec, written[i].name);
        if (index == UINT32_MAX) continue; /* nobody asks for it */
        const struct state_declaration *declared = &keyed->spec->states[index];
        if (keyed->born_epochs[index] != written[i].born_epoch) given_up[(*given_up_count)++] = written[i].name;
        else if (written[i].kind != declared->kind || written[i].version != declared->version ||
                 !has_form(keyed->spec, index, &written[i]) || stamped->data[i] != (declared->ttl_ms > 0))
            return false;
    }
    return true;
}
