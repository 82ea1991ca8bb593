/* Whole jobs in this process, without an outside system: a checkpoint directory of their own, a configuration for short
 * intervals, the log of everything. One for each fact:
 *
 *     tcase_add_checked_fixture(tests, local_job_begin, local_job_end);
 *     local_job_set("parallelism.default", "3"); outcome = local_job_run(graph, NULL); local_job_expect_ok(&outcome); */
#ifndef HARNESS_LOCAL_JOB_H
#define HARNESS_LOCAL_JOB_H

#include <pthread.h>

#include "harness/patience.h"
#include "weir/weir.h"

struct local_job {
    char directory[64]; /* of checkpoints; the job's own folder in it has its name */
    const char *name;   /* of the job: "test" until somebody says otherwise */
    char stores[64];    /* where RocksDB works, in the job's folder again; "" = nowhere */
    weir_config *config;
    pthread_mutex_t mutex;
    char log[8000];
};
extern struct local_job local_job;

void local_job_begin(void);
void local_job_end(void);
/* State in RocksDB, and next to nothing of it in memory. So is every job where the environment has WEIR_TEST_SMALL_CACHE; else
 * state is in memory. With WEIR_TEST_UNALIGNED, barriers overtake. */
void local_job_use_small_cache(void);
void local_job_set(const char *key, const char *value);
/* Creates and starts the job; takes the graph. */
weir_job *local_job_create(weir_graph *graph);
/* The same, and waits for its end. */
struct weir_error local_job_run(weir_graph *graph, struct weir_job_status *status);
struct weir_job_status local_job_status(weir_job *job);
/* Until it runs, or its tasks have read so many records. It must not end before. */
void local_job_await_running(weir_job *job);
void local_job_await_records(weir_job *job, uint64_t records);
/* Does no thread of this process but the caller's want to run? What stands still does not wait for its turn on a busy machine,
 * then. */
bool local_job_sleeps(void);
/* In the job's folder, whose names begin so: "base-", "log-". */
int local_job_count_files(const char *prefix);
void local_job_expect_ok(const struct weir_error *outcome);

#endif
