/* The history of a ledger, and what it says about the contents of outputs. */
#include "verify.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness/unit.h"

/* ---- Making ledgers ---------------------------------------------------------------------------------------------- */

static struct {
    uint64_t violations;
    char last[1000];
} seen;

static void on_violation(void *user, const char *text)
{
    (void)user;
    seen.violations++;
    (void)snprintf(seen.last, sizeof seen.last, "%s", text);
}

static const struct ledger_witness witness = { .violation = on_violation };

static struct weir_digest digest_of_number(uint64_t number)
{
    char text[24];
    (void)snprintf(text, sizeof text, "%llu", (unsigned long long)number);
    const struct weir_record record = { .key = WEIR_NULL, .value = weir_text(text) };
    return weir_digest_record(&record);
}

/* What records 0 .. count - 1 come to. */
static struct weir_output_total total_of(uint64_t count)
{
    struct weir_output_total total = { .name = "out/0", .count = count };
    for (uint64_t i = 0; i < count; i++) weir_digest_add(&total.digest, digest_of_number(i));
    return total;
}

struct commit {
    uint64_t incarnation, epoch, parent_incarnation, parent_epoch;
    int64_t begin, end; /* of the source's range; equal = none */
    uint64_t written;   /* cumulative */
    uint64_t anchor_epoch;
    int64_t anchor;
};

static void add_to(struct ledger_chain *chain, const struct commit *commit, uint64_t ring_size)
{
    struct weir_ledger_entry entry = {
        .kind = WEIR_LEDGER_COMMIT, .incarnation = commit->incarnation, .epoch = commit->epoch, .exactly_once = true,
        .parent = { .incarnation = commit->parent_incarnation, .epoch = commit->parent_epoch },
    };
    if (commit->begin != commit->end) {
        entry.ranges = malloc(sizeof *entry.ranges);
        entry.range_count = 1;
        entry.ranges[0] = (struct weir_ledger_range){ .source = "s", .split = "in/0", .begin = commit->begin,
                                                      .end = commit->end };
    }
    entry.totals = malloc(sizeof *entry.totals);
    entry.total_count = 1;
    entry.totals[0] = total_of(commit->written);
    if (commit->anchor > 0) {
        entry.anchors = malloc(sizeof *entry.anchors);
        entry.anchor_count = 1;
        entry.anchor_epoch = commit->anchor_epoch;
        entry.anchors[0] = (struct weir_anchor){ .output = "out/0", .end = commit->anchor };
    }
    char key[32];
    (void)snprintf(key, sizeof key, "0/%llu", (unsigned long long)(commit->epoch % ring_size));
    ck_assert(ledger_chain_add(chain, &entry, weir_text(key), (int64_t)chain->records * 2));
}

static void add_all(struct ledger_chain *chain, const struct commit *commits, size_t count, uint64_t ring_size)
{
    memset(&seen, 0, sizeof seen);
    for (size_t i = 0; i < count; i++) add_to(chain, &commits[i], ring_size);
}

static uint64_t check_chain(struct ledger_chain *chain)
{
    uint64_t joined = 0;
    ledger_chain_check(chain, &witness, &joined);
    return joined;
}

/* ---- Chains ------------------------------------------------------------------------------------------------------ */

START_TEST(follows_parents_over_aborted_epochs_and_restarts)
{
    static const struct commit commits[] = {
        { 1, 0, 0, 0, .begin = 0, .end = 0 },
        { 1, 1, 1, 0, .begin = 0, .end = 10 },
        { 1, 4, 1, 1, .begin = 10, .end = 15 }, /* 2 and 3 were rolled back */
        { 3, 5, 1, 4, .begin = 15, .end = 15 },
        { 3, 6, 3, 5, .begin = 15, .end = 99 },
    };
    struct ledger_chain chain = { 0 };
    add_all(&chain, commits, 5, 1000);
    ck_assert_uint_eq(check_chain(&chain), 2);
    ck_assert_uint_eq(chain.oldest, 0);
    ck_assert_msg(seen.violations == 0, "%s", seen.last);
    ledger_chain_deinit(&chain);
}
END_TEST

