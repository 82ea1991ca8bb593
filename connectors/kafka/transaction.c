#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "transaction_private.h"

enum { WAITING_WRITERS_MS = 5 }; /* between two looks whether there is room again */

/* ---- Commands ---------------------------------------------------------------------------------------------------- */

void transaction_free_command(struct transaction_command *command)
{
    if (command == NULL) return;
    if (command->positions != NULL) rd_kafka_topic_partition_list_destroy(command->positions);
    free(command->key);
    free(command->value);
    free(command);
}

static void wake(struct transaction *transaction)
{
    static const uint64_t one = 1;
    while (write(transaction->wake, &one, sizeof one) < 0 && errno == EINTR)
        ;
}

static void submit(struct transaction *transaction, struct transaction_command *command)
{
    pthread_mutex_lock(&transaction->mutex);
    command->next = NULL;
    *transaction->last = command;
    transaction->last = &command->next;
    pthread_mutex_unlock(&transaction->mutex);
    wake(transaction);
}

static struct transaction_command *take(struct transaction *transaction)
{
    pthread_mutex_lock(&transaction->mutex);
    struct transaction_command *command = transaction->first;
    if (command != NULL) {
        transaction->first = command->next;
        if (transaction->first == NULL) transaction->last = &transaction->first;
    }
    pthread_mutex_unlock(&transaction->mutex);
    return command;
}

/* ---- The thread -------------------------------------------------------------------------------------------------- */

static void release(struct transaction *transaction)
{
    pthread_mutex_lock(&transaction->mutex);
    const bool is_last = --transaction->references == 0;
    pthread_mutex_unlock(&transaction->mutex);
    if (!is_last) return;
    close(transaction->wake);
    pthread_mutex_destroy(&transaction->mutex);
    free(transaction);
}

static void leave(struct transaction *transaction)
{
    for (struct transaction_command *command; (command = take(transaction)) != NULL;) transaction_free_command(command);
    transaction_free_command(transaction->ledger_record);
    if (transaction->positions != NULL) rd_kafka_topic_partition_list_destroy(transaction->positions);
    transaction_drop_handles(transaction);
    void (*gone)(void *) = transaction->options.gone;
    void *user = transaction->options.user;
    release(transaction);
    gone(user);
}

static void *run(void *argument)
{
    struct transaction *transaction = argument;
    while (!transaction_is_abandoned(transaction)) {
        struct transaction_command *command = take(transaction);
        if (command != NULL) {
            transaction_execute(transaction, command);
            continue;
        }
        transaction_serve(transaction);
        struct handle *handle = transaction->handle;
        transaction_nap(transaction, handle != NULL && handle_wake_waiters(handle, false) ? WAITING_WRITERS_MS : -1);
    }
    leave(transaction);
    return NULL;
}

/* ---- Owner ------------------------------------------------------------------------------------------------------- */

static bool start_thread(struct transaction *transaction)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    pthread_t thread;
    const bool started = pthread_create(&thread, &attributes, run, transaction) == 0;
    if (started) (void)pthread_setname_np(thread, "weir-txn");
    pthread_attr_destroy(&attributes);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return started;
}

enum weir_code transaction_start(const struct transaction_options *options, struct transaction **started,
                                 struct weir_error *error)
{
    struct transaction *transaction = calloc(1, sizeof *transaction);
    if (transaction == NULL)
        return weir_error_set(error, WEIR_NO_MEMORY, WEIR_REMEDY_STOP, "transaction '%s': out of memory", options->id);
    transaction->options = *options;
    (void)snprintf(transaction->id, sizeof transaction->id, "%s", options->id);
    transaction->options.id = transaction->id;
    transaction->references = 2;
    transaction->last = &transaction->first;
    pthread_mutex_init(&transaction->mutex, NULL);
    transaction->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (transaction->wake >= 0 && start_thread(transaction)) {
        *started = transaction;
        return WEIR_OK;
    }
    if (transaction->wake >= 0) close(transaction->wake);
    pthread_mutex_destroy(&transaction->mutex);
    free(transaction);
    return weir_error_set(error, WEIR_ENVIRONMENT, WEIR_REMEDY_STOP,
                          "transaction '%s': the system has no more threads or descriptors", options->id);
}

void transaction_abandon(struct transaction *transaction)
{
    atomic_store(&transaction->abandoned, true);
    pthread_mutex_lock(&transaction->mutex);
    if (transaction->handle != NULL) handle_abandon(transaction->handle);
    pthread_mutex_unlock(&transaction->mutex);
    wake(transaction);
    release(transaction);
}

static char *copy_bytes(struct weir_bytes bytes, size_t *size, bool *complete_copy)
{
    *size = bytes.size;
    if (!weir_is_set(bytes) || weir_is_null(bytes)) return NULL;
    char *copy = malloc(bytes.size + 1);
    if (copy == NULL) *complete_copy = false;
    else memcpy(copy, bytes.data, bytes.size);
    return copy;
}

