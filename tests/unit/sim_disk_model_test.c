/* The simulator's disk: what a sync promises, and what it does not. */
#include "sim/disk_model.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "checkpoint/store.h"
#include "harness/sample_manifest.h"
#include "harness/unit.h"

#define ROUNDS 400
#define SECTOR 512

static uint64_t seed;
static struct disk_model *model;
static const struct disk *disk;

static void new_disk(uint64_t round)
{
    disk_model_destroy(model);
    model = disk_model_create(seed + round);
    disk = disk_model_table(model);
}

/* Each round another disk, and false after the last: what may happen is looked for until it has. */
static bool another_disk(uint64_t round)
{
    if (round == ROUNDS) return false;
    new_disk(round);
    return true;
}

static void set_up(void)
{
    new_disk(0);
}

static void tear_down(void)
{
    disk_model_destroy(model);
    model = NULL;
}

static int create(const char *path)
{
    const int file = disk->open(disk->user, path, DISK_CREATE);
    ck_assert_int_gt(file, 0);
    return file;
}

static void put(int file, const char *text, uint64_t offset)
{
    ck_assert_int_eq(disk_write_all(disk, file, text, strlen(text), offset), 0);
}

/* `count` sectors full of one letter. */
static void put_sectors(int file, char letter, uint64_t first, size_t count)
{
    char data[16 * SECTOR];
    ck_assert_uint_le(count, 16);
    memset(data, letter, count * SECTOR);
    ck_assert_int_eq(disk_write_all(disk, file, data, count * SECTOR, first * SECTOR), 0);
}

static int create_with(const char *path, const char *text)
{
    const int file = create(path);
    put(file, text, 0);
    return file;
}

static void make_directory(const char *path) { ck_assert_int_eq(disk->make_directory(disk->user, path), 0); }
static void sync_file(int file) { ck_assert_int_eq(disk->sync(disk->user, file), 0); }
static void sync_names(const char *path) { ck_assert_int_eq(disk->sync_directory(disk->user, path), 0); }

static void fail_sync_file(int file)
{
    disk_model_set_faults(model, &(struct disk_faults){ .sync_error = 1000000 });
    ck_assert_int_eq(disk->sync(disk->user, file), -EIO);
    disk_model_set_faults(model, &(struct disk_faults){ 0 });
}

/* A file of `count` sectors of 'o' that is safe, name included. */
static int create_safe(const char *path, size_t count)
{
    const int file = create(path);
    put_sectors(file, 'o', 0, count);
    sync_file(file);
    sync_names("/");
    return file;
}

static bool exists(const char *path)
{
    uint64_t size;
    return disk_model_contents(model, path, &size) != NULL;
}

static uint64_t size_of(const char *path)
{
    uint64_t size;
    ck_assert_ptr_nonnull(disk_model_contents(model, path, &size));
    return size;
}

/* The letter that a sector is full of. */
static char sector_at(const char *path, uint64_t sector)
{
    uint64_t size;
    const char *bytes = disk_model_contents(model, path, &size);
    ck_assert_ptr_nonnull(bytes);
    ck_assert_uint_ge(size, (sector + 1) * SECTOR);
    for (size_t i = 1; i < SECTOR; i++) unit_expect(bytes[sector * SECTOR + i] == bytes[sector * SECTOR]);
    return bytes[sector * SECTOR];
}

static void assert_reads(const char *path, const char *text)
{
    char data[256] = "";
    const int file = disk->open(disk->user, path, DISK_READ);
    ck_assert_int_gt(file, 0);
    ck_assert_int_eq(disk->size(disk->user, file), (int64_t)strlen(text));
    ck_assert_int_eq(disk_read_all(disk, file, data, strlen(text), 0), 0);
    ck_assert_str_eq(data, text);
    disk->close(disk->user, file);
}

/* ---- Contents ----------------------------------------------------------------------------------------------------- */

START_TEST(what_is_written_reads_back_at_once)
{
    const int file = create_with("/a", "hello");
    put(file, "y you", 4);
    assert_reads("/a", "helly you");
    put(file, "", 100); /* nothing */
    assert_reads("/a", "helly you");
    put(file, "!", 12);
    ck_assert_int_eq(disk->size(disk->user, file), 13);
    char gap[4];
    ck_assert_int_eq(disk->read(disk->user, file, gap, 4, 9), 4);
    ck_assert_int_eq(memcmp(gap, "\0\0\0!", 4), 0);
    ck_assert_int_eq(disk->read(disk->user, file, gap, 4, 12), 1);
    ck_assert_int_eq(disk->read(disk->user, file, gap, 4, 13), 0);
    disk->close(disk->user, file);
}
END_TEST

