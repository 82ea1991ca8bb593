/* The inside of a store in RocksDB, for the files that implement store_rocksdb.h:
 *
 *   store_rocksdb.c           what it is made of, errors, the end; folders of all stores
 *   store_rocksdb_options.c   how RocksDB is set up, and what it takes in memory
 *   store_rocksdb_expiry.c    what a compaction leaves out
 *   store_rocksdb_open.c      opening a database, with a base or without, and closing it
 *   store_rocksdb_read.c      names, lookups, scans, the walk over everything
 *   store_rocksdb_tables.c    the same walk over a store that is only read, past RocksDB
 *   store_rocksdb_write.c     batches: collected, sorted, moved in as files
 *   store_rocksdb_base.c      links for a base, and what became of the last one's files
 *   store_rocksdb_thread.c    where the last two work */
#ifndef STATE_STORE_ROCKSDB_PRIVATE_H
#define STATE_STORE_ROCKSDB_PRIVATE_H

#include <rocksdb/c.h>
#include <stdatomic.h>

#include "state/store_rocksdb.h"

#define ROCKS_REMOVED (-1)

struct rocks_tables;

/* A unit on its way down, or a range of names that is to be cleared. */
struct rocks_pending {
    uint32_t state;
    uint32_t name_size;
    int64_t value_size; /* ROCKS_REMOVED */
    size_t at;          /* in the batch's `collected`: name, then value; of a range: where it begins, then where it ends */
};

/* A file that a base brought: what it is called here, and in the checkpoint store. */
struct rocks_brought {
    char name[LINKS_NAME_MAX];
    char file[STORE_FILE_MAX];
};

/* What a compaction asks for each unit of a state whose values expire. Compactions run on RocksDB's threads. */
struct rocks_expiry {
    const _Atomic int64_t *now_ms;
    int64_t ttl_ms;
    bool has_heads; /* which have no time, and stay */
    rocksdb_compactionfilter_t *filter;
    rocksdb_options_t *options; /* of the column family */
};

/* What was put and removed since the last flush began. */
struct rocks_batch {
    VEC(struct rocks_pending) pending;
    VEC(struct rocks_pending) cleared; /* collections */
    struct buffer collected;
};

struct rocks;
typedef enum weir_code rocks_work_fn(struct rocks *rocks, struct weir_error *error);

/* What the store's own thread does, one thing at a time. All but `state` belongs to the thread while something is given. */
struct rocks_work {
    _Atomic int state;
    rocks_work_fn *run;
    enum weir_code code;
    struct weir_error error;
    bool has_thread;
    struct thread thread;
    struct waker given, done;
};

struct rocks {
    struct state_store store;
    struct state_declaration *states;
    rocksdb_column_family_handle_t **families; /* one for each state */
    rocksdb_column_family_handle_t *family_default;
    uint32_t state_count;
    uint32_t max_parallelism;
    rocksdb_options_t *options;
    struct rocks_expiry *expiries; /* one for each state; `options` NULL where nothing expires */
    _Atomic int64_t now_ms;
    rocksdb_readoptions_t *reading, *scanning;
    rocksdb_writeoptions_t *writing;
    rocksdb_ingestexternalfileoptions_t *ingesting;
    rocksdb_envoptions_t *files;
    rocksdb_t *db;
    char directory[STORE_PATH_MAX];
    struct rocks_work work;
    struct rocks_batch collecting;
    struct rocks_batch leaving; /* the work's */
    uint64_t batch_number;      /* the work's */
    uint32_t walk_state;
    rocksdb_iterator_t *walking;  /* both NULL: the state's walk has not begun */
    struct rocks_tables *walking_tables;
    struct buffer name, scratch;
    const struct store_memory *memory;
    uint64_t database_bytes; /* of memtables and open tables, when it was looked at last */
    bool reads_only;
    bool has_base;
    VEC(struct rocks_brought) brought;
    struct weir_error failure; /* code WEIR_OK = none */
};

static inline struct rocks *rocks_of(struct state_store *store) { return (struct rocks *)(void *)store; }

/* Where a function is one of store.h's operations, that header has its contract. */

/* ---- store_rocksdb.c ---- */

enum weir_code rocks_no_memory(struct weir_error *error);
/* Of damage in the database: what was linked from a base is damaged there, too; all else is made anew by a restore. */
enum weir_remedy rocks_damage_remedy(const struct rocks *rocks);
/* Takes RocksDB's message, and makes an error of it: "cannot <what>"; fine when there is none. */
enum weir_code rocks_answer(const struct rocks *rocks, char *message, const char *what, struct weir_error *error);
/* Keeps the first error, which every call answers from then on. Answers `code`. */
enum weir_code rocks_fail(struct rocks *rocks, enum weir_code code, const struct weir_error *error);
enum weir_code rocks_check_failure(const struct rocks *rocks, struct weir_error *error);
/* Has RocksDB failed by itself? */
enum weir_code rocks_check_background(const struct rocks *rocks, struct weir_error *error);

