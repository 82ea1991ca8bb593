#include "sim/world.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/base.h"
#include "sim/cluster.h"
#include "sim/fate.h"
#include "sim/lives.h"
#include "sim/load.h"
#include "sim/mishaps.h"
#include "sim/oracle.h"
#include "sim/overtaking.h"
#include "sim/savepoints.h"
#include "sim/tale.h"
#include "sim/timed_disk.h"
#include "sim/weather.h"

enum { SECOND_US = 1000000, CALM_US = 150 * SECOND_US, SLICE_US = 50000, PHASE_STEPS = 30, LOOSE_STEP = 1 << 20,
       LOOSE_PERCENT = 16,
       FOLLOWED_STEP = 1 << 21, FOLLOWED_PERCENT = 15, COPIED_STEP = 1 << 22, COPIED_PERCENT = 10, TALE_STEP = 1 << 23 };

static struct {
    const struct world_options *options;
    struct world_report *report;
    const struct weir_test_job *test;
    bool is_followed, is_to_be_copied, is_copied;
    struct weir_test_job copy;
    char copy_name[80], copy_outputs[WEIR_TEST_TOPICS_MAX][80];
} world;

struct world_report *world_seen(void) { return world.report; }

void world_trace(const char *format, ...)
{
    if (!world.options->trace) return;
    va_list arguments;
    va_start(arguments, format);
    (void)fprintf(stderr, "%10.3f  ", (double)sched_now_us() / 1000.0);
    (void)vfprintf(stderr, format, arguments);
    (void)fputc('\n', stderr);
    va_end(arguments);
}

static void create_topics(const struct weir_test_topic topics[WEIR_TEST_TOPICS_MAX], int32_t drawn)
{
    for (uint32_t i = 0; i < WEIR_TEST_TOPICS_MAX && topics[i].name != NULL; i++) {
        const int32_t most = (int32_t)world.options->limits[WORLD_partitions];
        const int32_t cut = most > 0 && most < drawn ? most : drawn;
        const int32_t partitions = topics[i].partitions > 0 ? topics[i].partitions : cut;
        CHECK(model_create_topic(cluster_model(), topics[i].name, partitions, false) == MODEL_OK);
        world_trace("topic '%s', %d partitions", topics[i].name, (int)partitions);
    }
}

static bool has_violation(void *unused)
{
    (void)unused;
    return oracle_violation() != NULL;
}

static void pass_time(int64_t us) { (void)sched_run(sched_now_us() + us, has_violation, NULL); }

/* The same job under another name, beside the first one: an A/B test. It writes to topics of its own. */
static void name_copy(void)
{
    world.copy = *world.test;
    (void)snprintf(world.copy_name, sizeof world.copy_name, "second-%s", world.test->name);
    world.copy.name = world.copy_name;
    for (uint32_t i = 0; i < WEIR_TEST_TOPICS_MAX && world.test->outputs[i].name != NULL; i++) {
        (void)snprintf(world.copy_outputs[i], sizeof world.copy_outputs[i], "second-%s", world.test->outputs[i].name);
        world.copy.outputs[i].name = world.copy_outputs[i];
    }
}

/* From any savepoint that the run has seen. */
static void begin_copy(void)
{
    const struct known_savepoint *savepoint = savepoints_at(fate_below(savepoints_count()));
    if (!fate_strikes(FATE_starts, "a second copy of the job begins with %s", savepoint->path)) return;
    world.report->copied++;
    world.is_copied = true;
    name_copy();
    create_topics(world.copy.outputs, 1 + (int32_t)fate_below(3));
    (void)oracle_select(ORACLE_COPY);
    oracle_begin_copy(&world.copy, savepoint->chapter);
    (void)oracle_select(ORACLE_JOB);
    lives_copy(&world.copy, savepoint->path);
    weather_copied();
}

