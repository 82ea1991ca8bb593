#include "state/sst.h"

#include <endian.h>
#include <fcntl.h>
#include <lz4.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    FOOTER_BYTES = 53,
    HANDLES_AT = 1,
    FORMAT_AT = 41,
    FORMAT = 5,
    CHECKSUM_XXH3 = 4,
    FORM_PLAIN = 0,
    FORM_LZ4 = 4,
    TRAILER_BYTES = 5,
    KEY_TRAILER_BYTES = 8,
    TYPE_REMOVED = 0,
    TYPE_VALUE = 1,
    TYPE_REMOVED_ONCE = 7,
    TWO_LEVELS = 2,
    LZ4_RATIO_MAX = 255,
    READ_AHEAD_BYTES = 128 << 10,
    BLOCK_BYTES_MAX = 1 << 30,
};

#define MAGIC 0x88e241b785f4cff7u
#define LAST_BYTE_FACTOR 0x6b9083d9u

/* What is wrong with a file is the rest of a sentence that begins with it. These two are not the file's fault. */
static const char out_of_memory[] = "there is no memory";
static const char cannot_be_read[] = "cannot be read";

struct handle {
    uint64_t offset;
    uint32_t size;
};

struct handles {
    struct handle *items;
    size_t count, capacity;
};

/* Entries of a block that are to come. */
struct entries {
    const char *at, *end;
};

struct sst {
    const char *name;
    int file;
    uint64_t size;
    struct handle index;
    bool has_begun;        /* the index has been read */
    struct handles blocks; /* of units */
    size_t next;
    struct buffer ahead; /* of the file, from `ahead_at` on */
    uint64_t ahead_at;
    struct buffer unpacked;
    struct entries entries;
    struct buffer key;
};

/* ---- Blocks ------------------------------------------------------------------------------------------------------ */

static bool read_at(const struct sst *sst, void *data, size_t size, uint64_t offset)
{
    char *to = data;
    while (size > 0) {
        const ssize_t result = pread(sst->file, to, size, (off_t)offset);
        if (result <= 0) return false;
        to += result;
        offset += (uint64_t)result;
        size -= (size_t)result;
    }
    return true;
}

/* The bytes [offset, offset + size) of the file, and about `more` behind them. */
static const char *look_ahead(struct sst *sst, uint64_t offset, size_t size, size_t more, const char **wrong)
{
    struct buffer *ahead = &sst->ahead;
    if (offset >= sst->ahead_at && offset + size <= sst->ahead_at + ahead->size)
        return ahead->data + (offset - sst->ahead_at);
    const uint64_t left = sst->size - offset;
    const size_t wanted = size > more ? size : more;
    const size_t bytes = left < wanted ? (size_t)left : wanted;
    buffer_clear(ahead);
    *wrong = out_of_memory;
    if (!buffer_reserve(ahead, bytes)) return NULL;
    *wrong = cannot_be_read;
    if (!read_at(sst, ahead->data, bytes, offset)) return NULL;
    *wrong = NULL;
    ahead->size = bytes;
    sst->ahead_at = offset;
    return ahead->data;
}

static bool is_whole(const char *bytes, size_t size)
{
    uint32_t checksum;
    memcpy(&checksum, bytes + size + 1, sizeof checksum);
    return le32toh(checksum) == ((uint32_t)hash_64(bytes, size) ^ (uint8_t)bytes[size] * LAST_BYTE_FACTOR);
}

/* An LZ4 block behind its size, into `unpacked`. */
static const char *unpack(struct sst *sst, struct weir_bytes packed, struct weir_bytes *block)
{
    struct reader reader;
    reader_init(&reader, packed.data, packed.size);
    const uint64_t size = reader_varint(&reader);
    if (reader.failed || size > packed.size * (uint64_t)LZ4_RATIO_MAX || size > BLOCK_BYTES_MAX)
        return "has a block of a size that is none";
    buffer_clear(&sst->unpacked);
    if (!buffer_reserve(&sst->unpacked, size)) return out_of_memory;
    if (LZ4_decompress_safe(reader.next, sst->unpacked.data, (int)reader_left(&reader), (int)size) != (int)size)
        return "has a block that cannot be unpacked";
    *block = (struct weir_bytes){ sst->unpacked.data, size };
    return NULL;
}

/* `block` is good until the next one is read. */
static const char *read_block(struct sst *sst, const struct handle *handle, size_t more, struct weir_bytes *block)
{
    const char *wrong = NULL;
    const size_t size = handle->size;
    if (handle->offset > sst->size || sst->size - handle->offset < size + TRAILER_BYTES || size > BLOCK_BYTES_MAX)
        return "has an index that leads nowhere";
    const char *bytes = look_ahead(sst, handle->offset, size + TRAILER_BYTES, more, &wrong);
    if (bytes == NULL) return wrong;
    if (!is_whole(bytes, size)) return "has a block whose checksum is wrong";
    *block = (struct weir_bytes){ bytes, size };
    if (bytes[size] == FORM_PLAIN) return NULL;
    return bytes[size] == FORM_LZ4 ? unpack(sst, *block, block) : "has a block of an unknown form";
}

