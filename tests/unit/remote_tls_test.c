/* The remote interface over HTTPS: its own certificate, those of clients, and what a person reads who got one of them wrong. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "harness/certificates.h"
#include "harness/http.h"
#include "harness/local_job.h"
#include "harness/unit.h"
#include "weir/generator.h"
#include "weir/print.h"
#include "weir/remote.h"

#define JOB "/v1/jobs/test"
#define WRITES "Authorization: Bearer write-write-write-write\r\n"
#define SSL(name) "security.ssl.rest." name

static struct weir_error error;
static weir_job *job;
static weir_remote *remote;

/* What was found before the start, or while it runs: then by the server's thread. */
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static char findings[2000];

static void note(void *user, const struct weir_finding *finding)
{
    (void)user;
    pthread_mutex_lock(&mutex);
    const size_t used = strlen(findings);
    (void)snprintf(findings + used, sizeof findings - used, "%d %s: %s\n", finding->severity, finding->check, finding->problem);
    pthread_mutex_unlock(&mutex);
}

/* In the fact's folder; good for 63 more calls. */
static const char *path_of(const char *name)
{
    static char paths[64][160];
    static size_t next;
    char *path = paths[next++ % 64];
    (void)snprintf(path, sizeof paths[0], "%s/%s", local_job.directory, name);
    return path;
}

static void set_file(const char *key, const char *name) { local_job_set(key, path_of(name)); }

static void take_line(void *user, const char *line, size_t size)
{
    (void)user;
    (void)line;
    (void)size;
}

static void begin(void)
{
    local_job_begin();
    certificates_make(local_job.directory);
    local_job_set("start.bounded", "false");
    local_job_set("rest.port", "0");
    local_job_set("rest.write-token", "write-write-write-write");
    local_job_set(SSL("enabled"), "true");
    set_file(SSL("certificate"), "server.pem");
    set_file(SSL("key.file"), "server.key");
}

static void end(void)
{
    weir_remote_stop(remote);
    if (job != NULL) weir_job_destroy(job);
    local_job_end();
}

static void open_all(void)
{
    weir_graph *graph = weir_graph_create();
    weir_print(weir_generator(graph, .name = "numbers", .per_second = 1000), .name = "out", .line = take_line);
    job = local_job_create(graph);
    local_job_await_running(job);
    ck_assert_msg(weir_remote_start(&remote, &error, .job = job, .config = local_job.config, .name = "test", .found = note) ==
                      WEIR_OK, "%s", error.text);
    http_tls.ca = path_of("ca.pem");
}

static void open_with_certificates(void)
{
    local_job_set(SSL("authentication-enabled"), "true");
    set_file(SSL("ca"), "ca.pem");
    open_all();
}

static void show(const char *certificate, const char *key)
{
    http_tls.certificate = certificate == NULL ? NULL : path_of(certificate);
    http_tls.key = key == NULL ? NULL : path_of(key);
}

static void expect(int status, const char *method, const char *path, const char *headers, const char *text)
{
    struct http_answer answer = http_ask(weir_remote_url(remote), method, path, headers, NULL);
    ck_assert_msg(answer.status == status, "%s %s: %d instead of %d: %s", method, path, answer.status, status,
                  answer.body == NULL ? "" : answer.body);
    if (text != NULL) ck_assert_msg(strstr(answer.body, text) != NULL, "no %s in %s", text, answer.body);
    http_free(&answer);
}

/* ---- Asking --------------------------------------------------------------------------------------------------------- */

START_TEST(https_answers_and_http_does_not)
{
    char plain[100];
    open_all();
    ck_assert_int_eq(strncmp(weir_remote_url(remote), "https://127.0.0.1:", 18), 0);
    expect(200, "GET", "/livez", "", "alive");
    expect(200, "GET", JOB, "", "RUNNING");
    expect(401, "POST", JOB "/stop", "", "a token is wanted");
    expect(202, "POST", JOB "/checkpoints", WRITES, "request-id");
    (void)snprintf(plain, sizeof plain, "http%s", weir_remote_url(remote) + 5);
    struct http_answer answer = http_ask(plain, "GET", "/livez", "", NULL);
    ck_assert_int_eq(answer.status, 0);
    http_free(&answer);
}
END_TEST

