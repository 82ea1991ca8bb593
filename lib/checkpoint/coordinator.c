/* The checkpoint coordinator: coordinator.h has the drawing and the rules. As in commit.c, events are taken down as
 * facts, and `advance` does what they allow. */
#include "checkpoint/coordinator.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "checkpoint/trace.h"

struct step {
    struct coordinator *coordinator;
    const struct coordinator_event *event;
    struct coordinator_actions *out;
    uint32_t phase_count; /* the phases it went through, for the trace */
    enum coordinator_phase phases[4];
};

#define BIT(phase) (1u << COORDINATOR_##phase)

/* The edges of the drawing. */
static const uint32_t edges[] = {
    [COORDINATOR_CLOSED] = BIT(OPEN),
    [COORDINATOR_OPEN] = BIT(COLLECTING),
    [COORDINATOR_COLLECTING] = BIT(COMMITTING) | BIT(ENDED) | BIT(FAILED),
    [COORDINATOR_COMMITTING] = BIT(OPEN) | BIT(FAILED),
    [COORDINATOR_ENDED] = 0,
    [COORDINATOR_FAILED] = 0,
};

static void set_phase(struct step *step, enum coordinator_phase phase)
{
    CHECK((edges[step->coordinator->phase] >> phase & 1) != 0);
    CHECK(step->phase_count < sizeof step->phases / sizeof step->phases[0]);
    step->coordinator->phase = phase;
    step->phases[step->phase_count++] = phase;
}

bool coordinator_init(struct coordinator *coordinator, const struct coordinator_options *options,
                      uint32_t subtask_count, uint64_t epoch, int64_t now_us)
{
    CHECK(subtask_count > 0 && epoch > 0);
    *coordinator = (struct coordinator){
        .options = *options,
        .epoch = epoch,
        .subtask_count = subtask_count,
        .acked = calloc(subtask_count, sizeof *coordinator->acked),
        .flown = calloc(subtask_count, sizeof *coordinator->flown),
        .aligned = options->begins_aligned,
        .barrier_at_us = now_us,
        .allowed_at_us = now_us,
        .timer_at_us = COORDINATOR_TIME_NONE,
    };
    if (coordinator->acked != NULL && coordinator->flown != NULL) return true;
    coordinator_deinit(coordinator);
    return false;
}

void coordinator_deinit(struct coordinator *coordinator)
{
    free(coordinator->acked);
    free(coordinator->flown);
    coordinator->acked = coordinator->flown = NULL;
}

static struct coordinator_action *act(struct step *step, enum coordinator_action_type type)
{
    CHECK(step->out->count < COORDINATOR_ACTIONS_MAX);
    struct coordinator_action *action = &step->out->items[step->out->count++];
    *action = (struct coordinator_action){ .type = type, .epoch = step->coordinator->epoch };
    return action;
}

static bool is_in_flight(const struct coordinator *coordinator)
{
    return coordinator->phase == COORDINATOR_COLLECTING || coordinator->phase == COORDINATOR_COMMITTING;
}

static bool is_over(const struct coordinator *coordinator)
{
    return coordinator->phase == COORDINATOR_ENDED || coordinator->phase == COORDINATOR_FAILED;
}

static uint64_t open_epoch(const struct coordinator *coordinator)
{
    return coordinator->epoch + is_in_flight(coordinator);
}

/* ---- What follows from the facts --------------------------------------------------------------------------------- */

