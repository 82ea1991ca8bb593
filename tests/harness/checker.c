#include "checker.h"

#include <check.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/crash.h"
#include "checkpoint/links.h"
#include "checkpoint/manifest.h"
#include "checkpoint/store_private.h"
#include "harness/broker.h"
#include "harness/reader.h"
#include "harness/sequence.h"
#include "weir/kafka.h"

enum { PARTITIONS_MAX = 8 };

/* An input record, where it lies. */
struct input_record {
    int64_t offset;
    uint32_t key;
};

struct input_partition {
    struct input_record *items;
    size_t count, capacity;
    size_t folded; /* records that belong to committed offsets already */
    int64_t position;
};

struct key {
    int64_t expected;  /* input: the newest number */
    int64_t applied;   /* input up to the committed offsets */
    int64_t seen;      /* output: the newest number */
    int64_t counted;   /* counts: the newest value */
    uint64_t hash;     /* of the numbers seen */
    int32_t partition; /* of the output; -1 = none yet */
};

struct checker {
    struct checker_options options;
    char ledger[128];
    rd_kafka_t *reader;  /* of committed records */
    rd_kafka_t *all;     /* of all records */
    rd_kafka_t *group;   /* of the group's offsets; does not wait for open commits */
    bool has_ledger;
    struct input_partition inputs[PARTITIONS_MAX];
    int64_t output_positions[PARTITIONS_MAX], counts_positions[PARTITIONS_MAX], ledger_position;
    int64_t output_records[PARTITIONS_MAX], counts_records[PARTITIONS_MAX];
    int64_t group_offsets[PARTITIONS_MAX];
    struct weir_ledger_entry newest; /* commit */
    bool has_newest;
    struct key keys[SEQUENCE_KEYS_MAX];
    struct checker_numbers numbers;
};

/* ---- Reading -------------------------------------------------------------------------------------------------------- */

/* A number in decimal text, and what follows it. */
static int64_t take_number(const char **rest)
{
    char *end;
    const int64_t number = strtoll(*rest, &end, 10);
    ck_assert_msg(end != *rest, "'%s' does not begin with a number", *rest);
    *rest = end;
    return number;
}

static struct key *key_of(struct checker *checker, const rd_kafka_message_t *message)
{
    char text[24];
    ck_assert_msg(message->key != NULL && message->key_len < sizeof text, "a record without a key of ours at %s/%d %" PRId64,
                  rd_kafka_topic_name(message->rkt), message->partition, message->offset);
    memcpy(text, message->key, message->key_len);
    text[message->key_len] = '\0';
    const char *rest = text;
    const int64_t index = take_number(&rest);
    ck_assert(*rest == '\0' && index >= 0 && index < SEQUENCE_KEYS_MAX);
    return &checker->keys[index];
}

static void value_of(const rd_kafka_message_t *message, char text[96])
{
    ck_assert(message->payload != NULL && message->len < 96);
    memcpy(text, message->payload, message->len);
    text[message->len] = '\0';
}

static void take_input(struct checker *checker, const rd_kafka_message_t *message)
{
    char text[96];
    value_of(message, text);
    const char *rest = text;
    struct key *key = key_of(checker, message);
    ck_assert_msg(take_number(&rest) == ++key->expected, "the test's own input is wrong");
    struct input_partition *partition = &checker->inputs[message->partition];
    if (partition->count == partition->capacity) {
        partition->capacity = partition->capacity == 0 ? 4096 : partition->capacity * 2;
        partition->items = realloc(partition->items, partition->capacity * sizeof *partition->items);
        ck_assert_ptr_nonnull(partition->items);
    }
    partition->items[partition->count++] =
        (struct input_record){ .offset = message->offset, .key = (uint32_t)(key - checker->keys) };
    checker->numbers.input++;
}

