/* Inside the model of Kafka; nobody else includes this.
 *
 *   kafka_model.c              topics, and what happens to all of them
 *   kafka_model_log.c          one partition: batches, markers, what readers see, trimming, compaction
 *   kafka_model_transaction.c  the coordinator: producer ids, epochs, transactions, markers still to be written
 *   kafka_model_group.c        the positions of groups
 *
 * A test's world: when there is no memory, it ends with CHECK. */
#ifndef SIM_KAFKA_MODEL_PRIVATE_H
#define SIM_KAFKA_MODEL_PRIVATE_H

#include <string.h>

#include "base/check.h"
#include "base/vec.h"
#include "sim/kafka_model.h"

/* ---- What a log remembers of producers --------------------------------------------------------------------------- */

/* Partitions do, and the logs in which groups' positions stand. */

enum { BATCHES_KEPT = 5 };

struct model_batch {
    int32_t first_sequence, last_sequence;
    int64_t base_offset;
};

struct log_producer {
    int64_t id;
    int16_t epoch;      /* of what it wrote last, or of its last marker; -1 = neither */
    int64_t open_since; /* offset where its open transaction begins here; -1 = none */
    struct model_batch batches[BATCHES_KEPT]; /* the newest ones of that epoch, oldest first */
    size_t batch_count;
    bool is_checked; /* a check with the coordinator began, and nothing was written since */
    int16_t checked_epoch;
    int32_t checked_sequence; /* the lowest that was checked */
};

struct log_producers {
    struct log_producer *items;
    size_t count, capacity;
};

/* NULL = never heard of. */
struct log_producer *model_find_log_producer(const struct log_producers *producers, int64_t id);
struct log_producer *model_get_log_producer(struct log_producers *producers, int64_t id);
/* A marker: the open transaction ends, and what came before with a lower epoch is forgotten. */
void model_mark_log_producer(struct log_producer *producer, int16_t epoch);

/* ---- Topics ------------------------------------------------------------------------------------------------------ */

struct log_entry {
    struct model_record record; /* keeps its contents */
    int64_t batch_offset; /* of the first record that came in its batch */
    bool is_marker;
    bool is_aborted;
};

struct model_partition {
    int64_t start, end;
    VEC(struct log_entry) entries; /* by offset; there are gaps */
    struct log_producers producers;
    bool is_compacted;
};

struct model_topic {
    char *name;
    uint64_t id;
    int32_t partition_count;
    struct model_partition *partitions;
};

/* NULL = there is none. */
struct model_topic *model_find_topic(const struct kafka_model *model, const char *name);
struct model_partition *model_find_partition(const struct kafka_model *model, const char *topic, int32_t partition);
void model_free_partition(struct model_partition *partition);
/* Appends the marker that ends the transaction of `producer` here. */
void model_log_marker(struct model_partition *partition, struct model_producer producer, bool committed,
                      int64_t now_ms);

/* ---- Transactions ------------------------------------------------------------------------------------------------ */

/* What is in a transaction: a partition, or where a group's positions are kept. */
struct model_part {
    char *name; /* of a topic or of a group */
    int32_t partition;
    bool is_group;
};

enum transaction_state {
    TRANSACTION_EMPTY,
    TRANSACTION_ONGOING,
    TRANSACTION_PREPARED, /* decided; markers are missing */
    TRANSACTION_COMPLETE, /* all markers are written */
};

struct transaction {
    char *id;
    struct model_producer producer;
    enum transaction_state state;
    bool is_committed;   /* PREPARED and COMPLETE: how it was decided */
    int64_t timeout_ms;
    int64_t began_ms;
    VEC(struct model_part) parts; /* those whose marker is not written yet */
};

/* May `producer` write to this part now? It must be in its transaction. */
enum model_error model_check_part(const struct kafka_model *model, const char *transactional_id,
                                  struct model_producer producer, const char *name, int32_t partition, bool is_group);
void model_free_transaction(struct transaction *transaction);

/* ---- Groups ------------------------------------------------------------------------------------------------------ */

struct group_offset {
    char *topic;
    int32_t partition;
    int64_t offset;
    char *metadata;
    int64_t position;    /* in the offsets' log: the later record wins */
    int64_t producer_id; /* of a pending one */
};

struct group_offsets {
    struct group_offset *items;
    size_t count, capacity;
};

struct model_group {
    char *name;
    int64_t end; /* of its offsets' log */
    struct group_offsets committed, pending;
    struct log_producers producers;
};

void model_group_marker(struct kafka_model *model, const char *group, struct model_producer producer, bool committed);
void model_groups_forget_topic(struct kafka_model *model, const char *topic);
void model_free_group(struct model_group *group);

/* ---- The whole --------------------------------------------------------------------------------------------------- */

struct kafka_model {
    VEC(struct model_topic *) topics;
    VEC(struct transaction *) transactions;
    VEC(struct model_group *) groups;
    uint64_t last_topic_id;
    int64_t next_producer_id;
    enum model_error away; /* what coordinators answer; MODEL_OK = they are there */
    void (*decided)(void *user, const char *transactional_id, struct model_producer producer, bool committed);
    void *decided_user;
};

/* Never NULL. */
void *model_allocate(size_t size);
char *model_copy_text(const char *text);

static inline void *model_clear_last(void *items, size_t count, size_t item_size)
{
    return memset((char *)items + (count - 1) * item_size, 0, item_size);
}
/* The address of a new last item, cleared. */
#define model_push(vec)                                                                                                \
    (CHECK(vec_push(vec) != NULL), model_clear_last((vec)->items, (vec)->count, sizeof *(vec)->items))

#endif
