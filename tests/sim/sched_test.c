/* The scheduler of the simulator: fibers, processes, time, and a job of the library inside. */
#include "sim/sched.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/base.h"
#include "harness/unit.h"
#include "sim/disk_model.h"
#include "weir/generator.h"

#define SECOND INT64_C(1000000)
#define FOREVER INT64_MAX
#ifdef __SANITIZE_ADDRESS__
enum { SEEDS = 40, JOBS = 25 }; /* it clears the shadow of a stack at each switch */
#else
enum { SEEDS = 200, JOBS = 100 };
#endif

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
    static int64_t at_us[5000];
    begin(0);
    for (int i = 0; i < 5000; i++) {
        at_us[i] = (int64_t)sched_random_below(1000);
        sched_at(at_us[i], NULL, tell_number, number(i));
    }
    run_to_the_end();
    ck_assert_uint_eq(story.count, 5000);
    for (size_t i = 1; i < story.count; i++) {
        const int before = story.items[i - 1], after = story.items[i];
        unit_expect(at_us[before] < at_us[after] || (at_us[before] == at_us[after] && before < after));
    }
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
    while (!may_pass) {
        sched_pause((int64_t)sched_random_below(100)); /* it may come between the look and the sleep */
        waker_sleep(&waker, -1);
    }
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

/* ---- A job inside -------------------------------------------------------------------------------------------------- */

enum { KEYS = 17, RECORDS = 3000, HELD_MAX = 4096 };

/* The only machine: its disk takes the place of system calls, because this program is linked with the table below. */
static struct disk_model *disk_in;
static const struct disk *disk(void) { return disk_model_table(disk_in); }

/* What goes to the disk takes a while; others run. */
static void take_time(uint64_t us_max)
{
    if (sched_current() != NULL) sched_pause((int64_t)sched_random_below(us_max));
}

static int disk_make_directory(void *user, const char *path)
{
    (void)user;
    return disk()->make_directory(disk_in, path);
}

static int disk_open(void *user, const char *path, enum disk_open how)
{
    (void)user;
    return disk()->open(disk_in, path, how);
}

static void disk_close(void *user, int file)
{
    (void)user;
    disk()->close(disk_in, file);
}

static int64_t disk_size(void *user, int file)
{
    (void)user;
    return disk()->size(disk_in, file);
}

static ssize_t disk_read(void *user, int file, void *data, size_t size, uint64_t offset)
{
    (void)user;
    take_time(50);
    return disk()->read(disk_in, file, data, size, offset);
}

static ssize_t disk_write(void *user, int file, const void *data, size_t size, uint64_t offset)
{
    (void)user;
    take_time(50);
    return disk()->write(disk_in, file, data, size, offset);
}

static int disk_allocate(void *user, int file, uint64_t size)
{
    (void)user;
    return disk()->allocate(disk_in, file, size);
}

static int disk_sync(void *user, int file)
{
    (void)user;
    take_time(300);
    return disk()->sync(disk_in, file);
}

static int disk_sync_directory(void *user, const char *path)
{
    (void)user;
    take_time(300);
    return disk()->sync_directory(disk_in, path);
}

static int disk_rename(void *user, const char *source, const char *aim, bool replace)
{
    (void)user;
    return disk()->rename(disk_in, source, aim, replace);
}

static int disk_remove(void *user, const char *path)
{
    (void)user;
    return disk()->remove(disk_in, path);
}

static int disk_list(void *user, const char *path, void (*visit)(void *visit_user, const char *name), void *visit_user)
{
    (void)user;
    return disk()->list(disk_in, path, visit, visit_user);
}

static bool disk_is_volatile(void *user, const char *path)
{
    (void)user;
    return disk()->is_volatile(disk_in, path);
}

const struct disk disk_system = {
    .make_directory = disk_make_directory, .open = disk_open, .close = disk_close, .size = disk_size,
    .read = disk_read, .write = disk_write, .allocate = disk_allocate, .sync = disk_sync,
    .sync_directory = disk_sync_directory, .rename = disk_rename, .remove = disk_remove, .list = disk_list,
    .is_volatile = disk_is_volatile,
};

