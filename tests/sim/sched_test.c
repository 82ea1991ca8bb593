/* The scheduler of the simulator: fibers, processes, time, and a job of the library inside. */
#include "sim/sched.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <string.h>

#include "base/base.h"
#include "harness/unit.h"

#define SECOND INT64_C(1000000)
#define FOREVER INT64_MAX
#define SEEDS 200

static uint64_t seed;

/* What happened, in its order. */
static struct {
    int items[20000];
    size_t count;
} story;

static void tell(int what)
{
    ck_assert_uint_lt(story.count, sizeof story.items / sizeof story.items[0]);
    story.items[story.count++] = what;
}

static void begin(uint64_t round)
{
    story.count = 0;
    sched_begin(seed + round);
}

static void *number(int n) { return (void *)(intptr_t)n; }

static void run_to_the_end(void)
{
    ck_assert(!sched_run(FOREVER, NULL, NULL));
}

/* ---- Time --------------------------------------------------------------------------------------------------------- */

static void sleep_for_ms(void *argument)
{
    sched_pause((intptr_t)argument * 1000);
    tell((int)(intptr_t)argument);
}

START_TEST(timeouts_fire_in_order)
{
    for (uint64_t round = 0; round < SEEDS; round++) {
        begin(round);
        /* Further apart than any fiber is ever held. */
        for (int i = 20; i > 0; i--) sched_spawn("sleeper", NULL, sleep_for_ms, number(i * 200));
        run_to_the_end();
        ck_assert_uint_eq(story.count, 20);
        for (int i = 0; i < 20; i++) ck_assert_int_eq(story.items[i], (i + 1) * 200);
        ck_assert_int_ge(sched_now_us(), 4 * SECOND);
        sched_end();
    }
}
END_TEST

static void tell_number(void *argument)
{
    ck_assert_ptr_null(sched_current());
    tell((int)(intptr_t)argument);
}

static void plan_more(void *argument)
{
    tell_number(argument);
    sched_at(sched_now_us(), NULL, tell_number, number(3));
    sched_at(0, NULL, tell_number, number(1)); /* late already, and before what is due now */
    sched_at(sched_now_us(), NULL, tell_number, number(4));
}

START_TEST(what_is_planned_happens_by_time_and_then_by_order)
{
    begin(0);
    sched_at(2000, NULL, tell_number, number(5));
    sched_at(1000, NULL, plan_more, number(0));
    sched_at(1000, NULL, tell_number, number(2));
    sched_at(2000, NULL, tell_number, number(6));
    run_to_the_end();
    ck_assert_uint_eq(story.count, 7);
    for (int i = 0; i < 7; i++) ck_assert_int_eq(story.items[i], i);
    ck_assert_int_eq(sched_now_us(), 2000);
    sched_end();
}
END_TEST

START_TEST(many_plans_happen_in_their_order)
{
    begin(0);
    for (int i = 0; i < 5000; i++) {
        const int at = (int)sched_random_below(1000);
        sched_at(at, NULL, tell_number, number(at));
    }
    run_to_the_end();
    ck_assert_uint_eq(story.count, 5000);
    for (size_t i = 1; i < story.count; i++) unit_expect(story.items[i - 1] <= story.items[i]);
    sched_end();
}
END_TEST

static bool has_told(void *user)
{
    return story.count >= (size_t)(intptr_t)user;
}

START_TEST(a_run_ends_at_its_time_or_when_told_to)
{
    begin(0);
    for (int i = 1; i <= 3; i++) sched_at(i * SECOND, NULL, tell_number, number(i));
    ck_assert(sched_run(SECOND / 2, NULL, NULL));
    ck_assert_int_eq(sched_now_us(), SECOND / 2);
    ck_assert_uint_eq(story.count, 0);
    ck_assert(sched_run(SECOND, NULL, NULL)); /* what is due then has happened */
    ck_assert_uint_eq(story.count, 1);
    ck_assert(sched_run(FOREVER, has_told, number(2)));
    ck_assert_uint_eq(story.count, 2);
    ck_assert_int_eq(sched_now_us(), 2 * SECOND);
    run_to_the_end();
    ck_assert_uint_eq(story.count, 3);
    sched_end();
}
END_TEST

