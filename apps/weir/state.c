/* weir state ls|get|dump|diff: the state in a checkpoint or a savepoint. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cluster.h"
#include "values.h"
#include "write.h"

enum { EXIT_DIFFERENT = 1, BUCKETS = 16, TRIES_MAX = 20 };

struct arguments {
    struct weir_inspect_options options;
    struct weir_inspect_filter filter;
    struct cluster cluster;
    const char *paths[2];
    bool as_json;
    bool is_hexadecimal;
    char *key; /* malloc'ed: of --hex */
};

/* Says which checkpoint is meant, where that is in doubt. */
static weir_inspector *open_path(const struct arguments *arguments, const char *path, struct weir_error *error)
{
    weir_inspector *inspector = NULL;
    struct weir_inspect_options options = arguments->options;
    options.size = sizeof options;
    options.path = path;
    if (weir_inspect_open_(&options, &inspector, error) != WEIR_OK) return NULL;
    struct weir_inspect_store store;
    struct weir_inspect_checkpoint newest, chosen;
    weir_inspect_store(inspector, &store);
    weir_inspect_chosen(inspector, &chosen);
    const bool is_newest = weir_inspect_checkpoint(inspector, 0, &newest) && newest.epoch == chosen.epoch;
    if (!store.is_decided && is_newest)
        (void)fprintf(stderr, "weir: %s: checkpoint %" PRIu64 " was written last; whether it was committed, the ledger "
                      "knows\n", path, chosen.epoch);
    return inspector;
}

/* ---- Entries ----------------------------------------------------------------------------------------------------- */

static bool is_list(const struct weir_inspect_state *state)
{
    return state->kind == WEIR_STATE_LIST || state->kind == WEIR_STATE_OPERATOR_LIST ||
           state->kind == WEIR_STATE_OPERATOR_UNION;
}

static void print_name(const struct weir_inspect_state *state, const struct weir_inspect_entry *entry)
{
    (void)printf("%s %s ", state->operator_name, state->name);
    if (entry->is_own) (void)printf("subtask %" PRIu32, entry->subtask);
    else print_bytes(stdout, entry->key);
    if (weir_is_set(entry->name_space)) {
        (void)putchar('@');
        print_bytes(stdout, entry->name_space);
    }
    if (is_list(state)) {
        (void)printf(" [%" PRIu64 "]", entry->position);
    } else if (weir_is_set(entry->element)) {
        (void)putchar(' ');
        print_bytes(stdout, entry->element);
    }
}

static void print_name_json(const struct weir_inspect_state *state, const struct weir_inspect_entry *entry)
{
    (void)fputs("\"operator\":", stdout);
    print_json_text(stdout, state->operator_name);
    (void)fputs(",\"state\":", stdout);
    print_json_text(stdout, state->name);
    (void)printf(",\"group\":%" PRIu32, entry->key_group);
    if (entry->is_own) {
        (void)printf(",\"subtask\":%" PRIu32, entry->subtask);
    } else {
        (void)fputs(",\"key\":", stdout);
        print_json_bytes(stdout, entry->key);
    }
    if (weir_is_set(entry->name_space)) {
        (void)fputs(",\"name_space\":", stdout);
        print_json_bytes(stdout, entry->name_space);
    }
    if (is_list(state)) {
        (void)printf(",\"position\":%" PRIu64, entry->position);
    } else if (weir_is_set(entry->element)) {
        (void)fputs(",\"element\":", stdout);
        print_json_bytes(stdout, entry->element);
    }
}

static void print_value_json(const char *name, const struct weir_inspect_state *state,
                             const struct weir_inspect_entry *entry)
{
    (void)printf(",\"%s\":", name);
    print_json_value(stdout, state, entry);
    if (entry->version != state->version) (void)printf(",\"%s_version\":%" PRIu32, name, entry->version);
}

static void print_time_json(const char *name, int64_t time_ms)
{
    char time[TIME_TEXT_MAX];
    format_time(time, time_ms);
    (void)printf(",\"%s\":\"%s\"", name, time);
}

/* Behind the value. */
static void print_touched(const struct weir_inspect_entry *entry)
{
    char time[TIME_TEXT_MAX];
    if (entry->touched_ms == WEIR_TIME_UNSET) return;
    format_time(time, entry->touched_ms);
    (void)printf("  (touched %s)", time);
}

