/* The command line of every job: options become configuration keys, so that each can also stand in a file. */
#ifndef MAIN_OPTIONS_H
#define MAIN_OPTIONS_H

#include <stdio.h>

#include "weir/main.h"

struct main_options {
    const char *program;     /* last part of argv[0] */
    char job[80];            /* --job, or <program>-<output topic> */
    const char *config_path;
    bool plan, validate, show_config;
    bool quiet;
    bool as_json;            /* -o json */
    int64_t progress_ms;     /* -1 = choose by terminal */
    bool ended;              /* --help or --version was answered: exit with 0 */
};

/* Fills `config` and `*parsed`. WEIR_USAGE with a sentence for what is wrong. Prints --help and --version to stdout. */
enum weir_code main_options_parse(int argc, char **argv, const struct weir_main_options *main, weir_config *config,
                                  struct main_options *parsed, struct weir_error *error);

#endif
