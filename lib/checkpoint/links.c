#include "checkpoint/links.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/crash.h"
#include "checkpoint/store_private.h"

enum {
    COPY_BYTES = 1 << 16,
    SYNC_BYTES = 8 << 20, /* as savepoint.c: no big flush at the end */
    ITEM_BYTES_MIN = 26,
    NUMBERED = 2,         /* chunks before the contents */
};

/* Folders of backends are the system's, wherever the store is. */
static const struct disk *const local = &disk_system;

void links_init(struct links *links)
{
    *links = (struct links){ .files = { 0 } };
    buffer_init(&links->states);
    buffer_init(&links->stamped);
    buffer_init(&links->contents);
}

void links_deinit(struct links *links)
{
    vec_free(&links->files);
    buffer_deinit(&links->states);
    buffer_deinit(&links->stamped);
    buffer_deinit(&links->contents);
}

static bool is_table(const struct links_file *file)
{
    return file->file[0] != '\0';
}

uint64_t links_bytes(const struct links *links, bool only_fresh)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < links->files.count; i++) {
        const struct links_file *file = &links->files.items[i];
        if (is_table(file) && (file->is_fresh || !only_fresh)) bytes += file->length;
    }
    return bytes;
}

static void join(char path[STORE_PATH_MAX], const char *folder, const char *name)
{
    const int size = snprintf(path, STORE_PATH_MAX, "%s/%s", folder, name);
    CHECK(size > 0 && size < STORE_PATH_MAX);
}

/* ---- Files ------------------------------------------------------------------------------------------------------- */

/* A file that is read, and what becomes of it: 0, or a negative errno. */
struct reading {
    const struct disk *disk;
    int file;
    uint64_t length;
};

static int reading_open(struct reading *reading, const struct disk *disk, const char *path)
{
    *reading = (struct reading){ .disk = disk, .file = disk->open(disk->user, path, DISK_READ) };
    if (reading->file < 0) return reading->file;
    const int64_t size = disk->size(disk->user, reading->file);
    reading->length = size < 0 ? 0 : (uint64_t)size;
    return size < 0 ? (int)size : 0;
}

static void reading_close(struct reading *reading)
{
    if (reading->file >= 0) reading->disk->close(reading->disk->user, reading->file);
}

static int sync_now_and_then(const struct disk *disk, int file, uint64_t written, uint64_t *synced)
{
    if (written - *synced < SYNC_BYTES) return 0;
    *synced = written;
    return disk->sync(disk->user, file);
}

/* Hashes what lies behind `from`, and writes it into `copy`, which is on `disk`, unless that is negative. */
static int read_through(const struct reading *reading, uint64_t from, const struct disk *disk, int copy, uint64_t *hash)
{
    char *chunk = malloc(COPY_BYTES);
    struct hash_stream *stream = hash_stream_create(0);
    uint64_t synced = 0;
    int result = chunk == NULL || stream == NULL ? -ENOMEM : 0;
    for (uint64_t at = from; result == 0 && at < reading->length;) {
        const size_t size = reading->length - at < COPY_BYTES ? (size_t)(reading->length - at) : COPY_BYTES;
        result = disk_read_all(reading->disk, reading->file, chunk, size, at);
        if (result == 0) hash_stream_update(stream, chunk, size);
        if (result == 0 && copy >= 0) result = disk_write_all(disk, copy, chunk, size, at);
        at += size;
        if (result == 0 && copy >= 0) result = sync_now_and_then(disk, copy, at, &synced);
    }
    if (stream != NULL) *hash = hash_stream_value(stream);
    hash_stream_destroy(stream);
    free(chunk);
    return result;
}

static uint64_t tail_begin(uint64_t length)
{
    return length > LINKS_TAIL_BYTES ? length - LINKS_TAIL_BYTES : 0;
}

/* Length and both hashes of the file at `path`. */
static int measure(const struct disk *disk, const char *path, struct links_file *file)
{
    struct reading reading;
    int result = reading_open(&reading, disk, path);
    file->length = reading.length;
    if (result == 0) result = read_through(&reading, tail_begin(reading.length), NULL, -1, &file->tail_hash);
    if (result == 0) result = read_through(&reading, 0, NULL, -1, &file->hash);
    reading_close(&reading);
    return result;
}

static int copy(const struct disk *from, const char *source, const struct disk *to, const char *target)
{
    struct reading reading;
    uint64_t hash;
    int result = reading_open(&reading, from, source);
    int file = -1;
    if (result == 0) {
        file = to->open(to->user, target, DISK_CREATE);
        result = file < 0 ? file : read_through(&reading, 0, to, file, &hash);
    }
    if (result == 0) result = to->sync(to->user, file);
    if (file >= 0) to->close(to->user, file);
    reading_close(&reading);
    return result;
}

