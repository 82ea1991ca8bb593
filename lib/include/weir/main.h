/* weir_main: the same command line, signals and exit codes for every job. A small library apart, because the core installs
 * no signal handlers and prints nothing. Results go to stdout, progress and logs to stderr. */
#ifndef WEIR_MAIN_H
#define WEIR_MAIN_H

#include <stdio.h>

#include "weir/weir.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What an option of the job's own takes. */
enum weir_option_kind {
    WEIR_TEXT,
    WEIR_TOPIC,  /* a topic name; required unless it has a default */
    WEIR_CHOICE, /* one of `choices`, "a|b"; a choice that ends with ':' takes more text behind it */
};

/* `--name VALUE`, readable as weir_config_text(config, name). A list ends with a zero row. */
struct weir_option {
    const char *name;
    enum weir_option_kind kind;
    const char *default_value;
    const char *choices;
    const char *help; /* one line */
};

struct weir_main_options {
    size_t size;
    void (*define)(weir_graph *graph, const weir_config *config);
    const struct weir_option *options;
    const char *about;   /* one line for --help */
    const char *version; /* of the program; NULL = Weir's */
};

/* Runs the job that `define` declares; returns the exit status for main(). Main thread, once. */
WEIR_API int weir_main_(int argc, char **argv, const struct weir_main_options *options);
#define weir_main(argc, argv, ...)                                                                                     \
    weir_main_((argc), (argv), &(struct weir_main_options){ .size = sizeof(struct weir_main_options), __VA_ARGS__ })

/* A job as a shared object, for `weir run JOB.so`: it defines weir_define, and whichever of the others it wants. It links no
 * library of Weir's, but finds the functions in the program that runs it: cc -shared -fPIC job.c -o job.so. */
#if defined(__GNUC__)
#define WEIR_MODULE __attribute__((visibility("default")))
#else
#define WEIR_MODULE
#endif
WEIR_MODULE void weir_define(weir_graph *graph, const weir_config *config);
WEIR_MODULE extern const struct weir_option weir_options[]; /* ends with a zero row */
WEIR_MODULE extern const char *const weir_about;            /* one line for --help */

/* An option that every job has. */
struct weir_main_option {
    const char *name;  /* without its "--" */
    const char *value; /* how help calls it; NULL: it takes none */
    const char *help;
};
WEIR_API bool weir_main_option_at(size_t index, struct weir_main_option *option); /* false behind the last */

/* Prints the values that count as YAML, each with where it comes from; without those that are defaults unless
 * `with_defaults`. */
WEIR_API void weir_config_print(FILE *file, const weir_config *config, bool with_defaults);
/* All of them, as an array of objects. */
WEIR_API void weir_config_print_json(FILE *file, const weir_config *config);

#ifdef __cplusplus
}
#endif

#endif
