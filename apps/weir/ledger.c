/* weir ledger show|verify: the ledger of a job, which is a topic. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "verbs.h"
#include "weir/kafka.h"

enum { EXIT_VIOLATION = 1 };

struct arguments {
    bool verifies;
    struct weir_kafka_ledger_options options;
    const char **shared;
    size_t shared_count;
    weir_config *config;
};

static void print_line(void *user, const char *line)
{
    (void)user;
    (void)puts(line);
}

static void print_log(void *user, enum weir_log_level level, const char *text)
{
    (void)user;
    static const char *const names[] = { "error", "warning", "info", "debug" };
    (void)fprintf(stderr, "weir: %s: %s\n", names[level], text);
}

static int complain(const char *what, const char *detail)
{
    return verb_complain(&verb_ledger, what, detail);
}

static bool configure(weir_config *config, const char *setting, const char *origin)
{
    struct weir_error error;
    char key[256];
    const char *equals = strchr(setting, '=');
    if (equals == NULL || (size_t)(equals - setting) >= sizeof key) {
        (void)complain("a setting must be KEY=VALUE", setting);
        return false;
    }
    (void)snprintf(key, sizeof key, "%.*s", (int)(equals - setting), setting);
    if (weir_config_set(config, WEIR_CONFIG_COMMAND_LINE, key, equals + 1, origin, &error) == WEIR_OK) return true;
    (void)complain(error.text, "");
    return false;
}

/* NAME=VALUE lines; empty ones and those that begin with '#' say nothing. */
static bool load_properties(weir_config *config, const char *path)
{
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        (void)complain("cannot read the properties file", path);
        return false;
    }
    char line[4096], setting[4200];
    bool good = true;
    while (good && fgets(line, sizeof line, file) != NULL) {
        line[strcspn(line, "\r\n")] = '\0';
        const char *begin = line + strspn(line, " \t");
        if (*begin == '\0' || *begin == '#') continue;
        (void)snprintf(setting, sizeof setting, "kafka.%s", begin);
        good = configure(config, setting, path);
    }
    (void)fclose(file);
    return good;
}

/* Takes one option with its value; false when it is none or is wrong. */
static bool take_option(struct arguments *arguments, const char *option, const char *value)
{
    if (strcmp(option, "--brokers") == 0 || strcmp(option, "--bootstrap-server") == 0) {
        arguments->options.brokers = value;
    } else if (strcmp(option, "--shared") == 0) {
        arguments->shared[arguments->shared_count++] = value;
    } else if (strcmp(option, "--patience") == 0) {
        char *end;
        const long seconds = strtol(value, &end, 10);
        if (*end != '\0' || seconds <= 0 || seconds > 86400) return false;
        arguments->options.patience_ms = seconds * 1000;
    } else if (strcmp(option, "--kafka-config") == 0) {
        return load_properties(arguments->config, value);
    } else if (strcmp(option, "-X") == 0) {
        return configure(arguments->config, value, "-X");
    } else {
        return false;
    }
    return true;
}

static int parse(int argc, char **argv, struct arguments *arguments)
{
    if (argc < 2) return complain("say what to do", "");
    arguments->verifies = strcmp(argv[1], "verify") == 0;
    if (!arguments->verifies && strcmp(argv[1], "show") != 0) return complain("unknown command", argv[1]);
    for (int i = 2; i < argc; i++) {
        if (strcmp(argv[i], "--verbose") == 0) {
            arguments->options.log = print_log;
        } else if (argv[i][0] != '-') {
            if (arguments->options.job != NULL) return complain("one job at a time", argv[i]);
            arguments->options.job = argv[i];
        } else {
            if (i + 1 == argc) return complain("a value is missing", argv[i]);
            if (!take_option(arguments, argv[i], argv[i + 1])) return complain("not understood", argv[i]);
            i++;
        }
    }
    if (arguments->options.job == NULL) return complain("name the job", "");
    const bool has_brokers = arguments->options.brokers != NULL ||
                             weir_config_text(arguments->config, "kafka.bootstrap.servers") != NULL;
    return has_brokers ? EXIT_SUCCESS : complain("name the cluster with --brokers HOST:PORT", "");
}

