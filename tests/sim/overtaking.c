#include "sim/overtaking.h"

#include <inttypes.h>
#include <string.h>

#include "runtime/job.h"
#include "sim/lives.h"
#include "sim/world.h"

/* Threads are held up now and then, several for one barrier. */
enum { PATIENCE_US = 800000 };

/* The barrier that is under way in a life. */
static struct {
    const struct weir_job *job;
    uint32_t attempt;
    uint64_t epoch;
    int64_t since_us; /* it has been on its way, with all threads awake */
} seen[LIVES_MAX];

void overtaking_begin(void) { memset(seen, 0, sizeof seen); }

/* What keeps its order, and what the one task of a job has in hand, waits for the sinks. */
static bool may_wait(const struct weir_job *job)
{
    for (uint32_t e = 0; e < job->plan->edge_count; e++)
        if (job_keeps_order(job->plan, &job->plan->edges[e])) return true;
    return job->tasks.count == 1;
}

static bool is_under_way(const struct weir_job *job)
{
    return job != NULL && job->coordinator_ready && job->coordinator.phase == COORDINATOR_COLLECTING &&
           job->coordinator.overtaking && !may_wait(job);
}

static void watch(const struct life *life)
{
    const struct weir_job *job = life->job;
    const int64_t now_us = sched_now_us();
    if (!is_under_way(job)) {
        seen[life->number].job = NULL;
        return;
    }
    const bool is_same = seen[life->number].job == job && seen[life->number].attempt == job->attempt &&
                         seen[life->number].epoch == job->coordinator.epoch;
    if (!is_same) world_seen()->overtaking++;
    if (!is_same || sched_is_frozen(life->process)) {
        seen[life->number].job = job;
        seen[life->number].attempt = job->attempt;
        seen[life->number].epoch = job->coordinator.epoch;
        seen[life->number].since_us = now_us;
    }
    if (now_us - seen[life->number].since_us > PATIENCE_US)
        oracle_fail("barrier %" PRIu64 " of life %u overtakes, and waits all the same", job->coordinator.epoch, life->number);
}

void overtaking_watch(void)
{
    struct life *alive[LIVES_MAX];
    for (uint32_t i = 0, count = lives_alive(alive); i < count; i++) watch(alive[i]);
}
