/* Bases: written once, in chunks that each carry their own proof, and streamed back. store.h draws the format; what is in
 * the chunks of a base of files by reference is links.c's. */
#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "checkpoint/links.h"
#include "checkpoint/store_private.h"

static const char base_magic[8] = { 'W', 'E', 'I', 'R', 'B', 'A', 'S', 'E' };

enum {
    BASE_VERSION = 1,
    BASE_HEADER_BYTES = 32,
    CHUNK_HEADER_BYTES = 16,
    CHUNK_BYTES_MAX = 1 << 30,
    /* Synced in between, so that the last sync is short and the log's writes do not queue behind one big flush. */
    SYNC_BYTES = 4 << 20,
};

struct store_base {
    struct store *store;
    struct hash_stream *hash;
    struct buffer header; /* of the file or of a chunk, while it is made */
    char name[STORE_FILE_MAX];
    int file;
    uint64_t incarnation, number;
    uint64_t length;
    uint64_t synced;
    uint32_t sequence;
};

/* ---- Format ------------------------------------------------------------------------------------------------------ */

static void put_file_header(struct buffer *out, uint32_t kind, uint64_t incarnation, uint64_t number)
{
    buffer_put(out, base_magic, sizeof base_magic);
    buffer_u32(out, BASE_VERSION);
    buffer_u32(out, kind);
    buffer_u64(out, incarnation);
    buffer_u64(out, number);
}

/* A chunk is good in one place only: the seed knows the file and the place in it. */
static uint64_t chunk_hash(uint64_t incarnation, uint64_t number, uint32_t sequence, struct weir_bytes chunk)
{
    const uint64_t place[3] = { htole64(incarnation), htole64(number), htole64(sequence) };
    return hash_64_seeded(chunk.data, chunk.size, hash_64(place, sizeof place));
}

static void put_chunk_header(struct buffer *out, const struct store_base *base, struct weir_bytes chunk)
{
    buffer_u32(out, base->sequence);
    buffer_u32(out, (uint32_t)chunk.size);
    buffer_u64(out, chunk_hash(base->incarnation, base->number, base->sequence, chunk));
}

/* ---- Writing ----------------------------------------------------------------------------------------------------- */

static void base_free(struct store_base *base)
{
    if (base->file >= 0) base->store->disk->close(base->store->disk->user, base->file);
    hash_stream_destroy(base->hash);
    buffer_deinit(&base->header);
    free(base);
}

static int write_piece(struct store_base *base, struct weir_bytes piece)
{
    const struct disk *disk = base->store->disk;
    const int result = disk_write_all(disk, base->file, piece.data, piece.size, base->length);
    if (result < 0) return result;
    hash_stream_update(base->hash, piece.data, piece.size);
    base->length += piece.size;
    return 0;
}

static int write_header(struct store_base *base)
{
    if (base->header.failed) return -ENOMEM;
    return write_piece(base, (struct weir_bytes){ base->header.data, base->header.size });
}

static int write_chunk(struct store_base *base, struct weir_bytes chunk)
{
    const struct disk *disk = base->store->disk;
    buffer_clear(&base->header);
    put_chunk_header(&base->header, base, chunk);
    int result = write_header(base);
    if (result == 0) result = write_piece(base, chunk);
    if (result < 0) return result;
    base->sequence++;
    if (base->length - base->synced < SYNC_BYTES) return 0;
    base->synced = base->length;
    return disk->sync(disk->user, base->file);
}

static struct store_base *base_allocate(struct store *store)
{
    struct store_base *base = calloc(1, sizeof *base);
    if (base == NULL) return NULL;
    base->store = store;
    base->file = -1;
    buffer_init(&base->header);
    base->hash = hash_stream_create(0);
    if (base->hash != NULL) return base;
    base_free(base);
    return NULL;
}

enum weir_code store_base_create_as(struct store *store, enum base_kind kind, uint64_t incarnation, uint64_t number,
                                    struct store_base **created, struct weir_error *error)
{
    *created = NULL;
    struct store_base *base = base_allocate(store);
    if (base == NULL) return store_disk_error(store, error, -ENOMEM, "creating", "a base");
    base->incarnation = incarnation;
    base->number = number;
    (void)snprintf(base->name, sizeof base->name, "base-%" PRIu64 "-%" PRIu64, incarnation, number);
    char path[STORE_PATH_MAX];
    store_file_path(store, base->name, path);

    const int file = store->disk->open(store->disk->user, path, DISK_CREATE);
    int result = file < 0 ? file : 0;
    if (result == 0) {
        base->file = file;
        put_file_header(&base->header, kind, incarnation, number);
        result = write_header(base);
    }
    if (result == 0) {
        *created = base;
        return WEIR_OK;
    }
    (void)store_disk_error(store, error, result, "creating", base->name);
    const enum weir_code code = result == -ENOMEM ? WEIR_NO_MEMORY : WEIR_ENVIRONMENT;
    if (base->file >= 0) store_base_abandon(base);
    else base_free(base);
    return code;
}

