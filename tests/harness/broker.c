#include "broker.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "process.h"

enum { CLUSTERS_MAX = 4 };

static struct {
    char folder[512];
    char address[256];
} clusters[CLUSTERS_MAX];
static int cluster_count, current;

/* Benchmarks and main() use these functions too, where Check's own words are not allowed: a fact that ends here has, as
 * Check says it, exited early. */
WEIR_PRINTF(2, 3) static void require(bool fact, const char *format, ...)
{
    if (fact) return;
    va_list arguments;
    va_start(arguments, format);
    (void)vfprintf(stderr, format, arguments);
    va_end(arguments);
    (void)fputc('\n', stderr);
    exit(EXIT_FAILURE);
}

/* ---- Processes --------------------------------------------------------------------------------------------------- */


/* Runs config/kafka/broker; its last line of output, without the newline, goes to `last`. */
static void run_script(const char *arguments, char *last, size_t last_size)
{
    char command[2048], line[512];
    (void)snprintf(command, sizeof command, "exec '%s/config/kafka/broker' %s", WEIR_SOURCE_DIR, arguments);
    FILE *output = popen(command, "re");
    require(output != NULL, "cannot run %s", command);
    last[0] = '\0';
    while (fgets(line, sizeof line, output) != NULL)
        (void)snprintf(last, last_size, "%.*s", (int)strcspn(line, "\n"), line);
    const int status = pclose(output);
    require(WIFEXITED(status) && WEXITSTATUS(status) == 0, "%s failed: %s", command, last);
}

static void run_on_current(const char *command)
{
    char arguments[1024], last[256];
    (void)snprintf(arguments, sizeof arguments, "%s --dir '%s'", command, clusters[current].folder);
    run_script(arguments, last, sizeof last);
}

static int start(int nodes, const char *more)
{
    require(cluster_count < CLUSTERS_MAX, "broker_start: too many clusters");
    current = cluster_count++;
    (void)snprintf(clusters[current].folder, sizeof clusters[current].folder, "%s/broker-%d-%d", WEIR_BINARY_DIR,
                   (int)getpid(), current);
    char arguments[1024];
    (void)snprintf(arguments, sizeof arguments, "start --dir '%s' --temporary --owner %d --brokers %d%s",
                   clusters[current].folder, (int)getpid(), nodes, more);
    run_script(arguments, clusters[current].address, sizeof clusters[current].address);
    return current;
}

int broker_start(int nodes) { return start(nodes, ""); }
int broker_start_secure(void) { return start(1, " --secure"); }

void broker_select(int cluster)
{
    require(cluster < cluster_count, "there is no cluster %d", cluster);
    current = cluster;
}

const char *broker_address(void) { return clusters[current].address; }
const char *broker_folder(void) { return clusters[current].folder; }
void broker_kill(void) { run_on_current("kill"); }
void broker_restart(void) { run_on_current("restart"); }

/* ---- Handles ----------------------------------------------------------------------------------------------------- */

static void set(rd_kafka_conf_t *conf, const char *name, const char *value)
{
    char text[256];
    require(rd_kafka_conf_set(conf, name, value, text, sizeof text) == RD_KAFKA_CONF_OK, "%s", text);
}

/* Calls `each` for the parts of "NAME=VALUE,NAME=VALUE". */
static void each_setting(const char *settings, void (*each)(void *user, const char *name, const char *value),
                         void *user)
{
    if (settings == NULL) return;
    char *copy = strdup(settings), *rest = copy;
    for (char *part; (part = strsep(&rest, ",")) != NULL;) {
        char *value = strchr(part, '=');
        require(value != NULL, "'%s' is not NAME=VALUE", part);
        *value++ = '\0';
        each(user, part, value);
    }
    free(copy);
}

static void set_conf(void *conf, const char *name, const char *value) { set(conf, name, value); }

static void be_silent(const rd_kafka_t *handle, int level, const char *facility, const char *text)
{
    (void)handle, (void)level, (void)facility, (void)text;
}

