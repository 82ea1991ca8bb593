/* The inside of struct store, for the files that implement store.h, and for those that lay files out as it does or look at them:
 * links.c, savepoint.c, savepoint_folder.c, survey.c. */
#ifndef CHECKPOINT_STORE_PRIVATE_H
#define CHECKPOINT_STORE_PRIVATE_H

#include "checkpoint/store.h"

/* Room for the path of any file of a store. */
#define STORE_PATH_MAX 4096
#define STORE_ID_FILE "store"
#define STORE_ID_FILE_MAX 512 /* bytes */
#define STORE_SPARES_MAX 4
#define STORE_SLICE_BYTES (256u << 10)

/* A log segment that is open for writing. */
struct store_segment {
    int file; /* -1 = none */
    uint64_t number;
    uint64_t filled_bytes; /* what was written, or filled with zeroes, and synced */
};

/* Owner: log writer thread (environment thread before it runs). */
struct store_log {
    struct store_segment current;
    struct store_segment next;   /* made ready ahead */
    uint64_t number_failed;      /* nothing goes there any more; 0 = none */
    bool prepare_failed;         /* until the next segment is needed */
    uint64_t spares[STORE_SPARES_MAX]; /* numbers of retired segments of the usual size, for reuse */
    size_t spare_count;
};

struct store {
    /* Fixed by store_open. */
    const struct disk *disk;
    char *path;
    char id[STORE_ID_MAX];
    char job[72];
    char slot[16];
    bool is_empty;
    uint64_t incarnation_max;
    uint64_t segment_bytes;
    /* Fixed by store_begin. */
    uint64_t incarnation;
    /* Owner: job thread. Where the next frame goes. */
    uint64_t place_number;
    uint64_t place_offset;

    struct store_log log;
    _Atomic uint64_t base_number; /* the last one given; any thread */
    _Atomic uint64_t table_number;
};

enum base_kind { BASE_OF_UNITS, BASE_OF_LINKS };

/* store_base_create, with a name that is given. */
enum weir_code store_base_create_as(struct store *store, enum base_kind kind, uint64_t incarnation, uint64_t number,
                                    struct store_base **base, struct weir_error *error);

void store_log_name(char name[STORE_FILE_MAX], uint64_t incarnation, uint64_t number);
/* Puts "<store>/<file>" into `path`. */
void store_file_path(const struct store *store, const char *file, char path[STORE_PATH_MAX]);

/* The text of the id file; answers its size. */
int store_id_render(char text[STORE_ID_FILE_MAX], const char *id, const char *job, const char *slot);
/* A new file, durable but for its name. 0, or a negative errno; then there is none. */
int store_write_new(const struct disk *disk, const char *path, const char *text, size_t size);

/* Begins and ends the log of store->incarnation. */
int store_log_begin(struct store *store);
void store_log_end(struct store *store);

/* A negative errno in words, and what to do about it: "; make room on that file system", or "". */
const char *store_errno_text(int result);
const char *store_errno_advice(int result);
/* WEIR_ENVIRONMENT, remedy RETRY: "checkpoint store /d/job: <doing> <file>: <errno as text>; <what to do>". */
enum weir_code store_disk_error(const struct store *store, struct weir_error *error, int result, const char *doing,
                                const char *file);
/* WEIR_DAMAGED for a file that a checkpoint names and that cannot be read. */
enum weir_code store_read_error(const struct store *store, struct weir_error *error, int result, const char *file);

#endif
