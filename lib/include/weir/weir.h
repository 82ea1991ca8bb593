/* Weir: exactly-once stream processing on Apache Kafka. Everything the author of a job needs.
 *
 *     source ──> process ──> key_by ──> aggregate ──> sink            a graph is declared once, in `define`;
 *        │                                  │           │             the runtime cuts it into chains, gives each
 *     positions                           state       output          chain to `parallelism` tasks, and commits
 *        └────────── move together, in one commit ──────┘             positions, state and output as one.
 *
 * Reading order: bytes, errors, records, streams, operators, state, configuration, running a job.
 *
 * Conventions
 *   Struct options are zero-initialised with designated fields; a call copies what it needs of them, strings included.
 *   The macros with a list of fields (`weir_map(stream, .name = "m", .map = f)`) fill in `size`; the functions with a
 *   trailing underscore stand beneath, for C++ and for bindings.
 *   Streams are small values that nobody frees. Builder calls cannot fail: the graph keeps the first mistake with a
 *   sentence that says what to do, and running the graph reports it.
 *   A `struct weir_bytes` is borrowed: valid until the callback that received it returns, unless said otherwise.
 *   Callbacks of one subtask run on one thread; two subtasks of one operator share nothing but `.user`. */
#ifndef WEIR_WEIR_H
#define WEIR_WEIR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if defined(WEIR_STATIC) || !defined(__GNUC__)
#define WEIR_API
#else
#define WEIR_API __attribute__((visibility("default")))
#endif

#if defined(__GNUC__)
#define WEIR_PRINTF(format_index, first_index) __attribute__((format(printf, format_index, first_index)))
#else
#define WEIR_PRINTF(format_index, first_index)
#endif

