#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/crash.h"
#include "runtime/job.h"
#include "state/store_files.h"

/* A base goes from the task (slices between batches) through the job thread to the base writer, one chunk under way at a
 * time, so that a slow disk slows the dump down and nothing else.
 *
 *   job ──DUMP──> task ──CHUNK──> job ──work──> base writer ──done──> job ──DUMP──> ...  last: finish ──> written
 *                      ──CHUNK, a folder of links──> job ──work──> base writer: links_write ──> written
 *   barrier n:  written ──job_base_join──> the bases that manifest n names                                        */

/* ---- Deleting ------------------------------------------------------------------------------------------------------- */

struct delete_work {
    struct work work;
    struct store *store;
    struct retention_names names;
};

static enum weir_code run_delete(struct work *work)
{
    struct delete_work *delete = (struct delete_work *)work;
    enum weir_code code = WEIR_OK;
    for (size_t i = 0; i < delete->names.files.count; i++) {
        const enum weir_code one = store_delete(delete->store, delete->names.files.items[i].file, &work->error);
        if (one != WEIR_OK) code = one;
    }
    CRASH_POINT(files_deleted);
    return code;
}

static void delete_done(struct work *work, void *user)
{
    if (work->code != WEIR_OK) job_log(user, WEIR_LOG_WARN, "deleting retired files: %s", work->error.text);
}

static void discard_delete(struct work *work) { retention_names_clear(&((struct delete_work *)work)->names); }

/* Takes the names. */
static void delete_files(struct weir_job *job, struct retention_names *names)
{
    struct delete_work *work =
        names->files.count == 0 ? NULL : job_work(job, sizeof(*work), run_delete, delete_done);
    if (work == NULL) {
        retention_names_clear(names);
        return;
    }
    work->work.discard = discard_delete;
    work->store = job->store;
    work->names = *names;
    job_submit(job, job->log_writer, &work->work);
}

void job_delete_files(struct weir_job *job)
{
    struct retention_names names = { 0 };
    if (job_savepoint_is_copying(job)) return; /* a later commit collects what became superfluous meanwhile */
    retention_collect(&job->retention, &names);
    delete_files(job, &names);
}

/* A base of our own that no manifest has named, and none ever will: it need not wait for a commit, after which there may
 * be none. */
static void throw_away(struct weir_job *job, const char *file, const struct links *links)
{
    struct retention_names names = { 0 };
    for (size_t i = 0; i <= links->files.count; i++) {
        const struct links_file *table = i < links->files.count ? &links->files.items[i] : NULL;
        if (table != NULL && !table->is_fresh) continue;
        struct retention_name *name = vec_push(&names.files);
        if (name == NULL) break; /* the next incarnation collects it */
        snprintf(name->file, sizeof(name->file), "%s", table == NULL ? file : table->file);
    }
    delete_files(job, &names);
}

/* ---- Dumping -------------------------------------------------------------------------------------------------------- */

struct chunk_work {
    struct work work;
    struct weir_job *job;
    struct buffer states;             /* of the first chunk: what the base begins with */
    struct buffer chunk;
    bool last;
    struct store_base *file;          /* NULL at the first chunk */
    struct store_base_result result;
    char *folder;                     /* of links, instead of chunks */
    const struct links *known;
    struct links links;
};

static struct job_keyed *dumped(struct weir_job *job) { return &job->keyed.items[job->shards.items[job->dump.shard].keyed]; }

static void ask_for_slice(struct weir_job *job)
{
    const struct job_shard *shard = &job->shards.items[job->dump.shard];
    const struct job_keyed *keyed = dumped(job);
    struct letter_to_task *letter = calloc(1, sizeof(*letter));
    if (letter == NULL) {
        job->dump.cancelled = true; /* another time */
        return;
    }
    letter->mail.type = LETTER_DUMP;
    letter->stage = keyed->stage;
    task_post(job->tasks.items[job->vertex_first[keyed->vertex] + shard->subtask], letter);
}

/* A base of links costs what has changed, whatever the size of the state, and a look at what is in memory: so the log need not
 * outgrow this part of the state, and of a large one no more than what is replayed within a twentieth of a second: how long a
 * start takes is not to depend on how large the state has become. Each base is a file more for RocksDB to merge, so less is
 * dear. */
enum { LOG_SHARE = 64, LOG_BYTES_MAX = 8 << 20 };

static bool is_due(const struct weir_job *job, const struct job_shard *shard)
{
    const uint64_t floor = (uint64_t)weir_config_size_bytes(job->config, "state.base.min-log-size");
    const uint64_t part = shard->state_bytes / LOG_SHARE;
    const uint64_t little = part < LOG_BYTES_MAX ? part : LOG_BYTES_MAX;
    const uint64_t grown = (uint64_t)(config_f64(job->config, "state.base.log-ratio") * (double)shard->state_bytes);
    const uint64_t share = job->shards.count > 0 ? job->shards.count : 1;
    if (job_stores_are_linked(job) && shard->log_bytes > (little > floor ? little : floor)) return true;
    if (shard->frames >= (uint64_t)weir_config_i64(job->config, "state.recovery.max-frames")) return true;
    return shard->log_bytes > floor / share && shard->log_bytes > grown;
}

