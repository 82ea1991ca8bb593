#include "base/crash.h"

#ifdef WEIR_CRASH_POINTS
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *const names[] = {
#define CRASH_POINT_NAME(name) #name,
    CRASH_POINTS(CRASH_POINT_NAME) CRASH_POINTS_ASKED(CRASH_POINT_NAME)
#undef CRASH_POINT_NAME
};

static _Atomic long passes[CRASH_POINT_ALL];

static void note(const char *name)
{
    const char *path = getenv("WEIR_CRASH_LOG");
    if (path == NULL) return;
    const int file = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (file < 0) return;
    char line[64];
    const size_t size = strlen(name);
    memcpy(line, name, size);
    line[size] = '\n';
    if (write(file, line, size + 1) < 0) _exit(1);
    close(file);
}

void crash_point_pass(enum crash_point point)
{
    const char *wanted = getenv("WEIR_CRASH");
    if (wanted == NULL) return;
    const size_t size = strlen(names[point]);
    if (strncmp(wanted, names[point], size) != 0 || wanted[size] != ':') return;
    if (atomic_fetch_add(&passes[point], 1) + 1 != strtol(wanted + size + 1, NULL, 10)) return;
    note(names[point]);
    kill(getpid(), SIGKILL);
}
#else
/* A translation unit may not be empty. */
typedef int crash_points_are_not_compiled_in;
#endif
