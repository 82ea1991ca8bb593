#include "state/store_files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
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

static enum weir_code damaged(struct weir_error *error, const char *directory, const char *name, const char *how)
{
    return weir_error_set(error, WEIR_DAMAGED, WEIR_REMEDY_STOP,
                          "damaged state: the file %s/%s %s; restore from another checkpoint", directory, name, how);
}

static bool path_of(char path[STORE_PATH_MAX], const char *directory, const char *name)
{
    errno = ENAMETOOLONG;
    return snprintf(path, STORE_PATH_MAX, "%s/%s", directory, name) < STORE_PATH_MAX;
}

void store_files_deinit(struct state_files *files)
{
    vec_free(&files->vec);
}

bool store_file_is_table(const char *name)
{
    const size_t size = strlen(name);
    return size > 4 && strcmp(name + size - 4, ".sst") == 0;
}

/* ---- Length and hash --------------------------------------------------------------------------------------------- */

enum { COPY_BYTES = 65536 };

/* Hashes what is behind `from`, and writes it to `target` unless that is negative. */
static bool read_through(int file, uint64_t from, int target, uint64_t *hash)
{
    char *chunk = malloc(COPY_BYTES);
    struct hash_stream *stream = hash_stream_create(0);
    ssize_t got = chunk == NULL || stream == NULL ? -1 : 1;
    if (got < 0) errno = ENOMEM;
    while (got > 0) {
        got = pread(file, chunk, COPY_BYTES, (off_t)from);
        if (got <= 0) break;
        hash_stream_update(stream, chunk, (size_t)got);
        from += (uint64_t)got;
        if (target >= 0 && write(target, chunk, (size_t)got) != got) got = -1;
    }
    if (stream != NULL) {
        *hash = hash_stream_value(stream);
        hash_stream_destroy(stream);
    }
    free(chunk);
    return got == 0;
}

static bool measure_open(int file, const char *name, struct state_file *found)
{
    struct stat stat;
    if (fstat(file, &stat) < 0) return false;
    found->length = (uint64_t)stat.st_size;
    const bool whole = !store_file_is_table(name) || found->length < STORE_TAIL_BYTES;
    return read_through(file, whole ? 0 : found->length - STORE_TAIL_BYTES, -1, &found->hash);
}

/* False with errno. */
static bool measure(const char *directory, const char *name, struct state_file *found)
{
    char path[STORE_PATH_MAX];
    *found = (struct state_file){ 0 };
    errno = ENAMETOOLONG;
    if (strlen(name) >= sizeof found->name || !path_of(path, directory, name)) return false;
    memcpy(found->name, name, strlen(name) + 1);
    const int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0) return false;
    const bool done = measure_open(file, name, found);
    const int reason = errno;
    (void)close(file);
    errno = reason;
    return done;
}

enum weir_code store_files_list(const char *directory, struct state_files *files, struct weir_error *error)
{
    DIR *folder = opendir(directory);
    if (folder == NULL) return refuse(error, "read", directory, "");
    enum weir_code code = WEIR_OK;
    for (const struct dirent *entry; code == WEIR_OK && (entry = readdir(folder)) != NULL;) {
        struct state_file found;
        if (entry->d_name[0] == '.') continue;
        if (!measure(directory, entry->d_name, &found)) {
            code = refuse(error, "read", directory, entry->d_name);
            continue;
        }
        struct state_file *file = vec_push(&files->vec);
        if (file != NULL) *file = found;
        else code = weir_error_set(error, WEIR_NO_MEMORY, WEIR_REMEDY_REPLAY, "state: out of memory");
    }
    (void)closedir(folder);
    return code;
}

enum weir_code store_files_verify(const char *directory, const struct state_files *files, struct weir_error *error)
{
    for (size_t i = 0; i < files->vec.count; i++) {
        const struct state_file *file = &files->vec.items[i];
        struct state_file found;
        if (!measure(directory, file->name, &found)) {
            if (errno == ENOENT) return damaged(error, directory, file->name, "is missing");
            return refuse(error, "read", directory, file->name);
        }
        if (found.length != file->length)
            return damaged(error, directory, file->name, "has another length than it had");
        if (found.hash != file->hash) return damaged(error, directory, file->name, "has other contents than it had");
    }
    return WEIR_OK;
}

/* ---- Links and copies -------------------------------------------------------------------------------------------- */

static bool copy(const char *source, const char *target)
{
    uint64_t hash;
    const int from = open(source, O_RDONLY | O_CLOEXEC);
    if (from < 0) return false;
    const int to = open(target, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    bool done = to >= 0 && read_through(from, 0, to, &hash);
    const int reason = errno;
    (void)close(from);
    errno = reason;
    if (to >= 0 && close(to) < 0) done = false;
    return done;
}

static bool link_or_copy(const char *source, const char *target, const char *name)
{
    if (!store_file_is_table(name)) return copy(source, target);
    if (link(source, target) == 0) return true;
    return (errno == EXDEV || errno == EPERM || errno == EMLINK) && copy(source, target);
}

enum weir_code store_files_link(const char *source, const char *target, const struct state_files *files,
                                struct weir_error *error)
{
    char from[STORE_PATH_MAX], to[STORE_PATH_MAX];
    for (size_t i = 0; i < files->vec.count; i++) {
        const char *name = files->vec.items[i].name;
        if (!path_of(from, source, name) || !path_of(to, target, name) || !link_or_copy(from, to, name))
            return refuse(error, "bring in", source, name);
    }
    return WEIR_OK;
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
    static const char *const inside[] = { "db", "new" };
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
