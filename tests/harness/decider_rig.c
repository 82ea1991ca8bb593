#include "decider_rig.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "broker.h"
#include "patience.h"

struct decider_rig_mail {
    struct decider_rig_mail *next;
    struct weir_decider_event event;
};

static const struct weir_decider_type *const type = &weir_kafka_decider_type;

int64_t decider_rig_now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/* ---- Life -------------------------------------------------------------------------------------------------------- */

static void print_log(void *user, const struct weir_log_line *line)
{
    (void)user;
    if (getenv("WEIR_TEST_LOG") != NULL) (void)fprintf(stderr, "%d %s\n", (int)line->level, line->text);
}

static void configure(weir_config *config, const char *key, const char *value)
{
    struct weir_error error;
    ck_assert_msg(weir_config_set(config, WEIR_CONFIG_COMMAND_LINE, key, value, "test", &error) == WEIR_OK, "%s",
                  error.text);
}

static void configure_all(weir_config *config, const char *settings)
{
    if (settings == NULL) return;
    char *copy = strdup(settings), *rest = copy, *row;
    while ((row = strsep(&rest, ",")) != NULL) {
        char *value = strchr(row, '=');
        ck_assert_ptr_nonnull(value);
        *value++ = '\0';
        configure(config, row, value);
    }
    free(copy);
}

void decider_rig_prepare(struct decider_rig *rig, const char *job, uint32_t ring_size, const char *settings)
{
    *rig = (struct decider_rig){ .config = weir_config_create(), .ring_size = ring_size };
    environment_init_system(&rig->environment);
    rig->environment.log = print_log;
    configure(rig->config, "kafka.bootstrap.servers", broker_address());
    configure_all(rig->config, settings);
    rig->context = (struct weir_connector_context){
        .environment = &rig->environment,
        .config = rig->config,
        .job = job,
        .parallelism = 1,
        .exactly_once = true,
    };
    rig->last = &rig->first;
    pthread_mutex_init(&rig->mutex, NULL);
    pthread_cond_init(&rig->arrived, NULL);
}

/* Any thread. */
static void post(void *user, struct weir_decider_event *event)
{
    struct decider_rig *rig = user;
    struct decider_rig_mail *mail = malloc(sizeof *mail);
    *mail = (struct decider_rig_mail){ .event = *event };
    pthread_mutex_lock(&rig->mutex);
    *rig->last = mail;
    rig->last = &mail->next;
    pthread_cond_signal(&rig->arrived);
    pthread_mutex_unlock(&rig->mutex);
}

enum weir_code decider_rig_try_open(struct decider_rig *rig, struct weir_error *error)
{
    const struct weir_decider_options options = {
        .context = &rig->context, .slot = "0", .ring_size = rig->ring_size, .post = post, .post_user = rig,
    };
    return type->open(&options, &rig->decider, error);
}

void decider_rig_open(struct decider_rig *rig, const char *job, uint32_t ring_size, const char *settings)
{
    struct weir_error error;
    decider_rig_prepare(rig, job, ring_size, settings);
    ck_assert_msg(decider_rig_try_open(rig, &error) == WEIR_OK, "%s", error.text);
}

void decider_rig_close(struct decider_rig *rig)
{
    if (rig->decider != NULL) type->close(rig->decider);
    for (struct decider_rig_mail *mail = rig->first, *next; mail != NULL; mail = next) {
        next = mail->next;
        weir_decider_event_clear(&mail->event);
        free(mail);
    }
    pthread_cond_destroy(&rig->arrived);
    pthread_mutex_destroy(&rig->mutex);
    weir_config_destroy(rig->config);
}

/* ---- Events ------------------------------------------------------------------------------------------------------ */

static struct decider_rig_mail *take(struct decider_rig *rig)
{
    struct timespec deadline;
    clock_gettime(CLOCK_REALTIME, &deadline);
    deadline.tv_sec += PATIENCE_MS / 1000;
    pthread_mutex_lock(&rig->mutex);
    int result = 0;
    while (rig->first == NULL && result == 0) result = pthread_cond_timedwait(&rig->arrived, &rig->mutex, &deadline);
    struct decider_rig_mail *mail = rig->first;
    if (mail != NULL) rig->first = mail->next;
    if (rig->first == NULL) rig->last = &rig->first;
    pthread_mutex_unlock(&rig->mutex);
    ck_assert_msg(mail != NULL, "the decider did not answer within %d s", PATIENCE_MS / 1000);
    return mail;
}