enum weir_code store_base_create(struct store *store, struct store_base **created, struct weir_error *error)
{
    CHECK(store->incarnation > 0);
    const uint64_t number = atomic_fetch_add(&store->base_number, 1) + 1;
    return store_base_create_as(store, BASE_OF_UNITS, store->incarnation, number, created, error);
}

enum weir_code store_base_append(struct store_base *base, struct weir_bytes chunk, struct weir_error *error)
{
    CHECK(chunk.size <= CHUNK_BYTES_MAX);
    if (chunk.size == 0) return WEIR_OK;
    const int result = write_chunk(base, chunk);
    return result == 0 ? WEIR_OK : store_disk_error(base->store, error, result, "writing", base->name);
}

enum weir_code store_base_finish(struct store_base *base, struct store_base_result *done, struct weir_error *error)
{
    struct store *store = base->store;
    int result = write_chunk(base, WEIR_EMPTY);
    if (result == 0) result = store->disk->sync(store->disk->user, base->file);
    if (result == 0) result = store->disk->sync_directory(store->disk->user, store->path);
    if (result < 0) return store_disk_error(store, error, result, "finishing", base->name);
    *done = (struct store_base_result){
        .incarnation = base->incarnation,
        .length = base->length,
        .hash = hash_stream_value(base->hash),
    };
    memcpy(done->name, base->name, sizeof done->name);
    base_free(base);
    return WEIR_OK;
}

void store_base_abandon(struct store_base *base)
{
    if (base == NULL) return;
    char path[STORE_PATH_MAX];
    store_file_path(base->store, base->name, path);
    (void)base->store->disk->remove(base->store->disk->user, path);
    base_free(base);
}

/* ---- Reading ----------------------------------------------------------------------------------------------------- */

/* A base that is being read. */
struct base_reader {
    struct store *store;
    const struct manifest_base *base;
    struct store_file parsed;
    int file;
    uint64_t offset;
    uint32_t sequence;
    struct hash_stream *hash;
    struct buffer chunk;
};

static enum weir_code damaged(const struct base_reader *in, struct weir_error *error, const char *what)
{
    return weir_error_set(error, WEIR_DAMAGED, WEIR_REMEDY_STOP,
                          "checkpoint store %s: %s is damaged at offset %" PRIu64
                          ": %s; put the file back from a copy of the checkpoint directory",
                          in->store->path, in->base->name, in->offset, what);
}

/* Reads `size` bytes at in->offset, which moves on. */
static enum weir_code take(struct base_reader *in, void *data, size_t size, struct weir_error *error)
{
    const int result = disk_read_all(in->store->disk, in->file, data, size, in->offset);
    if (result == -ENODATA) return damaged(in, error, "the file ends there");
    if (result < 0) return store_read_error(in->store, error, result, in->base->name);
    hash_stream_update(in->hash, data, size);
    in->offset += size;
    return WEIR_OK;
}

static enum weir_code read_file_header(struct base_reader *in, struct weir_error *error)
{
    char bytes[BASE_HEADER_BYTES];
    const enum weir_code code = take(in, bytes, sizeof bytes, error);
    if (code != WEIR_OK) return code;
    in->offset = 0;
    struct reader reader;
    reader_init(&reader, bytes, sizeof bytes);
    if (memcmp(reader_skip(&reader, sizeof base_magic), base_magic, sizeof base_magic) != 0)
        return damaged(in, error, "it is not a base");
    const uint32_t version = reader_u32(&reader), kind = reader_u32(&reader);
    const uint64_t incarnation = reader_u64(&reader), number = reader_u64(&reader);
    if (version != BASE_VERSION || kind != (uint32_t)store_base_is_links(in->base))
        return damaged(in, error, "its format is unknown, or another than the checkpoint says");
    if (incarnation != in->parsed.incarnation || number != in->parsed.number)
        return damaged(in, error, "another base lies there");
    in->offset = BASE_HEADER_BYTES;
    return WEIR_OK;
}

bool store_base_is_links(const struct manifest_base *base)
{
    return strcmp(base->store, STORE_KIND_LINKS) == 0;
}

static bool is_nameable(const struct base_reader *in)
{
    const struct manifest_base *base = in->base;
    return strcmp(base->store, STORE_KIND_FILE) == 0 || store_base_is_links(base);
}

