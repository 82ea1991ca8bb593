#include "sim/lives.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/base.h"
#include "base/crash.h"
#include "checkpoint/restart.h"
#include "runtime/job.h"
#include "sim/cluster.h"
#include "sim/fate.h"
#include "sim/mishaps.h"
#include "sim/oracle.h"
#include "sim/savepoints.h"
#include "sim/tale.h"
#include "sim/timed_disk.h"
#include "sim/weather.h"
#include "sim/world.h"

enum { ALIVE_MAX = 4, SETTINGS_MAX = 24, SECOND_US = 1000000 };

struct setting {
    const char *key;
    char value[24];
};

static struct {
    const struct weir_test_job *tests[ORACLE_JOBS];
    struct life items[LIVES_MAX];
    uint32_t count;
    struct setting settings[SETTINGS_MAX];
    size_t setting_count;
    int64_t transaction_timeout_ms;
    struct lives_moments moments;
    uint32_t parallelism_max, bounded_percent, on_disk_percent;
    bool one_at_a_time, drop;
    uint32_t retained;
    bool have_ended_well[ORACLE_JOBS];
    bool is_elsewhere;   /* checkpoints are in the other directory by now */
    char savepoint[256]; /* that the history began with; "" = none */
    char copied[256];    /* the savepoint that the second copy begins with */
} lives;

/* ---- What starts are configured with ----------------------------------------------------------------------------- */

/* A number with its unit, "" when it has none. */
static void add_setting(const char *key, uint64_t number, const char *unit)
{
    CHECK(lives.setting_count < SETTINGS_MAX);
    struct setting *setting = &lives.settings[lives.setting_count++];
    setting->key = key;
    (void)snprintf(setting->value, sizeof setting->value, "%" PRIu64 "%s", number, unit);
}

static void add_choice(const char *key, const char *value)
{
    CHECK(lives.setting_count < SETTINGS_MAX);
    struct setting *setting = &lives.settings[lives.setting_count++];
    setting->key = key;
    (void)snprintf(setting->value, sizeof setting->value, "%s", value);
}

static void on_acted(const struct request *request, bool is_late);

void lives_begin(const struct weir_test_job *test, uint32_t parallelism_max, bool with_bounded,
                 bool one_at_a_time)
{
    memset(&lives, 0, sizeof lives);
    lives.tests[ORACLE_JOB] = test;
    lives.parallelism_max = parallelism_max;
    lives.one_at_a_time = one_at_a_time;
    lives.bounded_percent = with_bounded && fate_percent(30) ? 10 + (uint32_t)fate_below(50) : 0;
    lives.on_disk_percent = fate_percent(50) ? 0 : 20 + (uint32_t)fate_below(80);
    add_setting("state.backend.memory", 4096 + fate_below(fate_percent(60) ? 4096 : 100000), "");
    add_setting("execution.checkpointing.interval", 5 + fate_below(fate_percent(30) ? 200 : 40), "ms");
    add_setting("pipeline.max-parallelism", 4 + fate_below(12), "");
    add_setting("state.log.segment-size", 64, "kb");
    add_setting("state.base.min-log-size", 64, "kb");
    add_setting("state.recovery.max-frames", 1 + fate_below(fate_percent(50) ? 4 : 40), "");
    if (fate_percent(30)) add_choice("execution.checkpointing.incremental", "false");
    add_setting("execution.epoch.hard-limit", 64 + fate_below(fate_percent(60) ? 300 : 100000), ""); /* early parts */
    lives.retained = 1 + (uint32_t)fate_below(3);
    add_setting("execution.checkpointing.num-retained", lives.retained, "");
    add_setting("ledger.commits-kept", 10 + fate_below(20), "");
    add_setting("pipeline.channel.capacity", 2 + fate_below(4), "");
    add_setting("source.discovery.interval", 20 + fate_below(fate_percent(50) ? 200 : 3000), "ms");
    add_setting("source.max-batch-records", 1024 - fate_below(60), "");
    add_setting("restart-strategy.exponential-delay.initial-backoff", 10 + fate_below(100), "ms");
    add_setting("restart-strategy.exponential-delay.max-backoff", 500, "ms");
    lives.transaction_timeout_ms = fate_percent(50) || tale_is(TALE_REPETITION) ? 500 + (int64_t)fate_below(3000) : 60000;
    add_setting("kafka.producer.transaction.timeout.ms", (uint64_t)lives.transaction_timeout_ms, "");
    if (fate_percent(30)) add_choice("pipeline.operator-chaining.enabled", "false");
    add_setting("execution.buffer-timeout", fate_percent(50) ? 0 : fate_below(20), "ms");
    add_setting("execution.checkpointing.aligned-checkpoint-timeout", fate_percent(50) ? 0 : fate_below(20), "ms");
    lives.drop = !one_at_a_time && with_bounded && fate_percent(20) && !tale_is(TALE_ORIGIN);
    cluster_on_acted(on_acted);
}

