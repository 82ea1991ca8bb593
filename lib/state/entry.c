#include "state/entry.h"

#include <stdlib.h>

void entries_init(struct entries *entries)
{
    *entries = (struct entries){ 0 };
    slab_init(&entries->slab);
}

void entries_deinit(struct entries *entries)
{
    CHECK(entries->block_count == 0);
    slab_deinit(&entries->slab);
}

/* ---- Blocks ------------------------------------------------------------------------------------------------------ */

static struct block *block_create(struct entries *entries, size_t capacity)
{
    if (capacity > SIZE_MAX / 2) return NULL;
    struct block *block = malloc(sizeof *block + capacity);
    if (block == NULL) return NULL;
    *block = (struct block){ .capacity = capacity };
    entries->block_count++;
    entries->block_bytes += sizeof *block + capacity;
    return block;
}

static void block_destroy(struct entries *entries, struct block *block)
{
    entries->block_count--;
    entries->block_bytes -= sizeof *block + block->capacity;
    free(block);
}

const unsigned char entry_mask[32] = { [0 ... 15] = 0xff };

/* ---- Names ------------------------------------------------------------------------------------------------------- */

static bool is_parted(uint32_t shape)
{
    return (shape & (SHAPE_NAME_SPACE | SHAPE_ELEMENT)) != 0;
}

static struct weir_bytes entry_name(const struct entry *entry)
{
    const size_t at = entry_is_stamped(entry) ? ENTRY_STAMP_BYTES : 0;
    if (LIKELY(!(entry_shape(entry) & SHAPE_LONG)))
        return (struct weir_bytes){ entry->data + at, (entry->identity >> 16) - at };
    const struct block *block = entry_block_at(entry->data + at);
    return (struct weir_bytes){ block->bytes, block->size };
}

struct state_key entry_key_parted(const struct entry *entry)
{
    const uint32_t shape = entry_shape(entry);
    const struct weir_bytes name = entry_name(entry);
    struct state_key key = { .key = name };
    if (is_parted(shape)) {
        uint32_t sizes[2];
        memcpy(sizes, name.data, sizeof sizes);
        memcpy(&key.generation, name.data + sizeof sizes, sizeof key.generation);
        const char *at = name.data + ENTRY_PARTS_BYTES;
        key.key = (struct weir_bytes){ at, sizes[0] };
        at += sizes[0];
        if (shape & SHAPE_NAME_SPACE) key.name_space = (struct weir_bytes){ at, sizes[1] };
        at += sizes[1];
        if (shape & SHAPE_ELEMENT) key.element = (struct weir_bytes){ at, (size_t)(name.data + name.size - at) };
    }
    if (shape & SHAPE_NULL_KEY) key.key = WEIR_NULL;
    return key;
}

static char *put(char *at, struct weir_bytes part)
{
    if (part.size > 0) memcpy(at, part.data, part.size);
    return at + part.size;
}

static void write_name(char *at, const struct unit *unit)
{
    const struct state_key *key = unit->key;
    if (is_parted(unit->identity >> 8 & 0xff)) {
        const uint32_t sizes[2] = { (uint32_t)key->key.size, (uint32_t)key->name_space.size };
        memcpy(at, sizes, sizeof sizes);
        memcpy(at + sizeof sizes, &key->generation, sizeof key->generation);
        at += ENTRY_PARTS_BYTES;
    }
    at = put(at, key->key);
    at = put(at, key->name_space);
    put(at, key->element);
}

/* The identities are equal, so the same parts are there, and the whole has the same size. */
bool entry_is_parted(const struct entry *entry, const struct state_key *wanted)
{
    const struct weir_bytes name = entry_name(entry);
    if (UNLIKELY(!is_parted(entry_shape(entry))))
        return name.size == wanted->key.size && bytes_same(name.data, wanted->key.data, name.size);
    uint32_t sizes[2];
    uint64_t generation;
    memcpy(sizes, name.data, sizeof sizes);
    memcpy(&generation, name.data + sizeof sizes, sizeof generation);
    if (generation != wanted->generation || sizes[0] != wanted->key.size || sizes[1] != wanted->name_space.size)
        return false;
    const size_t element_size = name.size - ENTRY_PARTS_BYTES - sizes[0] - sizes[1];
    if (element_size != wanted->element.size) return false;
    const char *key = name.data + ENTRY_PARTS_BYTES, *name_space = key + sizes[0], *element = name_space + sizes[1];
    return bytes_same(element, wanted->element.data, element_size) && bytes_same(key, wanted->key.data, sizes[0]) &&
           bytes_same(name_space, wanted->name_space.data, sizes[1]);
}

/* ---- Creation and values ----------------------------------------------------------------------------------------- */

/* Of the value inside an entry: at least a pointer's, so that it can move to a block later. */
static size_t inline_capacity(size_t value_size)
{
    return value_size < sizeof(struct block *) ? sizeof(struct block *) : value_size;
}

static void set_block(struct entry *entry, struct block *block)
{
    memcpy(entry->data + entry_name_area(entry), &block, sizeof block);
    entry->flags |= ENTRY_BLOCK;
    entry->value_size = 0;
}

