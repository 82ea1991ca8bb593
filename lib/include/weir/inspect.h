/* Looking into checkpoints and savepoints, without the job that wrote them: what is retained, whether it is whole, and
 * every entry of every state. Reads only, and may be used while the job runs; a checkpoint that the running job deletes
 * meanwhile answers WEIR_ENVIRONMENT with remedy RETRY.
 *
 *     weir_inspect_open ─> weir_inspect_checkpoint (0, 1, ... newest first)
 *                      └─> weir_inspect_state (0, 1, ...), weir_inspect_begin ─> weir_inspect_next ... until false
 *     weir_inspect_close
 *
 * A handle belongs to one thread at a time. Texts and bytes that a call answers are borrowed: those of an entry until the
 * next call, all others until the handle is closed. */
#ifndef WEIR_INSPECT_H
#define WEIR_INSPECT_H

#include "weir/weir.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct weir_inspector weir_inspector;
struct weir_frame_name;

struct weir_inspect_store {
    const char *path;
    const char *id;
    const char *job;
    const char *slot;
    bool is_decided; /* the newest checkpoint is known to be committed. Otherwise it was written last, and the ledger
                        knows whether it was committed; those before it were */
};

struct weir_inspect_options {
    size_t size;
    const char *path;      /* what holds the file `store`: DIR/JOB of a job with --checkpoint-dir DIR */
    uint64_t epoch;        /* of the checkpoint to look at; 0 = the newest */
    uint64_t memory_bytes; /* about how much state may be in memory at a time; 0 = 256 MiB */
    /* Answers what the job has committed last, as its ledger names it (weir/connector.h); asked again when files have
     * vanished meanwhile. NULL = as the directory shows it. */
    enum weir_code (*newest)(void *user, const struct weir_inspect_store *store, struct weir_frame_name *newest,
                             struct weir_error *error);
    void *newest_user;
};

/* WEIR_ENVIRONMENT: there is no checkpoint (of that epoch), or no right to read it. WEIR_DAMAGED: the one asked for cannot
 * be restored; the sentence names the file. WEIR_FOREIGN: a newer program wrote it. */
WEIR_API enum weir_code weir_inspect_open_(const struct weir_inspect_options *options, weir_inspector **inspector,
                                           struct weir_error *error);
#define weir_inspect_open(inspector, error, ...)                                                                       \
    weir_inspect_open_(&(struct weir_inspect_options){ .size = sizeof(struct weir_inspect_options), __VA_ARGS__ },     \
                       (inspector), (error))
WEIR_API void weir_inspect_close(weir_inspector *inspector); /* NULL is allowed */

/* ---- Checkpoints --------------------------------------------------------------------------------------------------- */

WEIR_API void weir_inspect_store(const weir_inspector *inspector, struct weir_inspect_store *store);

struct weir_inspect_checkpoint {
    uint64_t incarnation, epoch;
    uint64_t parent_incarnation, parent_epoch; /* 0, 0: the first one */
    int64_t wall_ms;                           /* when it was written; milliseconds since 1970 */
    const char *program, *build;
    uint64_t plan_hash;
    uint32_t max_parallelism;
    bool exactly_once;
    bool is_complete;  /* all inputs had ended, and everything is in it */
    const char *file;  /* the log in which its frame lies */
    uint64_t offset, frame_bytes;
    uint64_t redo_epoch; /* restoring reads the bases, and the frames above it: */
    uint64_t replay_count, replay_bytes;
    uint64_t base_count, base_bytes;
    uint64_t flight_records; /* that an unaligned barrier has overtaken: a start processes them first */
};

/* The retained checkpoint `index`, newest first. False behind the last one. */
WEIR_API bool weir_inspect_checkpoint(const weir_inspector *inspector, size_t index,
                                      struct weir_inspect_checkpoint *checkpoint);
/* The one that is looked at: as `epoch` chose it. */
WEIR_API void weir_inspect_chosen(const weir_inspector *inspector, struct weir_inspect_checkpoint *checkpoint);

