/* weir config: the table of keys, and what files and the machine make of it. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "values.h"
#include "verbs.h"
#include "weir/main.h"

/* ---- list --------------------------------------------------------------------------------------------------------- */

static void print_type(const struct weir_config_key *key)
{
    if (key->choices != NULL) (void)printf("one of %s", key->choices);
    else if (key->highest > key->lowest) (void)printf("%s, %" PRId64 " to %" PRId64, key->type, key->lowest, key->highest);
    else (void)fputs(key->type, stdout);
    if (strcmp(key->type, "duration") == 0) (void)fputs(" ms", stdout);
    if (strcmp(key->type, "size") == 0) (void)fputs(" bytes", stdout);
}

static void print_key(const struct weir_config_key *key)
{
    (void)printf("%s\n    %s\n    ", key->name, key->sentence);
    print_type(key);
    if (key->default_value != NULL) (void)printf("; default %s", key->default_value);
    (void)fputs("\n", stdout);
}

static void print_json_key(const struct weir_config_key *key, bool is_first)
{
    (void)printf("%s{\"key\": ", is_first ? "" : ",\n ");
    print_json_text(stdout, key->name);
    (void)fputs(", \"type\": ", stdout);
    print_json_text(stdout, key->type);
    (void)fputs(", \"default\": ", stdout);
    if (key->default_value != NULL) print_json_text(stdout, key->default_value);
    else (void)fputs("null", stdout);
    if (key->choices != NULL) {
        (void)fputs(", \"choices\": ", stdout);
        print_json_text(stdout, key->choices);
    } else if (key->highest > key->lowest) {
        (void)printf(", \"lowest\": %" PRId64 ", \"highest\": %" PRId64, key->lowest, key->highest);
    }
    (void)fputs(", \"sentence\": ", stdout);
    print_json_text(stdout, key->sentence);
    (void)fputs("}", stdout);
}

/* ---- The reference page, and weir.yaml(5) ------------------------------------------------------------------------- */

static void print_markdown_type(const struct weir_config_key *key)
{
    const char *choice = key->choices;
    if (choice == NULL) print_type(key);
    for (; choice != NULL && *choice != '\0'; choice += choice[strcspn(choice, "|")] == '|') {
        (void)printf("%s`%.*s`", choice == key->choices ? "" : ", ", (int)strcspn(choice, "|"), choice);
        choice += strcspn(choice, "|");
    }
}

static void print_markdown(void)
{
    struct weir_config_key key;
    (void)puts("# Configuration keys\n\n"
               "Every key that Weir knows; what begins with `kafka.` goes to librdkafka. The command line counts more than\n"
               "the environment (`WEIR_PROPERTIES`), that more than the job's code, its file, `/etc/weir/weir.yaml`, and the\n"
               "default.\n\n"
               "| Key | What | Values | Default |\n|---|---|---|---|");
    for (size_t i = 0; weir_config_key_at(i, &key); i++) {
        (void)printf("| `%s` | %s | ", key.name, key.sentence);
        print_markdown_type(&key);
        if (key.default_value != NULL) (void)printf(" | `%s` |\n", key.default_value);
        else (void)puts(" | |");
    }
}

static void print_man_page(void)
{
    struct weir_config_key key;
    (void)puts(".TH WEIR.YAML 5 \"\" \"weir " WEIR_VERSION "\" \"Weir\"\n"
               ".ad l\n"
               ".SH NAME\nweir.yaml \\- configuration of stream processing jobs\n"
               ".SH DESCRIPTION\n"
               "A job reads YAML from the file behind\n.B \\-\\-config\nand from\n.IR /etc/weir/weir.yaml .\n"
               "Keys are dotted, or nested. Durations are written 100ms or 3 min, sizes 64mb.\n"
               "The command line counts more than the environment variable\n.BR WEIR_PROPERTIES ,\n"
               "that more than the job's code, its file, the site's file, and the default.\n"
               "A secret\n.I KEY\nmay be taken from a file, with\n.IR KEY .file.\n"
               "An unknown key is an error.\n"
               ".SH KEYS\n"
               "Whatever begins with\n.B kafka.\ngoes to librdkafka.");
    for (size_t i = 0; weir_config_key_at(i, &key); i++) {
        (void)printf(".TP\n.B %s\n%s\n", key.name, key.sentence);
        (void)fputs("Values: ", stdout);
        print_type(&key);
        if (key.default_value != NULL) (void)printf("; default %s", key.default_value);
        (void)puts(".");
    }
    (void)puts(".SH FILES\n.I /etc/weir/weir.yaml\n.SH SEE ALSO\n.BR weir (1),\n.BR weir (7)");
}

