#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/crash.h"
#include "runtime/job.h"

/* Taking a savepoint: a checkpoint is asked for, and when it is committed its files are copied, piece by piece, by the base
 * writer. Nobody else notices, but that nothing is deleted from the store meanwhile.
 *
 *   user ──SAVEPOINT──> PREPARES ──> WAITS ──checkpoint committed──> COPIES ──piece, piece ...──> NOTHING, and the status says
 *                                                                                                 DONE or FAILED
 *
 * What is copied is committed, whatever becomes of the attempt: a roll-back interrupts the copy and does not end it. A job
 * that comes to its end waits for it, unless it is cancelled. */

#define PIECE_BYTES (4u << 20)

struct savepoint_work {
    struct work work;
    struct savepoint *copy; /* borrowed: job->taking.copy */
    char *directory;        /* borrowed, PREPARES only */
    bool done;
};

/* ---- The status ----------------------------------------------------------------------------------------------------- */

static void say_state(struct weir_job *job, enum weir_savepoint_state state)
{
    const struct savepoint *copy = job->taking.copy;
    pthread_mutex_lock(&job->status_mutex);
    job->savepoint_status.state = state;
    if (copy != NULL) {
        job->savepoint_status.bytes = savepoint_bytes(copy);
        (void)snprintf(job->savepoint_status.path, sizeof(job->savepoint_status.path), "%s", savepoint_path(copy));
    }
    pthread_mutex_unlock(&job->status_mutex);
}

static void forget(struct weir_job *job)
{
    free(job->taking.directory);
    job->taking = (struct job_taking){ .phase = TAKING_NOTHING };
}

static void fail(struct weir_job *job, const struct weir_error *error)
{
    job_log(job, WEIR_LOG_WARN, "no savepoint was made: %s", error->text);
    pthread_mutex_lock(&job->status_mutex);
    job->savepoint_status.state = WEIR_SAVEPOINT_FAILED;
    job->savepoint_status.error = *error;
    job->savepoint_status.path[0] = '\0';
    pthread_mutex_unlock(&job->status_mutex);
    savepoint_abandon(job->taking.copy);
    forget(job);
}

static void finish(struct weir_job *job)
{
    say_state(job, WEIR_SAVEPOINT_DONE);
    job_log(job, WEIR_LOG_INFO, "savepoint %s: %llu bytes", savepoint_path(job->taking.copy),
            (unsigned long long)savepoint_bytes(job->taking.copy));
    savepoint_destroy(job->taking.copy);
    forget(job);
}

/* ---- Pieces of work ------------------------------------------------------------------------------------------------- */

static enum weir_code run_prepare(struct work *work)
{
    return savepoint_prepare(NULL, ((struct savepoint_work *)work)->directory, &work->error);
}

static enum weir_code run_piece(struct work *work)
{
    struct savepoint_work *piece = (struct savepoint_work *)work;
    return savepoint_step(piece->copy, PIECE_BYTES, &piece->done, &work->error);
}

static void ask_for_checkpoint(struct weir_job *job)
{
    job->taking.phase = TAKING_WAITS;
    job->taking.ticket = atomic_fetch_add(&job->tickets.given, 1) + 1;
    job_ask_for_checkpoint(job, job->taking.ticket, job->taking.stops);
}

static void work_done(struct work *work, void *user)
{
    struct weir_job *job = user;
    struct job_taking *taking = &job->taking;
    taking->in_flight = false;
    if (taking->given_up) {
        weir_error_set(&work->error, WEIR_FAILED, WEIR_REMEDY_STOP, "the job was cancelled before the savepoint was whole");
        fail(job, &work->error);
    } else if (work->code != WEIR_OK) {
        fail(job, &work->error);
    } else if (((struct savepoint_work *)work)->done) {
        finish(job);
    } else if (taking->phase == TAKING_PREPARES) {
        ask_for_checkpoint(job);
    } else {
        say_state(job, WEIR_SAVEPOINT_COPYING);
        job_savepoint_go_on(job);
    }
}

void job_savepoint_go_on(struct weir_job *job)
{
    struct job_taking *taking = &job->taking;
    if (taking->in_flight || job->unwinding) return;
    if (taking->phase != TAKING_PREPARES && taking->phase != TAKING_COPIES) return;
    struct savepoint_work *work =
        job_work(job, sizeof(*work), taking->phase == TAKING_PREPARES ? run_prepare : run_piece, work_done);
    if (work == NULL) {
        job_savepoint_give_up(job, "out of memory");
        return;
    }
    work->copy = taking->copy;
    work->directory = taking->directory;
    taking->in_flight = true;
    job_submit(job, job->base_writer, &work->work);
}

