/* Opening a store, whose it is, and reading frames back. store_log.c appends, store_base.c keeps bases. */
#include "checkpoint/store.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "checkpoint/store_private.h"

#define ID_TEMPORARY "store.tmp-"

/* ---- Names and errors -------------------------------------------------------------------------------------------- */

void store_log_name(char name[STORE_FILE_MAX], uint64_t incarnation, uint64_t number)
{
    (void)snprintf(name, STORE_FILE_MAX, "log-%" PRIu64 "-%" PRIu64, incarnation, number);
}

void store_file_path(const struct store *store, const char *file, char path[STORE_PATH_MAX])
{
    const int size = snprintf(path, STORE_PATH_MAX, "%s/%s", store->path, file);
    CHECK(size > 0 && size < STORE_PATH_MAX); /* store_open leaves room for every name */
}

bool store_file_parse(const char *name, struct store_file *file)
{
    static const char *const words[] = {
        [STORE_FILE_LOG] = "log", [STORE_FILE_BASE] = "base", [STORE_FILE_TABLE] = "table"
    };
    *file = (struct store_file){ .kind = name[0] == 'l'   ? STORE_FILE_LOG
                                         : name[0] == 'b' ? STORE_FILE_BASE
                                                          : STORE_FILE_TABLE };
    const char *const word = words[file->kind];
    if (strncmp(name, word, strlen(word)) != 0 || name[strlen(word)] != '-') return false;
    const int fields = sscanf(strchr(name, '-') + 1, "%" SCNu64 "-%" SCNu64, &file->incarnation, &file->number);
    if (fields != 2) return false;
    char again[STORE_FILE_MAX]; /* signs, leading zeroes and tails are somebody else's */
    (void)snprintf(again, sizeof again, "%s-%" PRIu64 "-%" PRIu64, word, file->incarnation,
                   file->number);
    return strcmp(name, again) == 0;
}

const char *store_errno_text(int result)
{
    const char *text = strerrordesc_np(-result);
    return text == NULL ? "unknown error" : text;
}

const char *store_errno_advice(int result)
{
    switch (-result) {
    case ENOSPC:
    case EDQUOT: return "; make room on that file system";
    case EACCES:
    case EPERM: return "; give this user the right to read and write there";
    case EROFS: return "; mount it writable";
    case EMFILE:
    case ENFILE: return "; raise the limit of open files";
    default: return "";
    }
}

enum weir_code store_disk_error(const struct store *store, struct weir_error *error, int result, const char *doing,
                                const char *file)
{
    if (result == -ENOMEM)
        return weir_error_set(error, WEIR_NO_MEMORY, WEIR_REMEDY_REPLAY,
                              "checkpoint store %s: out of memory while %s %s", store->path, doing, file);
    return weir_error_set(error, WEIR_ENVIRONMENT, WEIR_REMEDY_RETRY, "checkpoint store %s: %s %s: %s%s", store->path,
                          doing, file, store_errno_text(result), store_errno_advice(result));
}

enum weir_code store_read_error(const struct store *store, struct weir_error *error, int result, const char *file)
{
    if (result == -ENOMEM || result == -EMFILE || result == -ENFILE || result == -EACCES || result == -EPERM)
        return store_disk_error(store, error, result, "reading", file);
    return weir_error_set(error, WEIR_DAMAGED, WEIR_REMEDY_STOP,
                          "checkpoint store %s: %s %s: %s; the last commit needs this file: put it back from a copy of "
                          "the checkpoint directory",
                          store->path, file, result == -ENOENT ? "is missing" : "cannot be read", store_errno_text(result));
}

static enum weir_code no_memory(struct weir_error *error, const char *doing)
{
    return weir_error_set(error, WEIR_NO_MEMORY, WEIR_REMEDY_REPLAY, "checkpoint store: out of memory while %s", doing);
}

/* At a start nobody retries: a person has to look. */
static enum weir_code stop(struct weir_error *error, enum weir_code code)
{
    if (error != NULL) error->remedy = WEIR_REMEDY_STOP;
    return code;
}

/* ---- Directories ------------------------------------------------------------------------------------------------- */

