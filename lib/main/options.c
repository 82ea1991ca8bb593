#include "main/options.h"

#include <limits.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

/* What becomes of an option that every job has. */
enum action {
    SET, /* its value, or "true", goes to a configuration key */
    JOB,
    GUARANTEE,
    CONFIG,
    KAFKA_CONFIG,
    PLAN,
    VALIDATE,
    SHOW_CONFIG,
    PROGRESS,
    QUIET,
    VERSION,
    HELP,
};

struct standard_option {
    const char *name;
    const char *value; /* how help calls the value; NULL = a flag */
    enum action action;
    const char *key; /* SET only */
    const char *help;
};

static const struct standard_option standard[] = {
    { "brokers", "HOST:PORT", SET, "kafka.bootstrap.servers", "the Kafka cluster" },
    { "bootstrap-server", "HOST:PORT", SET, "kafka.bootstrap.servers", "another name of --brokers" },
    { "checkpoint-dir", "DIR", SET, "execution.checkpointing.dir", "directory of the checkpoint store" },
    { "job", "NAME", JOB, NULL, "name of the job; default <program>-<output topic>" },
    { "checkpoint-interval", "DURATION", SET, "execution.checkpointing.interval", "time between two commits (100ms)" },
    { "parallelism", "N", SET, "parallelism.default", "subtasks of each operator (1); also -p N" },
    { "guarantee", "exactly-once|at-least-once", GUARANTEE, NULL, "how output is written (exactly-once)" },
    { "start", "POSITION", SET, "source.start", "earliest|latest|timestamp:T|group:NAME, for a job that is new" },
    { "bounded", NULL, SET, "start.bounded", "end at the end offsets found at this start" },
    { "create-topics", NULL, SET, "sink.create-topics", "create output topics that are missing" },
    { "config", "FILE", CONFIG, NULL, "configuration file (YAML)" },
    { "kafka-config", "FILE", KAFKA_CONFIG, NULL, "client properties for librdkafka" },
    { "takeover", NULL, SET, "start.takeover", "take the job over from another store or plan" },
    { "position", "ledger|group|start", SET, "start.position", "which position counts where they differ" },
    { "from-savepoint", "PATH", SET, "execution.savepoint.path", "begin with the state of a savepoint; also -s PATH" },
    { "rename-operator", "OLD=NEW", SET, "execution.savepoint.rename-operators",
      "what an operator of the savepoint is called now" },
    { "reset-operator", "NAME", SET, "execution.savepoint.reset-operators",
      "begin an operator of the savepoint anew" },
    { "position-map", "FILE", SET, "execution.savepoint.position-map",
      "which positions of this cluster are those of the savepoint" },
    { "allow-non-restored-state", NULL, SET, "execution.savepoint.ignore-unclaimed-state",
      "give up state that the job no longer declares" },
    { "share-output", NULL, SET, "start.share-output", "write where the savepoint's job writes, too" },
    { "checkpoint", "EPOCH", SET, "start.checkpoint",
      "go back to a retained checkpoint; output that came later is repeated" },
    { "fresh", NULL, SET, "start.fresh", "begin anew, whatever the ledger says; output may repeat" },
    { "plan", NULL, PLAN, NULL, "print the job graph and the execution plan, and end" },
    { "validate", NULL, VALIDATE, NULL,
      "look for what is wrong in and around the job, and end" },
    { "show-config", NULL, SHOW_CONFIG, NULL, "print every key that counts, with where it comes from, and end" },
    { "progress", "DURATION", PROGRESS, NULL, "time between two progress lines on stderr; 0 = none" },
    { "quiet", NULL, QUIET, NULL, "warnings and errors only on stderr" },
    { "version", NULL, VERSION, NULL, "print the version, and end" },
    { "help", NULL, HELP, NULL, "print this, and end" },
};
#define STANDARD_COUNT (sizeof(standard) / sizeof(standard[0]))

bool weir_main_option_at(size_t index, struct weir_main_option *option)
{
    if (index >= STANDARD_COUNT) return false;
    *option = (struct weir_main_option){ .name = standard[index].name, .value = standard[index].value,
                                         .help = standard[index].help };
    return true;
}

struct parsing {
    const struct weir_main_options *main;
    weir_config *config;
    struct main_options *parsed;
    struct weir_error *error;
};

