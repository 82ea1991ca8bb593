#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/crash.h"
#include "runtime/job.h"

void job_submit_own(struct weir_job *job, struct worker *worker, uint64_t epoch,
                    enum weir_code (*run)(struct work *), void (*done)(struct work *, void *))
{
    struct job_work *work = job_work(job, sizeof(*work), run, done);
    if (work == NULL) return;
    work->job = job;
    work->epoch = epoch;
    job_submit(job, worker, &work->work);
}

bool job_is_stale(const struct weir_job *job, const struct work *work)
{
    return work->attempt != job->attempt || job->unwinding;
}

/* ---- Opening -------------------------------------------------------------------------------------------------------- */

static void post_decider_event(void *user, struct weir_decider_event *event)
{
    struct weir_job *job = user;
    struct letter_decider *letter = calloc(1, sizeof(*letter));
    if (letter == NULL) {
        weir_decider_event_clear(event);
        return; /* the checkpoint's time-out finds it */
    }
    letter->mail.type = LETTER_DECIDER;
    letter->event = *event;
    memset(event, 0, sizeof(*event));
    mailbox_post(&job->mailbox, &letter->mail);
}

struct weir_connector_context job_context(const struct weir_job *job, const struct operator_spec *spec,
                                          uint32_t parallelism)
{
    return (struct weir_connector_context){
        .environment = &job->environment,
        .config = job->config,
        .job = job->name,
        .operator_name = spec == NULL ? NULL : spec->name,
        .parallelism = parallelism,
        .bounded = job->bounded,
        .exactly_once = job->exactly_once,
    };
}

static enum weir_code open_store(struct weir_job *job, struct weir_error *error)
{
    const char *directory = weir_config_text(job->config, "execution.checkpointing.dir");
    const struct store_options options = {
        .directory = directory != NULL ? directory : "memory",
        .disk = job->in_memory ? &disk_memory : NULL,
        .job = job->name,
        .slot = JOB_SLOT,
        .create = true,
        .segment_bytes = (uint64_t)weir_config_size_bytes(job->config, "state.log.segment-size"),
        .environment = &job->environment,
    };
    if (job->store != NULL) return WEIR_OK;
    job_stores_note(job);
    const enum weir_code code = store_open(&options, &job->store, error);
    if (code == WEIR_OK) job_warn_of_checkpoints(job);
    return code;
}

static enum weir_code open_decider(struct weir_job *job, struct weir_error *error)
{
    if (job->decider != NULL) return WEIR_OK;
    job->context = job_context(job, NULL, 1);
    const struct weir_decider_options options = {
        .context = &job->context,
        .slot = JOB_SLOT,
        .ring_size = job->commit.options.ring_size,
        .store_directory = store_path(job->store),
        .connector_options = job->plan->decider_options,
        .post = post_decider_event,
        .post_user = job,
    };
    return job->decider_type->open(&options, &job->decider, error);
}

static enum weir_code open_source(struct weir_job *job, uint32_t vertex, struct weir_error *error)
{
    const struct plan_vertex *at = &job->plan->vertices[vertex];
    if (at->source == NULL) return WEIR_OK;
    for (size_t i = 0; i < job->sources.count; i++)
        if (job->sources.items[i].vertex == vertex) return WEIR_OK;
    struct job_source source = { .spec = at->source, .vertex = vertex };
    const struct weir_connector_context context = job_context(job, at->source, at->parallelism);
    const enum weir_code code = at->source->source.type->open(at->source->source.options, &context, &source.instance, error);
    if (code != WEIR_OK) return code;
    struct job_source *kept = vec_push(&job->sources);
    if (kept == NULL) {
        at->source->source.type->close(source.instance);
        return weir_error_set(error, WEIR_NO_MEMORY, WEIR_REMEDY_STOP, "no memory for source '%s'", at->source->name);
    }
    *kept = source;
    return WEIR_OK;
}