uint32_t entry_create(struct entries *entries, const struct unit *unit, size_t value_size)
{
    if (unit->name_size > UINT32_MAX) return SLAB_NONE;
    const struct entry head = { .identity = unit->identity };
    const size_t name_end = sizeof head + entry_name_area(&head);
    const bool is_long = (unit->identity >> 8 & SHAPE_LONG) != 0;
    const bool is_inline = value_size <= SLAB_CELL_MAX - name_end;

    struct block *name_block = is_long ? block_create(entries, unit->name_size) : NULL;
    struct block *value_block = is_inline ? NULL : block_create(entries, value_size);
    uint32_t reference = SLAB_NONE;
    if ((!is_long || name_block != NULL) && (is_inline || value_block != NULL))
        reference = slab_alloc(&entries->slab, name_end + inline_capacity(is_inline ? value_size : 0));
    if (reference == SLAB_NONE) {
        if (value_block != NULL) block_destroy(entries, value_block);
        if (name_block != NULL) block_destroy(entries, name_block);
        return SLAB_NONE;
    }

    struct entry *entry = entry_at(entries, reference);
    *entry = head;
    entry->value_size = is_inline ? (uint16_t)value_size : 0;
    if (is_long) {
        memcpy(entry_name_at(entry), &name_block, sizeof name_block);
        name_block->size = unit->name_size;
    }
    write_name(is_long ? name_block->bytes : entry_name_at(entry), unit);
    if (!is_inline) {
        set_block(entry, value_block);
        value_block->size = value_size;
    }
    return reference;
}

static void free_value_block(struct entries *entries, struct entry *entry)
{
    if (!(entry->flags & ENTRY_BLOCK)) return;
    block_destroy(entries, entry_block_at(entry->data + entry_name_area(entry)));
    entry->flags &= (uint8_t)~ENTRY_BLOCK;
    entry->value_size = 0;
}

void entry_destroy(struct entries *entries, uint32_t reference)
{
    struct entry *entry = entry_at(entries, reference);
    free_value_block(entries, entry);
    if (entry_shape(entry) & SHAPE_LONG) block_destroy(entries, entry_block_at(entry_name_at(entry)));
    slab_free(&entries->slab, reference);
}

void entry_remove_value(struct entries *entries, struct entry *entry)
{
    free_value_block(entries, entry);
    entry->value_size = 0;
    entry->flags = (uint8_t)((entry->flags & ~(ENTRY_NULL | ENTRY_OLD)) | ENTRY_REMOVED);
}

/* Writes the value where there is room already, in the cell or in the block that it has. */
static bool set_in_place(struct entries *entries, uint32_t reference, struct weir_bytes value)
{
    struct entry *entry = entry_at(entries, reference);
    char *at = entry->data + entry_name_area(entry);
    if (entry->flags & ENTRY_BLOCK) {
        struct block *block = entry_block_at(at);
        /* A block that has become far too large is replaced. */
        if (value.size > block->capacity || value.size < block->capacity / 4) return false;
        memmove(block->bytes, value.data, value.size);
        block->size = value.size;
        return true;
    }
    const size_t capacity = slab_cell_bytes(&entries->slab, reference) - (size_t)(at - (char *)entry);
    if (value.size > capacity) return false;
    memmove(at, value.data, value.size);
    entry->value_size = (uint16_t)value.size;
    return true;
}

/* A new block, with room to grow: a value that grows byte by byte is copied a logarithmic number of times. */
static bool set_in_new_block(struct entries *entries, struct entry *entry, struct weir_bytes value)
{
    struct block *block = block_create(entries, value.size + value.size / 4);
    if (block == NULL) return false;
    memcpy(block->bytes, value.data, value.size);
    block->size = value.size;
    free_value_block(entries, entry);
    set_block(entry, block);
    return true;
}

/* Back into the cell. The value may lie in the block that is freed here, so it is copied first. */
static bool set_inline_again(struct entries *entries, uint32_t reference, struct weir_bytes value)
{
    struct entry *entry = entry_at(entries, reference);
    if (LIKELY(!(entry->flags & ENTRY_BLOCK))) return false;
    char *at = entry->data + entry_name_area(entry);
    const size_t capacity = slab_cell_bytes(&entries->slab, reference) - (size_t)(at - (char *)entry);
    if (value.size > capacity) return false;
    struct block *block = entry_block_at(at);
    memcpy(at, value.data, value.size);
    block_destroy(entries, block);
    entry->flags &= (uint8_t)~ENTRY_BLOCK;
    entry->value_size = (uint16_t)value.size;
    return true;
}

bool entry_set_value(struct entries *entries, uint32_t reference, struct weir_bytes value)
{
    struct entry *entry = entry_at(entries, reference);
    if (weir_is_null(value)) {
        entry_remove_value(entries, entry);
        entry->flags |= ENTRY_NULL;
    } else {
        if (!set_inline_again(entries, reference, value) && !set_in_place(entries, reference, value) &&
            !set_in_new_block(entries, entry, value))
            return false;
        entry->flags &= (uint8_t)~ENTRY_NULL;
    }
    entry->flags &= (uint8_t) ~(ENTRY_REMOVED | ENTRY_OLD);
    return true;
}
