/* The contents of records, copied into one piece of memory:
 *
 *     struct weir_headers │ headers │ key │ value │ names and values of the headers */
#include <stdlib.h>
#include <string.h>

#include "sim/kafka_model_private.h"

static char *place(char **at, const void *data, size_t size)
{
    char *placed = *at;
    if (size > 0) memcpy(placed, data, size);
    *at += size;
    return placed;
}

static struct weir_bytes place_bytes(char **at, struct weir_bytes bytes)
{
    if (!weir_is_set(bytes) || weir_is_null(bytes)) return WEIR_NULL;
    return (struct weir_bytes){ place(at, bytes.data, bytes.size), bytes.size };
}

static size_t size_of(const struct model_record *record)
{
    size_t size = record->key.size + record->value.size;
    if (record->headers == NULL) return size;
    size += sizeof *record->headers;
    for (size_t i = 0; i < record->headers->count; i++) {
        const struct weir_header *header = &record->headers->items[i];
        size += sizeof *header + strlen(header->name) + 1 + header->value.size;
    }
    return size;
}

static void place_headers(char **at, const struct weir_headers *from, struct weir_header *items)
{
    for (size_t i = 0; i < from->count; i++) {
        items[i].name = place(at, from->items[i].name, strlen(from->items[i].name) + 1);
        items[i].value = place_bytes(at, from->items[i].value);
    }
}

void model_record_keep(struct model_record *record)
{
    const struct weir_headers *from = record->headers;
    char *at = record->memory = model_allocate(size_of(record));
    struct weir_headers *headers = (struct weir_headers *)(void *)at;
    struct weir_header *items = (struct weir_header *)(void *)(headers + 1);
    if (from != NULL) at = (char *)(items + from->count);
    record->key = place_bytes(&at, record->key);
    record->value = place_bytes(&at, record->value);
    if (from == NULL) return;
    place_headers(&at, from, items);
    *headers = (struct weir_headers){ from->count, items };
    record->headers = headers;
}

void model_record_drop(struct model_record *record)
{
    free(record->memory);
    record->memory = NULL;
}
