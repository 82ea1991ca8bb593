/* Barrier alignment told as stories: events on the left, what the task does on the right. */
#include "checkpoint/align.h"

#include <stdio.h>
#include <string.h>

#include "harness/unit.h"

static struct align align;
static char trace[4096];

static void begin(enum align_mode mode, uint32_t input_count, uint64_t epoch_done)
{
    ck_assert(align_init(&align, mode, input_count, epoch_done));
    trace[0] = '\0';
}

static void note(const char *text)
{
    ck_assert_uint_lt(strlen(trace) + strlen(text), sizeof trace);
    strcat(trace, text);
}

static void note_step(const char *event, struct align_step step)
{
    static const char *const answers[] = { "", " late", " duplicate", " unknown" };
    char line[128];
    (void)snprintf(line, sizeof line, "%s ->%s", event, answers[step.answer]);
    note(line);
    ck_assert(step.answer == ALIGN_TAKEN || !(step.resume || step.hold || step.snapshot || step.logged));
    if (step.resume) note(" resume");
    if (step.hold) note(" hold");
    (void)snprintf(line, sizeof line, " snapshot %llu", (unsigned long long)step.epoch);
    if (step.snapshot) note(line);
    if (step.logged) note(" logged");
    note(" [");
    for (uint32_t i = 0; i < align.input_count; i++)
        note(align_is_held(&align, i) ? "h" : align_is_logged(&align, i) ? "l" : ".");
    note("]\n");
}

static void barrier(uint64_t epoch, uint32_t input)
{
    char event[64];
    (void)snprintf(event, sizeof event, "barrier %llu on %u", (unsigned long long)epoch, input);
    note_step(event, align_barrier(&align, input, epoch));
}

static void overtake(uint64_t epoch)
{
    char event[64];
    (void)snprintf(event, sizeof event, "overtake %llu", (unsigned long long)epoch);
    note_step(event, align_overtake(&align, epoch));
}

static void abort_epoch(uint64_t epoch)
{
    char event[64];
    (void)snprintf(event, sizeof event, "abort %llu", (unsigned long long)epoch);
    note_step(event, align_abort(&align, epoch));
}

static void end(const char *expected)
{
    align_deinit(&align);
    ck_assert_str_eq(trace, expected);
}

START_TEST(holds_first_input_until_last_barrier)
{
    begin(ALIGN_EXACTLY_ONCE, 3, 0);
    barrier(1, 1);
    barrier(1, 0);
    barrier(1, 2);
    barrier(2, 2);
    end("barrier 1 on 1 -> hold [.h.]\n"
        "barrier 1 on 0 -> hold [hh.]\n"
        "barrier 1 on 2 -> resume snapshot 1 [...]\n"
        "barrier 2 on 2 -> hold [..h]\n");
}
END_TEST

START_TEST(one_input_is_never_held)
{
    begin(ALIGN_EXACTLY_ONCE, 1, 4);
    barrier(5, 0);
    barrier(6, 0);
    end("barrier 5 on 0 -> snapshot 5 [.]\n"
        "barrier 6 on 0 -> snapshot 6 [.]\n");
}
END_TEST

START_TEST(at_least_once_holds_nobody_and_snapshots_at_the_last_barrier)
{
    begin(ALIGN_AT_LEAST_ONCE, 2, 0);
    barrier(1, 0);
    barrier(1, 0);
    barrier(1, 1);
    barrier(1, 1);
    end("barrier 1 on 0 -> [..]\n"
        "barrier 1 on 0 -> duplicate [..]\n"
        "barrier 1 on 1 -> snapshot 1 [..]\n"
        "barrier 1 on 1 -> late [..]\n");
}
END_TEST

START_TEST(a_second_barrier_on_one_input_counts_once)
{
    begin(ALIGN_EXACTLY_ONCE, 2, 0);
    barrier(1, 0);
    barrier(1, 0);
    barrier(1, 1);
    end("barrier 1 on 0 -> hold [h.]\n"
        "barrier 1 on 0 -> duplicate [h.]\n"
        "barrier 1 on 1 -> resume snapshot 1 [..]\n");
}
END_TEST

START_TEST(barriers_of_finished_epochs_are_late)
{
    begin(ALIGN_EXACTLY_ONCE, 2, 7);
    barrier(7, 0);
    barrier(3, 1);
    barrier(8, 0);
    barrier(7, 1);
    barrier(8, 1);
    barrier(8, 0);
    end("barrier 7 on 0 -> late [..]\n"
        "barrier 3 on 1 -> late [..]\n"
        "barrier 8 on 0 -> hold [h.]\n"
        "barrier 7 on 1 -> late [h.]\n"
        "barrier 8 on 1 -> resume snapshot 8 [..]\n"
        "barrier 8 on 0 -> late [..]\n");
}
END_TEST