static void print_entry(const struct arguments *arguments, const struct weir_inspect_state *state,
                        const struct weir_inspect_entry *entry)
{
    if (arguments->as_json) {
        (void)putchar('{');
        print_name_json(state, entry);
        print_value_json("value", state, entry);
        if (entry->touched_ms != WEIR_TIME_UNSET) print_time_json("touched", entry->touched_ms);
        (void)puts("}");
    } else {
        print_name(state, entry);
        (void)fputs(" = ", stdout);
        print_value(stdout, state, entry);
        print_touched(entry);
        (void)putchar('\n');
    }
}

/* ---- ls ---------------------------------------------------------------------------------------------------------- */

struct summary {
    uint64_t keys, entries, bytes;
    uint64_t *groups; /* entries in each key group */
};

static void add_entry(struct summary *summary, const struct weir_inspect_entry *entry)
{
    summary->keys += entry->is_first;
    summary->entries++;
    summary->bytes += entry->key.size + entry->name_space.size + entry->element.size + entry->value.size;
    summary->groups[entry->key_group]++;
}

/* Entries of each of the ranges into which the key groups are divided evenly. */
static void print_histogram(const struct summary *summary, uint32_t group_count, bool as_json)
{
    const uint32_t buckets = group_count < BUCKETS ? group_count : BUCKETS;
    (void)fputs(as_json ? ",\"histogram\":[" : "    in key groups:", stdout);
    for (uint32_t i = 0; i < buckets; i++) {
        const uint32_t first = (uint32_t)((uint64_t)group_count * i / buckets);
        const uint32_t end = (uint32_t)((uint64_t)group_count * (i + 1) / buckets);
        uint64_t entries = 0;
        for (uint32_t group = first; group < end; group++) entries += summary->groups[group];
        (void)printf("%s%" PRIu64, !as_json ? " " : i == 0 ? "" : ",", entries);
    }
    (void)fputs(as_json ? "]" : "\n", stdout);
}

static void print_summary(const struct weir_inspect_state *state, const struct summary *summary, uint32_t group_count,
                          bool as_json)
{
    if (as_json) {
        (void)fputs("{\"operator\":", stdout);
        print_json_text(stdout, state->operator_name);
        (void)fputs(",\"state\":", stdout);
        print_json_text(stdout, state->name);
        (void)printf(",\"kind\":\"%s\",\"codec\":\"%s\",\"version\":%" PRIu32 ",\"born_epoch\":%" PRIu64 ",\"keys\":%" PRIu64
                     ",\"entries\":%" PRIu64 ",\"bytes\":%" PRIu64,
                     weir_state_kind_name(state->kind), weir_codec_name(state->codec), state->version,
                     state->born_epoch, summary->keys, summary->entries, summary->bytes);
        if (state->codec == WEIR_STRUCT) (void)printf(",\"size\":%" PRIu32, state->value_size_bytes);
        if (state->object[0] != '\0') {
            (void)fputs(",\"object\":", stdout);
            print_json_text(stdout, state->object);
        }
        print_histogram(summary, group_count, true);
        if (state->expires_since_ms != 0) print_time_json("expires_since", state->expires_since_ms);
        (void)puts("}");
        return;
    }
    (void)printf("%-20s %-20s %-14s %-7s %7" PRIu32 " %12" PRIu64 " %12" PRIu64 " %14" PRIu64 "\n",
                 state->operator_name, state->name, weir_state_kind_name(state->kind),
                 state->object[0] == '\0' ? weir_codec_name(state->codec) : state->object, state->version,
                 summary->keys, summary->entries, summary->bytes);
    print_histogram(summary, group_count, false);
}

static bool make_summaries(weir_inspector *inspector, uint32_t group_count, struct summary **summaries, size_t *count)
{
    struct weir_inspect_state state;
    *count = 0;
    while (weir_inspect_state(inspector, *count, &state)) ++*count;
    *summaries = calloc(*count + 1, sizeof **summaries);
    if (*summaries == NULL) return false;
    for (size_t i = 0; i < *count; i++) {
        (*summaries)[i].groups = calloc(group_count, sizeof *(*summaries)[i].groups);
        if ((*summaries)[i].groups == NULL) return false;
    }
    return true;
}

static enum weir_code summarise(weir_inspector *inspector, struct summary *summaries, struct weir_error *error)
{
    struct weir_inspect_entry entry;
    enum weir_code code = weir_inspect_begin(inspector, NULL, error);
    if (code != WEIR_OK) return code;
    while (weir_inspect_next(inspector, &entry, error)) add_entry(&summaries[entry.state], &entry);
    return error->code;
}

