#include "checkpoint/pointer.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness/faulty_disk.h"
#include "harness/unit.h"

/* One process that uses the decider: calls, and the event that answers. */
struct process {
    void *decider;
    uint32_t attempt;
    pthread_mutex_t mutex;
    pthread_cond_t arrived;
    bool has_event;
    struct weir_decider_event event;
};

static uint64_t seed;
static struct faulty_disk *disk;

static void set_up(void)
{
    disk = faulty_disk_create(seed);
}

static void tear_down(void)
{
    faulty_disk_destroy(disk);
}

static void take_event(void *user, struct weir_decider_event *event)
{
    struct process *process = user;
    pthread_mutex_lock(&process->mutex);
    ck_assert(!process->has_event);
    process->event = *event;
    process->has_event = true;
    pthread_cond_signal(&process->arrived);
    pthread_mutex_unlock(&process->mutex);
}

static void process_start(struct process *process)
{
    *process = (struct process){ .mutex = PTHREAD_MUTEX_INITIALIZER, .arrived = PTHREAD_COND_INITIALIZER };
    struct weir_error error;
    const struct weir_decider_options options = {
        .slot = "0", .ring_size = 2, .store_directory = "/ck", .post = take_event, .post_user = process,
    };
    ck_assert_int_eq(pointer_open_on(faulty_disk_table(disk), &options, &process->decider, &error), WEIR_OK);
}

/* Waits for the one event that answers the last call. The caller clears it. */
static struct weir_decider_event *answer(struct process *process)
{
    pthread_mutex_lock(&process->mutex);
    while (!process->has_event) pthread_cond_wait(&process->arrived, &process->mutex);
    process->has_event = false;
    pthread_mutex_unlock(&process->mutex);
    ck_assert_uint_eq(process->event.attempt, process->attempt);
    return &process->event;
}

static void process_kill(struct process *process)
{
    pointer_decider.close(process->decider);
    if (process->has_event) weir_decider_event_clear(&process->event);
}

static enum weir_code answered(struct process *process, enum weir_decider_event_type type)
{
    struct weir_decider_event *event = answer(process);
    weir_decider_event_clear(event);
    if (event->type == WEIR_DECIDER_FAILED) return event->error.code;
    ck_assert_int_eq(event->type, type);
    return WEIR_OK;
}

static enum weir_code do_fence(struct process *process)
{
    pointer_decider.fence(process->decider, process->attempt, 2);
    return answered(process, WEIR_DECIDER_FENCED);
}

/* The newest value that a look or read finds, "" for none. */
static enum weir_code newest(struct process *process, bool committed, char value[64], size_t *count)
{
    if (committed) pointer_decider.read(process->decider, process->attempt);
    else pointer_decider.look(process->decider, process->attempt);
    struct weir_decider_event *event = answer(process);
    value[0] = '\0';
    *count = event->record_count;
    if (event->record_count > 0) {
        const struct weir_ledger_record *last = &event->records[event->record_count - 1];
        (void)snprintf(value, 64, "%.*s=%.*s", (int)last->key.size, last->key.data, (int)last->value.size,
                       last->value.data);
    }
    const enum weir_code code = event->type == WEIR_DECIDER_FAILED ? event->error.code : WEIR_OK;
    weir_decider_event_clear(event);
    return code;
}

static void assert_newest(struct process *process, bool committed, const char *expected)
{
    char value[64];
    size_t count;
    ck_assert_int_eq(newest(process, committed, value, &count), WEIR_OK);
    ck_assert_str_eq(value, expected);
}

static enum weir_code do_announce(struct process *process, const char *value)
{
    pointer_decider.announce(process->decider, process->attempt, weir_text("i"), weir_text(value));
    return answered(process, WEIR_DECIDER_ANNOUNCED);
}

static enum weir_code do_flush(struct process *process, uint64_t epoch, const char *value)
{
    const uint32_t handle = (uint32_t)(epoch % 2);
    pointer_decider.begin(process->decider, process->attempt, handle, epoch);
    ck_assert_int_eq(answered(process, WEIR_DECIDER_BEGUN), WEIR_OK);
    pointer_decider.flush(process->decider, process->attempt, handle, epoch, weir_text("c"), weir_text(value), false);
    return answered(process, WEIR_DECIDER_FLUSHED);
}

