#include "runtime/examine.h"
#include "runtime/job.h"

/* Calls `visit` for every source and sink, until it answers true. */
static bool any_connector(const struct weir_job *job,
                          bool (*visit)(const struct weir_job *job, const struct operator_spec *spec, uint32_t parallelism,
                                        void *user),
                          void *user)
{
    for (uint32_t v = 0; v < job->plan->vertex_count; v++) {
        const struct plan_vertex *at = &job->plan->vertices[v];
        if (at->source != NULL && visit(job, at->source, at->parallelism, user)) return true;
        for (uint32_t s = 0; s < at->chain.stage_count; s++)
            if (at->chain.stages[s].spec->kind == OPERATOR_SINK &&
                visit(job, at->chain.stages[s].spec, at->parallelism, user))
                return true;
    }
    return false;
}

static bool has_examination(const struct weir_job *job, const struct operator_spec *spec, uint32_t parallelism, void *user)
{
    (void)job, (void)parallelism, (void)user;
    return spec->kind == OPERATOR_SOURCE ? spec->source.type->examine != NULL : spec->sink.type->examine != NULL;
}

bool job_has_examinations(const struct weir_job *job)
{
    return job->decider_type->examine != NULL || any_connector(job, has_examination, NULL);
}

static bool examine_connector(const struct weir_job *job, const struct operator_spec *spec, uint32_t parallelism,
                              void *examination)
{
    const struct weir_connector_context context = job_context(job, spec, parallelism);
    if (!has_examination(job, spec, parallelism, NULL)) return false;
    if (spec->kind == OPERATOR_SOURCE) spec->source.type->examine(spec->source.options, &context, examination);
    else spec->sink.type->examine(spec->sink.options, &context, examination);
    return false;
}

static void examine_connectors(const struct weir_job *job, struct weir_examination *examination)
{
    const struct weir_connector_context context = job_context(job, NULL, 1);
    const struct weir_decider_options options = { .context = &context, .slot = JOB_SLOT,
                                                  .ring_size = job->commit.options.ring_size,
                                                  .connector_options = job->plan->decider_options };
    (void)any_connector(job, examine_connector, examination);
    if (job->decider_type->examine != NULL) job->decider_type->examine(&options, examination);
}

void job_warn_of_checkpoints(const struct weir_job *job)
{
    struct examine_verdict verdict = { .environment = &job->environment };
    struct weir_examination examination;
    examination_begin(&examination, examine_judge, &verdict);
    examine_checkpoints(&examination, job->config, job->name);
    examination_end(&examination);
}

enum weir_code job_examine(struct work *work)
{
    struct weir_job *job = ((struct job_work *)work)->job;
    struct examine_verdict verdict = { .environment = &job->environment };
    struct weir_examination examination;
    examination_begin(&examination, examine_judge, &verdict);
    examine_connectors(job, &examination);
    examination_end(&examination);
    if (verdict.error.code == WEIR_OK) return WEIR_OK;
    work->error = verdict.error;
    if (verdict.more > 0)
        job_log(job, WEIR_LOG_WARN, "job '%s': the first of %u reasons not to start; --validate shows all of them",
                job->name, verdict.more + 1);
    return work->error.code;
}

void weir_job_examine(weir_job *job, weir_finding_fn *found, void *user)
{
    struct weir_examination examination;
    CHECK(!job->thread.started);
    examination_begin(&examination, found, user);
    examine_checkpoints(&examination, job->config, job->name);
    examine_connectors(job, &examination);
    examination_end(&examination);
}
