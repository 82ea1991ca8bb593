/* One partition. Aborting marks the records themselves: that is what a consumer makes of the list of aborted
 * transactions that a broker sends with them. */
#include "kafka_model_private.h"

void model_free_partition(struct model_partition *partition)
{
    for (size_t i = 0; i < partition->entries.count; i++) model_record_drop(&partition->entries.items[i].record);
    vec_free(&partition->entries);
    vec_free(&partition->producers);
}

/* ---- Producers --------------------------------------------------------------------------------------------------- */

struct log_producer *model_find_log_producer(const struct log_producers *producers, int64_t id)
{
    for (size_t i = 0; i < producers->count; i++)
        if (producers->items[i].id == id) return &producers->items[i];
    return NULL;
}

struct log_producer *model_get_log_producer(struct log_producers *producers, int64_t id)
{
    struct log_producer *producer = model_find_log_producer(producers, id);
    if (producer != NULL) return producer;
    producer = model_push(producers);
    producer->id = id;
    producer->epoch = -1;
    producer->open_since = -1;
    return producer;
}

static void set_epoch(struct log_producer *producer, int16_t epoch)
{
    if (producer->epoch == epoch) return;
    producer->epoch = epoch;
    producer->batch_count = 0;
}

void model_mark_log_producer(struct log_producer *producer, int16_t epoch)
{
    set_epoch(producer, epoch);
    producer->open_since = -1;
    producer->is_checked = false;
}

/* ---- Offsets ----------------------------------------------------------------------------------------------------- */

/* Index of the first entry at `offset` or behind it. */
static size_t find_entry(const struct model_partition *partition, int64_t offset)
{
    size_t low = 0, high = partition->entries.count;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (partition->entries.items[middle].record.offset < offset) low = middle + 1;
        else high = middle;
    }
    return low;
}

static int64_t first_open_offset(const struct model_partition *partition)
{
    int64_t first = partition->end;
    for (size_t i = 0; i < partition->producers.count; i++) {
        const int64_t since = partition->producers.items[i].open_since;
        if (since >= 0 && since < first) first = since;
    }
    return first;
}

/* When the beginning of an open transaction was trimmed away, the broker puts the beginning of what is left in its
 * place, in whole batches: the last stable offset may be below the earliest one. */
static int64_t stable_offset(const struct model_partition *partition)
{
    const int64_t open = first_open_offset(partition);
    if (open >= partition->start) return open;
    const size_t left = find_entry(partition, partition->start);
    return left < partition->entries.count ? partition->entries.items[left].batch_offset : partition->start;
}

/* ---- Producing --------------------------------------------------------------------------------------------------- */

static const struct model_batch *find_duplicate(const struct log_producer *producer, int16_t epoch, int32_t first,
                                                int32_t last)
{
    if (producer->epoch != epoch) return NULL;
    for (size_t i = 0; i < producer->batch_count; i++)
        if (producer->batches[i].first_sequence == first && producer->batches[i].last_sequence == last)
            return &producer->batches[i];
    return NULL;
}

static void remember_batch(struct log_producer *producer, const struct model_batch *batch)
{
    if (producer->batch_count == BATCHES_KEPT) {
        memmove(&producer->batches[0], &producer->batches[1], sizeof producer->batches[0] * (BATCHES_KEPT - 1));
        producer->batch_count--;
    }
    producer->batches[producer->batch_count++] = *batch;
}

/* Before the first batch of a transaction in a partition the broker asks the coordinator whether the partition belongs
 * to the transaction (KIP-890, part 1). Later ones are not checked: between decision and marker they still get in (135
 * of 200 that followed an acknowledged EndTxn at once, on a broker).
 *
 * The lowest sequence that was ever asked about is remembered until something is written, so that a batch does not
 * overtake one that was refused. A repeated batch is checked but not written: as the first one of a transaction it bars
 * the way to all that follow it. */
