/* weir list, status, rescale, stop, cancel: the jobs that run on this machine. */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "remote.h"
#include "values.h"
#include "verbs.h"
#include "weir/control.h"

enum { PATIENCE_MS = 2000, CONTROL_REQUEST_MAX = 4096 };

/* ---- Options ------------------------------------------------------------------------------------------------------ */

struct arguments {
    const char *job;         /* NULL = none was named */
    const char *parallelism; /* -p N; NULL = not said */
    const char *savepoints;  /* --savepoint DIR; NULL = not said */
    bool json;
};

static int parse(const struct verb *verb, int argc, char **argv, bool takes_job, struct arguments *arguments)
{
    *arguments = (struct arguments){ .job = NULL };
    for (int i = 1; i < argc; i++) {
        if (verb_takes_format(argc, argv, &i, &arguments->json)) continue;
        if (verb == &verb_rescale && i + 1 < argc && strcmp(argv[i], "-p") == 0) {
            arguments->parallelism = argv[++i];
            continue;
        }
        if (verb == &verb_stop && i + 1 < argc && strcmp(argv[i], "--savepoint") == 0) {
            arguments->savepoints = argv[++i];
            continue;
        }
        if (argv[i][0] == '-')
            return verb_not_understood(verb, argv[i]);
        else if (!takes_job || arguments->job != NULL)
            return verb_complain(verb, takes_job ? "one job at a time" : "takes no argument", argv[i]);
        else
            arguments->job = argv[i];
    }
    if (takes_job && arguments->job == NULL)
        return verb_complain(verb, "name the job, or its checkpoint directory", "");
    return EXIT_SUCCESS;
}

/* ---- JSON --------------------------------------------------------------------------------------------------------- */

/* What is text in a status; all else is a number, true or false. */
static bool is_text(const char *key)
{
    static const char *const keys[] = { "name", "program", "directory", "path" };
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
        if (strcmp(key, keys[i]) == 0) return true;
    return false;
}

/* A number, true or false, as it may stand in JSON. */
static bool is_bare(const char *value)
{
    char *end;
    if (strcmp(value, "true") == 0 || strcmp(value, "false") == 0) return true;
    (void)strtod(value, &end);
    return end != value && *end == '\0' && strspn(value, "-0123456789.eE+") == strlen(value);
}

/* Objects as they come, in brackets when there may be several. */
struct json {
    bool is_open, has_member;
    size_t count;
};

static void json_begin(void *user)
{
    struct json *json = user;
    (void)fputs(json->is_open ? "},\n {" : "{", stdout);
    json->is_open = true;
    json->has_member = false;
    json->count++;
}

static void json_line(void *user, const char *key, const char *value)
{
    struct json *json = user;
    if (!json->is_open) json_begin(json);
    if (json->has_member) (void)fputs(", ", stdout);
    json->has_member = true;
    print_json_text(stdout, key);
    (void)fputs(": ", stdout);
    if (is_text(key) || !is_bare(value)) print_json_text(stdout, value);
    else (void)fputs(value, stdout);
}

/* ---- Tables ------------------------------------------------------------------------------------------------------- */

/* One row of the list, from the lines of a status. */
struct row {
    size_t rows;
    char name[72], state[16], pid[24], epoch[24], lag[24], directory[4096];
};

static void print_row(const struct row *row)
{
    (void)printf("%-28s %-9s %10s %12s %12s  %s\n", row->name, row->state, row->epoch, row->lag, row->pid, row->directory);
}

static void end_row(struct row *row)
{
    if (row->rows > 0) print_row(row);
}

static void begin_row(void *user)
{
    struct row *row = user;
    const struct row head = { .name = "JOB", .state = "STATE", .epoch = "EPOCH", .lag = "LAG", .pid = "PID",
                              .directory = "CHECKPOINTS" };
    if (row->rows == 0) print_row(&head);
    end_row(row);
    *row = (struct row){ .rows = row->rows + 1 };
}

