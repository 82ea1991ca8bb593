/* A chain as its task drives it: room, barriers, finish, opening and closing, restoring. */
#include <stdio.h>
#include <string.h>

#include "harness/rig.h"
#include "harness/unit.h"

static struct rig rig;

static struct weir_stream source(void)
{
    rig_init(&rig);
    return rig_source(&rig, "in");
}

static void start(struct weir_stream stream)
{
    rig_sink(&rig, stream, "out");
    rig_start(&rig, (struct rig_options){ 0 });
}

static void add_records(int count)
{
    for (int i = 0; i < count; i++) {
        char key[16];
        snprintf(key, sizeof key, "%d", i);
        rig_add(&rig, key, "1");
    }
}

static enum weir_code twice(weir_task *task, const struct weir_record *record)
{
    weir_forward(task, record);
    return weir_forward(task, record);
}

static enum weir_code add_number(weir_keyed_task *task, void *accumulator, const struct weir_record *record)
{
    int64_t number = 0;
    (void)task;
    weir_bytes_to_i64(record->value, &number);
    *(int64_t *)accumulator += number;
    return WEIR_OK;
}

static struct weir_stream sum_on_commit(struct weir_stream input, const char *name)
{
    return weir_aggregate(weir_key_by(input, .key = NULL), .name = name, .accumulator = WEIR_I64, .add = add_number,
                          .emit = WEIR_EMIT_ON_COMMIT);
}

static const char *text_of(struct chain_snapshot snapshot)
{
    chain_snapshot_clear(&snapshot);
    return rig_output(&rig);
}

/* ---- Room -------------------------------------------------------------------------------------------------------- */

START_TEST(a_sink_without_room_stops_the_batch_behind_the_record_in_hand)
{
    start(weir_process(source(), .name = "twice", .process = twice));
    rig.room = 3;
    add_records(4);
    ck_assert_int_eq(rig_run(&rig, 0), CHAIN_BLOCKED);
    ck_assert_uint_eq(rig.cursor, 2);
    ck_assert_str_eq(rig_output(&rig), "out 0=1\nout 0=1\nout 1=1\nout 1=1\n");
    ck_assert_int_eq(rig_run(&rig, 0), CHAIN_BLOCKED);
    ck_assert_int_eq(chain_unblock(rig.chain), CHAIN_BLOCKED);
    ck_assert_str_eq(rig_output(&rig), "");
    rig.room = 100;
    ck_assert_int_eq(chain_unblock(rig.chain), CHAIN_DONE);
    ck_assert_int_eq(rig_run(&rig, 0), CHAIN_DONE);
    ck_assert_str_eq(rig_output(&rig), "out 2=1\nout 2=1\nout 3=1\nout 3=1\n");
    rig_deinit(&rig);
}
END_TEST

START_TEST(a_sink_that_lost_its_room_between_two_batches_gets_no_record)
{
    start(source());
    rig_feed(&rig, 0, "a", "1");
    rig.room = 0; /* as by a prepare */
    rig_output(&rig);
    rig_add(&rig, "b", "1");
    ck_assert_int_eq(rig_run(&rig, 0), CHAIN_BLOCKED);
    ck_assert_uint_eq(rig.cursor, 0);
    ck_assert_str_eq(rig_output(&rig), "");
    rig_deinit(&rig);
}
END_TEST

/* The first of two tasks; its only channel holds `capacity` elements. */
static void start_with_channel(struct weir_stream stream, uint32_t capacity)
{
    rig_sink(&rig, weir_rebalance(stream), "out");
    rig_start(&rig, (struct rig_options){ .channel_capacity = capacity });
    ck_assert_uint_eq(rig.plan->vertex_count, 2);
}

