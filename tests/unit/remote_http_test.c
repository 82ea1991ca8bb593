/* A job in this process behind the remote interface, and clients before it: who behave, who do not, and very many. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "harness/http.h"
#include "harness/local_job.h"
#include "harness/unit.h"
#include "remote/routes.h"
#include "weir/generator.h"
#include "weir/print.h"

#define READ_TOKEN "read-read-read-read"
#define WRITE_TOKEN "write-write-write-write"
#define JOB "/v1/jobs/test"
#define WRITES "Authorization: Bearer " WRITE_TOKEN "\r\n"
#define JSON "Content-Type: application/json\r\n"

static struct weir_error error;
static weir_job *job;
static weir_remote *remote;
static const char *url;
static char savepoints[100];
static _Atomic uint32_t asked;

static void take_line(void *user, const char *line, size_t size)
{
    (void)user;
    (void)line;
    (void)size;
}

static enum weir_code pass(weir_task *task, const struct weir_record *record)
{
    return weir_emit(task, .key = record->key, .value = record->value);
}

/* Two vertices. */
static weir_graph *graph_of(uint64_t per_second)
{
    weir_graph *graph = weir_graph_create();
    struct weir_stream numbers = weir_generator(graph, .name = "numbers", .splits = 3, .per_second = per_second);
    weir_print(weir_flat_map(weir_rebalance(numbers), .name = "pass", .process = pass), .name = "out", .line = take_line);
    return graph;
}

static enum weir_code note_parallelism(void *user, uint32_t parallelism, struct weir_error *refusal)
{
    (void)user;
    (void)refusal;
    atomic_store(&asked, parallelism);
    return WEIR_OK;
}

static void open_remote(void)
{
    ck_assert_msg(weir_remote_start(&remote, &error, .job = job, .config = local_job.config, .name = "test",
                                    .rescale = note_parallelism) == WEIR_OK, "%s", error.text);
    url = weir_remote_url(remote);
}

static void begin_job(void)
{
    local_job_begin();
    (void)snprintf(savepoints, sizeof savepoints, "%s/savepoints", local_job.directory);
    local_job_set("start.bounded", "false");
    local_job_set("execution.checkpointing.savepoint-dir", savepoints);
    local_job_set("rest.port", "0");
    local_job_set("rest.write-token", WRITE_TOKEN);
    job = local_job_create(graph_of(1000));
    local_job_await_running(job);
    open_remote();
}

static void end_job(void)
{
    weir_remote_stop(remote);
    if (job != NULL) weir_job_destroy(job);
    local_job_end();
}

/* The body of an answer with this status; free it. */
static char *expect(int status, const char *method, const char *path, const char *headers, const char *body)
{
    struct http_answer answer = http_ask(url, method, path, headers, body);
    ck_assert_msg(answer.status == status, "%s %s: %d instead of %d: %s", method, path, answer.status, status, answer.body);
    if (status >= 400) ck_assert_str_eq(http_header(&answer, "Content-Type"), "application/problem+json");
    char *text = strdup(answer.body);
    http_free(&answer);
    return text;
}

static void expect_status(int status, const char *method, const char *path, const char *headers, const char *body)
{
    free(expect(status, method, path, headers, body));
}

static void expect_text(const char *path, const char *text)
{
    char *body = expect(200, "GET", path, "", NULL);
    ck_assert_msg(strstr(body, text) != NULL, "%s: no %s in %s", path, text, body);
    free(body);
}

/* Begins something, and waits for the end of it: what its status says then; free it. */
static char *expect_done(const char *path, const char *status_path, const char *body)
{
    char id[64] = "", where[200];
    char *text = expect(202, "POST", path, WRITES JSON, body);
    ck_assert_int_eq(sscanf(text, "{\"request-id\":\"%63[0-9a-f]\"}", id), 1);
    free(text);
    ck_assert_uint_eq(strlen(id), 32);
    (void)snprintf(where, sizeof where, "%s/%s", status_path, id);
    for (;;) {
        text = expect(200, "GET", where, "", NULL);
        if (strstr(text, "COMPLETED") != NULL) return text;
        free(text);
    }
}

/* ---- What there is to read ------------------------------------------------------------------------------------------ */