static enum weir_code open_sink(struct weir_job *job, uint32_t vertex, uint32_t stage, struct weir_error *error)
{
    const struct plan_vertex *at = &job->plan->vertices[vertex];
    const struct operator_spec *spec = at->chain.stages[stage].spec;
    if (spec->kind != OPERATOR_SINK) return WEIR_OK;
    for (size_t i = 0; i < job->sinks.count; i++)
        if (job->sinks.items[i].spec == spec) return WEIR_OK;
    struct job_sink sink = { .spec = spec, .vertex = vertex, .stage = stage };
    const struct weir_connector_context context = job_context(job, spec, at->parallelism);
    void *decider = spec->sink.type->decider == job->decider_type ? job->decider : NULL;
    const enum weir_code code = spec->sink.type->open(spec->sink.options, &context, decider, &sink.instance, error);
    if (code != WEIR_OK) return code;
    struct job_sink *kept = vec_push(&job->sinks);
    if (kept == NULL) {
        spec->sink.type->close(sink.instance);
        return weir_error_set(error, WEIR_NO_MEMORY, WEIR_REMEDY_STOP, "no memory for sink '%s'", spec->name);
    }
    *kept = sink;
    return WEIR_OK;
}

static const char *name_cluster(const char *cluster) { return cluster == NULL ? "" : cluster; }

/* Positions of sources on the decider's own cluster travel in its transaction. */
static void look_at_clusters(struct weir_job *job)
{
    const char *own = job->decider_type->cluster == NULL ? "" : name_cluster(job->decider_type->cluster(job->decider));
    for (size_t i = 0; i < job->sources.count; i++) {
        struct job_source *source = &job->sources.items[i];
        const struct weir_source_type *type = source->spec->source.type;
        const char *cluster = type->cluster == NULL ? "" : name_cluster(type->cluster(source->instance));
        source->in_transaction = own[0] != '\0' && strcmp(own, cluster) == 0;
    }
}

static void list_keyed(struct weir_job *job, uint32_t vertex, uint32_t stage)
{
    const struct operator_spec *spec = job->plan->vertices[vertex].chain.stages[stage].spec;
    struct job_keyed *keyed = operator_has_shards(spec) ? vec_push(&job->keyed) : NULL;
    if (keyed != NULL) *keyed = (struct job_keyed){ .spec = spec, .vertex = vertex, .stage = stage };
}

/* Opens what is not open yet, so that it can be tried again. */
static enum weir_code run_open(struct work *work)
{
    struct weir_job *job = ((struct job_work *)work)->job;
    enum weir_code code = open_store(job, &work->error);
    job_begin_read(job);
    if (code == WEIR_OK) code = open_decider(job, &work->error);
    for (uint32_t v = 0; v < job->plan->vertex_count; v++) {
        if (code == WEIR_OK) code = open_source(job, v, &work->error);
        for (uint32_t s = 0; code == WEIR_OK && s < job->plan->vertices[v].chain.stage_count; s++)
            code = open_sink(job, v, s, &work->error);
    }
    return code;
}

static bool gives_up(struct weir_job *job, struct weir_error *error)
{
    const int64_t now = job_now_us(job);
    if (job->retrying_since_us == 0) job->retrying_since_us = now;
    if (!job->bounded ||
        now - job->retrying_since_us < weir_config_duration_ms(job->config, "connect.patience") * 1000) {
        if (now - job->said_retrying_us >= 10000000) {
            job->said_retrying_us = now;
            job_log_error(job, error, "waiting: ");
        }
        return false;
    }
    job_out_of_patience(job, error);
    return true;
}

/* Of opening and examining, which go on side by side: what examining refuses is told before what opening ran into. */
static void opened(struct weir_job *job)
{
    struct weir_error *error = &job->opening.error;
    if (job->ended) return;
    if (error->code == WEIR_OK) {
        look_at_clusters(job);
        for (uint32_t v = 0; v < job->plan->vertex_count; v++)
            for (uint32_t s = 0; s < job->plan->vertices[v].chain.stage_count; s++) list_keyed(job, v, s);
        job->started = true;
        job->retrying_since_us = 0;
        job_commit_event(job, (struct commit_event){ .type = COMMIT_ON_START });
        return;
    }
    if (error->remedy == WEIR_REMEDY_RETRY && !gives_up(job, error)) {
        job->wait_us = job_now_us(job) + 500000;
        return;
    }
    job->outcome = *error;
    job->ended = true;
}

static void open_done(struct work *work, void *user)
{
    struct weir_job *job = user;
    if (work->code != WEIR_OK && job->opening.error.code == WEIR_OK) job->opening.error = work->error;
    if (--job->opening.in_flight == 0) opened(job);
}

static void examine_done(struct work *work, void *user)
{
    struct weir_job *job = user;
    if (work->code != WEIR_OK) job->opening.error = work->error;
    if (--job->opening.in_flight == 0) opened(job);
}

