#include "raw_client.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/vec.h"
#include "harness/patience.h"

/* Kafka's protocol guide, "Api Keys". */
enum api {
    API_PRODUCE = 0,
    API_FETCH = 1,
    API_LIST_OFFSETS = 2,
    API_METADATA = 3,
    API_OFFSET_COMMIT = 8,
    API_OFFSET_FETCH = 9,
    API_FIND_COORDINATOR = 10,
    API_CREATE_TOPICS = 19,
    API_DELETE_TOPICS = 20,
    API_DELETE_RECORDS = 21,
    API_INIT_PRODUCER_ID = 22,
    API_ADD_PARTITIONS = 24,
    API_ADD_OFFSETS = 25,
    API_END_TXN = 26,
    API_TXN_OFFSET_COMMIT = 28,
    API_DESCRIBE_TRANSACTIONS = 65,
};

enum {
    OPERATION_NOT_ATTEMPTED = 55, /* another partition of the request was refused */
    BATCH_HEAD_BYTES = 61,
    BATCH_TRANSACTIONAL = 0x10,
    BATCH_CONTROL = 0x20,
    FETCH_BYTES_MAX = 16 << 20,
};

struct raw_client {
    int socket;
    int32_t correlation;
    bool is_flexible; /* the request under way: compact lengths and tagged fields */
    struct buffer out, in;
    struct reader answer;
};

static void require(bool fact, const char *what)
{
    if (fact) return;
    (void)fprintf(stderr, "raw client: %s: %s\n", what, errno != 0 ? strerror(errno) : "malformed");
    exit(EXIT_FAILURE);
}

/* ---- Numbers and texts, big-endian ------------------------------------------------------------------------------- */

static void put_number(struct buffer *out, uint64_t number, size_t bytes)
{
    for (size_t i = bytes; i-- > 0;) buffer_u8(out, (uint8_t)(number >> (8 * i)));
}
static void put_i8(struct buffer *out, int number) { put_number(out, (uint64_t)(int64_t)number, 1); }
static void put_i16(struct buffer *out, int number) { put_number(out, (uint64_t)(int64_t)number, 2); }
static void put_i32(struct buffer *out, int64_t number) { put_number(out, (uint64_t)number, 4); }
static void put_i64(struct buffer *out, int64_t number) { put_number(out, (uint64_t)number, 8); }
static void put_zigzag(struct buffer *out, int64_t number)
{
    buffer_varint(out, ((uint64_t)number << 1) ^ (uint64_t)(number >> 63));
}

static uint64_t get_number(struct reader *in, size_t bytes)
{
    uint64_t number = 0;
    for (size_t i = 0; i < bytes; i++) number = number << 8 | reader_u8(in);
    return number;
}
static int get_i8(struct reader *in) { return (int8_t)get_number(in, 1); }
static int get_i16(struct reader *in) { return (int16_t)get_number(in, 2); }
static int32_t get_i32(struct reader *in) { return (int32_t)get_number(in, 4); }
static int64_t get_i64(struct reader *in) { return (int64_t)get_number(in, 8); }
static int64_t get_zigzag(struct reader *in)
{
    const uint64_t number = reader_varint(in);
    return (int64_t)(number >> 1) ^ -(int64_t)(number & 1);
}

static void put_text(struct raw_client *client, const char *text)
{
    const size_t size = text != NULL ? strlen(text) : 0;
    if (client->is_flexible) buffer_varint(&client->out, text != NULL ? size + 1 : 0);
    else put_i16(&client->out, text != NULL ? (int)size : -1);
    buffer_put(&client->out, text, size);
}
static void put_count(struct raw_client *client, size_t count)
{
    if (client->is_flexible) buffer_varint(&client->out, count + 1);
    else put_i32(&client->out, (int64_t)count);
}
/* Ends a struct: no tagged fields. */
static void put_end(struct raw_client *client)
{
    if (client->is_flexible) buffer_varint(&client->out, 0);
}

