/* The weir command: looks at jobs, and at what they leave behind.
 *
 *   weir VERB ...        verbs.h
 *   weir [VERB] --help
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "verbs.h"
#include "weir/weir.h"

static const struct verb *const verbs[] = {
    &verb_run,   &verb_info,   &verb_validate, &verb_list,   &verb_status, &verb_checkpoint, &verb_savepoint, &verb_rescale,
    &verb_stop, &verb_cancel, &verb_state,    &verb_ledger, &verb_config, &verb_completion,
};

enum { VERB_COUNT = sizeof verbs / sizeof verbs[0] };

const struct verb *verb_at(size_t index) { return index < VERB_COUNT ? verbs[index] : NULL; }

/* The lines of a usage, the first behind "usage: ". */
static void print_usage(FILE *file, const struct verb *verb, bool is_first)
{
    for (const char *line = verb->usage; *line != '\0'; line += strcspn(line, "\n") + 1) {
        (void)fprintf(file, "%s%.*s\n", is_first ? "usage: " : "       ", (int)strcspn(line, "\n"), line);
        is_first = false;
    }
}

static void print_all(FILE *file)
{
    for (int i = 0; i < VERB_COUNT; i++) print_usage(file, verbs[i], i == 0);
    (void)fputs("       weir [VERB] --help | weir --version\n", file);
}

static void print_help(void)
{
    print_all(stdout);
    (void)puts("");
    for (int i = 0; i < VERB_COUNT; i++) (void)printf("  %-10s %s\n", verbs[i]->name, verbs[i]->about);
}

int verb_finish(enum weir_code code, const struct weir_error *error)
{
    if (code == WEIR_OK) return EXIT_SUCCESS;
    (void)fflush(stdout);
    (void)fprintf(stderr, "weir: %s\n", error->text);
    return weir_code_exit_status(code);
}

int verb_complain(const struct verb *verb, const char *what, const char *detail)
{
    (void)fprintf(stderr, "weir: %s%s%s\n", what, detail[0] == '\0' ? "" : ": ", detail);
    print_usage(stderr, verb, true);
    return VERB_USAGE;
}

bool verb_takes_format(int argc, char **argv, int *index, bool *as_json)
{
    if (strcmp(argv[*index], "--json") == 0) {
        *as_json = true;
        return true;
    }
    if (strcmp(argv[*index], "-o") != 0 || *index + 1 == argc) return false;
    const char *format = argv[*index + 1];
    *as_json = strcmp(format, "json") == 0;
    if (!*as_json && strcmp(format, "table") != 0) return false;
    ++*index;
    return true;
}

static bool asks_for_help(int argc, char **argv, int last)
{
    for (int i = 1; i < argc && i <= last; i++)
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) return true;
    return false;
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "--version") == 0) {
        (void)puts("weir " WEIR_VERSION);
        return EXIT_SUCCESS;
    }
    for (int i = 0; argc > 1 && i < VERB_COUNT; i++) {
        if (strcmp(argv[1], verbs[i]->name) != 0) continue;
        if (!asks_for_help(argc, argv, verbs[i]->passes_on ? 2 : argc)) return verbs[i]->run(argc - 1, argv + 1);
        print_usage(stdout, verbs[i], true);
        (void)printf("\n%s", verbs[i]->help);
        return EXIT_SUCCESS;
    }
    if (asks_for_help(argc, argv, argc)) {
        print_help();
        return EXIT_SUCCESS;
    }
    if (argc > 1) (void)fprintf(stderr, "weir: there is no verb '%s'\n", argv[1]);
    else (void)fprintf(stderr, "weir: say what to do\n");
    print_all(stderr);
    return VERB_USAGE;
}