START_TEST(barriers_from_nowhere_are_unknown)
{
    begin(ALIGN_EXACTLY_ONCE, 2, 0);
    barrier(1, 2);
    barrier(0, 0);
    barrier(1, 0);
    end("barrier 1 on 2 -> unknown [..]\n"
        "barrier 0 on 0 -> unknown [..]\n"
        "barrier 1 on 0 -> hold [h.]\n");
}
END_TEST

START_TEST(an_abort_resumes_and_makes_what_is_under_way_late)
{
    begin(ALIGN_EXACTLY_ONCE, 2, 0);
    barrier(1, 0);
    abort_epoch(1);
    barrier(1, 1);
    barrier(2, 1);
    barrier(2, 0);
    end("barrier 1 on 0 -> hold [h.]\n"
        "abort 1 -> resume [..]\n"
        "barrier 1 on 1 -> late [..]\n"
        "barrier 2 on 1 -> hold [.h]\n"
        "barrier 2 on 0 -> resume snapshot 2 [..]\n");
}
END_TEST

START_TEST(an_abort_may_overtake_the_barriers)
{
    begin(ALIGN_EXACTLY_ONCE, 2, 0);
    abort_epoch(1);
    barrier(1, 0);
    barrier(1, 1);
    barrier(2, 0);
    end("abort 1 -> [..]\n"
        "barrier 1 on 0 -> late [..]\n"
        "barrier 1 on 1 -> late [..]\n"
        "barrier 2 on 0 -> hold [h.]\n");
}
END_TEST

START_TEST(an_abort_of_a_finished_epoch_is_late)
{
    begin(ALIGN_EXACTLY_ONCE, 2, 0);
    barrier(1, 0);
    barrier(1, 1);
    abort_epoch(1);
    barrier(2, 0);
    abort_epoch(1);
    abort_epoch(2);
    abort_epoch(2);
    end("barrier 1 on 0 -> hold [h.]\n"
        "barrier 1 on 1 -> resume snapshot 1 [..]\n"
        "abort 1 -> late [..]\n"
        "barrier 2 on 0 -> hold [h.]\n"
        "abort 1 -> late [h.]\n"
        "abort 2 -> resume [..]\n"
        "abort 2 -> late [..]\n");
}
END_TEST

START_TEST(a_newer_barrier_gives_the_older_epoch_up)
{
    begin(ALIGN_EXACTLY_ONCE, 3, 0);
    barrier(1, 0);
    barrier(1, 1);
    barrier(2, 2);
    barrier(1, 2);
    abort_epoch(1);
    barrier(2, 0);
    barrier(2, 1);
    end("barrier 1 on 0 -> hold [h..]\n"
        "barrier 1 on 1 -> hold [hh.]\n"
        "barrier 2 on 2 -> resume hold [..h]\n"
        "barrier 1 on 2 -> late [..h]\n"
        "abort 1 -> late [..h]\n"
        "barrier 2 on 0 -> hold [h.h]\n"
        "barrier 2 on 1 -> resume snapshot 2 [...]\n");
}
END_TEST

START_TEST(epochs_may_be_skipped)
{
    begin(ALIGN_EXACTLY_ONCE, 2, 0);
    barrier(5, 0);
    abort_epoch(9);
    barrier(9, 1);
    barrier(10, 1);
    barrier(10, 0);
    end("barrier 5 on 0 -> hold [h.]\n"
        "abort 9 -> resume [..]\n"
        "barrier 9 on 1 -> late [..]\n"
        "barrier 10 on 1 -> hold [.h]\n"
        "barrier 10 on 0 -> resume snapshot 10 [..]\n");
}
END_TEST

/* The invariants of align.h against any sequence of events, whatever sense it makes. */
START_TEST(invariants_hold_for_any_sequence)
{
    uint64_t random = unit_seed();
    for (int run = 0; run < 300; run++) {
        const enum align_mode mode = unit_chance(&random, 50) ? ALIGN_EXACTLY_ONCE : ALIGN_AT_LEAST_ONCE;
        const uint32_t inputs = 1 + unit_random_below(&random, 4);
        uint64_t snapshot_last = 0, newest = 0;
        begin(mode, inputs, 0);
        for (int i = 0; i < 200; i++) {
            const uint64_t epoch = newest + 1 - unit_random_below(&random, newest < 3 ? 1 : 4);
            const uint32_t input = unit_random_below(&random, inputs + 1);
            const bool is_abort = unit_chance(&random, 5);
            const struct align_step step = is_abort ? align_abort(&align, epoch) : align_barrier(&align, input, epoch);
            if (unit_chance(&random, 20)) newest++;
            if (step.snapshot) {
                ck_assert_uint_gt(step.epoch, snapshot_last);
                snapshot_last = step.epoch;
            }
            uint32_t held = 0;
            for (uint32_t k = 0; k < inputs; k++) held += align_is_held(&align, k);
            ck_assert_uint_lt(held, inputs); /* else nothing could ever resume them */
            ck_assert(mode == ALIGN_EXACTLY_ONCE || held == 0);
            ck_assert(align.holding || held == 0);
            if (step.hold) ck_assert(align_is_held(&align, input));
        }
        align_deinit(&align);
    }
}
END_TEST

