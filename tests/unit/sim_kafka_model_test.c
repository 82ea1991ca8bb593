/* The model of Kafka, fact by fact: what a broker promises, and what transactions of version 1 do not. That a broker
 * does the same is shown by tests/kafka/model_test.c. */
#include "sim/kafka_model.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "harness/unit.h"

static const char *const id = "job-0-0";
static const struct model_place out = { "out", 0 }, other = { "out", 1 }, ledger = { "ledger", 0 };
enum { TIMEOUT_MS = 60000 };

static struct kafka_model *model;
static int64_t clock_ms;

static void set_up(void)
{
    model = model_create();
    ck_assert_ptr_nonnull(model);
    clock_ms = 1000;
    ck_assert_int_eq(model_create_topic(model, "out", 2, false), MODEL_OK);
    ck_assert_int_eq(model_create_topic(model, "in", 1, false), MODEL_OK);
    ck_assert_int_eq(model_create_topic(model, "ledger", 1, true), MODEL_OK);
}

static void tear_down(void) { model_destroy(model); }

/* ---- Requests ---------------------------------------------------------------------------------------------------- */

static void write_markers(void)
{
    while (model_markers_pending(model) > 0) model_write_marker(model, 0, clock_ms);
}

/* Takes an id over, whatever its owner has open. */
static struct model_producer init_id(const char *transactional_id)
{
    struct model_producer producer;
    write_markers();
    if (model_init_producer_id(model, clock_ms, transactional_id, TIMEOUT_MS, &producer) ==
        MODEL_CONCURRENT_TRANSACTIONS) {
        write_markers();
        ck_assert_int_eq(model_init_producer_id(model, clock_ms, transactional_id, TIMEOUT_MS, &producer), MODEL_OK);
    }
    return producer;
}

static enum model_error add(struct model_producer producer, struct model_place place)
{
    return model_add_partitions(model, clock_ms, id, producer, &place, 1);
}

static enum model_error put_as(const char *transactional_id, struct model_producer producer, int32_t sequence,
                               struct model_place place, const char *key, const char *value)
{
    const struct model_record record = { .time_ms = clock_ms, .key = key != NULL ? weir_text(key) : WEIR_NULL,
                                         .value = weir_text(value) };
    int64_t offset;
    return model_produce(model, clock_ms, transactional_id, producer, sequence, &place, &record, 1, &offset);
}

static enum model_error put(struct model_producer producer, int32_t sequence, struct model_place place,
                            const char *value)
{
    return put_as(id, producer, sequence, place, "k", value);
}

static enum model_error put_plain(struct model_place place, const char *key, const char *value)
{
    return put_as(NULL, (struct model_producer){ -1, -1 }, 0, place, key, value);
}

static enum model_error add_group(struct model_producer producer)
{
    return model_add_offsets(model, clock_ms, id, producer, "group");
}

static enum model_error commit_in(const char *transactional_id, struct model_producer producer, int64_t offset)
{
    const struct model_offset position = { "in", 0, offset, "name" };
    return model_txn_offset_commit(model, clock_ms, transactional_id, producer, "group", &position, 1);
}

static enum model_error end(struct model_producer producer, bool commit)
{
    return model_end_txn(model, clock_ms, id, producer, commit);
}

static void end_whole(struct model_producer producer, bool commit)
{
    ck_assert_int_eq(end(producer, commit), MODEL_OK);
    write_markers();
}

/* Adds `out` to the producer's transaction and writes a record there. */
static void write_out(struct model_producer producer, int32_t sequence, const char *value)
{
    ck_assert_int_eq(add(producer, out), MODEL_OK);
    ck_assert_int_eq(put(producer, sequence, out, value), MODEL_OK);
}

/* A new owner of the id, whose open transaction has written `value`. */
static struct model_producer init_and_write(const char *value)
{
    const struct model_producer producer = init_id(id);
    write_out(producer, 0, value);
    return producer;
}

/* Adds the group to the producer's transaction and commits an offset there. */
static void write_position(struct model_producer producer, int64_t offset)
{
    ck_assert_int_eq(add_group(producer), MODEL_OK);
    ck_assert_int_eq(commit_in(id, producer, offset), MODEL_OK);
}

