/* Lists that connectors and the core hand to each other: connector.h says what each call promises. */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "weir/connector.h"

/* The public lists have no capacity, and some were built by a decoder at their exact size: they grow one by one. They
 * are short, and change a few times for each epoch. */
static void *room_for_one_more(void *items, size_t count, size_t item_size)
{
    if (count >= SIZE_MAX / item_size) return NULL;
    return realloc(items, (count + 1) * item_size);
}

/* Frees what is const to its readers. */
static void free_const(const void *memory)
{
    free((void *)(uintptr_t)memory);
}

bool weir_splits_add(struct weir_splits *splits, const struct weir_split *split)
{
    const char *identity = split->identity == NULL ? "" : split->identity;
    const size_t name_size = strlen(split->name) + 1, identity_size = strlen(identity) + 1;
    char *names = malloc(name_size + identity_size); /* one piece for both; freed by way of the name */
    if (names == NULL) return false;
    struct weir_split *items = room_for_one_more(splits->items, splits->count, sizeof *items);
    if (items == NULL) {
        free(names);
        return false;
    }
    splits->items = items;
    memcpy(names, split->name, name_size);
    memcpy(names + name_size, identity, identity_size);
    struct weir_split *copy = &items[splits->count++];
    *copy = *split;
    copy->name = names;
    copy->identity = names + name_size;
    return true;
}

const struct weir_split *weir_splits_find(const struct weir_splits *splits, const char *name)
{
    for (size_t i = 0; i < splits->count; i++)
        if (strcmp(splits->items[i].name, name) == 0) return &splits->items[i];
    return NULL;
}

void weir_splits_clear(struct weir_splits *splits)
{
    for (size_t i = 0; i < splits->count; i++) free_const(splits->items[i].name);
    free(splits->items);
    *splits = (struct weir_splits){ 0 };
}

/* Index of `name`, or of the first row behind it. */
static size_t totals_place(const struct weir_output_totals *totals, const char *name)
{
    size_t low = 0, high = totals->count;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (strcmp(totals->items[middle].name, name) < 0) low = middle + 1;
        else high = middle;
    }
    return low;
}

static struct weir_output_total *totals_insert(struct weir_output_totals *totals, size_t place, const char *name)
{
    struct weir_output_total *items = room_for_one_more(totals->items, totals->count, sizeof *items);
    if (items == NULL) return NULL;
    totals->items = items;
    struct weir_output_total *row = &items[place];
    memmove(row + 1, row, (totals->count - place) * sizeof *row);
    totals->count++;
    *row = (struct weir_output_total){ 0 };
    memcpy(row->name, name, strlen(name) + 1);
    return row;
}

bool weir_output_totals_add(struct weir_output_totals *totals, const char *name, uint64_t count,
                            struct weir_digest digest)
{
    CHECK(strlen(name) < sizeof totals->items[0].name);
    const size_t place = totals_place(totals, name);
    const bool is_there = place < totals->count && strcmp(totals->items[place].name, name) == 0;
    struct weir_output_total *row = is_there ? &totals->items[place] : totals_insert(totals, place, name);
    if (row == NULL) return false;
    row->count += count;
    weir_digest_add(&row->digest, digest);
    return true;
}

void weir_output_totals_clear(struct weir_output_totals *totals)
{
    free(totals->items);
    *totals = (struct weir_output_totals){ 0 };
}

static void free_bytes(struct weir_bytes bytes)
{
    if (!weir_is_null(bytes)) free_const(bytes.data);
}

void weir_decider_event_clear(struct weir_decider_event *event)
{
    for (size_t i = 0; i < event->record_count; i++) {
        free_bytes(event->records[i].key);
        free_bytes(event->records[i].value);
    }
    free(event->records);
    free(event->mirrors);
    free(event->anchors);
    event->records = NULL;
    event->mirrors = NULL;
    event->anchors = NULL;
    event->record_count = event->mirror_count = event->anchor_count = 0;
}
