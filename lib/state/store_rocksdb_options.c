/* How RocksDB is set up, and what it holds in memory. */
#include <stdlib.h>

#include "state/rocksdb_log.h"
#include "state/store_rocksdb_private.h"

/* A batch is written as a whole, so nothing is gained from small files, and a base has one link for each. */
enum {
    TABLE_BYTES = 64 << 20,
    BLOCK_BYTES = 4096,
    FILTER_BITS = 10,
    FORMAT_VERSION = 5,
    READING_CACHE_BYTES = 4 << 20,
    MANIFEST_BYTES = 256 << 10,
    /* Each batch is a file of level 0. All of them are merged with the rest at once, and most of what a batch costs the
     * processor is that: 10 M keys took 19 s of compaction for 20 M updates with the usual 4 files, 17 with 12 and 10 with
     * 32. A miss asks the filter of each file first, which costs less than that. */
    LEVEL_0_FILES = 16,
    /* Of what stands in no number, because RocksDB does not say: a file that is written has a buffer of its own, and of each
     * file that goes into a compaction so much is read ahead. One compaction is under way in the whole process, because all
     * databases share RocksDB's threads. */
    WRITE_BUFFER_BYTES = 256 << 10,
    READ_AHEAD_BYTES = 32 << 10,
    /* What a compaction writes goes to the disk in such pieces, and not all of a file when it is finished: the log of frames is
     * synced beside it. Batches are written so, too (store_rocksdb_write.c). */
    PIECE_BYTES = 1 << 20,
};

/* ---- Memory ------------------------------------------------------------------------------------------------------ */

struct store_memory *store_memory_create(size_t bytes)
{
    struct store_memory *memory = malloc(sizeof *memory);
    if (memory != NULL) memory->cache = rocksdb_cache_create_lru(bytes);
    return memory;
}

size_t store_memory_used(const struct store_memory *memory)
{
    return rocksdb_cache_get_usage(memory->cache);
}

void store_memory_destroy(struct store_memory *memory)
{
    if (memory == NULL) return;
    rocksdb_cache_destroy(memory->cache);
    free(memory);
}

/* A file takes some kilobytes while it is open, whatever is in the cache of blocks. */
void rocks_look_at_memory(struct rocks *rocks)
{
    static const char *const properties[] = { "rocksdb.cur-size-all-mem-tables", "rocksdb.estimate-table-readers-mem" };
    rocks->database_bytes = 0;
    for (uint32_t i = 0; i < rocks->state_count; i++)
        for (size_t k = 0; k < sizeof properties / sizeof properties[0]; k++) {
            uint64_t bytes;
            if (rocksdb_property_int_cf(rocks->db, rocks->families[i], properties[k], &bytes) == 0)
                rocks->database_bytes += bytes;
        }
}

uint64_t rocks_memory(const struct state_store *store, uint64_t *blocks)
{
    const struct rocks *rocks = (const struct rocks *)(const void *)store;
    *blocks = rocks->memory == NULL ? 0 : store_memory_used(rocks->memory);
    return sizeof *rocks + rocks->database_bytes + rocks->name.capacity + rocks->scratch.capacity +
           rocks_batch_bytes(&rocks->collecting) + rocks_batch_bytes(&rocks->leaving);
}

/* ---- Options ----------------------------------------------------------------------------------------------------- */


