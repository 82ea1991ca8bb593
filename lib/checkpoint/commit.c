/* The commit protocol: commit.h has the drawing, the rules and the table of failures. An event is taken down as a fact
 * by its `on_` function; `advance` looks at the facts of RUNNING and does what they allow, so that the order in which
 * answers arrive needs no cases of its own. */
#include "checkpoint/commit.h"

#include <string.h>

#include "base/check.h"

struct step {
    struct commit *commit;
    const struct commit_event *event;
    struct commit_actions *out;
};

#define BIT(phase) (1u << COMMIT_##phase)

/* The edges of the drawing. */
static const uint32_t edges[] = {
    [COMMIT_IDLE] = BIT(LOOKING) | BIT(ENDED),
    [COMMIT_LOOKING] = BIT(FENCING) | BIT(UNWINDING),
    [COMMIT_FENCING] = BIT(READING) | BIT(UNWINDING),
    [COMMIT_READING] = BIT(FENCING) | BIT(RESOLVING) | BIT(UNWINDING),
    [COMMIT_RESOLVING] = BIT(RESTORING) | BIT(RUNNING) | BIT(DROPPING) | BIT(UNWINDING),
    [COMMIT_RESTORING] = BIT(RUNNING) | BIT(UNWINDING),
    [COMMIT_RUNNING] = BIT(FINISHING) | BIT(UNWINDING),
    [COMMIT_FINISHING] = BIT(UNWINDING),
    [COMMIT_DROPPING] = BIT(UNWINDING),
    [COMMIT_UNWINDING] = BIT(WAITING) | BIT(LOOKING) | BIT(ENDED),
    [COMMIT_WAITING] = BIT(LOOKING) | BIT(ENDED),
    [COMMIT_ENDED] = 0,
};

static void set_phase(struct commit *commit, enum commit_phase phase)
{
    CHECK((edges[commit->phase] >> phase & 1) != 0);
    commit->phase = phase;
}

void commit_init(struct commit *commit, const struct commit_options *options)
{
    CHECK(options->ring_size >= 1 && options->ring_size <= COMMIT_HANDLES_MAX);
    *commit = (struct commit){ .options = *options };
}

/* The address is good until the step returns; the caller fills in what the action needs. */
static struct commit_action *act(struct step *step, enum commit_action_type type)
{
    CHECK(step->out->count < COMMIT_ACTIONS_MAX);
    struct commit_action *action = &step->out->items[step->out->count++];
    *action = (struct commit_action){ .type = type, .attempt = step->commit->attempt };
    return action;
}

static uint32_t handle_of(const struct commit *commit, uint64_t epoch)
{
    return (uint32_t)(epoch % commit->options.ring_size);
}

static struct commit_action *act_on(struct step *step, enum commit_action_type type, uint64_t epoch)
{
    struct commit_action *action = act(step, type);
    action->epoch = epoch;
    action->handle = handle_of(step->commit, epoch);
    return action;
}

/* ---- Attempts ---------------------------------------------------------------------------------------------------- */

static void look(struct step *step)
{
    struct commit *commit = step->commit;
    set_phase(commit, COMMIT_LOOKING);
    commit->attempt++;
    commit->handles_fenced = 0;
    commit->restored = commit->announced = false;
    commit->proceeded = commit->allowed = commit->tasks_started = false;
    commit->closing = (struct commit_closing){ 0 };
    memset(commit->handles, 0, sizeof commit->handles);
    commit->failure = (struct weir_error){ 0 };
    act(step, COMMIT_DO_LOOK);
}

static void fence(struct step *step, uint32_t handles_named)
{
    struct commit *commit = step->commit;
    const uint32_t ring_size = commit->options.ring_size;
    set_phase(commit, COMMIT_FENCING);
    commit->handles_fenced = handles_named > ring_size ? handles_named : ring_size;
    act(step, COMMIT_DO_FENCE)->handles_named = handles_named;
}

static void unwind(struct step *step, bool ending)
{
    struct commit *commit = step->commit;
    set_phase(commit, COMMIT_UNWINDING);
    commit->ending = ending;
    commit->discarded = commit->tasks_gone = false;
    act(step, COMMIT_DO_CANCEL_TASKS);
    act(step, COMMIT_DO_DISCARD);
}

