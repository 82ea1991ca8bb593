/* The weir command: looks at jobs, and at what they leave behind.
 *
 *   weir VERB ...        verbs.h
 *   weir [VERB] --help, weir help [VERB]
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

int verb_not_understood(const struct verb *verb, const char *word)
{
    char suggestion[VERB_WORD_MAX], what[200];
    if (strcmp(word, "-o") == 0) return verb_complain(verb, "-o takes table or json", "");
    if (!verb_suggests(verb, word, suggestion)) return verb_complain(verb, "not understood", word);
    if (strcmp(word, suggestion) == 0) return verb_complain(verb, "a value is missing behind", word);
    (void)snprintf(what, sizeof what, "'%.100s' is not understood; the nearest is %s", word, suggestion);
    return verb_complain(verb, what, "");
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

/* With a word that is near, one line is enough. */
static int complain_of_verb(const char *word)
{
    struct weir_nearest nearest = { .wanted = word == NULL ? "" : word };
    for (int i = 0; i < VERB_COUNT; i++) weir_nearest_consider(&nearest, verbs[i]->name);
    if (nearest.word != NULL) {
        (void)fprintf(stderr, "weir: there is no verb '%s'; the nearest is '%s', and 'weir --help' lists them all\n", word,
                      nearest.word);
        return VERB_USAGE;
    }
    if (word != NULL) {
        (void)fprintf(stderr, "weir: there is no verb '%s'; 'weir --help' lists them\n", word);
        return VERB_USAGE;
    }
    (void)fprintf(stderr, "weir: say what to do\n");
    print_all(stderr);
    return VERB_USAGE;
}

static const struct verb *find_verb(const char *name)
{
    for (int i = 0; i < VERB_COUNT; i++)
        if (strcmp(name, verbs[i]->name) == 0) return verbs[i];
    return NULL;
}

/* Of all verbs when there is none of that name. */
static int help(const char *name)
{
    const struct verb *verb = find_verb(name);
    if (verb == NULL) {
        print_help();
    } else {
        print_usage(stdout, verb, true);
        (void)printf("\n%s", verb->help);
    }
    return EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
    const char *word = argc > 1 ? argv[1] : "";
    const struct verb *verb = find_verb(word);
    if (argc == 2 && strcmp(word, "--version") == 0) return puts("weir " WEIR_VERSION) < 0;
    if (strcmp(word, "help") == 0) return help(argc > 2 ? argv[2] : "");
    if (asks_for_help(argc, argv, verb != NULL && verb->passes_on ? 2 : argc)) return help(word);
    return verb != NULL ? verb->run(argc - 1, argv + 1) : complain_of_verb(argc > 1 ? word : NULL);
}