START_TEST(every_path_answers)
{
    expect_text("/livez", "alive");
    expect_text("/readyz", "ready");
    expect_text("/v1/overview", "\"job\":\"test\"");
    expect_text("/v1/jobs", "{\"jobs\":[{\"id\":\"test\",\"status\":\"RUNNING\"}]}");
    expect_text("/v1/jobs/overview", "\"state\":\"RUNNING\"");
    expect_text(JOB, "\"name\":\"pass -> out\"");
    expect_text(JOB "/plan", "\"ship_strategy\":\"rebalance\"");
    expect_text(JOB "/config", "rest.bind-address");
    expect_text(JOB "/exceptions", "\"root-exception\":null");
    expect_text(JOB "/metrics", "weir_checkpoint_phase_duration_seconds");
    expect_text(JOB "/lag", "\"splits\":[");
    expect_text(JOB "/vertices/0", "\"name\":\"numbers\"");
    expect_text(JOB "/vertices/1/backpressure", "\"backpressureLevel\":\"");
    expect_text(JOB "/vertices/1/watermarks", "[]");
    expect_text(JOB "/checkpoints/config", "\"interval\":5");
    expect_text("/", "<html");
    expect_text("/openapi.yaml", "openapi: 3");
}
END_TEST

START_TEST(checkpoints_are_listed_with_their_phases)
{
    char path[100];
    struct weir_job_status status;
    do status = local_job_status(job); while (status.epoch_committed < 3);
    expect_text(JOB "/checkpoints", "\"status\":\"COMPLETED\"");
    expect_text(JOB "/checkpoints", "\"p99\":");
    (void)snprintf(path, sizeof path, JOB "/checkpoints/details/%llu", (unsigned long long)status.epoch_committed);
    expect_text(path, "\"phases\":{\"alignment\":");
    expect_status(404, "GET", JOB "/checkpoints/details/99999999", "", NULL);
    expect_status(404, "GET", JOB "/checkpoints/details/x", "", NULL);
}
END_TEST

START_TEST(chosen_metrics_come_alone)
{
    char *body = expect(200, "GET", JOB "/metrics?get=weir_job_running,weir_job_restarts_total", "", NULL);
    ck_assert_str_eq(body, "[{\"id\":\"weir_job_running\",\"value\":1},{\"id\":\"weir_job_restarts_total\",\"value\":0}]");
    free(body);
}
END_TEST

START_TEST(who_asks_for_the_head_gets_no_body)
{
    struct http_answer answer = http_ask(url, "HEAD", JOB "/plan", "", NULL);
    ck_assert_int_eq(answer.status, 200);
    ck_assert_uint_eq(answer.size, 0);
    http_free(&answer);
}
END_TEST

/* ---- What is refused ------------------------------------------------------------------------------------------------ */

START_TEST(what_is_not_there_is_not_found)
{
    expect_status(404, "GET", "/v1", "", NULL);
    expect_status(404, "GET", "/v1/jobs/other", "", NULL);
    expect_status(404, "GET", "/v1/jobs/", "", NULL);
    expect_status(404, "GET", JOB "/", "", NULL);
    expect_status(404, "GET", JOB "/vertices/2", "", NULL);
    expect_status(404, "GET", JOB "/vertices/-1", "", NULL);
    expect_status(404, "GET", JOB "/vertices/4294967296", "", NULL);
    expect_status(404, "GET", JOB "/vertices/0x0", "", NULL);
    expect_status(404, "GET", JOB "/savepoints/0123456789abcdef0123456789abcdef", "", NULL);
    expect_status(404, "GET", JOB "/rescale/0123456789abcdef0123456789abcdef", "", NULL);
    expect_status(404, "GET", "/../../etc/passwd", "", NULL);
    expect_status(404, "GET", "/v1/jobs/..%2f..%2fetc%2fpasswd", "", NULL);
    expect_status(404, "GET", "/%2e%2e/etc/passwd", "", NULL);
    expect_status(404, "GET", "/livez%00", "", NULL);
    expect_status(404, "GET", JOB "%00/stop", "", NULL);
}
END_TEST

START_TEST(a_path_has_its_methods)
{
    struct http_answer answer = http_ask(url, "DELETE", JOB, WRITES, NULL);
    ck_assert_int_eq(answer.status, 405);
    ck_assert_str_eq(http_header(&answer, "Allow"), "GET, HEAD, PATCH");
    http_free(&answer);
    expect_status(405, "GET", JOB "/stop", "", NULL);
    expect_status(405, "POST", "/livez", "", NULL);
    expect_status(405, "PUT", JOB "/checkpoints", "", NULL);
    expect_status(405, "OPTIONS", JOB "/checkpoints", "", NULL);
    answer = http_ask(url, "PATCH", "/v1/jobs/overview", WRITES, NULL); /* and no job of that name */
    ck_assert_int_eq(answer.status, 405);
    ck_assert_str_eq(http_header(&answer, "Allow"), "GET, HEAD");
    http_free(&answer);
}
END_TEST

START_TEST(nothing_is_changed_without_the_write_token)
{
    expect_status(401, "POST", JOB "/checkpoints", "", NULL);
    expect_status(401, "POST", JOB "/savepoints", "", NULL);
    expect_status(401, "POST", JOB "/stop", "", NULL);
    expect_status(401, "POST", JOB "/rescale", JSON, "{\"parallelism\":2}");
    expect_status(401, "PATCH", JOB, "", NULL);
    expect_status(403, "POST", JOB "/stop", "Authorization: Bearer " READ_TOKEN "\r\n", NULL);
    ck_assert(local_job_status(job).running);
    ck_assert_uint_eq(asked, 0);
}
END_TEST

