#include "runtime/examine.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "checkpoint/disk.h"

enum { SENTENCE_MAX = 900, ROOM_MIN_MB = 64 };

void examination_begin(struct weir_examination *examination, weir_finding_fn *found, void *user)
{
    *examination = (struct weir_examination){ .found = found, .user = user };
}

void examination_end(struct weir_examination *examination)
{
    for (size_t i = 0; i < examination->shared.count; i++) {
        struct examination_shared *place = examination->shared.items[i];
        if (place->shared != NULL) place->end(place->shared);
        free(place);
    }
    vec_free(&examination->shared);
    vec_free(&examination->told);
}

void **weir_examination_shared(weir_examination *examination, const char *kind, void (*end)(void *shared))
{
    for (size_t i = 0; i < examination->shared.count; i++)
        if (strcmp(examination->shared.items[i]->kind, kind) == 0) return &examination->shared.items[i]->shared;
    struct examination_shared *made = malloc(sizeof(*made));
    struct examination_shared **place = made == NULL ? NULL : vec_push(&examination->shared);
    if (place == NULL) {
        free(made);
        return NULL;
    }
    *made = (struct examination_shared){ .kind = kind, .end = end };
    *place = made;
    return &made->shared;
}

/* ---- Reports -------------------------------------------------------------------------------------------------------- */

/* What stands at "{N}"; NULL when that is no such place. */
static const char *text_at(const char *place, const char *const *texts)
{
    if (place[0] != '{' || place[1] < '0' || place[1] > '9' || place[2] != '}') return NULL;
    for (char i = '0'; *texts != NULL; texts++, i++)
        if (i == place[1]) return *texts;
    return NULL;
}

static void fill_in(char sentence[static SENTENCE_MAX], const char *pattern, const char *const *texts)
{
    size_t used = 0;
    while (*pattern != '\0' && used + 1 < SENTENCE_MAX) {
        const char *text = text_at(pattern, texts);
        if (text == NULL) {
            sentence[used++] = *pattern++;
            continue;
        }
        const size_t size = strnlen(text, SENTENCE_MAX - 1 - used);
        memcpy(sentence + used, text, size);
        used += size;
        pattern += 3;
    }
    sentence[used] = '\0';
}

static bool was_told(struct weir_examination *examination, const char *check, const char *problem)
{
    const uint64_t hash = hash_64_seeded(problem, strlen(problem), hash_64(check, strlen(check)));
    for (size_t i = 0; i < examination->told.count; i++)
        if (examination->told.items[i] == hash) return true;
    uint64_t *told = vec_push(&examination->told);
    if (told != NULL) *told = hash; /* else it is told twice */
    return false;
}

void weir_report_(weir_examination *examination, const struct weir_check *row, const char *const *texts)
{
    char problem[SENTENCE_MAX], advice[SENTENCE_MAX];
    fill_in(problem, row->problem, texts);
    fill_in(advice, row->advice, texts);
    if (was_told(examination, row->name, problem)) return;
    examination->found(examination->user, &(struct weir_finding){ .check = row->name, .severity = row->severity,
                                                                  .code = row->code, .problem = problem,
                                                                  .advice = advice });
}

/* ---- Checkpoints ---------------------------------------------------------------------------------------------------- */

