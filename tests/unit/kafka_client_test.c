/* Configuration, log and errors of Kafka clients, without a broker. */
#include "client.h"
#include "reaper.h"

#include <string.h>

#include "base/base.h"
#include "harness/unit.h"

static weir_config *config;
static struct weir_connector_context context;

static void prepare(void)
{
    config = weir_config_create();
    context = (struct weir_connector_context){ .config = config, .job = "job", .operator_name = "lines" };
}

static void set(const char *key, const char *value)
{
    struct weir_error error;
    const enum weir_code code = weir_config_set(config, WEIR_CONFIG_COMMAND_LINE, key, value, "test", &error);
    ck_assert_msg(code == WEIR_OK, "%s", error.text);
}

static enum weir_code create(enum kafka_role role, rd_kafka_conf_t **conf, struct weir_error *error)
{
    return kafka_conf_create(role, &context, NULL, "source 'lines'", conf, error);
}

static void expect(enum kafka_role role, const char *property, const char *value)
{
    rd_kafka_conf_t *conf;
    struct weir_error error;
    ck_assert_msg(create(role, &conf, &error) == WEIR_OK, "%s", error.text);
    char found[256] = "";
    size_t size = sizeof found;
    ck_assert_int_eq(rd_kafka_conf_get(conf, property, found, &size), RD_KAFKA_CONF_OK);
    ck_assert_msg(strcmp(found, value) == 0, "%s is '%s', not '%s'", property, found, value);
    rd_kafka_conf_destroy(conf);
}

START_TEST(passes_properties_to_the_clients_they_are_meant_for)
{
    prepare();
    set("kafka.bootstrap.servers", "here:9092");
    set("kafka.socket.timeout.ms", "5000");
    set("kafka.consumer.fetch.wait.max.ms", "77");
    set("kafka.consumer.socket.timeout.ms", "6000");
    set("kafka.producer.linger.ms", "9");
    expect(KAFKA_CONSUMER, "bootstrap.servers", "here:9092");
    expect(KAFKA_CONSUMER, "socket.timeout.ms", "6000");
    expect(KAFKA_PRODUCER, "socket.timeout.ms", "5000");
    expect(KAFKA_CONSUMER, "fetch.wait.max.ms", "77");
    expect(KAFKA_PRODUCER, "linger.ms", "9");
    expect(KAFKA_CONSUMER, "client.id", "weir-job");
}
END_TEST

START_TEST(lets_the_user_change_what_is_only_faster)
{
    prepare();
    set("kafka.bootstrap.servers", "here:9092");
    expect(KAFKA_CONSUMER, "fetch.queue.backoff.ms", "2");
    set("kafka.fetch.queue.backoff.ms", "50");
    expect(KAFKA_CONSUMER, "fetch.queue.backoff.ms", "50");
}
END_TEST

START_TEST(keeps_computed_defaults_away_from_the_users_words)
{
    prepare();
    set("kafka.bootstrap.servers", "here:9092");
    set("kafka.consumer.fetch.wait.max.ms", "77");
    rd_kafka_conf_t *conf;
    struct weir_error error;
    ck_assert_int_eq(create(KAFKA_CONSUMER, &conf, &error), WEIR_OK);
    const struct { const char *name, *value; } rows[] = { { "fetch.wait.max.ms", "77" }, { "fetch.min.bytes", "5" } };
    for (size_t i = 0; i < 2; i++) {
        ck_assert_int_eq(kafka_conf_default(KAFKA_CONSUMER, &context, conf, rows[i].name, 5, &error), WEIR_OK);
        char found[32];
        size_t size = sizeof found;
        ck_assert_int_eq(rd_kafka_conf_get(conf, rows[i].name, found, &size), RD_KAFKA_CONF_OK);
        ck_assert_str_eq(found, rows[i].value);
    }
    rd_kafka_conf_destroy(conf);
}
END_TEST

