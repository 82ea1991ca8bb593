#include "failures.h"

#include <stdio.h>

#define IN(call) (1u << FAILURE_IN_##call)
#define ANYWHERE (~0u)
#define CALLS_THAT_RESUME (IN(INIT) | IN(FLUSH) | IN(OFFSETS) | IN(COMMIT))

enum failure_class { BY_REASON, BY_RETRIABLE, BY_ABORT, BY_FATAL, BY_NOTHING };

/* The first row that fits counts. Rows by reason stand before rows by librdkafka's own classification, because the
 * reason says more: "fatal" covers a lost right, a time-out and a bad setting alike. */
static const struct failure_row {
    unsigned calls;
    enum failure_class class;
    rd_kafka_resp_err_t reason;
    enum failure_action action;
    enum weir_code code;
    const char *advice;
} rows[] = {
#define ROW(calls, reason, action, code, advice)                                                                       \
    { calls, BY_REASON, RD_KAFKA_RESP_ERR_##reason, FAILURE_##action, WEIR_##code, advice }

    /* Rights and settings: the same tomorrow. */
    ROW(ANYWHERE, TRANSACTIONAL_ID_AUTHORIZATION_FAILED, STOP, ENVIRONMENT,
        "allow this user to Describe and Write transactional ids that begin with the job's name"),
    ROW(ANYWHERE, GROUP_AUTHORIZATION_FAILED, STOP, ENVIRONMENT,
        "allow this user to Read the group that is named like the job"),
    ROW(IN(OFFSETS), TOPIC_AUTHORIZATION_FAILED, STOP, ENVIRONMENT, "allow this user to Read the input topics"),
    ROW(ANYWHERE, TOPIC_AUTHORIZATION_FAILED, STOP, ENVIRONMENT,
        "allow this user to Describe and Write the output topics and the ledger"),
    ROW(ANYWHERE, CLUSTER_AUTHORIZATION_FAILED, STOP, ENVIRONMENT,
        "allow this user IdempotentWrite on the cluster (brokers before 2.8 ask for it)"),
    ROW(ANYWHERE, INVALID_TRANSACTION_TIMEOUT, STOP, USAGE,
        "lower kafka.producer.transaction.timeout.ms, or raise the brokers' transaction.max.timeout.ms"),
    ROW(ANYWHERE, UNSUPPORTED_VERSION, STOP, ENVIRONMENT, "exactly-once needs brokers of version 2.5 or newer"),
    ROW(ANYWHERE, _UNSUPPORTED_FEATURE, STOP, ENVIRONMENT, "exactly-once needs brokers of version 2.5 or newer"),
    ROW(ANYWHERE, UNSUPPORTED_FOR_MESSAGE_FORMAT, STOP, ENVIRONMENT,
        "a topic has an old message format: raise its message.format.version"),
    ROW(ANYWHERE, SECURITY_DISABLED, STOP, ENVIRONMENT, "the brokers have no authorizer"),

    /* Users are made and passwords changed while a job waits. */
    ROW(ANYWHERE, SASL_AUTHENTICATION_FAILED, AGAIN, ENVIRONMENT, "check user, password and kafka.sasl.mechanism"),
    ROW(ANYWHERE, _AUTHENTICATION, AGAIN, ENVIRONMENT, "check user, password and kafka.sasl.mechanism"),

    /* Records that no broker will take, and topics that are not there. */
    ROW(ANYWHERE, MSG_SIZE_TOO_LARGE, STOP, FAILED,
        "raise max.message.bytes of the topic and kafka.producer.message.max.bytes, or give the sink a "
        "dead_letter_topic"),
    ROW(ANYWHERE, RECORD_LIST_TOO_LARGE, STOP, FAILED, "raise the topic's segment.bytes"),
    ROW(ANYWHERE, INVALID_RECORD, STOP, FAILED, "a compacted topic takes no records without a key"),
    ROW(ANYWHERE, INVALID_MSG, STOP, FAILED, "a compacted topic takes no records without a key"),
    ROW(ANYWHERE, INVALID_TIMESTAMP, STOP, FAILED,
        "record times are outside of what the topic allows (message.timestamp.before.max.ms and after.max.ms)"),
    ROW(ANYWHERE, POLICY_VIOLATION, STOP, FAILED, "a policy of the brokers refuses the record"),
    ROW(IN(OFFSETS), UNKNOWN_TOPIC_OR_PART, STOP, POSITION_LOST, "an input topic was deleted"),
    ROW(ANYWHERE, UNKNOWN_TOPIC_OR_PART, STOP, ENVIRONMENT, "create the topic, or start with --create-topics"),
    ROW(ANYWHERE, _UNKNOWN_TOPIC, STOP, ENVIRONMENT, "create the topic, or start with --create-topics"),
    ROW(ANYWHERE, _UNKNOWN_PARTITION, STOP, ENVIRONMENT,
        "the topic has fewer partitions than when the job started; start it again if that is right"),
    ROW(ANYWHERE, TOPIC_EXCEPTION, STOP, ENVIRONMENT, "the topic's name is not valid"),

    /* The broker forgot the producer, or its sequence broke: a new handle gets a new identity. */
    ROW(ANYWHERE, INVALID_PRODUCER_ID_MAPPING, ROLL_BACK, FAILED, "the transactional id had expired"),
    ROW(ANYWHERE, UNKNOWN_PRODUCER_ID, ROLL_BACK, FAILED, ""),
    ROW(ANYWHERE, OUT_OF_ORDER_SEQUENCE_NUMBER, ROLL_BACK, FAILED, ""),
    ROW(ANYWHERE, INVALID_TXN_STATE, ROLL_BACK, FAILED, ""),
    ROW(ANYWHERE, _STATE, ROLL_BACK, FAILED, ""),

    /* The group: with assigned partitions nobody else should be in it. */
    ROW(IN(OFFSETS), ILLEGAL_GENERATION, ROLL_BACK, FAILED, "a consumer uses the group that is named like the job"),
    ROW(IN(OFFSETS), UNKNOWN_MEMBER_ID, ROLL_BACK, FAILED, "a consumer uses the group that is named like the job"),
    ROW(IN(OFFSETS), FENCED_INSTANCE_ID, ROLL_BACK, FAILED, "a consumer uses the group that is named like the job"),
    ROW(IN(OFFSETS), OFFSET_METADATA_TOO_LARGE, STOP, ENVIRONMENT, "raise the brokers' offset.metadata.max.bytes"),

    /* Time ran out for a record: the cluster was away for longer than message.timeout.ms. */
    ROW(ANYWHERE, _MSG_TIMED_OUT, ROLL_BACK, OUT_OF_PATIENCE, ""),
    ROW(IN(PRODUCE), _QUEUE_FULL, ROLL_BACK, FAILED, "more is queued than a sink may hold"),
#undef ROW

    /* What librdkafka says of itself. */
    { CALLS_THAT_RESUME, BY_RETRIABLE, 0, FAILURE_RESUME, WEIR_OK, "" },
    { IN(BACKGROUND), BY_RETRIABLE, 0, FAILURE_RESUME, WEIR_OK, "" },
    { IN(BEGIN), BY_RETRIABLE, 0, FAILURE_ROLL_BACK, WEIR_FAILED, "" },
    { ANYWHERE, BY_ABORT, 0, FAILURE_ROLL_BACK, WEIR_FAILED, "" },
    { IN(INIT), BY_FATAL, 0, FAILURE_AGAIN, WEIR_FAILED, "" },
    { ANYWHERE, BY_FATAL, 0, FAILURE_ROLL_BACK, WEIR_FAILED, "" },
    { IN(FLUSH), BY_REASON, RD_KAFKA_RESP_ERR__TIMED_OUT, FAILURE_RESUME, WEIR_OK, "" }, /* a code, not an object */
    { IN(INIT), BY_NOTHING, 0, FAILURE_AGAIN, WEIR_FAILED, "" },
    { IN(BACKGROUND), BY_NOTHING, 0, FAILURE_RESUME, WEIR_OK, "" }, /* for the log; what matters fails a call too */
    { ANYWHERE, BY_NOTHING, 0, FAILURE_ROLL_BACK, WEIR_FAILED, "" },
};

static bool row_fits(const struct failure_row *row, const struct failure *failure)
{
    if ((row->calls & 1u << failure->call) == 0) return false;
    switch (row->class) {
    case BY_REASON: return row->reason == failure->reason;
    case BY_RETRIABLE: return failure->retriable;
    case BY_ABORT: return failure->requires_abort;
    case BY_FATAL: return failure->fatal;
    case BY_NOTHING: break;
    }
    return true;
}

static const struct failure_row *row_of(const struct failure *failure)
{
    const struct failure_row *row = rows;
    while (!row_fits(row, failure)) row++; /* the last one fits everything */
    return row;
}

static enum weir_remedy remedy_of(enum failure_action action)
{
    switch (action) {
    case FAILURE_AGAIN: return WEIR_REMEDY_RETRY;
    case FAILURE_STOP: return WEIR_REMEDY_STOP;
    case FAILURE_RESUME:
    case FAILURE_ROLL_BACK: break;
    }
    return WEIR_REMEDY_REPLAY;
}

static const char *call_text(enum failure_call call)
{
    static const char *const texts[] = {
#define FAILURE_CALL_TEXT(name, text) text,
        FAILURE_CALLS(FAILURE_CALL_TEXT)
#undef FAILURE_CALL_TEXT
    };
    return texts[call];
}

static bool is_fenced(rd_kafka_resp_err_t reason)
{
    return reason == RD_KAFKA_RESP_ERR__FENCED || reason == RD_KAFKA_RESP_ERR_PRODUCER_FENCED ||
           reason == RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH;
}

static enum failure_action judge_fenced(const struct failure *failure, struct weir_error *error)
{
    /* A handle that is only being made cannot have been taken over in mid-work: whoever was faster has announced itself
     * in the ledger, where the next look finds it. */
    if (failure->call == FAILURE_IN_INIT) {
        weir_error_set(error, WEIR_FENCED, WEIR_REMEDY_REPLAY,
                       "%s '%s': another instance of this job does the same now",
                       call_text(failure->call), failure->subject);
        return FAILURE_ROLL_BACK;
    }
    if (failure->age_ms >= failure->timeout_ms) {
        weir_error_set(error, WEIR_FAILED, WEIR_REMEDY_REPLAY,
                       "%s '%s': the transaction timed out: it was open for %lld ms, and the brokers end it after "
                       "%lld ms (kafka.producer.transaction.timeout.ms)",
                       call_text(failure->call), failure->subject, (long long)failure->age_ms,
                       (long long)failure->timeout_ms);
        return FAILURE_ROLL_BACK;
    }
    if (failure->is_secondary) {
        weir_error_set(error, WEIR_FENCED, WEIR_REMEDY_REPLAY,
                       "%s '%s': another start of this job took the id; the ledger tells who goes on",
                       call_text(failure->call), failure->subject);
        return FAILURE_ROLL_BACK;
    }
    weir_error_set(error, WEIR_FENCED, WEIR_REMEDY_STOP,
                   "%s '%s': another instance of this job took over, %lld ms after the transaction began (brokers end "
                   "one by themselves after %lld ms)",
                   call_text(failure->call), failure->subject, (long long)failure->age_ms,
                   (long long)failure->timeout_ms);
    return FAILURE_STOP;
}

enum failure_action failure_judge(const struct failure *failure, struct weir_error *error)
{
    if (is_fenced(failure->reason)) return judge_fenced(failure, error);
    const struct failure_row *row = row_of(failure);
    if (row->action == FAILURE_RESUME) return FAILURE_RESUME;
    weir_error_set(error, row->code, remedy_of(row->action), "%s '%s': %s (%s)%s%s", call_text(failure->call),
                   failure->subject, failure->detail != NULL ? failure->detail : rd_kafka_err2str(failure->reason),
                   rd_kafka_err2name(failure->reason), row->advice[0] != '\0' ? "; " : "", row->advice);
    return row->action;
}

enum failure_action failure_overdue(const struct failure *failure, int64_t waited_ms, struct weir_error *error)
{
    const bool is_init = failure->call == FAILURE_IN_INIT;
    const enum failure_action action = is_init ? FAILURE_AGAIN : FAILURE_ROLL_BACK;
    const char *detail = failure->detail != NULL ? failure->detail : rd_kafka_err2str(failure->reason);
    weir_error_set(error, WEIR_OUT_OF_PATIENCE, remedy_of(action), "%s '%s': no end within %lld ms: %s",
                   call_text(failure->call), failure->subject, (long long)waited_ms, detail);
    return action;
}
