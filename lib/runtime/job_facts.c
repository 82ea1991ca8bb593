#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/job.h"

struct facts {
    struct restart_facts facts;
    struct restart_savepoint savepoint;
    struct restart_frame older;
    struct weir_ledger_entry *entries;
    VEC(struct restart_frame) frames;
};

static void facts_clear(struct facts *facts)
{
    for (size_t i = 0; i < facts->facts.entry_count; i++) weir_ledger_entry_clear(&facts->entries[i]);
    free(facts->entries);
    for (size_t i = 0; i < facts->frames.count; i++) weir_splits_clear(&facts->frames.items[i].positions);
    vec_free(&facts->frames);
    weir_splits_clear(&facts->savepoint.frame.positions);
    weir_splits_clear(&facts->older.positions);
}

static void fill_savepoint(const struct weir_job *job, struct facts *facts)
{
    const struct job_from *from = &job->from;
    if (from->path == NULL) return;
    facts->savepoint = (struct restart_savepoint){ .place = from->path, .store = from->mark.store,
                                                   .missing = from->missing[0] == '\0' ? NULL : from->missing,
                                                   .is_changed = job_begin_is_changed(job),
                                                   .frame = { .name = from->mark.taken } };
    (void)snprintf(facts->savepoint.id, sizeof(facts->savepoint.id), "%s", from->mark.id);
    facts->facts.savepoint = &facts->savepoint;
}

/* Of a savepoint that the job begins from. */
static bool says_positions(const struct weir_job *job)
{
    return job->from.path != NULL && (job->from.map_path != NULL ||
                                      strcmp(weir_config_text(job->config, "start.position"), "start") == 0);
}

static enum weir_code facts_fill(struct weir_job *job, struct facts *facts, struct weir_error *error)
{
    *facts = (struct facts){ 0 };
    struct restart_facts *out = &facts->facts;
    *out = (struct restart_facts){
        .job = job->name,
        .store = store_id(job->store),
        .store_place = store_path(job->store),
        .store_incarnation_max = store_incarnation_max(job->store),
        .own_incarnation = job->commit.incarnation,
        /* Who gives states up means it. */
        .plan_hash = weir_config_bool(job->config, "execution.savepoint.ignore-unclaimed-state") ? 0 : job->plan->hash,
        .ring_size = job->commit.options.ring_size,
        .mirrors = job->facts.mirrors,
        .mirror_count = job->facts.mirror_count,
        .takeover = weir_config_bool(job->config, "start.takeover"),
        .drops = job->commit.dropping,
        .fresh = weir_config_bool(job->config, "start.fresh") && !job->founded,
    };
    if (job->incarnation_begun > out->store_incarnation_max) out->store_incarnation_max = job->incarnation_begun;
    const char *position = weir_config_text(job->config, "start.position");
    out->position = strcmp(position, "ledger") == 0  ? RESTART_POSITION_LEDGER
                    : strcmp(position, "group") == 0 ? RESTART_POSITION_GROUP
                    : says_positions(job)            ? RESTART_POSITION_GIVEN
                                                     : RESTART_POSITION_UNSET;
    for (size_t i = 0; i < job->sources.count; i++) out->mirrors_expected |= job->sources.items[i].in_transaction;
    fill_savepoint(job, facts);
    if (job->facts.record_count == 0) return WEIR_OK;
    facts->entries = calloc(job->facts.record_count, sizeof(*facts->entries));
    if (facts->entries == NULL)
        return weir_error_set(error, WEIR_NO_MEMORY, WEIR_REMEDY_REPLAY, "no memory for the ledger's records");
    out->entries = facts->entries;
    for (size_t i = 0; i < job->facts.record_count; i++) {
        const enum weir_code code =
            weir_ledger_decode(job->facts.records[i].value, &facts->entries[out->entry_count++], error);
        if (code != WEIR_OK)
            return weir_error_wrap(error, "ledger of job '%s', offset %lld", job->name,
                                   (long long)job->facts.records[i].offset), code;
    }
    return WEIR_OK;
}