START_TEST(without_a_certificate_only_probes_and_the_page_are_open)
{
    open_with_certificates();
    expect(200, "GET", "/livez", "", "alive");
    expect(200, "GET", "/readyz", "", "ready");
    expect(200, "GET", "/", "", "<html");
    expect(401, "GET", "/v1/jobs", "", "a certificate is wanted");
    expect(401, "GET", "/metrics", "", "a certificate is wanted");
    expect(401, "POST", JOB "/stop", WRITES, "a certificate is wanted");
    ck_assert(local_job_status(job).running);
}
END_TEST

START_TEST(a_certificate_lets_read_and_the_token_write)
{
    open_with_certificates();
    show("client.pem", "client.key");
    expect(200, "GET", "/v1/jobs", "", "RUNNING");
    expect(200, "GET", "/metrics", "", "weir_job_running 1");
    expect(401, "POST", JOB "/stop", "", "a token is wanted");
    expect(202, "POST", JOB "/stop", WRITES, "request-id");
}
END_TEST

START_TEST(a_certificate_that_is_none_of_ours_is_none)
{
    static const struct {
        const char *certificate, *key;
    } rows[] = { { "other.pem", "other.key" }, { "client-expired.pem", "client.key" }, { "server.pem", "server.key" } };
    open_with_certificates();
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        show(rows[i].certificate, rows[i].key);
        expect(401, "GET", "/v1/jobs", WRITES, "a certificate is wanted");
    }
}
END_TEST

/* Both, where both are configured. */
START_TEST(a_read_token_is_wanted_beside_the_certificate)
{
    local_job_set("rest.read-token", "read-read-read-read");
    open_with_certificates();
    expect(401, "GET", "/v1/jobs", "Authorization: Bearer read-read-read-read\r\n", "a certificate is wanted");
    show("client.pem", "client.key");
    expect(401, "GET", "/v1/jobs", "", "a token is wanted");
    expect(200, "GET", "/v1/jobs", "Authorization: Bearer read-read-read-read\r\n", "RUNNING");
}
END_TEST

