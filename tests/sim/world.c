#include "sim/world.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/base.h"
#include "base/crash.h"
#include "checkpoint/disk.h"
#include "sim/cluster.h"
#include "sim/disk_model.h"
#include "sim/load.h"
#include "sim/oracle.h"

enum {
    LIVES_MAX = 400,
    SETTINGS_MAX = 24,
    SECOND_US = 1000000,
    CALM_US = 150 * SECOND_US,
    SLICE_US = 50000,
    READ_US = 20,
    WRITE_US = 40,
    SYNC_US = 300,
};

/* One start of the program. */
struct life {
    uint32_t number;
    struct sched_process *process;
    weir_job *job;
    weir_config *config;
    uint32_t parallelism;
    uint32_t ring_size;
    bool is_foreign; /* has a checkpoint store of its own, and must be refused (R9) */
    bool stop, is_over, overlapped, met_full_disk;
    bool has_finished; /* committed once more when it was told to stop: what others left open is decided too */
    struct weir_error outcome;
    uint64_t restarts;
};

struct setting {
    const char *key;
    char value[24];
};

static struct {
    const struct world_options *options;
    struct world_report *report;
    const struct weir_test_job *test;
    struct disk_model *disk;
    struct life lives[LIVES_MAX];
    uint32_t life_count;
    struct setting settings[SETTINGS_MAX];
    size_t setting_count;
    uint32_t crash_chance; /* in a million, at each crash point */
    uint32_t storm;        /* 0 = quiet, to 3 */
    bool has_ended_well; /* the last life that ended did so when it was told to, with all input taken in */
    bool disk_is_bad;
    int64_t disk_delay_us;
} world;

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

static uint64_t below(uint64_t limit) { return sched_random_below(limit); }
static bool chance_percent(uint32_t percent) { return sched_chance(percent * 10000); }

/* ---- The disk, with time ------------------------------------------------------------------------------------------ */

static const struct disk *table(void)
{
    const struct life *life = sched_machine();
    disk_model_set_owner(world.disk, life == NULL ? 0 : life->number + 1);
    return disk_model_table(world.disk);
}

static void take_time(int64_t us)
{
    if (sched_current() != NULL) sched_pause(1 + (int64_t)below((uint64_t)(us + world.disk_delay_us)));
}

static int sim_make_directory(void *unused, const char *path)
{
    (void)unused;
    const struct disk *disk = table();
    return disk->make_directory(disk->user, path);
}

static int sim_open(void *unused, const char *path, enum disk_open how)
{
    (void)unused;
    const struct disk *disk = table();
    return disk->open(disk->user, path, how);
}

static void sim_close(void *unused, int file)
{
    (void)unused;
    const struct disk *disk = table();
    disk->close(disk->user, file);
}

static int64_t sim_size(void *unused, int file)
{
    (void)unused;
    const struct disk *disk = table();
    return disk->size(disk->user, file);
}

static ssize_t sim_read(void *unused, int file, void *data, size_t size, uint64_t offset)
{
    (void)unused;
    take_time(READ_US);
    const struct disk *disk = table();
    return disk->read(disk->user, file, data, size, offset);
}

static ssize_t sim_write(void *unused, int file, const void *data, size_t size, uint64_t offset)
{
    (void)unused;
    take_time(WRITE_US);
    const struct disk *disk = table();
    return disk->write(disk->user, file, data, size, offset);
}

static int sim_allocate(void *unused, int file, uint64_t size)
{
    (void)unused;
    const struct disk *disk = table();
    return disk->allocate(disk->user, file, size);
}

static int sim_sync(void *unused, int file)
{
    (void)unused;
    take_time(SYNC_US);
    const struct disk *disk = table();
    return disk->sync(disk->user, file);
}

static int sim_sync_directory(void *unused, const char *path)
{
    (void)unused;
    take_time(SYNC_US);
    const struct disk *disk = table();
    return disk->sync_directory(disk->user, path);
}

