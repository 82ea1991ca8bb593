#include "main/control.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"

enum {
    ANSWER_MAX = 8192,
    SPEAK_MS = 5000, /* for an asker to say what it wants, and to take the answer */
    LOOK_MS = 10,    /* between looks at a checkpoint that is waited for */
    SOCKETS_MAX = 16,
};

enum asker_phase {
    FREE,
    READING,
    WAITING_CHECKPOINT, /* for `ticket` */
    WAITING_SAVEPOINT,  /* number `ticket`; and for the job's end, when it `stops` */
    WAITING_RESTART,    /* of the job, after the one in hand has ended */
    WAITING_END,        /* of the job */
    WRITING,
};

struct asker {
    enum asker_phase phase;
    int descriptor;
    int64_t deadline_ms; /* READING, WRITING */
    uint64_t ticket;
    bool stops;
    char request[CONTROL_REQUEST_MAX + 1];
    char answer[ANSWER_MAX];
    size_t used, written; /* of the request, or of the answer */
};

struct control {
    struct control_options options;
    bool is_restarting;
    char directory[2 * CONTROL_PATH_MAX]; /* of the job's own checkpoints, absolute */
    char path[CONTROL_PATH_MAX + 32];     /* of the socket; "" = none */
    int listener, poll;
    struct asker askers[CONTROL_ASKERS_MAX];
};

/* ---- Answers ----------------------------------------------------------------------------------------------------- */

static void WEIR_PRINTF(2, 3) say(struct asker *asker, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    const int size = vsnprintf(asker->answer + asker->used, ANSWER_MAX - asker->used, format, arguments);
    va_end(arguments);
    if (size > 0) asker->used += (size_t)size < ANSWER_MAX - asker->used ? (size_t)size : ANSWER_MAX - asker->used - 1;
}

static void drop(struct asker *asker)
{
    close(asker->descriptor); /* leaves the epoll set */
    asker->phase = FREE;
}

/* As much as the asker takes now; it is gone with the last byte. */
static void write_some(struct asker *asker)
{
    while (asker->written < asker->used) {
        const ssize_t size = send(asker->descriptor, asker->answer + asker->written, asker->used - asker->written,
                                  MSG_NOSIGNAL | MSG_DONTWAIT);
        if (size < 0 && errno == EINTR) continue;
        if (size < 0 && errno == EAGAIN) return;
        if (size < 0) break;
        asker->written += (size_t)size;
    }
    drop(asker);
}

/* The answer is complete. */
static void begin_writing(struct control *control, struct asker *asker)
{
    struct epoll_event event = { .events = EPOLLOUT, .data.ptr = asker };
    asker->phase = WRITING;
    asker->written = 0;
    asker->deadline_ms = clock_now_ms() + SPEAK_MS;
    if (epoll_ctl(control->poll, EPOLL_CTL_MOD, asker->descriptor, &event) == 0) write_some(asker);
    else drop(asker);
}

static void refuse(struct control *control, struct asker *asker, enum weir_code code, const char *sentence)
{
    asker->used = 0;
    say(asker, "error %d %s\n", weir_code_exit_status(code), sentence);
    begin_writing(control, asker);
}