/* Librdkafka itself ends the process when a list finds no memory; metadata is freed by the list. */
static rd_kafka_topic_partition_list_t *copy_positions(const struct weir_splits *positions, const char *metadata,
                                                       bool *complete_copy)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new((int)positions->count + 1);
    for (size_t i = 0; i < positions->count; i++) {
        char topic[KAFKA_TOPIC_SIZE];
        int32_t partition;
        const struct weir_split *split = &positions->items[i];
        if (split->position < 0 || !kafka_split_parse(split->name, topic, &partition)) continue;
        rd_kafka_topic_partition_t *row = rd_kafka_topic_partition_list_add(list, topic, partition);
        row->offset = split->position;
        row->metadata = strdup(metadata);
        row->metadata_size = strlen(metadata);
        if (row->metadata == NULL) *complete_copy = false;
    }
    return list;
}

static void fail_for_memory(struct transaction *transaction, uint64_t epoch)
{
    struct weir_decider_event event = { .type = WEIR_DECIDER_FAILED, .epoch = epoch };
    weir_error_set(&event.error, WEIR_NO_MEMORY, WEIR_REMEDY_STOP, "transaction '%s': out of memory", transaction->id);
    transaction_answer(transaction, &event);
}

static struct transaction_command *make_command(struct transaction *transaction,
                                                enum transaction_command_type type, uint32_t index,
                                                uint64_t epoch)
{
    struct transaction_command *command = calloc(1, sizeof *command);
    if (command == NULL) {
        fail_for_memory(transaction, epoch);
        return NULL;
    }
    command->type = type;
    command->index = index;
    command->epoch = epoch;
    return command;
}

static void submit_if_complete(struct transaction *transaction, struct transaction_command *command, bool complete_copy)
{
    if (complete_copy) {
        submit(transaction, command);
        return;
    }
    fail_for_memory(transaction, command->epoch);
    transaction_free_command(command);
}

bool transaction_take_over(struct transaction *transaction, uint32_t index, bool get_warm)
{
    struct transaction_command *command = calloc(1, sizeof *command);
    if (command == NULL) return false;
    *command = (struct transaction_command){ .type = TAKE_OVER, .index = index, .warm = get_warm };
    submit(transaction, command);
    return true;
}

void transaction_begin(struct transaction *transaction, uint32_t index, uint64_t epoch)
{
    struct transaction_command *command = make_command(transaction, BEGIN, index, epoch);
    if (command != NULL) submit(transaction, command);
}

static void submit_ledger_record(struct transaction *transaction, enum transaction_command_type type, uint32_t index,
                                 uint64_t epoch, struct weir_bytes key, struct weir_bytes value, bool anchors)
{
    struct transaction_command *command = make_command(transaction, type, index, epoch);
    if (command == NULL) return;
    bool complete_copy = true;
    command->anchors = anchors;
    command->key = copy_bytes(key, &command->key_size, &complete_copy);
    command->value = copy_bytes(value, &command->value_size, &complete_copy);
    submit_if_complete(transaction, command, complete_copy);
}

void transaction_flush(struct transaction *transaction, uint32_t index, uint64_t epoch, struct weir_bytes ledger_key,
                       struct weir_bytes ledger_value, bool anchors)
{
    submit_ledger_record(transaction, FLUSH, index, epoch, ledger_key, ledger_value, anchors);
}

void transaction_announce(struct transaction *transaction, struct weir_bytes key, struct weir_bytes value)
{
    submit_ledger_record(transaction, ANNOUNCE, transaction->options.index, 0, key, value, false);
}

void transaction_offsets(struct transaction *transaction, uint32_t index, uint64_t epoch,
                         const struct weir_splits *positions, const char *metadata)
{
    struct transaction_command *command = make_command(transaction, OFFSETS, index, epoch);
    if (command == NULL) return;
    bool complete_copy = true;
    command->positions = copy_positions(positions, metadata, &complete_copy);
    submit_if_complete(transaction, command, complete_copy);
}

void transaction_commit(struct transaction *transaction, uint32_t index, uint64_t epoch)
{
    struct transaction_command *command = make_command(transaction, COMMIT, index, epoch);
    if (command != NULL) submit(transaction, command);
}

struct handle *transaction_acquire(struct transaction *transaction, uint64_t epoch)
{
    struct handle *handle = NULL;
    pthread_mutex_lock(&transaction->mutex);
    const bool is_it = transaction->open && (transaction->epoch == epoch || !transaction_is_exactly_once(transaction));
    if (is_it) {
        handle = transaction->handle;
        handle_retain(handle);
    }
    pthread_mutex_unlock(&transaction->mutex);
    return handle;
}
