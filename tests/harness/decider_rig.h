/* Drives the Kafka decider as the job thread does, and waits for its answers. One attempt at a time. */
#ifndef HARNESS_DECIDER_RIG_H
#define HARNESS_DECIDER_RIG_H

#include <pthread.h>

#include "base/base.h"
#include "weir/kafka.h"

struct decider_rig_mail;

struct decider_rig {
    struct weir_environment environment;
    weir_config *config;
    struct weir_connector_context context;
    void *decider;
    uint32_t ring_size;
    uint32_t attempt;

    pthread_mutex_t mutex; /* guards the mail */
    pthread_cond_t arrived;
    struct decider_rig_mail *first, **last;
};

/* `settings`: "KEY=VALUE,KEY=VALUE", or NULL. The job's name is borrowed. */
void decider_rig_prepare(struct decider_rig *rig, const char *job, uint32_t ring_size, const char *settings);
/* prepare, and open the decider, which must work. */
void decider_rig_open(struct decider_rig *rig, const char *job, uint32_t ring_size, const char *settings);
enum weir_code decider_rig_try_open(struct decider_rig *rig, struct weir_error *error);
void decider_rig_close(struct decider_rig *rig);

/* The next event of this attempt, whatever it is; ends the fact when none comes. Clear it. */
struct weir_decider_event decider_rig_next(struct decider_rig *rig);
/* The next event, which must be of `type`; else the fact ends with the event's sentence. */
struct weir_decider_event decider_rig_await(struct decider_rig *rig, enum weir_decider_event_type type);
/* The same, and the event is cleared. */
void decider_rig_expect(struct decider_rig *rig, enum weir_decider_event_type type);
/* Whether an event is there already. */
bool decider_rig_is_quiet(struct decider_rig *rig);

/* look, fence, read of a new attempt. */
void decider_rig_start(struct decider_rig *rig);
/* begin, or flush with a ledger record "KEY" = "VALUE", offsets of "TOPIC/P" (NULL = none), commit; each is awaited. */
void decider_rig_begin(struct decider_rig *rig, uint64_t epoch);
void decider_rig_flush(struct decider_rig *rig, uint64_t epoch, const char *key, const char *value);
void decider_rig_offsets(struct decider_rig *rig, uint64_t epoch, const char *split, int64_t position,
                         const char *metadata);
void decider_rig_commit(struct decider_rig *rig, uint64_t epoch);
/* All four. */
void decider_rig_epoch(struct decider_rig *rig, uint64_t epoch, const char *key, const char *value);
uint32_t decider_rig_handle(const struct decider_rig *rig, uint64_t epoch);

int64_t decider_rig_now_us(void);

#endif