/* ---- The job's side ------------------------------------------------------------------------------------------------- */

void job_savepoint_asked(struct weir_job *job, struct letter_savepoint *letter)
{
    CHECK(job->taking.phase == TAKING_NOTHING);
    job->taking = (struct job_taking){ .phase = TAKING_PREPARES, .stops = letter->stops, .directory = letter->directory };
    letter->directory = NULL;
    job_savepoint_go_on(job);
}

void job_savepoint_committed(struct weir_job *job, bool final)
{
    struct job_taking *taking = &job->taking;
    if (taking->phase != TAKING_WAITS || job->tickets.done < taking->ticket || (taking->stops && !final)) return;
    const uint64_t random[2] = { job->environment.random(job->environment.user),
                                 job->environment.random(job->environment.user) };
    taking->copy = savepoint_create(job->store, NULL, taking->directory, &job->closing.name, random);
    if (taking->copy == NULL) {
        job_savepoint_give_up(job, "out of memory");
        return;
    }
    taking->phase = TAKING_COPIES;
    pthread_mutex_lock(&job->status_mutex);
    job->savepoint_status.epoch = job->closing.name.epoch;
    pthread_mutex_unlock(&job->status_mutex);
    say_state(job, WEIR_SAVEPOINT_COPYING);
    job_savepoint_go_on(job);
}

bool job_savepoint_is_copying(const struct weir_job *job) { return job->taking.phase == TAKING_COPIES; }

void job_savepoint_give_up(struct weir_job *job, const char *why)
{
    struct weir_error error;
    if (job->taking.phase == TAKING_NOTHING) return;
    job->taking.given_up = true;
    if (job->taking.in_flight) return;
    weir_error_set(&error, WEIR_FAILED, WEIR_REMEDY_STOP, "%s", why);
    fail(job, &error);
}

/* ---- Beginning from one --------------------------------------------------------------------------------------------- */

void job_savepoint_read(struct weir_job *job)
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

enum weir_code job_savepoint_check(const struct weir_job *job, const struct manifest *manifest, struct weir_error *error)
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
        last = shard_dump_step(shard, PIECE_BYTES, &chunk);
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
enum weir_code job_savepoint_found(struct weir_job *job, struct weir_error *error)
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

/* ---- Public --------------------------------------------------------------------------------------------------------- */

enum weir_code weir_job_savepoint(weir_job *job, const char *directory, bool stops, struct weir_error *error)
{
    struct letter_savepoint *letter = calloc(1, sizeof(*letter));
    if (directory == NULL) directory = weir_config_text(job->config, "execution.checkpointing.savepoint-dir");
    if (letter != NULL && directory != NULL) letter->directory = strdup(directory);
    if (letter == NULL || letter->directory == NULL) {
        free(letter);
        return directory == NULL ? weir_error_set(error, WEIR_USAGE, WEIR_REMEDY_STOP,
                                                  "name a directory for the savepoint, or set "
                                                  "execution.checkpointing.savepoint-dir")
                                 : weir_error_set(error, WEIR_NO_MEMORY, WEIR_REMEDY_RETRY, "no memory for a savepoint");
    }
    letter->mail.type = LETTER_SAVEPOINT;
    letter->stops = stops;
    pthread_mutex_lock(&job->status_mutex);
    struct weir_savepoint_status *status = &job->savepoint_status;
    const bool is_busy = status->state == WEIR_SAVEPOINT_WAITING || status->state == WEIR_SAVEPOINT_COPYING;
    if (!is_busy && !job->savepoints_closed)
        *status = (struct weir_savepoint_status){ .number = status->number + 1, .state = WEIR_SAVEPOINT_WAITING };
    const bool is_closed = job->savepoints_closed;
    pthread_mutex_unlock(&job->status_mutex);
    if (!is_busy && !is_closed) {
        mailbox_post(&job->mailbox, &letter->mail);
        return WEIR_OK;
    }
    letter_destroy(&letter->mail);
    return weir_error_set(error, WEIR_FAILED, WEIR_REMEDY_RETRY,
                          is_closed ? "job '%s' has ended" : "job '%s' is taking a savepoint already", job->name);
}

void weir_job_savepoint_status(weir_job *job, struct weir_savepoint_status *status)
{
    const size_t size = status->size < sizeof(*status) ? status->size : sizeof(*status);
    pthread_mutex_lock(&job->status_mutex);
    memcpy(status, &job->savepoint_status, size);
    pthread_mutex_unlock(&job->status_mutex);
    status->size = size;
}
