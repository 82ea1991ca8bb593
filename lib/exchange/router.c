#include "exchange/router.h"

#include <stdlib.h>

/* What belongs to one channel. */
struct lane {
    struct channel *channel;
    struct weir_batch *open; /* being filled; NULL when there is nothing to send */
    VEC(struct element) waiting; /* behind a full channel, oldest first */
    size_t waiting_first; /* those before it have left */
};

struct router {
    enum weir_exchange exchange;
    bool keeps_order;
    uint32_t lane_count;
    uint32_t lane_current;       /* FORWARD, BROADCAST: 0; REBALANCE: the one whose turn it is */
    uint32_t lanes_blocked;
    uint64_t records, bytes;
    uint32_t max_parallelism;
    uint16_t *lane_of_key_group; /* KEY_GROUP; spares a 64-bit division for each record */
    struct lane lanes[];
};

/* Largest number of key groups, and of subtasks: an entry of lane_of_key_group must hold it. */
enum { LANES_MAX = UINT16_MAX };

static bool map_key_groups(struct router *router, uint32_t max_parallelism)
{
    CHECK(max_parallelism >= router->lane_count && router->lane_count <= LANES_MAX);
    router->max_parallelism = max_parallelism;
    router->lane_of_key_group = malloc(max_parallelism * sizeof *router->lane_of_key_group);
    if (router->lane_of_key_group == NULL) return false;
    for (uint32_t group = 0; group < max_parallelism; group++)
        router->lane_of_key_group[group] = (uint16_t)key_group_subtask(group, max_parallelism, router->lane_count);
    return true;
}

struct router *router_create(const struct router_options *options)
{
    CHECK(options->exchange != WEIR_EXCHANGE_AUTO && options->channel_count > 0);
    CHECK(options->exchange != WEIR_EXCHANGE_FORWARD || options->channel_count == 1);
    struct router *router = calloc(1, sizeof *router + options->channel_count * sizeof router->lanes[0]);
    if (router == NULL) return NULL;
    router->exchange = options->exchange;
    router->keeps_order = options->keeps_order;
    router->lane_count = options->channel_count;
    for (uint32_t i = 0; i < router->lane_count; i++) router->lanes[i].channel = options->channels[i];
    if (options->exchange == WEIR_EXCHANGE_REBALANCE)
        router->lane_current = options->first_channel % options->channel_count;
    if (options->exchange == WEIR_EXCHANGE_KEY_GROUP && !map_key_groups(router, options->max_parallelism)) {
        free(router);
        return NULL;
    }
    return router;
}

static void lane_deinit(struct lane *lane)
{
    if (lane->open != NULL) batch_release(lane->open);
    for (size_t i = lane->waiting_first; i < lane->waiting.count; i++) element_release(&lane->waiting.items[i]);
    vec_free(&lane->waiting);
}

void router_destroy(struct router *router)
{
    if (router == NULL) return;
    for (uint32_t i = 0; i < router->lane_count; i++) lane_deinit(&router->lanes[i]);
    free(router->lane_of_key_group);
    free(router);
}

static bool lane_is_blocked(const struct lane *lane)
{
    return lane->waiting_first < lane->waiting.count;
}

/* Takes `element`: into the channel, or behind what waits for it. */
static bool lane_send(struct router *router, struct lane *lane, struct element element)
{
    const bool was_blocked = lane_is_blocked(lane);
    if (!was_blocked && channel_push(lane->channel, element)) return true;
    struct element *waiting = vec_push(&lane->waiting);
    if (waiting == NULL) {
        element_release(&element);
        return false;
    }
    *waiting = element;
    if (!was_blocked) router->lanes_blocked++;
    return true;
}

/* One reference for each lane. */
static bool send_to_all(struct router *router, struct element element)
{
    bool sent = true;
    for (uint32_t i = 0; i < router->lane_count; i++) {
        if (element.type == ELEMENT_BATCH) batch_retain(element.batch);
        sent = lane_send(router, &router->lanes[i], element) && sent;
    }
    element_release(&element);
    return sent;
}

/* Sends the open batch of `lane`, if there is one. */
static bool seal(struct router *router, struct lane *lane)
{
    struct weir_batch *batch = lane->open;
    if (batch == NULL) return true;
    lane->open = NULL;
    router->bytes += batch->arena.used_bytes;
    if (router->exchange == WEIR_EXCHANGE_BROADCAST) return send_to_all(router, element_batch(batch));
    if (router->exchange == WEIR_EXCHANGE_REBALANCE)
        router->lane_current = router->lane_current + 1 < router->lane_count ? router->lane_current + 1 : 0;
    return lane_send(router, lane, element_batch(batch));
}