static enum model_error check_transaction(struct kafka_model *model, struct log_producer *producer,
                                          const char *transactional_id, int16_t epoch, int32_t sequence,
                                          const struct model_place *place)
{
    if (epoch < producer->epoch) return MODEL_INVALID_PRODUCER_EPOCH;
    if (producer->open_since >= 0 && producer->epoch == epoch) return MODEL_OK;
    if (!producer->is_checked || epoch > producer->checked_epoch) {
        producer->is_checked = true;
        producer->checked_epoch = epoch;
        producer->checked_sequence = sequence;
    } else if (epoch == producer->checked_epoch && sequence < producer->checked_sequence) {
        producer->checked_sequence = sequence;
    }
    const enum model_error error = model_check_part(model, transactional_id,
                                                    (struct model_producer){ producer->id, epoch }, place->topic,
                                                    place->partition, false);
    switch (error) {
    case MODEL_CONCURRENT_TRANSACTIONS:
    case MODEL_NOT_COORDINATOR:
    case MODEL_COORDINATOR_LOADING:
        /* What an older client knows to repeat. */
        return MODEL_NOT_ENOUGH_REPLICAS;
    default:
        return error;
    }
}

static enum model_error check_sequence(const struct log_producer *producer, int16_t epoch, int32_t sequence)
{
    if (epoch < producer->epoch) return MODEL_INVALID_PRODUCER_EPOCH;
    if (producer->is_checked && sequence > producer->checked_sequence) return MODEL_OUT_OF_ORDER_SEQUENCE;
    if (producer->epoch == -1) return MODEL_OK; /* whoever is not known may begin anywhere */
    int32_t expected = 0;
    if (epoch == producer->epoch && producer->batch_count > 0) {
        const int32_t last = producer->batches[producer->batch_count - 1].last_sequence;
        expected = last == INT32_MAX ? 0 : last + 1;
    }
    return sequence == expected ? MODEL_OK : MODEL_OUT_OF_ORDER_SEQUENCE;
}

static void append_record(struct model_partition *partition, const struct model_record *record, int64_t batch_offset,
                          struct model_producer producer, bool transactional)
{
    struct log_entry *entry = model_push(&partition->entries);
    entry->batch_offset = batch_offset;
    entry->record = *record;
    entry->record.offset = partition->end++;
    entry->record.producer = producer;
    entry->record.transactional = transactional;
    model_record_keep(&entry->record);
}

static void append_batch(struct model_partition *partition, struct model_producer producer, bool transactional,
                         const struct model_record *records, size_t count)
{
    const int64_t batch_offset = partition->end;
    for (size_t i = 0; i < count; i++) append_record(partition, &records[i], batch_offset, producer, transactional);
}

static bool has_null_key(const struct model_record *records, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (!weir_is_set(records[i].key) || weir_is_null(records[i].key)) return true;
    return false;
}

enum model_error model_produce(struct kafka_model *model, int64_t now_ms, const char *transactional_id,
                               struct model_producer producer, int32_t sequence, const struct model_place *place,
                               const struct model_record *records, size_t count, int64_t *base_offset)
{
    (void)now_ms;
    CHECK(count > 0);
    const bool transactional = transactional_id != NULL;
    struct model_partition *partition = model_find_partition(model, place->topic, place->partition);
    if (partition == NULL) return MODEL_UNKNOWN_TOPIC_OR_PARTITION;
    *base_offset = partition->end;
    if (producer.id < 0) {
        if (partition->is_compacted && has_null_key(records, count)) return MODEL_INVALID_RECORD;
        append_batch(partition, producer, false, records, count);
        return MODEL_OK;
    }

    struct log_producer *known = model_get_log_producer(&partition->producers, producer.id);
    enum model_error error = MODEL_OK;
    if (transactional)
        error = check_transaction(model, known, transactional_id, producer.epoch, sequence, place);
    if (error != MODEL_OK) return error;
    if (partition->is_compacted && has_null_key(records, count)) return MODEL_INVALID_RECORD;
    const struct model_batch batch = { sequence, sequence + (int32_t)count - 1, partition->end };
    const struct model_batch *duplicate = find_duplicate(known, producer.epoch, sequence, batch.last_sequence);
    if (duplicate != NULL) {
        *base_offset = duplicate->base_offset;
        return MODEL_OK;
    }
    error = check_sequence(known, producer.epoch, sequence);
    if (error != MODEL_OK) return error;
    if (!transactional && known->open_since >= 0) return MODEL_INVALID_TXN_STATE;

    set_epoch(known, producer.epoch);
    remember_batch(known, &batch);
    if (transactional) {
        known->is_checked = false;
        if (known->open_since < 0) known->open_since = partition->end;
    }
    append_batch(partition, producer, transactional, records, count);
    return MODEL_OK;
}