static enum weir_code do_commit(struct process *process, uint64_t epoch)
{
    pointer_decider.offsets(process->decider, process->attempt, 0, epoch, NULL, "");
    ck_assert_int_eq(answered(process, WEIR_DECIDER_READY), WEIR_OK);
    pointer_decider.commit(process->decider, process->attempt, (uint32_t)(epoch % 2), epoch);
    return answered(process, WEIR_DECIDER_COMMITTED);
}

static enum weir_code write_epoch(struct process *process, uint64_t epoch)
{
    char value[64];
    (void)snprintf(value, sizeof value, "%" PRIu64, epoch);
    const enum weir_code code = do_flush(process, epoch, value);
    return code == WEIR_OK ? do_commit(process, epoch) : code;
}

static void own(struct process *process)
{
    process_start(process);
    ck_assert_int_eq(do_fence(process), WEIR_OK);
}

/* ---- The story of one process ------------------------------------------------------------------------------------ */

START_TEST(an_empty_store_has_no_pointer)
{
    struct process process;
    process_start(&process);
    assert_newest(&process, false, "");
    ck_assert_int_eq(do_fence(&process), WEIR_OK);
    assert_newest(&process, true, "");
    process_kill(&process);
}
END_TEST

START_TEST(the_newest_commit_is_the_pointer)
{
    struct process process;
    own(&process);
    for (uint64_t epoch = 0; epoch < 7; epoch++) {
        char expected[64], value[64];
        size_t count;
        ck_assert_int_eq(write_epoch(&process, epoch), WEIR_OK);
        (void)snprintf(expected, sizeof expected, "c=%" PRIu64, epoch);
        ck_assert_int_eq(newest(&process, true, value, &count), WEIR_OK);
        ck_assert_str_eq(value, expected);
        ck_assert_uint_eq(count, epoch == 0 ? 1 : 2);
    }
    process_kill(&process);
}
END_TEST

START_TEST(what_was_flushed_and_not_committed_is_not_there)
{
    struct process process;
    own(&process);
    ck_assert_int_eq(write_epoch(&process, 0), WEIR_OK);
    ck_assert_int_eq(do_flush(&process, 1, "one"), WEIR_OK);
    assert_newest(&process, false, "c=0");
    pointer_decider.discard(process.decider, process.attempt);
    ck_assert_int_eq(answered(&process, WEIR_DECIDER_DISCARDED), WEIR_OK);
    ck_assert_int_eq(do_commit(&process, 1), WEIR_FAILED);
    assert_newest(&process, false, "c=0");
    process_kill(&process);
}
END_TEST

START_TEST(only_what_was_flushed_can_be_committed)
{
    struct process process;
    own(&process);
    ck_assert_int_eq(do_flush(&process, 1, "one"), WEIR_OK);
    ck_assert_int_eq(do_commit(&process, 2), WEIR_FAILED);
    process_kill(&process);
}
END_TEST

START_TEST(every_call_is_answered_with_its_attempt)
{
    struct process process;
    process_start(&process);
    process.attempt = 9;
    ck_assert_int_eq(do_fence(&process), WEIR_OK);
    pointer_decider.renew(process.decider, 9, 1);
    ck_assert_int_eq(answered(&process, WEIR_DECIDER_RENEWED), WEIR_OK);
    ck_assert_uint_eq(process.event.handle, 1);
    pointer_decider.finish(process.decider, 9);
    ck_assert_int_eq(answered(&process, WEIR_DECIDER_FINISHED), WEIR_OK);
    process_kill(&process);
}
END_TEST

START_TEST(a_record_too_large_for_a_slot_is_refused)
{
    struct process process;
    own(&process);
    char *large = calloc(1, POINTER_BODY_MAX + 1);
    struct weir_bytes value = { large, POINTER_BODY_MAX };
    pointer_decider.flush(process.decider, 0, 0, 1, weir_text("c"), value, false);
    ck_assert_int_eq(answered(&process, WEIR_DECIDER_FLUSHED), WEIR_FAILED);
    value.size--;
    pointer_decider.flush(process.decider, 0, 0, 1, weir_text("c"), value, false);
    ck_assert_int_eq(answered(&process, WEIR_DECIDER_FLUSHED), WEIR_OK);
    free(large);
    process_kill(&process);
}
END_TEST

/* ---- Two processes ----------------------------------------------------------------------------------------------- */

