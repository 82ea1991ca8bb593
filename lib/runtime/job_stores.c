#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "runtime/job.h"
#include "state/store_rocksdb.h"

/* The stores behind the shards, where the backend is rocksdb. They are opened by the environment worker, because that
 * blocks, and taken by the shards when the tasks are made.
 *
 *   FOLDER/local-<incarnation>/<attempt>-<shard>      FOLDER: state.backend.local-dir/<job>, or the job's in the
 *                                                     checkpoint store; with checkpoints in memory, a temporary one
 *
 * state.backend.memory is for all of them:
 *
 *   12/24  tables                          6/24   blocks read
 *    2/24  batches on their way to stores  4/24   deltas on their way into the log, as the tasks write them and in their frame,
 *                                                 of an epoch and of its early part: so each may have a 24th
 *
 * Each of the last two has a least size, below which a job would do nothing but commit: a small budget is passed. */
enum { OPEN_FILES = 512, OPEN_FILES_MIN = 16, FOLDER_MAX = 900, DELTA_BYTES_MIN = 512 << 10 };

static bool is_on_disk(const struct weir_job *job)
{
    return strcmp(weir_config_text(job->config, "state.backend.type"), "rocksdb") == 0;
}

void job_stores_note(const struct weir_job *job)
{
    const char *type = weir_config_text(job->config, "state.backend.type");
    if (strcmp(type, "rocksdb") != 0 && strcmp(type, "hashmap") != 0)
        job_log(job, WEIR_LOG_INFO, "job '%s': state.backend.type '%s' is understood as 'hashmap'", job->name, type);
}

bool job_stores_are_linked(const struct weir_job *job)
{
    return is_on_disk(job) && weir_config_bool(job->config, "execution.checkpointing.incremental");
}

uint64_t job_stores_budget(const struct weir_job *job)
{
    return is_on_disk(job) ? (uint64_t)weir_config_size_bytes(job->config, "state.backend.memory") : 0;
}

struct job_limits job_stores_limits(const struct weir_job *job)
{
    const uint64_t soft = (uint64_t)weir_config_size_bytes(job->config, "execution.epoch.soft-limit");
    const uint64_t hard = (uint64_t)weir_config_size_bytes(job->config, "execution.epoch.hard-limit");
    const uint64_t share = job_stores_budget(job) / 24, most = share > DELTA_BYTES_MIN ? share : DELTA_BYTES_MIN;
    if (!is_on_disk(job)) return (struct job_limits){ .soft_bytes = soft, .delta_bytes = soft, .hard_bytes = hard };
    return (struct job_limits){ .soft_bytes = soft, .delta_bytes = most / 2, .hard_bytes = hard < most ? hard : most };
}

static void folder_of(const struct weir_job *job, char folder[FOLDER_MAX])
{
    const char *local = weir_config_text(job->config, "state.backend.local-dir");
    if (local == NULL)
        (void)snprintf(folder, FOLDER_MAX, "%s", job->in_memory ? job->stores.temporary : store_path(job->store));
    else (void)snprintf(folder, FOLDER_MAX, "%s/%s", local, job->name);
}

/* Who keeps checkpoints in memory wants no folder to care for. */
static enum weir_code make_temporary(struct weir_job *job, struct weir_error *error)
{
    char folder[STORE_PATH_MAX];
    const bool is_named = weir_config_text(job->config, "state.backend.local-dir") != NULL;
    if (!job->in_memory || is_named || job->stores.temporary != NULL) return WEIR_OK;
    if (!store_files_temporary("weir-state", folder))
        return weir_error_set(error, WEIR_ENVIRONMENT, WEIR_REMEDY_STOP,
                              "job '%s': no temporary folder for RocksDB: %s; set state.backend.local-dir, or TMPDIR",
                              job->name, strerror(errno));
    job->stores.temporary = strdup(folder);
    if (job->stores.temporary != NULL) return WEIR_OK;
    (void)rmdir(folder);
    return weir_error_set(error, WEIR_NO_MEMORY, WEIR_REMEDY_REPLAY, "no memory for the name of a folder");
}

