#include "examine.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ask.h"
#include "handle.h"
#include "ledger_topic.h"
#include "transaction.h"

enum { PATIENCE_MS = 3000, TOPICS_MAX = 64, NUMBER_MAX = 24 };
/* A transaction is open for an interval and for as long as its commit takes; this often its time-out must hold that. */
enum { INTERVALS_MIN = 2 };
#define LONG_TIMEOUT_MS 3600000
#define PURPOSE "examination" /* of the clients here, in the sentences of librdkafka */

/* ---- The table --------------------------------------------------------------------------------------------------- */

#define ERROR(code) WEIR_SEVERITY_ERROR, WEIR_##code
#define FOUND_BY_START WEIR_SEVERITY_ERROR, WEIR_OK
#define WARNING WEIR_SEVERITY_WARNING, WEIR_OK
#define NOTE WEIR_SEVERITY_NOTE, WEIR_OK

static const struct weir_check
    no_cluster = { "cluster-not-named", ERROR(USAGE), "no Kafka cluster is named",
                   "Give --brokers HOST:PORT, or set kafka.bootstrap.servers." },
    client_refused = { "client-settings", ERROR(USAGE), "the settings of the Kafka client are not accepted: {0}",
                       "Correct the kafka.* keys that it names." },
    no_answer = { "cluster-unreachable", FOUND_BY_START, "no broker of '{0}' answers: {1}",
                  "Check the address, the network, and the kafka.sasl.* and kafka.ssl.* settings." },
    topic_missing = { "topic-missing", FOUND_BY_START, "topic '{0}' does not exist",
                      "Create it, or correct its name; outputs are also made with --create-topics." },
    pattern_empty = { "topic-pattern-empty", WARNING, "no topic matches the pattern '{1}' of source '{0}'",
                      "Nothing is read until there is one; check the pattern, and the right to describe the topics." },
    topic_made = { "topic-created", NOTE, "topic '{0}' does not exist yet: the job makes it", "Nothing is to be done." },
    topic_unknown = { "topic-not-described", ERROR(ENVIRONMENT), "topic '{0}' cannot be looked at: {1}",
                      "Allow this user to Read it where the job reads it, and to Write it where it writes: either "
                      "includes the right to describe it." },
    no_reading = { "topic-not-readable", ERROR(ENVIRONMENT), "this user may not read topic '{0}'",
                   "Add a rule: kafka-acls.sh --add --allow-principal User:NAME --operation Read --topic {0}" },
    no_writing = { "topic-not-writable", ERROR(ENVIRONMENT), "this user may not write topic '{0}'",
                   "Add a rule: kafka-acls.sh --add --allow-principal User:NAME --operation Write --topic {0}" },
    topic_in_circle = { "topic-read-and-written", WARNING, "topic '{0}' is read and written by this job",
                        "What it writes comes back to it for ever, unless its operators end that: see whether the names of "
                        "input and output are meant to be the same." },
    few_replicas = { "topic-one-replica", WARNING, "topic '{0}' has one replica, although the cluster has {1} brokers",
                     "What was committed to it is lost with one disk: give it three replicas, with "
                     "kafka-reassign-partitions.sh." },
    no_group = { "group-not-readable", ERROR(ENVIRONMENT), "this user may not use the consumer group '{0}': {1}",
                 "Add a rule: kafka-acls.sh --add --allow-principal User:NAME --operation Read --group {0}" },
    no_id_rule = { "transactional-id-rule", WARNING, "no access rule lets anybody write the transactional id '{0}'",
                   "Unless this user is a super user, or what has no rule is allowed, add one: kafka-acls.sh --add "
                   "--allow-principal User:NAME --operation Write --operation Describe --transactional-id {1} "
                   "--resource-pattern-type prefixed" },
    rules_unknown = { "access-rules", NOTE, "whether this user may write the transactional ids is not known: {0}",
                      "It shows when the job starts; the right to describe the cluster would tell before." },
    settings_unknown = { "broker-settings", NOTE, "the brokers do not tell their settings: {0}",
                         "Time-outs and replicas were not compared; the right DescribeConfigs on the cluster would do." },
    timeout_above_brokers = { "transaction-timeout-refused", ERROR(USAGE),
                              "the transaction time-out of {0} ms is above the brokers' transaction.max.timeout.ms, {1}",
                              "Lower kafka.producer.transaction.timeout.ms, or raise the brokers' limit." },
    timeout_below_interval = { "transaction-timeout-short", ERROR(USAGE),
                               "the transaction time-out of {0} ms is not above the checkpoint interval of {1} ms: brokers "
                               "would abort every transaction before its commit",
                               "Raise kafka.producer.transaction.timeout.ms, or lower execution.checkpointing.interval." },
    timeout_near_interval = { "transaction-timeout-tight", WARNING,
                              "the transaction time-out of {0} ms leaves little time behind the checkpoint interval of {1} "
                              "ms: a slow commit is aborted, and the epoch is done again",
                              "Raise kafka.producer.transaction.timeout.ms to several intervals." },
    timeout_long = { "transaction-timeout-long", WARNING,
                     "the transaction time-out is {0} ms: that long readers wait when the job dies and is not started again",
                     "Lower kafka.producer.transaction.timeout.ms; the promise does not depend on it." },
    one_broker = { "one-broker", NOTE, "the cluster has one broker", "What it has is lost with its disk." },
    internal_replicas = { "internal-one-replica", WARNING,
                          "{0} has one replica, although the cluster has {1} brokers: without that one nothing commits",
                          "Give it three, with kafka-reassign-partitions.sh, and set {2} to 3 for new clusters." },
    internal_in_sync = { "internal-one-in-sync", WARNING,
                         "{0} takes writes that one replica alone has seen (min.insync.replicas is {1} of {2})",
                         "Set its min.insync.replicas to 2: kafka-configs.sh --alter --entity-type topics --entity-name {0} "
                         "--add-config min.insync.replicas=2" },
    internal_all_in_sync = { "internal-all-in-sync", WARNING,
                             "{0} takes no writes when one broker is away (min.insync.replicas is {1} of {2})",
                             "Leave one replica to spare: lower its min.insync.replicas, or add a replica." };

