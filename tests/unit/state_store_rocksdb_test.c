/* The store in RocksDB against a plain array, from a seed: puts, removals, flushes, reads, scans, bases, and stores opened
 * from bases for other ranges of key groups. Then damage: every file of a base cut off, changed, missing or exchanged. */
#include "state/store_rocksdb.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "harness/unit.h"
#include "state/store_key.h"
#include "state/store_rocksdb_private.h"

enum { PLAIN, MAP, ORDERED, STATES };
enum { KEYS = 8, MEMBERS = 20, ROWS = STATES * KEYS * MEMBERS, MAX_PARALLELISM = 16, OPEN_FILES = 16 };

static const struct state_declaration declarations[STATES] = {
    [PLAIN] = { .name = "plain", .codec = WEIR_BYTES },
    [MAP] = { .name = "map", .kind = WEIR_STATE_MAP, .codec = WEIR_BYTES },
    [ORDERED] = { .name = "ordered", .codec = WEIR_BYTES, .ordered_in_group = true },
};

/* A unit, what the store holds of it, and what it was told since the last flush. */
struct row {
    uint32_t state;
    uint32_t group;
    struct state_key key;
    uint64_t seed, seed_pending; /* 0 = none; the value is made of it */
};

static struct row rows[ROWS];
static char directory[64];
static struct store_memory *memory;
static struct weir_environment environment;
static struct store *checkpoints; /* where bases go */
static struct weir_error error;
static struct buffer values;

static void check(enum weir_code code)
{
    ck_assert_msg(code == WEIR_OK, "%s", error.text);
}

/* ---- Units ------------------------------------------------------------------------------------------------------- */

static void name_row(struct row *row, uint32_t i)
{
    static char elements[MEMBERS][MEMBERS];
    static const char *const keys[KEYS] = { "", "a", "ab", "b\xff", "longer key", "k5", "k6", "k7" };
    const uint32_t member = i / STATES / KEYS;
    *row = (struct row){ .state = i % STATES };
    row->key.key = i / STATES % KEYS == 7 ? WEIR_NULL : weir_text(keys[i / STATES % KEYS]);
    row->key.hash = hash_key(row->key.key);
    row->group = key_group_of(row->key.hash, MAX_PARALLELISM);
    if (member % 2 == 1) row->key.name_space = weir_text("space");
    if (member < 2 || (member == 2 && row->state == PLAIN)) {
        if (member == 2) row->key.name_space = WEIR_NULL;
        return; /* a value, a head */
    }
    elements[member][1] = (char)member; /* begins with a zero byte */
    row->key.element = (struct weir_bytes){ elements[member], member };
    if (row->state == MAP) row->key.generation = 1 + member % 3;
}

static struct weir_bytes value_of(uint64_t seed)
{
    static char bytes[3000];
    if (seed % 16 == 1) return WEIR_NULL;
    const size_t size = seed % 16 == 2 ? sizeof bytes : seed / 16 % 100;
    for (size_t i = 0; i < size; i++) bytes[i] = (char)(unit_random(&seed) >> 56);
    return (struct weir_bytes){ bytes, size };
}

static uint32_t version_of(uint64_t seed)
{
    return (uint32_t)(seed >> 20 & 3);
}

static bool is_value_of(uint64_t seed, struct weir_bytes value, uint32_t version)
{
    const struct weir_bytes expected = value_of(seed);
    return version == version_of(seed) && weir_is_null(value) == weir_is_null(expected) &&
           value.size == expected.size && memcmp(value.data, expected.data, value.size) == 0;
}

static int compare_part(struct weir_bytes a, struct weir_bytes b)
{
    if (!weir_is_set(a) || !weir_is_set(b)) return weir_is_set(a) - weir_is_set(b);
    if (weir_is_null(a) || weir_is_null(b)) return weir_is_null(b) - weir_is_null(a);
    const int order = memcmp(a.data, b.data, a.size < b.size ? a.size : b.size);
    return order != 0 ? order : (a.size > b.size) - (a.size < b.size);
}

/* By the order in which a walk comes by. */
static int compare_rows(const void *a, const void *b)
{
    const struct row *x = a, *y = b;
    if (x->state != y->state) return x->state < y->state ? -1 : 1;
    if (x->group != y->group) return x->group < y->group ? -1 : 1;
    const int key = compare_part(x->key.key, y->key.key);
    const int name_space = compare_part(x->key.name_space, y->key.name_space);
    const int element = compare_part(x->key.element, y->key.element);
    if (x->state == ORDERED) return name_space != 0 ? name_space : element != 0 ? element : key;
    if (key != 0 || name_space != 0) return key != 0 ? key : name_space;
    if (x->key.generation != y->key.generation) return x->key.generation < y->key.generation ? -1 : 1;
    return element;
}

static bool is_key(const struct state_key *a, const struct state_key *b)
{
    return compare_part(a->key, b->key) == 0 && compare_part(a->name_space, b->name_space) == 0 &&
           compare_part(a->element, b->element) == 0 && a->generation == b->generation && a->hash == b->hash;
}

static void make_rows(void)
{
    for (uint32_t i = 0; i < ROWS; i++) name_row(&rows[i], i);
    qsort(rows, ROWS, sizeof rows[0], compare_rows);
}

