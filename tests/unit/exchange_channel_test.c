#include "exchange/exchange.h"
#include "harness/unit.h"

static struct element numbered(int64_t number)
{
    return element_watermark(number);
}

static struct weir_batch *batch_of(const char *text)
{
    struct weir_batch *batch = batch_create();
    ck_assert_ptr_nonnull(batch);
    const struct weir_record record = { .key = WEIR_NULL, .value = weir_text(text) };
    ck_assert(batch_add(batch, &record));
    return batch;
}

/* Woken since the last time we asked? */
static bool woken(struct waker *waker)
{
    return atomic_exchange(&waker->state, 0) != 0;
}

START_TEST(elements_come_out_in_order)
{
    struct channel *channel = channel_create(3, NULL, NULL);
    struct element element;
    ck_assert(!channel_pop(channel, &element));
    for (int64_t round = 0; round < 10; round++) {
        for (int64_t i = 0; i < 3; i++) ck_assert(channel_push(channel, numbered(round * 3 + i)));
        ck_assert(!channel_push(channel, numbered(-1)));
        for (int64_t i = 0; i < 3; i++) {
            ck_assert(channel_pop(channel, &element));
            ck_assert_int_eq(element.watermark_ms, round * 3 + i);
        }
        ck_assert(!channel_pop(channel, &element));
    }
    channel_destroy(channel);
}
END_TEST

START_TEST(wakes_the_consumer_only_when_it_had_nothing)
{
    struct waker producer, consumer;
    ck_assert(waker_init(&producer) && waker_init(&consumer));
    struct channel *channel = channel_create(4, &producer, &consumer);
    struct element element;
    ck_assert(channel_push(channel, numbered(1)));
    ck_assert(woken(&consumer));
    ck_assert(channel_push(channel, numbered(2)));
    ck_assert(!woken(&consumer));
    ck_assert(channel_pop(channel, &element) && channel_pop(channel, &element));
    ck_assert(channel_push(channel, numbered(3)));
    ck_assert(woken(&consumer));
    ck_assert(!woken(&producer));
    channel_destroy(channel);
    waker_deinit(&producer);
    waker_deinit(&consumer);
}
END_TEST

START_TEST(wakes_a_producer_that_met_a_full_ring_when_half_is_free)
{
    struct waker producer, consumer;
    ck_assert(waker_init(&producer) && waker_init(&consumer));
    struct channel *channel = channel_create(4, &producer, &consumer);
    struct element element;
    for (int64_t i = 0; i < 4; i++) ck_assert(channel_push(channel, numbered(i)));
    ck_assert(channel_pop(channel, &element));
    ck_assert(channel_push(channel, numbered(4))); /* full again, but the producer has not met it */
    for (int64_t i = 0; i < 3; i++) ck_assert(channel_pop(channel, &element));
    ck_assert(!woken(&producer));
    for (int64_t i = 0; i < 2; i++) ck_assert(channel_push(channel, numbered(i)));
    while (channel_push(channel, numbered(9))) continue;
    ck_assert(channel_pop(channel, &element));
    ck_assert(!woken(&producer));
    ck_assert(channel_pop(channel, &element));
    ck_assert(woken(&producer));
    ck_assert(channel_pop(channel, &element));
    ck_assert(!woken(&producer)); /* once is enough */
    channel_destroy(channel);
    waker_deinit(&producer);
    waker_deinit(&consumer);
}
END_TEST