static rd_kafka_conf_t *new_conf(const char *settings)
{
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    set(conf, "bootstrap.servers", broker_address());
    set(conf, "socket.nagle.disable", "true");
    set(conf, "enable.metrics.push", "false"); /* or destroying a handle takes a second */
    rd_kafka_conf_set_log_cb(conf, be_silent);
    each_setting(settings, set_conf, conf);
    return conf;
}

static rd_kafka_t *open_handle(rd_kafka_type_t type, rd_kafka_conf_t *conf)
{
    char text[256];
    rd_kafka_t *handle = rd_kafka_new(type, conf, text, sizeof text);
    require(handle != NULL, "%s", text);
    return handle;
}

static void check_error(rd_kafka_error_t *error, const char *what)
{
    if (error != NULL) require(false, "%s: %s", what, rd_kafka_error_string(error));
}

static void check_code(rd_kafka_resp_err_t code, const char *what)
{
    require(code == RD_KAFKA_RESP_ERR_NO_ERROR, "%s: %s", what, rd_kafka_err2str(code));
}

/* ---- Administration ---------------------------------------------------------------------------------------------- */

struct admin {
    rd_kafka_t *handle;
    rd_kafka_queue_t *queue;
    rd_kafka_AdminOptions_t *options;
};

static struct admin admin_open(void)
{
    struct admin admin;
    admin.handle = open_handle(RD_KAFKA_PRODUCER, new_conf(NULL));
    admin.queue = rd_kafka_queue_new(admin.handle);
    admin.options = rd_kafka_AdminOptions_new(admin.handle, RD_KAFKA_ADMIN_OP_ANY);
    char text[256];
    check_code(rd_kafka_AdminOptions_set_request_timeout(admin.options, PATIENCE_MS, text, sizeof text), text);
    return admin;
}

static rd_kafka_event_t *admin_await(struct admin *admin, const char *what)
{
    rd_kafka_event_t *event = rd_kafka_queue_poll(admin->queue, PATIENCE_MS);
    require(event != NULL, "%s: no answer", what);
    require(rd_kafka_event_error(event) == RD_KAFKA_RESP_ERR_NO_ERROR, "%s: %s", what,
                  rd_kafka_event_error_string(event));
    return event;
}

static void admin_close(struct admin *admin)
{
    rd_kafka_AdminOptions_destroy(admin->options);
    rd_kafka_queue_destroy(admin->queue);
    rd_kafka_destroy(admin->handle);
}

static void check_topic_results(const rd_kafka_topic_result_t **results, size_t count, const char *what)
{
    for (size_t i = 0; i < count; i++)
        require(rd_kafka_topic_result_error(results[i]) == RD_KAFKA_RESP_ERR_NO_ERROR, "%s: %s", what,
                      rd_kafka_topic_result_error_string(results[i]));
}

const char *broker_name(const char *stem)
{
    static char names[1024][128];
    static int count;
    require(count < 1024, "broker_name: too many names");
    (void)snprintf(names[count], sizeof names[0], "%s-%d-%d", stem, (int)getpid(), count);
    return names[count++];
}

static void set_topic(void *topic, const char *name, const char *value)
{
    check_code(rd_kafka_NewTopic_set_config(topic, name, value), name);
}

static int partitions_known(rd_kafka_t *handle, const char *topic)
{
    rd_kafka_topic_t *object = rd_kafka_topic_new(handle, topic, NULL);
    const struct rd_kafka_metadata *metadata;
    int count = -1;
    if (rd_kafka_metadata(handle, 0, object, &metadata, PATIENCE_MS) == RD_KAFKA_RESP_ERR_NO_ERROR) {
        if (metadata->topic_cnt == 1 && metadata->topics[0].err == RD_KAFKA_RESP_ERR_NO_ERROR) {
            count = metadata->topics[0].partition_cnt;
            for (int i = 0; i < metadata->topics[0].partition_cnt; i++)
                if (metadata->topics[0].partitions[i].leader < 0) count = -1;
        }
        rd_kafka_metadata_destroy(metadata);
    }
    rd_kafka_topic_destroy(object);
    return count;
}

