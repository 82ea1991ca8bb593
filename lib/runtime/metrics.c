#include "runtime/metrics.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

const struct weir_metric metrics_table[METRIC_COUNT] = {
#define METRICS_ROW(id, name, type, unit, ...) METRICS_ROW_(name, type, unit, __VA_ARGS__)
#define METRICS_ROW_(name, type, unit, first, second, third, bound, sentence)                                           \
    { name, WEIR_METRIC_##type, unit, { first, second, third }, bound, sentence },
    METRICS(METRICS_ROW)
#undef METRICS_ROW_
#undef METRICS_ROW
};

bool weir_metric_at(size_t index, struct weir_metric *metric)
{
    if (index >= METRIC_COUNT) return false;
    *metric = metrics_table[index];
    return true;
}

/* ---- Histograms ----------------------------------------------------------------------------------------------------- */

const uint64_t metrics_limits_us[METRICS_BUCKETS] = { 1000,    2000,    5000,    10000,    20000,    50000,    100000,  200000,
                                                      500000, 1000000, 2000000, 5000000, 10000000, 30000000, 60000000 };

void metrics_note(struct metrics_histogram *histogram, int64_t us)
{
    if (us < 0) return;
    uint32_t bucket = 0;
    while (bucket < METRICS_BUCKETS && (uint64_t)us > metrics_limits_us[bucket]) bucket++;
    metrics_add(&histogram->counts[bucket], 1);
    metrics_add(&histogram->sum_us, (uint64_t)us);
}

/* ---- Of one subtask ------------------------------------------------------------------------------------------------- */

static int64_t time_of(const struct metrics_task *task, enum metrics_activity activity)
{
    return atomic_load_explicit(&task->times[activity], memory_order_relaxed);
}

static void start_clock(struct metrics_task *task, enum metrics_activity activity, int64_t now_us)
{
    task->activity = activity;
    atomic_store_explicit(&task->times[activity], time_of(task, activity) - 2 * now_us + 1, memory_order_relaxed);
}

static void stop_clock(struct metrics_task *task, int64_t now_us)
{
    atomic_store_explicit(&task->times[task->activity], time_of(task, task->activity) - 1 + 2 * now_us,
                          memory_order_relaxed);
}

void metrics_begin(struct metrics_task *task, uint32_t attempt, int64_t now_us)
{
    atomic_store_explicit(&task->attempt, attempt, memory_order_relaxed);
    metrics_set(&task->beat_us, 0);
    start_clock(task, METRICS_BUSY, now_us);
}

void metrics_switch(struct metrics_task *task, enum metrics_activity activity, int64_t now_us)
{
    stop_clock(task, now_us);
    start_clock(task, activity, now_us);
}

void metrics_end(struct metrics_task *task, int64_t now_us) { stop_clock(task, now_us); }

bool metrics_times(const struct metrics_task *task, int64_t now_us, uint64_t times_us[METRICS_ACTIVITIES])
{
    bool runs = false;
    for (uint32_t i = 0; i < METRICS_ACTIVITIES; i++) {
        const int64_t time = time_of(task, (enum metrics_activity)i);
        const bool is_current = (time & 1) != 0;
        const int64_t spent_us = is_current ? (time - 1) / 2 + now_us : time / 2;
        times_us[i] = spent_us < 0 ? 0 : (uint64_t)spent_us;
        runs |= is_current;
    }
    return runs;
}

static struct metrics_split *find_split(struct metrics_task *task, const char *name)
{
    struct metrics_split *split = atomic_load_explicit(&task->splits, memory_order_relaxed);
    while (split != NULL && strcmp(split->name, name) != 0) split = split->next;
    if (split != NULL || task->split_count == METRICS_SPLITS_MAX) return split;
    split = calloc(1, sizeof(*split));
    if (split == NULL) return NULL;
    (void)snprintf(split->name, sizeof(split->name), "%s", name);
    split->next = atomic_load_explicit(&task->splits, memory_order_relaxed);
    atomic_store_explicit(&task->splits, split, memory_order_release);
    task->split_count++;
    return split;
}

void metrics_lag(struct metrics_task *task, const char *name, int64_t lag)
{
    struct metrics_split *split = find_split(task, name);
    if (split == NULL) return;
    atomic_store_explicit(&split->lag, lag < 0 ? -1 : lag, memory_order_relaxed);
    atomic_store_explicit(&split->attempt, atomic_load_explicit(&task->attempt, memory_order_relaxed),
                          memory_order_relaxed);
}

/* ---- Of the job ----------------------------------------------------------------------------------------------------- */

bool metrics_init(struct metrics_job *metrics, const uint32_t *parallelisms, uint32_t vertex_count)
{
    metrics->first = calloc(vertex_count + 1, sizeof(*metrics->first));
    if (metrics->first == NULL) return false;
    for (uint32_t v = 0; v < vertex_count; v++) metrics->first[v + 1] = metrics->first[v] + parallelisms[v];
    metrics->task_count = metrics->first[vertex_count];
    const size_t size = metrics->task_count * sizeof(*metrics->tasks);
    metrics->tasks = aligned_alloc(_Alignof(struct metrics_task), size);
    if (metrics->tasks == NULL) return false;
    memset(metrics->tasks, 0, size);
    return true;
}

void metrics_deinit(struct metrics_job *metrics)
{
    for (uint32_t i = 0; metrics->tasks != NULL && i < metrics->task_count; i++)
        for (struct metrics_split *split = metrics->tasks[i].splits, *next; split != NULL; split = next) {
            next = split->next;
            free(split);
        }
    free(metrics->tasks);
    free(metrics->first);
    metrics->tasks = NULL;
    metrics->first = NULL;
}

/* ---- Of the process ------------------------------------------------------------------------------------------------- */

static uint64_t count_descriptors(void)
{
    uint64_t count = 0;
    DIR *directory = opendir("/proc/self/fd");
    if (directory == NULL) return 0;
    while (readdir(directory) != NULL) count++;
    closedir(directory);
    return count < 3 ? 0 : count - 3; /* ".", "..", and the directory's own */
}

/* Since 1970, from the boot time and the ticks behind it. */
static double start_time(unsigned long long ticks)
{
    char line[256];
    unsigned long long booted = 0;
    FILE *file = fopen("/proc/stat", "re");
    if (file == NULL) return 0;
    while (booted == 0 && fgets(line, sizeof(line), file) != NULL)
        if (sscanf(line, "btime %llu", &booted) != 1) booted = 0;
    fclose(file);
    return booted == 0 ? 0 : (double)booted + (double)ticks / (double)sysconf(_SC_CLK_TCK);
}

/* proc(5): the name of the program is in parentheses, and may hold anything. */
bool metrics_read_process(struct metrics_process *process)
{
    char text[1024];
    unsigned long long user, system, threads, started, virtual;
    long long resident;
    FILE *file = fopen("/proc/self/stat", "re");
    if (file == NULL) return false;
    const size_t size = fread(text, 1, sizeof(text) - 1, file);
    fclose(file);
    text[size] = '\0';
    const char *behind = strrchr(text, ')');
    if (behind == NULL ||
        sscanf(behind + 1,
               " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu %*d %*d %*d %*d %llu %*d %llu %llu %lld",
               &user, &system, &threads, &started, &virtual, &resident) != 6)
        return false;
    struct rlimit limit = { 0 };
    (void)getrlimit(RLIMIT_NOFILE, &limit);
    *process = (struct metrics_process){
        .cpu_seconds = (double)(user + system) / (double)sysconf(_SC_CLK_TCK),
        .started_seconds = start_time(started),
        .resident_bytes = (uint64_t)resident * (uint64_t)sysconf(_SC_PAGESIZE),
        .virtual_bytes = virtual,
        .threads = threads,
        .descriptors = count_descriptors(),
        .descriptors_max = limit.rlim_cur,
    };
    return true;
}
