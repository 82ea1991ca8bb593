/* The files of a store's base: named by length and hash when it is made, held against that before it is opened, and
 * linked into a fresh folder.
 *
 * An SST never changes once it is in a base, so it is linked, and its hash is that of its last STORE_TAIL_BYTES, where
 * its index, its properties and with them its unique id lie: cheap, and enough to tell a foreign or truncated file. Its
 * blocks have checksums that are looked at when they are read. Every other file is small, may be written by the next who
 * opens it, and is copied; its hash is that of the whole, because RocksDB 7.8.3 opens a truncated MANIFEST as an empty
 * database without an error.
 *
 * Blocks. Any thread. */
#ifndef STATE_STORE_FILES_H
#define STATE_STORE_FILES_H

#include "base/vec.h"
#include "state/state.h"

#define STORE_FILE_NAME_MAX 64
#define STORE_PATH_MAX 1024
#define STORE_TAIL_BYTES 4096

struct state_file {
    char name[STORE_FILE_NAME_MAX];
    uint64_t length;
    uint64_t hash;
};

struct state_files {
    VEC(struct state_file) vec;
};
void store_files_deinit(struct state_files *files);

bool store_file_is_table(const char *name); /* an SST */

/* Appends an item for each file of the folder. */
enum weir_code store_files_list(const char *directory, struct state_files *files, struct weir_error *error);
/* WEIR_DAMAGED and the file's name when one is missing, or has another length or hash. Others do not matter. */
enum weir_code store_files_verify(const char *directory, const struct state_files *files, struct weir_error *error);
/* Brings verified files of `source` into the existing folder `target`. */
enum weir_code store_files_link(const char *source, const char *target, const struct state_files *files,
                                struct weir_error *error);
/* Removes the folder and the files in it; fine when it is not there. Its own folders, by these names, one deep. */
enum weir_code store_files_remove(const char *directory, struct weir_error *error);
enum weir_code store_files_make(const char *directory, struct weir_error *error);
enum weir_code store_files_make_missing(const char *directory, struct weir_error *error); /* fine when it is there */
/* Removes the folders PREFIX<N> of `directory` with N up to `last`, and in each the folders of stores. As far as it can. */
void store_files_sweep(const char *directory, const char *prefix, uint64_t last);

#endif
