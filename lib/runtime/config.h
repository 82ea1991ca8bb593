/* The configuration: one table of keys, and values with the place each came from. Names are Flink's where the thing is the
 * same. The public functions are in weir.h (weir_config_*).
 *
 * Owner: whoever built it, until a job borrows it; read-only from then on, so any thread may read. */
#ifndef RUNTIME_CONFIG_H
#define RUNTIME_CONFIG_H

#include "base/base.h"

enum config_type { CONFIG_TEXT, CONFIG_I64, CONFIG_BOOL, CONFIG_DURATION, CONFIG_SIZE, CONFIG_CHOICE, CONFIG_F64 };

/* key, type, default (NULL = none), lowest, highest (in ms, bytes or units), choices ("a|b"), one sentence. */
#define CONFIG_KEYS(X)                                                                                                 \
    X("execution.checkpointing.interval", DURATION, "100ms", 1, 86400000, NULL, "Time between two commits.")           \
    X("execution.checkpointing.mode", CHOICE, "EXACTLY_ONCE", 0, 0, "EXACTLY_ONCE|AT_LEAST_ONCE",                      \
      "Whether output is written in transactions.")                                                                    \
    X("execution.checkpointing.timeout", DURATION, "10min", 100, 86400000, NULL,                                       \
      "A checkpoint that takes longer has failed.")                                                                    \
    X("execution.checkpointing.min-pause", DURATION, "0ms", 0, 86400000, NULL,                                         \
      "Time between a commit and the next barrier.")                                                                   \
    X("execution.checkpointing.tolerable-failed-checkpoints", I64, "0", 0, 1000000, NULL,                              \
      "Checkpoints that may fail in a row before the job rolls back.")                                                 \
    X("execution.checkpointing.unaligned.enabled", BOOL, "false", 0, 0, NULL,                                          \
      "Barriers overtake records that wait in front of them, which become part of the checkpoint.")                    \
    X("execution.checkpointing.aligned-checkpoint-timeout", DURATION, "0ms", 0, 86400000, NULL,                        \
      "Barriers overtake only when their checkpoint is not complete after this time.")                                 \
    X("execution.checkpointing.num-retained", I64, "1", 1, 1000, NULL, "Checkpoints kept in the store.")               \
    X("execution.checkpointing.externalized-checkpoint-retention", CHOICE, "RETAIN_ON_CANCELLATION", 0, 0,             \
      "RETAIN_ON_CANCELLATION|DELETE_ON_CANCELLATION|NO_EXTERNALIZED_CHECKPOINTS",                                     \
      "Whether a job that is cancelled can be started again where it stood. The last two mean that it cannot.")        \
    X("execution.checkpointing.dir", TEXT, NULL, 0, 0, NULL, "Directory of the checkpoint store.")                     \
    X("execution.checkpointing.storage", CHOICE, "filesystem", 0, 0, "filesystem|jobmanager",                          \
      "Where checkpoints lie: in files, or in the memory of this process, for trials.")                                \
    X("execution.checkpointing.savepoint-dir", TEXT, NULL, 0, 0, NULL, "Where savepoints are made when nobody says.")   \
    X("execution.savepoint.path", TEXT, NULL, 0, 0, NULL, "The savepoint that a job with no history begins from.")     \
    X("execution.savepoint.rename-operators", TEXT, NULL, 0, 0, NULL,                                                  \
      "What operators of the savepoint are called now: OLD=NEW, with commas between several.")                         \
    X("execution.savepoint.reset-operators", TEXT, NULL, 0, 0, NULL,                                                   \
      "Operators of the savepoint that begin anew: names, with commas between them.")                                  \
    X("execution.savepoint.position-map", TEXT, NULL, 0, 0, NULL,                                                      \
      "A file that says which positions of this cluster are those of the savepoint.")                                  \
    X("execution.savepoint.ignore-unclaimed-state", BOOL, "false", 0, 0, NULL,                                         \
      "Give up state of the checkpoint that the job no longer declares.")                                              \
    X("execution.buffer-timeout", DURATION, "5ms", 0, 60000, NULL,                                                     \
      "A batch that is not full waits this long for more records before it is sent on.")                               \
    X("execution.epoch.soft-limit", SIZE, "64mb", 65536, 0, NULL,                                                      \
      "Changed state or unflushed output of one epoch that brings the next barrier forward.")                          \
    X("execution.epoch.hard-limit", SIZE, "256mb", 64, 0, NULL,                                                        \
      "Changed state above which part of an epoch's delta is written early.")                                      \
    X("parallelism.default", I64, "1", 1, 32768, NULL, "Subtasks of an operator that does not say.")                   \
    X("pipeline.max-parallelism", I64, "0", 0, 32768, NULL, "Number of key groups; 0 = chosen from the parallelism.")  \
    X("pipeline.operator-chaining.enabled", BOOL, "true", 0, 0, NULL, "Join operators that can run in one task.")      \
    X("pipeline.channel.capacity", I64, "8", 2, 4096, NULL, "Batches that a channel between two tasks holds.")         \
    X("restart-strategy.type", CHOICE, "exponential-delay", 0, 0, "none|fixed-delay|failure-rate|exponential-delay",   \
      "What happens after a failure.")                                                                                 \
    X("restart-strategy.fixed-delay.attempts", I64, "1", 1, 0, NULL, "Restarts before the job fails for good.")        \
    X("restart-strategy.fixed-delay.delay", DURATION, "1s", 0, 0, NULL, "Wait before a restart.")                      \
    X("restart-strategy.failure-rate.max-failures-per-interval", I64, "1", 1, 0, NULL,                                 \
      "Failures in an interval that are put up with.")                                                                 \
    X("restart-strategy.failure-rate.failure-rate-interval", DURATION, "1min", 1, 0, NULL,                             \
      "The interval for counting failures.")                                                                           \
    X("restart-strategy.failure-rate.delay", DURATION, "1s", 0, 0, NULL, "Wait before a restart.")                     \
    X("restart-strategy.exponential-delay.initial-backoff", DURATION, "100ms", 0, 0, NULL, "First wait.")              \
    X("restart-strategy.exponential-delay.max-backoff", DURATION, "1min", 1, 0, NULL, "Longest wait.")                 \
    X("restart-strategy.exponential-delay.backoff-multiplier", F64, "1.5", 1, 100, NULL, "Growth of the wait.")        \
    X("restart-strategy.exponential-delay.jitter-factor", F64, "0.1", 0, 1, NULL, "Random part of the wait.")          \
    X("restart-strategy.exponential-delay.reset-backoff-threshold", DURATION, "1h", 1, 0, NULL,                        \
      "Time without a failure after which the first wait counts again.")                                               \
    X("restart-strategy.exponential-delay.attempts-before-reset-backoff", I64, "0", 0, 0, NULL,                        \
      "Restarts before the job fails for good; 0 = no limit.")                                                         \
    X("state.backend.type", CHOICE, "rocksdb", 0, 0, "hashmap|rocksdb|filesystem|heap|jobmanager",                     \
      "Where state lives: in memory, or in RocksDB behind a cache. The last three mean hashmap.")                      \
    X("state.backend.memory", SIZE, "512mb", 4096, 0, NULL,                                                            \
      "Memory for state that is on disk, for the whole process.")                                                      \
    X("state.backend.local-dir", TEXT, NULL, 0, 0, NULL,                                                               \
      "Where RocksDB works; beside the checkpoints by default, in a temporary folder where they lie in memory.")       \
    X("execution.checkpointing.incremental", BOOL, "true", 0, 0, NULL,                                                 \
      "Bases of state in RocksDB refer to its files; false: they are written anew, as units.")                         \
    X("state.base.min-log-size", SIZE, "4mb", 65536, 0, NULL,                                                          \
      "Log bytes since the last base that are always put up with.")                                                    \
    X("state.base.log-ratio", F64, "2", 0, 1000, NULL,                                                                 \
      "A base of units is written when the log outgrows the state by this factor.")                                    \
    X("state.recovery.max-frames", I64, "2000", 1, 0, NULL, "Frames that a restart may have to replay.")               \
    X("state.log.segment-size", SIZE, "8mb", 65536, 0, NULL, "Size of a log file.")                                    \
    X("connect.patience", DURATION, "30s", 0, 0, NULL, "How long a bounded job waits for a broker.")                   \
    X("store.patience", DURATION, "30s", 0, 0, NULL, "How long a write to the checkpoint store is tried again.")     \
    X("kafka.bootstrap.servers", TEXT, NULL, 0, 0, NULL,                                                               \
      "Where the Kafka cluster is: HOST:PORT, separated by commas.")                                                   \
    X("source.start", TEXT, "earliest", 0, 0, NULL,                                                                    \
      "Where a job that is new begins: earliest, latest, timestamp:T (milliseconds) or group:NAME.")                   \
    X("source.discovery.interval", DURATION, "30s", 10, 0, NULL, "Time between two looks for new partitions.")         \
    X("source.prefetch.size", SIZE, "32mb", 65536, 0, NULL, "Memory for records read ahead, for the whole job.")       \
    X("source.max-batch-records", I64, "1024", 1, 1024, NULL, "Records that a source hands over at once.")             \
    X("sink.ring-size", I64, "2", 2, 16, NULL, "Producers that take turns.")                                           \
    X("sink.queue.size", SIZE, "8mb", 4096, 0, NULL, "What a sink holds back while an epoch is flushed.")              \
    X("sink.create-topics", BOOL, "false", 0, 0, NULL, "Create output topics that are missing.")                       \
    X("sink.create-topics.partitions", I64, "1", 1, 10000, NULL, "Partitions of output topics that are created.")      \
    X("ledger.commits-kept", I64, "1000", 10, 1000000, NULL, "Commits that the ledger's ring keeps.")                  \
    X("ledger.replication-factor", I64, "0", 0, 100, NULL,                                                             \
      "Replicas of a ledger that is created; 0 = the cluster's default.")                                              \
    X("ledger.anchor-interval", DURATION, "1s", 0, 0, NULL,                                                            \
      "Time between two notes of the outputs' end offsets; 0 = none.")                                                 \
    X("log.format", CHOICE, "text", 0, 0, "text|logfmt|json", "How a job program writes its log, which goes to stderr.")   \
    X("log.level", CHOICE, "info", 0, 0, "error|warning|info|debug",                                                   \
      "The least important lines that are written. debug tells what librdkafka says of every connection.")             \
    X("rest.port", I64, NULL, 0, 65535, NULL,                                                                          \
      "Where the job answers over HTTP; 0 = any port that is free. Not set: nowhere.")                                 \
    X("rest.bind-address", TEXT, "localhost", 0, 0, NULL,                                                              \
      "The address where it answers; one that other machines can reach needs a read token or clients' certificates.")  \
    X("rest.read-token", TEXT, NULL, 0, 0, NULL, "What reading over HTTP takes; not set: nothing, from this machine.") \
    X("rest.write-token", TEXT, NULL, 0, 0, NULL, "What changing anything over HTTP takes; not set: nobody can.")      \
    X("rest.allowed-hosts", TEXT, NULL, 0, 0, NULL,                                                                    \
      "Names by which the machine is asked over HTTP, with commas between them; addresses and localhost always are.")  \
    X("rest.connections", I64, "256", 4, 65536, NULL, "Connections over HTTP at a time.")                              \
    X("security.ssl.rest.enabled", BOOL, "false", 0, 0, NULL, "Answer over HTTPS, and no longer over HTTP.")           \
    X("security.ssl.rest.certificate", TEXT, NULL, 0, 0, NULL,                                                         \
      "File in PEM: the certificate to answer with, and behind it those that lead to its authority.")                  \
    X("security.ssl.rest.key", TEXT, NULL, 0, 0, NULL,                                                                 \
      "The certificate's key in PEM; security.ssl.rest.key.file names the file.")                                      \
    X("security.ssl.rest.authentication-enabled", BOOL, "false", 0, 0, NULL,                                           \
      "Whoever asks over HTTPS needs a certificate, too; only the page, its description and the probes are open.")     \
    X("security.ssl.rest.ca", TEXT, NULL, 0, 0, NULL,                                                                  \
      "File in PEM: the authorities that sign the certificates of those who ask.")                                     \
    X("start.takeover", BOOL, "false", 0, 0, NULL, "Take a job over that belongs to another store or plan.")           \
    X("start.position", CHOICE, "verify", 0, 0, "verify|ledger|group|start",                                           \
      "Which position counts where they differ; start: of a savepoint, its state, and positions as for a new job.")    \
    X("start.share-output", BOOL, "false", 0, 0, NULL,                                                                 \
      "Begin from the savepoint of another job although it writes to the same output.")                                \
    X("start.checkpoint", I64, "-1", -1, 0, NULL,                                                                      \
      "Go back to the retained checkpoint of this epoch; output that came later is repeated. -1 = to none.")           \
    X("start.fresh", BOOL, "false", 0, 0, NULL, "Begin anew, whatever the ledger says; output may repeat.")            \
    X("start.bounded", BOOL, "false", 0, 0, NULL, "End at the end offsets found at the start.")

/* A row of the table; weir_config_key_at shows it. */
struct config_key {
    const char *key;
    enum config_type type;
    const char *default_value;
    int64_t lowest, highest; /* highest 0 = none */
    const char *choices;
    const char *sentence;
};

/* Parses "100ms", "3 min", "1h" to milliseconds; a bare number is milliseconds. */
bool config_parse_duration(const char *text, int64_t *ms);
/* Parses "64mb", "1 GiB", "512" to bytes. */
bool config_parse_size(const char *text, int64_t *bytes);
double config_f64(const weir_config *config, const char *key);

#endif
