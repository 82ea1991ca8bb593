/* Questions to the cluster, and names of partitions. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "sim/connector.h"

enum { ANSWER_US = 1000000, PAUSE_US = 20000 };

void sim_split_name(char name[SIM_SPLIT_SIZE], const char *topic, int32_t partition)
{
    (void)snprintf(name, SIM_SPLIT_SIZE, "%s/%d", topic, (int)partition);
}

bool sim_split_parse(const char *name, char topic[SIM_TOPIC_SIZE], int32_t *partition)
{
    const char *slash = strrchr(name, '/');
    if (slash == NULL || (size_t)(slash - name) >= SIM_TOPIC_SIZE) return false;
    memcpy(topic, name, (size_t)(slash - name));
    topic[slash - name] = '\0';
    *partition = (int32_t)atoi(slash + 1);
    return true;
}

struct question {
    struct request base;
    char topic[SIM_TOPIC_SIZE];
    int32_t partition;
    int64_t spec;
    bool committed;
    size_t count_max;
    uint64_t id;
    int32_t partitions;
    int64_t offset;
    struct sim_fetched fetched;
};

static void clear_question(struct request *base) { sim_fetched_clear(&((struct question *)base)->fetched); }

static struct question *question(const char *topic, int32_t partition,
                                 void (*act)(struct request *, struct kafka_model *, int64_t))
{
    struct question *q = request_create(sizeof *q, act, clear_question);
    (void)snprintf(q->topic, sizeof q->topic, "%s", topic);
    q->partition = partition;
    return q;
}

static void act_topic(struct request *base, struct kafka_model *model, int64_t now_ms)
{
    (void)now_ms;
    struct question *q = (struct question *)base;
    base->error = model_describe_topic(model, q->topic, &q->id, &q->partitions);
}

static void act_offset(struct request *base, struct kafka_model *model, int64_t now_ms)
{
    (void)now_ms;
    struct question *q = (struct question *)base;
    const struct model_place place = { q->topic, q->partition };
    base->error = model_list_offset(model, &place, q->spec, q->committed, &q->offset);
}

/* Asks until there is an answer, to be released; NULL when there is none in time. */
static struct question *ask(const struct model_place *place, int64_t spec, bool committed,
                            void (*act)(struct request *, struct kafka_model *, int64_t), int64_t patience_us,
                            struct weir_error *error)
{
    const int64_t until_us = sched_now_us() + patience_us;
    do {
        struct connection connection = { 0 };
        struct question *q = question(place->topic, place->partition, act);
        q->spec = spec;
        q->committed = committed;
        if (cluster_call(&connection, &q->base, ANSWER_US) == CALL_ANSWERED) return q;
        request_release(&q->base);
        sched_pause(PAUSE_US);
    } while (sched_now_us() < until_us);
    weir_error_set(error, WEIR_OUT_OF_PATIENCE, WEIR_REMEDY_RETRY, "topic '%s': no answer from the cluster",
                   place->topic);
    return NULL;
}

enum weir_code sim_ask_topic(const char *topic, uint64_t *id, int32_t *partitions, int64_t patience_us,
                             struct weir_error *error)
{
    struct question *q = ask(&(struct model_place){ .topic = topic }, 0, false, act_topic, patience_us, error);
    if (q == NULL) return error->code;
    const bool exists = q->base.error == MODEL_OK;
    *id = exists ? q->id : 0;
    *partitions = exists ? q->partitions : 0;
    request_release(&q->base);
    return WEIR_OK;
}

enum weir_code sim_ask_offset(const struct model_place *place, int64_t spec, bool committed, int64_t patience_us,
                              int64_t *offset, struct weir_error *error)
{
    struct question *q = ask(place, spec, committed, act_offset, patience_us, error);
    if (q == NULL) return error->code;
    const enum model_error reason = q->base.error;
    *offset = q->offset;
    request_release(&q->base);
    if (reason == MODEL_OK) return WEIR_OK;
    return weir_error_set(error, WEIR_POSITION_LOST, WEIR_REMEDY_STOP, "topic '%s': %s", place->topic,
                          model_error_name(reason));
}

/* ---- Fetching ---------------------------------------------------------------------------------------------------- */

static bool take_record(void *user, const struct model_record *record)
{
    struct sim_fetched *fetched = user;
    struct model_record *records = realloc(fetched->records, (fetched->count + 1) * sizeof *records);
    CHECK(records != NULL);
    fetched->records = records;
    struct model_record *copy = &records[fetched->count++];
    *copy = *record;
    model_record_keep(copy);
    return true;
}

static void act_fetch(struct request *base, struct kafka_model *model, int64_t now_ms)
{
    (void)now_ms;
    struct question *q = (struct question *)base;
    const struct model_place place = { q->topic, q->partition };
    base->error = model_fetch(model, &place, q->offset, q->committed, q->count_max, take_record, &q->fetched,
                              &q->fetched.next);
}

enum model_error sim_fetch(struct connection *connection, const struct model_place *place, int64_t offset,
                           bool committed, size_t count_max, struct sim_fetched *fetched)
{
    struct question *q = question(place->topic, place->partition, act_fetch);
    q->offset = offset;
    q->committed = committed;
    q->count_max = count_max;
    const bool answered = cluster_call(connection, &q->base, ANSWER_US) == CALL_ANSWERED;
    const enum model_error reason = answered ? q->base.error : MODEL_NOT_COORDINATOR;
    *fetched = (struct sim_fetched){ .next = offset };
    if (reason == MODEL_OK) {
        *fetched = q->fetched;
        q->fetched = (struct sim_fetched){ 0 };
    }
    request_release(&q->base);
    return reason;
}

void sim_fetched_clear(struct sim_fetched *fetched)
{
    for (size_t i = 0; i < fetched->count; i++) model_record_drop(&fetched->records[i]);
    free(fetched->records);
    *fetched = (struct sim_fetched){ 0 };
}
