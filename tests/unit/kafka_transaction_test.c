/* A transaction's thread against librdkafka's mock cluster, which proves nothing about exactly-once, but can lose
 * answers and invent errors. */
#include "transaction.h"

#include <librdkafka/rdkafka_mock.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/base.h"
#include "harness/patience.h"
#include "harness/unit.h"

enum { REQUEST_TIMEOUT_MS = 1000, LOST_MS = 20000, PRODUCE = 0, INIT_PRODUCER_ID = 22, ADD_OFFSETS_TO_TXN = 25, END_TXN = 26 };

struct run {
    rd_kafka_t *mock_owner;
    rd_kafka_mock_cluster_t *mock;
    struct weir_environment environment;
    weir_config *config;
    struct weir_connector_context context;
    struct outputs outputs;
    struct kafka_reaper *reaper;
    struct transaction *transaction;

    pthread_mutex_t mutex; /* guards what follows */
    pthread_cond_t changed;
    struct weir_decider_event event;
    bool has_event;
    bool is_gone;
};

/* ---- Waiting ----------------------------------------------------------------------------------------------------- */

static int64_t now_ms(void)
{
    return handle_now_ms();
}

static void on_answer(void *user, struct weir_decider_event *event)
{
    struct run *run = user;
    pthread_mutex_lock(&run->mutex);
    ck_assert(!run->has_event);
    run->event = *event;
    run->has_event = true;
    pthread_cond_signal(&run->changed);
    pthread_mutex_unlock(&run->mutex);
}

static void on_gone(void *user)
{
    struct run *run = user;
    pthread_mutex_lock(&run->mutex);
    run->is_gone = true;
    pthread_cond_signal(&run->changed);
    pthread_mutex_unlock(&run->mutex);
}

static void await(struct run *run, const bool *condition)
{
    struct timespec deadline;
    clock_gettime(CLOCK_REALTIME, &deadline);
    deadline.tv_sec += PATIENCE_MS / 1000;
    pthread_mutex_lock(&run->mutex);
    int result = 0;
    while (!*condition && result == 0) result = pthread_cond_timedwait(&run->changed, &run->mutex, &deadline);
    const bool holds = *condition;
    pthread_mutex_unlock(&run->mutex);
    ck_assert_msg(holds, "nothing came within %d s", PATIENCE_MS / 1000);
}

static struct weir_decider_event next_event(struct run *run)
{
    await(run, &run->has_event);
    pthread_mutex_lock(&run->mutex);
    run->has_event = false;
    const struct weir_decider_event event = run->event;
    pthread_mutex_unlock(&run->mutex);
    return event;
}

static struct weir_decider_event expect(struct run *run, enum weir_decider_event_type type)
{
    const struct weir_decider_event event = next_event(run);
    ck_assert_msg(event.type == type, "event %d instead of %d: %s", (int)event.type, (int)type,
                  event.type == WEIR_DECIDER_FAILED ? event.error.text : "");
    return event;
}

static struct weir_error expect_failure(struct run *run, enum weir_code code, enum weir_remedy remedy)
{
    const struct weir_decider_event event = expect(run, WEIR_DECIDER_FAILED);
    ck_assert_msg(event.error.code == code && event.error.remedy == remedy, "%s, remedy %d: %s",
                  weir_code_name(event.error.code), (int)event.error.remedy, event.error.text);
    return event.error;
}

/* ---- A transaction ----------------------------------------------------------------------------------------------- */

static void print_log(void *user, const struct weir_log_line *line)
{
    (void)user;
    if (getenv("WEIR_TEST_LOG") != NULL) (void)fprintf(stderr, "%d %s\n", (int)line->level, line->text);
}

static void start_mock(struct run *run)
{
    char text[256];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    rd_kafka_conf_set(conf, "log_level", "0", text, sizeof text);
    rd_kafka_conf_set(conf, "enable.metrics.push", "false", text, sizeof text); /* its end would take a second */
    run->mock_owner = rd_kafka_new(RD_KAFKA_PRODUCER, conf, text, sizeof text);
    ck_assert_ptr_nonnull(run->mock_owner);
    run->mock = rd_kafka_mock_cluster_new(run->mock_owner, 1);
    ck_assert_int_eq(rd_kafka_mock_topic_create(run->mock, "ledger", 1, 1), RD_KAFKA_RESP_ERR_NO_ERROR);
    ck_assert_int_eq(rd_kafka_mock_topic_create(run->mock, "in", 1, 1), RD_KAFKA_RESP_ERR_NO_ERROR);
}

static void configure(struct run *run, const char *key, const char *value)
{
    struct weir_error error;
    ck_assert_msg(weir_config_set(run->config, WEIR_CONFIG_CODE, key, value, "test", &error) == WEIR_OK, "%s",
                  error.text);
}