static int sim_rename(void *unused, const char *source, const char *target, bool replace)
{
    (void)unused;
    const struct disk *disk = table();
    return disk->rename(disk->user, source, target, replace);
}

static int sim_remove(void *unused, const char *path)
{
    (void)unused;
    const struct disk *disk = table();
    return disk->remove(disk->user, path);
}

static int sim_list(void *unused, const char *path, void (*visit)(void *visit_user, const char *name), void *visit_user)
{
    (void)unused;
    const struct disk *disk = table();
    return disk->list(disk->user, path, visit, visit_user);
}

static bool sim_is_volatile(void *unused, const char *path)
{
    (void)unused, (void)path;
    return false;
}

/* In place of the system's (lib/checkpoint/disk_system.c). */
const struct disk disk_system = {
    .make_directory = sim_make_directory, .open = sim_open, .close = sim_close, .size = sim_size, .read = sim_read,
    .write = sim_write, .allocate = sim_allocate, .sync = sim_sync, .sync_directory = sim_sync_directory,
    .rename = sim_rename, .remove = sim_remove, .list = sim_list, .is_volatile = sim_is_volatile,
};

/* ---- Lives -------------------------------------------------------------------------------------------------------- */

static void bury(struct life *life)
{
    if (life->job != NULL) {
        (void)close(weir_job_descriptor(life->job));
        life->job = NULL;
    }
    disk_model_close_owner(world.disk, life->number + 1);
}

static void kill_life(struct life *life, const char *how)
{
    world_trace("life %u: killed (%s)", life->number, how);
    world.report->kills++;
    life->is_over = true;
    bury(life);
    sched_kill(life->process);
}

/* In place of lib/base/crash.c. */
void crash_point_pass(enum crash_point point);
void crash_point_pass(enum crash_point point)
{
    static const char *const names[] = {
#define CRASH_NAME(name) #name,
        CRASH_POINTS(CRASH_NAME)
#undef CRASH_NAME
    };
    struct life *life = sched_machine();
    world.report->early_parts += point == CRASH_part_durable;
    if (life == NULL || !sched_chance(world.crash_chance)) return;
    world.report->crash_points++;
    kill_life(life, names[point]);
}

static void take_log(void *user, enum weir_log_level level, const char *text)
{
    (void)level;
    world_trace("life %u: %s", ((const struct life *)user)->number, text);
}

static void set(weir_config *config, enum weir_config_rank rank, const char *key, const char *value)
{
    struct weir_error error;
    if (weir_config_set(config, rank, key, value, "sim", &error) != WEIR_OK)
        oracle_fail("configuration: %s", error.text);
}

/* What is drawn gives way to what the author wants, but for where the checkpoints are. */
static void configure(const struct life *life)
{
    char number[16];
    weir_config *config = life->config;
    for (size_t i = 0; i < world.setting_count; i++)
        set(config, WEIR_CONFIG_CODE, world.settings[i].key, world.settings[i].value);
    (void)snprintf(number, sizeof number, "%u", life->parallelism);
    set(config, WEIR_CONFIG_CODE, "parallelism.default", number);
    (void)snprintf(number, sizeof number, "%u", life->ring_size);
    set(config, WEIR_CONFIG_CODE, "sink.ring-size", number);
    for (const struct weir_option *option = world.test->options; option != NULL && option->name != NULL; option++)
        weir_config_declare(config, option->name, option->default_value);
    for (const char *const *setting = world.test->settings; setting != NULL && *setting != NULL; setting++) {
        char key[128];
        const size_t size = strcspn(*setting, "=");
        (void)snprintf(key, sizeof key, "%.*s", (int)size, *setting);
        set(config, WEIR_CONFIG_COMMAND_LINE, key, *setting + size + 1);
    }
    set(config, WEIR_CONFIG_COMMAND_LINE, "execution.checkpointing.dir", life->is_foreign ? "/other" : "/data");
}

