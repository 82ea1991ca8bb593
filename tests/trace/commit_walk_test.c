/* A random walk through the commit protocol: a world that answers in any order, fails, answers twice, late, and things
 * that nobody asked, against what must hold whatever happens. The checks know events and actions only, not the machine.
 *
 * What is checked
 *   commits     COMMIT n only after READY n and DURABLE n of the name that its ledger record and offsets carry
 *   chain       each frame names the newest committed one as its parent, and nothing else is in flight or in doubt
 *   handles     one epoch and one request at a time; none before RENEWED, nor before another one has committed since; none
 *               after DISCARD
 *   names       no (incarnation, epoch) is begun twice
 *   tasks       started once for each attempt, on a committed frame; PROCEED after FLUSHED and BEGUN; then CANCEL
 *   ends        END once, and only when tasks are gone and handles given up; then silence
 *   answers     what is asked for is taken; all else changes nothing
 *   progress    when the world stops failing, the job ends */
#include "checkpoint/commit.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "harness/unit.h"

enum { REQUESTS_MAX = 64, PAST_MAX = 32, RUNS = 3000, STEPS = 250 };

static uint64_t dice;

/* ---- The world --------------------------------------------------------------------------------------------------- */

struct request {
    struct commit_action asked;
    bool live; /* its answer is still waited for */
};

static struct world {
    struct commit commit;
    struct request requests[REQUESTS_MAX];
    uint32_t request_count;
    struct commit_event past[PAST_MAX]; /* answers given, to be given again */
    uint32_t past_count;

    uint32_t attempt;
    uint64_t incarnation_max, incarnation; /* drawn; this process's */
    bool has_committed;
    struct commit_name committed; /* what the ledger names */
    bool in_doubt;                /* a COMMIT was sent and not answered */
    struct commit_name doubtful;
    bool stopped, calm, ended;

    /* This attempt. */
    bool founding, restored, announced, tasks_started, cancelled, discarded, tasks_gone;
    uint64_t begun_last; /* the highest number begun under this incarnation, plus one */
    struct {
        bool asked, renewing, begun;
        bool unproven; /* was made anew, and no other one has committed since */
        uint64_t epoch;
    } handles[COMMIT_HANDLES_MAX];
    bool closing; /* an epoch is between SNAPSHOT and COMMITTED */
    uint64_t closing_epoch;
    uint32_t append_try, durable_try, flush_try, flushed_try, offsets_try, ready_try;
    uint64_t proceeded, allowed; /* the last epoch of each, plus one */
} world;

static struct tally {
    uint64_t commits, renewals, roll_backs, appends_failed, foundings, ends_ok, ends_failed, ignored, drops;
} tally;

static const struct weir_error failures[] = {
    { .code = WEIR_FAILED, .remedy = WEIR_REMEDY_REPLAY },
    { .code = WEIR_NO_MEMORY, .remedy = WEIR_REMEDY_REPLAY },
    { .code = WEIR_ENVIRONMENT, .remedy = WEIR_REMEDY_RETRY },
    { .code = WEIR_FENCED, .remedy = WEIR_REMEDY_STOP },
    { .code = WEIR_DAMAGED, .remedy = WEIR_REMEDY_STOP },
};

static char story[1 << 17];
static size_t story_size;

static void tell(void *user, const char *line)
{
    (void)user;
    if (story_size + strlen(line) + 2 > sizeof story) return;
    story_size += (size_t)snprintf(story + story_size, sizeof story - story_size, "%s\n", line);
}

/* The end of the story, because the beginning seldom matters. */
static const char *tail(void)
{
    return story_size > 3000 ? story + story_size - 3000 : story;
}

#define HOLDS(belief) ck_assert_msg((belief), "%s\n...%s", #belief, tail())

/* ---- What must hold for each action ------------------------------------------------------------------------------ */

static bool is_answered(enum commit_action_type type)
{
    switch (type) {
    case COMMIT_DO_START_TASKS:
    case COMMIT_DO_PROCEED:
    case COMMIT_DO_NOTIFY:
    case COMMIT_DO_END:
        return false;
    default:
        return true;
    }
}