static int show(const struct arguments *arguments)
{
    struct weir_error error;
    const enum weir_code code = weir_kafka_ledger_show(&arguments->options, &error);
    if (code != WEIR_OK) (void)fprintf(stderr, "weir: %s\n", error.text);
    return weir_code_exit_status(code);
}

static int verify(const struct arguments *arguments)
{
    struct weir_error error;
    struct weir_kafka_ledger_report report;
    const enum weir_code code = weir_kafka_ledger_verify(&arguments->options, &report, &error);
    if (code == WEIR_OK) {
        (void)printf("result     nothing contradicts the ledger: %llu of %llu output partitions verified, %llu "
                     "records; %llu records not verifiable%s\n",
                     (unsigned long long)report.outputs_verified, (unsigned long long)report.outputs,
                     (unsigned long long)report.records_verified, (unsigned long long)report.records_unverifiable,
                     report.at_least_once ? " (at-least-once: repeated records are allowed)" : "");
        return EXIT_SUCCESS;
    }
    (void)fflush(stdout);
    (void)fprintf(stderr, "weir: %s\n", error.text);
    return code == WEIR_DAMAGED ? EXIT_VIOLATION : weir_code_exit_status(code);
}

static int run(int argc, char **argv)
{
    struct arguments arguments = { .options = { .size = sizeof arguments.options, .print = print_line } };
    arguments.shared = calloc((size_t)argc, sizeof *arguments.shared);
    arguments.config = weir_config_create();
    int status = EXIT_FAILURE;
    if (arguments.shared == NULL || arguments.config == NULL) (void)fprintf(stderr, "weir: out of memory\n");
    else status = parse(argc, argv, &arguments);
    if (status == EXIT_SUCCESS) {
        arguments.options.shared = arguments.shared;
        arguments.options.shared_count = arguments.shared_count;
        arguments.options.config = arguments.config;
        status = arguments.verifies ? verify(&arguments) : show(&arguments);
    }
    free(arguments.shared);
    if (arguments.config != NULL) weir_config_destroy(arguments.config);
    return status;
}

const struct verb verb_ledger = {
    .name = "ledger",
    .usage = "weir ledger show JOB --brokers HOST:PORT[,...]\n"
             "weir ledger verify JOB --brokers HOST:PORT[,...] [--shared TOPIC]...\n",
    .about = "what a job has committed, from its ledger in Kafka",
    .help =
        "The ledger of a job is the topic JOB-ledger: one record for each commit, in the transaction of that commit.\n"
        "\n"
        "  show      prints every record of it: commits, what they read and wrote, starts of the job\n"
        "  verify    checks from topics alone that the commits form a chain, that source ranges join without gap or\n"
        "            overlap, and that the outputs hold exactly what the commits wrote, as read_committed readers see it\n"
        "\n"
        "options\n"
        "  --brokers HOST:PORT[,...]   where the cluster is (also --bootstrap-server)\n"
        "  --shared TOPIC              others write to this output as well: do not count its records; may be repeated\n"
        "  --kafka-config FILE         librdkafka properties, NAME=VALUE a line, for clusters that want a password\n"
        "  -X KEY=VALUE                one configuration key, such as kafka.security.protocol=SSL; may be repeated\n"
        "  --patience SECONDS          how long to wait for the brokers (default 10)\n"
        "  --verbose                   log lines of the client to stderr\n"
        "\n"
        "exit codes: 0 verified (or shown), 1 a violation was found, 2 usage, 6 no broker answered, 7 no such ledger, or\n"
        "no right to read it\n",
    .run = run,
};