START_TEST(later_of_two_records_in_one_transaction_counts)
{
    static const struct commit commits[] = {
        { 1, 0, 0, 0, .begin = 0, .end = 0 },
        { 1, 1, 1, 0, .begin = 0, .end = 10, .written = 7 },
        { 1, 1, 1, 0, .begin = 0, .end = 12, .written = 9 },
        { 1, 2, 1, 1, .begin = 12, .end = 13, .written = 9 },
    };
    struct ledger_chain chain = { 0 };
    add_all(&chain, commits, 4, 1000);
    ck_assert_uint_eq(check_chain(&chain), 1);
    ck_assert_uint_eq(chain.count, 3);
    ck_assert_uint_eq(chain.records, 4);
    ck_assert_uint_eq(seen.violations, 0);
    ck_assert_uint_eq(ledger_chain_total(&chain, 1, "out/0").count, 9);
    ledger_chain_deinit(&chain);
}
END_TEST

START_TEST(hole_that_compaction_leaves_is_where_the_chain_begins)
{
    /* A ring of 4: 0 to 3 have newer records with the same keys; 1 was not cleaned yet. */
    static const struct commit commits[] = {
        { 1, 1, 1, 0, .begin = 0, .end = 1 }, { 1, 4, 1, 3, .begin = 3, .end = 4 },
        { 1, 5, 1, 4, .begin = 4, .end = 5 }, { 1, 6, 1, 5, .begin = 5, .end = 6 },
        { 1, 7, 1, 6, .begin = 6, .end = 7 },
    };
    struct ledger_chain chain = { 0 };
    add_all(&chain, commits, 5, 4);
    ck_assert_uint_eq(check_chain(&chain), 3);
    ck_assert_uint_eq(chain.oldest, 1);
    ck_assert_msg(seen.violations == 0, "%s", seen.last);
    ledger_chain_deinit(&chain);
}
END_TEST

START_TEST(hole_that_compaction_cannot_leave_is_a_violation)
{
    static const struct commit commits[] = {
        { 1, 4, 1, 3, .begin = 3, .end = 4 }, { 1, 5, 1, 4, .begin = 4, .end = 5 },
        { 1, 7, 1, 6, .begin = 6, .end = 7 }, /* 6 is missing, and 10 is not there yet */
    };
    struct ledger_chain chain = { 0 };
    add_all(&chain, commits, 3, 4);
    check_chain(&chain);
    ck_assert_uint_eq(seen.violations, 1);
    ck_assert_msg(strstr(seen.last, "1.7") != NULL && strstr(seen.last, "1.6") != NULL, "%s", seen.last);
    ck_assert_uint_eq(chain.oldest, 2);
    ledger_chain_deinit(&chain);
}
END_TEST

START_TEST(range_may_join_one_that_lies_further_back)
{
    static const struct commit commits[] = {
        { 1, 0, 0, 0, .begin = 0, .end = 5 }, { 1, 1, 1, 0, .end = 0 }, { 1, 2, 1, 1, .end = 0 },
        { 1, 3, 1, 2, .begin = 5, .end = 6 },
        { 1, 4, 1, 3, .begin = 8, .end = 9 },
    };
    struct ledger_chain chain = { 0 };
    add_all(&chain, commits, 5, 1000);
    ck_assert_uint_eq(check_chain(&chain), 1);
    ck_assert_uint_eq(seen.violations, 1);
    ck_assert_msg(strstr(seen.last, "2 records were skipped") != NULL, "%s", seen.last);
    ledger_chain_deinit(&chain);
}
END_TEST

START_TEST(totals_never_fall)
{
    static const struct commit commits[] = {
        { 1, 0, 0, 0, .written = 0 }, { 1, 1, 1, 0, .written = 10 }, { 1, 2, 1, 1, .written = 9 },
    };
    struct ledger_chain chain = { 0 };
    add_all(&chain, commits, 3, 1000);
    check_chain(&chain);
    ck_assert_uint_eq(seen.violations, 1);
    ledger_chain_deinit(&chain);
}
END_TEST

