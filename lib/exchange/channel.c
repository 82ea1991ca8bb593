#include "exchange/channel.h"

#include <stdlib.h>

#define CACHE_LINE 64

/* Single producer, single consumer. Indices count up for ever (wrapping at 2^32); a slot is index modulo a power of
 * two.
 *
 * Indices are stored and loaded sequentially consistent, because each side decides about waking the other by "store
 * mine, then look at yours": with less, both could look before either store is seen, and both would sleep. It costs an
 * exclusive store for each element, of which there are a few thousand a second. */
struct ring {
    _Alignas(CACHE_LINE) _Atomic uint32_t head; /* next to pop; written by the consumer */
    _Alignas(CACHE_LINE) _Atomic uint32_t tail; /* next to push; written by the producer */
    _Alignas(CACHE_LINE) uint32_t capacity;
    uint32_t mask;
    struct element *slots;
};

struct channel {
    struct ring elements;
    struct ring empties; /* the other way round: the channel's consumer pushes */
    struct waker *producer;
    struct waker *consumer;
    _Atomic bool closed;
    /* Set by a producer that met a full ring, cleared by the consumer that wakes it. */
    _Alignas(CACHE_LINE) _Atomic bool producer_waits;
    /* A barrier beside the ring: the newest, the index that it stands in front of, written before it by the producer, and
     * the newest that the consumer has taken. */
    _Atomic uint64_t overtaken;
    uint32_t overtaken_at;
    uint64_t overtaken_taken;
    /* Written by the producer only. */
    _Alignas(CACHE_LINE) _Atomic uint64_t batches;
    _Atomic uint64_t records;
};

static bool ring_init(struct ring *ring, uint32_t capacity)
{
    uint32_t slots = 1;
    while (slots < capacity) slots *= 2;
    ring->slots = calloc(slots, sizeof *ring->slots);
    ring->mask = slots - 1;
    ring->capacity = capacity;
    atomic_init(&ring->head, 0);
    atomic_init(&ring->tail, 0);
    return ring->slots != NULL;
}

/* False when full; else *was_empty tells whether the consumer had nothing left when the element arrived. */
static bool ring_push(struct ring *ring, struct element element, bool *was_empty)
{
    const uint32_t tail = atomic_load_explicit(&ring->tail, memory_order_relaxed);
    if (tail - atomic_load(&ring->head) >= ring->capacity) return false;
    ring->slots[tail & ring->mask] = element;
    atomic_store(&ring->tail, tail + 1);
    *was_empty = atomic_load(&ring->head) == tail;
    return true;
}

/* The element `index` places behind the oldest one. The consumer's: what is between head and tail stays as it is. */
static bool ring_peek(const struct ring *ring, uint32_t index, struct element *element)
{
    const uint32_t head = atomic_load_explicit(&ring->head, memory_order_relaxed);
    if (index >= atomic_load(&ring->tail) - head) return false;
    *element = ring->slots[(head + index) & ring->mask];
    return true;
}

static bool ring_pop(struct ring *ring, struct element *element)
{
    const uint32_t head = atomic_load_explicit(&ring->head, memory_order_relaxed);
    if (atomic_load(&ring->tail) == head) return false;
    *element = ring->slots[head & ring->mask];
    atomic_store(&ring->head, head + 1);
    return true;
}

static uint32_t ring_count(const struct ring *ring)
{
    /* Head first: it never passes the tail, so the difference is not negative. */
    const uint32_t head = atomic_load(&ring->head);
    return atomic_load(&ring->tail) - head;
}

static void ring_deinit(struct ring *ring)
{
    struct element element;
    if (ring->slots == NULL) return;
    while (ring_pop(ring, &element)) element_release(&element);
    free(ring->slots);
}

struct channel *channel_create(uint32_t capacity, struct waker *producer, struct waker *consumer)
{
    CHECK(capacity >= 1 && capacity <= UINT32_MAX / 4);
    struct channel *channel = aligned_alloc(CACHE_LINE, sizeof *channel);
    if (channel == NULL) return NULL;
    *channel = (struct channel){ .producer = producer, .consumer = consumer };
    /* As many empties as elements: in a steady flow, no batch is ever freed. */
    if (ring_init(&channel->elements, capacity) && ring_init(&channel->empties, capacity)) return channel;
    channel_destroy(channel);
    return NULL;
}

void channel_destroy(struct channel *channel)
{
    if (channel == NULL) return;
    ring_deinit(&channel->elements);
    ring_deinit(&channel->empties);
    free(channel);
}