/* The broker answers before every part of it knows: waits until a fresh client sees so many partitions with leaders. */
static void await_partitions(const char *topic, int count)
{
    for (const int64_t deadline = process_now_ms() + PATIENCE_MS; process_now_ms() < deadline;) {
        rd_kafka_t *handle = open_handle(RD_KAFKA_CONSUMER, new_conf(NULL));
        const int known = partitions_known(handle, topic);
        rd_kafka_destroy(handle);
        if (known == count) return;
        usleep(20000);
    }
    require(false, "topic %s does not get %d partitions", topic, count);
}

void broker_create_topic(const char *topic, int partitions, const char *settings)
{
    struct admin admin = admin_open();
    char text[256];
    rd_kafka_NewTopic_t *wanted = rd_kafka_NewTopic_new(topic, partitions, -1, text, sizeof text);
    require(wanted != NULL, "%s", text);
    each_setting(settings, set_topic, wanted);
    rd_kafka_CreateTopics(admin.handle, &wanted, 1, admin.options, admin.queue);
    rd_kafka_event_t *event = admin_await(&admin, topic);
    size_t count;
    const rd_kafka_topic_result_t **results =
        rd_kafka_CreateTopics_result_topics(rd_kafka_event_CreateTopics_result(event), &count);
    check_topic_results(results, count, "create topic");
    rd_kafka_event_destroy(event);
    rd_kafka_NewTopic_destroy(wanted);
    admin_close(&admin);
    await_partitions(topic, partitions);
}

const char *broker_topic(const char *stem, int partitions)
{
    const char *topic = broker_name(stem);
    broker_create_topic(topic, partitions, NULL);
    return topic;
}

void broker_delete_topic(const char *topic)
{
    struct admin admin = admin_open();
    rd_kafka_DeleteTopic_t *gone = rd_kafka_DeleteTopic_new(topic);
    rd_kafka_DeleteTopics(admin.handle, &gone, 1, admin.options, admin.queue);
    rd_kafka_event_t *event = admin_await(&admin, topic);
    size_t count;
    const rd_kafka_topic_result_t **results =
        rd_kafka_DeleteTopics_result_topics(rd_kafka_event_DeleteTopics_result(event), &count);
    check_topic_results(results, count, "delete topic");
    rd_kafka_event_destroy(event);
    rd_kafka_DeleteTopic_destroy(gone);
    admin_close(&admin);
    await_partitions(topic, -1);
}

void broker_add_partitions(const char *topic, int total)
{
    struct admin admin = admin_open();
    char text[256];
    rd_kafka_NewPartitions_t *wanted = rd_kafka_NewPartitions_new(topic, (size_t)total, text, sizeof text);
    require(wanted != NULL, "%s", text);
    rd_kafka_CreatePartitions(admin.handle, &wanted, 1, admin.options, admin.queue);
    rd_kafka_event_t *event = admin_await(&admin, topic);
    size_t count;
    const rd_kafka_topic_result_t **results =
        rd_kafka_CreatePartitions_result_topics(rd_kafka_event_CreatePartitions_result(event), &count);
    check_topic_results(results, count, "add partitions");
    rd_kafka_event_destroy(event);
    rd_kafka_NewPartitions_destroy(wanted);
    admin_close(&admin);
    await_partitions(topic, total);
}

static rd_kafka_topic_partition_list_t *one_partition(const char *topic, int partition, int64_t offset)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(list, topic, partition)->offset = offset;
    return list;
}

void broker_delete_records(const char *topic, int partition, int64_t before)
{
    struct admin admin = admin_open();
    rd_kafka_topic_partition_list_t *list = one_partition(topic, partition, before);
    rd_kafka_DeleteRecords_t *request = rd_kafka_DeleteRecords_new(list);
    rd_kafka_DeleteRecords(admin.handle, &request, 1, admin.options, admin.queue);
    rd_kafka_event_t *event = admin_await(&admin, topic);
    const rd_kafka_topic_partition_list_t *result =
        rd_kafka_DeleteRecords_result_offsets(rd_kafka_event_DeleteRecords_result(event));
    check_code(result->elems[0].err, "delete records");
    rd_kafka_event_destroy(event);
    rd_kafka_DeleteRecords_destroy(request);
    rd_kafka_topic_partition_list_destroy(list);
    admin_close(&admin);
}

