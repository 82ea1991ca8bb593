/* Groups: what a process emits out of its batch waits for others, so that a keyed operator behind it looks up several keys
 * at once. Nobody may notice: neither in the order of what comes out, nor at a sink without room, nor after a failure. */
#include <stdio.h>
#include <string.h>

#include "harness/rig.h"
#include "harness/unit.h"

static struct rig rig;

/* Emits each word: as it lies in the line; "+word" from memory of its own; "/word" on the side output; "!" fails. */
static const struct weir_output aside = { .name = "aside" };
static enum weir_code split(weir_task *task, const struct weir_record *line)
{
    struct weir_bytes rest = line->value, word;
    while (weir_bytes_token(&rest, ' ', &word)) {
        const struct weir_bytes tail = { word.data + 1, word.size - 1 };
        switch (word.data[0]) {
        case '!': return weir_fail(task, "a word that fails");
        case '+':
            weir_emit(task, .key = weir_format(task, "%.*s", (int)tail.size, tail.data), .value = WEIR_EMPTY);
            break;
        case '/': weir_emit(task, .key = tail, .value = WEIR_EMPTY, .to = &aside); break;
        default: weir_emit(task, .key = word, .value = word);
        }
    }
    return WEIR_OK;
}

static enum weir_code count(weir_keyed_task *task, void *accumulator, const struct weir_record *word)
{
    (void)word;
    if (weir_bytes_equal(weir_current_key(task), weir_text("bad"))) return weir_fail(task, "a key that fails");
    ++*(int64_t *)accumulator;
    return WEIR_OK;
}

static enum weir_code pass(weir_keyed_task *task, const struct weir_record *word)
{
    (void)word;
    return weir_keyed_emit(task);
}

static struct weir_bytes join(weir_keyed_task *task, struct weir_bytes so_far, const struct weir_record *word)
{
    return weir_format(task, "%.*s,%.*s", (int)so_far.size, so_far.data, (int)word->value.size, word->value.data);
}

static struct weir_stream words(void)
{
    rig_init(&rig);
    return weir_flat_map(rig_source(&rig, "in"), .name = "split", .process = split, .outputs = { &aside });
}

static void start(struct weir_stream stream)
{
    rig_sink(&rig, stream, "out");
    rig_start(&rig, (struct rig_options){ 0 });
}

static void start_counting(void)
{
    struct weir_stream split_words = words();
    rig_sink(&rig, weir_side_output(split_words, &aside), "aside");
    start(weir_aggregate(weir_key_by(split_words, .key = NULL), .name = "count", .accumulator = WEIR_I64, .add = count,
                         .emit = WEIR_EMIT_EACH));
}

START_TEST(words_come_in_the_order_in_which_they_were_emitted)
{
    start_counting();
    rig_add(&rig, NULL, "a b a +a b");
    rig_add(&rig, NULL, "a +c c");
    ck_assert_int_eq(rig_run(&rig, 0), CHAIN_DONE);
    ck_assert_str_eq(rig_output(&rig), "out a=1\nout b=1\nout a=2\nout a=3\nout b=2\nout a=4\nout c=1\nout c=2\n");
    rig_deinit(&rig);
}
END_TEST

START_TEST(what_goes_to_another_output_overtakes_nothing)
{
    start_counting();
    rig_feed(&rig, 0, NULL, "a b /c a");
    ck_assert_str_eq(rig_output(&rig), "out a=1\nout b=1\naside c=\nout a=2\n");
    rig_deinit(&rig);
}
END_TEST

/* More than one group holds, in one line and in many. */
START_TEST(groups_of_any_size_lose_nothing)
{
    char line[4096] = "";
    int64_t fed = 0;
    start_counting();
    for (int length = 0; length < 100; length++) {
        rig_add(&rig, NULL, line);
        fed += length;
        strcat(line, "w ");
    }
    ck_assert_int_eq(rig_run(&rig, 0), CHAIN_DONE);
    const char *output = rig_output(&rig);
    for (int64_t i = 1; i <= fed; i++) {
        char expected[32];
        const int size = snprintf(expected, sizeof expected, "out w=%d\n", (int)i);
        ck_assert_int_eq(strncmp(output, expected, (size_t)size), 0);
        output += size;
    }
    ck_assert_str_eq(output, "");
    rig_deinit(&rig);
}
END_TEST