/* ---- The store --------------------------------------------------------------------------------------------------- */

static void path_of(char path[128], const char *name, uint32_t number)
{
    ck_assert_int_lt(snprintf(path, 128, "%s/%s-%" PRIu32, directory, name, number), 128);
}

static struct state_store *open_store(uint32_t number, const struct links *base, uint32_t group_first,
                                      uint32_t group_count)
{
    char path[128];
    struct state_store *store;
    path_of(path, "store", number);
    check(store_rocksdb_open(&(struct store_rocksdb_options){ .directory = path, .states = declarations,
                                                              .state_count = STATES,
                                                              .max_parallelism = MAX_PARALLELISM,
                                                              .group_first = group_first, .group_count = group_count,
                                                              .memory = memory, .open_files_max = OPEN_FILES,
                                                              .from = checkpoints, .base = base },
                             &store, &error));
    return store;
}

/* A base in the checkpoint store, and what it refers to; `known` is what an earlier one did. */
static struct manifest_base make_base_of(struct state_store *store, const struct links *known, struct links *links)
{
    static struct store_base_result result;
    struct manifest_state states[STATES] = { { .name = "plain" }, { .name = "map" }, { .name = "ordered" } };
    char folder[STORE_FOLDER_MAX];
    links_init(links);
    links->key_groups = MAX_PARALLELISM;
    for (uint32_t i = 0; i < STATES; i++) buffer_u8(&links->stamped, 0);
    ck_assert(manifest_states_encode(states, STATES, &links->states));
    check(store->operations->link(store, folder, &error));
    check(links_write(checkpoints, folder, known, links, &result, &error));
    return (struct manifest_base){ .store = STORE_KIND_LINKS, .name = result.name, .length = result.length,
                                   .hash = result.hash, .incarnation = result.incarnation,
                                   .group_count = MAX_PARALLELISM };
}

static void flush(struct state_store *store)
{
    check(store->operations->flush(store, &error));
    for (uint32_t i = 0; i < ROWS; i++) rows[i].seed = rows[i].seed_pending;
}

/* All of one generation, whether put before or behind the last flush; of what comes later nothing. */
static void clear(struct state_store *store, uint64_t *random, uint32_t group_first, uint32_t group_count)
{
    const struct row *of = &rows[unit_random_below(random, ROWS)];
    if (of->key.generation == 0 || of->group - group_first >= group_count) return;
    check(store->operations->remove_elements(store, of->state, &of->key, &error));
    for (uint32_t i = 0; i < ROWS; i++)
        if (rows[i].state == of->state && rows[i].key.generation == of->key.generation &&
            compare_part(rows[i].key.key, of->key.key) == 0 &&
            compare_part(rows[i].key.name_space, of->key.name_space) == 0)
            rows[i].seed_pending = 0;
    flush(store);
}

static void change(struct state_store *store, uint64_t *random, uint32_t group_first, uint32_t group_count)
{
    struct row *row = &rows[unit_random_below(random, ROWS)];
    if (row->group - group_first >= group_count) return;
    row->seed_pending = unit_chance(random, 30) ? 0 : unit_random(random) | 1u << 31;
    if (row->seed_pending == 0)
        check(store->operations->remove(store, row->state, &row->key, &error));
    else
        check(store->operations->put(store, row->state, &row->key, value_of(row->seed_pending),
                                     version_of(row->seed_pending), &error));
}

/* Into `values`. */
static enum weir_code get(struct state_store *store, uint32_t state, const struct state_key *key, bool *found,
                          uint32_t *version)
{
    struct store_wanted wanted = { .state = state, .key = *key };
    buffer_clear(&values);
    const enum weir_code code = store->operations->get_many(store, &wanted, 1, &values, &error);
    *found = wanted.found;
    *version = wanted.version;
    return code;
}

static void check_get(struct state_store *store, const struct row *row)
{
    bool found;
    uint32_t version;
    check(get(store, row->state, &row->key, &found, &version));
    ck_assert_int_eq(found, row->seed != 0);
    if (found && !weir_is_null(value_of(row->seed)))
        ck_assert(is_value_of(row->seed, (struct weir_bytes){ values.data, values.size }, version));
}

static void check_get_many(struct state_store *store, uint64_t *random)
{
    static struct store_wanted wanted[STORE_WANTED_MAX];
    const struct row *asked[STORE_WANTED_MAX];
    const uint32_t count = unit_random_below(random, STORE_WANTED_MAX + 1);
    buffer_clear(&values);
    for (uint32_t i = 0; i < count; i++) {
        asked[i] = &rows[unit_random_below(random, ROWS)];
        wanted[i] = (struct store_wanted){ .state = asked[i]->state, .key = asked[i]->key };
    }
    check(store->operations->get_many(store, wanted, count, &values, &error));
    for (uint32_t i = 0; i < count; i++) {
        ck_assert_int_eq(wanted[i].found, asked[i]->seed != 0);
        if (wanted[i].found)
            ck_assert(is_value_of(asked[i]->seed, store_wanted_value(&wanted[i], &values), wanted[i].version));
    }
}