static int link_or_copy(const struct disk *from, const char *source, const struct disk *to, const char *target,
                        bool symbolic)
{
    int result = -EXDEV;
    if (from == to && from->link != NULL) result = from->link(from->user, source, target, symbolic);
    return result == -EXDEV ? copy(from, source, to, target) : result;
}

/* ---- Writing ----------------------------------------------------------------------------------------------------- */

struct writing {
    struct store *store;
    const char *folder;
    const struct links *known;
    struct links *links;
    int result;
    const char *at; /* the file that `result` is about */
};

static const struct links_file *find(const struct links *links, const char *name)
{
    for (size_t i = 0; links != NULL && i < links->files.count; i++)
        if (strcmp(links->files.items[i].name, name) == 0) return &links->files.items[i];
    return NULL;
}

static bool is_constant(const char *name)
{
    const size_t size = strlen(name);
    return size > 4 && strcmp(name + size - 4, ".sst") == 0;
}

static void list_one(void *user, const char *name)
{
    struct writing *writing = user;
    const struct links_file *known = is_constant(name) ? find(writing->known, name) : NULL;
    if (writing->result < 0) return;
    struct links_file *file = strlen(name) < LINKS_NAME_MAX ? vec_push(&writing->links->files) : NULL;
    if (file == NULL) {
        writing->result = -ENOMEM;
        return;
    }
    *file = known == NULL ? (struct links_file){ .is_fresh = is_constant(name) } : *known;
    if (known != NULL) file->is_fresh = false;
    (void)snprintf(file->name, sizeof file->name, "%s", name);
}

/* The link's contents are on the disk before its name is: whoever wrote it may have left that for later. */
static int sync_file(const struct disk *disk, const char *path)
{
    const int file = disk->open(disk->user, path, DISK_READ);
    if (file < 0) return file;
    const int result = disk->sync(disk->user, file);
    disk->close(disk->user, file);
    return result;
}

static int bring_in(struct store *store, const char *source, struct links_file *file)
{
    char path[STORE_PATH_MAX];
    const uint64_t number = atomic_fetch_add(&store->table_number, 1) + 1;
    (void)snprintf(file->file, sizeof file->file, "table-%" PRIu64 "-%" PRIu64, store->incarnation, number);
    store_file_path(store, file->file, path);
    int result = link_or_copy(local, source, store->disk, path, false);
    if (result == 0) result = sync_file(store->disk, path);
    return result == 0 ? measure(store->disk, path, file) : result;
}

static int take_contents(struct links *links, const char *source, struct links_file *file)
{
    struct reading reading;
    int result = reading_open(&reading, local, source);
    file->contents_at = links->contents.size;
    file->length = reading.length;
    if (result == 0 && !buffer_reserve(&links->contents, (size_t)reading.length)) result = -ENOMEM;
    char *const data = links->contents.data;
    if (result == 0 && reading.length > 0)
        result = disk_read_all(local, reading.file, data + file->contents_at, (size_t)reading.length, 0);
    reading_close(&reading);
    if (result < 0) return result;
    links->contents.size += (size_t)reading.length;
    file->hash = file->tail_hash = hash_64(data + file->contents_at, (size_t)reading.length);
    return 0;
}

static int take_files(struct writing *writing)
{
    struct links *links = writing->links;
    const int listed = local->list(local->user, writing->folder, list_one, writing);
    if (writing->result == 0) writing->result = listed;
    for (size_t i = 0; writing->result == 0 && i < links->files.count; i++) {
        struct links_file *file = &links->files.items[i];
        char source[STORE_PATH_MAX];
        join(source, writing->folder, file->name);
        writing->at = file->name;
        if (file->is_fresh) writing->result = bring_in(writing->store, source, file);
        else if (!is_table(file)) writing->result = take_contents(links, source, file);
    }
    return writing->result;
}

static void put_list(const struct links *links, struct buffer *out)
{
    buffer_u32(out, links->key_groups);
    buffer_varint(out, links->stamped.size);
    buffer_put(out, links->stamped.data, links->stamped.size);
    buffer_varint(out, links->files.count);
    for (size_t i = 0; i < links->files.count; i++) {
        const struct links_file *file = &links->files.items[i];
        buffer_text(out, file->name);
        buffer_text(out, file->file);
        buffer_u64(out, file->length);
        buffer_u64(out, file->tail_hash);
        buffer_u64(out, file->hash);
    }
}

