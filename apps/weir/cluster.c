#include "cluster.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "values.h"

static void print_log(void *user, const struct weir_log_line *line)
{
    (void)user;
    static const char *const names[] = { "error", "warning", "info", "debug" };
    (void)fprintf(stderr, "weir: %s: ", names[line->level]);
    print_bytes(stderr, weir_text(line->text));
    (void)fputc('\n', stderr);
}

void cluster_init(struct cluster *cluster)
{
    *cluster = (struct cluster){ .options = { .size = sizeof cluster->options }, .config = weir_config_create() };
    cluster->options.config = cluster->config;
}

void cluster_deinit(struct cluster *cluster)
{
    if (cluster->config != NULL) weir_config_destroy(cluster->config);
}

bool cluster_is_named(const struct cluster *cluster)
{
    return cluster->options.brokers != NULL || weir_config_text(cluster->config, "kafka.bootstrap.servers") != NULL;
}

/* ---- Options ----------------------------------------------------------------------------------------------------- */

bool verb_configures(weir_config *config, const struct verb *verb, const char *setting)
{
    struct weir_error error;
    if (weir_config_set_pair(config, WEIR_CONFIG_COMMAND_LINE, setting, "-X", &error) == WEIR_OK) return true;
    (void)verb_complain(verb, error.text, "");
    return false;
}

static bool load_properties(weir_config *config, const struct verb *verb, const char *path)
{
    struct weir_error error;
    if (weir_config_load_properties(config, WEIR_CONFIG_FILE, path, &error) == WEIR_OK) return true;
    (void)verb_complain(verb, error.text, "");
    return false;
}

static bool take_patience(struct cluster *cluster, const struct verb *verb, const char *value)
{
    char *end;
    const long seconds = strtol(value, &end, 10);
    cluster->options.patience_ms = seconds * 1000;
    if (*end == '\0' && seconds > 0 && seconds <= 86400) return true;
    (void)verb_complain(verb, "--patience takes seconds, up to a day", value);
    return false;
}

static bool take_value(struct cluster *cluster, const struct verb *verb, const char *option, const char *value)
{
    if (strcmp(option, "--patience") == 0) return take_patience(cluster, verb, value);
    if (strcmp(option, "--kafka-config") == 0) return load_properties(cluster->config, verb, value);
    if (strcmp(option, "-X") == 0) return verb_configures(cluster->config, verb, value);
    cluster->options.brokers = value;
    return true;
}

bool cluster_takes_option(struct cluster *cluster, const struct verb *verb, int argc, char **argv, int *index,
                          int *status)
{
    static const char *const known[] = { "--brokers", "--bootstrap-server", "--patience", "--kafka-config", "-X" };
    const char *option = argv[*index];
    *status = EXIT_SUCCESS;
    if (strcmp(option, "--verbose") == 0) {
        cluster->options.log = print_log;
        return true;
    }
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (strcmp(option, known[i]) != 0) continue;
        if (*index + 1 == argc) *status = verb_complain(verb, "a value is missing", option);
        else if (!take_value(cluster, verb, option, argv[++*index])) *status = VERB_USAGE;
        return true;
    }
    return false;
}

/* ---- The ledger -------------------------------------------------------------------------------------------------- */

static enum weir_code ask_ledger(void *user, const struct weir_inspect_store *store, struct weir_frame_name *newest,
                                 struct weir_error *error)
{
    const struct cluster *cluster = user;
    struct weir_kafka_ledger_options options = cluster->options;
    struct weir_ledger_entry entry;
    options.job = store->job;
    enum weir_code code = weir_kafka_ledger_newest(&options, &entry, error);
    if (code != WEIR_OK) return code;
    *newest = entry.frame;
    if (strcmp(entry.store, store->id) != 0)
        code = weir_error_set(error, WEIR_FOREIGN, WEIR_REMEDY_STOP,
                              "the ledger of job '%s' names checkpoints in store %s, and %s is store %s", store->job,
                              entry.store, store->path, store->id);
    else if (entry.kind == WEIR_LEDGER_DROPPED)
        code = weir_error_set(error, WEIR_ENVIRONMENT, WEIR_REMEDY_STOP,
                              "job '%s' was cancelled and its checkpoints were dropped, at checkpoint %" PRIu64 "/%" PRIu64
                              ", its ledger says; files that are still in %s are of no use, and may be removed",
                              store->job, newest->incarnation, newest->epoch, store->path);
    weir_ledger_entry_clear(&entry);
    return code;
}

void cluster_decide(struct cluster *cluster, struct weir_inspect_options *options)
{
    if (!cluster_is_named(cluster)) return;
    options->newest = ask_ledger;
    options->newest_user = cluster;
}