static void end(struct step *step)
{
    struct commit *commit = step->commit;
    set_phase(commit, COMMIT_ENDED);
    act(step, COMMIT_DO_END)->code = commit->failure.code;
}

static void open_epoch(struct commit *commit, uint64_t epoch)
{
    CHECK(epoch >= commit->epoch_next);
    commit->epoch = epoch;
    commit->epoch_next = epoch + 1;
    commit->proceeded = commit->allowed = false;
}

/* ---- What RUNNING does ------------------------------------------------------------------------------------------- */

static bool handle_has_begun(const struct commit *commit, uint64_t epoch)
{
    const uint32_t handle = handle_of(commit, epoch);
    return commit->handles[handle] == COMMIT_HANDLE_BEGUN && commit->handle_epochs[handle] == epoch;
}

static void act_on_frame(struct step *step, enum commit_action_type type, uint32_t *try_sent)
{
    const struct commit_closing *closing = &step->commit->closing;
    struct commit_action *action = act_on(step, type, closing->epoch);
    action->try_number = *try_sent = closing->try_number;
    action->parent = step->commit->parent;
    action->final = closing->final;
}

static void advance_append(struct step *step)
{
    struct commit_closing *closing = &step->commit->closing;
    if (closing->active && closing->append_try < closing->try_number)
        act_on_frame(step, COMMIT_DO_APPEND, &closing->append_try);
}

/* While an id is being taken over anew, another start may have taken it over in between: a commit by the ids that are left
 * would be that of a life that is over (tests/spin, R5_WAIT). */
static bool is_renewing(const struct commit *commit)
{
    for (uint32_t i = 0; i < commit->options.ring_size; i++)
        if (commit->handles[i] == COMMIT_HANDLE_RENEWING) return true;
    return false;
}

/* The ladder of requests on the handle: each is sent when the one before has been answered. */
static void advance_closing(struct step *step)
{
    struct commit *commit = step->commit;
    struct commit_closing *closing = &commit->closing;
    if (!closing->active || closing->pending != COMMIT_PENDING_NOTHING) return;
    if (!handle_has_begun(commit, closing->epoch)) return; /* only a founding can be here before its BEGUN */

    if (closing->flush_try < closing->try_number) {
        closing->pending = COMMIT_PENDING_FLUSH;
        act_on_frame(step, COMMIT_DO_FLUSH, &closing->flush_try);
    } else if (closing->offsets_try < closing->try_number) {
        closing->pending = COMMIT_PENDING_OFFSETS;
        act_on_frame(step, COMMIT_DO_OFFSETS, &closing->offsets_try);
    } else if ((closing->durable || !commit->options.needs_prepared_frame) && !is_renewing(commit)) {
        closing->pending = COMMIT_PENDING_COMMIT;
        act_on(step, COMMIT_DO_COMMIT, closing->epoch);
    }
}

static void advance_open(struct step *step)
{
    struct commit *commit = step->commit;
    const struct commit_closing *closing = &commit->closing;
    if (closing->active && closing->final) return;

    /* Epoch 0 is the founding one, which no task has a part in. */
    if (!commit->tasks_started && !closing->active && commit->epoch > 0) {
        commit->tasks_started = true;
        act_on(step, COMMIT_DO_START_TASKS, commit->epoch);
    }
    const uint32_t handle = handle_of(commit, commit->epoch);
    if (commit->handles[handle] == COMMIT_HANDLE_FREE) {
        commit->handles[handle] = COMMIT_HANDLE_BEGINNING;
        commit->handle_epochs[handle] = commit->epoch;
        act_on(step, COMMIT_DO_BEGIN, commit->epoch);
    }
    if (!commit->proceeded && commit->tasks_started && handle_has_begun(commit, commit->epoch) &&
        (!closing->active || closing->flushed_once)) {
        commit->proceeded = true;
        act_on(step, COMMIT_DO_PROCEED, commit->epoch);
    }
    /* Behind PROCEED, so that the records before barrier n+1 leave the sinks before its FLUSH. */
    if (!commit->allowed && commit->proceeded && !closing->active) {
        commit->allowed = true;
        act_on(step, COMMIT_DO_ALLOW, commit->epoch);
    }
}

static void advance(struct step *step)
{
    if (step->commit->phase != COMMIT_RUNNING) return;
    advance_append(step);
    advance_closing(step);
    advance_open(step);
}

