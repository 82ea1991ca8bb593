#include "verify.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "handle.h"
#include "ledger_topic.h"

enum { PATIENCE_MS = 10000, LAG_MS = 3000, LAG_PAUSE_MS = 50 };

/* ---- A reading --------------------------------------------------------------------------------------------------- */

struct reading {
    struct weir_kafka_ledger_options options;
    struct weir_environment environment;
    struct weir_connector_context context;
    struct topics_patience patience;
    weir_config *own_config;
    struct kafka_client *client; /* reads committed records */
    char ledger[KAFKA_TOPIC_SIZE];
    int32_t slot_count;
    struct ledger_chain *chains; /* one for each partition of the ledger */
    int64_t *ends;               /* read so far */
    struct ledger_witness witness;
    struct weir_kafka_ledger_report report;
};

static void print(struct reading *reading, const char *format, ...) WEIR_PRINTF(2, 3);
static void print(struct reading *reading, const char *format, ...)
{
    char line[2048];
    if (reading->options.print == NULL) return;
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    reading->options.print(reading->options.print_user, line);
}

static void on_violation(void *user, const char *text)
{
    struct reading *reading = user;
    reading->report.violations++;
    print(reading, "VIOLATION  %s", text);
}

static int64_t monotonic_us(void *user)
{
    (void)user;
    return handle_now_ms() * 1000;
}

