#include "sim/weather.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/base.h"
#include "sim/cluster.h"
#include "sim/fate.h"
#include "sim/lives.h"
#include "sim/mishaps.h"
#include "sim/oracle.h"
#include "sim/savepoints.h"
#include "sim/tale.h"
#include "sim/timed_disk.h"
#include "sim/world.h"

enum { SECOND_US = 1000000, REQUEST_TIMEOUT_US = 1000000 /* kafka_decider.c */, PARTITIONS_MAX = 8,
       FLICKERS = 10, FLICKER_US = 100000 };

static struct {
    const struct weir_test_job *test;
    uint32_t storm; /* 0 = quiet, to 3 */
    bool disk_is_bad, with_mishaps, is_loose, is_followed, is_to_be_copied, is_copied;
    int64_t spell_until_us; /* the network stays as it is until then */
    enum spell_company { ALONE, WITH_STARTS, WITH_ALL } spell_company; /* what else happens meanwhile */
    struct cluster_weather spell_network;
    bool spell_kills_senders;
} weather;

static void on_held(const struct request *request, int64_t us);

void weather_begin(const struct weir_test_job *test, bool with_mishaps, bool is_loose, bool is_followed, bool is_copied)
{
    memset(&weather, 0, sizeof weather);
    weather.test = test;
    weather.with_mishaps = with_mishaps && !is_loose;
    weather.is_loose = is_loose;
    weather.is_followed = is_followed;
    weather.is_to_be_copied = is_copied;
    cluster_on_held(on_held);
}

void weather_copied(void)
{
    weather.is_to_be_copied = false;
    weather.is_copied = true;
}

bool weather_disk_is_bad(void) { return weather.disk_is_bad; }

/* ---- The network ------------------------------------------------------------------------------------------------- */

static uint32_t up_to(uint32_t limit) { return (uint32_t)fate_below(limit); }

/* One kind of request is lost or held up most of all. For a moment, so that those of two starts cross; or a little longer
 * than anybody waits for an answer: then it acts behind the one that was sent in its place, on whatever is there by then. */
static const char *aim(struct cluster_weather *network, struct lives_moments *moments)
{
    const enum request_kind kind = (enum request_kind)fate_below(REQUEST_KIND_COUNT);
    struct cluster_faults *faults = &network->faults[kind];
    faults->lose_answer = up_to(100000);
    faults->delay = up_to(300000);
    faults->delay_least_us = fate_percent(60) ? REQUEST_TIMEOUT_US : 0;
    faults->delay_us = 1000 + (int64_t)fate_below(SECOND_US / 2);
    if (kind != REQUEST_OTHER && fate_percent(50)) moments->requests[kind] = up_to(200000);
    return request_kind_name(kind);
}

static const struct cluster_weather quiet = { .latency_us = 300 };
static const struct lives_moments no_moments;

static void set_network(const struct cluster_weather *network, const struct lives_moments *moments)
{
    lives_set_moments(moments);
    cluster_set_weather(network);
}

static bool is_in_spell(void) { return sched_now_us() < weather.spell_until_us; }

void weather_rest(void) { set_network(&quiet, &no_moments); }

/* ---- Spells: one thing goes wrong, for so long that its consequences have time to come ----------------------------- */

static void spell_ends(void *unused)
{
    (void)unused;
    if (!is_in_spell()) weather_rest();
}

static void begin_spell(const struct cluster_weather *network, const struct lives_moments *moments, int64_t us,
                        enum spell_company company)
{
    struct life *lives[LIVES_MAX];
    set_network(network, moments);
    weather.spell_network = *network;
    weather.spell_kills_senders = moments->late_records > 0;
    weather.spell_until_us = sched_now_us() + us;
    weather.spell_company = company;
    sched_at(weather.spell_until_us, NULL, spell_ends, NULL);
    if (lives_alive_of(ORACLE_JOB, lives) == 0) lives_start(false);
}

/* EndTxn comes later than anybody waits for an answer to it, and all else is well: so a life lasts until one that was
 * repeated meets a later transaction of its id (R5). */