static bool create_job(struct life *life)
{
    weir_graph *graph = weir_graph_create();
    life->config = weir_config_create();
    CHECK(graph != NULL && life->config != NULL);
    configure(life);
    world.test->define(graph, life->config);
    const struct weir_job_options options = { .size = sizeof options, .name = world.test->name, .log = take_log,
                                              .log_user = life };
    if (weir_job_create(graph, life->config, &options, &life->job, &life->outcome) == WEIR_OK) return true;
    oracle_fail("the job cannot be made: %s", life->outcome.text);
    return false;
}

/* The program's main thread. */
static void live(void *argument)
{
    struct life *life = argument;
    struct weir_job_status status = { .size = sizeof status };
    uint64_t epochs_before = 0;
    bool stopped = false;
    if (create_job(life)) {
        CHECK(weir_job_start(life->job, &life->outcome) == WEIR_OK);
        while (!weir_job_wait(life->job, 0, &life->outcome)) {
            weir_job_status(life->job, &status);
            if (life->stop && !stopped) {
                epochs_before = status.epochs;
                weir_job_stop(life->job);
            }
            stopped = life->stop;
            sched_pause(3000);
        }
        weir_job_status(life->job, &status);
        life->has_finished = stopped && status.epochs > epochs_before;
        life->restarts = status.restarts;
        weir_job_destroy(life->job);
        life->job = NULL;
        weir_config_destroy(life->config);
    }
    life->is_over = true;
    world_trace("life %u: ends with %s: %s", life->number, weir_code_name(life->outcome.code), life->outcome.text);
}

static uint32_t alive(struct life *lives[LIVES_MAX])
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < world.life_count; i++)
        if (!world.lives[i].is_over) lives[count++] = &world.lives[i];
    return count;
}

/* A request of a life that is over may still take the ids over; then the next start goes on. Who is being stopped does
 * not begin anew after a failure. */
static bool is_allowed(const struct life *life)
{
    if (life->is_foreign) return life->outcome.code == WEIR_FOREIGN || life->stop || life->met_full_disk;
    if (life->stop && life->outcome.remedy != WEIR_REMEDY_STOP) return true;
    switch (life->outcome.code) {
    case WEIR_OK: return life->stop;
    case WEIR_FENCED: return life->overlapped || cluster_counts().late > 0;
    case WEIR_ENVIRONMENT: return life->met_full_disk;
    case WEIR_FOREIGN: return life->is_foreign;
    default: return false;
    }
}

static void judge(struct life *life)
{
    if (sched_was_killed(life->process)) return;
    struct life *others[LIVES_MAX];
    world.has_ended_well =
        life->outcome.code == WEIR_OK && life->has_finished && alive(others) == 0 && oracle_has_caught_up();
    if (life->outcome.code == WEIR_FENCED) world.report->fenced++;
    world.report->restarts_inside += life->restarts;
    if (!is_allowed(life))
        oracle_fail("life %u ended with %s, for which there was no reason: %s", life->number,
                    weir_code_name(life->outcome.code), life->outcome.text);
    disk_model_close_owner(world.disk, life->number + 1);
}

static void start(bool is_foreign)
{
    struct life *others[LIVES_MAX];
    if (world.life_count == LIVES_MAX) return;
    const uint32_t other_count = alive(others);
    struct life *life = &world.lives[world.life_count];
    *life = (struct life){ .number = world.life_count++, .parallelism = 1 + (uint32_t)below(3),
                           .ring_size = 2 + (uint32_t)below(chance_percent(20) ? 3 : 1), .is_foreign = is_foreign,
                           .overlapped = other_count > 0, .met_full_disk = world.disk_is_bad };
    for (uint32_t i = 0; i < other_count && !is_foreign; i++) others[i]->overlapped = true;
    if (is_foreign) world.report->foreign_starts++;
    else world.report->starts++;
    if (other_count > 0 && !is_foreign) world.report->second_starts++;
    world_trace("life %u: starts%s, parallelism %u, ring of %u", life->number, is_foreign ? " with another store" : "",
          life->parallelism, life->ring_size);
    char name[24];
    (void)snprintf(name, sizeof name, "life %u", life->number);
    life->process = sched_spawn(name, life, live, life);
}