/* ---- Clients ----------------------------------------------------------------------------------------------------- */

/* A topic that was looked at. */
struct examined {
    struct examined *next;
    bool is_read, is_written;
    char name[KAFKA_TOPIC_SIZE];
};

/* A cluster, as one list of brokers names it. */
struct examiner {
    struct examiner *next;
    struct examined *examined;
    char *brokers; /* NULL = as configured */
    struct kafka_client *client; /* NULL = none could be opened, which was reported */
    bool answers;
    int broker_count;
    int32_t broker_id; /* of one of them */
};

static void end_examiners(void *shared)
{
    for (struct examiner *at = shared, *next; at != NULL; at = next) {
        next = at->next;
        kafka_client_close(at->client);
        for (struct examined *topic = at->examined, *behind; topic != NULL; topic = behind) {
            behind = topic->next;
            free(topic);
        }
        free(at->brokers);
        free(at);
    }
}

static const char *name_of(const struct examiner *examiner, const weir_config *config)
{
    const char *configured = weir_config_text(config, "kafka.bootstrap.servers");
    return examiner->brokers != NULL ? examiner->brokers : configured != NULL ? configured : "";
}

static bool connect_to(struct examiner *examiner, struct weir_error *error)
{
    const struct rd_kafka_metadata *metadata;
    char unused[64];
    if (kafka_cluster_id(examiner->client, PATIENCE_MS, NULL, unused, error) != WEIR_OK) return false;
    const rd_kafka_resp_err_t reason = rd_kafka_metadata(examiner->client->handle, 0, NULL, &metadata, PATIENCE_MS);
    if (reason != RD_KAFKA_RESP_ERR_NO_ERROR) {
        (void)kafka_error(error, examiner->client, reason, NULL, "cluster");
        return false;
    }
    examiner->broker_count = metadata->broker_cnt;
    if (metadata->broker_cnt > 0) examiner->broker_id = metadata->brokers[0].id;
    rd_kafka_metadata_destroy(metadata);
    return true;
}

/* A sentence without the name of the client in front, which is one of the examination's own. */
static const char *sentence_of(const struct weir_error *error, const char *purpose)
{
    const size_t size = strlen(purpose);
    return strncmp(error->text, purpose, size) == 0 && strncmp(error->text + size, ": ", 2) == 0 ? error->text + size + 2
                                                                                                : error->text;
}

/* Settings that no client can be opened with. One that has nobody to speak to is a case of its own. */
static void report_refusal(const struct weir_connector_context *context, const char *brokers, const struct weir_error *error,
                           const char *purpose, weir_examination *examination)
{
    if (brokers == NULL && !kafka_names_brokers(context->config)) weir_report(examination, &no_cluster, "");
    else weir_report(examination, &client_refused, sentence_of(error, purpose));
}

