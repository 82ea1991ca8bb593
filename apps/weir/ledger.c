/* weir ledger show|verify: the ledger of a job, which is a topic. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cluster.h"

enum { EXIT_VIOLATION = 1 };

struct arguments {
    bool verifies;
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
    if (cluster_takes_option(&arguments->cluster, &verb_ledger, argc, argv, index, &status)) return status;
    if (strcmp(argument, "--shared") == 0) {
        if (*index + 1 == argc) return complain("a value is missing", argument);
        arguments->shared[arguments->shared_count++] = argv[++*index];
        return EXIT_SUCCESS;
    }
    if (argument[0] == '-') return complain("not understood", argument);
    if (arguments->cluster.options.job != NULL) return complain("one job at a time", argument);
    arguments->cluster.options.job = argument;
    return EXIT_SUCCESS;
}

static int parse(int argc, char **argv, struct arguments *arguments)
{
    if (argc < 2) return complain("say what to do", "");
    arguments->verifies = strcmp(argv[1], "verify") == 0;
    if (!arguments->verifies && strcmp(argv[1], "show") != 0) return complain("unknown command", argv[1]);
    for (int i = 2; i < argc; i++) {
        const int status = take_argument(arguments, argc, argv, &i);
        if (status != EXIT_SUCCESS) return status;
    }
    if (arguments->cluster.options.job == NULL) return complain("name the job", "");
    return cluster_is_named(&arguments->cluster) ? EXIT_SUCCESS
                                                 : complain("name the cluster with --brokers HOST:PORT", "");
}

static int show(const struct arguments *arguments)
{
    struct weir_error error;
    const enum weir_code code = weir_kafka_ledger_show(&arguments->cluster.options, &error);
    return verb_finish(code, &error);
}

static int verify(const struct arguments *arguments)
{
    struct weir_error error;
    struct weir_kafka_ledger_report report;
    const enum weir_code code = weir_kafka_ledger_verify(&arguments->cluster.options, &report, &error);
    if (code == WEIR_OK) {
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
        CLUSTER_HELP
        "  --shared TOPIC              others write to this output as well: do not count its records; may be repeated\n"
        "\n"
        "exit codes: 0 verified (or shown), 1 a violation was found, 2 usage, 6 no broker answered, 7 no such ledger, or\n"
        "no right to read it\n",
    .run = run,
};
