/* There is no RocksDB in the simulator: jobs there keep their state in memory. */
#include "state/store_rocksdb.h"

static enum weir_code absent(struct weir_error *error)
{
    return weir_error_set(error, WEIR_USAGE, WEIR_REMEDY_STOP, "the simulator has no state.backend.type 'rocksdb'");
}

struct store_memory *store_memory_create(size_t bytes)
{
    (void)bytes;
    return NULL;
}

void store_memory_destroy(struct store_memory *memory)
{
    CHECK(memory == NULL);
}

enum weir_code store_rocksdb_begin(const char *folder, uint64_t own, struct weir_error *error)
{
    (void)folder, (void)own;
    return absent(error);
}

void store_rocksdb_end(const char *folder, uint64_t own)
{
    (void)folder, (void)own;
}

enum weir_code store_rocksdb_open(const struct store_rocksdb_options *options, struct state_store **store,
                                  struct weir_error *error)
{
    (void)options, (void)store;
    return absent(error);
}

void store_rocksdb_close(struct state_store *store)
{
    CHECK(store == NULL);
}
