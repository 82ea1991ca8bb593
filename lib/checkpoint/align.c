#include "checkpoint/align.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"

bool align_init(struct align *align, enum align_mode mode, uint32_t input_count, uint64_t epoch_done)
{
    CHECK(input_count > 0);
    *align = (struct align){ .mode = mode, .epoch = epoch_done, .input_count = input_count };
    align->arrived = calloc(input_count, sizeof *align->arrived);
    align->ordered = calloc(input_count, sizeof *align->ordered);
    if (align->arrived != NULL && align->ordered != NULL) return true;
    align_deinit(align);
    return false;
}

void align_deinit(struct align *align)
{
    free(align->arrived);
    free(align->ordered);
    align->arrived = align->ordered = NULL;
}

void align_keep_order(struct align *align, uint32_t input)
{
    CHECK(input < align->input_count && !align->holding);
    align->ordered[input] = true;
}

static void enter_flowing(struct align *align)
{
    memset(align->arrived, 0, align->input_count * sizeof *align->arrived);
    align->arrived_count = 0;
    align->holding = align->overtaking = align->logging = false;
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
    return align->mode == ALIGN_EXACTLY_ONCE && align->arrived_count > 0 && !align->logging;
}

static bool may_overtake(const struct align *align)
{
    for (uint32_t i = 0; i < align->input_count; i++)
        if (align->ordered[i] && !align->arrived[i]) return false;
    return align->overtaking;
}

/* Whatever follows from what has arrived. */
static void advance(struct align *align, struct align_step *step)
{
    const bool all = align->arrived_count == align->input_count;
    if (align->logging) {
        step->logged = all;
    } else if (all || may_overtake(align)) {
        step->snapshot = true;
        step->logged = all && align->overtaking;
        step->resume |= align->mode == ALIGN_EXACTLY_ONCE && align->arrived_count > 0 && align->input_count > 1;
        align->logging = !all;
    }
    if (all) enter_flowing(align);
}

struct align_step align_overtake(struct align *align, uint64_t epoch)
{
    struct align_step step = { .answer = ALIGN_TAKEN, .epoch = epoch };
    CHECK(align->mode == ALIGN_EXACTLY_ONCE && epoch > 0);
    if (epoch < align->epoch || (epoch == align->epoch && !align->holding)) step.answer = ALIGN_LATE;
    else if (epoch == align->epoch && align->overtaking) step.answer = ALIGN_DUPLICATE;
    if (step.answer != ALIGN_TAKEN) return step;

    if (epoch > align->epoch) {
        step.resume = holds_any(align);
        enter_holding(align, epoch);
    }
    align->overtaking = true;
    advance(align, &step);
    return step;
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
    const bool was_logging = align->logging;
    advance(align, &step);
    step.hold = align->mode == ALIGN_EXACTLY_ONCE && !step.snapshot && !was_logging;
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