static enum weir_code list_once(const struct arguments *arguments, struct weir_error *error)
{
    struct summary *summaries = NULL;
    size_t count = 0;
    weir_inspector *inspector = open_path(arguments, arguments->paths[0], error);
    if (inspector == NULL) return error->code;
    struct weir_inspect_checkpoint chosen;
    weir_inspect_chosen(inspector, &chosen);
    enum weir_code code = WEIR_OK;
    if (!make_summaries(inspector, chosen.max_parallelism, &summaries, &count))
        code = weir_error_set(error, WEIR_NO_MEMORY, WEIR_REMEDY_STOP, "out of memory");
    if (code == WEIR_OK) code = summarise(inspector, summaries, error);
    if (code == WEIR_OK && !arguments->as_json)
        (void)printf("%-20s %-20s %-14s %-7s %7s %12s %12s %14s\n", "operator", "state", "kind", "codec", "version",
                     "keys", "entries", "bytes");
    for (size_t i = 0; summaries != NULL && i < count; i++) {
        struct weir_inspect_state state;
        if (code == WEIR_OK && weir_inspect_state(inspector, i, &state))
            print_summary(&state, &summaries[i], chosen.max_parallelism, arguments->as_json);
        free(summaries[i].groups);
    }
    free(summaries);
    weir_inspect_close(inspector);
    return code;
}

/* Nothing is printed before all is read, so a checkpoint that the running job retires is read again. */
static int list(const struct arguments *arguments)
{
    struct weir_error error = { .code = WEIR_OK };
    enum weir_code code = WEIR_OK;
    for (int i = 0; i < TRIES_MAX; i++) {
        code = list_once(arguments, &error);
        if (code == WEIR_OK || error.remedy != WEIR_REMEDY_RETRY) break;
    }
    return verb_finish(code, &error);
}

/* ---- dump, get --------------------------------------------------------------------------------------------------- */

static int dump(const struct arguments *arguments)
{
    struct weir_error error;
    struct weir_inspect_state state;
    struct weir_inspect_entry entry;
    weir_inspector *inspector = open_path(arguments, arguments->paths[0], &error);
    if (inspector == NULL) return verb_finish(error.code, &error);
    uint64_t count = 0;
    if (weir_inspect_begin(inspector, &arguments->filter, &error) == WEIR_OK)
        for (; weir_inspect_next(inspector, &entry, &error); count++) {
            (void)weir_inspect_state(inspector, entry.state, &state);
            print_entry(arguments, &state, &entry);
        }
    weir_inspect_close(inspector);
    if (error.code != WEIR_OK) return verb_finish(error.code, &error);
    if (count > 0 || !weir_is_set(arguments->filter.key)) return EXIT_SUCCESS;
    (void)fputs("weir: there is nothing for this key\n", stderr);
    return EXIT_DIFFERENT;
}

/* ---- diff -------------------------------------------------------------------------------------------------------- */

struct side {
    weir_inspector *inspector;
    struct weir_inspect_state state;
    struct weir_inspect_entry entry;
    bool has_entry;
};

static void step(struct side *side, struct weir_error *error)
{
    struct weir_error own = { .code = WEIR_OK };
    side->has_entry = weir_inspect_next(side->inspector, &side->entry, &own);
    if (side->has_entry) (void)weir_inspect_state(side->inspector, side->entry.state, &side->state);
    if (own.code != WEIR_OK) *error = own;
}

static int compare(const struct side *a, const struct side *b)
{
    if (!a->has_entry || !b->has_entry) return a->has_entry ? -1 : 1;
    return weir_inspect_order(a->inspector, &a->entry, b->inspector, &b->entry);
}

/* `before` and `after`: NULL = it is not there. */
static void print_change(const struct arguments *arguments, const struct side *before, const struct side *after)
{
    const struct side *any = after == NULL ? before : after;
    const char *const change = before == NULL ? "added" : after == NULL ? "removed" : "changed";
    if (arguments->as_json) {
        (void)printf("{\"change\":\"%s\",", change);
        print_name_json(&any->state, &any->entry);
        if (before != NULL) print_value_json("before", &before->state, &before->entry);
        if (after != NULL) print_value_json("after", &after->state, &after->entry);
        (void)puts("}");
        return;
    }
    (void)printf("%c ", before == NULL ? '+' : after == NULL ? '-' : '~');
    print_name(&any->state, &any->entry);
    (void)fputs(" = ", stdout);
    if (before != NULL) print_value(stdout, &before->state, &before->entry);
    if (before != NULL && after != NULL) (void)fputs(" -> ", stdout);
    if (after != NULL) print_value(stdout, &after->state, &after->entry);
    (void)putchar('\n');
}

static bool is_same_value(const struct side *a, const struct side *b)
{
    return weir_bytes_equal(a->entry.value, b->entry.value) && a->entry.version == b->entry.version &&
           a->state.kind == b->state.kind && a->state.codec == b->state.codec;
}

