/* How to write a source, a sink, or a decider. The Kafka connector, the generator source and the print sink use this
 * header and weir.h, nothing else.
 *
 *   environment thread        task threads                  job thread
 *   (may block)               (never block)                 (never blocks)
 *   ------------------        -------------------------     -----------------------------------------
 *   source.open
 *   source.discover ───splits──> reader.add
 *                             reader.poll ──batch──> chain
 *                             reader.positions  <── barrier n
 *   sink.open                 writer.write ... writer.prepare(n) ──totals──> decider.flush(n) .offsets(n) .commit(n)
 *   decider.open              writer.proceed(n+1) <── FLUSHED(n)             <── events, posted by the decider's threads
 *   *.close                   reader.close, writer.close
 *
 * Life cycle of one attempt (a start, or a roll-back inside the process): open the environment parts once for the whole
 * life of the job; readers and writers are opened for each attempt after the commit point has been found, and closed
 * when the attempt ends, whatever the reason.
 *
 * Who calls what on which thread is fixed by the picture; a connector needs no lock for what it owns in one column. */
#ifndef WEIR_CONNECTOR_H
#define WEIR_CONNECTOR_H

#include "weir/weir.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- Environment: the only way to time, randomness and the log ----------------------------------------------------- */

struct weir_environment {
    int64_t (*monotonic_us)(void *user); /* never runs backwards; for durations and deadlines */
    int64_t (*wall_ms)(void *user);      /* milliseconds since 1970; for people only */
    uint64_t (*random)(void *user);      /* any thread */
    weir_log_fn *log;                    /* may be NULL */
    void *log_user;
    void *user;
    const char *job; /* whose lines these are; may be NULL */
};

/* Writes one log line; does nothing when the environment has no log. Any thread. */
WEIR_API void weir_log(const struct weir_environment *environment, enum weir_log_level level, const char *format, ...)
    WEIR_PRINTF(3, 4);
/* The same with what the line is about; `about` has the level, and text and job are filled in. */
WEIR_API void weir_log_about(const struct weir_environment *environment, const struct weir_log_line *about,
                             const char *format, ...) WEIR_PRINTF(3, 4);

struct weir_connector_context {
    const struct weir_environment *environment;
    const weir_config *config;
    const char *job;
    const char *operator_name; /* NULL for a decider */
    uint32_t parallelism;
    bool bounded;       /* the job was started with --bounded: splits need an end */
    bool exactly_once;  /* else at-least-once */
};

/* ---- Examination: what can be wrong around a job, told before it starts ------------------------------------------- */

/* A row of a connector's table of checks. In the sentences {0}, {1} ... stand for what a report says. Severity, code:
 * struct weir_finding. */
struct weir_check {
    const char *name; /* "topic-missing" */
    enum weir_severity severity;
    enum weir_code code;
    const char *problem, *advice;
};

typedef struct weir_examination weir_examination;

/* Reports that the check of this row has failed, with the texts of its sentences. The same report twice counts once. */
WEIR_API void weir_report_(weir_examination *examination, const struct weir_check *row, const char *const *texts);
#define weir_report(examination, row, ...)                                                                             \
    weir_report_((examination), (row), (const char *const[]){ __VA_ARGS__, NULL })
/* A place for what the calls of one kind of connector share in one examination, such as a client. NULL in the beginning;
 * `end` is called for what it holds when the examination is over. NULL when there is no memory. */
WEIR_API void **weir_examination_shared(weir_examination *examination, const char *kind, void (*end)(void *shared));

/* 128-bit sum, modulo 2^128, of record hashes: order does not matter, so several subtasks can add up. */
struct weir_digest {
    uint64_t low, high;
};
/* Hash of one output record: key, value and headers, null apart from empty (XXH3 128 over a length-prefixed encoding).
 * Time is left out, because a broker may assign it. */
WEIR_API struct weir_digest weir_digest_record(const struct weir_record *record);
static inline void weir_digest_add(struct weir_digest *sum, struct weir_digest more)
{
    sum->low += more.low;
    sum->high += more.high + (sum->low < more.low);
}

/* MurmurHash2 as Kafka's Java client computes it (2.0 seed 0x9747b28c), for key partitioning compatible with Java. */
WEIR_API uint32_t weir_murmur2(struct weir_bytes bytes);

/* ---- Sources ------------------------------------------------------------------------------------------------------- */

#define WEIR_POSITION_NONE INT64_MIN

