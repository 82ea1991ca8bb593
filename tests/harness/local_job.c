#include "harness/local_job.h"

#include <check.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct local_job local_job;

static void remove_tree(const char *path)
{
    DIR *directory = opendir(path);
    if (directory == NULL) return;
    for (struct dirent *entry; (entry = readdir(directory)) != NULL;) {
        char inside[512];
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
        snprintf(inside, sizeof inside, "%s/%s", path, entry->d_name);
        if (unlink(inside) != 0) remove_tree(inside);
    }
    closedir(directory);
    rmdir(path);
}

void local_job_set(const char *key, const char *value)
{
    struct weir_error error;
    ck_assert_msg(weir_config_set(local_job.config, WEIR_CONFIG_CODE, key, value, "test", &error) == WEIR_OK, "%s",
                  error.text);
}

void local_job_begin(void)
{
    memset(&local_job, 0, sizeof local_job);
    pthread_mutex_init(&local_job.mutex, NULL);
    local_job.name = "test";
    snprintf(local_job.directory, sizeof local_job.directory, "weir-job-test-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(local_job.directory));
    local_job.config = weir_config_create();
    local_job_set("execution.checkpointing.dir", local_job.directory);
    local_job_set("execution.checkpointing.interval", "5ms");
    local_job_set("start.bounded", "true");
    local_job_set("state.backend.type", "hashmap");
    if (getenv("WEIR_TEST_SMALL_CACHE") != NULL) local_job_use_small_cache();
    if (getenv("WEIR_TEST_UNALIGNED") != NULL) local_job_set("execution.checkpointing.unaligned.enabled", "true");
}

/* In memory where that can be had: RocksDB syncs each file. */
void local_job_use_small_cache(void)
{
    char *stores = local_job.stores;
    if (stores[0] != '\0') return;
    snprintf(stores, sizeof local_job.stores, "%s/weir-job-XXXXXX", access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    ck_assert_ptr_nonnull(mkdtemp(stores));
    local_job_set("state.backend.type", "rocksdb");
    local_job_set("state.backend.memory", "256kb");
    local_job_set("state.backend.local-dir", stores);
}

void local_job_end(void)
{
    weir_config_destroy(local_job.config);
    remove_tree(local_job.directory);
    if (local_job.stores[0] != '\0') remove_tree(local_job.stores);
}

static void take_log(void *user, const struct weir_log_line *line)
{
    (void)user;
    pthread_mutex_lock(&local_job.mutex);
    const size_t used = strlen(local_job.log);
    snprintf(local_job.log + used, sizeof local_job.log - used, "%s\n", line->text);
    pthread_mutex_unlock(&local_job.mutex);
}

weir_job *local_job_create(weir_graph *graph)
{
    weir_job *job;
    struct weir_error error;
    struct weir_job_options options = { .size = sizeof options, .name = local_job.name, .log = take_log };
    ck_assert_msg(weir_job_create(graph, local_job.config, &options, &job, &error) == WEIR_OK, "%s", error.text);
    ck_assert_msg(weir_job_start(job, &error) == WEIR_OK, "%s", error.text);
    return job;
}

struct weir_error local_job_run(weir_graph *graph, struct weir_job_status *status)
{
    struct weir_error outcome;
    weir_job *job = local_job_create(graph);
    ck_assert_msg(weir_job_wait(job, PATIENCE_MS, &outcome), "the job does not end; its log:\n%s", local_job.log);
    if (status != NULL) {
        status->size = sizeof *status;
        weir_job_status(job, status);
    }
    weir_job_destroy(job);
    return outcome;
}

void local_job_expect_ok(const struct weir_error *outcome)
{
    ck_assert_msg(outcome->code == WEIR_OK, "%s\nlog:\n%s", outcome->text, local_job.log);
}

struct weir_job_status local_job_status(weir_job *job)
{
    struct weir_job_status status = { .size = sizeof(status) };
    weir_job_status(job, &status);
    return status;
}

static void wait_a_little(weir_job *job)
{
    struct weir_error outcome;
    ck_assert_msg(!weir_job_wait(job, 2, &outcome), "ended: %s\nlog:\n%s", outcome.text, local_job.log);
}

void local_job_await_running(weir_job *job)
{
    while (!local_job_status(job).running) wait_a_little(job);
}

void local_job_await_records(weir_job *job, uint64_t records)
{
    while (local_job_status(job).records_in < records) wait_a_little(job);
}

/* The state is behind the name, which stands in brackets. */
static bool thread_sleeps(const char *id)
{
    char path[64], text[512];
    snprintf(path, sizeof path, "/proc/self/task/%.20s/stat", id);
    FILE *file = fopen(path, "re");
    if (file == NULL) return true; /* it has ended */
    const size_t size = fread(text, 1, sizeof text - 1, file);
    (void)fclose(file);
    text[size] = '\0';
    const char *state = strrchr(text, ')');
    return state == NULL || state[1] == '\0' || state[2] == 'S' || atoi(id) == gettid();
}

bool local_job_sleeps(void)
{
    bool sleeps = true;
    DIR *directory = opendir("/proc/self/task");
    ck_assert_ptr_nonnull(directory);
    for (struct dirent *entry; sleeps && (entry = readdir(directory)) != NULL;)
        if (entry->d_name[0] != '.') sleeps = thread_sleeps(entry->d_name);
    closedir(directory);
    return sleeps;
}

int local_job_count_files(const char *prefix)
{
    char path[128];
    int count = 0;
    snprintf(path, sizeof path, "%s/test", local_job.directory);
    DIR *directory = opendir(path);
    ck_assert_ptr_nonnull(directory);
    for (struct dirent *entry; (entry = readdir(directory)) != NULL;)
        count += strncmp(entry->d_name, prefix, strlen(prefix)) == 0;
    closedir(directory);
    return count;
}