/* ---- Events of a start ------------------------------------------------------------------------------------------- */

/* The answer to an event that belongs to `phase`, in another one of the same attempt. */
static enum commit_answer out_of_place(const struct commit *commit, enum commit_phase phase)
{
    if (commit->phase < phase) return COMMIT_UNKNOWN;
    return commit->phase < COMMIT_UNWINDING ? COMMIT_DUPLICATE : COMMIT_LATE;
}

static enum commit_answer on_start(struct step *step)
{
    if (step->commit->phase != COMMIT_IDLE) return out_of_place(step->commit, COMMIT_IDLE);
    look(step);
    return COMMIT_TAKEN;
}

static enum commit_answer on_looked(struct step *step)
{
    if (step->commit->phase != COMMIT_LOOKING) return out_of_place(step->commit, COMMIT_LOOKING);
    fence(step, step->event->handles_named);
    return COMMIT_TAKEN;
}

static enum commit_answer on_fenced(struct step *step)
{
    struct commit *commit = step->commit;
    if (commit->phase != COMMIT_FENCING) return out_of_place(commit, COMMIT_FENCING);
    if (commit->done) {
        unwind(step, true);
        return COMMIT_TAKEN;
    }
    set_phase(commit, COMMIT_READING);
    act(step, COMMIT_DO_READ);
    return COMMIT_TAKEN;
}

static enum commit_answer on_read(struct step *step)
{
    struct commit *commit = step->commit;
    if (commit->phase != COMMIT_READING) return out_of_place(commit, COMMIT_READING);
    /* Between our look and our fence somebody with a larger ring committed: its other handles live on (R10). */
    if (step->event->handles_named > commit->handles_fenced) {
        fence(step, step->event->handles_named);
        return COMMIT_TAKEN;
    }
    set_phase(commit, COMMIT_RESOLVING);
    act(step, COMMIT_DO_RESOLVE);
    return COMMIT_TAKEN;
}

static void found(struct step *step)
{
    struct commit *commit = step->commit;
    CHECK(step->event->incarnation > commit->incarnation);
    commit->incarnation = step->event->incarnation;
    commit->epoch_next = 0;
    commit->parent = (struct commit_name){ 0, 0 };
    set_phase(commit, COMMIT_RUNNING);
    open_epoch(commit, 0);
    commit->proceeded = commit->allowed = true;
    act_on(step, COMMIT_DO_FOUND, 0)->incarnation = commit->incarnation;
}

static void restore(struct step *step)
{
    struct commit *commit = step->commit;
    const struct commit_event *event = step->event;
    CHECK(event->incarnation > 0 && event->incarnation >= commit->incarnation);
    CHECK(event->parent.incarnation <= event->incarnation);
    commit->incarnation = event->incarnation;
    commit->parent = event->parent;
    set_phase(commit, COMMIT_RESTORING);
    const uint64_t next = event->parent.epoch + 1;
    open_epoch(commit, next > commit->epoch_next ? next : commit->epoch_next);

    struct commit_action *restoring = act_on(step, COMMIT_DO_RESTORE, commit->epoch);
    restoring->parent = commit->parent;
    restoring->incarnation = commit->incarnation;
    struct commit_action *announcing = act(step, COMMIT_DO_ANNOUNCE);
    announcing->parent = commit->parent;
    announcing->incarnation = commit->incarnation;
}

/* With nothing to go on from there is nothing to drop. */
static void drop(struct step *step)
{
    struct commit *commit = step->commit;
    if (step->event->founding) {
        unwind(step, true);
        return;
    }
    set_phase(commit, COMMIT_DROPPING);
    struct commit_action *announcing = act(step, COMMIT_DO_ANNOUNCE);
    announcing->parent = step->event->parent;
    announcing->incarnation = step->event->incarnation;
    announcing->drops = true;
}

static enum commit_answer on_resolved(struct step *step)
{
    if (step->commit->phase != COMMIT_RESOLVING) return out_of_place(step->commit, COMMIT_RESOLVING);
    if (step->commit->dropping) drop(step);
    else if (step->event->founding) found(step);
    else restore(step);
    return COMMIT_TAKEN;
}