static enum weir_code base_reader_open(struct base_reader *in, struct store *store, const struct manifest_base *base,
                                       struct weir_error *error)
{
    *in = (struct base_reader){ .store = store, .base = base, .file = -1 };
    buffer_init(&in->chunk);
    if (!is_nameable(in) || !store_file_parse(base->name, &in->parsed) || in->parsed.kind != STORE_FILE_BASE)
        return weir_error_set(error, WEIR_DAMAGED, WEIR_REMEDY_STOP,
                              "a checkpoint names a base '%s' in a store of kind '%s', which this store cannot hold",
                              base->name, base->store);
    in->hash = hash_stream_create(0);
    if (in->hash == NULL) return store_disk_error(store, error, -ENOMEM, "reading", base->name);
    char path[STORE_PATH_MAX];
    store_file_path(store, base->name, path);
    in->file = store->disk->open(store->disk->user, path, DISK_READ);
    if (in->file < 0) return store_read_error(store, error, in->file, base->name);
    const int64_t size = store->disk->size(store->disk->user, in->file);
    if (size < 0) return store_read_error(store, error, (int)size, base->name);
    in->offset = (uint64_t)size;
    if ((uint64_t)size != base->length) return damaged(in, error, "it ends there, which is not its length");
    in->offset = 0;
    return read_file_header(in, error);
}

static void base_reader_close(struct base_reader *in)
{
    if (in->file >= 0) in->store->disk->close(in->store->disk->user, in->file);
    hash_stream_destroy(in->hash);
    buffer_deinit(&in->chunk);
}

/* The next chunk into in->chunk, verified; empty at the end. */
static enum weir_code read_chunk(struct base_reader *in, struct weir_error *error)
{
    char bytes[CHUNK_HEADER_BYTES];
    enum weir_code code = take(in, bytes, sizeof bytes, error);
    if (code != WEIR_OK) return code;
    struct reader reader;
    reader_init(&reader, bytes, sizeof bytes);
    const uint32_t sequence = reader_u32(&reader), size = reader_u32(&reader);
    const uint64_t hash = reader_u64(&reader);
    if (sequence != in->sequence) return damaged(in, error, "a chunk is out of its order");
    if (size > CHUNK_BYTES_MAX || size > in->base->length - in->offset)
        return damaged(in, error, "a chunk is too long");

    buffer_clear(&in->chunk);
    if (!buffer_reserve(&in->chunk, size))
        return store_disk_error(in->store, error, -ENOMEM, "reading", in->base->name);
    code = take(in, in->chunk.data, size, error);
    if (code != WEIR_OK) return code;
    in->chunk.size = size;
    const struct weir_bytes chunk = { in->chunk.data, size };
    if (chunk_hash(in->parsed.incarnation, in->parsed.number, sequence, chunk) != hash)
        return damaged(in, error, "the chunk before has a wrong hash");
    in->sequence++;
    return WEIR_OK;
}

static enum weir_code read_chunks(struct base_reader *in, store_chunk_fn *each, void *user, struct weir_error *error)
{
    for (;;) {
        enum weir_code code = read_chunk(in, error);
        if (code != WEIR_OK) return code;
        if (in->chunk.size == 0) break;
        code = each(user, (struct weir_bytes){ in->chunk.data, in->chunk.size }, error);
        if (code != WEIR_OK) return code;
    }
    if (in->offset != in->base->length) return damaged(in, error, "something follows its end");
    if (hash_stream_value(in->hash) != in->base->hash)
        return damaged(in, error, "the hash of the file is not the one expected");
    return WEIR_OK;
}

enum weir_code store_read_base(struct store *store, const struct manifest_base *base, store_chunk_fn *each, void *user,
                               struct weir_error *error)
{
    struct base_reader in;
    enum weir_code code = base_reader_open(&in, store, base, error);
    if (code == WEIR_OK) code = read_chunks(&in, each, user, error);
    base_reader_close(&in);
    return code;
}

static enum weir_code look_at_files(struct store *store, const struct manifest_base *base, bool all, uint64_t *bytes,
                                    struct weir_error *error)
{
    struct links links;
    links_init(&links);
    enum weir_code code = links_read(store, base, &links, error);
    if (code == WEIR_OK) code = links_check(store, &links, all, error);
    *bytes += links_bytes(&links, false);
    links_deinit(&links);
    return code;
}

enum weir_code store_check_base(struct store *store, const struct manifest_base *base, struct weir_error *error)
{
    uint64_t bytes;
    return store_verify_base(store, base, false, &bytes, error);
}

static enum weir_code ignore_chunk(void *user, struct weir_bytes chunk, struct weir_error *error)
{
    (void)user, (void)chunk, (void)error;
    return WEIR_OK;
}

enum weir_code store_verify_base(struct store *store, const struct manifest_base *base, bool all, uint64_t *bytes,
                                 struct weir_error *error)
{
    *bytes = base->length;
    if (store_base_is_links(base)) return look_at_files(store, base, all, bytes, error);
    if (all) return store_read_base(store, base, ignore_chunk, NULL, error);
    struct base_reader in;
    const enum weir_code code = base_reader_open(&in, store, base, error);
    base_reader_close(&in);
    return code;
}
