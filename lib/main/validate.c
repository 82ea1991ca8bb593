#include "main/validate.h"

#include "main/text.h"
#include "weir/remote.h"

struct validation {
    const struct main_options *parsed;
    unsigned counts[WEIR_SEVERITY_ERROR + 1];
    enum weir_code code; /* of the first error */
    bool has_finding;
};

static const char *const severities[] = { "note", "warning", "error" };

static void print_plain(const char *text)
{
    char escaped[4 * 1024];
    const size_t size = text_escape(escaped, sizeof(escaped), weir_text(text), TEXT_PLAIN);
    printf("%.*s", (int)size, escaped);
}

static void print_finding(struct validation *validation, const struct weir_finding *finding)
{
    if (!validation->parsed->as_json) {
        printf("%-8s %-32s ", severities[finding->severity], finding->check);
        print_plain(finding->problem);
        printf("\n%-8s %-32s -> %s\n", "", "", finding->advice);
        return;
    }
    printf("%s\n  {\"check\": \"%s\", \"severity\": \"%s\", \"problem\": ", validation->has_finding ? "," : "",
           finding->check, severities[finding->severity]);
    text_print_json(stdout, finding->problem);
    printf(", \"advice\": ");
    text_print_json(stdout, finding->advice);
    printf("}");
}

static void take(void *user, const struct weir_finding *finding)
{
    struct validation *validation = user;
    print_finding(validation, finding);
    validation->has_finding = true;
    if (finding->severity == WEIR_SEVERITY_ERROR && validation->code == WEIR_OK)
        validation->code = finding->code == WEIR_OK ? WEIR_ENVIRONMENT : finding->code;
    validation->counts[finding->severity]++;
}

/* What options, configuration and graph say against each other. */
static void take_refusal(struct validation *validation, const struct weir_error *error)
{
    take(validation, &(struct weir_finding){ .check = "job-refused", .severity = WEIR_SEVERITY_ERROR, .code = error->code,
                                             .problem = error->text,
                                             .advice = "Correct what it names; nothing else was looked at." });
}

static const char *plural(unsigned count) { return count == 1 ? "" : "s"; }

static void print_end(const struct validation *validation)
{
    const unsigned *counts = validation->counts;
    const unsigned errors = counts[WEIR_SEVERITY_ERROR], warnings = counts[WEIR_SEVERITY_WARNING];
    const unsigned notes = counts[WEIR_SEVERITY_NOTE];
    if (validation->parsed->as_json)
        printf("%s], \"errors\": %u, \"warnings\": %u, \"notes\": %u, \"valid\": %s}\n", validation->has_finding ? "\n " : "",
               errors, warnings, notes, errors == 0 ? "true" : "false");
    else
        printf("%s: job '%s': %s: %u error%s, %u warning%s, %u note%s\n", validation->parsed->program,
               validation->parsed->job, errors == 0 ? "valid" : "would not run", errors, plural(errors), warnings,
               plural(warnings), notes, plural(notes));
}

int validate_job(const struct main_options *parsed, weir_graph *graph, const weir_config *config)
{
    struct weir_error error;
    weir_job *job;
    struct validation validation = { .parsed = parsed, .code = WEIR_OK };
    const struct weir_job_options options = { .size = sizeof(options), .name = parsed->job, .program = parsed->program };
    if (parsed->as_json) printf("{\"job\": \"%s\", \"findings\": [", parsed->job);
    weir_remote_examine(config, take, &validation);
    if (weir_job_create(graph, config, &options, &job, &error) == WEIR_OK) {
        weir_job_examine(job, take, &validation);
        weir_job_destroy(job);
    } else {
        take_refusal(&validation, &error);
    }
    print_end(&validation);
    return weir_code_exit_status(validation.code);
}
