/* TLS, passwords, tokens, certificates and rights: the examples in config/deploy/kafka are run as they stand, against a broker
 * that asks for each of them; and what a person reads who got one of them wrong. */
#include <arpa/inet.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "harness/broker.h"
#include "harness/unit.h"
#include "harness/words.h"

#define FOLDER WEIR_SOURCE_DIR "/config/deploy/kafka/"

/* Lives until the fact ends. */
static const char *text(const char *format, ...) WEIR_PRINTF(1, 2);
static const char *text(const char *format, ...)
{
    char *made;
    va_list arguments;
    va_start(arguments, format);
    ck_assert_int_ge(vasprintf(&made, format, arguments), 0);
    va_end(arguments);
    return made;
}

/* ---- A job on the broker's other side ------------------------------------------------------------------------------- */

static const char *secure_path(const char *name) { return text("%s/secure/%s", broker_folder(), name); }

/* HOST:PORT of the listener "sasl" or "ssl". */
static const char *address_of(const char *listener)
{
    char address[64] = "";
    FILE *file = fopen(secure_path(listener), "re");
    ck_assert_ptr_nonnull(file);
    ck_assert_int_eq(fscanf(file, "%63s", address), 1);
    fclose(file);
    return text("%s", address);
}

static void set_key(struct words_job *job, const char *key, const char *value)
{
    words_set(job, "-X", text("%s=%s", key, value));
}

/* As a service manager hands it over: a file in the folder that $CREDENTIALS_DIRECTORY names. */
static void give_credential(struct words_job *job, const char *name, const char *value)
{
    const char *folder = process_path("credentials-%s", job->job);
    ck_assert_int_eq(mkdir(folder, 0700), 0);
    FILE *file = fopen(text("%s/%s", folder, name), "we");
    ck_assert(file != NULL && fprintf(file, "%s\n", value) > 0);
    fclose(file);
    job->options.environment[0] = text("CREDENTIALS_DIRECTORY=%s", folder);
}

/* By an example, with what belongs to this broker on the command line. */
static struct words_job secure_job(const char *example, const char *listener)
{
    struct words_job job = words_job(1, 1);
    job.options.brokers = address_of(listener);
    words_set(&job, "--config", text(FOLDER "%s.yaml", example));
    set_key(&job, "kafka.ssl.ca.location", secure_path("ca.pem"));
    return job;
}

static void expect_words(struct words_job *job)
{
    words_put(job->input, 0, "a b a");
    words_run(job);
    ck_assert_str_eq(words_read(job->output, 1), "a=2 b=1");
    words_expect_all_committed(job);
}

START_TEST(jobs_log_in_with_a_password)
{
    static const char *const examples[] = { "scram", "plain" };
    struct words_job job = secure_job(examples[_i], "sasl");
    give_credential(&job, "kafka-password", text("%s-secret", examples[_i]));
    expect_words(&job);
}
END_TEST

static const char *whole_file(const char *path)
{
    static char contents[8192];
    FILE *file = fopen(path, "re");
    ck_assert_ptr_nonnull(file);
    contents[fread(contents, 1, sizeof contents - 1, file)] = '\0';
    fclose(file);
    return contents;
}

START_TEST(jobs_log_in_with_a_certificate)
{
    struct words_job job = secure_job("certificate", "ssl");
    set_key(&job, "kafka.ssl.certificate.location", secure_path("client.pem"));
    give_credential(&job, "kafka-key", whole_file(secure_path("client.key")));
    expect_words(&job);
}
END_TEST

/* ---- Tokens --------------------------------------------------------------------------------------------------------- */

/* As in a URL, without padding (RFC 4648, section 5). */
static const char *base64(const char *plain)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    const size_t size = strlen(plain);
    char *coded = calloc(size * 2 + 4, 1);
    ck_assert_ptr_nonnull(coded);
    uint32_t bits = 0;
    int held = 0, used = 0;
    for (size_t i = 0; i < size; i++) {
        bits = bits << 8 | (unsigned char)plain[i];
        for (held += 8; held >= 6; held -= 6) coded[used++] = digits[bits >> (held - 6) & 63];
    }
    if (held > 0) coded[used++] = digits[bits << (6 - held) & 63];
    return coded;
}

/* The token of a user named "token", which nobody signed: what Kafka's own validator for tests asks for. */
static const char *token_answer(void)
{
    const long long now = (long long)time(NULL);
    const char *claims = text("{\"sub\":\"token\",\"scope\":\"kafka\",\"iat\":%lld,\"exp\":%lld}", now, now + 3600);
    const char *body = text("{\"access_token\":\"%s.%s.\",\"token_type\":\"Bearer\",\"expires_in\":3600}",
                            base64("{\"alg\":\"none\"}"), base64(claims));
    return text("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n%s",
                strlen(body), body);
}