/* A mistake on the command line, as a sentence. */
static enum weir_code WEIR_PRINTF(2, 3) usage(struct parsing *parsing, const char *format, ...)
{
    char text[800];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    return weir_error_set(parsing->error, WEIR_USAGE, WEIR_REMEDY_STOP, "%s; '%s --help' lists the options", text,
                          parsing->parsed->program);
}

static const struct standard_option *find_standard(const char *name)
{
    for (size_t i = 0; i < STANDARD_COUNT; i++)
        if (strcmp(standard[i].name, name) == 0) return &standard[i];
    return NULL;
}

static const struct weir_option *find_own(const struct weir_main_options *main, const char *name)
{
    for (const struct weir_option *own = main->options; own != NULL && own->name != NULL; own++)
        if (strcmp(own->name, name) == 0) return own;
    return NULL;
}

/* What stands behind '=' may be a secret. */
static enum weir_code not_an_option(struct parsing *parsing, const char *argument)
{
    char name[64];
    const int size = (int)strcspn(argument, "="), dashes = (int)strspn(argument, "-");
    struct weir_nearest nearest = { .wanted = name };
    (void)snprintf(name, sizeof(name), "%.*s", size - dashes, argument + dashes);
    for (size_t i = 0; dashes > 0 && i < STANDARD_COUNT; i++) weir_nearest_consider(&nearest, standard[i].name);
    for (const struct weir_option *own = parsing->main->options; dashes > 0 && own != NULL && own->name != NULL; own++)
        weir_nearest_consider(&nearest, own->name);
    if (nearest.word == NULL) return usage(parsing, "'%.*s' is not an option", size, argument);
    return usage(parsing, "'%.*s' is not an option; the nearest is --%s", size, argument, nearest.word);
}

static enum weir_code set(struct parsing *parsing, const char *key, const char *value, const char *option)
{
    char origin[128];
    snprintf(origin, sizeof(origin), "--%s", option);
    return weir_config_set(parsing->config, WEIR_CONFIG_COMMAND_LINE, key, value, origin, parsing->error);
}

/* "a|b|c:" against a value: a choice that ends with ':' is a prefix. */
static bool choice_allows(const char *choices, const char *value)
{
    while (*choices != '\0') {
        const size_t size = strcspn(choices, "|");
        const bool open_ended = size > 0 && choices[size - 1] == ':';
        if (strncmp(choices, value, size) == 0 && (value[size] == '\0' ? !open_ended : open_ended)) return true;
        choices += size + (choices[size] == '|');
    }
    return false;
}

