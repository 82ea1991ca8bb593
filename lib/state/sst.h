/* A table file of RocksDB from its first unit to its last, without RocksDB: its iterator merges, counts and asserts some
 * thousands of instructions for each unit, and who reads all of a state waits for nothing else.
 *
 * What RocksDB 7.8 and 9.10 write with the options of store_rocksdb_options.c (its "format 5", which stands in the file):
 *
 *   file     blocks of units | filters | blocks of the index | the index of those | properties ... | metaindex | footer
 *   footer   u8 checksum: 4 | handle of the metaindex | handle of the index | 00 up to 41 bytes | u32 format: 5 |
 *            u64 0x88e241b785f4cff7
 *   handle   varint offset | varint size
 *   stored   bytes | u8 form: 0 as they are, 4 varint size and an LZ4 block | u32 checksum
 *            checksum: the low half of XXH3 64 of the bytes, xor form * 0x6b9083d9
 *   block    entries | u32 offset of each restart | u32 their number
 *   entry    varint bytes that its key shares with the one before | varint bytes of its own | varint bytes of its value |
 *            its own | its value
 *            of an index: without the third number; the value is a handle, and where the key shares something, a varint:
 *            zigzag of how much larger the block is than the one before, behind which it lies
 *   key      name | u64 sequence number * 256 + (1 a value, 0 and 7 removed)
 *
 * Every block is held against its checksum before it is looked at; the properties are not, because RocksDB changes them in a
 * file that it takes in. A file that is of another form, or removes ranges, is refused when it is opened: RocksDB can read it.
 *
 * Any thread, one at a time, blocking. */
#ifndef STATE_SST_H
#define STATE_SST_H

#include "base/base.h"

struct sst;

/* What can go wrong calls the file `name`, which is borrowed until the end. NULL: it cannot be opened, is of another form, or
 * there is no memory. */
struct sst *sst_open(const char *path, const char *name);
void sst_close(struct sst *sst);

struct sst_unit {
    struct weir_bytes name;
    struct weir_bytes value;
    bool is_removed;
};

/* The next unit; several by one name come newest first. What is handed out is good until the next call. `*is_over`: there is
 * none. WEIR_DAMAGED, WEIR_ENVIRONMENT, WEIR_NO_MEMORY. */
enum weir_code sst_next(struct sst *sst, struct sst_unit *unit, bool *is_over, struct weir_error *error);

#endif