void job_open(struct weir_job *job)
{
    const bool examines = job_has_examinations(job);
    job->opening.in_flight = examines ? 2 : 1;
    job->opening.error = (struct weir_error){ .code = WEIR_OK };
    job_submit_own(job, job->environment_worker, 0, run_open, open_done);
    /* That worker has nothing else to do yet. */
    if (examines) job_submit_own(job, job->base_writer, 0, job_examine, examine_done);
}

void job_close(struct weir_job *job)
{
    job_destroy_tasks(job);
    for (size_t i = 0; i < job->sinks.count; i++)
        job->sinks.items[i].spec->sink.type->close(job->sinks.items[i].instance);
    for (size_t i = 0; i < job->sources.count; i++) {
        job->sources.items[i].spec->source.type->close(job->sources.items[i].instance);
        weir_splits_clear(&job->sources.items[i].splits);
    }
    job_stores_close(job);
    if (job->decider != NULL) job->decider_type->close(job->decider);
    if (job->dump.file != NULL) store_base_abandon(job->dump.file);
    links_deinit(&job->dump.links);
    savepoint_abandon(job->taking.copy);
    store_close(job->from.store);
    job->from.store = NULL;
    store_close(job->store);
    for (size_t i = 0; i < job->keyed.count; i++) vec_free(&job->keyed.items[i].bases);
    vec_free(&job->keyed);
    job_shards_clear(job);
    vec_free(&job->shards);
    vec_free(&job->sinks);
    vec_free(&job->sources);
    job->store = NULL;
    job->decider = NULL;
}

/* ---- Splits --------------------------------------------------------------------------------------------------------- */

void job_take_group_positions(struct weir_job *job, struct weir_splits *splits)
{
    for (size_t i = 0; i < job->facts.mirror_count; i++)
        for (size_t k = 0; k < splits->count; k++)
            if (strcmp(splits->items[k].name, job->facts.mirrors[i].split) == 0)
                splits->items[k].position = job->facts.mirrors[i].position;
}

static bool add_or_update(struct weir_splits *splits, const struct weir_split *found)
{
    for (size_t i = 0; i < splits->count; i++) {
        if (strcmp(splits->items[i].name, found->name) != 0) continue;
        splits->items[i].end = found->end;
        if (splits->items[i].identity[0] != '\0' || found->identity[0] == '\0') return true;
        /* The identity was not known before: take the split anew, with the position that we have. */
        const struct weir_split with_identity = { .name = found->name, .identity = found->identity,
                                                  .position = splits->items[i].position, .end = found->end };
        struct weir_splits fresh = { 0 };
        bool good = true;
        for (size_t k = 0; good && k < splits->count; k++)
            good = weir_splits_add(&fresh, k == i ? &with_identity : &splits->items[k]);
        if (!good) {
            weir_splits_clear(&fresh);
            return false;
        }
        weir_splits_clear(splits);
        *splits = fresh;
        return true;
    }
    return weir_splits_add(splits, found);
}

enum weir_code job_discover_into(struct weir_job *job, struct job_source *source, bool founding, bool verify,
                                 struct weir_error *error)
{
    struct weir_splits found = { 0 };
    enum weir_code code = source->spec->source.type->discover(source->instance, &source->splits, founding, verify,
                                                              &job->give_up_discovery, &found, error);
    for (size_t i = 0; code == WEIR_OK && i < found.count; i++)
        if (!add_or_update(&source->splits, &found.items[i]))
            code = weir_error_set(error, WEIR_NO_MEMORY, WEIR_REMEDY_REPLAY, "no memory for splits");
    weir_splits_clear(&found);
    if (code != WEIR_OK) weir_error_wrap(error, "source '%s'", source->spec->name);
    return code;
}

static enum weir_code run_found(struct work *work)
{
    struct weir_job *job = ((struct job_work *)work)->job;
    weir_output_totals_clear(&job->totals);
    if (!job_name_outputs(job))
        return weir_error_set(&work->error, WEIR_NO_MEMORY, WEIR_REMEDY_REPLAY, "no memory for the names of outputs");
    for (size_t i = 0; i < job->keyed.count; i++) job->keyed.items[i].bases.count = 0;
    struct job_restored *restored = &((struct job_work *)work)->restored; /* of nothing: zero bytes */
    if (job->decision.from_savepoint) return job_begin_found(job, restored, &work->error);
    job_states_found(job, 0);
    for (size_t i = 0; i < job->sources.count; i++) {
        struct job_source *source = &job->sources.items[i];
        weir_splits_clear(&source->splits);
        const enum weir_code code = job_discover_into(job, source, true, true, &work->error);
        if (code != WEIR_OK) return code;
        if (job->decision.positions_from_group) job_take_group_positions(job, &source->splits);
    }
    return job_stores_open(job, NULL, &work->error);
}