static struct examiner *make_examiner(const struct weir_connector_context *context, const char *brokers,
                                      weir_examination *examination)
{
    /* Why the cluster does not answer is what the report says; the client's own lines would say it again. */
    static const struct weir_environment silent;
    struct weir_error error;
    struct examiner *made = calloc(1, sizeof *made);
    if (made == NULL) return NULL;
    made->brokers = brokers == NULL ? NULL : strdup(brokers);
    if (kafka_group_client_open(context, brokers, PURPOSE, NULL, &made->client, &error) != WEIR_OK) {
        report_refusal(context, brokers, &error, PURPOSE, examination);
        return made;
    }
    pthread_mutex_lock(&made->client->mutex);
    made->client->environment = &silent;
    pthread_mutex_unlock(&made->client->mutex);
    made->answers = connect_to(made, &error);
    if (!made->answers) weir_report(examination, &no_answer, name_of(made, context->config),
                                    sentence_of(&error, PURPOSE));
    return made;
}

static bool is_same(const char *a, const char *b)
{
    return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

/* NULL when it does not answer, which was reported. */
static struct examiner *examiner_of(const struct weir_connector_context *context, const char *brokers,
                                    weir_examination *examination)
{
    void **shared = weir_examination_shared(examination, "kafka", end_examiners);
    if (shared == NULL) return NULL;
    struct examiner *found = *shared;
    while (found != NULL && !is_same(found->brokers, brokers)) found = found->next;
    if (found == NULL) {
        found = make_examiner(context, brokers, examination);
        if (found == NULL) return NULL;
        found->next = *shared;
        *shared = found;
    }
    return found->answers ? found : NULL;
}

/* ---- Topics ------------------------------------------------------------------------------------------------------ */

static void number(char text[NUMBER_MAX], int64_t value)
{
    (void)snprintf(text, NUMBER_MAX, "%" PRId64, value);
}

/* Rights that the brokers do not tell are not missed. */
static bool lacks(uint32_t rights, uint32_t right)
{
    return rights != 0 && (rights & right) == 0;
}

/* NULL when there is no memory: then it is not missed. */
static struct examined *examined_of(struct examiner *examiner, const char *name)
{
    struct examined *at = examiner->examined;
    while (at != NULL && strcmp(at->name, name) != 0) at = at->next;
    if (at != NULL || (at = calloc(1, sizeof *at)) == NULL) return at;
    (void)snprintf(at->name, sizeof at->name, "%s", name);
    at->next = examiner->examined;
    return examiner->examined = at;
}

static void judge_use(struct examiner *examiner, const struct examine_topic *topic, weir_examination *examination)
{
    struct examined *examined = topic->use == EXAMINE_LEDGER ? NULL : examined_of(examiner, topic->name);
    if (examined == NULL) return;
    examined->is_read |= topic->use == EXAMINE_READS;
    examined->is_written |= topic->use == EXAMINE_WRITES;
    if (examined->is_read && examined->is_written) weir_report(examination, &topic_in_circle, topic->name);
}

static void judge_topic(const struct examiner *examiner, const struct examine_topic *topic,
                        const struct kafka_topic_info *info, weir_examination *examination)
{
    char brokers[NUMBER_MAX];
    number(brokers, examiner->broker_count);
    if (info->failure != RD_KAFKA_RESP_ERR_NO_ERROR) {
        weir_report(examination, &topic_unknown, topic->name, rd_kafka_err2str(info->failure));
        return;
    }
    if (!info->exists) {
        weir_report(examination, topic->is_made ? &topic_made : &topic_missing, topic->name);
        return;
    }
    if (topic->use != EXAMINE_WRITES && lacks(info->rights, KAFKA_RIGHT(READ)))
        weir_report(examination, &no_reading, topic->name);
    if (topic->use == EXAMINE_READS) return;
    if (lacks(info->rights, KAFKA_RIGHT(WRITE))) weir_report(examination, &no_writing, topic->name);
    if (info->replica_count == 1 && examiner->broker_count > 1)
        weir_report(examination, &few_replicas, topic->name, brokers);
}

static void judge_topics(struct examiner *examiner, const struct examine_topic *topics, size_t count,
                         weir_examination *examination)
{
    struct kafka_topic_info infos[TOPICS_MAX] = { { .name = NULL } };
    struct weir_error error;
    if (count > TOPICS_MAX) count = TOPICS_MAX;
    for (size_t i = 0; i < count; i++) infos[i].name = topics[i].name;
    if (kafka_ask_topics_and_rights(examiner->client, infos, count, NULL, &error) != WEIR_OK) {
        weir_report(examination, &no_answer, "the cluster", sentence_of(&error, PURPOSE));
        return;
    }
    for (size_t i = 0; i < count; i++) {
        judge_topic(examiner, &topics[i], &infos[i], examination);
        judge_use(examiner, &topics[i], examination);
    }
}

void kafka_examine_topics(const struct weir_connector_context *context, const char *brokers,
                          const struct examine_topic *topics, size_t count, weir_examination *examination)
{
    struct examiner *examiner = examiner_of(context, brokers, examination);
    if (examiner != NULL) judge_topics(examiner, topics, count, examination);
}

bool kafka_examine_each_topic(const struct weir_connector_context *context, const char *brokers,
                              weir_examination *examination, void (*each)(void *user, const char *name), void *user)
{
    const struct rd_kafka_metadata *metadata;
    const struct examiner *examiner = examiner_of(context, brokers, examination);
    if (examiner == NULL) return false;
    if (rd_kafka_metadata(examiner->client->handle, 1, NULL, &metadata, PATIENCE_MS) != RD_KAFKA_RESP_ERR_NO_ERROR)
        return false;
    for (int i = 0; i < metadata->topic_cnt; i++) each(user, metadata->topics[i].topic);
    rd_kafka_metadata_destroy(metadata);
    return true;
}

void kafka_examine_no_match(weir_examination *examination, const char *operator_name, const char *pattern)
{
    weir_report(examination, &pattern_empty, operator_name, pattern);
}

/* ---- Time-outs --------------------------------------------------------------------------------------------------- */

static void judge_timeout(const struct weir_connector_context *context, int64_t timeout_ms, int64_t broker_max_ms,
                          weir_examination *examination)
{
    const int64_t interval_ms = weir_config_duration_ms(context->config, "execution.checkpointing.interval");
    char timeout[NUMBER_MAX], interval[NUMBER_MAX], max[NUMBER_MAX];
    number(timeout, timeout_ms);
    number(interval, interval_ms);
    number(max, broker_max_ms);
    if (broker_max_ms > 0 && timeout_ms > broker_max_ms)
        weir_report(examination, &timeout_above_brokers, timeout, max);
    /* A bounded job may come to its end before its first interval does. */
    if (timeout_ms <= interval_ms && !context->bounded) weir_report(examination, &timeout_below_interval, timeout, interval);
    else if (timeout_ms < INTERVALS_MIN * interval_ms) weir_report(examination, &timeout_near_interval, timeout, interval);
    if (timeout_ms >= LONG_TIMEOUT_MS) weir_report(examination, &timeout_long, timeout);
}

/* ---- The brokers' own topics ------------------------------------------------------------------------------------- */

enum { MAX_TIMEOUT, STATE_REPLICAS, STATE_IN_SYNC, OFFSETS_REPLICAS, IN_SYNC, SETTING_COUNT };

struct internal_topic {
    const char *name;
    const char *replicas_key; /* of the brokers, for when it is made */
    int64_t replicas, in_sync;
};

static void judge_internal(const struct examiner *examiner, const struct internal_topic *topic,
                           weir_examination *examination)
{
    char brokers[NUMBER_MAX], replicas[NUMBER_MAX], in_sync[NUMBER_MAX];
    number(brokers, examiner->broker_count);
    number(replicas, topic->replicas);
    number(in_sync, topic->in_sync);
    if (topic->replicas <= 0 || examiner->broker_count < 2) return;
    if (topic->replicas == 1)
        weir_report(examination, &internal_replicas, topic->name, brokers, topic->replicas_key);
    else if (topic->in_sync == 1)
        weir_report(examination, &internal_in_sync, topic->name, in_sync, replicas);
    else if (topic->in_sync >= topic->replicas)
        weir_report(examination, &internal_all_in_sync, topic->name, in_sync, replicas);
}

/* What the topic has counts; before it is made, what the brokers would give it. */
static void examine_internal(const struct examiner *examiner, struct internal_topic topic, weir_examination *examination)
{
    struct weir_error unused;
    struct kafka_topic_info info = { .name = topic.name };
    struct kafka_setting in_sync = { .name = "min.insync.replicas" };
    (void)kafka_ask_topics_and_rights(examiner->client, &info, 1, NULL, &unused);
    if (info.exists) {
        topic.replicas = info.replica_count;
        if (kafka_ask_settings(examiner->client, RD_KAFKA_RESOURCE_TOPIC, topic.name, &in_sync, 1, PATIENCE_MS, NULL,
                               &unused) == WEIR_OK)
            topic.in_sync = strtoll(in_sync.value, NULL, 10);
    }
    judge_internal(examiner, &topic, examination);
}

static void examine_settings(const struct examiner *examiner, const struct weir_connector_context *context,
                             int64_t timeout_ms, weir_examination *examination)
{
    struct kafka_setting settings[SETTING_COUNT] = {
        [MAX_TIMEOUT] = { .name = "transaction.max.timeout.ms" },
        [STATE_REPLICAS] = { .name = "transaction.state.log.replication.factor" },
        [STATE_IN_SYNC] = { .name = "transaction.state.log.min.isr" },
        [OFFSETS_REPLICAS] = { .name = "offsets.topic.replication.factor" },
        [IN_SYNC] = { .name = "min.insync.replicas" },
    };
    int64_t values[SETTING_COUNT];
    char broker[NUMBER_MAX];
    struct weir_error error;
    number(broker, examiner->broker_id);
    if (kafka_ask_settings(examiner->client, RD_KAFKA_RESOURCE_BROKER, broker, settings, SETTING_COUNT, PATIENCE_MS, NULL,
                           &error) != WEIR_OK)
        weir_report(examination, &settings_unknown, error.text);
    for (size_t i = 0; i < SETTING_COUNT; i++) values[i] = strtoll(settings[i].value, NULL, 10);
    if (examiner->broker_count == 1) weir_report(examination, &one_broker, "");
    if (context->exactly_once) judge_timeout(context, timeout_ms, values[MAX_TIMEOUT], examination);
    if (context->exactly_once)
        examine_internal(examiner,
                         (struct internal_topic){ "__transaction_state", settings[STATE_REPLICAS].name,
                                                  values[STATE_REPLICAS], values[STATE_IN_SYNC] },
                         examination);
    examine_internal(examiner,
                     (struct internal_topic){ "__consumer_offsets", settings[OFFSETS_REPLICAS].name,
                                              values[OFFSETS_REPLICAS], values[IN_SYNC] },
                     examination);
}

/* ---- Commits ----------------------------------------------------------------------------------------------------- */

static void examine_group(const struct examiner *examiner, const char *group, weir_examination *examination)
{
    struct weir_error error;
    uint32_t rights;
    const enum weir_code code = kafka_ask_group_rights(examiner->client, group, &rights, NULL, &error);
    if (code == WEIR_ENVIRONMENT) weir_report(examination, &no_group, group, error.text);
    else if (code == WEIR_OK && lacks(rights, KAFKA_RIGHT(READ)))
        weir_report(examination, &no_group, group, "it lacks the right to read it");
}

/* A broker tells nobody what he may do with a transactional id before he does it; the rules tell, where they may be read. */
static void examine_ids(const struct examiner *examiner, const struct weir_decider_options *options,
                        weir_examination *examination)
{
    char id[TRANSACTION_ID_SIZE], prefix[TRANSACTION_ID_SIZE];
    struct weir_error error;
    uint32_t rights;
    if (kafka_ask_cluster_rights(examiner->client, &rights, NULL, &error) != WEIR_OK) {
        weir_report(examination, &rules_unknown, error.text);
        return;
    }
    if ((rights & KAFKA_RIGHT(DESCRIBE)) == 0) {
        weir_report(examination, &rules_unknown, "it may not see the rules");
        return;
    }
    (void)snprintf(prefix, sizeof prefix, "%s-%s-", options->context->job, options->slot);
    for (uint32_t i = 0; i < options->ring_size; i++) {
        bool is_allowed;
        (void)snprintf(id, sizeof id, "%s-%s-%u", options->context->job, options->slot, i);
        if (kafka_ask_id_rule(examiner->client, id, &is_allowed, NULL, &error) != WEIR_OK) {
            weir_report(examination, &rules_unknown, error.text);
            return;
        }
        if (is_allowed) continue;
        weir_report(examination, &no_id_rule, id, prefix);
        return; /* they are named alike */
    }
}

void kafka_examine_commits(const struct weir_decider_options *options, const char *brokers,
                           weir_examination *examination)
{
    const struct weir_connector_context *context = options->context;
    const struct handle_options trial = { .context = context, .brokers = brokers,
                                          .transactional_id = context->exactly_once ? context->job : NULL };
    struct handle_limits limits;
    struct weir_error error;
    char ledger[KAFKA_TOPIC_SIZE];
    if (handle_check(&trial, &limits, &error) != WEIR_OK) {
        report_refusal(context, brokers, &error, "producer", examination);
        return;
    }
    struct examiner *examiner = examiner_of(context, brokers, examination);
    if (examiner == NULL) return;
    ledger_topic_name(ledger, context->job);
    judge_topics(examiner, &(struct examine_topic){ ledger, EXAMINE_LEDGER, true }, 1, examination);
    examine_settings(examiner, context, limits.transaction_timeout_ms, examination);
    examine_group(examiner, context->job, examination);
    if (context->exactly_once) examine_ids(examiner, options, examination);
}
