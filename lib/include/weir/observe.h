/* Watching a job: its metrics, the graph that runs, its checkpoints and failures. The remote interface (weir/remote.h) is
 * made of this; a host program may read it just as well.
 *
 * All functions may be called by any thread from weir_job_create to weir_job_destroy, and none of them waits for the job.
 * Texts are borrowed from the job, but for those in structs, which are copies. */
#ifndef WEIR_OBSERVE_H
#define WEIR_OBSERVE_H

#include "weir/weir.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- Metrics ------------------------------------------------------------------------------------------------------- */

enum weir_metric_type { WEIR_METRIC_COUNTER, WEIR_METRIC_GAUGE, WEIR_METRIC_HISTOGRAM };

enum { WEIR_METRIC_LABELS_MAX = 3 };

/* A row of the table of metrics (lib/runtime/metrics.h). */
struct weir_metric {
    const char *name; /* as Prometheus wants it, unit and _total included */
    enum weir_metric_type type;
    const char *unit; /* "seconds", "bytes"; "" = a plain number */
    const char *labels[WEIR_METRIC_LABELS_MAX]; /* NULL behind the last one */
    const char *bound;    /* how many series there are at most, in words */
    const char *sentence; /* what it measures */
};
WEIR_API bool weir_metric_at(size_t index, struct weir_metric *metric); /* false behind the last */

/* One number. A histogram comes as its buckets (`limit` = "0.005" ... "+Inf"), cumulative as Prometheus has them, its sum and
 * its count. */
struct weir_sample {
    const struct weir_metric *metric;
    const char *suffix; /* "", "_bucket", "_sum", "_count" */
    const char *values[WEIR_METRIC_LABELS_MAX]; /* of the labels */
    const char *limit; /* of a bucket, else NULL */
    double value;
};
/* Every number that is known now, in the order of the table; what is not known is left out. */
WEIR_API void weir_job_metrics(const weir_job *job, void (*each)(void *user, const struct weir_sample *sample), void *user);

/* ---- The graph that runs ------------------------------------------------------------------------------------------- */

/* A chain of operators, each subtask of which is a thread. */
struct weir_vertex {
    const char *name; /* "lines -> split -> count" */
    uint32_t parallelism;
    uint32_t operator_count;
    bool is_source;
};
WEIR_API bool weir_job_vertex(const weir_job *job, uint32_t index, struct weir_vertex *vertex);

struct weir_vertex_operator {
    const char *name;
    const char *kind;      /* "map", "source" */
    const char *connector; /* "kafka"; NULL = none */
};
WEIR_API bool weir_job_operator(const weir_job *job, uint32_t vertex, uint32_t index, struct weir_vertex_operator *described);

struct weir_edge {
    uint32_t source, target; /* vertices */
    const char *exchange;    /* "forward", "key_group", "rebalance", "broadcast" */
};
WEIR_API bool weir_job_edge(const weir_job *job, uint32_t index, struct weir_edge *edge);

/* The plan as one JSON object, shaped as Flink's; free() it. NULL when there is no memory. */
WEIR_API char *weir_job_plan(const weir_job *job);

/* Counted since the job was created, through all restarts. Busy, idle and back-pressured time are all the time that the
 * subtask has run. */
struct weir_subtask {
    uint64_t records_in, bytes_in;   /* a source's: from outside */
    uint64_t records_out, bytes_out; /* to other subtasks, and to sinks */
    uint64_t busy_us, idle_us, backpressured_us;
    uint64_t state_entries, state_bytes; /* at the last checkpoint */
    bool is_running;
};
WEIR_API bool weir_job_subtask(const weir_job *job, uint32_t vertex, uint32_t subtask, struct weir_subtask *numbers);

/* Calls `each` for every part of a source that is being read, with what waits there. */
struct weir_split_lag {
    const char *source; /* name of the operator */
    const char *split;  /* "topic/partition" */
    uint32_t vertex, subtask;
    int64_t lag;        /* records; -1 = not known yet */
};
WEIR_API void weir_job_lags(const weir_job *job, void (*each)(void *user, const struct weir_split_lag *lag), void *user);

/* ---- Checkpoints and failures -------------------------------------------------------------------------------------- */

enum weir_checkpoint_phase {
    WEIR_PHASE_ALIGNMENT, /* from the barrier until it had reached every task, behind all records before it */
    WEIR_PHASE_SNAPSHOT,  /* until every task had handed over what changed, and the frame was made */
    WEIR_PHASE_DURABLE,   /* until the frame was on the disk; beside it, */
    WEIR_PHASE_FLUSH,     /* until the output was with the brokers */
    WEIR_PHASE_COMMIT,    /* from the request to commit to its answer */
    WEIR_PHASES
};
WEIR_API const char *weir_phase_name(enum weir_checkpoint_phase phase); /* "alignment" */

enum weir_checkpoint_state { WEIR_CHECKPOINT_IN_PROGRESS, WEIR_CHECKPOINT_COMPLETED, WEIR_CHECKPOINT_FAILED };

struct weir_checkpoint {
    uint64_t incarnation, epoch;
    enum weir_checkpoint_state state;
    bool is_savepoint;
    int64_t triggered_ms; /* since 1970 */
    int64_t duration_us;  /* from the barrier to the decision; -1 = it is not there yet */
    int64_t phase_us[WEIR_PHASES]; /* -1 = did not happen, or not yet */
    uint64_t frame_bytes, state_bytes;
    uint64_t records_out; /* committed with it */
    char failure[200];
};

enum { WEIR_CHECKPOINTS_KEPT = 128 };
/* The newest first; one in progress is 0. False when there are no more, or no more are kept. */
WEIR_API bool weir_job_checkpoint_at(const weir_job *job, uint32_t index, struct weir_checkpoint *checkpoint);

struct weir_failure {
    uint64_t number;    /* from 1 */
    int64_t wall_ms;    /* since 1970 */
    enum weir_code code;
    bool ended_the_job; /* else it rolled back, or tried again */
    char text[1000];
};
enum { WEIR_FAILURES_KEPT = 16 };
/* The newest first. */
WEIR_API bool weir_job_failure_at(const weir_job *job, uint32_t index, struct weir_failure *failure);

/* ---- Health -------------------------------------------------------------------------------------------------------- */

/* Whether the job's loops make progress: the job thread has gone round lately, no task has been inside one call for longer than
 * `patience_ms`, and what opens, looks up and restores for it (during a start or a roll-back, what writes, too) has not stood
 * still in one for as long. If not, `why` says which. True also before the start and behind the end. */
WEIR_API bool weir_job_is_alive(const weir_job *job, int64_t patience_ms, char *why, size_t why_size);

#ifdef __cplusplus
}
#endif

#endif
