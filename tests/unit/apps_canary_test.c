/* A secret that is put into every kind of place shows up in no output: not as configuration, not in the log at any level, not in
 * errors, not at the control socket. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "harness/process.h"
#include "harness/unit.h"
#include "weir/weir.h"

#define CANARY "tweety-4711-tweety"
#define WEIR WEIR_BINARY_DIR "/apps/weir"
#define WORD_COUNT WEIR_BINARY_DIR "/apps/word-count --input lines --output counts --job canary --brokers 127.0.0.1:1"
#define SAMPLE WEIR_BINARY_DIR "/apps/sample-aggregating --records 300000000 --bounded --job canary"

static char output[4000000];

static struct process_output said = { .text = output, .room = sizeof output };

static int keep_quiet(int status)
{
    ck_assert_msg(memmem(output, said.size, CANARY, strlen(CANARY)) == NULL, "the secret is told: %s", output);
    return status;
}

/* Runs a command of the shell with all its output; whatever comes of it, the canary is not in it. Answers the exit status. */
#define quiet(...) keep_quiet(process_shell(&said, __VA_ARGS__))

static const char *write_file(const char *name, const char *text)
{
    const char *path = process_path("%s", name);
    FILE *file = fopen(path, "we");
    ck_assert_ptr_nonnull(file);
    ck_assert_int_ge(fputs(text, file), 0);
    ck_assert_int_eq(fclose(file), 0);
    return path;
}

/* Ways to say one secret, as arguments and as environment. */
static struct place {
    const char *name;
    char environment[3000], arguments[3000];
} places[16];
static size_t place_count;

static void add_place(const char *name, const char *environment, const char *arguments)
{
    struct place *place = &places[place_count++];
    place->name = name;
    (void)snprintf(place->environment, sizeof place->environment, "%s", environment);
    (void)snprintf(place->arguments, sizeof place->arguments, "%s", arguments);
}

static void begin(void)
{
    char text[3000];
    const char *yaml = write_file("job.yaml", "kafka:\n  sasl.password: " CANARY "\n  ssl.key.password: \"" CANARY "\"\n");
    const char *properties = write_file("client.properties", "sasl.password=" CANARY "\nssl.keystore.password=" CANARY "\n");
    const char *secret = write_file("secret", CANARY "\n");
    place_count = 0;
    (void)snprintf(text, sizeof text, "--config '%s'", yaml);
    add_place("the job's file", "", text);
    (void)snprintf(text, sizeof text, "WEIR_SITE_CONFIG='%s'", yaml);
    add_place("the site's file", text, "");
    add_place("the environment", "WEIR_PROPERTIES='kafka.sasl.password: " CANARY "'", "");
    add_place("the command line", "", "-X kafka.sasl.password=" CANARY);
    add_place("keys of one role", "", "-X kafka.producer.sasl.password=" CANARY " -X kafka.consumer.ssl.key.pem=" CANARY);
    add_place("OAuth", "", "-X kafka.sasl.oauthbearer.client.secret=" CANARY " -X kafka.sasl.oauthbearer.config=principal=x");
    (void)snprintf(text, sizeof text, "--kafka-config '%s'", properties);
    add_place("properties", "", text);
    (void)snprintf(text, sizeof text, "-X kafka.sasl.password.file='%s'", secret);
    add_place("a file of its own", "", text);
    (void)snprintf(text, sizeof text, "CREDENTIALS_DIRECTORY='%s'", process_folder());
    add_place("a credential of the system", text, "-X kafka.sasl.password.file=secret");
    add_place("a URL", "", "-X kafka.sasl.oauthbearer.token.endpoint.url=https://" "me:" CANARY "@127.0.0.1:1/token "
              "-X kafka.client.rack=https://" CANARY "@host");
    (void)snprintf(text, sizeof text, "-X rest.read-token=" CANARY " -X rest.write-token.file='%s' -X rest.port=0", secret);
    add_place("tokens of the remote interface", "WEIR_TOKEN=" CANARY, text);
}

START_TEST(configuration_that_is_shown_has_no_secret)
{
    for (size_t i = 0; i < place_count; i++) {
        ck_assert_msg(quiet("%s " WORD_COUNT " --checkpoint-dir /tmp %s --show-config 2>&1", places[i].environment,
                            places[i].arguments) == 0, "%s: %s", places[i].name, output);
        ck_assert_msg(strstr(output, "secret") != NULL, "%s: %s", places[i].name, output);
        ck_assert_int_eq(quiet("%s " WEIR " config show --effective %s 2>&1", places[i].environment, places[i].arguments), 0);
        ck_assert_int_eq(quiet("%s " WEIR " config show -o json %s 2>&1", places[i].environment, places[i].arguments), 0);
        ck_assert_msg(strstr(output, "\"secret\": true") != NULL, "%s: %s", places[i].name, output);
    }
}
END_TEST

