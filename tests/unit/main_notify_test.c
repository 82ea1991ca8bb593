/* What a service manager hears, at the other end of its socket. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "harness/local_job.h"
#include "harness/unit.h"
#include "main/notify.h"
#include "weir/generator.h"
#include "weir/observe.h"
#include "weir/print.h"

static int manager = -1;
static char name[64];
static struct notify notify;
static struct weir_error error;

/* Listens at `path`, "@..." in the abstract namespace, and names it in the environment. */
static void listen_at(const char *path)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    const size_t size = strlen(path);
    memcpy(address.sun_path, path, size);
    if (path[0] == '@') address.sun_path[0] = '\0';
    manager = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    ck_assert_int_eq(bind(manager, (struct sockaddr *)&address, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + size)),
                     0);
    setenv("NOTIFY_SOCKET", path, 1);
}

/* The next message; "" = there is none. */
static const char *hear(void)
{
    static char text[1024];
    const ssize_t size = recv(manager, text, sizeof text - 1, 0);
    text[size < 0 ? 0 : size] = '\0';
    return text;
}

static void begin(void)
{
    (void)snprintf(name, sizeof name, "/tmp/weir-notify-%d", (int)getpid());
    unsetenv("WATCHDOG_USEC");
    unsetenv("WATCHDOG_PID");
}

static void end(void)
{
    if (manager >= 0) close(manager);
    manager = -1;
    (void)unlink(name);
}

static void open_with_watchdog(const char *usec)
{
    if (usec != NULL) setenv("WATCHDOG_USEC", usec, 1);
    ck_assert_msg(notify_init(&notify, 0, &error) == WEIR_OK, "%s", error.text);
}

static const char *step(int64_t now_ms, bool running, bool is_alive)
{
    const struct weir_job_status status = { .size = sizeof status, .running = running, .epoch_committed = 7, .lag_records = 3 };
    notify_step(&notify, &status, is_alive, now_ms);
    return hear();
}

START_TEST(nobody_is_told_where_nobody_asks)
{
    unsetenv("NOTIFY_SOCKET");
    open_with_watchdog("1000000");
    ck_assert_int_eq(notify_timeout_ms(&notify, 0), -1);
    (void)step(0, true, true);
    notify_deinit(&notify);
}
END_TEST

START_TEST(is_ready_once_it_runs_and_says_when_it_stops)
{
    listen_at(_i == 0 ? name : "@weir-notify-test");
    open_with_watchdog(NULL);
    const char *heard = step(0, false, true);
    ck_assert_msg(strstr(heard, "READY") == NULL && strstr(heard, "EXTEND_TIMEOUT_USEC=30000000\n") != NULL, "%s", heard);
    ck_assert_ptr_nonnull(strstr(heard, "STATUS=starting"));
    ck_assert_int_gt(notify_timeout_ms(&notify, 0), 0);
    heard = step(1000, true, true);
    ck_assert_msg(strncmp(heard, "READY=1\n", 8) == 0 && strstr(heard, "STATUS=epoch 7, ") != NULL, "%s", heard);
    ck_assert_msg(strstr(heard, "WATCHDOG") == NULL && strstr(heard, "EXTEND") == NULL, "%s", heard);
    heard = step(100000, true, true);
    ck_assert_msg(strstr(heard, "READY") == NULL && strstr(heard, "lag 3") != NULL, "%s", heard);
    notify_stopping(&notify);
    ck_assert(strncmp(hear(), "STOPPING=1\n", 11) == 0);
    ck_assert_str_eq(step(200000, false, true), "");
    notify_deinit(&notify);
    ck_assert_str_eq(hear(), "");
}
END_TEST

START_TEST(an_end_that_nobody_asked_for_is_told_too)
{
    listen_at(name);
    open_with_watchdog(NULL);
    notify_deinit(&notify);
    ck_assert(strncmp(hear(), "STOPPING=1\n", 11) == 0);
}
END_TEST

START_TEST(the_watchdog_is_fed_while_the_loops_turn)
{
    listen_at(name);
    open_with_watchdog("8000000");
    int64_t now_ms = 0;
    for (int i = 0; i < 20; i++) {
        const char *heard = step(now_ms, true, true);
        ck_assert_msg(strstr(heard, "WATCHDOG=1\n") != NULL, "%s", heard);
        const int pause_ms = notify_timeout_ms(&notify, now_ms);
        ck_assert(pause_ms > 0 && pause_ms <= 2000);
        now_ms += pause_ms;
    }
    /* It goes on talking, but feeds nothing. */
    const char *heard = step(now_ms + 10000, true, false);
    ck_assert_msg(strstr(heard, "STATUS=") != NULL && strstr(heard, "WATCHDOG") == NULL, "%s", heard);
    /* Whoever comes back is fed again. */
    ck_assert_ptr_nonnull(strstr(step(now_ms + 20000, true, true), "WATCHDOG=1\n"));
    notify_deinit(&notify);
}
END_TEST

START_TEST(a_start_that_stands_still_gets_no_more_time)
{
    listen_at(name);
    open_with_watchdog(NULL);
    ck_assert(strstr(step(0, false, false), "EXTEND") == NULL);
    notify_deinit(&notify);
}
END_TEST

START_TEST(the_watchdog_of_another_process_is_not_fed)
{
    listen_at(name);
    setenv("WATCHDOG_PID", "1", 1);
    open_with_watchdog("8000000");
    ck_assert(strstr(step(0, true, true), "WATCHDOG") == NULL);
    notify_deinit(&notify);
}
END_TEST

