/* Taking several transactional ids over, which is one call to the core: fence, or finish. Id 0 goes first, because it is
 * the one that announces. Of two starts at the same moment, the one that loses id 0 must not hold another id meanwhile
 * and commit with it what the winner, who has read the ledger by then, does not know of (R8; tests/spin, R8_FIRST).
 *
 *     round_begin ──> take id 0 over ──RENEWED 0──> round_renewed: ROUND_REST ──> take 1 ... n-1 over
 *                                    ──RENEWED i──> ROUND_WAITS ... ROUND_ENDS
 *
 * Ids are made anew one by one too (decider.renew). Such an answer may come when a later round has begun, and belongs to
 * what was asked for first. Pure; the decider guards it. */
#ifndef KAFKA_ROUND_H
#define KAFKA_ROUND_H

#include "weir/connector.h"

enum { ROUND_IDS_MAX = 256 };

struct round {
    enum weir_decider_event_type answer; /* FENCED or FINISHED */
    uint32_t attempt;
    uint32_t count;   /* ids in all */
    uint32_t missing; /* 0 = there is no round */
    uint32_t renewals[ROUND_IDS_MAX]; /* asked for outside of a round, and not answered */
};

/* A new attempt: what was asked for before will not be answered. */
void round_forget(struct round *round);
/* Id 0 is to be taken over now. */
void round_begin(struct round *round, enum weir_decider_event_type answer, uint32_t attempt, uint32_t count);
void round_expect_renewal(struct round *round, uint32_t id);

enum round_step {
    ROUND_OUTSIDE, /* the answer to a renewal: pass it on */
    ROUND_REST,    /* ids 1 to count - 1 are to be taken over now */
    ROUND_WAITS,
    ROUND_ENDS,    /* `answer` goes to the core */
};
enum round_step round_renewed(struct round *round, uint32_t attempt, uint32_t id);

#endif
