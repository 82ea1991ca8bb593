#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/crash.h"
#include "runtime/job.h"
#include "state/replay.h"

/* Taking a savepoint: a checkpoint is asked for, and when it is committed its files are copied, piece by piece, by the base
 * writer. Nobody else notices, but that nothing is deleted from the store meanwhile.
 *
 *   user ──SAVEPOINT──> PREPARES ──> PREPARED ──the job runs──> WAITS ──checkpoint committed──┐
 *                                                                                            v
 *                                     NOTHING, and the status says DONE or FAILED <── COPIES, piece by piece
 *
 * A job that does not run is not asked: to stop it then would be to end it without a savepoint.
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

void job_savepoint_look(struct weir_job *job)
{
    if (job->taking.phase != TAKING_PREPARED || job->commit.phase != COMMIT_RUNNING || !job->commit.tasks_started) return;
    job->taking.phase = TAKING_WAITS;
    job->taking.ticket = atomic_fetch_add(&job->tickets.given, 1) + 1;
    job_ask_for_checkpoint(job, job->taking.ticket, true, job->taking.stops);
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
        taking->phase = TAKING_PREPARED;
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
    taking->copy = savepoint_create(job->store, NULL, taking->directory, &job->closing.name, &replay_units, random);
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
