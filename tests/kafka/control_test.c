/* A running job is asked for a checkpoint, another parallelism and its end, as `weir` asks it. */
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness/broker.h"
#include "harness/unit.h"
#include "harness/words.h"
#include "weir/control.h"

static struct weir_error error;
static char heard_parallelism[16], heard_epoch[32], heard_path[1100];

static void hear(void *user, const char *key, const char *value)
{
    (void)user;
    if (strcmp(key, "parallelism") == 0) (void)snprintf(heard_parallelism, sizeof heard_parallelism, "%s", value);
    if (strcmp(key, "path") == 0) (void)snprintf(heard_path, sizeof heard_path, "%s", value);
    if (strcmp(key, "epoch") == 0) (void)snprintf(heard_epoch, sizeof heard_epoch, "%s", value);
}

static enum weir_code ask(const struct words_job *job, const char *request)
{
    return weir_control_ask(job->job, request, PATIENCE_MS, hear, NULL, &error);
}

static void expect_answer(const struct words_job *job, const char *request)
{
    ck_assert_msg(ask(job, request) == WEIR_OK, "%s: %s", request, error.text);
}

/* It can be asked for everything: it has a status, and is seen to run there. */
static void start(struct words_job *job, struct process *process)
{
    words_start(job, process);
    expect_answer(job, "checkpoint");
}

/* This fact's jobs alone. */
static void begin(void)
{
    char folder[] = "/tmp/weir-run-XXXXXX"; /* the path of a socket must be short */
    ck_assert_ptr_nonnull(mkdtemp(folder));
    setenv("WEIR_RUNTIME_DIR", folder, 1);
}

static void end(void)
{
    (void)rmdir(getenv("WEIR_RUNTIME_DIR"));
}

START_TEST(a_job_is_rescaled_while_it_runs)
{
    static const char *const parallelism[] = { "3", "1", "8", "2" };
    struct process process;
    struct words_job job = words_job(4, 2);
    char expected[64], request[32];
    int count = 0;
    start(&job, &process);
    for (size_t i = 0; i < sizeof parallelism / sizeof parallelism[0]; i++) {
        for (int partition = 0; partition < 4; partition++) words_put_many(job.input, partition, "a b", 5);
        count += 20; /* some of it is counted before, some after */
        (void)snprintf(request, sizeof request, "rescale %s", parallelism[i]);
        expect_answer(&job, request);
        ck_assert_str_eq(heard_parallelism, parallelism[i]);
        (void)snprintf(expected, sizeof expected, "a=%d b=%d", count, count);
        words_await(job.output, 2, expected);
    }
    ck_assert(!process_has_ended(&process));
    expect_answer(&job, "stop");
    ck_assert_int_eq(process_wait(&process), 0);
    words_expect_all_committed(&job);
    process_free(&process);
}
END_TEST

START_TEST(a_parallelism_that_cannot_be_leaves_the_job_as_it_is)
{
    static const char *const wrong[] = { "rescale 0", "rescale 129", "rescale many", "rescale " };
    struct process process;
    struct words_job job = words_job(1, 1);
    start(&job, &process);
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        ck_assert(ask(&job, wrong[i]) == WEIR_USAGE);
        ck_assert_ptr_nonnull(strstr(error.text, "from 1 to 128"));
    }
    words_put(job.input, 0, "a");
    words_await(job.output, 1, "a=1");
    process_stop(&process);
}
END_TEST

/* Wherever in its way from one parallelism to the other. */
START_TEST(a_job_that_is_killed_while_it_is_rescaled_goes_on)
{
    struct words_job job = words_job(2, 2);
    char expected[64];
    for (int life = 1; life <= 6; life++) {
        struct process process;
        start(&job, &process);
        words_put_many(job.input, life % 2, "a b", 10);
        const pid_t asker = fork();
        if (asker == 0) _exit((int)ask(&job, life % 2 == 0 ? "rescale 3" : "rescale 1"));
        ck_assert_int_gt(asker, 0);
        usleep((useconds_t)life * 15000); /* not to wait for anything: to come at six different times */
        process_signal(&process, SIGKILL);
        ck_assert_int_eq(process_wait(&process), -SIGKILL);
        ck_assert_int_eq(waitpid(asker, NULL, 0), asker);
        process_free(&process);
        (void)snprintf(expected, sizeof expected, "a=%d b=%d", life * 10, life * 10);
    }
    words_run(&job);
    ck_assert_str_eq(words_read(job.output, 2), expected);
    words_expect_all_committed(&job);
}
END_TEST