/* ---- One life ---------------------------------------------------------------------------------------------------- */

static void bury(struct life *life)
{
    if (life->job != NULL) {
        (void)close(weir_job_descriptor(life->job));
        life->job = NULL;
    }
    disk_model_close_owner(timed_disk_model(), life->number + 1);
}

void lives_kill(struct life *life)
{
    world_seen()->kills++;
    life->is_over = true;
    bury(life);
    sched_kill(life->process);
}

static void thaw(void *argument)
{
    struct life *life = argument;
    if (life->is_over) return;
    world_trace("life %u: goes on", life->number);
    sched_thaw(life->process);
}

void lives_freeze(struct life *life, int64_t us)
{
    world_seen()->freezes++;
    sched_at(sched_now_us() + us, life->process, thaw, life);
    sched_freeze(life->process);
}

/* Long enough for the brokers to end its transaction, or nearly. */
static int64_t draw_freeze_us(void)
{
    const int64_t timeout_us = lives.transaction_timeout_ms * 1000;
    return timeout_us < 5 * SECOND_US ? timeout_us / 2 + (int64_t)sched_random_below((uint64_t)timeout_us)
                                      : (int64_t)sched_random_below(8 * SECOND_US);
}

static void start_another(void *unused)
{
    (void)unused;
    lives_start(false);
}

/* Something may befall a life now that it has got to `where`. Being frozen while another start takes over is what finds a
 * life that goes on without looking. */
static void pass_moment(struct life *life, const char *where, uint32_t chance)
{
    static const char *const fates[] = { "killed", "frozen", "joined by another start",
                                         "frozen, and joined by another start, which has good weather" };
    if (!sched_chance(chance)) return;
    const uint64_t drawn = sched_random_below(sizeof fates / sizeof fates[0]);
    if (!fate_strikes(FATE_moments, "life %u: %s at %s", life->number, fates[drawn], where)) return;
    world_seen()->moments++;
    if (drawn >= 2) sched_at(sched_now_us(), NULL, start_another, NULL);
    if (drawn % 2 == 1) lives_freeze(life, draw_freeze_us());
    if (drawn == 3) weather_rest();
    if (drawn == 0) lives_kill(life);
}

/* In place of lib/base/crash.c. */
void crash_point_pass(enum crash_point point);
void crash_point_pass(enum crash_point point)
{
    static const char *const names[CRASH_POINT_ALL] = {
#define CRASH_NAME(name) [CRASH_##name] = #name,
        CRASH_POINTS(CRASH_NAME)
        CRASH_POINTS_ASKED(CRASH_NAME)
#undef CRASH_NAME
    };
    struct life *life = sched_machine();
    world_seen()->early_parts += point == CRASH_part_durable;
    if (life != NULL) pass_moment(life, names[point], lives.moments.points);
}

/* Requests that take ids over end the transactions of others, of the same job; those of an attempt that was given up, also
 * those of their own process. */
static void note_takeover(const struct request *request, bool is_late)
{
    uint32_t whose = ORACLE_JOBS;
    const bool is_given_up = is_late || (request->is_given_up != NULL && *request->is_given_up);
    for (uint32_t i = 0; i < lives.count; i++)
        if (lives.items[i].process == request->process) whose = lives.items[i].whose;
    for (uint32_t i = 0; i < lives.count; i++) {
        struct life *life = &lives.items[i];
        if (life->whose == whose && !life->is_over && (is_given_up || life->process != request->process))
            life->was_taken_over = true;
    }
}

