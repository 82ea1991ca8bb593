/* A shard in front of a store in RocksDB. That it holds what it should is in state_model_test.c. */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "harness/unit.h"
#include "state/delta.h"
#include "state/store_rocksdb.h"

enum { KEYS = 20000, BUDGET = 128 << 10, GROUPS = 4 };

enum { TOTAL, BRIEF, LINES, STATES };
static const struct state_declaration states[STATES] = {
    [TOTAL] = { .name = "total", .codec = WEIR_I64, .value_size_bytes = 8 },
    [BRIEF] = { .name = "brief", .codec = WEIR_I64, .value_size_bytes = 8, .ttl_ms = 1000 },
    [LINES] = { .name = "lines", .kind = WEIR_STATE_LIST, .codec = WEIR_I64, .value_size_bytes = 8, .ttl_ms = 1000 },
};
static char directory[64], path[96];
static struct store_memory *memory;
static struct shard *shard;
static struct state_store *store; /* the shard's */

static void begin(void)
{
    struct weir_error error;
    /* In memory where that can be had: RocksDB syncs each file. */
    (void)snprintf(directory, sizeof directory, "%s/weir-cache-XXXXXX", access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    ck_assert_ptr_nonnull(mkdtemp(directory));
    (void)snprintf(path, sizeof path, "%s/store", directory);
    memory = store_memory_create(64 << 10); /* blocks are read again and again */
    ck_assert_ptr_nonnull(memory);
    shard = shard_create(&(struct shard_options){ .states = states, .state_count = STATES, .max_parallelism = GROUPS,
                                                  .group_count = GROUPS, .epoch = 1 });
    ck_assert_ptr_nonnull(shard);
    const struct store_rocksdb_options options = { .directory = path, .states = states, .state_count = STATES,
                                                   .max_parallelism = GROUPS, .group_count = GROUPS, .memory = memory,
                                                   .open_files_max = 16 };
    ck_assert_msg(store_rocksdb_open(&options, &store, &error) == WEIR_OK, "%s", error.text);
    shard_use(shard, store, BUDGET);
}

static void end(void)
{
    shard_destroy(shard);
    store_memory_destroy(memory);
    ck_assert_int_eq(rmdir(directory), 0);
}

/* Good until the next call. */
static struct state_key key_of(uint32_t number)
{
    static char name[16];
    struct state_key key = { .key = { name, sizeof name } };
    memset(name, 'k', sizeof name);
    memcpy(name, &number, sizeof number);
    key.hash = hash_key(key.key);
    return key;
}

static int64_t *value_of(uint32_t number)
{
    const struct state_key key = key_of(number);
    return shard_value(shard, TOTAL, &key);
}

static void close_epoch(void)
{
    struct buffer delta;
    buffer_init(&delta);
    shard_tend(shard);
    ck_assert(shard_snapshot(shard, shard_epoch(shard), &delta));
    buffer_deinit(&delta);
}

/* Counts every key once more, in epochs. */
static void count_all(uint32_t keys_for_each_epoch)
{
    for (uint32_t i = 0; i < KEYS; i++) {
        int64_t *value = value_of(i * 7919 % KEYS);
        ck_assert_ptr_nonnull(value);
        ++*value;
        if (i % 100 == 0) shard_tend(shard);
        if (i % keys_for_each_epoch == 0) close_epoch();
    }
}

START_TEST(memory_stays_near_the_budget)
{
    uint64_t most = 0;
    for (int64_t round = 1; round <= 3; round++) {
        count_all(500);
        if (shard_bytes(shard) > most) most = shard_bytes(shard);
    }
    ck_assert_ptr_null(shard_failure(shard));
    ck_assert_uint_lt(most, 3 * BUDGET);
    ck_assert_uint_gt(shard_store_reads(shard), 2 * KEYS);
    for (uint32_t i = 0; i < KEYS; i++) {
        shard_tend(shard);
        ck_assert_int_eq(*value_of(i), 3);
        if (i % 500 == 0) close_epoch();
    }
}
END_TEST

START_TEST(an_epoch_larger_than_the_budget_needs_memory_and_is_right)
{
    for (int round = 0; round < 2; round++) count_all(KEYS);
    ck_assert_ptr_null(shard_failure(shard));
    for (uint32_t i = 0; i < KEYS; i++) ck_assert_int_eq(*value_of(i), 2);
}
END_TEST

START_TEST(what_fits_is_never_read)
{
    for (int round = 0; round < 50; round++) {
        for (uint32_t i = 0; i < 1000; i++) ++*value_of(i);
        close_epoch();
    }
    ck_assert_uint_eq(shard_store_reads(shard), 0); /* not even to find that there is none */
    ck_assert_uint_eq(shard_evictions(shard), 0);
    for (uint32_t i = 0; shard_evictions(shard) == 0; i++) {
        ck_assert_uint_lt(i, KEYS);
        ++*value_of(i);
        if (i % 100 == 0) close_epoch();
    }
    const uint64_t before = shard_store_reads(shard);
    ck_assert_int_eq(*value_of(KEYS), 0);
    ck_assert_uint_eq(shard_store_reads(shard), before + 1);
}
END_TEST

/* Each key that is looked for ahead is a hit or a miss, where there can be a miss. */
START_TEST(what_is_looked_for_ahead_is_a_hit_or_a_miss)
{
    uint64_t missed = 0;
    count_all(500);
    ck_assert(shard_asks_store(shard));
    for (uint32_t i = 0; i < KEYS; i++) {
        const struct state_key key = key_of(i);
        const uint64_t reads = shard_store_reads(shard), hits = shard_cache_hits(shard), misses = shard_cache_misses(shard);
        shard_load(shard, TOTAL, &key, 1);
        ck_assert_uint_eq(shard_cache_misses(shard) - misses, shard_store_reads(shard) - reads);
        ck_assert_uint_eq(shard_cache_hits(shard) + shard_cache_misses(shard), hits + misses + 1);
        missed += shard_cache_misses(shard) - misses;
        shard_load(shard, TOTAL, &key, 1); /* now it is there */
        ck_assert_uint_eq(shard_cache_hits(shard) + shard_cache_misses(shard), hits + misses + 2);
        ck_assert_uint_eq(shard_cache_misses(shard) - misses, shard_store_reads(shard) - reads);
        if (i % 500 == 0) close_epoch();
    }
    ck_assert_uint_gt(missed, KEYS / 2); /* it holds far less than all of them */
    ck_assert_uint_eq(shard_cache_misses(shard), missed);
}
END_TEST

/* A start reads nothing that it has just been told, and writes it down when there is need. */
START_TEST(what_was_replayed_stays_in_memory)
{
    struct buffer delta;
    struct weir_error error;
    const struct state_mapping mapping[STATES] = { { .state = TOTAL, .value_size_bytes = 8 },
                                                   { .state = BRIEF, .value_size_bytes = 8 } };
    buffer_init(&delta);
    for (uint32_t i = 0; i < 500; i++) *value_of(i) = i;
    ck_assert(shard_snapshot(shard, 1, &delta));
    end();
    begin();
    ck_assert_int_eq(shard_apply(shard, (struct weir_bytes){ delta.data, delta.size }, mapping, STATES, &error), WEIR_OK);
    ck_assert_int_eq(shard_restored(shard, 2, 0, &error), WEIR_OK);
    for (uint32_t i = 0; i < 500; i++) ck_assert_int_eq(*value_of(i), i);
    ck_assert_uint_eq(shard_store_reads(shard), 0);
    ck_assert_uint_eq(shard_evictions(shard), 0);
    for (int round = 0; round < 2; round++)
        for (uint32_t i = 1000; i < KEYS; i++) {
            ++*value_of(i);
            if (i % 100 == 0) close_epoch();
        }
    ck_assert_uint_gt(shard_evictions(shard), 500);
    for (uint32_t i = 0; i < 500; i++) ck_assert_int_eq(*value_of(i), i);
    buffer_deinit(&delta);
}
END_TEST

static void touch_all(uint32_t step)
{
    for (uint32_t i = 0; i < KEYS; i += step) {
        const struct state_key key = key_of(i);
        const int64_t number = i;
        ck_assert(shard_set(shard, BRIEF, &key, (struct weir_bytes){ (const char *)&number, sizeof number }));
        if (i % 500 == 0) close_epoch();
    }
}

static uint32_t count_living(void)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < KEYS; i++) {
        const struct state_key key = key_of(i);
        const struct weir_bytes value = shard_get(shard, BRIEF, &key);
        if (weir_is_set(value)) ck_assert_mem_eq(value.data, &(int64_t){ i }, sizeof(int64_t));
        count += weir_is_set(value);
        if (i % 500 == 0) close_epoch();
    }
    ck_assert_ptr_null(shard_failure(shard));
    return count;
}