static void check_handle_is_usable(const struct commit_action *action)
{
    HOLDS(!world.handles[action->handle].asked);
    HOLDS(!world.handles[action->handle].renewing);
    HOLDS(!world.handles[action->handle].unproven || world.commit.options.ring_size == 1);
}

static void check_begin(const struct commit_action *action)
{
    check_handle_is_usable(action);
    HOLDS(!world.handles[action->handle].begun);
    HOLDS(action->epoch >= world.begun_last);
    world.begun_last = action->epoch + 1;
    world.handles[action->handle].asked = true;
    world.handles[action->handle].epoch = action->epoch;
}

static void check_on_epoch(const struct commit_action *action)
{
    check_handle_is_usable(action);
    HOLDS(world.handles[action->handle].begun && world.handles[action->handle].epoch == action->epoch);
    HOLDS(world.closing && world.closing_epoch == action->epoch);
    world.handles[action->handle].asked = true;
}

static void check_flush(const struct commit_action *action)
{
    check_on_epoch(action);
    HOLDS(action->try_number == world.append_try);
    if (world.has_committed) {
        HOLDS(action->parent.incarnation == world.committed.incarnation);
        HOLDS(action->parent.epoch == world.committed.epoch);
    }
    HOLDS(!world.in_doubt);
    world.flush_try = action->try_number;
}

static void check_commit(const struct commit_action *action)
{
    check_on_epoch(action);
    HOLDS(world.ready_try == world.append_try && world.flushed_try == world.append_try);
    if (world.commit.options.needs_prepared_frame) HOLDS(world.durable_try == world.append_try);
    HOLDS(!world.in_doubt);
    world.in_doubt = true;
    world.doubtful = (struct commit_name){ world.incarnation, action->epoch };
}

static void check_proceed(const struct commit_action *action)
{
    const uint32_t handle = (uint32_t)(action->epoch % world.commit.options.ring_size);
    HOLDS(world.tasks_started);
    HOLDS(world.handles[handle].begun && world.handles[handle].epoch == action->epoch);
    HOLDS(!world.closing || world.flushed_try > 0);
    HOLDS(world.proceeded <= action->epoch);
    world.proceeded = action->epoch + 1;
}

static void check_start_tasks(void)
{
    HOLDS(!world.tasks_started && world.has_committed && !world.closing && !world.in_doubt);
    HOLDS(world.founding || (world.restored && world.announced));
    world.tasks_started = true;
}

static void check_finish(void)
{
    HOLDS(!world.closing && !world.in_doubt);
    for (uint32_t i = 0; i < world.request_count; i++) world.requests[i].live = false; /* RENEW, or a needless APPEND */
}

static void check_unwinding(enum commit_action_type type)
{
    if (type == COMMIT_DO_CANCEL_TASKS) world.cancelled = true;
    for (uint32_t i = 0; i < world.request_count; i++) world.requests[i].live &= type != COMMIT_DO_CANCEL_TASKS;
}

static void check_look(const struct commit_action *action)
{
    HOLDS(action->attempt == world.attempt + 1);
    HOLDS(world.attempt == 0 || (world.discarded && world.tasks_gone));
    world.attempt = action->attempt;
    for (uint32_t i = 0; i < world.request_count; i++) world.requests[i].live = false; /* a WAIT that a cancel cut short */
    world.founding = world.restored = world.announced = world.tasks_started = false;
    world.cancelled = world.discarded = world.tasks_gone = world.closing = false;
    world.proceeded = world.allowed = 0;
    memset(world.handles, 0, sizeof world.handles);
}

static void check_end(const struct commit_action *action)
{
    HOLDS(world.attempt == 0 || (world.discarded && world.tasks_gone));
    world.ended = true;
    if (action->code == WEIR_OK) tally.ends_ok++;
    else tally.ends_failed++;
}

