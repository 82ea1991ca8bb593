#include "sim/tale.h"

#include "sim/fate.h"
#include "sim/world.h"

static enum tale told;

static enum tale draw(void)
{
    const uint64_t percent = fate_below(100);
    if (percent < 3) return TALE_ORIGIN;
    if (percent < 6) return TALE_REPETITION;
    if (percent < 9) return TALE_FLICKER;
    if (percent < 11) return TALE_ANNOUNCEMENT;
    return TALE_NONE;
}

void tale_begin(bool may_have_one)
{
    struct world_report *seen = world_seen();
    told = may_have_one ? draw() : TALE_NONE;
    seen->origin_tales += told == TALE_ORIGIN;
    seen->repetition_tales += told == TALE_REPETITION;
    seen->flicker_tales += told == TALE_FLICKER;
    seen->announcement_tales += told == TALE_ANNOUNCEMENT;
}

bool tale_is(enum tale tale) { return told == tale; }
