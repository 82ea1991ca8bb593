/* A job whose state is ten times as large as the memory that it may take: what it says that it holds never passes the budget by
 * more than a tenth, and is what the allocator has handed out. */
#include <malloc.h>
#include <stdio.h>
#include <string.h>

#include "base/base.h"
#include "harness/local_job.h"
#include "harness/unit.h"
#include "weir/generator.h"
#include "weir/print.h"

enum {
    BUDGET = 16 << 20,
    VALUE_BYTES = 1000,
    KEYS = 160000, /* 160 MB */
    /* RocksDB's threads, files and compactions, batches of records, the log: what is no state. */
    OTHERS = 12 << 20,
};

static uint64_t wrong; /* values that were not as the life before had left them */

/* Every key once, far from the one before, then every key again. */
static void make(void *user, uint64_t number, char *scratch, struct weir_record *record)
{
    const uint32_t key = (uint32_t)(number * 7919 % KEYS);
    (void)user;
    memset(scratch, (int)number, VALUE_BYTES);
    memcpy(scratch, &number, sizeof number);
    memcpy(scratch + VALUE_BYTES, &key, sizeof key);
    record->value = (struct weir_bytes){ scratch, VALUE_BYTES };
    record->key = (struct weir_bytes){ scratch + VALUE_BYTES, sizeof key };
}

static const struct weir_state kept = { .name = "kept", .codec = WEIR_BYTES };

static enum weir_code keep(weir_keyed_task *task, const struct weir_record *record)
{
    uint64_t number;
    memcpy(&number, record->value.data, sizeof number);
    const uint64_t before = number - KEYS;
    const struct weir_bytes old = weir_value_get(task, &kept);
    if (number < KEYS) wrong += weir_is_set(old);
    else wrong += old.size != VALUE_BYTES || memcmp(old.data, &before, sizeof before) != 0;
    return weir_value_set(task, &kept, record->value);
}

static void forget_line(void *user, const char *line, size_t size) { (void)user, (void)line, (void)size; }

static uint64_t allocated(void)
{
    const struct mallinfo2 info = mallinfo2();
    return info.uordblks + info.hblkhd;
}

struct seen {
    uint64_t held_max, allocated_max;
};

static void look(weir_job *job, uint64_t before, struct seen *seen)
{
    const struct weir_job_status status = local_job_status(job);
    const uint64_t now = allocated() > before ? allocated() - before : 0;
    if (status.running) ck_assert_uint_eq(status.state_memory_budget, BUDGET);
    if (status.state_memory_max > seen->held_max) seen->held_max = status.state_memory_max;
    if (now > seen->allocated_max) seen->allocated_max = now;
}

/* As many rounds over all keys in all. */
static struct seen run(uint64_t rounds)
{
    struct weir_error outcome;
    struct seen seen = { 0 };
    const uint64_t before = allocated();
    wrong = 0;
    weir_graph *graph = weir_graph_create();
    struct weir_stream values = weir_generator(graph, .name = "values", .count = rounds * KEYS, .make = make);
    weir_print(weir_keyed_process(weir_key_by(values, .key = NULL), .name = "keep", .process = keep, .states = { &kept }),
               .name = "out", .line = forget_line);
    weir_job *job = local_job_create(graph);
    while (!weir_job_wait(job, 1, &outcome)) look(job, before, &seen);
    local_job_expect_ok(&outcome);
    look(job, before, &seen);
    weir_job_destroy(job);
    ck_assert_uint_eq(wrong, 0);
    return seen;
}

static void begin(void)
{
    local_job_begin();
    local_job_use_small_cache();
    local_job_set("state.backend.memory", "16mb");
}

START_TEST(memory_keeps_its_budget_in_every_life)
{
    for (uint64_t life = 1; life <= 2; life++) {
        const struct seen seen = run(life);
        ck_assert_uint_le(seen.held_max, BUDGET / 10 * 11);
        ck_assert_uint_gt(seen.held_max, BUDGET / 2);
#ifndef __SANITIZE_ADDRESS__
        fprintf(stderr, "life %d: held %llu, allocated %llu\n", (int)life, (unsigned long long)seen.held_max,
                (unsigned long long)seen.allocated_max);
        ck_assert_uint_le(seen.allocated_max, seen.held_max + OTHERS);
        ck_assert_uint_ge(seen.allocated_max, seen.held_max / 10 * 8);
#endif
    }
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_checked_fixture(tests, begin, local_job_end);
    tcase_add_test(tests, memory_keeps_its_budget_in_every_life);
}

int main(void)
{
    return unit_main("state_budget", add);
}