struct life *lives_of(const struct sched_process *process)
{
    for (uint32_t i = 0; i < lives.count; i++)
        if (lives.items[i].process == process && !lives.items[i].is_over) return &lives.items[i];
    return NULL;
}

/* Who was overtaken by a newer start may take an id once more, but begins nothing with it: nobody would end that before the
 * brokers do (tests/spin, R5_BETWEEN). */
static void check_beginning(const struct life *life, const struct request *request)
{
    const bool begins = request->kind == REQUEST_ADD_PARTITIONS || request->kind == REQUEST_ADD_OFFSETS;
    if (!begins || request->error != MODEL_OK || life->job == NULL) return;
    const uint32_t before = oracle_select(life->whose);
    const uint64_t own = life->job->commit.incarnation, newest = oracle_announced();
    if (own < newest && own > 0)
        oracle_fail("life %u, incarnation %" PRIu64 ", begins a transaction, though %" PRIu64 " has announced itself",
                    life->number, own, newest);
    (void)oracle_select(before);
}

/* A record of a transaction that is open has just been written. */
static void lose_transaction(struct life *life)
{
    const int64_t timeout_us = lives.transaction_timeout_ms * 1000;
    life->loses_transaction = false;
    lives_freeze(life, timeout_us + 50000 + (int64_t)sched_random_below((uint64_t)timeout_us / 4));
}

bool lives_is_for_ledger(const struct request *request)
{
    char ledger[128];
    (void)snprintf(ledger, sizeof ledger, "%s-ledger", lives.tests[ORACLE_JOB]->name);
    return request->topic != NULL && strcmp(request->topic, ledger) == 0;
}

static bool is_older(struct weir_frame_name a, struct weir_frame_name b) { return restart_compare(&a, &b) < 0; }

/* At least once nobody is fenced, and the last record of the ledger may be of a life that is over: the next one goes on
 * where the newest frame is. */
static void check_beginning_at_least_once(const struct life *life)
{
    if (!lives.one_at_a_time || life->whose != ORACLE_JOB || !is_older(oracle_last_named(), life->newest)) return;
    const struct weir_frame_name last = oracle_last_named();
    oracle_fail("life %u goes on from checkpoint %" PRIu64 ".%" PRIu64 ", but %" PRIu64 ".%" PRIu64
                " was there when it was started",
                life->number, last.incarnation, last.epoch, life->newest.incarnation, life->newest.epoch);
}

/* So it stays the last one of the ledger, until somebody starts. */
static void pass_late_record(void)
{
    struct life *alive[LIVES_MAX];
    if (!is_older(oracle_last_named(), oracle_newest_named())) return;
    world_seen()->latecomers++;
    if (!sched_chance(lives.moments.late_records)) return;
    for (uint32_t i = 0, count = lives_alive_of(ORACLE_JOB, alive); i < count; i++) {
        if (fate_strikes(FATE_moments, "life %u: killed behind a record that came late", alive[i]->number))
            lives_kill(alive[i]);
    }
}

/* A request has acted, and its sender does not know it yet. */
static void on_acted(const struct request *request, bool is_late)
{
    struct life *life = is_late ? NULL : lives_of(request->process);
    if (request->kind == REQUEST_INIT) note_takeover(request, is_late);
    if (request->kind == REQUEST_PRODUCE) oracle_watch();
    if (lives_is_for_ledger(request) && is_late) pass_late_record();
    if (lives_is_for_ledger(request) && life != NULL && request->error == MODEL_OK) check_beginning_at_least_once(life);
    if (life != NULL) check_beginning(life, request);
    if (life != NULL && life->loses_transaction && request->kind == REQUEST_PRODUCE) lose_transaction(life);
    if (life != NULL) pass_moment(life, request_kind_name(request->kind), lives.moments.requests[request->kind]);
}