/* Answers how many entries differ. */
static uint64_t merge(const struct arguments *arguments, struct side sides[2], struct weir_error *error)
{
    uint64_t changes = 0;
    for (int i = 0; i < 2; i++) step(&sides[i], error);
    while (error->code == WEIR_OK && (sides[0].has_entry || sides[1].has_entry)) {
        const int order = compare(&sides[0], &sides[1]);
        const struct side *before = order <= 0 ? &sides[0] : NULL, *after = order >= 0 ? &sides[1] : NULL;
        if (order != 0 || !is_same_value(before, after)) {
            print_change(arguments, before, after);
            changes++;
        }
        if (before != NULL) step(&sides[0], error);
        if (after != NULL) step(&sides[1], error);
    }
    return changes;
}

static enum weir_code check_groups(struct side sides[2], struct weir_error *error)
{
    struct weir_inspect_checkpoint at[2];
    for (int i = 0; i < 2; i++) weir_inspect_chosen(sides[i].inspector, &at[i]);
    if (at[0].max_parallelism == at[1].max_parallelism) return WEIR_OK;
    return weir_error_set(error, WEIR_USAGE, WEIR_REMEDY_STOP,
                          "one has %" PRIu32 " key groups, the other %" PRIu32 ": they are not of one job",
                          at[0].max_parallelism, at[1].max_parallelism);
}

static int diff(const struct arguments *arguments)
{
    struct weir_error error = { .code = WEIR_OK };
    struct side sides[2] = { { .inspector = NULL } };
    uint64_t changes = 0;
    for (int i = 0; error.code == WEIR_OK && i < 2; i++) {
        sides[i].inspector = open_path(arguments, arguments->paths[i], &error);
        if (sides[i].inspector != NULL) error.code = weir_inspect_begin(sides[i].inspector, NULL, &error);
    }
    if (error.code == WEIR_OK) error.code = check_groups(sides, &error);
    if (error.code == WEIR_OK) changes = merge(arguments, sides, &error);
    for (int i = 0; i < 2; i++) weir_inspect_close(sides[i].inspector);
    if (error.code != WEIR_OK) return verb_finish(error.code, &error);
    return changes == 0 ? EXIT_SUCCESS : EXIT_DIFFERENT;
}

/* ---- The command line -------------------------------------------------------------------------------------------- */

static bool parse_hexadecimal(struct arguments *arguments, const char *text)
{
    const size_t digits = strlen(text);
    if (digits % 2 != 0 || strspn(text, "0123456789abcdefABCDEF") != digits) return false;
    arguments->key = malloc(digits / 2 + 1);
    if (arguments->key == NULL) return false;
    for (size_t i = 0; i < digits / 2; i++) {
        const char pair[3] = { text[2 * i], text[2 * i + 1], '\0' };
        arguments->key[i] = (char)strtoul(pair, NULL, 16);
    }
    arguments->filter.key = (struct weir_bytes){ arguments->key, digits / 2 };
    return true;
}

static bool parse_epoch(struct arguments *arguments, const char *text)
{
    char *end;
    arguments->options.epoch = strtoull(text, &end, 10);
    return text[0] >= '0' && text[0] <= '9' && *end == '\0';
}

/* What is no option, in order. */
static int take_operands(struct arguments *arguments, const char *action, const char *const *operands, int count)
{
    const bool is_get = strcmp(action, "get") == 0, is_diff = strcmp(action, "diff") == 0;
    const bool is_dump = strcmp(action, "dump") == 0;
    const int wanted = is_get ? 4 : is_diff ? 2 : 1;
    if (count < wanted) return verb_complain(&verb_state, "something is missing behind", action);
    if (count > (is_dump ? 3 : wanted)) return verb_complain(&verb_state, "one too many", operands[count - 1]);
    arguments->paths[0] = operands[0];
    if (is_diff) {
        arguments->paths[1] = operands[1];
        return EXIT_SUCCESS;
    }
    if (count > 1) arguments->filter.operator_name = operands[1];
    if (count > 2) arguments->filter.state = operands[2];
    if (!is_get) return EXIT_SUCCESS;
    if (!arguments->is_hexadecimal) arguments->filter.key = weir_text(operands[3]);
    else if (!parse_hexadecimal(arguments, operands[3]))
        return verb_complain(&verb_state, "not hexadecimal", operands[3]);
    return EXIT_SUCCESS;
}