START_TEST(a_full_channel_stops_the_batch_and_nothing_is_lost_or_overtaken)
{
    enum { BATCHES = 5 };
    start_with_channel(weir_process(source(), .name = "twice", .process = twice), 1);
    uint32_t fed = 0, received = 0, blocked = 0;
    while (received < 2 * BATCHES * BATCH_RECORDS_MAX) {
        if (fed < BATCHES && (rig.batch == NULL || rig.batch->count == 0)) {
            add_records(BATCH_RECORDS_MAX);
            fed++;
        }
        if (rig.batch->count > 0 && rig_run(&rig, 0) == CHAIN_BLOCKED) blocked++;
        if (fed == BATCHES && rig.batch->count == 0) chain_tick(rig.chain);
        struct element element;
        if (channel_pop(rig_channel(&rig, 0, 0), &element)) {
            for (uint32_t i = 0; i < element.batch->count; i++, received++) {
                char key[16];
                snprintf(key, sizeof key, "%u", received / 2 % BATCH_RECORDS_MAX);
                ck_assert(weir_bytes_equal(element.batch->records[i].key, weir_text(key)));
            }
            element_release(&element);
        }
        chain_unblock(rig.chain);
    }
    ck_assert_uint_gt(blocked, 0);
    rig_deinit(&rig);
}
END_TEST

static enum weir_code burst(weir_task *task, const struct weir_record *record)
{
    for (int i = 0; i < BATCH_RECORDS_MAX; i++) weir_forward(task, record);
    return WEIR_OK;
}

START_TEST(a_full_channel_stops_the_batch_behind_the_record_that_filled_it)
{
    start_with_channel(weir_process(source(), .name = "burst", .process = burst), 1);
    add_records(5);
    ck_assert_int_eq(rig_run(&rig, 0), CHAIN_BLOCKED);
    ck_assert_uint_eq(rig.cursor, 3); /* one batch in the channel, one waits, one is open */
    rig_drain(&rig, 0, 0);
    ck_assert_int_eq(chain_unblock(rig.chain), CHAIN_DONE);
    ck_assert_int_eq(rig_run(&rig, 0), CHAIN_BLOCKED);
    ck_assert_uint_eq(rig.cursor, 4);
    rig_deinit(&rig);
}
END_TEST

START_TEST(emission_on_commit_goes_on_where_it_was_blocked)
{
    for (uint32_t room = 1; room < 9; room++) {
        struct weir_stream sums = sum_on_commit(source(), "sum");
        start(sum_on_commit(sums, "sum of sums"));
        add_records(4);
        add_records(4);
        ck_assert_int_eq(rig_run(&rig, 0), CHAIN_DONE);
        int calls = 1;
        rig.room = room;
        while (chain_emit_on_commit(rig.chain, 1) == CHAIN_BLOCKED) {
            ck_assert_int_le(calls++, 5);
            ck_assert_int_eq(chain_emit_on_commit(rig.chain, 1), CHAIN_BLOCKED);
            rig.room = room;
        }
        ck_assert_int_eq(calls, (int)(4 / room) + 1);
        ck_assert_str_eq(rig_output(&rig), "out 0=2\nout 1=2\nout 2=2\nout 3=2\n");
        rig.room = UINT32_MAX;
        struct chain_snapshot snapshot;
        ck_assert_int_eq(chain_snapshot(rig.chain, 1, &snapshot), CHAIN_DONE);
        ck_assert(chain_snapshot_step(rig.chain, SIZE_MAX));
        ck_assert_str_eq(text_of(snapshot), "out prepare 1\n");
        ck_assert_str_eq(text_of(rig_barrier(&rig, 2)), "out prepare 2\n");
        rig_deinit(&rig);
    }
}
END_TEST

static enum weir_code emit_value(weir_keyed_task *task, const struct weir_record *record)
{
    (void)record;
    return weir_keyed_emit(task);
}

START_TEST(coalesced_emission_goes_on_where_it_was_blocked)
{
    start(weir_keyed_process(weir_key_by(source(), .key = NULL), .name = "last", .process = emit_value,
                             .emit = WEIR_EMIT_ON_COMMIT));
    add_records(3);
    ck_assert_int_eq(rig_run(&rig, 0), CHAIN_DONE);
    ck_assert_uint_gt(chain_kept_bytes(rig.chain), 0);
    rig.room = 2;
    ck_assert_int_eq(chain_emit_on_commit(rig.chain, 1), CHAIN_BLOCKED);
    ck_assert_str_eq(rig_output(&rig), "out 0=1\nout 1=1\n");
    rig.room = 10;
    ck_assert_str_eq(text_of(rig_barrier(&rig, 1)), "out 2=1\nout prepare 1\n");
    ck_assert_str_eq(text_of(rig_barrier(&rig, 2)), "out prepare 2\n");
    rig_deinit(&rig);
}
END_TEST