/* ---- Entries ----------------------------------------------------------------------------------------------------- */

static bool find_entries(struct weir_bytes block, struct entries *entries)
{
    uint32_t restarts;
    if (block.size < sizeof restarts) return false;
    memcpy(&restarts, block.data + block.size - sizeof restarts, sizeof restarts);
    const uint64_t behind = ((uint64_t)le32toh(restarts) + 1) * sizeof restarts;
    *entries = (struct entries){ block.data, block.data + block.size - behind };
    return behind <= block.size;
}

static bool take_number(struct entries *entries, uint64_t *number)
{
    struct reader reader;
    reader_init(&reader, entries->at, (size_t)(entries->end - entries->at));
    *number = reader_varint(&reader);
    entries->at = reader.next;
    return !reader.failed;
}

/* The key of an entry in place of the one before. */
static bool take_key(struct entries *entries, struct buffer *key, uint64_t shared, uint64_t own)
{
    if (shared > key->size || own > (uint64_t)(entries->end - entries->at)) return false;
    key->size = shared;
    buffer_put(key, entries->at, own);
    entries->at += own;
    return !key->failed;
}

/* Most numbers have one byte. */
static bool take_sizes(struct entries *entries, uint64_t *shared, uint64_t *own, uint64_t *size)
{
    const uint8_t *const at = (const uint8_t *)entries->at;
    if (LIKELY(entries->end - entries->at >= 3 && (at[0] | at[1] | at[2]) < 0x80)) {
        *shared = at[0], *own = at[1], *size = at[2];
        entries->at += 3;
        return true;
    }
    return take_number(entries, shared) && take_number(entries, own) && take_number(entries, size);
}

static bool take_entry(struct entries *entries, struct buffer *key, struct weir_bytes *value)
{
    uint64_t shared, own, size;
    if (!take_sizes(entries, &shared, &own, &size)) return false;
    if (!take_key(entries, key, shared, own) || size > (uint64_t)(entries->end - entries->at)) return false;
    *value = (struct weir_bytes){ entries->at, size };
    entries->at += size;
    return true;
}

static bool take_handle(struct entries *entries, struct handle *handle)
{
    uint64_t size;
    if (!take_number(entries, &handle->offset) || !take_number(entries, &size) || size > UINT32_MAX) return false;
    handle->size = (uint32_t)size;
    return true;
}

/* `handle` is that of the entry before. */
static bool take_index_entry(struct entries *entries, struct handle *handle)
{
    uint64_t shared, own, zigzag;
    if (!take_number(entries, &shared) || !take_number(entries, &own)) return false;
    if (own > (uint64_t)(entries->end - entries->at)) return false;
    entries->at += own; /* a key between those of two blocks */
    if (shared == 0) return take_handle(entries, handle);
    if (!take_number(entries, &zigzag)) return false;
    handle->offset += handle->size + TRAILER_BYTES;
    handle->size += (uint32_t)((zigzag >> 1) ^ -(zigzag & 1));
    return true;
}

/* ---- Opening ----------------------------------------------------------------------------------------------------- */

static bool read_footer(struct sst *sst, struct handle *metaindex)
{
    char footer[FOOTER_BYTES];
    uint32_t format;
    uint64_t magic;
    if (sst->size < FOOTER_BYTES || !read_at(sst, footer, FOOTER_BYTES, sst->size - FOOTER_BYTES)) return false;
    memcpy(&format, footer + FORMAT_AT, sizeof format);
    memcpy(&magic, footer + FORMAT_AT + sizeof format, sizeof magic);
    if (footer[0] != CHECKSUM_XXH3 || le32toh(format) != FORMAT || le64toh(magic) != MAGIC) return false;
    struct entries handles = { footer + HANDLES_AT, footer + FORMAT_AT };
    return take_handle(&handles, metaindex) && take_handle(&handles, &sst->index);
}

static bool is_called(const struct buffer *key, const char *name)
{
    return key->size == strlen(name) && memcmp(key->data, name, key->size) == 0;
}

/* Does the index have two levels, and are its handles written as differences? */
static bool check_properties(struct sst *sst, const struct handle *handle)
{
    struct entries entries;
    struct weir_bytes value;
    const char *wrong;
    bool has_levels = false, has_differences = false;
    if (handle->offset > sst->size || sst->size - handle->offset < handle->size) return false;
    const char *bytes = look_ahead(sst, handle->offset, handle->size, 0, &wrong);
    if (bytes == NULL || !find_entries((struct weir_bytes){ bytes, handle->size }, &entries)) return false;
    buffer_clear(&sst->key);
    while (entries.at < entries.end) {
        if (!take_entry(&entries, &sst->key, &value)) return false;
        if (is_called(&sst->key, "rocksdb.block.based.table.index.type"))
            has_levels = value.size == sizeof(uint32_t) && value.data[0] == TWO_LEVELS;
        if (is_called(&sst->key, "rocksdb.index.value.is.delta.encoded"))
            has_differences = value.size == 1 && value.data[0] == 1;
    }
    return has_levels && has_differences;
}