static void check_action(const struct commit_action *action)
{
    HOLDS(!world.ended);
    const bool unwinds = action->type == COMMIT_DO_CANCEL_TASKS || action->type == COMMIT_DO_DISCARD;
    const bool looks = action->type == COMMIT_DO_WAIT || action->type == COMMIT_DO_LOOK;
    HOLDS(!world.cancelled || unwinds || looks || action->type == COMMIT_DO_END);

    switch (action->type) {
    case COMMIT_DO_LOOK: check_look(action); break;
    case COMMIT_DO_FOUND: HOLDS(!world.has_committed); world.founding = true; tally.foundings++; break;
    case COMMIT_DO_RESTORE: HOLDS(action->parent.epoch == world.committed.epoch); break;
    case COMMIT_DO_START_TASKS: check_start_tasks(); break;
    case COMMIT_DO_BEGIN: check_begin(action); break;
    case COMMIT_DO_APPEND: HOLDS(action->try_number == world.append_try + 1); world.append_try++; break;
    case COMMIT_DO_FLUSH: check_flush(action); break;
    case COMMIT_DO_OFFSETS:
        check_on_epoch(action);
        HOLDS(world.flushed_try == world.append_try);
        world.offsets_try = world.append_try;
        break;
    case COMMIT_DO_COMMIT: check_commit(action); break;
    case COMMIT_DO_PROCEED: check_proceed(action); break;
    case COMMIT_DO_ALLOW:
        HOLDS(world.proceeded == action->epoch + 1 && !world.closing && !world.in_doubt);
        HOLDS(world.allowed <= action->epoch);
        world.allowed = action->epoch + 1;
        break;
    case COMMIT_DO_NOTIFY: HOLDS(world.committed.epoch == action->epoch); tally.commits++; break;
    case COMMIT_DO_RENEW:
        HOLDS(!world.handles[action->handle].asked);
        world.handles[action->handle].renewing = world.handles[action->handle].unproven = true;
        tally.renewals++;
        break;
    case COMMIT_DO_FINISH: check_finish(); break;
    case COMMIT_DO_CANCEL_TASKS:
    case COMMIT_DO_DISCARD: check_unwinding(action->type); break;
    case COMMIT_DO_DROP: HOLDS(world.announced && !world.tasks_started); tally.drops++; break;
    case COMMIT_DO_END: check_end(action); break;
    default: break;
    }
    if (!is_answered(action->type)) return;
    ck_assert_uint_lt(world.request_count, REQUESTS_MAX);
    world.requests[world.request_count++] = (struct request){ .asked = *action, .live = true };
}

static enum commit_answer step(const struct commit_event *event)
{
    struct commit_actions actions;
    commit_step(&world.commit, event, &actions);
    for (uint32_t i = 0; i < actions.count; i++) check_action(&actions.items[i]);
    if (actions.answer != COMMIT_TAKEN) tally.ignored++;
    return actions.answer;
}

/* ---- Answers ----------------------------------------------------------------------------------------------------- */

static enum commit_event_type answer_type(enum commit_action_type type)
{
    switch (type) {
    case COMMIT_DO_LOOK: return COMMIT_ON_LOOKED;
    case COMMIT_DO_FENCE: return COMMIT_ON_FENCED;
    case COMMIT_DO_READ: return COMMIT_ON_READ;
    case COMMIT_DO_RESOLVE: return COMMIT_ON_RESOLVED;
    case COMMIT_DO_RESTORE: return COMMIT_ON_RESTORED;
    case COMMIT_DO_ANNOUNCE: return COMMIT_ON_ANNOUNCED;
    case COMMIT_DO_BEGIN: return COMMIT_ON_BEGUN;
    case COMMIT_DO_FOUND:
    case COMMIT_DO_ALLOW: return COMMIT_ON_SNAPSHOT;
    case COMMIT_DO_APPEND: return COMMIT_ON_DURABLE;
    case COMMIT_DO_FLUSH: return COMMIT_ON_FLUSHED;
    case COMMIT_DO_OFFSETS: return COMMIT_ON_READY;
    case COMMIT_DO_COMMIT: return COMMIT_ON_COMMITTED;
    case COMMIT_DO_RENEW: return COMMIT_ON_RENEWED;
    case COMMIT_DO_FINISH: return COMMIT_ON_FINISHED;
    case COMMIT_DO_DROP: return COMMIT_ON_DROPPED;
    case COMMIT_DO_CANCEL_TASKS: return COMMIT_ON_TASKS_GONE;
    case COMMIT_DO_DISCARD: return COMMIT_ON_DISCARDED;
    default: return COMMIT_ON_TIMER;
    }
}

