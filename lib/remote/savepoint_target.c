#include "remote/savepoint_target.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static enum weir_code refuse(struct weir_error *error, const char *why)
{
    return weir_error_set(error, WEIR_USAGE, WEIR_REMEDY_STOP,
                          "a savepoint that is asked for here must lie below execution.checkpointing.savepoint-dir: %s", why);
}

/* Printable ASCII but for what shells, URLs or other systems might read as something else. */
static bool is_plain(const char *text)
{
    static const char legal[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-+=@,/";
    return strspn(text, legal) == strlen(text);
}

static bool goes_up(const char *path)
{
    while (*path != '\0') {
        path += strspn(path, "/");
        const size_t size = strcspn(path, "/");
        if (size == 2 && memcmp(path, "..", 2) == 0) return true;
        path += size;
    }
    return false;
}

/* What of `path` begins with `root`, at the end of a component. */
static const char *behind(const char *path, const char *root)
{
    size_t size = strlen(root);
    while (size > 1 && root[size - 1] == '/') size--;
    if (strncmp(path, root, size) != 0) return NULL;
    return path[size] == '\0' || path[size] == '/' || root[size - 1] == '/' ? path + size : NULL;
}

/* The path of what exists of `path`, without links. */
static bool resolve_existing(const char *path, char resolved[PATH_MAX])
{
    char part[PATH_MAX];
    if (snprintf(part, sizeof part, "%s", path) >= (int)sizeof part) return false;
    while (realpath(part, resolved) == NULL) {
        char *slash = strrchr(part, '/');
        if (errno != ENOENT || slash == NULL || slash == part) return false;
        *slash = '\0';
    }
    return true;
}

enum weir_code savepoint_target(const char *root, const char *target, char *path, size_t path_size, struct weir_error *error)
{
    char real_root[PATH_MAX], real[PATH_MAX];
    if (root == NULL)
        return weir_error_set(error, WEIR_USAGE, WEIR_REMEDY_STOP,
                              "execution.checkpointing.savepoint-dir is not set, and nothing else says where savepoints that "
                              "are asked for here may lie");
    if (!is_plain(target)) return refuse(error, "the target has characters that no path here has");
    if (goes_up(target)) return refuse(error, "the target has a component '..'");
    const char *rest = target[0] == '/' ? behind(target, root) : target;
    if (rest == NULL) return refuse(error, "the target is somewhere else");
    rest += strspn(rest, "/");
    const int size = snprintf(path, path_size, "%s%s%s", root, rest[0] == '\0' ? "" : "/", rest);
    if (size < 0 || (size_t)size >= path_size) return refuse(error, "the target is too long");
    /* Nothing there yet: it will be made, and holds no links. */
    if (realpath(root, real_root) == NULL) {
        if (errno == ENOENT) return WEIR_OK;
        return refuse(error, strerror(errno));
    }
    if (!resolve_existing(path, real) || behind(real, real_root) == NULL)
        return refuse(error, "a symbolic link leads out of it");
    return WEIR_OK;
}

enum weir_code savepoint_target_make_parents(const char *path, struct weir_error *error)
{
    char part[PATH_MAX];
    (void)snprintf(part, sizeof part, "%s", path);
    for (char *slash = strchr(part + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (mkdir(part, 0777) != 0 && errno != EEXIST)
            return weir_error_set(error, WEIR_ENVIRONMENT, WEIR_REMEDY_STOP, "making the directory %s: %s", part,
                                  strerror(errno));
        *slash = '/';
    }
    return WEIR_OK;
}
