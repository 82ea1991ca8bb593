/* The folder of a savepoint: its mark, opening, listing, removing. */
#include "weir/savepoint.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "checkpoint/savepoint_private.h"

#define MARK_FILE "savepoint"
#define MARK_TEMPORARY "savepoint.tmp"

enum { MARK_BYTES_MAX = 1024 };

/* ---- Errors ------------------------------------------------------------------------------------------------------ */

static const struct disk *disk_or_system(const struct disk *disk)
{
    return disk == NULL ? &disk_system : disk;
}

static enum weir_code no_memory(struct weir_error *error, const char *path)
{
    return weir_error_set(error, WEIR_NO_MEMORY, WEIR_REMEDY_REPLAY, "savepoint %s: out of memory", path);
}

enum weir_code savepoint_disk_error(struct weir_error *error, const char *path, int result, const char *doing,
                                 const char *file)
{
    if (result == -ENOMEM) return no_memory(error, path);
    return weir_error_set(error, WEIR_ENVIRONMENT, WEIR_REMEDY_STOP, "savepoint %s: %s %s: %s%s", path, doing, file,
                          store_errno_text(result), store_errno_advice(result));
}

void savepoint_join(char path[STORE_PATH_MAX], const char *directory, const char *file)
{
    const int size = snprintf(path, STORE_PATH_MAX, "%s/%s", directory, file);
    CHECK(size > 0 && size < STORE_PATH_MAX);
}

/* ---- The mark ---------------------------------------------------------------------------------------------------- */

static int mark_render(char text[MARK_BYTES_MAX], const struct savepoint_mark *mark)
{
    const struct weir_frame_name *frame = &mark->frame, *taken = &mark->taken;
    char changed[80];
    const bool is_changed = taken->length != frame->length || taken->hash != frame->hash;
    (void)snprintf(changed, sizeof changed, "taken-as %" PRIx64 " %" PRIx64 "\n", taken->length, taken->hash);
    const int size = snprintf(text, MARK_BYTES_MAX,
                              "weir savepoint 1\nid %s\njob %s %s\nstore %s\ncheckpoint %" PRIu64 " %" PRIu64
                              "\nframe %s %" PRIx64 " %" PRIx64 " %" PRIx64 "\n%staken %" PRId64 "\nbytes %" PRIu64 "\n",
                              mark->id, mark->job, mark->slot, mark->store, frame->incarnation, frame->epoch, frame->file,
                              frame->offset, frame->length, frame->hash, is_changed ? changed : "", mark->wall_ms,
                              mark->bytes);
    CHECK(size > 0 && size < MARK_BYTES_MAX - 32);
    return size + snprintf(text + size, MARK_BYTES_MAX - (size_t)size, "hash %016" PRIx64 "\n",
                           hash_64(text, (size_t)size));
}

/* There is one way to write a mark, so whatever else is in the text shows when it is written again. */
static bool mark_parse(const char *text, struct savepoint_mark *mark)
{
    struct weir_frame_name *frame = &mark->frame;
    char again[MARK_BYTES_MAX];
    int at = 0, more = 0;
    *mark = (struct savepoint_mark){ .wall_ms = 0 };
    const int fields = sscanf(text,
                              "weir savepoint 1\nid %39s\njob %71s %15s\nstore %39s\ncheckpoint %" SCNu64 " %" SCNu64
                              "\nframe %63s %" SCNx64 " %" SCNx64 " %" SCNx64 "\n%n",
                              mark->id, mark->job, mark->slot, mark->store, &frame->incarnation, &frame->epoch, frame->file,
                              &frame->offset, &frame->length, &frame->hash, &at);
    if (fields != 10 || at == 0) return false;
    mark->taken = *frame;
    if (sscanf(text + at, "taken-as %" SCNx64 " %" SCNx64 "\n%n", &mark->taken.length, &mark->taken.hash, &more) == 2)
        at += more;
    if (sscanf(text + at, "taken %" SCNd64 "\nbytes %" SCNu64 "\n", &mark->wall_ms, &mark->bytes) != 2) return false;
    (void)mark_render(again, mark);
    return strcmp(text, again) == 0;
}