START_TEST(a_new_owner_goes_on_where_the_old_one_ended)
{
    struct process old, fresh;
    own(&old);
    ck_assert_int_eq(write_epoch(&old, 0), WEIR_OK);
    ck_assert_int_eq(write_epoch(&old, 1), WEIR_OK);
    process_kill(&old);
    own(&fresh);
    assert_newest(&fresh, true, "c=1");
    ck_assert_int_eq(do_announce(&fresh, "again"), WEIR_OK);
    ck_assert(!faulty_disk_has(disk, "/ck/pointer-1"));
    char value[64];
    size_t count;
    ck_assert_int_eq(newest(&fresh, true, value, &count), WEIR_OK);
    ck_assert_str_eq(value, "i=again");
    ck_assert_uint_eq(count, 2); /* the record that was read is still there */
    ck_assert_int_eq(write_epoch(&fresh, 2), WEIR_OK);
    assert_newest(&fresh, true, "c=2");
    process_kill(&fresh);
}
END_TEST

START_TEST(an_old_owner_is_fenced_at_its_next_commit)
{
    struct process old, fresh;
    own(&old);
    ck_assert_int_eq(write_epoch(&old, 0), WEIR_OK);
    ck_assert_int_eq(do_flush(&old, 1, "zombie"), WEIR_OK);
    own(&fresh);
    ck_assert_int_eq(do_commit(&old, 1), WEIR_FENCED);
    ck_assert_int_eq(old.event.error.remedy, WEIR_REMEDY_STOP);
    process_kill(&old);
    process_kill(&fresh);
}
END_TEST

/* The old owner was stopped between its last look at the directory and its mark: nothing that the new one committed is
 * touched, whenever the mark is written. */
START_TEST(a_late_mark_of_an_old_owner_changes_nothing_that_was_settled)
{
    struct process old, fresh, third;
    own(&old);
    ck_assert_int_eq(write_epoch(&old, 0), WEIR_OK);
    ck_assert_int_eq(do_flush(&old, 1, "zombie"), WEIR_OK);
    own(&fresh);
    assert_newest(&fresh, true, "c=0");
    ck_assert_int_eq(do_announce(&fresh, "new"), WEIR_OK);
    ck_assert_int_eq(write_epoch(&fresh, 2), WEIR_OK);
    ck_assert_int_eq(do_commit(&old, 1), WEIR_FENCED);
    assert_newest(&fresh, true, "c=2");
    ck_assert_int_eq(write_epoch(&fresh, 3), WEIR_OK);
    process_kill(&old);
    process_kill(&fresh);
    own(&third);
    assert_newest(&third, true, "c=3");
    process_kill(&third);
}
END_TEST

/* A mark written after the new owner took its number and before it read: both agree that it counts, or nobody said
 * so. */
START_TEST(a_mark_before_the_new_owner_reads_is_seen)
{
    struct process old, fresh;
    own(&old);
    ck_assert_int_eq(do_flush(&old, 0, "zombie"), WEIR_OK);
    own(&fresh);
    ck_assert_int_eq(do_commit(&old, 0), WEIR_FENCED);
    assert_newest(&fresh, true, "c=zombie");
    process_kill(&old);
    process_kill(&fresh);
}
END_TEST

START_TEST(an_owner_that_died_before_it_announced_is_skipped)
{
    struct process old, died, fresh;
    own(&old);
    ck_assert_int_eq(write_epoch(&old, 0), WEIR_OK);
    process_kill(&old);
    own(&died);
    process_kill(&died);
    own(&fresh);
    assert_newest(&fresh, true, "c=0");
    ck_assert_int_eq(do_announce(&fresh, "x"), WEIR_OK);
    ck_assert(!faulty_disk_has(disk, "/ck/pointer-1") && !faulty_disk_has(disk, "/ck/pointer-2"));
    process_kill(&fresh);
}
END_TEST

static void write_two_epochs(void *user)
{
    ck_assert_int_eq(write_epoch(user, 2), WEIR_OK);
    ck_assert_int_eq(write_epoch(user, 3), WEIR_OK);
}

START_TEST(looking_while_another_process_commits_finds_no_damage)
{
    for (uint64_t n = 1; n <= 4; n++) { /* two marks, two records */
        struct process owner, other;
        faulty_disk_destroy(disk);
        disk = faulty_disk_create(n);
        own(&owner);
        ck_assert_int_eq(write_epoch(&owner, 0), WEIR_OK);
        ck_assert_int_eq(write_epoch(&owner, 1), WEIR_OK);
        process_start(&other);
        faulty_disk_meanwhile(disk, n, write_two_epochs, &owner);
        char value[64];
        size_t count;
        ck_assert_int_eq(newest(&other, false, value, &count), WEIR_OK);
        ck_assert_int_eq(strspn(value + 2, "123"), 1); /* each was the newest at some moment of the look */
        assert_newest(&other, false, "c=3");
        process_kill(&owner);
        process_kill(&other);
    }
}
END_TEST