/* ClientHello of which something is missing, noise, HTTP, nothing. */
START_TEST(handshakes_that_come_to_nothing_harm_nobody)
{
    static const char *const parts[] = { "", "\x16", "\x16\x03\x01\x02", "\x16\x03\x01\x02\x01\x01\xfc\x03\x03",
                                         "GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n", "\xff\xff\xff\xff\xff\xff\xff\xff" };
    static int made[300];
    const struct linger at_once = { .l_onoff = 1 };
    open_all();
    for (size_t i = 0; i < sizeof made / sizeof made[0]; i++) {
        const char *part = parts[i % (sizeof parts / sizeof parts[0])];
        made[i] = http_connect(weir_remote_url(remote));
        ck_assert_int_ge(made[i], 0);
        (void)send(made[i], part, strlen(part), MSG_NOSIGNAL);
        if (i % 2 == 0) (void)setsockopt(made[i], SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
        if (i % 3 == 0) close(made[i]), made[i] = -1;
    }
    expect(200, "GET", "/livez", "", "alive");
    for (size_t i = 0; i < sizeof made / sizeof made[0]; i++)
        if (made[i] >= 0) close(made[i]);
    expect(200, "GET", "/livez", "", "alive");
    const uint64_t before = local_job_status(job).records_in;
    local_job_await_records(job, before + 1);
}
END_TEST

/* A byte a second is more than these send. */
START_TEST(handshakes_that_dawdle_hold_up_nobody)
{
    static int made[50];
    open_all();
    for (size_t i = 0; i < 50; i++) {
        made[i] = http_connect(weir_remote_url(remote));
        ck_assert_int_ge(made[i], 0);
    }
    /* Between any two bytes of theirs somebody else is answered. */
    for (size_t sent = 0; sent < 9; sent++) {
        for (size_t i = 0; i < 50; i++)
            ck_assert_int_eq(send(made[i], &"\x16\x03\x01\x02\x01\x01\xfc\x03\x03"[sent], 1, MSG_NOSIGNAL), 1);
        expect(200, "GET", "/livez", "", "alive");
    }
    for (size_t i = 0; i < 50; i++) close(made[i]);
}
END_TEST

/* ---- Certificates that are renewed ---------------------------------------------------------------------------------- */

static void copy_file(const char *from, const char *to)
{
    char text[8192];
    FILE *source = fopen(path_of(from), "re"), *target = fopen(path_of("being-copied"), "we");
    ck_assert(source != NULL && target != NULL);
    const size_t size = fread(text, 1, sizeof text, source);
    ck_assert_uint_eq(fwrite(text, 1, size, target), size);
    fclose(source);
    fclose(target);
    ck_assert_int_eq(rename(path_of("being-copied"), path_of(to)), 0);
}

/* The server looks once a second. */
static void await_finding(const char *text)
{
    for (bool is_told = false; !is_told;) {
        pthread_mutex_lock(&mutex);
        is_told = strstr(findings, text) != NULL;
        if (is_told) findings[0] = '\0';
        pthread_mutex_unlock(&mutex);
        if (!is_told) (void)usleep(10000);
    }
}

static int status_of(const char *path)
{
    struct http_answer answer = http_ask(weir_remote_url(remote), "GET", path, "", NULL);
    const int status = answer.status;
    http_free(&answer);
    return status;
}

/* That of a stranger is seen by his being refused. */
START_TEST(a_new_certificate_is_used_without_a_new_start)
{
    copy_file("server.pem", "good.pem");
    copy_file("server.key", "good.key");
    open_all();
    expect(200, "GET", "/livez", "", "alive");
    copy_file("other.pem", "server.pem");
    copy_file("other.key", "server.key");
    await_finding("0 rest-certificate-renewed");
    ck_assert_int_eq(status_of("/livez"), 0);
    copy_file("good.pem", "server.pem");
    copy_file("good.key", "server.key");
    await_finding("0 rest-certificate-renewed");
    expect(200, "GET", JOB, "", "RUNNING");
    copy_file("soon.pem", "server.pem");
    await_finding("1 rest-certificate-time");
    expect(200, "GET", "/livez", "", "alive");
}
END_TEST

START_TEST(a_new_certificate_that_is_of_no_use_is_told_and_not_used)
{
    open_all();
    copy_file("client.pem", "server.pem");
    await_finding("1 rest-certificate-kept: the certificates have changed, and cannot be used: security.ssl.rest.key is not the");
    expect(200, "GET", "/livez", "", "alive");
    ck_assert_int_eq(unlink(path_of("server.pem")), 0);
    await_finding("server.pem cannot be read: No such file");
    copy_file("server.key", "server.pem");
    await_finding("server.pem does not hold certificates in PEM: No certificate was found\n");
    expect(200, "GET", "/livez", "", "alive");
}
END_TEST

/* By whoever starts it, or later by itself: this one has two seconds left until it is time. */
START_TEST(a_job_that_runs_tells_before_its_certificate_expires)
{
    set_file(SSL("certificate"), "almost.pem");
    open_all();
    weir_remote_examine(local_job.config, note, NULL);
    await_finding("1 rest-certificate-time");
}
END_TEST

START_TEST(authorities_of_clients_are_renewed_too)
{
    copy_file("ca.pem", "clients.pem");
    local_job_set(SSL("authentication-enabled"), "true");
    set_file(SSL("ca"), "clients.pem");
    open_all();
    show("client.pem", "client.key");
    expect(200, "GET", "/v1/jobs", "", "RUNNING");
    copy_file("other.pem", "clients.pem");
    await_finding("0 rest-certificate-renewed");
    expect(401, "GET", "/v1/jobs", "", "a certificate is wanted");
}
END_TEST

/* ---- What is refused ------------------------------------------------------------------------------------------------ */

static void expect_refusal(enum weir_code code, const char *text)
{
    ck_assert_int_eq(weir_remote_start(&remote, &error, .config = local_job.config, .name = "test"), code);
    ck_assert_msg(strstr(error.text, text) != NULL, "%s: %s", text, error.text);
    ck_assert_ptr_null(remote);
}

START_TEST(what_does_not_belong_together_is_refused)
{
    local_job_set(SSL("authentication-enabled"), "true");
    expect_refusal(WEIR_USAGE, "security.ssl.rest.ca is not set");
    local_job_set(SSL("enabled"), "false");
    expect_refusal(WEIR_USAGE, "only HTTPS has");
    weir_config_destroy(local_job.config);
    local_job.config = weir_config_create();
    local_job_set("rest.port", "0");
    local_job_set(SSL("enabled"), "true");
    expect_refusal(WEIR_USAGE, "security.ssl.rest.key.file must name");
    set_file(SSL("key.file"), "server.key");
    expect_refusal(WEIR_USAGE, "security.ssl.rest.certificate is not set");
}
END_TEST

START_TEST(files_that_are_of_no_use_are_refused)
{
    static const struct {
        const char *key, *file, *text;
    } rows[] = {
        { SSL("certificate"), "none.pem", "none.pem cannot be read: No such file" },
        { SSL("certificate"), "server.key", "does not hold certificates in PEM" },
        { SSL("certificate"), "server.pem", NULL },
        { SSL("key.file"), "client.key", "is not the key of the certificate" },
        { SSL("key.file"), "ca.pem", "is no key in PEM" },
        { SSL("key.file"), "server.key", NULL },
        { SSL("ca"), "none.pem", "none.pem cannot be read: No such file" },
        { SSL("ca"), "server.key", "does not hold certificates in PEM" },
    };
    local_job_set(SSL("authentication-enabled"), "true");
    set_file(SSL("ca"), "ca.pem");
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        set_file(rows[i].key, rows[i].file);
        if (rows[i].text != NULL) expect_refusal(WEIR_ENVIRONMENT, rows[i].text);
        ck_assert_ptr_null(strstr(error.text, "PRIVATE"));
    }
}
END_TEST