static int list_keys(int argc, char **argv)
{
    bool as_json = false;
    if (argc == 2 && strcmp(argv[0], "-o") == 0 && strcmp(argv[1], "markdown") == 0) return print_markdown(), EXIT_SUCCESS;
    if (argc == 2 && strcmp(argv[0], "-o") == 0 && strcmp(argv[1], "man") == 0) return print_man_page(), EXIT_SUCCESS;
    for (int i = 0; i < argc; i++)
        if (!verb_takes_format(argc, argv, &i, &as_json)) return verb_not_understood(&verb_config, argv[i]);
    struct weir_config_key key;
    if (as_json) (void)fputs("[", stdout);
    for (size_t i = 0; weir_config_key_at(i, &key); i++) {
        if (as_json) print_json_key(&key, i == 0);
        else print_key(&key);
    }
    if (as_json) (void)puts("]");
    return EXIT_SUCCESS;
}

/* ---- show --------------------------------------------------------------------------------------------------------- */

struct showing {
    weir_config *config;
    bool as_json, effective;
};

/* One option and its value, from argv[*index] on. */
static int take(struct showing *showing, int argc, char **argv, int *index)
{
    struct weir_error error;
    const char *option = argv[*index];
    if (strcmp(option, "--effective") == 0) {
        showing->effective = true;
        return EXIT_SUCCESS;
    }
    if (verb_takes_format(argc, argv, index, &showing->as_json)) return EXIT_SUCCESS;
    const bool is_file = strcmp(option, "--config") == 0, is_kafka = strcmp(option, "--kafka-config") == 0;
    if (!is_file && !is_kafka && strcmp(option, "-X") != 0)
        return verb_not_understood(&verb_config, option);
    if (*index + 1 == argc) return verb_complain(&verb_config, "a value is missing behind", option);
    const char *value = argv[++*index];
    if (!is_file && !is_kafka) return verb_configures(showing->config, &verb_config, value) ? EXIT_SUCCESS : VERB_USAGE;
    return verb_finish(is_file ? weir_config_load(showing->config, WEIR_CONFIG_FILE, value, &error)
                               : weir_config_load_properties(showing->config, WEIR_CONFIG_FILE, value, &error),
                       &error);
}

static int show_values(int argc, char **argv)
{
    struct weir_error error = { .code = WEIR_OK };
    struct showing showing = { .config = weir_config_create() };
    if (showing.config == NULL) return verb_complain(&verb_config, "no memory", "");
    int status = verb_finish(weir_config_load_site(showing.config, &error), &error);
    for (int i = 0; status == EXIT_SUCCESS && i < argc; i++) status = take(&showing, argc, argv, &i);
    if (status == EXIT_SUCCESS && showing.as_json) weir_config_print_json(stdout, showing.config);
    else if (status == EXIT_SUCCESS) weir_config_print(stdout, showing.config, showing.effective);
    weir_config_destroy(showing.config);
    return status;
}

static int run(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "list") == 0) return list_keys(argc - 2, argv + 2);
    if (argc > 1 && strcmp(argv[1], "show") == 0) return show_values(argc - 2, argv + 2);
    if (argc > 1) return verb_not_understood(&verb_config, argv[1]);
    return verb_complain(&verb_config, "say 'list' or 'show'", "");
}

const struct verb verb_config = {
    .name = "config",
    .usage = "weir config list [-o table|json|markdown|man]\n"
             "weir config show [--effective] [--config FILE] [--kafka-config FILE] [-X KEY=VALUE] [-o table|json]\n",
    .about = "the configuration keys, and where their values come from",
    .help = "list shows every key with its type, range, default and a sentence.\n"
            "\n"
            "show prints, as YAML, the values that a job would find: of /etc/weir/weir.yaml (or the file that\n"
            "WEIR_SITE_CONFIG names), of the files given, of WEIR_PROPERTIES and of -X, each with where it comes from;\n"
            "with --effective the defaults too, and those with -o json always. What a job's own code and command line\n"
            "add, 'PROGRAM ... --show-config' shows. Secrets are never shown.\n",
    .run = run,
};
