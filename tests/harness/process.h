/* Programs under test, as processes of their own: started, signalled, waited for, and what they wrote.
 *
 *   struct process job;
 *   process_start_job(&job, &options, "--bounded", NULL);
 *   ck_assert_int_eq(process_wait(&job), 0);
 *   process_free(&job);
 *
 * A process dies with the fact that started it. Every wait has a generous deadline and ends the fact with the last lines that
 * the process wrote. */
#ifndef HARNESS_PROCESS_H
#define HARNESS_PROCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "patience.h"

struct process {
    pid_t pid;
    bool ended;
    int status;     /* exit status, or -SIGNAL; once it has ended */
    char out[512];  /* what it wrote to stdout */
    char log[512];  /* what it wrote to stderr */
};

/* A folder of this fact's own; removed when the fact ends well, kept for a look when it fails. */
const char *process_folder(void);
/* FOLDER/NAME, formatted. Lives until the fact ends. */
const char *process_path(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Starts `arguments` (ends with NULL; the first one is the program's path). `environment` is NULL, or texts NAME=VALUE that
 * are added to the test's own, with NULL at the end. */
void process_start(struct process *process, const char *const *arguments, const char *const *environment);

/* A job program of this build: build/tests/jobs/PROGRAM. What is NULL is left out. With WEIR_TEST_SMALL_CACHE in the
 * environment its state is in RocksDB, with 1 MiB of memory and a base at every third checkpoint; else in memory. */
struct process_job {
    const char *program;
    const char *brokers;
    const char *job;
    const char *input, *output;
    const char *checkpoints;   /* --checkpoint-dir */
    const char *settings[24];  /* more arguments, NULL at the end */
    const char *environment[8];
};
/* With further arguments, NULL at the end. */
void process_start_job(struct process *process, const struct process_job *job, ...) __attribute__((sentinel));

void process_signal(struct process *process, int signal);
/* Has it ended? Never waits. */
bool process_has_ended(struct process *process);
/* Waits for the end: exit status, or -SIGNAL. */
int process_wait(struct process *process);
int process_wait_ms(struct process *process, int64_t deadline_ms);
/* Waits until its log holds `text`; the process must not end before. */
void process_await_log(struct process *process, const char *text);
/* Until a job says that it runs. */
void process_await_running(struct process *process);
bool process_log_has(const struct process *process, const char *text);
/* Ends the fact unless the process ended with `status` and said `text`. */
void process_expect_end(struct process *process, int status, const char *text);
/* Asks it to end (SIGTERM), and ends the fact unless it does with 0. Forgets it. */
void process_stop(struct process *process);
/* Kills it when it still runs, and forgets it. */
void process_free(struct process *process);

/* What a line of the shell wrote to stdout, and a NUL behind. `text` is the test's. */
struct process_output {
    char *text;
    size_t room, size;
};
/* Runs a line of the shell to its end. Answers the exit status; a signal ends the fact. */
int process_shell(struct process_output *output, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* What it holds of the system now. */
struct process_resources {
    int descriptors;
    int threads;
    int64_t resident_kib;
};
struct process_resources process_look(const struct process *process);

int64_t process_now_ms(void); /* monotonic */
/* What a bar of so many milliseconds, which is for a machine of one's own, amounts to on this one now: as many times more as
 * there are more threads that want to run than processors. Look once it is over: the load may have come meanwhile. */
int64_t process_bar_ms(int64_t quiet_ms);

/* Waits until `condition` holds. For conditions that no process tells. */
#define PROCESS_AWAIT(condition, deadline_ms)                                                                          \
    do {                                                                                                               \
        const int64_t await_until_ms = process_now_ms() + (deadline_ms);                                               \
        while (!(condition)) {                                                                                         \
            ck_assert_msg(process_now_ms() < await_until_ms, "%s:%d: waited %lld ms for: %s", __FILE__, __LINE__,      \
                          (long long)(deadline_ms), #condition);                                                       \
            usleep(5000);                                                                                              \
        }                                                                                                              \
    } while (0)

#endif
