/* Jobs whose state is many times as large as the memory that they may use for it: counted in several lives, at another
 * parallelism, after roll-backs, and moved from one backend to the other and back. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "checkpoint/links.h"
#include "checkpoint/survey.h"
#include "harness/local_job.h"
#include "harness/unit.h"
#include "weir/generator.h"
#include "weir/print.h"

/* An entry takes some 50 bytes and a half of the budget is for entries: ten times as many as have room. */
enum { KEYS = 10000, ROUNDS = 2 /* in a life that is to write bases */, ROUNDS_MAX = 100 };

static int64_t counts[KEYS];
static int64_t in_lists[KEYS];
static uint64_t fail_at; /* the process fails once, at this record of a life; 0 = never */
static int fail_again;   /* and so many times more, as many records later each */
static _Atomic uint64_t processed;

static uint64_t number_of(struct weir_bytes text)
{
    char digits[24] = "";
    ck_assert_uint_lt(text.size, sizeof digits);
    memcpy(digits, text.data, text.size);
    return strtoull(digits, NULL, 10);
}

static void take_line(void *user, const char *line, size_t size)
{
    (void)user;
    char text[64];
    unsigned key;
    long count, in_list;
    ck_assert_uint_lt(size, sizeof text);
    memcpy(text, line, size);
    text[size] = '\0';
    ck_assert_int_eq(sscanf(text, "%u\t%ld %ld", &key, &count, &in_list), 3);
    ck_assert_uint_lt(key, KEYS);
    counts[key] = count;
    in_lists[key] = in_list;
}

/* Every key once, far from the one before, then every key again. */
static enum weir_code to_key(weir_task *task, const struct weir_record *in)
{
    const uint64_t number = number_of(in->value);
    return weir_emit(task, .key = weir_format(task, "%u", (unsigned)(number * 7919 % KEYS)), .value = in->value);
}

static const struct weir_state total = { .name = "total", .codec = WEIR_I64 };
static const struct weir_state some = { .name = "some", .kind = WEIR_STATE_LIST, .codec = WEIR_I64 };

/* Of every 16th key the numbers are kept, too. */
static enum weir_code count(weir_keyed_task *task, const struct weir_record *record)
{
    if (fail_at > 0 && ++processed == fail_at) {
        fail_at = fail_again-- > 0 ? processed + fail_at : 0;
        return weir_fail(task, "as it should");
    }
    int64_t in_list = 0;
    const int64_t so_far = ++*weir_value_i64(task, &total);
    if (number_of(record->key) % 16 == 0) {
        const enum weir_code code = weir_list_add_i64(task, &some, so_far);
        if (code != WEIR_OK) return code;
        struct weir_iterator at = { 0 };
        for (struct weir_bytes element; weir_list_next(task, &some, &at, &element);) {
            int64_t value;
            memcpy(&value, element.data, sizeof value);
            in_list += value == in_list + 1 ? 1 : 1000;
        }
    }
    return weir_keyed_emit(task, .key = record->key, .value = weir_format(task, "%ld %ld", (long)so_far, (long)in_list));
}

/* As many rounds over all keys in all. */
static void run_unseen(uint64_t rounds, struct weir_job_status *status)
{
    processed = 0;
    weir_graph *graph = weir_graph_create();
    struct weir_stream numbers = weir_generator(graph, .name = "numbers", .count = rounds * KEYS, .parallelism = 1);
    struct weir_keyed_stream keyed = weir_key_by(weir_flat_map(numbers, .name = "to-key", .process = to_key), .key = NULL);
    weir_print(weir_keyed_process(keyed, .name = "count", .process = count, .states = { &total, &some }), .name = "out",
               .line = take_line);
    const struct weir_error outcome = local_job_run(graph, status);
    local_job_expect_ok(&outcome);
}

static void run(uint64_t rounds, struct weir_job_status *status)
{
    run_unseen(rounds, status);
    for (unsigned key = 0; key < KEYS; key++) {
        ck_assert_int_eq(counts[key], (int64_t)rounds);
        ck_assert_int_eq(in_lists[key], key % 16 == 0 ? (int64_t)rounds : 0);
    }
}

static void begin(void)
{
    local_job_begin();
    memset(counts, 0, sizeof counts);
    fail_at = 0;
    fail_again = 0;
    local_job_set("execution.checkpointing.interval", "20ms");
    local_job_set("start.takeover", "true"); /* another plan, and meant */
    local_job_use_small_cache();
    local_job_set("state.backend.memory", "64kb");
    local_job_set("state.base.min-log-size", "64kb");
    local_job_set("state.recovery.max-frames", "3");
}