/* What was committed: the newest count of each key. */
static struct {
    int64_t counts[KEYS];
    uint64_t lines;
    uint32_t parallelism;
    struct weir_error outcome;
} committed;

/* A sink that shows a count when its epoch is committed. */
struct writer {
    uint64_t epoch;
    size_t held_count;
    struct {
        uint64_t epoch, key;
        int64_t count;
    } held[HELD_MAX];
};

static enum weir_code sink_open(const void *options, const struct weir_connector_context *context, void *decider,
                                void **sink, struct weir_error *error)
{
    (void)options, (void)context, (void)decider, (void)error;
    *sink = &committed;
    return WEIR_OK;
}

static void sink_close(void *sink)
{
    ck_assert_ptr_eq(sink, &committed);
}

static enum weir_code writer_open(void *sink, uint32_t subtask, uint64_t epoch, struct weir_waker wake, void **writer,
                                  struct weir_error *error)
{
    (void)sink, (void)subtask, (void)wake, (void)error;
    struct writer *made = calloc(1, sizeof *made);
    ck_assert_ptr_nonnull(made);
    made->epoch = epoch;
    *writer = made;
    return WEIR_OK;
}

static bool writer_room(void *writer)
{
    (void)writer;
    return true;
}

static enum weir_code writer_write(void *user, const struct weir_record *record, struct weir_error *error)
{
    (void)error;
    struct writer *writer = user;
    int64_t key, count;
    ck_assert(weir_bytes_to_i64(record->key, &key) && weir_bytes_to_i64(record->value, &count));
    ck_assert_uint_lt(writer->held_count, HELD_MAX);
    writer->held[writer->held_count].epoch = writer->epoch;
    writer->held[writer->held_count].key = (uint64_t)key;
    writer->held[writer->held_count++].count = count;
    return WEIR_OK;
}

static enum weir_code writer_prepare(void *user, uint64_t epoch, struct weir_output_totals *totals,
                                     struct weir_error *error)
{
    (void)totals, (void)error;
    struct writer *writer = user;
    ck_assert_uint_eq(writer->epoch, epoch);
    writer->epoch++;
    return WEIR_OK;
}

static enum weir_code writer_proceed(void *writer, uint64_t epoch, struct weir_error *error)
{
    (void)writer, (void)epoch, (void)error;
    return WEIR_OK;
}

static void writer_committed(void *user, uint64_t epoch)
{
    struct writer *writer = user;
    size_t kept = 0;
    for (size_t i = 0; i < writer->held_count; i++) {
        if (writer->held[i].epoch > epoch) {
            writer->held[kept++] = writer->held[i];
            continue;
        }
        int64_t *newest = &committed.counts[writer->held[i].key];
        unit_expect(writer->held[i].count > *newest);
        *newest = writer->held[i].count;
        committed.lines++;
    }
    writer->held_count = kept;
}

static const struct weir_sink_type counts_sink = {
    .size = sizeof counts_sink, .kind = "counts", .open = sink_open, .close = sink_close,
    .writer_open = writer_open, .writer_room = writer_room, .writer_write = writer_write,
    .writer_prepare = writer_prepare, .writer_proceed = writer_proceed, .writer_committed = writer_committed,
    .writer_close = free,
};

static enum weir_code to_key(weir_task *task, const struct weir_record *in)
{
    int64_t n;
    if (sched_chance(10000)) sched_pause((int64_t)sched_random_below(1000)); /* or all would fit into one epoch */
    ck_assert(weir_bytes_to_i64(in->value, &n));
    return weir_emit(task, .key = weir_format(task, "%d", (int)(n % KEYS)), .value = in->value);
}

static enum weir_code add_one(weir_keyed_task *task, void *accumulator, const struct weir_record *in)
{
    (void)task, (void)in;
    ++*(int64_t *)accumulator;
    return WEIR_OK;
}