/* A start has its own words for all of them, when it opens the store. */
static const struct weir_check missing_parent = {
    "checkpoint-directory-missing", WEIR_SEVERITY_ERROR, WEIR_OK,
    "the checkpoint directory '{0}' cannot be made: there is no directory '{1}'",
    "Make that directory, or name another one with --checkpoint-dir.",
};
static const struct weir_check not_writable = {
    "checkpoint-directory-not-writable", WEIR_SEVERITY_ERROR, WEIR_OK,
    "checkpoints cannot be written in '{0}': {1}",
    "Give the job's user the right to write there, mount the file system for writing, or name another directory.",
};
static const struct weir_check lies_in_memory = {
    "checkpoint-directory-volatile", WEIR_SEVERITY_WARNING, WEIR_OK,
    "the checkpoint directory '{0}' lies in memory: it does not survive a reboot",
    "Name a directory on a disk; a job whose checkpoints are gone cannot go on where it stood.",
};
static const struct weir_check is_nearly_full = {
    "checkpoint-directory-nearly-full", WEIR_SEVERITY_WARNING, WEIR_OK,
    "the file system of the checkpoint directory '{0}' has {1} MiB left",
    "Make room there, or name a directory on a larger disk; a job whose disk is full ends with exit code 7.",
};
static const struct weir_check ends_with_process = {
    "checkpoints-in-process", WEIR_SEVERITY_WARNING, WEIR_OK,
    "checkpoints lie in the memory of this process (execution.checkpointing.storage: jobmanager) and end with it",
    "Use filesystem for anything but trials.",
};

/* Cuts the last part off. */
static void parent_of(char path[static PATH_MAX])
{
    char *end = path + strlen(path);
    while (end > path + 1 && end[-1] == '/') *--end = '\0';
    char *slash = strrchr(path, '/');
    if (slash == NULL) (void)snprintf(path, PATH_MAX, ".");
    else slash[slash == path ? 1 : 0] = '\0';
}

static void examine_room(struct weir_examination *examination, const char *path, const char *directory)
{
    struct statvfs room;
    char left[24];
    if (statvfs(path, &room) != 0 || (uint64_t)room.f_bavail * room.f_frsize / 1048576 >= ROOM_MIN_MB) return;
    (void)snprintf(left, sizeof(left), "%" PRIu64, (uint64_t)room.f_bavail * room.f_frsize / 1048576);
    weir_report(examination, &is_nearly_full, directory, left);
}

/* The job's folder, else the directory that it will be made in, else the one that this will be made in. Writing is asked for
 * and not tried, so that nothing is left behind. */
static void examine_directory(struct weir_examination *examination, const char *directory, const char *job)
{
    char path[PATH_MAX];
    (void)snprintf(path, sizeof(path), "%s/%s", directory, job);
    if (access(path, F_OK) != 0) (void)snprintf(path, sizeof(path), "%s", directory);
    if (access(path, F_OK) != 0) parent_of(path);
    if (access(path, F_OK) != 0) {
        weir_report(examination, &missing_parent, directory, path);
    } else if (access(path, W_OK | X_OK) != 0) {
        weir_report(examination, &not_writable, path, strerror(errno));
    } else {
        if (disk_system.is_volatile(disk_system.user, path)) weir_report(examination, &lies_in_memory, directory);
        examine_room(examination, path, directory);
    }
}

void examine_checkpoints(struct weir_examination *examination, const weir_config *config, const char *job)
{
    const char *directory = weir_config_text(config, "execution.checkpointing.dir");
    const char *storage = weir_config_text(config, "execution.checkpointing.storage");
    if (strcasecmp(storage, "jobmanager") == 0) weir_report(examination, &ends_with_process, "");
    else if (directory != NULL) examine_directory(examination, directory, job);
}

/* ---- The verdict of a start ----------------------------------------------------------------------------------------- */

void examine_judge(void *user, const struct weir_finding *finding)
{
    struct examine_verdict *verdict = user;
    if (finding->severity == WEIR_SEVERITY_WARNING)
        weir_log(verdict->environment, WEIR_LOG_WARN, "%s. %s (%s)", finding->problem, finding->advice, finding->check);
    if (finding->severity != WEIR_SEVERITY_ERROR || finding->code == WEIR_OK) return;
    if (verdict->error.code == WEIR_OK)
        weir_error_set(&verdict->error, finding->code, WEIR_REMEDY_STOP, "%s. %s (%s)", finding->problem,
                       finding->advice, finding->check);
    else verdict->more++;
    weir_log(verdict->environment, WEIR_LOG_DEBUG, "%s: %s", finding->check, finding->problem);
}