START_TEST(a_socket_that_cannot_be_one_is_refused)
{
    static const char *const wrong[] = { "vsock:2:9999", "x", "@",
                                         "/12345678901234567890123456789012345678901234567890123456789012345678901234567890"
                                         "123456789012345678901234567890" };
    setenv("NOTIFY_SOCKET", wrong[_i], 1);
    ck_assert_int_eq(notify_init(&notify, 0, &error), WEIR_ENVIRONMENT);
    ck_assert_ptr_nonnull(strstr(error.text, "NOTIFY_SOCKET"));
}
END_TEST

/* ---- Where it comes from ------------------------------------------------------------------------------------------- */

static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;

static enum weir_code wait_at_gate(weir_task *task, const struct weir_record *record)
{
    (void)task, (void)record;
    pthread_mutex_lock(&gate);
    pthread_mutex_unlock(&gate);
    return WEIR_OK;
}

static bool is_alive(weir_job *job)
{
    char why[300];
    return weir_job_is_alive(job, notify_patience_ms(&notify), why, sizeof why);
}

static const char *step_with(weir_job *job, int64_t now_ms)
{
    const struct weir_job_status status = local_job_status(job);
    notify_step(&notify, &status, is_alive(job), now_ms);
    return hear();
}

START_TEST(a_task_that_hangs_in_an_operator_feeds_nothing)
{
    local_job_begin();
    local_job_set("start.bounded", "false");
    listen_at(name);
    open_with_watchdog("2000000");
    ck_assert_int_eq(notify_patience_ms(&notify), 1000);
    FILE *sunk = fopen("/dev/null", "we");
    ck_assert_ptr_nonnull(sunk);
    weir_graph *graph = weir_graph_create();
    weir_print(weir_flat_map(weir_generator(graph, .name = "numbers", .per_second = 1000), .name = "gate",
                             .process = wait_at_gate), .name = "out", .file = sunk);
    pthread_mutex_lock(&gate);
    weir_job *job = local_job_create(graph);
    local_job_await_running(job);
    while (is_alive(job)) usleep(10000);
    ck_assert_ptr_null(strstr(step_with(job, 1000000), "WATCHDOG"));
    pthread_mutex_unlock(&gate);
    while (!is_alive(job)) usleep(10000);
    int64_t now_ms = 2000000;
    while (strstr(step_with(job, now_ms), "WATCHDOG=1\n") == NULL) now_ms += 1000000;
    weir_job_destroy(job);
    fclose(sunk);
    notify_deinit(&notify);
    local_job_end();
}
END_TEST

static _Atomic bool fails;

static enum weir_code fail_once(weir_task *task, const struct weir_record *record)
{
    (void)record;
    return atomic_exchange(&fails, false) ? weir_fail(task, "it was told to") : WEIR_OK;
}

/* A pipe in the place of the log: whoever opens it for reading waits for somebody who writes. */
START_TEST(a_roll_back_that_hangs_in_the_store_feeds_nothing)
{
    char log[100], why[300];
    local_job_begin();
    local_job_set("start.bounded", "false");
    listen_at(name);
    open_with_watchdog("2000000");
    FILE *sunk = fopen("/dev/null", "we");
    ck_assert_ptr_nonnull(sunk);
    weir_graph *graph = weir_graph_create();
    weir_print(weir_flat_map(weir_generator(graph, .name = "numbers", .per_second = 1000), .name = "fails",
                             .process = fail_once), .name = "out", .file = sunk);
    weir_job *job = local_job_create(graph);
    local_job_await_records(job, 100);
    (void)snprintf(log, sizeof log, "%s/test/log-1-1", local_job.directory);
    ck_assert_int_eq(unlink(log), 0);
    ck_assert_int_eq(mkfifo(log, 0600), 0);
    atomic_store(&fails, true);
    do usleep(10000);
    while (weir_job_is_alive(job, notify_patience_ms(&notify), why, sizeof why) || strstr(why, "environment worker") == NULL);
    ck_assert(!local_job_status(job).running);
    ck_assert_ptr_null(strstr(step_with(job, 1000000), "WATCHDOG"));
    struct weir_error outcome;
    while (!weir_job_wait(job, 10, &outcome)) { /* whoever comes writes nothing: what is read is damaged */
        const int writer = open(log, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
        if (writer >= 0) close(writer);
    }
    ck_assert_msg(outcome.code != WEIR_OK, "it went on");
    weir_job_destroy(job);
    (void)fclose(sunk);
    notify_deinit(&notify);
    local_job_end();
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_checked_fixture(tests, begin, end);
    tcase_add_test(tests, nobody_is_told_where_nobody_asks);
    tcase_add_loop_test(tests, is_ready_once_it_runs_and_says_when_it_stops, 0, 2);
    tcase_add_test(tests, an_end_that_nobody_asked_for_is_told_too);
    tcase_add_test(tests, the_watchdog_is_fed_while_the_loops_turn);
    tcase_add_test(tests, a_start_that_stands_still_gets_no_more_time);
    tcase_add_test(tests, the_watchdog_of_another_process_is_not_fed);
    tcase_add_loop_test(tests, a_socket_that_cannot_be_one_is_refused, 0, 4);
    tcase_add_test(tests, a_task_that_hangs_in_an_operator_feeds_nothing);
    tcase_add_test(tests, a_roll_back_that_hangs_in_the_store_feeds_nothing);
}

int main(void) { return unit_main("notify", add); }
