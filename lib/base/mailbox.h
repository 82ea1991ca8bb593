/* Mail between threads: many senders, one receiver, in order. Unbounded: mail is rare (a few for each epoch), records
 * never travel this way. */
#ifndef BASE_MAILBOX_H
#define BASE_MAILBOX_H

#include <pthread.h>
#include <stdbool.h>

#include "base/thread.h"

/* First member of every letter; letters are malloc'ed by the sender and freed by the receiver. */
struct mail {
    struct mail *next;
    int type;
};

struct mailbox {
    pthread_mutex_t mutex;
    struct mail *first;
    struct mail **last;
    struct waker *waker; /* the receiver's; may be shared with other things that wake it */
    _Atomic bool has_mail;
};

void mailbox_init(struct mailbox *mailbox, struct waker *waker);
void mailbox_deinit(struct mailbox *mailbox, void (*discard)(struct mail *mail)); /* discards what was not taken */
void mailbox_post(struct mailbox *mailbox, struct mail *mail); /* any thread; takes `mail` */
struct mail *mailbox_take(struct mailbox *mailbox);            /* receiver; the oldest, or NULL */

#endif