static enum commit_answer on_restoring(struct step *step, bool *fact)
{
    struct commit *commit = step->commit;
    if (commit->phase != COMMIT_RESTORING) return out_of_place(commit, COMMIT_RESTORING);
    if (*fact) return COMMIT_DUPLICATE;
    *fact = true;
    if (commit->restored && commit->announced) set_phase(commit, COMMIT_RUNNING);
    return COMMIT_TAKEN;
}

static enum commit_answer on_announced(struct step *step)
{
    struct commit *commit = step->commit;
    if (commit->phase != COMMIT_DROPPING) return on_restoring(step, &commit->announced);
    if (commit->announced) return COMMIT_DUPLICATE;
    commit->announced = true;
    act(step, COMMIT_DO_DROP);
    return COMMIT_TAKEN;
}

static enum commit_answer on_dropped(struct step *step)
{
    struct commit *commit = step->commit;
    if (commit->phase != COMMIT_DROPPING) return out_of_place(commit, COMMIT_DROPPING);
    if (!commit->announced) return COMMIT_UNKNOWN;
    unwind(step, true);
    return COMMIT_TAKEN;
}

/* ---- Events of RUNNING ------------------------------------------------------------------------------------------- */

static enum commit_answer on_begun(struct step *step)
{
    struct commit *commit = step->commit;
    const uint64_t epoch = step->event->epoch;
    if (commit->phase != COMMIT_RUNNING) return out_of_place(commit, COMMIT_RUNNING);
    if (handle_has_begun(commit, epoch)) return COMMIT_DUPLICATE;
    const uint32_t handle = handle_of(commit, epoch);
    if (commit->handles[handle] != COMMIT_HANDLE_BEGINNING || commit->handle_epochs[handle] != epoch)
        return epoch < commit->epoch ? COMMIT_LATE : COMMIT_UNKNOWN;
    commit->handles[handle] = COMMIT_HANDLE_BEGUN;
    return COMMIT_TAKEN;
}

static enum commit_answer on_snapshot(struct step *step)
{
    struct commit *commit = step->commit;
    const uint64_t epoch = step->event->epoch;
    if (commit->phase != COMMIT_RUNNING) return out_of_place(commit, COMMIT_RUNNING);
    if (epoch != commit->epoch) return epoch < commit->epoch ? COMMIT_LATE : COMMIT_UNKNOWN;
    CHECK(commit->allowed && !commit->closing.active); /* R1: the coordinator waits for ALLOW */
    commit->closing = (struct commit_closing){
        .epoch = epoch, .active = true, .final = step->event->final, .try_number = 1
    };
    open_epoch(commit, epoch + 1);
    return COMMIT_TAKEN;
}

/* TAKEN when `epoch` is the one whose commit is in flight. */
static enum commit_answer about_closing(const struct commit *commit, uint64_t epoch)
{
    if (commit->phase != COMMIT_RUNNING) return out_of_place(commit, COMMIT_RUNNING);
    if (commit->closing.active && commit->closing.epoch == epoch) return COMMIT_TAKEN;
    return epoch < commit->epoch ? COMMIT_LATE : COMMIT_UNKNOWN;
}

/* An answer of the store: of this try? */
static enum commit_answer about_try(const struct commit *commit, const struct commit_event *event)
{
    const enum commit_answer answer = about_closing(commit, event->epoch);
    if (answer != COMMIT_TAKEN) return answer;
    if (event->try_number != commit->closing.try_number)
        return event->try_number < commit->closing.try_number ? COMMIT_LATE : COMMIT_UNKNOWN;
    return commit->closing.durable ? COMMIT_DUPLICATE : COMMIT_TAKEN;
}

static enum commit_answer on_durable(struct step *step)
{
    const enum commit_answer answer = about_try(step->commit, step->event);
    if (answer == COMMIT_TAKEN) step->commit->closing.durable = true;
    return answer;
}

static enum commit_answer on_append_failed(struct step *step)
{
    struct commit_closing *closing = &step->commit->closing;
    const enum commit_answer answer = about_try(step->commit, step->event);
    if (answer != COMMIT_TAKEN) return answer;
    /* Only where the decision does not lean on the append. */
    if (closing->pending == COMMIT_PENDING_COMMIT) return COMMIT_LATE;
    closing->try_number++;
    return COMMIT_TAKEN;
}