static bool topic_is_legal(const char *topic)
{
    const size_t size = strlen(topic);
    if (size == 0 || size > 249 || strcmp(topic, ".") == 0 || strcmp(topic, "..") == 0) return false;
    return strspn(topic, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") == size;
}

static enum weir_code check_own(struct parsing *parsing, const struct weir_option *own, const char *value)
{
    if (own->kind == WEIR_CHOICE && !choice_allows(own->choices, value))
        return usage(parsing, "--%s is '%s', but must be one of %s", own->name, value, own->choices);
    if (own->kind == WEIR_TOPIC && !topic_is_legal(value))
        return usage(parsing, "--%s: '%s' is not a topic name (letters, digits, '.', '_', '-', at most 249)", own->name,
                     value);
    return WEIR_OK;
}

static enum weir_code set_pair(struct parsing *parsing, const char *pair)
{
    return weir_config_set_pair(parsing->config, WEIR_CONFIG_COMMAND_LINE, pair, "-X", parsing->error);
}

/* Of what is printed. */
static enum weir_code set_format(struct parsing *parsing, const char *value)
{
    parsing->parsed->as_json = strcmp(value, "json") == 0;
    if (parsing->parsed->as_json || strcmp(value, "table") == 0) return WEIR_OK;
    return usage(parsing, "-o takes table or json, not '%s'", value);
}

static enum weir_code set_guarantee(struct parsing *parsing, const char *value)
{
    if (strcmp(value, "exactly-once") == 0)
        return set(parsing, "execution.checkpointing.mode", "EXACTLY_ONCE", "guarantee");
    if (strcmp(value, "at-least-once") == 0)
        return set(parsing, "execution.checkpointing.mode", "AT_LEAST_ONCE", "guarantee");
    return usage(parsing, "--guarantee is '%s', but must be exactly-once or at-least-once", value);
}

static bool job_name_is_legal(const char *name)
{
    const size_t size = strlen(name);
    return size >= 1 && size <= 64 &&
           strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") == size;
}

static void print_help(const struct parsing *parsing)
{
    const struct weir_main_options *main = parsing->main;
    printf("Usage: %s [OPTION]...\n", parsing->parsed->program);
    if (main->about != NULL) printf("%s\n", main->about);
    if (main->options != NULL && main->options->name != NULL) printf("\nThis job:\n");
    for (const struct weir_option *own = main->options; own != NULL && own->name != NULL; own++) {
        char left[80];
        snprintf(left, sizeof(left), "--%s %s", own->name,
                 own->kind == WEIR_TOPIC ? "TOPIC" : own->kind == WEIR_CHOICE ? own->choices : "TEXT");
        printf("  %-38s %s", left, own->help != NULL ? own->help : "");
        if (own->default_value != NULL) printf(" (%s)", own->default_value);
        printf("\n");
    }
    printf("\nEvery job:\n");
    for (size_t i = 0; i < STANDARD_COUNT; i++) {
        char left[80];
        snprintf(left, sizeof(left), "--%s%s%s", standard[i].name, standard[i].value != NULL ? " " : "",
                 standard[i].value != NULL ? standard[i].value : "");
        printf("  %-38s %s\n", left, standard[i].help);
    }
    printf("  %-38s %s\n", "-X key=value", "any configuration key; kafka.* goes to librdkafka");
    printf("  %-38s %s\n", "-o table|json", "how --validate, --plan and --show-config print");
    printf("\nExit status:\n");
#define PRINT_CODE(name, status, text)                                                                                 \
    if (WEIR_##name != WEIR_NO_MEMORY) printf("  %d  %s\n", status, text);
    WEIR_CODES(PRINT_CODE)
#undef PRINT_CODE
}

static enum weir_code set_job(struct parsing *parsing, const char *value)
{
    if (!job_name_is_legal(value))
        return usage(parsing, "--job: '%s' is not a job name ([A-Za-z0-9._-], 1 to 64 characters)", value);
    snprintf(parsing->parsed->job, sizeof(parsing->parsed->job), "%s", value);
    return WEIR_OK;
}

/* By way of a key of its own, because parsing durations is the configuration's business. */
static enum weir_code set_progress(struct parsing *parsing, const char *value)
{
    weir_config_declare(parsing->config, "progress", NULL);
    const enum weir_code code = set(parsing, "progress", value, "progress");
    if (code != WEIR_OK) return code;
    const int64_t ms = weir_config_duration_ms(parsing->config, "progress");
    if (ms > INT_MAX || (ms == 0 && value[strspn(value, "0")] != '\0'))
        return usage(parsing, "--progress is '%s', but must be a duration such as 1s, or 0", value);
    parsing->parsed->progress_ms = ms;
    return WEIR_OK;
}

static void print_version(const struct parsing *parsing)
{
    const char *own = parsing->main->version;
    printf("%s %s (weir %s)\n", parsing->parsed->program, own != NULL ? own : WEIR_VERSION, WEIR_VERSION);
}

static enum weir_code take_standard(struct parsing *parsing, const struct standard_option *option, const char *value)
{
    struct main_options *parsed = parsing->parsed;
    switch (option->action) {
    case SET: return set(parsing, option->key, value == NULL ? "true" : value, option->name);
    case JOB: return set_job(parsing, value);
    case GUARANTEE: return set_guarantee(parsing, value);
    case CONFIG: parsed->config_path = value; break;
    case KAFKA_CONFIG:
        return weir_config_load_properties(parsing->config, WEIR_CONFIG_FILE, value, parsing->error);
    case PLAN: parsed->plan = true; break;
    case VALIDATE: parsed->validate = true; break;
    case SHOW_CONFIG: parsed->show_config = true; break;
    case PROGRESS: return set_progress(parsing, value);
    case QUIET: parsed->quiet = true; break;
    case VERSION: print_version(parsing), parsed->ended = true; break;
    case HELP: print_help(parsing), parsed->ended = true; break;
    }
    return WEIR_OK;
}

static enum weir_code take_option(struct parsing *parsing, const char *name, const char *value)
{
    const struct weir_option *own = find_own(parsing->main, name);
    if (own == NULL) return take_standard(parsing, find_standard(name), value);
    const enum weir_code code = check_own(parsing, own, value);
    return code != WEIR_OK ? code : set(parsing, own->name, value, own->name);
}

/* One argument, and its value: behind '=' or in the next one. */
static enum weir_code parse_argument(struct parsing *parsing, int argc, char **argv, int *index)
{
    const char *argument = argv[*index];
    if (strncmp(argument, "-X", 2) == 0) {
        if (argument[2] != '\0') return set_pair(parsing, argument + 2);
        if (++*index == argc) return usage(parsing, "-X needs key=value behind it");
        return set_pair(parsing, argv[*index]);
    }
    if (strcmp(argument, "-o") == 0) return set_format(parsing, ++*index == argc ? "" : argv[*index]);
    if (strcmp(argument, "-h") == 0) argument = "--help";
    if (strcmp(argument, "-s") == 0) argument = "--from-savepoint";
    if (strcmp(argument, "-p") == 0) argument = "--parallelism";
    if (strncmp(argument, "--", 2) != 0) return not_an_option(parsing, argument);

    char name[64];
    const char *equals = strchr(argument, '=');
    const size_t size = equals != NULL ? (size_t)(equals - argument) - 2 : strlen(argument) - 2;
    if (size >= sizeof(name)) return not_an_option(parsing, argument);
    memcpy(name, argument + 2, size);
    name[size] = '\0';

    const struct standard_option *option = find_standard(name);
    const bool takes_value = find_own(parsing->main, name) != NULL || (option != NULL && option->value != NULL);
    if (!takes_value && option == NULL) return not_an_option(parsing, argument);
    if (!takes_value && equals != NULL) return usage(parsing, "--%s takes no value", name);
    if (!takes_value) return take_option(parsing, name, NULL);
    if (equals != NULL) return take_option(parsing, name, equals + 1);
    if (++*index == argc) return usage(parsing, "--%s needs a value", name);
    return take_option(parsing, name, argv[*index]);
}

static enum weir_code choose_job_name(struct parsing *parsing)
{
    struct main_options *parsed = parsing->parsed;
    if (parsed->job[0] != '\0') return WEIR_OK;
    const struct weir_option *output = find_own(parsing->main, "output");
    const char *topic = output != NULL ? weir_config_text(parsing->config, "output") : NULL;
    const int size = snprintf(parsed->job, sizeof(parsed->job), topic != NULL ? "%s-%s" : "%s", parsed->program,
                              topic != NULL ? topic : "");
    if (size > 64 || !job_name_is_legal(parsed->job))
        return usage(parsing, "'%s' cannot be the job's name ([A-Za-z0-9._-], 1 to 64 characters): give --job",
                     parsed->job);
    return WEIR_OK;
}

/* Once everything is read: a file and -X may have set what no option did. */
static enum weir_code check_all_own(struct parsing *parsing)
{
    for (const struct weir_option *own = parsing->main->options; own != NULL && own->name != NULL; own++) {
        const char *value = weir_config_text(parsing->config, own->name);
        if (value == NULL && own->kind == WEIR_TOPIC) return usage(parsing, "--%s is required", own->name);
        const enum weir_code code = value == NULL ? WEIR_OK : check_own(parsing, own, value);
        if (code != WEIR_OK) return code;
    }
    return WEIR_OK;
}

static void declare_own(struct parsing *parsing)
{
    for (const struct weir_option *own = parsing->main->options; own != NULL && own->name != NULL; own++)
        weir_config_declare(parsing->config, own->name, own->default_value);
}

enum weir_code main_options_parse(int argc, char **argv, const struct weir_main_options *main, weir_config *config,
                                  struct main_options *parsed, struct weir_error *error)
{
    struct parsing parsing = { .main = main, .config = config, .parsed = parsed, .error = error };
    const char *slash = strrchr(argv[0], '/');
    *parsed = (struct main_options){ .program = slash != NULL ? slash + 1 : argv[0], .progress_ms = -1 };
    declare_own(&parsing);
    const enum weir_code site = weir_config_load_site(config, error);
    if (site != WEIR_OK) return site;
    for (int i = 1; i < argc; i++) {
        const enum weir_code code = parse_argument(&parsing, argc, argv, &i);
        if (code != WEIR_OK || parsed->ended) return code;
    }
    if (parsed->config_path != NULL) {
        const enum weir_code code = weir_config_load(config, WEIR_CONFIG_FILE, parsed->config_path, error);
        if (code != WEIR_OK) return code;
    }
    const enum weir_code code = check_all_own(&parsing);
    return code != WEIR_OK ? code : choose_job_name(&parsing);
}