/* ---- Barriers ---------------------------------------------------------------------------------------------------- */

START_TEST(an_early_part_takes_the_delta_and_leaves_emission_and_sinks_alone)
{
    start(sum_on_commit(source(), "sum"));
    struct chain_snapshot part, snapshot;
    rig_feed(&rig, 0, "a", "1");
    rig_feed(&rig, 0, "b", "1");
    const uint64_t bytes = chain_delta_bytes(rig.chain);
    ck_assert_int_eq(chain_part(rig.chain, &part), CHAIN_DONE);
    ck_assert_uint_eq(chain_delta_bytes(rig.chain), 0);
    rig_feed(&rig, 0, "b", "5");
    ck_assert(chain_snapshot_step(rig.chain, SIZE_MAX));
    ck_assert_uint_eq(part.deltas[1].size, bytes);
    ck_assert_uint_eq(part.epoch, 1);
    chain_snapshot_clear(&part);
    ck_assert_str_eq(rig_output(&rig), "");
    snapshot = rig_barrier(&rig, 1);
    ck_assert_uint_eq(snapshot.deltas[1].size, bytes / 2);
    ck_assert_str_eq(text_of(snapshot), "out a=1\nout b=6\nout prepare 1\n");
    ck_assert_str_eq(text_of(rig_barrier(&rig, 2)), "out prepare 2\n");
    rig_deinit(&rig);
}
END_TEST

START_TEST(a_barrier_leaves_behind_the_records_of_its_epoch)
{
    start_with_channel(sum_on_commit(source(), "sum"), 8);
    rig_feed(&rig, 0, "a", "1");
    rig_feed(&rig, 0, "a", "2");
    struct chain_snapshot snapshot = rig_barrier(&rig, 1);
    ck_assert_uint_eq(snapshot.epoch, 1);
    ck_assert_uint_eq(snapshot.state_entries, 1);
    ck_assert_uint_gt(snapshot.deltas[1].size, 0);
    chain_snapshot_clear(&snapshot);
    rig_feed(&rig, 0, "b", "5");
    snapshot = rig_barrier(&rig, 2);
    chain_snapshot_clear(&snapshot);
    snapshot = rig_barrier(&rig, 3);
    ck_assert_uint_eq(snapshot.deltas[1].size, 0);
    chain_snapshot_clear(&snapshot);
    ck_assert_str_eq(rig_drain(&rig, 0, 0), "a=3; barrier 1; b=5; barrier 2; barrier 3; ");
    rig_deinit(&rig);
}
END_TEST

START_TEST(a_barrier_that_finds_the_channel_full_waits_in_its_place)
{
    start_with_channel(source(), 1);
    rig_feed(&rig, 0, "a", "1");
    struct chain_snapshot snapshot = rig_barrier(&rig, 1);
    chain_snapshot_clear(&snapshot);
    rig_add(&rig, "b", "2");
    ck_assert_int_eq(rig_run(&rig, 0), CHAIN_BLOCKED);
    ck_assert_str_eq(rig_drain(&rig, 0, 0), "a=1; ");
    ck_assert_int_eq(chain_unblock(rig.chain), CHAIN_DONE);
    ck_assert_int_eq(rig_run(&rig, 0), CHAIN_DONE);
    ck_assert_str_eq(rig_drain(&rig, 0, 0), "barrier 1; ");
    ck_assert_int_eq(chain_tick(rig.chain), CHAIN_DONE);
    ck_assert_str_eq(rig_drain(&rig, 0, 0), "b=2; ");
    rig_deinit(&rig);
}
END_TEST

START_TEST(sinks_take_part_in_every_phase_of_a_commit)
{
    struct weir_stream stream = source();
    rig_sink(&rig, stream, "one");
    start(stream);
    ck_assert_int_eq(chain_proceed(rig.chain, 1, NULL), WEIR_OK);
    rig_feed(&rig, 0, "a", "1");
    struct chain_snapshot snapshot = rig_barrier(&rig, 1);
    ck_assert_uint_eq(snapshot.totals.count, 2);
    chain_snapshot_clear(&snapshot);
    rig_feed(&rig, 0, "b", "2");
    ck_assert_int_eq(chain_proceed(rig.chain, 2, NULL), WEIR_OK);
    chain_committed(rig.chain, 1);
    ck_assert_uint_eq(chain_records_out(rig.chain), 4);
    ck_assert_str_eq(rig_output(&rig), "one proceed 1\nout proceed 1\n"
                                       "one a=1\nout a=1\n"
                                       "one prepare 1\nout prepare 1\n"
                                       "one b=2\nout b=2\n"
                                       "one proceed 2\nout proceed 2\n"
                                       "one committed 1\nout committed 1\n");
    rig_deinit(&rig);
}
END_TEST

