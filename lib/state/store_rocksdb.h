/* A store in RocksDB: one database for each shard, one column family for each state (by its name), names and values as
 * store_key.h has them.
 *
 *   put, remove ──> a batch in memory ── flush ──> sorted ──> DIRECTORY/new/N.sst ── moved in ──> DIRECTORY/db
 *   link        DIRECTORY/base: hard links of DIRECTORY/db ── checkpoint/links.h ──> a base ── verified, linked ──> the next
 *
 * The log of frames is the truth, so there is no write-ahead log, and a local directory is never used twice: what a
 * crash left behind holds changes past the last commit, and is removed; so is the directory when the store is destroyed.
 * Memtables hold nothing but the ranges that a restore clips off. A file that RocksDB is given to move in has no other
 * link: it may write into it (a global sequence number), and that would change a base.
 *
 * Time to live: a compaction leaves out what is over, values and elements; a list may have gaps then. Nobody has been told
 * anything by that: who is told that something has expired, is told by a removal (state/expiry.c), whatever a compaction did.
 *
 * Errors: damage that is found when a block is read, or before opening, is WEIR_DAMAGED with the name of the file in the
 * checkpoint store; that of a base stops the job. All others are WEIR_ENVIRONMENT, to be answered by a restore. RocksDB is
 * read-only after an error in the background; the store looks for that at each flush and base. */
#ifndef STATE_STORE_ROCKSDB_H
#define STATE_STORE_ROCKSDB_H

#include "checkpoint/links.h"
#include "state/store.h"
#include "state/store_files.h"

/* Blocks, indexes and filters of all databases of the process, under one budget. Any thread. */
struct store_memory;
struct store_memory *store_memory_create(size_t bytes); /* NULL when there is no memory */
size_t store_memory_used(const struct store_memory *memory);
void store_memory_destroy(struct store_memory *memory); /* the stores hold it on */

struct store_rocksdb_options {
    const char *directory; /* local, this store's own: what is there is removed; its parent exists. NULL, where it is
                              only read: a folder of symbolic links among the system's temporary ones */
    const struct state_declaration *states;
    uint32_t state_count;
    uint32_t max_parallelism;
    uint32_t group_first; /* units of other key groups are clipped off a base */
    uint32_t group_count;
    struct store_memory *memory; /* NULL, where it is only read: little */
    int open_files_max; /* at least 16 */
    const struct weir_environment *environment; /* whose log gets RocksDB's warnings; NULL = nobody's */

    struct store *from; /* the checkpoint store with a base to begin with; NULL = empty */
    const struct links *base;
    const char *const *given_up; /* names of states of the base: what is declared by such a name begins empty */
    uint32_t given_up_count;
};

/* Folders of stores, one for each life of a job: FOLDER/local-N/... Begin makes FOLDER/local-<own>, whose grandparent exists,
 * and removes what earlier lives left; end removes that of `own`, too. Any thread. */
enum weir_code store_rocksdb_begin(const char *folder, uint64_t own, struct weir_error *error);
void store_rocksdb_end(const char *folder, uint64_t own);

/* States are found in a base by name; what is not declared is dropped. Nothing of a store without a directory may be
 * changed. */
enum weir_code store_rocksdb_open(const struct store_rocksdb_options *options, struct state_store **store,
                                  struct weir_error *error);
/* For who has opened it, and found nobody to take it. */
void store_rocksdb_close(struct state_store *store);

#endif