static enum weir_code append_chunks(struct store *store, struct store_base *base, const struct links *links,
                                    struct weir_error *error)
{
    struct buffer list;
    buffer_init(&list);
    put_list(links, &list);
    enum weir_code code = WEIR_OK;
    if (list.failed) code = store_disk_error(store, error, -ENOMEM, "writing", "a base");
    if (code == WEIR_OK)
        code = store_base_append(base, (struct weir_bytes){ links->states.data, links->states.size }, error);
    if (code == WEIR_OK) code = store_base_append(base, (struct weir_bytes){ list.data, list.size }, error);
    for (size_t i = 0; code == WEIR_OK && i < links->files.count; i++) {
        const struct links_file *file = &links->files.items[i];
        if (is_table(file)) continue;
        const struct weir_bytes contents = { links->contents.data + file->contents_at, (size_t)file->length };
        code = store_base_append(base, contents, error);
    }
    buffer_deinit(&list);
    return code;
}

static enum weir_code write_list(struct store *store, const struct links *links, struct store_base_result *result,
                                 struct weir_error *error)
{
    struct store_base *base;
    const uint64_t number = atomic_fetch_add(&store->base_number, 1) + 1;
    enum weir_code code = store_base_create_as(store, BASE_OF_LINKS, store->incarnation, number, &base, error);
    if (code != WEIR_OK) return code;
    code = append_chunks(store, base, links, error);
    if (code == WEIR_OK) code = store_base_finish(base, result, error);
    if (code != WEIR_OK) store_base_abandon(base);
    return code;
}

static void remove_fresh(struct store *store, const struct links *links)
{
    char path[STORE_PATH_MAX];
    for (size_t i = 0; i < links->files.count; i++) {
        const struct links_file *file = &links->files.items[i];
        if (!file->is_fresh || !is_table(file)) continue;
        store_file_path(store, file->file, path);
        (void)store->disk->remove(store->disk->user, path);
    }
}

enum weir_code links_write(struct store *store, const char *folder, const struct links *known, struct links *links,
                           struct store_base_result *result, struct weir_error *error)
{
    struct writing writing = { .store = store, .folder = folder, .known = known, .links = links, .at = folder };
    CHECK(store->incarnation > 0 && links->files.count == 0);
    enum weir_code code = WEIR_OK;
    if (take_files(&writing) < 0)
        code = store_disk_error(store, error, writing.result, "bringing in", writing.at);
    CRASH_POINT(base_linked);
    if (code == WEIR_OK) code = write_list(store, links, result, error);
    if (code != WEIR_OK) remove_fresh(store, links);
    return code;
}

void links_abandon(struct store *store, const char *base, const struct links *links)
{
    char path[STORE_PATH_MAX];
    store_file_path(store, base, path);
    (void)store->disk->remove(store->disk->user, path);
    remove_fresh(store, links);
}

/* ---- Reading ----------------------------------------------------------------------------------------------------- */

struct listing {
    struct store *store;
    const struct manifest_base *base;
    struct links *links;
    uint32_t chunk;
    size_t next; /* whose contents come */
};

static enum weir_code damaged(const struct store *store, const char *file, const char *what, struct weir_error *error)
{
    return weir_error_set(error, WEIR_DAMAGED, WEIR_REMEDY_STOP,
                          "checkpoint store %s: %s %s; put the file back from a copy of the checkpoint directory",
                          store->path, file, what);
}

/* 0; -EBADMSG when it is none; -ENOMEM. */
static int take_list(struct weir_bytes chunk, struct links *links)
{
    struct reader reader;
    reader_init(&reader, chunk.data, chunk.size);
    links->key_groups = reader_u32(&reader);
    const uint64_t stamped = reader_varint(&reader);
    const char *flags = stamped <= reader_left(&reader) ? reader_skip(&reader, (size_t)stamped) : NULL;
    if (flags != NULL) buffer_put(&links->stamped, flags, (size_t)stamped);
    const uint64_t count = reader_varint(&reader);
    if (flags == NULL || count > reader_left(&reader) / ITEM_BYTES_MIN) return -EBADMSG;
    for (uint64_t i = 0; i < count; i++) {
        struct links_file *file = vec_push(&links->files);
        if (file == NULL) return -ENOMEM;
        *file = (struct links_file){ .length = 0 };
        reader_text(&reader, file->name, sizeof file->name);
        reader_text(&reader, file->file, sizeof file->file);
        file->length = reader_u64(&reader);
        file->tail_hash = reader_u64(&reader);
        file->hash = reader_u64(&reader);
        struct store_file parsed;
        if (file->name[0] == '\0' || strchr(file->name, '/') != NULL ||
            (is_table(file) && (!store_file_parse(file->file, &parsed) || parsed.kind != STORE_FILE_TABLE)))
            return -EBADMSG;
    }
    return reader.failed || reader_left(&reader) > 0 ? -EBADMSG : 0;
}

