/* A quick look at the heads of frames, for the restart table. */
#include <errno.h>

#include "checkpoint/store_private.h"

struct history {
    struct store *store;
    uint64_t frame_count;
    uint64_t epoch_max;
};

static void count_frame(struct history *history, uint64_t epoch)
{
    history->frame_count++;
    if (epoch > history->epoch_max) history->epoch_max = epoch;
}

static bool is_decided(const struct history *history)
{
    return history->epoch_max > 0;
}

/* Walks one log by the lengths in the heads; false when it cannot be read. */
static bool walk(struct history *history, int file)
{
    const struct disk *disk = history->store->disk;
    const int64_t size = disk->size(disk->user, file);
    struct weir_frame_name seen;
    bool is_part;
    for (uint64_t offset = 0; size >= 0 && !is_decided(history); offset += seen.length) {
        char head[FRAME_HEADER_BYTES];
        if ((uint64_t)size - offset < sizeof head) return true;
        if (disk_read_all(disk, file, head, sizeof head, offset) < 0) return false;
        if (!frame_peek((struct weir_bytes){ head, sizeof head }, &seen, &is_part)) return true;
        count_frame(history, seen.epoch);
        if (seen.length > (uint64_t)size - offset) return true;
    }
    return size >= 0;
}

static void visit_log(void *user, const char *name)
{
    struct history *history = user;
    struct store_file parsed;
    if (!store_file_parse(name, &parsed) || parsed.kind != STORE_FILE_LOG || is_decided(history)) return;
    char path[STORE_PATH_MAX];
    store_file_path(history->store, name, path);
    const struct disk *disk = history->store->disk;
    const int file = disk->open(disk->user, path, DISK_READ);
    if (file == -ENOENT) return; /* its owner has just deleted it */
    if (file < 0 || !walk(history, file)) count_frame(history, 1);
    if (file >= 0) disk->close(disk->user, file);
}

void store_history(struct store *store, uint64_t *frame_count, uint64_t *epoch_max)
{
    struct history history = { .store = store };
    if (store_list(store, visit_log, &history, NULL) != WEIR_OK) count_frame(&history, 1);
    *frame_count = history.frame_count;
    *epoch_max = history.epoch_max;
}