/* A part of a source that is read in order: a Kafka partition, a file. */
struct weir_split {
    const char *name;     /* unique within the source, stable: "topic/partition" */
    const char *identity; /* tells a re-created thing of the same name from the old one (topic id); "" when unknown */
    int64_t position;     /* the next record to read */
    int64_t end;          /* first one not to read any more; WEIR_POSITION_NONE = unbounded */
};

struct weir_splits {
    size_t count;
    struct weir_split *items;
};
/* Appends a copy of `split`, names too. False when out of memory. */
WEIR_API bool weir_splits_add(struct weir_splits *splits, const struct weir_split *split);
WEIR_API const struct weir_split *weir_splits_find(const struct weir_splits *splits, const char *name);
WEIR_API void weir_splits_clear(struct weir_splits *splits); /* frees everything it holds */

/* A batch that a reader fills. */
typedef struct weir_batch weir_batch;
/* Copies `record` (headers too) into the batch. False when the batch is full: the record was not taken, return from
 * poll. Owner: the task thread inside reader_poll. */
WEIR_API bool weir_batch_add(weir_batch *batch, const struct weir_record *record);
/* Bytes and records that the batch would still take gladly; a record larger than a whole batch is taken when alone. */
WEIR_API bool weir_batch_is_full(const weir_batch *batch);

enum weir_poll {
    WEIR_POLL_MORE,    /* added records, and there may be more at once */
    WEIR_POLL_IDLE,    /* nothing more now: the wake function will be called when there is */
    WEIR_POLL_ENDED,   /* every split has reached its end; stays so unless a split is added */
    WEIR_POLL_FAILED,  /* see *error */
};

/* Wakes the task that owns a reader or writer. Any thread, cheap, may be called too often. */
struct weir_waker {
    void (*wake)(void *user);
    void *user;
};

struct weir_source_type {
    size_t size;
    const char *kind; /* "kafka" */

    /* What can be told from options and configuration alone, before anything is opened: WEIR_OK, or WEIR_USAGE with a
     * sentence. May be NULL. */
    enum weir_code (*check)(const void *options, const weir_config *config, struct weir_error *error);
    /* Looks at what open and the rest will need, and reports what is wrong. Touches nothing, opens nothing that stays. A
     * thread of its own, beside those of open. May be NULL. */
    void (*examine)(const void *options, const struct weir_connector_context *context, weir_examination *examination);
    /* Environment thread. `options` is what was given to weir_source(); the copy lives as long as the graph. */
    enum weir_code (*open)(const void *options, const struct weir_connector_context *context, void **source,
                           struct weir_error *error);
    /* Environment thread; again every `source.discovery.interval`. Fills `found` with every split that exists now.
     * `known` are the splits that the job already has. A split in `found` that is not in `known` carries a position
     * resolved to a number: the configured start when `founding` is true, its earliest record otherwise. A known split
     * whose identity changed, that is gone, or whose position is out of range, is an error (POSITION_LOST), checked
     * when `verify` is true (a start); R4 and R6 of the commit protocol. With context.bounded every split, known ones
     * too, carries its end. May be given up early when `*cancelled` becomes true (read it
     * with __atomic_load_n: another thread writes it). */
    enum weir_code (*discover)(void *source, const struct weir_splits *known, bool founding, bool verify,
                               const volatile bool *cancelled, struct weir_splits *found, struct weir_error *error);
    void (*close)(void *source);
    /* Name of the cluster when its decider can commit positions with the transaction; NULL = it cannot. Compared with
     * the decider's own. */
    const char *(*cluster)(void *source);
    /* After the decision, for positions the transaction could not carry (another cluster): for lag tools only, errors
     * are logged. Environment thread. May be NULL. */
    void (*committed)(void *source, const struct weir_splits *positions);

    /* Task thread. */
    enum weir_code (*reader_open)(void *source, uint32_t subtask_index, struct weir_waker waker, void **reader,
                                  struct weir_error *error);
    enum weir_code (*reader_add)(void *reader, const struct weir_split *split, struct weir_error *error);
    enum weir_poll (*reader_poll)(void *reader, weir_batch *batch, struct weir_error *error);
    /* Appends the position of each of its splits: the first record that no poll has handed over yet. */
    bool (*reader_positions)(void *reader, struct weir_splits *positions);
    /* A cut: do not read `split_name` at or past `end`. Takes effect at the next poll; WEIR_POSITION_NONE lifts it.
     * False when the split is not this reader's or is past `end` already. */
    bool (*reader_limit)(void *reader, const char *split_name, int64_t end);
    /* Records that are waiting, as far as known without asking anybody; -1 = unknown. */
    int64_t (*reader_lag)(void *reader);
    void (*reader_close)(void *reader);

