/* The coordinator. Who asks is known by producer id and epoch; the transaction is whatever that producer has open,
 * which is why a request that comes late acts on a later transaction than it was meant for. */
#include "kafka_model_private.h"

enum { TIMEOUT_MS_MAX = 900000 }; /* transaction.max.timeout.ms */

static struct transaction *find_transaction(const struct kafka_model *model, const char *transactional_id)
{
    for (size_t i = 0; i < model->transactions.count; i++)
        if (strcmp(model->transactions.items[i]->id, transactional_id) == 0) return model->transactions.items[i];
    return NULL;
}

static void clear_parts(struct transaction *transaction)
{
    for (size_t i = 0; i < transaction->parts.count; i++) free(transaction->parts.items[i].name);
    transaction->parts.count = 0;
}

void model_free_transaction(struct transaction *transaction)
{
    clear_parts(transaction);
    vec_free(&transaction->parts);
    free(transaction->id);
    free(transaction);
}

static bool has_part(const struct transaction *transaction, const char *name, int32_t partition, bool is_group)
{
    for (size_t i = 0; i < transaction->parts.count; i++) {
        const struct model_part *part = &transaction->parts.items[i];
        if (part->is_group == is_group && part->partition == partition && strcmp(part->name, name) == 0) return true;
    }
    return false;
}

/* The transaction of that id, whatever the epoch of who asks. */
static enum model_error find_by_producer(const struct kafka_model *model, const char *transactional_id,
                                         int64_t producer_id, struct transaction **found)
{
    if (model->away != MODEL_OK) return model->away;
    *found = find_transaction(model, transactional_id);
    if (*found == NULL || (*found)->producer.id != producer_id) return MODEL_INVALID_PRODUCER_ID_MAPPING;
    return MODEL_OK;
}

/* The same, of its owner only. */
static enum model_error find_own(const struct kafka_model *model, const char *transactional_id,
                                 struct model_producer producer, struct transaction **found)
{
    const enum model_error error = find_by_producer(model, transactional_id, producer.id, found);
    if (error != MODEL_OK) return error;
    return (*found)->producer.epoch == producer.epoch ? MODEL_OK : MODEL_INVALID_PRODUCER_EPOCH;
}

enum model_error model_check_part(const struct kafka_model *model, const char *transactional_id,
                                  struct model_producer producer, const char *name, int32_t partition, bool is_group)
{
    struct transaction *transaction;
    const enum model_error error = find_own(model, transactional_id, producer, &transaction);
    if (error != MODEL_OK) return error;
    if (transaction->state == TRANSACTION_PREPARED) return MODEL_CONCURRENT_TRANSACTIONS;
    return has_part(transaction, name, partition, is_group) ? MODEL_OK : MODEL_INVALID_TXN_STATE;
}

/* ---- Deciding ---------------------------------------------------------------------------------------------------- */

static void decide(struct kafka_model *model, struct transaction *transaction, bool commit)
{
    CHECK(transaction->state == TRANSACTION_ONGOING);
    transaction->state = TRANSACTION_PREPARED;
    transaction->is_committed = commit;
    if (model->decided != NULL) model->decided(model->decided_user, transaction->id, transaction->producer, commit);
    if (transaction->parts.count == 0) transaction->state = TRANSACTION_COMPLETE;
}

/* The coordinator aborts on its own account, for a newer producer or because time is up: nobody may use the epoch any
 * more. */
static void fence(struct kafka_model *model, struct transaction *transaction)
{
    transaction->producer.epoch++;
    decide(model, transaction, false);
}

enum model_error model_end_txn(struct kafka_model *model, int64_t now_ms, const char *transactional_id,
                               struct model_producer producer, bool commit)
{
    (void)now_ms;
    struct transaction *transaction;
    const enum model_error error = find_own(model, transactional_id, producer, &transaction);
    if (error != MODEL_OK) return error;
    switch (transaction->state) {
    case TRANSACTION_ONGOING:
        decide(model, transaction, commit);
        return MODEL_OK;
    case TRANSACTION_PREPARED:
        return MODEL_CONCURRENT_TRANSACTIONS; /* also when it was decided the other way */
    case TRANSACTION_COMPLETE:
        return transaction->is_committed == commit ? MODEL_OK : MODEL_INVALID_TXN_STATE;
    case TRANSACTION_EMPTY:
        return MODEL_INVALID_TXN_STATE;
    }
    return MODEL_INVALID_TXN_STATE;
}