static void take_log(void *user, const struct weir_log_line *line)
{
    world_trace("life %u: %s", ((const struct life *)user)->number, line->text);
}

static void set(weir_config *config, enum weir_config_rank rank, const char *key, const char *value)
{
    struct weir_error error;
    if (weir_config_set(config, rank, key, value, "sim", &error) != WEIR_OK)
        oracle_fail("configuration: %s", error.text);
}

static const char *const directories[] = { "/data", "/other" };

const char *lives_directory(void) { return directories[lives.is_elsewhere]; }
static const char *other_directory(void) { return directories[!lives.is_elsewhere]; }
void lives_change_directory(void) { lives.is_elsewhere = !lives.is_elsewhere; }

void lives_keep_savepoint(const char *path)
{
    /* Where histories are dropped, a start that names it is one that begins with it again, whenever that happens. */
    (void)snprintf(lives.savepoint, sizeof lives.savepoint, "%s", path == NULL || lives.drop ? "" : path);
}

const char *lives_savepoint(void) { return lives.savepoint; }
uint32_t lives_retained(void) { return lives.retained; }
bool lives_drop(void) { return lives.drop; }

/* What is drawn gives way to what the author wants, but for where the checkpoints are. */
static void configure(const struct life *life)
{
    char number[16];
    weir_config *config = life->config;
    for (size_t i = 0; i < lives.setting_count; i++)
        set(config, WEIR_CONFIG_CODE, lives.settings[i].key, lives.settings[i].value);
    (void)snprintf(number, sizeof number, "%u", life->parallelism);
    set(config, WEIR_CONFIG_CODE, "parallelism.default", number);
    (void)snprintf(number, sizeof number, "%u", life->ring_size);
    set(config, WEIR_CONFIG_CODE, "sink.ring-size", number);
    set(config, WEIR_CONFIG_CODE, "state.backend.type", life->is_on_disk ? "rocksdb" : "hashmap");
    const struct weir_test_job *test = lives.tests[life->whose];
    for (const struct weir_option *option = test->options; option != NULL && option->name != NULL; option++)
        weir_config_declare(config, option->name, option->default_value);
    for (const char *const *setting = test->settings; setting != NULL && *setting != NULL; setting++) {
        char key[128];
        const size_t size = strcspn(*setting, "=");
        (void)snprintf(key, sizeof key, "%.*s", (int)size, *setting);
        set(config, WEIR_CONFIG_COMMAND_LINE, key, *setting + size + 1);
    }
    set(config, WEIR_CONFIG_COMMAND_LINE, "execution.checkpointing.dir",
        life->is_foreign ? other_directory() : life->whose == ORACLE_JOB ? lives_directory() : directories[0]);
    if (life->ends != NULL) set(config, WEIR_CONFIG_COMMAND_LINE, "start.bounded", "true");
    if (lives.drop && !life->is_foreign && life->whose == ORACLE_JOB)
        set(config, WEIR_CONFIG_COMMAND_LINE, "execution.checkpointing.externalized-checkpoint-retention",
            "DELETE_ON_CANCELLATION");
    for (size_t i = 0; life->choice.keys[i] != NULL; i++)
        set(config, WEIR_CONFIG_COMMAND_LINE, life->choice.keys[i], life->choice.values[i]);
}

static bool create_job(struct life *life)
{
    weir_graph *graph = weir_graph_create();
    life->config = weir_config_create();
    CHECK(graph != NULL && life->config != NULL);
    configure(life);
    const struct weir_test_job *test = lives.tests[life->whose];
    test->define(graph, life->config);
    const struct weir_job_options options = { .size = sizeof options, .name = test->name, .log = take_log,
                                              .log_user = life };
    if (weir_job_create(graph, life->config, &options, &life->job, &life->outcome) == WEIR_OK) return true;
    oracle_fail("the job cannot be made: %s", life->outcome.text);
    return false;
}

/* ---- What a life is told ----------------------------------------------------------------------------------------- */

/* What was done about it. */
struct obedience {
    bool stopped, cancelled, restarts;
    uint32_t parallelism_before; /* of what restarts */
    uint64_t epochs_before; /* when it was told to stop */
    uint64_t savepoints;    /* that have ended */
};

