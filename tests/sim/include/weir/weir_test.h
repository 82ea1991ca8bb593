/* weir_test: runs a job in the simulator, thousands of lives in a minute, and holds its output against an oracle of yours.
 *
 *                    next_record                     define                         put
 *     random seed ──────────────> input topics ──> your graph ──> output topics ────────┐
 *                                       │      killed, stopped, started again           ├──> decided: right or wrong?
 *                                       └───────────────────── take ────────────────────┘
 *                                                        your oracle
 *
 * A test program is this header, the graph, and an oracle: what must come out, said over the input alone. Linked with
 * weir::test in place of weir::weir and weir::kafka it needs no broker, no disk and no time. The same seed is the same run.
 *
 * What the oracle sees is commits, one after the other: each takes in the next records of each input partition, and makes
 * output visible. Take in what a commit covers, and say what it must bring (weir_test_expect), or compare on your own (put,
 * decided). All callbacks run in one thread, between steps of the job. The page with a whole sample: lib/TESTING.md. */
#ifndef WEIR_WEIR_TEST_H
#define WEIR_WEIR_TEST_H

#include "weir/main.h"

#ifdef __cplusplus
extern "C" {
#endif

/* One run, as the callbacks see it. */
typedef struct weir_test weir_test;

/* ---- The job and its oracle -------------------------------------------------------------------------------------- */

#define WEIR_TEST_TOPICS_MAX 8
#define WEIR_TEST_PARTITIONS_MAX 16

/* Lists end with a row without a name. */
struct weir_test_topic {
    const char *name;
    int32_t partitions; /* 0 = drawn for each run */
};

/* Draws the next record of an input topic. `*record` comes with the time of writing and nothing else; key and value are
 * borrowed until the next call. A record goes to the partition of its key, as producers do it. It may turn out that
 * nobody can read it: some are written in transactions that are aborted. */
typedef void weir_test_next_fn(weir_test *test, const char *topic, struct weir_record *record);
/* A record that a commit covers (take) or makes visible (put). */
typedef void weir_test_record_fn(weir_test *test, const char *topic, int32_t partition,
                                 const struct weir_record *record);
typedef void weir_test_fn(weir_test *test);

struct weir_test_job {
    size_t size;
    const char *name;
    /* The graph, declared as for weir_main; again for each start of the job. */
    void (*define)(weir_graph *graph, const weir_config *config);
    const struct weir_option *options; /* the job's own options, which `define` reads; NULL = none */
    const char *const *settings; /* "key=value" as behind -X, and values of options: { "input=lines", NULL }. Wins over
                                    what is drawn: "parallelism.default=1" keeps every start at that */
    struct weir_test_topic inputs[WEIR_TEST_TOPICS_MAX];
    struct weir_test_topic outputs[WEIR_TEST_TOPICS_MAX];
    weir_test_next_fn *next_record;
    weir_test_fn *begin;       /* a run begins: forget everything; may be NULL */
    weir_test_record_fn *take; /* in the order of each partition */
    weir_test_record_fn *put;  /* in the order of each partition, after all `take` of the commit. NULL: what comes out is
                                  compared with what was expected */
    weir_test_fn *decided;     /* a commit has been taken in and put; may be NULL */
    weir_test_fn *end;         /* all input was taken in, and the job has stopped well; may be NULL */
    void *user;
};

WEIR_API void *weir_test_user(weir_test *test);
/* A draw from the seed, below `limit` (not 0). Anything else that is random makes seeds worthless. */
WEIR_API uint64_t weir_test_random(weir_test *test, uint64_t limit);
/* Text that lives until the next callback. */
WEIR_API struct weir_bytes weir_test_format(weir_test *test, const char *format, ...) WEIR_PRINTF(2, 3);
/* The run has shown that something is wrong: what, in a sentence. The first one counts, and ends the run soon. */
WEIR_API void weir_test_fail(weir_test *test, const char *format, ...) WEIR_PRINTF(2, 3);

/* ---- An oracle in few lines -------------------------------------------------------------------------------------- */

/* The oracle's own memory: `size` bytes for this name and key, zero to begin with, 8-byte aligned, at the same place
 * until the run ends. The job has nothing to do with it. */
WEIR_API void *weir_test_value(weir_test *test, const char *name, struct weir_bytes key, size_t size);

enum weir_test_order {
    WEIR_TEST_IN_ORDER,  /* records of this topic and key come out in the order in which they were expected */
    WEIR_TEST_LAST,      /* of what a commit expects for this topic and key, the last comes out: WEIR_EMIT_ON_COMMIT */
    WEIR_TEST_ANY_ORDER, /* for keys whose records meet from several partitions; records without a key always are */
};

struct weir_test_expected {
    size_t size;
    const char *topic;
    struct weir_bytes key;   /* unset = null */
    struct weir_bytes value; /* unset = null */
    int64_t time_ms;         /* 0 = any */
    enum weir_test_order order;
};
/* From `take`: the commit that covers this record makes that one visible. Copied. Whatever else comes out, and whatever
 * does not, is a violation. */
WEIR_API void weir_test_expect_(weir_test *test, const struct weir_test_expected *expected);
#define weir_test_expect(test, ...)                                                                                    \
    weir_test_expect_((test), &(struct weir_test_expected){ .size = sizeof(struct weir_test_expected), __VA_ARGS__ })

/* ---- Running ----------------------------------------------------------------------------------------------------- */

struct weir_test_options {
    size_t size;
    uint64_t seed_first, seed_last; /* a run for each */
    uint32_t steps;                 /* events that are drawn in a run; 0 = as the seed says */
    uint32_t jobs;                  /* processes at a time; 0 = one */
    bool keep_going;                /* after a violation */
    bool trace;                     /* each event and log line to stderr */
};

/* "Sometimes" counters: how often the runs were somewhere worth being. */
struct weir_test_counter {
    const char *name;
    uint64_t count;
};

struct weir_test_report {
    size_t size;
    uint64_t runs;
    uint64_t violations;
    uint64_t crashes;      /* runs that died, or hung for 10 s of real time */
    uint64_t seed_failed;  /* the first one, in the order of ending */
    char violation[600];   /* its sentence; "" = everything held */
    size_t counter_count;
    struct weir_test_counter counters[96]; /* names are static */
};

/* Runs the seeds, each in a process of its own (fork), and adds up what they have seen. WEIR_OK: every run ended, and
 * the report says how. WEIR_USAGE: the job is incomplete. WEIR_ENVIRONMENT: no process can be made. */
WEIR_API enum weir_code weir_test_run(const struct weir_test_job *job, const struct weir_test_options *options,
                                      struct weir_test_report *report, struct weir_error *error);

/* The whole of a test program, for its main():
 *
 *     --seed N [--trace] [LIMIT...]                                        one run, in this process
 *     --seed N --shrink [LIMIT...]                                         the same, as short as it still fails
 *     --seeds FROM-TO [--jobs J] [--keep-going] [--no-shrink] [LIMIT...]   many; the first that fails is made shorter
 *
 * LIMIT: --steps M (events drawn), --skip M (without the first ones), --parallelism N, --partitions N, --records N (no more
 * than that), --without LIST (classes and numbers of events, as they are in the trace: kills,freezes,3,7-12).
 *
 * Returns the exit code: 0 everything held, 1 a violation, 2 usage, 3 a run hung or crashed. A violation is printed with
 * the command that replays it; the shorter one with its trace, too. */
WEIR_API int weir_test_main_(int argc, char **argv, const struct weir_test_job *job);
#define weir_test_main(argc, argv, ...)                                                                                \
    weir_test_main_((argc), (argv), &(struct weir_test_job){ .size = sizeof(struct weir_test_job), __VA_ARGS__ })

#ifdef __cplusplus
}
#endif

#endif