void model_tick(struct kafka_model *model, int64_t now_ms)
{
    for (size_t i = 0; i < model->transactions.count; i++) {
        struct transaction *transaction = model->transactions.items[i];
        if (transaction->state != TRANSACTION_ONGOING) continue;
        if (transaction->began_ms + transaction->timeout_ms < now_ms) fence(model, transaction);
    }
}

int64_t model_next_timeout_ms(const struct kafka_model *model)
{
    int64_t next_ms = INT64_MAX;
    for (size_t i = 0; i < model->transactions.count; i++) {
        const struct transaction *transaction = model->transactions.items[i];
        if (transaction->state != TRANSACTION_ONGOING) continue;
        const int64_t at_ms = transaction->began_ms + transaction->timeout_ms + 1;
        if (at_ms < next_ms) next_ms = at_ms;
    }
    return next_ms;
}

/* ---- Beginning --------------------------------------------------------------------------------------------------- */

static void begin_anew(struct transaction *transaction, int64_t timeout_ms)
{
    transaction->producer.epoch++;
    transaction->state = TRANSACTION_EMPTY;
    transaction->timeout_ms = timeout_ms;
}

static struct transaction *add_transaction(struct kafka_model *model, const char *transactional_id)
{
    struct transaction *transaction = model_allocate(sizeof *transaction);
    transaction->id = model_copy_text(transactional_id);
    transaction->producer = (struct model_producer){ model->next_producer_id++, -1 };
    *(struct transaction **)model_push(&model->transactions) = transaction;
    return transaction;
}

enum model_error model_init_producer_id(struct kafka_model *model, int64_t now_ms, const char *transactional_id,
                                        int64_t timeout_ms, struct model_producer *producer)
{
    (void)now_ms;
    if (transactional_id == NULL) {
        *producer = (struct model_producer){ model->next_producer_id++, 0 };
        return MODEL_OK;
    }
    if (model->away != MODEL_OK) return model->away;
    if (timeout_ms <= 0 || timeout_ms > TIMEOUT_MS_MAX) return MODEL_INVALID_TRANSACTION_TIMEOUT;
    struct transaction *transaction = find_transaction(model, transactional_id);
    if (transaction == NULL) transaction = add_transaction(model, transactional_id);
    switch (transaction->state) {
    case TRANSACTION_ONGOING:
        fence(model, transaction);
        return MODEL_CONCURRENT_TRANSACTIONS;
    case TRANSACTION_PREPARED:
        return MODEL_CONCURRENT_TRANSACTIONS;
    case TRANSACTION_EMPTY:
    case TRANSACTION_COMPLETE:
        break;
    }
    begin_anew(transaction, timeout_ms);
    *producer = transaction->producer;
    return MODEL_OK;
}

bool model_forget_producer(struct kafka_model *model, const char *transactional_id)
{
    for (size_t i = 0; i < model->transactions.count; i++) {
        struct transaction *transaction = model->transactions.items[i];
        if (strcmp(transaction->id, transactional_id) != 0) continue;
        if (transaction->state == TRANSACTION_ONGOING || transaction->state == TRANSACTION_PREPARED) return false;
        model_free_transaction(transaction);
        model->transactions.count--;
        memmove(&model->transactions.items[i], &model->transactions.items[i + 1],
                (model->transactions.count - i) * sizeof *model->transactions.items);
        return true;
    }
    return true;
}

/* ---- Adding ------------------------------------------------------------------------------------------------------ */

static void add_part(struct transaction *transaction, const char *name, int32_t partition, bool is_group)
{
    if (has_part(transaction, name, partition, is_group)) return;
    struct model_part *part = model_push(&transaction->parts);
    *part = (struct model_part){ model_copy_text(name), partition, is_group };
}

