#include "weir/control.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "main/control.h"

enum { LINE_MAX_BYTES = 8192, SOCKETS_ASKED_MAX = 1024 };

struct sockets {
    char directory[CONTROL_PATH_MAX];
    char names[SOCKETS_ASKED_MAX][32];
    size_t count;
};

/* ---- One conversation -------------------------------------------------------------------------------------------- */

static int reach(const struct sockets *sockets, const char *name)
{
    char path[CONTROL_PATH_MAX + sizeof sockets->names[0]];
    (void)snprintf(path, sizeof path, "%s/%s", sockets->directory, name);
    return control_connect(path, 0);
}

static int send_line(int descriptor, const char *request)
{
    char line[CONTROL_REQUEST_MAX];
    const int size = snprintf(line, sizeof line, "%s\n", request);
    if (size < 0 || (size_t)size >= sizeof line) return -EMSGSIZE;
    return send(descriptor, line, (size_t)size, MSG_NOSIGNAL) == (ssize_t)size ? 0 : -EPIPE;
}

struct hearing {
    weir_control_fn *line;
    void *user;
    bool has_heard; /* anything */
    bool ended;     /* "ok" or "error" was heard */
    enum weir_code code;
    struct weir_error *error;
};

static enum weir_code code_of(int exit_status)
{
#define MATCH(name, status, text)                                                                                      \
    if (status == exit_status) return WEIR_##name;
    WEIR_CODES(MATCH)
#undef MATCH
    return WEIR_FAILED;
}

static void hear_line(struct hearing *hearing, char *line)
{
    char *value = strchr(line, ' ');
    hearing->has_heard = true;
    if (value != NULL) *value++ = '\0';
    else value = line + strlen(line);
    if (strcmp(line, "ok") == 0) {
        hearing->ended = true;
    } else if (strcmp(line, "error") == 0) {
        char *sentence;
        const enum weir_code code = code_of((int)strtol(value, &sentence, 10));
        hearing->ended = true;
        hearing->code = weir_error_set(hearing->error, code == WEIR_OK ? WEIR_FAILED : code, WEIR_REMEDY_STOP, "%s",
                                       sentence + (*sentence == ' '));
    } else if (hearing->line != NULL) {
        hearing->line(hearing->user, line, value);
    }
}

/* All lines up to the last; false when they break off. `until_ms` is for the first of them. */
static bool hear(int descriptor, int64_t until_ms, struct hearing *hearing)
{
    char text[LINE_MAX_BYTES];
    size_t used = 0;
    while (!hearing->ended) {
        struct pollfd readable = { .fd = descriptor, .events = POLLIN };
        const int64_t left_ms = until_ms - clock_now_ms();
        const int ready = poll(&readable, 1, until_ms < 0 ? -1 : left_ms > 0 ? (int)left_ms : 0);
        if (ready < 0 && errno == EINTR) continue;
        const ssize_t size = ready <= 0 ? -1 : recv(descriptor, text + used, sizeof text - 1 - used, 0);
        if (size <= 0) return false;
        used += (size_t)size;
        text[used] = '\0';
        char *begin = text;
        for (char *end; !hearing->ended && (end = strchr(begin, '\n')) != NULL; begin = end + 1) {
            *end = '\0';
            hear_line(hearing, begin);
        }
        used = strlen(begin);
        memmove(text, begin, used + 1);
        if (used == sizeof text - 1) return false;
    }
    return true;
}

/* What has to be waited for in the job itself is waited for without limit. */
static bool takes_long(const char *request)
{
    return strcmp(request, "status") != 0;
}

/* 0, or a negative errno. */
static int ask_once(const struct sockets *sockets, const char *name, const char *request, int64_t until_ms,
                    struct hearing *hearing, bool *is_whole)
{
    const int descriptor = reach(sockets, name);
    const int result = descriptor < 0 ? descriptor : send_line(descriptor, request);
    *is_whole = result == 0 && hear(descriptor, until_ms, hearing);
    if (descriptor >= 0) close(descriptor);
    return result;
}

/* Who is slow to speak is cut off, and so is who comes when many ask (control.h): on a busy machine that is nobody's fault. What
 * changes nothing is asked again. */
static enum weir_code converse(const struct sockets *sockets, const char *name, const char *request,
                               int64_t patience_ms, struct hearing *hearing)
{
    enum { PAUSE_MS = 10 };
    bool is_whole;
    const int64_t until_ms = takes_long(request) ? -1 : clock_now_ms() + patience_ms;
    int result = ask_once(sockets, name, request, until_ms, hearing, &is_whole);
    while (!is_whole && !hearing->has_heard && result != -ECONNREFUSED && result != -ENOENT && clock_now_ms() < until_ms) {
        (void)poll(NULL, 0, PAUSE_MS);
        result = ask_once(sockets, name, request, until_ms, hearing, &is_whole);
    }
    if (is_whole) return hearing->code;
    return weir_error_set(hearing->error, WEIR_ENVIRONMENT, WEIR_REMEDY_STOP, "the job at %s/%s does not answer: %s",
                          sockets->directory, name,
                          result < 0 ? strerror(-result) : "it ended, or is too busy; its log says more");
}

/* ---- Who is there ------------------------------------------------------------------------------------------------ */