START_TEST(what_was_synced_survives_and_what_was_not_is_kept_lost_or_torn)
{
    uint64_t kept = 0, lost = 0, torn = 0;
    for (uint64_t round = 0; another_disk(round); round++) {
        const int file = create_safe("/a", 8);
        put_sectors(file, 's', 0, 1);
        sync_file(file);
        put_sectors(file, 'n', 2, 4);
        disk_model_cut_power(model);
        ck_assert_int_eq(sector_at("/a", 0), 's');
        ck_assert_int_eq(sector_at("/a", 1), 'o');
        uint64_t news = 0;
        for (uint64_t i = 2; i < 6; i++) {
            const char letter = sector_at("/a", i);
            ck_assert(letter == 'o' || letter == 'n');
            news += letter == 'n';
        }
        ck_assert_int_eq(sector_at("/a", 6), 'o');
        kept += news == 4, lost += news == 0, torn += news > 0 && news < 4;
    }
    ck_assert_uint_gt(kept, 5);
    ck_assert_uint_gt(lost, 5);
    ck_assert_uint_gt(torn, 5);
}
END_TEST

START_TEST(of_one_sector_nothing_is_newer_than_the_rest)
{
    uint64_t seen[3] = { 0 };
    for (uint64_t round = 0; another_disk(round); round++) {
        const int file = create_safe("/a", 1);
        put(file, "1", 10);
        put(file, "2", 20);
        disk_model_cut_power(model);
        uint64_t size;
        const char *bytes = disk_model_contents(model, "/a", &size);
        ck_assert_uint_eq(size, SECTOR);
        const bool first = bytes[10] == '1', second = bytes[20] == '2';
        ck_assert(first || !second);
        seen[first + second]++;
    }
    for (int i = 0; i < 3; i++) ck_assert_uint_gt(seen[i], 2);
}
END_TEST

START_TEST(a_later_write_may_arrive_without_an_earlier_one)
{
    uint64_t swapped = 0;
    for (uint64_t round = 0; another_disk(round); round++) {
        const int file = create_safe("/a", 8);
        put_sectors(file, '1', 0, 1);
        put_sectors(file, '2', 5, 1);
        disk_model_cut_power(model);
        swapped += sector_at("/a", 0) == 'o' && sector_at("/a", 5) == '2';
    }
    ck_assert_uint_gt(swapped, 2);
}
END_TEST

START_TEST(length_and_contents_go_their_own_ways)
{
    uint64_t empty = 0, long_but_zero = 0, whole = 0, between = 0;
    for (uint64_t round = 0; another_disk(round); round++) {
        const int file = create_safe("/a", 1);
        put_sectors(file, 'n', 1, 1);
        put_sectors(file, 'm', 2, 1);
        disk_model_cut_power(model);
        const uint64_t sectors = size_of("/a") / SECTOR;
        ck_assert_uint_ge(sectors, 1);
        ck_assert_uint_le(sectors, 3);
        ck_assert_int_eq(sector_at("/a", 0), 'o');
        empty += sectors == 1, between += sectors == 2;
        if (sectors < 3) continue;
        ck_assert(sector_at("/a", 1) == 0 || sector_at("/a", 1) == 'n');
        long_but_zero += sector_at("/a", 1) == 0 && sector_at("/a", 2) == 0;
        whole += sector_at("/a", 1) == 'n' && sector_at("/a", 2) == 'm';
    }
    ck_assert_uint_gt(empty, 2);
    ck_assert_uint_gt(between, 2);
    ck_assert_uint_gt(long_but_zero, 2);
    ck_assert_uint_gt(whole, 2);
}
END_TEST

START_TEST(what_is_cut_off_by_a_lost_length_does_not_come_back)
{
    for (uint64_t round = 0; another_disk(round); round++) {
        const int file = create_safe("/a", 1);
        put_sectors(file, 'n', 1, 2);
        disk_model_cut_power(model);
        const uint64_t sectors = size_of("/a") / SECTOR;
        const int again = disk->open(disk->user, "/a", DISK_UPDATE);
        ck_assert_int_gt(again, file); /* numbers are not used again */
        put_sectors(again, 'l', 5, 1);
        sync_file(again);
        disk_model_cut_power(model);
        ck_assert_uint_eq(size_of("/a"), 6 * SECTOR);
        for (uint64_t i = sectors; i < 5; i++) ck_assert_int_eq(sector_at("/a", i), 0);
    }
}
END_TEST

START_TEST(an_allocated_and_synced_file_keeps_its_length)
{
    uint64_t lost = 0;
    for (uint64_t round = 0; another_disk(round); round++) {
        const int file = create("/a");
        ck_assert_int_eq(disk->allocate(disk->user, file, 8 * SECTOR), 0);
        ck_assert_int_eq(disk->size(disk->user, file), 8 * SECTOR);
        ck_assert_int_eq(disk->allocate(disk->user, file, SECTOR), 0); /* never shorter */
        sync_names("/");
        if (round % 2 == 0) sync_file(file);
        put_sectors(file, 'n', 0, 2);
        disk_model_cut_power(model);
        if (round % 2 == 0) ck_assert_uint_eq(size_of("/a"), 8 * SECTOR);
        else lost += size_of("/a") < 8 * SECTOR;
    }
    ck_assert_uint_gt(lost, 2);
}
END_TEST

