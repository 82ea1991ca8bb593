/* Threads and waking. The only lock is in mailbox.c. */
#ifndef BASE_THREAD_H
#define BASE_THREAD_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "weir/connector.h"

struct thread {
    pthread_t handle;
    bool started;
};

/* Starts `run(argument)` under `name` (15 characters are shown by the system), all signals blocked. False when the
 * system refuses. */
bool thread_start(struct thread *thread, const char *name, void (*run)(void *argument), void *argument);
void thread_join(struct thread *thread); /* does nothing when not started */
/* Processor time that it has used so far. A thread that waits for a disk or a lock uses none. Any thread, before it is joined. */
int64_t thread_processor_ns(const struct thread *thread);

/* A wake-up that is remembered: an eventfd, with a word beside it so that waking somebody who is awake costs one atomic
 * exchange and no system call.
 *     owner: waker_sleep(timeout) ... anybody: waker_wake()
 * The descriptor may also be handed to others who write to it themselves (rd_kafka_queue_io_event_enable with a payload
 * of 8 bytes, the number 1): the next sleep returns at once. */
struct waker {
    int descriptor;    /* eventfd, non-blocking; readable when woken while asleep */
    _Atomic int state; /* AWAKE, ASLEEP, WOKEN */
};
bool waker_init(struct waker *waker);
void waker_deinit(struct waker *waker);
void waker_wake(struct waker *waker); /* any thread */
/* Sleeps until woken or `timeout_us` has passed (< 0: for ever). A wake since the last sleep returns at once. May
 * return early for no reason: look again at what was waited for. Owner. */
void waker_sleep(struct waker *waker, int64_t timeout_us);
struct weir_waker waker_public(struct waker *waker);

/* The real world's clock, randomness (seeded from the system) and no log. */
void environment_init_system(struct weir_environment *environment);

#endif
