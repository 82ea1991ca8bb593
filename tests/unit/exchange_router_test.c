#include "exchange/exchange.h"

#include <stdio.h>

#include "harness/unit.h"

enum { TARGETS_MAX = 4 };

static struct channel *channels[TARGETS_MAX];
static uint32_t channel_count;
static struct router *router;

static void begin_with_capacity(enum weir_exchange exchange, uint32_t count, uint32_t capacity)
{
    channel_count = count;
    for (uint32_t i = 0; i < count; i++) channels[i] = channel_create(capacity, NULL, NULL);
    router = router_create(&(struct router_options){
        .exchange = exchange, .max_parallelism = 128, .channels = channels, .channel_count = count,
        .first_channel = 1, .keeps_order = exchange == WEIR_EXCHANGE_BROADCAST });
    ck_assert_ptr_nonnull(router);
}

static void begin(enum weir_exchange exchange, uint32_t count)
{
    begin_with_capacity(exchange, count, 64);
}

static void end(void)
{
    router_destroy(router);
    for (uint32_t i = 0; i < channel_count; i++) channel_destroy(channels[i]);
}

static void emit_hashed(const char *text, uint32_t key_hash)
{
    const struct weir_record record = { .key = weir_text(text), .value = weir_text(text), .key_hash = key_hash };
    ck_assert(router_emit(router, &record));
}

static void emit(const char *text)
{
    emit_hashed(text, 0);
}

static void emit_batch(const char *text)
{
    for (int i = 0; i < BATCH_RECORDS_MAX; i++) emit(text);
}

/* What waits in a channel, as text: a batch is [first value x count], a barrier its epoch, an end a full stop. */
static const char *receive(uint32_t channel)
{
    static char received[1024];
    received[0] = '\0';
    struct element element;
    while (channel_pop(channels[channel], &element)) {
        char line[64] = ".";
        if (element.type == ELEMENT_BATCH) {
            const struct weir_bytes value = element.batch->records[0].value;
            (void)snprintf(line, sizeof line, "[%.*s x %u]", (int)value.size, value.data, element.batch->count);
        } else if (element.type == ELEMENT_BARRIER) {
            (void)snprintf(line, sizeof line, "%llu", (unsigned long long)element.epoch);
        }
        strcat(received, line);
        if (element.type == ELEMENT_BATCH) channel_give_back(channels[channel], element.batch);
    }
    return received;
}

START_TEST(gathers_records_until_flush)
{
    begin(WEIR_EXCHANGE_FORWARD, 1);
    ck_assert(!router_has_partial(router));
    ck_assert(router_flush(router));
    ck_assert_str_eq(receive(0), "");
    emit("a");
    emit("b");
    ck_assert(router_has_partial(router));
    ck_assert_str_eq(receive(0), "");
    ck_assert(router_flush(router));
    ck_assert(!router_has_partial(router));
    ck_assert_str_eq(receive(0), "[a x 2]");
    ck_assert_uint_eq(router_records(router), 2);
    end();
}
END_TEST

START_TEST(sends_a_full_batch_with_the_next_record)
{
    begin(WEIR_EXCHANGE_FORWARD, 1);
    emit_batch("a");
    emit("b");
    ck_assert_str_eq(receive(0), "[a x 1024]");
    ck_assert(router_flush(router));
    ck_assert_str_eq(receive(0), "[b x 1]");
    end();
}
END_TEST

START_TEST(keys_go_where_their_group_lives)
{
    begin(WEIR_EXCHANGE_KEY_GROUP, 3);
    uint32_t expected[3] = { 0 };
    for (uint32_t hash = 0; hash < 1000; hash++) {
        emit_hashed("k", hash * 2654435761u);
        expected[key_group_subtask(key_group_of(hash * 2654435761u, 128), 128, 3)]++;
    }
    ck_assert(router_flush(router));
    for (uint32_t i = 0; i < 3; i++) {
        char line[32];
        (void)snprintf(line, sizeof line, "[k x %u]", expected[i]);
        ck_assert_str_eq(receive(i), line);
    }
    end();
}
END_TEST

