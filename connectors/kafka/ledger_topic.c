#include "ledger_topic.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "handle.h"

enum { WINDOW_MIN = 64, PENDING_PAUSE_MS = 5 };

void ledger_topic_name(char name[KAFKA_TOPIC_SIZE], const char *job)
{
    (void)snprintf(name, KAFKA_TOPIC_SIZE, "%s-ledger", job);
}

enum weir_code ledger_topic_open(struct ledger_topic *ledger, const struct weir_connector_context *context,
                                 const char *brokers, int32_t partition, struct weir_error *error)
{
    *ledger = (struct ledger_topic){ .partition = partition };
    ledger_topic_name(ledger->name, context->job);
    (void)snprintf(ledger->group, sizeof ledger->group, "%s", context->job);
    if (scan_open(context, brokers, "ledger", false, &ledger->uncommitted, error) == WEIR_OK &&
        scan_open(context, brokers, "ledger, committed records", true, &ledger->committed, error) == WEIR_OK &&
        kafka_group_client_open(context, brokers, "group's offsets", NULL, &ledger->offsets, error) == WEIR_OK)
        return WEIR_OK;
    ledger_topic_close(ledger);
    return error->code;
}

void ledger_topic_close(struct ledger_topic *ledger)
{
    kafka_client_close(ledger->uncommitted);
    kafka_client_close(ledger->committed);
    kafka_client_close(ledger->offsets);
    ledger->uncommitted = ledger->committed = ledger->offsets = NULL;
}

/* ---- The topic itself -------------------------------------------------------------------------------------------- */

enum weir_code ledger_topic_check(struct ledger_topic *ledger, const struct topics_patience *patience, bool *exists,
                                  struct weir_error *error)
{
    int32_t partitions;
    char policy[64];
    *exists = false;
    if (topics_partition_count(ledger->uncommitted, ledger->name, patience, &partitions, error) != WEIR_OK)
        return error->code;
    if (partitions == 0) return WEIR_OK;
    *exists = true;
    if (partitions <= ledger->partition)
        return weir_error_set(error, WEIR_ENVIRONMENT, WEIR_REMEDY_STOP,
                              "the ledger '%s' has %d partitions, but slot %d needs one of its own: kafka-topics.sh "
                              "--alter --topic %s --partitions %d",
                              ledger->name, (int)partitions, (int)ledger->partition, ledger->name,
                              (int)ledger->partition + 1);
    if (topics_setting(ledger->uncommitted, ledger->name, "cleanup.policy", patience, policy, error) != WEIR_OK)
        return error->code;
    if (policy[0] == '\0' || strcmp(policy, "compact") == 0) return WEIR_OK;
    return weir_error_set(error, WEIR_ENVIRONMENT, WEIR_REMEDY_STOP,
                          "the ledger '%s' has cleanup.policy=%s, with which the record of the last commit would expire; "
                          "it must be compact: kafka-configs.sh --alter --entity-type topics --entity-name %s "
                          "--add-config cleanup.policy=compact",
                          ledger->name, policy, ledger->name);
}

enum weir_code ledger_topic_create(struct ledger_topic *ledger, int32_t replication,
                                   const struct topics_patience *patience, struct weir_error *error)
{
    /* Only closed segments are compacted: with the usual 1 GiB the ring would never come round. */
    static const char *const settings[][2] = { { "cleanup.policy", "compact" }, { "segment.bytes", "16777216" } };
    const struct topics_new topic = {
        .name = ledger->name,
        .partitions = ledger->partition + 1,
        .replication = replication,
        .settings = settings,
        .setting_count = sizeof settings / sizeof settings[0],
    };
    return topics_create(ledger->uncommitted, &topic, patience, error);
}

/* ---- The tail ---------------------------------------------------------------------------------------------------- */

static bool copy_bytes(struct weir_bytes *copy, const void *data, size_t size)
{
    if (data == NULL) {
        *copy = WEIR_NULL;
        return true;
    }
    char *bytes = malloc(size + 1);
    if (bytes == NULL) return false;
    memcpy(bytes, data, size);
    *copy = (struct weir_bytes){ bytes, size };
    return true;
}

static bool append_record(struct weir_decider_event *event, const rd_kafka_message_t *message)
{
    struct weir_ledger_record *records =
        realloc(event->records, (event->record_count + 1) * sizeof *event->records);
    if (records == NULL) return false;
    event->records = records;
    struct weir_ledger_record *record = &records[event->record_count++];
    *record = (struct weir_ledger_record){ .offset = message->offset };
    return copy_bytes(&record->key, message->key, message->key_len) &&
           copy_bytes(&record->value, message->payload, message->len);
}

static enum weir_code take_record(void *user, const rd_kafka_message_t *message, struct weir_error *error)
{
    if (append_record(user, message)) return WEIR_OK;
    return weir_error_set(error, WEIR_NO_MEMORY, WEIR_REMEDY_STOP, "ledger: out of memory");
}

enum weir_code ledger_topic_tail(struct ledger_topic *ledger, bool committed, const struct topics_patience *patience,
                                 struct weir_decider_event *event, struct weir_error *error)
{
    struct kafka_client *client = committed ? ledger->committed : ledger->uncommitted;
    int32_t partitions;
    int64_t low, high;
    if (topics_partition_count(client, ledger->name, patience, &partitions, error) != WEIR_OK) return error->code;
    if (partitions <= ledger->partition) return WEIR_OK;
    if (scan_bounds(client, ledger->name, ledger->partition, patience, &low, &high, error) != WEIR_OK)
        return error->code;

