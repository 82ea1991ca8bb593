/* The names of the commit protocol, and one line of text for each of its steps:
 *
 *   #1 SNAPSHOT 3 | APPEND 3, FLUSH 3 h1, BEGIN 4 h0
 *   #1 FAILED ENVIRONMENT | RUNNING > UNWINDING | CANCEL_TASKS, DISCARD
 *   #2 FLUSHED 3 of attempt 1 | late                                                                                */
#include <inttypes.h>

#include "checkpoint/commit.h"
#include "checkpoint/trace.h"

/* What is worth showing of an event or action besides its name. */
enum {
    SHOW_EPOCH = 1,
    SHOW_HANDLE = 2,
    SHOW_TRY = 4, /* from the second on */
    SHOW_HANDLES = 8,
    SHOW_PARENT = 16,
    SHOW_INCARNATION = 32,
    SHOW_FINAL = 64,
    SHOW_RENEW = 128,
    SHOW_CODE = 256,
};

static const char *const phase_names[] = {
#define PHASE_NAME(name) #name,
    COMMIT_PHASES(PHASE_NAME)
#undef PHASE_NAME
};

static const char *const event_names[] = {
#define EVENT_NAME(name) #name,
    COMMIT_EVENTS(EVENT_NAME)
#undef EVENT_NAME
};

static const char *const action_names[] = {
#define ACTION_NAME(name) #name,
    COMMIT_ACTIONS(ACTION_NAME)
#undef ACTION_NAME
};

static const char *const answer_names[] = { "taken", "late", "duplicate", "unknown" };

static const uint32_t event_shows[] = {
    [COMMIT_ON_LOOKED] = SHOW_HANDLES,
    [COMMIT_ON_READ] = SHOW_HANDLES,
    [COMMIT_ON_BEGUN] = SHOW_EPOCH,
    [COMMIT_ON_SNAPSHOT] = SHOW_EPOCH | SHOW_FINAL,
    [COMMIT_ON_DURABLE] = SHOW_EPOCH | SHOW_TRY,
    [COMMIT_ON_APPEND_FAILED] = SHOW_EPOCH | SHOW_TRY,
    [COMMIT_ON_FLUSHED] = SHOW_EPOCH,
    [COMMIT_ON_READY] = SHOW_EPOCH,
    [COMMIT_ON_COMMITTED] = SHOW_EPOCH | SHOW_RENEW,
    [COMMIT_ON_RENEWED] = SHOW_HANDLE,
    [COMMIT_ON_FAILED] = SHOW_CODE,
    [COMMIT_ON_GIVE_UP] = SHOW_CODE,
    [COMMIT_ON_CANCEL] = 0,
    [COMMIT_ON_DROPPED] = 0,
};

static const uint32_t action_shows[] = {
    [COMMIT_DO_FENCE] = SHOW_HANDLES,
    [COMMIT_DO_FOUND] = SHOW_INCARNATION,
    [COMMIT_DO_RESTORE] = SHOW_PARENT | SHOW_INCARNATION | SHOW_EPOCH,
    [COMMIT_DO_ANNOUNCE] = SHOW_PARENT | SHOW_INCARNATION,
    [COMMIT_DO_START_TASKS] = SHOW_EPOCH,
    [COMMIT_DO_BEGIN] = SHOW_EPOCH | SHOW_HANDLE,
    [COMMIT_DO_APPEND] = SHOW_EPOCH | SHOW_TRY,
    [COMMIT_DO_FLUSH] = SHOW_EPOCH | SHOW_HANDLE | SHOW_TRY,
    [COMMIT_DO_OFFSETS] = SHOW_EPOCH | SHOW_HANDLE,
    [COMMIT_DO_COMMIT] = SHOW_EPOCH | SHOW_HANDLE,
    [COMMIT_DO_PROCEED] = SHOW_EPOCH,
    [COMMIT_DO_NOTIFY] = SHOW_EPOCH,
    [COMMIT_DO_ALLOW] = SHOW_EPOCH,
    [COMMIT_DO_RENEW] = SHOW_HANDLE,
    [COMMIT_DO_END] = SHOW_CODE,
};

const char *commit_phase_name(enum commit_phase phase)
{
    return phase_names[phase];
}

const char *commit_event_name(enum commit_event_type type)
{
    return event_names[type];
}

const char *commit_action_name(enum commit_action_type type)
{
    return action_names[type];
}

static void say_event(struct trace_line *line, const struct commit_event *event)
{
    const uint32_t shows = event_shows[event->type];
    trace_say(line, "%s", event_names[event->type]);
    if (event->type == COMMIT_ON_RESOLVED) {
        if (event->founding) trace_say(line, " found");
        else trace_say(line, " restore %" PRIu64 "/%" PRIu64, event->parent.incarnation, event->parent.epoch);
    }
    if (shows & SHOW_EPOCH) trace_say(line, " %" PRIu64, event->epoch);
    if (shows & SHOW_HANDLE) trace_say(line, " h%" PRIu32, event->handle);
    if ((shows & SHOW_TRY) && event->try_number > 1) trace_say(line, " try %" PRIu32, event->try_number);
    if (shows & SHOW_HANDLES) trace_say(line, " handles %" PRIu32, event->handles_named);
    if ((shows & SHOW_FINAL) && event->final) trace_say(line, " final");
    if ((shows & SHOW_RENEW) && event->renew) trace_say(line, " renew");
    if (shows & SHOW_CODE) trace_say(line, " %s", weir_code_name(event->error->code));
    if (event->drops) trace_say(line, " drops");
}

static void say_action(struct trace_line *line, const struct commit_action *action)
{
    const uint32_t shows = action_shows[action->type];
    trace_say(line, "%s", action_names[action->type]);
    if (shows & SHOW_PARENT) trace_say(line, " %" PRIu64 "/%" PRIu64, action->parent.incarnation, action->parent.epoch);
    if (shows & SHOW_INCARNATION) trace_say(line, " as %" PRIu64, action->incarnation);
    if (action->drops) trace_say(line, " dropped");
    if (shows & SHOW_EPOCH) trace_say(line, "%c%" PRIu64, shows & SHOW_INCARNATION ? '/' : ' ', action->epoch);
    if (shows & SHOW_HANDLE) trace_say(line, " h%" PRIu32, action->handle);
    if ((shows & SHOW_TRY) && action->try_number > 1) trace_say(line, " try %" PRIu32, action->try_number);
    if (shows & SHOW_HANDLES) trace_say(line, " handles %" PRIu32, action->handles_named);
    if (shows & SHOW_CODE) trace_say(line, " %s", weir_code_name(action->code));
}

void commit_trace(const struct commit *commit, enum commit_phase from, const struct commit_event *event,
                  const struct commit_actions *actions)
{
    struct trace_line line = { 0 };
    trace_say(&line, "#%" PRIu32 " ", commit->attempt);
    say_event(&line, event);
    if (actions->answer != COMMIT_TAKEN) {
        const bool is_of_another = event->attempt != 0 && event->attempt != commit->attempt;
        if (is_of_another) trace_say(&line, " of attempt %" PRIu32, event->attempt);
        trace_say(&line, " | %s", answer_names[actions->answer]);
    }
    if (commit->phase != from) trace_say(&line, " | %s > %s", phase_names[from], phase_names[commit->phase]);
    for (uint32_t i = 0; i < actions->count; i++) {
        trace_say(&line, i == 0 ? " | " : ", ");
        say_action(&line, &actions->items[i]);
    }
    commit->options.trace(commit->options.trace_user, line.text);
}
