/* What follows from a failure of a producer: one table, in failures.c. Pure; any thread.
 *
 *   RESUME      call the same function again: it goes on where it was, nothing was sent twice
 *   AGAIN       the cluster cannot do it now; the runtime waits and begins the attempt anew (remedy RETRY)
 *   ROLL_BACK   the transaction is lost, or its fate unknown: give all handles up, and find the truth in the ledger
 *               (remedy REPLAY)
 *   STOP        nothing automatic can help (remedy STOP, with the code that the job ends with)
 *
 * A handle is never used again after anything but RESUME: aborting and going on with it would save a few milliseconds
 * in cases that are rare, and librdkafka's ways out of them differ by version. So `new handle` is what ROLL_BACK and
 * AGAIN mean for the handle: the next fence makes one.
 *
 * Fenced or timed out (R7): both come as the same error. Whoever is younger than the time-out has been fenced by
 * somebody; whoever is older may have been timed out by the broker, and finds out by reading the ledger before any new
 * init.
 *
 * Two starts at the same time may each take over some of the ids. The first id decides: whoever loses it stops; whoever
 * loses another one looks at the ledger, and takes all of them over again when nobody newer has announced himself. */
#ifndef KAFKA_FAILURES_H
#define KAFKA_FAILURES_H

#include <librdkafka/rdkafka.h>

#include "weir/connector.h"

/* Where it happened. */
#define FAILURE_CALLS(X)                                                                                               \
    X(INIT, "taking the transactional id over")                                                                        \
    X(BEGIN, "beginning the transaction")                                                                              \
    X(PRODUCE, "writing to")                                                                                           \
    X(DELIVERY, "writing to") /* a record that was rejected later */                                                   \
    X(FLUSH, "flushing the transaction")                                                                               \
    X(OFFSETS, "adding the source positions to the transaction")                                                       \
    X(COMMIT, "committing the transaction")                                                                            \
    X(BACKGROUND, "in the background") /* an error event, without a call of ours */

enum failure_call {
#define FAILURE_CALL_ENUM(name, text) FAILURE_IN_##name,
    FAILURE_CALLS(FAILURE_CALL_ENUM)
#undef FAILURE_CALL_ENUM
    FAILURE_CALL_COUNT
};

enum failure_action { FAILURE_RESUME, FAILURE_AGAIN, FAILURE_ROLL_BACK, FAILURE_STOP };

struct failure {
    enum failure_call call;
    rd_kafka_resp_err_t reason;
    bool retriable;      /* rd_kafka_error_is_retriable */
    bool requires_abort; /* rd_kafka_error_txn_requires_abort */
    bool fatal;          /* rd_kafka_error_is_fatal */
    bool is_secondary;   /* of an id that is not the first of its ring */
    const char *detail;  /* the client's sentence; NULL = that of `reason` */
    const char *subject; /* transactional id or topic */
    int64_t age_ms;      /* of the open transaction: since its first request was sent; 0 = none is open */
    int64_t timeout_ms;  /* of transactions */
};

/* What to do; for everything but RESUME, *error is filled. */
enum failure_action failure_judge(const struct failure *failure, struct weir_error *error);

/* A call that did not end in time: `waited_ms`. */
enum failure_action failure_overdue(const struct failure *failure, int64_t waited_ms, struct weir_error *error);

#endif