bool broker_has_topic(const char *topic)
{
    rd_kafka_t *handle = open_handle(RD_KAFKA_CONSUMER, new_conf(NULL));
    const bool has = partitions_known(handle, topic) >= 0;
    rd_kafka_destroy(handle);
    return has;
}

static rd_kafka_t *group_handle(const char *group)
{
    rd_kafka_conf_t *conf = new_conf("enable.auto.commit=false");
    set(conf, "group.id", group);
    return open_handle(RD_KAFKA_CONSUMER, conf);
}

int64_t broker_group_offset(const char *group, const char *topic, int partition)
{
    rd_kafka_t *handle = group_handle(group);
    rd_kafka_topic_partition_list_t *list = one_partition(topic, partition, RD_KAFKA_OFFSET_INVALID);
    check_code(rd_kafka_committed(handle, list, PATIENCE_MS), "committed offsets");
    check_code(list->elems[0].err, "committed offset");
    const int64_t offset = list->elems[0].offset;
    rd_kafka_topic_partition_list_destroy(list);
    rd_kafka_destroy(handle);
    return offset < 0 ? -1 : offset;
}

void broker_set_group_offset(const char *group, const char *topic, int partition, int64_t offset)
{
    rd_kafka_t *handle = group_handle(group);
    rd_kafka_topic_partition_list_t *list = one_partition(topic, partition, offset);
    check_code(rd_kafka_commit(handle, list, 0), "commit offset");
    rd_kafka_topic_partition_list_destroy(list);
    rd_kafka_destroy(handle);
}

static int64_t end_of(rd_kafka_t *handle, const char *topic, int partition)
{
    int64_t low, high;
    check_code(rd_kafka_query_watermark_offsets(handle, topic, partition, &low, &high, PATIENCE_MS), topic);
    return high;
}

static rd_kafka_t *reading_handle(bool committed)
{
    return open_handle(RD_KAFKA_CONSUMER,
                       new_conf(committed ? "isolation.level=read_committed,enable.partition.eof=true"
                                          : "isolation.level=read_uncommitted,enable.partition.eof=true"));
}

int64_t broker_end(const char *topic, int partition, bool committed)
{
    rd_kafka_t *handle = reading_handle(committed);
    const int64_t end = end_of(handle, topic, partition);
    rd_kafka_destroy(handle);
    return end;
}

void broker_await_stable(const char *topic, int partition)
{
    rd_kafka_t *stable = reading_handle(true), *all = reading_handle(false);
    const int64_t deadline = process_now_ms() + PATIENCE_MS;
    bool is_stable;
    while (!(is_stable = end_of(stable, topic, partition) >= end_of(all, topic, partition)) && process_now_ms() < deadline)
        usleep(10000);
    rd_kafka_destroy(stable);
    rd_kafka_destroy(all);
    require(is_stable, "%s/%d: a transaction stays open", topic, partition);
}

/* ---- Users and rights -------------------------------------------------------------------------------------------- */

void broker_allow(const struct broker_right *right)
{
    struct admin admin = admin_open();
    char text[256];
    rd_kafka_AclBinding_t *wanted = rd_kafka_AclBinding_new(
        right->resource, right->name,
        right->is_prefix ? RD_KAFKA_RESOURCE_PATTERN_PREFIXED : RD_KAFKA_RESOURCE_PATTERN_LITERAL, right->principal, "*",
        right->operation, RD_KAFKA_ACL_PERMISSION_TYPE_ALLOW, text, sizeof text);
    require(wanted != NULL, "%s", text);
    rd_kafka_CreateAcls(admin.handle, &wanted, 1, admin.options, admin.queue);
    rd_kafka_event_t *event = admin_await(&admin, "create a right");
    size_t count;
    const rd_kafka_acl_result_t **results =
        rd_kafka_CreateAcls_result_acls(rd_kafka_event_CreateAcls_result(event), &count);
    for (size_t i = 0; i < count; i++)
        check_code(rd_kafka_error_code(rd_kafka_acl_result_error(results[i])), right->name);
    rd_kafka_event_destroy(event);
    rd_kafka_AclBinding_destroy(wanted);
    admin_close(&admin);
}