START_TEST(a_cancelled_job_loses_nothing)
{
    struct process process;
    struct words_job job = words_job(1, 1);
    start(&job, &process);
    words_put_many(job.input, 0, "a", 3);
    expect_answer(&job, "checkpoint");
    ck_assert_str_ne(heard_epoch, "");
    words_put_many(job.input, 0, "a", 4);
    expect_answer(&job, "cancel");
    ck_assert_int_eq(process_wait(&process), 0);
    process_free(&process);
    words_run(&job);
    ck_assert_str_eq(words_read(job.output, 1), "a=7");
    words_expect_all_committed(&job);
}
END_TEST

/* Killed nowhere, behind the record that says so, and when half of the files are gone: what was said counts. */
START_TEST(a_job_that_was_cancelled_to_be_deleted_begins_only_where_somebody_says)
{
    static const char *const crashes[] = { NULL, "WEIR_CRASH=drop_announced:1", "WEIR_CRASH=drop_half_done:1" };
    struct process process;
    struct words_job job = words_job(2, 1);
    words_set(&job, "-X", "execution.checkpointing.externalized-checkpoint-retention=DELETE_ON_CANCELLATION");
    job.options.environment[0] = crashes[_i];
    start(&job, &process);
    words_put_many(job.input, 0, "a", 3);
    words_await(job.output, 1, "a=3");
    (void)ask(&job, "cancel"); /* nobody answers who was killed */
    ck_assert_int_eq(process_wait(&process), crashes[_i] == NULL ? 0 : -SIGKILL);
    process_free(&process);
    job.options.environment[0] = NULL;

    process_start_job(&process, &job.options, "--bounded", NULL);
    process_expect_end(&process, 8, "were dropped");
    process_free(&process);
    words_put_many(job.input, 1, "b", 2);
    words_set(&job, "--fresh", NULL);
    words_run(&job);
    const char *all = words_read_all(job.output, 1), *once = strstr(all, "a=3");
    ck_assert_msg(once != NULL && strstr(once + 1, "a=3") != NULL && strstr(all, "b=2") != NULL, "%s", all);
    words_expect_all_committed(&job);
}
END_TEST

/* The last line that `weir savepoint` prints. */
static const char *savepoint_of(const char *job)
{
    static char line[1100];
    struct process process;
    const char *const arguments[] = { WEIR_BINARY_DIR "/apps/weir", "savepoint", job, process_path("savepoints"), NULL };
    process_start(&process, arguments, NULL);
    process_expect_end(&process, 0, NULL);
    FILE *out = fopen(process.out, "re");
    ck_assert_ptr_nonnull(out);
    while (fgets(line, sizeof line, out) != NULL) line[strcspn(line, "\n")] = '\0';
    fclose(out);
    process_free(&process);
    return line;
}

/* A savepoint of a job that goes on, then one that ends it; the second is continued elsewhere, the first begins a copy. */
START_TEST(savepoints_are_taken_of_a_running_job)
{
    struct process process;
    struct words_job job = words_job(2, 1), copy;
    char request[1200], first[1100];
    start(&job, &process);
    words_put_many(job.input, 0, "a b", 10);
    words_await(job.output, 1, "a=10 b=10");
    (void)snprintf(first, sizeof first, "%s", savepoint_of(job.job));
    words_put_many(job.input, 1, "a", 5);
    words_await(job.output, 1, "a=15 b=10");
    (void)snprintf(request, sizeof request, "stop-savepoint %s", process_path("savepoints"));
    expect_answer(&job, request);
    ck_assert_str_ne(heard_path, first);
    ck_assert_int_eq(process_wait(&process), 0);
    process_free(&process);

    words_set(&job, "--from-savepoint", heard_path); /* the job has ended with it: another store may go on */
    job.options.checkpoints = process_path("elsewhere");
    words_put(job.input, 0, "b");
    words_run(&job);
    ck_assert_str_eq(words_read(job.output, 1), "a=15 b=11");
    words_expect_all_committed(&job);

    copy = words_job(2, 1); /* another name and another output, the same input */
    copy.options.input = copy.input = job.input;
    words_set(&copy, "--from-savepoint", first);
    words_run(&copy);
    ck_assert_str_eq(words_read(copy.output, 1), "a=15 b=11");
    ck_assert_str_eq(words_read_all(copy.output, 1), "a=15 b=11"); /* it began at ten of each */
}
END_TEST

START_TEST(a_savepoint_that_cannot_be_made_leaves_the_job_as_it_is)
{
    static const char *const wrong[] = { "savepoint /dev/null/x", "stop-savepoint /dev/null/x", "savepoint", "savepoint " };
    struct process process;
    struct words_job job = words_job(1, 1);
    start(&job, &process);
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) ck_assert(ask(&job, wrong[i]) != WEIR_OK);
    words_put(job.input, 0, "a");
    words_await(job.output, 1, "a=1");
    process_stop(&process);
}
END_TEST