struct weir_decider_event decider_rig_next(struct decider_rig *rig)
{
    for (;;) {
        struct decider_rig_mail *mail = take(rig);
        struct weir_decider_event event = mail->event;
        free(mail);
        if (event.attempt == rig->attempt) return event;
        weir_decider_event_clear(&event);
    }
}

struct weir_decider_event decider_rig_await(struct decider_rig *rig, enum weir_decider_event_type expected)
{
    struct weir_decider_event event = decider_rig_next(rig);
    ck_assert_msg(event.type == expected, "event %d instead of %d: %s", (int)event.type, (int)expected,
                  event.type == WEIR_DECIDER_FAILED ? event.error.text : "");
    return event;
}

void decider_rig_expect(struct decider_rig *rig, enum weir_decider_event_type expected)
{
    struct weir_decider_event event = decider_rig_await(rig, expected);
    weir_decider_event_clear(&event);
}

bool decider_rig_is_quiet(struct decider_rig *rig)
{
    pthread_mutex_lock(&rig->mutex);
    const bool is_quiet = rig->first == NULL;
    pthread_mutex_unlock(&rig->mutex);
    return is_quiet;
}

/* ---- The protocol ------------------------------------------------------------------------------------------------ */

uint32_t decider_rig_handle(const struct decider_rig *rig, uint64_t epoch)
{
    return (uint32_t)(epoch % rig->ring_size);
}

void decider_rig_start(struct decider_rig *rig)
{
    rig->attempt++;
    type->look(rig->decider, rig->attempt);
    decider_rig_expect(rig, WEIR_DECIDER_LOOKED);
    type->fence(rig->decider, rig->attempt, 0);
    decider_rig_expect(rig, WEIR_DECIDER_FENCED);
    type->read(rig->decider, rig->attempt);
    decider_rig_expect(rig, WEIR_DECIDER_READ);
}

void decider_rig_begin(struct decider_rig *rig, uint64_t epoch)
{
    type->begin(rig->decider, rig->attempt, decider_rig_handle(rig, epoch), epoch);
    const struct weir_decider_event event = decider_rig_await(rig, WEIR_DECIDER_BEGUN);
    ck_assert_uint_eq(event.epoch, epoch);
    ck_assert_uint_eq(event.handle, decider_rig_handle(rig, epoch));
}

void decider_rig_flush(struct decider_rig *rig, uint64_t epoch, const char *key, const char *value)
{
    type->flush(rig->decider, rig->attempt, decider_rig_handle(rig, epoch), epoch, weir_text(key), weir_text(value),
                false);
    const struct weir_decider_event event = decider_rig_await(rig, WEIR_DECIDER_FLUSHED);
    ck_assert_uint_eq(event.epoch, epoch);
}

void decider_rig_offsets(struct decider_rig *rig, uint64_t epoch, const char *split, int64_t position,
                         const char *metadata)
{
    struct weir_splits positions = { 0 };
    if (split != NULL)
        ck_assert(weir_splits_add(&positions, &(struct weir_split){ .name = split, .position = position,
                                                                    .end = WEIR_POSITION_NONE }));
    type->offsets(rig->decider, rig->attempt, decider_rig_handle(rig, epoch), epoch, &positions, metadata);
    weir_splits_clear(&positions);
    decider_rig_expect(rig, WEIR_DECIDER_READY);
}

void decider_rig_commit(struct decider_rig *rig, uint64_t epoch)
{
    type->commit(rig->decider, rig->attempt, decider_rig_handle(rig, epoch), epoch);
    const struct weir_decider_event event = decider_rig_await(rig, WEIR_DECIDER_COMMITTED);
    ck_assert_uint_eq(event.epoch, epoch);
    ck_assert(!event.renew);
}

void decider_rig_epoch(struct decider_rig *rig, uint64_t epoch, const char *key, const char *value)
{
    decider_rig_begin(rig, epoch);
    decider_rig_flush(rig, epoch, key, value);
    decider_rig_offsets(rig, epoch, NULL, 0, "");
    decider_rig_commit(rig, epoch);
}
