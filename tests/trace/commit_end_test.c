/* How attempts and jobs end, told as stories: failures, stops, cancels. */
#include <signal.h>

#include "trace/commit_story.h"

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
    prepared(42);
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
    start_and_look();
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
    prepared(42);
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
    start_and_look();
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

static void add(TCase *tests)
{
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
}

int main(void)
{
    return unit_main("commit ends", add);
}