START_TEST(a_page_of_another_origin_is_refused)
{
    expect_status(421, "GET", "/livez", "Host: evil.example\r\n", NULL);
    expect_status(403, "GET", "/livez", "Origin: http://" "evil.example\r\n", NULL);
    expect_status(403, "POST", JOB "/stop", WRITES "Origin: null\r\n", NULL);
    expect_status(403, "GET", "/v1/jobs", "Sec-Fetch-Site: cross-site\r\n", NULL);
    expect_status(200, "GET", "/v1/jobs", "Host: localhost:1\r\nOrigin: http://localhost:1\r\n", NULL);
}
END_TEST

START_TEST(bodies_are_held_to_what_is_known)
{
    static const struct {
        int status;
        const char *path, *body;
    } rows[] = {
        { 400, "/rescale", "{\"parallelism\":0}" },
        { 400, "/rescale", "{\"parallelism\":129}" },
        { 400, "/rescale", "{\"parallelism\":1e2}" },
        { 400, "/rescale", "{\"parallelism\":\"2\"}" },
        { 400, "/rescale", "{}" },
        { 400, "/rescale", "[2]" },
        { 400, "/rescale", "{\"parallelism\":2" },
        { 400, "/rescale", "{\"parallelism\":2,\"more\":1}" },
        { 400, "/rescale", "{\"parallelism\":99999999999999999999}" },
        { 400, "/savepoints", "{\"target-directory\":5}" },
        { 400, "/savepoints", "{\"target-directory\":\"../x\"}" },
        { 400, "/savepoints", "{\"target-directory\":\"/etc\"}" },
        { 400, "/savepoints", "{\"target-directory\":\"a\\u0000b\"}" },
        { 400, "/savepoints", "{\"cancel-job\":1}" },
        { 400, "/savepoints", "{\"execution.checkpointing.dir\":\"/tmp\"}" },
        { 400, "/stop", "{\"targetDirectory\":\"..\"}" },
        { 400, "/stop", "{\"savepoint\":\"yes\"}" },
        { 400, "/checkpoints", "{\"checkpointType\":\"FULL\"}" },
        { 400, "/checkpoints", "null" },
        { 400, "/checkpoints", "{\"a\":{\"b\":[1,2" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char path[100];
        (void)snprintf(path, sizeof path, JOB "%s", rows[i].path);
        expect_status(rows[i].status, "POST", path, WRITES JSON, rows[i].body);
    }
    expect_status(415, "POST", JOB "/rescale", WRITES, "{\"parallelism\":2}");
    expect_status(415, "POST", JOB "/rescale", WRITES "Content-Type: text/plain\r\n", "{\"parallelism\":2}");
    expect_status(400, "PATCH", JOB "?mode=stop", WRITES, NULL);
    ck_assert(local_job_status(job).running);
    ck_assert_uint_eq(asked, 0);
}
END_TEST

/* A body that says its length, one that does not, and a header, all too long. */
START_TEST(what_is_too_long_is_refused)
{
    enum { LONG = 100000 };
    char *text = malloc(LONG + 1);
    memset(text, ' ', LONG);
    text[LONG] = '\0';
    struct http_answer answer = http_ask(url, "POST", JOB "/checkpoints", WRITES JSON, text);
    ck_assert_int_eq(answer.status, 413);
    http_free(&answer);

    char *request;
    size_t size;
    FILE *file = open_memstream(&request, &size);
    (void)fprintf(file, "POST " JOB "/checkpoints HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n" WRITES JSON
                        "Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", LONG, text);
    (void)fclose(file);
    answer = http_ask_raw(url, request, size);
    ck_assert_int_eq(answer.status, 413);
    http_free(&answer);
    free(request);

    memset(text, 'x', LONG);
    file = open_memstream(&request, &size);
    (void)fprintf(file, "GET /livez HTTP/1.1\r\nHost: localhost\r\nX-Long: %s\r\n\r\n", text);
    (void)fclose(file);
    answer = http_ask_raw(url, request, size);
    ck_assert_msg(answer.status == 0 || (answer.status >= 400 && answer.status < 500), "%d", answer.status);
    http_free(&answer);
    free(request);
    free(text);
    expect_text("/livez", "alive");
}
END_TEST

START_TEST(answers_are_not_kept_nor_framed)
{
    struct http_answer answer = http_ask(url, "GET", "/v1/jobs", "", NULL);
    ck_assert_str_eq(http_header(&answer, "Cache-Control"), "no-store");
    ck_assert_str_eq(http_header(&answer, "X-Content-Type-Options"), "nosniff");
    ck_assert_str_eq(http_header(&answer, "Content-Security-Policy"), "default-src 'none'; frame-ancestors 'none'");
    ck_assert_str_eq(http_header(&answer, "Access-Control-Allow-Origin"), "");
    http_free(&answer);
    answer = http_ask(url, "GET", "/", "", NULL);
    const char *policy = http_header(&answer, "Content-Security-Policy");
    ck_assert_ptr_nonnull(strstr(policy, "default-src 'none'"));
    ck_assert_ptr_null(strstr(policy, "unsafe"));
    char nonce[40];
    ck_assert_int_eq(sscanf(strstr(policy, "'nonce-"), "'nonce-%32[0-9a-f]'", nonce), 1);
    ck_assert_ptr_nonnull(strstr(answer.body, nonce));
    ck_assert_ptr_null(strstr(answer.body, "@NONCE@"));
    http_free(&answer);
}
END_TEST

/* ---- The page ------------------------------------------------------------------------------------------------------- */

/* Nothing from elsewhere, nothing that the policy would stop, and every place that the script fills is there. */
START_TEST(the_page_is_whole)
{
    static const char *const wanting[] = { "src=\"", "href=\"http", "@import", "url(", " style=\"", "onclick", "onload", "eval(",
                                           "innerHTML", "document.write", "localStorage", "sessionStorage", "document.cookie" };
    char *page = expect(200, "GET", "/", "", NULL);
    for (size_t i = 0; i < sizeof wanting / sizeof wanting[0]; i++) {
        const char *found = strstr(page, wanting[i]);
        while (found != NULL && strncmp(found, "url(#tip)", 9) == 0) found = strstr(found + 1, wanting[i]);
        ck_assert_msg(found == NULL, "%.80s", found);
    }
    int places = 0;
    for (const char *at = page; (at = strstr(at, "$(\"")) != NULL; at++, places++) {
        char id[64], place[80];
        ck_assert_int_eq(sscanf(at, "$(\"%63[a-z-]\")", id), 1);
        (void)snprintf(place, sizeof place, "id=\"%s\"", id);
        ck_assert_msg(strstr(page, place) != NULL, "the script looks for %s", id);
    }
    ck_assert_int_ge(places, 20);
    free(page);
}
END_TEST

/* In a real browser, where somebody says so: it takes seconds, and more on a busy machine. */
START_TEST(a_browser_shows_the_job)
{
    char command[400], line[4000];
    bool shows_state = false, shows_vertex = false, shows_rate = false;
    if (getenv("WEIR_TEST_CHROMIUM") == NULL) {
        (void)fprintf(stderr, "WEIR_TEST_CHROMIUM does not name a browser: the page was not looked at in one\n");
        return;
    }
    (void)snprintf(command, sizeof command,
                   "'%s' --headless --no-sandbox --disable-gpu --virtual-time-budget=5000 --dump-dom %s/ 2>/dev/null",
                   getenv("WEIR_TEST_CHROMIUM"), url);
    FILE *page = popen(command, "r");
    ck_assert_ptr_nonnull(page);
    while (fgets(line, sizeof line, page) != NULL) {
        shows_state |= strstr(line, "chip RUNNING") != NULL;
        shows_vertex |= strstr(line, "pass -&gt; out: ") != NULL;
        shows_rate |= strstr(line, " /s</text>") != NULL;
    }
    ck_assert_int_eq(pclose(page), 0);
    ck_assert(shows_state && shows_vertex && shows_rate);
}
END_TEST

/* ---- What can be begun ---------------------------------------------------------------------------------------------- */

START_TEST(a_checkpoint_is_taken_when_it_is_asked_for)
{
    char *text = expect_done(JOB "/checkpoints", JOB "/checkpoints", NULL);
    ck_assert_ptr_nonnull(strstr(text, "\"checkpointId\":"));
    free(text);
    free(expect_done(JOB "/checkpoints", JOB "/checkpoints", "{\"checkpointType\":\"INCREMENTAL\"}"));
}
END_TEST

START_TEST(a_savepoint_lies_where_it_was_asked_for)
{
    char *text = expect_done(JOB "/savepoints", JOB "/savepoints", "{\"target-directory\":\"mine\"}");
    ck_assert_msg(strstr(text, "/savepoints/mine/savepoint-test-") != NULL, "%s", text);
    free(text);
    text = expect_done(JOB "/savepoints", JOB "/savepoints", "{}");
    ck_assert_msg(strstr(text, "/savepoints/savepoint-test-") != NULL, "%s", text);
    free(text);
    ck_assert(local_job_status(job).running);
}
END_TEST

START_TEST(a_job_is_stopped)
{
    struct weir_error outcome;
    expect_status(202, "POST", JOB "/stop", WRITES, NULL);
    ck_assert(weir_job_wait(job, PATIENCE_MS, &outcome));
    local_job_expect_ok(&outcome);
}
END_TEST

START_TEST(a_job_is_stopped_with_a_savepoint)
{
    struct weir_error outcome;
    char *text = expect_done(JOB "/stop", JOB "/savepoints", "{\"targetDirectory\":\"last\"}");
    ck_assert_ptr_nonnull(strstr(text, "/savepoints/last/savepoint-test-"));
    free(text);
    ck_assert(weir_job_wait(job, PATIENCE_MS, &outcome));
    local_job_expect_ok(&outcome);
}
END_TEST

START_TEST(a_job_is_cancelled)
{
    struct weir_error outcome;
    expect_status(202, "PATCH", JOB "?mode=cancel", WRITES, NULL);
    ck_assert(weir_job_wait(job, PATIENCE_MS, &outcome));
    local_job_expect_ok(&outcome);
}
END_TEST

/* _i = 1: as it was, because its last checkpoint failed. */
START_TEST(a_job_goes_on_with_another_parallelism_or_as_it_was)
{
    char id[64], where[200];
    struct weir_error outcome;
    char *text = expect(202, "POST", JOB "/rescale", WRITES JSON, "{\"parallelism\":3}");
    ck_assert_int_eq(sscanf(text, "{\"request-id\":\"%63[0-9a-f]\"}", id), 1);
    free(text);
    (void)snprintf(where, sizeof where, JOB "/rescale/%s", id);
    ck_assert_uint_eq(asked, 3);
    expect_text(where, "IN_PROGRESS");
    weir_job_stop(job);
    ck_assert(weir_job_wait(job, PATIENCE_MS, &outcome));
    weir_remote_restarted(remote, NULL);
    weir_job_destroy(job);
    job = NULL;
    expect_status(503, "GET", JOB, "", NULL);
    expect_status(503, "GET", "/readyz", "", NULL);
    expect_text("/livez", "alive");
    expect_text("/v1/jobs", "RESTARTING");
    expect_text(where, "IN_PROGRESS");
    if (_i == 0) local_job_set("parallelism.default", "3");
    job = local_job_create(graph_of(1000));
    weir_remote_restarted(remote, job);
    local_job_await_running(job);
    expect_text(where, _i == 0 ? "{\"status\":{\"id\":\"COMPLETED\"},\"operation\":{}}" : "goes on as it was");
    if (_i == 0) expect_text(JOB, "\"parallelism\":3");
}
END_TEST

/* ---- Tokens --------------------------------------------------------------------------------------------------------- */

/* A configuration may change while nobody reads it. */
static void close_all(void)
{
    weir_remote_stop(remote);
    remote = NULL;
    weir_job_destroy(job);
    job = NULL;
}

static void open_all(void)
{
    job = local_job_create(graph_of(1000));
    local_job_await_running(job);
    open_remote();
}

START_TEST(with_a_read_token_only_health_and_the_page_are_open)
{
    close_all();
    local_job_set("rest.read-token", READ_TOKEN);
    open_all();
    expect_status(401, "GET", "/v1/jobs", "", NULL);
    expect_status(401, "GET", "/metrics", "", NULL);
    expect_status(401, "GET", JOB "/config", "Authorization: Bearer wrong-wrong-wrong-wrong\r\n", NULL);
    expect_status(200, "GET", JOB "/config", "Authorization: Bearer " READ_TOKEN "\r\n", NULL);
    expect_status(403, "POST", JOB "/stop", "Authorization: Bearer " READ_TOKEN "\r\n", NULL);
    expect_status(200, "GET", "/livez", "", NULL);
    expect_status(200, "GET", "/readyz", "", NULL);
    expect_status(200, "GET", "/", "", NULL);
    struct http_answer answer = http_ask(url, "GET", "/v1/jobs", "", NULL);
    ck_assert_str_eq(http_header(&answer, "WWW-Authenticate"), "Bearer");
    http_free(&answer);
}
END_TEST

/* A canary in every secret, looked for in every answer. */
START_TEST(no_secret_is_ever_shown)
{
    static const char canary[] = "canary-canary-canary";
    static const char *const paths[] = { "/", "/metrics", "/openapi.yaml", "/v1/overview", "/v1/jobs", JOB, JOB "/plan",
                                         JOB "/config", JOB "/exceptions", JOB "/metrics", JOB "/checkpoints", "/nothing" };
    close_all();
    local_job_set("rest.read-token", canary);
    local_job_set("rest.write-token", canary);
    local_job_set("kafka.sasl.password", canary);
    local_job_set("kafka.ssl.key.pem", canary);
    local_job_set("security.ssl.rest.key", canary);
    local_job_set("kafka.sasl.oauthbearer.client.secret", canary);
    open_all();
    char headers[100];
    (void)snprintf(headers, sizeof headers, "Authorization: Bearer %s\r\n", canary);
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        struct http_answer answer = http_ask(url, "GET", paths[i], headers, NULL);
        ck_assert_msg(strstr(answer.body, "canary") == NULL, "%s: %s", paths[i], answer.body);
        ck_assert_ptr_null(strstr(answer.head, "canary"));
        http_free(&answer);
    }
}
END_TEST