#ifdef __cplusplus
extern "C" {
#endif

#define WEIR_VERSION "0.1.0"

/* ---- Bytes --------------------------------------------------------------------------------------------------------- */

/* A borrowed run of bytes. Three cases are told apart:
 *   unset   data == NULL                 "not given": an emit inherits the field from its input
 *   null    data == weir_null_data       Kafka's null (a tombstone when it is a value); size is 0
 *   value   anything else                size may be 0: empty is not null */
struct weir_bytes {
    const char *data;
    size_t size;
};

WEIR_API extern const char weir_null_data[1];

#ifdef __cplusplus
#define WEIR_NULL (weir_bytes{ weir_null_data, 0 })
#define WEIR_EMPTY (weir_bytes{ "", 0 })
#else
#define WEIR_NULL ((struct weir_bytes){ weir_null_data, 0 })
#define WEIR_EMPTY ((struct weir_bytes){ "", 0 })
#endif

static inline bool weir_is_set(struct weir_bytes bytes) { return bytes.data != NULL; }
static inline bool weir_is_null(struct weir_bytes bytes) { return bytes.data == weir_null_data; }

/* The bytes of a C string, without its NUL. `text` must not be NULL. */
WEIR_API struct weir_bytes weir_text(const char *text);
WEIR_API bool weir_bytes_equal(struct weir_bytes a, struct weir_bytes b); /* null equals null only */

/* The first `wanted` in [at, end), or `end`. */
static inline const char *weir_find_(const char *at, const char *end, char wanted)
{
#if defined(__GNUC__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    /* Eight bytes at a time, by Mycroft's test for a zero byte. */
    const uint64_t ones = UINT64_C(0x0101010101010101);
    for (; end - at >= 8; at += 8) {
        uint64_t bytes;
        __builtin_memcpy(&bytes, at, 8);
        bytes ^= ones * (unsigned char)wanted;
        const uint64_t found = (bytes - ones) & ~bytes & ones << 7;
        if (found != 0) return at + __builtin_ctzll(found) / 8;
    }
#endif
    while (at < end && *at != wanted) at++;
    return at;
}

/* Cuts the next token at runs of `separator` off the front of `*rest`. False when nothing but separators is left. Inline,
 * because words are short and there are many of them. */
static inline bool weir_bytes_token(struct weir_bytes *rest, char separator, struct weir_bytes *token)
{
    const char *at = rest->data, *const end = at + rest->size;
    while (at < end && *at == separator) at++;
    const char *const stop = weir_find_(at, end, separator);
    token->data = at;
    token->size = (size_t)(stop - at);
    rest->data = stop;
    rest->size = (size_t)(end - stop);
    return stop > at;
}

/* How many bytes the UTF-8 character at the front of `bytes` has, 1 to 4; 0 = none is there, or what is no UTF-8: overlong
 * forms and halves of surrogates among them (Unicode 15, table 3-7). */
WEIR_API size_t weir_utf8_size(struct weir_bytes bytes);

/* Decimal text to a number; the whole of `bytes` must be the number. */
WEIR_API bool weir_bytes_to_i64(struct weir_bytes bytes, int64_t *number);

/* ---- Errors -------------------------------------------------------------------------------------------------------- */

/* One row for each code: name, exit status of a program that ends with it, short text. */
#define WEIR_CODES(X)                                                                                                  \
    X(OK, 0, "ok")                                                                                                     \
    X(FAILED, 1, "failed for good")                                                                                    \
    X(USAGE, 2, "usage or configuration")                                                                              \
    X(FENCED, 3, "another instance of this job took over")                                                             \
    X(DAMAGED, 4, "damaged checkpoint")                                                                                \
    X(POSITION_LOST, 5, "source position lost")                                                                        \
    X(OUT_OF_PATIENCE, 6, "out of patience")                                                                           \
    X(ENVIRONMENT, 7, "environment: rights, disk, missing topic")                                                      \
    X(FOREIGN, 8, "the job belongs to another store or plan")                                                          \
    X(NO_MEMORY, 1, "out of memory")

enum weir_code {
#define WEIR_CODE_ENUM(name, exit_status, text) WEIR_##name,
    WEIR_CODES(WEIR_CODE_ENUM)
#undef WEIR_CODE_ENUM
};

/* What the supervisor does about an error. */
enum weir_remedy {
    WEIR_REMEDY_STOP,   /* nothing automatic can help: the job ends with the code's exit status */
    WEIR_REMEDY_REPLAY, /* roll back to the last commit and replay, as the restart strategy allows */
    WEIR_REMEDY_RETRY,  /* the same call may succeed later */
};

/* An error answers "what do I do now". `text` is a sentence for a person: what, where, what to do. */
struct weir_error {
    enum weir_code code;
    enum weir_remedy remedy;
    char text[1000];
};

WEIR_API const char *weir_code_name(enum weir_code code); /* "FENCED" */
WEIR_API const char *weir_code_text(enum weir_code code);
WEIR_API int weir_code_exit_status(enum weir_code code);

/* Fills `*error` (ignored when NULL) and returns `code`, so that a failing function ends in one line. */
WEIR_API enum weir_code weir_error_set(struct weir_error *error, enum weir_code code, enum weir_remedy remedy,
                                       const char *format, ...) WEIR_PRINTF(4, 5);
/* Puts "context: " before the sentence while an error rises, unless it begins so already. Returns error->code. */
WEIR_API enum weir_code weir_error_wrap(struct weir_error *error, const char *format, ...) WEIR_PRINTF(2, 3);

/* ---- Records ------------------------------------------------------------------------------------------------------- */

#define WEIR_TIME_UNSET INT64_MIN /* milliseconds since 1970 otherwise */

enum weir_time_type { WEIR_TIME_NONE, WEIR_TIME_CREATE, WEIR_TIME_APPEND };

struct weir_header {
    const char *name; /* NUL-terminated */
    struct weir_bytes value;
};

/* Headers in the order of the record. A name may occur more than once. */
struct weir_headers {
    size_t count;
    const struct weir_header *items;
};

struct weir_record {
    struct weir_bytes key;
    struct weir_bytes value;
    int64_t time_ms; /* event time; WEIR_TIME_UNSET when the record has none */
    const struct weir_headers *headers; /* NULL when there are none */
    enum weir_time_type time_type;
    uint32_t key_hash; /* the runtime's: valid behind a key_by */
};

/* ---- Graph and streams --------------------------------------------------------------------------------------------- */

typedef struct weir_graph weir_graph;
typedef struct weir_config weir_config;
typedef struct weir_job weir_job;
typedef struct weir_task weir_task;             /* one subtask of an operator, as its callbacks see it */
typedef struct weir_keyed_task weir_keyed_task; /* the same behind a key_by: has a current key and keyed state */

/* Two different types, so that keyed state on an unkeyed stream does not compile. */
struct weir_stream {
    weir_graph *graph;
    uint32_t node;   /* index of the operator that produces it */
    uint32_t output; /* 0 = main output, 1.. = side outputs in the order of `.outputs` */
    uint8_t exchange; /* enum weir_exchange: how the next operator receives it */
};

struct weir_keyed_stream {
    weir_graph *graph;
    uint32_t node;
    uint32_t output;
};

enum weir_exchange {
    WEIR_EXCHANGE_AUTO,      /* forward when both sides have the same parallelism, else rebalance */
    WEIR_EXCHANGE_FORWARD,   /* subtask i to subtask i */
    WEIR_EXCHANGE_REBALANCE, /* round robin, a batch at a time */
    WEIR_EXCHANGE_BROADCAST, /* everything to everyone */
    WEIR_EXCHANGE_KEY_GROUP, /* by hash of the key (what weir_key_by asks for) */
};

/* Operators that want fewer outputs than this end their list with NULL. */
#define WEIR_OUTPUTS_MAX 8
#define WEIR_STATES_MAX 16

/* A side output: declare it static, name it in `.outputs`, emit to it, and read it with weir_side_output. */
struct weir_output {
    const char *name;
};

/* The empty graph; `weir_main` and weir_job_create do this for you. */
WEIR_API weir_graph *weir_graph_create(void);
WEIR_API void weir_graph_destroy(weir_graph *graph);

/* The first mistake of the builder calls so far: WEIR_OK, or WEIR_USAGE with the sentence. */
WEIR_API enum weir_code weir_graph_check(const weir_graph *graph, struct weir_error *error);

/* ---- Emitting ------------------------------------------------------------------------------------------------------ */

/* What an emit gives. Fields that are unset inherit from the record being processed: key, value, time. Headers are
 * passed on only where given. In a callback without an input record (finish, timers) unset means null and no time. */
struct weir_emit_options {
    size_t size;
    struct weir_bytes key;
    struct weir_bytes value;
    int64_t time_ms; /* 0 = inherit; use WEIR_EPOCH_MS for the instant 0 itself */
    const struct weir_headers *headers;
    const struct weir_output *to; /* NULL = main output */
};
#define WEIR_EPOCH_MS INT64_MAX

/* Hands one record downstream, by value. Returns WEIR_OK, or the sticky failure of this task (return it). Task thread. */
WEIR_API enum weir_code weir_emit_(weir_task *task, const struct weir_emit_options *options);
WEIR_API enum weir_code weir_keyed_emit_(weir_keyed_task *task, const struct weir_emit_options *options);
/* The same with nothing but key and value, which then travel in registers. */
WEIR_API enum weir_code weir_emit_pair(weir_task *task, struct weir_bytes key, struct weir_bytes value);
WEIR_API enum weir_code weir_keyed_emit_pair(weir_keyed_task *task, struct weir_bytes key, struct weir_bytes value);
#define weir_emit(task, ...)                                                                                           \
    WEIR_EMIT_BY((task), weir_emit_,                                                                                   \
                 (struct weir_emit_options){ .size = sizeof(struct weir_emit_options), __VA_ARGS__ })
#define weir_keyed_emit(task, ...)                                                                                     \
    WEIR_EMIT_BY((task), weir_keyed_emit_,                                                                             \
                 (struct weir_emit_options){ .size = sizeof(struct weir_emit_options), __VA_ARGS__ })

/* An optimising compiler sees which fields a call gives, and takes the short way where it can. */
#if defined(__GNUC__) && defined(__OPTIMIZE__) && !defined(__cplusplus)
#define WEIR_EMIT_BY(task, emit, ...) emit##in_short(task, __VA_ARGS__)
#define WEIR_IS_PAIR(options)                                                                                          \
    (__builtin_constant_p((options).time_ms == 0 && (options).headers == NULL && (options).to == NULL) &&              \
     (options).time_ms == 0 && (options).headers == NULL && (options).to == NULL)
static inline __attribute__((always_inline)) enum weir_code weir_emit_in_short(weir_task *task,
                                                                               struct weir_emit_options options)
{
    if (WEIR_IS_PAIR(options)) return weir_emit_pair(task, options.key, options.value);
    return weir_emit_(task, &options);
}
static inline __attribute__((always_inline)) enum weir_code weir_keyed_emit_in_short(weir_keyed_task *task,
                                                                                     struct weir_emit_options options)
{
    if (WEIR_IS_PAIR(options)) return weir_keyed_emit_pair(task, options.key, options.value);
    return weir_keyed_emit_(task, &options);
}
#else
#define WEIR_EMIT_BY(task, emit, ...) emit(task, &__VA_ARGS__)
#endif

/* Hands on `record` as it is, headers too. */
WEIR_API enum weir_code weir_forward(weir_task *task, const struct weir_record *record);

/* Text that lives until the callback returns. Never NULL: on failure the task's failure is set and "" returned. */
WEIR_API struct weir_bytes weir_format(void *task, const char *format, ...) WEIR_PRINTF(2, 3);
WEIR_API struct weir_bytes weir_format_i64(void *task, int64_t number); /* decimal text, the fast way */
/* Memory that lives until the callback returns; NULL when there is none (the failure is set). */
WEIR_API void *weir_alloc(void *task, size_t size_bytes);

/* Ends this record's processing with a failure and a sentence; return what it returns. The job rolls back and replays
 * as its restart strategy allows. */
WEIR_API enum weir_code weir_fail(void *task, const char *format, ...) WEIR_PRINTF(2, 3);

/* What a callback knows of its place. `task` is a weir_task or weir_keyed_task. */
WEIR_API void *weir_user(void *task);            /* the operator's `.user` */
WEIR_API void *weir_local(void *task);           /* what `.open` stored for this subtask */
WEIR_API void weir_set_local(void *task, void *local);
WEIR_API uint32_t weir_subtask_index(void *task);
WEIR_API uint32_t weir_subtask_count(void *task);
WEIR_API int64_t weir_now_ms(void *task);        /* the task's clock: read once for each batch */
WEIR_API uint64_t weir_random(void *task);       /* the task's source of randomness */

/* ---- Operators ----------------------------------------------------------------------------------------------------- */

/* Callbacks answer WEIR_OK or a failure (weir_fail). */
typedef enum weir_code weir_process_fn(weir_task *task, const struct weir_record *record);
typedef enum weir_code weir_keyed_process_fn(weir_keyed_task *task, const struct weir_record *record);
typedef enum weir_code weir_open_fn(void *task); /* once for each subtask, before its first record */
typedef void weir_close_fn(void *task);          /* once for each subtask that was opened, also after failures */

/* Changes `*out`, which begins as a copy of `*in`. */
typedef enum weir_code weir_map_fn(weir_task *task, const struct weir_record *in, struct weir_record *out);
typedef bool weir_filter_fn(weir_task *task, const struct weir_record *record);
/* The key of a record: bytes of the record itself, or weir_alloc'ed ones. It becomes the record's key. */
typedef struct weir_bytes weir_key_fn(weir_task *task, const struct weir_record *record);

/* When a keyed operator emits. Readers of committed data cannot tell the difference in time. */
enum weir_emit_mode {
    WEIR_EMIT_EACH,      /* for every input record */
    WEIR_EMIT_ON_COMMIT, /* once for each key that changed in the epoch, right before the commit; the last one wins */
};

/* What to do with records whose key is null when they reach a key_by. */
enum weir_null_key { WEIR_NULL_KEY_FAIL, WEIR_NULL_KEY_DROP };

/* Fields that every operator has. `name` is required, unique in the graph and stable: it is the address of the
 * operator's state. `parallelism` 0 = the job's. */
#define WEIR_OPERATOR_FIELDS                                                                                           \
    size_t size;                                                                                                       \
    const char *name;                                                                                                  \
    uint32_t parallelism;                                                                                              \
    void *user;                                                                                                        \
    weir_open_fn *open;                                                                                                \
    weir_close_fn *close

/* Declared below, under "Keyed state". Operators without keys may list states of the operator itself. */
struct weir_state;

struct weir_map_options {
    WEIR_OPERATOR_FIELDS;
    weir_map_fn *map;
    const struct weir_state *states[WEIR_STATES_MAX];
};
struct weir_filter_options {
    WEIR_OPERATOR_FIELDS;
    weir_filter_fn *filter;
    const struct weir_state *states[WEIR_STATES_MAX];
};
struct weir_process_options {
    WEIR_OPERATOR_FIELDS;
    weir_process_fn *process; /* emits any number of records */
    /* Optional: after the last record of a bounded job, when the end of every source is reached; `record` is NULL. What
     * all subtasks of all operators emit here is committed together, in one epoch. Once that is so it is not called again
     * when the job is started again and nothing has come since: such a start ends at once. With new input the job goes on,
     * and this is called at the new end. */
    weir_process_fn *finish;
    const struct weir_output *outputs[WEIR_OUTPUTS_MAX];
    const struct weir_state *states[WEIR_STATES_MAX];
};
struct weir_key_by_options {
    size_t size;
    weir_key_fn *key; /* NULL = the record's own key */
    void *user;
    enum weir_null_key null_key;
};

WEIR_API struct weir_stream weir_map_(struct weir_stream input, const struct weir_map_options *options);
WEIR_API struct weir_stream weir_filter_(struct weir_stream input, const struct weir_filter_options *options);
WEIR_API struct weir_stream weir_process_(struct weir_stream input, const struct weir_process_options *options);
WEIR_API struct weir_keyed_stream weir_key_by_(struct weir_stream input, const struct weir_key_by_options *options);
#define weir_map(input, ...)                                                                                           \
    weir_map_((input), &(struct weir_map_options){ .size = sizeof(struct weir_map_options), __VA_ARGS__ })
#define weir_filter(input, ...)                                                                                        \
    weir_filter_((input), &(struct weir_filter_options){ .size = sizeof(struct weir_filter_options), __VA_ARGS__ })
#define weir_process(input, ...)                                                                                       \
    weir_process_((input), &(struct weir_process_options){ .size = sizeof(struct weir_process_options), __VA_ARGS__ })
/* The same thing under the name that stream users look for: one record in, any number out. */
#define weir_flat_map(input, ...) weir_process(input, __VA_ARGS__)
#define weir_key_by(...) WEIR_KEY_BY_PICK(__VA_ARGS__)
#define WEIR_KEY_BY_PICK(input, ...)                                                                                   \
    weir_key_by_((input), &(struct weir_key_by_options){ .size = sizeof(struct weir_key_by_options), __VA_ARGS__ })

WEIR_API struct weir_stream weir_rebalance(struct weir_stream stream);
WEIR_API struct weir_stream weir_broadcast(struct weir_stream stream);
WEIR_API struct weir_stream weir_side_output(struct weir_stream stream, const struct weir_output *output);

/* One stream of all records of `count` streams (2 to 16); order is kept within each input only. */
WEIR_API struct weir_stream weir_union_(const struct weir_stream *inputs, size_t count);
#define weir_union(...)                                                                                                \
    weir_union_((struct weir_stream[]){ __VA_ARGS__ },                                                                 \
                sizeof((struct weir_stream[]){ __VA_ARGS__ }) / sizeof(struct weir_stream))

/* Two inputs of different kinds, one operator that sees which input a record came from. Either side may be
 * weir_broadcast. */
struct weir_co_process_options {
    WEIR_OPERATOR_FIELDS;
    weir_process_fn *first;
    weir_process_fn *second;
    weir_process_fn *finish;
    const struct weir_output *outputs[WEIR_OUTPUTS_MAX];
    const struct weir_state *states[WEIR_STATES_MAX];
};
WEIR_API struct weir_stream weir_co_process_(struct weir_stream first, struct weir_stream second,
                                             const struct weir_co_process_options *options);
#define weir_co_process(first, second, ...)                                                                            \
    weir_co_process_((first), (second),                                                                                \
                     &(struct weir_co_process_options){ .size = sizeof(struct weir_co_process_options), __VA_ARGS__ })

/* ---- Keyed state --------------------------------------------------------------------------------------------------- */

/* Which kind for what: lib/state/README.md. */
enum weir_state_kind {
    /* Of the current key. */
    WEIR_STATE_VALUE,
    WEIR_STATE_LIST,        /* in order of addition */
    WEIR_STATE_MAP,         /* in byte order of its keys; one entry is what changes */
    WEIR_STATE_REDUCING,    /* a value into which others are folded by `.reduce` */
    WEIR_STATE_AGGREGATING, /* an accumulator that `.aggregator` fills and reads */
    /* Of the operator itself: what each of its subtasks has. */
    WEIR_STATE_OPERATOR_LIST,  /* at another parallelism, the elements of all subtasks are dealt out evenly */
    WEIR_STATE_OPERATOR_UNION, /* the same; and each subtask is shown, when it begins, what all of them had */
    WEIR_STATE_BROADCAST,      /* a map that is the same in every subtask */
};

/* How values are held and written: those of a state, the elements of a list, the values of a map, accumulators. */
enum weir_codec {
    WEIR_BYTES,
    WEIR_I64,    /* numbers and structs are kept in place and written as they lie in memory (little-endian), */
    WEIR_F64,
    WEIR_STRUCT, /* so a struct must have no pointers */
    WEIR_OBJECT, /* written and read by two functions: structs with pointers, and forms that others know */
};

/* For WEIR_OBJECT: static, named in `.object`. `task` is for weir_alloc and weir_fail. */
struct weir_object {
    const char *name;    /* of the form: stable, checked when a checkpoint is restored */
    uint32_t size_bytes; /* of the struct */
    /* The object as bytes: its own, or weir_alloc'ed. Unset after weir_fail. */
    struct weir_bytes (*encode)(void *task, const void *object);
    /* Fills `object`, which begins as zero bytes; what it points to is weir_alloc'ed, or lies in `bytes`. */
    enum weir_code (*decode)(void *task, struct weir_bytes bytes, void *object);
};

/* What the codec holds, by address: an int64_t, a double, the struct, the object, or a struct weir_bytes. So does every
 * `void *` below that is called value, input, element or object. */
typedef enum weir_code weir_combine_fn(weir_keyed_task *task, void *so_far, const void *value);

/* For WEIR_STATE_AGGREGATING: static, named in `.aggregator`. Inputs and outputs are of your own types. */
struct weir_aggregator {
    enum weir_code (*create)(weir_keyed_task *task, void *accumulator); /* begins as zero bytes; NULL = good as it is */
    enum weir_code (*add)(weir_keyed_task *task, void *accumulator, const void *input);
    enum weir_code (*result)(weir_keyed_task *task, const void *accumulator, void *output);
    enum weir_code (*merge)(weir_keyed_task *task, void *into, const void *from); /* where windows merge; else NULL */
};

/* A value that version `version` of the codec wrote, as the version that is declared now writes it: weir_alloc'ed, or a
 * part of `value`. Unset after weir_fail. */
typedef struct weir_bytes weir_migrate_fn(void *task, uint32_t version, struct weir_bytes value);

/* Time to live: static, named in `.ttl` of a keyed state. A value expires so long after it was touched last; of a list or a
 * map, each element for itself. Time is weir_now_ms, which never goes back, not even from one run of the job to the next. It
 * may be switched on, off or changed between runs: what was written without it counts as touched when it was switched on. */
struct weir_ttl {
    int64_t duration_ms;
    bool on_read;       /* reading touches a value, too, which makes reads as dear as writes; else creating and writing */
    bool shows_expired; /* what has expired is seen until it is cleaned up; else never again */
    /* What has expired is taken away when somebody comes by (but not where it is shown), is left out of bases, and is looked
     * for: at so many places of the operator's tables for each record. 0 = 5. */
    uint32_t clean_up;
};
#define WEIR_TTL_NO_CLEAN_UP UINT32_MAX /* for clean_up: is not looked for */

/* Declares one state of an operator: static, listed in `.states`, so that a checkpoint is checked against the job before
 * anything runs. `name` is unique within the operator and stable. */
struct weir_state {
    const char *name;
    enum weir_state_kind kind;
    enum weir_codec codec;
    uint32_t struct_size_bytes; /* WEIR_STRUCT only */
    const struct weir_object *object; /* WEIR_OBJECT only */
    /* Count up when the form of the values changes, and say in `.migrate` what becomes of older ones. They are changed
     * when they are used, not before: a job with much state starts as fast as ever. */
    uint32_t version;
    weir_migrate_fn *migrate;
    weir_combine_fn *reduce;                  /* WEIR_STATE_REDUCING only */
    const struct weir_aggregator *aggregator; /* WEIR_STATE_AGGREGATING only */
    const struct weir_ttl *ttl;               /* NULL = values stay until they are removed */
};

/* A call that needs memory and has none, or a state that the operator does not list, fails the task: the failure is
 * sticky, so what a call answers then (NULL, false, unset, a code) may be looked at or not. Bytes and pointers that a
 * call answers are good until the next state call of this task or the end of the callback. */

/* Values. In place: created as zero where there is none; counts as changed. */
WEIR_API int64_t *weir_value_i64(weir_keyed_task *task, const struct weir_state *state);
WEIR_API double *weir_value_f64(weir_keyed_task *task, const struct weir_state *state);
WEIR_API void *weir_value_struct(weir_keyed_task *task, const struct weir_state *state);
/* As bytes: unset where there is none. Reading changes nothing. Any codec. */
WEIR_API struct weir_bytes weir_value_get(weir_keyed_task *task, const struct weir_state *state);
/* Copies `value` in. Fixed codecs: its size must be the codec's. */
WEIR_API enum weir_code weir_value_set(weir_keyed_task *task, const struct weir_state *state, struct weir_bytes value);
/* Through the codec. False where there is none; `object` is left as it was then. */
WEIR_API bool weir_value_get_object(weir_keyed_task *task, const struct weir_state *state, void *object);
WEIR_API enum weir_code weir_value_set_object(weir_keyed_task *task, const struct weir_state *state,
                                              const void *object);
WEIR_API void weir_value_clear(weir_keyed_task *task, const struct weir_state *state);

/* Where a walk over a list or a map stands: begin with zero bytes, walk within one callback.
 *
 *     struct weir_iterator at = { 0 };
 *     while (weir_list_next(task, &orders, &at, &order)) ...
 *
 * The state may be changed meanwhile: a walk over a map sees what is there when it comes there, one over a list what was
 * there when it began; a clear ends it. */
struct weir_iterator {
    uint64_t opaque[5];
};

/* Lists. */
WEIR_API enum weir_code weir_list_add(weir_keyed_task *task, const struct weir_state *state, struct weir_bytes element);
WEIR_API enum weir_code weir_list_add_i64(weir_keyed_task *task, const struct weir_state *state, int64_t element);
WEIR_API enum weir_code weir_list_add_f64(weir_keyed_task *task, const struct weir_state *state, double element);
WEIR_API enum weir_code weir_list_add_object(weir_keyed_task *task, const struct weir_state *state,
                                             const void *element);
WEIR_API enum weir_code weir_list_add_all(weir_keyed_task *task, const struct weir_state *state,
                                          const struct weir_bytes *elements, size_t count);
/* Puts `elements` in place of all that the list has; none of them may lie in the list. */
WEIR_API enum weir_code weir_list_update(weir_keyed_task *task, const struct weir_state *state,
                                         const struct weir_bytes *elements, size_t count);
WEIR_API bool weir_list_next(weir_keyed_task *task, const struct weir_state *state, struct weir_iterator *at,
                             struct weir_bytes *element);
WEIR_API bool weir_list_next_object(weir_keyed_task *task, const struct weir_state *state, struct weir_iterator *at,
                                    void *element);
WEIR_API bool weir_list_is_empty(weir_keyed_task *task, const struct weir_state *state);
WEIR_API void weir_list_clear(weir_keyed_task *task, const struct weir_state *state); /* in constant time */

/* Maps. Keys are bytes, not null. */
WEIR_API struct weir_bytes weir_map_get(weir_keyed_task *task, const struct weir_state *state, struct weir_bytes key);
WEIR_API enum weir_code weir_map_put(weir_keyed_task *task, const struct weir_state *state, struct weir_bytes key,
                                     struct weir_bytes value);
WEIR_API bool weir_map_contains(weir_keyed_task *task, const struct weir_state *state, struct weir_bytes key);
WEIR_API void weir_map_remove(weir_keyed_task *task, const struct weir_state *state, struct weir_bytes key);
/* In place, as weir_value_i64. */
WEIR_API int64_t *weir_map_i64(weir_keyed_task *task, const struct weir_state *state, struct weir_bytes key);
WEIR_API double *weir_map_f64(weir_keyed_task *task, const struct weir_state *state, struct weir_bytes key);
WEIR_API void *weir_map_struct(weir_keyed_task *task, const struct weir_state *state, struct weir_bytes key);
WEIR_API bool weir_map_get_object(weir_keyed_task *task, const struct weir_state *state, struct weir_bytes key,
                                  void *object);
WEIR_API enum weir_code weir_map_put_object(weir_keyed_task *task, const struct weir_state *state,
                                            struct weir_bytes key, const void *object);
WEIR_API bool weir_map_next(weir_keyed_task *task, const struct weir_state *state, struct weir_iterator *at,
                            struct weir_bytes *key, struct weir_bytes *value);
WEIR_API bool weir_map_next_object(weir_keyed_task *task, const struct weir_state *state, struct weir_iterator *at,
                                   struct weir_bytes *key, void *object);
WEIR_API bool weir_map_is_empty(weir_keyed_task *task, const struct weir_state *state);
WEIR_API void weir_map_clear(weir_keyed_task *task, const struct weir_state *state); /* in constant time */
/* A number as a key whose byte order is that of the numbers, and back. */
WEIR_API struct weir_bytes weir_key_of_i64(void *task, int64_t number);
WEIR_API int64_t weir_key_to_i64(struct weir_bytes key); /* 0 for a key of another size */

/* Reducing. The first value is taken as it is; the others are folded in by `.reduce`. */
WEIR_API enum weir_code weir_reducing_add(weir_keyed_task *task, const struct weir_state *state, const void *value);
WEIR_API enum weir_code weir_reducing_add_i64(weir_keyed_task *task, const struct weir_state *state, int64_t value);
WEIR_API enum weir_code weir_reducing_add_f64(weir_keyed_task *task, const struct weir_state *state, double value);
WEIR_API bool weir_reducing_get(weir_keyed_task *task, const struct weir_state *state, void *value);
WEIR_API void weir_reducing_clear(weir_keyed_task *task, const struct weir_state *state);

/* Aggregating. False where nothing was added. */
WEIR_API enum weir_code weir_aggregating_add(weir_keyed_task *task, const struct weir_state *state, const void *input);
WEIR_API bool weir_aggregating_get(weir_keyed_task *task, const struct weir_state *state, void *output);
WEIR_API void weir_aggregating_clear(weir_keyed_task *task, const struct weir_state *state);

/* The key being processed. */
WEIR_API struct weir_bytes weir_current_key(weir_keyed_task *task);

/* ---- Operator state ------------------------------------------------------------------------------------------------ */

/* State that belongs to no key: each subtask has its own. Of any operator, with keys or without; `task` is a weir_task or a
 * weir_keyed_task. In every callback, `.open` included, where what was restored is there already. All else is as above.
 *
 * At another parallelism the elements of all subtasks are put one behind the other, and each subtask gets as many of them
 * as its neighbours, or one more; at the same one, each gets its own back. */
WEIR_API enum weir_code weir_operator_list_add(void *task, const struct weir_state *state, struct weir_bytes element);
WEIR_API enum weir_code weir_operator_list_add_i64(void *task, const struct weir_state *state, int64_t element);
WEIR_API enum weir_code weir_operator_list_add_f64(void *task, const struct weir_state *state, double element);
WEIR_API enum weir_code weir_operator_list_add_object(void *task, const struct weir_state *state, const void *element);
WEIR_API enum weir_code weir_operator_list_add_all(void *task, const struct weir_state *state,
                                                   const struct weir_bytes *elements, size_t count);
WEIR_API enum weir_code weir_operator_list_update(void *task, const struct weir_state *state,
                                                  const struct weir_bytes *elements, size_t count);
WEIR_API bool weir_operator_list_next(void *task, const struct weir_state *state, struct weir_iterator *at,
                                      struct weir_bytes *element);
WEIR_API bool weir_operator_list_next_object(void *task, const struct weir_state *state, struct weir_iterator *at,
                                             void *element);
WEIR_API bool weir_operator_list_is_empty(void *task, const struct weir_state *state);
WEIR_API void weir_operator_list_clear(void *task, const struct weir_state *state);

/* Unions are operator lists, with the calls above for what is the subtask's own. These walk over what all subtasks had at
 * the commit that the job goes on from, one subtask after another, this one among them. In `.open` only: it is not kept. */
WEIR_API bool weir_operator_union_next(void *task, const struct weir_state *state, struct weir_iterator *at,
                                       struct weir_bytes *element);
WEIR_API bool weir_operator_union_next_object(void *task, const struct weir_state *state, struct weir_iterator *at,
                                              void *element);

/* Broadcast maps. Read anywhere; changed only while a record of an input is processed that is weir_broadcast (or the second
 * one of a weir_keyed_broadcast_process), where every subtask gets the same records, and must do the same with them. A
 * change elsewhere is a failure. At another parallelism every subtask begins with the map of the first one. */
WEIR_API struct weir_bytes weir_broadcast_get(void *task, const struct weir_state *state, struct weir_bytes key);
WEIR_API bool weir_broadcast_get_object(void *task, const struct weir_state *state, struct weir_bytes key, void *object);
WEIR_API bool weir_broadcast_contains(void *task, const struct weir_state *state, struct weir_bytes key);
WEIR_API enum weir_code weir_broadcast_put(void *task, const struct weir_state *state, struct weir_bytes key,
                                           struct weir_bytes value);
WEIR_API enum weir_code weir_broadcast_put_object(void *task, const struct weir_state *state, struct weir_bytes key,
                                                  const void *object);
WEIR_API void weir_broadcast_remove(void *task, const struct weir_state *state, struct weir_bytes key);
/* In place, to be changed: NULL where the map may not be. */
WEIR_API int64_t *weir_broadcast_i64(void *task, const struct weir_state *state, struct weir_bytes key);
WEIR_API double *weir_broadcast_f64(void *task, const struct weir_state *state, struct weir_bytes key);
WEIR_API void *weir_broadcast_struct(void *task, const struct weir_state *state, struct weir_bytes key);
WEIR_API bool weir_broadcast_next(void *task, const struct weir_state *state, struct weir_iterator *at,
                                  struct weir_bytes *key, struct weir_bytes *value);
WEIR_API bool weir_broadcast_next_object(void *task, const struct weir_state *state, struct weir_iterator *at,
                                         struct weir_bytes *key, void *object);
WEIR_API bool weir_broadcast_is_empty(void *task, const struct weir_state *state);
WEIR_API void weir_broadcast_clear(void *task, const struct weir_state *state);

/* ---- Keyed operators ----------------------------------------------------------------------------------------------- */

struct weir_keyed_process_options {
    WEIR_OPERATOR_FIELDS;
    weir_keyed_process_fn *process;
    const struct weir_state *states[WEIR_STATES_MAX];
    const struct weir_output *outputs[WEIR_OUTPUTS_MAX];
    enum weir_emit_mode emit; /* ON_COMMIT: of what one key emitted to the main output in an epoch, the last is kept */
};

/* Combines a key's value so far with a new record: answers the new value (the record's, `so_far`, or weir_alloc'ed).
 * The first record's value is taken as it is. Records whose value is null are skipped, and answering null is a failure. */
typedef struct weir_bytes weir_reduce_fn(weir_keyed_task *task, struct weir_bytes so_far,
                                         const struct weir_record *record);
struct weir_reduce_options {
    WEIR_OPERATOR_FIELDS;
    weir_reduce_fn *reduce;
    enum weir_emit_mode emit;
};

/* Incremental aggregation over a fixed-size accumulator that lives in the state table. */
typedef enum weir_code weir_aggregate_add_fn(weir_keyed_task *task, void *accumulator,
                                             const struct weir_record *record);
/* Emits the result for the current key; without it, an I64 accumulator is emitted as decimal text. */
typedef enum weir_code weir_aggregate_result_fn(weir_keyed_task *task, const void *accumulator);
struct weir_aggregate_options {
    WEIR_OPERATOR_FIELDS;
    enum weir_codec accumulator; /* WEIR_I64, WEIR_F64 or WEIR_STRUCT; begins as zero bytes */
    uint32_t struct_size_bytes;
    weir_aggregate_add_fn *add;
    weir_aggregate_result_fn *result;
    enum weir_emit_mode emit;
};

/* Two keyed inputs over one state, or a keyed input and a broadcast one (there `second` has no current key, and keyed
 * state calls in it fail). */
struct weir_keyed_co_process_options {
    WEIR_OPERATOR_FIELDS;
    weir_keyed_process_fn *first;
    weir_keyed_process_fn *second;
    const struct weir_state *states[WEIR_STATES_MAX];
    const struct weir_output *outputs[WEIR_OUTPUTS_MAX];
};

WEIR_API struct weir_stream weir_keyed_process_(struct weir_keyed_stream input,
                                                const struct weir_keyed_process_options *options);
WEIR_API struct weir_stream weir_reduce_(struct weir_keyed_stream input, const struct weir_reduce_options *options);
WEIR_API struct weir_stream weir_aggregate_(struct weir_keyed_stream input,
                                            const struct weir_aggregate_options *options);
WEIR_API struct weir_stream weir_keyed_co_process_(struct weir_keyed_stream first, struct weir_keyed_stream second,
                                                   const struct weir_keyed_co_process_options *options);
WEIR_API struct weir_stream weir_keyed_broadcast_process_(struct weir_keyed_stream first, struct weir_stream second,
                                                          const struct weir_keyed_co_process_options *options);
#define weir_keyed_process(input, ...)                                                                                 \
    weir_keyed_process_((input), &(struct weir_keyed_process_options){                                                 \
                                     .size = sizeof(struct weir_keyed_process_options), __VA_ARGS__ })
#define weir_reduce(input, ...)                                                                                        \
    weir_reduce_((input), &(struct weir_reduce_options){ .size = sizeof(struct weir_reduce_options), __VA_ARGS__ })
#define weir_aggregate(input, ...)                                                                                     \
    weir_aggregate_((input),                                                                                           \
                    &(struct weir_aggregate_options){ .size = sizeof(struct weir_aggregate_options), __VA_ARGS__ })
#define weir_keyed_co_process(first, second, ...)                                                                      \
    weir_keyed_co_process_((first), (second),                                                                          \
                           &(struct weir_keyed_co_process_options){                                                    \
                               .size = sizeof(struct weir_keyed_co_process_options), __VA_ARGS__ })
#define weir_keyed_broadcast_process(first, second, ...)                                                               \
    weir_keyed_broadcast_process_((first), (second),                                                                   \
                                  &(struct weir_keyed_co_process_options){                                             \
                                      .size = sizeof(struct weir_keyed_co_process_options), __VA_ARGS__ })

/* ---- Configuration ------------------------------------------------------------------------------------------------- */

/* Keys and texts, with where each came from. The highest rank that says something counts, whatever came last: the command
 * line, then the environment, the job's code, the job's file, the site's file, the default. */
enum weir_config_rank {
    WEIR_CONFIG_DEFAULT,
    WEIR_CONFIG_SITE,
    WEIR_CONFIG_FILE,
    WEIR_CONFIG_CODE,
    WEIR_CONFIG_ENVIRONMENT,
    WEIR_CONFIG_COMMAND_LINE
};

WEIR_API weir_config *weir_config_create(void);
WEIR_API void weir_config_destroy(weir_config *config);
/* `origin` is named in errors: "-X", "job.yaml:7". Unknown keys and values out of range are errors that name the
 * nearest known key. KEY.file sets a secret KEY to what a file holds, without the newline at its end; a path that is not
 * absolute is looked for in $CREDENTIALS_DIRECTORY, where systemd puts credentials, if that is set. */
WEIR_API enum weir_code weir_config_set(weir_config *config, enum weir_config_rank rank, const char *key,
                                        const char *value, const char *origin, struct weir_error *error);
/* "KEY=VALUE", as behind -X. */
WEIR_API enum weir_code weir_config_set_pair(weir_config *config, enum weir_config_rank rank, const char *pair,
                                             const char *origin, struct weir_error *error);
/* YAML with nested or dotted keys: a file, or a text that errors call `origin`. */
WEIR_API enum weir_code weir_config_load(weir_config *config, enum weir_config_rank rank, const char *path,
                                         struct weir_error *error);
WEIR_API enum weir_code weir_config_load_text(weir_config *config, enum weir_config_rank rank, const char *text,
                                              const char *origin, struct weir_error *error);
/* Lines NAME=VALUE, as Kafka's own tools read them: NAME becomes kafka.NAME. Empty lines, and those that begin with '#' or
 * '!', say nothing. */
WEIR_API enum weir_code weir_config_load_properties(weir_config *config, enum weir_config_rank rank, const char *path,
                                                    struct weir_error *error);
/* What the machine says: the site's file, /etc/weir/weir.yaml or the one that WEIR_SITE_CONFIG names, if there is one; and
 * the environment, WEIR_PROPERTIES, which is YAML too. */
WEIR_API enum weir_code weir_config_load_site(weir_config *config, struct weir_error *error);
/* The value of a key, or its default; NULL when it has neither. Borrowed from the config. */
WEIR_API const char *weir_config_text(const weir_config *config, const char *key);
/* The file that the value of a key came from, with KEY.file; NULL when it came otherwise. For those who read it again when it
 * changes. Borrowed from the config. */
WEIR_API const char *weir_config_file(const weir_config *config, const char *key);
WEIR_API int64_t weir_config_i64(const weir_config *config, const char *key);
WEIR_API bool weir_config_bool(const weir_config *config, const char *key);
WEIR_API int64_t weir_config_duration_ms(const weir_config *config, const char *key); /* "100ms", "3 min" */
WEIR_API int64_t weir_config_size_bytes(const weir_config *config, const char *key);  /* "64mb" */
/* Declares a key of the job's own, so that it may be set and read. */
WEIR_API void weir_config_declare(weir_config *config, const char *key, const char *default_value);
/* Calls `each` for every key that begins with `prefix` (the prefix is cut off), in order of rank, lowest first. */
WEIR_API void weir_config_each(const weir_config *config, const char *prefix,
                               void (*each)(void *user, const char *key, const char *value), void *user);

/* A value that counts, for people: that of a secret is "(secret)", and so is a URL with a name and a password in it. */
struct weir_config_value {
    const char *key, *value, *origin;
    bool is_secret, is_default;
};
/* Every key that has a value: known ones in the order of the table, then the others. */
WEIR_API void weir_config_each_value(const weir_config *config,
                                     void (*each)(void *user, const struct weir_config_value *value), void *user);
/* Whether values of the key are never shown: its name has password, secret, token, key, credential or jaas in it. */
WEIR_API bool weir_config_is_secret(const char *key);

/* A row of the table of known keys. */
struct weir_config_key {
    const char *name;
    const char *type;          /* "text", "number", "duration" ... */
    const char *default_value; /* NULL = none */
    const char *choices;       /* "a|b"; NULL = not a choice */
    int64_t lowest, highest;   /* of numbers, durations in ms and sizes in bytes; else 0 */
    const char *sentence;      /* what it is for */
};
WEIR_API bool weir_config_key_at(size_t index, struct weir_config_key *key); /* false behind the last */

/* What a word was probably meant to be: set `wanted`, consider all words that it could be, and look at `word`, which is one of
 * them (borrowed), or NULL when more than half of `wanted` would have to change. */
struct weir_nearest {
    const char *wanted, *word;
    size_t distance;
};
WEIR_API void weir_nearest_consider(struct weir_nearest *nearest, const char *word);

/* ---- Running a job ------------------------------------------------------------------------------------------------- */

enum weir_log_level { WEIR_LOG_ERROR, WEIR_LOG_WARN, WEIR_LOG_INFO, WEIR_LOG_DEBUG };

/* A line of the log, and what it is about as far as that is known: the rest is NULL, 0 or false. All borrowed. */
struct weir_log_line {
    enum weir_log_level level;
    const char *text;   /* for a person, without a newline; it may hold any bytes but NUL, and no record's contents */
    const char *job;
    const char *client; /* which client of an outside system says it: "source 'lines'" */
    const char *operator_name;
    bool has_subtask, has_epoch, has_offset;
    uint32_t subtask;
    uint64_t incarnation;
    uint64_t epoch;
    const char *split; /* "topic/partition" */
    int64_t offset;
    const char *transaction; /* its id */
    enum weir_code code;     /* of an error */
};

/* Receives every log line, from any thread. The library itself prints nothing. */
typedef void weir_log_fn(void *user, const struct weir_log_line *line);

/* A reading of a running job, for live lines and tests. Counters run from the start of the process. */
struct weir_job_status {
    size_t size;
    uint64_t incarnation;
    uint64_t epoch_committed;
    uint64_t epochs;            /* commits of this process */
    uint64_t records_in;
    uint64_t records_out;       /* committed ones only */
    uint64_t records_out_open;  /* written to the open transaction */
    uint64_t bytes_in;
    uint64_t restarts;          /* roll-backs inside the process */
    int64_t lag_records;        /* -1 when not known */
    double commit_latency_ms;   /* barrier to decision, last one */
    double commit_latency_p50_ms;
    double commit_latency_p99_ms;
    double durable_latency_p50_ms; /* barrier to durable */
    double durable_latency_p99_ms;
    uint64_t frame_bytes;       /* what the last checkpoint wrote */
    double record_gap_max_ms;   /* longest pause of a task between two records while input was waiting, emission on
                                   commit left out; measured from batch to batch, so an upper bound */
    double record_gap_p99_ms;
    uint64_t state_entries;     /* in memory */
    uint64_t state_bytes;
    uint64_t state_reads;       /* of state that was not in memory */
    uint64_t state_memory;      /* bytes that state takes in memory: tables, blocks read, deltas on their way */
    uint64_t state_memory_max;  /* the most of it so far */
    uint64_t state_memory_budget; /* what it may take: state.backend.memory; 0 = it is in memory alone */
    uint32_t parallelism;       /* of operators that do not say their own */
    uint32_t max_parallelism;   /* the highest to which the job can be rescaled: it never changes */
    uint64_t checkpoints_done;  /* tickets of weir_job_checkpoint up to this one are committed */
    bool running;               /* restored and processing */
    bool was_complete;          /* an earlier run had used up all input, and there was nothing to do for this one */
};

struct weir_job_options {
    size_t size;
    const char *name;    /* [A-Za-z0-9._-]{1,64} */
    const char *program; /* for the build identity in manifests; NULL = name */
    weir_log_fn *log;
    void *log_user;
};

/* A job over `graph` (moves in) with `config` (borrowed until the job is destroyed). Refuses a graph or configuration
 * with a mistake. */
WEIR_API enum weir_code weir_job_create(weir_graph *graph, const weir_config *config,
                                        const struct weir_job_options *options, weir_job **job,
                                        struct weir_error *error);
/* What a look at a job's surroundings found, before anything was touched. */
enum weir_severity { WEIR_SEVERITY_NOTE, WEIR_SEVERITY_WARNING, WEIR_SEVERITY_ERROR };
struct weir_finding {
    const char *check;   /* the name of its row: "topic-missing" */
    enum weir_severity severity;
    enum weir_code code; /* of an error: with what a start is refused for it; WEIR_OK: a start finds it by itself */
    const char *problem; /* a sentence: what is wrong; borrowed */
    const char *advice;  /* and what to do */
};
typedef void weir_finding_fn(void *user, const struct weir_finding *finding);

/* Looks at what the job needs, all of it and not only up to the first mistake, and hands over what it finds: the
 * checkpoint directory, and whatever its connectors have to say: topics, rights, time-outs. Nothing is written and nobody
 * is fenced. For a job that was not started; blocks, for seconds where a broker does not answer. */
WEIR_API void weir_job_examine(weir_job *job, weir_finding_fn *found, void *user);
/* Starts the job's threads and returns at once. The start examines what its connectors need, too: it logs warnings, and
 * the job ends with the code of the first error. */
WEIR_API enum weir_code weir_job_start(weir_job *job, struct weir_error *error);
/* Finish the current epoch, commit and end. Any thread; not from a signal handler (write to your own pipe instead). */
WEIR_API void weir_job_stop(weir_job *job);
/* Asks for a checkpoint of everything so far: at once, and also when nothing happens. Answers its ticket, which is
 * committed when the status has checkpoints_done >= ticket; 0 when there is no memory. Any thread. */
WEIR_API uint64_t weir_job_checkpoint(weir_job *job);
/* Ends the job where it stands: what is not committed is given up, and a later start goes on from the last commit. The
 * outcome is WEIR_OK. Any thread; not from a signal handler.
 * With execution.checkpointing.externalized-checkpoint-retention: DELETE_ON_CANCELLATION it is first committed that nothing
 * is kept, and then the checkpoints are deleted: wait for the end before destroying the job. Until that is committed a
 * second call ends the job at once, and its checkpoints stay. */
WEIR_API void weir_job_cancel(weir_job *job);
/* Asks for a savepoint: a checkpoint with all that it needs, in a new folder of its own in `directory`, from which any job
 * with that state can begin (execution.savepoint.path). `directory` NULL = execution.checkpointing.savepoint-dir; it is
 * made when missing. With `stops` the job ends with the checkpoint, when the folder is whole; it runs on when it cannot even
 * be begun. The job goes on processing meanwhile. Answers at once; how it went the status says. WEIR_FAILED while another
 * one is taken, and when the job has ended. Any thread. */
WEIR_API enum weir_code weir_job_savepoint(weir_job *job, const char *directory, bool stops, struct weir_error *error);

enum weir_savepoint_state {
    WEIR_SAVEPOINT_NONE,    /* nobody has asked */
    WEIR_SAVEPOINT_WAITING, /* for its checkpoint */
    WEIR_SAVEPOINT_COPYING,
    WEIR_SAVEPOINT_DONE,    /* whole and durable */
    WEIR_SAVEPOINT_FAILED,  /* nothing was left behind; `error` says why */
};

/* Of the savepoint that was asked for last. */
struct weir_savepoint_status {
    size_t size;
    uint64_t number; /* how many were asked for */
    enum weir_savepoint_state state;
    uint64_t epoch;  /* of its checkpoint; from COPYING on */
    uint64_t bytes;  /* copied so far */
    char path[1024]; /* its folder; from COPYING on. It can be used when DONE */
    struct weir_error error;
};
WEIR_API void weir_job_savepoint_status(weir_job *job, struct weir_savepoint_status *status);

/* Waits for the end of the job: WEIR_OK, or why it ended. `timeout_ms` < 0 waits for ever; false = still running. */
WEIR_API bool weir_job_wait(weir_job *job, int64_t timeout_ms, struct weir_error *outcome);
/* Becomes readable when the job has ended; for the host's own event loop. */
WEIR_API int weir_job_descriptor(const weir_job *job);
WEIR_API void weir_job_status(weir_job *job, struct weir_job_status *status);
/* Cancels it when it still runs, joins all threads, frees. */
WEIR_API void weir_job_destroy(weir_job *job);

/* The job graph and the execution plan as text; free() it. NULL with an error when the graph has a mistake. */
WEIR_API char *weir_graph_explain(const weir_graph *graph, const weir_config *config, struct weir_error *error);
/* The same as JSON: "plan", which is what the remote interface answers for a job that runs (weir/remote.h), "maxParallelism" and
 * "operators". */
WEIR_API char *weir_graph_explain_json(const weir_graph *graph, const weir_config *config, const char *job,
                                       struct weir_error *error);

#ifdef __cplusplus
}
#endif

#endif