START_TEST(a_failed_sync_loses_what_it_should_have_written_and_the_next_one_does_not_bring_it_back)
{
    uint64_t lost = 0, kept = 0;
    for (uint64_t round = 0; another_disk(round); round++) {
        const int file = create_safe("/a", 2);
        put_sectors(file, 'n', 0, 1);
        fail_sync_file(file);
        ck_assert_int_eq(sector_at("/a", 0), 'n'); /* it reads as if nothing had happened */
        put_sectors(file, 'm', 1, 1);
        sync_file(file);
        disk_model_cut_power(model);
        ck_assert_int_eq(sector_at("/a", 1), 'm');
        lost += sector_at("/a", 0) == 'o', kept += sector_at("/a", 0) == 'n';
    }
    ck_assert_uint_gt(lost, 5);
    ck_assert_uint_gt(kept, 5);
    ck_assert_uint_eq(disk_model_counts(model).errors, 1);
}
END_TEST

START_TEST(what_is_written_and_synced_behind_a_failed_sync_is_safe)
{
    for (uint64_t round = 0; another_disk(round); round++) {
        const int file = create_safe("/a", 1);
        put_sectors(file, 'n', 1, 5);
        fail_sync_file(file);
        put_sectors(file, 'm', 2, 1); /* within the length that was lost, perhaps */
        sync_file(file);
        disk_model_cut_power(model);
        ck_assert_int_eq(sector_at("/a", 2), 'm');
    }
}
END_TEST

/* Any number of writes and syncs: each sector holds what it held at its last sync, or something that was written
 * later. */
START_TEST(a_sector_never_falls_behind_its_last_sync)
{
    enum { SECTORS = 16, STEPS = 60 };
    for (uint64_t round = 0; another_disk(round); round++) {
        uint64_t random = seed + round;
        const int file = create_safe("/a", SECTORS);
        char written[SECTORS], synced[SECTORS];
        memset(written, 1, sizeof written);
        memset(synced, 1, sizeof synced);
        for (char step = 2; step < STEPS; step++) {
            const size_t first = unit_random_below(&random, SECTORS);
            const size_t count = 1 + unit_random_below(&random, (uint32_t)(SECTORS - first));
            put_sectors(file, step, first, count);
            memset(written + first, step, count);
            if (!unit_chance(&random, 10)) continue;
            sync_file(file);
            memcpy(synced, written, sizeof synced);
        }
        disk_model_cut_power(model);
        for (size_t i = 0; i < SECTORS; i++) {
            const char found = sector_at("/a", i) == 'o' ? 1 : sector_at("/a", i);
            unit_expect(found >= synced[i] && found <= written[i]);
        }
    }
}
END_TEST

START_TEST(a_killed_process_loses_nothing)
{
    disk_model_set_owner(model, 7);
    const int file = create("/a"), other = create("/c");
    put(file, "unsynced", 0);
    disk_model_set_owner(model, 8);
    const int neighbour = create("/b");
    disk_model_close_owner(model, 7);
    ck_assert_int_eq(disk->size(disk->user, file), -EBADF);
    ck_assert_int_eq(disk->write(disk->user, other, "x", 1, 0), -EBADF);
    ck_assert_int_eq(disk->size(disk->user, neighbour), 0);
    assert_reads("/a", "unsynced");
}
END_TEST

/* ---- Names -------------------------------------------------------------------------------------------------------- */

START_TEST(syncing_a_file_promises_nothing_about_its_name)
{
    uint64_t lost = 0;
    for (uint64_t round = 0; another_disk(round); round++) {
        const int file = create_with("/a", "safe");
        sync_file(file);
        disk_model_cut_power(model);
        if (exists("/a")) assert_reads("/a", "safe");
        else lost++;
    }
    ck_assert_uint_gt(lost, 5);
}
END_TEST

START_TEST(syncing_a_directory_promises_nothing_about_contents)
{
    uint64_t lost = 0;
    for (uint64_t round = 0; another_disk(round); round++) {
        (void)create_with("/a", "unsafe");
        sync_names("/");
        disk_model_cut_power(model);
        ck_assert(exists("/a"));
        lost += size_of("/a") == 0;
    }
    ck_assert_uint_gt(lost, 5);
}
END_TEST

START_TEST(names_are_lost_one_by_one)
{
    uint64_t later_alone = 0;
    for (uint64_t round = 0; another_disk(round); round++) {
        (void)create("/a");
        (void)create("/b");
        disk_model_cut_power(model);
        later_alone += !exists("/a") && exists("/b");
    }
    ck_assert_uint_gt(later_alone, 5);
    ck_assert_uint_eq(disk_model_counts(model).lost_writes, 0);
}
END_TEST

START_TEST(a_rename_is_there_or_not)
{
    uint64_t kept = 0;
    for (uint64_t round = 0; another_disk(round); round++) {
        (void)create_safe("/a", 1);
        ck_assert_int_eq(disk->rename(disk->user, "/a", "/b", false), 0);
        ck_assert(!exists("/a") && exists("/b"));
        disk_model_cut_power(model);
        ck_assert(exists("/a") != exists("/b"));
        ck_assert_int_eq(sector_at(exists("/a") ? "/a" : "/b", 0), 'o');
        kept += exists("/b");
    }
    ck_assert_uint_gt(kept, 5);
    ck_assert_uint_lt(kept, ROUNDS - 5);
}
END_TEST

