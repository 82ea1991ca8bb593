/* The commit protocol told as stories: each line is an event, the phase it led to, and what follows from it. */
#include "checkpoint/commit.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "harness/unit.h"

static struct commit commit;
static struct commit_actions actions;
static char story[1 << 16];

static void tell(void *user, const char *line)
{
    (void)user;
    ck_assert_uint_lt(strlen(story) + strlen(line) + 2, sizeof story);
    strcat(story, line);
    strcat(story, "\n");
}

/* What happened since the last call. */
static void expect(const char *lines)
{
    ck_assert_str_eq(story, lines);
    story[0] = '\0';
}

static void forget(void)
{
    story[0] = '\0';
}

static void begin(uint32_t ring_size)
{
    story[0] = '\0';
    const struct commit_options options = { .ring_size = ring_size, .needs_prepared_frame = true, .trace = tell };
    commit_init(&commit, &options);
}

/* An event of the attempt that is under way. */
#define ON(name, ...) step((struct commit_event){ .type = COMMIT_ON_##name, .attempt = commit.attempt, __VA_ARGS__ })
/* An event of another attempt. */
#define ON_ATTEMPT(number, name, ...)                                                                                  \
    step((struct commit_event){ .type = COMMIT_ON_##name, .attempt = (number), __VA_ARGS__ })

static enum commit_answer step(struct commit_event event)
{
    commit_step(&commit, &event, &actions);
    return actions.answer;
}

static void failed(enum weir_code code, enum weir_remedy remedy)
{
    struct weir_error error = { .code = code, .remedy = remedy, .text = "a test's failure" };
    ON(FAILED, .error = &error);
}

static void fenced(int64_t age_ms, int64_t timeout_ms)
{
    struct weir_error error = { .code = WEIR_FENCED, .remedy = WEIR_REMEDY_STOP, .text = "fenced" };
    ON(FAILED, .error = &error, .transaction_age_ms = age_ms, .timeout_ms = timeout_ms);
}

static const struct commit_name first = { 1, 41 };

static void unwound(void)
{
    ON(DISCARDED);
    ON(TASKS_GONE);
}

/* Brings a machine that looks to RUNNING with `parent` restored under `incarnation`. */
static void restore(struct commit_name parent, uint64_t incarnation)
{
    ON(LOOKED, .handles_named = 2);
    ON(FENCED);
    ON(READ, .handles_named = 2);
    ON(RESOLVED, .parent = parent, .incarnation = incarnation);
    ON(ANNOUNCED);
    ON(RESTORED);
}

/* RUNNING with 1/41 restored, and the handle of epoch 42 begun. */
static void run(uint32_t ring_size)
{
    begin(ring_size);
    ON(START);
    restore(first, 2);
    ON(BEGUN, .epoch = 42);
    forget();
}

/* A whole commit in a ring of two, from SNAPSHOT to ALLOW. */
static void commit_whole(uint64_t epoch)
{
    ON(SNAPSHOT, .epoch = epoch);
    ON(BEGUN, .epoch = epoch + 1);
    ON(DURABLE, .epoch = epoch, .try_number = 1);
    ON(FLUSHED, .epoch = epoch);
    ON(READY, .epoch = epoch);
    ON(COMMITTED, .epoch = epoch);
}

/* ---- Starts ------------------------------------------------------------------------------------------------------ */

START_TEST(restores_what_the_ledger_names_and_announces_it_meanwhile)
{
    begin(2);
    ON(START);
    ON(LOOKED, .handles_named = 2);
    ON(FENCED);
    ON(READ, .handles_named = 2);
    ON(RESOLVED, .parent = first, .incarnation = 2);
    ON(RESTORED);
    ON(ANNOUNCED);
    ON(BEGUN, .epoch = 42);
    expect("#1 START | IDLE > LOOKING | LOOK\n"
           "#1 LOOKED handles 2 | LOOKING > FENCING | FENCE handles 2\n"
           "#1 FENCED | FENCING > READING | READ\n"
           "#1 READ handles 2 | READING > RESOLVING | RESOLVE\n"
           "#1 RESOLVED restore 1/41 | RESOLVING > RESTORING | RESTORE 1/41 as 2/42, ANNOUNCE 1/41 as 2\n"
           "#1 RESTORED\n"
           "#1 ANNOUNCED | RESTORING > RUNNING | START_TASKS 42, BEGIN 42 h0\n"
           "#1 BEGUN 42 | PROCEED 42, ALLOW 42\n");
}
END_TEST

/* R4: tasks start when the start positions are committed as numbers, as the commit of epoch 0. */
START_TEST(starts_tasks_only_when_the_founding_epoch_is_committed)
{
    begin(2);
    ON(START);
    ON(LOOKED);
    ON(FENCED);
    ON(READ);
    forget();
    ON(RESOLVED, .founding = true, .incarnation = 1);
    ON(BEGUN, .epoch = 0);
    ON(SNAPSHOT, .epoch = 0);
    ON(BEGUN, .epoch = 1);
    ON(FLUSHED, .epoch = 0);
    ON(DURABLE, .epoch = 0, .try_number = 1);
    ON(READY, .epoch = 0);
    ON(COMMITTED, .epoch = 0);
    expect("#1 RESOLVED found | RESOLVING > RUNNING | FOUND as 1, BEGIN 0 h0\n"
           "#1 BEGUN 0\n"
           "#1 SNAPSHOT 0 | APPEND 0, FLUSH 0 h0, BEGIN 1 h1\n"
           "#1 BEGUN 1\n"
           "#1 FLUSHED 0 | OFFSETS 0 h0\n"
           "#1 DURABLE 0\n"
           "#1 READY 0 | COMMIT 0 h0\n"
           "#1 COMMITTED 0 | NOTIFY 0, START_TASKS 1, PROCEED 1, ALLOW 1\n");
}
END_TEST

START_TEST(founding_frame_may_be_ready_before_its_handle)
{
    begin(1);
    ON(START);
    ON(LOOKED);
    ON(FENCED);
    ON(READ);
    ON(RESOLVED, .founding = true, .incarnation = 1);
    forget();
    ON(SNAPSHOT, .epoch = 0);
    ON(BEGUN, .epoch = 0);
    expect("#1 SNAPSHOT 0 | APPEND 0\n"
           "#1 BEGUN 0 | FLUSH 0 h0\n");
}
END_TEST

/* R10 */
START_TEST(fences_every_handle_that_the_ledger_names)
{
    begin(2);
    ON(START);
    ON(LOOKED, .handles_named = 3);
    ck_assert_uint_eq(actions.items[0].handles_named, 3);
    ON(FENCED);
    forget();
    ON(READ, .handles_named = 5);
    ON(FENCED);
    ON(READ, .handles_named = 5);
    expect("#1 READ handles 5 | READING > FENCING | FENCE handles 5\n"
           "#1 FENCED | FENCING > READING | READ\n"
           "#1 READ handles 5 | READING > RESOLVING | RESOLVE\n");
}
END_TEST

/* ---- Commits ----------------------------------------------------------------------------------------------------- */

/* R2: the next epoch flows from FLUSHED and BEGUN on, while this one is still being stored and committed. */
START_TEST(next_epoch_proceeds_while_this_one_commits)
{
    run(2);
    ON(SNAPSHOT, .epoch = 42);
    ON(BEGUN, .epoch = 43);
    ON(FLUSHED, .epoch = 42);
    ON(DURABLE, .epoch = 42, .try_number = 1);
    ON(READY, .epoch = 42);
    ON(COMMITTED, .epoch = 42);
    ON(SNAPSHOT, .epoch = 43);
    expect("#1 SNAPSHOT 42 | APPEND 42, FLUSH 42 h0, BEGIN 43 h1\n"
           "#1 BEGUN 43\n"
           "#1 FLUSHED 42 | OFFSETS 42 h0, PROCEED 43\n"
           "#1 DURABLE 42\n"
           "#1 READY 42 | COMMIT 42 h0\n"
           "#1 COMMITTED 42 | NOTIFY 42, ALLOW 43\n"
           "#1 SNAPSHOT 43 | APPEND 43, FLUSH 43 h1, BEGIN 44 h0\n");
}
END_TEST

START_TEST(next_epoch_waits_for_its_handle_to_begin)
{
    run(2);
    ON(SNAPSHOT, .epoch = 42);
    ON(FLUSHED, .epoch = 42);
    ON(BEGUN, .epoch = 43);
    expect("#1 SNAPSHOT 42 | APPEND 42, FLUSH 42 h0, BEGIN 43 h1\n"
           "#1 FLUSHED 42 | OFFSETS 42 h0\n"
           "#1 BEGUN 43 | PROCEED 43\n");
}
END_TEST

START_TEST(ring_of_one_begins_after_the_commit)
{
    run(1);
    ON(SNAPSHOT, .epoch = 42);
    ON(FLUSHED, .epoch = 42);
    ON(DURABLE, .epoch = 42, .try_number = 1);
    ON(READY, .epoch = 42);
    ON(COMMITTED, .epoch = 42);
    ON(BEGUN, .epoch = 43);
    expect("#1 SNAPSHOT 42 | APPEND 42, FLUSH 42 h0\n"
           "#1 FLUSHED 42 | OFFSETS 42 h0\n"
           "#1 DURABLE 42\n"
           "#1 READY 42 | COMMIT 42 h0\n"
           "#1 COMMITTED 42 | NOTIFY 42, BEGIN 43 h0\n"
           "#1 BEGUN 43 | PROCEED 43, ALLOW 43\n");
}
END_TEST

START_TEST(ring_of_one_renews_before_it_begins)
{
    run(1);
    ON(SNAPSHOT, .epoch = 42);
    ON(FLUSHED, .epoch = 42);
    ON(DURABLE, .epoch = 42, .try_number = 1);
    ON(READY, .epoch = 42);
    forget();
    ON(COMMITTED, .epoch = 42, .renew = true);
    ON(RENEWED, .handle = 0);
    expect("#1 COMMITTED 42 renew | NOTIFY 42, RENEW h0\n"
           "#1 RENEWED h0 | BEGIN 43 h0\n");
}
END_TEST

START_TEST(handles_of_a_ring_of_three_take_turns)
{
    run(3);
    forget();
    commit_whole(42);
    ON(SNAPSHOT, .epoch = 43);
    ck_assert_ptr_nonnull(strstr(story, "SNAPSHOT 42 | APPEND 42, FLUSH 42 h0, BEGIN 43 h1\n"));
    ck_assert_ptr_nonnull(strstr(story, "SNAPSHOT 43 | APPEND 43, FLUSH 43 h1, BEGIN 44 h2\n"));
}
END_TEST

/* R1: barrier 43 may be sent when 42 is committed, and the records before it can reach their own transaction. */
START_TEST(allows_a_barrier_only_after_the_commit_before_it)
{
    run(2);
    ON(SNAPSHOT, .epoch = 42);
    ON(BEGUN, .epoch = 43);
    ON(FLUSHED, .epoch = 42);
    ON(READY, .epoch = 42);
    ck_assert(!commit.allowed);
    ON(DURABLE, .epoch = 42, .try_number = 1);
    ck_assert(!commit.allowed);
    forget();
    ON(COMMITTED, .epoch = 42);
    expect("#1 COMMITTED 42 | NOTIFY 42, ALLOW 43\n");
}
END_TEST

START_TEST(allows_a_barrier_only_when_its_epoch_proceeds)
{
    run(2);
    ON(SNAPSHOT, .epoch = 42);
    ON(FLUSHED, .epoch = 42);
    ON(READY, .epoch = 42);
    ON(DURABLE, .epoch = 42, .try_number = 1);
    forget();
    ON(COMMITTED, .epoch = 42);
    ON(BEGUN, .epoch = 43);
    expect("#1 COMMITTED 42 | NOTIFY 42\n"
           "#1 BEGUN 43 | PROCEED 43, ALLOW 43\n");
}
END_TEST

/* R1: nothing of n+1 can be closed while n is in flight, so OFFSETS n+1 cannot come before COMMITTED n. */
START_TEST(snapshot_before_the_commit_before_it_is_broken_code)
{
    run(2);
    ON(SNAPSHOT, .epoch = 42);
    ON(BEGUN, .epoch = 43);
    ON(FLUSHED, .epoch = 42);
    ON(SNAPSHOT, .epoch = 43);
}
END_TEST

/* R3, in every order of the three answers. */
START_TEST(commits_only_what_is_durable_and_flushed_and_has_its_offsets)
{
    run(2);
    ON(SNAPSHOT, .epoch = 42);
    ON(FLUSHED, .epoch = 42);
    ON(READY, .epoch = 42);
    ON(DURABLE, .epoch = 42, .try_number = 1);
    ck_assert_ptr_nonnull(strstr(story, "#1 READY 42\n"
                                        "#1 DURABLE 42 | COMMIT 42 h0\n"));
    run(2);
    ON(SNAPSHOT, .epoch = 42);
    ON(FLUSHED, .epoch = 42);
    ON(DURABLE, .epoch = 42, .try_number = 1);
    ON(READY, .epoch = 42);
    ck_assert_ptr_nonnull(strstr(story, "#1 DURABLE 42\n"
                                        "#1 READY 42 | COMMIT 42 h0\n"));
    run(2);
    ON(SNAPSHOT, .epoch = 42);
    ON(DURABLE, .epoch = 42, .try_number = 1);
    ON(FLUSHED, .epoch = 42);
    ON(READY, .epoch = 42);
    ck_assert_ptr_nonnull(strstr(story, "#1 DURABLE 42\n"
                                        "#1 FLUSHED 42 | OFFSETS 42 h0\n"
                                        "#1 READY 42 | COMMIT 42 h0\n"));
}
END_TEST

START_TEST(does_not_wait_for_frames_that_travel_in_the_transaction)
{
    begin(2);
    commit.options.needs_prepared_frame = false;
    ON(START);
    restore(first, 2);
    ON(BEGUN, .epoch = 42);
    ON(SNAPSHOT, .epoch = 42);
    ON(FLUSHED, .epoch = 42);
    forget();
    ON(READY, .epoch = 42);
    ON(APPEND_FAILED, .epoch = 42, .try_number = 1);
    expect("#1 READY 42 | COMMIT 42 h0\n"
           "#1 APPEND_FAILED 42 | late\n");
}
END_TEST

/* R5: a handle with a repeated request is renewed before it is used again. */
START_TEST(renews_a_handle_before_its_next_epoch)
{
    run(2);
    ON(SNAPSHOT, .epoch = 42);
    ON(BEGUN, .epoch = 43);
    ON(FLUSHED, .epoch = 42);
    ON(DURABLE, .epoch = 42, .try_number = 1);
    ON(READY, .epoch = 42);
    forget();
    ON(COMMITTED, .epoch = 42, .renew = true);
    ON(SNAPSHOT, .epoch = 43);
    ON(FLUSHED, .epoch = 43);
    ON(DURABLE, .epoch = 43, .try_number = 1);
    ON(READY, .epoch = 43);
    ON(RENEWED, .handle = 0);
    ON(BEGUN, .epoch = 44);
    ON(COMMITTED, .epoch = 43);
    expect("#1 COMMITTED 42 renew | NOTIFY 42, RENEW h0, ALLOW 43\n"
           "#1 SNAPSHOT 43 | APPEND 43, FLUSH 43 h1\n"
           "#1 FLUSHED 43 | OFFSETS 43 h1\n"
           "#1 DURABLE 43\n"
           "#1 READY 43\n"
           "#1 RENEWED h0 | COMMIT 43 h1, BEGIN 44 h0\n"
           "#1 BEGUN 44 | PROCEED 44\n"
           "#1 COMMITTED 43 | NOTIFY 43, ALLOW 44\n");
}
END_TEST

/* ---- A store that fails ------------------------------------------------------------------------------------------ */

START_TEST(names_a_frame_anew_when_it_could_not_be_appended)
{
    run(2);
    ON(SNAPSHOT, .epoch = 42);
    ON(BEGUN, .epoch = 43);
    ON(APPEND_FAILED, .epoch = 42, .try_number = 1);
    ON(FLUSHED, .epoch = 42); /* of the record that named the lost frame */
    ON(DURABLE, .epoch = 42, .try_number = 1);
    ON(DURABLE, .epoch = 42, .try_number = 2);
    ON(FLUSHED, .epoch = 42);
    ON(READY, .epoch = 42);
    expect("#1 SNAPSHOT 42 | APPEND 42, FLUSH 42 h0, BEGIN 43 h1\n"
           "#1 BEGUN 43\n"
           "#1 APPEND_FAILED 42 | APPEND 42 try 2\n"
           "#1 FLUSHED 42 | FLUSH 42 h0 try 2, PROCEED 43\n"
           "#1 DURABLE 42 | late\n"
           "#1 DURABLE 42 try 2\n"
           "#1 FLUSHED 42 | OFFSETS 42 h0\n"
           "#1 READY 42 | COMMIT 42 h0\n");
}
END_TEST

START_TEST(sends_record_and_offsets_again_when_the_append_fails_last)
{
    run(2);
    ON(SNAPSHOT, .epoch = 42);
    ON(FLUSHED, .epoch = 42);
    ON(READY, .epoch = 42);
    forget();
    ON(APPEND_FAILED, .epoch = 42, .try_number = 1);
    ON(APPEND_FAILED, .epoch = 42, .try_number = 2);
    ON(FLUSHED, .epoch = 42);
    ON(FLUSHED, .epoch = 42);
    ON(DURABLE, .epoch = 42, .try_number = 3);
    ON(READY, .epoch = 42);
    expect("#1 APPEND_FAILED 42 | APPEND 42 try 2, FLUSH 42 h0 try 2\n"
           "#1 APPEND_FAILED 42 try 2 | APPEND 42 try 3\n"
           "#1 FLUSHED 42 | FLUSH 42 h0 try 3\n"
           "#1 FLUSHED 42 | OFFSETS 42 h0\n"
           "#1 DURABLE 42 try 3\n"
           "#1 READY 42 | COMMIT 42 h0\n");
}
END_TEST

START_TEST(frames_name_the_newest_committed_one_as_their_parent)
{
    run(2);
    ON(SNAPSHOT, .epoch = 42);
    ck_assert_uint_eq(actions.items[0].parent.incarnation, 1);
    ck_assert_uint_eq(actions.items[0].parent.epoch, 41);
    run(2);
    commit_whole(42);
    ON(SNAPSHOT, .epoch = 43);
    ck_assert_uint_eq(actions.items[0].parent.incarnation, 2);
    ck_assert_uint_eq(actions.items[0].parent.epoch, 42);
}
END_TEST

/* ---- Failures ---------------------------------------------------------------------------------------------------- */

/* R1: if n fails, everything is given up, and the instance goes back to n's parent. The number is not used again. */
START_TEST(rolls_back_to_the_parent_under_the_next_number)
{
    run(2);
    commit_whole(42);
    ON(SNAPSHOT, .epoch = 43);
    forget();
    failed(WEIR_FAILED, WEIR_REMEDY_REPLAY);
    ON(TASKS_GONE);
    ON(DISCARDED);
    ON(TIMER);
    ON(LOOKED, .handles_named = 2);
    ON(FENCED);
    ON(READ, .handles_named = 2);
    ON(RESOLVED, .parent = { 2, 42 }, .incarnation = 2);
    expect("#1 FAILED FAILED | RUNNING > UNWINDING | CANCEL_TASKS, DISCARD\n"
           "#1 TASKS_GONE\n"
           "#1 DISCARDED | UNWINDING > WAITING | WAIT\n"
           "#2 TIMER | WAITING > LOOKING | LOOK\n"
           "#2 LOOKED handles 2 | LOOKING > FENCING | FENCE handles 2\n"
           "#2 FENCED | FENCING > READING | READ\n"
           "#2 READ handles 2 | READING > RESOLVING | RESOLVE\n"
           "#2 RESOLVED restore 2/42 | RESOLVING > RESTORING | RESTORE 2/42 as 2/45, ANNOUNCE 2/42 as 2\n");
}
END_TEST

/* R5: whether an unanswered commit came through is the ledger's to say. */
START_TEST(goes_on_from_a_commit_that_was_never_answered_but_came_through)
{
    run(2);
    ON(SNAPSHOT, .epoch = 42);
    ON(BEGUN, .epoch = 43);
    ON(FLUSHED, .epoch = 42);
    ON(DURABLE, .epoch = 42, .try_number = 1);
    ON(READY, .epoch = 42);
    failed(WEIR_FAILED, WEIR_REMEDY_RETRY);
    unwound();
    ON(TIMER);
    forget();
    restore((struct commit_name){ 2, 42 }, 2);
    ck_assert_uint_eq(commit.epoch, 44);
    ck_assert_ptr_nonnull(strstr(story, "RESTORE 2/42 as 2/44"));
}
END_TEST

START_TEST(a_second_founding_needs_a_new_incarnation)
{
    begin(2);
    ON(START);
    ON(LOOKED);
    ON(FENCED);
    ON(READ);
    ON(RESOLVED, .founding = true, .incarnation = 1);
    failed(WEIR_FAILED, WEIR_REMEDY_REPLAY);
    unwound();
    ON(TIMER);
    ON(LOOKED);
    ON(FENCED);
    ON(READ);
    forget();
    ON(RESOLVED, .founding = true, .incarnation = 2);
    expect("#2 RESOLVED found | RESOLVING > RUNNING | FOUND as 2, BEGIN 0 h0\n");
}
END_TEST

START_TEST(a_second_founding_under_the_same_incarnation_is_broken_code)
{
    begin(2);
    for (int i = 0; i < 2; i++) {
        if (i == 0) ON(START);
        else ON(TIMER);
        ON(LOOKED);
        ON(FENCED);
        ON(READ);
        ON(RESOLVED, .founding = true, .incarnation = 1);
        failed(WEIR_FAILED, WEIR_REMEDY_REPLAY);
        unwound();
    }
}
END_TEST

/* R7 */
START_TEST(exits_when_fenced_in_a_young_transaction)
{
    run(2);
    fenced(5000, 60000);
    unwound();
    expect("#1 FAILED FENCED | RUNNING > UNWINDING | CANCEL_TASKS, DISCARD\n"
           "#1 DISCARDED\n"
           "#1 TASKS_GONE | UNWINDING > ENDED | END FENCED\n");
}
END_TEST

START_TEST(exits_when_fenced_without_a_transaction)
{
    run(2);
    fenced(0, 60000);
    unwound();
    ck_assert_int_eq(commit.phase, COMMIT_ENDED);
}
END_TEST

START_TEST(looks_again_when_the_fenced_transaction_was_older_than_its_time_out)
{
    run(2);
    fenced(60000, 60000);
    unwound();
    ON(TIMER);
    expect("#1 FAILED FENCED | RUNNING > UNWINDING | CANCEL_TASKS, DISCARD\n"
           "#1 DISCARDED\n"
           "#1 TASKS_GONE | UNWINDING > WAITING | WAIT\n"
           "#2 TIMER | WAITING > LOOKING | LOOK\n");
    /* restart_examine has found a newer incarnation, and the transaction's age is of the past. */
    fenced(60000, 60000);
    unwound();
    expect("#2 FAILED FENCED | LOOKING > UNWINDING | CANCEL_TASKS, DISCARD\n"
           "#2 DISCARDED\n"
           "#2 TASKS_GONE | UNWINDING > ENDED | END FENCED\n");
}
END_TEST

START_TEST(looks_again_when_the_decider_says_that_the_ledger_tells)
{
    run(2);
    failed(WEIR_FENCED, WEIR_REMEDY_REPLAY);
    unwound();
    ON(TIMER);
    expect("#1 FAILED FENCED | RUNNING > UNWINDING | CANCEL_TASKS, DISCARD\n"
           "#1 DISCARDED\n"
           "#1 TASKS_GONE | UNWINDING > WAITING | WAIT\n"
           "#2 TIMER | WAITING > LOOKING | LOOK\n");
}
END_TEST

/* Brings a new machine of a ring of two to `phase`. */
static void reach(enum commit_phase phase)
{
    begin(2);
    if (phase == COMMIT_IDLE) return;
    ON(START);
    if (phase == COMMIT_LOOKING) return;
    if (phase == COMMIT_DROPPING) {
        ON(CANCEL, .drops = true);
        unwound();
    }
    ON(LOOKED, .handles_named = 2);
    if (phase == COMMIT_FENCING) return;
    ON(FENCED);
    if (phase == COMMIT_READING) return;
    ON(READ, .handles_named = 2);
    if (phase == COMMIT_RESOLVING) return;
    ON(RESOLVED, .parent = first, .incarnation = 2);
    if (phase == COMMIT_RESTORING || phase == COMMIT_DROPPING) return;
    ON(RESTORED);
    ON(ANNOUNCED);
    ON(BEGUN, .epoch = 42);
    if (phase == COMMIT_RUNNING) return;
    if (phase != COMMIT_FINISHING) {
        failed(WEIR_FAILED, WEIR_REMEDY_REPLAY);
        if (phase == COMMIT_UNWINDING) return;
        unwound();
        if (phase == COMMIT_WAITING) return;
        ON(STOP);
        return;
    }
    ON(SNAPSHOT, .epoch = 42, .final = true);
    ON(DURABLE, .epoch = 42, .try_number = 1);
    ON(FLUSHED, .epoch = 42);
    ON(READY, .epoch = 42);
    ON(COMMITTED, .epoch = 42);
}

struct failure_case {
    const char *name;
    enum commit_phase phase;
    enum commit_phase after_retry, after_stop; /* once everything is unwound */
};

static const struct failure_case failure_cases[] = {
    { "idle", COMMIT_IDLE, COMMIT_IDLE, COMMIT_IDLE },
    { "looking", COMMIT_LOOKING, COMMIT_WAITING, COMMIT_ENDED },
    { "fencing", COMMIT_FENCING, COMMIT_WAITING, COMMIT_ENDED },
    { "reading", COMMIT_READING, COMMIT_WAITING, COMMIT_ENDED },
    { "resolving", COMMIT_RESOLVING, COMMIT_WAITING, COMMIT_ENDED },
    { "restoring", COMMIT_RESTORING, COMMIT_WAITING, COMMIT_ENDED },
    { "running", COMMIT_RUNNING, COMMIT_WAITING, COMMIT_ENDED },
    { "finishing", COMMIT_FINISHING, COMMIT_WAITING, COMMIT_ENDED },
    { "dropping", COMMIT_DROPPING, COMMIT_WAITING, COMMIT_ENDED },
    { "unwinding", COMMIT_UNWINDING, COMMIT_WAITING, COMMIT_ENDED },
    { "waiting", COMMIT_WAITING, COMMIT_WAITING, COMMIT_ENDED },
};

START_TEST(a_failure_has_its_row_in_every_phase)
{
    const struct failure_case *row = &failure_cases[_i];
    static const enum weir_remedy retries[] = { WEIR_REMEDY_RETRY, WEIR_REMEDY_REPLAY };
    for (int i = 0; i < 2; i++) {
        reach(row->phase);
        ck_assert_msg(commit.phase == row->phase, "%s", row->name);
        failed(WEIR_ENVIRONMENT, retries[i]);
        unwound();
        ck_assert_msg(commit.phase == row->after_retry, "%s: %s", row->name, story);
    }
    reach(row->phase);
    failed(WEIR_DAMAGED, WEIR_REMEDY_STOP);
    unwound();
    ck_assert_msg(commit.phase == row->after_stop, "%s: %s", row->name, story);
    const bool has_ended = strstr(story, "END DAMAGED\n") != NULL;
    ck_assert_msg(has_ended == (row->after_stop == COMMIT_ENDED), "%s: %s", row->name, story);
}
END_TEST

START_TEST(first_failure_of_an_attempt_is_the_one_that_counts)
{
    run(2);
    failed(WEIR_NO_MEMORY, WEIR_REMEDY_REPLAY);
    failed(WEIR_ENVIRONMENT, WEIR_REMEDY_REPLAY);
    ck_assert_int_eq(actions.answer, COMMIT_LATE);
    ck_assert_int_eq(commit.failure.code, WEIR_NO_MEMORY);
    failed(WEIR_POSITION_LOST, WEIR_REMEDY_STOP);
    failed(WEIR_DAMAGED, WEIR_REMEDY_STOP);
    ck_assert_int_eq(commit.failure.code, WEIR_POSITION_LOST);
}
END_TEST

START_TEST(gives_up_when_the_restart_strategy_does)
{
    reach(COMMIT_WAITING);
    forget();
    struct weir_error error = { .code = WEIR_OUT_OF_PATIENCE, .text = "no broker for 30 s" };
    ON(GIVE_UP, .error = &error);
    expect("#1 GIVE_UP OUT_OF_PATIENCE | WAITING > ENDED | END OUT_OF_PATIENCE\n");
    ck_assert_str_eq(commit.failure.text, "no broker for 30 s");
}
END_TEST

/* ---- Ends -------------------------------------------------------------------------------------------------------- */

START_TEST(stop_ends_behind_the_final_epoch_when_all_is_visible)
{
    run(2);
    ON(STOP);
    ON(SNAPSHOT, .epoch = 42, .final = true);
    ON(FLUSHED, .epoch = 42);
    ON(DURABLE, .epoch = 42, .try_number = 1);
    ON(READY, .epoch = 42);
    ON(COMMITTED, .epoch = 42, .renew = true);
    ON(FINISHED);
    unwound();
    expect("#1 STOP\n"
           "#1 SNAPSHOT 42 final | APPEND 42, FLUSH 42 h0\n"
           "#1 FLUSHED 42 | OFFSETS 42 h0\n"
           "#1 DURABLE 42\n"
           "#1 READY 42 | COMMIT 42 h0\n"
           "#1 COMMITTED 42 renew | RUNNING > FINISHING | NOTIFY 42, FINISH\n"
           "#1 FINISHED | FINISHING > UNWINDING | CANCEL_TASKS, DISCARD\n"
           "#1 DISCARDED\n"
           "#1 TASKS_GONE | UNWINDING > ENDED | END OK\n");
}
END_TEST

START_TEST(a_start_that_is_stopped_ends_at_once)
{
    for (int phase = COMMIT_LOOKING; phase <= COMMIT_RESTORING; phase++) {
        reach((enum commit_phase)phase);
        ON(STOP);
        unwound();
        ck_assert_int_eq(commit.phase, COMMIT_ENDED);
        ck_assert_ptr_nonnull(strstr(story, "END OK\n"));
    }
    reach(COMMIT_WAITING);
    forget();
    ON(STOP);
    expect("#1 STOP | WAITING > ENDED | END OK\n");
    reach(COMMIT_UNWINDING);
    ON(STOP);
    unwound();
    ck_assert_ptr_nonnull(strstr(story, "END OK\n"));
    reach(COMMIT_IDLE);
    ON(STOP);
    expect("#0 STOP | IDLE > ENDED | END OK\n");
}
END_TEST

START_TEST(a_founding_that_is_stopped_ends_at_once)
{
    begin(2);
    ON(START);
    ON(LOOKED);
    ON(FENCED);
    ON(READ);
    ON(RESOLVED, .founding = true, .incarnation = 1);
    ON(SNAPSHOT, .epoch = 0);
    forget();
    ON(STOP);
    unwound();
    expect("#1 STOP | RUNNING > UNWINDING | CANCEL_TASKS, DISCARD\n"
           "#1 DISCARDED\n"
           "#1 TASKS_GONE | UNWINDING > ENDED | END OK\n");
}
END_TEST

START_TEST(a_failure_while_stopping_ends_the_job_with_it)
{
    run(2);
    ON(STOP);
    failed(WEIR_NO_MEMORY, WEIR_REMEDY_REPLAY);
    unwound();
    ck_assert_ptr_nonnull(strstr(story, "END NO_MEMORY\n"));
}
END_TEST

/* The last commit came through: nothing is processed again only because FINISH failed. */
START_TEST(a_failed_finish_is_made_up_for_by_a_fence)
{
    reach(COMMIT_FINISHING);
    failed(WEIR_ENVIRONMENT, WEIR_REMEDY_RETRY);
    unwound();
    ON(STOP);
    forget();
    ON(TIMER);
    ON(LOOKED, .handles_named = 2);
    ON(FENCED);
    unwound();
    expect("#2 TIMER | WAITING > LOOKING | LOOK\n"
           "#2 LOOKED handles 2 | LOOKING > FENCING | FENCE handles 2\n"
           "#2 FENCED | FENCING > UNWINDING | CANCEL_TASKS, DISCARD\n"
           "#2 DISCARDED\n"
           "#2 TASKS_GONE | UNWINDING > ENDED | END OK\n");
}
END_TEST

START_TEST(cancel_ends_from_every_phase)
{
    for (int phase = COMMIT_IDLE; phase < COMMIT_ENDED; phase++) {
        reach((enum commit_phase)phase);
        ON(CANCEL);
        const bool holds_something = phase != COMMIT_IDLE && phase != COMMIT_WAITING;
        ck_assert_int_eq(commit.phase, holds_something ? COMMIT_UNWINDING : COMMIT_ENDED);
        unwound();
        ck_assert_int_eq(commit.phase, COMMIT_ENDED);
        ON(CANCEL);
        ck_assert_int_eq(actions.answer, COMMIT_LATE);
    }
}
END_TEST

START_TEST(cancel_ends_in_peace_what_was_about_to_try_again)
{
    run(2);
    failed(WEIR_FAILED, WEIR_REMEDY_REPLAY);
    ON(CANCEL);
    unwound();
    ck_assert_ptr_nonnull(strstr(story, "END OK\n"));
    run(2);
    failed(WEIR_FAILED, WEIR_REMEDY_REPLAY);
    unwound();
    ck_assert_int_eq(commit.phase, COMMIT_WAITING);
    forget();
    ON(CANCEL);
    ck_assert_ptr_nonnull(strstr(story, "END OK\n"));
}
END_TEST

static void cancel_and_drop(void)
{
    run(2);
    ON(CANCEL, .drops = true);
    unwound();
}

START_TEST(a_cancel_that_drops_commits_that_before_anything_is_deleted)
{
    cancel_and_drop();
    ON(LOOKED, .handles_named = 2);
    ON(FENCED);
    ON(READ, .handles_named = 2);
    ON(RESOLVED, .parent = first, .incarnation = 2);
    ON(DROPPED); /* nobody asked yet */
    ON(ANNOUNCED);
    ON(ANNOUNCED);
    ON(DROPPED);
    unwound();
    expect("#1 CANCEL drops | RUNNING > UNWINDING | CANCEL_TASKS, DISCARD\n"
           "#1 DISCARDED\n"
           "#2 TASKS_GONE | UNWINDING > LOOKING | LOOK\n"
           "#2 LOOKED handles 2 | LOOKING > FENCING | FENCE handles 2\n"
           "#2 FENCED | FENCING > READING | READ\n"
           "#2 READ handles 2 | READING > RESOLVING | RESOLVE\n"
           "#2 RESOLVED restore 1/41 | RESOLVING > DROPPING | ANNOUNCE 1/41 as 2 dropped\n"
           "#2 DROPPED | unknown\n"
           "#2 ANNOUNCED | DROP\n"
           "#2 ANNOUNCED | duplicate\n"
           "#2 DROPPED | DROPPING > UNWINDING | CANCEL_TASKS, DISCARD\n"
           "#2 DISCARDED\n"
           "#2 TASKS_GONE | UNWINDING > ENDED | END OK\n");
}
END_TEST

START_TEST(who_was_taken_over_drops_nothing)
{
    cancel_and_drop();
    fenced(0, 60000);
    unwound();
    ck_assert_int_eq(commit.phase, COMMIT_ENDED);
    ck_assert_int_eq(commit.failure.code, WEIR_FENCED);
}
END_TEST

START_TEST(a_cancel_that_drops_ends_from_every_phase_when_it_is_cancelled)
{
    for (int phase = COMMIT_IDLE; phase < COMMIT_ENDED; phase++) {
        reach((enum commit_phase)phase);
        ON(CANCEL, .drops = true);
        ON(CANCEL, .drops = true);
        if (commit.phase == COMMIT_UNWINDING) unwound();
        ck_assert_int_eq(commit.phase, COMMIT_ENDED);
        ck_assert_int_eq(commit.failure.code, WEIR_OK);
    }
}
END_TEST

/* ---- What nobody waits for --------------------------------------------------------------------------------------- */

START_TEST(answers_to_an_earlier_attempt_change_nothing)
{
    run(2);
    ON(SNAPSHOT, .epoch = 42);
    failed(WEIR_FAILED, WEIR_REMEDY_REPLAY);
    unwound();
    ON(TIMER);
    restore(first, 2);
    ON(BEGUN, .epoch = 44);
    forget();
    ON_ATTEMPT(1, FLUSHED, .epoch = 42);
    ON_ATTEMPT(1, COMMITTED, .epoch = 42);
    struct weir_error error = { .code = WEIR_FENCED, .text = "long ago" };
    ON_ATTEMPT(1, FAILED, .error = &error);
    ON_ATTEMPT(3, TASKS_GONE);
    expect("#2 FLUSHED 42 of attempt 1 | late\n"
           "#2 COMMITTED 42 of attempt 1 | late\n"
           "#2 FAILED FENCED of attempt 1 | late\n"
           "#2 TASKS_GONE of attempt 3 | unknown\n");
    ck_assert_uint_eq(commit.counts[COMMIT_LATE], 3);
    ck_assert_uint_eq(commit.counts[COMMIT_UNKNOWN], 1);
}
END_TEST

START_TEST(what_comes_twice_or_unasked_is_counted_and_ignored)
{
    run(2);
    ON(BEGUN, .epoch = 42);
    ON(BEGUN, .epoch = 43);
    ON(FLUSHED, .epoch = 42);
    ON(FLUSHED, .epoch = 41);
    ON(COMMITTED, .epoch = 43);
    ON(RENEWED, .handle = 1);
    ON(RENEWED, .handle = 99);
    ON(SNAPSHOT, .epoch = 41);
    ON(SNAPSHOT, .epoch = 43);
    ON(LOOKED);
    ON(RESTORED);
    ON(FINISHED);
    ON(TIMER);
    ON(DISCARDED);
    ON(START);
    expect("#1 BEGUN 42 | duplicate\n"
           "#1 BEGUN 43 | unknown\n"
           "#1 FLUSHED 42 | unknown\n"
           "#1 FLUSHED 41 | late\n"
           "#1 COMMITTED 43 | unknown\n"
           "#1 RENEWED h1 | unknown\n"
           "#1 RENEWED h99 | unknown\n"
           "#1 SNAPSHOT 41 | late\n"
           "#1 SNAPSHOT 43 | unknown\n"
           "#1 LOOKED handles 0 | duplicate\n"
           "#1 RESTORED | duplicate\n"
           "#1 FINISHED | unknown\n"
           "#1 TIMER | unknown\n"
           "#1 DISCARDED | unknown\n"
           "#1 START | duplicate\n");
    ON(SNAPSHOT, .epoch = 42);
    ON(COMMITTED, .epoch = 42);
    ON(READY, .epoch = 42);
    ON(DURABLE, .epoch = 42, .try_number = 2);
    ON(DURABLE, .epoch = 42, .try_number = 1);
    ON(DURABLE, .epoch = 42, .try_number = 1);
    ON(FLUSHED, .epoch = 42);
    ON(FLUSHED, .epoch = 42);
    expect("#1 SNAPSHOT 42 | APPEND 42, FLUSH 42 h0, BEGIN 43 h1\n"
           "#1 COMMITTED 42 | unknown\n"
           "#1 READY 42 | unknown\n"
           "#1 DURABLE 42 try 2 | unknown\n"
           "#1 DURABLE 42\n"
           "#1 DURABLE 42 | duplicate\n"
           "#1 FLUSHED 42 | OFFSETS 42 h0\n"
           "#1 FLUSHED 42 | duplicate\n");
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_test(tests, restores_what_the_ledger_names_and_announces_it_meanwhile);
    tcase_add_test(tests, starts_tasks_only_when_the_founding_epoch_is_committed);
    tcase_add_test(tests, founding_frame_may_be_ready_before_its_handle);
    tcase_add_test(tests, fences_every_handle_that_the_ledger_names);
    tcase_add_test(tests, next_epoch_proceeds_while_this_one_commits);
    tcase_add_test(tests, next_epoch_waits_for_its_handle_to_begin);
    tcase_add_test(tests, ring_of_one_begins_after_the_commit);
    tcase_add_test(tests, ring_of_one_renews_before_it_begins);
    tcase_add_test(tests, handles_of_a_ring_of_three_take_turns);
    tcase_add_test(tests, allows_a_barrier_only_after_the_commit_before_it);
    tcase_add_test(tests, allows_a_barrier_only_when_its_epoch_proceeds);
    tcase_add_test_raise_signal(tests, snapshot_before_the_commit_before_it_is_broken_code, SIGILL);
    tcase_add_test(tests, commits_only_what_is_durable_and_flushed_and_has_its_offsets);
    tcase_add_test(tests, does_not_wait_for_frames_that_travel_in_the_transaction);
    tcase_add_test(tests, renews_a_handle_before_its_next_epoch);
    tcase_add_test(tests, names_a_frame_anew_when_it_could_not_be_appended);
    tcase_add_test(tests, sends_record_and_offsets_again_when_the_append_fails_last);
    tcase_add_test(tests, frames_name_the_newest_committed_one_as_their_parent);
    tcase_add_test(tests, rolls_back_to_the_parent_under_the_next_number);
    tcase_add_test(tests, goes_on_from_a_commit_that_was_never_answered_but_came_through);
    tcase_add_test(tests, a_second_founding_needs_a_new_incarnation);
    tcase_add_test_raise_signal(tests, a_second_founding_under_the_same_incarnation_is_broken_code, SIGILL);
    tcase_add_test(tests, exits_when_fenced_in_a_young_transaction);
    tcase_add_test(tests, exits_when_fenced_without_a_transaction);
    tcase_add_test(tests, looks_again_when_the_fenced_transaction_was_older_than_its_time_out);
    tcase_add_test(tests, looks_again_when_the_decider_says_that_the_ledger_tells);
    tcase_add_loop_test(tests, a_failure_has_its_row_in_every_phase, 0,
                        sizeof failure_cases / sizeof failure_cases[0]);
    tcase_add_test(tests, first_failure_of_an_attempt_is_the_one_that_counts);
    tcase_add_test(tests, gives_up_when_the_restart_strategy_does);
    tcase_add_test(tests, stop_ends_behind_the_final_epoch_when_all_is_visible);
    tcase_add_test(tests, a_start_that_is_stopped_ends_at_once);
    tcase_add_test(tests, a_founding_that_is_stopped_ends_at_once);
    tcase_add_test(tests, a_failure_while_stopping_ends_the_job_with_it);
    tcase_add_test(tests, a_failed_finish_is_made_up_for_by_a_fence);
    tcase_add_test(tests, cancel_ends_from_every_phase);
    tcase_add_test(tests, cancel_ends_in_peace_what_was_about_to_try_again);
    tcase_add_test(tests, a_cancel_that_drops_commits_that_before_anything_is_deleted);
    tcase_add_test(tests, who_was_taken_over_drops_nothing);
    tcase_add_test(tests, a_cancel_that_drops_ends_from_every_phase_when_it_is_cancelled);
    tcase_add_test(tests, answers_to_an_earlier_attempt_change_nothing);
    tcase_add_test(tests, what_comes_twice_or_unasked_is_counted_and_ignored);
}

int main(void)
{
    return unit_main("commit", add);
}