static void set_tables(struct rocks *rocks, const struct store_memory *memory)
{
    rocksdb_block_based_table_options_t *tables = rocksdb_block_based_options_create();
    rocksdb_cache_t *own = memory == NULL ? rocksdb_cache_create_lru(READING_CACHE_BYTES) : NULL;
    rocksdb_block_based_options_set_block_cache(tables, memory == NULL ? own : memory->cache);
    /* That of the oldest RocksDB that has to read it. */
    rocksdb_block_based_options_set_format_version(tables, FORMAT_VERSION);
    rocksdb_block_based_options_set_block_size(tables, BLOCK_BYTES);
    rocksdb_block_based_options_set_cache_index_and_filter_blocks(tables, 1);
    rocksdb_block_based_options_set_filter_policy(tables, rocksdb_filterpolicy_create_bloom_full(FILTER_BITS));
    /* Filters and indexes in blocks like all others: whole, those of a table have a megabyte, and a small cache would read
     * them again for each key. */
    rocksdb_block_based_options_set_index_type(tables, rocksdb_block_based_table_index_type_two_level_index_search);
    rocksdb_block_based_options_set_partition_filters(tables, 1);
    rocksdb_block_based_options_set_metadata_block_size(tables, BLOCK_BYTES);
    rocksdb_options_set_block_based_table_factory(rocks->options, tables);
    rocksdb_block_based_options_destroy(tables);
    if (own != NULL) rocksdb_cache_destroy(own); /* the tables hold it on */
}

/* Ingesting many files would stall, and with it a base, at the usual limits of level 0. The C interface of 7.8 has no
 * write buffer manager; it is not missed, because the memtables are as good as empty. */
void rocks_set_options(struct rocks *rocks, const struct store_rocksdb_options *options)
{
    rocks->options = rocksdb_options_create();
    rocksdb_options_set_create_if_missing(rocks->options, options->base == NULL);
    rocksdb_options_set_create_missing_column_families(rocks->options, 1);
    /* Who only reads has all of them open: the job that they belong to may be running, and delete them. */
    rocksdb_options_set_max_open_files(rocks->options, rocks->reads_only ? -1 : options->open_files_max);
    rocksdb_options_set_max_background_jobs(rocks->options, 2);
    rocksdb_options_set_level0_file_num_compaction_trigger(rocks->options, LEVEL_0_FILES);
    rocksdb_options_set_level0_slowdown_writes_trigger(rocks->options, 10000);
    rocksdb_options_set_level0_stop_writes_trigger(rocks->options, 20000);
    rocksdb_options_set_target_file_size_base(rocks->options, TABLE_BYTES);
    /* What is ingested into an empty database goes to the lowest level: small states are compacted with it, too. */
    rocksdb_options_set_level_compaction_dynamic_level_bytes(rocks->options, 1);
    rocksdb_options_set_write_buffer_size(rocks->options, 1 << 20);
    rocksdb_options_set_max_manifest_file_size(rocks->options, MANIFEST_BYTES); /* each base has a copy */
    rocksdb_options_set_writable_file_max_buffer_size(rocks->options, WRITE_BUFFER_BYTES);
    rocksdb_options_set_bytes_per_sync(rocks->options, PIECE_BYTES);
    rocksdb_options_compaction_readahead_size(rocks->options, READ_AHEAD_BYTES);
    rocksdb_options_set_compression(rocks->options, rocksdb_lz4_compression);
    rocksdb_options_set_stats_dump_period_sec(rocks->options, 0);
    rocksdb_log_to(rocks->options, options->environment);
    set_tables(rocks, options->memory);
    rocks->reading = rocksdb_readoptions_create();
    rocks->scanning = rocksdb_readoptions_create();
    rocksdb_readoptions_set_fill_cache(rocks->scanning, 0);
    rocks->writing = rocksdb_writeoptions_create();
    rocksdb_writeoptions_disable_WAL(rocks->writing, 1);
    rocks->ingesting = rocksdb_ingestexternalfileoptions_create();
    rocksdb_ingestexternalfileoptions_set_move_files(rocks->ingesting, 1);
    rocks->files = rocksdb_envoptions_create();
}

void rocks_unset_options(struct rocks *rocks)
{
    if (rocks->options == NULL) return;
    rocksdb_envoptions_destroy(rocks->files);
    rocksdb_ingestexternalfileoptions_destroy(rocks->ingesting);
    rocksdb_writeoptions_destroy(rocks->writing);
    rocksdb_readoptions_destroy(rocks->scanning);
    rocksdb_readoptions_destroy(rocks->reading);
    rocksdb_options_destroy(rocks->options);
}
