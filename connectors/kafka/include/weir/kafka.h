/* Apache Kafka as source and sink.
 *
 *     topics ──> weir_kafka_source ──> ... ──> weir_kafka_sink ──> topics
 *                      │                             │
 *                  positions ──────────────> transaction, ledger            one commit carries all of it
 *
 * Where the cluster is, and how to talk to it, comes from the configuration, so that a job's code need not know:
 *   kafka.bootstrap.servers   the brokers (what --brokers sets); `.brokers` of a source or sink overrides it
 *   kafka.NAME                a librdkafka property of all clients (a line of --kafka-config)
 *   kafka.consumer.NAME       of the sources' clients only
 *   kafka.producer.NAME       of the sinks' clients only
 * Later lines win over earlier ones. Properties that would break the guarantee are refused with the reason.
 *
 * All options are copied by the builder calls. */
#ifndef WEIR_KAFKA_H
#define WEIR_KAFKA_H

#include "weir/connector.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- Source -------------------------------------------------------------------------------------------------------- */

enum weir_kafka_isolation { WEIR_KAFKA_READ_COMMITTED, WEIR_KAFKA_READ_UNCOMMITTED };

/* What to do when the next record to read is no longer there, or not any more. */
enum weir_kafka_out_of_range {
    WEIR_KAFKA_FAIL,     /* stop the job with POSITION_LOST and a sentence */
    WEIR_KAFKA_EARLIEST, /* go on at the earliest record, and say so in the log */
    WEIR_KAFKA_LATEST,   /* go on behind the last record, and say so in the log */
};

/* Reads every partition of its topics in order. Records carry key, value, headers, time and its type.
 *
 * Positions are numbers from the first record on: `start` is resolved once, when the job is founded, and says nothing
 * afterwards. Partitions that appear later are read from their earliest record. */
struct weir_kafka_source_options {
    WEIR_OPERATOR_FIELDS; /* open, close and user are unused */
    const char *topic;    /* one topic, several separated by commas, or a pattern of topics that begins with '^' (POSIX
                             extended regular expression, searched for; "__" topics only where the pattern names them) */
    const char *brokers;  /* "HOST:PORT[,...]"; NULL = as configured */
    const char *start;    /* NULL = configuration key source.start, whose default is "earliest":
                               earliest | latest       of the committed records
                               timestamp:T             first record of that time or later; T in milliseconds since 1970
                               group:NAME              where that consumer group stands; every partition must have one
                               group:NAME,earliest     ... or start there where the group has none (or latest)
                               offsets:TOPIC/P=N,...   exactly there; the others earliest */
    const char *end;      /* where a bounded read ends; NULL = never, or with a bounded job like "latest":
                               latest                  at the last stable offset of this start
                               timestamp:T             before the first record of that time or later
                               offsets:TOPIC/P=N,...   before that record; every partition must have one */
    enum weir_kafka_isolation isolation;
    enum weir_kafka_out_of_range out_of_range;
};
WEIR_API struct weir_stream weir_kafka_source_(weir_graph *graph, const struct weir_kafka_source_options *options);
#define weir_kafka_source(graph, ...)                                                                                  \
    weir_kafka_source_((graph), &(struct weir_kafka_source_options){                                                   \
                                    .size = sizeof(struct weir_kafka_source_options), __VA_ARGS__ })

/* ---- Sink ---------------------------------------------------------------------------------------------------------- */

struct weir_kafka_sink_options {
    WEIR_OPERATOR_FIELDS; /* open, close and user are unused */
    const char *topic;
    const char *brokers; /* "HOST:PORT[,...]"; NULL = as configured */
};
WEIR_API void weir_kafka_sink_(struct weir_stream input, const struct weir_kafka_sink_options *options);
#define weir_kafka_sink(input, ...)                                                                                    \
    weir_kafka_sink_((input), &(struct weir_kafka_sink_options){ .size = sizeof(struct weir_kafka_sink_options),       \
                                                                 __VA_ARGS__ })

#ifdef __cplusplus
}
#endif

#endif
