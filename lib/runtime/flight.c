#include "runtime/flight.h"

static struct flight *find(struct flights *flights, bool is_sent, uint32_t place, uint32_t subtask)
{
    for (size_t i = 0; i < flights->items.count; i++) {
        struct flight *flight = &flights->items.items[i];
        if (flight->is_sent == is_sent && flight->place == place && flight->subtask == subtask) return flight;
    }
    struct flight *flight = vec_push(&flights->items);
    if (flight != NULL) *flight = (struct flight){ .is_sent = is_sent, .place = place, .subtask = subtask };
    return flight;
}

bool flights_add(struct flights *flights, bool is_sent, uint32_t place, uint32_t subtask,
                 const struct weir_record *records, uint32_t count)
{
    if (count == 0) return true;
    struct flight *flight = find(flights, is_sent, place, subtask);
    if (flight == NULL) return false;
    for (uint32_t i = 0; i < count; i++) wire_put(&flight->bytes, &records[i]);
    flight->count += count;
    return !flight->bytes.failed;
}

void flights_clear(struct flights *flights)
{
    for (size_t i = 0; i < flights->items.count; i++) buffer_deinit(&flights->items.items[i].bytes);
    vec_free(&flights->items);
}
