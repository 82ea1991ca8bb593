/* The store behind a shard whose units all stay in its tables: there is nothing in it, and it says so. */
#include "state/store.h"

static enum weir_code get_many(struct state_store *store, struct store_wanted *wanted, uint32_t count,
                               struct buffer *values, struct weir_error *error)
{
    (void)store, (void)values, (void)error;
    for (uint32_t i = 0; i < count; i++) wanted[i].found = false;
    return WEIR_OK;
}

/* Nothing is ever evicted from a table in front of this store. */
static enum weir_code put(struct state_store *store, uint32_t state, const struct state_key *key,
                          struct weir_bytes value, uint32_t version, struct weir_error *error)
{
    (void)store, (void)state, (void)key, (void)value, (void)version, (void)error;
    CHECK(false);
}

static enum weir_code remove_nothing(struct state_store *store, uint32_t state, const struct state_key *key,
                                     struct weir_error *error)
{
    (void)store, (void)state, (void)key, (void)error;
    return WEIR_OK;
}

static enum weir_code remove_elements(struct state_store *store, uint32_t state, const struct state_key *key,
                                      struct weir_error *error)
{
    return remove_nothing(store, state, key, error);
}

static enum weir_code flush(struct state_store *store, struct weir_error *error)
{
    (void)store, (void)error;
    return WEIR_OK;
}

static enum weir_code scan(struct state_store *store, uint32_t state, const struct state_key *from,
                           store_visit_fn *visit, void *user, struct weir_error *error)
{
    (void)store, (void)state, (void)from, (void)visit, (void)user, (void)error;
    return WEIR_OK;
}

static void walk_no_way(struct state_store *store)
{
    (void)store;
}

static enum weir_code walk_on(struct state_store *store, store_visit_fn *visit, void *user, bool *is_over,
                              struct weir_error *error)
{
    (void)store, (void)visit, (void)user, (void)error;
    *is_over = true;
    return WEIR_OK;
}

static uint64_t no_bytes(const struct state_store *store)
{
    (void)store;
    return 0;
}

static void destroy(struct state_store *store)
{
    (void)store;
}

struct state_store *store_hashmap_create(void)
{
    static const struct store_operations operations = {
        .name = "hashmap", .holds_units = false, .get_many = get_many, .put = put,
        .remove = remove_nothing, .remove_elements = remove_elements, .flush = flush, .scan = scan,
        .walk_begin = walk_no_way, .walk_on = walk_on, .walk_end = walk_no_way,
        .bytes = no_bytes, .destroy = destroy,
    };
    static struct state_store hashmap = { .operations = &operations };
    return &hashmap;
}