/* Reads a small text; -ENOENT when it is not there. */
static int read_text(const struct disk *disk, const char *directory, const char *name, char *text, size_t size_max)
{
    char path[STORE_PATH_MAX];
    savepoint_join(path, directory, name);
    memset(text, 0, size_max);
    const int file = disk->open(disk->user, path, DISK_READ);
    if (file < 0) return file;
    const int64_t size = disk->size(disk->user, file);
    int result = 0;
    if (size > 0 && (uint64_t)size < size_max) result = disk_read_all(disk, file, text, (size_t)size, 0);
    disk->close(disk->user, file);
    return result;
}

static enum weir_code check_path(const char *path, struct weir_error *error)
{
    if (path != NULL && path[0] != '\0' && strlen(path) + 128 < SAVEPOINT_PATH_MAX) return WEIR_OK;
    return weir_error_set(error, WEIR_USAGE, WEIR_REMEDY_STOP,
                          path == NULL || path[0] == '\0' ? "no directory for savepoints is given"
                                                          : "the path of the savepoint is too long");
}

enum weir_code savepoint_peek(const struct disk *disk, const char *path, struct savepoint_mark *mark, bool *found,
                              struct weir_error *error)
{
    char text[MARK_BYTES_MAX];
    *mark = (struct savepoint_mark){ .wall_ms = 0 };
    const int result = read_text(disk_or_system(disk), path, MARK_FILE, text, sizeof text);
    *found = result != -ENOENT && result != -ENOTDIR;
    if (!*found) return WEIR_OK;
    if (result < 0) return savepoint_disk_error(error, path, result, "reading", MARK_FILE);
    if (mark_parse(text, mark)) return WEIR_OK;
    return weir_error_set(error, WEIR_DAMAGED, WEIR_REMEDY_STOP,
                          "savepoint %s: the file '" MARK_FILE "', its mark, is damaged or of a newer format; put it "
                          "back from a copy",
                          path);
}

static void ignore_name(void *user, const char *name) { (void)user, (void)name; }

/* A folder with a savepoint's name, whose id file is its own, or has not outlasted the power: a store of something else
 * would have a whole one. `result` is what reading that file gave. */
static bool is_half(const struct disk *disk, const char *path, int result, const char *text)
{
    static const char first_line[] = "weir checkpoint store ";
    char id[STORE_ID_MAX];
    savepoint_id_in(path, id);
    if (id[0] == '\0') return false;
    if (result == -ENOENT) return disk->list(disk->user, path, ignore_name, NULL) == 0;
    return result == 0 && (strstr(text, id) != NULL || strncmp(text, first_line, strlen(first_line)) != 0);
}

/* Is it half a savepoint, nothing of the sort, or not there? */
static enum weir_code no_mark(const struct disk *disk, const char *path, struct weir_error *error)
{
    char text[STORE_ID_FILE_MAX];
    const int result = read_text(disk, path, STORE_ID_FILE, text, sizeof text);
    if (is_half(disk, path, result, text))
        return weir_error_set(error, WEIR_ENVIRONMENT, WEIR_REMEDY_STOP,
                              "savepoint %s was never finished: it has no mark (the file '" MARK_FILE "'), so it cannot "
                              "be used; take another one, and dispose of this one",
                              path);
    if (result < 0 && result != -ENOENT && result != -ENOTDIR)
        return savepoint_disk_error(error, path, result, "reading", "the folder");
    return weir_error_set(error, WEIR_ENVIRONMENT, WEIR_REMEDY_STOP, "%s is no savepoint: %s", path,
                          result == 0 ? "it is the checkpoint store of a job" : "there is no such folder, or no mark (the "
                                                                                "file '" MARK_FILE "') in it");
}