static struct weir_batch *empty_batch(struct router *router, struct lane *lane)
{
    struct weir_batch *batch = channel_take_empty(lane->channel);
    if (router->exchange == WEIR_EXCHANGE_BROADCAST) {
        /* The last reader of a shared batch sends it back, whoever that is. */
        for (uint32_t i = 1; batch == NULL && i < router->lane_count; i++)
            batch = channel_take_empty(router->lanes[i].channel);
    }
    return batch != NULL ? batch : batch_create();
}

static struct lane *lane_for(struct router *router, const struct weir_record *record)
{
    if (router->exchange != WEIR_EXCHANGE_KEY_GROUP) return &router->lanes[router->lane_current];
    return &router->lanes[router->lane_of_key_group[key_group_of(record->key_hash, router->max_parallelism)]];
}

/* The slow path: there is no open batch, or it is full. */
static bool emit_into_next(struct router *router, struct lane *lane, const struct weir_record *record)
{
    if (!seal(router, lane)) return false;
    lane = lane_for(router, record);
    lane->open = empty_batch(router, lane);
    return lane->open != NULL && batch_add(lane->open, record);
}

bool router_emit(struct router *router, const struct weir_record *record)
{
    struct lane *lane = lane_for(router, record);
    router->records++;
    if (LIKELY(lane->open != NULL && batch_add(lane->open, record))) return true;
    return emit_into_next(router, lane, record);
}

bool router_flush(struct router *router)
{
    bool sent = true;
    for (uint32_t i = 0; i < router->lane_count; i++) sent = seal(router, &router->lanes[i]) && sent;
    return sent;
}

bool router_control(struct router *router, struct element element)
{
    CHECK(element.type != ELEMENT_BATCH && element.type != ELEMENT_NONE);
    return router_flush(router) && send_to_all(router, element);
}

/* Where the barrier waits; behind the end when it does not. */
static size_t find_barrier(const struct lane *lane, uint64_t epoch)
{
    for (size_t i = lane->waiting_first; i < lane->waiting.count; i++)
        if (lane->waiting.items[i].type == ELEMENT_BARRIER && lane->waiting.items[i].epoch == epoch) return i;
    return lane->waiting.count;
}

bool router_overtake(struct router *router, uint64_t epoch,
                     bool (*log)(void *user, uint32_t channel, const struct weir_batch *batch), void *user)
{
    for (uint32_t l = 0; !router->keeps_order && l < router->lane_count; l++) {
        struct lane *lane = &router->lanes[l];
        const size_t at = find_barrier(lane, epoch);
        if (at == lane->waiting.count) continue;
        for (size_t i = lane->waiting_first; i < at; i++)
            if (lane->waiting.items[i].type == ELEMENT_BATCH && !log(user, l, lane->waiting.items[i].batch)) return false;
        channel_overtake(lane->channel, epoch);
        lane->waiting.count--;
        for (size_t i = at; i < lane->waiting.count; i++) lane->waiting.items[i] = lane->waiting.items[i + 1];
        if (!lane_is_blocked(lane)) {
            lane->waiting.count = lane->waiting_first = 0;
            router->lanes_blocked--;
        }
    }
    return true;
}

bool router_is_blocked(const struct router *router)
{
    return router->lanes_blocked > 0;
}

static bool lane_retry(struct lane *lane)
{
    while (lane_is_blocked(lane)) {
        if (!channel_push(lane->channel, lane->waiting.items[lane->waiting_first])) return false;
        lane->waiting_first++;
    }
    lane->waiting.count = lane->waiting_first = 0;
    return true;
}

bool router_retry(struct router *router)
{
    for (uint32_t i = 0; router->lanes_blocked > 0 && i < router->lane_count; i++) {
        struct lane *lane = &router->lanes[i];
        if (lane_is_blocked(lane) && lane_retry(lane)) router->lanes_blocked--;
    }
    return router->lanes_blocked == 0;
}

bool router_has_partial(const struct router *router)
{
    for (uint32_t i = 0; i < router->lane_count; i++)
        if (router->lanes[i].open != NULL) return true;
    return false;
}

uint64_t router_records(const struct router *router)
{
    return router->records;
}

uint64_t router_bytes(const struct router *router)
{
    return router->bytes;
}
