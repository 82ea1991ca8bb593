/* A word count over Kafka that is watched and told what to do over HTTP: lag of partitions, transactions, another parallelism, a
 * savepoint and the end. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "harness/broker.h"
#include "harness/http.h"
#include "harness/unit.h"
#include "harness/words.h"

#define WRITES "Authorization: Bearer write-write-write-write\r\nContent-Type: application/json\r\n"

static char url[100], path[300];

/* What the job's log says of itself. */
static void find_url(const struct process *process)
{
    static const char said[] = "remote interface at ";
    char line[1000];
    FILE *log = fopen(process->log, "re");
    ck_assert_ptr_nonnull(log);
    url[0] = '\0';
    while (fgets(line, sizeof line, log) != NULL) {
        const char *at = strstr(line, said);
        if (at != NULL) (void)snprintf(url, sizeof url, "%.*s", (int)strcspn(at + sizeof said - 1, "\n"), at + sizeof said - 1);
    }
    (void)fclose(log);
    ck_assert_str_ne(url, "");
}

static const char *path_of(const struct words_job *job, const char *rest)
{
    (void)snprintf(path, sizeof path, "/v1/jobs/%s%s", job->job, rest);
    return path;
}

static void start(struct words_job *job, struct process *process)
{
    words_set(job, "-X", "rest.port=0");
    words_set(job, "-X", "rest.write-token=write-write-write-write");
    (void)snprintf(path, sizeof path, "execution.checkpointing.savepoint-dir=%s", process_path("savepoints"));
    words_set(job, "-X", strdup(path)); /* as long as the fact */
    words_start(job, process);
    find_url(process);
}

static char *ask(int status, const char *method, const char *at, const char *body)
{
    struct http_answer answer = http_ask(url, method, at, WRITES, body);
    ck_assert_msg(answer.status == status, "%s %s: %d: %s", method, at, answer.status, answer.body);
    char *text = strdup(answer.body);
    http_free(&answer);
    return text;
}

static bool says(const char *at, const char *text)
{
    char *body = ask(200, "GET", at, NULL);
    const bool found = strstr(body, text) != NULL;
    free(body);
    return found;
}

/* A number of /metrics; -1 = it is not there. */
static double metric(const char *name)
{
    char line[200];
    char *body = ask(200, "GET", "/metrics", NULL);
    (void)snprintf(line, sizeof line, "\n%s ", name);
    const char *at = strstr(body, line);
    const double value = at == NULL ? -1 : strtod(at + strlen(line), NULL);
    free(body);
    return value;
}

static bool lag_is(const char *topic, int partition, double wanted)
{
    char name[300];
    (void)snprintf(name, sizeof name, "weir_source_lag_records{source=\"lines\",split=\"%s/%d\"}", topic, partition);
    return metric(name) == wanted;
}

START_TEST(lag_and_transactions_are_told)
{
    struct process process;
    struct words_job job = words_job(2, 1);
    start(&job, &process);
    words_put_many(job.input, 0, "a", 10);
    words_put_many(job.input, 1, "b", 5);
    words_await(job.output, 1, "a=10 b=5");
    PROCESS_AWAIT(lag_is(job.input, 0, 0) && lag_is(job.input, 1, 0), PATIENCE_MS);
    PROCESS_AWAIT(metric("weir_sink_records_committed_total") >= 2, PATIENCE_MS);
    ck_assert(metric("weir_transaction_duration_seconds_count") >= 1);
    ck_assert(metric("weir_transaction_duration_seconds_sum") > 0);
    ck_assert(metric("weir_checkpoint_phase_duration_seconds_count{phase=\"flush\"}") >= 1);
    ck_assert(metric("weir_checkpoint_phase_duration_seconds_sum{phase=\"commit\"}") > 0);
    ck_assert(metric("weir_transaction_aborts_total{reason=\"FENCED\"}") == 0);
    ck_assert(says("/readyz", "ready"));
    ck_assert(says(path_of(&job, "/plan"), "\"nodes\":["));
    ck_assert(says(path_of(&job, ""), "\"connector\":\"kafka\""));
    process_stop(&process);
    words_expect_all_committed(&job);
}
END_TEST

START_TEST(a_job_is_told_what_to_do)
{
    char id[64], at[400];
    struct process process;
    struct words_job job = words_job(2, 2);
    start(&job, &process);
    words_put_many(job.input, 0, "a", 10);
    char *begun = ask(202, "POST", path_of(&job, "/rescale"), "{\"parallelism\":2}");
    ck_assert_int_eq(sscanf(begun, "{\"request-id\":\"%63[0-9a-f]\"}", id), 1);
    free(begun);
    (void)snprintf(at, sizeof at, "/v1/jobs/%s/rescale/%s", job.job, id);
    PROCESS_AWAIT(says(at, "COMPLETED"), PATIENCE_MS);
    PROCESS_AWAIT(metric("weir_job_running") == 1, PATIENCE_MS);
    ck_assert(metric("weir_job_parallelism") == 2);
    words_put_many(job.input, 1, "b", 5);
    words_await(job.output, 2, "a=10 b=5");
    begun = ask(202, "POST", path_of(&job, "/savepoints"), "{\"target-directory\":\"one\"}");
    ck_assert_int_eq(sscanf(begun, "{\"request-id\":\"%63[0-9a-f]\"}", id), 1);
    free(begun);
    (void)snprintf(at, sizeof at, "/v1/jobs/%s/savepoints/%s", job.job, id);
    PROCESS_AWAIT(says(at, "COMPLETED"), PATIENCE_MS);
    ck_assert(says(at, "/savepoints/one/savepoint-"));
    free(ask(202, "POST", path_of(&job, "/stop"), "{}"));
    ck_assert_int_eq(process_wait(&process), 0);
    process_free(&process);
    words_expect_all_committed(&job);
}
END_TEST

/* A port of its own is no reason not to take a job over. */
START_TEST(the_newest_start_answers)
{
    struct process process, second;
    struct words_job job = words_job(1, 1);
    start(&job, &process);
    words_put(job.input, 0, "a");
    words_await(job.output, 1, "a=1");
    words_start(&job, &second);
    ck_assert_int_eq(process_wait(&process), 3);
    process_free(&process);
    find_url(&second);
    ck_assert(metric("weir_job_running") == 1);
    ck_assert(metric("weir_job_incarnation") >= 2);
    process_stop(&second);
}
END_TEST

START_TEST(a_job_that_others_could_reach_does_not_start_without_a_token)
{
    struct process process;
    struct words_job job = words_job(1, 1);
    words_set(&job, "-X", "rest.port=0");
    words_set(&job, "-X", "rest.bind-address=0.0.0.0");
    process_start_job(&process, &job.options, NULL);
    process_expect_end(&process, 2, "rest.read-token");
    process_free(&process);
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_test(tests, lag_and_transactions_are_told);
    tcase_add_test(tests, a_job_is_told_what_to_do);
    tcase_add_test(tests, the_newest_start_answers);
    tcase_add_test(tests, a_job_that_others_could_reach_does_not_start_without_a_token);
}

int main(void)
{
    broker_start(1);
    return unit_main("remote", add);
}
