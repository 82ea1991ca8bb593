/* The sending side of one operator output: from one subtask to those of one receiving operator. Owner: the sending
 * task.
 *
 *   emit ─> which channel? ─copy─> open batch of that channel ─full or flush─> channel
 *                                                                └─ channel full: waits here, blocked
 *
 *   FORWARD    one channel            REBALANCE  the next channel for each batch
 *   KEY_GROUP  by record->key_hash    BROADCAST  one batch for all, counted by reference
 *
 * Invariants
 *   1. For each channel, elements leave in the order in which they were made: nothing overtakes what waits.
 *   2. Blocked = something waits. A blocked router still takes what it is given (the rest of a record's output, a
 *      barrier), but the task reads no further input, so what waits is bounded by what one record can emit.
 *   3. After a call has answered false there is no memory; the router may only be destroyed. */
#ifndef EXCHANGE_ROUTER_H
#define EXCHANGE_ROUTER_H

#include <stdbool.h>
#include <stdint.h>

#include "exchange/channel.h"

struct router_options {
    enum weir_exchange exchange;     /* never AUTO */
    bool keeps_order;                /* no barrier overtakes what waits for these channels */
    uint32_t max_parallelism;        /* KEY_GROUP */
    /* One for each receiving subtask, in their order; FORWARD: exactly one. Borrowed. */
    struct channel *const *channels;
    uint32_t channel_count;
    uint32_t first_channel;          /* REBALANCE: where to begin, so that not all senders begin with the same one */
};

struct router;

struct router *router_create(const struct router_options *options); /* NULL when there is no memory */
void router_destroy(struct router *router);                         /* releases open and waiting batches */

/* Copies `record` into the open batch of its channel. False when there is no memory. */
bool router_emit(struct router *router, const struct weir_record *record);
/* Sends partial batches. False when there is no memory. */
bool router_flush(struct router *router);
/* Flushes, then sends `element` (no batch) to every channel. False when there is no memory. */
bool router_control(struct router *router, struct element element);

/* Barrier `epoch`, which was sent by router_control, leaves what waits in front of it behind, and `log` gets the batches among
 * it, to which the receivers are still to come: channel by channel, in order. Where `keeps_order`, barriers stay
 * where they are. False when `log` is. */
bool router_overtake(struct router *router, uint64_t epoch,
                     bool (*log)(void *user, uint32_t channel, const struct weir_batch *batch), void *user);

bool router_is_blocked(const struct router *router);
/* Pushes what waits, as far as there is room. True when nothing waits any more. */
bool router_retry(struct router *router);

bool router_has_partial(const struct router *router); /* is there anything to flush? */
uint64_t router_records(const struct router *router); /* emitted since it was made */
uint64_t router_bytes(const struct router *router);   /* of the batches that are full or were sent */

#endif
