/* The restart table with a savepoint to begin from. */
#include <stdlib.h>

#include "trace/restart_facts.h"

/* ---- Savepoints ----------------------------------------------------------------------------------------------------- */

#define SAVEPOINT "5a5e"

static struct restart_savepoint savepoint;

/* Taken in `store` of checkpoint `index`. */
static void begin_from(const char *store, uint32_t index)
{
    savepoint = (struct restart_savepoint){
        .id = SAVEPOINT "0000", .place = "/backup/savepoint-count-3-5a5e", .store = store, .frame = frames[index]
    };
    facts.savepoint = &savepoint;
}

static void expect_founded_from_savepoint(void)
{
    ck_assert_msg(decide() == WEIR_OK, "%s", error.text);
    ck_assert_int_eq(decision.verdict, RESTART_FOUND);
    ck_assert(decision.from_savepoint);
    ck_assert_str_eq(decision.history, SAVEPOINT "0000");
    ck_assert_ptr_nonnull(strstr(decision.text, savepoint.place));
}

/* Also before anybody is fenced. */
static void expect_no_beginning(enum weir_code code, const char *part)
{
    struct restart_examination examination;
    ck_assert_int_eq(restart_examine(&facts, &examination, &error), code);
    ck_assert_int_eq(decide(), code);
    ck_assert_int_eq(decision.verdict, RESTART_STOP);
    ck_assert_msg(strstr(error.text, part) != NULL, "no '%s' in: %s", part, error.text);
}

START_TEST(a_new_job_begins_from_the_savepoint)
{
    nothing_on_the_cluster();
    empty_store();
    begin_from(OTHER_STORE, 3);
    expect_founded_from_savepoint();
    ck_assert(!decision.warn);
}
END_TEST

START_TEST(a_savepoint_begins_behind_a_dropped_history_whosever_it_was)
{
    nothing_on_the_cluster();
    dropped_at(3);
    begin_from(OTHER_STORE, 3);
    expect_founded_from_savepoint();
    ck_assert(decision.warn);
    strcpy(entries[facts.entry_count - 1].origin, SAVEPOINT "0000"); /* it had begun with the same one */
    expect_founded_from_savepoint();
    begin_from(STORE, 3); /* it had ended with it */
    expect_founded_from_savepoint();
}
END_TEST

START_TEST(a_history_that_ends_with_the_savepoint_goes_on_in_its_store)
{
    nothing_on_the_cluster();
    ledger_names(3);
    group_equals(3);
    begin_from(STORE, 3);
    entries[0].plan_hash = 78; /* an upgrade */
    (void)snprintf(entries[0].origin, sizeof entries[0].origin, "that of an earlier one");
    expect_restore(3, RESTART_FROM_LEDGER, false);
    ck_assert_ptr_nonnull(strstr(decision.text, savepoint.place));
    ck_assert_str_eq(decision.history, savepoint.id); /* the same start again finds that it began with this one */
}
END_TEST

START_TEST(a_history_that_ends_with_the_savepoint_goes_on_in_another_store)
{
    struct restart_examination examination;
    nothing_on_the_cluster();
    ledger_names(3);
    group_equals(3);
    begin_from(STORE, 3);
    empty_store();
    facts.store = OTHER_STORE;
    ck_assert_msg(restart_examine(&facts, &examination, &error) == WEIR_OK, "%s", error.text);
    ck_assert(!examination.warn);
    ck_assert_uint_eq(examination.handles_named, 2);
    expect_founded_from_savepoint();
    ck_assert_uint_gt(decision.incarnation, 2);
    ck_assert(decision.rewrite_mirrors);
}
END_TEST

START_TEST(a_savepoint_that_is_changed_on_the_way_in_founds_once)
{
    nothing_on_the_cluster();
    ledger_names(3);
    group_equals(3);
    begin_from(STORE, 3);
    savepoint.is_changed = true;
    expect_founded_from_savepoint();
    ck_assert_uint_gt(decision.incarnation, 2);
    /* Its founding was committed: what was to be changed is. */
    begin_from(STORE, 2);
    savepoint.is_changed = true;
    (void)snprintf(entries[0].origin, sizeof entries[0].origin, "%s", savepoint.id);
    expect_restore(3, RESTART_FROM_LEDGER, false);
}
END_TEST