/* I1, I2, I4 in one: the numbers of a key are 1, 2, 3, ... The state came along: count and hash are those of its history. */
static void take_output(struct checker *checker, const rd_kafka_message_t *message)
{
    char text[96], expected[96];
    value_of(message, text);
    const char *rest = text;
    struct key *key = key_of(checker, message);
    const long index = (long)(key - checker->keys);
    const int64_t number = take_number(&rest);
    ck_assert_msg(number == key->seen + 1, "key %ld: %" PRId64 " follows %" PRId64 " at %s/%d %" PRId64 ": %s", index, number,
                  key->seen, checker->options.output, message->partition, message->offset,
                  number <= key->seen ? "a duplicate" : "a loss");
    key->seen = number;
    key->hash = sequence_hash(key->hash, number);
    (void)snprintf(expected, sizeof expected, "%" PRId64 " %" PRId64 " %016" PRIx64, number, number, key->hash);
    ck_assert_msg(strcmp(text, expected) == 0, "key %ld: state says '%s', but its history '%s' (%s/%d %" PRId64 ")", index,
                  text, expected, checker->options.output, message->partition, message->offset);
    ck_assert_msg(key->partition < 0 || key->partition == message->partition, "key %ld changes its partition", index);
    key->partition = message->partition;
    checker->output_records[message->partition]++;
    checker->numbers.output++;
}

static void take_count(struct checker *checker, const rd_kafka_message_t *message)
{
    char text[96];
    value_of(message, text);
    const char *rest = text;
    struct key *key = key_of(checker, message);
    const int64_t count = take_number(&rest);
    ck_assert_msg(count > key->counted, "key %ld: count %" PRId64 " follows %" PRId64 " at %s/%d %" PRId64,
                  (long)(key - checker->keys), count, key->counted, checker->options.counts, message->partition,
                  message->offset);
    key->counted = count;
    checker->counts_records[message->partition]++;
    checker->numbers.counts++;
}

/* I7: (incarnation, epoch) rises, along the chain of parents. A frame that had to be written again in another file is named by
 * a second record of its epoch. */
static void check_follows(const struct checker *checker, const struct weir_ledger_entry *entry)
{
    const struct weir_ledger_entry *before = &checker->newest;
    if (!checker->has_newest) return;
    const bool is_again = entry->incarnation == before->incarnation && entry->epoch == before->epoch;
    const struct weir_frame_name *parent = is_again ? &before->parent : &before->frame;
    ck_assert_msg(entry->incarnation >= before->incarnation && entry->epoch >= before->epoch,
                  "ledger: %" PRIu64 ".%" PRIu64 " follows %" PRIu64 ".%" PRIu64, entry->incarnation, entry->epoch,
                  before->incarnation, before->epoch);
    ck_assert_msg(entry->parent.epoch == parent->epoch && entry->parent.incarnation == parent->incarnation,
                  "ledger: %" PRIu64 ".%" PRIu64 " is no child of %" PRIu64 ".%" PRIu64, entry->incarnation, entry->epoch,
                  parent->incarnation, parent->epoch);
}

static void take_entry(struct checker *checker, const rd_kafka_message_t *message)
{
    struct weir_error error;
    struct weir_ledger_entry entry;
    const enum weir_code code =
        weir_ledger_decode((struct weir_bytes){ message->payload, message->len }, &entry, &error);
    ck_assert_msg(code == WEIR_OK, "ledger, offset %" PRId64 ": %s", message->offset, error.text);
    if (entry.kind != WEIR_LEDGER_COMMIT) {
        weir_ledger_entry_clear(&entry);
        return;
    }
    check_follows(checker, &entry);
    checker->numbers.commits += !checker->has_newest || entry.epoch != checker->newest.epoch;
    if (checker->has_newest) weir_ledger_entry_clear(&checker->newest);
    checker->newest = entry;
    checker->has_newest = true;
}