static void commit_outside(struct model_offset position)
{
    ck_assert_int_eq(model_offset_commit(model, "group", &position, 1), MODEL_OK);
}

/* ---- What can be seen -------------------------------------------------------------------------------------------- */

static char seen[512];

static bool see(void *unused, const struct model_record *record)
{
    (void)unused;
    const size_t used = strlen(seen);
    (void)snprintf(seen + used, sizeof seen - used, "%" PRId64 "=%.*s ", record->offset, (int)record->value.size,
                   record->value.data);
    return true;
}

/* "OFFSET=VALUE ... | next" from the beginning of the partition. */
static const char *read_all(struct model_place place, bool committed)
{
    int64_t first, next;
    seen[0] = '\0';
    ck_assert_int_eq(model_list_offset(model, &place, MODEL_EARLIEST, false, &first), MODEL_OK);
    ck_assert_int_eq(model_fetch(model, &place, first, committed, SIZE_MAX, see, NULL, &next), MODEL_OK);
    const size_t used = strlen(seen);
    (void)snprintf(seen + used, sizeof seen - used, "| %" PRId64, next);
    return seen;
}

static int64_t offset_of(struct model_place place, int64_t spec, bool committed)
{
    int64_t offset;
    ck_assert_int_eq(model_list_offset(model, &place, spec, committed, &offset), MODEL_OK);
    return offset;
}

static void see_position(void *unused, const struct model_offset *offset)
{
    (void)unused;
    const size_t used = strlen(seen);
    (void)snprintf(seen + used, sizeof seen - used, "%s-%d=%" PRId64 "'%s'", offset->topic, offset->partition,
                   offset->offset, offset->metadata);
}

static const char *positions(bool stable)
{
    seen[0] = '\0';
    const enum model_error error = model_offset_fetch(model, "group", stable, see_position, NULL);
    return error == MODEL_OK ? seen : model_error_name(error);
}

static int decided_count;
static bool decided_commit;

static void note_decided(void *unused, const char *transactional_id, struct model_producer producer, bool committed)
{
    (void)unused, (void)transactional_id, (void)producer;
    decided_count++;
    decided_commit = committed;
}

/* ---- Visibility -------------------------------------------------------------------------------------------------- */

START_TEST(committed_readers_stop_at_the_first_open_transaction)
{
    const struct model_producer producer = init_id(id);
    ck_assert_int_eq(put_plain(out, "k", "before"), MODEL_OK);
    write_out(producer, 0, "open");
    ck_assert_int_eq(put_plain(out, "k", "behind"), MODEL_OK);
    ck_assert_int_eq(offset_of(out, MODEL_LATEST, true), 1);
    ck_assert_int_eq(offset_of(out, MODEL_LATEST, false), 3);
    ck_assert_str_eq(read_all(out, true), "0=before | 1");
    ck_assert_str_eq(read_all(out, false), "0=before 1=open 2=behind | 3");
    end_whole(producer, true);
    ck_assert_str_eq(read_all(out, true), "0=before 1=open 2=behind | 4");
}
END_TEST

START_TEST(aborted_records_are_passed_over)
{
    const struct model_producer producer = init_and_write("aborted");
    ck_assert_int_eq(put_plain(out, "k", "plain"), MODEL_OK);
    end_whole(producer, false);
    write_out(producer, 1, "kept");
    end_whole(producer, true);
    ck_assert_str_eq(read_all(out, true), "1=plain 3=kept | 5");
    ck_assert_str_eq(read_all(out, false), "0=aborted 1=plain 3=kept | 5");
}
END_TEST

