/* A whole program whose job is to be rescaled, and whose last checkpoint fails. */
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness/local_job.h"
#include "harness/unit.h"
#include "weir/connector.h"
#include "weir/control.h"
#include "weir/generator.h"
#include "weir/main.h"

enum { SPLITS = 4 };

/* What the program and the test both see. */
static struct shared {
    _Atomic int64_t to_fail; /* so many preparations */
    _Atomic uint64_t shown;  /* records of committed epochs */
    _Atomic uint64_t torn;   /* that came twice, or not at all */
} *shared;

/* ---- The program ------------------------------------------------------------------------------------------------- */

/* One sink in one task: number n of a split comes behind number n - 1. */
static struct {
    int64_t next[SPLITS], prepared[SPLITS], committed[SPLITS];
} numbers;

static enum weir_code sink_open(const void *options, const struct weir_connector_context *context, void *decider,
                                void **sink, struct weir_error *error)
{
    (void)options, (void)context, (void)decider, (void)error;
    *sink = &numbers;
    return WEIR_OK;
}
static void sink_close(void *sink) { (void)sink; }
static enum weir_code writer_open(void *sink, uint32_t subtask, uint64_t epoch, struct weir_waker waker, void **writer,
                                  struct weir_error *error)
{
    (void)subtask, (void)epoch, (void)waker, (void)error;
    memcpy(numbers.next, numbers.committed, sizeof numbers.next);
    *writer = sink;
    return WEIR_OK;
}
static void writer_close(void *writer) { (void)writer; }
static bool writer_room(void *writer) { return (void)writer, true; }
static enum weir_code writer_write(void *writer, const struct weir_record *record, struct weir_error *error)
{
    (void)writer, (void)error;
    int64_t number = 0;
    (void)weir_bytes_to_i64(record->value, &number);
    if (number / SPLITS != numbers.next[number % SPLITS]++) atomic_fetch_add(&shared->torn, 1);
    return WEIR_OK;
}
static enum weir_code writer_prepare(void *writer, uint64_t epoch, struct weir_output_totals *totals,
                                     struct weir_error *error)
{
    (void)writer, (void)epoch, (void)totals;
    if (atomic_fetch_sub(&shared->to_fail, 1) > 0)
        return weir_error_set(error, WEIR_FAILED, WEIR_REMEDY_REPLAY, "the sink is not in the mood");
    atomic_store(&shared->to_fail, 0);
    memcpy(numbers.prepared, numbers.next, sizeof numbers.prepared);
    return WEIR_OK;
}
static enum weir_code writer_proceed(void *writer, uint64_t epoch, struct weir_error *error)
{
    return (void)writer, (void)epoch, (void)error, WEIR_OK;
}
static void writer_committed(void *writer, uint64_t epoch)
{
    uint64_t sum = 0;
    (void)writer, (void)epoch;
    memcpy(numbers.committed, numbers.prepared, sizeof numbers.committed);
    for (int i = 0; i < SPLITS; i++) sum += (uint64_t)numbers.committed[i];
    atomic_store(&shared->shown, sum);
}
static const struct weir_sink_type sink_type = {
    .size = sizeof sink_type, .kind = "moody", .open = sink_open, .close = sink_close, .writer_open = writer_open,
    .writer_room = writer_room, .writer_write = writer_write, .writer_prepare = writer_prepare,
    .writer_proceed = writer_proceed, .writer_committed = writer_committed, .writer_close = writer_close,
};

static void define(weir_graph *graph, const weir_config *config)
{
    (void)config;
    struct weir_stream stream = weir_generator(graph, .name = "numbers", .splits = SPLITS, .per_second = 2000);
    weir_sink(stream, .name = "out", .type = &sink_type, .parallelism = 1);
}

static pid_t program;

static void start_program(void)
{
    static const char *const words[] = { "numbers", "--job", "numbers", "--checkpoint-dir", local_job.directory, "--quiet",
                                         "--checkpoint-interval", "1h" };
    enum { COUNT = sizeof words / sizeof words[0] };
    char *arguments[COUNT + 1] = { NULL };
    for (size_t i = 0; i < COUNT; i++) arguments[i] = strdup(words[i]);
    program = fork();
    ck_assert_int_ge(program, 0);
    if (program == 0) _exit(weir_main(COUNT, arguments, .define = define));
    for (size_t i = 0; i < COUNT; i++) free(arguments[i]);
}

/* ---- The test ---------------------------------------------------------------------------------------------------- */

static struct weir_error error;
static struct {
    bool is_running;
    int parallelism;
} heard;

static void hear(void *user, const char *key, const char *value)
{
    (void)user;
    if (strcmp(key, "running") == 0) heard.is_running = strcmp(value, "true") == 0;
    if (strcmp(key, "parallelism") == 0) heard.parallelism = atoi(value);
}

static enum weir_code ask(const char *request)
{
    memset(&heard, 0, sizeof heard);
    return weir_control_ask("numbers", request, PATIENCE_MS, hear, NULL, &error);
}

static void wait_until_running(void)
{
    while (ask("status") != WEIR_OK || !heard.is_running) {
        ck_assert_int_eq(waitpid(program, NULL, WNOHANG), 0);
        usleep(5000);
    }
}

static void wait_for_more(void)
{
    const uint64_t before = atomic_load(&shared->shown);
    while (atomic_load(&shared->shown) <= before) {
        ck_assert_int_eq(waitpid(program, NULL, WNOHANG), 0);
        ck_assert_msg(ask("checkpoint") == WEIR_OK, "%s", error.text);
    }
}

static void begin_test(void)
{
    local_job_begin();
    setenv("WEIR_RUNTIME_DIR", local_job.directory, 1);
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ck_assert(shared != MAP_FAILED);
    memset(shared, 0, sizeof *shared);
}

static void end_test(void)
{
    munmap(shared, sizeof *shared);
    local_job_end();
}

START_TEST(a_job_whose_last_checkpoint_fails_goes_on_as_it_was_and_says_so)
{
    int status;
    start_program();
    wait_until_running();
    const int before = heard.parallelism;
    wait_for_more();
    atomic_store(&shared->to_fail, 1);
    ck_assert_int_eq(ask("rescale 2"), WEIR_FAILED);
    ck_assert_msg(strstr(error.text, "goes on as it was") != NULL && strstr(error.text, "not in the mood") != NULL, "%s",
                  error.text);
    wait_until_running();
    ck_assert_int_eq(heard.parallelism, before);
    wait_for_more();
    ck_assert_msg(ask("rescale 3") == WEIR_OK, "%s", error.text); /* and the next time it works */
    ck_assert_int_eq(heard.parallelism, 3);
    wait_for_more();
    ck_assert_msg(ask("stop") == WEIR_OK, "%s", error.text);
    ck_assert_int_eq(waitpid(program, &status, 0), program);
    ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    ck_assert_uint_eq(atomic_load(&shared->torn), 0);
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_checked_fixture(tests, begin_test, end_test);
    tcase_add_test(tests, a_job_whose_last_checkpoint_fails_goes_on_as_it_was_and_says_so);
}

int main(void)
{
    return unit_main("main_rescale", add);
}