static int64_t wall_ms(void *user)
{
    (void)user;
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static uint64_t no_randomness(void *user)
{
    (void)user;
    return 0;
}

static enum weir_code no_memory(struct weir_error *error)
{
    return weir_error_set(error, WEIR_NO_MEMORY, WEIR_REMEDY_STOP, "out of memory");
}

static enum weir_code find_ledger(struct reading *reading, struct weir_error *error)
{
    if (topics_partition_count(reading->client, reading->ledger, &reading->patience, &reading->slot_count, error) !=
        WEIR_OK)
        return error->code;
    if (reading->slot_count == 0)
        return weir_error_set(error, WEIR_ENVIRONMENT, WEIR_REMEDY_STOP,
                              "there is no ledger '%s' on this cluster; the job's name and --brokers decide which one",
                              reading->ledger);
    reading->chains = calloc((size_t)reading->slot_count, sizeof *reading->chains);
    reading->ends = calloc((size_t)reading->slot_count, sizeof *reading->ends);
    return reading->chains != NULL && reading->ends != NULL ? WEIR_OK : no_memory(error);
}

static enum weir_code open_reading(struct reading *reading, const struct weir_kafka_ledger_options *options,
                                   struct weir_error *error)
{
    *reading = (struct reading){ .own_config = NULL };
    memcpy(&reading->options, options,
           options->size < sizeof reading->options ? options->size : sizeof reading->options);
    reading->environment = (struct weir_environment){ .monotonic_us = monotonic_us, .wall_ms = wall_ms,
                                                      .random = no_randomness, .log = options->log,
                                                      .log_user = options->log_user };
    if (options->config == NULL && (reading->own_config = weir_config_create()) == NULL) return no_memory(error);
    reading->context = (struct weir_connector_context){
        .environment = &reading->environment,
        .config = options->config != NULL ? options->config : reading->own_config,
        .job = options->job,
        .parallelism = 1,
        .exactly_once = true,
    };
    reading->patience.timeout_ms = options->patience_ms > 0 ? options->patience_ms : PATIENCE_MS;
    reading->witness = (struct ledger_witness){ .violation = on_violation, .user = reading };
    ledger_topic_name(reading->ledger, options->job);
    char id[64];
    if (scan_open(&reading->context, options->brokers, "ledger", true, &reading->client, error) != WEIR_OK ||
        kafka_cluster_id(reading->client, reading->patience.timeout_ms, NULL, id, error) != WEIR_OK)
        return error->code;
    return find_ledger(reading, error);
}

static void close_reading(struct reading *reading)
{
    kafka_client_close(reading->client);
    const int32_t chain_count = reading->chains == NULL ? 0 : reading->slot_count;
    for (int32_t i = 0; i < chain_count; i++) ledger_chain_deinit(&reading->chains[i]);
    free(reading->chains);
    free(reading->ends);
    if (reading->own_config != NULL) weir_config_destroy(reading->own_config);
}

/* ---- Ledger records ---------------------------------------------------------------------------------------------- */

struct ledger_scan {
    struct reading *reading;
    struct ledger_chain *chain;
    int32_t slot;
    bool shows;
};

static void show_ranges(struct reading *reading, const struct weir_ledger_entry *entry)
{
    for (size_t i = 0; i < entry->range_count; i++)
        print(reading, "              in   %-40s %" PRId64 " to %" PRId64 " (%" PRId64 " records)",
              entry->ranges[i].split, entry->ranges[i].begin, entry->ranges[i].end,
              entry->ranges[i].end - entry->ranges[i].begin);
    for (size_t i = 0; i < entry->total_count; i++)
        print(reading, "              out  %-40s %" PRIu64 " records in all, digest %016" PRIx64 "%016" PRIx64,
              entry->totals[i].name, entry->totals[i].count, entry->totals[i].digest.high, entry->totals[i].digest.low);
    for (size_t i = 0; i < entry->anchor_count; i++)
        print(reading, "              end  %-40s %" PRId64 " after epoch %" PRIu64, entry->anchors[i].output,
              entry->anchors[i].end, entry->anchor_epoch);
}

static void show_entry(struct reading *reading, int32_t slot, int64_t offset, const struct weir_ledger_entry *entry)
{
    if (reading->options.entry != NULL) {
        reading->options.entry(reading->options.entry_user, slot, offset, entry);
        return;
    }
    char when[40];
    const time_t seconds = (time_t)(entry->wall_ms / 1000);
    struct tm time;
    gmtime_r(&seconds, &time);
    (void)strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%S", &time);
    if (entry->kind != WEIR_LEDGER_COMMIT) {
        print(reading, "%d/%-10" PRId64 " %s %" PRIu64 " at %" PRIu64 ".%" PRIu64 "  %s.%03dZ  %s", (int)slot,
              offset, entry->kind == WEIR_LEDGER_DROPPED ? "dropped by" : "start", entry->incarnation,
              entry->frame.incarnation, entry->frame.epoch, when,
              (int)(entry->wall_ms % 1000), entry->build);
        return;
    }
    print(reading,
          "%d/%-10" PRId64 " commit %" PRIu64 ".%" PRIu64 " after %" PRIu64 ".%" PRIu64
          "  %s.%03dZ  frame %s at %" PRIu64 ", %" PRIu64 " bytes%s",
          (int)slot, offset, entry->incarnation, entry->epoch, entry->parent.incarnation, entry->parent.epoch, when,
          (int)(entry->wall_ms % 1000), entry->frame.file, entry->frame.offset, entry->frame.length,
          entry->exactly_once ? "" : "  at least once");
    show_ranges(reading, entry);
}

static struct weir_bytes bytes_of(const void *data, size_t size)
{
    return data == NULL ? WEIR_NULL : (struct weir_bytes){ data, size };
}

static enum weir_code take_ledger_record(void *user, const rd_kafka_message_t *message, struct weir_error *error)
{
    struct ledger_scan *scan = user;
    struct weir_ledger_entry entry;
    if (weir_ledger_decode(bytes_of(message->payload, message->len), &entry, error) != WEIR_OK) {
        weir_ledger_entry_clear(&entry);
        char text[1200];
        (void)snprintf(text, sizeof text, "record at offset %" PRId64 " of '%s/%d' is none of a ledger: %.600s",
                       message->offset, scan->reading->ledger, (int)scan->slot, error->text);
        on_violation(scan->reading, text);
        return WEIR_OK;
    }
    if (scan->shows) show_entry(scan->reading, scan->slot, message->offset, &entry);
    const struct weir_bytes key = bytes_of(message->key, message->key_len);
    if (ledger_chain_add(scan->chain, &entry, key, message->offset)) return WEIR_OK;
    return no_memory(error);
}

/* What came since the last call, of every slot. */
static enum weir_code read_ledger(struct reading *reading, bool shows, struct weir_error *error)
{
    for (int32_t slot = 0; slot < reading->slot_count; slot++) {
        int64_t low, high;
        struct ledger_scan scan = { .reading = reading, .chain = &reading->chains[slot], .slot = slot, .shows = shows };
        if (scan_bounds(reading->client, reading->ledger, slot, &reading->patience, &low, &high, error) != WEIR_OK)
            return error->code;
        const struct scan_stretch stretch = {
            .client = reading->client,
            .topic = reading->ledger,
            .partition = slot,
            .begin = reading->ends[slot] > low ? reading->ends[slot] : low,
            .end = high,
            .each = take_ledger_record,
            .user = &scan,
        };
        if (scan_records(&stretch, &reading->patience, error) != WEIR_OK) return error->code;
        reading->ends[slot] = high;
    }
    return WEIR_OK;
}

enum weir_code weir_kafka_ledger_show(const struct weir_kafka_ledger_options *options, struct weir_error *error)
{
    struct reading reading;
    enum weir_code code = open_reading(&reading, options, error);
    if (code == WEIR_OK) code = read_ledger(&reading, true, error);
    close_reading(&reading);
    return code;
}

/* ---- Outputs ----------------------------------------------------------------------------------------------------- */

struct output_scan {
    struct output_check check;
    struct reading *reading;
};

static bool is_shared(const struct reading *reading, const char *topic)
{
    for (size_t i = 0; i < reading->options.shared_count; i++)
        if (strcmp(reading->options.shared[i], topic) == 0) return true;
    return false;
}

static enum weir_code check_message(struct output_check *check, const rd_kafka_message_t *message,
                                    struct weir_header *headers, size_t header_count)
{
    const struct weir_headers list = { header_count, headers };
    const struct weir_record record = {
        .key = bytes_of(message->key, message->key_len),
        .value = bytes_of(message->payload, message->len),
        .headers = header_count == 0 ? NULL : &list,
    };
    output_check_record(check, message->offset, &record);
    return WEIR_OK;
}

static enum weir_code take_output_record(void *user, const rd_kafka_message_t *message, struct weir_error *error)
{
    struct output_scan *scan = user;
    rd_kafka_headers_t *found;
    /* Reading needs no message that could be changed; librdkafka parses headers on demand, into the message. */
    if (rd_kafka_message_headers(message, &found) != RD_KAFKA_RESP_ERR_NO_ERROR)
        return check_message(&scan->check, message, NULL, 0);
    const size_t count = rd_kafka_header_cnt(found);
    struct weir_header *headers = malloc((count + 1) * sizeof *headers);
    if (headers == NULL) return no_memory(error);
    for (size_t i = 0; i < count; i++) {
        const void *data;
        size_t size;
        (void)rd_kafka_header_get_all(found, i, &headers[i].name, &data, &size);
        headers[i].value = bytes_of(data, size);
    }
    const enum weir_code code = check_message(&scan->check, message, headers, count);
    free(headers);
    return code;
}

static enum weir_code read_output(struct output_scan *scan, const char *topic, int32_t partition, int64_t begin,
                                  int64_t *end, struct weir_error *error)
{
    struct reading *reading = scan->reading;
    int64_t low;
    if (scan_bounds(reading->client, topic, partition, &reading->patience, &low, end, error) != WEIR_OK)
        return error->code;
    const struct scan_stretch stretch = { .client = reading->client, .topic = topic, .partition = partition,
                                          .begin = begin, .end = *end, .each = take_output_record, .user = scan };
    return scan_records(&stretch, &reading->patience, error);
}

/* Right after a commit its records may not be visible yet, and while the job runs new ones arrive: what was read must
 * come to what a commit left behind that is not older than `first`. */
static enum weir_code read_until_it_fits(struct output_scan *scan, const char *topic, int32_t partition, int64_t *end,
                                         size_t first, struct weir_error *error)
{
    const int64_t deadline_ms = handle_now_ms() + LAG_MS;
    int64_t begin = scan->check.low;
    for (;;) {
        if (read_output(scan, topic, partition, begin, end, error) != WEIR_OK) return error->code;
        if (*end > begin) begin = *end;
        if (read_ledger(scan->reading, false, error) != WEIR_OK) return error->code;
        if (output_check_fits(&scan->check, first) || handle_now_ms() > deadline_ms) return WEIR_OK;
        topics_pause(LAG_PAUSE_MS);
    }
}

static void print_output(struct reading *reading, const struct output_check *check, int64_t end)
{
    if (check->violations > 0)
        print(reading, "WRONG      %s: %" PRIu64 " violations", check->name, check->violations);
    else if (check->verified_from < 0)
        print(reading, "UNKNOWN    %s: not verifiable before offset %" PRId64 ", which is its end", check->name, end);
    else if (check->records_unverifiable > 0 || check->low > 0)
        print(reading, "verified   %s: %" PRIu64 " records from offset %" PRId64 " to %" PRId64
              "; not verifiable before offset %" PRId64 " (%s)",
              check->name, check->records_verified, check->verified_from, check->verified_to, check->verified_from,
              check->is_compacted ? "compacted" : "older records are gone");
    else
        print(reading, "verified   %s: %" PRIu64 " records, all of them", check->name, check->records_verified);
}

static enum weir_code verify_partition(struct reading *reading, struct ledger_chain *chain, const char *topic,
                                       int32_t partition, bool is_compacted, struct weir_error *error)
{
    struct output_scan scan = { .reading = reading };
    char name[KAFKA_SPLIT_SIZE];
    int64_t low, end;
    const size_t first = chain->count - 1;
    kafka_split_name(name, topic, partition);
    if (scan_bounds(reading->client, topic, partition, &reading->patience, &low, &end, error) != WEIR_OK)
        return error->code;
    if (!output_check_init(&scan.check, chain, &reading->witness, name, low, is_compacted)) {
        output_check_deinit(&scan.check);
        return no_memory(error);
    }
    const enum weir_code code = read_until_it_fits(&scan, topic, partition, &end, first, error);
    if (code == WEIR_OK) {
        output_check_end(&scan.check, end, first);
        print_output(reading, &scan.check, end);
        reading->report.outputs++;
        reading->report.outputs_verified += scan.check.violations == 0 && scan.check.verified_from >= 0;
        reading->report.records_verified += scan.check.records_verified;
        reading->report.records_unverifiable += scan.check.records_unverifiable;
    }
    output_check_deinit(&scan.check);
    return code;
}

static enum weir_code verify_topic(struct reading *reading, struct ledger_chain *chain, const char *topic,
                                   struct weir_error *error)
{
    int32_t count;
    char policy[64];
    if (topics_partition_count(reading->client, topic, &reading->patience, &count, error) != WEIR_OK)
        return error->code;
    if (is_shared(reading, topic)) {
        print(reading, "SHARED     %s: others write to it, so its records are not verified", topic);
        return WEIR_OK;
    }
    if (count == 0) {
        char text[300];
        (void)snprintf(text, sizeof text, "output topic '%s' does not exist any more", topic);
        on_violation(reading, text);
        return WEIR_OK;
    }
    if (topics_setting(reading->client, topic, "cleanup.policy", &reading->patience, policy, error) != WEIR_OK)
        return error->code;
    const bool is_compacted = strstr(policy, "compact") != NULL;
    for (int32_t p = 0; p < count; p++)
        if (verify_partition(reading, chain, topic, p, is_compacted, error) != WEIR_OK) return error->code;
    return WEIR_OK;
}

/* Every partition of every topic that was ever written to, also those that the ledger does not name: they must be
 * empty. One that the job was still to write to may hold whatever it held before. */
static enum weir_code verify_outputs(struct reading *reading, struct ledger_chain *chain, struct weir_error *error)
{
    char before[KAFKA_TOPIC_SIZE] = "";
    char (*names)[264] = NULL;
    const struct weir_ledger_entry *newest = &chain->commits[chain->count - 1].entry;
    size_t count = 0;
    names = malloc((newest->total_count + 1) * sizeof *names); /* the entry moves when the ledger is read on */
    if (names == NULL) return no_memory(error);
    for (size_t i = 0; i < newest->total_count; i++)
        if (newest->totals[i].count > 0) memcpy(names[count++], newest->totals[i].name, sizeof names[0]);
    enum weir_code code = WEIR_OK;
    for (size_t i = 0; code == WEIR_OK && i < count; i++) {
        char topic[KAFKA_TOPIC_SIZE];
        int32_t partition;
        if (!kafka_split_parse(names[i], topic, &partition) || strcmp(topic, before) == 0) continue;
        memcpy(before, topic, sizeof before);
        code = verify_topic(reading, chain, topic, error);
    }
    free(names);
    return code;
}

/* ---- Verifying --------------------------------------------------------------------------------------------------- */

static void report_chain(struct reading *reading, int32_t slot, const struct ledger_chain *chain)
{
    struct weir_kafka_ledger_report *report = &reading->report;
    const struct weir_ledger_entry *oldest = &chain->commits[chain->oldest].entry;
    const struct weir_ledger_entry *newest = &chain->commits[chain->count - 1].entry;
    report->commits += chain->count - chain->oldest;
    report->oldest_incarnation = oldest->incarnation;
    report->oldest_epoch = oldest->epoch;
    report->newest_incarnation = newest->incarnation;
    report->newest_epoch = newest->epoch;
    report->at_least_once = report->at_least_once || !newest->exactly_once;
    print(reading,
          "ledger     %s/%d: %" PRIu64 " records; commits %" PRIu64 ".%" PRIu64 " (the oldest one%s) to %" PRIu64
          ".%" PRIu64 ", %zu of them",
          reading->ledger, (int)slot, chain->records, oldest->incarnation, oldest->epoch,
          oldest->parent.incarnation == 0 ? ", the founding" : "", newest->incarnation, newest->epoch,
          chain->count - chain->oldest);
}

static void report_returns(struct reading *reading, const struct ledger_chain *chain)
{
    for (size_t i = chain->oldest + 1; i < chain->count; i++) {
        if (!ledger_chain_returns(chain, i)) continue;
        const struct weir_ledger_entry *entry = &chain->commits[i].entry;
        reading->report.returns++;
        print(reading, "return     commit %" PRIu64 ".%" PRIu64 " goes back to %" PRIu64 ".%" PRIu64
              ", as --checkpoint says: what the %zu commits between have written stays in the outputs",
              entry->incarnation, entry->epoch, entry->parent.incarnation, entry->parent.epoch,
              i - 1 - ledger_chain_parent(chain, i));
    }
}

static enum weir_code verify_all(struct reading *reading, struct weir_error *error)
{
    if (read_ledger(reading, false, error) != WEIR_OK) return error->code;
    struct ledger_chain *only = NULL;
    for (int32_t slot = 0; slot < reading->slot_count; slot++) {
        struct ledger_chain *chain = &reading->chains[slot];
        reading->report.entries += chain->records;
        if (chain->count == 0) continue;
        if (only != NULL)
            return weir_error_set(error, WEIR_USAGE, WEIR_REMEDY_STOP,
                                  "the ledger '%s' has commits of several instances; outputs of such a job cannot be "
                                  "verified yet", reading->ledger);
        only = chain;
        ledger_chain_check(chain, &reading->witness, &reading->report.ranges_joined);
        report_chain(reading, slot, chain);
        report_returns(reading, chain);
    }
    if (only == NULL) {
        print(reading, "ledger     %s: no commit yet", reading->ledger);
        return WEIR_OK;
    }
    print(reading, "sources    %" PRIu64 " ranges join without gap or overlap", reading->report.ranges_joined);
    return verify_outputs(reading, only, error);
}

enum weir_code weir_kafka_ledger_verify(const struct weir_kafka_ledger_options *options,
                                        struct weir_kafka_ledger_report *report, struct weir_error *error)
{
    struct reading reading;
    enum weir_code code = open_reading(&reading, options, error);
    if (code == WEIR_OK) code = verify_all(&reading, error);
    if (report != NULL) *report = reading.report;
    const uint64_t violations = reading.report.violations;
    close_reading(&reading);
    if (code != WEIR_OK || violations == 0) return code;
    return weir_error_set(error, WEIR_DAMAGED, WEIR_REMEDY_STOP,
                          "the ledger of job '%s' and its topics contradict each other in %" PRIu64 " places",
                          options->job, violations);
}

/* ---- The newest record ------------------------------------------------------------------------------------------- */

static enum weir_code decode_newest(const struct reading *reading, const struct weir_decider_event *event,
                                    struct weir_ledger_entry *entry, struct weir_error *error)
{
    if (event->record_count == 0)
        return weir_error_set(error, WEIR_ENVIRONMENT, WEIR_REMEDY_STOP, "nothing is committed in the ledger '%s'",
                              reading->ledger);
    const enum weir_code code = weir_ledger_decode(event->records[event->record_count - 1].value, entry, error);
    if (code == WEIR_OK) return WEIR_OK;
    weir_ledger_entry_clear(entry);
    return weir_error_wrap(error, "ledger '%s'", reading->ledger);
}

enum weir_code weir_kafka_ledger_newest(const struct weir_kafka_ledger_options *options,
                                        struct weir_ledger_entry *entry, struct weir_error *error)
{
    struct reading reading;
    struct weir_decider_event event = { .record_count = 0 };
    enum weir_code code = open_reading(&reading, options, error);
    if (code == WEIR_OK) {
        struct ledger_topic topic = { .committed = reading.client };
        memcpy(topic.name, reading.ledger, sizeof topic.name);
        code = ledger_topic_tail(&topic, true, &reading.patience, &event, error);
    }
    if (code == WEIR_OK) code = decode_newest(&reading, &event, entry, error);
    weir_decider_event_clear(&event);
    close_reading(&reading);
    return code;
}