/* What stores have left in the job's folder. */
static int count_leftovers(void)
{
    char path[128];
    int found = 0;
    snprintf(path, sizeof path, "%s/test", local_job.stores);
    DIR *directory = opendir(path);
    ck_assert_ptr_nonnull(directory);
    for (struct dirent *entry; (entry = readdir(directory)) != NULL;)
        found += strncmp(entry->d_name, "local-", 6) == 0;
    closedir(directory);
    return found;
}

START_TEST(state_of_ten_budgets_is_counted_in_many_lives)
{
    for (uint64_t life = 1; life <= 3; life++) {
        struct weir_job_status status;
        local_job_set("parallelism.default", life == 2 ? "3" : "1");
        run(life, &status);
        /* Less than half of what was looked up was in memory. In the first life all keys are new, and a store that was given
         * nothing yet is not asked. */
        if (life > 1) ck_assert_uint_gt(status.state_reads, KEYS / 2);
        else ck_assert_uint_gt(status.state_reads, 0);
        ck_assert_int_eq(count_leftovers(), 0);
    }
}
END_TEST

START_TEST(a_roll_back_restores_what_was_committed)
{
    struct weir_job_status status;
    local_job_set("restart-strategy.exponential-delay.initial-backoff", "1ms");
    for (uint64_t life = 1; life <= 3; life += 2) {
        fail_at = KEYS / 2 + 77;
        run_unseen(life, &status); /* lines of a commit that the failing task never heard of are not printed */
        ck_assert_uint_eq(fail_at, 0);
        ck_assert_uint_ge(status.restarts, 1);
        run(life + 1, &status);
    }
}
END_TEST

static int count_descriptors(void)
{
    int count = 0;
    DIR *directory = opendir("/proc/self/fd");
    ck_assert_ptr_nonnull(directory);
    while (readdir(directory) != NULL) count++;
    closedir(directory);
    return count;
}

START_TEST(roll_backs_leave_no_descriptor_open)
{
    struct weir_job_status status;
    local_job_set("restart-strategy.exponential-delay.initial-backoff", "1ms");
    run(1, &status);
    const int before = count_descriptors();
    fail_at = KEYS / 4;
    fail_again = 3;
    run_unseen(3, &status);
    ck_assert_uint_eq(fail_at, 0);
    ck_assert_uint_eq(status.restarts, 4);
    ck_assert_int_eq(count_descriptors(), before);
}
END_TEST

START_TEST(a_job_moves_to_the_other_backend_and_back)
{
    struct weir_job_status status;
    run(1, &status);
    local_job_set("state.backend.type", "hashmap");
    run(2, &status);
    ck_assert_uint_eq(status.state_reads, 0);
    local_job_set("state.backend.type", "rocksdb");
    local_job_set("execution.checkpointing.incremental", "false");
    run(3, &status);
    ck_assert_uint_gt(status.state_reads, KEYS / 2);
    local_job_set("execution.checkpointing.incremental", "true");
    run(4, &status);
}
END_TEST

/* What the newest checkpoint says of its bases; every byte of them is whole. */
struct seen_bases {
    int links, units;
    int tables; /* that they refer to */
};

static void see_base(struct store *store, const struct manifest_base *base, struct seen_bases *seen)
{
    struct weir_error error;
    struct links links;
    struct store_file file;
    seen->links += store_base_is_links(base);
    seen->units += !store_base_is_links(base);
    if (!store_base_is_links(base)) return;
    links_init(&links);
    ck_assert_msg(links_read(store, base, &links, &error) == WEIR_OK, "%s", error.text);
    for (size_t i = 0; i < links.files.count; i++) {
        seen->tables += store_file_parse(links.files.items[i].file, &file);
    }
    links_deinit(&links);
}

static struct seen_bases look_at_bases(void)
{
    char path[128];
    struct weir_error error;
    struct store *store;
    struct survey survey;
    struct seen_bases seen = { 0 };
    (void)snprintf(path, sizeof path, "%s/test", local_job.directory);
    ck_assert_msg(store_open(&(struct store_options){ .directory = path }, &store, &error) == WEIR_OK, "%s", error.text);
    ck_assert_msg(survey_take(store, NULL, true, &survey, &error) == WEIR_OK, "%s", error.text);
    ck_assert_msg(survey.problems.count == 0, "%s", survey.problems.items[0].text);
    const struct survey_frame *newest = &survey.frames.items[0];
    ck_assert(newest->is_whole);
    for (size_t i = 0; i < newest->base_count; i++)
        see_base(store, &survey.bases.items[newest->bases[i]].base, &seen);
    survey_deinit(&survey);
    store_close(store);
    return seen;
}

