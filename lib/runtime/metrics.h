/* What is counted about a job. One writer for each number, relaxed atomics, no locks; any thread reads. The public side is
 * weir/observe.h (job_observe.c).
 *
 *   task thread ──stores──> metrics_task, one for each subtask ─┐
 *   job thread  ──stores──> metrics_job                        ─┴─loads─> whoever asks
 *
 * The blocks belong to the job, not to a task, and live as long as it: numbers go on rising through restarts, and whoever reads
 * them never meets a task that is going away. Tasks store sums once for each batch, or less often; nothing is done for each
 * record. What a reader sees of two numbers may be a batch apart. */
#ifndef RUNTIME_METRICS_H
#define RUNTIME_METRICS_H

#include <stdatomic.h>

#include "base/base.h"
#include "weir/observe.h"

/* ---- The table ------------------------------------------------------------------------------------------------------ */

#define METRICS_SUBTASK "vertex", "subtask", NULL
#define METRICS_NONE NULL, NULL, NULL
#define METRICS_EACH_SUBTASK "one for each subtask"
#define METRICS_ONE "one"

/* id, name, type, unit, three labels, bound, one sentence. */
#define METRICS(X)                                                                                                     \
    X(INFO, "weir_job_info", GAUGE, "", "name", "program", NULL, METRICS_ONE, "Always 1; the labels say which job.")   \
    X(RUNNING, "weir_job_running", GAUGE, "", METRICS_NONE, METRICS_ONE, "1 when restored and processing, else 0.")    \
    X(RESTARTS, "weir_job_restarts_total", COUNTER, "", METRICS_NONE, METRICS_ONE,                                     \
      "Times that the job rolled back to its last commit inside the process.")                                         \
    X(PARALLELISM, "weir_job_parallelism", GAUGE, "", METRICS_NONE, METRICS_ONE,                                       \
      "Subtasks of an operator that does not say its own.")                                                            \
    X(INCARNATION, "weir_job_incarnation", GAUGE, "", METRICS_NONE, METRICS_ONE, "The number of this life of the job.") \
    X(RECORDS_IN, "weir_subtask_input_records_total", COUNTER, "", METRICS_SUBTASK, METRICS_EACH_SUBTASK,                 \
      "Records that came in; a source's from outside.")                                                                \
    X(BYTES_IN, "weir_subtask_input_bytes_total", COUNTER, "bytes", METRICS_SUBTASK, METRICS_EACH_SUBTASK,                \
      "Bytes of the batches that came in.")                                                                            \
    X(RECORDS_OUT, "weir_subtask_output_records_total", COUNTER, "", METRICS_SUBTASK, METRICS_EACH_SUBTASK,               \
      "Records that went to other subtasks and to sinks.")                                                             \
    X(BYTES_OUT, "weir_subtask_output_bytes_total", COUNTER, "bytes", METRICS_SUBTASK, METRICS_EACH_SUBTASK,              \
      "Bytes of the batches to other subtasks, and of keys and values to sinks.")                                      \
    X(BUSY, "weir_subtask_busy_seconds_total", COUNTER, "seconds", METRICS_SUBTASK, METRICS_EACH_SUBTASK,              \
      "Time in which the subtask worked.")                                                                             \
    X(IDLE, "weir_subtask_idle_seconds_total", COUNTER, "seconds", METRICS_SUBTASK, METRICS_EACH_SUBTASK,              \
      "Time in which the subtask waited for input.")                                                                   \
    X(BACKPRESSURED, "weir_subtask_backpressured_seconds_total", COUNTER, "seconds", METRICS_SUBTASK,                  \
      METRICS_EACH_SUBTASK, "Time in which the subtask waited for room behind it.")                                    \
    X(STATE_ENTRIES, "weir_subtask_state_entries", GAUGE, "", METRICS_SUBTASK, METRICS_EACH_SUBTASK,                   \
      "Entries of state in memory at the last checkpoint.")                                                            \
    X(STATE_BYTES, "weir_subtask_state_bytes", GAUGE, "bytes", METRICS_SUBTASK, METRICS_EACH_SUBTASK,                  \
      "Bytes of state in memory at the last checkpoint.")                                                              \
    X(STATE_READS, "weir_subtask_state_reads_total", COUNTER, "", METRICS_SUBTASK, METRICS_EACH_SUBTASK,               \
      "Reads of state that was not in memory, up to the last checkpoint.")                                             \
    X(CACHE_HITS, "weir_subtask_cache_hits_total", COUNTER, "", METRICS_SUBTASK, METRICS_EACH_SUBTASK,                 \
      "Values of records to come that memory had, where others lie on disk; up to the last checkpoint.")               \
    X(CACHE_MISSES, "weir_subtask_cache_misses_total", COUNTER, "", METRICS_SUBTASK, METRICS_EACH_SUBTASK,             \
      "Values of records to come that had to be asked for on disk; up to the last checkpoint.")                        \
    X(LAG, "weir_source_lag_records", GAUGE, "", "source", "split", NULL,                                              \
      "one for each split, 1000 for each subtask at most", "Records that wait in a part of a source.")                 \
    X(EPOCH, "weir_checkpoint_epoch", GAUGE, "", METRICS_NONE, METRICS_ONE, "The last epoch that was committed.")      \
    X(CHECKPOINTS, "weir_checkpoints_total", COUNTER, "", METRICS_NONE, METRICS_ONE, "Checkpoints that were committed.") \
    X(CHECKPOINTS_FAILED, "weir_checkpoints_failed_total", COUNTER, "", METRICS_NONE, METRICS_ONE,                     \
      "Checkpoints that a failure ended.")                                                                             \
    X(CHECKPOINT, "weir_checkpoint_duration_seconds", HISTOGRAM, "seconds", METRICS_NONE, METRICS_ONE,                 \
      "From the barrier to the decision.")                                                                             \
    X(PHASE, "weir_checkpoint_phase_duration_seconds", HISTOGRAM, "seconds", "phase", NULL, NULL, "one for each of 5 phases", \
      "One phase of a checkpoint.")                                                                                    \
    X(FRAME_BYTES, "weir_checkpoint_frame_bytes", GAUGE, "bytes", METRICS_NONE, METRICS_ONE,                           \
      "What the last checkpoint wrote.")                                                                               \
    X(SINCE_COMMIT, "weir_checkpoint_age_seconds", GAUGE, "seconds", METRICS_NONE, METRICS_ONE,                        \
      "Time since the last commit; a job that has nothing to commit ages, too.")                                       \
    X(LOG_BYTES, "weir_store_log_bytes", GAUGE, "bytes", METRICS_NONE, METRICS_ONE,                                    \
      "Changes of state since the bases, which a restart has to replay.")                                              \
    X(BASE_BYTES, "weir_store_base_bytes", GAUGE, "bytes", METRICS_NONE, METRICS_ONE,                                  \
      "Bases that a restart has to read; of one that links files, the list of them.")                                  \
    X(TRANSACTION, "weir_transaction_duration_seconds", HISTOGRAM, "seconds", METRICS_NONE, METRICS_ONE,               \
      "From the first request in a transaction to its commit.")                                                        \
    X(TRANSACTION_AGE, "weir_transaction_oldest_seconds", GAUGE, "seconds", METRICS_NONE, METRICS_ONE,                 \
      "Age of the oldest transaction that is open; 0 when none is.")                                                   \
    X(ABORTS, "weir_transaction_aborts_total", COUNTER, "", "reason", NULL, NULL, "one for each error code",           \
      "Open transactions that were given up, by the error that ended them.")                                           \
    X(RENEWED, "weir_producers_renewed_total", COUNTER, "", METRICS_NONE, METRICS_ONE,                                 \
      "Producers that were made anew because a request had been repeated or not been answered.")                       \
    X(COMMITTED, "weir_sink_records_committed_total", COUNTER, "", METRICS_NONE, METRICS_ONE,                          \
      "Records whose transaction was committed.")                                                                      \
    X(DEAD_LETTERS, "weir_sink_dead_letters_total", COUNTER, "", METRICS_NONE, METRICS_ONE,                            \
      "Of these, records that went to a dead letter topic, because their own does not take them.")                     \
    X(CPU, "process_cpu_seconds_total", COUNTER, "seconds", METRICS_NONE, METRICS_ONE, "Time on a processor, user and system.") \
    X(RESIDENT, "process_resident_memory_bytes", GAUGE, "bytes", METRICS_NONE, METRICS_ONE, "Memory that is resident.") \
    X(VIRTUAL, "process_virtual_memory_bytes", GAUGE, "bytes", METRICS_NONE, METRICS_ONE, "Memory that is mapped.")    \
    X(THREADS, "process_threads", GAUGE, "", METRICS_NONE, METRICS_ONE, "Threads.")                                    \
    X(DESCRIPTORS, "process_open_fds", GAUGE, "", METRICS_NONE, METRICS_ONE, "Open descriptors.")                      \
    X(DESCRIPTORS_MAX, "process_max_fds", GAUGE, "", METRICS_NONE, METRICS_ONE, "Descriptors that may be open.")       \
    X(STARTED, "process_start_time_seconds", GAUGE, "seconds", METRICS_NONE, METRICS_ONE, "Start, since 1970.")