/* Encryption alone lets everybody ask. */
START_TEST(what_others_can_reach_needs_a_token_or_certificates)
{
    local_job_set("rest.bind-address", "0.0.0.0");
    expect_refusal(WEIR_USAGE, "security.ssl.rest.authentication-enabled");
    open_with_certificates();
}
END_TEST

/* ---- What is told beforehand ---------------------------------------------------------------------------------------- */

static void expect_findings(const char *text)
{
    findings[0] = '\0';
    weir_remote_examine(local_job.config, note, NULL);
    if (text[0] == '\0') ck_assert_str_eq(findings, "");
    ck_assert_msg(strstr(findings, text) != NULL, "no '%s' in '%s'", text, findings);
}

START_TEST(what_a_certificate_will_come_to_is_told)
{
    expect_findings("");
    set_file(SSL("certificate"), "soon.pem");
    expect_findings("1 rest-certificate-time: the certificate of ");
    expect_findings("soon.pem expires at 2");
    set_file(SSL("certificate"), "expired.pem");
    expect_findings("expired.pem is not valid any more since 2");
    ck_assert_int_eq(weir_remote_start(&remote, &error, .config = local_job.config, .name = "test"), WEIR_OK);
    set_file(SSL("certificate"), "none.pem");
    expect_findings("2 rest-refused: security.ssl.rest.certificate");
}
END_TEST

START_TEST(what_can_be_read_on_its_way_is_told)
{
    local_job_set(SSL("enabled"), "false");
    expect_findings("");
    local_job_set("rest.bind-address", "0.0.0.0");
    expect_findings("2 rest-refused: rest.bind-address is '0.0.0.0'");
    local_job_set("rest.read-token", "read-read-read-read");
    expect_findings("1 rest-unencrypted: rest.bind-address is '0.0.0.0'");
    local_job_set(SSL("enabled"), "true");
    expect_findings("");
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_checked_fixture(tests, begin, end);
    tcase_add_test(tests, https_answers_and_http_does_not);
    tcase_add_test(tests, without_a_certificate_only_probes_and_the_page_are_open);
    tcase_add_test(tests, a_certificate_lets_read_and_the_token_write);
    tcase_add_test(tests, a_certificate_that_is_none_of_ours_is_none);
    tcase_add_test(tests, a_read_token_is_wanted_beside_the_certificate);
    tcase_add_test(tests, handshakes_that_come_to_nothing_harm_nobody);
    tcase_add_test(tests, handshakes_that_dawdle_hold_up_nobody);
    tcase_add_test(tests, a_new_certificate_is_used_without_a_new_start);
    tcase_add_test(tests, a_new_certificate_that_is_of_no_use_is_told_and_not_used);
    tcase_add_test(tests, a_job_that_runs_tells_before_its_certificate_expires);
    tcase_add_test(tests, authorities_of_clients_are_renewed_too);
    tcase_add_test(tests, what_does_not_belong_together_is_refused);
    tcase_add_test(tests, files_that_are_of_no_use_are_refused);
    tcase_add_test(tests, what_others_can_reach_needs_a_token_or_certificates);
    tcase_add_test(tests, what_a_certificate_will_come_to_is_told);
    tcase_add_test(tests, what_can_be_read_on_its_way_is_told);
}

int main(void) { return unit_main("remote_tls", add); }
