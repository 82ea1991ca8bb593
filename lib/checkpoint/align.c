#include "checkpoint/align.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"

bool align_init(struct align *align, enum align_mode mode, uint32_t input_count, uint64_t epoch_done)
{
    CHECK(input_count > 0);
    *align = (struct align){ .mode = mode, .epoch = epoch_done, .input_count = input_count };
    align->arrived = calloc(input_count, sizeof *align->arrived);
    return align->arrived != NULL;
}

void align_deinit(struct align *align)
{
    free(align->arrived);
    align->arrived = NULL;
}

static void enter_flowing(struct align *align)
{
    memset(align->arrived, 0, align->input_count * sizeof *align->arrived);
    align->arrived_count = 0;
    align->holding = false;
}

static void enter_holding(struct align *align, uint64_t epoch)
{
    CHECK(epoch > align->epoch);
    enter_flowing(align);
    align->epoch = epoch;
    align->holding = true;
}

static enum align_answer judge(const struct align *align, uint32_t input, uint64_t epoch)
{
    if (input >= align->input_count || epoch == 0) return ALIGN_UNKNOWN;
    if (epoch > align->epoch) return ALIGN_TAKEN;
    if (epoch < align->epoch || !align->holding) return ALIGN_LATE;
    return align->arrived[input] ? ALIGN_DUPLICATE : ALIGN_TAKEN;
}

static bool holds_any(const struct align *align)
{
    return align->mode == ALIGN_EXACTLY_ONCE && align->arrived_count > 0;
}

struct align_step align_barrier(struct align *align, uint32_t input, uint64_t epoch)
{
    struct align_step step = { .answer = judge(align, input, epoch), .epoch = epoch };
    if (step.answer != ALIGN_TAKEN) return step;

    if (epoch > align->epoch) {
        /* The coordinator sends a barrier only when the epoch before has ended one way or the other: if we were still
         * waiting for an older one, it was aborted, and the word of that has not reached us yet. */
        step.resume = holds_any(align);
        enter_holding(align, epoch);
    }
    align->arrived[input] = true;
    align->arrived_count++;
    step.snapshot = align->arrived_count == align->input_count;
    step.hold = align->mode == ALIGN_EXACTLY_ONCE && !step.snapshot;
    if (step.snapshot) {
        step.resume = align->input_count > 1 && align->mode == ALIGN_EXACTLY_ONCE;
        enter_flowing(align);
    }
    return step;
}

struct align_step align_abort(struct align *align, uint64_t epoch)
{
    struct align_step step = { .answer = ALIGN_TAKEN, .epoch = epoch };
    if (epoch < align->epoch || (epoch == align->epoch && !align->holding)) {
        step.answer = ALIGN_LATE;
        return step;
    }
    step.resume = holds_any(align);
    enter_flowing(align);
    align->epoch = epoch;
    return step;
}