static bool chance(uint32_t percent)
{
    return !world.calm && unit_chance(&dice, percent);
}

/* A committed frame is the truth from the moment a fence has decided everything before it. */
static void decide_doubt(bool committed)
{
    if (committed) {
        world.committed = world.doubtful;
        world.has_committed = true;
    }
    world.in_doubt = false;
}

static void fill_resolved(struct commit_event *event)
{
    if (!world.has_committed || world.incarnation == 0) {
        world.incarnation = ++world.incarnation_max;
        world.begun_last = 0;
    }
    event->incarnation = world.incarnation;
    event->founding = !world.has_committed;
    event->parent = world.committed;
}

/* Nobody has taken the other ids over: this one's commit would have failed. */
static void prove_others(uint32_t handle)
{
    for (uint32_t i = 0; i < world.commit.options.ring_size; i++) world.handles[i].unproven &= i == handle;
}

/* What the answer makes true. `live` = the machine still waits for it. */
static struct commit_event answer(const struct request *request)
{
    const struct commit_action *asked = &request->asked;
    struct commit_event event = {
        .type = answer_type(asked->type), .attempt = asked->attempt, .epoch = asked->epoch, .handle = asked->handle,
        .try_number = asked->try_number, .handles_named = world.commit.options.ring_size
    };
    if (event.type == COMMIT_ON_READ && chance(5)) event.handles_named += 3; /* taken as it is the second time */
    if (event.type == COMMIT_ON_COMMITTED) event.renew = chance(20);
    if (event.type == COMMIT_ON_SNAPSHOT)
        event.final = event.epoch > 0 && (world.stopped ? world.calm || chance(50) : chance(2));
    if (event.type == COMMIT_ON_DURABLE && chance(15)) event.type = COMMIT_ON_APPEND_FAILED;
    if (event.type == COMMIT_ON_TIMER && chance(3)) {
        event.type = COMMIT_ON_GIVE_UP;
        event.error = &failures[0];
    }
    if (!request->live) return event;

    switch (event.type) {
    case COMMIT_ON_FENCED: if (world.in_doubt) decide_doubt(unit_chance(&dice, 50)); break;
    case COMMIT_ON_RESOLVED: fill_resolved(&event); break;
    case COMMIT_ON_RESTORED: world.restored = true; break;
    case COMMIT_ON_ANNOUNCED: world.announced = true; break;
    case COMMIT_ON_BEGUN:
        world.handles[event.handle].asked = false;
        world.handles[event.handle].begun = true;
        break;
    case COMMIT_ON_SNAPSHOT:
        world.closing = true;
        world.closing_epoch = event.epoch;
        world.append_try = world.durable_try = world.flush_try = world.flushed_try = 0;
        world.offsets_try = world.ready_try = 0;
        break;
    case COMMIT_ON_DURABLE: world.durable_try = event.try_number; break;
    case COMMIT_ON_APPEND_FAILED: tally.appends_failed++; break;
    case COMMIT_ON_FLUSHED:
        world.handles[event.handle].asked = false;
        world.flushed_try = world.flush_try;
        break;
    case COMMIT_ON_READY:
        world.handles[event.handle].asked = false;
        world.ready_try = world.offsets_try;
        break;
    case COMMIT_ON_COMMITTED:
        world.handles[event.handle].asked = world.handles[event.handle].begun = false;
        prove_others(event.handle);
        world.closing = false;
        decide_doubt(true);
        break;
    case COMMIT_ON_RENEWED: world.handles[event.handle].renewing = false; break;
    case COMMIT_ON_DISCARDED: world.discarded = true; break;
    case COMMIT_ON_TASKS_GONE: world.tasks_gone = true; break;
    default: break;
    }
    return event;
}