START_TEST(decided_is_not_yet_visible)
{
    const struct model_producer producer = init_id(id);
    ck_assert_int_eq(add(producer, out), MODEL_OK);
    ck_assert_int_eq(add(producer, other), MODEL_OK);
    ck_assert_int_eq(put(producer, 0, out, "a"), MODEL_OK);
    ck_assert_int_eq(put(producer, 0, other, "b"), MODEL_OK);
    decided_count = 0;
    model_on_decided(model, note_decided, NULL);
    ck_assert_int_eq(end(producer, true), MODEL_OK);
    ck_assert_int_eq(decided_count, 1);
    ck_assert(decided_commit);
    ck_assert_uint_eq(model_markers_pending(model), 2);
    ck_assert_str_eq(read_all(out, true), "| 0");
    model_write_marker(model, 0, clock_ms);
    ck_assert_str_eq(read_all(out, true), "0=a | 2");
    ck_assert_str_eq(read_all(other, true), "| 0"); /* atomic in the end, not at once */
    ck_assert_int_eq(end(producer, true), MODEL_CONCURRENT_TRANSACTIONS);
    ck_assert_int_eq(end(producer, false), MODEL_CONCURRENT_TRANSACTIONS);
    ck_assert_int_eq(add(producer, out), MODEL_CONCURRENT_TRANSACTIONS);
    model_write_marker(model, 0, clock_ms);
    ck_assert_str_eq(read_all(other, true), "0=b | 2");
    ck_assert_int_eq(end(producer, true), MODEL_OK);
    ck_assert_int_eq(end(producer, false), MODEL_INVALID_TXN_STATE);
}
END_TEST

START_TEST(a_marker_takes_an_offset_where_nothing_was_written)
{
    const struct model_producer producer = init_id(id);
    ck_assert_int_eq(add(producer, out), MODEL_OK);
    end_whole(producer, true);
    ck_assert_int_eq(offset_of(out, MODEL_LATEST, true), 1);
    ck_assert_str_eq(read_all(out, true), "| 1");
}
END_TEST

static bool see_once(void *unused, const struct model_record *record)
{
    if (seen[0] != '\0') return false;
    return see(unused, record);
}

START_TEST(fetch_ends_where_it_is_told_and_goes_on_there)
{
    for (int i = 0; i < 4; i++) ck_assert_int_eq(put_plain(out, "k", "v"), MODEL_OK);
    int64_t next;
    seen[0] = '\0';
    ck_assert_int_eq(model_fetch(model, &out, 1, true, 2, see, NULL, &next), MODEL_OK);
    ck_assert_str_eq(seen, "1=v 2=v ");
    ck_assert_int_eq(next, 3);
    seen[0] = '\0';
    ck_assert_int_eq(model_fetch(model, &out, 0, true, 9, see_once, NULL, &next), MODEL_OK);
    ck_assert_int_eq(next, 1);
    ck_assert_int_eq(model_fetch(model, &out, 4, true, 9, see, NULL, &next), MODEL_OK);
    ck_assert_int_eq(next, 4);
    ck_assert_int_eq(model_fetch(model, &out, 5, true, 9, see, NULL, &next), MODEL_OFFSET_OUT_OF_RANGE);
}
END_TEST

START_TEST(a_time_finds_the_first_record_not_older)
{
    for (clock_ms = 1000; clock_ms < 4000; clock_ms += 1000) ck_assert_int_eq(put_plain(out, "k", "v"), MODEL_OK);
    ck_assert_int_eq(offset_of(out, 1001, false), 1);
    ck_assert_int_eq(offset_of(out, 3000, false), 2);
    ck_assert_int_eq(offset_of(out, 3001, false), -1);
}
END_TEST

/* ---- Sequences --------------------------------------------------------------------------------------------------- */

START_TEST(a_repeated_batch_answers_its_old_offset)
{
    const struct model_producer producer = init_id(id);
    const struct model_record record = { .value = weir_text("v") };
    int64_t offset;
    ck_assert_int_eq(add(producer, out), MODEL_OK);
    for (int i = 0; i < 7; i++)
        ck_assert_int_eq(model_produce(model, clock_ms, id, producer, i, &out, &record, 1, &offset), MODEL_OK);
    ck_assert_int_eq(model_produce(model, clock_ms, id, producer, 2, &out, &record, 1, &offset), MODEL_OK);
    ck_assert_int_eq(offset, 2);
    /* Five are remembered. */
    ck_assert_int_eq(model_produce(model, clock_ms, id, producer, 1, &out, &record, 1, &offset),
                     MODEL_OUT_OF_ORDER_SEQUENCE);
    ck_assert_int_eq(offset_of(out, MODEL_LATEST, false), 7);
}
END_TEST

