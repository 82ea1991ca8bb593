/* Bases of files by reference: what a backend keeps in files that never change need not be written again for each base. Such
 * a file is brought into the store once, as a hard link where the file systems allow it and as a copy elsewhere, and every
 * base that needs it names it.
 *
 *   folder of links    000012.sst  000017.sst  MANIFEST-000005  CURRENT      made by the backend
 *                          |           |              \___________/
 *   store              table-3-1   table-3-2         base-3-4: names and hashes of the two, contents of the others
 *
 *   base file, kind 1 (store.h), by chunks
 *      0      [states] of the writer (manifest.c)
 *      1      u32 number of key groups
 *             [u8 1: the values of this state begin with a time]  one for each state
 *             [files]  text the backend's name, text the store's name ("" = the contents follow), u64 length,
 *                      u64 hash of the last 4096 bytes, u64 hash of all; XXH3 64
 *      2 ..   contents of the files that have no name in the store, in their order; none where the length is 0
 *
 *   text = varint size + 1, bytes;  [n] = varint, followed by n items
 *
 * What never changes is an SST: it is held against its length and its last bytes before it is opened, where its index, its
 * properties and with them its unique id lie; its blocks have checksums that are looked at when they are read, and links_check
 * reads all of it when asked. Everything else is small, and is covered by the hashes of the base itself.
 *
 * Which files may go is retention.h's business. Blocking. */
#ifndef CHECKPOINT_LINKS_H
#define CHECKPOINT_LINKS_H

#include "checkpoint/store.h"

#define LINKS_NAME_MAX 64
#define LINKS_TAIL_BYTES 4096

struct links_file {
    char name[LINKS_NAME_MAX]; /* the backend's */
    char file[STORE_FILE_MAX]; /* the store's; "" = its contents are in the base */
    uint64_t length;
    uint64_t tail_hash, hash;
    size_t contents_at; /* of those without a name in the store */
    bool is_fresh;      /* links_write has brought it in */
};

struct links {
    VEC(struct links_file) files;
    uint32_t key_groups;
    struct buffer states;   /* chunk 0 */
    struct buffer stamped;  /* u8 for each state */
    struct buffer contents;
};
void links_init(struct links *links);
void links_deinit(struct links *links);

uint64_t links_bytes(const struct links *links, bool only_fresh); /* of the files that have a name in the store */

/* Makes a base of what is in `folder`, a path of the system's. `links` brings key groups, states and stamped, and gets the
 * files. What `known` (may be NULL) names by the same name is in the store already, and stays as it is. Durable on success;
 * after a failure nothing is left behind. Errors as store_base_create. */
enum weir_code links_write(struct store *store, const char *folder, const struct links *known, struct links *links,
                           struct store_base_result *result, struct weir_error *error);
/* Removes a base that no checkpoint has named, and what was brought in for it. */
void links_abandon(struct store *store, const char *base, const struct links *links);

/* Reads and verifies the base itself, into empty links. Errors as store_read_base. */
enum weir_code links_read(struct store *store, const struct manifest_base *base, struct links *links,
                          struct weir_error *error);
/* Each file is there, and has its length and its last bytes; or, `all`, every byte. WEIR_DAMAGED with the file's name. */
enum weir_code links_check(struct store *store, const struct links *links, bool all, struct weir_error *error);
/* One file that has a name in the store, whole and verified, into `bytes` (cleared first). */
enum weir_code links_read_file(struct store *store, const struct links_file *file, struct buffer *bytes,
                               struct weir_error *error);
/* Checks the files and brings all into an existing, empty folder of the system's: as hard links that stay when the store
 * deletes its own, or, `symbolic`, as names that stand for the store's; copies where links cannot be. */
enum weir_code links_bring(struct store *store, const struct links *links, const char *folder, bool symbolic,
                           struct weir_error *error);

#endif
