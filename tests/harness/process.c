#include "process.h"

#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { ARGUMENTS_MAX = 64, LOG_TAIL_BYTES = 3000 };

int64_t process_now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int64_t process_bar_ms(int64_t quiet_ms)
{
    double average = 0;
    int running = 0;
    FILE *file = fopen("/proc/loadavg", "re");
    ck_assert_ptr_nonnull(file);
    ck_assert_int_eq(fscanf(file, "%lf %*f %*f %d", &average, &running), 2);
    (void)fclose(file);
    const double waiting = average > running ? average : running;
    const double processors = (double)sysconf(_SC_NPROCESSORS_ONLN);
    return waiting > processors ? (int64_t)((double)quiet_ms * waiting / processors) : quiet_ms;
}

/* ---- The folder ----------------------------------------------------------------------------------------------------- */

static char folder[400];

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *walk)
{
    (void)status, (void)type, (void)walk;
    return remove(path);
}

static void remove_folder(int status, void *owner)
{
    if (status == EXIT_SUCCESS && (pid_t)(intptr_t)owner == getpid())
        nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

const char *process_folder(void)
{
    static pid_t owner;
    if (owner == getpid()) return folder;
    owner = getpid();
    (void)snprintf(folder, sizeof folder, "%s/run-%d", WEIR_BINARY_DIR, (int)owner);
    /* A fact that failed once, in a process of the same number, may have left it. */
    nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    ck_assert_msg(mkdir(folder, 0777) == 0, "%s: %s", folder, strerror(errno));
    on_exit(remove_folder, (void *)(intptr_t)owner);
    return folder;
}

/* They live until the fact ends. */
static struct path {
    struct path *next;
    char text[512];
} *paths;

const char *process_path(const char *format, ...)
{
    char name[100];
    struct path *path = malloc(sizeof *path);
    ck_assert_ptr_nonnull(path);
    path->next = paths;
    paths = path;
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(name, sizeof name, format, arguments);
    va_end(arguments);
    (void)snprintf(path->text, sizeof path->text, "%s/%s", process_folder(), name);
    return path->text;
}

/* ---- Lines of the shell --------------------------------------------------------------------------------------------- */

int process_shell(struct process_output *output, const char *format, ...)
{
    char *command;
    va_list arguments;
    va_start(arguments, format);
    ck_assert_int_ge(vasprintf(&command, format, arguments), 0);
    va_end(arguments);
    FILE *file = popen(command, "re");
    ck_assert_ptr_nonnull(file);
    output->size = fread(output->text, 1, output->room - 1, file);
    output->text[output->size] = '\0';
    const int status = pclose(file);
    ck_assert_msg(WIFEXITED(status), "%s", command);
    free(command);
    return WEXITSTATUS(status);
}

/* ---- Starting ------------------------------------------------------------------------------------------------------- */

static void redirect(const char *path, int descriptor)
{
    const int file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND, 0666);
    if (file < 0 || dup2(file, descriptor) < 0) _exit(126);
    close(file);
}

/* Between fork and exec: nothing that needs a lock. */
static void run_child(const struct process *process, const char *const *arguments, char **environment, pid_t parent)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(126);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGXFSZ, SIG_IGN); /* a limit on files is an error like any other */
    const int nothing = open("/dev/null", O_RDONLY);
    dup2(nothing, STDIN_FILENO);
    redirect(process->out, STDOUT_FILENO);
    redirect(process->log, STDERR_FILENO);
    for (int descriptor = 3; descriptor < 256; descriptor++) close(descriptor);
    execve(arguments[0], (char *const *)(uintptr_t)arguments, environment);
    static const char text[] = "cannot run the program\n";
    (void)!write(STDERR_FILENO, text, sizeof text - 1);
    _exit(127);
}

static bool overrides(const char *const *more, const char *variable)
{
    const size_t size = strcspn(variable, "=") + 1;
    for (; more != NULL && *more != NULL; more++)
        if (strncmp(*more, variable, size) == 0) return true;
    return false;
}

static char **join_environment(const char *const *more)
{
    size_t count = 1, used = 0;
    for (char **at = environ; *at != NULL; at++) count++;
    for (const char *const *at = more; at != NULL && *at != NULL; at++) count++;
    char **joined = calloc(count, sizeof *joined);
    ck_assert_ptr_nonnull(joined);
    for (char **at = environ; *at != NULL; at++)
        if (!overrides(more, *at)) joined[used++] = *at;
    for (const char *const *at = more; at != NULL && *at != NULL; at++) joined[used++] = (char *)(uintptr_t)*at;
    return joined;
}

void process_start(struct process *process, const char *const *arguments, const char *const *environment)
{
    static int counter;
    const char *slash = strrchr(arguments[0], '/');
    *process = (struct process){ 0 };
    (void)snprintf(process->out, sizeof process->out, "%s/%03d-%s.out", process_folder(), counter,
                   slash == NULL ? arguments[0] : slash + 1);
    (void)snprintf(process->log, sizeof process->log, "%s/%03d-%s.log", process_folder(), counter,
                   slash == NULL ? arguments[0] : slash + 1);
    counter++;
    char **joined = join_environment(environment);
    const pid_t parent = getpid();
    process->pid = fork();
    ck_assert_msg(process->pid >= 0, "fork: %s", strerror(errno));
    if (process->pid == 0) run_child(process, arguments, joined, parent);
    free(joined);
}

