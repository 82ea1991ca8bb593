/* Fibers in place of threads. The scheduler runs on the program's own stack; a fiber that gives way always comes back to
 * it, and it alone decides who is next:
 *
 *   sched_run:  planned things that are due -> fibers whose time has come are READY -> pick one -> its step -> clock moves
 *                        nobody is READY: the clock jumps to the next thing that will happen
 *
 *   READY ──picked──> current ──gives way──> READY
 *     ^                  ├──── waits ───────> WAITING ──woken, or its time has come──> READY
 *     │                  └──── returns ─────> ENDED ──joined──> gone
 *
 * Nothing here depends on an address, on real time, or on anything else but the seed and what the fibers do. */
/* What distributions add to the flags: their longjmp goes up one stack, and nowhere else. */
#undef _FORTIFY_SOURCE

#include "sim/sched.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <ucontext.h>
#include <unistd.h>

#include "base/check.h"
#include "base/vec.h"

/* AddressSanitizer's, where the program has it: this file may come out of an archive that was built without. */
#define MAYBE __attribute__((weak))
void __asan_unpoison_memory_region(void const volatile *address, size_t size) MAYBE;
void __sanitizer_start_switch_fiber(void **fake_stack, const void *bottom, size_t size) MAYBE;
void __sanitizer_finish_switch_fiber(void *fake_stack, const void **bottom, size_t *size) MAYBE;

#define MILLION 1000000u
#define NEVER INT64_MAX
#define WALL_BEGIN_MS INT64_C(1767225600000) /* 2026-01-01 */

enum {
    NAME_SIZE = 32,
    GUARD_BYTES = 4096,
    STACK_BYTES = 1024 * 1024, /* operators are other people's code, and AddressSanitizer's frames are large */
    SWITCH_US_MAX = 30,
    READING_US_MAX = 2,   /* what a look at the clock costs: who only looks sees time pass */
    HOLD_US_MAX = 100000, /* how long one fiber is kept from running */
    WATCHDOG_S = 10,
};

enum fiber_state { READY, WAITING, ENDED };

struct sched_fiber {
    uint64_t id; /* never used again */
    char name[NAME_SIZE];
    struct sched_process *process;
    void (*run)(void *argument);
    void *argument;
    enum fiber_state state;
    bool is_first;                   /* of its process: nobody joins it */
    bool was_woken;                  /* by somebody, not by the clock */
    int64_t wake_us;                 /* WAITING: at the latest */
    const struct waker *waker;       /* asleep on it */
    struct sched_event *event;       /* waiting for it ... */
    struct sched_fiber *next_waiting; /* ... like this one */
    struct sched_fiber *joiner;
    uint32_t readings;               /* of the clock, since it was picked */
    uint64_t rank;
    int error_number;                /* errno belongs to a thread */
    char *stack;
    void *fake_stack;                /* AddressSanitizer's */
    bool has_begun;
    ucontext_t context;              /* where it begins ... */
    jmp_buf place;                   /* ... and where it gave way: swapcontext would ask the kernel for the signal
                                        mask at each switch, 40 % of a run */
};

/* Stays until the end of the run: what it has asked for may be answered to it after its end. */
struct sched_process {
    char name[NAME_SIZE];
    void *machine;
    int64_t wall_skew_ms;
    uint32_t fibers_alive;
    bool is_frozen, was_killed;
};

struct planned {
    int64_t at_us;
    uint64_t order;
    struct sched_process *process;
    void (*run)(void *argument);
    void *argument;
};

/* Who runs next. Uniform draws alone find little: what breaks programs is one thread that lags behind, or runs ahead. */
enum policy {
    POLICY_UNIFORM,
    POLICY_HOLD,   /* everybody but one, for a while, even when nobody else can run */
    POLICY_FAVOUR, /* one as long as it can, then anybody */
    POLICY_RANK,   /* the highest of an order drawn at the beginning of the phase */
    POLICY_COUNT
};

