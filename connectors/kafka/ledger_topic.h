/* The topic `<job>-ledger`: compacted only, so that it never expires; partition = number of the instance's slot.
 *
 *   low                                                                       high
 *    | ...  record  marker  record  marker  record  marker  record  marker     |
 *                           <────── window, doubled until a record is in it ───>
 *
 * Only the tail is ever read to restart. Blocks in slices: the decider's clerk thread and the environment thread. */
#ifndef KAFKA_LEDGER_TOPIC_H
#define KAFKA_LEDGER_TOPIC_H

#include "scan.h"

struct ledger_topic {
    char name[KAFKA_TOPIC_SIZE];
    char group[72];
    int32_t partition;
    struct kafka_client *uncommitted; /* sees everything, and waits for nobody's transaction */
    struct kafka_client *committed;
    struct kafka_client *offsets; /* asks for the group's offsets */
};

void ledger_topic_name(char name[KAFKA_TOPIC_SIZE], const char *job);

enum weir_code ledger_topic_open(struct ledger_topic *ledger, const struct weir_connector_context *context,
                                 const char *brokers, int32_t partition, struct weir_error *error);
void ledger_topic_close(struct ledger_topic *ledger);

/* Whether it is there; and if so, whether its settings are right: ENVIRONMENT with what mends them. */
enum weir_code ledger_topic_check(struct ledger_topic *ledger, const struct topics_patience *patience, bool *exists,
                                  struct weir_error *error);
/* Creates it, and waits until it can be used. `replication` 0 = the cluster's default. */
enum weir_code ledger_topic_create(struct ledger_topic *ledger, int32_t replication,
                                   const struct topics_patience *patience, struct weir_error *error);

/* Fills event->records with the newest records, oldest first: at least one when there is any. */
enum weir_code ledger_topic_tail(struct ledger_topic *ledger, bool committed, const struct topics_patience *patience,
                                 struct weir_decider_event *event, struct weir_error *error);
/* The group's committed offsets, asked for while the tail is read: ask, then take or drop. `stable`: the answer waits
 * until no transaction is pending on them. */
struct ledger_mirrors {
    rd_kafka_queue_t *queue;
    bool stable;
};
void ledger_topic_ask_mirrors(struct ledger_topic *ledger, bool stable, struct ledger_mirrors *mirrors);
/* Fills event->mirrors. */
enum weir_code ledger_topic_take_mirrors(struct ledger_topic *ledger, struct ledger_mirrors *mirrors,
                                         const struct topics_patience *patience, struct weir_decider_event *event,
                                         struct weir_error *error);
void ledger_topic_drop_mirrors(struct ledger_mirrors *mirrors);

#endif