/* ---- Damage and failing disks ------------------------------------------------------------------------------------ */

static void two_commits(void)
{
    struct process process;
    own(&process);
    ck_assert_int_eq(write_epoch(&process, 0), WEIR_OK); /* slot 1 */
    ck_assert_int_eq(write_epoch(&process, 1), WEIR_OK); /* slot 0 */
    process_kill(&process);
}

static enum weir_code look_code(char value[64])
{
    struct process process;
    size_t count;
    process_start(&process);
    const enum weir_code code = newest(&process, false, value, &count);
    if (code == WEIR_DAMAGED) ck_assert_ptr_nonnull(strstr(process.event.error.text, "/ck/pointer-1"));
    process_kill(&process);
    return code;
}

START_TEST(a_damaged_mark_is_never_a_reason_to_take_the_older_slot)
{
    two_commits();
    char value[64];
    for (uint64_t slot = 0; slot < 2; slot++) {
        for (uint64_t bit = 0; bit < 512 * 8; bit += 7) {
            faulty_disk_flip(disk, "/ck/pointer-1", slot * 4096 * 8 + bit);
            ck_assert_int_eq(look_code(value), WEIR_DAMAGED);
            faulty_disk_flip(disk, "/ck/pointer-1", slot * 4096 * 8 + bit);
        }
    }
    ck_assert_int_eq(look_code(value), WEIR_OK);
    ck_assert_str_eq(value, "c=1");
}
END_TEST

START_TEST(a_mark_that_is_gone_is_never_a_reason_to_take_the_older_slot)
{
    struct process process;
    own(&process);
    for (uint64_t epoch = 0; epoch < 3; epoch++) ck_assert_int_eq(write_epoch(&process, epoch), WEIR_OK);
    process_kill(&process);
    char value[64];
    for (uint64_t slot = 0; slot < 2; slot++) { /* behind the first two commits each mark has a neighbour */
        char mark[512] = { 0 }, zeroes[512] = { 0 };
        const struct disk *table = faulty_disk_table(disk);
        const int file = table->open(table->user, "/ck/pointer-1", DISK_UPDATE);
        ck_assert_int_ge(file, 0);
        ck_assert_int_eq(disk_read_all(table, file, mark, sizeof mark, slot * 4096), 0);
        ck_assert_int_eq(disk_write_all(table, file, zeroes, sizeof zeroes, slot * 4096), 0);
        ck_assert_int_eq(look_code(value), WEIR_DAMAGED);
        ck_assert_int_eq(disk_write_all(table, file, mark, sizeof mark, slot * 4096), 0);
        table->close(table->user, file);
    }
    ck_assert_int_eq(look_code(value), WEIR_OK);
    ck_assert_str_eq(value, "c=2");
}
END_TEST

START_TEST(a_damaged_record_of_the_newest_mark_is_an_error)
{
    two_commits();
    char value[64];
    for (uint64_t bit = 0; bit < 16; bit++) {
        faulty_disk_flip(disk, "/ck/pointer-1", 8192 * 8 + bit);
        ck_assert_int_eq(look_code(value), WEIR_DAMAGED);
        faulty_disk_flip(disk, "/ck/pointer-1", 8192 * 8 + bit);
    }
    faulty_disk_truncate(disk, "/ck/pointer-1", 8193);
    ck_assert_int_eq(look_code(value), WEIR_DAMAGED);
}
END_TEST

START_TEST(the_older_slot_may_be_half_written)
{
    two_commits();
    char value[64];
    faulty_disk_flip(disk, "/ck/pointer-1", (8192 + (uint64_t)POINTER_BODY_MAX) * 8);
    ck_assert_int_eq(look_code(value), WEIR_OK);
    ck_assert_str_eq(value, "c=1");
}
END_TEST

/* Whatever call fails, then a power cut: what was acknowledged is the pointer, or the one epoch that was being
 * decided. */
