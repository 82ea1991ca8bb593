/* A checkpoint directory under every kind of damage: whoever reads it is told the file by name, or reads what was written. Never
 * other values, never an older checkpoint in the newest one's place, where the directory alone can tell. */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/base.h"
#include "checkpoint/savepoint.h"
#include "checkpoint/survey.h"
#include "harness/golden_store.h"
#include "harness/process.h"
#include "harness/unit.h"
#include "state/replay.h"
#include "weir/inspect.h"

enum { FILES_MAX = 32, FLIPS = 3000, CUTS = 800, EPOCHS = 8 };

static uint64_t seed;

struct file {
    char name[64];
    char path[512];
    struct buffer bytes;
};

/* A store, and what each of its checkpoints holds. */
static struct {
    const char *path;
    struct file files[FILES_MAX];
    size_t file_count;
    uint64_t epoch_newest;
    uint64_t states[EPOCHS]; /* hash of all entries; 0 = not retained */
    bool is_decided;
} store;

/* ---- Reading ----------------------------------------------------------------------------------------------------- */

static void add_bytes(struct buffer *all, struct weir_bytes bytes)
{
    buffer_bytes(all, weir_is_set(bytes) ? bytes : WEIR_NULL);
}

/* What a checkpoint holds, as one number; 0 when it cannot be read. `epoch` 0 = the newest. */
static uint64_t read_state(uint64_t *epoch, struct weir_error *error)
{
    weir_inspector *inspector;
    struct weir_inspect_entry entry;
    struct weir_inspect_checkpoint chosen;
    struct buffer all;
    uint64_t hash = 0;
    if (weir_inspect_open(&inspector, error, .path = store.path, .epoch = *epoch) != WEIR_OK) return 0;
    weir_inspect_chosen(inspector, &chosen);
    *epoch = chosen.epoch;
    buffer_init(&all);
    buffer_u64(&all, chosen.epoch);
    if (weir_inspect_begin(inspector, NULL, error) == WEIR_OK) {
        while (weir_inspect_next(inspector, &entry, error)) {
            buffer_u64(&all, entry.state);
            buffer_u64(&all, entry.position);
            buffer_u64(&all, entry.version);
            add_bytes(&all, entry.key);
            add_bytes(&all, entry.name_space);
            add_bytes(&all, entry.element);
            add_bytes(&all, entry.value);
        }
    }
    if (error->code == WEIR_OK) hash = hash_64(all.data, all.size);
    weir_inspect_close(inspector);
    buffer_deinit(&all);
    return hash;
}

/* ---- The store --------------------------------------------------------------------------------------------------- */

static void load_file(const char *name)
{
    struct file *file = &store.files[store.file_count++];
    char block[4096];
    ck_assert_uint_le(store.file_count, FILES_MAX);
    (void)snprintf(file->name, sizeof file->name, "%s", name);
    (void)snprintf(file->path, sizeof file->path, "%s/%s", store.path, name);
    buffer_init(&file->bytes);
    FILE *stream = fopen(file->path, "rb");
    ck_assert_ptr_nonnull(stream);
    for (size_t size; (size = fread(block, 1, sizeof block, stream)) > 0;) buffer_put(&file->bytes, block, size);
    ck_assert_int_eq(fclose(stream), 0);
}

static void load_files(void)
{
    struct dirent **entries;
    const int count = scandir(store.path, &entries, NULL, alphasort);
    for (int i = 0; i < count; i++) {
        if (entries[i]->d_name[0] != '.') load_file(entries[i]->d_name);
        free(entries[i]);
    }
    free(entries);
}

/* ---- Damage ------------------------------------------------------------------------------------------------------ */

static void write_file(const struct file *file, const char *data, size_t size)
{
    /* O_TRUNC would make file systems write it out on closing. */
    const int descriptor = open(file->path, O_WRONLY | O_CREAT, 0666);
    unit_expect(descriptor >= 0 && pwrite(descriptor, data, size, 0) == (ssize_t)size);
    unit_expect(ftruncate(descriptor, (off_t)size) == 0);
    close(descriptor);
}

static void restore_file(const struct file *file)
{
    write_file(file, file->bytes.data, file->bytes.size);
}

static void read_all_states(void)
{
    struct weir_error error;
    store.states[0] = read_state(&store.epoch_newest, &error);
    ck_assert_msg(store.states[0] != 0, "%s", error.text);
    for (uint64_t epoch = 1; epoch < EPOCHS; epoch++) {
        uint64_t same = epoch;
        store.states[epoch] = read_state(&same, &error);
    }
    ck_assert_uint_eq(store.states[store.epoch_newest], store.states[0]);
}