static bool is_for_us(struct sst *sst)
{
    struct handle metaindex, properties = { 0, 0 };
    struct entries entries;
    struct weir_bytes block, value;
    if (!read_footer(sst, &metaindex) || read_block(sst, &metaindex, 0, &block) != NULL || !find_entries(block, &entries))
        return false;
    while (entries.at < entries.end) {
        if (!take_entry(&entries, &sst->key, &value)) return false;
        if (is_called(&sst->key, "rocksdb.range_del") || is_called(&sst->key, "rocksdb.compression_dict")) return false;
        struct entries handle = { value.data, value.data + value.size };
        if (is_called(&sst->key, "rocksdb.properties") && !take_handle(&handle, &properties)) return false;
    }
    return check_properties(sst, &properties);
}

struct sst *sst_open(const char *path, const char *name)
{
    struct stat status;
    struct sst *sst = calloc(1, sizeof *sst);
    if (sst == NULL) return NULL;
    sst->name = name;
    sst->file = open(path, O_RDONLY | O_CLOEXEC);
    if (sst->file >= 0 && fstat(sst->file, &status) == 0) {
        sst->size = (uint64_t)status.st_size;
        if (is_for_us(sst)) {
            buffer_deinit(&sst->ahead);
            return sst;
        }
    }
    sst_close(sst);
    return NULL;
}

void sst_close(struct sst *sst)
{
    if (sst == NULL) return;
    if (sst->file >= 0) (void)close(sst->file);
    vec_free(&sst->blocks);
    buffer_deinit(&sst->ahead);
    buffer_deinit(&sst->unpacked);
    buffer_deinit(&sst->key);
    free(sst);
}

/* ---- Reading ----------------------------------------------------------------------------------------------------- */

static const char *note_blocks(struct sst *sst, const struct handle *index, struct handles *blocks)
{
    static const char wrong_entry[] = "has an index that cannot be read";
    struct weir_bytes block;
    struct entries entries;
    struct handle handle = { 0, 0 };
    const char *wrong = read_block(sst, index, 0, &block);
    if (wrong != NULL) return wrong;
    if (!find_entries(block, &entries)) return wrong_entry;
    while (entries.at < entries.end) {
        if (!take_index_entry(&entries, &handle)) return wrong_entry;
        struct handle *noted = vec_push(blocks);
        if (noted == NULL) return out_of_memory;
        *noted = handle;
    }
    return NULL;
}

static const char *read_index(struct sst *sst)
{
    struct handles parts = { 0 };
    const char *wrong = note_blocks(sst, &sst->index, &parts);
    for (size_t i = 0; wrong == NULL && i < parts.count; i++) wrong = note_blocks(sst, &parts.items[i], &sst->blocks);
    vec_free(&parts);
    sst->has_begun = true;
    return wrong;
}

static const char *next_block(struct sst *sst)
{
    struct weir_bytes block;
    const char *wrong = read_block(sst, &sst->blocks.items[sst->next++], READ_AHEAD_BYTES, &block);
    if (wrong == NULL && !find_entries(block, &sst->entries)) wrong = "has a block that cannot be read";
    buffer_clear(&sst->key);
    return wrong;
}

static const char *next_unit(struct sst *sst, struct sst_unit *unit, bool *is_over)
{
    const char *wrong = sst->has_begun ? NULL : read_index(sst);
    while (wrong == NULL && sst->entries.at == sst->entries.end && sst->next < sst->blocks.count) wrong = next_block(sst);
    *is_over = sst->entries.at == sst->entries.end;
    if (wrong != NULL || *is_over) return wrong;
    if (!take_entry(&sst->entries, &sst->key, &unit->value) || sst->key.size < KEY_TRAILER_BYTES)
        return sst->key.failed ? out_of_memory : "has a unit that cannot be read";
    unit->name = (struct weir_bytes){ sst->key.data, sst->key.size - KEY_TRAILER_BYTES };
    const uint8_t type = (uint8_t)sst->key.data[unit->name.size];
    unit->is_removed = type == TYPE_REMOVED || type == TYPE_REMOVED_ONCE;
    return unit->is_removed || type == TYPE_VALUE ? NULL : "has a unit of an unknown kind";
}

enum weir_code sst_next(struct sst *sst, struct sst_unit *unit, bool *is_over, struct weir_error *error)
{
    const char *wrong = next_unit(sst, unit, is_over);
    if (LIKELY(wrong == NULL)) return WEIR_OK;
    if (wrong == out_of_memory)
        return weir_error_set(error, WEIR_NO_MEMORY, WEIR_REMEDY_REPLAY, "out of memory while reading %s", sst->name);
    if (wrong == cannot_be_read)
        return weir_error_set(error, WEIR_ENVIRONMENT, WEIR_REMEDY_REPLAY, "%s %s", sst->name, wrong);
    return weir_error_set(error, WEIR_DAMAGED, WEIR_REMEDY_STOP,
                          "%s of the checkpoint store is damaged; put it back from a copy of it: it %s", sst->name, wrong);
}