/* The next file whose contents are to come; NULL when there is none. */
static struct links_file *next_contents(struct listing *listing)
{
    struct links *links = listing->links;
    while (listing->next < links->files.count &&
           (is_table(&links->files.items[listing->next]) || links->files.items[listing->next].length == 0))
        listing->next++;
    return listing->next < links->files.count ? &links->files.items[listing->next] : NULL;
}

static enum weir_code take_chunk(void *user, struct weir_bytes chunk, struct weir_error *error)
{
    struct listing *listing = user;
    struct links *links = listing->links;
    const uint32_t number = listing->chunk++;
    struct links_file *file = number < NUMBERED ? NULL : next_contents(listing);
    int result = 0;
    if (number == 0) {
        buffer_put(&links->states, chunk.data, chunk.size);
    } else if (number == 1) {
        result = take_list(chunk, links);
    } else {
        result = file != NULL && file->length == chunk.size ? 0 : -EBADMSG;
        if (result == 0) file->contents_at = links->contents.size;
        buffer_put(&links->contents, chunk.data, chunk.size);
        listing->next++;
    }
    if (result == -ENOMEM || links->states.failed || links->stamped.failed || links->contents.failed)
        return store_disk_error(listing->store, error, -ENOMEM, "reading", listing->base->name);
    return result == 0 ? WEIR_OK : damaged(listing->store, listing->base->name, "does not list its files", error);
}

enum weir_code links_read(struct store *store, const struct manifest_base *base, struct links *links,
                          struct weir_error *error)
{
    struct listing listing = { .store = store, .base = base, .links = links };
    CHECK(store_base_is_links(base) && links->files.count == 0);
    const enum weir_code code = store_read_base(store, base, take_chunk, &listing, error);
    if (code != WEIR_OK) return code;
    if (listing.chunk < NUMBERED || next_contents(&listing) != NULL)
        return damaged(store, base->name, "does not hold all of its files", error);
    return WEIR_OK;
}

static enum weir_code check_file(struct store *store, const struct links_file *file, bool all, struct weir_error *error)
{
    char path[STORE_PATH_MAX];
    struct reading reading;
    uint64_t hash = 0;
    store_file_path(store, file->file, path);
    int result = reading_open(&reading, store->disk, path);
    const bool is_as_long = result == 0 && reading.length == file->length;
    if (is_as_long) result = read_through(&reading, all ? 0 : tail_begin(reading.length), NULL, -1, &hash);
    reading_close(&reading);
    if (result < 0) return store_read_error(store, error, result, file->file);
    if (!is_as_long) return damaged(store, file->file, "is damaged: it has another length than it had", error);
    if (hash != (all ? file->hash : file->tail_hash))
        return damaged(store, file->file, "is damaged: it has other contents than it had", error);
    return WEIR_OK;
}

enum weir_code links_check(struct store *store, const struct links *links, bool all, struct weir_error *error)
{
    enum weir_code code = WEIR_OK;
    for (size_t i = 0; code == WEIR_OK && i < links->files.count; i++)
        if (is_table(&links->files.items[i])) code = check_file(store, &links->files.items[i], all, error);
    return code;
}

enum weir_code links_read_file(struct store *store, const struct links_file *file, struct buffer *bytes,
                               struct weir_error *error)
{
    char path[STORE_PATH_MAX];
    struct reading reading;
    const enum weir_code code = check_file(store, file, true, error);
    if (code != WEIR_OK) return code;
    store_file_path(store, file->file, path);
    buffer_clear(bytes);
    int result = reading_open(&reading, store->disk, path);
    if (result == 0 && !buffer_reserve(bytes, (size_t)file->length)) result = -ENOMEM;
    if (result == 0) result = disk_read_all(store->disk, reading.file, bytes->data, (size_t)file->length, 0);
    reading_close(&reading);
    if (result < 0) return store_read_error(store, error, result, file->file);
    bytes->size = (size_t)file->length;
    return WEIR_OK;
}

static int bring_one(struct store *store, const struct links *links, const struct links_file *file, const char *target,
                     bool symbolic)
{
    char source[STORE_PATH_MAX];
    if (!is_table(file))
        return store_write_new(local, target, links->contents.data + file->contents_at, (size_t)file->length);
    store_file_path(store, file->file, source);
    return link_or_copy(store->disk, source, local, target, symbolic);
}

enum weir_code links_bring(struct store *store, const struct links *links, const char *folder, bool symbolic,
                           struct weir_error *error)
{
    enum weir_code code = links_check(store, links, false, error);
    for (size_t i = 0; code == WEIR_OK && i < links->files.count; i++) {
        const struct links_file *file = &links->files.items[i];
        char target[STORE_PATH_MAX];
        join(target, folder, file->name);
        const int result = bring_one(store, links, file, target, symbolic);
        if (result < 0) code = store_disk_error(store, error, result, "bringing out", file->name);
    }
    return code;
}