/* The answer to `asked`, which was last sent for `try_sent` (0 = never). */
static enum commit_answer on_answer(struct step *step, enum commit_pending asked, uint32_t try_sent)
{
    struct commit_closing *closing = &step->commit->closing;
    const enum commit_answer answer = about_closing(step->commit, step->event->epoch);
    if (answer != COMMIT_TAKEN) return answer;
    if (closing->pending != asked) return try_sent == 0 ? COMMIT_UNKNOWN : COMMIT_DUPLICATE;
    closing->pending = COMMIT_PENDING_NOTHING;
    return COMMIT_TAKEN;
}

static enum commit_answer on_flushed(struct step *step)
{
    struct commit_closing *closing = &step->commit->closing;
    const enum commit_answer answer = on_answer(step, COMMIT_PENDING_FLUSH, closing->flush_try);
    if (answer == COMMIT_TAKEN) closing->flushed_once = true;
    return answer;
}

static enum commit_answer on_ready(struct step *step)
{
    return on_answer(step, COMMIT_PENDING_OFFSETS, step->commit->closing.offsets_try);
}

static void renew_or_free(struct step *step, uint32_t handle)
{
    struct commit *commit = step->commit;
    CHECK(commit->handles[handle] == COMMIT_HANDLE_BEGUN);
    commit->handles[handle] = step->event->renew ? COMMIT_HANDLE_RENEWING : COMMIT_HANDLE_FREE;
    if (step->event->renew) act(step, COMMIT_DO_RENEW)->handle = handle;
}

/* Nobody has taken the ids over since these were made anew: the commit on another one shows it. Before, what is begun there
 * could be a transaction that nobody ends, of a life that is over (tests/spin, R5_BETWEEN). */
static void free_renewed(struct commit *commit)
{
    for (uint32_t i = 0; i < commit->options.ring_size; i++)
        if (commit->handles[i] == COMMIT_HANDLE_RENEWED) commit->handles[i] = COMMIT_HANDLE_FREE;
}

static enum commit_answer on_committed(struct step *step)
{
    struct commit *commit = step->commit;
    struct commit_closing *closing = &commit->closing;
    const enum commit_answer answer = on_answer(step, COMMIT_PENDING_COMMIT, 0);
    if (answer != COMMIT_TAKEN) return answer;

    closing->active = false;
    free_renewed(commit);
    commit->parent = (struct commit_name){ commit->incarnation, closing->epoch };
    act_on(step, COMMIT_DO_NOTIFY, closing->epoch)->final = closing->final;
    if (closing->final) { /* FINISH makes all handles anew, so a renewal on its own is not needed */
        commit->done = true;
        set_phase(commit, COMMIT_FINISHING);
        act(step, COMMIT_DO_FINISH);
    } else {
        renew_or_free(step, handle_of(commit, closing->epoch));
    }
    return COMMIT_TAKEN;
}

static enum commit_answer on_renewed(struct step *step)
{
    struct commit *commit = step->commit;
    const uint32_t handle = step->event->handle;
    if (commit->phase != COMMIT_RUNNING) return out_of_place(commit, COMMIT_RUNNING);
    if (handle >= commit->options.ring_size) return COMMIT_UNKNOWN;
    if (commit->handles[handle] != COMMIT_HANDLE_RENEWING) return COMMIT_UNKNOWN;
    commit->handles[handle] = commit->options.ring_size > 1 ? COMMIT_HANDLE_RENEWED : COMMIT_HANDLE_FREE;
    return COMMIT_TAKEN;
}

static enum commit_answer on_finished(struct step *step)
{
    if (step->commit->phase != COMMIT_FINISHING) return out_of_place(step->commit, COMMIT_FINISHING);
    unwind(step, true);
    return COMMIT_TAKEN;
}

/* ---- Failures and ends ------------------------------------------------------------------------------------------- */

enum failing { FAILING_IGNORED, FAILING_UNWINDS, FAILING_ESCALATES, FAILING_ENDS };