enum metric_id {
#define METRICS_ID(id, ...) METRIC_##id,
    METRICS(METRICS_ID)
#undef METRICS_ID
    METRIC_COUNT
};
extern const struct weir_metric metrics_table[METRIC_COUNT];

/* ---- Numbers -------------------------------------------------------------------------------------------------------- */

/* The writer: no read-modify-write. */
static inline void metrics_set(_Atomic uint64_t *number, uint64_t value)
{
    atomic_store_explicit(number, value, memory_order_relaxed);
}
static inline uint64_t metrics_get(const _Atomic uint64_t *number)
{
    return atomic_load_explicit(number, memory_order_relaxed);
}
static inline void metrics_add(_Atomic uint64_t *number, uint64_t more) { metrics_set(number, metrics_get(number) + more); }

/* Upper limits of the buckets in microseconds; behind the last one comes infinity. */
enum { METRICS_BUCKETS = 15 };
extern const uint64_t metrics_limits_us[METRICS_BUCKETS];

struct metrics_histogram {
    _Atomic uint64_t counts[METRICS_BUCKETS + 1], sum_us;
};
void metrics_note(struct metrics_histogram *histogram, int64_t us); /* negative: it did not happen */

/* ---- Of one subtask ------------------------------------------------------------------------------------------------- */

