/* The commit protocol told as stories: each line is an event, the phase it led to, and what follows from it. */
#include <signal.h>

#include "trace/commit_story.h"

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
    start_and_look();
    forget();
    ON(RESOLVED, .founding = true, .incarnation = 1);
    ON(BEGUN, .epoch = 0);
    ON(SNAPSHOT, .epoch = 0);
    ON(BEGUN, .epoch = 1);
    prepared(0);
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
    start_and_look();
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
    prepared(42);
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
    prepared(42);
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
    prepared(42);
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
    prepared(42);
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
    prepared(42);
    forget();
    ON(COMMITTED, .epoch = 42, .renew = true);
    ON(SNAPSHOT, .epoch = 43);
    prepared(43);
    ON(RENEWED, .handle = 0);
    ON(COMMITTED, .epoch = 43);
    ON(BEGUN, .epoch = 44);
    expect("#1 COMMITTED 42 renew | NOTIFY 42, RENEW h0, ALLOW 43\n"
           "#1 SNAPSHOT 43 | APPEND 43, FLUSH 43 h1\n"
           "#1 FLUSHED 43 | OFFSETS 43 h1\n"
           "#1 DURABLE 43\n"
           "#1 READY 43\n"
           "#1 RENEWED h0 | COMMIT 43 h1\n"
           "#1 COMMITTED 43 | NOTIFY 43, BEGIN 44 h0\n"
           "#1 BEGUN 44 | PROCEED 44, ALLOW 44\n");
}
END_TEST

/* R5: somebody may have taken all ids over while one was made anew, and be done with them. Who is over must learn it before
 * he begins a transaction, which would stay open until the brokers end it. */
START_TEST(begins_nothing_on_a_renewed_handle_before_another_has_committed)
{
    run(2);
    ON(SNAPSHOT, .epoch = 42);
    ON(BEGUN, .epoch = 43);
    prepared(42);
    forget();
    ON(COMMITTED, .epoch = 42, .renew = true);
    ON(RENEWED, .handle = 0);
    ON(SNAPSHOT, .epoch = 43);
    prepared(43);
    failed(WEIR_FENCED, WEIR_REMEDY_REPLAY);
    expect("#1 COMMITTED 42 renew | NOTIFY 42, RENEW h0, ALLOW 43\n"
           "#1 RENEWED h0\n"
           "#1 SNAPSHOT 43 | APPEND 43, FLUSH 43 h1\n"
           "#1 FLUSHED 43 | OFFSETS 43 h1\n"
           "#1 DURABLE 43\n"
           "#1 READY 43 | COMMIT 43 h1\n"
           "#1 FAILED FENCED | RUNNING > UNWINDING | CANCEL_TASKS, DISCARD\n");
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
    tcase_add_test(tests, begins_nothing_on_a_renewed_handle_before_another_has_committed);
    tcase_add_test(tests, names_a_frame_anew_when_it_could_not_be_appended);
    tcase_add_test(tests, sends_record_and_offsets_again_when_the_append_fails_last);
    tcase_add_test(tests, frames_name_the_newest_committed_one_as_their_parent);
    tcase_add_test(tests, answers_to_an_earlier_attempt_change_nothing);
    tcase_add_test(tests, what_comes_twice_or_unasked_is_counted_and_ignored);
}

int main(void)
{
    return unit_main("commit", add);
}
