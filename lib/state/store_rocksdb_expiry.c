/* Time to live: what a compaction leaves out. */
#include "state/store_key.h"
#include "state/store_rocksdb_private.h"

static unsigned char is_over(void *user, int level, const char *name, size_t name_size, const char *bytes, size_t size,
                             char **new_value, size_t *new_size, unsigned char *has_changed)
{
    const struct rocks_expiry *expiry = user;
    struct weir_bytes value;
    uint32_t version;
    int64_t stamp_ms;
    (void)level, (void)new_value, (void)new_size, (void)has_changed;
    if (expiry->has_heads && !store_key_is_element((struct weir_bytes){ name, name_size })) return 0;
    if (!store_value_decode((struct weir_bytes){ bytes, size }, &version, &value) ||
        !store_stamped_decode(value, &stamp_ms, &value))
        return 0; /* who reads it will say so */
    const int64_t now_ms = atomic_load_explicit(expiry->now_ms, memory_order_relaxed);
    return (int64_t)((uint64_t)now_ms - (uint64_t)stamp_ms) >= expiry->ttl_ms;
}

static const char *filter_name(void *user)
{
    (void)user;
    return "weir.expiry";
}

static void destroy_nothing(void *user)
{
    (void)user;
}

void rocks_set_expiries(struct rocks *rocks)
{
    for (uint32_t i = 0; i < rocks->state_count; i++) {
        const struct state_declaration *state = &rocks->states[i];
        struct rocks_expiry *expiry = &rocks->expiries[i];
        if (state->ttl_ms <= 0 || state->ordered_in_group) continue;
        *expiry = (struct rocks_expiry){ .now_ms = &rocks->now_ms, .ttl_ms = state->ttl_ms,
                                         .has_heads = state_kind_is_map(state->kind) ||
                                                      state_kind_is_list(state->kind) };
        expiry->filter = rocksdb_compactionfilter_create(expiry, destroy_nothing, is_over, filter_name);
        expiry->options = rocksdb_options_create_copy(rocks->options);
        rocksdb_options_set_compaction_filter(expiry->options, expiry->filter);
    }
}

void rocks_unset_expiries(struct rocks *rocks)
{
    for (uint32_t i = 0; rocks->expiries != NULL && i < rocks->state_count; i++) {
        if (rocks->expiries[i].options == NULL) continue;
        rocksdb_options_destroy(rocks->expiries[i].options);
        rocksdb_compactionfilter_destroy(rocks->expiries[i].filter);
    }
}

const rocksdb_options_t *rocks_options_of(const struct rocks *rocks, uint32_t state)
{
    const bool expires = state != UINT32_MAX && rocks->expiries[state].options != NULL;
    return expires ? rocks->expiries[state].options : rocks->options;
}

void rocks_set_time(struct state_store *store, int64_t now_ms)
{
    atomic_store_explicit(&rocks_of(store)->now_ms, now_ms, memory_order_relaxed);
}