START_TEST(sequences_begin_anew_with_each_epoch)
{
    struct model_producer producer = init_and_write("a");
    ck_assert_int_eq(put(producer, 2, out, "gap"), MODEL_OUT_OF_ORDER_SEQUENCE);
    end_whole(producer, true);
    producer = init_id(id);
    ck_assert_int_eq(add(producer, out), MODEL_OK);
    ck_assert_int_eq(put(producer, 1, out, "b"), MODEL_OUT_OF_ORDER_SEQUENCE);
    ck_assert_int_eq(put(producer, 0, out, "b"), MODEL_OK);
}
END_TEST

START_TEST(a_partition_must_be_added_before_it_is_written)
{
    const struct model_producer producer = init_id(id);
    ck_assert_int_eq(put(producer, 0, out, "early"), MODEL_INVALID_TXN_STATE);
    write_out(producer, 0, "a");
    ck_assert_int_eq(put(producer, 0, other, "b"), MODEL_INVALID_TXN_STATE);
    end_whole(producer, true);
    ck_assert_int_eq(put(producer, 1, out, "late"), MODEL_INVALID_TXN_STATE);
}
END_TEST

START_TEST(a_batch_may_join_a_transaction_that_is_decided_already)
{
    const struct model_producer producer = init_and_write("a");
    ck_assert_int_eq(end(producer, true), MODEL_OK);
    ck_assert_int_eq(put(producer, 1, out, "late"), MODEL_OK); /* before the marker */
    write_markers();
    ck_assert_str_eq(read_all(out, true), "0=a 1=late | 3");
}
END_TEST

START_TEST(a_compacted_topic_refuses_null_keys)
{
    ck_assert_int_eq(put_plain(ledger, NULL, "v"), MODEL_INVALID_RECORD);
    ck_assert_int_eq(put_plain(ledger, "k", "v"), MODEL_OK);
    ck_assert_int_eq(put_plain(out, NULL, "v"), MODEL_OK);
}
END_TEST

/* ---- Fencing ----------------------------------------------------------------------------------------------------- */

START_TEST(a_newer_producer_aborts_and_fences_the_older_one)
{
    const struct model_producer old = init_and_write("a");
    struct model_producer young;
    ck_assert_int_eq(model_init_producer_id(model, clock_ms, id, TIMEOUT_MS, &young), MODEL_CONCURRENT_TRANSACTIONS);
    ck_assert_int_eq(model_init_producer_id(model, clock_ms, id, TIMEOUT_MS, &young), MODEL_CONCURRENT_TRANSACTIONS);
    write_markers();
    ck_assert_int_eq(model_init_producer_id(model, clock_ms, id, TIMEOUT_MS, &young), MODEL_OK);
    ck_assert_int_eq(young.id, old.id);
    ck_assert_int_eq(young.epoch, old.epoch + 2); /* one for the abort, one for the new owner */
    ck_assert_int_eq(add(old, out), MODEL_INVALID_PRODUCER_EPOCH);
    ck_assert_int_eq(put(old, 1, out, "b"), MODEL_INVALID_PRODUCER_EPOCH);
    ck_assert_int_eq(add_group(old), MODEL_INVALID_PRODUCER_EPOCH);
    ck_assert_int_eq(commit_in(id, old, 1), MODEL_INVALID_PRODUCER_EPOCH);
    ck_assert_int_eq(end(old, true), MODEL_INVALID_PRODUCER_EPOCH);
    ck_assert_str_eq(read_all(out, true), "| 2");
}
END_TEST