START_TEST(what_expires_on_disk_is_not_seen_again)
{
    shard_set_time(shard, 5000);
    touch_all(1);
    shard_set_time(shard, 5600);
    ck_assert_uint_eq(count_living(), KEYS);
    touch_all(4);
    shard_set_time(shard, 6100);
    ck_assert_uint_eq(count_living(), KEYS / 4);
    shard_set_time(shard, 6599);
    ck_assert_uint_eq(count_living(), KEYS / 4);

    /* A base leaves out what has expired. */
    struct buffer base;
    buffer_init(&base);
    shard_set_time(shard, 6600);
    (void)shard_dump_begin(shard);
    while (!shard_dump_step(shard, 100000, &base)) continue;
    ck_assert(!base.failed);
    ck_assert_uint_eq(base.size, 0);
    buffer_deinit(&base);
    ck_assert_uint_gt(shard_evictions(shard), KEYS);
}
END_TEST

enum { FEW = 1000 };

/* Every value of the few is what `expected` says, in a base that is made now. */
static void check_base(const int64_t expected[FEW])
{
    struct weir_error error;
    struct buffer base;
    const struct state_mapping mapping[STATES] = { { .state = TOTAL, .value_size_bytes = 8 }, { .state = UINT32_MAX },
                                                   { .state = UINT32_MAX } };
    struct shard *read = shard_create(&(struct shard_options){ .states = states, .state_count = STATES, .epoch = 1,
                                                               .max_parallelism = GROUPS, .group_count = GROUPS });
    ck_assert_ptr_nonnull(read);
    buffer_init(&base);
    (void)shard_dump_begin(shard);
    while (!shard_dump_step(shard, 10000, &base)) continue;
    ck_assert_int_eq(shard_apply(read, (struct weir_bytes){ base.data, base.size }, mapping, STATES, &error), WEIR_OK);
    for (uint32_t i = 0; i < FEW; i++) {
        const struct state_key key = key_of(i);
        const int64_t *value = shard_value(read, TOTAL, &key);
        ck_assert_msg(*value == expected[i], "key %u: %d instead of %d", i, (int)*value, (int)expected[i]);
    }
    buffer_deinit(&base);
    shard_destroy(read);
}

