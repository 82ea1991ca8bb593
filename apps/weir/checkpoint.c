/* weir checkpoint ls|positions|verify: what a job has retained, where it would go on, and whether it is whole. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cluster.h"
#include "values.h"

struct arguments {
    struct weir_inspect_options options;
    struct cluster cluster;
    enum { LISTS, SHOWS_POSITIONS, VERIFIES } what;
    bool as_json;
};

/* ---- ls ---------------------------------------------------------------------------------------------------------- */

static void print_store_json(const struct weir_inspect_store *store)
{
    (void)fputs("{\"path\":", stdout);
    print_json_text(stdout, store->path);
    (void)printf(",\"store\":\"%s\",\"job\":\"%s\",\"slot\":\"%s\",\"decided\":%s,\"checkpoints\":[", store->id,
                 store->job, store->slot, store->is_decided ? "true" : "false");
}

static void print_checkpoint_json(const struct weir_inspect_checkpoint *at, bool is_first)
{
    char time[TIME_TEXT_MAX];
    format_time(time, at->wall_ms);
    (void)printf("%s\n  {\"epoch\":%" PRIu64 ",\"incarnation\":%" PRIu64, is_first ? "" : ",", at->epoch,
                 at->incarnation);
    if (at->parent_incarnation > 0)
        (void)printf(",\"parent\":{\"epoch\":%" PRIu64 ",\"incarnation\":%" PRIu64 "}", at->parent_epoch,
                     at->parent_incarnation);
    (void)printf(",\"time\":\"%s\",\"file\":\"%s\",\"offset\":%" PRIu64 ",\"frame_bytes\":%" PRIu64, time, at->file,
                 at->offset, at->frame_bytes);
    (void)printf(",\"redo_epoch\":%" PRIu64 ",\"replay_frames\":%" PRIu64 ",\"replay_bytes\":%" PRIu64, at->redo_epoch,
                 at->replay_count, at->replay_bytes);
    (void)printf(",\"bases\":%" PRIu64 ",\"base_bytes\":%" PRIu64 ",\"max_parallelism\":%" PRIu32, at->base_count,
                 at->base_bytes, at->max_parallelism);
    if (at->flight_records > 0) (void)printf(",\"flight_records\":%" PRIu64, at->flight_records);
    (void)printf(",\"exactly_once\":%s,\"complete\":%s,\"program\":", at->exactly_once ? "true" : "false",
                 at->is_complete ? "true" : "false");
    print_json_text(stdout, at->program);
    (void)fputs(",\"build\":", stdout);
    print_json_text(stdout, at->build);
    (void)printf(",\"plan\":\"%016" PRIx64 "\"}", at->plan_hash);
}

static void print_checkpoint(const struct weir_inspect_checkpoint *at, const char *remark)
{
    char time[TIME_TEXT_MAX], parent[48] = "-", flight[64] = "";
    format_time(time, at->wall_ms);
    if (at->parent_incarnation > 0)
        (void)snprintf(parent, sizeof parent, "%" PRIu64 "/%" PRIu64, at->parent_epoch, at->parent_incarnation);
    if (at->flight_records > 0)
        (void)snprintf(flight, sizeof flight, ", unaligned with %" PRIu64 " records in flight", at->flight_records);
    (void)printf("%8" PRIu64 " %5" PRIu64 "  %-10s %s %12" PRIu64 " %6" PRIu64 " %12" PRIu64 " %5" PRIu64 " %14" PRIu64
                 "  %s %s, plan %016" PRIx64 "%s%s%s\n",
                 at->epoch, at->incarnation, parent, time, at->frame_bytes, at->replay_count, at->replay_bytes,
                 at->base_count, at->base_bytes, at->program, at->build, at->plan_hash,
                 flight, at->is_complete ? ", complete" : "", remark);
}