START_TEST(a_rename_over_a_file_leaves_the_old_one_or_the_new_one)
{
    uint64_t kept = 0;
    for (uint64_t round = 0; another_disk(round); round++) {
        const int file = create_safe("/target", 1);
        (void)create_safe("/source", 2);
        ck_assert_int_eq(disk->rename(disk->user, "/source", "/target", false), -EEXIST);
        ck_assert_int_eq(disk->rename(disk->user, "/source", "/target", true), 0);
        ck_assert_int_eq(disk->size(disk->user, file), SECTOR); /* still there for those who have it open */
        if (round % 2 == 0) sync_names("/");
        disk_model_cut_power(model);
        ck_assert(exists("/target"));
        ck_assert_uint_eq(size_of("/target"), exists("/source") ? SECTOR : 2 * SECTOR);
        if (round % 2 == 0) ck_assert(!exists("/source"));
        else kept += !exists("/source");
    }
    ck_assert_uint_gt(kept, 2);
    ck_assert_uint_lt(kept, ROUNDS / 2 - 2);
}
END_TEST

START_TEST(what_was_removed_may_come_back_until_its_directory_is_synced)
{
    uint64_t back = 0;
    for (uint64_t round = 0; another_disk(round); round++) {
        (void)create_safe("/a", 1);
        ck_assert_int_eq(disk->remove(disk->user, "/a"), 0);
        if (round % 2 == 0) sync_names("/");
        disk_model_cut_power(model);
        if (round % 2 == 0) ck_assert(!exists("/a"));
        else back += exists("/a");
    }
    ck_assert_uint_gt(back, 5);
}
END_TEST

START_TEST(a_directory_is_a_name_too)
{
    uint64_t lost = 0;
    for (uint64_t round = 0; another_disk(round); round++) {
        make_directory("/d");
        make_directory("/d/e");
        const int file = create_with("/d/e/a", "safe");
        sync_file(file);
        sync_names("/d/e");
        sync_names("/d");
        if (round % 2 == 0) sync_names("/");
        disk_model_cut_power(model);
        if (round % 2 == 0) assert_reads("/d/e/a", "safe");
        else lost += disk->make_directory(disk->user, "/d") == 0;
    }
    ck_assert_uint_gt(lost, 5);
}
END_TEST

START_TEST(a_directory_whose_sync_failed_comes_along_with_its_next_change)
{
    uint64_t lost = 0;
    for (uint64_t round = 0; another_disk(round); round++) {
        (void)create("/a");
        disk_model_set_faults(model, &(struct disk_faults){ .sync_error = 1000000 });
        ck_assert_int_eq(disk->sync_directory(disk->user, "/"), -EIO);
        disk_model_set_faults(model, &(struct disk_faults){ 0 });
        ck_assert(exists("/a"));
        if (round % 2 == 0) (void)create("/b");
        sync_names("/"); /* alone it does not try again */
        disk_model_cut_power(model);
        if (round % 2 == 0) ck_assert(exists("/a") && exists("/b"));
        else lost += !exists("/a");
    }
    ck_assert_uint_gt(lost, 5);
}
END_TEST

static void count_name(void *user, const char *name)
{
    char path[16];
    uint64_t *names = user;
    (void)snprintf(path, sizeof path, "/d/%s", name);
    *names = *names * 10 + (uint64_t)(name[0] - '0');
    ck_assert_int_eq(disk->remove(disk->user, path), 0);
}

START_TEST(names_are_listed_in_no_order_and_may_change_meanwhile)
{
    uint64_t others = 0, first = 0;
    for (uint64_t round = 0; round < 20; round++) {
        new_disk(round);
        make_directory("/d");
        (void)create("/d/1"), (void)create("/d/2"), (void)create("/d/3");
        uint64_t names = 0;
        ck_assert_int_eq(disk->list(disk->user, "/d", count_name, &names), 0);
        ck_assert_uint_gt(names, 100);
        if (first == 0) first = names;
        others += names != first;
        names = 0;
        ck_assert_int_eq(disk->list(disk->user, "/d", count_name, &names), 0);
        ck_assert_uint_eq(names, 0);
    }
    ck_assert_uint_gt(others, 5);
}
END_TEST

