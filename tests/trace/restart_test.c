/* The restart table, row by row: what ledger, group and store hold, and what a start makes of it. */
#include <stdlib.h>

#include "trace/restart_facts.h"

/* ---- Rows of the table ------------------------------------------------------------------------------------------- */

START_TEST(goes_on_when_ledger_group_and_frame_agree)
{
    nothing_on_the_cluster();
    ledger_names(3);
    group_equals(3);
    expect_restore(3, RESTART_FROM_LEDGER, false);
    ck_assert(!decision.rewrite_mirrors && !decision.positions_from_group);
}
END_TEST

START_TEST(partitions_that_did_not_move_may_name_older_checkpoints)
{
    nothing_on_the_cluster();
    ledger_names(2);
    group_has(0, 200, 2);
    group_has(1, 7, 1);
    expect_restore(2, RESTART_FROM_LEDGER, false);
}
END_TEST

START_TEST(offsets_that_were_reset_to_where_they_stood_are_not_moved)
{
    nothing_on_the_cluster();
    ledger_names(3);
    group_has(0, 300, NOBODY);
    group_has(1, 9, 3);
    expect_restore(3, RESTART_FROM_LEDGER, false);
}
END_TEST

START_TEST(ledger_decides_when_the_group_has_expired)
{
    nothing_on_the_cluster();
    ledger_names(3);
    expect_restore(3, RESTART_FROM_LEDGER, true);
    ck_assert(decision.rewrite_mirrors);
    group_has(1, 9, 3);
    expect_restore(3, RESTART_FROM_LEDGER, true);
    ck_assert(decision.rewrite_mirrors);
}
END_TEST

START_TEST(nobody_misses_offsets_that_do_not_travel_with_the_transaction)
{
    nothing_on_the_cluster();
    ledger_names(3);
    facts.mirrors_expected = false;
    expect_restore(3, RESTART_FROM_LEDGER, false);
    ck_assert(!decision.rewrite_mirrors);
}
END_TEST

/* Nobody is fenced there, and a record may come behind those of a later life (simulator, seed 1466). */
START_TEST(at_least_once_the_newest_frame_decides_and_not_the_last_record)
{
    nothing_on_the_cluster();
    ledger_names(3);
    ledger_names(1);
    entries[0].exactly_once = entries[1].exactly_once = false;
    group_equals(3);
    expect_restore(3, RESTART_FROM_LEDGER, false);
}
END_TEST

/* The group is for lag tools there, and written apart (simulator, seed 427). */
START_TEST(at_least_once_the_group_may_lag_behind_a_frame_that_is_gone)
{
    for (int exactly_once = 0; exactly_once < 2; exactly_once++) {
        nothing_on_the_cluster();
        ledger_names(3);
        entries[0].exactly_once = exactly_once == 1;
        frames[1].state = RESTART_FRAME_MISSING;
        group_has(0, 100, 1);
        group_has(1, 9, 3);
        if (exactly_once == 1) expect_stop(WEIR_POSITION_LOST, "topic/0");
        else expect_restore(3, RESTART_FROM_LEDGER, true);
    }
}
END_TEST

START_TEST(ledger_decides_over_a_late_request_of_an_ancestor)
{
    nothing_on_the_cluster();
    ledger_names(3);
    group_has(0, 100, 1);
    group_has(1, 9, 3);
    expect_restore(3, RESTART_FROM_LEDGER, true);
    ck_assert(decision.rewrite_mirrors);
    ck_assert_ptr_nonnull(strstr(decision.text, "late request"));
}
END_TEST

START_TEST(an_offset_that_is_not_what_its_ancestor_had_was_moved)
{
    nothing_on_the_cluster();
    ledger_names(3);
    group_has(0, 101, 1);
    group_has(1, 9, 3);
    expect_stop(WEIR_POSITION_LOST, "topic/0 is at 101, but checkpoint 2/3 is at 300");
}
END_TEST

START_TEST(an_aborted_checkpoint_is_no_ancestor)
{
    nothing_on_the_cluster();
    ledger_names(3);
    frames[1].is_ancestor = false;
    group_has(0, 100, 1);
    group_has(1, 9, 3);
    expect_stop(WEIR_POSITION_LOST, "somebody moved");
}
END_TEST