/* Answers everybody with a token, until the fact's process ends. */
static void *serve_tokens(void *argument)
{
    const int listener = (int)(intptr_t)argument;
    for (;;) {
        char request[4096];
        const int client = accept(listener, NULL, NULL);
        if (client < 0) return NULL;
        const char *answer = token_answer();
        if (read(client, request, sizeof request) > 0) (void)!write(client, answer, strlen(answer));
        close(client);
    }
}

static const char *start_token_server(void)
{
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t size = sizeof address;
    const int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(bind(listener, (struct sockaddr *)&address, size), 0);
    ck_assert_int_eq(listen(listener, 16), 0);
    ck_assert_int_eq(getsockname(listener, (struct sockaddr *)&address, &size), 0);
    pthread_t thread;
    ck_assert_int_eq(pthread_create(&thread, NULL, serve_tokens, (void *)(intptr_t)listener), 0);
    return text("http://127.0.0.1:%d/oauth2/token", ntohs(address.sin_port));
}

START_TEST(jobs_log_in_with_tokens_of_an_identity_provider)
{
    signal(SIGPIPE, SIG_IGN);
    struct words_job job = secure_job("oauthbearer", "sasl");
    set_key(&job, "kafka.sasl.oauthbearer.token.endpoint.url", start_token_server());
    give_credential(&job, "kafka-password", "token-secret");
    expect_words(&job);
}
END_TEST

/* ---- What is refused ------------------------------------------------------------------------------------------------ */

enum { REFUSALS = 5 };

/* All at once, because each of them waits for a broker for some seconds. */
START_TEST(bounded_jobs_that_are_refused_end_and_say_why)
{
    static const struct {
        const char *listener, *password, *key, *value, *sentence;
        int status;
    } cases[REFUSALS] = {
        { "sasl", "wrong", "client.id", "x", "check kafka.sasl.mechanism, kafka.sasl.username and kafka.sasl.password", 7 },
        { "sasl", "scram-secret", "ssl.ca.location", "other-ca.pem",
          "signed by an authority that kafka.ssl.ca.location does not hold", 7 },
        { "sasl", "scram-secret", "bootstrap.servers", "localhost", "is not for a host of this name", 7 },
        { "ssl", "scram-secret", "security.protocol", "SSL", "ask for a certificate of this client", 7 },
        { "sasl", "scram-secret", "security.protocol", "PLAINTEXT", "kafka.security.protocol is not what", 6 },
    };
    struct process processes[REFUSALS];
    for (int i = 0; i < REFUSALS; i++) {
        struct words_job job = secure_job("scram", cases[i].listener);
        const char *value = cases[i].value;
        if (strcmp(cases[i].key, "ssl.ca.location") == 0) value = secure_path(value);
        if (strcmp(value, "localhost") == 0) {
            job.options.brokers = text("localhost%s", strchr(job.options.brokers, ':'));
            set_key(&job, "kafka.broker.address.family", "v4");
        } else {
            set_key(&job, text("kafka.%s", cases[i].key), value);
        }
        set_key(&job, "connect.patience", "0ms");
        give_credential(&job, "kafka-password", cases[i].password);
        process_start_job(&processes[i], &job.options, "--bounded", NULL);
    }
    for (int i = 0; i < REFUSALS; i++) {
        process_expect_end(&processes[i], cases[i].status, cases[i].sentence);
        process_free(&processes[i]);
    }
}
END_TEST

/* ---- Rights --------------------------------------------------------------------------------------------------------- */

enum { RIGHTS_MAX = 16 };

static const struct { const char *name; rd_kafka_AclOperation_t operation; } operations[] = {
    { "Read", RD_KAFKA_ACL_OPERATION_READ },
    { "Write", RD_KAFKA_ACL_OPERATION_WRITE },
    { "Create", RD_KAFKA_ACL_OPERATION_CREATE },
    { "DescribeConfigs", RD_KAFKA_ACL_OPERATION_DESCRIBE_CONFIGS },
};

static const char *word_behind(const char *line, const char *option)
{
    char word[200];
    const char *at = strstr(line, option);
    if (at == NULL || sscanf(at + strlen(option), " %199s", word) != 1) return NULL;
    return text("%s", word);
}

static struct broker_right parse_right(const char *line)
{
    static const struct { const char *option; rd_kafka_ResourceType_t type; } resources[] = {
        { "--topic ", RD_KAFKA_RESOURCE_TOPIC },
        { "--group ", RD_KAFKA_RESOURCE_GROUP },
        { "--transactional-id ", RD_KAFKA_RESOURCE_TRANSACTIONAL_ID },
    };
    struct broker_right right = { .principal = word_behind(line, "--allow-principal "),
                                  .is_prefix = strstr(line, "--resource-pattern-type prefixed") != NULL };
    const char *operation = word_behind(line, "--operation ");
    for (size_t i = 0; i < sizeof operations / sizeof operations[0]; i++)
        if (strcmp(operation, operations[i].name) == 0) right.operation = operations[i].operation;
    for (size_t i = 0; i < sizeof resources / sizeof resources[0]; i++)
        if (strstr(line, resources[i].option) != NULL) {
            right.resource = resources[i].type;
            right.name = word_behind(line, resources[i].option);
        }
    ck_assert_msg(right.operation != 0 && right.resource != 0 && right.name != NULL, "%s", line);
    return right;
}