static int list(struct arguments *arguments)
{
    weir_inspector *inspector;
    struct weir_error error;
    struct weir_inspect_store store;
    struct weir_inspect_checkpoint at;
    if (weir_inspect_open_(&arguments->options, &inspector, &error) != WEIR_OK) return verb_finish(error.code, &error);
    weir_inspect_store(inspector, &store);
    if (arguments->as_json) {
        print_store_json(&store);
        for (size_t i = 0; weir_inspect_checkpoint(inspector, i, &at); i++) print_checkpoint_json(&at, i == 0);
        (void)puts("\n]}");
    } else {
        (void)printf("job '%s', slot %s, store %s in %s\n\n", store.job, store.slot, store.id, store.path);
        (void)printf("%8s %5s  %-10s %-24s %12s %6s %12s %5s %14s  %s\n", "epoch", "life", "parent", "written",
                     "frame bytes", "replay", "bytes", "bases", "bytes", "by");
        const char *unsure = store.is_decided ? "" : " (the last one: whether it was committed, the ledger knows)";
        for (size_t i = 0; weir_inspect_checkpoint(inspector, i, &at); i++) print_checkpoint(&at, i == 0 ? unsure : "");
    }
    weir_inspect_close(inspector);
    return EXIT_SUCCESS;
}

/* ---- positions --------------------------------------------------------------------------------------------------- */

/* As a table it is half a file for --position-map. */
static int show_positions(struct arguments *arguments)
{
    weir_inspector *inspector;
    struct weir_error error;
    struct weir_inspect_position at;
    const char *source = "";
    if (weir_inspect_open_(&arguments->options, &inspector, &error) != WEIR_OK) return verb_finish(error.code, &error);
    if (arguments->as_json) (void)fputs("[", stdout);
    for (size_t i = 0; weir_inspect_position(inspector, i, &at); i++) {
        if (arguments->as_json) {
            (void)printf("%s{\"source\":", i == 0 ? "" : ",\n ");
            print_json_text(stdout, at.source);
            (void)fputs(",\"cluster\":", stdout);
            print_json_text(stdout, at.cluster);
            (void)fputs(",\"split\":", stdout);
            print_json_text(stdout, at.split);
            (void)printf(",\"position\":%" PRId64 "}", at.position);
            continue;
        }
        if (strcmp(source, at.source) != 0)
            (void)printf("# source '%s'%s%s\n", at.source, at.cluster[0] == '\0' ? "" : ", cluster ", at.cluster);
        source = at.source;
        (void)printf("%s %" PRId64 "\n", at.split, at.position);
    }
    if (arguments->as_json) (void)puts("]");
    weir_inspect_close(inspector);
    return EXIT_SUCCESS;
}

/* ---- verify ------------------------------------------------------------------------------------------------------ */

static void print_problem(void *user, const char *line)
{
    const struct arguments *arguments = user;
    if (arguments->as_json) {
        (void)fputs("{\"problem\":", stdout);
        print_json_text(stdout, line);
        (void)puts("}");
    } else {
        (void)printf("problem    %s\n", line);
    }
}

static void print_report(const struct weir_inspect_report *report, bool as_json)
{
    if (as_json)
        (void)printf("{\"checkpoints\":%" PRIu64 ",\"frames\":%" PRIu64 ",\"frame_bytes\":%" PRIu64 ",\"bases\":%" PRIu64
                     ",\"base_bytes\":%" PRIu64 ",\"entries\":%" PRIu64 ",\"problems\":%" PRIu64 "}\n",
                     report->checkpoints, report->frames, report->frame_bytes, report->bases, report->base_bytes,
                     report->entries, report->problems);
    else
        (void)printf("result     %" PRIu64 " checkpoints retained; whole: %" PRIu64 " frames of %" PRIu64 " bytes, %" PRIu64
                     " bases of %" PRIu64 " bytes; %" PRIu64 " entries restored; %" PRIu64 " problems\n",
                     report->checkpoints, report->frames, report->frame_bytes, report->bases, report->base_bytes,
                     report->entries, report->problems);
}

static int verify(struct arguments *arguments)
{
    struct weir_error error;
    struct weir_inspect_report report;
    const enum weir_code code = weir_inspect_verify(&arguments->options, print_problem, arguments, &report, &error);
    if (code != WEIR_OK && code != WEIR_DAMAGED) return verb_finish(error.code, &error);
    print_report(&report, arguments->as_json);
    return weir_code_exit_status(code);
}

