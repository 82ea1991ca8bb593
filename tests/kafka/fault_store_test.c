/* Checkpoints that are damaged, and disks that are full. */
#include <check.h>
#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "harness/broker.h"
#include "harness/sequences.h"
#include "harness/unit.h"
#include "harness/words.h"
#include "weir/connector.h"

/* ---- A store to be damaged ------------------------------------------------------------------------------------------ */

struct history {
    struct words_job job;
    char folder[600];          /* the store */
    char pristine[600];        /* a copy of it */
    char older[600];           /* as it was one run before */
    struct weir_frame_name newest;
    char base[300];            /* a base that the newest checkpoint names */
};

static void shell(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void shell(const char *format, ...)
{
    char command[2000];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(command, sizeof command, format, arguments);
    va_end(arguments);
    ck_assert_msg(system(command) == 0, "failed: %s", command);
}

/* The name that the newest record of the ledger gives. */
static struct weir_frame_name newest_frame(const char *job)
{
    char ledger[300];
    struct weir_error error;
    struct weir_frame_name name = { 0 };
    (void)snprintf(ledger, sizeof ledger, "%s-ledger", job);
    struct broker_records records = broker_read(ledger, 0, 0, true);
    for (size_t i = 0; i < records.count; i++) {
        struct weir_ledger_entry entry;
        ck_assert_msg(weir_ledger_decode(records.items[i].value, &entry, &error) == WEIR_OK, "%s", error.text);
        name = entry.frame;
        weir_ledger_entry_clear(&entry);
    }
    broker_records_free(&records);
    return name;
}

static bool find_file(const char *folder, const char *prefix, char *name, size_t size)
{
    bool found = false;
    DIR *directory = opendir(folder);
    ck_assert_ptr_nonnull(directory);
    for (const struct dirent *entry; (entry = readdir(directory)) != NULL;) {
        if (strncmp(entry->d_name, prefix, strlen(prefix)) != 0) continue;
        (void)snprintf(name, size, "%s", entry->d_name);
        found = true;
    }
    closedir(directory);
    return found;
}

/* A job that has a base, and a few frames behind it. */
static void make_history(struct history *history)
{
    struct process process;
    history->job = words_job(1, 1);
    (void)snprintf(history->folder, sizeof history->folder, "%s/%s", history->job.options.checkpoints, history->job.job);
    (void)snprintf(history->pristine, sizeof history->pristine, "%s", process_path("pristine"));
    (void)snprintf(history->older, sizeof history->older, "%s", process_path("older"));
    words_set(&history->job, "-X", "state.recovery.max-frames=3");
    words_set(&history->job, "-X", "state.log.segment-size=64kb");
    words_start(&history->job, &process);
    for (int i = 1; i < 1000 && (i < 6 || !find_file(history->folder, "base-", history->base, sizeof history->base)); i++) {
        char expected[32];
        words_put(history->job.input, 0, "a");
        (void)snprintf(expected, sizeof expected, "a=%d", i);
        words_await(history->job.output, 1, expected);
    }
    process_stop(&process);
    words_set(&history->job, "-X", "state.recovery.max-frames=1000"); /* the later one counts: no more bases */
    words_put(history->job.input, 0, "b");
    words_run(&history->job);
    shell("cp -a '%s' '%s'", history->folder, history->older);
    words_put(history->job.input, 0, "b");
    words_run(&history->job);
    shell("cp -a '%s' '%s'", history->folder, history->pristine);
    ck_assert(find_file(history->folder, "base-", history->base, sizeof history->base));
    history->newest = newest_frame(history->job.job);
}

static void heal(const struct history *history)
{
    shell("rm -rf '%s' && cp -a '%s' '%s'", history->folder, history->pristine, history->folder);
}

/* What weir checkpoint verify says, with the ledger at hand; `file` "" = it is whole. */
static void expect_verdict(const struct history *history, const char *what, const char *file)
{
    struct process process;
    const char *const arguments[] = { WEIR_BINARY_DIR "/apps/weir", "checkpoint", "verify", history->folder, "--brokers",
                                      broker_address(), NULL };
    process_start(&process, arguments, NULL);
    const int status = process_wait(&process);
    ck_assert_msg(status == (file[0] == '\0' ? 0 : 4), "%s: verify ended with %d; see %s, %s", what, status, process.out,
                  process.log);
    if (file[0] != '\0') shell("grep -q -e '%s' '%s' '%s'", file, process.out, process.log);
    process_free(&process);
}

/* F15: stops before anything runs, and names the file, as the weir command does. Then heals the store. */
static void expect_damage(const struct history *history, const char *what, const char *file)
{
    struct process process;
    expect_verdict(history, what, file);
    process_start_job(&process, &history->job.options, "--bounded", NULL);
    const int status = process_wait(&process);
    ck_assert_msg(status == 4, "%s: ended with %d instead of 4; see %s", what, status, process.log);
    ck_assert_msg(process_log_has(&process, file), "%s: %s does not name '%s'", what, process.log, file);
    ck_assert_msg(!process_log_has(&process, "running, incarnation"), "%s: it ran before it stopped", what);
    process_free(&process);
    heal(history);
}

static void change_byte(const char *folder, const char *file, uint64_t offset, unsigned char bits)
{
    char path[1200];
    unsigned char byte;
    (void)snprintf(path, sizeof path, "%s/%s", folder, file);
    const int descriptor = open(path, O_RDWR);
    ck_assert_int_ge(descriptor, 0);
    ck_assert_int_eq(pread(descriptor, &byte, 1, (off_t)offset), 1);
    byte ^= bits;
    ck_assert_int_eq(pwrite(descriptor, &byte, 1, (off_t)offset), 1);
    close(descriptor);
}

static int64_t size_of(const char *folder, const char *file)
{
    char path[1200];
    struct stat status;
    (void)snprintf(path, sizeof path, "%s/%s", folder, file);
    ck_assert_int_eq(stat(path, &status), 0);
    return status.st_size;
}

static void expect_damage_of_cuts(const struct history *history, const char *file, uint64_t begin, uint64_t end)
{
    const uint64_t sizes[] = { 0, begin, begin + 1, begin + 63, begin + (end - begin) / 2, end - 1 };
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        char what[100];
        (void)snprintf(what, sizeof what, "cut to %" PRIu64, sizes[i]);
        shell("truncate -s %" PRIu64 " '%s/%s'", sizes[i], history->folder, file);
        expect_damage(history, what, file);
    }
}