START_TEST(what_cannot_be_listened_at_is_said)
{
    weir_remote *second;
    close_all();
    local_job_set("rest.bind-address", "0.0.0.0");
    ck_assert_int_eq(weir_remote_start(&second, &error, .config = local_job.config, .name = "test"), WEIR_USAGE);
    local_job_set("rest.bind-address", "no-such-host.invalid");
    local_job_set("rest.read-token", READ_TOKEN);
    ck_assert_int_eq(weir_remote_start(&second, &error, .config = local_job.config, .name = "test"), WEIR_ENVIRONMENT);
    ck_assert_ptr_nonnull(strstr(error.text, "no-such-host.invalid"));
    local_job_set("rest.bind-address", "localhost");
    ck_assert_int_eq(weir_remote_start(&remote, &error, .config = local_job.config, .name = "test"), WEIR_OK);
    local_job_set("rest.port", strrchr(weir_remote_url(remote), ':') + 1);
    ck_assert_int_eq(weir_remote_start(&second, &error, .config = local_job.config, .name = "test"), WEIR_ENVIRONMENT);
    ck_assert_ptr_nonnull(strstr(error.text, "rest.port"));
}
END_TEST

/* ---- Clients that do not behave ------------------------------------------------------------------------------------- */

static void expect_progress(void)
{
    const uint64_t before = local_job_status(job).records_in;
    while (local_job_status(job).records_in == before) continue;
}