static void start_life(void) { start(false); }

/* ---- Weather ------------------------------------------------------------------------------------------------------ */

static void set_weather(uint32_t storm)
{
    world.storm = storm;
    struct cluster_weather weather = { .latency_us = 100 + (int64_t)below(600) };
    world.crash_chance = 0;
    if (storm > 0) {
        const uint32_t density = 1u << (storm * 2); /* 4, 16, 64 */
        weather.lose_request = (uint32_t)below(density * 400);
        weather.lose_answer = (uint32_t)below(density * 400);
        weather.delay = (uint32_t)below(density * 800);
        weather.delay_us = 1000 + (int64_t)below(3 * SECOND_US);
        weather.slow_marker = (uint32_t)below(density * 2000);
        weather.slow_marker_us = 1000 + (int64_t)below(SECOND_US);
        if (chance_percent(60)) world.crash_chance = (uint32_t)below(density * 300);
    }
    cluster_set_weather(&weather);
    world_trace("weather: storm %u", storm);
}

static void broker_up(void *unused)
{
    (void)unused;
    cluster_set_down(false);
    world_trace("the broker is back");
}

static void coordinators_back(void *unused)
{
    (void)unused;
    model_coordinators_back(cluster_model());
}

static void disk_good(void *unused)
{
    (void)unused;
    const struct disk_faults none = { 0 };
    disk_model_set_faults(world.disk, &none);
    world.disk_is_bad = false;
    world.disk_delay_us = 0;
    world_trace("the disk is good again");
}

static void disk_bad(void)
{
    struct disk_faults faults = { 0 };
    struct life *lives[LIVES_MAX];
    switch (below(3)) {
    case 0: faults.capacity_bytes = 4096; world.report->full_disks++; break;
    case 1: faults.write_error = (uint32_t)below(200000); world.report->disk_errors++; break;
    default: faults.sync_error = (uint32_t)below(200000); world.report->disk_errors++; break;
    }
    disk_model_set_faults(world.disk, &faults);
    world.disk_is_bad = true;
    for (uint32_t i = 0, count = alive(lives); i < count; i++) lives[i]->met_full_disk = true;
    world_trace("the disk is bad");
    sched_at(sched_now_us() + (int64_t)below(2 * SECOND_US), NULL, disk_good, NULL);
}

static void thaw(void *argument)
{
    struct life *life = argument;
    if (life->is_over) return;
    world_trace("life %u: goes on", life->number);
    sched_thaw(life->process);
}

static void freeze(struct life *life)
{
    world_trace("life %u: stands still", life->number);
    world.report->freezes++;
    sched_freeze(life->process);
    sched_at(sched_now_us() + (int64_t)below(chance_percent(30) ? 8 * SECOND_US : SECOND_US), life->process, thaw, life);
}

static void cut_power(void)
{
    struct life *lives[LIVES_MAX];
    world_trace("power cut");
    world.report->power_cuts++;
    for (uint32_t i = 0, count = alive(lives); i < count; i++) kill_life(lives[i], "power cut");
    disk_model_cut_power(world.disk);
}

static void compact(void)
{
    char topic[128];
    const struct model_place ledger = { topic, 0 };
    (void)snprintf(topic, sizeof topic, "%s-ledger", world.test->name);
    if (model_compact(cluster_model(), &ledger) == MODEL_OK) world.report->compactions++;
}

/* ---- Events ------------------------------------------------------------------------------------------------------- */

