#include "main/progress.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "main/clock.h"

struct progress {
    pthread_mutex_t mutex; /* lines of several threads do not mix */
    const struct main_options *options;
    bool terminal;
    bool live_line; /* one stands on the terminal and has to be cleared first */
    int64_t interval_ms;
    int64_t begun_ms, due_ms, last_ms;
    uint64_t last_in, last_out;
};

struct progress *progress_create(const struct main_options *options)
{
    struct progress *progress = calloc(1, sizeof(*progress));
    if (progress == NULL) return NULL;
    pthread_mutex_init(&progress->mutex, NULL);
    progress->options = options;
    progress->terminal = isatty(STDERR_FILENO);
    progress->interval_ms = options->progress_ms >= 0 ? options->progress_ms : progress->terminal ? 500 : 10000;
    if (options->quiet && options->progress_ms < 0) progress->interval_ms = 0;
    progress->begun_ms = progress->last_ms = clock_now_ms();
    progress->due_ms = progress->begun_ms + progress->interval_ms;
    return progress;
}

void progress_destroy(struct progress *progress)
{
    if (progress == NULL) return;
    if (progress->live_line) fputc('\n', stderr);
    pthread_mutex_destroy(&progress->mutex);
    free(progress);
}

int progress_timeout_ms(struct progress *progress)
{
    if (progress->interval_ms == 0) return -1;
    const int64_t left = progress->due_ms - clock_now_ms();
    return left < 0 ? 0 : (int)left;
}

static void clear_live_line(struct progress *progress)
{
    if (progress->live_line) fputs("\r\033[K", stderr);
    progress->live_line = false;
}

static void show_live(const struct weir_job_status *status, double in_rate, double out_rate)
{
    if (!status->running) {
        fputs("starting ...", stderr);
        return;
    }
    fprintf(stderr, "in %9.0f/s  out %9.0f/s  commit %6.1f ms  epoch %llu  lag ", in_rate, out_rate,
            status->commit_latency_ms, (unsigned long long)status->epoch_committed);
    if (status->lag_records >= 0)
        fprintf(stderr, "%lld", (long long)status->lag_records);
    else
        fputs("?", stderr);
}

static void show_plain(const struct weir_job_status *status, double in_rate, double out_rate)
{
    fprintf(stderr,
            "status running=%d incarnation=%llu epoch=%llu in=%llu out=%llu open=%llu in_rate=%.0f out_rate=%.0f "
            "commit_ms=%.1f lag=%lld restarts=%llu commits=%llu commit_p50=%.1f commit_p99=%.1f durable_p50=%.2f "
            "durable_p99=%.2f frame_bytes=%llu gap_p99_ms=%.2f gap_max_ms=%.2f state_entries=%llu state_bytes=%llu "
            "state_reads=%llu state_memory=%llu state_memory_max=%llu\n",
            status->running, (unsigned long long)status->incarnation, (unsigned long long)status->epoch_committed,
            (unsigned long long)status->records_in, (unsigned long long)status->records_out,
            (unsigned long long)status->records_out_open, in_rate, out_rate, status->commit_latency_ms,
            (long long)status->lag_records, (unsigned long long)status->restarts, (unsigned long long)status->epochs,
            status->commit_latency_p50_ms, status->commit_latency_p99_ms, status->durable_latency_p50_ms,
            status->durable_latency_p99_ms, (unsigned long long)status->frame_bytes, status->record_gap_p99_ms,
            status->record_gap_max_ms,
            (unsigned long long)status->state_entries, (unsigned long long)status->state_bytes,
            (unsigned long long)status->state_reads, (unsigned long long)status->state_memory,
            (unsigned long long)status->state_memory_max);
}

void progress_restart(struct progress *progress)
{
    progress->last_in = progress->last_out = 0;
}

void progress_show(struct progress *progress, weir_job *job)
{
    const int64_t now = clock_now_ms();
    if (progress->interval_ms == 0 || now < progress->due_ms) return;
    struct weir_job_status status = { .size = sizeof(status) };
    weir_job_status(job, &status);
    const double seconds = (double)(now - progress->last_ms) / 1000.0;
    const double in_rate = seconds > 0 ? (double)(status.records_in - progress->last_in) / seconds : 0;
    const double out_rate = seconds > 0 ? (double)(status.records_out - progress->last_out) / seconds : 0;

    pthread_mutex_lock(&progress->mutex);
    clear_live_line(progress);
    if (progress->terminal) {
        show_live(&status, in_rate, out_rate);
        progress->live_line = true;
    } else {
        show_plain(&status, in_rate, out_rate);
    }
    fflush(stderr);
    pthread_mutex_unlock(&progress->mutex);

    progress->last_ms = now;
    progress->last_in = status.records_in;
    progress->last_out = status.records_out;
    progress->due_ms = now + progress->interval_ms;
}

void progress_log(struct progress *progress, enum weir_log_level level, const char *text)
{
    static const char *const names[] = { "error", "warning", "info", "debug" };
    struct timespec wall;
    struct tm utc;
    char stamp[32];
    clock_gettime(CLOCK_REALTIME, &wall);
    gmtime_r(&wall.tv_sec, &utc);
    strftime(stamp, sizeof(stamp), "%Y-%m-%dT%H:%M:%S", &utc);

    pthread_mutex_lock(&progress->mutex);
    clear_live_line(progress);
    fprintf(stderr, "%s.%03ldZ %s: %s\n", stamp, wall.tv_nsec / 1000000, names[level], text);
    pthread_mutex_unlock(&progress->mutex);
}

void progress_note(struct progress *progress, const char *text)
{
    progress_log(progress, WEIR_LOG_INFO, text);
}

void progress_summary(struct progress *progress, weir_job *job)
{
    struct weir_job_status status = { .size = sizeof(status) };
    weir_job_status(job, &status);
    pthread_mutex_lock(&progress->mutex);
    clear_live_line(progress);
    if (!progress->terminal && progress->interval_ms > 0) show_plain(&status, 0, 0);
    pthread_mutex_unlock(&progress->mutex);
    if (status.was_complete) {
        printf("%s: job '%s' was complete already: nothing has come since, epoch %llu\n", progress->options->program,
               progress->options->job, (unsigned long long)status.epoch_committed);
        return;
    }
    printf("%s: job '%s' done: %llu records in, %llu out, %llu commits, epoch %llu, %.1f s\n",
           progress->options->program, progress->options->job, (unsigned long long)status.records_in,
           (unsigned long long)status.records_out, (unsigned long long)status.epochs,
           (unsigned long long)status.epoch_committed, (double)(clock_now_ms() - progress->begun_ms) / 1000.0);
}