START_TEST(key_groups_of_a_chain_are_those_of_its_subtask)
{
    struct weir_stream sums = sum_on_commit(source(), "sum");
    rig_sink(&rig, sums, "out");
    rig_start(&rig, (struct rig_options){ .vertex = 1, .parallelism = 2, .subtask = 1 });
    ck_assert_uint_eq(rig.plan->max_parallelism, 128);
    char key[16];
    uint32_t group, i = 0;
    do { /* a key of the second half */
        snprintf(key, sizeof key, "k%u", i++);
        group = key_group_of(hash_key(weir_text(key)), 128);
    } while (group < key_group_first(128, 2, 1));
    rig_feed(&rig, 0, key, "7");
    struct chain_snapshot snapshot = rig_barrier(&rig, 1);
    ck_assert_uint_eq(snapshot.state_entries, 1);
    chain_snapshot_clear(&snapshot);
    rig_deinit(&rig);
}
END_TEST

START_TEST(a_restored_chain_goes_on_counting)
{
    start(sum_on_commit(source(), "sum"));
    add_records(3);
    ck_assert_int_eq(rig_run(&rig, 0), CHAIN_DONE);
    struct chain_snapshot snapshot = rig_barrier(&rig, 1);
    struct buffer delta = snapshot.deltas[1];
    snapshot.deltas[1] = (struct buffer){ 0 };
    chain_snapshot_clear(&snapshot);
    rig_deinit(&rig);

    struct weir_stream sums = sum_on_commit(source(), "sum");
    rig_sink(&rig, sums, "out");
    rig_start(&rig, (struct rig_options){ .epoch = 2, .closed = true });
    ck_assert_ptr_null(chain_shard(rig.chain, 0)); /* the key_by */
    struct shard *shard = chain_shard(rig.chain, 1);
    const struct state_mapping mapping = { .state = 0 };
    struct weir_error error;
    ck_assert_int_eq(shard_apply(shard, (struct weir_bytes){ delta.data, delta.size }, &mapping, 1, &error), WEIR_OK);
    ck_assert_int_eq(shard_restored(shard, 2, 0, &error), WEIR_OK);
    ck_assert_int_eq(chain_open(rig.chain, &error), WEIR_OK);
    rig_output(&rig);
    rig_feed(&rig, 0, "1", "41");
    ck_assert_str_eq(text_of(rig_barrier(&rig, 2)), "out 1=42\nout prepare 2\n");
    buffer_deinit(&delta);
    rig_deinit(&rig);
}
END_TEST

/* ---- Finish ------------------------------------------------------------------------------------------------------ */

static enum weir_code finish(weir_task *task, const struct weir_record *record)
{
    ck_assert_ptr_null(record);
    return weir_emit(task, .key = weir_text((const char *)weir_user(task)));
}

START_TEST(finish_runs_down_the_chain_and_emits_what_was_kept_first)
{
    char above_name[] = "above", below_name[] = "below";
    struct weir_stream above = weir_process(source(), .name = "above", .process = weir_forward, .finish = finish,
                                            .user = above_name);
    struct weir_stream sums = sum_on_commit(above, "sum");
    struct weir_stream below = weir_process(sums, .name = "below", .process = weir_forward, .finish = finish,
                                            .user = below_name);
    start_with_channel(below, 8);
    rig.verbose_times = true;
    rig_feed(&rig, 0, "a", "1");
    ck_assert_int_eq(chain_finish(rig.chain), CHAIN_DONE);
    ck_assert_str_eq(rig_drain(&rig, 0, 0), "a=1 @none above=0 @none below=- @none; end; ");
    struct chain_snapshot snapshot = rig_barrier(&rig, 1);
    chain_snapshot_clear(&snapshot);
    ck_assert_str_eq(rig_drain(&rig, 0, 0), "barrier 1; "); /* what changed in the epoch was emitted already */
    rig_deinit(&rig);
}
END_TEST

