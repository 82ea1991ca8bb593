/* Jobs that start from a damaged checkpoint directory: they stop and name the file before anything has come out, or go on
 * exactly where they stood. */
#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/base.h"
#include "harness/digits.h"
#include "harness/local_job.h"
#include "harness/unit.h"

enum { STEP = 3000, FILES_MAX = 32, DRAWS = 30, LIVES_MAX = 100 };

/* Counts by last digit up to `count`, from where the last life ended. */
static struct weir_error run(uint64_t count, uint64_t per_second)
{
    weir_graph *graph = weir_graph_create();
    digits_print(weir_aggregate(digits_by_key(graph, count, per_second), .name = "count", .accumulator = WEIR_I64,
                                .add = digits_add_one), "out");
    digits_begin();
    local_job.log[0] = '\0';
    return local_job_run(graph, NULL);
}

/* ---- The directory ----------------------------------------------------------------------------------------------- */

static struct file {
    char name[64];
    struct buffer bytes;
} files[FILES_MAX];
static size_t file_count;

static const char *path_of(const char *name)
{
    static char path[4096];
    (void)snprintf(path, sizeof path, "%s/test/%s", local_job.directory, name);
    return path;
}

/* Calls `each` for every file there is. */
static int each_file(void (*each)(const char *name))
{
    struct dirent **entries;
    int bases = 0;
    const int count = scandir(path_of("."), &entries, NULL, alphasort);
    ck_assert_int_gt(count, 0);
    for (int i = 0; i < count; i++) {
        bases += strncmp(entries[i]->d_name, "base-", 5) == 0;
        if (entries[i]->d_name[0] != '.' && each != NULL) each(entries[i]->d_name);
        free(entries[i]);
    }
    free(entries);
    return bases;
}

static void keep_file(const char *name)
{
    struct file *file = &files[file_count++];
    char block[4096];
    ck_assert_uint_le(file_count, FILES_MAX);
    (void)snprintf(file->name, sizeof file->name, "%s", name);
    buffer_init(&file->bytes);
    FILE *stream = fopen(path_of(name), "rb");
    ck_assert_ptr_nonnull(stream);
    for (size_t size; (size = fread(block, 1, sizeof block, stream)) > 0;) buffer_put(&file->bytes, block, size);
    ck_assert_int_eq(fclose(stream), 0);
}

static void remove_file(const char *name)
{
    ck_assert_int_eq(unlink(path_of(name)), 0);
}

static void write_file(const struct file *file)
{
    FILE *stream = fopen(path_of(file->name), "wb");
    ck_assert_ptr_nonnull(stream);
    ck_assert_uint_eq(fwrite(file->bytes.data, 1, file->bytes.size, stream), file->bytes.size);
    ck_assert_int_eq(fclose(stream), 0);
}

static void put_back(void)
{
    (void)each_file(remove_file);
    for (size_t i = 0; i < file_count; i++) write_file(&files[i]);
}

static int lives;

static void set_up(void)
{
    local_job_begin();
    local_job_set("state.log.segment-size", "64kb");
    local_job_set("state.recovery.max-frames", "1");
    local_job_set("state.base.min-log-size", "64kb");
    lives = file_count = 0;
    do {
        const struct weir_error outcome = run((uint64_t)++lives * STEP, STEP * 20); /* long enough for a dump */
        local_job_expect_ok(&outcome);
    } while (each_file(NULL) == 0 && lives < LIVES_MAX);
    (void)each_file(keep_file);
}

static void tear_down(void)
{
    for (size_t i = 0; i < file_count; i++) buffer_deinit(&files[i].bytes);
    local_job_end();
}

/* ---- Damage ------------------------------------------------------------------------------------------------------ */

/* Starts the job with one file damaged. True when it was refused. */
static bool is_refused(const char *name, const char *what, uint64_t where)
{
    const uint64_t count = (uint64_t)(lives + 1) * STEP;
    const struct weir_error outcome = run(count, 0);
    if (outcome.code != WEIR_OK) {
        /* A pointer that says nothing is a lost ledger: a row of the restart table of its own. */
        const bool is_lost = outcome.code == WEIR_FOREIGN && strncmp(name, "pointer-", 8) == 0 &&
                             strstr(outcome.text, "neither the ledger") != NULL;
        ck_assert_msg(is_lost || outcome.code == WEIR_DAMAGED, "%s, %s %llu: %s", name, what, (unsigned long long)where,
                      outcome.text);
        ck_assert_msg(is_lost || strstr(outcome.text, name) != NULL, "%s, %s %llu: does not name the file: %s", name, what,
                      (unsigned long long)where, outcome.text);
        ck_assert_uint_eq(digits.lines, 0);
        return true;
    }
    ck_assert_uint_eq(digits.lines, STEP);
    for (int key = 0; key < DIGITS; key++)
        ck_assert_msg(digits.last[key] == (int64_t)count / DIGITS, "%s, %s %llu: key %d has %lld", name, what,
                      (unsigned long long)where, key, (long long)digits.last[key]);
    return false;
}

static size_t draw_place(uint64_t *random, const struct file *file)
{
    size_t place = 0;
    for (int i = 0; i < 1000; i++) {
        place = unit_random(random) % file->bytes.size;
        if (file->bytes.data[place] != 0) break;
    }
    return place;
}

START_TEST(a_flipped_bit_is_named_or_does_no_harm)
{
    uint64_t random = unit_seed();
    int refused = 0;
    for (int i = 0; i < DRAWS; i++) {
        struct file *file = &files[unit_random_below(&random, (uint32_t)file_count)];
        const size_t place = draw_place(&random, file);
        const char byte = file->bytes.data[place];
        file->bytes.data[place] = (char)(byte ^ (1 << unit_random_below(&random, 8)));
        put_back();
        file->bytes.data[place] = byte;
        refused += is_refused(file->name, "bit flipped in byte", place);
    }
    ck_assert_int_gt(refused, 0);
    put_back();
    ck_assert(!is_refused("", "nothing at", 0));
}
END_TEST

START_TEST(a_cut_off_file_is_named_or_does_no_harm)
{
    uint64_t random = unit_seed();
    int refused = 0;
    for (int i = 0; i < DRAWS; i++) {
        struct file *file = &files[unit_random_below(&random, (uint32_t)file_count)];
        const size_t size = file->bytes.size, cut = unit_random(&random) % size;
        file->bytes.size = unit_chance(&random, 30) ? cut & ~(size_t)4095 : cut;
        const size_t left = file->bytes.size;
        put_back();
        file->bytes.size = size;
        refused += is_refused(file->name, "cut off at", left);
    }
    ck_assert_int_gt(refused, 0);
}
END_TEST

START_TEST(a_missing_file_is_named_or_does_no_harm)
{
    for (size_t i = 0; i < file_count; i++) {
        put_back();
        remove_file(files[i].name);
        (void)is_refused(files[i].name, "missing", 0);
    }
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_add_test(tests, a_flipped_bit_is_named_or_does_no_harm);
    tcase_add_test(tests, a_cut_off_file_is_named_or_does_no_harm);
    tcase_add_test(tests, a_missing_file_is_named_or_does_no_harm);
}

int main(void)
{
    return unit_main("runtime_damage", add);
}