static void remove_temporary(struct weir_job *job)
{
    if (job->stores.temporary != NULL) (void)rmdir(job->stores.temporary);
    free(job->stores.temporary);
    job->stores.temporary = NULL;
}

static uint32_t shard_count(const struct weir_job *job)
{
    uint32_t count = 0;
    for (size_t k = 0; k < job->keyed.count; k++)
        if (job->keyed.items[k].spec->state_count > 0)
            count += job->plan->vertices[job->keyed.items[k].vertex].parallelism;
    return count;
}

/* A store to be opened. */
struct opening {
    struct weir_job *job;
    const struct job_keyed *keyed;
    const struct manifest_operator *written; /* NULL = nothing is restored */
    uint32_t subtask;
    uint32_t group_first, group_end;
    struct job_store *store;
    struct arena arena;
    const char *given_up[JOB_STATES_WRITTEN_MAX];
    uint32_t given_up_count;
};

/* Of the bases of files by reference, the one that has the newest word on most of the shard: the store begins with it, and
 * the others are read into it. SIZE_MAX = there is none. */
static size_t choose_base(const struct opening *opening)
{
    size_t chosen = SIZE_MAX;
    uint32_t most = 0;
    for (size_t i = 0; opening->written != NULL && i < opening->written->base_count; i++) {
        const uint32_t count =
            store_base_is_links(&opening->written->bases[i])
                ? job_base_newest_of(opening->written, i, opening->group_first, opening->group_end)
                : 0;
        if (count > most) chosen = i;
        if (count > most) most = count;
    }
    return chosen;
}

/* Where the form of values has changed since, the base is read through instead. */
static enum weir_code take_base(struct opening *opening, size_t index, struct weir_error *error)
{
    struct links *links = &opening->store->known;
    struct manifest_state *states;
    size_t count;
    const enum weir_code code = links_read(opening->job->store, &opening->written->bases[index], links, error);
    if (code != WEIR_OK) return code;
    const struct weir_bytes bytes = { links->states.data, links->states.size };
    if (!manifest_states_decode(bytes, &opening->arena, &states, &count))
        return weir_error_set(error, WEIR_DAMAGED, WEIR_REMEDY_STOP, "damaged state: %s does not begin with its states",
                              opening->written->bases[index].name);
    if (job_states_are_same(opening->keyed, states, count, &links->stamped, opening->given_up,
                            &opening->given_up_count) &&
        links->key_groups == opening->job->plan->max_parallelism) {
        opening->store->linked = index + 1;
        return WEIR_OK;
    }
    links_deinit(links);
    links_init(links);
    return WEIR_OK;
}

static enum weir_code open_store(const struct opening *opening, struct weir_error *error)
{
    struct weir_job *job = opening->job;
    char folder[FOLDER_MAX], directory[FOLDER_MAX + 96];
    folder_of(job, folder);
    (void)snprintf(directory, sizeof(directory), "%s/local-%llu/%u-%zu", folder,
                   (unsigned long long)job->decision.incarnation, job->attempt, job->stores.open.count);
    const uint32_t files = OPEN_FILES / shard_count(job);
    const struct store_rocksdb_options options = {
        .directory = directory,
        .states = opening->keyed->spec->states,
        .state_count = opening->keyed->spec->state_count,
        .max_parallelism = job->plan->max_parallelism,
        .group_first = opening->group_first,
        .group_count = opening->group_end - opening->group_first,
        .memory = job->stores.memory,
        .environment = &job->environment,
        .open_files_max = files < OPEN_FILES_MIN ? OPEN_FILES_MIN : (int)files,
        .from = job->store,
        .base = opening->store->linked > 0 ? &opening->store->known : NULL,
        .given_up = opening->given_up,
        .given_up_count = opening->given_up_count,
    };
    return store_rocksdb_open(&options, &opening->store->store, error);
}