/* Without the second life, and without a pointer, what the first one wrote last is the newest: committed or not. */
static void read_uncommitted_state(void)
{
    struct weir_error error;
    uint64_t epoch = 0;
    for (size_t i = 0; i < store.file_count; i++) {
        if (strcmp(store.files[i].name, "log-2-1") != 0) continue;
        ck_assert_int_eq(unlink(store.files[i].path), 0);
        const uint64_t state = read_state(&epoch, &error);
        ck_assert_uint_eq(epoch, 3);
        store.states[epoch] = state;
        restore_file(&store.files[i]);
    }
}

static void set_up(const char *decider)
{
    golden_store_write(process_folder(), decider);
    store.path = process_path("golden");
    store.is_decided = strcmp(decider, "pointer") == 0;
    if (!store.is_decided) ck_assert_int_eq(unlink(process_path("golden/pointer-2")), 0);
    load_files();
    read_all_states();
    if (!store.is_decided) read_uncommitted_state();
}

static void set_up_decided(void) { set_up("pointer"); }
static void set_up_undecided(void) { set_up("kafka"); }

/* The newest checkpoint, taken out of the store. */
static void set_up_savepoint(void)
{
    struct weir_error error;
    struct store *from;
    struct survey survey;
    bool done = false;
    golden_store_write(process_folder(), "pointer");
    const struct store_options options = { .directory = process_path("golden") };
    ck_assert_msg(store_open(&options, &from, &error) == WEIR_OK, "%s", error.text);
    ck_assert_msg(survey_take(from, NULL, false, &survey, &error) == WEIR_OK, "%s", error.text);
    struct savepoint *savepoint =
        savepoint_create(from, NULL, process_folder(), &survey.newest, &replay_units, (const uint64_t[]){ 1, 2 });
    while (!done) ck_assert_msg(savepoint_step(savepoint, 1000, &done, &error) == WEIR_OK, "%s", error.text);
    store.path = process_path("%s", strrchr(savepoint_path(savepoint), '/') + 1);
    store.is_decided = true;
    savepoint_destroy(savepoint);
    survey_deinit(&survey);
    store_close(from);
    load_files();
    read_all_states();
}

static void tear_down(void)
{
    for (size_t i = 0; i < store.file_count; i++) buffer_deinit(&store.files[i].bytes);
}

static bool is_named(const struct file *file, const char *text)
{
    /* The pointer and the id are called by what they are for. */
    return strstr(text, file->name) != NULL || (strncmp(file->name, "pointer", 7) == 0 && strstr(text, "pointer file")) ||
           (strcmp(file->name, "store") == 0 && strstr(text, "file 'store'") != NULL);
}

/* Reads the damaged store: true when it was found. */
static bool is_found(const struct file *file, const char *what, uint64_t where)
{
    struct weir_error error = { .code = WEIR_OK };
    uint64_t epoch = 0;
    const uint64_t state = read_state(&epoch, &error);
    if (state == 0) {
        ck_assert_msg(is_named(file, error.text), "%s, %s %llu: does not name the file: %s", file->name, what,
                      (unsigned long long)where, error.text);
        return true;
    }
    ck_assert_msg(epoch < EPOCHS && state == store.states[epoch], "%s, %s %llu: other values in epoch %llu", file->name,
                  what, (unsigned long long)where, (unsigned long long)epoch);
    ck_assert_msg(!store.is_decided || epoch == store.epoch_newest, "%s, %s %llu: reads epoch %llu", file->name, what,
                  (unsigned long long)where, (unsigned long long)epoch);
    return false;
}

/* Most bytes of a log are zeroes behind its last frame: half of the draws are where there is something. */
static size_t draw_place(uint64_t *random, const struct file *file)
{
    for (int i = 0; i < 50; i++) {
        const size_t place = unit_random(random) % file->bytes.size;
        if (file->bytes.data[place] != 0) return place;
    }
    return unit_random(random) % file->bytes.size;
}

static const struct file *draw_file(uint64_t *random)
{
    return &store.files[unit_random_below(random, (uint32_t)store.file_count)];
}

START_TEST(a_flipped_bit_changes_nothing_that_is_read)
{
    uint64_t random = seed, found = 0;
    for (int i = 0; i < FLIPS; i++) {
        const struct file *file = draw_file(&random);
        const size_t place = draw_place(&random, file);
        const int descriptor = open(file->path, O_RDWR);
        const char byte = (char)(file->bytes.data[place] ^ (1 << unit_random_below(&random, 8)));
        unit_expect(pwrite(descriptor, &byte, 1, (off_t)place) == 1);
        found += is_found(file, "bit flipped in byte", place);
        unit_expect(pwrite(descriptor, file->bytes.data + place, 1, (off_t)place) == 1);
        close(descriptor);
    }
    ck_assert_uint_gt(found, FLIPS / 4);
}
END_TEST

