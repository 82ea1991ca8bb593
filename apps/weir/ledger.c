/* weir ledger show|verify: the ledger of a job, which is a topic. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cluster.h"
#include "ledger_show.h"
#include "values.h"

enum { EXIT_VIOLATION = 1 };

struct arguments {
    bool verifies, as_json, as_chart;
    struct cluster cluster;
    const char **shared;
    size_t shared_count;
};

static void print_line(void *user, const char *line)
{
    (void)user;
    (void)puts(line);
}

static int complain(const char *what, const char *detail)
{
    return verb_complain(&verb_ledger, what, detail);
}

static int take_argument(struct arguments *arguments, int argc, char **argv, int *index)
{
    int status;
    const char *argument = argv[*index];
    if (verb_takes_format(argc, argv, index, &arguments->as_json)) return EXIT_SUCCESS;
    if (strcmp(argument, "--chart") == 0 && !arguments->verifies) {
        arguments->as_chart = true;
        return EXIT_SUCCESS;
    }
    if (cluster_takes_option(&arguments->cluster, &verb_ledger, argc, argv, index, &status)) return status;
    if (strcmp(argument, "--shared") == 0) {
        if (*index + 1 == argc) return complain("a value is missing", argument);
        arguments->shared[arguments->shared_count++] = argv[++*index];
        return EXIT_SUCCESS;
    }
    if (argument[0] == '-') return verb_not_understood(&verb_ledger, argument);
    if (arguments->cluster.options.job != NULL) return complain("one job at a time", argument);
    arguments->cluster.options.job = argument;
    return EXIT_SUCCESS;
}

static int parse(int argc, char **argv, struct arguments *arguments)
{
    if (argc < 2) return complain("say what to do", "");
    arguments->verifies = strcmp(argv[1], "verify") == 0;
    if (!arguments->verifies && strcmp(argv[1], "show") != 0) return verb_not_understood(&verb_ledger, argv[1]);
    for (int i = 2; i < argc; i++) {
        const int status = take_argument(arguments, argc, argv, &i);
        if (status != EXIT_SUCCESS) return status;
    }
    if (arguments->cluster.options.job == NULL) return complain("name the job", "");
    return cluster_is_named(&arguments->cluster) ? EXIT_SUCCESS
                                                 : complain("name the cluster with --brokers HOST:PORT", "");
}

static int show(struct arguments *arguments)
{
    struct weir_error error;
    struct weir_kafka_ledger_options *options = &arguments->cluster.options;
    struct ledger_chart chart = { .count = 0 };
    bool is_first = true;
    if (arguments->as_json) {
        options->entry = ledger_print_entry;
        options->entry_user = &is_first;
        (void)fputs("[", stdout);
    } else if (arguments->as_chart) {
        options->entry = ledger_chart_add;
        options->entry_user = &chart;
    }
    const enum weir_code code = weir_kafka_ledger_show(options, &error);
    if (arguments->as_json) (void)puts("]");
    if (arguments->as_chart) ledger_chart_print(&chart);
    return verb_finish(code, &error);
}

static void print_report(const struct weir_kafka_ledger_report *report, bool is_verified)
{
#define PRINT(field) (void)printf(", \"" #field "\": %llu", (unsigned long long)report->field)
    (void)printf("], \"verified\": %s", is_verified ? "true" : "false");
    PRINT(entries);
    PRINT(commits);
    PRINT(oldest_incarnation);
    PRINT(oldest_epoch);
    PRINT(newest_incarnation);
    PRINT(newest_epoch);
    PRINT(ranges_joined);
    PRINT(outputs);
    PRINT(outputs_verified);
    PRINT(records_verified);
    PRINT(records_unverifiable);
    PRINT(violations);
#undef PRINT
    (void)printf(", \"at_least_once\": %s}\n", report->at_least_once ? "true" : "false");
}

static void print_json_line(void *user, const char *line)
{
    bool *is_first = user;
    (void)fputs(*is_first ? "\n  " : ",\n  ", stdout);
    print_json_text(stdout, line);
    *is_first = false;
}

static int verify(struct arguments *arguments)
{
    struct weir_error error;
    struct weir_kafka_ledger_report report;
    bool is_first = true;
    if (arguments->as_json) {
        arguments->cluster.options.print = print_json_line;
        arguments->cluster.options.print_user = &is_first;
        (void)fputs("{\"lines\": [", stdout);
    }
    const enum weir_code code = weir_kafka_ledger_verify(&arguments->cluster.options, &report, &error);
    if (arguments->as_json) print_report(&report, code == WEIR_OK);
    if (code == WEIR_OK) {
        if (!arguments->as_json)
            (void)printf("result     nothing contradicts the ledger: %llu of %llu output partitions verified, %llu "
                         "records; %llu records not verifiable%s\n",
                         (unsigned long long)report.outputs_verified, (unsigned long long)report.outputs,
                         (unsigned long long)report.records_verified, (unsigned long long)report.records_unverifiable,
                         report.at_least_once ? " (at-least-once: repeated records are allowed)" : "");
        return EXIT_SUCCESS;
    }
    const int status = verb_finish(code, &error);
    return code == WEIR_DAMAGED ? EXIT_VIOLATION : status;
}

static int run(int argc, char **argv)
{
    struct arguments arguments = { .shared = calloc((size_t)argc, sizeof *arguments.shared) };
    cluster_init(&arguments.cluster);
    int status = EXIT_FAILURE;
    if (arguments.shared == NULL || arguments.cluster.config == NULL) (void)fprintf(stderr, "weir: out of memory\n");
    else status = parse(argc, argv, &arguments);
    if (status == EXIT_SUCCESS) {
        struct weir_kafka_ledger_options *options = &arguments.cluster.options;
        options->print = print_line;
        options->shared = arguments.shared;
        options->shared_count = arguments.shared_count;
        status = arguments.verifies ? verify(&arguments) : show(&arguments);
    }
    free(arguments.shared);
    cluster_deinit(&arguments.cluster);
    return status;
}

const struct verb verb_ledger = {
    .name = "ledger",
    .usage = "weir ledger show JOB --brokers HOST:PORT[,...] [--chart] [-o table|json]\n"
             "weir ledger verify JOB --brokers HOST:PORT[,...] [--shared TOPIC]... [-o table|json]\n",
    .about = "what a job has committed, from its ledger in Kafka",
    .help =
        "The ledger of a job is the topic JOB-ledger: one record for each commit, in the transaction of that commit.\n"
        "\n"
        "  show      prints every record of it: commits, what they read and wrote, starts of the job\n"
        "  verify    checks from topics alone that the commits form a chain, that source ranges join without gap or\n"
        "            overlap, and that the outputs hold exactly what the commits wrote, as read_committed readers see it\n"
        "\n"
        "options\n"
        CLUSTER_HELP
        "  --chart                     show commits and output records over time as bars, and not one by one\n"
        "  -o json                     for programs; --json is the same\n"
        "  --shared TOPIC              others write to this output as well: do not count its records; may be repeated\n"
        "\n"
        "exit codes: 0 verified (or shown), 1 a violation was found, 2 usage, 6 no broker answered, 7 no such ledger, or\n"
        "no right to read it\n",
    .run = run,
};