/* Borrowed; null comes back as empty. */
static struct weir_bytes get_text(struct raw_client *client)
{
    struct reader *in = &client->answer;
    const int64_t size = client->is_flexible ? (int64_t)reader_varint(in) - 1 : get_i16(in);
    if (size <= 0) return WEIR_EMPTY;
    const char *data = reader_skip(in, (size_t)size);
    return data != NULL ? (struct weir_bytes){ data, (size_t)size } : WEIR_EMPTY;
}
static size_t get_count(struct raw_client *client)
{
    struct reader *in = &client->answer;
    const int64_t count = client->is_flexible ? (int64_t)reader_varint(in) - 1 : get_i32(in);
    return count > 0 ? (size_t)count : 0;
}
static void get_end(struct raw_client *client)
{
    if (!client->is_flexible) return;
    for (uint64_t left = reader_varint(&client->answer); left > 0 && !client->answer.failed; left--) {
        (void)reader_varint(&client->answer);
        (void)reader_skip(&client->answer, (size_t)reader_varint(&client->answer));
    }
}

static void copy_text(struct weir_bytes text, char *into, size_t size)
{
    (void)snprintf(into, size, "%.*s", (int)text.size, text.data);
}

/* ---- One request ------------------------------------------------------------------------------------------------- */

static void begin(struct raw_client *client, enum api api, int version, bool is_flexible)
{
    buffer_clear(&client->out);
    put_i32(&client->out, 0);
    put_i16(&client->out, api);
    put_i16(&client->out, version);
    put_i32(&client->out, ++client->correlation);
    client->is_flexible = false; /* the client's name never has a compact length */
    put_text(client, "raw");
    client->is_flexible = is_flexible;
    put_end(client);
}

static void patch_size(struct buffer *out, size_t at, uint32_t size)
{
    const uint32_t number = htonl(size);
    memcpy(out->data + at, &number, sizeof number);
}

static void receive(struct raw_client *client, void *data, size_t size)
{
    for (char *at = data; size > 0;) {
        const ssize_t got = recv(client->socket, at, size, 0);
        if (got < 0 && errno == EINTR) continue;
        require(got > 0, "the broker closed the connection");
        at += got;
        size -= (size_t)got;
    }
}

/* Sends what was put, and leaves the answer's body in client->answer. */
static void exchange(struct raw_client *client)
{
    struct buffer *out = &client->out, *in = &client->in;
    require(!out->failed, "no memory");
    patch_size(out, 0, (uint32_t)(out->size - 4));
    for (size_t sent = 0; sent < out->size;) {
        const ssize_t more = send(client->socket, out->data + sent, out->size - sent, MSG_NOSIGNAL);
        if (more < 0 && errno == EINTR) continue;
        require(more > 0, "cannot send");
        sent += (size_t)more;
    }
    uint32_t size;
    receive(client, &size, sizeof size);
    size = ntohl(size);
    buffer_clear(in);
    require(buffer_reserve(in, size), "no memory");
    receive(client, in->data, size);
    reader_init(&client->answer, in->data, size);
    errno = 0;
    require(get_i32(&client->answer) == client->correlation, "an answer to something else");
    get_end(client);
}

/* Most answers begin with how long the broker held the request back. */
static void call(struct raw_client *client)
{
    exchange(client);
    (void)get_i32(&client->answer);
}

/* The answer was read as far as it is of interest. */
static int finish(struct raw_client *client, int code)
{
    errno = 0;
    require(!client->answer.failed, "the answer is too short");
    return code;
}

static int call_for_code(struct raw_client *client)
{
    call(client);
    return finish(client, get_i16(&client->answer));
}

struct raw_client *raw_client_open(const char *address)
{
    char host[64];
    int port;
    require(sscanf(address, "%63[^:]:%d", host, &port) == 2, address);
    struct raw_client *client = calloc(1, sizeof *client);
    require(client != NULL, "no memory");
    buffer_init(&client->out);
    buffer_init(&client->in);
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
    require(inet_pton(AF_INET, host, &at.sin_addr) == 1, address);
    client->socket = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    require(client->socket >= 0, "socket");
    require(connect(client->socket, (const struct sockaddr *)&at, sizeof at) == 0, address);
    const int yes = 1;
    require(setsockopt(client->socket, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes) == 0, "TCP_NODELAY");
    return client;
}