/* ---- The command line -------------------------------------------------------------------------------------------- */

static int parse(int argc, char **argv, struct arguments *arguments)
{
    for (int i = 2; i < argc; i++) {
        int status;
        if (verb_takes_format(argc, argv, &i, &arguments->as_json)) continue;
        if (cluster_takes_option(&arguments->cluster, &verb_checkpoint, argc, argv, &i, &status)) {
            if (status != EXIT_SUCCESS) return status;
        } else if (argv[i][0] == '-') {
            return verb_not_understood(&verb_checkpoint, argv[i]);
        } else if (arguments->options.path != NULL) {
            return verb_complain(&verb_checkpoint, "one directory at a time", argv[i]);
        } else {
            arguments->options.path = argv[i];
        }
    }
    if (arguments->options.path != NULL) return EXIT_SUCCESS;
    return verb_complain(&verb_checkpoint, "name the checkpoint directory of a job", "");
}

static int run(int argc, char **argv)
{
    static const char *const names[] = { [LISTS] = "ls", [SHOWS_POSITIONS] = "positions", [VERIFIES] = "verify" };
    static int (*const runs[])(struct arguments *) = { [LISTS] = list, [SHOWS_POSITIONS] = show_positions,
                                                       [VERIFIES] = verify };
    struct arguments arguments = { .what = LISTS };
    if (argc < 2) return verb_complain(&verb_checkpoint, "say what to do", "");
    while (arguments.what <= VERIFIES && strcmp(argv[1], names[arguments.what]) != 0) arguments.what++;
    if (arguments.what > VERIFIES) return verb_ask_job(&verb_checkpoint, argc, argv);
    arguments.options.size = sizeof arguments.options;
    cluster_init(&arguments.cluster);
    int status = parse(argc, argv, &arguments);
    cluster_decide(&arguments.cluster, &arguments.options);
    if (status == EXIT_SUCCESS) status = runs[arguments.what](&arguments);
    cluster_deinit(&arguments.cluster);
    return status;
}

const struct verb verb_checkpoint = {
    .name = "checkpoint",
    .usage = "weir checkpoint JOB [-o table|json]\n"
             "weir checkpoint ls DIR [--brokers HOST:PORT[,...]] [-o table|json]\n"
             "weir checkpoint positions DIR [--brokers HOST:PORT[,...]] [-o table|json]\n"
             "weir checkpoint verify DIR [--brokers HOST:PORT[,...]] [-o table|json]\n",
    .about = "has a running job commit now; what a job has retained, and whether it is whole",
    .help =
        "JOB, the name of a running job or its checkpoint directory: takes a checkpoint at once, also when the job is at\n"
        "rest, and answers with its epoch when it is committed.\n"
        "\n"
        "DIR is a job's own folder: with --checkpoint-dir /var/lib/weir, /var/lib/weir/JOB. Nothing is written there, and\n"
        "the job may be running.\n"
        "\n"
        "  ls        the retained checkpoints, newest first: epoch, life of the job, parent, what a restart would read\n"
        "            (frames above the redo point, bases), which program wrote them, and how many records an unaligned one\n"
        "            holds that were on their way\n"
        "  positions where a job that begins with the newest one goes on to read: topic/partition, and the next record\n"
        "  verify    reads all that they name and checks it by length and hash; then restores the newest one on trial\n"
        "\n"
        "options\n"
        "  -o json                     for programs; --json is the same\n"
        CLUSTER_HELP
        "\n"
        "With --brokers, the job's ledger says which checkpoint was committed last. Without, the directory alone is looked\n"
        "at: where Kafka decides it shows which one was written last.\n"
        "\n"
        "exit codes: 0 all is whole, 2 usage, 4 damaged (each file is named), 7 no such checkpoint, or no right to read\n"
        "it, 8 a newer program wrote it\n",
    .run = run,
};
