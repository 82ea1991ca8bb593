/* What lies behind the tables of a shard: the place for units that need not be in memory. The table is a write-back
 * cache of it, so nothing here is on the path of a record whose key is in the table.
 *
 *   record ──> table ── miss ──────────────> get
 *              table ── eviction of dirty ──> put, remove ... flush     (rarely, in big batches)
 *   scan       brings the elements of a collection in; the table's word wins, its tombstones too
 *   base       a walk over everything, or links to the files that it lies in, once all is flushed
 *
 *   store_hashmap   holds nothing: everything stays in the table, so a miss is final and nothing is ever evicted
 *   store_rocksdb   one database for each shard
 *
 * A store is told of a removal by `remove`, or by `remove_elements` of those that died with their collection; a few such
 * may be left, which nobody asks for any more. Byte order is that of memcmp, a shorter part before its extensions, an
 * unset one before all; a generation is a number, so a head comes before its elements. The value of a head is what
 * head_encode makes of it. `version` is that of the value's codec: a store keeps it beside the value.
 *
 * Failure is sticky: after the first error of a call that writes, every call answers it again, and the shard is to be
 * restored. Owner: the shard's thread. */
#ifndef STATE_STORE_H
#define STATE_STORE_H

#include "state/state.h"

struct state_store;

typedef bool store_visit_fn(void *user, uint32_t state, const struct state_key *key, struct weir_bytes value,
                            uint32_t version);

/* A unit that is asked for, and its answer. */
struct store_wanted {
    uint32_t state;
    struct state_key key;
    bool found;
    bool is_null;
    uint32_t version;
    size_t value_at, value_size; /* among the values */
};

#define STORE_WANTED_MAX 256
#define STORE_FOLDER_MAX 1024

struct store_operations {
    const char *name; /* as the configuration calls it */
    bool holds_units; /* false: the table is all there is, and nothing below is called but destroy */

    /* Appends the values of those that there are to `values`: of at most STORE_WANTED_MAX units at once. */
    enum weir_code (*get_many)(struct state_store *store, struct store_wanted *wanted, uint32_t count,
                               struct buffer *values, struct weir_error *error);
    /* Put and remove collect copies, in any order; of what was collected twice, the last counts. Reads see it when
     * `flush` has answered, and until then the table is the one that knows. */
    enum weir_code (*put)(struct state_store *store, uint32_t state, const struct state_key *key,
                          struct weir_bytes value, uint32_t version, struct weir_error *error);
    enum weir_code (*remove)(struct state_store *store, uint32_t state, const struct state_key *key,
                             struct weir_error *error);
    /* All elements of key's name space and generation, those too that were put since the last flush. */
    enum weir_code (*remove_elements)(struct state_store *store, uint32_t state, const struct state_key *key,
                                      struct weir_error *error);
    enum weir_code (*flush)(struct state_store *store, struct weir_error *error);

    /* In byte order, until `visit` answers false: the units of from's key, name space and generation with element >=
     * from->element. Not of states that are ordered_in_group: their tables have all of them. What `visit` is handed is good
     * until it returns, and it may not call the store. */
    enum weir_code (*scan)(struct state_store *store, uint32_t state, const struct state_key *from,
                           store_visit_fn *visit, void *user, struct weir_error *error);

    /* A walk over everything that was flushed when it began, state by state, in slices that end when `visit` answers
     * false; of what is flushed meanwhile it may see some. One at a time. */
    void (*walk_begin)(struct state_store *store);
    enum weir_code (*walk_on)(struct state_store *store, store_visit_fn *visit, void *user, bool *is_over,
                              struct weir_error *error);
    void (*walk_end)(struct state_store *store);

    /* Everything flushed so far as links in a folder of its own, which the next call, and the end of the store, removes: the
     * caller takes out of it what it needs (checkpoint/links.h), on any thread. NULL where a base has to be a walk. */
    enum weir_code (*link)(struct state_store *store, char folder[STORE_FOLDER_MAX], struct weir_error *error);

    /* The two without waiting for their end: `await` says whether one is under way still, after `wait_us` at most (< 0: until it
     * is over), and answers its failure. Meanwhile all else may be asked and collected, and what is being flushed is not to be
     * read. Each waits for the one before. NULL, all three, where nothing takes long. */
    enum weir_code (*begin_flush)(struct state_store *store, struct weir_error *error);
    enum weir_code (*begin_link)(struct state_store *store, char folder[STORE_FOLDER_MAX], struct weir_error *error);
    enum weir_code (*await)(struct state_store *store, int64_t wait_us, bool *is_busy, struct weir_error *error);

    /* It is so late: values and entries of maps whose time is over may vanish from now on. NULL where none ever do. */
    void (*set_time)(struct state_store *store, int64_t now_ms);

    uint64_t (*bytes)(const struct state_store *store); /* on disk, about */
    /* Its own, and that of all blocks of the process that stores have read; NULL where there is none. */
    uint64_t (*memory)(const struct state_store *store, uint64_t *blocks);
    void (*destroy)(struct state_store *store);
};

/* First member of every store. */
struct state_store {
    const struct store_operations *operations;
    bool began_empty; /* what nobody has put is not there */
};

/* A value out of get_many's. */
static inline struct weir_bytes store_wanted_value(const struct store_wanted *wanted, const struct buffer *values)
{
    return wanted->is_null ? WEIR_NULL : (struct weir_bytes){ values->data + wanted->value_at, wanted->value_size };
}

struct state_store *store_hashmap_create(void); /* cannot fail: it is one constant */

#endif