static void commits_come_late(void)
{
    struct cluster_weather network = quiet;
    network.faults[REQUEST_END] = (struct cluster_faults){
        .delay = 300000 + up_to(200000), .delay_least_us = REQUEST_TIMEOUT_US, .delay_us = (int64_t)fate_below(2 * SECOND_US),
    };
    if (!fate_strikes(FATE_storms, "EndTxn alone, and late")) return;
    world_seen()->late_spells++;
    begin_spell(&network, &no_moments, 4 * SECOND_US, ALONE);
}

/* Who made a handle anew because it was not answered finds that others have started meanwhile, or does not (R5, R9). */
static void handles_come_late(void)
{
    struct cluster_weather network = quiet;
    network.faults[REQUEST_END].lose_answer = 300000 + up_to(300000);
    network.faults[REQUEST_INIT] = (struct cluster_faults){
        .delay = 300000 + up_to(300000), .delay_least_us = 50000, .delay_us = (int64_t)fate_below(SECOND_US / 2),
    };
    if (!fate_strikes(FATE_storms, "EndTxn is not answered, InitProducerId late")) return;
    world_seen()->renewal_spells++;
    begin_spell(&network, &no_moments, 6 * SECOND_US, WITH_STARTS);
}

/* At least once the group is told outside of any transaction: it may stand far behind the ledger. */
static void group_hears_nothing(void)
{
    struct cluster_weather network = quiet;
    network.faults[REQUEST_OFFSETS].lose_request = 1000000;
    if (!fate_strikes(FATE_storms, "the group hears nothing")) return;
    world_seen()->deaf_spells++;
    begin_spell(&network, &no_moments, 6 * SECOND_US, WITH_ALL);
}

/* At least once nobody is fenced: what a life has sent to the ledger may come when others have gone on for long. The group
 * would know better, if it is told. */
static void records_come_late(void)
{
    struct cluster_weather network = quiet;
    const struct lives_moments moments = { .late_records = 800000 };
    network.faults[REQUEST_PRODUCE] = (struct cluster_faults){
        .delay = 20000 + up_to(40000), .delay_least_us = REQUEST_TIMEOUT_US, .delay_us = (int64_t)fate_below(3 * SECOND_US),
    };
    if (fate_percent(60)) network.faults[REQUEST_OFFSETS].lose_request = 1000000;
    if (!fate_strikes(FATE_storms, "Produce alone, and late")) return;
    world_seen()->record_spells++;
    begin_spell(&network, &moments, 6 * SECOND_US, WITH_ALL);
}

static void spell_begins(struct life *unused)
{
    (void)unused;
    if (is_in_spell()) return;
    if (weather.is_loose && fate_percent(40)) group_hears_nothing();
    else if (weather.is_loose) records_come_late();
    else if (fate_percent(40)) commits_come_late();
    else handles_come_late();
}

void weather_set(uint32_t storm)
{
    if (is_in_spell()) return;
    if (weather.is_loose && fate_percent(30)) {
        spell_begins(NULL);
        return;
    }
    const uint32_t density = 1u << (storm * 2); /* 4, 16, 64 */
    struct cluster_weather network = { .latency_us = 100 + (int64_t)fate_below(600) };
    const struct cluster_faults faults = {
        .lose_request = up_to(density * 400), .lose_answer = up_to(density * 400), .delay = up_to(density * 800),
        .delay_us = 1000 + (int64_t)fate_below(3 * SECOND_US),
    };
    for (size_t i = 0; i < REQUEST_KIND_COUNT; i++) network.faults[i] = faults;
    network.slow_marker = up_to(density * 2000);
    network.slow_marker_us = 1000 + (int64_t)fate_below(SECOND_US);
    struct lives_moments moments = { .points = fate_percent(60) ? up_to(density * 300) : 0 };
    const char *aimed = fate_percent(50) ? aim(&network, &moments) : "nothing in particular";
    weather.storm = storm;
    if (storm > 0 && fate_strikes(FATE_storms, "storm %u, out for %s", storm, aimed)) set_network(&network, &moments);
    else weather_rest();
}

/* ---- The machine ------------------------------------------------------------------------------------------------- */

