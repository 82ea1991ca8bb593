#include "failures.h"

#include <stdio.h>
#include <string.h>

#include "harness/unit.h"

static struct failure failure_of(enum failure_call call, rd_kafka_resp_err_t reason)
{
    return (struct failure){ .call = call, .reason = reason, .subject = "job-0-1", .timeout_ms = 60000 };
}

static struct weir_error judged(const struct failure *failure, enum failure_action expected)
{
    struct weir_error error = { .code = WEIR_OK };
    const enum failure_action action = failure_judge(failure, &error);
    ck_assert_msg(action == expected, "call %d, %s: action %d instead of %d: %s", (int)failure->call,
                  rd_kafka_err2name(failure->reason), (int)action, (int)expected, error.text);
    return error;
}

START_TEST(young_transaction_was_fenced)
{
    static const rd_kafka_resp_err_t reasons[] = { RD_KAFKA_RESP_ERR__FENCED, RD_KAFKA_RESP_ERR_PRODUCER_FENCED,
                                                   RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH };
    for (size_t i = 0; i < 3; i++) {
        struct failure failure = failure_of(FAILURE_IN_COMMIT, reasons[i]);
        failure.fatal = true;
        failure.age_ms = 59999;
        const struct weir_error error = judged(&failure, FAILURE_STOP);
        ck_assert_int_eq(error.code, WEIR_FENCED);
        ck_assert_int_eq(error.remedy, WEIR_REMEDY_STOP);
        ck_assert(strstr(error.text, "job-0-1") != NULL);
    }
}
END_TEST

START_TEST(who_loses_another_id_than_the_first_looks_at_the_ledger)
{
    struct failure failure = failure_of(FAILURE_IN_COMMIT, RD_KAFKA_RESP_ERR__FENCED);
    failure.is_secondary = true;
    const struct weir_error error = judged(&failure, FAILURE_ROLL_BACK);
    ck_assert_int_eq(error.code, WEIR_FENCED);
    ck_assert_int_eq(error.remedy, WEIR_REMEDY_REPLAY);
}
END_TEST

START_TEST(old_transaction_may_have_timed_out)
{
    struct failure failure = failure_of(FAILURE_IN_FLUSH, RD_KAFKA_RESP_ERR__FENCED);
    failure.fatal = true;
    failure.age_ms = 60000;
    const struct weir_error error = judged(&failure, FAILURE_ROLL_BACK);
    ck_assert_int_eq(error.remedy, WEIR_REMEDY_REPLAY);
    ck_assert_int_ne(error.code, WEIR_FENCED);
    ck_assert(strstr(error.text, "timed out") != NULL);
    ck_assert(strstr(error.text, "kafka.producer.transaction.timeout.ms") != NULL);
}
END_TEST

START_TEST(fenced_while_starting_looks_again)
{
    const struct failure failure = failure_of(FAILURE_IN_INIT, RD_KAFKA_RESP_ERR__FENCED);
    const struct weir_error error = judged(&failure, FAILURE_ROLL_BACK);
    ck_assert_int_eq(error.remedy, WEIR_REMEDY_REPLAY);
}
END_TEST