static void storm(void)
{
    const uint32_t drawn = 40 + (uint32_t)fate_below(120);
    uint64_t loads = 4;
    const uint32_t steps = world.options->limits[WORLD_steps] > 0 ? world.options->limits[WORLD_steps] : drawn;
    for (uint32_t i = world.options->limits[WORLD_skip]; i < steps && !has_violation(NULL); i++) {
        fate_step(1 + i);
        world.report->steps = 1 + i;
        if (i % PHASE_STEPS == 0) weather_set((uint32_t)fate_below(4));
        if (i % PHASE_STEPS == 0) loads = fate_percent(25) ? 1 : 4; /* nobody has anything to say for a while */
        for (uint64_t n = fate_below(loads); n > 0; n--) load_some();
        if (fate_percent(35)) weather_event();
        pass_time((int64_t)fate_below(2 * SLICE_US));
        lives_judge();
        overtaking_watch();
        mishaps_watch();
        if (world.is_to_be_copied && !world.is_copied && savepoints_count() > 0) begin_copy();
    }
}

/* One life of the job goes on until all is taken in, and ends when it is told to. */
static void bring_to_the_end(uint32_t whose, bool may_end)
{
    struct life *lives[LIVES_MAX];
    const uint32_t before = oracle_select(whose), count = lives_alive_of(whose, lives);
    const bool is_done = may_end && oracle_has_caught_up();
    if (count == 0 && !lives_have_ended_well(whose)) {
        if (whose == ORACLE_JOB) lives_start(false);
        else lives_start_other(whose);
    }
    for (uint32_t i = 0; i < count; i++) {
        lives[i]->orders.checkpoint |= is_done && lives[i]->ticket == 0;
        lives[i]->stop |= count > 1 || (is_done && lives_is_running(lives[i]) && lives_has_answered(lives[i]));
    }
    (void)oracle_select(before);
}

/* Who reads what the job writes has an end when the job has. */
static bool all_have_ended_well(void)
{
    return lives_have_ended_well(ORACLE_JOB) && (!world.is_followed || lives_have_ended_well(ORACLE_FOLLOWER)) &&
           (!world.is_copied || lives_have_ended_well(ORACLE_COPY));
}

/* Answers how many epochs it has committed. */
static uint64_t check_end_of(uint32_t whose)
{
    const uint32_t before = oracle_select(whose);
    oracle_check_end();
    const uint64_t epochs = oracle_progress();
    (void)oracle_select(before);
    return epochs;
}

/* The faults stop, and all must catch up, in simulated time without end. */
static void calm(void)
{
    struct life *lives[LIVES_MAX];
    weather_calm();
    lives_forget_the_end(ORACLE_JOB);
    lives_forget_the_end(ORACLE_COPY);
    (void)load_end();
    const int64_t until_us = sched_now_us() + CALM_US;
    while (sched_now_us() < until_us && !has_violation(NULL) && !all_have_ended_well()) {
        (void)load_end();
        bring_to_the_end(ORACLE_JOB, !mishaps_have_struck());
        if (!lives_have_ended_well(ORACLE_JOB)) lives_forget_the_end(ORACLE_FOLLOWER); /* there is more to come */
        if (world.is_followed) bring_to_the_end(ORACLE_FOLLOWER, lives_have_ended_well(ORACLE_JOB));
        if (world.is_copied) bring_to_the_end(ORACLE_COPY, true);
        pass_time(SLICE_US);
        lives_judge();
        overtaking_watch();
        mishaps_watch();
    }
    lives_trace();
    if (lives_alive(lives) > 0) oracle_fail("a job does not end, though all is calm");
    oracle_check_end();
    if (world.is_followed) world.report->followed_epochs = check_end_of(ORACLE_FOLLOWER);
    if (world.is_copied) world.report->copied_epochs = check_end_of(ORACLE_COPY);
    savepoints_check_end();
}