static int take_argument(struct arguments *arguments, int argc, char **argv, int *index, bool *is_operand)
{
    int status = EXIT_SUCCESS;
    const char *argument = argv[*index];
    *is_operand = false;
    if (verb_takes_format(argc, argv, index, &arguments->as_json)) return status;
    if (cluster_takes_option(&arguments->cluster, &verb_state, argc, argv, index, &status)) return status;
    if (strcmp(argument, "--hex") == 0) {
        arguments->is_hexadecimal = true;
    } else if (strcmp(argument, "--epoch") == 0) {
        if (*index + 1 == argc || !parse_epoch(arguments, argv[++*index]))
            return verb_complain(&verb_state, "--epoch takes a number", "");
    } else if (argument[0] == '-' && argument[1] != '\0') {
        return verb_not_understood(&verb_state, argument);
    } else {
        *is_operand = true;
    }
    return EXIT_SUCCESS;
}

static int parse(int argc, char **argv, struct arguments *arguments)
{
    enum { OPERANDS_MAX = 5 };
    const char *operands[OPERANDS_MAX];
    int count = 0;
    bool is_operand = false, only_operands = false;
    for (int i = 2; i < argc; i++) {
        if (!only_operands && strcmp(argv[i], "--") == 0) {
            only_operands = is_operand = true;
            continue;
        }
        const int status = only_operands ? EXIT_SUCCESS : take_argument(arguments, argc, argv, &i, &is_operand);
        if (status != EXIT_SUCCESS) return status;
        if (is_operand && count < OPERANDS_MAX) operands[count++] = argv[i];
    }
    cluster_decide(&arguments->cluster, &arguments->options);
    return take_operands(arguments, argv[1], operands, count);
}

static int run(int argc, char **argv)
{
    static const struct {
        const char *name;
        int (*run)(const struct arguments *arguments);
    } actions[] = { { "ls", list }, { "get", dump }, { "dump", dump }, { "diff", diff } };
    if (argc < 2) return verb_complain(&verb_state, "say what to do", "");
    if (strcmp(argv[1], "write") == 0) return state_write(argc, argv);
    for (size_t i = 0; i < sizeof actions / sizeof actions[0]; i++) {
        if (strcmp(argv[1], actions[i].name) != 0) continue;
        struct arguments arguments = { .as_json = false };
        cluster_init(&arguments.cluster);
        int status = parse(argc, argv, &arguments);
        if (status == EXIT_SUCCESS) status = actions[i].run(&arguments);
        cluster_deinit(&arguments.cluster);
        free(arguments.key);
        return status;
    }
    return verb_not_understood(&verb_state, argv[1]);
}

const struct verb verb_state = {
    .name = "state",
    .usage = "weir state ls PATH [--epoch N] [-o table|json]\n"
             "weir state get PATH OPERATOR STATE KEY [--hex] [--epoch N] [-o table|json]\n"
             "weir state dump PATH [OPERATOR [STATE]] [--epoch N] [-o table|json]\n"
             "weir state diff PATH PATH [-o table|json]\n"
             "weir state write DIR --job JOB [--max-parallelism N] [FILE]\n",
    .about = "the state in a checkpoint or a savepoint",
    .help =
        "PATH is a job's own folder in its checkpoint directory, or a savepoint. Nothing is written there. The job may be\n"
        "running; what it deletes meanwhile is missing here, and that is said.\n"
        "\n"
        "  ls        operators and their states: kinds, codecs, versions, keys, entries, bytes, and how many entries lie in\n"
        "            each sixteenth of the key groups\n"
        "  get       what one key has in one state\n"
        "  dump      every entry, always in the same order; only some key groups are in memory at a time\n"
        "  diff      what was added (+), removed (-) and changed (~) from the first to the second\n"
        "  write     makes a savepoint in DIR, for a job to begin with, and prints its path. FILE (or stdin) holds lines of\n"
        "            JSON as ls and dump print them: first the states, then their entries. Lists get their elements in the\n"
        "            order of the lines. All of it is in memory until it is written\n"
        "\n"
        "options\n"
        "  --epoch N                   this retained checkpoint (weir checkpoint ls) instead of the newest one\n"
        "  --hex                       KEY is hexadecimal\n"
        "  -o json                     one object a line; what is no text is {\"hex\":\"...\"}\n"
        CLUSTER_HELP
        "\n"
        "With --brokers, the job's ledger says which checkpoint was committed last; without, the directory shows which one was\n"
        "written last.\n"
        "\n"
        "exit codes: 0 shown (diff: equal), 1 nothing for that key (diff: they differ), 2 usage, 4 damaged, 7 no such\n"
        "checkpoint, or no right to read it, 8 a newer program wrote it\n",
    .run = run,
};