static void wake(struct waker *waker)
{
    if (waker != NULL) waker_wake(waker);
}

/* The producer is the only writer: no read-modify-write. */
static void count_up(_Atomic uint64_t *counter, uint64_t more)
{
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + more, memory_order_relaxed);
}

/* Says that the producer waits, then looks again: the consumer may have made room before it could see that. */
static bool push_again(struct channel *channel, struct element element, bool *was_empty)
{
    atomic_store(&channel->producer_waits, true);
    return ring_push(&channel->elements, element, was_empty);
}

bool channel_push(struct channel *channel, struct element element)
{
    CHECK(element.type != ELEMENT_NONE);
    if (channel_is_closed(channel)) {
        element_release(&element);
        return true;
    }
    const bool is_batch = element.type == ELEMENT_BATCH, is_barrier = element.type == ELEMENT_BARRIER;
    const uint64_t records = is_batch ? element.batch->count : 0; /* gone to the consumer after the push */
    bool was_empty;
    if (!ring_push(&channel->elements, element, &was_empty) && !push_again(channel, element, &was_empty)) return false;
    if (was_empty || is_barrier) wake(channel->consumer);
    if (is_batch) {
        count_up(&channel->batches, 1);
        count_up(&channel->records, records);
    }
    return true;
}

struct weir_batch *channel_take_empty(struct channel *channel)
{
    struct element element;
    return ring_pop(&channel->empties, &element) ? element.batch : NULL;
}

static void wake_waiting_producer(struct channel *channel)
{
    if (!atomic_load(&channel->producer_waits)) return;
    if (ring_count(&channel->elements) > channel->elements.capacity / 2) return;
    atomic_store(&channel->producer_waits, false);
    wake(channel->producer);
}

void channel_overtake(struct channel *channel, uint64_t epoch)
{
    /* The consumer has seen the barrier before, or it is of no use to anybody: the place is the producer's to write. */
    channel->overtaken_at = atomic_load_explicit(&channel->elements.tail, memory_order_relaxed);
    atomic_store(&channel->overtaken, epoch);
    wake(channel->consumer);
}

/* How many elements of the ring come before the barrier beside it; UINT32_MAX when there is none. To be asked behind a look
 * at the ring: whatever was pushed behind the barrier shows it. */
static uint32_t before_barrier(const struct channel *channel)
{
    if (atomic_load(&channel->overtaken) == channel->overtaken_taken) return UINT32_MAX;
    return channel->overtaken_at - atomic_load_explicit(&channel->elements.head, memory_order_relaxed);
}

static void take_barrier(struct channel *channel, struct element *element)
{
    channel->overtaken_taken = atomic_load(&channel->overtaken);
    *element = element_barrier(channel->overtaken_taken);
}

bool channel_pop(struct channel *channel, struct element *element)
{
    if (channel_is_closed(channel)) return false;
    const bool is_empty = ring_count(&channel->elements) == 0;
    if (before_barrier(channel) == 0) {
        take_barrier(channel, element);
        return true;
    }
    if (is_empty || !ring_pop(&channel->elements, element)) return false;
    wake_waiting_producer(channel);
    return true;
}

enum channel_sight channel_look(struct channel *channel, uint32_t index, struct element *element)
{
    if (channel_is_closed(channel)) return CHANNEL_NOTHING;
    const bool is_there = ring_peek(&channel->elements, index, element);
    if (before_barrier(channel) > index) return is_there ? CHANNEL_ELEMENT : CHANNEL_NOTHING;
    take_barrier(channel, element);
    return CHANNEL_BARRIER;
}

void channel_give_back(struct channel *channel, struct weir_batch *batch)
{
    bool was_empty;
    if (batch_is_sole(batch)) {
        batch_clear(batch);
        if (ring_push(&channel->empties, element_batch(batch), &was_empty)) return;
    }
    batch_release(batch);
}

void channel_close(struct channel *channel)
{
    atomic_store(&channel->closed, true);
    wake(channel->producer);
    wake(channel->consumer);
}

bool channel_is_closed(const struct channel *channel)
{
    return atomic_load_explicit(&channel->closed, memory_order_acquire);
}

struct channel_counters channel_counters(const struct channel *channel)
{
    return (struct channel_counters){
        .batches = atomic_load_explicit(&channel->batches, memory_order_relaxed),
        .records = atomic_load_explicit(&channel->records, memory_order_relaxed),
        .waiting = ring_count(&channel->elements),
    };
}
