#include "sim/savepoints.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/base.h"
#include "sim/oracle.h"
#include "sim/timed_disk.h"
#include "sim/world.h"
#include "weir/savepoint.h"

enum { SAVEPOINTS_MAX = 64 };

static struct {
    bool are_commits;
    size_t count;
    struct known_savepoint items[SAVEPOINTS_MAX];
} savepoints;

void savepoints_begin(bool are_commits)
{
    memset(&savepoints, 0, sizeof savepoints);
    savepoints.are_commits = are_commits;
}

size_t savepoints_count(void) { return savepoints.count; }
const struct known_savepoint *savepoints_at(size_t index) { return &savepoints.items[index]; }
void savepoints_forget(void) { savepoints.count = 0; }

void savepoints_note(const char *path)
{
    struct weir_savepoint seen = { .size = sizeof seen };
    struct weir_error error;
    world_seen()->savepoints++;
    if (weir_savepoint_look(path, &seen, &error) != WEIR_OK) {
        oracle_fail("%s is said to be whole, but: %s", path, error.text);
        return;
    }
    const uint32_t chapter = oracle_chapter_of(seen.incarnation, seen.epoch);
    if (savepoints.are_commits && chapter == 0)
        oracle_fail("%s is of checkpoint %" PRIu64 ".%" PRIu64 ", which was never committed", path, seen.incarnation,
                    seen.epoch);
    if (savepoints.count == SAVEPOINTS_MAX) return;
    struct known_savepoint *known = &savepoints.items[savepoints.count++];
    known->chapter = chapter;
    (void)snprintf(known->path, sizeof known->path, "%s", path);
}

/* ---- The end ----------------------------------------------------------------------------------------------------- */

static void dispose(void *unused, const char *path, const struct weir_savepoint *savepoint, const struct weir_error *problem)
{
    (void)unused, (void)savepoint, (void)problem;
    struct weir_error error;
    if (weir_savepoint_dispose(path, &error) != WEIR_OK) oracle_fail("%s cannot be removed: %s", path, error.text);
}

/* In folders: whether files can be made in the directory itself is tried with one that a kill may leave there. */
static void find_rest(void *unused, const char *path, uint64_t size)
{
    (void)unused, (void)size;
    if (strncmp(path, SAVEPOINTS_DIRECTORY "/savepoint-", sizeof SAVEPOINTS_DIRECTORY "/savepoint-" - 1) == 0)
        oracle_fail("%s is left of savepoints that were removed", path);
}

void savepoints_check_end(void)
{
    struct weir_error error;
    struct weir_savepoint seen = { .size = sizeof seen };
    for (size_t i = 0; i < savepoints.count; i++)
        if (weir_savepoint_look(savepoints.items[i].path, &seen, &error) != WEIR_OK)
            oracle_fail("%s was whole, but now: %s", savepoints.items[i].path, error.text);
    if (weir_savepoint_list(SAVEPOINTS_DIRECTORY, dispose, NULL, &error) == WEIR_OK)
        disk_model_each_file(timed_disk_model(), find_rest, NULL);
}