void job_looked(struct weir_job *job)
{
    struct weir_error error = { .code = WEIR_OK };
    struct facts facts;
    struct restart_examination examination = { 0 };
    enum weir_code code = facts_fill(job, &facts, &error);
    if (code == WEIR_OK) code = restart_examine(&facts.facts, &examination, &error);
    facts_clear(&facts);
    if (code != WEIR_OK) {
        job_failed(job, &error);
        return;
    }
    if (examination.warn) job_log(job, WEIR_LOG_WARN, "%s", examination.text);
    job->retrying_since_us = 0;
    job_commit_event(job, (struct commit_event){ .type = COMMIT_ON_LOOKED, .handles_named = examination.handles_named });
}

uint32_t job_handles_named(const struct weir_job *job)
{
    uint32_t named = 0;
    for (size_t i = 0; i < job->facts.record_count; i++) {
        struct weir_ledger_entry entry;
        struct weir_error error;
        /* A record that cannot be read is restart_decide's to refuse. */
        if (weir_ledger_decode(job->facts.records[i].value, &entry, &error) == WEIR_OK && entry.handle_count > named)
            named = entry.handle_count;
        weir_ledger_entry_clear(&entry);
    }
    return named;
}

/* Positions as mirrors name them: those of sources whose positions travel in the transaction. */
static bool copy_positions(const struct weir_job *job, const struct manifest *manifest, struct weir_splits *positions)
{
    for (size_t i = 0; i < job->sources.count; i++) {
        const struct job_source *source = &job->sources.items[i];
        const struct manifest_source *at = manifest_find_source(manifest, source->spec->name);
        if (!source->in_transaction || at == NULL) continue;
        for (size_t k = 0; k < at->splits.count; k++)
            if (weir_splits_find(positions, at->splits.items[k].name) == NULL &&
                !weir_splits_add(positions, &at->splits.items[k]))
                return false;
    }
    return true;
}

static void verify_frame(const struct weir_job *job, struct store *store, const struct weir_frame_name *name,
                         struct restart_frame *out)
{
    struct weir_error error = { .code = WEIR_OK };
    struct buffer frame;
    struct arena arena;
    struct manifest manifest;
    buffer_init(&frame);
    arena_init(&arena, 16 * 1024);
    *out = (struct restart_frame){ .name = *name };
    enum weir_code code = store_read_frame(store, name, &frame, &error);
    if (code == WEIR_OK)
        code = manifest_decode((struct weir_bytes){ frame.data, frame.size }, name, &arena, &manifest, &error);
    if (code == WEIR_OK && manifest.is_part)
        code = weir_error_set(&error, WEIR_DAMAGED, WEIR_REMEDY_STOP, "an early part of a checkpoint lies there");
    if (code == WEIR_OK && copy_positions(job, &manifest, &out->positions)) out->state = RESTART_FRAME_VERIFIED;
    if (code != WEIR_OK) {
        out->state = RESTART_FRAME_DAMAGED;
        snprintf(out->problem, sizeof(out->problem), "%.*s", (int)sizeof(out->problem) - 1, error.text);
    }
    arena_deinit(&arena);
    buffer_deinit(&frame);
}

static bool same_frame(const struct weir_frame_name *a, const struct weir_frame_name *b)
{
    return restart_compare(a, b) == 0;
}

/* Marks the frames that the newest one reaches by following parents. */
static void mark_ancestors(struct weir_job *job, struct facts *facts)
{
    struct weir_error error;
    struct store_chain chain = { 0 };
    uint64_t oldest = UINT64_MAX;
    for (size_t i = 1; i < facts->frames.count; i++)
        if (facts->frames.items[i].name.epoch < oldest) oldest = facts->frames.items[i].name.epoch;
    if (oldest == UINT64_MAX || facts->frames.items[0].state != RESTART_FRAME_VERIFIED) return;
    store_chain(job->store, &facts->frames.items[0].name, oldest, &chain, &error);
    for (size_t i = 1; i < facts->frames.count; i++)
        for (size_t k = 0; k + 1 < chain.frames.count; k++) /* the last is the newest itself */
            facts->frames.items[i].is_ancestor |= same_frame(&facts->frames.items[i].name, &chain.frames.items[k]);
    store_chain_clear(&chain);
}