START_TEST(a_batch_that_is_stopped_has_handed_over_the_words_of_its_records)
{
    start_counting();
    rig.room = 3;
    rig_add(&rig, NULL, "a b");
    rig_add(&rig, NULL, "+c d e");
    rig_add(&rig, NULL, "f");
    ck_assert_int_eq(rig_run(&rig, 0), CHAIN_BLOCKED);
    ck_assert_uint_eq(rig.cursor, 2);
    ck_assert_str_eq(rig_output(&rig), "out a=1\nout b=1\nout c=1\nout d=1\nout e=1\n");
    rig.room = 100;
    ck_assert_int_eq(chain_unblock(rig.chain), CHAIN_DONE);
    ck_assert_int_eq(rig_run(&rig, 0), CHAIN_DONE);
    ck_assert_str_eq(rig_output(&rig), "out f=1\n");
    rig_deinit(&rig);
}
END_TEST

START_TEST(what_waits_when_a_callback_fails_is_not_processed)
{
    start_counting();
    rig_add(&rig, NULL, "a b ! c");
    ck_assert_int_eq(rig_run(&rig, 0), CHAIN_FAILED);
    ck_assert_str_eq(chain_error(rig.chain)->text, "operator 'split', subtask 0: a word that fails");
    ck_assert_str_eq(rig_output(&rig), "");
    rig_deinit(&rig);
}
END_TEST

START_TEST(a_failure_in_a_group_ends_it)
{
    start_counting();
    rig_add(&rig, NULL, "a bad c");
    ck_assert_int_eq(rig_run(&rig, 0), CHAIN_FAILED);
    ck_assert_str_eq(chain_error(rig.chain)->text, "operator 'count', subtask 0: a key that fails");
    ck_assert_str_eq(rig_output(&rig), "out a=1\n");
    rig_deinit(&rig);
}
END_TEST

START_TEST(other_keyed_operators_take_groups_too)
{
    static const struct weir_state seen = { .name = "seen", .codec = WEIR_I64 };
    start(weir_keyed_process(weir_key_by(words(), .key = NULL), .name = "pass", .process = pass, .states = { &seen }));
    rig_feed(&rig, 0, NULL, "a b +c a");
    ck_assert_str_eq(rig_output(&rig), "out a=a\nout b=b\nout c=\nout a=a\n");
    rig_deinit(&rig);
    start(weir_reduce(weir_key_by(words(), .key = NULL), .name = "join", .reduce = join, .emit = WEIR_EMIT_EACH));
    rig_feed(&rig, 0, NULL, "a b a");
    ck_assert_str_eq(rig_output(&rig), "out a=a\nout b=b\nout a=a,a\n");
    rig_deinit(&rig);
}
END_TEST

static enum weir_code shout(weir_task *task, const struct weir_record *in, struct weir_record *out)
{
    out->value = weir_format(task, "%.*s!", (int)in->value.size, in->value.data);
    return WEIR_OK;
}

/* The line that the map made is gone when the next record comes. */
START_TEST(words_of_a_line_that_lies_in_no_batch_do_not_wait)
{
    rig_init(&rig);
    struct weir_stream in = rig_source(&rig, "in");
    struct weir_stream both = weir_union(in, weir_map(in, .name = "shout", .map = shout));
    start(weir_aggregate(weir_key_by(weir_flat_map(both, .name = "split", .process = split), .key = NULL),
                         .name = "count", .accumulator = WEIR_I64, .add = count, .emit = WEIR_EMIT_EACH));
    rig_add(&rig, NULL, "x one");
    rig_add(&rig, NULL, "y other");
    ck_assert_int_eq(rig_run(&rig, 0), CHAIN_DONE);
    ck_assert_str_eq(rig_output(&rig), "out x=1\nout one!=1\nout x=2\nout one=1\n"
                                       "out y=1\nout other!=1\nout y=2\nout other=1\n");
    rig_deinit(&rig);
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_test(tests, words_come_in_the_order_in_which_they_were_emitted);
    tcase_add_test(tests, what_goes_to_another_output_overtakes_nothing);
    tcase_add_test(tests, groups_of_any_size_lose_nothing);
    tcase_add_test(tests, a_batch_that_is_stopped_has_handed_over_the_words_of_its_records);
    tcase_add_test(tests, what_waits_when_a_callback_fails_is_not_processed);
    tcase_add_test(tests, a_failure_in_a_group_ends_it);
    tcase_add_test(tests, other_keyed_operators_take_groups_too);
    tcase_add_test(tests, words_of_a_line_that_lies_in_no_batch_do_not_wait);
}

int main(void)
{
    return unit_main("group", add);
}