static void event(void)
{
    struct life *lives[LIVES_MAX];
    const uint32_t count = alive(lives);
    struct life *life = count > 0 ? lives[below(count)] : NULL;
    if (count == 0 && chance_percent(60)) {
        start_life();
        return;
    }
    if (world.storm == 0 && !chance_percent(20)) return;
    switch (below(14)) {
    case 0: case 1: case 2: if (life != NULL) kill_life(life, "SIGKILL"); break;
    case 3: if (life != NULL) freeze(life); break;
    case 4: if (count < 4) start(oracle_progress() > 0 && chance_percent(25)); break;
    case 5: if (chance_percent(50)) cut_power(); break;
    case 6:
        world.report->broker_outages++;
        cluster_set_down(true);
        world_trace("the broker is gone");
        sched_at(sched_now_us() + (int64_t)below(2 * SECOND_US), NULL, broker_up, NULL);
        break;
    case 7:
        world.report->coordinator_moves++;
        model_coordinators_away(cluster_model(), chance_percent(50) ? MODEL_NOT_COORDINATOR : MODEL_COORDINATOR_LOADING);
        sched_at(sched_now_us() + (int64_t)below(SECOND_US), NULL, coordinators_back, NULL);
        break;
    case 8: if (!world.disk_is_bad && chance_percent(50)) disk_bad(); break;
    case 9: world.disk_delay_us = (int64_t)below(20000); break;
    case 10: if (life != NULL && chance_percent(50)) { world.report->stops++; life->stop = true; } break;
    case 11: compact(); break;
    case 12: set_weather((uint32_t)below(4)); break;
    default:
        if (!chance_percent(30)) break;
        world.report->forgotten_groups++;
        model_forget_group(cluster_model(), world.test->name);
        world_trace("the group's offsets are forgotten");
        break;
    }
}

/* ---- A run -------------------------------------------------------------------------------------------------------- */

static void add_setting(const char *key, const char *format, uint64_t number)
{
    CHECK(world.setting_count < SETTINGS_MAX);
    struct setting *setting = &world.settings[world.setting_count++];
    setting->key = key;
    (void)snprintf(setting->value, sizeof setting->value, "%s", "");
    (void)snprintf(setting->value, sizeof setting->value, format[0] == '%' ? "%" PRIu64 "%s" : "%" PRIu64 "%s", number,
                   format + (format[0] == '%'));
}

static void draw_settings(void)
{
    add_setting("execution.checkpointing.interval", "%ms", 5 + below(chance_percent(30) ? 200 : 40));
    add_setting("pipeline.max-parallelism", "%", 4 + below(12));
    add_setting("state.log.segment-size", "%kb", 64);
    add_setting("state.base.min-log-size", "%kb", 64);
    add_setting("state.recovery.max-frames", "%", 3 + below(40));
    add_setting("execution.epoch.hard-limit", "%", 64 + below(chance_percent(60) ? 300 : 100000)); /* early parts */
    add_setting("execution.checkpointing.num-retained", "%", 1 + below(3));
    add_setting("ledger.commits-kept", "%", 10 + below(20));
    add_setting("pipeline.channel.capacity", "%", 2 + below(4));
    add_setting("source.max-batch-records", "%", 1 + below(60));
    add_setting("restart-strategy.exponential-delay.initial-backoff", "%ms", 10 + below(100));
    add_setting("restart-strategy.exponential-delay.max-backoff", "%ms", 500);
    add_setting("kafka.producer.transaction.timeout.ms", "%", chance_percent(25) ? 1500 + below(3000) : 60000);
    if (chance_percent(30)) {
        struct setting *chaining = &world.settings[world.setting_count++];
        chaining->key = "pipeline.operator-chaining.enabled";
        (void)snprintf(chaining->value, sizeof chaining->value, "false");
    }
}