START_TEST(each_row_says_what_follows)
{
    static const struct {
        const char *name;
        enum failure_call call;
        rd_kafka_resp_err_t reason;
        bool retriable, requires_abort, fatal;
        enum failure_action action;
        enum weir_code code;
    } rows[] = {
        { "right on the id", FAILURE_IN_INIT, RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED, 0, 0, 1,
          FAILURE_STOP, WEIR_ENVIRONMENT },
        { "password", FAILURE_IN_BACKGROUND, RD_KAFKA_RESP_ERR__AUTHENTICATION, 0, 0, 0, FAILURE_AGAIN, WEIR_ENVIRONMENT },
        { "time-out above the limit", FAILURE_IN_INIT, RD_KAFKA_RESP_ERR_INVALID_TRANSACTION_TIMEOUT, 0, 0, 1,
          FAILURE_STOP, WEIR_USAGE },
        { "coordinator busy", FAILURE_IN_INIT, RD_KAFKA_RESP_ERR_CONCURRENT_TRANSACTIONS, 1, 0, 0, FAILURE_RESUME,
          WEIR_OK },
        { "init fails otherwise", FAILURE_IN_INIT, RD_KAFKA_RESP_ERR_UNKNOWN, 0, 0, 1, FAILURE_AGAIN, WEIR_FAILED },
        { "commit takes longer", FAILURE_IN_COMMIT, RD_KAFKA_RESP_ERR__TIMED_OUT, 1, 0, 0, FAILURE_RESUME, WEIR_OK },
        { "flush takes longer", FAILURE_IN_FLUSH, RD_KAFKA_RESP_ERR__TIMED_OUT, 0, 0, 0, FAILURE_RESUME, WEIR_OK },
        { "record failed before", FAILURE_IN_COMMIT, RD_KAFKA_RESP_ERR__INCONSISTENT, 0, 1, 0, FAILURE_ROLL_BACK,
          WEIR_FAILED },
        { "id expired", FAILURE_IN_COMMIT, RD_KAFKA_RESP_ERR_INVALID_PRODUCER_ID_MAPPING, 0, 0, 1, FAILURE_ROLL_BACK,
          WEIR_FAILED },
        { "begin in a wrong state", FAILURE_IN_BEGIN, RD_KAFKA_RESP_ERR__STATE, 0, 0, 0, FAILURE_ROLL_BACK,
          WEIR_FAILED },
        { "begin beside another call", FAILURE_IN_BEGIN, RD_KAFKA_RESP_ERR__CONFLICT, 1, 0, 0, FAILURE_ROLL_BACK,
          WEIR_FAILED },
        { "right on an input", FAILURE_IN_OFFSETS, RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, 0, 1, 0, FAILURE_STOP,
          WEIR_ENVIRONMENT },
        { "input deleted", FAILURE_IN_OFFSETS, RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART, 0, 1, 0, FAILURE_STOP,
          WEIR_POSITION_LOST },
        { "output deleted", FAILURE_IN_DELIVERY, RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART, 0, 0, 0, FAILURE_STOP,
          WEIR_ENVIRONMENT },
        { "too large", FAILURE_IN_DELIVERY, RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE, 0, 0, 0, FAILURE_STOP, WEIR_FAILED },
        { "away for too long", FAILURE_IN_DELIVERY, RD_KAFKA_RESP_ERR__MSG_TIMED_OUT, 0, 0, 0, FAILURE_ROLL_BACK,
          WEIR_OUT_OF_PATIENCE },
        { "news", FAILURE_IN_BACKGROUND, RD_KAFKA_RESP_ERR__TRANSPORT, 0, 0, 0, FAILURE_RESUME, WEIR_OK },
        { "fatal news", FAILURE_IN_BACKGROUND, RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER, 0, 0, 1,
          FAILURE_ROLL_BACK, WEIR_FAILED },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct failure failure = failure_of(rows[i].call, rows[i].reason);
        failure.retriable = rows[i].retriable;
        failure.requires_abort = rows[i].requires_abort;
        failure.fatal = rows[i].fatal;
        const struct weir_error error = judged(&failure, rows[i].action);
        ck_assert_msg(error.code == rows[i].code, "%s: %s", rows[i].name, weir_code_name(error.code));
    }
}
END_TEST

/* Whatever librdkafka may say, wherever: an action, and a sentence that names the subject. */
START_TEST(every_failure_has_a_row)
{
    for (int call = 0; call < FAILURE_CALL_COUNT; call++)
        for (int reason = -200; reason < 140; reason++)
            for (int flags = 0; flags < 8; flags++) {
                struct failure failure = failure_of((enum failure_call)call, (rd_kafka_resp_err_t)reason);
                failure.retriable = flags & 1;
                failure.requires_abort = flags & 2;
                failure.fatal = flags & 4;
                struct weir_error error = { .code = WEIR_OK };
                const enum failure_action action = failure_judge(&failure, &error);
                if (action == FAILURE_RESUME) continue;
                ck_assert_int_ne(error.code, WEIR_OK);
                ck_assert(strstr(error.text, "job-0-1") != NULL);
                ck_assert_int_eq(error.remedy == WEIR_REMEDY_STOP, action == FAILURE_STOP);
                ck_assert_int_eq(error.remedy == WEIR_REMEDY_RETRY, action == FAILURE_AGAIN);
            }
}
END_TEST

START_TEST(what_takes_too_long_is_given_up)
{
    struct weir_error error;
    struct failure failure = failure_of(FAILURE_IN_INIT, RD_KAFKA_RESP_ERR__TIMED_OUT);
    ck_assert_int_eq(failure_overdue(&failure, 10000, &error), FAILURE_AGAIN);
    ck_assert_int_eq(error.remedy, WEIR_REMEDY_RETRY);
    failure.call = FAILURE_IN_COMMIT;
    ck_assert_int_eq(failure_overdue(&failure, 60000, &error), FAILURE_ROLL_BACK);
    ck_assert_int_eq(error.remedy, WEIR_REMEDY_REPLAY);
    ck_assert(strstr(error.text, "60000 ms") != NULL);
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_test(tests, young_transaction_was_fenced);
    tcase_add_test(tests, who_loses_another_id_than_the_first_looks_at_the_ledger);
    tcase_add_test(tests, old_transaction_may_have_timed_out);
    tcase_add_test(tests, fenced_while_starting_looks_again);
    tcase_add_test(tests, each_row_says_what_follows);
    tcase_add_test(tests, every_failure_has_a_row);
    tcase_add_test(tests, what_takes_too_long_is_given_up);
}

int main(void)
{
    return unit_main("kafka failures", add);
}