START_TEST(a_closed_channel_swallows_and_gives_nothing)
{
    struct waker producer, consumer;
    ck_assert(waker_init(&producer) && waker_init(&consumer));
    struct channel *channel = channel_create(1, &producer, &consumer);
    ck_assert(channel_push(channel, element_batch(batch_of("inside"))));
    ck_assert(woken(&consumer) && !woken(&producer));
    ck_assert(!channel_is_closed(channel));
    channel_close(channel);
    ck_assert(channel_is_closed(channel));
    ck_assert(woken(&consumer) && woken(&producer));

    struct weir_batch *kept = batch_of("shared");
    batch_retain(kept);
    for (int i = 0; i < 5; i++) ck_assert(channel_push(channel, numbered(i)));
    ck_assert(channel_push(channel, element_batch(kept)));
    ck_assert(batch_is_sole(kept));
    struct element element;
    ck_assert(!channel_pop(channel, &element));
    batch_release(kept);
    channel_destroy(channel); /* releases what was inside: the leak check of the sanitizer build sees it */
    waker_deinit(&producer);
    waker_deinit(&consumer);
}
END_TEST

START_TEST(emptied_batches_come_back)
{
    struct channel *channel = channel_create(2, NULL, NULL);
    ck_assert_ptr_null(channel_take_empty(channel));
    struct weir_batch *batch = batch_of("text");
    ck_assert(channel_push(channel, element_batch(batch)));
    struct element element;
    ck_assert(channel_pop(channel, &element));
    channel_give_back(channel, element.batch);
    ck_assert_ptr_eq(channel_take_empty(channel), batch);
    ck_assert_uint_eq(batch->count, 0);
    ck_assert_ptr_null(channel_take_empty(channel));
    batch_release(batch);
    channel_destroy(channel);
}
END_TEST

START_TEST(a_shared_batch_comes_back_from_its_last_reader)
{
    struct channel *channel = channel_create(2, NULL, NULL);
    struct weir_batch *batch = batch_of("text");
    batch_retain(batch);
    channel_give_back(channel, batch);
    ck_assert_ptr_null(channel_take_empty(channel));
    ck_assert(batch_is_sole(batch));
    ck_assert_uint_eq(batch->count, 1);
    channel_give_back(channel, batch);
    ck_assert_ptr_eq(channel_take_empty(channel), batch);
    batch_release(batch);
    channel_destroy(channel);
}
END_TEST

START_TEST(keeps_no_more_empties_than_its_capacity)
{
    struct channel *channel = channel_create(2, NULL, NULL);
    for (int i = 0; i < 5; i++) channel_give_back(channel, batch_of("text"));
    int count = 0;
    for (struct weir_batch *batch; (batch = channel_take_empty(channel)) != NULL; count++) batch_release(batch);
    ck_assert_int_eq(count, 2);
    channel_give_back(channel, batch_of("left inside"));
    channel_destroy(channel);
}
END_TEST

START_TEST(counts_batches_and_records)
{
    struct channel *channel = channel_create(4, NULL, NULL);
    ck_assert(channel_push(channel, element_batch(batch_of("a"))));
    ck_assert(channel_push(channel, element_barrier(1)));
    ck_assert(channel_push(channel, element_batch(batch_of("b"))));
    const struct channel_counters counters = channel_counters(channel);
    ck_assert_uint_eq(counters.batches, 2);
    ck_assert_uint_eq(counters.records, 2);
    ck_assert_uint_eq(counters.waiting, 3);
    channel_destroy(channel);
}
END_TEST

struct pipe {
    struct channel *channel;
    struct waker producer, consumer;
    uint64_t seed;
    int batches;
};

enum { BATCHES = 10000, RECORDS_PER_BATCH_MAX = 4 };

static struct weir_batch *next_batch(struct channel *channel, uint64_t *number, uint64_t *random)
{
    struct weir_batch *batch = channel_take_empty(channel);
    if (batch == NULL) batch = batch_create();
    if (batch == NULL) return NULL;
    const uint32_t records = 1 + unit_random_below(random, RECORDS_PER_BATCH_MAX);
    for (uint32_t i = 0; i < records; i++, ++*number) {
        const struct weir_record record = { .key = WEIR_NULL, .value = { (const char *)number, sizeof *number } };
        batch_add(batch, &record);
    }
    return batch;
}