enum metrics_activity { METRICS_BUSY, METRICS_IDLE, METRICS_BACKPRESSURED, METRICS_ACTIVITIES };

enum { METRICS_SPLITS_MAX = 1000 };

struct metrics_split {
    struct metrics_split *next;
    char name[264];
    _Atomic int64_t lag; /* -1 = unknown */
    _Atomic uint32_t attempt; /* that reads it */
};

/* Writer: the task thread of the attempt; before it was started, and when it is gone, nobody. */
struct metrics_task {
    _Alignas(64) _Atomic uint64_t records_in;
    _Atomic uint64_t bytes_in, records_out, bytes_out;
    _Atomic uint64_t state_entries, state_bytes, state_reads, cache_hits, cache_misses;
    _Atomic uint64_t beat_us; /* monotonic: the task went round; 0 = it is still opening, which may take its time */
    /* Twice the microseconds spent so; of what it does now, twice (those minus the time when it began) plus 1. So each is
     * one number, and rises for every reader. None is odd: there is no task. */
    _Atomic int64_t times[METRICS_ACTIVITIES];
    enum metrics_activity activity; /* writer */
    _Atomic uint32_t attempt;
    _Atomic(struct metrics_split *) splits; /* pushed in front, and freed with the job */
    uint32_t split_count; /* writer */
};

/* The task's thread begins, changes what it does, and ends. */
void metrics_begin(struct metrics_task *task, uint32_t attempt, int64_t now_us);
void metrics_switch(struct metrics_task *task, enum metrics_activity activity, int64_t now_us);
void metrics_end(struct metrics_task *task, int64_t now_us);
/* What waits in a split of its reader. Beyond METRICS_SPLITS_MAX names, and without memory, nothing is noted. */
void metrics_lag(struct metrics_task *task, const char *split, int64_t lag);

/* Any thread: the three times up to now. True while there is a task. */
bool metrics_times(const struct metrics_task *task, int64_t now_us, uint64_t times_us[METRICS_ACTIVITIES]);

/* ---- Of the job ----------------------------------------------------------------------------------------------------- */

enum { METRICS_CODES = WEIR_NO_MEMORY + 1 };

enum metrics_worker { METRICS_ENVIRONMENT, METRICS_LOG_WRITER, METRICS_BASE_WRITER, METRICS_WORKERS };

struct metrics_job {
    /* Writer: job thread. */
    _Alignas(64) _Atomic uint64_t beat_us; /* monotonic; 0 = it does not run */
    _Atomic uint64_t workers_beat_us[METRICS_WORKERS]; /* the same of what works for it */
    _Atomic uint64_t log_bytes, base_bytes;
    _Atomic uint64_t transaction_begun_us; /* of the oldest that is open; 0 = none */
    _Atomic uint64_t committed_us;         /* the last commit; 0 = none yet */
    _Atomic uint64_t checkpoints, checkpoints_failed, renewed, dead_letters, aborts[METRICS_CODES];
    struct metrics_histogram checkpoint, transaction, phases[WEIR_PHASES];

    /* Set when the job is created. */
    struct metrics_task *tasks; /* vertex by vertex */
    uint32_t *first;            /* of each vertex */
    uint32_t task_count;
};

bool metrics_init(struct metrics_job *metrics, const uint32_t *parallelisms, uint32_t vertex_count);
void metrics_deinit(struct metrics_job *metrics);
static inline struct metrics_task *metrics_task_at(const struct metrics_job *metrics, uint32_t vertex, uint32_t subtask)
{
    return &metrics->tasks[metrics->first[vertex] + subtask];
}

/* ---- Of the process: read from /proc ---------------------------------------------------------------------------------- */

struct metrics_process {
    double cpu_seconds, started_seconds;
    uint64_t resident_bytes, virtual_bytes, threads, descriptors, descriptors_max;
};
bool metrics_read_process(struct metrics_process *process);

#endif