void broker_set_password(const char *user, const char *password)
{
    struct admin admin = admin_open();
    rd_kafka_UserScramCredentialAlteration_t *wanted = rd_kafka_UserScramCredentialUpsertion_new(
        user, RD_KAFKA_SCRAM_MECHANISM_SHA_512, 4096, (const unsigned char *)password, strlen(password), NULL, 0);
    rd_kafka_AlterUserScramCredentials(admin.handle, &wanted, 1, admin.options, admin.queue);
    rd_kafka_event_t *event = admin_await(&admin, "set a password");
    size_t count;
    const rd_kafka_AlterUserScramCredentials_result_response_t **answers =
        rd_kafka_AlterUserScramCredentials_result_responses(rd_kafka_event_AlterUserScramCredentials_result(event), &count);
    for (size_t i = 0; i < count; i++)
        check_code(rd_kafka_error_code(rd_kafka_AlterUserScramCredentials_result_response_error(answers[i])), user);
    rd_kafka_event_destroy(event);
    rd_kafka_UserScramCredentialAlteration_destroy(wanted);
    admin_close(&admin);
}

/* ---- Producing --------------------------------------------------------------------------------------------------- */

rd_kafka_t *broker_producer(const char *transactional_id, const char *settings)
{
    rd_kafka_conf_t *conf = new_conf(settings);
    if (transactional_id != NULL) set(conf, "transactional.id", transactional_id);
    else set(conf, "enable.idempotence", "true");
    rd_kafka_t *producer = open_handle(RD_KAFKA_PRODUCER, conf);
    if (transactional_id != NULL) check_error(rd_kafka_init_transactions(producer, PATIENCE_MS), "init");
    return producer;
}

void broker_flush(rd_kafka_t *producer) { check_code(rd_kafka_flush(producer, PATIENCE_MS), "flush"); }
void broker_begin(rd_kafka_t *producer) { check_error(rd_kafka_begin_transaction(producer), "begin"); }
void broker_commit(rd_kafka_t *producer) { check_error(rd_kafka_commit_transaction(producer, PATIENCE_MS), "commit"); }
void broker_abort(rd_kafka_t *producer) { check_error(rd_kafka_abort_transaction(producer, PATIENCE_MS), "abort"); }

void broker_producer_close(rd_kafka_t *producer)
{
    broker_flush(producer);
    rd_kafka_destroy(producer);
}

/* Null has no data, empty has some. */
static void *data_of(struct weir_bytes bytes)
{
    return !weir_is_set(bytes) || weir_is_null(bytes) ? NULL : (void *)(uintptr_t)bytes.data;
}

static rd_kafka_headers_t *headers_of(const struct weir_record *record)
{
    if (record->headers == NULL) return NULL;
    rd_kafka_headers_t *headers = rd_kafka_headers_new(record->headers->count);
    for (size_t i = 0; i < record->headers->count; i++) {
        const struct weir_header *item = &record->headers->items[i];
        rd_kafka_header_add(headers, item->name, -1, data_of(item->value), (ssize_t)item->value.size);
    }
    return headers;
}

static rd_kafka_resp_err_t try_produce(rd_kafka_t *producer, const char *topic, int partition,
                                       const struct weir_record *record)
{
    rd_kafka_headers_t *headers = headers_of(record);
    const int64_t time_ms = record->time_ms == WEIR_TIME_UNSET ? 0 : record->time_ms;
    const rd_kafka_resp_err_t code = rd_kafka_producev(
        producer, RD_KAFKA_V_TOPIC(topic), RD_KAFKA_V_PARTITION(partition), RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
        RD_KAFKA_V_KEY(data_of(record->key), record->key.size),
        RD_KAFKA_V_VALUE(data_of(record->value), record->value.size), RD_KAFKA_V_TIMESTAMP(time_ms),
        RD_KAFKA_V_HEADERS(headers), RD_KAFKA_V_END);
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR && headers != NULL) rd_kafka_headers_destroy(headers);
    return code;
}