static void remember(const struct commit_event *event)
{
    world.past[world.past_count++ % PAST_MAX] = *event;
}

static void deliver(uint32_t index)
{
    const struct request request = world.requests[index];
    world.requests[index] = world.requests[--world.request_count];
    const struct commit_event event = answer(&request);
    const enum commit_answer result = step(&event);
    /* Where the decision does not lean on the append, its answer may come when nobody needs it any more. */
    const bool may_be_late = request.asked.type == COMMIT_DO_APPEND && !world.commit.options.needs_prepared_frame;
    HOLDS(may_be_late || (result == COMMIT_TAKEN) == request.live);
    remember(&event);
}

/* ---- What nobody asked ------------------------------------------------------------------------------------------- */

/* Could `event` be the answer to `asked`? */
static bool answers(const struct commit_event *event, const struct commit_action *asked)
{
    if (event->attempt != asked->attempt) return false;
    const enum commit_event_type type = answer_type(asked->type);
    switch (event->type) {
    case COMMIT_ON_DURABLE:
    case COMMIT_ON_APPEND_FAILED:
        return type == COMMIT_ON_DURABLE && event->epoch == asked->epoch && event->try_number == asked->try_number;
    case COMMIT_ON_BEGUN:
    case COMMIT_ON_SNAPSHOT:
    case COMMIT_ON_FLUSHED:
    case COMMIT_ON_READY:
    case COMMIT_ON_COMMITTED:
        return event->type == type && event->epoch == asked->epoch;
    case COMMIT_ON_RENEWED:
        return event->type == type && event->handle == asked->handle;
    case COMMIT_ON_GIVE_UP:
        return type == COMMIT_ON_TIMER;
    default:
        return event->type == type;
    }
}

static bool is_asked_for(const struct commit_event *event)
{
    for (uint32_t i = 0; i < world.request_count; i++)
        if (world.requests[i].live && answers(event, &world.requests[i].asked)) return true;
    return false;
}

static void disturb(struct commit_event event)
{
    if (is_asked_for(&event)) return;
    const bool is_snapshot_of_open = event.type == COMMIT_ON_SNAPSHOT && event.epoch == world.commit.epoch;
    if (is_snapshot_of_open) return; /* broken code, and treated as such */
    /* The failure of an append that the decision did not lean on came late and is forgotten: the try is waited for. */
    const bool is_of_forgotten = event.type == COMMIT_ON_DURABLE && !world.commit.options.needs_prepared_frame &&
                                 world.closing && event.epoch == world.closing_epoch &&
                                 event.try_number == world.append_try && event.try_number != world.durable_try;
    if (is_of_forgotten) return;
    HOLDS(step(&event) != COMMIT_TAKEN);
}

static void repeat(void)
{
    if (world.past_count == 0) return;
    const uint32_t count = world.past_count < PAST_MAX ? world.past_count : PAST_MAX;
    disturb(world.past[unit_random_below(&dice, count)]);
}

static void babble(void)
{
    static const enum commit_event_type types[] = {
        COMMIT_ON_LOOKED,  COMMIT_ON_FENCED,        COMMIT_ON_READ,      COMMIT_ON_RESOLVED, COMMIT_ON_RESTORED,
        COMMIT_ON_BEGUN,   COMMIT_ON_ANNOUNCED,     COMMIT_ON_SNAPSHOT,  COMMIT_ON_DURABLE,  COMMIT_ON_TIMER,
        COMMIT_ON_FLUSHED, COMMIT_ON_APPEND_FAILED, COMMIT_ON_READY,     COMMIT_ON_RENEWED,  COMMIT_ON_COMMITTED,
        COMMIT_ON_GIVE_UP, COMMIT_ON_FINISHED,      COMMIT_ON_DISCARDED, COMMIT_ON_START,    COMMIT_ON_TASKS_GONE,
    };
    const struct commit_event event = {
        .type = types[unit_random_below(&dice, sizeof types / sizeof types[0])],
        .attempt = world.attempt + unit_random_below(&dice, 3) - 1,
        .epoch = world.commit.epoch + unit_random_below(&dice, 4) - 2,
        .handle = unit_random_below(&dice, 4),
        .try_number = unit_random_below(&dice, 3),
        .renew = unit_chance(&dice, 50),
        .final = unit_chance(&dice, 50),
        .error = &failures[0],
    };
    disturb(event);
}