static enum weir_code list_sockets(struct sockets *sockets, struct weir_error *error)
{
    sockets->count = 0;
    const enum weir_code code = control_directory(false, sockets->directory, error);
    if (code != WEIR_OK) return code;
    DIR *directory = opendir(sockets->directory);
    if (directory == NULL) return WEIR_OK; /* nobody ever listened here */
    for (struct dirent *entry; (entry = readdir(directory)) != NULL && sockets->count < SOCKETS_ASKED_MAX;) {
        const size_t size = strlen(entry->d_name);
        if (size >= sizeof sockets->names[0] || !control_is_socket(entry->d_name)) continue;
        memcpy(sockets->names[sockets->count++], entry->d_name, size + 1);
    }
    closedir(directory);
    return WEIR_OK;
}

struct introduction {
    const char *wanted;
    char wanted_path[PATH_MAX]; /* "" = it is no path */
    bool is_wanted;
};

static void hear_introduction(void *user, const char *key, const char *value)
{
    struct introduction *introduction = user;
    char path[PATH_MAX];
    if (strcmp(key, "name") == 0 && strcmp(value, introduction->wanted) == 0) introduction->is_wanted = true;
    if (strcmp(key, "directory") != 0 || introduction->wanted_path[0] == '\0' || realpath(value, path) == NULL) return;
    const size_t size = strlen(introduction->wanted_path);
    /* The job's own folder, or the one of all its --checkpoint-dir's jobs. */
    if (strncmp(path, introduction->wanted_path, size) != 0) return;
    if (path[size] == '\0' || (path[size] == '/' && strchr(path + size + 1, '/') == NULL)) introduction->is_wanted = true;
}

static bool is_wanted(const struct sockets *sockets, const char *name, const char *job, int64_t patience_ms)
{
    struct introduction introduction = { .wanted = job };
    struct hearing hearing = { .line = hear_introduction, .user = &introduction };
    if (realpath(job, introduction.wanted_path) == NULL) introduction.wanted_path[0] = '\0';
    return converse(sockets, name, "status", patience_ms, &hearing) == WEIR_OK && introduction.is_wanted;
}

static enum weir_code find(const struct sockets *sockets, const char *job, int64_t patience_ms, const char **found,
                           struct weir_error *error)
{
    *found = NULL;
    for (size_t i = 0; i < sockets->count; i++) {
        if (!is_wanted(sockets, sockets->names[i], job, patience_ms)) continue;
        if (*found != NULL)
            return weir_error_set(error, WEIR_USAGE, WEIR_REMEDY_STOP,
                                  "several jobs called '%s' run on this machine: name one by its checkpoint directory",
                                  job);
        *found = sockets->names[i];
    }
    if (*found != NULL) return WEIR_OK;
    return weir_error_set(error, WEIR_ENVIRONMENT, WEIR_REMEDY_STOP,
                          "no job '%s' of this user runs on this machine (%s); 'weir list' shows those that do", job,
                          sockets->directory);
}

enum weir_code weir_control_ask(const char *job, const char *request, int64_t patience_ms, weir_control_fn *line,
                                void *user, struct weir_error *error)
{
    struct sockets *sockets = malloc(sizeof *sockets);
    if (sockets == NULL) return weir_error_set(error, WEIR_NO_MEMORY, WEIR_REMEDY_STOP, "out of memory");
    const char *name;
    struct hearing hearing = { .line = line, .user = user, .error = error };
    enum weir_code code = list_sockets(sockets, error);
    if (code == WEIR_OK) code = find(sockets, job, patience_ms, &name, error);
    if (code == WEIR_OK) code = converse(sockets, name, request, patience_ms, &hearing);
    free(sockets);
    return code;
}

/* The lines are kept until it is sure that the job has answered in full: one may end just now. */
struct each {
    char lines[LINE_MAX_BYTES];
    size_t used;
};

static void keep_line(void *user, const char *key, const char *value)
{
    struct each *each = user;
    const int size = snprintf(each->lines + each->used, sizeof each->lines - each->used, "%s %s\n", key, value);
    if (size > 0 && (size_t)size < sizeof each->lines - each->used) each->used += (size_t)size;
}

enum weir_code weir_control_each(int64_t patience_ms, void (*begin)(void *user), weir_control_fn *line, void *user,
                                 struct weir_error *error)
{
    struct sockets *sockets = malloc(sizeof *sockets);
    if (sockets == NULL) return weir_error_set(error, WEIR_NO_MEMORY, WEIR_REMEDY_STOP, "out of memory");
    const enum weir_code code = list_sockets(sockets, error);
    for (size_t i = 0; code == WEIR_OK && i < sockets->count; i++) {
        struct each each = { .used = 0 };
        struct hearing keeping = { .line = keep_line, .user = &each }, telling = { .line = line, .user = user };
        if (converse(sockets, sockets->names[i], "status", patience_ms, &keeping) != WEIR_OK) continue;
        begin(user);
        for (char *at = each.lines, *end; (end = memchr(at, '\n', (size_t)(each.lines + each.used - at))); at = end + 1) {
            *end = '\0';
            hear_line(&telling, at);
        }
    }
    free(sockets);
    return code;
}
