/* weir run, info, validate: a job that is a program, or a shared object (weir/main.h), from its file. */
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "verbs.h"
#include "weir/main.h"

enum { NAME_MAX_BYTES = 256 };

/* "JOB.so", or with a version behind. */
static bool is_module(const char *path)
{
    const char *slash = strrchr(path, '/');
    const char *at = strstr(slash == NULL ? path : slash, ".so");
    return at != NULL && (at[3] == '\0' || at[3] == '.');
}

/* The job's program has the name of the file, without ".so". */
static void name_program(const char *path, char name[static NAME_MAX_BYTES])
{
    const char *slash = strrchr(path, '/');
    (void)snprintf(name, NAME_MAX_BYTES, "%s", slash == NULL ? path : slash + 1);
    *strstr(name, ".so") = '\0';
}

static int refuse(const char *path, const char *why)
{
    (void)fprintf(stderr, "weir: %s is not a job: %s\n", path, why);
    return VERB_USAGE;
}

/* Without a '/' the loader would look in its own places. */
static void *open_module(const char *path)
{
    char here[4096];
    if (strchr(path, '/') != NULL) return dlopen(path, RTLD_NOW | RTLD_LOCAL);
    (void)snprintf(here, sizeof here, "./%s", path);
    return dlopen(here, RTLD_NOW | RTLD_LOCAL);
}

static int run_module(const char *path, int argc, char **argv)
{
    char name[NAME_MAX_BYTES];
    void *module = open_module(path);
    if (module == NULL) return refuse(path, dlerror());
    struct weir_main_options options = { .size = sizeof options };
    *(void **)&options.define = dlsym(module, "weir_define"); /* as dlopen(3) says it must be written */
    const char *const *about = dlsym(module, "weir_about");
    options.options = dlsym(module, "weir_options");
    if (about != NULL) options.about = *about;
    if (options.define == NULL) return refuse(path, "it has no function weir_define");
    name_program(path, name);
    argv[0] = name;
    return weir_main_(argc, argv, &options); /* the module stays: its code may run until the process ends */
}

static int run_program(const char *path, char **argv)
{
    (void)execvp(path, argv);
    (void)fprintf(stderr, "weir: cannot run %s: %s\n", path, strerror(errno));
    return weir_code_exit_status(WEIR_ENVIRONMENT);
}

/* `option` NULL = none; else one more for the job. */
static int run_job(const struct verb *verb, int argc, char **argv, const char *option)
{
    if (argc < 2 || argv[1][0] == '-') return verb_complain(verb, "name the job's file: JOB.so, or a program", "");
    char **arguments = calloc((size_t)argc + 2, sizeof *arguments);
    if (arguments == NULL) return verb_complain(verb, "out of memory", "");
    int count = 0;
    for (int i = 1; i < argc; i++) arguments[count++] = argv[i];
    if (option != NULL) arguments[count++] = (char *)(uintptr_t)option;
    const int status = is_module(argv[1]) ? run_module(argv[1], count, arguments) : run_program(argv[1], arguments);
    free(arguments);
    return status;
}

static int run_run(int argc, char **argv) { return run_job(&verb_run, argc, argv, NULL); }
static int run_info(int argc, char **argv) { return run_job(&verb_info, argc, argv, "--plan"); }
static int run_validate(int argc, char **argv) { return run_job(&verb_validate, argc, argv, "--validate"); }

#define ABOUT_FILES                                                                                                    \
    "FILE is a program of Weir's own command line, or a shared object, FILE.so, which has a function weir_define\n"      \
    "(weir/main.h). All that follows is for the job: 'weir run FILE --help' lists its options.\n"

const struct verb verb_run = {
    .name = "run",
    .usage = "weir run FILE [OPTION]...\n",
    .about = "runs a job: a shared object, or a program",
    .help = ABOUT_FILES "\nexit codes: those of the job\n",
    .run = run_run,
    .passes_on = true,
};

const struct verb verb_info = {
    .name = "info",
    .usage = "weir info FILE [OPTION]... [-o table|json]\n",
    .about = "the job graph and the execution plan of a job",
    .help = "Prints them, and runs nothing. As JSON the plan is what GET /v1/jobs/JOB/plan answers when the job runs.\n"
            ABOUT_FILES,
    .run = run_info,
    .passes_on = true,
};

const struct verb verb_validate = {
    .name = "validate",
    .usage = "weir validate FILE [OPTION]... [-o table|json]\n",
    .about = "what is wrong around a job, before it runs",
    .help = "Looks at options, configuration and graph, at topics, rights and time-outs, and at the checkpoint directory; tells\n"
            "all that it finds, each with what to do, and runs nothing.\n" ABOUT_FILES
            "\n"
            "exit codes: 0 the job can run, 2 its options or configuration are wrong, 7 something around it is\n",
    .run = run_validate,
    .passes_on = true,
};