/* ---- A service manager ---------------------------------------------------------------------------------------------- */

/* Messages until one holds `text`. */
static void hear_from(int manager, const char *text)
{
    char message[1024] = "";
    while (strstr(message, text) == NULL) {
        struct pollfd descriptor = { .fd = manager, .events = POLLIN };
        ck_assert_msg(poll(&descriptor, 1, PATIENCE_MS) == 1, "nobody says %s; the last word was %s", text, message);
        const ssize_t size = recv(manager, message, sizeof message - 1, 0);
        message[size < 0 ? 0 : size] = '\0';
    }
}

START_TEST(a_service_manager_hears_when_the_job_runs_lives_and_ends)
{
    char path[64];
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    const int size = snprintf(path, sizeof path, "NOTIFY_SOCKET=@weir-%s", broker_name("manager"));
    const char *name = strchr(path, '@');
    memcpy(address.sun_path + 1, name + 1, strlen(name) - 1);
    const int manager = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    const socklen_t address_size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(name));
    ck_assert(size > 0 && bind(manager, (struct sockaddr *)&address, address_size) == 0);

    struct process process;
    struct words_job job = words_job(1, 1);
    job.options.environment[0] = path;
    job.options.environment[1] = "WATCHDOG_USEC=4000000";
    process_start_job(&process, &job.options, NULL);
    hear_from(manager, "EXTEND_TIMEOUT_USEC=");
    hear_from(manager, "READY=1\n");
    hear_from(manager, "WATCHDOG=1\n");
    process_signal(&process, SIGTERM);
    hear_from(manager, "STOPPING=1\n");
    process_expect_end(&process, 0, NULL);
    process_free(&process);
    close(manager);
}
END_TEST

/* ---- The ledger, as the command shows it --------------------------------------------------------------------------- */

static char shown[200000];
static struct process_output said = { .text = shown, .room = sizeof shown };

static const char *show_ledger(const char *environment, const char *what, const char *options, const char *job)
{
    ck_assert_msg(process_shell(&said, "%s " WEIR_BINARY_DIR "/apps/weir ledger %s %s --brokers %s %s", environment, what,
                                job, broker_address(), options) == 0, "%s", shown);
    return shown;
}

START_TEST(a_ledger_is_shown_for_programs_and_as_a_picture)
{
    struct words_job job = words_job(1, 1);
    for (int i = 0; i < 3; i++) {
        words_put(job.input, 0, "a b");
        words_run(&job);
    }
    const char *text = show_ledger("", "show", "-o json", job.job);
    ck_assert_msg(strncmp(text, "[{\"kind\": \"", 11) == 0 && strcmp(text + strlen(text) - 3, "}]\n") == 0, "%s", text);
    ck_assert_ptr_nonnull(strstr(text, "\"kind\": \"start\""));
    ck_assert_ptr_nonnull(strstr(text, "\"records\": 6, \"digest\""));
    text = show_ledger("", "verify", "-o json", job.job);
    ck_assert_ptr_nonnull(strstr(text, "\"verified\": true"));
    ck_assert_ptr_nonnull(strstr(text, "\"records_verified\": 6"));
    text = show_ledger("LC_ALL=C", "show", "--chart", job.job);
    ck_assert_ptr_nonnull(strstr(text, "##"));
    text = show_ledger("LC_ALL=C.UTF-8", "show", "--chart", job.job);
    ck_assert_ptr_nonnull(strstr(text, "\u2588\u2588"));
    ck_assert_ptr_null(strchr(text, '#'));
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_checked_fixture(tests, begin, end);
    tcase_add_test(tests, a_job_is_rescaled_while_it_runs);
    tcase_add_test(tests, a_parallelism_that_cannot_be_leaves_the_job_as_it_is);
    tcase_add_test(tests, a_job_that_is_killed_while_it_is_rescaled_goes_on);
    tcase_add_test(tests, a_cancelled_job_loses_nothing);
    tcase_add_loop_test(tests, a_job_that_was_cancelled_to_be_deleted_begins_only_where_somebody_says, 0, 3);
    tcase_add_test(tests, savepoints_are_taken_of_a_running_job);
    tcase_add_test(tests, a_savepoint_that_cannot_be_made_leaves_the_job_as_it_is);
    tcase_add_test(tests, a_service_manager_hears_when_the_job_runs_lives_and_ends);
    tcase_add_test(tests, a_ledger_is_shown_for_programs_and_as_a_picture);
}

int main(void)
{
    broker_start(1);
    return unit_main("control", add);
}