static void disk_good(void *unused)
{
    (void)unused;
    const struct disk_faults none = { 0 };
    disk_model_set_faults(timed_disk_model(), &none);
    weather.disk_is_bad = false;
    timed_disk_slow(0);
    world_trace("the disk is good again");
}

static void disk_fails(const struct disk_faults *faults, int64_t us)
{
    struct life *lives[LIVES_MAX];
    disk_model_set_faults(timed_disk_model(), faults);
    weather.disk_is_bad = true;
    for (uint32_t i = 0, count = lives_alive(lives); i < count; i++) lives[i]->met_bad_disk = true;
    sched_at(sched_now_us() + us, NULL, disk_good, NULL);
}

static void disk_fills_up(struct life *unused)
{
    (void)unused;
    const struct disk_faults faults = { .capacity_bytes = 4096 };
    if (weather.disk_is_bad || !fate_strikes(FATE_disk, "the disk is full")) return;
    world_seen()->full_disks++;
    disk_fails(&faults, (int64_t)fate_below(2 * SECOND_US));
}

static void disk_breaks(struct life *unused)
{
    (void)unused;
    const bool on_write = fate_percent(50);
    const uint32_t chance = up_to(200000);
    const struct disk_faults faults = { .write_error = on_write ? chance : 0, .sync_error = on_write ? 0 : chance };
    if (weather.disk_is_bad || !fate_strikes(FATE_disk, "the disk fails at %s", on_write ? "writing" : "syncing")) return;
    world_seen()->disk_errors++;
    disk_fails(&faults, (int64_t)fate_below(2 * SECOND_US));
}

/* Only the state's own files, whose failures nobody is told until they are asked for: a store that has failed once fails on. */
static void flicker(void *unused)
{
    (void)unused;
    if (weather.disk_is_bad || !fate_strikes(FATE_disk, "the disk fails for a moment")) return;
    world_seen()->flickers++;
    disk_fails(&(struct disk_faults){ 0 }, 300 + (int64_t)sched_random_below(2000));
}

void weather_flicker(void)
{
    for (int i = 0; i < FLICKERS; i++) sched_at(sched_now_us() + (int64_t)fate_below(FLICKER_US), NULL, flicker, NULL);
}

static void disk_slows_down(struct life *unused)
{
    (void)unused;
    const int64_t us = (int64_t)fate_below(20000);
    if (fate_strikes(FATE_disk, "the disk takes %.1f ms more", (double)us / 1000.0)) timed_disk_slow(us);
}

static void power_fails(struct life *unused)
{
    (void)unused;
    struct life *lives[LIVES_MAX];
    if (!fate_strikes(FATE_power, "power cut")) return;
    world_seen()->power_cuts++;
    for (uint32_t i = 0, count = lives_alive(lives); i < count; i++) lives_kill(lives[i]);
    disk_model_cut_power(timed_disk_model());
}

/* ---- Lives ------------------------------------------------------------------------------------------------------- */

static void life_is_killed(struct life *life)
{
    if (life != NULL && fate_strikes(FATE_kills, "life %u: killed", life->number)) lives_kill(life);
}

static void life_is_frozen(struct life *life)
{
    const int64_t us = (int64_t)fate_below(fate_percent(30) ? 8 * SECOND_US : SECOND_US);
    if (life != NULL && fate_strikes(FATE_freezes, "life %u: frozen for %.1f ms", life->number, (double)us / 1000.0))
        lives_freeze(life, us);
}

static void life_is_stopped(struct life *life)
{
    if (life == NULL || !fate_strikes(FATE_stops, "life %u: is told to stop", life->number)) return;
    world_seen()->stops++;
    life->stop = true;
}

/* ---- Orders ------------------------------------------------------------------------------------------------------ */

static void checkpoint_is_asked_for(struct life *life)
{
    if (life == NULL || !fate_strikes(FATE_orders, "life %u: is asked for a checkpoint", life->number)) return;
    world_seen()->checkpoints_asked++;
    life->orders.checkpoint = true;
}

static void savepoint_is_asked_for(struct life *life)
{
    const bool stops = fate_percent(40);
    if (life == NULL || life->is_foreign || life->whose != ORACLE_JOB ||
        !fate_strikes(FATE_orders, "life %u: is %s a savepoint", life->number, stops ? "to stop with" : "asked for"))
        return;
    life->orders.savepoint = true;
    life->orders.savepoint_stops = stops;
}

