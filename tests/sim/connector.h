/* weir/kafka.h over the cluster of the simulation: the same source, sink and decider as connectors/kafka, as far as a job
 * and the core can tell, in place of them when a program is linked. Shared by the files that implement it. */
#ifndef SIM_CONNECTOR_H
#define SIM_CONNECTOR_H

#include "sim/producer.h"
#include "weir/kafka.h"

enum { SIM_TOPIC_SIZE = 80, SIM_SPLIT_SIZE = 264 };

struct sim_decider;
/* The producer whose transaction holds `epoch`, retained; NULL while there is none. */
struct producer *sim_decider_acquire(struct sim_decider *decider, uint64_t epoch);

/* "topic/partition" */
void sim_split_name(char name[SIM_SPLIT_SIZE], const char *topic, int32_t partition);
bool sim_split_parse(const char *name, char topic[SIM_TOPIC_SIZE], int32_t *partition);

/* Blocking questions; WEIR_OUT_OF_PATIENCE with remedy RETRY when nobody answers within `patience_us`. */
enum weir_code sim_ask_topic(const char *topic, uint64_t *id, int32_t *partitions, int64_t patience_us,
                             struct weir_error *error);
enum weir_code sim_ask_offset(const struct model_place *place, int64_t spec, bool committed, int64_t patience_us,
                              int64_t *offset, struct weir_error *error);

/* The newest records of a ledger, as many as one window holds, and the group's offsets: into event->records and ->mirrors, both
 * for the caller to clear. `stable`: waits until no transaction is pending on them. */
enum weir_code sim_ledger_tail(const char *ledger, bool committed, struct weir_decider_event *event,
                               struct weir_error *error);
enum weir_code sim_ledger_mirrors(const char *group, bool stable, struct weir_decider_event *event,
                                  struct weir_error *error);
/* There is one already, or there is one now. */
enum weir_code sim_ledger_make(const char *ledger, struct weir_error *error);

/* What one fetch brought, contents owned. */
struct sim_fetched {
    size_t count;
    struct model_record *records;
    int64_t next;
};
/* MODEL_NOT_COORDINATOR when there was no answer. */
enum model_error sim_fetch(struct connection *connection, const struct model_place *place, int64_t offset,
                           bool committed, size_t count_max, struct sim_fetched *fetched);
void sim_fetched_clear(struct sim_fetched *fetched);

#endif
