/* The disk in memory answers what the system answers: the same calls, drawn from a seed, on both. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "checkpoint/disk.h"
#include "harness/unit.h"

enum { NAMES = 6, OPEN_MAX_FILES = 8, DATA_MAX = 9000, STEPS = 4000 };

static uint64_t dice;
static char folder[] = "/tmp/weir-disk-XXXXXX";

/* One file number of each disk. */
static struct {
    int system, memory;
    bool open;
} pairs[OPEN_MAX_FILES];

static const char *draw_path(void)
{
    static char paths[4][64];
    static unsigned next;
    char *path = paths[next++ % 4];
    (void)snprintf(path, sizeof paths[0], "%s/name-%u", folder, unit_random_below(&dice, NAMES));
    return path;
}

static void open_pair(void)
{
    size_t i = 0;
    while (i < OPEN_MAX_FILES && pairs[i].open) i++;
    if (i == OPEN_MAX_FILES) return;
    const char *path = draw_path();
    const enum disk_open how = (enum disk_open[]){ DISK_READ, DISK_UPDATE, DISK_CREATE }[unit_random_below(&dice, 3)];
    const int system = disk_system.open(NULL, path, how), memory = disk_memory.open(NULL, path, how);
    if (system < 0 || memory < 0) ck_assert_int_eq(memory, system);
    else if (how == DISK_READ) disk_system.close(NULL, system), disk_memory.close(NULL, memory);
    else pairs[i].system = system, pairs[i].memory = memory, pairs[i].open = true;
}

static size_t draw_data(char data[DATA_MAX])
{
    const size_t size = unit_random_below(&dice, unit_chance(&dice, 50) ? 64 : DATA_MAX);
    for (size_t i = 0; i < size; i++) data[i] = (char)unit_random(&dice);
    return size;
}

static void use_pair(size_t i)
{
    static char data[DATA_MAX], other[DATA_MAX];
    const uint64_t offset = unit_random_below(&dice, 20000);
    const uint32_t what = unit_random_below(&dice, 10);
    if (what < 4) {
        const size_t size = draw_data(data);
        ck_assert_int_eq(disk_system.write(NULL, pairs[i].system, data, size, offset), (ssize_t)size);
        ck_assert_int_eq(disk_memory.write(NULL, pairs[i].memory, data, size, offset), (ssize_t)size);
    } else if (what < 7) {
        const ssize_t size = disk_system.read(NULL, pairs[i].system, data, sizeof data, offset);
        ck_assert_int_eq(disk_memory.read(NULL, pairs[i].memory, other, sizeof other, offset), size);
        ck_assert_mem_eq(data, other, (size_t)size);
    } else if (what < 8) {
        ck_assert_int_eq(disk_system.allocate(NULL, pairs[i].system, offset + 1), 0);
        ck_assert_int_eq(disk_memory.allocate(NULL, pairs[i].memory, offset + 1), 0);
    } else if (what < 9) {
        disk_system.close(NULL, pairs[i].system);
        disk_memory.close(NULL, pairs[i].memory);
        pairs[i].open = false;
        return;
    }
    ck_assert_int_eq(disk_memory.size(NULL, pairs[i].memory), disk_system.size(NULL, pairs[i].system));
}

static void note_name(void *user, const char *name)
{
    ck_assert_int_eq(strncmp(name, "name-", 5), 0);
    *(unsigned *)user |= 1u << strtoul(name + 5, NULL, 10);
}

static void rename_remove_list(void)
{
    const char *source = draw_path(), *target = draw_path();
    const bool replace = unit_chance(&dice, 50);
    unsigned system = 0, memory = 0;
    if (unit_chance(&dice, 60) && strcmp(source, target) != 0)
        ck_assert_int_eq(disk_memory.rename(NULL, source, target, replace),
                         disk_system.rename(NULL, source, target, replace));
    if (unit_chance(&dice, 40)) ck_assert_int_eq(disk_memory.remove(NULL, source), disk_system.remove(NULL, source));
    ck_assert_int_eq(disk_system.list(NULL, folder, note_name, &system), 0);
    ck_assert_int_eq(disk_memory.list(NULL, folder, note_name, &memory), 0);
    ck_assert_uint_eq(memory, system);
}

START_TEST(answers_as_the_system_does)
{
    dice = unit_seed();
    ck_assert_ptr_nonnull(mkdtemp(folder));
    for (int step = 0; step < STEPS; step++) {
        const size_t i = unit_random_below(&dice, OPEN_MAX_FILES);
        if (unit_chance(&dice, 20)) open_pair();
        else if (unit_chance(&dice, 30)) rename_remove_list();
        else if (pairs[i].open) use_pair(i);
    }
    for (size_t i = 0; i < OPEN_MAX_FILES; i++) {
        if (!pairs[i].open) continue;
        disk_system.close(NULL, pairs[i].system);
        disk_memory.close(NULL, pairs[i].memory);
    }
    char path[64];
    for (int i = 0; i < NAMES; i++) {
        (void)snprintf(path, sizeof path, "%s/name-%d", folder, i);
        ck_assert_int_eq(disk_memory.remove(NULL, path), disk_system.remove(NULL, path));
    }
    ck_assert_int_eq(rmdir(folder), 0);
}
END_TEST

static void refuse_name(void *user, const char *name)
{
    (void)user;
    ck_abort_msg("'%s' is not in this directory", name);
}

START_TEST(a_directory_holds_what_its_name_is_the_beginning_of)
{
    const int below = disk_memory.open(NULL, "a/b/c", DISK_CREATE), beside = disk_memory.open(NULL, "ab/c", DISK_CREATE);
    ck_assert_int_eq(disk_memory.list(NULL, "a", refuse_name, NULL), 0);
    disk_memory.close(NULL, below);
    disk_memory.close(NULL, beside);
    ck_assert_int_eq(disk_memory.remove(NULL, "a/b/c"), 0);
    ck_assert_int_eq(disk_memory.remove(NULL, "ab/c"), 0);
    ck_assert_int_eq(disk_memory.remove(NULL, "ab/c"), -ENOENT);
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_loop_test(tests, answers_as_the_system_does, 0, 5);
    tcase_add_test(tests, a_directory_holds_what_its_name_is_the_beginning_of);
}

int main(void)
{
    return unit_main("checkpoint_disk_memory", add);
}