    /* Who decides for jobs that touch this system; NULL = anybody. */
    const struct weir_decider_type *decider;

    /* Task thread. The same as reader_lag, split by split: `each` gets every split of the reader. May be NULL. */
    void (*reader_lags)(void *reader, void (*each)(void *user, const char *split, int64_t lag), void *user);
};

struct weir_source_options {
    WEIR_OPERATOR_FIELDS; /* open, close and user are unused */
    const struct weir_source_type *type;
    const void *options; /* copied, `options_size` bytes; strings in it must outlive the graph: see weir_graph_text */
    size_t options_size;
};
WEIR_API struct weir_stream weir_source_(weir_graph *graph, const struct weir_source_options *options);
#define weir_source(graph, ...)                                                                                        \
    weir_source_((graph), &(struct weir_source_options){ .size = sizeof(struct weir_source_options), __VA_ARGS__ })

/* A copy of `text` that lives as long as the graph (NULL stays NULL). */
WEIR_API const char *weir_graph_text(weir_graph *graph, const char *text);
/* Reports a mistake in the options of a connector; the graph keeps the first one. */
WEIR_API void weir_graph_mistake(weir_graph *graph, const char *format, ...) WEIR_PRINTF(2, 3);

/* ---- Sinks --------------------------------------------------------------------------------------------------------- */

/* What one sink subtask wrote in one epoch to one output partition. */
struct weir_output_total {
    char name[264];  /* "topic/partition" */
    uint64_t count;
    struct weir_digest digest;
};
struct weir_output_totals {
    size_t count;
    struct weir_output_total *items;
    uint64_t dead_letters; /* of all these, records that were meant for another output, which does not take them */
};
/* Adds to the row of `name`, made when missing. Rows are kept sorted by name (strcmp). False when out of
 * memory. */
WEIR_API bool weir_output_totals_add(struct weir_output_totals *totals, const char *name, uint64_t count,
                                     struct weir_digest digest);
WEIR_API void weir_output_totals_clear(struct weir_output_totals *totals);

struct weir_sink_type {
    size_t size;
    const char *kind;

    /* As a source's. May be NULL. */
    void (*examine)(const void *options, const struct weir_connector_context *context, weir_examination *examination);
    /* Environment thread. `decider` is the job's decider when its type is this sink's, else NULL. */
    enum weir_code (*open)(const void *options, const struct weir_connector_context *context, void *decider,
                           void **sink, struct weir_error *error);
    void (*close)(void *sink);

    /* Task thread. A writer begins in the epoch `epoch` and holds records back until writer_proceed(epoch). */
    enum weir_code (*writer_open)(void *sink, uint32_t subtask_index, uint64_t epoch, struct weir_waker waker,
                                  void **writer, struct weir_error *error);
    /* False when the writer cannot take a record now: the waker is called when it can. Asked before each record. */
    bool (*writer_room)(void *writer);
    /* Takes a copy of `record`, or sends it. Records of one partition keep their order. */
    enum weir_code (*writer_write)(void *writer, const struct weir_record *record, struct weir_error *error);
    /* Barrier of `epoch`: what is written from now on belongs to epoch + 1 and is held back until
     * writer_proceed(epoch + 1). Adds what the epoch wrote to `totals`. */
    enum weir_code (*writer_prepare)(void *writer, uint64_t epoch, struct weir_output_totals *totals,
                                     struct weir_error *error);
    /* Everything of the epochs before `epoch` is flushed and its transaction (if any) is open: send what is held. */
    enum weir_code (*writer_proceed)(void *writer, uint64_t epoch, struct weir_error *error);
    /* `epoch` was decided: its output is visible now. May be NULL. */
    void (*writer_committed)(void *writer, uint64_t epoch);
    /* Work outside of writes (send what is held, look for failures); called when woken and now and then. May be NULL. */
    enum weir_code (*writer_tick)(void *writer, struct weir_error *error);
    uint64_t (*writer_bytes_unflushed)(void *writer); /* of the open epoch; may be NULL */
    void (*writer_close)(void *writer);

    const struct weir_decider_type *decider; /* NULL = works with any */

    /* What it writes to, as the names of its totals begin in front of their '/': a topic. NULL = records choose. The
     * function may be NULL. */
    const char *(*output)(void *sink);
};