static void say_status(const struct control *control, struct asker *asker)
{
    struct weir_job_status status = { .size = sizeof status };
    weir_job_status(control->options.job, &status);
    say(asker, "name %s\nprogram %s\npid %ld\ndirectory %s\n", control->options.name, control->options.program,
        (long)getpid(), control->directory);
    say(asker, "running %s\n", status.running && !control->is_restarting ? "true" : "false");
#define SAY_COUNT(field) say(asker, #field " %llu\n", (unsigned long long)status.field)
#define SAY_MS(field) say(asker, #field " %.3f\n", status.field)
    SAY_COUNT(incarnation);
    SAY_COUNT(epoch_committed);
    SAY_COUNT(epochs);
    SAY_COUNT(restarts);
    SAY_COUNT(records_in);
    SAY_COUNT(records_out);
    SAY_COUNT(records_out_open);
    SAY_COUNT(bytes_in);
    say(asker, "lag_records %lld\n", (long long)status.lag_records);
    SAY_MS(commit_latency_ms);
    SAY_MS(commit_latency_p50_ms);
    SAY_MS(commit_latency_p99_ms);
    SAY_MS(durable_latency_p50_ms);
    SAY_MS(durable_latency_p99_ms);
    SAY_COUNT(frame_bytes);
    SAY_MS(record_gap_p99_ms);
    SAY_MS(record_gap_max_ms);
    SAY_COUNT(state_entries);
    SAY_COUNT(state_bytes);
    SAY_COUNT(state_memory);
    SAY_COUNT(state_memory_max);
    SAY_COUNT(state_memory_budget);
    SAY_COUNT(parallelism);
    SAY_COUNT(max_parallelism);
    SAY_COUNT(checkpoints_done);
#undef SAY_COUNT
#undef SAY_MS
    say(asker, "ok\n");
}

/* ---- Requests ---------------------------------------------------------------------------------------------------- */

static void take_savepoint(struct control *control, struct asker *asker, const char *directory, bool stops)
{
    struct weir_error error;
    struct weir_savepoint_status status = { .size = sizeof status };
    asker->phase = WAITING_SAVEPOINT;
    asker->stops = stops;
    if (weir_job_savepoint(control->options.job, directory[0] == '\0' ? NULL : directory, stops, &error) != WEIR_OK) {
        refuse(control, asker, error.code, error.text);
        return;
    }
    weir_job_savepoint_status(control->options.job, &status);
    asker->ticket = status.number;
}

/* 0 = it is no number that could be one. */
static uint32_t read_parallelism(const char *text)
{
    char *end;
    const unsigned long number = strtoul(text, &end, 10);
    return text[0] < '0' || text[0] > '9' || *end != '\0' || number > UINT32_MAX ? 0 : (uint32_t)number;
}

static void rescale(struct control *control, struct asker *asker, uint32_t parallelism)
{
    struct weir_error error;
    asker->phase = WAITING_RESTART;
    if (control->is_restarting) refuse(control, asker, WEIR_ENVIRONMENT, "the job is being started anew already");
    else if (control->options.rescale(control->options.user, parallelism, &error) != WEIR_OK)
        refuse(control, asker, error.code, error.text);
    else control->is_restarting = true;
}

/* Alone, or with an argument behind it. */
static bool is_verb(const char *request, const char *verb)
{
    const size_t size = strlen(verb);
    return strncmp(request, verb, size) == 0 && (request[size] == '\0' || request[size] == ' ');
}

static void take_request(struct control *control, struct asker *asker)
{
    const char *request = asker->request, *argument = strchr(request, ' ');
    argument = argument == NULL ? "" : argument + 1;
    asker->used = 0;
    if (strcmp(request, "status") == 0) {
        say_status(control, asker);
        begin_writing(control, asker);
    } else if (strcmp(request, "checkpoint") == 0) {
        asker->ticket = weir_job_checkpoint(control->options.job);
        asker->phase = WAITING_CHECKPOINT;
        if (asker->ticket == 0) refuse(control, asker, WEIR_NO_MEMORY, "the job has no memory for that");
    } else if (is_verb(request, "savepoint")) {
        take_savepoint(control, asker, argument, false);
    } else if (is_verb(request, "stop-savepoint")) {
        take_savepoint(control, asker, argument, true);
    } else if (is_verb(request, "rescale")) {
        rescale(control, asker, read_parallelism(argument));
    } else if (strcmp(request, "stop") == 0 || strcmp(request, "cancel") == 0) {
        asker->phase = WAITING_END;
        if (request[0] == 's') weir_job_stop(control->options.job);
        else weir_job_cancel(control->options.job);
    } else {
        refuse(control, asker, WEIR_USAGE, "the job does not know this request: it is of another version of Weir");
    }
}