/* Job and slot become names of directories and lines of the id file. */
static bool is_name(const char *text, size_t size_max)
{
    const size_t size = strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-");
    return size > 0 && size <= size_max && text[size] == '\0' && strcmp(text, ".") != 0 && strcmp(text, "..") != 0;
}

static enum weir_code make_directory(const struct store *store, const char *path, struct weir_error *error)
{
    const int result = store->disk->make_directory(store->disk->user, path);
    if (result == 0 || result == -EEXIST) return WEIR_OK;
    if (result == -ENOENT)
        return weir_error_set(error, WEIR_ENVIRONMENT, WEIR_REMEDY_STOP,
                              "checkpoint directory %s: the directory above it does not exist; make it, or correct the "
                              "path",
                              path);
    return weir_error_set(error, WEIR_ENVIRONMENT, WEIR_REMEDY_STOP,
                          "checkpoint directory %s: cannot be made: %s%s", path, store_errno_text(result),
                          store_errno_advice(result));
}

/* Makes the names in a directory durable, whoever made them: he may have been killed before they were, and a sync that
 * failed then may have left the directory clean in the kernel's eyes, so it is changed first. */
static int sync_names(const struct store *store, const char *directory)
{
    char path[STORE_PATH_MAX];
    const int size = snprintf(path, sizeof path, "%s/" ID_TEMPORARY "touch", directory);
    CHECK(size > 0 && size < STORE_PATH_MAX);
    const int file = store->disk->open(store->disk->user, path, DISK_CREATE);
    if (file >= 0) store->disk->close(store->disk->user, file);
    (void)store->disk->remove(store->disk->user, path);
    return store->disk->sync_directory(store->disk->user, directory);
}

static enum weir_code make_directories(const struct store *store, const char *directory, struct weir_error *error)
{
    enum weir_code code = make_directory(store, directory, error);
    if (code == WEIR_OK) code = make_directory(store, store->path, error);
    if (code != WEIR_OK) return code;
    char above[STORE_PATH_MAX];
    const int size = snprintf(above, sizeof above, "%s/..", directory);
    CHECK(size > 0 && size < STORE_PATH_MAX);
    int result = sync_names(store, directory);
    /* Somebody else's directory may be closed to us; then it was there before. */
    if (result == 0) result = sync_names(store, above);
    if (result == 0 || result == -EACCES || result == -EPERM) return WEIR_OK;
    return stop(error, store_disk_error(store, error, result, "syncing", directory));
}

/* ---- What is there ----------------------------------------------------------------------------------------------- */

struct contents {
    uint64_t file_count; /* logs, bases and tables */
    uint64_t incarnation_max;
    char temporary[STORE_FILE_MAX]; /* one that a crash left behind; "" = none */
};

static void contents_visit(void *user, const char *name)
{
    struct contents *contents = user;
    struct store_file file;
    if (store_file_parse(name, &file)) {
        contents->file_count++;
        if (file.incarnation > contents->incarnation_max) contents->incarnation_max = file.incarnation;
    } else if (strncmp(name, ID_TEMPORARY, strlen(ID_TEMPORARY)) == 0 && strlen(name) < sizeof contents->temporary) {
        memcpy(contents->temporary, name, strlen(name) + 1);
    }
}

struct list_call {
    void (*visit)(void *user, const char *file);
    void *user;
};

static void list_visit(void *user, const char *name)
{
    const struct list_call *call = user;
    struct store_file file;
    if (store_file_parse(name, &file)) call->visit(call->user, name);
}

enum weir_code store_list(struct store *store, void (*visit)(void *user, const char *file), void *user,
                          struct weir_error *error)
{
    struct list_call call = { visit, user };
    const int result = store->disk->list(store->disk->user, store->path, list_visit, &call);
    return result == 0 ? WEIR_OK : store_disk_error(store, error, result, "listing", "the directory");
}

/* ---- The id file ------------------------------------------------------------------------------------------------- */

/* Text, so that a person can see whose directory this is. The last line is XXH3 64 of the lines before it. */
int store_id_render(char text[STORE_ID_FILE_MAX], const char *id, const char *job, const char *slot)
{
    const int size =
        snprintf(text, STORE_ID_FILE_MAX, "weir checkpoint store 1\nid %s\njob %s\nslot %s\n", id, job, slot);
    CHECK(size > 0 && size < STORE_ID_FILE_MAX - 32);
    return size + snprintf(text + size, STORE_ID_FILE_MAX - (size_t)size, "hash %016" PRIx64 "\n",
                           hash_64(text, (size_t)size));
}