START_TEST(finish_goes_on_where_it_was_blocked)
{
    char above_name[] = "above", below_name[] = "below";
    struct weir_stream above = weir_process(source(), .name = "above", .process = weir_forward, .finish = finish,
                                            .user = above_name);
    struct weir_stream sums = sum_on_commit(above, "sum");
    start(weir_process(sums, .name = "below", .process = weir_forward, .finish = finish, .user = below_name));
    rig_feed(&rig, 0, "a", "1");
    rig_feed(&rig, 0, "b", "2");
    for (int i = 0; i < 5; i++) {
        rig.room = 1;
        ck_assert_int_eq(chain_finish(rig.chain), i < 4 ? CHAIN_BLOCKED : CHAIN_DONE);
    }
    ck_assert_str_eq(rig_output(&rig), "out a=1\nout b=2\nout above=0\nout below=-\n");
    rig_deinit(&rig);
}
END_TEST

/* ---- Opening, closing, failing ----------------------------------------------------------------------------------- */

static enum weir_code open_and_tell(void *task)
{
    buffer_put(&rig.output, "open ", 5);
    return weir_user(task) == NULL ? WEIR_OK : weir_fail(task, "no licence");
}

static void close_and_tell(void *task)
{
    ck_assert_int_ne(weir_emit((weir_task *)task, .value = weir_text("too late")), WEIR_OK);
    buffer_put(&rig.output, "close ", 6);
}

START_TEST(what_was_opened_is_closed_once)
{
    struct weir_stream a = weir_process(source(), .name = "a", .process = twice, .open = open_and_tell,
                                        .close = close_and_tell);
    struct weir_stream b =
        weir_process(a, .name = "b", .process = twice, .open = open_and_tell, .close = close_and_tell);
    rig_sink(&rig, b, "out");
    struct weir_error error;
    ck_assert_int_eq(rig_try_start(&rig, (struct rig_options){ .epoch = 9 }, &error), WEIR_OK);
    ck_assert_str_eq(rig_output(&rig), "out open 0 9\nopen open ");
    chain_destroy(rig.chain);
    rig.chain = NULL;
    ck_assert_str_eq(rig_output(&rig), "close close out close\n");
    rig_deinit(&rig);
}
END_TEST

START_TEST(a_failed_open_closes_only_what_was_opened)
{
    char user[] = "bad";
    struct weir_stream a = weir_process(source(), .name = "a", .process = twice, .open = open_and_tell,
                                        .close = close_and_tell);
    struct weir_stream b =
        weir_process(a, .name = "b", .process = twice, .open = open_and_tell, .close = close_and_tell, .user = user);
    struct weir_stream c =
        weir_process(b, .name = "c", .process = twice, .open = open_and_tell, .close = close_and_tell);
    rig_sink(&rig, c, "out");
    struct weir_error error;
    ck_assert_int_eq(rig_try_start(&rig, (struct rig_options){ 0 }, &error), WEIR_FAILED);
    ck_assert_str_eq(error.text, "operator 'b', subtask 0: no licence");
    ck_assert_str_eq(rig_output(&rig), "out open 0 1\nopen open ");
    chain_destroy(rig.chain);
    rig.chain = NULL;
    ck_assert_str_eq(rig_output(&rig), "close out close\n");
    rig_deinit(&rig);
}
END_TEST

static enum weir_code open_badly(void *task)
{
    weir_fail(task, "no licence");
    return WEIR_OK;
}

START_TEST(an_open_that_failed_counts_as_failed_whatever_it_answers)
{
    rig_sink(&rig, weir_process(source(), .name = "a", .process = twice, .open = open_badly, .close = close_and_tell),
             "out");
    struct weir_error error;
    ck_assert_int_eq(rig_try_start(&rig, (struct rig_options){ 0 }, &error), WEIR_FAILED);
    ck_assert_str_eq(error.text, "operator 'a', subtask 0: no licence");
    chain_destroy(rig.chain);
    rig.chain = NULL;
    ck_assert_str_eq(rig_output(&rig), "out open 0 1\nout close\n");
    rig_deinit(&rig);
}
END_TEST