static void life_is_rescaled(struct life *life)
{
    const uint32_t parallelism = 1 + (uint32_t)fate_below(3);
    if (life == NULL || life->is_foreign ||
        !fate_strikes(FATE_orders, "life %u: is to go on with parallelism %u", life->number, parallelism))
        return;
    life->orders.parallelism = parallelism;
}

static void life_is_cancelled(struct life *life)
{
    const bool drops = lives_drop() && life != NULL && life->whose == ORACLE_JOB && !life->is_foreign;
    if (life == NULL || (drops && (mishaps_may_show() || oracle_progress() < 2)) ||
        !fate_strikes(FATE_orders, "life %u: is cancelled%s", life->number, drops ? ", and nothing is to be kept" : ""))
        return;
    world_seen()->cancels++;
    life->is_cancelled = true;
}

static void start_one(void *unused)
{
    (void)unused;
    lives_start(false);
}

static void second_start(struct life *unused)
{
    (void)unused;
    const bool is_foreign = fate_percent(25) && oracle_progress() > 0;
    if (fate_strikes(FATE_starts, "another start")) lives_start(is_foreign);
}

static void spell_goes_on(void *unused)
{
    (void)unused;
    if (is_in_spell()) cluster_set_weather(&weather.spell_network);
}

static void sender_is_killed(void *life)
{
    if (!((struct life *)life)->is_over) life_is_killed(life);
}

/* While a request is held up another one starts, and all goes well for it: it may get as far as committing. Or its sender
 * is killed, and it comes among those who follow. */
static void on_held(const struct request *request, int64_t us)
{
    const int64_t now_us = sched_now_us();
    struct life *sender = lives_of(request->process);
    if (is_in_spell() && weather.spell_kills_senders && sender != NULL && lives_is_for_ledger(request) && sched_chance(500000))
        sched_at(now_us, NULL, sender_is_killed, sender);
    if (!is_in_spell() || weather.spell_company != WITH_STARTS || !sched_chance(700000) ||
        !fate_strikes(FATE_starts, "another start, while %s is held up", request_kind_name(request->kind)))
        return;
    cluster_set_weather(&quiet);
    sched_at(now_us, NULL, start_one, NULL);
    sched_at(now_us + us, NULL, spell_goes_on, NULL);
}

/* Ids are taken over late; or who announces that it has taken them over is not answered, and caught when it is. */
static const char *aim_at_starts(struct cluster_weather *network, struct lives_moments *moments)
{
    struct cluster_faults *faults = network->faults;
    if (fate_percent(50) && !tale_is(TALE_ANNOUNCEMENT)) {
        faults[REQUEST_INIT].delay = up_to(600000);
        faults[REQUEST_INIT].delay_us = 1000 + (int64_t)fate_below(SECOND_US / 2);
        return "those who take over";
    }
    faults[REQUEST_ADD_PARTITIONS].lose_answer = up_to(600000);
    faults[REQUEST_END].lose_answer = up_to(400000);
    moments->requests[REQUEST_END] = up_to(400000);
    return "those who announce themselves";
}

/* Several at the same moment, as two operators or two machines would: who takes over first, and what do the others do? */
static void many_start(struct life *unused)
{
    (void)unused;
    const uint64_t count = 2 + fate_below(2), within_us = 1000 + fate_below(100000);
    struct cluster_weather network = { .latency_us = 100 + (int64_t)fate_below(2000) };
    struct lives_moments moments = { 0 };
    const char *aimed = aim_at_starts(&network, &moments);
    if (!fate_strikes(FATE_rushes, "%u starts at once, out for %s", (unsigned)count, aimed)) return;
    world_seen()->rushes++;
    if (!is_in_spell()) set_network(&network, &moments);
    for (uint64_t i = 0; i < count; i++)
        sched_at(sched_now_us() + (int64_t)fate_below(within_us), NULL, start_one, NULL);
}

static void start_some(void)
{
    if (weather.storm > 0 && !mishaps_are_pending() && fate_percent(25)) many_start(NULL);
    else lives_start(false);
}