START_TEST(time_up_aborts_and_fences)
{
    const struct model_producer producer = init_id(id);
    ck_assert_int_eq(model_next_timeout_ms(model), INT64_MAX);
    write_out(producer, 0, "a");
    const int64_t due_ms = model_next_timeout_ms(model);
    model_tick(model, due_ms - 1);
    ck_assert_uint_eq(model_markers_pending(model), 0);
    model_tick(model, due_ms);
    ck_assert_uint_eq(model_markers_pending(model), 1);
    ck_assert_int_eq(model_next_timeout_ms(model), INT64_MAX);
    write_markers();
    ck_assert_int_eq(end(producer, true), MODEL_INVALID_PRODUCER_EPOCH);
    ck_assert_str_eq(read_all(out, true), "| 2");
}
END_TEST

START_TEST(an_id_that_was_forgotten_is_somebody_else)
{
    const struct model_producer producer = init_id(id);
    ck_assert_int_eq(add(producer, out), MODEL_OK);
    ck_assert(!model_forget_producer(model, id));
    end_whole(producer, true);
    ck_assert(model_forget_producer(model, id));
    ck_assert_int_eq(add(producer, out), MODEL_INVALID_PRODUCER_ID_MAPPING);
    const struct model_producer young = init_id(id);
    ck_assert_int_ne(young.id, producer.id);
    ck_assert_int_eq(add(producer, out), MODEL_INVALID_PRODUCER_ID_MAPPING);
}
END_TEST

START_TEST(coordinators_that_are_away_say_so)
{
    const struct model_producer producer = init_id(id);
    ck_assert_int_eq(add(producer, out), MODEL_OK);
    model_coordinators_away(model, MODEL_NOT_COORDINATOR);
    ck_assert_int_eq(put(producer, 0, out, "a"), MODEL_NOT_ENOUGH_REPLICAS);
    ck_assert_int_eq(end(producer, true), MODEL_NOT_COORDINATOR);
    ck_assert_str_eq(positions(true), "NOT_COORDINATOR");
    model_coordinators_back(model);
    ck_assert_int_eq(put(producer, 0, out, "a"), MODEL_OK);
    end_whole(producer, true);
    ck_assert_str_eq(read_all(out, true), "0=a | 2");
}
END_TEST

/* ---- The hazards of version 1 ------------------------------------------------------------------------------------ */

START_TEST(a_late_end_ends_the_next_transaction)
{
    const struct model_producer producer = init_and_write("first");
    end_whole(producer, true);
    write_out(producer, 1, "half of the second");
    end_whole(producer, true); /* the first one's, sent twice */
    ck_assert_str_eq(read_all(out, true), "0=first 2=half of the second | 4");
    ck_assert_int_eq(put(producer, 2, out, "the other half"), MODEL_INVALID_TXN_STATE);
}
END_TEST

START_TEST(a_late_add_opens_what_nobody_ends_until_time_is_up)
{
    const struct model_producer producer = init_id(id);
    ck_assert_int_eq(add(producer, out), MODEL_OK);
    end_whole(producer, true);
    ck_assert_int_eq(add(producer, out), MODEL_OK); /* the first one's, sent twice */
    ck_assert_int_eq(put_plain(out, "k", "v"), MODEL_OK);
    ck_assert_int_lt(model_next_timeout_ms(model), INT64_MAX);
    model_tick(model, model_next_timeout_ms(model));
    write_markers();
    ck_assert_int_eq(add(producer, out), MODEL_INVALID_PRODUCER_EPOCH); /* its owner is fenced, and did nothing wrong */
}
END_TEST

START_TEST(late_offsets_land_in_the_next_transaction)
{
    const struct model_producer producer = init_id(id);
    write_position(producer, 10);
    end_whole(producer, true);
    ck_assert_str_eq(positions(true), "in-0=10'name'");
    write_position(producer, 20);
    ck_assert_int_eq(commit_in(id, producer, 10), MODEL_OK); /* the first one's, sent twice */
    end_whole(producer, true);
    ck_assert_str_eq(positions(true), "in-0=10'name'");
}
END_TEST

START_TEST(a_late_abort_aborts_the_next_transaction)
{
    const struct model_producer producer = init_id(id);
    ck_assert_int_eq(add(producer, out), MODEL_OK);
    end_whole(producer, false);
    write_out(producer, 0, "second");
    end_whole(producer, false); /* the first one's, sent twice */
    ck_assert_int_eq(end(producer, true), MODEL_INVALID_TXN_STATE);
    ck_assert_str_eq(read_all(out, true), "| 3");
}
END_TEST

