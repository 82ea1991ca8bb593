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

/* ---- Source ------------------------------------------------------------------------------------------------------ */

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
                             extended regular expression, searched for; "__" topics only where it names them) */
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

/* ---- Sink -------------------------------------------------------------------------------------------------------- */

/* The topic of a record: text that stays good for as long as the job runs. NULL ends the job with a failure. */
typedef const char *weir_kafka_topic_fn(void *user, const struct weir_record *record);
/* The partition of a record, 0 to partition_count - 1; anything below 0 leaves the choice to the sink. */
typedef int32_t weir_kafka_partition_fn(void *user, const struct weir_record *record, int32_t partition_count);

enum weir_kafka_time {
    WEIR_KAFKA_TIME_OF_RECORD, /* where the record has one, else the time of writing */
    WEIR_KAFKA_TIME_OF_WRITE,  /* cheaper: librdkafka takes such records by the hundred */
};

/* Writes records with key, value, headers and time; a null value is a tombstone. With exactly-once all sinks of a job
 * write to one cluster, in one transaction for each epoch; readers need isolation.level=read_committed.
 *
 * Partitions are chosen as Java's producer does: by murmur2 of the key; without a key, one partition for a run of
 * records, then another. Records of one partition keep their order. */
struct weir_kafka_sink_options {
    WEIR_OPERATOR_FIELDS; /* open and close are unused; `user` is handed to topic_of and partition_of */
    const char *topic;    /* or NULL, with `topic_of` */
    const char *brokers;  /* "HOST:PORT[,...]"; NULL = as configured */
    weir_kafka_topic_fn *topic_of;
    const char *topics;   /* with `topic_of`: topics to look up at the start, separated by commas. The first record of any
                             other topic waits for the brokers' answer */
    weir_kafka_partition_fn *partition_of;
    enum weir_kafka_time time;
    const char *dead_letter_topic; /* takes records that are too large for their topic, with headers weir.error and
                                      weir.topic, cut to size if need be; NULL = such a record ends the job */
    int32_t partitions;   /* of a topic that is created; 0 = as configured (sink.create-topics.partitions) */
};
WEIR_API void weir_kafka_sink_(struct weir_stream input, const struct weir_kafka_sink_options *options);
#define weir_kafka_sink(input, ...)                                                                                    \
    weir_kafka_sink_((input), &(struct weir_kafka_sink_options){ .size = sizeof(struct weir_kafka_sink_options),       \
                                                                 __VA_ARGS__ })

/* ---- The commit -------------------------------------------------------------------------------------------------- */

/* Decides for every job that touches a Kafka cluster: source and sink name it by themselves. */
WEIR_API extern const struct weir_decider_type weir_kafka_decider_type;

/* ---- The ledger: what every commit leaves behind ----------------------------------------------------------------- */

struct weir_kafka_ledger_options {
    size_t size;
    const char *job;
    const char *brokers;        /* NULL = as configured */
    const weir_config *config;  /* for kafka.* settings; NULL = none */
    const char *const *shared;  /* topics that others write to as well; not verified record by record */
    size_t shared_count;
    int64_t patience_ms;        /* how long to wait for brokers; 0 = 10 s */
    void (*print)(void *user, const char *line); /* results, line by line, without a newline; may be NULL */
    void *print_user;
    /* Instead of lines of a ledger that is shown: its records, oldest first; `slot` is the partition. May be NULL. */
    void (*entry)(void *user, int32_t slot, int64_t offset, const struct weir_ledger_entry *entry);
    void *entry_user;
    weir_log_fn *log;           /* may be NULL */
    void *log_user;
};

/* What a verification found. A partition of an output counts as `verified` from its first offset or from where it says
 * on its line; nothing is claimed beyond. */
struct weir_kafka_ledger_report {
    uint64_t entries;             /* ledger records that were read */
    uint64_t commits;             /* commits in the unbroken chain up to the newest one */
    uint64_t oldest_incarnation;  /* the oldest one in that chain */
    uint64_t oldest_epoch;
    uint64_t newest_incarnation;
    uint64_t newest_epoch;
    uint64_t returns;             /* commits that go back to an earlier one (--checkpoint): what came since comes again */
    uint64_t ranges_joined;       /* source ranges that begin where the one before ends */
    uint64_t outputs;             /* output partitions that the ledger names */
    uint64_t outputs_verified;    /* of these: count and digest are equal, at least from some offset on */
    uint64_t records_verified;
    uint64_t records_unverifiable;
    uint64_t violations;
    bool at_least_once;           /* some epochs promise no more than that: repeated records are no violation */
};

/* Prints the ledger, oldest record first. */
WEIR_API enum weir_code weir_kafka_ledger_show(const struct weir_kafka_ledger_options *options,
                                               struct weir_error *error);

/* The newest committed record of the job's only slot: which frame is committed. Clear `entry` (weir_ledger_entry_clear)
 * after success. WEIR_ENVIRONMENT also when nothing was committed yet. */
WEIR_API enum weir_code weir_kafka_ledger_newest(const struct weir_kafka_ledger_options *options,
                                                 struct weir_ledger_entry *entry, struct weir_error *error);

/* Checks, from topics alone, that the epochs form a chain, that source ranges join without gap or overlap, and that
 * counts and digests equal what a read_committed reader sees, every record accounted for. The job may be running.
 *
 * WEIR_OK: nothing contradicts the ledger, and the report says how far that reaches. WEIR_DAMAGED: a violation was
 * found; each one is a line. Other codes: it could not be checked (WEIR_OUT_OF_PATIENCE: no broker answered,
 * WEIR_ENVIRONMENT: no ledger, or no right to read it). */
WEIR_API enum weir_code weir_kafka_ledger_verify(const struct weir_kafka_ledger_options *options,
                                                 struct weir_kafka_ledger_report *report, struct weir_error *error);

#ifdef __cplusplus
}
#endif

#endif