/* R6 */
START_TEST(stops_when_offsets_have_no_metadata)
{
    nothing_on_the_cluster();
    ledger_names(3);
    group_has(0, 17, NOBODY);
    group_has(1, 9, 3);
    expect_stop(WEIR_POSITION_LOST, "topic/0 is at 17, but checkpoint 2/3 is at 300");
    ck_assert_ptr_nonnull(strstr(error.text, "--position ledger"));
    ck_assert_ptr_nonnull(strstr(error.text, "--position group"));
}
END_TEST

START_TEST(stops_when_offsets_are_not_the_named_frames)
{
    nothing_on_the_cluster();
    ledger_names(3);
    group_has(0, 299, 3);
    group_has(1, 9, 3);
    expect_stop(WEIR_POSITION_LOST, "topic/0 is at 299, but checkpoint 2/3 is at 300");
}
END_TEST

START_TEST(a_person_chooses_the_ledger)
{
    nothing_on_the_cluster();
    facts.position = RESTART_POSITION_LEDGER;
    ledger_names(3);
    group_has(0, 17, NOBODY);
    group_has(1, 9, 3);
    expect_restore(3, RESTART_FROM_LEDGER, true);
    ck_assert(decision.rewrite_mirrors && !decision.positions_from_group);
}
END_TEST

START_TEST(a_person_chooses_the_group)
{
    nothing_on_the_cluster();
    facts.position = RESTART_POSITION_GROUP;
    ledger_names(3);
    group_has(0, 17, NOBODY);
    group_has(1, 9, 3);
    expect_restore(3, RESTART_FROM_LEDGER, true);
    ck_assert(decision.rewrite_mirrors && decision.positions_from_group);
}
END_TEST

START_TEST(metadata_decides_when_the_ledger_is_missing)
{
    nothing_on_the_cluster();
    group_equals(3);
    expect_restore(3, RESTART_FROM_METADATA, true);
    ck_assert_ptr_nonnull(strstr(decision.text, "ledger is missing"));
}
END_TEST

START_TEST(metadata_decides_when_the_ledger_is_older)
{
    nothing_on_the_cluster();
    ledger_names(1);
    group_equals(3);
    expect_restore(3, RESTART_FROM_METADATA, true);
    ck_assert_ptr_nonnull(strstr(decision.text, "an older one"));
}
END_TEST

START_TEST(newest_metadata_decides_even_if_only_one_partition_moved)
{
    nothing_on_the_cluster();
    group_has(0, 200, 2);
    group_has(1, 7, 1);
    expect_restore(2, RESTART_FROM_METADATA, true);
}
END_TEST

START_TEST(metadata_of_a_frame_that_does_not_verify_stops)
{
    nothing_on_the_cluster();
    ledger_names(1);
    group_equals(3);
    frames[3].state = RESTART_FRAME_DAMAGED;
    expect_stop(WEIR_DAMAGED, "checkpoint 2/3 of job 'count', named by the group's offsets, is damaged: file log-2-1");
}
END_TEST

START_TEST(moved_offsets_stop_without_a_ledger_too)
{
    nothing_on_the_cluster();
    group_has(0, 299, 3);
    group_has(1, 9, 3);
    expect_stop(WEIR_POSITION_LOST, "topic/0 is at 299");
}
END_TEST

START_TEST(stops_when_ledger_and_group_are_gone_but_the_store_is_not_empty)
{
    nothing_on_the_cluster();
    expect_stop(WEIR_FOREIGN, "/var/lib/weir holds checkpoints (up to epoch 3)");
}
END_TEST

START_TEST(offsets_of_somebody_else_do_not_found_a_job)
{
    nothing_on_the_cluster();
    empty_store();
    group_has(0, 17, NOBODY);
    expect_stop(WEIR_POSITION_LOST, "topic/0 at 17");
    facts.position = RESTART_POSITION_GROUP;
    expect_found(true);
    ck_assert(decision.positions_from_group);
}
END_TEST