static void fill_row(void *user, const char *key, const char *value)
{
    struct row *row = user;
    if (strcmp(key, "name") == 0) (void)snprintf(row->name, sizeof row->name, "%s", value);
    if (strcmp(key, "pid") == 0) (void)snprintf(row->pid, sizeof row->pid, "%s", value);
    if (strcmp(key, "epoch_committed") == 0) (void)snprintf(row->epoch, sizeof row->epoch, "%s", value);
    if (strcmp(key, "lag_records") == 0) (void)snprintf(row->lag, sizeof row->lag, "%s", value[0] == '-' ? "?" : value);
    if (strcmp(key, "directory") == 0) (void)snprintf(row->directory, sizeof row->directory, "%s", value);
    if (strcmp(key, "running") == 0)
        (void)snprintf(row->state, sizeof row->state, "%s", strcmp(value, "true") == 0 ? "running" : "starting");
}

/* A path comes last and stands alone, for scripts. */
static void print_line(void *user, const char *key, const char *value)
{
    (void)user;
    if (strcmp(key, "path") == 0) (void)puts(value);
    else (void)printf("%-24s %s\n", key, value);
}

/* ---- Verbs -------------------------------------------------------------------------------------------------------- */

static int run_list(int argc, char **argv)
{
    struct arguments arguments;
    struct weir_error error;
    const int status = parse(&verb_list, argc, argv, false, &arguments);
    if (status != EXIT_SUCCESS) return status;
    if (arguments.json) {
        struct json json = { .count = 0 };
        (void)fputs("[", stdout);
        const enum weir_code code = weir_control_each(PATIENCE_MS, json_begin, json_line, &json, &error);
        (void)puts(json.count > 0 ? "}]" : "]");
        return verb_finish(code, &error);
    }
    struct row row = { .rows = 0 };
    const enum weir_code code = weir_control_each(PATIENCE_MS, begin_row, fill_row, &row, &error);
    end_row(&row);
    if (code == WEIR_OK && row.rows == 0) (void)fputs("no job of this user runs on this machine\n", stderr);
    return verb_finish(code, &error);
}

static int ask(const struct arguments *arguments, const char *request)
{
    struct weir_error error;
    struct json json = { .count = 0 };
    weir_control_fn *line = arguments->json ? json_line : print_line;
    const enum weir_code code = remote_is_url(arguments->job)
                                    ? remote_ask(arguments->job, request, line, &json, &error)
                                    : weir_control_ask(arguments->job, request, PATIENCE_MS, line, &json, &error);
    if (json.is_open) (void)puts("}");
    return verb_finish(code, &error);
}

int verb_ask_job(const struct verb *verb, int argc, char **argv)
{
    struct arguments arguments;
    const int status = parse(verb, argc, argv, true, &arguments);
    return status != EXIT_SUCCESS ? status : ask(&arguments, verb->name);
}

/* The job has another working directory. */
int verb_ask_savepoint(const char *job, const char *directory, bool stops, bool as_json)
{
    char request[CONTROL_REQUEST_MAX], here[CONTROL_REQUEST_MAX] = "";
    const struct arguments arguments = { .job = job, .json = as_json };
    if (directory != NULL && directory[0] != '/' && !remote_is_url(job) && getcwd(here, sizeof here) == NULL) {
        (void)fprintf(stderr, "weir: the working directory is gone: give a whole path\n");
        return VERB_USAGE;
    }
    const int size = snprintf(request, sizeof request, "%s%s%s%s%s", stops ? "stop-savepoint" : "savepoint",
                              directory == NULL ? "" : " ", here, here[0] == '\0' ? "" : "/",
                              directory == NULL ? "" : directory);
    if (size < 0 || (size_t)size >= sizeof request) {
        (void)fprintf(stderr, "weir: the path is too long\n");
        return VERB_USAGE;
    }
    return ask(&arguments, request);
}