START_TEST(rebalance_takes_the_next_channel_for_each_batch)
{
    begin(WEIR_EXCHANGE_REBALANCE, 3);
    emit_batch("a");
    emit_batch("b");
    emit("c");
    ck_assert(router_flush(router));
    ck_assert(router_flush(router)); /* nothing to send: nobody's turn is skipped */
    emit("d");
    ck_assert(router_flush(router));
    ck_assert_str_eq(receive(1), "[a x 1024][d x 1]"); /* first_channel */
    ck_assert_str_eq(receive(2), "[b x 1024]");
    ck_assert_str_eq(receive(0), "[c x 1]");
    end();
}
END_TEST

START_TEST(broadcast_shares_one_batch)
{
    begin(WEIR_EXCHANGE_BROADCAST, 3);
    emit("a");
    ck_assert(router_flush(router));
    struct element elements[3];
    for (int i = 0; i < 3; i++) ck_assert(channel_pop(channels[i], &elements[i]));
    ck_assert_ptr_eq(elements[0].batch, elements[1].batch);
    ck_assert_ptr_eq(elements[0].batch, elements[2].batch);
    struct weir_batch *shared = elements[0].batch;
    for (int i = 0; i < 3; i++) channel_give_back(channels[i], shared);

    emit("b"); /* into the batch that its last reader, the third, sent back */
    ck_assert(router_flush(router));
    ck_assert(channel_pop(channels[0], &elements[0]));
    ck_assert_ptr_eq(elements[0].batch, shared);
    channel_give_back(channels[0], shared);
    end();
}
END_TEST

START_TEST(control_elements_reach_everybody_behind_the_records)
{
    begin(WEIR_EXCHANGE_REBALANCE, 2);
    emit("a");
    ck_assert(router_control(router, element_barrier(1)));
    emit("b");
    ck_assert(router_control(router, element_end()));
    ck_assert(router_control(router, element_barrier(2)));
    ck_assert_str_eq(receive(1), "[a x 1]1.2");
    ck_assert_str_eq(receive(0), "1[b x 1].2");
    end();
}
END_TEST

START_TEST(waits_in_order_behind_a_full_channel)
{
    begin_with_capacity(WEIR_EXCHANGE_FORWARD, 1, 2);
    emit_batch("a");
    emit_batch("b");
    emit("c");
    ck_assert(!router_is_blocked(router));
    ck_assert(router_retry(router));
    ck_assert(router_control(router, element_barrier(1)));
    emit("d");
    ck_assert(router_control(router, element_barrier(2)));
    ck_assert(router_is_blocked(router));
    ck_assert(!router_retry(router));
    ck_assert_str_eq(receive(0), "[a x 1024][b x 1024]");
    emit("e");
    ck_assert(router_control(router, element_barrier(3))); /* there is room now, but not for the last ones first */
    ck_assert(!router_retry(router)); /* room for two of the six */
    ck_assert_str_eq(receive(0), "[c x 1]1");
    ck_assert(!router_retry(router));
    ck_assert_str_eq(receive(0), "[d x 1]2");
    ck_assert(router_is_blocked(router));
    ck_assert(router_retry(router));
    ck_assert(!router_is_blocked(router));
    ck_assert_str_eq(receive(0), "[e x 1]3");
    end();
}
END_TEST

START_TEST(one_full_channel_does_not_hold_up_the_others)
{
    begin_with_capacity(WEIR_EXCHANGE_BROADCAST, 2, 1);
    emit("a");
    ck_assert(router_flush(router));
    ck_assert_str_eq(receive(1), "[a x 1]");
    ck_assert(router_control(router, element_barrier(1)));
    ck_assert(router_is_blocked(router));
    ck_assert_str_eq(receive(1), "1");
    ck_assert_str_eq(receive(0), "[a x 1]");
    ck_assert(router_retry(router));
    ck_assert_str_eq(receive(0), "1");
    end();
}
END_TEST