/* One shard after another: the one whose log is longest among those that are due. */
void job_base_consider(struct weir_job *job)
{
    if (job->dump.active || job->unwinding || job->tasks_started == 0) return;
    struct job_shard *next = NULL;
    for (size_t i = 0; i < job->shards.count; i++)
        if (is_due(job, &job->shards.items[i]) && (next == NULL || job->shards.items[i].log_bytes > next->log_bytes))
            next = &job->shards.items[i];
    if (next == NULL) return;
    job->dump = (struct job_dump){ .active = true, .shard = (uint32_t)(next - job->shards.items),
                                   .log_bytes = next->log_bytes, .frames = next->frames };
    ask_for_slice(job);
}

static enum weir_code run_links(struct chunk_work *chunk)
{
    struct work *work = &chunk->work;
    CRASH_POINT(base_begun);
    chunk->links.states = chunk->states;
    buffer_init(&chunk->states);
    const enum weir_code code =
        links_write(chunk->job->store, chunk->folder, chunk->known, &chunk->links, &chunk->result, &work->error);
    (void)store_files_remove(chunk->folder, NULL); /* else with the next one */
    CRASH_POINT(base_written);
    return code;
}

static enum weir_code run_chunk(struct work *work)
{
    struct chunk_work *chunk = (struct chunk_work *)work;
    enum weir_code code = WEIR_OK;
    if (chunk->folder != NULL) return run_links(chunk);
    if (chunk->file == NULL) {
        code = store_base_create(chunk->job->store, &chunk->file, &work->error);
        if (code == WEIR_OK)
            code = store_base_append(chunk->file, (struct weir_bytes){ chunk->states.data, chunk->states.size },
                                     &work->error);
        CRASH_POINT(base_begun);
    }
    if (code == WEIR_OK && chunk->chunk.size > 0)
        code = store_base_append(chunk->file, (struct weir_bytes){ chunk->chunk.data, chunk->chunk.size }, &work->error);
    if (code == WEIR_OK && chunk->last) {
        code = store_base_finish(chunk->file, &chunk->result, &work->error);
        if (code == WEIR_OK) chunk->file = NULL;
        CRASH_POINT(base_written);
    }
    if (code != WEIR_OK) {
        store_base_abandon(chunk->file);
        chunk->file = NULL;
    }
    return code;
}

static void chunk_done(struct work *work, void *user)
{
    struct weir_job *job = user;
    struct chunk_work *chunk = (struct chunk_work *)work;
    job->dump.file = chunk->file;
    chunk->file = NULL;
    if (work->code != WEIR_OK) {
        /* A base is an economy: without it the log grows, and nothing is lost. */
        job_log(job, WEIR_LOG_WARN, "writing a base: %s; the log goes on growing", work->error.text);
        job->shards.items[job->dump.shard].log_bytes = job->shards.items[job->dump.shard].frames = 0;
        job->dump.cancelled = true;
    }
    if (job->dump.cancelled) {
        if (work->code == WEIR_OK && chunk->last) throw_away(job, chunk->result.name, &chunk->links);
        store_base_abandon(job->dump.file);
        job->dump.file = NULL;
        /* The task goes on dumping until its last chunk; an attempt that has ended has no task any more. */
        if (job->unwinding || work->attempt != job->attempt || chunk->last) job->dump.active = false;
        else ask_for_slice(job);
        return;
    }
    if (!chunk->last) {
        ask_for_slice(job);
        return;
    }
    job->dump.base.file = chunk->result;
    job->dump.base.is_links = chunk->folder != NULL;
    job->dump.links = chunk->links;
    chunk->links = (struct links){ .key_groups = 0 };
    job->dump.written = true;
}

static void discard_chunk(struct work *work)
{
    struct chunk_work *chunk = (struct chunk_work *)work;
    buffer_deinit(&chunk->states);
    buffer_deinit(&chunk->chunk);
    links_deinit(&chunk->links);
    free(chunk->folder);
    store_base_abandon(chunk->file);
}

struct job_base job_base_of(const struct weir_job *job, const struct job_keyed *keyed, uint32_t subtask,
                            uint64_t redo_epoch)
{
    const uint32_t parallelism = job->plan->vertices[keyed->vertex].parallelism;
    const uint32_t first = key_group_first(job->plan->max_parallelism, parallelism, subtask);
    const uint32_t end = key_group_first(job->plan->max_parallelism, parallelism, subtask + 1);
    return (struct job_base){ .group_first = first, .group_count = end - first, .redo_epoch = redo_epoch };
}