static enum weir_code id_accept(struct store *store, const char *text, const struct store_options *options,
                                struct weir_error *error)
{
    char again[STORE_ID_FILE_MAX];
    const char *job = store->job, *slot = store->slot;
    const int fields = sscanf(text, "weir checkpoint store 1\nid %39s\njob %71s\nslot %15s\n", store->id, store->job,
                              store->slot);
    if (fields == 3) (void)store_id_render(again, store->id, job, slot);
    if (fields != 3 || strcmp(text, again) != 0)
        return weir_error_set(error, WEIR_DAMAGED, WEIR_REMEDY_STOP,
                              "checkpoint store %s: the file 'store', which holds the store's id, is damaged or of a "
                              "newer format; put it back from a copy of the checkpoint directory",
                              store->path);
    if (options->job != NULL && (strcmp(job, options->job) != 0 || strcmp(slot, options->slot) != 0))
        return weir_error_set(error, WEIR_FOREIGN, WEIR_REMEDY_STOP,
                              "checkpoint store %s belongs to job '%s', slot %s, not to job '%s', slot %s; give this "
                              "job a directory of its own",
                              store->path, job, slot, options->job, options->slot);
    return WEIR_OK;
}

/* Reads the id file; *found is false when there is none. */
static enum weir_code id_read(struct store *store, const struct store_options *options, bool *found,
                              struct weir_error *error)
{
    char path[STORE_PATH_MAX], text[STORE_ID_FILE_MAX] = "";
    store_file_path(store, STORE_ID_FILE, path);
    const int file = store->disk->open(store->disk->user, path, DISK_READ);
    *found = file != -ENOENT;
    if (file == -ENOENT) return WEIR_OK;
    if (file < 0) return stop(error, store_disk_error(store, error, file, "opening", STORE_ID_FILE));
    const int64_t size = store->disk->size(store->disk->user, file);
    int result = 0;
    if (size > 0 && size < STORE_ID_FILE_MAX) result = disk_read_all(store->disk, file, text, (size_t)size, 0);
    store->disk->close(store->disk->user, file);
    if (result < 0) return stop(error, store_disk_error(store, error, result, "reading", STORE_ID_FILE));
    return id_accept(store, text, options, error);
}

int store_write_new(const struct disk *disk, const char *path, const char *text, size_t size)
{
    const int file = disk->open(disk->user, path, DISK_CREATE);
    if (file < 0) return file;
    int result = disk_write_all(disk, file, text, size, 0);
    if (result == 0) result = disk->sync(disk->user, file);
    disk->close(disk->user, file);
    if (result < 0) (void)disk->remove(disk->user, path);
    return result;
}

/* Gives the store a random id. Of two that try at the same time one wins, and both read what the winner wrote. */
static enum weir_code id_create(struct store *store, const struct store_options *options, struct weir_error *error)
{
    const struct weir_environment *environment = options->environment;
    char id[STORE_ID_MAX], text[STORE_ID_FILE_MAX], name[STORE_FILE_MAX];
    char temporary[STORE_PATH_MAX], path[STORE_PATH_MAX];
    (void)snprintf(id, sizeof id, "%016" PRIx64 "%016" PRIx64, environment->random(environment->user),
                   environment->random(environment->user));
    (void)snprintf(name, sizeof name, ID_TEMPORARY "%s", id);
    store_file_path(store, name, temporary);
    store_file_path(store, STORE_ID_FILE, path);

    const int size = store_id_render(text, id, options->job, options->slot);
    int result = store_write_new(store->disk, temporary, text, (size_t)size);
    if (result == 0) {
        result = store->disk->rename(store->disk->user, temporary, path, false);
        if (result < 0) (void)store->disk->remove(store->disk->user, temporary);
        if (result == -EEXIST || result == -ENOENT) result = 0; /* -ENOENT: another start has swept ours away, too */
    }
    if (result < 0) return stop(error, store_disk_error(store, error, result, "creating", STORE_ID_FILE));
    bool found;
    const enum weir_code code = id_read(store, options, &found, error);
    return code != WEIR_OK || found ? code : stop(error, store_disk_error(store, error, -ENOENT, "reading", STORE_ID_FILE));
}