START_TEST(mistakes_have_the_numbers_that_linux_gives_them)
{
    const int file = create("/a");
    make_directory("/d");
    ck_assert_int_eq(disk->make_directory(disk->user, "/d"), -EEXIST);
    ck_assert_int_eq(disk->make_directory(disk->user, "/a"), -EEXIST);
    ck_assert_int_eq(disk->make_directory(disk->user, "/none/d"), -ENOENT);
    ck_assert_int_eq(disk->make_directory(disk->user, "/a/d"), -ENOTDIR);
    ck_assert_int_eq(disk->open(disk->user, "/a", DISK_CREATE), -EEXIST);
    ck_assert_int_eq(disk->open(disk->user, "/none", DISK_READ), -ENOENT);
    ck_assert_int_eq(disk->open(disk->user, "/none", DISK_UPDATE), -ENOENT);
    ck_assert_int_eq(disk->open(disk->user, "/d", DISK_UPDATE), -EISDIR);
    ck_assert_int_eq(disk->open(disk->user, "/none/a", DISK_CREATE), -ENOENT);
    ck_assert_int_eq(disk->remove(disk->user, "/none"), -ENOENT);
    ck_assert_int_eq(disk->remove(disk->user, "/"), -EBUSY);
    ck_assert_int_eq(disk->make_directory(disk->user, "/d/e"), 0);
    ck_assert_int_eq(disk->remove(disk->user, "/d"), -ENOTEMPTY);
    ck_assert_int_eq(disk->remove(disk->user, "/d/e"), 0);
    ck_assert_int_eq(disk->remove(disk->user, "/d/e"), -ENOENT);
    ck_assert_int_eq(disk->rename(disk->user, "/none", "/b", true), -ENOENT);
    ck_assert_int_eq(disk->rename(disk->user, "/a", "/d/a", true), -EXDEV); /* the model's own limit */
    ck_assert_int_eq(disk->sync_directory(disk->user, "/none"), -ENOENT);
    ck_assert_int_eq(disk->sync_directory(disk->user, "/a"), -ENOTDIR);
    ck_assert_int_eq(disk->list(disk->user, "/none", count_name, NULL), -ENOENT);
    const int reader = disk->open(disk->user, "//d/.././a", DISK_READ);
    ck_assert_int_eq(disk->open(disk->user, "/none/../a", DISK_READ), -ENOENT);
    ck_assert_int_eq(disk->open(disk->user, "/d/..", DISK_CREATE), -EEXIST);
    ck_assert_int_eq(disk->sync_directory(disk->user, "/d/../.."), 0);
    ck_assert_int_eq(disk->write(disk->user, reader, "x", 1, 0), -EBADF);
    ck_assert_int_eq(disk->allocate(disk->user, reader, 1), -EBADF);
    disk->close(disk->user, file);
    ck_assert_int_eq(disk->sync(disk->user, file), -EBADF);
    ck_assert_int_eq(disk->size(disk->user, file), -EBADF);
    ck_assert_int_eq(disk->size(disk->user, reader), 0);
    disk_model_cut_power(model);
    ck_assert_int_eq(disk->size(disk->user, reader), -EBADF);
    ck_assert(!disk->is_volatile(disk->user, "/d"));
}
END_TEST

/* ---- Faults ------------------------------------------------------------------------------------------------------- */

START_TEST(a_full_disk_takes_what_fits_and_overwrites_go_on)
{
    disk_model_set_faults(model, &(struct disk_faults){ .capacity_bytes = 2 * 4096 + 1000 });
    const int file = create("/a");
    char data[3000] = { 0 };
    ck_assert_int_eq(disk->write(disk->user, file, data, 600, 0), 600);
    const int other = create("/b");
    ck_assert_int_eq(disk->open(disk->user, "/c", DISK_CREATE), -ENOSPC);
    ck_assert_int_eq(disk->allocate(disk->user, other, 401), -ENOSPC);
    ck_assert_int_eq(disk->size(disk->user, other), 0);
    ck_assert_int_eq(disk->write(disk->user, other, data, 3000, 0), 400);
    ck_assert_int_eq(disk->write(disk->user, other, data, 3000, 400), -ENOSPC);
    ck_assert_int_eq(disk->write(disk->user, file, data, 600, 0), 600);
    ck_assert_int_eq(disk_write_all(disk, file, data, 601, 0), -ENOSPC);
    ck_assert_uint_eq(disk_model_counts(model).full, 4);
    ck_assert_uint_eq(disk_model_counts(model).errors, 0);
    disk->close(disk->user, other);
    ck_assert_int_eq(disk->remove(disk->user, "/b"), 0);
    ck_assert_int_eq(disk_write_all(disk, file, data, 3000, 0), 0);
    /* The limit may come down below what is there. */
    disk_model_set_faults(model, &(struct disk_faults){ .capacity_bytes = 10 });
    ck_assert_int_eq(disk->write(disk->user, file, data, 3000, 0), 3000);
    ck_assert_int_eq(disk->write(disk->user, file, data, 1, 3000), -ENOSPC);
}
END_TEST

START_TEST(what_was_allocated_has_its_room_unless_the_file_system_cannot)
{
    char data[1000] = { 0 };
    struct disk_faults faults = { .capacity_bytes = 2 * 4096 + 1000 };
    disk_model_set_faults(model, &faults);
    const int file = create("/a"), greedy = create("/b");
    ck_assert_int_eq(disk->allocate(disk->user, file, 1000), 0);
    ck_assert_int_eq(disk->write(disk->user, greedy, data, 1, 0), -ENOSPC);
    ck_assert_int_eq(disk->write(disk->user, file, data, 1000, 0), 1000);

    faults.cannot_allocate = true;
    faults.capacity_bytes = 3 * 4096 + 1500;
    disk_model_set_faults(model, &faults);
    const int third = create("/c");
    ck_assert_int_eq(disk->allocate(disk->user, third, 1000), 0);
    ck_assert_int_eq(disk->size(disk->user, third), 0);
    ck_assert_int_eq(disk->write(disk->user, third, data, 1000, 0), 500);
}
END_TEST

