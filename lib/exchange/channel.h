/* A bounded ring of elements from one producer thread to one consumer thread, without locks, and a second ring in the
 * other direction that brings emptied batches back, so that a steady flow allocates nothing.
 *
 *     producer ──push──> [ | |b|b|b|w|n| | ] ──pop──> consumer        b batch, w watermark, n barrier
 *              <─take_empty── [ | |e|e| ] <──give_back──
 *
 * A barrier that overtakes stands beside the ring, with the place behind which it comes: a full ring has no room for it, and
 * need not. Who pops meets it in its place, and who looks ahead does.
 *
 * Wake-ups. The consumer is woken when the ring was empty, and by barriers, for which it may look ahead. The producer is
 * woken when it has met a full ring and the ring is half empty again, not at the first free place: else both sides would
 * wake each other for each element. */
#ifndef EXCHANGE_CHANNEL_H
#define EXCHANGE_CHANNEL_H

#include <stdbool.h>
#include <stdint.h>

#include "record/record.h"

/* In elements. At full batches of 256 KiB a channel holds 2 MiB at most. */
#define CHANNEL_CAPACITY_DEFAULT 8

struct channel;

/* `capacity` >= 1 elements. Wakers are borrowed until the channel is destroyed; NULL = nobody to wake. NULL when there
 * is no memory. */
struct channel *channel_create(uint32_t capacity, struct waker *producer, struct waker *consumer);
/* Releases what is inside. Nobody may use either end any more. */
void channel_destroy(struct channel *channel);

/* Takes `element`. False when full: the element stays the caller's, and the producer will be woken. A closed channel
 * takes everything and releases it. Producer. */
bool channel_push(struct channel *channel, struct element element);
/* Barrier `epoch` behind what was pushed so far, and in front of all that comes; wakes the consumer. The one before it has
 * been popped, or its consumer knows of it. Producer. */
void channel_overtake(struct channel *channel, uint64_t epoch);
/* An empty batch that came back, or NULL. Producer. */
struct weir_batch *channel_take_empty(struct channel *channel);

/* The oldest element (a batch's reference moves out), or false: nothing there now, or closed. Consumer. */
bool channel_pop(struct channel *channel, struct element *element);
enum channel_sight {
    CHANNEL_NOTHING, /* yet */
    CHANNEL_ELEMENT, /* borrowed until it is popped */
    CHANNEL_BARRIER, /* one that stands beside the ring, in front of element `index`; it has been taken, and is not popped */
};
/* Looks ahead, to what will be popped when `index` elements have been. Consumer. */
enum channel_sight channel_look(struct channel *channel, uint32_t index, struct element *element);
/* Takes the consumer's reference to a batch that came out of this channel: back to the producer when it was the last
 * one, else it is dropped. Consumer. */
void channel_give_back(struct channel *channel, struct weir_batch *batch);

/* For good, and wakes both sides. What is inside is released by channel_destroy. Any thread. */
void channel_close(struct channel *channel);
bool channel_is_closed(const struct channel *channel); /* any thread */

struct channel_counters {
    uint64_t batches, records; /* pushed since the channel was made */
    uint32_t waiting;          /* elements inside now */
};
struct channel_counters channel_counters(const struct channel *channel); /* any thread; not one instant */

#endif