/* Rows that a walk is to visit, in order. */
struct expected {
    bool (*belongs)(const struct row *row, const struct row *from);
    const struct row *from;
    uint32_t next;
    uint32_t visits, visits_max;
};

static void skip_to_next(struct expected *expected)
{
    while (expected->next < ROWS && (rows[expected->next].seed == 0 ||
                                     !expected->belongs(&rows[expected->next], expected->from)))
        expected->next++;
}

static bool visit(void *user, uint32_t state, const struct state_key *key, struct weir_bytes value, uint32_t version)
{
    struct expected *expected = user;
    skip_to_next(expected);
    ck_assert_uint_lt(expected->next, ROWS);
    const struct row *row = &rows[expected->next++];
    ck_assert_uint_eq(state, row->state);
    ck_assert(is_key(key, &row->key));
    ck_assert(is_value_of(row->seed, value, version));
    return ++expected->visits < expected->visits_max;
}

static bool is_of_collection(const struct row *row, const struct row *from)
{
    return row->state == from->state && compare_part(row->key.key, from->key.key) == 0 &&
           compare_part(row->key.name_space, from->key.name_space) == 0 &&
           row->key.generation == from->key.generation && compare_part(row->key.element, from->key.element) >= 0;
}

static bool is_any(const struct row *row, const struct row *from)
{
    (void)from;
    return row != NULL;
}

/* In slices that end now and then. */
static void check_whole(struct state_store *store, uint64_t *random)
{
    struct expected expected = { .belongs = is_any };
    store->operations->walk_begin(store);
    for (bool is_over = false; !is_over;) {
        expected.visits_max = expected.visits + 1 + unit_random_below(random, 200);
        check(store->operations->walk_on(store, visit, &expected, &is_over, &error));
    }
    store->operations->walk_end(store);
    skip_to_next(&expected);
    ck_assert_uint_eq(expected.next, ROWS);
}

static void check_walk(struct state_store *store, uint64_t *random)
{
    const struct row *from = &rows[unit_random_below(random, ROWS)];
    struct expected expected = { .from = from, .visits_max = unit_chance(random, 30) ? 2 : UINT32_MAX };
    if (from->state == ORDERED || unit_chance(random, 20)) {
        check_whole(store, random);
        return;
    }
    expected.belongs = is_of_collection;
    check(store->operations->scan(store, from->state, &from->key, visit, &expected, &error));
    if (expected.visits == expected.visits_max) return;
    skip_to_next(&expected);
    ck_assert_uint_eq(expected.next, ROWS);
}

/* ---- A life ------------------------------------------------------------------------------------------------------ */

static uint32_t files_brought, files_known;
static uint32_t past_rocksdb, by_rocksdb; /* states that were only read */

/* As a savepoint does. */
static struct state_store *open_to_read(const struct manifest_base *base, enum weir_code *code)
{
    struct links links;
    struct state_store *store = NULL;
    links_init(&links);
    *code = links_read(checkpoints, base, &links, &error);
    if (*code == WEIR_OK)
        *code = store_rocksdb_open(&(struct store_rocksdb_options){ .states = declarations, .state_count = STATES,
                                                                    .max_parallelism = MAX_PARALLELISM,
                                                                    .group_count = MAX_PARALLELISM,
                                                                    .open_files_max = OPEN_FILES, .from = checkpoints,
                                                                    .base = &links },
                                   &store, &error);
    links_deinit(&links);
    return store;
}

static void check_only_read(const struct manifest_base *base, uint64_t *random)
{
    enum weir_code code;
    struct state_store *store = open_to_read(base, &code);
    check(code);
    for (uint32_t i = 0; i < STATES; i++) {
        struct rocks_tables *tables = rocks_tables_open(rocks_of(store), i);
        *(tables == NULL ? &by_rocksdb : &past_rocksdb) += 1;
        rocks_tables_close(tables);
    }
    check_whole(store, random);
    store_rocksdb_close(store);
}

/* A base, and a store that goes on from it with other key groups, at times after changes that the base must not see.
 * `known` is what the last base refers to. */
static struct state_store *move(struct state_store *store, uint64_t *random, uint32_t number, struct links *known,
                                uint32_t *group_first, uint32_t *group_count)
{
    struct links written, links;
    char path[128];
    flush(store);
    const struct manifest_base base = make_base_of(store, known, &written);
    for (size_t i = 0; i < written.files.count; i++)
        if (written.files.items[i].file[0] != '\0') *(written.files.items[i].is_fresh ? &files_brought : &files_known) += 1;
    links_deinit(&written);
    check_only_read(&base, random);
    for (uint32_t i = unit_random_below(random, 2) * 200; i > 0; i--)
        change(store, random, *group_first, *group_count);
    check(store->operations->flush(store, &error));
    for (uint32_t i = 0; i < ROWS; i++) rows[i].seed_pending = rows[i].seed;
    store->operations->destroy(store);

    const uint32_t first = unit_random_below(random, MAX_PARALLELISM / 4);
    *group_first = unit_chance(random, 60) ? 0 : first;
    *group_count = MAX_PARALLELISM - *group_first - (unit_chance(random, 60) ? 0 : first);
    for (uint32_t i = 0; i < ROWS; i++)
        if (rows[i].group - *group_first >= *group_count) rows[i].seed = rows[i].seed_pending = 0;
    links_init(&links);
    check(links_read(checkpoints, &base, &links, &error));
    store = open_store(number + 1, &links, *group_first, *group_count);
    check(links_check(checkpoints, &links, true, &error)); /* opening has not touched it */
    links_deinit(known);
    *known = links;
    path_of(path, "store", number);
    check(store_files_remove(path, &error));
    return store;
}