static void expect_damage_of_flips(const struct history *history, const char *file, uint64_t begin, uint64_t end,
                                   uint64_t *random)
{
    for (int i = 0; i < 8; i++) {
        char what[100];
        const uint64_t offset = i == 0 ? begin : i == 1 ? end - 1 : begin + unit_random(random) % (end - begin);
        const unsigned char bits = (unsigned char)(1u << unit_random_below(random, 8));
        (void)snprintf(what, sizeof what, "bits %x flipped at %" PRIu64, bits, offset);
        change_byte(history->folder, file, offset, bits);
        expect_damage(history, what, file);
    }
}

static void expect_goes_on(struct history *history)
{
    expect_verdict(history, "healed", "");
    words_put(history->job.input, 0, "c");
    words_run(&history->job);
    ck_assert_ptr_nonnull(strstr(words_read(history->job.output, 1), "b=2 c=1"));
    words_expect_all_committed(&history->job);
}

START_TEST(a_damaged_frame_is_named_and_nothing_runs)
{
    struct history history;
    uint64_t random = unit_seed();
    make_history(&history);
    const char *file = history.newest.file;
    const uint64_t begin = history.newest.offset, end = begin + history.newest.length;
    expect_damage_of_cuts(&history, file, begin, end);
    expect_damage_of_flips(&history, file, begin, end, &random);
    shell("dd if=/dev/zero of='%s/%s' bs=1 seek=%" PRIu64 " count=%" PRIu64 " conv=notrunc status=none", history.folder,
          file, begin, end - begin);
    expect_damage(&history, "zeroed", file);
    shell("rm '%s/%s'", history.folder, file);
    expect_damage(&history, "missing", file);
    expect_goes_on(&history);
}
END_TEST

START_TEST(a_damaged_base_is_named_and_nothing_runs)
{
    struct history history;
    uint64_t random = unit_seed();
    make_history(&history);
    const uint64_t end = (uint64_t)size_of(history.folder, history.base);
    expect_damage_of_cuts(&history, history.base, 32, end);
    expect_damage_of_flips(&history, history.base, 0, end, &random);
    shell("truncate -s +100 '%s/%s'", history.folder, history.base);
    expect_damage(&history, "longer", history.base);
    shell("dd if=/dev/zero of='%s/%s' bs=1 count=%" PRIu64 " conv=notrunc status=none", history.folder, history.base, end);
    expect_damage(&history, "zeroed", history.base);
    shell("rm '%s/%s'", history.folder, history.base);
    expect_damage(&history, "missing", history.base);
    expect_goes_on(&history);
}
END_TEST