/* What a failure does in each phase; whether another attempt follows is `stops` and `stopping`. */
static const enum failing failings[] = {
    [COMMIT_IDLE] = FAILING_IGNORED,
    [COMMIT_LOOKING] = FAILING_UNWINDS,
    [COMMIT_FENCING] = FAILING_UNWINDS,
    [COMMIT_READING] = FAILING_UNWINDS,
    [COMMIT_RESOLVING] = FAILING_UNWINDS,
    [COMMIT_RESTORING] = FAILING_UNWINDS,
    [COMMIT_RUNNING] = FAILING_UNWINDS,
    [COMMIT_FINISHING] = FAILING_UNWINDS,
    [COMMIT_DROPPING] = FAILING_UNWINDS,
    [COMMIT_UNWINDING] = FAILING_ESCALATES,
    [COMMIT_WAITING] = FAILING_ENDS,
    [COMMIT_ENDED] = FAILING_IGNORED,
};

/* Fenced, or timed out? librdkafka tells both by one code. A transaction that outlived its time-out may have been
 * fenced by the broker itself, and LOOK will tell; before RUNNING, and in a younger one, it was somebody else (R7). With
 * remedy REPLAY the decider says that LOOK must tell. */
static bool stops(const struct commit *commit, const struct commit_event *event)
{
    if (event->error->code != WEIR_FENCED) return event->error->remedy == WEIR_REMEDY_STOP;
    const bool had_transactions = commit->phase == COMMIT_RUNNING || commit->phase >= COMMIT_UNWINDING;
    const bool timed_out = event->timeout_ms > 0 && event->transaction_age_ms >= event->timeout_ms;
    const bool look_tells = timed_out || event->error->remedy == WEIR_REMEDY_REPLAY;
    return !had_transactions || !look_tells;
}

static enum commit_answer on_failed(struct step *step)
{
    struct commit *commit = step->commit;
    const struct weir_error *error = step->event->error;
    CHECK(error != NULL && error->code != WEIR_OK);
    const bool for_good = stops(commit, step->event);

    switch (failings[commit->phase]) {
    case FAILING_IGNORED:
        return commit->phase == COMMIT_IDLE ? COMMIT_UNKNOWN : COMMIT_LATE;
    case FAILING_UNWINDS:
        commit->failure = *error;
        unwind(step, for_good || (commit->stopping && !commit->done));
        return COMMIT_TAKEN;
    case FAILING_ESCALATES:
        if (!for_good || commit->ending) return COMMIT_LATE;
        commit->failure = *error;
        commit->ending = true;
        return COMMIT_TAKEN;
    case FAILING_ENDS:
        if (!for_good) return COMMIT_LATE;
        commit->failure = *error;
        end(step);
        return COMMIT_TAKEN;
    }
    return COMMIT_UNKNOWN;
}

static enum commit_answer on_unwinding(struct step *step, bool *fact)
{
    struct commit *commit = step->commit;
    if (commit->phase != COMMIT_UNWINDING) return out_of_place(commit, COMMIT_UNWINDING);
    if (*fact) return COMMIT_DUPLICATE;
    *fact = true;
    if (!commit->discarded || !commit->tasks_gone) return COMMIT_TAKEN;
    if (commit->ending) {
        end(step);
    } else if (commit->dropping && commit->failure.code == WEIR_OK) {
        look(step);
    } else {
        set_phase(commit, COMMIT_WAITING);
        act(step, COMMIT_DO_WAIT);
    }
    return COMMIT_TAKEN;
}

static enum commit_answer on_timer(struct step *step)
{
    if (step->commit->phase != COMMIT_WAITING) return out_of_place(step->commit, COMMIT_WAITING);
    look(step);
    return COMMIT_TAKEN;
}

static enum commit_answer on_give_up(struct step *step)
{
    struct commit *commit = step->commit;
    if (commit->phase != COMMIT_WAITING) return out_of_place(commit, COMMIT_WAITING);
    CHECK(step->event->error != NULL && step->event->error->code != WEIR_OK);
    commit->failure = *step->event->error;
    end(step);
    return COMMIT_TAKEN;
}

/* Ends from wherever we are; what has to be undone is undone first. */
static void end_from_here(struct step *step)
{
    struct commit *commit = step->commit;
    if (commit->phase == COMMIT_IDLE || commit->phase == COMMIT_WAITING) end(step);
    else if (commit->phase == COMMIT_UNWINDING) commit->ending = true;
    else unwind(step, true);
}