static struct state_store *live(struct state_store *store, uint64_t *random, uint32_t number)
{
    uint32_t group_first = 0, group_count = MAX_PARALLELISM;
    struct links known;
    links_init(&known);
    for (uint32_t step = 0; step < 400; step++) {
        const uint32_t what = unit_random_below(random, 100);
        if (what < 60)
            for (uint32_t i = unit_random_below(random, 40); i > 0; i--)
                change(store, random, group_first, group_count);
        else if (what < 65) clear(store, random, group_first, group_count);
        else if (what < 70) flush(store);
        else if (what < 80) check_get(store, &rows[unit_random_below(random, ROWS)]);
        else if (what < 88) check_get_many(store, random);
        else if (what < 98) check_walk(store, random);
        else store = move(store, random, number++, &known, &group_first, &group_count);
    }
    flush(store);
    for (uint32_t i = 0; i < ROWS; i++) check_get(store, &rows[i]);
    links_deinit(&known);
    return store;
}

static void set_up(void)
{
    /* In memory where that can be had: RocksDB syncs each file. */
    (void)snprintf(directory, sizeof directory, "%s/weir-store-XXXXXX", access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    ck_assert_ptr_nonnull(mkdtemp(directory));
    memory = store_memory_create(1 << 20);
    ck_assert_ptr_nonnull(memory);
    environment_init_system(&environment);
    const struct store_options options = { .directory = directory, .job = "job", .slot = "0", .create = true,
                                           .segment_bytes = 16384, .environment = &environment };
    check(store_open(&options, &checkpoints, &error));
    check(store_begin(checkpoints, 1, &error));
    buffer_init(&values);
    make_rows();
}

static void remove_tree(const char *path)
{
    DIR *folder = opendir(path);
    if (folder == NULL) return;
    for (const struct dirent *entry; (entry = readdir(folder)) != NULL;) {
        char inside[512];
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
        (void)snprintf(inside, sizeof inside, "%s/%s", path, entry->d_name);
        if (unlink(inside) < 0) remove_tree(inside);
    }
    (void)closedir(folder);
    (void)rmdir(path);
}

static void tear_down(void)
{
    buffer_deinit(&values);
    store_memory_destroy(memory);
    store_close(checkpoints);
    remove_tree(directory);
}

START_TEST(the_store_is_the_array)
{
    uint64_t random = unit_seed();
    for (uint32_t i = 0; i < 3; i++) {
        for (uint32_t j = 0; j < ROWS; j++) rows[j].seed = rows[j].seed_pending = 0;
        struct state_store *store = live(open_store(1000 * i, NULL, 0, MAX_PARALLELISM), &random, 1000 * i);
        store->operations->destroy(store);
    }
    ck_assert_uint_gt(files_brought, 0);
    ck_assert_uint_gt(files_known, 0);
    ck_assert_uint_gt(past_rocksdb, 0);
    ck_assert_uint_gt(by_rocksdb, 0); /* where ranges were removed */
}
END_TEST

/* Files of level 0 that overlap, those that compactions made of them, and what a removal hides in older ones. */
START_TEST(what_is_only_read_is_read_past_rocksdb)
{
    uint64_t random = unit_seed();
    struct state_store *store = open_store(0, NULL, 0, MAX_PARALLELISM);
    past_rocksdb = by_rocksdb = 0;
    for (uint32_t i = 0; i < 40; i++) {
        for (uint32_t j = unit_random_below(&random, 200); j > 0; j--) change(store, &random, 0, MAX_PARALLELISM);
        flush(store);
        if (i % 4 != 3) continue;
        struct links links;
        const struct manifest_base base = make_base_of(store, NULL, &links);
        check_only_read(&base, &random);
        links_deinit(&links);
    }
    ck_assert_uint_eq(by_rocksdb, 0);
    store->operations->destroy(store);
}
END_TEST

/* A shard that goes on with the key groups that it had removes no range for it. */
START_TEST(nothing_is_clipped_where_nothing_is_foreign)
{
    enum { FIRST = 4, COUNT = 8 };
    uint64_t random = unit_seed();
    struct links links, again;
    struct state_store *store = open_store(0, NULL, FIRST, COUNT);
    past_rocksdb = by_rocksdb = 0;
    for (uint32_t i = 0; i < 500; i++) change(store, &random, FIRST, COUNT);
    flush(store);
    (void)make_base_of(store, NULL, &links);
    store->operations->destroy(store);
    store = open_store(1, &links, FIRST, COUNT);
    const struct manifest_base base = make_base_of(store, NULL, &again);
    check_only_read(&base, &random);
    ck_assert_uint_eq(by_rocksdb, 0);
    store->operations->destroy(store);
    links_deinit(&links);
    links_deinit(&again);
}
END_TEST

/* A compaction has to drop what was clipped, and to find nothing amiss with files of several batches. */
START_TEST(many_batches_are_one_state)
{
    uint64_t random = unit_seed();
    struct state_store *store = open_store(0, NULL, 0, MAX_PARALLELISM);
    for (uint32_t i = 0; i < 40; i++) {
        for (uint32_t j = 0; j < 50; j++) change(store, &random, 0, MAX_PARALLELISM);
        flush(store);
    }
    for (uint32_t i = 0; i < ROWS; i++) check_get(store, &rows[i]);
    store->operations->destroy(store);
}
END_TEST

/* ---- Leftovers and foreign states -------------------------------------------------------------------------------- */

static void put_text(struct state_store *store, uint32_t state, const char *name, const char *text)
{
    struct state_key key = { .key = weir_text(name) };
    key.hash = hash_key(key.key);
    check(store->operations->put(store, state, &key, weir_text(text), 0, &error));
}

static bool has_text(struct state_store *store, uint32_t state, const char *name, const char *text)
{
    bool found;
    uint32_t version;
    struct state_key key = { .key = weir_text(name) };
    key.hash = hash_key(key.key);
    check(get(store, state, &key, &found, &version));
    return found && values.size == strlen(text) && memcmp(values.data, text, values.size) == 0;
}

START_TEST(what_a_crash_left_behind_is_not_used)
{
    struct state_store *store = open_store(0, NULL, 0, MAX_PARALLELISM);
    put_text(store, PLAIN, "key", "past the last commit");
    check(store->operations->flush(store, &error));
    store->operations->destroy(store);
    store = open_store(0, NULL, 0, MAX_PARALLELISM);
    ck_assert(!has_text(store, PLAIN, "key", "past the last commit"));
    store->operations->destroy(store);
}
END_TEST

START_TEST(states_are_found_by_name_and_dropped_when_not_declared)
{
    char path[128];
    struct links links;
    struct state_store *store = open_store(0, NULL, 0, MAX_PARALLELISM);
    put_text(store, PLAIN, "key", "plain");
    put_text(store, ORDERED, "key", "ordered");
    check(store->operations->flush(store, &error));
    (void)make_base_of(store, NULL, &links);
    store->operations->destroy(store);

    const struct state_declaration others[] = { { .name = "new" }, declarations[PLAIN] };
    path_of(path, "store", 1);
    check(store_rocksdb_open(&(struct store_rocksdb_options){ .directory = path, .states = others, .state_count = 2,
                                                              .max_parallelism = MAX_PARALLELISM,
                                                              .group_count = MAX_PARALLELISM, .memory = memory,
                                                              .open_files_max = OPEN_FILES, .from = checkpoints,
                                                              .base = &links },
                             &store, &error));
    ck_assert(has_text(store, 1, "key", "plain"));
    ck_assert(!has_text(store, 0, "key", "ordered"));
    put_text(store, 0, "key", "new");
    check(store->operations->flush(store, &error));
    ck_assert(has_text(store, 0, "key", "new"));
    store->operations->destroy(store);

    /* A state that was given up, and declared again, is another one. */
    const char *given_up = "plain";
    check(store_rocksdb_open(&(struct store_rocksdb_options){ .directory = path, .states = others, .state_count = 2,
                                                              .max_parallelism = MAX_PARALLELISM,
                                                              .group_count = MAX_PARALLELISM, .memory = memory,
                                                              .open_files_max = OPEN_FILES, .from = checkpoints,
                                                              .base = &links, .given_up = &given_up,
                                                              .given_up_count = 1 },
                             &store, &error));
    ck_assert(!has_text(store, 1, "key", "plain"));
    put_text(store, 1, "key", "again");
    check(store->operations->flush(store, &error));
    ck_assert(has_text(store, 1, "key", "again"));
    store->operations->destroy(store);
    links_deinit(&links);
}
END_TEST

START_TEST(a_failure_is_answered_again)
{
    char path[128];
    struct state_store *store = open_store(0, NULL, 0, MAX_PARALLELISM);
    path_of(path, "store", 0);
    remove_tree(path); /* somebody removes the folder under a running job */
    put_text(store, PLAIN, "key", "value");
    ck_assert_int_eq(store->operations->flush(store, &error), WEIR_ENVIRONMENT);
    ck_assert_int_eq(error.remedy, WEIR_REMEDY_REPLAY);
    char sentence[sizeof error.text];
    memcpy(sentence, error.text, sizeof sentence);
    error = (struct weir_error){ 0 };
    ck_assert_int_eq(store->operations->flush(store, &error), WEIR_ENVIRONMENT);
    ck_assert_str_eq(error.text, sentence);
    store->operations->destroy(store);
}
END_TEST

static bool has_key(struct state_store *store, const char *name)
{
    struct state_key key = { .key = weir_text(name) };
    key.hash = hash_key(key.key);
    bool found;
    uint32_t version;
    check(get(store, PLAIN, &key, &found, &version));
    return found;
}

START_TEST(what_is_put_while_a_batch_is_written_is_for_the_next_one)
{
    struct state_store *store = open_store(0, NULL, 0, MAX_PARALLELISM);
    char folder[STORE_FOLDER_MAX], name[16];
    bool is_busy = true;
    for (int round = 0; round < 20; round++) {
        (void)snprintf(name, sizeof name, "%d", round);
        put_text(store, PLAIN, name, "value");
        check(store->operations->begin_flush(store, &error));
        put_text(store, PLAIN, "later", "value");
        while (is_busy) check(store->operations->await(store, 100, &is_busy, &error));
        ck_assert(has_key(store, name));
        ck_assert_int_eq(has_key(store, "later"), round > 0);
        is_busy = true;
    }
    check(store->operations->begin_link(store, folder, &error));
    check(store->operations->await(store, -1, &is_busy, &error));
    ck_assert(!is_busy);
    ck_assert_int_eq(access(folder, R_OK), 0);
    check(store->operations->begin_flush(store, &error)); /* the end waits for it */
    store->operations->destroy(store);
}
END_TEST

START_TEST(a_failure_behind_the_answer_is_answered_by_all_that_follows)
{
    char path[128];
    bool is_busy;
    struct state_store *store = open_store(0, NULL, 0, MAX_PARALLELISM);
    path_of(path, "store", 0);
    remove_tree(path);
    put_text(store, PLAIN, "key", "value");
    check(store->operations->begin_flush(store, &error));
    ck_assert_int_eq(store->operations->await(store, -1, &is_busy, &error), WEIR_ENVIRONMENT);
    ck_assert(!is_busy);
    ck_assert_int_eq(store->operations->begin_flush(store, &error), WEIR_ENVIRONMENT);
    ck_assert_int_eq(store->operations->flush(store, &error), WEIR_ENVIRONMENT);
    store->operations->destroy(store);
}
END_TEST

/* ---- Time to live ------------------------------------------------------------------------------------------------ */

enum { TTL_MS = 1000, LATE_MS = 5000 };

static void put_stamped(struct state_store *store, uint32_t state, const struct state_key *key, int64_t stamp_ms)
{
    struct buffer packed;
    buffer_init(&packed);
    store_stamped_encode(&packed, stamp_ms, weir_text("value"));
    check(store->operations->put(store, state, key, (struct weir_bytes){ packed.data, packed.size }, 0, &error));
    buffer_deinit(&packed);
}

static bool has_unit(struct state_store *store, uint32_t state, const struct state_key *key)
{
    bool found;
    uint32_t version;
    check(get(store, state, key, &found, &version));
    return found;
}

static struct state_key key_of(const char *name, uint64_t generation)
{
    struct state_key key = { .key = weir_text(name), .generation = generation };
    key.hash = hash_key(key.key);
    if (generation > 0) key.element = weir_text("member");
    return key;
}

/* Batches that do not overlap what is there are moved down without being rewritten, so these do. */
static void provoke_compactions(struct state_store *store, uint32_t state, uint32_t round)
{
    char name[32];
    const struct state_key first = key_of("a", state > 0), last = key_of("z", state > 0);
    (void)snprintf(name, sizeof name, "filler-%u", round);
    const struct state_key filler = key_of(name, state > 0);
    put_stamped(store, state, &first, LATE_MS);
    put_stamped(store, state, &filler, LATE_MS);
    put_stamped(store, state, &last, LATE_MS);
    check(store->operations->flush(store, &error));
}

START_TEST(a_compaction_leaves_out_what_has_expired)
{
    static const struct state_declaration expiring[] = {
        { .name = "value", .codec = WEIR_BYTES, .ttl_ms = TTL_MS },
        { .name = "map", .kind = WEIR_STATE_MAP, .codec = WEIR_BYTES, .ttl_ms = TTL_MS },
        { .name = "list", .kind = WEIR_STATE_LIST, .codec = WEIR_BYTES, .ttl_ms = TTL_MS },
    };
    const uint32_t state = (uint32_t)_i;
    const uint64_t generation = state > 0;
    char path[128];
    struct state_store *store;
    path_of(path, "store", 0);
    check(store_rocksdb_open(&(struct store_rocksdb_options){ .directory = path, .states = expiring, .state_count = 3,
                                                              .max_parallelism = MAX_PARALLELISM,
                                                              .group_count = MAX_PARALLELISM, .memory = memory,
                                                              .open_files_max = OPEN_FILES },
                             &store, &error));
    const struct state_key old = key_of("key", generation), young = key_of("other key", generation);
    struct state_key head = key_of("head", 0);
    put_stamped(store, state, &old, 1);
    put_stamped(store, state, &young, LATE_MS - TTL_MS + 1);
    if (state > 0) check(store->operations->put(store, state, &head, weir_text("no time"), 0, &error));
    check(store->operations->flush(store, &error));
    uint32_t round = 0;
    for (; round < 20; round++) provoke_compactions(store, state, round); /* nobody has said yet how late it is */
    ck_assert(has_unit(store, state, &old));
    store->operations->set_time(store, LATE_MS);
    for (; round < 2000 && has_unit(store, state, &old); round++) provoke_compactions(store, state, round);
    ck_assert(!has_unit(store, state, &old));
    ck_assert(has_unit(store, state, &young));
    ck_assert(state == 0 || has_unit(store, state, &head));
    store->operations->destroy(store);
}
END_TEST

/* ---- Damage ------------------------------------------------------------------------------------------------------ */

static struct manifest_base base;
static struct links base_links;

/* A base of tables with several blocks. */
static void make_base(void)
{
    uint64_t random = 1;
    struct state_store *store = open_store(0, NULL, 0, MAX_PARALLELISM);
    for (uint32_t i = 0; i < 2000; i++) change(store, &random, 0, MAX_PARALLELISM);
    flush(store);
    for (uint32_t i = 0; i < 20; i++) change(store, &random, 0, MAX_PARALLELISM);
    flush(store);
    base = make_base_of(store, NULL, &base_links);
    store->operations->destroy(store);
    ck_assert_uint_gt(base_links.files.count, 3);
}

static enum weir_code open_base(struct state_store **store)
{
    char path[128];
    struct links links;
    path_of(path, "store", 1);
    links_init(&links);
    enum weir_code code = links_read(checkpoints, &base, &links, &error);
    if (code == WEIR_OK)
        code = store_rocksdb_open(&(struct store_rocksdb_options){ .directory = path, .states = declarations,
                                                                   .state_count = STATES,
                                                                   .max_parallelism = MAX_PARALLELISM,
                                                                   .group_count = MAX_PARALLELISM, .memory = memory,
                                                                   .open_files_max = OPEN_FILES, .from = checkpoints,
                                                                   .base = &links },
                                  store, &error);
    links_deinit(&links);
    return code;
}

static void expect_damage_named(const char *file, const char *how)
{
    struct state_store *store;
    error = (struct weir_error){ 0 };
    ck_assert_msg(open_base(&store) == WEIR_DAMAGED, "%s %s was not found", file, how);
    ck_assert_msg(strstr(error.text, file) != NULL, "%s %s: '%s' does not name it", file, how, error.text);
    ck_assert_int_eq(error.remedy, WEIR_REMEDY_STOP);
}

static void in_store(char inside[256], const char *file)
{
    (void)snprintf(inside, 256, "%s/%s", store_path(checkpoints), file);
}

static int open_file(const char *file)
{
    char inside[256];
    in_store(inside, file);
    const int opened = open(inside, O_RDWR);
    ck_assert_int_ge(opened, 0);
    return opened;
}

static void flip(int file, uint64_t at)
{
    char byte;
    ck_assert_int_eq(pread(file, &byte, 1, (off_t)at), 1);
    byte ^= 4;
    ck_assert_int_eq(pwrite(file, &byte, 1, (off_t)at), 1);
}

/* The base itself, and each file that it refers to: its name in the store, its length, and from where on a change shows
 * before it is opened. NULL behind the last one. */
static const char *file_of_base(size_t index, uint64_t *length, uint64_t *checked_from)
{
    *length = base.length;
    *checked_from = 0;
    if (index == 0) return base.name;
    for (size_t i = 0, table = 0; i < base_links.files.count; i++) {
        const struct links_file *file = &base_links.files.items[i];
        if (file->file[0] == '\0' || ++table < index) continue;
        *length = file->length;
        *checked_from = file->length > LINKS_TAIL_BYTES ? file->length - LINKS_TAIL_BYTES : 0;
        return file->file;
    }
    return NULL;
}

START_TEST(damage_is_found_before_opening)
{
    uint64_t length, from;
    const char *file;
    make_base();
    for (size_t i = 0; (file = file_of_base(i, &length, &from)) != NULL; i++) {
        const int opened = open_file(file);
        for (uint64_t at = from; at < length; at += 1 + (length - from) / 50) {
            flip(opened, at);
            expect_damage_named(file, "changed");
            flip(opened, at);
        }
        (void)close(opened);
    }
    struct state_store *store;
    check(open_base(&store)); /* all is as it was */
    store->operations->destroy(store);
    links_deinit(&base_links);
}
END_TEST

/* Nothing is left out where somebody takes the time. */
START_TEST(every_byte_is_covered_by_some_hash)
{
    uint64_t length, from, bytes;
    const char *file;
    make_base();
    const uint64_t sum = base.length + links_bytes(&base_links, false);
    for (size_t i = 0; (file = file_of_base(i, &length, &from)) != NULL; i++) {
        const int opened = open_file(file);
        for (uint64_t at = 0; at < length; at += 1 + length / 40) {
            flip(opened, at);
            ck_assert_int_eq(store_verify_base(checkpoints, &base, true, &bytes, &error), WEIR_DAMAGED);
            ck_assert_ptr_nonnull(strstr(error.text, file));
            flip(opened, at);
        }
        (void)close(opened);
    }
    check(store_verify_base(checkpoints, &base, true, &bytes, &error));
    ck_assert_uint_eq(bytes, sum);
    links_deinit(&base_links);
}
END_TEST

static void cut_and_mend(const char *file, uint64_t length)
{
    char *bytes = malloc(length);
    const int opened = open_file(file);
    ck_assert_int_eq(pread(opened, bytes, length, 0), (ssize_t)length);
    for (uint64_t cut = 0; cut < length; cut += 1 + length / 20) {
        ck_assert_int_eq(ftruncate(opened, (off_t)cut), 0);
        expect_damage_named(file, "cut");
        ck_assert_int_eq(pwrite(opened, bytes, length, 0), (ssize_t)length);
    }
    (void)close(opened);
    free(bytes);
}

START_TEST(a_cut_missing_or_exchanged_file_is_found)
{
    uint64_t length, other_length, from;
    const char *file;
    make_base();
    for (size_t i = 0; (file = file_of_base(i, &length, &from)) != NULL; i++) {
        char inside[256], aside[256], other_inside[256];
        cut_and_mend(file, length);
        in_store(inside, file);
        (void)snprintf(aside, sizeof aside, "%s/aside", directory);
        ck_assert_int_eq(rename(inside, aside), 0);
        expect_damage_named(file, "missing");
        const char *other = file_of_base(i + 1, &other_length, &from);
        in_store(other_inside, other == NULL ? base.name : other);
        ck_assert_int_eq(link(other_inside, inside), 0);
        expect_damage_named(file, "exchanged");
        ck_assert_int_eq(unlink(inside), 0);
        ck_assert_int_eq(rename(aside, inside), 0);
    }
    links_deinit(&base_links);
}
END_TEST

/* Reads everything; the first code that is not fine. */
static enum weir_code read_all(struct state_store *store)
{
    enum weir_code code = WEIR_OK;
    for (uint32_t i = 0; code == WEIR_OK && i < ROWS; i++) {
        bool found;
        uint32_t version;
        code = get(store, rows[i].state, &rows[i].key, &found, &version);
        if (code != WEIR_OK) return code;
        ck_assert_msg(found == (rows[i].seed != 0), "a unit is there or not, against the truth");
        if (found && !weir_is_null(value_of(rows[i].seed)))
            ck_assert(is_value_of(rows[i].seed, (struct weir_bytes){ values.data, values.size }, version));
    }
    return code;
}

/* The same past RocksDB, in order. */
static enum weir_code walk_all(void)
{
    struct expected expected = { .belongs = is_any, .visits_max = UINT32_MAX };
    enum weir_code code;
    bool is_over = false;
    struct state_store *store = open_to_read(&base, &code);
    if (code != WEIR_OK) return code;
    store->operations->walk_begin(store);
    code = store->operations->walk_on(store, visit, &expected, &is_over, &error);
    ck_assert(code != WEIR_OK || is_over);
    store_rocksdb_close(store);
    return code;
}

static void expect_named(enum weir_code code, const char *file)
{
    ck_assert(code == WEIR_OK || code == WEIR_DAMAGED);
    if (code == WEIR_DAMAGED) ck_assert_msg(strstr(error.text, file) != NULL, "%s", error.text);
}

/* In front of its tail a table is not read before it is opened: a block with a flipped bit is found when it is read, and no
 * unit comes out wrong. */
START_TEST(a_damaged_block_is_found_when_it_is_read)
{
    uint32_t blocks = 0, found = 0, walked_into = 0;
    make_base();
    for (size_t i = 0; i < base_links.files.count; i++) {
        const struct links_file *file = &base_links.files.items[i];
        if (file->file[0] == '\0' || file->length <= 2 * LINKS_TAIL_BYTES) continue;
        const int opened = open_file(file->file);
        for (uint64_t at = 10; at < file->length - LINKS_TAIL_BYTES; at += 3000) {
            struct state_store *store;
            flip(opened, at);
            error = (struct weir_error){ 0 };
            store_memory_destroy(memory); /* blocks that were read before are known by their file's id */
            memory = store_memory_create(1 << 20);
            enum weir_code code = open_base(&store);
            if (code == WEIR_OK) {
                code = read_all(store);
                store->operations->destroy(store);
            }
            blocks++;
            found += code == WEIR_DAMAGED;
            expect_named(code, file->file);
            code = walk_all();
            walked_into += code == WEIR_DAMAGED;
            expect_named(code, file->file);
            flip(opened, at);
        }
        (void)close(opened);
    }
    ck_assert_uint_gt(blocks, 3);
    ck_assert_uint_gt(found, 0);
    ck_assert_uint_gt(walked_into, 0);
    links_deinit(&base_links);
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_add_test(tests, the_store_is_the_array);
    tcase_add_loop_test(tests, what_is_only_read_is_read_past_rocksdb, 0, 3);
    tcase_add_test(tests, nothing_is_clipped_where_nothing_is_foreign);
    tcase_add_test(tests, many_batches_are_one_state);
    tcase_add_test(tests, what_a_crash_left_behind_is_not_used);
    tcase_add_test(tests, states_are_found_by_name_and_dropped_when_not_declared);
    tcase_add_test(tests, a_failure_is_answered_again);
    tcase_add_test(tests, what_is_put_while_a_batch_is_written_is_for_the_next_one);
    tcase_add_test(tests, a_failure_behind_the_answer_is_answered_by_all_that_follows);
    tcase_add_loop_test(tests, a_compaction_leaves_out_what_has_expired, 0, 3);
    tcase_add_test(tests, damage_is_found_before_opening);
    tcase_add_test(tests, every_byte_is_covered_by_some_hash);
    tcase_add_test(tests, a_cut_missing_or_exchanged_file_is_found);
    tcase_add_test(tests, a_damaged_block_is_found_when_it_is_read);
}

int main(void)
{
    return unit_main("state_store_rocksdb", add);
}