START_TEST(reads_and_writes_fail_as_often_as_they_are_told_to)
{
    char data[1000], back[1000];
    memset(data, 'n', sizeof data);
    const int file = create("/a");
    disk_model_set_faults(model, &(struct disk_faults){ .write_error = 500000, .short_write = 500000 });
    uint64_t failed = 0, cut = 0, partly = 0;
    for (int i = 0; i < 1000; i++) {
        const int64_t size = disk->size(disk->user, file);
        const ssize_t put_bytes = disk->write(disk->user, file, data, sizeof data, (uint64_t)size);
        const int64_t grown = disk->size(disk->user, file) - size;
        if (put_bytes == -EIO) partly += grown > 0;
        else ck_assert_int_eq(grown, put_bytes);
        failed += put_bytes == -EIO, cut += put_bytes > 0 && put_bytes < 1000;
        ck_assert_int_le(grown, 1000);
    }
    ck_assert(failed > 400 && failed < 600 && cut > 150 && cut < 350 && partly > 300);
    ck_assert_uint_eq(disk_model_counts(model).errors, failed);
    ck_assert_uint_eq(disk_model_counts(model).writes, 1000);

    disk_model_set_faults(model, &(struct disk_faults){ .read_error = 500000 });
    failed = 0;
    for (int i = 0; i < 1000; i++) failed += disk->read(disk->user, file, back, sizeof back, 0) == -EIO;
    ck_assert(failed > 400 && failed < 600);
    disk_model_set_faults(model, &(struct disk_faults){ .read_error = 0 });
    ck_assert_int_eq(disk_read_all(disk, file, back, sizeof back, 0), 0);
    ck_assert_int_eq(memcmp(data, back, sizeof data), 0);
}
END_TEST

/* ---- Damage, and looking in --------------------------------------------------------------------------------------- */

START_TEST(damage_is_in_the_cache_and_on_the_disk)
{
    for (uint64_t round = 0; another_disk(round); round++) {
        const int file = create_safe("/a", 3);
        put_sectors(file, 'o', 1, 1); /* the same again, on its way */
        ck_assert(disk_model_flip_bit(model, "/a", (SECTOR + 5) * 8));
        ck_assert(disk_model_truncate(model, "/a", 2 * SECTOR));
        for (int i = 0; i < 2; i++) {
            uint64_t size;
            const char *bytes = disk_model_contents(model, "/a", &size);
            ck_assert_uint_eq(size, 2 * SECTOR);
            ck_assert_int_eq(bytes[SECTOR + 5], 'o' ^ 1);
            ck_assert_int_eq(bytes[SECTOR + 4], 'o');
            disk_model_cut_power(model);
        }
        const int again = disk->open(disk->user, "/a", DISK_UPDATE);
        put_sectors(again, 'x', 3, 1);
        ck_assert_int_eq(sector_at("/a", 2), 0); /* what was cut off is gone */
        ck_assert(!disk_model_flip_bit(model, "/a", 4 * SECTOR * 8));
        ck_assert(!disk_model_truncate(model, "/a", 4 * SECTOR));
        ck_assert(!disk_model_flip_bit(model, "/b", 0));
        ck_assert(!disk_model_truncate(model, "/b", 0));
        ck_assert(!disk_model_take_away(model, "/b"));
    }
}
END_TEST

START_TEST(a_file_that_is_brought_back_is_safe)
{
    for (uint64_t round = 0; another_disk(round); round++) {
        (void)create_safe("/a", 3);
        if (round % 2 == 0) ck_assert(disk_model_truncate(model, "/a", SECTOR));
        else ck_assert(disk_model_take_away(model, "/a"));
        ck_assert_int_eq(exists("/a"), round % 2 == 0);
        ck_assert(disk_model_put(model, "/a", "copy", 4));
        for (int i = 0; i < 2; i++) {
            ck_assert_uint_eq(size_of("/a"), 4);
            disk_model_cut_power(model);
        }
        ck_assert(!disk_model_put(model, "/none/a", "copy", 4));
    }
}
END_TEST

static void collect(void *user, const char *path, uint64_t size)
{
    char *text = user;
    const size_t used = strlen(text);
    (void)snprintf(text + used, 200 - used, "%s:%" PRIu64 " ", path, size);
}

START_TEST(files_are_visited_by_path)
{
    char text[200] = "";
    make_directory("/m");
    (void)create_with("/z", "12345");
    (void)create_with("/m/b", "1");
    (void)create("/m/a");
    (void)create("/c");
    disk_model_each_file(model, collect, text);
    ck_assert_str_eq(text, "/c:0 /m/a:0 /m/b:1 /z:5 ");
    uint64_t size;
    ck_assert_ptr_null(disk_model_contents(model, "/m", &size));
    ck_assert_ptr_null(disk_model_contents(model, "/q", &size));
    ck_assert_ptr_nonnull(disk_model_contents(model, "/c", &size));
    ck_assert_uint_eq(size, 0);
}
END_TEST

START_TEST(one_seed_is_one_disk)
{
    uint64_t others = 0;
    for (uint64_t round = 0; round < 50; round++) {
        char first[200] = "", again[200] = "";
        for (int i = 0; i < 2; i++) {
            new_disk(round);
            for (char name[] = "/a"; name[1] <= 'h'; name[1]++) (void)create_with(name, "x");
            disk_model_cut_power(model);
            disk_model_each_file(model, collect, i == 0 ? first : again);
        }
        ck_assert_str_eq(first, again);
        others += strlen(first) > 0 && strlen(first) < 40;
    }
    ck_assert_uint_gt(others, 2);
}
END_TEST