START_TEST(closing_the_channels_unblocks)
{
    begin_with_capacity(WEIR_EXCHANGE_KEY_GROUP, 2, 1);
    for (int i = 0; i < 5; i++) ck_assert(router_control(router, element_barrier((uint64_t)i + 1)));
    emit("left open");
    ck_assert(router_is_blocked(router));
    for (uint32_t i = 0; i < 2; i++) channel_close(channels[i]);
    ck_assert(router_retry(router));
    ck_assert(router_flush(router));
    ck_assert(!router_is_blocked(router));
    end();
}
END_TEST

START_TEST(destroying_releases_what_waits)
{
    begin_with_capacity(WEIR_EXCHANGE_BROADCAST, 2, 1);
    for (int i = 0; i < 3; i++) {
        emit("waits");
        ck_assert(router_flush(router));
    }
    emit("open");
    ck_assert(router_is_blocked(router));
    end(); /* the leak check of the sanitizer build sees what is left */
}
END_TEST

static char logged[256];

static bool log_batch(void *user, uint32_t channel, const struct weir_batch *batch)
{
    (void)user;
    char line[64];
    const struct weir_bytes value = batch->records[0].value;
    (void)snprintf(line, sizeof line, "%u: %.*s x %u. ", channel, (int)value.size, value.data, batch->count);
    strcat(logged, line);
    return true;
}

/* Two full channels: in front of the barrier waits a batch for one of them, and for the other the barrier alone. */
START_TEST(a_barrier_overtakes_what_waits_but_not_what_is_in_the_channel)
{
    logged[0] = '\0';
    begin_with_capacity(WEIR_EXCHANGE_REBALANCE, 2, 1);
    emit_batch("a"); /* 1 */
    emit_batch("b"); /* 0 */
    emit_batch("c"); /* 1, waits */
    ck_assert(router_control(router, element_barrier(4)));
    ck_assert(router_is_blocked(router));
    ck_assert(router_overtake(router, 4, log_batch, NULL));
    ck_assert_str_eq(logged, "1: c x 1024. ");
    ck_assert(router_is_blocked(router)); /* the batch is still to be sent */
    ck_assert_str_eq(receive(0), "[b x 1024]4");
    ck_assert_str_eq(receive(1), "[a x 1024]4");
    ck_assert(router_retry(router));
    ck_assert_str_eq(receive(1), "[c x 1024]");
    ck_assert(router_overtake(router, 4, log_batch, NULL)); /* none waits any more */
    ck_assert_str_eq(logged, "1: c x 1024. ");
    end();
}
END_TEST

START_TEST(a_barrier_overtakes_nothing_where_order_is_kept)
{
    logged[0] = '\0';
    begin_with_capacity(WEIR_EXCHANGE_BROADCAST, 2, 1);
    emit_batch("a");
    emit_batch("b");
    ck_assert(router_control(router, element_barrier(4)));
    ck_assert(router_overtake(router, 4, log_batch, NULL));
    ck_assert_str_eq(logged, "");
    ck_assert_str_eq(receive(0), "[a x 1024]");
    end();
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_test(tests, gathers_records_until_flush);
    tcase_add_test(tests, sends_a_full_batch_with_the_next_record);
    tcase_add_test(tests, keys_go_where_their_group_lives);
    tcase_add_test(tests, rebalance_takes_the_next_channel_for_each_batch);
    tcase_add_test(tests, broadcast_shares_one_batch);
    tcase_add_test(tests, control_elements_reach_everybody_behind_the_records);
    tcase_add_test(tests, waits_in_order_behind_a_full_channel);
    tcase_add_test(tests, one_full_channel_does_not_hold_up_the_others);
    tcase_add_test(tests, closing_the_channels_unblocks);
    tcase_add_test(tests, destroying_releases_what_waits);
    tcase_add_test(tests, a_barrier_overtakes_what_waits_but_not_what_is_in_the_channel);
    tcase_add_test(tests, a_barrier_overtakes_nothing_where_order_is_kept);
}

int main(void)
{
    return unit_main("router", add);
}
