#include "sim/weather.h"

#include <stdio.h>
#include <string.h>

#include "base/base.h"
#include "sim/cluster.h"
#include "sim/fate.h"
#include "sim/lives.h"
#include "sim/oracle.h"
#include "sim/timed_disk.h"
#include "sim/world.h"

enum { SECOND_US = 1000000 };

static struct {
    const char *job;
    uint32_t storm; /* 0 = quiet, to 3 */
    bool disk_is_bad;
} weather;

void weather_begin(const char *job)
{
    memset(&weather, 0, sizeof weather);
    weather.job = job;
}

bool weather_disk_is_bad(void) { return weather.disk_is_bad; }

/* ---- The network ------------------------------------------------------------------------------------------------- */

void weather_set(uint32_t storm)
{
    weather.storm = storm;
    struct cluster_weather network = { .latency_us = 100 + (int64_t)fate_below(600) };
    uint32_t crash_chance = 0;
    if (storm > 0) {
        const uint32_t density = 1u << (storm * 2); /* 4, 16, 64 */
        network.lose_request = (uint32_t)fate_below(density * 400);
        network.lose_answer = (uint32_t)fate_below(density * 400);
        network.delay = (uint32_t)fate_below(density * 800);
        network.delay_us = 1000 + (int64_t)fate_below(3 * SECOND_US);
        network.slow_marker = (uint32_t)fate_below(density * 2000);
        network.slow_marker_us = 1000 + (int64_t)fate_below(SECOND_US);
        if (fate_percent(60)) crash_chance = (uint32_t)fate_below(density * 300);
    }
    lives_set_crash_chance(crash_chance);
    cluster_set_weather(&network);
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
    disk_model_set_faults(timed_disk_model(), &none);
    weather.disk_is_bad = false;
    timed_disk_slow(0);
    world_trace("the disk is good again");
}

static void disk_bad(void)
{
    struct disk_faults faults = { 0 };
    struct life *lives[LIVES_MAX];
    switch (fate_below(3)) {
    case 0: faults.capacity_bytes = 4096; world_seen()->full_disks++; break;
    case 1: faults.write_error = (uint32_t)fate_below(200000); world_seen()->disk_errors++; break;
    default: faults.sync_error = (uint32_t)fate_below(200000); world_seen()->disk_errors++; break;
    }
    disk_model_set_faults(timed_disk_model(), &faults);
    weather.disk_is_bad = true;
    for (uint32_t i = 0, count = lives_alive(lives); i < count; i++) lives[i]->met_bad_disk = true;
    world_trace("the disk is bad");
    sched_at(sched_now_us() + (int64_t)fate_below(2 * SECOND_US), NULL, disk_good, NULL);
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
    world_seen()->freezes++;
    sched_freeze(life->process);
    sched_at(sched_now_us() + (int64_t)fate_below(fate_percent(30) ? 8 * SECOND_US : SECOND_US), life->process, thaw, life);
}

static void cut_power(void)
{
    struct life *lives[LIVES_MAX];
    world_trace("power cut");
    world_seen()->power_cuts++;
    for (uint32_t i = 0, count = lives_alive(lives); i < count; i++) lives_kill(lives[i], "power cut");
    disk_model_cut_power(timed_disk_model());
}

static void compact(void)
{
    char topic[128];
    const struct model_place ledger = { topic, 0 };
    (void)snprintf(topic, sizeof topic, "%s-ledger", weather.job);
    if (model_compact(cluster_model(), &ledger) == MODEL_OK) world_seen()->compactions++;
}

/* ---- Events ------------------------------------------------------------------------------------------------------ */

void weather_event(void)
{
    struct life *lives[LIVES_MAX];
    const uint32_t count = lives_alive(lives);
    struct life *life = count > 0 ? lives[fate_below(count)] : NULL;
    if (count == 0 && fate_percent(60)) {
        lives_start(false);
        return;
    }
    if (weather.storm == 0 && !fate_percent(20)) return;
    switch (fate_below(14)) {
    case 0: case 1: case 2: if (life != NULL) lives_kill(life, "SIGKILL"); break;
    case 3: if (life != NULL) freeze(life); break;
    case 4: if (count < 4) lives_start(oracle_progress() > 0 && fate_percent(25)); break;
    case 5: if (fate_percent(50)) cut_power(); break;
    case 6:
        world_seen()->broker_outages++;
        cluster_set_down(true);
        world_trace("the broker is gone");
        sched_at(sched_now_us() + (int64_t)fate_below(2 * SECOND_US), NULL, broker_up, NULL);
        break;
    case 7:
        world_seen()->coordinator_moves++;
        model_coordinators_away(cluster_model(), fate_percent(50) ? MODEL_NOT_COORDINATOR : MODEL_COORDINATOR_LOADING);
        sched_at(sched_now_us() + (int64_t)fate_below(SECOND_US), NULL, coordinators_back, NULL);
        break;
    case 8: if (!weather.disk_is_bad && fate_percent(50)) disk_bad(); break;
    case 9: timed_disk_slow((int64_t)fate_below(20000)); break;
    case 10: if (life != NULL && fate_percent(50)) { world_seen()->stops++; life->stop = true; } break;
    case 11: compact(); break;
    case 12: weather_set((uint32_t)fate_below(4)); break;
    default:
        if (!fate_percent(30)) break;
        world_seen()->forgotten_groups++;
        model_forget_group(cluster_model(), weather.job);
        world_trace("the group's offsets are forgotten");
        break;
    }
}

void weather_calm(void)
{
    weather_set(0);
    cluster_set_down(false);
    model_coordinators_back(cluster_model());
    disk_good(NULL);
}
