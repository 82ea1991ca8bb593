/* The store's own thread, on which it writes batches down and links bases: a batch takes RocksDB a tenth of a second and a
 * sync or two, and the shard's thread has records to process meanwhile. It is started with the first piece of work; where the
 * system has no thread to give, the work is done on the spot. */
#include "state/store_rocksdb_private.h"

enum { WORK_NONE, WORK_GIVEN, WORK_DONE, WORK_QUIT };

/* What a work's state is when it is not the thread's: the owner writes NONE, GIVEN and QUIT, the thread DONE. Whoever reads the
 * other's word sees all that was written before it. */
static int state_of(const struct rocks_work *work)
{
    return atomic_load_explicit(&work->state, memory_order_acquire);
}

static void set_state(struct rocks_work *work, int state)
{
    atomic_store_explicit(&work->state, state, memory_order_release);
}

static void run_work(void *user)
{
    struct rocks *rocks = user;
    struct rocks_work *work = &rocks->work;
    for (;;) {
        waker_sleep(&work->given, -1);
        const int state = state_of(work);
        if (state == WORK_QUIT) return;
        if (state != WORK_GIVEN) continue;
        work->code = work->run(rocks, &work->error);
        set_state(work, WORK_DONE);
        waker_wake(&work->done);
    }
}

static bool start(struct rocks *rocks)
{
    struct rocks_work *work = &rocks->work;
    if (work->has_thread) return true;
    if (!waker_init(&work->given)) return false;
    work->has_thread = waker_init(&work->done);
    if (work->has_thread && thread_start(&work->thread, "weir-store", run_work, rocks)) return true;
    if (work->has_thread) waker_deinit(&work->done);
    waker_deinit(&work->given);
    return work->has_thread = false;
}

bool rocks_is_working(struct rocks *rocks, int64_t wait_us)
{
    struct rocks_work *work = &rocks->work;
    if (state_of(work) == WORK_NONE) return false;
    if (wait_us != 0 && state_of(work) == WORK_GIVEN) waker_sleep(&work->done, wait_us);
    while (wait_us < 0 && state_of(work) == WORK_GIVEN) waker_sleep(&work->done, wait_us);
    if (state_of(work) == WORK_GIVEN) return true;
    set_state(work, WORK_NONE);
    (void)rocks_fail(rocks, work->code, &work->error);
    rocks_look_at_memory(rocks);
    return false;
}

enum weir_code rocks_await(struct state_store *store, int64_t wait_us, bool *is_busy, struct weir_error *error)
{
    *is_busy = rocks_is_working(rocks_of(store), wait_us);
    return rocks_check_failure(rocks_of(store), error);
}

enum weir_code rocks_work(struct rocks *rocks, rocks_work_fn *run, bool on_the_spot, struct weir_error *error)
{
    struct rocks_work *work = &rocks->work;
    (void)rocks_is_working(rocks, -1);
    if (rocks_check_failure(rocks, error) != WEIR_OK) return rocks->failure.code;
    if (on_the_spot || !start(rocks)) {
        (void)rocks_fail(rocks, run(rocks, &work->error), &work->error);
        rocks_look_at_memory(rocks);
        return rocks_check_failure(rocks, error);
    }
    work->run = run;
    set_state(work, WORK_GIVEN);
    waker_wake(&work->given);
    return WEIR_OK;
}

void rocks_end_work(struct rocks *rocks)
{
    struct rocks_work *work = &rocks->work;
    if (!work->has_thread) return;
    (void)rocks_is_working(rocks, -1);
    set_state(work, WORK_QUIT);
    waker_wake(&work->given);
    thread_join(&work->thread);
    waker_deinit(&work->given);
    waker_deinit(&work->done);
}