/* ---- Markers ----------------------------------------------------------------------------------------------------- */

static void abort_records(struct model_partition *partition, int64_t producer_id, int64_t since)
{
    for (size_t i = find_entry(partition, since); i < partition->entries.count; i++) {
        struct log_entry *entry = &partition->entries.items[i];
        if (entry->record.producer.id == producer_id && entry->record.transactional) entry->is_aborted = true;
    }
}

void model_log_marker(struct model_partition *partition, struct model_producer producer, bool committed, int64_t now_ms)
{
    struct log_producer *known = model_get_log_producer(&partition->producers, producer.id);
    CHECK(producer.epoch >= known->epoch); /* only the coordinator makes epochs */
    if (!committed && known->open_since >= 0) abort_records(partition, producer.id, known->open_since);
    model_mark_log_producer(known, producer.epoch);
    struct log_entry *marker = model_push(&partition->entries);
    marker->is_marker = true;
    marker->batch_offset = partition->end;
    marker->record = (struct model_record){
        .offset = partition->end++,
        .time_ms = now_ms,
        .key = WEIR_NULL,
        .value = WEIR_NULL,
        .producer = producer,
    };
}

/* ---- Reading ----------------------------------------------------------------------------------------------------- */

/* Markers have a time and an offset, so a search by time may answer theirs. */
static int64_t find_time(const struct model_partition *partition, int64_t time_ms, int64_t limit)
{
    for (size_t i = 0; i < partition->entries.count; i++) {
        const struct model_record *record = &partition->entries.items[i].record;
        if (record->offset >= limit) break;
        if (record->time_ms >= time_ms) return record->offset;
    }
    return -1;
}

enum model_error model_list_offset(struct kafka_model *model, const struct model_place *place, int64_t spec,
                                   bool committed, int64_t *offset)
{
    const struct model_partition *partition = model_find_partition(model, place->topic, place->partition);
    if (partition == NULL) return MODEL_UNKNOWN_TOPIC_OR_PARTITION;
    const int64_t limit = committed ? stable_offset(partition) : partition->end;
    switch (spec) {
    case MODEL_LATEST: *offset = limit; break;
    case MODEL_EARLIEST: *offset = partition->start; break;
    default: *offset = find_time(partition, spec, limit); break;
    }
    return MODEL_OK;
}

enum model_error model_fetch(struct kafka_model *model, const struct model_place *place, int64_t offset, bool committed,
                             size_t count_max, bool (*visit)(void *user, const struct model_record *record),
                             void *user, int64_t *next)
{
    const struct model_partition *partition = model_find_partition(model, place->topic, place->partition);
    if (partition == NULL) return MODEL_UNKNOWN_TOPIC_OR_PARTITION;
    if (offset < partition->start || offset > partition->end) return MODEL_OFFSET_OUT_OF_RANGE;
    const int64_t limit = committed ? stable_offset(partition) : partition->end;
    *next = offset;
    size_t count = 0;
    for (size_t i = find_entry(partition, offset); i < partition->entries.count; i++) {
        const struct log_entry *entry = &partition->entries.items[i];
        if (entry->record.offset >= limit) break;
        if (entry->is_marker || (committed && entry->is_aborted)) continue;
        *next = entry->record.offset;
        if (count == count_max || !visit(user, &entry->record)) return MODEL_OK;
        count++;
    }
    if (limit > *next) *next = limit;
    return MODEL_OK;
}