static struct {
    uint64_t random, digest, switches;
    int64_t now_us;
    uint64_t id_last, order_last;
    VEC(struct sched_fiber *) fibers; /* in the order of their birth */
    VEC(struct sched_fiber *) candidates;
    VEC(struct sched_process *) processes;
    VEC(struct planned) planned; /* a heap, the earliest first */
    struct sched_fiber *current;
    bool has_begun, is_running;
    jmp_buf place; /* of the scheduler */
    void *fake_stack;
    const void *stack_bottom;
    size_t stack_size;

    /* Of the run. */
    uint32_t policies;      /* mask */
    uint32_t reading_chance; /* that a look at the clock gives way, in a million */
    uint32_t readings_max;  /* so many looks always do */
    uint32_t early_chance;  /* that a sleep ends for no reason */
    /* Of the phase. */
    enum policy policy;
    uint64_t phase_end; /* in switches */
    uint64_t chosen;    /* id of the fiber that is held or favoured */
    int64_t held_until_us;
} sched;

static VEC(char *) free_stacks; /* kept from run to run */

/* ---- Chance ------------------------------------------------------------------------------------------------------- */

static uint64_t mix(uint64_t z) /* the end of splitmix64 */
{
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
}

uint64_t sched_random(void)
{
    return mix(sched.random += 0x9e3779b97f4a7c15);
}

uint64_t sched_random_below(uint64_t limit)
{
    CHECK(limit > 0);
    return sched_random() % limit;
}

bool sched_chance(uint32_t in_a_million)
{
    return sched_random_below(MILLION) < in_a_million;
}

static void note(uint64_t fact)
{
    sched.digest = mix(sched.digest ^ fact) + 0x9e3779b97f4a7c15;
}

/* ---- Stacks ------------------------------------------------------------------------------------------------------- */