struct weir_sink_options {
    WEIR_OPERATOR_FIELDS; /* open, close and user are unused */
    const struct weir_sink_type *type;
    const void *options;
    size_t options_size;
};
WEIR_API void weir_sink_(struct weir_stream input, const struct weir_sink_options *options);
#define weir_sink(input, ...)                                                                                          \
    weir_sink_((input), &(struct weir_sink_options){ .size = sizeof(struct weir_sink_options), __VA_ARGS__ })

/* ---- The decider: whose commit is the decision --------------------------------------------------------------------- */

/* One record of the ledger as bytes; what they mean is the core's business (weir_ledger_decode). */
struct weir_ledger_record {
    struct weir_bytes key, value;
    int64_t offset; /* where it stands in the ledger; -1 when the ledger has no offsets */
};

/* A position as the outside world remembers it (the group's committed offsets). */
struct weir_mirror {
    char split[264];
    int64_t position;
    char metadata[208]; /* names the checkpoint; "" = somebody else wrote it */
};

enum weir_decider_event_type {
    WEIR_DECIDER_LOOKED,    /* answers look: records and mirrors, as they are without waiting for open transactions */
    WEIR_DECIDER_FENCED,    /* answers fence: every earlier owner is fenced, every earlier transaction decided */
    WEIR_DECIDER_READ,      /* answers read: records and mirrors, committed ones only */
    WEIR_DECIDER_ANNOUNCED, /* answers announce */
    WEIR_DECIDER_BEGUN,     /* answers begin */
    WEIR_DECIDER_FLUSHED,   /* answers flush; anchors when asked for */
    WEIR_DECIDER_READY,     /* answers offsets */
    WEIR_DECIDER_COMMITTED, /* answers commit: decided. `renew`: a request was repeated, the handle must be renewed */
    WEIR_DECIDER_RENEWED,   /* answers renew */
    WEIR_DECIDER_DISCARDED, /* answers discard */
    WEIR_DECIDER_FINISHED,  /* answers finish: everything committed is visible */
    WEIR_DECIDER_FAILED,    /* instead of any answer, or on its own: an error with remedy STOP ends the job; anything else
                               rolls back and finds the truth in the ledger */
};

struct weir_anchor {
    char output[264];
    int64_t end; /* end offset of the output partition after the flush of `epoch`, before anything of the next */
};

#define WEIR_HANDLE_NONE UINT32_MAX

/* Posted by the decider's threads; arrays belong to the event and are freed by the receiver with
 * weir_decider_event_clear. They are malloc'ed, and so is the data of each record's key and value (or NULL, or null). */
struct weir_decider_event {
    enum weir_decider_event_type type;
    uint32_t attempt; /* of the call it answers: answers to an earlier attempt are ignored */
    uint64_t epoch;
    uint32_t handle; /* FAILED: WEIR_HANDLE_NONE when it is look or read that failed */
    bool renew;
    size_t record_count;
    struct weir_ledger_record *records; /* oldest first; the last one is the pointer */
    size_t mirror_count;
    struct weir_mirror *mirrors;
    size_t anchor_count;
    struct weir_anchor *anchors;
    struct weir_error error;
};
WEIR_API void weir_decider_event_clear(struct weir_decider_event *event);

struct weir_decider_options {
    const struct weir_connector_context *context;
    const char *slot;    /* "0": the instance's place; part of every transactional id and ledger key */
    uint32_t ring_size;  /* number of handles, taking turns */
    const char *store_directory; /* for deciders that keep their pointer beside the checkpoints */
    /* Options of the first sink (or source) that asked for this type: where the cluster is. */
    const void *connector_options;
    /* Takes the event's contents over; any thread. */
    void (*post)(void *user, struct weir_decider_event *event);
    void *post_user;
};

/* All calls but open and close: job thread, never block, and are answered by exactly one event, in the order of calls
 * for one handle. `attempt` comes back in the answer. Arguments are copied.
 *
 *   look -> fence -> read -> announce -> { begin(n) ... flush(n) -> offsets(n) -> commit(n) [-> renew] } -> finish
 *                                   any failure: discard -> look -> ...
 *
 * A look may come at any time, also while a transaction is open. */
struct weir_decider_type {
    size_t size;
    const char *kind;
    bool needs_prepared_frame; /* frames must be durable before commit (R3); a store inside the transaction: false */

