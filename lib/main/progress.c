#include "main/progress.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "weir/observe.h"

struct progress {
    pthread_mutex_t mutex; /* lines of several threads do not mix */
    const struct main_options *options;
    enum log_form form;
    enum weir_log_level level;
    struct repeats repeats;
    bool terminal, colors;
    bool live_line; /* one stands on the terminal and has to be cleared first */
    int64_t interval_ms;
    int64_t begun_ms, due_ms, last_ms, committed_ms; /* the last: when a commit was seen */
    uint64_t last_epoch;
    uint64_t last_in, last_out;
    uint64_t *waited_us; /* of each subtask, at the last look */
    size_t waited_count;
};

struct progress *progress_create(const struct main_options *options, const weir_config *config)
{
    struct progress *progress = calloc(1, sizeof(*progress));
    if (progress == NULL) return NULL;
    pthread_mutex_init(&progress->mutex, NULL);
    progress->options = options;
    const char *no_color = getenv("NO_COLOR"); /* not empty: no colors, as many programs have it */
    progress->form = log_form_of(config);
    progress->level = options->quiet ? WEIR_LOG_WARN : log_level_of(config);
    progress->terminal = isatty(STDERR_FILENO) && progress->form == LOG_TEXT;
    progress->colors = progress->terminal && (no_color == NULL || no_color[0] == '\0');
    progress->interval_ms = options->progress_ms >= 0 ? options->progress_ms : progress->terminal ? 500 : 10000;
    if (options->quiet && options->progress_ms < 0) progress->interval_ms = 0;
    progress->begun_ms = progress->last_ms = clock_now_ms();
    progress->due_ms = progress->begun_ms + progress->interval_ms;
    return progress;
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

/* What a line shows besides the status. */
struct rates {
    double in, out;       /* records a second */
    double backpressure;  /* share of the time, 0 to 1, that the subtask which was blocked most has waited for room */
};

/* Time that a subtask has waited since the last look. */
static uint64_t waited_since(struct progress *progress, size_t subtask, uint64_t waited_us)
{
    if (subtask >= progress->waited_count) {
        const size_t count = 2 * subtask + 8;
        uint64_t *grown = realloc(progress->waited_us, count * sizeof(*grown));
        if (grown == NULL) return 0;
        memset(grown + progress->waited_count, 0, (count - progress->waited_count) * sizeof(*grown));
        progress->waited_us = grown;
        progress->waited_count = count;
    }
    const uint64_t before_us = progress->waited_us[subtask];
    progress->waited_us[subtask] = waited_us;
    return waited_us < before_us ? waited_us : waited_us - before_us; /* after a rescale it counts from 0 */
}

static double backpressure(struct progress *progress, const weir_job *job, double seconds)
{
    size_t count = 0;
    uint64_t most_us = 0;
    struct weir_vertex vertex;
    struct weir_subtask subtask;
    for (uint32_t v = 0; weir_job_vertex(job, v, &vertex); v++)
        for (uint32_t i = 0; weir_job_subtask(job, v, i, &subtask); i++) {
            const uint64_t waited_us = waited_since(progress, count++, subtask.backpressured_us);
            if (waited_us > most_us) most_us = waited_us;
        }
    const double share = seconds > 0 ? (double)most_us / 1e6 / seconds : 0;
    return share > 1 ? 1 : share;
}

/* Of the terminal, less one: what fills the last column is wrapped by some. */
static int columns(void)
{
    struct winsize size;
    return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col - 1 : 79;
}

static void show_live(struct progress *progress, const struct weir_job_status *status, const struct rates *rates)
{
    char text[300], lag[32] = "?";
    const int64_t now = clock_now_ms();
    if (!status->running) {
        fputs("starting ...", stderr);
        return;
    }
    if (status->epoch_committed != progress->last_epoch || progress->committed_ms == 0) progress->committed_ms = now;
    progress->last_epoch = status->epoch_committed;
    if (status->lag_records >= 0) (void)snprintf(lag, sizeof(lag), "%lld", (long long)status->lag_records);
    (void)snprintf(text, sizeof(text),
                   "in %.0f/s  out %.0f/s  lag %s  commit %.1f ms  epoch %llu, %.1f s ago  back-pressure %.0f%%", rates->in,
                   rates->out, lag, status->commit_latency_ms, (unsigned long long)status->epoch_committed,
                   (double)(now - progress->committed_ms) / 1000.0, 100 * rates->backpressure);
    fprintf(stderr, "%.*s", columns(), text);
}

enum { STATUS_MAX = 1000 };

static void format_plain(char text[static STATUS_MAX], const struct weir_job_status *status, const struct rates *rates)
{
    (void)snprintf(
        text, STATUS_MAX,
        "status running=%d incarnation=%llu epoch=%llu in=%llu out=%llu open=%llu in_rate=%.0f out_rate=%.0f "
        "commit_ms=%.1f lag=%lld restarts=%llu commits=%llu commit_p50=%.1f commit_p99=%.1f durable_p50=%.2f "
        "durable_p99=%.2f frame_bytes=%llu gap_p99_ms=%.2f gap_max_ms=%.2f state_entries=%llu state_bytes=%llu "
        "state_reads=%llu state_memory=%llu state_memory_max=%llu backpressure=%.2f",
        status->running, (unsigned long long)status->incarnation, (unsigned long long)status->epoch_committed,
        (unsigned long long)status->records_in, (unsigned long long)status->records_out,
        (unsigned long long)status->records_out_open, rates->in, rates->out, status->commit_latency_ms,
        (long long)status->lag_records, (unsigned long long)status->restarts, (unsigned long long)status->epochs,
        status->commit_latency_p50_ms, status->commit_latency_p99_ms, status->durable_latency_p50_ms,
        status->durable_latency_p99_ms, (unsigned long long)status->frame_bytes, status->record_gap_p99_ms,
        status->record_gap_max_ms, (unsigned long long)status->state_entries, (unsigned long long)status->state_bytes,
        (unsigned long long)status->state_reads, (unsigned long long)status->state_memory,
        (unsigned long long)status->state_memory_max, rates->backpressure);
}

/* Any line but the live one. The caller holds the mutex. */
static void write_line(struct progress *progress, const struct weir_log_line *line)
{
    static const char *const colors[] = { "\033[31m", "\033[33m", "", "\033[2m" };
    char text[LOG_LINE_MAX];
    const size_t size = log_format(text, progress->form, clock_wall_ms(), line);
    clear_live_line(progress);
    const char *color = progress->colors ? colors[line->level] : "";
    if (color[0] == '\0') (void)fwrite(text, 1, size, stderr);
    else fprintf(stderr, "%s%.*s\033[0m\n", color, (int)size - 1, text);
}

/* What was held back because it repeated itself. The caller holds the mutex. */
static void write_repeated(struct progress *progress, bool all)
{
    char text[REPEATS_TEXT_MAX + 64];
    struct weir_log_line line;
    while (repeats_due(&progress->repeats, clock_now_ms(), all, text, &line)) write_line(progress, &line);
}

void progress_destroy(struct progress *progress)
{
    if (progress == NULL) return;
    if (progress->live_line) fputc('\n', stderr);
    progress->live_line = false;
    write_repeated(progress, true);
    pthread_mutex_destroy(&progress->mutex);
    free(progress->waited_us);
    free(progress);
}

/* The caller holds the mutex. */
static void show_plain(struct progress *progress, const struct weir_job_status *status, const struct rates *rates)
{
    char text[STATUS_MAX];
    format_plain(text, status, rates);
    if (progress->form == LOG_TEXT) fprintf(stderr, "%s\n", text);
    else write_line(progress, &(struct weir_log_line){ .level = WEIR_LOG_INFO, .job = progress->options->job, .text = text });
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
    const struct rates rates = {
        .in = seconds > 0 ? (double)(status.records_in - progress->last_in) / seconds : 0,
        .out = seconds > 0 ? (double)(status.records_out - progress->last_out) / seconds : 0,
        .backpressure = backpressure(progress, job, seconds),
    };

    pthread_mutex_lock(&progress->mutex);
    clear_live_line(progress);
    if (progress->terminal) {
        write_repeated(progress, false);
        show_live(progress, &status, &rates);
        progress->live_line = true;
    } else {
        show_plain(progress, &status, &rates);
    }
    write_repeated(progress, false);
    fflush(stderr);
    pthread_mutex_unlock(&progress->mutex);

    progress->last_ms = now;
    progress->last_in = status.records_in;
    progress->last_out = status.records_out;
    progress->due_ms = now + progress->interval_ms;
}

void progress_log(struct progress *progress, const struct weir_log_line *line)
{
    if (line->level > progress->level) return;
    pthread_mutex_lock(&progress->mutex);
    write_repeated(progress, false);
    if (repeats_take(&progress->repeats, clock_now_ms(), line)) write_line(progress, line);
    pthread_mutex_unlock(&progress->mutex);
}

void progress_note(struct progress *progress, enum weir_log_level level, enum weir_code code, const char *text)
{
    progress_log(progress, &(struct weir_log_line){ .level = level, .code = code, .text = text,
                                                    .job = progress->options->job });
}

void progress_summary(struct progress *progress, weir_job *job)
{
    struct weir_job_status status = { .size = sizeof(status) };
    weir_job_status(job, &status);
    pthread_mutex_lock(&progress->mutex);
    clear_live_line(progress);
    if (!progress->terminal && progress->interval_ms > 0) show_plain(progress, &status, &(struct rates){ .in = 0 });
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