static void take_savepoint(struct life *life)
{
    struct weir_error error;
    const bool stops = life->orders.savepoint_stops;
    life->orders.savepoint = false;
    if (weir_job_savepoint(life->job, SAVEPOINTS_DIRECTORY, stops, &error) != WEIR_OK) {
        world_trace("life %u: %s", life->number, error.text);
        return;
    }
    life->may_end |= stops;
    world_seen()->savepoint_stops += stops;
}

/* A savepoint comes to nothing with its job, or because of the disk; and who was taken over finds files gone. */
static void look_at_savepoint(const struct life *life, struct obedience *done)
{
    struct weir_savepoint_status status = { .size = sizeof status };
    weir_job_savepoint_status(life->job, &status);
    if (status.number == done->savepoints) return;
    if (status.state == WEIR_SAVEPOINT_DONE) {
        savepoints_note(status.path);
    } else if (status.state == WEIR_SAVEPOINT_FAILED) {
        world_seen()->savepoints_failed++;
        world_trace("life %u: no savepoint: %s", life->number, status.error.text);
        if (status.error.code != WEIR_FAILED && !life->met_bad_disk && !life->was_taken_over && !mishaps_may_show())
            oracle_fail("there was no reason for a savepoint to fail: %s", status.error.text);
    } else {
        return;
    }
    done->savepoints = status.number;
}

/* As lib/main does it: a job that does not run is not stopped for that. */
static void rescale(struct life *life, struct obedience *done)
{
    if (life->stop || life->may_end || done->stopped || !lives_is_running(life)) return;
    done->parallelism_before = life->parallelism;
    life->parallelism = life->orders.parallelism;
    world_seen()->rescales++;
    done->restarts = done->stopped = true;
    weir_job_stop(life->job);
}

static void obey(struct life *life, struct obedience *done)
{
    if (life->orders.checkpoint) life->ticket = weir_job_checkpoint(life->job);
    if (life->orders.savepoint) take_savepoint(life);
    if (life->orders.parallelism > 0) rescale(life, done);
    life->orders = (struct life_orders){ .checkpoint = false };
    look_at_savepoint(life, done);
    if (life->is_cancelled && !done->cancelled) {
        done->cancelled = true;
        weir_job_cancel(life->job);
    }
    if (life->stop && (!done->stopped || done->restarts)) {
        struct weir_job_status status = { .size = sizeof status };
        weir_job_status(life->job, &status);
        done->epochs_before = status.epochs;
        if (!done->stopped) weir_job_stop(life->job);
        done->stopped = true;
        done->restarts = false;
    }
}

/* Also when its last checkpoint has failed: then as it was. */
static bool starts_again(struct life *life, const struct obedience *done)
{
    if (life->outcome.code == WEIR_OK) return true;
    if (life->outcome.remedy == WEIR_REMEDY_STOP) return false;
    life->parallelism = done->parallelism_before;
    world_seen()->rescales_failed++;
    return true;
}

/* One job of the program, until it ends. Answers whether another one follows in the same process (weir rescale). */
static bool live_once(struct life *life)
{
    struct weir_job_status status = { .size = sizeof status };
    struct obedience done = { 0 };
    if (!create_job(life)) return false;
    CHECK(weir_job_start(life->job, &life->outcome) == WEIR_OK);
    while (!weir_job_wait(life->job, 0, &life->outcome)) {
        obey(life, &done);
        sched_pause(3000);
    }
    look_at_savepoint(life, &done);
    weir_job_status(life->job, &status);
    life->has_finished = life->stop && done.stopped ? status.epochs > done.epochs_before : life->ends != NULL;
    life->restarts += status.restarts;
    weir_job *job = life->job;
    life->job = NULL;
    weir_job_destroy(job);
    weir_config_destroy(life->config);
    life->config = NULL;
    return done.restarts && !life->is_cancelled && starts_again(life, &done);
}