START_TEST(founds_when_there_is_nothing_at_all)
{
    nothing_on_the_cluster();
    empty_store();
    expect_found(false);
    ck_assert_uint_eq(decision.incarnation, 1);
    ck_assert(!decision.positions_from_group);
}
END_TEST

/* R4 */
START_TEST(a_founding_that_was_never_committed_is_no_history)
{
    nothing_on_the_cluster();
    facts.store_frame_count = 2;
    facts.store_epoch_max = 0;
    expect_found(false);
    ck_assert_uint_eq(decision.incarnation, 3);
}
END_TEST

/* R6, whatever else there is to fall back to. */
START_TEST(never_falls_back_to_an_older_checkpoint)
{
    static const struct {
        const char *name;
        enum restart_frame_state state;
        const char *words;
    } rows[] = {
        { "missing", RESTART_FRAME_MISSING, "is missing: file log-2-1 at offset 12288 (1000 bytes) in /var/lib/weir" },
        { "damaged", RESTART_FRAME_DAMAGED, "is damaged: file log-2-1" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        nothing_on_the_cluster();
        ledger_names(2);
        ledger_names(3);
        group_equals(2);
        frames[3].state = rows[i].state;
        expect_stop(WEIR_DAMAGED, rows[i].words);
        facts.position = RESTART_POSITION_GROUP;
        expect_stop(WEIR_DAMAGED, rows[i].words);
    }
    nothing_on_the_cluster();
    ledger_names(3);
    group_equals(3);
    facts.frame_count = 3; /* nobody looked at the frame */
    expect_stop(WEIR_DAMAGED, "is missing");
}
END_TEST

START_TEST(damage_is_reported_with_what_was_wrong)
{
    nothing_on_the_cluster();
    ledger_names(3);
    frames[3].state = RESTART_FRAME_DAMAGED;
    (void)snprintf(frames[3].problem, sizeof frames[3].problem, "the hash is wrong");
    expect_stop(WEIR_DAMAGED, "in /var/lib/weir: the hash is wrong. Bring the file back");
}
END_TEST

START_TEST(a_frame_with_the_same_number_but_another_place_is_another_frame)
{
    nothing_on_the_cluster();
    ledger_names(3);
    group_equals(3);
    frames[3].name.offset++;
    expect_stop(WEIR_DAMAGED, "is missing");
}
END_TEST

/* ---- Whose job is it --------------------------------------------------------------------------------------------- */

static enum weir_code examine(struct restart_examination *examination)
{
    return restart_examine(&facts, examination, &error);
}

/* R9 */
START_TEST(another_store_is_refused_before_the_fence)
{
    struct restart_examination examination;
    nothing_on_the_cluster();
    ledger_names(3);
    facts.store = OTHER_STORE;
    ck_assert_int_eq(examine(&examination), WEIR_FOREIGN);
    ck_assert_int_eq(error.remedy, WEIR_REMEDY_STOP);
    ck_assert_ptr_nonnull(strstr(error.text, "names store 0f3c, but /var/lib/weir is store beef"));
    expect_stop(WEIR_FOREIGN, "--takeover"); /* and once more after it */
}
END_TEST

START_TEST(another_stores_group_is_refused_when_the_ledger_is_lost)
{
    struct restart_examination examination;
    nothing_on_the_cluster();
    group_equals(3);
    facts.store = OTHER_STORE;
    ck_assert_int_eq(examine(&examination), WEIR_FOREIGN);
}
END_TEST

START_TEST(another_plan_is_refused_before_the_fence)
{
    struct restart_examination examination;
    nothing_on_the_cluster();
    ledger_names(3);
    facts.plan_hash = 78;
    ck_assert_int_eq(examine(&examination), WEIR_FOREIGN);
    ck_assert_ptr_nonnull(strstr(error.text, "another plan"));
    facts.takeover = true;
    ck_assert_int_eq(examine(&examination), WEIR_OK);
    ck_assert(examination.warn);
    facts.takeover = false;
    facts.plan_hash = 0;
    ck_assert_int_eq(examine(&examination), WEIR_OK);
    ck_assert(!examination.warn);
}
END_TEST

START_TEST(a_takeover_says_where_to_begin)
{
    struct restart_examination examination;
    nothing_on_the_cluster();
    ledger_names(3);
    group_equals(3);
    facts.store = OTHER_STORE;
    facts.takeover = true;
    empty_store();
    ck_assert_int_eq(examine(&examination), WEIR_FOREIGN);
    ck_assert_ptr_nonnull(strstr(error.text, "Say where to begin"));

    facts.position = RESTART_POSITION_GROUP;
    ck_assert_int_eq(examine(&examination), WEIR_OK);
    ck_assert(examination.warn);
    expect_found(true);
    ck_assert(decision.positions_from_group);
    ck_assert_uint_eq(decision.incarnation, 3);

    facts.position = RESTART_POSITION_UNSET;
    facts.fresh = true;
    expect_found(true);
    ck_assert(!decision.positions_from_group);
}
END_TEST

/* R7 */
START_TEST(a_newer_incarnation_ends_this_one)
{
    struct restart_examination examination;
    nothing_on_the_cluster();
    ledger_names(3);
    facts.own_incarnation = 2;
    ck_assert_int_eq(examine(&examination), WEIR_OK);
    ledger_names(3);
    entries[1].kind = WEIR_LEDGER_INCARNATION;
    entries[1].incarnation = 3;
    ck_assert_int_eq(examine(&examination), WEIR_FENCED);
    ck_assert_int_eq(error.remedy, WEIR_REMEDY_STOP);
    expect_stop(WEIR_FENCED, "newer start (incarnation 3, this one is 2)");
}
END_TEST

/* R8: a start takes a number above everything it sees, and keeps it for as long as it lives. */
START_TEST(draws_an_incarnation_above_every_one_seen)
{
    nothing_on_the_cluster();
    ledger_names(3);
    group_equals(3);
    expect_restore(3, RESTART_FROM_LEDGER, false);
    ck_assert_uint_eq(decision.incarnation, 3);
    facts.store_incarnation_max = 8; /* somebody who never committed */
    expect_restore(3, RESTART_FROM_LEDGER, false);
    ck_assert_uint_eq(decision.incarnation, 9);
    entries[0].incarnation = 11; /* announced, and not committed yet */
    expect_restore(3, RESTART_FROM_LEDGER, false);
    ck_assert_uint_eq(decision.incarnation, 12);
    facts.own_incarnation = 20;
    expect_restore(3, RESTART_FROM_LEDGER, false);
    ck_assert_uint_eq(decision.incarnation, 20);
}
END_TEST

START_TEST(a_second_founding_draws_another_incarnation)
{
    nothing_on_the_cluster();
    empty_store();
    facts.own_incarnation = 4;
    expect_found(false);
    ck_assert_uint_eq(decision.incarnation, 5);
}
END_TEST

/* R10 */
START_TEST(names_the_largest_ring_of_handles)
{
    struct restart_examination examination;
    nothing_on_the_cluster();
    ck_assert_int_eq(examine(&examination), WEIR_OK);
    ck_assert_uint_eq(examination.handles_named, 0);
    ledger_names(1);
    ledger_names(2);
    entries[0].handle_count = 5;
    ck_assert_int_eq(examine(&examination), WEIR_OK);
    ck_assert_uint_eq(examination.handles_named, 5);
}
END_TEST

START_TEST(fresh_begins_anew_once)
{
    nothing_on_the_cluster();
    ledger_names(3);
    group_equals(3);
    frames[3].state = RESTART_FRAME_MISSING;
    facts.fresh = true;
    expect_found(true);
    ck_assert_uint_eq(decision.incarnation, 3);
    /* The same process after its founding: its own history is not thrown away by the next roll-back. */
    nothing_on_the_cluster();
    ledger_names(3);
    group_equals(3);
    facts.fresh = true;
    facts.own_incarnation = 2;
    expect_restore(3, RESTART_FROM_LEDGER, false);
}
END_TEST

/* ---- An older checkpoint, for who asks for it ------------------------------------------------------------------------- */

START_TEST(a_person_goes_back_to_an_older_checkpoint)
{
    nothing_on_the_cluster();
    ledger_names(3);
    group_equals(3);
    facts.older = &frames[1];
    ck_assert_msg(decide() == WEIR_OK, "%s", error.text);
    ck_assert_int_eq(decision.verdict, RESTART_RESTORE);
    ck_assert_int_eq(restart_compare(&decision.frame, &frames[1].name), 0);
    ck_assert(decision.warn && decision.rewrite_mirrors);
    ck_assert_uint_gt(decision.incarnation, entries[facts.entry_count - 1].incarnation);
    ck_assert_ptr_nonnull(strstr(decision.text, "comes a second time"));
    facts.own_incarnation = entries[facts.entry_count - 1].incarnation; /* has committed behind it: a roll-back stays there */
    expect_restore(3, RESTART_FROM_LEDGER, false);
    entries[facts.entry_count - 1].kind = WEIR_LEDGER_INCARNATION; /* and so does the next one, whatever the first one wrote */
    expect_restore(3, RESTART_FROM_LEDGER, false);
}
END_TEST

START_TEST(an_older_checkpoint_that_is_not_whole_stops)
{
    nothing_on_the_cluster();
    ledger_names(3);
    group_equals(3);
    facts.older = &frames[1];
    frames[1].state = RESTART_FRAME_MISSING;
    expect_stop(WEIR_ENVIRONMENT, "is not retained");
    frames[1].state = RESTART_FRAME_DAMAGED;
    expect_stop(WEIR_DAMAGED, "not whole");
}
END_TEST

/* ---- Dropped histories ---------------------------------------------------------------------------------------------- */

START_TEST(a_dropped_history_is_not_gone_on_with)
{
    struct restart_examination examination;
    nothing_on_the_cluster();
    dropped_at(3);
    group_equals(3);
    ck_assert_int_eq(examine(&examination), WEIR_OK); /* whoever was to drop it may have been killed on the way */
    expect_stop(WEIR_FOREIGN, "--from-savepoint");
    ck_assert_ptr_nonnull(strstr(error.text, "were dropped"));
    ck_assert_ptr_nonnull(strstr(error.text, "--fresh"));
    frames[3].state = RESTART_FRAME_VERIFIED; /* killed before the files went: what was said counts */
    expect_stop(WEIR_FOREIGN, "were dropped");
    facts.store = OTHER_STORE; /* and nobody is fenced for the history of others */
    ck_assert_int_eq(examine(&examination), WEIR_FOREIGN);
}
END_TEST

START_TEST(fresh_begins_behind_a_dropped_history)
{
    struct restart_examination examination;
    nothing_on_the_cluster();
    dropped_at(3);
    group_equals(3);
    facts.fresh = true;
    ck_assert_int_eq(examine(&examination), WEIR_OK);
    expect_found(true);
    ck_assert_uint_gt(decision.incarnation, entries[facts.entry_count - 1].incarnation);
}
END_TEST

START_TEST(what_is_to_be_dropped_need_not_be_whole)
{
    nothing_on_the_cluster();
    ledger_names(3);
    frames[3].state = RESTART_FRAME_DAMAGED;
    facts.drops = true;
    facts.own_incarnation = 2;
    ck_assert_msg(decide() == WEIR_OK, "%s", error.text);
    ck_assert_int_eq(decision.verdict, RESTART_RESTORE);
    ck_assert_int_eq(restart_compare(&decision.frame, &frames[3].name), 0);
    dropped_at(3); /* and once more, when nobody heard that it was committed */
    ck_assert_msg(decide() == WEIR_OK, "%s", error.text);
    ck_assert_int_eq(decision.verdict, RESTART_RESTORE);
    nothing_on_the_cluster();
    facts.drops = true;
    ck_assert_msg(decide() == WEIR_OK, "%s", error.text);
    ck_assert_int_eq(decision.verdict, RESTART_FOUND);
}
END_TEST

START_TEST(lists_the_frames_that_have_to_be_looked_at)
{
    struct weir_frame_name names[8];
    nothing_on_the_cluster();
    ck_assert_uint_eq(restart_frames_named(&facts, names, 8), 0);
    ledger_names(2);
    ledger_names(3);
    group_has(0, 300, 3);
    group_has(1, 7, 1);
    group_has(0, 5, NOBODY);
    ck_assert_uint_eq(restart_frames_named(&facts, names, 8), 2);
    ck_assert_uint_eq(names[0].epoch, 3);
    ck_assert_uint_eq(names[1].epoch, 1);
    ck_assert_uint_eq(restart_frames_named(&facts, names, 1), 1);
    facts.store = OTHER_STORE;
    ck_assert_uint_eq(restart_frames_named(&facts, names, 8), 0);
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_test(tests, goes_on_when_ledger_group_and_frame_agree);
    tcase_add_test(tests, partitions_that_did_not_move_may_name_older_checkpoints);
    tcase_add_test(tests, offsets_that_were_reset_to_where_they_stood_are_not_moved);
    tcase_add_test(tests, ledger_decides_when_the_group_has_expired);
    tcase_add_test(tests, nobody_misses_offsets_that_do_not_travel_with_the_transaction);
    tcase_add_test(tests, ledger_decides_over_a_late_request_of_an_ancestor);
    tcase_add_test(tests, at_least_once_the_newest_frame_decides_and_not_the_last_record);
    tcase_add_test(tests, at_least_once_the_group_may_lag_behind_a_frame_that_is_gone);
    tcase_add_test(tests, an_offset_that_is_not_what_its_ancestor_had_was_moved);
    tcase_add_test(tests, an_aborted_checkpoint_is_no_ancestor);
    tcase_add_test(tests, stops_when_offsets_have_no_metadata);
    tcase_add_test(tests, stops_when_offsets_are_not_the_named_frames);
    tcase_add_test(tests, a_person_chooses_the_ledger);
    tcase_add_test(tests, a_person_chooses_the_group);
    tcase_add_test(tests, metadata_decides_when_the_ledger_is_missing);
    tcase_add_test(tests, metadata_decides_when_the_ledger_is_older);
    tcase_add_test(tests, newest_metadata_decides_even_if_only_one_partition_moved);
    tcase_add_test(tests, metadata_of_a_frame_that_does_not_verify_stops);
    tcase_add_test(tests, moved_offsets_stop_without_a_ledger_too);
    tcase_add_test(tests, stops_when_ledger_and_group_are_gone_but_the_store_is_not_empty);
    tcase_add_test(tests, offsets_of_somebody_else_do_not_found_a_job);
    tcase_add_test(tests, founds_when_there_is_nothing_at_all);
    tcase_add_test(tests, a_founding_that_was_never_committed_is_no_history);
    tcase_add_test(tests, never_falls_back_to_an_older_checkpoint);
    tcase_add_test(tests, damage_is_reported_with_what_was_wrong);
    tcase_add_test(tests, a_frame_with_the_same_number_but_another_place_is_another_frame);
    tcase_add_test(tests, another_store_is_refused_before_the_fence);
    tcase_add_test(tests, another_stores_group_is_refused_when_the_ledger_is_lost);
    tcase_add_test(tests, another_plan_is_refused_before_the_fence);
    tcase_add_test(tests, a_takeover_says_where_to_begin);
    tcase_add_test(tests, a_newer_incarnation_ends_this_one);
    tcase_add_test(tests, draws_an_incarnation_above_every_one_seen);
    tcase_add_test(tests, a_second_founding_draws_another_incarnation);
    tcase_add_test(tests, names_the_largest_ring_of_handles);
    tcase_add_test(tests, fresh_begins_anew_once);
    tcase_add_test(tests, a_person_goes_back_to_an_older_checkpoint);
    tcase_add_test(tests, an_older_checkpoint_that_is_not_whole_stops);
    tcase_add_test(tests, a_dropped_history_is_not_gone_on_with);
    tcase_add_test(tests, fresh_begins_behind_a_dropped_history);
    tcase_add_test(tests, what_is_to_be_dropped_need_not_be_whole);
    tcase_add_test(tests, lists_the_frames_that_have_to_be_looked_at);
}

int main(void)
{
    return unit_main("restart", add);
}
