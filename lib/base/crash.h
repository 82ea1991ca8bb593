/* Crash points: named places where a test lets the process die as if the power of kill -9 had struck there. Compiled in for
 * tests only (WEIR_CRASH_POINTS); nothing of them is in a release build.
 *
 * WEIR_CRASH=<name>:<n> in the environment of the process kills it with SIGKILL at the n-th pass of that point. With
 * WEIR_CRASH_LOG=<file> the name of the point is appended to the file first, so that a test can tell which one fired. */
#ifndef BASE_CRASH_H
#define BASE_CRASH_H

/* One row for each hop of a checkpoint, in the order of its life. */
#define CRASH_POINTS(X)                                                                                                \
    X(offsets_fixed) X(barrier_in_flight) X(snapshot_begun) X(part_durable) X(deltas_encoded) X(frame_written)         \
    X(frame_durable) X(ledger_produced) X(sink_flushed) X(offsets_sent) X(commit_sent) X(commit_acknowledged)          \
    X(base_begun) X(base_linked) X(base_written) X(base_named) X(files_deleted) X(restore_base_applied)                \
    X(restore_half_replayed) X(founding) X(announced) X(shutdown_half_done)

/* Of what a job does only when it is asked to. */
#define CRASH_POINTS_ASKED(X)                                                                                          \
    X(savepoint_begun) X(savepoint_half_written) X(savepoint_marked) X(drop_announced) X(drop_half_done)

enum crash_point {
#define CRASH_POINT_ENUM(name) CRASH_##name,
    CRASH_POINTS(CRASH_POINT_ENUM)
    CRASH_POINT_COUNT,
    CRASH_POINT_LAST = CRASH_POINT_COUNT - 1,
    CRASH_POINTS_ASKED(CRASH_POINT_ENUM)
#undef CRASH_POINT_ENUM
    CRASH_POINT_ALL
};

#ifdef WEIR_CRASH_POINTS
void crash_point_pass(enum crash_point point);
#define CRASH_POINT(name) crash_point_pass(CRASH_##name)
#else
#define CRASH_POINT(name) ((void)0)
#endif

#endif