static void watch_the_clock(void *argument)
{
    struct weir_environment environment;
    environment_init_system(&environment);
    int64_t before_us = 0;
    for (;;) {
        const int64_t now_us = environment.monotonic_us(NULL);
        unit_expect(now_us >= before_us);
        before_us = now_us;
        if (now_us >= (intptr_t)argument) break;
    }
    tell(1);
}

START_TEST(who_only_watches_the_clock_sees_time_pass_and_lets_others_run)
{
    for (uint64_t round = 0; round < SEEDS; round++) {
        begin(round);
        for (int i = 0; i < 3; i++) sched_spawn("watcher", NULL, watch_the_clock, number((int)SECOND / 100));
        const uint64_t switches = sched_switches();
        run_to_the_end();
        ck_assert_uint_eq(story.count, 3);
        ck_assert_uint_gt(sched_switches() - switches, 6);
        sched_end();
    }
}
END_TEST

static int64_t wall_read_ms;

static void read_wall(void *argument)
{
    (void)argument;
    struct weir_environment environment;
    environment_init_system(&environment);
    wall_read_ms = environment.wall_ms(NULL);
}

START_TEST(wall_clocks_begin_in_2026_and_may_be_wrong)
{
    begin(0);
    struct sched_process *right = sched_spawn("right", NULL, read_wall, NULL);
    run_to_the_end();
    ck_assert(sched_has_ended(right));
    ck_assert_int_ge(wall_read_ms, INT64_C(1767225600000));
    ck_assert_int_lt(wall_read_ms, INT64_C(1767225600000) + 1000);
    struct sched_process *wrong = sched_spawn("wrong", NULL, read_wall, NULL);
    sched_set_wall_skew_ms(wrong, -86400000);
    run_to_the_end();
    ck_assert_int_lt(wall_read_ms, INT64_C(1767225600000) - 86400000 + 1000);
    sched_end();
}
END_TEST

/* ---- Processes ---------------------------------------------------------------------------------------------------- */

static void tick_for_ever(void *argument)
{
    for (;;) {
        tell((int)(intptr_t)argument);
        sched_pause(SECOND / 10);
    }
}

START_TEST(a_frozen_process_does_not_run_and_goes_on_when_thawed)
{
    begin(0);
    struct sched_process *process = sched_spawn("ticker", NULL, tick_for_ever, number(1));
    ck_assert(sched_run(SECOND, NULL, NULL));
    sched_freeze(process);
    const size_t count = story.count;
    ck_assert_uint_gt(count, 4);
    ck_assert(!sched_run(60 * SECOND, NULL, NULL)); /* nobody else is there */
    sched_at(60 * SECOND, NULL, tell_number, number(2));
    ck_assert(sched_run(60 * SECOND, NULL, NULL));
    ck_assert_uint_eq(story.count, count + 1);
    sched_thaw(process);
    ck_assert(sched_run(61 * SECOND, NULL, NULL));
    ck_assert_uint_gt(story.count, count + 5);
    ck_assert_uint_lt(story.count, count + 13); /* what was missed is not caught up with */
    sched_end();
}
END_TEST

static struct sched_process *freezing;

static void freeze_itself(void *argument)
{
    (void)argument;
    tell(1);
    sched_freeze(freezing);
    tell(2);
}

START_TEST(who_freezes_itself_stands_still_at_once)
{
    begin(0);
    freezing = sched_spawn("freezing", NULL, freeze_itself, NULL);
    ck_assert(!sched_run(SECOND, NULL, NULL));
    ck_assert_uint_eq(story.count, 1);
    ck_assert(!sched_has_ended(freezing));
    sched_thaw(freezing);
    run_to_the_end();
    ck_assert_uint_eq(story.count, 2);
    ck_assert(sched_has_ended(freezing) && !sched_was_killed(freezing));
    sched_free(freezing);
    sched_end();
}
END_TEST

static struct sched_event never_signalled;

static void wait_on(void *argument)
{
    (void)sched_wait(argument, -1);
    tell(-1);
}