    /* As a source's; `post` and the store are not there yet. May be NULL. */
    void (*examine)(const struct weir_decider_options *options, weir_examination *examination);
    /* Environment thread. Checks what can be checked (ledger settings, time-outs against the broker's limits). */
    enum weir_code (*open)(const struct weir_decider_options *options, void **decider, struct weir_error *error);
    void (*close)(void *decider);
    const char *(*cluster)(void *decider);

    void (*look)(void *decider, uint32_t attempt);
    /* Takes over the ids 0..max(ring_size, handles_named)-1, `handles_named` being what the ledger names (R10): the one
     * that announces first, the others when it is taken (R8). */
    void (*fence)(void *decider, uint32_t attempt, uint32_t handles_named);
    void (*read)(void *decider, uint32_t attempt);
    /* Commits the incarnation record alone (R7). When a request was repeated meanwhile: FAILED with REPLAY, because the
     * handle must be made anew, and all may have been taken over by another start before that (R5). */
    void (*announce)(void *decider, uint32_t attempt, struct weir_bytes key, struct weir_bytes value);
    void (*begin)(void *decider, uint32_t attempt, uint32_t handle, uint64_t epoch);
    /* The ledger record goes into the transaction, and everything in it is flushed. */
    void (*flush)(void *decider, uint32_t attempt, uint32_t handle, uint64_t epoch, struct weir_bytes ledger_key,
                  struct weir_bytes ledger_value, bool anchors);
    /* Positions of splits on the decider's cluster, into the transaction, each with `metadata`. Called after FLUSHED of
     * this epoch and COMMITTED of the one before (R1). */
    void (*offsets)(void *decider, uint32_t attempt, uint32_t handle, uint64_t epoch,
                    const struct weir_splits *positions, const char *metadata);
    void (*commit)(void *decider, uint32_t attempt, uint32_t handle, uint64_t epoch);
    void (*renew)(void *decider, uint32_t attempt, uint32_t handle);
    /* Gives all handles up, whatever they are doing; nothing uncommitted survives the next fence. */
    void (*discard)(void *decider, uint32_t attempt);
    /* Ends with an init on the ids: when it answers, everything committed is visible. */
    void (*finish)(void *decider, uint32_t attempt);
};

/* ---- The ledger's records ------------------------------------------------------------------------------------------ */

/* DROPPED: the history ended with `frame`, and nothing of it was kept: the job was cancelled, and had been told so. */
enum weir_ledger_kind { WEIR_LEDGER_COMMIT, WEIR_LEDGER_INCARNATION, WEIR_LEDGER_DROPPED };

struct weir_ledger_range {
    char source[72];  /* operator name */
    char split[264];
    int64_t begin;    /* first record of the epoch */
    int64_t end;      /* first record after it */
};

/* Where a frame lies and what it must look like. */
struct weir_frame_name {
    uint64_t incarnation;
    uint64_t epoch;
    char file[64];
    uint64_t offset;
    uint64_t length;
    uint64_t hash;
};

struct weir_ledger_entry {
    enum weir_ledger_kind kind;
    char store[40]; /* store id */
    char job[72];
    char slot[16];
    uint64_t incarnation; /* of the writer; an incarnation record's is newer than its frame's */
    uint64_t epoch;
    struct weir_frame_name frame;
    struct weir_frame_name parent; /* epoch chain, without the frame's file: incarnation and epoch only */
    uint32_t handle_count;
    uint64_t plan_hash;
    char build[40];
    int64_t wall_ms;
    bool exactly_once;
    size_t range_count;
    struct weir_ledger_range *ranges;
    size_t total_count;
    struct weir_output_total *totals; /* cumulative since epoch 0 */
    uint64_t anchor_epoch; /* 0 = no anchors here */
    size_t anchor_count;
    struct weir_anchor *anchors;
    char origin[40]; /* id of the savepoint that this history was founded from; "" = none */
};

/* Encodes into malloc'ed bytes (free data). False when out of memory. */
WEIR_API bool weir_ledger_encode(const struct weir_ledger_entry *entry, struct weir_bytes *bytes);
/* Decodes; every length is checked. Names what is wrong. Clear the entry afterwards also on failure. */
WEIR_API enum weir_code weir_ledger_decode(struct weir_bytes bytes, struct weir_ledger_entry *entry,
                                           struct weir_error *error);
WEIR_API void weir_ledger_entry_clear(struct weir_ledger_entry *entry);

#ifdef __cplusplus
}
#endif

#endif