/* From 1.4 back to 1.2, and once more to the same one. */
static const struct commit returning[] = {
    { 1, 0, 0, 0, .begin = 0, .end = 0 },
    { 1, 1, 1, 0, .begin = 0, .end = 10, .written = 10 },
    { 1, 2, 1, 1, .begin = 10, .end = 20, .written = 20 },
    { 1, 3, 1, 2, .begin = 20, .end = 30, .written = 27 },
    { 1, 4, 1, 3, .begin = 30, .end = 40, .written = 31 },
    { 3, 3, 1, 2, .begin = 20, .end = 25, .written = 24 },
    { 5, 3, 1, 2, .begin = 20, .end = 22, .written = 21, .anchor = 41, .anchor_epoch = 2 },
    { 5, 4, 5, 3, .begin = 22, .end = 60, .written = 60 },
};

START_TEST(going_back_to_a_retained_checkpoint_is_no_break)
{
    struct ledger_chain chain = { 0 };
    add_all(&chain, returning, 8, 1000);
    ck_assert_uint_eq(check_chain(&chain), 6);
    ck_assert_msg(seen.violations == 0, "%s", seen.last);
    ck_assert_uint_eq(chain.oldest, 0);
    for (size_t i = 0; i < 8; i++) ck_assert(ledger_chain_returns(&chain, i) == (i == 5 || i == 6));
    ck_assert_uint_eq(ledger_chain_parent(&chain, 6), 2);
    ck_assert_uint_eq(ledger_chain_anchored(&chain, 6), 2);
    ledger_chain_deinit(&chain);
}
END_TEST

START_TEST(what_was_written_before_going_back_is_counted)
{
    struct ledger_chain chain = { 0 };
    add_all(&chain, returning, 8, 1000);
    (void)check_chain(&chain);
    ck_assert_uint_eq(ledger_chain_total(&chain, 4, "out/0").count, 31);
    ck_assert_uint_eq(ledger_chain_total(&chain, 5, "out/0").count, 31 + 4);
    const struct weir_output_total total = ledger_chain_total(&chain, 7, "out/0");
    struct weir_digest digest = total_of(60).digest;
    for (uint64_t i = 20; i < 31; i++) weir_digest_add(&digest, digest_of_number(i));
    for (uint64_t i = 20; i < 24; i++) weir_digest_add(&digest, digest_of_number(i));
    ck_assert_uint_eq(total.count, 60 + 11 + 4);
    ck_assert_mem_eq(&total.digest, &digest, sizeof digest);
    ledger_chain_deinit(&chain);
}
END_TEST

START_TEST(going_back_without_a_start_is_a_violation)
{
    struct commit commits[6];
    struct ledger_chain chain = { 0 };
    memcpy(commits, returning, sizeof commits);
    commits[5].incarnation = 1;
    commits[5].epoch = 5;
    add_all(&chain, commits, 6, 1000);
    check_chain(&chain);
    ck_assert_uint_eq(seen.violations, 1);
    ck_assert_msg(strstr(seen.last, "not the newest") != NULL, "%s", seen.last);
    ledger_chain_deinit(&chain);
}
END_TEST

/* In a ring of 4, where 3.3 has the key of 1.3. */
START_TEST(a_branch_that_compaction_has_thinned_out_is_no_break)
{
    static const struct commit commits[] = {
        { 1, 2, 1, 1, .begin = 10, .end = 20, .written = 20 },
        { 1, 4, 1, 3, .begin = 30, .end = 40, .written = 31 },
        { 3, 3, 1, 2, .begin = 20, .end = 25, .written = 24 },
    };
    struct ledger_chain chain = { 0 };
    add_all(&chain, commits, 3, 4);
    ck_assert_uint_eq(check_chain(&chain), 1);
    ck_assert_msg(seen.violations == 0, "%s", seen.last);
    ck_assert_uint_eq(chain.oldest, 1);
    ck_assert_uint_eq(ledger_chain_total(&chain, 2, "out/0").count, 24 + 11);
    ledger_chain_deinit(&chain);
}
END_TEST

