#include "base/mailbox.h"

#include "base/check.h"

void mailbox_init(struct mailbox *mailbox, struct waker *waker)
{
    *mailbox = (struct mailbox){ .waker = waker };
    const int answer = pthread_mutex_init(&mailbox->mutex, NULL);
    CHECK(answer == 0); /* Linux's default mutex cannot fail to initialise */
    mailbox->last = &mailbox->first;
    atomic_init(&mailbox->has_mail, false);
}

void mailbox_deinit(struct mailbox *mailbox, void (*discard)(struct mail *mail))
{
    for (struct mail *mail; (mail = mailbox_take(mailbox)) != NULL;) discard(mail);
    pthread_mutex_destroy(&mailbox->mutex);
}

void mailbox_post(struct mailbox *mailbox, struct mail *mail)
{
    mail->next = NULL;
    pthread_mutex_lock(&mailbox->mutex);
    *mailbox->last = mail;
    mailbox->last = &mail->next;
    atomic_store(&mailbox->has_mail, true);
    /* Waking under the lock: the receiver may end, and take the waker along, as soon as it can see the letter. */
    if (mailbox->waker != NULL) waker_wake(mailbox->waker);
    pthread_mutex_unlock(&mailbox->mutex);
}

struct mail *mailbox_take(struct mailbox *mailbox)
{
    if (!atomic_load(&mailbox->has_mail)) return NULL;
    pthread_mutex_lock(&mailbox->mutex);
    struct mail *mail = mailbox->first;
    CHECK(mail != NULL);
    mailbox->first = mail->next;
    if (mailbox->first == NULL) {
        mailbox->last = &mailbox->first;
        atomic_store(&mailbox->has_mail, false);
    }
    pthread_mutex_unlock(&mailbox->mutex);
    mail->next = NULL;
    return mail;
}