/* The program's main thread. The history that --fresh has begun is the one that goes on. */
static void live(void *argument)
{
    struct life *life = argument;
    while (live_once(life)) {
        world_trace("life %u: goes on with parallelism %u", life->number, life->parallelism);
        life->choice = (struct mishap_choice){ .founds = false };
        life->ticket = 0;
    }
    life->is_over = true;
    world_trace("life %u: ends with %s: %s", life->number, weir_code_name(life->outcome.code), life->outcome.text);
}

uint32_t lives_count(void) { return lives.count; }

uint32_t lives_alive(struct life *alive[LIVES_MAX])
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < lives.count; i++)
        if (!lives.items[i].is_over) alive[count++] = &lives.items[i];
    return count;
}

uint32_t lives_alive_of(uint32_t whose, struct life *alive[LIVES_MAX])
{
    uint32_t count = 0, all = lives_alive(alive);
    for (uint32_t i = 0; i < all; i++)
        if (alive[i]->whose == whose) alive[count++] = alive[i];
    return count;
}

/* Who is being stopped does not begin anew after a failure. */
static bool is_allowed(const struct life *life)
{
    if (life->is_foreign) return life->outcome.code == WEIR_FOREIGN || life->stop || life->is_cancelled || life->met_bad_disk;
    if ((life->stop || life->may_end) && life->outcome.remedy != WEIR_REMEDY_STOP) return true;
    switch (life->outcome.code) {
    case WEIR_OK:
        return life->stop || life->is_cancelled || life->may_end ||
               (life->ends != NULL && oracle_has_reached(life->ends));
    case WEIR_FENCED: return life->was_taken_over;
    case WEIR_ENVIRONMENT: return life->met_bad_disk;
    case WEIR_FOREIGN: return life->is_foreign;
    default: return false;
    }
}

static void judge(struct life *life)
{
    if (sched_was_killed(life->process)) return;
    struct life *others[LIVES_MAX];
    const uint32_t before = oracle_select(life->whose);
    lives.have_ended_well[life->whose] = life->outcome.code == WEIR_OK && life->has_finished &&
                                         lives_alive_of(life->whose, others) == 0 && oracle_has_caught_up();
    if (life->outcome.code == WEIR_FENCED) world_seen()->fenced++;
    world_seen()->restarts_inside += life->restarts;
    if (!is_allowed(life) && (life->whose != ORACLE_JOB || !mishaps_explain(life)))
        oracle_fail("life %u ended with %s, for which there was no reason: %s", life->number,
                    weir_code_name(life->outcome.code), life->outcome.text);
    disk_model_close_owner(timed_disk_model(), life->number + 1);
    (void)oracle_select(before);
}

/* The next one, as it is drawn. */
static struct life *add_life(void)
{
    const uint32_t parallelism = 1 + (uint32_t)fate_below(3), most = lives.parallelism_max;
    struct life *life = &lives.items[lives.count];
    *life = (struct life){ .number = lives.count++, .parallelism = most > 0 && most < parallelism ? most : parallelism,
                           .ring_size = 2 + (uint32_t)fate_below(fate_percent(30) ? 3 : 1),
                           .is_on_disk = fate_percent(lives.on_disk_percent), .met_bad_disk = weather_disk_is_bad() };
    return life;
}

static void spawn(struct life *life)
{
    char name[24];
    (void)snprintf(name, sizeof name, "life %u", life->number);
    life->process = sched_spawn(name, life, live, life);
}

/* State that the disk has failed to hold is missed only where it is read again: behind a cache. */
static void tell_of_founding(struct life *life)
{
    if (!tale_is(TALE_FLICKER)) return;
    life->is_on_disk = true;
    weather_flicker();
}

void lives_follow(const struct weir_test_job *follower) { lives.tests[ORACLE_FOLLOWER] = follower; }

void lives_copy(const struct weir_test_job *copy, const char *savepoint)
{
    lives.tests[ORACLE_COPY] = copy;
    (void)snprintf(lives.copied, sizeof lives.copied, "%s", savepoint);
}

const char *lives_output(const char *topic, char name[80])
{
    const struct life *life = sched_machine();
    const bool is_copy = life != NULL && life->whose == ORACLE_COPY;
    (void)snprintf(name, 80, "%s%s", is_copy ? "second-" : "", topic);
    return name;
}