START_TEST(a_base_has_all_that_has_changed_since_the_last_one)
{
    int64_t expected[FEW];
    for (uint32_t i = 0; i < FEW; i++) *value_of(i) = expected[i] = 1;
    close_epoch();
    check_base(expected);
    for (uint32_t step = 2; step < 100; step *= 2) { /* ever fewer */
        for (uint32_t i = 0; i < FEW; i += step) *value_of(i) = expected[i] = step;
        close_epoch();
        check_base(expected);
    }
    ck_assert_uint_eq(shard_evictions(shard), 0);
}
END_TEST

enum { LINES_COUNT = 3000, LINES_LEFT = 100 };

/* The elements of a list are numbered from 1 on, and its generation is the shard's first. */
static void compact_lines_away(void)
{
    struct weir_error error;
    for (uint64_t sequence = 1; sequence <= LINES_COUNT - LINES_LEFT; sequence++) {
        char bytes[LIST_ELEMENT_BYTES];
        struct state_key name = key_of(0);
        name.element = list_element_encode(sequence, bytes);
        name.generation = 1;
        ck_assert_int_eq(store->operations->remove(store, LINES, &name, &error), WEIR_OK);
    }
    ck_assert_int_eq(store->operations->flush(store, &error), WEIR_OK);
}

START_TEST(a_list_from_which_a_compaction_has_taken_much_is_not_asked_for_again_and_again)
{
    struct shard_cursor cursor = { 0 };
    struct weir_bytes value = { 0 };
    shard_set_time(shard, 5000);
    for (int64_t i = 1; i <= LINES_COUNT; i++) {
        const struct state_key name = key_of(0);
        ck_assert(shard_list_add(shard, LINES, &name, (struct weir_bytes){ (const char *)&i, sizeof i }));
        if (i % 100 == 0) close_epoch();
    }
    count_all(500); /* what was in memory of the list is evicted */
    compact_lines_away();
    const uint64_t reads = shard_store_reads(shard);
    const struct state_key name = key_of(0);
    int64_t number = 0;
    for (int left = 0; shard_list_next(shard, LINES, &name, &cursor, &value); left++) {
        memcpy(&number, value.data, sizeof number);
        if (left == 0) ck_assert_int_eq(number, LINES_COUNT - LINES_LEFT + 1);
        ck_assert_int_lt(left, LINES_LEFT);
    }
    ck_assert_int_eq(number, LINES_COUNT);
    ck_assert_uint_le(shard_store_reads(shard) - reads, 10);
    ck_assert_ptr_null(shard_failure(shard));
}
END_TEST