void job_base_chunk(struct weir_job *job, struct letter_from_task *letter)
{
    struct weir_error error;
    if (job->unwinding || !job->dump.active) return;
    if (job->dump.cancelled) { /* nothing is written any more; only the task's walk has to end */
        if (letter->last) job->dump.active = false;
        else ask_for_slice(job);
        return;
    }
    if (letter->chunk.size == 0 && !letter->last) { /* what is to be in the base is being written down */
        ask_for_slice(job);
        return;
    }
    struct chunk_work *work = job_work(job, sizeof(*work), run_chunk, chunk_done);
    if (work == NULL) return;
    if (job->dump.file == NULL && !job_states_encode(dumped(job), &work->states)) {
        work_destroy(&work->work);
        weir_error_set(&error, WEIR_NO_MEMORY, WEIR_REMEDY_REPLAY, "no memory for a base");
        job_failed(job, &error);
        return;
    }
    job->dump.base = job_base_of(job, dumped(job), job->shards.items[job->dump.shard].subtask, letter->redo_epoch);
    work->work.discard = discard_chunk;
    work->job = job;
    work->chunk = letter->chunk;
    buffer_init(&letter->chunk);
    work->last = letter->last;
    work->file = job->dump.file;
    job->dump.file = NULL;
    work->folder = letter->folder;
    letter->folder = NULL;
    work->known = &job->shards.items[job->dump.shard].known;
    work->links.key_groups = job->plan->max_parallelism;
    work->links.stamped = letter->stamped;
    buffer_init(&letter->stamped);
    job_submit(job, job->base_writer, &work->work);
}

/* Is every key group of `base` in a later one? */
static bool is_covered(const struct job_keyed *keyed, size_t index)
{
    const struct job_base *base = &keyed->bases.items[index];
    for (uint32_t group = base->group_first; group < base->group_first + base->group_count; group++) {
        bool found = false;
        for (size_t i = index + 1; i < keyed->bases.count && !found; i++)
            found = group >= keyed->bases.items[i].group_first &&
                    group - keyed->bases.items[i].group_first < keyed->bases.items[i].group_count;
        if (!found) return false;
    }
    return true;
}

static void drop_covered(struct job_keyed *keyed)
{
    size_t kept = 0;
    for (size_t i = 0; i < keyed->bases.count; i++)
        if (!is_covered(keyed, i)) keyed->bases.items[kept++] = keyed->bases.items[i];
    keyed->bases.count = kept;
}

void job_base_join(struct weir_job *job)
{
    if (!job->dump.active || !job->dump.written) return;
    struct job_keyed *keyed = dumped(job);
    struct job_shard *shard = &job->shards.items[job->dump.shard];
    struct job_base *base = vec_push(&keyed->bases);
    if (base == NULL) {
        throw_away(job, job->dump.base.file.name, &job->dump.links);
        links_deinit(&job->dump.links);
    } else {
        *base = job->dump.base;
        /* Should memory be short, nothing is deleted until the next restore. */
        if (base->is_links) (void)retention_links(&job->retention, base->file.name, &job->dump.links);
        drop_covered(keyed);
        links_deinit(&shard->known);
        shard->known = job->dump.links;
        job->dump.links = (struct links){ .key_groups = 0 };
        CRASH_POINT(base_named);
    }
    shard->log_bytes -= job->dump.log_bytes;
    shard->frames -= job->dump.frames;
    job->dump.active = false;
}

void job_base_cancel(struct weir_job *job)
{
    if (!job->dump.active) return;
    if (job->dump.written) throw_away(job, job->dump.base.file.name, &job->dump.links);
    links_deinit(&job->dump.links);
    job->dump.cancelled = true;
    /* A chunk that is being written comes back to chunk_done; otherwise nothing is under way. */
    store_base_abandon(job->dump.file);
    job->dump.file = NULL;
    job->dump.active = false;
}

void job_shards_clear(struct weir_job *job)
{
    for (size_t i = 0; i < job->shards.count; i++) links_deinit(&job->shards.items[i].known);
    job->shards.count = 0;
}

static bool holds_group(const struct manifest_base *base, uint32_t group)
{
    return group >= base->group_first && group - base->group_first < base->group_count;
}

uint32_t job_base_newest_of(const struct manifest_operator *written, size_t index, uint32_t first, uint32_t end)
{
    uint32_t count = 0;
    for (uint32_t group = first; group < end; group++) {
        bool is_newest = holds_group(&written->bases[index], group);
        for (size_t i = index + 1; is_newest && i < written->base_count; i++)
            is_newest = !holds_group(&written->bases[i], group);
        count += is_newest;
    }
    return count;
}
