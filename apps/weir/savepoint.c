/* weir savepoint JOB | list | dispose: savepoints of running jobs, and savepoints as folders. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "values.h"
#include "verbs.h"
#include "weir/savepoint.h"

/* ---- list --------------------------------------------------------------------------------------------------------- */

struct listing {
    bool as_json;
    size_t count;
};

static void print_row(const struct weir_savepoint *savepoint, const char *path, const struct weir_error *problem)
{
    char time[TIME_TEXT_MAX];
    if (savepoint == NULL) {
        (void)printf("%-24s %-12s %-24s %12s  %s (%s)\n", "?", "?", "?", "?", path, problem->text);
        return;
    }
    format_time(time, savepoint->wall_ms);
    (void)printf("%-24s %12" PRIu64 " %-24s %12" PRIu64 "  %s\n", savepoint->job, savepoint->epoch, time,
                 savepoint->bytes, path);
}

static void print_object(const struct weir_savepoint *savepoint, const char *path, const struct weir_error *problem)
{
    (void)fputs("{\"path\":", stdout);
    print_json_text(stdout, path);
    if (savepoint == NULL) {
        (void)fputs(",\"problem\":", stdout);
        print_json_text(stdout, problem->text);
    } else {
        (void)printf(",\"id\":\"%s\",\"job\":\"%s\",\"incarnation\":%" PRIu64 ",\"epoch\":%" PRIu64
                     ",\"wall_ms\":%" PRId64 ",\"bytes\":%" PRIu64,
                     savepoint->id, savepoint->job, savepoint->incarnation, savepoint->epoch, savepoint->wall_ms,
                     savepoint->bytes);
    }
    (void)fputs("}", stdout);
}

static void list_one(void *user, const char *path, const struct weir_savepoint *savepoint,
                     const struct weir_error *problem)
{
    struct listing *listing = user;
    if (listing->as_json) {
        if (listing->count > 0) (void)fputs(",\n ", stdout);
        print_object(savepoint, path, problem);
    } else {
        if (listing->count == 0)
            (void)printf("%-24s %12s %-24s %12s  %s\n", "JOB", "EPOCH", "TAKEN", "BYTES", "PATH");
        print_row(savepoint, path, problem);
    }
    listing->count++;
}

static int list(const char *directory, bool as_json)
{
    struct weir_error error;
    struct listing listing = { .as_json = as_json };
    if (as_json) (void)fputs("[", stdout);
    const enum weir_code code = weir_savepoint_list(directory, list_one, &listing, &error);
    if (as_json) (void)puts("]");
    if (code == WEIR_OK && listing.count == 0) (void)fprintf(stderr, "no savepoint in %s\n", directory);
    return verb_finish(code, &error);
}

static int dispose(const char *path)
{
    struct weir_error error;
    return verb_finish(weir_savepoint_dispose(path, &error), &error);
}

/* ---- The command line -------------------------------------------------------------------------------------------- */

static int run(int argc, char **argv)
{
    const char *operands[2] = { NULL, NULL };
    int count = 0;
    bool as_json = false;
    for (int i = 1; i < argc; i++) {
        if (verb_takes_format(argc, argv, &i, &as_json)) continue;
        if (argv[i][0] == '-') return verb_not_understood(&verb_savepoint, argv[i]);
        if (count == 2) return verb_complain(&verb_savepoint, "too much", argv[i]);
        operands[count++] = argv[i];
    }
    if (count == 0) return verb_complain(&verb_savepoint, "name the job, or its checkpoint directory", "");
    const bool lists = strcmp(operands[0], "list") == 0, disposes = strcmp(operands[0], "dispose") == 0;
    if ((lists || disposes) && count == 1)
        return verb_complain(&verb_savepoint, lists ? "name a directory" : "name a savepoint", "");
    if (lists) return list(operands[1], as_json);
    if (disposes) return dispose(operands[1]);
    return verb_ask_savepoint(operands[0], operands[1], false, as_json);
}

const struct verb verb_savepoint = {
    .name = "savepoint",
    .usage = "weir savepoint JOB [DIR] [-o table|json]\n"
             "weir savepoint list DIR [-o table|json]\n"
             "weir savepoint dispose PATH\n",
    .about = "takes, lists and removes savepoints",
    .help =
        "A savepoint is a checkpoint with all that it needs, in a new folder of its own below DIR, which belongs to you: no\n"
        "job deletes it, and it may be moved and copied. Without DIR it goes where the job's configuration says\n"
        "(execution.checkpointing.savepoint-dir). The job runs on; 'weir stop --savepoint' ends it. A job program begins\n"
        "from it with --from-savepoint PATH, and 'weir checkpoint' and 'weir state' look into it like any checkpoint.\n"
        "\n"
        "  JOB       takes one of a running job; its path is the last line printed\n"
        "  list      the savepoints in a directory, the unfinished and the damaged among them\n"
        "  dispose   removes one, and nothing that is not its own\n"
        "\n"
        "exit codes: 0 done, 2 usage, 4 damaged, 7 no such job or savepoint, no right, no room; else as the job says\n",
    .run = run,
};