static void list_file(void *user, const char *file)
{
    struct weir_job *job = user;
    retention_found(&job->retention, file);
}

enum weir_code job_start_retention(struct weir_job *job, uint64_t incarnation, struct weir_error *error)
{
    if (job->retention_ready) retention_deinit(&job->retention);
    retention_init(&job->retention, incarnation,
                   (size_t)weir_config_i64(job->config, "execution.checkpointing.num-retained"));
    job->retention_ready = true;
    return store_list(job->store, list_file, job, error);
}

/* Only here: the worker has no business with what the job's thread shows. */
static void take_restored(struct weir_job *job, const struct work *work)
{
    const struct job_restored *restored = &((const struct job_work *)work)->restored;
    job->is_complete = restored->is_complete;
    job->was_complete = restored->was_complete;
}

static void found_done(struct work *work, void *user)
{
    struct weir_job *job = user;
    if (job_is_stale(job, work)) return;
    enum weir_code code = work->code;
    if (code == WEIR_OK) code = job_start_retention(job, job->commit.incarnation, &work->error);
    if (code != WEIR_OK) {
        job_failed(job, &work->error);
        return;
    }
    take_restored(job, work);
    if (!job_encode_frame(job, 0)) {
        weir_error_set(&work->error, WEIR_NO_MEMORY, WEIR_REMEDY_REPLAY, "no memory for the founding checkpoint");
        job_failed(job, &work->error);
        return;
    }
    job_commit_event(job, (struct commit_event){ .type = COMMIT_ON_SNAPSHOT, .epoch = 0 });
}

void job_found(struct weir_job *job) { job_submit_own(job, job->environment_worker, 0, run_found, found_done); }


/* A look for new splits while running works on copies: the job thread goes on using its own. */
struct discover_work {
    struct work work;
    struct weir_job *job;
    struct weir_splits *known; /* per source */
    struct weir_splits *found;
};

static void discard_discover(struct work *work)
{
    struct discover_work *discover = (struct discover_work *)work;
    for (size_t i = 0; i < discover->job->sources.count; i++) {
        if (discover->known != NULL) weir_splits_clear(&discover->known[i]);
        if (discover->found != NULL) weir_splits_clear(&discover->found[i]);
    }
    free(discover->known);
    free(discover->found);
}

static enum weir_code run_discover(struct work *work)
{
    struct discover_work *discover = (struct discover_work *)work;
    struct weir_job *job = discover->job;
    for (size_t i = 0; i < job->sources.count; i++) {
        const struct job_source *source = &job->sources.items[i];
        const enum weir_code code = source->spec->source.type->discover(
            source->instance, &discover->known[i], false, false, &job->give_up_discovery, &discover->found[i], &work->error);
        if (code != WEIR_OK) return weir_error_wrap(&work->error, "source '%s'", source->spec->name), code;
    }
    return WEIR_OK;
}

static void discover_done(struct work *work, void *user)
{
    struct weir_job *job = user;
    struct discover_work *discover = (struct discover_work *)work;
    job->discovering = false;
    if (job_is_stale(job, work)) return;
    if (work->code != WEIR_OK) {
        if (work->error.remedy == WEIR_REMEDY_STOP)
            job_failed(job, &work->error);
        else
            job_log_error(job, &work->error, "looking for new partitions: ");
        return;
    }
    for (size_t i = 0; i < job->sources.count; i++) {
        struct job_source *source = &job->sources.items[i];
        for (size_t k = 0; k < discover->found[i].count; k++) {
            const struct weir_split *split = &discover->found[i].items[k];
            if (weir_splits_find(&source->splits, split->name) != NULL) continue;
            if (!weir_splits_add(&source->splits, split)) continue; /* found again next time */
            weir_log_about(&job->environment,
                           &(struct weir_log_line){ .level = WEIR_LOG_INFO, .operator_name = source->spec->name,
                                                    .split = split->name, .has_offset = true, .offset = split->position },
                           "source '%s': new partition %s, from %lld on", source->spec->name, split->name,
                           (long long)split->position);
        }
        job_assign_splits(job, source);
    }
}