START_TEST(a_groups_offsets_that_were_copied_wait_for_somebody_to_say_what_counts)
{
    nothing_on_the_cluster();
    empty_store();
    begin_from(OTHER_STORE, 3);
    group_has(0, 250, NOBODY);
    ck_assert_int_eq(decide(), WEIR_POSITION_LOST);
    facts.position = RESTART_POSITION_GIVEN;
    expect_founded_from_savepoint();
    ck_assert(decision.warn);
    ck_assert(!decision.positions_from_group);
    facts.position = RESTART_POSITION_GROUP;
    expect_founded_from_savepoint();
    ck_assert(decision.positions_from_group);
    facts.savepoint = NULL; /* never for who begins with nothing */
    facts.position = RESTART_POSITION_UNSET;
    ck_assert_int_eq(decide(), WEIR_POSITION_LOST);
}
END_TEST

START_TEST(positions_that_are_given_for_a_founding_excuse_no_move_behind_it)
{
    nothing_on_the_cluster();
    ledger_names(3);
    group_has(0, 250, NOBODY);
    begin_from(OTHER_STORE, 1);
    (void)snprintf(entries[0].origin, sizeof entries[0].origin, "%s", savepoint.id);
    facts.position = RESTART_POSITION_GIVEN;
    ck_assert_int_eq(decide(), WEIR_POSITION_LOST);
}
END_TEST

START_TEST(offsets_that_were_moved_behind_the_savepoint_stop_in_another_store_too)
{
    nothing_on_the_cluster();
    ledger_names(3);
    group_has(0, 250, NOBODY);
    begin_from(STORE, 3);
    empty_store();
    facts.store = OTHER_STORE;
    ck_assert_int_eq(decide(), WEIR_POSITION_LOST);
    facts.position = RESTART_POSITION_LEDGER;
    expect_founded_from_savepoint();
}
END_TEST

START_TEST(a_history_that_went_on_behind_the_savepoint_is_another)
{
    nothing_on_the_cluster();
    ledger_names(3);
    group_equals(3);
    begin_from(STORE, 2);
    expect_no_beginning(WEIR_FOREIGN, "history of its own");
    facts.fresh = true;
    expect_founded_from_savepoint();
    ck_assert(decision.warn);
}
END_TEST

/* Before the fence the commit behind it may be one that was killed on its way: only a fence decides that. */
START_TEST(a_commit_behind_the_savepoint_that_was_aborted_is_none)
{
    struct restart_examination examination;
    nothing_on_the_cluster();
    ledger_names(2);
    ledger_names(3);
    entries[1].parent = (struct weir_frame_name){ .incarnation = frames[2].name.incarnation,
                                                  .epoch = frames[2].name.epoch };
    group_equals(2);
    begin_from(STORE, 2);
    empty_store();
    facts.store = OTHER_STORE;
    ck_assert_msg(restart_examine(&facts, &examination, &error) == WEIR_OK, "%s", error.text);
    ck_assert(!examination.warn);
    ck_assert_int_eq(decide(), WEIR_FOREIGN); /* it was committed */
    facts.entry_count = 1;                    /* it was aborted */
    expect_founded_from_savepoint();
    facts.entry_count = 2;
    begin_from(STORE, 1); /* more than one has followed: it does not matter what became of the last */
    expect_no_beginning(WEIR_FOREIGN, "belongs to another checkpoint store");
}
END_TEST

START_TEST(a_savepoint_of_another_job_does_not_replace_a_history)
{
    nothing_on_the_cluster();
    ledger_names(3);
    group_equals(3);
    begin_from(OTHER_STORE, 3);
    expect_no_beginning(WEIR_FOREIGN, "history of its own");
}
END_TEST