/* ---- store_rocksdb_options.c ---- */

struct store_memory {
    rocksdb_cache_t *cache;
};

void rocks_set_options(struct rocks *rocks, const struct store_rocksdb_options *options);
void rocks_unset_options(struct rocks *rocks);
/* Asks RocksDB what it holds beside the blocks. */
void rocks_look_at_memory(struct rocks *rocks);
uint64_t rocks_memory(const struct state_store *store, uint64_t *blocks);

/* ---- store_rocksdb_expiry.c ---- */

void rocks_set_expiries(struct rocks *rocks); /* the options are set */
void rocks_unset_expiries(struct rocks *rocks);
/* Of the state's column family; UINT32_MAX = of one that belongs to no state. */
const rocksdb_options_t *rocks_options_of(const struct rocks *rocks, uint32_t state);
void rocks_set_time(struct state_store *store, int64_t now_ms);

/* ---- store_rocksdb_open.c ---- */

/* `rocks` is zero bytes but for its buffers; after a failure it is to be destroyed. */
enum weir_code rocks_open_in(struct rocks *rocks, const struct store_rocksdb_options *options, struct weir_error *error);
void rocks_close_database(struct rocks *rocks);

/* ---- store_rocksdb_read.c ---- */

static inline bool rocks_is_ordered(const struct rocks *rocks, uint32_t state)
{
    return rocks->states[state].ordered_in_group;
}
/* Appends the unit's name. False when there is no memory. */
bool rocks_name_unit(const struct rocks *rocks, uint32_t state, const struct state_key *key, struct buffer *name);
enum weir_code rocks_get_many(struct state_store *store, struct store_wanted *wanted, uint32_t count,
                              struct buffer *values, struct weir_error *error);
enum weir_code rocks_scan(struct state_store *store, uint32_t state, const struct state_key *from,
                          store_visit_fn *visit, void *user, struct weir_error *error);
void rocks_walk_begin(struct state_store *store);
enum weir_code rocks_walk_on(struct state_store *store, store_visit_fn *visit, void *user, bool *is_over,
                             struct weir_error *error);
void rocks_walk_end(struct state_store *store);
uint64_t rocks_bytes(const struct state_store *store);

/* ---- store_rocksdb_tables.c ---- */

/* All units of a state, of a store that is only read. NULL: RocksDB has to walk over them, because there are files that only
 * it can read, or too many. */
struct rocks_tables *rocks_tables_open(const struct rocks *rocks, uint32_t state);
void rocks_tables_close(struct rocks_tables *tables);
/* In byte order, each name once, nothing that was removed. They are good until the next call. */
enum weir_code rocks_tables_next(struct rocks_tables *tables, struct weir_bytes *name, struct weir_bytes *value,
                                 bool *is_over, struct weir_error *error);

/* ---- store_rocksdb_write.c ---- */

enum weir_code rocks_put(struct state_store *store, uint32_t state, const struct state_key *key,
                         struct weir_bytes value, uint32_t version, struct weir_error *error);
enum weir_code rocks_remove(struct state_store *store, uint32_t state, const struct state_key *key,
                            struct weir_error *error);
enum weir_code rocks_remove_elements(struct state_store *store, uint32_t state, const struct state_key *key,
                                     struct weir_error *error);
enum weir_code rocks_flush(struct state_store *store, struct weir_error *error);
enum weir_code rocks_begin_flush(struct state_store *store, struct weir_error *error);
void rocks_batch_init(struct rocks_batch *batch);
void rocks_batch_deinit(struct rocks_batch *batch);
uint64_t rocks_batch_bytes(const struct rocks_batch *batch); /* memory held */

/* ---- store_rocksdb_base.c ---- */

/* Of the base that the store begins with. False when there is no memory. */
bool rocks_remember_files(struct rocks *rocks, const struct links *base);
/* The file of the checkpoint store that RocksDB's message is about; "" when it is about none that a base brought. */
const char *rocks_origin_of(const struct rocks *rocks, const char *message);
enum weir_code rocks_link(struct state_store *store, char folder[STORE_FOLDER_MAX], struct weir_error *error);
enum weir_code rocks_begin_link(struct state_store *store, char folder[STORE_FOLDER_MAX], struct weir_error *error);

/* ---- store_rocksdb_thread.c ---- */

/* Waits for the work before. Then `run` does its work there, or, `on_the_spot`, here; its failure is the store's. */
enum weir_code rocks_work(struct rocks *rocks, rocks_work_fn *run, bool on_the_spot, struct weir_error *error);
/* Is it under way still, after `wait_us` at most (< 0: until it is over)? */
bool rocks_is_working(struct rocks *rocks, int64_t wait_us);
enum weir_code rocks_await(struct state_store *store, int64_t wait_us, bool *is_busy, struct weir_error *error);
void rocks_end_work(struct rocks *rocks); /* and the thread's */

#endif