static void produce(void *user)
{
    struct pipe *pipe = user;
    uint64_t random = pipe->seed, number = 0;
    for (int i = 0; i < pipe->batches; i++) {
        struct weir_batch *batch = next_batch(pipe->channel, &number, &random);
        while (!channel_push(pipe->channel, element_batch(batch))) waker_sleep(&pipe->producer, -1);
    }
    while (!channel_push(pipe->channel, element_end())) waker_sleep(&pipe->producer, -1);
}

static uint64_t check_numbers(const struct weir_batch *batch, uint64_t expected)
{
    for (uint32_t i = 0; i < batch->count; i++, expected++) {
        uint64_t number;
        ck_assert_uint_eq(batch->records[i].value.size, sizeof number);
        memcpy(&number, batch->records[i].value.data, sizeof number);
        ck_assert_uint_eq(number, expected);
    }
    return expected;
}

static struct element pop_waiting(struct pipe *pipe)
{
    struct element element;
    while (!channel_pop(pipe->channel, &element)) waker_sleep(&pipe->consumer, -1);
    return element;
}

/* Both ends sleep whenever they cannot go on: a lost wake-up ends in the time-out. */
START_TEST(two_threads_lose_nothing_and_no_wake)
{
    const uint32_t capacities[] = { 1, 2, 3, 8 };
    struct pipe pipe = { .seed = unit_seed(), .batches = BATCHES };
    ck_assert(waker_init(&pipe.producer) && waker_init(&pipe.consumer));
    pipe.channel = channel_create(capacities[_i], &pipe.producer, &pipe.consumer);
    struct thread thread;
    ck_assert(thread_start(&thread, "producer", produce, &pipe));
    uint64_t expected = 0;
    struct element element;
    while ((element = pop_waiting(&pipe)).type == ELEMENT_BATCH) {
        expected = check_numbers(element.batch, expected);
        channel_give_back(pipe.channel, element.batch);
    }
    ck_assert_int_eq(element.type, ELEMENT_END);
    thread_join(&thread);
    const struct channel_counters counters = channel_counters(pipe.channel);
    ck_assert_uint_eq(counters.batches, BATCHES);
    ck_assert_uint_eq(counters.records, expected);
    channel_destroy(pipe.channel);
    waker_deinit(&pipe.producer);
    waker_deinit(&pipe.consumer);
}
END_TEST

START_TEST(closing_ends_a_producer_that_waits)
{
    for (int run = 0; run < 60; run++) {
        struct pipe pipe = { .seed = (uint64_t)run, .batches = run + 20 };
        ck_assert(waker_init(&pipe.producer) && waker_init(&pipe.consumer));
        pipe.channel = channel_create(2, &pipe.producer, &pipe.consumer);
        struct thread thread;
        ck_assert(thread_start(&thread, "producer", produce, &pipe));
        for (int i = 0; i < run; i++) {
            struct element element = pop_waiting(&pipe);
            element_release(&element);
        }
        channel_close(pipe.channel);
        thread_join(&thread);
        channel_destroy(pipe.channel);
        waker_deinit(&pipe.producer);
        waker_deinit(&pipe.consumer);
    }
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_test(tests, elements_come_out_in_order);
    tcase_add_test(tests, wakes_the_consumer_only_when_it_had_nothing);
    tcase_add_test(tests, wakes_a_producer_that_met_a_full_ring_when_half_is_free);
    tcase_add_test(tests, a_closed_channel_swallows_and_gives_nothing);
    tcase_add_test(tests, emptied_batches_come_back);
    tcase_add_test(tests, a_shared_batch_comes_back_from_its_last_reader);
    tcase_add_test(tests, keeps_no_more_empties_than_its_capacity);
    tcase_add_test(tests, counts_batches_and_records);
    tcase_add_loop_test(tests, two_threads_lose_nothing_and_no_wake, 0, 4);
    tcase_add_test(tests, closing_ends_a_producer_that_waits);
}

int main(void)
{
    return unit_main("channel", add);
}
