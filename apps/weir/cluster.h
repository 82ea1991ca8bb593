/* Where the brokers are, and how to talk to them: options that several verbs share. */
#ifndef WEIR_CLUSTER_H
#define WEIR_CLUSTER_H

#include "verbs.h"
#include "weir/inspect.h"
#include "weir/kafka.h"

struct cluster {
    struct weir_kafka_ledger_options options;
    weir_config *config; /* owned; NULL when there is no memory */
};

/* For their help. */
#define CLUSTER_HELP                                                                                                   \
    "  --brokers HOST:PORT[,...]   where the cluster is (also --bootstrap-server)\n"                                    \
    "  --kafka-config FILE         librdkafka properties, NAME=VALUE a line, for clusters that want a password\n"       \
    "  -X KEY=VALUE                one configuration key, such as kafka.security.protocol=SSL; may be repeated\n"       \
    "  --patience SECONDS          how long to wait for the brokers (default 10)\n"                                     \
    "  --verbose                   log lines of the client to stderr\n"

void cluster_init(struct cluster *cluster);
void cluster_deinit(struct cluster *cluster);
bool cluster_is_named(const struct cluster *cluster);

/* Looks at argv[*index]. False: it is none of these options. Otherwise it is taken, *index is at its last word, and *status
 * is VERB_USAGE when something was wrong with it, which has been said then. */
bool cluster_takes_option(struct cluster *cluster, const struct verb *verb, int argc, char **argv, int *index,
                          int *status);

/* For weir_inspect_options: a ledger that was named decides what is the newest checkpoint. `cluster` is borrowed. */
void cluster_decide(struct cluster *cluster, struct weir_inspect_options *options);

#endif