/* Nobody answers, so everything that librdkafka has to say of it is said. */
START_TEST(the_log_has_no_secret_at_any_level)
{
    for (size_t i = 0; i < place_count; i += 3) { /* each waits for a while */
        const int status = quiet("%s timeout 120 " WORD_COUNT " --checkpoint-dir '%s' --bounded %s -X log.level=debug -X "
                                 "kafka.debug=all -X connect.patience=200ms -X kafka.security.protocol=SASL_PLAINTEXT "
                                 "-X kafka.sasl.username=me -X log.format=json 2>&1",
                                 places[i].environment, process_folder(), places[i].arguments);
        ck_assert_msg(status == 6 || status == 2, "%s: %d: %s", places[i].name, status, output);
        ck_assert(strlen(output) > 0);
    }
}
END_TEST

START_TEST(an_examination_has_no_secret)
{
    for (size_t i = 0; i < place_count; i += 4) {
        (void)quiet("%s " WORD_COUNT " --checkpoint-dir '%s' %s --validate 2>&1", places[i].environment, process_folder(),
                    places[i].arguments);
        ck_assert_msg(strstr(output, "job 'canary'") != NULL, "%s: %s", places[i].name, output);
        ck_assert_int_eq(quiet("%s " WORD_COUNT " --checkpoint-dir /tmp %s --plan 2>&1", places[i].environment,
                               places[i].arguments), 0);
    }
}
END_TEST

/* What goes wrong right beside it. */
START_TEST(errors_have_no_secret)
{
    const char *broken = write_file("broken.yaml", "kafka.sasl.password: \"" CANARY "\n  x: [\n");
    const char *twice = write_file("twice.yaml", "kafka.sasl.password: " CANARY "\nkafka.sasl.password: " CANARY "\n");
    const char *lines = write_file("lines.properties", "sasl.password " CANARY "\n");
    const char *list = write_file("list.yaml", "kafka.sasl.password: [" CANARY "]\n");
    ck_assert_int_eq(quiet(WEIR " config show --config '%s' 2>&1", broken), 2);
    ck_assert_int_eq(quiet(WEIR " config show --config '%s' 2>&1", twice), 2);
    ck_assert_int_eq(quiet(WEIR " config show --config '%s' 2>&1", list), 2);
    ck_assert_int_eq(quiet(WEIR " config show --kafka-config '%s' 2>&1", lines), 2);
    ck_assert_int_eq(quiet(WEIR " config show -X sasl.pasword=" CANARY " 2>&1"), 2);
    ck_assert_int_eq(quiet(WORD_COUNT " --checkpoint-dir /tmp --validate -X kafka.sasl.pasword=" CANARY " 2>&1"), 2);
    ck_assert_int_eq(quiet(WORD_COUNT " --checkpoint-dir /tmp --validate -X kafka.sasl.jaas.config=" CANARY " 2>&1"), 2);
    ck_assert_int_eq(quiet(WORD_COUNT " --pasword=" CANARY " 2>&1"), 2);
    ck_assert_int_eq(quiet(WEIR " status http://" "me:" CANARY "@127.0.0.1:1 2>&1"), 2);
    ck_assert_int_eq(quiet("WEIR_TOKEN=" CANARY " " WEIR " status http://127.0.0.1:1 2>&1"), 7);
}
END_TEST

START_TEST(a_running_job_tells_no_secret)
{
    const char *folder = process_folder();
    for (size_t i = 0; i < 5; i++)
        ck_assert_int_eq(quiet("export WEIR_RUNTIME_DIR=$(mktemp -d /tmp/weir-canary-XXXXXX); "
                               "%s " SAMPLE " --checkpoint-dir '%s' --fresh --progress 100ms -X log.level=debug %s >"
                               "'%s/out' 2>&1 & job=$!; for i in $(seq 1 500); do " WEIR " status canary 2>&1 && break; "
                               "sleep 0.02; done; " WEIR " list -o json; " WEIR " checkpoint canary; "
                               WEIR " cancel canary; wait $job; "
                               "head -c 100000 '%s/out'; rm -rf \"$WEIR_RUNTIME_DIR\"",
                               places[i].environment, folder, places[i].arguments, folder, folder), 0);
    ck_assert_msg(strstr(output, "incarnation") != NULL, "%s", output);
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_checked_fixture(tests, begin, NULL);
    tcase_add_test(tests, configuration_that_is_shown_has_no_secret);
    tcase_add_test(tests, the_log_has_no_secret_at_any_level);
    tcase_add_test(tests, an_examination_has_no_secret);
    tcase_add_test(tests, errors_have_no_secret);
    tcase_add_test(tests, a_running_job_tells_no_secret);
}

int main(void) { return unit_main("canary", add); }
