/* The coordinator told as stories: "time event | phases | what follows", times in microseconds. */
#include "checkpoint/coordinator.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "harness/unit.h"

static struct coordinator coordinator;
static struct coordinator_actions actions;
static char story[1 << 14];

static void tell(void *user, const char *line)
{
    (void)user;
    ck_assert_uint_lt(strlen(story) + strlen(line) + 2, sizeof story);
    strcat(story, line);
    strcat(story, "\n");
}

static void expect(const char *lines)
{
    ck_assert_str_eq(story, lines);
    story[0] = '\0';
}

#define ON(name, now, ...)                                                                                             \
    step((struct coordinator_event){ .type = COORDINATOR_ON_##name, .now_us = (now), __VA_ARGS__ })

static enum coordinator_answer step(struct coordinator_event event)
{
    coordinator_step(&coordinator, &event, &actions);
    return actions.answer;
}

/* Two tasks, interval 100, no pause, no time-out unless `options` says so; epoch 7 is open and allowed at 0. */
static void begin(struct coordinator_options options)
{
    options.trace = tell;
    if (options.interval_us == 0) options.interval_us = 100;
    ck_assert(coordinator_init(&coordinator, &options, 2, 7, 0));
    ON(ALLOWED, 0, .epoch = 7);
    story[0] = '\0';
}

static void both_ack(int64_t now_us, uint64_t epoch)
{
    ON(ACK, now_us, .epoch = epoch, .subtask = 1);
    ON(ACK, now_us, .epoch = epoch, .subtask = 0);
}

static void done(void)
{
    coordinator_deinit(&coordinator);
}

START_TEST(a_checkpoint_from_activity_to_the_next)
{
    begin((struct coordinator_options){ 0 });
    ON(ACTIVITY, 10, .epoch = 7);
    ON(TIMER, 100);
    ON(ACK, 110, .epoch = 7, .subtask = 0);
    ON(ACTIVITY, 112, .epoch = 8);
    ON(ACK, 115, .epoch = 7, .subtask = 1);
    ON(ALLOWED, 120, .epoch = 8);
    ON(TIMER, 200);
    expect("10 ACTIVITY 7 | SET_TIMER 100\n"
           "100 TIMER | OPEN > COLLECTING | SEND_BARRIER 7\n"
           "110 ACK 7 of 0\n"
           "112 ACTIVITY 8\n"
           "115 ACK 7 of 1 | COLLECTING > COMMITTING | COMPLETE 7\n"
           "120 ALLOWED 8 | COMMITTING > OPEN | SET_TIMER 200\n"
           "200 TIMER | OPEN > COLLECTING | SEND_BARRIER 8\n");
    done();
}
END_TEST

START_TEST(no_barrier_when_nothing_happened)
{
    begin((struct coordinator_options){ 0 });
    ON(TIMER, 100);
    ON(TIMER, 5000);
    expect("100 TIMER\n"
           "5000 TIMER\n");
    done();
}
END_TEST

START_TEST(first_record_after_a_quiet_time_is_committed_at_once)
{
    begin((struct coordinator_options){ 0 });
    ON(ACTIVITY, 5000, .epoch = 7);
    expect("5000 ACTIVITY 7 | OPEN > COLLECTING | SEND_BARRIER 7\n");
    done();
}
END_TEST

/* R1: the interval stretches while a commit is in flight, and is measured from barrier to barrier. */
START_TEST(no_barrier_before_the_commit_in_flight_is_over)
{
    begin((struct coordinator_options){ 0 });
    ON(ACTIVITY, 100, .epoch = 7);
    ON(ACTIVITY, 101, .epoch = 8);
    ON(TIMER, 250);
    both_ack(260, 7);
    ON(TRIGGER, 270);
    ON(BYTES, 280, .epoch = 8);
    ON(TIMER, 290);
    ON(ALLOWED, 300, .epoch = 8);
    expect("100 ACTIVITY 7 | OPEN > COLLECTING | SEND_BARRIER 7\n"
           "101 ACTIVITY 8\n"
           "250 TIMER\n"
           "260 ACK 7 of 1\n"
           "260 ACK 7 of 0 | COLLECTING > COMMITTING | COMPLETE 7\n"
           "270 TRIGGER\n"
           "280 BYTES 8 | duplicate\n"
           "290 TIMER\n"
           "300 ALLOWED 8 | COMMITTING > OPEN > COLLECTING | SEND_BARRIER 8\n");
    done();
}
END_TEST

START_TEST(no_barrier_before_the_first_epoch_is_allowed)
{
    const struct coordinator_options options = { .interval_us = 100, .trace = tell };
    ck_assert(coordinator_init(&coordinator, &options, 2, 7, 0));
    ON(ACTIVITY, 500, .epoch = 7);
    ON(STOP, 600);
    ON(ALLOWED, 700, .epoch = 7);
    expect("500 ACTIVITY 7\n"
           "600 STOP\n"
           "700 ALLOWED 7 | CLOSED > OPEN > COLLECTING | SEND_BARRIER 7 final\n");
    done();
}
END_TEST

START_TEST(pause_is_measured_from_the_commit)
{
    begin((struct coordinator_options){ .min_pause_us = 70 });
    ON(ACTIVITY, 100, .epoch = 7);
    both_ack(150, 7);
    ON(ALLOWED, 160, .epoch = 8);
    story[0] = '\0';
    ON(ACTIVITY, 170, .epoch = 8);
    ON(TIMER, 200);
    ON(TIMER, 230);
    expect("170 ACTIVITY 8 | SET_TIMER 230\n"
           "200 TIMER | SET_TIMER 230\n"
           "230 TIMER | OPEN > COLLECTING | SEND_BARRIER 8\n");
    done();
}
END_TEST

START_TEST(soft_limit_and_demand_do_not_wait_for_the_interval)
{
    begin((struct coordinator_options){ .min_pause_us = 1000 });
    ON(BYTES, 10, .epoch = 7);
    both_ack(20, 7);
    ON(ALLOWED, 30, .epoch = 8);
    ON(TRIGGER, 40);
    expect("10 BYTES 7 | OPEN > COLLECTING | SEND_BARRIER 7\n"
           "20 ACK 7 of 1\n"
           "20 ACK 7 of 0 | COLLECTING > COMMITTING | COMPLETE 7\n"
           "30 ALLOWED 8 | COMMITTING > OPEN\n"
           "40 TRIGGER | OPEN > COLLECTING | SEND_BARRIER 8\n");
    done();
}
END_TEST

START_TEST(activity_of_an_epoch_that_is_closed_already_asks_for_nothing)
{
    begin((struct coordinator_options){ 0 });
    ON(BYTES, 50, .epoch = 7);
    ON(ACTIVITY, 60, .epoch = 7);
    both_ack(70, 7);
    ON(BYTES, 75, .epoch = 7);
    ON(ALLOWED, 80, .epoch = 8);
    ON(TIMER, 500);
    expect("50 BYTES 7 | OPEN > COLLECTING | SEND_BARRIER 7\n"
           "60 ACTIVITY 7 | late\n"
           "70 ACK 7 of 1\n"
           "70 ACK 7 of 0 | COLLECTING > COMMITTING | COMPLETE 7\n"
           "75 BYTES 7 | late\n"
           "80 ALLOWED 8 | COMMITTING > OPEN\n"
           "500 TIMER\n");
    done();
}
END_TEST

START_TEST(stop_sends_a_final_barrier_behind_the_one_in_flight)
{
    begin((struct coordinator_options){ 0 });
    ON(BYTES, 10, .epoch = 7);
    ON(STOP, 20);
    ON(ALL_ENDED, 21);
    both_ack(30, 7);
    ON(ALLOWED, 40, .epoch = 8);
    both_ack(50, 8);
    ON(ACTIVITY, 60, .epoch = 9);
    expect("10 BYTES 7 | OPEN > COLLECTING | SEND_BARRIER 7\n"
           "20 STOP\n"
           "21 ALL_ENDED | duplicate\n"
           "30 ACK 7 of 1\n"
           "30 ACK 7 of 0 | COLLECTING > COMMITTING | COMPLETE 7\n"
           "40 ALLOWED 8 | COMMITTING > OPEN > COLLECTING | SEND_BARRIER 8 final\n"
           "50 ACK 8 of 1\n"
           "50 ACK 8 of 0 | COLLECTING > ENDED | COMPLETE 8 final\n"
           "60 ACTIVITY 9 | late\n");
    done();
}
END_TEST

START_TEST(bounded_input_ends_at_once_even_if_nothing_happened)
{
    begin((struct coordinator_options){ .min_pause_us = 1000 });
    ON(ALL_ENDED, 5);
    expect("5 ALL_ENDED | OPEN > COLLECTING | SEND_BARRIER 7 final\n");
    done();
}
END_TEST

START_TEST(an_epoch_can_be_told_where_to_end)
{
    const struct weir_splits cuts = { 0 };
    begin((struct coordinator_options){ 0 });
    ON(CUT, 5, .epoch = 8, .cuts = &cuts);
    ON(CUT, 6, .epoch = 8, .cuts = &cuts);
    ON(BYTES, 10, .epoch = 7);
    ck_assert_ptr_null(actions.items[0].cuts);
    both_ack(20, 7);
    ON(ALLOWED, 30, .epoch = 8);
    ck_assert_ptr_eq(actions.items[0].cuts, &cuts);
    ON(CUT, 40, .epoch = 8, .cuts = &cuts);
    expect("5 CUT 8\n"
           "6 CUT 8 | duplicate\n"
           "10 BYTES 7 | OPEN > COLLECTING | SEND_BARRIER 7\n"
           "20 ACK 7 of 1\n"
           "20 ACK 7 of 0 | COLLECTING > COMMITTING | COMPLETE 7\n"
           "30 ALLOWED 8 | COMMITTING > OPEN > COLLECTING | SEND_BARRIER 8 cut\n"
           "40 CUT 8 | late\n");
    done();
}
END_TEST

START_TEST(a_late_checkpoint_is_reported_and_then_fails_the_job)
{
    begin((struct coordinator_options){ .timeout_us = 1000, .tolerable_failures = 1 });
    ON(BYTES, 10, .epoch = 7);
    ON(ACK, 20, .epoch = 7, .subtask = 0);
    ON(TIMER, 1010);
    ON(TIMER, 2010);
    ON(ACK, 2020, .epoch = 7, .subtask = 1);
    expect("10 BYTES 7 | OPEN > COLLECTING | SEND_BARRIER 7, SET_TIMER 1010\n"
           "20 ACK 7 of 0\n"
           "1010 TIMER | REPORT_TIMEOUT 7, SET_TIMER 2010\n"
           "2010 TIMER | COLLECTING > FAILED | FAIL 7\n"
           "2020 ACK 7 of 1 | late\n");
    done();
}
END_TEST

START_TEST(the_time_out_covers_the_commit_and_ends_with_it)
{
    begin((struct coordinator_options){ .timeout_us = 1000 });
    ON(BYTES, 10, .epoch = 7);
    both_ack(20, 7);
    ON(ALLOWED, 900, .epoch = 8);
    ON(TIMER, 1010);
    ON(BYTES, 1500, .epoch = 8);
    both_ack(1600, 8);
    story[0] = '\0';
    ON(TIMER, 2500);
    expect("2500 TIMER | COMMITTING > FAILED | FAIL 8\n");
    done();
}
END_TEST

START_TEST(acknowledgements_that_nobody_waits_for_are_counted)
{
    begin((struct coordinator_options){ 0 });
    ON(ACK, 1, .epoch = 7, .subtask = 0);
    ON(BYTES, 10, .epoch = 7);
    ON(ACK, 20, .epoch = 7, .subtask = 0);
    ON(ACK, 21, .epoch = 7, .subtask = 0);
    ON(ACK, 22, .epoch = 6, .subtask = 1);
    ON(ACK, 23, .epoch = 8, .subtask = 1);
    ON(ACK, 24, .epoch = 7, .subtask = 2);
    ON(ALLOWED, 25, .epoch = 8);
    ON(ALLOWED, 26, .epoch = 7);
    expect("1 ACK 7 of 0 | unknown\n"
           "10 BYTES 7 | OPEN > COLLECTING | SEND_BARRIER 7\n"
           "20 ACK 7 of 0\n"
           "21 ACK 7 of 0 | duplicate\n"
           "22 ACK 6 of 1 | late\n"
           "23 ACK 8 of 1 | unknown\n"
           "24 ACK 7 of 2 | unknown\n"
           "25 ALLOWED 8 | unknown\n"
           "26 ALLOWED 7 | late\n");
    ck_assert_uint_eq(coordinator.counts[COORDINATOR_DUPLICATE], 1);
    ck_assert_uint_eq(coordinator.counts[COORDINATOR_LATE], 2);
    ck_assert_uint_eq(coordinator.counts[COORDINATOR_UNKNOWN], 4);
    done();
}
END_TEST

/* Random events against what must hold whatever happens. */
START_TEST(random_events_keep_the_rules)
{
    uint64_t random = unit_seed();
    const struct coordinator_options options = {
        .interval_us = 100, .min_pause_us = 20, .timeout_us = 2000, .tolerable_failures = 2
    };
    for (int run = 0; run < 300; run++) {
        const uint32_t tasks = 1 + unit_random_below(&random, 4);
        int64_t now_us = 0;
        uint64_t barrier = 6, completed = 6, allowed = 6;
        bool acked[4] = { false }, over = false, ended = false;
        ck_assert(coordinator_init(&coordinator, &options, tasks, 7, now_us));
        for (int i = 0; i < 400; i++) {
            now_us += unit_random_below(&random, 40);
            struct coordinator_event event = { .now_us = now_us };
            event.type = (enum coordinator_event_type)unit_random_below(&random, COORDINATOR_ON_STOP + 1);
            if (event.type == COORDINATOR_ON_CUT) event.type = COORDINATOR_ON_ACK;
            if (event.type >= COORDINATOR_ON_ALL_ENDED && !unit_chance(&random, 2)) event.type = COORDINATOR_ON_TIMER;
            event.epoch = barrier + unit_random_below(&random, 3) - 1;
            event.subtask = unit_random_below(&random, tasks + 1);
            step(event);
            if (actions.answer == COORDINATOR_TAKEN && event.type == COORDINATOR_ON_ALLOWED) allowed = event.epoch;
            const bool is_ack = event.type == COORDINATOR_ON_ACK && event.subtask < tasks;
            if (is_ack && event.epoch == barrier && barrier > completed) acked[event.subtask] = true;
            for (uint32_t a = 0; a < actions.count; a++) {
                const struct coordinator_action *action = &actions.items[a];
                ck_assert(!over && !ended);
                if (action->type == COORDINATOR_DO_SEND_BARRIER) {
                    ck_assert_uint_eq(action->epoch, barrier + 1);
                    ck_assert_uint_eq(action->epoch, allowed); /* R1 */
                    ck_assert_uint_eq(completed, barrier);
                    barrier = action->epoch;
                    memset(acked, 0, sizeof acked);
                } else if (action->type == COORDINATOR_DO_COMPLETE) {
                    ck_assert_uint_eq(action->epoch, barrier);
                    for (uint32_t task = 0; task < tasks; task++) ck_assert(acked[task]);
                    completed = barrier;
                    ended = action->final;
                } else if (action->type == COORDINATOR_DO_FAIL) {
                    over = true;
                } else if (action->type == COORDINATOR_DO_SET_TIMER) {
                    ck_assert_int_gt(action->at_us, now_us);
                }
            }
        }
        done();
    }
}
END_TEST

/* ---- Barriers that overtake --------------------------------------------------------------------------------------- */

static void both_fly(int64_t now_us, uint64_t epoch)
{
    ON(FLIGHT, now_us, .epoch = epoch, .subtask = 0);
    ON(FLIGHT, now_us, .epoch = epoch, .subtask = 1);
}

START_TEST(an_overtaking_checkpoint_is_complete_when_flights_are_reported_too)
{
    begin((struct coordinator_options){ .unaligned = true });
    ON(ACTIVITY, 100, .epoch = 7);
    both_ack(110, 7);
    both_fly(120, 7);
    ON(FLIGHT, 121, .epoch = 7, .subtask = 1);
    ON(ALLOWED, 130, .epoch = 8);
    expect("100 ACTIVITY 7 | OPEN > COLLECTING | SEND_BARRIER 7, OVERTAKE 7\n"
           "110 ACK 7 of 1\n"
           "110 ACK 7 of 0\n"
           "120 FLIGHT 7 of 0\n"
           "120 FLIGHT 7 of 1 | COLLECTING > COMMITTING | COMPLETE 7\n"
           "121 FLIGHT 7 of 1 | duplicate\n"
           "130 ALLOWED 8 | COMMITTING > OPEN\n");
    done();
}
END_TEST

START_TEST(a_barrier_overtakes_only_when_its_checkpoint_is_late)
{
    begin((struct coordinator_options){ .unaligned = true, .aligned_timeout_us = 30, .timeout_us = 1000 });
    ON(ACTIVITY, 100, .epoch = 7);
    ON(ACK, 120, .epoch = 7, .subtask = 0);
    ON(FLIGHT, 125, .epoch = 7, .subtask = 0);
    ON(TIMER, 130);
    ON(ACK, 140, .epoch = 7, .subtask = 1);
    both_fly(150, 7);
    ON(ALLOWED, 160, .epoch = 8);
    ON(TRIGGER, 170);
    both_ack(180, 8);
    expect("100 ACTIVITY 7 | OPEN > COLLECTING | SEND_BARRIER 7, SET_TIMER 130\n"
           "120 ACK 7 of 0\n"
           "125 FLIGHT 7 of 0 | unknown\n"
           "130 TIMER | OVERTAKE 7, SET_TIMER 1100\n"
           "140 ACK 7 of 1\n"
           "150 FLIGHT 7 of 0\n"
           "150 FLIGHT 7 of 1 | COLLECTING > COMMITTING | COMPLETE 7\n"
           "160 ALLOWED 8 | COMMITTING > OPEN\n"
           "170 TRIGGER | OPEN > COLLECTING | SEND_BARRIER 8, SET_TIMER 200\n"
           "180 ACK 8 of 1\n"
           "180 ACK 8 of 0 | COLLECTING > COMMITTING | COMPLETE 8, SET_TIMER 1170\n");
    done();
}
END_TEST

/* What the next barrier is, when `event` has come. */
static bool overtakes(enum coordinator_event_type event, bool begins_aligned)
{
    bool found = false;
    begin((struct coordinator_options){ .unaligned = true, .begins_aligned = begins_aligned });
    const struct weir_splits cuts = { 0 };
    step((struct coordinator_event){ .type = event, .now_us = 10, .epoch = 7, .cuts = &cuts });
    if (coordinator.phase == COORDINATOR_OPEN) ON(TRIGGER, 20);
    ck_assert_int_eq(coordinator.phase, COORDINATOR_COLLECTING);
    found = coordinator.overtaking;
    both_ack(30, 7);
    if (found) both_fly(30, 7);
    ck_assert_int_ne(coordinator.phase, COORDINATOR_COLLECTING);
    if (coordinator.phase == COORDINATOR_COMMITTING) {
        ON(ALLOWED, 40, .epoch = 8);
        ON(TRIGGER, 50);
        ck_assert_int_eq(coordinator.overtaking, event != COORDINATOR_ON_FINISHING);
    }
    done();
    return found;
}

START_TEST(what_must_be_whole_is_never_overtaken)
{
    ck_assert(overtakes(COORDINATOR_ON_TRIGGER, false));
    ck_assert(overtakes(COORDINATOR_ON_BYTES, false));
    ck_assert(!overtakes(COORDINATOR_ON_TRIGGER, true)); /* the first behind a restored flight */
    ck_assert(!overtakes(COORDINATOR_ON_ALIGNED, false));
    ck_assert(!overtakes(COORDINATOR_ON_STOP, false));
    ck_assert(!overtakes(COORDINATOR_ON_ALL_ENDED, false));
    ck_assert(!overtakes(COORDINATOR_ON_CUT, false));
    ck_assert(!overtakes(COORDINATOR_ON_FINISHING, false));
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_test(tests, a_checkpoint_from_activity_to_the_next);
    tcase_add_test(tests, no_barrier_when_nothing_happened);
    tcase_add_test(tests, first_record_after_a_quiet_time_is_committed_at_once);
    tcase_add_test(tests, no_barrier_before_the_commit_in_flight_is_over);
    tcase_add_test(tests, no_barrier_before_the_first_epoch_is_allowed);
    tcase_add_test(tests, pause_is_measured_from_the_commit);
    tcase_add_test(tests, soft_limit_and_demand_do_not_wait_for_the_interval);
    tcase_add_test(tests, activity_of_an_epoch_that_is_closed_already_asks_for_nothing);
    tcase_add_test(tests, stop_sends_a_final_barrier_behind_the_one_in_flight);
    tcase_add_test(tests, bounded_input_ends_at_once_even_if_nothing_happened);
    tcase_add_test(tests, an_epoch_can_be_told_where_to_end);
    tcase_add_test(tests, a_late_checkpoint_is_reported_and_then_fails_the_job);
    tcase_add_test(tests, the_time_out_covers_the_commit_and_ends_with_it);
    tcase_add_test(tests, acknowledgements_that_nobody_waits_for_are_counted);
    tcase_add_test(tests, random_events_keep_the_rules);
    tcase_add_test(tests, an_overtaking_checkpoint_is_complete_when_flights_are_reported_too);
    tcase_add_test(tests, a_barrier_overtakes_only_when_its_checkpoint_is_late);
    tcase_add_test(tests, what_must_be_whole_is_never_overtaken);
}

int main(void)
{
    return unit_main("coordinator", add);
}