static void read_some(struct control *control, struct asker *asker)
{
    const ssize_t size = recv(asker->descriptor, asker->request + asker->used, CONTROL_REQUEST_MAX - asker->used,
                              MSG_DONTWAIT);
    if (size < 0 && (errno == EINTR || errno == EAGAIN)) return;
    if (size <= 0) {
        drop(asker);
        return;
    }
    asker->used += (size_t)size;
    asker->request[asker->used] = '\0';
    char *end = strchr(asker->request, '\n');
    if (end != NULL) {
        *end = '\0';
        take_request(control, asker);
    } else if (asker->used == CONTROL_REQUEST_MAX || strlen(asker->request) < asker->used) {
        refuse(control, asker, WEIR_USAGE, "a request is one line of text");
    }
}

static void look_at_checkpoint(struct control *control, struct asker *asker)
{
    struct weir_job_status status = { .size = sizeof status };
    weir_job_status(control->options.job, &status);
    if (status.checkpoints_done < asker->ticket) return;
    say(asker, "epoch %llu\nok\n", (unsigned long long)status.epoch_committed);
    begin_writing(control, asker);
}

static void look_at_savepoint(struct control *control, struct asker *asker, bool has_ended)
{
    struct weir_savepoint_status status = { .size = sizeof status };
    weir_job_savepoint_status(control->options.job, &status);
    if (status.number != asker->ticket) {
        refuse(control, asker, WEIR_FAILED, "another savepoint was asked for since");
    } else if (status.state == WEIR_SAVEPOINT_FAILED) {
        refuse(control, asker, status.error.code, status.error.text);
    } else if (status.state == WEIR_SAVEPOINT_DONE && (has_ended || !asker->stops)) {
        say(asker, "epoch %llu\nbytes %llu\npath %s\nok\n", (unsigned long long)status.epoch,
            (unsigned long long)status.bytes, status.path);
        begin_writing(control, asker);
    }
}

static void look_at_restart(struct control *control, struct asker *asker)
{
    struct weir_job_status status = { .size = sizeof status };
    weir_job_status(control->options.job, &status);
    if (control->is_restarting || !status.running) return;
    say_status(control, asker);
    begin_writing(control, asker);
}

void control_restarted(struct control *control, weir_job *job)
{
    if (control == NULL) return;
    control->options.job = job;
    control->is_restarting = job == NULL;
}

void control_refuse_restart(struct control *control, enum weir_code code, const char *sentence)
{
    for (size_t i = 0; control != NULL && i < CONTROL_ASKERS_MAX; i++)
        if (control->askers[i].phase == WAITING_RESTART) refuse(control, &control->askers[i], code, sentence);
}

/* ---- Coming and going -------------------------------------------------------------------------------------------- */