static void create_topics(const struct weir_test_topic topics[WEIR_TEST_TOPICS_MAX], int32_t drawn)
{
    for (uint32_t i = 0; i < WEIR_TEST_TOPICS_MAX && topics[i].name != NULL; i++) {
        const int32_t partitions = topics[i].partitions > 0 ? topics[i].partitions : drawn;
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

static void judge_all(void)
{
    for (uint32_t i = 0; i < world.life_count; i++) {
        struct life *life = &world.lives[i];
        if (!life->is_over || life->process == NULL || !sched_has_ended(life->process)) continue;
        judge(life);
        life->process = NULL;
    }
}

static void storm(void)
{
    const uint32_t steps = world.options->steps > 0 ? world.options->steps : 40 + (uint32_t)below(120);
    for (uint32_t i = 0; i < steps && !has_violation(NULL); i++) {
        if (i % 30 == 0) set_weather((uint32_t)below(4));
        for (uint64_t n = below(4); n > 0; n--) load_some();
        if (chance_percent(35)) event();
        pass_time((int64_t)below(2 * SLICE_US));
        judge_all();
    }
}

static void trace_status(const struct life *life)
{
    struct weir_job_status status = { .size = sizeof status };
    if (life->job == NULL) return;
    weir_job_status(life->job, &status);
    world_trace("life %u: %s, committed epoch %" PRIu64 ", %" PRIu64 " records in, %" PRIu64 " out in the open epoch",
          life->number, status.running ? "running" : "not running", status.epoch_committed, status.records_in,
          status.records_out_open);
}

/* The faults stop. One life goes on, and must catch up, in simulated time without end. */
static void calm(void)
{
    struct life *lives[LIVES_MAX];
    set_weather(0);
    world.has_ended_well = false;
    cluster_set_down(false);
    model_coordinators_back(cluster_model());
    disk_good(NULL);
    load_end();
    const int64_t until_us = sched_now_us() + CALM_US;
    while (sched_now_us() < until_us && !has_violation(NULL) && !world.has_ended_well) {
        const uint32_t count = alive(lives);
        if (count == 0) start_life();
        load_end();
        for (uint32_t i = 0; i < count; i++) lives[i]->stop |= count > 1 || oracle_has_caught_up();
        pass_time(SLICE_US);
        judge_all();
    }
    for (uint32_t i = 0, count = alive(lives); i < count; i++) trace_status(lives[i]);
    if (alive(lives) > 0) oracle_fail("a job does not end, though all is calm");
    oracle_check_end();
}

static void fill_report(void)
{
    struct world_report *report = world.report;
    const struct cluster_counts counts = cluster_counts();
    const struct oracle_counts seen = oracle_counts();
    report->lost_requests = counts.lost_requests;
    report->lost_answers = counts.lost_answers;
    report->delayed_requests = counts.delayed;
    report->late_requests = counts.late;
    report->aborted = seen.aborted;
    report->incarnations = seen.incarnations;
    report->epochs = seen.epochs;
    report->records = seen.records;
    report->ended_us = sched_now_us();
    report->digest = sched_digest();
    (void)snprintf(report->job, sizeof report->job, "%s", world.test->name);
    const char *violation = oracle_violation();
    (void)snprintf(report->violation, sizeof report->violation, "%s", violation == NULL ? "" : violation);
}

void world_run(const struct world_options *options, struct world_report *report)
{
    memset(&world, 0, sizeof world);
    memset(report, 0, sizeof *report);
    world.options = options;
    world.report = report;
    sched_begin(options->seed);
    cluster_begin();
    world.disk = disk_model_create(options->seed);
    CHECK(world.disk != NULL);
    const struct disk *disk = disk_model_table(world.disk);
    CHECK(disk->make_directory(disk->user, "/data") == 0 && disk->make_directory(disk->user, "/other") == 0);
    world.test = &options->jobs[below(options->job_count)];
    world_trace("job '%s'", world.test->name);
    oracle_begin(cluster_model(), world.test);
    draw_settings();
    create_topics(world.test->inputs, 1 + (int32_t)below(4));
    create_topics(world.test->outputs, 1 + (int32_t)below(3));
    load_begin(world.test);
    start_life();
    storm();
    calm();
    fill_report();
    sched_end();
    oracle_end();
    disk_model_destroy(world.disk);
    cluster_end();
}