static void start(struct run *run)
{
    *run = (struct run){ .config = weir_config_create(), .reaper = kafka_reaper_create() };
    pthread_mutex_init(&run->mutex, NULL);
    pthread_cond_init(&run->changed, NULL);
    environment_init_system(&run->environment);
    run->environment.log = print_log;
    outputs_init(&run->outputs);
    start_mock(run);
    configure(run, "kafka.bootstrap.servers", rd_kafka_mock_cluster_bootstraps(run->mock));
    configure(run, "kafka.socket.timeout.ms", "1000");
    run->context = (struct weir_connector_context){ .environment = &run->environment, .config = run->config,
                                                    .job = "job", .parallelism = 1, .exactly_once = true };
    const struct transaction_options options = {
        .context = &run->context, .id = "job-0-0", .index = 0, .attempt = 7, .ledger_topic = "ledger",
        .outputs = &run->outputs, .reaper = run->reaper, .answer = on_answer, .gone = on_gone, .user = run,
    };
    struct weir_error error;
    ck_assert(transaction_start(&options, &run->transaction, &error) == WEIR_OK);
}

static void abandon(struct run *run)
{
    transaction_abandon(run->transaction);
    run->transaction = NULL;
}

static void finish(struct run *run)
{
    if (run->transaction != NULL) abandon(run);
    await(run, &run->is_gone);
    kafka_reaper_destroy(run->reaper, 10000);
    /* The mock cluster ends with the process: destroying it takes a second. */
    outputs_deinit(&run->outputs);
    weir_config_destroy(run->config);
    pthread_cond_destroy(&run->changed);
    pthread_mutex_destroy(&run->mutex);
}

static void take_over(struct run *run)
{
    transaction_take_over(run->transaction, 3, true);
    const struct weir_decider_event event = expect(run, WEIR_DECIDER_RENEWED);
    ck_assert_uint_eq(event.attempt, 7);
    ck_assert_uint_eq(event.handle, 3);
}

/* Up to the commit. */
static void fill(struct run *run)
{
    transaction_begin(run->transaction, 3, 5);
    ck_assert_uint_eq(expect(run, WEIR_DECIDER_BEGUN).epoch, 5);
    transaction_flush(run->transaction, 3, 5, weir_text("k"), weir_text("v"), false);
    ck_assert_uint_eq(expect(run, WEIR_DECIDER_FLUSHED).epoch, 5);
}

static void lose_answers(struct run *run, int request, size_t count)
{
    while (count-- > 0) /* the answer comes long after the client has given up */
        rd_kafka_mock_broker_push_request_error_rtts(run->mock, 1, (int16_t)request, 1, RD_KAFKA_RESP_ERR_NO_ERROR, LOST_MS);
}

/* ---- Facts ------------------------------------------------------------------------------------------------------- */

START_TEST(commits_without_a_reason_to_renew)
{
    struct run run;
    start(&run);
    take_over(&run);
    fill(&run);
    transaction_commit(run.transaction, 3, 5);
    const struct weir_decider_event event = expect(&run, WEIR_DECIDER_COMMITTED);
    ck_assert_uint_eq(event.epoch, 5);
    ck_assert(!event.renew);
    finish(&run);
}
END_TEST

/* R5: the lost request may arrive late, so the handle may not be used again. */
START_TEST(unanswered_commit_asks_for_a_new_handle)
{
    struct run run;
    start(&run);
    take_over(&run);
    fill(&run);
    lose_answers(&run, END_TXN, 1);
    transaction_commit(run.transaction, 3, 5);
    const struct weir_decider_event event = expect(&run, WEIR_DECIDER_COMMITTED);
    ck_assert(event.renew);
    take_over(&run);
    fill(&run);
    transaction_commit(run.transaction, 3, 5);
    ck_assert(!expect(&run, WEIR_DECIDER_COMMITTED).renew);
    finish(&run);
}
END_TEST

START_TEST(unanswered_positions_ask_for_a_new_handle)
{
    struct run run;
    struct weir_splits positions = { 0 };
    ck_assert(weir_splits_add(&positions, &(struct weir_split){ .name = "in/0", .position = 4 }));
    start(&run);
    take_over(&run);
    fill(&run);
    lose_answers(&run, ADD_OFFSETS_TO_TXN, 1);
    transaction_offsets(run.transaction, 3, 5, &positions, "metadata");
    expect(&run, WEIR_DECIDER_READY);
    transaction_commit(run.transaction, 3, 5);
    ck_assert(expect(&run, WEIR_DECIDER_COMMITTED).renew);
    weir_splits_clear(&positions);
    finish(&run);
}
END_TEST

START_TEST(answered_refusal_is_no_reason_to_renew)
{
    struct run run;
    start(&run);
    take_over(&run);
    fill(&run);
    rd_kafka_mock_push_request_errors(run.mock, END_TXN, 1, RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS);
    transaction_commit(run.transaction, 3, 5);
    ck_assert(!expect(&run, WEIR_DECIDER_COMMITTED).renew);
    finish(&run);
}
END_TEST

START_TEST(unanswered_init_is_done_once_more)
{
    struct run run;
    start(&run);
    lose_answers(&run, INIT_PRODUCER_ID, 1);
    take_over(&run);
    fill(&run);
    transaction_commit(run.transaction, 3, 5);
    ck_assert(!expect(&run, WEIR_DECIDER_COMMITTED).renew);
    finish(&run);
}
END_TEST