/* Linked where the backend works beside the checkpoints, copied where it does not. */
START_TEST(bases_refer_to_files_and_are_whole)
{
    static const char *const parallelism[] = { "1", "3", "2" };
    local_job_set("state.recovery.max-frames", "1");
    if (_i == 1) local_job_set("state.backend.local-dir", local_job.directory);
    uint64_t rounds = 0;
    for (int i = 0; i < 3; i++) {
        struct weir_job_status status;
        struct seen_bases seen;
        local_job_set("parallelism.default", parallelism[i]);
        do { /* until a life was long enough for bases */
            rounds += ROUNDS;
            run(rounds, &status);
            seen = look_at_bases();
        } while (seen.links == 0 && rounds < ROUNDS_MAX);
        ck_assert_int_gt(seen.links, 0);
        ck_assert_int_eq(seen.units, 0);
        ck_assert_int_ge(local_job_count_files("table-"), seen.tables / 3); /* shards may refer to the same ones */
    }
}
END_TEST

static struct weir_bytes by_number(weir_task *task, const struct weir_record *record)
{
    (void)task;
    return record->value;
}

static enum weir_code note(weir_keyed_task *task, const struct weir_record *record)
{
    (void)record;
    return weir_value_i64(task, &total) == NULL ? WEIR_FAILED : WEIR_OK;
}

static void forget_line(void *user, const char *line, size_t size) { (void)user, (void)line, (void)size; }

/* Every key is new: the log never outgrows the state, and yet the next start need not replay all of it. */
START_TEST(a_state_that_grows_has_a_base_all_the_same)
{
    struct weir_error outcome;
    local_job_set("state.backend.memory", "64mb");
    local_job_set("state.recovery.max-frames", "100000");
    local_job_set("start.bounded", "false");
    weir_graph *graph = weir_graph_create();
    struct weir_stream numbers = weir_generator(graph, .name = "numbers", .per_second = 20000, .parallelism = 1);
    weir_print(weir_keyed_process(weir_key_by(numbers, .key = by_number), .name = "note", .process = note,
                                  .states = { &total }),
               .name = "out", .line = forget_line);
    weir_job *job = local_job_create(graph);
    local_job_await_running(job);
    while (local_job_count_files("base-") == 0) ck_assert(!weir_job_wait(job, 2, &outcome));
    weir_job_stop(job);
    ck_assert(weir_job_wait(job, PATIENCE_MS, &outcome));
    local_job_expect_ok(&outcome);
    weir_job_destroy(job);
}
END_TEST

START_TEST(local_files_go_where_they_are_wanted)
{
    char elsewhere[128];
    struct weir_job_status status;
    snprintf(elsewhere, sizeof elsewhere, "%s/nowhere", local_job.directory);
    local_job_set("state.backend.local-dir", elsewhere);
    weir_graph *graph = weir_graph_create();
    struct weir_stream numbers = weir_generator(graph, .name = "numbers", .count = 10, .parallelism = 1);
    struct weir_keyed_stream keyed = weir_key_by(weir_flat_map(numbers, .name = "to-key", .process = to_key), .key = NULL);
    weir_print(weir_keyed_process(keyed, .name = "count", .process = count, .states = { &total, &some }), .name = "out",
               .line = take_line);
    local_job_set("restart-strategy.type", "none");
    const struct weir_error outcome = local_job_run(graph, NULL);
    ck_assert_int_eq(outcome.code, WEIR_ENVIRONMENT);
    ck_assert_msg(strstr(outcome.text, elsewhere) != NULL, "%s", outcome.text);
    local_job_set("state.backend.local-dir", local_job.directory);
    run(1, &status);
    ck_assert_uint_gt(status.state_reads, 0);
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_checked_fixture(tests, begin, local_job_end);
    tcase_add_test(tests, state_of_ten_budgets_is_counted_in_many_lives);
    tcase_add_test(tests, a_roll_back_restores_what_was_committed);
    tcase_add_test(tests, roll_backs_leave_no_descriptor_open);
    tcase_add_test(tests, a_job_moves_to_the_other_backend_and_back);
    tcase_add_loop_test(tests, bases_refer_to_files_and_are_whole, 0, 2);
    tcase_add_test(tests, a_state_that_grows_has_a_base_all_the_same);
    tcase_add_test(tests, local_files_go_where_they_are_wanted);
}

int main(void)
{
    return unit_main("state_backend", add);
}