static int run_rescale(int argc, char **argv)
{
    struct arguments arguments;
    char request[64];
    const int status = parse(&verb_rescale, argc, argv, true, &arguments);
    if (status != EXIT_SUCCESS) return status;
    if (arguments.parallelism == NULL) return verb_complain(&verb_rescale, "say the new parallelism with -p N", "");
    if (strspn(arguments.parallelism, "0123456789") != strlen(arguments.parallelism) || atoi(arguments.parallelism) == 0)
        return verb_complain(&verb_rescale, "-p takes a number, from 1", arguments.parallelism);
    (void)snprintf(request, sizeof request, "rescale %.40s", arguments.parallelism);
    return ask(&arguments, request);
}

static int run_status(int argc, char **argv) { return verb_ask_job(&verb_status, argc, argv); }
static int run_stop(int argc, char **argv)
{
    struct arguments arguments;
    const int status = parse(&verb_stop, argc, argv, true, &arguments);
    if (status != EXIT_SUCCESS) return status;
    if (arguments.savepoints == NULL) return ask(&arguments, "stop");
    return verb_ask_savepoint(arguments.job, arguments.savepoints, true, arguments.json);
}
static int run_cancel(int argc, char **argv) { return verb_ask_job(&verb_cancel, argc, argv); }

#define ABOUT_JOB                                                                                                      \
    "JOB is the name of a job that runs on this machine under this user, or its checkpoint directory; or a URL such\n"   \
    "as http://localhost:8081, where a job has its rest.port. WEIR_TOKEN in the environment takes the token for that;\n"  \
    "for https:// WEIR_TLS_CA takes a file with the authority to trust instead of the system's, WEIR_TLS_CERTIFICATE and\n" \
    "WEIR_TLS_KEY the files of a certificate to show.\n"                                                                \
    "-o json prints one object instead of lines.\n"                                                                    \
    "\n"                                                                                                               \
    "exit codes: 0 done, 2 usage, 7 no such job, or it does not answer; else as the job itself ended\n"

const struct verb verb_list = {
    .name = "list",
    .usage = "weir list [-o table|json]\n",
    .about = "the jobs that run on this machine",
    .help = "Lists the running jobs of this user: those that were started by programs of Weir's own command line.\n",
    .run = run_list,
};

const struct verb verb_status = {
    .name = "status",
    .usage = "weir status JOB [-o table|json]\n",
    .about = "the numbers of a running job",
    .help = ABOUT_JOB,
    .run = run_status,
};

const struct verb verb_rescale = {
    .name = "rescale",
    .usage = "weir rescale JOB -p N [-o table|json]\n",
    .about = "changes the parallelism of a running job",
    .help = "The job commits, and goes on from that checkpoint with parallelism N in the same process; its numbers are\n"
            "printed when it runs again. N is at most the job's max_parallelism, which 'weir status' shows. Operators that\n"
            "say their own parallelism keep it. The next start of the program takes the parallelism of its command line.\n"
            ABOUT_JOB,
    .run = run_rescale,
};

const struct verb verb_stop = {
    .name = "stop",
    .usage = "weir stop [--savepoint DIR] JOB [-o table|json]\n",
    .about = "ends a job behind a last commit",
    .help = "The job finishes its epoch, commits and ends; its last numbers are printed then. With --savepoint it ends with\n"
            "a savepoint below DIR, whose path is the last line printed; when none can be made, it runs on.\n" ABOUT_JOB,
    .run = run_stop,
};

const struct verb verb_cancel = {
    .name = "cancel",
    .usage = "weir cancel JOB [-o table|json]\n",
    .about = "ends a job where it stands",
    .help = "What is not committed is given up; the job's next start goes on from its last commit, which stays, unless the job\n"
            "was started with execution.checkpointing.externalized-checkpoint-retention=DELETE_ON_CANCELLATION.\n" ABOUT_JOB,
    .run = run_cancel,
};