static void start_threads(void *argument)
{
    struct thread threads[3];
    ck_assert(thread_start(&threads[0], "a", tick_for_ever, argument));
    ck_assert(thread_start(&threads[1], "b", tick_for_ever, argument));
    ck_assert(thread_start(&threads[2], "c", wait_on, &never_signalled));
    struct sched_event on_my_stack = { NULL };
    (void)sched_wait(&on_my_stack, -1);
}

START_TEST(a_killed_process_never_runs_again_and_its_plans_are_dropped)
{
    for (uint64_t round = 0; round < SEEDS; round++) {
        begin(round);
        struct sched_process *process = sched_spawn("victim", NULL, start_threads, number(1));
        struct sched_process *other = sched_spawn("other", NULL, wait_on, &never_signalled);
        sched_at(20 * SECOND, process, tell_number, number(-2));
        sched_at(20 * SECOND, NULL, tell_number, number(-3));
        sched_at(21 * SECOND, other, tell_number, number(-4));
        ck_assert(sched_run((int64_t)sched_random_below(2 * SECOND), NULL, NULL));
        sched_kill(process);
        ck_assert(sched_has_ended(process) && sched_was_killed(process));
        sched_kill(process); /* once more is no mistake */
        const size_t count = story.count;
        sched_at(20 * SECOND, process, tell_number, number(-5));
        sched_free(process);
        (void)sched_run(30 * SECOND, NULL, NULL);
        ck_assert_uint_eq(story.count, count + 2);
        ck_assert_int_eq(story.items[count], -3);
        ck_assert_int_eq(story.items[count + 1], -4);
        sched_signal(&never_signalled); /* the dead have left it, the living hear it */
        run_to_the_end();
        ck_assert_uint_eq(story.count, count + 3);
        ck_assert(sched_has_ended(other) && !sched_was_killed(other));
        sched_end();
    }
}
END_TEST

static void kill_current(void *argument)
{
    struct thread thread;
    ck_assert(thread_start(&thread, "companion", tick_for_ever, argument));
    sched_pause(SECOND);
    sched_kill(sched_current());
    tell(-1);
}

START_TEST(who_kills_itself_does_not_return)
{
    for (uint64_t round = 0; round < SEEDS; round++) {
        begin(round);
        struct sched_process *process = sched_spawn("suicide", NULL, kill_current, number(1));
        run_to_the_end();
        ck_assert(sched_was_killed(process));
        for (size_t i = 0; i < story.count; i++) ck_assert_int_eq(story.items[i], 1);
        sched_end();
    }
}
END_TEST

static struct sched_process *target;

static void kill_target(void *argument)
{
    (void)argument;
    sched_kill(target);
    tell(2);
}

START_TEST(one_process_kills_another)
{
    for (uint64_t round = 0; round < SEEDS; round++) {
        begin(round);
        target = sched_spawn("target", NULL, start_threads, number(1));
        struct sched_process *killer = sched_spawn("killer", NULL, kill_target, NULL);
        run_to_the_end();
        ck_assert(sched_was_killed(target) && !sched_was_killed(killer) && sched_has_ended(killer));
        ck_assert_int_eq(story.items[story.count - 1], 2);
        sched_end();
    }
}
END_TEST

static void look_at_machine(void *argument)
{
    ck_assert_ptr_eq(sched_machine(), argument);
    ck_assert_str_eq(sched_process_name(sched_current()), "mine");
    tell(1);
}

START_TEST(a_process_knows_its_machine)
{
    int machine;
    begin(0);
    ck_assert_ptr_null(sched_machine());
    sched_spawn("mine", &machine, look_at_machine, &machine);
    run_to_the_end();
    ck_assert_uint_eq(story.count, 1);
    sched_end();
}
END_TEST

/* ---- Waiting for each other --------------------------------------------------------------------------------------- */

static void pause_and_tell(void *argument)
{
    sched_pause((intptr_t)argument * SECOND / 4);
    tell((int)(intptr_t)argument);
}

static void join_all(void *argument)
{
    struct thread threads[3], never = { .started = false };
    (void)argument;
    for (int i = 0; i < 3; i++) ck_assert(thread_start(&threads[i], "short", pause_and_tell, number(i + 1)));
    thread_join(&threads[2]);
    ck_assert_uint_eq(story.count, 3);
    thread_join(&threads[0]); /* ended long ago */
    thread_join(&threads[1]);
    thread_join(&never);
    ck_assert(!threads[0].started);
    tell(4);
}