void raw_client_close(struct raw_client *client)
{
    if (client == NULL) return;
    (void)close(client->socket);
    buffer_deinit(&client->out);
    buffer_deinit(&client->in);
    free(client);
}

/* ---- Topics ------------------------------------------------------------------------------------------------------ */

static int64_t now_ms(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Does the broker, not only the controller, know these partitions (0 = the topic's absence)? */
static bool is_known(struct raw_client *client, const char *topic, int32_t partitions)
{
    begin(client, API_METADATA, 4, false);
    put_count(client, 1);
    put_text(client, topic);
    put_i8(&client->out, 0);
    call(client);
    struct reader *in = &client->answer;
    for (size_t brokers = get_count(client); brokers > 0; brokers--) {
        (void)get_i32(in);
        (void)get_text(client);
        (void)get_i32(in);
        (void)get_text(client);
    }
    (void)get_text(client);
    (void)get_i32(in);
    require(get_count(client) == 1, "metadata of one topic");
    const int code = get_i16(in);
    (void)get_text(client);
    (void)get_i8(in);
    const size_t count = get_count(client);
    (void)finish(client, code);
    if (partitions == 0) return code == MODEL_UNKNOWN_TOPIC_OR_PARTITION;
    if (code != 0 || count != (size_t)partitions) return false;
    for (int32_t i = 0; i < partitions; i++) {
        const struct model_place place = { topic, i };
        int64_t offset;
        if (raw_client_list_offset(client, &place, MODEL_LATEST, false, &offset) != 0) return false;
    }
    return true;
}

static void await_known(struct raw_client *client, const char *topic, int32_t partitions)
{
    const int64_t until_ms = now_ms() + PATIENCE_MS;
    while (!is_known(client, topic, partitions)) {
        errno = ETIMEDOUT;
        require(now_ms() < until_ms, topic);
        (void)usleep(1000);
    }
}

/* The rest of a request about one topic; when it was done, waits until it shows. */
static int change_topic(struct raw_client *client, const char *topic, int32_t partitions)
{
    call(client);
    require(get_count(client) == 1, "one topic changed");
    (void)get_text(client);
    const int code = finish(client, get_i16(&client->answer));
    if (code == 0) await_known(client, topic, partitions);
    return code;
}

int raw_client_create_topic(struct raw_client *client, const char *topic, int32_t partitions, bool compacted)
{
    begin(client, API_CREATE_TOPICS, 4, false);
    put_count(client, 1);
    put_text(client, topic);
    put_i32(&client->out, partitions);
    put_i16(&client->out, -1);
    put_count(client, 0);
    put_count(client, compacted ? 1 : 0);
    if (compacted) {
        put_text(client, "cleanup.policy");
        put_text(client, "compact");
    }
    put_i32(&client->out, PATIENCE_MS);
    put_i8(&client->out, 0);
    return change_topic(client, topic, partitions);
}

int raw_client_delete_topic(struct raw_client *client, const char *topic)
{
    begin(client, API_DELETE_TOPICS, 3, false);
    put_count(client, 1);
    put_text(client, topic);
    put_i32(&client->out, PATIENCE_MS);
    return change_topic(client, topic, 0);
}

static void put_partition(struct raw_client *client, const char *topic, int32_t partition)
{
    put_text(client, topic);
    put_count(client, 1);
    put_i32(&client->out, partition);
}

static void put_place(struct raw_client *client, const struct model_place *place)
{
    put_count(client, 1);
    put_partition(client, place->topic, place->partition);
}

/* Leaves the reader behind the number of the only partition. */
static void get_place(struct raw_client *client)
{
    require(get_count(client) == 1, "one topic answered");
    (void)get_text(client);
    require(get_count(client) == 1, "one partition answered");
    (void)get_i32(&client->answer);
}

int raw_client_delete_records(struct raw_client *client, const struct model_place *place, int64_t before)
{
    begin(client, API_DELETE_RECORDS, 1, false);
    put_place(client, place);
    put_i64(&client->out, before);
    put_i32(&client->out, PATIENCE_MS);
    call(client);
    get_place(client);
    (void)get_i64(&client->answer);
    return finish(client, get_i16(&client->answer));
}

/* ---- Transactions ------------------------------------------------------------------------------------------------ */

int raw_client_find_coordinator(struct raw_client *client, const char *key, bool is_transaction)
{
    begin(client, API_FIND_COORDINATOR, 1, false);
    put_text(client, key);
    put_i8(&client->out, is_transaction ? 1 : 0);
    return call_for_code(client);
}

static void put_producer(struct raw_client *client, struct model_producer producer)
{
    put_i64(&client->out, producer.id);
    put_i16(&client->out, producer.epoch);
}

int raw_client_init_producer_id(struct raw_client *client, const char *transactional_id, int64_t timeout_ms,
                                struct model_producer *producer)
{
    begin(client, API_INIT_PRODUCER_ID, 4, true);
    put_text(client, transactional_id);
    put_i32(&client->out, timeout_ms);
    put_producer(client, (struct model_producer){ -1, -1 });
    put_end(client);
    call(client);
    const int code = get_i16(&client->answer);
    const int64_t id = get_i64(&client->answer);
    const int epoch = get_i16(&client->answer);
    if (code == 0) *producer = (struct model_producer){ id, (int16_t)epoch };
    return finish(client, code);
}

static void begin_in_transaction(struct raw_client *client, enum api api, int version, const char *transactional_id,
                                 struct model_producer producer)
{
    begin(client, api, version, false);
    put_text(client, transactional_id);
    put_producer(client, producer);
}

/* Topics with partitions, each with a code. */
static int get_codes(struct raw_client *client)
{
    int code = 0;
    for (size_t topics = get_count(client); topics > 0; topics--) {
        (void)get_text(client);
        for (size_t partitions = get_count(client); partitions > 0; partitions--) {
            (void)get_i32(&client->answer);
            const int one = get_i16(&client->answer);
            if (code == 0 || code == OPERATION_NOT_ATTEMPTED) code = one != 0 ? one : code;
            get_end(client);
        }
        get_end(client);
    }
    return code;
}

int raw_client_add_partitions(struct raw_client *client, const char *transactional_id, struct model_producer producer,
                              const struct model_place *places, size_t count)
{
    begin_in_transaction(client, API_ADD_PARTITIONS, 0, transactional_id, producer);
    put_count(client, count);
    for (size_t i = 0; i < count; i++) put_partition(client, places[i].topic, places[i].partition);
    call(client);
    return finish(client, get_codes(client));
}

int raw_client_add_offsets(struct raw_client *client, const char *transactional_id, struct model_producer producer,
                           const char *group)
{
    begin_in_transaction(client, API_ADD_OFFSETS, 0, transactional_id, producer);
    put_text(client, group);
    return call_for_code(client);
}

int raw_client_end_txn(struct raw_client *client, const char *transactional_id, struct model_producer producer,
                       bool commit)
{
    begin_in_transaction(client, API_END_TXN, 1, transactional_id, producer);
    put_i8(&client->out, commit);
    return call_for_code(client);
}

int raw_client_describe_transaction(struct raw_client *client, const char *transactional_id,
                                    struct raw_transaction *transaction)
{
    begin(client, API_DESCRIBE_TRANSACTIONS, 0, true);
    put_count(client, 1);
    put_text(client, transactional_id);
    put_end(client);
    call(client);
    require(get_count(client) == 1, "one transaction described");
    const int code = get_i16(&client->answer);
    (void)get_text(client);
    copy_text(get_text(client), transaction->state, sizeof transaction->state);
    (void)get_i32(&client->answer);
    (void)get_i64(&client->answer);
    transaction->producer.id = get_i64(&client->answer);
    transaction->producer.epoch = (int16_t)get_i16(&client->answer);
    return finish(client, code);
}

/* ---- Records: batches of format 2 -------------------------------------------------------------------------------- */

static uint32_t crc_32c(const char *data, size_t size)
{
    uint32_t crc = UINT32_MAX;
    for (size_t i = 0; i < size; i++) {
        crc ^= (unsigned char)data[i];
        for (int bit = 0; bit < 8; bit++) crc = crc >> 1 ^ (crc & 1 ? UINT32_C(0x82f63b78) : 0);
    }
    return ~crc;
}

static void put_field(struct buffer *out, struct weir_bytes bytes)
{
    if (!weir_is_set(bytes) || weir_is_null(bytes)) {
        put_zigzag(out, -1);
        return;
    }
    put_zigzag(out, (int64_t)bytes.size);
    buffer_put(out, bytes.data, bytes.size);
}

static void put_record(struct buffer *out, const struct model_record *record, int64_t time_ms, size_t index)
{
    struct buffer body;
    buffer_init(&body);
    put_i8(&body, 0);
    put_zigzag(&body, record->time_ms - time_ms);
    put_zigzag(&body, (int64_t)index);
    put_field(&body, record->key);
    put_field(&body, record->value);
    put_zigzag(&body, 0);
    require(!body.failed, "no memory");
    put_zigzag(out, (int64_t)body.size);
    buffer_put(out, body.data, body.size);
    buffer_deinit(&body);
}

static void put_batch(struct buffer *out, bool transactional, struct model_producer producer, int32_t sequence,
                      const struct model_record *records, size_t count)
{
    int64_t newest_ms = records[0].time_ms;
    for (size_t i = 1; i < count; i++)
        if (records[i].time_ms > newest_ms) newest_ms = records[i].time_ms;
    const size_t start = out->size;
    put_i64(out, 0);  /* base offset */
    put_i32(out, 0);  /* size of what follows: patched */
    put_i32(out, -1); /* leader epoch */
    put_i8(out, 2);
    put_i32(out, 0);  /* CRC of what follows: patched */
    put_i16(out, transactional ? BATCH_TRANSACTIONAL : 0);
    put_i32(out, (int64_t)count - 1);
    put_i64(out, records[0].time_ms);
    put_i64(out, newest_ms);
    put_i64(out, producer.id);
    put_i16(out, producer.epoch);
    put_i32(out, sequence);
    put_i32(out, (int64_t)count);
    for (size_t i = 0; i < count; i++) put_record(out, &records[i], records[0].time_ms, i);
    require(!out->failed, "no memory");
    patch_size(out, start + 8, (uint32_t)(out->size - start - 12));
    patch_size(out, start + 17, crc_32c(out->data + start + 21, out->size - start - 21));
}

/* Version 10 as librdkafka: from 11 on the broker answers a code for what was not added that older clients do not
 * know. */
int raw_client_produce(struct raw_client *client, const char *transactional_id, struct model_producer producer,
                       int32_t sequence, const struct model_place *place, const struct model_record *records,
                       size_t count, int64_t *base_offset)
{
    struct buffer batch;
    buffer_init(&batch);
    put_batch(&batch, transactional_id != NULL, producer, sequence, records, count);
    begin(client, API_PRODUCE, 10, true);
    put_text(client, transactional_id);
    put_i16(&client->out, -1);
    put_i32(&client->out, PATIENCE_MS);
    put_place(client, place);
    buffer_varint(&client->out, batch.size + 1);
    buffer_put(&client->out, batch.data, batch.size);
    put_end(client);
    put_end(client);
    put_end(client);
    buffer_deinit(&batch);
    exchange(client);
    get_place(client);
    const int code = get_i16(&client->answer);
    *base_offset = get_i64(&client->answer);
    return finish(client, code);
}

struct aborted {
    int64_t producer_id;
    int64_t first_offset;
};

struct aborted_list {
    struct aborted *items;
    size_t count, capacity;
};

struct batch {
    int64_t base_offset, time_ms, producer_id;
    int16_t producer_epoch;
    int attributes;
    int32_t last_offset_delta, record_count;
    struct reader records;
};

/* False at the end; the last batch of an answer may be cut off. */
static bool get_batch(struct reader *in, struct batch *batch)
{
    if (reader_left(in) < BATCH_HEAD_BYTES) return false;
    batch->base_offset = get_i64(in);
    const int32_t size = get_i32(in);
    const char *body = size < BATCH_HEAD_BYTES - 12 ? NULL : reader_skip(in, (size_t)size);
    if (body == NULL) return false;
    struct reader head;
    reader_init(&head, body, (size_t)size);
    (void)get_i32(&head);
    require(get_i8(&head) == 2, "batch of another format");
    (void)get_i32(&head);
    batch->attributes = get_i16(&head);
    batch->last_offset_delta = get_i32(&head);
    batch->time_ms = get_i64(&head);
    (void)get_i64(&head);
    batch->producer_id = get_i64(&head);
    batch->producer_epoch = (int16_t)get_i16(&head);
    (void)get_i32(&head);
    batch->record_count = get_i32(&head);
    batch->records = head;
    return true;
}

static struct weir_bytes get_field(struct reader *in)
{
    const int64_t size = get_zigzag(in);
    if (size < 0) return WEIR_NULL;
    const char *data = reader_skip(in, (size_t)size);
    return data != NULL ? (struct weir_bytes){ data, (size_t)size } : WEIR_NULL;
}

static void visit_batch(const struct batch *batch, int64_t from,
                        void (*visit)(void *user, const struct model_record *record), void *user)
{
    struct reader in = batch->records;
    for (int32_t i = 0; i < batch->record_count; i++) {
        const int64_t size = get_zigzag(&in);
        const char *body = reader_skip(&in, (size_t)size);
        require(body != NULL, "record in a batch");
        struct reader fields;
        reader_init(&fields, body, (size_t)size);
        (void)get_i8(&fields);
        struct model_record record = {
            .producer = { batch->producer_id, batch->producer_epoch },
            .transactional = (batch->attributes & BATCH_TRANSACTIONAL) != 0,
        };
        record.time_ms = batch->time_ms + get_zigzag(&fields);
        record.offset = batch->base_offset + get_zigzag(&fields);
        record.key = get_field(&fields);
        record.value = get_field(&fields);
        require(!fields.failed, "fields of a record");
        if (record.offset >= from) visit(user, &record);
    }
}

/* The first marker of a producer behind the start of one of its aborted transactions ends it. */
static void end_aborted(struct aborted_list *aborted, const struct batch *batch)
{
    for (size_t i = 0; i < aborted->count; i++) {
        if (aborted->items[i].producer_id != batch->producer_id ||
            aborted->items[i].first_offset > batch->base_offset)
            continue;
        aborted->items[i] = aborted->items[--aborted->count];
        return;
    }
}

static bool is_aborted(const struct aborted_list *aborted, const struct batch *batch)
{
    if ((batch->attributes & BATCH_TRANSACTIONAL) == 0) return false;
    for (size_t i = 0; i < aborted->count; i++)
        if (aborted->items[i].producer_id == batch->producer_id &&
            aborted->items[i].first_offset <= batch->base_offset)
            return true;
    return false;
}

static void get_aborted(struct raw_client *client, struct aborted_list *aborted)
{
    for (size_t left = get_count(client); left > 0; left--) {
        struct aborted *one = vec_push(aborted);
        require(one != NULL, "no memory");
        one->producer_id = get_i64(&client->answer);
        one->first_offset = get_i64(&client->answer);
    }
}

/* Returns the offset behind the last batch. */
static int64_t visit_batches(struct reader *in, int64_t from, struct aborted_list *aborted,
                             void (*visit)(void *user, const struct model_record *record), void *user)
{
    int64_t next = from;
    for (struct batch batch; get_batch(in, &batch);) {
        if ((batch.attributes & BATCH_CONTROL) != 0) end_aborted(aborted, &batch);
        else if (!is_aborted(aborted, &batch)) visit_batch(&batch, from, visit, user);
        next = batch.base_offset + batch.last_offset_delta + 1;
    }
    return next;
}

/* Goes on at `*offset`, and sets that to where the next one goes on. */
static int fetch_once(struct raw_client *client, const struct model_place *place, int64_t *offset, bool committed,
                      void (*visit)(void *user, const struct model_record *record), void *user)
{
    begin(client, API_FETCH, 4, false);
    put_i32(&client->out, -1);
    put_i32(&client->out, 0); /* do not wait for anything */
    put_i32(&client->out, 0);
    put_i32(&client->out, FETCH_BYTES_MAX);
    put_i8(&client->out, committed);
    put_place(client, place);
    put_i64(&client->out, *offset);
    put_i32(&client->out, FETCH_BYTES_MAX);
    call(client);
    get_place(client);
    const int code = get_i16(&client->answer);
    (void)get_i64(&client->answer);
    (void)get_i64(&client->answer);
    struct aborted_list aborted = { 0 };
    get_aborted(client, &aborted);
    const int32_t size = get_i32(&client->answer);
    const char *data = size > 0 ? reader_skip(&client->answer, (size_t)size) : NULL;
    (void)finish(client, code);
    if (data != NULL && code == 0) {
        struct reader in;
        reader_init(&in, data, (size_t)size);
        *offset = visit_batches(&in, *offset, &aborted, visit, user);
    }
    vec_free(&aborted);
    return code;
}

/* An answer ends with a segment at the latest. */
int raw_client_fetch(struct raw_client *client, const struct model_place *place, int64_t offset, bool committed,
                     void (*visit)(void *user, const struct model_record *record), void *user)
{
    for (;;) {
        const int64_t before = offset;
        const int code = fetch_once(client, place, &offset, committed, visit, user);
        if (code != 0 || offset == before) return code;
    }
}

int raw_client_list_offset(struct raw_client *client, const struct model_place *place, int64_t spec, bool committed,
                           int64_t *offset)
{
    begin(client, API_LIST_OFFSETS, 2, false);
    put_i32(&client->out, -1);
    put_i8(&client->out, committed);
    put_place(client, place);
    put_i64(&client->out, spec);
    call(client);
    get_place(client);
    const int code = get_i16(&client->answer);
    (void)get_i64(&client->answer);
    *offset = get_i64(&client->answer);
    return finish(client, code);
}

/* ---- Positions of groups ----------------------------------------------------------------------------------------- */

/* The rest of a commit by somebody who is no member of the group. */
static int commit_positions(struct raw_client *client, const struct model_offset *offsets, size_t count)
{
    put_i32(&client->out, -1); /* generation */
    put_text(client, "");
    put_text(client, NULL);
    put_count(client, count);
    for (size_t i = 0; i < count; i++) {
        put_partition(client, offsets[i].topic, offsets[i].partition);
        put_i64(&client->out, offsets[i].offset);
        put_i32(&client->out, -1);
        put_text(client, offsets[i].metadata);
        put_end(client);
        put_end(client);
    }
    put_end(client);
    call(client);
    return finish(client, get_codes(client));
}

int raw_client_txn_offset_commit(struct raw_client *client, const char *transactional_id,
                                 struct model_producer producer, const char *group, const struct model_offset *offsets,
                                 size_t count)
{
    begin(client, API_TXN_OFFSET_COMMIT, 3, true);
    put_text(client, transactional_id);
    put_text(client, group);
    put_producer(client, producer);
    return commit_positions(client, offsets, count);
}

int raw_client_offset_commit(struct raw_client *client, const char *group, const struct model_offset *offsets,
                             size_t count)
{
    begin(client, API_OFFSET_COMMIT, 7, false);
    put_text(client, group);
    return commit_positions(client, offsets, count);
}

int raw_client_offset_fetch(struct raw_client *client, const char *group, const struct model_place *place, bool stable,
                            int64_t *offset, char *metadata, size_t size)
{
    begin(client, API_OFFSET_FETCH, 7, true);
    put_text(client, group);
    put_place(client, place);
    put_end(client);
    put_i8(&client->out, stable);
    put_end(client);
    call(client);
    get_place(client);
    *offset = get_i64(&client->answer);
    (void)get_i32(&client->answer);
    copy_text(get_text(client), metadata, size);
    const int code = get_i16(&client->answer);
    get_end(client);
    get_end(client);
    const int whole = get_i16(&client->answer);
    return finish(client, whole != 0 ? whole : code);
}