enum weir_code savepoint_read_mark(const struct disk *disk, const char *path, struct savepoint_mark *mark,
                                   struct weir_error *error)
{
    bool found;
    enum weir_code code = check_path(path, error);
    if (code == WEIR_OK) code = savepoint_peek(disk, path, mark, &found, error);
    return code != WEIR_OK || found ? code : no_mark(disk_or_system(disk), path, error);
}

enum weir_code savepoint_open(const struct disk *disk, const char *path, struct savepoint_mark *mark, struct store **store,
                              struct weir_error *error)
{
    *store = NULL;
    const enum weir_code code = savepoint_read_mark(disk, path, mark, error);
    if (code != WEIR_OK) return code;
    return store_open(&(struct store_options){ .directory = path, .disk = disk }, store, error);
}

void savepoint_id_in(const char *path, char id[STORE_ID_MAX])
{
    size_t size = strlen(path);
    while (size > 0 && path[size - 1] == '/') size--;
    const char *const end = path + size;
    const size_t digits = SAVEPOINT_ID_DIGITS;
    id[0] = '\0';
    if (size <= digits || end[-(ptrdiff_t)digits - 1] != '-') return;
    memcpy(id, end - digits, digits);
    id[digits] = '\0';
    if (strspn(id, "0123456789abcdef") != digits) id[0] = '\0';
}

/* Everything the mark speaks of is durable before it is there, and the folder's own name before anybody is told. */
int savepoint_put_mark(const struct disk *disk, const char *directory, const char *path, const struct savepoint_mark *mark)
{
    char text[MARK_BYTES_MAX], temporary[STORE_PATH_MAX], target[STORE_PATH_MAX];
    const int size = mark_render(text, mark);
    savepoint_join(temporary, path, MARK_TEMPORARY);
    savepoint_join(target, path, MARK_FILE);
    int result = store_write_new(disk, temporary, text, (size_t)size);
    if (result == 0) result = disk->sync_directory(disk->user, path);
    if (result == 0) result = disk->rename(disk->user, temporary, target, false);
    if (result == 0) result = disk->sync_directory(disk->user, path);
    if (result == 0) result = disk->sync_directory(disk->user, directory);
    return result;
}

/* ---- Before and after -------------------------------------------------------------------------------------------- */

static void directory_above(char above[STORE_PATH_MAX], const char *path)
{
    size_t size = strlen(path);
    while (size > 1 && path[size - 1] == '/') size--;
    while (size > 0 && path[size - 1] != '/') size--;
    while (size > 1 && path[size - 1] == '/') size--;
    (void)snprintf(above, STORE_PATH_MAX, "%.*s", size == 0 ? 1 : (int)size, size == 0 ? "." : path);
}

/* Its name is to last as long as what is in it. One that was there already may lie where we have no right to look; but who
 * made it may have been killed before its name was durable. */
static int make_directory(const struct disk *disk, const char *path)
{
    char above[STORE_PATH_MAX];
    const int result = disk->make_directory(disk->user, path);
    if (result < 0 && result != -EEXIST) return result;
    directory_above(above, path);
    const int synced = disk->sync_directory(disk->user, above);
    return result == 0 ? synced : 0;
}

enum weir_code savepoint_prepare(const struct disk *disk, const char *directory, struct weir_error *error)
{
    static const char trial_name[] = ".weir-savepoint-trial";
    char trial[STORE_PATH_MAX];
    const enum weir_code code = check_path(directory, error);
    if (code != WEIR_OK) return code;
    disk = disk_or_system(disk);
    int result = make_directory(disk, directory);
    if (result < 0) return savepoint_disk_error(error, directory, result, "making", "the directory");
    savepoint_join(trial, directory, trial_name);
    result = store_write_new(disk, trial, "", 0);
    (void)disk->remove(disk->user, trial); /* one that a crash left behind, too */
    if (result < 0 && result != -EEXIST) return savepoint_disk_error(error, directory, result, "writing into", "the directory");
    return WEIR_OK;
}