/* The lowest address that a fiber may use; below it lies a page that nobody may touch. */
static char *stack_take(void)
{
    if (free_stacks.count > 0) return free_stacks.items[--free_stacks.count];
    char *memory = mmap(NULL, GUARD_BYTES + STACK_BYTES, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
    CHECK(memory != MAP_FAILED);
    const int answer = mprotect(memory, GUARD_BYTES, PROT_NONE);
    CHECK(answer == 0);
    return memory + GUARD_BYTES;
}

static void stack_give_back(char *stack)
{
    /* Frames that never returned lie there. */
    if (__asan_unpoison_memory_region != NULL) __asan_unpoison_memory_region(stack, STACK_BYTES);
    char **place = vec_push(&free_stacks);
    CHECK(place != NULL);
    *place = stack;
}

/* ---- Switching ---------------------------------------------------------------------------------------------------- */

/* AddressSanitizer is told before each switch where the stack goes, and after it that it has arrived. */
static void before_switch(void **fake_stack, const void *bottom, size_t size)
{
    if (__sanitizer_start_switch_fiber != NULL) __sanitizer_start_switch_fiber(fake_stack, bottom, size);
}

static void after_switch(void *fake_stack, const void **bottom, size_t *size)
{
    if (__sanitizer_finish_switch_fiber != NULL) __sanitizer_finish_switch_fiber(fake_stack, bottom, size);
}

/* From the scheduler into a fiber, until it gives way. */
static void enter(struct sched_fiber *fiber)
{
    const int error_number = errno;
    sched.current = fiber;
    fiber->readings = 0;
    errno = fiber->error_number;
    before_switch(&sched.fake_stack, fiber->stack, STACK_BYTES);
    if (_setjmp(sched.place) == 0) {
        if (fiber->has_begun) _longjmp(fiber->place, 1);
        fiber->has_begun = true;
        (void)setcontext(&fiber->context);
        CHECK(!"what was made can be set");
    }
    after_switch(sched.fake_stack, NULL, NULL);
    fiber->error_number = errno;
    errno = error_number;
    sched.current = NULL;
}

/* From a fiber back to the scheduler. Does not return when the fiber has ended. */
static void give_way(void)
{
    struct sched_fiber *fiber = sched.current;
    CHECK(fiber != NULL);
    before_switch(fiber->state == ENDED ? NULL : &fiber->fake_stack, sched.stack_bottom, sched.stack_size);
    if (_setjmp(fiber->place) == 0) _longjmp(sched.place, 1);
    CHECK(fiber->state == READY);
    after_switch(fiber->fake_stack, NULL, NULL);
}

static void make_ready(struct sched_fiber *fiber, bool was_woken);

static void fiber_main(void)
{
    after_switch(NULL, &sched.stack_bottom, &sched.stack_size);
    struct sched_fiber *fiber = sched.current;
    fiber->run(fiber->argument);
    fiber->state = ENDED;
    fiber->process->fibers_alive--;
    if (fiber->joiner != NULL) make_ready(fiber->joiner, true);
    give_way();
}

/* ---- Fibers ------------------------------------------------------------------------------------------------------- */

static struct sched_fiber *fiber_create(struct sched_process *process, const char *name, void (*run)(void *argument),
                                        void *argument)
{
    struct sched_fiber *fiber = calloc(1, sizeof *fiber);
    struct sched_fiber **place = vec_push(&sched.fibers);
    CHECK(fiber != NULL && place != NULL);
    *place = fiber;
    fiber->id = ++sched.id_last;
    fiber->process = process;
    fiber->run = run;
    fiber->argument = argument;
    fiber->rank = sched_random();
    fiber->stack = stack_take();
    (void)snprintf(fiber->name, sizeof fiber->name, "%s", name);
    const int answer = getcontext(&fiber->context);
    CHECK(answer == 0);
    fiber->context.uc_stack.ss_sp = fiber->stack;
    fiber->context.uc_stack.ss_size = STACK_BYTES;
    makecontext(&fiber->context, fiber_main, 0);
    process->fibers_alive++;
    return fiber;
}

/* Takes it off the list; it is not the one that runs. */
static void fiber_destroy(struct sched_fiber *fiber)
{
    size_t i = 0;
    while (sched.fibers.items[i] != fiber) i++;
    sched.fibers.count--;
    memmove(&sched.fibers.items[i], &sched.fibers.items[i + 1], (sched.fibers.count - i) * sizeof(fiber));
    if (fiber->stack != NULL) stack_give_back(fiber->stack);
    free(fiber);
}

static void leave_event(struct sched_fiber *fiber)
{
    if (fiber->event == NULL) return;
    struct sched_fiber **link = &fiber->event->waiting;
    while (*link != fiber) link = &(*link)->next_waiting;
    *link = fiber->next_waiting;
    fiber->event = NULL;
}

static void make_ready(struct sched_fiber *fiber, bool was_woken)
{
    CHECK(fiber->state == WAITING);
    leave_event(fiber);
    fiber->waker = NULL;
    fiber->state = READY;
    fiber->was_woken = was_woken;
}

static bool can_move(const struct sched_fiber *fiber)
{
    return !fiber->process->is_frozen && fiber->state != ENDED;
}

static int64_t after_us(int64_t us)
{
    return us < 0 || us > NEVER - sched.now_us ? NEVER : sched.now_us + us;
}

/* The current fiber waits; true when somebody woke it. */
static bool wait_until(int64_t wake_us)
{
    struct sched_fiber *fiber = sched.current;
    CHECK(fiber != NULL); /* the world itself must not sleep */
    fiber->state = WAITING;
    fiber->wake_us = wake_us;
    give_way();
    return fiber->was_woken;
}

/* ---- What is planned: a binary heap by time, then by order --------------------------------------------------------- */

static bool is_earlier(const struct planned *a, const struct planned *b)
{
    return a->at_us < b->at_us || (a->at_us == b->at_us && a->order < b->order);
}

static void planned_swap(size_t a, size_t b)
{
    const struct planned kept = sched.planned.items[a];
    sched.planned.items[a] = sched.planned.items[b];
    sched.planned.items[b] = kept;
}

static void planned_rise(size_t i)
{
    struct planned *items = sched.planned.items;
    for (; i > 0 && is_earlier(&items[i], &items[(i - 1) / 2]); i = (i - 1) / 2) planned_swap(i, (i - 1) / 2);
}

static void planned_sink(size_t i)
{
    const struct planned *items = sched.planned.items;
    for (;;) {
        size_t first = i;
        for (size_t child = 2 * i + 1; child <= 2 * i + 2 && child < sched.planned.count; child++)
            if (is_earlier(&items[child], &items[first])) first = child;
        if (first == i) return;
        planned_swap(i, first);
        i = first;
    }
}

void sched_at(int64_t at_us, struct sched_process *process, void (*run)(void *argument), void *argument)
{
    if (process != NULL && process->was_killed) return;
    struct planned *planned = vec_push(&sched.planned);
    CHECK(planned != NULL);
    *planned = (struct planned){ at_us, ++sched.order_last, process, run, argument };
    planned_rise(sched.planned.count - 1);
}

static void planned_drop(const struct sched_process *process)
{
    size_t kept = 0;
    for (size_t i = 0; i < sched.planned.count; i++)
        if (sched.planned.items[i].process != process) sched.planned.items[kept++] = sched.planned.items[i];
    sched.planned.count = kept;
    for (size_t i = kept / 2; i-- > 0;) planned_sink(i);
}

/* Lets the earliest thing happen, if it is due. */
static bool planned_run(void)
{
    if (sched.planned.count == 0 || sched.planned.items[0].at_us > sched.now_us) return false;
    const struct planned planned = sched.planned.items[0];
    sched.planned.items[0] = sched.planned.items[--sched.planned.count];
    planned_sink(0);
    note((uint64_t)sched.now_us);
    note(planned.order);
    planned.run(planned.argument);
    return true;
}

/* ---- Who is next -------------------------------------------------------------------------------------------------- */

static bool is_held(const struct sched_fiber *fiber)
{
    return sched.policy == POLICY_HOLD && fiber->id == sched.chosen && sched.now_us < sched.held_until_us;
}

/* Phases are short and long: their length is drawn by its order of magnitude. */
static void begin_phase(void)
{
    do sched.policy = (enum policy)sched_random_below(POLICY_COUNT);
    while ((sched.policies >> sched.policy & 1) == 0);
    sched.phase_end = sched.switches + 1 + sched_random_below((uint64_t)1 << sched_random_below(12));
    sched.chosen = sched.fibers.count == 0 ? 0 : sched.fibers.items[sched_random_below(sched.fibers.count)]->id;
    sched.held_until_us = sched.now_us + (int64_t)sched_random_below(HOLD_US_MAX);
    if (sched.policy != POLICY_RANK) return;
    for (size_t i = 0; i < sched.fibers.count; i++) sched.fibers.items[i]->rank = sched_random();
}

static void find_candidates(void)
{
    sched.candidates.count = 0;
    for (size_t i = 0; i < sched.fibers.count; i++) {
        struct sched_fiber *fiber = sched.fibers.items[i];
        if (fiber->state != READY || !can_move(fiber) || is_held(fiber)) continue;
        struct sched_fiber **place = vec_push(&sched.candidates);
        CHECK(place != NULL);
        *place = fiber;
    }
}

static struct sched_fiber *pick(void)
{
    if (sched.switches >= sched.phase_end) begin_phase();
    find_candidates();
    if (sched.candidates.count == 0) return NULL;
    struct sched_fiber *best = sched.candidates.items[0];
    for (size_t i = 0; i < sched.candidates.count; i++) {
        struct sched_fiber *fiber = sched.candidates.items[i];
        if (sched.policy == POLICY_FAVOUR && fiber->id == sched.chosen) return fiber;
        if (fiber->rank > best->rank) best = fiber;
    }
    if (sched.policy == POLICY_RANK) return best;
    return sched.candidates.items[sched_random_below(sched.candidates.count)];
}

static void wake_the_due(void)
{
    for (size_t i = 0; i < sched.fibers.count; i++) {
        struct sched_fiber *fiber = sched.fibers.items[i];
        if (fiber->state == WAITING && can_move(fiber) && fiber->wake_us <= sched.now_us) make_ready(fiber, false);
    }
}

/* When the next thing happens, while nobody can run; NEVER = nothing will. */
static int64_t next_us(void)
{
    int64_t next = sched.planned.count > 0 ? sched.planned.items[0].at_us : NEVER;
    for (size_t i = 0; i < sched.fibers.count; i++) {
        const struct sched_fiber *fiber = sched.fibers.items[i];
        if (!can_move(fiber)) continue;
        const int64_t at_us = fiber->state == READY ? sched.held_until_us : fiber->wake_us;
        if (at_us < next) next = at_us;
    }
    return next;
}

static void step(struct sched_fiber *fiber)
{
    note((uint64_t)sched.now_us);
    note(fiber->id);
    sched.switches++;
    enter(fiber);
    sched.now_us += (int64_t)sched_random_below(SWITCH_US_MAX + 1);
    if (fiber->state != ENDED) return;
    stack_give_back(fiber->stack);
    fiber->stack = NULL;
    if (fiber->is_first || fiber->process->was_killed) fiber_destroy(fiber);
}

static bool run(int64_t until_us, bool (*stop)(void *user), void *user)
{
    while (stop == NULL || !stop(user)) {
        if (planned_run()) continue;
        if (sched.now_us >= until_us) return true;
        wake_the_due();
        struct sched_fiber *fiber = pick();
        if (fiber != NULL) {
            step(fiber);
            continue;
        }
        const int64_t next = next_us();
        if (next == NEVER) return false;
        sched.now_us = next < until_us ? next : until_us;
    }
    return true;
}

bool sched_run(int64_t until_us, bool (*stop)(void *user), void *user)
{
    CHECK(sched.has_begun && !sched.is_running);
    sched.is_running = true;
    const bool may_go_on = run(until_us, stop, user);
    sched.is_running = false;
    return may_go_on;
}

/* ---- The watchdog: what never gives way would hang the program ------------------------------------------------------ */

static struct sigaction action_before;
static volatile uint64_t switches_seen;
static volatile int seconds_without_switch;

static void say(const char *text)
{
    if (write(STDERR_FILENO, text, strlen(text)) < 0) _exit(3);
}

static void watch(int signal_number)
{
    (void)signal_number;
    const struct sched_fiber *fiber = sched.current;
    if (switches_seen != sched.switches) seconds_without_switch = 0;
    switches_seen = sched.switches;
    if (++seconds_without_switch <= WATCHDOG_S) return;
    say("sched: ");
    say(fiber == NULL ? "the world" : fiber->name);
    say(" of ");
    say(fiber == NULL ? "the simulation" : fiber->process->name);
    say(" has not given way for 10 s\n");
    _exit(3);
}

static void set_alarm(int seconds)
{
    const struct itimerval timer = { .it_interval = { .tv_sec = seconds }, .it_value = { .tv_sec = seconds } };
    (void)setitimer(ITIMER_REAL, &timer, NULL);
}

static void start_watchdog(void)
{
    struct sigaction action = { .sa_handler = watch, .sa_flags = SA_RESTART };
    (void)sigaction(SIGALRM, &action, &action_before);
    seconds_without_switch = 0;
    set_alarm(1);
}

static void stop_watchdog(void)
{
    set_alarm(0);
    (void)sigaction(SIGALRM, &action_before, NULL);
}

/* ---- Beginning and end -------------------------------------------------------------------------------------------- */

void sched_begin(uint64_t seed)
{
    CHECK(!sched.has_begun);
    memset(&sched, 0, sizeof sched);
    sched.has_begun = true;
    sched.random = seed;
    sched.policies = 1 + (uint32_t)sched_random_below((1 << POLICY_COUNT) - 1);
    /* One in eight on average, one in two at most. */
    sched.reading_chance = (uint32_t)(sched_random_below(MILLION) * sched_random_below(MILLION / 2) / MILLION);
    sched.readings_max = 1 + (uint32_t)sched_random_below(1000);
    sched.early_chance = (uint32_t)(sched_random_below(2) * sched_random_below(MILLION / 50));
    start_watchdog();
}

void sched_end(void)
{
    CHECK(sched.has_begun && !sched.is_running);
    stop_watchdog();
    for (size_t i = 0; i < sched.processes.count; i++) sched_kill(sched.processes.items[i]);
    while (sched.fibers.count > 0) fiber_destroy(sched.fibers.items[0]);
    for (size_t i = 0; i < sched.processes.count; i++) free(sched.processes.items[i]);
    vec_free(&sched.processes);
    vec_free(&sched.fibers);
    vec_free(&sched.candidates);
    vec_free(&sched.planned);
    sched.has_begun = false;
}

/* ---- Processes ---------------------------------------------------------------------------------------------------- */

struct sched_process *sched_spawn(const char *name, void *machine, void (*run_process)(void *argument), void *argument)
{
    struct sched_process *process = calloc(1, sizeof *process);
    struct sched_process **place = vec_push(&sched.processes);
    CHECK(process != NULL && place != NULL);
    *place = process;
    process->machine = machine;
    (void)snprintf(process->name, sizeof process->name, "%s", name);
    fiber_create(process, name, run_process, argument)->is_first = true;
    return process;
}

void sched_freeze(struct sched_process *process)
{
    process->is_frozen = true;
    if (sched.current != NULL && sched.current->process == process) give_way();
}

void sched_thaw(struct sched_process *process)
{
    process->is_frozen = false;
}

bool sched_is_frozen(const struct sched_process *process) { return process->is_frozen; }

void sched_kill(struct sched_process *process)
{
    if (process->was_killed) return;
    process->was_killed = true;
    process->fibers_alive = 0;
    planned_drop(process);
    /* All leave what they wait for before a stack is gone: events may lie on stacks. */
    for (size_t i = 0; i < sched.fibers.count; i++)
        if (sched.fibers.items[i]->process == process) leave_event(sched.fibers.items[i]);
    for (size_t i = sched.fibers.count; i-- > 0;) {
        struct sched_fiber *fiber = sched.fibers.items[i];
        if (fiber->process == process && fiber != sched.current) fiber_destroy(fiber);
    }
    if (sched.current == NULL || sched.current->process != process) return;
    sched.current->state = ENDED;
    give_way();
}

bool sched_has_ended(const struct sched_process *process)
{
    return process->fibers_alive == 0;
}

bool sched_was_killed(const struct sched_process *process)
{
    return process->was_killed;
}

void sched_set_wall_skew_ms(struct sched_process *process, int64_t ms)
{
    process->wall_skew_ms = ms;
}

/* ---- Inside a fiber ----------------------------------------------------------------------------------------------- */

int64_t sched_now_us(void) { return sched.now_us; }
uint64_t sched_switches(void) { return sched.switches; }
uint64_t sched_digest(void) { return mix(sched.digest ^ sched.random); }
const char *sched_process_name(const struct sched_process *process) { return process->name; }

struct sched_process *sched_current(void)
{
    return sched.current == NULL ? NULL : sched.current->process;
}

void *sched_machine(void)
{
    return sched.current == NULL ? NULL : sched.current->process->machine;
}

void sched_pause(int64_t us)
{
    (void)wait_until(after_us(us < 0 ? 0 : us));
}

bool sched_wait(struct sched_event *event, int64_t timeout_us)
{
    struct sched_fiber *fiber = sched.current;
    CHECK(fiber != NULL);
    fiber->event = event;
    fiber->next_waiting = event->waiting;
    event->waiting = fiber;
    return wait_until(after_us(timeout_us));
}

void sched_signal(struct sched_event *event)
{
    while (event->waiting != NULL) make_ready(event->waiting, true);
}

/* ---- base/thread.h ------------------------------------------------------------------------------------------------- */

static struct sched_fiber *find_fiber(pthread_t handle)
{
    for (size_t i = 0; i < sched.fibers.count; i++)
        if (sched.fibers.items[i]->id == (uint64_t)handle) return sched.fibers.items[i];
    return NULL;
}

bool thread_start(struct thread *thread, const char *name, void (*run_thread)(void *argument), void *argument)
{
    CHECK(sched.current != NULL); /* a thread belongs to a process */
    *thread = (struct thread){ (pthread_t)fiber_create(sched.current->process, name, run_thread, argument)->id, true };
    return true;
}

void thread_join(struct thread *thread)
{
    if (!thread->started) return;
    struct sched_fiber *fiber = find_fiber(thread->handle);
    CHECK(fiber != NULL && fiber->joiner == NULL && fiber != sched.current);
    fiber->joiner = sched.current;
    while (fiber->state != ENDED) (void)wait_until(NEVER);
    fiber_destroy(fiber);
    thread->started = false;
}

int64_t thread_processor_ns(const struct thread *thread)
{
    (void)thread;
    return 0;
}

enum { AWAKE, ASLEEP, WOKEN };

bool waker_init(struct waker *waker)
{
    atomic_init(&waker->state, AWAKE);
    waker->descriptor = 0; /* no system call: nothing to run out of, and nothing left open by those who are killed */
    return true;
}

void waker_deinit(struct waker *waker)
{
    CHECK(atomic_load(&waker->state) != ASLEEP);
    waker->descriptor = -1;
}

/* Called under locks: must not switch. */
void waker_wake(struct waker *waker)
{
    if (atomic_exchange(&waker->state, WOKEN) != ASLEEP) return;
    for (size_t i = 0; i < sched.fibers.count; i++)
        if (sched.fibers.items[i]->waker == waker) return make_ready(sched.fibers.items[i], true);
}

void waker_sleep(struct waker *waker, int64_t timeout_us)
{
    CHECK(sched.current != NULL && atomic_load(&waker->state) != ASLEEP);
    if (atomic_load(&waker->state) == AWAKE) {
        if (sched.early_chance > 0 && sched_chance(sched.early_chance)) timeout_us = 0;
        atomic_store(&waker->state, ASLEEP);
        sched.current->waker = waker;
        (void)wait_until(after_us(timeout_us));
    }
    atomic_store(&waker->state, AWAKE);
}

static void wake_user(void *user)
{
    waker_wake(user);
}

struct weir_waker waker_public(struct waker *waker)
{
    return (struct weir_waker){ .wake = wake_user, .user = waker };
}

/* A look at the clock: time passes, and perhaps others run. */
static void look(void)
{
    struct sched_fiber *fiber = sched.current;
    if (fiber == NULL) return;
    sched.now_us += (int64_t)sched_random_below(READING_US_MAX + 1);
    if (++fiber->readings >= sched.readings_max || sched_chance(sched.reading_chance)) give_way();
}

static int64_t fiber_monotonic_us(void *user)
{
    (void)user;
    look();
    return sched.now_us;
}

static int64_t fiber_wall_ms(void *user)
{
    (void)user;
    look();
    const struct sched_process *process = sched_current();
    return WALL_BEGIN_MS + sched.now_us / 1000 + (process == NULL ? 0 : process->wall_skew_ms);
}

static uint64_t fiber_random(void *user)
{
    (void)user;
    return sched_random();
}

void environment_init_system(struct weir_environment *environment)
{
    *environment = (struct weir_environment){
        .monotonic_us = fiber_monotonic_us,
        .wall_ms = fiber_wall_ms,
        .random = fiber_random,
    };
}