START_TEST(long_chains_take_no_quadratic_time)
{
    struct ledger_chain chain = { 0 };
    memset(&seen, 0, sizeof seen);
    for (uint64_t epoch = 0; epoch < 20000; epoch++)
        add_to(&chain, &(struct commit){ 1, epoch, epoch > 0, epoch > 0 ? epoch - 1 : 0, .begin = (int64_t)epoch,
                                         .end = (int64_t)epoch + 1 }, 100000);
    ck_assert_uint_eq(check_chain(&chain), 19999);
    ck_assert_uint_eq(seen.violations, 0);
    ledger_chain_deinit(&chain);
}
END_TEST

/* ---- Outputs ----------------------------------------------------------------------------------------------------- */

/* Three commits of ten records each; anchors after the second record of each transaction's end marker. Offsets: records
 * 0-9, marker 10, records 11-20, marker 21, records 22-31, marker 32. */
static const struct commit three[] = {
    { 1, 0, 0, 0, .written = 0 },
    { 1, 1, 1, 0, .written = 10 },
    { 1, 2, 1, 1, .written = 20, .anchor_epoch = 1, .anchor = 10 },
    { 1, 3, 1, 2, .written = 30, .anchor_epoch = 2, .anchor = 21 },
};

struct output {
    struct ledger_chain chain;
    struct output_check check;
};

static void prepare_output(struct output *output, int64_t low, bool is_compacted)
{
    output->chain = (struct ledger_chain){ 0 };
    add_all(&output->chain, three, 4, 1000);
    check_chain(&output->chain);
    ck_assert(output_check_init(&output->check, &output->chain, &witness, "out/0", low, is_compacted));
}

static void feed(struct output *output, int64_t offset, uint64_t number)
{
    char text[24];
    (void)snprintf(text, sizeof text, "%llu", (unsigned long long)number);
    const struct weir_record record = { .key = WEIR_NULL, .value = weir_text(text) };
    output_check_record(&output->check, offset, &record);
}

static int64_t offset_of(uint64_t number)
{
    return (int64_t)(number + number / 10);
}

static void feed_from(struct output *output, uint64_t first, uint64_t missing)
{
    for (uint64_t number = first; number < 30; number++)
        if (number != missing) feed(output, offset_of(number), number);
}

static void end_output(struct output *output)
{
    output_check_end(&output->check, 33, output->chain.count - 1);
}

static void drop(struct output *output)
{
    output_check_deinit(&output->check);
    ledger_chain_deinit(&output->chain);
}

START_TEST(whole_output_is_verified)
{
    struct output output;
    prepare_output(&output, 0, false);
    feed_from(&output, 0, UINT64_MAX);
    ck_assert(output_check_fits(&output.check, 3));
    end_output(&output);
    ck_assert_msg(seen.violations == 0, "%s", seen.last);
    ck_assert_uint_eq(output.check.records_verified, 30);
    ck_assert_int_eq(output.check.verified_from, 0);
    drop(&output);
}
END_TEST

START_TEST(violation_is_placed_between_two_anchors)
{
    struct output output;
    prepare_output(&output, 0, false);
    feed_from(&output, 0, 15);
    end_output(&output);
    ck_assert_uint_eq(seen.violations, 1);
    ck_assert_msg(strstr(seen.last, "offsets 10 to 21: 1 records") != NULL, "%s", seen.last);
    ck_assert_uint_eq(output.check.records_verified, 20); /* before and behind it */
    ck_assert_int_eq(output.check.verified_from, 21);
    drop(&output);
}
END_TEST

START_TEST(two_swapped_contents_are_found_by_the_digest)
{
    struct output output;
    prepare_output(&output, 0, false);
    for (uint64_t number = 0; number < 30; number++) feed(&output, offset_of(number), number == 15 ? 16 : number);
    end_output(&output);
    ck_assert_uint_eq(seen.violations, 1);
    ck_assert_msg(strstr(seen.last, "contents") != NULL, "%s", seen.last);
    drop(&output);
}
END_TEST