/* Flips a bit in every block of every table. */
static void damage_tables(void)
{
    char folder[128], name[512];
    (void)snprintf(folder, sizeof folder, "%s/db", path);
    DIR *open_folder = opendir(folder);
    ck_assert_ptr_nonnull(open_folder);
    for (const struct dirent *entry; (entry = readdir(open_folder)) != NULL;) {
        if (strstr(entry->d_name, ".sst") == NULL) continue;
        (void)snprintf(name, sizeof name, "%s/%s", folder, entry->d_name);
        const int file = open(name, O_RDWR);
        struct stat stat;
        ck_assert_int_eq(fstat(file, &stat), 0);
        for (off_t at = 100; at < stat.st_size - 1500; at += 1000) {
            char byte;
            ck_assert_int_eq(pread(file, &byte, 1, at), 1);
            byte ^= 16;
            ck_assert_int_eq(pwrite(file, &byte, 1, at), 1);
        }
        (void)close(file);
    }
    (void)closedir(open_folder);
}

START_TEST(a_damaged_store_is_a_failure_and_never_a_wrong_count)
{
    count_all(500);
    ck_assert_ptr_null(shard_failure(shard));
    damage_tables();
    for (uint32_t i = 0; i < KEYS && shard_failure(shard) == NULL; i++) {
        const int64_t value = *value_of(i);
        ck_assert(value == 1 || shard_failure(shard) != NULL);
    }
    const struct weir_error *failure = shard_failure(shard);
    ck_assert_ptr_nonnull(failure);
    ck_assert_int_eq(failure->code, WEIR_DAMAGED);
    ck_assert_int_eq(failure->remedy, WEIR_REMEDY_REPLAY); /* the checkpoint is whole */
    ck_assert_msg(strstr(failure->text, ".sst") != NULL, "%s", failure->text);
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_checked_fixture(tests, begin, end);
    tcase_add_test(tests, memory_stays_near_the_budget);
    tcase_add_test(tests, an_epoch_larger_than_the_budget_needs_memory_and_is_right);
    tcase_add_test(tests, what_fits_is_never_read);
    tcase_add_test(tests, what_is_looked_for_ahead_is_a_hit_or_a_miss);
    tcase_add_test(tests, what_was_replayed_stays_in_memory);
    tcase_add_test(tests, what_expires_on_disk_is_not_seen_again);
    tcase_add_test(tests, a_base_has_all_that_has_changed_since_the_last_one);
    tcase_add_test(tests, a_list_from_which_a_compaction_has_taken_much_is_not_asked_for_again_and_again);
    tcase_add_test(tests, a_damaged_store_is_a_failure_and_never_a_wrong_count);
}

int main(void)
{
    return unit_main("state_cache", add);
}