void broker_produce(rd_kafka_t *producer, const char *topic, int partition, const struct weir_record *record)
{
    rd_kafka_resp_err_t code;
    while ((code = try_produce(producer, topic, partition, record)) == RD_KAFKA_RESP_ERR__QUEUE_FULL)
        rd_kafka_poll(producer, 100);
    check_code(code, topic);
}

void broker_produce_numbers(rd_kafka_t *producer, const char *topic, int partition, int64_t first, int64_t count)
{
    for (int64_t number = first; number < first + count; number++) {
        char text[24];
        const int size = snprintf(text, sizeof text, "%lld", (long long)number);
        const struct weir_record record = { .key = WEIR_NULL,
                                            .value = { .data = text, .size = (size_t)size },
                                            .time_ms = WEIR_TIME_UNSET };
        broker_produce(producer, topic, partition, &record);
    }
}

void broker_put_numbers(const char *topic, int partition, int64_t first, int64_t count)
{
    rd_kafka_t *producer = broker_producer(NULL, "linger.ms=5");
    broker_produce_numbers(producer, topic, partition, first, count);
    broker_producer_close(producer);
}

static struct weir_bytes text_or_null(const char *text) { return text == NULL ? WEIR_NULL : weir_text(text); }

void broker_put(const char *topic, int partition, const char *key, const char *value)
{
    rd_kafka_t *producer = broker_producer(NULL, NULL);
    const struct weir_record record = { .key = text_or_null(key), .value = text_or_null(value),
                                        .time_ms = WEIR_TIME_UNSET };
    broker_produce(producer, topic, partition, &record);
    broker_producer_close(producer);
}

/* ---- Reading ----------------------------------------------------------------------------------------------------- */

static struct weir_bytes copy_of(const void *data, size_t size)
{
    if (data == NULL) return WEIR_NULL;
    char *copy = malloc(size + 1);
    require(copy != NULL, "out of memory");
    memcpy(copy, data, size);
    return (struct weir_bytes){ copy, size };
}

static void append(struct broker_records *records, const rd_kafka_message_t *message)
{
    if ((records->count & (records->count - 1)) == 0) { /* full at every power of two */
        const size_t capacity = records->count == 0 ? 1 : records->count * 2;
        records->items = realloc(records->items, capacity * sizeof *records->items);
        require(records->items != NULL, "out of memory");
    }
    records->items[records->count++] = (struct broker_record){
        .offset = message->offset,
        .time_ms = rd_kafka_message_timestamp(message, NULL),
        .key = copy_of(message->key, message->key_len),
        .value = copy_of(message->payload, message->len),
    };
}

struct broker_records broker_read(const char *topic, int partition, int64_t begin, bool committed)
{
    rd_kafka_t *handle = reading_handle(committed);
    const int64_t end = end_of(handle, topic, partition);
    rd_kafka_topic_t *object = rd_kafka_topic_new(handle, topic, NULL);
    require(rd_kafka_consume_start(object, partition, begin) == 0, "%s/%d: cannot be read", topic, partition);
    struct broker_records records = { 0 };
    for (bool done = false; !done;) {
        rd_kafka_message_t *message = rd_kafka_consume(object, partition, PATIENCE_MS);
        require(message != NULL, "%s/%d: nothing to read", topic, partition);
        if (message->err == RD_KAFKA_RESP_ERR_NO_ERROR) {
            if (message->offset < end) append(&records, message);
            done = message->offset + 1 >= end;
        } else {
            require(message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF, "%s", rd_kafka_message_errstr(message));
            done = message->offset >= end;
        }
        rd_kafka_message_destroy(message);
    }
    rd_kafka_consume_stop(object, partition);
    rd_kafka_topic_destroy(object);
    rd_kafka_destroy(handle);
    return records;
}

static void free_copy(struct weir_bytes bytes)
{
    if (!weir_is_null(bytes)) free((void *)(uintptr_t)bytes.data);
}

void broker_records_free(struct broker_records *records)
{
    for (size_t i = 0; i < records->count; i++) {
        free_copy(records->items[i].key);
        free_copy(records->items[i].value);
    }
    free(records->items);
    *records = (struct broker_records){ 0 };
}