void job_discover(struct weir_job *job)
{
    if (job->discovering || job->bounded) return;
    struct discover_work *work = job_work(job, sizeof(*work), run_discover, discover_done);
    if (work == NULL) return;
    work->job = job;
    work->work.discard = discard_discover;
    work->known = calloc(job->sources.count, sizeof(*work->known));
    work->found = calloc(job->sources.count, sizeof(*work->found));
    bool good = work->known != NULL && work->found != NULL;
    for (size_t i = 0; good && i < job->sources.count; i++)
        for (size_t k = 0; good && k < job->sources.items[i].splits.count; k++)
            good = weir_splits_add(&work->known[i], &job->sources.items[i].splits.items[k]);
    if (!good) {
        work_destroy(&work->work);
        return; /* next time */
    }
    job->discovering = true;
    job_submit(job, job->environment_worker, &work->work);
}

/* ---- Lag of sources elsewhere --------------------------------------------------------------------------------------- */

struct lag_work {
    struct work work;
    const struct weir_source_type *type;
    void *instance;
    struct weir_splits positions;
};

static enum weir_code run_lag(struct work *work)
{
    struct lag_work *lag = (struct lag_work *)work;
    lag->type->committed(lag->instance, &lag->positions);
    return WEIR_OK;
}

static void lag_done(struct work *work, void *user)
{
    (void)work;
    (void)user;
}

static void discard_lag(struct work *work) { weir_splits_clear(&((struct lag_work *)work)->positions); }

void job_commit_lag(struct weir_job *job)
{
    for (size_t i = 0; i < job->sources.count; i++) {
        const struct job_source *source = &job->sources.items[i];
        if (source->in_transaction || source->spec->source.type->committed == NULL) continue;
        struct lag_work *work = job_work(job, sizeof(*work), run_lag, lag_done);
        if (work == NULL) return;
        work->work.discard = discard_lag;
        work->type = source->spec->source.type;
        work->instance = source->instance;
        for (size_t k = 0; k < source->splits.count; k++) weir_splits_add(&work->positions, &source->splits.items[k]);
        job_submit(job, job->environment_worker, &work->work);
    }
}

/* ---- Restoring ------------------------------------------------------------------------------------------------------ */

static enum weir_code run_restore(struct work *work)
{
    struct job_work *restore = (struct job_work *)work;
    return job_restore_checkpoint(restore->job, restore->job->store, &restore->job->decision.frame, restore->epoch,
                                  &restore->restored, &work->error);
}

static void restore_done(struct work *work, void *user)
{
    struct weir_job *job = user;
    if (job_is_stale(job, work)) return;
    if (work->code != WEIR_OK) {
        job_verdict_failed(job, &work->error);
        return;
    }
    /* Decided, and a failure came before anybody was told. */
    if (job_is_same_frame(&job->closing.name, &job->decision.frame) && !job->closing.is_counted) {
        job_count_commit(job);
        job_history_overtaken(job);
    }
    job->closing.is_counted = true;
    job->closing.name = job->decision.frame;
    job->closing.durable = true;
    take_restored(job, work);
    if (job->was_complete)
        job_log(job, WEIR_LOG_INFO, "job '%s': was complete already, and nothing has come since", job->name);
    job_commit_event(job, (struct commit_event){ .type = COMMIT_ON_RESTORED });
}

void job_restore(struct weir_job *job, uint64_t epoch)
{
    job_submit_own(job, job->environment_worker, epoch, run_restore, restore_done);
}

/* ---- Dropping ------------------------------------------------------------------------------------------------------- */

static enum weir_code run_drop(struct work *work)
{
    struct weir_job *job = ((struct job_work *)work)->job;
    CRASH_POINT(drop_announced);
    return store_drop(job->store, job->decision.incarnation, &work->error);
}

/* The record has been committed: what could not be deleted is garbage, and no reason to try the whole again. */
static void drop_done(struct work *work, void *user)
{
    struct weir_job *job = user;
    if (work->code != WEIR_OK) job_log_error(job, &work->error, "deleting the checkpoints: ");
    if (!job_is_stale(job, work)) job_commit_event(job, (struct commit_event){ .type = COMMIT_ON_DROPPED });
}

void job_drop(struct weir_job *job)
{
    atomic_store(&job->log_ready, false);
    job_submit_own(job, job->log_writer, 0, run_drop, drop_done);
}
