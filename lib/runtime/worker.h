/* A worker: one thread that does blocking work for the job thread, one piece after another, and mails each piece back when
 * it is done. The job has two: the environment worker (opening, looking things up, restoring) and the log writer. */
#ifndef RUNTIME_WORKER_H
#define RUNTIME_WORKER_H

#include "base/base.h"

/* A piece of work. Embedded as the first member of a struct with its arguments and results; malloc'ed by the job, owned by
 * the worker while it runs, by the job again afterwards. */
struct work {
    struct mail mail;
    enum weir_code (*run)(struct work *work);   /* worker thread; sets `error` when it fails */
    void (*done)(struct work *work, void *job); /* job thread */
    void (*discard)(struct work *work);         /* frees what the struct owns besides itself; may be NULL */
    enum weir_code code;
    struct weir_error error;
    uint32_t attempt;
};
void work_destroy(struct work *work);

struct worker;

/* Finished work goes to `answers` as LETTER_WORK_DONE. `idle` is called while there is nothing to do until it answers
 * false (may be NULL). NULL when the system refuses. */
struct worker *worker_start(const char *name, struct mailbox *answers, bool (*idle)(void *user), void *user);
void worker_submit(struct worker *worker, struct work *work); /* takes `work` */
/* Whether it is idle, or has used the processor since the last call: what hangs in a disk or in a lock does not. Job thread. */
bool worker_has_moved(struct worker *worker);
/* Waits for the work in hand, discards what is queued, joins. NULL is allowed. */
void worker_stop(struct worker *worker);

#endif