struct removal {
    const struct disk *disk;
    const char *path;
};

/* What a savepoint is made of, and nothing else. */
static bool is_part(const char *name)
{
    struct store_file file;
    return store_file_parse(name, &file) || strcmp(name, MARK_TEMPORARY) == 0 || strcmp(name, STORE_ID_FILE) == 0;
}

static void remove_file(const struct removal *removal, const char *name)
{
    char path[STORE_PATH_MAX];
    savepoint_join(path, removal->path, name);
    (void)removal->disk->remove(removal->disk->user, path);
}

static void remove_part(void *user, const char *name)
{
    if (strcmp(name, STORE_ID_FILE) != 0 && is_part(name)) remove_file(user, name);
}

/* The mark goes first, so that what is left of a removal that was cut short is half a savepoint; and the file that says so
 * goes last. */
int savepoint_remove(const struct disk *disk, const char *path)
{
    const struct removal removal = { disk, path };
    remove_file(&removal, MARK_FILE);
    (void)disk->list(disk->user, path, remove_part, (void *)(uintptr_t)&removal);
    remove_file(&removal, STORE_ID_FILE);
    return disk->remove(disk->user, path);
}

/* ---- For who has no job ------------------------------------------------------------------------------------------ */

static void describe(const struct savepoint_mark *mark, struct weir_savepoint *out)
{
    struct weir_savepoint all = { .size = out->size, .incarnation = mark->frame.incarnation, .epoch = mark->frame.epoch,
                                  .wall_ms = mark->wall_ms, .bytes = mark->bytes };
    (void)snprintf(all.id, sizeof all.id, "%s", mark->id);
    (void)snprintf(all.job, sizeof all.job, "%s", mark->job);
    (void)snprintf(all.store, sizeof all.store, "%s", mark->store);
    memcpy(out, &all, out->size < sizeof all ? out->size : sizeof all);
}

enum weir_code weir_savepoint_look(const char *path, struct weir_savepoint *savepoint, struct weir_error *error)
{
    struct savepoint_mark mark;
    const enum weir_code code = savepoint_read_mark(NULL, path, &mark, error);
    if (code == WEIR_OK) describe(&mark, savepoint);
    return code;
}

struct listing {
    const char *directory;
    weir_savepoint_fn *each;
    void *user;
};

static void list_one(void *user, const char *name)
{
    const struct listing *listing = user;
    char path[STORE_PATH_MAX];
    struct weir_error error = { .code = WEIR_OK };
    struct weir_savepoint savepoint = { .size = sizeof savepoint };
    if (strncmp(name, "savepoint-", strlen("savepoint-")) != 0) return;
    savepoint_join(path, listing->directory, name);
    const enum weir_code code = weir_savepoint_look(path, &savepoint, &error);
    listing->each(listing->user, path, code == WEIR_OK ? &savepoint : NULL, &error);
}

enum weir_code weir_savepoint_list(const char *directory, weir_savepoint_fn *each, void *user, struct weir_error *error)
{
    struct listing listing = { directory, each, user };
    const enum weir_code code = check_path(directory, error);
    if (code != WEIR_OK) return code;
    const int result = disk_system.list(disk_system.user, directory, list_one, &listing);
    return result == 0 ? WEIR_OK : savepoint_disk_error(error, directory, result, "listing", "the directory");
}

enum weir_code weir_savepoint_dispose(const char *path, struct weir_error *error)
{
    char text[STORE_ID_FILE_MAX];
    struct savepoint_mark mark;
    enum weir_code code = savepoint_read_mark(NULL, path, &mark, error);
    if (code == WEIR_USAGE) return code;
    int result = read_text(&disk_system, path, STORE_ID_FILE, text, sizeof text);
    if (code != WEIR_OK && !is_half(&disk_system, path, result, text)) return code;
    result = savepoint_remove(&disk_system, path);
    return result == 0 ? WEIR_OK : savepoint_disk_error(error, path, result, "removing", "the folder");
}
