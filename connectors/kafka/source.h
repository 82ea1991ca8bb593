/* The Kafka source.
 *
 *   source.c            options, life cycle, the table of functions               environment thread
 *   source_discovery.c  topics, identities, ranges; words become numbers          environment thread, may block
 *   source_reader.c     one consumer handle for each subtask                      task thread, never blocks
 *   source_bound.c      "earliest", "timestamp:T", ...                            pure
 *
 * What the readers share with the source: `partitions_known` (atomic), the options and the reaper; nothing else. */
#ifndef KAFKA_SOURCE_H
#define KAFKA_SOURCE_H

#include <regex.h>
#include <stdatomic.h>

#include "client.h"
#include "reaper.h"

/* Where reading begins or ends, as a person says it. */
enum kafka_bound_kind { KAFKA_EARLIEST, KAFKA_LATEST, KAFKA_TIMESTAMP, KAFKA_GROUP, KAFKA_OFFSETS };

struct kafka_bound {
    enum kafka_bound_kind kind;
    int64_t time_ms;
    char group[256];
    enum kafka_bound_kind otherwise; /* where the group stands nowhere; KAFKA_GROUP = refuse */
    struct weir_splits offsets;
};
/* Parses what struct weir_kafka_source_options says of `start` and `end`. WEIR_USAGE with a sentence. Clear the bound
 * afterwards, also on failure. */
enum weir_code kafka_bound_parse(const char *text, struct kafka_bound *bound, struct weir_error *error);
void kafka_bound_clear(struct kafka_bound *bound);

/* Which topics: a list of names, or a pattern. */
struct kafka_topics {
    bool is_pattern;
    bool with_internal; /* the pattern itself names topics that begin with "__" */
    regex_t pattern;
    size_t count;
    char **names;
};
enum weir_code kafka_topics_parse(const char *text, struct kafka_topics *topics, struct weir_error *error);
bool kafka_topics_match(const struct kafka_topics *topics, const char *name);
void kafka_topics_clear(struct kafka_topics *topics);

struct kafka_source {
    struct weir_kafka_source_options options;
    struct weir_connector_context context;
    struct kafka_topics topics;
    struct kafka_bound start;
    struct kafka_bound end;
    bool is_bounded;
    struct kafka_client *client; /* for discovery: connects without a group */
    struct kafka_reaper *reaper;
    char cluster[64];            /* its id */
    _Atomic uint32_t partitions_known;
};

/* Names the source in errors and log lines: "source 'lines'". */
void kafka_source_purpose(const struct kafka_source *source, char text[96]);

/* source_discovery.c: the functions of struct weir_source_type. */
enum weir_code kafka_discover(void *source, const struct weir_splits *known, bool founding, bool verify,
                              const volatile bool *cancelled, struct weir_splits *found, struct weir_error *error);
void kafka_commit_for_tools(void *source, const struct weir_splits *positions);

/* source_reader.c: likewise. */
enum weir_code kafka_reader_open(void *source, uint32_t subtask_index, struct weir_waker waker, void **reader,
                                 struct weir_error *error);
enum weir_code kafka_reader_add(void *reader, const struct weir_split *split, struct weir_error *error);
enum weir_poll kafka_reader_poll(void *reader, weir_batch *batch, struct weir_error *error);
bool kafka_reader_positions(void *reader, struct weir_splits *positions);
bool kafka_reader_limit(void *reader, const char *split_name, int64_t end);
int64_t kafka_reader_lag(void *reader);
void kafka_reader_lags(void *reader, void (*each)(void *user, const char *split, int64_t lag), void *user);
void kafka_reader_close(void *reader);

extern const struct weir_source_type kafka_source_type;

#endif