/* Found by comparing with a broker: only the first batch of a transaction is checked, and a repeated one counts as
 * checked but not as written. */
START_TEST(a_repeated_batch_at_the_beginning_blocks_those_behind_it)
{
    const struct model_producer producer = init_and_write("first");
    end_whole(producer, true);
    write_out(producer, 0, "first");
    ck_assert_int_eq(put(producer, 1, out, "second"), MODEL_OUT_OF_ORDER_SEQUENCE);
    ck_assert_str_eq(read_all(out, false), "0=first | 2");
}
END_TEST

/* ---- Positions --------------------------------------------------------------------------------------------------- */

START_TEST(positions_are_pending_until_the_marker)
{
    const struct model_producer producer = init_id(id);
    ck_assert_int_eq(commit_in(id, producer, 9), MODEL_INVALID_TXN_STATE);
    commit_outside((struct model_offset){ "in", 0, 5, "" });
    write_position(producer, 9);
    ck_assert_str_eq(positions(true), "UNSTABLE_OFFSET_COMMIT");
    ck_assert_str_eq(positions(false), "in-0=5''");
    ck_assert_int_eq(end(producer, true), MODEL_OK);
    ck_assert_str_eq(positions(true), "UNSTABLE_OFFSET_COMMIT");
    write_markers();
    ck_assert_str_eq(positions(true), "in-0=9'name'");
}
END_TEST

START_TEST(the_later_position_wins_whichever_commits_last)
{
    const char *const second = "job-0-1";
    const struct model_producer a = init_id(id), b = init_id(second);
    ck_assert_int_eq(add_group(a), MODEL_OK);
    ck_assert_int_eq(model_add_offsets(model, clock_ms, second, b, "group"), MODEL_OK);
    ck_assert_int_eq(commit_in(id, a, 10), MODEL_OK);
    ck_assert_int_eq(commit_in(second, b, 20), MODEL_OK);
    ck_assert_int_eq(model_end_txn(model, clock_ms, second, b, true), MODEL_OK);
    write_markers();
    ck_assert_str_eq(positions(false), "in-0=20'name'");
    end_whole(a, true);
    ck_assert_str_eq(positions(true), "in-0=20'name'");
}
END_TEST

START_TEST(aborted_positions_vanish)
{
    const struct model_producer producer = init_id(id);
    write_position(producer, 9);
    end_whole(producer, false);
    ck_assert_str_eq(positions(true), "");
}
END_TEST

START_TEST(a_forgotten_group_keeps_what_is_pending)
{
    const struct model_producer producer = init_id(id);
    commit_outside((struct model_offset){ "in", 0, 5, "" });
    write_position(producer, 9);
    model_forget_group(model, "group");
    ck_assert_str_eq(positions(false), "");
    end_whole(producer, true);
    ck_assert_str_eq(positions(true), "in-0=9'name'");
}
END_TEST

/* ---- Topics ------------------------------------------------------------------------------------------------------ */

START_TEST(a_topic_made_anew_is_another_one)
{
    uint64_t first, second;
    int32_t partitions;
    ck_assert_int_eq(model_create_topic(model, "out", 1, false), MODEL_TOPIC_EXISTS);
    ck_assert_int_eq(model_describe_topic(model, "out", &first, &partitions), MODEL_OK);
    ck_assert_int_eq(put_plain(out, "k", "v"), MODEL_OK);
    commit_outside((struct model_offset){ "out", 0, 1, "" });
    ck_assert_int_eq(model_delete_topic(model, "out"), MODEL_OK);
    ck_assert_str_eq(positions(true), "");
    ck_assert_int_eq(put_plain(out, "k", "v"), MODEL_UNKNOWN_TOPIC_OR_PARTITION);
    ck_assert_int_eq(model_create_topic(model, "out", 3, false), MODEL_OK);
    ck_assert_int_eq(model_describe_topic(model, "out", &second, &partitions), MODEL_OK);
    ck_assert_uint_ne(first, second);
    ck_assert_int_eq(partitions, 3);
    ck_assert_str_eq(read_all(out, false), "| 0");
}
END_TEST