/* ---- Open and close ---------------------------------------------------------------------------------------------- */

static struct store *allocate_store(const struct store_options *options)
{
    struct store *store = calloc(1, sizeof *store);
    if (store == NULL) return NULL;
    store->path = malloc(STORE_PATH_MAX);
    if (store->path == NULL) {
        free(store);
        return NULL;
    }
    const uint64_t wanted = options->segment_bytes == 0 ? STORE_SEGMENT_BYTES_DEFAULT : options->segment_bytes;
    store->segment_bytes = (wanted + FRAME_ALIGNMENT - 1) / FRAME_ALIGNMENT * FRAME_ALIGNMENT;
    store->disk = options->disk == NULL ? &disk_system : options->disk;
    store->log.current.file = store->log.next.file = -1;
    return store;
}

static enum weir_code check_options(const struct store_options *options, struct weir_error *error)
{
    if (options->directory == NULL || options->directory[0] == '\0')
        return weir_error_set(error, WEIR_USAGE, WEIR_REMEDY_STOP, "no checkpoint directory is given");
    CHECK(options->job != NULL || !options->create);
    if (options->job != NULL && (!is_name(options->job, 64) || !is_name(options->slot, 15)))
        return weir_error_set(error, WEIR_USAGE, WEIR_REMEDY_STOP,
                              "'%s' is no job name: use 1 to 64 letters, digits, dots, underscores or hyphens",
                              options->job);
    if (strlen(options->directory) + 72 + STORE_FILE_MAX >= STORE_PATH_MAX)
        return weir_error_set(error, WEIR_USAGE, WEIR_REMEDY_STOP, "the path of the checkpoint directory is too long");
    return WEIR_OK;
}

static enum weir_code missing_id(struct store *store, const struct store_options *options,
                                 const struct contents *contents, struct weir_error *error)
{
    if (contents->file_count > 0)
        return weir_error_set(error, WEIR_DAMAGED, WEIR_REMEDY_STOP,
                              "checkpoint store %s: there are checkpoints, but the file 'store' with the store's id is "
                              "missing; put it back from a copy of the checkpoint directory",
                              store->path);
    if (!options->create)
        return weir_error_set(error, WEIR_ENVIRONMENT, WEIR_REMEDY_STOP,
                              "%s is no checkpoint store: it has no file 'store'", store->path);
    return id_create(store, options, error);
}

static enum weir_code examine(struct store *store, const struct store_options *options, struct weir_error *error)
{
    struct contents contents = { 0 };
    int result = store->disk->list(store->disk->user, store->path, contents_visit, &contents);
    if (result < 0) return stop(error, store_disk_error(store, error, result, "listing", "the directory"));
    bool found;
    enum weir_code code = id_read(store, options, &found, error);
    if (code == WEIR_OK && !found) code = missing_id(store, options, &contents, error);
    if (code != WEIR_OK) return code;
    /* What is committed from now on names the id. */
    result = options->create ? sync_names(store, store->path) : 0;
    if (result < 0) return stop(error, store_disk_error(store, error, result, "syncing", "the directory"));

    if (found && options->create && contents.temporary[0] != '\0') {
        char path[STORE_PATH_MAX];
        store_file_path(store, contents.temporary, path);
        (void)store->disk->remove(store->disk->user, path);
    }
    store->is_empty = contents.file_count == 0;
    store->incarnation_max = contents.incarnation_max;
    return WEIR_OK;
}

enum weir_code store_open(const struct store_options *options, struct store **store, struct weir_error *error)
{
    *store = NULL;
    enum weir_code code = check_options(options, error);
    if (code != WEIR_OK) return code;
    struct store *opened = allocate_store(options);
    if (opened == NULL) return no_memory(error, "opening");
    const bool is_below = options->job != NULL;
    (void)snprintf(opened->path, STORE_PATH_MAX, "%s%s%s", options->directory, is_below ? "/" : "",
                   is_below ? options->job : "");

