#include "runtime/worker.h"

#include <stdlib.h>

#include "runtime/letters.h"

struct worker {
    struct thread thread;
    struct waker waker;
    struct mailbox mailbox;
    struct mailbox *answers;
    bool (*idle)(void *user);
    void *user;
    _Atomic bool stopping, is_busy;
    int64_t processor_ns; /* at the last worker_has_moved */
};

void work_destroy(struct work *work)
{
    if (work->discard != NULL) work->discard(work);
    free(work);
}

static void discard_work(struct mail *mail) { work_destroy((struct work *)mail); }

static void run_worker(void *argument)
{
    struct worker *worker = argument;
    bool idle_has_more = true;
    while (!atomic_load(&worker->stopping)) {
        atomic_store(&worker->is_busy, true);
        struct work *work = (struct work *)mailbox_take(&worker->mailbox);
        if (work != NULL) {
            work->error.code = WEIR_OK;
            work->code = work->run(work);
            work->mail.type = LETTER_WORK_DONE;
            mailbox_post(worker->answers, &work->mail);
            idle_has_more = true;
        } else if (idle_has_more && worker->idle != NULL) {
            idle_has_more = worker->idle(worker->user);
        } else {
            atomic_store(&worker->is_busy, false);
            waker_sleep(&worker->waker, -1);
        }
    }
}

struct worker *worker_start(const char *name, struct mailbox *answers, bool (*idle)(void *user), void *user)
{
    struct worker *worker = calloc(1, sizeof(*worker));
    if (worker == NULL) return NULL;
    worker->answers = answers;
    worker->idle = idle;
    worker->user = user;
    if (!waker_init(&worker->waker)) goto failed;
    mailbox_init(&worker->mailbox, &worker->waker);
    if (thread_start(&worker->thread, name, run_worker, worker)) return worker;
    mailbox_deinit(&worker->mailbox, discard_work);
    waker_deinit(&worker->waker);
failed:
    free(worker);
    return NULL;
}

void worker_submit(struct worker *worker, struct work *work) { mailbox_post(&worker->mailbox, &work->mail); }

bool worker_has_moved(struct worker *worker)
{
    const int64_t before_ns = worker->processor_ns;
    worker->processor_ns = thread_processor_ns(&worker->thread);
    return worker->processor_ns != before_ns || !atomic_load(&worker->is_busy);
}

void worker_stop(struct worker *worker)
{
    if (worker == NULL) return;
    atomic_store(&worker->stopping, true);
    waker_wake(&worker->waker);
    thread_join(&worker->thread);
    mailbox_deinit(&worker->mailbox, discard_work);
    waker_deinit(&worker->waker);
    free(worker);
}