    struct scan_stretch stretch = { .client = client, .topic = ledger->name, .partition = ledger->partition,
                                    .end = high, .each = take_record, .user = event };
    for (int64_t window = WINDOW_MIN; event->record_count == 0 && stretch.end > low; window *= 2) {
        stretch.begin = stretch.end - low > window ? stretch.end - window : low;
        if (scan_records(&stretch, patience, error) != WEIR_OK) return error->code;
        stretch.end = stretch.begin;
    }
    return WEIR_OK;
}

/* ---- Mirrors ----------------------------------------------------------------------------------------------------- */

static enum weir_code copy_mirrors(const rd_kafka_topic_partition_list_t *list, struct weir_decider_event *event,
                                   struct weir_error *error)
{
    if (list->cnt == 0) return WEIR_OK;
    event->mirrors = calloc((size_t)list->cnt, sizeof *event->mirrors);
    if (event->mirrors == NULL)
        return weir_error_set(error, WEIR_NO_MEMORY, WEIR_REMEDY_STOP, "group offsets: out of memory");
    for (int i = 0; i < list->cnt; i++) {
        const rd_kafka_topic_partition_t *row = &list->elems[i];
        if (row->offset < 0) continue;
        struct weir_mirror *mirror = &event->mirrors[event->mirror_count++];
        kafka_split_name(mirror->split, row->topic, row->partition);
        mirror->position = row->offset;
        /* Not terminated, and not ours when it does not fit: then it must not look like ours. */
        if (row->metadata != NULL && row->metadata_size < sizeof mirror->metadata)
            memcpy(mirror->metadata, row->metadata, row->metadata_size);
    }
    return WEIR_OK;
}

/* The first error of the answer or of a partition in it. */
static rd_kafka_resp_err_t offsets_of(rd_kafka_event_t *event, const rd_kafka_topic_partition_list_t **list)
{
    *list = NULL;
    const rd_kafka_resp_err_t reason = rd_kafka_event_error(event);
    if (reason != RD_KAFKA_RESP_ERR_NO_ERROR) return reason;
    size_t count;
    const rd_kafka_group_result_t **groups =
        rd_kafka_ListConsumerGroupOffsets_result_groups(rd_kafka_event_ListConsumerGroupOffsets_result(event), &count);
    if (count != 1) return RD_KAFKA_RESP_ERR_NO_ERROR;
    const rd_kafka_error_t *failure = rd_kafka_group_result_error(groups[0]);
    if (failure != NULL) return rd_kafka_error_code(failure);
    *list = rd_kafka_group_result_partitions(groups[0]);
    for (int i = 0; *list != NULL && i < (*list)->cnt; i++)
        if ((*list)->elems[i].err != RD_KAFKA_RESP_ERR_NO_ERROR) return (*list)->elems[i].err;
    return RD_KAFKA_RESP_ERR_NO_ERROR;
}

void ledger_topic_ask_mirrors(struct ledger_topic *ledger, bool stable, struct ledger_mirrors *mirrors)
{
    rd_kafka_t *rk = ledger->offsets->handle;
    *mirrors = (struct ledger_mirrors){ .queue = rd_kafka_queue_new(rk), .stable = stable };
    rd_kafka_ListConsumerGroupOffsets_t *request = rd_kafka_ListConsumerGroupOffsets_new(ledger->group, NULL);
    rd_kafka_AdminOptions_t *options = rd_kafka_AdminOptions_new(rk, RD_KAFKA_ADMIN_OP_LISTCONSUMERGROUPOFFSETS);
    rd_kafka_error_destroy(rd_kafka_AdminOptions_set_require_stable_offsets(options, stable ? 1 : 0));
    rd_kafka_ListConsumerGroupOffsets(rk, &request, 1, options, mirrors->queue);
    rd_kafka_AdminOptions_destroy(options);
    rd_kafka_ListConsumerGroupOffsets_destroy(request);
}

void ledger_topic_drop_mirrors(struct ledger_mirrors *mirrors)
{
    rd_kafka_queue_destroy(mirrors->queue);
}

static bool is_pending(rd_kafka_resp_err_t reason)
{
    return reason == RD_KAFKA_RESP_ERR_UNSTABLE_OFFSET_COMMIT ||
           reason == RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS ||
           reason == RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE || reason == RD_KAFKA_RESP_ERR_NOT_COORDINATOR;
}

static enum weir_code take_answer(struct ledger_topic *ledger, rd_kafka_event_t *answer,
                                  struct weir_decider_event *event, bool *pending, struct weir_error *error)
{
    const rd_kafka_topic_partition_list_t *list;
    const rd_kafka_resp_err_t reason = offsets_of(answer, &list);
    *pending = is_pending(reason);
    if (reason != RD_KAFKA_RESP_ERR_NO_ERROR)
        return kafka_error(error, ledger->offsets, reason, NULL, "offsets of group '%s'", ledger->group);
    return list == NULL ? WEIR_OK : copy_mirrors(list, event, error);
}

enum weir_code ledger_topic_take_mirrors(struct ledger_topic *ledger, struct ledger_mirrors *mirrors,
                                         const struct topics_patience *patience, struct weir_decider_event *event,
                                         struct weir_error *error)
{
    const int64_t began_ms = handle_now_ms();
    for (;;) {
        rd_kafka_event_t *answer;
        bool pending = false;
        enum weir_code code = kafka_await(ledger->offsets, mirrors->queue, patience->timeout_ms,
                                          patience->cancelled, &answer, error);
        if (code == WEIR_OK) {
            code = take_answer(ledger, answer, event, &pending, error);
            rd_kafka_event_destroy(answer);
        }
        ledger_topic_drop_mirrors(mirrors);
        if (!pending || !topics_ask_again(patience, began_ms, RD_KAFKA_RESP_ERR__TIMED_OUT)) return code;
        topics_pause(PENDING_PAUSE_MS);
        ledger_topic_ask_mirrors(ledger, mirrors->stable, mirrors);
    }
}
