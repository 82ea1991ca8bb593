/* A quick look at the heads of frames, for the restart table. */
#include <string.h>

#include "checkpoint/store_private.h"

struct history {
    struct store *store;
    uint64_t frame_count;
    uint64_t epoch_max;
};

/* The head of the frame at `offset`: its epoch and length. False when there is none. */
static bool read_head(const struct disk *disk, int file, uint64_t offset, uint64_t *epoch, uint64_t *length)
{
    char head[FRAME_HEADER_BYTES];
    struct reader reader;
    if (disk_read_all(disk, file, head, sizeof head, offset) != 0 || memcmp(head, "WEIRFRAM", 8) != 0) return false;
    reader_init(&reader, head + 24, sizeof head - 24);
    *epoch = reader_u64(&reader);
    reader_skip(&reader, 16);
    *length = reader_u64(&reader);
    return *length >= FRAME_ALIGNMENT && *length % FRAME_ALIGNMENT == 0;
}

static void look_into_log(void *user, const char *name)
{
    struct history *history = user;
    struct store_file parsed;
    if (!store_file_parse(name, &parsed) || parsed.is_base || history->epoch_max > 0) return;
    char path[STORE_PATH_MAX];
    store_file_path(history->store, name, path);
    const struct disk *disk = history->store->disk;
    const int file = disk->open(disk->user, path, DISK_READ);
    if (file < 0) return;
    uint64_t epoch, length;
    for (uint64_t offset = 0; history->epoch_max == 0 && read_head(disk, file, offset, &epoch, &length); offset += length) {
        history->frame_count++;
        if (epoch > history->epoch_max) history->epoch_max = epoch;
    }
    disk->close(disk->user, file);
}

void store_history(struct store *store, uint64_t *frame_count, uint64_t *epoch_max)
{
    struct history history = { .store = store };
    struct weir_error error;
    store_list(store, look_into_log, &history, &error);
    *frame_count = history.frame_count;
    *epoch_max = history.epoch_max;
}