/* ---- The cluster ------------------------------------------------------------------------------------------------- */

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

static void broker_dies(struct life *unused)
{
    (void)unused;
    const int64_t us = (int64_t)fate_below((fate_percent(30) ? 4 : 2) * SECOND_US);
    if (!fate_strikes(FATE_brokers, "the broker is gone for %.1f ms", (double)us / 1000.0)) return;
    world_seen()->broker_outages++;
    cluster_set_down(true);
    sched_at(sched_now_us() + us, NULL, broker_up, NULL);
}

static void coordinators_move(struct life *unused)
{
    (void)unused;
    const enum model_error answer = fate_percent(50) ? MODEL_NOT_COORDINATOR : MODEL_COORDINATOR_LOADING;
    const int64_t us = (int64_t)fate_below(SECOND_US);
    if (!fate_strikes(FATE_coordinators, "the coordinators move, for %.1f ms", (double)us / 1000.0)) return;
    world_seen()->coordinator_moves++;
    model_coordinators_away(cluster_model(), answer);
    sched_at(sched_now_us() + us, NULL, coordinators_back, NULL);
}

static void ledger_is_compacted(struct life *unused)
{
    (void)unused;
    char topic[128];
    int64_t end;
    const struct model_place ledger = { topic, 0 };
    const int64_t active = 1 + (int64_t)fate_below(fate_percent(50) ? 2 : 20); /* the newest segment is left alone */
    (void)snprintf(topic, sizeof topic, "%s-ledger", weather.test->name);
    if (model_list_offset(cluster_model(), &ledger, MODEL_LATEST, false, &end) == MODEL_OK &&
        fate_strikes(FATE_compactions, "the ledger is compacted below %" PRId64, end - active) &&
        model_compact(cluster_model(), &ledger, end - active) == MODEL_OK)
        world_seen()->compactions++;
}

static void group_is_forgotten(struct life *unused)
{
    (void)unused;
    if (mishaps_are_pending() || !fate_strikes(FATE_groups, "the group's offsets are forgotten")) return;
    world_seen()->forgotten_groups++;
    model_forget_group(cluster_model(), weather.test->name);
}

/* A person wants more partitions. How many an author has named is meant. */
static void topic_grows(struct life *unused)
{
    (void)unused;
    const struct weir_test_topic *topics = fate_percent(60) ? weather.test->inputs : weather.test->outputs;
    uint64_t id;
    uint32_t count = 0;
    int32_t partitions;
    while (count < WEIR_TEST_TOPICS_MAX && topics[count].name != NULL) count++;
    if (count == 0) return;
    const struct weir_test_topic *topic = &topics[fate_below(count)];
    const int32_t more = 1 + (int32_t)fate_below(2);
    if (topic->partitions > 0 || mishaps_are_pending() ||
        model_describe_topic(cluster_model(), topic->name, &id, &partitions) != MODEL_OK ||
        partitions + more > PARTITIONS_MAX)
        return;
    if (!fate_strikes(FATE_growth, "topic '%s' gets %d partitions", topic->name, (int)(partitions + more))) return;
    CHECK(model_grow_topic(cluster_model(), topic->name, partitions + more) == MODEL_OK);
    world_seen()->grown_topics++;
}

static void weather_turns(struct life *unused)
{
    (void)unused;
    weather_set((uint32_t)fate_below(4));
}

/* ---- Events ------------------------------------------------------------------------------------------------------ */

/* To one of those who are alive; NULL = nobody is. */
static const struct event {
    uint32_t weight;
    void (*befall)(struct life *life);
} events[] = {
    { 60, life_is_killed },
    { 20, life_is_frozen },
    { 10, life_is_stopped },
    { 8, checkpoint_is_asked_for },
    { 14, savepoint_is_asked_for },
    { 8, life_is_rescaled },
    { 4, life_is_cancelled },
    { 20, second_start },
    { 12, many_start },
    { 10, power_fails },
    { 3, disk_fills_up },
    { 7, disk_breaks },
    { 20, disk_slows_down },
    { 20, broker_dies },
    { 20, coordinators_move },
    { 20, ledger_is_compacted },
    { 6, group_is_forgotten },
    { 6, topic_grows },
    { 20, weather_turns },
    { 4, spell_begins },
    { 22, NULL },
};