/* ---- The store on it ---------------------------------------------------------------------------------------------- */

/* The model, until the power is out: then nothing reaches it any more. */
static struct {
    struct disk table;
    uint64_t calls_left;
} power;

static bool is_out(void)
{
    if (power.calls_left == 0) return true;
    power.calls_left--;
    return false;
}

static int power_open(void *user, const char *path, enum disk_open how)
{
    return is_out() ? -EIO : disk->open(user, path, how);
}

static ssize_t power_write(void *user, int file, const void *data, size_t size, uint64_t offset)
{
    return is_out() ? -EIO : disk->write(user, file, data, size, offset);
}

static int power_allocate(void *user, int file, uint64_t size)
{
    return is_out() ? -EIO : disk->allocate(user, file, size);
}

static int power_sync(void *user, int file)
{
    return is_out() ? -EIO : disk->sync(user, file);
}

static int power_sync_directory(void *user, const char *path)
{
    return is_out() ? -EIO : disk->sync_directory(user, path);
}

static int power_rename(void *user, const char *source, const char *target, bool replace)
{
    return is_out() ? -EIO : disk->rename(user, source, target, replace);
}

static int power_remove(void *user, const char *path)
{
    return is_out() ? -EIO : disk->remove(user, path);
}

static void power_on(uint64_t calls)
{
    power.table = *disk;
    power.table.open = power_open;
    power.table.write = power_write;
    power.table.allocate = power_allocate;
    power.table.sync = power_sync;
    power.table.sync_directory = power_sync_directory;
    power.table.rename = power_rename;
    power.table.remove = power_remove;
    power.calls_left = calls;
}

enum { FRAMES_MAX = 400, SEGMENT_BYTES = 32768 };

/* What was appended and answered with WEIR_OK. */
struct ledger {
    uint64_t random;
    struct weir_frame_name frames[FRAMES_MAX];
    size_t count;
    uint64_t incarnation, epoch, refused;
};

/* `segment_bytes` 0: the store's default. */
static enum weir_code open_store(const struct disk *table, uint64_t segment_bytes, struct store **store,
                                 struct weir_error *error)
{
    static struct weir_environment environment;
    environment_init_system(&environment);
    const struct store_options options = { .directory = "/ck", .job = "job", .slot = "0", .create = true,
                                           .segment_bytes = segment_bytes, .disk = table,
                                           .environment = &environment };
    return store_open(&options, store, error);
}

static struct store *must_open_store(const struct disk *table, uint64_t segment_bytes)
{
    struct store *store;
    struct weir_error error;
    ck_assert_msg(open_store(table, segment_bytes, &store, &error) == WEIR_OK, "%s", error.text);
    return store;
}

/* One frame; tried again elsewhere when it fails, as the job does. */
static void append_one(struct ledger *ledger, struct store *store)
{
    struct buffer frame;
    struct weir_error error;
    char delta[12000];
    const size_t size = unit_random_below(&ledger->random, sizeof delta);
    memset(delta, (int)(ledger->epoch % 250), size);
    buffer_init(&frame);
    const struct weir_frame_name *parent = ledger->count == 0 ? NULL : &ledger->frames[ledger->count - 1];
    struct weir_frame_name name = sample_frame(&frame, ledger->incarnation, ++ledger->epoch, parent, false,
                                               (struct weir_bytes){ delta, size });
    store_reserve(store, &name);
    for (int tries = 0; tries < 3; tries++) {
        if (store_append(store, &name, (struct weir_bytes){ frame.data, frame.size }, &error) == WEIR_OK) {
            ledger->frames[ledger->count++] = name;
            break;
        }
        ledger->refused++;
        store_reserve_elsewhere(store, &name);
    }
    buffer_deinit(&frame);
}

static void live_until_the_power_is_out(struct ledger *ledger)
{
    struct store *store;
    struct weir_error error;
    ledger->incarnation++;
    if (open_store(&power.table, SEGMENT_BYTES, &store, &error) != WEIR_OK) return;
    if (store_begin(store, ledger->incarnation, &error) == WEIR_OK)
        while (power.calls_left > 0 && ledger->count < FRAMES_MAX) {
            append_one(ledger, store);
            while (unit_chance(&ledger->random, 40) && store_prepare(store)) continue;
        }
    store_close(store);
}

static void assert_all_are_there(const struct ledger *ledger)
{
    struct weir_error error;
    struct buffer frame;
    power_on(UINT64_MAX);
    struct store *store = must_open_store(&power.table, SEGMENT_BYTES);
    buffer_init(&frame);
    for (size_t i = 0; i < ledger->count; i++) {
        const enum weir_code code = store_read_frame(store, &ledger->frames[i], &frame, &error);
        ck_assert_msg(code == WEIR_OK, "frame %zu of %zu: %s", i, ledger->count, error.text);
    }
    buffer_deinit(&frame);
    store_close(store);
}