START_TEST(refuses_what_breaks_the_guarantee)
{
    const struct { const char *key, *value; } cases[] = {
        { "kafka.enable.auto.commit", "true" },
        { "kafka.consumer.isolation.level", "read_uncommitted" },
        { "kafka.consumer.group.id", "mine" },
        { "kafka.auto.offset.reset", "latest" },
        { "kafka.producer.transactional.id", "mine" },
        { "kafka.producer.enable.idempotence", "false" },
        { "kafka.acks", "1" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        prepare();
        set("kafka.bootstrap.servers", "here:9092");
        set(cases[i].key, cases[i].value);
        rd_kafka_conf_t *conf;
        struct weir_error error;
        const enum kafka_role role = strstr(cases[i].key, "producer") != NULL ? KAFKA_PRODUCER : KAFKA_CONSUMER;
        ck_assert_msg(create(role, &conf, &error) == WEIR_USAGE, "%s is taken", cases[i].key);
        ck_assert_msg(strstr(error.text, cases[i].key) != NULL && strstr(error.text, "may not be set") != NULL, "%s",
                      error.text);
        weir_config_destroy(config);
    }
}
END_TEST

START_TEST(takes_values_that_change_nothing)
{
    prepare();
    set("kafka.bootstrap.servers", "here:9092");
    set("kafka.isolation.level", "read_committed");
    set("kafka.enable.auto.commit", "false");
    set("kafka.acks", "-1");
    rd_kafka_conf_t *conf;
    struct weir_error error;
    ck_assert_msg(create(KAFKA_CONSUMER, &conf, &error) == WEIR_OK, "%s", error.text);
    rd_kafka_conf_destroy(conf);
}
END_TEST

START_TEST(explains_unknown_and_foreign_names)
{
    const struct { const char *key, *value, *part; } cases[] = {
        { "kafka.max.poll.records", "500", "source.max-batch-records" },
        { "kafka.sasl.jaas.config", "x", "not supported" },
        { "kafka.fetch.wait.max", "1", "no property of this name" },
        { "kafka.socket.timeout.ms", "soon", "kafka.socket.timeout.ms" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        prepare();
        set("kafka.bootstrap.servers", "here:9092");
        set(cases[i].key, cases[i].value);
        rd_kafka_conf_t *conf;
        struct weir_error error;
        ck_assert_int_eq(create(KAFKA_CONSUMER, &conf, &error), WEIR_USAGE);
        ck_assert_msg(strstr(error.text, cases[i].part) != NULL, "%s", error.text);
        weir_config_destroy(config);
    }
}
END_TEST

START_TEST(asks_for_brokers_where_none_are_named)
{
    prepare();
    rd_kafka_conf_t *conf;
    struct weir_error error;
    ck_assert_int_eq(create(KAFKA_CONSUMER, &conf, &error), WEIR_USAGE);
    ck_assert_ptr_nonnull(strstr(error.text, "--brokers"));
}
END_TEST

START_TEST(tells_why_a_broker_cannot_be_reached)
{
    prepare();
    set("kafka.bootstrap.servers", "127.0.0.1:1");
    rd_kafka_conf_t *conf;
    struct kafka_client *client;
    struct weir_error error;
    char id[64];
    ck_assert_int_eq(create(KAFKA_CONSUMER, &conf, &error), WEIR_OK);
    ck_assert_int_eq(kafka_client_open(KAFKA_CONSUMER, conf, NULL, "client", NULL, &client, &error), WEIR_OK);
    ck_assert_int_eq(kafka_cluster_id(client, 500, NULL, id, &error), WEIR_OUT_OF_PATIENCE);
    ck_assert_int_eq(error.remedy, WEIR_REMEDY_RETRY);
    ck_assert_msg(strstr(error.text, "refused") != NULL, "%s", error.text);
    const volatile bool cancelled = true;
    ck_assert_int_eq(kafka_cluster_id(client, 60000, &cancelled, id, &error), WEIR_FAILED);
    kafka_client_close(client);
}
END_TEST

struct warnings {
    _Atomic int count;
};

static void count_warnings(void *user, const struct weir_log_line *line)
{
    if (line->level <= WEIR_LOG_WARN) ((struct warnings *)user)->count++;
}

/* Three handles, each of which tries and fails twice in a second. */
START_TEST(a_missing_broker_is_told_once_for_all_handles)
{
    struct warnings warnings = { 0 };
    struct weir_environment environment;
    environment_init_system(&environment);
    environment.log = count_warnings;
    environment.log_user = &warnings;
    prepare();
    set("kafka.bootstrap.servers", "127.0.0.1:1");
    for (int i = 0; i < 3; i++) {
        rd_kafka_conf_t *conf;
        struct kafka_client *client;
        struct weir_error error;
        char id[64];
        ck_assert_int_eq(create(KAFKA_CONSUMER, &conf, &error), WEIR_OK);
        ck_assert_int_eq(kafka_client_open(KAFKA_CONSUMER, conf, &environment, "client", NULL, &client, &error), WEIR_OK);
        ck_assert_int_eq(kafka_cluster_id(client, 1200, NULL, id, &error), WEIR_OUT_OF_PATIENCE);
        kafka_client_close(client);
    }
    ck_assert_int_eq(warnings.count, 1);
}
END_TEST

START_TEST(says_what_to_do_about_an_error)
{
    const struct {
        rd_kafka_resp_err_t reason;
        enum weir_code code;
        enum weir_remedy remedy;
        const char *part;
    } cases[] = {
        { RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART, WEIR_ENVIRONMENT, WEIR_REMEDY_STOP, "create the topic" },
        { RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, WEIR_ENVIRONMENT, WEIR_REMEDY_STOP, "allow this user" },
        { RD_KAFKA_RESP_ERR__AUTHENTICATION, WEIR_ENVIRONMENT, WEIR_REMEDY_RETRY, "kafka.sasl" },
        { RD_KAFKA_RESP_ERR__TRANSPORT, WEIR_OUT_OF_PATIENCE, WEIR_REMEDY_RETRY, "" },
        { RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION, WEIR_OUT_OF_PATIENCE, WEIR_REMEDY_RETRY, "" },
        { RD_KAFKA_RESP_ERR__BAD_MSG, WEIR_FAILED, WEIR_REMEDY_REPLAY, "" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct weir_error error;
        ck_assert_int_eq(kafka_error(&error, NULL, cases[i].reason, NULL, "reading %d", 7), cases[i].code);
        ck_assert_int_eq(error.remedy, cases[i].remedy);
        ck_assert_msg(strncmp(error.text, "reading 7: ", 11) == 0, "%s", error.text);
        ck_assert_msg(strstr(error.text, cases[i].part) != NULL, "%s", error.text);
    }
}
END_TEST

START_TEST(waits_for_clients_that_were_given_up)
{
    prepare();
    set("kafka.bootstrap.servers", "127.0.0.1:1");
    struct kafka_reaper *reaper = kafka_reaper_create();
    for (int i = 0; i < 3; i++) {
        rd_kafka_conf_t *conf;
        struct kafka_client *client;
        struct weir_error error;
        ck_assert_int_eq(create(KAFKA_PRODUCER, &conf, &error), WEIR_OK);
        ck_assert_int_eq(kafka_client_open(KAFKA_PRODUCER, conf, NULL, "client", NULL, &client, &error), WEIR_OK);
        kafka_reaper_take(reaper, client);
    }
    kafka_reaper_destroy(reaper, 60000);
    ck_assert_int_eq(rd_kafka_thread_cnt(), 0);
    weir_config_destroy(config);
}
END_TEST

static void add_facts(TCase *tests)
{
    tcase_add_test(tests, passes_properties_to_the_clients_they_are_meant_for);
    tcase_add_test(tests, lets_the_user_change_what_is_only_faster);
    tcase_add_test(tests, keeps_computed_defaults_away_from_the_users_words);
    tcase_add_test(tests, refuses_what_breaks_the_guarantee);
    tcase_add_test(tests, takes_values_that_change_nothing);
    tcase_add_test(tests, explains_unknown_and_foreign_names);
    tcase_add_test(tests, asks_for_brokers_where_none_are_named);
    tcase_add_test(tests, tells_why_a_broker_cannot_be_reached);
    tcase_add_test(tests, a_missing_broker_is_told_once_for_all_handles);
    tcase_add_test(tests, says_what_to_do_about_an_error);
    tcase_add_test(tests, waits_for_clients_that_were_given_up);
}

int main(void)
{
    return unit_main("kafka client", add_facts);
}