    if (options->create) code = make_directories(opened, options->directory, error);
    if (code == WEIR_OK) code = examine(opened, options, error);
    if (code != WEIR_OK) {
        store_close(opened);
        return code;
    }
    *store = opened;
    return WEIR_OK;
}

void store_close(struct store *store)
{
    if (store == NULL) return;
    store_log_end(store);
    free(store->path);
    free(store);
}

const char *store_id(const struct store *store)
{
    return store->id;
}

const char *store_job(const struct store *store)
{
    return store->job;
}

const char *store_slot(const struct store *store)
{
    return store->slot;
}

const char *store_path(const struct store *store)
{
    return store->path;
}

bool store_is_empty(const struct store *store)
{
    return store->is_empty;
}

uint64_t store_incarnation_max(const struct store *store)
{
    return store->incarnation_max;
}

/* ---- Begin ------------------------------------------------------------------------------------------------------- */

struct others {
    uint64_t incarnation;
    uint64_t incarnation_max;
    bool found; /* a file of this or a newer incarnation that is not our first segment */
};

static void others_visit(void *user, const char *name)
{
    struct others *others = user;
    struct store_file file;
    if (!store_file_parse(name, &file) || file.incarnation < others->incarnation) return;
    if (file.incarnation > others->incarnation_max) others->incarnation_max = file.incarnation;
    if (file.incarnation > others->incarnation || file.kind != STORE_FILE_LOG || file.number != 1) others->found = true;
}

/* The highest number is remembered, so that the next one drawn is above it. */
static enum weir_code begun_by_another(struct store *store, uint64_t incarnation_max, struct weir_error *error)
{
    const uint64_t incarnation = store->incarnation;
    store->incarnation = 0;
    store->incarnation_max = incarnation_max;
    return weir_error_set(error, WEIR_FENCED, WEIR_REMEDY_RETRY,
                          "checkpoint store %s: another process began incarnation %" PRIu64 " or a newer one",
                          store->path, incarnation);
}

enum weir_code store_begin(struct store *store, uint64_t incarnation, struct weir_error *error)
{
    CHECK(incarnation > store->incarnation_max && incarnation > store->incarnation);
    store_log_end(store);
    store->incarnation = incarnation;
    store->place_number = 1;
    store->place_offset = 0;
    atomic_store(&store->base_number, 0);
    atomic_store(&store->table_number, 0);
    int result = store_log_begin(store);
    if (result == -EEXIST) return begun_by_another(store, incarnation, error);
    char name[STORE_FILE_MAX];
    store_log_name(name, incarnation, 1);
    if (result < 0) {
        store->incarnation = 0;
        return store_disk_error(store, error, result, "creating", name);
    }

    /* Somebody may have begun this incarnation, or a newer one, since store_open, and have retired its first segment
     * already. */
    struct others others = { .incarnation = incarnation, .incarnation_max = incarnation };
    result = store->disk->list(store->disk->user, store->path, others_visit, &others);
    if (result == 0 && !others.found) return WEIR_OK;
    char path[STORE_PATH_MAX];
    store_file_path(store, name, path);
    store_log_end(store);
    (void)store->disk->remove(store->disk->user, path);
    if (result == 0) return begun_by_another(store, others.incarnation_max, error);
    store->incarnation = 0;
    return store_disk_error(store, error, result, "listing", "the directory");
}

/* ---- Reading frames ---------------------------------------------------------------------------------------------- */

static int read_place(struct store *store, const struct weir_frame_name *name, struct buffer *frame)
{
    char path[STORE_PATH_MAX];
    store_file_path(store, name->file, path);
    const int file = store->disk->open(store->disk->user, path, DISK_READ);
    if (file < 0) return file;
    const int64_t size = store->disk->size(store->disk->user, file);
    int result = size < 0 ? (int)size : 0;
    /* No more memory than the file could fill. */
    if (result == 0 && ((uint64_t)size < name->offset || (uint64_t)size - name->offset < name->length))
        result = -ENODATA;
    if (result == 0 && !buffer_reserve(frame, (size_t)name->length)) result = -ENOMEM;
    if (result == 0) result = disk_read_all(store->disk, file, frame->data, (size_t)name->length, name->offset);
    if (result == 0) frame->size = (size_t)name->length;
    store->disk->close(store->disk->user, file);
    return result;
}