START_TEST(join_waits_for_the_end)
{
    for (uint64_t round = 0; round < SEEDS; round++) {
        begin(round);
        struct sched_process *process = sched_spawn("parent", NULL, join_all, NULL);
        run_to_the_end();
        ck_assert_uint_eq(story.count, 4);
        for (int i = 0; i < 4; i++) ck_assert_int_eq(story.items[i], i + 1);
        ck_assert(sched_has_ended(process));
        sched_end();
    }
}
END_TEST

static struct waker waker;
static bool may_pass;

static void sleep_until_allowed(void *argument)
{
    (void)argument;
    while (!may_pass) waker_sleep(&waker, -1);
    tell(1);
}

static void allow(void *argument)
{
    (void)argument;
    sched_pause((int64_t)sched_random_below(100));
    may_pass = true;
    waker_wake(&waker);
    waker_wake(&waker);
    tell(2);
}

START_TEST(wakers_keep_a_wake_up)
{
    for (uint64_t round = 0; round < SEEDS; round++) {
        begin(round);
        ck_assert(waker_init(&waker));
        may_pass = false;
        struct sched_process *sleeper = sched_spawn("sleeper", NULL, sleep_until_allowed, NULL);
        sched_spawn("other", NULL, allow, NULL);
        run_to_the_end();
        ck_assert(sched_has_ended(sleeper));
        ck_assert_int_eq(story.items[0], 2); /* waking never switches */
        waker_deinit(&waker);
        sched_end();
    }
}
END_TEST

static void sleep_with_timeout(void *argument)
{
    (void)argument;
    const int64_t until_us = sched_now_us() + SECOND;
    while (sched_now_us() < until_us) waker_sleep(&waker, until_us - sched_now_us());
    tell((int)(sched_now_us() / 1000));
}

START_TEST(a_sleep_ends_by_its_time_out)
{
    for (uint64_t round = 0; round < SEEDS; round++) {
        begin(round);
        ck_assert(waker_init(&waker));
        sched_spawn("sleeper", NULL, sleep_with_timeout, NULL);
        run_to_the_end();
        ck_assert_int_ge(story.items[0], 1000);
        ck_assert_int_le(story.items[0], 1101); /* it may have been held */
        waker_deinit(&waker);
        sched_end();
    }
}
END_TEST

static struct sched_event event;

static void wait_shortly(void *argument)
{
    tell(sched_wait(&event, (intptr_t)argument));
}

START_TEST(a_signal_wakes_all_who_wait_and_the_others_time_out)
{
    begin(0);
    event.waiting = NULL;
    sched_spawn("patient", NULL, wait_shortly, number(-1));
    sched_spawn("patient", NULL, wait_shortly, number(10 * SECOND));
    sched_spawn("impatient", NULL, wait_shortly, number(SECOND));
    ck_assert(sched_run(2 * SECOND, NULL, NULL));
    ck_assert_uint_eq(story.count, 1);
    ck_assert_int_eq(story.items[0], false);
    sched_signal(&event);
    run_to_the_end();
    ck_assert_uint_eq(story.count, 3);
    ck_assert(story.items[1] && story.items[2]);
    ck_assert_int_lt(sched_now_us(), 3 * SECOND);
    sched_signal(&event); /* nobody */
    sched_end();
}
END_TEST

static void keep_errno(void *argument)
{
    for (int i = 0; i < 50; i++) {
        errno = (int)(intptr_t)argument + i;
        sched_pause(0);
        unit_expect(errno == (int)(intptr_t)argument + i);
    }
}

START_TEST(each_fiber_has_its_own_errno)
{
    begin(0);
    errno = 7;
    for (int i = 0; i < 5; i++) sched_spawn("errno", NULL, keep_errno, number(i * 100));
    run_to_the_end();
    ck_assert_int_eq(errno, 7);
    sched_end();
}
END_TEST

/* ---- One seed, one run -------------------------------------------------------------------------------------------- */

static struct sched_event market;