static const struct event *draw_event(void)
{
    uint64_t total = 0;
    for (size_t i = 0; i < sizeof events / sizeof events[0]; i++) total += events[i].weight;
    uint64_t drawn = fate_below(total);
    const struct event *event = events;
    for (; drawn >= event->weight; event++) drawn -= event->weight;
    return event;
}

/* ---- Tales ------------------------------------------------------------------------------------------------------- */

static bool wants_savepoint(void)
{
    return savepoints_count() == 0 && (tale_is(TALE_ORIGIN) || tale_is(TALE_FLICKER));
}

/* Mishaps strike while nobody is alive. */
static bool wants_an_end(void)
{
    return tale_is(TALE_ORIGIN) || tale_is(TALE_REPETITION) || (tale_is(TALE_FLICKER) && savepoints_count() > 0);
}

static void all_are_killed(void)
{
    struct life *lives[LIVES_MAX];
    for (uint32_t i = 0, count = lives_alive_of(ORACLE_JOB, lives); i < count; i++) life_is_killed(lives[i]);
}

/* Who has gone back to a checkpoint, and has committed behind it. */
static struct life *who_has_gone_back(void)
{
    struct life *lives[LIVES_MAX];
    for (uint32_t i = 0, count = lives_alive_of(ORACLE_JOB, lives); i < count && !mishaps_may_show(); i++) {
        const char *key = lives[i]->choice.keys[0];
        if (key != NULL && strcmp(key, "start.checkpoint") == 0) return lives[i];
    }
    return NULL;
}

/* Then it begins again, in the same process. */
static void loses_transaction(struct life *life)
{
    if (life->loses_transaction || !fate_strikes(FATE_freezes, "life %u: is to lose a transaction", life->number)) return;
    world_seen()->repetitions++;
    life->loses_transaction = true;
}

/* False when nothing else is to happen meanwhile. */
static bool tell_on(void)
{
    struct life *lives[LIVES_MAX], *back = tale_is(TALE_REPETITION) ? who_has_gone_back() : NULL;
    const uint32_t count = lives_alive_of(ORACLE_JOB, lives);
    if (wants_savepoint() && fate_percent(40)) savepoint_is_asked_for(count > 0 ? lives[0] : NULL);
    if (back != NULL && fate_percent(50)) loses_transaction(back);
    else if (back == NULL && wants_an_end() && fate_percent(15)) all_are_killed();
    if (tale_is(TALE_ANNOUNCEMENT) && !mishaps_are_pending() && fate_percent(30)) many_start(NULL);
    return back == NULL || fate_percent(20);
}

void weather_event(void)
{
    struct life *lives[LIVES_MAX];
    if (!tell_on()) return;
    const uint32_t count = lives_alive(lives);
    struct life *life = count > 0 ? lives[fate_below(count)] : NULL;
    const struct event *event = draw_event();
    if (weather.is_followed && fate_percent(20)) lives_start_other(ORACLE_FOLLOWER);
    if (weather.is_copied && fate_percent(20)) lives_start_other(ORACLE_COPY);
    if (weather.is_to_be_copied && fate_percent(20)) savepoint_is_asked_for(life);
    if (is_in_spell() && weather.spell_company != WITH_ALL) {
        if (weather.spell_company == WITH_STARTS && fate_percent(3) && fate_strikes(FATE_starts, "another start"))
            lives_start(false);
        return;
    }
    const bool is_dead = lives_alive_of(ORACLE_JOB, lives) == 0;
    if (is_dead && weather.with_mishaps && fate_percent(wants_an_end() ? 70 : 20) && mishaps_strike()) return;
    if (is_dead && fate_percent(60)) start_some();
    else if ((weather.storm > 0 || fate_percent(20)) && event->befall != NULL) event->befall(life);
}

void weather_calm(void)
{
    weather.spell_until_us = 0;
    weather.storm = 0;
    weather_rest();
    cluster_set_down(false);
    model_coordinators_back(cluster_model());
    disk_good(NULL);
}
