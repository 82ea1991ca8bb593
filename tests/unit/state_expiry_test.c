/* Time to live: every combination of what touches a value, who sees what has expired, and how it goes; for values, lists and
 * maps; on each backend. */
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "harness/unit.h"
#include "state/state.h"
#include "state/store_rocksdb.h"

enum { VALUE, LIST, MAP, STATES };
enum { TTL = 1000, START = 100000 };

/* With a store so small a cache in front of it that everything is written down, evicted and read back all the time. */
enum backend { HASHMAP, ROCKSDB, BACKENDS };
static enum backend backend;
static char directory[64];
static struct store_memory *memory;
static int stores;
static uint64_t evictions; /* of shards that are gone */

static int remove_one(const char *path, const struct stat *status, int kind, struct FTW *place)
{
    (void)status, (void)kind, (void)place;
    return remove(path);
}

static void make_directory(void)
{
    (void)snprintf(directory, sizeof directory, "%s/weir-expiry-XXXXXX",
                   access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    ck_assert_ptr_nonnull(mkdtemp(directory));
    memory = store_memory_create(1 << 20);
    ck_assert_ptr_nonnull(memory);
}

static void remove_directory(void)
{
    store_memory_destroy(memory);
    (void)nftw(directory, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static struct state_declaration declarations[STATES];
static struct state_mapping mapping[STATES];

static void declare(int64_t ttl_ms, bool on_read, bool shows_expired, uint32_t clean_up)
{
    static const enum weir_state_kind kinds[] = { WEIR_STATE_VALUE, WEIR_STATE_LIST, WEIR_STATE_MAP };
    static const char *const names[] = { "value", "list", "map" };
    for (uint32_t i = 0; i < STATES; i++) {
        declarations[i] = (struct state_declaration){ .kind = kinds[i], .codec = WEIR_I64, .value_size_bytes = 8,
                                                      .ttl_ms = ttl_ms, .ttl_on_read = on_read,
                                                      .ttl_shows_expired = shows_expired, .ttl_clean_up = clean_up };
        (void)snprintf(declarations[i].name, sizeof declarations[i].name, "%s", names[i]);
        mapping[i] = (struct state_mapping){ .state = i, .value_size_bytes = 8 };
    }
}

/* ---- A shard, what was written of it, and another one made of that ---------------------------------------------------- */

static struct shard *shard;
static int64_t shard_ttl_ms; /* as it was declared when the shard was made */
static struct buffer deltas, base; /* all deltas; the last base */
static int64_t now_ms;
static int64_t gone_ms; /* as a checkpoint remembers it: what was touched no later has expired */

static void use_store(void)
{
    char path[96];
    struct weir_error error = { 0 };
    struct state_store *store;
    (void)snprintf(path, sizeof path, "%s/%d", directory, stores++);
    const struct store_rocksdb_options options = { .directory = path, .states = declarations, .state_count = STATES,
                                                   .max_parallelism = 4, .group_count = 4, .memory = memory,
                                                   .open_files_max = 16 };
    ck_assert_msg(store_rocksdb_open(&options, &store, &error) == WEIR_OK, "%s", error.text);
    shard_use(shard, store, 1 << 10);
}

static void create(void)
{
    shard = shard_create(&(struct shard_options){ .states = declarations, .state_count = STATES, .max_parallelism = 4,
                                                  .group_count = 4, .epoch = 1 });
    ck_assert_ptr_nonnull(shard);
    shard_ttl_ms = declarations[VALUE].ttl_ms;
    if (backend == ROCKSDB) use_store();
}

static void begin(void)
{
    now_ms = START;
    gone_ms = INT64_MIN;
    buffer_init(&deltas);
    buffer_init(&base);
    create();
    shard_set_time(shard, now_ms);
}

static void end(void)
{
    shard_destroy(shard);
    buffer_deinit(&deltas);
    buffer_deinit(&base);
}

static void at(int64_t ms)
{
    shard_tend(shard);
    now_ms = START + ms;
    shard_set_time(shard, now_ms);
}

static void commit(void)
{
    const uint64_t announced = shard_changed_bytes(shard);
    const size_t size_before = deltas.size;
    ck_assert(shard_snapshot(shard, shard_epoch(shard), &deltas));
    ck_assert_uint_eq(deltas.size - size_before, announced);
    if (shard_ttl_ms > 0 && now_ms - shard_ttl_ms > gone_ms) gone_ms = now_ms - shard_ttl_ms;
}

static void dump(void)
{
    buffer_clear(&base);
    shard_dump_begin(shard);
    while (!shard_dump_step(shard, 100, &base)) continue;
}

/* The same with what `declare` said last. */
static void restore_from(const struct buffer *units)
{
    const uint64_t epoch = shard_epoch(shard), generation = shard_generation(shard);
    struct weir_error error = { 0 };
    evictions += shard_evictions(shard);
    shard_destroy(shard);
    create();
    for (uint32_t i = 0; i < STATES; i++) shard_set_gone(shard, i, gone_ms);
    ck_assert_msg(shard_apply(shard, (struct weir_bytes){ units->data, units->size }, mapping, STATES, &error) == WEIR_OK,
                  "%s", error.text);
    ck_assert_int_eq(shard_restored(shard, epoch, generation, NULL), WEIR_OK);
    shard_set_time(shard, now_ms);
}

/* ---- One value of each kind, called alike ---------------------------------------------------------------------------- */

static struct state_key key_of(const char *key)
{
    return (struct state_key){ .key = weir_text(key), .hash = hash_key(weir_text(key)) };
}

static struct weir_bytes bytes_of(const int64_t *number)
{
    return (struct weir_bytes){ (const char *)number, sizeof *number };
}

/* Writes `number`: of a list, as its last element, of a map, as the entry of that name. */
static void put(uint32_t state, const char *key, int64_t number)
{
    struct state_key name = key_of(key);
    char text[24];
    (void)snprintf(text, sizeof text, "%d", (int)number);
    if (state == VALUE) ck_assert(shard_set(shard, state, &name, bytes_of(&number)));
    if (state == LIST) ck_assert(shard_list_add(shard, state, &name, bytes_of(&number)));
    if (state != MAP) return;
    name.element = weir_text(text);
    ck_assert(shard_map_put(shard, state, &name, bytes_of(&number)));
}

static void append(char text[1000], struct weir_bytes value)
{
    int64_t number;
    if (!weir_is_set(value)) return;
    ck_assert_uint_eq(value.size, sizeof number);
    memcpy(&number, value.data, sizeof number);
    (void)snprintf(text + strlen(text), 1000 - strlen(text), "%d ", (int)number);
}

/* All that there is, in order. */
static const char *read_all(uint32_t state, const char *key)
{
    static char text[1000];
    const struct state_key name = key_of(key);
    struct shard_cursor cursor = { 0 };
    struct weir_bytes element, value;
    text[0] = '\0';
    if (state == VALUE) append(text, shard_get(shard, state, &name));
    while (state == LIST && shard_list_next(shard, state, &name, &cursor, &value)) append(text, value);
    while (state == MAP && shard_map_next(shard, state, &name, &cursor, &element, &value)) append(text, value);
    return text;
}

static bool is_empty(uint32_t state, const char *key)
{
    const struct state_key name = key_of(key);
    return shard_is_empty(shard, state, &name);
}

/* More than all places there are. */
static void clean_all(void)
{
    shard_clean(shard, 100000);
}

/* ---- Every combination ----------------------------------------------------------------------------------------------- */

enum going { BY_ACCESS, BY_CLEANING, BY_BASE, GOINGS };

struct combination {
    uint32_t state;
    bool on_read, shows_expired;
    enum going going;
};

static void check_combination(const struct combination *combination)
{
    const uint32_t state = combination->state;
    declare(TTL, combination->on_read, combination->shows_expired, combination->going == BY_CLEANING ? 1 : 0);
    begin();
    put(state, "old", 1);
    put(state, "read", 2);
    at(500);
    put(state, "young", 3);
    ck_assert_str_eq(read_all(state, "read"), "2 ");
    commit();

    at(TTL); /* to the millisecond */
    if (combination->going == BY_CLEANING) clean_all();
    if (combination->going == BY_BASE) {
        dump();
        restore_from(&base);
    }
    const bool is_there = combination->shows_expired && combination->going == BY_ACCESS;
    ck_assert_str_eq(read_all(state, "old"), is_there ? "1 " : "");
    ck_assert(is_empty(state, "old") == !is_there);
    ck_assert_str_eq(read_all(state, "read"), combination->on_read ? "2 " : is_there ? "2 " : "");
    ck_assert_str_eq(read_all(state, "young"), "3 ");
    commit();

    declare(0, false, false, 0);
    if (combination->going == BY_BASE) dump(); /* the log is older than the base */
    restore_from(combination->going == BY_BASE ? &base : &deltas);
    ck_assert_str_eq(read_all(state, "old"), ""); /* seen or not */
    ck_assert(is_empty(state, "old"));
    ck_assert_str_eq(read_all(state, "young"), "3 ");
    end();
}

START_TEST(every_combination_forgets_as_it_says)
{
    backend = (enum backend)_i;
    for (uint32_t i = 0; i < STATES * 4 * GOINGS; i++)
        check_combination(&(struct combination){ .state = i % STATES, .on_read = i / STATES % 2 == 1,
                                                 .shows_expired = i / STATES / 2 % 2 == 1, .going = i / STATES / 4 });
}
END_TEST

/* ---- Single facts ---------------------------------------------------------------------------------------------------- */

START_TEST(a_value_in_place_is_written_and_begins_anew_when_it_is_hidden)
{
    backend = (enum backend)_i;
    const struct state_key key = key_of("k");
    for (int shows = 0; shows < 2; shows++) {
        declare(TTL, false, shows, 0);
        begin();
        *(int64_t *)shard_value(shard, VALUE, &key) = 7;
        commit();
        at(999);
        ck_assert_int_eq(*(int64_t *)shard_value(shard, VALUE, &key), 7);
        at(1998); /* touched at 999 */
        ck_assert_int_eq(*(int64_t *)shard_value(shard, VALUE, &key), 7);
        at(2998);
        ck_assert_int_eq(*(int64_t *)shard_value(shard, VALUE, &key), shows ? 7 : 0);
        commit();
        restore_from(&deltas);
        at(3997);
        ck_assert_str_eq(read_all(VALUE, "k"), shows ? "7 " : "0 ");
        end();
    }
}
END_TEST

START_TEST(entries_of_a_map_expire_one_by_one)
{
    backend = (enum backend)_i;
    declare(TTL, false, false, 0);
    begin();
    for (int i = 0; i < 10; i++) {
        at(i * 100);
        put(MAP, "k", i);
    }
    commit();
    at(1350);
    ck_assert_str_eq(read_all(MAP, "k"), "4 5 6 7 8 9 ");
    struct state_key name = key_of("k");
    name.element = weir_text("5");
    at(1500);
    ck_assert(!weir_is_set(shard_map_get(shard, MAP, &name)));
    commit();
    restore_from(&deltas);
    ck_assert_str_eq(read_all(MAP, "k"), "6 7 8 9 ");
    at(1900);
    ck_assert(is_empty(MAP, "k"));
    commit();
    ck_assert_uint_eq(shard_entry_count(shard), 0); /* the head is gone, too */
    end();
}
END_TEST

START_TEST(elements_of_a_list_expire_one_by_one_and_its_beginning_moves)
{
    backend = (enum backend)_i;
    declare(TTL, false, false, 0);
    begin();
    for (int i = 0; i < 1000; i++) {
        at(i * 100);
        put(LIST, "k", i);
        if (i % 7 == 0) ck_assert(!is_empty(LIST, "k"));
        if (i % 50 == 0) commit();
    }
    ck_assert_str_eq(read_all(LIST, "k"), "990 991 992 993 994 995 996 997 998 999 ");
    commit();
    ck_assert_uint_eq(shard_entry_count(shard), 11);
    restore_from(&deltas);
    ck_assert_str_eq(read_all(LIST, "k"), "990 991 992 993 994 995 996 997 998 999 ");
    at(200000);
    ck_assert_str_eq(read_all(LIST, "k"), "");
    commit();
    ck_assert_uint_eq(shard_entry_count(shard), 0);
    end();
}
END_TEST

START_TEST(elements_in_the_middle_of_a_list_may_expire_first)
{
    backend = (enum backend)_i;
    declare(TTL, true, false, 1);
    begin();
    for (int i = 0; i < 4; i++) put(LIST, "k", i);
    at(600); /* the first two are read, and live on */
    const struct state_key name = key_of("k");
    struct shard_cursor cursor = { 0 };
    struct weir_bytes value;
    ck_assert(shard_list_next(shard, LIST, &name, &cursor, &value) && shard_list_next(shard, LIST, &name, &cursor, &value));
    at(1100);
    put(LIST, "k", 4);
    clean_all();
    commit();
    restore_from(&deltas);
    ck_assert_str_eq(read_all(LIST, "k"), "0 1 4 ");
    end();
}
END_TEST

START_TEST(what_nobody_asks_for_is_cleaned_up_little_by_little)
{
    backend = (enum backend)_i;
    declare(TTL, false, false, 5);
    begin();
    for (int i = 0; i < 3000; i++) {
        char key[16];
        (void)snprintf(key, sizeof key, "%d", i % 1000);
        put((uint32_t)(i / 1000), key, i);
    }
    commit();
    at(TTL - 1);
    clean_all();
    ck_assert_uint_eq(shard_entry_count(shard), 5000); /* with heads */
    at(TTL);
    for (int i = 0; i < 20000; i++) {
        shard_clean(shard, 5);
        if (i % 100 == 0) commit();
    }
    commit();
    ck_assert_uint_eq(shard_entry_count(shard), 0);
    restore_from(&deltas);
    ck_assert_uint_eq(shard_entry_count(shard), 0);
    end();
}
END_TEST

START_TEST(time_to_live_is_switched_on_changed_and_off)
{
    backend = (enum backend)_i;
    declare(0, false, false, 0);
    begin();
    put(VALUE, "k", 1);
    commit();
    at(5000);
    declare(TTL, false, false, 0); /* on: what has no time is touched now */
    mapping[VALUE].unstamped_ms = now_ms;
    restore_from(&deltas);
    at(5999);
    ck_assert_str_eq(read_all(VALUE, "k"), "1 ");
    put(VALUE, "l", 2);
    commit();
    declare(3 * TTL, false, false, 0); /* longer */
    mapping[VALUE].unstamped_ms = START + 5000; /* as the manifest remembers */
    restore_from(&deltas);
    at(7999);
    ck_assert_str_eq(read_all(VALUE, "k"), "1 ");
    at(8000);
    ck_assert_str_eq(read_all(VALUE, "k"), "");
    ck_assert_str_eq(read_all(VALUE, "l"), "2 ");
    commit();
    declare(0, false, false, 0); /* off */
    restore_from(&deltas);
    at(100000);
    ck_assert_str_eq(read_all(VALUE, "l"), "2 ");
    ck_assert_str_eq(read_all(VALUE, "k"), ""); /* was seen to be gone */
    end();
}
END_TEST

START_TEST(a_snapshot_under_way_has_the_time_of_the_barrier)
{
    backend = (enum backend)_i;
    declare(TTL, true, false, 0);
    begin();
    put(VALUE, "k", 1);
    ck_assert(shard_snapshot_begin(shard, 1, &deltas));
    at(900);
    ck_assert_str_eq(read_all(VALUE, "k"), "1 "); /* touches it, behind the barrier */
    ck_assert(shard_snapshot_step(shard, SIZE_MAX));
    struct shard *live = shard;
    struct buffer after;
    buffer_init(&after);
    ck_assert(shard_snapshot(shard, 2, &after));
    create();
    ck_assert_int_eq(shard_apply(shard, (struct weir_bytes){ deltas.data, deltas.size }, mapping, STATES, NULL), WEIR_OK);
    ck_assert_int_eq(shard_restored(shard, 2, 0, NULL), WEIR_OK);
    at(1000);
    ck_assert_str_eq(read_all(VALUE, "k"), "");
    shard_destroy(shard);
    shard = live;
    ck_assert_uint_gt(after.size, 0);
    buffer_deinit(&after);
    end();
}
END_TEST

/* ---- From a seed ----------------------------------------------------------------------------------------------------- */

/* What was written, in order; elements of lists are rows of their own. When it was touched is not always known: what was
 * written while nothing expired counts from the moment when that began, but the log may still hold an older time. */
struct row {
    uint32_t state;
    int key;
    int64_t number;
    int64_t oldest_ms, newest_ms; /* when it may have been touched */
    bool has_no_time;             /* written while nothing expired */
    bool may_lack_time;           /* the log may have it without one */
    bool may_be_gone;             /* it was once so old that it may have been cleaned up */
};

enum { ROWS_MAX = 4000, KEYS = 5, MEMBERS = 6, STEPS = 4000 };
static struct row rows[ROWS_MAX];
static int row_count;
static uint64_t random_state;

static int64_t found_gone_ms; /* by the last restore */
static const struct state_declaration *declared(void) { return &declarations[VALUE]; }
static const char *key_text(int key)
{
    static const char *const keys[KEYS] = { "a", "b", "c", "d", "e" };
    return keys[key];
}

static bool is_surely_young(const struct row *row)
{
    return row->oldest_ms > found_gone_ms && (declared()->ttl_ms == 0 || now_ms - row->oldest_ms < declared()->ttl_ms);
}

/* It had expired before the declaration changed, and the log knows when it was touched. */
static bool is_surely_gone(const struct row *row)
{
    return row->newest_ms <= found_gone_ms && !row->may_lack_time;
}

static bool is_surely_old(const struct row *row)
{
    return is_surely_gone(row) || (declared()->ttl_ms > 0 && now_ms - row->newest_ms >= declared()->ttl_ms);
}

static void drop_row(int index)
{
    memmove(&rows[index], &rows[index + 1], (size_t)(--row_count - index) * sizeof rows[0]);
}

static void drop_rows(uint32_t state, int key, int64_t number)
{
    for (int i = row_count; i-- > 0;)
        if (rows[i].state == state && rows[i].key == key && (state != MAP || number < 0 || rows[i].number == number))
            drop_row(i);
}

static void write_row(uint32_t state, int key, int64_t number)
{
    if (state != LIST) drop_rows(state, key, number);
    ck_assert_int_lt(row_count, ROWS_MAX);
    rows[row_count++] = (struct row){ .state = state, .key = key, .number = number, .oldest_ms = now_ms,
                                      .newest_ms = now_ms, .has_no_time = declared()->ttl_ms == 0,
                                      .may_lack_time = declared()->ttl_ms == 0 };
    put(state, key_text(key), number);
}

/* It was read, and is there. */
static void learn(struct row *row)
{
    row->may_be_gone = false;
    if (declared()->ttl_ms == 0) return;
    if (!declared()->ttl_shows_expired && row->oldest_ms <= now_ms - declared()->ttl_ms)
        row->oldest_ms = now_ms - declared()->ttl_ms + 1;
    if (!declared()->ttl_on_read || is_surely_old(row)) return;
    row->newest_ms = now_ms;
    if (is_surely_young(row)) row->oldest_ms = now_ms;
    row->has_no_time = false;
}

static int64_t next_number(const char **text)
{
    char *end;
    const int64_t number = strtol(*text, &end, 10);
    if (end == *text) return -1;
    *text = end;
    return number;
}

/* Maps are read in the order of their keys, which are single digits. */
static int next_row(uint32_t state, int key, int64_t after, int from)
{
    int best = -1;
    for (int i = from; i < row_count; i++) {
        if (rows[i].state != state || rows[i].key != key) continue;
        if (state != MAP) return i;
        if (rows[i].number > after && (best < 0 || rows[i].number < rows[best].number)) best = i;
    }
    return best;
}

static void read_rows(uint32_t state, int key)
{
    char text[1000];
    (void)snprintf(text, sizeof text, "%s", read_all(state, key_text(key)));
    const char *at_text = text;
    int64_t found = next_number(&at_text), after = -1;
    int from = 0;
    for (int i; (i = next_row(state, key, after, from)) >= 0;) {
        struct row *row = &rows[i];
        const bool is_there = found == row->number;
        const bool is_hidden = is_surely_gone(row) || (!declared()->ttl_shows_expired && is_surely_old(row));
        ck_assert_msg(!is_there || !is_hidden, "%d %d %d is seen, and has expired", (int)state, key, (int)row->number);
        ck_assert_msg(is_there || row->may_be_gone || !is_surely_young(row), "%d %d %d is gone, and has not expired",
                      (int)state, key, (int)row->number);
        after = row->number;
        from = state == MAP ? 0 : i;
        if (!is_there) {
            drop_row(i);
            continue;
        }
        learn(row);
        found = next_number(&at_text);
        if (state != MAP) from = i + 1;
    }
    ck_assert_int_eq(found, -1);
}

static void remove_row(uint32_t state, int key, int64_t number)
{
    struct state_key name = key_of(key_text(key));
    char text[24];
    if (state == VALUE || unit_chance(&random_state, 20)) {
        drop_rows(state, key, -1);
        ck_assert(shard_clear(shard, state, &name));
    } else if (state == MAP) {
        (void)snprintf(text, sizeof text, "%d", (int)number);
        name.element = weir_text(text);
        drop_rows(state, key, number);
        ck_assert(shard_map_remove(shard, state, &name));
    }
}

/* Whatever is not young may be cleaned up from now on, or left out of a base. */
static void let_old_go(void)
{
    for (int i = 0; i < row_count; i++)
        if (!is_surely_young(&rows[i])) rows[i].may_be_gone = true;
}

static int64_t began_ms; /* when values began to expire */

static void declare_anew(void)
{
    const bool was_on = declared()->ttl_ms > 0;
    const bool is_on = unit_chance(&random_state, 75);
    declare(is_on ? 200 + unit_random_below(&random_state, 3000) : 0, unit_chance(&random_state, 50),
            unit_chance(&random_state, 30), unit_chance(&random_state, 50) ? 3 : 0);
    if (is_on && !was_on) began_ms = now_ms;
    for (uint32_t i = 0; i < STATES; i++) mapping[i].unstamped_ms = began_ms;
    for (int i = 0; is_on && !was_on && i < row_count; i++) {
        struct row *row = &rows[i];
        if (row->has_no_time || row->oldest_ms > began_ms) row->oldest_ms = began_ms;
        row->newest_ms = began_ms;
        row->has_no_time = false; /* a base may write the time that it has now */
    }
}

static void start_again(void)
{
    let_old_go();
    commit();
    const bool from_base = unit_chance(&random_state, 50);
    if (from_base) dump();
    for (int i = 0; from_base && shard_ttl_ms == 0 && i < row_count; i++) rows[i].may_lack_time = true;
    if (unit_chance(&random_state, 60)) declare_anew();
    found_gone_ms = gone_ms;
    restore_from(from_base ? &base : &deltas);
    if (!from_base) return;
    buffer_clear(&deltas); /* what follows is applied to the base */
    buffer_put(&deltas, base.data, base.size);
}

START_TEST(any_run_is_what_a_plain_list_of_rows_says)
{
    backend = (enum backend)_i;
    random_state = unit_seed();
    row_count = 0;
    found_gone_ms = INT64_MIN;
    declare(TTL, false, false, 3);
    begin();
    began_ms = now_ms;
    const int steps = backend == ROCKSDB ? STEPS / 3 : STEPS;
    for (int step = 0; step < steps; step++) {
        const uint32_t state = unit_random_below(&random_state, STATES);
        const int key = (int)unit_random_below(&random_state, KEYS);
        const int64_t number = unit_random_below(&random_state, MEMBERS);
        switch (unit_random_below(&random_state, 12)) {
        case 0: case 1: case 2: case 3: write_row(state, key, state == MAP ? number : step); break;
        case 4: case 5: case 6: read_rows(state, key); break;
        case 7: remove_row(state, key, number); break;
        case 8: case 9: at(now_ms - START + unit_random_below(&random_state, 150)); break;
        case 10:
            let_old_go();
            shard_clean(shard, unit_random_below(&random_state, 50));
            break;
        default:
            if (unit_chance(&random_state, 20)) start_again();
            else commit();
            break;
        }
    }
    ck_assert((evictions > 0) == (backend == ROCKSDB));
    end();
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_checked_fixture(tests, make_directory, remove_directory);
    tcase_add_loop_test(tests, every_combination_forgets_as_it_says, 0, BACKENDS);
    tcase_add_loop_test(tests, a_value_in_place_is_written_and_begins_anew_when_it_is_hidden, 0, BACKENDS);
    tcase_add_loop_test(tests, entries_of_a_map_expire_one_by_one, 0, BACKENDS);
    tcase_add_loop_test(tests, elements_of_a_list_expire_one_by_one_and_its_beginning_moves, 0, BACKENDS);
    tcase_add_loop_test(tests, elements_in_the_middle_of_a_list_may_expire_first, 0, BACKENDS);
    tcase_add_loop_test(tests, what_nobody_asks_for_is_cleaned_up_little_by_little, 0, ROCKSDB); /* tables alone */
    tcase_add_loop_test(tests, any_run_is_what_a_plain_list_of_rows_says, 0, BACKENDS);
    tcase_add_loop_test(tests, time_to_live_is_switched_on_changed_and_off, 0, BACKENDS);
    tcase_add_loop_test(tests, a_snapshot_under_way_has_the_time_of_the_barrier, 0, BACKENDS);
}

int main(void)
{
    return unit_main("state_expiry", add);
}
