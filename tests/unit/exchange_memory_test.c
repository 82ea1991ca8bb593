/* WEIR_TEST_WRAPS_MALLOC: what happens when the n-th allocation fails, for every n of each scenario, in base, record
 * and exchange. The loop checks that nothing is left behind; the scenarios that nothing is used that was not made. */
#include "exchange/exchange.h"

#include "harness/failing_malloc.h"
#include "harness/unit.h"

/* Set at the end of a scenario that got all its memory: else the loop would prove nothing. */
static bool got_through;

static void base_scenario(void)
{
    struct arena arena;
    struct buffer buffer;
    struct weir_splits splits = { 0 };
    struct weir_output_totals totals = { 0 };
    VEC(uint64_t) numbers = { 0 };
    arena_init(&arena, 128);
    buffer_init(&buffer);
    bool ok = true;
    for (uint64_t i = 0; i < 20; i++) {
        ok = arena_alloc(&arena, 60) != NULL && ok;
        uint64_t *number = vec_push(&numbers);
        if (number != NULL) *number = i;
        ok = number != NULL && ok;
        ok = weir_splits_add(&splits, &(struct weir_split){ .name = "words/0", .identity = "id" }) && ok;
        ok = weir_output_totals_add(&totals, i % 2 == 0 ? "b" : "a", i, (struct weir_digest){ 1, 1 }) && ok;
        buffer_put(&buffer, "0123456789012345678901234567890123456789", 40);
    }
    struct hash_stream *stream = hash_stream_create(0);
    if (stream != NULL) hash_stream_update(stream, "x", 1);
    got_through = ok && stream != NULL && !buffer.failed;
    hash_stream_destroy(stream);
    vec_free(&numbers);
    weir_splits_clear(&splits);
    weir_output_totals_clear(&totals);
    buffer_deinit(&buffer);
    arena_deinit(&arena);
}

static void record_scenario(void)
{
    static char large[100000];
    const struct weir_header header = { "name", { large, 70000 } };
    const struct weir_headers headers = { 1, &header };
    const struct weir_record record = { .key = { large, 10 }, .value = { large, 70000 }, .headers = &headers };
    struct weir_batch *batch = batch_create();
    if (batch == NULL) return;
    bool ok = true;
    for (int i = 0; i < 2 && ok; i++) ok = batch_add(batch, &record);
    if (ok) {
        batch_clear(batch);
        ok = batch_add(batch, &record);
    }
    batch_release(batch);
    got_through = ok;
}

enum { TARGETS = 2 };

/* Emits, blocks, delivers some of it, and gives up in the middle. */
static bool exchange_some(struct router *router, struct gate *gate)
{
    const struct weir_record record = { .key = WEIR_NULL, .value = weir_text("some text") };
    for (uint64_t i = 0; i < 3; i++) {
        for (uint32_t hash = 0; hash < 20; hash++) {
            struct weir_record hashed = record;
            hashed.key_hash = hash * 7919;
            if (!router_emit(router, &hashed)) return false;
        }
        if (!router_control(router, element_barrier(i + 1))) return false;
    }
    struct gate_event event;
    while (gate_next(gate, &event) != GATE_NOTHING)
        if (event.type == GATE_BATCH) gate_give_back(gate, event.input, event.batch);
    router_retry(router);
    return router_emit(router, &record) && router_flush(router);
}

static void exchange_scenario(enum weir_exchange exchange)
{
    struct channel *channels[TARGETS] = { channel_create(2, NULL, NULL), channel_create(2, NULL, NULL) };
    if (channels[0] != NULL && channels[1] != NULL) {
        struct gate *gate = gate_create(&(struct gate_input){ .channel = channels[0] }, 1, ALIGN_EXACTLY_ONCE, 0);
        struct router *router = router_create(&(struct router_options){
            .exchange = exchange, .max_parallelism = 128, .channels = channels, .channel_count = TARGETS });
        got_through = gate != NULL && router != NULL && exchange_some(router, gate);
        router_destroy(router);
        gate_destroy(gate);
    }
    for (int i = 0; i < TARGETS; i++) channel_destroy(channels[i]);
}

static void key_group_scenario(void)
{
    exchange_scenario(WEIR_EXCHANGE_KEY_GROUP);
}

static void broadcast_scenario(void)
{
    exchange_scenario(WEIR_EXCHANGE_BROADCAST);
}

static void rebalance_scenario(void)
{
    exchange_scenario(WEIR_EXCHANGE_REBALANCE);
}

static void nothing(void *user)
{
    (void)user;
}

static void thread_scenario(void)
{
    struct thread thread;
    got_through = thread_start(&thread, "t", nothing, NULL);
    thread_join(&thread);
}

static void each_allocation_fails_once(void (*scenario)(void), uint64_t allocations_min)
{
    got_through = false;
    const uint64_t allocations = failing_malloc_each(scenario);
    ck_assert(got_through); /* the last run, in which nothing failed */
    ck_assert_uint_ge(allocations, allocations_min);
}

START_TEST(base_gives_back_what_it_held)
{
    each_allocation_fails_once(base_scenario, 40);
    each_allocation_fails_once(thread_scenario, 1);
}
END_TEST

START_TEST(record_gives_back_what_it_held)
{
    each_allocation_fails_once(record_scenario, 6);
}
END_TEST

START_TEST(exchange_gives_back_what_it_held)
{
    each_allocation_fails_once(key_group_scenario, 15);
    each_allocation_fails_once(broadcast_scenario, 12);
    each_allocation_fails_once(rebalance_scenario, 12);
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_test(tests, base_gives_back_what_it_held);
    tcase_add_test(tests, record_gives_back_what_it_held);
    tcase_add_test(tests, exchange_gives_back_what_it_held);
}

int main(void)
{
    return unit_main("memory", add);
}
