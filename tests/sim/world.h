/* One run of the simulator: a cluster, a machine with a disk, a job that is started, killed, stopped and started again, and
 * weather; all drawn from a seed.
 *
 *     world_run(seed) ──> draws job, parallelism, intervals, limits ──> storm, quiet, storm, ... ──> calm: catch up, stop
 *                                                                            oracle at each decision, and at the end
 *
 * Leaks what killed processes had: meant for a process of its own (sim.c forks). */
#ifndef SIM_WORLD_H
#define SIM_WORLD_H

#include "sim/fate.h"
#include "weir/weir_test.h"

/* What a run has seen: proof that the interesting states are reached. */
#define WORLD_SIGHTS(X)                                                                                                \
    X(starts) X(kills) X(moments) X(freezes) X(power_cuts) X(second_starts) X(bounded_starts) X(rushes)                \
    X(foreign_starts) X(broker_outages) X(coordinator_moves) X(full_disks) X(disk_errors) X(lost_requests)             \
    X(lost_answers) X(delayed_requests) X(late_inits) X(late_partitions) X(late_groups) X(late_offsets) X(late_ends)   \
    X(aborted) X(incarnations) X(epochs) X(records) X(fenced) X(stops) X(compactions) X(forgotten_groups)              \
    X(grown_topics) X(loose_runs) X(restarts_inside) X(written_down) X(read_back) X(linked) X(linked_files)            \
    X(begun_with) X(read_bases) X(early_parts) X(moved_offsets) X(lost_metadata) X(late_mirrors) X(lost_ledgers)       \
    X(lost_tails) X(lost_histories) X(damages) X(lost_inputs) X(deleted_inputs) X(deleted_outputs) X(answers)          \
    X(late_spells) X(renewal_spells) X(deaf_spells) X(record_spells) X(checkpoints_asked) X(cancels) X(rescales)       \
    X(savepoints) X(savepoints_failed) X(savepoint_stops) X(goings_back) X(moves) X(takeovers) X(followed)             \
    X(follower_starts) X(followed_epochs) X(overtaking) X(full_sinks) X(rescales_failed) X(returns) X(drops)           \
    X(copied) X(copy_starts) X(copied_epochs) X(origin_tales) X(repetition_tales) X(flicker_tales)                     \
    X(announcement_tales) X(named_again) X(latecomers) X(repetitions) X(flickers)

#define WORLD_SIGHT_ONE(name) +1
enum { WORLD_SIGHT_COUNT = 0 WORLD_SIGHTS(WORLD_SIGHT_ONE) };
#undef WORLD_SIGHT_ONE

struct world_report {
#define WORLD_SIGHT_FIELD(name) uint64_t name;
    WORLD_SIGHTS(WORLD_SIGHT_FIELD)
#undef WORLD_SIGHT_FIELD
    uint64_t digest;
    int64_t ended_us;
    uint32_t steps;
    struct fate_counts strokes;
    char job[64];
    char violation[600]; /* "" = everything held */
    bool has_crashed, has_hung; /* child.h */
};

/* What is drawn is cut to this; 0 = it is not. Steps are as many as this says instead, without the first `skip`. */
#define WORLD_LIMITS(X) X(steps) X(skip) X(parallelism) X(partitions) X(records)
enum world_limit {
#define WORLD_LIMIT_ENUM(name) WORLD_##name,
    WORLD_LIMITS(WORLD_LIMIT_ENUM)
#undef WORLD_LIMIT_ENUM
    WORLD_LIMIT_COUNT
};

struct world_options {
    const struct weir_test_job *jobs; /* one of these is drawn */
    uint32_t job_count;
    const struct weir_test_job *loose_job; /* drawn apart: it runs at least once. NULL = none */
    const struct weir_test_job *follower; /* reads "out0" in some of the runs; NULL = none */
    uint64_t seed;
    uint32_t limits[WORLD_LIMIT_COUNT];
    struct fate_spared spared;
    bool with_mishaps; /* mishaps.h and bounded starts, too: the jobs are made for them */
    bool trace;        /* each event and each log line to stderr */
};

/* The run's report so far: what sees something worth counting counts it there. */
struct world_report *world_seen(void);

/* A line of the trace, with the time before it. Nothing when the run is not traced. */
void world_trace(const char *format, ...) __attribute__((format(printf, 1, 2)));

void world_run(const struct world_options *options, struct world_report *report);
/* The report of a run that is under way, for whoever has to end it here. */
void world_tell(struct world_report *report);

#endif