static void trade(void *argument)
{
    struct weir_environment environment;
    environment_init_system(&environment);
    for (int i = 0; i < 20; i++) {
        switch (environment.random(NULL) % 4) {
        case 0: sched_pause((int64_t)sched_random_below(500)); break;
        case 1: (void)sched_wait(&market, (int64_t)sched_random_below(500)); break;
        case 2: sched_signal(&market); break;
        default: (void)environment.monotonic_us(NULL);
        }
        tell((int)(intptr_t)argument);
    }
}

struct result {
    uint64_t digest, story, switches;
    int64_t end_us;
};

static struct result run_market(uint64_t round)
{
    begin(round);
    market.waiting = NULL;
    for (int i = 0; i < 50; i++) sched_spawn("trader", NULL, trade, number(i));
    run_to_the_end();
    ck_assert_uint_eq(story.count, 50 * 20);
    const struct result result = { sched_digest(), hash_64(story.items, story.count * sizeof story.items[0]),
                                   sched_switches(), sched_now_us() };
    sched_end();
    return result;
}

START_TEST(the_same_seed_gives_the_same_run_and_another_seed_another_one)
{
    uint64_t story_before = 0, digest_before = 0;
    for (uint64_t round = 0; round < 50; round++) {
        const struct result first = run_market(round), again = run_market(round);
        ck_assert_uint_eq(first.digest, again.digest);
        ck_assert_uint_eq(first.story, again.story);
        ck_assert_uint_eq(first.switches, again.switches);
        ck_assert_int_eq(first.end_us, again.end_us);
        ck_assert_uint_ne(first.story, story_before);
        ck_assert_uint_ne(first.digest, digest_before);
        story_before = first.story;
        digest_before = first.digest;
    }
}
END_TEST

/* ---- Mistakes ----------------------------------------------------------------------------------------------------- */

/* The clock of the watchdog strikes, as it would in ten seconds. */
static void hang(void *argument)
{
    (void)argument;
    for (int i = 0; i < 12; i++) raise(SIGALRM);
}

START_TEST(who_never_gives_way_ends_the_program)
{
    begin(0);
    sched_spawn("hanging", NULL, hang, NULL);
    (void)sched_run(SECOND, NULL, NULL);
}
END_TEST

static void strike_now_and_then(void *argument)
{
    (void)argument;
    for (int i = 0; i < 50; i++) {
        raise(SIGALRM);
        sched_pause(10);
    }
}

START_TEST(who_gives_way_does_not)
{
    begin(0);
    sched_spawn("working", NULL, strike_now_and_then, NULL);
    run_to_the_end();
    sched_end();
}
END_TEST

static void add(TCase *tests)
{
    seed = unit_seed();
    tcase_add_test(tests, timeouts_fire_in_order);
    tcase_add_test(tests, what_is_planned_happens_by_time_and_then_by_order);
    tcase_add_test(tests, many_plans_happen_in_their_order);
    tcase_add_test(tests, a_run_ends_at_its_time_or_when_told_to);
    tcase_add_test(tests, who_only_watches_the_clock_sees_time_pass_and_lets_others_run);
    tcase_add_test(tests, wall_clocks_begin_in_2026_and_may_be_wrong);
    tcase_add_test(tests, a_frozen_process_does_not_run_and_goes_on_when_thawed);
    tcase_add_test(tests, who_freezes_itself_stands_still_at_once);
    tcase_add_test(tests, a_killed_process_never_runs_again_and_its_plans_are_dropped);
    tcase_add_test(tests, who_kills_itself_does_not_return);
    tcase_add_test(tests, one_process_kills_another);
    tcase_add_test(tests, a_process_knows_its_machine);
    tcase_add_test(tests, join_waits_for_the_end);
    tcase_add_test(tests, wakers_keep_a_wake_up);
    tcase_add_test(tests, a_sleep_ends_by_its_time_out);
    tcase_add_test(tests, a_signal_wakes_all_who_wait_and_the_others_time_out);
    tcase_add_test(tests, each_fiber_has_its_own_errno);
    tcase_add_test(tests, the_same_seed_gives_the_same_run_and_another_seed_another_one);
    tcase_add_exit_test(tests, who_never_gives_way_ends_the_program, 3);
    tcase_add_test(tests, who_gives_way_does_not);
}

int main(void)
{
    return unit_main("sim_sched", add);
}