START_TEST(announces_in_a_transaction_of_its_own)
{
    struct run run;
    start(&run);
    take_over(&run);
    transaction_announce(run.transaction, weir_text("k"), weir_text("v"));
    expect(&run, WEIR_DECIDER_ANNOUNCED);
    finish(&run);
}
END_TEST

/* R5: a lost request may arrive late, so the handle may not be used again, and another start may have come meanwhile. */
START_TEST(unanswered_announcement_looks_again)
{
    struct run run;
    start(&run);
    take_over(&run);
    lose_answers(&run, END_TXN, 1);
    transaction_announce(run.transaction, weir_text("k"), weir_text("v"));
    expect_failure(&run, WEIR_FAILED, WEIR_REMEDY_REPLAY);
    finish(&run);
}
END_TEST

START_TEST(fenced_commit_is_reported_once)
{
    struct run run;
    start(&run);
    take_over(&run);
    fill(&run);
    rd_kafka_mock_push_request_errors(run.mock, END_TXN, 1, RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH);
    transaction_commit(run.transaction, 3, 5);
    transaction_begin(run.transaction, 3, 6); /* is silent: the failure was the answer to all */
    expect_failure(&run, WEIR_FENCED, WEIR_REMEDY_STOP);
    finish(&run);
    ck_assert(!run.has_event);
}
END_TEST

START_TEST(lost_right_stops_the_job)
{
    struct run run;
    start(&run);
    take_over(&run);
    rd_kafka_mock_push_request_errors(run.mock, PRODUCE, 1, RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED);
    transaction_begin(run.transaction, 3, 5);
    expect(&run, WEIR_DECIDER_BEGUN);
    transaction_flush(run.transaction, 3, 5, weir_text("k"), weir_text("v"), false);
    const struct weir_error error = expect_failure(&run, WEIR_ENVIRONMENT, WEIR_REMEDY_STOP);
    ck_assert_msg(strstr(error.text, "ledger/0") != NULL, "%s", error.text);
    finish(&run);
}
END_TEST

/* The id expired while the job slept: a new handle mends it, whatever librdkafka calls it. */
START_TEST(expired_id_asks_for_a_replay)
{
    struct run run;
    start(&run);
    take_over(&run);
    fill(&run);
    rd_kafka_mock_push_request_errors(run.mock, END_TXN, 1, RD_KAFKA_RESP_ERR_INVALID_PRODUCER_ID_MAPPING);
    transaction_commit(run.transaction, 3, 5);
    expect_failure(&run, WEIR_FAILED, WEIR_REMEDY_REPLAY);
    finish(&run);
}
END_TEST

/* Whoever waited for the commit would never be faster than the time-out of its request. A busy machine may be as slow now and
 * then. */
START_TEST(abandoning_waits_for_nobody)
{
    int64_t best_ms = INT64_MAX;
    for (int round = 0; round < 20 && best_ms >= REQUEST_TIMEOUT_MS; round++) {
        struct run run;
        start(&run);
        take_over(&run);
        fill(&run);
        lose_answers(&run, END_TXN, 20);
        transaction_commit(run.transaction, 3, 5);
        const int64_t began_ms = now_ms();
        abandon(&run);
        if (now_ms() - began_ms < best_ms) best_ms = now_ms() - began_ms;
        finish(&run);
        ck_assert(!run.has_event);
    }
    ck_assert_int_lt(best_ms, REQUEST_TIMEOUT_MS);
}
END_TEST

START_TEST(handle_is_there_for_its_epoch_only)
{
    struct run run;
    start(&run);
    take_over(&run);
    ck_assert_ptr_null(transaction_acquire(run.transaction, 5));
    fill(&run);
    struct handle *handle = transaction_acquire(run.transaction, 5);
    ck_assert_ptr_nonnull(handle);
    ck_assert_ptr_null(transaction_acquire(run.transaction, 6));
    handle_release(handle);
    transaction_commit(run.transaction, 3, 5);
    expect(&run, WEIR_DECIDER_COMMITTED);
    ck_assert_ptr_null(transaction_acquire(run.transaction, 5));
    finish(&run);
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_test(tests, commits_without_a_reason_to_renew);
    tcase_add_test(tests, unanswered_commit_asks_for_a_new_handle);
    tcase_add_test(tests, unanswered_positions_ask_for_a_new_handle);
    tcase_add_test(tests, answered_refusal_is_no_reason_to_renew);
    tcase_add_test(tests, unanswered_init_is_done_once_more);
    tcase_add_test(tests, announces_in_a_transaction_of_its_own);
    tcase_add_test(tests, unanswered_announcement_looks_again);
    tcase_add_test(tests, fenced_commit_is_reported_once);
    tcase_add_test(tests, lost_right_stops_the_job);
    tcase_add_test(tests, expired_id_asks_for_a_replay);
    tcase_add_test(tests, abandoning_waits_for_nobody);
    tcase_add_test(tests, handle_is_there_for_its_epoch_only);
}

int main(void)
{
    return unit_main("kafka transaction", add);
}
