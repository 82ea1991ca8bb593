#include "base/thread.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"

enum { NAME_SHOWN_MAX = 15 };

struct start {
    void (*run)(void *argument);
    void *argument;
};

static void *run_start(void *user)
{
    const struct start start = *(struct start *)user;
    free(user);
    start.run(start.argument);
    return NULL;
}

static void name_thread(pthread_t handle, const char *name)
{
    char shown[NAME_SHOWN_MAX + 1] = { 0 };
    memcpy(shown, name, strnlen(name, NAME_SHOWN_MAX));
    (void)pthread_setname_np(handle, shown);
}

bool thread_start(struct thread *thread, const char *name, void (*run)(void *argument), void *argument)
{
    thread->started = false;
    struct start *start = malloc(sizeof *start);
    if (start == NULL) return false;
    *start = (struct start){ run, argument };

    /* A thread inherits the mask of its creator: signals are the host program's business, and go to its own threads. */
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    thread->started = pthread_create(&thread->handle, NULL, run_start, start) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);

    if (thread->started) name_thread(thread->handle, name);
    else free(start);
    return thread->started;
}

void thread_join(struct thread *thread)
{
    if (!thread->started) return;
    const int answer = pthread_join(thread->handle, NULL);
    CHECK(answer == 0);
    thread->started = false;
}

int64_t thread_processor_ns(const struct thread *thread)
{
    clockid_t clock;
    struct timespec used;
    if (pthread_getcpuclockid(thread->handle, &clock) != 0 || clock_gettime(clock, &used) != 0) return 0;
    return (int64_t)used.tv_sec * 1000000000 + used.tv_nsec;
}

/*   AWAKE ──sleep──> ASLEEP ──wake: writes the eventfd──> WOKEN
 *     │  ^───────────── returns from poll ──────────────────┘ │
 *     │  ^───────────── sleep: returns at once ───────────────┘
 *     └──────wake──────> WOKEN
 *
 * Every change is a read-modify-write of one word, so whoever finds WOKEN knows that the owner will look again after it
 * has read that very value: what was written before the wake is seen then. */
enum { AWAKE, ASLEEP, WOKEN };

bool waker_init(struct waker *waker)
{
    atomic_init(&waker->state, AWAKE);
    waker->descriptor = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return waker->descriptor >= 0;
}

void waker_deinit(struct waker *waker)
{
    if (waker->descriptor >= 0) close(waker->descriptor);
    waker->descriptor = -1;
}

void waker_wake(struct waker *waker)
{
    if (atomic_exchange(&waker->state, WOKEN) != ASLEEP) return;
    const uint64_t one = 1;
    const ssize_t written = write(waker->descriptor, &one, sizeof one);
    /* Full only after 2^64 - 2 wakes, and then it is readable anyway. */
    CHECK(written == sizeof one || errno == EAGAIN);
}

void waker_sleep(struct waker *waker, int64_t timeout_us)
{
    int expected = AWAKE;
    if (!atomic_compare_exchange_strong(&waker->state, &expected, ASLEEP)) {
        CHECK(expected == WOKEN);
        atomic_exchange(&waker->state, AWAKE);
        return;
    }
    struct pollfd descriptor = { .fd = waker->descriptor, .events = POLLIN };
    const struct timespec timeout = { .tv_sec = timeout_us / 1000000, .tv_nsec = timeout_us % 1000000 * 1000 };
    (void)ppoll(&descriptor, 1, timeout_us < 0 ? NULL : &timeout, NULL);
    atomic_exchange(&waker->state, AWAKE);
    uint64_t count;
    (void)!read(waker->descriptor, &count, sizeof count); /* EAGAIN after a time-out */
}

static void wake_user(void *user)
{
    waker_wake(user);
}

struct weir_waker waker_public(struct waker *waker)
{
    return (struct weir_waker){ .wake = wake_user, .user = waker };
}

static int64_t system_monotonic_us(void *user)
{
    (void)user;
    return clock_us(CLOCK_MONOTONIC);
}

static int64_t system_wall_ms(void *user)
{
    (void)user;
    return clock_wall_ms();
}

/* Asks the system each time: no state to share between threads. Tasks seed a generator of their own from it. */
static uint64_t system_random(void *user)
{
    (void)user;
    uint64_t number;
    ssize_t size;
    do size = getrandom(&number, sizeof number, 0);
    while (size < 0 && errno == EINTR);
    CHECK(size == sizeof number);
    return number;
}

void environment_init_system(struct weir_environment *environment)
{
    *environment = (struct weir_environment){
        .monotonic_us = system_monotonic_us,
        .wall_ms = system_wall_ms,
        .random = system_random,
    };
}