static void verify_savepoint(const struct weir_job *job, struct restart_savepoint *savepoint)
{
    verify_frame(job, job->from.store, &job->from.mark.frame, &savepoint->frame);
    if (savepoint->frame.state != RESTART_FRAME_VERIFIED) savepoint->missing = savepoint->frame.problem;
    savepoint->frame.name = job->from.mark.taken; /* by which the ledger knows it */
}

static bool holds_bases(struct store *store, const struct weir_frame_name *name, struct weir_error *error)
{
    struct buffer bytes;
    struct arena arena;
    struct manifest manifest;
    struct store_chain chain = { 0 };
    buffer_init(&bytes);
    arena_init(&arena, 16 * 1024);
    enum weir_code code = store_read_manifest(store, name, &bytes, &arena, &manifest, error);
    if (code == WEIR_OK) code = store_chain(store, name, manifest_redo_epoch(&manifest) + 1, &chain, error);
    for (size_t i = 0; code == WEIR_OK && i < manifest.operator_count; i++)
        for (size_t k = 0; code == WEIR_OK && k < manifest.operators[i].base_count; k++)
            code = store_check_base(store, &manifest.operators[i].bases[k], error);
    store_chain_clear(&chain);
    arena_deinit(&arena);
    buffer_deinit(&bytes);
    return code == WEIR_OK;
}

/* The checkpoint of that epoch among the ancestors of the pointer's, whole. */
static void find_older(struct weir_job *job, uint64_t epoch, const struct weir_frame_name *newest,
                       struct restart_frame *older)
{
    struct weir_error error = { .code = WEIR_OK };
    struct store_chain chain = { 0 };
    *older = (struct restart_frame){ .name = { .epoch = epoch }, .state = RESTART_FRAME_MISSING };
    if (store_chain(job->store, newest, epoch, &chain, &error) == WEIR_OK)
        for (size_t i = chain.frames.count; i-- > 0 && older->state != RESTART_FRAME_VERIFIED;)
            if (chain.frames.items[i].epoch == epoch) verify_frame(job, job->store, &chain.frames.items[i], older);
    if (older->state == RESTART_FRAME_VERIFIED && !holds_bases(job->store, &older->name, &error))
        older->state = RESTART_FRAME_DAMAGED;
    if (older->state != RESTART_FRAME_VERIFIED)
        snprintf(older->problem, sizeof(older->problem), "%.*s", (int)sizeof(older->problem) - 1, error.text);
    store_chain_clear(&chain);
}

static enum weir_code run_resolve(struct work *work)
{
    struct weir_job *job = ((struct job_work *)work)->job;
    struct facts facts;
    struct weir_frame_name names[64];
    enum weir_code code = facts_fill(job, &facts, &work->error);
    store_history(job->store, &facts.facts.store_frame_count, &facts.facts.store_epoch_max);
    const bool looks = code == WEIR_OK && !facts.facts.drops; /* what is dropped need not be whole */
    size_t count = looks ? restart_frames_named(&facts.facts, names, 64) : 0;
    if (count > 64) count = 64;
    for (size_t i = 0; i < count; i++) {
        struct restart_frame *frame = vec_push(&facts.frames);
        if (frame == NULL) {
            code = weir_error_set(&work->error, WEIR_NO_MEMORY, WEIR_REMEDY_REPLAY, "no memory to look at frames");
            break;
        }
        verify_frame(job, job->store, &names[i], frame);
    }
    if (code == WEIR_OK && job->from.store != NULL) verify_savepoint(job, &facts.savepoint);
    const int64_t older = weir_config_i64(job->config, "start.checkpoint");
    if (code == WEIR_OK && looks && older >= 0 && count > 0) {
        find_older(job, (uint64_t)older, &names[0], &facts.older);
        facts.facts.older = &facts.older;
    }
    if (code == WEIR_OK) {
        mark_ancestors(job, &facts);
        facts.facts.frames = facts.frames.items;
        facts.facts.frame_count = facts.frames.count;
        code = restart_decide(&facts.facts, &job->decision, &work->error);
    }
    facts_clear(&facts);
    return code;
}