/* The coordinator knows partitions by name. */
START_TEST(a_transaction_goes_on_in_a_topic_made_anew)
{
    const struct model_producer producer = init_and_write("gone");
    ck_assert_int_eq(model_delete_topic(model, "out"), MODEL_OK);
    ck_assert_int_eq(model_create_topic(model, "out", 1, false), MODEL_OK);
    ck_assert_int_eq(put(producer, 1, out, "kept"), MODEL_OK);
    end_whole(producer, true);
    ck_assert_str_eq(read_all(out, true), "0=kept | 2");
}
END_TEST

START_TEST(trimming_removes_and_keeps_offsets)
{
    for (int i = 0; i < 4; i++) ck_assert_int_eq(put_plain(out, "k", "v"), MODEL_OK);
    int64_t next;
    ck_assert_int_eq(model_trim(model, &out, 3), MODEL_OK);
    ck_assert_str_eq(read_all(out, true), "3=v | 4");
    ck_assert_int_eq(model_fetch(model, &out, 2, true, 9, see, NULL, &next), MODEL_OFFSET_OUT_OF_RANGE);
    ck_assert_int_eq(model_trim(model, &out, 5), MODEL_OFFSET_OUT_OF_RANGE);
    ck_assert_int_eq(model_trim(model, &out, 1), MODEL_OK);
    ck_assert_int_eq(offset_of(out, MODEL_EARLIEST, false), 3);
    ck_assert_int_eq(model_trim(model, &ledger, 0), MODEL_POLICY_VIOLATION);
}
END_TEST

START_TEST(a_topic_that_grows_keeps_what_it_has)
{
    const struct model_place added = { "out", 2 };
    const struct model_producer producer = init_and_write("open");
    ck_assert_int_eq(put_plain(added, "k", "v"), MODEL_UNKNOWN_TOPIC_OR_PARTITION);
    ck_assert_int_eq(model_grow_topic(model, "out", 3), MODEL_OK);
    ck_assert_int_eq(put_plain(added, "k", "v"), MODEL_OK);
    end_whole(producer, true);
    ck_assert_str_eq(read_all(out, true), "0=open | 2");
    ck_assert_str_eq(read_all(added, true), "0=v | 1");
    ck_assert_int_eq(model_grow_topic(model, "none", 3), MODEL_UNKNOWN_TOPIC_OR_PARTITION);
}
END_TEST

START_TEST(a_lost_tail_leaves_its_offsets_to_others)
{
    ck_assert_int_eq(put_plain(ledger, "a", "1"), MODEL_OK);
    ck_assert_int_eq(put_plain(ledger, "a", "lost"), MODEL_OK);
    ck_assert_int_eq(model_lose_tail(model, &ledger, 3), MODEL_OFFSET_OUT_OF_RANGE);
    ck_assert_int_eq(model_lose_tail(model, &ledger, 1), MODEL_OK);
    ck_assert_str_eq(read_all(ledger, true), "0=1 | 1");
    ck_assert_int_eq(put_plain(ledger, "a", "2"), MODEL_OK);
    ck_assert_str_eq(read_all(ledger, true), "0=1 1=2 | 2");
}
END_TEST

START_TEST(one_position_of_a_group_can_be_deleted)
{
    const struct model_place gone = { "in", 0 };
    commit_outside((struct model_offset){ "in", 0, 5, "" });
    commit_outside((struct model_offset){ "out", 0, 7, "" });
    model_forget_offset(model, "group", &gone);
    ck_assert_str_eq(positions(true), "out-0=7''");
}
END_TEST

START_TEST(compaction_does_not_look_at_the_newest_segment)
{
    ck_assert_int_eq(put_plain(ledger, "a", "1"), MODEL_OK);
    ck_assert_int_eq(put_plain(ledger, "a", "2"), MODEL_OK);
    ck_assert_int_eq(put_plain(ledger, "a", "3"), MODEL_OK);
    ck_assert_int_eq(model_compact(model, &ledger, 2), MODEL_OK);
    ck_assert_str_eq(read_all(ledger, false), "1=2 2=3 | 3");
}
END_TEST

