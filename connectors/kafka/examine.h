/* What can be wrong with a cluster, told before a job touches it: the `examine` calls of source, sink and decider. One
 * client for each list of brokers serves all of them in one examination. Rows of checks: examine.c. */
#ifndef KAFKA_EXAMINE_H
#define KAFKA_EXAMINE_H

#include "client.h"

/* What the job wants of a topic. */
enum examine_use {
    EXAMINE_READS,
    EXAMINE_WRITES,
    EXAMINE_LEDGER, /* writes and reads; the job makes it when it is missing */
};
struct examine_topic {
    const char *name;
    enum examine_use use;
    bool is_made; /* when it is missing */
};

/* `topics` have distinct names. `brokers` as in the options of source and sink. */
void kafka_examine_topics(const struct weir_connector_context *context, const char *brokers,
                          const struct examine_topic *topics, size_t count, weir_examination *examination);
/* Every topic that exists, by name; false when the cluster did not answer, which is reported. */
bool kafka_examine_each_topic(const struct weir_connector_context *context, const char *brokers,
                              weir_examination *examination, void (*each)(void *user, const char *name), void *user);
/* The pattern of a source matches nothing. */
void kafka_examine_no_match(weir_examination *examination, const char *operator_name, const char *pattern);

/* Transactions, the group, the ledger: the decider's. */
void kafka_examine_commits(const struct weir_decider_options *options, const char *brokers,
                           weir_examination *examination);

#endif