START_TEST(a_store_keeps_every_frame_that_it_has_acknowledged_over_power_cuts)
{
    uint64_t frames = 0, refused = 0;
    struct disk_counts sum = { 0 };
    for (uint64_t round = 0; round < ROUNDS / 2; round++) {
        new_disk(round);
        static struct ledger ledger;
        ledger = (struct ledger){ .random = seed + round };
        const struct disk_faults weather = {
            .sync_error = round % 3 == 0 ? 30000 : 0,
            .write_error = round % 4 == 0 ? 30000 : 0,
            .short_write = round % 2 == 0 ? 200000 : 0,
            .cannot_allocate = round % 5 == 0,
        };
        for (int life = 0; life < 4; life++) {
            power_on(unit_random_below(&ledger.random, 120));
            disk_model_set_faults(model, &weather);
            live_until_the_power_is_out(&ledger);
            disk_model_set_faults(model, &(struct disk_faults){ 0 });
            disk_model_cut_power(model);
            assert_all_are_there(&ledger);
        }
        const struct disk_counts counts = disk_model_counts(model);
        sum.lost_writes += counts.lost_writes;
        sum.torn_writes += counts.torn_writes;
        sum.lost_names += counts.lost_names;
        frames += ledger.count;
        refused += ledger.refused;
    }
    ck_assert_uint_gt(frames, 2000);
    ck_assert_uint_gt(refused, 200);
    ck_assert_uint_gt(sum.lost_writes, 100);
    ck_assert_uint_gt(sum.torn_writes, 50);
    ck_assert_uint_gt(sum.lost_names, 50);
}
END_TEST

static struct disk dying; /* the model's table, whose process dies where it would sync a directory */
static int syncs_left;

static int sync_or_die(void *user, const char *path)
{
    return syncs_left-- > 0 ? disk->sync_directory(user, path) : -EIO;
}

START_TEST(a_store_id_that_was_used_survives_a_power_cut)
{
    uint32_t interrupted = 0;
    for (uint64_t round = 0; another_disk(round); round++) {
        struct store *store = NULL;
        struct weir_error error;
        char id[STORE_ID_MAX];
        make_directory("/ck");
        dying = *disk;
        dying.sync_directory = sync_or_die;
        syncs_left = (int)(round % 4);
        if (open_store(&dying, 0, &store, &error) == WEIR_OK) store_close(store);
        else interrupted++;
        syncs_left = INT_MAX;
        store = must_open_store(&dying, 0);
        (void)snprintf(id, sizeof id, "%s", store_id(store));
        store_close(store);
        disk_model_cut_power(model);
        store = must_open_store(&dying, 0);
        ck_assert_str_eq(store_id(store), id);
        store_close(store);
    }
    ck_assert_uint_gt(interrupted, 10);
}
END_TEST

static void add(TCase *tests)
{
    seed = unit_seed();
    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_add_test(tests, what_is_written_reads_back_at_once);
    tcase_add_test(tests, what_was_synced_survives_and_what_was_not_is_kept_lost_or_torn);
    tcase_add_test(tests, of_one_sector_nothing_is_newer_than_the_rest);
    tcase_add_test(tests, a_later_write_may_arrive_without_an_earlier_one);
    tcase_add_test(tests, length_and_contents_go_their_own_ways);
    tcase_add_test(tests, what_is_cut_off_by_a_lost_length_does_not_come_back);
    tcase_add_test(tests, an_allocated_and_synced_file_keeps_its_length);
    tcase_add_test(tests, a_failed_sync_loses_what_it_should_have_written_and_the_next_one_does_not_bring_it_back);
    tcase_add_test(tests, what_is_written_and_synced_behind_a_failed_sync_is_safe);
    tcase_add_test(tests, a_sector_never_falls_behind_its_last_sync);
    tcase_add_test(tests, a_killed_process_loses_nothing);
    tcase_add_test(tests, syncing_a_file_promises_nothing_about_its_name);
    tcase_add_test(tests, syncing_a_directory_promises_nothing_about_contents);
    tcase_add_test(tests, names_are_lost_one_by_one);
    tcase_add_test(tests, a_rename_is_there_or_not);
    tcase_add_test(tests, a_rename_over_a_file_leaves_the_old_one_or_the_new_one);
    tcase_add_test(tests, what_was_removed_may_come_back_until_its_directory_is_synced);
    tcase_add_test(tests, a_directory_is_a_name_too);
    tcase_add_test(tests, a_directory_whose_sync_failed_comes_along_with_its_next_change);
    tcase_add_test(tests, names_are_listed_in_no_order_and_may_change_meanwhile);
    tcase_add_test(tests, mistakes_have_the_numbers_that_linux_gives_them);
    tcase_add_test(tests, a_full_disk_takes_what_fits_and_overwrites_go_on);
    tcase_add_test(tests, what_was_allocated_has_its_room_unless_the_file_system_cannot);
    tcase_add_test(tests, reads_and_writes_fail_as_often_as_they_are_told_to);
    tcase_add_test(tests, damage_is_in_the_cache_and_on_the_disk);
    tcase_add_test(tests, a_file_that_is_brought_back_is_safe);
    tcase_add_test(tests, files_are_visited_by_path);
    tcase_add_test(tests, one_seed_is_one_disk);
    tcase_add_test(tests, a_store_id_that_was_used_survives_a_power_cut);
    tcase_add_test(tests, a_store_keeps_every_frame_that_it_has_acknowledged_over_power_cuts);
}

int main(void)
{
    return unit_main("sim_disk_model", add);
}