START_TEST(a_chain_that_was_never_opened_closes_nothing)
{
    struct weir_stream a = weir_process(source(), .name = "a", .process = twice, .open = open_and_tell,
                                        .close = close_and_tell);
    rig_sink(&rig, a, "out");
    rig_start(&rig, (struct rig_options){ .closed = true });
    chain_destroy(rig.chain);
    rig.chain = NULL;
    ck_assert_str_eq(rig_output(&rig), "");
    rig_deinit(&rig);
}
END_TEST

START_TEST(a_failing_sink_ends_the_chain_with_its_own_code_and_remedy)
{
    start(weir_process(source(), .name = "twice", .process = twice));
    rig.fail_writes = true;
    add_records(2);
    ck_assert_int_eq(rig_run(&rig, 0), CHAIN_FAILED);
    const struct weir_error *error = chain_error(rig.chain);
    ck_assert_str_eq(error->text, "operator 'out', subtask 0: the disk is full");
    ck_assert_int_eq(error->code, WEIR_ENVIRONMENT);
    ck_assert_int_eq(error->remedy, WEIR_REMEDY_STOP);
    struct chain_snapshot snapshot;
    ck_assert_int_eq(chain_emit_on_commit(rig.chain, 1), CHAIN_FAILED);
    ck_assert_int_eq(chain_snapshot(rig.chain, 1, &snapshot), CHAIN_FAILED);
    chain_snapshot_clear(&snapshot);
    ck_assert_int_eq(chain_finish(rig.chain), CHAIN_FAILED);
    rig_deinit(&rig);
}
END_TEST

START_TEST(a_sink_that_cannot_prepare_fails_the_snapshot)
{
    start(source());
    rig.fail_prepares = true;
    struct chain_snapshot snapshot;
    ck_assert_int_eq(chain_emit_on_commit(rig.chain, 1), CHAIN_DONE);
    ck_assert_int_eq(chain_snapshot(rig.chain, 1, &snapshot), CHAIN_FAILED);
    ck_assert_str_eq(chain_error(rig.chain)->text, "operator 'out', subtask 0: its connector failed without a reason");
    chain_snapshot_clear(&snapshot);
    rig_deinit(&rig);
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_test(tests, a_sink_without_room_stops_the_batch_behind_the_record_in_hand);
    tcase_add_test(tests, a_sink_that_lost_its_room_between_two_batches_gets_no_record);
    tcase_add_test(tests, a_full_channel_stops_the_batch_and_nothing_is_lost_or_overtaken);
    tcase_add_test(tests, a_full_channel_stops_the_batch_behind_the_record_that_filled_it);
    tcase_add_test(tests, emission_on_commit_goes_on_where_it_was_blocked);
    tcase_add_test(tests, coalesced_emission_goes_on_where_it_was_blocked);
    tcase_add_test(tests, an_early_part_takes_the_delta_and_leaves_emission_and_sinks_alone);
    tcase_add_test(tests, a_barrier_leaves_behind_the_records_of_its_epoch);
    tcase_add_test(tests, a_barrier_that_finds_the_channel_full_waits_in_its_place);
    tcase_add_test(tests, sinks_take_part_in_every_phase_of_a_commit);
    tcase_add_test(tests, key_groups_of_a_chain_are_those_of_its_subtask);
    tcase_add_test(tests, a_restored_chain_goes_on_counting);
    tcase_add_test(tests, finish_runs_down_the_chain_and_emits_what_was_kept_first);
    tcase_add_test(tests, finish_goes_on_where_it_was_blocked);
    tcase_add_test(tests, what_was_opened_is_closed_once);
    tcase_add_test(tests, a_failed_open_closes_only_what_was_opened);
    tcase_add_test(tests, an_open_that_failed_counts_as_failed_whatever_it_answers);
    tcase_add_test(tests, a_chain_that_was_never_opened_closes_nothing);
    tcase_add_test(tests, a_failing_sink_ends_the_chain_with_its_own_code_and_remedy);
    tcase_add_test(tests, a_sink_that_cannot_prepare_fails_the_snapshot);
}

int main(void)
{
    return unit_main("chain", add);
}