/* What config/deploy/kafka/acls tells an administrator to run for the job. */
static int rights_of(const struct words_job *job, const char *principal, struct broker_right *rights)
{
    char line[1024];
    int count = 0;
    FILE *script = popen(text(FOLDER "acls %s %s --input %s --output %s", job->job, principal, job->input, job->output), "re");
    ck_assert_ptr_nonnull(script);
    while (fgets(line, sizeof line, script) != NULL) {
        ck_assert_int_lt(count, RIGHTS_MAX);
        rights[count++] = parse_right(line);
    }
    ck_assert_int_eq(pclose(script), 0);
    return count;
}

static struct words_job limited_job(const char *user)
{
    struct words_job job = secure_job("scram", "sasl");
    set_key(&job, "kafka.sasl.username", user);
    give_credential(&job, "kafka-password", text("%s-secret", user));
    return job;
}

/* And nobody warns of a rule that is there, though the user may not see it. */
START_TEST(the_documented_rights_suffice)
{
    struct process process;
    struct broker_right rights[RIGHTS_MAX];
    struct words_job job = limited_job("limited");
    const int count = rights_of(&job, "limited", rights);
    for (int i = 0; i < count; i++) broker_allow(&rights[i]);
    expect_words(&job);
    words_put(job.input, 0, "b");
    process_start_job(&process, &job.options, "--bounded", NULL);
    process_expect_end(&process, 0, NULL);
    ck_assert(!process_log_has(&process, "transactional-id-rule"));
    process_free(&process);
    ck_assert_str_eq(words_read(job.output, 1), "a=2 b=2");
}
END_TEST

/* The sentence that the program ends with names both what and which right. */
static void expect_named(struct process *process, const struct broker_right *right)
{
    const char *operation = "";
    for (size_t i = 0; i < sizeof operations / sizeof operations[0]; i++)
        if (operations[i].operation == right->operation) operation = operations[i].name;
    process_expect_end(process, 7, "word-count: ");
    const char *log = whole_file(process->log);
    const char *sentence = strstr(log, "word-count: ");
    ck_assert_msg(sentence != NULL && strstr(sentence, right->name) != NULL && strstr(sentence, operation) != NULL,
                  "%s of %s: %s", operation, right->name, log);
}

/* A job of its own for each. Two are needed only where there is a ledger already: by the second start. */
START_TEST(a_right_that_is_missing_is_named)
{
    struct words_job jobs[RIGHTS_MAX];
    struct process processes[RIGHTS_MAX];
    struct broker_right rights[RIGHTS_MAX], missing[RIGHTS_MAX];
    int count = 1; /* that of the first */
    for (int k = 0; k < count; k++) {
        jobs[k] = limited_job("limited");
        count = rights_of(&jobs[k], "limited", rights);
        for (int i = 0; i < count; i++)
            if (i != k) broker_allow(&rights[i]);
        missing[k] = rights[k];
        words_put(jobs[k].input, 0, "a");
        process_start_job(&processes[k], &jobs[k].options, "--bounded", NULL);
    }
    ck_assert_int_ge(count, 8);
    for (int k = 0; k < count; k++) {
        if (process_wait(&processes[k]) == 0) {
            process_free(&processes[k]);
            process_start_job(&processes[k], &jobs[k].options, "--bounded", NULL);
        }
        expect_named(&processes[k], &missing[k]);
        process_free(&processes[k]);
    }
}
END_TEST

/* A password may be changed, or a user made, after the job was started. */
START_TEST(a_job_that_is_refused_waits_and_says_so)
{
    struct process process;
    struct broker_right rights[RIGHTS_MAX];
    struct words_job job = limited_job("later");
    const int count = rights_of(&job, "later", rights);
    for (int i = 0; i < count; i++) broker_allow(&rights[i]);
    words_put(job.input, 0, "a");
    process_start_job(&process, &job.options, NULL);
    process_await_log(&process, "waiting: ");
    ck_assert(process_log_has(&process, "check kafka.sasl.mechanism, kafka.sasl.username and kafka.sasl.password"));
    ck_assert(!process_has_ended(&process));
    broker_set_password("later", "later-secret");
    words_await(job.output, 1, "a=1");
    process_stop(&process);
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_loop_test(tests, jobs_log_in_with_a_password, 0, 2);
    tcase_add_test(tests, jobs_log_in_with_a_certificate);
    tcase_add_test(tests, jobs_log_in_with_tokens_of_an_identity_provider);
    tcase_add_test(tests, bounded_jobs_that_are_refused_end_and_say_why);
    tcase_add_test(tests, the_documented_rights_suffice);
    tcase_add_test(tests, a_right_that_is_missing_is_named);
    tcase_add_test(tests, a_job_that_is_refused_waits_and_says_so);
}

int main(void)
{
    broker_start_secure();
    return unit_main("security", add);
}