static int64_t later(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* When the open epoch's barrier is due. */
static int64_t due_at(const struct coordinator *coordinator, int64_t now_us)
{
    const struct coordinator_options *options = &coordinator->options;
    const bool is_cut = coordinator->cuts != NULL && coordinator->cuts_epoch == coordinator->epoch;
    if (coordinator->asked || coordinator->stopping || is_cut) return now_us;
    if (!coordinator->active || options->interval_us == 0) return COORDINATOR_TIME_NONE;
    return later(coordinator->barrier_at_us + options->interval_us, coordinator->allowed_at_us + options->min_pause_us);
}

static void set_timer(struct step *step, int64_t at_us)
{
    struct coordinator *coordinator = step->coordinator;
    if (at_us == COORDINATOR_TIME_NONE || at_us == coordinator->timer_at_us) return;
    coordinator->timer_at_us = at_us;
    act(step, COORDINATOR_DO_SET_TIMER)->at_us = at_us;
}

static void send_barrier(struct step *step)
{
    struct coordinator *coordinator = step->coordinator;
    const int64_t now_us = step->event->now_us, timeout_us = coordinator->options.timeout_us;
    set_phase(step, COORDINATOR_COLLECTING);
    coordinator->acked_count = 0;
    memset(coordinator->acked, 0, coordinator->subtask_count * sizeof *coordinator->acked);
    coordinator->final = coordinator->stopping;
    coordinator->may_overtake = coordinator->options.unaligned && !coordinator->final && !coordinator->aligned &&
                                !coordinator->finishing && coordinator->cuts_epoch != coordinator->epoch;
    coordinator->overtake_at_us = now_us + coordinator->options.aligned_timeout_us;
    coordinator->overtaking = false;
    coordinator->active = coordinator->asked = coordinator->aligned = false;
    coordinator->barrier_at_us = now_us;
    coordinator->timeout_at_us = timeout_us == 0 ? COORDINATOR_TIME_NONE : now_us + timeout_us;
    coordinator->timeout_count = 0;

    struct coordinator_action *barrier = act(step, COORDINATOR_DO_SEND_BARRIER);
    barrier->final = coordinator->final;
    if (coordinator->cuts_epoch == coordinator->epoch) {
        barrier->cuts = coordinator->cuts;
        coordinator->cuts = NULL;
    }
}

static void overtake(struct step *step)
{
    struct coordinator *coordinator = step->coordinator;
    coordinator->may_overtake = false;
    coordinator->overtaking = true;
    coordinator->flown_count = 0;
    memset(coordinator->flown, 0, coordinator->subtask_count * sizeof *coordinator->flown);
    act(step, COORDINATOR_DO_OVERTAKE);
}

static bool is_complete(const struct coordinator *coordinator)
{
    return coordinator->acked_count == coordinator->subtask_count &&
           (!coordinator->overtaking || coordinator->flown_count == coordinator->subtask_count);
}

static void complete(struct step *step)
{
    struct coordinator *coordinator = step->coordinator;
    act(step, COORDINATOR_DO_COMPLETE)->final = coordinator->final;
    set_phase(step, coordinator->final ? COORDINATOR_ENDED : COORDINATOR_COMMITTING);
}

static void time_out(struct step *step)
{
    struct coordinator *coordinator = step->coordinator;
    if (coordinator->timeout_count == coordinator->options.tolerable_failures) {
        act(step, COORDINATOR_DO_FAIL);
        set_phase(step, COORDINATOR_FAILED);
        return;
    }
    coordinator->timeout_count++;
    coordinator->timeout_at_us = step->event->now_us + coordinator->options.timeout_us;
    act(step, COORDINATOR_DO_REPORT_TIMEOUT);
}

/* What comes first for the barrier that is under way. */
static int64_t next_in_flight(const struct coordinator *coordinator)
{
    const bool waits = coordinator->phase == COORDINATOR_COLLECTING && coordinator->may_overtake;
    return waits && coordinator->overtake_at_us < coordinator->timeout_at_us ? coordinator->overtake_at_us
                                                                             : coordinator->timeout_at_us;
}

static void advance(struct step *step)
{
    struct coordinator *coordinator = step->coordinator;
    const int64_t now_us = step->event->now_us;
    if (coordinator->phase == COORDINATOR_OPEN) {
        const int64_t at_us = due_at(coordinator, now_us);
        if (at_us <= now_us) send_barrier(step);
        else set_timer(step, at_us);
    }
    if (coordinator->phase == COORDINATOR_COLLECTING && is_complete(coordinator)) complete(step);
    if (coordinator->phase == COORDINATOR_COLLECTING && coordinator->may_overtake &&
        coordinator->overtake_at_us <= now_us)
        overtake(step);
    if (is_in_flight(coordinator) && coordinator->timeout_at_us <= now_us) time_out(step);
    if (is_in_flight(coordinator)) set_timer(step, next_in_flight(coordinator));
}

/* ---- Events ------------------------------------------------------------------------------------------------------ */

static enum coordinator_answer on_allowed(struct step *step)
{
    struct coordinator *coordinator = step->coordinator;
    const uint64_t epoch = step->event->epoch;
    if (coordinator->phase == COORDINATOR_OPEN && epoch == coordinator->epoch) return COORDINATOR_DUPLICATE;
    if (epoch < open_epoch(coordinator)) return COORDINATOR_LATE;
    const bool waits = coordinator->phase == COORDINATOR_CLOSED || coordinator->phase == COORDINATOR_COMMITTING;
    if (!waits || epoch != open_epoch(coordinator)) return COORDINATOR_UNKNOWN;
    set_phase(step, COORDINATOR_OPEN);
    coordinator->epoch = epoch;
    coordinator->allowed_at_us = step->event->now_us;
    return COORDINATOR_TAKEN;
}

/* TAKEN when the event is about the open epoch. What belongs to the one before is in its checkpoint already. */
static enum coordinator_answer about_open(const struct coordinator *coordinator, uint64_t epoch)
{
    if (epoch == open_epoch(coordinator)) return COORDINATOR_TAKEN;
    return epoch < open_epoch(coordinator) ? COORDINATOR_LATE : COORDINATOR_UNKNOWN;
}

static enum coordinator_answer on_fact(struct step *step, bool *fact)
{
    const enum coordinator_answer answer = about_open(step->coordinator, step->event->epoch);
    if (answer != COORDINATOR_TAKEN) return answer;
    if (*fact) return COORDINATOR_DUPLICATE;
    *fact = true;
    return COORDINATOR_TAKEN;
}

static enum coordinator_answer on_timer(struct step *step)
{
    step->coordinator->timer_at_us = COORDINATOR_TIME_NONE;
    return COORDINATOR_TAKEN;
}

/* TAKEN when the event is a task's report about the barrier in flight, and the first one. */
static enum coordinator_answer about_report(const struct step *step, const bool *reported)
{
    const struct coordinator *coordinator = step->coordinator;
    const struct coordinator_event *event = step->event;
    if (event->subtask >= coordinator->subtask_count) return COORDINATOR_UNKNOWN;
    if (event->epoch != coordinator->epoch)
        return event->epoch < coordinator->epoch ? COORDINATOR_LATE : COORDINATOR_UNKNOWN;
    if (!is_in_flight(coordinator)) return COORDINATOR_UNKNOWN;
    return reported[event->subtask] ? COORDINATOR_DUPLICATE : COORDINATOR_TAKEN;
}

static enum coordinator_answer on_ack(struct step *step)
{
    struct coordinator *coordinator = step->coordinator;
    const enum coordinator_answer answer = about_report(step, coordinator->acked);
    if (answer != COORDINATOR_TAKEN) return answer;
    coordinator->acked[step->event->subtask] = true;
    coordinator->acked_count++;
    return COORDINATOR_TAKEN;
}

static enum coordinator_answer on_flight(struct step *step)
{
    struct coordinator *coordinator = step->coordinator;
    const enum coordinator_answer answer = about_report(step, coordinator->flown);
    if (answer != COORDINATOR_TAKEN) return answer;
    if (!coordinator->overtaking) return COORDINATOR_UNKNOWN;
    coordinator->flown[step->event->subtask] = true;
    coordinator->flown_count++;
    return COORDINATOR_TAKEN;
}

static enum coordinator_answer on_cut(struct step *step)
{
    struct coordinator *coordinator = step->coordinator;
    CHECK(step->event->cuts != NULL);
    if (step->event->epoch < open_epoch(coordinator)) return COORDINATOR_LATE;
    if (coordinator->cuts != NULL) return COORDINATOR_DUPLICATE;
    coordinator->cuts = step->event->cuts;
    coordinator->cuts_epoch = step->event->epoch;
    return COORDINATOR_TAKEN;
}

static enum coordinator_answer on_end(struct step *step)
{
    if (step->coordinator->stopping) return COORDINATOR_DUPLICATE;
    step->coordinator->stopping = true;
    return COORDINATOR_TAKEN;
}

static enum coordinator_answer take(struct step *step)
{
    struct coordinator *coordinator = step->coordinator;
    if (is_over(coordinator)) return COORDINATOR_LATE;

    switch (step->event->type) {
    case COORDINATOR_ON_ALLOWED: return on_allowed(step);
    case COORDINATOR_ON_ACTIVITY: return on_fact(step, &coordinator->active);
    case COORDINATOR_ON_BYTES: return on_fact(step, &coordinator->asked);
    case COORDINATOR_ON_TIMER: return on_timer(step);
    case COORDINATOR_ON_ACK: return on_ack(step);
    case COORDINATOR_ON_FLIGHT: return on_flight(step);
    case COORDINATOR_ON_TRIGGER: coordinator->asked = true; return COORDINATOR_TAKEN;
    case COORDINATOR_ON_ALIGNED: coordinator->asked = coordinator->aligned = true; return COORDINATOR_TAKEN;
    case COORDINATOR_ON_FINISHING: coordinator->finishing = true; return COORDINATOR_TAKEN;
    case COORDINATOR_ON_CUT: return on_cut(step);
    case COORDINATOR_ON_ALL_ENDED: return on_end(step);
    case COORDINATOR_ON_STOP: return on_end(step);
    }
    return COORDINATOR_UNKNOWN;
}

/* ---- Trace ------------------------------------------------------------------------------------------------------- */

static const char *const phase_names[] = {
#define PHASE_NAME(name) #name,
    COORDINATOR_PHASES(PHASE_NAME)
#undef PHASE_NAME
};

static const char *const event_names[] = {
#define EVENT_NAME(name) #name,
    COORDINATOR_EVENTS(EVENT_NAME)
#undef EVENT_NAME
};

static const char *const action_names[] = {
#define ACTION_NAME(name) #name,
    COORDINATOR_ACTIONS(ACTION_NAME)
#undef ACTION_NAME
};

static const char *const answer_names[] = { "taken", "late", "duplicate", "unknown" };

const char *coordinator_phase_name(enum coordinator_phase phase)
{
    return phase_names[phase];
}

const char *coordinator_event_name(enum coordinator_event_type type)
{
    return event_names[type];
}

const char *coordinator_action_name(enum coordinator_action_type type)
{
    return action_names[type];
}

static void say_action(struct trace_line *line, const struct coordinator_action *action)
{
    trace_say(line, "%s", action_names[action->type]);
    if (action->type == COORDINATOR_DO_SET_TIMER) trace_say(line, " %" PRId64, action->at_us);
    else trace_say(line, " %" PRIu64, action->epoch);
    if (action->cuts != NULL) trace_say(line, " cut");
    if (action->final) trace_say(line, " final");
}

/* One line for each event: "100 ACK 7 of 2 | COLLECTING > COMMITTING | COMPLETE 7", the time first. */
static void trace(const struct step *step)
{
    const struct coordinator *coordinator = step->coordinator;
    const struct coordinator_event *event = step->event;
    struct trace_line line = { 0 };
    trace_say(&line, "%" PRId64 " %s", event->now_us, event_names[event->type]);
    if (event->epoch != 0) trace_say(&line, " %" PRIu64, event->epoch);
    if (event->type == COORDINATOR_ON_ACK || event->type == COORDINATOR_ON_FLIGHT)
        trace_say(&line, " of %" PRIu32, event->subtask);
    if (step->out->answer != COORDINATOR_TAKEN) trace_say(&line, " | %s", answer_names[step->out->answer]);
    for (uint32_t i = 0; i < step->phase_count && step->phase_count > 1; i++)
        trace_say(&line, i == 0 ? " | %s" : " > %s", phase_names[step->phases[i]]);
    for (uint32_t i = 0; i < step->out->count; i++) {
        trace_say(&line, i == 0 ? " | " : ", ");
        say_action(&line, &step->out->items[i]);
    }
    coordinator->options.trace(coordinator->options.trace_user, line.text);
}

void coordinator_step(struct coordinator *coordinator, const struct coordinator_event *event,
                      struct coordinator_actions *out)
{
    struct step step = {
        .coordinator = coordinator, .event = event, .out = out, .phase_count = 1, .phases = { coordinator->phase }
    };
    out->count = 0;
    out->answer = take(&step);
    coordinator->counts[out->answer]++;
    if (out->answer == COORDINATOR_TAKEN) advance(&step);
    if (coordinator->options.trace != NULL) trace(&step);
}
