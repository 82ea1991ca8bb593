#include "round.h"

void round_forget(struct round *round)
{
    *round = (struct round){ 0 };
}

void round_begin(struct round *round, enum weir_decider_event_type answer, uint32_t attempt, uint32_t count)
{
    round->answer = answer;
    round->attempt = attempt;
    round->count = round->missing = count;
}

void round_expect_renewal(struct round *round, uint32_t id)
{
    round->renewals[id]++;
}

enum round_step round_renewed(struct round *round, uint32_t attempt, uint32_t id)
{
    if (round->renewals[id] > 0) {
        round->renewals[id]--;
        return ROUND_OUTSIDE;
    }
    if (round->missing == 0 || round->attempt != attempt) return ROUND_OUTSIDE;
    round->missing--;
    if (round->missing == 0) return ROUND_ENDS;
    return id == 0 ? ROUND_REST : ROUND_WAITS;
}