static void fill_report(void)
{
    struct world_report *report = world.report;
    const struct cluster_counts counts = cluster_counts();
    const struct oracle_counts seen = oracle_counts();
    report->lost_requests = counts.lost_requests;
    report->lost_answers = counts.lost_answers;
    report->delayed_requests = counts.delayed;
    report->late_inits = counts.late[REQUEST_INIT];
    report->late_partitions = counts.late[REQUEST_ADD_PARTITIONS];
    report->late_groups = counts.late[REQUEST_ADD_OFFSETS];
    report->late_offsets = counts.late[REQUEST_OFFSETS];
    report->late_ends = counts.late[REQUEST_END];
    report->aborted = seen.aborted;
    report->incarnations = seen.incarnations;
    report->epochs = seen.epochs;
    report->records = seen.records;
    report->ended_us = sched_now_us();
    report->digest = sched_digest();
    report->strokes = fate_counts();
    (void)snprintf(report->job, sizeof report->job, "%s", world.test->name);
    const char *violation = oracle_violation();
    (void)snprintf(report->violation, sizeof report->violation, "%s", violation == NULL ? "" : violation);
}

void world_tell(struct world_report *report)
{
    memset(report, 0, sizeof *report);
    if (world.report == NULL) return;
    fill_report();
    *report = *world.report;
}

static void begin_follower(void)
{
    (void)oracle_select(ORACLE_FOLLOWER);
    oracle_begin(cluster_model(), world.options->follower, false);
    (void)oracle_select(ORACLE_JOB);
    lives_follow(world.options->follower);
    create_topics(world.options->follower->outputs, 1 + (int32_t)fate_below(3));
}

static void end_other(uint32_t whose)
{
    (void)oracle_select(whose);
    oracle_end();
    (void)oracle_select(ORACLE_JOB);
}

void world_run(const struct world_options *options, struct world_report *report)
{
    memset(&world, 0, sizeof world);
    memset(report, 0, sizeof *report);
    world.options = options;
    world.report = report;
    sched_begin(options->seed);
    fate_begin(options->seed, &options->spared);
    cluster_begin();
    timed_disk_begin(options->seed);
    const struct disk *disk = disk_model_table(timed_disk_model());
    CHECK(disk->make_directory(disk->user, "/data") == 0 && disk->make_directory(disk->user, "/other") == 0);
    fate_step(LOOSE_STEP);
    const bool is_loose = options->loose_job != NULL && fate_percent(LOOSE_PERCENT);
    fate_step(FOLLOWED_STEP);
    world.is_followed = options->follower != NULL && fate_percent(FOLLOWED_PERCENT);
    report->followed = world.is_followed;
    fate_step(TALE_STEP);
    tale_begin(options->with_mishaps && !is_loose);
    fate_step(COPIED_STEP);
    world.is_to_be_copied = options->with_mishaps && !is_loose &&
                            (fate_percent(COPIED_PERCENT) || tale_is(TALE_FLICKER));
    fate_step(0);
    world.test = &options->jobs[fate_below(options->job_count)];
    if (is_loose) world.test = options->loose_job;
    report->loose_runs = is_loose;
    world_trace("job '%s'", world.test->name);
    oracle_begin(cluster_model(), world.test, is_loose);
    savepoints_begin(!is_loose);
    overtaking_begin();
    lives_begin(world.test, options->limits[WORLD_parallelism], options->with_mishaps, is_loose);
    weather_begin(world.test, options->with_mishaps, is_loose, world.is_followed, world.is_to_be_copied);
    mishaps_begin(world.test, world.is_followed, world.is_to_be_copied);
    create_topics(world.test->inputs, 1 + (int32_t)fate_below(4));
    create_topics(world.test->outputs, 1 + (int32_t)fate_below(3));
    if (world.is_followed) begin_follower();
    load_begin(world.test, options->limits[WORLD_records]);
    lives_start(false);
    storm();
    calm();
    fill_report();
    sched_end();
    if (world.is_followed) end_other(ORACLE_FOLLOWER);
    if (world.is_copied) end_other(ORACLE_COPY);
    oracle_end();
    mishaps_end();
    lives_end();
    load_free();
    timed_disk_end();
    cluster_end();
    world.report = NULL;
}