static enum commit_answer on_stop(struct step *step)
{
    struct commit *commit = step->commit;
    if (commit->phase == COMMIT_ENDED || (commit->phase == COMMIT_UNWINDING && commit->ending)) return COMMIT_LATE;
    if (commit->dropping) return COMMIT_LATE;
    if (commit->done || commit->stopping) return COMMIT_DUPLICATE;
    if (commit->phase == COMMIT_RUNNING && commit->tasks_started) {
        commit->stopping = true;
        return COMMIT_TAKEN;
    }
    commit->failure = (struct weir_error){ 0 }; /* whoever ends a job that is about to try again ends it in peace */
    end_from_here(step);
    return COMMIT_TAKEN;
}

/* What has to be undone is undone first, as at any end. */
static void drop_from_here(struct step *step)
{
    struct commit *commit = step->commit;
    commit->dropping = true;
    commit->failure = (struct weir_error){ 0 };
    if (commit->phase == COMMIT_WAITING) look(step);
    else if (commit->phase != COMMIT_UNWINDING) unwind(step, false);
}

static enum commit_answer on_cancel(struct step *step)
{
    struct commit *commit = step->commit;
    if (commit->phase == COMMIT_ENDED) return COMMIT_LATE;
    if (commit->phase == COMMIT_UNWINDING && commit->ending) return COMMIT_DUPLICATE;
    const bool is_first = !commit->dropping && !commit->done && commit->phase != COMMIT_IDLE;
    if (step->event->drops && is_first) {
        drop_from_here(step);
        return COMMIT_TAKEN;
    }
    commit->failure = (struct weir_error){ 0 }; /* in peace, as above */
    end_from_here(step);
    return COMMIT_TAKEN;
}

/* ---- One step ---------------------------------------------------------------------------------------------------- */

static bool is_of_an_attempt(enum commit_event_type type)
{
    return type != COMMIT_ON_START && type != COMMIT_ON_STOP && type != COMMIT_ON_CANCEL;
}

static enum commit_answer take(struct step *step)
{
    struct commit *commit = step->commit;
    const struct commit_event *event = step->event;
    if (is_of_an_attempt(event->type) && event->attempt != commit->attempt)
        return event->attempt < commit->attempt ? COMMIT_LATE : COMMIT_UNKNOWN;

    switch (event->type) {
    case COMMIT_ON_START: return on_start(step);
    case COMMIT_ON_LOOKED: return on_looked(step);
    case COMMIT_ON_FENCED: return on_fenced(step);
    case COMMIT_ON_READ: return on_read(step);
    case COMMIT_ON_RESOLVED: return on_resolved(step);
    case COMMIT_ON_RESTORED: return on_restoring(step, &commit->restored);
    case COMMIT_ON_ANNOUNCED: return on_announced(step);
    case COMMIT_ON_DROPPED: return on_dropped(step);
    case COMMIT_ON_BEGUN: return on_begun(step);
    case COMMIT_ON_SNAPSHOT: return on_snapshot(step);
    case COMMIT_ON_DURABLE: return on_durable(step);
    case COMMIT_ON_APPEND_FAILED: return on_append_failed(step);
    case COMMIT_ON_FLUSHED: return on_flushed(step);
    case COMMIT_ON_READY: return on_ready(step);
    case COMMIT_ON_COMMITTED: return on_committed(step);
    case COMMIT_ON_RENEWED: return on_renewed(step);
    case COMMIT_ON_FINISHED: return on_finished(step);
    case COMMIT_ON_FAILED: return on_failed(step);
    case COMMIT_ON_DISCARDED: return on_unwinding(step, &commit->discarded);
    case COMMIT_ON_TASKS_GONE: return on_unwinding(step, &commit->tasks_gone);
    case COMMIT_ON_TIMER: return on_timer(step);
    case COMMIT_ON_GIVE_UP: return on_give_up(step);
    case COMMIT_ON_STOP: return on_stop(step);
    case COMMIT_ON_CANCEL: return on_cancel(step);
    }
    return COMMIT_UNKNOWN;
}

void commit_step(struct commit *commit, const struct commit_event *event, struct commit_actions *out)
{
    struct step step = { .commit = commit, .event = event, .out = out };
    const enum commit_phase from = commit->phase;
    out->count = 0;
    out->answer = take(&step);
    commit->counts[out->answer]++;
    if (out->answer == COMMIT_TAKEN) advance(&step);
    else CHECK(out->count == 0 && commit->phase == from);
    if (commit->options.trace != NULL) commit_trace(commit, from, event, out);
}