static void take(void *user, const rd_kafka_message_t *message)
{
    struct checker *checker = user;
    const char *topic = rd_kafka_topic_name(message->rkt);
    if (strcmp(topic, checker->options.input) == 0) take_input(checker, message);
    else if (strcmp(topic, checker->options.output) == 0) take_output(checker, message);
    else if (strcmp(topic, checker->options.counts) == 0) take_count(checker, message);
    else take_entry(checker, message);
}

static int64_t *position_of(struct checker *checker, const char *topic, int partition)
{
    if (strcmp(topic, checker->options.input) == 0) return &checker->inputs[partition].position;
    if (strcmp(topic, checker->options.output) == 0) return &checker->output_positions[partition];
    if (strcmp(topic, checker->options.counts) == 0) return &checker->counts_positions[partition];
    return &checker->ledger_position;
}

static void add_partitions(struct checker *checker, rd_kafka_topic_partition_list_t *list, const char *topic, int count)
{
    for (int i = 0; i < count; i++)
        rd_kafka_topic_partition_list_add(list, topic, i)->offset = *position_of(checker, topic, i);
}

static void read_on(struct checker *checker)
{
    const struct checker_options *options = &checker->options;
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(3 * PARTITIONS_MAX + 1);
    add_partitions(checker, list, options->input, options->partitions);
    add_partitions(checker, list, options->output, options->partitions);
    add_partitions(checker, list, options->counts, options->partitions);
    if (!checker->has_ledger) checker->has_ledger = broker_has_topic(checker->ledger);
    if (checker->has_ledger) add_partitions(checker, list, checker->ledger, 1);
    reader_to_end(checker->reader, list, take, checker);
    for (int i = 0; i < list->cnt; i++)
        *position_of(checker, list->elems[i].topic, list->elems[i].partition) = list->elems[i].offset;
    rd_kafka_topic_partition_list_destroy(list);
}

/* ---- What is open --------------------------------------------------------------------------------------------------- */

static void count_one(void *user, const rd_kafka_message_t *message)
{
    (void)message;
    ++*(int64_t *)user;
}

int64_t checker_open_records(struct checker *checker)
{
    const struct checker_options *options = &checker->options;
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(2 * PARTITIONS_MAX);
    for (int i = 0; i < options->partitions; i++) {
        rd_kafka_topic_partition_list_add(list, options->output, i)->offset = reader_end(checker->reader, options->output, i);
        rd_kafka_topic_partition_list_add(list, options->counts, i)->offset = reader_end(checker->reader, options->counts, i);
    }
    int64_t count = 0;
    reader_to_end(checker->all, list, count_one, &count);
    rd_kafka_topic_partition_list_destroy(list);
    return count;
}

/* ---- Offsets -------------------------------------------------------------------------------------------------------- */

/* I7 */
static void look_at_offsets(struct checker *checker)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(PARTITIONS_MAX);
    for (int i = 0; i < checker->options.partitions; i++)
        rd_kafka_topic_partition_list_add(list, checker->options.input, i);
    const rd_kafka_resp_err_t code = rd_kafka_committed(checker->group, list, PATIENCE_MS);
    ck_assert_msg(code == RD_KAFKA_RESP_ERR_NO_ERROR, "committed offsets: %s", rd_kafka_err2str(code));
    for (int i = 0; i < list->cnt; i++) {
        const int64_t offset = list->elems[i].offset < 0 ? 0 : list->elems[i].offset;
        ck_assert_msg(offset >= checker->group_offsets[i], "%s/%d: committed offset %" PRId64 " follows %" PRId64,
                      checker->options.input, i, offset, checker->group_offsets[i]);
        checker->group_offsets[i] = offset;
    }
    rd_kafka_topic_partition_list_destroy(list);
}

static void fold(struct checker *checker)
{
    for (int i = 0; i < checker->options.partitions; i++) {
        struct input_partition *partition = &checker->inputs[i];
        while (partition->folded < partition->count &&
               partition->items[partition->folded].offset < checker->group_offsets[i])
            checker->keys[partition->items[partition->folded++].key].applied++;
    }
}