static weir_graph *count_graph(void)
{
    weir_graph *graph = weir_graph_create();
    struct weir_stream numbers = weir_generator(graph, .name = "numbers", .count = RECORDS, .splits = 5);
    struct weir_stream keyed = weir_flat_map(numbers, .name = "to-key", .process = to_key);
    weir_sink(weir_aggregate(weir_key_by(keyed, .key = NULL), .name = "count", .accumulator = WEIR_I64, .add = add_one,
                             .emit = WEIR_EMIT_ON_COMMIT),
              .name = "out", .type = &counts_sink);
    return graph;
}

static void set(weir_config *config, const char *key, const char *value)
{
    struct weir_error error;
    ck_assert_msg(weir_config_set(config, WEIR_CONFIG_CODE, key, value, "test", &error) == WEIR_OK, "%s", error.text);
}

static void run_job(void *argument)
{
    (void)argument;
    char parallelism[16];
    (void)snprintf(parallelism, sizeof parallelism, "%" PRIu32, committed.parallelism);
    weir_config *config = weir_config_create();
    set(config, "execution.checkpointing.dir", "/ck");
    set(config, "execution.checkpointing.interval", "2ms");
    set(config, "state.log.segment-size", "65536");
    set(config, "state.backend.type", "hashmap"); /* RocksDB has threads of its own */
    set(config, "parallelism.default", parallelism);
    set(config, "start.bounded", "true");

    weir_job *job;
    struct weir_error error;
    const struct weir_job_options options = { .size = sizeof options, .name = "counts" };
    ck_assert_msg(weir_job_create(count_graph(), config, &options, &job, &error) == WEIR_OK, "%s", error.text);
    ck_assert_msg(weir_job_start(job, &error) == WEIR_OK, "%s", error.text);
    while (!weir_job_wait(job, 0, &committed.outcome)) sched_pause(1000);
    weir_job_destroy(job);
    weir_config_destroy(config);
}

static uint64_t run_whole_job(uint64_t round)
{
    begin(round);
    memset(&committed, 0, sizeof committed);
    committed.parallelism = 1 + (uint32_t)(round % 3);
    disk_in = disk_model_create(round);
    struct sched_process *process = sched_spawn("job", NULL, run_job, NULL);
    (void)sched_run(60 * SECOND, NULL, NULL);
    ck_assert_msg(sched_has_ended(process), "the job has not ended after a minute");
    ck_assert_msg(committed.outcome.code == WEIR_OK, "%s", committed.outcome.text);
    for (int64_t key = 0; key < KEYS; key++)
        ck_assert_int_eq(committed.counts[key], RECORDS / KEYS + (key < RECORDS % KEYS));
    const uint64_t digest = sched_digest();
    sched_end();
    disk_model_destroy(disk_in);
    return digest;
}

START_TEST(a_job_of_the_library_runs_to_its_end)
{
    uint64_t lines = 0;
    for (uint64_t round = 0; round < JOBS; round++) {
        (void)run_whole_job(round);
        lines += committed.lines;
    }
    ck_assert_uint_gt(lines, 2 * JOBS * KEYS); /* in several epochs */
}
END_TEST

START_TEST(one_seed_is_one_life_of_a_job)
{
    for (uint64_t round = 0; round < 10; round++) {
        const uint64_t digest = run_whole_job(round), lines = committed.lines;
        ck_assert_uint_eq(run_whole_job(round), digest);
        ck_assert_uint_eq(committed.lines, lines);
        ck_assert_uint_ne(run_whole_job(round + 1000), digest);
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
    tcase_add_test(tests, a_job_of_the_library_runs_to_its_end);
    tcase_add_test(tests, one_seed_is_one_life_of_a_job);
    tcase_add_exit_test(tests, who_never_gives_way_ends_the_program, 3);
    tcase_add_test(tests, who_gives_way_does_not);
}

int main(void)
{
    return unit_main("sim_sched", add);
}