void process_start_job(struct process *process, const struct process_job *job, ...)
{
    const char *arguments[ARGUMENTS_MAX];
    char program[512];
    size_t count = 0;
    (void)snprintf(program, sizeof program, "%s/tests/jobs/%s", WEIR_BINARY_DIR, job->program);
    arguments[count++] = program;
    const struct {
        const char *option, *value;
    } options[] = {
        { "--brokers", job->brokers }, { "--job", job->job },       { "--input", job->input },
        { "--output", job->output },   { "--checkpoint-dir", job->checkpoints },
    };
    for (size_t i = 0; i < sizeof options / sizeof options[0]; i++) {
        if (options[i].value == NULL) continue;
        arguments[count++] = options[i].option;
        arguments[count++] = options[i].value;
    }
    static const char *const small_cache[] = { "-X", "state.backend.type=rocksdb", "-X", "state.backend.memory=1mb",
                                               "-X", "state.recovery.max-frames=3", NULL };
    static const char *const in_memory[] = { "-X", "state.backend.type=hashmap", NULL };
    const char *const *setting_of_state = getenv("WEIR_TEST_SMALL_CACHE") != NULL ? small_cache : in_memory;
    while (*setting_of_state != NULL) arguments[count++] = *setting_of_state++;
    for (const char *const *setting = job->settings; *setting != NULL; setting++) arguments[count++] = *setting;
    va_list more;
    va_start(more, job);
    do {
        ck_assert_uint_lt(count, ARGUMENTS_MAX);
        arguments[count] = va_arg(more, const char *);
    } while (arguments[count++] != NULL);
    va_end(more);
    process_start(process, arguments, job->environment);
}

/* ---- Its end -------------------------------------------------------------------------------------------------------- */

void process_signal(struct process *process, int signal)
{
    if (!process->ended) ck_assert_msg(kill(process->pid, signal) == 0, "kill: %s", strerror(errno));
}

bool process_has_ended(struct process *process)
{
    int status;
    if (process->ended) return true;
    if (waitpid(process->pid, &status, WNOHANG) != process->pid) return false;
    process->ended = true;
    process->status = WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
    return true;
}

static char *read_file(const char *path)
{
    FILE *file = fopen(path, "re");
    if (file == NULL) return strdup("");
    char *text = NULL;
    size_t size = 0;
    if (getdelim(&text, &size, '\0', file) < 0) {
        free(text);
        text = strdup("");
    }
    (void)fclose(file);
    ck_assert_ptr_nonnull(text);
    return text;
}

/* The last lines of its log, for messages. */
static const char *tail(const struct process *process)
{
    static char text[LOG_TAIL_BYTES + 600];
    char *log = read_file(process->log);
    const size_t size = strlen(log);
    (void)snprintf(text, sizeof text, "%s ends with:\n%s", process->log,
                   size > LOG_TAIL_BYTES ? log + size - LOG_TAIL_BYTES : log);
    free(log);
    return text;
}

int process_wait_ms(struct process *process, int64_t deadline_ms)
{
    const int64_t deadline = process_now_ms() + deadline_ms;
    while (!process_has_ended(process)) {
        ck_assert_msg(process_now_ms() < deadline, "process %d runs on after %lld ms; %s", (int)process->pid,
                      (long long)deadline_ms, tail(process));
        usleep(2000);
    }
    return process->status;
}

int process_wait(struct process *process) { return process_wait_ms(process, PATIENCE_MS); }

void process_expect_end(struct process *process, int status, const char *text)
{
    const int found = process_wait(process);
    ck_assert_msg(found == status, "ended with %d instead of %d; %s", found, status, tail(process));
    ck_assert_msg(text == NULL || process_log_has(process, text), "did not say '%s'; %s", text, tail(process));
}

void process_free(struct process *process)
{
    if (process->pid <= 0) return;
    if (!process->ended) {
        kill(process->pid, SIGKILL);
        process_wait(process);
    }
    process->pid = 0;
}

void process_stop(struct process *process)
{
    process_signal(process, SIGTERM);
    process_expect_end(process, 0, NULL);
    process_free(process);
}

/* ---- What it wrote --------------------------------------------------------------------------------------------------- */

bool process_log_has(const struct process *process, const char *text)
{
    char *log = read_file(process->log);
    const bool has = strstr(log, text) != NULL;
    free(log);
    return has;
}

void process_await_log(struct process *process, const char *text)
{
    const int64_t deadline = process_now_ms() + PATIENCE_MS;
    while (!process_log_has(process, text)) {
        const bool ended = process_has_ended(process);
        if (ended && process_log_has(process, text)) return;
        ck_assert_msg(!ended, "ended with %d before it said '%s'; %s", process->status, text, tail(process));
        ck_assert_msg(process_now_ms() < deadline, "does not say '%s'; %s", text, tail(process));
        usleep(5000);
    }
}

void process_await_running(struct process *process) { process_await_log(process, "running, incarnation"); }

/* ---- What it holds --------------------------------------------------------------------------------------------------- */

static int64_t status_number(pid_t pid, const char *name)
{
    char path[64], line[256];
    int64_t number = -1;
    (void)snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    FILE *file = fopen(path, "re");
    while (file != NULL && fgets(line, sizeof line, file) != NULL)
        if (strncmp(line, name, strlen(name)) == 0) number = strtoll(line + strlen(name) + 1, NULL, 10);
    if (file != NULL) (void)fclose(file);
    return number;
}

struct process_resources process_look(const struct process *process)
{
    char path[64];
    struct process_resources resources = { .threads = (int)status_number(process->pid, "Threads"),
                                           .resident_kib = status_number(process->pid, "VmRSS") };
    (void)snprintf(path, sizeof path, "/proc/%d/fd", (int)process->pid);
    DIR *directory = opendir(path);
    ck_assert_msg(directory != NULL, "%s: %s", path, strerror(errno));
    for (const struct dirent *entry; (entry = readdir(directory)) != NULL;)
        if (entry->d_name[0] != '.') resources.descriptors++;
    closedir(directory);
    return resources;
}