bool checker_is_caught_up(struct checker *checker)
{
    look_at_offsets(checker);
    for (int i = 0; i < checker->options.partitions; i++)
        if (checker->group_offsets[i] < reader_end(checker->reader, checker->options.input, i)) return false;
    return true;
}

/* ---- Comparing ------------------------------------------------------------------------------------------------------ */

void checker_follow(struct checker *checker)
{
    look_at_offsets(checker);
    read_on(checker);
}

/* I8: every transaction of the outputs is decided, and readers see it. */
static void check_nothing_is_open(struct checker *checker)
{
    const int64_t deadline = process_now_ms() + PATIENCE_MS;
    while (checker_open_records(checker) > 0) {
        ck_assert_msg(process_now_ms() < deadline, "a transaction stays open");
        usleep(20000);
    }
}

/* Takes the job's ids over, so that what it left open is aborted and what it decided is visible. */
static void end_transactions(struct checker *checker)
{
    for (int i = 0; i < checker->options.ring_size; i++) {
        char id[128];
        (void)snprintf(id, sizeof id, "%s-0-%d", checker->options.job, i);
        rd_kafka_destroy(broker_producer(id, NULL));
    }
}

/* I5, I6: what is visible is what the input up to the committed offsets makes. */
static void compare_keys(const struct checker *checker)
{
    for (long i = 0; i < SEQUENCE_KEYS_MAX; i++) {
        const struct key *key = &checker->keys[i];
        ck_assert_msg(key->seen == key->applied, "key %ld: output has %" PRId64 ", committed offsets make it %" PRId64, i,
                      key->seen, key->applied);
        ck_assert_msg(key->counted == key->applied, "key %ld: counted %" PRId64 ", committed offsets make it %" PRId64, i,
                      key->counted, key->applied);
    }
}

/* I5: the ledger's last commit names the same offsets and as many records. */
static void compare_ledger(const struct checker *checker)
{
    const struct weir_ledger_entry *entry = &checker->newest;
    if (!checker->has_newest) return;
    for (size_t i = 0; i < entry->range_count; i++) {
        const char *slash = strrchr(entry->ranges[i].split, '/');
        ck_assert_ptr_nonnull(slash);
        const int partition = atoi(slash + 1);
        ck_assert_msg(entry->ranges[i].end == checker->group_offsets[partition],
                      "%s: the ledger ends at %" PRId64 ", the group's offset is %" PRId64, entry->ranges[i].split,
                      entry->ranges[i].end, checker->group_offsets[partition]);
    }
    for (size_t i = 0; i < entry->total_count; i++) {
        const struct weir_output_total *total = &entry->totals[i];
        const char *slash = strrchr(total->name, '/');
        ck_assert_ptr_nonnull(slash);
        const bool is_output = strncmp(total->name, checker->options.output, (size_t)(slash - total->name)) == 0;
        const int64_t visible = (is_output ? checker->output_records : checker->counts_records)[atoi(slash + 1)];
        ck_assert_msg((int64_t)total->count == visible, "%s: the ledger has %" PRIu64 " records, readers see %" PRId64,
                      total->name, total->count, visible);
    }
}

void checker_settle(struct checker *checker)
{
    end_transactions(checker);
    check_nothing_is_open(checker);
    checker_follow(checker);
    fold(checker);
    compare_keys(checker);
    compare_ledger(checker);
    checker->numbers.settled++;
}

/* ---- The store ------------------------------------------------------------------------------------------------------ */

struct files {
    const struct checker *checker;
    struct store *store;
    const struct manifest *manifest;
    const struct store_chain *chain;
    uint64_t incarnation;
    uint64_t own_first; /* number of the first segment of that incarnation which the chain needs */
    int orphans, spares;
};