static void fall(void)
{
    const struct commit_event event = {
        .type = COMMIT_ON_FAILED,
        .attempt = world.attempt,
        .error = &failures[unit_random_below(&dice, sizeof failures / sizeof failures[0])],
        .transaction_age_ms = unit_random_below(&dice, 2000),
        .timeout_ms = 500,
    };
    const bool was_unwound = world.cancelled;
    if (step(&event) == COMMIT_TAKEN && !was_unwound) tally.roll_backs++;
}

static void end_it(enum commit_event_type type)
{
    const struct commit_event event = { .type = type, .drops = type == COMMIT_ON_CANCEL && unit_chance(&dice, 50) };
    world.stopped |= type == COMMIT_ON_STOP;
    (void)step(&event);
}

static void stumble(void)
{
    const uint32_t what = unit_random_below(&dice, 1000);
    if (what < 740) {
        if (world.request_count > 0) deliver(unit_random_below(&dice, world.request_count));
    } else if (what < 840) {
        repeat();
    } else if (what < 960) {
        babble();
    } else if (what < 995) {
        fall();
    } else {
        end_it(what < 998 ? COMMIT_ON_STOP : COMMIT_ON_CANCEL);
    }
}

static void live_through_one_job(void)
{
    memset(&world, 0, sizeof world);
    story_size = 0;
    const struct commit_options options = {
        .ring_size = 1 + unit_random_below(&dice, 4), .needs_prepared_frame = unit_chance(&dice, 80), .trace = tell
    };
    commit_init(&world.commit, &options);
    step(&(struct commit_event){ .type = COMMIT_ON_START });
    for (int i = 0; i < STEPS && !world.ended; i++) stumble();

    world.calm = true;
    if (!world.stopped) end_it(COMMIT_ON_STOP);
    for (int i = 0; i < 1000 && !world.ended; i++) {
        HOLDS(world.request_count > 0);
        deliver(unit_random_below(&dice, world.request_count));
    }
    HOLDS(world.ended);
    for (int i = 0; i < 20; i++) {
        if (i % 2 == 0) babble();
        else end_it(i % 4 == 1 ? COMMIT_ON_STOP : COMMIT_ON_CANCEL);
    }
}

START_TEST(nothing_that_can_happen_breaks_a_rule)
{
    dice = unit_seed();
    for (int run = 0; run < RUNS; run++) live_through_one_job();
    (void)printf("commits %" PRIu64 ", renewals %" PRIu64 ", roll-backs %" PRIu64 ", failed appends %" PRIu64
                 ", foundings %" PRIu64 ", ends %" PRIu64 " ok and %" PRIu64 " failed, ignored %" PRIu64 "\n",
                 tally.commits, tally.renewals, tally.roll_backs, tally.appends_failed, tally.foundings, tally.ends_ok,
                 tally.ends_failed, tally.ignored);
    /* Everything did happen. */
    ck_assert(tally.commits > RUNS && tally.renewals > RUNS / 10 && tally.roll_backs > RUNS);
    ck_assert(tally.appends_failed > RUNS / 10 && tally.foundings >= RUNS / 2);
    ck_assert(tally.ends_ok > RUNS / 10 && tally.ends_failed > RUNS / 10 && tally.ignored > RUNS);
    ck_assert_uint_gt(tally.drops, 0);
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_test(tests, nothing_that_can_happen_breaks_a_rule);
}

int main(void)
{
    return unit_main("commit_walk", add);
}