/* Where the job goes on to read when it begins with the checkpoint that is looked at. */
struct weir_inspect_position {
    const char *source;   /* its operator */
    const char *cluster;  /* where it reads; "" when that has no name */
    const char *split;    /* "topic/partition" */
    int64_t position;     /* the next record */
};
/* By source. False behind the last one. */
WEIR_API bool weir_inspect_position(const weir_inspector *inspector, size_t index, struct weir_inspect_position *position);

struct weir_inspect_report {
    uint64_t checkpoints; /* retained ones: all that they need is there */
    uint64_t frames, frame_bytes;
    uint64_t bases, base_bytes;
    uint64_t entries;  /* of the newest one's state, which was restored on trial */
    uint64_t problems;
};

/* Checks every byte that a retained checkpoint names, by length and hash, and restores the newest one on trial. `print`
 * (may be NULL) takes a sentence for each problem, without a newline. WEIR_DAMAGED when there was one; otherwise as
 * weir_inspect_open. */
WEIR_API enum weir_code weir_inspect_verify(const struct weir_inspect_options *options,
                                            void (*print)(void *user, const char *line), void *user,
                                            struct weir_inspect_report *report, struct weir_error *error);

/* ---- State --------------------------------------------------------------------------------------------------------- */

struct weir_inspect_state {
    const char *operator_name;
    const char *name;
    enum weir_state_kind kind;
    enum weir_codec codec;
    const char *object;        /* name of the form of objects; "" for other codecs */
    uint32_t value_size_bytes; /* of fixed codecs */
    uint32_t version;
    uint64_t born_epoch;       /* the first epoch in which it was declared */
    int64_t expires_since_ms;  /* when its values began to expire, by the job's clock; 0 = they do not */
};
WEIR_API const char *weir_state_kind_name(enum weir_state_kind kind); /* "value" */
WEIR_API const char *weir_codec_name(enum weir_codec codec);          /* "i64" */

/* By operator, then by name. False behind the last one. */
WEIR_API bool weir_inspect_state(const weir_inspector *inspector, size_t index, struct weir_inspect_state *state);

/* A value, an element of a list, or an entry of a map. State of the operator itself is a list or a map of each subtask. */
struct weir_inspect_entry {
    size_t state; /* index */
    uint32_t key_group;
    struct weir_bytes key;
    bool is_own;                  /* of the operator itself, whose subtask has it; `key` means nothing then */
    uint32_t subtask;
    struct weir_bytes name_space; /* unset = none */
    struct weir_bytes element;    /* of maps: the entry's key; otherwise unset */
    uint64_t position;            /* of lists: from 0 */
    bool is_first;                /* of this key and name space in this state */
    struct weir_bytes value;      /* as it is written */
    uint32_t version;             /* of the value: older than its state's until it is used */
    int64_t touched_ms;           /* of what expires: when that was counted from; otherwise WEIR_TIME_UNSET. What has expired and
                                     was not taken away yet is here, too */
};

/* What to look at: what is unset matches everything. */
struct weir_inspect_filter {
    const char *operator_name;
    const char *state;
    struct weir_bytes key;
};

/* Begins to read entries, or begins anew. They come by operator, key group, state, key, name space, and then as a job would
 * walk over them: the same state always comes in the same order. Only some key groups are in memory at a time.
 * WEIR_USAGE when there is no such operator or state. `filter` may be NULL; it is borrowed until the end. */
WEIR_API enum weir_code weir_inspect_begin(weir_inspector *inspector, const struct weir_inspect_filter *filter,
                                           struct weir_error *error);
/* False at the end, or when error->code is not WEIR_OK. */
WEIR_API bool weir_inspect_next(weir_inspector *inspector, struct weir_inspect_entry *entry, struct weir_error *error);

/* Below 0, 0 or above 0: which of two entries, of two inspectors of one job, comes first. Equal: they are the same value,
 * element or map entry, whatever it holds. */
WEIR_API int weir_inspect_order(const weir_inspector *a, const struct weir_inspect_entry *entry_a,
                                const weir_inspector *b, const struct weir_inspect_entry *entry_b);

#ifdef __cplusplus
}
#endif

#endif