static bool is_same_user(int descriptor)
{
    struct ucred peer;
    socklen_t size = sizeof peer;
    return getsockopt(descriptor, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 &&
           (peer.uid == geteuid() || peer.uid == 0);
}

static struct asker *find_free(struct control *control)
{
    for (size_t i = 0; i < CONTROL_ASKERS_MAX; i++)
        if (control->askers[i].phase == FREE) return &control->askers[i];
    return NULL;
}

static void let_in(struct control *control)
{
    const int descriptor = accept4(control->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (descriptor < 0) return;
    struct asker *asker = find_free(control);
    struct epoll_event event = { .events = EPOLLIN, .data.ptr = asker };
    if (asker == NULL || !is_same_user(descriptor) ||
        epoll_ctl(control->poll, EPOLL_CTL_ADD, descriptor, &event) != 0) {
        close(descriptor);
        return;
    }
    asker->phase = READING;
    asker->descriptor = descriptor;
    asker->deadline_ms = clock_now_ms() + SPEAK_MS;
    asker->used = 0;
}

/* Who waits says nothing more: it can only hang up, and then its bytes or its end are read away here. */
static void hear_waiting(struct asker *asker)
{
    char more[64];
    const ssize_t size = recv(asker->descriptor, more, sizeof more, MSG_DONTWAIT);
    if (size == 0 || (size < 0 && errno != EAGAIN && errno != EINTR)) drop(asker);
}

static void serve(struct control *control, struct asker *asker)
{
    switch (asker->phase) {
    case FREE: break;
    case READING: read_some(control, asker); break;
    case WAITING_CHECKPOINT:
    case WAITING_SAVEPOINT:
    case WAITING_RESTART:
    case WAITING_END: hear_waiting(asker); break;
    case WRITING: write_some(asker); break;
    }
}

int control_timeout_ms(const struct control *control)
{
    if (control == NULL) return -1;
    int64_t timeout_ms = -1;
    const int64_t now = clock_now_ms();
    for (size_t i = 0; i < CONTROL_ASKERS_MAX; i++) {
        const struct asker *asker = &control->askers[i];
        int64_t due_ms = LOOK_MS;
        if (asker->phase == FREE || asker->phase == WAITING_END) continue;
        if (asker->phase == READING || asker->phase == WRITING) due_ms = asker->deadline_ms > now ? asker->deadline_ms - now : 0;
        if (timeout_ms < 0 || due_ms < timeout_ms) timeout_ms = due_ms;
    }
    return (int)timeout_ms;
}

int control_descriptor(const struct control *control)
{
    return control == NULL ? -1 : control->poll;
}

void control_step(struct control *control)
{
    if (control == NULL) return;
    struct epoll_event events[CONTROL_ASKERS_MAX + 1];
    const int count = epoll_wait(control->poll, events, CONTROL_ASKERS_MAX + 1, 0);
    for (int i = 0; i < count; i++) {
        if (events[i].data.ptr == NULL) let_in(control);
        else serve(control, events[i].data.ptr);
    }
    for (size_t i = 0; i < CONTROL_ASKERS_MAX; i++) {
        struct asker *asker = &control->askers[i];
        const bool has_deadline = asker->phase == READING || asker->phase == WRITING;
        if (asker->phase == WAITING_CHECKPOINT) look_at_checkpoint(control, asker);
        else if (asker->phase == WAITING_SAVEPOINT) look_at_savepoint(control, asker, false);
        else if (asker->phase == WAITING_RESTART) look_at_restart(control, asker);
        else if (has_deadline && clock_now_ms() >= asker->deadline_ms) drop(asker);
    }
}

/* ---- Open and close ---------------------------------------------------------------------------------------------- */

/* The first name that is free. A process with our number that died may have left one behind. */
static int take_name(struct control *control, const char *directory, const char *unnamed)
{
    for (int number = 1; number <= SOCKETS_MAX; number++) {
        char suffix[16] = "";
        if (number > 1) (void)snprintf(suffix, sizeof suffix, "-%d", number);
        (void)snprintf(control->path, sizeof control->path, "%s/%ld%s.sock", directory, (long)getpid(), suffix);
        if (link(unnamed, control->path) == 0) return 0;
        if (errno != EEXIST) return errno;
        const int probe = control_connect(control->path, SOCK_NONBLOCK);
        if (probe >= 0) close(probe);
        if (probe == -ECONNREFUSED && link(unnamed, control->path) == 0) return 0;
    }
    return EADDRINUSE;
}

/* Bound and listening under a name that nobody looks for, and only then given its own: who finds a socket that does not
 * listen knows that its process is dead. */
static int listen_unnamed(struct control *control, const char *directory, char path[CONTROL_PATH_MAX])
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    const int length = snprintf(path, CONTROL_PATH_MAX, "%s/%ld.%05x", directory, (long)getpid(),
                                (unsigned)clock_us(CLOCK_MONOTONIC) & 0xfffff);
    if (length < 0 || (size_t)length >= sizeof address.sun_path) return ENAMETOOLONG;
    memcpy(address.sun_path, path, strlen(path) + 1);
    if (bind(control->listener, (const struct sockaddr *)&address, sizeof address) != 0) return errno;
    if (listen(control->listener, CONTROL_ASKERS_MAX) == 0) return 0;
    const int result = errno;
    (void)unlink(path);
    return result;
}

static int start_listening(struct control *control, const char *directory)
{
    struct epoll_event event = { .events = EPOLLIN, .data.ptr = NULL };
    control->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    control->poll = epoll_create1(EPOLL_CLOEXEC);
    if (control->listener < 0 || control->poll < 0) return errno;
    char unnamed[CONTROL_PATH_MAX];
    int result = listen_unnamed(control, directory, unnamed);
    if (result == 0) {
        result = take_name(control, directory, unnamed);
        (void)unlink(unnamed);
    }
    if (result != 0) {
        control->path[0] = '\0';
        return result;
    }
    return epoll_ctl(control->poll, EPOLL_CTL_ADD, control->listener, &event) == 0 ? 0 : errno;
}

static void destroy(struct control *control)
{
    if (control->listener >= 0) close(control->listener);
    if (control->poll >= 0) close(control->poll);
    if (control->path[0] != '\0') (void)unlink(control->path);
    free(control);
}

/* The folder may not be there yet. */
static void note_directory(struct control *control)
{
    const char *given = control->options.directory;
    char here[CONTROL_PATH_MAX] = "";
    if (given[0] != '/' && getcwd(here, sizeof here) == NULL) here[0] = '\0';
    (void)snprintf(control->directory, sizeof control->directory, "%s%s%s/%s", here, here[0] == '\0' ? "" : "/", given,
                   control->options.name);
}

enum weir_code control_open(const struct control_options *options, struct control **made, struct weir_error *error)
{
    char directory[CONTROL_PATH_MAX];
    *made = NULL;
    const enum weir_code code = control_directory(true, directory, error);
    if (code != WEIR_OK) return code;
    struct control *control = calloc(1, sizeof *control);
    if (control == NULL) return weir_error_set(error, WEIR_NO_MEMORY, WEIR_REMEDY_STOP, "no memory for a control socket");
    control->options = *options;
    control->listener = control->poll = -1;
    note_directory(control);
    control_sweep(directory);
    const int result = start_listening(control, directory);
    if (result != 0) {
        destroy(control);
        return weir_error_set(error, WEIR_ENVIRONMENT, WEIR_REMEDY_STOP, "no control socket in %s: %s", directory,
                              strerror(result));
    }
    *made = control;
    return WEIR_OK;
}

/* The last words of a process: waits for an asker that reads slowly, but not for long. */
static void write_all(struct asker *asker)
{
    for (int tries = 0; asker->phase == WRITING && tries < 10; tries++) {
        struct pollfd descriptor = { .fd = asker->descriptor, .events = POLLOUT };
        if (poll(&descriptor, 1, 100) > 0) write_some(asker);
    }
    if (asker->phase != FREE) drop(asker);
}

void control_close(struct control *control, const struct weir_error *outcome)
{
    if (control == NULL) return;
    for (size_t i = 0; i < CONTROL_ASKERS_MAX; i++) {
        struct asker *asker = &control->askers[i];
        if (asker->phase == WAITING_CHECKPOINT) look_at_checkpoint(control, asker);
        if (asker->phase == WAITING_SAVEPOINT && outcome->code == WEIR_OK) look_at_savepoint(control, asker, true);
        if (asker->phase == WAITING_SAVEPOINT && outcome->code != WEIR_OK) asker->phase = WAITING_END;
        if (asker->phase == WAITING_RESTART && outcome->code != WEIR_OK) asker->phase = WAITING_END;
        if (asker->phase == WAITING_END && outcome->code == WEIR_OK) {
            say_status(control, asker);
            begin_writing(control, asker);
        } else if (asker->phase == WAITING_END) {
            refuse(control, asker, outcome->code, outcome->text);
        } else if (asker->phase != FREE && asker->phase != WRITING) {
            refuse(control, asker, WEIR_ENVIRONMENT, "the job has ended");
        }
        write_all(asker);
    }
    destroy(control);
}