START_TEST(an_older_store_is_not_taken_for_the_newest)
{
    struct history history;
    make_history(&history);
    shell("rm -rf '%s' && cp -a '%s' '%s'", history.folder, history.older, history.folder);
    expect_damage(&history, "older store", history.newest.file);
    shell("rm '%s'/log-*", history.folder);
    expect_damage(&history, "no logs", history.newest.file);
    shell("rm '%s'/*", history.folder); /* the id too: then it is another store */
    struct process process;
    process_start_job(&process, &history.job.options, "--bounded", NULL);
    process_expect_end(&process, 8, "belongs to another checkpoint store");
    process_free(&process);
    heal(&history);
    shell("printf 'x' >'%s/store'", history.folder);
    expect_damage(&history, "store id", "store");
    expect_goes_on(&history);
}
END_TEST

/* ---- Full disks ----------------------------------------------------------------------------------------------------- */

/* F13: the job runs until the disk is full, says so, stops with 7 when its patience ends, and is clean after a restart. */
static void run_until_full(struct sequences *sequences, void (*fill)(struct process *process), const char *text)
{
    struct process process;
    sequences_set(sequences, "-X", "store.patience=1s");
    sequences_set(sequences, "-X", "state.log.segment-size=64kb");
    process_start_job(&process, &sequences->options, NULL);
    process_await_running(&process);
    sequences_await_commits(sequences, &process, 5);
    fill(&process);
    process_expect_end(&process, 7, text);
    ck_assert(process_log_has(&process, "trying again in another file"));
    process_free(&process);
}

static void finish_with_room(struct sequences *sequences)
{
    struct process process;
    process_start_job(&process, &sequences->options, NULL);
    process_await_running(&process);
    sequences_await_commits(sequences, &process, 5);
    sequences_finish(sequences, &process);
}

/* No file may grow any more: what was made ready before is used up, then nothing new can be had. */
static void limit_files(struct process *process)
{
    const struct rlimit limit = { .rlim_cur = 32 * 1024, .rlim_max = RLIM_INFINITY };
    ck_assert_int_eq(prlimit(process->pid, RLIMIT_FSIZE, &limit, NULL), 0);
}

START_TEST(a_disk_that_takes_no_more_stops_the_job_with_7)
{
    struct sequences sequences;
    sequences_start(&sequences, 1, 500);
    run_until_full(&sequences, limit_files, "log-");
    finish_with_room(&sequences);
}
END_TEST

static char filler[600];

static void fill_disk(struct process *process)
{
    (void)process;
    char block[4096] = { 0 };
    const int file = open(filler, O_WRONLY | O_CREAT, 0666);
    ck_assert_int_ge(file, 0);
    while (write(file, block, sizeof block) > 0) {}
    close(file);
}

/* Needs the right to mount; the mount is seen by this process and its children only, and goes with it. */
START_TEST(a_full_disk_stops_the_job_with_7_and_room_is_enough_to_go_on)
{
    struct sequences sequences;
    if (unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0) {
        (void)printf("skipped: no right to mount a small disk\n");
        return;
    }
    sequences_start(&sequences, 1, 500);
    mkdir(sequences.topics.checkpoints, 0777);
    ck_assert_int_eq(mount("weir", sequences.topics.checkpoints, "tmpfs", 0, "size=2m"), 0);
    (void)snprintf(filler, sizeof filler, "%s/filler", sequences.topics.checkpoints);
    run_until_full(&sequences, fill_disk, "No space left");
    ck_assert_int_eq(unlink(filler), 0);
    finish_with_room(&sequences);
    umount2(sequences.topics.checkpoints, MNT_DETACH);
}
END_TEST

START_TEST(a_directory_without_rights_stops_the_job_with_7)
{
    struct words_job job = words_job(1, 1);
    struct process process;
    char parent[600];
    (void)snprintf(parent, sizeof parent, "%s/file/below", process_folder());
    shell("touch '%s/file'", process_folder());
    job.options.checkpoints = parent;
    process_start_job(&process, &job.options, "--bounded", NULL);
    process_expect_end(&process, 7, "file");
    process_free(&process);
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_test(tests, a_damaged_frame_is_named_and_nothing_runs);
    tcase_add_test(tests, a_damaged_base_is_named_and_nothing_runs);
    tcase_add_test(tests, an_older_store_is_not_taken_for_the_newest);
    tcase_add_test(tests, a_disk_that_takes_no_more_stops_the_job_with_7);
    tcase_add_test(tests, a_full_disk_stops_the_job_with_7_and_room_is_enough_to_go_on);
    tcase_add_test(tests, a_directory_without_rights_stops_the_job_with_7);
}

int main(void)
{
    setlinebuf(stdout);
    broker_start(1);
    return unit_main("stores", add);
}
