#include "state/store_files.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static enum weir_code refuse(struct weir_error *error, const char *what, const char *directory, const char *name)
{
    return weir_error_set(error, WEIR_ENVIRONMENT, WEIR_REMEDY_REPLAY, "state: cannot %s %s/%s: %s", what, directory,
                          name, strerror(errno));
}

static bool path_of(char path[STORE_PATH_MAX], const char *directory, const char *name)
{
    errno = ENAMETOOLONG;
    return snprintf(path, STORE_PATH_MAX, "%s/%s", directory, name) < STORE_PATH_MAX;
}

/* ---- Folders ----------------------------------------------------------------------------------------------------- */

static enum weir_code remove_files(const char *directory, struct weir_error *error)
{
    DIR *folder = opendir(directory);
    if (folder == NULL) return errno == ENOENT ? WEIR_OK : refuse(error, "read", directory, "");
    enum weir_code code = WEIR_OK;
    for (const struct dirent *entry; code == WEIR_OK && (entry = readdir(folder)) != NULL;) {
        char path[STORE_PATH_MAX];
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
        if (!path_of(path, directory, entry->d_name) || unlink(path) < 0)
            code = refuse(error, "remove", directory, entry->d_name);
    }
    (void)closedir(folder);
    if (code == WEIR_OK && rmdir(directory) < 0) code = refuse(error, "remove", directory, "");
    return code;
}

enum weir_code store_files_remove(const char *directory, struct weir_error *error)
{
    static const char *const inside[] = { "db", "new", "base" };
    for (size_t i = 0; i < sizeof inside / sizeof inside[0]; i++) {
        char path[STORE_PATH_MAX];
        if (!path_of(path, directory, inside[i])) return refuse(error, "remove", directory, inside[i]);
        const enum weir_code code = remove_files(path, error);
        if (code != WEIR_OK) return code;
    }
    return remove_files(directory, error);
}

enum weir_code store_files_make(const char *directory, struct weir_error *error)
{
    return mkdir(directory, 0777) < 0 ? refuse(error, "make the folder", directory, "") : WEIR_OK;
}

enum weir_code store_files_make_missing(const char *directory, struct weir_error *error)
{
    if (mkdir(directory, 0777) == 0 || errno == EEXIST) return WEIR_OK;
    return refuse(error, "make the folder", directory, "");
}

bool store_files_temporary(const char *name, char directory[STORE_PATH_MAX])
{
    const char *above = getenv("TMPDIR");
    if (above == NULL || *above == '\0') above = "/tmp";
    errno = ENAMETOOLONG;
    return snprintf(directory, STORE_PATH_MAX, "%s/%s-XXXXXX", above, name) < STORE_PATH_MAX && mkdtemp(directory) != NULL;
}

typedef void each_fn(const char *path, const char *name, void *user);

static void each_in(const char *directory, each_fn *each, void *user)
{
    DIR *folder = opendir(directory);
    if (folder == NULL) return;
    for (const struct dirent *entry; (entry = readdir(folder)) != NULL;) {
        char path[STORE_PATH_MAX];
        if (entry->d_name[0] != '.' && path_of(path, directory, entry->d_name)) each(path, entry->d_name, user);
    }
    (void)closedir(folder);
}

static void remove_if_begins(const char *path, const char *name, void *user)
{
    const char *const prefix = user;
    if (strncmp(name, prefix, strlen(prefix)) == 0) (void)unlink(path);
}

void store_files_remove_some(const char *directory, const char *prefix)
{
    each_in(directory, remove_if_begins, (void *)(uintptr_t)prefix);
}

static void remove_store(const char *path, const char *name, void *user)
{
    (void)name, (void)user;
    (void)store_files_remove(path, NULL);
}

struct sweep {
    const char *prefix;
    uint64_t last;
};

static void sweep_one(const char *path, const char *name, void *user)
{
    const struct sweep *sweep = user;
    const size_t size = strlen(sweep->prefix);
    char *end;
    if (strncmp(name, sweep->prefix, size) != 0) return;
    const unsigned long long number = strtoull(name + size, &end, 10);
    if (end == name + size || *end != '\0' || number > sweep->last) return;
    each_in(path, remove_store, NULL);
    (void)rmdir(path);
}

void store_files_sweep(const char *directory, const char *prefix, uint64_t last)
{
    struct sweep sweep = { .prefix = prefix, .last = last };
    each_in(directory, sweep_one, &sweep);
}