static void check_ok(enum weir_code code, const struct weir_error *error)
{
    ck_assert_msg(code == WEIR_OK, "%s", error->text);
}

static bool refers_to(const struct files *files, const struct manifest_base *base, const char *table)
{
    struct weir_error error = { .code = WEIR_OK };
    struct links links;
    bool found = false;
    if (!store_base_is_links(base)) return false;
    links_init(&links);
    check_ok(links_read(files->store, base, &links, &error), &error);
    for (size_t i = 0; i < links.files.count; i++) found = found || strcmp(links.files.items[i].file, table) == 0;
    links_deinit(&links);
    return found;
}

/* Needed are the bases that the last checkpoint names, what they refer to, and the segments of its chain; segments behind
 * them are made ready. */
static bool is_needed(const struct files *files, const char *name)
{
    struct store_file file;
    if (!store_file_parse(name, &file)) return true;
    for (size_t i = 0; i < files->chain->frames.count; i++)
        if (strcmp(files->chain->frames.items[i].file, name) == 0) return true;
    if (file.kind == STORE_FILE_LOG) return file.incarnation == files->incarnation && file.number >= files->own_first;
    for (size_t i = 0; i < files->manifest->operator_count; i++)
        for (size_t k = 0; k < files->manifest->operators[i].base_count; k++)
            if (strcmp(files->manifest->operators[i].bases[k].name, name) == 0 ||
                refers_to(files, &files->manifest->operators[i].bases[k], name))
                return true;
    return false;
}

/* A few retired segments wait to be used again. */
static bool is_spare(struct files *files, const char *name)
{
    struct store_file file;
    if (!store_file_parse(name, &file) || file.kind != STORE_FILE_LOG || file.incarnation != files->incarnation) return false;
    return ++files->spares <= STORE_SPARES_MAX;
}

static void visit_file(void *user, const char *name)
{
    struct files *files = user;
    if (is_needed(files, name) || is_spare(files, name)) return;
    files->orphans++;
    (void)printf("orphan: %s (the last checkpoint is %" PRIu64 " of incarnation %" PRIu64 ")\n", name,
                 files->checker->newest.epoch, files->incarnation);
}

void checker_disk(struct checker *checker)
{
    struct weir_error error = { .code = WEIR_OK };
    struct weir_environment environment;
    struct store *store;
    struct store_chain chain = { 0 };
    struct buffer frame;
    struct arena arena;
    struct manifest manifest;
    environment_init_system(&environment);
    buffer_init(&frame);
    arena_init(&arena, 16 * 1024);
    const struct store_options options = { .directory = checker->options.checkpoints, .job = checker->options.job,
                                           .slot = "0", .environment = &environment };
    const struct weir_frame_name *newest = &checker->newest.frame;
    ck_assert(checker->has_newest);
    check_ok(store_open(&options, &store, &error), &error);
    check_ok(store_read_frame(store, newest, &frame, &error), &error);
    check_ok(manifest_decode((struct weir_bytes){ frame.data, frame.size }, newest, &arena, &manifest, &error), &error);
    check_ok(store_chain(store, newest, manifest_redo_epoch(&manifest) + 1, &chain, &error), &error);
    struct files files = { .checker = checker, .store = store, .manifest = &manifest, .chain = &chain,
                           .incarnation = newest->incarnation };
    struct store_file first;
    for (size_t i = chain.frames.count; i-- > 0;)
        if (store_file_parse(chain.frames.items[i].file, &first) && first.incarnation == newest->incarnation)
            files.own_first = first.number;
    check_ok(store_list(store, visit_file, &files, &error), &error);
    ck_assert_msg(files.orphans == 0, "%d files in %s are of no use", files.orphans, store_path(store));
    store_chain_clear(&chain);
    arena_deinit(&arena);
    buffer_deinit(&frame);
    store_close(store);
}

/* ---- The ledger ----------------------------------------------------------------------------------------------------- */