/* ---- Barriers that overtake --------------------------------------------------------------------------------------- */

START_TEST(an_overtaking_barrier_is_snapshotted_at_once_and_what_it_overtook_is_logged)
{
    begin(ALIGN_EXACTLY_ONCE, 3, 0);
    barrier(1, 1);
    overtake(1);
    barrier(1, 0);
    barrier(1, 0);
    barrier(1, 2);
    barrier(2, 0);
    end("barrier 1 on 1 -> hold [.h.]\n"
        "overtake 1 -> resume snapshot 1 [l.l]\n"
        "barrier 1 on 0 -> [..l]\n"
        "barrier 1 on 0 -> duplicate [..l]\n"
        "barrier 1 on 2 -> logged [...]\n"
        "barrier 2 on 0 -> hold [h..]\n");
}
END_TEST

START_TEST(no_barrier_need_have_come_to_be_overtaking)
{
    begin(ALIGN_EXACTLY_ONCE, 1, 4);
    overtake(5);
    overtake(5);
    barrier(5, 0);
    overtake(5);
    barrier(6, 0);
    overtake(6);
    end("overtake 5 -> snapshot 5 [l]\n"
        "overtake 5 -> duplicate [l]\n"
        "barrier 5 on 0 -> logged [.]\n"
        "overtake 5 -> late [.]\n"
        "barrier 6 on 0 -> snapshot 6 [.]\n"
        "overtake 6 -> late [.]\n");
}
END_TEST

START_TEST(inputs_that_keep_their_order_are_waited_for)
{
    begin(ALIGN_EXACTLY_ONCE, 3, 0);
    align_keep_order(&align, 1);
    overtake(1);
    barrier(1, 0);
    barrier(1, 1);
    barrier(1, 2);
    barrier(2, 1);
    overtake(2);
    barrier(2, 0);
    barrier(2, 2);
    end("overtake 1 -> [...]\n"
        "barrier 1 on 0 -> hold [h..]\n"
        "barrier 1 on 1 -> resume snapshot 1 [..l]\n"
        "barrier 1 on 2 -> logged [...]\n"
        "barrier 2 on 1 -> hold [.h.]\n"
        "overtake 2 -> resume snapshot 2 [l.l]\n"
        "barrier 2 on 0 -> [..l]\n"
        "barrier 2 on 2 -> logged [...]\n");
}
END_TEST

START_TEST(one_that_waited_for_all_inputs_has_nothing_to_log)
{
    begin(ALIGN_EXACTLY_ONCE, 2, 0);
    align_keep_order(&align, 0);
    align_keep_order(&align, 1);
    overtake(1);
    barrier(1, 0);
    barrier(1, 1);
    end("overtake 1 -> [..]\n"
        "barrier 1 on 0 -> hold [h.]\n"
        "barrier 1 on 1 -> resume snapshot 1 logged [..]\n");
}
END_TEST

START_TEST(an_abort_ends_the_logging)
{
    begin(ALIGN_EXACTLY_ONCE, 2, 0);
    overtake(1);
    abort_epoch(1);
    barrier(1, 0);
    barrier(2, 0);
    barrier(2, 1);
    end("overtake 1 -> snapshot 1 [ll]\n"
        "abort 1 -> [..]\n"
        "barrier 1 on 0 -> late [..]\n"
        "barrier 2 on 0 -> hold [h.]\n"
        "barrier 2 on 1 -> resume snapshot 2 [..]\n");
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_test(tests, holds_first_input_until_last_barrier);
    tcase_add_test(tests, one_input_is_never_held);
    tcase_add_test(tests, at_least_once_holds_nobody_and_snapshots_at_the_last_barrier);
    tcase_add_test(tests, a_second_barrier_on_one_input_counts_once);
    tcase_add_test(tests, barriers_of_finished_epochs_are_late);
    tcase_add_test(tests, barriers_from_nowhere_are_unknown);
    tcase_add_test(tests, an_abort_resumes_and_makes_what_is_under_way_late);
    tcase_add_test(tests, an_abort_may_overtake_the_barriers);
    tcase_add_test(tests, an_abort_of_a_finished_epoch_is_late);
    tcase_add_test(tests, a_newer_barrier_gives_the_older_epoch_up);
    tcase_add_test(tests, epochs_may_be_skipped);
    tcase_add_test(tests, invariants_hold_for_any_sequence);
    tcase_add_test(tests, an_overtaking_barrier_is_snapshotted_at_once_and_what_it_overtook_is_logged);
    tcase_add_test(tests, no_barrier_need_have_come_to_be_overtaking);
    tcase_add_test(tests, inputs_that_keep_their_order_are_waited_for);
    tcase_add_test(tests, one_that_waited_for_all_inputs_has_nothing_to_log);
    tcase_add_test(tests, an_abort_ends_the_logging);
}

int main(void)
{
    return unit_main("align", add);
}