START_TEST(trimmed_output_is_verified_behind_the_first_anchor)
{
    struct output output;
    prepare_output(&output, 5, false);
    feed_from(&output, 5, UINT64_MAX);
    end_output(&output);
    ck_assert_msg(seen.violations == 0, "%s", seen.last);
    ck_assert_int_eq(output.check.verified_from, 10);
    ck_assert_uint_eq(output.check.records_verified, 20);
    ck_assert_uint_eq(output.check.records_unverifiable, 5);
    drop(&output);
}
END_TEST

START_TEST(trimmed_output_without_an_anchor_is_unknown)
{
    struct output output;
    prepare_output(&output, 23, false);
    feed_from(&output, 21, UINT64_MAX);
    end_output(&output);
    ck_assert_uint_eq(seen.violations, 0);
    ck_assert_int_eq(output.check.verified_from, -1);
    ck_assert_uint_eq(output.check.records_verified, 0);
    ck_assert_uint_eq(output.check.records_unverifiable, 9);
    drop(&output);
}
END_TEST

START_TEST(compacted_output_is_verified_behind_the_last_hole)
{
    struct output output;
    prepare_output(&output, 0, true);
    feed_from(&output, 0, 15);
    end_output(&output);
    ck_assert_uint_eq(seen.violations, 0);
    ck_assert_int_eq(output.check.verified_from, 21);
    ck_assert_uint_eq(output.check.records_verified, 20);
    ck_assert_uint_eq(output.check.records_unverifiable, 9);
    drop(&output);
}
END_TEST

START_TEST(compaction_does_not_excuse_a_foreign_record)
{
    struct output output;
    prepare_output(&output, 0, true);
    feed_from(&output, 0, UINT64_MAX);
    feed(&output, 32, 77);
    end_output(&output);
    ck_assert_uint_eq(seen.violations, 1);
    drop(&output);
}
END_TEST

START_TEST(commit_that_came_while_reading_is_one_too)
{
    struct output output;
    prepare_output(&output, 0, false);
    for (uint64_t number = 0; number < 20; number++) feed(&output, offset_of(number), number);
    ck_assert(!output_check_fits(&output.check, 3));
    ck_assert(output_check_fits(&output.check, 2));
    output_check_end(&output.check, 22, 2);
    ck_assert_msg(seen.violations == 0, "%s", seen.last);
    drop(&output);
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_test(tests, follows_parents_over_aborted_epochs_and_restarts);
    tcase_add_test(tests, later_of_two_records_in_one_transaction_counts);
    tcase_add_test(tests, hole_that_compaction_leaves_is_where_the_chain_begins);
    tcase_add_test(tests, hole_that_compaction_cannot_leave_is_a_violation);
    tcase_add_test(tests, range_may_join_one_that_lies_further_back);
    tcase_add_test(tests, totals_never_fall);
    tcase_add_test(tests, going_back_to_a_retained_checkpoint_is_no_break);
    tcase_add_test(tests, what_was_written_before_going_back_is_counted);
    tcase_add_test(tests, going_back_without_a_start_is_a_violation);
    tcase_add_test(tests, a_branch_that_compaction_has_thinned_out_is_no_break);
    tcase_add_test(tests, long_chains_take_no_quadratic_time);
    tcase_add_test(tests, whole_output_is_verified);
    tcase_add_test(tests, violation_is_placed_between_two_anchors);
    tcase_add_test(tests, two_swapped_contents_are_found_by_the_digest);
    tcase_add_test(tests, trimmed_output_is_verified_behind_the_first_anchor);
    tcase_add_test(tests, trimmed_output_without_an_anchor_is_unknown);
    tcase_add_test(tests, compacted_output_is_verified_behind_the_last_hole);
    tcase_add_test(tests, compaction_does_not_excuse_a_foreign_record);
    tcase_add_test(tests, commit_that_came_while_reading_is_one_too);
}

int main(void)
{
    return unit_main("kafka ledger chain", add);
}