START_TEST(a_cut_off_file_changes_nothing_that_is_read)
{
    uint64_t random = seed, found = 0;
    for (int i = 0; i < CUTS; i++) {
        const struct file *file = draw_file(&random);
        size_t size = unit_random(&random) % file->bytes.size;
        if (unit_chance(&random, 20)) size &= ~(size_t)4095;
        ck_assert_int_eq(truncate(file->path, (off_t)size), 0);
        found += is_found(file, "cut off at", size);
        restore_file(file);
    }
    ck_assert_uint_gt(found, CUTS / 8);
}
END_TEST

START_TEST(a_missing_file_changes_nothing_that_is_read)
{
    for (size_t i = 0; i < store.file_count; i++) {
        const struct file *file = &store.files[i];
        ck_assert_int_eq(unlink(file->path), 0);
        (void)is_found(file, "missing", 0);
        restore_file(file);
    }
}
END_TEST

START_TEST(zeroes_and_exchanged_files_change_nothing_that_is_read)
{
    uint64_t random = seed;
    for (int i = 0; i < CUTS; i++) {
        const struct file *file = draw_file(&random), *other = draw_file(&random);
        if (unit_chance(&random, 70)) {
            char *bytes = malloc(file->bytes.size);
            memcpy(bytes, file->bytes.data, file->bytes.size);
            const size_t place = draw_place(&random, file), left = file->bytes.size - place;
            memset(bytes + place, 0, left < 512 ? left : 512);
            write_file(file, bytes, file->bytes.size);
            free(bytes);
        } else {
            write_file(file, other->bytes.data, other->bytes.size);
        }
        (void)is_found(file, "zeroed, or exchanged with", (uint64_t)(other - store.files));
        restore_file(file);
    }
}
END_TEST

static void print_nothing(void *user, const char *line)
{
    *(int *)user += line[0] != '\0';
}

/* Verifying reads more than the newest needs: whatever an older checkpoint names is found, too. */
START_TEST(verifying_finds_every_flipped_bit_of_what_is_retained)
{
    uint64_t random = seed;
    struct weir_inspect_report report;
    struct weir_error error;
    const struct weir_inspect_options options = { .size = sizeof options, .path = store.path };
    ck_assert_msg(weir_inspect_verify(&options, NULL, NULL, &report, &error) == WEIR_OK, "%s", error.text);
    const uint64_t checkpoints = report.checkpoints;
    for (int i = 0; i < FLIPS / 4; i++) {
        const struct file *file = draw_file(&random);
        const size_t place = draw_place(&random, file);
        const bool is_uncommitted = strcmp(file->name, "log-1-1") == 0 && place >= 16384;
        if (file->bytes.data[place] == 0 || is_uncommitted || strncmp(file->name, "pointer", 7) == 0) continue;
        const int descriptor = open(file->path, O_RDWR);
        const char byte = (char)(file->bytes.data[place] ^ (1 << unit_random_below(&random, 8)));
        int lines = 0;
        unit_expect(pwrite(descriptor, &byte, 1, (off_t)place) == 1);
        const enum weir_code code = weir_inspect_verify(&options, print_nothing, &lines, &report, &error);
        unit_expect(pwrite(descriptor, file->bytes.data + place, 1, (off_t)place) == 1);
        close(descriptor);
        ck_assert_msg(code == WEIR_DAMAGED, "%s, byte %zu: code %d, %llu of %llu checkpoints", file->name, place, code,
                      (unsigned long long)report.checkpoints, (unsigned long long)checkpoints);
        ck_assert_msg(is_named(file, error.text), "%s, byte %zu: %s", file->name, place, error.text);
    }
}
END_TEST

static void add_all(TCase *tests)
{
    tcase_add_test(tests, a_flipped_bit_changes_nothing_that_is_read);
    tcase_add_test(tests, a_cut_off_file_changes_nothing_that_is_read);
    tcase_add_test(tests, a_missing_file_changes_nothing_that_is_read);
    tcase_add_test(tests, zeroes_and_exchanged_files_change_nothing_that_is_read);
}

static void add_decided(TCase *tests)
{
    tcase_add_checked_fixture(tests, set_up_decided, tear_down);
    add_all(tests);
    tcase_add_test(tests, verifying_finds_every_flipped_bit_of_what_is_retained);
}

static void add_undecided(TCase *tests)
{
    tcase_add_checked_fixture(tests, set_up_undecided, tear_down);
    add_all(tests);
}

static void add_savepoint(TCase *tests)
{
    tcase_add_checked_fixture(tests, set_up_savepoint, tear_down);
    add_all(tests);
}

int main(void)
{
    seed = unit_seed();
    const int status = unit_main("state_damage", add_decided) | unit_main("state_damage_undecided", add_undecided);
    return status | unit_main("state_damage_savepoint", add_savepoint);
}