void lives_start_other(uint32_t whose)
{
    struct life *others[LIVES_MAX];
    if (lives.count == LIVES_MAX || lives_alive_of(whose, others) > 0) return;
    struct life *life = add_life();
    life->whose = whose;
    if (whose == ORACLE_COPY)
        life->choice = (struct mishap_choice){ .keys = { "execution.savepoint.path" }, .values = { lives.copied } };
    if (whose == ORACLE_COPY) tell_of_founding(life);
    if (whose == ORACLE_COPY) world_seen()->copy_starts++;
    else world_seen()->follower_starts++;
    world_trace("life %u: starts, of the job that %s, parallelism %u", life->number,
                whose == ORACLE_COPY ? "is a copy" : "follows", life->parallelism);
    spawn(life);
}

void lives_start(bool is_foreign)
{
    struct life *others[LIVES_MAX];
    const uint32_t other_count = lives_alive_of(ORACLE_JOB, others);
    const struct mishap_choice *choice = mishaps_choice();
    if (lives.count == LIVES_MAX) oracle_fail("%d lives are not enough", LIVES_MAX);
    if (lives.count == LIVES_MAX || other_count == ALIVE_MAX) return;
    if ((mishaps_are_pending() || lives.one_at_a_time) && (other_count > 0 || is_foreign)) return;
    struct life *life = add_life();
    life->is_foreign = is_foreign;
    life->newest = oracle_newest_named();
    if (choice != NULL) life->choice = *choice;
    if (choice != NULL && choice->founds) oracle_allow_founding(&choice->origin);
    if (choice == NULL && !is_foreign && lives.savepoint[0] != '\0' && mishaps_leave_the_savepoint() && fate_percent(50)) {
        world_seen()->named_again++;
        life->choice = (struct mishap_choice){ .keys = { "execution.savepoint.path" }, .values = { lives.savepoint } };
    }
    if (life->choice.founds) tell_of_founding(life);
    if (fate_percent(lives.bounded_percent) && !is_foreign) life->ends = oracle_ends();
    world_seen()->bounded_starts += life->ends != NULL;
    if (is_foreign) world_seen()->foreign_starts++;
    else world_seen()->starts++;
    if (other_count > 0 && !is_foreign) world_seen()->second_starts++;
    world_trace("life %u: starts%s%s%s, parallelism %u, ring of %u%s%s", life->number,
                is_foreign ? " with another store" : "", life->ends != NULL ? ", bounded" : "",
                life->is_on_disk ? ", state on disk" : "", life->parallelism,
                life->ring_size, life->choice.keys[0] != NULL ? ", " : "",
                life->choice.keys[0] != NULL ? life->choice.keys[0] : "");
    spawn(life);
}

void lives_end(void)
{
    for (uint32_t i = 0; i < lives.count; i++) free(lives.items[i].ends);
    lives.count = 0;
}

void lives_judge(void)
{
    for (uint32_t i = 0; i < lives.count; i++) {
        struct life *life = &lives.items[i];
        if (!life->is_over || life->is_judged) continue;
        judge(life);
        life->is_judged = true;
    }
}

bool lives_is_running(const struct life *life)
{
    struct weir_job_status status = { .size = sizeof status };
    if (life->job != NULL) weir_job_status(life->job, &status);
    return status.running;
}

bool lives_has_answered(const struct life *life)
{
    struct weir_job_status status = { .size = sizeof status };
    if (life->job == NULL || life->ticket == 0) return false;
    weir_job_status(life->job, &status);
    return status.checkpoints_done >= life->ticket;
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

void lives_trace(void)
{
    struct life *alive[LIVES_MAX];
    for (uint32_t i = 0, count = lives_alive(alive); i < count; i++) trace_status(alive[i]);
}

void lives_set_moments(const struct lives_moments *moments) { lives.moments = *moments; }
bool lives_have_ended_well(uint32_t whose) { return lives.have_ended_well[whose]; }
void lives_forget_the_end(uint32_t whose) { lives.have_ended_well[whose] = false; }