START_TEST(clients_that_vanish_harm_nobody)
{
    static const char *const parts[] = { "", "G", "GET /metrics HT", "GET " JOB " HTTP/1.1\r\nHost: localhost\r\n",
                                         "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n",
                                         "POST " JOB "/stop HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n{",
                                         "\r\n\r\n\r\n", "\x16\x03\x01\x02\x01\x01\xfc\x03\x03",
                                         "GET / HTTP/9.9\r\n\r\n" };
    const struct linger at_once = { .l_onoff = 1 };
    for (int round = 0; round < 20; round++)
        for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
            const int made = http_connect(url);
            ck_assert_int_ge(made, 0);
            (void)send(made, parts[i], strlen(parts[i]), MSG_NOSIGNAL);
            if (round % 2 == 0) (void)setsockopt(made, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
            close(made);
        }
    expect_text("/livez", "alive");
    expect_progress();
}
END_TEST

static int allow_descriptors(int wanted)
{
    struct rlimit limit;
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    if (limit.rlim_cur >= (rlim_t)wanted) return wanted;
    limit.rlim_cur = limit.rlim_max < (rlim_t)wanted ? limit.rlim_max : (rlim_t)wanted;
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    return (int)limit.rlim_cur;
}

/* Every one of them holds its place as long as it can, with a request that does not end. */
START_TEST(a_thousand_connections_leave_room_for_one_more)
{
    static const char half[] = "GET /livez HTTP/1.1\r\nHost: localhost\r\nX-Slow: ";
    static int made[1000];
    const int count = allow_descriptors(2600) >= 2600 ? 1000 : 100;
    for (int i = 0; i < count; i++) {
        made[i] = http_connect(url);
        ck_assert_int_ge(made[i], 0);
        if (i % 2 == 0) (void)send(made[i], half, sizeof half - 1, MSG_NOSIGNAL);
    }
    for (int i = 0; i < count; i++) (void)send(made[i], "x", 1, MSG_NOSIGNAL);
    expect_text("/livez", "alive");
    expect_text(JOB, "RUNNING");
    expect_progress();
    if (count == 1000) ck_assert_uint_ge(remote->crowded_out, 1000 - 256);
    for (int i = 0; i < count; i++) close(made[i]);
    expect_text("/livez", "alive");
}
END_TEST