enum weir_code store_read_frame(struct store *store, const struct weir_frame_name *name, struct buffer *frame,
                                struct weir_error *error)
{
    buffer_clear(frame);
    struct store_file file;
    if (!store_file_parse(name->file, &file) || file.kind != STORE_FILE_LOG)
        return weir_error_set(error, WEIR_DAMAGED, WEIR_REMEDY_STOP,
                              "checkpoint %" PRIu64 " of incarnation %" PRIu64
                              " is said to lie in '%s', which is no log",
                              name->epoch, name->incarnation, name->file);
    const int result = read_place(store, name, frame);
    enum weir_code code = WEIR_OK;
    if (result == -ENODATA)
        code = weir_error_set(error, WEIR_DAMAGED, WEIR_REMEDY_STOP,
                              "checkpoint %" PRIu64 " of incarnation %" PRIu64
                              " is damaged: %s ends before offset %" PRIu64 " + %" PRIu64
                              "; put the file back from a copy of the checkpoint directory",
                              name->epoch, name->incarnation, name->file, name->offset, name->length);
    else if (result < 0) code = store_read_error(store, error, result, name->file);
    else code = frame_verify((struct weir_bytes){ frame->data, frame->size }, name, error);
    if (code == WEIR_DAMAGED && result != -ENOENT) (void)weir_error_wrap(error, "checkpoint store %s", store->path);
    return code;
}

enum weir_code store_read_manifest(struct store *store, const struct weir_frame_name *name, struct buffer *frame,
                                   struct arena *arena, struct manifest *manifest, struct weir_error *error)
{
    arena_reset(arena);
    const enum weir_code code = store_read_frame(store, name, frame, error);
    if (code != WEIR_OK) return code;
    return manifest_decode((struct weir_bytes){ frame->data, frame->size }, name, arena, manifest, error);
}

/* Reads frame `name` for the sake of its parent. */
static enum weir_code read_parent(struct store *store, const struct weir_frame_name *name, struct buffer *frame,
                                  struct arena *arena, struct weir_frame_name *parent, struct weir_error *error)
{
    struct manifest manifest;
    const enum weir_code code = store_read_manifest(store, name, frame, arena, &manifest, error);
    if (code != WEIR_OK) return code;
    if (manifest.parent.incarnation != 0 && manifest.parent.epoch > name->epoch)
        return weir_error_set(error, WEIR_DAMAGED, WEIR_REMEDY_STOP,
                              "checkpoint %" PRIu64 " of incarnation %" PRIu64 " names a younger one, %" PRIu64
                              ", as its parent",
                              name->epoch, name->incarnation, manifest.parent.epoch);
    *parent = manifest.parent;
    return WEIR_OK;
}

static void reverse(struct weir_frame_name *names, size_t count)
{
    for (size_t i = 0; i < count / 2; i++) {
        const struct weir_frame_name name = names[i];
        names[i] = names[count - 1 - i];
        names[count - 1 - i] = name;
    }
}

enum weir_code store_chain(struct store *store, const struct weir_frame_name *newest, uint64_t epoch_first,
                           struct store_chain *chain, struct weir_error *error)
{
    *chain = (struct store_chain){ 0 };
    struct buffer frame;
    struct arena arena;
    buffer_init(&frame);
    arena_init(&arena, 64 * 1024);
    enum weir_code code = WEIR_OK;
    for (struct weir_frame_name name = *newest, parent; code == WEIR_OK; name = parent) {
        struct weir_frame_name *place = vec_push(&chain->frames);
        if (place == NULL) {
            code = no_memory(error, "following the chain of checkpoints");
            break;
        }
        *place = name;
        code = read_parent(store, &name, &frame, &arena, &parent, error);
        if (code == WEIR_OK && (parent.incarnation == 0 || parent.epoch < epoch_first)) break;
    }
    reverse(chain->frames.items, chain->frames.count);
    arena_deinit(&arena);
    buffer_deinit(&frame);
    return code;
}

void store_chain_clear(struct store_chain *chain)
{
    vec_free(&chain->frames);
}