/* On the log writer, so that nobody prepares segments meanwhile. */
static enum weir_code run_begin_log(struct work *work)
{
    struct weir_job *job = ((struct job_work *)work)->job;
    enum weir_code code;
    /* Another start drew the same number. A higher one will do: who owns the job is not decided by numbers, but by the fence. */
    while ((code = store_begin(job->store, job->decision.incarnation, &work->error)) == WEIR_FENCED &&
           work->error.remedy == WEIR_REMEDY_RETRY)
        job->decision.incarnation = store_incarnation_max(job->store) + 1;
    return code;
}

static void resolved(struct weir_job *job)
{
    const struct restart_decision *decision = &job->decision;
    job_commit_event(job, (struct commit_event){
                              .type = COMMIT_ON_RESOLVED,
                              .founding = decision->verdict == RESTART_FOUND,
                              .incarnation = decision->incarnation,
                              .parent = { decision->frame.incarnation, decision->frame.epoch },
                          });
}

/* A disk that refuses is tried again for as long as when a frame is appended to it. */
static void begin_log_failed(struct weir_job *job, struct weir_error *error)
{
    const int64_t now = job_now_us(job);
    if (job->begin_failing_us == 0) job->begin_failing_us = now;
    if (error->code == WEIR_ENVIRONMENT &&
        now - job->begin_failing_us >= weir_config_duration_ms(job->config, "store.patience") * 1000)
        error->remedy = WEIR_REMEDY_STOP;
    job_failed(job, error);
}

static void begin_log_done(struct work *work, void *user)
{
    struct weir_job *job = user;
    if (work->code == WEIR_OK) {
        job->incarnation_begun = job->decision.incarnation;
        job->begin_failing_us = 0;
        atomic_store(&job->log_ready, true);
    }
    if (job_is_stale(job, work)) return;
    if (work->code == WEIR_OK) resolved(job);
    else begin_log_failed(job, &work->error);
}

static void doubt_verdict(struct weir_job *job, struct weir_error *error)
{
    const struct weir_frame_name *frame = &job->decision.frame;
    const bool is_confirmed = job->doubted.code == error->code && job_is_same_frame(&job->doubted.frame, frame);
    if (error->remedy != WEIR_REMEDY_STOP || is_confirmed) return;
    job->doubted.code = error->code;
    job->doubted.frame = *frame;
    error->remedy = WEIR_REMEDY_REPLAY;
}

void job_verdict_failed(struct weir_job *job, struct weir_error *error)
{
    doubt_verdict(job, error);
    job_failed(job, error);
}

static void resolve_done(struct work *work, void *user)
{
    struct weir_job *job = user;
    if (job_is_stale(job, work)) return;
    if (work->code != WEIR_OK) {
        job_verdict_failed(job, &work->error);
        return;
    }
    job_log(job, job->decision.warn ? WEIR_LOG_WARN : WEIR_LOG_INFO, "%s", job->decision.text);
    job->rewrite_mirrors = job->decision.rewrite_mirrors;
    if (job->decision.incarnation == job->commit.incarnation || job->commit.dropping)
        resolved(job);
    else
        job_submit_own(job, job->log_writer, 0, run_begin_log, begin_log_done);
}

void job_resolve(struct weir_job *job) { job_submit_own(job, job->environment_worker, 0, run_resolve, resolve_done); }