/* All of them are taken in: some say nothing, some dribble, some have asked for much and do not read it. Whoever asks meanwhile
 * is answered, by the probes as by what takes long, and the job goes on. */
START_TEST(a_thousand_who_are_slow_hold_up_nobody)
{
    static const char *const halves[] = { "", "GET /livez HTTP/1.1\r\nHost: localhost\r\nX-Slow: ",
                                          "GET " JOB "/checkpoints HTTP/1.1\r\nHost: localhost\r\n\r\n" };
    static int made[1000];
    enum { ROOM = 1500 };
    const int count = allow_descriptors(4 * ROOM) >= 4 * ROOM ? 1000 : 100;
    close_all();
    local_job_set("rest.connections", "1500");
    open_all();
    for (int i = 0; i < count; i++) {
        const int small = 4096;
        made[i] = http_connect(url);
        ck_assert_int_ge(made[i], 0);
        (void)setsockopt(made[i], SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
        (void)send(made[i], halves[i % 3], strlen(halves[i % 3]), MSG_NOSIGNAL);
    }
    for (int i = 0; i < 20; i++) {
        expect_text("/livez", "alive");
        expect_text(JOB "/checkpoints", "\"history\":");
        expect_text("/metrics", "weir_job_running 1");
    }
    expect_progress();
    if (count == 1000) ck_assert_uint_eq(remote->crowded_out, 0);
    for (int i = 0; i < count; i++) close(made[i]);
    expect_text("/livez", "alive");
}
END_TEST

/* ---- What is made once for all who ask at a time --------------------------------------------------------------------- */

static const char *no_query(void *connection, const char *key)
{
    (void)connection;
    (void)key;
    return NULL;
}

/* Free it. */
static char *answer_at(int64_t at_us, const char *method, const char *path, int status)
{
    struct answer answer = { 0 };
    struct request request = { .at_us = at_us, .method = method, .path = path, .query = no_query, .right = GUARD_WRITE,
                               .job = "", .vertex = "", .item = "" };
    routes_answer(remote, &request, &answer);
    ck_assert_int_eq(answer.status, status);
    char *text = strndup(answer.text, answer.size);
    answer_clear(&answer);
    return text;
}

static bool is_same(int64_t at_us, const char *before)
{
    char *now = answer_at(at_us, "GET", JOB "/checkpoints", 200);
    const bool same = strcmp(now, before) == 0;
    free(now);
    return same;
}

/* Begun after this was called, as the history tells it: the status may lag behind that. */
static void await_another_checkpoint(void)
{
    struct weir_checkpoint newest = { .epoch = 0 };
    (void)weir_job_checkpoint_at(job, 0, &newest);
    const uint64_t before = newest.epoch;
    while (newest.epoch <= before || newest.state != WEIR_CHECKPOINT_COMPLETED) (void)weir_job_checkpoint_at(job, 0, &newest);
}

START_TEST(what_takes_long_is_made_once_for_a_moment)
{
    char *first = answer_at(0, "GET", JOB "/checkpoints", 200);
    await_another_checkpoint();
    ck_assert(is_same(1, first));
    ck_assert(is_same(ROUTES_KEPT_US, first));
    ck_assert(!is_same(ROUTES_KEPT_US + 1, first));
    free(first);
}
END_TEST

START_TEST(who_has_changed_something_sees_it)
{
    char *first = answer_at(0, "GET", JOB "/checkpoints", 200);
    await_another_checkpoint();
    free(answer_at(1, "POST", JOB "/checkpoints", 202));
    ck_assert(!is_same(1, first));
    free(first);
    first = answer_at(2, "GET", JOB "/checkpoints", 200);
    weir_remote_restarted(remote, NULL);
    free(answer_at(2, "GET", JOB "/checkpoints", 503));
    weir_remote_restarted(remote, job);
    await_another_checkpoint();
    ck_assert(!is_same(2, first));
    free(first);
}
END_TEST

static atomic_bool leave;

static void *ask_again_and_again(void *argument)
{
    (void)argument;
    static const char *const paths[] = { JOB, "/metrics", JOB "/checkpoints", "/livez" };
    for (int i = 0; !atomic_load(&leave); i++) {
        struct http_answer answer = http_ask(url, "GET", paths[i % 4], "", NULL);
        http_free(&answer);
    }
    return NULL;
}

START_TEST(a_job_may_be_exchanged_while_many_ask)
{
    pthread_t threads[4];
    struct weir_error outcome;
    for (int i = 0; i < 4; i++) ck_assert_int_eq(pthread_create(&threads[i], NULL, ask_again_and_again, NULL), 0);
    for (int i = 0; i < 3; i++) {
        expect_progress();
        weir_job_stop(job);
        ck_assert(weir_job_wait(job, PATIENCE_MS, &outcome));
        weir_remote_restarted(remote, NULL);
        weir_job_destroy(job);
        job = local_job_create(graph_of(1000));
        weir_remote_restarted(remote, job);
        local_job_await_running(job);
    }
    atomic_store(&leave, true);
    for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
}
END_TEST

/* ---- Prometheus ----------------------------------------------------------------------------------------------------- */

/* What `promtool check metrics` looks at: every sample behind the HELP and TYPE of its own metric, each metric once, numbers
 * that are numbers, no sample twice. */
static void check_exposition(const char *body)
{
    char name[100] = "", type[20] = "";
    const char *const end = body + strlen(body);
    for (const char *line = body; line < end; line = strchr(line, '\n') + 1) {
        char sample[100], labels[300] = "";
        double value;
        int at = 0;
        ck_assert_ptr_nonnull(strchr(line, '\n'));
        if (strncmp(line, "# HELP ", 7) == 0) {
            ck_assert_int_eq(sscanf(line, "# HELP %99s", name), 1);
            char again[120];
            (void)snprintf(again, sizeof again, "# HELP %s ", name);
            ck_assert_msg(strstr(line + 1, again) == NULL, "%s comes twice", name);
            continue;
        }
        if (strncmp(line, "# TYPE ", 7) == 0) {
            ck_assert_int_eq(sscanf(line, "# TYPE %99s %19s", sample, type), 2);
            ck_assert_str_eq(sample, name);
            continue;
        }
        ck_assert_msg(sscanf(line, "%99[a-z_]%n", sample, &at) == 1, "%.60s", line);
        if (line[at] == '{') {
            ck_assert_int_eq(sscanf(line + at, "{%299[^}]}", labels), 1);
            at += (int)strlen(labels) + 2;
        }
        ck_assert_msg(sscanf(line + at, " %lf\n", &value) == 1, "%.60s", line);
        ck_assert_msg(strncmp(sample, name, strlen(name)) == 0, "%s behind the HELP of %s", sample, name);
        if (strcmp(type, "histogram") != 0) ck_assert_str_eq(sample, name);
        char again[450];
        (void)snprintf(again, sizeof again, "\n%.*s ", at, line);
        ck_assert_msg(strstr(line, again) == NULL, "%s comes twice", again);
    }
}

START_TEST(metrics_are_as_prometheus_reads_them)
{
    struct http_answer answer = http_ask(url, "GET", "/metrics", "", NULL);
    ck_assert_str_eq(http_header(&answer, "Content-Type"), "text/plain; version=0.0.4; charset=utf-8");
    check_exposition(answer.body);
    ck_assert_ptr_nonnull(strstr(answer.body, "\nweir_job_running 1\n"));
    ck_assert_ptr_nonnull(strstr(answer.body, "weir_subtask_input_records_total{vertex=\"pass -> out\",subtask=\"0\"} "));
    ck_assert_ptr_nonnull(strstr(answer.body, "weir_checkpoint_duration_seconds_bucket{le=\"+Inf\"} "));
    http_free(&answer);
    if (system("command -v promtool >/dev/null 2>&1") != 0) {
        (void)fprintf(stderr, "promtool is not installed: only this test's own reading was held against /metrics\n");
        return;
    }
    char command[300];
    (void)snprintf(command, sizeof command, "curl -s %s/metrics | promtool check metrics", url);
    ck_assert_int_eq(system(command), 0);
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_checked_fixture(tests, begin_job, end_job);
    tcase_add_test(tests, every_path_answers);
    tcase_add_test(tests, checkpoints_are_listed_with_their_phases);
    tcase_add_test(tests, chosen_metrics_come_alone);
    tcase_add_test(tests, who_asks_for_the_head_gets_no_body);
    tcase_add_test(tests, what_is_not_there_is_not_found);
    tcase_add_test(tests, a_path_has_its_methods);
    tcase_add_test(tests, nothing_is_changed_without_the_write_token);
    tcase_add_test(tests, a_page_of_another_origin_is_refused);
    tcase_add_test(tests, bodies_are_held_to_what_is_known);
    tcase_add_test(tests, what_is_too_long_is_refused);
    tcase_add_test(tests, answers_are_not_kept_nor_framed);
    tcase_add_test(tests, the_page_is_whole);
    tcase_add_test(tests, a_browser_shows_the_job);
    tcase_add_test(tests, a_checkpoint_is_taken_when_it_is_asked_for);
    tcase_add_test(tests, a_savepoint_lies_where_it_was_asked_for);
    tcase_add_test(tests, a_job_is_stopped);
    tcase_add_test(tests, a_job_is_stopped_with_a_savepoint);
    tcase_add_test(tests, a_job_is_cancelled);
    tcase_add_loop_test(tests, a_job_goes_on_with_another_parallelism_or_as_it_was, 0, 2);
    tcase_add_test(tests, with_a_read_token_only_health_and_the_page_are_open);
    tcase_add_test(tests, no_secret_is_ever_shown);
    tcase_add_test(tests, what_cannot_be_listened_at_is_said);
    tcase_add_test(tests, clients_that_vanish_harm_nobody);
    tcase_add_test(tests, a_thousand_connections_leave_room_for_one_more);
    tcase_add_test(tests, a_thousand_who_are_slow_hold_up_nobody);
    tcase_add_test(tests, what_takes_long_is_made_once_for_a_moment);
    tcase_add_test(tests, who_has_changed_something_sees_it);
    tcase_add_test(tests, a_job_may_be_exchanged_while_many_ask);
    tcase_add_test(tests, metrics_are_as_prometheus_reads_them);
}

int main(void) { return unit_main("remote_http", add); }