START_TEST(failures_and_power_cuts_lose_no_decision)
{
    uint32_t failures = 0;
    for (uint64_t round = 0; round < 150; round++) {
        uint64_t random = seed + round;
        faulty_disk_destroy(disk);
        disk = faulty_disk_create(random);
        struct process process;
        own(&process);
        int64_t acknowledged = -1, tried = -1;
        if (unit_chance(&random, 70))
            faulty_disk_fail(disk, FAULTY_ALL, 1 + unit_random_below(&random, 30), EIO, false);
        for (uint64_t epoch = 0; epoch < 1 + unit_random_below(&random, 8); epoch++) {
            tried = (int64_t)epoch;
            if (write_epoch(&process, epoch) != WEIR_OK) {
                failures++;
                break;
            }
            acknowledged = (int64_t)epoch;
        }
        process_kill(&process);
        faulty_disk_fail(disk, 0, 0, 0, false);
        if (unit_chance(&random, 50)) faulty_disk_cut_power(disk);

        char value[64], expected[64], other[64];
        size_t count;
        own(&process);
        ck_assert_int_eq(newest(&process, true, value, &count), WEIR_OK);
        (void)snprintf(expected, sizeof expected, acknowledged < 0 ? "" : "c=%" PRId64, acknowledged);
        (void)snprintf(other, sizeof other, "c=%" PRId64, tried);
        ck_assert_msg(strcmp(value, expected) == 0 || strcmp(value, other) == 0,
                      "round %" PRIu64 ": '%s', not '%s' or '%s'", round, value, expected, other);

        /* What was read is settled by the announcement: no power cut changes it any more. */
        if (value[0] != '\0') ck_assert_int_eq(do_announce(&process, value), WEIR_OK);
        process_kill(&process);
        faulty_disk_cut_power(disk);
        own(&process);
        char again[64];
        ck_assert_int_eq(newest(&process, true, again, &count), WEIR_OK);
        (void)snprintf(expected, sizeof expected, "i=%.60s", value);
        ck_assert_str_eq(again, value[0] == '\0' ? "" : expected);
        process_kill(&process);
    }
    ck_assert_uint_gt(failures, 20);
}
END_TEST

START_TEST(a_failing_disk_is_worth_another_attempt)
{
    struct process process;
    own(&process);
    ck_assert_int_eq(write_epoch(&process, 0), WEIR_OK);
    faulty_disk_fail(disk, FAULTY_SYNC, 1, EIO, false);
    ck_assert_int_eq(write_epoch(&process, 1), WEIR_ENVIRONMENT);
    ck_assert_int_eq(process.event.error.remedy, WEIR_REMEDY_REPLAY);
    process.attempt++;
    ck_assert_int_eq(do_fence(&process), WEIR_OK);
    assert_newest(&process, true, "c=0");
    ck_assert_int_eq(do_announce(&process, "second attempt"), WEIR_OK);
    ck_assert_int_eq(write_epoch(&process, 2), WEIR_OK);
    assert_newest(&process, true, "c=2");
    process_kill(&process);
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_add_test(tests, an_empty_store_has_no_pointer);
    tcase_add_test(tests, the_newest_commit_is_the_pointer);
    tcase_add_test(tests, what_was_flushed_and_not_committed_is_not_there);
    tcase_add_test(tests, only_what_was_flushed_can_be_committed);
    tcase_add_test(tests, every_call_is_answered_with_its_attempt);
    tcase_add_test(tests, a_record_too_large_for_a_slot_is_refused);
    tcase_add_test(tests, a_new_owner_goes_on_where_the_old_one_ended);
    tcase_add_test(tests, an_old_owner_is_fenced_at_its_next_commit);
    tcase_add_test(tests, a_late_mark_of_an_old_owner_changes_nothing_that_was_settled);
    tcase_add_test(tests, a_mark_before_the_new_owner_reads_is_seen);
    tcase_add_test(tests, an_owner_that_died_before_it_announced_is_skipped);
    tcase_add_test(tests, looking_while_another_process_commits_finds_no_damage);
    tcase_add_test(tests, a_damaged_mark_is_never_a_reason_to_take_the_older_slot);
    tcase_add_test(tests, a_mark_that_is_gone_is_never_a_reason_to_take_the_older_slot);
    tcase_add_test(tests, a_damaged_record_of_the_newest_mark_is_an_error);
    tcase_add_test(tests, the_older_slot_may_be_half_written);
    tcase_add_test(tests, failures_and_power_cuts_lose_no_decision);
    tcase_add_test(tests, a_failing_disk_is_worth_another_attempt);
}

int main(void)
{
    seed = unit_seed();
    return unit_main("pointer", add);
}