/* ---- Removing ---------------------------------------------------------------------------------------------------- */

enum model_error model_trim(struct kafka_model *model, const struct model_place *place, int64_t offset)
{
    struct model_partition *partition = model_find_partition(model, place->topic, place->partition);
    if (partition == NULL) return MODEL_UNKNOWN_TOPIC_OR_PARTITION;
    if (partition->is_compacted) return MODEL_POLICY_VIOLATION;
    if (offset < 0 || offset > partition->end) return MODEL_OFFSET_OUT_OF_RANGE;
    if (offset <= partition->start) return MODEL_OK;
    const size_t gone = find_entry(partition, offset);
    for (size_t i = 0; i < gone; i++) model_record_drop(&partition->entries.items[i].record);
    partition->entries.count -= gone;
    memmove(partition->entries.items, partition->entries.items + gone,
            partition->entries.count * sizeof *partition->entries.items);
    partition->start = offset;
    return MODEL_OK;
}

enum model_error model_lose_tail(struct kafka_model *model, const struct model_place *place, int64_t offset)
{
    struct model_partition *partition = model_find_partition(model, place->topic, place->partition);
    if (partition == NULL) return MODEL_UNKNOWN_TOPIC_OR_PARTITION;
    if (offset < partition->start || offset > partition->end) return MODEL_OFFSET_OUT_OF_RANGE;
    CHECK(first_open_offset(partition) == partition->end);
    const size_t kept = find_entry(partition, offset);
    for (size_t i = kept; i < partition->entries.count; i++) model_record_drop(&partition->entries.items[i].record);
    partition->entries.count = kept;
    partition->end = offset;
    return MODEL_OK;
}

/* By key, then the newest first. */
static int compare_keys(const void *left, const void *right)
{
    const struct model_record *a = &(*(struct log_entry *const *)left)->record;
    const struct model_record *b = &(*(struct log_entry *const *)right)->record;
    const size_t common = a->key.size < b->key.size ? a->key.size : b->key.size;
    const int order = common > 0 ? memcmp(a->key.data, b->key.data, common) : 0;
    if (order != 0) return order;
    if (a->key.size != b->key.size) return a->key.size < b->key.size ? -1 : 1;
    return a->offset > b->offset ? -1 : 1;
}

/* Marks as aborted, which nobody can tell from gone, what has a newer record of its key. */
static void mark_superseded(struct model_partition *partition, size_t end)
{
    struct log_entry **sorted = model_allocate(end * sizeof(struct log_entry *));
    size_t count = 0;
    for (size_t i = 0; i < end; i++) {
        struct log_entry *entry = &partition->entries.items[i];
        if (!entry->is_marker && !entry->is_aborted) sorted[count++] = entry;
    }
    qsort(sorted, count, sizeof(struct log_entry *), compare_keys);
    for (size_t i = 1; i < count; i++)
        if (weir_bytes_equal(sorted[i]->record.key, sorted[i - 1]->record.key)) sorted[i]->is_aborted = true;
    free(sorted);
}

enum model_error model_compact(struct kafka_model *model, const struct model_place *place, int64_t active)
{
    struct model_partition *partition = model_find_partition(model, place->topic, place->partition);
    if (partition == NULL) return MODEL_UNKNOWN_TOPIC_OR_PARTITION;
    if (!partition->is_compacted) return MODEL_OK;
    const int64_t stable = stable_offset(partition);
    const size_t end = find_entry(partition, active < stable ? active : stable);
    mark_superseded(partition, end);
    size_t kept = 0;
    for (size_t i = 0; i < partition->entries.count; i++) {
        struct log_entry *entry = &partition->entries.items[i];
        if (i < end && entry->is_aborted) model_record_drop(&entry->record);
        else partition->entries.items[kept++] = *entry;
    }
    partition->entries.count = kept;
    return MODEL_OK;
}