/* Opens the transaction when there is none: the hazard of a late AddPartitions. */
static enum model_error open_transaction(struct kafka_model *model, int64_t now_ms, const char *transactional_id,
                                         struct model_producer producer, struct transaction **transaction)
{
    const enum model_error error = find_by_producer(model, transactional_id, producer.id, transaction);
    if (error != MODEL_OK) return error;
    /* Before anybody looks at the epoch: who was fenced by an abort hears of it only when the markers are written. */
    if ((*transaction)->state == TRANSACTION_PREPARED) return MODEL_CONCURRENT_TRANSACTIONS;
    if ((*transaction)->producer.epoch != producer.epoch) return MODEL_INVALID_PRODUCER_EPOCH;
    if ((*transaction)->state == TRANSACTION_ONGOING) return MODEL_OK;
    (*transaction)->state = TRANSACTION_ONGOING;
    (*transaction)->began_ms = now_ms;
    return MODEL_OK;
}

enum model_error model_add_partitions(struct kafka_model *model, int64_t now_ms, const char *transactional_id,
                                      struct model_producer producer, const struct model_place *places, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (model_find_partition(model, places[i].topic, places[i].partition) == NULL)
            return MODEL_UNKNOWN_TOPIC_OR_PARTITION;
    struct transaction *transaction;
    const enum model_error error = open_transaction(model, now_ms, transactional_id, producer, &transaction);
    if (error != MODEL_OK) return error;
    for (size_t i = 0; i < count; i++) add_part(transaction, places[i].topic, places[i].partition, false);
    return MODEL_OK;
}

enum model_error model_add_offsets(struct kafka_model *model, int64_t now_ms, const char *transactional_id,
                                   struct model_producer producer, const char *group)
{
    struct transaction *transaction;
    const enum model_error error = open_transaction(model, now_ms, transactional_id, producer, &transaction);
    if (error != MODEL_OK) return error;
    add_part(transaction, group, 0, true);
    return MODEL_OK;
}

/* ---- Markers ----------------------------------------------------------------------------------------------------- */

size_t model_markers_pending(const struct kafka_model *model)
{
    size_t count = 0;
    for (size_t i = 0; i < model->transactions.count; i++)
        if (model->transactions.items[i]->state == TRANSACTION_PREPARED)
            count += model->transactions.items[i]->parts.count;
    return count;
}

static void write_marker(struct kafka_model *model, const struct transaction *transaction,
                         const struct model_part *part, int64_t now_ms)
{
    if (part->is_group) {
        model_group_marker(model, part->name, transaction->producer, transaction->is_committed);
        return;
    }
    /* By name: a topic made anew gets the marker of a transaction that began in the old one. */
    struct model_partition *partition = model_find_partition(model, part->name, part->partition);
    if (partition != NULL)
        model_log_marker(partition, transaction->producer, transaction->is_committed, now_ms);
}

void model_write_marker(struct kafka_model *model, size_t index, int64_t now_ms)
{
    for (size_t i = 0; i < model->transactions.count; i++) {
        struct transaction *transaction = model->transactions.items[i];
        if (transaction->state != TRANSACTION_PREPARED) continue;
        if (index >= transaction->parts.count) {
            index -= transaction->parts.count;
            continue;
        }
        struct model_part *part = &transaction->parts.items[index];
        write_marker(model, transaction, part, now_ms);
        free(part->name);
        transaction->parts.count--;
        memmove(part, part + 1, (transaction->parts.count - index) * sizeof *part);
        if (transaction->parts.count == 0) transaction->state = TRANSACTION_COMPLETE;
        return;
    }
    CHECK(!"there is a marker of that index");
}

/* ---- For the checker --------------------------------------------------------------------------------------------- */

void model_each_transaction(struct kafka_model *model,
                            void (*visit)(void *user, const struct model_transaction *transaction), void *user)
{
    for (size_t i = 0; i < model->transactions.count; i++) {
        const struct transaction *transaction = model->transactions.items[i];
        const struct model_transaction seen = {
            .transactional_id = transaction->id,
            .producer = transaction->producer,
            .open = transaction->state == TRANSACTION_ONGOING,
            .preparing = transaction->state == TRANSACTION_PREPARED,
            .began_ms = transaction->began_ms,
        };
        visit(user, &seen);
    }
}

void model_on_decided(struct kafka_model *model,
                      void (*decided)(void *user, const char *transactional_id, struct model_producer producer,
                                      bool committed),
                      void *user)
{
    model->decided = decided;
    model->decided_user = user;
}
