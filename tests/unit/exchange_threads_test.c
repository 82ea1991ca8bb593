/* Routers, channels and gates under real threads: every sender runs a router of its own, every receiver a gate.
 *
 * Each record carries its sender, its number and the epoch in which it was emitted. Receivers check, for each of them,
 * that numbers of one sender rise and that the epoch is the one being collected (which is what alignment means); the
 * test adds up what all of them saw. Both sides sleep whenever they cannot go on, so a lost wake-up ends in the
 * time-out. */
#include "exchange/exchange.h"

#include <sched.h>

#include "harness/unit.h"

enum { SENDERS_MAX = 3, RECEIVERS_MAX = 3, EPOCHS = 40, RECORDS = 100000, MAX_PARALLELISM = 128 };

struct payload {
    uint64_t number;
    uint32_t sender;
    uint32_t epoch;
};

struct sender {
    uint32_t index;
    uint64_t random;
    struct waker waker;
    struct thread thread;
    struct router *router;
};

struct receiver {
    uint64_t random;
    struct waker waker;
    struct thread thread;
    struct gate *gate;
    struct channel *channels[SENDERS_MAX];
    uint32_t aligned;                             /* epochs so far */
    bool ended;
    uint64_t number_next[SENDERS_MAX];            /* lowest that may come */
    uint64_t counts[SENDERS_MAX][EPOCHS + 2];
    const char *failure;                          /* asserting is for the main thread */
};

struct world {
    enum weir_exchange exchange;
    uint32_t sender_count, receiver_count;
    struct sender senders[SENDERS_MAX];
    struct receiver receivers[RECEIVERS_MAX];
};

static void maybe_yield(uint64_t *random)
{
    if (unit_chance(random, 2)) sched_yield();
}

static void wait_until_unblocked(struct sender *sender)
{
    while (!router_retry(sender->router)) waker_sleep(&sender->waker, -1);
}

static void send_number(struct sender *sender, uint64_t number, uint32_t epoch)
{
    const struct payload payload = { .number = number, .sender = sender->index, .epoch = epoch };
    const struct weir_record record = {
        .key = WEIR_NULL,
        .value = { (const char *)&payload, sizeof payload },
        .key_hash = (uint32_t)unit_random(&sender->random),
    };
    if (!router_emit(sender->router, &record)) CHECK(!"memory");
    if (unit_chance(&sender->random, 1) && !router_flush(sender->router)) CHECK(!"memory");
    wait_until_unblocked(sender);
    maybe_yield(&sender->random);
}

static void send_control(struct sender *sender, struct element element)
{
    if (!router_control(sender->router, element)) CHECK(!"memory");
    wait_until_unblocked(sender);
}

/* Barriers at random places, the last few behind the end. */
static void run_sender(void *user)
{
    struct sender *sender = user;
    uint32_t epoch = 1;
    for (uint64_t number = 0; number < RECORDS; number++) {
        send_number(sender, number, epoch);
        if (epoch <= EPOCHS - 3 && unit_random_below(&sender->random, RECORDS) < EPOCHS)
            send_control(sender, element_barrier(epoch++));
    }
    send_control(sender, element_end());
    while (epoch <= EPOCHS) send_control(sender, element_barrier(epoch++));
}

static void check_record(struct receiver *receiver, const struct weir_record *record, uint32_t input)
{
    struct payload payload;
    memcpy(&payload, record->value.data, sizeof payload);
    if (payload.sender != input) receiver->failure = "a batch came in on another sender's input";
    if (payload.number < receiver->number_next[payload.sender]) receiver->failure = "out of order, or twice";
    if (payload.epoch != receiver->aligned + 1) receiver->failure = "a record on the wrong side of a barrier";
    if (receiver->ended) receiver->failure = "a record behind the end";
    receiver->number_next[payload.sender] = payload.number + 1;
    receiver->counts[payload.sender][payload.epoch]++;
}

static void take_event(struct receiver *receiver, const struct gate_event *event)
{
    switch (event->type) {
    case GATE_BATCH:
        for (uint32_t i = 0; i < event->batch->count; i++)
            check_record(receiver, &event->batch->records[i], event->input);
        gate_give_back(receiver->gate, event->input, event->batch);
        break;
    case GATE_ALIGNED:
        if (event->epoch != receiver->aligned + 1) receiver->failure = "an epoch was skipped or repeated";
        receiver->aligned++;
        break;
    case GATE_ENDED:
        if (receiver->ended) receiver->failure = "ended twice";
        receiver->ended = true;
        break;
    default: receiver->failure = "an event nobody asked for"; break;
    }
}

static void run_receiver(void *user)
{
    struct receiver *receiver = user;
    struct gate_event event;
    while (receiver->failure == NULL && (receiver->aligned < EPOCHS || !receiver->ended)) {
        if (gate_next(receiver->gate, &event) == GATE_NOTHING) waker_sleep(&receiver->waker, -1);
        else take_event(receiver, &event);
        maybe_yield(&receiver->random);
    }
    for (uint32_t i = 0; receiver->failure != NULL && i < SENDERS_MAX; i++)
        if (receiver->channels[i] != NULL) channel_close(receiver->channels[i]); /* so that senders end */
}