START_TEST(compaction_keeps_the_newest_of_each_key_below_what_is_open)
{
    const struct model_producer producer = init_id(id);
    ck_assert_int_eq(put_plain(ledger, "a", "1"), MODEL_OK);
    ck_assert_int_eq(put_plain(ledger, "b", "1"), MODEL_OK);
    ck_assert_int_eq(put_plain(ledger, "a", "2"), MODEL_OK);
    ck_assert_int_eq(add(producer, ledger), MODEL_OK);
    ck_assert_int_eq(put_as(id, producer, 0, ledger, "b", "open"), MODEL_OK);
    ck_assert_int_eq(put_plain(ledger, "a", "3"), MODEL_OK);
    ck_assert_int_eq(model_compact(model, &ledger, INT64_MAX), MODEL_OK);
    ck_assert_str_eq(read_all(ledger, false), "1=1 2=2 3=open 4=3 | 5");
    end_whole(producer, false);
    ck_assert_int_eq(model_compact(model, &ledger, INT64_MAX), MODEL_OK);
    ck_assert_str_eq(read_all(ledger, false), "1=1 4=3 | 6");
    ck_assert_int_eq(offset_of(ledger, MODEL_EARLIEST, false), 0);
}
END_TEST

static void add_facts(TCase *tests)
{
    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_add_test(tests, committed_readers_stop_at_the_first_open_transaction);
    tcase_add_test(tests, aborted_records_are_passed_over);
    tcase_add_test(tests, decided_is_not_yet_visible);
    tcase_add_test(tests, a_marker_takes_an_offset_where_nothing_was_written);
    tcase_add_test(tests, fetch_ends_where_it_is_told_and_goes_on_there);
    tcase_add_test(tests, a_time_finds_the_first_record_not_older);
    tcase_add_test(tests, a_repeated_batch_answers_its_old_offset);
    tcase_add_test(tests, sequences_begin_anew_with_each_epoch);
    tcase_add_test(tests, a_partition_must_be_added_before_it_is_written);
    tcase_add_test(tests, a_batch_may_join_a_transaction_that_is_decided_already);
    tcase_add_test(tests, a_compacted_topic_refuses_null_keys);
    tcase_add_test(tests, a_newer_producer_aborts_and_fences_the_older_one);
    tcase_add_test(tests, time_up_aborts_and_fences);
    tcase_add_test(tests, an_id_that_was_forgotten_is_somebody_else);
    tcase_add_test(tests, coordinators_that_are_away_say_so);
    tcase_add_test(tests, a_late_end_ends_the_next_transaction);
    tcase_add_test(tests, a_late_add_opens_what_nobody_ends_until_time_is_up);
    tcase_add_test(tests, late_offsets_land_in_the_next_transaction);
    tcase_add_test(tests, a_late_abort_aborts_the_next_transaction);
    tcase_add_test(tests, a_repeated_batch_at_the_beginning_blocks_those_behind_it);
    tcase_add_test(tests, positions_are_pending_until_the_marker);
    tcase_add_test(tests, the_later_position_wins_whichever_commits_last);
    tcase_add_test(tests, aborted_positions_vanish);
    tcase_add_test(tests, a_forgotten_group_keeps_what_is_pending);
    tcase_add_test(tests, a_topic_made_anew_is_another_one);
    tcase_add_test(tests, a_transaction_goes_on_in_a_topic_made_anew);
    tcase_add_test(tests, trimming_removes_and_keeps_offsets);
    tcase_add_test(tests, a_topic_that_grows_keeps_what_it_has);
    tcase_add_test(tests, a_lost_tail_leaves_its_offsets_to_others);
    tcase_add_test(tests, one_position_of_a_group_can_be_deleted);
    tcase_add_test(tests, compaction_does_not_look_at_the_newest_segment);
    tcase_add_test(tests, compaction_keeps_the_newest_of_each_key_below_what_is_open);
}

int main(void) { return unit_main("model of Kafka", add_facts); }