static void print_line(void *user, const char *line)
{
    (void)user;
    (void)printf("  %s\n", line);
}

void checker_ledger(struct checker *checker)
{
    struct weir_error error = { .code = WEIR_OK };
    struct weir_kafka_ledger_report report = { 0 };
    const struct weir_kafka_ledger_options options = { .size = sizeof options, .job = checker->options.job,
                                                       .brokers = broker_address(), .print = print_line };
    const enum weir_code code = weir_kafka_ledger_verify(&options, &report, &error);
    ck_assert_msg(code == WEIR_OK, "ledger: %s", error.text);
    ck_assert_uint_eq(report.violations, 0);
    ck_assert_uint_gt(report.records_verified, 0);
    (void)printf("ledger: %" PRIu64 " commits, %" PRIu64 " records verified\n", report.commits, report.records_verified);
}

/* ---- Logs ----------------------------------------------------------------------------------------------------------- */

void checker_log(const struct process *process, const char *const *expected)
{
    char line[2048];
    FILE *file = fopen(process->log, "re");
    ck_assert_msg(file != NULL, "%s cannot be read", process->log);
    while (fgets(line, sizeof line, file) != NULL) {
        bool is_expected = strstr(line, "Z error: ") == NULL;
        for (const char *const *text = expected; *text != NULL && !is_expected; text++)
            is_expected = strstr(line, *text) != NULL;
        ck_assert_msg(is_expected, "%s: an error that nobody caused: %s", process->log, line);
    }
    (void)fclose(file);
    for (const char *const *text = expected; *text != NULL; text++)
        ck_assert_msg(process_log_has(process, *text), "%s does not say '%s'", process->log, *text);
}

static int count_lines(const char *path, const char *name)
{
    char line[128];
    int count = 0;
    FILE *file = fopen(path, "re");
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        count += strcmp(line, name) == 0;
    }
    if (file != NULL) (void)fclose(file);
    return count;
}

void checker_crash_points(const char *path)
{
    static const char *const names[] = {
#define CRASH_POINT_NAME(name) #name,
        CRASH_POINTS(CRASH_POINT_NAME)
#undef CRASH_POINT_NAME
    };
    int missing = 0;
    for (size_t i = 0; i < CRASH_POINT_COUNT; i++) {
        const int count = count_lines(path, names[i]);
        (void)printf("  %-24s %d\n", names[i], count);
        missing += count == 0;
    }
    ck_assert_msg(missing == 0, "%d crash points never fired", missing);
}

/* ---- Life ----------------------------------------------------------------------------------------------------------- */

struct checker *checker_create(const struct checker_options *options)
{
    struct checker *checker = calloc(1, sizeof *checker);
    ck_assert_ptr_nonnull(checker);
    ck_assert_int_le(options->partitions, PARTITIONS_MAX);
    checker->options = *options;
    if (checker->options.ring_size == 0) checker->options.ring_size = 2;
    (void)snprintf(checker->ledger, sizeof checker->ledger, "%s-ledger", options->job);
    for (size_t i = 0; i < SEQUENCE_KEYS_MAX; i++) checker->keys[i].partition = -1;
    checker->reader = reader_open("checker", "read_committed");
    checker->all = reader_open("checker", "read_uncommitted");
    checker->group = reader_open(options->job, "read_uncommitted");
    return checker;
}

void checker_destroy(struct checker *checker)
{
    for (int i = 0; i < PARTITIONS_MAX; i++) free(checker->inputs[i].items);
    if (checker->has_newest) weir_ledger_entry_clear(&checker->newest);
    rd_kafka_t *const handles[] = { checker->reader, checker->all, checker->group };
    for (size_t i = 0; i < sizeof handles / sizeof handles[0]; i++) rd_kafka_destroy(handles[i]);
    free(checker);
}

struct checker_numbers checker_numbers(const struct checker *checker) { return checker->numbers; }
