/* Threads without threads: everything that Weir starts runs as a fiber in one thread, on a clock that only moves when the
 * scheduler says so, and who runs next is drawn from a seed. The same seed gives the same run, instruction by
 * instruction.
 *
 *     thread_start ──> fiber of the process that called it          (base/thread.h is implemented here, in place of
 *     waker_sleep  ──> the fiber waits, another one runs             lib/base/thread.c: the program links this one)
 *     environment  ──> monotonic_us, wall_ms, random
 *
 * A fiber gives way where it sleeps, where it reads the clock (sometimes), and where it says sched_pause. Nowhere else,
 * so nobody sees a lock held. The clock moves by what a step costs (drawn, microseconds), and jumps when all sleep.
 *
 * Processes: a fiber belongs to the process that was current when it began. A process can be frozen (SIGSTOP), thawed, and
 * killed (SIGKILL): its fibers never run again, their stacks are taken away, whatever they had allocated is lost; so a
 * run with kills leaks, and belongs into a process of its own. */
#ifndef SIM_SCHED_H
#define SIM_SCHED_H

#include <stdbool.h>
#include <stdint.h>

#include "base/thread.h"

struct sched_process;

/* ---- The world's side: outside of fibers -------------------------------------------------------------------------- */

/* One scheduler for the program: begins anew, with time 0 and nobody there. */
void sched_begin(uint64_t seed);
/* Runs whoever can run until `until_us`, or until `stop` answers true (asked between fibers; may be NULL). What the
 * world has planned with sched_at happens meanwhile. False when nothing can ever happen any more: no fiber is runnable,
 * none waits with a time-out, nothing is planned. */
bool sched_run(int64_t until_us, bool (*stop)(void *user), void *user);
void sched_end(void); /* kills everybody */

/* Starts a process with one fiber. `machine` is whatever the world wants to find again (sched_machine): a disk, a
 * skewed clock. */
struct sched_process *sched_spawn(const char *name, void *machine, void (*run)(void *argument), void *argument);
void sched_freeze(struct sched_process *process);
void sched_thaw(struct sched_process *process);
bool sched_is_frozen(const struct sched_process *process);
/* From outside, or from within by its own fiber, which then does not return from this. */
void sched_kill(struct sched_process *process);
/* No fiber of it is left: all returned, or it was killed. */
bool sched_has_ended(const struct sched_process *process);
bool sched_was_killed(const struct sched_process *process);
/* How far the process's wall clock is off; 0 to begin with. Its monotonic clock is everybody's. */
void sched_set_wall_skew_ms(struct sched_process *process, int64_t ms);

/* ---- Anybody ------------------------------------------------------------------------------------------------------ */

int64_t sched_now_us(void);
/* A draw from the seed; below `limit` (not 0). */
uint64_t sched_random(void);
uint64_t sched_random_below(uint64_t limit);
bool sched_chance(uint32_t in_a_million);

/* Calls `run(argument)` at that time, outside of any fiber; in order of time, then of planning. It must not sleep. When a
 * process is given, not if that process has been killed by then. */
void sched_at(int64_t at_us, struct sched_process *process, void (*run)(void *argument), void *argument);

/* ---- Inside a fiber ------------------------------------------------------------------------------------------------ */

struct sched_process *sched_current(void); /* NULL outside */
void *sched_machine(void);                 /* of the current process */
const char *sched_process_name(const struct sched_process *process);
/* Lets time pass; others run. */
void sched_pause(int64_t us);

/* Something to wait for, apart from wakers: a condition variable without a lock, because there is nobody to lock out. */
struct sched_event {
    struct sched_fiber *waiting; /* list */
};
/* True when signalled, false after `timeout_us` (< 0: for ever). Look again at what was waited for. */
bool sched_wait(struct sched_event *event, int64_t timeout_us);
void sched_signal(struct sched_event *event); /* wakes all; anybody */

/* How often fibers have been switched: a measure of how long a run was that does not depend on the machine. */
uint64_t sched_switches(void);
/* A number that follows from everything that happened so far: two runs of one seed agree on it. */
uint64_t sched_digest(void);

#endif