START_TEST(a_history_that_began_with_the_savepoint_goes_on)
{
    nothing_on_the_cluster();
    ledger_names(3);
    group_equals(3);
    begin_from(OTHER_STORE, 1);
    (void)snprintf(entries[0].origin, sizeof entries[0].origin, "%s", savepoint.id);
    expect_restore(3, RESTART_FROM_LEDGER, false);
    ck_assert_str_eq(decision.history, savepoint.id);
    /* Its folder was disposed of: its name is enough. */
    savepoint.missing = "it is gone";
    (void)snprintf(savepoint.id, sizeof savepoint.id, SAVEPOINT);
    expect_restore(3, RESTART_FROM_LEDGER, false);
    ck_assert_str_eq(decision.history, SAVEPOINT "0000");
}
END_TEST

START_TEST(a_savepoint_that_is_needed_and_missing_stops)
{
    nothing_on_the_cluster();
    empty_store();
    begin_from(OTHER_STORE, 3);
    savepoint.missing = "it is gone";
    expect_no_beginning(WEIR_ENVIRONMENT, "it is gone");
    ledger_names(3);
    expect_no_beginning(WEIR_ENVIRONMENT, "it is gone");
}
END_TEST

START_TEST(a_history_keeps_its_origin_without_the_option)
{
    nothing_on_the_cluster();
    ledger_names(3);
    group_equals(3);
    (void)snprintf(entries[0].origin, sizeof entries[0].origin, SAVEPOINT);
    expect_restore(3, RESTART_FROM_LEDGER, false);
    ck_assert_str_eq(decision.history, SAVEPOINT);
}
END_TEST

START_TEST(a_history_without_a_ledger_is_not_replaced_by_a_savepoint)
{
    nothing_on_the_cluster();
    group_equals(3);
    begin_from(OTHER_STORE, 3);
    ck_assert_int_eq(decide(), WEIR_FOREIGN);
    ck_assert_ptr_nonnull(strstr(error.text, "history of its own"));
    /* But the group knows which one it began with, also where the ledger has lost its tail. */
    group_origin = savepoint.id;
    facts.mirror_count = 0;
    group_equals(3);
    expect_restore(3, RESTART_FROM_METADATA, true);
    ck_assert(decision.history[0] != '\0' && strstr(savepoint.id, decision.history) == savepoint.id);
    ledger_names(1);
    expect_restore(3, RESTART_FROM_METADATA, true);
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_test(tests, a_savepoint_begins_behind_a_dropped_history_whosever_it_was);
    tcase_add_test(tests, a_new_job_begins_from_the_savepoint);
    tcase_add_test(tests, a_history_that_ends_with_the_savepoint_goes_on_in_its_store);
    tcase_add_test(tests, a_history_that_ends_with_the_savepoint_goes_on_in_another_store);
    tcase_add_test(tests, a_savepoint_that_is_changed_on_the_way_in_founds_once);
    tcase_add_test(tests, a_groups_offsets_that_were_copied_wait_for_somebody_to_say_what_counts);
    tcase_add_test(tests, positions_that_are_given_for_a_founding_excuse_no_move_behind_it);
    tcase_add_test(tests, offsets_that_were_moved_behind_the_savepoint_stop_in_another_store_too);
    tcase_add_test(tests, a_history_that_went_on_behind_the_savepoint_is_another);
    tcase_add_test(tests, a_commit_behind_the_savepoint_that_was_aborted_is_none);
    tcase_add_test(tests, a_savepoint_of_another_job_does_not_replace_a_history);
    tcase_add_test(tests, a_history_that_began_with_the_savepoint_goes_on);
    tcase_add_test(tests, a_savepoint_that_is_needed_and_missing_stops);
    tcase_add_test(tests, a_history_keeps_its_origin_without_the_option);
    tcase_add_test(tests, a_history_without_a_ledger_is_not_replaced_by_a_savepoint);
}

int main(void)
{
    return unit_main("restart with savepoints", add);
}
