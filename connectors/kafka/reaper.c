#include "reaper.h"

#include <signal.h>
#include <stdlib.h>
#include <time.h>

struct kafka_reaper {
    pthread_mutex_t mutex;
    pthread_cond_t changed; /* on the monotonic clock */
    uint32_t references;    /* the owner's, and one for each client that is being closed */
};

struct errand {
    struct kafka_reaper *reaper;
    struct kafka_client *client;
};

struct kafka_reaper *kafka_reaper_create(void)
{
    struct kafka_reaper *reaper = calloc(1, sizeof *reaper);
    if (reaper == NULL) return NULL;
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&reaper->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    pthread_mutex_init(&reaper->mutex, NULL);
    reaper->references = 1;
    return reaper;
}

static void retain(struct kafka_reaper *reaper)
{
    pthread_mutex_lock(&reaper->mutex);
    reaper->references++;
    pthread_mutex_unlock(&reaper->mutex);
}

static void release(struct kafka_reaper *reaper)
{
    pthread_mutex_lock(&reaper->mutex);
    const bool is_last = --reaper->references == 0;
    pthread_cond_signal(&reaper->changed);
    pthread_mutex_unlock(&reaper->mutex);
    if (!is_last) return;
    pthread_cond_destroy(&reaper->changed);
    pthread_mutex_destroy(&reaper->mutex);
    free(reaper);
}

static void *close_client(void *argument)
{
    const struct errand errand = *(struct errand *)argument;
    free(argument);
    kafka_client_close(errand.client);
    release(errand.reaper);
    return NULL;
}

/* Signals belong to the host's threads. */
static bool start_detached(void *(*run)(void *), void *argument)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    pthread_t thread;
    const bool started = pthread_create(&thread, &attributes, run, argument) == 0;
    pthread_attr_destroy(&attributes);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return started;
}

void kafka_reaper_take(struct kafka_reaper *reaper, struct kafka_client *client)
{
    kafka_client_mute(client);
    struct errand *errand = malloc(sizeof *errand);
    if (errand == NULL) {
        kafka_client_close(client);
        return;
    }
    *errand = (struct errand){ .reaper = reaper, .client = client };
    retain(reaper);
    if (!start_detached(close_client, errand)) (void)close_client(errand);
}

static struct timespec deadline_after(int64_t ms)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    const int64_t ns = time.tv_nsec + ms % 1000 * 1000000;
    time.tv_sec += (time_t)(ms / 1000 + ns / 1000000000);
    time.tv_nsec = (long)(ns % 1000000000);
    return time;
}

void kafka_reaper_destroy(struct kafka_reaper *reaper, int64_t timeout_ms)
{
    if (reaper == NULL) return;
    const struct timespec deadline = deadline_after(timeout_ms);
    pthread_mutex_lock(&reaper->mutex);
    while (reaper->references > 1 && pthread_cond_timedwait(&reaper->changed, &reaper->mutex, &deadline) == 0)
        ;
    pthread_mutex_unlock(&reaper->mutex);
    release(reaper);
}