static enum weir_code open_one(struct weir_job *job, const struct job_keyed *keyed,
                               const struct manifest_operator *written, uint32_t subtask, struct weir_error *error)
{
    const uint32_t parallelism = job->plan->vertices[keyed->vertex].parallelism;
    struct opening opening = {
        .job = job, .keyed = keyed, .written = written, .subtask = subtask,
        .group_first = key_group_first(job->plan->max_parallelism, parallelism, subtask),
        .group_end = key_group_first(job->plan->max_parallelism, parallelism, subtask + 1),
        .store = vec_push(&job->stores.open),
    };
    if (opening.store == NULL)
        return weir_error_set(error, WEIR_NO_MEMORY, WEIR_REMEDY_REPLAY, "no memory for a store");
    *opening.store = (struct job_store){ .store = NULL };
    links_init(&opening.store->known);
    arena_init(&opening.arena, 2 * 1024);
    const size_t base = choose_base(&opening);
    enum weir_code code = base == SIZE_MAX ? WEIR_OK : take_base(&opening, base, error);
    if (code == WEIR_OK) code = open_store(&opening, error);
    arena_deinit(&opening.arena);
    if (code != WEIR_OK) weir_error_wrap(error, "operator '%s'", keyed->spec->name);
    return code;
}

enum weir_code job_stores_open(struct weir_job *job, const struct manifest *manifest, struct weir_error *error)
{
    char folder[FOLDER_MAX];
    if (!is_on_disk(job) || shard_count(job) == 0) return WEIR_OK;
    CHECK(job->stores.open.count == 0);
    enum weir_code code = make_temporary(job, error);
    if (code != WEIR_OK) return code;
    folder_of(job, folder);
    code = store_rocksdb_begin(folder, job->decision.incarnation, error);
    if (code == WEIR_OK && job->stores.memory == NULL) {
        job->stores.memory = store_memory_create(job_stores_budget(job) / 4);
        if (job->stores.memory == NULL)
            code = weir_error_set(error, WEIR_NO_MEMORY, WEIR_REMEDY_REPLAY, "no memory for a cache of blocks");
    }
    for (size_t k = 0; code == WEIR_OK && k < job->keyed.count; k++) {
        const struct job_keyed *keyed = &job->keyed.items[k];
        const uint32_t count = keyed->spec->state_count == 0 ? 0 : job->plan->vertices[keyed->vertex].parallelism;
        const struct manifest_operator *written =
            manifest == NULL ? NULL : manifest_find_operator(manifest, keyed->spec->name);
        for (uint32_t i = 0; code == WEIR_OK && i < count; i++) code = open_one(job, keyed, written, i, error);
    }
    return code;
}

void job_stores_use(struct weir_job *job)
{
    size_t next = 0;
    const uint64_t bytes = job_stores_budget(job);
    for (size_t i = 0; i < job->shards.count; i++) {
        const struct job_keyed *keyed = &job->keyed.items[job->shards.items[i].keyed];
        if (keyed->spec->state_count == 0) continue;
        struct shard *shard = job_shard_of(job, keyed, job->shards.items[i].subtask);
        shard_report_to(shard, &job->holdings);
        if (!is_on_disk(job)) continue;
        const struct job_store *opened = &job->stores.open.items[next++];
        shard_use(shard, opened->store, bytes / 2 / shard_count(job));
        job->shards.items[i].known = opened->known;
        job->shards.items[i].linked = opened->linked;
    }
    CHECK(next == job->stores.open.count);
    vec_free(&job->stores.open);
}

void job_stores_drop(struct weir_job *job)
{
    for (size_t i = 0; i < job->stores.open.count; i++) {
        if (job->stores.open.items[i].store != NULL) store_rocksdb_close(job->stores.open.items[i].store);
        links_deinit(&job->stores.open.items[i].known);
    }
    vec_free(&job->stores.open);
}

void job_stores_close(struct weir_job *job)
{
    char folder[FOLDER_MAX];
    job_stores_drop(job);
    if (job->stores.memory != NULL) {
        folder_of(job, folder);
        store_rocksdb_end(folder, job->decision.incarnation);
    }
    store_memory_destroy(job->stores.memory);
    job->stores.memory = NULL;
    remove_temporary(job);
}