static void connect(struct world *world, uint64_t *random)
{
    for (uint32_t r = 0; r < world->receiver_count; r++) {
        struct receiver *receiver = &world->receivers[r];
        struct gate_input inputs[SENDERS_MAX];
        for (uint32_t s = 0; s < world->sender_count; s++) {
            const uint32_t capacity = 1 + unit_random_below(random, 8);
            receiver->channels[s] = channel_create(capacity, &world->senders[s].waker, &receiver->waker);
            inputs[s] = (struct gate_input){ .channel = receiver->channels[s] };
        }
        receiver->gate = gate_create(inputs, world->sender_count, ALIGN_EXACTLY_ONCE, 0);
    }
    for (uint32_t s = 0; s < world->sender_count; s++) {
        struct channel *channels[RECEIVERS_MAX];
        for (uint32_t r = 0; r < world->receiver_count; r++) channels[r] = world->receivers[r].channels[s];
        world->senders[s].router = router_create(&(struct router_options){
            .exchange = world->exchange, .max_parallelism = MAX_PARALLELISM, .channels = channels,
            .channel_count = world->receiver_count, .first_channel = s });
    }
}

static void run_threads(struct world *world)
{
    for (uint32_t r = 0; r < world->receiver_count; r++)
        ck_assert(thread_start(&world->receivers[r].thread, "receiver", run_receiver, &world->receivers[r]));
    for (uint32_t s = 0; s < world->sender_count; s++)
        ck_assert(thread_start(&world->senders[s].thread, "sender", run_sender, &world->senders[s]));
    for (uint32_t s = 0; s < world->sender_count; s++) thread_join(&world->senders[s].thread);
    for (uint32_t r = 0; r < world->receiver_count; r++) thread_join(&world->receivers[r].thread);
}

static void check_nothing_lost(const struct world *world)
{
    for (uint32_t r = 0; r < world->receiver_count; r++)
        ck_assert_msg(world->receivers[r].failure == NULL, "receiver %u: %s", r, world->receivers[r].failure);
    const uint64_t copies = world->exchange == WEIR_EXCHANGE_BROADCAST ? world->receiver_count : 1;
    for (uint32_t s = 0; s < world->sender_count; s++) {
        uint64_t sum = 0;
        for (uint32_t r = 0; r < world->receiver_count; r++)
            for (uint32_t epoch = 0; epoch < EPOCHS + 2; epoch++) sum += world->receivers[r].counts[s][epoch];
        ck_assert_uint_eq(sum, copies * RECORDS);
    }
}

static void disconnect(struct world *world)
{
    for (uint32_t s = 0; s < world->sender_count; s++) {
        router_destroy(world->senders[s].router);
        waker_deinit(&world->senders[s].waker);
    }
    for (uint32_t r = 0; r < world->receiver_count; r++) {
        gate_destroy(world->receivers[r].gate);
        for (uint32_t s = 0; s < world->sender_count; s++) channel_destroy(world->receivers[r].channels[s]);
        waker_deinit(&world->receivers[r].waker);
    }
}

static void run_world(enum weir_exchange exchange, uint32_t sender_count, uint32_t receiver_count)
{
    uint64_t random = unit_seed();
    static struct world world;
    world = (struct world){ .exchange = exchange, .sender_count = sender_count, .receiver_count = receiver_count };
    for (uint32_t s = 0; s < sender_count; s++) {
        world.senders[s] = (struct sender){ .index = s, .random = unit_random(&random) };
        ck_assert(waker_init(&world.senders[s].waker));
    }
    for (uint32_t r = 0; r < receiver_count; r++) {
        world.receivers[r].random = unit_random(&random);
        ck_assert(waker_init(&world.receivers[r].waker));
    }
    connect(&world, &random);
    run_threads(&world);
    check_nothing_lost(&world);
    disconnect(&world);
}

START_TEST(key_groups_keep_order_and_epochs)
{
    run_world(WEIR_EXCHANGE_KEY_GROUP, 3, 3);
}
END_TEST

START_TEST(rebalance_keeps_order_and_epochs)
{
    run_world(WEIR_EXCHANGE_REBALANCE, 2, 3);
}
END_TEST

START_TEST(broadcast_keeps_order_and_epochs)
{
    run_world(WEIR_EXCHANGE_BROADCAST, 3, 2);
}
END_TEST

START_TEST(forward_keeps_order_and_epochs)
{
    run_world(WEIR_EXCHANGE_FORWARD, 3, 1);
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_test(tests, key_groups_keep_order_and_epochs);
    tcase_add_test(tests, rebalance_keeps_order_and_epochs);
    tcase_add_test(tests, broadcast_keeps_order_and_epochs);
    tcase_add_test(tests, forward_keeps_order_and_epochs);
}

int main(void)
{
    return unit_main("exchange with threads", add);
}
