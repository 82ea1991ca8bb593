/* Runs a job or the bare loop and measures it from outside, both in the same way.
 *
 *   program ─stderr─> "status in=N ..."  the first one with records: the clocks begin here, N records are not counted
 *           ─stdout─> any line           everything is committed: the clocks end here
 *
 * So neither the start nor the freeing of handles at the end counts. Usage: watch RECORDS PROGRAM ARGUMENT...
 * Prints one line: records=N seconds=S cpu=S rate=N/S ns=CPU-NS-FOR-EACH rss_mib=PEAK, then the words of the last status
 * line. RECORDS is what the program reads in all. Its other lines go to stderr. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <signal.h>
#include <unistd.h>

#include "bench.h"

struct reading {
    bool taken;
    double seconds, cpu;
    uint64_t records;
};

struct lines {
    int descriptor;
    size_t used;
    char text[4096];
};

static struct {
    pid_t pid;
    clockid_t cpu;
    struct reading begin, end;
    uint64_t records;
    char status[4096]; /* the last one */
} watch;

static double seconds(clockid_t clock)
{
    struct timespec now;
    if (clock_gettime(clock, &now) != 0) bench_die("clock_gettime", strerror(errno));
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static struct reading take_reading(uint64_t records)
{
    return (struct reading){ true, seconds(CLOCK_MONOTONIC), seconds(watch.cpu), records };
}

static void take_status(const char *line)
{
    const char *in = strstr(line, " in=");
    (void)snprintf(watch.status, sizeof watch.status, "%s", line);
    const uint64_t records = in == NULL ? 0 : strtoull(in + 4, NULL, 10);
    if (!watch.begin.taken && records > 0) watch.begin = take_reading(records);
}

static void take_line(const char *line, bool is_result)
{
    if (is_result) {
        if (!watch.end.taken) watch.end = take_reading(watch.records);
        if (strncmp(line, "done ", 5) == 0) take_status(line);
    } else if (strncmp(line, "status ", 7) == 0) {
        take_status(line);
    } else {
        (void)fprintf(stderr, "  %s\n", line);
    }
}

/* False at the end. */
static bool take_text(struct lines *lines, bool is_result)
{
    const ssize_t size = read(lines->descriptor, lines->text + lines->used, sizeof lines->text - 1 - lines->used);
    if (size <= 0) return size < 0 && errno == EINTR;
    lines->used += (size_t)size;
    lines->text[lines->used] = '\0';
    char *line = lines->text;
    for (char *newline; (newline = strchr(line, '\n')) != NULL; line = newline + 1) {
        *newline = '\0';
        take_line(line, is_result);
    }
    lines->used -= (size_t)(line - lines->text);
    memmove(lines->text, line, lines->used);
    if (lines->used == sizeof lines->text - 1) lines->used = 0; /* nobody writes such a line */
    return true;
}

static void read_lines(int out, int log)
{
    struct lines results = { .descriptor = out }, logs = { .descriptor = log };
    struct pollfd descriptors[2] = { { .fd = out, .events = POLLIN }, { .fd = log, .events = POLLIN } };
    while (descriptors[0].fd >= 0 || descriptors[1].fd >= 0) {
        if (poll(descriptors, 2, -1) < 0 && errno != EINTR) bench_die("poll", strerror(errno));
        if (descriptors[0].revents != 0 && !take_text(&results, true)) descriptors[0].fd = -1;
        if (descriptors[1].revents != 0 && !take_text(&logs, false)) descriptors[1].fd = -1;
    }
}

static _Noreturn void become(char **arguments, int out, int log)
{
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    (void)dup2(out, STDOUT_FILENO);
    (void)dup2(log, STDERR_FILENO);
    (void)execv(arguments[0], arguments);
    bench_die(arguments[0], strerror(errno));
}

int main(int argc, char **argv)
{
    if (argc < 3) bench_die("usage", "watch RECORDS PROGRAM ARGUMENT...");
    int out[2], log[2];
    watch.records = strtoull(argv[1], NULL, 10);
    if (pipe2(out, O_CLOEXEC) != 0 || pipe2(log, O_CLOEXEC) != 0) bench_die("pipe", strerror(errno));
    watch.pid = fork();
    if (watch.pid < 0) bench_die("fork", strerror(errno));
    if (watch.pid == 0) become(argv + 2, out[1], log[1]);
    if (clock_getcpuclockid(watch.pid, &watch.cpu) != 0) bench_die("clock_getcpuclockid", "refused");
    (void)close(out[1]);
    (void)close(log[1]);
    read_lines(out[0], log[0]);

    int status;
    struct rusage usage;
    while (wait4(watch.pid, &status, 0, &usage) < 0)
        if (errno != EINTR) bench_die("wait", strerror(errno));
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) bench_die(argv[2], "failed");
    if (!watch.begin.taken || !watch.end.taken || watch.begin.records >= watch.records)
        bench_die(argv[2], "ended before it could be measured: give it more records");
    const double records = (double)(watch.records - watch.begin.records);
    const double wall = watch.end.seconds - watch.begin.seconds, cpu = watch.end.cpu - watch.begin.cpu;
    (void)printf("records=%.0f seconds=%.3f cpu=%.3f rate=%.0f ns=%.1f rss_mib=%ld %s\n", records, wall, cpu,
                 records / wall, cpu * 1e9 / records, usage.ru_maxrss / 1024, watch.status);
    return 0;
}
